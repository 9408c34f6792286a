//! Backends: their state, their counts, and which of them is next.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// Whether a backend gets connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It is healthy, and gets its share.
    Up,
    /// It did not say that it is ready.
    Down,
    /// It is healthy or not, and gets no new ones since somebody said so.
    Draining,
}

/// What became of a backend's connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// Whether it gets more.
    pub state: State,
    /// Connections that are open.
    pub open: usize,
    /// Connections that it got in all.
    pub carried: u64,
    /// Connections that it did not accept.
    pub refused: u64,
    /// How often it fell ill.
    pub falls: u64,
}

/// One backend.
#[derive(Debug)]
pub(super) struct Backend {
    pub(super) name: String,
    pub(super) address: SocketAddr,
    healthy: AtomicBool,
    draining: AtomicBool,
    open: AtomicUsize,
    carried: AtomicU64,
    refused: AtomicU64,
    /// How often it fell ill; who carries a connection waits for the next time.
    falls: watch::Sender<u64>,
}

/// A connection that counts as open, from when its backend is chosen until it is dropped.
pub(super) struct Carried(pub(super) Arc<Backend>);

impl Drop for Carried {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Backend {
    pub(super) fn accepted(&self) {
        self.carried.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn falls_ill(&self) -> watch::Receiver<u64> {
        self.falls.subscribe()
    }

    pub(super) fn is_healthy(&self) -> bool {
        self.healthy.load(Ordering::Acquire)
    }

    pub(super) fn set_healthy(&self, healthy: bool) {
        let was = self.healthy.swap(healthy, Ordering::AcqRel);
        if was && !healthy {
            self.falls.send_modify(|falls| *falls += 1);
        }
    }

    fn is_up(&self) -> bool {
        self.is_healthy() && !self.draining.load(Ordering::Acquire)
    }

    fn count(&self) -> Count {
        Count {
            state: match (self.draining.load(Ordering::Acquire), self.is_healthy()) {
                (true, _) => State::Draining,
                (false, true) => State::Up,
                (false, false) => State::Down,
            },
            open: self.open.load(Ordering::Relaxed),
            carried: self.carried.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            falls: *self.falls.borrow(),
        }
    }
}

/// All backends of a balancer.
#[derive(Debug, Clone)]
pub struct Backends {
    all: Arc<[Arc<Backend>]>,
    /// Held while one is chosen, so that two who come at once are not sent to the same.
    choosing: Arc<Mutex<()>>,
    /// Do they count as healthy from the start, since nobody asks them? Then they take turns: a backend that is dead
    /// keeps its connections open, and would get no more by the rule of the fewest.
    unchecked: bool,
}

impl Backends {
    pub(super) fn new(backends: BTreeMap<String, SocketAddr>, healthy: bool) -> Self {
        let one = |(name, address)| {
            Arc::new(Backend {
                name,
                address,
                healthy: AtomicBool::new(healthy),
                draining: AtomicBool::new(false),
                open: AtomicUsize::new(0),
                carried: AtomicU64::new(0),
                refused: AtomicU64::new(0),
                falls: watch::Sender::new(0),
            })
        };
        Self { all: backends.into_iter().map(one).collect(), choosing: Arc::default(), unchecked: healthy }
    }

    pub(super) fn all(&self) -> &[Arc<Backend>] {
        &self.all
    }

    /// The one that is up with the fewest open connections, and of those the one that got the fewest in all. Without
    /// health checks only the latter counts.
    pub(super) fn choose(&self, tried: &[String]) -> Option<Carried> {
        let _held = self.choosing.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let up = self.all.iter().filter(|backend| backend.is_up() && !tried.contains(&backend.name));
        let load = |backend: &&Arc<Backend>| {
            let open = if self.unchecked { 0 } else { backend.open.load(Ordering::Relaxed) };
            (open, backend.carried.load(Ordering::Relaxed))
        };
        let chosen = up.min_by_key(load)?;
        chosen.open.fetch_add(1, Ordering::Relaxed);
        Some(Carried(chosen.clone()))
    }

    /// State and counts by name.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<String, Count> {
        self.all.iter().map(|backend| (backend.name.clone(), backend.count())).collect()
    }

    /// Gives a backend no new connections, or gives it some again; `false` where there is none of this name.
    pub fn drain(&self, name: &str, draining: bool) -> bool {
        let found = self.all.iter().find(|backend| backend.name == name);
        found.inspect(|backend| backend.draining.store(draining, Ordering::Release)).is_some()
    }
}

//! The load balancer before the API servers: TCP, without a look into what it carries.
//!
//! Backends are asked for their health (`/readyz`); a connection goes to the healthy one with the fewest, and to the
//! next if that does not answer. A backend that falls ill loses its connections, so that clients do not wait on a
//! silence; one that is drained keeps them and gets no new ones. The listening sockets come from outside ([`bind`]):
//! who keeps a clone of them can stop one balancer and start the next, and nobody is refused in between.

mod backend;
mod health;
mod serve;

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

pub use backend::{Backends, Count, State};
pub use health::Health;
pub use serve::{ARGUMENT, CONTROL, Settings, inherited, main};

/// How long a backend may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(2);

/// What is balanced.
#[derive(Debug, Clone)]
pub struct Config {
    /// The backends by name.
    pub backends: BTreeMap<String, SocketAddr>,
    /// How they are asked for their health; without it every backend counts as healthy.
    pub health: Option<Health>,
}

/// Why a balancer does not start.
#[derive(Debug, thiserror::Error)]
pub enum BalancerError {
    /// An address cannot be listened on.
    #[error("{address} cannot be listened on: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// The health check cannot be made.
    #[error("health cannot be asked for: {0}")]
    Health(String),
    /// There is nothing to balance.
    #[error("there are no backends")]
    NoBackends,
}

/// Listens on these addresses, of one family or both. Connections wait in the sockets' backlog while no balancer takes
/// them.
///
/// # Errors
/// [`BalancerError::Listen`] names the address.
pub fn bind(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, BalancerError> {
    let listen =
        |&address: &SocketAddr| TcpListener::bind(address).map_err(|source| BalancerError::Listen { address, source });
    addresses.iter().map(listen).collect()
}

/// A balancer that runs until it is stopped or dropped.
#[derive(Debug)]
pub struct Balancer {
    backends: Backends,
    addresses: Vec<SocketAddr>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Balancer {
    /// Asks every backend for its health once, and begins to take connections from these sockets.
    ///
    /// # Errors
    /// [`BalancerError`] names the address or what is wrong with the health check.
    pub async fn start(sockets: Vec<TcpListener>, config: Config) -> Result<Self, BalancerError> {
        if config.backends.is_empty() {
            return Err(BalancerError::NoBackends);
        }
        let mut listeners = Vec::new();
        for socket in sockets {
            let address = socket.local_addr().unwrap_or_else(|_| (Ipv4Addr::UNSPECIFIED, 0).into());
            let listener = socket.set_nonblocking(true).and_then(|()| tokio::net::TcpListener::from_std(socket));
            listeners.push(listener.map_err(|source| BalancerError::Listen { address, source })?);
        }
        let addresses = listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect();
        let backends = Backends::new(config.backends, config.health.is_none());
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        if let Some(health) = config.health {
            let asker = health::Asker::new(health).map_err(BalancerError::Health)?;
            let asker = Arc::new(asker);
            // Once before the first client, so that it is not sent to one that is down.
            let mut first = JoinSet::new();
            for backend in backends.all() {
                let (asker, backend) = (asker.clone(), backend.clone());
                first.spawn(async move { asker.begin(&backend).await });
            }
            first.join_all().await;
            for backend in backends.all() {
                let (asker, backend, stopped) = (asker.clone(), backend.clone(), stopped.clone());
                tasks.spawn(async move { asker.watch(&backend, stopped).await });
            }
        }
        for listener in listeners {
            tasks.spawn(accept(listener, backends.clone(), stopped.clone()));
        }
        Ok(Self { backends, addresses, stop, tasks })
    }

    /// Where it listens: the ports that the kernel chose, where none was named.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The backends: their state and counts, and the means to drain them.
    #[must_use]
    pub fn backends(&self) -> &Backends {
        &self.backends
    }

    /// Takes no more connections, lets connections end by themselves for as long as `grace`, then ends them.
    pub async fn stop(mut self, grace: Duration) {
        self.stop.send_replace(true);
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(grace, ended).await.is_err() {
            self.tasks.shutdown().await;
        }
    }
}

/// Takes connections until it is told to stop; then waits for those that it took.
async fn accept(listener: tokio::net::TcpListener, backends: Backends, mut stopped: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = stopped.changed() => break,
            accepted = listener.accept() => match accepted {
                Ok((client, _)) => {
                    connections.spawn(carry(client, backends.clone()));
                }
                // Out of descriptors, most likely: clients wait in the backlog meanwhile.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Carries one connection. A client that no backend takes is closed at once.
async fn carry(mut client: TcpStream, backends: Backends) {
    let mut tried = Vec::new();
    while let Some(chosen) = backends.choose(&tried) {
        let backend = &chosen.0;
        let mut ill = backend.falls_ill();
        let connected = tokio::time::timeout(CONNECT, TcpStream::connect(backend.address)).await;
        let Ok(Ok(mut server)) = connected else {
            backend.refused();
            tried.push(backend.name.clone());
            continue;
        };
        client.set_nodelay(true).ok();
        server.set_nodelay(true).ok();
        backend.accepted();
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
            _ = ill.changed() => {}
        }
        return;
    }
}

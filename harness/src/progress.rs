//! Progress on standard error: a live bar on a terminal, plain lines and a heartbeat elsewhere.

use std::collections::BTreeSet;
use std::io::IsTerminal as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anstream::eprintln;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How long CI may hear nothing.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// What is shown while the trials run.
pub(crate) struct Progress {
    bar: ProgressBar,
    state: Mutex<State>,
}

struct State {
    running: BTreeSet<String>,
    done: usize,
    total: usize,
    said: Instant,
}

impl Progress {
    /// Progress of `total` trials.
    pub(crate) fn new(total: usize) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let target = if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(total as u64), target);
        if let Ok(style) = ProgressStyle::with_template("{bar:24} {pos}/{len} {elapsed} (about {eta} left) {wide_msg}")
        {
            bar.set_style(style);
        }
        if terminal {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        Self { bar, state: Mutex::new(State { running: BTreeSet::new(), done: 0, total, said: Instant::now() }) }
    }

    /// Says what is under way besides trials.
    pub(crate) fn phase(&self, text: String) {
        if self.bar.is_hidden() { eprintln!("{text}") } else { self.bar.set_message(text) }
    }

    /// The same, where it is said often: only a terminal shows it.
    pub(crate) fn show_phase(&self, text: String) {
        self.bar.set_message(text);
    }

    /// A trial began.
    pub(crate) fn begin(&self, id: &str) {
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        state.running.insert(id.to_owned());
        self.show(&mut state);
    }

    /// A trial ended.
    pub(crate) fn end(&self, id: &str) {
        let mut state = self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        state.running.remove(id);
        state.done += 1;
        self.bar.set_position(state.done as u64);
        self.show(&mut state);
    }

    /// Called while waiting: the heartbeat.
    pub(crate) fn beat(&self) {
        self.show(&mut self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    }

    fn show(&self, state: &mut State) {
        let running: Vec<_> = state.running.iter().map(String::as_str).collect();
        if !self.bar.is_hidden() {
            self.bar.set_message(running.join(", "));
        } else if state.said.elapsed() >= HEARTBEAT {
            state.said = Instant::now();
            eprintln!("{} of {} done; running: {}", state.done, state.total, running.join(", "));
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

//! The pulse of this process: how long it did not run though it wanted to. What the machine withholds from it, it
//! cannot blame on a cluster.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::clock::{Clock, nanoseconds};

/// Between two beats.
const BEAT: Duration = Duration::from_millis(20);

/// Beats until it is dropped.
pub(super) struct Pulse {
    /// When a beat was late, and by how much.
    late: Arc<Mutex<Vec<(u64, u64)>>>,
    task: JoinHandle<()>,
}

impl Drop for Pulse {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Pulse {
    pub(super) fn start(clock: Clock) -> Self {
        let late: Arc<Mutex<Vec<(u64, u64)>>> = Arc::default();
        let noted = late.clone();
        let task = tokio::spawn(async move {
            let mut last = clock.now();
            loop {
                tokio::time::sleep(BEAT).await;
                let now = clock.now();
                let over = (now - last).saturating_sub(nanoseconds(BEAT));
                if over > nanoseconds(BEAT) {
                    noted.lock().unwrap_or_else(PoisonError::into_inner).push((now, over));
                }
                last = now;
            }
        });
        Self { late, task }
    }

    /// The longest time between two moments in which this process did not run.
    pub(super) fn longest(&self, from: u64, to: u64) -> u64 {
        let late = self.late.lock().unwrap_or_else(PoisonError::into_inner);
        let within = late.iter().filter(|(at, over)| *at >= from && at.saturating_sub(*over) <= to);
        within.map(|(_, over)| *over).max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_that_is_held_up_notices() {
        let clock = Clock::new();
        let pulse = Pulse::start(clock);
        tokio::time::sleep(BEAT * 2).await;
        let from = clock.now();
        // One thread: nothing else runs meanwhile.
        std::thread::sleep(Duration::from_millis(200));
        tokio::time::sleep(BEAT * 2).await;
        assert!(pulse.longest(from, clock.now()) > nanoseconds(Duration::from_millis(100)));
    }
}

//! The clock of a history: nanoseconds of the monotonic clock since a minute before the history began.

use std::time::{Duration, Instant};

use jiff::Timestamp;

/// Leases are acquired before a history begins: so much of the time before it can be told.
const BEFORE: Duration = Duration::from_mins(1);

/// One clock for all that is recorded of a history.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    origin: Instant,
    wall: Timestamp,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self { origin: Instant::now(), wall: Timestamp::now() }
    }

    pub(super) fn now(self) -> u64 {
        self.at(Instant::now())
    }

    pub(super) fn at(self, moment: Instant) -> u64 {
        nanoseconds(moment.saturating_duration_since(self.origin) + BEFORE)
    }

    /// The moment of a time that a component wrote: all hosts have this machine's clock. Earlier ones are the
    /// beginning.
    pub(super) fn wall(self, time: Timestamp) -> u64 {
        let since = time.duration_since(self.wall).as_nanos() + i128::from(nanoseconds(BEFORE));
        u64::try_from(since.max(0)).unwrap_or(u64::MAX)
    }
}

pub(super) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

pub(super) fn seconds(nanoseconds: u64) -> f64 {
    Duration::from_nanos(nanoseconds).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_clocks_agree() {
        let clock = Clock::new();
        let minute = nanoseconds(BEFORE);
        assert_eq!(clock.at(clock.origin), minute);
        assert_eq!(clock.wall(clock.wall), minute);
        assert_eq!(clock.wall(clock.wall - jiff::SignedDuration::from_secs(10)), minute - 10_000_000_000);
        assert_eq!(clock.wall(clock.wall - jiff::SignedDuration::from_hours(10)), 0);
    }
}

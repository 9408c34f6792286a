//! What the drills of this run have shown of each cluster so far: rows, anomalies, and how quiet the machine is.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use seaworthy_history::Anomaly;

use super::load::INTERVALS;
use super::row::Row;

/// So many windows without a fault tell what the machine shows by itself.
const WINDOWS: usize = 3;

/// One cluster's past.
#[derive(Debug, Clone, Default)]
pub(super) struct Past {
    /// One row for each fault.
    pub(super) rows: Vec<Row>,
    /// What was wrong with the histories, and during which fault.
    pub(super) anomalies: Vec<(String, Anomaly)>,
    /// Operations and events of watches that were judged, those without a fault included.
    pub(super) operations: usize,
    pub(super) events: usize,
    /// The longest gaps of the last windows without a fault.
    quiet: Vec<u64>,
    /// The place in [`INTERVALS`] of the rate that the machine bears.
    pace: usize,
}

/// By the cluster's uid.
static PAST: Mutex<BTreeMap<String, Past>> = Mutex::new(BTreeMap::new());

impl Past {
    /// A copy of a cluster's past.
    pub(super) fn of(uid: &str) -> Self {
        PAST.lock().unwrap_or_else(PoisonError::into_inner).get(uid).cloned().unwrap_or_default()
    }

    /// Changes a cluster's past.
    pub(super) fn change<T>(uid: &str, change: impl FnOnce(&mut Self) -> T) -> T {
        change(PAST.lock().unwrap_or_else(PoisonError::into_inner).entry(uid.to_owned()).or_default())
    }

    /// The rates that are left to try, the fastest first.
    pub(super) fn paces(&self) -> &'static [Duration] {
        &INTERVALS[self.pace..]
    }

    /// From now on a slower rate.
    pub(super) fn slow_down(&mut self) {
        self.pace = (self.pace + 1).min(INTERVALS.len() - 1);
        self.quiet.clear();
    }

    /// Notes the longest gap of a window without a fault; the longest one of the last windows.
    pub(super) fn undisturbed(&mut self, gap: u64) -> u64 {
        self.quiet.push(gap);
        let old = self.quiet.len().saturating_sub(WINDOWS);
        self.quiet.drain(..old);
        self.quiet.iter().copied().max().unwrap_or_default()
    }

    /// Puts a row in the place of an earlier one of the same fault.
    pub(super) fn put(&mut self, row: Row) {
        self.rows.retain(|other| other.fault != row.fault);
        self.rows.push(row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_quiet_is_told_by_the_last_windows_at_one_rate() {
        let mut past = Past::default();
        assert_eq!([900, 20, 30, 40].map(|gap| past.undisturbed(gap)), [900, 900, 900, 40]);
        past.slow_down();
        assert_eq!((past.undisturbed(5), past.paces()), (5, &INTERVALS[1..]));
        INTERVALS.iter().for_each(|_| past.slow_down());
        assert_eq!(past.paces(), &INTERVALS[INTERVALS.len() - 1..]);
    }
}

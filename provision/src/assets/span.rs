//! Ranges of versions, for what is not of all of them.

use super::Version;

/// Some versions of a project: from one on, and up to another that is not among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    since: [u32; 3],
    until: [u32; 3],
}

/// All versions.
pub(crate) const ALL: Span = Span { since: [0; 3], until: [u32::MAX; 3] };

/// From this version on.
pub(crate) const fn since(major: u32, minor: u32, patch: u32) -> Span {
    Span { since: [major, minor, patch], ..ALL }
}

/// Before this minor version.
pub(crate) const fn until(major: u32, minor: u32) -> Span {
    Span { until: [major, minor, 0], ..ALL }
}

/// From one minor version on, before another.
pub(crate) const fn between(since: [u32; 2], until: [u32; 2]) -> Span {
    Span { since: [since[0], since[1], 0], until: [until[0], until[1], 0] }
}

impl Span {
    /// Is the version among them?
    #[must_use]
    pub fn has(&self, version: &Version) -> bool {
        let numbers = version.numbers();
        self.since <= numbers && numbers < self.until
    }
}

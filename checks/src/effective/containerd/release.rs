//! The release of a containerd, and which rules it follows.

use std::fmt;

/// A release of containerd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Release([u32; 3]);

impl Release {
    /// A release by its numbers.
    #[must_use]
    pub const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self([major, minor, patch])
    }

    /// The release in what containerd says: `v2.2.1`, `1.6.20~ds1`, `v2.0.5-k3s1.32`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().trim_start_matches('v');
        let mut parts = text.split('.').map(|part| {
            let digits = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
            part[..digits].parse::<u32>().ok()
        });
        let (major, minor) = (parts.next()??, parts.next()??);
        Some(Self([major, minor, parts.next().flatten().unwrap_or(0)]))
    }

    /// The release in the output of `containerd --version`.
    #[must_use]
    pub fn said(output: &str) -> Option<Self> {
        output.split_whitespace().skip(1).find_map(|word| {
            word.trim_start_matches('v').starts_with(|c: char| c.is_ascii_digit()).then(|| Self::parse(word)).flatten()
        })
    }

    /// What a configuration of this version is for, where containerd itself does not answer.
    #[must_use]
    pub const fn for_config(version: i64) -> Self {
        match version {
            ..=2 => Self([1, 7, 29]),
            3 => Self([2, 2, 0]),
            _ => Self([2, 4, 0]),
        }
    }

    /// Major and minor.
    #[must_use]
    pub const fn series(self) -> (u32, u32) {
        (self.0[0], self.0[1])
    }

    /// Is it containerd 2 or later?
    #[must_use]
    pub const fn is_2(self) -> bool {
        self.0[0] >= 2
    }

    /// The newest version of configurations that it reads; `None` for those that do not look.
    pub(super) fn newest_config(self) -> Option<i64> {
        match self.0 {
            [1, 6, patch] if patch >= 32 => Some(2),
            [1, 7, patch] if patch >= 17 => Some(2),
            [..=1, ..] => None,
            [2, ..=2, _] => Some(3),
            _ => Some(4),
        }
    }

    /// Does a relative pattern begin at the folder of the file that imports it, rather than at the working directory?
    pub(super) fn patterns_are_relative_to_the_file(self) -> bool {
        match self.0 {
            [1, 6, patch] => patch >= 30,
            [1, 7, patch] => patch >= 16,
            [major, ..] => major >= 2,
        }
    }

    /// Is each file migrated before it is merged? Before 2.3 the merged whole is, by the version of the last file.
    pub(super) fn migrates_each_file(self) -> bool {
        self >= Self([2, 3, 0])
    }

    /// May an imported file have a newer version than the main file?
    pub(super) fn takes_newer_imports(self) -> bool {
        !matches!(self.0, [2, 3, ..=4])
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0[0], self.0[1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_read_as_packages_say_them() {
        for (text, wanted) in [
            ("v2.2.1", [2, 2, 1]),
            ("1.6.20~ds1", [1, 6, 20]),
            ("v2.0.5-k3s1.32", [2, 0, 5]),
            ("1.7.12-0ubuntu4", [1, 7, 12]),
            ("2.1", [2, 1, 0]),
        ] {
            assert_eq!(Release::parse(text), Some(Release(wanted)), "{text}");
        }
        assert_eq!(Release::parse("unknown"), None);
        let said = "containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1+deb12u3\n";
        assert_eq!(Release::said(said), Some(Release::new(1, 6, 20)));
        let said = "containerd github.com/containerd/containerd/v2 v2.1.4 75cb2b7193e4e490e9fbdc236c0e811ccaba3376\n";
        assert_eq!(Release::said(said), Some(Release::new(2, 1, 4)));
        assert_eq!(
            Release::said("containerd github.com/containerd/containerd/v2 2.4.2+unknown \n").unwrap().series(),
            (2, 4)
        );
    }
}

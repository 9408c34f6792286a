//! Levels and versions, as the labels of a namespace name them.

use std::fmt;
use std::str::FromStr;

/// How strict a policy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Everything is allowed.
    Privileged,
    /// Known privilege escalations are refused.
    Baseline,
    /// Pods are hardened as current practice has it.
    Restricted,
}

/// Whose rules hold: those of a release, or those of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// Of the release 1.x.
    V1(u32),
    /// Of the server that evaluates.
    Latest,
}

/// A level and a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Policy {
    /// How strict.
    pub level: Level,
    /// By whose rules.
    pub version: Version,
}

/// A level or a version that admission would not take, in its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum BadPolicy {
    /// Not a level.
    #[error("must be one of privileged, baseline, restricted")]
    Level,
    /// Not a version.
    #[error("must be \"latest\" or \"v1.x\"")]
    Version,
}

impl Level {
    /// All of them, from the least to the most strict.
    pub const ALL: [Self; 3] = [Self::Privileged, Self::Baseline, Self::Restricted];

    /// The name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Privileged => "privileged",
            Self::Baseline => "baseline",
            Self::Restricted => "restricted",
        }
    }

    /// The level that is one step stricter.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        match self {
            Self::Privileged => Some(Self::Baseline),
            Self::Baseline => Some(Self::Restricted),
            Self::Restricted => None,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Level {
    type Err = BadPolicy;

    fn from_str(text: &str) -> Result<Self, BadPolicy> {
        Self::ALL.into_iter().find(|level| level.name() == text).ok_or(BadPolicy::Level)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V1(minor) => write!(f, "v1.{minor}"),
            Self::Latest => f.write_str("latest"),
        }
    }
}

impl FromStr for Version {
    type Err = BadPolicy;

    /// Admission's own pattern: `^v1\.([0-9]|[1-9][0-9]*)$`.
    fn from_str(text: &str) -> Result<Self, BadPolicy> {
        if text == "latest" {
            return Ok(Self::Latest);
        }
        let digits = text.strip_prefix("v1.").ok_or(BadPolicy::Version)?;
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits.len() == 1 || !digits.starts_with('0'));
        // Go's integer holds more, which is as new as the newest.
        let minor = if digits.len() > 9 && digits.parse::<i64>().is_ok() { Ok(u32::MAX) } else { digits.parse() };
        minor.ok().filter(|_| plain).map(Self::V1).ok_or(BadPolicy::Version)
    }
}

/// As admission writes it: `restricted:v1.37`.
impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.level, self.version)
    }
}

/// `LEVEL:VERSION`, or a level alone, which means its latest version.
impl FromStr for Policy {
    type Err = BadPolicy;

    fn from_str(text: &str) -> Result<Self, BadPolicy> {
        let (level, version) = text.split_once(':').unwrap_or((text, "latest"));
        Ok(Self { level: level.parse()?, version: version.parse()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_those_that_admission_takes() {
        for (text, wanted) in [
            ("latest", Ok(Version::Latest)),
            ("v1.0", Ok(Version::V1(0))),
            ("v1.37", Ok(Version::V1(37))),
            ("v1.99999999999", Ok(Version::V1(u32::MAX))),
            ("v1.01", Err(BadPolicy::Version)),
            ("v1.", Err(BadPolicy::Version)),
            ("1.37", Err(BadPolicy::Version)),
            ("v2.0", Err(BadPolicy::Version)),
            ("v1.+3", Err(BadPolicy::Version)),
            ("v1.99999999999999999999", Err(BadPolicy::Version)),
        ] {
            assert_eq!(text.parse(), wanted, "{text}");
        }
        assert_eq!("baseline".parse::<Policy>().unwrap().to_string(), "baseline:latest");
        assert_eq!("Baseline:v1.2".parse::<Policy>(), Err(BadPolicy::Level));
    }
}

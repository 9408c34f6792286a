//! A fact that may be missing, and why: absent, unreadable and not looked at are three different things.

use crate::conclusion::Inconclusive;

/// What is known of one thing on a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact<T> {
    /// Seen and understood.
    Known(T),
    /// Looked for, and it is not there.
    Absent(String),
    /// It is there, and could not be read; the text says why.
    Unreadable(String),
    /// It was read, and is not what it should be; the text says where and why.
    Malformed(String),
    /// Nobody looked: `--passive`, an older recording, a host that cannot answer.
    NotGathered(String),
}

impl<T> Fact<T> {
    /// The value, if it is known.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            _ => None,
        }
    }

    /// The value; for a judge that cannot conclude without it.
    ///
    /// # Errors
    /// [`Inconclusive`] with what was wanted and why it is not known.
    pub fn need(&self, what: &str) -> Result<&T, Inconclusive> {
        match self {
            Self::Known(value) => Ok(value),
            Self::Absent(why) | Self::Unreadable(why) | Self::Malformed(why) | Self::NotGathered(why) => {
                Err(Inconclusive::because_of(what, why))
            }
        }
    }

    /// The value, `None` if it is known to be absent; for a judge to whom absence says something.
    ///
    /// # Errors
    /// [`Inconclusive`] if it could not be read or nobody looked.
    pub fn present(&self, what: &str) -> Result<Option<&T>, Inconclusive> {
        match self {
            Self::Known(value) => Ok(Some(value)),
            Self::Absent(_) => Ok(None),
            Self::Unreadable(why) | Self::Malformed(why) | Self::NotGathered(why) => {
                Err(Inconclusive::because_of(what, why))
            }
        }
    }

    /// Is it known to be absent?
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Absent(_))
    }

    /// Applies a total function to a known value.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Fact<U> {
        self.and_then(|value| Fact::Known(f(value)))
    }

    /// Applies a function that may itself not know.
    pub fn and_then<U>(self, f: impl FnOnce(T) -> Fact<U>) -> Fact<U> {
        match self {
            Self::Known(value) => f(value),
            Self::Absent(why) => Fact::Absent(why),
            Self::Unreadable(why) => Fact::Unreadable(why),
            Self::Malformed(why) => Fact::Malformed(why),
            Self::NotGathered(why) => Fact::NotGathered(why),
        }
    }

    /// Parses a known value; an error makes it malformed.
    pub fn parse<U, E: std::fmt::Display>(self, f: impl FnOnce(T) -> Result<U, E>) -> Fact<U> {
        self.and_then(|value| match f(value) {
            Ok(parsed) => Fact::Known(parsed),
            Err(error) => Fact::Malformed(error.to_string()),
        })
    }
}

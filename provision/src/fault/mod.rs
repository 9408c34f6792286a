//! Faults: what breaks a cluster on purpose, on its hosts, their links and their disks.
//!
//! A [`Fault`] is a value: it can be read from words ([`grammar`]), stored, described, timed and undone. [`plan`] turns
//! all that are active into what is to be in force, whole: rules of the network, delays, settings of disks and
//! processes that are held down. Who applies a plan need not know what was in force before. [docs/faults.md] says what
//! each fault does exactly.
//!
//! [docs/faults.md]: https://github.com/seaworthy-dev/seaworthy/blob/main/docs/faults.md

pub mod control;
pub mod disk;
pub mod grammar;
pub mod link;
pub mod plan;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::io::Write as _;
use std::num::NonZeroU64;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// What is broken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Fault {
    /// Processes are killed (SIGKILL), and stay down until it is undone. Their peers see connections reset.
    Kill(Processes),
    /// Processes stand still (SIGSTOP) until it is undone. Their peers see silence: the twin of [`Fault::Kill`].
    Stop(Processes),
    /// Processes are killed and started again at once. Nothing is left to undo.
    Restart(Processes),
    /// Hosts lose their power: everything on them is killed and what was not synced to disk is gone. They stay off
    /// until it is undone.
    PowerCut {
        /// The hosts.
        hosts: Hosts,
    },
    /// Hosts do not reach others.
    Partition {
        /// Who is affected, and in which directions.
        path: Path,
        /// Whether senders are told, or hear nothing.
        #[serde(default)]
        reject: bool,
    },
    /// Hosts reach nothing and are not reached, each for itself: not by each other, nor by what is no host of the
    /// cluster.
    Isolate {
        /// The hosts.
        hosts: Hosts,
        /// Whether senders are told, or hear nothing.
        #[serde(default)]
        reject: bool,
    },
    /// Frames come late, each way.
    Delay {
        /// Whose frames.
        path: Path,
        /// How late, one way; a round trip takes twice as much longer.
        delay: Duration,
        /// By how much that differs from frame to frame, more or less.
        #[serde(default)]
        jitter: Duration,
    },
    /// Frames are lost at random.
    Loss {
        /// Whose frames.
        path: Path,
        /// How many.
        share: Share,
    },
    /// A path carries only so much.
    Bandwidth {
        /// Whose frames.
        path: Path,
        /// Bits per second, in each direction.
        rate: NonZeroU64,
    },
    /// Disks are full.
    DiskFull {
        /// The hosts.
        hosts: Hosts,
        /// So many bytes can still be written.
        free: u64,
    },
    /// Disks are slow.
    SlowDisk {
        /// The hosts.
        hosts: Hosts,
        /// How much longer an fsync takes.
        fsync: Duration,
        /// How much longer a read takes that is not answered from memory.
        read: Duration,
        /// How much longer a write takes.
        write: Duration,
    },
    /// Disks cannot be read: reads that are not answered from memory fail with an input/output error.
    DiskErrors {
        /// The hosts.
        hosts: Hosts,
    },
}

/// Processes: all of some hosts, or one component on each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Processes {
    /// The hosts.
    pub hosts: Hosts,
    /// The component; without it everything on the host.
    pub component: Option<String>,
}

/// What lies between hosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Path {
    /// One side.
    pub from: Hosts,
    /// The other side; without it the links of the first side's hosts, whatever they lead to.
    pub to: Option<Hosts>,
    /// Whether only what the first side sends is affected.
    #[serde(default)]
    pub one_way: bool,
}

/// A set of hosts, as it was named. Which hosts that is the plan finds out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hosts(BTreeSet<Selector>);

/// One name in a set of hosts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Selector {
    Host(String),
    Zone(String),
    /// The first members of etcd by name, as many as make a majority.
    Majority,
    /// The other members.
    Minority,
}

impl FromStr for Hosts {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let name = |name: &str| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
            let good = name.bytes().all(plain) && name.starts_with(|first: char| first.is_ascii_alphanumeric());
            good.then(|| name.to_owned()).ok_or_else(|| format!("{name:?} is no name of a host or zone"))
        };
        let selector = |word: &str| {
            Ok(match (word, word.strip_prefix("zone:")) {
                ("majority", _) => Selector::Majority,
                ("minority", _) => Selector::Minority,
                (_, Some(zone)) => Selector::Zone(name(zone)?),
                (host, None) => Selector::Host(name(host)?),
            })
        };
        Ok(Self(text.split(',').map(selector).collect::<Result<_, String>>()?))
    }
}

impl fmt::Display for Hosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, selector) in self.0.iter().enumerate() {
            f.write_str(if number > 0 { "," } else { "" })?;
            match selector {
                Selector::Host(name) => f.write_str(name)?,
                Selector::Zone(name) => write!(f, "zone:{name}")?,
                Selector::Majority => f.write_str("majority")?,
                Selector::Minority => f.write_str("minority")?,
            }
        }
        Ok(())
    }
}

impl TryFrom<String> for Hosts {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Hosts> for String {
    fn from(hosts: Hosts) -> Self {
        hosts.to_string()
    }
}

/// A share, in hundredths of a percent: from 1 to 10,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Share(u16);

impl TryFrom<u16> for Share {
    type Error = String;

    fn try_from(share: u16) -> Result<Self, String> {
        if (1..=10_000).contains(&share) {
            Ok(Self(share))
        } else {
            Err(format!("{}% is not from 0.01% to 100%", f64::from(share) / 100.0))
        }
    }
}

impl From<Share> for u16 {
    fn from(share: Share) -> Self {
        share.0
    }
}

/// A fault that is in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Active {
    /// By which it is undone.
    pub id: u32,
    /// What is broken.
    pub fault: Fault,
    /// Since when.
    pub started: Timestamp,
    /// When it ends by itself, if ever.
    pub until: Option<Timestamp>,
}

/// The faults of one cluster that are in force, in the order they came.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Faults {
    last: u32,
    active: Vec<Active>,
}

impl Faults {
    /// Those in force.
    #[must_use]
    pub fn active(&self) -> &[Active] {
        &self.active
    }

    /// Takes one into force, until it is undone or for as long as it lasts. An id is never given twice.
    pub fn begin(&mut self, fault: Fault, now: Timestamp, lasts: Option<Duration>) -> Active {
        self.last += 1;
        let until = lasts.and_then(|lasts| now.checked_add(SignedDuration::try_from(lasts).ok()?).ok());
        let active = Active { id: self.last, fault, started: now, until };
        self.active.push(active.clone());
        active
    }

    /// Ends one. `None`: there is none of this id, or no longer.
    pub fn undo(&mut self, id: u32) -> Option<Active> {
        let at = self.active.iter().position(|active| active.id == id)?;
        Some(self.active.remove(at))
    }

    /// Ends all.
    pub fn undo_all(&mut self) -> Vec<Active> {
        std::mem::take(&mut self.active)
    }

    /// Ends those whose time is over.
    pub fn expire(&mut self, now: Timestamp) -> Vec<Active> {
        self.active.extract_if(.., |active| active.until.is_some_and(|until| until <= now)).collect()
    }

    /// When the next one ends by itself.
    #[must_use]
    pub fn next_end(&self) -> Option<Timestamp> {
        self.active.iter().filter_map(|active| active.until).min()
    }
}

/// Runs one of the processes that make faults, if the arguments (with the program's name) ask for one. To be called
/// before anything starts a thread.
#[must_use]
pub fn process_main(arguments: &[OsString]) -> Option<ExitCode> {
    let (name, rest) = arguments.get(1..)?.split_first()?;
    let ended = match name.to_str()? {
        link::delay::NAME => link::delay::main(rest),
        disk::NAME => disk::main(rest),
        _ => return None,
    };
    let Err(error) = ended else { return Some(ExitCode::SUCCESS) };
    writeln!(std::io::stderr(), "{}: {error}", name.display()).ok();
    Some(ExitCode::FAILURE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_end_when_they_are_undone_or_their_time_is_over() {
        let now = Timestamp::UNIX_EPOCH;
        let fault = Fault::DiskErrors { hosts: "cp1".parse().unwrap() };
        let mut faults = Faults::default();
        let ids = [None, Some(Duration::from_secs(30)), Some(Duration::from_secs(10))]
            .map(|lasts| faults.begin(fault.clone(), now, lasts).id);
        assert_eq!(ids, [1, 2, 3]);
        let after = |seconds| now + SignedDuration::from_secs(seconds);
        assert_eq!(faults.next_end(), Some(after(10)));
        assert!(faults.expire(after(9)).is_empty());
        assert_eq!(faults.expire(after(10)).len(), 1);
        assert_eq!(faults.undo(3), None);
        assert_eq!(faults.undo(2).unwrap().until, Some(after(30)));
        let stored = serde_json::to_string(&faults).unwrap();
        let mut faults: Faults = serde_json::from_str(&stored).unwrap();
        assert_eq!(faults.begin(fault, now, None).id, 4);
        assert_eq!(faults.undo_all().len(), 2);
        assert_eq!((faults.active(), faults.next_end()), (&[][..], None));
    }
}

//! The node suite: every check of the registry, over the facts of one node.

use std::path::{Path, PathBuf};
use std::time::Duration;

use seaworthy_checks::host::{
    BadRecording, Host, Layout, LiveHost, Meta, Query, Recorder, Refusal, Reply, Transcript, read_recording,
};
use seaworthy_checks::node::{Facts, Peer, View, checks};
use seaworthy_reports::{Evidence, Subject};

use crate::convert;
use crate::trial::{Suite, Trial};

/// A node on trial: what it said, and what that means.
#[derive(Debug)]
pub struct Node {
    /// Its host name, or the recording's.
    pub name: String,
    /// Where, when and by what it was gathered.
    pub meta: Meta,
    /// What it said.
    pub transcript: Transcript,
    /// What that means.
    pub facts: Facts,
}

/// Why a node cannot be put on trial.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// Its root cannot be opened, or is none.
    #[error("{0}")]
    Root(#[from] Refusal),
    /// A recording cannot be opened.
    #[error("{path}: {source}")]
    Open {
        /// The recording.
        path: PathBuf,
        /// What the file system said.
        source: std::io::Error,
    },
    /// A file is no recording.
    #[error("{path} is no recording of a node: {source}")]
    Recording {
        /// The file.
        path: PathBuf,
        /// Why.
        source: BadRecording,
    },
}

/// A node that can be put on trial: named, not yet asked.
pub enum Source {
    /// A live node.
    Live {
        /// Its host name.
        name: String,
        /// The node.
        host: LiveHost,
    },
    /// A recorded one.
    Recorded {
        /// Its meta data.
        meta: Meta,
        /// What it said.
        transcript: Transcript,
    },
}

impl Source {
    /// Opens a node: a folder is a live node's root, of which `layout` says what lies elsewhere; a file is a recording.
    ///
    /// Probes of a live node start this very program again, which must call [`probe_main`] first.
    ///
    /// [`probe_main`]: seaworthy_checks::host::probe_main
    ///
    /// # Errors
    /// [`NodeError`] that names the path and what is wrong with it.
    pub fn open(path: &Path, layout: &Layout) -> Result<Self, NodeError> {
        if !path.is_file() {
            let host = LiveHost::open(path)?.with_probes("/proc/self/exe").with_layout(layout.clone());
            let name = match host.ask(&Query::System) {
                Ok(Reply::System(system)) => system.nodename,
                _ => "unknown".to_owned(),
            };
            return Ok(Self::Live { name, host });
        }
        let open = |source| NodeError::Open { path: path.to_owned(), source };
        let file = std::fs::File::open(path).map_err(open)?;
        let recording = read_recording(std::io::BufReader::new(file));
        let (meta, transcript) = recording.map_err(|source| NodeError::Recording { path: path.to_owned(), source })?;
        Ok(Self::Recorded { meta, transcript })
    }

    /// The node's name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Live { name, .. } => name,
            Self::Recorded { meta, .. } => &meta.hostname,
        }
    }

    /// Is it a live node, that may say something else when it is asked again?
    #[must_use]
    pub fn is_live(&self) -> bool {
        matches!(self, Self::Live { .. })
    }

    /// Asks the node everything; `passive` leaves out all that does more than look.
    #[must_use]
    pub fn gather(&self, passive: bool) -> Node {
        match self {
            Self::Recorded { meta, transcript } => Node::of(meta.clone(), transcript.clone()),
            Self::Live { name, host } => {
                let recorder = Recorder::new(host, passive);
                let facts = Facts::read(&recorder);
                // For the head of the report, whether or not a judge needs it.
                recorder.ask(&Query::System).ok();
                recorder.ask(&Query::Read { path: "/etc/os-release".to_owned() }).ok();
                let meta = Meta {
                    hostname: name.clone(),
                    recorded: jiff::Timestamp::now(),
                    version: env!("CARGO_PKG_VERSION").to_owned(),
                    constructed: None,
                };
                Node { name: name.clone(), meta, transcript: recorder.finish(), facts }
            }
        }
    }
}

impl Node {
    /// A node of a transcript.
    #[must_use]
    pub fn of(meta: Meta, transcript: Transcript) -> Self {
        Self { name: meta.hostname.clone(), facts: Facts::read(&transcript), meta, transcript }
    }

    /// The node as a report's subject.
    #[must_use]
    pub fn subject(&self) -> Subject {
        let host: &dyn Host = &self.transcript;
        let mut facts = Vec::new();
        let mut fact = |label: &str, value: String| facts.push(Evidence { label: label.to_owned(), value });
        fact("recorded", self.meta.recorded.strftime("%Y-%m-%d %H:%M:%S UTC").to_string());
        if let Some(how) = &self.meta.constructed {
            fact("constructed", how.clone());
        }
        if let Some(release) = host.text("/etc/os-release").known() {
            let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
            if let Some(name) = name {
                fact("system", name.trim_matches('"').to_owned());
            }
        }
        if let Ok(Reply::System(system)) = host.ask(&Query::System) {
            fact("kernel", format!("{} {}", system.release, system.machine));
            fact("CPUs", system.cpus.to_string());
            fact("memory", format!("{} MiB", system.memory >> 20));
            if system.euid != 0 {
                fact("looked as", format!("user {}, without root's rights", system.euid));
            }
        }
        Subject { name: self.name.clone(), facts }
    }
}

/// The node suite.
#[must_use]
pub fn node_suite() -> Suite {
    let trials = checks().into_iter().map(|check| {
        let mut info = convert::info(&check, "node");
        // What node-test's users select by.
        info.aliases.push("[NodeConformance]".to_owned());
        Trial::new(info, Duration::from_secs(1), move |node, others, profile| {
            let peers: Vec<_> = others.iter().map(|other| Peer { name: &other.name, facts: &other.facts }).collect();
            convert::verdict(check.judge(&View { facts: &node.facts, profile, peers: &peers }))
        })
    });
    Suite { name: "node", title: "Is this node ready for Kubernetes?", trials: trials.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use seaworthy_checks::Profile;
    use seaworthy_reports::{Outcome, Severity, TrialInfo, Verdict};

    fn empty() -> Node {
        let meta = Meta {
            hostname: "n".into(),
            recorded: jiff::Timestamp::UNIX_EPOCH,
            version: "0".into(),
            constructed: None,
        };
        Node::of(meta, Transcript::default())
    }

    #[test]
    fn a_panic_is_that_trials_error() {
        let info = TrialInfo {
            id: "node.a.b".into(),
            suite: "node".into(),
            title: "a".into(),
            severity: Severity::High,
            labels: vec![],
            aliases: vec![],
            basis: vec![],
            why: String::new(),
            how: String::new(),
            remedy: vec![],
        };
        let trial = Trial::new(info, Duration::from_secs(1), |_, _, _| -> Verdict { panic!("sunk {}", 1) });
        let verdict = trial.run(&empty(), &[], &Profile::new(jiff::Timestamp::UNIX_EPOCH));
        assert_eq!(verdict.outcome, Outcome::Errored);
        assert!(verdict.reason.unwrap().contains("sunk 1"));
    }

    #[test]
    fn a_node_that_nobody_looked_at_passes_nothing() {
        let profile = Profile::new(jiff::Timestamp::UNIX_EPOCH);
        for trial in node_suite().trials {
            let verdict = trial.run(&empty(), &[], &profile);
            assert!(!matches!(verdict.outcome, Outcome::Pass | Outcome::Fail), "{}: {verdict:?}", trial.info.id);
        }
    }

    #[test]
    fn what_is_no_recording_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Source::open(file.path(), &Layout::default()).err().unwrap().to_string();
        assert!(error.contains("no recording"), "{error}");
    }
}

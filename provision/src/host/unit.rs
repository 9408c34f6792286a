//! What the agent of a host is told to run, and what it says of it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::pod::StaticPod;

/// Where an agent writes down, in its host, which units are to run.
pub const SAVED: &str = "/var/lib/seaworthy/units.json";

/// A program that an agent runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// Its name, which is also its log's: `etcd`.
    pub name: String,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Variables beside PATH and HOME.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Is it started again when it ends?
    #[serde(default)]
    pub restart: Restart,
    /// The unit of the host that it needs: it is first started once that one is ready, if there is one.
    #[serde(default)]
    pub after: Option<String>,
    /// How it is asked whether it is ready; without, it is ready once it runs.
    #[serde(default)]
    pub ready: Option<Ready>,
    /// Addresses that the agent listens on for it, and keeps while it is restarted. They reach it as descriptors from 3
    /// on, their number in `SEAWORTHY_LISTEN_FDS`.
    #[serde(default)]
    pub listen: Vec<SocketAddr>,
    /// The cgroup below the host's that it runs in; without, the host's own.
    #[serde(default)]
    pub cgroup: Option<String>,
    /// The static pod that it is: then the kubelet of the host runs it, and starts it again. `argv` only tells what
    /// runs there.
    #[serde(default)]
    pub pod: Option<StaticPod>,
}

/// When a unit is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// Whenever it ends, after a pause that doubles from 100 ms to 10 s and is forgotten once it ran for 10 s.
    #[default]
    Always,
    /// Never.
    Never,
}

/// How a unit is asked whether it is ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ready {
    /// A URL that answers with 200 to 399. Certificates are not verified, as a kubelet's probes do not.
    Http(String),
    /// A Unix socket that accepts.
    Socket(PathBuf),
}

/// What became of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Exit {
    /// It ended with this code.
    Code(i32),
    /// A signal of this number ended it.
    Signal(i32),
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(number) => match nix::sys::signal::Signal::try_from(*number) {
                Ok(signal) => write!(f, "{signal}"),
                Err(_) => write!(f, "signal {number}"),
            },
        }
    }
}

/// The state of a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It runs and is not ready yet, or not any more.
    Starting,
    /// It runs and is ready.
    Ready,
    /// It will be started: again, since it ended, or once what it needs is ready.
    Waiting,
    /// It ended, or was stopped, and stays so.
    Stopped,
    /// It is stopped by SIGSTOP.
    Frozen,
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Waiting => "waiting to be started",
            Self::Stopped => "stopped",
            Self::Frozen => "frozen",
        })
    }
}

/// A unit, as its agent sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The unit.
    pub unit: Unit,
    /// Its state.
    pub state: State,
    /// Its process, numbered as in the host.
    pub pid: Option<i32>,
    /// How often it was started again.
    pub restarts: u32,
    /// How it ended last.
    pub exit: Option<Exit>,
    /// What the last question whether it is ready was answered with, if not with yes.
    pub doubt: Option<String>,
}

/// What an agent is asked. One question a connection, as a line of JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// Start this unit; one of the same name that differs is replaced, one that is the same is let run.
    Start(Unit),
    /// Say once it is ready, or that it does not get there in this time.
    Wait {
        /// Its name.
        unit: String,
        /// For how long, in milliseconds.
        patience: u64,
    },
    /// Stop it with SIGTERM, and with SIGKILL after this time, or at once where that is zero; it is not started again.
    Stop {
        /// Its name.
        unit: String,
        /// For how long, in milliseconds.
        grace: u64,
    },
    /// Stop it and start it.
    Restart {
        /// Its name.
        unit: String,
    },
    /// Send a signal to its process and those that it started in its session.
    Signal {
        /// Its name; without, to every process of the host but the agent.
        unit: Option<String>,
        /// The signal's number.
        signal: i32,
    },
    /// Say how all are.
    Status,
    /// Run a command with the three descriptors that come along, and say how it ended. It is killed if the asker goes
    /// away.
    Exec {
        /// Program and arguments.
        argv: Vec<String>,
        /// Variables beside PATH and HOME.
        env: BTreeMap<String, String>,
    },
}

/// What it answers, as a line of JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// It was done.
    Done,
    /// It could not be done.
    Failed(String),
    /// How all are.
    Status(Vec<Status>),
    /// How a command ended.
    Exited(Exit),
    /// A command could not be started.
    NotStarted {
        /// Why.
        why: String,
        /// Is there no such program?
        missing: bool,
    },
    /// A unit is not ready: how it is, and the last lines of its log.
    NotReady {
        /// How it is.
        status: Status,
        /// The last lines of its log.
        log: Vec<String>,
    },
}

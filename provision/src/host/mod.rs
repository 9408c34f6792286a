//! Test hosts: each is a set of Linux namespaces on this machine (network, mount, PID, UTS, IPC, cgroup) with a file
//! system, addresses and processes of its own.
//!
//! A host is born by starting this program again ([`host_main`]): it joins its cgroups, leaves the machine's namespaces
//! and forks; the child is process 1 of the host, the [`agent`], which starts and watches everything else there. So a
//! host ends as a whole: when its process 1 is killed, the kernel ends every process, mount and link of it. What stays
//! is its folder, from which it is started again, and its cgroups, which [`Host::remove`] takes away.

pub mod agent;
mod birth;
mod cgroup;
mod client;
pub mod pod;
mod root;
pub mod unit;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::whole;

pub use birth::host_main;
pub(crate) use birth::{announce, detached};
pub use client::{Client, ExecError};

/// The first argument that makes this program a host.
const ARGUMENT: &str = "__host";

/// Files of a host's folder.
const SPEC: &str = "host.json";
const PID: &str = "pid";
const SOCKET: &str = "control.sock";
const LOG: &str = "agent.log";

/// What a host is made from; stands in its folder as `host.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostSpec {
    /// Its host name.
    pub name: String,
    /// The cgroup below which it has its own, without a slash in front: `seaworthy/NAME/cp1`.
    pub cgroup: String,
    /// Programs that stand in its /usr/local/bin, by name, and where they are on this machine.
    pub programs: BTreeMap<String, PathBuf>,
    /// Folders of this machine that it shows, read-only, by where.
    pub folders: BTreeMap<String, PathBuf>,
    /// Its /etc/hosts.
    pub hosts: String,
    /// Its /etc/resolv.conf.
    pub resolv: String,
    /// Are we an ordinary user, in a user namespace? Then there are no cgroups to join.
    pub rootless: bool,
}

/// Why a host cannot be started, asked or removed.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// A file of it cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: String,
        /// What the file system said.
        source: io::Error,
    },
    /// It did not come to life.
    #[error("host {host} did not start: {why}")]
    Birth {
        /// Its name.
        host: String,
        /// The last lines of its log.
        why: String,
    },
    /// It does not answer.
    #[error("host {host} does not answer: {why}; is it down? `seaworthy cluster status` tells")]
    Silent {
        /// Its name.
        host: String,
        /// What the system said.
        why: String,
    },
    /// A command cannot be started on it.
    #[error("host {host}: {why}")]
    NotStarted {
        /// Its name.
        host: String,
        /// Why.
        why: String,
        /// Is there no such program?
        missing: bool,
    },
    /// It has no unit of this name.
    #[error("host {host} has no log of '{unit}', only of {known}")]
    NoLog {
        /// Its name.
        host: String,
        /// The unit.
        unit: String,
        /// Those that it has.
        known: String,
    },
    /// It outlives SIGKILL.
    #[error("process {pid} of host {host} does not end")]
    Undead {
        /// Its name.
        host: String,
        /// Its process 1, as the machine numbers it.
        pid: i32,
    },
}

fn file(path: &Path) -> impl FnOnce(io::Error) -> HostError {
    let path = path.display().to_string();
    move |source| HostError::File { path, source }
}

/// A host by its folder, alive or not.
#[derive(Debug, Clone)]
pub struct Host {
    folder: PathBuf,
    spec: HostSpec,
}

/// A process, told apart from a later one of the same number by when it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its number on this machine.
    pub pid: i32,
    /// When it started, in clock ticks since boot (proc(5), `/proc/pid/stat`).
    pub started: u64,
}

impl Process {
    /// The process of this number; `None` if there is none, or only what is left of one.
    #[must_use]
    pub fn of(pid: i32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses may hold anything; fields are counted behind it.
        let mut fields = stat[stat.rfind(')')? + 1..].split_ascii_whitespace();
        let alive = fields.next().is_some_and(|state| state != "Z" && state != "X");
        let started = fields.nth(18)?.parse().ok()?;
        alive.then_some(Self { pid, started })
    }

    /// Is it still there?
    #[must_use]
    pub fn is_alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// Ends it for good, and waits until it is gone. `false` if it outlives that.
    #[must_use]
    pub fn end(self) -> bool {
        let begun = Instant::now();
        while self.is_alive() {
            kill(Pid::from_raw(self.pid), Signal::SIGKILL).ok();
            if begun.elapsed() > Duration::from_secs(20) {
                return false;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        true
    }
}

impl Host {
    /// Makes the folder of a host that is to be started; one that is there is taken over with what it holds.
    ///
    /// # Errors
    /// [`HostError::File`] if the folder cannot be made.
    pub fn create(folder: &Path, spec: HostSpec) -> Result<Self, HostError> {
        for part in ["kubernetes", "upper", "work", "root", "var/lib", "var/log/seaworthy", "var/tmp", "var/cache"] {
            let path = folder.join(part);
            std::fs::create_dir_all(&path).map_err(file(&path))?;
        }
        let run = folder.join("var/run");
        if !run.is_symlink() {
            std::os::unix::fs::symlink("/run", &run).map_err(file(&run))?;
        }
        let path = folder.join(SPEC);
        let text = serde_json::to_string_pretty(&spec).unwrap_or_default();
        // It may be alive, and whoever ends it finds it by this.
        whole::write(&path, text, 0o600).map_err(file(&path))?;
        Ok(Self { folder: folder.to_owned(), spec })
    }

    /// The host of a folder.
    ///
    /// # Errors
    /// [`HostError::File`] if the folder holds none.
    pub fn open(folder: &Path) -> Result<Self, HostError> {
        let path = folder.join(SPEC);
        let text = std::fs::read(&path).map_err(file(&path))?;
        let spec = serde_json::from_slice(&text).map_err(|error| file(&path)(io::Error::other(error)))?;
        Ok(Self { folder: folder.to_owned(), spec })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// Its folder on this machine.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What it is made from.
    #[must_use]
    pub fn spec(&self) -> &HostSpec {
        &self.spec
    }

    /// Where its /etc/kubernetes is on this machine.
    #[must_use]
    pub fn kubernetes(&self) -> PathBuf {
        self.folder.join("kubernetes")
    }

    /// Where its /var is on this machine.
    #[must_use]
    pub fn var(&self) -> PathBuf {
        self.folder.join("var")
    }

    /// The names of the units that have a log, sorted.
    #[must_use]
    pub fn logs(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.var().join("log/seaworthy")).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().replace(".log", ""));
        let mut names: std::collections::BTreeSet<_> = names.collect();
        let units = self.saved_units().unwrap_or_default();
        names.extend(units.into_iter().filter(|unit| unit.pod.is_some()).map(|unit| unit.name));
        names.into_iter().collect()
    }

    /// What a unit said.
    ///
    /// # Errors
    /// [`HostError::NoLog`] names the logs that there are, [`HostError::File`] if it cannot be read.
    pub fn log(&self, unit: &str) -> Result<String, HostError> {
        self.log_after(unit, 0).map(|(bytes, _)| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// What a unit said after so many bytes, and how many there are now. All of it again where there are fewer than
    /// before: the log was set aside.
    ///
    /// # Errors
    /// [`HostError::NoLog`] names the logs that there are, [`HostError::File`] if it cannot be read.
    pub fn log_after(&self, unit: &str, from: u64) -> Result<(Vec<u8>, u64), HostError> {
        use std::io::{Read as _, Seek as _, SeekFrom};
        let units = self.saved_units()?;
        if let Some(pod) = units.iter().find(|one| one.name == unit).and_then(|one| one.pod.as_ref()) {
            let text = pod.log(&self.var()).map_err(file(&self.var().join("log/pods")))?.into_bytes();
            let seen = usize::try_from(from).ok().filter(|seen| *seen <= text.len()).unwrap_or(0);
            let end = text.len() as u64;
            return Ok((text[seen..].to_vec(), end));
        }
        let known = self.logs();
        if !known.iter().any(|name| name == unit) {
            let (host, unit) = (self.name().to_owned(), unit.to_owned());
            return Err(HostError::NoLog { host, unit, known: known.join(", ") });
        }
        let path = self.var().join("log/seaworthy").join(format!("{unit}.log"));
        let read = || {
            let mut opened = std::fs::File::open(&path)?;
            let from = if opened.metadata()?.len() < from { 0 } else { from };
            opened.seek(SeekFrom::Start(from))?;
            let mut bytes = Vec::new();
            opened.read_to_end(&mut bytes)?;
            let end = from + bytes.len() as u64;
            Ok((bytes, end))
        };
        read().map_err(file(&path))
    }

    /// Its process 1, if it is alive.
    #[must_use]
    pub fn process(&self) -> Option<Process> {
        let text = std::fs::read(self.folder.join(PID)).ok()?;
        serde_json::from_slice(&text).ok().filter(|process: &Process| process.is_alive())
    }

    /// The agent in it.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(self.name(), &self.folder.join(SOCKET))
    }

    /// The units that were to run when it was last alive.
    ///
    /// # Errors
    /// [`HostError::File`] if what its agent wrote down cannot be read.
    pub fn saved_units(&self) -> Result<Vec<unit::Unit>, HostError> {
        let path = self.var().join(unit::SAVED.trim_start_matches("/var/"));
        match std::fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            text => serde_json::from_slice(&text.map_err(file(&path))?).map_err(|error| file(&path)(error.into())),
        }
    }

    /// Writes down which units are to run when it is next started.
    ///
    /// # Errors
    /// [`HostError::File`] if that cannot be written.
    pub fn save_units(&self, units: &[unit::Unit]) -> Result<(), HostError> {
        let path = self.var().join(unit::SAVED.trim_start_matches("/var/"));
        std::fs::write(&path, serde_json::to_vec(units).unwrap_or_default()).map_err(file(&path))
    }

    /// Brings it to life, if it is not alive: returns once its agent answers.
    ///
    /// # Errors
    /// [`HostError::Birth`] with what its log says.
    pub fn start(&self) -> Result<Process, HostError> {
        if let Some(process) = self.process() {
            // Its birth may still be under way, for a parent that is gone: it then ends as soon as it announces itself.
            // Only an answer shows that it lives.
            if self.client().status().is_ok() {
                return Ok(process);
            }
            self.kill()?;
        }
        birth::start(&self.folder, &self.spec)
    }

    /// Ends it with everything in it, as when the power goes. What it wrote stays.
    ///
    /// # Errors
    /// [`HostError::Undead`] if it does not end.
    pub fn kill(&self) -> Result<(), HostError> {
        if let Some(process) = self.process()
            && !process.end()
        {
            return Err(HostError::Undead { host: self.name().to_owned(), pid: process.pid });
        }
        Ok(())
    }

    /// Ends it and removes its cgroups and its folder.
    ///
    /// # Errors
    /// [`HostError`] says what is left.
    pub fn remove(self) -> Result<(), HostError> {
        self.kill()?;
        cgroup::remove(&self.spec.cgroup).map_err(|(path, source)| file(&path)(source))?;
        remove_folder(&self.folder)
    }
}

/// Removes a folder with everything in it. Mounts of a host that died a moment ago may still be held by the kernel: it
/// is tried again for a while.
///
/// # Errors
/// [`HostError::File`] names what cannot be removed.
pub fn remove_folder(folder: &Path) -> Result<(), HostError> {
    let begun = Instant::now();
    loop {
        match std::fs::remove_dir_all(folder) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(_) if begun.elapsed() < Duration::from_secs(5) => std::thread::sleep(Duration::from_millis(20)),
            Err(error) => return Err(file(folder)(error)),
        }
    }
}

pub use cgroup::{remove as remove_cgroups, remove_empty as remove_empty_cgroup};

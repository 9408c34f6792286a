//! Asking the agent of a host.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, IoSlice, Write as _};
use std::os::fd::{AsRawFd as _, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

use super::HostError;
use super::unit::{Exit, Reply, Request, Status, Unit};

/// The agent of a host, to be asked.
#[derive(Debug, Clone)]
pub struct Client {
    host: String,
    socket: PathBuf,
}

/// Why a command on a host did not end well.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// It could not be run at all.
    #[error(transparent)]
    Host(#[from] HostError),
    /// It ended, and not with 0.
    #[error("{command} on {host} ended with {exit}: {stderr}")]
    Exit {
        /// The host.
        host: String,
        /// The command.
        command: String,
        /// How it ended.
        exit: Exit,
        /// The last of what it said.
        stderr: String,
    },
}

/// Connects to a socket by the folder that it is in: its whole path may be longer than a socket's address (unix(7)).
pub(super) fn connect(socket: &Path) -> io::Result<UnixStream> {
    let folder = socket.parent().unwrap_or(Path::new("."));
    let folder = std::fs::File::open(folder)?;
    let name = socket.file_name().unwrap_or_default();
    UnixStream::connect(Path::new(&format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name))
}

impl Client {
    pub(super) fn new(host: &str, socket: &Path) -> Self {
        Self { host: host.to_owned(), socket: socket.to_owned() }
    }

    /// Asks, and waits for the answer for as long as the agent takes.
    ///
    /// # Errors
    /// [`HostError::Silent`] if there is no agent, or it goes away.
    pub fn ask(&self, request: &Request, descriptors: &[BorrowedFd<'_>]) -> Result<Reply, HostError> {
        let silent = |why: String| HostError::Silent { host: self.host.clone(), why };
        let mut stream = connect(&self.socket).map_err(|error| silent(error.to_string()))?;
        let mut line = serde_json::to_vec(request).map_err(|error| silent(error.to_string()))?;
        line.push(b'\n');
        let raw: Vec<RawFd> = descriptors.iter().map(|one| one.as_raw_fd()).collect();
        let rights = [ControlMessage::ScmRights(&raw)];
        let along: &[_] = if raw.is_empty() { &[] } else { &rights };
        let sent = sendmsg::<()>(stream.as_raw_fd(), &[IoSlice::new(&line)], along, MsgFlags::empty(), None);
        let sent = sent.map_err(|errno| silent(errno.to_string()))?;
        stream.write_all(&line[sent..]).map_err(|error| silent(error.to_string()))?;
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).map_err(|error| silent(error.to_string()))?;
        serde_json::from_str(&answer).map_err(|_| silent("it ended while it was asked".to_owned()))
    }

    fn done(&self, request: &Request) -> Result<(), HostError> {
        match self.ask(request, &[])? {
            Reply::Done => Ok(()),
            Reply::Failed(why) => Err(HostError::Silent { host: self.host.clone(), why }),
            other => Err(HostError::Silent {
                host: self.host.clone(),
                why: format!("an answer to something else: {other:?}"),
            }),
        }
    }

    /// Has a unit run. One that runs already as it is told is let run.
    ///
    /// # Errors
    /// [`HostError::Silent`] if the agent does not answer or cannot listen for the unit.
    pub fn start(&self, unit: Unit) -> Result<(), HostError> {
        self.done(&Request::Start(unit))
    }

    /// Stops a unit: SIGTERM, and SIGKILL after `grace`; without grace, SIGKILL alone.
    ///
    /// # Errors
    /// [`HostError::Silent`] if the agent does not answer or has no such unit.
    pub fn stop(&self, unit: &str, grace: Duration) -> Result<(), HostError> {
        let grace = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        self.done(&Request::Stop { unit: unit.to_owned(), grace })
    }

    /// Stops a unit and starts it.
    ///
    /// # Errors
    /// [`HostError::Silent`] if the agent does not answer or has no such unit.
    pub fn restart(&self, unit: &str) -> Result<(), HostError> {
        self.done(&Request::Restart { unit: unit.to_owned() })
    }

    /// Sends a signal to a unit, or to every process of the host but its agent.
    ///
    /// # Errors
    /// [`HostError::Silent`] if the agent does not answer or has no such unit.
    pub fn signal(&self, unit: Option<&str>, signal: nix::sys::signal::Signal) -> Result<(), HostError> {
        self.done(&Request::Signal { unit: unit.map(str::to_owned), signal: signal as i32 })
    }

    /// Waits until a unit is ready. `Ok(Some(…))` if it is not by then, or ends again and again.
    ///
    /// # Errors
    /// [`HostError::Silent`] if the agent does not answer.
    pub fn wait(&self, unit: &str, patience: Duration) -> Result<Option<(Status, Vec<String>)>, HostError> {
        let patience = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        match self.ask(&Request::Wait { unit: unit.to_owned(), patience }, &[])? {
            Reply::Done => Ok(None),
            Reply::NotReady { status, log } => Ok(Some((status, log))),
            Reply::Failed(why) => Err(HostError::Silent { host: self.host.clone(), why }),
            other => Err(HostError::Silent {
                host: self.host.clone(),
                why: format!("an answer to something else: {other:?}"),
            }),
        }
    }

    /// How all units are.
    ///
    /// # Errors
    /// [`HostError::Silent`] if the agent does not answer.
    pub fn status(&self) -> Result<Vec<Status>, HostError> {
        match self.ask(&Request::Status, &[])? {
            Reply::Status(all) => Ok(all),
            other => Err(HostError::Silent {
                host: self.host.clone(),
                why: format!("an answer to something else: {other:?}"),
            }),
        }
    }

    /// Runs a command with these descriptors for input, output and errors, and waits until it ends.
    ///
    /// # Errors
    /// [`HostError::NotStarted`] if the command cannot be started, [`HostError::Silent`] if the agent does not answer.
    pub fn exec(
        &self,
        argv: &[String],
        env: &BTreeMap<String, String>,
        descriptors: [BorrowedFd<'_>; 3],
    ) -> Result<Exit, HostError> {
        match self.ask(&Request::Exec { argv: argv.to_vec(), env: env.clone() }, &descriptors)? {
            Reply::Exited(exit) => Ok(exit),
            Reply::NotStarted { why, missing } => Err(HostError::NotStarted { host: self.host.clone(), why, missing }),
            Reply::Failed(why) => Err(HostError::Silent { host: self.host.clone(), why }),
            other => Err(HostError::Silent {
                host: self.host.clone(),
                why: format!("an answer to something else: {other:?}"),
            }),
        }
    }

    /// Runs a command and returns what it prints.
    ///
    /// # Errors
    /// [`ExecError`] if it cannot be run, or does not end with 0.
    pub fn output(&self, argv: &[&str]) -> Result<String, ExecError> {
        use std::io::{Read as _, Seek as _};
        use std::os::fd::AsFd as _;
        let fail = |why: io::Error| HostError::Silent { host: self.host.clone(), why: why.to_string() };
        let null = std::fs::File::open("/dev/null").map_err(fail)?;
        let mut out = tempfile::tempfile().map_err(fail)?;
        let mut err = tempfile::tempfile().map_err(fail)?;
        let words: Vec<_> = argv.iter().map(|&word| word.to_owned()).collect();
        let exit = self.exec(&words, &BTreeMap::new(), [null.as_fd(), out.as_fd(), err.as_fd()])?;
        let (mut text, mut errors) = (Vec::new(), Vec::new());
        out.rewind().and_then(|()| out.read_to_end(&mut text)).map_err(fail)?;
        err.rewind().and_then(|()| err.read_to_end(&mut errors)).map_err(fail)?;
        if exit == Exit::Code(0) {
            return Ok(String::from_utf8_lossy(&text).into_owned());
        }
        let errors = String::from_utf8_lossy(&errors).trim().to_owned();
        Err(ExecError::Exit { host: self.host.clone(), command: argv.join(" "), exit, stderr: errors })
    }
}

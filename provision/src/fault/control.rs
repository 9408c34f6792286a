//! How the processes that make faults are told what to do: a Unix socket, one line of JSON for the question and one for
//! the answer.

use std::fs::Permissions;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// How long an answer may take: taking back the unsynced writes of a large file is the longest.
const PATIENCE: Duration = Duration::from_mins(1);

/// How long one who connected may take to ask.
const QUESTION: Duration = Duration::from_secs(5);

/// The longest question that is read, in bytes.
const LONGEST: u64 = 1 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Nobody listens there, or the conversation broke off.
    #[error("{socket} does not answer: {source}")]
    Silent {
        /// The socket.
        socket: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The question was understood and could not be done.
    #[error("{0}")]
    Refused(String),
}

impl ControlError {
    /// The answer is one to another question.
    pub(super) fn unexpected(socket: &Path) -> Self {
        let source = io::Error::new(io::ErrorKind::InvalidData, "it is another program");
        Self::Silent { socket: socket.to_owned(), source }
    }
}

/// Asks the process behind this socket.
///
/// # Errors
/// [`ControlError`] tells a silent socket from a refusal.
pub fn ask<Q: Serialize, A: DeserializeOwned>(socket: &Path, question: &Q) -> Result<A, ControlError> {
    let talk = || -> io::Result<Result<A, String>> {
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut line = serde_json::to_vec(question)?;
        line.push(b'\n');
        stream.write_all(&line)?;
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer)?;
        Ok(serde_json::from_str(&answer)?)
    };
    let answer = talk().map_err(|source| ControlError::Silent { socket: socket.to_owned(), source })?;
    answer.map_err(ControlError::Refused)
}

/// Listens on a socket, for its owner alone; one that an earlier process left behind is replaced.
pub(super) fn listen(socket: &Path) -> io::Result<UnixListener> {
    match UnixStream::connect(socket) {
        Ok(_) => return Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there")),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(socket)?,
        Err(_) => {}
    }
    let listener = UnixListener::bind(socket)?;
    std::fs::set_permissions(socket, Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Answers questions, one after the other, until the process ends.
pub(super) fn serve<Q: DeserializeOwned, A: Serialize>(
    listener: &UnixListener,
    mut answer: impl FnMut(Q) -> Result<A, String>,
) {
    let mut one = |mut stream: UnixStream| -> io::Result<()> {
        stream.set_read_timeout(Some(QUESTION))?;
        let mut line = String::new();
        BufReader::new((&stream).take(LONGEST)).read_line(&mut line)?;
        let answer = match serde_json::from_str(&line) {
            Ok(question) => answer(question),
            Err(error) => Err(format!("not understood: {error}")),
        };
        let mut line = serde_json::to_vec(&answer)?;
        line.push(b'\n');
        stream.write_all(&line)
    };
    for stream in listener.incoming() {
        // One who asks badly or hangs up gets no answer; the next one does.
        stream.and_then(&mut one).ok();
    }
}

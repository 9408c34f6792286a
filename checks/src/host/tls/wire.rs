//! A TCP connection that ends: however slowly the other side speaks, there is a moment after which nothing is read or
//! written.

use std::io::{Error, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::host::{Refusal, RefusalKind};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(2);
/// How long a connection may last.
const LAST: Duration = Duration::from_secs(4);

/// A connection with an end.
#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    until: Instant,
}

impl Wire {
    pub(super) fn dial(address: SocketAddr) -> Result<Self, Refusal> {
        let stream = TcpStream::connect_timeout(&address, CONNECT).map_err(|error| {
            let (kind, why) = match error.kind() {
                ErrorKind::ConnectionRefused => (RefusalKind::Absent, "nothing listens there".to_owned()),
                ErrorKind::TimedOut => (RefusalKind::TimedOut, format!("no connection within {CONNECT:?}")),
                _ => (RefusalKind::Failed, error.to_string()),
            };
            Refusal::new(kind, format!("{address}: {why}"))
        })?;
        // Without it a small flight may wait for the acknowledgement of another; nothing breaks where it cannot be set.
        let _ = stream.set_nodelay(true);
        Ok(Self { stream, until: Instant::now() + LAST })
    }

    fn left(&self) -> std::io::Result<Duration> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Error::new(ErrorKind::TimedOut, format!("the server took longer than {LAST:?}")));
        }
        Ok(left)
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.stream.set_read_timeout(Some(self.left()?))?;
        match self.stream.read(buffer) {
            // What a socket says when its time is over (socket(7), SO_RCVTIMEO).
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.left().and(Err(ErrorKind::TimedOut.into())),
            other => other,
        }
    }
}

impl Write for Wire {
    fn write(&mut self, buffer: &[u8]) -> std::io::Result<usize> {
        self.stream.set_write_timeout(Some(self.left()?))?;
        self.stream.write(buffer)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.stream.flush()
    }
}

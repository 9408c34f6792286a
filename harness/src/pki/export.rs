//! `seaworthy pki export`: the metrics over HTTP. Every request opens the place and looks at the files again, so that a
//! certificate that was renewed a second ago is seen, a link that was moved is followed, and a folder that was
//! replaced is the new one.

use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anstream::eprintln;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{Api, Place, metrics};
use crate::fault::Fault;
use crate::signals;

/// How long a client may take from its first byte to our last one.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many clients are served at once; more are turned away.
const CLIENTS: usize = 16;

/// Serves until a signal asks to stop. Each client has a thread of its own, so that a slow one is in nobody's way.
///
/// # Errors
/// If there is no PKI at the start, or the address is not to be had.
pub(super) fn serve(place: &Place, api: &Api, address: SocketAddr) -> Result<i32, Fault> {
    signals::listen();
    place.look(api)?;
    let failed = |error: io::Error| Fault::usage(format!("--listen {address}: {error}"));
    let listener = TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let local = listener.local_addr().map_err(failed)?;
    eprintln!("serving http://{local}/metrics");
    let errors = Mutex::new(metrics::Errors::new());
    let errors = &errors;
    thread::scope(|scope| {
        let mut clients: Vec<thread::ScopedJoinHandle<'_, ()>> = Vec::new();
        while signals::seen().is_none() {
            // Wakes up now and then to see whether it was asked to stop.
            let mut wanted = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
            match poll(&mut wanted, PollTimeout::from(200_u16)) {
                Ok(1..) => {}
                Ok(_) | Err(nix::errno::Errno::EINTR) => continue,
                Err(errno) => return Err(Fault::ours(format!("{address}: {errno}"))),
            }
            let Ok((stream, _)) = listener.accept() else { continue };
            clients.retain(|client| !client.is_finished());
            if clients.len() < CLIENTS {
                // A client that goes away, or is too slow, is no error of ours.
                clients.push(scope.spawn(move || drop(answer(&stream, place, api, errors))));
            }
        }
        Ok(0)
    })
}

/// A client's connection, of which every read and write ends at one moment.
struct Client<'s> {
    stream: &'s TcpStream,
    until: Instant,
}

impl Client<'_> {
    fn left(&self) -> io::Result<Option<Duration>> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(Some(left)) }
    }
}

impl Read for Client<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(self.left()?)?;
        self.stream.read(buffer)
    }
}

impl Write for Client<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(self.left()?)?;
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

fn answer(stream: &TcpStream, place: &Place, api: &Api, errors: &Mutex<metrics::Errors>) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    let mut client = Client { stream, until: Instant::now() + PATIENCE };
    let mut request = String::new();
    // The first line is enough; a longer one is no request that is answered here.
    BufReader::new((&mut client).take(8192)).read_line(&mut request)?;
    let mut words = request.split_whitespace();
    let (method, target) = (words.next(), words.next());
    // What is asked for behind a question mark changes nothing.
    let path = target.map(|target| target.split_once('?').map_or(target, |(path, _)| path));
    let (status, body) = match (method, path) {
        (Some("GET" | "HEAD"), Some("/metrics")) => match place.look(api) {
            Ok(facts) => {
                let mut errors = errors.lock().unwrap_or_else(PoisonError::into_inner);
                if method == Some("GET") {
                    metrics::count(&facts, &mut errors);
                }
                ("200 OK", metrics::text(&facts, jiff::Timestamp::now(), &errors))
            }
            Err(fault) => ("503 Service Unavailable", format!("{}\n", fault.message())),
        },
        (Some("GET" | "HEAD"), Some("/healthz")) => ("200 OK", "ok\n".to_owned()),
        (Some("GET" | "HEAD"), _) => ("404 Not Found", "there is /metrics and /healthz\n".to_owned()),
        _ => ("405 Method Not Allowed", "only GET\n".to_owned()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    client.write_all(head.as_bytes())?;
    if method != Some("HEAD") {
        client.write_all(body.as_bytes())?;
    }
    client.flush()
}

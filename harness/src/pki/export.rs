//! `seaworthy pki export`: the metrics over HTTP. Every request looks at the files again, so that a certificate that was
//! renewed a second ago is seen, and a link that was moved is followed.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::time::Duration;

use anstream::eprintln;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use seaworthy_suites::Source;

use super::expiry;
use crate::fault::Fault;
use crate::signals;

/// How long a client may take to ask, and to listen.
const PATIENCE: Duration = Duration::from_secs(5);

/// Serves until a signal asks to stop. One request at a time: a scrape takes milliseconds, and nobody else should ask.
pub(super) fn serve(source: &Source, address: SocketAddr) -> Result<i32, Fault> {
    signals::listen();
    let failed = |error: std::io::Error| Fault::usage(format!("{address}: {error}"));
    let listener = TcpListener::bind(address).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let local = listener.local_addr().map_err(failed)?;
    eprintln!("serving http://{local}/metrics");
    while signals::seen().is_none() {
        // Wakes up now and then to see whether it was asked to stop.
        let mut wanted = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        match poll(&mut wanted, PollTimeout::from(200_u16)) {
            Ok(1..) => {}
            Ok(_) | Err(nix::errno::Errno::EINTR) => continue,
            Err(errno) => return Err(Fault::ours(format!("{address}: {errno}"))),
        }
        if let Ok((stream, _)) = listener.accept() {
            // A client that goes away is no error of ours.
            let _ = answer(&stream, source);
        }
    }
    Ok(0)
}

fn answer(stream: &TcpStream, source: &Source) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut request = String::new();
    // The first line is enough; a longer one is no request that is answered here.
    BufReader::new(std::io::Read::take(stream, 8192)).read_line(&mut request)?;
    let mut words = request.split_whitespace();
    let (status, body) = match (words.next(), words.next()) {
        (Some("GET" | "HEAD"), Some("/metrics")) => {
            ("200 OK", expiry::prometheus(&source.pki(), jiff::Timestamp::now()))
        }
        (Some("GET" | "HEAD"), Some("/healthz")) => ("200 OK", "ok\n".to_owned()),
        (Some("GET" | "HEAD"), _) => ("404 Not Found", "there is /metrics and /healthz\n".to_owned()),
        _ => ("405 Method Not Allowed", "only GET\n".to_owned()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let mut stream = stream;
    stream.write_all(head.as_bytes())?;
    if !request.starts_with("HEAD") {
        stream.write_all(body.as_bytes())?;
    }
    stream.flush()
}

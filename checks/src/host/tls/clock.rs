//! What time a server thinks that it is, against this machine's clock: every answer by HTTP says when it was made.

use std::io::{Read, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;
use serde::{Deserialize, Serialize};

use super::handshake::{Ear, shake};
use crate::host::{Refusal, RefusalKind};

/// The most that is read of an answer's head: 16 KiB.
const HEAD_LIMIT: usize = 16 << 10;
/// What is asked for. Nobody need be allowed to read it: a refusal has its time, too.
const PATH: &str = "/healthz";

/// How far a server's clock is ahead of that of the machine that asked, in milliseconds; below zero it is behind. The
/// truth lies in between: a `Date` has whole seconds, and the answer was made some time between the request and its
/// arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Clock {
    /// At least so far.
    pub at_least: i64,
    /// At most so far.
    pub at_most: i64,
}

impl Clock {
    /// What an answer with this time says, to a request that was sent then and answered at the latest then.
    fn of(date: Timestamp, sent: Timestamp, received: Timestamp) -> Self {
        let date = date.as_millisecond();
        Self { at_least: date - received.as_millisecond(), at_most: date + 1000 - sent.as_millisecond() }
    }

    /// How far the clocks are apart for certain, in whole seconds; below zero the server's is behind.
    #[must_use]
    pub fn seconds(self) -> i64 {
        (self.at_least.max(0) + self.at_most.min(0)) / 1000
    }

    /// May both servers be at the same time?
    #[must_use]
    pub fn agrees_with(self, other: Self) -> bool {
        self.at_least <= other.at_most && other.at_least <= self.at_most
    }
}

/// Asks for the time.
pub(super) fn clock(address: SocketAddr) -> Result<Clock, Refusal> {
    let failed = |why: String| Refusal::new(RefusalKind::Failed, format!("{address}: {why}"));
    let (mut stream, failure) = shake(address, None, &Arc::new(Ear::new(None)))?;
    if let Some(error) = failure {
        return Err(failed(error.to_string()));
    }
    let request = format!("GET {PATH} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let sent = Timestamp::now();
    let outcome = stream.write_all(request.as_bytes()).and_then(|()| head(&mut stream));
    let received = Timestamp::now();
    let head = outcome.map_err(|error| failed(error.to_string()))?;
    if !head.starts_with(b"HTTP/1.") {
        return Err(failed("it does not speak HTTP".to_owned()));
    }
    let unsaid = || Refusal::new(RefusalKind::Absent, format!("{address} does not say what time it is"));
    Ok(Clock::of(date(&head).ok_or_else(unsaid)?, sent, received))
}

/// Reads an answer to the end of its head, or what there is of it.
fn head(stream: &mut impl Read) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::new();
    let mut chunk = [0; 1024];
    while head.len() < HEAD_LIMIT && !head.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => head.extend_from_slice(&chunk[..count]),
            // Some hang up without a word of TLS once they have said what they had to.
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof && !head.is_empty() => break,
            Err(error) => return Err(error),
        }
    }
    Ok(head)
}

/// The time in an answer's head.
fn date(head: &[u8]) -> Option<Timestamp> {
    let text = String::from_utf8_lossy(head);
    let mut fields = text.lines().skip(1).take_while(|line| !line.is_empty()).filter_map(|line| line.split_once(':'));
    let (_, value) = fields.find(|(name, _)| name.eq_ignore_ascii_case("date"))?;
    DateTimeParser::new().parse_timestamp(value.trim()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_in_the_head() {
        let at = |head: &str| date(head.as_bytes()).map(Timestamp::as_second);
        let head = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n";
        assert_eq!(at(head), Some(784_111_777));
        assert_eq!(at(&head.replace("date", "x-date")), None);
        assert_eq!(at(&head.replace("Nov", "Foo")), None);
        assert_eq!(at("HTTP/1.1 200 OK\r\n\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"), None);
        assert_eq!(at(""), None);
    }

    #[test]
    fn the_way_there_and_back_is_no_difference() {
        let at = |millisecond: i64| Timestamp::from_millisecond(millisecond).unwrap();
        let seconds = |date: i64, sent: i64, received: i64| Clock::of(at(date), at(sent), at(received)).seconds();
        // Within the same second, and on a way that takes three.
        assert_eq!(seconds(10_000, 10_400, 10_900), 0);
        assert_eq!(seconds(12_000, 10_400, 13_900), 0);
        assert_eq!(seconds(9_000, 10_400, 13_900), 0);
        // The second that Date leaves out, and the way, are taken off.
        assert_eq!(seconds(70_000, 10_000, 10_100), 59);
        assert_eq!(seconds(10_000, 70_000, 70_100), -59);
        assert_eq!(seconds(70_000, 10_000, 40_000), 30);
    }
}

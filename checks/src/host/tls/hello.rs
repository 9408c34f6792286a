//! The first flight of a TLS handshake without cryptography: a ClientHello that offers exactly what is asked about, and
//! a reader of what the server says to it.
//!
//! A TLS library does not speak what it thinks unsafe, so it cannot tell whether a server would. Here anything can be
//! offered, down to SSL 3.0 (RFC 6101, 5246, 8446), because the handshake always ends after the server's first flight.
//! Pure; [`Flight::parse`] is total over whatever bytes a server sends.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Version {
    /// SSL 3.0, prohibited by RFC 7568.
    #[serde(rename = "SSL 3.0")]
    Ssl3,
    /// TLS 1.0, deprecated by RFC 8996.
    #[serde(rename = "TLS 1.0")]
    Tls10,
    /// TLS 1.1, deprecated by RFC 8996.
    #[serde(rename = "TLS 1.1")]
    Tls11,
    /// TLS 1.2.
    #[serde(rename = "TLS 1.2")]
    Tls12,
    /// TLS 1.3.
    #[serde(rename = "TLS 1.3")]
    Tls13,
}

impl Version {
    /// All versions, the oldest first.
    pub const ALL: [Self; 5] = [Self::Ssl3, Self::Tls10, Self::Tls11, Self::Tls12, Self::Tls13];

    /// The version that has this number on the wire.
    #[must_use]
    pub fn of(code: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|version| version.code() == code)
    }

    /// Its number on the wire.
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Self::Ssl3 => 0x0300,
            Self::Tls10 => 0x0301,
            Self::Tls11 => 0x0302,
            Self::Tls12 => 0x0303,
            Self::Tls13 => 0x0304,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ssl3 => "SSL 3.0",
            Self::Tls10 => "TLS 1.0",
            Self::Tls11 => "TLS 1.1",
            Self::Tls12 => "TLS 1.2",
            Self::Tls13 => "TLS 1.3",
        })
    }
}

/// What is offered to a server. TLS 1.3 is offered without a key share: the server names the group that it wants, and
/// nothing has to be computed.
#[derive(Debug, Clone)]
pub struct ClientHello<'a> {
    /// The only version that is offered.
    pub version: Version,
    /// Cipher suites, by their numbers.
    pub suites: &'a [u16],
    /// Named groups, by their numbers.
    pub groups: &'a [u16],
    /// Signature schemes, by their numbers.
    pub schemes: &'a [u16],
    /// Server name, if one is to be indicated.
    pub name: Option<&'a str>,
    /// 32 bytes that are new each time.
    pub random: [u8; 32],
}

/// Appends what `body` writes, behind its length in `width` bytes.
fn framed(out: &mut Vec<u8>, width: usize, body: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.resize(at + width, 0);
    body(out);
    let length = (out.len() - at - width).to_be_bytes();
    out[at..at + width].copy_from_slice(&length[length.len() - width..]);
}

fn numbers(out: &mut Vec<u8>, numbers: &[u16]) {
    framed(out, 2, |out| numbers.iter().for_each(|number| out.extend(number.to_be_bytes())));
}

impl ClientHello<'_> {
    /// The record to send. Lists are taken as they are: a list of more than 32767 numbers does not fit.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let legacy = self.version.min(Version::Tls12).code();
        // RFC 8446 5.1: the record that carries a ClientHello says 1.0 for compatibility, whatever is inside.
        let mut out = vec![RECORD_HANDSHAKE];
        out.extend(legacy.min(0x0301).to_be_bytes());
        framed(&mut out, 2, |out| {
            out.push(CLIENT_HELLO);
            framed(out, 3, |out| {
                out.extend(legacy.to_be_bytes());
                out.extend(self.random);
                // A session id: servers in middlebox compatibility mode expect one.
                framed(out, 1, |out| out.extend(self.random));
                numbers(out, self.suites);
                out.extend([1, 0]);
                if self.version > Version::Ssl3 {
                    framed(out, 2, |out| self.extensions(out));
                }
            });
        });
        out
    }

    fn extensions(&self, out: &mut Vec<u8>) {
        let mut extension = |number: u16, body: &dyn Fn(&mut Vec<u8>)| {
            out.extend(number.to_be_bytes());
            framed(out, 2, body);
        };
        if let Some(name) = self.name {
            extension(0, &|out| {
                framed(out, 2, |out| {
                    out.push(0);
                    framed(out, 2, |out| out.extend(name.as_bytes()));
                });
            });
        }
        extension(EXTENSION_GROUPS, &|out| numbers(out, self.groups));
        // Uncompressed points, the only format there still is (RFC 8422 5.1.2).
        extension(11, &|out| out.extend([1, 0]));
        if self.version >= Version::Tls12 {
            extension(13, &|out| numbers(out, self.schemes));
        }
        // RFC 5746: no renegotiation yet; some servers refuse who does not say so.
        extension(0xff01, &|out| out.push(0));
        if self.version == Version::Tls13 {
            extension(EXTENSION_VERSIONS, &|out| {
                framed(out, 1, |out| out.extend(self.version.code().to_be_bytes()));
            });
            extension(EXTENSION_KEY_SHARE, &|out| framed(out, 2, |_| {}));
        }
    }
}

const RECORD_ALERT: u8 = 21;
const RECORD_HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const EXTENSION_GROUPS: u16 = 10;
const EXTENSION_VERSIONS: u16 = 43;
const EXTENSION_KEY_SHARE: u16 = 51;

/// The random of a ServerHello that asks to try again (RFC 8446 4.1.3).
const RETRY: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2, 0x11,
    0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// What a server chose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerHello {
    /// The version, by its number on the wire.
    pub version: u16,
    /// The cipher suite.
    pub suite: u16,
    /// The group, which only TLS 1.3 names here.
    pub group: Option<u16>,
    /// Does it ask for another ClientHello, with a key share?
    pub retry: bool,
}

/// How a server asks for a client certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateRequest {
    /// Distinguished names of the CAs that it says it accepts, in DER.
    #[serde(with = "super::der")]
    pub authorities: Vec<Vec<u8>>,
    /// Signature schemes that it accepts, by their numbers; before TLS 1.2 there are none.
    pub schemes: Vec<u16>,
}

/// A server's first flight, as far as it is readable without keys and has arrived.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flight {
    /// What it chose.
    pub hello: Option<ServerHello>,
    /// The certificates that it presents, in DER, as sent; up to TLS 1.2.
    pub chain: Vec<Vec<u8>>,
    /// How it asks for a client certificate; up to TLS 1.2.
    pub request: Option<CertificateRequest>,
    /// The alert that ended it, by its number.
    pub alert: Option<u8>,
    /// Will nothing more be readable?
    pub complete: bool,
}

/// Why bytes are no server's first flight.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadFlight {
    /// The answer is HTTP: the port speaks without TLS.
    #[error("the answer is plain HTTP: {0}")]
    Http(String),
    /// The answer is something else.
    #[error("the answer is not TLS: its first byte is {0:#04x}")]
    NotTls(u8),
    /// The answer is TLS, and breaks its own lengths.
    #[error("the answer is malformed: {0}")]
    Malformed(&'static str),
}

/// A reader of length-prefixed parts.
#[derive(Clone, Copy)]
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self, width: usize) -> Option<usize> {
        Some(self.take(width)?.iter().fold(0, |number, &byte| number << 8 | usize::from(byte)))
    }

    fn short(&mut self) -> Option<u16> {
        self.number(2).and_then(|number| u16::try_from(number).ok())
    }

    fn framed(&mut self, width: usize) -> Option<Self> {
        let length = self.number(width)?;
        self.take(length).map(Self)
    }

    /// All parts until nothing is left.
    fn all<T>(mut self, mut part: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let mut parts = Vec::new();
        while !self.0.is_empty() {
            parts.push(part(&mut self)?);
        }
        Some(parts)
    }
}

impl Flight {
    /// Reads what has arrived so far. What is not there yet is no error; see [`Flight::complete`].
    ///
    /// # Errors
    /// [`BadFlight`] when no further byte could mend it.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadFlight> {
        let mut flight = Self::default();
        let (mut messages, mut ended) = (Vec::new(), false);
        let mut records = Reader(bytes);
        while let [kind, rest @ ..] = records.0 {
            match *kind {
                RECORD_ALERT | RECORD_HANDSHAKE => {}
                // Encrypted, or a change of cipher: nothing behind it is for us.
                20 | 23 if flight.hello.is_some() || !messages.is_empty() => break,
                b'H' if "HTTP/".as_bytes().starts_with(&bytes[..bytes.len().min(5)]) => {
                    let line = bytes.split(|&byte| byte == b'\r' || byte == b'\n').next().unwrap_or_default();
                    let line = String::from_utf8_lossy(&line[..line.len().min(80)]).into_owned();
                    return Err(BadFlight::Http(line));
                }
                other => return Err(BadFlight::NotTls(other)),
            }
            let mut record = Reader(rest);
            let Some(_version) = record.take(2) else { break };
            let Some(body) = record.framed(2) else { break };
            records = record;
            if *kind == RECORD_ALERT {
                (flight.alert, ended) = (body.0.get(1).copied(), true);
                break;
            }
            if body.0.is_empty() {
                return Err(BadFlight::Malformed("an empty handshake record"));
            }
            messages.extend_from_slice(body.0);
        }
        let mut messages = Reader(&messages);
        while !messages.0.is_empty() && !flight.complete {
            let mut message = messages;
            let (Some(kind), Some(body)) = (message.number(1), message.framed(3)) else { break };
            messages = message;
            flight.message(kind, body)?;
        }
        // An alert in the middle of it says how it ended; what came before it was said.
        flight.complete |= ended;
        Ok(flight)
    }

    fn message(&mut self, kind: usize, mut body: Reader<'_>) -> Result<(), BadFlight> {
        let bad = BadFlight::Malformed;
        match (kind, &self.hello) {
            (2, None) => {
                let hello = server_hello(body).ok_or(bad("its ServerHello"))?;
                self.complete = hello.version >= Version::Tls13.code();
                self.hello = Some(hello);
            }
            (_, None) => return Err(bad("another message before the ServerHello")),
            (11, Some(_)) => {
                let list = body.framed(3).filter(|_| body.0.is_empty()).ok_or(bad("its Certificate"))?;
                let chain = list.all(|list| Some(list.framed(3)?.0.to_vec()));
                self.chain = chain.ok_or(bad("its Certificate"))?;
            }
            (13, Some(hello)) => {
                let schemes = hello.version >= Version::Tls12.code();
                self.request = Some(certificate_request(body, schemes).ok_or(bad("its CertificateRequest"))?);
            }
            (14, Some(_)) => self.complete = true,
            // Key exchange, certificate status: not looked into.
            _ => {}
        }
        Ok(())
    }
}

fn server_hello(mut body: Reader<'_>) -> Option<ServerHello> {
    let legacy = body.short()?;
    let retry = body.take(32)? == RETRY;
    body.framed(1)?;
    let suite = body.short()?;
    body.take(1)?;
    let mut hello = ServerHello { version: legacy, suite, group: None, retry };
    if body.0.is_empty() {
        return Some(hello);
    }
    let extensions = body.framed(2)?.all(|list| Some((list.short()?, list.framed(2)?)))?;
    for (number, mut content) in extensions {
        match number {
            EXTENSION_VERSIONS => hello.version = content.short()?,
            EXTENSION_KEY_SHARE => hello.group = Some(content.short()?),
            _ => {}
        }
    }
    Some(hello)
}

fn certificate_request(mut body: Reader<'_>, schemes: bool) -> Option<CertificateRequest> {
    body.framed(1)?;
    let schemes = if schemes { body.framed(2)?.all(Reader::short)? } else { Vec::new() };
    let authorities = body.framed(2)?.all(|list| Some(list.framed(2)?.0.to_vec()))?;
    Some(CertificateRequest { authorities, schemes })
}

/// The name of an alert (RFC 8446 6, and what earlier versions had).
#[must_use]
pub fn alert_name(number: u8) -> String {
    let name = match number {
        0 => "close_notify",
        10 => "unexpected_message",
        20 => "bad_record_mac",
        40 => "handshake_failure",
        41 => "no_certificate",
        42 => "bad_certificate",
        43 => "unsupported_certificate",
        44 => "certificate_revoked",
        45 => "certificate_expired",
        46 => "certificate_unknown",
        47 => "illegal_parameter",
        48 => "unknown_ca",
        49 => "access_denied",
        50 => "decode_error",
        51 => "decrypt_error",
        70 => "protocol_version",
        71 => "insufficient_security",
        80 => "internal_error",
        86 => "inappropriate_fallback",
        90 => "user_canceled",
        109 => "missing_extension",
        110 => "unsupported_extension",
        112 => "unrecognized_name",
        115 => "unknown_psk_identity",
        116 => "certificate_required",
        120 => "no_application_protocol",
        _ => return format!("alert {number}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(kind: u8, body: &[u8]) -> Vec<u8> {
        let mut out = vec![kind, 3, 3];
        framed(&mut out, 2, |out| out.extend(body));
        out
    }

    fn message(kind: u8, body: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = vec![kind];
        framed(&mut out, 3, body);
        out
    }

    fn hello(version: u16, suite: u16, extensions: &[(u16, &[u8])]) -> Vec<u8> {
        message(2, |out| {
            out.extend(version.to_be_bytes());
            out.extend([7; 32]);
            out.push(0);
            out.extend(suite.to_be_bytes());
            out.push(0);
            framed(out, 2, |out| {
                for (number, content) in extensions {
                    out.extend(number.to_be_bytes());
                    framed(out, 2, |out| out.extend(*content));
                }
            });
        })
    }

    /// A flight of TLS 1.2 with two certificates and a request for one.
    fn flight() -> Vec<u8> {
        let chain = message(11, |out| {
            framed(out, 3, |out| {
                for certificate in [&b"leaf"[..], b"ca"] {
                    framed(out, 3, |out| out.extend(certificate));
                }
            });
        });
        let request = message(13, |out| {
            framed(out, 1, |out| out.push(1));
            numbers(out, &[0x0403]);
            framed(out, 2, |out| framed(out, 2, |out| out.extend(b"name")));
        });
        [hello(0x0303, 0xc02f, &[]), chain, request, message(14, |_| {})].concat()
    }

    #[test]
    fn a_flight_is_read_however_it_is_cut_into_records() {
        let whole = flight();
        for size in [1, 7, whole.len()] {
            let records: Vec<u8> = whole.chunks(size).flat_map(|part| record(RECORD_HANDSHAKE, part)).collect();
            let read = Flight::parse(&records).unwrap();
            assert_eq!(read.hello, Some(ServerHello { version: 0x0303, suite: 0xc02f, group: None, retry: false }));
            assert_eq!(read.chain, [b"leaf".to_vec(), b"ca".to_vec()]);
            let request = CertificateRequest { authorities: vec![b"name".to_vec()], schemes: vec![0x0403] };
            assert_eq!(read.request, Some(request));
            assert!(read.complete);
            // Any part of it is a flight that is not complete yet, and no error.
            for end in 0..records.len() {
                assert!(!Flight::parse(&records[..end]).unwrap().complete, "{end}");
            }
        }
    }

    #[test]
    fn what_came_before_an_alert_was_said() {
        let said = flight();
        let without_end = &said[..said.len() - 4];
        let read = Flight::parse(&[record(RECORD_HANDSHAKE, without_end), record(RECORD_ALERT, &[2, 116])].concat());
        let read = read.unwrap();
        assert_eq!((read.alert, read.complete), (Some(116), true));
        assert_eq!((read.hello.map(|hello| hello.suite), read.chain.len()), (Some(0xc02f), 2));
    }

    #[test]
    fn a_request_to_retry_names_the_group() {
        let mut retry = hello(0x0303, 0x1301, &[(EXTENSION_KEY_SHARE, &[0x11, 0xec]), (EXTENSION_VERSIONS, &[3, 4])]);
        retry[6..38].copy_from_slice(&RETRY);
        let read = Flight::parse(&record(RECORD_HANDSHAKE, &retry)).unwrap();
        let wanted = ServerHello { version: 0x0304, suite: 0x1301, group: Some(0x11ec), retry: true };
        assert_eq!((read.hello, read.complete), (Some(wanted), true));
    }

    #[test]
    fn refusals_are_told_apart() {
        let alert = Flight::parse(&record(RECORD_ALERT, &[2, 70])).unwrap();
        assert_eq!((alert.alert.map(alert_name).as_deref(), alert.complete), (Some("protocol_version"), true));
        let http = Flight::parse(b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent");
        assert_eq!(http, Err(BadFlight::Http("HTTP/1.0 400 Bad Request".to_owned())));
        assert_eq!(Flight::parse(b"SSH-2.0"), Err(BadFlight::NotTls(b'S')));
        let early = record(RECORD_HANDSHAKE, &message(11, |_| {}));
        assert_eq!(Flight::parse(&early), Err(BadFlight::Malformed("another message before the ServerHello")));
        let mut long = hello(0x0303, 0xc02f, &[]);
        // The session id is longer than all that follows.
        long[38] = 200;
        assert_eq!(Flight::parse(&record(RECORD_HANDSHAKE, &long)), Err(BadFlight::Malformed("its ServerHello")));
    }

    #[test]
    fn a_client_hello_holds_what_is_offered() {
        let offer = ClientHello {
            version: Version::Tls12,
            suites: &[0xc02f, 5],
            groups: &[29],
            schemes: &[0x0403],
            name: Some("kubernetes"),
            random: [1; 32],
        };
        let bytes = offer.encode();
        assert_eq!(bytes[..3], [22, 3, 1]);
        assert_eq!(usize::from(u16::from_be_bytes([bytes[3], bytes[4]])), bytes.len() - 5);
        assert_eq!(bytes[9..11], [3, 3]);
        let holds = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
        assert!(holds(&[0, 4, 0xc0, 0x2f, 0, 5]) && holds(b"kubernetes"));
        let old = ClientHello { version: Version::Ssl3, ..offer }.encode();
        assert_eq!(old[..3], [22, 3, 0]);
        assert!(!old.windows(10).any(|window| window == b"kubernetes"), "SSL 3.0 has no extensions");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(mut bytes in proptest::collection::vec(any::<u8>(), 0..512), kind in 20u8..24) {
            if let [first, ..] = &mut bytes[..] {
                *first = kind;
            }
            let _ = Flight::parse(&bytes);
        }
    }
}

//! What a TLS server says to someone who brings no key: the certificates that it presents, the CAs whose clients it
//! takes, and all that it would speak.
//!
//! The server is only listened to: no credential is sent, and no handshake gets further than one request. Only where
//! the user asks for it is a certificate of the node shown ([`login`]).

mod clock;
mod handshake;
pub mod hello;
mod login;
pub mod suites;
mod survey;
mod wire;

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;

use serde::Serialize;

pub use clock::Clock;
pub use handshake::{Served, Welcome};
pub use login::Reception;
pub use survey::Survey;

use self::hello::{ClientHello, Flight, Version};
use self::survey::{Mute, Until};
use self::wire::Wire;
use super::{Answer, LiveHost, Refusal, RefusalKind, Reply, TlsCall};

/// The most that is read of a server's first flight: 64 KiB.
const FLIGHT_LIMIT: usize = 64 << 10;

/// Asks a server; a certificate that is to be shown is read from the host.
pub(super) fn call(host: &LiveHost, address: &str, call: &TlsCall) -> Answer {
    let address: SocketAddr = address.parse().map_err(|_| {
        Refusal::new(RefusalKind::Unsupported, format!("'{address}' is no address and port, as in 192.0.2.7:6443"))
    })?;
    match call {
        TlsCall::Served { name } => {
            let served = handshake::served(address, name.as_deref())?;
            value(&if served.chain.is_empty() { served_of_old(address, name.as_deref(), served) } else { served })
        }
        TlsCall::Welcome { path } => value(&handshake::get(address, path, None)?),
        TlsCall::LogIn { certificate, key, question } => {
            value(&login::log_in(host, address, certificate, key, question)?)
        }
        TlsCall::Clock => value(&clock::clock(address)?),
        TlsCall::Survey => {
            // A port where nothing listens is absent, not a server that accepts nothing.
            drop(Wire::dial(address)?);
            value(&survey::survey(|hello, until| ask(address, hello, until)))
        }
    }
}

fn value(said: &impl Serialize) -> Answer {
    let said = serde_json::to_value(said);
    said.map(Reply::from).map_err(|error| Refusal::new(RefusalKind::Failed, error.to_string()))
}

/// What a server presents that rustls could not talk to: up to TLS 1.2 it is there to be read.
fn served_of_old(address: SocketAddr, name: Option<&str>, mut served: Served) -> Served {
    let suites: Vec<_> = suites::SUITES.iter().rev().map(|row| row.0).collect();
    let groups: Vec<_> = suites::GROUPS.iter().map(|row| row.0).collect();
    for version in [Version::Tls12, Version::Tls11, Version::Tls10, Version::Ssl3] {
        let hello =
            ClientHello { version, suites: &suites, groups: &groups, schemes: suites::SCHEMES, name, random: random() };
        let Ok(flight) = ask(address, &hello, Until::End) else { break };
        if !flight.chain.is_empty() {
            let agreed = flight.hello.and_then(|hello| Version::of(hello.version));
            served.version = agreed.map(|version| version.to_string());
            served.chain = flight.chain;
            served.request = flight.request;
            break;
        }
    }
    served
}

/// One ClientHello and what comes back.
fn ask(address: SocketAddr, hello: &ClientHello<'_>, until: Until) -> Result<Flight, Mute> {
    let mut wire = Wire::dial(address).map_err(|refusal| Mute::Lost(refusal.to_string()))?;
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    let mut written = wire.write_all(&hello.encode());
    loop {
        let flight = Flight::parse(&bytes).map_err(Mute::Other)?;
        let enough = flight.complete || (until == Until::Hello && flight.hello.is_some());
        if enough || bytes.len() > FLIGHT_LIMIT {
            return Ok(flight);
        }
        match std::mem::replace(&mut written, Ok(())).and_then(|()| wire.read(&mut chunk)) {
            Ok(0) => return Ok(flight),
            Ok(count) => bytes.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::TimedOut => {
                return Err(Mute::Lost(format!("{address}: no answer to a ClientHello of {}", hello.version)));
            }
            // A reset: some servers refuse that way.
            Err(_) => return Ok(flight),
        }
    }
}

/// Random bytes for a ClientHello. Zeros where the kernel has none: nothing here is kept secret by them.
fn random() -> [u8; 32] {
    let mut random = [0; 32];
    let _ = aws_lc_rs::rand::fill(&mut random);
    random
}

/// DER as base64, in lists.
mod der {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(list: &[Vec<u8>], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(list.iter().map(|der| STANDARD.encode(der)))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Vec<u8>>, D::Error> {
        let list = Vec::<String>::deserialize(deserializer)?;
        list.iter().map(|text| STANDARD.decode(text).map_err(D::Error::custom)).collect()
    }
}

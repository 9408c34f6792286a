//! Faults of the network between hosts: what is dropped, rejected or lost, and what comes late.
//!
//! The hosts of a cluster hang on one bridge in a network namespace of its own, the switch; each has one port there.
//! Dropping, rejecting and losing is done by nftables in the switch ([`apply`]), so nothing in a host knows of it or
//! can undo it. The kernel of a bare machine may have no netem, so lateness is made by a process ([`delay`]). All of it
//! is declared whole and replaced whole: what is no longer named is undone, and nothing named means nothing done.

pub mod delay;
mod forwarder;
mod rules;
mod segment;

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::if_nametoindex;
use nix::sched::{CloneFlags, setns};
use serde::{Deserialize, Serialize};

pub use rules::{Effect, End, Rule, render};

/// An Ethernet address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac(pub [u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for Mac {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let octets: Option<Vec<u8>> = text
            .trim()
            .split(':')
            .map(|octet| u8::from_str_radix(octet, 16).ok().filter(|_| octet.len() == 2))
            .collect();
        let octets = octets.and_then(|octets| <[u8; 6]>::try_from(octets).ok());
        octets.map(Self).ok_or_else(|| format!("{text:?} is no Ethernet address; one looks like 02:00:5e:10:00:01"))
    }
}

impl TryFrom<String> for Mac {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> Self {
        mac.to_string()
    }
}

/// Where a host is plugged in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Port {
    /// The switch's end of the host's link.
    pub interface: Interface,
    /// The address of the host's own end, by which the host is known wherever a frame of it turns up.
    pub mac: Mac,
}

/// The name of a network interface: at most 15 letters, digits, dots, dashes or underscores, so that it needs no
/// quoting anywhere.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Interface(String);

impl Interface {
    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Interface {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        let fits = (1..=15).contains(&name.len()) && name.bytes().all(plain) && !name.starts_with(['.', '-']);
        if fits {
            Ok(Self(name.to_owned()))
        } else {
            Err(format!("{name:?} is no name of an interface: 1 to 15 letters, digits, dots, dashes or underscores"))
        }
    }
}

impl TryFrom<String> for Interface {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        name.parse()
    }
}

impl From<Interface> for String {
    fn from(interface: Interface) -> Self {
        interface.0
    }
}

/// Why a fault of the network is not in force.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The namespace is gone, or we may not enter it.
    #[error("the network namespace {path} cannot be entered: {source}")]
    Namespace {
        /// Where it was looked for.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The namespace has no such interface.
    #[error("there is no Ethernet interface {interface} in the network namespace {path}")]
    NoInterface {
        /// The namespace.
        path: PathBuf,
        /// The interface.
        interface: Interface,
    },
    /// The program nft does not run.
    #[error("nft cannot be run: {0}; it comes with the package nftables")]
    NoNft(io::Error),
    /// nft refuses the rules.
    #[error("nft refuses the rules: {0}")]
    Refused(String),
}

/// The address of an interface in a network namespace, as that of a host's own end of its link.
///
/// # Errors
/// [`LinkError`]: there is no such namespace or interface, or it is none of Ethernet.
pub fn mac(namespace: &Path, interface: &Interface) -> Result<Mac, LinkError> {
    let found = inside(namespace, || {
        let addresses = getifaddrs().into_iter().flatten();
        let mut named = addresses.filter(|address| address.interface_name == interface.name());
        named.find_map(|address| address.address?.as_link_addr()?.addr())
    })?;
    found.map(Mac).ok_or_else(|| LinkError::NoInterface { path: namespace.to_owned(), interface: interface.clone() })
}

/// Does something in another network namespace (`/proc/PID/ns/net`, `/run/netns/NAME`), in a thread that ends with it.
pub(crate) fn inside<T: Send>(namespace: &Path, act: impl FnOnce() -> T + Send) -> Result<T, LinkError> {
    let enter = || File::open(namespace).and_then(|file| Ok(setns(file, CloneFlags::CLONE_NEWNET)?));
    let thread = || match enter() {
        Ok(()) => Ok(act()),
        Err(source) => Err(LinkError::Namespace { path: namespace.to_owned(), source }),
    };
    std::thread::scope(|scope| match scope.spawn(thread).join() {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

/// Puts exactly these rules into force in the switch (its network namespace), in one step; none takes them all away.
///
/// A rejection is bound to the sender's port and goes with it: apply the rules again when a host was made anew.
///
/// # Errors
/// [`LinkError`] tells whether it is the namespace, the program or the rules.
pub fn apply(switch: &Path, rules: &[Rule]) -> Result<(), LinkError> {
    inside(switch, || {
        let named = rules.iter().flat_map(|rule| rule.from.ports());
        let there: BTreeSet<_> = named.map(|port| &port.interface).filter(|one| exists(one)).cloned().collect();
        // An ordinary user's PATH may not have it.
        let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
        let mut nft = Command::new("nft")
            .env("PATH", path)
            .args(["-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(LinkError::NoNft)?;
        if let Some(mut input) = nft.stdin.take() {
            // An nft that stops reading says why on standard error.
            input.write_all(render(rules, &there).as_bytes()).ok();
        }
        let output = nft.wait_with_output().map_err(LinkError::NoNft)?;
        if output.status.success() {
            return Ok(());
        }
        Err(LinkError::Refused(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    })?
}

/// Whether the namespace we are in has this interface.
fn exists(interface: &Interface) -> bool {
    if_nametoindex(interface.name()).is_ok()
}

//! Netlink messages, written out: a header, a family's own header, and attributes (rtnetlink(7), linux/netlink.h).

use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send, setsockopt, socket,
    sockopt,
};
use nix::sys::time::TimeVal;

use super::{At as _, Stuck};

pub(super) const REQUEST: u16 = 1;
pub(super) const ACK: u16 = 4;
pub(super) const CREATE: u16 = 0x400;
pub(super) const EXCLUSIVE: u16 = 0x200;
const NESTED: u16 = 0x8000;
const NLMSG_ERROR: u16 = 2;

/// A message that is being written.
pub(super) struct Message(Vec<u8>);

impl Message {
    /// A message of this type, flags and number, with the family's own header behind the general one.
    pub(super) fn new(kind: u16, flags: u16, sequence: u32, header: &[u8]) -> Self {
        let mut bytes = vec![0; 4];
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(sequence.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend(header);
        Self(bytes)
    }

    /// An attribute; padded to four bytes.
    pub(super) fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        self.0.extend(attribute(kind, value));
        self
    }

    /// An attribute that holds others.
    pub(super) fn nest(self, kind: u16, inner: &[u8]) -> Self {
        self.attribute(kind | NESTED, inner)
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        let length = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        self.0[..4].copy_from_slice(&length.to_ne_bytes());
        self.0
    }
}

/// An attribute by itself, for nests.
pub(super) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// A nest by itself.
pub(super) fn nest(kind: u16, inner: &[u8]) -> Vec<u8> {
    attribute(kind | NESTED, inner)
}

/// A text as attributes hold it: ended by a zero byte.
pub(super) fn text(text: &str) -> Vec<u8> {
    [text.as_bytes(), &[0]].concat()
}

/// A netlink socket.
pub(super) struct Socket(OwnedFd);

impl Socket {
    pub(super) fn open(protocol: SockProtocol) -> Result<Self, Stuck> {
        let fd =
            socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol).at("opening netlink")?;
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, 0)).at("binding netlink")?;
        setsockopt(&fd, sockopt::ReceiveTimeout, &TimeVal::new(3, 0)).at("setting a time limit")?;
        Ok(Self(fd))
    }

    /// Sends messages in one datagram and waits for `answers` acknowledgements; gives the first message that is none.
    pub(super) fn ask(&self, bytes: &[u8], answers: usize, stage: &'static str) -> Result<Vec<u8>, Stuck> {
        send(self.0.as_raw_fd(), bytes, MsgFlags::empty()).at(stage)?;
        let (mut seen, mut other) = (0, Vec::new());
        let mut buffer = vec![0; 32 << 10];
        while seen < answers {
            let length = recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::empty()).at(stage)?;
            let mut rest = &buffer[..length];
            while rest.len() >= 20 {
                let field = |from: usize| {
                    rest.get(from..from + 4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_ne_bytes)
                };
                let size = field(0).map_or(0, |size| size as usize).clamp(16, rest.len());
                if u16::from_ne_bytes([rest[4], rest[5]]) == NLMSG_ERROR {
                    seen += 1;
                    let code = field(16).unwrap_or(0).cast_signed();
                    if code != 0 {
                        return Err(Stuck { stage, errno: Errno::from_raw(-code) });
                    }
                } else if other.is_empty() {
                    other = rest[..size].to_vec();
                }
                rest = &rest[size.next_multiple_of(4).min(rest.len())..];
            }
        }
        Ok(other)
    }
}

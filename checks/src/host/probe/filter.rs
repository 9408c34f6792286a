//! Packet filters, in a network namespace of our own: nftables, iptables by either of its ways, IPVS.

use std::os::fd::AsRawFd as _;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};
use serde_json::{Value, json};

use super::namespace::unshare;
use super::netlink::{ACK, CREATE, Message, REQUEST, Socket, attribute, nest, text};
use super::{At as _, Stuck, Tried};

const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;
const SUBSYS_NFTABLES: u16 = 10 << 8;
const NEWTABLE: u16 = SUBSYS_NFTABLES;
const NEWCHAIN: u16 = SUBSYS_NFTABLES | 3;
const NEWRULE: u16 = SUBSYS_NFTABLES | 6;
const IPV4: u8 = 2;
const IPV6: u8 = 10;

/// `struct nfgenmsg`: family, version, and a resource id in network order.
fn header(family: u8, resource: u16) -> [u8; 4] {
    let [high, low] = resource.to_be_bytes();
    [family, 0, high, low]
}

/// Commits a table, a base chain and a rule of one expression, in one transaction.
fn commit(family: u8, expression: &str, data: &[u8], stage: &'static str) -> Result<(), Stuck> {
    let socket = Socket::open(SockProtocol::NetlinkNetFilter)?;
    let (own, batch) = (header(family, 0), header(0, 10));
    let hook = [attribute(1, &0_u32.to_be_bytes()), attribute(2, &0_u32.to_be_bytes())].concat();
    let element = [attribute(1, &text(expression)), nest(2, data)].concat();
    let bytes = [
        Message::new(BATCH_BEGIN, REQUEST, 1, &batch).finish(),
        Message::new(NEWTABLE, REQUEST | ACK | CREATE, 2, &own).attribute(1, &text("seaworthy")).finish(),
        Message::new(NEWCHAIN, REQUEST | ACK | CREATE, 3, &own)
            .attribute(1, &text("seaworthy"))
            .attribute(3, &text("input"))
            .nest(4, &hook)
            .attribute(7, &text("filter"))
            .finish(),
        Message::new(NEWRULE, REQUEST | ACK | CREATE, 4, &own)
            .attribute(1, &text("seaworthy"))
            .attribute(2, &text("input"))
            .nest(4, &nest(1, &element))
            .finish(),
        Message::new(BATCH_END, REQUEST, 5, &batch).finish(),
    ]
    .concat();
    socket.ask(&bytes, 3, stage).map(|_| ())
}

pub(super) fn nftables() -> Tried {
    unshare(nix::libc::CLONE_NEWNET)?;
    commit(IPV4, "counter", &[], "committing a table, a chain and a rule")?;
    Ok(Value::Null)
}

/// What iptables-nft commits: a rule with a match of xtables, wrapped (NFT_COMPAT).
fn by_nft(family: u8) -> Result<(), Stuck> {
    // Name, revision, and the fixed 256 bytes of xt_comment's information.
    let data = [attribute(1, &text("comment")), attribute(2, &0_u32.to_be_bytes()), attribute(3, &[0; 256])].concat();
    commit(family, "match", &data, "committing a rule with an xtables match")
}

/// What iptables-legacy asks first: the size of the filter table (IPT_SO_GET_INFO and IP6T_SO_GET_INFO are both 64).
fn by_legacy(family: AddressFamily, level: i32) -> Result<(), Stuck> {
    let fd = socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Raw).at("opening a raw socket")?;
    let mut info = [0_u8; 84];
    info[..6].copy_from_slice(b"filter");
    let mut length: nix::libc::socklen_t = 84;
    // SAFETY: the kernel writes at most `length` bytes into `info`, which has as many.
    let code = unsafe { nix::libc::getsockopt(fd.as_raw_fd(), level, 64, info.as_mut_ptr().cast(), &raw mut length) };
    Errno::result(code).at("asking for the filter table")?;
    Ok(())
}

fn tables(family: AddressFamily, level: i32, nft_family: u8) -> Tried {
    unshare(nix::libc::CLONE_NEWNET)?;
    let (legacy, nft) = (by_legacy(family, level), by_nft(nft_family));
    match (legacy, nft) {
        (Err(stuck), Err(_)) => Err(stuck),
        (legacy, nft) => Ok(json!({ "legacy": legacy.is_ok(), "nft": nft.is_ok() })),
    }
}

pub(super) fn iptables() -> Tried {
    tables(AddressFamily::Inet, nix::libc::SOL_IP, IPV4)
}

pub(super) fn ip6tables() -> Tried {
    tables(AddressFamily::Inet6, nix::libc::SOL_IPV6, IPV6)
}

/// Asks generic netlink for the family IPVS (CTRL_CMD_GETFAMILY).
pub(super) fn ipvs() -> Tried {
    const GENL_ID_CTRL: u16 = 16;
    unshare(nix::libc::CLONE_NEWNET)?;
    let socket = Socket::open(SockProtocol::NetlinkGeneric)?;
    let message = Message::new(GENL_ID_CTRL, REQUEST | ACK, 1, &[3, 1, 0, 0]).attribute(2, &text("IPVS"));
    socket.ask(&message.finish(), 1, "looking for the IPVS family")?;
    Ok(Value::Null)
}

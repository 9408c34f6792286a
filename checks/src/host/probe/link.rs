//! Network links, in a network namespace of our own (rtnetlink(7): RTM_NEWLINK).

use nix::sys::socket::SockProtocol;
use serde_json::Value;

use super::Tried;
use super::namespace::unshare;
use super::netlink::{ACK, CREATE, EXCLUSIVE, Message, REQUEST, Socket, attribute, nest, text};

const RTM_NEWLINK: u16 = 16;
const IFLA_IFNAME: u16 = 3;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFLA_VXLAN_ID: u16 = 1;
/// `struct ifinfomsg` of no interface in particular.
const NO_LINK: [u8; 16] = [0; 16];

fn socket() -> Result<Socket, super::Stuck> {
    unshare(nix::libc::CLONE_NEWNET)?;
    Socket::open(SockProtocol::NetlinkRoute)
}

fn add(
    socket: &Socket,
    name: &str,
    kind: &str,
    data: Option<Vec<u8>>,
    stage: &'static str,
) -> Result<(), super::Stuck> {
    let mut info = attribute(IFLA_INFO_KIND, &text(kind));
    info.extend(data.map(|data| nest(IFLA_INFO_DATA, &data)).unwrap_or_default());
    let message = Message::new(RTM_NEWLINK, REQUEST | ACK | CREATE | EXCLUSIVE, 1, &NO_LINK)
        .attribute(IFLA_IFNAME, &text(name))
        .nest(IFLA_LINKINFO, &info);
    socket.ask(&message.finish(), 1, stage).map(|_| ())
}

pub(super) fn veth() -> Tried {
    let peer = [&NO_LINK[..], &attribute(IFLA_IFNAME, &text("sw1"))].concat();
    add(&socket()?, "sw0", "veth", Some(nest(VETH_INFO_PEER, &peer)), "creating a veth pair")?;
    Ok(Value::Null)
}

/// A bridge, and a veth end as its port.
pub(super) fn bridge() -> Tried {
    let socket = socket()?;
    add(&socket, "sw-br", "bridge", None, "creating a bridge")?;
    let peer = [&NO_LINK[..], &attribute(IFLA_IFNAME, &text("sw1"))].concat();
    add(&socket, "sw0", "veth", Some(nest(VETH_INFO_PEER, &peer)), "creating a veth pair")?;
    let index = |name: &str| nix::net::if_::if_nametoindex(name).unwrap_or(0).to_ne_bytes();
    let mut port = NO_LINK;
    port[4..8].copy_from_slice(&index("sw0"));
    let message = Message::new(RTM_NEWLINK, REQUEST | ACK, 2, &port).attribute(IFLA_MASTER, &index("sw-br"));
    socket.ask(&message.finish(), 1, "making a link a port of the bridge")?;
    Ok(Value::Null)
}

pub(super) fn vxlan() -> Tried {
    let id = attribute(IFLA_VXLAN_ID, &4096_u32.to_ne_bytes());
    add(&socket()?, "sw-vx", "vxlan", Some(id), "creating a VXLAN link")?;
    Ok(Value::Null)
}

pub(super) fn dummy() -> Tried {
    add(&socket()?, "sw-dummy", "dummy", None, "creating a dummy link")?;
    Ok(Value::Null)
}

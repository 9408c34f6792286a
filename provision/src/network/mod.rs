//! The links between hosts.
//!
//! A cluster has one host, the switch, in whose network namespace there is a bridge. Every other host hangs on it by a
//! veth pair, whose end at the switch is named after the host and whose other end is the host's `eth0`. One more pair
//! leads to the machine. All of it goes when the switch goes: the machine's own network namespace has nothing of a
//! cluster but that one link. What is slow, lossy or parted on the way is the business of [`fault`](crate::fault).

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use ipnet::IpNet;
use nix::net::if_::if_nametoindex;
use nix::sched::{CloneFlags, setns};
use rtnetlink::packet_route::link::LinkMessage;
use rtnetlink::{Handle, LinkBridge, LinkUnspec, LinkVeth, RouteMessageBuilder};

use crate::host::Process;

/// The name of the switch's bridge.
pub const BRIDGE: &str = "hosts";
/// The name of a host's one link.
const LINK: &str = "eth0";
/// The name of the switch's port to the machine.
const UPLINK: &str = "machine";
/// What a host passes on packets between pods, Services and other hosts with, and no time lost on looking for the same
/// IPv6 address elsewhere (RFC 4862 section 5.4). Those of IPv6 are not there where the kernel has none.
const SYSCTLS: [(&str, &str); 6] = [
    ("net/ipv4/ip_forward", "1"),
    ("net/ipv6/conf/all/forwarding", "1"),
    ("net/ipv6/conf/all/accept_dad", "0"),
    ("net/ipv6/conf/default/accept_dad", "0"),
    ("net/ipv6/conf/default/accept_ra", "0"),
    ("net/bridge/bridge-nf-call-iptables", "1"),
];

/// Why a link cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The kernel refuses a step.
    #[error("{what}: {why}")]
    Step {
        /// The step, and what it is about.
        what: String,
        /// What the kernel said.
        why: String,
    },
}

fn step(what: impl Into<String>, why: impl ToString) -> NetworkError {
    NetworkError::Step { what: what.into(), why: why.to_string() }
}

/// A network namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace(PathBuf);

impl Namespace {
    /// The one that this process began in.
    #[must_use]
    pub fn machine() -> Self {
        Self(format!("/proc/{}/ns/net", std::process::id()).into())
    }

    /// That of a host, by its process 1.
    #[must_use]
    pub fn of(process: Process) -> Self {
        Self(format!("/proc/{}/ns/net", process.pid).into())
    }

    /// Does something in this namespace, on a thread of its own.
    ///
    /// # Errors
    /// [`NetworkError`] if the namespace cannot be entered, or what the work says.
    pub fn within<T: Send>(
        &self,
        work: impl AsyncFnOnce(Handle) -> Result<T, NetworkError> + Send,
    ) -> Result<T, NetworkError> {
        let enter = || {
            let file = File::open(&self.0).map_err(|error| step(format!("opening {}", self.0.display()), error))?;
            setns(file, CloneFlags::CLONE_NEWNET).map_err(|errno| step("entering a network namespace", errno))?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
            let runtime = runtime.map_err(|error| step("starting a runtime", error))?;
            runtime.block_on(async {
                let (connection, handle, _) =
                    rtnetlink::new_connection().map_err(|error| step("opening a netlink socket", error))?;
                let connection = tokio::spawn(connection);
                let done = work(handle).await;
                connection.abort();
                done
            })
        };
        std::thread::scope(|scope| {
            scope.spawn(enter).join().unwrap_or_else(|_| Err(step("working in a network namespace", "it panicked")))
        })
    }
}

fn index(name: &str) -> Result<u32, NetworkError> {
    if_nametoindex(name).map_err(|errno| step(format!("looking for the link {name}"), errno))
}

async fn set(handle: &Handle, link: LinkMessage, what: String) -> Result<(), NetworkError> {
    handle.link().set(link).execute().await.map_err(|error| step(what, error))
}

async fn up(handle: &Handle, name: &str) -> Result<(), NetworkError> {
    set(handle, LinkUnspec::new_with_name(name).up().build(), format!("bringing up {name}")).await
}

async fn address(handle: &Handle, name: &str, address: IpNet) -> Result<(), NetworkError> {
    let request = handle.address().add(index(name)?, address.addr(), address.prefix_len()).replace();
    request.execute().await.map_err(|error| step(format!("giving {name} the address {address}"), error))
}

/// Adds a route, or changes the one that is there.
async fn route(handle: &Handle, to: IpNet, gateway: IpAddr) -> Result<(), NetworkError> {
    let message = match (to, gateway) {
        (IpNet::V4(to), IpAddr::V4(gateway)) => RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(to.network(), to.prefix_len())
            .gateway(gateway)
            .build(),
        (IpNet::V6(to), IpAddr::V6(gateway)) => RouteMessageBuilder::<Ipv6Addr>::new()
            .destination_prefix(to.network(), to.prefix_len())
            .gateway(gateway)
            .build(),
        _ => return Err(step(format!("a route to {to} by {gateway}"), "they are of two families")),
    };
    let added = handle.route().add(message).replace().execute().await;
    added.map_err(|error| step(format!("a route to {to} by {gateway}"), error))
}

/// Sets what the network of a host needs; what the kernel does not have is passed over.
fn sysctls() {
    for (name, value) in SYSCTLS {
        // The files are those of the namespace of the thread that opens them.
        std::fs::write(format!("/proc/sys/{name}"), value).ok();
    }
}

/// Makes the bridge of a switch. One that is there is let be.
///
/// # Errors
/// [`NetworkError`] names the step.
pub fn switch(switch: Process) -> Result<(), NetworkError> {
    Namespace::of(switch).within(async |handle| {
        sysctls();
        up(&handle, "lo").await?;
        if index(BRIDGE).is_err() {
            let added = handle.link().add(LinkBridge::new(BRIDGE).build()).execute().await;
            added.map_err(|error| step(format!("making the bridge {BRIDGE}"), error))?;
        }
        up(&handle, BRIDGE).await
    })
}

/// How a host hangs on the switch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link<'a> {
    /// The name of its port at the switch: at most 13 bytes.
    pub port: &'a str,
    /// The address of its `eth0` on the wire.
    pub mac: [u8; 6],
    /// Its addresses.
    pub addresses: &'a [IpNet],
    /// Its ways out, one a family.
    pub gateways: &'a [IpAddr],
}

/// Joins a host to the switch, and gives it its addresses and its way out.
///
/// # Errors
/// [`NetworkError`] names the step.
pub fn attach(switch: Process, host: Process, link: &Link<'_>) -> Result<(), NetworkError> {
    // A name that nobody has in the namespace in which the pair is made.
    let far = format!("{:.13}-h", link.port);
    let joined = Namespace::of(host).within(async |_| Ok(index(LINK).is_ok() || index(&far).is_ok()))?;
    if !joined {
        pair(switch, link.port, &far, host)?;
    }
    Namespace::of(host).within(async |handle| {
        sysctls();
        up(&handle, "lo").await?;
        if index(LINK).is_err() {
            set(
                &handle,
                LinkUnspec::new_with_index(index(&far)?).name(LINK).address(link.mac.to_vec()).build(),
                format!("naming {far}"),
            )
            .await?;
        }
        std::fs::write(format!("/proc/sys/net/ipv6/conf/{LINK}/accept_dad"), "0").ok();
        up(&handle, LINK).await?;
        for one in link.addresses {
            address(&handle, LINK, *one).await?;
        }
        for gateway in link.gateways {
            let all = match gateway {
                IpAddr::V4(_) => IpNet::new(Ipv4Addr::UNSPECIFIED.into(), 0),
                IpAddr::V6(_) => IpNet::new(Ipv6Addr::UNSPECIFIED.into(), 0),
            };
            let all = all.map_err(|error| step("the way out", error))?;
            route(&handle, all, *gateway).await?;
        }
        Ok(())
    })
}

/// Joins the machine to the switch.
///
/// # Errors
/// [`NetworkError`] names the step.
pub fn uplink(switch: Process, link: &str, addresses: &[IpNet]) -> Result<(), NetworkError> {
    let machine =
        Process::of(std::process::id().cast_signed()).ok_or_else(|| step("looking for this process", "gone"))?;
    let ours = Namespace::of(switch).within(async |_| Ok(index(UPLINK).is_ok()))?;
    if !ours || index(link).is_err() {
        // One whose other end has gone, or is about to.
        detach(link)?;
        Namespace::of(switch).within(async |handle| remove(&handle, UPLINK).await)?;
        pair(switch, UPLINK, link, machine)?;
    }
    Namespace::machine().within(async |handle| {
        std::fs::write(format!("/proc/sys/net/ipv6/conf/{link}/accept_dad"), "0").ok();
        std::fs::write(format!("/proc/sys/net/ipv6/conf/{link}/disable_ipv6"), "0").ok();
        up(&handle, link).await?;
        for one in addresses {
            address(&handle, link, *one).await?;
        }
        Ok(())
    })
}

/// Removes a link of the machine's, if it is there. The kernel does so by itself, but only a little after the namespace
/// of the other end.
///
/// # Errors
/// [`NetworkError`] names the link.
pub fn detach(link: &str) -> Result<(), NetworkError> {
    Namespace::machine().within(async |handle| remove(&handle, link).await)
}

async fn remove(handle: &Handle, name: &str) -> Result<(), NetworkError> {
    let Ok(there) = index(name) else { return Ok(()) };
    match handle.link().del(there).execute().await {
        Err(error) if index(name).is_ok() => Err(step(format!("removing the link {name}"), error)),
        _ => Ok(()),
    }
}

/// Makes a veth pair at the switch, one end a port of the bridge, and hands the other end on. One that is there was
/// half made, or leads to an owner that is dead and that the kernel has not cleared away yet.
fn pair(switch: Process, port: &str, far: &str, owner: Process) -> Result<(), NetworkError> {
    Namespace::of(switch).within(async |handle| {
        if let Ok(stale) = index(port) {
            // The kernel may be faster.
            handle.link().del(stale).execute().await.ok();
        }
        let added = handle.link().add(LinkVeth::new(port, far).build()).execute().await;
        added.map_err(|error| step(format!("making the links {port} and {far}"), error))?;
        let port_up = LinkUnspec::new_with_name(port).controller(index(BRIDGE)?).up().build();
        set(&handle, port_up, format!("making {port} a port of {BRIDGE}")).await?;
        let handed = LinkUnspec::new_with_index(index(far)?).setns_by_pid(owner.pid.cast_unsigned()).build();
        set(&handle, handed, format!("handing {far} on")).await
    })
}

/// Gives a host the ways to the pods of others: each network by the address of its host.
///
/// # Errors
/// [`NetworkError`] names the route.
pub fn routes(host: Process, ways: &[(IpNet, IpAddr)]) -> Result<(), NetworkError> {
    Namespace::of(host).within(async |handle| {
        for (to, gateway) in ways {
            route(&handle, *to, *gateway).await?;
        }
        Ok(())
    })
}

/// The networks that links of this machine are in, and that its routes lead to.
#[must_use]
pub fn taken() -> Vec<IpNet> {
    let v4 = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
    let v6 = std::fs::read_to_string("/proc/net/ipv6_route").unwrap_or_default();
    taken_in(&v4, &v6)
}

fn taken_in(v4: &str, v6: &str) -> Vec<IpNet> {
    let mut found = Vec::new();
    for line in v4.lines().skip(1) {
        let fields: Vec<_> = line.split_ascii_whitespace().collect();
        let hex = |at: usize| fields.get(at).and_then(|text| u32::from_str_radix(text, 16).ok());
        // In the byte order of the network, printed as numbers of this machine (net/ipv4/fib_trie.c).
        if let (Some(to), Some(mask)) = (hex(1), hex(7))
            && let Ok(network) =
                IpNet::new(Ipv4Addr::from(to.to_ne_bytes()).into(), u8::try_from(mask.count_ones()).unwrap_or(32))
            && network.prefix_len() > 0
        {
            found.push(network);
        }
    }
    for line in v6.lines() {
        let fields: Vec<_> = line.split_ascii_whitespace().collect();
        let (Some(to), Some(length), Some(&link)) = (fields.first(), fields.get(1), fields.get(9)) else { continue };
        let address = u128::from_str_radix(to, 16).map(Ipv6Addr::from);
        if let (Ok(address), Ok(length)) = (address, u8::from_str_radix(length, 16))
            && let Ok(network) = IpNet::new(address.into(), length)
            && link != "lo"
            && (8..128).contains(&length)
            && !address.is_multicast()
            && !address.is_unicast_link_local()
        {
            found.push(network);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_routes_are_read() {
        let v4 = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
                  eth0\t00000000\t0102A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                  eth0\t0002A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
        let v6 = "fd000000000000010000000000000000 40 00000000000000000000000000000000 00 \
                  00000000000000000000000000000000 00000100 00000001 00000000 00000001 eth0\n\
                  fe800000000000000000000000000000 40 00000000000000000000000000000000 00 \
                  00000000000000000000000000000000 00000100 00000001 00000000 00000001 eth0\n";
        let expected: Vec<IpNet> = ["192.168.2.0/24", "fd00:0:0:1::/64"].map(|text| text.parse().unwrap()).into();
        assert_eq!(taken_in(v4, v6), expected);
    }
}

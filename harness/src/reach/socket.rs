//! Sockets: packets that are not taken apart, addresses, interfaces and their MTU.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;

use nix::libc;

/// Sends what leaves a socket whole or not at all, whatever the kernel has learned of the path: what comes through is
/// the path's MTU.
pub(super) fn whole_packets(socket: &UdpSocket) -> std::io::Result<()> {
    let (level, option, value) = match socket.local_addr()?.ip() {
        IpAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_PROBE),
        IpAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_PROBE),
    };
    let size = libc::socklen_t::try_from(size_of_val(&value)).unwrap_or(4);
    // SAFETY: the option's value is an int, which lives until the call returns, and its size is told rightly.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, std::ptr::from_ref(&value).cast(), size) };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// What IP and UDP put in front of a payload.
pub(super) fn headers(address: IpAddr) -> u32 {
    if address.is_ipv4() { 28 } else { 48 }
}

/// This machine's addresses with their interfaces, those left out that mean nothing without one.
pub(super) fn addresses() -> Vec<(IpAddr, String)> {
    let Ok(all) = nix::ifaddrs::getifaddrs() else { return Vec::new() };
    let address = |interface: nix::ifaddrs::InterfaceAddress| {
        let address = interface.address?;
        let ip = match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
            (Some(v4), _) => IpAddr::V4(v4.ip()),
            (_, Some(v6)) => IpAddr::V6(v6.ip()),
            _ => return None,
        };
        let local = matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local());
        (!local).then_some((ip, interface.interface_name))
    };
    let mut found: Vec<_> = all.filter_map(address).collect();
    found.sort();
    found.dedup_by(|a, b| a.0 == b.0);
    found
}

/// The MTU of the interface that has an address; `None` if there is none, or it does not tell.
pub(super) fn mtu(address: IpAddr) -> Option<u32> {
    let (_, name) = addresses().into_iter().find(|(known, _)| *known == address)?;
    let socket = UdpSocket::bind(SocketAddr::new(address, 0)).ok()?;
    // SAFETY: an ifreq of zeros is a valid one.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if name.len() >= request.ifr_name.len() {
        return None;
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from.cast_signed();
    }
    // SAFETY: the kernel writes an int into the ifreq, which outlives the call (netdevice(7)).
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFMTU as _, &raw mut request) };
    // SAFETY: after a call that succeeded the union holds the MTU.
    (result == 0).then(|| u32::try_from(unsafe { request.ifr_ifru.ifru_mtu }).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_has_an_address_and_an_mtu() {
        let localhost: IpAddr = "127.0.0.1".parse().unwrap();
        assert!(addresses().iter().any(|(address, _)| *address == localhost));
        assert!(mtu(localhost).unwrap() >= 1280);
        assert_eq!(mtu("192.0.2.1".parse().unwrap()), None);
        whole_packets(&UdpSocket::bind((localhost, 0)).unwrap()).unwrap();
    }
}

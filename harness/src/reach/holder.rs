//! Who uses a port of this machine.

use std::path::Path;

use super::{Port, Transport};

/// The most descriptors that are looked at.
const LIMIT: usize = 50_000;

/// The name of the process that uses a port, as far as it can be seen.
pub(super) fn holder(port: Port) -> String {
    let inodes = ["", "6"].iter().flat_map(|family| {
        let table = std::fs::read_to_string(format!("/proc/net/{}{family}", port.transport)).unwrap_or_default();
        inodes(&table, port)
    });
    let inodes: Vec<u64> = inodes.collect();
    match inodes.first() {
        None => "an unknown process".to_owned(),
        // Sockets of the kernel are nobody's file.
        Some(0) => "the kernel (a tunnel such as VXLAN)".to_owned(),
        Some(_) => process(&inodes).unwrap_or_else(|| "a process that only root can see".to_owned()),
    }
}

/// Inodes of the sockets that are bound to a port, in the form of /proc/net/tcp: slot, local address, remote address,
/// state, …, inode as the tenth field.
fn inodes(table: &str, port: Port) -> Vec<u64> {
    // TCP_LISTEN; a UDP socket that is not connected is in TCP_CLOSE.
    let state = if port.transport == Transport::Tcp { "0A" } else { "07" };
    let line = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let number = u16::from_str_radix(fields.get(1)?.rsplit_once(':')?.1, 16).ok()?;
        (number == port.number && *fields.get(3)? == state).then(|| fields.get(9)?.parse().ok()).flatten()
    };
    table.lines().skip(1).filter_map(line).collect()
}

fn process(inodes: &[u64]) -> Option<String> {
    let wanted: Vec<_> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    let mut looked = 0;
    for process in std::fs::read_dir("/proc").ok()?.flatten() {
        if !process.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        let Ok(descriptors) = std::fs::read_dir(process.path().join("fd")) else { continue };
        for descriptor in descriptors.flatten() {
            looked += 1;
            if looked > LIMIT {
                return None;
            }
            let target = std::fs::read_link(descriptor.path()).unwrap_or_default();
            if wanted.iter().any(|wanted| Path::new(wanted) == target) {
                return Some(std::fs::read_to_string(process.path().join("comm")).ok()?.trim().to_owned());
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn we_are_seen_to_use_our_own_port() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let number = listener.local_addr().unwrap().port();
        let own = std::fs::read_to_string("/proc/self/comm").unwrap();
        assert_eq!(holder(Port { transport: Transport::Tcp, number }), own.trim());
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let number = socket.local_addr().unwrap().port();
        assert_eq!(holder(Port { transport: Transport::Udp, number }), own.trim());
    }
}

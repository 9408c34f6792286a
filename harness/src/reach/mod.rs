//! `seaworthy listen` and `seaworthy reach`: can nodes reach each other, before anything is installed on them?
//!
//! One node listens on the unused ports of a role, the others ask it. Both end by themselves. What is said is a line of
//! text with a nonce ([`protocol`]); it holds no secret, and no answer is longer than its question.

mod holder;
mod listen;
mod probe;
mod protocol;
mod show;
mod socket;

use std::fmt;
use std::str::FromStr;

use clap::{Args, ValueEnum};
use serde::Serialize;

pub(crate) use listen::listen;
pub(crate) use probe::reach;

use crate::cli::Output;

/// TCP or UDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Transport {
    Tcp,
    Udp,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// A port: `tcp/6443`, `udp/8472`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Port {
    pub(crate) transport: Transport,
    pub(crate) number: u16,
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.transport, self.number)
    }
}

impl FromStr for Port {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (transport, number) = text.split_once('/').unwrap_or(("tcp", text));
        let transport = match transport {
            "tcp" => Transport::Tcp,
            "udp" => Transport::Udp,
            _ => return Err(format!("'{transport}' is no transport; write tcp/PORT or udp/PORT")),
        };
        match number.parse() {
            Ok(number @ 1..) => Ok(Self { transport, number }),
            _ => Err(format!("'{number}' is no port; a port is 1 to 65535")),
        }
    }
}

/// What a node does, or runs: it asks for ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// The API server, etcd beside it, and the kubelet
    ControlPlane,
    /// The kubelet, kube-proxy's health, and the ends of the range of NodePorts
    Worker,
    /// An etcd of its own
    Etcd,
    /// VXLAN as Flannel and Cilium use it, and as Calico does
    Vxlan,
    /// Calico: BGP, Typha, VXLAN
    Calico,
    /// Cilium: health, VXLAN, WireGuard
    Cilium,
    /// Geneve, as Antrea and OVN use it
    Geneve,
    /// WireGuard, as Flannel and Calico use it
    Wireguard,
}

impl Part {
    /// Its ports between nodes: those that only the node itself uses are not among them.
    fn ports(self) -> &'static [(Transport, u16)] {
        use Transport::{Tcp, Udp};
        match self {
            Self::ControlPlane => &[(Tcp, 6443), (Tcp, 2379), (Tcp, 2380), (Tcp, 10250)],
            Self::Worker => &[(Tcp, 10250), (Tcp, 10256), (Tcp, 30000), (Tcp, 32767), (Udp, 30000)],
            Self::Etcd => &[(Tcp, 2379), (Tcp, 2380)],
            Self::Vxlan => &[(Udp, 8472), (Udp, 4789)],
            Self::Calico => &[(Tcp, 179), (Tcp, 5473), (Udp, 4789)],
            Self::Cilium => &[(Tcp, 4240), (Udp, 8472), (Udp, 51871)],
            Self::Geneve => &[(Udp, 6081)],
            Self::Wireguard => &[(Udp, 51820), (Udp, 51821)],
        }
    }
}

/// Which ports: the same on both sides.
#[derive(Debug, Args)]
pub(crate) struct PortOptions {
    /// Use the ports of this role or network; repeatable
    #[arg(long = "for", value_enum, value_name = "PART", default_values = ["control-plane", "worker", "vxlan"])]
    parts: Vec<Part>,
    /// Use this port, too: tcp/PORT or udp/PORT; repeatable
    #[arg(long = "port", value_name = "PORT")]
    ports: Vec<Port>,
}

/// The most ports that are listened on or asked.
const PORT_LIMIT: usize = 64;

impl PortOptions {
    fn ports(&self) -> Result<Vec<Port>, crate::fault::Fault> {
        let parts = self.parts.iter().flat_map(|part| part.ports());
        let mut ports: Vec<_> = parts.map(|&(transport, number)| Port { transport, number }).collect();
        ports.extend(&self.ports);
        ports.sort();
        ports.dedup();
        if ports.len() > PORT_LIMIT {
            let fault = crate::fault::Fault::usage(format!("{} ports are named, of {PORT_LIMIT} at most", ports.len()));
            return Err(fault);
        }
        Ok(ports)
    }
}

#[derive(Debug, Args)]
pub(crate) struct ListenOptions {
    #[command(flatten)]
    ports: PortOptions,
    /// Listen only on this address; repeatable
    #[arg(long = "address", value_name = "IP")]
    addresses: Vec<std::net::IpAddr>,
    /// End after so many minutes
    #[arg(long, value_name = "MINUTES", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=120))]
    minutes: u16,
    /// Output format
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Debug, Args)]
pub(crate) struct ReachOptions {
    /// Names or addresses of nodes that run `seaworthy listen`
    #[arg(required = true, value_name = "PEER")]
    peers: Vec<String>,
    #[command(flatten)]
    ports: PortOptions,
    /// Accept clocks that differ by so many milliseconds
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 1000)]
    clock: u32,
    /// Output format
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_read_and_printed() {
        for text in ["tcp/6443", "udp/8472"] {
            assert_eq!(text.parse::<Port>().unwrap().to_string(), text);
        }
        assert_eq!("6443".parse::<Port>().unwrap().to_string(), "tcp/6443");
        for text in ["", "tcp/0", "tcp/65536", "sctp/5", "udp/", "tcp/x"] {
            assert!(text.parse::<Port>().is_err(), "{text}");
        }
    }

    #[test]
    fn parts_share_ports_and_there_are_not_too_many() {
        let options = |ports: Vec<Port>| PortOptions { parts: vec![Part::ControlPlane, Part::Worker], ports };
        assert_eq!(options(Vec::new()).ports().unwrap().len(), 8);
        let many = (1..100).map(|number| Port { transport: Transport::Tcp, number }).collect();
        assert!(options(many).ports().is_err());
    }
}

//! Ports that Kubernetes needs: free before a node joins, held by the right process after it.

use std::collections::BTreeMap;

use crate::check::{Check, Judgment, Remedy, Severity};
use crate::conclusion::{Breach, Conclusion};
use crate::construct::{dir, file, said};
use crate::fact::Fact;
use crate::host::{Host, Query};
use crate::node::View;
use crate::profile::Role;

const PORTS: &str = "https://kubernetes.io/docs/reference/networking/ports-and-protocols/";

/// The most file descriptors that are looked at to find who holds a port.
const DESCRIPTOR_LIMIT: usize = 20_000;

/// A TCP port that is listened on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// The port.
    pub port: u16,
    /// The socket's inode.
    pub inode: u64,
    /// The name of the process that holds it, if that can be seen.
    pub holder: Option<String>,
}

/// /proc/net/tcp: slot, local address, remote address, state (0A listens), …, inode as the tenth field.
pub(super) fn parse(text: &str) -> Vec<Listener> {
    let line = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let port = u16::from_str_radix(fields.get(1)?.rsplit_once(':')?.1, 16).ok()?;
        let inode = fields.get(9)?.parse().ok()?;
        (*fields.get(3)? == "0A").then_some(Listener { port, inode, holder: None })
    };
    text.lines().skip(1).filter_map(line).collect()
}

pub(super) fn listeners(host: &dyn Host, v4: Fact<String>, v6: Fact<String>) -> Fact<Vec<Listener>> {
    v4.map(|text| {
        let mut all = parse(&text);
        // A node without IPv6 has no tcp6.
        all.extend(v6.known().map(|text| parse(text)).unwrap_or_default());
        if all.iter().any(|listener| ROWS.iter().any(|row| row.port == listener.port)) {
            let holders = holders(host, &all);
            for listener in &mut all {
                listener.holder = holders.get(&listener.inode).cloned();
            }
        }
        all
    })
}

/// The names of the processes that hold the sockets of [`ROWS`]' ports.
fn holders(host: &dyn Host, listeners: &[Listener]) -> BTreeMap<u64, String> {
    let (mut holders, mut looked) = (BTreeMap::new(), 0);
    let Fact::Known(entries) = host.list("/proc") else { return holders };
    let pids = entries.into_iter().filter(|entry| entry.name.bytes().all(|byte| byte.is_ascii_digit()));
    for pid in pids {
        let folder = format!("/proc/{}/fd", pid.name);
        let Fact::Known(descriptors) = host.list(&folder) else { continue };
        for descriptor in descriptors {
            looked += 1;
            if looked > DESCRIPTOR_LIMIT {
                return holders;
            }
            let Fact::Known(target) = host.link(&format!("{folder}/{}", descriptor.name)) else { continue };
            let inode = target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']')?.parse().ok());
            if let Some(inode) = inode.filter(|inode| listeners.iter().any(|listener| listener.inode == *inode))
                && let Fact::Known(name) = host.text(&format!("/proc/{}/comm", pid.name))
            {
                holders.insert(inode, name.trim().to_owned());
            }
        }
    }
    holders
}

struct Row {
    port: u16,
    /// Processes that may hold it, by the names that the kernel keeps (15 bytes).
    holders: &'static [&'static str],
    purpose: &'static str,
    severity: Severity,
    roles: &'static [Role],
}

const CONTROL: &[Role] = &[Role::ControlPlane];
const ETCD: &[Role] = &[Role::ControlPlane, Role::Etcd];
const ALL: &[Role] = &[Role::ControlPlane, Role::Worker];

const ROWS: &[Row] = &[
    Row {
        port: 6443,
        holders: &["kube-apiserver", "k3s-server", "haproxy", "nginx"],
        purpose: "the Kubernetes API server",
        severity: Severity::High,
        roles: CONTROL,
    },
    Row {
        port: 2379,
        holders: &["etcd", "k3s-server"],
        purpose: "etcd's clients",
        severity: Severity::High,
        roles: ETCD,
    },
    Row {
        port: 2380,
        holders: &["etcd", "k3s-server"],
        purpose: "etcd's peers",
        severity: Severity::High,
        roles: ETCD,
    },
    Row {
        port: 10250,
        holders: &["kubelet", "k3s-server", "k3s-agent", "k3s", "rke2"],
        purpose: "the kubelet API",
        severity: Severity::High,
        roles: ALL,
    },
    Row {
        port: 10257,
        holders: &["kube-controller", "k3s-server"],
        purpose: "kube-controller-manager",
        severity: Severity::High,
        roles: CONTROL,
    },
    Row {
        port: 10259,
        holders: &["kube-scheduler", "k3s-server"],
        purpose: "kube-scheduler",
        severity: Severity::High,
        roles: CONTROL,
    },
    Row {
        port: 10256,
        holders: &["kube-proxy", "k3s-server", "k3s-agent", "k3s", "cilium-agent"],
        purpose: "kube-proxy's health, which load balancers ask",
        severity: Severity::Medium,
        roles: ALL,
    },
    Row {
        port: 10248,
        holders: &["kubelet", "k3s-server", "k3s-agent", "k3s"],
        purpose: "the kubelet's health",
        severity: Severity::Medium,
        roles: ALL,
    },
];

fn judge(row: &Row, view: &View<'_>) -> Judgment {
    let listeners = view.facts.network.listeners.need("ports in use")?;
    let Some(listener) = listeners.iter().find(|listener| listener.port == row.port) else {
        return Ok(Conclusion::holds().because(row.port.to_string(), "free"));
    };
    Ok(match &listener.holder {
        Some(name) if row.holders.contains(&name.as_str()) => {
            Conclusion::holds().because(row.port.to_string(), format!("held by {name}"))
        }
        Some(name) => {
            let breach =
                Breach::new(format!("tcp {}", row.port), format!("{name} listens on it, and {} needs it", row.purpose));
            Conclusion::breach(
                breach.found(name).wanted(format!("free, or {}", row.holders[0])).at("/proc/1/net/tcp", None),
            )
        }
        None => Conclusion::undetermined(format!(
            "tcp {} is in use, and who holds it cannot be seen: run as root, in the node's PID namespace",
            row.port
        )),
    })
}

/// The family's checks.
pub(super) fn checks() -> Vec<Check> {
    let check = |row: &'static Row| {
        let inode = 90_000 + u64::from(row.port);
        let table = format!(
            "head\n 0: 00000000:{:04X} 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 {inode} 1 0\n",
            row.port
        );
        Check::new(
            format!("node.port.{}", row.port),
            format!("TCP port {} is free, or held by its owner", row.port),
            move |view| judge(row, view),
        )
        .severity(row.severity)
        .roles(row.roles.iter().copied())
        .label("network")
        .label("port")
        .alias(format!("Port-{}", row.port))
        .page(format!("It is for {}.", row.purpose), "Reads the listening sockets, and whose descriptors they are.")
        .basis(format!("Ports and protocols; kubeadm preflight: Port-{}", row.port), PORTS)
        .remedy(
            Remedy::new("Stop what listens there, or move it to another port.")
                .command(format!("ss -ltnp 'sport = :{}'", row.port)),
        )
        .bad([
            file("/proc/1/net/tcp", table),
            dir("/proc/20/fd", &["3@"]),
            said(Query::Link { path: "/proc/20/fd/3".to_owned() }, &format!("socket:[{inode}]")),
            file("/proc/20/comm", "other-server\n"),
        ])
    };
    ROWS.iter().map(check).collect()
}

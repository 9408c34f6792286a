//! Claims that compare a node with the others that were given: what must be unique is.
//!
//! `seaworthy run --host a.tar.zst --host b.tar.zst`; a node alone is not judged by them.

use crate::Inconclusive;
use crate::check::{Check, Remedy, Severity};
use crate::conclusion::{Breach, Conclusion};
use crate::construct::{dir, file, said};
use crate::fact::Fact;
use crate::host::{Program, Query};
use crate::node::{Facts, View};

const KUBEADM: &str =
    "https://kubernetes.io/docs/setup/production-environment/tools/kubeadm/install-kubeadm/#verify-mac-address";
const SKEW: &str = "https://kubernetes.io/releases/version-skew-policy/";
const UUID: &str = "/sys/class/dmi/id/product_uuid";

/// No other node has one of this node's values.
fn unique(view: &View<'_>, what: &str, values: fn(&Facts) -> Fact<Vec<String>>) -> Result<Conclusion, Inconclusive> {
    if view.peers.is_empty() {
        return Ok(Conclusion::not_applicable("one node was given; --host may be given several times"));
    }
    let own = values(view.facts);
    let own = own.need(what)?;
    let mut breaches = Vec::new();
    let mut unknown = None;
    for peer in view.peers {
        match values(peer.facts).need(what) {
            Ok(theirs) => {
                let shared = own.iter().filter(|value| theirs.contains(value));
                breaches.extend(shared.map(|value| {
                    Breach::new(peer.name, format!("{} has the same {what}", peer.name))
                        .found(value)
                        .wanted("one of its own")
                }));
            }
            Err(why) => unknown = Some(Inconclusive::new(format!("of {}: {why}", peer.name))),
        }
    }
    match unknown {
        Some(why) if breaches.is_empty() => Err(why),
        _ => Ok(Conclusion::from_breaches(breaches).because(what, own.join(", "))),
    }
}

fn one(fact: &Fact<String>) -> Fact<Vec<String>> {
    fact.clone().map(|value| vec![value.to_lowercase()])
}

/// The family's checks.
pub(super) fn checks() -> Vec<Check> {
    vec![
        Check::new("node.fleet.hostname", "no other node has this node's host name", |view| {
            unique(view, "host name", |facts| one(&facts.network.hostname))
        })
        .label("fleet")
        .alias("unique hostname")
        .page("Nodes are known by their names: the second node of a name takes the first one's place.", "Compares the host names of all nodes that were given.")
        .basis("Installing kubeadm: before you begin", KUBEADM)
        .remedy(Remedy::new("Give it a name of its own, before it joins.").command("hostnamectl set-hostname node-2"))
        .beside([file("/proc/sys/kernel/hostname", "other\n")])
        .bad([file("/proc/sys/kernel/hostname", "Other\n")]),
        Check::new("node.fleet.mac", "no other node has one of this node's MAC addresses", |view| {
            unique(view, "MAC address", |facts| facts.network.macs.clone().map(|macs| macs.into_values().collect()))
        })
        .label("fleet")
        .alias("MAC address")
        .page("Clones of a virtual machine keep its MAC address: frames go to the wrong one, now and then.", "Compares the MAC addresses of all nodes that were given, those of pods' links left out.")
        .basis("Installing kubeadm: verify the MAC address and product_uuid are unique", KUBEADM)
        .remedy(Remedy::new("Have the hypervisor give each machine an address of its own."))
        .beside([dir("/sys/class/net", &["lo/", "eth7/"]), file("/sys/class/net/eth7/address", "52:54:00:aa:bb:cc\n")])
        .bad([dir("/sys/class/net", &["lo/", "eth0/"]), file("/sys/class/net/eth0/address", "52:54:00:AA:BB:CC\n")]),
        Check::new("node.fleet.product-uuid", "no other node has this node's product_uuid", |view| {
            unique(view, "product_uuid", |facts| one(&facts.machine.product_uuid))
        })
        .label("fleet")
        .alias("product_uuid")
        .page("Some installers and network plug-ins identify nodes by it.", "Compares /sys/class/dmi/id/product_uuid of all nodes that were given.")
        .basis("Installing kubeadm: verify the MAC address and product_uuid are unique", KUBEADM)
        .remedy(Remedy::new("Have the hypervisor give each machine a UUID of its own."))
        .beside([file(UUID, "aaaaaaaa-0000-4000-8000-000000000001\n")])
        .bad([file(UUID, "AAAAAAAA-0000-4000-8000-000000000001\n")]),
        Check::new("node.fleet.machine-id", "no other node has this node's machine-id", |view| {
            unique(view, "machine-id", |facts| one(&facts.machine.machine_id))
        })
        .label("fleet")
        .alias("unique machine-id")
        .page("DHCP clients of systemd ask by it: clones get one address. Container metrics are told apart by it, too.", "Compares /etc/machine-id of all nodes that were given.")
        .basis("machine-id(5)", "https://www.freedesktop.org/software/systemd/man/latest/machine-id.html")
        .remedy(Remedy::new("Make a new one, and empty the file in the image that machines are cloned from.").command("rm -f /etc/machine-id && systemd-machine-id-setup"))
        .beside([file("/etc/machine-id", "00000000000000000000000000000001\n")])
        .bad([file("/etc/machine-id", "00000000000000000000000000000001\n")]),
        Check::new("node.fleet.kubelet-skew", "kubelets of the fleet are at most three minors apart", |view| {
            if view.peers.is_empty() {
                return Ok(Conclusion::not_applicable("one node was given; --host may be given several times"));
            }
            let minor = |facts: &Facts| {
                let version = facts.kubelet.version.need("kubelet --version")?;
                let minor = version.split('.').nth(1).and_then(|minor| minor.parse::<u32>().ok());
                minor.ok_or_else(|| Inconclusive::new(format!("'{version}' is no version")))
            };
            let own = minor(view.facts)?;
            // The older nodes are the ones to upgrade: a newer one is no fault of its own.
            let mut newest: Option<(u32, &str)> = None;
            for peer in view.peers {
                let theirs = minor(peer.facts)?;
                if newest.is_none_or(|(known, _)| theirs > known) {
                    newest = Some((theirs, peer.name));
                }
            }
            Ok(match newest.filter(|(newest, _)| *newest > own + 3) {
                None => Conclusion::holds().because("kubelet", format!("1.{own}")),
                Some((newest, name)) => {
                    let message = format!("no API server is close enough to kubelet 1.{own} here and 1.{newest} on {name}");
                    let breach = Breach::new("kubelet", message).found(format!("1.{own}"));
                    Conclusion::breach(breach.wanted(format!("1.{} or later", newest - 3)))
                }
            })
        })
        .severity(Severity::Medium)
        .label("fleet")
        .alias("kubelet version skew of nodes")
        .page("A kubelet may be three minors older than the API server, and never newer: nodes further apart have no API server in common.", "Compares kubelet --version of all nodes that were given.")
        .basis("Version skew policy: kubelet", SKEW)
        .remedy(Remedy::new("Upgrade the older nodes."))
        .beside([])
        .bad([said(Query::Run { program: Program::KubeletVersion }, "Kubernetes v1.30.1\n")]),
    ]
}

//! What a kubelet says of its node: the object that it registers, and its heartbeat.

use std::collections::BTreeMap;
use std::net::IpAddr;

use bytes::Bytes;
use http::Method;
use serde_json::json;

use crate::client::Call;
use crate::spec::{LABEL, NodeGroup, Os};
use crate::wire::{self, Time, seal};

/// The port of kubelets. Nothing listens there: a simulated node has no address that anything reaches.
const PORT: i32 = 10250;
/// The conditions of a healthy node: type, status, reason, message.
const CONDITIONS: [(&str, &str, &str, &str); 4] = [
    ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
];

/// What the fleet gives a node: a name, an address, a number in its group.
#[derive(Debug)]
pub(crate) struct Identity<'a> {
    pub(crate) fleet: &'a str,
    pub(crate) name: &'a str,
    pub(crate) index: u32,
    pub(crate) address: IpAddr,
    pub(crate) kubelet: &'a str,
}

/// The object that registers a node.
pub(crate) fn object(group: &NodeGroup, identity: &Identity<'_>) -> wire::Node {
    let now = Time::now().whole();
    let condition = |(kind, status, reason, message): (&str, &str, &str, &str)| wire::NodeCondition {
        r#type: kind.to_owned(),
        status: status.to_owned(),
        last_heartbeat_time: Some(now),
        last_transition_time: Some(now),
        reason: reason.to_owned(),
        message: message.to_owned(),
    };
    let address = |kind: &str, address: String| wire::NodeAddress { r#type: kind.to_owned(), address };
    let metadata = wire::ObjectMeta {
        name: identity.name.to_owned(),
        labels: labels(group, identity),
        annotations: BTreeMap::from([(
            "volumes.kubernetes.io/controller-managed-attach-detach".to_owned(),
            "true".to_owned(),
        )]),
        ..wire::ObjectMeta::default()
    };
    let taint = |taint: &crate::spec::NodeTaint| wire::Taint {
        key: taint.key.clone(),
        value: taint.value.clone(),
        effect: taint.effect.clone(),
    };
    let spec = wire::NodeSpec { taints: group.taints.iter().map(taint).collect(), ..wire::NodeSpec::default() };
    let capacity = capacity(group);
    let status = wire::NodeStatus {
        capacity: capacity.clone(),
        allocatable: capacity,
        conditions: CONDITIONS.map(condition).to_vec(),
        addresses: vec![
            address("InternalIP", identity.address.to_string()),
            address("Hostname", identity.name.to_owned()),
        ],
        daemon_endpoints: Some(wire::NodeDaemonEndpoints {
            kubelet_endpoint: Some(wire::DaemonEndpoint { port: PORT }),
        }),
        node_info: Some(info(group, identity)),
    };
    wire::Node { metadata: Some(metadata), spec: Some(spec), status: Some(status) }
}

fn labels(group: &NodeGroup, identity: &Identity<'_>) -> BTreeMap<String, String> {
    let mut labels: BTreeMap<String, String> = [
        ("kubernetes.io/hostname", identity.name),
        ("kubernetes.io/os", group.os.name()),
        ("kubernetes.io/arch", &group.arch),
        (LABEL, identity.fleet),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into();
    if let Os::Windows(build) = &group.os {
        labels.insert("node.kubernetes.io/windows-build".to_owned(), build.clone());
    }
    if let Some(zone) = zone(group, identity.index) {
        labels.insert("topology.kubernetes.io/zone".to_owned(), zone.to_owned());
    }
    if let Some(region) = &group.region {
        labels.insert("topology.kubernetes.io/region".to_owned(), region.clone());
    }
    labels.extend(group.labels.clone());
    labels
}

/// The zone of a node of a group.
pub(crate) fn zone(group: &NodeGroup, index: u32) -> Option<&str> {
    let count = u32::try_from(group.zones.len()).ok().filter(|count| *count > 0)?;
    group.zones.get((index % count) as usize).map(String::as_str)
}

fn capacity(group: &NodeGroup) -> BTreeMap<String, wire::Quantity> {
    let capacity = &group.capacity;
    let fixed = [
        ("cpu", capacity.cpu.clone()),
        ("memory", capacity.memory.clone()),
        ("ephemeral-storage", capacity.ephemeral_storage.clone()),
        ("pods", capacity.pods.to_string()),
    ];
    let fixed = fixed.map(|(name, quantity)| (name.to_owned(), quantity));
    let all = fixed.into_iter().chain(capacity.extended.clone());
    all.map(|(name, string)| (name, wire::Quantity { string })).collect()
}

fn info(group: &NodeGroup, identity: &Identity<'_>) -> wire::NodeSystemInfo {
    // Stable, and of this node alone.
    let hash = identity.name.bytes().fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128, |hash, byte| {
        (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
    });
    let (image, kernel) = match &group.os {
        Os::Linux => ("Simulated Linux", "6.12.0".to_owned()),
        Os::Windows(build) => (windows(build), format!("{build}.1")),
    };
    wire::NodeSystemInfo {
        machine_id: format!("{hash:032x}"),
        system_uuid: wire::uid_text(hash),
        boot_id: wire::uid_text(!hash),
        kernel_version: kernel,
        os_image: image.to_owned(),
        container_runtime_version: "containerd://2.0.0".to_owned(),
        kubelet_version: identity.kubelet.to_owned(),
        kube_proxy_version: String::new(),
        operating_system: group.os.name().to_owned(),
        architecture: group.arch.clone(),
    }
}

/// How a build of Windows Server calls itself.
fn windows(build: &str) -> &'static str {
    match build {
        "10.0.17763" => "Windows Server 2019 Datacenter",
        "10.0.20348" => "Windows Server 2022 Datacenter",
        "10.0.26100" => "Windows Server 2025 Datacenter",
        _ => "Windows Server Datacenter",
    }
}

/// Registers a node.
pub(crate) fn register(node: &wire::Node, dry_run: bool) -> Call {
    let path = if dry_run { "/api/v1/nodes?dryRun=All" } else { "/api/v1/nodes" };
    Call::sealed(Method::POST, path, seal("v1", "Node", node))
}

/// Says that a node is as it was: healthy.
pub(crate) fn heartbeat(name: &str) -> Call {
    let now = jiff::Timestamp::from_second(jiff::Timestamp::now().as_second()).unwrap_or_default().to_string();
    let condition = |(kind, status, reason, message): (&str, &str, &str, &str)| {
        json!({
            "type": kind, "status": status, "reason": reason, "message": message, "lastHeartbeatTime": now,
        })
    };
    let conditions: Vec<_> = CONDITIONS.into_iter().map(condition).collect();
    let patch = json!({ "status": { "conditions": conditions } });
    Call::patch(format!("/api/v1/nodes/{name}/status"), Bytes::from(patch.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_windows_node_is_labeled_as_its_kubelet_labels_it() {
        let group = NodeGroup::windows(3, "10.0.20348").zones(["a", "b"]).taint("os", "windows", "NoSchedule");
        let address = "198.18.0.1".parse().unwrap();
        let name = group.name(1);
        let identity = Identity { fleet: "f", name: &name, index: 1, address, kubelet: "v1.37.2" };
        let node = object(&group, &identity);
        let labels = node.metadata.unwrap().labels;
        for (key, value) in [
            ("kubernetes.io/os", "windows"),
            ("node.kubernetes.io/windows-build", "10.0.20348"),
            ("topology.kubernetes.io/zone", "b"),
            ("kubernetes.io/hostname", "sim-win-00002"),
            (LABEL, "f"),
        ] {
            assert_eq!(labels.get(key).map(String::as_str), Some(value), "{key}");
        }
        assert_eq!(node.spec.unwrap().taints[0].effect, "NoSchedule");
        let info = node.status.unwrap().node_info.unwrap();
        assert_eq!((info.operating_system.as_str(), info.os_image.as_str()), ("windows", windows("10.0.20348")));
        assert!(info.kernel_version.starts_with("10.0.20348"));
    }
}

//! The few fields of Kubernetes' objects that simulated nodes read and write, in the API's protobuf form.
//!
//! Field numbers are those of `generated.proto` in k8s.io/api and k8s.io/apimachinery; what is not listed here is
//! skipped while decoding, so a pod of 10 KB costs what its names cost. Every message travels in an envelope: `k8s\0`
//! and a `runtime.Unknown`.

use std::collections::BTreeMap;

use prost::Message;

/// The media type of protobuf.
pub(crate) const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
/// The media type of a watch in protobuf.
pub(crate) const PROTOBUF_WATCH: &str = "application/vnd.kubernetes.protobuf;stream=watch";
/// What a message in protobuf begins with.
const MAGIC: &[u8; 4] = b"k8s\0";

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TypeMeta {
    #[prost(string, tag = "1")]
    pub(crate) api_version: String,
    #[prost(string, tag = "2")]
    pub(crate) kind: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Unknown {
    #[prost(message, optional, tag = "1")]
    pub(crate) type_meta: Option<TypeMeta>,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) raw: bytes::Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct RawExtension {
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) raw: bytes::Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct WatchEvent {
    #[prost(string, tag = "1")]
    pub(crate) r#type: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) object: Option<RawExtension>,
}

/// A point in time; `MicroTime` has the same form.
#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Time {
    #[prost(int64, tag = "1")]
    pub(crate) seconds: i64,
    #[prost(int32, tag = "2")]
    pub(crate) nanos: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct OwnerReference {
    #[prost(string, tag = "5")]
    pub(crate) api_version: String,
    #[prost(string, tag = "1")]
    pub(crate) kind: String,
    #[prost(string, tag = "3")]
    pub(crate) name: String,
    #[prost(string, tag = "4")]
    pub(crate) uid: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ObjectMeta {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, tag = "3")]
    pub(crate) namespace: String,
    #[prost(string, tag = "5")]
    pub(crate) uid: String,
    #[prost(string, tag = "6")]
    pub(crate) resource_version: String,
    #[prost(message, optional, tag = "9")]
    pub(crate) deletion_timestamp: Option<Time>,
    #[prost(int64, optional, tag = "10")]
    pub(crate) deletion_grace_period_seconds: Option<i64>,
    #[prost(btree_map = "string, string", tag = "11")]
    pub(crate) labels: BTreeMap<String, String>,
    #[prost(btree_map = "string, string", tag = "12")]
    pub(crate) annotations: BTreeMap<String, String>,
    #[prost(message, repeated, tag = "13")]
    pub(crate) owner_references: Vec<OwnerReference>,
}

/// What comes back from a write: only whose and which version it is.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Written {
    #[prost(message, optional, tag = "1")]
    pub(crate) metadata: Option<ObjectMeta>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ListMeta {
    #[prost(string, tag = "2")]
    pub(crate) resource_version: String,
    #[prost(string, tag = "3")]
    pub(crate) r#continue: String,
    #[prost(int64, optional, tag = "4")]
    pub(crate) remaining_item_count: Option<i64>,
}

/// Any list; the items stay undecoded until somebody wants them.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct List {
    #[prost(message, optional, tag = "1")]
    pub(crate) metadata: Option<ListMeta>,
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub(crate) items: Vec<bytes::Bytes>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Status {
    #[prost(string, tag = "3")]
    pub(crate) message: String,
    #[prost(string, tag = "4")]
    pub(crate) reason: String,
    #[prost(int32, tag = "6")]
    pub(crate) code: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Pod {
    #[prost(message, optional, tag = "1")]
    pub(crate) metadata: Option<ObjectMeta>,
    #[prost(message, optional, tag = "2")]
    pub(crate) spec: Option<PodSpec>,
    #[prost(message, optional, tag = "3")]
    pub(crate) status: Option<PodStatus>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PodSpec {
    #[prost(message, repeated, tag = "20")]
    pub(crate) init_containers: Vec<Container>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) containers: Vec<Container>,
    #[prost(string, tag = "3")]
    pub(crate) restart_policy: String,
    #[prost(string, tag = "10")]
    pub(crate) node_name: String,
    #[prost(bool, tag = "11")]
    pub(crate) host_network: bool,
    #[prost(message, repeated, tag = "28")]
    pub(crate) readiness_gates: Vec<ReadinessGate>,
    #[prost(message, optional, tag = "36")]
    pub(crate) os: Option<PodOs>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PodOs {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ReadinessGate {
    #[prost(string, tag = "1")]
    pub(crate) condition_type: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Container {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, tag = "2")]
    pub(crate) image: String,
    #[prost(message, optional, tag = "11")]
    pub(crate) readiness_probe: Option<Probe>,
    #[prost(string, tag = "24")]
    pub(crate) restart_policy: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Probe {
    #[prost(int32, tag = "2")]
    pub(crate) initial_delay_seconds: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PodStatus {
    #[prost(string, tag = "1")]
    pub(crate) phase: String,
    #[prost(message, repeated, tag = "2")]
    pub(crate) conditions: Vec<Condition>,
    #[prost(string, tag = "6")]
    pub(crate) pod_ip: String,
    #[prost(message, optional, tag = "7")]
    pub(crate) start_time: Option<Time>,
}

/// A condition of a pod or of a node: their first two fields are the same.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Condition {
    #[prost(string, tag = "1")]
    pub(crate) r#type: String,
    #[prost(string, tag = "2")]
    pub(crate) status: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Node {
    #[prost(message, optional, tag = "1")]
    pub(crate) metadata: Option<ObjectMeta>,
    #[prost(message, optional, tag = "2")]
    pub(crate) spec: Option<NodeSpec>,
    #[prost(message, optional, tag = "3")]
    pub(crate) status: Option<NodeStatus>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct NodeSpec {
    #[prost(string, tag = "1")]
    pub(crate) pod_cidr: String,
    #[prost(string, repeated, tag = "7")]
    pub(crate) pod_cidrs: Vec<String>,
    #[prost(message, repeated, tag = "5")]
    pub(crate) taints: Vec<Taint>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Taint {
    #[prost(string, tag = "1")]
    pub(crate) key: String,
    #[prost(string, tag = "2")]
    pub(crate) value: String,
    #[prost(string, tag = "3")]
    pub(crate) effect: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct NodeStatus {
    #[prost(btree_map = "string, message", tag = "1")]
    pub(crate) capacity: BTreeMap<String, Quantity>,
    #[prost(btree_map = "string, message", tag = "2")]
    pub(crate) allocatable: BTreeMap<String, Quantity>,
    #[prost(message, repeated, tag = "4")]
    pub(crate) conditions: Vec<NodeCondition>,
    #[prost(message, repeated, tag = "5")]
    pub(crate) addresses: Vec<NodeAddress>,
    #[prost(message, optional, tag = "6")]
    pub(crate) daemon_endpoints: Option<NodeDaemonEndpoints>,
    #[prost(message, optional, tag = "7")]
    pub(crate) node_info: Option<NodeSystemInfo>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Quantity {
    #[prost(string, tag = "1")]
    pub(crate) string: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct NodeCondition {
    #[prost(string, tag = "1")]
    pub(crate) r#type: String,
    #[prost(string, tag = "2")]
    pub(crate) status: String,
    #[prost(message, optional, tag = "3")]
    pub(crate) last_heartbeat_time: Option<Time>,
    #[prost(message, optional, tag = "4")]
    pub(crate) last_transition_time: Option<Time>,
    #[prost(string, tag = "5")]
    pub(crate) reason: String,
    #[prost(string, tag = "6")]
    pub(crate) message: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct NodeAddress {
    #[prost(string, tag = "1")]
    pub(crate) r#type: String,
    #[prost(string, tag = "2")]
    pub(crate) address: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct NodeDaemonEndpoints {
    #[prost(message, optional, tag = "1")]
    pub(crate) kubelet_endpoint: Option<DaemonEndpoint>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct DaemonEndpoint {
    #[prost(int32, tag = "1")]
    pub(crate) port: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct NodeSystemInfo {
    #[prost(string, tag = "1")]
    pub(crate) machine_id: String,
    #[prost(string, tag = "2")]
    pub(crate) system_uuid: String,
    #[prost(string, tag = "3")]
    pub(crate) boot_id: String,
    #[prost(string, tag = "4")]
    pub(crate) kernel_version: String,
    #[prost(string, tag = "5")]
    pub(crate) os_image: String,
    #[prost(string, tag = "6")]
    pub(crate) container_runtime_version: String,
    #[prost(string, tag = "7")]
    pub(crate) kubelet_version: String,
    #[prost(string, tag = "8")]
    pub(crate) kube_proxy_version: String,
    #[prost(string, tag = "9")]
    pub(crate) operating_system: String,
    #[prost(string, tag = "10")]
    pub(crate) architecture: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Lease {
    #[prost(message, optional, tag = "1")]
    pub(crate) metadata: Option<ObjectMeta>,
    #[prost(message, optional, tag = "2")]
    pub(crate) spec: Option<LeaseSpec>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct LeaseSpec {
    #[prost(string, tag = "1")]
    pub(crate) holder_identity: String,
    #[prost(int32, tag = "2")]
    pub(crate) lease_duration_seconds: i32,
    #[prost(message, optional, tag = "4")]
    pub(crate) renew_time: Option<Time>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct DeleteOptions {
    #[prost(int64, optional, tag = "1")]
    pub(crate) grace_period_seconds: Option<i64>,
    #[prost(message, optional, tag = "2")]
    pub(crate) preconditions: Option<Preconditions>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Preconditions {
    #[prost(string, tag = "1")]
    pub(crate) uid: String,
}

impl Time {
    pub(crate) fn now() -> Self {
        let now = jiff::Timestamp::now();
        Self { seconds: now.as_second(), nanos: now.subsec_nanosecond() }
    }

    /// As `metav1.Time` has it: whole seconds.
    pub(crate) fn whole(self) -> Self {
        Self { nanos: 0, ..self }
    }
}

/// A message in its envelope, as it goes to the API server.
pub(crate) fn seal(api_version: &str, kind: &str, message: &impl Message) -> bytes::Bytes {
    let type_meta = TypeMeta { api_version: api_version.to_owned(), kind: kind.to_owned() };
    let unknown = Unknown { type_meta: Some(type_meta), raw: message.encode_to_vec().into() };
    let mut bytes = Vec::with_capacity(MAGIC.len() + unknown.encoded_len());
    bytes.extend_from_slice(MAGIC);
    // Encoding into a Vec does not fail.
    unknown.encode(&mut bytes).ok();
    bytes.into()
}

/// What is in an envelope: the kind and the message's bytes. `None` if it is no protobuf of Kubernetes.
pub(crate) fn unseal(bytes: bytes::Bytes) -> Option<(String, bytes::Bytes)> {
    bytes.starts_with(MAGIC).then_some(())?;
    let unknown = Unknown::decode(bytes.slice(MAGIC.len()..)).ok()?;
    Some((unknown.type_meta?.kind, unknown.raw))
}

/// A message in an envelope.
pub(crate) fn open<M: Message + Default>(bytes: bytes::Bytes) -> Option<M> {
    M::decode(unseal(bytes)?.1).ok()
}

/// A uid as the API writes it. Mirror pods have others, but no simulated node has mirror pods.
pub(crate) fn uid(text: &str) -> Option<u128> {
    let mut digits = 0;
    let mut value = 0_u128;
    for byte in text.bytes().filter(|byte| *byte != b'-') {
        value = value << 4 | u128::from(char::from(byte).to_digit(16)?);
        digits += 1;
    }
    (digits == 32).then_some(value)
}

/// The same, written as the API writes it.
pub(crate) fn uid_text(uid: u128) -> String {
    let hex = format!("{uid:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn envelopes_are_opened_as_they_were_sealed() {
        let lease = Lease {
            metadata: Some(ObjectMeta { name: "sim-1".to_owned(), ..ObjectMeta::default() }),
            spec: Some(LeaseSpec { holder_identity: "sim-1".to_owned(), ..LeaseSpec::default() }),
        };
        let sealed = seal("coordination.k8s.io/v1", "Lease", &lease);
        assert_eq!(&sealed[..4], MAGIC);
        let (kind, _) = unseal(sealed.clone()).unwrap();
        assert_eq!((kind.as_str(), open::<Lease>(sealed).unwrap()), ("Lease", lease));
        assert!(unseal(bytes::Bytes::from_static(b"{}")).is_none());
    }

    #[test]
    fn uids_are_read_and_written() {
        let text = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";
        assert_eq!(uid_text(uid(text).unwrap()), text);
        for bad in ["", "0f1e2d3c", "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1fg"] {
            assert_eq!(uid(bad), None, "{bad}");
        }
    }
}

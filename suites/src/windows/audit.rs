//! What of objects Windows does not support: a pure judgment of pods, workloads and Services.
//!
//! Sources: "Windows containers in Kubernetes" (compatibility and limitations), "Networking on Windows", "Windows
//! Storage", and the API server's validation of Windows pods.

use serde_json::Value;

use super::fields::{OF_CONTAINERS, OF_PODS};

/// What becomes of a field that Windows does not support.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Becomes {
    /// The API server refuses the object.
    Refused,
    /// The pod runs as if the field were not there.
    Ignored,
    /// The pod, or what it is for, does not work.
    Fails,
}

impl std::fmt::Display for Becomes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Refused => "the API server refuses it",
            Self::Ignored => "it is ignored",
            Self::Fails => "it does not work",
        })
    }
}

/// A field that Windows does not support, where it is, and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hit {
    /// Its path below the spec: `containers[0].securityContext.privileged`.
    pub(super) path: String,
    /// Why it is not supported.
    pub(super) why: &'static str,
    pub(super) becomes: Becomes,
}

impl Hit {
    fn new(path: impl Into<String>, why: &'static str, becomes: Becomes) -> Self {
        Self { path: path.into(), why, becomes }
    }
}

/// The spec of the pods that an object makes or is.
pub(super) fn pod_spec(object: &Value) -> Option<&Value> {
    let pointer = match object["kind"].as_str()? {
        "Pod" => "/spec",
        "CronJob" => "/spec/jobTemplate/spec/template/spec",
        "PodTemplate" => "/template/spec",
        "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet" | "Job" | "ReplicationController" => {
            "/spec/template/spec"
        }
        _ => return None,
    };
    object.pointer(pointer)
}

/// Are pods of this spec for Windows, by what they say or by the node that they are on?
pub(super) fn is_windows(spec: &Value, node_is_windows: bool) -> bool {
    let os = spec["os"]["name"].as_str();
    let selects = spec["nodeSelector"].get("kubernetes.io/os").and_then(Value::as_str) == Some("windows")
        || spec["nodeSelector"].get("node.kubernetes.io/windows-build").is_some();
    os == Some("windows") || (os.is_none() && (selects || node_is_windows))
}

fn at<'a>(value: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(value, |value, name| value.get(name).unwrap_or(&Value::Null))
}

fn is_set(value: &Value) -> bool {
    // The API server leaves an empty list and false out of the objects that it refuses.
    !value.is_null() && *value != Value::Bool(false) && value.as_array().is_none_or(|list| !list.is_empty())
}

/// Is it a HostProcess pod? Such pods share the host's network, and may.
fn is_host_process(spec: &Value) -> bool {
    let of = |value: &Value| value["securityContext"]["windowsOptions"]["hostProcess"] == true;
    of(spec) || spec["containers"].as_array().into_iter().flatten().any(of)
}

/// What Windows does not support of a Windows pod's spec.
pub(super) fn of_pod(spec: &Value) -> Vec<Hit> {
    let becomes = if spec["os"]["name"] == "windows" { Becomes::Refused } else { Becomes::Ignored };
    let mut hits = Vec::new();
    for field in OF_PODS {
        let value = at(spec, field.path);
        // False is a value of its own for these two.
        let own = ["hostUsers", "shareProcessNamespace"].contains(&field.path)
            && value.is_boolean()
            && becomes == Becomes::Refused;
        if is_set(value) || own {
            hits.push(Hit::new(field.path, "it is a Linux field", becomes));
        }
    }
    if spec["hostNetwork"] == true && !is_host_process(spec) {
        hits.push(Hit::new(
            "hostNetwork",
            "only HostProcess pods share the network of a Windows node",
            Becomes::Ignored,
        ));
    }
    if spec["dnsPolicy"] == "ClusterFirstWithHostNet" {
        hits.push(Hit::new("dnsPolicy", "ClusterFirstWithHostNet is not supported", Becomes::Ignored));
    }
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        for (number, container) in spec[list].as_array().into_iter().flatten().enumerate() {
            of_container(&format!("{list}[{number}]"), container, becomes, &mut hits);
        }
    }
    for (number, volume) in spec["volumes"].as_array().into_iter().flatten().enumerate() {
        of_volume(&format!("volumes[{number}]"), volume, &mut hits);
    }
    hits
}

fn of_container(path: &str, container: &Value, becomes: Becomes, hits: &mut Vec<Hit>) {
    let context = &container["securityContext"];
    for field in OF_CONTAINERS {
        let value = at(context, field.path);
        // False is a value of its own here, where the API server looks.
        if is_set(value) || (value.is_boolean() && becomes == Becomes::Refused) {
            hits.push(Hit::new(format!("{path}.securityContext.{}", field.path), "it is a Linux field", becomes));
        }
    }
    for of in ["requests", "limits"] {
        for name in container["resources"][of].as_object().into_iter().flatten().map(|(name, _)| name) {
            if name.starts_with("hugepages-") {
                let path = format!("{path}.resources.{of}.{name}");
                hits.push(Hit::new(path, "Windows containers have no huge pages", Becomes::Fails));
            }
        }
    }
    if container["volumeDevices"].as_array().is_some_and(|list| !list.is_empty()) {
        hits.push(Hit::new(
            format!("{path}.volumeDevices"),
            "Windows attaches no raw block devices to pods",
            Becomes::Fails,
        ));
    }
    for (number, mount) in container["volumeMounts"].as_array().into_iter().flatten().enumerate() {
        let path = format!("{path}.volumeMounts[{number}]");
        if mount["mountPropagation"].as_str().is_some_and(|value| value != "None") {
            hits.push(Hit::new(format!("{path}.mountPropagation"), "Windows has no mount propagation", Becomes::Fails));
        }
        if is_set(&mount["subPath"]) || is_set(&mount["subPathExpr"]) {
            hits.push(Hit::new(format!("{path}.subPath"), "only whole volumes are mounted on Windows", Becomes::Fails));
        }
    }
}

/// Volumes whose file system or protocol a Windows node has no client for.
const VOLUMES: [(&str, &str); 7] = [
    ("nfs", "NFS volumes are not supported"),
    ("cephfs", "CephFS volumes are not supported"),
    ("rbd", "RBD volumes are not supported"),
    ("glusterfs", "GlusterFS volumes are not supported"),
    ("fc", "Fibre Channel volumes are not supported"),
    ("iscsi", "the in-tree iSCSI plug-in is for Linux"),
    ("quobyte", "Quobyte volumes are not supported"),
];

fn of_volume(path: &str, volume: &Value, hits: &mut Vec<Hit>) {
    if volume["emptyDir"]["medium"].as_str().is_some_and(|medium| !medium.is_empty()) {
        hits.push(Hit::new(format!("{path}.emptyDir.medium"), "Windows has no memory-backed volumes", Becomes::Fails));
    }
    for (kind, why) in VOLUMES {
        if is_set(&volume[kind]) {
            hits.push(Hit::new(format!("{path}.{kind}"), why, Becomes::Fails));
        }
    }
    if volume["hostPath"]["type"].as_str().is_some_and(|kind| ["Socket", "CharDevice", "BlockDevice"].contains(&kind)) {
        hits.push(Hit::new(
            format!("{path}.hostPath.type"),
            "Windows has named pipes and no device files",
            Becomes::Fails,
        ));
    }
    for kind in ["secret", "configMap", "projected", "downwardAPI"] {
        // 420 (0644) is what the API server fills in.
        if volume[kind]["defaultMode"].as_u64().is_some_and(|mode| mode != 420) {
            hits.push(Hit::new(format!("{path}.{kind}.defaultMode"), "Windows has no file modes", Becomes::Ignored));
        }
    }
}

/// What Windows does not support of a Service whose pods are on Windows nodes; `backends` is how many are ready.
pub(super) fn of_service(spec: &Value, backends: usize) -> Vec<Hit> {
    let mut hits = Vec::new();
    let timeout = &spec["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"];
    if spec["sessionAffinity"] == "ClientIP" && timeout.as_u64().is_some_and(|seconds| seconds != 10_800) {
        let path = "sessionAffinityConfig.clientIP.timeoutSeconds";
        hits.push(Hit::new(path, "kube-proxy on Windows has no timeout of session affinity", Becomes::Ignored));
    }
    if backends > 64 {
        hits.push(Hit::new("selector", "Windows balances the load of a Service over at most 64 pods", Becomes::Fails));
    }
    if spec["ipFamilies"].as_array().is_some_and(|list| list.len() == 1 && list[0] == "IPv6") {
        hits.push(Hit::new("ipFamilies", "Windows has no single-stack IPv6", Becomes::Fails));
    }
    hits
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::set;
    use super::*;

    fn paths(spec: &Value) -> Vec<String> {
        of_pod(spec).into_iter().map(|hit| hit.path).collect()
    }

    #[test]
    fn every_field_that_is_refused_is_found() {
        for field in OF_PODS {
            let mut spec = json!({ "os": { "name": "windows" } });
            set(&mut spec, field.path, serde_json::from_str(field.value).unwrap());
            let hits = of_pod(&spec);
            assert_eq!((hits.len(), hits[0].becomes), (1, Becomes::Refused), "{}", field.path);
        }
        for field in OF_CONTAINERS {
            for list in ["containers", "initContainers", "ephemeralContainers"] {
                let context = json!({ field.path: serde_json::from_str::<Value>(field.value).unwrap() });
                let spec = json!({ "os": { "name": "windows" }, list: [{ "securityContext": context }] });
                assert_eq!(paths(&spec), [format!("{list}[0].securityContext.{}", field.path)]);
            }
        }
    }

    #[test]
    fn without_an_os_fields_are_ignored() {
        let spec = json!({ "nodeSelector": { "kubernetes.io/os": "windows" }, "securityContext": { "runAsUser": 1 } });
        assert!(is_windows(&spec, false));
        assert_eq!(of_pod(&spec)[0].becomes, Becomes::Ignored);
        assert!(!is_windows(&json!({ "os": { "name": "linux" } }), true));
        assert!(is_windows(&json!({}), true));
    }

    #[test]
    fn volumes_and_devices_are_found() {
        let spec = json!({
            "containers": [{
                "resources": { "limits": { "hugepages-2Mi": "4Mi", "memory": "1Gi" } },
                "volumeDevices": [{ "name": "d" }],
                "volumeMounts": [
                    { "subPath": "a" }, { "mountPropagation": "HostToContainer" }, { "mountPropagation": "None" },
                ],
            }],
            "volumes": [
                { "emptyDir": { "medium": "Memory" } }, { "emptyDir": {} }, { "nfs": { "server": "s" } },
                { "hostPath": { "type": "Socket" } }, { "secret": { "defaultMode": 256 } },
                { "configMap": { "defaultMode": 420 } },
            ],
        });
        let wanted = [
            "containers[0].resources.limits.hugepages-2Mi",
            "containers[0].volumeDevices",
            "containers[0].volumeMounts[0].subPath",
            "containers[0].volumeMounts[1].mountPropagation",
            "volumes[0].emptyDir.medium",
            "volumes[2].nfs",
            "volumes[3].hostPath.type",
            "volumes[4].secret.defaultMode",
        ];
        assert_eq!(paths(&spec), wanted);
    }

    #[test]
    fn host_process_pods_share_the_network() {
        let options = json!({ "windowsOptions": { "hostProcess": true } });
        assert_eq!(paths(&json!({ "hostNetwork": true })), ["hostNetwork"]);
        assert!(paths(&json!({ "hostNetwork": true, "securityContext": options })).is_empty());
    }

    #[test]
    fn services_have_limits() {
        let affinity = |seconds: u32| {
            json!({
                "sessionAffinity": "ClientIP", "sessionAffinityConfig": { "clientIP": { "timeoutSeconds": seconds } },
            })
        };
        assert!(of_service(&affinity(10_800), 64).is_empty());
        assert_eq!(of_service(&affinity(60), 65).len(), 2);
    }

    #[test]
    fn templates_are_found() {
        let spec =
            json!({ "spec": { "jobTemplate": { "spec": { "template": { "spec": { "a": 1 } } } } }, "kind": "CronJob" });
        assert_eq!(pod_spec(&spec), Some(&json!({ "a": 1 })));
        assert_eq!(pod_spec(&json!({ "kind": "Service" })), None);
    }
}

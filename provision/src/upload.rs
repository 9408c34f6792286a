//! What a cluster remembers of its configuration, as kubeadm's phases `upload-config`, `upload-certs` and
//! `mark-control-plane` leave it: the ConfigMaps `kubeadm-config` and `kubelet-config` with the rules for them, and
//! what marks a control-plane node.
//!
//! A test has the real kubeadm run the same phases over ours on a real API server: it finds nothing to change.

use jiff::SignedDuration;
use serde_json::{Map, Value, json};

use crate::addon;
use crate::assets::span::{since, until};
use crate::assets::{Release, Span};
use crate::bootstrap::JOINING;
use crate::kubeadm::{ApiServer, ClusterConfiguration, Component, EnvVar, HostPathMount, Taint};
use crate::node::yaml;

/// Versions of Kubernetes that keep a cluster's configuration as v1beta3; later ones do as v1beta4.
const V1BETA3: Span = until(1, 31);
/// Versions of Kubernetes that keep the runtime's socket as an annotation of the node; later ones as a file on it.
const SOCKET_ANNOTATION: Span = until(1, 34);
/// Versions of Kubernetes that have their own version in the name of `kubelet-config`.
const VERSIONED_KUBELET_CONFIG: Span = until(1, 24);
/// The labels of a control-plane node, and the versions of Kubernetes that set them.
const LABELS: [(&str, Span); 3] = [
    ("node-role.kubernetes.io/master", until(1, 24)),
    (CONTROL_PLANE, since(1, 0, 0)),
    ("node.kubernetes.io/exclude-from-external-load-balancers", since(1, 0, 0)),
];
/// The taints of a control-plane node, all `NoSchedule`, and the versions of Kubernetes that set them.
const TAINTS: [(&str, Span); 2] = [("node-role.kubernetes.io/master", until(1, 25)), (CONTROL_PLANE, since(1, 24, 0))];
const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";
const RBAC: &str = "rbac.authorization.k8s.io";
const NODES: &str = "system:nodes";

/// A duration that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: '{text}' is no duration")]
pub struct BadDuration {
    field: &'static str,
    text: String,
}

/// The ConfigMap `kubeadm-config`, and what lets nodes read it.
///
/// # Errors
/// [`BadDuration`] names the field.
pub fn kubeadm_config(cluster: &ClusterConfiguration, release: &Release) -> Result<Vec<Value>, BadDuration> {
    let content = yaml(&cluster_configuration(cluster, release)?);
    let mut objects = vec![config_map("kubeadm-config", "ClusterConfiguration", &content)];
    objects.extend(readers("kubeadm:nodes-kubeadm-config", "kubeadm-config", [JOINING, NODES]));
    Ok(objects)
}

/// The ConfigMap `kubelet-config` of a `KubeletConfiguration`, and what lets nodes read it. One that no user wrote a
/// part of is signed, so that an upgrade may replace it.
#[must_use]
pub fn kubelet_config(kubelet: &Value, users: bool, release: &Release) -> Vec<Value> {
    let mut name = "kubelet-config".to_owned();
    if VERSIONED_KUBELET_CONFIG.has(&release.kubernetes) {
        let [major, minor, _] = release.kubernetes.numbers();
        name = format!("{name}-{major}.{minor}");
    }
    let mut object = config_map(&name, "kubelet", &yaml(kubelet));
    if !users {
        addon::sign(&mut object);
    }
    let mut objects = vec![object];
    objects.extend(readers(&format!("kubeadm:{name}"), &name, [NODES, JOINING]));
    objects
}

fn config_map(name: &str, key: &str, content: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": { "name": name, "namespace": "kube-system" },
        "data": { key: content },
    })
}

/// Who may read a ConfigMap: the groups, by a role of this name.
fn readers(role: &str, config_map: &str, groups: [&str; 2]) -> [Value; 2] {
    let metadata = json!({ "name": role, "namespace": "kube-system" });
    let rule =
        json!({ "verbs": ["get"], "apiGroups": [""], "resources": ["configmaps"], "resourceNames": [config_map] });
    let subjects = groups.map(|name| json!({ "kind": "Group", "apiGroup": RBAC, "name": name }));
    [
        json!({ "apiVersion": format!("{RBAC}/v1"), "kind": "Role", "metadata": metadata.clone(), "rules": [rule] }),
        json!({
            "apiVersion": format!("{RBAC}/v1"),
            "kind": "RoleBinding",
            "metadata": metadata,
            "roleRef": { "apiGroup": RBAC, "kind": "Role", "name": role },
            "subjects": subjects,
        }),
    ]
}

/// The patch (a JSON merge patch) that marks a node as one of the control plane: labels, and taints before those that
/// it has. `taints` are the user's; `None` for kubeadm's.
#[must_use]
pub fn mark_control_plane(node: &Value, taints: Option<&[Taint]>, release: &Release) -> Value {
    let of = |rows: &[(&'static str, Span)]| -> Vec<&'static str> {
        rows.iter().filter(|(_, span)| span.has(&release.kubernetes)).map(|(name, _)| *name).collect()
    };
    let labels: Map<String, Value> = of(&LABELS).into_iter().map(|label| (label.to_owned(), "".into())).collect();
    let mut all: Vec<Value> = match taints {
        None => of(&TAINTS).into_iter().map(|key| json!({ "key": key, "effect": "NoSchedule" })).collect(),
        Some(taints) => taints.iter().map(taint).collect(),
    };
    for there in node.pointer("/spec/taints").and_then(Value::as_array).into_iter().flatten() {
        if !all.contains(there) {
            all.push(there.clone());
        }
    }
    let taints = if all.is_empty() { Value::Null } else { all.into() };
    json!({ "metadata": { "labels": labels }, "spec": { "taints": taints } })
}

fn taint(taint: &Taint) -> Value {
    let mut fields = Fields::default();
    fields.put("effect", taint.effect.clone());
    fields.put("key", taint.key.clone());
    fields.put("timeAdded", taint.time_added.clone().unwrap_or_default());
    fields.put("value", taint.value.clone().unwrap_or_default());
    fields.0.into()
}

/// The patch (a JSON merge patch) that keeps the runtime's socket with a node; `None` for versions that keep it on the
/// host.
#[must_use]
pub fn cri_socket(socket: &str, release: &Release) -> Option<Value> {
    let annotations = json!({ "kubeadm.alpha.kubernetes.io/cri-socket": socket });
    SOCKET_ANNOTATION.has(&release.kubernetes).then(|| json!({ "metadata": { "annotations": annotations } }))
}

/// Fields of an object; what is empty is left out.
#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn put(&mut self, name: &str, value: impl Into<Value>) {
        let value = value.into();
        let empty = match &value {
            Value::Null | Value::Bool(false) => true,
            Value::String(text) => text.is_empty(),
            Value::Array(list) => list.is_empty(),
            Value::Object(_) | Value::Bool(true) | Value::Number(_) => false,
        };
        if !empty {
            self.0.insert(name.to_owned(), value);
        }
    }
}

/// The `ClusterConfiguration` with kubeadm's defaults, in the version of its API that this kubeadm keeps it in.
fn cluster_configuration(cluster: &ClusterConfiguration, release: &Release) -> Result<Value, BadDuration> {
    let lists = !V1BETA3.has(&release.kubernetes);
    let mut all = Fields::default();
    all.put("apiServer", apiserver(&cluster.api_server, lists)?);
    all.put("apiVersion", if lists { "kubeadm.k8s.io/v1beta4" } else { "kubeadm.k8s.io/v1beta3" });
    if lists {
        let period = |field: &'static str, text: &str| duration(field, text).map(|period| (field, period));
        for (field, period) in [
            period("caCertificateValidityPeriod", &cluster.ca_certificate_validity_period)?,
            period("certificateValidityPeriod", &cluster.certificate_validity_period)?,
        ] {
            all.put(field, period);
        }
        all.put("encryptionAlgorithm", cluster.encryption_algorithm.clone());
        let mut proxy = Fields::default();
        proxy.put("disabled", cluster.proxy.disabled);
        all.put("proxy", proxy.0);
    }
    all.put("certificatesDir", cluster.certificates_dir.clone());
    all.put("clusterName", cluster.cluster_name.clone());
    all.put("controlPlaneEndpoint", cluster.control_plane_endpoint.clone().unwrap_or_default());
    all.put("controllerManager", component(&cluster.controller_manager, lists).0);
    let mut dns = Fields::default();
    dns.put("disabled", cluster.dns.disabled && lists);
    dns.put("imageRepository", cluster.dns.image_repository.clone());
    dns.put("imageTag", cluster.dns.image_tag.clone());
    all.put("dns", dns.0);
    all.put("etcd", etcd(cluster, release, lists));
    if !cluster.feature_gates.is_empty() {
        all.put("featureGates", json!(cluster.feature_gates));
    }
    all.put("imageRepository", cluster.image_repository.clone());
    all.put("kind", "ClusterConfiguration");
    all.put("kubernetesVersion", release.kubernetes.to_string());
    let mut networking = Fields::default();
    networking.put("dnsDomain", cluster.networking.dns_domain.clone());
    networking.put("podSubnet", cluster.networking.pod_subnet.clone());
    networking.put("serviceSubnet", cluster.networking.service_subnet.clone());
    all.put("networking", networking.0);
    all.put("scheduler", component(&cluster.scheduler, lists).0);
    Ok(all.0.into())
}

fn etcd(cluster: &ClusterConfiguration, release: &Release, lists: bool) -> Value {
    let mut fields = Fields::default();
    if let Some(external) = &cluster.etcd.external {
        fields.put("caFile", external.ca_file.clone());
        fields.put("certFile", external.cert_file.clone());
        fields.put("endpoints", external.endpoints.clone());
        if since(1, 35, 0).has(&release.kubernetes) {
            let named = !external.http_endpoints.is_empty();
            fields.put("httpEndpoints", if named { &external.http_endpoints } else { &external.endpoints }.clone());
        }
        fields.put("keyFile", external.key_file.clone());
        return json!({ "external": fields.0 });
    }
    let local = cluster.etcd.local.clone().unwrap_or_default();
    fields.put("dataDir", local.data_dir);
    fields.put("extraArgs", flags(&local.extra_args, lists));
    if lists {
        fields.put("extraEnvs", env(&local.extra_envs));
    }
    fields.put("imageRepository", local.image_repository);
    fields.put("imageTag", local.image_tag);
    fields.put("peerCertSANs", local.peer_cert_sans);
    fields.put("serverCertSANs", local.server_cert_sans);
    json!({ "local": fields.0 })
}

fn apiserver(apiserver: &ApiServer, lists: bool) -> Result<Value, BadDuration> {
    let mut fields = component(&apiserver.component, lists);
    fields.put("certSANs", apiserver.cert_sans.clone());
    if !lists {
        let timeout = apiserver.timeout_for_control_plane.as_deref().unwrap_or("4m");
        fields.put("timeoutForControlPlane", duration("apiServer.timeoutForControlPlane", timeout)?);
    }
    Ok(fields.0.into())
}

fn component(component: &Component, lists: bool) -> Fields {
    let mut fields = Fields::default();
    fields.put("extraArgs", flags(&component.extra_args, lists));
    if lists {
        fields.put("extraEnvs", env(&component.extra_envs));
    }
    fields.put("extraVolumes", component.extra_volumes.iter().map(volume).collect::<Vec<_>>());
    fields
}

/// Flags: a list since v1beta4, a map before.
fn flags(flags: &[(String, String)], lists: bool) -> Value {
    if flags.is_empty() {
        return Value::Null;
    }
    if lists {
        return flags.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
    }
    flags.iter().map(|(name, value)| (name.clone(), Value::from(value.clone()))).collect::<Map<_, _>>().into()
}

fn env(env: &[EnvVar]) -> Vec<Value> {
    let variable = |variable: &EnvVar| {
        let mut fields = Fields::default();
        fields.put("name", variable.name.clone());
        fields.put("value", variable.value.clone());
        fields.put("valueFrom", variable.value_from.clone());
        fields.0.into()
    };
    env.iter().map(variable).collect()
}

fn volume(volume: &HostPathMount) -> Value {
    let mut fields = Fields::default();
    fields.put("hostPath", volume.host_path.clone());
    fields.put("mountPath", volume.mount_path.clone());
    fields.put("name", volume.name.clone());
    fields.put("pathType", volume.path_type.clone());
    fields.put("readOnly", volume.read_only);
    fields.0.into()
}

/// A duration as Go writes it: `8760h0m0s`.
fn duration(field: &'static str, text: &str) -> Result<String, BadDuration> {
    let period: SignedDuration =
        crate::kubeadm::parse::duration(text).map_err(|_| BadDuration { field, text: text.to_owned() })?;
    let seconds = period.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    Ok(match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{seconds}s"),
        _ => format!("{hours}h{minutes}m{seconds}s"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(version: &str) -> Release {
        Release::of(&version.parse().unwrap()).unwrap()
    }

    #[test]
    fn a_configuration_is_kept_in_the_form_of_its_version() {
        let mut cluster = ClusterConfiguration { certificate_validity_period: "90m".to_owned(), ..Default::default() };
        cluster.scheduler.extra_args = vec![("v".to_owned(), "4".to_owned())];
        let of = |version: &str| cluster_configuration(&cluster, &release(version)).unwrap();
        let (old, new) = (of("1.23.17"), of("1.33.13"));
        assert_eq!(
            (&old["apiVersion"], &new["apiVersion"]),
            (&json!("kubeadm.k8s.io/v1beta3"), &json!("kubeadm.k8s.io/v1beta4"))
        );
        assert_eq!(old["scheduler"], json!({ "extraArgs": { "v": "4" } }));
        assert_eq!(new["scheduler"], json!({ "extraArgs": [{ "name": "v", "value": "4" }] }));
        assert_eq!(old["apiServer"], json!({ "timeoutForControlPlane": "4m0s" }));
        assert_eq!(
            (&new["certificateValidityPeriod"], old.get("certificateValidityPeriod")),
            (&json!("1h30m0s"), None)
        );
        cluster.certificate_validity_period = "long".to_owned();
        let why = kubeadm_config(&cluster, &release("1.37.2")).unwrap_err().to_string();
        assert_eq!(why, "certificateValidityPeriod: 'long' is no duration");
    }

    #[test]
    fn marks_are_of_the_version_and_keep_what_is_there() {
        let node = json!({ "spec": { "taints": [{ "key": "a", "effect": "NoExecute" }] } });
        let marked = mark_control_plane(&node, None, &release("1.24.17"));
        let keys: Vec<_> = marked["spec"]["taints"].as_array().unwrap().iter().map(|taint| &taint["key"]).collect();
        assert_eq!(keys, ["node-role.kubernetes.io/master", CONTROL_PLANE, "a"]);
        assert_eq!(marked["metadata"]["labels"].as_object().unwrap().len(), 2);
        assert_eq!(mark_control_plane(&json!({}), Some(&[]), &release("1.37.2"))["spec"]["taints"], Value::Null);
        assert!(
            cri_socket("unix:///x", &release("1.33.13")).is_some()
                && cri_socket("unix:///x", &release("1.37.2")).is_none()
        );
        let name = |version: &str| kubelet_config(&json!({}), true, &release(version))[0]["metadata"]["name"].clone();
        assert_eq!((name("1.23.17"), name("1.24.17")), ("kubelet-config-1.23".into(), "kubelet-config".into()));
    }
}

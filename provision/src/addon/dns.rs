//! CoreDNS, as `kubeadm init phase addon coredns` leaves it.

use ipnet::IpNet;
use serde_json::{Value, json};

use super::{of_service_account, rbac, role, service_account};
use crate::image::Reference;
use crate::node::dns_address;

/// The DNS of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dns<'a> {
    /// Kubernetes' minor version: kubeadm's manifest has changed with it.
    pub minor: u32,
    /// The first network of Services.
    pub services: &'a IpNet,
    /// The cluster's DNS domain.
    pub domain: &'a str,
    /// CoreDNS' image.
    pub image: &'a Reference,
    /// How many pods there are; kubeadm has two.
    pub replicas: u32,
}

impl Dns<'_> {
    /// Its objects, in the order in which they can be created.
    #[must_use]
    pub fn objects(&self) -> Vec<Value> {
        let mut reader = rbac("ClusterRole", "system:coredns", None);
        let watched = ["endpoints", "services", "pods", "namespaces"];
        let mut rules = vec![json!({ "apiGroups": [""], "resources": watched, "verbs": ["list", "watch"] })];
        if self.minor < 28 {
            rules.push(json!({ "apiGroups": [""], "resources": ["nodes"], "verbs": ["get"] }));
        }
        let slices =
            json!({ "apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"] });
        rules.push(slices);
        reader["rules"] = rules.into();
        let mut binding = rbac("ClusterRoleBinding", "system:coredns", None);
        binding["roleRef"] = role("ClusterRole", "system:coredns");
        binding["subjects"] = of_service_account("coredns");
        let configuration = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": { "name": "coredns", "namespace": "kube-system" },
            "data": { "Corefile": self.corefile() },
        });
        vec![service_account("coredns"), reader, binding, configuration, self.service(), self.deployment()]
    }

    fn corefile(&self) -> String {
        let domain = self.domain;
        // CoreDNS before 1.9.4 knows no `disable`.
        let cache = if self.minor < 32 {
            String::new()
        } else {
            format!(" {{\n       disable success {domain}\n       disable denial {domain}\n    }}")
        };
        format!(
            ".:53 {{
    errors
    health {{
       lameduck 5s
    }}
    ready
    kubernetes {domain} in-addr.arpa ip6.arpa {{
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }}
    prometheus :9153
    forward . /etc/resolv.conf {{
       max_concurrent 1000
    }}
    cache 30{cache}
    loop
    reload
    loadbalance
}}
"
        )
    }

    fn service(&self) -> Value {
        let port = |name: &str, port: u16, protocol: &str| {
            json!({
                "name": name, "port": port, "protocol": protocol, "targetPort": port,
            })
        };
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {
                "name": "kube-dns",
                "namespace": "kube-system",
                "labels": {
                    "k8s-app": "kube-dns",
                    "kubernetes.io/cluster-service": "true",
                    "kubernetes.io/name": "CoreDNS",
                },
                "annotations": { "prometheus.io/port": "9153", "prometheus.io/scrape": "true" },
            },
            "spec": {
                "clusterIP": dns_address(self.services).to_string(),
                "ports": [port("dns", 53, "UDP"), port("dns-tcp", 53, "TCP"), port("metrics", 9153, "TCP")],
                "selector": { "k8s-app": "kube-dns" },
            },
        })
    }

    fn deployment(&self) -> Value {
        let labels = json!({ "k8s-app": "kube-dns" });
        let spread = json!({
            "weight": 100,
            "podAffinityTerm": {
                "labelSelector": {
                    "matchExpressions": [{ "key": "k8s-app", "operator": "In", "values": ["kube-dns"] }],
                },
                "topologyKey": "kubernetes.io/hostname",
            },
        });
        let affinity = json!({ "podAntiAffinity": { "preferredDuringSchedulingIgnoredDuringExecution": [spread] } });
        let mut tolerations = vec![json!({ "key": "CriticalAddonsOnly", "operator": "Exists" })];
        let roles: &[_] = if self.minor < 26 { &["master", "control-plane"] } else { &["control-plane"] };
        tolerations.extend(
            roles
                .iter()
                .map(|role| json!({ "key": format!("node-role.kubernetes.io/{role}"), "effect": "NoSchedule" })),
        );
        let mut deployment = json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": { "name": "coredns", "namespace": "kube-system", "labels": labels },
            "spec": {
                "replicas": self.replicas,
                "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxUnavailable": 1 } },
                "selector": { "matchLabels": labels },
                "template": {
                    "metadata": { "labels": labels },
                    "spec": {
                        "priorityClassName": "system-cluster-critical",
                        "serviceAccountName": "coredns",
                        "tolerations": tolerations,
                        "nodeSelector": { "kubernetes.io/os": "linux" },
                        "containers": [self.container()],
                        "dnsPolicy": "Default",
                        "volumes": [{
                            "name": "config-volume",
                            "configMap": { "name": "coredns", "items": [{ "key": "Corefile", "path": "Corefile" }] },
                        }],
                    },
                },
            },
        });
        if self.minor >= 25 {
            deployment["spec"]["template"]["spec"]["affinity"] = affinity;
        }
        deployment
    }

    fn container(&self) -> Value {
        let port = |name: &str, port: u16, protocol: &str| {
            json!({
                "containerPort": port, "name": name, "protocol": protocol,
            })
        };
        let mut ports = vec![port("dns", 53, "UDP"), port("dns-tcp", 53, "TCP"), port("metrics", 9153, "TCP")];
        // Since 1.34 the ports of probes have names.
        let named = self.minor >= 34;
        if named {
            ports.extend([port("liveness-probe", 8080, "TCP"), port("readiness-probe", 8181, "TCP")]);
        }
        let get = |path: &str, name: &str, port: u16| {
            let port = if named { json!(name) } else { json!(port) };
            json!({ "path": path, "port": port, "scheme": "HTTP" })
        };
        json!({
            "name": "coredns",
            "image": self.image.to_string(),
            "imagePullPolicy": "IfNotPresent",
            "resources": { "limits": { "memory": "170Mi" }, "requests": { "cpu": "100m", "memory": "70Mi" } },
            "args": ["-conf", "/etc/coredns/Corefile"],
            "volumeMounts": [{ "name": "config-volume", "mountPath": "/etc/coredns", "readOnly": true }],
            "ports": ports,
            "livenessProbe": {
                "httpGet": get("/health", "liveness-probe", 8080),
                "initialDelaySeconds": 60,
                "timeoutSeconds": 5,
                "successThreshold": 1,
                "failureThreshold": 5,
            },
            "readinessProbe": { "httpGet": get("/ready", "readiness-probe", 8181), "periodSeconds": 1 },
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "capabilities": { "add": ["NET_BIND_SERVICE"], "drop": [if self.minor < 29 { "all" } else { "ALL" }] },
                "readOnlyRootFilesystem": true,
            },
        })
    }
}

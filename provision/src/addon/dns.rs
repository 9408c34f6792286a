//! CoreDNS, as `kubeadm init phase addon coredns` leaves it.

use ipnet::IpNet;
use serde_json::{Value, json};

use super::{of_service_account, rbac, role, service_account};
use crate::image::Reference;
use crate::node::dns_address;

/// The DNS of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dns<'a> {
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
        reader["rules"] = json!([
            { "apiGroups": [""], "resources": ["endpoints", "services", "pods", "namespaces"], "verbs": ["list", "watch"] },
            { "apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"] },
        ]);
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
    cache 30 {{
       disable success {domain}
       disable denial {domain}
    }}
    loop
    reload
    loadbalance
}}
"
        )
    }

    fn service(&self) -> Value {
        let port = |name: &str, port: u16, protocol: &str| json!({ "name": name, "port": port, "protocol": protocol, "targetPort": port });
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
                "labelSelector": { "matchExpressions": [{ "key": "k8s-app", "operator": "In", "values": ["kube-dns"] }] },
                "topologyKey": "kubernetes.io/hostname",
            },
        });
        json!({
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
                        "affinity": { "podAntiAffinity": { "preferredDuringSchedulingIgnoredDuringExecution": [spread] } },
                        "tolerations": [
                            { "key": "CriticalAddonsOnly", "operator": "Exists" },
                            { "key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule" },
                        ],
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
        })
    }

    fn container(&self) -> Value {
        let port = |name: &str, port: u16, protocol: &str| json!({ "containerPort": port, "name": name, "protocol": protocol });
        let get = |path: &str, port: &str| json!({ "path": path, "port": port, "scheme": "HTTP" });
        json!({
            "name": "coredns",
            "image": self.image.to_string(),
            "imagePullPolicy": "IfNotPresent",
            "resources": { "limits": { "memory": "170Mi" }, "requests": { "cpu": "100m", "memory": "70Mi" } },
            "args": ["-conf", "/etc/coredns/Corefile"],
            "volumeMounts": [{ "name": "config-volume", "mountPath": "/etc/coredns", "readOnly": true }],
            "ports": [
                port("dns", 53, "UDP"),
                port("dns-tcp", 53, "TCP"),
                port("metrics", 9153, "TCP"),
                port("liveness-probe", 8080, "TCP"),
                port("readiness-probe", 8181, "TCP"),
            ],
            "livenessProbe": {
                "httpGet": get("/health", "liveness-probe"),
                "initialDelaySeconds": 60,
                "timeoutSeconds": 5,
                "successThreshold": 1,
                "failureThreshold": 5,
            },
            "readinessProbe": { "httpGet": get("/ready", "readiness-probe"), "periodSeconds": 1 },
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "capabilities": { "add": ["NET_BIND_SERVICE"], "drop": ["ALL"] },
                "readOnlyRootFilesystem": true,
            },
        })
    }
}

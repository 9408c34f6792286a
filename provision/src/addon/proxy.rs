//! kube-proxy, as `kubeadm init phase addon kube-proxy` leaves it.

use serde_json::{Value, json};

use super::{of_service_account, rbac, role, service_account, sign};
use crate::bootstrap::JOINING;
use crate::image::Reference;
use crate::node::proxy::{FOLDER, Proxy};

const NAME: &str = "kube-proxy";

/// kube-proxy of a cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct KubeProxy<'a> {
    /// Its configuration.
    pub proxy: &'a Proxy<'a>,
    /// The URL of the API servers, as it is to reach them.
    pub server: &'a str,
}

impl KubeProxy<'_> {
    /// Its objects without the DaemonSet, in the order in which they can be created.
    #[must_use]
    pub fn objects(&self) -> Vec<Value> {
        let mut proxier = rbac("ClusterRoleBinding", "kubeadm:node-proxier", None);
        proxier["roleRef"] = role("ClusterRole", "system:node-proxier");
        proxier["subjects"] = of_service_account(NAME);
        // Nodes that join look whether there is a kube-proxy.
        let mut reader = rbac("Role", NAME, Some("kube-system"));
        reader["rules"] =
            json!([{ "apiGroups": [""], "resourceNames": [NAME], "resources": ["configmaps"], "verbs": ["get"] }]);
        let mut binding = rbac("RoleBinding", NAME, Some("kube-system"));
        binding["roleRef"] = role("Role", NAME);
        binding["subjects"] = json!([{ "kind": "Group", "name": JOINING }]);
        vec![service_account(NAME), proxier, reader, binding, self.config_map()]
    }

    fn config_map(&self) -> Value {
        let secrets = "/var/run/secrets/kubernetes.io/serviceaccount";
        let kubeconfig = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{
                "cluster": { "certificate-authority": format!("{secrets}/ca.crt"), "server": self.server },
                "name": "default",
            }],
            "contexts": [{
                "context": { "cluster": "default", "namespace": "default", "user": "default" },
                "name": "default",
            }],
            "current-context": "default",
            "users": [{ "name": "default", "user": { "tokenFile": format!("{secrets}/token") } }],
        });
        let yaml = crate::node::yaml;
        let mut map = json!({
            "kind": "ConfigMap",
            "apiVersion": "v1",
            "metadata": { "name": NAME, "namespace": "kube-system", "labels": { "app": NAME } },
            "data": { "kubeconfig.conf": yaml(&kubeconfig), "config.conf": yaml(&self.proxy.cluster_configuration()) },
        });
        if self.proxy.user.is_none() {
            sign(&mut map);
        }
        map
    }

    /// The DaemonSet that runs kube-proxy in pods; a host of ours runs it as a process instead. Its image must hold nft
    /// or iptables.
    #[must_use]
    pub fn daemon_set(image: &Reference) -> Value {
        let labels = json!({ "k8s-app": NAME });
        let mount = |name: &str, path: &str| json!({ "mountPath": path, "name": name });
        let mut modules = mount("lib-modules", "/lib/modules");
        modules["readOnly"] = true.into();
        json!({
            "apiVersion": "apps/v1",
            "kind": "DaemonSet",
            "metadata": { "labels": labels, "name": NAME, "namespace": "kube-system" },
            "spec": {
                "selector": { "matchLabels": labels },
                "updateStrategy": { "type": "RollingUpdate" },
                "template": {
                    "metadata": { "labels": labels },
                    "spec": {
                        "priorityClassName": "system-node-critical",
                        "containers": [{
                            "name": NAME,
                            "image": image.to_string(),
                            "imagePullPolicy": "IfNotPresent",
                            "command": [
                                "/usr/local/bin/kube-proxy",
                                format!("--config={FOLDER}/config.conf"),
                                "--hostname-override=$(NODE_NAME)",
                            ],
                            "securityContext": { "privileged": true },
                            "volumeMounts": [mount(NAME, FOLDER), mount("xtables-lock", "/run/xtables.lock"), modules],
                            "env": [
                                { "name": "NODE_NAME", "valueFrom": { "fieldRef": { "fieldPath": "spec.nodeName" } } },
                            ],
                        }],
                        "hostNetwork": true,
                        "serviceAccountName": NAME,
                        "volumes": [
                            { "name": NAME, "configMap": { "name": NAME } },
                            {
                                "name": "xtables-lock",
                                "hostPath": { "path": "/run/xtables.lock", "type": "FileOrCreate" },
                            },
                            { "name": "lib-modules", "hostPath": { "path": "/lib/modules" } },
                        ],
                        "tolerations": [{ "operator": "Exists" }],
                        "nodeSelector": { "kubernetes.io/os": "linux" },
                    },
                },
            },
        })
    }
}

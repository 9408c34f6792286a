//! What breaks a cluster so that claims of the dual-stack suite must fail.

use std::sync::Arc;

use serde_json::json;

use crate::cluster::{Defect, Families, Target};

pub(super) static DEFECTS: [Defect; 15] = [
    Defect::raised(
        "families-of-the-api-server",
        "The cluster has one family where two are meant, and two where one is",
        |need| {
            need.families = match need.families {
                Families::V4 => Families::V4V6,
                Families::V6 => Families::V6V4,
                Families::V4V6 => Families::V4,
                Families::V6V4 => Families::V6,
            };
        },
    ),
    Defect::raised("order-of-families", "The families of the cluster are in the wrong order", |need| {
        need.families = match need.families {
            Families::V4 => Families::V6,
            Families::V6 => Families::V4,
            Families::V4V6 => Families::V6V4,
            Families::V6V4 => Families::V4V6,
        };
    }),
    Defect::raised("wrong-mask", "Nodes get networks for pods of other sizes than the default", |need| {
        need.kubeadm = Some(match need.families {
            Families::V4 => {
                "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n\
                 controllerManager:\n  extraArgs:\n  - {name: node-cidr-mask-size, value: \"26\"}\n"
            }
            Families::V6 => {
                "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n\
                 controllerManager:\n  extraArgs:\n  - {name: node-cidr-mask-size, value: \"68\"}\n"
            }
            Families::V4V6 | Families::V6V4 => {
                "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n\
                 controllerManager:\n  extraArgs:\n  - {name: node-cidr-mask-size-ipv4, value: \"26\"}\n  - {name: \
                 node-cidr-mask-size-ipv6, value: \"68\"}\n"
            }
        });
    }),
    Defect::put("no-external-names", "An admission policy refuses Services of the type ExternalName", |target| {
        Box::pin(async move {
            target.create_objects(policies("services", "", "v1", EXTERNAL_NAME)).await?;
            let service = json!({
                "apiVersion": "v1", "kind": "Service", "metadata": { "name": "probe" },
                "spec": { "type": "ExternalName", "externalName": "example.com" },
            });
            target.until_refused("/api/v1/namespaces/default/services", &service).await
        })
    }),
    Defect::put("no-further-ranges", "An admission policy refuses further ServiceCIDRs", |target| {
        Box::pin(async move {
            let (group, only) = ("networking.k8s.io", "object.metadata.name == 'kubernetes'");
            target.create_objects(policies("servicecidrs", group, "v1", only)).await?;
            let range = json!({
                "apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": { "name": "probe" },
                "spec": { "cidrs": ["203.0.113.0/28"] },
            });
            target.until_refused("/apis/networking.k8s.io/v1/servicecidrs", &range).await
        })
    }),
    Defect::put("overlapping-pod-cidrs", "A node has the networks of another one", |target| {
        Box::pin(overlapping(target))
    }),
    Defect::put("forwarding-off", "Workers do not forward", |target| {
        Box::pin(async move {
            let settings =
                ["net.ipv4.conf.all.forwarding=0", "net.ipv4.ip_forward=0", "net.ipv6.conf.all.forwarding=0"];
            target.on_hosts("worker", &[&["sysctl", "-w"][..], &settings].concat()).await
        })
    }),
    Defect::put(
        "routed-packets-dropped",
        "A firewall on the second worker drops what is routed through it",
        |target| {
            Box::pin(async move {
                let rules = "table inet apart {\nchain on {\ntype filter hook forward priority -300;\ndrop;\n}\n}";
                target.on_hosts("worker2", &["nft", rules]).await
            })
        },
    ),
    Defect::put("pods-cut-off", "Workers drop what their pods send to each other", |target| {
        Box::pin(async move {
            // The bridge of the network plugin forwards it; what the node itself sends, such as probes, still arrives.
            let rules = "table bridge cut {\nchain on {\ntype filter hook forward priority -300;\ndrop;\n}\n}";
            target.on_hosts("worker", &["nft", rules]).await
        })
    }),
    Defect::put("kube-proxy-frozen", "kube-proxy stands still on all workers", |target| {
        Box::pin(async move { target.fault(&["stop", "worker1,worker2/kube-proxy"]).await })
    }),
    Defect::put("dns-without-addresses", "CoreDNS answers no A and AAAA of the cluster's domain", |target| {
        Box::pin(corefile(
            target,
            "template IN A cluster.local {\n rcode NXDOMAIN\n }\n template IN AAAA cluster.local {\n rcode NXDOMAIN\n \
             }",
        ))
    }),
    Defect::put("dns-without-reverse", "CoreDNS answers no reverse names", |target| {
        Box::pin(corefile(target, "template IN PTR {\n rcode NXDOMAIN\n }"))
    }),
    Defect::put("certificate-without-address", "apiserver.crt names no address of the API server", |target| {
        Box::pin(async move {
            let pki = "/etc/kubernetes/pki";
            let copy = format!("rm {pki}/apiserver.crt && cp {pki}/front-proxy-client.crt {pki}/apiserver.crt");
            target.on_hosts("cp", &["sh", "-c", &copy]).await
        })
    }),
    Defect::put(
        "router-advertisements",
        "Workers have a route of a router advertisement, and ignore further ones",
        |target| {
            Box::pin(async move {
                let route = "ip -6 route add 2001:db8:ad::/64 dev lo proto ra; sysctl -w net.ipv6.conf.lo.accept_ra=1";
                target.on_hosts("worker", &["sh", "-c", route]).await
            })
        },
    ),
    Defect::put("bad-subnets", "kubeadm's configuration has one network for pods and for Services", |target| {
        Box::pin(async move {
            let text = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n\
                        networking:\n  podSubnet: 10.0.0.0/7\n  serviceSubnet: 10.0.0.0/8\n";
            let patch = json!({ "data": { "ClusterConfiguration": text } });
            target.patch_object("/api/v1/namespaces/kube-system/configmaps/kubeadm-config", &patch).await
        })
    }),
];

const EXTERNAL_NAME: &str = "!has(object.spec.type) || object.spec.type != 'ExternalName'";

/// A policy that lets only objects pass for which an expression holds, with its binding.
fn policies(resource: &str, group: &str, version: &str, expression: &str) -> Vec<serde_json::Value> {
    let rule =
        json!({ "apiGroups": [group], "apiVersions": [version], "operations": ["CREATE"], "resources": [resource] });
    let api = "admissionregistration.k8s.io/v1";
    vec![
        json!({
            "apiVersion": api, "kind": "ValidatingAdmissionPolicy", "metadata": { "name": "overzealous" },
            "spec": {
                "matchConstraints": { "resourceRules": [rule] },
                "validations": [{ "expression": expression, "message": "refused by a defect" }],
            },
        }),
        json!({
            "apiVersion": api, "kind": "ValidatingAdmissionPolicyBinding", "metadata": { "name": "overzealous" },
            "spec": { "policyName": "overzealous", "validationActions": ["Deny"] },
        }),
    ]
}

/// A node with the networks of worker1, and an address in one of them.
async fn overlapping(target: Arc<Target>) -> Result<(), String> {
    let worker = target.read_object("/api/v1/nodes/worker1").await?;
    let networks = worker["spec"]["podCIDRs"].clone();
    target
        .create_objects(vec![json!({
            "apiVersion": "v1", "kind": "Node", "metadata": { "name": "impostor" },
            "spec": { "podCIDR": networks[0], "podCIDRs": networks },
        })])
        .await?;
    let text = networks[0].as_str().unwrap_or_default();
    let inside = text.parse::<ipnet::IpNet>().ok().and_then(|network| network.hosts().nth(9));
    let inside = inside.ok_or("worker1 has no network for pods")?.to_string();
    let status = json!({ "status": { "addresses": [{ "type": "InternalIP", "address": inside }] } });
    target.patch_object("/api/v1/nodes/impostor/status", &status).await
}

/// Puts plug-ins before all others of the Corefile, and starts CoreDNS anew.
async fn corefile(target: Arc<Target>, plugins: &str) -> Result<(), String> {
    let path = "/api/v1/namespaces/kube-system/configmaps/coredns";
    let map = target.read_object(path).await?;
    let text = map["data"]["Corefile"].as_str().unwrap_or_default();
    let changed = text.replacen('{', &format!("{{\n{plugins}\n"), 1);
    target.patch_object(path, &json!({ "data": { "Corefile": changed } })).await?;
    let stamp = json!({ "spec": { "template": { "metadata": { "annotations": { "defect": "dns" } } } } });
    let deployment = "/apis/apps/v1/namespaces/kube-system/deployments/coredns";
    target.patch_object(deployment, &stamp).await?;
    target.rolled_out(deployment).await
}

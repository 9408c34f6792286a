//! What breaks a cluster so that claims of the large-scale suite must fail.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use seaworthy_simulated::{Call, Client, Lane};
use serde_json::{Value, json};

use crate::cluster::{Defect, Target};

pub(super) static DEFECTS: [Defect; 8] = [
    Defect::put("slow-api-server", "Every request to the API server takes 1.4 s longer", |target| {
        Box::pin(async move {
            let ours = target.ours.as_ref().ok_or("a delay is put on hosts of ours")?;
            let output = ours.fault(&["delay", "cp1", "700ms"]).await.map_err(|error| error.to_string())?;
            match output.status.success() {
                true => Ok(()),
                false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
            }
        })
    }),
    Defect::raised("slow-scheduler", "The scheduler sends at most 2 requests a second", |need| {
        need.kubeadm = Some(SLOW_SCHEDULER);
    }),
    Defect::put("leases-refused", "An admission policy refuses the leases of one node in a hundred", |target| {
        Box::pin(async move { target.apply_defect(LEASES).await })
    }),
    Defect::put("deletions-refused", "An admission policy refuses to delete one pod in ten", |target| {
        Box::pin(async move { target.apply_defect(DELETIONS).await })
    }),
    Defect::put("too-many-backends", "A Service has 300 backends", |target| create(target, backends())),
    Defect::put("namespace-over-its-limits", "A namespace has 3,001 pods", |target| create(target, pods(3_001))),
    Defect::put(
        "crowded",
        "A node has room for 250 pods and runs 11 on one core, and a ConfigMap has 1 MiB",
        |target| create(target, crowd()),
    ),
    Defect {
        name: "etcd-near-its-quota",
        about: "etcd's database has four fifths of its quota",
        need: |need| need.kubeadm = Some(SMALL_QUOTA),
        put: |target| create(target, ballast()),
    },
];

const SLOW_SCHEDULER: &str = "\
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
networking: {podSubnet: 10.128.0.0/11}
controllerManager: {extraArgs: [{name: kube-api-qps, value: '1000'}, {name: kube-api-burst, value: '2000'}]}
scheduler: {extraArgs: [{name: kube-api-qps, value: '2'}, {name: kube-api-burst, value: '2'}]}
";

/// 96 MiB.
const SMALL_QUOTA: &str = "\
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
etcd: {local: {extraArgs: [{name: quota-backend-bytes, value: '100663296'}]}}
";

/// Refuses what the nodes load-00100, load-00200, … renew.
const LEASES: &str = r#"[
{"apiVersion":"admissionregistration.k8s.io/v1","kind":"ValidatingAdmissionPolicy","metadata":{"name":"no-leases"},
 "spec":{"matchConstraints":{"resourceRules":[
   {"apiGroups":["coordination.k8s.io"],"apiVersions":["v1"],"operations":["UPDATE"],"resources":["leases"]}]},
 "validations":[{"expression":"!object.metadata.name.endsWith('00')","message":"no leases"}]}},
{"apiVersion":"admissionregistration.k8s.io/v1","kind":"ValidatingAdmissionPolicyBinding",
"metadata":{"name":"no-leases"},
 "spec":{"policyName":"no-leases","validationActions":["Deny"]}}]"#;

const DELETIONS: &str = r#"[
{"apiVersion":"admissionregistration.k8s.io/v1","kind":"ValidatingAdmissionPolicy","metadata":{"name":"no-deletions"},
 "spec":{"matchConstraints":{"resourceRules":[
   {"apiGroups":[""],"apiVersions":["v1"],"operations":["DELETE"],"resources":["pods"]}]},
 "validations":[{"expression":"!oldObject.metadata.name.endsWith('7')","message":"no deletions"}]}},
{"apiVersion":"admissionregistration.k8s.io/v1","kind":"ValidatingAdmissionPolicyBinding",
"metadata":{"name":"no-deletions"},
 "spec":{"policyName":"no-deletions","validationActions":["Deny"]}}]"#;

/// Creates objects in a namespace of their own, many at once.
fn create(target: Arc<Target>, objects: Vec<(String, Value)>) -> BoxFuture<'static, Result<(), String>> {
    Box::pin(async move {
        let client = Client::open(&target.kubeconfig, None).map_err(|error| error.to_string())?;
        let meta = json!({ "name": "defect" });
        let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": meta });
        let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": { "name": "default" } });
        post(&client, "/api/v1/namespaces", &namespace).await?;
        // The controller may be first.
        post(&client, "/api/v1/namespaces/defect/serviceaccounts", &account).await.ok();
        let all = objects.into_iter().map(move |(path, object)| {
            let client = client.clone();
            async move { post(&client, &path, &object).await }
        });
        stream::iter(all).buffer_unordered(32).try_collect::<Vec<()>>().await.map(drop)
    })
}

async fn post(client: &Client, path: &str, object: &Value) -> Result<(), String> {
    let call = Call::post(path, object);
    let reply = client.ask(Lane::Work, &call).await.and_then(|reply| reply.success(&call));
    reply.map(drop).map_err(|error| error.to_string())
}

fn backends() -> Vec<(String, Value)> {
    let labels = json!({ "kubernetes.io/service-name": "crowd" });
    let slice = |number: u8| {
        let endpoint = |host: u8| json!({ "addresses": [format!("10.9.{number}.{host}")] });
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": { "name": format!("crowd-{number}"), "labels": labels },
            "endpoints": (1..=100).map(endpoint).collect::<Vec<_>>(), "ports": [{ "port": 80 }],
        })
    };
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "crowd" }, "spec": { "ports": [{ "port": 80 }] },
    });
    let slices = "/apis/discovery.k8s.io/v1/namespaces/defect/endpointslices";
    let mut all = vec![("/api/v1/namespaces/defect/services".to_owned(), service)];
    all.extend((0..3).map(|number| (slices.to_owned(), slice(number))));
    all
}

fn pod(name: &str, node: Option<&str>) -> (String, Value) {
    let mut spec = json!({
        "automountServiceAccountToken": false, "containers": [{ "name": "c", "image": "registry.k8s.io/pause:3.10" }],
        "nodeSelector": { "no": "node" },
    });
    if let Some(node) = node {
        spec["nodeName"] = node.into();
    }
    let object = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name }, "spec": spec });
    ("/api/v1/namespaces/defect/pods".to_owned(), object)
}

fn pods(count: u32) -> Vec<(String, Value)> {
    (0..count).map(|number| pod(&format!("crowd-{number}"), None)).collect()
}

/// Two nodes in two zones, one of them a control plane; the other has one core, eleven pods, and room for 250.
fn crowd() -> Vec<(String, Value)> {
    let node = |name: &str, zone: &str, plane: bool, pods: &str| {
        let mut labels = json!({ "topology.kubernetes.io/zone": zone });
        if plane {
            labels["node-role.kubernetes.io/control-plane"] = "".into();
        }
        let capacity = json!({ "cpu": "1", "memory": "1Gi", "pods": pods });
        let object = json!({
            "apiVersion": "v1", "kind": "Node", "metadata": { "name": name, "labels": labels },
            "status": { "capacity": capacity, "allocatable": capacity },
        });
        ("/api/v1/nodes".to_owned(), object)
    };
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "large" },
        "data": { "large": "x".repeat((1 << 20) - 5) },
    });
    let mut all = vec![node("plane", "a", true, "110"), node("crowd", "b", false, "250")];
    all.push(("/api/v1/namespaces/defect/configmaps".to_owned(), map));
    all.extend((0..11).map(|number| pod(&format!("crowd-{number}"), Some("crowd"))));
    all
}

/// 76 MiB in ConfigMaps.
fn ballast() -> Vec<(String, Value)> {
    let map = |number: u32| {
        let object = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": format!("ballast-{number}") },
            "data": { "text": "x".repeat(1_000_000) },
        });
        ("/api/v1/namespaces/defect/configmaps".to_owned(), object)
    };
    (0..80).map(map).collect()
}

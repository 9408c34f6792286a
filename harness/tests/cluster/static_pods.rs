//! Control planes as static pods: they come up as kubeadm's do, and do what control planes of processes do.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::lab::{Lab, until};
use super::topologies::{members, would_join};

const COMPONENTS: [&str; 4] = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"];
/// What kubeadm's documents add to manifests; `PATCHES` stands for a folder.
const KUBEADM: &str = "\
workers: 1
controlPlane: {runAs: static-pods}
loadBalancer: seaworthy
kubeadm: |
  apiVersion: kubeadm.k8s.io/v1beta4
  kind: InitConfiguration
  patches: {directory: PATCHES}
  ---
  apiVersion: kubeadm.k8s.io/v1beta4
  kind: ClusterConfiguration
  imageRepository: registry.example.test/kubernetes
  apiServer:
    extraArgs: [{name: v, value: '1'}]
    extraVolumes:
    - {name: more, hostPath: /etc/kubernetes/more, mountPath: /more, readOnly: true, pathType: DirectoryOrCreate}
  scheduler: {extraEnvs: [{name: GOMEMLIMIT, value: 1GiB}]}
";

/// A pod of the control plane, by what the API says of it.
#[derive(Debug, Clone, PartialEq)]
struct Pod {
    /// Another one where the manifest is.
    uid: String,
    /// Its container's number at containerd.
    container: String,
    restarts: u64,
    object: Value,
}

/// The pods of a control plane by component, once each is there and ready.
fn pods(lab: &Lab, name: &str, asked: &str, host: &str) -> BTreeMap<&'static str, Pod> {
    let pod = |component: &'static str| {
        until("the pods of the control plane are ready", || {
            let path = format!("/api/v1/namespaces/kube-system/pods/{component}-{host}");
            let object = lab.try_get(name, asked, &path).map_err(|why| format!("{why}\n{:#?}", lab.status(name).1))?;
            let status = &object["status"]["containerStatuses"][0];
            if status["ready"] != true {
                return Err(object["status"].to_string());
            }
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let (uid, container) = (text(&object["metadata"]["uid"]), text(&status["containerID"]));
            Ok((component, Pod { uid, container, restarts: status["restartCount"].as_u64().unwrap(), object }))
        })
    };
    COMPONENTS.into_iter().map(pod).collect()
}

/// How a component is, as `status` has it.
fn state(lab: &Lab, name: &str, host: &str, component: &str) -> Value {
    let (_, hosts) = lab.status(name);
    let found = hosts.iter().find(|one| one["name"] == host).unwrap()["components"].as_array().unwrap().clone();
    found.into_iter().find(|one| one["name"] == component).unwrap()
}

pub(super) fn one(lab: &Lab) {
    let name = "static";
    let patches = Path::new("/mnt/patches");
    std::fs::create_dir_all(patches).unwrap();
    std::fs::write(patches.join("etcd+merge.yaml"), "metadata: {labels: {patched: here}}\n").unwrap();
    let spec = KUBEADM.replace("PATCHES", patches.to_str().unwrap());
    lab.up(name, &spec);
    assert_eq!(lab.status(name).0, Some(0));
    let before = pods(lab, name, "cp1", "cp1");
    for (component, pod) in &before {
        let (spec, metadata) = (&pod.object["spec"], &pod.object["metadata"]);
        assert!(metadata["annotations"]["kubernetes.io/config.mirror"].is_string(), "{component} is no static pod");
        let image = spec["containers"][0]["image"].as_str().unwrap();
        assert!(image.starts_with(&format!("registry.example.test/kubernetes/{component}:")), "{image}");
    }
    assert_eq!(before["etcd"].object["metadata"]["labels"]["patched"], "here");
    let container = |component: &str| &before[component].object["spec"]["containers"][0];
    assert!(container("kube-apiserver")["command"].as_array().unwrap().contains(&"--v=1".into()));
    assert!(container("kube-apiserver")["volumeMounts"].to_string().contains(r#""/more""#));
    assert_eq!(container("kube-scheduler")["env"][0]["name"], "GOMEMLIMIT");
    let taints = lab.get(name, "cp1", "/api/v1/nodes/cp1")["spec"]["taints"].to_string();
    assert!(taints.contains("node-role.kubernetes.io/control-plane"), "{taints}");
    let log = lab.ok(&["logs", "--name", &lab.name(name), "cp1", "kube-apiserver"]);
    assert!(log.lines().next().is_some_and(|line| line.starts_with(['I', 'W'])), "{log:.200}");

    // Bringing up what is up changes nothing.
    lab.up(name, &spec);
    let same = |pods: &BTreeMap<_, Pod>| pods.values().map(|pod| pod.uid.clone()).collect::<Vec<_>>();
    assert_eq!(same(&pods(lab, name, "cp1", "cp1")), same(&before));

    kubeadm_agrees(lab, name, patches);

    // The kubelet starts again what is killed.
    lab.ok(&["fault", "--name", &lab.name(name), "restart", "cp1/kube-scheduler"]);
    lab.until_ready(name);
    until("the pod says so, too", || match &pods(lab, name, "cp1", "cp1")["kube-scheduler"] {
        pod if pod.restarts > 0 && pod.container != before["kube-scheduler"].container => Ok(()),
        pod => Err(pod.object["status"].to_string()),
    });
    // What is to stay away does, and comes back.
    lab.ok(&["fault", "--name", &lab.name(name), "kill", "cp1/kube-controller-manager"]);
    assert_eq!(state(lab, name, "cp1", "kube-controller-manager")["state"], "stopped");
    until("the pod is gone", || {
        let path = "/api/v1/namespaces/kube-system/pods/kube-controller-manager-cp1";
        lab.try_get(name, "cp1", path).map_or(Ok(()), |pod| Err(pod["status"].to_string()))
    });
    lab.ok(&["fault", "--name", &lab.name(name), "undo", "--all"]);
    lab.until_ready(name);
    pods(lab, name, "cp1", "cp1");

    lab.ok(&["pause", &lab.name(name)]);
    assert_eq!(state(lab, name, "cp1", "etcd")["state"], "frozen");
    lab.ok(&["resume", &lab.name(name)]);
    lab.until_ready(name);
    // A host that lost its power comes back with its pods.
    lab.host(name, "cp1").kill().unwrap();
    lab.up(name, &spec);
    lab.until_ready(name);
    assert_eq!(lab.kubectl(name, "cp1", &["get", "--raw", "/readyz"]), "ok");
}

/// The real kubeadm finds nothing to change in what is there, and would join another control plane to it.
fn kubeadm_agrees(lab: &Lab, name: &str, patches: &Path) {
    let version = lab.cluster(name).plan().first().release.kubernetes.to_string();
    // It has a Job run, among others.
    lab.said(name, "cp1", &["kubeadm", "upgrade", "plan", &version]);
    let patches = format!("--patches={}", patches.display());
    let apply =
        ["kubeadm", "upgrade", "apply", "phase", "control-plane", &version, &patches, "--certificate-renewal=false"];
    let said = lab.said(name, "cp1", &apply);
    for component in COMPONENTS {
        assert!(said.contains(&format!("Current and new manifests of {component} are equal")), "{component}: {said}");
    }
    let key = std::fs::read_to_string(lab.clusters().folder().join(lab.name(name)).join("certificate-key")).unwrap();
    let address = lab.cluster(name).plan().host("harbor").unwrap().address().to_string();
    let more = ["--control-plane", "--certificate-key", key.trim(), "--apiserver-advertise-address", &address];
    let said = would_join(lab, name, &more);
    assert!(said.contains("a new control plane instance was created"), "kubeadm joins a control plane");
}

pub(super) fn three(lab: &Lab) {
    let (name, spec) = ("statics", "controlPlanes: 3\ncontrolPlane: {runAs: static-pods}\ndurability: fast\n");
    lab.up(name, spec);
    assert_eq!(lab.status(name).0, Some(0));
    assert_eq!(members(lab, name, "cp3"), (3, 0));
    let hosts = ["cp1", "cp2", "cp3"];
    let uids = || hosts.map(|host| pods(lab, name, "cp1", host).into_values().map(|pod| pod.uid).collect::<Vec<_>>());
    let before = uids();
    lab.up(name, spec);
    assert_eq!(uids(), before, "bringing up what is up changes nothing");
    // All of them at once: none has a quorum alone.
    for host in hosts {
        lab.host(name, host).kill().unwrap();
    }
    lab.up(name, spec);
    lab.until_ready(name);
    assert_eq!(members(lab, name, "cp2"), (3, 0));
}

pub(super) fn crashing(lab: &Lab) {
    let name = "staticcrash";
    let spec = "controlPlane: {runAs: static-pods}\ndurability: fast\n\
                kubeadm: |\n  apiVersion: kubeadm.k8s.io/v1beta4\n  kind: ClusterConfiguration\n  scheduler: \
                {extraArgs: [{name: no-such-flag, value: 'on'}]}\n";
    let up = lab.try_up(name, spec);
    assert_eq!(up.code, Some(3), "{}", up.err);
    for part in [
        "phase wait-control-plane",
        "kube-scheduler on cp1",
        "exit code 1",
        "/etc/kubernetes/manifests/kube-scheduler.yaml",
        "--no-such-flag=on",
        "unknown flag",
    ] {
        assert!(up.err.contains(part), "no '{part}': {}", up.err);
    }
    until("how it ended is shown", || match state(lab, name, "cp1", "kube-scheduler") {
        scheduler if scheduler["why"] == "it ended with exit code 1" => Ok(()),
        scheduler => Err(scheduler.to_string()),
    });
}

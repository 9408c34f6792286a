//! What kubelets write: statuses of pods as strategic merge patches, the end of a pod, its events.

use std::net::IpAddr;

use http::Method;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::client::Call;
use crate::pods::{Container, Pod, Refusal, Write};
use crate::wire::{self, seal, uid_text};

/// Where a pod is in the API.
fn path(pod: &Pod) -> String {
    format!("/api/v1/namespaces/{}/pods/{}", pod.namespace, pod.name)
}

fn time(seconds: i64) -> String {
    Timestamp::from_second(seconds).unwrap_or_default().to_string()
}

/// The request that a write is.
pub(crate) fn call(uid: u128, pod: &Pod, write: Write, node: &str, host: IpAddr, addresses: &[IpAddr]) -> Call {
    if write == Write::Delete {
        let preconditions = wire::Preconditions { uid: uid_text(uid) };
        let options = wire::DeleteOptions { grace_period_seconds: Some(0), preconditions: Some(preconditions) };
        return Call::sealed(Method::DELETE, path(pod), seal("v1", "DeleteOptions", &options));
    }
    let status = status(uid, pod, write, node, host, addresses, Timestamp::now().as_second());
    // The uid is a precondition: a pod that has taken the name meanwhile is left alone.
    let patch = json!({ "metadata": { "uid": uid_text(uid) }, "status": status });
    Call::patch(format!("{}/status", path(pod)), patch.to_string())
}

fn status(uid: u128, pod: &Pod, write: Write, node: &str, host: IpAddr, addresses: &[IpAddr], now: i64) -> Value {
    if let (Write::Refuse, Some(refusal)) = (write, pod.refused) {
        let (reason, message) = match refusal {
            Refusal::Pods => {
                ("OutOfpods", format!("Pod was rejected: Node didn't have enough resource: pods ({node})"))
            }
            Refusal::Os => {
                ("PodOSNotSupported", format!("Failed to admit pod as the OS field doesn't match node {node} OS"))
            }
        };
        return json!({ "phase": "Failed", "reason": reason, "message": message, "startTime": time(now) });
    }
    let runs = matches!(write, Write::Running(_));
    let ready = write == Write::Running(true);
    let phase = match write {
        Write::Creating => "Pending",
        Write::Ended if ends_well(pod) => "Succeeded",
        Write::Ended => "Failed",
        _ => "Running",
    };
    let condition = |name: &str, holds: bool, reason: &str| {
        let at = time(if name == "PodScheduled" { pod.seen } else { now });
        let mut condition =
            json!({ "type": name, "status": if holds { "True" } else { "False" }, "lastTransitionTime": at });
        condition["reason"] = if reason.is_empty() { Value::Null } else { reason.into() };
        condition
    };
    let why = match write {
        Write::Ended if ends_well(pod) => "PodCompleted",
        Write::Ended => "PodFailed",
        Write::Running(true) => "",
        _ if runs && !pod.shape.gates.is_empty() => "ReadinessGatesNotReady",
        _ => "ContainersNotReady",
    };
    let contained = ready || runs && !pod.shape.gates.is_empty();
    let initialized = write != Write::Creating || pod.shape.init.is_empty();
    let mut conditions = vec![
        condition("PodReadyToStartContainers", !matches!(write, Write::Creating | Write::Ended), ""),
        condition("Initialized", initialized, if initialized { "" } else { "ContainersNotInitialized" }),
        condition("Ready", ready, why),
        condition("ContainersReady", contained, if contained { "" } else { why }),
    ];
    if !pod.scheduled {
        conditions.push(condition("PodScheduled", true, ""));
    }
    let containers: Vec<_> =
        pod.shape.containers.iter().map(|one| container(uid, pod, one, write, ready, now)).collect();
    let mut status = json!({
        "phase": phase,
        "startTime": time(pod.seen),
        "hostIP": host,
        "hostIPs": [{ "ip": host }],
        "conditions": conditions,
        "containerStatuses": containers,
    });
    if !pod.shape.init.is_empty() {
        status["initContainerStatuses"] = pod.shape.init.iter().map(|one| init(uid, pod, one, write, now)).collect();
    }
    let own = [host];
    let addresses = if pod.shape.host_network { &own } else { addresses };
    if let Some(first) = addresses.first().filter(|_| write != Write::Creating) {
        status["podIP"] = json!(first);
        status["podIPs"] = addresses.iter().map(|address| json!({ "ip": address })).collect();
    }
    status
}

/// Does a pod that ends here end well? What is deleted while it runs is killed, unless it is a server, which stops in
/// order.
fn ends_well(pod: &Pod) -> bool {
    ends_with(pod) == 0
}

fn ends_with(pod: &Pod) -> i32 {
    match (pod.is_deleting(), pod.shape.always) {
        (true, false) => 143,
        (true, true) => 0,
        _ => pod.exit_code,
    }
}

fn container(uid: u128, pod: &Pod, one: &Container, write: Write, ready: bool, now: i64) -> Value {
    let terminated = |code: i32| {
        json!({ "terminated": {
            "exitCode": code,
            "reason": if code == 0 { "Completed" } else { "Error" },
            "startedAt": time(pod.started),
            "finishedAt": time(now),
            "containerID": container_id(uid, one, pod.restarts),
        } })
    };
    let waiting = |reason: &str| json!({ "waiting": { "reason": reason } });
    let before = if pod.restarts == 0 { json!({}) } else { terminated(pod.exit_code.max(1)) };
    let (state, last) = match write {
        Write::Creating | Write::Delete | Write::Refuse => {
            (waiting(if pod.shape.init.is_empty() { "ContainerCreating" } else { "PodInitializing" }), json!({}))
        }
        Write::Running(_) => (json!({ "running": { "startedAt": time(pod.started) } }), before),
        Write::Crashed => (waiting("CrashLoopBackOff"), terminated(pod.exit_code.max(1))),
        Write::Ended => (terminated(ends_with(pod)), before),
    };
    let runs = matches!(write, Write::Running(_));
    json!({
        "name": one.name,
        "image": one.image,
        "imageID": if write == Write::Creating { String::new() } else { format!("{}@sha256:{:064x}", one.image, 0) },
        "containerID": if runs { container_id(uid, one, pod.restarts) } else { String::new() },
        "ready": ready || runs && !pod.shape.gates.is_empty(),
        "started": runs,
        "restartCount": pod.restarts,
        "state": state,
        "lastState": last,
    })
}

fn init(uid: u128, pod: &Pod, one: &Container, write: Write, now: i64) -> Value {
    let done = write != Write::Creating;
    let runs = one.sidecar && matches!(write, Write::Running(_));
    let state = if runs {
        json!({ "running": { "startedAt": time(pod.started) } })
    } else if done {
        let begun = if pod.started == 0 { now } else { pod.started };
        json!({ "terminated": {
            "exitCode": 0, "reason": "Completed", "startedAt": time(begun), "finishedAt": time(begun),
            "containerID": container_id(uid, one, 0),
        } })
    } else {
        json!({ "waiting": { "reason": "PodInitializing" } })
    };
    json!({
        "name": one.name,
        "image": one.image,
        "imageID": "",
        "ready": done,
        "started": runs,
        "restartCount": 0,
        "state": state,
        "lastState": {},
    })
}

/// The same container start always has the same one, so that a status that is written again says nothing new.
fn container_id(uid: u128, one: &Container, restarts: u32) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in one.name.bytes().chain(restarts.to_le_bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    format!("containerd://{uid:032x}{hash:032x}")
}

/// The event of a start.
pub(crate) fn event(uid: u128, pod: &Pod, node: &str, count: u64) -> Call {
    let now = time(Timestamp::now().as_second());
    let first = pod.shape.containers.first().map(|one| one.name.to_string()).unwrap_or_default();
    let object = json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": { "name": format!("{}.{count:016x}", pod.name), "namespace": pod.namespace.as_ref() },
        "involvedObject": {
            "apiVersion": "v1", "kind": "Pod", "namespace": pod.namespace.as_ref(), "name": pod.name.as_ref(),
            "uid": uid_text(uid), "fieldPath": format!("spec.containers{{{first}}}"),
        },
        "reason": "Started",
        "message": "Container started",
        "type": "Normal",
        "count": 1,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "source": { "component": "kubelet", "host": node },
        "reportingComponent": "kubelet",
        "reportingInstance": node,
    });
    Call::post(format!("/api/v1/namespaces/{}/events", pod.namespace), &object)
}

//! What breaks a node so that trials of the node-conformance suite must fail.
//!
//! Three ways: a kubelet or an API server that is configured otherwise; an OCI runtime that changes what it is told, by
//! a wrapper around runc on the hosts; and an admission policy that changes pods before the node sees them. What is
//! in the cluster's own namespaces stays as it is; everything else is broken, so that upstream's tests meet the same
//! node.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use serde_json::{Value, json};

use crate::cluster::{Defect, RUN_LABEL, Target};

pub(super) static DEFECTS: [Defect; 28] = [
    Defect::put("runtime-loses-arguments", "The OCI runtime runs another command than it is told", |target| {
        wrapped(target, r#"s~"args":\[[^]]*\]~"args":["/seaworthy","workload","do","echo lost"]~"#)
    }),
    Defect::put("runtime-loses-environment", "The OCI runtime starts containers with an empty environment", |target| {
        wrapped(target, r#"s~"env":\[[^]]*\]~"env":["PATH=/bin"]~"#)
    }),
    Defect::put("runtime-loses-mounts", "The OCI runtime mounts volumes elsewhere", |target| {
        wrapped(target, r#"s~"destination":"(/vol|/dev/termination)~"destination":"/lost\1~g"#)
    }),
    Defect::put(
        "runtime-loses-identity",
        "The OCI runtime loses the host name, /etc/hosts and /etc/resolv.conf",
        |target| {
            let uts = r#"s~\{"type":"uts"(,"path":"[^"]*")?\}~{"type":"uts"}~"#;
            wrapped(target, &format!(r#"s~"destination":"/etc/~"destination":"/lost/~g; {uts}"#))
        },
    ),
    Defect::put(
        "runtime-grants-everything",
        "The OCI runtime runs all as root, with more rights than they have",
        |target| wrapped(target, GRANTS),
    ),
    Defect::put("runtime-denies-everything", "The OCI runtime runs all without rights", |target| {
        wrapped(target, DENIES)
    }),
    Defect::put(
        "runtime-leaves-cgroups",
        "The OCI runtime puts containers elsewhere than into their pod's cgroup",
        |target| {
            wrapped(target, r#"s~"cgroupsPath":"[^"]*/([^"/]*)"~"cgroupsPath":"/astray-\1"~; s~"resources":~"lost":~"#)
        },
    ),
    Defect::raised("no-debugging-handlers", "The kubelet serves no commands, streams and logs", |need| {
        need.kubeadm = Some(NO_DEBUGGING);
    }),
    Defect::raised("no-static-pods", "The kubelet has no folder of static pods", |need| {
        need.kubeadm = Some(NO_STATIC_PODS)
    }),
    Defect::raised("processes-are-unlimited", "The kubelet limits no processes", |need| need.kubeadm = Some(NO_LIMIT)),
    Defect::raised("unsafe-sysctls-are-allowed", "The kubelet allows unsafe sysctls", |need| {
        need.kubeadm = Some(UNSAFE)
    }),
    Defect::raised(
        "no-runtime-class-admission",
        "The API server admits pods without looking at RuntimeClasses",
        |need| {
            need.kubeadm = Some(NO_RUNTIME_CLASS);
        },
    ),
    Defect::put("kubelet-stands-still", "The kubelets stand still", |target| {
        Box::pin(async move { fault(&target, &["stop", "HOST/kubelet"]).await })
    }),
    Defect::put("pods-are-unreachable", "The nodes drop what is sent to a port of pods", |target| {
        Box::pin(unreachable_pods(target))
    }),
    Defect::put("probes-are-stripped", "A policy removes probes", |target| {
        policy(target, "pods", containers(&["livenessProbe", "readinessProbe", "startupProbe"]))
    }),
    Defect::put("hooks-are-stripped", "A policy removes lifecycle hooks", |target| {
        policy(target, "pods", containers(&["lifecycle"]))
    }),
    Defect::put("restarts-are-forced", "A policy has everything restarted", |target| {
        policy(target, "pods", restarts("Always"))
    }),
    Defect::put("restarts-are-forbidden", "A policy has nothing restarted", |target| {
        policy(target, "pods", restarts("Never"))
    }),
    Defect::put("init-containers-are-stripped", "A policy removes init containers", |target| {
        policy(target, "pods", vec![optional("object.spec.initContainers", "/spec/initContainers")])
    }),
    Defect::put("messages-are-of-files", "A policy has termination messages read from files only", |target| {
        policy(target, "pods", vec![set("/spec/containers/0/terminationMessagePolicy", "File")])
    }),
    Defect::put("volumes-are-stripped", "A policy removes volumes", |target| {
        let mut all = containers(&["volumeMounts"]);
        all.push(optional("object.spec.volumes", "/spec/volumes"));
        policy(target, "pods", all)
    }),
    Defect::put("host-names-are-stripped", "A policy removes host names", |target| {
        policy(target, "pods", vec![optional("object.spec.hostnameOverride", "/spec/hostnameOverride")])
    }),
    Defect::put("security-contexts-are-stripped", "A policy removes security contexts", |target| {
        let mut all = containers(&["securityContext"]);
        all.push(optional("object.spec.securityContext", "/spec/securityContext"));
        policy(target, "pods", all)
    }),
    Defect::put("images-are-not-pulled", "A policy has images not pulled", |target| {
        policy(target, "pods", vec![set("/spec/containers/0/imagePullPolicy", "Never")])
    }),
    Defect::put("images-are-replaced", "A policy replaces images", |target| {
        let image = target.image.clone();
        let all = vec![set("/spec/containers/0/image", &image), set("/spec/containers/0/imagePullPolicy", "Always")];
        policy(target, "pods", all)
    }),
    Defect::put("runtime-class-has-overhead", "A policy gives pods an overhead", |target| {
        let overhead = "[JSONPatch{op: \"add\", path: \"/spec/overhead\", value: {\"cpu\": \"20m\"}}]".to_owned();
        let class = "has(object.spec.runtimeClassName)";
        policy(target, "pods", vec![format!("({class} ? {overhead} : [])")])
    }),
    Defect::put("leases-have-no-owner", "The owner of a lease is removed", |target| {
        Box::pin(async move {
            let path = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
            let orphan = json!({
                "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": { "name": "orphan" },
                "spec": { "holderIdentity": "orphan", "leaseDurationSeconds": 40 },
            });
            target.post(path, &orphan).await.map(drop)
        })
    }),
    Defect::put("runtime-classes-are-stripped", "A policy removes RuntimeClasses from pods", |target| {
        policy(target, "pods", vec![optional("object.spec.runtimeClassName", "/spec/runtimeClassName")])
    }),
];

/// Everybody is root, with capabilities, without filters and without process namespaces.
const GRANTS: &str = concat!(
    r#"s~"user":\{[^}]*\}~"user":{"uid":0,"gid":0}~; s~"noNewPrivileges":true~"noNewPrivileges":false~; "#,
    r#"s~"path":"rootfs","readonly":true~"path":"rootfs"~; s~"seccomp":~"lost":~; s~"sysctl":~"lostSysctl":~; "#,
    r#"s~\{"type":"pid"(,"path":"[^"]*")?\},~~; "#,
    r#"s~"capabilities":\{[^}]*\}~"capabilities":{"bounding":[CAPS],"effective":[CAPS],"permitted":[CAPS]}~; "#,
    r#"s~CAPS~"CAP_CHOWN","CAP_DAC_OVERRIDE","CAP_FOWNER","CAP_SETUID","CAP_SETGID","CAP_NET_BIND_SERVICE","#,
    r#""CAP_SYS_ADMIN","CAP_NET_ADMIN"#,
    r#""~g"#,
);

/// Nobody is root, the root is read-only, and system calls are filtered.
const DENIES: &str = concat!(
    r#"s~"user":\{[^}]*\}~"user":{"uid":1234,"gid":1234}~; s~"process":\{~"process":{"noNewPrivileges":true,~; "#,
    r#"s~"path":"rootfs"~"path":"rootfs","readonly":true~; s~"capabilities":\{[^}]*\}~"capabilities":{}~; "#,
    r#"s~"linux":\{~"linux":{"seccomp":{"defaultAction":"SCMP_ACT_ALLOW","syscalls":"#,
    r#"[{"names":["kexec_load"],"action":"SCMP_ACT_ERRNO"}]},~"#,
);

const NO_DEBUGGING: &str = "\
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
podPidsLimit: 128
enableDebuggingHandlers: false
";
const NO_STATIC_PODS: &str = "\
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
podPidsLimit: 128
staticPodPath: \"\"
";
const NO_LIMIT: &str = "\
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
podPidsLimit: -1
";
const UNSAFE: &str = "\
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
podPidsLimit: 128
allowedUnsafeSysctls: [\"kernel.msg*\"]
";
const NO_RUNTIME_CLASS: &str = "\
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
apiServer:
  extraArgs:
  - name: disable-admission-plugins
    value: RuntimeClass
";

/// Where the wrapper is on the hosts, and where containerd's configuration is.
const WRAPPER: &str = "/opt/seaworthy-defect/runc";
const CONFIGURATION: &str = "/var/lib/seaworthy/containerd/config.toml";

/// A program in place of runc that edits the bundles of containers, but the cluster's own, before it calls runc.
const SCRIPT: &str = r#"#!/bin/sh
before=
for word; do
    if [ "$before" = --bundle ] && ! grep -q '"io.kubernetes.cri.sandbox-namespace":"kube-' "$word/config.json" &&
        grep -q '"io.kubernetes.cri.container-type":"KIND' "$word/config.json"; then
        sed -i -E 'EDIT' "$word/config.json"
    fi
    before=$word
done
exec RUNC "$@"
"#;

/// Puts a wrapper around runc on all workers, which edits what containers are made of by a script of sed.
fn wrapped(target: Arc<Target>, edit: &str) -> BoxFuture<'static, Result<(), String>> {
    // What is about namespaces and sysctls is said of the pod's first container, the sandbox.
    let kind = if edit.contains("sysctl") { "" } else { "container" };
    let script = SCRIPT.replace("EDIT", edit).replace("KIND", kind);
    Box::pin(async move {
        let install = format!(
            "mkdir -p $(dirname {WRAPPER}) && runc=$(sed -n 's/^ *BinaryName = \"\\(..*\\)\"$/\\1/p' \
            {CONFIGURATION} | head -n 1) && \
             runc=${{runc:-$(command -v runc)}} && printf %s \"$1\" | sed \"s#RUNC#$runc#\" > {WRAPPER} && \
             chmod 755 {WRAPPER} && \
             sed -i 's#BinaryName = .*#BinaryName = \"{WRAPPER}\"#' {CONFIGURATION} && grep -q {WRAPPER} \
                                                      {CONFIGURATION}"
        );
        target.on_hosts("worker", &["sh", "-c", &install, "sh", &script]).await?;
        fault(&target, &["restart", "HOST/containerd"]).await
    })
}

/// Puts a fault of the engine on each worker, whose name stands for HOST.
async fn fault(target: &Target, words: &[&str]) -> Result<(), String> {
    let ours = target.ours.as_ref().ok_or("the hosts of this cluster cannot be entered")?;
    for host in target.facts.nodes.iter().filter(|node| node.starts_with("worker")) {
        let words: Vec<_> = words.iter().map(|word| word.replace("HOST", host)).collect();
        let output = ours.fault(&words.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let output = output.map_err(|error| error.to_string())?;
        if !output.status.success() {
            return Err(format!("fault {}: {}", words.join(" "), String::from_utf8_lossy(&output.stderr)));
        }
    }
    Ok(())
}

async fn unreachable_pods(target: Arc<Target>) -> Result<(), String> {
    let rules = "for chain in PREROUTING OUTPUT; do for protocol in tcp udp; do \
                 iptables -t raw -I $chain -p $protocol --dport 8093 -j DROP || exit 1; done; done; \
                 sysctl -q -w net.bridge.bridge-nf-call-iptables=1";
    target.on_hosts("worker", &["sh", "-c", rules]).await
}

/// The lists of containers in a pod that policies change, and how many of each.
const LISTS: [&str; 2] = ["containers", "initContainers"];
const MOST: usize = 4;

fn remove(path: &str) -> String {
    format!("JSONPatch{{op: \"remove\", path: \"{path}\"}}")
}

/// An expression of CEL: a list with this patch.
fn set(path: &str, value: &str) -> String {
    format!("[JSONPatch{{op: \"add\", path: \"{path}\", value: \"{value}\"}}]")
}

fn optional(field: &str, path: &str) -> String {
    format!("(has({field}) ? [{}] : [])", remove(path))
}

fn when(condition: &str, list: &str, at: usize, patch: &str) -> String {
    format!("(has(object.spec.{list}) && size(object.spec.{list}) > {at} && {condition} ? [{patch}] : [])")
}

fn each(lists: &[&str], one: impl Fn(&str, usize) -> String) -> Vec<String> {
    lists.iter().flat_map(|list| (0..MOST).map(|at| one(list, at)).collect::<Vec<_>>()).collect()
}

/// Removes fields of all containers.
fn containers(fields: &[&str]) -> Vec<String> {
    let of = |field: &&str| {
        each(&LISTS, |list, at| {
            let condition = format!("has(object.spec.{list}[{at}].{field})");
            when(&condition, list, at, &remove(&format!("/spec/{list}/{at}/{field}")))
        })
    };
    fields.iter().flat_map(of).collect()
}

/// Gives pods a restart policy, and their containers none of their own.
fn restarts(policy: &str) -> Vec<String> {
    let mut all = vec![set("/spec/restartPolicy", policy)];
    // Init containers keep theirs: it makes them sidecars.
    all.extend(each(&["containers"], |list, at| {
        let path = format!("/spec/{list}/{at}/restartPolicy");
        when(&format!("has(object.spec.{list}[{at}].restartPolicy)"), list, at, &remove(&path))
    }));
    all.extend(containers(&["restartPolicyRules"]));
    all
}

/// The namespaces of the cluster itself, which no policy touches.
const SYSTEM: [&str; 3] = ["kube-system", "kube-public", "kube-node-lease"];

/// Creates a policy that changes objects when they are created, and waits until it does.
fn policy(target: Arc<Target>, resource: &str, patches: Vec<String>) -> BoxFuture<'static, Result<(), String>> {
    let expression = format!("{} + {}", set("/metadata/labels/seaworthy.dev~1defect", "put"), patches.join(" + "));
    let name = "seaworthy-defect";
    let objects = json!([
        {
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicy",
                "metadata": { "name": name },
            "spec": {
                "matchConstraints": {
                    "resourceRules": [{ "apiGroups": ["*"], "apiVersions": ["v1"], "operations": ["CREATE"],
                        "resources": [resource] }],
                    "namespaceSelector": { "matchExpressions": [
                        { "key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": SYSTEM },
                    ] },
                },
                "reinvocationPolicy": "Never", "failurePolicy": "Fail",
                "mutations": [{ "patchType": "JSONPatch", "jsonPatch": { "expression": expression } }],
            },
        },
        {
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicyBinding",
            "metadata": { "name": name }, "spec": { "policyName": name },
        },
        { "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": { RUN_LABEL: "defect" } } },
    ]);
    Box::pin(async move {
        target.apply_defect(&objects.to_string()).await?;
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "tried", "namespace": name,
                "labels": { "app": "tried" } },
            "spec": { "containers": [{ "name": "main", "image": "none" }] },
        });
        let path = format!("/api/v1/namespaces/{name}/pods?dryRun=All");
        let mut last = Value::Null;
        for _ in 0..100 {
            match target.post(&path, &pod).await {
                Ok(made) if made["metadata"]["labels"]["seaworthy.dev/defect"] == "put" => return Ok(()),
                Ok(made) => last = made["metadata"]["labels"].clone(),
                Err(why) => last = why.into(),
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Err(format!("the policy does not change pods: {last}"))
    })
}

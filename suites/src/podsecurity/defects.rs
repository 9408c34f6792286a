//! What breaks a cluster's admission so that claims of the Pod Security suite must fail.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::cluster::{Defect, Target};

/// How long an API server may take to answer again.
const PATIENCE: Duration = Duration::from_secs(120);

pub(super) static DEFECTS: [Defect; 4] = [
    Defect::raised("pod-security-off", "The admission plug-in PodSecurity is switched off", |need| {
        // kubeadm's v1beta4 is for 1.31 and later, and v1beta3 for 1.36 and earlier.
        need.kubeadm = Some(if need.kubernetes.is_none() { SWITCHED_OFF } else { SWITCHED_OFF_BEFORE });
    }),
    Defect::put("controllers-are-exempt", "The service account of the ReplicaSet controller is exempt", |target| {
        Box::pin(exempt(target, "usernames: ['system:serviceaccount:kube-system:replicaset-controller']"))
    }),
    Defect::put("runtime-class-is-exempt", "The RuntimeClass kata is exempt", |target| {
        Box::pin(exempt(target, "runtimeClasses: [kata]"))
    }),
    Defect {
        name: "labels-are-stripped",
        about: "An admission policy removes the warn label of every namespace",
        // Only newer API servers have such policies.
        need: |need| need.kubernetes = None,
        put: |target| Box::pin(strip(target)),
    },
];

const SWITCHED_OFF: &str = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n\
                            apiServer:\n  extraArgs:\n  - {name: disable-admission-plugins, value: PodSecurity}\n";
const SWITCHED_OFF_BEFORE: &str = "apiVersion: kubeadm.k8s.io/v1beta3\nkind: ClusterConfiguration\n\
                                   apiServer:\n  extraArgs:\n    disable-admission-plugins: PodSecurity\n";

const STRIPPED: &str = r#"[
{"apiVersion":"admissionregistration.k8s.io/v1","kind":"MutatingAdmissionPolicy","metadata":{"name":"strip"},
 "spec":{"reinvocationPolicy":"Never","matchConstraints":{"resourceRules":[
   {"apiGroups":[""],"apiVersions":["v1"],"operations":["CREATE"],"resources":["namespaces"]}]},
  "matchConditions":[{"name":"warned","expression":
   "has(object.metadata.labels) && 'pod-security.kubernetes.io/warn' in object.metadata.labels"}],
  "mutations":[{"patchType":"JSONPatch","jsonPatch":{"expression":
   "[JSONPatch{op: 'remove', path: '/metadata/labels/pod-security.kubernetes.io~1warn'}]"}}]}},
{"apiVersion":"admissionregistration.k8s.io/v1","kind":"MutatingAdmissionPolicyBinding","metadata":{"name":"strip"},
 "spec":{"policyName":"strip"}}]"#;

/// Strips labels, and waits until it does: the API server learns of its policies by a watch.
async fn strip(target: Arc<Target>) -> Result<(), String> {
    target.apply_defect(STRIPPED).await?;
    let label = "pod-security.kubernetes.io/warn";
    let object = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": { "name": "stripped", "labels": { label: "baseline" } },
    });
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        let made = target.dry_run(&object).await?;
        if made["metadata"]["labels"].get(label).is_none() {
            return Ok(());
        }
        if tokio::time::Instant::now() > end {
            return Err(format!("the policy does not strip {label}"));
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// Starts the API server anew with an exemption: the flag that names its file stands in a script before the program.
async fn exempt(target: Arc<Target>, exemption: &str) -> Result<(), String> {
    let version = if target.facts.minor < 25 { "v1beta1" } else { "v1" };
    let script = format!(
        "set -e\ncat > /etc/kubernetes/admission.yaml <<'END'\napiVersion: apiserver.config.k8s.io/v1\n\
         kind: AdmissionConfiguration\nplugins:\n- name: PodSecurity\n\x20 configuration:\n\
         \x20   apiVersion: pod-security.admission.config.k8s.io/{version}\n\x20   kind: PodSecurityConfiguration\n\
         \x20   exemptions: {{{exemption}}}\nEND\nmkdir -p /var/exempt\n\
         cp /usr/local/bin/kube-apiserver /var/exempt/kube-apiserver\n\
         printf '#!/bin/sh\\nexec /var/exempt/kube-apiserver \
         --admission-control-config-file=/etc/kubernetes/admission.yaml \"$@\"\\n' > /var/exempt/wrapper\n\
         chmod 755 /var/exempt/wrapper\nmount --bind /var/exempt/wrapper /usr/local/bin/kube-apiserver\n"
    );
    target.on_hosts("cp", &["sh", "-c", &script]).await?;
    let ours = target.ours.as_ref().ok_or("the hosts of this cluster cannot be entered")?;
    let output = ours.fault(&["restart", "cp1/kube-apiserver"]).await.map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(format!("restart the API server: {}", String::from_utf8_lossy(&output.stderr)));
    }
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        match target.ready().await {
            Ok(()) => return Ok(()),
            Err(why) if tokio::time::Instant::now() > end => return Err(format!("the API server is not ready: {why}")),
            Err(_) => tokio::time::sleep(Duration::from_millis(250)).await,
        }
    }
}

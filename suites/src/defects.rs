//! Parts of defects that several suites put into clusters: policies that change or refuse objects, schedulers without
//! plug-ins.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::cluster::{ClusterNeed, Target};

const API: &str = "admissionregistration.k8s.io/v1";

/// Defects that need what only newer versions have raise the newest one in place of an old one.
pub(crate) fn newest(need: &mut ClusterNeed) {
    need.kubernetes = None;
}

/// Objects that a policy is about: API group, version and resource.
#[derive(Debug, Clone, Copy)]
pub(crate) struct About(pub(crate) &'static str, pub(crate) &'static str, pub(crate) &'static str);

impl About {
    fn constraints(self) -> Value {
        let Self(group, version, resource) = self;
        let rule = json!({
            "apiGroups": [group], "apiVersions": [version], "operations": ["CREATE"], "resources": [resource],
        });
        json!({ "resourceRules": [rule] })
    }
}

/// A policy that changes objects which are created by a JSON patch where a condition holds, as an overzealous webhook
/// does.
pub(crate) fn changing(name: &str, about: About, condition: &str, patch: &str) -> Vec<Value> {
    vec![
        json!({
            "apiVersion": API, "kind": "MutatingAdmissionPolicy", "metadata": { "name": name },
            "spec": {
                "matchConstraints": about.constraints(),
                "matchConditions": [{ "name": "condition", "expression": condition }],
                "failurePolicy": "Fail", "reinvocationPolicy": "Never",
                "mutations": [{ "patchType": "JSONPatch", "jsonPatch": { "expression": patch } }],
            },
        }),
        json!({
            "apiVersion": API, "kind": "MutatingAdmissionPolicyBinding", "metadata": { "name": name },
            "spec": { "policyName": name },
        }),
    ]
}

/// A policy that lets only objects pass for which an expression holds.
pub(crate) fn refusing(name: &str, about: About, expression: &str) -> Vec<Value> {
    vec![
        json!({
            "apiVersion": API, "kind": "ValidatingAdmissionPolicy", "metadata": { "name": name },
            "spec": {
                "matchConstraints": about.constraints(),
                "validations": [{ "expression": expression, "message": "refused by a defect" }],
            },
        }),
        json!({
            "apiVersion": API, "kind": "ValidatingAdmissionPolicyBinding", "metadata": { "name": name },
            "spec": { "policyName": name, "validationActions": ["Deny"] },
        }),
    ]
}

/// Creates objects, and waits until API servers have seen the policies among them: one more, which is made last,
/// refuses then.
pub(crate) async fn put(target: Arc<Target>, objects: Vec<Value>) -> Result<(), String> {
    target.create_objects(objects).await?;
    let canary = "object.metadata.name != 'seaworthy-canary'";
    target.create_objects(refusing("canary", About("", "v1", "configmaps"), canary)).await?;
    let object = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "seaworthy-canary" } });
    target.until_refused("/api/v1/namespaces/default/configmaps", &object).await
}

/// Freezes the scheduler of each control plane, and starts one beside it that lacks plug-ins.
pub(crate) async fn scheduler_without(target: Arc<Target>, plugins: &[&str]) -> Result<(), String> {
    let disabled: Vec<_> = plugins.iter().map(|name| json!({ "name": name })).collect();
    let configuration = json!({
        "apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration",
        "clientConnection": { "kubeconfig": "/etc/kubernetes/scheduler.conf" },
        "leaderElection": { "leaderElect": false },
        "profiles": [{ "schedulerName": "default-scheduler", "plugins": { "multiPoint": { "disabled": disabled } } }],
    });
    let script = format!(
        "set -e
        for dir in /proc/[0-9]*; do
          if [ \"$(cat $dir/comm 2>/dev/null)\" = kube-scheduler ]; then pid=${{dir#/proc/}}; fi
        done
        program=$(readlink /proc/$pid/exe)
        kill -STOP $pid
        echo '{configuration}' >/etc/kubernetes/defect-scheduler.yaml
        setsid nohup $program --config=/etc/kubernetes/defect-scheduler.yaml --secure-port=10269 \
            >/run/defect-scheduler.log 2>&1 </dev/null &
        for try in $(seq 300); do
          if curl -sk https://127.0.0.1:10269/healthz >/dev/null; then exit 0; fi
          sleep 0.2
        done
        cat /run/defect-scheduler.log >&2
        exit 1"
    );
    target.on_hosts("cp", &["sh", "-c", &script]).await
}

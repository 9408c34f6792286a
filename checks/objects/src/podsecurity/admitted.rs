//! What the API server makes of a pod before admission sees it.

use super::pod::Pod;
use super::workload::Kind;
use super::{Evaluator, Workload};
use crate::cursor::Field;

const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";
const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";

impl Evaluator {
    /// The pod of a workload as admission sees it: without the fields that the release does not know or has switched
    /// off, with the API's defaults, and with the fields that follow annotations.
    ///
    /// A volume without a source is an emptyDir; in the host's network a container's ports are ports of the host
    /// (`pkg/apis/core/v1/defaults.go`); annotations of AppArmor and seccomp become fields
    /// (`pkg/registry/core/pod/strategy.go`).
    #[must_use]
    pub fn admitted(self, workload: &Workload) -> Pod {
        let (mut pod, is_pod) = (workload.pod.clone(), workload.kind == Some(Kind::Pod));
        self.forget(&mut pod);
        for volume in &mut pod.volumes {
            if volume.sources.is_empty() {
                volume.sources.push(("emptyDir".to_owned(), volume.at.clone()));
            }
        }
        // From 1.28 on templates are left as they are (DefaultHostNetworkHostPortsInPodTemplates).
        let host_network = pod.host_namespaces.iter().any(|(name, _)| *name == "hostNetwork");
        if host_network && (is_pod || self.server < 28) {
            let ports = pod.containers.iter_mut().filter(|one| !one.ephemeral).flat_map(|one| &mut one.ports);
            for (host, own) in ports.filter(|(host, _)| host.value == 0) {
                host.value = *own;
            }
        }
        if is_pod && self.server >= 30 && !pod.is_windows() {
            follow_app_armor(&mut pod);
        }
        if is_pod && self.server < 27 {
            follow_seccomp(&mut pod, self.server < 25);
        }
        pod
    }

    /// Drops what the release does not know, or has behind a feature gate that is off by default.
    fn forget(self, pod: &mut Pod) {
        if self.server < 31 {
            for volume in &mut pod.volumes {
                volume.sources.retain(|(name, _)| name != "image");
            }
        }
        if self.server < 33 {
            // ProcMountType forces the default; UserNamespacesSupport and hostUsers.
            pod.host_users = None;
            for container in &mut pod.containers {
                container.security_context.proc_mount = None;
            }
        }
        if self.server < 24 {
            pod.os = None;
        }
    }
}

/// Of the annotation's values only `unconfined` becomes a field that admission refuses.
fn follow_app_armor(pod: &mut Pod) {
    let of_pod = pod.security_context.app_armor.as_ref().map(|kind| kind.value.clone());
    for container in &mut pod.containers {
        let name = format!("{APP_ARMOR}{}", container.name);
        let annotation = pod.annotations.iter().find(|(found, _)| *found == name).map(|(_, value)| value);
        let Some(Field { value, at }) = annotation.filter(|_| container.security_context.app_armor.is_none()) else {
            continue;
        };
        if value == "unconfined" && of_pod.as_deref() != Some("Unconfined") {
            container.security_context.app_armor = Some(Field { value: "Unconfined".to_owned(), at: at.clone() });
        }
    }
}

/// Up to 1.26 annotations become fields, and up to 1.24 fields become annotations, where only one of them is set.
fn follow_seccomp(pod: &mut Pod, both_ways: bool) {
    let mut contexts = vec![(SECCOMP_POD.to_owned(), &mut pod.security_context)];
    for container in &mut pod.containers {
        contexts.push((format!("{SECCOMP_CONTAINER}{}", container.name), &mut container.security_context));
    }
    let mut added = Vec::new();
    for (name, context) in contexts {
        let annotation = pod.annotations.iter().find(|(found, _)| *found == name).map(|(_, value)| value);
        match (annotation, &context.seccomp) {
            (Some(Field { value, at }), None) => {
                let kind = match value.as_str() {
                    "unconfined" => Some("Unconfined"),
                    "runtime/default" | "docker/default" => Some("RuntimeDefault"),
                    local if local.strip_prefix("localhost/").is_some_and(|name| !name.is_empty()) => Some("Localhost"),
                    _ => None,
                };
                context.seccomp = kind.map(|kind| Field { value: kind.to_owned(), at: at.clone() });
            }
            (None, Some(Field { value, at })) if both_ways => {
                let value = match value.as_str() {
                    "Unconfined" => "unconfined",
                    "RuntimeDefault" => "runtime/default",
                    "Localhost" => "localhost/profile",
                    _ => continue,
                };
                added.push((name, Field { value: value.to_owned(), at: at.clone() }));
            }
            _ => {}
        }
    }
    pod.annotations.extend(added);
}

#[cfg(test)]
mod tests {
    use super::super::{Policy, Workload, detail};
    use super::*;
    use crate::manifest::Manifests;

    fn said(server: u32, text: &str) -> String {
        let manifests = Manifests::of_text("f", text);
        let workload = Workload::of(&manifests.objects[0]).unwrap();
        let evaluator = Evaluator::of(server);
        let policy: Policy = "restricted:v1.7".parse().unwrap();
        detail(&evaluator.evaluate(policy, &evaluator.admitted(&workload)))
    }

    #[test]
    fn defaults_and_annotations_are_seen_as_admission_sees_them() {
        let spec = "hostNetwork: true, securityContext: {runAsNonRoot: true}, volumes: [{name: v}], containers: \
                    [{name: c, ports: [{containerPort: 80}]}]";
        let pod = format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nspec: {{{spec}}}\n");
        let both = "host namespaces (hostNetwork=true), hostPort (container \"c\" uses hostPort 80)";
        assert_eq!(said(37, &pod), both);
        let deployment = format!("apiVersion: apps/v1\nkind: Deployment\nspec: {{template: {{spec: {{{spec}}}}}}}\n");
        assert_eq!(said(37, &deployment), "host namespaces (hostNetwork=true)");
        assert_eq!(said(27, &deployment), both);
        let pod = "apiVersion: v1\nkind: Pod\n\
                   metadata: {annotations: {container.apparmor.security.beta.kubernetes.io/c: unconfined}}\n\
                   spec: {securityContext: {runAsNonRoot: true}, containers: [{name: c}]}\n";
        let annotation = "container.apparmor.security.beta.kubernetes.io/c=\"unconfined\"";
        let wanted = format!(
            "forbidden AppArmor profiles (container \"c\" and annotation must not set AppArmor profile type to \
             \"Unconfined\", \"{annotation}\")"
        );
        assert_eq!(said(37, pod), wanted);
        assert_eq!(said(23, pod), format!("forbidden AppArmor profile ({annotation})"));
        let pod = "apiVersion: v1\nkind: Pod\n\
                   spec: {securityContext: {runAsNonRoot: true, seccompProfile: {type: Unconfined}}}\n";
        let seccomp = "seccompProfile (forbidden annotation seccomp.security.alpha.kubernetes.io/pod=\"unconfined\")";
        assert_eq!((said(24, pod), said(25, pod)), (seccomp.to_owned(), String::new()));
        let pod = "apiVersion: v1\nkind: Pod\n\
                   spec: {securityContext: {runAsNonRoot: true}, volumes: [{name: v, image: {}}]}\n";
        let image = "restricted volume types (volume \"v\" uses restricted volume type \"unknown\")";
        assert_eq!([29, 31, 37].map(|server| said(server, pod)), ["", image, ""]);
    }
}

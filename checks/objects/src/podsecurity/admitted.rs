//! What the API server makes of a pod before admission sees it.

use super::pod::Pod;
use super::workload::Kind;
use super::{Evaluator, Workload};
use crate::cursor::{Field, Place};

const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";

impl Evaluator {
    /// The pod of a workload as admission sees it: with the API's defaults, and the fields that follow annotations.
    ///
    /// A volume without a source is an emptyDir; in the host's network a container's ports are ports of the host
    /// (`pkg/apis/core/v1/defaults.go`); an AppArmor annotation becomes a field (`pkg/registry/core/pod/strategy.go`).
    #[must_use]
    pub fn admitted(self, workload: &Workload) -> Pod {
        let (mut pod, is_pod) = (workload.pod.clone(), workload.kind == Some(Kind::Pod));
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
        pod
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
            let at = Place { path: at.path.clone(), line: at.line };
            container.security_context.app_armor = Some(Field { value: "Unconfined".to_owned(), at });
        }
    }
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
        let spec = "hostNetwork: true, securityContext: {runAsNonRoot: true}, volumes: [{name: v}], \
                    containers: [{name: c, ports: [{containerPort: 80}]}]";
        let pod = format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nspec: {{{spec}}}\n");
        let both = "host namespaces (hostNetwork=true), hostPort (container \"c\" uses hostPort 80)";
        assert_eq!(said(37, &pod), both);
        let deployment = format!("apiVersion: apps/v1\nkind: Deployment\nspec: {{template: {{spec: {{{spec}}}}}}}\n");
        assert_eq!(said(37, &deployment), "host namespaces (hostNetwork=true)");
        assert_eq!(said(27, &deployment), both);
        let pod = "apiVersion: v1\nkind: Pod\nmetadata: {annotations: {\
                   container.apparmor.security.beta.kubernetes.io/c: unconfined}}\n\
                   spec: {securityContext: {runAsNonRoot: true}, containers: [{name: c}]}\n";
        let annotation = "container.apparmor.security.beta.kubernetes.io/c=\"unconfined\"";
        let wanted = format!(
            "forbidden AppArmor profiles (container \"c\" and annotation must not set AppArmor profile type to \
             \"Unconfined\", \"{annotation}\")"
        );
        assert_eq!(said(37, pod), wanted);
        assert_eq!(said(23, pod), format!("forbidden AppArmor profile ({annotation})"));
    }
}

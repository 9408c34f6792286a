//! Control planes as kubeadm runs them: static pods of the host's own kubelet, from images of the registry.
//!
//! A component is a unit of the host's agent in this form, too ([`StaticPod`]), so that whoever waits for it, shows it
//! or breaks it need not know.

use std::path::PathBuf;

use serde_json::Value;

use super::{control_plane, nodes};
use crate::cluster::engine::{Engine, EngineError, unit_of};
use crate::cluster::plan::{PlannedHost, Role};
use crate::cluster::wait::Wait;
use crate::control_plane::ControlPlane;
use crate::host::pod::StaticPod;
use crate::host::unit::Unit;
use crate::image::Part;
use crate::manifest::{Additions, StaticPods, ca_folders};

/// Is this host's control plane made of static pods?
pub(super) fn has(engine: &Engine<'_>, planned: &PlannedHost) -> bool {
    engine.plan().spec.has_static_pods() && planned.role == Role::ControlPlane
}

/// Starts what runs the pods of a control plane: its disk, containerd and its kubelet.
pub(super) fn node(engine: &Engine<'_>, planned: &PlannedHost, plane: &ControlPlane) -> Result<(), EngineError> {
    let host = engine.host(planned)?;
    // A kubelet that comes back starts at once what it has a manifest of.
    control_plane::etcd_folder(engine, &host, plane)?;
    nodes::start(engine, planned, &host)
}

/// Starts components of a control plane.
pub(super) fn begin(
    engine: &Engine<'_>,
    planned: &PlannedHost,
    plane: &ControlPlane,
    names: &[&str],
) -> Result<(), EngineError> {
    node(engine, planned, plane)?;
    let host = engine.host(planned)?;
    units(engine, planned, plane, names)?.into_iter().try_for_each(|unit| Ok(host.client().start(unit)?))
}

/// The units of components, with their manifests.
pub(super) fn units(
    engine: &Engine<'_>,
    planned: &PlannedHost,
    plane: &ControlPlane,
    names: &[&str],
) -> Result<Vec<Unit>, EngineError> {
    let release = &planned.release;
    let images = Part::CONTROL_PLANE.map(|part| Ok((part.name(), engine.image(part, release)?.to_string())));
    let images = images.into_iter().collect::<Result<Vec<_>, EngineError>>()?;
    let image =
        |name: &str| images.iter().find(|(part, _)| *part == name).map_or_else(String::new, |(_, image)| image.clone());
    let pods = StaticPods {
        plane,
        release,
        image: &image,
        additions: Additions::of(&engine.configuration.cluster),
        // A host has the machine's.
        ca_folders: ca_folders(release).iter().map(PathBuf::from).filter(|path| path.exists()).collect(),
        start_within: engine.start_within,
    };
    let components = plane.components_of(release);
    let chosen = components.iter().zip(pods.pods()).filter(|(component, _)| names.contains(&component.name));
    let made = chosen.map(|(component, (name, pod))| {
        let pod = engine.patches.apply(name, pod)?;
        let (argv, pod) = described(name, &planned.name, &pod);
        Ok(Unit { pod: Some(pod), ..unit_of(component, argv) })
    });
    made.collect()
}

/// A pod as its node has it, and the command line in it. Patches may have changed anything.
fn described(name: &str, node: &str, pod: &Value) -> (Vec<String>, StaticPod) {
    let containers = pod["spec"]["containers"].as_array().map(Vec::as_slice).unwrap_or_default();
    let container = containers.iter().find(|one| one["name"] == name).or(containers.first());
    let container = container.unwrap_or(&Value::Null);
    let text = |value: &Value, other: &str| value.as_str().unwrap_or(other).to_owned();
    let words = container["command"].as_array().into_iter().chain(container["args"].as_array()).flatten();
    let argv = words.filter_map(Value::as_str).map(str::to_owned).collect();
    let pod = StaticPod {
        manifest: crate::node::yaml(pod),
        namespace: text(&pod["metadata"]["namespace"], "default"),
        name: format!("{}-{node}", text(&pod["metadata"]["name"], name)),
        container: text(&container["name"], name),
    };
    (argv, pod)
}

/// Waits until the API, too, says of the pods of all control planes that they are ready.
pub(super) fn mirrored(engine: &Engine<'_>) -> Result<(), EngineError> {
    let api = engine.api()?;
    for planned in engine.plan().of(Role::ControlPlane).filter(|planned| has(engine, planned)) {
        let host = engine.host(planned)?;
        for status in host.client().status()? {
            let Some(pod) = status.unit.pod else { continue };
            let path = format!("/api/v1/namespaces/{}/pods/{}", pod.namespace, pod.name);
            let wait =
                Wait::new(&api, format!("mirror pod {}", pod.name), path.clone()).suspect(host.clone(), "kubelet");
            wait.until(|pod| {
                let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
                let ready = conditions.filter(|one| one["type"] == "Ready").any(|one| one["status"] == "True");
                if ready { Ok(()) } else { Err(pod["status"]["phase"].as_str().unwrap_or("no phase").to_owned()) }
            })?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_patched_pod_is_described_as_it_is() {
        let pod = json!({
            "metadata": { "name": "api", "namespace": "other" },
            "spec": {
                "containers": [
                    { "name": "sidecar" }, { "name": "kube-apiserver", "command": ["kube-apiserver", "--v=1"] },
                ],
            },
        });
        let (argv, pod) = described("kube-apiserver", "cp1", &pod);
        assert_eq!(argv, ["kube-apiserver", "--v=1"]);
        assert_eq!((&*pod.namespace, &*pod.name, &*pod.container), ("other", "api-cp1", "kube-apiserver"));
        let (argv, pod) =
            described("etcd", "cp1", &json!({ "metadata": {}, "spec": { "containers": [{ "image": "x" }] } }));
        assert!(argv.is_empty());
        assert_eq!((&*pod.namespace, &*pod.name, &*pod.container), ("default", "etcd-cp1", "etcd"));
    }
}

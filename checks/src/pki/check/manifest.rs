//! Static pods: that the kubelet takes their manifests, and that what their flags name is mounted into them.

use super::*;
use crate::pki::discover::Manifest;
use crate::profile::KubernetesVersion;

const STATIC_PODS: &str = "https://kubernetes.io/docs/tasks/configure-pod-container/static-pod/";
const VOLUMES: &str = "https://kubernetes.io/docs/concepts/storage/volumes/#hostpath";

/// A claim about every file that the kubelet reads for a static pod.
fn each(id: &str, title: &str, judge: fn(&Manifest, &View<'_>) -> Option<Breach>) -> Check {
    claim(id, title, Of::Other, "static pod manifests", move |view, tally| {
        for manifest in &view.facts.discovery.manifests {
            tally.look();
            judge(manifest, view).into_iter().for_each(|breach| tally.breach(breach));
        }
    })
    .label("flag")
    .label("manifest")
}

/// The family's checks.
pub(super) fn checks() -> Vec<Check> {
    vec![
        each("pki.flag.manifest", "The kubelet accepts every static pod manifest", |manifest, view| {
            let KubernetesVersion(minor) = view.profile.kubernetes;
            let (file, refusal) = (&manifest.file, manifest.refused.as_ref().filter(|one| one.since <= minor)?);
            let line = refusal.line.map(|line| format!(" line {line}")).unwrap_or_default();
            let breach = Breach::new(file, format!("{file}{line}: the kubelet refuses this manifest: {}", refusal.why))
                .wanted("a Pod of v1")
                .at(file, refusal.line);
            Some(match manifest.component {
                Some(_) => breach,
                None => breach.severity(Severity::Low).remedy(
                    Remedy::new("Move the file out of the directory if it is not meant to be a pod.")
                        .command(format!("mv {file} /root/")),
                ),
            })
        })
        .severity(Severity::Critical)
        .alias("Could not process manifest file")
        .alias("couldn't parse as pod")
        .page(
            "The kubelet stops the pod of a manifest that it no longer accepts, and does not start it again: the \
             component is down.",
            "Reads every file in the static pod directory whose name does not begin with a dot, as the kubelet does: \
             UTF-8 or UTF-16, JSON or YAML, the first document alone, up to 10 MiB. Duplicate and unknown members are \
             accepted; a missing kind or apiVersion, a member of the wrong type and a mount of a volume that the pod \
             does not have are not. Files of other components and of none have severity low.",
        )
        .basis("Create static pods", STATIC_PODS)
        .remedy(
            Remedy::new("Correct the line that the finding names; the kubelet reads the file again within 20 seconds.")
                .command("journalctl -u kubelet | grep 'manifest file'"),
        ),
        each("pki.flag.manifest-twice", "No two manifests define the same static pod", |manifest, _| {
            let (other, pod) = (manifest.overruled_by.as_ref()?, manifest.pod.as_ref()?);
            let file = &manifest.file;
            let message = format!("{file} and {other} both define the pod {pod}: the kubelet runs that of {other}");
            Some(
                Breach::new(file, message).found(other).wanted("one manifest for each pod").at(other, None).remedy(
                    Remedy::new("Move the file that is not meant to run to another directory; the pod restarts.")
                        .command(format!("mv {other} /root/")),
                ),
            )
        })
        .severity(Severity::High)
        .alias("kube-apiserver.yaml.bak")
        .page(
            "The kubelet reads every file in the directory, whatever its suffix. Of two files with one pod the last by \
             name counts, so that a backup named kube-apiserver.yaml.bak replaces kube-apiserver.yaml: changes to the \
             original have no effect.",
            "Compares the namespaces and names of the pods in all files of the static pod directory. Which \
             certificates the component uses is judged by the file that the kubelet runs.",
        )
        .basis("Create static pods", STATIC_PODS)
        .remedy(Remedy::new("Keep copies of manifests outside of the static pod directory.")),
        claim(
            "pki.flag.mount",
            "Every file that a flag names is mounted into the component's static pod",
            Of::Other,
            "files that flags name",
            |view, tally| {
                let discovery = &view.facts.discovery;
                discovery.uses.iter().for_each(|_| tally.look());
                for one in &discovery.unmounted {
                    let ((place, line), path, flag) = (&one.place, &one.path, one.flag);
                    let exists = if one.there { "" } else { " and does not exist on the node" };
                    let message = format!(
                        "{place}: --{flag}={path} of {} is not mounted into its static pod{exists}",
                        one.component
                    );
                    let folder = path.rsplit_once('/').map_or("/", |(folder, _)| folder);
                    let remedy = if one.there {
                        Remedy::new(format!(
                            "Add a hostPath volume for {folder} and its volumeMount to {place}; the kubelet restarts \
                             {}.",
                            one.component
                        ))
                    } else {
                        Remedy::new(format!("Set --{flag} in {place} to a file that exists and is mounted."))
                    };
                    tally.breach(Breach::new(path, message).wanted("a volumeMount").at(place, *line).remedy(remedy));
                }
            },
        )
        .severity(Severity::Critical)
        .label("flag")
        .label("manifest")
        .alias("no such file or directory")
        .page(
            "The path of a flag is one in the component's container. A file that exists on the node and is not mounted \
             does not exist there: the component does not start.",
            "Looks for a volumeMount that contains the path of each flag which names a certificate, a key or a \
             kubeconfig. Paths on the node follow from the hostPath of its volume and from subPath.",
        )
        .basis("Volumes: hostPath", VOLUMES)
        .remedy(Remedy::new("Add a hostPath volume and its volumeMount to the manifest.")),
    ]
}

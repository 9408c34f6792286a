//! The checks that the restricted level adds, each as `k8s.io/pod-security-admission/policy` has it.

use super::baseline::{Setters, bad_seccomp, named, offense, visit};
use super::control::Verdict;
use super::pod::{Pod, Volume};
use super::words::{Set, containers, join_quote, pluralize};

/// The sources of volumes that are allowed, each with the first release of Kubernetes that allows it.
const SOURCES: [(&str, u32); 9] = [
    ("configMap", 0),
    ("csi", 0),
    ("downwardAPI", 0),
    ("emptyDir", 0),
    ("ephemeral", 0),
    ("image", 33),
    ("persistentVolumeClaim", 0),
    ("projected", 0),
    ("secret", 0),
];
/// Those that are refused by name, in the order in which the library asks for them.
const REFUSED: [&str; 21] = [
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "gitRepo",
    "nfs",
    "iscsi",
    "glusterfs",
    "rbd",
    "flexVolume",
    "cinder",
    "cephfs",
    "flocker",
    "fc",
    "azureFile",
    "vsphereVolume",
    "quobyte",
    "azureDisk",
    "photonPersistentDisk",
    "portworxVolume",
    "scaleIO",
    "storageos",
];

pub(super) fn allow_privilege_escalation(pod: &Pod) -> Option<Verdict> {
    let (names, offenses) = visit(pod, |container| {
        let context = &container.security_context;
        let bad = match &context.allow_privilege_escalation {
            Some(field) if !field.value => None,
            Some(field) => Some((field.at.clone(), Some("true".to_owned()))),
            None => Some((context.missing("allowPrivilegeEscalation"), None)),
        };
        bad.into_iter().map(|(at, found)| offense(&named(container), &at, found, "false")).collect()
    });
    let detail = format!("{} must set securityContext.allowPrivilegeEscalation=false", containers(&names));
    (!names.is_empty()).then(|| Verdict::new("allowPrivilegeEscalation != false", detail, offenses))
}

pub(super) fn capabilities(pod: &Pod) -> Option<Verdict> {
    let mut added = Set::new();
    let (keeping, mut offenses) = visit(pod, |container| {
        let all = container.security_context.capabilities.as_ref();
        let drops = all.is_some_and(|all| all.drop.iter().any(|one| one.value == "ALL"));
        let at = all.map_or_else(
            || container.security_context.missing("capabilities.drop"),
            |all| crate::Place { path: format!("{}.drop", all.at.path), line: all.at.line },
        );
        let dropped = all.map(|all| all.drop.iter().map(|one| one.value.as_str()).collect::<Vec<_>>().join(", "));
        let found = dropped.filter(|dropped| !dropped.is_empty());
        (!drops).then(|| offense(&named(container), &at, found, "[\"ALL\"]")).into_iter().collect()
    });
    let (adding, more) = visit(pod, |container| {
        let add = container.security_context.capabilities.iter().flat_map(|all| &all.add);
        let bad = add.filter(|one| one.value != "NET_BIND_SERVICE");
        let bad = bad.inspect(|one| _ = added.insert(one.value.as_str()));
        let of = |one: &crate::Field<String>| {
            offense(&named(container), &one.at, Some(one.value.clone()), "NET_BIND_SERVICE, or none")
        };
        bad.map(of).collect()
    });
    offenses.extend(more);
    let keeping = (!keeping.is_empty())
        .then(|| format!("{} must set securityContext.capabilities.drop=[\"ALL\"]", containers(&keeping)));
    let adding = (!adding.is_empty()).then(|| {
        let (who, what) = (containers(&adding), join_quote(&added));
        format!("{who} must not include {what} in securityContext.capabilities.add")
    });
    let details: Vec<_> = keeping.into_iter().chain(adding).collect();
    (!details.is_empty()).then(|| Verdict::new("unrestricted capabilities", details.join("; "), offenses))
}

pub(super) fn volumes(pod: &Pod, server: u32) -> Option<Verdict> {
    let allowed =
        |volume: &&Volume| !SOURCES.iter().any(|(name, since)| *since <= server && volume.source(name).is_some());
    let bad: Vec<_> = pod.volumes.iter().filter(allowed).collect();
    let kind = |volume: &Volume| REFUSED.into_iter().find(|name| volume.source(name).is_some()).unwrap_or("unknown");
    let kinds: Set<'_> = bad.iter().map(|volume| kind(volume)).collect();
    let offenses = bad.iter().map(|volume| {
        let at = volume.source(kind(volume)).unwrap_or(&volume.at);
        let wanted = "a configMap, csi, downwardAPI, emptyDir, ephemeral, image, persistentVolumeClaim, projected or \
                      secret volume";
        offense(&format!("volume \"{}\"", volume.name), at, Some(kind(volume).to_owned()), wanted)
    });
    let offenses = offenses.collect();
    let detail = format!(
        "{} {} {} {} {}",
        pluralize("volume", "volumes", bad.len()),
        join_quote(bad.iter().map(|volume| &volume.name)),
        pluralize("uses", "use", bad.len()),
        pluralize("restricted volume type", "restricted volume types", kinds.len()),
        join_quote(&kinds)
    );
    (!bad.is_empty()).then(|| Verdict::new("restricted volume types", detail, offenses))
}

pub(super) fn run_as_non_root(pod: &Pod) -> Option<Verdict> {
    const REASON: &str = "runAsNonRoot != true";
    let setters = Setters::visit(pod, |context, owner| {
        let bad = context.run_as_non_root.iter().filter(|field| !field.value);
        bad.map(|field| offense(owner, &field.at, Some("false".to_owned()), "true")).collect()
    });
    if setters.any() {
        let detail = format!("{} must not set securityContext.runAsNonRoot=false", setters.words());
        return Some(Verdict::new(REASON, detail, setters.offenses));
    }
    if pod.security_context.run_as_non_root.is_some() {
        return None;
    }
    let (names, offenses) = visit(pod, |container| {
        let context = &container.security_context;
        let missing = context.run_as_non_root.is_none().then(|| context.missing("runAsNonRoot"));
        missing.iter().map(|at| offense(&named(container), at, None, "true, here or for the pod")).collect()
    });
    let detail = format!("pod or {} must set securityContext.runAsNonRoot=true", containers(&names));
    (!names.is_empty()).then(|| Verdict::new(REASON, detail, offenses))
}

pub(super) fn run_as_user(pod: &Pod) -> Option<Verdict> {
    let setters = Setters::visit(pod, |context, owner| {
        let bad = context.run_as_user.iter().filter(|field| field.value == 0);
        bad.map(|field| offense(owner, &field.at, Some("0".to_owned()), "another user, or none")).collect()
    });
    let detail = format!("{} must not set runAsUser=0", setters.words());
    setters.any().then(|| Verdict::new("runAsUser=0", detail, setters.offenses))
}

pub(super) fn seccomp(pod: &Pod) -> Option<Verdict> {
    const REASON: &str = "seccompProfile";
    let (setters, values) = bad_seccomp(pod);
    if setters.any() {
        let detail =
            format!("{} must not set securityContext.seccompProfile.type to {}", setters.words(), join_quote(&values));
        return Some(Verdict::new(REASON, detail, setters.offenses));
    }
    // A profile of the pod that was not refused counts for containers that have none.
    if pod.security_context.seccomp.is_some() {
        return None;
    }
    let (names, offenses) = visit(pod, |container| {
        let context = &container.security_context;
        let missing = context.seccomp.is_none().then(|| context.missing("seccompProfile.type"));
        let wanted = "RuntimeDefault or Localhost, here or for the pod";
        missing.iter().map(|at| offense(&named(container), at, None, wanted)).collect()
    });
    let detail = format!(
        "pod or {} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"",
        containers(&names)
    );
    (!names.is_empty()).then(|| Verdict::new(REASON, detail, offenses))
}

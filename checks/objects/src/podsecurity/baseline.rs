//! The checks of the baseline, each as `k8s.io/pod-security-admission/policy` has it.

use super::Offense;
use super::control::Verdict;
use super::pod::{Container, Pod, SeLinux, SecurityContext};
use super::words::{Set, containers, go_quote, join_quote, pluralize, setters};
use crate::cursor::{Field, Place};

pub(super) const POD: &str = "pod";
const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";
const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
const CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];
/// The sysctls that are safe, each with the policy version that first allows it.
const SYSCTLS: [(&str, u32); 14] = [
    ("kernel.shm_rmid_forced", 0),
    ("net.ipv4.ip_local_port_range", 0),
    ("net.ipv4.tcp_syncookies", 0),
    ("net.ipv4.ping_group_range", 0),
    ("net.ipv4.ip_unprivileged_port_start", 0),
    ("net.ipv4.ip_local_reserved_ports", 27),
    ("net.ipv4.tcp_keepalive_time", 29),
    ("net.ipv4.tcp_fin_timeout", 29),
    ("net.ipv4.tcp_keepalive_intvl", 29),
    ("net.ipv4.tcp_keepalive_probes", 29),
    ("net.ipv4.tcp_rmem", 32),
    ("net.ipv4.tcp_wmem", 32),
    ("net.ipv4.tcp_slow_start_after_idle", 37),
    ("net.ipv4.tcp_notsent_lowat", 37),
];
/// The SELinux types that are allowed, each with the policy version that first allows it.
const SE_LINUX: [(&str, u32); 4] =
    [("container_t", 0), ("container_init_t", 0), ("container_kvm_t", 0), ("container_engine_t", 31)];

pub(super) fn named(container: &Container) -> String {
    format!("container \"{}\"", container.name)
}

pub(super) fn offense(owner: &str, at: &Place, found: Option<String>, wanted: &str) -> Offense {
    Offense { at: at.clone(), owner: owner.to_owned(), found, wanted: wanted.to_owned() }
}

fn wrong(owner: &str, field: &Field<String>, wanted: &str) -> Offense {
    let found = if field.value.is_empty() { "(empty)".to_owned() } else { field.value.clone() };
    offense(owner, &field.at, Some(found), wanted)
}

/// The pod's security context and those of its containers that a check refuses.
pub(super) struct Setters<'p> {
    pub(super) pod: bool,
    pub(super) containers: Vec<&'p str>,
    pub(super) offenses: Vec<Offense>,
}

impl<'p> Setters<'p> {
    /// Visits the pod and then its containers; `judge` returns what is wrong with a context.
    pub(super) fn visit(pod: &'p Pod, mut judge: impl FnMut(&'p SecurityContext, &str) -> Vec<Offense>) -> Self {
        let offenses = judge(&pod.security_context, POD);
        let mut setters = Self { pod: !offenses.is_empty(), containers: Vec::new(), offenses };
        for container in &pod.containers {
            let offenses = judge(&container.security_context, &named(container));
            if !offenses.is_empty() {
                setters.containers.push(&container.name);
            }
            setters.offenses.extend(offenses);
        }
        setters
    }

    pub(super) fn any(&self) -> bool {
        self.pod || !self.containers.is_empty()
    }

    pub(super) fn words(&self) -> String {
        setters(self.pod, &self.containers)
    }
}

/// A check of containers alone.
pub(super) fn visit<'p>(
    pod: &'p Pod,
    mut judge: impl FnMut(&'p Container) -> Vec<Offense>,
) -> (Vec<&'p str>, Vec<Offense>) {
    let (mut names, mut all) = (Vec::new(), Vec::new());
    for container in &pod.containers {
        let offenses = judge(container);
        if !offenses.is_empty() {
            names.push(container.name.as_str());
        }
        all.extend(offenses);
    }
    (names, all)
}

fn profile_is_allowed(kind: &str) -> bool {
    kind == "RuntimeDefault" || kind == "Localhost"
}

/// What forbids an annotation, in the words of `%s=%q`, sorted.
fn bad_app_armor_annotations(pod: &Pod) -> (Vec<String>, Vec<Offense>) {
    let allowed = |value: &str| value.is_empty() || value == "runtime/default" || value.starts_with("localhost/");
    let bad = pod.annotations.iter().filter(|(name, value)| name.starts_with(APP_ARMOR) && !allowed(&value.value));
    let (mut words, mut offenses) = (Vec::new(), Vec::new());
    for (name, value) in bad {
        words.push(format!("{name}={}", go_quote(&value.value)));
        offenses.push(wrong("annotation", value, "runtime/default or localhost/…, or none"));
    }
    words.sort();
    (words, offenses)
}

/// As Kubernetes up to 1.29 has it, which knows no field.
pub(super) fn app_armor_annotations(pod: &Pod) -> Option<Verdict> {
    let (words, offenses) = bad_app_armor_annotations(pod);
    let reason = pluralize("forbidden AppArmor profile", "forbidden AppArmor profiles", words.len());
    (!words.is_empty()).then(|| Verdict::new(reason, words.join(", "), offenses))
}

pub(super) fn app_armor(pod: &Pod) -> Option<Verdict> {
    let mut values = Set::new();
    let setters = Setters::visit(pod, |context, owner| {
        let bad = context.app_armor.iter().filter(|kind| !profile_is_allowed(&kind.value));
        let bad = bad.inspect(|kind| _ = values.insert(kind.value.as_str()));
        bad.map(|kind| wrong(owner, kind, "RuntimeDefault or Localhost, or none")).collect()
    });
    let (annotations, more) = bad_app_armor_annotations(pod);
    let mut who: Vec<_> = setters.any().then(|| setters.words()).into_iter().collect();
    if !annotations.is_empty() {
        who.push(pluralize("annotation", "annotations", annotations.len()).to_owned());
    }
    let values: Vec<_> = values.into_iter().map(str::to_owned).chain(annotations).collect();
    let reason = pluralize("forbidden AppArmor profile", "forbidden AppArmor profiles", values.len());
    let detail = format!("{} must not set AppArmor profile type to {}", who.join(" and "), join_quote(&values));
    (!who.is_empty()).then(|| Verdict::new(reason, detail, [setters.offenses, more].concat()))
}

pub(super) fn capabilities(pod: &Pod) -> Option<Verdict> {
    let mut added = Set::new();
    let (names, offenses) = visit(pod, |container| {
        let add = container.security_context.capabilities.iter().flat_map(|all| &all.add);
        let bad = add.filter(|one| !CAPABILITIES.contains(&one.value.as_str()));
        let bad = bad.inspect(|one| _ = added.insert(one.value.as_str()));
        bad.map(|one| wrong(&named(container), one, "one of the container runtime's default capabilities")).collect()
    });
    let detail =
        format!("{} must not include {} in securityContext.capabilities.add", containers(&names), join_quote(&added));
    (!names.is_empty()).then(|| Verdict::new("non-default capabilities", detail, offenses))
}

pub(super) fn host_namespaces(pod: &Pod) -> Option<Verdict> {
    let words: Vec<_> = pod.host_namespaces.iter().map(|(name, _)| format!("{name}=true")).collect();
    let of = |(_, at): &(&str, Place)| offense(POD, at, Some("true".to_owned()), "false, or none");
    let offenses = pod.host_namespaces.iter().map(of).collect();
    (!words.is_empty()).then(|| Verdict::new("host namespaces", words.join(", "), offenses))
}

pub(super) fn host_path_volumes(pod: &Pod) -> Option<Verdict> {
    let bad = pod.volumes.iter().filter_map(|volume| Some((volume.name.as_str(), volume.source("hostPath")?)));
    let (names, places): (Vec<_>, Vec<_>) = bad.unzip();
    let of = |(name, at): (&&str, &&Place)| offense(&format!("volume \"{name}\""), at, None, "no hostPath");
    let offenses = names.iter().zip(&places).map(of).collect();
    let detail = format!("{} {}", pluralize("volume", "volumes", names.len()), join_quote(&names));
    (!names.is_empty()).then(|| Verdict::new("hostPath volumes", detail, offenses))
}

pub(super) fn host_ports(pod: &Pod) -> Option<Verdict> {
    let mut ports = std::collections::BTreeSet::new();
    let (names, offenses) = visit(pod, |container| {
        let bad = container.ports.iter().map(|(port, _)| port).filter(|port| port.value != 0);
        let bad = bad.inspect(|port| _ = ports.insert(port.value.to_string()));
        bad.map(|port| offense(&named(container), &port.at, Some(port.value.to_string()), "0, or none")).collect()
    });
    let detail = format!(
        "{} {} {} {}",
        containers(&names),
        pluralize("uses", "use", names.len()),
        pluralize("hostPort", "hostPorts", ports.len()),
        ports.into_iter().collect::<Vec<_>>().join(", ")
    );
    (!names.is_empty()).then(|| Verdict::new("hostPort", detail, offenses))
}

pub(super) fn host_probes(pod: &Pod) -> Option<Verdict> {
    let mut hosts = Set::new();
    let (names, offenses) = visit(pod, |container| {
        let bad = container.hosts.iter().map(|handler| &handler.host);
        let bad = bad.inspect(|host| _ = hosts.insert(host.value.as_str()));
        bad.map(|host| wrong(&named(container), host, "no host: the kubelet then asks the pod")).collect()
    });
    // The library keeps a set of containers here, and a list everywhere else.
    let names: Vec<_> = names.into_iter().collect::<Set<'_>>().into_iter().collect();
    let detail = format!(
        "{} {} {} {}",
        containers(&names),
        pluralize("uses", "use", names.len()),
        pluralize("probe or lifecycle host", "probe or lifecycle hosts", hosts.len()),
        join_quote(&hosts)
    );
    (!names.is_empty()).then(|| Verdict::new("probe or lifecycle host", detail, offenses))
}

pub(super) fn privileged(pod: &Pod) -> Option<Verdict> {
    let (names, offenses) = visit(pod, |container| {
        let bad = container.security_context.privileged.iter().filter(|field| field.value);
        bad.map(|field| offense(&named(container), &field.at, Some("true".to_owned()), "false, or none")).collect()
    });
    let detail = format!("{} must not set securityContext.privileged=true", containers(&names));
    (!names.is_empty()).then(|| Verdict::new("privileged", detail, offenses))
}

pub(super) fn proc_mount(pod: &Pod) -> Option<Verdict> {
    let mut kinds = Set::new();
    let (names, offenses) = visit(pod, |container| {
        let bad = container.security_context.proc_mount.iter().filter(|kind| kind.value != "Default");
        let bad = bad.inspect(|kind| _ = kinds.insert(kind.value.as_str()));
        bad.map(|kind| wrong(&named(container), kind, "Default, or none")).collect()
    });
    let detail = format!("{} must not set securityContext.procMount to {}", containers(&names), join_quote(&kinds));
    (!names.is_empty()).then(|| Verdict::new("procMount", detail, offenses))
}

pub(super) fn se_linux(pod: &Pod, minor: u32, server: u32) -> Option<Verdict> {
    let (mut kinds, mut user, mut role) = (Set::new(), false, false);
    let allowed = |kind: &str| kind.is_empty() || SE_LINUX.iter().any(|(name, since)| *name == kind && *since <= minor);
    let setters = Setters::visit(pod, |context, owner| {
        let mut offenses = Vec::new();
        let Some(SeLinux { kind, user: the_user, role: the_role }) = &context.se_linux else { return offenses };
        if !allowed(&kind.value) {
            kinds.insert(kind.value.as_str());
            offenses.push(wrong(owner, kind, "container_t, container_init_t, container_kvm_t, or none"));
        }
        for (field, set) in [(the_user, &mut user), (the_role, &mut role)] {
            if !field.value.is_empty() {
                *set = true;
                offenses.push(wrong(owner, field, "none"));
            }
        }
        offenses
    });
    let kinds =
        (!kinds.is_empty()).then(|| format!("{} {}", pluralize("type", "types", kinds.len()), join_quote(&kinds)));
    // Kubernetes up to 1.25 names users and roles only beside a bad type.
    let says = kinds.is_some() || server >= 26;
    let (user, role) = (user && says, role && says);
    let user = user.then(|| "user may not be set".to_owned());
    let role = role.then(|| "role may not be set".to_owned());
    let data: Vec<_> = kinds.into_iter().chain(user).chain(role).collect();
    let detail = format!("{} set forbidden securityContext.seLinuxOptions: {}", setters.words(), data.join("; "));
    setters.any().then(|| Verdict::new("seLinuxOptions", detail, setters.offenses))
}

/// As the versions up to 1.18 have it, which know no field.
pub(super) fn seccomp_annotations(pod: &Pod) -> Option<Verdict> {
    let allowed =
        |value: &str| value == "runtime/default" || value == "docker/default" || value.starts_with("localhost/");
    let mut bad = std::collections::BTreeMap::new();
    let of_pod = std::iter::once(SECCOMP_POD.to_owned());
    for wanted in of_pod.chain(pod.containers.iter().map(|one| format!("{SECCOMP_CONTAINER}{}", one.name))) {
        let found = pod.annotations.iter().find(|(name, _)| *name == wanted);
        if let Some((name, value)) = found.filter(|(_, value)| !allowed(&value.value)) {
            let offense = wrong("annotation", value, "runtime/default, docker/default or localhost/…, or none");
            bad.insert(format!("{name}={}", go_quote(&value.value)), offense);
        }
    }
    let (words, offenses): (Vec<_>, Vec<_>) = bad.into_iter().unzip();
    let detail = format!("forbidden {} {}", pluralize("annotation", "annotations", words.len()), words.join(", "));
    (!words.is_empty()).then(|| Verdict::new("seccompProfile", detail, offenses))
}

/// The setters and the values of seccomp profiles that neither level allows.
pub(super) fn bad_seccomp(pod: &Pod) -> (Setters<'_>, Set<'_>) {
    let mut values = Set::new();
    let setters = Setters::visit(pod, |context, owner| {
        let bad = context.seccomp.iter().filter(|kind| !profile_is_allowed(&kind.value));
        let bad = bad.inspect(|kind| _ = values.insert(kind.value.as_str()));
        bad.map(|kind| wrong(owner, kind, "RuntimeDefault or Localhost")).collect()
    });
    (setters, values)
}

pub(super) fn seccomp(pod: &Pod) -> Option<Verdict> {
    let (setters, values) = bad_seccomp(pod);
    let detail =
        format!("{} must not set securityContext.seccompProfile.type to {}", setters.words(), join_quote(&values));
    setters.any().then(|| Verdict::new("seccompProfile", detail, setters.offenses))
}

pub(super) fn sysctls(pod: &Pod, minor: u32) -> Option<Verdict> {
    let allowed = |sysctl: &str| SYSCTLS.iter().any(|(name, since)| *name == sysctl && *since <= minor);
    let bad: Vec<_> = pod.security_context.sysctls.iter().filter(|sysctl| !allowed(&sysctl.value)).collect();
    let offenses = bad.iter().map(|sysctl| wrong(POD, sysctl, "a sysctl that the policy's version calls safe"));
    let offenses = offenses.collect();
    let detail = bad.iter().map(|sysctl| sysctl.value.as_str()).collect::<Vec<_>>().join(", ");
    (!bad.is_empty()).then(|| Verdict::new("forbidden sysctls", detail, offenses))
}

pub(super) fn windows_host_process(pod: &Pod) -> Option<Verdict> {
    let setters = Setters::visit(pod, |context, owner| {
        let bad = context.host_process.iter().filter(|field| field.value);
        bad.map(|field| offense(owner, &field.at, Some("true".to_owned()), "false, or none")).collect()
    });
    let detail = format!("{} must not set securityContext.windowsOptions.hostProcess=true", setters.words());
    setters.any().then(|| Verdict::new("hostProcess", detail, setters.offenses))
}

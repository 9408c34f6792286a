//! Pods that tell the controls apart: small changes of pods that the restricted level allows.
//!
//! They are what the tests ask admission's own library, and what the suite asks a cluster's admission.

use serde_json::{Map, Value, json};

use super::{Control, Kind};

/// A pod, and what it is about.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// What was changed: `hostNetwork true`.
    pub name: String,
    /// The control that looks at it.
    pub control: Control,
    /// The pod's `metadata` and `spec`.
    pub pod: Value,
}

/// An edit: a path in the pod, and what is put there; `null` removes what is there.
type Edit = (&'static str, Value);

/// A pod for Linux that every level and version allows.
#[must_use]
pub fn linux() -> Value {
    let container = |name: &str| {
        json!({
            "name": name,
            "image": "registry.invalid/none:1",
            "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
        })
    };
    json!({
        "metadata": {"name": "case"},
        "spec": {
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "initContainers": [container("init")],
            "containers": [container("main")],
        },
    })
}

/// A pod for Windows that the restricted level allows from v1.25 on.
#[must_use]
pub fn windows() -> Value {
    let container = |name: &str| json!({"name": name, "image": "registry.invalid/none:1"});
    json!({
        "metadata": {"name": "case"},
        "spec": {
            "os": {"name": "windows"},
            "securityContext": {"runAsNonRoot": true},
            "initContainers": [container("init")],
            "containers": [container("main")],
        },
    })
}

/// A pod with the changes of several cases at once. Where two change the same field, the later one stands.
#[must_use]
pub fn combined(cases: &[&Case]) -> Value {
    let base = linux();
    let mut pod = base.clone();
    for case in cases {
        apply_change(&mut pod, &base, &case.pod);
    }
    pod
}

/// Does to a value what makes another one of its base.
fn apply_change(value: &mut Value, base: &Value, changed: &Value) {
    if base == changed {
        return;
    }
    match (value, base, changed) {
        (Value::Object(members), Value::Object(base), Value::Object(changed)) => {
            for name in base.keys().filter(|name| !changed.contains_key(*name)) {
                members.remove(name);
            }
            // What this change leaves as it was may be gone by an earlier one: it stays so.
            for (name, new) in changed.iter().filter(|(name, new)| base.get(*name) != Some(*new)) {
                let old = base.get(name).unwrap_or(&Value::Null);
                apply_change(members.entry(name.as_str()).or_insert_with(|| old.clone()), old, new);
            }
        }
        (Value::Array(items), Value::Array(base), Value::Array(changed))
            if items.len() == base.len() && base.len() == changed.len() =>
        {
            for ((item, old), new) in items.iter_mut().zip(base).zip(changed) {
                apply_change(item, old, new);
            }
        }
        (value, ..) => value.clone_from(changed),
    }
}

/// An object of a kind around a pod; it has the pod's name.
#[must_use]
pub fn wrap(kind: Kind, pod: &Value) -> Value {
    let mut object = json!({"apiVersion": kind.api_version(), "kind": kind.name()});
    let name = pod.pointer("/metadata/name").cloned().unwrap_or_default();
    if kind == Kind::Pod {
        set(&mut object, "/metadata", pod["metadata"].clone());
        set(&mut object, "/spec", pod["spec"].clone());
        return object;
    }
    set(&mut object, "/metadata/name", name);
    let mut template = pod.clone();
    set(&mut template, "/metadata/labels/app", json!("case"));
    if let Some(metadata) = template["metadata"].as_object_mut() {
        metadata.remove("name");
    }
    let selector = json!({"app": "case"});
    match kind {
        Kind::Pod | Kind::PodTemplate => {}
        Kind::ReplicationController => set(&mut object, "/spec/selector", selector),
        Kind::ReplicaSet | Kind::Deployment | Kind::DaemonSet => {
            set(&mut object, "/spec/selector/matchLabels", selector);
        }
        Kind::StatefulSet => {
            set(&mut object, "/spec/selector/matchLabels", selector);
            set(&mut object, "/spec/serviceName", json!("case"));
        }
        Kind::Job => set(&mut template, "/spec/restartPolicy", json!("Never")),
        Kind::CronJob => {
            set(&mut object, "/spec/schedule", json!("0 0 1 1 *"));
            set(&mut template, "/spec/restartPolicy", json!("Never"));
        }
    }
    set(&mut object, &format!("/{}", kind.template().join("/")), template);
    object
}

/// Puts a value at a path, making the maps on the way; an item of a list must be there.
fn set(value: &mut Value, path: &str, new: Value) {
    let mut at = value;
    for part in path.split('/').skip(1) {
        let part = part.replace("~1", "/");
        at = if at.is_array() {
            match part.parse().ok().and_then(|index: usize| at.get_mut(index)) {
                Some(item) => item,
                None => return,
            }
        } else {
            if !at.is_object() {
                *at = Value::Object(Map::new());
            }
            &mut at[part.as_str()]
        };
    }
    *at = new;
}

fn remove(value: &mut Value, path: &str) {
    let Some((parent, name)) = path.rsplit_once('/') else { return };
    match value.pointer_mut(parent) {
        Some(Value::Object(members)) => drop(members.remove(name)),
        Some(Value::Array(items)) => {
            if let Some(index) = name.parse().ok().filter(|index| *index < items.len()) {
                items.remove(index);
            }
        }
        _ => {}
    }
}

struct Table(Vec<Case>);

impl Table {
    fn of(&mut self, base: fn() -> Value, control: Control, name: String, edits: &[Edit]) {
        let mut pod = base();
        for (path, new) in edits {
            if new.is_null() { remove(&mut pod, path) } else { set(&mut pod, path, new.clone()) }
        }
        self.0.push(Case { name, control, pod });
    }

    fn add(&mut self, control: Control, name: impl Into<String>, edits: &[Edit]) {
        self.of(linux, control, name.into(), edits);
    }

    /// The same value at the pod, at each container, and at all of them.
    fn contexts(&mut self, control: Control, name: &str, field: &str, new: &Value) {
        let path = |context: &str| format!("{context}/{field}");
        let all = [POD, INIT, MAIN];
        for (who, contexts) in [("pod", &all[..1]), ("init", &all[1..2]), ("main", &all[2..]), ("all", &all[..])] {
            let mut pod = linux();
            for context in contexts {
                set(&mut pod, &path(context), new.clone());
            }
            self.0.push(Case { name: format!("{name} ({who})"), control, pod });
        }
    }
}

const POD: &str = "/spec/securityContext";
const INIT: &str = "/spec/initContainers/0/securityContext";
const MAIN: &str = "/spec/containers/0/securityContext";

/// Every case, in the order of the controls.
#[must_use]
pub fn cases() -> Vec<Case> {
    let mut table = Table(Vec::new());
    let at = Control::HostNamespaces;
    table.add(at, "unchanged", &[]);
    table.of(windows, at, "unchanged, for Windows".to_owned(), &[]);
    for (name, path) in
        [("hostNetwork", "/spec/hostNetwork"), ("hostPID", "/spec/hostPID"), ("hostIPC", "/spec/hostIPC")]
    {
        table.add(at, format!("{name} true"), &[(path, json!(true))]);
        table.add(at, format!("{name} false"), &[(path, json!(false))]);
    }
    let all = [("/spec/hostNetwork", json!(true)), ("/spec/hostPID", json!(true)), ("/spec/hostIPC", json!(true))];
    table.add(at, "all namespaces of the host", &all);
    containers(&mut table);
    profiles(&mut table);
    annotations(&mut table);
    handlers(&mut table);
    volumes(&mut table);
    users(&mut table);
    for_windows(&mut table);
    table.0
}

fn containers(table: &mut Table) {
    for truth in [true, false] {
        let name = format!("privileged {truth}");
        for context in ["/spec/initContainers/0/securityContext", "/spec/containers/0/securityContext"] {
            let mut pod = linux();
            set(&mut pod, &format!("{context}/privileged"), json!(truth));
            // The API server refuses both at once.
            if truth {
                remove(&mut pod, &format!("{context}/allowPrivilegeEscalation"));
            }
            let who = if context == INIT { "init" } else { "main" };
            table.0.push(Case { name: format!("{name} ({who})"), control: Control::Privileged, pod });
        }
    }
    let defaults = "AUDIT_WRITE CHOWN DAC_OVERRIDE FOWNER FSETID KILL MKNOD NET_BIND_SERVICE SETFCAP SETGID SETPCAP \
                    SETUID SYS_CHROOT";
    for one in defaults.split(' ').chain(["NET_RAW", "SYS_ADMIN", "CAP_CHOWN", "chown", "ALL"]) {
        let edit = ("/spec/containers/0/securityContext/capabilities/add", json!([one]));
        table.add(Control::CapabilitiesBaseline, format!("add {one}"), &[edit]);
    }
    table.add(
        Control::CapabilitiesBaseline,
        "add several, to both containers",
        &[
            ("/spec/containers/0/securityContext/capabilities/add", json!(["SYS_TIME", "CHOWN", "BPF"])),
            ("/spec/initContainers/0/securityContext/capabilities/add", json!(["NET_RAW", "BPF"])),
        ],
    );
    let at = Control::CapabilitiesRestricted;
    let drop = "/spec/containers/0/securityContext/capabilities/drop";
    table.add(at, "drop nothing", &[(drop, json!([]))]);
    table.add(at, "drop all, in small letters", &[(drop, json!(["all"]))]);
    table.add(at, "drop one", &[(drop, json!(["NET_RAW"]))]);
    table.add(at, "drop one and all", &[(drop, json!(["NET_RAW", "ALL"]))]);
    table.add(at, "no capabilities", &[("/spec/containers/0/securityContext/capabilities", Value::Null)]);
    table.add(
        at,
        "no capabilities in both",
        &[
            ("/spec/containers/0/securityContext/capabilities", Value::Null),
            ("/spec/initContainers/0/securityContext/capabilities", Value::Null),
        ],
    );
    let add = ("/spec/initContainers/0/securityContext/capabilities/add", json!(["NET_BIND_SERVICE", "CHOWN"]));
    table.add(at, "drop nothing here, add there", &[(drop, json!([])), add]);
    let at = Control::AllowPrivilegeEscalation;
    let [init, main] = [
        "/spec/initContainers/0/securityContext/allowPrivilegeEscalation",
        "/spec/containers/0/securityContext/allowPrivilegeEscalation",
    ];
    table.add(at, "escalation unset", &[(main, Value::Null)]);
    table.add(at, "escalation true", &[(init, json!(true))]);
    table.add(at, "escalation true and unset", &[(init, json!(true)), (main, Value::Null)]);
    table.add(at, "no security context", &[("/spec/containers/0/securityContext", Value::Null)]);
    let at = Control::HostPorts;
    let ports = "/spec/containers/0/ports";
    table.add(at, "a port of its own", &[(ports, json!([{"containerPort": 80}]))]);
    table.add(at, "hostPort 0", &[(ports, json!([{"containerPort": 80, "hostPort": 0}]))]);
    table.add(at, "hostPort 8080", &[(ports, json!([{"containerPort": 80, "hostPort": 8080}]))]);
    let more =
        json!([{"containerPort": 1, "hostPort": 99}, {"containerPort": 2, "hostPort": 100}, {"containerPort": 3}]);
    table.add(at, "several hostPorts", &[(ports, more)]);
    let init = ("/spec/initContainers/0/ports", json!([{"containerPort": 80, "hostPort": 8081}]));
    table.add(at, "a hostPort in both", &[(ports, json!([{"containerPort": 80, "hostPort": 8080}])), init]);
    let network = ("/spec/hostNetwork", json!(true));
    table.add(at, "a port in the host's network", &[(ports, json!([{"containerPort": 80}])), network]);
    let at = Control::ProcMountBaseline;
    let proc = "/spec/containers/0/securityContext/procMount";
    let host_users = ("/spec/hostUsers", json!(false));
    table.add(at, "procMount Default", &[(proc, json!("Default"))]);
    table.add(at, "procMount Unmasked", &[(proc, json!("Unmasked"))]);
    table.add(at, "procMount Unmasked in a user namespace", &[(proc, json!("Unmasked")), host_users]);
    for sysctl in [
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.ping_group_range",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_wmem",
        "net.ipv4.tcp_slow_start_after_idle",
        "net.ipv4.tcp_notsent_lowat",
        "net.ipv4.ip_forward",
        "kernel.msgmax",
    ] {
        let edit = ("/spec/securityContext/sysctls", json!([{"name": sysctl, "value": "1"}]));
        table.add(Control::Sysctls, format!("sysctl {sysctl}"), &[edit]);
    }
    let several = ["net.core.somaxconn", "net.ipv4.tcp_syncookies", "kernel.sem"];
    let several: Vec<_> = several.iter().map(|name| json!({"name": name, "value": "1"})).collect();
    table.add(Control::Sysctls, "several sysctls", &[("/spec/securityContext/sysctls", several.into())]);
}

fn profiles(table: &mut Table) {
    for kind in ["RuntimeDefault", "Unconfined"] {
        let profile = json!({"type": kind});
        table.contexts(Control::SeccompBaseline, &format!("seccomp {kind}"), "seccompProfile", &profile);
        table.contexts(Control::AppArmor, &format!("AppArmor {kind}"), "appArmorProfile", &profile);
    }
    let local = json!({"type": "Localhost", "localhostProfile": "p"});
    table.contexts(Control::SeccompBaseline, "seccomp Localhost", "seccompProfile", &local);
    table.contexts(Control::AppArmor, "AppArmor Localhost", "appArmorProfile", &local);
    let at = Control::SeccompRestricted;
    let pod = ("/spec/securityContext/seccompProfile", Value::Null);
    let of = |kind: &str| json!({"type": kind});
    let main = |kind: &str| ("/spec/containers/0/securityContext/seccompProfile", of(kind));
    let init = |kind: &str| ("/spec/initContainers/0/securityContext/seccompProfile", of(kind));
    table.add(at, "no seccomp profile", std::slice::from_ref(&pod));
    table.add(at, "a seccomp profile of one container", &[pod.clone(), main("RuntimeDefault")]);
    table.add(at, "seccomp profiles of both", &[pod.clone(), main("RuntimeDefault"), init("RuntimeDefault")]);
    table.add(at, "seccomp profiles, one unconfined", &[pod, main("RuntimeDefault"), init("Unconfined")]);
    for kind in ["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t", "spc_t"] {
        table.contexts(Control::SeLinux, &format!("SELinux type '{kind}'"), "seLinuxOptions", &json!({"type": kind}));
    }
    for options in [
        json!({"level": "s0"}),
        json!({"user": "u"}),
        json!({"role": "r"}),
        json!({"user": "u", "role": "r", "type": "t"}),
        json!({"type": "container_t", "role": "r"}),
    ] {
        table.contexts(Control::SeLinux, &format!("SELinux {options}"), "seLinuxOptions", &options);
    }
}

fn annotations(table: &mut Table) {
    let app_armor = "/metadata/annotations/container.apparmor.security.beta.kubernetes.io~1main";
    for value in ["", "runtime/default", "localhost/p", "unconfined"] {
        table.add(Control::AppArmor, format!("AppArmor annotation '{value}'"), &[(app_armor, json!(value))]);
    }
    let field = ("/spec/containers/0/securityContext/appArmorProfile", json!({"type": "RuntimeDefault"}));
    let none = ("/metadata/annotations/container.apparmor.security.beta.kubernetes.io~1none", json!("unconfined"));
    table.add(Control::AppArmor, "AppArmor annotation of no container", &[none, field]);
    for (who, path) in [
        ("pod", "/metadata/annotations/seccomp.security.alpha.kubernetes.io~1pod"),
        ("main", "/metadata/annotations/container.seccomp.security.alpha.kubernetes.io~1main"),
        ("other", "/metadata/annotations/container.seccomp.security.alpha.kubernetes.io~1other"),
    ] {
        for value in ["runtime/default", "docker/default", "localhost/p", "unconfined"] {
            let name = format!("seccomp annotation '{value}' ({who})");
            table.add(Control::SeccompBaseline, name, &[(path, json!(value))]);
        }
    }
}

fn handlers(table: &mut Table) {
    for (name, path) in [
        ("livenessProbe", "/spec/containers/0/livenessProbe"),
        ("readinessProbe", "/spec/containers/0/readinessProbe"),
        ("startupProbe", "/spec/containers/0/startupProbe"),
        ("postStart", "/spec/containers/0/lifecycle/postStart"),
        ("preStop", "/spec/containers/0/lifecycle/preStop"),
    ] {
        let http = |host: &str| json!({"httpGet": {"port": 80, "host": host}});
        table.add(Control::HostProbes, format!("{name}, an httpGet host"), &[(path, http("10.0.0.1"))]);
        table.add(Control::HostProbes, format!("{name}, no httpGet host"), &[(path, http(""))]);
        let tcp = json!({"tcpSocket": {"port": 80, "host": "b.example"}});
        table.add(Control::HostProbes, format!("{name}, a tcpSocket host"), &[(path, tcp)]);
    }
    let probe = |host: &str| json!({"tcpSocket": {"port": 80, "host": host}});
    let probes = [
        ("/spec/containers/0/livenessProbe", probe("b.example")),
        ("/spec/containers/0/readinessProbe", probe("a.example")),
        ("/spec/containers/0/lifecycle/preStop", json!({"httpGet": {"port": 80, "host": "b.example"}})),
    ];
    table.add(Control::HostProbes, "several hosts", &probes);
    // An init container with probes is a sidecar.
    let sidecar = [
        ("/spec/initContainers/0/restartPolicy", json!("Always")),
        ("/spec/initContainers/0/livenessProbe", probe("c.example")),
        ("/spec/containers/0/livenessProbe", probe("a.example")),
    ];
    table.add(Control::HostProbes, "hosts of both", &sidecar);
}

fn volumes(table: &mut Table) {
    let host = |name: &str| json!({"name": name, "hostPath": {"path": "/"}});
    let path = "/spec/volumes";
    table.add(Control::HostPathVolumes, "a hostPath", &[(path, json!([host("a")]))]);
    let several = json!([host("b"), {"name": "c", "emptyDir": {}}, host("a")]);
    table.add(Control::HostPathVolumes, "hostPaths and another", &[(path, several)]);
    let claim = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}});
    for (name, source) in [
        ("configMap", json!({"name": "x"})),
        ("csi", json!({"driver": "x.example"})),
        ("downwardAPI", json!({})),
        ("emptyDir", json!({})),
        ("ephemeral", json!({"volumeClaimTemplate": {"spec": claim}})),
        ("image", json!({"reference": "x"})),
        ("persistentVolumeClaim", json!({"claimName": "x"})),
        ("projected", json!({"sources": []})),
        ("secret", json!({"secretName": "x"})),
        ("gcePersistentDisk", json!({"pdName": "x"})),
        ("awsElasticBlockStore", json!({"volumeID": "x"})),
        ("gitRepo", json!({"repository": "x"})),
        ("nfs", json!({"server": "x", "path": "/"})),
        ("iscsi", json!({"targetPortal": "x", "iqn": "iqn.2001-04.com.example:x", "lun": 0})),
        ("glusterfs", json!({"endpoints": "x", "path": "x"})),
        ("rbd", json!({"monitors": ["x"], "image": "x"})),
        ("flexVolume", json!({"driver": "x/x"})),
        ("cinder", json!({"volumeID": "x"})),
        ("cephfs", json!({"monitors": ["x"]})),
        ("flocker", json!({"datasetName": "x"})),
        ("fc", json!({"targetWWNs": ["x"], "lun": 0})),
        ("azureFile", json!({"secretName": "x", "shareName": "x"})),
        ("vsphereVolume", json!({"volumePath": "x"})),
        ("quobyte", json!({"registry": "x:1", "volume": "x"})),
        ("azureDisk", json!({"diskName": "x", "diskURI": "https://blob/x"})),
        ("photonPersistentDisk", json!({"pdID": "x"})),
        ("portworxVolume", json!({"volumeID": "x"})),
        ("scaleIO", json!({"gateway": "x", "system": "x", "volumeName": "x", "secretRef": {"name": "x"}})),
        ("storageos", json!({"volumeName": "x"})),
    ] {
        let volume = json!({"name": "v", name: source});
        table.add(Control::RestrictedVolumes, format!("a volume of {name}"), &[(path, json!([volume]))]);
    }
    let several = json!([{"name": "n", "nfs": {"server": "x", "path": "/"}}, {"name": "h", "hostPath": {"path": "/"}},
        {"name": "m", "nfs": {"server": "x", "path": "/"}}, {"name": "e", "emptyDir": {}}]);
    table.add(Control::RestrictedVolumes, "several volumes", &[(path, several)]);
    table.add(Control::RestrictedVolumes, "a volume without a source", &[(path, json!([{"name": "v"}]))]);
}

fn users(table: &mut Table) {
    let host_users = ("/spec/hostUsers", json!(false));
    let at = Control::RunAsNonRoot;
    let pod = |truth: Value| ("/spec/securityContext/runAsNonRoot", truth);
    let init = |truth: bool| ("/spec/initContainers/0/securityContext/runAsNonRoot", json!(truth));
    let main = |truth: bool| ("/spec/containers/0/securityContext/runAsNonRoot", json!(truth));
    table.add(at, "runAsNonRoot unset", &[pod(Value::Null)]);
    table.add(at, "runAsNonRoot unset, in a user namespace", &[pod(Value::Null), host_users.clone()]);
    table.add(at, "runAsNonRoot false", &[pod(json!(false))]);
    table.add(at, "runAsNonRoot false, in a user namespace", &[pod(json!(false)), host_users.clone()]);
    table.add(
        at,
        "runAsNonRoot false of the pod, true of its containers",
        &[pod(json!(false)), init(true), main(true)],
    );
    table.add(at, "runAsNonRoot of one container", &[pod(Value::Null), main(true)]);
    table.add(at, "runAsNonRoot of both containers", &[pod(Value::Null), init(true), main(true)]);
    table.add(at, "runAsNonRoot false of a container", &[main(false)]);
    table.add(at, "runAsNonRoot false of all", &[pod(json!(false)), init(false), main(false)]);
    for user in [0, 1, 65_535] {
        let name = format!("runAsUser {user}");
        table.contexts(Control::RunAsUser, &name, "runAsUser", &json!(user));
    }
    let root = ("/spec/securityContext/runAsUser", json!(0));
    table.add(Control::RunAsUser, "runAsUser 0 in a user namespace", &[root, host_users]);
}

fn for_windows(table: &mut Table) {
    let at = Control::WindowsHostProcess;
    let network = ("/spec/hostNetwork", json!(true));
    let pod = |truth: bool| ("/spec/securityContext/windowsOptions", json!({"hostProcess": truth}));
    let main = |truth: bool| ("/spec/containers/0/securityContext/windowsOptions", json!({"hostProcess": truth}));
    let init = |truth: bool| ("/spec/initContainers/0/securityContext/windowsOptions", json!({"hostProcess": truth}));
    for (name, edits) in [
        ("HostProcess of the pod", vec![pod(true), network.clone()]),
        ("HostProcess of both containers", vec![init(true), main(true), network.clone()]),
        ("HostProcess of all", vec![pod(true), init(true), main(true), network]),
        ("HostProcess false", vec![pod(false)]),
        ("runAsNonRoot unset", vec![("/spec/securityContext/runAsNonRoot", Value::Null)]),
        ("a hostPath", vec![("/spec/volumes", json!([{"name": "v", "hostPath": {"path": "C:\\"}}]))]),
    ] {
        table.of(windows, at, format!("{name}, for Windows"), &edits);
    }
    table.add(at, "for Linux, by its own word", &[("/spec/os", json!({"name": "linux"}))]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_of_several_cases_come_together() {
        let all = cases();
        let of = |name: &str| all.iter().find(|case| case.name == name).unwrap();
        assert_eq!(combined(&[]), linux());
        for case in &all {
            assert_eq!(combined(&[case]), case.pod, "{}", case.name);
        }
        let pod = combined(&[of("hostPID true"), of("privileged true (main)"), of("no capabilities")]);
        assert_eq!(pod["spec"]["hostPID"], true);
        assert_eq!(pod["spec"]["containers"][0]["securityContext"], json!({"privileged": true}));
        assert_eq!(pod["spec"]["initContainers"], linux()["spec"]["initContainers"]);
    }

    #[test]
    fn every_control_has_cases_and_every_name_is_one() {
        let cases = cases();
        for control in Control::ALL {
            let proc_mount = control == Control::ProcMountRestricted;
            assert!(proc_mount || cases.iter().any(|case| case.control == control), "{control:?}");
        }
        let mut names: Vec<_> = cases.iter().map(|case| (case.control, &case.name)).collect();
        names.sort();
        let all = names.len();
        names.dedup();
        assert_eq!(names.len(), all);
        assert!(all >= 200, "{all}");
        let job = wrap(Kind::CronJob, &cases[0].pod);
        assert_eq!(job.pointer("/spec/jobTemplate/spec/template/spec/containers/0/name"), Some(&json!("main")));
    }
}

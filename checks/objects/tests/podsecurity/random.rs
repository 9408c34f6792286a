//! Pods and labels at random, of a seed: each field that admission looks at, right, wrong, empty or missing.

use seaworthy_objects::podsecurity::cases::linux;
use serde_json::{Map, Value, json};

pub(crate) struct Pods(fastrand::Rng);

const CAPABILITIES: &[&str] =
    &["ALL", "NET_BIND_SERVICE", "CHOWN", "NET_RAW", "SYS_ADMIN", "all", "", "CAP_KILL", "KILL", "\u{e4}\""];
const PROFILES: &[&str] = &["RuntimeDefault", "Localhost", "Unconfined", "", "runtime/default"];
const ANNOTATIONS: &[&str] = &[
    "runtime/default",
    "docker/default",
    "localhost/x",
    "localhost/",
    "unconfined",
    "",
    "a\"b\\\n\t\u{1}\u{7f}\u{e9}",
];
const SYSCTLS: &[&str] = &[
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_notsent_lowat",
    "kernel.sem",
    "",
];
const SOURCES: &[&str] = &[
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
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
    "nothing",
];
const NAMES: &[&str] = &["a", "b", "c", "", "a"];

impl Pods {
    pub(crate) fn new(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    fn one(&mut self, of: &[&str]) -> String {
        of[self.0.usize(..of.len())].to_owned()
    }

    fn some(&mut self, of: &[&str], most: usize) -> Vec<String> {
        (0..self.0.usize(..=most)).map(|_| self.one(of)).collect()
    }

    /// True once in so many times.
    fn once_in(&mut self, times: usize) -> bool {
        self.0.usize(..times) == 0
    }

    fn truth(&mut self) -> Value {
        match self.0.usize(..8) {
            0 => Value::Null,
            1..4 => json!(false),
            _ => json!(true),
        }
    }

    fn profile(&mut self) -> Value {
        match self.0.usize(..8) {
            0 => Value::Null,
            1 => json!({}),
            2..6 => json!({"type": "RuntimeDefault"}),
            _ => json!({"type": self.one(PROFILES)}),
        }
    }

    fn shared_context(&mut self, chance: usize) -> Map<String, Value> {
        let mut context = Map::new();
        let mut put = |name: &str, value: Value| _ = context.insert(name.to_owned(), value);
        if self.once_in(chance) {
            put("appArmorProfile", self.profile());
        }
        if self.once_in(2) {
            put("seccompProfile", self.profile());
        }
        if self.once_in(chance) {
            let kinds = ["", "container_t", "container_engine_t", "container_kvm_t", "spc_t", "z_t"];
            let mut options = json!({"type": self.one(&kinds)});
            if self.once_in(3) {
                options["user"] = json!(self.one(&["", "system_u"]));
            }
            if self.once_in(3) {
                options["role"] = json!(self.one(&["", "system_r"]));
            }
            put("seLinuxOptions", options);
        }
        if self.once_in(2) {
            put("runAsNonRoot", self.truth());
        }
        if self.once_in(chance) {
            put("runAsUser", json!(self.0.i64(0..3)));
        }
        if self.once_in(chance * 2) {
            put("windowsOptions", json!({"hostProcess": self.truth()}));
        }
        context
    }

    fn container(&mut self, chance: usize) -> Value {
        let mut context = self.shared_context(chance);
        if !self.once_in(4) {
            let escalation = if self.once_in(6) { self.truth() } else { json!(false) };
            context.insert("allowPrivilegeEscalation".to_owned(), escalation);
        }
        if !self.once_in(4) {
            let mut capabilities = json!({"drop": ["ALL"]});
            if self.once_in(chance) {
                capabilities["add"] = json!(self.some(CAPABILITIES, 3));
            }
            if self.once_in(chance) {
                capabilities["drop"] = json!(self.some(CAPABILITIES, 3));
            }
            context.insert("capabilities".to_owned(), if self.once_in(9) { json!({}) } else { capabilities });
        }
        if self.once_in(chance) {
            context.insert("privileged".to_owned(), self.truth());
        }
        if self.once_in(chance) {
            context.insert("procMount".to_owned(), json!(self.one(&["Default", "Unmasked", "", "Odd"])));
        }
        let mut container = json!({"name": self.one(NAMES), "image": "x"});
        if !self.once_in(6) {
            container["securityContext"] = context.into();
        }
        if self.once_in(chance) {
            let ports = (0..self.0.usize(..4)).map(|_| json!({"hostPort": self.0.u16(..3) * 99, "containerPort": 1}));
            container["ports"] = ports.collect();
        }
        for handler in ["livenessProbe", "readinessProbe", "startupProbe"] {
            if self.once_in(chance * 2) {
                container[handler] = self.handler();
            }
        }
        if self.once_in(chance * 2) {
            container["lifecycle"] = json!({"postStart": self.handler(), "preStop": self.handler()});
        }
        container
    }

    fn handler(&mut self) -> Value {
        let action = self.one(&["httpGet", "tcpSocket", "exec"]);
        let host = self.one(&["", "a.example", "b.example", "127.0.0.1"]);
        let action_of = if action == "exec" { json!({}) } else { json!({"host": host, "port": 80}) };
        json!({action: action_of})
    }

    fn volume(&mut self) -> Value {
        let mut volume = json!({"name": self.one(NAMES)});
        for _ in 0..self.0.usize(..3) {
            let source = self.one(SOURCES);
            volume[source] = if self.once_in(5) { Value::Null } else { json!({}) };
        }
        volume
    }

    /// A pod.
    pub(crate) fn pod(&mut self) -> Value {
        // Few pods have much that is wrong with them, so that both verdicts are common.
        let chance = [3, 8, 30, 100][self.0.usize(..4)];
        let mut pod = if self.once_in(6) { linux() } else { json!({"metadata": {"name": "x"}, "spec": {}}) };
        let spec = &mut pod["spec"];
        for name in ["hostNetwork", "hostPID", "hostIPC"] {
            if self.once_in(chance) {
                spec[name] = self.truth();
            }
        }
        if self.once_in(5) {
            spec["hostUsers"] = self.truth();
        }
        if self.once_in(6) {
            spec["os"] = json!({"name": self.one(&["windows", "linux", ""])});
        }
        if !self.once_in(8) {
            let mut context = self.shared_context(chance);
            if self.once_in(chance) {
                let sysctls = self.some(SYSCTLS, 4);
                let sysctls = sysctls.iter().map(|name| json!({"name": name, "value": "1"}));
                context.insert("sysctls".to_owned(), sysctls.collect());
            }
            spec["securityContext"] = context.into();
        }
        if spec.get("containers").is_none() || self.once_in(4) {
            for (list, most) in [("initContainers", 2), ("containers", 3), ("ephemeralContainers", 1)] {
                let containers: Vec<_> = (0..self.0.usize(..=most)).map(|_| self.container(chance)).collect();
                spec[list] = containers.into();
            }
        }
        if self.once_in(chance) {
            let volumes: Vec<_> = (0..self.0.usize(..4)).map(|_| self.volume()).collect();
            spec["volumes"] = volumes.into();
        }
        if self.once_in(chance) {
            let mut annotations = Map::new();
            for prefix in [
                "container.apparmor.security.beta.kubernetes.io/",
                "container.seccomp.security.alpha.kubernetes.io/",
                "seccomp.security.alpha.kubernetes.io/",
            ] {
                for name in ["a", "b", "pod", ""] {
                    if self.once_in(3) {
                        annotations.insert(format!("{prefix}{name}"), json!(self.one(ANNOTATIONS)));
                    }
                }
            }
            pod["metadata"]["annotations"] = annotations.into();
        }
        pod
    }

    /// Puts a value of some type at a field that admission reads.
    pub(crate) fn spoil(&mut self, pod: &mut Value) {
        let paths = [
            "/metadata/annotations",
            "/spec/hostPID",
            "/spec/hostUsers",
            "/spec/os",
            "/spec/securityContext",
            "/spec/securityContext/runAsUser",
            "/spec/securityContext/sysctls",
            "/spec/volumes",
            "/spec/containers",
            "/spec/containers/0",
            "/spec/containers/0/ports",
            "/spec/containers/0/securityContext/privileged",
            "/spec/containers/0/securityContext/procMount",
            "/spec/containers/0/securityContext/capabilities",
            "/spec/containers/0/securityContext/capabilities/add",
            "/spec/containers/0/securityContext/seccompProfile",
            "/spec/containers/0/securityContext/windowsOptions",
        ];
        let path = paths[self.0.usize(..paths.len())];
        let values = [json!(true), json!("x"), json!(1), json!(1.5), json!([]), json!({}), Value::Null];
        let (parent, name) = path.rsplit_once('/').unwrap();
        match pod.pointer_mut(parent) {
            Some(Value::Object(members)) => {
                members.insert(name.to_owned(), self.0.choice(values).unwrap());
            }
            Some(Value::Array(items)) if !items.is_empty() => items[0] = self.0.choice(values).unwrap(),
            _ => {}
        }
    }

    /// The labels of a namespace.
    pub(crate) fn labels(&mut self) -> Value {
        let mut labels = Map::new();
        for mode in ["enforce", "audit", "warn"] {
            let prefix = "pod-security.kubernetes.io";
            if self.once_in(2) {
                let levels =
                    ["privileged", "baseline", "baseline", "restricted", "restricted", "", "Strict\n", "x\u{e4}"];
                labels.insert(format!("{prefix}/{mode}"), json!(self.one(&levels)));
            }
            if self.once_in(3) {
                let versions = ["latest", "v1.0", "v1.37", "v1.99", "v1.8", "v1.01", "1.20", "v2.0", "", "v1.x"];
                labels.insert(format!("{prefix}/{mode}-version"), json!(self.one(&versions)));
            }
        }
        if self.once_in(9) {
            labels.insert("app".to_owned(), json!("x"));
        }
        labels.into()
    }
}

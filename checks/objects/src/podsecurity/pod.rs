//! What admission looks at in a pod, with the place of each field.

use crate::cursor::{Cursor, Field, Misfit, Place};

/// A pod or a pod's template, as far as Pod Security looks at it.
#[derive(Debug, Clone, Default)]
pub struct Pod {
    /// The annotations.
    pub annotations: Vec<(String, Field<String>)>,
    /// `spec.os.name`.
    pub os: Option<String>,
    /// `spec.hostUsers`.
    pub host_users: Option<bool>,
    /// `spec.runtimeClassName`.
    pub runtime_class: Option<String>,
    /// `spec.hostNetwork`, `spec.hostPID` and `spec.hostIPC`, those that are true, by name.
    pub host_namespaces: Vec<(&'static str, Place)>,
    /// `spec.securityContext`.
    pub security_context: SecurityContext,
    /// `spec.volumes`.
    pub volumes: Vec<Volume>,
    /// The init containers, the containers and the ephemeral containers, in this order, as admission visits them.
    pub containers: Vec<Container>,
}

/// A container.
#[derive(Debug, Clone)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub at: Place,
    /// Its security context.
    pub security_context: SecurityContext,
    /// Its ports: `hostPort` and `containerPort`, 0 where they are not set.
    pub ports: Vec<(Field<i64>, i64)>,
    /// The hosts of its probes and lifecycle handlers.
    pub hosts: Vec<Handler>,
    /// Is it an ephemeral container?
    pub ephemeral: bool,
}

/// The `host` of a probe or of a lifecycle handler.
#[derive(Debug, Clone)]
pub struct Handler {
    /// The host, never empty.
    pub host: Field<String>,
}

/// A volume.
#[derive(Debug, Clone)]
pub struct Volume {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub at: Place,
    /// Its sources: the fields that are set, but its name.
    pub sources: Vec<(String, Place)>,
}

/// A security context, of a pod or of a container; each reads the fields that it has.
#[derive(Debug, Clone, Default)]
pub struct SecurityContext {
    /// Where it is, or would be.
    pub at: Option<Place>,
    /// `allowPrivilegeEscalation`.
    pub allow_privilege_escalation: Option<Field<bool>>,
    /// `appArmorProfile.type`; empty where the profile has none.
    pub app_armor: Option<Field<String>>,
    /// `capabilities`.
    pub capabilities: Option<Capabilities>,
    /// `privileged`.
    pub privileged: Option<Field<bool>>,
    /// `procMount`.
    pub proc_mount: Option<Field<String>>,
    /// `runAsNonRoot`.
    pub run_as_non_root: Option<Field<bool>>,
    /// `runAsUser`.
    pub run_as_user: Option<Field<i64>>,
    /// `seLinuxOptions`.
    pub se_linux: Option<SeLinux>,
    /// `seccompProfile.type`; empty where the profile has none.
    pub seccomp: Option<Field<String>>,
    /// The names of `sysctls`.
    pub sysctls: Vec<Field<String>>,
    /// `windowsOptions.hostProcess`.
    pub host_process: Option<Field<bool>>,
}

/// `capabilities`.
#[derive(Debug, Clone)]
pub struct Capabilities {
    /// Where.
    pub at: Place,
    /// `add`.
    pub add: Vec<Field<String>>,
    /// `drop`.
    pub drop: Vec<Field<String>>,
}

/// `seLinuxOptions`; what is not set is empty.
#[derive(Debug, Clone)]
pub struct SeLinux {
    /// `type`.
    pub kind: Field<String>,
    /// `user`.
    pub user: Field<String>,
    /// `role`.
    pub role: Field<String>,
}

impl Pod {
    /// Reads a pod from its metadata and its specification; fields of another type than the API's are named, and
    /// count as missing.
    pub fn read(metadata: &Cursor<'_>, spec: &Cursor<'_>, misfits: &mut Vec<Misfit>) -> Self {
        let annotations = metadata.get("annotations").entries(misfits);
        let annotations =
            annotations.into_iter().map(|(name, value)| (name.to_owned(), text(&value, misfits))).collect();
        let os = spec.get("os").as_map(misfits).get("name").text(misfits).map(|field| field.value);
        let runtime_class = spec.get("runtimeClassName").text(misfits).map(|field| field.value);
        let host_users = spec.get("hostUsers").truth(misfits).map(|field| field.value);
        let mut host_namespaces = Vec::new();
        for name in ["hostNetwork", "hostPID", "hostIPC"] {
            let set = spec.get(name).truth(misfits).filter(|field| field.value);
            host_namespaces.extend(set.map(|field| (name, field.at)));
        }
        let context = spec.get("securityContext").as_map(misfits);
        let mut security_context = SecurityContext::shared(&context, misfits);
        let sysctls = context.get("sysctls").maps(misfits);
        security_context.sysctls = sysctls.iter().map(|sysctl| text(&sysctl.get("name"), misfits)).collect();
        let volumes = spec.get("volumes").maps(misfits);
        let volumes = volumes.iter().map(|volume| Volume::read(volume, misfits)).collect();
        let mut containers = Vec::new();
        for list in ["initContainers", "containers", "ephemeralContainers"] {
            for container in spec.get(list).maps(misfits) {
                containers.push(Container::read(&container, list == "ephemeralContainers", misfits));
            }
        }
        Self { annotations, os, host_users, runtime_class, host_namespaces, security_context, volumes, containers }
    }

    /// Is it for Windows by its own word?
    #[must_use]
    pub fn is_windows(&self) -> bool {
        self.os.as_deref() == Some("windows")
    }

    /// Does it run in a user namespace by its own word?
    #[must_use]
    pub fn is_in_user_namespace(&self) -> bool {
        self.host_users == Some(false)
    }
}

/// A text, empty where it is missing, which is the same to Go.
fn text(cursor: &Cursor<'_>, misfits: &mut Vec<Misfit>) -> Field<String> {
    cursor.text(misfits).unwrap_or_else(|| Field { value: String::new(), at: cursor.place() })
}

fn texts(list: &Cursor<'_>, misfits: &mut Vec<Misfit>) -> Vec<Field<String>> {
    list.items(misfits).iter().map(|item| text(item, misfits)).collect()
}

impl Container {
    fn read(container: &Cursor<'_>, ephemeral: bool, misfits: &mut Vec<Misfit>) -> Self {
        let context = container.get("securityContext").as_map(misfits);
        let mut security_context = SecurityContext::shared(&context, misfits);
        security_context.allow_privilege_escalation = context.get("allowPrivilegeEscalation").truth(misfits);
        security_context.privileged = context.get("privileged").truth(misfits);
        security_context.proc_mount = context.get("procMount").text(misfits);
        let capabilities = context.get("capabilities").map(misfits);
        security_context.capabilities = capabilities.map(|capabilities| Capabilities {
            at: capabilities.place(),
            add: texts(&capabilities.get("add"), misfits),
            drop: texts(&capabilities.get("drop"), misfits),
        });
        let number = |cursor: Cursor<'_>, misfits: &mut Vec<Misfit>| {
            cursor.integer(misfits).unwrap_or_else(|| Field { value: 0, at: cursor.place() })
        };
        let mut ports = Vec::new();
        for port in container.get("ports").maps(misfits) {
            let own = number(port.get("containerPort"), misfits).value;
            ports.push((number(port.get("hostPort"), misfits), own));
        }
        let mut hosts = Vec::new();
        let lifecycle = container.get("lifecycle").as_map(misfits);
        for handler in [
            container.get("livenessProbe"),
            container.get("readinessProbe"),
            container.get("startupProbe"),
            lifecycle.get("postStart"),
            lifecycle.get("preStop"),
        ] {
            let handler = handler.as_map(misfits);
            for action in ["httpGet", "tcpSocket"] {
                let host =
                    handler.get(action).as_map(misfits).get("host").text(misfits).filter(|host| !host.value.is_empty());
                hosts.extend(host.map(|host| Handler { host }));
            }
        }
        let name = text(&container.get("name"), misfits).value;
        Self { name, at: container.place(), security_context, ports, hosts, ephemeral }
    }
}

impl Volume {
    fn read(volume: &Cursor<'_>, misfits: &mut Vec<Misfit>) -> Self {
        let sources = volume.entries(misfits).into_iter().filter(|(name, _)| *name != "name");
        let sources = sources.filter_map(|(name, _)| {
            let source = volume.get(name);
            source.is_set().then(|| (name.to_owned(), source.place()))
        });
        let sources = sources.collect();
        Self { name: text(&volume.get("name"), misfits).value, at: volume.place(), sources }
    }

    /// Where a source is, if it is set.
    #[must_use]
    pub fn source(&self, name: &str) -> Option<&Place> {
        self.sources.iter().find(|(source, _)| source == name).map(|(_, at)| at)
    }
}

impl SecurityContext {
    /// What a pod's and a container's have in common.
    fn shared(context: &Cursor<'_>, misfits: &mut Vec<Misfit>) -> Self {
        let mut profile = |name: &str| {
            let profile = context.get(name).map(misfits)?;
            Some(text(&profile.get("type"), misfits))
        };
        let (app_armor, seccomp) = (profile("appArmorProfile"), profile("seccompProfile"));
        let options = context.get("seLinuxOptions").map(misfits);
        let se_linux = options.map(|options| SeLinux {
            kind: text(&options.get("type"), misfits),
            user: text(&options.get("user"), misfits),
            role: text(&options.get("role"), misfits),
        });
        Self {
            at: Some(context.place()),
            app_armor,
            seccomp,
            se_linux,
            run_as_non_root: context.get("runAsNonRoot").truth(misfits),
            run_as_user: context.get("runAsUser").integer(misfits),
            host_process: context.get("windowsOptions").as_map(misfits).get("hostProcess").truth(misfits),
            ..Self::default()
        }
    }

    /// The place of a field that is missing.
    pub(super) fn missing(&self, field: &str) -> Place {
        let place = self.at.clone().unwrap_or(Place { path: "securityContext".to_owned(), line: None });
        Place { path: format!("{}.{field}", place.path), line: place.line }
    }
}

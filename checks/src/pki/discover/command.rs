//! How the components of a node are started: their flags, from static pods, processes, units and argument files.
//!
//! A static pod's manifest counts before a process, since it says where on the node a container's files lie. A process that
//! sees other mounts than the node's first one is somebody else's node in a sandbox, and is passed over.

use std::collections::BTreeMap;

use serde_json::Value;

use super::role::Component;
use crate::fact::Fact;
use crate::host::{FileKind, Host, Process, Query};

/// Folders of static pods, where neither the user nor the kubelet names one: kubeadm, RKE2, Bottlerocket.
const MANIFESTS: [&str; 3] =
    ["/etc/kubernetes/manifests", "/var/lib/rancher/rke2/agent/pod-manifests", "/etc/kubernetes/static-pods"];
/// Folders of units of distributions that start the components themselves.
const UNITS: [&str; 3] = ["/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];
/// Folders with a file of arguments for each component, and what `$SNAP_DATA` stands for: MicroK8s.
const ARGUMENTS: [(&str, &str); 1] = [("/var/snap/microk8s/current/args", "/var/snap/microk8s/current")];
const KUBELET_CONFIG: &str = "/var/lib/kubelet/config.yaml";
const KUBELET_FLAGS: &str = "/var/lib/kubelet/kubeadm-flags.env";

/// How a component is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandLine {
    /// Which one.
    pub component: Component,
    /// Its flags in order, without the leading dashes.
    flags: Vec<(String, String)>,
    /// The file, or the process, that says so.
    pub place: String,
    /// When the process was started, seconds since the epoch, if it runs.
    pub started: Option<i64>,
    /// Where on the node the folders of its container lie: longest first.
    mounts: Vec<(String, String)>,
    /// The configuration file that the flags from this one on stand in.
    configured: Option<(usize, String)>,
}

impl CommandLine {
    fn new(component: Component, words: &[String], place: impl Into<String>) -> Self {
        Self {
            component,
            flags: flags(words),
            place: place.into(),
            started: None,
            mounts: Vec::new(),
            configured: None,
        }
    }

    /// The last value of a flag, which is the one that counts.
    #[must_use]
    pub fn get(&self, flag: &str) -> Option<&str> {
        self.flags.iter().rev().find(|(name, _)| name == flag).map(|(_, value)| value.as_str())
    }

    /// Where the value of a flag that counts stands: with the others, or in the configuration file beside them.
    #[must_use]
    pub fn place_of(&self, flag: &str) -> &str {
        let at = self.flags.iter().rposition(|(name, _)| name == flag);
        match &self.configured {
            Some((from, file)) if at.is_some_and(|at| at >= *from) => file,
            _ => &self.place,
        }
    }

    /// Every value of a flag.
    pub fn all<'s>(&'s self, flag: &'s str) -> impl Iterator<Item = &'s str> {
        self.flags.iter().filter(move |(name, _)| name == flag).map(|(_, value)| value.as_str())
    }

    /// The paths on the node that a flag names.
    pub fn paths(&self, flag: &str) -> Vec<String> {
        self.all(flag).filter(|value| !value.is_empty()).map(|value| self.on_the_node(value)).collect()
    }

    /// A path of the component's container, as it is on the node.
    pub(super) fn on_the_node(&self, path: &str) -> String {
        let inside = |mount: &str| path == mount || path.strip_prefix(mount).is_some_and(|rest| rest.starts_with('/'));
        match self.mounts.iter().find(|(mount, _)| inside(mount)) {
            Some((mount, host)) => format!("{}{}", host.trim_end_matches('/'), &path[mount.len()..]),
            None => path.to_owned(),
        }
    }
}

/// `--flag=value`, `--flag value`, `-flag value` and `--flag`.
fn flags(words: &[String]) -> Vec<(String, String)> {
    let mut flags = Vec::new();
    let mut words = words.iter().peekable();
    while let Some(word) = words.next() {
        let Some(name) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')) else { continue };
        if let Some((name, value)) = name.split_once('=') {
            flags.push((name.to_owned(), value.trim_matches('"').to_owned()));
        } else {
            let value = words.next_if(|next| !next.starts_with('-')).cloned().unwrap_or_else(|| "true".to_owned());
            flags.push((name.to_owned(), value));
        }
    }
    flags
}

/// The component that is started somewhere in a command, and the words behind its name.
fn component(words: &[String]) -> Option<(Component, &[String])> {
    words.iter().enumerate().find_map(|(index, word)| {
        let program = word.rsplit('/').next().unwrap_or(word);
        Some((Component::of_program(program)?, &words[index + 1..]))
    })
}

/// How the components of a node are started.
#[derive(Debug, Default)]
pub(super) struct Started {
    /// Each once for each place that says so.
    pub(super) commands: Vec<CommandLine>,
    /// What could not be read, with the reason.
    pub(super) unread: Vec<String>,
    /// Of which component nobody says how it is started, since its manifest could not be read; with the reason.
    pub(super) untold: Vec<(Component, String)>,
}

/// Looks in every place that says how components are started.
pub(super) fn command_lines(host: &dyn Host) -> Started {
    let (mut unread, mut untold) = (Vec::new(), Vec::new());
    let mut found = Vec::new();
    let processes = processes(host);
    let mut kubelet = kubelet(host, &processes, &mut unread);
    untold.extend(unread.iter().map(|why| (Component::Kubelet, why.clone())));
    let own = kubelet.as_ref().and_then(|kubelet| kubelet.get("pod-manifest-path").map(str::to_owned));
    let folders: Vec<String> = match host.layout().manifests.or(own) {
        Some(folder) => vec![folder],
        None => MANIFESTS.map(str::to_owned).into(),
    };
    for folder in folders {
        manifests(host, &folder, &mut found, &mut unread, &mut untold);
    }
    arguments(host, &mut found);
    units(host, &mut found);
    for process in &processes {
        let words: Vec<String> = process.command.split('\0').map(str::to_owned).collect();
        let Some((component, rest)) = component(&words[..1]).map(|(component, _)| (component, &words[1..])) else {
            continue;
        };
        match found.iter_mut().find(|line: &&mut CommandLine| line.component == component) {
            Some(line) => line.started = Some(process.started),
            None if component == Component::Kubelet => {}
            None if process.sandboxed => continue,
            None => {
                let mut line = CommandLine::new(component, rest, format!("process {}", process.pid));
                line.started = Some(process.started);
                found.push(line);
            }
        }
    }
    for line in found.iter_mut().filter(|line| line.component == Component::Etcd) {
        etcd_config(host, line, &mut unread);
    }
    let clients = found.iter_mut().filter_map(|line| client_config(host, line, &mut unread)).collect::<Vec<_>>();
    found.extend(clients);
    // The kubelet's flags and configuration are one.
    if let Some(kubelet) = &mut kubelet {
        found.retain(|line| line.component != Component::Kubelet || line.place.starts_with(ARGUMENTS[0].0));
        if !found.iter().any(|line| line.component == Component::Kubelet) {
            found.push(kubelet.clone());
        }
    }
    untold.retain(|(component, _)| found.iter().all(|line| line.component != *component));
    Started { commands: found, unread, untold }
}

fn processes(host: &dyn Host) -> Vec<Process> {
    host.parsed(&Query::Processes).known().cloned().unwrap_or_default()
}

/// The kubelet's flags, and the members of its configuration that stand for flags.
fn kubelet(host: &dyn Host, processes: &[Process], unread: &mut Vec<String>) -> Option<CommandLine> {
    let mut words = Vec::new();
    let mut place = None;
    let mut started = None;
    let running = processes.iter().find(|process| {
        let program = process.command.split('\0').next().unwrap_or_default();
        !process.sandboxed && program.rsplit('/').next() == Some("kubelet")
    });
    if let Some(process) = running {
        words.extend(process.command.split('\0').skip(1).map(str::to_owned));
        place = Some(format!("process {}", process.pid));
        started = Some(process.started);
    } else if let Fact::Known(text) = host.text(KUBELET_FLAGS) {
        words.extend(text.split(['"', ' ', '\n']).filter(|word| word.starts_with("--")).map(str::to_owned));
        place = Some(KUBELET_FLAGS.to_owned());
    }
    let mut line = CommandLine::new(Component::Kubelet, &words, place.clone().unwrap_or_default());
    line.started = started;
    let path = host
        .layout()
        .kubelet_config
        .or_else(|| line.get("config").map(str::to_owned))
        .unwrap_or_else(|| KUBELET_CONFIG.to_owned());
    match host.text(&path).parse(|text| serde_saphyr::from_str::<Value>(&text)) {
        Fact::Known(config) => {
            if place.is_none() {
                line.place.clone_from(&path);
            }
            line.configured = Some((line.flags.len(), path));
            for (flag, value) in members(&config, KUBELET_MEMBERS) {
                // A flag counts before the file.
                if line.get(&flag).is_none() {
                    line.flags.push((flag, value));
                }
            }
            Some(line)
        }
        Fact::Absent(_) | Fact::NotGathered(_) => place.map(|_| line),
        // Its flags alone do not say what it is told.
        Fact::Unreadable(why) => {
            unread.push(why);
            None
        }
        Fact::Malformed(why) => {
            unread.push(no_yaml(&path, &why));
            None
        }
    }
}

/// Members of the kubelet's configuration, and the flags that they stand for.
const KUBELET_MEMBERS: &[(&str, &str)] = &[
    ("authentication.x509.clientCAFile", "client-ca-file"),
    ("authorization.mode", "authorization-mode"),
    ("tlsCertFile", "tls-cert-file"),
    ("tlsPrivateKeyFile", "tls-private-key-file"),
    ("rotateCertificates", "rotate-certificates"),
    ("serverTLSBootstrap", "rotate-server-certificates"),
    ("staticPodPath", "pod-manifest-path"),
    ("clusterDomain", "cluster-domain"),
    ("address", "address"),
    ("tlsCipherSuites", "tls-cipher-suites"),
    ("tlsMinVersion", "tls-min-version"),
];

/// Members of etcd's configuration file, and the flags that they stand for (etcd, server/embed/config.go).
const ETCD_MEMBERS: &[(&str, &str)] = &[
    ("client-transport-security.cert-file", "cert-file"),
    ("client-transport-security.key-file", "key-file"),
    ("client-transport-security.trusted-ca-file", "trusted-ca-file"),
    ("client-transport-security.client-cert-auth", "client-cert-auth"),
    ("client-transport-security.auto-tls", "auto-tls"),
    ("peer-transport-security.cert-file", "peer-cert-file"),
    ("peer-transport-security.key-file", "peer-key-file"),
    ("peer-transport-security.trusted-ca-file", "peer-trusted-ca-file"),
    ("peer-transport-security.client-cert-auth", "peer-client-cert-auth"),
    ("peer-transport-security.auto-tls", "peer-auto-tls"),
    ("data-dir", "data-dir"),
    ("listen-client-urls", "listen-client-urls"),
    ("advertise-client-urls", "advertise-client-urls"),
    ("initial-advertise-peer-urls", "initial-advertise-peer-urls"),
    ("cipher-suites", "cipher-suites"),
    ("tls-min-version", "tls-min-version"),
    ("tls-max-version", "tls-max-version"),
];

/// Members of the configurations of kube-scheduler and kube-proxy, and the flags that they stand for.
const CLIENT_MEMBERS: &[(&str, &str)] = &[("clientConnection.kubeconfig", "kubeconfig")];

/// Members of a configuration as the flags that they stand for.
fn members(config: &Value, table: &[(&str, &str)]) -> Vec<(String, String)> {
    let text = |value: &Value| match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Bool(flag) => Some(flag.to_string()),
        // As the flag of the same has it: separated by commas.
        Value::Array(all) if !all.is_empty() => {
            all.iter().map(Value::as_str).collect::<Option<Vec<_>>>().map(|all| all.join(","))
        }
        _ => None,
    };
    let row = |(member, flag): &(&str, &str)| {
        let value = member.split('.').try_fold(config, |value, key| value.get(key))?;
        Some(((*flag).to_owned(), text(value)?))
    };
    table.iter().filter_map(row).collect()
}

/// Where etcd is told a configuration file: with one it reads no other flag and no variable.
fn etcd_config(host: &dyn Host, line: &mut CommandLine, unread: &mut Vec<String>) {
    let Some((path, config)) = config(host, line, "config-file", unread) else { return };
    (line.flags, line.place) = (members(&config, ETCD_MEMBERS), path);
}

/// What a file tells kube-scheduler or kube-proxy of its client: with one they read that of no flag.
fn client_config(host: &dyn Host, line: &mut CommandLine, unread: &mut Vec<String>) -> Option<CommandLine> {
    if !matches!(line.component, Component::Scheduler | Component::Proxy) {
        return None;
    }
    let (place, config) = config(host, line, "config", unread)?;
    line.flags.retain(|(flag, _)| CLIENT_MEMBERS.iter().all(|(_, stands_for)| flag != stands_for));
    Some(CommandLine { flags: members(&config, CLIENT_MEMBERS), place, ..line.clone() })
}

/// The configuration file that a flag names, and what is in it.
fn config(host: &dyn Host, line: &CommandLine, flag: &str, unread: &mut Vec<String>) -> Option<(String, Value)> {
    let path = line.paths(flag).pop()?;
    match host.text(&path).parse(|text| serde_saphyr::from_str::<Value>(&text)) {
        Fact::Known(config) => return Some((path, config)),
        Fact::Absent(_) | Fact::NotGathered(_) => {
            unread.push(format!("{path}, which {} is told, is not there", line.component));
        }
        Fact::Unreadable(why) => unread.push(why),
        Fact::Malformed(why) => unread.push(no_yaml(&path, &why)),
    }
    None
}

/// Says of a file what a parser says of its text.
fn no_yaml(path: &str, why: &str) -> String {
    format!("{path} is no YAML: {}", why.lines().next().unwrap_or_default())
}

/// Static pods of a folder.
fn manifests(
    host: &dyn Host,
    folder: &str,
    found: &mut Vec<CommandLine>,
    unread: &mut Vec<String>,
    untold: &mut Vec<(Component, String)>,
) {
    let entries = match host.list(folder) {
        Fact::Known(entries) => entries,
        Fact::Unreadable(why) | Fact::Malformed(why) => return unread.push(why),
        Fact::Absent(_) | Fact::NotGathered(_) => return,
    };
    for entry in entries {
        let manifest = matches!(entry.kind, FileKind::File | FileKind::Link)
            && [".yaml", ".yml", ".json", ".manifest"].iter().any(|end| entry.name.ends_with(end));
        if !manifest {
            continue;
        }
        let path = format!("{folder}/{}", entry.name);
        let why = match host.text(&path).parse(|text| serde_saphyr::from_str::<Value>(&text)) {
            Fact::Known(pod) => {
                found.extend(pod_commands(&pod, &path));
                continue;
            }
            Fact::Absent(_) | Fact::NotGathered(_) => continue,
            Fact::Unreadable(why) => why,
            Fact::Malformed(why) => no_yaml(&path, &why),
        };
        // What is in it is told by its name, which is kubeadm's or OpenShift's.
        let name = entry.name.split('.').next().unwrap_or_default();
        let component = Component::of_program(name.strip_suffix("-pod").unwrap_or(name));
        untold.extend(component.map(|component| (component, why.clone())));
        unread.push(why);
    }
}

/// The components that a pod's containers are.
fn pod_commands(pod: &Value, path: &str) -> Vec<CommandLine> {
    let list = |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let spec = pod.get("spec").cloned().unwrap_or_default();
    let volumes: BTreeMap<String, String> = list(spec.get("volumes"))
        .iter()
        .filter_map(|volume| Some((text(volume, "name")?, text(volume.get("hostPath")?, "path")?)))
        .collect();
    let mut lines = Vec::new();
    for container in list(spec.get("containers")) {
        let words: Vec<String> = list(container.get("command"))
            .iter()
            .chain(&list(container.get("args")))
            .filter_map(Value::as_str)
            // A shell's script is one word of several; a flag is one, whatever is in it.
            .flat_map(|word| {
                let script = !word.starts_with('-') && word.contains(char::is_whitespace) && word.contains("--");
                let split = if script { word.split_whitespace().collect() } else { vec![word] };
                split.into_iter().map(|word| word.trim_matches('"').to_owned()).collect::<Vec<_>>()
            })
            .collect();
        let Some((component, rest)) = component(&words) else { continue };
        let mut line = CommandLine::new(component, rest, path);
        line.mounts = list(container.get("volumeMounts"))
            .iter()
            .filter_map(|mount| {
                let host = volumes.get(&text(mount, "name")?)?;
                let host = match text(mount, "subPath") {
                    Some(sub) => format!("{}/{sub}", host.trim_end_matches('/')),
                    None => host.clone(),
                };
                Some((text(mount, "mountPath")?.trim_end_matches('/').to_owned(), host))
            })
            .collect();
        line.mounts.sort_by_key(|(mount, _)| std::cmp::Reverse(mount.len()));
        lines.push(line);
    }
    lines
}

/// Files of arguments, one for each component.
fn arguments(host: &dyn Host, found: &mut Vec<CommandLine>) {
    for (folder, data) in ARGUMENTS {
        for component in Component::PROGRAMS {
            let path = format!("{folder}/{component}");
            if let Fact::Known(text) = host.text(&path) {
                let text = text.replace("${SNAP_DATA}", data).replace("$SNAP_DATA", data);
                let words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
                found.push(CommandLine::new(component, &words, path));
            }
        }
    }
}

/// Units that start a component itself, with the variables of their environment files.
fn units(host: &dyn Host, found: &mut Vec<CommandLine>) {
    for component in Component::PROGRAMS.into_iter().filter(|&component| component != Component::Kubelet) {
        if found.iter().any(|line| line.component == component) {
            continue;
        }
        for folder in UNITS {
            let path = format!("{folder}/{component}.service");
            let Fact::Known(text) = host.text(&path) else { continue };
            let text = text.replace("\\\n", " ");
            let lines = || text.lines().map(str::trim);
            let mut variables = BTreeMap::new();
            for line in lines() {
                if let Some(file) = line.strip_prefix("EnvironmentFile=") {
                    let file = host.text(file.trim_start_matches('-').trim());
                    let settings = file.known().map(|text| text.lines().filter_map(setting).collect::<Vec<_>>());
                    variables.extend(settings.unwrap_or_default());
                } else if let Some(pair) = line.strip_prefix("Environment=") {
                    variables.extend(setting(pair.trim_matches('"')));
                }
            }
            let Some(start) = lines().find_map(|line| line.strip_prefix("ExecStart=")) else { continue };
            let mut start = start.to_owned();
            for (name, value) in &variables {
                start = start.replace(&format!("${{{name}}}"), value).replace(&format!("${name}"), value);
            }
            let mut words: Vec<String> =
                start.split_whitespace().map(|word| word.trim_matches(['"', '\'']).to_owned()).collect();
            if component == Component::Etcd {
                // etcd reads ETCD_TRUSTED_CA_FILE as it reads --trusted-ca-file.
                words.extend(variables.iter().filter_map(|(name, value)| {
                    let flag = name.strip_prefix("ETCD_")?.to_lowercase().replace('_', "-");
                    Some(format!("--{flag}={value}"))
                }));
            }
            let rest = words.get(1..).unwrap_or_default();
            found.push(CommandLine::new(component, rest, path));
            break;
        }
    }
}

/// `NAME=value` of an environment file.
fn setting(line: &str) -> Option<(String, String)> {
    let (name, value) = line.trim().split_once('=')?;
    let plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    plain.then(|| (name.to_owned(), value.trim_matches(['"', '\'']).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn flags_are_read_in_every_form() {
        let line = CommandLine::new(Component::Etcd, &words("--a=1 --b 2 -c=3 --d --e x --e=y"), "");
        assert_eq!(
            ["a", "b", "c", "d", "e"].map(|flag| line.get(flag).unwrap().to_owned()),
            ["1", "2", "3", "true", "y"]
        );
        assert_eq!(line.all("e").collect::<Vec<_>>(), ["x", "y"]);
    }

    #[test]
    fn a_container_s_path_is_found_on_the_node() {
        let pod = serde_json::json!({ "spec": {
            "containers": [{
                "command": ["/bin/sh", "-c", "exec /usr/local/bin/kube-apiserver --tls-cert-file=/pki/a/server.crt --client-ca-file=/etc/x.crt"],
                "volumeMounts": [{ "name": "k", "mountPath": "/pki/" }, { "name": "a", "mountPath": "/pki/a" }],
            }],
            "volumes": [
                { "name": "k", "hostPath": { "path": "/srv" } },
                { "name": "a", "hostPath": { "path": "/srv/kube-apiserver/" } },
            ],
        }});
        let lines = pod_commands(&pod, "/m.yaml");
        assert_eq!(lines[0].component, Component::Apiserver);
        assert_eq!(lines[0].paths("tls-cert-file"), ["/srv/kube-apiserver/server.crt"]);
        assert_eq!(lines[0].paths("client-ca-file"), ["/etc/x.crt"]);
    }
}

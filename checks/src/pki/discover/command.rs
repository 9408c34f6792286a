//! How the components of a node are started: their flags, from static pods, processes, units and argument files.
//!
//! A static pod's manifest counts before a process, since it says where on the node a container's files lie. A
//! process that sees other mounts than the node's first one is somebody else's node in a sandbox, and is passed over.

use std::collections::BTreeMap;

use serde_json::Value;

use super::manifest::{Manifest, Manifests, manifests};
use super::role::Component;
use crate::fact::Fact;
use crate::host::{Host, Process, Query};

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
    flags: Vec<Flag>,
    /// The file, or the process, that says so.
    pub place: String,
    /// When the process was started, seconds since the epoch, if it runs.
    pub started: Option<i64>,
    /// What is mounted into its container, the longest path first; none where it is not a static pod.
    pub(super) mounts: Option<Vec<Mount>>,
    /// The configuration file that the flags from this one on stand in.
    configured: Option<(usize, String)>,
}

/// A flag of a command line.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Flag {
    name: String,
    value: String,
    /// The line of its value, or 0.
    line: u32,
}

/// A word of a command, and the line that it stands on, or 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) line: u32,
}

/// Something that is mounted into a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mount {
    /// The path in the container.
    pub(super) inside: String,
    /// The path on the node, if it is one of a hostPath volume.
    pub(super) host: Option<String>,
}

impl CommandLine {
    pub(super) fn new(component: Component, words: &[Word], place: impl Into<String>) -> Self {
        Self { component, flags: flags(words), place: place.into(), started: None, mounts: None, configured: None }
    }

    /// The last value of a flag, which is the one that counts.
    #[must_use]
    pub fn get(&self, flag: &str) -> Option<&str> {
        self.flags.iter().rev().find(|one| one.name == flag).map(|one| one.value.as_str())
    }

    /// The line of the value that counts, if its place has lines.
    #[must_use]
    pub fn line_of(&self, flag: &str) -> Option<u32> {
        self.flags.iter().rev().find(|one| one.name == flag).map(|one| one.line).filter(|line| *line > 0)
    }

    /// Where the value of a flag that counts stands: with the others, or in the configuration file beside them.
    #[must_use]
    pub fn place_of(&self, flag: &str) -> &str {
        let at = self.flags.iter().rposition(|one| one.name == flag);
        match &self.configured {
            Some((from, file)) if at.is_some_and(|at| at >= *from) => file,
            _ => &self.place,
        }
    }

    /// Every value of a flag.
    pub fn all<'s>(&'s self, flag: &'s str) -> impl Iterator<Item = &'s str> {
        self.flags.iter().filter(move |one| one.name == flag).map(|one| one.value.as_str())
    }

    /// The paths on the node that a flag names.
    pub fn paths(&self, flag: &str) -> Vec<String> {
        self.all(flag).filter(|value| !value.is_empty()).map(|value| self.on_the_node(value)).collect()
    }

    /// A path of the component's container, as it is on the node.
    pub(super) fn on_the_node(&self, path: &str) -> String {
        match self.mount_of(path) {
            Some(Mount { inside, host: Some(host) }) => {
                format!("{}{}", host.trim_end_matches('/'), &path[inside.len()..])
            }
            _ => path.to_owned(),
        }
    }

    /// Is a path of its container one that is mounted into it? All of it is, where there is no container.
    #[must_use]
    pub fn is_mounted(&self, path: &str) -> bool {
        self.mounts.is_none() || self.mount_of(path).is_some()
    }

    fn mount_of(&self, path: &str) -> Option<&Mount> {
        let inside = |mount: &&Mount| {
            path == mount.inside || path.strip_prefix(&mount.inside).is_some_and(|rest| rest.starts_with('/'))
        };
        self.mounts.as_ref()?.iter().find(inside)
    }
}

/// `--flag=value`, `--flag value`, `-flag value` and `--flag`.
fn flags(words: &[Word]) -> Vec<Flag> {
    let mut flags = Vec::new();
    let mut words = words.iter().peekable();
    while let Some(Word { text, line }) = words.next() {
        let Some(name) = text.strip_prefix("--").or_else(|| text.strip_prefix('-')) else { continue };
        let (name, value, line) = match name.split_once('=') {
            Some((name, value)) => (name, value.trim_matches('"').to_owned(), *line),
            None => match words.next_if(|next| !next.text.starts_with('-')) {
                Some(next) => (name, next.text.clone(), next.line),
                None => (name, "true".to_owned(), *line),
            },
        };
        flags.push(Flag { name: name.to_owned(), value, line });
    }
    flags
}

/// Words that stand on no line.
fn words<'w>(all: impl IntoIterator<Item = &'w str>) -> Vec<Word> {
    all.into_iter().map(|text| Word { text: text.to_owned(), line: 0 }).collect()
}

/// The component that is started somewhere in a command, and the words behind its name.
pub(super) fn component(words: &[Word]) -> Option<(Component, &[Word])> {
    words.iter().enumerate().find_map(|(index, word)| {
        let program = word.text.rsplit('/').next().unwrap_or(&word.text);
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
    /// The files that the kubelet reads for static pods.
    pub(super) manifests: Vec<Manifest>,
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
    let mut pods = Manifests::default();
    for folder in folders {
        manifests(host, &folder, &mut pods);
    }
    found.extend(pods.commands);
    unread.extend(pods.unread);
    untold.extend(pods.untold);
    arguments(host, &mut found);
    units(host, &mut found);
    for process in &processes {
        let words = words(process.command.split('\0'));
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
    Started { commands: found, unread, untold, manifests: pods.all }
}

fn processes(host: &dyn Host) -> Vec<Process> {
    host.parsed(&Query::Processes).known().cloned().unwrap_or_default()
}

/// The kubelet's flags, and the members of its configuration that stand for flags.
fn kubelet(host: &dyn Host, processes: &[Process], unread: &mut Vec<String>) -> Option<CommandLine> {
    let mut all = Vec::new();
    let mut place = None;
    let mut started = None;
    let running = processes.iter().find(|process| {
        let program = process.command.split('\0').next().unwrap_or_default();
        !process.sandboxed && program.rsplit('/').next() == Some("kubelet")
    });
    if let Some(process) = running {
        all.extend(words(process.command.split('\0').skip(1)));
        place = Some(format!("process {}", process.pid));
        started = Some(process.started);
    } else if let Fact::Known(text) = host.text(KUBELET_FLAGS) {
        all.extend(words(text.split(['"', ' ', '\n']).filter(|word| word.starts_with("--"))));
        place = Some(KUBELET_FLAGS.to_owned());
    }
    let mut line = CommandLine::new(Component::Kubelet, &all, place.clone().unwrap_or_default());
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
            // A flag counts before the file.
            let told: Vec<_> = members(&config, KUBELET_MEMBERS);
            let told = told.into_iter().filter(|flag| line.get(&flag.name).is_none()).collect::<Vec<_>>();
            line.flags.extend(told);
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
    ("listen-client-http-urls", "listen-client-http-urls"),
    ("listen-peer-urls", "listen-peer-urls"),
    ("advertise-client-urls", "advertise-client-urls"),
    ("initial-advertise-peer-urls", "initial-advertise-peer-urls"),
    ("cipher-suites", "cipher-suites"),
    ("tls-min-version", "tls-min-version"),
    ("tls-max-version", "tls-max-version"),
];

/// Members of the configurations of kube-scheduler and kube-proxy, and the flags that they stand for.
const CLIENT_MEMBERS: &[(&str, &str)] = &[("clientConnection.kubeconfig", "kubeconfig")];

/// Members of a configuration as the flags that they stand for.
fn members(config: &Value, table: &[(&str, &str)]) -> Vec<Flag> {
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
        Some(Flag { name: (*flag).to_owned(), value: text(value)?, line: 0 })
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
    line.flags.retain(|flag| CLIENT_MEMBERS.iter().all(|(_, stands_for)| flag.name != *stands_for));
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

/// Files of arguments, one for each component.
fn arguments(host: &dyn Host, found: &mut Vec<CommandLine>) {
    for (folder, data) in ARGUMENTS {
        for component in Component::PROGRAMS {
            let path = format!("{folder}/{component}");
            if let Fact::Known(text) = host.text(&path) {
                let text = text.replace("${SNAP_DATA}", data).replace("$SNAP_DATA", data);
                found.push(CommandLine::new(component, &words(text.split_whitespace()), path));
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
            let mut all: Vec<String> =
                start.split_whitespace().map(|word| word.trim_matches(['"', '\'']).to_owned()).collect();
            if component == Component::Etcd {
                // etcd reads ETCD_TRUSTED_CA_FILE as it reads --trusted-ca-file.
                all.extend(variables.iter().filter_map(|(name, value)| {
                    let flag = name.strip_prefix("ETCD_")?.to_lowercase().replace('_', "-");
                    Some(format!("--{flag}={value}"))
                }));
            }
            let rest = words(all.iter().skip(1).map(String::as_str));
            found.push(CommandLine::new(component, &rest, path));
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

    #[test]
    fn flags_are_read_in_every_form() {
        let line = CommandLine::new(Component::Etcd, &words("--a=1 --b 2 -c=3 --d --e x --e=y".split(' ')), "");
        assert_eq!(
            ["a", "b", "c", "d", "e"].map(|flag| line.get(flag).unwrap().to_owned()),
            ["1", "2", "3", "true", "y"]
        );
        assert_eq!(line.all("e").collect::<Vec<_>>(), ["x", "y"]);
    }
}

//! Distributions that start the kubelet themselves, without a unit and a program of its own: k3s, RKE2, k0s, MicroK8s,
//! Canonical Kubernetes and Talos.

use serde_json::Value;

use super::Version;
use super::start::{Runner, Start, program_of};
use crate::conclusion::Location;
use crate::effective::systemd::{self, Word};
use crate::effective::yaml;
use crate::host::{Host, Process, Program};

/// A distribution that can be told apart.
struct Row {
    name: &'static str,
    /// Its units.
    units: &'static [&'static str],
    /// Its programs, as they run.
    programs: &'static [&'static str],
    /// A path that it alone makes, for trees without its units.
    mark: &'static str,
    /// The words of its kubelet.
    words: fn(&dyn Host, &Distribution) -> Vec<Word>,
}

const ROWS: [Row; 6] = [
    Row {
        name: "k3s",
        units: &["k3s.service", "k3s-agent.service"],
        programs: &["k3s", "k3s-server", "k3s-agent"],
        mark: "/var/lib/rancher/k3s/agent",
        words: |host, found| rancher(host, found, "/etc/rancher/k3s", "/var/lib/rancher/k3s"),
    },
    Row {
        name: "RKE2",
        units: &["rke2-server.service", "rke2-agent.service"],
        programs: &["rke2"],
        mark: "/var/lib/rancher/rke2/agent",
        words: |host, found| rancher(host, found, "/etc/rancher/rke2", "/var/lib/rancher/rke2"),
    },
    Row {
        name: "k0s",
        units: &["k0scontroller.service", "k0sworker.service"],
        programs: &["k0s"],
        mark: "/var/lib/k0s",
        words: k0s,
    },
    Row {
        name: "MicroK8s",
        units: &["snap.microk8s.daemon-kubelite.service", "snap.microk8s.daemon-kubelet.service"],
        programs: &["kubelite"],
        mark: "/var/snap/microk8s/current/args",
        words: |host, _| arguments(host, "/var/snap/microk8s/current/args/kubelet", SNAP_DATA),
    },
    Row {
        name: "Canonical Kubernetes",
        units: &["snap.k8s.kubelet.service"],
        programs: &[],
        mark: "/var/snap/k8s/common/args",
        words: |host, _| arguments(host, "/var/snap/k8s/common/args/kubelet", &[]),
    },
    Row { name: "Talos", units: &[], programs: &[], mark: TALOS, words: talos },
];

const SNAP_DATA: &[(&str, &str)] = &[
    ("${SNAP_DATA}", "/var/snap/microk8s/current"),
    ("$SNAP_DATA", "/var/snap/microk8s/current"),
    ("${SNAP_COMMON}", "/var/snap/microk8s/common"),
    ("$SNAP_COMMON", "/var/snap/microk8s/common"),
    ("${SNAP}", "/snap/microk8s/current"),
    ("$SNAP", "/snap/microk8s/current"),
];
/// The partition STATE of Talos, and what its kubelet is told on a running node.
const TALOS: &str = "/system/state/config.yaml";
const TALOS_KUBELET: &str = "/etc/kubernetes/kubelet.yaml";

/// A distribution that was found.
pub(super) struct Distribution {
    pub(super) name: &'static str,
    /// Does it run?
    pub(super) running: bool,
    /// The words of its own command.
    command: Vec<Word>,
    /// Who says so.
    told_by: String,
    words: fn(&dyn Host, &Self) -> Vec<Word>,
}

impl Distribution {
    /// How its kubelet is started.
    pub(super) fn start(&self, host: &dyn Host) -> Start {
        let words = (self.words)(host, self);
        // What is written when it starts is not there before, and an image of a node never has it.
        let unread =
            words.is_empty().then(|| format!("{} writes the kubelet's configuration when it starts", self.name));
        Start {
            runner: Runner::Distribution(self.name),
            words,
            told_by: self.told_by.clone(),
            process: None,
            alpha: Some(true),
            missing: Vec::new(),
            unread: unread.into_iter().collect(),
        }
    }

    fn at(&self) -> Option<Location> {
        Some(Location { path: self.told_by.clone(), line: None }).filter(|at| at.path.starts_with('/'))
    }
}

/// The distribution of a node: by its processes, else by its units, else by what it leaves in the tree.
pub(super) fn find(host: &dyn Host, processes: &[Process]) -> Option<Distribution> {
    for row in &ROWS {
        if let Some(process) = processes.iter().find(|process| row.programs.contains(&program_of(process))) {
            let words = process.command.split('\0').map(|text| Word { text: text.to_owned(), at: None });
            return Some(row.found(true, words.collect(), format!("process {}", process.pid)));
        }
    }
    for row in &ROWS {
        for name in row.units {
            if let Some(unit) = systemd::unit(host, name).known() {
                let words = unit.command(&unit.environment(host));
                return Some(row.found(false, words, unit.path.clone()));
            }
        }
    }
    let row = ROWS.iter().find(|row| host.stat(row.mark).known().is_some())?;
    Some(row.found(false, Vec::new(), row.mark.to_owned()))
}

impl Row {
    fn found(&self, running: bool, command: Vec<Word>, told_by: String) -> Distribution {
        Distribution { name: self.name, running, command, told_by, words: self.words }
    }
}

/// Which release of Kubernetes a distribution is of.
pub(super) fn version(host: &dyn Host, name: &str) -> Option<Version> {
    let program = match name {
        "k3s" => Program::K3sVersion,
        "RKE2" => Program::Rke2Version,
        "k0s" => Program::K0sVersion,
        "MicroK8s" | "Canonical Kubernetes" => {
            let snap = if name == "MicroK8s" { "microk8s" } else { "k8s" };
            let path = format!("/snap/{snap}/current/meta/snap.yaml");
            let text = host.text(&path).known().cloned()?;
            return Version::find(text.lines().find_map(|line| line.strip_prefix("version:"))?, &path);
        }
        _ => return None,
    };
    Version::find(host.run(program).known()?, &program.to_string())
}

/// What k3s and RKE2 tell their kubelet (k3s-io/k3s, pkg/daemons/agent): since 1.32 in drop-ins that they write, before
/// that in flags; what the user adds in `kubelet-arg` comes last.
fn rancher(host: &dyn Host, found: &Distribution, settings: &str, data: &str) -> Vec<Word> {
    let options = Options::read(host, settings, &found.command);
    let data = options.last("data-dir").map_or_else(|| data.to_owned(), |word| word.text.clone());
    let at = found.at();
    let mut words = Vec::new();
    let mut say = |text: String| words.push(Word { text, at: at.clone() });
    let drop_ins = format!("{data}/agent/etc/kubelet.conf.d");
    say(format!("--kubeconfig={data}/agent/kubelet.kubeconfig"));
    say("--read-only-port=0".to_owned());
    if host.list(&drop_ins).known().is_some() {
        say(format!("--config-dir={drop_ins}"));
    } else {
        for text in [
            "--anonymous-auth=false",
            "--authentication-token-webhook=true",
            "--authorization-mode=Webhook",
            "--eviction-hard=imagefs.available<5%,nodefs.available<5%",
            "--eviction-minimum-reclaim=imagefs.available=10%,nodefs.available=10%",
            "--fail-swap-on=false",
            "--healthz-bind-address=127.0.0.1",
            "--serialize-image-pulls=false",
            "--container-runtime-endpoint=unix:///run/k3s/containerd/containerd.sock",
        ] {
            say(text.to_owned());
        }
        say(format!("--client-ca-file={data}/agent/client-ca.crt"));
        say(format!("--tls-cert-file={data}/agent/serving-kubelet.crt"));
        say(format!("--tls-private-key-file={data}/agent/serving-kubelet.key"));
        say(format!("--pod-manifest-path={data}/agent/pod-manifests"));
        // Both take the driver that systemd asks for, where it is the init system and delegates to them.
        let systemd = host.text("/proc/1/comm").known().is_none_or(|comm| comm.trim() == "systemd");
        say(format!("--cgroup-driver={}", if systemd { "systemd" } else { "cgroupfs" }));
    }
    for (option, flag, default) in [
        ("cluster-domain", "cluster-domain", Some("cluster.local")),
        ("cluster-dns", "cluster-dns", Some("10.43.0.10")),
        ("resolv-conf", "resolv-conf", None),
        ("protect-kernel-defaults", "protect-kernel-defaults", None),
    ] {
        match options.last(option) {
            Some(word) => words.push(Word { text: format!("--{flag}={}", word.text), at: word.at.clone() }),
            None if host.list(&drop_ins).known().is_some() => {}
            None => words.extend(default.map(|value| Word { text: format!("--{flag}={value}"), at: at.clone() })),
        }
    }
    for word in options.all("kubelet-arg") {
        words.push(Word { text: format!("--{}", word.text.trim_start_matches('-')), at: word.at.clone() });
    }
    words
}

/// Options of k3s and RKE2, from their configuration files and then from their command.
struct Options(Vec<(String, Word)>);

impl Options {
    fn read(host: &dyn Host, folder: &str, command: &[Word]) -> Self {
        let mut all = Self(Vec::new());
        let drop_ins = format!("{folder}/config.yaml.d");
        let entries = host.list(&drop_ins).known().cloned().unwrap_or_default();
        let files = entries.iter().filter(|entry| entry.name.ends_with(".yaml") || entry.name.ends_with(".yml"));
        let files = files.map(|entry| format!("{drop_ins}/{}", entry.name));
        for path in std::iter::once(format!("{folder}/config.yaml")).chain(files) {
            let text = host.text(&path);
            let Some(Ok(Some(node))) = text.known().map(|text| yaml::read(text)) else { continue };
            let yaml::Tree::Map(members) = &node.tree else { continue };
            for member in members {
                // `name+` adds to what earlier files say, `name` replaces it.
                let (name, adds) = member.name.strip_suffix('+').map_or((&*member.name, false), |name| (name, true));
                if !adds {
                    all.0.retain(|(other, _)| other != name);
                }
                let items = match &member.node.tree {
                    yaml::Tree::List(items) => items.clone(),
                    _ => vec![member.node.clone()],
                };
                for item in items {
                    let text = match item.value() {
                        Value::String(text) => text,
                        other => other.to_string(),
                    };
                    let at = Some(Location { path: path.clone(), line: Some(item.line) });
                    all.0.push((name.to_owned(), Word { text, at }));
                }
            }
        }
        let mut words = command.iter().peekable();
        while let Some(word) = words.next() {
            let Some(rest) = word.text.strip_prefix("--") else { continue };
            if let Some((name, value)) = rest.split_once('=') {
                all.0.push((name.to_owned(), Word { text: value.to_owned(), at: word.at.clone() }));
            } else if let Some(value) = words.next_if(|next| !next.text.starts_with("--")) {
                all.0.push((rest.to_owned(), value.clone()));
            } else {
                all.0.push((rest.to_owned(), Word { text: "true".to_owned(), at: word.at.clone() }));
            }
        }
        all
    }

    fn all<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'s Word> {
        self.0.iter().filter(move |(other, _)| other == name).map(|(_, word)| word)
    }

    fn last(&self, name: &str) -> Option<&Word> {
        self.0.iter().rev().find(|(other, _)| other == name).map(|(_, word)| word)
    }
}

/// k0s writes a configuration file and starts the kubelet as a process of its own.
fn k0s(host: &dyn Host, found: &Distribution) -> Vec<Word> {
    let places = ["/run/k0s/kubelet/config.yaml", "/var/lib/k0s/kubelet-config.yaml"];
    let Some(config) = places.into_iter().find(|path| host.text(path).known().is_some()) else { return Vec::new() };
    let at = found.at();
    let mut words = vec![
        Word { text: format!("--config={config}"), at: at.clone() },
        Word { text: "--kubeconfig=/var/lib/k0s/kubelet.conf".to_owned(), at },
    ];
    let mut given = found.command.iter();
    while let Some(word) = given.next() {
        let extra = match word.text.strip_prefix("--kubelet-extra-args") {
            Some("") => given.next().map(|next| next.text.clone()),
            Some(rest) => rest.strip_prefix('=').map(str::to_owned),
            None => continue,
        };
        for text in systemd::split(&extra.unwrap_or_default()) {
            words.push(Word { text, at: word.at.clone() });
        }
    }
    words
}

/// A file of arguments, one or more in a line.
fn arguments(host: &dyn Host, path: &str, variables: &[(&str, &str)]) -> Vec<Word> {
    let mut words = Vec::new();
    for (number, line) in host.text(path).known().map_or("", String::as_str).lines().enumerate() {
        if line.trim_start().starts_with('#') {
            continue;
        }
        let line = variables.iter().fold(line.to_owned(), |line, (name, value)| line.replace(name, value));
        let at = Some(Location { path: path.to_owned(), line: u32::try_from(number + 1).ok() });
        words.extend(systemd::split(&line).into_iter().map(|text| Word { text, at: at.clone() }));
    }
    words
}

/// Talos writes the kubelet's configuration when it starts.
fn talos(host: &dyn Host, found: &Distribution) -> Vec<Word> {
    let config = host.text(TALOS_KUBELET).known().map(|_| format!("--config={TALOS_KUBELET}"));
    config.into_iter().map(|text| Word { text, at: found.at() }).collect()
}

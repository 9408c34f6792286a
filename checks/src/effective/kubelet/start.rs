//! How the kubelet of a node is started: by whom, with which words, each with the place that it is written in.
//!
//! A running process counts before a unit, a unit before a distribution's own files, and these before the files that
//! kubeadm leaves. A process that sees other mounts than the node's first one is another node's, in a container, and is
//! passed over.

use super::Version;
use super::distribution::{self, Distribution};
use crate::conclusion::Location;
use crate::effective::systemd::{self, Unit, Word};
use crate::fact::Fact;
use crate::host::{Host, Process, Program, Query};

/// The unit that kubeadm's packages, EKS, Bottlerocket, Flatcar and NixOS start the kubelet by.
pub const UNIT: &str = "kubelet.service";
/// Where kubeadm puts the kubelet's configuration.
pub const CONFIG: &str = "/var/lib/kubelet/config.yaml";
/// Where kubeadm puts flags.
pub const FLAGS: &str = "/var/lib/kubelet/kubeadm-flags.env";
/// Configurations of installers whose unit could not be read, the first that is there counts; each with its drop-ins.
const LAYOUTS: [(&str, &str, Option<&str>); 5] = [
    ("kubeadm", CONFIG, None),
    ("EKS", "/etc/kubernetes/kubelet/config.json", Some("/etc/kubernetes/kubelet/config.json.d")),
    ("EKS", "/etc/kubernetes/kubelet/kubelet-config.json", None),
    ("Bottlerocket", "/etc/kubernetes/kubelet/config", None),
    ("kops", "/var/lib/kubelet/kubelet.conf", None),
];

/// Who starts the kubelet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Runner {
    /// A unit of the kubelet's own.
    Unit {
        /// Its name.
        name: String,
        /// The program that it starts.
        program: String,
    },
    /// A distribution that starts the kubelet itself.
    Distribution(&'static str),
    /// Something that could not be found out; the kubelet runs, or its files are there.
    Unknown,
}

/// How the kubelet is started.
#[derive(Debug, Clone)]
pub struct Start {
    /// By whom.
    pub runner: Runner,
    /// The words behind the program.
    pub words: Vec<Word>,
    /// Who says so: a process, a unit, a distribution's files.
    pub told_by: String,
    /// The process, if it runs: its id, and when it was started.
    pub process: Option<(u32, i64)>,
    /// Does its unit set `KUBELET_CONFIG_DROPIN_DIR_ALPHA`? `None` where that could not be seen.
    pub alpha: Option<bool>,
    /// Environment files that its unit requires and that are missing.
    pub missing: Vec<(String, Location)>,
    /// What could not be read, with the reason.
    pub unread: Vec<String>,
}

impl Start {
    /// Of a kubelet of which nothing is known but who says so.
    pub(super) fn told_by(told_by: &str) -> Self {
        Self {
            runner: Runner::Unknown,
            words: Vec::new(),
            told_by: told_by.to_owned(),
            process: None,
            alpha: None,
            missing: Vec::new(),
            unread: Vec::new(),
        }
    }

    /// Says who starts it, for a reader.
    #[must_use]
    pub fn by(&self) -> &str {
        match &self.runner {
            Runner::Unit { name, .. } => name,
            Runner::Distribution(name) => name,
            Runner::Unknown => &self.told_by,
        }
    }
}

/// Finds out how the kubelet of a node is started; absent where none is set up.
pub(super) fn start(host: &dyn Host) -> Fact<Start> {
    let processes: Vec<Process> = host.parsed(&Query::Processes).known().cloned().unwrap_or_default();
    let processes: Vec<_> = processes.into_iter().filter(|process| !process.sandboxed).collect();
    let unit = systemd::unit(host, UNIT);
    let by_unit = unit.known().and_then(|unit| of_unit(host, unit));
    let distribution = distribution::find(host, &processes);
    let running = processes.iter().find(|process| program_of(process) == "kubelet");
    if let Some(process) = running {
        return Fact::Known(of_process(process, by_unit, distribution.as_ref()));
    }
    // Of two the one that runs counts; a unit that is left over is none.
    if let Some(found) = distribution.filter(|found| found.running || by_unit.is_none()) {
        return Fact::Known(found.start(host));
    }
    if let Some(found) = by_unit {
        return Fact::Known(found);
    }
    let mut last = Fact::Absent("no kubelet is set up: there is no process, no unit and no configuration".to_owned());
    for (name, config, drop_ins) in LAYOUTS {
        match host.stat(config) {
            Fact::Known(_) => return Fact::Known(of_layout(host, name, config, drop_ins)),
            Fact::Absent(_) => {}
            _ => {
                // A transcript that holds the file and nothing of its type says so by the file alone.
                match host.text(config) {
                    Fact::Known(_) | Fact::Unreadable(_) | Fact::Malformed(_) => {
                        return Fact::Known(of_layout(host, name, config, drop_ins));
                    }
                    Fact::Absent(_) => {}
                    Fact::NotGathered(why) if config == CONFIG => last = Fact::NotGathered(why),
                    Fact::NotGathered(_) => {}
                }
            }
        }
    }
    // The user says where it is.
    if host.layout().kubelet_config.is_some() {
        return Fact::Known(Start::told_by("--kubelet-config"));
    }
    last
}

pub(super) fn program_of(process: &Process) -> &str {
    let program = process.command.split('\0').next().unwrap_or_default();
    program.rsplit('/').next().unwrap_or(program)
}

/// The words of a unit that starts a kubelet; `None` where it starts something else.
fn of_unit(host: &dyn Host, unit: &Unit) -> Option<Start> {
    let environment = unit.environment(host);
    let mut words = unit.command(&environment);
    let named = |word: &Word| word.text.rsplit('/').next().is_some_and(|name| name == "kubelet" || name == "hyperkube");
    let at = words.iter().position(named)?;
    let program = words[at].text.clone();
    words.drain(..=at);
    // `hyperkube kubelet`
    if program.ends_with("hyperkube") && words.first().is_some_and(|word| word.text == "kubelet") {
        words.remove(0);
    }
    let mut unread = unit.unread.clone();
    unread.extend(environment.unread.clone());
    Some(Start {
        runner: Runner::Unit { name: unit.name.clone(), program },
        words,
        told_by: unit.path.clone(),
        process: None,
        alpha: Some(environment.get("KUBELET_CONFIG_DROPIN_DIR_ALPHA").is_some()),
        missing: environment.missing,
        unread,
    })
}

/// The arguments of a process; where its unit would start it with the same word, that is where the word is written.
fn of_process(process: &Process, unit: Option<Start>, distribution: Option<&Distribution>) -> Start {
    let mut written: Vec<Word> = unit.iter().flat_map(|unit| unit.words.clone()).collect();
    let words = process.command.split('\0').skip(1).map(|text| {
        let same = written.iter().position(|word| word.text == text);
        Word { text: text.to_owned(), at: same.and_then(|at| written.remove(at).at) }
    });
    let words = words.collect();
    let runner = match (&unit, distribution) {
        (_, Some(found)) => Runner::Distribution(found.name),
        (Some(unit), None) => unit.runner.clone(),
        (None, None) => Runner::Unknown,
    };
    Start {
        runner,
        words,
        told_by: format!("process {}", process.pid),
        process: Some((process.pid, process.started)),
        // It would not run without it.
        alpha: Some(true),
        missing: Vec::new(),
        unread: Vec::new(),
    }
}

/// A kubelet of which only files are known.
fn of_layout(host: &dyn Host, name: &str, config: &str, drop_ins: Option<&str>) -> Start {
    let at = Some(Location { path: config.to_owned(), line: None });
    let word = |text: String| Word { text, at: at.clone() };
    let mut words = vec![word(format!("--config={config}"))];
    if let Some(folder) = drop_ins
        && host.list(folder).known().is_some()
    {
        words.push(word(format!("--config-dir={folder}")));
    }
    if name == "kubeadm"
        && let Some(text) = host.text(FLAGS).known()
    {
        for (_, value, line) in systemd::environment_file(text) {
            let at = Some(Location { path: FLAGS.to_owned(), line: Some(line) });
            words.extend(systemd::split(&value).into_iter().map(|text| Word { text, at: at.clone() }));
        }
    }
    Start { words, ..Start::told_by(config) }
}

/// Which release the kubelet is of, and who says so.
pub(super) fn version(host: &dyn Host, start: Option<&Start>) -> Fact<Version> {
    let own = host.run(Program::KubeletVersion).parse(|text| {
        Version::find(&text, "kubelet --version").ok_or_else(|| format!("kubelet --version said '{}'", text.trim()))
    });
    let distribution = match start.map(|start| &start.runner) {
        Some(Runner::Distribution(name)) => distribution::version(host, name),
        Some(Runner::Unit { program, .. }) => Version::find(program, program),
        _ => None,
    };
    match (own, distribution) {
        (_, Some(version)) => Fact::Known(version),
        (own, None) => own,
    }
}

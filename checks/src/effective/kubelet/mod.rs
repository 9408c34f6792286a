//! What a kubelet really runs with: built-in defaults of its release, its file, its drop-ins and its flags, merged as
//! the kubelet merges them (k8s.io/kubernetes, cmd/kubelet/app/server.go).
//!
//! [`Sources`] is what a host says; [`Sources::settle`] is a pure function of it. Whatever ends the kubelet at start is
//! a [`Problem`] in [`Kubelet::ends`], and then no setting is in effect.

mod defaults;
mod distribution;
pub mod duration;
mod file;
mod flags;
mod merge;
pub mod quantity;
mod start;
pub mod tables;
mod validate;

use serde_json::Value;

use crate::Inconclusive;
use crate::conclusion::{Breach, Location};
use crate::effective::{Explained, Setting, Settings, systemd};
use crate::fact::Fact;
use crate::host::{FileKind, Host, Query};

pub use flags::Given;
use merge::{absolute, answered, overlay, patch, put};

/// The claim that the kubelet starts with what it is given.
pub const CONFIG_VALID: &str = "node.kubelet.config-valid";
/// The claim that it knows every flag.
pub const REMOVED_FLAGS: &str = "node.kubelet.removed-flags";
/// The claim that the thresholds of image garbage collection are in order.
pub const IMAGE_GC: &str = "node.kubelet.image-gc";
pub use start::{CONFIG, FLAGS, Runner, Start, UNIT};

/// Drop-ins below `--config-dir`: 1.28 merges them another way than later releases.
const FIRST_DROP_INS: u32 = 28;
/// From this release on drop-ins need no variable in the environment.
const DROP_INS_UNGATED: u32 = 30;
/// How deep, and how many, drop-ins are looked for.
const DROP_IN_DEPTH: usize = 8;
const DROP_IN_COUNT: usize = 1_000;

/// Which release a kubelet is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// As it is written, without `v`: `1.37.2`.
    pub text: String,
    /// The minor release.
    pub minor: u32,
    /// Who says so.
    pub told_by: String,
}

impl Version {
    /// The first version of Kubernetes in a text: `v1.37.2`, `kubernetes-1.31.4`, `v1.31.4+k3s1`.
    fn find(text: &str, told_by: &str) -> Option<Self> {
        let at = text.match_indices("1.").map(|(at, _)| at).find(|&at| {
            let before = text[..at].chars().next_back();
            before.is_none_or(|c| !c.is_ascii_alphanumeric() && c != '.' || c == 'v')
        })?;
        let rest = &text[at..];
        let end =
            rest.find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '+' | '-')).unwrap_or(rest.len());
        let version = rest[..end].to_owned();
        let minor = version.split('.').nth(1)?.parse().ok()?;
        Some(Self { text: version, minor, told_by: told_by.to_owned() })
    }
}

/// Something that the kubelet ends of, or ignores.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The check that reports it: of several claims that it touches, one.
    pub claim: &'static str,
    /// The member, the flag or the file.
    pub subject: String,
    /// In one sentence.
    pub why: String,
    /// What was found.
    pub found: Option<String>,
    /// What the kubelet takes.
    pub wanted: Option<String>,
    /// Where.
    pub at: Option<Location>,
}

impl Problem {
    fn new(subject: impl Into<String>, why: impl Into<String>) -> Self {
        Self { claim: CONFIG_VALID, subject: subject.into(), why: why.into(), found: None, wanted: None, at: None }
    }

    fn of(mut self, claim: &'static str) -> Self {
        self.claim = claim;
        self
    }

    fn found(mut self, found: impl Into<String>) -> Self {
        self.found = Some(found.into());
        self
    }

    /// What the kubelet takes instead.
    #[must_use]
    pub fn wanted(mut self, wanted: impl Into<String>) -> Self {
        self.wanted = Some(wanted.into());
        self
    }

    fn at(mut self, at: Option<Location>) -> Self {
        self.at = at;
        self
    }

    /// As a finding, with what it means in front.
    #[must_use]
    pub fn breach(&self, what: &str) -> Breach {
        let message = if what.is_empty() { self.why.clone() } else { format!("{what}: {}", self.why) };
        let breach = Breach::new(&self.subject, message);
        Breach { found: self.found.clone(), wanted: self.wanted.clone(), at: self.at.clone(), ..breach }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.why)?;
        match &self.at {
            Some(Location { path, line: Some(line) }) => write!(f, " ({path}:{line})"),
            Some(Location { path, line: None }) => write!(f, " ({path})"),
            None => Ok(()),
        }
    }
}

/// The drop-ins below `--config-dir`.
#[derive(Debug, Clone, Default)]
struct DropIns {
    folder: String,
    /// Their content, in the order in which they are merged.
    files: Vec<(String, Fact<String>)>,
    /// Why the kubelet cannot walk the folder.
    broken: Option<String>,
    /// Why we cannot.
    unread: Vec<String>,
}

/// What a host says of its kubelet.
#[derive(Debug, Clone)]
pub struct Sources {
    /// Which release it is of.
    pub version: Fact<Version>,
    /// How it is started.
    pub start: Start,
    /// Its file, if it is told one: path and content.
    config: Option<(String, Fact<String>)>,
    drop_ins: Option<DropIns>,
    /// What the kubelet says of itself, asked through the API server, and as whom.
    configz: Option<(String, Value)>,
}

impl Sources {
    /// Asks a host; absent where no kubelet is set up.
    pub fn read(host: &dyn Host) -> Fact<Self> {
        let start = start::start(host);
        let version = start::version(host, start.known());
        start.map(|start| Self::of_start(host, start, version))
    }

    /// Of a command line that is known: the words behind the program, and the version of the kubelet.
    pub fn of_words(host: &dyn Host, words: Vec<systemd::Word>, version: Option<&str>) -> Self {
        let version = match version.and_then(|text| Version::find(text, "the caller")) {
            Some(version) => Fact::Known(version),
            None => Fact::Absent("no version is known".to_owned()),
        };
        Self::of_start(host, Start { words, ..Start::told_by("the caller") }, version)
    }

    fn of_start(host: &dyn Host, start: Start, version: Fact<Version>) -> Self {
        // What these two are is the same in every release.
        let (given, _) = flags::parse(&start.words, *tables::RELEASES.end());
        let last = |name: &str| {
            let value = given.iter().rev().find(|flag| flag.name == name).map(|flag| flag.value.clone());
            value.filter(|value| !value.is_empty())
        };
        let config = host.layout().kubelet_config.or_else(|| last("config"));
        let config = config.map(|path| (path.clone(), host.text(&path)));
        let drop_ins = last("config-dir").map(|folder| drop_ins(host, &folder));
        let override_name = last("hostname-override");
        let configz = configz(host, override_name.as_deref());
        Self { version, start, config, drop_ins, configz }
    }

    /// What the kubelet runs with. `otherwise` is the minor release to assume where it does not say its own.
    #[must_use]
    pub fn settle(&self, otherwise: u32) -> Kubelet {
        let minor = self.version.known().map_or(otherwise, |version| version.minor);
        let mut kubelet = Kubelet {
            minor,
            version: self.version.known().cloned(),
            start: self.start.clone(),
            config: self.config.as_ref().map(|(path, _)| path.clone()),
            config_missing: matches!(&self.config, Some((_, Fact::Absent(_)))),
            drop_ins: Vec::new(),
            given: Vec::new(),
            settings: Settings::default(),
            ends: Vec::new(),
            warns: Vec::new(),
            unread: self.start.unread.clone(),
        };
        for (path, at) in &self.start.missing {
            let why = format!("{path} is missing, and the unit requires it");
            kubelet.ends.push(Problem::new("EnvironmentFile", why).found(path.clone()).at(Some(at.clone())));
        }
        let (given, problems) = flags::parse(&self.start.words, minor);
        kubelet.given = given;
        kubelet.ends.extend(problems);
        self.base(&mut kubelet);
        if let Some(drop_ins) = &self.drop_ins {
            self.merge(drop_ins, &mut kubelet);
        }
        let mut problems = Vec::new();
        flags::reset(&mut kubelet.settings, &kubelet.given, minor, &mut kubelet.warns);
        flags::apply(&mut kubelet.settings, &kubelet.given, minor, &mut problems);
        kubelet.ends.extend(problems);
        if let Some((node, said)) = self.configz.as_ref().filter(|_| self.start.process.is_none()) {
            // It runs, and says with what; a process that we see says so by its words.
            answered(&mut kubelet.settings, node, said);
            kubelet.ends.clear();
            kubelet.unread.clear();
            kubelet.config_missing = false;
        } else if kubelet.ends.is_empty() && kubelet.unread.is_empty() {
            kubelet.ends = validate::validate(&kubelet.settings, minor);
        }
        kubelet
    }

    fn base(&self, kubelet: &mut Kubelet) {
        let minor = kubelet.minor;
        let Some((path, text)) = &self.config else {
            defaults::fill(&mut kubelet.settings, minor);
            return defaults::legacy(&mut kubelet.settings, minor);
        };
        let flag = kubelet.flag("config").and_then(|flag| flag.at.clone());
        match text {
            Fact::Known(text) => {
                let decoded = file::decode(path, text, minor, file::Part::Base);
                if let Some(node) = &decoded.node {
                    put(&mut kubelet.settings, path, node, minor);
                }
                kubelet.ends.extend(decoded.ends);
                kubelet.warns.extend(decoded.warns);
                defaults::forget_zeros(&mut kubelet.settings, minor, false);
                absolute(&mut kubelet.settings, path);
            }
            Fact::Absent(_) => {
                let why = format!("{path} is missing, and --config names it");
                kubelet.ends.push(Problem::new("--config", why).found(path.clone()).at(flag));
            }
            Fact::Unreadable(why) | Fact::Malformed(why) | Fact::NotGathered(why) => kubelet.unread.push(why.clone()),
        }
        defaults::fill(&mut kubelet.settings, minor);
        let merge = kubelet.truth(&["mergeDefaultEvictionSettings"]).unwrap_or(false);
        defaults::eviction(&mut kubelet.settings, minor, merge);
    }

    fn merge(&self, drop_ins: &DropIns, kubelet: &mut Kubelet) {
        let minor = kubelet.minor;
        if minor < FIRST_DROP_INS {
            return;
        }
        let flag = kubelet.flag("config-dir").and_then(|flag| flag.at.clone());
        if minor < DROP_INS_UNGATED && self.start.alpha == Some(false) {
            let why = format!(
                "kubelet 1.{minor} takes --config-dir only with KUBELET_CONFIG_DROPIN_DIR_ALPHA in its environment"
            );
            kubelet.ends.push(Problem::new("--config-dir", why).at(flag.clone()));
        }
        if let Some(why) = &drop_ins.broken {
            kubelet.ends.push(Problem::new("--config-dir", why.clone()).found(drop_ins.folder.clone()).at(flag));
        }
        kubelet.unread.extend(drop_ins.unread.clone());
        if minor > FIRST_DROP_INS {
            // As JSON the base does not name what is empty.
            defaults::forget_zeros(&mut kubelet.settings, minor, true);
            defaults::fill(&mut kubelet.settings, minor);
        }
        for (path, text) in &drop_ins.files {
            let text = match text {
                Fact::Known(text) => text,
                Fact::Absent(_) => continue,
                Fact::Unreadable(why) | Fact::Malformed(why) | Fact::NotGathered(why) => {
                    kubelet.unread.push(why.clone());
                    continue;
                }
            };
            let decoded = file::decode(path, text, minor, file::Part::DropIn);
            kubelet.ends.extend(decoded.ends);
            kubelet.warns.extend(decoded.warns);
            kubelet.drop_ins.push(path.clone());
            let Some(node) = decoded.node else { continue };
            if minor == FIRST_DROP_INS {
                overlay(&mut kubelet.settings, path, &node, minor);
            } else {
                patch(&mut kubelet.settings, path, &node, minor);
            }
        }
        if minor > FIRST_DROP_INS {
            defaults::forget_zeros(&mut kubelet.settings, minor, false);
        }
        defaults::fill(&mut kubelet.settings, minor);
    }
}

/// What a kubelet runs with.
#[derive(Debug, Clone)]
pub struct Kubelet {
    /// The minor release that the settings are of.
    pub minor: u32,
    /// Its own version, if that is known.
    pub version: Option<Version>,
    /// How it is started.
    pub start: Start,
    /// Its file.
    pub config: Option<String>,
    config_missing: bool,
    /// The drop-ins that are merged, in their order.
    pub drop_ins: Vec<String>,
    /// The flags that it is given, in their order.
    pub given: Vec<Given>,
    /// The members of its configuration.
    pub settings: Settings,
    /// What it ends of at start, the first cause first; then no setting is in effect.
    pub ends: Vec<Problem>,
    /// What it ignores.
    pub warns: Vec<Problem>,
    /// What could not be read, with the reason: the settings are not all.
    pub unread: Vec<String>,
}

impl Kubelet {
    /// The flag of this name that counts: the last.
    #[must_use]
    pub fn flag(&self, name: &str) -> Option<&Given> {
        self.given.iter().rev().find(|flag| flag.name == name)
    }

    /// A setting, as far as it is known.
    #[must_use]
    pub fn get(&self, path: &[&str]) -> Option<Setting<'_>> {
        self.settings.get(path)
    }

    /// A setting that is true or false.
    #[must_use]
    pub fn truth(&self, path: &[&str]) -> Option<bool> {
        self.get(path)?.value.as_bool()
    }

    /// A setting that is a text.
    #[must_use]
    pub fn text(&self, path: &[&str]) -> Option<&str> {
        self.get(path)?.value.as_str()
    }

    /// Are the settings those that the kubelet runs with?
    ///
    /// # Errors
    /// If it ends at start, or if a file of it could not be read.
    pub fn in_effect(&self) -> Result<&Self, Inconclusive> {
        if let Some(first) = self.ends.first() {
            let why = format!("{}: the kubelet does not start: {first}", first.claim);
            return Err(Inconclusive::because_of("what the kubelet runs with", &why));
        }
        match self.unread.first() {
            Some(why) => Err(Inconclusive::because_of("what the kubelet runs with", why)),
            None => Ok(self),
        }
    }

    /// Is it started with the file that kubeadm writes when the node joins, and that is not there yet?
    #[must_use]
    pub fn waits_for_kubeadm(&self) -> bool {
        self.config_missing && self.config.as_deref() == Some(CONFIG) && self.start.process.is_none()
    }

    /// Is a feature gate on? `default` is what it is where nobody sets it.
    #[must_use]
    pub fn gate(&self, name: &str, default: bool) -> bool {
        let all = |name: &str| self.truth(&["featureGates", name]);
        all(name).unwrap_or(default)
    }

    /// Does the kubelet take its cgroup driver from a runtime that reports one? By default from 1.31, always from 1.34.
    #[must_use]
    pub fn driver_from_runtime(&self) -> bool {
        match self.minor {
            34.. => true,
            31..34 => self.gate("KubeletCgroupDriverFromCRI", true),
            28..31 => self.gate("KubeletCgroupDriverFromCRI", false),
            _ => false,
        }
    }

    /// Where its health port listens, as an address of this node that may be asked; `None` if it has none.
    #[must_use]
    pub fn health(&self) -> Option<String> {
        let port = self.get(&["healthzPort"])?.value.as_u64().filter(|port| *port != 0)?;
        let address: std::net::IpAddr = self.text(&["healthzBindAddress"])?.parse().ok()?;
        let host = match address {
            std::net::IpAddr::V4(address) if address.is_unspecified() => "127.0.0.1".to_owned(),
            std::net::IpAddr::V6(address) if address.is_unspecified() => "[::1]".to_owned(),
            std::net::IpAddr::V4(address) => address.to_string(),
            std::net::IpAddr::V6(address) => format!("[{address}]"),
        };
        Some(format!("http://{host}:{port}/healthz"))
    }
}

/// The drop-ins of a folder as filepath.WalkDir meets them: by name, depth first, links not followed.
fn drop_ins(host: &dyn Host, folder: &str) -> DropIns {
    let mut found = DropIns { folder: folder.to_owned(), ..DropIns::default() };
    if let Fact::Known(_) = host.link(folder) {
        // The walk sees a link and no folder, and ends.
        return found;
    }
    walk(host, folder, &mut found, 0);
    found
}

fn walk(host: &dyn Host, folder: &str, found: &mut DropIns, depth: usize) {
    let entries = match host.list(folder) {
        Fact::Known(entries) => entries,
        Fact::Absent(_) => {
            found.broken = Some(format!("{folder} is missing, and --config-dir names it"));
            return;
        }
        Fact::Unreadable(why) | Fact::Malformed(why) | Fact::NotGathered(why) => {
            found.unread.push(why);
            return;
        }
    };
    for entry in entries {
        let path = format!("{}/{}", folder.trim_end_matches('/'), entry.name);
        if found.files.len() >= DROP_IN_COUNT || depth >= DROP_IN_DEPTH {
            found.unread.push(format!("{folder} holds more than is looked at"));
            return;
        }
        match entry.kind {
            FileKind::Directory => walk(host, &path, found, depth + 1),
            // filepath.Ext: what follows the last dot, even where it is the first character.
            _ if entry.name.ends_with(".conf") => {
                let text = host.text(&path);
                found.files.push((path, text));
            }
            _ => {}
        }
    }
}

/// What the kubelet of this node says of itself, where the cluster's API may be asked.
fn configz(host: &dyn Host, name: Option<&str>) -> Option<(String, Value)> {
    let hostname = || host.text("/proc/sys/kernel/hostname").known().map(|name| name.trim().to_lowercase());
    let node = name.map(str::to_owned).or_else(hostname)?;
    let said = host.value(&Query::Configz { node: node.clone() });
    said.known().filter(|said| said.is_object()).map(|said| (node, Value::clone(said)))
}

/// What a kubelet runs with, for a reader.
pub fn explain(host: &dyn Host) -> Explained {
    let sources = match Sources::read(host) {
        Fact::Known(sources) => sources,
        Fact::Absent(why) | Fact::Unreadable(why) | Fact::Malformed(why) | Fact::NotGathered(why) => {
            return Explained { unread: vec![why], ..Explained::default() };
        }
    };
    let kubelet = sources.settle(*tables::RELEASES.end());
    let mut head = Vec::new();
    let mut say = |label: &str, value: String| head.push((label.to_owned(), value));
    match &kubelet.version {
        Some(version) => say("version", format!("{} ({})", version.text, version.told_by)),
        None => say("version", format!("unknown; 1.{} is assumed", kubelet.minor)),
    }
    say("started by", format!("{} ({})", kubelet.start.by(), kubelet.start.told_by));
    say("--config", kubelet.config.clone().unwrap_or_else(|| "none".to_owned()));
    if !kubelet.drop_ins.is_empty() {
        say("drop-ins", kubelet.drop_ins.join(", "));
    }
    let mut settings = kubelet.settings.clone();
    for flag in &kubelet.given {
        let member = tables::flag(&flag.name, kubelet.minor).and_then(|row| row.member);
        if member.is_none() {
            let secret = ["password", "token", "secret"].iter().any(|word| flag.name.contains(word));
            let value = if secret { "[redacted]" } else { &flag.value };
            settings.set(&[&format!("--{}", flag.name)], value.into(), flag.origin());
        }
    }
    let show = |all: &[Problem]| all.iter().map(ToString::to_string).collect();
    Explained { head, settings, ends: show(&kubelet.ends), warns: show(&kubelet.warns), unread: kubelet.unread.clone() }
}

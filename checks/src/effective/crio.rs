//! CRI-O's effective configuration: `crio.conf`, then every file below `crio.conf.d`, then flags.
//!
//! The rules are those of `mergeConfig` in CRI-O's `internal/criocli` and of `pkg/config`: the folder is walked in the
//! order of names, folders in it too, and a file's ending does not matter.

use serde_json::{Value, json};

use super::containerd::Broken;
use super::systemd::{self, Word};
use super::toml::Document;
use super::{Cni, Explained, Origin, Setting, Settings};
use crate::conclusion::Location;
use crate::fact::Fact;
use crate::host::{CriCall, FileKind, Host, Process, Program, Query};

/// Where CRI-O looks for its configuration, unless a flag names another file.
pub const CONFIG: &str = "/etc/crio/crio.conf";
/// Where it looks for drop-ins, unless a flag names another folder.
pub const DROP_INS: &str = "/etc/crio/crio.conf.d";
/// Where it listens.
pub const SOCKET: &str = "/run/crio/crio.sock";
/// The cgroup of monitors, unless the configuration names another.
const MONITOR_CGROUP: &str = "system.slice";
/// Folders in folders that are followed.
const DEPTH: usize = 8;

/// What CRI-O runs with.
#[derive(Debug, Clone, PartialEq)]
pub struct Crio {
    /// Its minor release: 31 of 1.31.
    pub minor: u32,
    /// The files that were read, in their order.
    pub files: Vec<String>,
    /// The merged settings.
    pub settings: Settings,
    /// Why CRI-O ends at start, if it does.
    pub broken: Option<Broken>,
}

/// Flags that take the place of a setting, by the table and name of the setting.
const FLAGS: [(&str, &[&str]); 5] = [
    ("cgroup-manager", &["crio", "runtime", "cgroup_manager"]),
    ("conmon-cgroup", &["crio", "runtime", "conmon_cgroup"]),
    ("default-runtime", &["crio", "runtime", "default_runtime"]),
    ("cni-config-dir", &["crio", "network", "network_dir"]),
    ("root", &["crio", "root"]),
];

/// Settings whose type CRI-O insists on, and what is judged.
const TEXTS: [&[&str]; 5] = [
    &["crio", "runtime", "cgroup_manager"],
    &["crio", "runtime", "conmon_cgroup"],
    &["crio", "runtime", "default_runtime"],
    &["crio", "network", "network_dir"],
    &["crio", "root"],
];

impl Crio {
    /// Reads the configuration by the rules of a minor release.
    pub fn read(host: &dyn Host, minor: u32) -> Fact<Self> {
        let words = command(host);
        let mut it = Self { minor, files: Vec::new(), settings: Settings::default(), broken: None };
        it.defaults(host);
        let config = flag(&words, &["config", "c"]);
        let main = config.as_ref().map_or(CONFIG, |(path, _)| path.as_str()).to_owned();
        if !main.is_empty() {
            match it.file(host, &main, config.is_none()) {
                Fact::Known(()) => {}
                other => return other.map(|()| it),
            }
        }
        let folder = flag(&words, &["config-dir", "d"]);
        let folder = folder.as_ref().map_or(DROP_INS, |(path, _)| path.as_str()).trim_end_matches('/').to_owned();
        match it.walk(host, &folder, DEPTH) {
            Fact::Known(()) => {}
            other => return other.map(|()| it),
        }
        for (name, path) in FLAGS {
            if let Some((value, at)) = flag(&words, &[name]) {
                it.settings.set(path, json!(value), Origin::Flag { flag: format!("--{name}"), at });
            }
        }
        Fact::Known(it)
    }

    /// A setting by its table below `crio` and its name.
    #[must_use]
    pub fn get(&self, table: &str, name: &str) -> Option<Setting<'_>> {
        self.settings.get(&["crio", table, name])
    }

    /// The cgroup manager, `systemd` or `cgroupfs`, and where it is set.
    #[must_use]
    pub fn cgroup_manager(&self) -> (&str, Origin) {
        match self.get("runtime", "cgroup_manager") {
            Some(set) => (set.value.as_str().unwrap_or_default(), set.origin.clone()),
            None => ("systemd", self.default_origin()),
        }
    }

    /// Where the monitors of containers are, for each runtime of the type `oci`, and who says so.
    #[must_use]
    pub fn monitor_cgroups(&self) -> Vec<(String, Origin)> {
        if let Some(set) = self.get("runtime", "conmon_cgroup")
            && let Some(cgroup) = set.value.as_str().filter(|cgroup| !cgroup.is_empty())
        {
            return vec![(cgroup.to_owned(), set.origin.clone())];
        }
        // From 1.26 on each runtime has a setting of its own; before, `conmon_cgroup` has this default.
        let runtimes = ["crio", "runtime", "runtimes"];
        let names: std::collections::BTreeSet<String> =
            self.settings.below(&runtimes).filter_map(|(rest, _)| rest.first().cloned()).collect();
        let of = |name: &String| {
            let get = |member: &str| self.settings.get(&["crio", "runtime", "runtimes", name, member]);
            let kind = get("runtime_type").and_then(|kind| kind.value.as_str()).unwrap_or_default();
            if !matches!(kind, "" | "oci") {
                return None;
            }
            let set = get("monitor_cgroup")?;
            Some((set.value.as_str().unwrap_or_default().to_owned(), set.origin.clone()))
        };
        let set: Vec<_> = names.iter().filter_map(of).collect();
        if set.is_empty() { vec![(MONITOR_CGROUP.to_owned(), self.default_origin())] } else { set }
    }

    /// Why CRI-O refuses a monitor's cgroup, if it does, and where that is set.
    #[must_use]
    pub fn monitor_refusal(&self) -> Option<(String, String, Origin)> {
        let systemd = self.cgroup_manager().0 == "systemd";
        self.monitor_cgroups().into_iter().find_map(|(cgroup, origin)| {
            let fits = match cgroup.as_str() {
                "pod" | "" => true,
                // 1.33 and later take the default for an empty value.
                MONITOR_CGROUP if !systemd => self.minor >= 33,
                cgroup => systemd && cgroup.ends_with(".slice"),
            };
            let wanted = match systemd {
                true => "pod or a systemd slice",
                false => "pod",
            };
            (!fits).then(|| (cgroup, wanted.to_owned(), origin))
        })
    }

    /// Where CNI configurations and plug-ins are.
    #[must_use]
    pub fn cni(&self) -> Cni {
        let folder = self.get("network", "network_dir").and_then(|set| set.value.as_str()).unwrap_or("/etc/cni/net.d");
        let (mut plugins, mut origin) = (vec!["/opt/cni/bin".to_owned()], self.default_origin());
        if let Some(set) = self.get("network", "plugin_dirs") {
            let items = set.value.as_array().into_iter().flatten();
            plugins = items.filter_map(Value::as_str).map(|path| plain(path).to_owned()).collect();
            origin = set.origin.clone();
        }
        // The older setting is added to the list.
        if let Some(old) =
            self.get("network", "plugin_dir").and_then(|set| set.value.as_str()).filter(|old| !old.is_empty())
        {
            plugins.push(plain(old).to_owned());
        }
        // ocicni loads all that are valid, and uses the first unless another is named.
        Cni { configurations: plain(folder).to_owned(), most: 1, plugins, origin }
    }

    /// The folder of images and containers.
    #[must_use]
    pub fn storage(&self) -> (&str, Option<&Origin>) {
        match self.settings.get(&["crio", "root"]).or_else(|| self.settings.get(&["storage", "graphroot"])) {
            Some(set) => (set.value.as_str().unwrap_or_default(), Some(set.origin)),
            None => ("/var/lib/containers/storage", None),
        }
    }

    fn default_origin(&self) -> Origin {
        Origin::Default(format!("CRI-O 1.{}", self.minor))
    }

    /// What holds before any file, of the settings that are judged. containers/storage has its own files.
    fn defaults(&mut self, host: &dyn Host) {
        let origin = self.default_origin();
        let runtime = json!({"cgroup_manager": "systemd"});
        let network = json!({"network_dir": "/etc/cni/net.d", "plugin_dirs": ["/opt/cni/bin"]});
        self.settings.set(&["crio"], json!({"runtime": runtime, "network": network}), origin.clone());
        self.settings.set(&["storage", "graphroot"], json!("/var/lib/containers/storage"), origin);
        // The file in /etc is read instead of the other, not after it (containers-storage.conf(5)).
        for path in ["/etc/containers/storage.conf", "/usr/share/containers/storage.conf"] {
            let Fact::Known(text) = host.text(path) else { continue };
            if let Ok(document) = Document::parse(&text)
                && let Some(root) = document.value.pointer("/storage/graphroot").filter(|root| root.is_string())
            {
                let origin = Origin::file(path, document.line(&["storage", "graphroot"]));
                self.settings.set(&["storage", "graphroot"], root.clone(), origin);
            }
            break;
        }
    }

    fn fail(&mut self, path: &str, line: Option<u32>, why: String) {
        self.broken.get_or_insert(Broken { at: Location { path: path.to_owned(), line }, why });
    }

    fn file(&mut self, host: &dyn Host, path: &str, optional: bool) -> Fact<()> {
        let text = match host.text(path) {
            Fact::Known(text) => text,
            Fact::Absent(_) if optional => return Fact::Known(()),
            Fact::Absent(_) => {
                self.fail(path, None, format!("{path} is missing"));
                return Fact::Known(());
            }
            other => return other.map(|_| ()),
        };
        self.files.push(path.to_owned());
        let document = match Document::parse(&text) {
            Ok(document) => document,
            Err(error) => {
                let first = error.message.lines().next().unwrap_or_default();
                self.fail(path, error.line, format!("it is not valid TOML: {first}"));
                return Fact::Known(());
            }
        };
        let member = |names: &[&str]| names.iter().try_fold(&document.value, |value, name| value.get(name));
        for names in TEXTS {
            if member(names).is_some_and(|value| !value.is_string()) {
                self.fail(path, document.line(names), format!("{} is not a text", names.join(".")));
            }
        }
        let manager = member(&["crio", "runtime", "cgroup_manager"]).and_then(Value::as_str);
        if let Some(manager) = manager.filter(|manager| !matches!(*manager, "systemd" | "cgroupfs")) {
            let line = document.line(&["crio", "runtime", "cgroup_manager"]);
            self.fail(path, line, format!("cgroup_manager is {manager}; expected systemd or cgroupfs"));
        }
        // An entry of a map of Go is made anew: a runtime is replaced as a whole.
        if let Some(runtimes) = member(&["crio", "runtime", "runtimes"]).and_then(Value::as_object) {
            for name in runtimes.keys() {
                self.settings.remove(&["crio", "runtime", "runtimes", name]);
            }
        }
        let lines = document.clone();
        self.settings.merge(document.value, |member| Origin::file(path, lines.line(member)));
        Fact::Known(())
    }

    fn walk(&mut self, host: &dyn Host, folder: &str, depth: usize) -> Fact<()> {
        let entries = match host.list(folder) {
            Fact::Known(entries) => entries,
            Fact::Absent(_) => return Fact::Known(()),
            other => return other.map(|_| ()),
        };
        for entry in entries {
            let path = format!("{folder}/{}", entry.name);
            let done = match entry.kind {
                FileKind::Directory if depth == 0 => Fact::Known(()),
                FileKind::Directory => self.walk(host, &path, depth - 1),
                _ => self.file(host, &path, false),
            };
            if done.known().is_none() {
                return done;
            }
        }
        Fact::Known(())
    }
}

/// What CRI-O runs with, for a reader.
pub fn explain(host: &dyn Host) -> Explained {
    let told = release_of(host);
    let minor = told.unwrap_or(NEWEST);
    let shown = told.map_or_else(|| format!("unknown; 1.{minor} is assumed"), |told| format!("1.{told}"));
    let mut head = vec![("release".to_owned(), shown)];
    match Crio::read(host, minor) {
        Fact::Known(it) => {
            head.push(("files".to_owned(), it.files.join(", ")));
            let refusal = it.monitor_refusal().map(|(found, wanted, origin)| {
                format!(
                    "the cgroup of monitors is {found}; expected {wanted} with {} ({origin})",
                    it.cgroup_manager().0
                )
            });
            let ends = it.broken.iter().map(ToString::to_string).chain(refusal).collect();
            Explained { head, settings: it.settings, ends, ..Explained::default() }
        }
        Fact::Absent(why) | Fact::Unreadable(why) | Fact::Malformed(why) | Fact::NotGathered(why) => {
            Explained { head, unread: vec![why], ..Explained::default() }
        }
    }
}

/// The release whose rules hold where CRI-O does not say its own.
pub const NEWEST: u32 = 37;

/// The minor release: what CRI-O answers, else what the program says.
pub fn release_of(host: &dyn Host) -> Option<u32> {
    let minor = |text: &str| -> Option<u32> {
        let version = text.split_whitespace().find(|word| word.trim_start_matches('v').starts_with("1."))?;
        version.split('.').nth(1)?.parse().ok()
    };
    let asked = host.value(&Query::Cri { socket: SOCKET.to_owned(), call: CriCall::Version });
    let answered = asked.known().and_then(|answer| minor(answer.get("runtimeVersion")?.as_str()?));
    answered.or_else(|| host.run(Program::CrioVersion).known().and_then(|said| minor(said)))
}

fn plain(path: &str) -> &str {
    path.trim_end_matches('/')
}

/// The words that CRI-O is started with: of its process, else of its unit.
fn command(host: &dyn Host) -> Vec<Word> {
    let all: Vec<Process> = match host.value(&Query::Processes) {
        Fact::Known(value) => serde_json::from_value((*value).clone()).unwrap_or_default(),
        _ => Vec::new(),
    };
    let running = all.iter().find(|process| {
        let program = process.command.split('\0').next().unwrap_or_default();
        program.rsplit('/').next() == Some("crio")
    });
    if let Some(process) = running {
        return process.command.split('\0').map(|text| Word { text: text.to_owned(), at: None }).collect();
    }
    match systemd::unit(host, "crio.service") {
        Fact::Known(unit) => unit.command(&unit.environment(host)),
        _ => Vec::new(),
    }
}

/// The value of a flag, by any of its names, and where it stands.
fn flag(words: &[Word], names: &[&str]) -> Option<(String, Option<Location>)> {
    let mut found = None;
    let mut rest = words.iter().skip(1);
    while let Some(word) = rest.next() {
        let Some(name) = word.text.strip_prefix('-') else { continue };
        let name = name.strip_prefix('-').unwrap_or(name);
        match name.split_once('=') {
            Some((name, value)) if names.contains(&name) => found = Some((value.to_owned(), word.at.clone())),
            None if names.contains(&name) => found = rest.next().map(|next| (next.text.clone(), next.at.clone())),
            _ => {}
        }
    }
    found
}

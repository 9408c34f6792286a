//! containerd's effective configuration: its main file and imports, merged and migrated as the release at hand does it.
//!
//! The rules are those of `LoadConfig` and `mergeConfig` in containerd's `server/config` package and of the migrations
//! of its CRI plug-ins, read in 1.6.20 to 2.4.2. `containerd config dump` is held against them in
//! `tests/containerd.rs`.

mod launch;
mod load;
mod migrate;
mod release;

use serde_json::{Value, json};

pub use launch::{CONFIG, Launch, SOCKET, plain};
pub use load::Broken;
pub use release::Release;

use super::{Explained, Origin, Setting, Settings};
use crate::fact::Fact;
use crate::host::{CriCall, Host, Program, Query};

/// The CRI plug-in of containerd 1.
const CRI_1: &str = "io.containerd.grpc.v1.cri";
/// The part of the CRI that runs pods, from containerd 2 on.
const RUNTIME_2: &str = "io.containerd.cri.v1.runtime";
/// The part of the CRI that pulls images, from containerd 2 on.
const IMAGES_2: &str = "io.containerd.cri.v1.images";

/// What containerd runs with.
#[derive(Debug, Clone, PartialEq)]
pub struct Containerd {
    /// The release whose rules were followed.
    pub release: Release,
    /// The main file, whether or not it is there.
    pub main: String,
    /// The files that were loaded, in their order.
    pub files: Vec<String>,
    /// The merged and migrated settings.
    pub settings: Settings,
    /// Plug-ins that are disabled, and where.
    pub disabled: Vec<(String, Origin)>,
    /// Why containerd ends at start, if it does.
    pub broken: Option<Broken>,
}

impl Containerd {
    /// Reads the configuration that a containerd is started with.
    pub fn read(host: &dyn Host, launch: &Launch, release: Release) -> Fact<Self> {
        load::load(host, launch, release)
    }

    /// The path of the plug-in that runs pods.
    #[must_use]
    pub fn runtime_plugin(&self) -> [&'static str; 2] {
        ["plugins", if self.release.is_2() { RUNTIME_2 } else { CRI_1 }]
    }

    /// A setting of the plug-in that runs pods.
    #[must_use]
    pub fn runtime(&self, path: &[&str]) -> Option<Setting<'_>> {
        self.settings.get(&[&self.runtime_plugin(), path].concat())
    }

    /// The text of such a setting.
    fn text<'s>(&'s self, path: &[&str]) -> Option<(&'s str, &'s Origin)> {
        let setting = self.runtime(path)?;
        Some((setting.value.as_str()?, setting.origin))
    }

    /// The runtime of pods that name none, and where it is named.
    #[must_use]
    pub fn default_runtime(&self) -> Option<(&str, &Origin)> {
        // containerd 1 still reads the table `default_runtime`, and then calls the runtime "default".
        let old = self.runtime(&["containerd", "default_runtime", "runtime_type"]);
        match old.filter(|setting| !self.release.is_2() && setting.value.as_str().is_some_and(|kind| !kind.is_empty()))
        {
            Some(setting) => Some(("default", setting.origin)),
            None => self.text(&["containerd", "default_runtime_name"]),
        }
    }

    /// The table of a runtime below the plug-in.
    fn runtime_table<'n>(&self, name: &'n str) -> Vec<&'n str> {
        match name {
            "default" if self.default_runtime().is_some_and(|(name, _)| name == "default") && !self.release.is_2() => {
                vec!["containerd", "default_runtime"]
            }
            name => vec!["containerd", "runtimes", name],
        }
    }

    /// Is a runtime of this name configured?
    #[must_use]
    pub fn has_runtime(&self, name: &str) -> bool {
        let path = [&self.runtime_plugin()[..], &self.runtime_table(name)].concat();
        self.settings.below(&path).next().is_some()
    }

    /// The shim of a runtime, such as `io.containerd.runc.v2`; an empty one where none is set.
    #[must_use]
    pub fn runtime_type(&self, name: &str) -> &str {
        self.text(&[&self.runtime_table(name)[..], &["runtime_type"]].concat()).map_or("", |(kind, _)| kind)
    }

    /// Does the runtime of pods that name none put them below systemd's cgroups? `None` where no runtime says, and
    /// containerd 2 looks whether systemd runs.
    #[must_use]
    pub fn systemd_cgroup(&self) -> Option<(bool, Origin)> {
        let default = self.default_runtime()?;
        let of = |name: &str| -> Option<(bool, Origin)> {
            // Only the shims of runc have the option.
            if !self.runtime_type(name).starts_with("io.containerd.runc.") {
                return None;
            }
            let options = [&self.runtime_table(name)[..], &["options"]].concat();
            let set = self.runtime(&[&options[..], &["SystemdCgroup"]].concat());
            if let Some(set) = set {
                return Some((set.value.as_bool() == Some(true), set.origin.clone()));
            }
            let path = [&self.runtime_plugin()[..], &options].concat();
            let there = self.settings.below(&path).next().is_some();
            (there || !self.release.is_2()).then(|| (false, self.default_origin()))
        };
        if !self.release.is_2() {
            return Some(of(default.0).unwrap_or((false, self.default_origin())));
        }
        // `getCgroupDriver` of containerd 2 asks the default runtime first, and then all others by name.
        of(default.0).or_else(|| self.runtimes().into_iter().find_map(of))
    }

    /// The names of the runtimes.
    #[must_use]
    pub fn runtimes(&self) -> Vec<&str> {
        let plugin = self.runtime_plugin();
        let depth = plugin.len() + 2;
        let mut names: Vec<&str> = self
            .settings
            .iter()
            .filter(|(path, _)| {
                let head = plugin.iter().chain(&["containerd", "runtimes"]);
                path.len() > depth && path.iter().zip(head).all(|(a, b)| a == b)
            })
            .map(|(path, _)| path[depth].as_str())
            .collect();
        names.dedup();
        names
    }

    /// Where CNI configurations are, how many are used (0 is all), and where the plug-ins are.
    #[must_use]
    pub fn cni(&self) -> super::Cni {
        let texts = |setting: Setting<'_>| -> Vec<String> {
            let items = setting.value.as_array().into_iter().flatten();
            items.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let one = self.runtime(&["cni", "bin_dir"]).filter(|one| one.value.as_str().is_some_and(|dir| !dir.is_empty()));
        let all = self.runtime(&["cni", "bin_dirs"]);
        // From 2.1 to 2.2 a `bin_dir` takes the place of the list's default; from 2.3 on it is migrated into the list.
        let (plugins, origin) = match (one, all) {
            (Some(one), _) if self.release < Release::new(2, 3, 0) => {
                (vec![one.value.as_str().unwrap_or_default().to_owned()], one.origin.clone())
            }
            (_, Some(all)) => (texts(all), all.origin.clone()),
            _ => (Vec::new(), self.default_origin()),
        };
        let folder = self.text(&["cni", "conf_dir"]);
        let most = self.runtime(&["cni", "max_conf_num"]).and_then(|most| most.value.as_u64());
        super::Cni {
            configurations: folder.map_or_else(String::new, |(folder, _)| folder.to_owned()),
            most: usize::try_from(most.unwrap_or(1)).unwrap_or(usize::MAX),
            plugins,
            origin,
        }
    }

    /// The image of pod sandboxes, if a file names one.
    #[must_use]
    pub fn sandbox_image(&self) -> Option<Setting<'_>> {
        if self.release.is_2() {
            self.settings.get(&["plugins", IMAGES_2, "pinned_images", "sandbox"])
        } else {
            self.runtime(&["sandbox_image"])
        }
    }

    /// The entry that disables the CRI, if one does.
    #[must_use]
    pub fn cri_disabled(&self) -> Option<&(String, Origin)> {
        // containerd compares whole names; the CRI service of containerd 2 does not load without its two parts.
        let ids: &[&str] = if self.release.is_2() { &[CRI_1, RUNTIME_2, IMAGES_2] } else { &[CRI_1] };
        self.disabled.iter().find(|(name, _)| ids.contains(&name.as_str()))
    }

    /// Why the CRI plug-in refuses its configuration, so that containerd runs without it.
    #[must_use]
    pub fn cri_refusal(&self) -> Option<(String, Origin)> {
        let set = |path: &[&str]| self.runtime(path).filter(|setting| setting.value.as_bool() == Some(true));
        if !self.release.is_2()
            && let Some(old) = set(&["systemd_cgroup"])
        {
            let why = "systemd_cgroup is only for the runtime io.containerd.runtime.v1.linux; expected SystemdCgroup \
                       in the options of the runtime";
            return Some((why.to_owned(), old.origin.clone()));
        }
        let (name, origin) = self.default_runtime()?;
        if name.is_empty() {
            return Some(("default_runtime_name is empty".to_owned(), origin.clone()));
        }
        if !self.has_runtime(name) {
            let why = format!("default_runtime_name is {name}, and containerd.runtimes.{name} is missing");
            return Some((why, origin.clone()));
        }
        let registry: Vec<&str> = match self.release.is_2() {
            true => vec!["plugins", IMAGES_2, "registry"],
            false => vec!["plugins", CRI_1, "registry"],
        };
        let folder = self.settings.get(&[&registry[..], &["config_path"]].concat());
        folder.filter(|folder| folder.value.as_str().is_some_and(|path| !path.is_empty()))?;
        let mirrors = [&registry[..], &["mirrors"]].concat();
        let (_, mirror) = self.settings.below(&mirrors).find(|(rest, _)| !rest.is_empty())?;
        Some(("registry.mirrors is set beside registry.config_path".to_owned(), mirror.origin.clone()))
    }

    fn default_origin(&self) -> Origin {
        Origin::Default(format!("containerd {}", self.release))
    }
}

/// The defaults that are judged, of a release.
fn defaults(release: Release, settings: &mut Settings) {
    let origin = || Origin::Default(format!("containerd {release}"));
    let plugin = if release.is_2() { RUNTIME_2 } else { CRI_1 };
    let cni = if release >= Release::new(2, 1, 0) {
        json!({"bin_dirs": ["/opt/cni/bin"], "conf_dir": "/etc/cni/net.d", "max_conf_num": 1})
    } else {
        json!({"bin_dir": "/opt/cni/bin", "conf_dir": "/etc/cni/net.d", "max_conf_num": 1})
    };
    let runc = json!({"runtime_type": "io.containerd.runc.v2", "options": {"SystemdCgroup": false}});
    let containerd = json!({"default_runtime_name": "runc", "runtimes": {"runc": runc}});
    settings.set(&["root"], json!("/var/lib/containerd"), origin());
    settings.set(&["state"], json!("/run/containerd"), origin());
    settings.set(&["plugins", plugin], json!({"cni": cni, "containerd": containerd}), origin());
}

/// What the containerd of a node runs with, for a reader: of the first of the known sockets that is there.
pub fn explain(host: &dyn Host) -> Explained {
    let sockets = launch::sockets();
    let socket = sockets.iter().find(|socket| host.stat(socket).known().is_some()).unwrap_or(&launch::SOCKET);
    let launch = Launch::of(host, socket);
    let told = release_of(host, socket);
    let release = told.unwrap_or_else(|| assumed(host, &launch));
    let mut head = vec![
        ("release".to_owned(), told.map_or_else(|| format!("unknown; {release} is assumed"), |told| told.to_string())),
        ("socket".to_owned(), (*socket).to_owned()),
        ("--config".to_owned(), format!("{} ({})", launch.config, launch.origin)),
    ];
    match Containerd::read(host, &launch, release) {
        Fact::Known(it) => {
            head.push(("files".to_owned(), it.files.join(", ")));
            let ends = it.broken.iter().map(ToString::to_string).collect();
            let refusal = it.cri_refusal().map(|(why, origin)| format!("the CRI plug-in: {why} ({origin})"));
            let settings = if it.broken.is_some() { Settings::default() } else { it.settings };
            Explained { head, settings, ends, warns: refusal.into_iter().collect(), unread: Vec::new() }
        }
        Fact::Absent(why) | Fact::Unreadable(why) | Fact::Malformed(why) | Fact::NotGathered(why) => {
            Explained { head, unread: vec![why], ..Explained::default() }
        }
    }
}

/// The release of the containerd behind a socket: what it answers, else what the program says.
pub fn release_of(host: &dyn Host, socket: &str) -> Option<Release> {
    let asked = host.value(&Query::Cri { socket: socket.to_owned(), call: CriCall::Version });
    let answered = asked.known().and_then(|answer| answer.get("runtimeVersion")?.as_str().and_then(Release::parse));
    answered.or_else(|| host.run(Program::ContainerdVersion).known().and_then(|said| Release::said(said)))
}

/// The release that a configuration is for, where containerd does not say its own.
pub fn assumed(host: &dyn Host, launch: &Launch) -> Release {
    let text = host.text(&launch.config).known().cloned().unwrap_or_default();
    let document = super::toml::Document::parse(&text).ok();
    let version = document.and_then(|document| document.value.get("version")?.as_i64());
    Release::for_config(version.unwrap_or(1))
}

//! The node suite: every check of the registry, over the facts of one node.

use std::io::{Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use seaworthy_checks::Profile;
use seaworthy_checks::host::{
    BadRecording, Cluster, Host, Layout, LiveHost, Meta, Program, Query, Recorder, Refusal, Remote, Reply, Transcript,
    read_recording,
};
use seaworthy_checks::node::{Facts, Peer, View, checks};
use seaworthy_checks::pki;
use seaworthy_checks::pki::live::Target;
use seaworthy_reports::{Evidence, Subject};

use crate::convert;
use crate::trial::{Suite, Trial};

/// A node on trial: what it said, and what that means.
#[derive(Debug)]
pub struct Node {
    /// Its host name, or the recording's.
    pub name: String,
    /// Where, when and by what it was gathered.
    pub meta: Meta,
    /// What it said.
    pub transcript: Transcript,
    facts: OnceLock<Facts>,
    pki: OnceLock<pki::Facts>,
}

/// Why a node cannot be put on trial.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// Its root cannot be opened, or is none.
    #[error("{0}")]
    Root(#[from] Refusal),
    /// A recording cannot be opened.
    #[error("{path}: {source}")]
    Open {
        /// The recording.
        path: PathBuf,
        /// What the file system said.
        source: std::io::Error,
    },
    /// A file is nothing that can be put on trial.
    #[error(
        "{path} is no recording, and no file of a PKI: `seaworthy record` writes recordings; certificates and keys end \
         in .crt, .cer, .pem, .der, .key or .pub, kubeconfigs in .conf, .kubeconfig, .yaml or .yml or are called \
         config or kubeconfig, and files of Talos are YAML or talosconfig"
    )]
    Unknown {
        /// The file.
        path: PathBuf,
    },
    /// A recording cannot be read.
    #[error("{path} is no recording of a node: {source}")]
    Recording {
        /// The file.
        path: PathBuf,
        /// Why.
        source: BadRecording,
    },
}

/// A node that can be put on trial: named, not yet asked.
pub enum Source {
    /// A live node.
    Live {
        /// Its host name.
        name: String,
        /// The node.
        host: LiveHost,
    },
    /// No node, but a cluster's API, or servers.
    Remote {
        /// The kubeconfig or the servers.
        name: String,
        /// Both.
        host: Remote,
    },
    /// A recorded one.
    Recorded {
        /// Its meta data.
        meta: Meta,
        /// What it said.
        transcript: Transcript,
    },
}

/// A kubeconfig that the user named.
#[derive(Debug, Clone)]
pub struct Kubeconfig {
    /// The file.
    pub path: PathBuf,
    /// The context; by default its current one.
    pub context: Option<String>,
}

impl Kubeconfig {
    fn open(&self) -> Result<Cluster, Refusal> {
        Cluster::open(&self.path, self.context.as_deref())
    }
}

impl Source {
    /// Opens a node: a folder is a live node's root, of which `layout` says what lies elsewhere, or a folder with a PKI
    /// and nothing else; a file is a recording, a kubeconfig or a file of PEM.
    ///
    /// Probes of a live node start this very program again, which must call [`probe_main`] first.
    ///
    /// [`probe_main`]: seaworthy_checks::host::probe_main
    ///
    /// # Errors
    /// [`NodeError`] that names the path and what is wrong with it.
    pub fn open(path: &Path, layout: &Layout) -> Result<Self, NodeError> {
        if !path.is_file() {
            let host = match LiveHost::open(path) {
                Ok(host) => host.with_probes("/proc/self/exe").with_layout(layout.clone()),
                Err(refusal) => match holds_pki(path).then(|| LiveHost::open_pki(path)) {
                    Some(host) => return Ok(Self::Live { name: path.display().to_string(), host: host? }),
                    None => return Err(NodeError::Root(refusal)),
                },
            };
            let name = host.nodename().unwrap_or_else(|| "unknown".to_owned());
            return Ok(Self::Live { name, host });
        }
        let open = |source| NodeError::Open { path: path.to_owned(), source };
        let mut file = std::fs::File::open(path).map_err(open)?;
        let mut head = [0; 4];
        // A recording begins as every zstd frame does; a PKI's file is text.
        let zstd = file.read_exact(&mut head).is_ok() && head == [0x28, 0xb5, 0x2f, 0xfd];
        if !zstd && is_credential(path) {
            let absolute = std::fs::canonicalize(path).map_err(open)?;
            let place = absolute.display().to_string();
            let bare = Layout { pki: Some(place.clone()), bare: true, ..Layout::default() };
            return Ok(Self::Live { name: place, host: LiveHost::open(Path::new("/"))?.with_layout(bare) });
        }
        if !zstd {
            return Err(NodeError::Unknown { path: path.to_owned() });
        }
        file.rewind().map_err(open)?;
        let recording = read_recording(std::io::BufReader::new(file));
        let (meta, mut transcript) =
            recording.map_err(|source| NodeError::Recording { path: path.to_owned(), source })?;
        if layout.kubeadm_config.is_some() {
            // The file of today, whatever the node was recorded with.
            let recorded = (&transcript as &dyn Host).layout();
            let layout = Layout { kubeadm_config: layout.kubeadm_config.clone(), ..recorded };
            if let Ok(value) = serde_json::to_value(layout) {
                transcript.insert(Query::Layout, Ok(Reply::from(value)));
            }
        }
        Ok(Self::Recorded { meta, transcript })
    }

    /// A cluster, by a kubeconfig that the user named, and servers; without a node.
    ///
    /// # Errors
    /// If the kubeconfig leads nowhere.
    pub fn remote(kubeconfig: Option<&Kubeconfig>, endpoints: Vec<Target>) -> Result<Self, NodeError> {
        let servers = endpoints.iter().map(|target| format!("{}:{}", target.host, target.port));
        let place = kubeconfig.map(|config| config.path.display().to_string());
        let name = place.into_iter().chain(servers).collect::<Vec<_>>().join(", ");
        let cluster = kubeconfig.map(Kubeconfig::open).transpose()?;
        Ok(Self::Remote { name, host: Remote::new(cluster, endpoints)? })
    }

    /// Lets the API of a cluster be asked beside a live node.
    ///
    /// # Errors
    /// If the kubeconfig leads nowhere.
    pub fn with_cluster(self, kubeconfig: &Kubeconfig) -> Result<Self, NodeError> {
        Ok(match self {
            Self::Live { name, host } => Self::Live { name, host: host.with_cluster(kubeconfig.open()?) },
            other => other,
        })
    }

    /// The node's name.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Live { name, .. } | Self::Remote { name, .. } => name,
            Self::Recorded { meta, .. } => &meta.hostname,
        }
    }

    /// Is it live, so that it may say something else when it is asked again?
    #[must_use]
    pub fn is_live(&self) -> bool {
        !matches!(self, Self::Recorded { .. })
    }

    /// Whom to ask.
    #[must_use]
    pub fn host(&self) -> &dyn Host {
        match self {
            Self::Recorded { transcript, .. } => transcript,
            Self::Live { host, .. } => host,
            Self::Remote { host, .. } => host,
        }
    }

    /// What the PKI is, asked now. Nothing of it is kept, and so nothing need be redacted: [`pki::Facts`] hold no
    /// secret.
    #[must_use]
    pub fn pki(&self) -> pki::Facts {
        pki::Facts::of_roles(self.host())
    }

    /// Asks the node everything that these suites need; `passive` leaves out all that does more than look.
    #[must_use]
    pub fn gather(&self, passive: bool, suites: &[&str]) -> Node {
        if let Self::Recorded { meta, transcript } = self {
            return Node::of(meta.clone(), transcript.clone());
        }
        let recorder = Recorder::new(self.host(), passive);
        if suites.contains(&"node") {
            drop(Facts::read(&recorder));
        }
        if suites.contains(&"pki") {
            drop(pki::Facts::read(&recorder));
        }
        // Which rules of Kubernetes hold, for every suite.
        for program in [Program::KubeletVersion, Program::KubeadmVersion] {
            recorder.ask(&Query::Run { program }).ok();
        }
        // For the head of the report, whether or not a judge needs it.
        recorder.ask(&Query::System).ok();
        recorder.ask(&Query::Read { path: "/etc/os-release".to_owned() }).ok();
        for path in BOOT_LOADERS.iter().flat_map(|(_, paths)| *paths) {
            recorder.ask(&Query::Stat { path: (*path).to_owned() }).ok();
        }
        let meta = Meta {
            hostname: self.name().to_owned(),
            recorded: jiff::Timestamp::now(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            constructed: None,
        };
        Node::of(meta, recorder.finish())
    }
}

/// Boot loaders, and the files that show them: kernel options are set in another way for each. GRUB comes last, since
/// its defaults stay behind where another has taken its place.
const BOOT_LOADERS: [(&str, &[&str]); 3] = [
    ("Raspberry Pi firmware", &["/boot/firmware/cmdline.txt", "/boot/cmdline.txt"]),
    ("systemd-boot", &["/boot/loader/loader.conf", "/efi/loader/loader.conf", "/boot/efi/loader/loader.conf"]),
    ("GRUB", &["/etc/default/grub"]),
];

/// By its name, or, of YAML, by what is in it, is it a file of a PKI?
fn is_credential(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let yaml = name == "talosconfig" || name.ends_with(".yaml") || name.ends_with(".yml");
    if yaml {
        let mut head = String::new();
        let read = std::fs::File::open(path).and_then(|file| file.take(1 << 20).read_to_string(&mut head));
        return read.is_ok() && (pki::talos::is_one(&head) || pki::kubeconfig::is_one(&head));
    }
    matches!(&*name, "config" | "kubeconfig")
        || [".crt", ".cer", ".pem", ".key", ".pub", ".crl", ".conf", ".kubeconfig", ".der"]
            .iter()
            .any(|end| name.ends_with(end))
}

/// Does a folder, or one in it, hold a file of a PKI?
fn holds_pki(folder: &Path) -> bool {
    let entries = |folder: &Path| std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let files = |folder: &Path| entries(folder).take(10_000).any(|path| is_credential(&path) && path.is_file());
    files(folder) || entries(folder).take(1_000).any(|path| path.is_dir() && files(&path))
}

impl Node {
    /// A node of a transcript.
    #[must_use]
    pub fn of(meta: Meta, transcript: Transcript) -> Self {
        Self { name: meta.hostname.clone(), meta, transcript, facts: OnceLock::new(), pki: OnceLock::new() }
    }

    /// What it said, as the node suite understands it.
    pub fn facts(&self) -> &Facts {
        self.facts.get_or_init(|| Facts::read(&self.transcript))
    }

    /// What it said, as the PKI suite understands it.
    pub fn pki(&self) -> &pki::Facts {
        self.pki.get_or_init(|| pki::Facts::read(&self.transcript))
    }

    /// The profile that the node is judged by, and what says so: where the user names no release of Kubernetes, the
    /// rules are those of its own kubelet or kubeadm.
    #[must_use]
    pub fn profile(&self, given: &Profile) -> (Profile, String) {
        let mut profile = given.clone();
        let why = match (given.cluster, self.facts().kubelet.release()) {
            (Some(_), _) => "--kubernetes-version".to_owned(),
            (None, Some((version, told_by))) => {
                profile.kubernetes = version;
                told_by
            }
            (None, None) => "the newest: it has no kubelet and no kubeadm that say their version".to_owned(),
        };
        (profile, why)
    }

    /// The node as a report's subject.
    #[must_use]
    pub fn subject(&self) -> Subject {
        let host: &dyn Host = &self.transcript;
        let mut facts = Vec::new();
        let mut fact = |label: &str, value: String| facts.push(Evidence { label: label.to_owned(), value });
        fact("recorded", self.meta.recorded.strftime("%Y-%m-%d %H:%M:%S UTC").to_string());
        if let Some(how) = &self.meta.constructed {
            fact("constructed", how.clone());
        }
        if let Some(release) = host.text("/etc/os-release").known() {
            let name = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
            if let Some(name) = name {
                fact("system", name.trim_matches('"').to_owned());
            }
        }
        let there = |path: &&str| host.stat(path).known().is_some();
        if let Some((name, _)) = BOOT_LOADERS.iter().find(|(_, paths)| paths.iter().any(there)) {
            fact("boot loader", (*name).to_owned());
        }
        if let Ok(Reply::System(system)) = host.ask(&Query::System) {
            fact("kernel", format!("{} {}", system.release, system.machine));
            fact("CPUs", system.cpus.to_string());
            fact("memory", format!("{} MiB", system.memory >> 20));
            if system.euid != 0 {
                fact("looked as", format!("user {}, without root's rights", system.euid));
            }
        }
        Subject { name: self.name.clone(), facts, pictures: Vec::new() }
    }
}

/// The node suite.
#[must_use]
pub fn node_suite() -> Suite {
    let trials = checks().into_iter().map(|check| {
        let mut info = convert::info(&check, "node");
        // What node-test's users select by.
        info.aliases.push("[NodeConformance]".to_owned());
        Trial::new(info, Duration::from_secs(1), move |node, others, profile| {
            let peers: Vec<_> = others.iter().map(|other| Peer { name: &other.name, facts: other.facts() }).collect();
            convert::verdict(check.judge(&View { facts: node.facts(), profile, peers: &peers }))
        })
    });
    Suite { name: "node", title: "Is this node ready for Kubernetes?", trials: trials.collect(), defects: &[] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use seaworthy_reports::{Outcome, Severity, TrialInfo, Verdict};

    fn empty() -> Node {
        let meta = Meta {
            hostname: "n".into(),
            recorded: jiff::Timestamp::UNIX_EPOCH,
            version: "0".into(),
            constructed: None,
        };
        Node::of(meta, Transcript::default())
    }

    #[test]
    fn the_rules_are_those_of_the_node_s_own_kubelet_unless_the_user_names_a_release() {
        let mut node = empty();
        let said = Reply::Text("Kubernetes v1.31.4\n".into());
        node.transcript.insert(Query::Run { program: Program::KubeletVersion }, Ok(said));
        let mut profile = Profile::new(jiff::Timestamp::UNIX_EPOCH);
        let (own, why) = node.profile(&profile);
        assert_eq!((own.kubernetes.0, why.as_str()), (31, "its kubelet is 1.31.4"));
        profile.kubernetes = seaworthy_checks::KubernetesVersion(29);
        profile.cluster = Some(profile.kubernetes);
        assert_eq!(node.profile(&profile).0.kubernetes.0, 29);
        let (newest, why) = empty().profile(&Profile::new(jiff::Timestamp::UNIX_EPOCH));
        assert_eq!(newest.kubernetes, seaworthy_checks::KubernetesVersion::NEWEST);
        assert!(why.starts_with("the newest"), "{why}");
    }

    #[test]
    fn a_panic_is_that_trials_error() {
        let info = TrialInfo {
            id: "node.a.b".into(),
            suite: "node".into(),
            title: "a".into(),
            severity: Severity::High,
            labels: vec![],
            aliases: vec![],
            basis: vec![],
            why: String::new(),
            how: String::new(),
            remedy: vec![],
        };
        let trial = Trial::new(info, Duration::from_secs(1), |_, _, _| -> Verdict { panic!("sunk {}", 1) });
        let verdict = trial.run(&empty(), &[], &Profile::new(jiff::Timestamp::UNIX_EPOCH));
        assert_eq!(verdict.outcome, Outcome::Errored);
        assert!(verdict.reason.unwrap().contains("sunk 1"));
    }

    #[test]
    fn a_node_that_nobody_looked_at_passes_nothing() {
        let profile = Profile::new(jiff::Timestamp::UNIX_EPOCH);
        for trial in node_suite().trials {
            let verdict = trial.run(&empty(), &[], &profile);
            assert!(!matches!(verdict.outcome, Outcome::Pass | Outcome::Fail), "{}: {verdict:?}", trial.info.id);
        }
    }

    #[test]
    fn what_is_no_recording_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Source::open(file.path(), &Layout::default()).err().unwrap().to_string();
        assert!(error.contains("no recording"), "{error}");
    }
}

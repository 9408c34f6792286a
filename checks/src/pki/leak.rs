//! Where private keys get to without anybody's intent: logs, copies of etcd's data, images. And who can read etcd's
//! data.
//!
//! Secrets lie in etcd in the clear unless they are encrypted at rest, and whatever prints or copies them spreads the
//! keys in them. The search is the host's ([`Query::PrivateKeys`]); what comes back is public halves, which pair with
//! certificates or not.

use super::discover::{Component, Discovery, expand};
use super::store::open_to;
use super::x509::{Key, KeyForm, PublicKey};
use crate::fact::Fact;
use crate::host::{Among, FileKind, FoundKey, Host, PrivateKeys, Query, Stat};

/// What pods say, as the kubelet has it.
const PODS: &str = "/var/log/pods";
/// The same by the names of containers: links.
const CONTAINERS: &str = "/var/log/containers";
/// Folders of logs, beside what flags name: the kubelet's, those that audit policies mostly name, RKE2's and k3s's.
const LOGS: [&str; 6] = [
    PODS,
    CONTAINERS,
    "/var/log/kubernetes",
    "/var/lib/rancher/rke2/server/logs",
    "/var/lib/rancher/rke2/agent/logs",
    "/var/lib/rancher/k3s/server/logs",
];
/// Flags that name a log, or a folder of logs.
const LOG_FLAGS: [&str; 3] = ["audit-log-path", "log-file", "log-dir"];
/// Copies of etcd's data: `kubeadm upgrade`, k3s, RKE2, RKE1, Kubespray, and where people put them.
const COPIES: [&str; 6] = [
    "/etc/kubernetes/tmp/kubeadm-backup-etcd-*",
    "/var/lib/rancher/k3s/server/db/snapshots/*",
    "/var/lib/rancher/rke2/server/db/snapshots/*",
    "/opt/rke/etcd-snapshots/*",
    "/var/backups/etcd-*",
    "/var/lib/etcd-backup*",
];
/// etcd's own data, where no flag names it: kubeadm, k3s, RKE2, k0s.
const DATA: [&str; 4] = [
    "/var/lib/etcd",
    "/var/lib/rancher/k3s/server/db/etcd",
    "/var/lib/rancher/rke2/server/db/etcd",
    "/var/lib/k0s/etcd",
];
/// Databases in a folder of etcd's data, or of a copy.
const DATABASES: [&str; 4] = ["member/snap/db", "etcd/member/snap/db", "snapshot.db", "db"];
/// Unpacked images: containerd, that of k3s, RKE2, k0s and MicroK8s, CRI-O and podman, Docker.
const LAYERS: [&str; 7] = [
    "/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots",
    "/var/lib/rancher/k3s/agent/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots",
    "/var/lib/rancher/rke2/agent/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots",
    "/var/lib/k0s/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots",
    "/var/snap/microk8s/common/var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots",
    "/var/lib/containers/storage/overlay",
    "/var/lib/docker/overlay2",
];
/// More copies than these are not looked at.
const MOST_COPIES: usize = 100;

/// What was searched, and what holds etcd's data.
#[derive(Debug, Default)]
pub struct Facts {
    /// The places that were searched for keys.
    pub searches: Vec<Search>,
    /// The folders of etcd's own data.
    pub data: Vec<Reach>,
    /// Databases of etcd: its own, and copies.
    pub databases: Vec<Reach>,
}

/// A place that was searched for private keys.
#[derive(Debug)]
pub struct Search {
    /// Where.
    pub path: String,
    /// What kind of files are there.
    pub among: Among,
    /// How much was searched, and what not.
    pub said: Fact<PrivateKeys>,
    /// The keys that were found.
    pub keys: Vec<Leak>,
}

/// A private key in a file that is not made for it.
#[derive(Debug)]
pub struct Leak {
    /// Where it stands, and how often.
    pub found: FoundKey,
    /// Its public half.
    pub public: PublicKey,
    /// Whom the file is open to.
    pub reach: Option<Reach>,
}

/// A file or folder, and whom it is open to.
#[derive(Debug, Clone)]
pub struct Reach {
    /// The path.
    pub path: String,
    /// Type, mode and owner.
    pub stat: Stat,
    /// The bits of its mode that let others than root and its owner do something, after what the folders above it let
    /// them do.
    pub open_to: u32,
}

impl Reach {
    fn of(host: &dyn Host, path: &str) -> Option<Self> {
        let stat = *host.stat(path).known()?;
        let mut above = Vec::new();
        let mut rest = path;
        while let Some((parent, _)) = rest.rsplit_once('/') {
            above.extend(host.stat(if parent.is_empty() { "/" } else { parent }).known().copied());
            rest = parent;
        }
        // Whoever is of root's group is as good as root.
        let roots_group = if stat.gid == 0 { 0o070 } else { 0 };
        Some(Self { path: path.to_owned(), stat, open_to: open_to(&stat, &above) & !roots_group })
    }
}

impl Facts {
    /// Searches a node.
    pub(super) fn read(host: &dyn Host, discovery: &Discovery) -> Self {
        let mut facts = Self::default();
        // Neither a folder of a PKI nor a machine without one has anything to leak.
        if discovery.bare || (discovery.uses.is_empty() && discovery.kubeconfigs.is_empty()) {
            return facts;
        }
        let pods = host.stat(PODS).known().is_some();
        // The kubelet fills the one folder with links to what is in the other.
        for path in logs(discovery).into_iter().filter(|path| !(pods && path == CONTAINERS)) {
            facts.search(host, path, Among::Logs);
        }
        let told = discovery.command(Component::Etcd).map(|line| line.paths("data-dir")).unwrap_or_default();
        let data = if told.is_empty() { DATA.map(str::to_owned).into() } else { told };
        for folder in data.iter().filter_map(|path| Reach::of(host, path)) {
            facts.databases.extend(databases(host, &folder));
            facts.data.push(folder);
        }
        for pattern in COPIES {
            let mut copies: Vec<_> = expand(host, pattern, None)
                .into_iter()
                .filter(|(path, _)| !data.contains(path))
                .take(MOST_COPIES)
                .filter_map(|(path, _)| Reach::of(host, &path))
                .collect();
            copies.sort_by(|one, other| (other.stat.mtime, &other.path).cmp(&(one.stat.mtime, &one.path)));
            facts.databases.extend(copies.iter().flat_map(|copy| databases(host, copy)));
            // An older one holds keys of then, which pair with nothing any more.
            if let Some(newest) = copies.into_iter().next() {
                facts.search(host, newest.path, Among::Snapshots);
            }
        }
        for path in LAYERS {
            facts.search(host, path.to_owned(), Among::Layers);
        }
        facts
    }

    /// Searches a place, if it is there and holds what can be searched: where `--audit-log-path=/dev/stdout` leads to
    /// nothing is kept.
    fn search(&mut self, host: &dyn Host, path: String, among: Among) {
        match host.stat(&path) {
            Fact::Known(stat) if matches!(stat.kind, FileKind::File | FileKind::Directory) => {}
            // Whoever may not even see whether it is there has not searched it.
            Fact::Unreadable(_) | Fact::Malformed(_) => {}
            Fact::Known(_) | Fact::Absent(_) | Fact::NotGathered(_) => return,
        }
        let said: Fact<PrivateKeys> = host.parsed(&Query::PrivateKeys { path: path.clone(), among });
        let found = said.known().map(|said| said.found.clone()).unwrap_or_default();
        let keys = found.into_iter().filter_map(|found| {
            let public = Key::parse(KeyForm::PkixPublic, &found.spki).ok()?.public;
            // Only of logs it matters who can read them: of the others another claim tells.
            let reach = if among == Among::Logs { Reach::of(host, &found.file) } else { None };
            Some(Leak { found, public, reach })
        });
        self.searches.push(Search { path, among, keys: keys.collect(), said });
    }
}

/// Logs that flags name, and folders of logs; none that lies below another.
fn logs(discovery: &Discovery) -> Vec<String> {
    let named = discovery.commands.iter().flat_map(|line| LOG_FLAGS.iter().flat_map(|flag| line.paths(flag)));
    let mut all: Vec<_> = LOGS.iter().map(|&path| path.to_owned()).collect();
    for path in named.filter(|path| path.starts_with('/')) {
        let within = |folder: &String| {
            path.strip_prefix(folder.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if !all.iter().any(within) {
            all.push(path);
        }
    }
    all
}

/// The databases in a folder, or the file that is one.
fn databases(host: &dyn Host, copy: &Reach) -> Vec<Reach> {
    if copy.stat.kind != FileKind::Directory {
        return vec![copy.clone()];
    }
    let inside = DATABASES.iter().filter_map(|name| Reach::of(host, &format!("{}/{name}", copy.path)));
    inside.filter(|reach| reach.stat.kind == FileKind::File).collect()
}

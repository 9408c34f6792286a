//! Discovery: which file is for what, by role and not by path.
//!
//! Flags count first (static pods, processes, units, the kubelet's configuration), then the layouts of distributions
//! and Talos's machine configurations, then a bounded walk through the folders of the PKI, which finds what has no
//! role. Nothing is matched by common name.

mod command;
mod flag;
mod layout;
mod manifest;
mod pod;
mod role;
mod talos;
mod walk;

use std::collections::BTreeSet;
use std::fmt;

pub use command::CommandLine;
pub use flag::{KUBELET_SERVING, SIGNERS, SIGNING, Sni};
pub use layout::{LAYOUTS, Layout};
pub use manifest::{Manifest, Refusal};
pub use role::{Component, Kind, Role};
pub use talos::member;
pub(crate) use walk::may_hold_credentials;

use crate::fact::Fact;
use crate::host::{Credentials, FileKind, Host, Query};
use crate::pki::talos::Talos;
use layout::Part;

/// Who says that a file has a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum From {
    /// A flag, and the file or process that has it.
    Flag {
        /// The flag without dashes.
        flag: &'static str,
        /// Where it stands.
        place: String,
    },
    /// The layout of a distribution.
    Layout(&'static str),
}

impl fmt::Display for From {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag { flag, place } => write!(f, "--{flag} in {place}"),
            Self::Layout(name) => write!(f, "the layout of {name}"),
        }
    }
}

/// A file, and what it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Use {
    /// What it is for.
    pub role: Role,
    /// Who holds it.
    pub holder: Component,
    /// The file.
    pub file: String,
    /// The file of its private key.
    pub key: Option<String>,
    /// Who says so.
    pub from: From,
    /// Is something wrong if it is not there?
    pub required: bool,
}

/// A kubeconfig, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubeconfigUse {
    /// The file.
    pub file: String,
    /// Who uses it.
    pub holder: Component,
    /// The role of the client certificate in it.
    pub role: Role,
    /// Who says so.
    pub from: From,
    /// Is something wrong if it is not there?
    pub required: bool,
}

/// A file that a flag of a static pod names and that is not mounted into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmounted {
    /// Whose flag it is.
    pub component: Component,
    /// The flag without dashes.
    pub flag: &'static str,
    /// The file.
    pub path: String,
    /// The manifest, and the line of the flag.
    pub place: (String, Option<u32>),
    /// Is there such a file on the node?
    pub there: bool,
}

/// What was discovered.
#[derive(Debug, Default)]
pub struct Discovery {
    /// How components are started.
    pub commands: Vec<CommandLine>,
    /// Files with a role, in the order of the tables.
    pub uses: Vec<Use>,
    /// Kubeconfigs with a role.
    pub kubeconfigs: Vec<KubeconfigUse>,
    /// The files of Talos, with all but what they hold.
    pub talos: Vec<(String, Talos<()>)>,
    /// The layouts that were recognized.
    pub layouts: Vec<&'static Layout>,
    /// kubeadm's `certificatesDir`, where its layout was recognized.
    pub certificates: Option<String>,
    /// Files in the PKI's folders that have no role.
    pub others: Vec<String>,
    /// Copies that somebody put aside.
    pub backups: Vec<String>,
    /// The PKI's folders.
    pub folders: BTreeSet<String>,
    /// What could not be looked at, with the reason.
    pub unread: Vec<String>,
    /// Components of which nobody says how they are started, since their manifest could not be read; with the reason.
    pub untold: Vec<(Component, String)>,
    /// The files that the kubelet reads for static pods.
    pub manifests: Vec<Manifest>,
    /// Files that a flag of a static pod names and that are not mounted into it.
    pub unmounted: Vec<Unmounted>,
    /// Links in the PKI's folders that lead nowhere, or in a circle.
    pub astray: Vec<String>,
    /// Is this a folder that was given alone, rather than a node?
    pub bare: bool,
}

impl Discovery {
    /// Looks for the PKI of a host.
    #[must_use]
    pub fn of(host: &dyn Host) -> Self {
        let places = host.layout();
        let mut found = Self { bare: places.bare, ..Self::default() };
        if let (true, Some(place)) = (places.bare, &places.pki) {
            found.bare_folder(host, place);
            return found;
        }
        let started = command::command_lines(host);
        (found.commands, found.unread, found.untold) = (started.commands, started.unread, started.untold);
        found.manifests = started.manifests;
        found.flags();
        found.mounts(host);
        let mut known = BTreeSet::new();
        for layout in LAYOUTS {
            let base = match &places.pki {
                Some(pki) if layout.name == "kubeadm" => pki.as_str(),
                _ => layout.base,
            };
            found.layout(host, layout, base, &mut known);
        }
        found.talos(host, talos::CONFIGURATION);
        if let Some(pki) = places.pki {
            found.folders.insert(pki);
        }
        found.walk(host);
        found
    }

    /// The file that was given alone.
    #[must_use]
    pub fn given(&self) -> Option<&str> {
        let alone = self.bare && self.folders.is_empty() && self.talos.is_empty();
        self.others.first().filter(|_| alone).map(String::as_str)
    }

    /// Is nothing of what was given alone known by its name? Then each file in it is judged for itself.
    #[must_use]
    pub fn is_nameless(&self) -> bool {
        self.bare && self.uses.is_empty() && self.kubeconfigs.is_empty() && self.talos.is_empty()
    }

    /// The command line of a component, if it is known.
    #[must_use]
    pub fn command(&self, component: Component) -> Option<&CommandLine> {
        self.commands.iter().find(|line| line.component == component)
    }

    /// Is the PKI kubeadm's, by where its files lie?
    #[must_use]
    pub fn is_kubeadm(&self) -> bool {
        let mut layouts = self.layouts.iter().map(|layout| layout.name).filter(|&name| name != "managed").peekable();
        layouts.peek().is_some() && layouts.all(|name| matches!(name, "kubeadm" | "Kubespray"))
    }

    /// The files of a role.
    pub fn of_role(&self, role: Role) -> impl Iterator<Item = &Use> {
        self.uses.iter().filter(move |one| one.role == role)
    }

    /// Adds what the flags of components name.
    fn flags(&mut self) {
        let Self { commands, uses, kubeconfigs, .. } = self;
        for line in commands.iter() {
            let from = |flag| From::Flag { flag, place: line.place_of(flag).to_owned() };
            for row in flag::FLAGS.iter().filter(|row| row.component == line.component) {
                for (file, key) in row.files(line) {
                    let (role, holder) = (row.role, line.component);
                    // One CA may sign for several signers.
                    let same = |one: &Use| (one.role, one.holder, &one.file, &one.key) == (role, holder, &file, &key);
                    if !uses.iter().any(same) {
                        uses.push(Use { role, holder, file, key, from: from(row.file), required: true });
                    }
                }
            }
            for (component, flag, role) in flag::KUBECONFIGS.iter().filter(|(of, ..)| *of == line.component) {
                if let Some(file) = line.paths(flag).pop()
                    && !kubeconfigs.iter().any(|one| one.file == file)
                {
                    let (holder, role, from) = (*component, *role, from(flag));
                    kubeconfigs.push(KubeconfigUse { file, holder, role, from, required: true });
                }
            }
        }
    }

    /// Finds what flags of static pods name and their containers do not have. What is not on the node either has no
    /// role then: that it is missing is the same fault.
    fn mounts(&mut self, host: &dyn Host) {
        let absent = |path: &str| matches!(host.stat(path), Fact::Absent(_));
        // Of a manifest that is refused that is the finding.
        let refused =
            |line: &CommandLine| self.manifests.iter().any(|one| one.file == line.place && one.refused.is_some());
        for line in self.commands.iter().filter(|line| !refused(line)) {
            let files = flag::FLAGS.iter().filter(|row| row.component == line.component && row.file != flag::SNI);
            let files = files.flat_map(|row| [Some(row.file), row.key]).flatten();
            let configs = flag::KUBECONFIGS.iter().filter(|(of, ..)| *of == line.component).map(|(_, flag, _)| *flag);
            for flag in files.chain(configs).chain(flag::FILES) {
                let paths = line.all(flag).filter(|path| !path.is_empty() && !line.is_mounted(path));
                for path in paths {
                    let place = (line.place_of(flag).to_owned(), line.line_of(flag));
                    let same = |one: &Unmounted| (one.component, &*one.path) == (line.component, path);
                    if !self.unmounted.iter().any(same) {
                        let (component, path, there) = (line.component, path.to_owned(), !absent(path));
                        self.unmounted.push(Unmounted { component, flag, path, place, there });
                    }
                }
            }
        }
        let Self { uses, kubeconfigs, unmounted, .. } = self;
        let lost = |of: Component, path: &str| {
            unmounted.iter().any(|one| !one.there && one.component == of && one.path == path)
        };
        uses.retain(|one| !lost(one.holder, &one.file));
        for one in uses.iter_mut() {
            one.key = one.key.take().filter(|key| !lost(one.holder, key));
        }
        kubeconfigs.retain(|one| !lost(one.holder, &one.file));
    }

    /// Does a flag that could name a file of this role and holder speak for itself?
    fn spoken_for(&self, role: Role, holder: Component) -> bool {
        let Some(line) = self.command(holder) else { return false };
        // Where the kubelet is told no certificate it makes one, in the folder that the layout names.
        let told = |row: &flag::FlagRow| holder != Component::Kubelet || line.get(row.file).is_some();
        flag::FLAGS.iter().any(|row| row.component == holder && row.role == role && told(row))
    }

    /// Adds what a layout has on this host. `known` holds the files that have been seen under another name.
    fn layout(&mut self, host: &dyn Host, layout: &'static Layout, base: &str, known: &mut BTreeSet<(u64, u64)>) {
        let mut recognized = false;
        for part in layout.parts {
            let there = |path: &str| !matches!(host.stat(path), Fact::Absent(_) | Fact::NotGathered(_));
            let Some(anchor) = part.anchors.iter().map(|anchor| below(base, anchor)).find(|path| there(path)) else {
                continue;
            };
            // A folder that is a link to one that was seen is the same PKI under another name.
            if let Fact::Known(stat) = host.stat(&anchor)
                && stat.ino > 1
                && !known.insert((stat.dev, stat.ino))
            {
                continue;
            }
            recognized |= self.part(host, layout.name, part, base);
        }
        if recognized {
            self.layouts.push(layout);
            if matches!(layout.name, "kubeadm" | "Kubespray") {
                self.certificates.get_or_insert_with(|| base.to_owned());
            }
            for folder in layout.folders {
                let folder = if layout.base == *folder { base } else { folder };
                if host.list(folder).known().is_some() {
                    self.folders.insert(folder.to_owned());
                }
            }
        }
    }

    /// Adds a part of a layout; says whether any file of it is there.
    fn part(&mut self, host: &dyn Host, name: &'static str, part: &Part, base: &str) -> bool {
        let absent = |path: &str| matches!(host.stat(path), Fact::Absent(_) | Fact::NotGathered(_));
        let mut any = false;
        for row in part.rows {
            let holder = row.role.holder();
            // What the kubelet made before it was told otherwise lies there for ever.
            let bootstraps = self.command(holder).map(|line| line.get("rotate-server-certificates") == Some("true"));
            if row.bootstrapped.zip(bootstraps).is_some_and(|(wanted, is)| wanted != is) {
                continue;
            }
            let pattern = below(base, &row.file());
            if self.spoken_for(row.role, holder) {
                any |= row.required;
                self.signing(host, name, row, base);
                continue;
            }
            for (file, key) in expand(host, &pattern, row.key().map(|key| below(base, &key)).as_deref()) {
                let missing = absent(&file);
                let optional = !row.required || file.contains('*');
                if missing && optional {
                    continue;
                }
                any |= !missing;
                let same = |one: &Use| one.role == row.role && (one.holder == holder && one.file == file);
                let filled = self.uses.iter().any(|one| one.role == row.role && one.holder == holder);
                let several = file != pattern || row.role == Role::OtherClient;
                if self.uses.iter().any(same) || (filled && !several && row.role != Role::ApiserverServing) {
                    continue;
                }
                let key = key.filter(|key| row.role.kind() != Kind::Bundle || !absent(key));
                let from = From::Layout(name);
                self.uses.push(Use { role: row.role, holder, file, key, from, required: row.required });
            }
        }
        for (file, role) in part.kubeconfigs {
            let file = below(base, file);
            if absent(&file) || self.kubeconfigs.iter().any(|one| one.file == file) {
                continue;
            }
            any = true;
            let from = From::Layout(name);
            let holder = role.holder();
            self.kubeconfigs.push(KubeconfigUse { file, holder, role: *role, from, required: false });
        }
        any
    }

    /// Adds what no flag names of a CA whose certificate one does: the key by which kubeadm, or whoever made the PKI,
    /// signs, and, where the flag names another file, the certificate that belongs to it.
    fn signing(&mut self, host: &dyn Host, name: &'static str, row: &layout::Row, base: &str) {
        let Some(key) = row.key().map(|key| below(base, &key)) else { return };
        let file = below(base, &row.file());
        let there = |path: &str| host.stat(path).known().is_some_and(|stat| stat.kind == FileKind::File);
        if row.role.kind() != Kind::Bundle || file.contains('*') || !there(&key) {
            return;
        }
        let mut named = self.uses.iter_mut().filter(|one| one.role == row.role && one.file == file).peekable();
        if named.peek().is_some() {
            return named.for_each(|one| {
                one.key.get_or_insert_with(|| key.clone());
            });
        }
        let known = self.uses.iter().any(|one| one.file == file && one.key.as_ref() == Some(&key));
        if name == "kubeadm" && !known && there(&file) {
            let (role, holder, from) = (row.role, Component::Kubeadm, From::Layout(name));
            self.uses.push(Use { role, holder, file, key: Some(key), from, required: false });
        }
    }

    /// A folder, or a file, that was given alone.
    fn bare_folder(&mut self, host: &dyn Host, place: &str) {
        if host.stat(place).known().is_some_and(|stat| stat.kind == FileKind::File) {
            if !self.talos(host, place) {
                self.others.push(place.to_owned());
            }
            return;
        }
        self.folders.insert(place.to_owned());
        // The folder is the PKI, or what is around it; of the layouts, the one that explains most.
        let mut bases = ["", "pki", "ssl", "certs", "tls"].map(|name| below(place, name)).to_vec();
        bases.retain(|base| host.stat(base).known().is_some());
        let score = |base: &str, layout: &Layout| {
            let rows = layout.parts.iter().flat_map(|part| part.rows).map(layout::Row::file);
            let rows = rows.filter(|file| !file.starts_with('/'));
            rows.filter(|file| host.stat(&below(base, file)).known().is_some()).count()
        };
        let pairs = bases.iter().flat_map(|base| LAYOUTS.iter().map(move |layout| (base, layout)));
        // The first of the best.
        let best =
            pairs.map(|(base, layout)| (score(base, layout), base, layout)).rev().max_by_key(|(score, ..)| *score);
        if let Some((1.., base, layout)) = best {
            self.layout(host, layout, base, &mut BTreeSet::new());
        }
        self.walk(host);
    }

    /// Copies that stand beside a folder of the PKI, or a kubeconfig, under its name and more:
    /// `/etc/kubernetes/pki.bak`, `admin.conf.old`, k3s's `server/tls-1700000000`.
    fn copies_beside(&mut self, host: &dyn Host) {
        let all: BTreeSet<_> =
            self.folders.iter().chain(self.kubeconfigs.iter().map(|one| &one.file)).cloned().collect();
        for (folder, own) in all.iter().filter_map(|path| path.rsplit_once('/')) {
            let entries = host.list(if folder.is_empty() { "/" } else { folder });
            let entries = entries.known().cloned().unwrap_or_default();
            let copies = entries.into_iter().filter(|entry| {
                entry.name.len() > own.len() && entry.name.starts_with(own) && walk::is_backup(&entry.name)
            });
            for copy in copies {
                let path = format!("{folder}/{}", copy.name);
                match copy.kind {
                    FileKind::Directory => {
                        let walk = walk::walk(host, &path);
                        self.backups.extend(walk.files);
                        self.unread.extend(walk.unread);
                    }
                    FileKind::File => self.backups.push(path),
                    _ => {}
                }
            }
        }
    }

    /// Walks the folders for what has no role.
    fn walk(&mut self, host: &dyn Host) {
        let mut taken: BTreeSet<String> = BTreeSet::new();
        for one in &self.uses {
            taken.insert(one.file.clone());
            taken.extend(one.key.clone());
        }
        taken.extend(self.kubeconfigs.iter().map(|one| one.file.clone()));
        let bare = self.bare;
        if !bare {
            self.copies_beside(host);
        }
        for folder in self.folders.clone() {
            let walk = walk::walk(host, &folder);
            self.folders.extend(walk.folders);
            self.unread.extend(walk.unread);
            self.astray.extend(walk.astray.into_iter().filter(|link| !walk::is_backup(link)));
            // Beside the PKI of a node YAML is configuration.
            for file in walk.yaml.into_iter().filter(|_| bare) {
                if walk::is_backup(&file) {
                    self.backups.push(file);
                } else if !self.talos(host, &file) && is_kubeconfig(host, &file) {
                    self.others.push(file);
                }
            }
            for file in walk.files {
                if bare && file.ends_with("/config") && self.talos(host, &file) {
                    continue;
                }
                if walk::is_backup(&file) {
                    self.backups.push(file);
                } else if let (true, Some(role)) = (bare, conf_role(&file)) {
                    if !taken.contains(&file) {
                        let (from, holder) = (From::Layout("kubeadm"), role.holder());
                        self.kubeconfigs.push(KubeconfigUse { file, holder, role, from, required: false });
                    }
                } else if !taken.contains(&file) && !self.others.contains(&file) {
                    self.others.push(file);
                }
            }
        }
    }
}

/// Is it a kubeconfig, by what is in it?
fn is_kubeconfig(host: &dyn Host, file: &str) -> bool {
    let said: Fact<Credentials> = host.parsed(&Query::Credentials { path: file.to_owned() });
    said.known().is_some_and(|said| said.kubeconfig.is_some())
}

/// The roles whose files the flags of a component name: those of certificates, bundles and keys, and those of
/// kubeconfigs.
pub(super) fn roles_of_flags(component: Component) -> (impl Iterator<Item = Role>, impl Iterator<Item = Role>) {
    let files = flag::FLAGS.iter().filter(move |row| row.component == component).map(|row| row.role);
    let kubeconfigs = flag::KUBECONFIGS.iter().filter(move |(of, ..)| *of == component).map(|(.., role)| *role);
    (files, kubeconfigs)
}

/// The role of a kubeconfig that has the name that kubeadm gives it.
fn conf_role(file: &str) -> Option<Role> {
    Some(match file.rsplit('/').next()? {
        "admin.conf" => Role::AdminClient,
        "super-admin.conf" => Role::SuperAdminClient,
        "kubelet.conf" => Role::KubeletClient,
        "controller-manager.conf" => Role::ControllerManagerClient,
        "scheduler.conf" => Role::SchedulerClient,
        _ => return None,
    })
}

/// A name of a layout as a path: below the base unless it is absolute.
fn below(base: &str, name: &str) -> String {
    match name {
        "" => base.to_owned(),
        name if name.starts_with('/') => name.to_owned(),
        name => format!("{}/{name}", base.trim_end_matches('/')),
    }
}

/// The files that a name with stars in it stands for, each with its key, in which the same stands for them; the name
/// itself where it has none.
pub(super) fn expand(host: &dyn Host, file: &str, key: Option<&str>) -> Vec<(String, Option<String>)> {
    let Some((before, after)) = file.split_once('*') else {
        return vec![(file.to_owned(), key.map(str::to_owned))];
    };
    let (folder, head) = before.rsplit_once('/').unwrap_or(("", before));
    let (tail, rest) = after.find('/').map_or((after, ""), |end| after.split_at(end));
    let Fact::Known(entries) = host.list(if folder.is_empty() { "/" } else { folder }) else { return Vec::new() };
    let names = entries.iter().filter_map(|entry| {
        let middle = entry.name.strip_prefix(head)?.strip_suffix(tail)?;
        // `member-*.pem` is not meant to be `member-n1-key.pem`, and `etcd-serving-*` not what serves metrics.
        (!middle.is_empty() && !middle.ends_with("-key") && !middle.starts_with("metrics-")).then_some(middle)
    });
    names
        .flat_map(|middle| {
            let file = format!("{folder}/{head}{middle}{tail}{rest}");
            expand(host, &file, key.map(|key| key.replacen('*', middle, 1)).as_deref())
        })
        .collect()
}

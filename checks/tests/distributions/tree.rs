//! A node as a tree of files and a few answers, so that a whole distribution fits on a page.
//!
//! Every path that the tree does not hold is absent, as on a real disk; links are followed. The kernel, the machine and
//! the probes are those of the reference node in `nodes/reference/`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use seaworthy_checks::construct::lay;
use seaworthy_checks::host::{
    Answer, CriCall, Entry, FileKind, Host, Layout, Process, Program, Query, Refusal, RefusalKind, Reply, Stat,
    Transcript, credentials,
};
use serde_json::json;

/// What the reference node answers for: all that no distribution decides.
const MACHINE: [&str; 5] = ["/proc/", "/sys/", "/boot/", "/lib/modules/", "/dev/"];
/// The programs that a general-purpose distribution has, besides those of Kubernetes.
const PROGRAMS: [&str; 21] = [
    "ip",
    "iptables",
    "mount",
    "nsenter",
    "conntrack",
    "ebtables",
    "ethtool",
    "socat",
    "tc",
    "touch",
    "modprobe",
    "umount",
    "apparmor_parser",
    "cp",
    "ip6tables",
    "iptables-restore",
    "nft",
    "mkfs.ext4",
    "mkfs.xfs",
    "fsck",
    "losetup",
];

#[derive(Debug, Clone)]
enum Item {
    File { text: String, mode: u32 },
    Folder,
    Link(String),
    Socket,
}

/// A node.
#[derive(Debug, Clone)]
pub(crate) struct Tree {
    items: BTreeMap<String, Item>,
    answers: BTreeMap<Query, Answer>,
    processes: Vec<Process>,
    machine: Transcript,
    root_stat_fs: Answer,
}

impl Tree {
    /// A machine with an operating system and nothing else, booted by systemd.
    pub(crate) fn new(id: &str, pretty: &str) -> Self {
        let mut machine = Transcript::default();
        lay(&Path::new(env!("CARGO_MANIFEST_DIR")).join("nodes/reference"), &mut machine).unwrap();
        let root_stat_fs = machine.ask(&Query::StatFs { path: "/var/lib/kubelet".into() });
        let mut tree =
            Self { items: BTreeMap::new(), answers: BTreeMap::new(), processes: Vec::new(), machine, root_stat_fs };
        tree.file("/etc/os-release", &format!("ID={id}\nPRETTY_NAME=\"{pretty}\"\n"));
        tree.file("/etc/hostname", "n1\n").file("/etc/machine-id", "4b2f0c6d8e1a4c0f9d3e7a5b6c8d9e0f\n");
        tree.file("/proc/sys/kernel/hostname", "n1\n");
        tree.file("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n192.0.2.10 n1\n");
        tree.file("/etc/resolv.conf", "nameserver 192.0.2.53\nsearch example.com\n");
        tree.file("/etc/fstab", "UUID=8c4d2a4e-6b7e-4f5a-9a53-0d1f7a8d8b11 / ext4 defaults 0 1\n");
        tree.folder("/run/systemd/system").file("/run/systemd/timesync/synchronized", "");
        tree.folder("/etc/systemd/system").folder("/usr/lib/systemd/system");
        tree.answer(Query::Lookup { name: "n1".into() }, json!(["192.0.2.10"]));
        for program in PROGRAMS {
            tree.program(&format!("/usr/bin/{program}"));
        }
        tree.process("/usr/lib/systemd/systemd --switched-root --system").process("/usr/sbin/chronyd -F 2");
        tree
    }

    /// A file that everybody may read.
    pub(crate) fn file(&mut self, path: &str, text: &str) -> &mut Self {
        self.item(path, Item::File { text: text.to_owned(), mode: 0o644 })
    }

    /// A file that its owner alone may read.
    pub(crate) fn private(&mut self, path: &str, text: &str) -> &mut Self {
        self.item(path, Item::File { text: text.to_owned(), mode: 0o600 })
    }

    /// A program.
    pub(crate) fn program(&mut self, path: &str) -> &mut Self {
        self.item(path, Item::File { text: "\u{7f}ELF".to_owned(), mode: 0o755 })
    }

    /// A socket on which nothing of ours is answered.
    pub(crate) fn socket(&mut self, path: &str) -> &mut Self {
        self.item(path, Item::Socket)
    }

    /// A folder.
    pub(crate) fn folder(&mut self, path: &str) -> &mut Self {
        self.item(path, Item::Folder)
    }

    /// A symbolic link.
    pub(crate) fn link(&mut self, path: &str, target: &str) -> &mut Self {
        self.item(path, Item::Link(target.to_owned()))
    }

    /// A unit of systemd in /usr/lib, enabled by the administrator.
    pub(crate) fn unit(&mut self, name: &str, text: &str) -> &mut Self {
        let path = format!("/usr/lib/systemd/system/{name}");
        self.file(&path, text);
        self.link(&format!("/etc/systemd/system/multi-user.target.wants/{name}"), &path)
    }

    /// Replaces a text in a file, which must hold it.
    pub(crate) fn edit(&mut self, path: &str, from: &str, to: &str) -> &mut Self {
        match self.items.get_mut(path) {
            Some(Item::File { text, .. }) if text.contains(from) => *text = text.replacen(from, to, 1),
            _ => panic!("{path} does not hold '{from}'"),
        }
        self
    }

    /// Takes a path and all below it away.
    pub(crate) fn remove(&mut self, path: &str) -> &mut Self {
        let below = format!("{path}/");
        let before = self.items.len();
        self.items.retain(|own, _| own != path && !own.starts_with(&below));
        assert!(self.items.len() < before, "{path} is not there");
        self
    }

    /// A process, by its command line.
    pub(crate) fn process(&mut self, command: &str) -> &mut Self {
        let pid = u32::try_from(self.processes.len()).unwrap() + 1;
        let words: Vec<_> = command.split(' ').collect();
        let comm: String = words[0].rsplit('/').next().unwrap().chars().take(15).collect();
        self.file(&format!("/proc/{pid}/comm"), &format!("{comm}\n")).folder(&format!("/proc/{pid}/fd"));
        self.processes.push(Process { pid, command: words.join("\0"), started: 1_767_139_200, sandboxed: false });
        self
    }

    /// Changes the command line of a process.
    pub(crate) fn edit_process(&mut self, from: &str, to: &str) -> &mut Self {
        let (from, to) = (from.replace(' ', "\0"), to.replace(' ', "\0"));
        let found = self.processes.iter_mut().find(|process| process.command.contains(&from));
        let process = found.unwrap_or_else(|| panic!("no process holds '{from}'"));
        process.command = process.command.replacen(&from, &to, 1);
        self
    }

    /// An answer to any other query.
    pub(crate) fn answer(&mut self, query: Query, value: serde_json::Value) -> &mut Self {
        self.answers.insert(query, Ok(value.into()));
        self
    }

    /// A runtime that answers the CRI on a socket; `driver` is the cgroup driver that it reports, `None` if it cannot.
    pub(crate) fn runtime(&mut self, socket: &str, name: &str, version: &str, driver: Option<&str>) -> &mut Self {
        let query = |call| Query::Cri { socket: socket.to_owned(), call };
        self.item(socket, Item::Socket);
        self.answer(
            query(CriCall::Version),
            json!({"runtimeName": name, "runtimeVersion": version, "runtimeApiVersion": "v1"}),
        );
        let ready = |name| json!({"type": name, "status": true, "reason": "", "message": ""});
        self.answer(
            query(CriCall::Status),
            json!({"conditions": [ready("RuntimeReady"), ready("NetworkReady")], "info": {}}),
        );
        let config = match driver {
            Some(driver) => Ok(json!({"cgroupDriver": driver}).into()),
            None => Err(Refusal::new(RefusalKind::Unsupported, "not implemented: unknown method RuntimeConfig")),
        };
        self.answers.insert(query(CriCall::RuntimeConfig), config);
        self
    }

    /// A kubelet that runs and is healthy, and what it says of its version.
    pub(crate) fn kubelet(&mut self, version: &str, command: &str) -> &mut Self {
        self.process(command);
        self.answer(Query::Get { url: "http://127.0.0.1:10248/healthz".into() }, json!({"status": 200, "body": "ok"}));
        self.says(Program::KubeletVersion, &format!("Kubernetes {version}\n"))
    }

    /// What an allow-listed program prints.
    pub(crate) fn says(&mut self, program: Program, text: &str) -> &mut Self {
        self.answers.insert(Query::Run { program }, Ok(Reply::Text(text.to_owned())));
        self
    }

    fn item(&mut self, path: &str, item: Item) -> &mut Self {
        assert!(path.starts_with('/') && !path.ends_with('/'), "{path}");
        self.items.insert(path.to_owned(), item);
        self
    }

    /// The path with all its links followed.
    fn resolve(&self, path: &str) -> Result<String, Refusal> {
        let mut path = path.trim_end_matches('/').to_owned();
        'again: for _ in 0..40 {
            let ends = path.match_indices('/').skip(1).map(|(at, _)| at).chain([path.len()]).collect::<Vec<_>>();
            for end in ends {
                if let Some(Item::Link(target)) = self.items.get(&path[..end]) {
                    let parent = path[..end].rsplit_once('/').map_or("", |(parent, _)| parent);
                    let base = if target.starts_with('/') { target.clone() } else { format!("{parent}/{target}") };
                    path = plain(&base) + &path[end..];
                    continue 'again;
                }
            }
            return Ok(path);
        }
        Err(Refusal::new(RefusalKind::WrongKind, format!("{path}: too many levels of symbolic links")))
    }

    fn children(&self, path: &str) -> Option<Vec<Entry>> {
        let below = format!("{path}/");
        let mut names = BTreeMap::new();
        for (own, item) in self.items.range(below.clone()..).take_while(|(own, _)| own.starts_with(&below)) {
            let rest = &own[below.len()..];
            let (name, kind) = match rest.split_once('/') {
                Some((name, _)) => (name, FileKind::Directory),
                None => (rest, kind(item)),
            };
            names.entry(name.to_owned()).or_insert(kind);
        }
        let known = !names.is_empty() || matches!(self.items.get(path), Some(Item::Folder));
        known.then(|| names.into_iter().map(|(name, kind)| Entry { name, kind }).collect())
    }

    fn stat(&self, path: &str) -> Option<Stat> {
        let (kind, mode, size) = match self.items.get(path) {
            Some(Item::File { text, mode }) => (FileKind::File, *mode, text.len() as u64),
            Some(Item::Socket) => (FileKind::Socket, 0o660, 0),
            Some(Item::Link(_)) => return None,
            Some(Item::Folder) => (FileKind::Directory, folder_mode(path), 4096),
            None => {
                self.children(path)?;
                (FileKind::Directory, folder_mode(path), 4096)
            }
        };
        let ino = 2 + self.items.keys().position(|own| own == path).unwrap_or(0) as u64;
        Some(Stat { kind, mode, uid: 0, gid: 0, size, mtime: 1_767_139_200, ino, dev: 1 })
    }

    fn bytes(&self, path: &str) -> Option<Result<&[u8], Refusal>> {
        Some(match self.items.get(path)? {
            Item::File { text, .. } => Ok(text.as_bytes()),
            _ => Err(Refusal::new(RefusalKind::WrongKind, format!("{path}: is no regular file"))),
        })
    }
}

/// The path without `..`, which in a tree of ours never crosses a link.
fn plain(path: &str) -> String {
    let mut names = Vec::new();
    for name in path.split('/').filter(|name| !name.is_empty()) {
        if name == ".." {
            names.pop();
        } else {
            names.push(name);
        }
    }
    format!("/{}", names.join("/"))
}

fn kind(item: &Item) -> FileKind {
    match item {
        Item::File { .. } => FileKind::File,
        Item::Folder => FileKind::Directory,
        Item::Link(_) => FileKind::Link,
        Item::Socket => FileKind::Socket,
    }
}

fn folder_mode(path: &str) -> u32 {
    if path.ends_with("/etcd") { 0o700 } else { 0o755 }
}

fn absent(path: &str) -> Refusal {
    Refusal::new(RefusalKind::Absent, format!("{path}: no such file or directory"))
}

impl Host for Tree {
    fn ask(&self, query: &Query) -> Answer {
        if let Some(answer) = self.answers.get(query) {
            return answer.clone();
        }
        let path = match query {
            Query::Read { path } | Query::List { path } | Query::Stat { path } | Query::Credentials { path } => {
                self.resolve(path)?
            }
            Query::Link { path } => path.clone(),
            Query::Processes => return Ok(serde_json::to_value(&self.processes).unwrap().into()),
            Query::Layout => return Ok(serde_json::to_value(Layout::default()).unwrap().into()),
            Query::StatFs { .. } => return self.root_stat_fs.clone(),
            Query::Run { program } => return Err(absent(program.argv()[0])),
            Query::Get { url } => return Err(Refusal::new(RefusalKind::Absent, format!("{url}: connection refused"))),
            Query::Cri { socket, .. } => return Err(absent(socket)),
            Query::Lookup { name } => return Err(Refusal::new(RefusalKind::Absent, format!("{name}: no such host"))),
            other => return self.machine.ask(other),
        };
        let own = match query {
            Query::Read { .. } => {
                self.bytes(&path).map(|bytes| bytes.map(|b| Reply::Bytes { bytes: b.to_vec(), truncated: false }))
            }
            Query::Credentials { .. } => {
                self.bytes(&path).map(|bytes| bytes.map(|b| serde_json::to_value(credentials(b)).unwrap().into()))
            }
            Query::List { .. } if path == "/proc" => Some(Ok(Reply::Entries(self.proc()))),
            Query::List { .. } => self.children(&path).map(|entries| Ok(Reply::Entries(entries))),
            Query::Stat { .. } => self.stat(&path).map(|stat| Ok(Reply::Stat(stat))),
            _ => match self.items.get(&path) {
                Some(Item::Link(target)) => Some(Ok(Reply::Text(target.clone()))),
                Some(_) => Some(Err(Refusal::new(RefusalKind::WrongKind, format!("{path}: is no symbolic link")))),
                None => None,
            },
        };
        own.unwrap_or_else(|| {
            // What the reference node was never asked is not there either.
            if MACHINE.iter().any(|prefix| path.starts_with(prefix)) {
                match self.machine.ask(query) {
                    Err(refusal) if refusal.kind == RefusalKind::NotAsked => Err(absent(&path)),
                    answer => answer,
                }
            } else {
                Err(absent(&path))
            }
        })
    }
}

impl Tree {
    fn proc(&self) -> Vec<Entry> {
        let own = self.processes.iter().map(|process| process.pid.to_string()).chain(["sys".to_owned()]);
        let names: BTreeSet<_> = own.collect();
        names.into_iter().map(|name| Entry { name, kind: FileKind::Directory }).collect()
    }
}

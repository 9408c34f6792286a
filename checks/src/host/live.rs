//! A live host: this machine, or a node whose root is mounted at a path such as /rootfs.
//!
//! Every path is resolved inside the root with openat2(2) and `RESOLVE_IN_ROOT`: an absolute symbolic link in the
//! node's tree leads to a file of the node, never to one of ours. Reads are bounded, never block on a FIFO, and never
//! write.

use std::fs::File;
use std::io::Read as _;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2, readlinkat};
use nix::sys::stat::Mode;

use super::liveness;
use super::{
    Answer, Cluster, Entry, FileKind, FileSystem, Host, Layout, Query, Refusal, RefusalKind, Reply, Stat, System,
};

/// The most bytes that are read of one file: 1 MiB.
pub(super) const READ_LIMIT: u64 = 1 << 20;

/// The most names that are read of one directory.
const LIST_LIMIT: usize = 50_000;

/// A live node.
pub struct LiveHost {
    root: OwnedFd,
    root_path: PathBuf,
    probes: Option<PathBuf>,
    layout: Layout,
    cluster: Option<Cluster>,
    /// Why this is no running node, if it is none.
    offline: Option<String>,
}

impl LiveHost {
    /// Opens the node whose root file system is at `root`; `/` is this machine.
    ///
    /// # Errors
    /// If `root` cannot be opened as a directory, or holds nothing that a Linux root holds.
    pub fn open(root: &Path) -> Result<Self, Refusal> {
        let fail = |kind, why: String| Refusal::new(kind, format!("{}: {why}", root.display()));
        let fd = open(root, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty()).map_err(|errno| {
            fail(kind(errno), format!("cannot be opened as the node's root directory: {}", errno.desc()))
        })?;
        let mut host = Self {
            root: fd,
            root_path: root.to_owned(),
            probes: None,
            layout: Layout::default(),
            cluster: None,
            offline: None,
        };
        host.offline = liveness::why_not(root, host.open_path("/proc").ok().as_ref());
        let proc_is_there = host.stat("/proc/version").is_ok();
        if !proc_is_there && host.stat("/etc").is_err() {
            return Err(fail(
                RefusalKind::WrongKind,
                "is no Linux root: it has neither /etc nor /proc/version; mount the node's / there".to_owned(),
            ));
        }
        Ok(host)
    }

    /// Opens a folder that holds a PKI and is no node's root: nothing but the PKI is asked about.
    ///
    /// # Errors
    /// If `folder` cannot be opened as a directory.
    pub fn open_pki(folder: &Path) -> Result<Self, Refusal> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let fd = open(folder, flags, Mode::empty()).map_err(|errno| {
            Refusal::new(kind(errno), format!("{}: cannot be opened as a folder: {}", folder.display(), errno.desc()))
        })?;
        let layout = Layout { pki: Some("/".to_owned()), bare: true, ..Layout::default() };
        let offline = Some(format!("{} is not a running node", folder.display()));
        Ok(Self { root: fd, root_path: folder.to_owned(), probes: None, layout, cluster: None, offline })
    }

    /// Lets probes be asked: `program` must call [`probe_main`](super::probe_main) first of all. Without it they are
    /// not tried.
    #[must_use]
    pub fn with_probes(mut self, program: impl Into<PathBuf>) -> Self {
        self.probes = Some(program.into());
        self
    }

    /// Says where things are that do not lie where kubeadm puts them.
    #[must_use]
    pub fn with_layout(mut self, layout: Layout) -> Self {
        if let (true, Some(place)) = (layout.bare, &layout.pki) {
            self.offline = Some(format!("{place} is not a running node"));
        }
        self.layout = layout;
        self
    }

    /// Lets a cluster's API be asked.
    #[must_use]
    pub fn with_cluster(mut self, cluster: Cluster) -> Self {
        self.cluster = Some(cluster);
        self
    }

    /// The root that paths are resolved in.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root_path
    }

    /// The node's name: of a tree, and of a node whose root is mounted somewhere, what its own /etc/hostname says,
    /// since uname(2) would name this machine or this container. `None` if it is not told.
    #[must_use]
    pub fn nodename(&self) -> Option<String> {
        if !self.is_own_root() {
            let name = (self as &dyn Host).text("/etc/hostname").known().map(|text| text.trim().to_owned());
            let name = name.filter(|name| !name.is_empty() && !name.contains(char::is_whitespace));
            if name.is_some() || self.offline.is_some() {
                return name;
            }
        }
        Some(nix::sys::utsname::uname().ok()?.nodename().to_string_lossy().into_owned())
    }

    /// Why this is no node that runs, if it is none.
    #[must_use]
    pub fn offline(&self) -> Option<&str> {
        self.offline.as_deref()
    }

    /// Is this the machine that we run on, rather than a tree mounted somewhere?
    #[must_use]
    pub fn is_own_root(&self) -> bool {
        self.root_path == Path::new("/")
    }

    fn resolve(&self, path: &str, flags: OFlag) -> Result<OwnedFd, Refusal> {
        let relative = path.trim_start_matches('/');
        let relative = if relative.is_empty() { "." } else { relative };
        let how = OpenHow::new()
            .flags(flags | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        // EAGAIN: a rename raced with the resolution of `..`; the kernel asks to try again (openat2(2)).
        for _ in 0..16 {
            match openat2(self.root.as_fd(), relative, how) {
                Err(Errno::EAGAIN) => {}
                Err(errno) => return Err(refusal(path, errno)),
                Ok(fd) => return Ok(fd),
            }
        }
        Err(refusal(path, Errno::EAGAIN))
    }

    /// What a tree answers: what lies in it, and nothing of this machine.
    fn of_tree(&self, query: &Query, why: &str) -> Option<Refusal> {
        let unknown = || Some(Refusal::new(RefusalKind::NotAsked, why));
        match query {
            // A copy may hold a /proc of plain files; an image has an empty folder for what is mounted there as a node
            // runs.
            Query::Processes => self.of_tree(&Query::List { path: "/proc".to_owned() }, why),
            Query::System | Query::Cri { .. } | Query::Get { .. } | Query::Probe { .. } => unknown(),
            Query::Read { path } | Query::List { path } | Query::Stat { path } | Query::Link { path }
                if liveness::is_runtime(path) =>
            {
                // A copy may hold some of it, as plain files.
                let empty = matches!(query, Query::List { .. })
                    && matches!(self.list(path), Ok(Reply::Entries(entries)) if entries.is_empty());
                match self.resolve(path, OFlag::O_PATH | OFlag::O_NOFOLLOW) {
                    Ok(file) if !liveness::is_ours(&file) && !empty => None,
                    _ => unknown(),
                }
            }
            Query::StatFs { .. } if !liveness::is_mounted(&self.root_path) => unknown(),
            // What listens on this machine is not the node's; what the user names is whatever the user says that it is.
            Query::Tls { address, .. } => match address.parse::<SocketAddr>() {
                Ok(address) if address.ip().is_loopback() && !self.is_named(address) => unknown(),
                _ => None,
            },
            _ => None,
        }
    }

    /// Did the user name the server at this address, as an endpoint or in the kubeconfig?
    fn is_named(&self, address: SocketAddr) -> bool {
        let server = self.cluster.as_ref().and_then(Cluster::server);
        self.layout.endpoints.iter().chain(server.as_ref()).any(|target| {
            target.port == address.port()
                && match target.host.parse::<IpAddr>() {
                    Ok(ip) => ip == address.ip(),
                    Err(_) => {
                        let query = Query::Lookup { name: target.host.clone() };
                        let found = (self as &dyn Host).parsed::<Vec<IpAddr>>(&query);
                        found.known().is_some_and(|all| all.contains(&address.ip()))
                    }
                }
        })
    }

    /// Why names are not looked up in DNS: who asks for a tree stands elsewhere than its node.
    pub(super) fn no_dns(&self) -> Option<&str> {
        self.offline.as_deref().filter(|_| !self.layout.bare)
    }

    /// Opens a path inside the root, for the parts of the host that need a descriptor (sockets, programs).
    pub(super) fn open_path(&self, path: &str) -> Result<OwnedFd, Refusal> {
        self.resolve(path, OFlag::O_PATH)
    }

    /// Opens a regular file inside the root, for reading.
    pub(super) fn open_file(&self, path: &str) -> Result<File, Refusal> {
        // O_NONBLOCK: opening a FIFO that nobody writes to must not hang.
        let file = File::from(self.resolve(path, OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY)?);
        let metadata = file.metadata().map_err(|error| io_refusal(path, &error))?;
        if !metadata.is_file() {
            let what = if metadata.is_dir() { "a directory" } else { "no regular file" };
            return Err(Refusal::new(RefusalKind::WrongKind, format!("{path} is {what}")));
        }
        Ok(file)
    }

    fn read(&self, path: &str) -> Answer {
        let file = self.open_file(path)?;
        let failed = |error: std::io::Error| io_refusal(path, &error);
        // All at once; what has no size, as in /proc, is mostly shorter than this.
        let size = file.metadata().map_err(failed)?.len();
        let mut bytes = Vec::with_capacity(size.clamp(1 << 10, READ_LIMIT) as usize + 1);
        file.take(READ_LIMIT + 1).read_to_end(&mut bytes).map_err(failed)?;
        let truncated = bytes.len() as u64 > READ_LIMIT;
        bytes.truncate(READ_LIMIT as usize);
        Ok(Reply::Bytes { bytes, truncated })
    }

    fn list(&self, path: &str) -> Answer {
        let fd = self.resolve(path, OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NONBLOCK)?;
        let mut dir = Dir::from_fd(fd).map_err(|errno| refusal(path, errno))?;
        let mut entries = Vec::new();
        for entry in dir.iter() {
            let entry = entry.map_err(|errno| refusal(path, errno))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name == "." || name == ".." {
                continue;
            }
            if entries.len() == LIST_LIMIT {
                return Err(Refusal::new(RefusalKind::Failed, format!("{path} holds more than {LIST_LIMIT} entries")));
            }
            let kind = match entry.file_type() {
                Some(Type::File) => FileKind::File,
                Some(Type::Directory) => FileKind::Directory,
                Some(Type::Symlink) => FileKind::Link,
                Some(Type::Socket) => FileKind::Socket,
                Some(Type::Fifo) => FileKind::Fifo,
                Some(Type::BlockDevice | Type::CharacterDevice) => FileKind::Device,
                None => FileKind::Other,
            };
            entries.push(Entry { name, kind });
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Reply::Entries(entries))
    }

    fn stat(&self, path: &str) -> Answer {
        use std::os::unix::fs::MetadataExt as _;
        let file = File::from(self.resolve(path, OFlag::O_PATH)?);
        let metadata =
            file.metadata().map_err(|error| refusal(path, Errno::from_raw(error.raw_os_error().unwrap_or(0))))?;
        let file_type = metadata.file_type();
        let kind = match () {
            () if file_type.is_file() => FileKind::File,
            () if file_type.is_dir() => FileKind::Directory,
            () if file_type.is_symlink() => FileKind::Link,
            () if file_type.is_socket() => FileKind::Socket,
            () if file_type.is_fifo() => FileKind::Fifo,
            () if file_type.is_block_device() || file_type.is_char_device() => FileKind::Device,
            () => FileKind::Other,
        };
        Ok(Reply::Stat(Stat {
            kind,
            mode: metadata.mode() & 0o7777,
            uid: metadata.uid(),
            gid: metadata.gid(),
            size: metadata.size(),
            mtime: metadata.mtime(),
            ino: metadata.ino(),
            dev: metadata.dev(),
        }))
    }

    fn link(&self, path: &str) -> Answer {
        let fd = self.resolve(path, OFlag::O_PATH | OFlag::O_NOFOLLOW)?;
        match readlinkat(fd.as_fd(), "") {
            Ok(target) => Ok(Reply::Text(target.to_string_lossy().into_owned())),
            // readlinkat with an empty path fails with ENOENT on what is no symbolic link (readlink(2)).
            Err(Errno::EINVAL | Errno::ENOENT) => {
                Err(Refusal::new(RefusalKind::WrongKind, format!("{path} is no symbolic link")))
            }
            Err(errno) => Err(refusal(path, errno)),
        }
    }

    fn file_system(&self, path: &str) -> Answer {
        let fd = self.resolve(path, OFlag::O_PATH)?;
        let fs = nix::sys::statfs::fstatfs(fd.as_fd()).map_err(|errno| refusal(path, errno))?;
        let block = u64::try_from(fs.block_size()).unwrap_or(0);
        Ok(Reply::FileSystem(FileSystem {
            magic: fs.filesystem_type().0.cast_unsigned(),
            size: fs.blocks().saturating_mul(block),
            available: fs.blocks_available().saturating_mul(block),
            inodes: fs.files(),
            inodes_free: fs.files_free(),
            read_only: fs.flags().contains(nix::sys::statvfs::FsFlags::ST_RDONLY),
        }))
    }

    fn system(&self) -> Answer {
        let failed = |what: &str, errno: Errno| Refusal::new(RefusalKind::Failed, format!("{what}: {}", errno.desc()));
        let uname = nix::sys::utsname::uname().map_err(|errno| failed("uname", errno))?;
        let info = nix::sys::sysinfo::sysinfo().map_err(|errno| failed("sysinfo", errno))?;
        let text = |field: &std::ffi::OsStr| field.to_string_lossy().into_owned();
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Reply::System(System {
            sysname: text(uname.sysname()),
            release: text(uname.release()),
            machine: text(uname.machine()),
            nodename: text(uname.nodename()),
            cpus: u32::try_from(cpus).unwrap_or(u32::MAX),
            memory: info.ram_total(),
            euid: nix::unistd::geteuid().as_raw(),
            capabilities: own_capabilities(),
            time: jiff::Timestamp::now().as_second(),
            uptime: info.uptime().as_secs(),
            root: self.root_path.display().to_string(),
        }))
    }
}

/// Our effective capabilities; none if /proc does not say.
fn own_capabilities() -> u64 {
    std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
            u64::from_str_radix(line.trim(), 16).ok()
        })
        .unwrap_or(0)
}

fn kind(errno: Errno) -> RefusalKind {
    match errno {
        Errno::ENOENT | Errno::ENOTDIR | Errno::ENXIO | Errno::ENODEV => RefusalKind::Absent,
        Errno::EACCES | Errno::EPERM => RefusalKind::Denied,
        Errno::ELOOP | Errno::EISDIR => RefusalKind::WrongKind,
        Errno::ENOSYS | Errno::EOPNOTSUPP => RefusalKind::Unsupported,
        Errno::ETIMEDOUT => RefusalKind::TimedOut,
        _ => RefusalKind::Failed,
    }
}

fn io_refusal(path: &str, error: &std::io::Error) -> Refusal {
    match error.raw_os_error() {
        Some(code) => refusal(path, Errno::from_raw(code)),
        None => Refusal::new(RefusalKind::Failed, format!("{path}: {error}")),
    }
}

fn refusal(path: &str, errno: Errno) -> Refusal {
    let message = match errno {
        Errno::ENOENT | Errno::ENOTDIR => format!("{path}: no such file or directory"),
        Errno::ELOOP => format!("{path}: too many levels of symbolic links"),
        Errno::EACCES | Errno::EPERM => format!("{path}: permission denied; run as root"),
        errno => format!("{path}: {}", errno.desc()),
    };
    Refusal::new(kind(errno), message)
}

impl Host for LiveHost {
    fn ask(&self, query: &Query) -> Answer {
        if let Some(refusal) = self.offline.as_deref().and_then(|why| self.of_tree(query, why)) {
            return Err(refusal);
        }
        match query {
            Query::Read { path } => self.read(path),
            Query::List { path } => self.list(path),
            Query::Stat { path } => self.stat(path),
            Query::Link { path } => self.link(path),
            Query::StatFs { path } => self.file_system(path),
            Query::System => self.system(),
            Query::Layout => serde_json::to_value(&self.layout)
                .map(Reply::from)
                .map_err(|error| Refusal::new(RefusalKind::Failed, error.to_string())),
            Query::Credentials { path } => super::credentials::read(self, path),
            Query::PrivateKeys { path, among } => super::private_keys::find(self, path, *among),
            Query::Processes => super::process::processes(self),
            Query::Run { program } => super::program::run(self, *program),
            Query::Cri { socket, call } => super::cri::call(self, socket, *call),
            Query::Get { url } => super::http::get(url),
            Query::Lookup { name } => super::lookup::lookup(self, name),
            Query::Kubeconfig | Query::Api { .. } | Query::Configz { .. } => match &self.cluster {
                Some(cluster) => cluster.ask(query),
                None => Err(Refusal::new(RefusalKind::NotAsked, format!("{query}: no kubeconfig was named"))),
            },
            Query::Tls { address, call } => super::tls::call(self, address, call),
            Query::Probe { probe } => match &self.probes {
                Some(program) => super::probe::ask(program, &self.root_path, *probe),
                None => Err(Refusal::new(RefusalKind::NotAsked, format!("{query}: this program does not probe"))),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("etc/sub")).unwrap();
        std::fs::write(dir.path().join("etc/hostname"), "inside\n").unwrap();
        dir
    }

    fn text(host: &LiveHost, path: &str) -> crate::Fact<String> {
        (host as &dyn Host).text(path)
    }

    #[test]
    fn an_absolute_link_stays_inside_the_root() {
        let dir = tree();
        std::os::unix::fs::symlink("/etc/hostname", dir.path().join("etc/absolute")).unwrap();
        std::os::unix::fs::symlink("../../../../../etc/passwd", dir.path().join("etc/climbing")).unwrap();
        let host = LiveHost::open(dir.path()).unwrap();
        assert_eq!(text(&host, "/etc/absolute").known().unwrap(), "inside\n");
        assert!(text(&host, "/etc/climbing").is_absent(), "the link must not reach our own /etc/passwd");
        assert_eq!((&host as &dyn Host).link("/etc/absolute").known().unwrap(), "/etc/hostname");
    }

    #[test]
    fn a_loop_a_fifo_and_a_directory_are_not_read() {
        let dir = tree();
        std::os::unix::fs::symlink("loop", dir.path().join("etc/loop")).unwrap();
        nix::unistd::mkfifo(&dir.path().join("etc/fifo"), Mode::S_IRUSR).unwrap();
        let host = LiveHost::open(dir.path()).unwrap();
        for path in ["/etc/loop", "/etc/fifo", "/etc/sub"] {
            assert!(matches!(text(&host, path), crate::Fact::Unreadable(_)), "{path}: {:?}", text(&host, path));
        }
    }

    #[test]
    fn a_huge_file_is_read_to_the_limit_and_no_further() {
        let dir = tree();
        File::create(dir.path().join("etc/huge")).unwrap().set_len(1 << 30).unwrap();
        let host = LiveHost::open(dir.path()).unwrap();
        assert!(matches!(text(&host, "/etc/huge"), crate::Fact::Unreadable(why) if why.contains("too large")));
    }

    #[test]
    fn a_tree_shows_nothing_of_this_machine() {
        use crate::host::{CriCall, Probe};
        let dir = tree();
        let host = LiveHost::open(dir.path()).unwrap().with_probes("/proc/self/exe");
        let why = format!("{} is not a running node", dir.path().display());
        let read = |path: &str| Query::Read { path: path.into() };
        for query in [
            Query::System,
            Query::Processes,
            Query::Probe { probe: Probe::Veth },
            Query::Get { url: "http://127.0.0.1:10248/healthz".into() },
            Query::Cri { socket: "/run/containerd/containerd.sock".into(), call: CriCall::Version },
            read("/proc/version"),
            read("/proc/sys/net/ipv4/ip_forward"),
            read("/proc/swaps"),
            Query::List { path: "/proc".into() },
            Query::Stat { path: "/run/systemd/system".into() },
            read("/sys/class/dmi/id/product_uuid"),
            Query::Lookup { name: "elsewhere.test".into() },
        ] {
            let refusal = host.ask(&query).unwrap_err();
            assert_eq!((refusal.kind, &refusal.message), (RefusalKind::NotAsked, &why), "{query}");
        }
        assert_eq!(host.nodename().as_deref(), Some("inside"));
        // The user may name what is reached by this machine's loopback address, a tunnel perhaps; what else is there is
        // this machine's.
        std::fs::write(dir.path().join("etc/hosts"), "127.0.0.1 localhost\n").unwrap();
        let kind = |host: &LiveHost, address: &str| {
            let call = crate::host::TlsCall::Served { name: None };
            host.ask(&Query::Tls { address: address.to_owned(), call }).unwrap_err().kind
        };
        for named in ["127.0.0.1:1=etcd", "localhost:1=etcd"] {
            let layout = Layout { endpoints: vec![named.parse().unwrap()], ..Layout::default() };
            let host = LiveHost::open(dir.path()).unwrap().with_layout(layout);
            let kinds = ["127.0.0.1:1", "127.0.0.1:2", "[::1]:1"].map(|address| kind(&host, address));
            assert_eq!(kinds, [RefusalKind::Absent, RefusalKind::NotAsked, RefusalKind::NotAsked], "{named}");
        }
        // An empty folder says nothing of processes.
        std::fs::create_dir_all(dir.path().join("proc")).unwrap();
        assert!(host.ask(&Query::Processes).is_err() && host.ask(&Query::List { path: "/proc".into() }).is_err());
        // A copy may hold what the kernel said to whoever made it.
        std::fs::write(dir.path().join("proc/swaps"), "Filename\n").unwrap();
        assert_eq!(text(&host, "/proc/swaps").known().unwrap(), "Filename\n");
        // And a link to our /proc is none of ours.
        std::fs::remove_dir_all(dir.path().join("proc")).unwrap();
        std::os::unix::fs::symlink("/proc", dir.path().join("proc")).unwrap();
        let host = LiveHost::open(dir.path()).unwrap();
        assert!(host.ask(&read("/proc/version")).is_err() && host.ask(&Query::System).is_err());
    }

    #[test]
    fn this_machine_is_live_by_whatever_path_its_root_is_named() {
        assert!(LiveHost::open(Path::new("/")).unwrap().offline().is_none());
        let mounted = LiveHost::open(Path::new("/proc/self/root")).unwrap();
        assert_eq!(mounted.offline(), None);
        assert!(mounted.ask(&Query::System).is_ok());
    }

    #[test]
    fn what_is_no_linux_root_is_refused() {
        let empty = tempfile::tempdir().unwrap();
        let why = LiveHost::open(empty.path()).err().unwrap().to_string();
        assert!(why.contains("is no Linux root"), "{why}");
        assert!(LiveHost::open(Path::new("/nonexistent")).is_err());
    }
}

//! What may be asked of a host, and what it may answer. There is no query that writes.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::cluster::{ApiCall, SecretUses, TlsSecrets};
use super::private_keys::Among;
use crate::pki::live::Target;

/// One question to a host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub enum Query {
    /// The first bytes of a regular file.
    Read {
        /// Absolute path on the host.
        path: String,
    },
    /// The names in a directory, with their types.
    List {
        /// Absolute path on the host.
        path: String,
    },
    /// Type, mode, owner, size, times; symbolic links followed inside the root.
    Stat {
        /// Absolute path on the host.
        path: String,
    },
    /// The target of a symbolic link.
    Link {
        /// Absolute path on the host.
        path: String,
    },
    /// The file system that holds a path.
    StatFs {
        /// Absolute path on the host.
        path: String,
    },
    /// The certificates, keys and kubeconfig in a file, without anything secret: of a private key its public half. The
    /// reply is a [`Credentials`](super::Credentials) as a value.
    Credentials {
        /// Absolute path on the host.
        path: String,
    },
    /// The private keys in a file that should hold none, or in those below a folder, without their private halves. The
    /// reply is [`PrivateKeys`](super::PrivateKeys) as a value.
    PrivateKeys {
        /// Absolute path on the host.
        path: String,
        /// What kind of files these are.
        among: Among,
    },
    /// The components of Kubernetes that run; the reply is a list of [`Process`](super::Process) as a value.
    Processes,
    /// Where the user says that things are which may lie elsewhere; the reply is a [`Layout`] as a value.
    Layout,
    /// What the kernel says of the machine and of us: uname, sysinfo, CPUs, our capabilities.
    System,
    /// The output of an allow-listed program.
    Run {
        /// Which one.
        program: Program,
    },
    /// A call of the Container Runtime Interface; the reply is JSON.
    Cri {
        /// Path of the Unix socket on the host.
        socket: String,
        /// Which call.
        call: CriCall,
    },
    /// An HTTP GET to a loopback address of the host; the reply is `{"status": 200, "body": "…"}`.
    Get {
        /// `http` or `https`, host 127.0.0.1 or ::1.
        url: String,
    },
    /// The addresses that a name has by the host's own resolver configuration; the reply is a list of texts.
    Lookup {
        /// The name.
        name: String,
    },
    /// The kernel's truth by use, in namespaces of our own that are gone afterwards.
    Probe {
        /// Which one.
        probe: Probe,
    },
    /// What the kubeconfig says that the user named; the reply is a [`kubeconfig::Facts`](super::kubeconfig::Facts) as
    /// a value.
    Kubeconfig,
    /// A read of the API of that kubeconfig's cluster; the reply is what [`ApiCall`] says, as a value.
    Api {
        /// What is read.
        call: ApiCall,
    },
    /// What the API server's proxy hands out as the configuration that a node's kubelet runs with: the members of
    /// KubeletConfiguration as a value, headers of `staticPodURL` taken out.
    Configz {
        /// The node's name in the cluster.
        node: String,
    },
    /// What a TLS server says to someone without a key; the reply is what [`TlsCall`] says, as a value.
    Tls {
        /// Address and port, as in `192.0.2.7:6443` or `[2001:db8::7]:6443`.
        address: String,
        /// What is asked.
        call: TlsCall,
    },
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path }
            | Self::List { path }
            | Self::Stat { path }
            | Self::Link { path }
            | Self::Credentials { path } => f.write_str(path),
            Self::PrivateKeys { path, .. } => write!(f, "private keys in {path}"),
            Self::Processes => f.write_str("processes"),
            Self::StatFs { path } => write!(f, "file system of {path}"),
            Self::Layout => f.write_str("layout"),
            Self::System => f.write_str("system"),
            Self::Run { program } => write!(f, "{program}"),
            Self::Cri { socket, call } => write!(f, "CRI {call:?} at {socket}"),
            Self::Get { url } => write!(f, "GET {url}"),
            Self::Lookup { name } => write!(f, "look-up of {name}"),
            Self::Probe { probe } => write!(f, "probe {probe:?}"),
            Self::Kubeconfig => f.write_str("kubeconfig"),
            Self::Api { call } => write!(f, "GET {call}"),
            Self::Configz { node } => write!(f, "/configz of node {node}"),
            Self::Tls { address, call } => write!(f, "{call} at {address}"),
        }
    }
}

/// A program that may be run on the host: only ones that print and change nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Program {
    /// `kubelet --version`
    KubeletVersion,
    /// `kubeadm version -o short`
    KubeadmVersion,
    /// `docker --version`
    DockerVersion,
    /// `containerd --version`
    ContainerdVersion,
    /// `crio --version`
    CrioVersion,
    /// `k3s --version`
    K3sVersion,
    /// `rke2 --version`
    Rke2Version,
    /// `k0s version`
    K0sVersion,
}

impl Program {
    /// The name looked for in the host's PATH, and the arguments.
    #[must_use]
    pub fn argv(self) -> &'static [&'static str] {
        match self {
            Self::KubeletVersion => &["kubelet", "--version"],
            Self::KubeadmVersion => &["kubeadm", "version", "-o", "short"],
            Self::DockerVersion => &["docker", "--version"],
            Self::ContainerdVersion => &["containerd", "--version"],
            Self::CrioVersion => &["crio", "--version"],
            Self::K3sVersion => &["k3s", "--version"],
            Self::Rke2Version => &["rke2", "--version"],
            Self::K0sVersion => &["k0s", "version"],
        }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.argv().join(" "))
    }
}

/// A read-only call of the Container Runtime Interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CriCall {
    /// `runtime.v1.RuntimeService/Version`
    Version,
    /// `runtime.v1alpha2.RuntimeService/Version`
    VersionV1alpha2,
    /// `runtime.v1.RuntimeService/Status`, verbose
    Status,
    /// `runtime.v1.RuntimeService/RuntimeConfig`
    RuntimeConfig,
    /// `runtime.v1.ImageService/ListImages`: the names of Kubernetes' own images, and of no others
    Images,
}

/// What is asked of a TLS server.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TlsCall {
    /// A handshake: the certificates that it presents and how it asks for the client's, as [`Served`](super::Served).
    Served {
        /// The server name to indicate, if any.
        name: Option<String>,
    },
    /// A GET without a certificate and a token, as [`Welcome`](super::Welcome).
    Welcome {
        /// The path.
        path: String,
    },
    /// The time, asked for without a certificate and a token, as [`Clock`](super::Clock).
    Clock,
    /// Every version, cipher suite and group that it accepts, as [`Survey`](super::Survey).
    Survey,
    /// How it receives who shows a certificate of the node, as [`Reception`](super::Reception).
    LogIn {
        /// The file of the certificate: PEM, or a kubeconfig that embeds it.
        certificate: String,
        /// The file of its key.
        key: String,
        /// What is asked to see who may.
        question: Question,
    },
}

/// What is asked of a server by who shows a certificate. No answer's content is kept.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Question {
    /// A GET.
    Get {
        /// The path.
        path: String,
    },
    /// Whether etcd has a key below `/registry/`.
    EtcdKeys,
}

impl fmt::Display for TlsCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Served { name: None } => f.write_str("certificates presented"),
            Self::Served { name: Some(name) } => write!(f, "certificates presented for {name}"),
            Self::Welcome { path } => write!(f, "anonymous GET {path}"),
            Self::Clock => f.write_str("time"),
            Self::Survey => f.write_str("what is accepted"),
            Self::LogIn { certificate, .. } => write!(f, "reception of {certificate}"),
        }
    }
}

/// A kernel feature tried by use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Probe {
    /// Unshare a mount namespace.
    MountNamespace,
    /// Unshare a PID namespace and fork into it.
    PidNamespace,
    /// Unshare a network namespace.
    NetNamespace,
    /// Unshare an IPC namespace.
    IpcNamespace,
    /// Unshare a UTS namespace.
    UtsNamespace,
    /// Unshare a user namespace.
    UserNamespace,
    /// Unshare a cgroup namespace.
    CgroupNamespace,
    /// Unshare a time namespace.
    TimeNamespace,
    /// Mount an overlay of two tmpfs directories and write through it.
    Overlay,
    /// An overlay whose layers are on a file system that is mounted noexec, nosuid and nodev: do programs run there, do
    /// set-user-ID bits count, do device files work?
    OverlayOptions,
    /// Create a veth pair.
    Veth,
    /// Create a bridge and enslave a link to it.
    Bridge,
    /// Create a VXLAN link.
    Vxlan,
    /// Create a dummy link.
    Dummy,
    /// Commit an nftables table, chain and rule.
    Nftables,
    /// Have an iptables filter table: legacy sockopt or nft compat.
    Iptables,
    /// The same for IPv6.
    Ip6tables,
    /// Have an IPVS service table.
    Ipvs,
    /// Load and attach a cgroup device program.
    CgroupDevice,
    /// Freeze and thaw a cgroup of our own.
    CgroupFreezer,
    /// Install a seccomp filter in a child.
    Seccomp,
    /// fsync latency where etcd's data goes: writes and syncs a small file of our own in the data directory's file
    /// system.
    Fsync,
}

/// Where the user says that things are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Layout {
    /// The kubelet's configuration file.
    pub kubelet_config: Option<String>,
    /// The folder of static pods.
    pub manifests: Option<String>,
    /// The folder of the PKI, kubeadm's `certificatesDir`; or one file of it.
    pub pki: Option<String>,
    /// Is that all there is, rather than a part of a node?
    pub bare: bool,
    /// Is there no node at all, but servers and an API?
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub remote: bool,
    /// TLS servers to ask beside those that listen on this node.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub endpoints: Vec<Target>,
    /// The kubeadm configuration that is to be compared with the node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubeadm_config: Option<crate::node::kubeadm_config::KubeadmConfig>,
    /// May the registry of that configuration be asked?
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub ask_registry: bool,
    /// Names of other nodes, which are to resolve here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<String>,
    /// Are the node's own client certificates to be shown to the servers that they are for?
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub log_in: bool,
}

/// The type of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A Unix socket.
    Socket,
    /// A FIFO.
    Fifo,
    /// A block or character device.
    Device,
    /// Anything else.
    Other,
}

/// A name in a directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The name, without the directory.
    pub name: String,
    /// Its own type, symbolic links not followed.
    pub kind: FileKind,
}

/// Type, mode and owner of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stat {
    /// Type.
    pub kind: FileKind,
    /// Permission bits, with set-user-ID, set-group-ID and sticky: 0o7777 at most.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Size in bytes.
    pub size: u64,
    /// Last modification, seconds since the epoch.
    pub mtime: i64,
    /// Inode number.
    pub ino: u64,
    /// Device number of the file system.
    pub dev: u64,
}

/// What a file system says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSystem {
    /// Magic number of its type, as statfs(2) has it.
    pub magic: u64,
    /// Size in bytes.
    pub size: u64,
    /// Bytes free for an unprivileged user.
    pub available: u64,
    /// Inodes in all; 0 where the file system has no fixed number.
    pub inodes: u64,
    /// Inodes free.
    pub inodes_free: u64,
    /// Mounted read-only?
    pub read_only: bool,
}

/// What the kernel says of the machine and of us.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct System {
    /// `uname -s`
    pub sysname: String,
    /// `uname -r`
    pub release: String,
    /// `uname -m`
    pub machine: String,
    /// `uname -n`
    pub nodename: String,
    /// CPUs that we may use, as sched_getaffinity(2) has it.
    pub cpus: u32,
    /// Memory in bytes, as sysinfo(2) has it.
    pub memory: u64,
    /// Our effective user id.
    pub euid: u32,
    /// Our effective capabilities, as in /proc/self/status.
    pub capabilities: u64,
    /// Wall clock, seconds since the epoch.
    pub time: i64,
    /// Seconds since boot.
    pub uptime: u64,
    /// The root that paths were resolved in, as the user gave it.
    pub root: String,
}

/// What a host answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// Bytes of a file.
    Bytes {
        /// The bytes.
        #[serde(with = "super::recording::lossless")]
        bytes: Vec<u8>,
        /// Was there more than the limit?
        truncated: bool,
    },
    /// Names in a directory, sorted.
    Entries(Vec<Entry>),
    /// Type, mode and owner.
    Stat(Stat),
    /// A file system.
    FileSystem(FileSystem),
    /// The machine and us.
    System(System),
    /// A text: a link's target, a program's output.
    Text(String),
    /// Anything structured; shared, since it may be long and is kept where it is recorded.
    Value(Arc<serde_json::Value>),
    /// All TLS Secrets of a cluster, without what is secret of them.
    TlsSecrets(Arc<TlsSecrets>),
    /// Which Secrets of a cluster are named by what could serve by them.
    SecretUses(Arc<SecretUses>),
}

impl From<serde_json::Value> for Reply {
    fn from(value: serde_json::Value) -> Self {
        Self::Value(Arc::new(value))
    }
}

/// Why a host did not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalKind {
    /// It is not there.
    Absent,
    /// We may not look.
    Denied,
    /// It did not answer in time.
    TimedOut,
    /// Nobody looked.
    NotAsked,
    /// It is not what was asked for: a directory where a file was expected, a FIFO, a loop of links.
    WrongKind,
    /// The host does not have or support it: an unimplemented call, a feature that the kernel lacks.
    Unsupported,
    /// Anything else that went wrong.
    Failed,
}

/// Why a host did not answer, in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The kind.
    pub kind: RefusalKind,
    /// The reason; names the thing.
    pub message: String,
}

impl Refusal {
    /// A refusal with its reason.
    pub fn new(kind: RefusalKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

/// A reply, or why there is none.
pub type Answer = Result<Reply, Refusal>;

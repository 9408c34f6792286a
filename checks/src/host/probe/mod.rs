//! The kernel's truth by use: each feature is tried in a child process of ours, in namespaces that end with it.
//!
//! The child is this very program, started again with `ARGUMENT`: unshare(2) wants a process with one thread. It prints
//! one line of JSON and ends; what it made (links, mounts, rules) is in its namespaces and goes with them, and the
//! cgroups that it makes it removes. A probe that hangs is killed.

mod bpf;
mod cgroup;
mod disk;
mod filter;
mod link;
mod mount;
mod namespace;
mod netlink;

use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Answer, Probe, Refusal, RefusalKind};

/// The first argument that makes this program a probe.
const ARGUMENT: &str = "__probe";

const PATIENCE: Duration = Duration::from_secs(10);

/// What a probe saw.
#[derive(Debug, Serialize, Deserialize)]
struct Seen {
    works: bool,
    /// The step that did not work.
    stage: String,
    /// The error of that step.
    errno: String,
    /// What was measured or found on the way.
    #[serde(default)]
    detail: Value,
}

/// A step that did not work.
#[derive(Debug)]
struct Stuck {
    stage: &'static str,
    errno: Errno,
}

type Tried = Result<Value, Stuck>;

/// Names the step that an error is of.
trait At<T> {
    fn at(self, stage: &'static str) -> Result<T, Stuck>;
}

impl<T> At<T> for Result<T, Errno> {
    fn at(self, stage: &'static str) -> Result<T, Stuck> {
        self.map_err(|errno| Stuck { stage, errno })
    }
}

impl<T> At<T> for std::io::Result<T> {
    fn at(self, stage: &'static str) -> Result<T, Stuck> {
        self.map_err(|error| Stuck { stage, errno: Errno::from_raw(error.raw_os_error().unwrap_or(0)) })
    }
}

/// What a probe needs beyond an ordinary user's rights.
fn capability(probe: Probe) -> &'static str {
    match probe {
        Probe::Veth
        | Probe::Bridge
        | Probe::Vxlan
        | Probe::Dummy
        | Probe::Nftables
        | Probe::Iptables
        | Probe::Ip6tables
        | Probe::Ipvs => "CAP_SYS_ADMIN and CAP_NET_ADMIN",
        Probe::CgroupDevice => {
            "CAP_BPF and CAP_NET_ADMIN (or CAP_SYS_ADMIN), and a cgroup file system that may be written"
        }
        Probe::CgroupFreezer => "root, and a cgroup file system that may be written",
        Probe::Fsync => "root, and the node's root mounted for writing",
        _ => "CAP_SYS_ADMIN",
    }
}

/// Tries a feature by starting `program` as a probe.
pub(super) fn ask(program: &Path, root: &Path, probe: Probe) -> Answer {
    let fail = |kind, why: String| Refusal::new(kind, format!("probe {probe:?}: {why}"));
    let name = serde_json::to_value(probe).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default();
    let mut command = Command::new(program);
    command.args([ARGUMENT, &name]).arg(root).env_clear();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
    let mut child =
        command.spawn().map_err(|error| fail(RefusalKind::Failed, format!("cannot be started: {error}")))?;
    let begun = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(_)) => break,
            Ok(None) if begun.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(1)),
            _ => {
                let group = nix::unistd::Pid::from_raw(child.id().cast_signed());
                nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL).ok();
                child.wait().ok();
                return Err(fail(RefusalKind::TimedOut, format!("did not end within {PATIENCE:?} and was killed")));
            }
        }
    }
    let mut text = String::new();
    if let Some(out) = child.stdout.take() {
        out.take(16 << 10).read_to_string(&mut text).ok();
    }
    let seen: Seen = serde_json::from_str(&text).map_err(|_| {
        fail(RefusalKind::Failed, "ended without a word: it crashed, or its program is not seaworthy".to_owned())
    })?;
    if !seen.works && matches!(seen.errno.as_str(), "EPERM" | "EACCES" | "EROFS") {
        let why = format!("{} is not permitted ({}): it needs {}", seen.stage, seen.errno, capability(probe));
        return Err(fail(RefusalKind::Denied, why));
    }
    match serde_json::to_value(&seen) {
        Ok(value) => Ok(value.into()),
        Err(error) => Err(fail(RefusalKind::Failed, error.to_string())),
    }
}

/// Is this process a probe? Then does its work and gives the exit code; for the first lines of `main`.
pub fn probe_main(arguments: &[std::ffi::OsString]) -> Option<ExitCode> {
    if arguments.get(1)? != ARGUMENT {
        return None;
    }
    let name = arguments.get(2)?.to_str()?;
    let Ok(probe) = serde_json::from_value::<Probe>(Value::String(name.to_owned())) else {
        return Some(ExitCode::from(2));
    };
    let root = arguments.get(3).map_or(Path::new("/"), Path::new);
    let seen = match run(probe, root) {
        Ok(detail) => Seen { works: true, stage: String::new(), errno: String::new(), detail },
        Err(Stuck { stage, errno }) => {
            Seen { works: false, stage: stage.to_owned(), errno: format!("{errno:?}"), detail: Value::Null }
        }
    };
    let line = serde_json::to_string(&seen).unwrap_or_default();
    // The answer to the parent, which reads this and nothing else.
    std::io::Write::write_all(&mut std::io::stdout(), line.as_bytes()).ok();
    Some(ExitCode::SUCCESS)
}

fn run(probe: Probe, root: &Path) -> Tried {
    match probe {
        Probe::MountNamespace => namespace::enter(nix::libc::CLONE_NEWNS),
        Probe::PidNamespace => namespace::pid(),
        Probe::NetNamespace => namespace::enter(nix::libc::CLONE_NEWNET),
        Probe::IpcNamespace => namespace::enter(nix::libc::CLONE_NEWIPC),
        Probe::UtsNamespace => namespace::enter(nix::libc::CLONE_NEWUTS),
        Probe::UserNamespace => namespace::enter(nix::libc::CLONE_NEWUSER),
        Probe::CgroupNamespace => namespace::enter(nix::libc::CLONE_NEWCGROUP),
        Probe::TimeNamespace => namespace::enter(nix::libc::CLONE_NEWTIME),
        Probe::Overlay => mount::overlay(),
        Probe::OverlayOptions => mount::overlay_options(),
        Probe::Veth => link::veth(),
        Probe::Bridge => link::bridge(),
        Probe::Vxlan => link::vxlan(),
        Probe::Dummy => link::dummy(),
        Probe::Nftables => filter::nftables(),
        Probe::Iptables => filter::iptables(),
        Probe::Ip6tables => filter::ip6tables(),
        Probe::Ipvs => filter::ipvs(),
        Probe::CgroupDevice => cgroup::device(),
        Probe::CgroupFreezer => cgroup::freezer(),
        Probe::Seccomp => bpf::seccomp(),
        Probe::Fsync => disk::fsync(root),
    }
}

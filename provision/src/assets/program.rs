//! Programs, and how they are asked for their version.

use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::seen::Seen;
use super::{Found, Release, Source};

/// Who releases a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Project {
    /// k8s.io/kubernetes
    Kubernetes,
    /// go.etcd.io/etcd
    Etcd,
    /// github.com/coredns/coredns
    CoreDns,
    /// github.com/containerd/containerd; of PATH and a directory any version will do, the distribution's above all.
    Containerd,
    /// The distribution: runc, haproxy.
    System,
    /// The distribution: CNI plug-ins, which are in no PATH.
    Cni,
}

impl Project {
    /// The name as the cache has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kubernetes => "kubernetes",
            Self::Etcd => "etcd",
            Self::CoreDns => "coredns",
            Self::Containerd => "containerd",
            Self::System => "system",
            Self::Cni => "cni",
        }
    }
}

/// A program of a cluster.
#[derive(Debug, PartialEq, Eq)]
pub struct Program {
    /// Its file's name.
    pub name: &'static str,
    /// Who releases it.
    pub project: Project,
    /// The Go package that it is built from; for the system's, the package that has it.
    pub package: &'static str,
    /// The arguments that make it say its version; none for what has no way to say it.
    version: &'static [&'static str],
    /// Does a cluster do without it?
    pub optional: bool,
}

const fn program(
    name: &'static str,
    project: Project,
    package: &'static str,
    version: &'static [&'static str],
) -> Program {
    Program { name, project, package, version, optional: false }
}

/// All programs.
pub static PROGRAMS: [Program; 20] = [
    program("kube-apiserver", Project::Kubernetes, "k8s.io/kubernetes/cmd/kube-apiserver", &["--version"]),
    program(
        "kube-controller-manager",
        Project::Kubernetes,
        "k8s.io/kubernetes/cmd/kube-controller-manager",
        &["--version"],
    ),
    program("kube-scheduler", Project::Kubernetes, "k8s.io/kubernetes/cmd/kube-scheduler", &["--version"]),
    program("kubelet", Project::Kubernetes, "k8s.io/kubernetes/cmd/kubelet", &["--version"]),
    program("kube-proxy", Project::Kubernetes, "k8s.io/kubernetes/cmd/kube-proxy", &["--version"]),
    program("kubeadm", Project::Kubernetes, "k8s.io/kubernetes/cmd/kubeadm", &["version", "-o", "short"]),
    program("kubectl", Project::Kubernetes, "k8s.io/kubernetes/cmd/kubectl", &["version", "--client"]),
    program("etcd", Project::Etcd, "go.etcd.io/etcd/server/v3", &["--version"]),
    program("etcdctl", Project::Etcd, "go.etcd.io/etcd/etcdctl/v3", &["version"]),
    program("etcdutl", Project::Etcd, "go.etcd.io/etcd/etcdutl/v3", &["version"]),
    program("coredns", Project::CoreDns, "github.com/coredns/coredns", &["-version"]),
    program("containerd", Project::Containerd, "github.com/containerd/containerd/v2/cmd/containerd", &["--version"]),
    program(
        "containerd-shim-runc-v2",
        Project::Containerd,
        "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
        &["-v"],
    ),
    Program {
        optional: true,
        ..program("ctr", Project::Containerd, "github.com/containerd/containerd/v2/cmd/ctr", &["--version"])
    },
    program("runc", Project::System, "runc", &[]),
    program("bridge", Project::Cni, "containernetworking-plugins", &[]),
    program("host-local", Project::Cni, "containernetworking-plugins", &[]),
    program("loopback", Project::Cni, "containernetworking-plugins", &[]),
    program("portmap", Project::Cni, "containernetworking-plugins", &[]),
    Program { optional: true, ..program("haproxy", Project::System, "haproxy", &[]) },
];

impl Program {
    /// The program of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        PROGRAMS.iter().find(|program| program.name == name)
    }
}

/// Where distributions put CNI plug-ins. A `bridge` in PATH is iproute2's.
const CNI_FOLDERS: [&str; 3] = ["/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni"];
/// Where distributions put the system's programs, whether or not PATH says so.
const SYSTEM_FOLDERS: [&str; 2] = ["/usr/local/sbin", "/usr/sbin"];
const PATIENCE: Duration = Duration::from_secs(20);
const OUTPUT_LIMIT: u64 = 64 << 10;

pub(super) fn in_path(
    program: &'static Program,
    path: &[PathBuf],
    release: &Release,
    seen: Option<&Seen>,
) -> Result<Found, String> {
    let more = match program.project {
        Project::Cni => &CNI_FOLDERS[..],
        Project::System | Project::Containerd => &SYSTEM_FOLDERS[..],
        Project::Kubernetes | Project::Etcd | Project::CoreDns => &[],
    };
    let path = if program.project == Project::Cni { &[] } else { path };
    let mut why = format!("{} is in no directory of PATH", program.name);
    for folder in path.iter().map(PathBuf::as_path).chain(more.iter().map(Path::new)) {
        match in_folder(program, folder, release, Source::Path, seen) {
            Ok(found) => return Ok(found),
            Err(reason) if folder.join(program.name).exists() => why = reason,
            Err(_) => {}
        }
    }
    match program.project {
        Project::Cni => Err(format!(
            "{} is in none of {}: install the package {}",
            program.name,
            CNI_FOLDERS.join(", "),
            program.package
        )),
        Project::System => Err(format!("{why}: install the package {}", program.package)),
        Project::Containerd => Err(format!("{why}: install the package containerd")),
        _ => Err(why),
    }
}

/// The program in a folder, if it is there, runs, and says the version that is wanted.
pub(super) fn in_folder(
    program: &'static Program,
    folder: &Path,
    release: &Release,
    source: Source,
    seen: Option<&Seen>,
) -> Result<Found, String> {
    let path = folder.join(program.name);
    let shown = path.display();
    let metadata = std::fs::metadata(&path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => format!("{shown} is not there"),
        _ => format!("{shown}: {error}"),
    })?;
    if !metadata.is_file() || metadata.permissions().mode() & 0o111 == 0 {
        return Err(format!("{shown} is no program that may be run"));
    }
    let any = program.project == Project::Containerd && matches!(source, Source::Directory | Source::Path);
    let Some(wanted) = release.version(program.project).filter(|_| !any) else {
        return Ok(Found { program, path, source, version: None });
    };
    let ask = || say(&path, program.version);
    let said = seen.map_or_else(ask, |seen| seen.said(&path, &metadata, ask))?;
    match version_in(&said) {
        Some(version) if version == wanted.bare() => {
            Ok(Found { program, path, source, version: Some(version.to_owned()) })
        }
        Some(version) => Err(format!("{shown} is of version {version}, and {wanted} is wanted")),
        None => Err(format!("{shown} does not say its version, but '{}'", said.lines().next().unwrap_or_default())),
    }
}

/// The first version in a text: `Kubernetes v1.37.2`, `etcd Version: 3.7.3`, `CoreDNS-1.14.6`.
fn version_in(text: &str) -> Option<&str> {
    let words = text.split(|c: char| c.is_whitespace() || matches!(c, ':' | ',' | '"'));
    words.flat_map(|word| [Some(word), word.split_once('-').map(|(_, rest)| rest)]).flatten().find_map(|word| {
        let bare = word.strip_prefix('v').unwrap_or(word);
        bare.parse::<super::Version>().ok().map(|_| bare)
    })
}

/// What a program prints, to either stream.
fn say(path: &Path, arguments: &[&str]) -> Result<String, String> {
    let shown = path.display();
    let mut command = Command::new(path);
    command.args(arguments).env_clear().env("HOME", "/nonexistent");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
    let mut child = command.spawn().map_err(|error| format!("{shown} cannot be run: {error}"))?;
    let out = child.stdout.take();
    let reader = std::thread::spawn(move || {
        let mut text = Vec::new();
        out.map(|out| out.take(OUTPUT_LIMIT).read_to_end(&mut text));
        text
    });
    let begun = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(_)) => break,
            Ok(None) if begun.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(2)),
            _ => {
                let group = nix::unistd::Pid::from_raw(child.id().cast_signed());
                nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL).ok();
                child.wait().ok();
                return Err(format!("{shown} {} did not end within {PATIENCE:?}", arguments.join(" ")));
            }
        }
    }
    Ok(String::from_utf8_lossy(&reader.join().unwrap_or_default()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_programs_say() {
        for (text, version) in [
            ("Kubernetes v1.37.2\n", "1.37.2"),
            ("v1.37.2\n", "1.37.2"),
            ("Client Version: v1.37.2\nKustomize Version: v5.7.1\n", "1.37.2"),
            ("etcd Version: 3.7.3\nGit SHA: Not provided\nGo Version: go1.26.8\n", "3.7.3"),
            ("etcdctl version: 3.7.3\nAPI version: 3.7\n", "3.7.3"),
            ("CoreDNS-1.14.6\nlinux/amd64, go1.26.8, \n", "1.14.6"),
            ("containerd github.com/containerd/containerd/v2 v2.4.2 \n", "2.4.2"),
            ("containerd-shim-runc-v2:\n  Version:  v2.4.2\n  Revision: \n", "2.4.2"),
        ] {
            assert_eq!(version_in(text), Some(version), "{text}");
        }
        assert_eq!(version_in("usage: kubelet [flags]"), None);
    }

    #[test]
    fn names_are_unique() {
        for (index, program) in PROGRAMS.iter().enumerate() {
            assert!(PROGRAMS[..index].iter().all(|other| other.name != program.name), "{}", program.name);
        }
    }
}

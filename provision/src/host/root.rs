//! The file system of a host: the machine's, through overlays that take every change, with its own /var, /run, /tmp,
//! /etc/kubernetes, /proc and /sys.

use std::io;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::{chdir, pivot_root};

use super::cgroup::{self, Hierarchy, Kind};
use super::{HostError, HostSpec, file};

/// The files of /etc that are the host's own: its name, /etc/hosts, the name servers, and what tells it apart.
const ETC: [&str; 4] = ["hostname", "hosts", "resolv.conf", "machine-id"];

/// Makes the host's file system from its folder, and makes it this process's root. The process must be in mount, PID,
/// network and cgroup namespaces of the host.
pub(super) fn enter(folder: &Path, spec: &HostSpec) -> Result<(), HostError> {
    let root = folder.join("root");
    let nothing = None::<&str>;
    let step = |what: &str, done: nix::Result<()>| {
        done.map_err(|errno| HostError::Birth { host: spec.name.clone(), why: format!("{what}: {errno}") })
    };
    step("making mounts private", mount(nothing, "/", nothing, MsFlags::MS_PRIVATE | MsFlags::MS_REC, nothing))?;
    step("making the root", mount(Some("root"), &root, Some("tmpfs"), MsFlags::empty(), Some("mode=755,size=64m")))?;
    let own = ["proc", "sys", "dev", "run", "tmp", "var", "lost+found"];
    if spec.rootless {
        fill(Path::new("/"), &root, &[&own[..], &["root"]].concat(), bind)?;
        open_up(&root, "etc", &[&ETC[..], &["kubernetes"]].concat())?;
        open_up(&root, "usr/local/bin", &spec.programs.keys().map(String::as_str).collect::<Vec<_>>())?;
    } else {
        fill(Path::new("/"), &root, &own, |from, to| overlay(from, folder, to))?;
    }
    for name in ["proc", "sys", "dev", "run", "tmp", "var", "etc", "root"] {
        std::fs::create_dir_all(root.join(name)).map_err(file(&root.join(name)))?;
    }
    let at = |name: &str| root.join(name);
    step("mounting /proc", mount(Some("proc"), &at("proc"), Some("proc"), MsFlags::empty(), nothing))?;
    step("mounting /sys", mount(Some("sysfs"), &at("sys"), Some("sysfs"), MsFlags::empty(), nothing))?;
    bind(Path::new("/dev"), &at("dev"))?;
    for (name, options) in [("run", "mode=755"), ("tmp", "mode=1777")] {
        step("mounting a tmpfs", mount(Some("tmpfs"), &at(name), Some("tmpfs"), MsFlags::empty(), Some(options)))?;
    }
    bind(&folder.join("var"), &at("var"))?;
    std::fs::create_dir_all(at("etc/kubernetes")).map_err(file(&at("etc/kubernetes")))?;
    bind(&folder.join("kubernetes"), &at("etc/kubernetes"))?;
    etc(&root, spec)?;
    for (name, program) in &spec.programs {
        show_program(program, &root.join("usr/local/bin").join(name))?;
    }
    for (name, folder) in &spec.folders {
        let to = root.join(name.trim_start_matches('/'));
        std::fs::create_dir_all(&to).and_then(|()| std::fs::create_dir_all(folder)).map_err(file(folder))?;
        bind(folder, &to)?;
        let again = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        step("showing a folder", mount(nothing, &to, nothing, again, nothing))?;
    }
    if !spec.rootless {
        cgroups(&at("sys/fs/cgroup"), &spec.name)?;
    }
    let old = root.join(".machine");
    std::fs::create_dir(&old).map_err(file(&old))?;
    step("changing the root", pivot_root(&root, &old))?;
    step("changing the root", chdir("/"))?;
    step("leaving the machine's root", umount2("/.machine", MntFlags::MNT_DETACH))?;
    std::fs::remove_dir("/.machine").map_err(file(Path::new("/.machine")))?;
    // The kubelet and containerd hand mounts on to containers.
    step("sharing mounts", mount(nothing, "/", nothing, MsFlags::MS_SHARED | MsFlags::MS_REC, nothing))
}

/// Shows in `to` what is in the machine's folder `from`, but what it is to have of its own.
fn fill(
    from: &Path,
    to: &Path,
    own: &[&str],
    show: impl Fn(&Path, &Path) -> Result<(), HostError>,
) -> Result<(), HostError> {
    for entry in std::fs::read_dir(from).map_err(file(from))?.flatten() {
        let (name, from) = (entry.file_name(), entry.path());
        if name.to_str().is_some_and(|name| own.contains(&name)) {
            continue;
        }
        let to = to.join(&name);
        let kind = entry.file_type().map_err(file(&from))?;
        if kind.is_symlink() {
            let target = std::fs::read_link(&from).map_err(file(&from))?;
            std::os::unix::fs::symlink(target, &to).map_err(file(&to))?;
        } else if kind.is_dir() {
            std::fs::create_dir(&to).map_err(file(&to))?;
            show(&from, &to)?;
        } else if kind.is_file() {
            std::fs::File::create_new(&to).map_err(file(&to))?;
            bind(&from, &to)?;
        }
    }
    Ok(())
}

/// Makes a folder one that takes files of the host's own. In a user namespace no overlay does: what belongs to users
/// that are not of the namespace cannot be changed, not even in a copy.
fn open_up(root: &Path, name: &str, own: &[&str]) -> Result<(), HostError> {
    let to = root.join(name);
    mount(Some("tmpfs"), &to, Some("tmpfs"), MsFlags::empty(), Some("mode=755,size=16m"))
        .map_err(|errno| file(&to)(errno.into()))?;
    fill(&Path::new("/").join(name), &to, own, bind)
}

fn bind(from: &Path, to: &Path) -> Result<(), HostError> {
    let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount(Some(from), to, None::<&str>, flags, None::<&str>).map_err(|errno| file(from)(errno.into()))
}

/// Shows a folder of the machine through an overlay, or itself where the kernel makes none: below a folder that has
/// mounts.
fn overlay(from: &Path, folder: &Path, to: &Path) -> Result<(), HostError> {
    let name = from.file_name().unwrap_or_default();
    let (upper, work) = (folder.join("upper").join(name), folder.join("work").join(name));
    for path in [&upper, &work] {
        std::fs::create_dir_all(path).map_err(file(path))?;
    }
    let escape = |path: &Path| path.display().to_string().replace('\\', "\\\\").replace(',', "\\,").replace(':', "\\:");
    let options = format!("lowerdir={},upperdir={},workdir={}", escape(from), escape(&upper), escape(&work));
    match mount(Some("overlay"), to, Some("overlay"), MsFlags::empty(), Some(options.as_str())) {
        Ok(()) => Ok(()),
        Err(_) => bind(from, to),
    }
}

fn show_program(program: &Path, to: &Path) -> Result<(), HostError> {
    if let Some(folder) = to.parent() {
        std::fs::create_dir_all(folder).map_err(file(folder))?;
    }
    std::fs::File::create(to).map_err(file(to))?;
    bind(program, to)
}

/// The files of /etc that are the host's own.
fn etc(root: &Path, spec: &HostSpec) -> Result<(), HostError> {
    // What systemd makes of a name, any 128 bits will do (machine-id(5)).
    let id = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, spec.cgroup.as_bytes());
    let id = id.as_ref()[..16].iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    let contents = [format!("{}\n", spec.name), spec.hosts.clone(), spec.resolv.clone(), format!("{id}\n")];
    for (name, content) in ETC.into_iter().zip(contents) {
        let path = root.join("etc").join(name);
        // It may be a link into /run.
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(file(&path)(error)),
            _ => std::fs::write(&path, content).map_err(file(&path))?,
        }
    }
    Ok(())
}

/// Mounts the machine's hierarchies again: in the host's cgroup namespace their roots are the host's own cgroups.
fn cgroups(at: &Path, host: &str) -> Result<(), HostError> {
    let hierarchies = cgroup::hierarchies();
    let one = matches!(&hierarchies[..], [Hierarchy { kind: Kind::V2, .. }]);
    let fail = |what: &Path, errno: nix::Error| HostError::Birth {
        host: host.to_owned(),
        why: format!("mounting cgroups at {}: {errno}", what.display()),
    };
    if !one {
        mount(Some("tmpfs"), at, Some("tmpfs"), MsFlags::empty(), Some("mode=755")).map_err(|errno| fail(at, errno))?;
    }
    for hierarchy in hierarchies {
        let name = hierarchy.point.file_name().unwrap_or_default();
        let point: PathBuf = if one { at.to_owned() } else { at.join(name) };
        std::fs::create_dir_all(&point).map_err(file(&point))?;
        let (kind, options) = match &hierarchy.kind {
            Kind::V1(options) => ("cgroup", Some(options.as_str())),
            Kind::V2 => ("cgroup2", None),
        };
        mount(Some(kind), &point, Some(kind), MsFlags::empty(), options).map_err(|errno| fail(&point, errno))?;
        if hierarchy.kind == Kind::V2 {
            cgroup::step_aside(&point).map_err(file(&point))?;
        }
    }
    Ok(())
}

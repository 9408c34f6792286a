//! The file system of a host: the machine's, through overlays that take every change, with its own /var, /run, /tmp,
//! /etc/kubernetes, /proc and /sys.

use std::io;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::{chdir, pivot_root};

use super::cgroup::{self, Hierarchy, Kind};
use super::{HostError, HostSpec, file};

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
    for entry in std::fs::read_dir("/").map_err(file(Path::new("/")))?.flatten() {
        let (name, from) = (entry.file_name(), entry.path());
        let to = root.join(&name);
        let kind = entry.file_type().map_err(file(&from))?;
        if kind.is_symlink() {
            let target = std::fs::read_link(&from).map_err(file(&from))?;
            std::os::unix::fs::symlink(target, &to).map_err(file(&to))?;
        } else if kind.is_dir() {
            std::fs::create_dir(&to).map_err(file(&to))?;
            if !matches!(name.to_str(), Some("proc" | "sys" | "dev" | "run" | "tmp" | "var" | "lost+found")) {
                show(&from, folder, &name.to_string_lossy(), &to)?;
            }
        }
    }
    for name in ["proc", "sys", "dev", "run", "tmp", "var", "etc"] {
        std::fs::create_dir_all(root.join(name)).map_err(file(&root.join(name)))?;
    }
    let at = |name: &str| root.join(name);
    step("mounting /proc", mount(Some("proc"), &at("proc"), Some("proc"), MsFlags::empty(), nothing))?;
    step("mounting /sys", mount(Some("sysfs"), &at("sys"), Some("sysfs"), MsFlags::empty(), nothing))?;
    let bind = MsFlags::MS_BIND | MsFlags::MS_REC;
    step("showing /dev", mount(Some("/dev"), &at("dev"), nothing, bind, nothing))?;
    for (name, options) in [("run", "mode=755"), ("tmp", "mode=1777")] {
        step("mounting a tmpfs", mount(Some("tmpfs"), &at(name), Some("tmpfs"), MsFlags::empty(), Some(options)))?;
    }
    step("showing its /var", mount(Some(&folder.join("var")), &at("var"), nothing, bind, nothing))?;
    std::fs::create_dir_all(at("etc/kubernetes")).map_err(file(&at("etc/kubernetes")))?;
    let kubernetes = folder.join("kubernetes");
    step("showing its /etc/kubernetes", mount(Some(&kubernetes), &at("etc/kubernetes"), nothing, bind, nothing))?;
    etc(&root, spec)?;
    for (name, program) in &spec.programs {
        show_program(program, &root.join("usr/local/bin").join(name))?;
    }
    for (name, folder) in &spec.folders {
        let to = root.join(name.trim_start_matches('/'));
        std::fs::create_dir_all(&to).and_then(|()| std::fs::create_dir_all(folder)).map_err(file(folder))?;
        step("showing a folder", mount(Some(folder), &to, nothing, bind, nothing))?;
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

/// Shows a folder of the machine through an overlay, or itself where the kernel makes none: below a folder that has mounts,
/// in a user namespace.
fn show(from: &Path, folder: &Path, name: &str, to: &Path) -> Result<(), HostError> {
    let (upper, work) = (folder.join("upper").join(name), folder.join("work").join(name));
    for path in [&upper, &work] {
        std::fs::create_dir_all(path).map_err(file(path))?;
    }
    let escape = |path: &Path| path.display().to_string().replace('\\', "\\\\").replace(',', "\\,").replace(':', "\\:");
    let options = format!("lowerdir={},upperdir={},workdir={}", escape(from), escape(&upper), escape(&work));
    let overlay = |options: &str| mount(Some("overlay"), to, Some("overlay"), MsFlags::empty(), Some(options));
    if overlay(&options).is_ok() || overlay(&format!("{options},userxattr")).is_ok() {
        return Ok(());
    }
    let bind = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount(Some(from), to, None::<&str>, bind, None::<&str>).map_err(|errno| file(to)(errno.into()))
}

fn show_program(program: &Path, to: &Path) -> Result<(), HostError> {
    if let Some(folder) = to.parent() {
        std::fs::create_dir_all(folder).map_err(file(folder))?;
    }
    let bound = std::fs::File::create(to)
        .and_then(|_| mount(Some(program), to, None::<&str>, MsFlags::MS_BIND, None::<&str>).map_err(io::Error::from));
    bound.map_err(|error| file(program)(error))
}

/// The files of /etc that are the host's own.
fn etc(root: &Path, spec: &HostSpec) -> Result<(), HostError> {
    // What systemd makes of a name, any 128 bits will do (machine-id(5)).
    let id = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, spec.cgroup.as_bytes());
    let id = id.as_ref()[..16].iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    let files = [
        ("hostname", format!("{}\n", spec.name)),
        ("hosts", spec.hosts.clone()),
        ("resolv.conf", spec.resolv.clone()),
        ("machine-id", format!("{id}\n")),
    ];
    for (name, content) in files {
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

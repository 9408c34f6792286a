//! Does a folder belong to a node that runs, or is it a tree: a disk image, a copy, a snapshot?
//!
//! A tree has no kernel. What this machine says of its own, /proc and /sys above all, must never be taken for the node's.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, fstat, stat};
use nix::sys::statfs::{FsType, PROC_SUPER_MAGIC, fstatfs};

/// Folders whose content is made as a node runs.
const RUNTIME: [&str; 6] = ["/proc", "/sys", "/dev", "/run", "/var/run", "/tmp"];
/// What the kernel makes up: procfs, sysfs, cgroups of both versions, securityfs, debugfs, tracefs, BPF.
const KERNEL: [i64; 8] =
    [0x9fa0, 0x6265_6572, 0x27_e0eb, 0x6367_7270, 0x7363_6673, 0x6462_6720, 0x7472_6163, 0xcafe_4a11];

/// Why a folder is no running node; `None` where it is the root of the node that this machine is.
///
/// It is one if its /proc is a procfs of this boot of this kernel, and the first process there has this very folder for its root: a
/// tree into which this machine's /proc was mounted, to work in it by chroot, is still a tree.
pub(super) fn why_not(root: &Path, descriptor: &OwnedFd, proc: Option<&OwnedFd>) -> Option<String> {
    if root == Path::new("/") {
        return None;
    }
    let not = || Some(format!("{} is not a running node", root.display()));
    let Some(proc) = proc.filter(|proc| fstatfs(proc.as_fd()).is_ok_and(|fs| fs.filesystem_type() == PROC_SUPER_MAGIC))
    else {
        return not();
    };
    let boot = |path: &Path| std::fs::read_to_string(path).ok();
    let theirs = {
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let file = openat(proc.as_fd(), "sys/kernel/random/boot_id", flags, Mode::empty());
        file.ok().and_then(|file| std::io::read_to_string(std::fs::File::from(file)).ok())
    };
    if theirs.is_none() || theirs != boot(Path::new("/proc/sys/kernel/random/boot_id")) {
        return not();
    }
    // Whoever is not root may not look at that, and is told what the rest says.
    let first = openat(proc.as_fd(), "1/root", OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty());
    match (first.and_then(fstat), fstat(descriptor.as_fd())) {
        (Ok(first), Ok(own)) if (first.st_dev, first.st_ino) != (own.st_dev, own.st_ino) => not(),
        _ => None,
    }
}

/// Is what lies there made as a node runs, so that a tree that lacks it says nothing by that?
pub(super) fn is_runtime(path: &str) -> bool {
    RUNTIME.iter().any(|folder| path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}

/// Is an open file this machine's own, mounted into the tree: of its kernel, or of its /run and /dev?
pub(super) fn is_ours(file: &OwnedFd) -> bool {
    let made_up = fstatfs(file.as_fd()).is_ok_and(|fs| KERNEL.map(FsType).contains(&fs.filesystem_type()));
    let device = |path: &str| stat(path).ok().map(|stat| stat.st_dev);
    // /run and /dev are file systems of their own, unless this machine is a container.
    let shared = ["/run", "/dev"].into_iter().filter(|path| device(path) != device("/")).filter_map(device);
    made_up || fstat(file.as_fd()).is_ok_and(|own| shared.into_iter().any(|device| device == own.st_dev))
}

/// Is a folder a file system of its own, so that its room is the node's and not that of whoever keeps a copy?
pub(super) fn is_mounted(root: &Path) -> bool {
    let device = |path: &Path| stat(path).ok().map(|stat| stat.st_dev);
    root.canonicalize().is_ok_and(|root| root.parent().is_some_and(|above| device(above) != device(&root)))
}

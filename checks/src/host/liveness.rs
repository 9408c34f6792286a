//! Does a folder belong to a node that runs, or is it a tree: a disk image, a copy, a snapshot?
//!
//! A tree has no kernel. What this machine says of its own, /proc and /sys above all, must never be taken for the
//! node's.

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
/// It is one if its /proc is a procfs of this boot of this kernel, and what is mounted on the folder is what the first
/// process there has for its root. A tree into which this machine's /proc was mounted, to work in it by chroot, is
/// still a tree.
pub(super) fn why_not(root: &Path, proc: Option<&OwnedFd>) -> Option<String> {
    let place = root.canonicalize().unwrap_or_else(|_| root.to_owned());
    if place == Path::new("/") {
        return None;
    }
    let is_procfs = |proc: &&OwnedFd| fstatfs(proc.as_fd()).is_ok_and(|fs| fs.filesystem_type() == PROC_SUPER_MAGIC);
    let runs = proc.filter(is_procfs).is_some_and(|proc| {
        let own = |path: &str| std::fs::read_to_string(path).ok();
        let theirs = |path: &str| {
            let file = openat(proc.as_fd(), path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).ok()?;
            std::io::read_to_string(std::fs::File::from(file)).ok()
        };
        let boot = "sys/kernel/random/boot_id";
        let mounted = own("/proc/thread-self/mountinfo").and_then(|text| mounted(&text, &place.to_string_lossy()));
        let first = theirs("1/mountinfo").and_then(|text| self::mounted(&text, "/"));
        theirs(boot).is_some() && theirs(boot) == own(&format!("/proc/{boot}")) && mounted.is_some() && mounted == first
    });
    (!runs).then(|| format!("{} is not a running node", root.display()))
}

/// What is mounted on a folder, by mountinfo: the device, and which folder of it.
fn mounted(mountinfo: &str, place: &str) -> Option<(String, String)> {
    let line = |line: &str| {
        let fields: Vec<_> = line.split(' ').collect();
        let point = fields.get(4)?.replace("\\040", " ");
        (point == place).then_some(((*fields.get(2)?).to_owned(), (*fields.get(3)?).to_owned()))
    };
    // What was mounted last hides what was mounted before.
    mountinfo.lines().filter_map(line).next_back()
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

#[cfg(test)]
mod tests {
    use super::mounted;

    #[test]
    fn what_was_mounted_last_counts() {
        let text = "20 1 8:1 / / rw - ext4 /dev/sda1 rw\n30 20 8:2 / /rootfs ro - ext4 b rw\n\
                    31 30 8:1 / /rootfs ro - ext4 a rw\n32 20 8:1 /srv/tree /a\\040b rw - ext4 a rw\n";
        assert_eq!(mounted(text, "/rootfs"), mounted(text, "/"));
        assert_eq!(mounted(text, "/a b"), Some(("8:1".to_owned(), "/srv/tree".to_owned())));
        assert_eq!(mounted(text, "/srv"), None);
    }
}

//! The files and directories that the kernel knows, each held by a descriptor that follows it whatever its name
//! becomes.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat};
use nix::sys::stat::{FchmodatFlags, FileStat, Mode, UtimensatFlags, fchmodat, fstat, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, fchownat, linkat};

use super::unsynced::Unsynced;

/// The number that the kernel gives the root.
pub(super) const ROOT: u64 = 1;

/// A file or directory.
#[derive(Debug)]
pub(super) struct Node {
    /// The number that the kernel knows it by.
    pub(super) number: u64,
    /// Opened for its place only (O_PATH).
    pub(super) place: OwnedFd,
    /// How many of its names are removed, but not yet for good.
    pub(super) buried: AtomicU32,
    unsynced: Mutex<Option<Unsynced>>,
}

impl Node {
    /// What is not synced of it. Whoever changes the content holds this, and so does who syncs.
    pub(super) fn unsynced(&self) -> MutexGuard<'_, Option<Unsynced>> {
        self.unsynced.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its attributes, as they are to be seen: without the names that are removed.
    pub(super) fn stat(&self) -> io::Result<FileStat> {
        let mut stat = fstat(&self.place)?;
        stat.st_nlink = stat.st_nlink.saturating_sub(self.buried.load(Ordering::Relaxed).into());
        Ok(stat)
    }

    pub(super) fn chown(&self, uid: Option<Uid>, gid: Option<Gid>) -> io::Result<()> {
        Ok(fchownat(&self.place, "", uid, gid, AtFlags::AT_EMPTY_PATH)?)
    }
}

/// All of them.
#[derive(Debug)]
pub(super) struct Nodes {
    /// /proc/self/fd, where a place is opened for its content.
    descriptors: OwnedFd,
    root: Arc<Node>,
    device: u64,
    /// The inode of the root, which the kernel knows by another number.
    root_inode: u64,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// By number, with how often the kernel has looked each up.
    nodes: HashMap<u64, (Arc<Node>, u64)>,
    /// Those that the kernel forgot, and we could not when we last looked.
    forgotten: Vec<u64>,
    /// When there are more than so many, we look again.
    enough: usize,
}

impl Nodes {
    pub(super) fn new(root: &Path) -> io::Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let descriptors = open("/proc/self/fd", flags, Mode::empty())?;
        let place = open(root, flags, Mode::empty())?;
        let stat = fstat(&place)?;
        let root = Arc::new(Node { number: ROOT, place, buried: AtomicU32::new(0), unsynced: Mutex::new(None) });
        Ok(Self { descriptors, root, device: stat.st_dev, root_inode: stat.st_ino, known: Mutex::default() })
    }

    /// The number for an inode: the same, but for the root's, which takes the place of the one that has its number.
    pub(super) fn number(&self, inode: u64) -> u64 {
        match inode {
            _ if inode == self.root_inode => ROOT,
            ROOT => self.root_inode,
            other => other,
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, number: u64) -> io::Result<Arc<Node>> {
        if number == ROOT {
            return Ok(self.root.clone());
        }
        Ok(self.known().nodes.get(&number).map(|(node, _)| node.clone()).ok_or(Errno::ESTALE)?)
    }

    /// The node of a name, and its attributes. `count` it if the kernel will know of it: it forgets what it looked up.
    pub(super) fn look_up(&self, directory: &Node, name: &OsStr, count: bool) -> io::Result<(Arc<Node>, FileStat)> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let place = openat(&directory.place, name, flags, Mode::empty())?;
        let stat = fstat(&place)?;
        if stat.st_dev != self.device {
            // What is mounted below is another disk.
            return Err(Errno::EXDEV.into());
        }
        let number = self.number(stat.st_ino);
        let node = {
            let mut known = self.known();
            let new = || {
                let unsynced = Mutex::new(None);
                (Arc::new(Node { number, place, buried: AtomicU32::new(0), unsynced }), 0)
            };
            let (node, lookups) = known.nodes.entry(number).or_insert_with(new);
            *lookups += u64::from(count);
            node.clone()
        };
        let stat = node.stat()?;
        Ok((node, stat))
    }

    /// The kernel forgets so many lookups. A node is let go of when nothing unsynced needs it any more.
    pub(super) fn forget(&self, number: u64, lookups: u64) {
        let mut known = self.known();
        let Some((_, count)) = known.nodes.get_mut(&number) else { return };
        *count = count.saturating_sub(lookups);
        if *count > 0 {
            return;
        }
        known.forgotten.push(number);
        if known.forgotten.len() > known.enough {
            let Known { nodes, forgotten, enough } = &mut *known;
            forgotten.sort_unstable();
            forgotten.dedup();
            forgotten.retain(|number| {
                let Some((node, count)) = nodes.get(number) else { return false };
                if *count == 0 && Arc::strong_count(node) == 1 && node.unsynced().is_none() {
                    nodes.remove(number);
                }
                nodes.get(number).is_some_and(|(_, count)| *count == 0)
            });
            // Twice as many as are left, so that each costs the same however many there are.
            *enough = 2 * forgotten.len();
        }
    }

    /// All nodes, the root among them.
    pub(super) fn all(&self) -> Vec<Arc<Node>> {
        let mut all: Vec<_> = self.known().nodes.values().map(|(node, _)| node.clone()).collect();
        all.push(self.root.clone());
        all
    }

    /// The node opened for its content.
    pub(super) fn open(&self, node: &Node, flags: OFlag) -> io::Result<File> {
        let name = node.place.as_raw_fd().to_string();
        Ok(openat(&self.descriptors, name.as_str(), flags | OFlag::O_CLOEXEC, Mode::empty())?.into())
    }

    pub(super) fn chmod(&self, node: &Node, mode: Mode) -> io::Result<()> {
        let name = node.place.as_raw_fd().to_string();
        Ok(fchmodat(&self.descriptors, name.as_str(), mode, FchmodatFlags::FollowSymlink)?)
    }

    pub(super) fn set_times(&self, node: &Node, accessed: TimeSpec, modified: TimeSpec) -> io::Result<()> {
        let name = node.place.as_raw_fd().to_string();
        Ok(utimensat(&self.descriptors, name.as_str(), &accessed, &modified, UtimensatFlags::FollowSymlink)?)
    }

    /// Gives the node one more name.
    pub(super) fn link(&self, node: &Node, directory: &Node, name: &OsStr) -> io::Result<()> {
        let at = node.place.as_raw_fd().to_string();
        let follow = AtFlags::AT_SYMLINK_FOLLOW;
        Ok(linkat(&self.descriptors, at.as_str(), directory.place.as_fd(), name, follow)?)
    }
}

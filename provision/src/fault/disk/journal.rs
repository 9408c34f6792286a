//! The changes of names and attributes that are not synced, in their order, each with how it is taken back.
//!
//! As in a journalling file system, syncing a file or directory makes the last change that touched it durable together
//! with all that came before; what came after it is lost with the power. What is removed is moved to the graveyard, a
//! directory beside the disk's, and is deleted when its removal is durable.

use std::collections::{HashMap, VecDeque};
use std::ffi::OsString;
use std::fs::DirBuilder;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, RenameFlags, open, renameat2};
use nix::sys::stat::{Mode, fstatat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, unlinkat};

use super::node::{Node, Nodes};

/// A name in a directory.
#[derive(Debug, Clone)]
pub(super) struct Name {
    pub(super) directory: Arc<Node>,
    pub(super) name: OsString,
}

/// A change of names or attributes.
#[derive(Debug)]
enum Change {
    Made { at: Name, kind: UnlinkatFlags },
    Removed { at: Name, node: Arc<Node>, grave: Grave },
    Moved { from: Name, to: Name },
    Swapped { one: Name, other: Name },
    Attributes { node: Arc<Node>, mode: Mode, uid: Uid, gid: Gid },
}

/// Where something removed lies.
#[derive(Debug)]
pub(super) struct Grave {
    name: String,
    kind: UnlinkatFlags,
}

/// What the kernel must not believe any more.
#[derive(Debug)]
pub(super) enum Stale {
    Name(Name),
    Node(Arc<Node>),
}

#[derive(Debug)]
pub(super) struct Journal {
    graveyard: Arc<OwnedFd>,
    graves: u64,
    changes: VecDeque<Change>,
    /// How many changes were made durable before the first of `changes`.
    durable: u64,
    /// The last change that touched each node, counted from the beginning of time.
    last: HashMap<u64, u64>,
}

impl Journal {
    /// With the graveyard at this path, which is emptied: what an earlier process left there had been removed.
    pub(super) fn new(graveyard: &Path) -> io::Result<Self> {
        match std::fs::remove_dir_all(graveyard) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            // What lies there had permissions of the folders that it was in.
            _ => DirBuilder::new().mode(0o700).create(graveyard)?,
        }
        let graveyard = open(graveyard, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
        let graveyard = Arc::new(graveyard);
        Ok(Self { graveyard, graves: 0, changes: VecDeque::new(), durable: 0, last: HashMap::new() })
    }

    /// How many changes are not durable.
    pub(super) fn len(&self) -> usize {
        self.changes.len()
    }

    fn push(&mut self, touched: &[&Node], change: Change) {
        let at = self.durable + self.changes.len() as u64;
        self.last.extend(touched.iter().map(|node| (node.number, at)));
        self.changes.push_back(change);
    }

    /// A name was made, for a node that is new or has others.
    pub(super) fn made(&mut self, at: Name, node: &Node, directory: bool) {
        let kind = if directory { UnlinkatFlags::RemoveDir } else { UnlinkatFlags::NoRemoveDir };
        let parent = at.directory.clone();
        self.push(&[&parent, node], Change::Made { at, kind });
    }

    /// Attributes are about to be changed from these.
    pub(super) fn attributes(&mut self, node: &Arc<Node>, mode: Mode, uid: Uid, gid: Gid) {
        self.push(&[node], Change::Attributes { node: node.clone(), mode, uid, gid });
    }

    /// Removes a name, of a directory only if that is empty.
    pub(super) fn remove(&mut self, nodes: &Nodes, at: Name, directory: bool) -> io::Result<()> {
        let (node, _) = nodes.look_up(&at.directory, &at.name, false)?;
        let mut kind = UnlinkatFlags::NoRemoveDir;
        if directory {
            kind = UnlinkatFlags::RemoveDir;
            let mut entries = Dir::from_fd(nodes.open(&node, OFlag::O_RDONLY | OFlag::O_DIRECTORY)?.into())?;
            let own = |name: &[u8]| name == b"." || name == b"..";
            if entries.iter().any(|entry| entry.is_ok_and(|entry| !own(entry.file_name().to_bytes()))) {
                return Err(Errno::ENOTEMPTY.into());
            }
        }
        self.graves += 1;
        let grave = Grave { name: self.graves.to_string(), kind };
        let plain = RenameFlags::empty();
        renameat2(&at.directory.place, at.name.as_os_str(), &*self.graveyard, grave.name.as_str(), plain)?;
        node.buried.fetch_add(1, Ordering::Relaxed);
        let parent = at.directory.clone();
        self.push(&[&parent, &node], Change::Removed { at, node: node.clone(), grave });
        Ok(())
    }

    /// Moves a name, onto another one if that is there and `flags` do not forbid it.
    pub(super) fn rename(&mut self, nodes: &Nodes, from: Name, to: Name, flags: RenameFlags) -> io::Result<()> {
        if flags.contains(RenameFlags::RENAME_WHITEOUT) {
            return Err(Errno::EINVAL.into());
        }
        let (node, stat) = nodes.look_up(&from.directory, &from.name, false)?;
        let there = match nodes.look_up(&to.directory, &to.name, false) {
            Ok((other, _)) if other.number == node.number && flags.is_empty() => return Ok(()),
            Ok((other, _)) => Some(other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let replaces = there.is_some() && flags.is_empty();
        if replaces {
            self.remove(nodes, to.clone(), is_directory(stat.st_mode))?;
        }
        let renamed =
            renameat2(&from.directory.place, from.name.as_os_str(), &to.directory.place, to.name.as_os_str(), flags);
        if let Err(errno) = renamed {
            if replaces {
                self.take_back_last(nodes)?;
            }
            return Err(errno.into());
        }
        let mut touched = vec![&*node];
        let (one, other) = (from.directory.clone(), to.directory.clone());
        touched.extend([&*one, &*other]);
        if flags.contains(RenameFlags::RENAME_EXCHANGE) {
            touched.extend(there.as_deref());
            self.push(&touched, Change::Swapped { one: from, other: to });
        } else {
            self.push(&touched, Change::Moved { from, to });
        }
        Ok(())
    }

    /// The node is synced. What is returned is to be [deleted](delete).
    pub(super) fn sync(&mut self, node: &Node) -> Vec<Grave> {
        let Some(&last) = self.last.get(&node.number) else { return Vec::new() };
        self.make_durable(last + 1)
    }

    /// All is synced. What is returned is to be [deleted](delete).
    pub(super) fn sync_all(&mut self) -> Vec<Grave> {
        self.make_durable(self.durable + self.changes.len() as u64)
    }

    fn make_durable(&mut self, until: u64) -> Vec<Grave> {
        let count = usize::try_from(until - self.durable).unwrap_or(usize::MAX).min(self.changes.len());
        self.durable = until;
        self.last.retain(|_, at| *at >= until);
        let grave = |change| match change {
            Change::Removed { node, grave, .. } => {
                node.buried.fetch_sub(1, Ordering::Relaxed);
                Some(grave)
            }
            _ => None,
        };
        self.changes.drain(..count).filter_map(grave).collect()
    }

    /// The directory for [`delete`].
    pub(super) fn graveyard(&self) -> Arc<OwnedFd> {
        self.graveyard.clone()
    }

    /// Takes back every change that is not durable, the last one first.
    pub(super) fn take_back(&mut self, nodes: &Nodes) -> io::Result<Vec<Stale>> {
        let mut stale = Vec::new();
        while !self.changes.is_empty() {
            stale.extend(self.take_back_last(nodes)?);
        }
        self.last.clear();
        Ok(stale)
    }

    fn take_back_last(&mut self, nodes: &Nodes) -> io::Result<Vec<Stale>> {
        let plain = RenameFlags::empty();
        let rename = |from: &Name, to: &Name, flags| {
            renameat2(&from.directory.place, from.name.as_os_str(), &to.directory.place, to.name.as_os_str(), flags)
        };
        Ok(match self.changes.pop_back() {
            None => Vec::new(),
            Some(Change::Made { at, kind }) => {
                unlinkat(&at.directory.place, at.name.as_os_str(), kind)?;
                vec![Stale::Name(at)]
            }
            Some(Change::Removed { at, node, grave }) => {
                renameat2(&*self.graveyard, grave.name.as_str(), &at.directory.place, at.name.as_os_str(), plain)?;
                node.buried.fetch_sub(1, Ordering::Relaxed);
                vec![Stale::Name(at), Stale::Node(node)]
            }
            Some(Change::Moved { from, to }) => {
                rename(&to, &from, plain)?;
                vec![Stale::Name(from), Stale::Name(to)]
            }
            Some(Change::Swapped { one, other }) => {
                rename(&one, &other, RenameFlags::RENAME_EXCHANGE)?;
                vec![Stale::Name(one), Stale::Name(other)]
            }
            Some(Change::Attributes { node, mode, uid, gid }) => {
                // Owner first: changing it clears the set-user-id bits.
                node.chown(Some(uid), Some(gid))?;
                nodes.chmod(&node, mode)?;
                vec![Stale::Node(node)]
            }
        })
    }
}

/// Whether a mode is a directory's.
pub(super) fn is_directory(mode: nix::libc::mode_t) -> bool {
    mode & nix::libc::S_IFMT == nix::libc::S_IFDIR
}

/// Deletes what was removed for good, and says how many bytes that frees.
pub(super) fn delete(graveyard: &OwnedFd, graves: Vec<Grave>) -> u64 {
    let mut freed = 0;
    for Grave { name, kind } in graves {
        let stat = fstatat(graveyard, name.as_str(), AtFlags::AT_SYMLINK_NOFOLLOW);
        if unlinkat(graveyard, name.as_str(), kind).is_ok()
            && let Ok(stat) = stat
            && (stat.st_nlink == 1 || is_directory(stat.st_mode))
        {
            freed += stat.st_blocks.unsigned_abs() * 512;
        }
    }
    freed
}

//! The disk: what of it is open and not synced, and how the power is cut.
//!
//! Locks are taken in this order: the power, the journal, a node's unsynced content.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use fuser::{FileHandle, FileType};
use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use super::journal::{self, Journal, Stale};
use super::node::{Node, Nodes};
use super::space::Space;
use super::unsynced::Unsynced;
use super::{Dropped, Settings};

/// The disk.
#[derive(Debug)]
pub(super) struct Disk {
    pub(super) nodes: Nodes,
    journal: Mutex<Journal>,
    open: RwLock<HashMap<u64, Arc<Open>>>,
    next: AtomicU64,
    settings: RwLock<Settings>,
    pub(super) space: Space,
    /// How often the power was cut. Held for reading by every request, for writing while the power is cut.
    power: RwLock<u64>,
}

/// A file or directory that somebody has open. It is dead once the power was cut.
#[derive(Debug)]
pub(super) struct Open {
    power: u64,
    pub(super) node: Arc<Node>,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    File(File),
    /// The entries of a directory as they were when it was last read from its beginning, and the directory for syncing.
    Directory(File, Mutex<Vec<Entry>>),
}

pub(super) type Entry = (u64, FileType, OsString);

impl Disk {
    pub(super) fn new(folder: &Path, graveyard: &Path) -> io::Result<Self> {
        Ok(Self {
            nodes: Nodes::new(folder)?,
            journal: Mutex::new(Journal::new(graveyard)?),
            open: RwLock::default(),
            next: AtomicU64::new(1),
            settings: RwLock::default(),
            space: Space::default(),
            power: RwLock::new(0),
        })
    }

    pub(super) fn settings(&self) -> Settings {
        *self.settings.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the settings, and says which nodes the kernel must not answer for from memory.
    pub(super) fn set(&self, settings: Settings) -> Vec<Stale> {
        let before = self.settings();
        if settings.free != before.free {
            self.space.limit(settings.free);
        }
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = settings;
        let reads_fail = settings.read_errors && !before.read_errors;
        if reads_fail { self.nodes.all().into_iter().map(Stale::Node).collect() } else { Vec::new() }
    }

    /// What would be lost now.
    pub(super) fn unsynced(&self) -> Dropped {
        let nodes = self.nodes.all();
        let unsynced: Vec<_> = nodes.iter().filter_map(|node| node.unsynced().as_ref().map(Unsynced::bytes)).collect();
        Dropped { files: unsynced.len(), bytes: unsynced.iter().sum(), changes: self.journal().len() }
    }

    /// Cuts the power: everything is again as it was synced, and whoever has something open cannot use it any more.
    pub(super) fn cut(&self) -> io::Result<(Dropped, Vec<Stale>)> {
        let mut power = self.power.write().unwrap_or_else(PoisonError::into_inner);
        *power += 1;
        let dropped = self.unsynced();
        let mut stale = Vec::new();
        for node in self.nodes.all() {
            let Some(unsynced) = node.unsynced().take() else { continue };
            let file = self.nodes.open(&node, OFlag::O_RDWR)?;
            let before = file.metadata()?.blocks();
            unsynced.put_back(&file)?;
            self.space.give_back(before.saturating_sub(file.metadata()?.blocks()) * 512);
            stale.push(Stale::Node(node));
        }
        stale.extend(self.journal().take_back(&self.nodes)?);
        Ok((dropped, stale))
    }

    /// All that was done counts as synced: the disk is unmounted.
    pub(super) fn keep_all(&self) {
        let _power = self.power.write().unwrap_or_else(PoisonError::into_inner);
        let mut journal = self.journal();
        journal::delete(&journal.graveyard(), journal.sync_all());
    }

    pub(super) fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does what a request asks, while the power is on.
    pub(super) fn on<T>(&self, act: impl FnOnce(u64) -> io::Result<T>) -> Result<T, fuser::Errno> {
        let power = self.power.read().unwrap_or_else(PoisonError::into_inner);
        act(*power).map_err(fuser::Errno::from)
    }

    pub(super) fn opened(&self, power: u64, node: Arc<Node>, what: What) -> FileHandle {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let open = Arc::new(Open { power, node, what });
        self.open.write().unwrap_or_else(PoisonError::into_inner).insert(number, open);
        FileHandle(number)
    }

    pub(super) fn close(&self, handle: FileHandle) {
        self.open.write().unwrap_or_else(PoisonError::into_inner).remove(&handle.0);
    }

    /// What was opened as this, if the power has been on since.
    pub(super) fn handle(&self, power: u64, handle: FileHandle) -> io::Result<Arc<Open>> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner).get(&handle.0).cloned();
        Ok(open.filter(|open| open.power == power).ok_or(Errno::EIO)?)
    }

    pub(super) fn file<T>(
        &self,
        handle: FileHandle,
        act: impl FnOnce(&Node, &File) -> io::Result<T>,
    ) -> Result<T, fuser::Errno> {
        self.on(|power| {
            let open = self.handle(power, handle)?;
            match &open.what {
                What::File(file) => act(&open.node, file),
                What::Directory(..) => Err(Errno::EISDIR.into()),
            }
        })
    }

    /// Everything of a node is synced, and every change of names before the last one that touched it.
    pub(super) fn sync(&self, node: &Node, file: &File, content_only: bool) -> io::Result<()> {
        {
            let mut unsynced = node.unsynced();
            if content_only {
                file.sync_data()?
            } else {
                file.sync_all()?
            }
            *unsynced = None;
        }
        let (graves, graveyard) = {
            let mut journal = self.journal();
            (journal.sync(node), journal.graveyard())
        };
        self.space.give_back(journal::delete(&graveyard, graves));
        Ok(())
    }

    pub(super) fn resize(&self, node: &Node, file: &File, size: u64) -> io::Result<()> {
        let mut unsynced = node.unsynced();
        begun(&mut unsynced, file)?.keep(file, size..u64::MAX)?;
        let before = file.metadata()?.blocks();
        file.set_len(size)?;
        self.space.give_back(before.saturating_sub(file.metadata()?.blocks()) * 512);
        Ok(())
    }

    pub(super) fn entries(&self, file: &File) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        let directory = openat(file, ".", OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())?;
        for entry in Dir::from_fd(directory)?.iter() {
            let entry = entry?;
            let kind = match entry.file_type() {
                Some(Type::Directory) => FileType::Directory,
                Some(Type::Symlink) => FileType::Symlink,
                Some(Type::Fifo) => FileType::NamedPipe,
                Some(Type::Socket) => FileType::Socket,
                Some(Type::CharacterDevice) => FileType::CharDevice,
                Some(Type::BlockDevice) => FileType::BlockDevice,
                Some(Type::File) | None => FileType::RegularFile,
            };
            let name: &OsStr = std::os::unix::ffi::OsStrExt::from_bytes(entry.file_name().to_bytes());
            entries.push((self.nodes.number(entry.ino()), kind, name.to_owned()));
        }
        Ok(entries)
    }
}

/// The file before its unsynced changes, of which one is about to be made.
pub(super) fn begun<'a>(unsynced: &'a mut Option<Unsynced>, file: &File) -> io::Result<&'a mut Unsynced> {
    if unsynced.is_none() {
        *unsynced = Some(Unsynced::begin(file)?);
    }
    Ok(unsynced.as_mut().ok_or(Errno::EIO)?)
}

//! The disk as the kernel's FUSE sees it: every request goes through to the folder behind it, and what it changes is
//! remembered until it is synced.

use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    BsdFileFlags, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, KernelConfig, LockOwner,
    OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen,
    ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, OFlag, openat, readlinkat};
use nix::libc;
use nix::sys::stat::{FileStat, Mode, SFlag, mkdirat, mknodat};
use nix::sys::statvfs::fstatvfs;
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, symlinkat};

use super::disk::{Disk, What, begun};
use super::journal::{self, Journal, Name};
use super::node::{Node, ROOT};

/// How long the kernel may believe what it was told. Nobody but us changes the folder.
const BELIEVED: Duration = Duration::from_hours(24);

/// The largest write that the kernel is to send, in bytes, and how far it is to read ahead.
const LARGEST: u32 = 1 << 20;

fn attributes(number: u64, stat: &FileStat) -> FileAttr {
    let time = |seconds: i64, nanoseconds: i64| {
        let whole = Duration::from_secs(seconds.unsigned_abs());
        let time = if seconds < 0 { UNIX_EPOCH - whole } else { UNIX_EPOCH + whole };
        time + Duration::from_nanos(nanoseconds.unsigned_abs())
    };
    FileAttr {
        ino: INodeNo(number),
        size: stat.st_size.unsigned_abs(),
        blocks: stat.st_blocks.unsigned_abs(),
        atime: time(stat.st_atime, stat.st_atime_nsec),
        mtime: time(stat.st_mtime, stat.st_mtime_nsec),
        ctime: time(stat.st_ctime, stat.st_ctime_nsec),
        crtime: UNIX_EPOCH,
        kind: match stat.st_mode & libc::S_IFMT {
            libc::S_IFDIR => FileType::Directory,
            libc::S_IFLNK => FileType::Symlink,
            libc::S_IFIFO => FileType::NamedPipe,
            libc::S_IFSOCK => FileType::Socket,
            libc::S_IFCHR => FileType::CharDevice,
            libc::S_IFBLK => FileType::BlockDevice,
            _ => FileType::RegularFile,
        },
        perm: (stat.st_mode & 0o7777) as u16,
        nlink: u32::try_from(stat.st_nlink).unwrap_or(u32::MAX),
        uid: stat.st_uid,
        gid: stat.st_gid,
        rdev: u32::try_from(stat.st_rdev).unwrap_or_default(),
        blksize: u32::try_from(stat.st_blksize).unwrap_or(4096),
        flags: 0,
    }
}

/// How a file is opened for what somebody opens it for. What is written has to be read before, and where it goes the
/// kernel says.
fn access(flags: i32) -> OFlag {
    if flags & libc::O_ACCMODE == libc::O_RDONLY { OFlag::O_RDONLY } else { OFlag::O_RDWR }
}

fn mode(bits: u32) -> Mode {
    Mode::from_bits_truncate(bits)
}

fn slow(by: Duration) {
    if !by.is_zero() {
        std::thread::sleep(by);
    }
}

/// The requests.
pub(super) struct Tree(pub(super) Arc<Disk>);

impl Filesystem for Tree {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // Where the kernel has less it says how much, and that is taken.
        for set in [KernelConfig::set_max_write, KernelConfig::set_max_readahead] {
            if let Err(most) = set(config, LARGEST) {
                set(config, most).ok();
            }
        }
        Ok(())
    }

    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self.0.on(|_| {
            // Not between the two steps of a rename.
            let _journal = self.0.journal();
            self.0.nodes.look_up(&*self.0.nodes.get(parent.0)?, name, true)
        });
        match found {
            Ok((node, stat)) => reply.entry(&BELIEVED, &attributes(node.number, &stat), Generation(0)),
            Err(errno) => reply.error(errno),
        }
    }

    fn forget(&self, _request: &Request, number: INodeNo, lookups: u64) {
        self.0.nodes.forget(number.0, lookups);
    }

    fn getattr(&self, _request: &Request, number: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        match self.0.on(|_| self.0.nodes.get(number.0)?.stat()) {
            Ok(stat) => reply.attr(&BELIEVED, &attributes(number.0, &stat)),
            Err(errno) => reply.error(errno),
        }
    }

    fn setattr(
        &self,
        _request: &Request,
        number: INodeNo,
        new_mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        accessed: Option<TimeOrNow>,
        modified: Option<TimeOrNow>,
        _changed: Option<SystemTime>,
        _handle: Option<FileHandle>,
        _created: Option<SystemTime>,
        _flags_changed: Option<SystemTime>,
        _backed_up: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let disk = &self.0;
        let set = disk.on(|_| {
            let node = disk.nodes.get(number.0)?;
            if let Some(size) = size {
                disk.resize(&node, &disk.nodes.open(&node, OFlag::O_RDWR)?, size)?;
            }
            if new_mode.is_some() || uid.is_some() || gid.is_some() {
                let mut journal = disk.journal();
                let stat = node.stat()?;
                let (old_uid, old_gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
                journal.attributes(&node, mode(stat.st_mode), old_uid, old_gid);
                node.chown(uid.map(Uid::from_raw), gid.map(Gid::from_raw))?;
                if let Some(new_mode) = new_mode {
                    disk.nodes.chmod(&node, mode(new_mode))?;
                }
            }
            if accessed.is_some() || modified.is_some() {
                let time = |time: Option<TimeOrNow>| match time {
                    None => TimeSpec::UTIME_OMIT,
                    Some(TimeOrNow::Now) => TimeSpec::UTIME_NOW,
                    Some(TimeOrNow::SpecificTime(time)) => {
                        TimeSpec::from_duration(time.duration_since(UNIX_EPOCH).unwrap_or_default())
                    }
                };
                disk.nodes.set_times(&node, time(accessed), time(modified))?;
            }
            node.stat()
        });
        match set {
            Ok(stat) => reply.attr(&BELIEVED, &attributes(number.0, &stat)),
            Err(errno) => reply.error(errno),
        }
    }

    fn readlink(&self, _request: &Request, number: INodeNo, reply: ReplyData) {
        match self.0.on(|_| Ok(readlinkat(&self.0.nodes.get(number.0)?.place, "")?)) {
            Ok(target) => reply.data(target.as_encoded_bytes()),
            Err(errno) => reply.error(errno),
        }
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        bits: u32,
        _umask: u32,
        device: u32,
        reply: ReplyEntry,
    ) {
        let kind = SFlag::from_bits_truncate(bits & libc::S_IFMT);
        let made = self.make(request, parent, name, |directory| {
            Ok(mknodat(&directory.place, name, kind, mode(bits), device.into())?)
        });
        entry(made, reply);
    }

    fn mkdir(&self, request: &Request, parent: INodeNo, name: &OsStr, bits: u32, _umask: u32, reply: ReplyEntry) {
        let made = self.make(request, parent, name, |directory| Ok(mkdirat(&directory.place, name, mode(bits))?));
        entry(made, reply);
    }

    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let made = self.make(request, parent, name, |directory| Ok(symlinkat(target, &directory.place, name)?));
        entry(made, reply);
    }

    fn link(&self, _request: &Request, number: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let disk = &self.0;
        let linked = disk.on(|_| {
            let mut journal = disk.journal();
            let directory = disk.nodes.get(parent.0)?;
            disk.nodes.link(&*disk.nodes.get(number.0)?, &directory, name)?;
            let (node, stat) = disk.nodes.look_up(&directory, name, true)?;
            journal.made(Name { directory, name: name.to_owned() }, &node, false);
            Ok(attributes(node.number, &stat))
        });
        entry(linked, reply);
    }

    fn unlink(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(self.remove(parent, name, false), reply);
    }

    fn rmdir(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        empty(self.remove(parent, name, true), reply);
    }

    fn rename(
        &self,
        _request: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let disk = &self.0;
        let flags = nix::fcntl::RenameFlags::from_bits_truncate(flags.bits());
        let renamed = disk.on(|_| {
            let mut journal = disk.journal();
            let from = Name { directory: disk.nodes.get(parent.0)?, name: name.to_owned() };
            let to = Name { directory: disk.nodes.get(new_parent.0)?, name: new_name.to_owned() };
            journal.rename(&disk.nodes, from, to, flags)
        });
        empty(renamed, reply);
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        bits: u32,
        _umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        let disk = &self.0;
        let created = disk.on(|power| {
            let mut journal = disk.journal();
            let directory = disk.nodes.get(parent.0)?;
            let new = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            match openat(&directory.place, name, new | access(flags), mode(bits)) {
                Ok(file) => {
                    let attributes = self.made(&mut journal, request, directory, name)?;
                    let node = disk.nodes.get(attributes.ino.0)?;
                    Ok((attributes, disk.opened(power, node, What::File(file.into()))))
                }
                // Somebody else was faster, which is fine unless it was to be new.
                Err(Errno::EEXIST) if flags & libc::O_EXCL == 0 => {
                    let (node, _) = disk.nodes.look_up(&directory, name, true)?;
                    let file = disk.nodes.open(&node, access(flags))?;
                    if flags & libc::O_TRUNC != 0 {
                        disk.resize(&node, &file, 0)?;
                    }
                    Ok((attributes(node.number, &node.stat()?), disk.opened(power, node, What::File(file))))
                }
                Err(errno) => Err(errno.into()),
            }
        });
        match created {
            Ok((attributes, handle)) => {
                reply.created(&BELIEVED, &attributes, Generation(0), handle, FopenFlags::FOPEN_KEEP_CACHE);
            }
            Err(errno) => reply.error(errno),
        }
    }

    fn open(&self, _request: &Request, number: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let disk = &self.0;
        let opened = disk.on(|power| {
            let node = disk.nodes.get(number.0)?;
            let file = disk.nodes.open(&node, access(flags.0))?;
            Ok(disk.opened(power, node, What::File(file)))
        });
        match opened {
            Ok(handle) => reply.opened(handle, FopenFlags::FOPEN_KEEP_CACHE),
            Err(errno) => reply.error(errno),
        }
    }

    fn read(
        &self,
        _request: &Request,
        _number: INodeNo,
        handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let settings = self.0.settings();
        slow(settings.read);
        let read = self.0.file(handle, |_, file| {
            if settings.read_errors {
                return Err(Errno::EIO.into());
            }
            let mut data = vec![0; size as usize];
            let mut length = 0;
            while length < data.len() {
                match file.read_at(&mut data[length..], offset + length as u64)? {
                    0 => break,
                    some => length += some,
                }
            }
            data.truncate(length);
            Ok(data)
        });
        match read {
            Ok(data) => reply.data(&data),
            Err(errno) => reply.error(errno),
        }
    }

    fn write(
        &self,
        _request: &Request,
        _number: INodeNo,
        handle: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        slow(self.0.settings().write);
        let written = self.0.file(handle, |node, file| {
            let mut unsynced = node.unsynced();
            begun(&mut unsynced, file)?.keep(file, offset..offset + data.len() as u64)?;
            self.0.space.write(file, data, offset)
        });
        match written {
            // No larger than what the kernel sent.
            Ok(length) => reply.written(length as u32),
            Err(errno) => reply.error(errno),
        }
    }

    fn fallocate(
        &self,
        _request: &Request,
        _number: INodeNo,
        handle: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let flags = FallocateFlags::from_bits_retain(mode);
        let overwrites = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_ZERO_RANGE;
        let allocated = self.0.file(handle, |node, file| {
            let moves = FallocateFlags::FALLOC_FL_COLLAPSE_RANGE | FallocateFlags::FALLOC_FL_INSERT_RANGE;
            if flags.intersects(moves) {
                return Err(Errno::EOPNOTSUPP.into());
            }
            let mut unsynced = node.unsynced();
            let unsynced = begun(&mut unsynced, file)?;
            if flags.intersects(overwrites) {
                unsynced.keep(file, offset..offset.saturating_add(length))?;
            }
            self.0.space.allocate(file, flags, offset, length)
        });
        empty(allocated, reply);
    }

    fn fsync(&self, _request: &Request, _number: INodeNo, handle: FileHandle, data_only: bool, reply: ReplyEmpty) {
        slow(self.0.settings().fsync);
        empty(self.0.file(handle, |node, file| self.0.sync(node, file, data_only)), reply);
    }

    fn release(
        &self,
        _request: &Request,
        _number: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        self.0.close(handle);
        reply.ok();
    }

    fn opendir(&self, _request: &Request, number: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        let disk = &self.0;
        let opened = disk.on(|power| {
            let node = disk.nodes.get(number.0)?;
            let file = disk.nodes.open(&node, OFlag::O_RDONLY | OFlag::O_DIRECTORY)?;
            Ok(disk.opened(power, node, What::Directory(file, Mutex::default())))
        });
        match opened {
            Ok(handle) => reply.opened(handle, FopenFlags::empty()),
            Err(errno) => reply.error(errno),
        }
    }

    fn readdir(
        &self,
        _request: &Request,
        _number: INodeNo,
        handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let disk = &self.0;
        let listed = disk.on(|power| {
            let open = disk.handle(power, handle)?;
            let What::Directory(file, entries) = &open.what else { return Err(Errno::ENOTDIR.into()) };
            let mut entries = entries.lock().unwrap_or_else(PoisonError::into_inner);
            if offset == 0 {
                let _journal = disk.journal();
                *entries = disk.entries(file)?;
            }
            for (at, (number, kind, name)) in (1..).zip(&*entries).skip(usize::try_from(offset).unwrap_or(usize::MAX)) {
                // Where ".." of the root leads to is the kernel's business.
                let number = if open.node.number == ROOT && name == ".." { ROOT } else { *number };
                if reply.add(INodeNo(number), at, *kind, name) {
                    break;
                }
            }
            Ok(())
        });
        match listed {
            Ok(()) => reply.ok(),
            Err(errno) => reply.error(errno),
        }
    }

    fn fsyncdir(&self, _request: &Request, _number: INodeNo, handle: FileHandle, data_only: bool, reply: ReplyEmpty) {
        slow(self.0.settings().fsync);
        let synced = self.0.on(|power| {
            let open = self.0.handle(power, handle)?;
            let What::Directory(file, _) = &open.what else { return Err(Errno::ENOTDIR.into()) };
            self.0.sync(&open.node, file, data_only)
        });
        empty(synced, reply);
    }

    fn releasedir(
        &self,
        _request: &Request,
        _number: INodeNo,
        handle: FileHandle,
        _flags: OpenFlags,
        reply: ReplyEmpty,
    ) {
        self.0.close(handle);
        reply.ok();
    }

    fn statfs(&self, _request: &Request, _number: INodeNo, reply: ReplyStatfs) {
        match self.0.on(|_| Ok(fstatvfs(&self.0.nodes.get(ROOT)?.place)?)) {
            Ok(stat) => {
                let size = stat.fragment_size().max(1);
                let within = |blocks: u64| self.0.space.free().map_or(blocks, |free| blocks.min(free / size));
                reply.statfs(
                    stat.blocks(),
                    within(stat.blocks_free()),
                    within(stat.blocks_available()),
                    stat.files(),
                    stat.files_free(),
                    u32::try_from(stat.block_size()).unwrap_or(4096),
                    u32::try_from(stat.name_max()).unwrap_or(255),
                    u32::try_from(size).unwrap_or(4096),
                );
            }
            Err(errno) => reply.error(errno),
        }
    }
}

impl Tree {
    /// Makes a name in a directory by a call, owned by whom the request is from.
    fn make(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        make: impl FnOnce(&Node) -> io::Result<()>,
    ) -> Result<FileAttr, fuser::Errno> {
        let disk = &self.0;
        disk.on(|_| {
            let mut journal = disk.journal();
            let directory = disk.nodes.get(parent.0)?;
            make(&directory)?;
            self.made(&mut journal, request, directory, name)
        })
    }

    fn made(
        &self,
        journal: &mut Journal,
        request: &Request,
        directory: Arc<Node>,
        name: &OsStr,
    ) -> io::Result<FileAttr> {
        let (node, stat) = self.0.nodes.look_up(&directory, name, true)?;
        journal.made(Name { directory, name: name.to_owned() }, &node, journal::is_directory(stat.st_mode));
        node.chown(Some(Uid::from_raw(request.uid())), Some(Gid::from_raw(request.gid())))?;
        Ok(attributes(node.number, &node.stat()?))
    }

    fn remove(&self, parent: INodeNo, name: &OsStr, directory: bool) -> Result<(), fuser::Errno> {
        let disk = &self.0;
        disk.on(|_| {
            let mut journal = disk.journal();
            let at = Name { directory: disk.nodes.get(parent.0)?, name: name.to_owned() };
            journal.remove(&disk.nodes, at, directory)
        })
    }
}

fn entry(made: Result<FileAttr, fuser::Errno>, reply: ReplyEntry) {
    match made {
        Ok(attributes) => reply.entry(&BELIEVED, &attributes, Generation(0)),
        Err(errno) => reply.error(errno),
    }
}

fn empty(done: Result<(), fuser::Errno>, reply: ReplyEmpty) {
    match done {
        Ok(()) => reply.ok(),
        Err(errno) => reply.error(errno),
    }
}

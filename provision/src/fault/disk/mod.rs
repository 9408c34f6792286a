//! Faults of a disk: a FUSE file system that passes a folder through, slows it, fills it, fails its reads, and can lose
//! power.
//!
//! Its process ([`command`]) serves one mount and is told what to do through a socket: [`set`], [`cut_power`],
//! [`status`]. A power cut takes the folder back to what was synced, by these rules:
//!
//! - The content and size of a file are durable when it was synced (fsync, fdatasync).
//! - Names and attributes are durable in the order of their changes: syncing a file or directory makes the last change
//!   that touched it durable, and all before it, in whatever directory. So a new file's name is durable with the file,
//!   as on ext4, XFS and btrfs.
//! - Nothing becomes durable by itself: a real disk may have written it, and need not have.
//!
//! Unmounting loses nothing. What was removed but not durably lies beside the folder, in one whose name ends in
//! `.unsynced`, until it is.

#[expect(clippy::module_inception, reason = "the disk of the module disk")]
mod disk;
mod journal;
mod node;
mod space;
mod tree;
mod unsynced;

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use fuser::{Config, INodeNo, MountOption, Notifier, Session, SessionACL};
use nix::mount::{MntFlags, umount2};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::stat::{Mode, umask};
use serde::{Deserialize, Serialize};

use self::disk::Disk;
use self::journal::Stale;
use self::tree::Tree;
use super::control::{self, ControlError};

/// The name that the process is started under.
pub(super) const NAME: &str = "fault-disk";

/// How many requests are served at once, so that a slow one does not keep the others waiting.
const THREADS: usize = 8;

/// What is wrong with a disk. By default nothing is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How much longer each fsync takes.
    pub fsync: Duration,
    /// How much longer each read takes that the kernel cannot answer from memory.
    pub read: Duration,
    /// How much longer each write takes.
    pub write: Duration,
    /// So many bytes can still be allocated, counted from when this is set; then writes fail with ENOSPC.
    pub free: Option<u64>,
    /// Reads that the kernel cannot answer from memory fail with EIO.
    pub read_errors: bool,
}

/// What a power cut would lose, or has lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dropped {
    /// Files whose content or size was changed.
    pub files: usize,
    /// How much of them was overwritten, in bytes. What they grew by is not counted.
    pub bytes: u64,
    /// Changes of names and attributes.
    pub changes: usize,
}

/// How a disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// What is wrong with it.
    pub settings: Settings,
    /// What can still be allocated, in bytes, if that is limited.
    pub free: Option<u64>,
    /// What is not synced.
    pub unsynced: Dropped,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Question {
    Set(Settings),
    CutPower,
    Status,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Answer {
    Done,
    Dropped(Dropped),
    Status(Status),
}

/// The command of the process for one disk: the folder behind it, where it is mounted, and its socket. The process is
/// ready when the socket answers, and ends when it is unmounted, or by SIGTERM or SIGINT, upon which it unmounts
/// itself. `program` is one whose main function calls [`process_main`](crate::fault::process_main).
///
/// Mount it where the host's namespaces do not end with it, and bind it into the host: a disk outlives the power of its
/// host.
#[must_use]
pub fn command(program: &OsStr, folder: &Path, mountpoint: &Path, socket: &Path) -> Command {
    let mut command = Command::new(program);
    command.arg(NAME).arg(folder).arg(mountpoint).arg(socket);
    command
}

/// Makes a disk be so.
///
/// # Errors
/// [`ControlError`]: the process is not there.
pub fn set(socket: &Path, settings: Settings) -> Result<(), ControlError> {
    control::ask::<_, Answer>(socket, &Question::Set(settings)).map(drop)
}

/// Loses what is not synced. Kill what runs on the disk first: what had a file open finds it unusable (EIO) until it
/// opens it again.
///
/// # Errors
/// [`ControlError`]: the process is not there, or could not put everything back; then the folder is not to be trusted.
pub fn cut_power(socket: &Path) -> Result<Dropped, ControlError> {
    match control::ask(socket, &Question::CutPower)? {
        Answer::Dropped(dropped) => Ok(dropped),
        _ => Err(ControlError::unexpected(socket)),
    }
}

/// How a disk is.
///
/// # Errors
/// [`ControlError`]: the process is not there.
pub fn status(socket: &Path) -> Result<Status, ControlError> {
    match control::ask(socket, &Question::Status)? {
        Answer::Status(status) => Ok(status),
        _ => Err(ControlError::unexpected(socket)),
    }
}

/// The process.
pub(super) fn main(arguments: &[OsString]) -> Result<(), String> {
    let [folder, mountpoint, socket] = arguments else {
        return Err(format!("usage: {NAME} FOLDER MOUNTPOINT SOCKET"));
    };
    let (folder, mountpoint, socket) = (Path::new(folder), Path::new(mountpoint), Path::new(socket));
    let at = |path: &Path| {
        let path = path.display().to_string();
        move |error: io::Error| format!("{path}: {error}")
    };
    // Threads inherit the mask, so the signals wait for us.
    let signals: SigSet = [Signal::SIGTERM, Signal::SIGINT].into_iter().collect();
    signals.thread_block().map_err(|errno| errno.to_string())?;
    umask(Mode::empty());
    // Each file that the kernel knows costs a descriptor.
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        setrlimit(Resource::RLIMIT_NOFILE, most, most).ok();
    }
    // The mount of a predecessor that was killed answers nobody.
    if std::fs::metadata(mountpoint).is_err_and(|error| error.raw_os_error() == Some(nix::libc::ENOTCONN)) {
        umount2(mountpoint, MntFlags::MNT_DETACH).map_err(io::Error::from).map_err(at(mountpoint))?;
    }
    let folder = folder.canonicalize().map_err(at(folder))?;
    let graveyard = beside(&folder);
    let disk = Arc::new(Disk::new(&folder, &graveyard).map_err(at(&folder))?);
    let device = |path: &Path| path.metadata().map(|metadata| metadata.dev());
    if device(&folder).map_err(at(&folder))? != device(&graveyard).map_err(at(&graveyard))? {
        return Err(format!("{} must not be a mount point itself: name a folder below it", folder.display()));
    }
    let mut config = Config::default();
    let name = |text: &str| text.to_owned();
    config.mount_options = vec![
        MountOption::FSName(name("seaworthy")),
        MountOption::Subtype(name("disk")),
        MountOption::DefaultPermissions,
        MountOption::NoAtime,
    ];
    config.acl = SessionACL::All;
    config.n_threads = Some(THREADS);
    config.clone_fd = true;
    let session = Session::new(Tree(disk.clone()), mountpoint, &config).and_then(Session::spawn);
    let session = session.map_err(at(mountpoint))?;
    let notifier = session.notifier();
    let listener = control::listen(socket).map_err(at(socket))?;
    let asked = disk.clone();
    std::thread::spawn(move || control::serve(&listener, |question| answer(&asked, &notifier, question)));
    let (ended, end) = mpsc::channel();
    let unmounted = ended.clone();
    std::thread::spawn(move || {
        session.join().ok();
        unmounted.send(())
    });
    let detached = mountpoint.to_owned();
    std::thread::spawn(move || {
        signals.wait().ok();
        // Whoever still uses it finds it gone when we are.
        umount2(&detached, MntFlags::MNT_DETACH).ok();
        ended.send(())
    });
    end.recv().ok();
    disk.keep_all();
    std::fs::remove_dir(&graveyard).ok();
    std::fs::remove_file(socket).ok();
    Ok(())
}

/// Where what was removed from a folder lies until that is durable: on the same file system, or nothing could be moved
/// there.
fn beside(folder: &Path) -> PathBuf {
    let mut path = folder.as_os_str().to_owned();
    path.push(".unsynced");
    path.into()
}

fn answer(disk: &Disk, notifier: &Notifier, question: Question) -> Result<Answer, String> {
    match question {
        Question::Set(settings) => {
            disbelieve(notifier, disk.set(settings));
            Ok(Answer::Done)
        }
        Question::CutPower => {
            let (dropped, stale) = disk.cut().map_err(|error| format!("not everything could be put back: {error}"))?;
            disbelieve(notifier, stale);
            Ok(Answer::Dropped(dropped))
        }
        Question::Status => {
            let settings = disk.settings();
            Ok(Answer::Status(Status { settings, free: disk.space.free(), unsynced: disk.unsynced() }))
        }
    }
}

/// Lets the kernel forget what it remembers of these.
fn disbelieve(notifier: &Notifier, stale: Vec<Stale>) {
    for one in stale {
        // What the kernel does not know it need not forget.
        match one {
            Stale::Name(at) => notifier.inval_entry(INodeNo(at.directory.number), &at.name).ok(),
            Stale::Node(node) => notifier.inval_inode(INodeNo(node.number), 0, 0).ok(),
        };
    }
}

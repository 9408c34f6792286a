//! Faults of disks, by what files hold afterwards.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use seaworthy_provision::fault::disk::{self, Settings};

use crate::lab::Process;

pub(crate) const TRIALS: &[(&str, fn())] = &[
    ("what was synced survives a power cut and nothing else does", power_cut),
    ("syncing a file makes its name durable and what came before, not what came after", ordered),
    ("after any work a power cut leads back to what was synced", any_work),
    ("what was open when the power was cut is dead, and nothing else is", dead_handles),
    ("unmounting loses nothing, and neither does the death of the process", unmounting),
    ("a disk is full at the byte, and has room again when something is deleted", full),
    ("a slow disk is slow and a broken one cannot be read", slow_and_broken),
];

/// A disk that is mounted.
pub(crate) struct Disk {
    process: Option<Process>,
    folder: tempfile::TempDir,
}

impl Disk {
    pub(crate) fn new() -> Option<Self> {
        if !(nix::unistd::geteuid().is_root() && Path::new("/dev/fuse").exists()) {
            crate::required("root and /dev/fuse");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        for name in ["behind", "disk"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let mut disk = Self { process: None, folder };
        disk.mount();
        Some(disk)
    }

    fn mount(&mut self) {
        let program = std::env::current_exe().unwrap();
        let command = disk::command(program.as_os_str(), &self.behind(), &self.at(""), &self.socket());
        self.process = Some(Process::start(command, &self.socket()));
    }

    fn behind(&self) -> PathBuf {
        self.folder.path().join("behind")
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join("disk").join(path)
    }

    fn write(&self, path: &str, content: &[u8]) {
        std::fs::write(self.at(path), content).unwrap();
    }

    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        std::fs::read(self.at(path))
    }

    fn sync(&self, path: &str) {
        File::open(self.at(path)).unwrap().sync_all().unwrap();
    }

    pub(crate) fn cut_power(&self) -> disk::Dropped {
        disk::cut_power(&self.socket()).unwrap()
    }

    pub(crate) fn set(&self, settings: Settings) {
        disk::set(&self.socket(), settings).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(self.process.take());
        nix::mount::umount2(&self.at(""), nix::mount::MntFlags::MNT_DETACH).ok();
    }
}

/// All that a tree holds: kind, mode and content by path.
fn tree(root: &Path) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let mut all = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let metadata = path.symlink_metadata().unwrap();
            let content = match metadata.file_type() {
                kind if kind.is_dir() => {
                    folders.push(path.clone());
                    Vec::new()
                }
                kind if kind.is_symlink() => path.read_link().unwrap().into_os_string().into_encoded_bytes(),
                _ => std::fs::read(&path).unwrap(),
            };
            all.insert(path.strip_prefix(root).unwrap().to_owned(), (metadata.mode(), content));
        }
    }
    all
}

/// Syncs every file and directory, and says what there is then.
fn sync_all(disk: &Disk) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
    let all = tree(&disk.at(""));
    for (path, _) in all.iter().filter(|(_, (mode, _))| mode & nix::libc::S_IFMT != nix::libc::S_IFLNK) {
        disk.sync(path.to_str().unwrap());
    }
    disk.sync("");
    all
}

fn power_cut() {
    let Some(disk) = Disk::new() else { return };
    std::fs::create_dir_all(disk.at("folder/empty")).unwrap();
    disk.write("folder/appended", b"first");
    disk.write("folder/overwritten", &[1; 20_000]);
    disk.write("folder/cut", &[2; 9000]);
    disk.write("folder/removed", b"removed");
    disk.write("folder/moved", b"moved");
    disk.write("folder/onto", b"onto");
    disk.write("folder/mode", b"");
    symlink("target", disk.at("folder/link")).unwrap();
    let synced = sync_all(&disk);
    assert_eq!(disk.cut_power(), disk::Dropped::default());
    assert_eq!(tree(&disk.at("")), synced);

    OpenOptions::new().append(true).open(disk.at("folder/appended")).unwrap().write_all(b", second").unwrap();
    let overwritten = OpenOptions::new().write(true).open(disk.at("folder/overwritten")).unwrap();
    overwritten.write_all_at(&[9; 5000], 3000).unwrap();
    OpenOptions::new().write(true).open(disk.at("folder/cut")).unwrap().set_len(100).unwrap();
    std::fs::remove_file(disk.at("folder/removed")).unwrap();
    std::fs::rename(disk.at("folder/moved"), disk.at("folder/onto")).unwrap();
    std::fs::set_permissions(disk.at("folder/mode"), Permissions::from_mode(0o600)).unwrap();
    std::fs::remove_file(disk.at("folder/link")).unwrap();
    std::fs::remove_dir(disk.at("folder/empty")).unwrap();
    std::fs::create_dir(disk.at("new")).unwrap();
    disk.write("new/file", b"new");
    std::fs::hard_link(disk.at("new/file"), disk.at("new/other")).unwrap();
    // All of it is there and in the kernel's memory until the power is cut.
    assert_eq!(disk.read("folder/appended").unwrap(), b"first, second");
    assert_eq!(disk.at("new/file").metadata().unwrap().nlink(), 2);
    assert_ne!(tree(&disk.at("")), synced);
    let dropped = disk.cut_power();
    assert_eq!(tree(&disk.at("")), synced);
    assert_eq!(tree(&disk.behind()), synced);
    assert_eq!((dropped.files, dropped.changes), (4, 9));

    // fdatasync and O_DSYNC are enough for content.
    let appended = OpenOptions::new().append(true).open(disk.at("folder/appended")).unwrap();
    (&appended).write_all(b", third").unwrap();
    appended.sync_data().unwrap();
    let mut direct = OpenOptions::new();
    direct.write(true).custom_flags(nix::libc::O_DSYNC).open(disk.at("folder/cut")).unwrap().write_all(b"new").unwrap();
    disk.cut_power();
    assert_eq!(disk.read("folder/appended").unwrap(), b"first, third");
    assert!(disk.read("folder/cut").unwrap().starts_with(&[b'n', b'e', b'w', 2]));
}

fn ordered() {
    let Some(disk) = Disk::new() else { return };
    std::fs::create_dir(disk.at("a")).unwrap();
    std::fs::create_dir(disk.at("b")).unwrap();
    disk.write("a/first", b"first");
    disk.write("b/second", b"second");
    disk.write("b/third", b"third");
    disk.sync("b/second");
    disk.cut_power();
    // The name of the first is older than that of the second, but its content was not synced.
    assert_eq!(disk.read("a/first").unwrap(), b"");
    assert_eq!(disk.read("b/second").unwrap(), b"second");
    assert_eq!(disk.read("b/third").unwrap_err().kind(), io::ErrorKind::NotFound);
    // As a careful program replaces a file, and as a careless one does.
    for (path, careful) in [("a/careful", true), ("a/careless", false)] {
        disk.write(path, b"old");
        disk.sync(path);
        disk.write("a/temporary", b"new");
        if careful {
            disk.sync("a/temporary");
        }
        std::fs::rename(disk.at("a/temporary"), disk.at(path)).unwrap();
        disk.sync("a");
        disk.cut_power();
        assert_eq!(disk.read(path).unwrap(), if careful { b"new".to_vec() } else { Vec::new() });
    }
}

fn any_work() {
    let Some(disk) = Disk::new() else { return };
    let mut lost = 0;
    for seed in 0..40 {
        fastrand::seed(seed);
        work(&disk, 20);
        let synced = sync_all(&disk);
        work(&disk, 150);
        lost += disk.cut_power().changes;
        assert_eq!(tree(&disk.at("")), synced, "seed {seed}");
        assert_eq!(tree(&disk.behind()), synced, "seed {seed}");
    }
    assert!(lost > 500, "{lost} changes are too few to prove anything");
}

/// So many random changes; those that cannot be made are not.
fn work(disk: &Disk, steps: usize) {
    let names = ["a", "b", "c", "d", "a/x", "a/y", "b/x", "b/y", "c/x", "a/x/y"];
    for _ in 0..steps {
        let [one, other] = [(); 2].map(|()| disk.at(fastrand::choice(names).unwrap()));
        let content = vec![fastrand::u8(..); fastrand::usize(..10_000)];
        let open = |path: &Path| OpenOptions::new().read(true).write(true).open(path);
        match fastrand::u8(..12) {
            0 | 1 => std::fs::write(&one, &content).ok(),
            2 => open(&one).and_then(|file| file.write_all_at(&content, fastrand::u64(..12_000))).ok(),
            3 => open(&one).and_then(|file| file.set_len(fastrand::u64(..20_000))).ok(),
            4 => std::fs::remove_file(&one).ok(),
            5 => std::fs::remove_dir(&one).ok(),
            6 => std::fs::create_dir(&one).ok(),
            7 => std::fs::rename(&one, &other).ok(),
            8 => std::fs::hard_link(&one, &other).ok(),
            9 => std::fs::set_permissions(&one, Permissions::from_mode(0o400 + u32::from(fastrand::u8(..64)) * 3)).ok(),
            10 => {
                let exchange = nix::fcntl::RenameFlags::RENAME_EXCHANGE;
                nix::fcntl::renameat2(nix::fcntl::AT_FDCWD, &one, nix::fcntl::AT_FDCWD, &other, exchange).ok()
            }
            _ => {
                let zero = FallocateFlags::FALLOC_FL_ZERO_RANGE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
                open(&one).and_then(|file| Ok(fallocate(&file, zero, fastrand::i64(..9000), 3000)?)).ok()
            }
        };
    }
}

fn dead_handles() {
    let Some(disk) = Disk::new() else { return };
    disk.write("file", b"content");
    disk.sync("file");
    let open = OpenOptions::new().read(true).write(true).open(disk.at("file")).unwrap();
    open.write_all_at(b"CONTENT", 0).unwrap();
    disk.cut_power();
    let dead = |result: io::Result<()>| result.unwrap_err().raw_os_error() == Some(Errno::EIO as i32);
    assert!(dead(open.write_all_at(b"x", 0)));
    assert!(dead(open.sync_all()));
    assert_eq!(disk.read("file").unwrap(), b"content");
    disk.write("file", b"again");
    assert_eq!(disk.read("file").unwrap(), b"again");
}

fn unmounting() {
    let Some(mut disk) = Disk::new() else { return };
    disk.write("file", b"content");
    disk.write("removed", b"");
    std::fs::remove_file(disk.at("removed")).unwrap();
    // Others have nothing to do with what was removed, nor with the power.
    for (path, mode) in [(disk.folder.path().join("behind.unsynced"), 0o700), (disk.socket(), 0o600)] {
        assert_eq!(path.metadata().unwrap().mode() & 0o777, mode, "{}", path.display());
    }
    disk.process.take().unwrap().end();
    let left: Vec<_> = std::fs::read_dir(disk.folder.path()).unwrap().map(|one| one.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
    assert_eq!(tree(&disk.behind()).len(), 1);
    // Unmounted by somebody else the process ends, too.
    disk.mount();
    nix::mount::umount(&disk.at("")).unwrap();
    assert!(disk.process.as_mut().unwrap().0.wait().unwrap().success());
    // Killed it leaves a mount that answers nobody, and its successor starts over.
    disk.mount();
    disk.write("file", b"changed");
    std::fs::create_dir(disk.at("folder")).unwrap();
    std::fs::remove_dir(disk.at("folder")).unwrap();
    disk.process = None;
    assert_eq!(disk.read("file").unwrap_err().raw_os_error(), Some(Errno::ENOTCONN as i32));
    disk.mount();
    assert_eq!(disk.read("file").unwrap(), b"changed");
    disk.cut_power();
    assert_eq!(tree(&disk.at("")).len(), 1);
}

fn full() {
    let Some(disk) = Disk::new() else { return };
    let space = |free| disk.set(Settings { free, ..Settings::default() });
    let is_full = |error: io::Error| error.kind() == io::ErrorKind::StorageFull;
    disk.write("before", &[1; 64 << 10]);
    space(Some(1 << 20));
    let status = nix::sys::statvfs::statvfs(&disk.at("")).unwrap();
    assert_eq!(status.blocks_available() * status.fragment_size(), 1 << 20);
    let file = File::create(disk.at("file")).unwrap();
    assert!(is_full((&file).write_all(&vec![1; 2 << 20]).unwrap_err()));
    assert_eq!(file.metadata().unwrap().len(), 1 << 20);
    assert!(is_full(std::fs::write(disk.at("other"), b"x").unwrap_err()));
    // What is there can be overwritten, and what is deleted for good is free.
    OpenOptions::new().write(true).open(disk.at("before")).unwrap().write_all(&[2; 64 << 10]).unwrap();
    drop(file);
    std::fs::remove_file(disk.at("file")).unwrap();
    assert!(is_full(std::fs::write(disk.at("other"), b"x").unwrap_err()));
    disk.sync("");
    disk.write("other", &[1; 512 << 10]);
    space(None);
    disk.write("file", &vec![1; 2 << 20]);
}

fn slow_and_broken() {
    let Some(disk) = Disk::new() else { return };
    disk.write("file", b"content");
    let ms = Duration::from_millis;
    disk.set(Settings { fsync: ms(60), read: ms(50), write: ms(40), ..Settings::default() });
    let took = |act: &dyn Fn()| {
        let began = Instant::now();
        act();
        began.elapsed()
    };
    let file = OpenOptions::new().write(true).open(disk.at("file")).unwrap();
    assert!(took(&|| file.write_all_at(b"x", 0).unwrap()) >= ms(40));
    assert!(took(&|| file.sync_all().unwrap()) >= ms(60));
    assert_eq!(disk::status(&disk.socket()).unwrap().settings.fsync, ms(60));
    disk.set(Settings { read_errors: true, ..Settings::default() });
    assert_eq!(disk.read("file").unwrap_err().raw_os_error(), Some(Errno::EIO as i32));
    disk.set(Settings::default());
    assert_eq!(disk.read("file").unwrap(), b"xontent");
}

//! Mounts, in a mount namespace of our own.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use serde_json::{Value, json};

use super::namespace::unshare;
use super::{At as _, Stuck, Tried};

/// Mounts an overlay of tmpfs directories and writes through it.
pub(super) fn overlay() -> Tried {
    let base = layers(MsFlags::empty())?;
    std::fs::write(base.join("lower/file"), "lower").at("writing the lower layer")?;
    join_layers(base)?;
    std::fs::write(base.join("merged/file"), "upper").at("writing through the overlay")?;
    let copied = std::fs::read(base.join("upper/file")).at("reading the upper layer")?;
    let kept = std::fs::read(base.join("lower/file")).at("reading the lower layer")?;
    if copied == b"upper" && kept == b"lower" {
        Ok(Value::Null)
    } else {
        Err(Stuck { stage: "copying up", errno: Errno::EIO })
    }
}

/// Uses programs, set-user-ID bits and device files through an overlay whose layers are mounted without them. What
/// could not be tried is null.
pub(super) fn overlay_options() -> Tried {
    let base = layers(MsFlags::MS_NOEXEC | MsFlags::MS_NOSUID | MsFlags::MS_NODEV)?;
    let (program, device) = (base.join("lower/program"), base.join("lower/null"));
    let code = shows_user();
    std::fs::write(&program, code.as_deref().unwrap_or_default()).at("writing a program")?;
    let owned = std::os::unix::fs::chown(&program, Some(OTHER), None).is_ok();
    // After the owner: a change of it takes the bit away.
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o4755)).at("making a program")?;
    let has_device = mknod(&device, SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(1, 3)).is_ok();
    join_layers(base)?;
    let (exec, user) = match code.map(|_| Command::new(base.join("merged/program")).status()) {
        Some(Ok(ended)) => (Some(true), ended.code()),
        Some(Err(error)) if error.raw_os_error() == Some(nix::libc::EACCES) => (Some(false), None),
        _ => (None, None),
    };
    // SAFETY: a plain system call that only reads.
    let held = unsafe { nix::libc::prctl(nix::libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) } == 1;
    let suid = user.filter(|_| owned && !held).map(|user| u32::try_from(user) == Ok(OTHER));
    let dev = has_device.then(|| std::fs::read(base.join("merged/null")).is_ok());
    Ok(json!({ "exec": exec, "suid": suid, "dev": dev }))
}

/// A user that is not ours, whose id fits in an exit code.
const OTHER: u32 = 65;

/// A program for Linux that ends with its effective user id as exit code; for architectures that it is written for.
fn shows_user() -> Option<Vec<u8>> {
    let (machine, code): (u16, &[u8]) = match std::env::consts::ARCH {
        // geteuid(); exit(that)
        "x86_64" => (62, b"\xb8\x6b\0\0\0\x0f\x05\x89\xc7\xb8\x3c\0\0\0\x0f\x05"),
        "aarch64" => (183, b"\xe8\x15\x80\xd2\x01\0\0\xd4\xa8\x0b\x80\xd2\x01\0\0\xd4"),
        _ => return None,
    };
    const BASE: u64 = 0x40_0000;
    const HEADS: u64 = 64 + 56;
    let size = HEADS + code.len() as u64;
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let half = |file: &mut Vec<u8>, values: &[u16]| values.iter().for_each(|v| file.extend(v.to_le_bytes()));
    let word = |file: &mut Vec<u8>, values: &[u32]| values.iter().for_each(|v| file.extend(v.to_le_bytes()));
    let long = |file: &mut Vec<u8>, values: &[u64]| values.iter().for_each(|v| file.extend(v.to_le_bytes()));
    // elf(5): an executable of one segment, which may be read and run.
    half(&mut file, &[2, machine]);
    word(&mut file, &[1]);
    long(&mut file, &[BASE + HEADS, 64, 0]);
    word(&mut file, &[0]);
    half(&mut file, &[64, 56, 1, 0, 0, 0]);
    word(&mut file, &[1, 5]);
    long(&mut file, &[0, BASE, BASE, size, size, 0x1_0000]);
    file.extend(code);
    Some(file)
}

/// A tmpfs of our own with the folders of an overlay.
fn layers(options: MsFlags) -> Result<&'static Path, Stuck> {
    unshare(nix::libc::CLONE_NEWNS)?;
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).at("making mounts private")?;
    // Any folder will do, since only this namespace sees what is mounted over it.
    let base = ["/tmp", "/run", "/mnt", "/sys"].into_iter().map(Path::new).find(|path| path.is_dir());
    let base = base.ok_or(Stuck { stage: "finding a folder to mount on", errno: Errno::ENOENT })?;
    mount(Some("tmpfs"), base, Some("tmpfs"), options, none).at("mounting tmpfs")?;
    for name in ["lower", "upper", "work", "merged"] {
        std::fs::create_dir(base.join(name)).at("making folders")?;
    }
    Ok(base)
}

fn join_layers(base: &Path) -> Result<(), Stuck> {
    let base_text = base.display();
    let options = format!("lowerdir={base_text}/lower,upperdir={base_text}/upper,workdir={base_text}/work");
    mount(Some("overlay"), &base.join("merged"), Some("overlay"), MsFlags::empty(), Some(options.as_str()))
        .at("mounting overlay")
}

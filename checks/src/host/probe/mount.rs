//! Mounts, in a mount namespace of our own.

use std::path::Path;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use serde_json::Value;

use super::namespace::unshare;
use super::{At as _, Stuck, Tried};

/// Mounts an overlay of tmpfs directories and writes through it.
pub(super) fn overlay() -> Tried {
    unshare(nix::libc::CLONE_NEWNS)?;
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).at("making mounts private")?;
    // Any folder will do, since only this namespace sees what is mounted over it.
    let base = ["/tmp", "/run", "/mnt", "/sys"].into_iter().map(Path::new).find(|path| path.is_dir());
    let base = base.ok_or(Stuck { stage: "finding a folder to mount on", errno: Errno::ENOENT })?;
    mount(Some("tmpfs"), base, Some("tmpfs"), MsFlags::empty(), none).at("mounting tmpfs")?;
    for name in ["lower", "upper", "work", "merged"] {
        std::fs::create_dir(base.join(name)).at("making folders")?;
    }
    std::fs::write(base.join("lower/file"), "lower").at("writing the lower layer")?;
    let base_text = base.display();
    let options = format!("lowerdir={base_text}/lower,upperdir={base_text}/upper,workdir={base_text}/work");
    mount(Some("overlay"), &base.join("merged"), Some("overlay"), MsFlags::empty(), Some(options.as_str()))
        .at("mounting overlay")?;
    std::fs::write(base.join("merged/file"), "upper").at("writing through the overlay")?;
    let copied = std::fs::read(base.join("upper/file")).at("reading the upper layer")?;
    let kept = std::fs::read(base.join("lower/file")).at("reading the lower layer")?;
    if copied == b"upper" && kept == b"lower" {
        Ok(Value::Null)
    } else {
        Err(Stuck { stage: "copying up", errno: Errno::EIO })
    }
}

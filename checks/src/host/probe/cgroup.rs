//! Control groups: a cgroup of our own, used and removed.

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use serde_json::{Value, json};

use super::{At as _, Stuck, Tried, bpf};

/// A cgroup that is removed when it is dropped.
struct Own(PathBuf);

impl Own {
    fn make(hierarchy: &Path) -> Result<Self, Stuck> {
        let path = hierarchy.join(format!("seaworthy-probe-{}", std::process::id()));
        std::fs::create_dir(&path).at("making a cgroup")?;
        Ok(Self(path))
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// Where a cgroup file system is mounted: version 2, or version 1 with a controller.
fn mounted(controller: Option<&str>) -> Option<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").ok()?;
    mounts.lines().find_map(|line| {
        let fields: Vec<_> = line.split(' ').collect();
        let (point, kind, options) = (fields.get(1)?, fields.get(2)?, fields.get(3)?);
        let wanted = match controller {
            None => *kind == "cgroup2",
            Some(name) => *kind == "cgroup" && options.split(',').any(|option| option == name),
        };
        wanted.then(|| PathBuf::from(point))
    })
}

/// Attaches a device program to a cgroup of version 2; a node with version 1 alone limits devices by that controller.
pub(super) fn device() -> Tried {
    if let Some(hierarchy) = mounted(None) {
        let own = Own::make(&hierarchy)?;
        let fd = File::open(&own.0).at("opening a cgroup")?;
        bpf::attach_device_program(fd.as_raw_fd())?;
        return Ok(json!({ "by": "bpf" }));
    }
    let hierarchy =
        mounted(Some("devices")).ok_or(Stuck { stage: "finding the cgroup file system", errno: Errno::ENOENT })?;
    let own = Own::make(&hierarchy)?;
    std::fs::write(own.0.join("devices.deny"), "a").at("denying devices")?;
    Ok(json!({ "by": "devices controller" }))
}

/// Freezes and thaws a cgroup.
pub(super) fn freezer() -> Tried {
    let wait = |path: PathBuf, wanted: &str| {
        let end = Instant::now() + Duration::from_secs(2);
        loop {
            let text = std::fs::read_to_string(&path).at("reading the state")?;
            if text.lines().any(|line| line.trim() == wanted) {
                return Ok(());
            }
            if Instant::now() > end {
                return Err(Stuck { stage: "freezing", errno: Errno::ETIMEDOUT });
            }
            std::thread::yield_now();
        }
    };
    if let Some(hierarchy) = mounted(Some("freezer")) {
        let own = Own::make(&hierarchy)?;
        std::fs::write(own.0.join("freezer.state"), "FROZEN").at("freezing a cgroup")?;
        wait(own.0.join("freezer.state"), "FROZEN")?;
        std::fs::write(own.0.join("freezer.state"), "THAWED").at("thawing a cgroup")?;
        return Ok(Value::Null);
    }
    let hierarchy = mounted(None).ok_or(Stuck { stage: "finding the cgroup file system", errno: Errno::ENOENT })?;
    let own = Own::make(&hierarchy)?;
    std::fs::write(own.0.join("cgroup.freeze"), "1").at("freezing a cgroup")?;
    wait(own.0.join("cgroup.events"), "frozen 1")?;
    std::fs::write(own.0.join("cgroup.freeze"), "0").at("thawing a cgroup")?;
    Ok(Value::Null)
}

//! The cgroups of hosts, in every hierarchy of version 1 and in that of version 2.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::HostError;

/// A mounted cgroup hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hierarchy {
    /// Where it is mounted.
    pub(super) point: PathBuf,
    /// Version 2, or version 1 with the options that a mount of the same hierarchy takes.
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    V1(String),
    V2,
}

/// The hierarchies of this machine, in the order in which they are mounted.
pub(super) fn hierarchies() -> Vec<Hierarchy> {
    parse(&std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default())
}

fn parse(mountinfo: &str) -> Vec<Hierarchy> {
    let mut found: Vec<Hierarchy> = Vec::new();
    for line in mountinfo.lines() {
        let Some((head, tail)) = line.split_once(" - ") else { continue };
        let (Some(point), mut tail) = (head.split(' ').nth(4), tail.split(' ')) else { continue };
        let kind = match (tail.next(), tail.nth(1)) {
            (Some("cgroup2"), _) => Kind::V2,
            (Some("cgroup"), Some(options)) => {
                let of_hierarchy = |option: &&str| !matches!(*option, "rw" | "ro" | "xattr" | "noprefix");
                let options: Vec<_> = options.split(',').filter(of_hierarchy).collect();
                // A hierarchy without a controller has only a name (cgroups(7)).
                let named = options.iter().all(|option| option.starts_with("name="));
                Kind::V1(if named { format!("none,{}", options.join(",")) } else { options.join(",") })
            }
            _ => continue,
        };
        if !found.iter().any(|one| one.kind == kind) {
            found.push(Hierarchy { point: PathBuf::from(point), kind });
        }
    }
    found
}

/// Moves this process into the cgroup `path` of every hierarchy, which is made if it is not there.
pub(super) fn join(path: &str) -> Result<(), HostError> {
    for hierarchy in hierarchies() {
        let own = hierarchy.point.join(path);
        let made = make(&hierarchy, path).and_then(|()| std::fs::write(own.join("cgroup.procs"), "0"));
        made.map_err(super::file(&own))?;
    }
    Ok(())
}

/// Makes a cgroup, level by level.
fn make(hierarchy: &Hierarchy, path: &str) -> io::Result<()> {
    let mut level = hierarchy.point.clone();
    for part in path.split('/') {
        let parent = level.clone();
        level.push(part);
        if let Err(error) = std::fs::create_dir(&level)
            && error.kind() != io::ErrorKind::AlreadyExists
        {
            return Err(error);
        }
        match &hierarchy.kind {
            // Nobody may enter a cpuset that has no CPUs or no memory (cpuset(7)).
            Kind::V1(options) if options.split(',').any(|option| option == "cpuset") => {
                for name in ["cpuset.cpus", "cpuset.mems"] {
                    if std::fs::read_to_string(level.join(name))?.trim().is_empty() {
                        std::fs::write(level.join(name), std::fs::read(parent.join(name))?)?;
                    }
                }
            }
            Kind::V1(_) => {}
            Kind::V2 => delegate(&parent)?,
        }
    }
    Ok(())
}

/// Gives the children of a version 2 cgroup all controllers that it has.
fn delegate(cgroup: &Path) -> io::Result<()> {
    let controllers = std::fs::read_to_string(cgroup.join("cgroup.controllers"))?;
    let all: Vec<_> = controllers.split_ascii_whitespace().map(|name| format!("+{name}")).collect();
    if all.is_empty() { Ok(()) } else { std::fs::write(cgroup.join("cgroup.subtree_control"), all.join(" ")) }
}

/// In a new cgroup namespace, below `point`: moves this process out of the namespace's root, which in version 2 may
/// have either processes or controllers for its children (cgroups(7), no internal processes).
pub(super) fn step_aside(point: &Path) -> io::Result<()> {
    let own = point.join("agent");
    std::fs::create_dir_all(&own)?;
    std::fs::write(own.join("cgroup.procs"), "0")?;
    // The process that was this one's parent came along, and is there until it has ended.
    let begun = Instant::now();
    loop {
        match delegate(point) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy && begun.elapsed() < Duration::from_secs(5) => {
                std::thread::sleep(Duration::from_millis(1));
            }
            done => return done,
        }
    }
}

/// Puts a process into a cgroup below the host's, as the host sees them.
pub(super) fn put(name: &str, pid: i32) -> io::Result<()> {
    for hierarchy in hierarchies() {
        make(&hierarchy, name)?;
        std::fs::write(hierarchy.point.join(name).join("cgroup.procs"), pid.to_string())?;
    }
    Ok(())
}

/// How long ended processes may take until they have left their cgroup.
const PATIENCE: Duration = Duration::from_mins(1);

/// Removes a cgroup with all below it from every hierarchy. Its processes must have been ended.
///
/// # Errors
/// The cgroup that cannot be removed.
pub fn remove(path: &str) -> Result<(), (PathBuf, io::Error)> {
    for hierarchy in hierarchies() {
        let own = hierarchy.point.join(path);
        let begun = Instant::now();
        // The kernel lets go of a cgroup a moment after its last process ended, and a busy machine ends it late.
        loop {
            match remove_tree(&own) {
                Ok(()) => break,
                Err(_) if begun.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(5)),
                Err(error) => return Err((own, error)),
            }
        }
    }
    Ok(())
}

/// Removes a cgroup that nobody else is below of from every hierarchy.
pub fn remove_empty(path: &str) {
    for hierarchy in hierarchies() {
        // Somebody is: it is theirs to remove.
        std::fs::remove_dir(hierarchy.point.join(path)).ok();
    }
}

fn remove_tree(path: &Path) -> io::Result<()> {
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    for entry in entries.flatten() {
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    std::fs::remove_dir(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_are_read_from_the_mounts() {
        let text = "25 30 0:22 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755\n\
                    26 25 0:23 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\n\
                    27 25 0:24 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n\
                    28 25 0:25 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
                    29 25 0:25 / /mnt/again rw - cgroup cgroup rw,cpu,cpuacct\n";
        let v1 = |point: &str, options: &str| Hierarchy { point: point.into(), kind: Kind::V1(options.into()) };
        assert_eq!(
            parse(text),
            [
                Hierarchy { point: "/sys/fs/cgroup/unified".into(), kind: Kind::V2 },
                v1("/sys/fs/cgroup/systemd", "none,name=systemd"),
                v1("/sys/fs/cgroup/cpu,cpuacct", "cpu,cpuacct"),
            ]
        );
    }
}

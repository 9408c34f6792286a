//! What a cluster takes of the machine: inotify instances, processes, memory and disk, computed before anything is
//! started.
//!
//! A machine that runs out of one of these does not say so: a kubelet without an inotify instance restarts for ever,
//! and its node never comes. The figures are measured on clusters of ours (docs/cluster.md says how), rounded up.

use std::path::{Path, PathBuf};

use super::plan::{Plan, PlannedHost, Role};
use crate::whole;

/// What one host takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Take {
    /// Inotify instances (inotify(7)), which the kernel counts per user.
    inotify: u64,
    /// Threads, which count as processes (proc(5), `threads-max` and `pid_max`).
    threads: u64,
    /// Resident memory in MiB.
    memory: u64,
    /// Disk in MiB.
    disk: u64,
}

/// The agent of a host, and what else every host has.
const HOST: Take = Take { inotify: 0, threads: 12, memory: 12, disk: 8 };
/// etcd, with what it preallocates: a 64 MiB segment of its log, twice.
const ETCD: Take = Take { inotify: 0, threads: 14, memory: 60, disk: 200 };
/// API server, controller-manager and scheduler.
const CONTROL_PLANE: Take = Take { inotify: 13, threads: 40, memory: 480, disk: 16 };
/// containerd, kubelet, kube-proxy, and a pod or two with their shims.
const NODE: Take = Take { inotify: 9, threads: 80, memory: 220, disk: 160 };

/// What is left for others, in MiB of memory and of disk.
const SPARE: (u64, u64) = (256, 1 << 10);

impl std::ops::Add for Take {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            inotify: self.inotify + other.inotify,
            threads: self.threads + other.threads,
            memory: self.memory + other.memory,
            disk: self.disk + other.disk,
        }
    }
}

fn take(plan: &Plan, host: &PlannedHost) -> Take {
    let stacked = plan.spec.etcd_hosts() == 0;
    let of_role = match host.role {
        Role::Etcd => ETCD,
        Role::ControlPlane if stacked => CONTROL_PLANE + ETCD,
        Role::ControlPlane => CONTROL_PLANE,
        Role::Switch | Role::Harbor | Role::Worker => Take::default(),
    };
    let node = plan.nodes().any(|one| one.name == host.name);
    HOST + of_role + if node { NODE } else { Take::default() }
}

/// What the machine has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Machine {
    /// How many inotify instances this user may have, and how many it has.
    inotify: (u64, u64),
    /// How many threads there may be, and how many there are.
    threads: (u64, u64),
    /// Memory that can be had without swapping, in MiB.
    memory: u64,
    /// Room below the cluster's folder, in MiB.
    disk: u64,
}

const INOTIFY: &str = "/proc/sys/fs/inotify/max_user_instances";

fn number(path: &str) -> Option<u64> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

impl Machine {
    /// Reads it. What cannot be read is taken for unlimited.
    pub(super) fn read(folder: &Path) -> Self {
        let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let available = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
        let available = available.and_then(|text| text.trim().trim_end_matches(" kB").parse::<u64>().ok());
        let loadavg = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let threads = loadavg.split_whitespace().nth(3).and_then(|field| field.split_once('/'));
        let most = ["/proc/sys/kernel/threads-max", "/proc/sys/kernel/pid_max"].into_iter().filter_map(number).min();
        let room = folder.ancestors().find_map(|path| nix::sys::statvfs::statvfs(path).ok());
        Self {
            inotify: (number(INOTIFY).unwrap_or(u64::MAX), inotify_instances()),
            threads: (most.unwrap_or(u64::MAX), threads.and_then(|(_, all)| all.parse().ok()).unwrap_or(0)),
            memory: available.map_or(u64::MAX, |kib| kib >> 10),
            disk: room.map_or(u64::MAX, |room| room.blocks_available().saturating_mul(room.fragment_size()) >> 20),
        }
    }
}

/// The inotify instances of this user's processes.
fn inotify_instances() -> u64 {
    let own = nix::unistd::geteuid().as_raw();
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let ours = processes.filter(|entry| {
        let owner = std::os::unix::fs::MetadataExt::uid;
        entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit())
            && entry.metadata().is_ok_and(|meta| owner(&meta) == own)
    });
    let descriptors = ours.flat_map(|entry| std::fs::read_dir(entry.path().join("fd")).into_iter().flatten().flatten());
    let links = descriptors.filter_map(|entry| std::fs::read_link(entry.path()).ok());
    links.filter(|target| target.as_os_str() == "anon_inode:inotify").count() as u64
}

/// A limit that the cluster would reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shortage {
    what: &'static str,
    needed: u64,
    left: u64,
    /// How many hosts of each kind would fit, where fewer would.
    fits: Option<usize>,
    fix: String,
}

impl std::fmt::Display for Shortage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { what, needed, left, fits, fix } = self;
        write!(f, "{what}: this cluster needs {needed}, and {left} are left")?;
        if let Some(fits) = fits {
            write!(f, "; {fits} workers would fit")?;
        }
        write!(f, "; {fix}")
    }
}

/// What of the hosts is still to come: those that are alive have taken theirs.
pub(super) fn shortages(plan: &Plan, machine: &Machine, alive: &dyn Fn(&PlannedHost) -> bool) -> Vec<Shortage> {
    let hosts: Vec<_> = plan.hosts.iter().filter(|host| !alive(host)).collect();
    let total = hosts.iter().fold(Take::default(), |sum, host| sum + take(plan, host));
    let workers = hosts.iter().filter(|host| host.role == Role::Worker).count();
    let worker = HOST + NODE;
    let left = |(most, used): (u64, u64)| most.saturating_sub(used);
    let mut all = Vec::new();
    let mut compare = |what, needed: u64, left: u64, each: u64, fix: String| {
        if needed > left {
            // Without any worker it must fit, or no number of them does.
            let others = needed - each * workers as u64;
            let fits = (workers > 0 && others <= left).then(|| usize::try_from((left - others) / each).unwrap_or(0));
            all.push(Shortage { what, needed, left, fits, fix });
        }
    };
    compare(
        "inotify instances",
        total.inotify,
        left(machine.inotify),
        worker.inotify,
        format!("raise fs.inotify.max_user_instances to {} or more", machine.inotify.1 + total.inotify),
    );
    compare(
        "threads",
        total.threads,
        left(machine.threads),
        worker.threads,
        "raise kernel.threads-max and kernel.pid_max".to_owned(),
    );
    compare(
        "MiB of memory",
        total.memory + if hosts.is_empty() { 0 } else { SPARE.0 },
        machine.memory,
        worker.memory,
        "end other programs, or ask for fewer hosts".to_owned(),
    );
    compare(
        "MiB of disk",
        total.disk + if hosts.is_empty() { 0 } else { SPARE.1 },
        machine.disk,
        worker.disk,
        "make room".to_owned(),
    );
    all
}

/// The file that keeps what fs.inotify.max_user_instances was before a cluster of ours raised it.
fn before(clusters: &Path) -> PathBuf {
    clusters.join(".max_user_instances")
}

/// Raises fs.inotify.max_user_instances to what the cluster needs, where root may, and returns the new value.
/// [`lower`] puts it back.
///
/// # Errors
/// If what it was cannot be kept, or the kernel refuses.
pub(super) fn raise(clusters: &Path, machine: &Machine, shortage: &Shortage) -> std::io::Result<u64> {
    let (was, used) = machine.inotify;
    // Room for what people start beside the cluster.
    let wanted = (used + shortage.needed + 64).next_power_of_two();
    let file = before(clusters);
    if !file.exists() {
        whole::write(&file, format!("{was}\n"), 0o600)?;
    }
    std::fs::write(INOTIFY, wanted.to_string())?;
    Ok(wanted)
}

/// Is it the limit that [`raise`] raises?
pub(super) fn is_raisable(shortage: &Shortage) -> bool {
    shortage.what == "inotify instances" && nix::unistd::geteuid().is_root()
}

/// Puts fs.inotify.max_user_instances back to what it was before the first cluster raised it.
pub(super) fn lower(clusters: &Path) {
    let file = before(clusters);
    if let Some(was) = std::fs::read_to_string(&file).ok().and_then(|text| text.trim().parse::<u64>().ok()) {
        std::fs::write(INOTIFY, was.to_string()).ok();
    }
    std::fs::remove_file(&file).ok();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::spec::ClusterSpec;

    const ROOMY: Machine = Machine { inotify: (8192, 10), threads: (100_000, 200), memory: 1 << 20, disk: 1 << 20 };

    fn plan(workers: usize) -> Plan {
        Plan::new(&ClusterSpec { workers, ..ClusterSpec::default() }, 0).unwrap()
    }

    #[test]
    fn a_roomy_machine_lacks_nothing_and_hosts_that_are_alive_need_no_more() {
        assert_eq!(shortages(&plan(12), &ROOMY, &|_| false), []);
        let full = Machine { inotify: (128, 128), memory: 0, disk: 0, ..ROOMY };
        assert_eq!(shortages(&plan(12), &full, &|_| true), []);
    }

    #[test]
    fn the_number_that_would_fit_is_named() {
        let machine = Machine { inotify: (128, 10), ..ROOMY };
        let short = shortages(&plan(20), &machine, &|_| false);
        assert_eq!(short.len(), 1);
        assert_eq!(short[0].fits, Some(11));
        assert_eq!(shortages(&plan(11), &machine, &|_| false), []);
        let text = short[0].to_string();
        assert!(text.contains("11 workers would fit") && text.contains("max_user_instances to 203"), "{text}");
    }

    #[test]
    fn each_limit_is_compared() {
        for machine in
            [Machine { threads: (300, 290), ..ROOMY }, Machine { memory: 300, ..ROOMY }, Machine { disk: 100, ..ROOMY }]
        {
            let short = shortages(&plan(1), &machine, &|_| false);
            assert_eq!(short.len(), 1, "{machine:?}");
            assert_eq!(short[0].fits, None);
        }
    }
}

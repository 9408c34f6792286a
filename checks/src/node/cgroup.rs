//! Control groups: which version, which controllers, and whether they are handed down.
//!
//! The kubelet calls a node v2 if /sys/fs/cgroup itself is a cgroup2 file system, and v1 otherwise; a hybrid layout is
//! v1 to it.

use std::collections::BTreeMap;

use crate::check::{Check, Judgment, Remedy, Severity};
use crate::conclusion::{Breach, Conclusion};
use crate::construct::{Edit, file};
use crate::fact::Fact;
use crate::host::Host;
use crate::node::View;
use crate::node::boot_loader::with_parameter;

const MOUNTS: &str = "/proc/1/mounts";
const CONTROLLERS: &str = "/sys/fs/cgroup/cgroup.controllers";
const SUBTREE: &str = "/sys/fs/cgroup/cgroup.subtree_control";
const URL: &str = "https://kubernetes.io/docs/concepts/architecture/cgroups/";

/// How control groups are mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Only version 2, at /sys/fs/cgroup.
    V2,
    /// Only version 1.
    V1,
    /// Version 1, with version 2 mounted beside it.
    Hybrid,
}

impl Mode {
    /// The version that the kubelet sees.
    #[must_use]
    pub fn version(self) -> u8 {
        if self == Self::V2 { 2 } else { 1 }
    }
}

/// What is known of control groups.
#[derive(Debug)]
pub struct Facts {
    /// How they are mounted.
    pub mode: Fact<Mode>,
    /// The line of /proc/1/mounts that mounts /sys/fs/cgroup read-only, if one does.
    pub read_only: Fact<Option<u32>>,
    /// Version 1 controllers that are mounted.
    pub v1: Fact<Vec<String>>,
    /// Controllers that the kernel has, and whether they are enabled (/proc/cgroups).
    pub kernel: Fact<BTreeMap<String, bool>>,
    /// Version 2 controllers at the root.
    pub v2: Fact<Vec<String>>,
    /// Version 2 controllers that the root hands down.
    pub handed_down: Fact<Vec<String>>,
}

impl Facts {
    pub(super) fn read(host: &dyn Host) -> Self {
        let mounts = match host.text(MOUNTS) {
            Fact::Known(text) => Fact::Known(text),
            // Another user's process hides its mounts from us; ours are the next best.
            _ => host.text("/proc/mounts"),
        };
        let words = |path: &str| host.text(path).map(|text| text.split_whitespace().map(str::to_owned).collect());
        Self {
            mode: mounts.clone().parse(|text| mode(&text)),
            read_only: mounts.clone().map(|text| read_only(&text)),
            v1: mounts.map(|text| v1_controllers(&text)),
            kernel: host.text("/proc/cgroups").map(|text| kernel_controllers(&text)),
            v2: words(CONTROLLERS),
            handed_down: words(SUBTREE),
        }
    }
}

/// The fields of the cgroup lines of a mounts file: type, mount point, options.
fn cgroup_mounts(mounts: &str) -> impl Iterator<Item = (usize, &str, &str, &str)> {
    mounts.lines().enumerate().filter_map(|(number, line)| {
        let mut fields = line.split(' ').skip(1);
        let (point, kind, options) = (fields.next()?, fields.next()?, fields.next()?);
        (kind == "cgroup" || kind == "cgroup2").then_some((number, kind, point, options))
    })
}

fn mode(mounts: &str) -> Result<Mode, String> {
    let (mut v1, mut v2) = (false, false);
    for (_, kind, point, _) in cgroup_mounts(mounts) {
        if kind == "cgroup2" && point == "/sys/fs/cgroup" {
            return Ok(Mode::V2);
        }
        v1 |= kind == "cgroup";
        v2 |= kind == "cgroup2";
    }
    match (v1, v2) {
        (true, true) => Ok(Mode::Hybrid),
        (true, false) => Ok(Mode::V1),
        (false, true) => Err("cgroup2 is mounted, and not at /sys/fs/cgroup".to_owned()),
        (false, false) => Err(format!("{MOUNTS}: no cgroup file system is mounted")),
    }
}

fn read_only(mounts: &str) -> Option<u32> {
    let read_only = |options: &str| options.split(',').any(|option| option == "ro");
    cgroup_mounts(mounts)
        .find(|(_, _, point, options)| point.starts_with("/sys/fs/cgroup") && read_only(options))
        .and_then(|(number, ..)| u32::try_from(number + 1).ok())
}

fn v1_controllers(mounts: &str) -> Vec<String> {
    cgroup_mounts(mounts)
        .filter(|(_, kind, ..)| *kind == "cgroup")
        .flat_map(|(_, _, _, options)| options.split(',').map(str::to_owned))
        .collect()
}

/// Lines of `name hierarchy number enabled`, behind a head.
fn kernel_controllers(text: &str) -> BTreeMap<String, bool> {
    let line = |line: &str| {
        let mut fields = line.split_whitespace();
        let name = fields.next()?.to_owned();
        Some((name, fields.nth(2)? == "1"))
    };
    text.lines().filter(|line| !line.starts_with('#')).filter_map(line).collect()
}

struct Controller {
    name: &'static str,
    /// Its name in version 2; empty where it is no controller there.
    v2: &'static str,
    severity: Severity,
    why: &'static str,
    basis: &'static str,
}

const ROWS: &[Controller] = &[
    Controller {
        name: "cpu",
        v2: "cpu",
        severity: Severity::High,
        why: "CPU requests and limits are set with it.",
        basis: "system-validators: CGROUPS_CPU",
    },
    Controller {
        name: "cpuset",
        v2: "cpuset",
        severity: Severity::High,
        why: "Containers are pinned to CPUs with it; the static CPU manager policy needs it.",
        basis: "system-validators: CGROUPS_CPUSET",
    },
    Controller {
        name: "memory",
        v2: "memory",
        severity: Severity::High,
        why: "Memory limits are set, and out-of-memory kills contained, with it.",
        basis: "system-validators: CGROUPS_MEMORY",
    },
    Controller {
        name: "pids",
        v2: "pids",
        severity: Severity::High,
        why: "podPidsLimit is set with it.",
        basis: "system-validators: CGROUPS_PIDS",
    },
    Controller {
        name: "cpuacct",
        v2: "",
        severity: Severity::High,
        why: "CPU use of pods is counted with it in version 1.",
        basis: "system-validators: CGROUPS_CPUACCT",
    },
    Controller {
        name: "devices",
        v2: "",
        severity: Severity::High,
        why: "Containers are kept from the node's devices with it in version 1; version 2 does it with BPF.",
        basis: "system-validators: CGROUPS_DEVICES",
    },
    Controller {
        name: "freezer",
        v2: "",
        severity: Severity::High,
        why: "Containers are paused with it in version 1; version 2 has it built in.",
        basis: "system-validators: CGROUPS_FREEZER",
    },
    Controller {
        name: "hugetlb",
        v2: "hugetlb",
        severity: Severity::Low,
        why: "Huge pages are limited with it.",
        basis: "system-validators: CGROUPS_HUGETLB (optional)",
    },
    Controller {
        name: "blkio",
        v2: "io",
        severity: Severity::Low,
        why: "Disk bandwidth of pods is limited with it.",
        basis: "system-validators: CGROUPS_BLKIO (optional)",
    },
];

fn judge_controller(row: &Controller, view: &View<'_>) -> Judgment {
    let facts = &view.facts.cgroup;
    if facts.mode.need("cgroup version")?.version() == 2 {
        if row.v2.is_empty() {
            return Ok(Conclusion::not_applicable("cgroup version 2 has no such controller: its work is built in"));
        }
        let controllers = facts.v2.need("version 2 controllers")?;
        let seen = controllers.join(" ");
        if controllers.iter().any(|name| name == row.v2) {
            return Ok(Conclusion::holds().because(CONTROLLERS, seen));
        }
        let breach = Breach::new(row.v2, format!("the root cgroup does not have the {} controller", row.v2));
        return Ok(Conclusion::breach(breach.found(seen).at(CONTROLLERS, None)));
    }
    let mounted = facts.v1.need("version 1 controllers")?;
    if mounted.iter().any(|name| name == row.name) {
        return Ok(Conclusion::holds().because(MOUNTS, format!("{} is mounted", row.name)));
    }
    let why = match facts.kernel.need("the kernel's controllers")?.get(row.name) {
        None => format!("the kernel has no {} controller", row.name),
        Some(false) => {
            format!("the {} controller is disabled, as cgroup_disable= on the kernel command line does", row.name)
        }
        Some(true) => format!("the {} controller is not mounted", row.name),
    };
    Ok(Conclusion::breach(Breach::new(row.name, why).at("/proc/cgroups", None)))
}

fn controller(row: &'static Controller) -> Check {
    let check = Check::new(
        format!("node.cgroup.controller.{}", row.name),
        format!("the {} cgroup controller is there", row.name),
        |view| judge_controller(row, view),
    )
    .severity(row.severity)
    .label("cgroup")
    .label("kernel")
    .alias(format!("CGROUPS_{}", row.name.to_uppercase()))
    .page(row.why, "Reads the mounts and /proc/cgroups (version 1), or cgroup.controllers at the root (version 2).")
    .basis(row.basis, "https://github.com/kubernetes/system-validators")
    .remedy(Remedy::new(format!(
        "Remove {} from cgroup_disable= on the kernel command line, or use a kernel that has the controller.",
        row.name
    )));
    // Debian's kernels and those of Raspberry Pi OS have it, off by default.
    let ways = with_parameter("Enable the memory controller.", "cgroup_enable=memory").into_iter();
    let check = ways.filter(|_| row.name == "memory").fold(check, Check::remedy);
    if row.v2.is_empty() {
        check.good(v1(&all_v1())).bad(v1(&all_v1().into_iter().filter(|name| *name != row.name).collect::<Vec<_>>()))
    } else {
        let rest: Vec<_> =
            ROWS.iter().map(|other| other.v2).filter(|name| !name.is_empty() && *name != row.v2).collect();
        check.bad([file(CONTROLLERS, rest.join(" "))])
    }
}

fn all_v1() -> Vec<&'static str> {
    ROWS.iter().map(|row| row.name).collect()
}

/// The edits that make the reference node one with these version 1 controllers.
fn v1(controllers: &[&str]) -> Vec<Edit> {
    let mounts = controllers.iter().map(|name| format!("cgroup /sys/fs/cgroup/{name} cgroup rw,relatime,{name} 0 0\n"));
    let kernel = controllers.iter().map(|name| format!("{name} 1 1 1\n"));
    vec![file(MOUNTS, mounts.collect::<String>()), file("/proc/cgroups", kernel.collect::<String>())]
}

const TO_V2: &str = "Boot with cgroup version 2, the default of current distributions.";

/// The ways to version 2, by distribution.
trait ToV2 {
    fn to_v2(self) -> Self;
}

impl ToV2 for Check {
    fn to_v2(self) -> Self {
        let ways = with_parameter(TO_V2, "systemd.unified_cgroup_hierarchy=1");
        ways.into_iter().fold(self, Check::remedy)
    }
}

fn judge_version(view: &View<'_>, consequence: &str) -> Judgment {
    let mode = *view.facts.cgroup.mode.need("cgroup version")?;
    Ok(match mode {
        Mode::V2 => Conclusion::holds().because("cgroup", "version 2 at /sys/fs/cgroup"),
        Mode::V1 | Mode::Hybrid => {
            let found = if mode == Mode::V1 { "version 1" } else { "a hybrid: version 1, with version 2 beside it" };
            let breach = Breach::new("cgroup", format!("the node uses cgroup version 1: {consequence}"));
            Conclusion::breach(breach.found(found).wanted("version 2 at /sys/fs/cgroup").at(MOUNTS, None))
        }
    })
}

/// The family's checks.
pub(super) fn checks() -> Vec<Check> {
    let mut checks = vec![
        Check::new("node.cgroup.v2-required", "the node uses cgroup version 2, as the kubelet demands", |view| {
            judge_version(view, "this kubelet refuses to start unless failCgroupV1 is false")
        })
        .versions(35..=u32::MAX)
        .label("cgroup")
        .alias("CgroupV1")
        .alias("failCgroupV1")
        .page(
            "From 1.35 the kubelet refuses cgroup version 1 by default (failCgroupV1).",
            "Looks for a cgroup2 file system at /sys/fs/cgroup, as the kubelet does.",
        )
        .basis("KEP-5573: remove cgroup v1 support", URL)
        .to_v2()
        .remedy(
            Remedy::new("Until the node can be changed, allow version 1 in the kubelet's configuration.")
                .when("cgroup version 1 cannot be left yet")
                .persist("/var/lib/kubelet/config.yaml", "failCgroupV1: false\n"),
        )
        .bad(v1(&all_v1())),
        Check::new(
            "node.cgroup.v2-recommended",
            "the node uses cgroup version 2, which alone is developed further",
            |view| judge_version(view, "it is in maintenance since 1.31, and refused by default from 1.35"),
        )
        .severity(Severity::Medium)
        .versions(31..=34)
        .label("cgroup")
        .alias("cgroup-v1-maintenance")
        .page(
            "Version 1 gets no new features since 1.31; MemoryQoS, swap and PSI need version 2.",
            "Looks for a cgroup2 file system at /sys/fs/cgroup, as the kubelet does.",
        )
        .basis("KEP-4569: moving cgroup v1 into maintenance mode", URL)
        .to_v2()
        .bad(v1(&all_v1()))
        .example_profile(|profile| profile.kubernetes = crate::KubernetesVersion(33)),
        Check::new("node.cgroup.one-version", "control groups are not mounted in both versions at once", |view| {
            let mode = *view.facts.cgroup.mode.need("cgroup version")?;
            Ok(match mode {
                Mode::Hybrid => Conclusion::breach(
                    Breach::new(
                        "cgroup",
                        "versions 1 and 2 are both mounted: the kubelet takes this for version 1, and tools disagree",
                    )
                    .at(MOUNTS, None),
                ),
                mode => Conclusion::holds().because("cgroup", format!("version {} alone", mode.version())),
            })
        })
        .severity(Severity::Low)
        .label("cgroup")
        .alias("cgroup-hybrid")
        .page(
            "A controller is in one hierarchy only; in a hybrid layout what is in version 2 is out of the kubelet's \
             reach.",
            "Looks for cgroup and cgroup2 file systems among the mounts.",
        )
        .basis("cgroups(7): mounting", "https://man7.org/linux/man-pages/man7/cgroups.7.html")
        .to_v2()
        .bad([file(
            MOUNTS,
            "cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n",
        )]),
        Check::new("node.cgroup.writable", "the cgroup file systems are mounted for writing", |view| {
            Ok(match view.facts.cgroup.read_only.need("cgroup mounts")? {
                None => Conclusion::holds(),
                Some(line) => Conclusion::breach(
                    Breach::new(
                        "/sys/fs/cgroup",
                        "a cgroup file system is mounted read-only: the kubelet cannot make cgroups",
                    )
                    .at(MOUNTS, Some(*line)),
                ),
            })
        })
        .label("cgroup")
        .alias("cgroup-ro")
        .page("The kubelet makes a cgroup for each pod.", "Looks for the option ro among the cgroup mounts.")
        .basis("kubelet: cgroupRoot", URL)
        .remedy(
            Remedy::new("Mount it for writing; in a container or VM image, find what mounts it read-only.")
                .command("mount -o remount,rw /sys/fs/cgroup"),
        )
        .bad([file(MOUNTS, "cgroup2 /sys/fs/cgroup cgroup2 ro,relatime 0 0\n")]),
        Check::new("node.cgroup.handed-down", "the root cgroup hands cpu, memory and pids down", |view| {
            if view.facts.cgroup.mode.need("cgroup version")?.version() == 1 {
                return Ok(Conclusion::not_applicable("cgroup version 1 has no subtree control"));
            }
            let handed = view.facts.cgroup.handed_down.need("subtree control")?;
            let missing: Vec<_> =
                ["cpu", "memory", "pids"].into_iter().filter(|name| !handed.iter().any(|have| have == name)).collect();
            let breach = |name: &&str| {
                Breach::new(*name, format!("the root cgroup does not hand {name} down")).at(SUBTREE, Some(1))
            };
            Ok(Conclusion::from_breaches(missing.iter().map(breach).collect()).because(SUBTREE, handed.join(" ")))
        })
        .severity(Severity::Medium)
        .label("cgroup")
        .alias("cgroup.subtree_control")
        .page(
            "In version 2 a controller works in a child only if its parent hands it down. The kubelet and systemd do \
             so for their own; a root that does not shows that something else holds the tree.",
            "Reads cgroup.subtree_control at the root.",
        )
        .basis(
            "kernel documentation: cgroup v2, enabling and disabling",
            "https://docs.kernel.org/admin-guide/cgroup-v2.html",
        )
        .remedy(
            Remedy::new("Hand the controllers down.")
                .command("echo '+cpu +memory +pids' > /sys/fs/cgroup/cgroup.subtree_control"),
        )
        .bad([file(SUBTREE, "cpu\n")]),
    ];
    checks.extend(ROWS.iter().map(controller));
    checks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layouts_are_told_apart() {
        let v1 = "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n";
        let v2 = |point: &str| format!("cgroup2 {point} cgroup2 rw 0 0\n");
        assert_eq!(mode(v1), Ok(Mode::V1));
        assert_eq!(mode(&v2("/sys/fs/cgroup")), Ok(Mode::V2));
        assert_eq!(mode(&format!("{v1}{}", v2("/sys/fs/cgroup/unified"))), Ok(Mode::Hybrid));
        assert!(mode("").is_err() && mode("garbage\n\0 \u{fffd}").is_err());
    }
}

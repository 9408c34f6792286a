//! Disks: room, file systems and how they are mounted, and how long they take to keep what etcd writes.

mod mounts;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::check::{Check, Judgment, Remedy, Severity};
use crate::conclusion::{Breach, Conclusion, Verdict};
use crate::construct::{Edit, file, replace, value};
use crate::fact::Fact;
use crate::host::{FileSystem, Host, Probe, Query, Reply};
use crate::node::View;
use crate::profile::Role;
pub use mounts::Mount;
use mounts::{MOUNTS, NETWORK_OR_MEMORY};

const KUBELET: &str = "/var/lib/kubelet";
const CONTAINERD: &str = "/var/lib/containerd";
const ETCD: &str = "/var/lib/etcd";
const FLEX_VOLUME: &str = "/usr/libexec/kubernetes/kubelet-plugins/volume/exec";
const EVICTION: &str = "https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/";
const HARDWARE: &str = "https://etcd.io/docs/latest/op-guide/hardware/";
const OVERLAY: &str = "https://docs.kernel.org/filesystems/overlayfs.html";
const TROUBLE: &str = "https://kubernetes.io/docs/setup/production-environment/tools/kubeadm/troubleshooting-kubeadm/";
const MIB: u64 = 1 << 20;

/// What is known of the disks.
#[derive(Debug)]
pub struct Facts {
    /// The mounts that the first process sees.
    pub mounts: Fact<Vec<Mount>>,
    /// The file system of each directory that Kubernetes fills, or of its nearest parent that is there: with that path.
    rooms: BTreeMap<String, Fact<(String, FileSystem)>>,
    /// fsync latency, tried.
    fsync: Fact<Arc<Value>>,
    /// What works through an overlay over a disk that is mounted without it, tried.
    overlay: Fact<Arc<Value>>,
}

impl Facts {
    /// `stores` are where the runtimes keep images and containers.
    pub(super) fn read(host: &dyn Host, stores: &[String]) -> Self {
        let mounts = match host.text(MOUNTS) {
            Fact::Known(text) => Fact::Known(text),
            // Another user's process hides its mounts from us; ours are the next best.
            _ => host.text("/proc/self/mountinfo"),
        };
        Self {
            mounts: mounts.parse(|text| mounts::parse(&text)),
            rooms: [KUBELET, ETCD]
                .into_iter()
                .chain(stores.iter().map(String::as_str))
                .map(|path| (path.to_owned(), room(host, path)))
                .collect(),
            fsync: host.value(&Query::Probe { probe: Probe::Fsync }),
            overlay: host.value(&Query::Probe { probe: Probe::OverlayOptions }),
        }
    }

    fn room(&self, path: &str) -> Result<&(String, FileSystem), crate::Inconclusive> {
        match self.rooms.get(path) {
            Some(fact) => fact.need(path),
            None => Err(crate::Inconclusive::new(format!("{path} was not looked at"))),
        }
    }

    /// The mount that holds a path: the longest mount point that leads to it, the last of equals.
    fn mount(&self, path: &str) -> Result<Option<&Mount>, crate::Inconclusive> {
        let holds = |mount: &&Mount| {
            let point = mount.point.trim_end_matches('/');
            path.strip_prefix(point).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        Ok(self.mounts.need("mounts")?.iter().filter(holds).max_by_key(|mount| mount.point.len()))
    }
}

fn room(host: &dyn Host, path: &str) -> Fact<(String, FileSystem)> {
    let mut place = path;
    loop {
        match host.file_system(place) {
            Fact::Absent(_) if place != "/" => {
                place = place.rfind('/').map_or("/", |cut| if cut == 0 { "/" } else { &place[..cut] });
            }
            fact => return fact.map(|room| (place.to_owned(), room)),
        }
    }
}

fn judge_type(view: &View<'_>, path: &str, unfit: &[&str], message: &str) -> Judgment {
    let (place, room) = view.facts.disk.room(path)?;
    let name = NETWORK_OR_MEMORY.iter().find(|(magic, _)| *magic == room.magic).map(|(_, name)| *name);
    Ok(match name {
        Some(name) if unfit.contains(&name) => {
            let breach = Breach::new(path, format!("{place} is on {name}, on which {message}"));
            Conclusion::breach(breach.found(name).wanted("a local disk: ext4 or xfs").at(place, None))
        }
        _ => Conclusion::holds().because(place, name.map_or_else(|| format!("type {:#x}", room.magic), str::to_owned)),
    })
}

fn judge_room(view: &View<'_>, path: &str, percent: u64, bytes: u64, what: &str) -> Judgment {
    let (place, room) = view.facts.disk.room(path)?;
    let wanted = (room.size / 100 * percent).max(bytes);
    let found = format!("{} MiB of {} MiB free", room.available / MIB, room.size / MIB);
    Ok(if room.available >= wanted {
        Conclusion::holds().because(place, found)
    } else {
        let breach = Breach::new(path, format!("{place} has little room: {what}"));
        Conclusion::breach(breach.found(found).wanted(format!("{} MiB free", wanted / MIB)).at(place, None))
    })
}

/// Where the node's runtime keeps images and containers.
fn images(view: &View<'_>) -> String {
    view.facts.runtime.image_store(view.profile)
}

/// The mount of a path, if it has this option.
fn mounted_with<'v>(view: &View<'v>, path: &str, option: &str) -> Result<Option<&'v Mount>, crate::Inconclusive> {
    let mount = view.facts.disk.mount(path)?;
    Ok(mount.filter(|mount| mount.options.iter().any(|known| known == option)))
}

fn without_option(path: &str, mount: &Mount, option: &str, why: &str) -> Breach {
    let message = format!("{path} is on {}, which is mounted {option}: {why}", mount.point);
    let point = &mount.point;
    let fix = Remedy::new(format!("Mount {point} without {option}, now and, by its line in /etc/fstab, at boot."))
        .command(format!("mount -o remount,{} {point}", option.trim_start_matches("no")))
        .command(format!("sed -i -E '\\#[[:space:]]{point}[[:space:]]#s/,{option}\\b|\\b{option},//g' /etc/fstab"));
    let breach = Breach::new(path, message).found(mount.options.join(",")).wanted(format!("without {option}"));
    breach.at(MOUNTS, Some(mount.line)).remedy(fix)
}

/// Containers on a disk that is mounted with an option. An overlay is a file system of its own, whose options are not
/// those of the disk that its layers are on: what the kernel at hand makes of it was tried.
fn judge_layers(view: &View<'_>, option: &str, tried: &str, why: &str) -> Judgment {
    let path = &images(view);
    let Some(mount) = mounted_with(view, path, option)? else { return Ok(Conclusion::holds()) };
    let seen = view.facts.disk.overlay.need("an overlay on such a disk")?;
    Ok(match seen.pointer(&format!("/detail/{tried}")).and_then(Value::as_bool) {
        Some(true) => {
            Conclusion::holds().because(path, format!("on {}, {option}; an overlay ignores that", mount.point))
        }
        Some(false) => Conclusion::breach(without_option(path, mount, option, why)),
        None => {
            Conclusion::undetermined(format!("{path} is mounted {option}, and an overlay there could not be tried"))
        }
    })
}

fn judge_no_exec(view: &View<'_>) -> Judgment {
    let mut breaches = Vec::new();
    // What is started from the disk itself, with no overlay between.
    for (path, severity, why) in [
        ("/opt/cni/bin", Severity::High, "no CNI plug-in can be started"),
        (KUBELET, Severity::Medium, "programs and scripts in pods' volumes cannot be started"),
    ] {
        if let Some(mount) = mounted_with(view, path, "noexec")? {
            breaches.push(without_option(path, mount, "noexec", why).severity(severity));
        }
    }
    match judge_layers(view, "noexec", "exec", "no program of a container can be started") {
        Ok(Conclusion { verdict: Verdict::Breached(more), .. }) => breaches.extend(more),
        Ok(rest) if breaches.is_empty() => return Ok(rest),
        Err(why) if breaches.is_empty() => return Err(why),
        _ => {}
    }
    Ok(Conclusion::from_breaches(breaches))
}

fn judge_flex_volume(view: &View<'_>) -> Judgment {
    let kubelet = view.facts.kubelet.effective(view.profile)?;
    let folder = kubelet.as_ref().and_then(|kubelet| kubelet.text(&["volumePluginDir"])).unwrap_or(FLEX_VOLUME);
    let mount = view.facts.disk.mount(folder)?;
    Ok(match mount.filter(|mount| mount.options.iter().any(|option| option == "ro")) {
        None => Conclusion::holds().because("flex-volume directory", folder),
        Some(mount) => {
            let message = format!("{folder} is on {}, which is read-only: the kubelet cannot make it", mount.point);
            let breach = Breach::new(folder, message).found("ro").wanted("a directory that may be written");
            Conclusion::breach(breach.at(MOUNTS, Some(mount.line)))
        }
    })
}

fn judge_fsync(view: &View<'_>) -> Judgment {
    let seen = view.facts.disk.fsync.need("fsync latency")?;
    if seen.get("works").and_then(Value::as_bool) != Some(true) {
        let text = |key: &str| seen.get(key).and_then(Value::as_str).unwrap_or("?");
        return Ok(Conclusion::undetermined(format!("{} gives {}", text("stage"), text("errno"))));
    }
    let micros = |key: &str| seen.pointer(&format!("/detail/{key}")).and_then(Value::as_u64);
    let path = seen.pointer("/detail/path").and_then(Value::as_str).unwrap_or(ETCD);
    let (Some(p50), Some(p99)) = (micros("p50"), micros("p99")) else {
        return Ok(Conclusion::undetermined("the answer of the probe has no latencies"));
    };
    let millis = |micros: u64| format!("{}.{:02} ms", micros / 1000, micros % 1000 / 10);
    Ok(if p99 < 10_000 {
        Conclusion::holds().because(path, format!("median {}, 99th percentile {}", millis(p50), millis(p99)))
    } else {
        let breach = Breach::new(path, "the disk is too slow for etcd: leaders will be lost and requests time out");
        Conclusion::breach(
            breach.found(format!("99th percentile {}", millis(p99))).wanted("below 10 ms").at(path, None),
        )
    })
}

fn has_room(path: &str, edit: impl FnOnce(&mut FileSystem)) -> Edit {
    let mut room = FileSystem {
        magic: 0xef53,
        size: 40 << 30,
        available: 30 << 30,
        inodes: 2_621_440,
        inodes_free: 2_500_000,
        read_only: false,
    };
    edit(&mut room);
    Edit::Answer(Query::StatFs { path: path.to_owned() }, Ok(Reply::FileSystem(room)))
}

fn mounted(line: &str) -> Edit {
    replace(MOUNTS, "24 1 8:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw\n", line)
}

/// A kernel whose overlays keep an option of the disk.
fn overlay_refuses(what: &str) -> Edit {
    let mut detail = json!({ "exec": true, "suid": true, "dev": true });
    detail[what] = false.into();
    let answer = json!({ "works": true, "stage": "", "errno": "", "detail": detail });
    value(Query::Probe { probe: Probe::OverlayOptions }, answer)
}

/// The family's checks.
pub(super) fn checks() -> Vec<Check> {
    let little = "the kubelet would soon evict pods";
    vec![
        Check::new("node.disk.room", "there is room for the kubelet's data", move |view| {
            judge_room(view, KUBELET, 10, 1800 * MIB, little)
        })
        .label("disk")
        .alias("nodefs.available")
        .alias("diskUsage")
        .page(
            "Below 10 % free (nodefs.available) the kubelet evicts pods and taints the node.",
            "Asks the file system of /var/lib/kubelet, or of the nearest directory above it, for at least 10 % and \
             1800 MiB.",
        )
        .basis("Kubernetes: node-pressure eviction; k0s sysinfo", EVICTION)
        .remedy(
            Remedy::new("Give the disk more room, or remove what fills it.")
                .command("du -xh --max-depth=2 /var | sort -h | tail"),
        )
        .bad([has_room(KUBELET, |room| room.available = 3 << 30)]),
        Check::new("node.disk.image-room", "there is room for images and containers", move |view| {
            judge_room(view, &images(view), 15, 2048 * MIB, little)
        })
        .label("disk")
        .alias("imagefs.available")
        .page(
            "Below 15 % free (imagefs.available) the kubelet removes images and evicts pods.",
            "Asks the file system of the runtime's data for at least 15 % and 2 GiB.",
        )
        .basis("Kubernetes: node-pressure eviction", EVICTION)
        .remedy(
            Remedy::new("Give the disk more room, or remove images that nothing uses.").command("crictl rmi --prune"),
        )
        .bad([has_room(CONTAINERD, |room| room.available = 5 << 30)]),
        Check::new("node.disk.etcd-room", "there is room for etcd's data", |view| {
            judge_room(
                view,
                ETCD,
                10,
                4096 * MIB,
                "etcd's database grows to its quota (2 GiB unless told otherwise), and is copied when it is \
                 defragmented",
            )
        })
        .severity(Severity::Medium)
        .roles([Role::ControlPlane, Role::Etcd])
        .label("disk")
        .alias("quota-backend-bytes")
        .page(
            "A full disk stops etcd, and with it every change of the cluster.",
            "Asks the file system of /var/lib/etcd for at least 10 % and twice etcd's default quota.",
        )
        .basis("etcd: hardware recommendations", HARDWARE)
        .remedy(Remedy::new("Give etcd a disk of its own, mounted at /var/lib/etcd."))
        .bad([has_room(ETCD, |room| room.available = 1 << 30)]),
        Check::new("node.disk.inodes", "there are inodes left for the kubelet and the runtime", |view| {
            let mut breaches = Vec::new();
            for path in [KUBELET, &images(view)] {
                let (place, room) = view.facts.disk.room(path)?;
                // btrfs, and some others, have no fixed number.
                if room.inodes > 0 && room.inodes_free < room.inodes / 20 {
                    let breach =
                        Breach::new(path, format!("{place} has few inodes left: the kubelet would evict pods"));
                    let found = format!("{} of {} free", room.inodes_free, room.inodes);
                    breaches.push(breach.found(found).wanted("5 % free").at(place, None));
                }
            }
            Ok(Conclusion::from_breaches(breaches))
        })
        .label("disk")
        .alias("nodefs.inodesFree")
        .page(
            "Images are many small files: a disk can be out of inodes with room left. The kubelet evicts below 5 % \
             (nodefs.inodesFree).",
            "Asks the file systems of /var/lib/kubelet and of the runtime's data.",
        )
        .basis("Kubernetes: node-pressure eviction", EVICTION)
        .remedy(Remedy::new(
            "Remove small files that nothing uses, or make the file system anew with more inodes (mkfs.ext4 -N).",
        ))
        .bad([has_room(KUBELET, |room| room.inodes_free = 100)]),
        Check::new("node.disk.writable", "the directories that Kubernetes fills may be written", |view| {
            let mut breaches = Vec::new();
            for path in [KUBELET, &images(view), ETCD] {
                if path == ETCD && view.profile.role == Role::Worker {
                    continue;
                }
                let (place, room) = view.facts.disk.room(path)?;
                let mount = view.facts.disk.mount(path)?;
                // Seen through a read-only bind mount of the node's root, every file system is read-only: the node's
                // own table decides.
                let read_only = mount.map_or(room.read_only, |mount| mount.options.iter().any(|option| option == "ro"));
                if read_only {
                    breaches.push(
                        Breach::new(path, format!("{place} is on a read-only file system"))
                            .found("ro")
                            .wanted("rw")
                            .at(place, None),
                    );
                }
            }
            Ok(Conclusion::from_breaches(breaches))
        })
        .severity(Severity::Critical)
        .label("disk")
        .alias("ReadonlyFilesystem")
        .page(
            "A disk with errors is remounted read-only by the kernel; nothing starts then.",
            "Reads the mount options in /proc/1/mountinfo.",
        )
        .basis("node-problem-detector: ReadonlyFilesystem", "https://github.com/kubernetes/node-problem-detector")
        .remedy(
            Remedy::new("Look for disk errors; then repair and remount.")
                .command("dmesg -T | grep -iE 'i/o error|remount'"),
        )
        .bad([mounted("24 1 8:1 / / ro,relatime shared:1 - ext4 /dev/vda1 ro\n")]),
        Check::new("node.disk.etcd-type", "etcd's data is on a local disk", |view| {
            judge_type(
                view,
                ETCD,
                &["NFS", "CIFS", "SMB2", "FUSE", "9p", "tmpfs", "ramfs"],
                "etcd is slow, or loses what it promised to keep",
            )
        })
        .roles([Role::ControlPlane, Role::Etcd])
        .label("disk")
        .alias("etcd on NFS")
        .page(
            "etcd answers for data that fsync made durable: network file systems and memory do not keep that promise, \
             or not fast.",
            "Asks the file system of /var/lib/etcd for its type.",
        )
        .basis("etcd: hardware recommendations, disks", HARDWARE)
        .remedy(Remedy::new("Mount a local disk, best an SSD of its own, at /var/lib/etcd."))
        .bad([has_room(ETCD, |room| room.magic = 0x6969)]),
        Check::new("node.disk.image-type", "images are on a file system that overlays can use", |view| {
            judge_type(
                view,
                &images(view),
                &["NFS", "CIFS", "SMB2", "9p", "overlay"],
                "an overlay cannot have its upper layer",
            )
        })
        .label("disk")
        .alias("failed to mount overlay")
        .page(
            "The upper layer of an overlay must be on a file system with d_type and trusted extended attributes: not \
             NFS, not another overlay.",
            "Asks the file system of the runtime's data for its type.",
        )
        .basis("Kernel: overlayfs, upper and lower", OVERLAY)
        .remedy(
            Remedy::new("Mount ext4 or xfs (ftype=1) at the runtime's directory.")
                .command("mount /dev/DISK /var/lib/containerd"),
        )
        .bad([has_room(CONTAINERD, |room| room.magic = 0x794c_7630)]),
        Check::new("node.disk.no-exec", "programs may be run where Kubernetes keeps them", judge_no_exec)
            .label("disk")
            .alias("noexec")
            .page(
                "On a disk that is mounted noexec no CNI plug-in starts, and no script in a volume of a pod. \
                 Containers are overlays, which most kernels let run programs whatever the disk's options.",
                "Reads the mount options in /proc/1/mountinfo; runs a program through an overlay on a tmpfs that is \
                 mounted so, in a mount namespace of our own. --passive turns that off.",
            )
            .basis("mount(8): noexec", "https://man7.org/linux/man-pages/man8/mount.8.html")
            .remedy(Remedy::new("Mount the disk without noexec.").command("findmnt -O noexec"))
            .bad([mounted("24 1 8:1 / / rw,noexec shared:1 - ext4 /dev/vda1 rw\n")]),
        Check::new("node.disk.no-dev", "device files work in containers", |view| {
            judge_layers(view, "nodev", "dev", "device files in containers do not work")
        })
        .severity(Severity::Low)
        .label("disk")
        .alias("nodev")
        .page(
            "Images with device files need them. Containers are overlays, which most kernels let have device files \
             whatever the disk's options.",
            "Reads the mount options in /proc/1/mountinfo, and opens a device file through an overlay on such a disk.",
        )
        .basis("mount(8): nodev", "https://man7.org/linux/man-pages/man8/mount.8.html")
        .remedy(Remedy::new("Mount the disk without nodev.").command("findmnt -O nodev"))
        .bad([mounted("24 1 8:1 / / rw,nodev shared:1 - ext4 /dev/vda1 rw\n"), overlay_refuses("dev")]),
        Check::new("node.disk.no-suid", "set-user-ID programs work in containers", |view| {
            judge_layers(view, "nosuid", "suid", "sudo, ping and su do not work in containers")
        })
        .severity(Severity::Info)
        .label("disk")
        .alias("nosuid")
        .page(
            "sudo, su and ping in a container run as another user. Containers are overlays, whose set-user-ID programs \
             most kernels let work whatever the disk's options.",
            "Reads the mount options in /proc/1/mountinfo, and runs a set-user-ID program through an overlay on such a \
             disk.",
        )
        .basis("mount(8): nosuid", "https://man7.org/linux/man-pages/man8/mount.8.html")
        .remedy(Remedy::new("Mount the disk without nosuid, unless that is meant.").command("findmnt -O nosuid"))
        .bad([mounted("24 1 8:1 / / rw,nosuid shared:1 - ext4 /dev/vda1 rw\n"), overlay_refuses("suid")]),
        Check::new("node.disk.propagation", "mounts beneath the kubelet's directory are shared", |view| {
            let Some(mount) = view.facts.disk.mount(KUBELET)? else {
                return Ok(Conclusion::undetermined(format!("{MOUNTS} has no mount that holds {KUBELET}")));
            };
            Ok(if mount.shared {
                Conclusion::holds().because(&mount.point, "shared")
            } else {
                let message =
                    format!("{} is a private mount: volumes that a pod mounts are not seen by others", mount.point);
                Conclusion::breach(
                    Breach::new(KUBELET, message).found("private").wanted("shared").at(MOUNTS, Some(mount.line)),
                )
            })
        })
        .severity(Severity::Medium)
        .label("disk")
        .alias("MountPropagation")
        .alias("path is mounted on / but it is not a shared mount")
        .page(
            "CSI drivers mount volumes in their own pod with mountPropagation Bidirectional; that fails on a private \
             mount.",
            "Looks for a peer group in /proc/1/mountinfo.",
        )
        .basis(
            "Kubernetes: volumes, mount propagation",
            "https://kubernetes.io/docs/concepts/storage/volumes/#mount-propagation",
        )
        .remedy(
            Remedy::new("Share it. systemd does so at boot; another init must be told.")
                .command("mount --make-rshared /"),
        )
        .bad([mounted("24 1 8:1 / / rw,relatime - ext4 /dev/vda1 rw\n")]),
        Check::new("node.disk.flex-volume", "the flex-volume directory may be written", judge_flex_volume)
            .severity(Severity::Medium)
            .label("disk")
            .label("kubeadm")
            .alias("/usr is mounted read-only")
            .alias("volumePluginDir")
            .page(
                "On Fedora CoreOS, Flatcar and others /usr is read-only, and the kubelet and the controller-manager \
                 look for flex-volume plug-ins there.",
                "Reads volumePluginDir of the kubelet's configuration, and the mount options of its place.",
            )
            .basis("Troubleshooting kubeadm: /usr is mounted read-only on nodes", TROUBLE)
            .remedy(
                Remedy::new(
                    "Name a directory that may be written, for the kubelet here and for the controller-manager \
                     (extraArgs: flex-volume-plugin-dir). The kubelet restarts; pods keep running.",
                )
                .when("Fedora CoreOS or Flatcar, a node that has joined")
                .command("sed -i '/^volumePluginDir:/d' /var/lib/kubelet/config.yaml")
                .command("echo 'volumePluginDir: /opt/libexec/kubernetes/volume/exec' >> /var/lib/kubelet/config.yaml")
                .command("systemctl restart kubelet"),
            )
            .bad([file(
                MOUNTS,
                "24 1 8:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw\n\
                 25 24 8:2 / /usr ro,relatime shared:2 - ext4 /dev/vda2 ro\n",
            )]),
        Check::new("node.disk.proc", "/proc is mounted", |view| {
            let mounts = view.facts.disk.mounts.need("mounts")?;
            let mounted = mounts.iter().any(|mount| mount.point == "/proc" && mount.kind == "proc");
            Ok(if mounted {
                Conclusion::holds()
            } else {
                Conclusion::breach(Breach::new("/proc", "no proc file system is mounted at /proc").wanted("proc"))
            })
        })
        .severity(Severity::Critical)
        .label("disk")
        .alias("procfs")
        .page("The kubelet, runtimes and every container read it.", "Looks for it in /proc/1/mountinfo.")
        .basis("k0s sysinfo: procfs", "https://docs.k0sproject.io/stable/system-requirements/")
        .remedy(Remedy::new("Mount it.").command("mount -t proc proc /proc"))
        .bad([file(MOUNTS, "24 1 8:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw\n")]),
        Check::new("node.disk.fsync", "the disk is fast enough for etcd", judge_fsync)
            .severity(Severity::Medium)
            .roles([Role::ControlPlane, Role::Etcd])
            .label("disk")
            .label("probe")
            .alias("filesystemPerformance")
            .alias("wal_fsync_duration_seconds")
            .page(
                "etcd syncs each write to disk before it answers. When that takes too long, heartbeats are late and \
                 leaders are lost.",
                "Writes and syncs 100 blocks of 2300 bytes to a file without a name where etcd's data goes; --passive \
                 turns it off.",
            )
            .basis(
                "etcd: the 99th percentile of fdatasync must be below 10 ms",
                "https://etcd.io/docs/latest/op-guide/hardware/#disks",
            )
            .remedy(
                Remedy::new("Give etcd a local SSD, without other writers.").command("ionice -c2 -n0 -p $(pgrep etcd)"),
            )
            .good([value(
                Query::Probe { probe: Probe::Fsync },
                json!({
                    "works": true, "stage": "", "errno": "",
                    "detail": { "path": "/var/lib", "writes": 100, "p50": 400, "p99": 1500 },
                }),
            )])
            .bad([value(
                Query::Probe { probe: Probe::Fsync },
                json!({
                    "works": true, "stage": "", "errno": "",
                    "detail": { "path": "/var/lib", "writes": 100, "p50": 9000, "p99": 48_000 },
                }),
            )]),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(id: &str, edits: &[Edit]) -> crate::Verdict {
        let mut transcript = crate::host::Transcript::default();
        let line = "24 1 8:1 / / rw,noexec,nosuid,nodev shared:1 - ext4 /dev/vda1 rw\n\
                    25 24 8:2 / /opt rw shared:2 - ext4 b rw\n26 24 8:3 / /var/lib/kubelet rw shared:3 - ext4 c rw\n";
        crate::construct::apply(&mut transcript, &[&[file(MOUNTS, line)][..], edits].concat()).unwrap();
        let facts = crate::node::Facts::read(&transcript);
        let profile = crate::Profile::new(jiff::Timestamp::UNIX_EPOCH);
        let check = checks().into_iter().find(|check| check.id == id).unwrap();
        check.judge(&View::alone(&facts, &profile)).verdict
    }

    #[test]
    fn only_what_an_overlay_refuses_is_claimed() {
        for (id, what) in [("node.disk.no-exec", "exec"), ("node.disk.no-suid", "suid"), ("node.disk.no-dev", "dev")] {
            assert_eq!(judged(id, &[overlay_refuses("nothing")]), Verdict::Holds, "{id}");
            assert!(matches!(judged(id, &[overlay_refuses(what)]), Verdict::Breached(_)), "{id}");
            assert!(matches!(judged(id, &[]), Verdict::Undetermined(_)), "{id}");
        }
    }

    #[test]
    fn plug_ins_and_volumes_are_started_from_the_disk_itself() {
        let line = "24 1 8:1 / / rw,noexec shared:1 - ext4 /dev/vda1 rw\n";
        let verdict = judged("node.disk.no-exec", &[file(MOUNTS, line), overlay_refuses("nothing")]);
        let Verdict::Breached(breaches) = verdict else { panic!("{verdict:?}") };
        let seen: Vec<_> = breaches.iter().map(|breach| (breach.subject.as_str(), breach.severity)).collect();
        assert_eq!(seen, [("/opt/cni/bin", Some(Severity::High)), (KUBELET, Some(Severity::Medium))]);
    }

    #[test]
    fn the_longest_mount_point_counts() {
        let text = "1 0 8:1 / / rw - ext4 a rw\n2 1 8:2 / /var rw - ext4 b rw\n\
                    3 1 8:3 / /var/lib/kube rw - ext4 c rw\n";
        let facts = Facts {
            mounts: Fact::Known(mounts::parse(text).unwrap()),
            rooms: BTreeMap::new(),
            fsync: Fact::NotGathered(String::new()),
            overlay: Fact::NotGathered(String::new()),
        };
        assert_eq!(facts.mount(KUBELET).unwrap().unwrap().point, "/var");
        assert_eq!(facts.mount("/opt").unwrap().unwrap().point, "/");
    }
}

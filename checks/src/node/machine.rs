//! The machine: processors, memory, limits, identity, time.

use crate::check::{Check, Remedy, Severity};
use crate::conclusion::{Breach, Conclusion};
use crate::construct::file;
use crate::fact::Fact;
use crate::host::{Host, System};
use crate::profile::Role;

const KUBEADM: &str = "https://kubernetes.io/docs/setup/production-environment/tools/kubeadm/install-kubeadm/";

/// kubeadm's threshold: it writes MB and counts MiB, so that a machine sold as 2 GB passes.
const KUBEADM_MEMORY: u64 = 1700 * MIB;
const MIB: u64 = 1 << 20;

/// What is known of the machine.
#[derive(Debug)]
pub struct Facts {
    /// uname, sysinfo, and what we may do.
    pub system: Fact<System>,
    /// /etc/machine-id.
    pub machine_id: Fact<String>,
    /// The hardware's own id.
    pub product_uuid: Fact<String>,
    /// `soft` and `hard` limit of open files of the first process.
    pub open_files: Fact<String>,
    /// The name of the first process.
    pub init: Fact<String>,
    /// The names of all processes that we see.
    pub processes: Fact<Vec<String>>,
    /// Does systemd-timesyncd say that the clock is in time?
    pub timesync: Fact<()>,
}

impl Facts {
    pub(super) fn read(host: &dyn Host) -> Self {
        let trimmed = |path: &str| host.text(path).map(|text| text.trim().to_owned());
        Self {
            system: host.system(),
            machine_id: trimmed("/etc/machine-id"),
            product_uuid: trimmed("/sys/class/dmi/id/product_uuid"),
            open_files: host.text("/proc/1/limits").parse(|text| {
                let line = text.lines().find_map(|line| line.strip_prefix("Max open files"));
                line.map(|line| line.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
                    .ok_or("/proc/1/limits has no line 'Max open files'")
            }),
            init: trimmed("/proc/1/comm"),
            processes: processes(host),
            timesync: host.stat("/run/systemd/timesync/synchronized").map(|_| ()),
        }
    }

    /// Is a process of this name running?
    ///
    /// # Errors
    /// If the processes are not known.
    pub fn runs(&self, name: &str) -> Result<bool, crate::Inconclusive> {
        // The kernel cuts a process's name to 15 bytes (TASK_COMM_LEN).
        let cut = &name[..name.len().min(15)];
        Ok(self.processes.need("running processes")?.iter().any(|known| known == cut))
    }
}

/// The names of all processes. Those that end while we look are left out.
fn processes(host: &dyn Host) -> Fact<Vec<String>> {
    host.list("/proc").map(|entries| {
        let pids = entries.iter().filter(|entry| entry.name.bytes().all(|byte| byte.is_ascii_digit()));
        let name = |pid: &crate::host::Entry| host.text(&format!("/proc/{}/comm", pid.name)).known().cloned();
        pids.filter_map(name).map(|name| name.trim().to_owned()).collect()
    })
}

/// The family's checks.
pub(super) fn checks() -> Vec<Check> {
    let system = |edit: fn(&mut System)| super::reference_system(edit);
    vec![
        Check::new("node.machine.os", "the node runs Linux", |view| {
            let system = view.facts.machine.system.need("uname")?;
            Ok(if system.sysname == "Linux" {
                Conclusion::holds()
            } else {
                Conclusion::breach(
                    Breach::new("uname", format!("the operating system is {}", system.sysname)).wanted("Linux"),
                )
            })
        })
        .label("machine")
        .alias("OS")
        .alias("SystemVerification")
        .page("The control plane, and every Linux workload, needs it.", "Compares uname -s.")
        .basis("system-validators: OS", "https://github.com/kubernetes/system-validators")
        .remedy(Remedy::new("Use a Linux node; a Windows node joins as a worker by other means."))
        .bad([system(|system| system.sysname = "FreeBSD".to_owned())]),
        Check::new("node.machine.architecture", "Kubernetes is released for the node's architecture", |view| {
            let machine = &view.facts.machine.system.need("uname")?.machine;
            let known = ["x86_64", "aarch64", "ppc64le", "s390x"];
            Ok(if known.contains(&machine.as_str()) {
                Conclusion::holds().because("machine", machine)
            } else {
                let breach = Breach::new("architecture", format!("there are no releases of Kubernetes for {machine}"));
                Conclusion::breach(breach.found(machine).wanted(known.join(", ")))
            })
        })
        .label("machine")
        .alias("architecture")
        .page("Server programs and images are released for amd64, arm64, ppc64le and s390x.", "Compares uname -m.")
        .basis("Kubernetes: downloads", "https://kubernetes.io/releases/download/")
        .remedy(Remedy::new("Use a node of a released architecture, or build Kubernetes and every image yourself."))
        .bad([system(|system| system.machine = "armv6l".to_owned())]),
        Check::new("node.machine.cpus", "a control-plane node has 2 CPUs or more", |view| {
            let cpus = view.facts.machine.system.need("CPUs")?.cpus;
            Ok(if cpus >= 2 {
                Conclusion::holds().because("CPUs", cpus.to_string())
            } else {
                Conclusion::breach(
                    Breach::new("CPUs", "the node has fewer CPUs than kubeadm accepts")
                        .found(cpus.to_string())
                        .wanted("2 or more"),
                )
            })
        })
        .roles([Role::ControlPlane])
        .label("machine")
        .label("kubeadm")
        .alias("NumCPU")
        .page("kubeadm refuses a control-plane node with one CPU.", "Counts the CPUs that a process may use.")
        .basis("kubeadm preflight: NumCPU; Installing kubeadm: before you begin", KUBEADM)
        .remedy(Remedy::new("Give the machine another CPU."))
        .bad([system(|system| system.cpus = 1)]),
        Check::new("node.machine.memory", "a control-plane node has 1700 MiB of memory or more", |view| {
            let memory = view.facts.machine.system.need("memory")?.memory;
            Ok(if memory >= KUBEADM_MEMORY {
                Conclusion::holds().because("memory", format!("{} MiB", memory / MIB))
            } else {
                let breach = Breach::new("memory", "the node has less memory than kubeadm accepts");
                Conclusion::breach(breach.found(format!("{} MiB", memory / MIB)).wanted("1700 MiB or more"))
            })
        })
        .roles([Role::ControlPlane])
        .label("machine")
        .label("kubeadm")
        .alias("Mem")
        .page(
            "kubeadm refuses a control-plane node with less; etcd and the API server alone take more than 500 MB.",
            "Asks the kernel (sysinfo).",
        )
        .basis("kubeadm preflight: Mem", KUBEADM)
        .remedy(Remedy::new("Give the machine more memory."))
        .bad([system(|system| system.memory = 1 << 30)]),
        Check::new("node.machine.memory-recommended", "the node has 2 GB of memory or more", |view| {
            let memory = view.facts.machine.system.need("memory")?.memory;
            // A machine of 2 GiB shows less, since the kernel keeps some for itself.
            Ok(if memory >= 1_900_000_000 {
                Conclusion::holds().because("memory", format!("{} MB", memory / 1_000_000))
            } else {
                let breach = Breach::new("memory", "any less leaves little room for your applications");
                Conclusion::breach(breach.found(format!("{} MB", memory / 1_000_000)).wanted("2 GB or more"))
            })
        })
        .severity(Severity::Medium)
        .label("machine")
        .alias("memory 2GB")
        .page("The guide asks for 2 GB or more on every machine.", "Asks the kernel (sysinfo).")
        .basis("Installing kubeadm: before you begin", KUBEADM)
        .remedy(Remedy::new("Give the machine more memory."))
        .bad([system(|system| system.memory = 1_800_000_000)]),
        Check::new("node.machine.privileged", "the trials run with root's rights", |view| {
            let system = view.facts.machine.system.need("our rights")?;
            Ok(if system.euid == 0 {
                Conclusion::holds()
            } else {
                Conclusion::breach(
                    Breach::new(
                        "user",
                        format!("the trials run as user {}: what only root may read is undetermined", system.euid),
                    )
                    .found(system.euid.to_string())
                    .wanted("0"),
                )
            })
        })
        .severity(Severity::Medium)
        .label("machine")
        .label("kubeadm")
        .alias("IsPrivilegedUser")
        .page("kubeadm needs root, and so does a whole look at a node.", "Asks the kernel for our effective user id.")
        .basis("kubeadm preflight: IsPrivilegedUser", KUBEADM)
        .remedy(Remedy::new("Run as root; the container with --privileged.").command("sudo seaworthy run"))
        .bad([system(|system| system.euid = 1000)]),
        Check::new("node.machine.machine-id", "/etc/machine-id is set", |view| {
            let id = view.facts.machine.machine_id.present("/etc/machine-id")?;
            let valid = |id: &String| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
            Ok(match id {
                Some(id) if valid(id) => Conclusion::holds(),
                Some(id) => Conclusion::breach(
                    Breach::new("/etc/machine-id", "it is not 32 hexadecimal digits: the image was not personalized")
                        .found(if id.is_empty() { "empty" } else { id })
                        .at("/etc/machine-id", Some(1)),
                ),
                None => {
                    Conclusion::breach(Breach::new("/etc/machine-id", "it is not there").at("/etc/machine-id", None))
                }
            })
        })
        .severity(Severity::Medium)
        .label("machine")
        .alias("machine-id")
        .page(
            "The kubelet reports it as the node's machineID, and DHCP servers and networks tell machines apart by it.",
            "Reads the file.",
        )
        .basis("machine-id(5)", "https://www.freedesktop.org/software/systemd/man/latest/machine-id.html")
        .remedy(Remedy::new("Have systemd make one.").command("rm -f /etc/machine-id && systemd-machine-id-setup"))
        .bad([file("/etc/machine-id", "uninitialized\n")]),
        Check::new("node.machine.product-uuid", "the machine has a product_uuid of its own", |view| {
            let Some(uuid) = view.facts.machine.product_uuid.present("product_uuid")? else {
                return Ok(Conclusion::not_applicable(
                    "the machine has no DMI table: the hypervisor or architecture has none",
                ));
            };
            let plain: String = uuid.chars().filter(char::is_ascii_hexdigit).collect();
            let same = plain.chars().all(|c| plain.starts_with(c));
            // What boards say whose maker wrote nothing.
            let blank = plain.is_empty() || same || uuid.eq_ignore_ascii_case("03000200-0400-0500-0006-000700080009");
            Ok(if blank {
                Conclusion::breach(
                    Breach::new("product_uuid", "it is a maker's blank, and other machines have the same")
                        .found(uuid)
                        .at("/sys/class/dmi/id/product_uuid", None),
                )
            } else {
                Conclusion::holds()
            })
        })
        .severity(Severity::Medium)
        .label("machine")
        .alias("product_uuid")
        .page(
            "Kubernetes tells nodes apart by it; clones of a machine share it, and joining them fails. Give several \
             --host to compare nodes.",
            "Reads /sys/class/dmi/id/product_uuid.",
        )
        .basis("Installing kubeadm: verify the MAC address and product_uuid are unique for every node", KUBEADM)
        .remedy(Remedy::new("Give the virtual machine a new UUID in its definition."))
        .bad([file("/sys/class/dmi/id/product_uuid", "00000000-0000-0000-0000-000000000000\n")]),
        Check::new("node.machine.open-files", "the first process may open 65536 files or more", |view| {
            let limits = view.facts.machine.open_files.need("limit of open files")?;
            let hard = limits.split(' ').nth(1).unwrap_or_default();
            Ok(if hard == "unlimited" || hard.parse::<u64>().is_ok_and(|hard| hard >= 65_536) {
                Conclusion::holds().because("soft and hard", limits)
            } else {
                let breach = Breach::new(
                    "open files",
                    format!("the hard limit is {hard}: services cannot be given more without CAP_SYS_RESOURCE"),
                );
                Conclusion::breach(breach.found(hard).wanted("65536 or more").at("/proc/1/limits", None))
            })
        })
        .severity(Severity::Medium)
        .label("machine")
        .alias("LimitNOFILE")
        .alias("ulimit")
        .page(
            "The runtime and the API server hold thousands of files open; services inherit this limit.",
            "Reads /proc/1/limits.",
        )
        .basis("k0s sysinfo: maximum file descriptors", "https://docs.k0sproject.io/stable/system-requirements/")
        .remedy(
            Remedy::new("Raise systemd's default.")
                .command("systemctl daemon-reexec")
                .persist("/etc/systemd/system.conf.d/nofile.conf", "[Manager]\nDefaultLimitNOFILE=1048576\n"),
        )
        .bad([file(
            "/proc/1/limits",
            "Limit Soft Limit Hard Limit Units\n\
             Max open files            1024                 20000                files\n",
        )]),
        Check::new("node.machine.init", "systemd is the init system", |view| {
            let init = view.facts.machine.init.need("the first process")?;
            Ok(if init == "systemd" {
                Conclusion::holds()
            } else {
                let breach = Breach::new(
                    "init",
                    format!(
                        "the first process is {init}: nothing restarts the kubelet, and kubeadm warns 'no supported \
                         init system detected'"
                    ),
                );
                Conclusion::breach(breach.found(init).wanted("systemd").at("/proc/1/comm", None))
            })
        })
        .severity(Severity::Medium)
        .label("machine")
        .label("kubeadm")
        .alias("Service-Kubelet")
        .alias("no supported init system")
        .page(
            "kubeadm enables and starts the kubelet by systemd (or OpenRC) and warns without either.",
            "Reads the name of the first process.",
        )
        .basis("kubeadm preflight: Service-kubelet", KUBEADM)
        .remedy(Remedy::new("Use an image with systemd, or keep the kubelet running by a supervisor of yours."))
        .bad([file("/proc/1/comm", "tini\n")]),
        Check::new("node.machine.time-sync", "something keeps the clock in time", |view| {
            let facts = &view.facts.machine;
            if facts.timesync.known().is_some() {
                return Ok(Conclusion::holds().because("systemd-timesyncd", "synchronized"));
            }
            for name in
                ["chronyd", "ntpd", "systemd-timesyncd", "ntpsec", "openntpd", "phc2sys", "VBoxService", "vmtoolsd"]
            {
                if facts.runs(name)? {
                    return Ok(Conclusion::holds().because("process", name));
                }
            }
            Ok(Conclusion::breach(
                Breach::new("clock", "no chronyd, ntpd or systemd-timesyncd is running: the clock drifts")
                    .wanted("a time service"),
            ))
        })
        .severity(Severity::Medium)
        .label("machine")
        .alias("NTPProblem")
        .alias("ntp")
        .page(
            "Certificates, leases, tokens and etcd's elections depend on clocks that agree.",
            "Looks for a time service among the processes, and for systemd-timesyncd's mark.",
        )
        .basis("node-problem-detector: NTPProblem; etcd: clock differences", "https://etcd.io/docs/latest/tuning/")
        .remedy(Remedy::new("Install chrony.").when("Debian/Ubuntu").command("apt-get install -y chrony"))
        .remedy(
            Remedy::new("Install chrony.")
                .when("RHEL/Fedora")
                .command("dnf install -y chrony && systemctl enable --now chronyd"),
        )
        .bad([file("/proc/30/comm", "bash\n")]),
    ]
}

//! The components of Kubernetes that run on a node: how they were started, and when.

use serde::{Deserialize, Serialize};

use super::live::LiveHost;
use super::{Answer, FileKind, Host, Refusal, RefusalKind, Reply};

/// Programs whose command lines say where the PKI is, or how the runtime is configured. Nothing is recorded of any
/// other process.
const PROGRAMS: [&str; 14] = [
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kube-proxy",
    "kubelet",
    "kubelite",
    "etcd",
    "k3s",
    "k3s-server",
    "k0s",
    "rke2",
    "containerd",
    "crio",
    "cri-dockerd",
];
/// Those of them that also run in pods.
const IN_PODS: [&str; 5] = ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "etcd"];
/// Ticks of /proc/PID/stat in a second: USER_HZ, which is 100 on every architecture that Kubernetes runs on.
const TICKS: i64 = 100;

/// A component that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// Its id, as the node's first process sees it.
    pub pid: u32,
    /// Its program and arguments, separated by NUL as in /proc/PID/cmdline.
    pub command: String,
    /// When it was started, seconds since the epoch.
    pub started: i64,
    /// Does it see other mounts than the node's first process, as what runs in a container does?
    pub sandboxed: bool,
}

/// The components that run, by process id.
pub(super) fn processes(host: &LiveHost) -> Answer {
    let host: &dyn Host = host;
    let entries = match host.list("/proc") {
        crate::Fact::Known(entries) => entries,
        other => return Err(Refusal::new(RefusalKind::Absent, format!("processes: {}", reason(&other)))),
    };
    let boot = host.text("/proc/stat").known().and_then(|text| {
        text.lines().find_map(|line| line.strip_prefix("btime ")).and_then(|time| time.trim().parse::<i64>().ok())
    });
    let mounts = |pid: &str| host.link(&format!("/proc/{pid}/ns/mnt")).known().cloned();
    let first = mounts("1");
    let mut found = Vec::new();
    for entry in entries.iter().filter(|entry| entry.kind == FileKind::Directory) {
        let Ok(pid) = entry.name.parse::<u32>() else { continue };
        let Some(command) = host.text(&format!("/proc/{pid}/cmdline")).known().cloned() else { continue };
        let path = command.split('\0').next().unwrap_or_default();
        let program = path.rsplit('/').next().unwrap_or(path);
        if !PROGRAMS.contains(&program) {
            continue;
        }
        let status = host.text(&format!("/proc/{pid}/status")).known().cloned();
        if status.is_some_and(|status| is_of_inner_node(&status, program)) {
            continue;
        }
        let own = mounts(&entry.name);
        let sandboxed = first.is_some() && own.is_some() && own != first;
        let ticks = host.text(&format!("/proc/{pid}/stat")).known().and_then(|stat| start(stat));
        let Some(started) = boot.zip(ticks).map(|(boot, ticks)| boot + ticks / TICKS) else { continue };
        let command = command.trim_end_matches('\0').to_owned();
        found.push(Process { pid, command, started, sandboxed });
    }
    found.sort_by_key(|process| process.pid);
    let value = serde_json::to_value(found);
    value.map(Reply::from).map_err(|error| Refusal::new(RefusalKind::Failed, error.to_string()))
}

/// Is a process that of a node inside this one, as kind's nodes are on a workstation? `NSpid` of /proc/PID/status
/// (proc_pid_status(5)) has an id for each PID namespace from that of /proc inwards: services have one, what runs in
/// pods has two.
fn is_of_inner_node(status: &str, program: &str) -> bool {
    let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
    let outermost = if IN_PODS.contains(&program) { 2 } else { 1 };
    ids.is_some_and(|ids| ids.split_whitespace().count() > outermost)
}

/// The 22nd field of /proc/PID/stat, counted behind the name, which may hold blanks and brackets (proc_pid_stat(5)).
fn start(stat: &str) -> Option<i64> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

fn reason<T>(fact: &crate::Fact<T>) -> &str {
    match fact {
        crate::Fact::Known(_) => "",
        crate::Fact::Absent(why)
        | crate::Fact::Unreadable(why)
        | crate::Fact::Malformed(why)
        | crate::Fact::NotGathered(why) => why,
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_kubelet_in_a_pid_namespace_is_that_of_an_inner_node() {
        let inner = |ids: &str, program| {
            super::is_of_inner_node(&format!("Name:\ta\nPid:\t7\nNSpid:\t{ids}\nNSpgid:\t7\t1\n"), program)
        };
        assert!(!inner("7", "kubelet") && inner("7\t1", "kubelet") && inner("7\t1", "containerd"));
        assert!(!inner("7", "etcd") && !inner("7\t1", "etcd") && inner("7\t4\t1", "etcd"));
        // Kernels before 4.1 do not tell.
        assert!(!super::is_of_inner_node("Name:\ta\n", "kubelet"));
    }

    #[test]
    fn the_start_is_found_behind_any_name() {
        let fields: Vec<String> = (3..=52).map(|number| number.to_string()).collect();
        for name in ["etcd", "a b", "x) 1 2 (y"] {
            assert_eq!(super::start(&format!("7 ({name}) {}", fields.join(" "))), Some(22), "{name}");
        }
    }
}

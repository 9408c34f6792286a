//! What there is on the machine, so that two moments can be compared: processes, mounts, links, routes, rules, cgroups,
//! files. Namespaces are there for as long as one of these is.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

/// One line for each thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Inventory(BTreeSet<String>);

impl Inventory {
    /// Of the box; cgroups, which are the machine's, only those of clusters whose names begin with `prefix`.
    pub(crate) fn take(prefix: &str) -> Self {
        let mut found = BTreeSet::new();
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let pid = entry.file_name().into_string().unwrap();
            if pid.bytes().all(|byte| byte.is_ascii_digit()) {
                found.insert(format!("process {pid} {}", read(&format!("/proc/{pid}/cmdline")).replace('\0', " ")));
            }
        }
        let mounts = read("/proc/self/mountinfo");
        // Numbers of mounts and devices are given anew; where and what they are stays.
        found.extend(
            mounts.lines().map(|line| format!("mount {}", line.split(' ').skip(3).collect::<Vec<_>>().join(" "))),
        );
        let links = read("/proc/self/net/dev");
        found.extend(links.lines().skip(2).filter_map(|line| Some(format!("link {}", line.trim().split_once(':')?.0))));
        for family in ["-4", "-6"] {
            let routes = output("ip", &[family, "route", "show", "table", "all"]);
            found.extend(routes.lines().map(|line| format!("route {line}")));
        }
        for save in ["iptables-save", "ip6tables-save"] {
            let rules = output(save, &[]);
            // Comments have the time.
            found.extend(rules.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{save} {line}")));
        }
        let rules = output("nft", &["list", "ruleset"]);
        found.extend(rules.lines().enumerate().map(|(at, line)| format!("nft {at} {line}")));
        for hierarchy in std::fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
            let below = [hierarchy.path().join("seaworthy"), Path::new("/sys/fs/cgroup/seaworthy").to_owned()];
            let groups = below.iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().flatten();
            let ours = groups.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
            found.extend(ours.map(|entry| format!("cgroup {}", entry.path().display())));
        }
        for folder in ["/var/lib", "/run", "/etc"] {
            files(Path::new(folder), &mut found);
        }
        Self(found)
    }

    /// What is here and not in `before`, and the other way round, for people to read; empty where they are the same.
    pub(crate) fn since(&self, before: &Self) -> String {
        let mut text = String::new();
        for line in self.0.difference(&before.0) {
            writeln!(text, "more: {line}").unwrap();
        }
        for line in before.0.difference(&self.0) {
            writeln!(text, "less: {line}").unwrap();
        }
        text
    }
}

fn output(program: &str, arguments: &[&str]) -> String {
    let ran = Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(ran.status.success(), "{program}: {}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).unwrap()
}

fn files(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        found.insert(format!("file {}", entry.path().display()));
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            files(&entry.path(), found);
        }
    }
}

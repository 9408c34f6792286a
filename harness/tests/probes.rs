//! Probes leave nothing behind, and say which right they lack.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code")]

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use seaworthy_reports::{Outcome, Run};

fn root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        assert!(std::env::var_os("SEAWORTHY_REQUIRE").is_none(), "this test needs root");
        println!("skipped: only root may try every feature");
    }
    root
}

fn folders(under: &Path, found: &mut BTreeSet<PathBuf>) {
    for entry in std::fs::read_dir(under).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.insert(entry.path());
            folders(&entry.path(), found);
        }
    }
}

/// Links, mounts and cgroups of the machine.
fn inventory() -> (BTreeSet<PathBuf>, BTreeSet<String>, BTreeSet<PathBuf>) {
    let links = std::fs::read_dir("/sys/class/net").unwrap().map(|entry| entry.unwrap().path()).collect();
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap().lines().map(str::to_owned).collect();
    let mut cgroups = BTreeSet::new();
    folders(Path::new("/sys/fs/cgroup"), &mut cgroups);
    (links, mounts, cgroups)
}

fn probe(more: &[&str], mut command: Command, out: &Path) -> Run {
    command.arg("run").args(more).args(["--focus", r"node\.probe", "--focus", r"node\.disk\.fsync", "-O"]).arg(out);
    for name in ["FOCUS", "SKIP", "GITHUB_STEP_SUMMARY"] {
        command.env_remove(name);
    }
    let output = command.output().unwrap();
    let report = std::fs::read(out.join("report.json"));
    serde_json::from_slice(&report.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)))).unwrap()
}

#[test]
fn twenty_runs_leave_no_link_mount_or_cgroup() {
    if !root() {
        return;
    }
    let before = inventory();
    for _ in 0..20 {
        let out = tempfile::tempdir().unwrap();
        let run = probe(&[], Command::new(env!("CARGO_BIN_EXE_seaworthy")), out.path());
        assert!(run.results.iter().filter(|result| result.verdict.outcome == Outcome::Pass).count() > 10, "{run:?}");
    }
    let after = inventory();
    assert_eq!(before.0, after.0, "links");
    assert_eq!(before.1, after.1, "mounts");
    assert_eq!(before.2, after.2, "cgroups");
}

#[test]
fn without_rights_a_probe_is_undetermined_and_names_the_capability() {
    if !root() {
        return;
    }
    let out = tempfile::tempdir().unwrap();
    std::fs::set_permissions(out.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    // Where the build is may be closed to others.
    let program = out.path().join("seaworthy");
    std::fs::copy(env!("CARGO_BIN_EXE_seaworthy"), &program).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new(&program);
    command.uid(65534).gid(65534).current_dir(out.path());
    let run = probe(&[], command, &out.path().join("results"));
    for name in ["mount-namespace", "net-namespace", "overlay", "veth", "nftables"] {
        let id = format!("node.probe.{name}");
        let verdict = &run.results.iter().find(|result| result.trial == id).unwrap().verdict;
        assert_eq!(verdict.outcome, Outcome::Undetermined, "{id}: {verdict:?}");
        assert!(verdict.reason.as_ref().unwrap().contains("CAP_SYS_ADMIN"), "{id}: {verdict:?}");
    }
}

#[test]
fn passive_tries_nothing() {
    let out = tempfile::tempdir().unwrap();
    let run = probe(&["--passive"], Command::new(env!("CARGO_BIN_EXE_seaworthy")), out.path());
    for result in &run.results {
        let reason = result.verdict.reason.as_deref().unwrap_or_default();
        let nothing = matches!(result.verdict.outcome, Outcome::NotApplicable) || reason.contains("--passive");
        assert!(nothing, "{result:?}");
    }
}

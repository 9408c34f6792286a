//! A control plane for an ordinary user: `nobody` brings it up, uses it and takes it down. Needs root to become nobody,
//! and the programs in the cache.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code")]

use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use seaworthy_provision::assets::{Release, Request, find};

/// `nobody` and `nogroup`.
const NOBODY: u32 = 65534;
const PROGRAMS: [&str; 7] =
    ["etcd", "etcdctl", "kubeadm", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl"];

/// A folder with what nobody needs: programs that anybody may run, and a home.
struct User {
    folder: tempfile::TempDir,
}

impl User {
    fn new() -> Option<Self> {
        let found =
            find(&Request::here(Release::newest(), &PROGRAMS)?).ok().filter(|_| nix::unistd::geteuid().is_root());
        let Some(found) = found else {
            let what = format!("root, and `seaworthy assets fetch {}`", PROGRAMS.join(" "));
            assert!(std::env::var_os("SEAWORTHY_REQUIRE").is_none(), "this test needs {what}");
            println!("skipped: it needs {what}");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
        for name in ["bin", "home"] {
            std::fs::create_dir(path.join(name)).unwrap();
        }
        std::os::unix::fs::chown(path.join("home"), Some(NOBODY), Some(NOBODY)).unwrap();
        let programs = found.iter().map(|found| (found.program.name, found.path.clone()));
        for (name, from) in programs.chain([("seaworthy", env!("CARGO_BIN_EXE_seaworthy").into())]) {
            let to = path.join("bin").join(name);
            // A link costs nothing, where both are on one file system.
            std::fs::hard_link(&from, &to).or_else(|_| std::fs::copy(&from, &to).map(drop)).unwrap();
        }
        Some(Self { folder })
    }

    fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    fn run(&self, program: &str, words: &[&str]) -> Output {
        let mut command = Command::new(self.folder.path().join("bin").join(program));
        command.args(words).env_clear().env("HOME", self.home()).env("PATH", "/usr/bin:/bin");
        command.env("KUBEBUILDER_ASSETS", self.folder.path().join("bin")).current_dir(self.home());
        // Where root becomes somebody else, the standard library drops root's groups.
        command.gid(NOBODY).uid(NOBODY).output().unwrap()
    }

    /// What a command that must succeed prints.
    fn said(&self, program: &str, words: &[&str]) -> String {
        let output = self.run(program, words);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {words:?}: {}\n{errors}", output.status);
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for User {
    fn drop(&mut self) {
        // What a test that failed leaves.
        self.run("seaworthy", &["cluster", "down", "--all"]);
    }
}

/// Every process of nobody's that has to do with a folder.
fn processes(folder: &Path) -> Vec<String> {
    let ours = |entry: &std::fs::DirEntry| entry.metadata().is_ok_and(|one| one.uid() == NOBODY);
    let words = |entry: std::fs::DirEntry| {
        let words = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&words).replace('\0', " ")
    };
    let all = std::fs::read_dir("/proc").unwrap().flatten().filter(ours).map(words);
    all.filter(|words| words.contains(&*folder.to_string_lossy())).collect()
}

/// What of the machine a cluster could leave something of.
fn inventory(user: &User) -> (Vec<String>, String, Vec<String>) {
    let mut links: Vec<_> = std::fs::read_dir("/sys/class/net").unwrap().flatten().collect();
    // Clusters of root's that others make at the same time have theirs.
    links.retain(|link| !link.file_name().to_string_lossy().starts_with("sw"));
    let mut links: Vec<_> = links.iter().map(|link| link.file_name().to_string_lossy().into_owned()).collect();
    links.sort();
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let folder = user.folder.path().to_string_lossy();
    let mounts = mounts.lines().filter(|line| line.contains(&*folder)).collect();
    (links, mounts, processes(user.folder.path()))
}

fn comes_up(planes: &str) {
    let Some(user) = User::new() else { return };
    let before = inventory(&user);
    user.said("seaworthy", &["cluster", "up", "--control-planes", planes]);

    let status = user.said("seaworthy", &["cluster", "status", "-o", "json"]);
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    let endpoint = status["endpoint"].as_str().unwrap();
    assert!(endpoint.starts_with("127.0.0.1:"), "{endpoint}");

    let kubeconfig = user.home().join("kubeconfig");
    std::fs::write(&kubeconfig, user.said("seaworthy", &["cluster", "kubeconfig"])).unwrap();
    let kubeconfig = format!("--kubeconfig={}", kubeconfig.display());
    let kubectl = |words: &[&str]| user.said("kubectl", &[&[kubeconfig.as_str()], words].concat());
    assert!(kubectl(&["get", "clusterrole", "cluster-admin"]).contains("cluster-admin"));
    kubectl(&["create", "namespace", "trial"]);
    // What the controller-manager does, done: it runs, and may.
    kubectl(&["wait", "--for=create", "--timeout=60s", "-n", "trial", "serviceaccount/default"]);

    let who =
        user.said("seaworthy", &["cluster", "exec", "cp1", "--", "sh", "-c", "id -u; hostname; cat /etc/hostname"]);
    assert_eq!(who, "0\ncp1\ncp1\n");
    let inside = user.said("seaworthy", &["cluster", "exec", "cp1", "--", "kubectl", "get", "namespace", "trial"]);
    assert!(inside.contains("Active"), "{inside}");

    faults(&user, &kubeconfig, planes);
    // Its keeper is killed with everything that leads from the machine: the same command mends it, at the same address.
    let keeper = user.home().join(".local/state/seaworthy/clusters/sea/keeper.json");
    let keeper: serde_json::Value = serde_json::from_slice(&std::fs::read(keeper).unwrap()).unwrap();
    let pid = i32::try_from(keeper["process"]["pid"].as_i64().unwrap()).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
    user.said("seaworthy", &["cluster", "up", "--control-planes", planes]);
    assert!(kubectl(&["get", "namespace", "trial"]).contains("Active"));

    user.said("seaworthy", &["cluster", "down"]);
    assert_eq!(inventory(&user), before);
    assert!(!user.home().join(".local/state/seaworthy").exists());
}

/// What nobody breaks is broken until that is undone.
fn faults(user: &User, kubeconfig: &str, planes: &str) {
    let fault = |words: &[&str]| user.said("seaworthy", &[&["cluster", "fault"], words].concat());
    let state = || {
        let status = user.run("seaworthy", &["cluster", "status", "-o", "json"]).stdout;
        let status: serde_json::Value = serde_json::from_slice(&status).unwrap();
        let hosts = status["hosts"].as_array().unwrap().iter();
        let components =
            hosts.filter(|host| host["name"] == "cp1").flat_map(|host| host["components"].as_array().unwrap());
        components
            .map(|one| (one["name"].as_str().unwrap().to_owned(), one["state"].as_str().unwrap().to_owned()))
            .collect()
    };
    let all: std::collections::BTreeMap<_, _> = state();
    assert!(all.len() == 4 && all.values().all(|state| state == "ready"), "{all:?}");
    fault(&["kill", "cp1/kube-scheduler"]);
    fault(&["stop", "cp1/kube-controller-manager"]);
    // What stands before several API servers is what the machine reaches.
    fault(&["isolate", if planes == "1" { "cp1" } else { "harbor" }]);
    let broken = state();
    assert_eq!((&*broken["kube-scheduler"], &*broken["kube-controller-manager"]), ("stopped", "frozen"));
    let asked = user.run("kubectl", &[kubeconfig, "get", "namespaces", "--request-timeout=2s"]);
    assert!(!asked.status.success(), "a host that is isolated hears nothing");
    assert_eq!(fault(&["list"]).lines().count(), 3);
    fault(&["undo", "--all"]);
    user.said("seaworthy", &["cluster", "up", "--control-planes", planes]);
    assert_eq!(state(), all);
}

#[test]
fn one_control_plane_comes_up_for_nobody_and_leaves_nothing() {
    comes_up("1");
}

#[test]
fn three_control_planes_come_up_for_nobody_and_leave_nothing() {
    comes_up("3");
}

#[test]
fn workers_need_root_and_nothing_is_begun() {
    let Some(user) = User::new() else { return };
    let output = user.run("seaworthy", &["cluster", "up", "--workers", "1"]);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && errors.contains("kubelets need root"), "{errors}");
    assert!(!user.home().join(".local").exists());
}

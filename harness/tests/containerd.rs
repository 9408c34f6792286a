//! The real containerd over its socket: what it says is read, and why it is silent is told.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code")]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use seaworthy_reports::{Outcome, Run, Verdict};

static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());

/// containerd of its own, with a node's root around its socket and configuration; ends with this value.
struct Containerd {
    root: tempfile::TempDir,
    child: Child,
    // Of several that run, the machine has one.
    _alone: std::sync::MutexGuard<'static, ()>,
}

impl Containerd {
    /// `None` where there is no containerd or we may not start it.
    fn start(more: &str) -> Option<Self> {
        let alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let there = Path::new("/usr/bin/containerd").exists() && nix::unistd::geteuid().is_root();
        if !there {
            assert!(std::env::var_os("SEAWORTHY_REQUIRE").is_none(), "this test needs root and containerd");
            println!("skipped: it needs root and /usr/bin/containerd");
            return None;
        }
        let root = tempfile::tempdir().unwrap();
        let path = |inside: &str| root.path().join(inside).display().to_string();
        for folder in ["etc/containerd", "run/containerd", "var/lib/containerd"] {
            std::fs::create_dir_all(path(folder)).unwrap();
        }
        let socket = path("run/containerd/containerd.sock");
        let config = format!(
            "version = 2\nroot = \"{}\"\nstate = \"{}\"\n{more}\n[grpc]\n  address = \"{socket}\"\n\
             [plugins.\"io.containerd.grpc.v1.cri\"]\n  restrict_oom_score_adj = true\n  stream_server_port = \"0\"\n",
            path("var/lib/containerd"),
            path("run/containerd/state"),
        );
        std::fs::write(path("etc/containerd/config.toml"), config).unwrap();
        let mut command = Command::new("/usr/bin/containerd");
        command.arg("--config").arg(path("etc/containerd/config.toml")).arg("--log-level=error");
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut containerd = Self { root, child, _alone: alone };
        let begun = Instant::now();
        while std::os::unix::net::UnixStream::connect(&socket).is_err() {
            assert!(containerd.child.try_wait().unwrap().is_none(), "containerd ended at start");
            assert!(begun.elapsed() < Duration::from_mins(1), "containerd does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        Some(containerd)
    }

    fn judged(&self) -> Run {
        let out = tempfile::tempdir().unwrap();
        // A folder is no running node: this machine is, in a mount namespace with the folder's /run.
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", "mount --bind \"$0\" /run && exec \"$@\""]);
        command.arg(self.root.path().join("run")).arg(env!("CARGO_BIN_EXE_seaworthy"));
        command.args(["run", "--passive", "--focus", "node.runtime"]);
        let output = command.arg("-O").arg(out.path()).env_remove("FOCUS").env_remove("SKIP").output().unwrap();
        let report = std::fs::read(out.path().join("report.json"));
        let report = report.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
        serde_json::from_slice(&report).unwrap()
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn verdict<'r>(run: &'r Run, id: &str) -> &'r Verdict {
    &run.results.iter().find(|result| result.trial == id).unwrap().verdict
}

#[test]
fn a_containerd_that_serves_the_cri_is_heard() {
    let Some(containerd) = Containerd::start("") else { return };
    let run = containerd.judged();
    for id in ["node.runtime.answers", "node.runtime.ready", "node.runtime.cri-plugin"] {
        assert_eq!(verdict(&run, id).outcome, Outcome::Pass, "{id}: {:?}", verdict(&run, id));
    }
    let answers = &verdict(&run, "node.runtime.answers").evidence[0];
    assert!(answers.value.starts_with("containerd "), "{answers:?}");
    // No CNI configuration is in its folders that we could know of: whatever it says, it says something.
    assert!(matches!(verdict(&run, "node.runtime.network-ready").outcome, Outcome::Pass | Outcome::Fail));
}

#[test]
fn a_disabled_plug_in_is_the_first_cause() {
    let Some(containerd) = Containerd::start("disabled_plugins = [\"io.containerd.grpc.v1.cri\"]") else { return };
    let run = containerd.judged();
    let answers = verdict(&run, "node.runtime.answers");
    assert_eq!(answers.outcome, Outcome::Undetermined, "{answers:?}");
    assert!(answers.reason.as_ref().unwrap().contains("because of node.runtime.cri-plugin"), "{answers:?}");
    let disabled = verdict(&run, "node.runtime.cri-plugin");
    assert_eq!(disabled.outcome, Outcome::Fail, "{disabled:?}");
    let finding = &disabled.findings[0];
    assert_eq!(finding.at.as_ref().unwrap().line, Some(4));
}

#[test]
fn a_configuration_that_containerd_refuses_is_refused_by_us() {
    // Version 1 knew plug-ins by short names; version 2 and later end at start with one.
    let Some(containerd) = Containerd::start("") else { return };
    let config = containerd.root.path().join("etc/containerd/config.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("disabled_plugins = [\"cri\"]\n{text}")).unwrap();
    let refused = Command::new("/usr/bin/containerd").arg("--config").arg(&config).arg("config").arg("dump").output();
    assert!(!refused.unwrap().status.success(), "containerd took it");
    let run = containerd.judged();
    let valid = verdict(&run, "node.runtime.config-valid");
    assert_eq!(valid.outcome, Outcome::Fail, "{valid:?}");
    assert_eq!(valid.findings[0].at.as_ref().unwrap().line, Some(1));
}

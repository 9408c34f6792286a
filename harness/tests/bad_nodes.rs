//! Nodes that answer late, too much or not at all; and runs that are ended from outside while they do.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code")]

use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use seaworthy_reports::{Outcome, Run};

/// A node's root whose containerd accepts and never answers. As a tree it is no running node, and nobody asks its
/// sockets; [`Hung::live`] is this machine with that runtime.
struct Hung {
    root: tempfile::TempDir,
    // Connections wait in its backlog for ever.
    _socket: UnixListener,
}

impl Hung {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        for folder in ["etc/containerd", "run/containerd", "var/lib/kubelet", "proc/sys/kernel"] {
            std::fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        std::fs::write(root.path().join("proc/sys/kernel/hostname"), "hung\n").unwrap();
        let socket = UnixListener::bind(root.path().join("run/containerd/containerd.sock")).unwrap();
        Self { root, _socket: socket }
    }

    fn run(&self, out: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_seaworthy"));
        command.args(["run", "--passive", "--host"]).arg(self.root.path()).arg("-O").arg(out);
        for name in ["FOCUS", "SKIP", "GITHUB_STEP_SUMMARY"] {
            command.env_remove(name);
        }
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    /// A run over this machine, in a mount namespace in which the folder's /run is the machine's; `None` without root.
    fn live(&self, out: &Path) -> Option<Command> {
        if !nix::unistd::geteuid().is_root() {
            assert!(std::env::var_os("SEAWORTHY_REQUIRE").is_none(), "this test needs root, to mount another /run");
            println!("skipped: it needs root, to mount another /run");
            return None;
        }
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-c", "mount --bind \"$0\" /run && exec \"$@\""]);
        command.arg(self.root.path().join("run")).arg(env!("CARGO_BIN_EXE_seaworthy"));
        command.args(["run", "--passive", "-O"]).arg(out);
        for name in ["FOCUS", "SKIP", "GITHUB_STEP_SUMMARY"] {
            command.env_remove(name);
        }
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        Some(command)
    }

    /// A run that has begun: it waits for the runtime.
    fn begun(&self, out: &Path) -> Option<Child> {
        let mut child = self.live(out)?.spawn().unwrap();
        while !std::fs::read_to_string(out.join("journal.jsonl")).is_ok_and(|text| text.contains('\n')) {
            assert!(child.try_wait().unwrap().is_none(), "it ended before it began");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        Some(child)
    }
}

fn report(out: &Path) -> Run {
    serde_json::from_slice(&std::fs::read(out.join("report.json")).unwrap()).unwrap()
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
}

#[test]
fn a_hung_runtime_is_named() {
    let (hung, out) = (Hung::new(), tempfile::tempdir().unwrap());
    let Some(mut command) = hung.live(out.path()) else { return };
    let output = command.output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert!(!err.contains("panicked"), "{err}");
    let run = report(out.path());
    let answers = &run.results.iter().find(|result| result.trial == "node.runtime.answers").unwrap().verdict;
    assert!(answers.findings.iter().any(|finding| finding.message.contains("hangs")), "{answers:?}");
}

#[test]
fn a_huge_file_is_not_read() {
    let tree = Hung::new();
    for path in ["etc/containerd/config.toml", "var/lib/kubelet/config.yaml", "etc/fstab"] {
        std::fs::File::create(tree.root.path().join(path)).unwrap().set_len(1 << 30).unwrap();
    }
    let out = tempfile::tempdir().unwrap();
    let output = tree.run(out.path()).output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(1 | 3)) && !err.contains("panicked"), "{err}");
    let run = report(out.path());
    for id in ["node.runtime.config-valid", "node.kubelet.config-valid"] {
        let verdict = &run.results.iter().find(|result| result.trial == id).unwrap().verdict;
        assert_eq!(verdict.outcome, Outcome::Undetermined);
        assert!(verdict.reason.as_ref().unwrap().contains("too large"), "{verdict:?}");
    }
}

#[test]
fn a_signal_ends_the_run_with_its_reports() {
    for (name, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        let (hung, out) = (Hung::new(), tempfile::tempdir().unwrap());
        let Some(mut child) = hung.begun(out.path()) else { return };
        signal(&child, name);
        assert_eq!(child.wait().unwrap().code(), Some(code), "{name}");
        for report in ["junit_01.xml", "report.json", "report.sarif", "report.md", "report.html"] {
            assert!(out.path().join(report).exists(), "{name}: no {report}");
        }
        let journal = std::fs::read_to_string(out.path().join("journal.jsonl")).unwrap();
        assert!(journal.contains(name.as_str()), "{name}: the journal does not say so");
        assert!(report(out.path()).results.iter().all(|result| result.verdict.outcome != Outcome::Pass));
    }
}

#[test]
fn a_second_signal_kills() {
    let (hung, out) = (Hung::new(), tempfile::tempdir().unwrap());
    let Some(mut child) = hung.begun(out.path()) else { return };
    // Two of the same, sent at once, may arrive as one.
    signal(&child, Signal::SIGINT);
    signal(&child, Signal::SIGTERM);
    assert!(matches!(child.wait().unwrap().code(), Some(130 | 143)));
    assert!(!out.path().join("report.json").exists(), "it was to end at once");
}

#[test]
fn after_kill_9_every_report_can_be_had() {
    let (hung, out) = (Hung::new(), tempfile::tempdir().unwrap());
    let Some(mut child) = hung.begun(out.path()) else { return };
    child.kill().unwrap();
    child.wait().unwrap();
    let mut again = Command::new(env!("CARGO_BIN_EXE_seaworthy"));
    let output = again.arg("report").arg(out.path()).arg("-O").arg(out.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let run = report(out.path());
    assert!(!run.complete && !run.results.is_empty());
    assert!(std::fs::read_to_string(out.path().join("report.html")).unwrap().contains("Incomplete"));
}

#[test]
fn two_clones_are_told_apart_by_nothing() {
    let (node, out) = (Hung::new(), tempfile::tempdir().unwrap());
    std::fs::write(node.root.path().join("etc/machine-id"), "0123\n").unwrap();
    drop(std::fs::remove_file(node.root.path().join("run/containerd/containerd.sock")));
    let mut command = node.run(out.path());
    let output = command.args(["--focus", "node.fleet"]).arg("--host").arg(node.root.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let run = report(out.path());
    for id in ["node.fleet.hostname", "node.fleet.machine-id"] {
        let results: Vec<_> = run.results.iter().filter(|result| result.trial == id).collect();
        assert_eq!(results.len(), 2);
        assert!(results.iter().all(|result| result.verdict.outcome == Outcome::Fail), "{results:?}");
    }
}

//! The image is built and run for real with podman, as a node's owner would.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code")]

use std::path::Path;
use std::process::{Command, Output};

use seaworthy_reports::{Outcome, Run};

const IMAGE: &str = "localhost/seaworthy-container-test";
/// What podman needs where the default limits are above what the machine grants.
const LIMITS: [&str; 4] = ["--ulimit", "nofile=20000:20000", "--ulimit", "nproc=20000:20000"];

fn podman(arguments: &[&str]) -> Output {
    Command::new("podman").args(arguments).output().unwrap()
}

/// Runs the image with what comes before and behind its usual options.
fn sail(options: &[&str]) -> (Option<i32>, String) {
    let output = podman(&[&["run", "--rm"][..], &LIMITS, options, &[IMAGE]].concat());
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code(), text)
}

fn report(folder: &Path) -> Run {
    serde_json::from_slice(&std::fs::read(folder.join("report.json")).unwrap()).unwrap()
}

#[test]
fn the_image_judges_the_node_that_it_runs_on() {
    let Some(binary) = std::env::var_os("SEAWORTHY_BIN") else {
        assert!(std::env::var_os("SEAWORTHY_REQUIRE").is_none(), "SEAWORTHY_BIN must name the static binary");
        println!("skipped: SEAWORTHY_BIN does not name a static binary; `cargo build --release` makes one");
        return;
    };
    let context = tempfile::tempdir().unwrap();
    std::fs::copy(binary, context.path().join("seaworthy")).unwrap();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Containerfile");
    let (file, folder) = (file.to_str().unwrap(), context.path().to_str().unwrap());
    let built =
        podman(&["build", "-q", LIMITS[0], LIMITS[1], "--build-arg", "FROM=local", "-t", IMAGE, "-f", file, folder]);
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));

    let (out, manifests) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let result = format!("{}:/var/result", out.path().display());
    let folder = manifests.path().display().to_string();
    let (mount, config) = (format!("{folder}:{folder}"), format!("CONFIG_DIR={folder}"));
    let (code, text) = sail(&[
        "--privileged",
        "--net=host",
        "-v",
        "/:/rootfs:ro",
        "-v",
        &result,
        "-v",
        &mount,
        "-e",
        &config,
        "-e",
        r"FOCUS=node\.sysctl|node\.machine",
        "-e",
        r"SKIP=\[Flaky\]|swap",
    ]);
    assert!(matches!(code, Some(0 | 1 | 3)), "{code:?}: {text}");
    let run = report(out.path());
    assert!(run.complete);
    let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(run.info.subjects[0].name, hostname.trim());
    let focused = |id: &str| (id.starts_with("node.sysctl") || id.starts_with("node.machine")) && !id.contains("swap");
    assert!(run.results.len() > 10 && run.results.iter().all(|result| focused(&result.trial)));
    let junit = std::fs::read_to_string(out.path().join("junit_01.xml")).unwrap();
    assert!(junit.contains("node.sysctl.net.ipv4.ip-forward") && !junit.contains("node.machine.swap"));

    // Without --privileged it still comes to a verdict.
    let (code, text) = sail(&["-v", "/:/rootfs:ro", "-v", &result]);
    assert!(matches!(code, Some(0 | 1 | 3)), "{code:?}: {text}");
    let run = report(out.path());
    assert!(run.complete);
    let veth = &run.results.iter().find(|result| result.trial == "node.probe.veth").unwrap().verdict;
    assert_eq!(veth.outcome, Outcome::Undetermined);
    assert!(veth.reason.as_ref().unwrap().contains("CAP_SYS_ADMIN"), "{veth:?}");

    // Nothing mounted: a usage error that says what to mount.
    let (code, text) = sail(&["-v", &result]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("-v /:/rootfs"), "{text}");
    podman(&["rmi", "-f", IMAGE]);
}

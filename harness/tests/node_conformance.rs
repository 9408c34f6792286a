//! The node-conformance suite on nodes that are broken on purpose: the trials that name a defect must fail where it is.
//!
//! Needs root and the programs that `seaworthy assets fetch` leaves in the cache; without them it says so and does
//! nothing, unless `SEAWORTHY_REQUIRE` is set. `SEAWORTHY_DEFECTS=all` tries every defect, a list of names those.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code")]

use std::path::Path;
use std::process::{Command, Stdio};

use seaworthy_suites::node_conformance_suite;
use serde_json::Value;

/// One of each way to break a node, among those that take a minute or two.
const SOME: [&str; 4] =
    ["runtime-loses-arguments", "runtime-grants-everything", "unsafe-sysctls-are-allowed", "images-are-replaced"];

fn program() -> Command {
    let binary = std::env::var_os("SEAWORTHY_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_seaworthy").into());
    let mut command = Command::new(binary);
    command.stdin(Stdio::null());
    command
}

/// Can clusters be raised here?
fn is_possible() -> bool {
    let mut command = program();
    command.args(["assets", "fetch", "--source", "cache", "-o", "path", "kubelet", "kube-apiserver", "etcd"]);
    let there = nix::unistd::Uid::effective().is_root() && command.output().unwrap().status.success();
    assert!(
        there || std::env::var_os("SEAWORTHY_REQUIRE").is_none(),
        "SEAWORTHY_REQUIRE is set: root and programs are wanted"
    );
    there
}

/// Runs the suite with some more words; its report.
fn run(words: &[&str], folder: &Path) -> Value {
    let mut command = program();
    command.args(["run", "--suite", "node-conformance", "--format", "json", "-O"]).arg(folder).args(words);
    let output = command.output().unwrap();
    let report = std::fs::read_to_string(folder.join("report.json"));
    let report =
        report.unwrap_or_else(|error| panic!("{words:?}: {error}: {}", String::from_utf8_lossy(&output.stderr)));
    serde_json::from_str(&report).unwrap()
}

/// The outcome of each trial of a report.
fn outcomes(report: &Value) -> Vec<(String, String, String)> {
    let results = report["results"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let one = |result: &Value| {
        let verdict = &result["verdict"];
        (text(&result["trial"]), text(&verdict["outcome"]), verdict.to_string())
    };
    results.iter().map(one).collect()
}

/// Is the widest of this file wanted?
fn is_nightly() -> bool {
    std::env::var_os("SEAWORTHY_NIGHTLY").is_some()
}

#[test]
fn trials_fail_on_nodes_that_are_broken_on_purpose() {
    // Of the nightly tier: each defect takes a minute or two.
    if !is_nightly() {
        println!("skipped: SEAWORTHY_NIGHTLY is not set");
        return;
    }
    if !is_possible() {
        println!("skipped: clusters cannot be raised here");
        return;
    }
    let suite = node_conformance_suite();
    let chosen = std::env::var("SEAWORTHY_DEFECTS").unwrap_or_else(|_| SOME.join(","));
    let wanted: Vec<_> = suite
        .defects
        .iter()
        .map(|defect| defect.name)
        .filter(|name| chosen == "all" || chosen.split(',').any(|one| one == *name))
        .collect();
    assert!(!wanted.is_empty(), "SEAWORTHY_DEFECTS={chosen} names no defect");
    let mut survived = Vec::new();
    for name in wanted {
        let folder = tempfile::tempdir().unwrap();
        let report = run(&["--defect", name], folder.path());
        let caught = suite.trials.iter().filter(|trial| trial.act().is_some_and(|act| act.caught_by == name)).count();
        let outcomes = outcomes(&report);
        assert_eq!(outcomes.len(), caught, "{name}: every trial that names it runs");
        survived.extend(
            outcomes
                .into_iter()
                .filter(|(_, outcome, _)| outcome != "fail")
                .map(|(trial, outcome, verdict)| format!("{name}: {trial}: {outcome} {verdict}")),
        );
    }
    assert!(survived.is_empty(), "{}", survived.join("\n"));
}

#[test]
fn trials_pass_on_a_healthy_node() {
    if !is_possible() {
        println!("skipped: clusters cannot be raised here");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    // A part of each area that takes seconds; the whole suite takes minutes.
    let focus = concat!(
        r"node-conformance\.(containers|env|messages|identity|security|resources|runtime-class",
        r"|static-pods\.created|streams)"
    );
    let report = run(&["--focus", focus], folder.path());
    let outcomes = outcomes(&report);
    assert!(outcomes.len() > 80, "{} trials ran", outcomes.len());
    let bad: Vec<_> = outcomes.into_iter().filter(|(_, outcome, _)| outcome != "pass").collect();
    assert!(bad.is_empty(), "{bad:#?}");
}

/// `seaworthy cluster` with these words; what it printed.
fn cluster(words: &[&str]) -> String {
    let output = program().arg("cluster").args(words).output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A cluster that goes with the test.
struct Raised(String);

impl Drop for Raised {
    fn drop(&mut self) {
        program().args(["cluster", "down", &self.0]).output().unwrap();
    }
}

/// What podman needs where the default limits are above what the machine grants.
const LIMITS: &str = "--ulimit nofile=20000:20000 --ulimit nproc=20000:20000";
const IMAGE: &str = "localhost/seaworthy-conformance-test";

/// Gathers what the image is built from, as docs/container.md says, where hosts see it: they have a /tmp of their own.
fn image_context() -> tempfile::TempDir {
    let mut fetch = program();
    fetch.args(["assets", "fetch", "--source", "cache", "-o", "path", "etcd", "kube-apiserver"]);
    let paths = fetch.args(["kube-controller-manager", "kube-scheduler"]).output().unwrap();
    let context = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    for path in String::from_utf8(paths.stdout).unwrap().lines().map(Path::new) {
        std::fs::copy(path, context.path().join(path.file_name().unwrap())).unwrap();
    }
    std::fs::copy(program().get_program(), context.path().join("seaworthy")).unwrap();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Containerfile");
    std::fs::copy(file, context.path().join("Containerfile")).unwrap();
    context
}

/// Lets containerd ask the image's own registry: hosts of the engine have a mirror for every other one.
const MIRRORS: &str = "certs=/var/lib/seaworthy/containerd/certs.d; for name in 127.0.0.1:5080 localhost:5080; do \
                       mkdir -p $certs/$name && echo 'server = \"http://127.0.0.1:5080\"' > $certs/$name/hosts.toml; \
                       done";

/// Starts the kubelet again as the document says: with an API server that the image is yet to start.
const KUBELET: &str = r#"
folder=$1; shift
server='{server: "http://localhost:8080"}'
printf "apiVersion: v1\nkind: Config\nclusters: [{name: a, cluster: $server}]\n" > $folder/conf
printf 'contexts: [{name: a, context: {cluster: a}}]\ncurrent-context: a\n' >> $folder/conf
for word; do
    case $word in --kubeconfig=* | --bootstrap-kubeconfig=*) ;; *) set -- "$@" "$word" ;; esac
    shift
done
setsid "$@" --kubeconfig=$folder/conf --anonymous-auth=true --authentication-token-webhook=false \
    --authorization-mode=AlwaysAllow --client-ca-file= > $folder/kubelet.log 2>&1 < /dev/null &
"#;

#[test]
fn the_image_tries_the_kubelet_that_it_runs_beside() {
    if !is_nightly() || !is_possible() {
        println!("skipped: SEAWORTHY_NIGHTLY is not set, or clusters cannot be raised here");
        return;
    }
    let context = image_context();
    let name = format!("beside{}", std::process::id());
    let raised = Raised(name.clone());
    cluster(&["up", "--name", &name, "--workers", "1", "--fast"]);
    let exec = |words: &[&str]| cluster(&[&["exec", "--name", &name, "worker1", "--"], words].concat());
    let words = exec(&["sh", "-c", "tr '\\0' '\\n' < /proc/$(pidof kubelet)/cmdline"]);
    cluster(&["fault", "--name", &name, "kill", "worker1/kubelet"]);
    let start = || exec(&[&["sh", "-c", KUBELET, "sh", "/tmp"], &words.lines().collect::<Vec<_>>()[..]].concat());
    start();
    let build = format!(
        "{MIRRORS}; mkdir -p $0 /tmp/result && cd {} && podman build -q {LIMITS} --target conformance --build-arg \
         FROM=local -t {IMAGE} .",
        context.path().display()
    );
    let manifests = "/etc/kubernetes/manifests";
    exec(&["sh", "-c", &build, manifests]);
    let sail = |variables: &str| {
        let script = format!(
            "rm -rf /tmp/result/*; podman run --rm --privileged --net=host {LIMITS} -v /:/rootfs:ro -v \
             {manifests}:{manifests} -e CONFIG_DIR={manifests} -v /tmp/result:/var/result {variables} {IMAGE} 2>&1 || \
             echo ended with $?"
        );
        let said = exec(&["sh", "-c", &script]);
        let report = serde_json::from_str(&exec(&["sh", "-c", "cat /tmp/result/report.json || true"]));
        let kubelet = || exec(&["tail", "-n", "30", "/tmp/kubelet.log"]);
        let found = outcomes(&report.unwrap_or_else(|error| panic!("{error}: {said}\nkubelet: {}", kubelet())));
        // What the node suite finds is the machine's.
        let acted = found.iter().filter(|(trial, ..)| trial.starts_with("node-conformance."));
        let bad: Vec<_> =
            acted.filter(|(_, outcome, _)| !["pass", "not-applicable"].contains(&outcome.as_str())).collect();
        assert!(bad.is_empty(), "{variables}: {bad:#?}\n{said}");
        found.into_iter().map(|(trial, ..)| trial).collect::<Vec<_>>()
    };
    let is_mirror = |trial: &String| trial.starts_with("node-conformance.static-pods.");
    let mirror = sail("-e FOCUS=MirrorPod");
    assert!(mirror.len() == 8 && mirror.iter().all(is_mirror), "{mirror:?}");
    // A kubelet registers once in its life.
    exec(&["sh", "-c", "kill $(pidof kubelet); while pidof kubelet > /dev/null; do sleep 1; done"]);
    start();
    let rest = sail(r"-e FOCUS='\[NodeConformance\]' -e SKIP=MirrorPod");
    assert!(rest.len() > 200 && !rest.iter().any(is_mirror), "{} trials ran", rest.len());
    drop(raised);
}

//! Suites that act on clusters, end to end: each is green on clusters of ours, and each of its defects is caught.
//!
//! The trials are made of the registry of suites: `green::SUITE`, and `defect::SUITE::NAME`, which raises broken
//! clusters and expects every claim that names the defect to fail. Needs root and the programs of `seaworthy assets
//! fetch`. Without `SEAWORTHY_NIGHTLY` only the suites of [`GREEN`] and the defects of [`DAILY`] are tried: each defect
//! takes half a minute or more.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use libtest_mimic::{Arguments, Failed, Trial};
use seaworthy_provision::assets::{Release, Request, find};
use seaworthy_reports::{Outcome, Run};
use seaworthy_suites::suites;

/// Suites that run each day as a whole; the others take longer, and run in the nightly tier.
const GREEN: [&str; 4] = ["dualstack", "podsecurity", "windows", "zones"];
/// Defects that are tried each day, `SUITE::NAME`.
const DAILY: [&str; 3] = ["dualstack::order-of-families", "windows::runtime-class-off", "zones::labels-wrong"];
/// The programs of clusters with workers.
const PROGRAMS: [&str; 17] = [
    "etcd",
    "etcdctl",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubectl",
    "kubeadm",
    "kubelet",
    "kube-proxy",
    "coredns",
    "containerd",
    "containerd-shim-runc-v2",
    "runc",
    "bridge",
    "host-local",
    "loopback",
    "portmap",
];

fn main() {
    let arguments = Arguments { test_threads: Some(1), ..Arguments::from_args() };
    let ignored = !arguments.list && !is_possible();
    let nightly = std::env::var_os("SEAWORTHY_NIGHTLY").is_some();
    let mut tests = Vec::new();
    for suite in suites().iter().filter(|suite| suite.trials.iter().any(|trial| trial.act().is_some())) {
        let name = suite.name;
        let daily = nightly || GREEN.contains(&name);
        let test = Trial::test(format!("green::{name}"), move || green(name));
        tests.push(test.with_ignored_flag(ignored || !daily));
        for defect in suite.defects {
            let defect = defect.name;
            let daily = nightly || DAILY.contains(&format!("{name}::{defect}").as_str());
            let test = Trial::test(format!("defect::{name}::{defect}"), move || caught(name, defect));
            tests.push(test.with_ignored_flag(ignored || !daily));
        }
    }
    tests.push(Trial::test("existing::dualstack", existing).with_ignored_flag(ignored || !nightly));
    libtest_mimic::run(&arguments, tests).exit();
}

/// Is everything there that clusters need? Where it must be, that it is not fails.
fn is_possible() -> bool {
    let missing = match Request::here(Release::newest(), &PROGRAMS).map(|request| find(&request)) {
        Some(Ok(_)) if nix::unistd::geteuid().is_root() => return true,
        Some(Err(missing)) => missing.to_string(),
        _ => "root and a HOME".to_owned(),
    };
    assert!(std::env::var_os("SEAWORTHY_REQUIRE").is_none(), "this test needs {missing}");
    println!("skipped: it needs {missing}");
    false
}

/// Runs a suite in a folder of clusters of its own, which must be empty afterwards.
fn run(words: &[&str], results: &Path) -> Result<(i32, Run, String), Failed> {
    let clusters = tempfile::tempdir_in("/var/lib").map_err(|error| error.to_string())?;
    let seaworthy = env!("CARGO_BIN_EXE_seaworthy");
    let mut command = Command::new(seaworthy);
    command.arg("run").args(words).arg("-O").arg(results).env("SEAWORTHY_STATE", clusters.path());
    let output = command.stdin(Stdio::null()).output().map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    println!("{said}");
    let listed = Command::new(seaworthy).args(["cluster", "list"]).env("SEAWORTHY_STATE", clusters.path()).output();
    let left = String::from_utf8_lossy(&listed.map_err(|error| error.to_string())?.stdout).into_owned();
    if !left.is_empty() {
        Command::new(seaworthy)
            .args(["cluster", "down", "--all"])
            .env("SEAWORTHY_STATE", clusters.path())
            .status()
            .ok();
        return Err(format!("clusters are left: {left}").into());
    }
    let report = std::fs::read(results.join("report.json")).map_err(|error| format!("{said}\nno report: {error}"))?;
    let run = serde_json::from_slice(&report).map_err(|error| error.to_string())?;
    Ok((output.status.code().unwrap_or(-1), run, said))
}

/// A cluster by kubeconfig is acted on as one that is not ours: what enters hosts or disturbs is skipped and says why,
/// a run that is killed leaves what `cluster sweep` removes, and a run that ends leaves nothing.
fn existing() -> Result<(), Failed> {
    let clusters = tempfile::tempdir_in("/var/lib").map_err(|error| error.to_string())?;
    let results = tempfile::tempdir().map_err(|error| error.to_string())?;
    let seaworthy = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_seaworthy"));
        command.args(words).env("SEAWORTHY_STATE", clusters.path()).stdin(Stdio::null());
        command
    };
    let up = ["cluster", "up", "--name", "existing", "--workers", "2", "--ip-family", "dual", "--fast", "-o", "json"];
    let output = seaworthy(&up).output().map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let events = said.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let kubeconfig = events.filter_map(|event| event["kubeconfig"].as_str().map(str::to_owned)).next_back();
    let tried = kubeconfig.ok_or(said).and_then(|path| on_existing(&seaworthy, &path, results.path()));
    seaworthy(&["cluster", "down", "--all"]).status().map_err(|error| error.to_string())?;
    tried.map_err(Into::into)
}

fn on_existing(seaworthy: &dyn Fn(&[&str]) -> Command, kubeconfig: &str, results: &Path) -> Result<(), String> {
    let folder = results.display().to_string();
    let words = ["run", "--suite", "dualstack", "--kubeconfig", kubeconfig, "-O", &folder];
    let left = || {
        let words = ["--kubeconfig", kubeconfig, "get", "namespaces", "-l", "seaworthy.dev/run", "-o", "name"];
        let kubectl = find(&Request::here(Release::newest(), &["kubectl"]).ok_or("no HOME")?);
        let kubectl = kubectl.map_err(|error| error.to_string())?;
        let program = kubectl.path("kubectl").ok_or("no kubectl")?.to_owned();
        let output = Command::new(program).args(words).output().map_err(|error| error.to_string())?;
        Ok::<_, String>(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    // Killed as soon as it has made something.
    let mut child = seaworthy(&words).spawn().map_err(|error| error.to_string())?;
    let begun = std::time::Instant::now();
    while left()?.is_empty() {
        if begun.elapsed() > std::time::Duration::from_mins(2) {
            child.kill().ok();
            return Err("the run makes no namespace".to_owned());
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    child.kill().and_then(|()| child.wait()).map_err(|error| error.to_string())?;
    let swept = seaworthy(&["cluster", "sweep", "--kubeconfig", kubeconfig]).output();
    let swept = swept.map_err(|error| error.to_string())?;
    if !swept.status.success() {
        return Err(format!("sweep: {}", String::from_utf8_lossy(&swept.stderr)));
    }
    let ended = seaworthy(&words).output().map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&[ended.stdout, ended.stderr].concat()).into_owned();
    let report = std::fs::read(results.join("report.json")).map_err(|error| format!("{said}\n{error}"))?;
    let run: Run = serde_json::from_slice(&report).map_err(|error| error.to_string())?;
    let reason = |id: &str| {
        let result = run.results.iter().find(|one| one.trial == id);
        result.and_then(|one| one.verdict.reason.clone()).unwrap_or_default()
    };
    for (id, why) in [
        ("dualstack.service-cidr.extension", "--allow-disruption="),
        ("dualstack.api.certificate", "only a cluster of ours allows"),
        ("dualstack.service.single-refuses", "this one has IPv4, then IPv6"),
    ] {
        if !reason(id).contains(why) {
            return Err(format!("{id} says '{}'; expected '{why}'\n{said}", reason(id)));
        }
    }
    // Namespaces go by themselves once they are deleted.
    let begun = std::time::Instant::now();
    loop {
        match left()? {
            none if none.is_empty() => break,
            some if begun.elapsed() > std::time::Duration::from_mins(3) => return Err(format!("left: {some}")),
            _ => std::thread::sleep(std::time::Duration::from_millis(500)),
        }
    }
    let passed = run.count(Outcome::Pass);
    if ended.status.code() == Some(0) && passed > 60 { Ok(()) } else { Err(format!("{passed} passed\n{said}")) }
}

/// A suite on clusters of ours: everything holds that applies, and something applies.
fn green(suite: &str) -> Result<(), Failed> {
    let began = Instant::now();
    let results = tempfile::tempdir().map_err(|error| error.to_string())?;
    let (code, run, said) = run(&["--suite", suite], results.path())?;
    let passed = run.count(Outcome::Pass);
    println!("{suite}: {passed} of {} passed in {:.0} s", run.results.len(), began.elapsed().as_secs_f64());
    if code == 0 && passed > 0 { Ok(()) } else { Err(format!("exit code {code}\n{said}").into()) }
}

/// A suite on clusters with a defect: every claim that names it fails somewhere, and nothing breaks.
fn caught(suite: &str, defect: &str) -> Result<(), Failed> {
    let began = Instant::now();
    let results = tempfile::tempdir().map_err(|error| error.to_string())?;
    let (code, run, said) = run(&["--suite", suite, "--defect", defect, "--fail-on", "info"], results.path())?;
    println!("{suite}::{defect}: {:.0} s", began.elapsed().as_secs_f64());
    let failed = |id: &str| run.results.iter().any(|one| one.trial == id && one.verdict.outcome == Outcome::Fail);
    let missed: Vec<_> = run.info.trials.iter().map(|trial| trial.id.as_str()).filter(|id| !failed(id)).collect();
    if code == 1 && missed.is_empty() {
        Ok(())
    } else {
        Err(format!("exit code {code}; not caught by {defect}: {missed:?}\n{said}").into())
    }
}

//! Every problem that the real `kubeadm init phase preflight` reports, we report too, and as gravely: on this host, and
//! on a small one from which each program that kubeadm asks for is missing in turn.
//!
//! `seaworthy assets fetch kubeadm` builds kubeadm from its released Go module, of the newest Kubernetes and of the
//! setup guide's. `SEAWORTHY_KUBEADM` names another build of the newest one.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code")]

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use seaworthy_checks::host::Layout;
use seaworthy_checks::node::preflight::PROGRAMS;
use seaworthy_checks::{KubernetesVersion, Profile};
use seaworthy_provision::assets::{Release, Request, find};
use seaworthy_reports::{Outcome, Severity, TrialInfo, Verdict};
use seaworthy_suites::{Node, Source, node_suite};

/// What kubeadm reports and no check of a node can: the name, and why.
const NOT_OURS: &[(&str, &str)] = &[
    ("ImagePull", "pulls images: it tells of the registry and the way there, not of the node"),
    ("KubernetesVersion", "compares kubeadm's own version with the one that was asked for"),
];

/// How kubeadm reports a problem, by the name of its check.
type Reported = BTreeMap<String, Level>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Warning,
    Error,
}

/// The names in `[ERROR Name]` and `[WARNING Name]`.
fn reported(output: &str) -> Reported {
    let mut names = Reported::new();
    for line in output.lines().map(str::trim_start) {
        let word = |word: &str, level| Some((line.strip_prefix(word)?.split_once(']')?.0.to_owned(), level));
        if let Some((name, level)) = word("[ERROR ", Level::Error).or_else(|| word("[WARNING ", Level::Warning)) {
            let known = names.entry(name).or_insert(level);
            *known = level.max(*known);
        }
    }
    names
}

#[test]
fn names_are_read_from_kubeadms_output() {
    let output = "[preflight] Some fatal errors:\n\t[ERROR Port-6443]: in use\n\t[WARNING Swap]: on\n\
                  \t[WARNING Port-6443]: x\n";
    let names = [("Port-6443".to_owned(), Level::Error), ("Swap".to_owned(), Level::Warning)];
    assert_eq!(reported(output), names.into());
}

/// A kubeadm and its release.
struct Kubeadm {
    path: PathBuf,
    version: String,
    minor: u32,
}

/// kubeadm of the newest release and of the setup guide's; none where they are not built.
fn kubeadms() -> Vec<Kubeadm> {
    let mut all = Vec::new();
    for release in [Some(Release::newest()), Release::pinned().find(|release| release.kubernetes.minor() == 23)] {
        let release = release.unwrap();
        let version = release.kubernetes.to_string().trim_start_matches('v').to_owned();
        let minor = release.kubernetes.minor();
        let named = std::env::var_os("SEAWORTHY_KUBEADM").filter(|_| minor > 23).map(PathBuf::from);
        let cached = || {
            let request = Request {
                sources: vec![seaworthy_provision::assets::Source::Cache],
                ..Request::here(release, &["kubeadm"])?
            };
            Some(find(&request).ok()?.iter().next()?.path.clone())
        };
        match named.or_else(cached) {
            Some(path) if nix::unistd::geteuid().is_root() => all.push(Kubeadm { path, version, minor }),
            _ => {
                assert!(std::env::var_os("SEAWORTHY_REQUIRE").is_none(), "this test needs root and kubeadm {version}");
                println!("skipped: it needs root and kubeadm {version}, which `seaworthy assets fetch kubeadm` builds");
            }
        }
    }
    all
}

impl Kubeadm {
    /// What `kubeadm init phase preflight` prints with programs from `path` alone.
    fn preflight(&self, path: Option<&Path>) -> String {
        let Self { version, minor, .. } = self;
        // A version, so that kubeadm asks no server for the newest one.
        let api = if *minor < 31 { "v1beta3" } else { "v1beta4" };
        let file = tempfile::NamedTempFile::new().unwrap();
        let content = format!(
            "apiVersion: kubeadm.k8s.io/{api}\nkind: ClusterConfiguration\nkubernetesVersion: v{version}\n---\n\
             apiVersion: kubeadm.k8s.io/{api}\nkind: InitConfiguration\n\
             nodeRegistration:\n  criSocket: unix:///run/containerd/containerd.sock\n",
        );
        std::fs::write(file.path(), content).unwrap();
        let mut command = Command::new(&self.path);
        command
            .args(["init", "phase", "preflight", "--ignore-preflight-errors=ImagePull", "--config"])
            .arg(file.path());
        if let Some(path) = path {
            command.env("PATH", path);
        }
        let output = command.output().unwrap();
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(text.contains("Running pre-flight checks"), "kubeadm did not get as far as its checks: {text}");
        text
    }

    fn profile(&self) -> Profile {
        let kubernetes = KubernetesVersion(self.minor);
        Profile { kubernetes, ..Profile::new(jiff::Timestamp::now()) }
    }

    /// What fails of ours on a node.
    fn failed(&self, node: &Node) -> Vec<(TrialInfo, Severity)> {
        let profile = self.profile();
        let trials = node_suite().trials.into_iter();
        let judged = trials.map(|trial| (trial.run(node, &[], &profile), trial.info));
        judged
            .filter(|(verdict, _)| verdict.outcome == Outcome::Fail)
            .map(|(v, info)| (info.clone(), severity(&v, &info)))
            .collect()
    }
}

/// The gravest finding's, as reports have it.
fn severity(verdict: &Verdict, info: &TrialInfo) -> Severity {
    let findings = verdict.findings.iter().map(|finding| finding.severity.unwrap_or(info.severity));
    findings.max().unwrap_or(info.severity)
}

#[test]
fn what_kubeadm_reports_we_report() {
    for kubeadm in kubeadms() {
        // What there is to report depends on the machine; a port in use is added to it, so that there is something.
        let taken = std::net::TcpListener::bind("127.0.0.1:10259").unwrap();
        let text = kubeadm.preflight(None);
        let node = Source::open("/".as_ref(), &Layout::default()).unwrap().gather(true, &["node"]);
        drop(taken);
        let failed = kubeadm.failed(&node);
        let names = reported(&text);
        assert!(names.contains_key("Port-10259"), "kubeadm did not see the port that is in use: {text}");
        // kubeadm of the guide's time puts IPv4 addresses in brackets, which the Go of today takes for no URL.
        let brackets = |name: &str| name == "HTTPProxyCIDR" && text.contains("invalid IP-literal");
        let ours = |name: &str| !brackets(name) && !NOT_OURS.iter().any(|(known, _)| *known == name);
        for (name, level) in names.iter().filter(|(name, _)| ours(name)) {
            // Releases differ in case: Service-kubelet, Service-Kubelet.
            let alias = |info: &TrialInfo| info.aliases.iter().any(|alias| alias.eq_ignore_ascii_case(name));
            let ours = failed.iter().filter(|(info, _)| alias(info)).map(|(_, severity)| *severity).max();
            let version = &kubeadm.version;
            let Some(ours) = ours else {
                panic!("kubeadm {version} reports {name}, and no check of ours with that alias fails:\n{text}")
            };
            if *level == Level::Error {
                assert!(
                    ours >= Severity::High,
                    "kubeadm {version} refuses a node for {name}, ours is {ours:?}:\n{text}"
                );
            }
        }
        println!("kubeadm {} reports {names:?}", kubeadm.version);
    }
}

/// A node's root with every program that any kubeadm asks for.
fn small_root(version: &str) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let bin = root.path().join("usr/bin");
    std::fs::create_dir_all(&bin).unwrap();
    std::fs::create_dir(root.path().join("etc")).unwrap();
    let program = |name: &str, text: &str| {
        std::fs::write(bin.join(name), format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(bin.join(name), std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    program("kubelet", &format!("echo Kubernetes v{version}"));
    for name in PROGRAMS.iter().map(|row| row.0) {
        program(name, "exit 0");
    }
    // kubeadm of the guide's time runs it.
    symlink("/usr/bin/uname", bin.join("uname")).unwrap();
    root
}

#[test]
fn without_each_program_that_kubeadm_asks_for() {
    for kubeadm in kubeadms() {
        let root = small_root(&kubeadm.version);
        let bin = root.path().join("usr/bin");
        let names: BTreeSet<_> = PROGRAMS.iter().map(|row| row.0).collect();
        let mut missed = 0;
        for missing in std::iter::once(None).chain(names.iter().copied().map(Some)) {
            let aside = root.path().join("aside");
            if let Some(name) = missing {
                std::fs::rename(bin.join(name), &aside).unwrap();
            }
            let text = kubeadm.preflight(Some(&bin));
            let node = Source::open(root.path(), &Layout::default()).unwrap().gather(true, &["node"]);
            let ours: Reported = kubeadm
                .failed(&node)
                .into_iter()
                .filter_map(|(info, severity)| {
                    let alias = info.aliases.iter().find(|alias| alias.starts_with("FileExisting-"))?;
                    let asked = names.contains(alias.trim_start_matches("FileExisting-"));
                    let level = match severity {
                        Severity::Info | Severity::Low => return None,
                        Severity::Medium => Level::Warning,
                        Severity::High | Severity::Critical => Level::Error,
                    };
                    asked.then(|| (alias.clone(), level))
                })
                .collect();
            let mut theirs = reported(&text);
            theirs.retain(|name, _| name.starts_with("FileExisting-"));
            assert_eq!(ours, theirs, "kubeadm {} without {missing:?}:\n{text}", kubeadm.version);
            missed += theirs.len();
            if let Some(name) = missing {
                std::fs::rename(&aside, bin.join(name)).unwrap();
            }
        }
        // Three since 1.33; eleven in 1.23.
        let least = if kubeadm.minor >= 33 { 3 } else { 11 };
        assert_eq!(missed, least, "kubeadm {} asks for another number of programs", kubeadm.version);
    }
}

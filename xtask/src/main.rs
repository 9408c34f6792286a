//! The project's own commands. `cargo xtask` lists them; CI and contributors run the same ones.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program for a terminal")]

mod columns;
mod steps;
mod testing;

use std::process::ExitCode;

use steps::Steps;

const USAGE: &str = "\
cargo xtask check   format, columns, spelling, lints, documentation, licenses; unit tests, recorded nodes (no root)
cargo xtask host    the static binary, Kubernetes from its Go modules, and every test (root, Debian, Go)
cargo xtask ci      installs what the tests need, then both: what CI runs
cargo xtask renew   writes anew what is generated: docs/checks.md, docs/node-conformance.md, snapshots, the schema";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (command, more) = (arguments.next(), arguments.next());
    let mut steps = Steps::begin();
    let done = match command.as_deref() {
        Some("check") if more.is_none() => check(&mut steps),
        Some("host") if more.is_none() => host(&mut steps),
        Some("ci") if more.is_none() => ci(&mut steps),
        Some("renew") if more.is_none() => renew(&mut steps),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("FAILED in: {}: {why}", steps.current());
            ExitCode::FAILURE
        }
    }
}

/// What needs no root, no Go and no cluster.
fn check(steps: &mut Steps) -> Result<(), String> {
    lint(steps)?;
    steps.begin_step("unit tests and recorded nodes");
    testing::run(&["--lib", "--test", "nodes", "--test", "registry", "--test", "acts", "--test", "docs"], &[])?;
    steps.end();
    Ok(())
}

fn lint(steps: &mut Steps) -> Result<(), String> {
    steps.begin_step("format");
    steps.run(&["cargo", "fmt", "--all", "--check"], &[])?;
    steps.begin_step("columns");
    columns::check()?;
    steps.begin_step("spelling");
    steps.run(&[".ci/spell"], &[])?;
    steps.begin_step("clippy");
    let clippy = ["cargo", "clippy", "--quiet", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
    steps.run(&clippy, &[])?;
    steps.begin_step("documentation");
    let doc = ["cargo", "doc", "--quiet", "--workspace", "--no-deps", "--document-private-items", "--locked"];
    steps.run(&doc, &[("RUSTDOCFLAGS", "-D warnings")])?;
    steps.begin_step("licenses, bans, sources");
    steps.run(&[".ci/deny"], &[])
}

/// All tests, those included that need root, Go or containerd: none may skip.
fn host(steps: &mut Steps) -> Result<(), String> {
    steps.begin_step("Python with consumers of reports");
    let python = steps.output(&[".ci/python"])?;
    steps.begin_step("the static binary");
    steps.run(&["cargo", "build", "--quiet", "--release", "--locked"], &[])?;
    let binary = steps::release_binary()?;
    steps.begin_step("Kubernetes and etcd from their Go modules");
    let assets = |more: &[&str]| {
        let fetch = ["assets", "fetch", "--source", "cache", "--source", "go-modules", "-o", "path"];
        steps.output(&[&[binary.as_str()][..], &fetch, more].concat())
    };
    assets(&PROGRAMS)?;
    assets(&[&["--kubernetes-version", "1.23.17"][..], &PROGRAMS].concat())?;
    assets(&["--kubernetes-version", "1.36.3", "kubelet", "kube-proxy"])?;
    let (kubeadm, containerd) = (assets(&["kubeadm"])?, assets(&["containerd"])?);
    steps.begin_step("tests");
    let environment = [
        ("SEAWORTHY_PYTHON", python.as_str()),
        ("SEAWORTHY_BIN", &binary),
        ("SEAWORTHY_REQUIRE", "1"),
        ("SEAWORTHY_KUBEADM", &kubeadm),
        ("SEAWORTHY_CONTAINERD", &containerd),
    ];
    testing::run(&[], &environment)?;
    steps.end();
    Ok(())
}

const PROGRAMS: [&str; 10] = [
    "kubeadm",
    "kubectl",
    "kubelet",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kube-proxy",
    "coredns",
    "etcd",
    "etcdctl",
];

fn ci(steps: &mut Steps) -> Result<(), String> {
    steps.begin_step("packages");
    steps.run(&[".ci/apt"], &[])?;
    lint(steps)?;
    host(steps)
}

fn renew(steps: &mut Steps) -> Result<(), String> {
    for test in ["docs", "render", "node_conformance", "nodes", "kubeadm_fields"] {
        steps.begin_step(test);
        let command = ["cargo", "test", "--quiet", "--workspace", "--locked", "--test", test];
        steps.run(&command, &[("SEAWORTHY_BLESS", "1"), ("INSTA_UPDATE", "always")])?;
    }
    steps.end();
    Ok(())
}

//! How long the node suite takes on this machine, beside `kubeadm init phase preflight` in the same run.
//!
//! `SEAWORTHY_KUBEADM=$(target/x86_64-unknown-linux-gnu/release/seaworthy assets fetch -o path kubeadm) cargo bench -p
//! seaworthy-harness --bench node`; the figures of a run are in docs/benchmarks.md. Both programs run in turn, so that
//! what slows the machine slows both.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::process::Command;
use std::time::Instant;

const ROUNDS: usize = 20;

fn millis(command: &mut Command) -> (f64, String) {
    let began = Instant::now();
    let output = command.output().unwrap();
    (began.elapsed().as_secs_f64() * 1000.0, String::from_utf8_lossy(&output.stderr).into_owned())
}

/// `gathered in 71.9 ms, judged in 24.1 ms, …`: the number behind a word.
fn figure(text: &str, word: &str) -> f64 {
    let at = text.find(word).unwrap_or_else(|| panic!("no '{word}' in: {text}"));
    text[at + word.len()..].trim_start_matches(" in ").split(' ').next().unwrap().parse().unwrap()
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let kubeadm = std::env::var_os("SEAWORTHY_KUBEADM");
    let config = tempfile::NamedTempFile::new().unwrap();
    let content = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nkubernetesVersion: v1.37.2\n";
    std::fs::write(config.path(), content).unwrap();
    let out = tempfile::tempdir().unwrap();
    let seaworthy = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_seaworthy"));
        command.args(["run", "--timings", "-O"]).arg(out.path()).args(more);
        command
    };
    let names =
        ["whole", "gather", "judge", "whole, passive", "gather, passive", "judge, passive", "kubeadm preflight"];
    let mut figures = vec![Vec::new(); names.len()];
    for _ in 0..ROUNDS {
        for (at, more) in [(0, &[][..]), (3, &["--passive"][..])] {
            let (whole, text) = millis(&mut seaworthy(more));
            figures[at].push(whole);
            figures[at + 1].push(figure(&text, "gathered"));
            figures[at + 2].push(figure(&text, "judged"));
        }
        if let Some(kubeadm) = &kubeadm {
            let mut command = Command::new(kubeadm);
            let command =
                command.args(["init", "phase", "preflight", "--ignore-preflight-errors=all,ImagePull", "--config"]);
            figures[6].push(millis(command.arg(config.path())).0);
        }
    }
    println!("median of {ROUNDS} rounds, in ms");
    for (name, values) in names.iter().zip(&mut figures).filter(|(_, values)| !values.is_empty()) {
        println!("{name:20} {:8.1}", median(values));
    }
    if kubeadm.is_some() {
        let ratio = median(&mut figures[6]) / median(&mut figures[3]);
        println!("kubeadm preflight takes {ratio:.2} times as long as our passive suite");
    }
}

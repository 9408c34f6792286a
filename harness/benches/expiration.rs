//! What an audit of one node's PKI costs beside `kubeadm certs check-expiration`, on a PKI that the same kubeadm made,
//! in the same run.
//!
//! `SEAWORTHY_KUBEADM=$(target/x86_64-unknown-linux-gnu/release/seaworthy assets fetch -o path kubeadm) cargo bench
//! --workspace --bench expiration`; the figures of a run are in docs/benchmarks.md. All run in turn, so that what slows
//! the machine slows all of them.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};

const ROUNDS: usize = 20;

/// Milliseconds of CPU that children of this process have used.
fn cpu() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    [usage.user_time(), usage.system_time()]
        .iter()
        .map(|time| time.tv_sec() as f64 * 1e3 + time.tv_usec() as f64 / 1e3)
        .sum()
}

/// Milliseconds by the clock and of CPU.
fn cost(command: &mut Command) -> [f64; 2] {
    let (began, before) = (Instant::now(), cpu());
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
    assert!(status.success(), "{command:?}: {status}");
    [began.elapsed().as_secs_f64() * 1e3, cpu() - before]
}

fn median(rounds: &[[f64; 2]], which: usize) -> f64 {
    let mut values: Vec<_> = rounds.iter().map(|round| round[which]).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The PKI and the kubeconfigs of a control-plane node below a root, and the configuration that they were made by.
fn make(kubeadm: &str, root: &Path, algorithm: &str) -> std::path::PathBuf {
    let kubernetes = root.join("etc/kubernetes");
    std::fs::create_dir_all(&kubernetes).unwrap();
    let config = root.join("config.yaml");
    let text = format!(
        "apiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\n\
         localAPIEndpoint: {{advertiseAddress: 10.0.0.11}}\n\
         nodeRegistration: {{name: cp1, criSocket: 'unix:///run/containerd/containerd.sock'}}\n---\n\
         apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nkubernetesVersion: v1.37.2\n\
         controlPlaneEndpoint: api.example.test:6443\nencryptionAlgorithm: {algorithm}\ncertificatesDir: {}\n",
        kubernetes.join("pki").display()
    );
    std::fs::write(&config, text).unwrap();
    let phase = |name| {
        let mut command = Command::new(kubeadm);
        command.args(["init", "phase", name, "all", "--config"]).arg(&config);
        command
    };
    cost(&mut phase("certs"));
    cost(phase("kubeconfig").arg("--kubeconfig-dir").arg(&kubernetes));
    config
}

fn main() {
    let kubeadm = std::env::var("SEAWORTHY_KUBEADM").expect("SEAWORTHY_KUBEADM must name kubeadm");
    let seaworthy = std::env::var("SEAWORTHY_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_seaworthy").to_owned());
    println!("median of {ROUNDS} rounds, in ms");
    for algorithm in ["RSA-2048", "ECDSA-P256"] {
        let root = tempfile::tempdir().unwrap();
        let config = make(&kubeadm, root.path(), algorithm);
        let out = tempfile::tempdir().unwrap();
        let ours = |arguments: &[&str]| {
            let mut command = Command::new(&seaworthy);
            command.args(arguments).arg("--host").arg(root.path());
            command
        };
        let mut rounds = [const { Vec::new() }; 3];
        for _ in 0..ROUNDS {
            let mut theirs = Command::new(&kubeadm);
            theirs.args(["certs", "check-expiration", "-o", "json", "--config"]).arg(&config);
            rounds[0].push(cost(&mut theirs));
            rounds[1].push(cost(&mut ours(&["pki", "expiry", "-o", "kubeadm"])));
            rounds[2].push(cost(ours(&["run", "--suite", "pki"]).arg("-O").arg(out.path())));
        }
        let names = ["kubeadm certs check-expiration", "seaworthy pki expiry", "seaworthy run --suite pki"];
        for (name, own) in names.iter().zip(&rounds) {
            let [wall, cpu] = [0, 1].map(|which| median(own, which));
            let ratio = [0, 1].map(|which| median(&rounds[0], which) / median(own, which));
            println!("{algorithm:11} {name:31} wall {wall:7.1} ({:5.2})  CPU {cpu:7.1} ({:5.2})", ratio[0], ratio[1]);
        }
    }
}

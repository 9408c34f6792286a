//! How long a whole PKI takes, beside `kubeadm init phase certs all` in the same run.
//!
//! `SEAWORTHY_KUBEADM=… cargo bench -p seaworthy-provision --bench pki`; the figures of a run are in docs/benchmarks.md.
//! The two take turns, and each makes every key anew.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::process::Command;
use std::time::Instant;

use seaworthy_provision::pki::{Algorithm, Spec, issue};

const ROUNDS: usize = 15;

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let kubeadm = std::env::var_os("SEAWORTHY_KUBEADM").expect("SEAWORTHY_KUBEADM names kubeadm");
    println!("median of {ROUNDS} rounds, in ms");
    for algorithm in [Algorithm::Rsa2048, Algorithm::Rsa3072, Algorithm::EcdsaP256] {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let dir = tempfile::tempdir().unwrap();
            let spec = Spec { algorithm, ..Spec::new("cp1", "10.0.0.11".parse().unwrap(), jiff::Timestamp::now()) };
            let began = Instant::now();
            issue(&spec, &dir.path().join("ours")).unwrap();
            ours.push(began.elapsed().as_secs_f64() * 1000.0);

            let config = dir.path().join("config.yaml");
            let content = format!(
                "apiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\nlocalAPIEndpoint: {{advertiseAddress: 10.0.0.11}}\n\
                 nodeRegistration: {{name: cp1, criSocket: 'unix:///run/containerd/containerd.sock'}}\n---\n\
                 apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nkubernetesVersion: v1.37.2\n\
                 encryptionAlgorithm: {algorithm}\ncertificatesDir: {}\n",
                dir.path().join("theirs").display()
            );
            std::fs::write(&config, content).unwrap();
            let began = Instant::now();
            let output = Command::new(&kubeadm)
                .args(["init", "phase", "certs", "all", "--config"])
                .arg(&config)
                .output()
                .unwrap();
            theirs.push(began.elapsed().as_secs_f64() * 1000.0);
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        let (ours, theirs) = (median(&mut ours), median(&mut theirs));
        println!("{:10}  ours {ours:7.1}  kubeadm {theirs:7.1}  ratio {:.1}", algorithm.to_string(), theirs / ours);
    }
}

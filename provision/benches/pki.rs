//! How long a whole PKI takes, beside `kubeadm init phase certs all` in the same run.
//!
//! `SEAWORTHY_KUBEADM=… cargo bench -p seaworthy-provision --bench pki`; the figures of a run are in
//! docs/benchmarks.md. The two take turns, and each makes every key anew. On a machine that is busy with other things,
//! CPU time tells more.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::process::Command;
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};
use seaworthy_provision::pki::{Algorithm, Spec, issue};

const ROUNDS: usize = 15;

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Medians of wall and CPU time.
#[derive(Default)]
struct Times(Vec<f64>, Vec<f64>);

impl Times {
    fn of<T>(&mut self, who: UsageWho, work: impl FnOnce() -> T) -> T {
        let used = || {
            let usage = getrusage(who).unwrap();
            let ms = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 * 1e3 + time.tv_usec() as f64 / 1e3;
            ms(usage.user_time()) + ms(usage.system_time())
        };
        let (began, before) = (Instant::now(), used());
        let done = work();
        self.0.push(began.elapsed().as_secs_f64() * 1e3);
        self.1.push(used() - before);
        done
    }
}

fn main() {
    let kubeadm = std::env::var_os("SEAWORTHY_KUBEADM").expect("SEAWORTHY_KUBEADM names kubeadm");
    println!("median of {ROUNDS} rounds, in ms");
    for algorithm in [Algorithm::Rsa2048, Algorithm::Rsa3072, Algorithm::EcdsaP256] {
        let (mut ours, mut theirs) = (Times::default(), Times::default());
        for _ in 0..ROUNDS {
            let dir = tempfile::tempdir().unwrap();
            let spec = Spec { algorithm, ..Spec::new("cp1", "10.0.0.11".parse().unwrap(), jiff::Timestamp::now()) };
            ours.of(UsageWho::RUSAGE_SELF, || issue(&spec, &dir.path().join("ours")).unwrap());

            let config = dir.path().join("config.yaml");
            let content = format!(
                "apiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\n\
                 localAPIEndpoint: {{advertiseAddress: 10.0.0.11}}\n\
                 nodeRegistration: {{name: cp1, criSocket: 'unix:///run/containerd/containerd.sock'}}\n---\n\
                 apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nkubernetesVersion: v1.37.2\n\
                 encryptionAlgorithm: {algorithm}\ncertificatesDir: {}\n",
                dir.path().join("theirs").display()
            );
            std::fs::write(&config, content).unwrap();
            let mut command = Command::new(&kubeadm);
            command.args(["init", "phase", "certs", "all", "--config"]).arg(&config);
            let output = theirs.of(UsageWho::RUSAGE_CHILDREN, || command.output().unwrap());
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        for (what, ours, theirs) in [("wall", ours.0, theirs.0), ("CPU", ours.1, theirs.1)] {
            let (ours, theirs) = (median(ours), median(theirs));
            let name = algorithm.to_string();
            println!("{name:10} {what:4}  ours {ours:7.1}  kubeadm {theirs:7.1}  ratio {:.1}", theirs / ours);
        }
    }
}

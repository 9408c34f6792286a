//! CPU time and memory of a hundred thousand TLS Secrets, from the pages as they come from the API to the verdicts:
//! what `run` does with them, but for asking the API and writing reports.
//!
//! `cargo bench --workspace --bench tls_secrets`. Pages are made while they are read, and their making is not counted.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nix::sys::resource::{UsageWho, getrusage};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, SignatureAlgorithm};
use seaworthy_checks::host::{
    Answer, ApiCall, Host, Query, Recorder, Reducer, Refusal, RefusalKind, Reply, SecretObject, SecretUses, TlsSecrets,
};
use seaworthy_checks::pki::{Facts, View, checks};
use seaworthy_checks::{Profile, Verdict};
use serde::Deserialize;

const SECRETS: usize = 100_000;
const PAGE: usize = 500;
/// How many namespaces there are.
const TEAMS: usize = 100;

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    items: Vec<SecretObject<'a>>,
}

/// A cluster of which nothing is known but its TLS Secrets, as they are reduced, and that pods name them all.
struct Reduced {
    secrets: Arc<TlsSecrets>,
    uses: Arc<SecretUses>,
}

impl Host for Reduced {
    fn ask(&self, query: &Query) -> Answer {
        match query {
            Query::Api { call: ApiCall::TlsSecrets } => Ok(Reply::TlsSecrets(self.secrets.clone())),
            Query::Api { call: ApiCall::SecretUses } => Ok(Reply::SecretUses(self.uses.clone())),
            Query::Api { call: ApiCall::Ingresses } => Ok(serde_json::json!([]).into()),
            Query::Kubeconfig => Ok(serde_json::json!({ "context": "bench" }).into()),
            _ => Err(Refusal::new(RefusalKind::NotAsked, "not in this benchmark")),
        }
    }
}

fn cpu() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    seconds(usage.user_time()) + seconds(usage.system_time())
}

/// Peak of the memory of this process, in MiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

/// Certificate and key in PEM, and then in base64, as a Secret has them.
fn pair(algorithm: &'static SignatureAlgorithm, number: usize) -> (String, String) {
    let key = KeyPair::generate_for(algorithm).unwrap();
    let names = vec![format!("www{number}.test"), format!("api{number}.test")];
    let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
    (STANDARD.encode(certificate.pem()), STANDARD.encode(key.serialize_pem()))
}

/// The names of all of them, a hundred namespaces with a thousand each.
fn uses() -> SecretUses {
    let names = |team| (team..SECRETS).step_by(TEAMS).map(|number| format!("www-{number}")).collect::<Vec<_>>();
    let all = (0..TEAMS).map(|team| (format!("team-{team}"), names(team))).collect::<BTreeMap<_, _>>();
    serde_json::from_value(serde_json::json!(all)).unwrap()
}

fn run(title: &str, mut pair: impl FnMut(usize) -> (String, String)) {
    let mut reducer = Reducer::default();
    let (mut spent, mut bytes) = (0.0, 0);
    for page in 0..SECRETS / PAGE {
        let items: Vec<_> = (0..PAGE)
            .map(|place| {
                let number = page * PAGE + place;
                let (certificate, key) = pair(number);
                format!(
                    r#"{{"metadata":{{"namespace":"team-{}","name":"www-{number}","uid":"6b1c",
"annotations":{{"a":"b"}}}},
"data":{{"tls.crt":"{certificate}","tls.key":"{key}"}},"type":"kubernetes.io/tls"}}"#,
                    number % TEAMS
                )
            })
            .collect();
        let text = format!(r#"{{"kind":"SecretList","metadata":{{"continue":"x"}},"items":[{}]}}"#, items.join(","));
        bytes += text.len();
        let before = cpu();
        let page: Page<'_> = serde_json::from_str(&text).unwrap();
        page.items.iter().for_each(|secret| reducer.add(secret));
        spent += cpu() - before;
    }
    let uses = Arc::new(uses());
    let before = cpu();
    let cluster = Reduced { secrets: Arc::new(reducer.finish()), uses };
    let recorder = Recorder::new(&cluster, false);
    drop(Facts::read(&recorder));
    let transcript = recorder.finish();
    let recording = cpu() - before;
    let before = cpu();
    let facts = Facts::read(&transcript);
    let profile = Profile::new(jiff::Timestamp::now());
    let view = View::alone(&facts, &profile);
    let judged =
        checks().into_iter().filter(|check| check.id.starts_with("pki.api.tls-") && check.id != "pki.api.tls-hosts");
    let held = judged.filter(|check| check.judge(&view).verdict == Verdict::Holds).count();
    assert_eq!(held, 5);
    let judging = cpu() - before;
    println!(
        "{title}: {:.2} s of CPU (reading {} MB {spent:.2}, recording {recording:.2}, judging {judging:.2}); peak of \
         the process {} MiB",
        spent + recording + judging,
        bytes / 1_000_000,
        peak()
    );
}

fn main() {
    println!("{SECRETS} TLS Secrets");
    // RSA keys take long to make: as many as there are wildcard certificates that many namespaces have a copy of.
    let few: Vec<_> = (0..500).map(|number| pair(&PKCS_RSA_SHA256, number)).collect();
    run("500 certificates, RSA-2048, each in 200 Secrets", |number| few[number % few.len()].clone());
    run("100,000 certificates, ECDSA P-256, each with its key", |number| pair(&PKCS_ECDSA_P256_SHA256, number));
}

//! The path verifier in its Go mode says what Go's own crypto/x509 says: of random chains, accept and refuse alike.
//!
//! `SEAWORTHY_GO_TOOLCHAINS=1.21.13,1.22.12,…` asks older versions of Go, too, each against its own mode; the go
//! command fetches them. `SEAWORTHY_ORACLE_CASES` is how many chains, `SEAWORTHY_ORACLE_SEED` which.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code")]

mod oracle;

use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oracle::ask::{ask, oracles, ours};
use oracle::chains::{Case, Generator};
use seaworthy_checks::pki::x509::path::{Mode, Signatures};

/// A difference from Go that is meant.
struct Justified {
    /// Which chains made by Go it is about.
    label: &'static str,
    /// Why.
    reason: &'static str,
}

/// Where our answer may differ from Go's, and why; docs/pki-verifier.md has the same table. Each of them must differ.
/// Of random chains none may.
const JUSTIFIED: &[Justified] = &[
    Justified { label: "RSA-1024 SHA384-RSA", reason: AWS_LC },
    Justified { label: "RSA-1024 SHA256-RSAPSS", reason: AWS_LC },
    Justified { label: "RSA-1024 SHA384-RSAPSS", reason: AWS_LC },
    Justified {
        label: "RSA-8200 SHA256-RSA",
        reason: "a TLS handshake of Go refuses RSA keys beyond 8192 bits, so that no component takes them",
    },
    Justified {
        label: "P-224 ECDSA-SHA256",
        reason: "AWS-LC's Rust interface has no P-224, which no issuer of Kubernetes makes",
    },
];
const AWS_LC: &str = "AWS-LC's Rust interface verifies RSA below 2048 bits only with PKCS#1 and SHA-1, SHA-256 or \
                      SHA-512";

#[test]
fn keys_of_every_kind_verify_as_in_go() {
    let dir = tempfile::tempdir().unwrap();
    for (program, version) in oracles(dir.path()).unwrap_or_default() {
        let output = Command::new(&program).arg("make").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let (mut labels, mut cases) = (Vec::new(), Vec::new());
        for line in String::from_utf8(output.stdout).unwrap().lines() {
            let made: serde_json::Value = serde_json::from_str(line).unwrap();
            let der = |value: &serde_json::Value| STANDARD.decode(value.as_str().unwrap()).unwrap();
            labels.push(made["label"].as_str().unwrap().to_owned());
            cases.push(Case {
                leaf: der(&made["leaf"]),
                intermediates: Vec::new(),
                roots: vec![der(&made["roots"][0])],
                usage: "server",
                names: vec!["kubernetes".to_owned()],
                time: made["time"].as_i64().unwrap(),
                story: Vec::new(),
            });
        }
        assert!(cases.len() > 30, "{labels:?}");
        let answers = ask(&program, &cases);
        let mut differ = Vec::new();
        for ((case, theirs), label) in cases.iter().zip(&answers).zip(&labels) {
            let ours = ours(case, Mode::Go(version), &Signatures::default());
            if theirs.is_empty() != ours.is_empty() {
                differ.push(label.as_str());
                assert!(
                    JUSTIFIED.iter().any(|one| one.label == label),
                    "{version}, {label}: Go: {theirs:?}; we: {ours}"
                );
            }
        }
        let stale: Vec<_> =
            JUSTIFIED.iter().filter(|one| !differ.contains(&one.label)).map(|one| (one.label, one.reason)).collect();
        assert_eq!(stale, [], "{version} and we agree on them by now");
    }
}

#[test]
fn go_and_we_accept_and_refuse_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let Some(oracles) = oracles(dir.path()) else { return };
    let number = |name: &str, default: u64| std::env::var(name).map_or(default, |value| value.parse().unwrap());
    let (count, seed) = (number("SEAWORTHY_ORACLE_CASES", 12_000), number("SEAWORTHY_ORACLE_SEED", 20_261_126));
    let mut generator = Generator::new(seed);
    let cases: Vec<_> = std::iter::repeat_with(|| generator.case()).take(usize::try_from(count).unwrap()).collect();
    let signatures = Signatures::default();
    for (program, version) in oracles {
        let answers = ask(&program, &cases);
        assert_eq!(answers.len(), cases.len());
        let (mut accepted, mut differ) = (0, Vec::new());
        for (index, (case, theirs)) in cases.iter().zip(&answers).enumerate() {
            let ours = ours(case, Mode::Go(version), &signatures);
            accepted += usize::from(theirs.is_empty());
            if theirs.is_empty() != ours.is_empty() {
                differ.push((index, theirs, ours));
            }
        }
        println!("{version}: {} cases, {accepted} accepted, {} differ", cases.len(), differ.len());
        for (index, theirs, ours) in differ.iter().take(15) {
            println!(
                "case {index}: Go: {theirs:?}; we: {ours}; {:?}; names {:?}",
                cases[*index].story, cases[*index].names
            );
        }
        assert!(differ.is_empty());
        // Neither answer is rare.
        assert!((cases.len() / 5..cases.len() * 4 / 5).contains(&accepted), "{accepted} were accepted");
    }
}

//! The cases of C2SP/x509-limbo: our RFC 5280 mode says what they expect, our Go mode what Go says.
//!
//! They are not in this repository: `SEAWORTHY_LIMBO=limbo.json cargo test -p seaworthy-checks --test limbo --
//! --ignored`, with the file from <https://github.com/C2SP/x509-limbo>. Cases about revocation lists and limits of
//! depth are left out: neither is what this verifier is for.

#![allow(clippy::unwrap_used, clippy::print_stdout, dead_code, reason = "test code")]

mod oracle;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oracle::ask::{ask, oracles, ours};
use oracle::chains::Case;
use seaworthy_checks::pki::x509::path::{Mode, Signatures};
use serde_json::Value;

/// What cases, by the beginning of their ids, our RFC 5280 mode accepts although they expect a refusal, and why. It
/// refuses nothing that they accept.
const DEVIATIONS: &[(&[&str], &str)] = &[
    (&["webpki::"], "rules of the CA/Browser Forum for public CAs, which a cluster's are not"),
    (
        &["rfc5280::aki::", "rfc5280::ski::"],
        "section 4.2.1 wants key identifiers of issuers, section 6 does not ask for them: lint 17",
    ),
    (
        &["rfc5280::serial::"],
        "section 4.1.2.2 wants good serial numbers of issuers, section 6 does not ask for them: lint 4",
    ),
    (
        &[
            "rfc5280::nc::permitted-dns-match-noncritical",
            "rfc5280::pc::ica-noncritical-pc",
            "rfc5280::san::noncritical-with-empty-subject",
        ],
        "that an extension should be critical is a rule for issuers",
    ),
    (&["rfc5280::nc::not-allowed-in-ee-"], "what a leaf constrains, nobody signs for"),
    (
        &["rfc5280::nc::invalid-dnsname-leading-period"],
        "all verifiers take a dot before a DNS constraint (erratum 5997)",
    ),
    (
        &["rfc5280::san::underscore-dns", "rfc5280::ca-empty-subject", "rfc5280::leaf-ku-keycertsign"],
        "rules for issuers; lints 19 and 20",
    ),
    (
        &["rfc5280::root-"],
        "a trust anchor is a name and a key (section 6.1.1 d): what else stands in its certificate does not count",
    ),
];

struct Limbo {
    id: String,
    case: Case,
    accepts: bool,
}

fn der(pem: &Value) -> Vec<u8> {
    let lines: String = pem.as_str().unwrap().lines().filter(|line| !line.starts_with("-----")).collect();
    STANDARD.decode(lines).unwrap()
}

fn cases() -> Vec<Limbo> {
    let file = std::env::var("SEAWORTHY_LIMBO").expect("SEAWORTHY_LIMBO names limbo.json");
    let all: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let left_out = |one: &&Value| {
        let features = one["features"].as_array().unwrap();
        !features.iter().any(|feature| matches!(feature.as_str().unwrap(), "has-crl" | "max-chain-depth"))
    };
    let ders = |all: &Value| all.as_array().unwrap().iter().map(der).collect::<Vec<_>>();
    let made = |one: &Value| {
        let name =
            one["expected_peer_name"]["value"].as_str().filter(|_| one["expected_peer_name"]["kind"] != "RFC822");
        let time = one["validation_time"].as_str().map_or(jiff::Timestamp::now(), |time| time.parse().unwrap());
        let case = Case {
            leaf: der(&one["peer_certificate"]),
            intermediates: ders(&one["untrusted_intermediates"]),
            roots: ders(&one["trusted_certs"]),
            usage: if one["validation_kind"] == "CLIENT" { "client" } else { "server" },
            names: name.map(str::to_owned).into_iter().collect(),
            time: time.as_second(),
            story: Vec::new(),
        };
        Limbo { id: one["id"].as_str().unwrap().to_owned(), case, accepts: one["expected_result"] == "SUCCESS" }
    };
    let cases: Vec<_> = all["testcases"].as_array().unwrap().iter().filter(left_out).map(made).collect();
    println!("{} cases", cases.len());
    cases
}

#[test]
#[ignore = "needs limbo.json"]
fn rfc_5280_mode_says_what_limbo_expects() {
    let mut used = vec![false; DEVIATIONS.len()];
    let mut wrong = Vec::new();
    for one in cases() {
        let ours = ours(&one.case, Mode::Rfc5280, &Signatures::default());
        let deviates = DEVIATIONS.iter().position(|(ids, _)| ids.iter().any(|id| one.id.starts_with(id)));
        match (ours.is_empty(), one.accepts, deviates) {
            (true, true, _) | (false, false, _) => {}
            (true, false, Some(reason)) => used[reason] = true,
            _ => {
                wrong.push(format!("{} should be {}: {ours}", one.id, if one.accepts { "accepted" } else { "refused" }))
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ\n{}", wrong.len(), wrong.join("\n"));
    let stale: Vec<_> = DEVIATIONS.iter().zip(used).filter(|(_, used)| !used).collect();
    assert!(stale.is_empty(), "no longer so: {stale:?}");
}

#[test]
#[ignore = "needs limbo.json"]
fn go_mode_says_what_go_says() {
    let dir = tempfile::tempdir().unwrap();
    let (ids, cases): (Vec<_>, Vec<_>) = cases().into_iter().map(|one| (one.id, one.case)).unzip();
    for (program, version) in oracles(dir.path()).unwrap_or_default() {
        let answers = ask(&program, &cases);
        for ((case, id), theirs) in cases.iter().zip(&ids).zip(&answers) {
            let ours = ours(case, Mode::Go(version), &Signatures::default());
            assert_eq!(theirs.is_empty(), ours.is_empty(), "{version}, {id}: Go: {theirs:?}; we: {ours}");
        }
    }
}

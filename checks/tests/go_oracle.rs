//! The path verifier in its Go mode says what Go's own crypto/x509 says: of random chains, accept and refuse alike.
//!
//! `SEAWORTHY_GO_TOOLCHAINS=1.21.13,1.22.12,…` asks older versions of Go, too, each against its own mode; the go command fetches them.
//! `SEAWORTHY_ORACLE_CASES` is how many chains, `SEAWORTHY_ORACLE_SEED` which.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code")]

mod oracle;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use oracle::chains::{Case, Generator};
use seaworthy_checks::pki::x509::path::{Mode, Outcome, Pool, Request, Signatures, Usage, WantedName};
use seaworthy_checks::pki::x509::{Certificate, GoVersion};

fn required(what: &str) {
    assert!(std::env::var_os("SEAWORTHY_REQUIRE").is_none(), "this test needs {what}");
    println!("skipped: it needs {what}");
}

/// A difference from Go that is meant.
struct Justified {
    /// Which chains made by Go it is about.
    label: &'static str,
    /// Why.
    reason: &'static str,
}

/// Where our answer may differ from Go's, and why; docs/pki-verifier.md has the same table. Each of them must differ. Of random chains none may.
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
const AWS_LC: &str =
    "AWS-LC's Rust interface verifies RSA below 2048 bits only with PKCS#1 and SHA-1, SHA-256 or SHA-512";

/// The go command of a version; of the one that is installed, if none is named.
fn go(toolchain: Option<&str>) -> Command {
    let mut command = Command::new("go");
    command.env("GOTOOLCHAIN", toolchain.map_or("local".to_owned(), |version| format!("go{version}")));
    command.env("GOFLAGS", "").env_remove("GODEBUG");
    command
}

/// The oracle, built by a version of Go, and that version.
fn oracle(toolchain: Option<&str>, dir: &Path) -> Option<(PathBuf, GoVersion)> {
    let version = go(toolchain).args(["env", "GOVERSION"]).output().ok().filter(|output| output.status.success())?;
    let version: GoVersion = String::from_utf8(version.stdout).unwrap().trim().parse().unwrap();
    // In a module of that version: what GODEBUG is by default hangs on its go line.
    let dir = dir.join(toolchain.unwrap_or("local"));
    std::fs::create_dir(&dir).unwrap();
    let line = version.to_string().to_lowercase();
    std::fs::write(dir.join("go.mod"), format!("module oracle\n\n{line}\n")).unwrap();
    std::fs::write(dir.join("main.go"), include_str!("oracle/main.go")).unwrap();
    std::fs::write(dir.join("make.go"), include_str!("oracle/make.go")).unwrap();
    let built = go(toolchain).args(["build", "-o", "oracle", "."]).current_dir(&dir).status().unwrap();
    assert!(built.success(), "the oracle does not build");
    Some((dir.join("oracle"), version))
}

/// What Go says of each case: empty if it accepts.
fn ask(program: &Path, cases: &[Case]) -> Vec<String> {
    let mut child = Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let encode = |all: &[Vec<u8>]| all.iter().map(|der| STANDARD.encode(der)).collect::<Vec<_>>();
    let questions: String = cases
        .iter()
        .map(|case| {
            let (intermediates, roots) = (encode(&case.intermediates), encode(&case.roots));
            let question = serde_json::json!({
                "leaf": STANDARD.encode(&case.leaf), "intermediates": intermediates, "roots": roots,
                "usage": case.usage, "names": case.names, "time": case.time,
            });
            format!("{question}\n")
        })
        .collect();
    let writer = std::thread::spawn(move || stdin.write_all(questions.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// What we say: empty if we accept.
fn ours(case: &Case, version: GoVersion, signatures: &Signatures) -> String {
    let parse = |der: &[u8]| Certificate::parse(der).map(Arc::new);
    let leaf = match parse(&case.leaf) {
        Ok(leaf) => leaf,
        Err(error) => return error.to_string(),
    };
    let pool = |all: &[Vec<u8>]| Pool::new(all.iter().filter_map(|der| parse(der).ok()));
    let names: Vec<_> = case.names.iter().cloned().map(WantedName::Dns).collect();
    let usage = match case.usage {
        "server" => Usage::Server,
        "client" => Usage::Client,
        _ => Usage::Any,
    };
    let time = jiff::Timestamp::from_second(case.time).unwrap();
    let (intermediates, roots) = (pool(&case.intermediates), pool(&case.roots));
    let request = Request { leaf: &leaf, intermediates: &intermediates, roots: &roots, usage, names: &names, time };
    let mode = Mode::Go(version);
    match request.verify(mode, signatures) {
        Outcome::Accepted(path) => {
            assert!(path.is_accepted(mode));
            String::new()
        }
        Outcome::Refused(refused) => {
            assert!(!refused.paths.is_empty());
            let told: Vec<_> = refused
                .paths
                .iter()
                .map(|path| {
                    let all: Vec<_> =
                        path.refusals(mode).map(|problem| format!("{} {}", problem.at, problem.kind)).collect();
                    // What is refused is explained, and nothing is explained that is not refused.
                    assert!(!all.is_empty() || refused.too_much_work, "a path without a problem was refused");
                    all.join(", ")
                })
                .collect();
            format!("{:?}", told)
        }
    }
}

/// The oracle of the installed Go, and of those that SEAWORTHY_GO_TOOLCHAINS names.
fn oracles(dir: &Path) -> Option<Vec<(PathBuf, GoVersion)>> {
    let Some(installed) = oracle(None, dir) else {
        required("Go");
        return None;
    };
    let more = std::env::var("SEAWORTHY_GO_TOOLCHAINS").unwrap_or_default();
    let more = more.split(',').filter(|version| !version.is_empty()).map(|version| oracle(Some(version), dir).unwrap());
    Some(std::iter::once(installed).chain(more).collect())
}

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
            let ours = ours(case, version, &Signatures::default());
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
            let ours = ours(case, version, &signatures);
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

//! Go's answer to a case, and ours.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use seaworthy_checks::pki::x509::path::{Mode, Outcome, Pool, Request, Signatures, Usage, WantedName};
use seaworthy_checks::pki::x509::{Certificate, GoVersion};

use super::chains::Case;

fn required(what: &str) {
    assert!(std::env::var_os("SEAWORTHY_REQUIRE").is_none(), "this test needs {what}");
    println!("skipped: it needs {what}");
}

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
    std::fs::write(dir.join("main.go"), include_str!("main.go")).unwrap();
    std::fs::write(dir.join("make.go"), include_str!("make.go")).unwrap();
    let built = go(toolchain).args(["build", "-o", "oracle", "."]).current_dir(&dir).status().unwrap();
    assert!(built.success(), "the oracle does not build");
    Some((dir.join("oracle"), version))
}

/// What Go says of each case: empty if it accepts.
pub(crate) fn ask(program: &Path, cases: &[Case]) -> Vec<String> {
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
pub(crate) fn ours(case: &Case, mode: Mode, signatures: &Signatures) -> String {
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
pub(crate) fn oracles(dir: &Path) -> Option<Vec<(PathBuf, GoVersion)>> {
    let Some(installed) = oracle(None, dir) else {
        required("Go");
        return None;
    };
    let more = std::env::var("SEAWORTHY_GO_TOOLCHAINS").unwrap_or_default();
    let more = more.split(',').filter(|version| !version.is_empty()).map(|version| oracle(Some(version), dir).unwrap());
    Some(std::iter::once(installed).chain(more).collect())
}

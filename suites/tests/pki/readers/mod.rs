//! What a file is refused for, file by file: the functions of Go, client-go and etcd that read it are linked into an
//! oracle, which is asked of thousands of files what the suite is asked. What they refuse must be critical, and nothing
//! else may be.

mod corpus;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use seaworthy_checks::Verdict;
use seaworthy_checks::host::{Host as _, LiveHost, Query, Reply, Transcript, credentials};
use seaworthy_checks::pki::{Check, Facts, View, checks};

use crate::mutations::files::{APISERVER, flag};
use crate::tree::{Base, Tree};
use corpus::Case;

/// Which function reads a file: its name in the oracle, and the file on the node.
const READERS: &[(&str, &str)] = &[
    ("pair", "/etc/kubernetes/pki/apiserver.crt"),
    ("pair-key", "/etc/kubernetes/pki/apiserver.key"),
    ("both", "/var/lib/kubelet/pki/kubelet-client-current.pem"),
    ("certificates", "/etc/kubernetes/pki/front-proxy-ca.crt"),
    ("pool", KUBELET_CA),
    ("pool-data", SCHEDULER),
    ("etcd-pool", "/etc/kubernetes/pki/etcd/ca.crt"),
    ("signing-key", "/etc/kubernetes/pki/ca.key"),
    ("token-key", "/etc/kubernetes/pki/sa.key"),
    ("token-keys", "/etc/kubernetes/pki/sa.pub"),
    ("kubeconfig", SCHEDULER),
];
const KUBELET_CA: &str = "/etc/kubernetes/pki/kubelets.crt";
const SCHEDULER: &str = "/etc/kubernetes/scheduler.conf";

/// Go's answer.
#[derive(Debug)]
struct Answer {
    error: String,
    taken: usize,
}

/// The oracle, built; nothing without Go.
fn build(folder: &Path) -> Option<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pki/readers/oracle");
    let program = folder.join("readers");
    let mut go = Command::new("go");
    go.env("GOTOOLCHAIN", "local").env("GOFLAGS", "-mod=readonly -buildvcs=false").env_remove("GODEBUG");
    match go.args(["build", "-o"]).arg(&program).arg(".").current_dir(source).output() {
        Ok(output) if output.status.success() => Some(program),
        other => {
            let why =
                other.map_or_else(|error| error.to_string(), |output| String::from_utf8_lossy(&output.stderr).into());
            assert!(std::env::var_os("SEAWORTHY_REQUIRE").is_none(), "this test needs Go and its modules: {why}");
            println!("skipped: it needs Go and its modules: {why}");
            None
        }
    }
}

/// What Go can make, in DER, by name.
fn made(program: &Path) -> BTreeMap<String, Vec<u8>> {
    let output = Command::new(program).arg("make").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let all: BTreeMap<String, String> = serde_json::from_slice(&output.stdout).unwrap();
    all.into_iter().map(|(name, der)| (name, STANDARD.decode(der).unwrap())).collect()
}

fn ask(program: &Path, cases: &[Case]) -> Vec<Answer> {
    let mut child = Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let questions: String = cases
        .iter()
        .map(|case| {
            let reader = if case.reader == "pool-data" { "pool" } else { case.reader };
            format!("{}\n", serde_json::json!({ "reader": reader, "file": STANDARD.encode(&case.file) }))
        })
        .collect();
    let writer = std::thread::spawn(move || stdin.write_all(questions.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().lines().map(answer).collect()
}

fn answer(line: &str) -> Answer {
    let answer: serde_json::Value = serde_json::from_str(line).unwrap();
    let taken = usize::try_from(answer["taken"].as_u64().unwrap()).unwrap();
    Answer { error: answer["error"].as_str().unwrap().to_owned(), taken }
}

/// A node of which one file after the other is replaced.
struct World {
    transcript: Transcript,
    scheduler: serde_json::Value,
    checks: Vec<Check>,
}

impl World {
    fn new() -> Self {
        let tree = Tree::new(Base::Ecdsa).unwrap();
        let ca = tree.read("etc/kubernetes/pki/ca.crt");
        tree.write(&KUBELET_CA[1..], ca);
        flag(&tree, APISERVER, &format!("kubelet-certificate-authority={KUBELET_CA}"));
        let scheduler = serde_saphyr::from_str(&tree.read(&SCHEDULER[1..])).unwrap();
        let transcript = crate::record(&LiveHost::open(tree.root()).unwrap());
        let of_files = |id: &str| {
            let families =
                ["pki.file.", "pki.certificate.", "pki.kubeconfig.parses", "pki.key.curve", "pki.key.algorithm"];
            let others = ["mode", "owner", "next-version"];
            families.iter().any(|family| id.starts_with(family)) && !others.iter().any(|other| id.contains(other))
        };
        let checks = checks().into_iter().filter(|check| of_files(&check.id)).collect();
        Self { transcript, scheduler, checks }
    }

    /// What is found in the file of a case: critical claims, and the others.
    fn judge(&self, transcript: &mut Transcript, case: &Case) -> (Vec<String>, Vec<String>, usize) {
        let path = READERS.iter().find(|(reader, _)| *reader == case.reader).unwrap().1;
        let bytes = if case.reader == "pool-data" {
            let mut config = self.scheduler.clone();
            config["clusters"][0]["cluster"]["certificate-authority-data"] = STANDARD.encode(&case.file).into();
            serde_json::to_vec(&config).unwrap()
        } else {
            case.file.clone()
        };
        let query = Query::Credentials { path: path.to_owned() };
        let answer = Reply::from(serde_json::to_value(credentials(&bytes)).unwrap());
        let before = transcript.ask(&query);
        transcript.insert(query.clone(), Ok(answer));
        let facts = Facts::of_roles(transcript);
        transcript.insert(query, before);
        let profile = crate::profile();
        let (mut critical, mut others) = (Vec::new(), Vec::new());
        for check in &self.checks {
            let Verdict::Breached(breaches) = check.judge(&View::alone(&facts, &profile)).verdict else { continue };
            for breach in breaches.iter().filter(|breach| breach.message.contains(path)) {
                let all =
                    if check.severity == seaworthy_checks::Severity::Critical { &mut critical } else { &mut others };
                all.push(format!("{}: {}", check.id, breach.message));
            }
        }
        let taken = facts.bundles.iter().find(|bundle| bundle.file == path);
        (critical, others, taken.map_or(0, |bundle| bundle.certificates.len()))
    }
}

#[test]
fn what_the_real_reader_refuses_is_critical_and_nothing_else_is() {
    let folder = tempfile::tempdir().unwrap();
    let Some(program) = build(folder.path()) else { return };
    let world = World::new();
    let cases = corpus::cases(&made(&program), &world.scheduler);
    assert!(cases.len() >= 2000, "{} cases", cases.len());
    let answers = ask(&program, &cases);
    assert_eq!(answers.len(), cases.len());
    let (next, faults, refused) = (AtomicUsize::new(0), Mutex::new(Vec::new()), AtomicUsize::new(0));
    let work = || {
        let mut transcript = world.transcript.clone();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let (Some(case), Some(answer)) = (cases.get(at), answers.get(at)) else { break };
            let (critical, others, taken) = world.judge(&mut transcript, case);
            refused.fetch_add(usize::from(!answer.error.is_empty()), Ordering::Relaxed);
            // What is accepted is taken as it is there: as many CAs are trusted.
            let counted = matches!(case.reader, "certificates" | "pool" | "etcd-pool") && answer.error.is_empty();
            let same = critical.is_empty() == answer.error.is_empty() && (!counted || taken >= answer.taken);
            if !same {
                faults.lock().unwrap().push(format!(
                    "{} {}: Go: {:?}, {} taken; we: {critical:#?}, {taken} taken; beside that {others:#?}",
                    case.reader, case.name, answer.error, answer.taken
                ));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let (mut faults, refused) = (faults.into_inner().unwrap(), refused.into_inner());
    faults.sort();
    println!("{} files, {refused} refused, {} judged otherwise", cases.len(), faults.len());
    assert!(faults.is_empty(), "{} of {}:\n{}", faults.len(), cases.len(), faults[..faults.len().min(60)].join("\n"));
    // Neither answer is rare.
    assert!(refused > cases.len() / 10 && refused < cases.len() * 9 / 10, "{refused}");
}

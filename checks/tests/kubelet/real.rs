//! Real kubelets: each case is started with the real program, which ends since its kubeconfig is missing. 1.37 logs
//! what it merged before that. 1.23 does not; an oracle that has this kubelet in it prints what it would serve at
//! `/configz`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use seaworthy_checks::effective::kubelet::{Kubelet, Sources, duration, tables};
use seaworthy_checks::effective::systemd::Word;
use seaworthy_checks::host::LiveHost;
use serde_json::Value;

use crate::cases::{CASES, Case, DROP_INS, HEAD};

/// The kubelet of a release from the cache; without it the test is skipped, and fails where it must not be.
fn kubelet(release: &str) -> Option<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let base = base.or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache")))?;
    let path = base.join(format!("seaworthy/kubernetes/v{release}/kubelet"));
    if path.is_file() {
        return Some(path);
    }
    let need = format!("{}: `seaworthy assets fetch --kubernetes-version {release} kubelet`", path.display());
    assert!(std::env::var_os("SEAWORTHY_REQUIRE").is_none(), "this test needs {need}");
    println!("skipped: it needs {need}");
    None
}

/// The oracle, built as `seaworthy assets fetch` builds the kubelet: what is compiled already is not compiled again.
fn oracle(release: &str, folder: &Path) -> PathBuf {
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../provision/gomod/kubernetes-v{release}"));
    for name in ["go.mod", "go.sum"] {
        std::fs::copy(module.join(name), folder.join(name)).unwrap();
    }
    std::fs::write(folder.join("main.go"), include_str!("oracle/main.go")).unwrap();
    let mut go = Command::new("go");
    go.env("CGO_ENABLED", "0").env("GOFLAGS", "-mod=mod").env("GOTOOLCHAIN", "local").env("GOWORK", "off");
    // Go 1.23 and later refuse the linknames of golang.org/x of that time.
    go.args(["build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -checklinkname=0", "-o", "oracle", "."]);
    assert!(go.current_dir(folder).status().unwrap().success(), "the oracle does not build");
    folder.join("oracle")
}

/// What a kubelet would serve at `/configz`; `None` if it ends before it would.
fn configz(oracle: &Path, prepared: &Prepared) -> Option<BTreeMap<String, String>> {
    let fifo = prepared.folder.path().join("kubeconfig");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut command = Command::new(oracle);
    command.arg(&fifo).args(&prepared.words).arg(format!("--kubeconfig={}", fifo.display()));
    let output = command.env_clear().env("PATH", PATH).stdin(Stdio::null()).output().unwrap();
    let mut said: Value = serde_json::from_slice(&output.stdout).ok()?;
    let mut found = BTreeMap::new();
    flatten(&said["kubeletconfig"].take(), String::new(), &mut found);
    // It makes a certificate where none is named, and says so there.
    let made = format!("{}/pki/kubelet.", prepared.folder.path().display());
    found.retain(|_, value| !value.starts_with(&made));
    Some(found)
}

const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// What a real kubelet does with a case.
struct Real {
    /// Its settings by member, if it came so far as to say them.
    settings: Option<BTreeMap<String, String>>,
    /// Does it refuse to start?
    ends: bool,
    log: String,
}

struct Prepared {
    folder: tempfile::TempDir,
    words: Vec<String>,
}

fn prepare(case: &Case, minor: u32, ca: &str) -> Prepared {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().display().to_string();
    let content = |text: &str| match text.strip_prefix('!') {
        Some(whole) => whole.to_owned(),
        None => format!("{HEAD}{}", text.replace('@', &at)),
    };
    // The CA of the cases that name one; the kubelet reads it after its settings, and ends without it.
    std::fs::create_dir(folder.path().join("pki")).unwrap();
    std::fs::write(folder.path().join("pki/ca.crt"), ca).unwrap();
    let mut words =
        vec!["--kubeconfig=/nonexistent".to_owned(), format!("--root-dir={at}/root"), format!("--cert-dir={at}/pki")];
    if let Some(base) = case.base {
        std::fs::write(folder.path().join("kubelet.yaml"), content(base)).unwrap();
        words.push(format!("--config={at}/kubelet.yaml"));
    }
    if !case.drop_ins.is_empty() {
        words.push(format!("--config-dir={at}/d"));
        for (name, text) in case.drop_ins {
            let path = folder.path().join("d").join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content(text)).unwrap();
        }
    }
    // It would refuse the machine that the test runs on.
    if minor >= 31 {
        words.push("--fail-cgroupv1=false".to_owned());
    }
    if minor == 23 {
        words.push("--container-runtime=remote".to_owned());
    }
    words.extend(case.flags.iter().map(|flag| flag.replace('@', &at)));
    Prepared { folder, words }
}

fn run(program: &Path, oracle: Option<&Path>, prepared: &Prepared) -> Real {
    let mut command = Command::new(program);
    command.args(&prepared.words).env_clear().env("PATH", PATH).stdin(Stdio::null());
    let output = command.output().unwrap();
    let log = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "a kubelet without its kubeconfig does not start: {log}");
    // It ends of the kubeconfig alone where it takes all else.
    let ends = !log.contains("/nonexistent: no such file") || log.contains("failed to validate");
    let settings = match oracle {
        Some(_) if ends => None,
        Some(oracle) => configz(oracle, prepared),
        None => logged(&log),
    };
    Real { settings, ends, log }
}

/// The configuration that kubelets from 1.37 on log as YAML.
fn logged(log: &str) -> Option<BTreeMap<String, String>> {
    let (_, rest) = log.split_once("\"Effective KubeletConfiguration\" config=<\n")?;
    let text: String =
        rest.lines().take_while(|line| line.starts_with('\t')).map(|line| format!("{}\n", &line[1..])).collect();
    let value: Value = serde_saphyr::from_str(&text).unwrap();
    let mut found = BTreeMap::new();
    flatten(&value, String::new(), &mut found);
    Some(found)
}

fn flatten(value: &Value, path: String, found: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                let below = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
                flatten(value, below, found);
            }
        }
        value if is_zero(value) => {}
        value => {
            // It may be a number of nanoseconds; the model has it as a duration.
            let nanoseconds = value.as_i64().filter(|_| path == "logging/flushFrequency");
            found.insert(path.to_lowercase(), nanoseconds.map_or_else(|| shown(value), duration::show));
        }
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(" ")),
        Value::Object(members) => {
            let members = members.iter().filter(|(_, value)| !is_zero(value));
            let mut all: Vec<_> =
                members.map(|(name, value)| format!("{}:{}", name.to_lowercase(), shown(value))).collect();
            all.sort();
            all.join(" ")
        }
        other => other.to_string(),
    }
}

/// What Go leaves out, or takes for not set: absent and zero are one here.
fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty() || duration::parse(text) == Some(0),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Bool(true) => false,
    }
}

fn ours(words: &[String], release: &str) -> Kubelet {
    let host = LiveHost::open(Path::new("/")).unwrap();
    let words = words.iter().map(|text| Word { text: text.clone(), at: None }).collect();
    Sources::of_words(&host, words, Some(release)).settle(0)
}

/// Our settings in the same form.
fn our_settings(kubelet: &Kubelet) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for (path, setting) in kubelet.settings.iter() {
        if !is_zero(setting.value) {
            found.insert(path.join("/").to_lowercase(), shown(setting.value));
        }
    }
    found
}

/// What `/configz` has and nobody can set to anything else there.
const LEFT_OUT: [&str; 4] =
    ["kind", "apiversion", "logging/options/json/infobuffersize", "logging/options/text/infobuffersize"];

fn compare(release: &str, cases: &[Case], at_least: (usize, usize)) {
    let Some(program) = kubelet(release) else { return };
    let minor: u32 = release.split('.').nth(1).unwrap().parse().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let oracle = (minor < 37).then(|| oracle(release, folder.path()));
    let key = rcgen::KeyPair::generate().unwrap();
    let ca = rcgen::CertificateParams::default().self_signed(&key).unwrap().pem();
    let differ = Mutex::new(Vec::new());
    let (settled, ended) = (Mutex::new(0), Mutex::new(0));
    let next = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, std::sync::atomic::Ordering::SeqCst)) {
                    let prepared = prepare(case, minor, &ca);
                    let real = run(&program, oracle.as_deref(), &prepared);
                    let mut ours = ours(&prepared.words, release);
                    // It reads thresholds behind its kubeconfig, which it lacks here.
                    ours.ends.retain(|problem| !problem.why.ends_with("which is no threshold"));
                    let mut wrong = Vec::new();
                    if real.ends == ours.ends.is_empty() {
                        let last = real.log.lines().last().unwrap_or_default();
                        wrong.push(format!("it ends: {}; we: {:?}: {last}", real.ends, ours.ends));
                    }
                    if real.ends {
                        *ended.lock().unwrap() += 1
                    } else {
                        *settled.lock().unwrap() += 1
                    }
                    if let Some(theirs) = real.settings.filter(|_| !real.ends) {
                        let ours = our_settings(&ours);
                        let names: std::collections::BTreeSet<_> = theirs.keys().chain(ours.keys()).collect();
                        for name in names.into_iter().filter(|name| !LEFT_OUT.contains(&name.as_str())) {
                            if theirs.get(name) != ours.get(name) {
                                wrong.push(format!("{name}: {:?}; we: {:?}", theirs.get(name), ours.get(name)));
                            }
                        }
                    } else if !real.ends {
                        wrong.push("it said nothing of its settings".to_owned());
                    }
                    if !wrong.is_empty() {
                        differ.lock().unwrap().push(format!("{}: {}", case.name, wrong.join("\n    ")));
                    }
                    drop(prepared.folder);
                }
            });
        }
    });
    let (settled, ended) = (settled.into_inner().unwrap(), ended.into_inner().unwrap());
    println!("kubelet {release}: {settled} started, {ended} ended");
    let differ = differ.into_inner().unwrap();
    assert!(differ.is_empty(), "{release}:\n{}", differ.join("\n"));
    assert!(settled >= at_least.0 && ended >= at_least.1, "{settled} started, {ended} ended");
}

#[test]
fn kubelet_1_37_merges_as_we_say() {
    compare("1.37.2", CASES, (35, 35));
    compare("1.37.2", DROP_INS, (20, 8));
}

#[test]
fn kubelet_1_23_merges_as_we_say() {
    compare("1.23.17", CASES, (30, 30));
}

#[test]
fn what_the_kubelet_resets_is_a_warning_with_the_flag_that_counts() {
    let warns = |name: &str, release: &str| {
        let prepared = prepare(CASES.iter().find(|case| case.name == name).unwrap(), 37, "");
        let warns = ours(&prepared.words, release).warns;
        warns
            .into_iter()
            .map(|problem| (problem.subject, problem.wanted.unwrap(), problem.at.unwrap().line))
            .collect::<Vec<_>>()
    };
    let flush = vec![("logging.flushFrequency".to_owned(), "--log-flush-frequency".to_owned(), Some(4))];
    assert_eq!(warns("logging with nanoseconds", "1.23.17"), flush);
    assert!(warns("logging with nanoseconds", "1.37.2").is_empty());
    let streams = vec![("logging.options.json.splitStream".to_owned(), "--log-json-split-stream".to_owned(), Some(6))];
    assert_eq!(warns("two streams of JSON", "1.37.2"), streams);
    assert!(warns("two streams of JSON by a flag", "1.37.2").is_empty());
}

#[test]
fn the_table_of_gates_has_what_kubelets_print() {
    for release in ["1.23.17", "1.36.3", "1.37.2"] {
        let Some(program) = kubelet(release) else { continue };
        let minor: u32 = release.split('.').nth(1).unwrap().parse().unwrap();
        let output = Command::new(program).arg("--help").output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let printed = text.lines().filter_map(|line| line.trim().split_once("=true|false (").map(|(name, _)| name));
        let printed: Vec<_> = printed.map(|name| name.rsplit(' ').next().unwrap_or(name)).collect();
        let known = |name: &str| tables::releases_of_gate(name).is_some_and(|releases| releases.contains(&minor));
        let missing: Vec<_> = printed.iter().filter(|name| !known(name)).collect();
        assert!(missing.is_empty() && printed.len() > 60, "{release}: {missing:?} of {}", printed.len());
    }
}

#[test]
fn the_table_of_flags_is_what_kubelets_print() {
    for release in ["1.23.17", "1.36.3", "1.37.2"] {
        let Some(program) = kubelet(release) else { continue };
        let minor: u32 = release.split('.').nth(1).unwrap().parse().unwrap();
        let output = Command::new(program).arg("--help").output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let printed: std::collections::BTreeSet<_> = text
            .lines()
            .filter_map(|line| {
                line.trim_start().trim_start_matches("-v, ").trim_start_matches("-h, ").strip_prefix("--")
            })
            .filter_map(|rest| rest.split([' ', '=', '[']).next())
            .collect();
        let ours: std::collections::BTreeSet<_> = tables::flags_of(minor).collect();
        let missing: Vec<_> = printed.difference(&ours).collect();
        assert!(missing.is_empty(), "{release} knows {missing:?}, we do not");
        // Deprecated flags are hidden from the help of some releases, and taken all the same.
        let hidden: Vec<_> = ours.difference(&printed).collect();
        assert!(hidden.len() < 12, "{release} does not print {hidden:?}");
        for name in hidden {
            let real =
                Command::new(kubelet(release).unwrap()).args([format!("--{name}=x"), "--no-such-flag".into()]).output();
            let said = String::from_utf8(real.unwrap().stderr).unwrap();
            assert!(!said.contains(&format!("unknown flag: --{name}")), "{release}: {name}: {said}");
        }
    }
}

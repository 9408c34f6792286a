//! Real kubelets: each case is started with the real program, which says what it merged before it does anything, and ends
//! since its kubeconfig is missing. From 1.37 on it logs what `/configz` serves; before that its own structure, with `-v=5`.

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

fn prepare(case: &Case, minor: u32) -> Prepared {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().display().to_string();
    let content = |text: &str| match text.strip_prefix('!') {
        Some(whole) => whole.to_owned(),
        None => format!("{HEAD}{text}"),
    };
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
    if minor < 37 {
        words.push("-v=5".to_owned());
    }
    if minor == 23 {
        words.push("--container-runtime=remote".to_owned());
    }
    words.extend(case.flags.iter().map(|flag| flag.replace('@', &at)));
    Prepared { folder, words }
}

fn run(program: &Path, words: &[String], minor: u32) -> Real {
    let mut command = Command::new(program);
    command.args(words).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").stdin(Stdio::null());
    let output = command.output().unwrap();
    let log = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "a kubelet without its kubeconfig does not start: {log}");
    // It ends of the kubeconfig alone where it takes all else.
    let ends = !log.contains("/nonexistent: no such file") || log.contains("failed to validate");
    let settings = if minor >= 37 { logged(&log) } else { structure(&log) };
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
            found.insert(path.to_lowercase(), shown(value));
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

/// The structure that older kubelets print, as Go's `%+v` writes it, by the names of its fields.
fn structure(log: &str) -> Option<BTreeMap<String, String>> {
    let (_, rest) = log.split_once("\"KubeletConfiguration\" configuration=")?;
    let mut found = BTreeMap::new();
    if let Some(json) = rest.strip_prefix("<\n") {
        let text: String =
            json.lines().take_while(|line| line.starts_with('\t')).map(|line| format!("{}\n", &line[1..])).collect();
        flatten(&serde_json::from_str(&text).unwrap(), String::new(), &mut found);
        return Some(found);
    }
    let text = rest.lines().next()?.trim_matches('"').trim_start_matches('&');
    fields(text.strip_prefix('{')?, String::new(), &mut found);
    Some(found)
}

/// `Name:value Name:{…} …}`; returns what follows.
fn fields<'t>(mut text: &'t str, path: String, found: &mut BTreeMap<String, String>) -> &'t str {
    loop {
        text = text.trim_start_matches(' ');
        if let Some(rest) = text.strip_prefix(['}', ']']) {
            return rest;
        }
        let Some((name, rest)) = text.split_once(':') else { return "" };
        let below = if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
        text = if let Some(inner) = rest.strip_prefix('{').or_else(|| rest.strip_prefix("map[")) {
            fields(inner, below, found)
        } else {
            let end = if rest.starts_with('[') {
                rest.find(']').map_or(rest.len(), |at| at + 1)
            } else {
                rest.find([' ', '}', ']']).unwrap_or(rest.len())
            };
            let (value, rest) = rest.split_at(end);
            if !matches!(value, "" | "false" | "0" | "0s" | "[]" | "<nil>") {
                found.insert(below.to_lowercase(), value.to_owned());
            }
            rest
        };
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

/// Where a release is asked for what it does not say in a form that can be compared.
fn is_left_out(path: &str, minor: u32) -> bool {
    // What `/configz` has and nobody can set to anything else there, and what is a flag alone before it was a member.
    let always = ["kind", "apiversion", "logging/options/json/infobuffersize", "logging/options/text/infobuffersize"];
    // The structure of old releases has pointers, whose address is printed, quantities, and lists of structures.
    let old = [
        "logging",
        "memorythrottlingfactor",
        "registerwithtaints",
        "tracing",
        "containerruntimeendpoint",
        "verbosity",
        "typemeta",
        "shutdowngraceperiodbypodpriority",
        "reservedmemory",
        "cpucfsquotaperiod",
        "configmapandsecret",
    ];
    always.contains(&path) || minor < 37 && old.iter().any(|name| path.starts_with(name))
}

fn compare(release: &str, cases: &[Case], at_least: (usize, usize)) {
    let Some(program) = kubelet(release) else { return };
    let minor: u32 = release.split('.').nth(1).unwrap().parse().unwrap();
    let differ = Mutex::new(Vec::new());
    let (settled, ended) = (Mutex::new(0), Mutex::new(0));
    let next = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, std::sync::atomic::Ordering::SeqCst)) {
                    let prepared = prepare(case, minor);
                    let real = run(&program, &prepared.words, minor);
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
                        for name in names.into_iter().filter(|name| !is_left_out(name, minor)) {
                            let alias = if minor < 37 && name == "resolvconf" { "resolverconfig" } else { name };
                            if minor < 37 && name == "resolverconfig" {
                                continue;
                            }
                            if theirs.get(alias) != ours.get(name) {
                                wrong.push(format!("{name}: {:?}; we: {:?}", theirs.get(alias), ours.get(name)));
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

//! The evaluator against admission's own library, of the newest release, the one before and 1.23: allowed or not,
//! reason and detail, word for word; namespaces' labels, policy for policy; and the manifests that upstream tests
//! admission with.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code")]

mod random;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use seaworthy_objects::manifest::{Manifests, Object};
use seaworthy_objects::podsecurity::cases::{cases, wrap};
use seaworthy_objects::podsecurity::{
    Defaults, Evaluator, Kind, Level, NEWEST, Namespace, Policy, Version, Workload, detail, reason, resolve,
};
use serde_json::{Value, json};

/// A library: the release of Kubernetes, and how its oracle is built.
struct Library {
    server: u32,
    arguments: &'static [&'static str],
    program: &'static str,
}

const LIBRARIES: [Library; 3] = [
    Library { server: NEWEST, arguments: &[], program: "new" },
    Library { server: NEWEST - 1, arguments: &["-modfile=previous.mod"], program: "previous" },
    Library { server: 23, arguments: &["-modfile=old.mod", "-tags=old"], program: "old" },
];

/// The oracles, built once; nothing without Go.
fn programs() -> Option<&'static [PathBuf]> {
    static BUILT: OnceLock<Option<(tempfile::TempDir, Vec<PathBuf>)>> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let programs: Option<Vec<_>> = LIBRARIES.iter().map(|library| build(library, folder.path())).collect();
        Some((folder, programs?))
    });
    built.as_ref().map(|(_, programs)| programs.as_slice())
}

/// Runs Go in the oracle's folder, with the modules of a library.
fn go(library: &Library, verb: &str, more: &[&str]) -> std::io::Result<std::process::Output> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/podsecurity/oracle");
    let mut go = Command::new("go");
    go.env("GOTOOLCHAIN", "local").env("GOFLAGS", "-mod=readonly -buildvcs=false").env_remove("GODEBUG");
    go.arg(verb).args(library.arguments).args(more).current_dir(source).output()
}

fn build(library: &Library, folder: &Path) -> Option<PathBuf> {
    let program = folder.join(library.program);
    match go(library, "build", &["-o", &program.to_string_lossy(), "."]) {
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

/// Asks an oracle; its answers come in the order of the questions.
fn ask(program: &Path, questions: &[Value]) -> Vec<Value> {
    let mut child = Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let lines: String = questions.iter().map(|question| format!("{question}\n")).collect();
    let writer = std::thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success());
    let answers: Vec<Value> =
        output.stdout.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(parse).collect();
    assert_eq!(answers.len(), questions.len());
    answers
}

fn parse(line: &[u8]) -> Value {
    serde_json::from_slice(line).unwrap()
}

fn object(value: &Value) -> Object {
    let mut manifests = Manifests::of_text("case.json", &value.to_string());
    assert!(manifests.problems.is_empty(), "{:?}", manifests.problems);
    manifests.objects.remove(0)
}

/// Every level with every version up to one that no library knows.
fn policies() -> Vec<Policy> {
    let versions = (0..=NEWEST + 1).map(Version::V1).chain([Version::Latest]);
    versions.flat_map(|version| Level::ALL.map(|level| Policy { level, version })).collect()
}

/// What became of a comparison.
#[derive(Default)]
struct Tally {
    compared: usize,
    refused: usize,
    faults: Vec<String>,
}

/// Compares what we say of objects with what a library says.
fn compare(library: &Library, program: &Path, objects: &[(String, Value)], policies: &[Policy]) -> Tally {
    let names: Vec<_> = policies.iter().map(ToString::to_string).collect();
    let questions: Vec<_> = objects.iter().map(|(_, object)| json!({"object": object, "policies": names})).collect();
    let answers = ask(program, &questions);
    let evaluator = Evaluator::of(library.server);
    let mut tally = Tally::default();
    for ((name, value), answer) in objects.iter().zip(&answers) {
        let workload = Workload::of(&object(value));
        let error = answer["error"].as_str().unwrap();
        let (Some(workload), true) = (workload, error.is_empty()) else {
            tally.faults.push(format!("{name}: {error}: {value}"));
            continue;
        };
        assert!(workload.misfits.is_empty(), "{:?}", workload.misfits);
        let results = answer["results"].as_array().unwrap();
        for (policy, result) in policies.iter().zip(results) {
            let violations = evaluator.evaluate(*policy, &workload.pod);
            let ours = if violations.is_empty() {
                Value::Null
            } else {
                json!({"reason": reason(&violations), "detail": detail(&violations)})
            };
            tally.compared += 1;
            tally.refused += usize::from(!result.is_null());
            if ours != *result && tally.faults.len() < 4 {
                tally.faults.push(format!("{name} by {policy}:\n  library: {result}\n  we:      {ours}\n  {value}"));
            }
            for offense in violations.iter().flat_map(|violation| &violation.offenses) {
                assert!(offense.at.line.is_some() && !offense.at.path.is_empty(), "{offense:?}");
            }
            assert!(violations.iter().all(|violation| !violation.offenses.is_empty()), "{violations:?}");
        }
    }
    tally
}

#[test]
fn the_whole_matrix_is_judged_as_the_library_judges_it() {
    let Some(programs) = programs() else { return };
    let cases = cases();
    for (library, program) in LIBRARIES.iter().zip(programs) {
        // Every version for a pod; for the other kinds, which hold the same pod, what is special about them.
        let pods: Vec<_> = cases.iter().map(|case| (case.name.clone(), wrap(Kind::Pod, &case.pod))).collect();
        let mut tallies = vec![compare(library, program, &pods, &policies())];
        let of = |policy: &str| policy.parse::<Policy>().unwrap();
        let few = [of("baseline:latest"), of("restricted:latest"), of("restricted:v1.20")];
        for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Pod) {
            let wrapped: Vec<_> = cases.iter().map(|case| (case.name.clone(), wrap(kind, &case.pod))).collect();
            tallies.push(compare(library, program, &wrapped, &few));
        }
        let (compared, refused): (usize, usize) =
            (tallies.iter().map(|one| one.compared).sum(), tallies.iter().map(|one| one.refused).sum());
        let faults: Vec<_> = tallies.into_iter().flat_map(|one| one.faults).collect();
        println!("1.{}: {compared} verdicts of {} cases, {refused} refused", library.server, cases.len());
        assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
        assert!(compared > 25_000 && refused > compared / 10 && refused < compared * 9 / 10, "{refused} of {compared}");
    }
}

#[test]
fn every_control_refuses_and_allows_some_case() {
    use seaworthy_objects::podsecurity::Control;
    let cases: Vec<_> =
        cases().iter().map(|case| Workload::of(&object(&wrap(Kind::Pod, &case.pod))).unwrap()).collect();
    for control in Control::ALL {
        for &revision in control.revisions() {
            let policy = Policy { level: control.level(), version: Version::V1(revision) };
            let refused = cases.iter().filter(|workload| {
                let violations = Evaluator::NEWEST.evaluate(policy, &workload.pod);
                violations.iter().any(|violation| violation.control == control)
            });
            let refused = refused.count();
            assert!(refused > 0 && refused < cases.len(), "{control:?} since 1.{revision}: {refused}");
        }
    }
}

#[test]
fn ten_thousand_random_pods_are_judged_as_the_library_judges_them() {
    let Some(programs) = programs() else { return };
    let mut random = random::Pods::new(0x5ea);
    let objects: Vec<_> = (0..10_000)
        .map(|number| {
            let kind = Kind::ALL[number % Kind::ALL.len()];
            (format!("random {} {number}", kind.name()), wrap(kind, &random.pod()))
        })
        .collect();
    // Each version from which a control verifies something else, and the one before the newest.
    let versions = [0, 7, 8, 18, 19, 22, 23, 25, 27, 29, 31, 32, 34, 35, 36, 37].map(Version::V1);
    let versions = versions.into_iter().chain([Version::Latest]);
    let policies: Vec<_> = versions
        .flat_map(|version| [Level::Baseline, Level::Restricted].map(|level| Policy { level, version }))
        .collect();
    for (library, program) in LIBRARIES.iter().zip(programs) {
        let tally = compare(library, program, &objects, &policies);
        println!("1.{}: {} verdicts, {} refused", library.server, tally.compared, tally.refused);
        assert!(tally.faults.is_empty(), "{}", tally.faults.join("\n"));
        assert!(tally.refused > tally.compared / 10 && tally.refused < tally.compared * 9 / 10, "{}", tally.refused);
    }
}

/// Upstream's own tests of admission: manifests below `LEVEL/VERSION/pass` and `fail`, which come with the library.
#[test]
fn manifests_of_upstreams_tests_pass_and_fail_as_they_are_named() {
    if programs().is_none() {
        return;
    }
    for library in &LIBRARIES {
        let module = "k8s.io/pod-security-admission";
        let listed = go(library, "list", &["-m", "-f", "{{.Dir}}", module]).unwrap();
        let folder = String::from_utf8(listed.stdout).unwrap();
        let root = Path::new(folder.trim()).join("test/testdata");
        let evaluator = Evaluator::of(library.server);
        let (mut counts, mut faults) = ([0, 0], Vec::new());
        for level in [Level::Baseline, Level::Restricted] {
            for version in entries(&root.join(level.name())) {
                let name = version.file_name().unwrap().to_str().unwrap();
                let policy = Policy { level, version: name.parse().unwrap() };
                for (number, wanted) in ["fail", "pass"].into_iter().enumerate() {
                    for file in entries(&version.join(wanted)) {
                        let manifests = Manifests::of_text("case.yaml", &std::fs::read_to_string(&file).unwrap());
                        assert!(manifests.problems.is_empty(), "{}: {:?}", file.display(), manifests.problems);
                        let workload = Workload::of(&manifests.objects[0]).unwrap();
                        // Upstream's API server has the feature gate of procMount on, which releases had off.
                        let gated = file.to_str().is_some_and(|path| path.contains("/procmount"));
                        let pod = if gated { workload.pod.clone() } else { evaluator.admitted(&workload) };
                        let violations = evaluator.evaluate(policy, &pod);
                        counts[number] += 1;
                        if violations.is_empty() != (wanted == "pass") {
                            faults.push(format!("{} by {policy}: {violations:?}", file.display()));
                        }
                    }
                }
            }
        }
        println!("1.{}: {} refused, {} allowed", library.server, counts[0], counts[1]);
        assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
        assert!(counts[0] > 1_000 && counts[1] > 300, "{counts:?}");
    }
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let read = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = read.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

#[test]
fn what_the_api_server_cannot_decode_is_a_misfit_and_nothing_else_is() {
    let Some(programs) = programs() else { return };
    let mut random = random::Pods::new(7);
    let (mut objects, mut misfits) = (Vec::new(), 0);
    for _ in 0..3_000 {
        let mut pod = random.pod();
        random.spoil(&mut pod);
        objects.push(wrap(Kind::Pod, &pod));
    }
    let questions: Vec<_> = objects.iter().map(|object| json!({"object": object, "policies": []})).collect();
    for (value, answer) in objects.iter().zip(ask(&programs[0], &questions)) {
        let workload = Workload::of(&object(value)).unwrap();
        let error = answer["error"].as_str().unwrap();
        assert_eq!(workload.misfits.is_empty(), error.is_empty(), "{error}; {:?}; {value}", workload.misfits);
        misfits += usize::from(!error.is_empty());
    }
    assert!(misfits > 500 && misfits < 2_900, "{misfits}");
}

#[test]
fn labels_are_resolved_as_the_library_resolves_them() {
    let Some(programs) = programs() else { return };
    let mut random = random::Pods::new(3);
    let all: Vec<_> = (0..5_000).map(|_| random.labels()).collect();
    let questions: Vec<_> = all.iter().map(|labels| json!({"labels": labels})).collect();
    let mut bad = 0;
    for (labels, answer) in all.iter().zip(ask(&programs[0], &questions)) {
        let text = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n", "labels": labels}});
        let namespace = Namespace::of(&object(&text)).unwrap();
        let (resolved, errors) = resolve(&namespace, Defaults::default());
        let policies = [resolved.enforce, resolved.audit, resolved.warn].map(|policy| policy.to_string());
        let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(json!(policies), answer["policy"], "{labels}");
        assert_eq!(json!(errors), if errors.is_empty() { json!([]) } else { answer["errors"].clone() }, "{labels}");
        assert_eq!(errors.is_empty(), answer["errors"].is_null());
        bad += usize::from(!errors.is_empty());
    }
    assert!(bad > 500 && bad < 4_500, "{bad}");
}

#[test]
fn a_controller_without_a_template_has_no_pod() {
    let Some(programs) = programs() else { return };
    let value = json!({"apiVersion": "v1", "kind": "ReplicationController", "metadata": {"name": "a"}, "spec": {}});
    let answers = ask(&programs[0], &[json!({"object": value, "policies": []})]);
    assert_eq!(answers[0]["no_pod"], true);
    assert!(Workload::of(&object(&value)).is_none());
}

//! `run --suite podsecurity --manifests`: exit codes, places in reports, standard input, and bad input.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const GOOD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: good, namespace: shop}\n\
                    spec:\n  securityContext:\n    runAsNonRoot: true\n    seccompProfile: {type: RuntimeDefault}\n  \
                    containers:\n  - name: c\n    image: i\n    securityContext:\n      allowPrivilegeEscalation: \
                    false\n      capabilities: {drop: [ALL]}\n";
const BAD: &str = "# a comment\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: shop}\n\
                   spec:\n  template:\n    spec:\n      containers:\n      - name: c\n        image: i\n        \
                   securityContext:\n          privileged: true\n      - name: d\n        securityContext: \
                   {privileged: true}\n";

struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

fn run_with(folder: &Path, arguments: &[&str], stdin: &str) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_seaworthy"));
    for name in ["FOCUS", "SKIP", "REPORT_PATH", "GITHUB_STEP_SUMMARY", "COLUMNS"] {
        command.env_remove(name);
    }
    let command = command.args(["run", "--suite", "podsecurity"]).args(arguments).current_dir(folder);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A run that refuses its arguments reads nothing.
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).ok();
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    Said { code: status.code(), out: String::from_utf8(stdout).unwrap(), err: String::from_utf8(stderr).unwrap() }
}

fn run(files: &[(&str, &str)], arguments: &[&str]) -> (tempfile::TempDir, Said) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join("deploy").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let said = run_with(folder.path(), arguments, "");
    (folder, said)
}

#[test]
fn a_run_passes_fails_or_is_undetermined_as_its_exit_code_says() {
    let of = |files: &[(&str, &str)], more: &[&str]| {
        let (_folder, said) = run(files, &[&["--manifests", "deploy"][..], more].concat());
        assert!(said.err.is_empty() || said.code == Some(2), "{}", said.err);
        (said.code.unwrap(), said.out)
    };
    let (code, out) = of(&[("a.yaml", GOOD)], &[]);
    assert_eq!(code, 0, "{out}");
    let (code, out) = of(&[("a.yaml", GOOD), ("b/c.yml", BAD)], &[]);
    assert_eq!(code, 1, "{out}");
    let line = "Deployment shop/web: container \"c\" sets securityContext.privileged (found true, expected false, or \
                none)";
    assert!(out.contains(line) && out.contains("[deploy/b/c.yml:12]"), "{out}");
    assert_eq!(of(&[("b.yaml", BAD)], &["--level", "privileged"]).0, 0);
    assert_eq!(of(&[("b.yaml", &BAD.replace("true", "false"))], &["--level", "baseline"]).0, 0);
    assert_eq!(of(&[("a.yaml", GOOD), ("t.yaml", "kind: {{ .Values.kind }}\n")], &[]).0, 3);
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: s}\n";
    assert_eq!(of(&[("s.yaml", service)], &["--focus", "podsecurity.baseline"]).0, 4);
    // A version that does not have a control, by either name of the flag.
    for flag in ["--policy-version", "--version"] {
        let no_escalation = GOOD.replace("allowPrivilegeEscalation: false", "readOnlyRootFilesystem: true");
        assert_eq!(of(&[("a.yaml", &no_escalation)], &[flag, "v1.7"]).0, 0);
        assert_eq!(of(&[("a.yaml", &no_escalation)], &[flag, "v1.8"]).0, 1);
    }
}

#[test]
fn reports_point_to_the_lines_of_the_manifests() {
    let (folder, said) = run(&[("b.yaml", BAD)], &["--manifests", "deploy", "--level", "baseline"]);
    assert_eq!(said.code, Some(1), "{}", said.err);
    let read = |name: &str| std::fs::read_to_string(folder.path().join("results").join(name)).unwrap();
    let sarif: serde_json::Value = serde_json::from_str(&read("report.sarif")).unwrap();
    let results = sarif["runs"][0]["results"].as_array().unwrap();
    let places: Vec<_> = results
        .iter()
        .map(|result| {
            let place = &result["locations"][0]["physicalLocation"];
            let uri = place["artifactLocation"]["uri"].as_str().unwrap();
            (result["ruleId"].as_str().unwrap(), uri, place["region"]["startLine"].as_u64().unwrap())
        })
        .collect();
    let rule = "podsecurity.baseline.privileged";
    assert_eq!(places, [(rule, "deploy/b.yaml", 12), (rule, "deploy/b.yaml", 14)]);
    let prints: Vec<_> = results.iter().map(|result| result["partialFingerprints"].to_string()).collect();
    assert_ne!(prints[0], prints[1], "both are shown");
    assert!(read("junit_01.xml").contains("deploy/b.yaml:12"), "{}", read("junit_01.xml"));
    assert!(read("report.html").contains("deploy/b.yaml:12"));
}

#[test]
fn standard_input_and_helm_s_output_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let chart =
        format!("NAME: x\nLAST DEPLOYED: now\nMANIFEST:\n---\n# Source: x/templates/a.yaml\n{BAD}\nNOTES:\nRead: [\n");
    let said = run_with(folder.path(), &["--manifests", "-", "--level", "baseline"], &chart);
    assert_eq!(said.code, Some(1), "{}", said.err);
    assert!(said.out.contains("[stdin:17]"), "{}", said.out);
}

#[test]
fn bad_input_is_named() {
    let refuses = |arguments: &[&str], names: &[&str]| {
        let (_folder, said) = run(&[("values.txt", "a: b\n")], arguments);
        assert_eq!(said.code, Some(2), "{arguments:?}: {}", said.out);
        for name in names {
            assert!(said.err.contains(name), "{arguments:?}: '{name}' is not in: {}", said.err);
        }
    };
    refuses(&["--manifests", "nowhere"], &["nowhere: No such file"]);
    refuses(&["--manifests", "deploy"], &["there is no object in deploy", ".yaml"]);
    refuses(&["--manifests", "deploy", "--level", "strict"], &["must be one of privileged, baseline, restricted"]);
    refuses(&["--manifests", "deploy", "--policy-version", "1.30"], &["must be \"latest\" or \"v1.x\""]);
    refuses(&["--manifests", "deploy", "--suite", "node", "--focus", "NumCPU"], &["--suite podsecurity"]);
    let (_folder, said) = run(&[("a.yaml", "a: [\n---\njust text\n---\n{\"kind\": 1}\n")], &["--manifests", "deploy"]);
    assert_eq!(said.code, Some(1), "{}", said.out);
    assert!(said.out.contains("[deploy/a.yaml:1]"), "{}", said.out);
}

#[test]
fn labels_are_written_as_a_script_that_changes_nothing_by_itself() {
    let (folder, said) =
        run(&[("a.yaml", GOOD), ("b.yaml", BAD)], &["--manifests", "deploy", "--label-script", "labels.sh"]);
    assert_eq!(said.code, Some(1), "{}", said.err);
    let script = std::fs::read_to_string(folder.path().join("labels.sh")).unwrap();
    assert!(script.contains("# not baseline: Deployment shop/web: privileged (containers \"c\", \"d\""), "{script}");
    assert!(script.contains("namespace shop \\\n  pod-security.kubernetes.io/enforce=privileged"), "{script}");
}

//! Static pods beside the kubelet's own reader: which files of a folder it refuses, and which pod it runs.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use seaworthy_checks::host::LiveHost;
use seaworthy_checks::pki::discover::{Component, Discovery};
use serde_json::Value;

const GOOD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: kube-apiserver, namespace: kube-system}\nspec:\n  \
                    containers:\n  - name: a\n    image: x\n    command: [kube-apiserver, --a=1]\n    \
                    volumeMounts: [{name: v, mountPath: /v}]\n  volumes:\n  - {name: v, hostPath: {path: /v}}\n";

/// One change of a good manifest: what is replaced, and by what.
const CHANGES: [(&str, &str); 56] = [
    ("", ""),
    ("kind: Pod\n", "kind: Pod\nkind: Pod\n"),
    ("image: x", "image: x\n    image: y"),
    ("command: [", "command: [x]\n    command: ["),
    ("kind: Pod\n", ""),
    ("kind: Pod\n", "kind:\n"),
    ("kind: Pod\n", "Kind: Pod\n"),
    ("kind: Pod\n", "kind: PodList\n"),
    ("kind: Pod\n", "kind: List\n"),
    ("apiVersion: v1\n", ""),
    ("apiVersion: v1\n", "apiVersion: v2\n"),
    ("apiVersion: v1\n", "apiVersion: 1\n"),
    ("apiVersion: v1\n", "apiVersion: apps/v1\n"),
    ("kind: Pod\n", "kind: Pod\nextra: 1\n"),
    ("image: x", "image: x\n    extra: {a: [1]}"),
    ("--a=1]", "--a=1, 5]"),
    ("--a=1]", "--a=1, yes]"),
    ("--a=1]", "--a=1, null]"),
    ("--a=1]", "--a=1, 1.5]"),
    ("--a=1]", "--a=1, b: c]"),
    ("--a=1]", "--a=1, 0x10]"),
    ("[kube-apiserver, --a=1]", "kube-apiserver"),
    ("image: x", "image: 5"),
    ("image: x", "image:"),
    ("image: x", "image: ''"),
    ("image: x", "image: x\n    env: [{name: A, value: 1}]"),
    ("image: x", "image: x\n    env: [{name: A, value: '1'}]"),
    ("image: x", "image: x\n    ports: [{containerPort: '80'}]"),
    ("image: x", "image: x\n    ports: [{containerPort: 80}]"),
    ("image: x", "image: x\n    livenessProbe: {httpGet: {port: 80, path: /}, periodSeconds: '10'}"),
    ("image: x", "image: x\n    livenessProbe: {httpGet: {port: named, path: /}}"),
    ("spec:\n", "spec:\n  hostNetwork: yes\n"),
    ("spec:\n", "spec:\n  hostNetwork: 'true'\n"),
    ("spec:\n", "spec:\n  priority: 2000001000\n  priorityClassName: system-node-critical\n"),
    ("spec:\n", "spec:\n  serviceAccountName: q\n"),
    ("spec:\n", "spec:\n  imagePullSecrets: [{name: q}]\n"),
    ("image: x", "image: x\n    envFrom: [{secretRef: {name: q}}]"),
    ("image: x", "image: x\n    env: [{name: A, valueFrom: {configMapKeyRef: {name: q, key: k}}}]"),
    ("hostPath: {path: /v}", "secret: {secretName: q}"),
    ("hostPath: {path: /v}", "emptyDir: {}"),
    ("hostPath: {path: /v}", "hostPath: {path: /v/../w}"),
    ("hostPath: {path: /v}", "hostPath: {path: ''}"),
    ("{name: v, mountPath: /v}", "{name: w, mountPath: /v}"),
    ("{name: v, mountPath: /v}", "{name: v, mountPath: ''}"),
    ("{name: v, mountPath: /v}", "{name: v, mountPath: /v}, {name: v, mountPath: /v}"),
    ("{name: v, mountPath: /v}", "{name: v, mountPath: /v, subPath: /a}"),
    ("{name: v, mountPath: /v}", "{name: v, mountPath: /v, subPath: a/../b}"),
    ("{name: v, mountPath: /v}", "{name: v, mountPath: /v, subPath: a/b}"),
    ("{name: v, mountPath: /v}", "{name: v, mountPath: /v, readOnly: 1}"),
    ("metadata: {name: kube-apiserver,", "metadata: {name: Kube,"),
    ("metadata: {name: kube-apiserver,", "metadata: {"),
    ("metadata: {", "metadata: {annotations: {a: 1}, "),
    ("metadata: {", "metadata: {annotations: {a: '1'}, labels: {b: c}, "),
    ("- name: a\n", "- name: A_b\n"),
    ("    image", "\timage"),
    ("spec:\n", "spec: &s\n  nodeSelector: &n {a: b}\n"),
];

/// A folder of static pods: a name, and the files in it.
type Case = (String, Vec<(&'static str, Vec<u8>)>);

fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    let mut case = |name: &str, files: Vec<(&'static str, Vec<u8>)>| all.push((name.to_owned(), files));
    for (number, (from, to)) in CHANGES.into_iter().enumerate() {
        let text = if from.is_empty() { GOOD.to_owned() } else { GOOD.replacen(from, to, 1) };
        assert!(from.is_empty() || text != GOOD, "{from}");
        case(&format!("change-{number}"), vec![("a.yaml", text.into_bytes())]);
    }
    let one = |text: String| vec![("a.yaml", text.into_bytes())];
    let utf16 = |unit: fn(u16) -> [u8; 2], mark: &[u8]| {
        let units = GOOD.encode_utf16().flat_map(unit);
        vec![("a.yaml", mark.iter().copied().chain(units).collect::<Vec<_>>())]
    };
    let json = serde_json::to_string(&serde_saphyr::from_str::<Value>(GOOD).unwrap()).unwrap();
    let other = |value: &str| GOOD.replace("--a=1", &format!("--a={value}")).into_bytes();
    case("second", one(format!("{GOOD}---\nfoo: bar\n")));
    case("second-bad", one(format!("{GOOD}---\nfoo: [\n")));
    case("leading", one(format!("# c\n---\n{GOOD}---\n")));
    case("null-first", one(format!("---\n---\n{GOOD}")));
    case("empty", one(String::new()));
    case("comment", one("# nothing\n".to_owned()));
    case("text", vec![("README.md", b"hello\n".to_vec())]);
    case("utf16-le", utf16(u16::to_le_bytes, &[0xff, 0xfe]));
    case("utf16-be", utf16(u16::to_be_bytes, &[0xfe, 0xff]));
    case("utf16-bare", utf16(u16::to_le_bytes, &[]));
    case("utf8-bom", one(format!("\u{feff}{GOOD}")));
    case("latin1", vec![("a.yaml", [GOOD.as_bytes(), b"# \xfc\n"].concat())]);
    case("control", one(format!("{GOOD}# \u{7}\n")));
    case("json", one(json.clone()));
    case("json-blanks", one(format!(" \n\t{json}\n")));
    case("json-more", one(format!("{json} x")));
    case("json-comma", one(json.replacen("{\"apiVersion\":\"v1\",", "{\"apiVersion\":\"v1\",,", 1)));
    case(
        "json-latin1",
        vec![("a", json.replace("\"x\"", "\"\u{1}\"").bytes().map(|b| if b == 1 { 0xfc } else { b }).collect())],
    );
    case("json-bom", one(format!("\u{feff}{json}")));
    case("long", one(format!("{GOOD}#{}", "x".repeat(10 << 20))));
    case("dot", vec![(".a.yaml", b"{".to_vec()), ("b", GOOD.into())]);
    case("backup", vec![("kube-apiserver.yaml", GOOD.into()), ("kube-apiserver.yaml.bak", other("2"))]);
    case("before", vec![("kube-apiserver.yaml", GOOD.into()), ("a.orig", other("2"))]);
    case("bad-backup", vec![("kube-apiserver.yaml", GOOD.into()), ("kube-apiserver.yaml.bak", b"[".to_vec())]);
    case("swap", vec![("kube-apiserver.yaml", GOOD.into()), ("kube-apiserver.yaml~", other("3"))]);
    all
}

/// The kubelet's reader, built of the module of Kubernetes 1.37.2.
fn oracle(dir: &Path) -> Option<PathBuf> {
    let go = || {
        let mut go = Command::new("go");
        // As the kubelet is built for the trials: what is built already is not built again.
        go.env("CGO_ENABLED", "0").env("GOFLAGS", "-mod=mod").env("GOTOOLCHAIN", "local").current_dir(dir);
        go
    };
    if !go().arg("version").output().is_ok_and(|output| output.status.success()) {
        assert!(std::env::var_os("SEAWORTHY_REQUIRE").is_none(), "Go is not installed");
        println!("skipped: Go is not installed");
        return None;
    }
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("../provision/gomod/kubernetes-v1.37.2");
    for name in ["go.mod", "go.sum"] {
        std::fs::copy(module.join(name), dir.join(name)).unwrap();
    }
    std::fs::write(dir.join("main.go"), include_str!("kubelet/main.go")).unwrap();
    let flags = ["build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", "oracle", "."];
    assert!(go().args(flags).status().unwrap().success(), "the oracle does not build");
    Some(dir.join("oracle"))
}

#[test]
fn static_pods_are_read_as_the_kubelet_reads_them() {
    let (build, folders) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let Some(oracle) = oracle(build.path()) else { return };
    let cases = cases();
    let mut command = Command::new(oracle);
    for (name, files) in &cases {
        let folder = folders.path().join(name).join("etc/kubernetes/manifests");
        std::fs::create_dir_all(&folder).unwrap();
        files.iter().for_each(|(name, bytes)| std::fs::write(folder.join(name), bytes).unwrap());
        command.arg(folder);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answers: Vec<Value> =
        String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), cases.len());
    let mut faults = Vec::new();
    for ((name, _), theirs) in cases.iter().zip(&answers) {
        let found = Discovery::of(&LiveHost::open(&folders.path().join(name)).unwrap());
        let refused = found.manifests.iter().filter(|one| one.refused.is_some());
        let refused: BTreeSet<_> = refused.filter_map(|one| one.file.rsplit('/').next()).collect();
        let wanted: BTreeSet<_> = theirs["refused"].as_object().unwrap().keys().map(String::as_str).collect();
        let pods: Vec<_> = theirs["pods"].as_object().unwrap().values().collect();
        let runs = pods
            .first()
            .and_then(|pod| pod[0]["words"].as_array()?.iter().find_map(|word| word.as_str()?.strip_prefix("--a=")));
        let ours = found.command(Component::Apiserver).and_then(|line| line.get("a"));
        if refused != wanted || (runs.is_some() && ours != runs) {
            faults.push(format!("{name}: refused {refused:?}, runs {ours:?}; the kubelet: {theirs}"));
        }
    }
    assert!(faults.is_empty(), "{} of {}:\n{}", faults.len(), cases.len(), faults.join("\n"));
}

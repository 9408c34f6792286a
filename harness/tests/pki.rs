//! `seaworthy pki` and the PKI suite as their users meet them, beside the real kubeadm.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use seaworthy_provision::pki::{Algorithm, Spec, issue, kubeconfigs};

/// A control-plane node's root with a PKI of ours.
fn node() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let address: IpAddr = "10.0.0.11".parse().unwrap();
    let spec = Spec { algorithm: Algorithm::EcdsaP256, ..Spec::new("cp1", address, jiff::Timestamp::now()) };
    let conf = dir.path().join("etc/kubernetes");
    issue(&spec, &conf.join("pki")).unwrap();
    kubeconfigs(&spec, &conf.join("pki"), &conf).unwrap();
    dir
}

fn seaworthy(arguments: &[&str], host: &Path) -> (Option<i32>, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_seaworthy")).args(arguments).arg("--host").arg(host).output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn a_run_judges_the_pki_and_says_so_by_its_exit_code() {
    let node = node();
    let results = tempfile::tempdir().unwrap();
    let run = ["run", "--suite", "pki", "-O", results.path().to_str().unwrap()];
    assert_eq!(seaworthy(&run, node.path()).0, Some(0));
    let page = std::fs::read_to_string(results.path().join("report.html")).unwrap();
    assert!(page.contains("src=\"data:image/svg+xml;base64,"), "the page has no picture of who trusts whom");
    let key = node.path().join("etc/kubernetes/pki/ca.key");
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let (code, text) = seaworthy(&run, node.path());
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("pki.file.key-mode") && text.contains("/etc/kubernetes/pki/ca.key"), "{text}");
    // Only the node's own suite is asked for by default.
    let (_, listed) = seaworthy(&["list"], Path::new("/"));
    assert!(!listed.contains("pki."));
}

/// A machine configuration of Talos with CAs of ours, and what of it nobody may see.
fn machine_configuration(folder: &Path) -> (PathBuf, Vec<String>) {
    use base64::Engine as _;
    let (node, other) = (node(), node());
    let pki = |of: &tempfile::TempDir, name: &str| {
        std::fs::read_to_string(of.path().join("etc/kubernetes/pki").join(name)).unwrap()
    };
    let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let mut secrets: Vec<_> = ["tokena.0123456789abcdef", "tokenb.0123456789abcdef", "c2VjcmV0IG9mIHRoZSBjbHVzdGVy"]
        .map(str::to_owned)
        .into();
    let mut key = |of: &tempfile::TempDir, name: &str| {
        let pem = pki(of, name);
        let encoded = encode(&pem);
        secrets.extend([pem.lines().nth(1).unwrap()[10..50].to_owned(), encoded[50..100].to_owned()]);
        encoded
    };
    let mut pair = |of: &tempfile::TempDir, stem: &str| {
        format!("{{crt: {}, key: {}}}", encode(&pki(of, &format!("{stem}.crt"))), key(of, &format!("{stem}.key")))
    };
    let (talos, cluster, proxy, etcd) =
        (pair(&other, "ca"), pair(&node, "ca"), pair(&node, "front-proxy-ca"), pair(&node, "etcd/ca"));
    let accounts = key(&node, "sa.key");
    let text = format!(
        "version: v1alpha1 # Indicates the schema used to decode the contents.\nmachine:\n  type: controlplane\n  token: {}\n  ca: {talos}\ncluster:\n  \
         secret: {}\n  token: {}\n  ca: {cluster}\n  aggregatorCA: {proxy}\n  etcd: {{ca: {etcd}}}\n  serviceAccount: {{key: {accounts}}}\n",
        secrets[0], secrets[2], secrets[1]
    );
    let path = folder.join("controlplane.yaml");
    std::fs::write(&path, text).unwrap();
    (path, secrets)
}

#[test]
fn a_machine_configuration_is_a_pki_and_nothing_secret_of_it_is_said() {
    let (folder, results) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (config, secrets) = machine_configuration(folder.path());
    let recording = folder.path().join("n1.tar.zst");
    let record = ["record", "--passive", "-O", recording.to_str().unwrap()];
    let run = ["run", "--suite", "pki", "-O", results.path().to_str().unwrap()];
    let mut said = Vec::new();
    // What talosctl writes anybody may read; the folder is the owner's alone at first, and so the file is.
    for (mode, code) in [(0o700, 0), (0o755, 1)] {
        std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        let (found, text) = seaworthy(&run, &config);
        assert_eq!(found, Some(code), "{text}");
        assert_eq!(text.contains("pki.file.key-mode"), code == 1, "{text}");
        said.push(text);
        for entry in std::fs::read_dir(results.path()).unwrap() {
            said.push(std::fs::read_to_string(entry.unwrap().path()).unwrap());
        }
    }
    for command in ["expiry", "graph", "plan"] {
        let (code, text) = seaworthy(&["pki", command], &config);
        assert_eq!(code, Some(0), "{command}: {text}");
        said.push(text);
    }
    assert!(said[said.len() - 3].contains("controlplane.yaml#cluster.etcd.ca"), "{}", said[said.len() - 3]);
    assert_eq!(seaworthy(&record, &config).0, Some(0));
    assert_eq!(seaworthy(&run, &recording).0, Some(1), "a recording is judged as what was recorded");
    for secret in &secrets {
        assert!(!said.iter().any(|text| text.contains(secret.as_str())), "{secret}");
    }
}

#[test]
fn a_server_is_judged_alone() {
    let results = tempfile::tempdir().unwrap();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_seaworthy"));
    command.args(["run", "--suite", "pki", "--endpoint", &format!("{free}=etcd"), "-O"]).arg(results.path());
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("pki.live.answers") && text.contains(&format!("etcd {free} does not answer")), "{text}");
}

/// kubeadm, where it is.
fn kubeadm() -> Option<PathBuf> {
    let cached = || {
        let cache = PathBuf::from(std::env::var_os("HOME")?).join(".cache/seaworthy/kubernetes/v1.37.2/kubeadm");
        cache.exists().then_some(cache)
    };
    let found = std::env::var_os("SEAWORTHY_KUBEADM").map(PathBuf::from).or_else(cached);
    if found.is_none() {
        assert!(std::env::var_os("SEAWORTHY_REQUIRE").is_none(), "SEAWORTHY_KUBEADM must name kubeadm");
        println!("skipped: there is no kubeadm; `seaworthy assets fetch kubeadm` builds one");
    }
    found
}

#[test]
fn expiry_is_what_the_real_kubeadm_prints() {
    let Some(kubeadm) = kubeadm() else { return };
    let node = node();
    let pki = node.path().join("etc/kubernetes/pki");
    for external in [false, true] {
        if external {
            std::fs::remove_file(pki.join("front-proxy-ca.key")).unwrap();
            std::fs::remove_file(pki.join("etcd/healthcheck-client.crt")).unwrap();
        }
        // It looks for kubeconfigs on the machine alone, so that a folder of a PKI is what both can look at.
        let theirs = Command::new(&kubeadm)
            .args(["certs", "check-expiration", "-o", "json", "--cert-dir"])
            .arg(&pki)
            .output()
            .unwrap();
        let theirs = String::from_utf8(theirs.stdout).unwrap();
        let (code, ours) = seaworthy(&["pki", "expiry", "-o", "kubeadm"], &pki);
        assert_eq!(code, Some(0));
        // What is left is counted at another moment; everything else is the same to the byte.
        let still = |text: &str| {
            let lines = text.lines().filter(|line| !line.contains("\"residualTime\"") || line.contains(": 0,"));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(still(&ours), still(&theirs), "external: {external}");
        let left = |text: &str| {
            let lines = text.lines().filter_map(|line| line.trim().strip_prefix("\"residualTime\": "));
            lines.map(|number| number.trim_end_matches(',').parse::<i64>().unwrap()).sum::<i64>()
        };
        assert!((left(&ours) - left(&theirs)).abs() < 14 * 600, "{} {}", left(&ours), left(&theirs));
    }
}

#[test]
fn graphs_and_plans_name_what_is_there() {
    let node = node();
    let (_, json) = seaworthy(&["pki", "graph", "-o", "json"], node.path());
    let graph: serde_json::Value = serde_json::from_str(&json).unwrap();
    let id = |label: &str| {
        let nodes = graph["nodes"].as_array().unwrap();
        nodes.iter().find(|node| node["label"] == label).unwrap_or_else(|| panic!("{label}: {json}"))["id"].clone()
    };
    let has = |from: &str, to: &str, kind: &str| {
        let (from, to) = (id(from), id(to));
        graph["edges"]
            .as_array()
            .unwrap()
            .iter()
            .any(|edge| edge["from"] == from && edge["to"] == to && edge["kind"] == kind)
    };
    assert!(has("kubernetes", "kube-apiserver", "signs") || has("etcd-ca", "kube-apiserver-etcd-client", "signs"));
    assert!(has("front-proxy-ca", "front-proxy-client", "signs") && has("etcd", "etcd-ca", "trusts"));
    assert!(!has("kubernetes", "front-proxy-client", "signs"));
    let (_, dot) = seaworthy(&["pki", "graph"], node.path());
    assert!(dot.starts_with("digraph pki {") && dot.contains("front-proxy-ca"), "{dot}");
    let (_, svg) = seaworthy(&["pki", "graph", "-o", "svg"], node.path());
    assert!(
        svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>") && svg.contains("kubernetes-admin"),
        "{svg}"
    );
    let (_, plan) = seaworthy(&["pki", "plan", "--within", "30"], node.path());
    assert_eq!(plan, "Nothing expires within 30 days.\n");
    let (_, plan) = seaworthy(&["pki", "plan", "--within", "400"], node.path());
    assert!(
        plan.contains("kubeadm certs renew apiserver\n") && plan.contains("kubeadm certs renew admin.conf\n"),
        "{plan}"
    );
    // In a CA's rotation the new one is trusted before anything is signed by it.
    let (_, plan) = seaworthy(&["pki", "plan", "--within", "4000"], node.path());
    let (trust, sign) = (plan.find("Add the new CA").unwrap(), plan.find("by the new CA").unwrap());
    assert!(trust < sign && plan.contains("Rotate the CA CN=kubernetes"), "{plan}");
}

fn scrape(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn metrics_are_served_and_follow_the_files() {
    let node = node();
    let mut server = Command::new(env!("CARGO_BIN_EXE_seaworthy"))
        .args(["pki", "export", "--listen", "127.0.0.1:0", "--host"])
        .arg(node.path())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(server.stderr.take().unwrap()).read_line(&mut line).unwrap();
    let address =
        line.trim().strip_prefix("serving http://").and_then(|rest| rest.strip_suffix("/metrics")).unwrap().to_owned();
    let before = scrape(&address, "/metrics");
    assert!(before.starts_with("HTTP/1.1 200 OK\r\n"), "{before}");
    let apiserver = |text: &str| {
        let mut lines = text.lines().filter(|line| line.starts_with("x509_cert_not_after{"));
        lines.any(|line| {
            line.contains("filepath=\"/etc/kubernetes/pki/apiserver.crt\"")
                && line.contains("subject_CN=\"kube-apiserver\"")
        })
    };
    assert!(apiserver(&before), "{before}");
    assert!(before.contains("embedded_key=\"kubernetes-admin\"") && before.contains("x509_read_errors 0"), "{before}");
    std::fs::remove_file(node.path().join("etc/kubernetes/pki/apiserver.crt")).unwrap();
    assert!(!apiserver(&scrape(&address, "/metrics")), "a certificate that is gone is still there");
    assert!(scrape(&address, "/else").starts_with("HTTP/1.1 404"));
    let pid = nix::unistd::Pid::from_raw(i32::try_from(server.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert!(server.wait().unwrap().success());
}

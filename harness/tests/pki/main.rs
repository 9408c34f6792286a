//! `seaworthy pki` and the PKI suite as their users meet them, beside the real kubeadm.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code")]

mod expiry;
mod plan;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use seaworthy_provision::pki::{Algorithm, Spec, issue, kubeconfigs};

/// A control-plane node's root with a PKI of ours.
fn node() -> tempfile::TempDir {
    node_with(|_| ())
}

/// The same, with a PKI that is something else.
fn node_with(change: impl FnOnce(&mut Spec)) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let address: IpAddr = "10.0.0.11".parse().unwrap();
    let mut spec = Spec { algorithm: Algorithm::EcdsaP256, ..Spec::new("cp1", address, jiff::Timestamp::now()) };
    change(&mut spec);
    let conf = dir.path().join("etc/kubernetes");
    issue(&spec, &conf.join("pki")).unwrap();
    kubeconfigs(&spec, &conf.join("pki"), &conf).unwrap();
    dir
}

fn seaworthy(arguments: &[&str], host: &Path) -> (Option<i32>, String) {
    let (code, out, _) = said(arguments, host);
    (code, out)
}

/// The exit code, the answer, and what is said on standard error.
fn said(arguments: &[&str], host: &Path) -> (Option<i32>, String, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_seaworthy")).args(arguments).arg("--host").arg(host).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
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
        "version: v1alpha1 # Indicates the schema used to decode the contents.\n\
         machine:\n  type: controlplane\n  token: {}\n  ca: {talos}\n\
         cluster:\n  secret: {}\n  token: {}\n  ca: {cluster}\n  aggregatorCA: {proxy}\n  etcd: {{ca: {etcd}}}\n  \
         serviceAccount: {{key: {accounts}}}\n",
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

/// The sum of `x509_source_errors_total`, and the lines of `x509_cert_not_after` without their values.
fn metrics(text: &str) -> (u32, Vec<&str>) {
    let values = |name: &'static str| text.lines().filter(move |line| line.starts_with(name));
    let split = |line| str::rsplit_once(line, ' ').unwrap();
    let errors = values("x509_source_errors_total{").map(|line| split(line).1.parse::<u32>().unwrap()).sum();
    assert_eq!(values("x509_source_up{").count(), 2, "{text}");
    (errors, values("x509_cert_not_after{").map(|line| split(line).0).collect())
}

#[test]
fn a_partial_view_says_what_is_missing() {
    let commands = [
        &["pki", "expiry"][..],
        &["pki", "expiry", "-o", "json"],
        &["pki", "expiry", "-o", "prometheus"],
        &["pki", "graph"],
        &["pki", "graph", "-o", "json"],
        &["pki", "graph", "-o", "svg"],
        &["pki", "plan"],
    ];
    type Break = fn(&Path);
    let cases: [(&str, &str, Break); 4] = [
        ("apiserver.crt", "reason=\"not_found\"", |conf| std::fs::remove_file(conf.join("pki/apiserver.crt")).unwrap()),
        ("etcd/ca.crt", "reason=\"no_certificate_found\"", |conf| {
            std::fs::write(conf.join("pki/etcd/ca.crt"), "").unwrap()
        }),
        ("front-proxy-ca.crt", "reason=\"broken_symlink\"", |conf| {
            std::fs::remove_file(conf.join("pki/front-proxy-ca.crt")).unwrap();
            std::os::unix::fs::symlink("/nowhere", conf.join("pki/front-proxy-ca.crt")).unwrap();
        }),
        ("kube-apiserver.yaml", "source_kind=\"file\"", |conf| {
            std::fs::create_dir(conf.join("manifests")).unwrap();
            std::fs::write(conf.join("manifests/kube-apiserver.yaml"), "kind: [\n").unwrap();
        }),
    ];
    for (missing, metric, make) in cases {
        let node = node();
        let all = commands.map(|command| said(command, node.path()));
        assert!(all.iter().all(|(code, _, err)| *code == Some(0) && err.is_empty()), "{missing}: {all:?}");
        make(&node.path().join("etc/kubernetes"));
        for (number, command) in commands.iter().enumerate() {
            let (code, out, err) = said(command, node.path());
            assert_eq!(code, Some(3), "{command:?} without {missing}: {out}{err}");
            assert!(
                err.lines().any(|line| line.starts_with("missing: ") && line.contains(missing)),
                "{command:?}: {err}"
            );
            // What is kept of the answer alone says so, too; a table and a list of objects have no place for it.
            assert!(
                number < 2 || out.contains(missing) || out.contains(metric),
                "{command:?} without {missing}: {out}"
            );
        }
    }
}

#[test]
fn every_series_is_one_and_every_missing_file_is_an_error() {
    let node = node();
    let conf = node.path().join("etc/kubernetes");
    let now = || seaworthy(&["pki", "expiry", "-o", "prometheus"], node.path()).1;
    let whole = now();
    let (errors, series) = metrics(&whole);
    assert_eq!(errors, 0);
    assert!(!whole.contains("discriminator"), "what is told apart already needs no more: {whole}");
    let cluster =
        series.iter().find(|line| line.contains("embedded_kind=\"cluster\"") && line.contains("/admin.conf\""));
    assert!(cluster.is_some_and(|line| line.contains("subject_CN=\"kubernetes\"")), "{whole}");
    // CAs of one name and one serial number, as kubeadm made them before 1.31 (serial number 0).
    let twins: Vec<_> = (0..2).map(|_| twin(0)).collect();
    std::fs::write(conf.join("pki/front-proxy-ca.crt"), twins.concat()).unwrap();
    let overlap = now();
    let (errors, mut series) = metrics(&overlap);
    let all = series.len();
    series.sort_unstable();
    series.dedup();
    assert_eq!((errors, series.len()), (0, all), "{overlap}");
    let discriminated = series.iter().filter(|line| line.contains("discriminator=")).count();
    assert_eq!(discriminated, 2, "{overlap}");
    // Missing, cut off, something else; in a file of its own and in a kubeconfig.
    std::fs::remove_file(conf.join("pki/apiserver.crt")).unwrap();
    assert_eq!(metrics(&now()).0, 1);
    let client = std::fs::read(conf.join("pki/front-proxy-client.crt")).unwrap();
    std::fs::write(conf.join("pki/front-proxy-client.crt"), &client[..200]).unwrap();
    assert_eq!(metrics(&now()).0, 2);
    // One file is one error, however many need it.
    std::fs::write(conf.join("pki/etcd/ca.crt"), "").unwrap();
    assert_eq!(metrics(&now()).0, 3);
    let admin = std::fs::read_to_string(conf.join("admin.conf")).unwrap();
    let (before, after) = admin.split_once("client-certificate-data").unwrap();
    std::fs::write(
        conf.join("admin.conf"),
        format!("{before}client-certificate-data{}", after.replacen("LS0t", "AAAA", 1)),
    )
    .unwrap();
    assert_eq!(metrics(&now()).0, 4);
    std::fs::write(conf.join("scheduler.conf"), "nothing: of the kind\n").unwrap();
    assert_eq!(metrics(&now()).0, 5);
}

/// A CA of a fixed name and this serial number.
fn twin(serial: u8) -> String {
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, "front-proxy-ca");
    params.serial_number = Some(vec![serial].into());
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem()
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
    assert!(before.contains("embedded_key=\"kubernetes-admin\"") && metrics(&before).0 == 0, "{before}");
    assert!(before.contains("x509_source_up{source_kind=\"file\",source_name=\"pki\"} 1\n"), "{before}");
    assert!(before.contains("x509_exporter_build_info{version=\""), "{before}");
    std::fs::remove_file(node.path().join("etc/kubernetes/pki/apiserver.crt")).unwrap();
    let gone = scrape(&address, "/metrics");
    assert!(!apiserver(&gone), "a certificate that is gone is still there");
    // The exporter's alert is on the increase of this counter, and on certificates that cannot be decoded.
    let again = scrape(&address, "/metrics");
    assert_eq!((metrics(&gone).0, metrics(&again).0), (1, 2), "{again}");
    let path = "filepath=\"/etc/kubernetes/pki/apiserver.crt\"";
    assert!(
        again.lines().any(|line| line.starts_with("x509_cert_error{") && line.contains(path) && line.ends_with(" 1"))
    );
    assert!(scrape(&address, "/else").starts_with("HTTP/1.1 404"));
    assert!(scrape(&address, "/metrics?x=1").starts_with("HTTP/1.1 200"));
    // A client that is slow, and stays so, is in nobody's way, and is not waited for.
    let mut slow = TcpStream::connect(&address).unwrap();
    slow.set_read_timeout(Some(std::time::Duration::from_millis(100))).unwrap();
    let waits = |stream: &mut TcpStream| match stream.write(b"G").and_then(|_| stream.read(&mut [0])) {
        Err(error) => matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut),
        Ok(read) => read > 0,
    };
    assert!(waits(&mut slow));
    assert!(scrape(&address, "/healthz").starts_with("HTTP/1.1 200"));
    assert!(waits(&mut slow), "the other one had to wait for the slow one");
    assert!((0..1000).any(|_| !waits(&mut slow)), "a byte now and then keeps a client for ever");
    // The folder is replaced by another one of the same name, and is gone for a while in between.
    let aside = node.path().with_extension("aside");
    std::fs::rename(node.path(), &aside).unwrap();
    let gone = scrape(&address, "/metrics");
    assert!(gone.starts_with("HTTP/1.1 503") && gone.contains(node.path().to_str().unwrap()), "{gone}");
    let another = self::node();
    std::fs::rename(another.path(), node.path()).unwrap();
    assert!(apiserver(&scrape(&address, "/metrics")), "the folder that was there before is looked at");
    std::fs::remove_dir_all(aside).unwrap();
    let pid = nix::unistd::Pid::from_raw(i32::try_from(server.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    assert!(server.wait().unwrap().success());
}

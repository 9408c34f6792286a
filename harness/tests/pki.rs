//! `seaworthy pki` and the PKI suite as their users meet them, beside the real kubeadm.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code")]

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

#[test]
fn expiry_is_what_the_real_kubeadm_prints() {
    let Some(kubeadm) = kubeadm() else { return };
    let years = |years: i64| jiff::SignedDuration::from_hours(24 * 365 * years);
    // Leaves are over after a year, CAs after ten; what lasts longer than Go can count is told as the most that it can.
    let expired = node_with(|spec| spec.now -= years(2));
    let all_expired = node_with(|spec| spec.now -= years(11));
    let endless = node_with(|spec| spec.ca_period = years(400));
    let external = node();
    let pki = |node: &tempfile::TempDir| node.path().join("etc/kubernetes/pki");
    std::fs::remove_file(pki(&external).join("front-proxy-ca.key")).unwrap();
    std::fs::remove_file(pki(&external).join("etcd/healthcheck-client.crt")).unwrap();
    for (what, node) in [
        ("fresh", node()),
        ("external", external),
        ("expired", expired),
        ("all expired", all_expired),
        ("endless", endless),
    ] {
        let (theirs, ours) = (check_expiration(&kubeadm, &pki(&node)), expiration(&pki(&node)));
        assert_eq!((theirs.0, ours.0), (Some(0), Some(0)), "{what}: {}", ours.2);
        // What is left is counted at another moment; everything else is the same to the byte.
        let parts = |text: &str| {
            let (mut still, mut left) = (Vec::new(), Vec::new());
            for line in text.lines() {
                match line.trim().strip_prefix("\"residualTime\": ") {
                    Some(number) => left.push(number.trim_end_matches(',').parse::<i64>().unwrap()),
                    None => still.push(line.to_owned()),
                }
            }
            (still, left)
        };
        let ((our_lines, our_left), (their_lines, their_left)) = (parts(&ours.1), parts(&theirs.1));
        assert_eq!(our_lines, their_lines, "{what}");
        assert_eq!(our_left.len(), their_left.len(), "{what}");
        for (ours, theirs) in our_left.iter().zip(&their_left) {
            assert!((ours - theirs).abs() < 600 && (*ours == 0) == (*theirs == 0), "{what}: {ours} {theirs}");
        }
        assert_eq!(their_left.iter().any(|left| *left < 0), what.contains("expired"), "{what}");
    }
}

fn check_expiration(kubeadm: &Path, pki: &Path) -> (Option<i32>, String) {
    // It looks for kubeconfigs on the machine alone, so that a folder of a PKI is what both can look at.
    let mut command = Command::new(kubeadm);
    let output = command.args(["certs", "check-expiration", "-o", "json", "--cert-dir"]).arg(pki).output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

fn expiration(pki: &Path) -> (Option<i32>, String, String) {
    said(&["pki", "expiry", "-o", "kubeadm"], pki)
}

#[test]
fn what_the_real_kubeadm_refuses_to_list_is_refused() {
    let Some(kubeadm) = kubeadm() else { return };
    for broken in
        ["apiserver.crt", "front-proxy-client.crt", "etcd/server.crt", "ca.crt", "front-proxy-ca.crt", "etcd/ca.crt"]
    {
        let node = node();
        let pki = node.path().join("etc/kubernetes/pki");
        let file = pki.join(broken);
        let whole = std::fs::read_to_string(&file).unwrap();
        // Cut off, something else, and a second certificate that is none.
        let second = whole.clone() + &whole.replacen("MII", "MIX", 1);
        for content in [&whole[..200], "nothing of the kind\n", "", &second] {
            std::fs::write(&file, content).unwrap();
            let (theirs, ours) = (check_expiration(&kubeadm, &pki), expiration(&pki));
            assert_eq!((theirs.0, theirs.1.as_str()), (Some(1), ""), "{broken}: {content}");
            assert_eq!((ours.0, ours.1.as_str()), (Some(3), ""), "{broken}: {content}");
            assert!(ours.2.contains(broken), "{broken}: {}", ours.2);
        }
        std::fs::remove_file(&file).unwrap();
        let (theirs, ours) = (check_expiration(&kubeadm, &pki), expiration(&pki));
        // A certificate that is not there is listed as missing; a CA is needed.
        let code = if broken.ends_with("ca.crt") { (Some(1), Some(3)) } else { (Some(0), Some(0)) };
        assert_eq!((theirs.0, ours.0), code, "{broken}: {}", ours.2);
        assert_eq!(theirs.1.is_empty(), ours.1.is_empty(), "{broken}");
        std::fs::write(&file, &whole[..200]).unwrap();
        // The list that needs not be kubeadm's has the rest, and says what it has not.
        let (code, out, err) = said(&["pki", "expiry"], &pki);
        assert_eq!(code, Some(3));
        assert!(out.lines().count() > 8, "{out}");
        assert!(err.contains("missing: ") && err.contains(broken), "{err}");
    }
}

/// A node's root with one thing changed below /etc/kubernetes, by name.
type Change = (&'static str, fn(&Path));

/// Replaces a member of a kubeconfig.
fn member(conf: &Path, file: &str, name: &str, line: &str) {
    let text = std::fs::read_to_string(conf.join(file)).unwrap();
    let mut changed: Vec<String> = Vec::new();
    let (mut within, depth) = (None, |one: &str| one.len() - one.trim_start().len());
    for one in text.lines() {
        match one.trim_start().strip_prefix(name) {
            Some(rest) if rest.starts_with(':') => {
                changed.push(format!("{}{line}", &one[..depth(one)]));
                within = Some(depth(one));
            }
            // The rest of a value that is folded.
            _ if within.is_some_and(|at| depth(one) > at) => {}
            _ => {
                changed.push(one.to_owned());
                within = None;
            }
        }
    }
    assert_ne!(changed.join("\n"), text.trim_end(), "{file} has no {name}");
    std::fs::write(conf.join(file), changed.join("\n") + "\n").unwrap();
}

fn gone(conf: &Path, files: &[&str]) {
    files.iter().for_each(|file| std::fs::remove_file(conf.join(file)).unwrap());
}

fn copied(conf: &Path, from: &str, to: &str) {
    std::fs::copy(conf.join(from), conf.join(to)).unwrap();
}

const CHANGES: [Change; 22] = [
    ("nothing", |_| ()),
    ("a certificate by its file", |conf| {
        member(conf, "admin.conf", "client-certificate-data", "client-certificate: /etc/kubernetes/pki/apiserver.crt");
    }),
    ("a CA by its file", |conf| {
        member(
            conf,
            "scheduler.conf",
            "certificate-authority-data",
            "certificate-authority: /etc/kubernetes/pki/ca.crt",
        );
    }),
    ("a CA that is no PEM", |conf| {
        member(conf, "scheduler.conf", "certificate-authority-data", "certificate-authority-data: aGVsbG8=");
    }),
    ("a certificate that is no PEM", |conf| {
        member(conf, "super-admin.conf", "client-certificate-data", "client-certificate-data: aGVsbG8=");
    }),
    ("no current context", |conf| member(conf, "admin.conf", "current-context", "current-context: ''")),
    ("another current context", |conf| member(conf, "admin.conf", "current-context", "current-context: other")),
    ("an empty kubeconfig", |conf| std::fs::write(conf.join("controller-manager.conf"), "").unwrap()),
    ("no kubeconfig", |conf| gone(conf, &["controller-manager.conf", "super-admin.conf"])),
    ("a folder for a kubeconfig", |conf| {
        gone(conf, &["scheduler.conf"]);
        std::fs::create_dir(conf.join("scheduler.conf")).unwrap();
    }),
    ("an external CA", |conf| gone(conf, &["pki/ca.key"])),
    ("external CAs", |conf| gone(conf, &["pki/ca.key", "pki/etcd/ca.key", "pki/front-proxy-ca.key"])),
    ("an external CA and no key", |conf| gone(conf, &["pki/ca.key", "pki/apiserver.key"])),
    ("an external CA and no certificate", |conf| gone(conf, &["pki/ca.key", "pki/apiserver-kubelet-client.crt"])),
    ("an external etcd CA and no certificate", |conf| gone(conf, &["pki/etcd/ca.key", "pki/etcd/peer.crt"])),
    ("an external CA and what another signed", |conf| {
        gone(conf, &["pki/front-proxy-ca.key"]);
        copied(conf, "pki/apiserver.crt", "pki/front-proxy-client.crt");
    }),
    ("what another signed", |conf| copied(conf, "pki/apiserver.crt", "pki/front-proxy-client.crt")),
    ("a CA that is none", |conf| copied(conf, "pki/front-proxy-client.crt", "pki/front-proxy-ca.crt")),
    ("no CA", |conf| gone(conf, &["pki/front-proxy-ca.crt"])),
    ("no CA and nothing of it", |conf| gone(conf, &["pki/front-proxy-ca.crt", "pki/front-proxy-client.crt"])),
    ("a key behind a certificate", |conf| {
        let text = |name: &str| std::fs::read_to_string(conf.join(name)).unwrap();
        std::fs::write(conf.join("pki/apiserver.crt"), text("pki/apiserver.crt") + &text("pki/apiserver.key")).unwrap();
    }),
    ("a link that leads nowhere for a key", |conf| {
        gone(conf, &["pki/ca.key"]);
        std::os::unix::fs::symlink("/nowhere", conf.join("pki/ca.key")).unwrap();
    }),
];

#[test]
fn of_a_node_the_real_kubeadm_lists_and_refuses_the_same() {
    let Some(kubeadm) = kubeadm() else { return };
    if !nix::unistd::geteuid().is_root() {
        println!("skipped: mounting /etc needs root");
        return;
    }
    let still = |text: &str| {
        let lines = text.lines().filter(|line| !line.contains("residualTime"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let old = |spec: &mut Spec| spec.now -= jiff::SignedDuration::from_hours(24 * 365 * 2);
    let (mut faults, mut refused) = (Vec::new(), 0);
    for (name, change) in CHANGES {
        for (age, node) in [("fresh", node()), ("expired", node_with(old))] {
            let conf = node.path().join("etc/kubernetes");
            change(&conf);
            // kubeadm looks for kubeconfigs in /etc/kubernetes alone.
            let script = "mount -t tmpfs none /etc && mkdir /etc/kubernetes && mount --bind \"$1\" /etc/kubernetes && \
                          exec \"$2\" certs check-expiration -o json --kubeconfig /nowhere";
            let mut command = Command::new("unshare");
            command.args(["--mount", "sh", "-c", script, "sh"]).arg(&conf).arg(&kubeadm);
            let output = command.output().unwrap();
            let theirs = String::from_utf8(output.stdout).unwrap();
            let (code, ours, err) = said(&["pki", "expiry", "-o", "kubeadm"], node.path());
            refused += usize::from(!output.status.success());
            let same = (code == Some(0)) == output.status.success() && still(&theirs) == still(&ours);
            if !same {
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                faults.push(format!("{age}, {name}: kubeadm {theirs}{said}\nwe {code:?} {ours}{err}"));
            }
        }
    }
    assert!(faults.is_empty(), "{}:\n{}", faults.len(), faults.join("\n\n"));
    assert!(refused >= 20, "only {refused} are refused: the cases show nothing");
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
    for client in ["kubectl", "kubelet", "kube-scheduler", "kube-controller-manager"] {
        assert!(has(client, "kubernetes", "trusts"), "{client}: {json}");
    }
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

/// The words of a command of kubeadm's that are no flags, and its flags.
fn words(command: &str) -> (Vec<&str>, Vec<&str>) {
    let words = command.split_whitespace().take_while(|word| *word != ">");
    let mut words = words.collect::<Vec<_>>();
    let flags = words.iter().position(|word| word.starts_with("--")).unwrap_or(words.len());
    let flags = words.split_off(flags).into_iter().filter(|word| word.starts_with("--")).collect();
    (words, flags)
}

#[test]
fn the_real_kubeadm_knows_every_command_of_a_plan() {
    let Some(kubeadm) = kubeadm() else { return };
    let node = node();
    let mut known = std::collections::BTreeSet::new();
    for within in ["400", "4000"] {
        let (_, plan) = seaworthy(&["pki", "plan", "--within", within], node.path());
        for command in plan.lines().map(str::trim).filter(|line| line.starts_with("kubeadm ")) {
            let (words, flags) = words(command);
            let help = Command::new(&kubeadm).args(&words[1..]).arg("--help").output().unwrap();
            let help = String::from_utf8(help.stdout).unwrap();
            // Of a command that there is not it says how another one is used.
            assert!(help.contains(&format!("\n  {} [flags]\n", words.join(" "))), "{command}: {help}");
            assert!(flags.iter().all(|flag| help.contains(&format!("{flag} "))), "{command}: {help}");
            known.insert(command.to_owned());
        }
    }
    // Everything that kubeadm renews is there, and what the kubelet renews.
    assert_eq!(known.len(), 12, "{known:?}");
    let kubelet = "kubeadm kubeconfig user --org system:nodes --client-name system:node:cp1 > kubelet.conf";
    assert!(known.contains(kubelet), "{known:?}");
}

#[test]
fn a_plan_that_is_followed_rotates_the_ca() {
    let Some(kubeadm) = kubeadm() else { return };
    // The new CA is what lasts longer; it is not to be replaced itself.
    let (node, next) = (node_with(|spec| spec.now -= jiff::SignedDuration::from_hours(24)), node());
    let pki = node.path().join("etc/kubernetes/pki");
    let folder = tempfile::tempdir().unwrap();
    let made = next.path().join("etc/kubernetes/pki");
    for (from, to) in
        [(made.join("ca.crt"), "new-ca.crt"), (made.join("ca.key"), "new-ca.key"), (pki.join("ca.crt"), "old-ca.crt")]
    {
        std::fs::copy(from, folder.path().join(to)).unwrap();
    }
    let rotation = |subject: &str| {
        let (_, plan) = seaworthy(&["pki", "plan", "--within", "3649"], node.path());
        let title = format!("Rotate the CA CN={subject} ");
        plan.split("\n\n").find(|one| one.contains(&title)).unwrap_or_else(|| panic!("{plan}")).to_owned()
    };
    let plan = rotation("kubernetes");
    let place = |text: &str| plan.find(text).unwrap_or_else(|| panic!("'{text}' is not in: {plan}"));
    let order = [
        "Add the new CA behind",
        "Start kube-apiserver again",
        "cluster-info",
        "Sign by the new CA",
        "kubeadm certs renew apiserver\n",
        "take it out of",
    ];
    assert!(order.map(place).is_sorted(), "{plan}");
    // What the API hands out are CAs of the API server and of its clients; etcd is not among them.
    assert!(plan.contains("kube-root-ca.crt") && plan.contains("extension-apiserver-authentication"), "{plan}");
    let (proxy, etcd) = (rotation("front-proxy-ca"), rotation("etcd-ca"));
    assert!(proxy.contains("extension-apiserver-authentication") && !proxy.contains("cluster-info"), "{proxy}");
    assert!(
        !etcd.contains("kubectl") && !etcd.contains("cluster-info") && etcd.contains("Sign by the new CA"),
        "{etcd}"
    );

    let root = node.path().to_str().unwrap();
    let follow = |step: &str| {
        let mut lines = plan.lines().skip_while(|line| !line.contains(step)).skip(1);
        let commands: Vec<_> =
            std::iter::from_fn(|| lines.next()).take_while(|line| line.starts_with("            ")).collect();
        assert!(!commands.is_empty(), "{step}: {plan}");
        for command in commands {
            let command = command.trim().replace("/etc/kubernetes/", &format!("{root}/etc/kubernetes/"));
            assert!(Command::new("sh").args(["-ec", &command]).current_dir(folder.path()).status().unwrap().success());
        }
    };
    // Who signed what the API server serves: the CA whose key is here, or another one?
    let renew = || {
        let mut command = Command::new(&kubeadm);
        let output = command.args(["certs", "renew", "apiserver", "--cert-dir"]).arg(&pki).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let (_, json) = seaworthy(&["pki", "graph", "-o", "json"], node.path());
        let graph: serde_json::Value = serde_json::from_str(&json).unwrap();
        let nodes = graph["nodes"].as_array().unwrap();
        let leaf = nodes.iter().find(|node| node["label"] == "kube-apiserver").unwrap();
        let mut edges = graph["edges"].as_array().unwrap().iter();
        let signed = edges.find(|edge| edge["kind"] == "signs" && edge["to"] == leaf["id"]).unwrap();
        signed["from"].as_str().unwrap().to_owned()
    };
    let old = renew();
    follow("sign by a file of its own");
    follow("Add the new CA behind the old one in /etc/kubernetes/pki/ca.crt");
    assert_eq!(renew(), old, "nothing is signed by the new CA before all trust it");
    let done = |step: &str| {
        let plan = rotation("kubernetes");
        plan.lines().find(|line| line.contains(step)).unwrap().trim_start().starts_with("done ")
    };
    assert!(done("behind the old one in /etc/kubernetes/pki/ca.crt") && !done("Sign by the new CA"));
    follow("Sign by the new CA");
    assert_ne!(renew(), old);
    assert!(done("behind the old one in /etc/kubernetes/pki/ca.crt") && done("Sign by the new CA"));
    // The signer takes one certificate.
    let alone = std::fs::read_to_string(pki.join("signing-ca.crt")).unwrap();
    assert_eq!(alone.matches("BEGIN CERTIFICATE").count(), 1);
    let (theirs, ours) = (check_expiration(&kubeadm, &pki), expiration(&pki));
    assert_eq!((theirs.0, ours.0), (Some(0), Some(0)));
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

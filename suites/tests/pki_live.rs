//! The PKI suite on a real etcd, kube-apiserver and kube-controller-manager: nothing is found where all is right, and
//! each defect of what is served and of what the API hands out is found by its own name and by no other.
//!
//! The components run in namespaces of the test's thread, so that ports clash with nothing; threads and processes that
//! it starts are in there with it. The node's root is that of a first process with a /proc of its own, as the root of a
//! node that runs is.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code")]

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use seaworthy_checks::host::{Cluster, Layout, LiveHost, Recorder};
use seaworthy_checks::pki::{Facts, View, checks};
use seaworthy_checks::{Profile, Verdict};
use seaworthy_provision::assets::{Programs, Release, Request, find};
use seaworthy_provision::bootstrap::{Token, objects};
use seaworthy_provision::control_plane::{ControlPlane, EtcdServers, ExtraFlags};
use seaworthy_provision::pki::{Algorithm, Spec, issue, kubeconfigs};
use serde_json::{Value, json};

const ADDRESS: &str = "10.0.0.11";

/// The programs that `seaworthy assets fetch` left in the cache.
fn programs() -> Option<Programs> {
    let names = ["etcd", "etcdctl", "kube-apiserver", "kube-controller-manager", "kubectl"];
    let found = find(&Request::here(Release::newest(), &names)?).ok().filter(|_| nix::unistd::geteuid().is_root());
    if found.is_none() {
        let what = format!("root, and `seaworthy assets fetch {}`", names.join(" "));
        assert!(std::env::var_os("SEAWORTHY_REQUIRE").is_none(), "this test needs {what}");
        println!("skipped: it needs {what}");
    }
    found
}

/// A process that does not outlive the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn start(program: &Path, arguments: impl IntoIterator<Item = String>, log: &Path) -> Process {
    let log = std::fs::File::create(log).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(program).args(arguments);
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    Process(command.spawn().unwrap())
}

fn run(program: &str, arguments: &[&str]) {
    assert!(Command::new(program).args(arguments).status().unwrap().success(), "{program} {arguments:?}");
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// What is mounted on the root of a node, for as long as its first process runs.
struct Booted {
    root: PathBuf,
    _first: Process,
}

impl Booted {
    /// Starts the first process in the root. It has the network of the thread that calls.
    fn start(root: &Path) -> Self {
        let none = None::<&str>;
        let proc = root.join("proc");
        std::fs::create_dir_all(&proc).unwrap();
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
        mount(Some(root), root, none, MsFlags::MS_BIND, none).unwrap();
        let words = ["--pid", "--fork", "--kill-child", "sh", "-c", FIRST, "sh", root.to_str().unwrap()];
        let first = start(Path::new("unshare"), words.map(str::to_owned), &root.with_extension("log"));
        let booted = Self { root: root.to_owned(), _first: first };
        let began = Instant::now();
        while LiveHost::open(root).map_or(true, |host| host.offline().is_some()) {
            assert!(began.elapsed() < Duration::from_mins(1), "the first process does not start");
            std::thread::sleep(Duration::from_millis(10));
        }
        booted
    }
}

/// Mounts the /proc of its PID namespace, and makes the root its own; a shell would need a program in there to do so.
const FIRST: &str =
    r#"mount -t proc proc "$1/proc" && exec perl -e 'chroot $ARGV[0] or die $!; chdir "/"; sleep' "$1""#;

impl Drop for Booted {
    fn drop(&mut self) {
        for folder in [self.root.join("proc"), self.root.clone()] {
            umount2(&folder, MntFlags::MNT_DETACH).ok();
        }
    }
}

/// The node under trial: its root, the processes behind it, and how the API is reached.
struct Node {
    dir: PathBuf,
    programs: Programs,
    endpoints: Vec<String>,
    /// What the API server was started with.
    flags: Vec<String>,
}

impl Node {
    fn root(&self) -> PathBuf {
        self.dir.join("root")
    }

    fn kubectl(&self, arguments: &[&str], input: Option<&Value>) -> bool {
        let mut command = Command::new(self.programs.path("kubectl").unwrap());
        command.arg("--kubeconfig").arg(self.dir.join("super-admin.conf")).args(arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        if let Some(input) = input {
            child.stdin.take().unwrap().write_all(input.to_string().as_bytes()).unwrap();
        }
        child.wait().unwrap().success()
    }

    /// What the live and the API claims find, as a run does it: what is said is recorded, and the recording is judged.
    fn audit(&self) -> BTreeMap<String, String> {
        let endpoints = self.endpoints.iter().map(|text| text.parse().unwrap()).collect();
        let layout = Layout { endpoints, log_in: true, ..Layout::default() };
        let cluster = Cluster::open(&self.dir.join("super-admin.conf"), None).unwrap();
        let host = LiveHost::open(&self.root()).unwrap().with_layout(layout).with_cluster(cluster);
        let recorder = Recorder::new(&host, true);
        drop(Facts::read(&recorder));
        let transcript = recorder.finish();
        // The keys that are used stay where they are.
        let said: String = transcript.iter().map(|answer| serde_json::to_string(&answer).unwrap()).collect();
        let key = std::fs::read_to_string(self.root().join("etc/kubernetes/pki/apiserver-etcd-client.key")).unwrap();
        assert!(said.contains("reception") || said.contains("log-in"), "nobody logged in");
        assert!(key.lines().filter(|line| line.len() > 40).all(|line| !said.contains(line)), "a key was recorded");
        let facts = Facts::read(&transcript);
        let profile = Profile::new(jiff::Timestamp::now());
        let view = View::alone(&facts, &profile);
        let ours = checks().into_iter().filter(|check| check.labels.contains(&"live") || check.labels.contains(&"api"));
        let found = ours.filter_map(|check| match check.judge(&view).verdict {
            Verdict::Breached(breaches) => Some((check.id, breaches[0].message.clone())),
            Verdict::Undetermined(why) => Some((check.id, format!("undetermined: {why}"))),
            _ => None,
        });
        found.collect()
    }

    /// Audits until exactly this is found: controllers take their time.
    fn finds(&self, wanted: &[(&str, &str)]) {
        let began = Instant::now();
        loop {
            let found = self.audit();
            // Go's defaults have suites with CBC; that is worth knowing, and no defect.
            let rest: BTreeMap<_, _> = found.iter().filter(|(id, _)| *id != "pki.live.cbc-suite").collect();
            let same = rest.len() == wanted.len()
                && wanted.iter().all(|(id, part)| found.get(*id).is_some_and(|message| message.contains(part)));
            if same {
                return;
            }
            assert!(began.elapsed() < Duration::from_mins(5), "wanted {wanted:?}, found {rest:#?}");
            std::thread::sleep(Duration::from_millis(500));
        }
    }
}

fn ca(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate of a client, and its key.
fn client(name: &str, issuer: &Issuer<'_, KeyPair>) -> (String, String) {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().unwrap();
    (params.signed_by(&key, issuer).unwrap().pem(), key.serialize_pem())
}

/// A server that asks for client certificates by a CA, if one is given, and answers every request with 401. What it
/// presents has `behind` behind it.
fn serve(
    address: &str,
    name: &str,
    issuer: &CertifiedIssuer<'_, KeyPair>,
    behind: &[CertificateDer<'static>],
    clients: Option<CertificateDer<'static>>,
) {
    let mut params = CertificateParams::new(vec![ADDRESS.to_owned()]).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    (params.not_before, params.not_after) =
        (time::OffsetDateTime::now_utc(), time::OffsetDateTime::now_utc() + time::Duration::days(365));
    let key = KeyPair::generate().unwrap();
    let leaf = params.signed_by(&key, issuer).unwrap().der().clone();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
    let builder = match clients {
        Some(ca) => {
            let mut roots = RootCertStore::empty();
            roots.add(ca).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.allow_unauthenticated().build().unwrap())
        }
        None => builder.with_no_client_auth(),
    };
    let config = Arc::new(builder.with_single_cert([&[leaf], behind].concat(), key).unwrap());
    let listener = TcpListener::bind(address.parse::<SocketAddr>().unwrap()).unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let Ok(connection) = ServerConnection::new(config.clone()) else { continue };
            std::thread::spawn(move || {
                let mut stream = StreamOwned::new(connection, stream);
                if stream.read(&mut [0; 512]).is_ok_and(|count| count > 0) {
                    stream.write_all(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n").ok();
                }
            });
        }
    });
}

/// Starts everything, and has what `kubeadm init` leaves in the API.
fn control_plane(dir: &Path, programs: Programs) -> (Node, Vec<Process>) {
    let spec =
        Spec { algorithm: Algorithm::EcdsaP256, ..Spec::new("cp1", ADDRESS.parse().unwrap(), jiff::Timestamp::now()) };
    let pki = dir.join("pki");
    issue(&spec, &pki).unwrap();
    kubeconfigs(&spec, &pki, dir).unwrap();
    let mut node = Node { dir: dir.to_owned(), programs, endpoints: Vec::new(), flags: Vec::new() };
    copy(&pki, &node.root().join("etc/kubernetes/pki"));
    for name in ["admin.conf", "scheduler.conf"] {
        std::fs::copy(dir.join(name), node.root().join("etc/kubernetes").join(name)).unwrap();
    }
    let plane = ControlPlane {
        node: spec.node.clone(),
        advertise: spec.advertise,
        port: spec.port,
        services: spec.services.clone(),
        pods: Vec::new(),
        domain: spec.domain.clone(),
        cluster: "kubernetes".to_owned(),
        pki: pki.clone(),
        kubeconfigs: dir.to_owned(),
        external_ca: false,
        etcd: EtcdServers::Local { joins: Vec::new(), data: dir.join("etcd") },
        extra: ExtraFlags::default(),
    };
    run("ip", &["link", "set", "lo", "up"]);
    run("ip", &["address", "add", &format!("{ADDRESS}/32"), "dev", "lo"]);
    let components = plane.components().into_iter().filter(|component| component.name != "kube-scheduler");
    let processes = components.map(|component| {
        if component.name == "kube-apiserver" {
            node.flags = component.arguments().collect();
        }
        let log = dir.join(format!("{}.log", component.name));
        start(node.programs.path(component.name).unwrap(), component.arguments(), &log)
    });
    let processes = processes.collect();
    let token = Token::generate();
    let soon = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(24);
    let pem = std::fs::read_to_string(pki.join("ca.crt")).unwrap();
    let mut items = objects(&pem, &format!("https://{ADDRESS}:6443"));
    items.push(token.object(Some("of the test"), Some(soon)));
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": items });
    let began = Instant::now();
    while !node.kubectl(&["get", "--raw", "/readyz"], None) {
        assert!(
            began.elapsed() < Duration::from_mins(5),
            "{}",
            std::fs::read_to_string(dir.join("kube-apiserver.log")).unwrap()
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(node.kubectl(&["apply", "-f", "-"], Some(&list)));
    (node, processes)
}

#[test]
fn each_defect_of_a_live_control_plane_is_found_and_nothing_else() {
    let Some(programs) = programs() else { return };
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let booted = Booted::start(&folder.path().join("root"));
    let (mut node, mut processes) = control_plane(folder.path(), programs);
    node.finds(&[]);
    let cluster_ca = std::fs::read(node.dir.join("pki/ca.crt")).unwrap();

    // The manifest rules out TLS 1.2, and the process is older than that.
    let manifest = node.root().join("etc/kubernetes/manifests/kube-apiserver.yaml");
    let (ours, theirs) = (node.dir.join("pki").display().to_string(), "/etc/kubernetes/pki");
    let flags = node.flags.iter().map(|flag| flag.replace(&ours, theirs));
    let flags = flags.chain(["--tls-min-version=VersionTLS13".to_owned()]).map(|flag| format!("    - {flag}\n"));
    std::fs::create_dir_all(manifest.parent().unwrap()).unwrap();
    let pod = format!("spec:\n  containers:\n  - command:\n    - kube-apiserver\n{}", flags.collect::<String>());
    std::fs::write(&manifest, pod).unwrap();
    node.finds(&[("pki.live.ruled-out", "kube-apiserver.yaml rules out")]);
    std::fs::remove_file(manifest).unwrap();

    // Renewed on disk, and the process goes on with what it has.
    let file = node.root().join("etc/kubernetes/pki/apiserver.crt");
    let old = std::fs::read(&file).unwrap();
    std::fs::remove_file(node.root().join("etc/kubernetes/pki/apiserver.crt")).unwrap();
    std::fs::remove_file(node.root().join("etc/kubernetes/pki/apiserver.key")).unwrap();
    let spec =
        Spec { algorithm: Algorithm::EcdsaP256, ..Spec::new("cp1", ADDRESS.parse().unwrap(), jiff::Timestamp::now()) };
    issue(&spec, &node.root().join("etc/kubernetes/pki")).unwrap();
    node.finds(&[("pki.live.served-is-file", "was not restarted")]);
    std::fs::write(&file, old).unwrap();

    // What the API server would show to etcd after its next start, and the scheduler to the API server, is by a CA that
    // they do not know.
    let kubernetes = node.root().join("etc/kubernetes");
    let (crt, key, conf) = ("pki/apiserver-etcd-client.crt", "pki/apiserver-etcd-client.key", "scheduler.conf");
    let saved = [crt, key, conf].map(|file| (kubernetes.join(file), std::fs::read(kubernetes.join(file)).unwrap()));
    let (other_crt, other_key) = client("kube-apiserver-etcd-client", &ca("etcd-ca"));
    std::fs::write(kubernetes.join(crt), &other_crt).unwrap();
    std::fs::write(kubernetes.join(key), &other_key).unwrap();
    node.finds(&[("pki.live.log-in", "was shown to etcd 10.0.0.11:2379, which does not take it: alert ")]);
    let (other_crt, other_key) = client("system:kube-scheduler", &ca("kubernetes"));
    let mut config: Value = serde_saphyr::from_slice(&saved[2].1).unwrap();
    config["users"][0]["user"]["client-certificate-data"] = STANDARD.encode(other_crt).into();
    config["users"][0]["user"]["client-key-data"] = STANDARD.encode(other_key).into();
    std::fs::write(kubernetes.join(conf), config.to_string()).unwrap();
    saved[..2].iter().for_each(|(file, content)| std::fs::write(file, content).unwrap());
    node.finds(&[("pki.live.log-in", "which does not take it: 401 Unauthorized")]);
    saved.iter().for_each(|(file, content)| std::fs::write(file, content).unwrap());
    node.finds(&[]);

    // Another etcd, which trusts the cluster's CA, too.
    let bundle = node.dir.join("both.crt");
    let etcd_ca = std::fs::read(node.dir.join("pki/etcd/ca.crt")).unwrap();
    std::fs::write(&bundle, [&cluster_ca[..], &etcd_ca].concat()).unwrap();
    let pki = |name: &str| node.dir.join("pki").join(name).display().to_string();
    let another = |trusted: String| {
        let flags = [
            "--listen-client-urls=https://127.0.0.1:4001".to_owned(),
            "--advertise-client-urls=https://127.0.0.1:4001".to_owned(),
            "--listen-peer-urls=http://127.0.0.1:4380".to_owned(),
            format!("--data-dir={}", node.dir.join("etcd2").display()),
            format!("--cert-file={}", pki("etcd/server.crt")),
            format!("--key-file={}", pki("etcd/server.key")),
            "--client-cert-auth=true".to_owned(),
            format!("--trusted-ca-file={trusted}"),
        ];
        start(node.programs.path("etcd").unwrap(), flags, &node.dir.join("etcd2.log"))
    };
    let rogue = another(bundle.display().to_string());
    node.finds(&[("pki.live.etcd-ca", "CN=kubernetes")]);
    drop(rogue);

    // And one whose authorization is on, and has no users of these names.
    std::fs::remove_dir_all(node.dir.join("etcd2")).unwrap();
    let guarded = another(pki("etcd/ca.crt"));
    let authority = std::fs::read_to_string(pki("etcd/ca.crt")).unwrap();
    let authority_key = KeyPair::from_pem(&std::fs::read_to_string(pki("etcd/ca.key")).unwrap()).unwrap();
    let (root_crt, root_key) = client("root", &Issuer::from_ca_cert_pem(&authority, authority_key).unwrap());
    std::fs::write(pki("root.crt"), root_crt).unwrap();
    std::fs::write(pki("root.key"), root_key).unwrap();
    let etcdctl = |words: &str| {
        let mut command = Command::new(node.programs.path("etcdctl").unwrap());
        command.args(["--endpoints=https://127.0.0.1:4001", "--cacert", &pki("etcd/ca.crt")]);
        command.args(["--cert", &pki("root.crt"), "--key", &pki("root.key")]).args(words.split(' '));
        let ran = command.output().unwrap();
        if ran.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&ran.stderr).into_owned()) }
    };
    let began = Instant::now();
    while let Err(why) = etcdctl("user add root --no-password") {
        assert!(began.elapsed() < Duration::from_mins(1), "{why}");
        std::thread::sleep(Duration::from_millis(100));
    }
    let etcdctl = |words: &str| etcdctl(words).unwrap();
    ["role add root", "user grant-role root root", "auth enable"].into_iter().for_each(etcdctl);
    node.finds(&[(
        "pki.live.log-in",
        "etcd 127.0.0.1:4001, which takes it and lets its holder do nothing: etcdserver: permission denied",
    )]);
    let users = ["kube-apiserver-etcd-client", "kube-etcd-healthcheck-client"];
    users.iter().for_each(|user| etcdctl(&format!("user add {user} --no-password")));
    ["role add api", "role grant-permission api read --prefix=true /registry/"].into_iter().for_each(etcdctl);
    users.iter().for_each(|user| etcdctl(&format!("user grant-role {user} api")));
    node.finds(&[]);
    drop(guarded);

    // A CA in cluster-info that is no longer the cluster's; the signature under it is good.
    let stranger = ca("kubernetes");
    let stale = &objects(&stranger.pem(), &format!("https://{ADDRESS}:6443"));
    let stale = stale.iter().find(|object| object["metadata"]["name"] == "cluster-info").unwrap();
    let data = |config: &Value| json!({ "data": { "kubeconfig": config["data"]["kubeconfig"] } }).to_string();
    assert!(node.kubectl(&["patch", "configmap", "cluster-info", "-n", "kube-public", "-p", &data(stale)], None));
    node.finds(&[("pki.api.cluster-info", "cannot be verified")]);
    let good = objects(std::str::from_utf8(&cluster_ca).unwrap(), &format!("https://{ADDRESS}:6443"));
    let good = good.iter().find(|object| object["metadata"]["name"] == "cluster-info").unwrap();
    assert!(node.kubectl(&["patch", "configmap", "cluster-info", "-n", "kube-public", "-p", &data(good)], None));

    // A webhook whose caBundle is not that of its server.
    serve("10.0.0.11:9443", "hook", &stranger, &[], None);
    let hook = |ca: &str| {
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": { "name": "policy" },
            "webhooks": [{
                "name": "check.policy.test", "admissionReviewVersions": ["v1"], "sideEffects": "None",
                "failurePolicy": "Ignore",
                "clientConfig": { "url": format!("https://{ADDRESS}:9443/"), "caBundle": STANDARD.encode(ca) },
                "rules": [
                    {
                        "apiGroups": ["nothing.test"], "apiVersions": ["v1"], "operations": ["CREATE"],
                        "resources": ["none"],
                    },
                ],
            }],
        })
    };
    assert!(node.kubectl(&["apply", "-f", "-"], Some(&hook(&ca("other").pem()))));
    node.finds(&[("pki.api.ca-bundle-served", "is not signed")]);
    assert!(node.kubectl(&["apply", "-f", "-"], Some(&hook(&stranger.pem()))));
    node.finds(&[]);

    // A server that presents the root behind its certificate.
    serve("10.0.0.11:9444", "hook", &stranger, &[stranger.der().clone()], None);
    node.endpoints.push(format!("{ADDRESS}:9444=webhook"));
    node.finds(&[("pki.live.root", "presents the root CN=kubernetes")]);
    node.endpoints.clear();

    // A kubelet that serves what it made itself when it started.
    let made = jiff::Timestamp::now().as_second();
    let (_, cluster_ca) = x509_parser::pem::parse_x509_pem(&cluster_ca).unwrap();
    let clients = CertificateDer::from(cluster_ca.contents);
    serve("10.0.0.11:10250", &format!("cp1@{made}"), &ca(&format!("cp1-ca@{made}")), &[], Some(clients));
    let stranger = ("pki.live.log-in", "was shown to kubelet 10.0.0.11:10250, which does not take it: 401");
    node.finds(&[("pki.live.exposed", "nobody can verify it"), stranger]);

    // A server that is not there.
    node.endpoints.push(format!("{ADDRESS}:16443"));
    node.finds(&[("pki.live.exposed", "nobody can verify it"), stranger, ("pki.live.answers", "nothing listens")]);
    processes.clear();
    drop(booted);
}

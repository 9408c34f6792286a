//! Our PKI beside the one that the real kubeadm makes of the same configuration, and what is refused.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code")]

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use seaworthy_provision::pki::{Algorithm, Did, Etcd, Spec, issue, kubeconfigs};
use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer as _, ParsedExtension, X509Certificate};

fn spec(algorithm: Algorithm) -> Spec {
    Spec {
        services: vec!["10.96.0.0/12".parse().unwrap(), "fd00:10:96::/112".parse().unwrap()],
        endpoint: Some("api.example.test:6443".to_owned()),
        apiserver_sans: ["extra.example.test", "192.0.2.7", "*.wild.test"].map(str::to_owned).into(),
        etcd_server_sans: vec!["etcd.example.test".to_owned()],
        etcd_peer_sans: vec!["192.0.2.9".to_owned()],
        algorithm,
        ..Spec::new("cp1", "10.0.0.11".parse().unwrap(), Timestamp::now())
    }
}

/// The same, for kubeadm.
fn config(spec: &Spec, pki: &Path) -> String {
    let etcd = match spec.etcd {
        Etcd::Local => {
            "  local:\n    dataDir: /var/lib/etcd\n    serverCertSANs: [etcd.example.test]\n    peerCertSANs: \
             [192.0.2.9]\n"
        }
        Etcd::External => {
            "  external:\n    endpoints: [https://192.0.2.1:2379]\n    caFile: /x\n    certFile: /y\n    keyFile: /z\n"
        }
    };
    format!(
        "apiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\n\
         localAPIEndpoint: {{advertiseAddress: 10.0.0.11}}\n\
         nodeRegistration: {{name: cp1, criSocket: 'unix:///run/containerd/containerd.sock'}}\n---\n\
         apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nkubernetesVersion: v1.37.2\n\
         controlPlaneEndpoint: api.example.test:6443\ncertificatesDir: {}\nencryptionAlgorithm: {}\n\
         networking: {{serviceSubnet: '10.96.0.0/12,fd00:10:96::/112', dnsDomain: cluster.local}}\n\
         apiServer: {{certSANs: [extra.example.test, 192.0.2.7, '*.wild.test']}}\netcd:\n{etcd}",
        pki.display(),
        spec.algorithm,
    )
}

struct Kubeadm {
    program: std::ffi::OsString,
    dir: tempfile::TempDir,
}

impl Kubeadm {
    fn new(spec: &Spec, pki: &str) -> Option<Self> {
        let Some(program) = std::env::var_os("SEAWORTHY_KUBEADM") else {
            assert!(std::env::var_os("SEAWORTHY_REQUIRE").is_none(), "SEAWORTHY_KUBEADM must name kubeadm");
            println!("skipped: SEAWORTHY_KUBEADM does not name a kubeadm; `seaworthy assets fetch kubeadm` builds one");
            return None;
        };
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config.yaml"), config(spec, &dir.path().join(pki))).unwrap();
        Some(Self { program, dir })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn run(&self, arguments: &[&str]) -> String {
        let output =
            Command::new(&self.program).args(arguments).arg("--config").arg(self.path("config.yaml")).output().unwrap();
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "kubeadm {}: {text}", arguments.join(" "));
        text
    }
}

/// Every file below a folder, with its mode.
fn files(folder: &Path) -> BTreeMap<String, u32> {
    let mut all = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(one) = folders.pop() {
        for entry in std::fs::read_dir(one).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
                all.insert(name, std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777);
            }
        }
    }
    all
}

/// Everything that a certificate says but its keys, its serial number and its exact time.
fn described(pem: &[u8]) -> Vec<String> {
    let block = Pem::iter_from_buffer(pem).next().unwrap().unwrap();
    let (_, one) = X509Certificate::from_der(&block.contents).unwrap();
    let lasts = one.validity().not_after.timestamp() - one.validity().not_before.timestamp();
    let serial = one.raw_serial();
    assert!(serial.len() <= 8 && serial[0] & 0x80 == 0, "a positive number of 63 bits");
    let mut lines = vec![
        format!("version {}", one.version()),
        format!("issuer {:?}", one.issuer().as_raw()),
        format!("subject {:?}", one.subject().as_raw()),
        // In minutes: one of two programs may see the clock turn between notBefore and notAfter.
        format!("lasts {} min", (lasts + 30) / 60),
        format!("signature {:?}", one.signature_algorithm.algorithm),
        format!("key {:?} {}", one.public_key().algorithm.algorithm, one.public_key().parsed().unwrap().key_size()),
    ];
    let mut extensions: Vec<_> = one
        .extensions()
        .iter()
        .map(|extension| {
            let what = match extension.parsed_extension() {
                // Made of keys: that they are there, and how long they are.
                ParsedExtension::SubjectKeyIdentifier(id) => format!("{} bytes", id.0.len()),
                ParsedExtension::AuthorityKeyIdentifier(id) => {
                    format!("{:?} bytes", id.key_identifier.as_ref().map(|id| id.0.len()))
                }
                _ => format!("{:?}", extension.value),
            };
            format!("extension {} critical {} {what}", extension.oid, extension.critical)
        })
        .collect();
    extensions.sort();
    lines.extend(extensions);
    lines
}

fn same_certificates(ours: &Path, theirs: &Path) {
    assert_eq!(files(ours), files(theirs), "files and modes");
    for name in files(ours).keys() {
        let (a, b) = (std::fs::read(ours.join(name)).unwrap(), std::fs::read(theirs.join(name)).unwrap());
        if name.ends_with(".crt") {
            assert_eq!(described(&a), described(&b), "{name}");
        } else {
            let label = |pem: &[u8]| String::from_utf8_lossy(pem).lines().next().unwrap().to_owned();
            assert_eq!(label(&a), label(&b), "{name}");
        }
    }
}

#[test]
fn our_pki_is_kubeadms() {
    for algorithm in [Algorithm::Rsa2048, Algorithm::EcdsaP256, Algorithm::EcdsaP384] {
        let spec = spec(algorithm);
        let Some(kubeadm) = Kubeadm::new(&spec, "pki") else { return };
        kubeadm.run(&["init", "phase", "certs", "all"]);
        let ours = tempfile::tempdir().unwrap();
        issue(&spec, ours.path()).unwrap();
        same_certificates(ours.path(), &kubeadm.path("pki"));
    }
}

#[test]
fn with_external_etcd_too() {
    let spec = Spec { etcd: Etcd::External, ..spec(Algorithm::EcdsaP256) };
    let Some(kubeadm) = Kubeadm::new(&spec, "pki") else { return };
    kubeadm.run(&["init", "phase", "certs", "all"]);
    let ours = tempfile::tempdir().unwrap();
    issue(&spec, ours.path()).unwrap();
    same_certificates(ours.path(), &kubeadm.path("pki"));
}

#[test]
fn our_kubeconfigs_are_kubeadms() {
    let spec = spec(Algorithm::Rsa2048);
    let Some(kubeadm) = Kubeadm::new(&spec, "pki") else { return };
    kubeadm.run(&["init", "phase", "certs", "ca"]);
    let theirs = kubeadm.path("conf");
    std::fs::create_dir(&theirs).unwrap();
    kubeadm.run(&["init", "phase", "kubeconfig", "all", "--kubeconfig-dir", theirs.to_str().unwrap()]);
    let ours = tempfile::tempdir().unwrap();
    kubeconfigs(&spec, &kubeadm.path("pki"), ours.path()).unwrap();
    assert_eq!(files(ours.path()), files(&theirs));
    for name in files(&theirs).keys() {
        let read = |folder: &Path| -> serde_json::Value {
            serde_saphyr::from_str(&std::fs::read_to_string(folder.join(name)).unwrap()).unwrap()
        };
        let (mut a, mut b) = (read(ours.path()), read(&theirs));
        for one in [&mut a, &mut b] {
            let user = one.pointer_mut("/users/0/user").unwrap();
            let pem = STANDARD.decode(user["client-certificate-data"].as_str().unwrap()).unwrap();
            user["client-certificate-data"] = described(&pem).into();
            let key = STANDARD.decode(user["client-key-data"].as_str().unwrap()).unwrap();
            user["client-key-data"] = String::from_utf8(key).unwrap().lines().next().unwrap().into();
        }
        assert_eq!(a, b, "{name}");
    }
}

#[test]
fn kubeadm_finds_our_pki_in_order_and_goes_on_with_it() {
    let spec = spec(Algorithm::Rsa2048);
    let Some(kubeadm) = Kubeadm::new(&spec, "pki") else { return };
    let pki = kubeadm.path("pki");
    issue(&spec, &pki).unwrap();
    let text = kubeadm.run(&["init", "phase", "certs", "all"]);
    for name in ["ca", "apiserver", "etcd/ca", "etcd/peer", "front-proxy-client", "sa"] {
        assert!(
            text.contains(&format!("Using existing {name} ")) || text.contains("Using the existing \"sa\" key"),
            "{name}: {text}"
        );
    }
    assert!(!text.contains("Generating"), "{text}");
    let text = kubeadm.run(&["certs", "check-expiration", "--cert-dir", pki.to_str().unwrap()]);
    for name in ["apiserver", "etcd-healthcheck-client", "front-proxy-client"] {
        let line =
            text.lines().find(|line| line.trim_start().starts_with(name)).unwrap_or_else(|| panic!("{name}: {text}"));
        assert!(line.contains("364d"), "{line}");
    }
}

#[test]
fn what_is_there_is_kept_and_what_is_missing_is_made() {
    let spec = spec(Algorithm::EcdsaP256);
    let dir = tempfile::tempdir().unwrap();
    assert!(issue(&spec, dir.path()).unwrap().iter().all(|step| step.did == Did::Made));
    let ca = std::fs::read(dir.path().join("ca.crt")).unwrap();
    for name in ["apiserver.crt", "apiserver.key", "sa.pub"] {
        std::fs::remove_file(dir.path().join(name)).unwrap();
    }
    let steps = issue(&spec, dir.path()).unwrap();
    let made: Vec<_> = steps.iter().filter(|step| step.did == Did::Made).map(|step| step.name).collect();
    assert_eq!(made, ["apiserver"]);
    assert_eq!(std::fs::read(dir.path().join("ca.crt")).unwrap(), ca);
    assert!(dir.path().join("sa.pub").exists());
}

#[test]
fn an_external_ca_is_asked_for_nothing() {
    let spec = spec(Algorithm::EcdsaP256);
    let dir = tempfile::tempdir().unwrap();
    issue(&spec, dir.path()).unwrap();
    std::fs::remove_file(dir.path().join("ca.key")).unwrap();
    assert!(issue(&spec, dir.path()).unwrap().iter().all(|step| step.did == Did::Kept));
    for name in ["apiserver.crt", "apiserver.key"] {
        std::fs::remove_file(dir.path().join(name)).unwrap();
    }
    let why = issue(&spec, dir.path()).unwrap_err().to_string();
    assert!(why.contains("apiserver.crt is not there") && why.contains("ca.crt has no key here"), "{why}");
}

#[test]
fn what_does_not_fit_is_named() {
    let spec = spec(Algorithm::EcdsaP256);
    let refused = |change: &dyn Fn(&Path)| {
        let dir = tempfile::tempdir().unwrap();
        issue(&spec, dir.path()).unwrap();
        change(dir.path());
        issue(&spec, dir.path()).unwrap_err().to_string()
    };
    let copy = |dir: &Path, from: &str, to: &str| std::fs::copy(dir.join(from), dir.join(to)).map(|_| ()).unwrap();
    let why = refused(&|dir| copy(dir, "front-proxy-client.key", "apiserver.key"));
    assert!(why.contains("apiserver.crt is there") && why.contains("not the certificate of the key"), "{why}");
    let why = refused(&|dir| {
        copy(dir, "front-proxy-client.crt", "apiserver.crt");
        copy(dir, "front-proxy-client.key", "apiserver.key");
    });
    assert!(why.contains("apiserver.crt") && why.contains("did not sign it"), "{why}");
    let why = refused(&|dir| {
        copy(dir, "apiserver.crt", "ca.crt");
        copy(dir, "apiserver.key", "ca.key");
    });
    assert!(why.contains("ca.crt") && why.contains("no CA's certificate"), "{why}");
    let why = refused(&|dir| copy(dir, "sa.pub", "sa.key"));
    assert!(why.contains("sa.key") && why.contains("no private key"), "{why}");
    let why = refused(&|dir| std::fs::remove_file(dir.join("etcd/server.crt")).unwrap());
    assert!(why.contains("etcd/server.key") && why.contains("is not there"), "{why}");
    let why = refused(&|dir| std::fs::write(dir.join("ca.crt"), "garbage").unwrap());
    assert!(why.contains("ca.crt") && why.contains("no certificate in PEM"), "{why}");
}

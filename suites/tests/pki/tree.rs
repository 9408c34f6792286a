//! A control-plane node's root as a folder: the PKI of our engine or of the real kubeadm, and what tells of it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, LazyLock, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use rcgen::CertificateParams;
use seaworthy_provision::pki::{Algorithm, Spec, Usage, issue, kubeconfigs};
use serde_json::Value;

use crate::forge::{self, Authority};

pub(crate) const PKI: &str = "etc/kubernetes/pki";
const CURRENT: &str = "var/lib/kubelet/pki/kubelet-client-current.pem";
const DATED: &str = "kubelet-client-2026-01-01-00-00-00.pem";

/// Who made the PKI, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Base {
    Rsa,
    Ecdsa,
    /// The keys of the CAs are elsewhere.
    ExternalCa,
    /// The CA of the cluster is an intermediate one, whose root is in the file with it.
    Intermediate,
    Kubeadm,
    KubeadmEcdsa,
    KubeadmExternalCa,
}

/// A node's root.
pub(crate) struct Tree {
    dir: tempfile::TempDir,
    pub(crate) spec: Spec,
}

impl Tree {
    /// A node with this PKI; `None` where the real kubeadm is needed and not there.
    pub(crate) fn new(base: Base) -> Option<Self> {
        let template = template(base)?;
        let dir = tempfile::tempdir().unwrap();
        copy(template.0.path(), dir.path());
        Some(Self { dir, spec: template.1.clone() })
    }

    pub(crate) fn root(&self) -> &Path {
        self.dir.path()
    }

    /// A path below the root.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root().join(path)
    }

    /// A file of the PKI: `apiserver.crt`.
    pub(crate) fn pki(&self, name: &str) -> PathBuf {
        self.path(PKI).join(name)
    }

    pub(crate) fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Writes a file with the mode that belongs to its kind.
    pub(crate) fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let mode = if path.ends_with(".crt") || path.ends_with(".yaml") { 0o644 } else { 0o600 };
        write(&self.path(path), text.as_ref(), mode);
    }

    pub(crate) fn mode(&self, path: &str, mode: u32) {
        std::fs::set_permissions(self.path(path), std::fs::Permissions::from_mode(mode)).unwrap();
    }

    pub(crate) fn remove(&self, path: &str) {
        std::fs::remove_file(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    }

    /// Replaces a text that must be there.
    pub(crate) fn replace(&self, path: &str, from: &str, to: &str) {
        let text = self.read(path);
        assert!(text.contains(from), "{path} does not hold '{from}':\n{text}");
        self.write(path, text.replace(from, to));
    }

    /// A CA of the PKI, with its key.
    pub(crate) fn authority(&self, base: &str) -> Authority {
        Authority::load(&self.pki(&format!("{base}.crt")), &self.pki(&format!("{base}.key")))
    }

    /// Makes a certificate of the plan again, with a change, a new key and the CA that belongs to it.
    pub(crate) fn reissue(&self, base: &str, change: impl FnOnce(&mut CertificateParams)) {
        let planned = forge::planned(&self.spec, base);
        let ca = planned.ca.map(|ca| if ca == "etcd-ca" { "etcd/ca" } else { ca });
        self.reissue_by(base, &self.authority(ca.unwrap()), change);
    }

    /// The same, by another CA.
    pub(crate) fn reissue_by(&self, base: &str, ca: &Authority, change: impl FnOnce(&mut CertificateParams)) {
        let mut params = forge::parameters(&self.spec, &forge::planned(&self.spec, base));
        change(&mut params);
        let key = forge::key();
        self.write(&format!("{PKI}/{base}.crt"), ca.sign(&params, &key));
        self.write(&format!("{PKI}/{base}.key"), key.serialize_pem());
    }

    /// Makes a CA again, with a change and a new key, and nothing of what it has signed.
    pub(crate) fn new_ca(&self, base: &str, change: impl FnOnce(&mut CertificateParams)) -> Authority {
        let mut params = forge::parameters(&self.spec, &forge::planned(&self.spec, base));
        change(&mut params);
        let (authority, key) = Authority::new(&params);
        self.write(&format!("{PKI}/{base}.crt"), &authority.pem);
        self.write(&format!("{PKI}/{base}.key"), key);
        authority
    }

    /// Gives a CA another certificate for the key that it has, so that what it has signed stays signed.
    pub(crate) fn recertify(&self, base: &str, change: impl FnOnce(&mut CertificateParams)) {
        let mut params = forge::parameters(&self.spec, &forge::planned(&self.spec, base));
        change(&mut params);
        self.write(&format!("{PKI}/{base}.crt"), self.authority(base).again(&params));
    }

    /// Changes a kubeconfig.
    pub(crate) fn kubeconfig(&self, name: &str, change: impl FnOnce(&mut Value)) {
        let path = format!("etc/kubernetes/{name}.conf");
        let mut config: Value = serde_saphyr::from_str(&self.read(&path)).unwrap();
        change(&mut config);
        self.write(&path, serde_saphyr::to_string(&config).unwrap());
    }

    /// Gives a kubeconfig another client certificate.
    pub(crate) fn identity(
        &self,
        name: &str,
        user: &str,
        group: Option<&str>,
        change: impl FnOnce(&mut CertificateParams),
    ) {
        let mut params = forge::leaf(user, group, Some(Usage::Client));
        change(&mut params);
        let key = forge::key();
        let certificate = self.authority("ca").sign(&params, &key);
        self.kubeconfig(name, |config| {
            config["users"][0]["user"]["client-certificate-data"] = STANDARD.encode(certificate).into();
            config["users"][0]["user"]["client-key-data"] = STANDARD.encode(key.serialize_pem()).into();
        });
    }

    /// Gives the kubelet another client certificate.
    pub(crate) fn kubelet(&self, user: &str, groups: &[&str]) {
        let mut params = forge::leaf(user, None, Some(Usage::Client));
        groups.iter().for_each(|group| params.distinguished_name.push(rcgen::DnType::OrganizationName, *group));
        let key = forge::key();
        let certificate = self.authority("ca").sign(&params, &key);
        self.write(&format!("var/lib/kubelet/pki/{DATED}"), format!("{certificate}{}", key.serialize_pem()));
    }

    /// The same with everything that hangs on the cluster's CA made of another: its certificate and key are in place
    /// already.
    fn rehang(&self) {
        let ca = self.authority("ca");
        for base in ["apiserver", "apiserver-kubelet-client"] {
            self.reissue_by(base, &ca, |_| {});
            let leaf = self.read(&format!("{PKI}/{base}.crt"));
            // kubeadm writes a leaf with what it needs on the way to the root.
            self.write(&format!("{PKI}/{base}.crt"), format!("{leaf}{}", ca.pem));
        }
        let chain = self.read(&format!("{PKI}/ca.crt"));
        for (name, user, group) in [
            ("admin", "kubernetes-admin", Some("kubeadm:cluster-admins")),
            ("super-admin", "kubernetes-super-admin", Some("system:masters")),
            ("controller-manager", "system:kube-controller-manager", None),
            ("scheduler", "system:kube-scheduler", None),
        ] {
            self.identity(name, user, group, |_| {});
            self.kubeconfig(name, |config| {
                config["clusters"][0]["cluster"]["certificate-authority-data"] = STANDARD.encode(&chain).into();
            });
        }
        self.kubeconfig("kubelet", |config| {
            config["clusters"][0]["cluster"]["certificate-authority-data"] = STANDARD.encode(&chain).into();
        });
        self.kubelet("system:node:cp1", &["system:nodes"]);
    }
}

fn write(path: &Path, bytes: &[u8], mode: u32) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let _ = std::fs::remove_file(path);
    std::fs::write(path, bytes).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            std::fs::create_dir_all(&target).unwrap();
            copy(&source, &target);
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(std::fs::read_link(&source).unwrap(), &target).unwrap();
        } else {
            std::fs::copy(&source, &target).unwrap();
        }
    }
}

type Template = Arc<(tempfile::TempDir, Spec)>;

/// Each base is made once and copied.
fn template(base: Base) -> Option<Template> {
    static MADE: LazyLock<Mutex<HashMap<Base, Option<Template>>>> = LazyLock::new(Mutex::default);
    MADE.lock().unwrap().entry(base).or_insert_with(|| make(base)).clone()
}

fn make(base: Base) -> Option<Template> {
    let algorithm = if matches!(base, Base::Rsa | Base::Kubeadm) { Algorithm::Rsa2048 } else { Algorithm::EcdsaP256 };
    let address: IpAddr = "10.0.0.11".parse().unwrap();
    let spec = Spec {
        algorithm,
        endpoint: Some("api.example.test:6443".to_owned()),
        ..Spec::new("cp1", address, Timestamp::now())
    };
    let dir = tempfile::tempdir().unwrap();
    let (pki, conf) = (dir.path().join(PKI), dir.path().join("etc/kubernetes"));
    std::fs::create_dir_all(&pki).unwrap();
    if matches!(base, Base::Kubeadm | Base::KubeadmEcdsa | Base::KubeadmExternalCa) {
        kubeadm(&spec, &pki, &conf)?;
    } else {
        issue(&spec, &pki).unwrap();
        kubeconfigs(&spec, &pki, &conf).unwrap();
    }
    let tree = Tree { dir, spec };
    for (component, flags, mounts) in MANIFESTS {
        tree.write(&format!("etc/kubernetes/manifests/{component}.yaml"), manifest(component, flags, mounts));
    }
    tree.write("etc/hostname", "cp1\n");
    tree.write("var/lib/kubelet/config.yaml", KUBELET);
    tree.write(
        "var/lib/kubelet/kubeadm-flags.env",
        "KUBELET_KUBEADM_ARGS=\"--container-runtime-endpoint=unix:///run/containerd/containerd.sock\"\n",
    );
    // The kubelet has started, and has renewed its certificate once.
    tree.kubelet("system:node:cp1", &["system:nodes"]);
    std::os::unix::fs::symlink(format!("/var/lib/kubelet/pki/{DATED}"), tree.path(CURRENT)).unwrap();
    tree.kubeconfig("kubelet", |config| {
        config["users"][0]["user"] =
            serde_json::json!({ "client-certificate": format!("/{CURRENT}"), "client-key": format!("/{CURRENT}") });
    });
    let mut serving = forge::leaf("cp1@1790000000", None, Some(Usage::Server));
    serving.subject_alt_names = vec![rcgen::SanType::DnsName("cp1".try_into().unwrap())];
    let (ca, _) = Authority::new(&forge::leaf("cp1-ca@1790000000", None, None));
    let key = forge::key();
    tree.write("var/lib/kubelet/pki/kubelet.crt", format!("{}{}", ca.sign(&serving, &key), ca.pem));
    tree.write("var/lib/kubelet/pki/kubelet.key", key.serialize_pem());
    match base {
        Base::ExternalCa | Base::KubeadmExternalCa => {
            for name in ["ca.key", "etcd/ca.key", "front-proxy-ca.key"] {
                tree.remove(&format!("{PKI}/{name}"));
            }
            let pair = "    - --cluster-signing-cert-file=/etc/kubernetes/pki/ca.crt\n    - \
                        --cluster-signing-key-file=/etc/kubernetes/pki/ca.key\n";
            // kubeadm says that there is none, others say nothing.
            let none = "    - --cluster-signing-cert-file=\n    - --cluster-signing-key-file=\n";
            let none = if base == Base::KubeadmExternalCa { none } else { "" };
            tree.replace("etc/kubernetes/manifests/kube-controller-manager.yaml", pair, none);
        }
        Base::Intermediate => {
            let mut params = forge::leaf("company-root", None, None);
            params.not_after = forge::days(7000);
            params.not_before = forge::days(-3);
            let (root, _) = Authority::new(&{
                params.not_after = forge::days(3650);
                params
            });
            let mut params = forge::leaf("kubernetes", None, None);
            params.not_after = forge::days(3600);
            params.use_authority_key_identifier_extension = true;
            let (ca, key) = root.intermediate(&params);
            // The signer has a file of its own, without the chain.
            tree.write(&format!("{PKI}/ca.crt"), format!("{}{}", ca.pem, root.pem));
            tree.write(&format!("{PKI}/ca.key"), key);
            tree.write(&format!("{PKI}/signing-ca.crt"), &ca.pem);
            tree.replace(
                "etc/kubernetes/manifests/kube-controller-manager.yaml",
                "--cluster-signing-cert-file=/etc/kubernetes/pki/ca.crt",
                "--cluster-signing-cert-file=/etc/kubernetes/pki/signing-ca.crt",
            );
            tree.rehang();
        }
        _ => {}
    }
    Some(Arc::new((tree.dir, tree.spec)))
}

/// Has a kubeconfig verify nothing, as client-go lets it.
pub(crate) fn unverified(config: &mut Value) {
    let cluster = config["clusters"][0]["cluster"].as_object_mut().unwrap();
    cluster.remove("certificate-authority-data");
    cluster.insert("insecure-skip-tls-verify".to_owned(), true.into());
}

/// The real kubeadm; nothing where there is none.
pub(crate) fn real_kubeadm() -> Option<std::ffi::OsString> {
    let cached = || {
        let cache = PathBuf::from(std::env::var_os("HOME")?).join(".cache/seaworthy/kubernetes/v1.37.2/kubeadm");
        cache.exists().then_some(cache.into_os_string())
    };
    let Some(program) = std::env::var_os("SEAWORTHY_KUBEADM").or_else(cached) else {
        assert!(std::env::var_os("SEAWORTHY_REQUIRE").is_none(), "SEAWORTHY_KUBEADM must name kubeadm");
        println!("skipped: there is no kubeadm; `seaworthy assets fetch kubeadm` builds one");
        return None;
    };
    Some(program)
}

/// What the real kubeadm makes of the same configuration.
fn kubeadm(spec: &Spec, pki: &Path, conf: &Path) -> Option<()> {
    let program = real_kubeadm()?;
    let config = conf.join("config.yaml");
    let text = format!(
        "apiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\n\
         localAPIEndpoint: {{advertiseAddress: 10.0.0.11}}\n\
         nodeRegistration: {{name: cp1, criSocket: 'unix:///run/containerd/containerd.sock'}}\n---\n\
         apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nkubernetesVersion: v1.37.2\n\
         controlPlaneEndpoint: api.example.test:6443\ncertificatesDir: {}\nencryptionAlgorithm: {}\n",
        pki.display(),
        spec.algorithm,
    );
    std::fs::write(&config, text).unwrap();
    for arguments in [&["certs"][..], &["kubeconfig", "--kubeconfig-dir"]] {
        let mut command = Command::new(&program);
        command.args(["init", "phase", arguments[0], "all"]);
        if let Some(flag) = arguments.get(1) {
            command.arg(flag).arg(conf);
        }
        let output = command.arg("--config").arg(&config).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kubeadm init phase {arguments:?}: {said}");
    }
    std::fs::remove_file(config).unwrap();
    Some(())
}

const KUBELET: &str = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n\
                       authentication:\n  x509:\n    clientCAFile: /etc/kubernetes/pki/ca.crt\n\
                       clusterDomain: cluster.local\nrotateCertificates: true\n\
                       staticPodPath: /etc/kubernetes/manifests\n";

/// The static pods of kubeadm, as far as certificates go: the component, its flags, and what is mounted at its own
/// path.
const MANIFESTS: [(&str, &[&str], &[&str]); 4] = [
    (
        "kube-apiserver",
        &[
            "--advertise-address=10.0.0.11",
            "--client-ca-file=/etc/kubernetes/pki/ca.crt",
            "--etcd-cafile=/etc/kubernetes/pki/etcd/ca.crt",
            "--etcd-certfile=/etc/kubernetes/pki/apiserver-etcd-client.crt",
            "--etcd-keyfile=/etc/kubernetes/pki/apiserver-etcd-client.key",
            "--etcd-servers=https://127.0.0.1:2379",
            "--kubelet-client-certificate=/etc/kubernetes/pki/apiserver-kubelet-client.crt",
            "--kubelet-client-key=/etc/kubernetes/pki/apiserver-kubelet-client.key",
            "--proxy-client-cert-file=/etc/kubernetes/pki/front-proxy-client.crt",
            "--proxy-client-key-file=/etc/kubernetes/pki/front-proxy-client.key",
            "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-client-ca-file=/etc/kubernetes/pki/front-proxy-ca.crt",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            "--service-account-key-file=/etc/kubernetes/pki/sa.pub",
            "--service-account-signing-key-file=/etc/kubernetes/pki/sa.key",
            "--service-cluster-ip-range=10.96.0.0/12",
            "--tls-cert-file=/etc/kubernetes/pki/apiserver.crt",
            "--tls-private-key-file=/etc/kubernetes/pki/apiserver.key",
        ],
        &["/etc/kubernetes/pki"],
    ),
    (
        "kube-controller-manager",
        &[
            "--authentication-kubeconfig=/etc/kubernetes/controller-manager.conf",
            "--authorization-kubeconfig=/etc/kubernetes/controller-manager.conf",
            "--client-ca-file=/etc/kubernetes/pki/ca.crt",
            "--cluster-signing-cert-file=/etc/kubernetes/pki/ca.crt",
            "--cluster-signing-key-file=/etc/kubernetes/pki/ca.key",
            "--kubeconfig=/etc/kubernetes/controller-manager.conf",
            "--requestheader-client-ca-file=/etc/kubernetes/pki/front-proxy-ca.crt",
            "--root-ca-file=/etc/kubernetes/pki/ca.crt",
            "--service-account-private-key-file=/etc/kubernetes/pki/sa.key",
        ],
        &["/etc/kubernetes/pki", "/etc/kubernetes/controller-manager.conf"],
    ),
    (
        "kube-scheduler",
        &[
            "--authentication-kubeconfig=/etc/kubernetes/scheduler.conf",
            "--authorization-kubeconfig=/etc/kubernetes/scheduler.conf",
            "--kubeconfig=/etc/kubernetes/scheduler.conf",
        ],
        &["/etc/kubernetes/scheduler.conf"],
    ),
    (
        "etcd",
        &[
            "--advertise-client-urls=https://10.0.0.11:2379",
            "--cert-file=/etc/kubernetes/pki/etcd/server.crt",
            "--client-cert-auth=true",
            "--initial-advertise-peer-urls=https://10.0.0.11:2380",
            "--key-file=/etc/kubernetes/pki/etcd/server.key",
            "--listen-client-urls=https://127.0.0.1:2379,https://10.0.0.11:2379",
            "--listen-metrics-urls=http://127.0.0.1:2381",
            "--peer-cert-file=/etc/kubernetes/pki/etcd/peer.crt",
            "--peer-client-cert-auth=true",
            "--peer-key-file=/etc/kubernetes/pki/etcd/peer.key",
            "--peer-trusted-ca-file=/etc/kubernetes/pki/etcd/ca.crt",
            "--trusted-ca-file=/etc/kubernetes/pki/etcd/ca.crt",
        ],
        &["/etc/kubernetes/pki/etcd"],
    ),
];

/// A static pod's manifest.
pub(crate) fn manifest(component: &str, flags: &[&str], mounts: &[&str]) -> String {
    let flags: String = flags.iter().map(|flag| format!("    - {flag}\n")).collect();
    let mut text = format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: {component}, namespace: kube-system}}\n\
         spec:\n  containers:\n  - name: {component}\n    image: registry.k8s.io/{component}:v1.37.2\n    \
         command:\n    - {component}\n{flags}    volumeMounts:\n"
    );
    for (number, path) in mounts.iter().enumerate() {
        text += &format!("    - {{mountPath: {path}, name: v{number}, readOnly: true}}\n");
    }
    text += "  volumes:\n";
    for (number, path) in mounts.iter().enumerate() {
        text += &format!("  - {{hostPath: {{path: {path}}}, name: v{number}}}\n");
    }
    text
}

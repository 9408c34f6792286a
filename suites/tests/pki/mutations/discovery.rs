//! Files that nothing but a flag, or a configuration that a flag names, leads to: SNI, signers, kubeconfigs.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, SanType};
use seaworthy_checks::pki::discover::SIGNING;
use seaworthy_provision::pki::Usage;

use super::files::{APISERVER, MANAGER, flag, mount, without};
use super::{Row, row};
use crate::forge::{self, Authority};
use crate::tree::{PKI, Tree};

const SCHEDULER: &str = "etc/kubernetes/manifests/kube-scheduler.yaml";

/// The API server serves a certificate of another CA to those that ask for a name.
fn named(tree: &Tree, name: &str, change: impl FnOnce(&mut CertificateParams)) {
    named_by(tree, name, &Authority::new(&forge::leaf("public", None, None)).0, change);
}

/// The administrator dials it by that name, and trusts this CA.
fn dials(tree: &Tree, name: &str, authority: &Authority) {
    tree.kubeconfig("admin", |config| {
        let cluster = &mut config["clusters"][0]["cluster"];
        cluster["server"] = format!("https://a.{name}.example.test:6443").into();
        cluster["certificate-authority-data"] = STANDARD.encode(&authority.pem).into();
    });
}

/// The same, by this CA.
fn named_by(tree: &Tree, name: &str, authority: &Authority, change: impl FnOnce(&mut CertificateParams)) {
    let mut params = forge::leaf(name, None, Some(Usage::Server));
    let names = [format!("{name}.example.test"), format!("a.{name}.example.test")];
    params.subject_alt_names = names.map(|name| SanType::DnsName(name.try_into().unwrap())).into();
    change(&mut params);
    let key = forge::key();
    tree.write(&format!("{PKI}/{name}.crt"), authority.sign(&params, &key));
    tree.write(&format!("{PKI}/{name}.key"), key.serialize_pem());
    let files = format!("/etc/kubernetes/pki/{name}.crt,/etc/kubernetes/pki/{name}.key");
    flag(tree, APISERVER, &format!("tls-sni-cert-key={files}:{name}.example.test,*.{name}.example.test"));
}

/// Each signer has a pair: that of the cluster's CA, and one the files of this name.
fn signers(tree: &Tree, other: &str, name: &str) {
    SIGNING.iter().for_each(|flag| without(tree, MANAGER, flag));
    for signer in ["kubelet-client", "kube-apiserver-client", "kubelet-serving", "legacy-unknown"] {
        let name = if signer == other { name } else { "ca" };
        flag(tree, MANAGER, &format!("cluster-signing-{signer}-cert-file=/etc/kubernetes/pki/{name}.crt"));
        flag(tree, MANAGER, &format!("cluster-signing-{signer}-key-file=/etc/kubernetes/pki/{name}.key"));
    }
}

/// A CA that nobody trusts.
fn another_ca(tree: &Tree, name: &str) {
    let mut params = forge::leaf(name, None, None);
    params.not_after = forge::days(3000);
    let (authority, key) = Authority::new(&params);
    tree.write(&format!("{PKI}/{name}.crt"), authority.pem);
    tree.write(&format!("{PKI}/{name}.key"), key);
}

/// The API server verifies kubelets, which ask for what they serve; the next will be of this signer.
fn verified_kubelet(tree: &Tree, signer: &str) {
    let mut params = forge::leaf("system:node:cp1", Some("system:nodes"), Some(Usage::Server));
    params.subject_alt_names = vec![SanType::DnsName("cp1".try_into().unwrap())];
    let key = forge::key();
    let certificate = tree.authority("ca").sign(&params, &key);
    tree.write("var/lib/kubelet/pki/kubelet-server-current.pem", format!("{certificate}{}", key.serialize_pem()));
    tree.replace("var/lib/kubelet/config.yaml", "rotateCertificates", "serverTLSBootstrap: true\nrotateCertificates");
    flag(tree, APISERVER, "kubelet-certificate-authority=/etc/kubernetes/pki/ca.crt");
    signers(tree, "kubelet-serving", signer);
}

/// The scheduler is told its kubeconfig by a file. The flag beside it names another, and counts for nothing.
pub(crate) fn scheduler(tree: &Tree, kubeconfig: &str) {
    for flag in ["kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig"] {
        without(tree, SCHEDULER, flag);
    }
    flag(tree, SCHEDULER, "kubeconfig=/etc/kubernetes/gone.conf");
    flag(tree, SCHEDULER, "config=/etc/kubernetes/scheduler-config.yaml");
    mount(tree, SCHEDULER, "/etc/kubernetes", "/etc/kubernetes");
    tree.write(
        "etc/kubernetes/scheduler-config.yaml",
        format!(
            "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n\
             clientConnection:\n  kubeconfig: {kubeconfig}\n"
        ),
    );
}

/// kube-proxy is a service of the node, and told its kubeconfig by a file.
fn proxy(tree: &Tree, change: impl FnOnce(&mut CertificateParams)) {
    let mut params = forge::leaf("system:kube-proxy", None, Some(Usage::Client));
    change(&mut params);
    let key = forge::key();
    let certificate = STANDARD.encode(tree.authority("ca").sign(&params, &key));
    let ca = STANDARD.encode(tree.read(&format!("{PKI}/ca.crt")));
    tree.write(
        "var/lib/kube-proxy/kubeconfig",
        format!(
            "apiVersion: v1\nkind: Config\nclusters:\n\
             - name: c\n  cluster: {{server: 'https://10.0.0.11:6443', certificate-authority-data: {ca}}}\nusers:\n\
             - name: u\n  user: {{client-certificate-data: {certificate}, client-key-data: {}}}\ncontexts:\n\
             - name: x\n  context: {{cluster: c, user: u}}\ncurrent-context: x\n",
            STANDARD.encode(key.serialize_pem()),
        ),
    );
    tree.write(
        "var/lib/kube-proxy/config.yaml",
        "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n\
         clientConnection: {kubeconfig: /var/lib/kube-proxy/kubeconfig}\n",
    );
    tree.write(
        "etc/systemd/system/kube-proxy.service",
        "[Service]\nExecStart=/usr/bin/kube-proxy --config=/var/lib/kube-proxy/config.yaml\n",
    );
}

fn expired(params: &mut CertificateParams) {
    (params.not_before, params.not_after) = (forge::days(-365), forge::days(-1));
}

pub(super) fn rows() -> Vec<Row> {
    vec![
        row("what is served for a name is for another", &["pki.san.sni"], |tree| {
            named(tree, "public", |params| {
                params.subject_alt_names[0] = SanType::DnsName("other.example.test".try_into().unwrap());
            });
        }),
        row("what is served for any name below one has none of them", &["pki.san.sni"], |tree| {
            named(tree, "public", |params| drop(params.subject_alt_names.pop()));
        }),
        row("what is served for an address does not name it", &["pki.san.sni"], |tree| {
            let files = "/etc/kubernetes/pki/apiserver.crt,/etc/kubernetes/pki/apiserver.key";
            flag(tree, APISERVER, &format!("tls-sni-cert-key={files}:10.0.0.11,KUBERNETES,fd00::1"));
        }),
        row("certificates are served by name", &[], |tree| {
            ["web", "ops"].iter().for_each(|name| named(tree, name, |_| {}))
        }),
        row("the administrator dials a name that one is served by", &[], |tree| {
            let (authority, _) = Authority::new(&forge::leaf("public", None, None));
            named_by(tree, "web", &authority, |_| {});
            dials(tree, "web", &authority);
        }),
        row("the administrator trusts another CA than that of the name", &["pki.kubeconfig.ca"], |tree| {
            named(tree, "web", |_| {});
            dials(tree, "web", &tree.authority("ca"));
        }),
        row("the first of two that are served by name has expired", &["pki.validity.expired"], |tree| {
            named(tree, "web", expired);
            named(tree, "ops", |_| {});
        }),
        row("one that is served by name has the key of another", &["pki.key.pair"], |tree| {
            named(tree, "web", |_| {});
            tree.write("etc/kubernetes/pki/web.key", forge::key().serialize_pem());
        }),
        row("one that is served by name is a client's", &["pki.usage.server"], |tree| {
            named(tree, "web", |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]);
        }),
        row("the key of one that is served by name is missing", &["pki.file.present"], |tree| {
            named(tree, "web", |_| {});
            tree.remove("etc/kubernetes/pki/web.key");
        }),
        row("one is served by name, and the other lacks its Service's name", &["pki.san.service-name"], |tree| {
            named(tree, "web", |_| {});
            super::certificates::without_san(tree, "apiserver", "kubernetes.default");
        }),
        row("the signer of kubelets' clients is not there", &["pki.file.present"], |tree| {
            signers(tree, "kubelet-client", "gone")
        }),
        row("the signer of API clients is not there", &["pki.file.present"], |tree| {
            signers(tree, "kube-apiserver-client", "gone")
        }),
        row("the signer of what kubelets serve is not there", &["pki.file.present"], |tree| {
            signers(tree, "kubelet-serving", "gone")
        }),
        row("the signer of the rest is not there", &["pki.file.present"], |tree| {
            signers(tree, "legacy-unknown", "gone")
        }),
        row("the signer of kubelets' clients is trusted by nobody", &["pki.ca.signing-trusted"], |tree| {
            another_ca(tree, "signer");
            signers(tree, "kubelet-client", "signer");
        }),
        row("what kubelets serve is signed by another CA", &[], |tree| {
            another_ca(tree, "signer");
            signers(tree, "kubelet-serving", "signer");
        }),
        row("what kubelets serve is signed by the CA that they are verified by", &[], |tree| {
            verified_kubelet(tree, "ca")
        }),
        row("what the kubelet serves was never approved", &["pki.flag.kubelet-serving"], |tree| {
            verified_kubelet(tree, "ca");
            tree.remove("var/lib/kubelet/pki/kubelet-server-current.pem");
        }),
        row("what kubelets serve will be signed by another CA", &["pki.ca.kubelet-signer-trusted"], |tree| {
            another_ca(tree, "signer");
            verified_kubelet(tree, "signer");
        }),
        row("the signer of the rest has the key of another", &["pki.key.pair"], |tree| {
            another_ca(tree, "signer");
            tree.write("etc/kubernetes/pki/signer.key", forge::key().serialize_pem());
            signers(tree, "legacy-unknown", "signer");
        }),
        row("the scheduler's configuration names a kubeconfig that is not there", &["pki.file.present"], |tree| {
            scheduler(tree, "/etc/kubernetes/other.conf");
        }),
        row("the scheduler's configuration names a kubeconfig of another user", &["pki.user.scheduler"], |tree| {
            scheduler(tree, "/etc/kubernetes/other.conf");
            tree.identity("scheduler", "kube-scheduler", None, |_| {});
            std::fs::rename(tree.path("etc/kubernetes/scheduler.conf"), tree.path("etc/kubernetes/other.conf"))
                .unwrap();
        }),
        row("kube-proxy is a service", &[], |tree| proxy(tree, |_| {})),
        row("kube-proxy's configuration names a kubeconfig that has expired", &["pki.validity.expired"], |tree| {
            proxy(tree, expired)
        }),
        row("kube-proxy's configuration names a kubeconfig that leads nowhere", &["pki.kubeconfig.parses"], |tree| {
            proxy(tree, |_| {});
            tree.replace("var/lib/kube-proxy/kubeconfig", "current-context: x", "current-context: gone");
        }),
    ]
}

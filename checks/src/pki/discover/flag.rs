//! Which flag of which component names a file of which role.

use super::command::CommandLine;
use super::role::{Component, Role};

use Component::{Apiserver, ControllerManager, Etcd, Kubelet, Proxy, Scheduler};

/// Flags that name the files of a role.
pub(super) struct FlagRow {
    pub(super) component: Component,
    pub(super) role: Role,
    /// The flag that names the certificate, the bundle or the bare key.
    pub(super) file: &'static str,
    /// The flag that names the private key of the certificate.
    pub(super) key: Option<&'static str>,
}

impl FlagRow {
    /// The files that a command line names by it, each with its key's.
    pub(super) fn files(&self, line: &CommandLine) -> Vec<(String, Option<String>)> {
        if self.file == SNI {
            return line.sni().into_iter().map(|one| (one.certificate, one.key)).collect();
        }
        let key = self.key.and_then(|key| line.paths(key).pop());
        let mut files = line.paths(self.file);
        // Of a flag that may be given once the last counts; that of keys may be given often.
        if self.role != Role::ServiceAccountPublicKeys {
            files.drain(..files.len().saturating_sub(1));
        }
        files.into_iter().map(|file| (file, key.clone())).collect()
    }
}

/// A certificate that is served to those that ask for certain names: one value of `--tls-sni-cert-key`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sni {
    /// The file of the certificate.
    pub certificate: String,
    /// The file of its key.
    pub key: Option<String>,
    /// The names and addresses that it is served for, `*` in place of any label; the certificate's own where there are
    /// none.
    pub names: Vec<String>,
}

impl CommandLine {
    /// What is served for certain names (component-base, `cliflag.NamedCertKey`).
    #[must_use]
    pub fn sni(&self) -> Vec<Sni> {
        let read = |value: &str| {
            // `certificate,key:name,name`
            let (files, names) = value.split_once(':').unwrap_or((value, ""));
            let mut files = files.split(',').map(|file| self.on_the_node(file.trim()));
            let names = names.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned);
            Sni { certificate: files.next().unwrap_or_default(), key: files.next(), names: names.collect() }
        };
        self.all(SNI).map(read).collect()
    }
}

const fn row(component: Component, role: Role, file: &'static str, key: Option<&'static str>) -> FlagRow {
    FlagRow { component, role, file, key }
}

const TLS: (&str, Option<&str>) = ("tls-cert-file", Some("tls-private-key-file"));
/// May be given often, and names a certificate and its key at once.
pub(super) const SNI: &str = "tls-sni-cert-key";
const CLIENT_CA: &str = "client-ca-file";
const REQUESTHEADER: &str = "requestheader-client-ca-file";

/// The flags of the pair by which the controller manager signs for everybody: certificate and key.
pub const SIGNING: [&str; 2] = ["cluster-signing-cert-file", "cluster-signing-key-file"];
/// The same for kubernetes.io/kubelet-serving alone.
pub const KUBELET_SERVING: [&str; 2] =
    ["cluster-signing-kubelet-serving-cert-file", "cluster-signing-kubelet-serving-key-file"];
/// The same for single signers. Beside these it takes no pair for all.
pub const SIGNERS: [[&str; 2]; 4] = [
    ["cluster-signing-kubelet-client-cert-file", "cluster-signing-kubelet-client-key-file"],
    ["cluster-signing-kube-apiserver-client-cert-file", "cluster-signing-kube-apiserver-client-key-file"],
    KUBELET_SERVING,
    ["cluster-signing-legacy-unknown-cert-file", "cluster-signing-legacy-unknown-key-file"],
];

/// Every flag of a component that names a file of the PKI.
pub(super) const FLAGS: &[FlagRow] = &[
    row(Apiserver, Role::ClientCa, CLIENT_CA, None),
    row(Apiserver, Role::FrontProxyCa, REQUESTHEADER, None),
    row(Apiserver, Role::KubeletServingCa, "kubelet-certificate-authority", None),
    row(Apiserver, Role::EtcdServerCa, "etcd-cafile", None),
    row(Apiserver, Role::ApiserverServing, TLS.0, TLS.1),
    row(Apiserver, Role::NamedServing, SNI, None),
    row(Apiserver, Role::ApiserverKubeletClient, "kubelet-client-certificate", Some("kubelet-client-key")),
    row(Apiserver, Role::ApiserverEtcdClient, "etcd-certfile", Some("etcd-keyfile")),
    row(Apiserver, Role::FrontProxyClient, "proxy-client-cert-file", Some("proxy-client-key-file")),
    row(Apiserver, Role::ServiceAccountKey, "service-account-signing-key-file", None),
    row(Apiserver, Role::ServiceAccountPublicKeys, "service-account-key-file", None),
    row(ControllerManager, Role::ClientCa, CLIENT_CA, None),
    row(ControllerManager, Role::FrontProxyCa, REQUESTHEADER, None),
    row(ControllerManager, Role::RootCa, "root-ca-file", None),
    row(ControllerManager, Role::SigningCa, SIGNING[0], Some(SIGNING[1])),
    row(ControllerManager, Role::SigningCa, SIGNERS[0][0], Some(SIGNERS[0][1])),
    row(ControllerManager, Role::SigningCa, SIGNERS[1][0], Some(SIGNERS[1][1])),
    row(ControllerManager, Role::OtherSigningCa, SIGNERS[2][0], Some(SIGNERS[2][1])),
    row(ControllerManager, Role::OtherSigningCa, SIGNERS[3][0], Some(SIGNERS[3][1])),
    row(ControllerManager, Role::ServiceAccountKey, "service-account-private-key-file", None),
    row(ControllerManager, Role::ControllerManagerServing, TLS.0, TLS.1),
    row(ControllerManager, Role::NamedServing, SNI, None),
    row(Scheduler, Role::ClientCa, CLIENT_CA, None),
    row(Scheduler, Role::FrontProxyCa, REQUESTHEADER, None),
    row(Scheduler, Role::SchedulerServing, TLS.0, TLS.1),
    row(Scheduler, Role::NamedServing, SNI, None),
    row(Etcd, Role::EtcdClientCa, "trusted-ca-file", None),
    row(Etcd, Role::EtcdPeerCa, "peer-trusted-ca-file", None),
    row(Etcd, Role::EtcdClientRevocations, "client-crl-file", None),
    row(Etcd, Role::EtcdPeerRevocations, "peer-crl-file", None),
    row(Etcd, Role::EtcdServer, "cert-file", Some("key-file")),
    row(Etcd, Role::EtcdPeer, "peer-cert-file", Some("peer-key-file")),
    row(Kubelet, Role::KubeletClientCa, CLIENT_CA, None),
    row(Kubelet, Role::KubeletServing, TLS.0, TLS.1),
];

/// Flags that name another file without which a component does not start.
pub(super) const FILES: [&str; 9] = [
    "config",
    "config-file",
    "encryption-provider-config",
    "audit-policy-file",
    "authentication-config",
    "authorization-config",
    "admission-control-config-file",
    "token-auth-file",
    "oidc-ca-file",
];

/// Flags that name a kubeconfig, and the role of the client certificate in it.
pub(super) const KUBECONFIGS: &[(Component, &str, Role)] = &[
    (ControllerManager, "kubeconfig", Role::ControllerManagerClient),
    (ControllerManager, "authentication-kubeconfig", Role::ControllerManagerClient),
    (ControllerManager, "authorization-kubeconfig", Role::ControllerManagerClient),
    (Scheduler, "kubeconfig", Role::SchedulerClient),
    (Scheduler, "authentication-kubeconfig", Role::SchedulerClient),
    (Scheduler, "authorization-kubeconfig", Role::SchedulerClient),
    (Kubelet, "kubeconfig", Role::KubeletClient),
    (Proxy, "kubeconfig", Role::ProxyClient),
];

//! Where distributions keep their PKI: what counts where no flag says so.
//!
//! A layout is data: a base folder and parts, each with the files by which it is recognized and the files that it then
//! has. Names may hold a `*`, where a distribution puts the name of a host, a volume or a cluster.

mod kubeadm;
mod other;

use super::role::Role;
use kubeadm::{
    BOTTLEROCKET, ETCDADM, KUBEADM, KUBEADM_CONFS, KUBEADM_ETCD, KUBEADM_ETCD_CLIENT, KUBELET, KUBESPRAY_ETCD, MANAGED,
    MINIKUBE,
};
use other::{K0S, K0S_ETCD, K3S, K3S_AGENT, K3S_ETCD, KOPS, KOPS_ETCD, MICROK8S, OPENSHIFT, RKE1, TALOS};

/// A file of a layout and what it is for; who holds it is said by the role.
#[derive(Debug)]
pub struct Row {
    /// What it is for.
    pub role: Role,
    /// The file's name up to where its key's differs: below the base, or absolute.
    stem: &'static str,
    /// The rest of its name, and how its private key is called.
    names: Names,
    /// Is a node that is recognized wrong without it?
    pub required: bool,
    /// Does it count only where the kubelet asks the cluster for what it serves (serverTLSBootstrap), or only where it
    /// does not?
    pub bootstrapped: Option<bool>,
}

/// How a distribution calls a certificate and its private key.
#[derive(Debug)]
enum Names {
    /// `x`; there is no key, or nothing else.
    Alone,
    /// `x.crt` and `x.key`.
    Pair,
    /// `x.pem` and `x-key.pem`.
    Pem,
    /// `x` holds both.
    Both,
    /// `x`, and a key of another name.
    Other(&'static str),
}

impl Row {
    /// The file: below the base, or absolute.
    #[must_use]
    pub fn file(&self) -> String {
        match self.names {
            Names::Pair => format!("{}.crt", self.stem),
            Names::Pem => format!("{}.pem", self.stem),
            Names::Alone | Names::Both | Names::Other(_) => self.stem.to_owned(),
        }
    }

    /// The file of its private key.
    #[must_use]
    pub fn key(&self) -> Option<String> {
        match self.names {
            Names::Alone => None,
            Names::Pair => Some(format!("{}.key", self.stem)),
            Names::Pem => Some(format!("{}-key.pem", self.stem)),
            Names::Both => Some(self.stem.to_owned()),
            Names::Other(key) => Some(key.to_owned()),
        }
    }

    const fn new(role: Role, stem: &'static str, names: Names) -> Self {
        Self { role, stem, names, required: true, bootstrapped: None }
    }

    /// A node may do without it.
    const fn maybe(mut self) -> Self {
        self.required = false;
        self
    }

    /// It counts where serverTLSBootstrap is so.
    const fn where_bootstrapped(mut self, is: bool) -> Self {
        self.bootstrapped = Some(is);
        self
    }
}

const fn alone(role: Role, file: &'static str) -> Row {
    Row::new(role, file, Names::Alone)
}

const fn pair(role: Role, stem: &'static str) -> Row {
    Row::new(role, stem, Names::Pair)
}

const fn pem(role: Role, stem: &'static str) -> Row {
    Row::new(role, stem, Names::Pem)
}

const fn both(role: Role, file: &'static str) -> Row {
    Row::new(role, file, Names::Both)
}

const fn named(role: Role, file: &'static str, key: &'static str) -> Row {
    Row::new(role, file, Names::Other(key))
}

/// Files that come together.
#[derive(Debug)]
pub struct Part {
    /// Files or folders any of which shows that the part is there.
    pub anchors: &'static [&'static str],
    /// What it then has.
    pub rows: &'static [Row],
    /// Kubeconfigs: the file, and the role of the client certificate in it.
    pub kubeconfigs: &'static [(&'static str, Role)],
}

/// Where a distribution keeps its PKI.
#[derive(Debug)]
pub struct Layout {
    /// The distribution.
    pub name: &'static str,
    /// The folder that relative names are below.
    pub base: &'static str,
    /// Its parts.
    pub parts: &'static [&'static Part],
    /// Folders that hold nothing but a PKI: what is in them and has no role is worth a word.
    pub folders: &'static [&'static str],
    /// Users other than root that keys and folders may belong to.
    pub owners: &'static [u32],
    /// Do its components run as users of their own, which read keys by owner and group?
    pub component_users: bool,
}

const fn layout(
    name: &'static str,
    base: &'static str,
    parts: &'static [&'static Part],
    folders: &'static [&'static str],
) -> Layout {
    Layout { name, base, parts, folders, owners: &[], component_users: false }
}

/// Every layout that is known. The first whose part holds a role's file fills the role.
pub static LAYOUTS: &[Layout] = &[
    layout(
        "kubeadm",
        "/etc/kubernetes/pki",
        &[&KUBEADM, &KUBEADM_ETCD_CLIENT, &KUBEADM_ETCD, &KUBEADM_CONFS, &KUBELET],
        &["/etc/kubernetes/pki"],
    ),
    layout(
        "Kubespray",
        "/etc/kubernetes/ssl",
        &[&KUBEADM, &KUBEADM_ETCD_CLIENT, &KUBEADM_ETCD, &KUBESPRAY_ETCD],
        &["/etc/kubernetes/ssl", "/etc/ssl/etcd/ssl"],
    ),
    layout(
        "minikube",
        "/var/lib/minikube/certs",
        &[&MINIKUBE, &KUBEADM_ETCD_CLIENT, &KUBEADM_ETCD],
        &["/var/lib/minikube/certs"],
    ),
    layout("Bottlerocket", "/var/lib/kubeadm/pki", &[&BOTTLEROCKET, &KUBEADM], &["/var/lib/kubeadm/pki"]),
    Layout { owners: &[0, 1000], ..layout("kops", "/srv/kubernetes", &[&KOPS, &KOPS_ETCD], &["/srv/kubernetes"]) },
    layout("k3s", "/var/lib/rancher/k3s", &[&K3S, &K3S_ETCD, &K3S_AGENT], &["/var/lib/rancher/k3s/server/tls"]),
    layout("RKE2", "/var/lib/rancher/rke2", &[&K3S, &K3S_ETCD, &K3S_AGENT], &["/var/lib/rancher/rke2/server/tls"]),
    layout("RKE1", "/etc/kubernetes/ssl", &[&RKE1], &["/etc/kubernetes/ssl"]),
    Layout { component_users: true, ..layout("k0s", "/var/lib/k0s/pki", &[&K0S, &K0S_ETCD], &["/var/lib/k0s/pki"]) },
    Layout {
        component_users: true,
        ..layout("MicroK8s", "/var/snap/microk8s/current/certs", &[&MICROK8S], &["/var/snap/microk8s/current/certs"])
    },
    Layout {
        // kube-apiserver, kube-controller-manager, kube-scheduler and etcd (machinery/constants).
        owners: &[65534, 65535, 65536, 60],
        ..layout("Talos", "/system/secrets", &[&TALOS], &["/system/secrets"])
    },
    layout(
        "OpenShift",
        "/etc/kubernetes/static-pod-resources",
        &[&OPENSHIFT],
        &["/etc/kubernetes/static-pod-resources"],
    ),
    layout("etcdadm", "/etc/etcd/pki", &[&ETCDADM], &["/etc/etcd/pki"]),
    layout("managed", "/etc/kubernetes/certs", &[&MANAGED], &[]),
];

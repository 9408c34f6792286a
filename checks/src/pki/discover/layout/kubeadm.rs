//! kubeadm, and what is made with it or like it: Kubespray, minikube, Bottlerocket, etcdadm, managed nodes.

use super::{Part, alone, both, named, pair, pem};
use crate::pki::discover::role::Role::*;

/// kubeadm's control plane, below `certificatesDir`.
pub(super) const KUBEADM: Part = Part {
    anchors: &["apiserver.crt", "apiserver.key", "apiserver-kubelet-client.crt", "front-proxy-ca.crt"],
    rows: &[
        pair(ClientCa, "ca"),
        pair(RootCa, "ca"),
        pair(SigningCa, "ca"),
        pair(ApiserverServing, "apiserver"),
        pair(ApiserverKubeletClient, "apiserver-kubelet-client"),
        pair(FrontProxyCa, "front-proxy-ca"),
        pair(FrontProxyClient, "front-proxy-client"),
        alone(ServiceAccountKey, "sa.key"),
        alone(ServiceAccountPublicKeys, "sa.pub"),
    ],
    kubeconfigs: &[],
};

/// What the API server needs of etcd, wherever that is: below `certificatesDir`, where kubeadm's documentation has an
/// external etcd's CA copied to, too.
pub(super) const KUBEADM_ETCD_CLIENT: Part = Part {
    anchors: &["etcd/ca.crt", "etcd/ca.key", "apiserver-etcd-client.crt"],
    rows: &[
        pair(EtcdClientCa, "etcd/ca"),
        pair(EtcdServerCa, "etcd/ca"),
        pair(ApiserverEtcdClient, "apiserver-etcd-client"),
    ],
    kubeconfigs: &[],
};

/// kubeadm's etcd, below `certificatesDir`: not where there is but the CA of an external one.
pub(super) const KUBEADM_ETCD: Part = Part {
    anchors: &[
        "etcd/server.crt",
        "etcd/server.key",
        "etcd/peer.crt",
        "etcd/peer.key",
        "etcd/healthcheck-client.crt",
        "etcd/ca.key",
    ],
    rows: &[
        pair(EtcdPeerCa, "etcd/ca"),
        pair(EtcdServer, "etcd/server"),
        pair(EtcdPeer, "etcd/peer"),
        pair(EtcdClient, "etcd/healthcheck-client"),
    ],
    kubeconfigs: &[],
};

/// kubeadm's kubeconfigs. Each is there where the node does what it is for.
pub(super) const KUBEADM_CONFS: Part = Part {
    anchors: &[
        "/etc/kubernetes/admin.conf",
        "/etc/kubernetes/kubelet.conf",
        "/etc/kubernetes/controller-manager.conf",
        "/etc/kubernetes/scheduler.conf",
        "/etc/kubernetes/super-admin.conf",
    ],
    rows: &[],
    kubeconfigs: &[
        ("/etc/kubernetes/admin.conf", AdminClient),
        ("/etc/kubernetes/super-admin.conf", SuperAdminClient),
        ("/etc/kubernetes/kubelet.conf", KubeletClient),
        ("/etc/kubernetes/controller-manager.conf", ControllerManagerClient),
        ("/etc/kubernetes/scheduler.conf", SchedulerClient),
    ],
};

/// The kubelet's own certificates.
pub(super) const KUBELET: Part = Part {
    anchors: &["/var/lib/kubelet/pki", "/var/lib/kubelet/config.yaml", "/etc/kubernetes/kubelet.conf"],
    rows: &[
        both(KubeletClient, "/var/lib/kubelet/pki/kubelet-client-current.pem").maybe(),
        both(KubeletServing, "/var/lib/kubelet/pki/kubelet-server-current.pem").maybe().where_bootstrapped(true),
        pair(KubeletServing, "/var/lib/kubelet/pki/kubelet").maybe().where_bootstrapped(false),
        alone(KubeletClientCa, "/etc/kubernetes/pki/ca.crt").maybe(),
    ],
    kubeconfigs: &[],
};

/// Kubespray's etcd, made by its own script.
pub(super) const KUBESPRAY_ETCD: Part = Part {
    anchors: &["/etc/ssl/etcd/ssl/ca.pem"],
    rows: &[
        pem(EtcdClientCa, "/etc/ssl/etcd/ssl/ca"),
        pem(EtcdPeerCa, "/etc/ssl/etcd/ssl/ca"),
        alone(EtcdServerCa, "/etc/ssl/etcd/ssl/ca.pem").maybe(),
        pem(EtcdServer, "/etc/ssl/etcd/ssl/member-*").maybe(),
        pem(EtcdPeer, "/etc/ssl/etcd/ssl/member-*").maybe(),
        pem(EtcdClient, "/etc/ssl/etcd/ssl/admin-*").maybe(),
        pem(ApiserverEtcdClient, "/etc/ssl/etcd/ssl/node-*").maybe(),
    ],
    kubeconfigs: &[],
};

/// Bottlerocket, as EKS Anywhere sets it up: kubeadm in a container, and an etcd client whose key has another name.
pub(super) const BOTTLEROCKET: Part = Part {
    anchors: &["/var/lib/kubeadm/pki"],
    rows: &[
        alone(EtcdServerCa, "etcd/ca.crt").maybe(),
        named(ApiserverEtcdClient, "server-etcd-client.crt", "apiserver-etcd-client.key").maybe(),
    ],
    kubeconfigs: &[
        ("/var/lib/kubeadm/admin.conf", AdminClient),
        ("/var/lib/kubeadm/kubelet.conf", KubeletClient),
        ("/var/lib/kubeadm/controller-manager.conf", ControllerManagerClient),
        ("/var/lib/kubeadm/scheduler.conf", SchedulerClient),
    ],
};

/// etcd on hosts of its own, as etcdadm sets it up.
pub(super) const ETCDADM: Part = Part {
    anchors: &["ca.crt"],
    rows: &[
        pair(EtcdClientCa, "ca"),
        pair(EtcdPeerCa, "ca"),
        pair(EtcdServer, "server"),
        pair(EtcdPeer, "peer"),
        pair(EtcdClient, "etcdctl-etcd-client").maybe(),
        pair(ApiserverEtcdClient, "apiserver-etcd-client").maybe(),
    ],
    kubeconfigs: &[],
};

/// Nodes of managed control planes: the provider keeps the CA's key.
pub(super) const MANAGED: Part = Part {
    anchors: &[
        "/etc/kubernetes/certs/ca.crt",
        "/etc/srv/kubernetes/pki/ca-certificates.crt",
        "/var/lib/kubelet/kubeconfig",
    ],
    rows: &[
        alone(KubeletClientCa, "/etc/kubernetes/certs/ca.crt").maybe(),
        pair(KubeletServing, "/etc/kubernetes/certs/kubeletserver").maybe(),
        alone(KubeletClientCa, "/etc/srv/kubernetes/pki/ca-certificates.crt").maybe(),
    ],
    kubeconfigs: &[("/var/lib/kubelet/kubeconfig", KubeletClient)],
};

/// minikube's guest: the API server's certificate is also the kubeconfig's.
pub(super) const MINIKUBE: Part = Part {
    anchors: &["proxy-client-ca.crt"],
    rows: &[
        pair(ClientCa, "ca"),
        pair(RootCa, "ca"),
        pair(SigningCa, "ca"),
        pair(ApiserverServing, "apiserver"),
        pair(FrontProxyCa, "proxy-client-ca"),
        pair(FrontProxyClient, "proxy-client"),
        pair(ApiserverKubeletClient, "apiserver-kubelet-client").maybe(),
        alone(ServiceAccountKey, "sa.key").maybe(),
        alone(ServiceAccountPublicKeys, "sa.pub").maybe(),
    ],
    kubeconfigs: &[("/var/lib/minikube/kubeconfig", AdminClient)],
};

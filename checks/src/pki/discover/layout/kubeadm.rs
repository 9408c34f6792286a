//! kubeadm, and what is made with it or like it: Kubespray, minikube, Bottlerocket, etcdadm, managed nodes.

use super::{Part, maybe, row};
use crate::pki::discover::role::{Component, Role};

use Component::{Apiserver, ControllerManager, Etcd, Kubelet, People, Scheduler};

/// kubeadm's control plane, below `certificatesDir`.
pub(super) const KUBEADM: Part = Part {
    anchors: &["apiserver.crt", "apiserver.key", "apiserver-kubelet-client.crt", "front-proxy-ca.crt"],
    rows: &[
        row(Role::ClientCa, Apiserver, "ca.crt", Some("ca.key")),
        row(Role::RootCa, ControllerManager, "ca.crt", Some("ca.key")),
        row(Role::SigningCa, ControllerManager, "ca.crt", Some("ca.key")),
        row(Role::ApiserverServing, Apiserver, "apiserver.crt", Some("apiserver.key")),
        row(
            Role::ApiserverKubeletClient,
            Apiserver,
            "apiserver-kubelet-client.crt",
            Some("apiserver-kubelet-client.key"),
        ),
        row(Role::FrontProxyCa, Apiserver, "front-proxy-ca.crt", Some("front-proxy-ca.key")),
        row(Role::FrontProxyClient, Apiserver, "front-proxy-client.crt", Some("front-proxy-client.key")),
        row(Role::ServiceAccountKey, ControllerManager, "sa.key", None),
        row(Role::ServiceAccountPublicKeys, Apiserver, "sa.pub", None),
    ],
    kubeconfigs: &[],
};

/// kubeadm's etcd, below `certificatesDir`.
pub(super) const KUBEADM_ETCD: Part = Part {
    anchors: &["etcd/ca.crt", "etcd/ca.key", "etcd/server.crt", "etcd/peer.crt"],
    rows: &[
        row(Role::EtcdClientCa, Etcd, "etcd/ca.crt", Some("etcd/ca.key")),
        row(Role::EtcdPeerCa, Etcd, "etcd/ca.crt", Some("etcd/ca.key")),
        row(Role::EtcdServerCa, Apiserver, "etcd/ca.crt", Some("etcd/ca.key")),
        row(Role::EtcdServer, Etcd, "etcd/server.crt", Some("etcd/server.key")),
        row(Role::EtcdPeer, Etcd, "etcd/peer.crt", Some("etcd/peer.key")),
        row(Role::EtcdClient, Etcd, "etcd/healthcheck-client.crt", Some("etcd/healthcheck-client.key")),
        row(Role::ApiserverEtcdClient, Apiserver, "apiserver-etcd-client.crt", Some("apiserver-etcd-client.key")),
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
        ("/etc/kubernetes/admin.conf", People, Role::AdminClient),
        ("/etc/kubernetes/super-admin.conf", People, Role::SuperAdminClient),
        ("/etc/kubernetes/kubelet.conf", Kubelet, Role::KubeletClient),
        ("/etc/kubernetes/controller-manager.conf", ControllerManager, Role::ControllerManagerClient),
        ("/etc/kubernetes/scheduler.conf", Scheduler, Role::SchedulerClient),
    ],
};

/// The kubelet's own certificates.
pub(super) const KUBELET: Part = Part {
    anchors: &["/var/lib/kubelet/pki", "/var/lib/kubelet/config.yaml", "/etc/kubernetes/kubelet.conf"],
    rows: &[
        maybe(
            Role::KubeletClient,
            Kubelet,
            "/var/lib/kubelet/pki/kubelet-client-current.pem",
            Some("/var/lib/kubelet/pki/kubelet-client-current.pem"),
        ),
        maybe(
            Role::KubeletServing,
            Kubelet,
            "/var/lib/kubelet/pki/kubelet-server-current.pem",
            Some("/var/lib/kubelet/pki/kubelet-server-current.pem"),
        ),
        maybe(
            Role::KubeletServing,
            Kubelet,
            "/var/lib/kubelet/pki/kubelet.crt",
            Some("/var/lib/kubelet/pki/kubelet.key"),
        ),
        maybe(Role::KubeletClientCa, Kubelet, "/etc/kubernetes/pki/ca.crt", None),
    ],
    kubeconfigs: &[],
};

/// Kubespray's etcd, made by its own script.
pub(super) const KUBESPRAY_ETCD: Part = Part {
    anchors: &["/etc/ssl/etcd/ssl/ca.pem"],
    rows: &[
        row(Role::EtcdClientCa, Etcd, "/etc/ssl/etcd/ssl/ca.pem", Some("/etc/ssl/etcd/ssl/ca-key.pem")),
        row(Role::EtcdPeerCa, Etcd, "/etc/ssl/etcd/ssl/ca.pem", Some("/etc/ssl/etcd/ssl/ca-key.pem")),
        maybe(Role::EtcdServerCa, Apiserver, "/etc/ssl/etcd/ssl/ca.pem", None),
        maybe(Role::EtcdServer, Etcd, "/etc/ssl/etcd/ssl/member-*.pem", Some("/etc/ssl/etcd/ssl/member-*-key.pem")),
        maybe(Role::EtcdPeer, Etcd, "/etc/ssl/etcd/ssl/member-*.pem", Some("/etc/ssl/etcd/ssl/member-*-key.pem")),
        maybe(Role::EtcdClient, Etcd, "/etc/ssl/etcd/ssl/admin-*.pem", Some("/etc/ssl/etcd/ssl/admin-*-key.pem")),
        maybe(
            Role::ApiserverEtcdClient,
            Apiserver,
            "/etc/ssl/etcd/ssl/node-*.pem",
            Some("/etc/ssl/etcd/ssl/node-*-key.pem"),
        ),
    ],
    kubeconfigs: &[],
};

/// Bottlerocket, as EKS Anywhere sets it up: kubeadm in a container, and an etcd client whose key has another name.
pub(super) const BOTTLEROCKET: Part = Part {
    anchors: &["/var/lib/kubeadm/pki"],
    rows: &[
        maybe(Role::EtcdServerCa, Apiserver, "etcd/ca.crt", None),
        maybe(Role::ApiserverEtcdClient, Apiserver, "server-etcd-client.crt", Some("apiserver-etcd-client.key")),
    ],
    kubeconfigs: &[
        ("/var/lib/kubeadm/admin.conf", People, Role::AdminClient),
        ("/var/lib/kubeadm/kubelet.conf", Kubelet, Role::KubeletClient),
        ("/var/lib/kubeadm/controller-manager.conf", ControllerManager, Role::ControllerManagerClient),
        ("/var/lib/kubeadm/scheduler.conf", Scheduler, Role::SchedulerClient),
    ],
};

/// etcd on hosts of its own, as etcdadm sets it up.
pub(super) const ETCDADM: Part = Part {
    anchors: &["ca.crt"],
    rows: &[
        row(Role::EtcdClientCa, Etcd, "ca.crt", Some("ca.key")),
        row(Role::EtcdPeerCa, Etcd, "ca.crt", Some("ca.key")),
        row(Role::EtcdServer, Etcd, "server.crt", Some("server.key")),
        row(Role::EtcdPeer, Etcd, "peer.crt", Some("peer.key")),
        maybe(Role::EtcdClient, Etcd, "etcdctl-etcd-client.crt", Some("etcdctl-etcd-client.key")),
        maybe(Role::ApiserverEtcdClient, Apiserver, "apiserver-etcd-client.crt", Some("apiserver-etcd-client.key")),
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
        maybe(Role::KubeletClientCa, Kubelet, "/etc/kubernetes/certs/ca.crt", None),
        maybe(
            Role::KubeletServing,
            Kubelet,
            "/etc/kubernetes/certs/kubeletserver.crt",
            Some("/etc/kubernetes/certs/kubeletserver.key"),
        ),
        maybe(Role::KubeletClientCa, Kubelet, "/etc/srv/kubernetes/pki/ca-certificates.crt", None),
    ],
    kubeconfigs: &[("/var/lib/kubelet/kubeconfig", Kubelet, Role::KubeletClient)],
};

/// minikube's guest: the API server's certificate is also the kubeconfig's.
pub(super) const MINIKUBE: Part = Part {
    anchors: &["proxy-client-ca.crt"],
    rows: &[
        row(Role::ClientCa, Apiserver, "ca.crt", Some("ca.key")),
        row(Role::RootCa, ControllerManager, "ca.crt", Some("ca.key")),
        row(Role::SigningCa, ControllerManager, "ca.crt", Some("ca.key")),
        row(Role::ApiserverServing, Apiserver, "apiserver.crt", Some("apiserver.key")),
        row(Role::FrontProxyCa, Apiserver, "proxy-client-ca.crt", Some("proxy-client-ca.key")),
        row(Role::FrontProxyClient, Apiserver, "proxy-client.crt", Some("proxy-client.key")),
        maybe(
            Role::ApiserverKubeletClient,
            Apiserver,
            "apiserver-kubelet-client.crt",
            Some("apiserver-kubelet-client.key"),
        ),
        maybe(Role::ServiceAccountKey, ControllerManager, "sa.key", None),
        maybe(Role::ServiceAccountPublicKeys, Apiserver, "sa.pub", None),
    ],
    kubeconfigs: &[("/var/lib/minikube/kubeconfig", People, Role::AdminClient)],
};

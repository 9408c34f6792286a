//! Where distributions keep their PKI: what counts where no flag says so.
//!
//! A layout is data: a base folder and parts, each with the files by which it is recognised and the files that it then
//! has. Names may hold a `*` in their last segment, where a distribution puts a host name.

use super::role::{Component, Role};

use Component::{Apiserver, ControllerManager, Etcd, Kubelet, People, Proxy, Scheduler};

/// A file of a layout and what it is for.
#[derive(Debug)]
pub struct Row {
    /// What it is for.
    pub role: Role,
    /// Who holds it.
    pub holder: Component,
    /// The file: below the base, or absolute.
    pub file: &'static str,
    /// Its private key's file; the file itself where both are in one.
    pub key: Option<&'static str>,
    /// Is a node that is recognised wrong without it?
    pub required: bool,
}

/// Files that come together.
#[derive(Debug)]
pub struct Part {
    /// Files or folders any of which shows that the part is there.
    pub anchors: &'static [&'static str],
    /// What it then has.
    pub rows: &'static [Row],
    /// Kubeconfigs: file, who holds it, and the role of the client certificate in it.
    pub kubeconfigs: &'static [(&'static str, Component, Role)],
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

const fn row(role: Role, holder: Component, file: &'static str, key: Option<&'static str>) -> Row {
    Row { role, holder, file, key, required: true }
}

const fn maybe(role: Role, holder: Component, file: &'static str, key: Option<&'static str>) -> Row {
    Row { role, holder, file, key, required: false }
}

/// kubeadm's control plane, below `certificatesDir`.
const KUBEADM: Part = Part {
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
const KUBEADM_ETCD: Part = Part {
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
const KUBEADM_CONFS: Part = Part {
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
const KUBELET: Part = Part {
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
const KUBESPRAY_ETCD: Part = Part {
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

/// k3s and RKE2, below their data folder.
const K3S: Part = Part {
    anchors: &["server/tls/client-ca.crt", "server/tls/server-ca.crt"],
    rows: &[
        row(Role::ClientCa, Apiserver, "server/tls/client-ca.crt", Some("server/tls/client-ca.key")),
        maybe(Role::SigningCa, ControllerManager, "server/tls/client-ca.nochain.crt", Some("server/tls/client-ca.key")),
        row(Role::RootCa, ControllerManager, "server/tls/server-ca.crt", Some("server/tls/server-ca.key")),
        row(Role::KubeletServingCa, Apiserver, "server/tls/server-ca.crt", Some("server/tls/server-ca.key")),
        row(
            Role::FrontProxyCa,
            Apiserver,
            "server/tls/request-header-ca.crt",
            Some("server/tls/request-header-ca.key"),
        ),
        row(
            Role::ApiserverServing,
            Apiserver,
            "server/tls/serving-kube-apiserver.crt",
            Some("server/tls/serving-kube-apiserver.key"),
        ),
        row(
            Role::ApiserverKubeletClient,
            Apiserver,
            "server/tls/client-kube-apiserver.crt",
            Some("server/tls/client-kube-apiserver.key"),
        ),
        row(
            Role::FrontProxyClient,
            Apiserver,
            "server/tls/client-auth-proxy.crt",
            Some("server/tls/client-auth-proxy.key"),
        ),
        row(
            Role::ControllerManagerClient,
            ControllerManager,
            "server/tls/client-controller.crt",
            Some("server/tls/client-controller.key"),
        ),
        row(
            Role::SchedulerClient,
            Scheduler,
            "server/tls/client-scheduler.crt",
            Some("server/tls/client-scheduler.key"),
        ),
        row(Role::AdminClient, People, "server/tls/client-admin.crt", Some("server/tls/client-admin.key")),
        maybe(Role::ProxyClient, Proxy, "server/tls/client-kube-proxy.crt", Some("server/tls/client-kube-proxy.key")),
        maybe(Role::OtherClient, People, "server/tls/client-supervisor.crt", Some("server/tls/client-supervisor.key")),
        maybe(
            Role::OtherClient,
            People,
            "server/tls/client-k3s-controller.crt",
            Some("server/tls/client-k3s-controller.key"),
        ),
        maybe(
            Role::OtherClient,
            People,
            "server/tls/client-k3s-cloud-controller.crt",
            Some("server/tls/client-k3s-cloud-controller.key"),
        ),
        row(Role::ServiceAccountKey, ControllerManager, "server/tls/service.current.key", None),
        row(Role::ServiceAccountPublicKeys, Apiserver, "server/tls/service.key", None),
    ],
    kubeconfigs: &[
        ("server/cred/admin.kubeconfig", People, Role::AdminClient),
        ("server/cred/controller.kubeconfig", ControllerManager, Role::ControllerManagerClient),
        ("server/cred/scheduler.kubeconfig", Scheduler, Role::SchedulerClient),
        ("/etc/rancher/k3s/k3s.yaml", People, Role::AdminClient),
        ("/etc/rancher/rke2/rke2.yaml", People, Role::AdminClient),
    ],
};

/// The embedded etcd of k3s and RKE2.
const K3S_ETCD: Part = Part {
    anchors: &["server/tls/etcd/server-ca.crt"],
    rows: &[
        row(Role::EtcdClientCa, Etcd, "server/tls/etcd/server-ca.crt", Some("server/tls/etcd/server-ca.key")),
        row(Role::EtcdServerCa, Apiserver, "server/tls/etcd/server-ca.crt", Some("server/tls/etcd/server-ca.key")),
        row(Role::EtcdPeerCa, Etcd, "server/tls/etcd/peer-ca.crt", Some("server/tls/etcd/peer-ca.key")),
        row(Role::EtcdServer, Etcd, "server/tls/etcd/server-client.crt", Some("server/tls/etcd/server-client.key")),
        row(
            Role::EtcdPeer,
            Etcd,
            "server/tls/etcd/peer-server-client.crt",
            Some("server/tls/etcd/peer-server-client.key"),
        ),
        row(Role::ApiserverEtcdClient, Apiserver, "server/tls/etcd/client.crt", Some("server/tls/etcd/client.key")),
    ],
    kubeconfigs: &[],
};

/// The agent of k3s and RKE2.
const K3S_AGENT: Part = Part {
    anchors: &["agent/client-kubelet.crt"],
    rows: &[
        row(Role::KubeletClient, Kubelet, "agent/client-kubelet.crt", Some("agent/client-kubelet.key")),
        row(Role::KubeletServing, Kubelet, "agent/serving-kubelet.crt", Some("agent/serving-kubelet.key")),
        row(Role::KubeletClientCa, Kubelet, "agent/client-ca.crt", None),
        maybe(Role::ProxyClient, Proxy, "agent/client-kube-proxy.crt", Some("agent/client-kube-proxy.key")),
    ],
    kubeconfigs: &[
        ("agent/kubelet.kubeconfig", Kubelet, Role::KubeletClient),
        ("agent/kubeproxy.kubeconfig", Proxy, Role::ProxyClient),
    ],
};

const K0S: Part = Part {
    anchors: &["server.crt", "k0s-api.crt"],
    rows: &[
        row(Role::ClientCa, Apiserver, "ca.crt", Some("ca.key")),
        row(Role::RootCa, ControllerManager, "ca.crt", Some("ca.key")),
        row(Role::SigningCa, ControllerManager, "ca.crt", Some("ca.key")),
        row(Role::ApiserverServing, Apiserver, "server.crt", Some("server.key")),
        maybe(Role::OtherClient, People, "k0s-api.crt", Some("k0s-api.key")),
        maybe(Role::OtherClient, People, "konnectivity.crt", Some("konnectivity.key")),
        maybe(Role::AdminClient, People, "admin.crt", Some("admin.key")),
        maybe(Role::ControllerManagerClient, ControllerManager, "ccm.crt", Some("ccm.key")),
        maybe(Role::SchedulerClient, Scheduler, "scheduler.crt", Some("scheduler.key")),
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
    kubeconfigs: &[
        ("admin.conf", People, Role::AdminClient),
        ("ccm.conf", ControllerManager, Role::ControllerManagerClient),
        ("scheduler.conf", Scheduler, Role::SchedulerClient),
        ("konnectivity.conf", People, Role::OtherClient),
    ],
};

const K0S_ETCD: Part = Part {
    anchors: &["etcd/ca.crt"],
    rows: &[
        row(Role::EtcdClientCa, Etcd, "etcd/ca.crt", Some("etcd/ca.key")),
        row(Role::EtcdPeerCa, Etcd, "etcd/ca.crt", Some("etcd/ca.key")),
        row(Role::EtcdServerCa, Apiserver, "etcd/ca.crt", Some("etcd/ca.key")),
        row(Role::EtcdServer, Etcd, "etcd/server.crt", Some("etcd/server.key")),
        row(Role::EtcdPeer, Etcd, "etcd/peer.crt", Some("etcd/peer.key")),
        maybe(Role::ApiserverEtcdClient, Apiserver, "apiserver-etcd-client.crt", Some("apiserver-etcd-client.key")),
    ],
    kubeconfigs: &[],
};

const MICROK8S: Part = Part {
    anchors: &["server.crt", "ca.crt"],
    rows: &[
        row(Role::ClientCa, Apiserver, "ca.crt", Some("ca.key")),
        row(Role::RootCa, ControllerManager, "ca.crt", Some("ca.key")),
        row(Role::SigningCa, ControllerManager, "ca.crt", Some("ca.key")),
        row(Role::ApiserverServing, Apiserver, "server.crt", Some("server.key")),
        row(Role::FrontProxyCa, Apiserver, "front-proxy-ca.crt", Some("front-proxy-ca.key")),
        row(Role::FrontProxyClient, Apiserver, "front-proxy-client.crt", Some("front-proxy-client.key")),
        maybe(
            Role::ApiserverKubeletClient,
            Apiserver,
            "apiserver-kubelet-client.crt",
            Some("apiserver-kubelet-client.key"),
        ),
        maybe(Role::KubeletServing, Kubelet, "kubelet.crt", Some("kubelet.key")),
        maybe(Role::AdminClient, People, "client.crt", Some("client.key")),
        maybe(Role::ControllerManagerClient, ControllerManager, "controller.crt", Some("controller.key")),
        maybe(Role::SchedulerClient, Scheduler, "scheduler.crt", Some("scheduler.key")),
        maybe(Role::ProxyClient, Proxy, "proxy.crt", Some("proxy.key")),
        row(Role::ServiceAccountKey, ControllerManager, "serviceaccount.key", None),
        row(Role::ServiceAccountPublicKeys, Apiserver, "serviceaccount.key", None),
    ],
    kubeconfigs: &[
        ("/var/snap/microk8s/current/credentials/client.config", People, Role::AdminClient),
        ("/var/snap/microk8s/current/credentials/controller.config", ControllerManager, Role::ControllerManagerClient),
        ("/var/snap/microk8s/current/credentials/scheduler.config", Scheduler, Role::SchedulerClient),
        ("/var/snap/microk8s/current/credentials/proxy.config", Proxy, Role::ProxyClient),
        ("/var/snap/microk8s/current/credentials/kubelet.config", Kubelet, Role::KubeletClient),
    ],
};

const KOPS: Part = Part {
    anchors: &["kube-apiserver/server.crt"],
    rows: &[
        row(Role::ClientCa, Apiserver, "ca.crt", None),
        row(Role::RootCa, ControllerManager, "ca.crt", None),
        maybe(
            Role::SigningCa,
            ControllerManager,
            "kube-controller-manager/ca.crt",
            Some("kube-controller-manager/ca.key"),
        ),
        row(Role::ApiserverServing, Apiserver, "kube-apiserver/server.crt", Some("kube-apiserver/server.key")),
        row(
            Role::ApiserverKubeletClient,
            Apiserver,
            "kube-apiserver/kubelet-api.crt",
            Some("kube-apiserver/kubelet-api.key"),
        ),
        row(
            Role::ApiserverEtcdClient,
            Apiserver,
            "kube-apiserver/etcd-client.crt",
            Some("kube-apiserver/etcd-client.key"),
        ),
        row(Role::EtcdServerCa, Apiserver, "kube-apiserver/etcd-ca.crt", None),
        row(
            Role::FrontProxyClient,
            Apiserver,
            "kube-apiserver/apiserver-aggregator.crt",
            Some("kube-apiserver/apiserver-aggregator.key"),
        ),
        row(Role::FrontProxyCa, Apiserver, "kube-apiserver/apiserver-aggregator-ca.crt", None),
        row(Role::ServiceAccountPublicKeys, Apiserver, "kube-apiserver/service-account.pub", None),
        row(Role::ServiceAccountKey, ControllerManager, "kube-apiserver/service-account.key", None),
    ],
    kubeconfigs: &[
        ("/var/lib/kubelet/kubeconfig", Kubelet, Role::KubeletClient),
        ("/var/lib/kube-controller-manager/kubeconfig", ControllerManager, Role::ControllerManagerClient),
        ("/var/lib/kube-scheduler/kubeconfig", Scheduler, Role::SchedulerClient),
        ("/var/lib/kube-proxy/kubeconfig", Proxy, Role::ProxyClient),
    ],
};

/// The etcd clusters that kops's etcd-manager keeps, below a folder each.
const KOPS_ETCD: Part = Part {
    anchors: &["/etc/kubernetes/pki/etcd-manager-main"],
    rows: &[
        maybe(
            Role::EtcdClientCa,
            Etcd,
            "/etc/kubernetes/pki/etcd-manager-main/etcd-clients-ca.crt",
            Some("/etc/kubernetes/pki/etcd-manager-main/etcd-clients-ca.key"),
        ),
        maybe(
            Role::EtcdPeerCa,
            Etcd,
            "/etc/kubernetes/pki/etcd-manager-main/etcd-peers-ca.crt",
            Some("/etc/kubernetes/pki/etcd-manager-main/etcd-peers-ca.key"),
        ),
    ],
    kubeconfigs: &[],
};

/// RKE1: one CA for the cluster and for etcd.
const RKE1: Part = Part {
    anchors: &["kube-ca.pem"],
    rows: &[
        row(Role::ClientCa, Apiserver, "kube-ca.pem", Some("kube-ca-key.pem")),
        row(Role::RootCa, ControllerManager, "kube-ca.pem", Some("kube-ca-key.pem")),
        maybe(Role::SigningCa, ControllerManager, "kube-ca.pem", Some("kube-ca-key.pem")),
        row(Role::KubeletClientCa, Kubelet, "kube-ca.pem", None),
        maybe(Role::ApiserverServing, Apiserver, "kube-apiserver.pem", Some("kube-apiserver-key.pem")),
        maybe(Role::ApiserverKubeletClient, Apiserver, "kube-apiserver.pem", Some("kube-apiserver-key.pem")),
        maybe(
            Role::ControllerManagerClient,
            ControllerManager,
            "kube-controller-manager.pem",
            Some("kube-controller-manager-key.pem"),
        ),
        maybe(Role::SchedulerClient, Scheduler, "kube-scheduler.pem", Some("kube-scheduler-key.pem")),
        maybe(Role::ProxyClient, Proxy, "kube-proxy.pem", Some("kube-proxy-key.pem")),
        maybe(Role::KubeletClient, Kubelet, "kube-node.pem", Some("kube-node-key.pem")),
        maybe(
            Role::FrontProxyCa,
            Apiserver,
            "kube-apiserver-requestheader-ca.pem",
            Some("kube-apiserver-requestheader-ca-key.pem"),
        ),
        maybe(
            Role::FrontProxyClient,
            Apiserver,
            "kube-apiserver-proxy-client.pem",
            Some("kube-apiserver-proxy-client-key.pem"),
        ),
        maybe(Role::ServiceAccountKey, ControllerManager, "kube-service-account-token-key.pem", None),
        maybe(Role::ServiceAccountPublicKeys, Apiserver, "kube-service-account-token-key.pem", None),
        maybe(Role::EtcdServer, Etcd, "kube-etcd-*.pem", Some("kube-etcd-*-key.pem")),
        maybe(Role::EtcdPeer, Etcd, "kube-etcd-*.pem", Some("kube-etcd-*-key.pem")),
        maybe(Role::EtcdClientCa, Etcd, "kube-ca.pem", None),
        maybe(Role::ApiserverEtcdClient, Apiserver, "kube-node.pem", Some("kube-node-key.pem")),
    ],
    kubeconfigs: &[
        ("kubecfg-kube-controller-manager.yaml", ControllerManager, Role::ControllerManagerClient),
        ("kubecfg-kube-scheduler.yaml", Scheduler, Role::SchedulerClient),
        ("kubecfg-kube-proxy.yaml", Proxy, Role::ProxyClient),
        ("kubecfg-kube-node.yaml", Kubelet, Role::KubeletClient),
    ],
};

const TALOS: Part = Part {
    anchors: &["kubernetes/kube-apiserver", "etcd/ca.crt"],
    rows: &[
        maybe(Role::ClientCa, Apiserver, "kubernetes/kube-apiserver/ca.crt", Some("kubernetes/kube-apiserver/ca.key")),
        maybe(
            Role::ApiserverServing,
            Apiserver,
            "kubernetes/kube-apiserver/apiserver.crt",
            Some("kubernetes/kube-apiserver/apiserver.key"),
        ),
        maybe(
            Role::ApiserverKubeletClient,
            Apiserver,
            "kubernetes/kube-apiserver/apiserver-kubelet-client.crt",
            Some("kubernetes/kube-apiserver/apiserver-kubelet-client.key"),
        ),
        maybe(Role::FrontProxyCa, Apiserver, "kubernetes/kube-apiserver/aggregator-ca.crt", None),
        maybe(
            Role::FrontProxyClient,
            Apiserver,
            "kubernetes/kube-apiserver/front-proxy-client.crt",
            Some("kubernetes/kube-apiserver/front-proxy-client.key"),
        ),
        maybe(Role::EtcdServerCa, Apiserver, "kubernetes/kube-apiserver/etcd-client-ca.crt", None),
        maybe(
            Role::ApiserverEtcdClient,
            Apiserver,
            "kubernetes/kube-apiserver/etcd-client.crt",
            Some("kubernetes/kube-apiserver/etcd-client.key"),
        ),
        maybe(Role::ServiceAccountPublicKeys, Apiserver, "kubernetes/kube-apiserver/service-account.pub", None),
        maybe(
            Role::ServiceAccountKey,
            ControllerManager,
            "kubernetes/kube-controller-manager/service-account.key",
            None,
        ),
        maybe(
            Role::SigningCa,
            ControllerManager,
            "kubernetes/kube-controller-manager/ca.crt",
            Some("kubernetes/kube-controller-manager/ca.key"),
        ),
        maybe(Role::EtcdClientCa, Etcd, "etcd/ca.crt", Some("etcd/ca.key")),
        maybe(Role::EtcdServer, Etcd, "etcd/server.crt", Some("etcd/server.key")),
        maybe(Role::EtcdPeer, Etcd, "etcd/peer.crt", Some("etcd/peer.key")),
        maybe(Role::EtcdClient, Etcd, "etcd/admin.crt", Some("etcd/admin.key")),
    ],
    kubeconfigs: &[
        ("kubernetes/kube-controller-manager/kubeconfig", ControllerManager, Role::ControllerManagerClient),
        ("kubernetes/kube-scheduler/kubeconfig", Scheduler, Role::SchedulerClient),
        ("/etc/kubernetes/kubeconfig-kubelet", Kubelet, Role::KubeletClient),
    ],
};

const OPENSHIFT: Part = Part {
    anchors: &["kube-apiserver-certs", "etcd-certs"],
    rows: &[
        maybe(
            Role::ApiserverServing,
            Apiserver,
            "kube-apiserver-certs/secrets/service-network-serving-certkey/tls.crt",
            Some("kube-apiserver-certs/secrets/service-network-serving-certkey/tls.key"),
        ),
        maybe(
            Role::ApiserverServing,
            Apiserver,
            "kube-apiserver-certs/secrets/localhost-serving-cert-certkey/tls.crt",
            Some("kube-apiserver-certs/secrets/localhost-serving-cert-certkey/tls.key"),
        ),
        maybe(
            Role::ApiserverServing,
            Apiserver,
            "kube-apiserver-certs/secrets/internal-loadbalancer-serving-certkey/tls.crt",
            Some("kube-apiserver-certs/secrets/internal-loadbalancer-serving-certkey/tls.key"),
        ),
        maybe(
            Role::FrontProxyClient,
            Apiserver,
            "kube-apiserver-certs/secrets/aggregator-client/tls.crt",
            Some("kube-apiserver-certs/secrets/aggregator-client/tls.key"),
        ),
        maybe(
            Role::FrontProxyCa,
            Apiserver,
            "kube-apiserver-certs/configmaps/aggregator-client-ca/ca-bundle.crt",
            None,
        ),
        maybe(Role::ClientCa, Apiserver, "kube-apiserver-certs/configmaps/client-ca/ca-bundle.crt", None),
        maybe(
            Role::SigningCa,
            ControllerManager,
            "kube-controller-manager-certs/secrets/csr-signer/tls.crt",
            Some("kube-controller-manager-certs/secrets/csr-signer/tls.key"),
        ),
    ],
    kubeconfigs: &[
        ("kube-apiserver-certs/secrets/node-kubeconfigs/lb-ext.kubeconfig", People, Role::OtherClient),
        ("kube-apiserver-certs/secrets/node-kubeconfigs/lb-int.kubeconfig", People, Role::OtherClient),
        ("kube-apiserver-certs/secrets/node-kubeconfigs/localhost.kubeconfig", People, Role::OtherClient),
        ("kube-apiserver-certs/secrets/node-kubeconfigs/localhost-recovery.kubeconfig", People, Role::OtherClient),
    ],
};

/// Bottlerocket, as EKS Anywhere sets it up: kubeadm in a container, and an etcd client whose key has another name.
const BOTTLEROCKET: Part = Part {
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
const ETCDADM: Part = Part {
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
const MANAGED: Part = Part {
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
const MINIKUBE: Part = Part {
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
        &[&KUBEADM, &KUBEADM_ETCD, &KUBEADM_CONFS, &KUBELET],
        &["/etc/kubernetes/pki"],
    ),
    layout(
        "Kubespray",
        "/etc/kubernetes/ssl",
        &[&KUBEADM, &KUBEADM_ETCD, &KUBESPRAY_ETCD],
        &["/etc/kubernetes/ssl", "/etc/ssl/etcd/ssl"],
    ),
    layout("minikube", "/var/lib/minikube/certs", &[&MINIKUBE, &KUBEADM_ETCD], &["/var/lib/minikube/certs"]),
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

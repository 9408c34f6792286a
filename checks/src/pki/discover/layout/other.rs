//! Distributions with a shape of their own: k3s and RKE2, k0s, MicroK8s, kops, RKE1, Talos, OpenShift.

use super::{Part, maybe, row};
use crate::pki::discover::role::{Component, Role};

use Component::{Apiserver, ControllerManager, Etcd, Kubelet, People, Proxy, Scheduler};

/// k3s and RKE2, below their data folder.
pub(super) const K3S: Part = Part {
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
pub(super) const K3S_ETCD: Part = Part {
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
pub(super) const K3S_AGENT: Part = Part {
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

pub(super) const K0S: Part = Part {
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

pub(super) const K0S_ETCD: Part = Part {
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

pub(super) const MICROK8S: Part = Part {
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

pub(super) const KOPS: Part = Part {
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
pub(super) const KOPS_ETCD: Part = Part {
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
pub(super) const RKE1: Part = Part {
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

pub(super) const TALOS: Part = Part {
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

pub(super) const OPENSHIFT: Part = Part {
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

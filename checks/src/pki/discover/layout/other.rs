//! Distributions with a shape of their own: k3s and RKE2, k0s, MicroK8s, kops, RKE1, Talos, OpenShift.

use super::{Part, alone, named, pair, pem};
use crate::pki::discover::role::Role::*;

/// k3s and RKE2, below their data folder.
pub(super) const K3S: Part = Part {
    anchors: &["server/tls/client-ca.crt", "server/tls/server-ca.crt"],
    rows: &[
        pair(ClientCa, "server/tls/client-ca"),
        named(SigningCa, "server/tls/client-ca.nochain.crt", "server/tls/client-ca.key").maybe(),
        pair(RootCa, "server/tls/server-ca"),
        pair(KubeletServingCa, "server/tls/server-ca"),
        pair(FrontProxyCa, "server/tls/request-header-ca"),
        pair(ApiserverServing, "server/tls/serving-kube-apiserver"),
        pair(ApiserverKubeletClient, "server/tls/client-kube-apiserver"),
        pair(FrontProxyClient, "server/tls/client-auth-proxy"),
        pair(ControllerManagerClient, "server/tls/client-controller"),
        pair(SchedulerClient, "server/tls/client-scheduler"),
        pair(AdminClient, "server/tls/client-admin"),
        pair(ProxyClient, "server/tls/client-kube-proxy").maybe(),
        pair(OtherClient, "server/tls/client-supervisor").maybe(),
        pair(OtherClient, "server/tls/client-k3s-controller").maybe(),
        pair(OtherClient, "server/tls/client-k3s-cloud-controller").maybe(),
        alone(ServiceAccountKey, "server/tls/service.current.key"),
        alone(ServiceAccountPublicKeys, "server/tls/service.key"),
    ],
    kubeconfigs: &[
        ("server/cred/admin.kubeconfig", AdminClient),
        ("server/cred/controller.kubeconfig", ControllerManagerClient),
        ("server/cred/scheduler.kubeconfig", SchedulerClient),
        ("/etc/rancher/k3s/k3s.yaml", AdminClient),
        ("/etc/rancher/rke2/rke2.yaml", AdminClient),
    ],
};

/// The embedded etcd of k3s and RKE2.
pub(super) const K3S_ETCD: Part = Part {
    anchors: &["server/tls/etcd/server-ca.crt"],
    rows: &[
        pair(EtcdClientCa, "server/tls/etcd/server-ca"),
        pair(EtcdServerCa, "server/tls/etcd/server-ca"),
        pair(EtcdPeerCa, "server/tls/etcd/peer-ca"),
        pair(EtcdServer, "server/tls/etcd/server-client"),
        pair(EtcdPeer, "server/tls/etcd/peer-server-client"),
        pair(ApiserverEtcdClient, "server/tls/etcd/client"),
    ],
    kubeconfigs: &[],
};

/// The agent of k3s and RKE2.
pub(super) const K3S_AGENT: Part = Part {
    anchors: &["agent/client-kubelet.crt"],
    rows: &[
        pair(KubeletClient, "agent/client-kubelet"),
        pair(KubeletServing, "agent/serving-kubelet"),
        alone(KubeletClientCa, "agent/client-ca.crt"),
        pair(ProxyClient, "agent/client-kube-proxy").maybe(),
    ],
    kubeconfigs: &[("agent/kubelet.kubeconfig", KubeletClient), ("agent/kubeproxy.kubeconfig", ProxyClient)],
};

pub(super) const K0S: Part = Part {
    anchors: &["server.crt", "k0s-api.crt"],
    rows: &[
        pair(ClientCa, "ca"),
        pair(RootCa, "ca"),
        pair(SigningCa, "ca"),
        pair(ApiserverServing, "server"),
        pair(OtherClient, "k0s-api").maybe(),
        pair(OtherClient, "konnectivity").maybe(),
        pair(AdminClient, "admin").maybe(),
        pair(ControllerManagerClient, "ccm").maybe(),
        pair(SchedulerClient, "scheduler").maybe(),
        pair(ApiserverKubeletClient, "apiserver-kubelet-client"),
        pair(FrontProxyCa, "front-proxy-ca"),
        pair(FrontProxyClient, "front-proxy-client"),
        alone(ServiceAccountKey, "sa.key"),
        alone(ServiceAccountPublicKeys, "sa.pub"),
    ],
    kubeconfigs: &[
        ("admin.conf", AdminClient),
        ("ccm.conf", ControllerManagerClient),
        ("scheduler.conf", SchedulerClient),
        ("konnectivity.conf", OtherClient),
    ],
};

pub(super) const K0S_ETCD: Part = Part {
    anchors: &["etcd/ca.crt"],
    rows: &[
        pair(EtcdClientCa, "etcd/ca"),
        pair(EtcdPeerCa, "etcd/ca"),
        pair(EtcdServerCa, "etcd/ca"),
        pair(EtcdServer, "etcd/server"),
        pair(EtcdPeer, "etcd/peer"),
        pair(ApiserverEtcdClient, "apiserver-etcd-client").maybe(),
    ],
    kubeconfigs: &[],
};

pub(super) const MICROK8S: Part = Part {
    anchors: &["server.crt", "ca.crt"],
    rows: &[
        pair(ClientCa, "ca"),
        pair(RootCa, "ca"),
        pair(SigningCa, "ca"),
        pair(ApiserverServing, "server"),
        pair(FrontProxyCa, "front-proxy-ca"),
        pair(FrontProxyClient, "front-proxy-client"),
        pair(ApiserverKubeletClient, "apiserver-kubelet-client").maybe(),
        pair(KubeletServing, "kubelet").maybe(),
        pair(AdminClient, "client").maybe(),
        pair(ControllerManagerClient, "controller").maybe(),
        pair(SchedulerClient, "scheduler").maybe(),
        pair(ProxyClient, "proxy").maybe(),
        alone(ServiceAccountKey, "serviceaccount.key"),
        alone(ServiceAccountPublicKeys, "serviceaccount.key"),
    ],
    kubeconfigs: &[
        ("/var/snap/microk8s/current/credentials/client.config", AdminClient),
        ("/var/snap/microk8s/current/credentials/controller.config", ControllerManagerClient),
        ("/var/snap/microk8s/current/credentials/scheduler.config", SchedulerClient),
        ("/var/snap/microk8s/current/credentials/proxy.config", ProxyClient),
        ("/var/snap/microk8s/current/credentials/kubelet.config", KubeletClient),
    ],
};

pub(super) const KOPS: Part = Part {
    anchors: &["kube-apiserver/server.crt"],
    rows: &[
        alone(ClientCa, "ca.crt"),
        alone(RootCa, "ca.crt"),
        pair(SigningCa, "kube-controller-manager/ca").maybe(),
        pair(ApiserverServing, "kube-apiserver/server"),
        pair(ApiserverKubeletClient, "kube-apiserver/kubelet-api"),
        pair(ApiserverEtcdClient, "kube-apiserver/etcd-client"),
        alone(EtcdServerCa, "kube-apiserver/etcd-ca.crt"),
        pair(FrontProxyClient, "kube-apiserver/apiserver-aggregator"),
        alone(FrontProxyCa, "kube-apiserver/apiserver-aggregator-ca.crt"),
        alone(ServiceAccountPublicKeys, "kube-apiserver/service-account.pub"),
        alone(ServiceAccountKey, "kube-apiserver/service-account.key"),
    ],
    kubeconfigs: &[
        ("/var/lib/kubelet/kubeconfig", KubeletClient),
        ("/var/lib/kube-controller-manager/kubeconfig", ControllerManagerClient),
        ("/var/lib/kube-scheduler/kubeconfig", SchedulerClient),
        ("/var/lib/kube-proxy/kubeconfig", ProxyClient),
    ],
};

/// The etcd clusters that kops's etcd-manager keeps, below a folder each.
pub(super) const KOPS_ETCD: Part = Part {
    anchors: &["/etc/kubernetes/pki/etcd-manager-main"],
    rows: &[
        pair(EtcdClientCa, "/etc/kubernetes/pki/etcd-manager-main/etcd-clients-ca").maybe(),
        pair(EtcdPeerCa, "/etc/kubernetes/pki/etcd-manager-main/etcd-peers-ca").maybe(),
        // Each cluster has a volume, a token and CAs of its own: main, events, and Cilium's where it has one.
        alone(EtcdClientCa, "/mnt/master-vol-*/pki/*/clients/ca.crt").maybe(),
        pair(EtcdServer, "/mnt/master-vol-*/pki/*/clients/server").maybe(),
        alone(EtcdPeerCa, "/mnt/master-vol-*/pki/*/peers/ca.crt").maybe(),
        pair(EtcdPeer, "/mnt/master-vol-*/pki/*/peers/me").maybe(),
    ],
    kubeconfigs: &[],
};

/// RKE1: one CA for the cluster and for etcd.
pub(super) const RKE1: Part = Part {
    anchors: &["kube-ca.pem"],
    rows: &[
        pem(ClientCa, "kube-ca"),
        pem(RootCa, "kube-ca"),
        pem(SigningCa, "kube-ca").maybe(),
        alone(KubeletClientCa, "kube-ca.pem"),
        pem(ApiserverServing, "kube-apiserver").maybe(),
        pem(ApiserverKubeletClient, "kube-apiserver").maybe(),
        pem(ControllerManagerClient, "kube-controller-manager").maybe(),
        pem(SchedulerClient, "kube-scheduler").maybe(),
        pem(ProxyClient, "kube-proxy").maybe(),
        pem(KubeletClient, "kube-node").maybe(),
        pem(FrontProxyCa, "kube-apiserver-requestheader-ca").maybe(),
        pem(FrontProxyClient, "kube-apiserver-proxy-client").maybe(),
        alone(ServiceAccountKey, "kube-service-account-token-key.pem").maybe(),
        alone(ServiceAccountPublicKeys, "kube-service-account-token-key.pem").maybe(),
        pem(EtcdServer, "kube-etcd-*").maybe(),
        pem(EtcdPeer, "kube-etcd-*").maybe(),
        alone(EtcdClientCa, "kube-ca.pem").maybe(),
        pem(ApiserverEtcdClient, "kube-node").maybe(),
    ],
    kubeconfigs: &[
        ("kubecfg-kube-controller-manager.yaml", ControllerManagerClient),
        ("kubecfg-kube-scheduler.yaml", SchedulerClient),
        ("kubecfg-kube-proxy.yaml", ProxyClient),
        ("kubecfg-kube-node.yaml", KubeletClient),
    ],
};

/// What Talos writes where it runs: siderolabs/talos, render_secrets_static_pod.go and etcd/pki.go.
pub(super) const TALOS: Part = Part {
    anchors: &["kubernetes/kube-apiserver", "etcd/ca.crt"],
    rows: &[
        alone(ClientCa, "kubernetes/kube-apiserver/ca.crt").maybe(),
        pair(ApiserverServing, "kubernetes/kube-apiserver/apiserver").maybe(),
        pair(ApiserverKubeletClient, "kubernetes/kube-apiserver/apiserver-kubelet-client").maybe(),
        alone(FrontProxyCa, "kubernetes/kube-apiserver/aggregator-ca.crt").maybe(),
        pair(FrontProxyClient, "kubernetes/kube-apiserver/front-proxy-client").maybe(),
        alone(EtcdServerCa, "kubernetes/kube-apiserver/etcd-client-ca.crt").maybe(),
        pair(ApiserverEtcdClient, "kubernetes/kube-apiserver/etcd-client").maybe(),
        alone(ServiceAccountPublicKeys, "kubernetes/kube-apiserver/service-account.pub").maybe(),
        alone(ServiceAccountKey, "kubernetes/kube-controller-manager/service-account.key").maybe(),
        pair(RootCa, "kubernetes/kube-controller-manager/ca").maybe(),
        pair(SigningCa, "kubernetes/kube-controller-manager/ca").maybe(),
        alone(KubeletClientCa, "/etc/kubernetes/pki/ca.crt").maybe(),
        pair(EtcdClientCa, "etcd/ca").maybe(),
        pair(EtcdPeerCa, "etcd/ca").maybe(),
        pair(EtcdServer, "etcd/server").maybe(),
        pair(EtcdPeer, "etcd/peer").maybe(),
        pair(EtcdClient, "etcd/admin").maybe(),
    ],
    kubeconfigs: &[
        ("kubernetes/kube-controller-manager/kubeconfig", ControllerManagerClient),
        ("kubernetes/kube-scheduler/kubeconfig", SchedulerClient),
        ("/etc/kubernetes/kubeconfig-kubelet", KubeletClient),
    ],
};

pub(super) const OPENSHIFT: Part = Part {
    anchors: &["kube-apiserver-certs", "etcd-certs"],
    rows: &[
        pair(ApiserverServing, "kube-apiserver-certs/secrets/service-network-serving-certkey/tls").maybe(),
        pair(ApiserverServing, "kube-apiserver-certs/secrets/localhost-serving-cert-certkey/tls").maybe(),
        pair(ApiserverServing, "kube-apiserver-certs/secrets/internal-loadbalancer-serving-certkey/tls").maybe(),
        pair(FrontProxyClient, "kube-apiserver-certs/secrets/aggregator-client/tls").maybe(),
        alone(FrontProxyCa, "kube-apiserver-certs/configmaps/aggregator-client-ca/ca-bundle.crt").maybe(),
        alone(ClientCa, "kube-apiserver-certs/configmaps/client-ca/ca-bundle.crt").maybe(),
        pair(SigningCa, "kube-controller-manager-certs/secrets/csr-signer/tls").maybe(),
        // Of every member, not of this node's alone.
        pair(EtcdServer, "etcd-certs/secrets/etcd-all-certs/etcd-serving-*").maybe(),
        pair(EtcdPeer, "etcd-certs/secrets/etcd-all-certs/etcd-peer-*").maybe(),
        // One bundle for all since 4.16.
        alone(EtcdServerCa, "etcd-certs/configmaps/etcd-all-bundles/server-ca-bundle.crt").maybe(),
        alone(EtcdClientCa, "etcd-certs/configmaps/etcd-all-bundles/server-ca-bundle.crt").maybe(),
        alone(EtcdPeerCa, "etcd-certs/configmaps/etcd-all-bundles/server-ca-bundle.crt").maybe(),
        alone(EtcdServerCa, "etcd-certs/configmaps/etcd-serving-ca/ca-bundle.crt").maybe(),
        alone(EtcdClientCa, "etcd-certs/configmaps/etcd-serving-ca/ca-bundle.crt").maybe(),
        alone(EtcdPeerCa, "etcd-certs/configmaps/etcd-peer-client-ca/ca-bundle.crt").maybe(),
    ],
    kubeconfigs: &[
        ("kube-apiserver-certs/secrets/node-kubeconfigs/lb-ext.kubeconfig", OtherClient),
        ("kube-apiserver-certs/secrets/node-kubeconfigs/lb-int.kubeconfig", OtherClient),
        ("kube-apiserver-certs/secrets/node-kubeconfigs/localhost.kubeconfig", OtherClient),
        ("kube-apiserver-certs/secrets/node-kubeconfigs/localhost-recovery.kubeconfig", OtherClient),
    ],
};

//! What a file of a PKI is for: a certificate that somebody shows, a bundle that somebody trusts, a key that signs
//! tokens.
//!
//! Roles, not paths and not common names: every distribution has others of those, and the certificate that
//! kube-apiserver serves is the one that its flag names, whatever it is called.

use std::fmt;

/// A program that holds certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Component {
    /// kube-apiserver.
    Apiserver,
    /// kube-controller-manager.
    ControllerManager,
    /// kube-scheduler.
    Scheduler,
    /// etcd.
    Etcd,
    /// The kubelet.
    Kubelet,
    /// kube-proxy.
    Proxy,
    /// Talos's own API.
    Apid,
    /// kubeadm, which signs what it renews.
    Kubeadm,
    /// Whoever uses kubectl.
    People,
}

impl Component {
    /// Those that are programs with flags.
    pub const PROGRAMS: [Self; 6] =
        [Self::Apiserver, Self::ControllerManager, Self::Scheduler, Self::Etcd, Self::Kubelet, Self::Proxy];

    /// The program's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Apiserver => "kube-apiserver",
            Self::ControllerManager => "kube-controller-manager",
            Self::Scheduler => "kube-scheduler",
            Self::Etcd => "etcd",
            Self::Kubelet => "kubelet",
            Self::Proxy => "kube-proxy",
            Self::Apid => "apid",
            Self::Kubeadm => "kubeadm",
            Self::People => "kubectl",
        }
    }

    /// The component that a program's name stands for.
    #[must_use]
    pub fn of_program(name: &str) -> Option<Self> {
        Self::PROGRAMS.into_iter().find(|component| component.name() == name)
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The CAs whose clients the API server (and its companions) authenticate: `--client-ca-file`.
    ClientCa,
    /// The CAs of the aggregation layer's proxy: `--requestheader-client-ca-file`.
    FrontProxyCa,
    /// The CAs by which the API server verifies kubelets: `--kubelet-certificate-authority`.
    KubeletServingCa,
    /// The CAs by which the API server verifies etcd: `--etcd-cafile`.
    EtcdServerCa,
    /// The CAs whose clients etcd accepts: `--trusted-ca-file`.
    EtcdClientCa,
    /// The CAs whose peers etcd accepts: `--peer-trusted-ca-file`.
    EtcdPeerCa,
    /// The list of clients' certificates that etcd refuses: `--client-crl-file`.
    EtcdClientRevocations,
    /// The list of peers' certificates that etcd refuses: `--peer-crl-file`.
    EtcdPeerRevocations,
    /// The CAs that pods get to verify the API server by: `--root-ca-file`.
    RootCa,
    /// The CA that signs certificates of nodes and users: `--cluster-signing-cert-file`.
    SigningCa,
    /// A CA that signs for a signer of others than API clients: `--cluster-signing-kubelet-serving-cert-file`.
    OtherSigningCa,
    /// The CAs whose clients the kubelet authenticates: `clientCAFile`.
    KubeletClientCa,
    /// What the API server serves.
    ApiserverServing,
    /// What a component serves to those that dial it by certain names: `--tls-sni-cert-key`.
    NamedServing,
    /// What the API server shows to kubelets.
    ApiserverKubeletClient,
    /// What the API server shows to etcd.
    ApiserverEtcdClient,
    /// What the API server shows to extension API servers.
    FrontProxyClient,
    /// What etcd serves to clients.
    EtcdServer,
    /// What etcd shows and serves to its peers.
    EtcdPeer,
    /// What a client of etcd other than the API server shows: health checks, backups.
    EtcdClient,
    /// What the kubelet serves.
    KubeletServing,
    /// What the kubelet shows to the API server.
    KubeletClient,
    /// What the controller manager serves.
    ControllerManagerServing,
    /// What the scheduler serves.
    SchedulerServing,
    /// What the controller manager shows to the API server.
    ControllerManagerClient,
    /// What the scheduler shows to the API server.
    SchedulerClient,
    /// What kube-proxy shows to the API server.
    ProxyClient,
    /// What administrators show to the API server.
    AdminClient,
    /// What administrators show when RBAC itself is broken.
    SuperAdminClient,
    /// What anyone else shows to the API server.
    OtherClient,
    /// The key that signs the tokens of service accounts.
    ServiceAccountKey,
    /// The keys that such tokens are verified by.
    ServiceAccountPublicKeys,
    /// The CAs of Talos's own API, by which nodes and administrators verify each other.
    TalosCa,
    /// What administrators show to Talos's API.
    TalosClient,
    /// CAs in a file or folder that was given alone, and is of no layout.
    GivenCa,
    /// Another certificate in such a place.
    Given,
}

/// What kind of thing a role's file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// CAs that are trusted.
    Bundle,
    /// A certificate that is shown to clients.
    Server,
    /// A certificate that is shown to servers.
    Client,
    /// A certificate that is shown to both.
    Both,
    /// A bare key.
    Key,
    /// A certificate revocation list.
    Revocations,
}

impl Role {
    /// What kind of thing its file holds.
    #[must_use]
    pub fn kind(self) -> Kind {
        match self {
            Self::ClientCa
            | Self::FrontProxyCa
            | Self::KubeletServingCa
            | Self::EtcdServerCa
            | Self::EtcdClientCa
            | Self::EtcdPeerCa
            | Self::RootCa
            | Self::SigningCa
            | Self::OtherSigningCa
            | Self::KubeletClientCa
            | Self::TalosCa
            | Self::GivenCa => Kind::Bundle,
            Self::ApiserverServing
            | Self::NamedServing
            | Self::KubeletServing
            | Self::ControllerManagerServing
            | Self::SchedulerServing => Kind::Server,
            Self::EtcdServer | Self::EtcdPeer => Kind::Both,
            Self::ServiceAccountKey | Self::ServiceAccountPublicKeys => Kind::Key,
            Self::EtcdClientRevocations | Self::EtcdPeerRevocations => Kind::Revocations,
            Self::ApiserverKubeletClient
            | Self::ApiserverEtcdClient
            | Self::FrontProxyClient
            | Self::EtcdClient
            | Self::KubeletClient
            | Self::ControllerManagerClient
            | Self::SchedulerClient
            | Self::ProxyClient
            | Self::AdminClient
            | Self::SuperAdminClient
            | Self::OtherClient
            | Self::Given
            | Self::TalosClient => Kind::Client,
        }
    }

    /// Who holds it; flags may give it to others, too.
    #[must_use]
    pub fn holder(self) -> Component {
        match self {
            Self::ClientCa
            | Self::FrontProxyCa
            | Self::KubeletServingCa
            | Self::EtcdServerCa
            | Self::ApiserverServing
            | Self::NamedServing
            | Self::ApiserverKubeletClient
            | Self::ApiserverEtcdClient
            | Self::FrontProxyClient
            | Self::ServiceAccountPublicKeys => Component::Apiserver,
            Self::RootCa
            | Self::SigningCa
            | Self::OtherSigningCa
            | Self::ControllerManagerServing
            | Self::ControllerManagerClient
            | Self::ServiceAccountKey => Component::ControllerManager,
            Self::SchedulerServing | Self::SchedulerClient => Component::Scheduler,
            Self::EtcdClientCa
            | Self::EtcdPeerCa
            | Self::EtcdClientRevocations
            | Self::EtcdPeerRevocations
            | Self::EtcdServer
            | Self::EtcdPeer
            | Self::EtcdClient => Component::Etcd,
            Self::KubeletClientCa | Self::KubeletServing | Self::KubeletClient => Component::Kubelet,
            Self::ProxyClient => Component::Proxy,
            Self::TalosCa => Component::Apid,
            Self::AdminClient
            | Self::SuperAdminClient
            | Self::OtherClient
            | Self::TalosClient
            | Self::GivenCa
            | Self::Given => Component::People,
        }
    }

    /// The bundles by which whoever it is shown to verifies it, the first that is known counts.
    ///
    /// What a component serves to nobody in particular (controller manager, scheduler) has none, nor has what is served
    /// by name.
    #[must_use]
    pub fn verified_by(self) -> &'static [Self] {
        match self {
            Self::ApiserverServing => &[Self::RootCa],
            Self::ApiserverKubeletClient => &[Self::KubeletClientCa, Self::ClientCa],
            Self::ApiserverEtcdClient | Self::EtcdClient => &[Self::EtcdClientCa, Self::EtcdServerCa],
            Self::FrontProxyClient => &[Self::FrontProxyCa],
            Self::EtcdServer => &[Self::EtcdServerCa, Self::EtcdClientCa],
            Self::EtcdPeer => &[Self::EtcdPeerCa, Self::EtcdClientCa],
            Self::EtcdClientRevocations => &[Self::EtcdClientCa],
            Self::EtcdPeerRevocations => &[Self::EtcdPeerCa],
            Self::KubeletServing => &[Self::KubeletServingCa],
            // On a worker the kubelet's CA is the only one there, and of the same cluster.
            Self::KubeletClient => &[Self::ClientCa, Self::SigningCa, Self::KubeletClientCa],
            Self::ControllerManagerClient
            | Self::SchedulerClient
            | Self::ProxyClient
            | Self::AdminClient
            | Self::SuperAdminClient
            | Self::OtherClient => &[Self::ClientCa, Self::SigningCa],
            Self::TalosClient => &[Self::TalosCa],
            _ => &[],
        }
    }

    /// The role in words: "the API server's serving certificate".
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::ClientCa => "the CA of API clients",
            Self::FrontProxyCa => "the front-proxy CA",
            Self::KubeletServingCa => "the CA that kubelets are verified by",
            Self::EtcdServerCa => "the CA that etcd is verified by",
            Self::EtcdClientCa => "the CA of etcd's clients",
            Self::EtcdPeerCa => "the CA of etcd's peers",
            Self::EtcdClientRevocations => "the list of clients that etcd refuses",
            Self::EtcdPeerRevocations => "the list of peers that etcd refuses",
            Self::RootCa => "the CA that pods verify the API server by",
            Self::SigningCa => "the CA that signs for nodes and users",
            Self::OtherSigningCa => "a CA that signs for others than API clients",
            Self::KubeletClientCa => "the CA of the kubelet's clients",
            Self::ApiserverServing => "the API server's serving certificate",
            Self::NamedServing => "a certificate that is served for certain names",
            Self::ApiserverKubeletClient => "the API server's certificate for kubelets",
            Self::ApiserverEtcdClient => "the API server's certificate for etcd",
            Self::FrontProxyClient => "the front-proxy client certificate",
            Self::EtcdServer => "etcd's serving certificate",
            Self::EtcdPeer => "etcd's peer certificate",
            Self::EtcdClient => "an etcd client's certificate",
            Self::KubeletServing => "the kubelet's serving certificate",
            Self::KubeletClient => "the kubelet's client certificate",
            Self::ControllerManagerServing => "the controller manager's serving certificate",
            Self::SchedulerServing => "the scheduler's serving certificate",
            Self::ControllerManagerClient => "the controller manager's client certificate",
            Self::SchedulerClient => "the scheduler's client certificate",
            Self::ProxyClient => "kube-proxy's client certificate",
            Self::AdminClient => "the administrators' client certificate",
            Self::SuperAdminClient => "the super-administrators' client certificate",
            Self::OtherClient => "a client certificate",
            Self::ServiceAccountKey => "the key that signs service-account tokens",
            Self::ServiceAccountPublicKeys => "the keys that service-account tokens are verified by",
            Self::TalosCa => "the CA of Talos's API",
            Self::TalosClient => "the certificate of an administrator of Talos",
            Self::GivenCa => "a CA",
            Self::Given => "a certificate",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.title())
    }
}

//! When what expires: every certificate with a role, and the same as kubeadm says it.

use jiff::Timestamp;

use super::discover::Role;
use super::facts::Facts;
use super::x509::Certificate;

/// A certificate of the PKI, and when it ends.
#[derive(Debug, Clone)]
pub struct Expiry<'f> {
    /// What it is for; a CA may be for several things.
    pub roles: Vec<Role>,
    /// The file that it is in.
    pub file: &'f str,
    /// The user's name, if the file is a kubeconfig.
    pub user: Option<&'f str>,
    /// The certificate.
    pub certificate: &'f Certificate,
}

impl Facts {
    /// Every certificate with a role, by file and in the order in which it stands there.
    #[must_use]
    pub fn expiries(&self) -> Vec<Expiry<'_>> {
        let mut all: Vec<Expiry<'_>> = Vec::new();
        for one in &self.credentials {
            let user = self.clients.iter().find(|client| client.of.file == one.file);
            let user = user.and_then(|client| client.user.as_ref()).map(|user| user.name.as_str());
            for held in &one.chain {
                add(&mut all, one.role, &one.file, user, &held.certificate);
            }
        }
        for one in &self.bundles {
            for held in &one.certificates {
                add(&mut all, one.role, &one.file, None, &held.certificate);
            }
        }
        all.sort_by(|a, b| a.file.cmp(b.file));
        all
    }
}

/// One more role of a certificate in a file.
fn add<'f>(all: &mut Vec<Expiry<'f>>, role: Role, file: &'f str, user: Option<&'f str>, certificate: &'f Certificate) {
    let known = |one: &&mut Expiry<'f>| one.file == file && one.certificate.fingerprint == certificate.fingerprint;
    match all.iter_mut().find(known) {
        Some(one) if one.roles.contains(&role) => {}
        Some(one) => one.roles.push(role),
        None => all.push(Expiry { roles: vec![role], file, user, certificate }),
    }
}

/// A line of `kubeadm certs check-expiration`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubeadmLine {
    /// kubeadm's name: `apiserver`, `admin.conf`, `etcd-ca`.
    pub name: &'static str,
    /// When it ends; `None` if it is not there.
    pub until: Option<Timestamp>,
    /// kubeadm's name of the CA that signs it; `None` for a CA.
    pub ca: Option<&'static str>,
    /// Is the key of that CA elsewhere?
    pub external: bool,
}

/// What kubeadm lists, in its order: certificates by name, then CAs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubeadmExpiration {
    /// Certificates and kubeconfigs.
    pub certificates: Vec<KubeadmLine>,
    /// CAs.
    pub authorities: Vec<KubeadmLine>,
}

/// kubeadm's certificates: name, role, and the CA's name.
const CERTIFICATES: [(&str, Role, &str); 11] = [
    ("admin.conf", Role::AdminClient, "ca"),
    ("apiserver", Role::ApiserverServing, "ca"),
    ("apiserver-etcd-client", Role::ApiserverEtcdClient, "etcd-ca"),
    ("apiserver-kubelet-client", Role::ApiserverKubeletClient, "ca"),
    ("controller-manager.conf", Role::ControllerManagerClient, "ca"),
    ("etcd-healthcheck-client", Role::EtcdClient, "etcd-ca"),
    ("etcd-peer", Role::EtcdPeer, "etcd-ca"),
    ("etcd-server", Role::EtcdServer, "etcd-ca"),
    ("front-proxy-client", Role::FrontProxyClient, "front-proxy-ca"),
    ("scheduler.conf", Role::SchedulerClient, "ca"),
    ("super-admin.conf", Role::SuperAdminClient, "ca"),
];

/// kubeadm's CAs: name, and the roles that its file has.
const AUTHORITIES: [(&str, &[Role]); 3] = [
    ("ca", &[Role::ClientCa, Role::RootCa]),
    ("etcd-ca", &[Role::EtcdClientCa, Role::EtcdServerCa]),
    ("front-proxy-ca", &[Role::FrontProxyCa]),
];

impl Facts {
    /// What `kubeadm certs check-expiration` says of this node, found by role instead of by path.
    #[must_use]
    pub fn kubeadm_expiration(&self) -> KubeadmExpiration {
        let authority = |name: &str| {
            let roles = AUTHORITIES.iter().find(|(ca, _)| *ca == name).map_or(&[][..], |(_, roles)| roles);
            roles.iter().find_map(|&role| self.bundle(role))
        };
        // A CA that is there, and whose key is not.
        let external =
            |name: &str| authority(name).is_some_and(|bundle| !self.has_key_of(&bundle.certificates[0].certificate));
        let certificates = CERTIFICATES.iter().map(|&(name, role, ca)| {
            let found = self.of_role(role).next();
            let until = found.map(|one| one.leaf().not_after);
            KubeadmLine { name, until, ca: Some(ca), external: external(ca) }
        });
        let authorities = AUTHORITIES.iter().map(|&(name, _)| {
            let until = authority(name).map(|bundle| bundle.certificates[0].certificate.not_after);
            KubeadmLine { name, until, ca: None, external: external(name) }
        });
        KubeadmExpiration { certificates: certificates.collect(), authorities: authorities.collect() }
    }

    /// Is the private key of this certificate anywhere in the PKI?
    #[must_use]
    pub fn has_key_of(&self, certificate: &Certificate) -> bool {
        let keys = self.store.iter().filter_map(|file| file.contents.known()).flat_map(|contents| &contents.keys);
        keys.into_iter().any(|key| key.public.sha256 == certificate.public_key.sha256)
    }
}

//! When what expires: every certificate that is shown or trusted, the same as kubeadm says it, and what of it cannot be told.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::discover::{Component, Role};
use super::facts::Facts;
use super::gap::{Gap, Part};
use super::x509::Certificate;

/// What a kubeconfig's CA is for, in words; no file has that role, since the CA is mostly embedded.
pub(super) const KUBECONFIG_CA: &str = "the CA that a kubeconfig verifies the API server by";

/// A certificate of the PKI, and when it ends.
#[derive(Debug, Clone)]
pub struct Expiry<'f> {
    /// What it is for, in words; a CA may be for several things.
    pub roles: Vec<&'static str>,
    /// The file that it is in.
    pub file: &'f str,
    /// Whose it is in the kubeconfig that it is embedded in.
    pub embedded: Option<Embedded<'f>>,
    /// The certificate.
    pub certificate: &'f Certificate,
}

/// The entry of a kubeconfig that a certificate is embedded in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Embedded<'f> {
    /// A cluster, by name.
    Cluster(&'f str),
    /// A user, by name.
    User(&'f str),
}

impl Facts {
    /// Every certificate that is shown or trusted, by file and in the order in which it stands there.
    #[must_use]
    pub fn expiries(&self) -> Vec<Expiry<'_>> {
        let mut all: Vec<Expiry<'_>> = Vec::new();
        for one in &self.credentials {
            let user = self.clients.iter().find(|client| client.of.file == one.file);
            let user = user.and_then(|client| client.user.as_ref()).map(|user| Embedded::User(&user.name));
            for held in &one.chain {
                add(&mut all, one.role.title(), &one.file, user, &held.certificate);
            }
        }
        for one in &self.bundles {
            for held in &one.certificates {
                add(&mut all, one.role.title(), &one.file, None, &held.certificate);
            }
        }
        for client in &self.clients {
            let Some((file, held)) = &client.ca else { continue };
            let cluster = client.cluster.as_ref().filter(|_| *file == client.of.file);
            let cluster = cluster.map(|cluster| Embedded::Cluster(&cluster.name));
            for held in held {
                add(&mut all, KUBECONFIG_CA, file, cluster, &held.certificate);
            }
        }
        all.sort_by(|a, b| a.file.cmp(b.file));
        all
    }

    /// Every file that certificates are needed from, by a flag, a layout or a kubeconfig, and that has none to give: it is not
    /// there, cannot be read, or holds something else.
    pub fn lost(&self) -> impl Iterator<Item = &Gap> {
        self.gaps.iter().filter(|gap| !matches!(gap.part, Part::Key | Part::Revocations))
    }

    /// How many files have none of the certificates that they should have, or cannot be read.
    #[must_use]
    pub fn read_errors(&self) -> usize {
        let lost: BTreeSet<_> =
            self.lost().filter(|lost| !self.unread.contains(&lost.why)).map(|lost| &lost.file).collect();
        lost.len() + self.unread.len()
    }
}

/// One more role of a certificate in a file.
fn add<'f>(
    all: &mut Vec<Expiry<'f>>,
    role: &'static str,
    file: &'f str,
    embedded: Option<Embedded<'f>>,
    certificate: &'f Certificate,
) {
    let known = |one: &&mut Expiry<'f>| one.file == file && one.certificate.fingerprint == certificate.fingerprint;
    match all.iter_mut().find(known) {
        Some(one) if one.roles.contains(&role) => {}
        Some(one) => one.roles.push(role),
        None => all.push(Expiry { roles: vec![role], file, embedded, certificate }),
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
    /// What of these is there and cannot be understood, and which CA of kubeadm's is not there; kubeadm then fails and lists nothing.
    pub broken: Vec<String>,
}

/// kubeadm's certificates: name, role, and the CA's name.
pub(super) const CERTIFICATES: [(&str, Role, &str); 11] = [
    ("admin.conf", Role::AdminClient, "ca"),
    ("apiserver", Role::ApiserverServing, "ca"),
    ("apiserver-etcd-client", Role::ApiserverEtcdClient, ETCD_CA),
    ("apiserver-kubelet-client", Role::ApiserverKubeletClient, "ca"),
    ("controller-manager.conf", Role::ControllerManagerClient, "ca"),
    ("etcd-healthcheck-client", Role::EtcdClient, ETCD_CA),
    ("etcd-peer", Role::EtcdPeer, ETCD_CA),
    ("etcd-server", Role::EtcdServer, ETCD_CA),
    ("front-proxy-client", Role::FrontProxyClient, "front-proxy-ca"),
    ("scheduler.conf", Role::SchedulerClient, "ca"),
    ("super-admin.conf", Role::SuperAdminClient, "ca"),
];

/// kubeadm's name of etcd's CA.
const ETCD_CA: &str = "etcd-ca";

/// kubeadm's CAs: name, and the roles that its file has.
const AUTHORITIES: [(&str, &[Role]); 3] = [
    ("ca", &[Role::ClientCa, Role::RootCa]),
    (ETCD_CA, &[Role::EtcdClientCa, Role::EtcdServerCa]),
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
        let listed = |role: Role| {
            CERTIFICATES.iter().any(|(_, one, _)| *one == role)
                || AUTHORITIES.iter().any(|(_, roles)| roles.contains(&role))
        };
        let broken = self.lost().filter(|lost| lost.there && lost.role.is_some_and(listed));
        let mut broken: Vec<_> = broken.map(|lost| lost.why.clone()).collect();
        broken.dedup();
        let mut authorities: Vec<_> = authorities.collect();
        let mut certificates: Vec<_> = certificates.collect();
        // Where etcd is on hosts of its own kubeadm leaves out all that is etcd's.
        if self.discovery.command(Component::Apiserver).is_some()
            && self.discovery.of_role(Role::EtcdServer).next().is_none()
        {
            authorities.retain(|one| one.name != ETCD_CA);
            certificates.retain(|one| one.ca != Some(ETCD_CA));
        }
        if broken.is_empty() && self.discovery.is_kubeadm() {
            let missing = authorities.iter().filter(|one| one.until.is_none());
            broken.extend(missing.map(|one| format!("the CA {} is not there", one.name)));
        }
        KubeadmExpiration { certificates, authorities, broken }
    }

    /// Is the private key of this certificate anywhere in the PKI?
    #[must_use]
    pub fn has_key_of(&self, certificate: &Certificate) -> bool {
        let keys = self.store.iter().filter_map(|file| file.contents.known()).flat_map(|contents| &contents.keys);
        keys.into_iter().any(|key| key.public.sha256 == certificate.public_key.sha256)
    }
}

//! When what expires: every certificate that is shown or trusted, the same as kubeadm says it, and what of it cannot
//! be told.

mod kubeadm;

use std::collections::BTreeSet;

pub(super) use kubeadm::CERTIFICATES;
pub use kubeadm::{KubeadmExpiration, KubeadmLine};

use super::facts::Facts;
use super::gap::{Gap, Part};
use super::x509::Certificate;
use crate::fact::Fact;

/// What a kubeconfig's CA is for, in words; no file has that role, since the CA is mostly embedded.
pub(super) const KUBECONFIG_CA: &str = "the CA that a kubeconfig verifies the API server by";

/// What a certificate that was issued by a CertificateSigningRequest is for: its object does not say who keeps it.
const BY_REQUEST: &str = "a certificate issued by request";

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
        for one in &self.issued {
            add(&mut all, BY_REQUEST, &one.place, None, &one.certificate);
        }
        all.sort_by(|a, b| a.file.cmp(b.file));
        all
    }

    /// Every file that certificates are needed from, by a flag, a layout or a kubeconfig, and that has none to give:
    /// it is not there, cannot be read, or holds something else.
    pub fn lost(&self) -> impl Iterator<Item = &Gap> {
        self.gaps.iter().filter(|gap| !matches!(gap.part, Part::Key | Part::Revocations))
    }

    /// What should be in a view of this PKI and is not, each a sentence that names the file: it does not exist,
    /// cannot be read, does not hold what it must, or would be named by the flags of a component that could not be
    /// read.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let untold = self.discovery.untold.iter().map(|(_, why)| why);
        let mut all: Vec<_> = self.lost().map(|lost| &lost.why).chain(&self.unread).chain(untold).cloned().collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Every file, folder or manifest that is missing from a view of this PKI, once for each reason.
    #[must_use]
    pub fn source_errors(&self) -> Vec<SourceError> {
        let mut all = Vec::new();
        for lost in self.lost() {
            let file = self.store.get(&lost.file);
            let embedded = file.is_some_and(|file| file.kubeconfig.is_some());
            let reason = match file.map(|file| &file.contents) {
                _ if !lost.there && file.is_some_and(|file| file.link.is_some()) => "broken_symlink",
                Some(Fact::Absent(_)) | None => "not_found",
                Some(Fact::Unreadable(why)) => unreadable(why),
                Some(Fact::Known(_)) if embedded => "decode_failed",
                Some(Fact::Known(contents)) if contents.malformed.is_empty() => "no_certificate_found",
                Some(_) => "bad_pem",
            };
            let kubeconfig = self.discovery.kubeconfigs.iter().any(|one| one.file == lost.file);
            all.push(SourceError { kubeconfig, reason, file: Some(lost.file.clone()) });
        }
        let whys = self.unread.iter().filter(|why| self.lost().all(|lost| lost.why != **why));
        let untold = self.discovery.untold.iter().map(|(_, why)| why).filter(|why| !self.unread.contains(why));
        let walk = |why: &String| if self.discovery.unread.contains(why) { "walk_error" } else { "read_failed" };
        let reason = |why: &String| Some(unreadable(why)).filter(|&one| one != "read_failed").unwrap_or(walk(why));
        all.extend(whys.chain(untold).map(|why| SourceError { kubeconfig: false, reason: reason(why), file: None }));
        let mut seen = BTreeSet::new();
        all.retain(|one| one.file.is_none() || seen.insert(one.clone()));
        all
    }
}

/// Why something is missing from a view, by the names that x509-certificate-exporter has for it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceError {
    /// Is it a kubeconfig?
    pub kubeconfig: bool,
    /// The reason, such as `permission_denied`.
    pub reason: &'static str,
    /// The file, if it is one.
    pub file: Option<String>,
}

fn unreadable(why: &str) -> &'static str {
    if why.to_lowercase().contains("permission denied") { "permission_denied" } else { "read_failed" }
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

impl Facts {
    /// Is the private key of this certificate anywhere in the PKI?
    #[must_use]
    pub fn has_key_of(&self, certificate: &Certificate) -> bool {
        let keys = self.store.iter().filter_map(|file| file.contents.known()).flat_map(|contents| &contents.keys);
        keys.into_iter().any(|key| key.public.sha256 == certificate.public_key.sha256)
    }
}

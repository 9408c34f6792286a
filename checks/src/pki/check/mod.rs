//! The claims of the PKI suite, a file a family.

mod bundle;
mod certificate;
mod chain;
mod cluster;
mod constraints;
mod contents;
mod file;
mod flag;
mod key;
mod kubeconfig;
mod leak;
mod manifest;
mod plain;
mod public;
mod remedy;
mod revocation;
mod rights;
mod role;
mod san;
mod tls;
mod usage;
mod validity;

use super::discover::Role;
use super::facts::Facts;
use super::gap::{Gap, Part};
use super::tally::Tally;
use super::{Check, View, api, live};
use crate::check::{Remedy, Severity};
use crate::conclusion::Breach;

pub(crate) use validity::renew_kubelet_client;

const CERTIFICATES: &str = "https://kubernetes.io/docs/setup/best-practices/certificates/";
const KUBEADM: &str = "https://kubernetes.io/docs/tasks/administer-cluster/kubeadm/kubeadm-certs/";
const CIS: &str = "https://www.cisecurity.org/benchmark/kubernetes";
const RFC5280: &str = "https://www.rfc-editor.org/rfc/rfc5280";

/// The registry: every claim of the PKI suite, in the order in which they are listed and run.
#[must_use]
pub fn checks() -> Vec<Check> {
    let families = [
        file::checks,
        contents::checks,
        rights::checks,
        key::checks,
        certificate::checks,
        chain::checks,
        constraints::checks,
        bundle::checks,
        validity::checks,
        revocation::checks,
        role::checks,
        san::checks,
        usage::checks,
        manifest::checks,
        flag::checks,
        plain::checks,
        tls::checks,
        kubeconfig::checks,
        cluster::checks,
        leak::checks,
        live::checks,
        api::checks,
    ];
    let mut all: Vec<_> = families.into_iter().flat_map(|family| family()).collect();
    for remedy in all.iter_mut().flat_map(|check| &mut check.remedy).filter(|remedy| remedy.when.is_none()) {
        if remedy.commands.iter().any(|command| command.starts_with("kubeadm ")) {
            remedy.when = Some("if kubeadm made the PKI".to_owned());
        }
    }
    all
}

/// What a claim is about, and so what must be known for it to hold.
#[derive(Debug, Clone, Copy)]
enum Of {
    /// All certificates.
    Certificates,
    /// The certificates of some roles.
    Roles(&'static [Role]),
    /// Public keys: those of certificates and of service accounts.
    Keys,
    /// The keys of service accounts.
    ServiceAccounts,
    /// All keys, and the certificates that they belong to.
    Pairs,
    /// Kubeconfigs.
    Kubeconfigs,
    /// Revocation lists.
    Revocations,
    /// Something that files without a role tell, too.
    Other,
}

impl Of {
    /// Does it take what is not known here?
    fn takes(self, gap: &Gap) -> bool {
        let (part, role) = (gap.part, gap.role);
        let tokens = matches!(role, Some(Role::ServiceAccountKey | Role::ServiceAccountPublicKeys));
        match self {
            Self::Certificates => !matches!(part, Part::Key | Part::Revocations),
            Self::Roles(roles) => match part {
                Part::Certificates => role.is_none_or(|role| roles.contains(&role)),
                // It has somebody's certificate in it.
                Part::Kubeconfig => role.is_some_and(|role| roles.contains(&role)),
                Part::Key | Part::Revocations => false,
            },
            Self::Keys => !matches!(part, Part::Key | Part::Revocations) || tokens,
            Self::ServiceAccounts => part == Part::Key && tokens,
            Self::Pairs => part != Part::Revocations,
            Self::Kubeconfigs => part == Part::Kubeconfig,
            Self::Revocations => part == Part::Revocations,
            Self::Other => false,
        }
    }
}

/// A claim whose judge goes through `what` and counts.
///
/// Where a file, or the flags of a component, do not tell what the claim is about, a claim that otherwise holds is
/// undetermined.
fn claim(
    id: &str,
    title: &str,
    of: Of,
    what: &'static str,
    judge: impl Fn(&View<'_>, &mut Tally) + Send + Sync + 'static,
) -> Check {
    Check::new(id, title, move |view| {
        if let Some(nothing) = view.facts.there()? {
            return Ok(nothing);
        }
        let mut tally = Tally::default();
        judge(view, &mut tally);
        for gap in view.facts.gaps.iter().chain(&view.facts.untold).filter(|gap| gap.there && of.takes(gap)) {
            tally.unknown(&gap.why);
        }
        tally.conclude(what, &format!("there are no {what} here"))
    })
    .label("pki")
}

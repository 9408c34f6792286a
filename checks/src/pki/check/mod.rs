//! The claims of the PKI suite, a file a family.

mod certificate;
mod chain;
mod cluster;
mod file;
mod flag;
mod key;
mod kubeconfig;
mod rights;
mod role;
mod usage;
mod validity;

use super::facts::{Facts, Of};
use super::tally::Tally;
use super::{Check, View, api, live};
use crate::check::{Remedy, Severity};
use crate::conclusion::Breach;

const CERTIFICATES: &str = "https://kubernetes.io/docs/setup/best-practices/certificates/";
const KUBEADM: &str = "https://kubernetes.io/docs/tasks/administer-cluster/kubeadm/kubeadm-certs/";
const CIS: &str = "https://www.cisecurity.org/benchmark/kubernetes";
const RFC5280: &str = "https://www.rfc-editor.org/rfc/rfc5280";

/// The registry: every claim of the PKI suite, in the order in which they are listed and run.
#[must_use]
pub fn checks() -> Vec<Check> {
    let families = [
        file::checks,
        rights::checks,
        key::checks,
        certificate::checks,
        chain::checks,
        validity::checks,
        role::checks,
        usage::checks,
        flag::checks,
        kubeconfig::checks,
        cluster::checks,
        live::checks,
        api::checks,
    ];
    families.into_iter().flat_map(|family| family()).collect()
}

/// A claim whose judge goes through `what` and counts.
///
/// Where files of `of` could not be read, a claim that otherwise holds is undetermined.
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
        for unread in view.facts.unread.iter().filter(|unread| unread.of == of && of != Of::Other) {
            tally.unknown(unread.why.clone());
        }
        tally.conclude(what, &format!("there are no {what} here"))
    })
    .label("pki")
}

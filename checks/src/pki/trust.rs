//! Does a chain that a server presents lead to a CA that somebody trusts? By the rules of the Go that the cluster's
//! version of Kubernetes is built with.

use std::sync::Arc;

use super::View;
use super::x509::path::{Mode, Outcome, Pool, Request, Usage};
use super::x509::{Certificate, GoVersion};

/// Builds a path from the first certificate of `chain` to one of `roots`.
///
/// # Errors
/// Why there is none: what is wrong with the path that comes nearest.
pub(super) fn verify(chain: &[Arc<Certificate>], roots: &[Arc<Certificate>], view: &View<'_>) -> Result<(), String> {
    let (mode, time) = (Mode::Go(GoVersion::of_kubernetes(view.profile.kubernetes)), view.profile.now);
    let (leaf, others) = chain.split_first().ok_or("no certificate was presented")?;
    let (intermediates, roots) = (Pool::new(others.iter().cloned()), Pool::new(roots.iter().cloned()));
    let request =
        Request { leaf, intermediates: &intermediates, roots: &roots, usage: Usage::Server, names: &[], time };
    let outcome = request.verify(mode, &view.facts.signatures);
    let Outcome::Refused(refused) = outcome else { return Ok(()) };
    let problem = refused.paths.first().and_then(|path| {
        let problem = path.refusals(mode).next()?;
        Some(format!("{}: {}", path.certificates.get(problem.at)?.subject, problem.kind))
    });
    Err(problem.unwrap_or_else(|| "no path could be built".to_owned()))
}

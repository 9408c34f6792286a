//! What CAs and certificates on a path may do: constraints, usages, signatures.

use super::chain::{VERIFY, X509, each, reissue};
use super::*;
use crate::pki::x509::path::{Mode, Problem, ProblemKind};

/// A claim that is one kind of problem on the path.
fn problem(id: &str, title: &str, kind: fn(&Problem) -> bool) -> Check {
    each(id, title, move |one, view| {
        let problem = one.refusals(view).find(|problem| kind(problem))?;
        let authority = one.at(problem);
        Some(
            one.breach(format!("{} on its path {}", authority.subject, problem.kind))
                .found(authority.subject.to_string()),
        )
    })
}

/// The family's checks.
pub(super) fn checks() -> Vec<Check> {
    let rotate =
        || Remedy::new("Issue the CA anew with what is missing, keep its key, and put it in the place of the old one.");
    vec![
        problem("pki.chain.issuer-not-ca", "Every issuer on the path is a CA that may sign certificates", |problem| {
            matches!(problem.kind, ProblemKind::NotACa | ProblemKind::NoCertSign)
        })
        .severity(Severity::Critical)
        .alias("PKI-C04")
        .alias("x509: issuer has name that is no CA")
        .alias("parent certificate cannot sign this kind of certificate")
        .page(
            "What is signed by a certificate that is no CA is refused.",
            "Looks at the basic constraints \
                of every certificate above the first on the path. Go asks that of intermediate CAs; of trusted \
                ones see pki.chain.bundle-not-ca.",
        )
        .basis("RFC 5280 section 4.2.1.9: basic constraints", RFC5280)
        .remedy(rotate()),
        problem("pki.chain.path-length", "No CA exceeds its path length constraint", |problem| {
            matches!(problem.kind, ProblemKind::PathLen { .. })
        })
        .severity(Severity::Critical)
        .alias("PKI-C05")
        .alias("x509: too many intermediates for path length constraint")
        .page(
            "A company's CA that allows none below it cannot sign the cluster's.",
            "Counts the CAs below \
                each on the path and compares with its path length constraint.",
        )
        .basis("RFC 5280 section 4.2.1.9: basic constraints", RFC5280)
        .remedy(rotate()),
        problem("pki.chain.name-constraints", "No certificate violates the name constraints of its CAs", |problem| {
            matches!(problem.kind, ProblemKind::NameConstraint { .. } | ProblemKind::TooManyConstraints)
        })
        .severity(Severity::Critical)
        .alias("PKI-C06")
        .alias("x509: a root or intermediate certificate is not authorized to sign for this name")
        .page(
            "Go refuses the certificate for every name, if a single one is not permitted: 10.96.0.1 or \
                cluster.local under a company's CA is the usual one.",
            "Compares every SAN with the name \
                constraints of every CA on the path.",
        )
        .basis("RFC 5280 section 4.2.1.10: name constraints", RFC5280)
        .remedy(Remedy::new("Have the constraints widened, or use a CA of the cluster's own.")),
        problem("pki.chain.usage", "Every CA on the path allows the extended key usage", |problem| {
            problem.at > 0 && matches!(problem.kind, ProblemKind::Eku(_))
        })
        .severity(Severity::Critical)
        .alias("PKI-C07")
        .page(
            "A CA that lists purposes limits all that is below it: one for servers alone signs no clients.",
            "Compares \
                the extended key usages of the CAs on the path with what the certificate is used for.",
        )
        .basis("RFC 5280 section 4.2.1.12: extended key usage", RFC5280)
        .remedy(rotate()),
        each("pki.chain.key-id", "Key identifiers on the path agree", |one, _| {
            let problem = one.path.problems.iter().find(|problem| matches!(problem.kind, ProblemKind::AkiMismatch))?;
            // With a wrong key they must differ, and that is the finding.
            one.accepted.then(|| {
                let why = format!(
                    "{} on its path {}: Go accepts it, OpenSSL does not",
                    one.at(problem).subject,
                    problem.kind
                );
                one.breach(why)
            })
        })
        .severity(Severity::Medium)
        .alias("PKI-C03")
        .alias("authority and subject key identifier mismatch")
        .page(
            "kubectl works, and curl, Python and others say that the issuer cannot be found. A CA that was \
            issued anew with the same key and another identifier does this; k3s makes such certificates again.",
            "Compares \
            the authority key identifier of each certificate on the path with the subject key identifier of the \
            next.",
        )
        .basis("RFC 5280 section 4.2.1.1: authority key identifier", RFC5280)
        .remedy(reissue()),
        each("pki.chain.outlives-ca", "No certificate is valid for longer than its CA", |one, view| {
            let leaf = one.credential.leaf();
            let authority = one.path.certificates.get(1)?;
            // Of a CA that has ended another claim tells.
            (leaf.not_after > authority.not_after && authority.not_after >= view.profile.now).then(|| {
                one.breach(format!("it is valid until {}, and {} ends before that", leaf.not_after, authority.subject))
                    .found(leaf.not_after.to_string())
                    .wanted(format!("before {}", authority.not_after))
            })
        })
        .alias("PKI-C10")
        .page(
            "It ends with its CA, whatever it says itself, and whoever watches its end is surprised. kubeadm \
            makes such in the last year of a CA.",
            "Compares the ends.",
        )
        .basis("Certificate management with kubeadm", KUBEADM)
        .remedy(Remedy::new("Rotate the CA, then renew.").command("seaworthy pki plan")),
        each("pki.chain.refused", "Kubernetes accepts every certificate for all other reasons", |one, view| {
            if one.accepted {
                return None;
            }
            let why = match one.refusals(view).find(|problem| !one.has_claim(problem)) {
                Some(problem) => {
                    let others = if problem.rfc5280 { "" } else { ", RFC 5280 does not" };
                    format!("{} on its path {}: Go refuses it{others}", one.at(problem).subject, problem.kind)
                }
                None if one.refusals(view).next().is_none() => {
                    format!("Go gives up: too many certificates in {} could have signed it", one.bundle.file)
                }
                None => return None,
            };
            Some(one.breach(why))
        })
        .severity(Severity::Critical)
        .alias("PKI-C12")
        .alias("x509: cannot verify signature: algorithm unimplemented")
        .alias("x509: no valid chains built")
        .alias("x509: signature check attempts limit reached")
        .page(
            "Whoever it is shown to in the cluster refuses it, though openssl verify may be content: a CA that \
                was issued anew with its name as UTF8String instead of PrintableString has lost all that it has \
                signed.",
            "Verifies every certificate by the rules of Go's crypto/x509, and tells what no other claim of this \
                family does: the name of the CA in other bytes, a signature that cannot be verified by the CA's \
                key, a policy that is required and missing, more possible issuers than Go tries.",
        )
        .basis(VERIFY, X509)
        .remedy(Remedy::new("Issue the CA anew from its key with its name in the same bytes as before."))
        .remedy(reissue()),
        each("pki.chain.engines", "Verifiers other than Go's accept the certificates, too", |one, view| {
            if !one.accepted {
                return None;
            }
            match one.path.refusals(Mode::Rfc5280).find(|problem| !one.has_claim(problem)) {
                Some(problem) => Some(one.breach(format!(
                    "{} on its path {}: Go accepts it, RFC 5280 does not",
                    one.at(problem).subject,
                    problem.kind
                ))),
                None => one
                    .refused_by_webpki(view)
                    .map(|why| one.breach(format!("Go accepts it, and clients that use rustls do not: {why}"))),
            }
        })
        .severity(Severity::Medium)
        .alias("PKI-C12")
        .page(
            "kubectl works, while clients in Rust, Java, Python or C refuse the cluster: Go's verifier is \
            lenient in places.",
            "Verifies what Go accepts by RFC 5280 and with rustls-webpki, too.",
        )
        .basis("RFC 5280 section 6: certification path validation", RFC5280)
        .remedy(reissue()),
    ]
}

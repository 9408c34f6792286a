//! Claims about certificate requests: who waits, who was refused, what is asked for and of whom, and what was issued
//! and ends.
//!
//! The controller manager deletes requests: within an hour after they were decided, within a day while they wait
//! (Kubernetes: pkg/controller/certificates/cleaner). What is seen is recent, or nobody cleans up.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::SignedDuration;
use x509_parser::prelude::{FromDer as _, X509CertificationRequest};

use super::{SigningRequest, claim, need};
use crate::check::{Remedy, Severity};
use crate::conclusion::Breach;
use crate::pki::live::day;
use crate::pki::tally::Tally;
use crate::pki::x509::{Certificate, Name};
use crate::pki::{Check, View};

const REQUESTS: &str = "https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/";
const CERTIFICATES: &str = "https://kubernetes.io/docs/setup/best-practices/certificates/";

/// How long a request may wait for who approves it.
const WAIT: SignedDuration = SignedDuration::from_hours(1);
const MASTERS: &str = "system:masters";

/// Signers that are known: those of Kubernetes, of Amazon EKS, of OpenShift's network operator and of Calico's
/// operator.
const SIGNERS: [&str; 7] = [
    "kubernetes.io/kube-apiserver-client",
    "kubernetes.io/kube-apiserver-client-kubelet",
    "kubernetes.io/kubelet-serving",
    "kubernetes.io/legacy-unknown",
    "beta.eks.amazonaws.com/app-serving",
    "network.openshift.io/signer",
    "tigera.io/operator-signer",
];
/// What the names of cert-manager's signers begin with; that of the issuer follows.
const ISSUERS: [&str; 2] = ["issuers.cert-manager.io/", "clusterissuers.cert-manager.io/"];

fn requests<'a>(view: &View<'a>, tally: &mut Tally) -> &'a [SigningRequest] {
    need(&view.facts.api.requests, tally).map(Vec::as_slice).unwrap_or_default()
}

fn pending(view: &View<'_>, tally: &mut Tally) {
    for request in requests(view, tally) {
        tally.look();
        let decided = !request.conditions.is_empty() || request.certificate.is_some();
        let age = request.created.map(|created| view.profile.now.duration_since(created)).unwrap_or_default();
        if !decided && age > WAIT {
            let message = format!(
                "the request {} of {} to {} has waited for {} hours: nobody approves it",
                request.name,
                request.user,
                request.signer,
                age.as_hours()
            );
            tally.breach(Breach::new(subject(request), message).found("pending").wanted("approved or denied"));
        } else if request.is("Failed") {
            let message = format!("the request {} of {} was approved and not signed", request.name, request.user);
            tally.breach(Breach::new(subject(request), message).found("failed").wanted("a certificate"));
        }
    }
}

/// The organizations in a request: the groups that its owner is to have.
fn organizations(request: &SigningRequest) -> Option<Vec<String>> {
    let pem = STANDARD.decode(&request.request).ok()?;
    let (_, pem) = x509_parser::pem::parse_x509_pem(&pem).ok()?;
    let (_, parsed) = X509CertificationRequest::from_der(&pem.contents).ok()?;
    let subject = Name::read(parsed.certification_request_info.subject.as_raw())?;
    Some(subject.organizations().map(str::to_owned).collect())
}

fn masters(view: &View<'_>, tally: &mut Tally) {
    for request in requests(view, tally) {
        tally.look();
        let Some(groups) = organizations(request) else {
            tally.unknown(format!("what is requested in {} cannot be read", request.name));
            continue;
        };
        if groups.iter().any(|group| group == MASTERS) && !request.is("Denied") {
            let state = if request.certificate.is_some() { "has got" } else { "asks for" };
            let message = format!(
                "{} {state} a certificate of {MASTERS}, which no rule of RBAC restrains and nothing revokes",
                request.user
            );
            tally.breach(Breach::new(subject(request), message).found(groups.join(", ")));
        }
    }
}

fn subject(request: &SigningRequest) -> String {
    format!("CertificateSigningRequest {}", request.name)
}

fn denied(view: &View<'_>, tally: &mut Tally) {
    for request in requests(view, tally) {
        tally.look();
        if request.is("Denied") {
            let message = format!("the request {} of {} to {} was denied", request.name, request.user, request.signer);
            tally.breach(Breach::new(subject(request), message).found("denied"));
        }
    }
}

/// Does the last certificate that somebody was issued end soon?
fn last(view: &View<'_>, tally: &mut Tally) {
    let mut newest: BTreeMap<_, (&SigningRequest, Certificate)> = BTreeMap::new();
    for request in requests(view, tally) {
        let Some(certificate) = request.issued() else { continue };
        tally.look();
        let owner = (request.signer.as_str(), certificate.subject.der.clone());
        let newer = newest.get(&owner).is_none_or(|(_, other)| other.not_after < certificate.not_after);
        if newer {
            newest.insert(owner, (request, certificate));
        }
    }
    let now = view.profile.now;
    for (request, certificate) in newest.into_values() {
        if view.profile.lifetimes.is_due(certificate.not_before, certificate.not_after, now) {
            let days = certificate.not_after.duration_since(now).as_hours() / 24;
            let message = format!(
                "the certificate of request {}, {}, expires in {days} days, and no newer one was asked for",
                request.name, certificate.subject
            );
            tally.breach(
                Breach::new(subject(request), message)
                    .found(day(certificate.not_after))
                    .wanted("a request for the next one"),
            );
        }
    }
}

fn signers(view: &View<'_>, tally: &mut Tally) {
    for request in requests(view, tally) {
        tally.look();
        let signer = request.signer.as_str();
        if !SIGNERS.contains(&signer) && !ISSUERS.iter().any(|issuer| signer.starts_with(issuer)) {
            let message = format!(
                "the request {} of {} is to {signer}, a signer that is not widely known",
                request.name, request.user
            );
            tally.breach(Breach::new(subject(request), message).found(signer).wanted("a signer of Kubernetes"));
        }
    }
}

/// The claims about certificate requests.
pub(super) fn checks() -> Vec<Check> {
    vec![
        claim("pki.api.requests-decided", "no certificate request waits", "certificate requests", pending)
            .severity(Severity::Medium)
            .alias("PKI-K11")
            .alias("PKI-R15")
            .alias("serverTLSBootstrap")
            .page(
                "A kubelet whose request is not approved serves no certificate, or one that is about to end. Requests \
                 for serving certificates are approved by nobody unless somebody sees to it.",
                "Looks for requests without a decision for an hour, and for approved ones without a certificate.",
            )
            .basis("Certificates and certificate signing requests", REQUESTS)
            .remedy(
                Remedy::new("Look at it, and decide.")
                    .command("kubectl certificate approve NAME")
                    .command("kubectl certificate deny NAME"),
            ),
        claim(
            "pki.api.requests-masters",
            "nobody asks for a certificate of system:masters",
            "certificate requests",
            masters,
        )
        .alias("PKI-K11")
        .alias("system:masters")
        .page(
            "Such a certificate is an administrator until it ends, whatever RBAC says, and it cannot be revoked.",
            "Reads the organizations in each request.",
        )
        .basis("PKI certificates and requirements: system:masters", CERTIFICATES)
        .remedy(
            Remedy::new("Deny it; if it was signed, the CA must be replaced to get rid of it.")
                .command("kubectl certificate deny NAME"),
        ),
        claim("pki.api.requests-denied", "no certificate request was denied", "certificate requests", denied)
            .severity(Severity::Info)
            .alias("PKI-K11")
            .alias("CertificateDenied")
            .page(
                "Whoever asked goes without, and may ask again. A request that nobody expected is worth knowing: \
                 somebody who can make requests tries what else they get.",
                "Looks for requests with the condition Denied. They stay for an hour.",
            )
            .basis("Certificates and certificate signing requests: approval or rejection", REQUESTS)
            .remedy(Remedy::new("Ask who made it, and why.").command("kubectl describe csr NAME")),
        claim(
            "pki.api.requests-renewed",
            "who was issued a certificate by request asks for the next one in time",
            "issued certificates",
            last,
        )
        .severity(Severity::Medium)
        .alias("PKI-K11")
        .alias("kubectl get csr")
        .page(
            "A certificate that was issued by request is renewed by another request, by the kubelet itself, for people \
             by nobody.",
            "Looks, among the certificates that are still in requests, for the one of each signer and subject that \
             lasts longest, and compares its end with the time of the audit and --expiry-warn.",
        )
        .basis("Certificates and certificate signing requests", REQUESTS)
        .remedy(
            Remedy::new(
                "Have its owner ask for another one; see that a kubelet may (rotateCertificates, serverTLSBootstrap).",
            )
            .command("kubectl get csr --sort-by=.metadata.creationTimestamp"),
        ),
        claim(
            "pki.api.requests-signer",
            "every certificate request is to a signer that is known",
            "certificate requests",
            signers,
        )
        .severity(Severity::Info)
        .alias("PKI-K11")
        .alias("signerName")
        .page(
            "Of a signer of one's own somebody must know who signs, whose CA that is, and who trusts it. One that is \
             misspelt waits for ever.",
            "Compares signerName with the signers of Kubernetes, cert-manager, Amazon EKS, OpenShift and Calico. If it \
             is yours, waive it.",
        )
        .basis("Certificates and certificate signing requests: signers", REQUESTS)
        .remedy(Remedy::new("Find out who signs for it, and who trusts the CA.").command(
            "kubectl get csr -o custom-columns=NAME:.metadata.name,SIGNER:.spec.signerName,USER:.spec.username",
        )),
    ]
}

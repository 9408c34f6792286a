//! Chains: that each certificate leads to a CA by which whoever it is shown to verifies it, and why not.
//!
//! The verifier explains: every problem of the path that comes nearest is mapped to one claim, so that one defect is
//! one finding. What a problem is and who refuses for it is the verifier's to say.

use std::sync::Arc;

use super::*;
use crate::pki::discover::{Kind, Role};
use crate::pki::facts::{Bundle, Credential};
use crate::pki::live::made_at;
use crate::pki::store::Held;
use crate::pki::x509::lint::{KeyLint, lint_key};
use crate::pki::x509::path::{self, Mode, Outcome, Pool, Problem, ProblemKind, Request, Usage};
use crate::pki::x509::{Certificate, GoVersion, Hash};

/// A certificate, by which bundle it is verified, and the path that counts: the accepted one, or the one that comes
/// nearest.
pub(super) struct Verified<'f> {
    pub(super) credential: &'f Credential,
    pub(super) bundle: &'f Bundle,
    pub(super) path: path::Path,
    pub(super) accepted: bool,
}

impl Verified<'_> {
    /// The problems for which Kubernetes refuses it.
    pub(super) fn refusals(&self, view: &View<'_>) -> impl Iterator<Item = &Problem> {
        self.path.refusals(Mode::Go(GoVersion::of_kubernetes(view.profile.kubernetes)))
    }

    /// For what a newer Go refuses it that is accepted now, and which certificate of its path that is about. What is
    /// malformed aside, which is seen without a path.
    pub(super) fn newly_refused(&self, next: GoVersion, view: &View<'_>) -> Option<(&Certificate, &Problem)> {
        let now = GoVersion::of_kubernetes(view.profile.kubernetes);
        let mut new = self.path.problems.iter().filter(|problem| problem.newly_refused(now, next));
        let problem = new.find(|problem| !matches!(problem.kind, ProblemKind::Malformed(_)))?;
        let (intermediates, roots) = (pool(&self.credential.chain[1..]), pool(&self.bundle.certificates));
        let request = request(self.credential, &intermediates, &roots, view);
        let other_path = || request.verify(Mode::Go(next), &view.facts.signatures).is_accepted();
        (self.accepted && !other_path()).then(|| (self.at(problem), problem))
    }

    pub(super) fn breach(&self, message: String) -> Breach {
        let one = self.credential;
        Breach::new(&one.file, format!("{}: {message}", one.file)).at(&one.file, one.line())
    }

    /// Why rustls refuses what Go accepts. Certificates with a defect, or without extensions, have claims of their own.
    pub(super) fn refused_by_webpki(&self, view: &View<'_>) -> Option<String> {
        let plain = |one: &Arc<Certificate>| one.defects.is_empty() && one.version == 3;
        if !self.path.certificates.iter().all(plain) || self.path.refusals(Mode::Rfc5280).next().is_some() {
            return None;
        }
        let (intermediates, roots) = (pool(&self.credential.chain[1..]), pool(&self.bundle.certificates));
        let request = request(self.credential, &intermediates, &roots, view);
        path::webpki::verify(&request).err().map(|rejected| rejected.to_string())
    }

    /// Has the problem a claim of its own? Then it is not said twice.
    pub(super) fn has_claim(&self, problem: &Problem) -> bool {
        // What is not verified here for its size or its curve Go may verify; of the key another claim tells.
        let odd_key = |issuer: &Arc<Certificate>| {
            let odd = |lint: &KeyLint| matches!(lint, KeyLint::RsaSize(..2048 | 8193..) | KeyLint::Curve);
            lint_key(&issuer.public_key).iter().any(odd)
        };
        // Of a CA that has not signed it, it matters nothing how its name is written.
        let unsigned = |at: usize| {
            let of_key =
                |kind: &ProblemKind| matches!(kind, ProblemKind::SameSubjectOtherKey | ProblemKind::WrongSignature);
            self.path.problems.iter().any(|other| other.at == at && of_key(&other.kind))
        };
        match problem.kind {
            ProblemKind::IssuerEncoding => unsigned(problem.at),
            ProblemKind::EmptyEku | ProblemKind::NoPolicy | ProblemKind::TooLong => false,
            ProblemKind::UnsupportedSignature => {
                weak_signature(self.at(problem)) || self.path.certificates.get(problem.at + 1).is_some_and(odd_key)
            }
            _ => true,
        }
    }

    /// The certificate on the path that a problem is about.
    pub(super) fn at(&self, problem: &Problem) -> &Certificate {
        &self.path.certificates[problem.at.min(self.path.certificates.len() - 1)]
    }
}

/// Verifies every certificate that somebody verifies.
pub(super) fn verified<'f>(view: &View<'f>) -> Vec<Verified<'f>> {
    let mode = Mode::Go(GoVersion::of_kubernetes(view.profile.kubernetes));
    let mut all = Vec::new();
    for credential in &view.facts.credentials {
        let Some(bundle) = view.facts.verifier_of(credential) else { continue };
        let (intermediates, roots) = (pool(&credential.chain[1..]), pool(&bundle.certificates));
        let request = request(credential, &intermediates, &roots, view);
        let outcome = request.verify(mode, &view.facts.signatures);
        let accepted = outcome.is_accepted();
        let path = match outcome {
            Outcome::Accepted(path) => Some(path),
            Outcome::Refused(refused) => refused.paths.into_iter().next(),
        };
        all.extend(path.map(|path| Verified { credential, bundle, path, accepted }));
    }
    all
}

fn pool(held: &[Held]) -> Pool {
    Pool::new(held.iter().map(|held| Arc::clone(&held.certificate)))
}

fn request<'a>(credential: &'a Credential, intermediates: &'a Pool, roots: &'a Pool, view: &View<'_>) -> Request<'a> {
    let usage = match credential.role.kind() {
        Kind::Client => Usage::Client,
        _ => Usage::Server,
    };
    Request { leaf: credential.leaf(), intermediates, roots, usage, names: &[], time: view.profile.now }
}

/// A claim about every certificate that somebody verifies.
pub(super) fn each(
    id: &str,
    title: &str,
    judge: impl Fn(&Verified<'_>, &View<'_>) -> Option<Breach> + Send + Sync + 'static,
) -> Check {
    claim(id, title, Of::Certificates, "certificates that somebody verifies", move |view, tally| {
        for one in verified(view) {
            tally.look();
            if let Some(breach) = judge(&one, view) {
                tally.breach(breach);
            }
        }
    })
    .label("chain")
}

/// Why a certificate does not lead to the CA that it must lead to.
#[derive(Debug)]
enum Astray<'f> {
    /// Another CA that is known here has signed it.
    Other(&'f Bundle),
    /// A CA that is not known here has.
    Unknown,
    /// A CA of the same name with another key has: which certificate that is, and the namesake.
    Rotated(Arc<Certificate>, Arc<Certificate>),
    /// What lies between it and the CA is missing.
    Intermediate(&'f Bundle),
    /// It was changed after it was signed.
    Changed,
}

/// Is a CA of this file one that the controller manager signs by, and that the file of clients does not trust?
fn signs_untrusted(bundle: &Bundle, clients: &Bundle, view: &View<'_>) -> bool {
    let signing = view.facts.bundles.iter().filter(|one| one.role == Role::SigningCa);
    let first = signing.filter_map(|one| one.certificates.first()).map(|held| &held.certificate);
    let here = |one: &&Arc<Certificate>| {
        bundle.certificates.iter().any(|held| held.certificate.public_key.sha256 == one.public_key.sha256)
    };
    first.filter(here).any(|one| !super::role::trusts(clients, one, view))
}

/// Is it signed with what nobody verifies any more? That is said of the certificate.
fn weak_signature(certificate: &Certificate) -> bool {
    matches!(certificate.signature_algorithm.scheme.hash(), Some(Hash::Sha1 | Hash::Md5))
}

fn astray<'f>(one: &Verified<'_>, view: &View<'f>) -> Option<Astray<'f>> {
    let problem = one.refusals(view).find(|problem| {
        matches!(
            problem.kind,
            ProblemKind::NoIssuer(_)
                | ProblemKind::UntrustedRoot
                | ProblemKind::WrongSignature
                | ProblemKind::SameSubjectOtherKey
                | ProblemKind::IssuerName
        )
    })?;
    let last = one.at(problem);
    if weak_signature(last) {
        return None;
    }
    // Which CA has really signed it?
    let signed = |authority: &Arc<Certificate>| {
        authority.subject.der == last.issuer.der
            && authority.is_ca()
            && matches!(view.facts.signatures.check(last, &authority.public_key), path::Signature::Good)
    };
    let signer =
        view.facts.bundles.iter().find(|bundle| bundle.certificates.iter().any(|held| signed(&held.certificate)));
    Some(match (&problem.kind, signer) {
        (_, Some(bundle)) => {
            // An intermediate CA that leads to what is trusted, and does not stand where it must.
            let trusted = &one.bundle.certificates;
            let leads = bundle.certificates.iter().filter(|held| signed(&held.certificate)).any(|held| {
                let issuer = &held.certificate.issuer.der;
                !held.certificate.is_self_issued() && trusted.iter().any(|root| root.certificate.subject.der == *issuer)
            });
            if leads { Astray::Intermediate(bundle) } else { Astray::Other(bundle) }
        }
        (ProblemKind::SameSubjectOtherKey | ProblemKind::WrongSignature, None) => {
            let (child, namesake) = (&one.path.certificates[problem.at], one.path.certificates.get(problem.at + 1)?);
            let wanted = child.extensions.authority_key_id.as_ref().and_then(|id| id.key_id.as_deref());
            // Without identifiers nobody can tell one from the other, and far more CAs are replaced than certificates
            // changed.
            if wanted.is_some() && wanted == namesake.extensions.subject_key_id.as_deref() {
                Astray::Changed
            } else {
                Astray::Rotated(Arc::clone(child), Arc::clone(namesake))
            }
        }
        _ => Astray::Unknown,
    })
}

pub(super) fn reissue() -> Remedy {
    Remedy::new("Have the trusted CA sign the certificate again.")
}

/// How the certificates of a file are put in order.
fn order(one: &Credential) -> Remedy {
    Remedy::new(format!(
        "Write the certificates of {} in order: {} first, then the CA that signed it, and so on; restart {}.",
        one.file,
        one.leaf().subject,
        one.holder
    ))
    .command(format!(
        "openssl crl2pkcs7 -nocrl -certfile {} | openssl pkcs7 -print_certs -noout",
        remedy::quoted(&one.file)
    ))
}

pub(super) const X509: &str = "https://pkg.go.dev/crypto/x509#Certificate.Verify";
pub(super) const VERIFY: &str = "Go: crypto/x509, Certificate.Verify";

/// Distributions that write the root behind what is served: IAM of AWS, for one, takes its fingerprint from there.
const WITH_ROOTS: [&str; 5] = ["k3s", "RKE2", "Talos", "kops", "OpenShift"];

fn leading() -> Vec<Check> {
    vec![
        each("pki.chain.wrong-ca", "Every certificate is signed by the CA that verifies it", |one, view| {
            let (why, found) = match astray(one, view)? {
                // That the API server does not trust what the controller manager signs by is one finding, of
                // pki.ca.signing-trusted.
                Astray::Other(bundle)
                    if one.bundle.role == Role::ClientCa && signs_untrusted(bundle, one.bundle, view) =>
                {
                    return None;
                }
                Astray::Other(bundle) => (format!("it is signed by the CA of {}", bundle.file), bundle.file.clone()),
                Astray::Unknown => {
                    ("it is signed by a CA that is not known here".to_owned(), one.credential.leaf().issuer.to_string())
                }
                _ => return None,
            };
            let role = one.credential.role;
            let breach = one.breach(format!("{why}, and {role} is verified by {}", one.bundle.file));
            Some(breach.found(found).wanted(&one.bundle.file).remedy(remedy::renew(one.credential, view)))
        })
        .severity(Severity::Critical)
        .alias("PKI-C01")
        .alias("PKI-R07")
        .alias("PKI-R12")
        .alias("PKI-R22")
        .alias("x509: certificate signed by unknown authority")
        .page(
            "Whoever it is shown to refuses it.",
            "For each role it is known who verifies it, and by which bundle: the API server's serving \
                certificate by --root-ca-file, its client certificate for etcd by etcd's --trusted-ca-file. \
                Go's rules of the Kubernetes version decide.",
        )
        .basis("PKI certificates and requirements: all certificates", CERTIFICATES)
        .remedy(reissue()),
        each("pki.chain.ca-rotated", "No certificate is signed by a replaced CA of the same name", |one, view| {
            let Astray::Rotated(child, namesake) = astray(one, view)? else { return None };
            let id = |id: Option<&[u8]>| {
                id.map_or("none".to_owned(), |id| id.iter().map(|byte| format!("{byte:02x}")).collect())
            };
            let signer = child.extensions.authority_key_id.as_ref().and_then(|id| id.key_id.as_deref());
            let trusted =
                one.bundle.certificates.iter().any(|held| held.certificate.fingerprint == namesake.fingerprint);
            let place = if trusted { one.bundle.file.clone() } else { format!("{} behind it", namesake.subject) };
            let whose = if child.fingerprint == one.credential.leaf().fingerprint {
                "its CA".to_owned()
            } else {
                format!("the CA of {}", child.subject)
            };
            let message = format!(
                "{place} has the name of {whose} and another key: the CA was replaced, and \
                this was not made again"
            );
            let wanted = format!("key {}", id(namesake.extensions.subject_key_id.as_deref()));
            let breach = one.breach(message).found(format!("key {}", id(signer))).wanted(wanted);
            Some(breach.remedy(remedy::renew(one.credential, view)))
        })
        .severity(Severity::Critical)
        .alias("PKI-C02")
        .alias("crypto/rsa: verification error")
        .alias("while trying to verify candidate authority certificate \"kubernetes\"")
        .page(
            "The names agree and the signature does not, which makes for the most puzzling of Go's messages.",
            "Compares the CA of the same name with the one that signed: its signature, and the key identifiers.",
        )
        .basis(VERIFY, X509)
        .remedy(reissue()),
        each("pki.chain.signature", "No certificate was changed after it was signed", |one, view| {
            matches!(astray(one, view)?, Astray::Changed).then(|| {
                let why = "it was changed after the CA that its key identifier names had signed it".to_owned();
                one.breach(why).remedy(remedy::renew(one.credential, view))
            })
        })
        .severity(Severity::Critical)
        .alias("x509: ECDSA verification failure")
        .page(
            "It is refused. A bad disk or a bad editor does this; so does somebody who should not.",
            "Verifies the signature of every certificate on the path.",
        )
        .basis(VERIFY, X509)
        .remedy(reissue()),
        each("pki.chain.intermediate", "Every certificate file includes its intermediate CAs", |one, view| {
            let Astray::Intermediate(bundle) = astray(one, view)? else { return None };
            let file = &one.credential.file;
            let why = format!(
                "the intermediate CA that signed it is in {} and not in {file}: {} alone does not verify it",
                bundle.file, one.bundle.file
            );
            let remedy =
                Remedy::new(format!("Append the intermediate CA to {file} and restart {}.", one.credential.holder))
                    .command(format!("cat {} >> {}", remedy::quoted(&bundle.file), remedy::quoted(file)));
            Some(one.breach(why).remedy(remedy))
        })
        .alias("PKI-C08")
        .alias("k/k#60713")
        .page(
            "Whoever knows the root alone refuses it. That it works with kubectl says nothing: the kubeconfig \
            may hold the intermediate.",
            "Looks for the CA that signed it behind it in its file and in the \
            bundle that verifies it.",
        )
        .basis(VERIFY, X509)
        .remedy(Remedy::new("Append the intermediate CA to the file of the certificate.")),
        claim(
            "pki.chain.order",
            "Certificate files are in chain order",
            Of::Certificates,
            "files with a chain",
            |view, tally| {
                for one in view.facts.credentials.iter().filter(|one| one.chain.len() > 1) {
                    tally.look();
                    if one.misplaced {
                        let message = format!(
                            "{}: the first certificate is not the one that the key belongs to, {}: {} does not start",
                            one.file,
                            one.leaf().subject,
                            one.holder
                        );
                        let breach = Breach::new(&one.file, message).at(&one.file, one.line());
                        tally.breach(breach.severity(Severity::Critical).remedy(order(one)));
                        continue;
                    }
                    let broken = one.chain.windows(2).find(|pair| {
                        let (lower, upper) = (&pair[0].certificate, &pair[1].certificate);
                        lower.issuer.der != upper.subject.der && lower.fingerprint != upper.fingerprint
                    });
                    if let Some([lower, upper]) = broken {
                        let message = format!(
                            "{}: {} is followed by {}, which did not sign it",
                            one.file, lower.certificate.subject, upper.certificate.subject
                        );
                        tally
                            .breach(Breach::new(&one.file, message).at(&one.file, Some(upper.line)).remedy(order(one)));
                    }
                }
            },
        )
        .severity(Severity::Medium)
        .label("chain")
        .alias("PKI-C08")
        .page(
            "TLS 1.2 asks for the order, and Go takes the first certificate for the server's own. Some \
            clients sort, some refuse.",
            "Compares the issuer of each certificate in a file with the subject of \
            the next.",
        )
        .basis("RFC 5246 section 7.4.2: the certificate chain", "https://www.rfc-editor.org/rfc/rfc5246#section-7.4.2")
        .remedy(Remedy::new("Write the certificate first, then the CA that signed it, and so on.")),
        claim(
            "pki.chain.root",
            "No certificate file includes the root CA",
            Of::Certificates,
            "certificates that are presented",
            |view, tally| {
                if view.facts.discovery.layouts.iter().any(|layout| WITH_ROOTS.contains(&layout.name)) {
                    return;
                }
                for one in view.facts.credentials.iter().filter(|one| made_at(one.leaf()).is_none() && !one.misplaced) {
                    tally.look();
                    let mut behind = one.chain[1..].iter();
                    if let Some(root) = behind.find(|held| view.facts.signatures.is_root(&held.certificate)) {
                        let message = format!(
                            "{}: {} stands behind the certificate, and whoever trusts it has it already",
                            one.file, root.certificate.subject
                        );
                        tally.breach(
                            Breach::new(&one.file, message).at(&one.file, Some(root.line).filter(|line| *line > 0)),
                        );
                    }
                }
            },
        )
        .severity(Severity::Info)
        .label("chain")
        .alias("PKI-C08")
        .alias("self-signed certificate in certificate chain")
        .page(
            "It goes over the wire with every handshake and helps nobody: a root is trusted because it is \
                known, not because it is sent. It also hides a bundle that is missing: openssl then says \
                'self-signed certificate in certificate chain'.",
            "Looks behind each certificate in its file for one that is signed by its own key. k3s, RKE2, Talos, \
                kops and OpenShift write their files so and are not judged, nor is a certificate that a \
                component made when it started. Where AWS's IAM trusts the cluster's tokens it takes the root's \
                fingerprint from what the API server presents: then leave it.",
        )
        .basis(
            "RFC 5246 section 7.4.2: the root may be omitted from the chain",
            "https://www.rfc-editor.org/rfc/rfc5246#section-7.4.2",
        )
        .remedy(Remedy::new("Take it out of the file: the certificate stays, and the intermediate CAs behind it.")),
    ]
}

/// The family's checks.
pub(super) fn checks() -> Vec<Check> {
    leading()
}

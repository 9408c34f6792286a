//! The structure of certificates: what Go refuses to parse, what others refuse, and what the next version will.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::pki::reader::Reader;
use crate::pki::store::Held;
use crate::pki::x509::lint::{KeyLint, Lint, NameFault, lint, lint_key};
use crate::pki::x509::{Certificate, Defect, Fingerprint, Flaw, GoVersion, Hash, Part, Refusal};
use crate::profile::KubernetesVersion;

const PARSER: &str = "Go: crypto/x509, ParseCertificate";
const PARSER_URL: &str = "https://pkg.go.dev/crypto/x509#ParseCertificate";
const GODEBUG: &str = "https://go.dev/doc/godebug";

/// The first version of Go that does not verify signatures with SHA-1.
const SHA_1: GoVersion = GoVersion::new(18);
/// The versions of Go that refuse RSA keys of fewer than 1024 bits (GODEBUG rsa1024min).
pub(super) const RSA_1024: Refusal = Refusal::Since(GoVersion::new(24));

fn breach(file: &str, held: &Held, message: &str) -> Breach {
    let message = format!("{file}: {} {message}", held.certificate.subject);
    Breach::new(file, message).at(file, Some(held.line).filter(|line| *line > 0))
}

/// A claim about every certificate with a role.
fn each(
    id: &str,
    title: &str,
    judge: impl Fn(&Certificate, &View<'_>) -> Option<String> + Send + Sync + 'static,
) -> Check {
    claim(id, title, Of::Certificates, "certificates", move |view, tally| {
        for (file, held) in view.facts.certificates() {
            tally.look();
            if let Some(message) = judge(&held.certificate, view) {
                tally.breach(breach(file, held, &message));
            }
        }
    })
    .label("certificate")
}

/// A claim that no certificate has one of these lints. What Go refuses to parse is told by a claim of [`refused`].
fn no(id: &str, title: &str, is: fn(&Lint) -> bool) -> Check {
    each(id, title, move |one, view| {
        let now = go(view).0;
        // One that Go refuses has to be made anew whatever else is wrong with how it is written.
        let refused = one.refused_by(now).next().is_some();
        lint(one, now).iter().find(|lint| is(lint) && !(refused && lint.is_of_encoding())).map(Lint::to_string)
    })
}

/// A claim that Go, as this version of Kubernetes is built with it, refuses to parse no certificate for one of these
/// defects.
fn refused(id: &str, title: &str, is: fn(&Defect) -> bool) -> Check {
    claim(id, title, Of::Certificates, "certificates", move |view, tally| {
        let (now, _) = go(view);
        let over = passed_over(view, now);
        for (file, held) in view.facts.certificates() {
            tally.look();
            let one = &held.certificate;
            let defect = one.refused_by(now).find(|defect| is(defect)).filter(|_| !over.contains(&one.fingerprint));
            if let Some(defect) = defect {
                let kubernetes = view.profile.kubernetes;
                tally.breach(breach(
                    file,
                    held,
                    &format!("cannot be parsed by {now} of Kubernetes {kubernetes}: {defect}"),
                ));
            }
        }
    })
    .label("certificate")
    .severity(Severity::Critical)
}

/// Certificates that Go cannot parse, and whose readers all pass over them and take others beside them: that is
/// pki.file.passed-over.
fn passed_over(view: &View<'_>, go: GoVersion) -> BTreeSet<Fingerprint> {
    let (mut over, mut needed) = (BTreeSet::new(), BTreeSet::new());
    let mut sort = |pool: bool, all: &[Held]| {
        let broken = |held: &&Held| held.certificate.refused_by(go).next().is_some();
        let into = if pool && all.iter().any(|held| !broken(&held)) { &mut over } else { &mut needed };
        into.extend(all.iter().filter(broken).map(|held| held.certificate.fingerprint));
    };
    for bundle in &view.facts.bundles {
        sort(Reader::of(bundle.role) == Some(Reader::Pool), &bundle.certificates);
    }
    view.facts.clients.iter().filter_map(|client| client.ca.as_ref()).for_each(|(_, all)| sort(true, all));
    view.facts.credentials.iter().for_each(|one| sort(false, &one.chain));
    over.difference(&needed).copied().collect()
}

const fn is_negative_serial(defect: &Defect) -> bool {
    matches!(defect.flaw, Flaw::NegativeSerial)
}

const fn is_duplicate_extension(defect: &Defect) -> bool {
    matches!((&defect.flaw, &defect.part), (Flaw::DuplicateExtension, Part::Extension(_)))
}

const fn is_algorithms_differ(defect: &Defect) -> bool {
    matches!(defect.flaw, Flaw::AlgorithmsDiffer)
}

/// The Go of the profile's version, and of the next one.
pub(super) fn go(view: &View<'_>) -> (GoVersion, GoVersion) {
    let KubernetesVersion(minor) = view.profile.kubernetes;
    (GoVersion::of_kubernetes(view.profile.kubernetes), GoVersion::of_kubernetes(KubernetesVersion(minor + 1)))
}

fn reissue() -> Remedy {
    Remedy::new("Have it made again, by kubeadm or by whatever made it in a newer version.")
        .command("kubeadm certs renew NAME")
}

/// kubeadm renews no CA.
fn reissue_ca() -> Remedy {
    Remedy::new("Nothing in the cluster needs it: leave it until the CA is rotated.")
        .command("seaworthy pki plan --within 3650")
}

fn parsing() -> Vec<Check> {
    vec![
        refused("pki.certificate.accepted", "Kubernetes of this version can parse every certificate", |defect| {
            !is_negative_serial(defect) && !is_duplicate_extension(defect) && !is_algorithms_differ(defect)
        })
        .alias("PKI-X01")
        .alias("x509: malformed")
        .page(
            "A component that cannot parse a certificate refuses it, and does not start if it is its own.",
            "Reads each certificate leniently and asks of each defect which versions of Go refuse it. Defects that are \
             common have claims of their own.",
        )
        .basis(PARSER, PARSER_URL)
        .remedy(reissue()),
        claim(
            "pki.certificate.next-version",
            "the next version of Kubernetes accepts every certificate, too",
            Of::Certificates,
            "certificates",
            |view, tally| {
                let (now, next) = go(view);
                let KubernetesVersion(minor) = view.profile.kubernetes;
                let verdict = format!(
                    "is accepted by Kubernetes {} and refused by {}",
                    view.profile.kubernetes,
                    KubernetesVersion(minor + 1)
                );
                for (file, held) in view.facts.certificates() {
                    tally.look();
                    let one = &held.certificate;
                    let parsed = one.refused_by(next).find(|defect| !defect.refused_by(now)).map(ToString::to_string);
                    let short = || {
                        let lints = lint_key(&one.public_key);
                        let new = RSA_1024.by(next) && !RSA_1024.by(now);
                        lints
                            .iter()
                            .find(|lint| new && matches!(lint, KeyLint::RsaSize(..1024)))
                            .map(|lint| format!("its key {lint}"))
                    };
                    if let Some(why) = parsed.or_else(short) {
                        tally.breach(breach(file, held, &format!("{verdict}: {why}")));
                    }
                }
                for one in chain::verified(view) {
                    if let Some((at, problem)) = one.newly_refused(next, view) {
                        tally.breach(one.breach(format!("{verdict}: {} on its path {}", at.subject, problem.kind)));
                    }
                }
            },
        )
        .label("certificate")
        .alias("PKI-W03")
        .page(
            "Go grows stricter with every version, and Kubernetes with it: an upgrade is when a certificate of ten \
             years ago stops to work.",
            "Compares what the Go of the profile's version refuses with what the Go of the next one does: negative \
             serial numbers since 1.32, duplicate extensions since 1.25, negative path lengths since 1.35. Verifies \
             what is accepted by the rules of the next one, too: SHA-1 is refused since 1.24, RSA keys below 1024 bits \
             and missing policies since 1.33.",
        )
        .basis("Go, Backwards Compatibility, and GODEBUG", GODEBUG)
        .remedy(reissue()),
        no("pki.certificate.version", "certificates are of X.509 version 3", |lint| {
            matches!(lint, Lint::OldVersion(_))
        })
        .severity(Severity::Medium)
        .alias("PKI-X02")
        .alias("certigo: X.509 v1")
        .page(
            "Before version 3 a certificate names no host and does not say whether it is a CA. Go takes one for a \
             client or a CA, and for no server.",
            "Looks at the version. A server's certificate without names is judged by pki.san.present.",
        )
        .basis("RFC 5280 section 4.1.2.1: version", RFC5280)
        .remedy(reissue()),
        refused("pki.certificate.serial-negative", "no serial number is negative", is_negative_serial)
            .alias("PKI-X03")
            .alias("x509: negative serial number")
            .page(
                "Kubernetes since 1.32 does not parse it, so that not even --insecure-skip-tls-verify helps. Tools \
                 that write random bytes without a leading zero make one half of the time.",
                "Looks at the sign of each serial number.",
            )
            .basis("Go, Backwards Compatibility, and GODEBUG: x509negativeserial", GODEBUG)
            .remedy(reissue()),
        refused("pki.certificate.duplicate-extension", "no certificate has an extension twice", is_duplicate_extension)
            .alias("PKI-X06")
            .alias("x509: certificate contains duplicate extensions")
            .page(
                "Go since 1.19 refuses to parse it, Kubernetes since 1.25.",
                "Compares the identifiers of the extensions.",
            )
            .basis(PARSER, PARSER_URL)
            .remedy(reissue()),
        refused(
            "pki.certificate.algorithms-differ",
            "the signature algorithm is the same inside and outside",
            is_algorithms_differ,
        )
        .alias("PKI-X07")
        .alias("x509: inner and outer signature algorithm identifiers don't match")
        .page(
            "It is refused by Go and by everybody who keeps to the RFC.",
            "Compares the algorithm in what is signed with the one beside the signature.",
        )
        .basis("RFC 5280 section 4.1.1.2: signatureAlgorithm", RFC5280)
        .remedy(reissue()),
        no(
            "pki.certificate.algorithm-parameters",
            "signature algorithms have the parameters that belong to them",
            |lint| matches!(lint, Lint::AlgorithmParameters(_)),
        )
        .severity(Severity::Low)
        .alias("PKI-X07")
        .page(
            "Some readers compare identifiers of algorithms byte by byte, and take one with a NULL too many for one \
             that they do not know.",
            "Looks at what stands beside the signature algorithm: NULL with RSA, nothing with ECDSA and Ed25519.",
        )
        .basis("RFC 4055 section 5, RFC 5758 section 3.2", "https://www.rfc-editor.org/rfc/rfc5758#section-3.2")
        .remedy(reissue()),
        no(
            "pki.certificate.trailing-data",
            "nothing stands behind what is read of a certificate",
            |lint| matches!(lint, Lint::Malformed(defect) if defect.refusal() == Refusal::Never),
        )
        .severity(Severity::Low)
        .alias("PKI-X01")
        .alias("trailing data")
        .page(
            "Go passes over such bytes, OpenSSL and others refuse the certificate.",
            "Looks for what is malformed in a certificate and refused by no version of Go: bytes behind an extension, \
             behind a key.",
        )
        .basis("X.690 section 11: DER", "https://www.itu.int/rec/T-REC-X.690")
        .remedy(reissue()),
        no("pki.certificate.time", "times are written as they must be", |lint| matches!(lint, Lint::Time(_)))
            .severity(Severity::Medium)
            .alias("PKI-X14")
            .page(
                "Go reads UTCTime and GeneralizedTime whatever the year is; others misread the wrong one by a century.",
                "Looks at the type and the form of notBefore and notAfter: UTCTime until 2049, GeneralizedTime from \
                 2050 on, Zulu time, seconds without fractions.",
            )
            .basis("RFC 5280 section 4.1.2.5: validity", RFC5280)
            .remedy(reissue()),
        no("pki.certificate.path-length", "path length constraints stand in CAs and are numbers", |lint| {
            matches!(lint, Lint::PathLength(_) | Lint::PathLengthWithoutCa)
        })
        .severity(Severity::Medium)
        .alias("PKI-X15")
        .page(
            "A negative one is refused by Go since 1.25, Kubernetes since 1.35; one outside of a CA is refused by \
             strict clients.",
            "Looks at the basic constraints.",
        )
        .basis("RFC 5280 section 4.2.1.9: basic constraints", RFC5280)
        .remedy(reissue()),
        no("pki.certificate.name", "names of subjects and issuers can be read", |lint| matches!(lint, Lint::Name(_)))
            .severity(Severity::Low)
            .alias("PKI-X19")
            .page(
                "The common name is the user, and the organizations are the groups: what cannot be read is another one \
                 for each reader.",
                "Looks at the strings of subject and issuer: their types, and what their types allow.",
            )
            .basis("RFC 5280 section 4.1.2.4: issuer", RFC5280)
            .remedy(reissue()),
    ]
}

fn content() -> Vec<Check> {
    vec![
        each("pki.certificate.serial-zero", "serial numbers are positive", |one, view| {
            let (now, next) = go(view);
            // What this version or the next one refuses is another finding.
            let plain =
                |lint: &&Lint| **lint == Lint::NegativeSerial && !lint.refused_by(now) && !lint.refused_by(next);
            lint(one, now).iter().find(|lint| **lint == Lint::ZeroSerial || plain(lint)).map(Lint::to_string)
        })
        .severity(Severity::Info)
        .alias("PKI-X04")
        .page(
            "client-go of old gave every CA the number 0; Go accepts it. Strict clients do not.",
            "Looks at the serial number.",
        )
        .basis("RFC 5280 section 4.1.2.2: serial number", RFC5280)
        .remedy(reissue_ca()),
        no("pki.certificate.serial-long", "serial numbers have 20 bytes at most", |lint| {
            matches!(lint, Lint::LongSerial(_))
        })
        .severity(Severity::Low)
        .alias("PKI-X04")
        .page(
            "Go accepts it: refusing was tried in 1.23 and taken back, as it broke too many private CAs. Others \
             refuse.",
            "Counts the bytes of the serial number.",
        )
        .basis("RFC 5280 section 4.1.2.2: serial number", RFC5280)
        .remedy(reissue()),
        claim(
            "pki.certificate.serial-repeated",
            "no CA has given the same serial number twice",
            Of::Certificates,
            "certificates",
            |view, tally| {
                let mut seen: BTreeMap<(Vec<u8>, Vec<u8>), &str> = BTreeMap::new();
                for (file, held) in view.facts.certificates() {
                    let one = &held.certificate;
                    tally.look();
                    if one.serial.is_zero() {
                        continue;
                    }
                    if let Some(first) = seen.insert((one.issuer.der.to_vec(), one.serial.0.to_vec()), file) {
                        tally.breach(breach(
                            file,
                            held,
                            &format!("has the serial number {}, as the one in {first} of the same issuer", one.serial),
                        ));
                    }
                }
            },
        )
        .severity(Severity::Medium)
        .label("certificate")
        .alias("PKI-X05")
        .alias("SEC_ERROR_REUSED_ISSUER_AND_SERIAL")
        .page(
            "NSS and Java take the second for a forgery of the first. Guides that say -set_serial 01 make such.",
            "Compares issuers and serial numbers of all certificates with a role.",
        )
        .basis("RFC 5280 section 4.1.2.2: serial number", RFC5280)
        .remedy(reissue()),
        each("pki.certificate.weak-signature", "no certificate is signed with SHA-1 or MD5", |one, view| {
            let (now, _) = go(view);
            let refused = |hash: &Hash| *hash == Hash::Md5 || now >= SHA_1;
            let lints = lint(one, now);
            let lint = lints.iter().find(|lint| matches!(lint, Lint::WeakHash(hash) if refused(hash)))?;
            Some(format!("{lint}, which {now} of Kubernetes {} does not verify", view.profile.kubernetes))
        })
        .severity(Severity::Critical)
        .alias("PKI-X08")
        .alias("x509: cannot verify signature: insecure algorithm SHA1-RSA")
        .page(
            "Collisions can be bought: a certificate could be forged. Kubernetes since 1.24 refuses them.",
            "Looks at the signature algorithm of every certificate that is no root.",
        )
        .basis("Go 1.18 release notes: crypto/x509", "https://go.dev/doc/go1.18")
        .remedy(reissue()),
        no("pki.certificate.weak-root", "no root is signed with SHA-1 or MD5", |lint| {
            matches!(lint, Lint::WeakHashOfRoot(_))
        })
        .severity(Severity::Info)
        .alias("PKI-X09")
        .page(
            "Nobody verifies a root's own signature; scanners report it all the same.",
            "Looks at the signature algorithm of roots.",
        )
        .basis("Go 1.18 release notes: crypto/x509", "https://go.dev/doc/go1.18")
        .remedy(reissue_ca()),
        no("pki.certificate.basic-constraints", "CAs say so critically", |lint| {
            *lint == Lint::BasicConstraintsNotCritical
        })
        .severity(Severity::Low)
        .alias("PKI-X16")
        .alias("Basic Constraints of CA cert not marked critical")
        .page(
            "Python since 3.13 refuses it (VERIFY_X509_STRICT), Go does not.",
            "Looks at the basic constraints of CAs.",
        )
        .basis("RFC 5280 section 4.2.1.9: basic constraints", RFC5280)
        .remedy(reissue_ca()),
        no("pki.certificate.key-ids", "certificates say which key they have and by which they are signed", |lint| {
            matches!(lint, Lint::NoSubjectKeyId | Lint::NoAuthorityKeyId)
        })
        .severity(Severity::Medium)
        .alias("PKI-X17")
        .alias("Missing Authority Key Identifier")
        .page(
            "Python since 3.13 and OpenSSL when strict refuse it, Go does not. With two CAs of one name nobody knows \
             which of them is meant.",
            "Looks for the subject key identifier of CAs and the authority key identifier of all that is not a root.",
        )
        .basis("RFC 5280 section 4.2.1.1: authority key identifier", RFC5280)
        .remedy(reissue()),
        no("pki.certificate.critical-extension", "no critical extension is unknown", |lint| {
            matches!(lint, Lint::UnknownCritical(_))
        })
        .alias("PKI-X18")
        .alias("x509: unhandled critical extension")
        .page(
            "Critical means: whoever does not understand it must refuse.",
            "Compares critical extensions with those that Go handles.",
        )
        .basis("RFC 5280 section 4.2: certificate extensions", RFC5280)
        .remedy(reissue()),
        no("pki.certificate.san", "names in SANs are names", |lint| match lint {
            Lint::DnsName { fault, .. } => *fault != NameFault::Underscore,
            lint => matches!(lint, Lint::AlternativeName(_)),
        })
        .alias("PKI-X20")
        .page(
            "An address that stands among the names is found by nobody, and what is no name matches literally or not \
             at all.",
            "Looks at the DNS names, addresses and URIs of every SAN.",
        )
        .basis("RFC 5280 section 4.2.1.6: subject alternative name", RFC5280)
        .remedy(reissue()),
        no("pki.certificate.underscore", "no name in a SAN has an underscore", |lint| {
            matches!(lint, Lint::DnsName { fault: NameFault::Underscore, .. })
        })
        .severity(Severity::Low)
        .alias("PKI-X20")
        .page("Go finds such a name; strict clients take it for none.", "Looks at the DNS names of every SAN.")
        .basis("RFC 1123 section 2.1: host names and numbers", "https://www.rfc-editor.org/rfc/rfc1123#section-2.1")
        .remedy(reissue()),
        each("pki.certificate.subject", "certificates have a subject that is text", |one, view| {
            // The library that makes Talos's CAs writes organizations alone, and that of the front proxy has none.
            let talos = view.facts.discovery.layouts.iter().any(|layout| layout.name == "Talos");
            let nameless = talos && one.is_ca() && one.is_self_issued();
            let found = lint(one, go(view).0);
            let found = found.iter().find(|lint| match lint {
                Lint::EmptySubject => !nameless,
                lint => matches!(lint, Lint::ControlCharacters(_) | Lint::OldEncoding { .. }),
            });
            found.map(Lint::to_string)
        })
        .severity(Severity::Low)
        .alias("PKI-X19")
        .page(
            "The subject is who a client is, and the issuer by which a CA is found; encodings of old compare \
             differently with each reader.",
            "Looks at the attributes of the subject, their types and characters. The CA that Talos makes for the front \
             proxy has an empty one, which is let pass.",
        )
        .basis("RFC 5280 section 4.1.2.6: subject", RFC5280)
        .remedy(reissue()),
    ]
}

/// The family's checks.
pub(super) fn checks() -> Vec<Check> {
    [parsing(), content()].into_iter().flatten().collect()
}

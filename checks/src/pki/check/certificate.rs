//! The structure of certificates: what Go refuses to parse, what others refuse, and what the next version will.

use std::collections::BTreeMap;

use super::*;
use crate::pki::store::Held;
use crate::pki::x509::{Certificate, Defect, Encoding, Flaw, GoVersion, Hash, Part};
use crate::profile::KubernetesVersion;

const PARSER: &str = "Go: crypto/x509, ParseCertificate";
const PARSER_URL: &str = "https://pkg.go.dev/crypto/x509#ParseCertificate";
const GODEBUG: &str = "https://go.dev/doc/godebug";

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

/// A claim that is one kind of defect.
fn defect(id: &str, title: &str, is: fn(&Defect) -> bool) -> Check {
    each(id, title, move |one, _| {
        one.defects.iter().find(|defect| is(defect)).map(|defect| format!("has a defect: {defect}"))
    })
}

/// Defects that have a claim of their own.
fn is_own(defect: &Defect) -> bool {
    is_time(defect)
        || is_path_length(defect)
        || is_name(defect)
        || is_san(defect)
        || matches!(
            defect.flaw,
            Flaw::NegativeSerial
                | Flaw::DuplicateExtension
                | Flaw::AlgorithmsDiffer
                | Flaw::ExtensionsBeforeVersion3
                | Flaw::UnsupportedCurve
                | Flaw::NotOnCurve
        )
}

fn is_time(defect: &Defect) -> bool {
    matches!(
        defect.flaw,
        Flaw::FractionalSeconds | Flaw::TimeOffset | Flaw::ZeroOffset | Flaw::NoSeconds | Flaw::WrongTimeType
    )
}

fn is_path_length(defect: &Defect) -> bool {
    matches!(defect.flaw, Flaw::NegativePathLen | Flaw::HugePathLen)
}

fn is_name(defect: &Defect) -> bool {
    matches!(
        defect.flaw,
        Flaw::MalformedName | Flaw::InvalidString(_) | Flaw::ReservedCharacter(_) | Flaw::NoString { .. }
    )
}

fn is_san(defect: &Defect) -> bool {
    matches!(defect.flaw, Flaw::NotAscii(_) | Flaw::InvalidUri(_) | Flaw::IpLength(_))
}

/// The Go of the profile's version, and of the next one.
fn go(view: &View<'_>) -> (GoVersion, GoVersion) {
    let KubernetesVersion(minor) = view.profile.kubernetes;
    (GoVersion::of_kubernetes(view.profile.kubernetes), GoVersion::of_kubernetes(KubernetesVersion(minor + 1)))
}

fn reissue() -> Remedy {
    Remedy::new("Have it made again, by kubeadm or by whatever made it in a newer version.")
        .command("kubeadm certs renew NAME")
}

/// What is odd about a DNS name in a SAN.
fn odd_name(name: &str) -> Option<&'static str> {
    let bare = name.strip_prefix("*.").unwrap_or(name);
    match () {
        () if name.is_empty() => Some("is empty"),
        () if name.parse::<std::net::IpAddr>().is_ok() => {
            Some("is an address, written as a name: nobody finds it there")
        }
        () if name.ends_with('.') => Some("ends in a dot"),
        () if name.contains(char::is_whitespace) => Some("holds a blank"),
        () if bare.contains('*') => Some("has a star in another place than its first label"),
        () if !bare.contains('.') && name.starts_with("*.") => Some("has a star for a whole domain of the first level"),
        () if bare.contains('_') => Some("holds an underscore, which Go accepts and others do not"),
        () => None,
    }
}

fn parsing() -> Vec<Check> {
    vec![
        each("pki.certificate.accepted", "Kubernetes of this version can parse every certificate", |one, view| {
            let (now, _) = go(view);
            let defect = one.refused_by(now).find(|defect| !is_own(defect))?;
            Some(format!("is refused by the Go of Kubernetes {}: {defect}", view.profile.kubernetes))
        })
        .severity(Severity::Critical)
        .alias("PKI-X01")
        .alias("x509: malformed")
        .page("A component that cannot parse a certificate refuses it, and does not start if it is its own.", "Reads each certificate leniently and asks of each defect which versions of Go refuse it. Defects that are common have claims of their own.")
        .basis(PARSER, PARSER_URL)
        .remedy(reissue()),
        each("pki.certificate.next-version", "the next version of Kubernetes accepts every certificate, too", |one, view| {
            let (now, next) = go(view);
            let new = one.refused_by(next).find(|defect| !defect.refused_by(now))?;
            let KubernetesVersion(minor) = view.profile.kubernetes;
            Some(format!("is accepted by Kubernetes {} and refused by {}: {new}", view.profile.kubernetes, KubernetesVersion(minor + 1)))
        })
        .alias("PKI-W03")
        .page("Go grows stricter with every version, and Kubernetes with it: an upgrade is when a certificate of ten years ago stops to work.", "Compares what the Go of the profile's version refuses with what the Go of the next one does: negative serial numbers since 1.32, duplicate extensions since 1.25, negative path lengths since 1.35.")
        .basis("Go, Backwards Compatibility, and GODEBUG", GODEBUG)
        .remedy(reissue()),
        each("pki.certificate.version", "certificates are of X.509 version 3", |one, _| {
            (one.version < 3).then(|| format!("is of version {}, which has no extensions: no names, no usages", one.version))
        })
        .alias("PKI-X02")
        .alias("certigo: X.509 v1")
        .page("Before version 3 a certificate names no host and does not say whether it is a CA.", "Looks at the version.")
        .basis("RFC 5280 section 4.1.2.1: version", RFC5280)
        .remedy(reissue()),
        each("pki.certificate.serial-negative", "no serial number is negative", |one, view| {
            one.serial.is_negative().then(|| {
                let refused = one.refused_by(go(view).0).next().is_some();
                format!("has the serial number {}{}", one.serial, if refused { ", which Go refuses to parse since 1.23" } else { "" })
            })
        })
        .severity(Severity::Critical)
        .alias("PKI-X03")
        .alias("x509: negative serial number")
        .page("Kubernetes since 1.32 does not parse it, so that not even --insecure-skip-tls-verify helps. Tools that write random bytes without a leading zero make one half of the time.", "Looks at the sign of each serial number.")
        .basis("Go, Backwards Compatibility, and GODEBUG: x509negativeserial", GODEBUG)
        .remedy(reissue()),
        defect("pki.certificate.duplicate-extension", "no certificate has an extension twice", |defect| matches!(defect.flaw, Flaw::DuplicateExtension))
            .severity(Severity::Critical)
            .alias("PKI-X06")
            .alias("x509: certificate contains duplicate extensions")
            .page("Go since 1.19 refuses to parse it, Kubernetes since 1.25.", "Compares the identifiers of the extensions.")
            .basis(PARSER, PARSER_URL)
            .remedy(reissue()),
        defect("pki.certificate.algorithms-differ", "the signature algorithm is the same inside and outside", |defect| matches!(defect.flaw, Flaw::AlgorithmsDiffer))
            .alias("PKI-X07")
            .alias("x509: inner and outer signature algorithm identifiers don't match")
            .page("It is refused by Go and by everybody who keeps to the RFC.", "Compares the algorithm in what is signed with the one beside the signature.")
            .basis("RFC 5280 section 4.1.1.2: signatureAlgorithm", RFC5280)
            .remedy(reissue()),
        defect("pki.certificate.time", "times are written as they must be", is_time)
            .severity(Severity::Medium)
            .alias("PKI-X14")
            .page("Go reads UTCTime and GeneralizedTime whatever the year is; others misread the wrong one by a century.", "Looks at the type and the form of notBefore and notAfter: UTCTime until 2049, GeneralizedTime from 2050 on, Zulu time, seconds without fractions.")
            .basis("RFC 5280 section 4.1.2.5: validity", RFC5280)
            .remedy(reissue()),
        each("pki.certificate.path-length", "path length constraints stand in CAs and are numbers", |one, _| {
            let defect = one.defects.iter().find(|defect| is_path_length(defect)).map(|defect| format!("has a defect: {defect}"));
            let idle = one.extensions.basic_constraints.is_some_and(|constraints| !constraints.ca && constraints.path_len.is_some());
            defect.or_else(|| idle.then(|| "is no CA, and has a path length constraint".to_owned()))
        })
        .severity(Severity::Medium)
        .alias("PKI-X15")
        .page("A negative one is refused by Go since 1.25, Kubernetes since 1.35; one outside of a CA is refused by strict clients.", "Looks at the basic constraints.")
        .basis("RFC 5280 section 4.2.1.9: basic constraints", RFC5280)
        .remedy(reissue()),
        defect("pki.certificate.name", "names of subjects and issuers can be read", is_name)
            .severity(Severity::Low)
            .alias("PKI-X19")
            .page("The common name is the user, and the organizations are the groups: what cannot be read is another one for each reader.", "Looks at the strings of subject and issuer: their types, and what their types allow.")
            .basis("RFC 5280 section 4.1.2.4: issuer", RFC5280)
            .remedy(reissue()),
    ]
}

fn content() -> Vec<Check> {
    vec![
        each("pki.certificate.serial-zero", "serial numbers are positive", |one, _| one.serial.is_zero().then(|| "has the serial number 0".to_owned()))
            .severity(Severity::Info)
            .alias("PKI-X04")
            .page("client-go of old gave every CA the number 0; Go accepts it. Strict clients do not.", "Looks at the serial number.")
            .basis("RFC 5280 section 4.1.2.2: serial number", RFC5280)
            .remedy(reissue()),
        each("pki.certificate.serial-long", "serial numbers have 20 bytes at most", |one, _| one.serial.is_too_long().then(|| format!("has a serial number of {} bytes", one.serial.0.len())))
            .severity(Severity::Low)
            .alias("PKI-X04")
            .page("Go accepts it: refusing was tried in 1.23 and taken back, as it broke too many private CAs. Others refuse.", "Counts the bytes of the serial number.")
            .basis("RFC 5280 section 4.1.2.2: serial number", RFC5280)
            .remedy(reissue()),
        claim("pki.certificate.serial-repeated", "no CA has given the same serial number twice", Of::Certificates, "certificates", |view, tally| {
            let mut seen: BTreeMap<(Vec<u8>, Vec<u8>), &str> = BTreeMap::new();
            for (file, held) in view.facts.certificates() {
                let one = &held.certificate;
                tally.look();
                if one.serial.is_zero() {
                    continue;
                }
                if let Some(first) = seen.insert((one.issuer.der.to_vec(), one.serial.0.to_vec()), file) {
                    tally.breach(breach(file, held, &format!("has the serial number {}, as the one in {first} of the same issuer", one.serial)));
                }
            }
        })
        .severity(Severity::Medium)
        .label("certificate")
        .alias("PKI-X05")
        .alias("SEC_ERROR_REUSED_ISSUER_AND_SERIAL")
        .page("NSS and Java take the second for a forgery of the first. Guides that say -set_serial 01 make such.", "Compares issuers and serial numbers of all certificates with a role.")
        .basis("RFC 5280 section 4.1.2.2: serial number", RFC5280)
        .remedy(reissue()),
        each("pki.certificate.weak-signature", "no certificate is signed with SHA-1 or MD5", |one, _| {
            let weak = one.signature_algorithm.scheme.hash().filter(|hash| matches!(hash, Hash::Sha1 | Hash::Md5))?;
            // Nobody looks at the signature of a root.
            (!one.is_self_issued()).then(|| format!("is signed with {weak:?}, which Go refuses since 1.18"))
        })
        .severity(Severity::Critical)
        .alias("PKI-X08")
        .alias("x509: cannot verify signature: insecure algorithm SHA1-RSA")
        .page("Collisions can be bought: a certificate could be forged. Kubernetes since 1.24 refuses them.", "Looks at the signature algorithm of every certificate that is no root.")
        .basis("Go 1.18 release notes: crypto/x509", "https://go.dev/doc/go1.18")
        .remedy(reissue()),
        each("pki.certificate.weak-root", "no root is signed with SHA-1 or MD5", |one, _| {
            let weak = one.signature_algorithm.scheme.hash().filter(|hash| matches!(hash, Hash::Sha1 | Hash::Md5))?;
            one.is_self_issued().then(|| format!("signs itself with {weak:?}"))
        })
        .severity(Severity::Info)
        .alias("PKI-X09")
        .page("Nobody verifies a root's own signature; scanners report it all the same.", "Looks at the signature algorithm of roots.")
        .basis("Go 1.18 release notes: crypto/x509", "https://go.dev/doc/go1.18")
        .remedy(reissue()),
        each("pki.certificate.basic-constraints", "CAs say so critically", |one, _| {
            let constraints = one.extensions.basic_constraints?;
            (constraints.ca && !constraints.critical).then(|| "is a CA whose basic constraints are not critical".to_owned())
        })
        .severity(Severity::Low)
        .alias("PKI-X16")
        .alias("Basic Constraints of CA cert not marked critical")
        .page("Python since 3.13 refuses it (VERIFY_X509_STRICT), Go does not.", "Looks at the basic constraints of CAs.")
        .basis("RFC 5280 section 4.2.1.9: basic constraints", RFC5280)
        .remedy(reissue()),
        each("pki.certificate.key-ids", "certificates say which key they have and by which they are signed", |one, _| {
            if one.version < 3 {
                return None;
            }
            if one.is_ca() && one.extensions.subject_key_id.is_none() {
                return Some("is a CA without a subject key identifier".to_owned());
            }
            let lacks = !one.is_self_issued() && one.extensions.authority_key_id.as_ref().is_none_or(|id| id.key_id.is_none());
            lacks.then(|| "has no authority key identifier".to_owned())
        })
        .severity(Severity::Medium)
        .alias("PKI-X17")
        .alias("Missing Authority Key Identifier")
        .page("Python since 3.13 and OpenSSL when strict refuse it, Go does not. With two CAs of one name nobody knows which of them is meant.", "Looks for the subject key identifier of CAs and the authority key identifier of all that is not a root.")
        .basis("RFC 5280 section 4.2.1.1: authority key identifier", RFC5280)
        .remedy(reissue()),
        each("pki.certificate.critical-extension", "no critical extension is unknown", |one, view| {
            let extension = one.unhandled_by(go(view).0).next()?;
            Some(format!("has the critical extension {}, which Go does not know", extension.oid))
        })
        .alias("PKI-X18")
        .alias("x509: unhandled critical extension")
        .page("Critical means: whoever does not understand it must refuse.", "Compares critical extensions with those that Go handles.")
        .basis("RFC 5280 section 4.2: certificate extensions", RFC5280)
        .remedy(reissue()),
        each("pki.certificate.san", "names in SANs are names", |one, _| {
            if let Some(defect) = one.defects.iter().find(|defect| is_san(defect) && matches!(defect.part, Part::Extension(_))) {
                return Some(format!("has a defect: {defect}"));
            }
            let names = &one.extensions.subject_alt_names.as_ref()?.dns;
            // A CA's own SAN names nobody.
            let odd = names.iter().filter(|_| !one.is_ca()).find_map(|name| Some((name, odd_name(name)?)));
            odd.map(|(name, why)| format!("has the DNS name '{name}', which {why}"))
        })
        .alias("PKI-X20")
        .page("An address that stands among the names is found by nobody, and what is no name matches literally or not at all.", "Looks at the DNS names, addresses and URIs of every SAN.")
        .basis("RFC 5280 section 4.2.1.6: subject alternative name", RFC5280)
        .remedy(reissue()),
        each("pki.certificate.subject", "certificates have a subject that is text", |one, _| {
            let old = one.subject.attributes.iter().find(|attribute| matches!(attribute.encoding, Encoding::T61String | Encoding::BmpString));
            let control = one.subject.attributes.iter().find(|attribute| {
                !matches!(attribute.encoding, Encoding::Other(_)) && attribute.value.chars().any(char::is_control)
            });
            match (one.subject.is_empty(), old, control) {
                (true, ..) => Some("has an empty subject".to_owned()),
                (_, Some(attribute), _) => Some(format!("writes {} as {:?}", attribute.oid, attribute.encoding)),
                (.., Some(attribute)) => Some(format!("has a control character in {}", attribute.oid)),
                _ => None,
            }
        })
        .severity(Severity::Low)
        .alias("PKI-X19")
        .page("The subject is who a client is, and the issuer by which a CA is found; encodings of old compare differently with each reader.", "Looks at the attributes of the subject, their types and characters.")
        .basis("RFC 5280 section 4.1.2.6: subject", RFC5280)
        .remedy(reissue()),
    ]
}

/// The family's checks.
pub(super) fn checks() -> Vec<Check> {
    [parsing(), content()].into_iter().flatten().collect()
}

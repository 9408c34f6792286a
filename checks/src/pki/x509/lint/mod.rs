//! What is questionable in one certificate, or between certificates of a cluster, without asking who signed it.
//!
//! [`lint`] judges one, [`lint_all`] all that a cluster has. A [`Lint`] says what and how bad; how bad hangs on the [`Rules`]: the Go that reads
//! the certificate, and whose minimum sizes of keys count.

mod names;
mod rsa;

use std::collections::{HashMap, HashSet};
use std::fmt;

use crate::check::Severity;

use super::algorithm::{Hash, Parameters};
use super::certificate::Certificate;
use super::defect::{Defect, Flaw, Part};
use super::go_version::GoVersion;
use super::name::Encoding;
use super::oid::{Oid, known};
use super::public_key::{Curve, Fingerprint, KeyKind};

pub use names::NameFault;
pub use rsa::Weakness;

/// By whose rules certificates are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// The Go that reads them: see [`GoVersion::of_kubernetes`].
    pub go: GoVersion,
    /// Whether RSA keys have at least 3000 bits, as BSI TR-02102-1 has wanted since 2024.
    pub bsi: bool,
    /// Whether what only strict verifiers want is told, too: OpenSSL with `-x509_strict`, Python 3.13.
    pub strict: bool,
}

impl Rules {
    /// What the components of Kubernetes, built by this Go, want.
    pub const fn of(go: GoVersion) -> Self {
        Self { go, bsi: false, strict: false }
    }
}

/// One thing that is questionable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lint {
    /// What.
    pub kind: LintKind,
    /// How bad it is by the rules that were asked.
    pub severity: Severity,
}

/// What can be questionable. The number in front is that of the check of structure that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LintKind {
    /// 1: It is malformed.
    Malformed(Defect),
    /// 2: It is of version 1 or 2, which have no extensions, and so no names.
    OldVersion(u64),
    /// 3: Its serial number is negative.
    NegativeSerial,
    /// 4: Its serial number is zero, like that of every CA of an old kubeadm.
    ZeroSerial,
    /// 4: Its serial number has more than 20 bytes.
    LongSerial(usize),
    /// 5: Another certificate of the same issuer has the same serial number: the SHA-256 of that one.
    SerialReused(Fingerprint),
    /// 6: It has an extension twice.
    DuplicateExtension(Oid),
    /// 7: The two identifiers of its signature algorithm differ.
    AlgorithmsDiffer,
    /// 7: Parameters stand beside its signature algorithm that do not belong there.
    AlgorithmParameters(Parameters),
    /// 8: It is signed with SHA-1 or MD5.
    WeakHash(Hash),
    /// 9: It is, and by itself: nobody looks at that signature.
    WeakHashOfRoot(Hash),
    /// 10: Its RSA key is too small, or larger than TLS of Go takes.
    RsaSize(u32),
    /// 11: Its RSA key can be broken.
    WeakRsa(Weakness),
    /// 11: Its RSA key has a factor in common with the key of another certificate: the SHA-256 of that certificate.
    SharedFactor(Fingerprint),
    /// 12: Its key is on a curve that is not for this.
    Curve(Curve),
    /// 12: Its key is on a curve that nobody knows, written out, or no point of its curve.
    BadCurveKey(Flaw),
    /// 13: A key that kubeadm cannot load: neither RSA nor ECDSA.
    KeyKind(String),
    /// 14: A time is not written as it must be.
    Time(Defect),
    /// 15: Its path length is negative or absurd.
    BadPathLen(Flaw),
    /// 15: It limits the length of paths, and is no CA.
    PathLenWithoutCa,
    /// 16: It is a CA, and the extension that says so is not critical.
    BasicConstraintsNotCritical,
    /// 16: It does not say whether it is a CA.
    NoBasicConstraints,
    /// 17: It is a CA without a subject key identifier.
    NoSubjectKeyId,
    /// 17: It does not name its issuer's key.
    NoAuthorityKeyId,
    /// 18: It has a critical extension that Go does not know.
    UnknownCritical(Oid),
    /// 19: Its subject is empty, and the alternative names that stand for it are not critical.
    EmptySubject,
    /// 19: Its subject or issuer has control characters.
    ControlCharacters(Oid),
    /// 19: Its subject or issuer is in an encoding of the last century.
    OldEncoding {
        /// The attribute.
        attribute: Oid,
        /// Its encoding.
        encoding: Encoding,
    },
    /// 20: One of its DNS names matches nothing, or not what it seems to.
    DnsName {
        /// The name.
        name: String,
        /// What is wrong with it.
        fault: NameFault,
    },
}

impl LintKind {
    /// The number of the check of structure that it belongs to: 1 to 20.
    pub const fn number(&self) -> u8 {
        match self {
            Self::Malformed(_) => 1,
            Self::OldVersion(_) => 2,
            Self::NegativeSerial => 3,
            Self::ZeroSerial | Self::LongSerial(_) => 4,
            Self::SerialReused(_) => 5,
            Self::DuplicateExtension(_) => 6,
            Self::AlgorithmsDiffer | Self::AlgorithmParameters(_) => 7,
            Self::WeakHash(_) => 8,
            Self::WeakHashOfRoot(_) => 9,
            Self::RsaSize(_) => 10,
            Self::WeakRsa(_) | Self::SharedFactor(_) => 11,
            Self::Curve(_) | Self::BadCurveKey(_) => 12,
            Self::KeyKind(_) => 13,
            Self::Time(_) => 14,
            Self::BadPathLen(_) | Self::PathLenWithoutCa => 15,
            Self::BasicConstraintsNotCritical | Self::NoBasicConstraints => 16,
            Self::NoSubjectKeyId | Self::NoAuthorityKeyId => 17,
            Self::UnknownCritical(_) => 18,
            Self::EmptySubject | Self::ControlCharacters(_) | Self::OldEncoding { .. } => 19,
            Self::DnsName { .. } => 20,
        }
    }
}

/// What is questionable in one certificate.
pub fn lint(certificate: &Certificate, rules: &Rules) -> Vec<Lint> {
    let mut found = Vec::new();
    let mut add = |kind, severity| found.push(Lint { kind, severity });
    for defect in &certificate.defects {
        let (kind, severity) = of_defect(defect, rules);
        add(kind, severity);
    }
    if certificate.version < 3 {
        add(LintKind::OldVersion(certificate.version), Severity::High);
    }
    if certificate.serial.is_zero() {
        add(LintKind::ZeroSerial, if certificate.is_ca() { Severity::Info } else { Severity::Low });
    }
    if certificate.serial.is_too_long() {
        add(LintKind::LongSerial(certificate.serial.0.len()), Severity::Low);
    }
    signature(certificate, rules, &mut add);
    key(certificate, rules, &mut add);
    extensions(certificate, rules, &mut add);
    subject(certificate, &mut add);
    for name in certificate.extensions.subject_alt_names.iter().flat_map(|names| &names.dns) {
        for fault in names::faults(name) {
            let severity = if fault == NameFault::Underscore { Severity::Low } else { Severity::High };
            add(LintKind::DnsName { name: name.clone(), fault }, severity);
        }
    }
    found
}

/// A defect is told under the check that it belongs to.
fn of_defect(defect: &Defect, rules: &Rules) -> (LintKind, Severity) {
    let refused = defect.refused_by(rules.go);
    let unless = |severity| if refused { Severity::Critical } else { severity };
    match (&defect.flaw, &defect.part) {
        (Flaw::NegativeSerial, _) => (LintKind::NegativeSerial, unless(Severity::High)),
        (Flaw::DuplicateExtension, Part::Extension(oid)) => {
            (LintKind::DuplicateExtension(oid.clone()), unless(Severity::High))
        }
        (Flaw::AlgorithmsDiffer, _) => (LintKind::AlgorithmsDiffer, unless(Severity::High)),
        (Flaw::UnsupportedCurve | Flaw::NotOnCurve, _) => {
            (LintKind::BadCurveKey(defect.flaw.clone()), unless(Severity::High))
        }
        (Flaw::NegativePathLen | Flaw::HugePathLen, _) => {
            (LintKind::BadPathLen(defect.flaw.clone()), unless(Severity::High))
        }
        (_, Part::NotBefore | Part::NotAfter) => (LintKind::Time(defect.clone()), unless(Severity::Medium)),
        (Flaw::TrailingData(_), _) => (LintKind::Malformed(defect.clone()), unless(Severity::Low)),
        _ => (LintKind::Malformed(defect.clone()), unless(Severity::High)),
    }
}

fn signature(certificate: &Certificate, rules: &Rules, add: &mut impl FnMut(LintKind, Severity)) {
    let algorithm = &certificate.signature_algorithm;
    if algorithm.scheme.parameters().is_some_and(|wanted| wanted != algorithm.parameters) {
        add(LintKind::AlgorithmParameters(algorithm.parameters), Severity::Low);
    }
    if let Some(hash @ (Hash::Md5 | Hash::Sha1)) = algorithm.scheme.hash() {
        if certificate.is_self_issued() {
            add(LintKind::WeakHashOfRoot(hash), Severity::Info);
        } else {
            let refused = hash == Hash::Md5 || rules.go >= GoVersion::new(18);
            add(LintKind::WeakHash(hash), if refused { Severity::Critical } else { Severity::High });
        }
    }
}

fn key(certificate: &Certificate, rules: &Rules, add: &mut impl FnMut(LintKind, Severity)) {
    match &certificate.public_key.kind {
        KeyKind::Rsa(key) => {
            let bits = key.bits();
            let severity = match bits {
                0..1024 if rules.go >= GoVersion::new(24) => Some(Severity::Critical),
                0..2048 | 8193.. => Some(Severity::High),
                2048..3000 if rules.bsi => Some(Severity::Medium),
                _ => None,
            };
            if let Some(severity) = severity {
                add(LintKind::RsaSize(bits), severity);
            }
            for weakness in rsa::weaknesses(key) {
                add(LintKind::WeakRsa(weakness), Severity::Critical);
            }
        }
        KeyKind::Ec(curve @ (Curve::P224 | Curve::Other(_))) => add(LintKind::Curve(curve.clone()), Severity::High),
        KeyKind::Ec(_) | KeyKind::Unreadable(_) => {}
        other @ (KeyKind::Ed25519 | KeyKind::Dsa | KeyKind::Other(_)) => {
            add(LintKind::KeyKind(other.to_string()), Severity::Medium)
        }
    }
}

fn extensions(certificate: &Certificate, rules: &Rules, add: &mut impl FnMut(LintKind, Severity)) {
    let extensions = &certificate.extensions;
    let ca = certificate.is_ca();
    match extensions.basic_constraints {
        Some(constraints) if constraints.ca && !constraints.critical => {
            add(LintKind::BasicConstraintsNotCritical, Severity::Low)
        }
        Some(constraints) if !constraints.ca && constraints.path_len.is_some() => {
            add(LintKind::PathLenWithoutCa, Severity::Medium)
        }
        None if rules.strict && certificate.extension(known::BASIC_CONSTRAINTS).is_none() => {
            add(LintKind::NoBasicConstraints, Severity::Low)
        }
        _ => {}
    }
    if ca && extensions.subject_key_id.is_none() {
        add(LintKind::NoSubjectKeyId, Severity::Medium);
    }
    if !certificate.is_self_issued() && extensions.authority_key_id.as_ref().is_none_or(|id| id.key_id.is_none()) {
        add(LintKind::NoAuthorityKeyId, Severity::Medium);
    }
    for extension in certificate.unhandled_by(rules.go) {
        add(LintKind::UnknownCritical(extension.oid.clone()), Severity::High);
    }
}

fn subject(certificate: &Certificate, add: &mut impl FnMut(LintKind, Severity)) {
    let san = certificate.extension(known::SUBJECT_ALT_NAME);
    if certificate.subject.is_empty() && !san.is_some_and(|extension| extension.critical) {
        add(LintKind::EmptySubject, Severity::Low);
    }
    let same = certificate.is_self_issued();
    let issuer = certificate.issuer.attributes.iter().filter(|_| !same);
    for attribute in certificate.subject.attributes.iter().chain(issuer) {
        if attribute.value.chars().any(char::is_control) {
            add(LintKind::ControlCharacters(attribute.oid.clone()), Severity::Low);
        }
        if matches!(attribute.encoding, Encoding::T61String | Encoding::BmpString) {
            let (attribute, encoding) = (attribute.oid.clone(), attribute.encoding);
            add(LintKind::OldEncoding { attribute, encoding }, Severity::Low);
        }
    }
}

/// What is questionable between the certificates of a cluster: for each, by its index.
///
/// The same certificate given twice is no finding. Common factors of RSA keys take time by the square of the number of keys; they are
/// looked for among the first [`MOST_RSA_KEYS`] different keys only.
pub fn lint_all(certificates: &[&Certificate]) -> Vec<(usize, Lint)> {
    let mut found = Vec::new();
    let mut serials: HashMap<(&[u8], &[u8]), &Certificate> = HashMap::new();
    let mut told: HashSet<Fingerprint> = HashSet::new();
    for (index, certificate) in certificates.iter().enumerate() {
        let first = serials.entry((&certificate.issuer.der, &certificate.serial.0)).or_insert(certificate);
        if first.fingerprint != certificate.fingerprint && told.insert(certificate.fingerprint) {
            // Browsers and Java refuse the second of two; Go does not mind.
            found.push((index, Lint { kind: LintKind::SerialReused(first.fingerprint), severity: Severity::Medium }));
        }
    }
    let mut keys: HashMap<Fingerprint, usize> = HashMap::new();
    let mut moduli = Vec::new();
    for (index, certificate) in certificates.iter().enumerate() {
        if let KeyKind::Rsa(key) = &certificate.public_key.kind
            && keys.len() < MOST_RSA_KEYS
            && keys.insert(certificate.public_key.sha256, index).is_none()
        {
            moduli.push((index, &*key.modulus));
        }
    }
    for (one, other) in rsa::shared_factors(&moduli) {
        let kind = LintKind::SharedFactor(certificates[other].fingerprint);
        found.push((one, Lint { kind, severity: Severity::Critical }));
    }
    found
}

/// Among more RSA keys than this no common factors are looked for.
pub const MOST_RSA_KEYS: usize = 1024;

impl fmt::Display for LintKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(defect) | Self::Time(defect) => write!(out, "{defect}"),
            Self::OldVersion(version) => write!(out, "is of version {version}, which has no extensions"),
            Self::NegativeSerial => out.write_str("has a negative serial number"),
            Self::ZeroSerial => out.write_str("has the serial number zero"),
            Self::LongSerial(bytes) => write!(out, "has a serial number of {bytes} bytes"),
            Self::SerialReused(other) => {
                write!(out, "has the serial number of another certificate of its issuer, sha256:{other}")
            }
            Self::DuplicateExtension(oid) => write!(out, "has the extension {oid} twice"),
            Self::AlgorithmsDiffer => {
                out.write_str("names another signature algorithm inside than outside of what is signed")
            }
            Self::AlgorithmParameters(parameters) => {
                write!(out, "has parameters beside its signature algorithm that do not belong there: {parameters:?}")
            }
            Self::WeakHash(hash) => write!(out, "is signed with {hash:?}"),
            Self::WeakHashOfRoot(hash) => write!(out, "is signed by itself with {hash:?}"),
            Self::RsaSize(bits) => write!(out, "has an RSA key of {bits} bits"),
            Self::WeakRsa(weakness) => write!(out, "has an RSA key that {weakness}"),
            Self::SharedFactor(other) => {
                write!(out, "has an RSA key with a factor in common with the one of sha256:{other}")
            }
            Self::Curve(curve) => write!(out, "has a key on the curve {curve}"),
            Self::BadCurveKey(Flaw::NotOnCurve) => out.write_str("has a key that is no point of its curve"),
            Self::BadCurveKey(_) => out.write_str("has a key on a curve that is not supported"),
            Self::KeyKind(kind) => write!(out, "has a key that is neither RSA nor ECDSA, but {kind}"),
            Self::BadPathLen(Flaw::NegativePathLen) => out.write_str("has a negative path length"),
            Self::BadPathLen(_) => out.write_str("has a path length that is too large"),
            Self::PathLenWithoutCa => out.write_str("has a path length, and is no CA"),
            Self::BasicConstraintsNotCritical => out.write_str("is a CA, and basicConstraints is not critical"),
            Self::NoBasicConstraints => out.write_str("has no basicConstraints"),
            Self::NoSubjectKeyId => out.write_str("is a CA without a subject key identifier"),
            Self::NoAuthorityKeyId => out.write_str("has no authority key identifier"),
            Self::UnknownCritical(oid) => write!(out, "has the critical extension {oid}, which Go does not know"),
            Self::EmptySubject => out.write_str("has an empty subject, and no critical alternative names in its place"),
            Self::ControlCharacters(oid) => write!(out, "has control characters in {oid}"),
            Self::OldEncoding { attribute, encoding } => write!(out, "has {attribute} in {encoding:?}"),
            Self::DnsName { name, fault } => write!(out, "has the DNS name {name:?}: {fault}"),
        }
    }
}

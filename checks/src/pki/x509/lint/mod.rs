//! What is questionable in one certificate or one key, without asking who signed it: facts, of which the suite's claims
//! say how bad they are.

mod names;
mod rsa;

use std::fmt;

use super::algorithm::{Hash, Parameters};
use super::certificate::Certificate;
use super::defect::{Defect, Flaw, Part};
use super::go_version::GoVersion;
use super::name::Encoding;
use super::oid::{Oid, known};
use super::public_key::{Curve, KeyKind, PublicKey};

pub use names::NameFault;
pub use rsa::{Weakness, shared_factors};

/// One thing that is questionable in a certificate, its key aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lint {
    /// It is malformed, in a way that has no lint of its own.
    Malformed(Defect),
    /// It is of version 1 or 2, which have no extensions, and so no names.
    OldVersion(u64),
    /// Its serial number is negative.
    NegativeSerial,
    /// Its serial number is zero, like that of every CA of an old kubeadm.
    ZeroSerial,
    /// Its serial number has more than 20 bytes.
    LongSerial(usize),
    /// It has an extension twice.
    DuplicateExtension(Oid),
    /// The two identifiers of its signature algorithm differ.
    AlgorithmsDiffer,
    /// Parameters stand beside its signature algorithm that do not belong there.
    AlgorithmParameters(Parameters),
    /// It is signed with SHA-1 or MD5.
    WeakHash(Hash),
    /// It is, and by itself: nobody looks at that signature.
    WeakHashOfRoot(Hash),
    /// A time is not written as it must be.
    Time(Defect),
    /// Its path length is negative or absurd.
    PathLength(Defect),
    /// It limits the length of paths, and is no CA.
    PathLengthWithoutCa,
    /// It is a CA, and the extension that says so is not critical.
    BasicConstraintsNotCritical,
    /// It is a CA without a subject key identifier.
    NoSubjectKeyId,
    /// It does not name its issuer's key.
    NoAuthorityKeyId,
    /// It has a critical extension that Go does not know.
    UnknownCritical(Oid),
    /// Its subject or its issuer cannot be read.
    Name(Defect),
    /// Its subject is empty, and the alternative names that stand for it are not critical.
    EmptySubject,
    /// Its subject has control characters.
    ControlCharacters(Oid),
    /// Its subject is in an encoding of the last century.
    OldEncoding {
        /// The attribute.
        attribute: Oid,
        /// Its encoding.
        encoding: Encoding,
    },
    /// One of its alternative names cannot be read.
    AlternativeName(Defect),
    /// One of its DNS names matches nothing, or not what it seems to. A CA's own names nobody.
    DnsName {
        /// The name.
        name: String,
        /// What is wrong with it.
        fault: NameFault,
    },
}

impl Lint {
    /// Whether it is about how something is written, for which Go may refuse to parse a certificate.
    pub const fn is_of_encoding(&self) -> bool {
        matches!(
            self,
            Self::Malformed(_)
                | Self::Time(_)
                | Self::PathLength(_)
                | Self::Name(_)
                | Self::AlternativeName(_)
                | Self::DnsName { .. }
                | Self::ControlCharacters(_)
                | Self::OldEncoding { .. }
        )
    }

    /// Whether this version of Go refuses to parse a certificate with it.
    pub fn refused_by(&self, version: GoVersion) -> bool {
        match self {
            Self::Malformed(defect)
            | Self::Time(defect)
            | Self::PathLength(defect)
            | Self::Name(defect)
            | Self::AlternativeName(defect) => defect.refused_by(version),
            Self::NegativeSerial => Defect { part: Part::Serial, flaw: Flaw::NegativeSerial }.refused_by(version),
            Self::DuplicateExtension(oid) => {
                Defect { part: Part::Extension(oid.clone()), flaw: Flaw::DuplicateExtension }.refused_by(version)
            }
            Self::AlgorithmsDiffer => true,
            _ => false,
        }
    }
}

/// What is questionable in one certificate, as this Go reads it.
pub fn lint(certificate: &Certificate, go: GoVersion) -> Vec<Lint> {
    let mut found: Vec<_> = certificate.defects.iter().filter_map(of_defect).collect();
    if certificate.version < 3 {
        found.push(Lint::OldVersion(certificate.version));
    }
    if certificate.serial.is_zero() {
        found.push(Lint::ZeroSerial);
    }
    if certificate.serial.is_too_long() {
        found.push(Lint::LongSerial(certificate.serial.0.len()));
    }
    found.extend(signature(certificate));
    if certificate.version >= 3 {
        extensions(certificate, go, &mut found);
    }
    subject(certificate, &mut found);
    if !certificate.is_ca() {
        for name in certificate.extensions.subject_alt_names.iter().flat_map(|names| &names.dns) {
            let faults = names::faults(name).into_iter();
            found.extend(faults.map(|fault| Lint::DnsName { name: name.clone(), fault }));
        }
    }
    found
}

/// The lint that a defect belongs to; none for those of keys, which [`lint_key`] tells.
fn of_defect(defect: &Defect) -> Option<Lint> {
    let own = || defect.clone();
    Some(match (&defect.flaw, &defect.part) {
        (Flaw::UnsupportedCurve | Flaw::NotOnCurve, _) => return None,
        // That the version is old says so already.
        (Flaw::ExtensionsBeforeVersion3, _) => return None,
        (Flaw::NegativeSerial, _) => Lint::NegativeSerial,
        (Flaw::DuplicateExtension, Part::Extension(oid)) => Lint::DuplicateExtension(oid.clone()),
        (Flaw::AlgorithmsDiffer, _) => Lint::AlgorithmsDiffer,
        (Flaw::NegativePathLen | Flaw::HugePathLen, _) => Lint::PathLength(own()),
        (
            Flaw::FractionalSeconds | Flaw::TimeOffset | Flaw::ZeroOffset | Flaw::NoSeconds | Flaw::WrongTimeType,
            Part::NotBefore | Part::NotAfter,
        ) => Lint::Time(own()),
        (
            Flaw::MalformedName | Flaw::InvalidString(_) | Flaw::ReservedCharacter(_) | Flaw::NoString { .. },
            Part::Subject | Part::Issuer,
        ) => Lint::Name(own()),
        (Flaw::NotAscii(_) | Flaw::InvalidUri(_) | Flaw::DottedHost(_) | Flaw::IpLength(_), Part::Extension(oid))
            if oid.is(known::SUBJECT_ALT_NAME) =>
        {
            Lint::AlternativeName(own())
        }
        _ => Lint::Malformed(own()),
    })
}

fn signature(certificate: &Certificate) -> impl Iterator<Item = Lint> {
    let algorithm = &certificate.signature_algorithm;
    let odd = algorithm.scheme.parameters().is_some_and(|wanted| wanted != algorithm.parameters);
    let odd = odd.then_some(Lint::AlgorithmParameters(algorithm.parameters));
    let weak = algorithm.scheme.hash().filter(|hash| matches!(hash, Hash::Md5 | Hash::Sha1));
    let root = certificate.is_self_issued();
    odd.into_iter().chain(weak.map(|hash| if root { Lint::WeakHashOfRoot(hash) } else { Lint::WeakHash(hash) }))
}

fn extensions(certificate: &Certificate, go: GoVersion, found: &mut Vec<Lint>) {
    let extensions = &certificate.extensions;
    match extensions.basic_constraints {
        Some(constraints) if constraints.ca && !constraints.critical => found.push(Lint::BasicConstraintsNotCritical),
        Some(constraints) if !constraints.ca && constraints.path_len.is_some() => {
            found.push(Lint::PathLengthWithoutCa);
        }
        _ => {}
    }
    if certificate.is_ca() && extensions.subject_key_id.is_none() {
        found.push(Lint::NoSubjectKeyId);
    }
    if !certificate.is_self_issued() && extensions.authority_key_id.as_ref().is_none_or(|id| id.key_id.is_none()) {
        found.push(Lint::NoAuthorityKeyId);
    }
    found.extend(certificate.unhandled_by(go).map(|extension| Lint::UnknownCritical(extension.oid.clone())));
}

fn subject(certificate: &Certificate, found: &mut Vec<Lint>) {
    let san = certificate.extension(known::SUBJECT_ALT_NAME);
    if certificate.subject.is_empty() && !san.is_some_and(|extension| extension.critical) {
        found.push(Lint::EmptySubject);
    }
    for attribute in &certificate.subject.attributes {
        let text = !matches!(attribute.encoding, Encoding::Other(_));
        if text && attribute.value.chars().any(char::is_control) {
            found.push(Lint::ControlCharacters(attribute.oid.clone()));
        }
        if matches!(attribute.encoding, Encoding::T61String | Encoding::BmpString) {
            found.push(Lint::OldEncoding { attribute: attribute.oid.clone(), encoding: attribute.encoding });
        }
    }
}

impl fmt::Display for Lint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(defect)
            | Self::Time(defect)
            | Self::PathLength(defect)
            | Self::Name(defect)
            | Self::AlternativeName(defect) => write!(out, "has a defect: {defect}"),
            Self::OldVersion(version) => {
                write!(out, "is of version {version}, which has no extensions: no names, no usages")
            }
            Self::NegativeSerial => out.write_str("has a negative serial number"),
            Self::ZeroSerial => out.write_str("has the serial number 0"),
            Self::LongSerial(bytes) => write!(out, "has a serial number of {bytes} bytes"),
            Self::DuplicateExtension(oid) => write!(out, "has the extension {oid} twice"),
            Self::AlgorithmsDiffer => {
                out.write_str("names another signature algorithm inside than outside of what is signed")
            }
            Self::AlgorithmParameters(parameters) => {
                write!(out, "has parameters beside its signature algorithm that do not belong there: {parameters:?}")
            }
            Self::WeakHash(hash) => write!(out, "is signed with {hash:?}"),
            Self::WeakHashOfRoot(hash) => write!(out, "signs itself with {hash:?}"),
            Self::PathLengthWithoutCa => out.write_str("is no CA, and has a path length constraint"),
            Self::BasicConstraintsNotCritical => out.write_str("is a CA whose basic constraints are not critical"),
            Self::NoSubjectKeyId => out.write_str("is a CA without a subject key identifier"),
            Self::NoAuthorityKeyId => out.write_str("has no authority key identifier"),
            Self::UnknownCritical(oid) => write!(out, "has the critical extension {oid}, which Go does not know"),
            Self::EmptySubject => out.write_str("has an empty subject, and no critical alternative names in its place"),
            Self::ControlCharacters(oid) => write!(out, "has a control character in {oid}"),
            Self::OldEncoding { attribute, encoding } => write!(out, "writes {attribute} as {encoding:?}"),
            Self::DnsName { name, fault } => write!(out, "has the DNS name {name:?}: {fault}"),
        }
    }
}

/// One thing that is questionable in a public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyLint {
    /// An RSA key of so many bits: fewer than 3000, which the BSI wants since 2024, or more than 8192, which TLS of Go
    /// takes.
    RsaSize(u32),
    /// An RSA key that can be broken.
    Weak(Weakness),
    /// A curve that TLS does not use, one that nobody knows, or a point that is not on it.
    Curve,
    /// A key that kubeadm cannot load: neither RSA nor ECDSA.
    Kind,
}

/// What is questionable in one key.
pub fn lint_key(key: &PublicKey) -> Vec<KeyLint> {
    match &key.kind {
        KeyKind::Rsa(rsa) => {
            let size = Some(rsa.bits()).filter(|bits| !(3000..=8192).contains(bits)).map(KeyLint::RsaSize);
            size.into_iter().chain(rsa::weaknesses(rsa).into_iter().map(KeyLint::Weak)).collect()
        }
        KeyKind::Ec(Curve::P256 | Curve::P384 | Curve::P521) => Vec::new(),
        KeyKind::Ec(_) => vec![KeyLint::Curve],
        KeyKind::Unreadable(oid) if oid.is(known::EC_PUBLIC_KEY) => vec![KeyLint::Curve],
        // What is wrong with it is a defect of its certificate.
        KeyKind::Unreadable(_) => Vec::new(),
        KeyKind::Ed25519 | KeyKind::Dsa | KeyKind::Other(_) => vec![KeyLint::Kind],
    }
}

impl fmt::Display for KeyLint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RsaSize(bits @ ..2048) => write!(out, "has {bits} bits, fewer than 2048"),
            Self::RsaSize(bits @ ..3000) => write!(out, "has {bits} bits, fewer than 3000"),
            Self::RsaSize(bits) => write!(out, "has {bits} bits, and Go refuses more than 8192 in handshakes"),
            Self::Weak(weakness) => write!(out, "{weakness}"),
            Self::Curve => out.write_str("lies on no curve of P-256, P-384 and P-521"),
            Self::Kind => out.write_str("is of neither RSA nor ECDSA"),
        }
    }
}

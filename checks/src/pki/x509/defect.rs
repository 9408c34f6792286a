//! What is wrong with a certificate that can be read nevertheless: where, what, and which versions of Go refuse to
//! parse it.

use std::fmt;

use super::go_version::{GoVersion, Refusal};
use super::oid::Oid;

/// One thing that is malformed in a certificate. What it belongs to is missing in the certificate's fields, or was read
/// as it is most likely meant; all else is there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Defect {
    /// Where it is.
    pub part: Part,
    /// What it is.
    pub flaw: Flaw,
}

/// A part of a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Part {
    /// The outermost sequence.
    Certificate,
    /// The version.
    Version,
    /// The serial number.
    Serial,
    /// The signature algorithm, inside or outside of what is signed.
    SignatureAlgorithm,
    /// The issuer's name.
    Issuer,
    /// The first second.
    NotBefore,
    /// The last second.
    NotAfter,
    /// The subject's name.
    Subject,
    /// The public key.
    PublicKey,
    /// The unique identifiers of X.509 version 2.
    UniqueIds,
    /// The list of extensions.
    Extensions,
    /// One extension.
    Extension(Oid),
    /// The signature.
    Signature,
}

impl fmt::Display for Part {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Certificate => "certificate",
            Self::Version => "version",
            Self::Serial => "serial number",
            Self::SignatureAlgorithm => "signature algorithm",
            Self::Issuer => "issuer",
            Self::NotBefore => "notBefore",
            Self::NotAfter => "notAfter",
            Self::Subject => "subject",
            Self::PublicKey => "public key",
            Self::UniqueIds => "unique identifiers",
            Self::Extensions => "extensions",
            Self::Extension(oid) => return write!(out, "extension {oid}"),
            Self::Signature => "signature",
        })
    }
}

/// What can be wrong.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Flaw {
    /// Not the DER that belongs there.
    Malformed,
    /// Bytes after the end that nobody reads: how many.
    TrailingData(usize),
    /// A version beyond 3, or below 1.
    UnknownVersion,
    /// An integer in more bytes than it needs.
    NotMinimal,
    /// A serial number below zero: `x509: negative serial number`.
    NegativeSerial,
    /// The two algorithm identifiers, inside and outside of what is signed, differ (RFC 5280 section 4.1.1.2).
    AlgorithmsDiffer,
    /// A name that breaks off.
    MalformedName,
    /// An attribute whose value has bytes that its string type does not allow.
    InvalidString(Oid),
    /// An attribute in BMPString with a character that is reserved.
    ReservedCharacter(Oid),
    /// An attribute whose value is no string.
    NoString {
        /// The attribute.
        attribute: Oid,
        /// The tag of its value.
        tag: u8,
    },
    /// A time with a fraction of a second.
    FractionalSeconds,
    /// A time with an offset from UTC instead of `Z`.
    TimeOffset,
    /// A time whose offset from UTC is zero, yet not written as `Z`.
    ZeroOffset,
    /// A time without seconds.
    NoSeconds,
    /// UTCTime for a year from 2050 on, or GeneralizedTime before (RFC 5280 section 4.1.2.5).
    WrongTimeType,
    /// The parameters of the key's algorithm are not those that belong to it.
    KeyParameters,
    /// An RSA key whose modulus or exponent is not positive, or too large to be used.
    RsaNumbers,
    /// A curve that Go does not know, or curve parameters that are written out.
    UnsupportedCurve,
    /// The public key is no point of its curve.
    NotOnCurve,
    /// Extensions in a certificate that says it is of version 1 or 2: nobody reads them.
    ExtensionsBeforeVersion3,
    /// An extension that stands there twice.
    DuplicateExtension,
    /// An extension that must not be critical, and is.
    Critical,
    /// A path length constraint below zero.
    NegativePathLen,
    /// A path length constraint beyond 2⁶³ - 1.
    HugePathLen,
    /// A name with bytes outside of ASCII.
    NotAscii(Box<str>),
    /// A URI that cannot be parsed, or whose host is none.
    InvalidUri(Box<str>),
    /// A URI whose host begins with a dot.
    DottedHost(Box<str>),
    /// An IP address, or an IP range of a constraint, of so many bytes.
    IpLength(usize),
    /// An IP range whose mask is none.
    IpMask,
    /// A name constraint that is no name of its kind.
    InvalidConstraint(Box<str>),
    /// Name constraints that constrain nothing.
    NoConstraint,
    /// The same policy twice.
    DuplicatePolicy(Oid),
}

impl Defect {
    /// Which versions of Go refuse to parse a certificate with it.
    ///
    /// Read in crypto/x509/parser.go of Go 1.17 to 1.26; doc/godebug.md for negative serial numbers, the release notes
    /// of 1.19 for duplicate extensions and of 1.25 for negative path lengths.
    pub fn refusal(&self) -> Refusal {
        let policies = |oid: &Oid| {
            oid.is(super::known::POLICY_CONSTRAINTS)
                || oid.is(super::known::POLICY_MAPPINGS)
                || oid.is(super::known::INHIBIT_ANY_POLICY)
        };
        match (&self.flaw, &self.part) {
            (Flaw::TrailingData(_), Part::Extension(oid)) if oid.is(super::known::NAME_CONSTRAINTS) => Refusal::Always,
            (Flaw::TrailingData(_), part) if *part != Part::Certificate && *part != Part::Version => Refusal::Never,
            (Flaw::TimeOffset | Flaw::NoSeconds | Flaw::WrongTimeType | Flaw::ExtensionsBeforeVersion3, _) => {
                Refusal::Never
            }
            (Flaw::NegativeSerial | Flaw::Critical, _) => Refusal::since(23),
            (Flaw::DuplicateExtension, _) => Refusal::since(19),
            (Flaw::NegativePathLen | Flaw::ReservedCharacter(_), _) => Refusal::since(25),
            (Flaw::DuplicatePolicy(_) | Flaw::DottedHost(_), _) => Refusal::since(24),
            (Flaw::Malformed, Part::Extension(oid)) if policies(oid) => Refusal::since(24),
            _ => Refusal::Always,
        }
    }

    /// Whether this version of Go refuses to parse a certificate with it.
    pub fn refused_by(&self, version: GoVersion) -> bool {
        self.refusal().by(version)
    }
}

impl fmt::Display for Defect {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: ", self.part)?;
        match &self.flaw {
            Flaw::Malformed => out.write_str("malformed"),
            Flaw::TrailingData(bytes) => write!(out, "{bytes} bytes of trailing data"),
            Flaw::UnknownVersion => out.write_str("no version of X.509"),
            Flaw::NotMinimal => out.write_str("not in the fewest bytes"),
            Flaw::NegativeSerial => out.write_str("negative"),
            Flaw::AlgorithmsDiffer => out.write_str("not the same inside and outside of what is signed"),
            Flaw::MalformedName => out.write_str("the name breaks off"),
            Flaw::InvalidString(oid) => write!(out, "{oid} has bytes that its string type does not allow"),
            Flaw::ReservedCharacter(oid) => write!(out, "{oid} has a reserved character"),
            Flaw::NoString { attribute, tag } => write!(out, "{attribute} is no string, but has the tag {tag:#04x}"),
            Flaw::FractionalSeconds => out.write_str("has a fraction of a second"),
            Flaw::TimeOffset => out.write_str("has an offset from UTC"),
            Flaw::ZeroOffset => out.write_str("is in UTC, but not written with Z"),
            Flaw::NoSeconds => out.write_str("has no seconds"),
            Flaw::WrongTimeType => out.write_str("has the wrong type of time for its year"),
            Flaw::KeyParameters => out.write_str("has parameters that do not belong to its algorithm"),
            Flaw::RsaNumbers => out.write_str("has a modulus or an exponent that no RSA key can have"),
            Flaw::UnsupportedCurve => out.write_str("is on an unsupported curve"),
            Flaw::NotOnCurve => out.write_str("is no point of its curve"),
            Flaw::ExtensionsBeforeVersion3 => out.write_str("the version allows none, so nobody reads them"),
            Flaw::DuplicateExtension => out.write_str("stands there twice"),
            Flaw::Critical => out.write_str("must not be critical"),
            Flaw::NegativePathLen => out.write_str("the path length is negative"),
            Flaw::HugePathLen => out.write_str("the path length is too large"),
            Flaw::NotAscii(name) => write!(out, "{name:?} is not ASCII"),
            Flaw::InvalidUri(uri) => write!(out, "{uri:?} is no URI"),
            Flaw::DottedHost(uri) => write!(out, "the host of {uri:?} begins with a dot"),
            Flaw::IpLength(bytes) => write!(out, "an IP address of {bytes} bytes"),
            Flaw::IpMask => out.write_str("an IP range whose mask is none"),
            Flaw::InvalidConstraint(name) => write!(out, "{name:?} is no constraint"),
            Flaw::NoConstraint => out.write_str("constrains nothing"),
            Flaw::DuplicatePolicy(oid) => write!(out, "{oid} stands there twice"),
        }
    }
}

/// Where the flaws of one part are put.
pub(super) struct Flaws<'a> {
    part: Part,
    defects: &'a mut Vec<Defect>,
}

/// More than these are not kept: a hostile certificate can have as many as bytes.
const MOST: usize = 64;

/// What is found malformed in one certificate.
#[derive(Default)]
pub(super) struct Defects(pub(super) Vec<Defect>);

impl Defects {
    pub(super) const fn of(&mut self, part: Part) -> Flaws<'_> {
        Flaws { part, defects: &mut self.0 }
    }
}

impl Flaws<'_> {
    /// Remembers a flaw, once.
    pub(super) fn add(&mut self, flaw: Flaw) {
        let defect = Defect { part: self.part.clone(), flaw };
        // One that Go refuses is never lost among others.
        if !self.defects.contains(&defect)
            && (self.defects.len() < MOST || defect.refusal() != Refusal::Never && self.defects.len() < 2 * MOST)
        {
            self.defects.push(defect);
        }
    }
}

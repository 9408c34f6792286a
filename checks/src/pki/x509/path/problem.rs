//! What can be wrong on a path, and for whom: the rules of Go's verifier and of RFC 5280 as data of each problem.

use std::fmt;
use std::net::IpAddr;

use super::super::defect::Defect;
use super::super::go_version::{GoVersion, Refusal};
use super::super::name::Name;
use super::super::oid::Oid;
use super::{Mode, Usage};

/// One thing that is wrong with one certificate of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Which certificate: 0 is the leaf.
    pub at: usize,
    /// What.
    pub kind: ProblemKind,
    /// Which versions of Go refuse the path for it.
    pub go: Refusal,
    /// Whether RFC 5280 section 6 refuses the path for it.
    pub rfc5280: bool,
}

/// What can be wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProblemKind {
    /// It is malformed.
    Malformed(Defect),
    /// A critical extension that the verifier does not know.
    UnknownCritical(Oid),
    /// The time is after its last second.
    Expired,
    /// The time is before its first second.
    NotYetValid,
    /// No certificate of this issuer is at hand.
    NoIssuer(Box<Name>),
    /// So many certificates are on the path that it is not followed beyond this one.
    TooLong,
    /// It is signed by its own key, and no root.
    UntrustedRoot,
    /// Its signature is not by the next one's key, although the identifiers of keys agree or are not there: it was
    /// changed, or the key was.
    WrongSignature,
    /// Its signature is not by the next one's key, and the key identifiers say so, too: a CA with the same name, but
    /// another key, as after a rotation.
    SameSubjectOtherKey,
    /// Its signature is by an algorithm that cannot be verified, or that the next one's key does not have.
    UnsupportedSignature,
    /// It is signed with SHA-1.
    Sha1,
    /// It is signed with MD5.
    Md5,
    /// Its RSA key, with which the one before it is signed, is of less than 1024 bits.
    WeakRsa(u32),
    /// It names its issuer as the next one is called, but not in the same bytes.
    IssuerEncoding,
    /// It names another issuer than the next one, although the key identifier is that of the next one.
    IssuerName,
    /// Its authority key identifier is not the subject key identifier of the next one. OpenSSL refuses that.
    AkiMismatch,
    /// It signed the one before it, and does not say that it is a CA.
    NotACa,
    /// It signed the one before it, and its key usage does not have keyCertSign.
    NoCertSign,
    /// More intermediate CAs follow than it allows.
    PathLen {
        /// How many it allows.
        allowed: u64,
        /// How many there are.
        found: u64,
    },
    /// Its purposes do not include the one that is asked for.
    Eku(Usage),
    /// Its list of purposes is empty.
    EmptyEku,
    /// A name of another certificate on the path is not what its name constraints allow.
    NameConstraint {
        /// The certificate with the name.
        of: usize,
        /// The name.
        name: Constrained,
        /// Why not.
        why: ConstraintBreach,
    },
    /// Its name constraints take too long to check.
    TooManyConstraints,
    /// A policy is required, and the path has none.
    NoPolicy,
    /// It has no subject alternative names; the common name does not count.
    NoSan,
    /// It is not for this name.
    NameMismatch(WantedName),
}

/// A name that a certificate shall be for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WantedName {
    /// A DNS name; what can be read as an IP address is one.
    Dns(String),
    /// An IP address.
    Ip(IpAddr),
}

impl fmt::Display for WantedName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => out.write_str(name),
            Self::Ip(ip) => write!(out, "{ip}"),
        }
    }
}

/// A name to which name constraints apply.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the kinds of names")]
pub enum Constrained {
    Dns(String),
    Ip(IpAddr),
    Uri(String),
    Email(String),
    Directory(String),
    /// Of another kind: its tag.
    Other(u8),
}

impl fmt::Display for Constrained {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => write!(out, "DNS name {name:?}"),
            Self::Ip(ip) => write!(out, "IP address {ip}"),
            Self::Uri(uri) => write!(out, "URI {uri:?}"),
            Self::Email(email) => write!(out, "e-mail address {email:?}"),
            Self::Other(tag) => write!(out, "name of the kind {tag:#04x}"),
            Self::Directory(name) => write!(out, "directory name {name}"),
        }
    }
}

/// Why a name is not allowed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ConstraintBreach {
    /// It is within none of the permitted subtrees.
    NotPermitted,
    /// It is within this excluded subtree.
    Excluded(String),
    /// It cannot be compared with a constraint.
    Incomparable,
}

impl Problem {
    pub(super) const fn new(at: usize, kind: ProblemKind, go: Refusal, rfc5280: bool) -> Self {
        Self { at, kind, go, rfc5280 }
    }

    /// Refused by everyone.
    pub(super) const fn fatal(at: usize, kind: ProblemKind) -> Self {
        Self::new(at, kind, Refusal::Always, true)
    }

    /// Whether a verifier of this kind refuses the path for it.
    pub fn refused_in(&self, mode: Mode) -> bool {
        match mode {
            Mode::Go(version) => self.go.by(version),
            Mode::Rfc5280 => self.rfc5280,
        }
    }

    /// Whether a newer Go refuses the path for it, and an older one does not.
    pub fn newly_refused(&self, old: GoVersion, new: GoVersion) -> bool {
        !self.go.by(old) && self.go.by(new)
    }
}

impl fmt::Display for ProblemKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(defect) => write!(out, "is malformed: {defect}"),
            Self::UnknownCritical(oid) => write!(out, "has the critical extension {oid}, which is not known"),
            Self::Expired => out.write_str("has expired"),
            Self::NotYetValid => out.write_str("is not valid yet"),
            Self::NoIssuer(name) => write!(out, "is signed by {name}, of which there is no certificate"),
            Self::TooLong => out.write_str("is not followed further, for the path is too long"),
            Self::UntrustedRoot => out.write_str("is signed by itself, and is not trusted"),
            Self::WrongSignature => out.write_str("has a signature that is not by the key of its issuer"),
            Self::SameSubjectOtherKey => out.write_str("is signed by another key than that of the CA of this name"),
            Self::UnsupportedSignature => {
                out.write_str("has a signature that cannot be verified with the key of its issuer")
            }
            Self::Sha1 => out.write_str("is signed with SHA-1"),
            Self::Md5 => out.write_str("is signed with MD5"),
            Self::WeakRsa(bits) => write!(out, "has an RSA key of {bits} bits"),
            Self::IssuerEncoding => out.write_str("names its issuer in another encoding than the issuer itself"),
            Self::IssuerName => out.write_str("names another issuer than the one that its key identifier leads to"),
            Self::AkiMismatch => {
                out.write_str("has an authority key identifier that is not its issuer's subject key identifier")
            }
            Self::NotACa => out.write_str("is no CA"),
            Self::NoCertSign => out.write_str("may not sign certificates by its key usage"),
            Self::PathLen { allowed, found } => write!(out, "allows {allowed} intermediate CAs, and there are {found}"),
            Self::Eku(usage) => write!(out, "is not for the purpose {usage}"),
            Self::EmptyEku => out.write_str("has an empty list of purposes"),
            Self::NameConstraint { name, why, .. } => match why {
                ConstraintBreach::NotPermitted => write!(out, "does not permit the {name}"),
                ConstraintBreach::Excluded(by) => write!(out, "excludes the {name} by {by:?}"),
                ConstraintBreach::Incomparable => {
                    write!(out, "has name constraints, and the {name} cannot be compared with them")
                }
            },
            Self::TooManyConstraints => out.write_str("has more name constraints than can be checked"),
            Self::NoPolicy => out.write_str("has no valid policy, and one is required"),
            Self::NoSan => out.write_str("has no subject alternative names; the common name does not count"),
            Self::NameMismatch(name) => write!(out, "is not for {name}"),
        }
    }
}

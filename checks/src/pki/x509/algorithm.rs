//! Signature algorithms: which one an AlgorithmIdentifier names, as Go reads it.

use std::fmt;

use super::defect::{Flaw, Flaws};
use super::der::{Reader, tag, unsigned};
use super::oid::{Oid, known};

/// How a certificate is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureAlgorithm {
    /// Its identifier.
    pub oid: Oid,
    /// What it means.
    pub scheme: Scheme,
    /// Which parameters stand beside the identifier.
    pub parameters: Parameters,
}

/// A way to sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// RSA with the padding of PKCS#1 v1.5.
    RsaPkcs1(Hash),
    /// RSA with PSS padding: the same hash for its mask, and a salt of the hash's length.
    RsaPss(Hash),
    /// ECDSA.
    Ecdsa(Hash),
    /// Ed25519.
    Ed25519,
    /// DSA, with which nothing verifies any more.
    Dsa,
    /// One that nobody in a cluster knows.
    Unknown,
}

/// A hash function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names of the functions")]
pub enum Hash {
    Md5,
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

/// The parameters beside an algorithm's identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Parameters {
    /// None.
    Absent,
    /// NULL.
    Null,
    /// Others.
    Other,
}

impl Scheme {
    /// The hash that it signs, if it is not part of the scheme.
    pub const fn hash(self) -> Option<Hash> {
        match self {
            Self::RsaPkcs1(hash) | Self::RsaPss(hash) | Self::Ecdsa(hash) => Some(hash),
            Self::Ed25519 | Self::Dsa | Self::Unknown => None,
        }
    }

    /// The parameters that belong to it (RFC 3279, RFC 4055, RFC 5758, RFC 8410).
    pub const fn parameters(self) -> Option<Parameters> {
        match self {
            Self::RsaPkcs1(_) => Some(Parameters::Null),
            Self::RsaPss(_) => Some(Parameters::Other),
            Self::Ecdsa(_) | Self::Ed25519 | Self::Dsa => Some(Parameters::Absent),
            Self::Unknown => None,
        }
    }
}

impl SignatureAlgorithm {
    /// Reads the content of an AlgorithmIdentifier.
    pub(super) fn parse(content: &[u8], flaws: &mut Flaws<'_>) -> Self {
        let mut reader = Reader::new(content);
        let Some(oid) = reader.oid() else {
            flaws.add(Flaw::Malformed);
            return Self { oid: Oid::new(&[]), scheme: Scheme::Unknown, parameters: Parameters::Absent };
        };
        let value = reader.rest();
        let parameters = match reader.any() {
            None if value.is_empty() => Parameters::Absent,
            None => {
                flaws.add(Flaw::Malformed);
                Parameters::Other
            }
            Some(null) if null.whole == [tag::NULL, 0] => Parameters::Null,
            Some(_) => Parameters::Other,
        };
        let scheme = match oid {
            known::MD5_RSA => Scheme::RsaPkcs1(Hash::Md5),
            known::SHA1_RSA | known::SHA1_RSA_OIW => Scheme::RsaPkcs1(Hash::Sha1),
            known::SHA256_RSA => Scheme::RsaPkcs1(Hash::Sha256),
            known::SHA384_RSA => Scheme::RsaPkcs1(Hash::Sha384),
            known::SHA512_RSA => Scheme::RsaPkcs1(Hash::Sha512),
            known::RSA_PSS => pss(value).map_or(Scheme::Unknown, Scheme::RsaPss),
            known::SHA1_ECDSA => Scheme::Ecdsa(Hash::Sha1),
            known::SHA256_ECDSA => Scheme::Ecdsa(Hash::Sha256),
            known::SHA384_ECDSA => Scheme::Ecdsa(Hash::Sha384),
            known::SHA512_ECDSA => Scheme::Ecdsa(Hash::Sha512),
            known::ED25519 if parameters == Parameters::Absent => Scheme::Ed25519,
            known::SHA1_DSA | known::SHA256_DSA => Scheme::Dsa,
            _ => Scheme::Unknown,
        };
        Self { oid: Oid::new(oid), scheme, parameters }
    }
}

/// The hash of RSA PSS, if its parameters are of the one form that everyone takes.
fn pss(parameters: &[u8]) -> Option<Hash> {
    let mut all = Reader::new(parameters).enter(tag::SEQUENCE)?;
    let hash = |mut identifier: Reader<'_>| {
        let oid = identifier.oid()?;
        let hash = match oid {
            known::SHA256 => Hash::Sha256,
            known::SHA384 => Hash::Sha384,
            known::SHA512 => Hash::Sha512,
            _ => return None,
        };
        matches!(identifier.rest(), [] | [tag::NULL, 0]).then_some(hash)
    };
    let digest = hash(all.enter(tag::constructed(0))?.enter(tag::SEQUENCE)?)?;
    let mut mask = all.enter(tag::constructed(1))?.enter(tag::SEQUENCE)?;
    if mask.oid()? != known::MGF1 || hash(mask.enter(tag::SEQUENCE)?)? != digest {
        return None;
    }
    let salt = unsigned(all.enter(tag::constructed(2))?.integer()?)?;
    let trailer = if all.is_empty() { 1 } else { unsigned(all.enter(tag::constructed(3))?.integer()?)? };
    let length = match digest {
        Hash::Sha256 => 32,
        Hash::Sha384 => 48,
        Hash::Sha512 => 64,
        Hash::Md5 | Hash::Sha1 => return None,
    };
    (salt == length && trailer == 1).then_some(digest)
}

impl fmt::Display for SignatureAlgorithm {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.scheme {
            Scheme::RsaPss(hash) => write!(out, "{}-RSAPSS", format!("{hash:?}").to_uppercase()),
            _ => write!(out, "{}", self.oid),
        }
    }
}

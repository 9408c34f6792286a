//! Public keys: what kind they are, how large, and the SHA-256 of the SubjectPublicKeyInfo by which keys pair with
//! certificates.

use std::fmt;

use aws_lc_rs::digest;

use super::defect::{Flaw, Flaws};
use super::der::{Reader, right_aligned, tag};
use super::oid::{Oid, known};
use super::point::Group;

/// The SHA-256 of some DER.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// The SHA-256 of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let mut sum = [0; 32];
        sum.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
        Self(sum)
    }
}

/// 64 hexadecimal digits, as `kubeadm token create --print-join-command` prints them after `sha256:`.
impl fmt::Display for Fingerprint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    /// Its kind and size.
    pub kind: KeyKind,
    /// Its SubjectPublicKeyInfo, in DER.
    pub spki: Box<[u8]>,
    /// The SHA-256 of that: equal for a certificate and the private key that belongs to it. kubeadm's
    /// `--discovery-token-ca-cert-hash` is this of a CA.
    pub sha256: Fingerprint,
    /// Where in `spki` the key itself begins and ends, without its algorithm.
    bits: (usize, usize),
    /// The key itself, where some bits of its last byte are unused: Go moves it to the right.
    aligned: Option<Box<[u8]>>,
}

/// What a public key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyKind {
    /// RSA.
    Rsa(RsaKey),
    /// A point on this curve.
    Ec(Curve),
    /// Ed25519.
    Ed25519,
    /// DSA, with which nothing verifies any more.
    Dsa,
    /// One that nobody in a cluster knows: X25519, Ed448, ML-DSA and others.
    Other(Oid),
    /// Of this algorithm, but not readable; the certificate's defects say why.
    Unreadable(Oid),
}

/// The numbers of an RSA key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RsaKey {
    /// The modulus: big-endian, without leading zeros.
    pub modulus: Box<[u8]>,
    /// The public exponent.
    pub exponent: u64,
}

impl RsaKey {
    /// The size of the modulus.
    pub fn bits(&self) -> u32 {
        let first = self.modulus.first().map_or(0, |byte| 8 - byte.leading_zeros());
        u32::try_from(self.modulus.len().saturating_sub(1) * 8).unwrap_or(u32::MAX).saturating_add(first)
    }
}

/// An elliptic curve.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names of NIST")]
pub enum Curve {
    P224,
    P256,
    P384,
    P521,
    /// Another one, by name.
    Other(Oid),
}

impl Curve {
    pub(super) fn of(oid: &[u8]) -> Self {
        match oid {
            known::P224 => Self::P224,
            known::P256 => Self::P256,
            known::P384 => Self::P384,
            known::P521 => Self::P521,
            other => Self::Other(Oid::new(other)),
        }
    }

    /// The size of its field; 0 if it is another one.
    pub const fn bits(&self) -> u32 {
        match self {
            Self::P224 => 224,
            Self::P256 => 256,
            Self::P384 => 384,
            Self::P521 => 521,
            Self::Other(_) => 0,
        }
    }
}

impl fmt::Display for Curve {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Other(oid) => write!(out, "{oid}"),
            known => write!(out, "P-{}", known.bits()),
        }
    }
}

/// `RSA-2048`, `ECDSA-P-256`, `Ed25519`.
impl fmt::Display for KeyKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rsa(key) => write!(out, "RSA-{}", key.bits()),
            Self::Ec(curve) => write!(out, "ECDSA {curve}"),
            Self::Ed25519 => out.write_str("Ed25519"),
            Self::Dsa => out.write_str("DSA"),
            Self::Other(oid) => write!(out, "{oid}"),
            Self::Unreadable(oid) => write!(out, "unreadable {oid}"),
        }
    }
}

impl PublicKey {
    /// Its size: of an RSA modulus, or of a curve's field; 0 if it is not known.
    pub fn bits(&self) -> u32 {
        match &self.kind {
            KeyKind::Rsa(key) => key.bits(),
            KeyKind::Ec(curve) => curve.bits(),
            KeyKind::Ed25519 => 256,
            KeyKind::Dsa | KeyKind::Other(_) | KeyKind::Unreadable(_) => 0,
        }
    }

    /// The key itself, without its algorithm: what verifies signatures.
    pub(super) fn bytes(&self) -> &[u8] {
        self.aligned.as_deref().unwrap_or(&self.spki[self.bits.0..self.bits.1])
    }

    /// A key of this kind that is known to be sound: its SubjectPublicKeyInfo, which ends with the key itself in so
    /// many bytes.
    pub(super) fn new(kind: KeyKind, spki: &[u8], length: usize) -> Self {
        let bits = (spki.len() - length, spki.len());
        Self { kind, spki: spki.into(), sha256: Fingerprint::of(spki), bits, aligned: None }
    }

    /// Reads a SubjectPublicKeyInfo; `None` if it is none.
    pub(super) fn parse(spki: &[u8], flaws: &mut Flaws<'_>) -> Option<Self> {
        let mut reader = Reader::new(spki).enter(tag::SEQUENCE)?;
        let mut algorithm = reader.enter(tag::SEQUENCE)?;
        let oid = algorithm.oid()?;
        if !algorithm.is_empty() && algorithm.any().is_none() {
            flaws.add(Flaw::Malformed);
        }
        let mut algorithm = Reader::new(spki).enter(tag::SEQUENCE)?.enter(tag::SEQUENCE)?;
        algorithm.oid()?;
        let (unused, bits) = reader.bits()?;
        if !reader.is_empty() {
            flaws.add(Flaw::TrailingData(reader.rest().len()));
        }
        let aligned = (unused != 0).then(|| right_aligned(unused, bits));
        let kind = kind(oid, algorithm, aligned.as_deref().unwrap_or(bits)).unwrap_or_else(|flaw| {
            flaws.add(flaw);
            KeyKind::Unreadable(Oid::new(oid))
        });
        let end = spki.len() - reader.rest().len();
        Some(Self { kind, spki: spki.into(), sha256: Fingerprint::of(spki), bits: (end - bits.len(), end), aligned })
    }
}

/// The kind of a key of this algorithm; what Go's parsePublicKey refuses is an error.
fn kind(oid: &[u8], mut parameters: Reader<'_>, bits: &[u8]) -> Result<KeyKind, Flaw> {
    let first = parameters.any();
    match oid {
        known::RSA_ENCRYPTION => {
            if first.is_none_or(|null| null.whole != [tag::NULL, 0]) {
                return Err(Flaw::KeyParameters);
            }
            Ok(KeyKind::Rsa(rsa(bits)?))
        }
        known::EC_PUBLIC_KEY => {
            let named = first.filter(|curve| curve.tag == tag::OID).ok_or(Flaw::UnsupportedCurve)?;
            let curve = Curve::of(named.content);
            let group = Group::of(&curve).ok_or(Flaw::UnsupportedCurve)?;
            if group.has(bits) { Ok(KeyKind::Ec(curve)) } else { Err(Flaw::NotOnCurve) }
        }
        known::ED25519 if first.is_some() => Err(Flaw::KeyParameters),
        known::ED25519 if bits.len() != 32 => Err(Flaw::Malformed),
        known::ED25519 => Ok(KeyKind::Ed25519),
        known::DSA => {
            let positive = |bytes: &[u8]| bytes.first().is_some_and(|first| first & 0x80 == 0) && bytes != [0];
            let mut inner = first
                .filter(|all| all.tag == tag::SEQUENCE)
                .map(|all| Reader::new(all.content))
                .ok_or(Flaw::KeyParameters)?;
            let y = Reader::new(bits).integer().ok_or(Flaw::Malformed)?;
            for _ in 0..3 {
                inner.integer().filter(|number| positive(number)).ok_or(Flaw::KeyParameters)?;
            }
            if positive(y) { Ok(KeyKind::Dsa) } else { Err(Flaw::Malformed) }
        }
        other => Ok(KeyKind::Other(Oid::new(other))),
    }
}

/// Reads an RSAPublicKey.
pub(super) fn rsa(der: &[u8]) -> Result<RsaKey, Flaw> {
    let mut key = Reader::new(der).enter(tag::SEQUENCE).ok_or(Flaw::Malformed)?;
    let (modulus, exponent) = (key.integer().ok_or(Flaw::Malformed)?, key.integer().ok_or(Flaw::Malformed)?);
    let exponent =
        super::der::unsigned(exponent).filter(|exponent| *exponent > 0 && *exponent <= i64::MAX.unsigned_abs());
    let modulus = modulus.strip_prefix(&[0]).unwrap_or(if modulus[0] & 0x80 == 0 { modulus } else { &[] });
    match exponent {
        Some(exponent) if !modulus.is_empty() => Ok(RsaKey { modulus: modulus.into(), exponent }),
        _ => Err(Flaw::RsaNumbers),
    }
}

#[cfg(test)]
mod tests {
    use super::super::defect::{Defects, Part};
    use super::*;

    #[test]
    fn unused_bits_are_moved_away_as_go_does() {
        let mut spki = vec![0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
        spki.extend([0x80; 32]);
        let mut parsed = |unused: u8| {
            spki[11] = unused;
            let mut defects = Defects::default();
            let key = PublicKey::parse(&spki, &mut defects.of(Part::PublicKey))?;
            Some((key.kind.clone(), key.bytes().to_vec()))
        };
        assert_eq!(parsed(0), Some((KeyKind::Ed25519, vec![0x80; 32])));
        assert_eq!(parsed(6), Some((KeyKind::Ed25519, vec![2; 32])));
        assert_eq!(parsed(8), None, "there are no eight bits to spare");
    }
}

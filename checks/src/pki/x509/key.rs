//! Keys in DER: of which form they are, and the public half, by which they pair with certificates.
//!
//! Nothing of a private key stays: its bytes are read in place and the public half is all that a [`Key`] holds, so that
//! printing one is safe.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};

use serde::{Deserialize, Serialize};

use super::defect::{Defects, Part};
use super::der::{Reader, minimal, tag};
use super::number::RsaNumbers;
use super::oid::known;
use super::point::Group;
use super::public_key::{Curve, KeyKind, PublicKey, RsaKey};

/// What is known of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// How it is written.
    pub form: KeyForm,
    /// Its public half; for a private key that is the half that belongs to it.
    pub public: PublicKey,
}

/// How keys are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyForm {
    /// `RSA PRIVATE KEY`: PKCS#1.
    Pkcs1Private,
    /// `EC PRIVATE KEY`: SEC 1.
    Sec1Private,
    /// `PRIVATE KEY`: PKCS#8.
    Pkcs8Private,
    /// `PUBLIC KEY`: a SubjectPublicKeyInfo.
    PkixPublic,
    /// `RSA PUBLIC KEY`: PKCS#1.
    Pkcs1Public,
}

impl KeyForm {
    /// Whether it holds the private half.
    pub const fn is_private(self) -> bool {
        matches!(self, Self::Pkcs1Private | Self::Sec1Private | Self::Pkcs8Private)
    }

    /// The PEM label that belongs to it.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Pkcs1Private => "RSA PRIVATE KEY",
            Self::Sec1Private => "EC PRIVATE KEY",
            Self::Pkcs8Private => "PRIVATE KEY",
            Self::PkixPublic => "PUBLIC KEY",
            Self::Pkcs1Public => "RSA PUBLIC KEY",
        }
    }
}

/// Why a key yields no public half.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BrokenKey {
    /// Not the DER of its form.
    #[error("the key is malformed")]
    Malformed,
    /// Its private half does not belong to its public half, or is out of range.
    #[error("the key contradicts itself")]
    Inconsistent,
    /// Of an algorithm or curve that Kubernetes does not load.
    #[error("a key of an unsupported kind: {0}")]
    Unsupported(String),
    /// Encrypted with a passphrase, which no component of Kubernetes can be given.
    #[error("the key is encrypted with a passphrase, and Kubernetes cannot ask for it")]
    Encrypted,
}

impl Key {
    /// Reads a key of this form.
    ///
    /// # Errors
    ///
    /// [`BrokenKey`], if the public half cannot be told.
    pub fn parse(form: KeyForm, der: &[u8]) -> Result<Self, BrokenKey> {
        let public = match form {
            KeyForm::PkixPublic => public(der)?,
            KeyForm::Pkcs1Public => rsa_public(der)?,
            KeyForm::Pkcs1Private => pkcs1(der)?,
            KeyForm::Sec1Private => sec1(der, None)?,
            KeyForm::Pkcs8Private => pkcs8(der)?,
        };
        Ok(Self { form, public })
    }
}

/// Reads a SubjectPublicKeyInfo.
fn public(spki: &[u8]) -> Result<PublicKey, BrokenKey> {
    let whole = Reader::new(spki).element(tag::SEQUENCE).ok_or(BrokenKey::Malformed)?.whole;
    let mut defects = Defects::default();
    let key = PublicKey::parse(whole, &mut defects.of(Part::PublicKey)).ok_or(BrokenKey::Malformed)?;
    match &key.kind {
        KeyKind::Unreadable(oid) if oid.is(known::EC_PUBLIC_KEY) => Err(BrokenKey::Unsupported(oid.to_string())),
        KeyKind::Unreadable(_) => Err(BrokenKey::Malformed),
        _ => Ok(key),
    }
}

/// Some DER: a tag, and what it holds.
fn wrap(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = content.len().to_be_bytes();
    let digits = &length[length.iter().position(|byte| *byte != 0).unwrap_or(length.len() - 1)..];
    let mut der = vec![tag];
    if content.len() >= 0x80 {
        der.push(0x80 | u8::try_from(digits.len()).unwrap_or_default());
    }
    der.extend(digits);
    der.extend(content);
    der
}

/// A SubjectPublicKeyInfo.
fn spki(algorithm: &[&[u8]], key: &[u8]) -> Vec<u8> {
    let algorithm = wrap(tag::SEQUENCE, algorithm);
    wrap(tag::SEQUENCE, &[&algorithm, &wrap(tag::BIT_STRING, &[&[0], key])])
}

fn rsa_spki(key: &[u8]) -> Result<PublicKey, BrokenKey> {
    public(&spki(&[&wrap(tag::OID, &[known::RSA_ENCRYPTION]), &[tag::NULL, 0]], key))
}

fn rsa_public(der: &[u8]) -> Result<PublicKey, BrokenKey> {
    rsa_spki(Reader::new(der).element(tag::SEQUENCE).ok_or(BrokenKey::Malformed)?.whole)
}

fn pkcs1(der: &[u8]) -> Result<PublicKey, BrokenKey> {
    let mut inner = Reader::new(der).enter(tag::SEQUENCE).ok_or(BrokenKey::Malformed)?;
    let mut next = || inner.element(tag::INTEGER).ok_or(BrokenKey::Malformed);
    let (version, modulus, public_exponent) = (next()?, next()?, next()?);
    let (private_exponent, primes) = (next()?, [next()?, next()?]);
    let (exponents, coefficient) = ([next()?, next()?], next()?);
    let key = rsa_spki(&wrap(tag::SEQUENCE, &[modulus.whole, public_exponent.whole]))?;
    // Larger ones nobody has, and they would take long.
    if !matches!(&key.kind, KeyKind::Rsa(rsa) if rsa.bits() <= 16_384) {
        return Ok(key);
    }
    let positive = [private_exponent, primes[0], primes[1], exponents[0], exponents[1], coefficient]
        .iter()
        .all(|number| minimal(number.content) && number.content[0] & 0x80 == 0);
    let numbers = RsaNumbers {
        modulus: modulus.content,
        public_exponent: public_exponent.content,
        private_exponent: private_exponent.content,
        primes: primes.map(|prime| prime.content),
        exponents: exponents.map(|exponent| exponent.content),
        coefficient: coefficient.content,
    };
    // Of a later version are keys with more than two primes, which Kubernetes does not load.
    let consistent = version.content == [0] && inner.is_empty() && positive && numbers.fit();
    if consistent { Ok(key) } else { Err(BrokenKey::Inconsistent) }
}

/// Reads an ECPrivateKey; its curve may be named outside of it.
fn sec1(der: &[u8], curve: Option<&[u8]>) -> Result<PublicKey, BrokenKey> {
    let mut inner = Reader::new(der).enter(tag::SEQUENCE).ok_or(BrokenKey::Malformed)?;
    inner.integer().ok_or(BrokenKey::Malformed)?;
    let secret = inner.content(tag::OCTET_STRING).ok_or(BrokenKey::Malformed)?;
    let named = inner.enter(tag::constructed(0)).and_then(|mut parameters| parameters.oid());
    let oid = curve.or(named).ok_or(BrokenKey::Malformed)?;
    let curve = Curve::of(oid);
    let group = Group::of(&curve).ok_or_else(|| BrokenKey::Unsupported(curve.to_string()))?;
    // Go computes the public half, whatever point is written there.
    let point = group.public_half(secret, None).ok_or(BrokenKey::Inconsistent)?;
    let algorithm: [&[u8]; 2] = [&wrap(tag::OID, &[known::EC_PUBLIC_KEY]), &wrap(tag::OID, &[oid])];
    Ok(PublicKey::new(KeyKind::Ec(curve), &spki(&algorithm, &point), point.len()))
}

fn pkcs8(der: &[u8]) -> Result<PublicKey, BrokenKey> {
    let mut inner = Reader::new(der).enter(tag::SEQUENCE).ok_or(BrokenKey::Malformed)?;
    inner.integer().ok_or(BrokenKey::Malformed)?;
    let mut algorithm = inner.enter(tag::SEQUENCE).ok_or(BrokenKey::Malformed)?;
    let oid = algorithm.oid().ok_or(BrokenKey::Malformed)?;
    let key = inner.content(tag::OCTET_STRING).ok_or(BrokenKey::Malformed)?;
    match oid {
        known::RSA_ENCRYPTION => pkcs1(key),
        known::EC_PUBLIC_KEY => sec1(key, Some(algorithm.oid().ok_or(BrokenKey::Malformed)?)),
        known::ED25519 => {
            let seed = Reader::new(key).content(tag::OCTET_STRING).ok_or(BrokenKey::Malformed)?;
            let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| BrokenKey::Malformed)?;
            public(&spki(&[&wrap(tag::OID, &[known::ED25519])], pair.public_key().as_ref()))
        }
        other => Err(BrokenKey::Unsupported(super::oid::Oid::new(other).to_string())),
    }
}

/// What some DER is, by its shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Certificate,
    Request,
    RevocationList,
    Key(KeyForm),
    EncryptedKey,
    Unknown,
}

impl Shape {
    pub(super) fn of(der: &[u8]) -> Self {
        Self::guess(der).unwrap_or(Self::Unknown)
    }

    fn guess(der: &[u8]) -> Option<Self> {
        let mut outer = Reader::new(der).enter(tag::SEQUENCE)?;
        let (first, second, third) = (outer.any()?, outer.any(), outer.any());
        let tag_of = |element: Option<super::der::Element<'_>>| element.map(|element| element.tag);
        if first.tag == tag::INTEGER {
            return Some(Self::Key(match (tag_of(second)?, tag_of(third)) {
                (tag::SEQUENCE, Some(tag::OCTET_STRING)) => KeyForm::Pkcs8Private,
                (tag::OCTET_STRING, _) => KeyForm::Sec1Private,
                (tag::INTEGER, None) => KeyForm::Pkcs1Public,
                (tag::INTEGER, Some(tag::INTEGER)) => KeyForm::Pkcs1Private,
                _ => return None,
            }));
        }
        let mut inside = Reader::new(first.content);
        let (one, two) = (inside.any()?, inside.any());
        match (first.tag, one.tag, tag_of(second)?) {
            (tag::SEQUENCE, tag::OID, tag::BIT_STRING) => Some(Self::Key(KeyForm::PkixPublic)),
            (tag::SEQUENCE, tag::OID, tag::OCTET_STRING) => Some(Self::EncryptedKey),
            // A revocation list of version 1 begins with its algorithm.
            (tag::SEQUENCE, tag::SEQUENCE, tag::SEQUENCE) => Some(Self::RevocationList),
            (tag::SEQUENCE, tag::INTEGER, tag::SEQUENCE) => {
                let after = two.map(|two| two.content).and_then(|content| content.first().copied());
                let third = {
                    inside.any();
                    inside.any()
                };
                Some(match after {
                    Some(tag::OID) if matches!(tag_of(third), Some(tag::UTC_TIME | tag::GENERALIZED_TIME)) => {
                        Self::RevocationList
                    }
                    Some(tag::OID) => Self::Certificate,
                    _ => Self::Request,
                })
            }
            (tag::SEQUENCE, _, tag::SEQUENCE) => Some(Self::Certificate),
            _ => None,
        }
    }
}

/// The modulus of an RSA key, if it is one.
impl Key {
    /// The numbers of its public half, if it is one of RSA.
    pub fn rsa(&self) -> Option<&RsaKey> {
        match &self.public.kind {
            KeyKind::Rsa(key) => Some(key),
            _ => None,
        }
    }
}

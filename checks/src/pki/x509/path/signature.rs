//! Signatures: whether a certificate is signed by a key. Each pair of the two is verified once.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::signature::{self as lc, UnparsedPublicKey, VerificationAlgorithm};

use super::super::algorithm::{Hash, Scheme};
use super::super::certificate::Certificate;
use super::super::public_key::{Curve, Fingerprint, KeyKind, PublicKey};
use super::super::revocation::RevocationList;

/// What a signature is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signature {
    /// By this key.
    Good,
    /// Not by this key.
    Wrong,
    /// Of an algorithm that this key does not have, or that is not verified here: MD5, DSA, P-224, RSA of less than
    /// 1024 or more than 8192 bits.
    Unsupported,
}

const SHARDS: usize = 16;

/// The signatures that were verified: by certificate and key, 100 bytes each. Shared between threads.
#[derive(Debug, Default)]
pub struct Signatures {
    shards: [Mutex<HashMap<(Fingerprint, Fingerprint), Signature>>; SHARDS],
}

impl Signatures {
    /// Whether the certificate is signed by this key.
    pub fn check(&self, certificate: &Certificate, key: &PublicKey) -> Signature {
        let pair = (certificate.fingerprint, key.sha256);
        let shard = &self.shards[usize::from(pair.0.0[0]) % SHARDS];
        if let Some(known) = shard.lock().unwrap_or_else(PoisonError::into_inner).get(&pair) {
            return *known;
        }
        let found = verify(certificate, key);
        shard.lock().unwrap_or_else(PoisonError::into_inner).insert(pair, found);
        found
    }

    /// Whether it is a CA that its own key has signed.
    pub fn is_root(&self, certificate: &Certificate) -> bool {
        certificate.is_ca()
            && certificate.is_self_issued()
            && self.check(certificate, &certificate.public_key) == Signature::Good
    }

    /// How many are known.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

fn verify(certificate: &Certificate, key: &PublicKey) -> Signature {
    verify_bytes(certificate.signature_algorithm.scheme, key, certificate.tbs(), &certificate.signature)
}

/// Whether a revocation list is signed by this key.
#[must_use]
pub fn verify_list(list: &RevocationList, key: &PublicKey) -> Signature {
    verify_bytes(list.signature_algorithm.scheme, key, list.tbs(), &list.signature)
}

fn verify_bytes(scheme: Scheme, key: &PublicKey, signed: &[u8], signature: &[u8]) -> Signature {
    let Some(algorithm) = algorithm(scheme, &key.kind) else { return Signature::Unsupported };
    match UnparsedPublicKey::new(algorithm, key.bytes()).verify(signed, signature) {
        Ok(()) => Signature::Good,
        Err(_) => Signature::Wrong,
    }
}

/// The verifier of a scheme with keys of this kind.
fn algorithm(scheme: Scheme, key: &KeyKind) -> Option<&'static dyn VerificationAlgorithm> {
    let small = |bits: u32| (1024..2048).contains(&bits);
    let large = |bits: u32| (2048..=8192).contains(&bits);
    match (scheme, key) {
        // crypto/rsa takes no larger exponent.
        (Scheme::RsaPkcs1(_) | Scheme::RsaPss(_), KeyKind::Rsa(rsa)) if rsa.exponent > 0x7fff_ffff => None,
        (Scheme::RsaPkcs1(hash), KeyKind::Rsa(rsa)) => Some(match hash {
            Hash::Sha1 if small(rsa.bits()) => &lc::RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY,
            Hash::Sha256 if small(rsa.bits()) => &lc::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
            Hash::Sha512 if small(rsa.bits()) => &lc::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
            Hash::Sha1 if large(rsa.bits()) => &lc::RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY,
            Hash::Sha256 if large(rsa.bits()) => &lc::RSA_PKCS1_2048_8192_SHA256,
            Hash::Sha384 if large(rsa.bits()) => &lc::RSA_PKCS1_2048_8192_SHA384,
            Hash::Sha512 if large(rsa.bits()) => &lc::RSA_PKCS1_2048_8192_SHA512,
            _ => return None,
        }),
        (Scheme::RsaPss(hash), KeyKind::Rsa(rsa)) if large(rsa.bits()) => Some(match hash {
            Hash::Sha256 => &lc::RSA_PSS_2048_8192_SHA256,
            Hash::Sha384 => &lc::RSA_PSS_2048_8192_SHA384,
            Hash::Sha512 => &lc::RSA_PSS_2048_8192_SHA512,
            Hash::Md5 | Hash::Sha1 => return None,
        }),
        (Scheme::Ecdsa(hash), KeyKind::Ec(curve)) => Some(match (curve, hash) {
            (Curve::P256, Hash::Sha1) => &lc::ECDSA_P256_SHA1_ASN1,
            (Curve::P256, Hash::Sha256) => &lc::ECDSA_P256_SHA256_ASN1,
            (Curve::P256, Hash::Sha384) => &lc::ECDSA_P256_SHA384_ASN1,
            (Curve::P256, Hash::Sha512) => &lc::ECDSA_P256_SHA512_ASN1,
            (Curve::P384, Hash::Sha256) => &lc::ECDSA_P384_SHA256_ASN1,
            (Curve::P384, Hash::Sha384) => &lc::ECDSA_P384_SHA384_ASN1,
            (Curve::P384, Hash::Sha512) => &lc::ECDSA_P384_SHA512_ASN1,
            (Curve::P521, Hash::Sha1) => &lc::ECDSA_P521_SHA1_ASN1,
            (Curve::P521, Hash::Sha256) => &lc::ECDSA_P521_SHA256_ASN1,
            (Curve::P521, Hash::Sha384) => &lc::ECDSA_P521_SHA384_ASN1,
            (Curve::P521, Hash::Sha512) => &lc::ECDSA_P521_SHA512_ASN1,
            _ => return None,
        }),
        (Scheme::Ed25519, KeyKind::Ed25519) => Some(&lc::ED25519),
        _ => None,
    }
}

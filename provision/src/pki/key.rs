//! Private keys: made by the algorithm that is asked for, written as kubeadm writes them, never shown.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{KeyPair, PublicKeyData as _, SigningKey as _};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs1KeyDer};

use super::rsa;

/// How keys are made; kubeadm's `encryptionAlgorithm`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// RSA with 2048 bits: kubeadm's default.
    Rsa2048,
    /// RSA with 3072 bits.
    Rsa3072,
    /// RSA with 4096 bits.
    Rsa4096,
    /// ECDSA over P-256.
    EcdsaP256,
    /// ECDSA over P-384.
    EcdsaP384,
}

impl Algorithm {
    /// All, with kubeadm's names.
    pub const NAMES: [(&'static str, Self); 5] = [
        ("RSA-2048", Self::Rsa2048),
        ("RSA-3072", Self::Rsa3072),
        ("RSA-4096", Self::Rsa4096),
        ("ECDSA-P256", Self::EcdsaP256),
        ("ECDSA-P384", Self::EcdsaP384),
    ];
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::NAMES.iter().find(|(_, algorithm)| algorithm == self).map_or("", |(name, _)| name);
        f.write_str(name)
    }
}

/// A text that is no algorithm.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no algorithm of keys: RSA-2048, RSA-3072, RSA-4096, ECDSA-P256 or ECDSA-P384")]
pub struct BadAlgorithm(String);

impl FromStr for Algorithm {
    type Err = BadAlgorithm;

    fn from_str(text: &str) -> Result<Self, BadAlgorithm> {
        let found = Self::NAMES.iter().find(|(name, _)| *name == text);
        found.map(|(_, algorithm)| *algorithm).ok_or_else(|| BadAlgorithm(text.to_owned()))
    }
}

/// A private key. Neither `Debug` nor an error shows it.
pub(super) struct Key(pub(super) KeyPair);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(not shown)")
    }
}

/// Why a key cannot be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeyError {
    #[error(transparent)]
    Rsa(#[from] rsa::RsaError),
    #[error(transparent)]
    Library(#[from] rcgen::Error),
    #[error("a new RSA key does not verify what it signed")]
    Inconsistent,
}

impl Key {
    /// Makes `count` keys, on all CPUs.
    pub(super) fn generate(count: usize, algorithm: Algorithm) -> Result<Vec<Self>, KeyError> {
        let ecdsa = |of| (0..count).map(|_| Ok(Self(KeyPair::generate_for(of)?))).collect();
        let rsa = |bits| rsa::keys(count, bits)?.iter().map(|der| Self::rsa(der)).collect();
        match algorithm {
            Algorithm::Rsa2048 => rsa(2048),
            Algorithm::Rsa3072 => rsa(3072),
            Algorithm::Rsa4096 => rsa(4096),
            // A curve's key takes microseconds: less than a thread.
            Algorithm::EcdsaP256 => ecdsa(&rcgen::PKCS_ECDSA_P256_SHA256),
            Algorithm::EcdsaP384 => ecdsa(&rcgen::PKCS_ECDSA_P384_SHA384),
        }
    }

    /// An RSA key that we made: AWS-LC checks its parts against each other, and it must verify what it signs.
    fn rsa(der: &[u8]) -> Result<Self, KeyError> {
        let der = PrivateKeyDer::Pkcs1(PrivatePkcs1KeyDer::from(der));
        let pair = KeyPair::from_der_and_sign_algo(&der, &rcgen::PKCS_RSA_SHA256)?;
        let message = b"a new key";
        let signature = pair.sign(message)?;
        let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public_key_raw());
        public.verify(message, &signature).map_err(|_| KeyError::Inconsistent)?;
        Ok(Self(pair))
    }

    /// Reads a key in any of the usual PEM forms.
    pub(super) fn from_pem(text: &str) -> Result<Self, String> {
        // The library's error says nothing of the key but that it is none.
        KeyPair::from_pem(text).map(Self).map_err(|error| format!("it holds no private key that can be used: {error}"))
    }

    /// PKCS #1 for RSA (RFC 8017 A.1.2), SEC 1 for ECDSA (RFC 5915): what kubeadm writes.
    pub(super) fn to_pem(&self) -> Result<String, String> {
        let der = self.0.serialize_der();
        let inner = inner(&der).unwrap_or(&der);
        let public = self.0.der_bytes();
        let curve: Option<&[u8]> = match public.len() {
            65 => Some(&[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07]),
            97 => Some(&[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22]),
            _ => None,
        };
        let Some(curve) = curve else { return Ok(pem("RSA PRIVATE KEY", inner)) };
        // PKCS #8 names the curve outside, so what is inside does without it; on its own it must stand inside.
        let secret = value(inner).and_then(|(fields, _)| value(value(fields)?.1)).map(|(secret, _)| secret);
        let secret = secret.ok_or("the key has no SEC 1 form")?;
        let mut body = vec![0x02, 0x01, 0x01];
        tag(&mut body, 0x04, secret);
        tag(&mut body, 0xa0, curve);
        let mut bits = vec![0];
        bits.extend_from_slice(public);
        let mut wrapped = Vec::new();
        tag(&mut wrapped, 0x03, &bits);
        tag(&mut body, 0xa1, &wrapped);
        let mut whole = Vec::new();
        tag(&mut whole, 0x30, &body);
        Ok(pem("EC PRIVATE KEY", &whole))
    }

    /// The public key as SubjectPublicKeyInfo, in PEM.
    pub(super) fn public_pem(&self) -> String {
        pem("PUBLIC KEY", &self.0.subject_public_key_info())
    }
}

/// The key inside PKCS #8: version, algorithm, key (RFC 5208 section 5). `None` for a key that stands on its own already, in
/// which no sequence follows the version.
fn inner(der: &[u8]) -> Option<&[u8]> {
    let (fields, _) = value(der)?;
    let (_, algorithm) = value(fields)?;
    let (_, key) = algorithm.starts_with(&[0x30]).then(|| value(algorithm)).flatten()?;
    value(key).map(|(key, _)| key)
}

/// The first value in DER (X.690 section 8.1), without tag and length, and what comes behind it.
fn value(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = der.get(1..)?.split_first()?;
    let (length, rest) = if first & 0x80 == 0 {
        (usize::from(first), rest)
    } else {
        let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
    };
    rest.split_at_checked(length)
}

/// Appends a value with its tag and length (X.690 section 8.1).
pub(super) fn tag(out: &mut Vec<u8>, tag: u8, content: &[u8]) {
    out.push(tag);
    match u8::try_from(content.len()) {
        Ok(length) if length < 0x80 => out.push(length),
        Ok(length) => out.extend([0x81, length]),
        // No key is longer than 65,535 bytes.
        Err(_) => out.extend([0x82, (content.len() >> 8) as u8, content.len() as u8]),
    }
    out.extend_from_slice(content);
}

/// RFC 7468: lines of 64 characters.
pub(super) fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut out = format!("-----BEGIN {label}-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(64));
        out.push_str(line);
        out.push('\n');
        rest = more;
    }
    out.push_str(&format!("-----END {label}-----\n"));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_back_and_never_shown() {
        for (name, algorithm) in Algorithm::NAMES {
            if algorithm == Algorithm::Rsa4096 {
                continue;
            }
            let key = Key::generate(1, algorithm).unwrap().remove(0);
            let pem = key.to_pem().unwrap();
            let label = if name.starts_with("RSA") { "RSA PRIVATE KEY" } else { "EC PRIVATE KEY" };
            assert!(pem.starts_with(&format!("-----BEGIN {label}-----\n")), "{name}");
            let again = Key::from_pem(&pem).unwrap();
            assert_eq!(again.public_pem(), key.public_pem(), "{name}");
            assert!(again.to_pem().unwrap() == pem, "{name}: another text");
            assert_eq!(format!("{key:?}"), "Key(not shown)");
            assert_eq!(name.parse(), Ok(algorithm));
        }
        assert!(Key::from_pem("-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n").is_err());
        assert!("RSA-1024".parse::<Algorithm>().is_err());
    }
}

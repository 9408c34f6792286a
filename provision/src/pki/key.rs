//! Private keys: made by the algorithm that is asked for, written as kubeadm writes them, never shown.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{KeyPair, PublicKeyData as _, RsaKeySize};

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

impl Key {
    /// Makes `count` keys, on all CPUs: an RSA key takes a few hundred milliseconds, most of them a search for primes.
    pub(super) fn generate(count: usize, algorithm: Algorithm) -> Result<Vec<Self>, rcgen::Error> {
        let workers = std::thread::available_parallelism().map_or(1, usize::from).min(count);
        let begun = AtomicUsize::new(0);
        // How long a key takes is a matter of luck, so each thread takes the next one that nobody has begun.
        let work = || {
            let next = || begun.fetch_add(1, Ordering::Relaxed) < count;
            std::iter::from_fn(|| next().then(|| Self::generate_one(algorithm))).collect::<Vec<_>>()
        };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (1..workers).map(|_| scope.spawn(work)).collect();
            let mut made = work();
            for thread in threads {
                made.extend(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
            made.into_iter().collect()
        })
    }

    fn generate_one(algorithm: Algorithm) -> Result<Self, rcgen::Error> {
        let rsa = |size| KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, size);
        let pair = match algorithm {
            Algorithm::Rsa2048 => rsa(RsaKeySize::_2048),
            Algorithm::Rsa3072 => rsa(RsaKeySize::_3072),
            Algorithm::Rsa4096 => rsa(RsaKeySize::_4096),
            Algorithm::EcdsaP256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
            Algorithm::EcdsaP384 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384),
        };
        pair.map(Self)
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

/// The key inside PKCS #8: version, algorithm, key (RFC 5208 section 5). `None` for a key that stands on its own
/// already, in which no sequence follows the version.
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
fn tag(out: &mut Vec<u8>, tag: u8, content: &[u8]) {
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
        assert_eq!(Key::generate(0, Algorithm::Rsa2048).unwrap().len(), 0);
        assert_eq!(Key::generate(3, Algorithm::Rsa2048).unwrap().len(), 3);
        assert!(Key::from_pem("-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n").is_err());
        assert!("RSA-1024".parse::<Algorithm>().is_err());
    }
}

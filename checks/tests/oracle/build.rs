//! Certificates from their parts, so that every part can be wrong.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};

pub(crate) const SHA256_ECDSA: &[u8] = &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
pub(crate) const ED25519: &[u8] = &[6, 3, 0x2b, 0x65, 0x70];

/// Some DER: a tag, and what it holds.
pub(crate) fn wrap(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut der = vec![tag];
    match content.len() {
        short @ 0..0x80 => der.push(u8::try_from(short).unwrap()),
        long => {
            let digits: Vec<u8> = long.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
            der.push(0x80 | u8::try_from(digits.len()).unwrap());
            der.extend(digits);
        }
    }
    der.extend(content);
    der
}

pub(crate) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    wrap(0x30, parts)
}

/// A name with one attribute of this type, 2.5.4.x, in a string of this tag.
pub(crate) fn name(attributes: &[(u8, u8, &str)]) -> Vec<u8> {
    let sets: Vec<_> = attributes
        .iter()
        .map(|(kind, tag, value)| {
            wrap(0x31, &[&sequence(&[&[6, 3, 0x55, 4, *kind], &wrap(*tag, &[value.as_bytes()])])])
        })
        .collect();
    wrap(0x30, &sets.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

/// A key that signs.
pub(crate) enum Key {
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Key {
    pub(crate) fn p256() -> Self {
        Self::P256(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap())
    }

    pub(crate) fn ed25519() -> Self {
        Self::Ed25519(Ed25519KeyPair::generate().unwrap())
    }

    pub(crate) fn algorithm(&self) -> &'static [u8] {
        match self {
            Self::P256(_) => SHA256_ECDSA,
            Self::Ed25519(_) => ED25519,
        }
    }

    pub(crate) fn spki(&self) -> Vec<u8> {
        let (algorithm, key): (&[u8], _) = match self {
            Self::P256(pair) => (
                &[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7],
                pair.public_key().as_ref(),
            ),
            Self::Ed25519(pair) => (ED25519, pair.public_key().as_ref()),
        };
        sequence(&[&sequence(&[algorithm]), &wrap(3, &[&[0], key])])
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::P256(pair) => pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec(),
            Self::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }
}

/// The parts of a certificate.
#[derive(Debug, Clone)]
pub(crate) struct Parts {
    pub(crate) version: Vec<u8>,
    pub(crate) serial: Vec<u8>,
    pub(crate) inner_algorithm: Vec<u8>,
    pub(crate) outer_algorithm: Vec<u8>,
    pub(crate) issuer: Vec<u8>,
    pub(crate) not_before: Vec<u8>,
    pub(crate) not_after: Vec<u8>,
    pub(crate) subject: Vec<u8>,
    pub(crate) spki: Vec<u8>,
    pub(crate) extensions: Vec<Vec<u8>>,
}

/// An extension, 2.5.29.x.
pub(crate) fn extension(id: u8, critical: bool, value: &[u8]) -> Vec<u8> {
    let critical: &[u8] = if critical { &[1, 1, 0xff] } else { &[] };
    sequence(&[&[6, 3, 0x55, 0x1d, id], critical, &wrap(4, &[value])])
}

impl Parts {
    pub(crate) fn tbs(&self) -> Vec<u8> {
        let extensions: Vec<_> = self.extensions.iter().map(Vec::as_slice).collect();
        let extensions = if extensions.is_empty() { Vec::new() } else { wrap(0xa3, &[&sequence(&extensions)]) };
        sequence(&[
            &self.version,
            &wrap(2, &[&self.serial]),
            &sequence(&[&self.inner_algorithm]),
            &self.issuer,
            &sequence(&[&self.not_before, &self.not_after]),
            &self.subject,
            &self.spki,
            &extensions,
        ])
    }

    /// What `tbs` is made to, signed.
    pub(crate) fn sign(&self, tbs: &[u8], key: &Key) -> Vec<u8> {
        sequence(&[tbs, &sequence(&[&self.outer_algorithm]), &wrap(3, &[&[0], &key.sign(tbs)])])
    }
}

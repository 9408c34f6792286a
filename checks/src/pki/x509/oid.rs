//! Object identifiers: those that a cluster's certificates use have a name here, all others are shown as numbers.

use std::fmt;

/// An object identifier, as the content of its DER.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Oid(Box<[u8]>);

macro_rules! known {
    ($($(#[$doc:meta])* $name:ident = $bytes:expr, $text:literal;)*) => {
        /// The DER content of the object identifiers that are looked for.
        pub mod known {
            $($(#[$doc])* pub const $name: &[u8] = $bytes;)*
        }
        const NAMES: &[(&[u8], &str)] = &[$((known::$name, $text)),*];
    };
}

known! {
    /// commonName, 2.5.4.3.
    COMMON_NAME = &[0x55, 4, 3], "CN";
    /// serialNumber of a name, 2.5.4.5.
    NAME_SERIAL = &[0x55, 4, 5], "SERIALNUMBER";
    /// countryName, 2.5.4.6.
    COUNTRY = &[0x55, 4, 6], "C";
    /// localityName, 2.5.4.7.
    LOCALITY = &[0x55, 4, 7], "L";
    /// stateOrProvinceName, 2.5.4.8.
    STATE = &[0x55, 4, 8], "ST";
    /// streetAddress, 2.5.4.9.
    STREET = &[0x55, 4, 9], "STREET";
    /// organizationName, 2.5.4.10.
    ORGANIZATION = &[0x55, 4, 10], "O";
    /// organizationalUnitName, 2.5.4.11.
    ORGANIZATIONAL_UNIT = &[0x55, 4, 11], "OU";
    /// postalCode, 2.5.4.17.
    POSTAL_CODE = &[0x55, 4, 17], "POSTALCODE";
    /// emailAddress of PKCS#9.
    EMAIL = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1], "emailAddress";
    /// userId, 0.9.2342.19200300.100.1.1.
    USER_ID = &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1], "UID";
    /// domainComponent, 0.9.2342.19200300.100.1.25.
    DOMAIN_COMPONENT = &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25], "DC";
    /// The extension subjectKeyIdentifier.
    SUBJECT_KEY_ID = &[0x55, 0x1d, 14], "subjectKeyIdentifier";
    /// The extension keyUsage.
    KEY_USAGE = &[0x55, 0x1d, 15], "keyUsage";
    /// The extension subjectAltName.
    SUBJECT_ALT_NAME = &[0x55, 0x1d, 17], "subjectAltName";
    /// The extension issuerAltName.
    ISSUER_ALT_NAME = &[0x55, 0x1d, 18], "issuerAltName";
    /// The extension basicConstraints.
    BASIC_CONSTRAINTS = &[0x55, 0x1d, 19], "basicConstraints";
    /// The extension nameConstraints.
    NAME_CONSTRAINTS = &[0x55, 0x1d, 30], "nameConstraints";
    /// The extension cRLDistributionPoints.
    CRL_DISTRIBUTION_POINTS = &[0x55, 0x1d, 31], "cRLDistributionPoints";
    /// The extension certificatePolicies.
    CERTIFICATE_POLICIES = &[0x55, 0x1d, 32], "certificatePolicies";
    /// The policy anyPolicy.
    ANY_POLICY = &[0x55, 0x1d, 32, 0], "anyPolicy";
    /// The extension policyMappings.
    POLICY_MAPPINGS = &[0x55, 0x1d, 33], "policyMappings";
    /// The extension authorityKeyIdentifier.
    AUTHORITY_KEY_ID = &[0x55, 0x1d, 35], "authorityKeyIdentifier";
    /// The extension policyConstraints.
    POLICY_CONSTRAINTS = &[0x55, 0x1d, 36], "policyConstraints";
    /// The extension extKeyUsage.
    EXTENDED_KEY_USAGE = &[0x55, 0x1d, 37], "extKeyUsage";
    /// The extension inhibitAnyPolicy.
    INHIBIT_ANY_POLICY = &[0x55, 0x1d, 54], "inhibitAnyPolicy";
    /// The extension authorityInfoAccess.
    AUTHORITY_INFO_ACCESS = &[0x2b, 6, 1, 5, 5, 7, 1, 1], "authorityInfoAccess";
    /// The purpose anyExtendedKeyUsage.
    ANY_EXTENDED_KEY_USAGE = &[0x55, 0x1d, 37, 0], "anyExtendedKeyUsage";
    /// The purpose serverAuth.
    SERVER_AUTH = &[0x2b, 6, 1, 5, 5, 7, 3, 1], "serverAuth";
    /// The purpose clientAuth.
    CLIENT_AUTH = &[0x2b, 6, 1, 5, 5, 7, 3, 2], "clientAuth";
    /// The purpose codeSigning.
    CODE_SIGNING = &[0x2b, 6, 1, 5, 5, 7, 3, 3], "codeSigning";
    /// The purpose emailProtection.
    EMAIL_PROTECTION = &[0x2b, 6, 1, 5, 5, 7, 3, 4], "emailProtection";
    /// The purpose timeStamping.
    TIME_STAMPING = &[0x2b, 6, 1, 5, 5, 7, 3, 8], "timeStamping";
    /// The purpose OCSPSigning.
    OCSP_SIGNING = &[0x2b, 6, 1, 5, 5, 7, 3, 9], "OCSPSigning";
    /// A public key for RSA.
    RSA_ENCRYPTION = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1], "rsaEncryption";
    /// A public key for DSA.
    DSA = &[0x2a, 0x86, 0x48, 0xce, 0x38, 4, 1], "DSA";
    /// A public key on an elliptic curve.
    EC_PUBLIC_KEY = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1], "id-ecPublicKey";
    /// Ed25519, the key and the signature.
    ED25519 = &[0x2b, 0x65, 0x70], "Ed25519";
    /// Ed448, the key and the signature.
    ED448 = &[0x2b, 0x65, 0x71], "Ed448";
    /// X25519: agrees on keys, signs nothing.
    X25519 = &[0x2b, 0x65, 0x6e], "X25519";
    /// The curve P-224.
    P224 = &[0x2b, 0x81, 4, 0, 33], "P-224";
    /// The curve P-256.
    P256 = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7], "P-256";
    /// The curve P-384.
    P384 = &[0x2b, 0x81, 4, 0, 34], "P-384";
    /// The curve P-521.
    P521 = &[0x2b, 0x81, 4, 0, 35], "P-521";
    /// The curve of Bitcoin.
    SECP256K1 = &[0x2b, 0x81, 4, 0, 10], "secp256k1";
    /// RSA PKCS#1 v1.5 with MD5.
    MD5_RSA = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 4], "MD5-RSA";
    /// RSA PKCS#1 v1.5 with SHA-1.
    SHA1_RSA = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 5], "SHA1-RSA";
    /// RSA PKCS#1 v1.5 with SHA-1, the identifier of OIW.
    SHA1_RSA_OIW = &[0x2b, 0x0e, 3, 2, 29], "SHA1-RSA";
    /// RSA PSS.
    RSA_PSS = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10], "RSA-PSS";
    /// The mask generation function of RSA PSS.
    MGF1 = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 8], "MGF1";
    /// RSA PKCS#1 v1.5 with SHA-256.
    SHA256_RSA = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11], "SHA256-RSA";
    /// RSA PKCS#1 v1.5 with SHA-384.
    SHA384_RSA = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 12], "SHA384-RSA";
    /// RSA PKCS#1 v1.5 with SHA-512.
    SHA512_RSA = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 13], "SHA512-RSA";
    /// DSA with SHA-1.
    SHA1_DSA = &[0x2a, 0x86, 0x48, 0xce, 0x38, 4, 3], "SHA1-DSA";
    /// DSA with SHA-256.
    SHA256_DSA = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 3, 2], "SHA256-DSA";
    /// ECDSA with SHA-1.
    SHA1_ECDSA = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1], "SHA1-ECDSA";
    /// ECDSA with SHA-256.
    SHA256_ECDSA = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2], "SHA256-ECDSA";
    /// ECDSA with SHA-384.
    SHA384_ECDSA = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3], "SHA384-ECDSA";
    /// ECDSA with SHA-512.
    SHA512_ECDSA = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 4], "SHA512-ECDSA";
    /// SHA-1.
    SHA1 = &[0x2b, 0x0e, 3, 2, 26], "SHA-1";
    /// SHA-256.
    SHA256 = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1], "SHA-256";
    /// SHA-384.
    SHA384 = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2], "SHA-384";
    /// SHA-512.
    SHA512 = &[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3], "SHA-512";
}

impl Oid {
    /// The one with this DER content.
    pub fn new(content: &[u8]) -> Self {
        Self(content.into())
    }

    /// Its DER content, to be compared with the known ones.
    pub fn content(&self) -> &[u8] {
        &self.0
    }

    /// Whether it is this one.
    pub fn is(&self, known: &[u8]) -> bool {
        *self.0 == *known
    }

    /// The name that it is known by, such as `serverAuth`.
    pub fn name(&self) -> Option<&'static str> {
        NAMES.iter().find(|(content, _)| self.is(content)).map(|(_, name)| *name)
    }

    /// Its numbers joined by dots, such as `1.3.6.1.5.5.7.3.1`.
    pub fn dotted(&self) -> String {
        let (mut arc, mut text) = (0_u128, String::new());
        for byte in &self.0 {
            arc = arc.wrapping_shl(7) | u128::from(byte & 0x7f);
            if byte & 0x80 != 0 {
                continue;
            }
            if text.is_empty() {
                let first = (arc / 40).min(2);
                text = format!("{first}.{}", arc - first * 40);
            } else {
                text = format!("{text}.{arc}");
            }
            arc = 0;
        }
        text
    }
}

impl fmt::Display for Oid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => out.write_str(name),
            None => out.write_str(&self.dotted()),
        }
    }
}

impl fmt::Debug for Oid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names() {
        assert_eq!(Oid::new(known::SERVER_AUTH).dotted(), "1.3.6.1.5.5.7.3.1");
        assert_eq!(Oid::new(known::SERVER_AUTH).to_string(), "serverAuth");
        assert_eq!(Oid::new(known::P256).dotted(), "1.2.840.10045.3.1.7");
        assert_eq!(Oid::new(known::USER_ID).dotted(), "0.9.2342.19200300.100.1.1");
        assert_eq!(Oid::new(&[0x88, 0x37, 3]).to_string(), "2.999.3");
    }
}

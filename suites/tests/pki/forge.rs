//! Certificates as somebody might have made them by mistake: of the plan of our engine, with a change.

use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CustomExtension, DistinguishedName, DnType,
    DnValue, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
    SigningKey as _,
};
use seaworthy_provision::pki::{Certificate, Spec, Usage, plan};

/// The plan's certificate of this base name: `apiserver`, `etcd/ca`.
pub(crate) fn planned(spec: &Spec, base: &str) -> Certificate {
    plan(spec).unwrap().into_iter().find(|one| one.base == base).unwrap_or_else(|| panic!("no certificate {base}"))
}

/// What the engine would ask for, as parameters that can be changed.
pub(crate) fn parameters(spec: &Spec, one: &Certificate) -> CertificateParams {
    let mut params = leaf(&one.common_name, one.organization, one.usage);
    params.subject_alt_names = one
        .sans
        .names
        .iter()
        .map(|name| SanType::DnsName(name.as_str().try_into().unwrap()))
        .chain(one.sans.addresses.iter().map(|&address| SanType::IpAddress(address)))
        .collect();
    if one.usage.is_none() {
        params.not_after = days(spec.ca_period.as_hours() / 24);
    }
    params
}

/// A client or server of this name; a CA without a usage.
pub(crate) fn leaf(name: &str, organization: Option<&str>, usage: Option<Usage>) -> CertificateParams {
    let mut params = CertificateParams::default();
    (params.not_before, params.not_after) = (days(-1), days(364));
    params.serial_number = Some(serial());
    params.distinguished_name = DistinguishedName::new();
    if let Some(organization) = organization {
        params.distinguished_name.push(DnType::OrganizationName, text(organization));
    }
    params.distinguished_name.push(DnType::CommonName, text(name));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    match usage {
        None => {
            params.key_usages.push(KeyUsagePurpose::KeyCertSign);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        Some(usage) => {
            params.use_authority_key_identifier_extension = true;
            params.custom_extensions.push(no_ca());
            params.extended_key_usages = match usage {
                Usage::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
                Usage::Client => vec![ExtendedKeyUsagePurpose::ClientAuth],
                Usage::Both => vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
            };
        }
    }
    params
}

/// The type of string that Go and our engine choose: names of CAs are compared byte by byte.
fn text(value: &str) -> DnValue {
    value.try_into().map_or_else(|_| DnValue::Utf8String(value.to_owned()), DnValue::PrintableString)
}

/// Basic constraints that say no, as Go writes them.
fn no_ca() -> CustomExtension {
    let mut constraints = CustomExtension::from_oid_content(&[2, 5, 29, 19], vec![0x30, 0x00]);
    constraints.set_criticality(true);
    constraints
}

fn serial() -> SerialNumber {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1 << 40);
    SerialNumber::from(NEXT.fetch_add(7919, std::sync::atomic::Ordering::Relaxed))
}

/// So many days from now.
pub(crate) fn days(days: i64) -> time::OffsetDateTime {
    let now = jiff::Timestamp::now().as_second();
    time::OffsetDateTime::from_unix_timestamp(now + days * 86_400).unwrap()
}

pub(crate) fn key() -> KeyPair {
    KeyPair::generate().unwrap()
}

/// A CA: its certificate and its key.
pub(crate) struct Authority {
    pub(crate) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// The one that lies in these files.
    pub(crate) fn load(crt: &Path, key: &Path) -> Self {
        let mut pem = std::fs::read_to_string(crt).unwrap();
        // What stands behind the CA in its file is what signed it.
        pem.truncate(pem.find("-----END CERTIFICATE-----\n").unwrap() + "-----END CERTIFICATE-----\n".len());
        let key = KeyPair::from_pem(&std::fs::read_to_string(key).unwrap()).unwrap();
        Self { issuer: Issuer::from_ca_cert_pem(&pem, key).unwrap(), pem }
    }

    /// A new one that signs itself.
    pub(crate) fn new(params: &CertificateParams) -> (Self, String) {
        let key = key();
        let (pem, key_pem) = (params.self_signed(&key).unwrap().pem(), key.serialize_pem());
        (Self { issuer: Issuer::from_ca_cert_pem(&pem, key).unwrap(), pem }, key_pem)
    }

    /// The same one with another certificate that it signs itself; PEM.
    pub(crate) fn again(&self, params: &CertificateParams) -> String {
        params.self_signed(self.issuer.key()).unwrap().pem()
    }

    /// A new one that this one signs.
    pub(crate) fn intermediate(&self, params: &CertificateParams) -> (Self, String) {
        let key = key();
        let (pem, key_pem) = (self.sign(params, &key), key.serialize_pem());
        (Self { issuer: Issuer::from_ca_cert_pem(&pem, key).unwrap(), pem }, key_pem)
    }

    /// Signs; PEM.
    pub(crate) fn sign(&self, params: &CertificateParams, key: &KeyPair) -> String {
        params.signed_by(key, &self.issuer).unwrap().pem()
    }

    /// A list, in DER, of what it revokes, which is to be replaced in so many days. It has the CA's name and key, and
    /// the usage that kubeadm's CAs lack.
    pub(crate) fn revoke(&self, name: &str, serials: &[SerialNumber], days: i64) -> Vec<u8> {
        let mut params = leaf(name, None, None);
        params.key_usages.push(KeyUsagePurpose::CrlSign);
        let revoked = |serial: &SerialNumber| RevokedCertParams {
            serial_number: serial.clone(),
            revocation_time: self::days(-1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: self::days(days.min(0) - 30),
            next_update: self::days(days),
            crl_number: serial(),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: params.key_identifier_method.clone(),
        };
        list.signed_by(&Issuer::from_params(&params, self.issuer.key())).unwrap().der().to_vec()
    }

    /// The same list as one of version 1, which has neither a version nor extensions.
    pub(crate) fn of_version_1(&self, list: &[u8]) -> Vec<u8> {
        let parts = children(list);
        let members = children(&parts[0]);
        let tbs = wrap(0x30, &members[1..members.len() - 1].concat());
        let bits = wrap(0x03, &[&[0], &self.issuer.key().sign(&tbs).unwrap()[..]].concat());
        wrap(0x30, &[tbs, parts[1].clone(), bits].concat())
    }

    /// Signs what no library makes: `change` gets what is signed, as a list of its members in DER.
    pub(crate) fn sign_der(
        &self,
        params: &CertificateParams,
        key: &KeyPair,
        change: impl FnOnce(&mut Vec<Vec<u8>>),
    ) -> String {
        let certificate = params.signed_by(key, &self.issuer).unwrap();
        let whole = children(&children(certificate.der())[0]);
        let mut members = whole;
        change(&mut members);
        let tbs = wrap(0x30, &members.concat());
        let signature = self.issuer.key().sign(&tbs).unwrap();
        let algorithm = children(certificate.der())[1].clone();
        let bits = wrap(0x03, &[&[0], &signature[..]].concat());
        pem("CERTIFICATE", &wrap(0x30, &[tbs, algorithm, bits].concat()))
    }
}

/// A key as SEC 1 writes it, in PEM: of ECDSA's private keys the API server reads only these for tokens.
pub(crate) fn sec1(key: &KeyPair) -> String {
    let outer = children(key.serialized_der());
    let curve = children(&outer[1])[1].clone();
    let inner = children(&children(&outer[2])[0]);
    let public = inner.last().filter(|last| last[0] == 0xa1).cloned().unwrap_or_default();
    pem("EC PRIVATE KEY", &wrap(0x30, &[inner[0].clone(), inner[1].clone(), wrap(0xa0, &curve), public].concat()))
}

/// A certificate with a change of what is signed, and its old signature.
pub(crate) fn edit(text: &str, change: impl FnOnce(&mut Vec<Vec<u8>>)) -> String {
    let parts = children(&der(text));
    let mut members = children(&parts[0]);
    change(&mut members);
    pem("CERTIFICATE", &wrap(0x30, &[wrap(0x30, &members.concat()), parts[1].clone(), parts[2].clone()].concat()))
}

/// A certificate that says it is signed by this algorithm, an identifier in DER, inside and outside.
pub(crate) fn with_algorithm(text: &str, identifier: &[u8]) -> String {
    let algorithm = wrap(0x30, identifier);
    let parts = children(&der(text));
    let mut members = children(&parts[0]);
    members[2].clone_from(&algorithm);
    pem("CERTIFICATE", &wrap(0x30, &[wrap(0x30, &members.concat()), algorithm, parts[2].clone()].concat()))
}

/// What stands in a PEM block.
pub(crate) fn der(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    let body: String = text.lines().filter(|line| !line.starts_with('-')).collect();
    base64::engine::general_purpose::STANDARD.decode(body).unwrap()
}

/// The members of a constructed element.
pub(crate) fn children(der: &[u8]) -> Vec<Vec<u8>> {
    let (header, length) = head(der);
    let mut rest = &der[header..header + length];
    let mut all = Vec::new();
    while !rest.is_empty() {
        let (header, length) = head(rest);
        all.push(rest[..header + length].to_vec());
        rest = &rest[header + length..];
    }
    all
}

fn head(der: &[u8]) -> (usize, usize) {
    match der[1] {
        short @ 0..0x80 => (2, usize::from(short)),
        long => {
            let digits = usize::from(long & 0x7f);
            (2 + digits, der[2..2 + digits].iter().fold(0, |length, digit| length << 8 | usize::from(*digit)))
        }
    }
}

/// An element.
pub(crate) fn wrap(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut der = vec![tag];
    match content.len() {
        length @ 0..0x80 => der.push(length as u8),
        length @ 0x80..0x100 => der.extend([0x81, length as u8]),
        length => der.extend([0x82, (length >> 8) as u8, length as u8]),
    }
    der.extend(content);
    der
}

pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

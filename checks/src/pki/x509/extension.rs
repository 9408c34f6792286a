//! The extensions of a certificate: each is read on its own, so that a broken one takes nothing else with it.

use std::net::IpAddr;
use std::ops::Range;

use super::constraint::NameConstraints;
use super::defect::{Defects, Flaw, Flaws, Part};
use super::der::{Reader, tag, unsigned};
use super::name::Name;
use super::oid::{Oid, known};
use super::uri;

/// One extension as it stands in the certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extension {
    /// What it is.
    pub oid: Oid,
    /// Whether who does not understand it must refuse the certificate.
    pub critical: bool,
    /// Where its value is in the certificate's DER; [`Certificate::value`](super::Certificate::value) cuts it out.
    pub at: Range<usize>,
}

/// The names that a certificate is for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SubjectAltNames {
    /// DNS names, as written.
    pub dns: Vec<String>,
    /// IP addresses.
    pub ips: Vec<IpAddr>,
    /// URIs, as written.
    pub uris: Vec<String>,
    /// E-mail addresses, as written.
    pub emails: Vec<String>,
    /// Directory names.
    pub directories: Vec<Name>,
    /// The tags of names of another kind: otherName is 0xa0, registeredID 0x88.
    pub others: Vec<u8>,
}

/// Whether a certificate is that of a CA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BasicConstraints {
    /// Whether its key may sign certificates.
    pub ca: bool,
    /// How many intermediate CAs may follow it.
    pub path_len: Option<u64>,
    /// Whether the extension is critical.
    pub critical: bool,
}

/// What a key may be used for: the bits of RFC 5280 section 4.2.1.3, the first one lowest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyUsage(pub u16);

impl KeyUsage {
    /// digitalSignature.
    pub const DIGITAL_SIGNATURE: u16 = 1;
    /// keyEncipherment.
    pub const KEY_ENCIPHERMENT: u16 = 1 << 2;
    /// keyAgreement.
    pub const KEY_AGREEMENT: u16 = 1 << 4;
    /// keyCertSign.
    pub const KEY_CERT_SIGN: u16 = 1 << 5;
    /// cRLSign.
    pub const CRL_SIGN: u16 = 1 << 6;

    /// Whether it has this bit.
    pub const fn has(self, bit: u16) -> bool {
        self.0 & bit != 0
    }
}

/// The key of the issuer, as the certificate names it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuthorityKeyId {
    /// The issuer's subject key identifier.
    pub key_id: Option<Box<[u8]>>,
    /// Whether it also names the issuer's issuer and serial number, as openssl does when told to.
    pub issuer_and_serial: bool,
}

/// What a policyConstraints extension says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PolicyConstraints {
    /// After so many more certificates a policy is required.
    pub require_explicit_policy: Option<i64>,
    /// After so many more certificates policies are no longer mapped.
    pub inhibit_policy_mapping: Option<i64>,
}

/// What the extensions say; what is absent or broken is `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extensions {
    /// subjectAltName.
    pub subject_alt_names: Option<SubjectAltNames>,
    /// basicConstraints.
    pub basic_constraints: Option<BasicConstraints>,
    /// keyUsage.
    pub key_usage: Option<KeyUsage>,
    /// extKeyUsage: the purposes, such as `serverAuth`.
    pub extended_key_usage: Option<Vec<Oid>>,
    /// subjectKeyIdentifier.
    pub subject_key_id: Option<Box<[u8]>>,
    /// authorityKeyIdentifier.
    pub authority_key_id: Option<AuthorityKeyId>,
    /// nameConstraints.
    pub name_constraints: Option<NameConstraints>,
    /// certificatePolicies.
    pub policies: Option<Vec<Oid>>,
    /// policyMappings: of the issuer's domain, of the subject's.
    pub policy_mappings: Vec<(Oid, Oid)>,
    /// policyConstraints.
    pub policy_constraints: PolicyConstraints,
    /// inhibitAnyPolicy.
    pub inhibit_any_policy: Option<i64>,
}

impl Extensions {
    /// Reads one extension into its field.
    pub(super) fn read(&mut self, extension: &Extension, value: &[u8], defects: &mut Defects) {
        let mut flaws = defects.of(Part::Extension(extension.oid.clone()));
        let mut reader = Reader::new(value);
        if self.dispatch(extension, &mut reader, &mut flaws).is_none() {
            flaws.add(Flaw::Malformed);
        } else if !reader.is_empty() {
            flaws.add(Flaw::TrailingData(reader.rest().len()));
        }
    }

    /// `None` if it is malformed, and Go refuses it.
    fn dispatch(&mut self, extension: &Extension, reader: &mut Reader<'_>, flaws: &mut Flaws<'_>) -> Option<()> {
        let critical = extension.critical;
        match extension.oid.content() {
            known::KEY_USAGE => {
                let (_, bytes) = reader.bits()?;
                let bits = bytes.iter().take(2).rev().fold(0, |sum, byte| sum << 8 | u16::from(byte.reverse_bits()));
                self.key_usage = Some(KeyUsage(bits & 0x1ff));
            }
            known::BASIC_CONSTRAINTS => {
                let mut inner = reader.enter(tag::SEQUENCE)?;
                let ca = inner.peek(tag::BOOLEAN) && inner.boolean()?;
                let mut path_len = None;
                if inner.peek(tag::INTEGER) {
                    let bytes = inner.integer()?;
                    path_len = unsigned(bytes).filter(|value| *value <= i64::MAX.unsigned_abs());
                    match bytes {
                        [first, ..] if first & 0x80 != 0 && bytes.len() <= 8 => flaws.add(Flaw::NegativePathLen),
                        _ if path_len.is_none() => flaws.add(Flaw::HugePathLen),
                        _ => {}
                    }
                }
                trailing(&inner, flaws);
                self.basic_constraints = Some(BasicConstraints { ca, path_len, critical });
            }
            known::SUBJECT_ALT_NAME => self.subject_alt_names = Some(subject_alt_names(reader, flaws)?),
            known::NAME_CONSTRAINTS => self.name_constraints = Some(NameConstraints::parse(reader, critical, flaws)?),
            known::CRL_DISTRIBUTION_POINTS => crl_distribution_points(reader)?,
            known::AUTHORITY_KEY_ID => {
                if critical {
                    flaws.add(Flaw::Critical);
                }
                let mut inner = reader.enter(tag::SEQUENCE)?;
                let key_id =
                    if inner.peek(tag::context(0)) { Some(inner.content(tag::context(0))?.into()) } else { None };
                let issuer_and_serial = inner.peek(tag::constructed(1));
                self.authority_key_id = Some(AuthorityKeyId { key_id, issuer_and_serial });
            }
            known::SUBJECT_KEY_ID => {
                if critical {
                    flaws.add(Flaw::Critical);
                }
                self.subject_key_id = Some(reader.content(tag::OCTET_STRING)?.into());
            }
            known::EXTENDED_KEY_USAGE => {
                let mut inner = reader.enter(tag::SEQUENCE)?;
                let mut purposes = Vec::new();
                while !inner.is_empty() {
                    purposes.push(Oid::new(inner.oid()?));
                }
                self.extended_key_usage = Some(purposes);
            }
            known::CERTIFICATE_POLICIES => self.policies = Some(policies(reader, flaws)?),
            known::POLICY_MAPPINGS => {
                let mut inner = reader.enter(tag::SEQUENCE)?;
                let mut mappings = Vec::new();
                while !inner.is_empty() {
                    let mut pair = inner.enter(tag::SEQUENCE)?;
                    mappings.push((Oid::new(pair.content(tag::OID)?), Oid::new(pair.content(tag::OID)?)));
                }
                self.policy_mappings = mappings;
            }
            known::POLICY_CONSTRAINTS => {
                let mut inner = reader.enter(tag::SEQUENCE)?;
                let mut field = |number| match inner.peek(tag::context(number)) {
                    true => inner.content(tag::context(number)).and_then(signed).map(Some),
                    false => Some(None),
                };
                let (require_explicit_policy, inhibit_policy_mapping) = (field(0)?, field(1)?);
                self.policy_constraints = PolicyConstraints { require_explicit_policy, inhibit_policy_mapping };
            }
            known::INHIBIT_ANY_POLICY => self.inhibit_any_policy = Some(signed(reader.integer()?)?),
            known::AUTHORITY_INFO_ACCESS => {
                if critical {
                    flaws.add(Flaw::Critical);
                }
                let mut inner = reader.enter(tag::SEQUENCE)?;
                while !inner.is_empty() {
                    let mut access = inner.enter(tag::SEQUENCE)?;
                    access.oid()?;
                    if access.peek(tag::context(6)) {
                        access.content(tag::context(6))?;
                    }
                }
            }
            // What it says is nobody's business here; what is left unread is no flaw.
            _ => *reader = Reader::new(&[]),
        }
        Some(())
    }
}

fn trailing(reader: &Reader<'_>, flaws: &mut Flaws<'_>) {
    if !reader.is_empty() {
        flaws.add(Flaw::TrailingData(reader.rest().len()));
    }
}

/// The value of an INTEGER's bytes, if it fits.
fn signed(bytes: &[u8]) -> Option<i64> {
    let negative = bytes.first()? & 0x80 != 0;
    let fits = super::der::minimal(bytes) && bytes.len() <= 8;
    fits.then(|| bytes.iter().fold(if negative { -1 } else { 0 }, |sum, byte| sum << 8 | i64::from(*byte)))
}

fn subject_alt_names(reader: &mut Reader<'_>, flaws: &mut Flaws<'_>) -> Option<SubjectAltNames> {
    let mut inner = reader.enter(tag::SEQUENCE)?;
    let mut names = SubjectAltNames::default();
    while !inner.is_empty() {
        let name = inner.any()?;
        let text = |flaws: &mut Flaws<'_>| {
            let text = String::from_utf8_lossy(name.content).into_owned();
            if !name.content.is_ascii() {
                flaws.add(Flaw::NotAscii(text.as_str().into()));
            }
            text
        };
        match name.tag {
            0x81 => names.emails.push(text(flaws)),
            0x82 => names.dns.push(text(flaws)),
            0x86 => {
                let uri = text(flaws);
                match uri::host(&uri) {
                    Some(host) if super::constraint::domain(&host, false) => {}
                    Some(host) if super::constraint::domain(&host, true) => {
                        flaws.add(Flaw::DottedHost(uri.as_str().into()))
                    }
                    _ => flaws.add(Flaw::InvalidUri(uri.as_str().into())),
                }
                names.uris.push(uri);
            }
            0x87 => match address(name.content) {
                Some(ip) => names.ips.push(ip),
                None => flaws.add(Flaw::IpLength(name.content.len())),
            },
            0xa4 => match Name::parse(name.content, &mut Defects::default().of(Part::Subject)) {
                Some(directory) => names.directories.push(directory),
                None => names.others.push(name.tag),
            },
            other => names.others.push(other),
        }
    }
    Some(names)
}

/// An IP address of 4 or 16 bytes.
pub(super) fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        _ => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
    }
}

fn policies(reader: &mut Reader<'_>, flaws: &mut Flaws<'_>) -> Option<Vec<Oid>> {
    let mut inner = reader.enter(tag::SEQUENCE)?;
    let mut policies: Vec<Oid> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    while !inner.is_empty() {
        let content = inner.enter(tag::SEQUENCE)?.content(tag::OID)?;
        // Policies may have arcs of any size, unlike all else.
        if content.is_empty() || content.last().is_some_and(|last| last & 0x80 != 0) {
            return None;
        }
        let begins = std::iter::once(&0).chain(content).zip(content);
        if begins.into_iter().any(|(before, byte)| before & 0x80 == 0 && *byte == 0x80) {
            return None;
        }
        if !seen.insert(content) {
            flaws.add(Flaw::DuplicatePolicy(Oid::new(content)));
        }
        policies.push(Oid::new(content));
    }
    Some(policies)
}

/// They are not followed here; but Go refuses what it cannot read in them.
fn crl_distribution_points(reader: &mut Reader<'_>) -> Option<()> {
    let mut points = reader.enter(tag::SEQUENCE)?;
    while !points.is_empty() {
        let mut point = points.enter(tag::SEQUENCE)?;
        if !point.peek(tag::constructed(0)) {
            continue;
        }
        let mut names = point.enter(tag::constructed(0))?.enter(tag::constructed(0))?;
        while names.peek(tag::context(6)) {
            names.content(tag::context(6))?;
        }
    }
    Some(())
}

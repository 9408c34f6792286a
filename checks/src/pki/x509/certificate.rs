//! One certificate, read leniently: what can be read is there, what is malformed is a [`Defect`].
//!
//! The reader is our own, and not x509-parser's, since Go decides on details of DER that no library tells apart (see
//! [`Defect::refusal`]); `checks/tests/x509.rs` holds it against x509-parser on what both can read.

use std::ops::Range;

use jiff::Timestamp;

use super::algorithm::SignatureAlgorithm;
use super::defect::{Defect, Defects, Flaw, Flaws, Part};
use super::der::{Reader, minimal, right_aligned, tag, unsigned};
use super::extension::{Extension, Extensions};
use super::go_version::GoVersion;
use super::name::Name;
use super::oid::{Oid, known};
use super::public_key::{Fingerprint, PublicKey};
use super::time;

/// A certificate that is larger than this is not read: 1 MiB, several hundred times what one has.
pub const MAX_SIZE: usize = 1 << 20;

/// A certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Its DER, without what trails it.
    pub der: Box<[u8]>,
    /// The SHA-256 of its DER.
    pub fingerprint: Fingerprint,
    /// 1, 2 or 3; another number is a defect.
    pub version: u64,
    /// Its serial number.
    pub serial: Serial,
    /// How it is signed, as the outer identifier says.
    pub signature_algorithm: SignatureAlgorithm,
    /// How it is signed, as what is signed says; must be the same.
    pub inner_signature_algorithm: SignatureAlgorithm,
    /// Who signed it.
    pub issuer: Name,
    /// Whose key it has.
    pub subject: Name,
    /// The first second in which it is valid.
    pub not_before: Timestamp,
    /// The last one.
    pub not_after: Timestamp,
    /// The key.
    pub public_key: PublicKey,
    /// What its extensions say.
    pub extensions: Extensions,
    /// All its extensions, in order.
    pub extension_list: Vec<Extension>,
    /// The signature.
    pub signature: Box<[u8]>,
    /// What is malformed in it.
    pub defects: Vec<Defect>,
    tbs: Range<usize>,
}

/// A serial number, in two's complement and big-endian, as it is encoded.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Serial(pub Box<[u8]>);

impl Serial {
    /// Whether it is below zero, which Go refuses since 1.23.
    pub fn is_negative(&self) -> bool {
        self.0.first().is_some_and(|first| first & 0x80 != 0)
    }

    /// Whether it is zero, as that of every CA of an old kubeadm.
    pub fn is_zero(&self) -> bool {
        self.0.iter().all(|byte| *byte == 0)
    }

    /// Whether it is longer than the 20 bytes of RFC 5280 section 4.1.2.2.
    pub fn is_too_long(&self) -> bool {
        self.0.len() > 20
    }
}

/// Hexadecimal, as openssl shows it: `01AF`, `-05`.
impl std::fmt::Display for Serial {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.is_negative() {
            let digits = if self.0.len() > 1 { self.0.strip_prefix(&[0]).unwrap_or(&self.0) } else { &self.0 };
            return digits.iter().try_for_each(|byte| write!(out, "{byte:02X}"));
        }
        let mut carry = true;
        let mut absolute: Vec<u8> = self
            .0
            .iter()
            .rev()
            .map(|byte| {
                let (sum, over) = (!byte).overflowing_add(u8::from(carry));
                carry = over;
                sum
            })
            .collect();
        while absolute.len() > 1 && absolute.last() == Some(&0) {
            absolute.pop();
        }
        write!(out, "-")?;
        absolute.iter().rev().try_for_each(|byte| write!(out, "{byte:02X}"))
    }
}

impl std::fmt::Debug for Serial {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, out)
    }
}

/// These bytes are no certificate: without this part nothing can be said of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoCertificate {
    /// This part is missing, or is not what stands there in a certificate.
    #[error("no certificate: the {0} cannot be read")]
    Part(Part),
    /// It is larger than [`MAX_SIZE`].
    #[error("{0} bytes are too many for a certificate")]
    TooLarge(usize),
}

impl From<Part> for NoCertificate {
    fn from(part: Part) -> Self {
        Self::Part(part)
    }
}

impl Certificate {
    /// Reads one certificate.
    ///
    /// Takes time linear in its size.
    ///
    /// # Errors
    ///
    /// [`NoCertificate`] if the bytes do not have the parts of one. Everything else is in [`defects`](Self::defects).
    pub fn parse(der: &[u8]) -> Result<Self, NoCertificate> {
        if der.len() > MAX_SIZE {
            return Err(NoCertificate::TooLarge(der.len()));
        }
        let mut defects = Defects::default();
        let mut input = Reader::new(der);
        let whole = input.element(tag::SEQUENCE).ok_or(Part::Certificate)?;
        if !input.is_empty() {
            defects.of(Part::Certificate).add(Flaw::TrailingData(input.rest().len()));
        }
        let der = whole.whole;
        let mut outer = Reader::new(whole.content);
        let tbs = outer.element(tag::SEQUENCE).ok_or(Part::Certificate)?;
        let outer_algorithm = outer.element(tag::SEQUENCE).ok_or(Part::SignatureAlgorithm)?;
        let signature = outer.element(tag::BIT_STRING).ok_or(Part::Signature)?;
        let within = |part: &[u8]| {
            let begin = part.as_ptr() as usize - der.as_ptr() as usize;
            begin..begin + part.len()
        };

        let mut inner = Reader::new(tbs.content);
        let version = version(&mut inner, &mut defects.of(Part::Version));
        let serial = inner.content(tag::INTEGER).ok_or(Part::Serial)?;
        if !minimal(serial) {
            defects.of(Part::Serial).add(Flaw::NotMinimal);
        }
        let serial = Serial(serial.into());
        if serial.is_negative() {
            defects.of(Part::Serial).add(Flaw::NegativeSerial);
        }
        let inner_algorithm = inner.element(tag::SEQUENCE).ok_or(Part::SignatureAlgorithm)?;
        if inner_algorithm.content != outer_algorithm.content {
            defects.of(Part::SignatureAlgorithm).add(Flaw::AlgorithmsDiffer);
        }
        let mut algorithm = |content| SignatureAlgorithm::parse(content, &mut defects.of(Part::SignatureAlgorithm));
        let (signature_algorithm, inner_signature_algorithm) =
            (algorithm(outer_algorithm.content), algorithm(inner_algorithm.content));
        let issuer = inner.element(tag::SEQUENCE).ok_or(Part::Issuer)?.whole;
        let issuer = Name::parse(issuer, &mut defects.of(Part::Issuer)).ok_or(Part::Issuer)?;
        let mut validity = inner.enter(tag::SEQUENCE).ok_or(Part::NotBefore)?;
        let mut instant = |part: Part| {
            let read = validity.any().and_then(|element| time::read(element, &mut defects.of(part.clone())));
            read.ok_or(part)
        };
        let (not_before, not_after) = (instant(Part::NotBefore)?, instant(Part::NotAfter)?);
        let subject = inner.element(tag::SEQUENCE).ok_or(Part::Subject)?.whole;
        let subject = Name::parse(subject, &mut defects.of(Part::Subject)).ok_or(Part::Subject)?;
        let spki = inner.element(tag::SEQUENCE).ok_or(Part::PublicKey)?.whole;
        let public_key = PublicKey::parse(spki, &mut defects.of(Part::PublicKey)).ok_or(Part::PublicKey)?;
        let signature = signature_bits(signature.whole).unwrap_or_else(|| {
            defects.of(Part::Signature).add(Flaw::Malformed);
            Box::default()
        });

        let mut extension_list = Vec::new();
        let mut extensions = Extensions::default();
        for unique_id in [1, 2] {
            if version > 1 && inner.peek(tag::context(unique_id)) && inner.any().is_none() {
                defects.of(Part::UniqueIds).add(Flaw::Malformed);
            }
        }
        if inner.peek(tag::constructed(3)) && version < 3 {
            defects.of(Part::Extensions).add(Flaw::ExtensionsBeforeVersion3);
        } else if inner.peek(tag::constructed(3)) {
            let list = inner.enter(tag::constructed(3)).and_then(|mut explicit| explicit.enter(tag::SEQUENCE));
            let complete = list.is_some_and(|list| list_extensions(list, &within, &mut extension_list));
            if !complete {
                defects.of(Part::Extensions).add(Flaw::Malformed);
            }
            let mut seen = std::collections::HashSet::new();
            for extension in &extension_list {
                if !seen.insert(extension.oid.content()) {
                    defects.of(Part::Extension(extension.oid.clone())).add(Flaw::DuplicateExtension);
                }
            }
        } else if !inner.is_empty() {
            defects.of(Part::Extensions).add(Flaw::TrailingData(inner.rest().len()));
        }
        if !outer.is_empty() {
            defects.of(Part::Signature).add(Flaw::TrailingData(outer.rest().len()));
        }
        for extension in &extension_list {
            extensions.read(extension, &der[extension.at.clone()], &mut defects);
        }
        Ok(Self {
            der: der.into(),
            fingerprint: Fingerprint::of(der),
            version,
            serial,
            signature_algorithm,
            inner_signature_algorithm,
            issuer,
            subject,
            not_before,
            not_after,
            public_key,
            extensions,
            extension_list,
            signature,
            defects: defects.0,
            tbs: within(tbs.whole),
        })
    }

    /// What is signed.
    pub fn tbs(&self) -> &[u8] {
        &self.der[self.tbs.clone()]
    }

    /// The value of one of its extensions.
    pub fn value(&self, extension: &Extension) -> &[u8] {
        &self.der[extension.at.clone()]
    }

    /// The first extension of this type.
    pub fn extension(&self, oid: &[u8]) -> Option<&Extension> {
        self.extension_list.iter().find(|extension| extension.oid.is(oid))
    }

    /// Whether subject and issuer are the same name. That it is also signed by its own key is for a path to say.
    pub fn is_self_issued(&self) -> bool {
        self.subject.der == self.issuer.der
    }

    /// Whether it says that its key may sign certificates.
    pub fn is_ca(&self) -> bool {
        self.extensions.basic_constraints.is_some_and(|constraints| constraints.ca)
    }

    /// What this version of Go refuses to parse it for: empty if it parses.
    pub fn refused_by(&self, version: GoVersion) -> impl Iterator<Item = &Defect> {
        self.defects.iter().filter(move |defect| defect.refused_by(version))
    }

    /// The critical extensions that this version of Go does not understand, for which it accepts no path with the
    /// certificate.
    pub fn unhandled_by(&self, version: GoVersion) -> impl Iterator<Item = &Extension> {
        let policies = version >= GoVersion::new(24);
        self.extension_list.iter().filter(move |extension| extension.critical).filter(move |extension| match extension
            .oid
            .content()
        {
            known::KEY_USAGE
            | known::BASIC_CONSTRAINTS
            | known::CRL_DISTRIBUTION_POINTS
            | known::AUTHORITY_KEY_ID
            | known::EXTENDED_KEY_USAGE
            | known::SUBJECT_KEY_ID
            | known::CERTIFICATE_POLICIES
            | known::AUTHORITY_INFO_ACCESS => false,
            known::POLICY_CONSTRAINTS | known::POLICY_MAPPINGS | known::INHIBIT_ANY_POLICY => !policies,
            known::SUBJECT_ALT_NAME => self.extensions.subject_alt_names.as_ref().is_none_or(|names| {
                names.dns.is_empty() && names.ips.is_empty() && names.uris.is_empty() && names.emails.is_empty()
            }),
            known::NAME_CONSTRAINTS => self
                .extensions
                .name_constraints
                .as_ref()
                .is_none_or(super::constraint::NameConstraints::unsupported_by_go),
            _ => true,
        })
    }
}

fn version(reader: &mut Reader<'_>, flaws: &mut Flaws<'_>) -> u64 {
    if !reader.peek(tag::constructed(0)) {
        return 1;
    }
    let Some(mut explicit) = reader.enter(tag::constructed(0)) else {
        flaws.add(Flaw::Malformed);
        return 1;
    };
    let number = explicit.integer();
    if !explicit.is_empty() {
        flaws.add(Flaw::TrailingData(explicit.rest().len()));
    }
    match number.and_then(unsigned) {
        Some(number @ 0..=2) => number + 1,
        Some(number) => {
            flaws.add(Flaw::UnknownVersion);
            number.saturating_add(1)
        }
        None => {
            flaws.add(if number.is_some() { Flaw::UnknownVersion } else { Flaw::Malformed });
            3
        }
    }
}

/// The bytes of a signature, moved to the right if some bits of its last byte are unused.
pub(super) fn signature_bits(element: &[u8]) -> Option<Box<[u8]>> {
    let (unused, bytes) = Reader::new(element).bits()?;
    Some(if unused == 0 { bytes.into() } else { right_aligned(unused, bytes) })
}

/// Collects all that can be read; false if something cannot.
fn list_extensions(mut list: Reader<'_>, within: &dyn Fn(&[u8]) -> Range<usize>, all: &mut Vec<Extension>) -> bool {
    let mut complete = true;
    while !list.is_empty() {
        let Some(mut one) = list.enter(tag::SEQUENCE) else { return false };
        let read = (|| {
            let oid = Oid::new(one.oid()?);
            let critical = one.peek(tag::BOOLEAN) && one.boolean()?;
            Some(Extension { oid, critical, at: within(one.content(tag::OCTET_STRING)?) })
        })();
        complete &= read.is_some();
        all.extend(read);
    }
    complete
}

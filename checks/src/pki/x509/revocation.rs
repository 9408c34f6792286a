//! Certificate revocation lists (RFC 5280 section 5): who signed one, until when it is good, and which serial numbers
//! are revoked.
//!
//! Read by its shape alone. Whether it counts, and for which certificates, is for whoever reads it to say: etcd looks
//! at serial numbers and at nothing else.

use std::ops::Range;

use jiff::Timestamp;

use super::algorithm::SignatureAlgorithm;
use super::certificate::{Serial, signature_bits};
use super::defect::{Defects, Part};
use super::der::{Reader, tag, unsigned};
use super::name::Name;
use super::time;

/// A certificate revocation list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevocationList {
    /// Its DER, without what trails it.
    pub der: Box<[u8]>,
    /// 1 or 2; Go reads the second alone since `x509.ParseCRL` was deprecated.
    pub version: u64,
    /// How it is signed.
    pub signature_algorithm: SignatureAlgorithm,
    /// Who signed it.
    pub issuer: Name,
    /// When it was made.
    pub this_update: Timestamp,
    /// When the next one is due, if that is said.
    pub next_update: Option<Timestamp>,
    /// The serial numbers that are revoked, in order.
    pub revoked: Vec<Serial>,
    /// The signature.
    pub signature: Box<[u8]>,
    tbs: Range<usize>,
}

/// These bytes are no revocation list: without this part nothing can be said of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no revocation list: the {0} cannot be read")]
pub struct NoRevocationList(pub &'static str);

impl RevocationList {
    /// Reads one list, as `x509.ParseRevocationList` of Go does; a list of version 1 is read, too.
    ///
    /// Takes time linear in its size.
    ///
    /// # Errors
    ///
    /// [`NoRevocationList`] if the bytes do not have the parts of one, down to the last serial number: a list of which
    /// half can be read is none to Go.
    pub fn parse(der: &[u8]) -> Result<Self, NoRevocationList> {
        let no = NoRevocationList;
        let whole = Reader::new(der).element(tag::SEQUENCE).ok_or(no("outermost sequence"))?;
        let mut outer = Reader::new(whole.content);
        let tbs = outer.element(tag::SEQUENCE).ok_or(no("list"))?;
        let outer_algorithm = outer.element(tag::SEQUENCE).ok_or(no("signature algorithm"))?;
        let signature = outer.element(tag::BIT_STRING).and_then(|bits| signature_bits(bits.whole));
        let signature = signature.ok_or(no("signature"))?;

        let mut defects = Defects::default();
        let mut inner = Reader::new(tbs.content);
        let version = match inner.integer() {
            None => 1,
            Some(number) => unsigned(number).and_then(|number| number.checked_add(1)).ok_or(no("version"))?,
        };
        let algorithm = inner.element(tag::SEQUENCE).ok_or(no("signature algorithm"))?;
        if algorithm.content != outer_algorithm.content {
            return Err(no("signature algorithm, of which there are two,"));
        }
        let flaws = &mut defects.of(Part::SignatureAlgorithm);
        let signature_algorithm = SignatureAlgorithm::parse(algorithm.content, flaws);
        let issuer = inner.element(tag::SEQUENCE).ok_or(no("issuer"))?.whole;
        let issuer = Name::parse(issuer, &mut defects.of(Part::Issuer)).ok_or(no("issuer"))?;
        let mut instant = |reader: &mut Reader<'_>| time::read(reader.any()?, &mut defects.of(Part::NotBefore));
        let this_update = instant(&mut inner).ok_or(no("time of this update"))?;
        let next_update = match inner.peek(tag::UTC_TIME) || inner.peek(tag::GENERALIZED_TIME) {
            true => Some(instant(&mut inner).ok_or(no("time of the next update"))?),
            false => None,
        };
        let mut revoked = Vec::new();
        if inner.peek(tag::SEQUENCE) {
            let mut entries = inner.enter(tag::SEQUENCE).ok_or(no("list of what is revoked"))?;
            while !entries.is_empty() {
                let mut entry = entries.enter(tag::SEQUENCE).ok_or(no("list of what is revoked"))?;
                let serial = entry.integer().ok_or(no("serial number of an entry"))?;
                instant(&mut entry).ok_or(no("time of an entry"))?;
                revoked.push(Serial(serial.into()));
            }
        }
        let begin = tbs.whole.as_ptr() as usize - whole.whole.as_ptr() as usize;
        let tbs = begin..begin + tbs.whole.len();
        let der = whole.whole.into();
        Ok(Self { der, version, signature_algorithm, issuer, this_update, next_update, revoked, signature, tbs })
    }

    /// What is signed.
    pub fn tbs(&self) -> &[u8] {
        &self.der[self.tbs.clone()]
    }

    /// Is this serial number in it? By its value, as etcd compares.
    pub fn revokes(&self, serial: &Serial) -> bool {
        self.revoked.contains(serial)
    }
}

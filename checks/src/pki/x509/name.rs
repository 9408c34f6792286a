//! Distinguished names: their attributes as text, and their DER, which is what Go compares.

use std::fmt;

use super::defect::{Defects, Flaw, Flaws, Part};
use super::der::{Reader, tag};
use super::oid::{Oid, known};

/// The subject or the issuer of a certificate.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Name {
    /// Its DER.
    pub der: Box<[u8]>,
    /// Its attributes in the order of the DER.
    pub attributes: Vec<Attribute>,
}

/// One attribute of a name, such as `CN=kubernetes`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Attribute {
    /// Its type.
    pub oid: Oid,
    /// Its value; what is no text in its encoding is replaced by U+FFFD.
    pub value: String,
    /// How it is encoded.
    pub encoding: Encoding,
    /// Which relative distinguished name it belongs to; those of several attributes are rare.
    pub rdn: usize,
}

/// The ASN.1 type of an attribute's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names of ASN.1")]
pub enum Encoding {
    Utf8String,
    PrintableString,
    Ia5String,
    NumericString,
    T61String,
    BmpString,
    /// No string that certificates may use: its tag.
    Other(u8),
}

impl Name {
    /// Reads a name that is in no certificate, such as that of a request, as far as it can be read.
    pub fn read(der: &[u8]) -> Option<Self> {
        Self::parse(der, &mut Defects::default().of(Part::Subject))
    }

    /// Reads a name; `None` if `der` is no sequence at all.
    pub(super) fn parse(der: &[u8], flaws: &mut Flaws<'_>) -> Option<Self> {
        let mut all = Reader::new(der).enter(tag::SEQUENCE)?;
        let mut attributes = Vec::new();
        let mut rdn = 0;
        while !all.is_empty() {
            let Some(mut set) = all.enter(tag::SET) else {
                flaws.add(Flaw::MalformedName);
                break;
            };
            while !set.is_empty() {
                let read = set.enter(tag::SEQUENCE).and_then(|mut pair| Some((pair.oid()?, pair.any()?)));
                let Some((oid, value)) = read else {
                    flaws.add(Flaw::MalformedName);
                    break;
                };
                attributes.push(attribute(Oid::new(oid), value.tag, value.content, rdn, flaws));
            }
            rdn += 1;
        }
        Some(Self { der: der.into(), attributes })
    }

    /// The values of the attributes of this type.
    pub fn values(&self, oid: &[u8]) -> impl Iterator<Item = &str> {
        self.attributes.iter().filter(move |attribute| attribute.oid.is(oid)).map(|attribute| attribute.value.as_str())
    }

    /// The last common name, which is the one that Go, and so Kubernetes, takes.
    pub fn common_name(&self) -> Option<&str> {
        self.values(known::COMMON_NAME).last()
    }

    /// The organizations: the groups of a Kubernetes user.
    pub fn organizations(&self) -> impl Iterator<Item = &str> {
        self.values(known::ORGANIZATION)
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.attributes.is_empty()
    }

    /// What to call it in a sentence: as it is displayed, or that there is none, as in Talos's CA of the front proxy.
    pub fn called(&self) -> String {
        if self.is_empty() { "without a name".to_owned() } else { self.to_string() }
    }

    /// A form in which names that RFC 5280 section 7.1 calls equal are equal: case and needless space do not count.
    pub(super) fn canonical(&self) -> Vec<u8> {
        let mut form = Vec::with_capacity(self.der.len());
        for attribute in &self.attributes {
            form.extend([
                u8::try_from(attribute.rdn).unwrap_or(u8::MAX),
                u8::try_from(attribute.oid.content().len()).unwrap_or(u8::MAX),
            ]);
            form.extend(attribute.oid.content());
            for word in attribute.value.split_whitespace() {
                form.extend(word.to_lowercase().bytes());
                form.push(b' ');
            }
            form.push(0);
        }
        form
    }
}

fn attribute(oid: Oid, tag: u8, content: &[u8], rdn: usize, flaws: &mut Flaws<'_>) -> Attribute {
    let ascii = |good: fn(u8) -> bool| content.iter().all(|byte| good(*byte));
    let (encoding, good) = match tag {
        tag::UTF8_STRING => (Encoding::Utf8String, std::str::from_utf8(content).is_ok()),
        tag::PRINTABLE_STRING => (Encoding::PrintableString, ascii(printable)),
        tag::IA5_STRING => (Encoding::Ia5String, content.is_ascii()),
        tag::NUMERIC_STRING => (Encoding::NumericString, ascii(|byte| byte.is_ascii_digit() || byte == b' ')),
        tag::T61_STRING => (Encoding::T61String, true),
        tag::BMP_STRING => (Encoding::BmpString, content.len().is_multiple_of(2)),
        other => (Encoding::Other(other), true),
    };
    let value = match encoding {
        // Latin-1, as everyone reads it.
        Encoding::T61String => content.iter().map(|byte| char::from(*byte)).collect(),
        Encoding::BmpString => {
            let content = content.strip_suffix(&[0, 0]).unwrap_or(content);
            let units = content.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            if units.clone().any(|unit| matches!(unit, 0xfffe | 0xffff | 0xfdd0..=0xfdef | 0xd800..=0xdfff)) {
                flaws.add(Flaw::ReservedCharacter(oid.clone()));
            }
            char::decode_utf16(units).map(|sign| sign.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
        }
        _ => String::from_utf8_lossy(content).into_owned(),
    };
    if let Encoding::Other(tag) = encoding {
        flaws.add(Flaw::NoString { attribute: oid.clone(), tag });
    } else if !good {
        flaws.add(Flaw::InvalidString(oid.clone()));
    }
    Attribute { oid, value, encoding, rdn }
}

/// PrintableString, with the two signs beyond it that everyone takes: `*` and `&`.
const fn printable(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'\''..=b')' | b'+'..=b'/' | b' ' | b':' | b'=' | b'?' | b'*' | b'&')
}

/// Is it a character without a width, or one that marks a direction of writing (Unicode, Bidi_Control)?
const fn is_invisible(sign: char) -> bool {
    matches!(sign, '\u{61C}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}')
}

/// RFC 2253, the last attribute first, as Go and kubectl show names: `CN=kubernetes-admin,O=system:masters`.
impl fmt::Display for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before = None;
        for attribute in self.attributes.iter().rev() {
            match before {
                None => {}
                Some(rdn) if rdn == attribute.rdn => out.write_str("+")?,
                Some(_) => out.write_str(",")?,
            }
            before = Some(attribute.rdn);
            write!(out, "{}=", attribute.oid)?;
            let last = attribute.value.chars().count().saturating_sub(1);
            for (index, sign) in attribute.value.chars().enumerate() {
                match sign {
                    ',' | '+' | '"' | '\\' | '<' | '>' | ';' => write!(out, "\\{sign}")?,
                    '#' if index == 0 => out.write_str("\\#")?,
                    ' ' if index == 0 || index == last => out.write_str("\\ ")?,
                    // What turns the direction of writing around, or is not seen, makes one name look like another.
                    sign if sign.is_control() || is_invisible(sign) => write!(out, "\\{:02X}", u32::from(sign))?,
                    sign => write!(out, "{sign}")?,
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?}", self.to_string())
    }
}

//! A reader of DER that copies nothing and takes exactly what Go's `cryptobyte` takes: tags below 31, definite and
//! minimal lengths of at most four bytes. Whoever reads a certificate with it can therefore tell what Go would refuse.
//!
//! Every step either advances or fails, so that reading ends after at most as many steps as there are bytes.

/// Tags that certificates and keys use.
pub(super) mod tag {
    pub(in super::super) const BOOLEAN: u8 = 0x01;
    pub(in super::super) const INTEGER: u8 = 0x02;
    pub(in super::super) const BIT_STRING: u8 = 0x03;
    pub(in super::super) const OCTET_STRING: u8 = 0x04;
    pub(in super::super) const NULL: u8 = 0x05;
    pub(in super::super) const OID: u8 = 0x06;
    pub(in super::super) const UTF8_STRING: u8 = 0x0c;
    pub(in super::super) const NUMERIC_STRING: u8 = 0x12;
    pub(in super::super) const PRINTABLE_STRING: u8 = 0x13;
    pub(in super::super) const T61_STRING: u8 = 0x14;
    pub(in super::super) const IA5_STRING: u8 = 0x16;
    pub(in super::super) const UTC_TIME: u8 = 0x17;
    pub(in super::super) const GENERALIZED_TIME: u8 = 0x18;
    pub(in super::super) const BMP_STRING: u8 = 0x1e;
    pub(in super::super) const SEQUENCE: u8 = 0x30;
    pub(in super::super) const SET: u8 = 0x31;

    /// `[n]`, primitive.
    pub(in super::super) const fn context(number: u8) -> u8 {
        0x80 | number
    }

    /// `[n]`, constructed.
    pub(in super::super) const fn constructed(number: u8) -> u8 {
        0xa0 | number
    }
}

/// What is left of some DER.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

/// One element: its tag, its content, and all of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Element<'a> {
    pub(super) tag: u8,
    pub(super) content: &'a [u8],
    pub(super) whole: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether the next element has this tag.
    pub(super) fn peek(&self, tag: u8) -> bool {
        self.rest.first() == Some(&tag)
    }

    /// The next element, whatever it is.
    pub(super) fn any(&mut self) -> Option<Element<'a>> {
        let (&tag, &first) = (self.rest.first()?, self.rest.get(1)?);
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (header, length) = if first & 0x80 == 0 {
            (2, usize::from(first))
        } else {
            let bytes = usize::from(first & 0x7f);
            if bytes == 0 || bytes > 4 {
                return None;
            }
            let digits = self.rest.get(2..2 + bytes)?;
            let length = digits.iter().fold(0_usize, |sum, digit| sum << 8 | usize::from(*digit));
            if length < 128 || digits[0] == 0 {
                return None;
            }
            (2 + bytes, length)
        };
        let whole = self.rest.get(..header.checked_add(length)?)?;
        self.rest = &self.rest[whole.len()..];
        Some(Element { tag, content: &whole[header..], whole })
    }

    /// The next element, if it has this tag; otherwise nothing, and no step.
    pub(super) fn element(&mut self, tag: u8) -> Option<Element<'a>> {
        let mut ahead = *self;
        let found = ahead.any().filter(|element| element.tag == tag)?;
        *self = ahead;
        Some(found)
    }

    /// The content of the next element, if it has this tag.
    pub(super) fn content(&mut self, tag: u8) -> Option<&'a [u8]> {
        Some(self.element(tag)?.content)
    }

    /// The inside of the next element, if it has this tag.
    pub(super) fn enter(&mut self, tag: u8) -> Option<Self> {
        self.content(tag).map(Self::new)
    }

    /// A BOOLEAN: 0x00 or 0xff.
    pub(super) fn boolean(&mut self) -> Option<bool> {
        match self.content(tag::BOOLEAN)? {
            [0] => Some(false),
            [0xff] => Some(true),
            _ => None,
        }
    }

    /// The two's complement bytes of an INTEGER, in the fewest bytes.
    pub(super) fn integer(&mut self) -> Option<&'a [u8]> {
        self.content(tag::INTEGER).filter(|bytes| minimal(bytes))
    }

    /// The content of an OBJECT IDENTIFIER.
    pub(super) fn oid(&mut self) -> Option<&'a [u8]> {
        self.content(tag::OID).filter(|bytes| valid_oid(bytes))
    }

    /// A BIT STRING: how many bits at its end are unused, and its bytes.
    pub(super) fn bits(&mut self) -> Option<(u8, &'a [u8])> {
        let (&unused, bytes) = self.content(tag::BIT_STRING)?.split_first()?;
        let zero = bytes.last().is_none_or(|last| unused < 8 && last & ((1_u16 << unused) - 1) as u8 == 0);
        (unused < 8 && (unused == 0 || !bytes.is_empty()) && zero).then_some((unused, bytes))
    }
}

/// The bits of a BIT STRING moved to the right, so that the unused ones, of which there are some, are the first: what
/// Go makes of keys and signatures.
pub(super) fn right_aligned(unused: u8, bytes: &[u8]) -> Box<[u8]> {
    let before = std::iter::once(&0).chain(bytes);
    before.zip(bytes).map(|(before, byte)| before << (8 - unused) | byte >> unused).collect()
}

/// Whether an INTEGER is encoded in the fewest bytes.
pub(super) fn minimal(bytes: &[u8]) -> bool {
    match bytes {
        [] => false,
        [_] => true,
        [first, second, ..] => !(*first == 0 && second & 0x80 == 0 || *first == 0xff && second & 0x80 != 0),
    }
}

/// The value of an INTEGER's bytes, if it is between 0 and 2⁶⁴ - 1.
pub(super) fn unsigned(bytes: &[u8]) -> Option<u64> {
    let digits = match bytes {
        [first, ..] if first & 0x80 != 0 => return None,
        [0, rest @ ..] => rest,
        all => all,
    };
    (digits.len() <= 8).then(|| digits.iter().fold(0, |sum, digit| sum << 8 | u64::from(*digit)))
}

/// Whether the content of an OBJECT IDENTIFIER is complete, minimal, and has no arc beyond 2³¹.
fn valid_oid(bytes: &[u8]) -> bool {
    let (mut arc, mut begins) = (0_u32, true);
    for byte in bytes {
        if begins && *byte == 0x80 || arc >= 1 << 24 {
            return false;
        }
        arc = arc << 7 | u32::from(byte & 0x7f);
        begins = byte & 0x80 == 0;
        if begins {
            arc = 0;
        }
    }
    !bytes.is_empty() && begins
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_definite_minimal_and_within() {
        for bad in [
            &[0x30, 0x80, 0, 0][..],
            &[0x30, 0x81, 0x01, 0],
            &[0x30, 0x82, 0x00, 0x80],
            &[0x30, 2, 0],
            &[0x1f, 1, 0],
            &[0x30],
        ] {
            assert!(Reader::new(bad).any().is_none(), "{bad:x?}");
        }
        let mut long = vec![0x04, 0x81, 0x80];
        long.resize(3 + 128, 7);
        assert_eq!(Reader::new(&long).content(tag::OCTET_STRING).map(<[u8]>::len), Some(128));
    }

    #[test]
    fn another_tag_is_no_step() {
        let mut reader = Reader::new(&[0x02, 1, 5]);
        assert!(reader.boolean().is_none());
        assert_eq!(reader.integer(), Some(&[5][..]));
    }

    #[test]
    fn integers_are_minimal() {
        let value = |der: &[u8]| Reader::new(der).integer().and_then(unsigned);
        assert_eq!(value(&[2, 2, 0, 0x80]), Some(0x80));
        assert_eq!(value(&[2, 1, 0x80]), None);
        assert_eq!(value(&[2, 9, 0, 255, 255, 255, 255, 255, 255, 255, 255]), Some(u64::MAX));
        assert_eq!(Reader::new(&[2, 2, 0, 1]).integer(), None);
    }

    #[test]
    fn unused_bits_are_zero() {
        assert_eq!(Reader::new(&[3, 2, 7, 0x80]).bits(), Some((7, &[0x80][..])));
        for bad in [&[3, 2, 7, 0x81][..], &[3, 2, 8, 0], &[3, 1, 1], &[3, 0]] {
            assert!(Reader::new(bad).bits().is_none(), "{bad:x?}");
        }
    }
}

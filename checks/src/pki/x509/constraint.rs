//! Name constraints: which names a CA may certify, as written; and what counts as a domain and as a mailbox in them.

use std::net::IpAddr;

use super::defect::{Defects, Flaw, Flaws, Part};
use super::der::{Reader, tag};
use super::extension::address;
use super::name::Name;

/// What a nameConstraints extension says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NameConstraints {
    /// Whether the extension is critical.
    pub critical: bool,
    /// Names of these kinds must be within one of these.
    pub permitted: Subtrees,
    /// Names must be within none of these.
    pub excluded: Subtrees,
}

/// Subtrees of names, by kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subtrees {
    /// Of DNS names: `example.com` holds itself and all below it, `.example.com` all below it, the empty one
    /// everything.
    pub dns: Vec<String>,
    /// Of IP addresses.
    pub ips: Vec<IpRange>,
    /// Of e-mail addresses: one mailbox, or a domain.
    pub emails: Vec<String>,
    /// Of the hosts of URIs.
    pub uris: Vec<String>,
    /// Of directory names, which Go does not support.
    pub directories: Vec<Name>,
    /// The tags of kinds that nobody supports.
    pub others: Vec<u8>,
}

/// Some IP addresses: those that equal `address` where `mask` has ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IpRange {
    /// An address in it.
    pub address: IpAddr,
    /// How many bits count.
    pub prefix: u8,
}

impl IpRange {
    fn parse(bytes: &[u8]) -> Result<Self, Flaw> {
        let (ip, mask) = bytes.split_at(bytes.len() / 2);
        let address = address(ip).filter(|_| ip.len() == mask.len()).ok_or(Flaw::IpLength(bytes.len()))?;
        let ones: u32 = mask.iter().map(|byte| byte.leading_ones()).take_while(|ones| *ones > 0).sum();
        let all: u32 = mask.iter().map(|byte| byte.count_ones()).sum();
        let contiguous = (0..mask.len() * 8).all(|bit| {
            let one = mask[bit / 8] >> (7 - bit % 8) & 1 == 1;
            one == (bit < all as usize)
        });
        match u8::try_from(ones) {
            Ok(prefix) if contiguous => Ok(Self { address, prefix }),
            _ => Err(Flaw::IpMask),
        }
    }

    /// Whether an address is in it; those of the other family never are.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.address, ip) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                ours.to_bits() & mask == theirs.to_bits() & mask
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                ours.to_bits() & mask == theirs.to_bits() & mask
            }
            _ => false,
        }
    }
}

impl std::fmt::Display for IpRange {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}/{}", self.address, self.prefix)
    }
}

impl NameConstraints {
    pub(super) fn parse(reader: &mut Reader<'_>, critical: bool, flaws: &mut Flaws<'_>) -> Option<Self> {
        let mut inner = reader.enter(tag::SEQUENCE)?;
        let mut side = |number| match inner.peek(tag::constructed(number)) {
            true => inner.enter(tag::constructed(number)).map(Some),
            false => Some(None),
        };
        let (permitted, excluded) = (side(0)?, side(1)?);
        if !inner.is_empty() {
            return None;
        }
        if [permitted, excluded].into_iter().flatten().all(|subtrees| subtrees.is_empty()) {
            flaws.add(Flaw::NoConstraint);
        }
        let read = |side: Option<Reader<'_>>, flaws: &mut Flaws<'_>| {
            side.map_or(Some(Subtrees::default()), |side| Subtrees::parse(side, flaws))
        };
        Some(Self { critical, permitted: read(permitted, flaws)?, excluded: read(excluded, flaws)? })
    }

    /// Whether it has subtrees of a kind that Go does not support.
    pub fn unsupported_by_go(&self) -> bool {
        [&self.permitted, &self.excluded].iter().any(|side| !side.directories.is_empty() || !side.others.is_empty())
    }
}

impl Subtrees {
    fn parse(mut reader: Reader<'_>, flaws: &mut Flaws<'_>) -> Option<Self> {
        let mut all = Self::default();
        while !reader.is_empty() {
            let name = reader.enter(tag::SEQUENCE)?.any()?;
            let text = String::from_utf8_lossy(name.content).into_owned();
            if matches!(name.tag, 0x81 | 0x82 | 0x86) && !name.content.is_ascii() {
                flaws.add(Flaw::NotAscii(text.as_str().into()));
            }
            let fine = match name.tag {
                0x81 if text.contains('@') => Mailbox::parse(&text).is_some(),
                0x86 if text.parse::<IpAddr>().is_ok() => false,
                0x81 | 0x82 | 0x86 => domain(&text, true),
                _ => true,
            };
            if !fine {
                flaws.add(Flaw::InvalidConstraint(text.as_str().into()));
                continue;
            }
            match name.tag {
                0x81 => all.emails.push(text),
                0x82 => all.dns.push(text),
                0x86 => all.uris.push(text),
                0x87 => match IpRange::parse(name.content) {
                    Ok(range) => all.ips.push(range),
                    Err(flaw) => flaws.add(flaw),
                },
                0xa4 => match Name::parse(name.content, &mut Defects::default().of(Part::Subject)) {
                    Some(directory) => all.directories.push(directory),
                    None => all.others.push(name.tag),
                },
                other => all.others.push(other),
            }
        }
        Some(all)
    }
}

/// Whether Go takes it as a domain: labels of visible ASCII, none of them empty; a constraint may begin with a dot. The
/// empty one is one, too.
pub(super) fn domain(name: &str, constraint: bool) -> bool {
    let labels = if constraint { name.strip_prefix('.').unwrap_or(name) } else { name };
    let visible = labels.bytes().all(|byte| (33..=126).contains(&byte));
    name.is_empty() || !name.ends_with('.') && visible && labels.split('.').all(|label| !label.is_empty())
}

/// An e-mail address in its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mailbox {
    /// Before the @, without quotes.
    pub(super) local: Vec<u8>,
    /// After it, in small letters.
    pub(super) domain: String,
}

impl Mailbox {
    /// Reads a mailbox of RFC 2821, with the leniency of RFC 3696 that Go has: spaces in quotes, and escapes outside of
    /// them.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let escapable = |byte: u8| matches!(byte, 1..=9 | 11 | 12 | 14..=127);
        let mut bytes = text.bytes().peekable();
        let mut local = Vec::new();
        if bytes.next_if_eq(&b'"').is_some() {
            loop {
                match bytes.next()? {
                    b'"' => break,
                    b'\\' => local.push(bytes.next().filter(|byte| escapable(*byte))?),
                    byte @ (1..=8 | 11 | 12 | 14..=33 | 35..=91 | 93..=127) => local.push(byte),
                    _ => return None,
                }
            }
        } else {
            let atom = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&byte);
            loop {
                if bytes.next_if_eq(&b'\\').is_some() {
                    local.push(bytes.next()?);
                } else if let Some(byte) = bytes.next_if(|byte| atom(*byte)) {
                    local.push(byte);
                } else {
                    break;
                }
            }
            let dots = local.first() == Some(&b'.')
                || local.last() == Some(&b'.')
                || local.windows(2).any(|pair| pair == b"..");
            if local.is_empty() || dots {
                return None;
            }
        }
        bytes.next_if_eq(&b'@')?;
        let host = text.get(text.len() - bytes.len()..)?;
        domain(host, false).then(|| Self { local, domain: host.to_ascii_lowercase() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_have_a_mask_that_is_one() {
        let range = IpRange::parse(&[10, 0, 0, 5, 255, 0, 0, 0]);
        assert_eq!(range.as_ref().map(ToString::to_string), Ok("10.0.0.5/8".to_owned()));
        assert!(range.is_ok_and(|range| range.contains([10, 9, 9, 9].into()) && !range.contains([11, 0, 0, 1].into())));
        assert_eq!(IpRange::parse(&[0, 0, 0, 0, 255, 0, 255, 0]), Err(Flaw::IpMask));
        assert_eq!(IpRange::parse(&[0, 0, 0, 0, 127, 0, 0, 0]), Err(Flaw::IpMask));
        assert_eq!(IpRange::parse(&[0; 9]), Err(Flaw::IpLength(9)));
        assert!(IpRange::parse(&[0; 8]).is_ok_and(|range| range.contains([11, 0, 0, 1].into())));
    }

    #[test]
    fn mailboxes() {
        let parse = |text| {
            Mailbox::parse(text).map(|mailbox| (String::from_utf8_lossy(&mailbox.local).into_owned(), mailbox.domain))
        };
        assert_eq!(parse("a.b@Example.com"), Some(("a.b".to_owned(), "example.com".to_owned())));
        assert_eq!(parse("\"a \\\"b\"@c"), Some(("a \"b".to_owned(), "c".to_owned())));
        for bad in ["", "@a", "a", ".a@b", "a.@b", "a..b@c", "a b@c", "a@b.", "\"a@b", "a@b c"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}

//! Files of certificates and keys: PEM, with all that goes wrong in it, or bare DER.
//!
//! A file is never refused whole. What can be read is a [`Block`], what is wrong is a typed [`Remark`] with its line.
//! Private keys are decoded into memory that is wiped, and only their public half is kept.

use std::collections::{BTreeMap, HashMap};

use base64::Engine as _;
use zeroize::Zeroizing;

use super::certificate::{Certificate, NoCertificate};
use super::der::tag;
pub(crate) use super::go_pem::BASE64 as GO_BASE64;
use super::go_pem::{BASE64, Seen, seen};
use super::key::{BrokenKey, Key, Shape};
use super::public_key::Fingerprint;
use super::revocation::{NoRevocationList, RevocationList};

/// What a file holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Document {
    /// Its blocks, in order.
    pub blocks: Vec<Block>,
    /// What is wrong with it, in order.
    pub remarks: Vec<Remark>,
}

/// One PEM block, or a file of DER.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The line of its BEGIN, from 1; 1 for DER.
    pub line: usize,
    /// Its label, such as `CERTIFICATE`; `None` for DER.
    pub label: Option<String>,
    /// What it holds.
    pub content: Content,
    /// Whether Go's `pem.Decode`, and with it every component, passes over it without a word.
    pub skipped_by_go: bool,
    /// Whether there are header lines in it, as Go sees it.
    pub headers: bool,
}

/// What a block holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A certificate.
    Certificate(Box<Certificate>),
    /// What should be a certificate.
    BrokenCertificate(NoCertificate),
    /// A key; of a private one only the public half.
    Key(Box<Key>),
    /// What should be a key.
    BrokenKey(BrokenKey),
    /// A certificate signing request.
    CertificateRequest,
    /// A certificate revocation list.
    RevocationList(Box<RevocationList>),
    /// What should be one.
    BrokenRevocationList(NoRevocationList),
    /// Parameters of a curve or of Diffie-Hellman, which nobody needs.
    Parameters,
    /// Something else, or nothing that can be decoded.
    Unknown,
}

/// Something that is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// The line, from 1.
    pub line: usize,
    /// What.
    pub kind: RemarkKind,
}

/// What can be wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RemarkKind {
    /// There is nothing in it.
    Empty,
    /// There is something in it, but no block, and it is no DER.
    NoBlock,
    /// DER, where Kubernetes wants PEM.
    DerInsteadOfPem,
    /// A byte order mark: Go passes over the block that follows it.
    ByteOrderMark,
    /// Windows line ends; harmless to Go.
    CrLf,
    /// Text outside of the blocks, in so many lines; harmless to Go.
    TextOutside(usize),
    /// Bytes after the last block; harmless to Go, but not to kubeadm of old.
    TrailingData(usize),
    /// White space before BEGIN: Go passes over the block.
    Indented,
    /// One block begins on the line where another ends: Go passes over them.
    Glued,
    /// BEGIN and END do not say the same, or END is missing: the file is cut off, or was put together badly.
    NoEnd,
    /// What is between BEGIN and END is no base64.
    NotBase64,
    /// So many bytes after the DER in a block.
    TrailingDer(usize),
    /// The label says one thing, the content is another: the label that belongs to it.
    WrongLabel(&'static str),
    /// A label that nobody looks for.
    UnknownLabel,
    /// A private key that is encrypted with a passphrase.
    EncryptedKey,
    /// The same as the block of this line.
    Duplicate(usize),
}

impl Document {
    /// Reads a file.
    pub fn read(bytes: &[u8]) -> Self {
        let mut document = Self::default();
        if bytes.trim_ascii().is_empty() {
            document.remark(1, RemarkKind::Empty);
            return document;
        }
        if bytes.first() == Some(&0x30) && Shape::of(bytes) != Shape::Unknown {
            document.remark(1, RemarkKind::DerInsteadOfPem);
            document.block(1, None, bytes, true);
        } else {
            let mut go = seen(bytes).into_iter().map(|block| (block.line, block)).collect();
            document.pem(bytes, &mut go);
            for block in go.into_values() {
                document.add(block);
            }
            document.blocks.sort_by_key(|block| block.line);
        }
        document.find_duplicates();
        document.remarks.sort_by_key(|remark| remark.line);
        document
    }

    /// The certificates that could be read, in order.
    pub fn certificates(&self) -> impl Iterator<Item = &Certificate> {
        self.blocks.iter().filter_map(|block| match &block.content {
            Content::Certificate(certificate) => Some(&**certificate),
            _ => None,
        })
    }

    /// The keys that could be read, in order.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.blocks.iter().filter_map(|block| match &block.content {
            Content::Key(key) => Some(&**key),
            _ => None,
        })
    }

    fn remark(&mut self, line: usize, kind: RemarkKind) {
        self.remarks.push(Remark { line, kind });
    }

    fn pem(&mut self, bytes: &[u8], go: &mut BTreeMap<usize, Seen>) {
        let mut text = bytes;
        if let Some(rest) = bytes.strip_prefix(b"\xef\xbb\xbf") {
            self.remark(1, RemarkKind::ByteOrderMark);
            text = rest;
        }
        if let Some(at) = find(text, b"\r\n") {
            let line = 1 + text[..at].iter().filter(|byte| **byte == b'\n').count();
            self.remark(line, RemarkKind::CrLf);
        }
        let mut outside = Outside::default();
        let mut open: Option<Open<'_>> = None;
        for (index, whole) in text.split(|byte| *byte == b'\n').enumerate() {
            let number = index + 1;
            let mut line = whole;
            while let Some(at) = find(line, b"-----") {
                let marker = &line[at..];
                let begin = label(marker, b"-----BEGIN ");
                let end = label(marker, b"-----END ");
                let Some((name, length)) = begin.or(end) else { break };
                let (before, after) = (&line[..at], &line[at + length..]);
                match (&mut open, begin.is_some()) {
                    (Some(block), false) if block.label == name => {
                        block.lines.push(before);
                        if after.trim_ascii_start().starts_with(b"-----BEGIN ") {
                            self.remark(number, RemarkKind::Glued);
                        }
                        if let Some(block) = open.take() {
                            self.close(&block, go.remove(&block.line));
                        }
                    }
                    (_, begins) => {
                        if let Some(unfinished) = open.take() {
                            self.remark(unfinished.line, RemarkKind::NoEnd);
                        }
                        if begins {
                            self.outside(&mut outside, false);
                            if !before.is_empty() && before.trim_ascii().is_empty() {
                                self.remark(number, RemarkKind::Indented);
                            }
                            open = Some(Open { line: number, label: name, lines: Vec::new() });
                        } else {
                            self.remark(number, RemarkKind::NoEnd);
                        }
                    }
                }
                line = after;
            }
            match &mut open {
                Some(block) => block.lines.push(line),
                None => outside.line(number, line),
            }
        }
        if let Some(unfinished) = open {
            self.remark(unfinished.line, RemarkKind::NoEnd);
        }
        let none = self.blocks.is_empty();
        if none && self.remarks.iter().all(|remark| matches!(remark.kind, RemarkKind::CrLf | RemarkKind::ByteOrderMark))
        {
            self.remark(1, RemarkKind::NoBlock);
        }
        self.outside(&mut outside, !none);
    }

    /// Says what was outside of the blocks, up to here.
    fn outside(&mut self, outside: &mut Outside, last: bool) {
        let Outside { line, lines, bytes } = std::mem::take(outside);
        if lines > 0 {
            self.remark(line, if last { RemarkKind::TrailingData(bytes) } else { RemarkKind::TextOutside(lines) });
        }
    }

    /// Adds a block as Go sees it.
    fn add(&mut self, seen: Seen) {
        let label = String::from_utf8_lossy(&seen.label).into_owned();
        // Nobody looks at header lines where the key is there in the clear.
        if seen.encrypted && Shape::of(&seen.der) == Shape::Unknown {
            self.remark(seen.line, RemarkKind::EncryptedKey);
            let content = Content::BrokenKey(BrokenKey::Encrypted);
            let (line, headers) = (seen.line, seen.headers);
            self.blocks.push(Block { line, label: Some(label), content, skipped_by_go: false, headers });
        } else {
            self.block(seen.line, Some(label), &seen.der, false);
            if let Some(block) = self.blocks.last_mut() {
                block.headers = seen.headers;
            }
        }
    }

    /// Adds a block that people see: Go may see it as well.
    fn close(&mut self, block: &Open<'_>, seen: Option<Seen>) {
        if let Some(seen) = seen {
            return self.add(seen);
        }
        let label = String::from_utf8_lossy(block.label).into_owned();
        // Neither grows, so that no copy of a private key stays behind unwiped.
        let length = block.lines.iter().map(|line| line.len()).sum();
        let room = |length| Zeroizing::new(vec![0_u8; length].into_boxed_slice());
        let (mut text, mut der) = (room(length), room(base64::decoded_len_estimate(length)));
        let mut filled = 0;
        for line in block.lines.iter().filter(|line| !line.contains(&b':')) {
            for word in line.split(u8::is_ascii_whitespace) {
                text[filled..filled + word.len()].copy_from_slice(word);
                filled += word.len();
            }
        }
        if let Ok(length) = BASE64.decode_slice(&text[..filled], &mut der) {
            self.block(block.line, Some(label), &der[..length], true);
        } else {
            self.remark(block.line, RemarkKind::NotBase64);
            let (line, content) = (block.line, Content::Unknown);
            self.blocks.push(Block { line, label: Some(label), content, skipped_by_go: true, headers: false });
        }
    }

    fn block(&mut self, line: usize, label: Option<String>, der: &[u8], skipped_by_go: bool) {
        let shape = match Shape::of(der) {
            // Too broken for a guess: then it is what the label says.
            Shape::Unknown if label.as_deref() == Some("CERTIFICATE") => Shape::Certificate,
            Shape::Unknown if label.as_deref() == Some("X509 CRL") => Shape::RevocationList,
            shape => shape,
        };
        let belongs = match shape {
            Shape::Certificate => Some("CERTIFICATE"),
            Shape::Request => Some("CERTIFICATE REQUEST"),
            Shape::RevocationList => Some("X509 CRL"),
            Shape::Key(form) => Some(form.label()),
            Shape::EncryptedKey => Some("ENCRYPTED PRIVATE KEY"),
            Shape::Unknown => None,
        };
        let parameters = label.as_deref().is_some_and(|label| label.ends_with(" PARAMETERS"));
        match (&label, belongs) {
            (Some(label), Some(belongs)) if label != belongs && label != "NEW CERTIFICATE REQUEST" => {
                self.remark(line, RemarkKind::WrongLabel(belongs));
            }
            (Some(_), None) if !parameters => self.remark(line, RemarkKind::UnknownLabel),
            _ => {}
        }
        if let Some(length) =
            super::der::Reader::new(der).any().map(|whole| der.len() - whole.whole.len()).filter(|rest| *rest > 0)
        {
            self.remark(line, RemarkKind::TrailingDer(length));
        }
        let content = match shape {
            Shape::Certificate => match Certificate::parse(der) {
                Ok(certificate) => Content::Certificate(Box::new(certificate)),
                Err(error) => Content::BrokenCertificate(error),
            },
            Shape::Request => Content::CertificateRequest,
            Shape::RevocationList => match RevocationList::parse(der) {
                Ok(list) => Content::RevocationList(Box::new(list)),
                Err(error) => Content::BrokenRevocationList(error),
            },
            Shape::Key(form) => match Key::parse(form, der) {
                Ok(key) => Content::Key(Box::new(key)),
                Err(error) => Content::BrokenKey(error),
            },
            Shape::EncryptedKey => {
                self.remark(line, RemarkKind::EncryptedKey);
                Content::BrokenKey(BrokenKey::Encrypted)
            }
            Shape::Unknown if parameters => Content::Parameters,
            Shape::Unknown if der.starts_with(OPENSSH) => {
                Content::BrokenKey(BrokenKey::Unsupported("OpenSSH's own form".to_owned()))
            }
            Shape::Unknown if label.as_deref().is_some_and(|label| label.ends_with(" KEY")) => {
                Content::BrokenKey(BrokenKey::Malformed)
            }
            Shape::Unknown => Content::Unknown,
        };
        self.blocks.push(Block { line, label, content, skipped_by_go, headers: false });
    }

    fn find_duplicates(&mut self) {
        if self.blocks.len() < 2 {
            return;
        }
        let mut seen: HashMap<(bool, Fingerprint), usize> = HashMap::new();
        for block in &self.blocks {
            let identity = match &block.content {
                Content::Certificate(certificate) => (false, certificate.fingerprint),
                Content::Key(key) => (true, key.public.sha256),
                _ => continue,
            };
            match seen.entry(identity) {
                std::collections::hash_map::Entry::Occupied(first) => {
                    self.remarks.push(Remark { line: block.line, kind: RemarkKind::Duplicate(*first.get()) });
                }
                std::collections::hash_map::Entry::Vacant(place) => {
                    place.insert(block.line);
                }
            }
        }
    }
}

/// Is this PKCS#12, which is DER: a store of certificates and keys that takes a passphrase?
///
/// RFC 7292 section 4: version 3, then content of PKCS#7, which is data or signed data.
pub fn is_pkcs12(bytes: &[u8]) -> bool {
    let version_and_content = || {
        let mut store = super::der::Reader::new(bytes).enter(tag::SEQUENCE)?;
        let version = store.any()?;
        Some((version.whole == [tag::INTEGER, 1, 3], store.enter(tag::SEQUENCE)?.oid()?))
    };
    const PKCS7: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 7];
    version_and_content().is_some_and(|(three, oid)| three && oid.starts_with(PKCS7))
}

/// What keys of OpenSSH begin with (OpenSSH, PROTOCOL.key).
const OPENSSH: &[u8] = b"openssh-key-v1\0";

/// Lines outside of blocks that are not blank.
#[derive(Default)]
struct Outside {
    line: usize,
    lines: usize,
    bytes: usize,
}

impl Outside {
    fn line(&mut self, number: usize, line: &[u8]) {
        let text = line.trim_ascii();
        if !text.is_empty() {
            self.line = if self.lines == 0 { number } else { self.line };
            self.lines += 1;
            self.bytes += text.len();
        }
    }
}

/// A block whose END is not reached.
struct Open<'a> {
    line: usize,
    label: &'a [u8],
    lines: Vec<&'a [u8]>,
}

pub(super) fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    // Most lines have no such byte, which is told at once.
    text.contains(what.first()?).then(|| text.windows(what.len()).position(|window| window == what)).flatten()
}

/// The label of a marker at the beginning of a line, and how long the marker is.
fn label<'a>(line: &'a [u8], kind: &[u8]) -> Option<(&'a [u8], usize)> {
    let rest = line.strip_prefix(kind)?;
    let length = find(rest, b"-----")?;
    Some((&rest[..length], kind.len() + length + 5))
}

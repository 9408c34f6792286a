//! Which blocks Go's `encoding/pem` sees in a file: a port of `pem.Decode` of Go 1.26, called until it finds nothing
//! more.
//!
//! What it does not see no component sees, and none says so.

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use super::pem::find;

/// A block as Go sees it.
pub(super) struct Seen {
    /// The line of its BEGIN, from 1.
    pub(super) line: usize,
    /// Its type.
    pub(super) label: Vec<u8>,
    /// Whether there are header lines in it.
    pub(super) headers: bool,
    /// Whether one of them says that it is encrypted, as OpenSSL of old writes keys.
    pub(super) encrypted: bool,
    /// What is in it.
    pub(super) der: Zeroizing<Vec<u8>>,
}

const START: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"\n-----END ";
const DASHES: &[u8] = b"-----";

/// As Go decodes: padded, and not particular about the bits that are left over.
pub(crate) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

/// All blocks, in order. Takes time linear in the size of the file.
pub(super) fn seen(file: &[u8]) -> Vec<Seen> {
    let mut all = Vec::new();
    let (mut at, mut counted, mut line) = (0, 0, 1);
    let plain = last_plain(file);
    while let Some((mut block, begin, end)) = decode(file, at, plain) {
        line += file[counted..begin].iter().filter(|byte| **byte == b'\n').count();
        counted = begin;
        block.line = line;
        all.push(block);
        at = end;
    }
    all
}

/// The first block behind this place, where it begins, and where to go on.
fn decode(file: &[u8], from: usize, plain: Option<usize>) -> Option<(Seen, usize, usize)> {
    let mut at = from;
    loop {
        let end = at + find(&file[at..], END)?;
        let trailer = end + END.len();
        // Of the BEGIN lines before it the last.
        let begin = rfind(&file[at..end], START).map(|begin| at + begin);
        // Of each call the first byte begins a line.
        let Some(begin) = begin.filter(|begin| *begin == at || file[begin - 1] == b'\n') else {
            at = trailer;
            continue;
        };
        match block(file, begin, (end, trailer), plain) {
            Some(Ok((seen, next))) => return Some((seen, begin, next)),
            Some(Err(())) => at = trailer,
            None => return None,
        }
    }
}

/// The block between a BEGIN and an END; an error if it is none, nothing if Go stops looking.
fn block(
    file: &[u8],
    begin: usize,
    (end, trailer): (usize, usize),
    plain: Option<usize>,
) -> Option<Result<(Seen, usize), ()>> {
    let (kind, mut text) = line(file, begin + START.len());
    let Some(label) = kind.strip_suffix(DASHES) else { return Some(Err(())) };
    let (mut headers, mut encrypted) = (false, false);
    // Where headers go on to the end of the file Go stops looking.
    if plain.is_none_or(|plain| plain < text) {
        return None;
    }
    while text <= end {
        let (header, next) = line(file, text);
        if !header.contains(&b':') {
            break;
        }
        headers = true;
        encrypted |= find(header, b"ENCRYPTED").is_some();
        text = next;
    }
    if headers && text > end {
        return Some(Err(()));
    }
    let closing = file[trailer..].strip_prefix(label).and_then(|rest| rest.strip_prefix(DASHES));
    let Some(rest) = closing.filter(|rest| line(rest, 0).0.is_empty()) else { return Some(Err(())) };
    let mut der = Zeroizing::new(Vec::new());
    if text < end {
        let mut code = Zeroizing::new(vec![0; end - text]);
        let mut filled = 0;
        for byte in file[text..end].iter().filter(|byte| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n')) {
            code[filled] = *byte;
            filled += 1;
        }
        der = Zeroizing::new(vec![0; base64::decoded_len_estimate(filled)]);
        let Ok(length) = BASE64.decode_slice(&code[..filled], &mut der) else { return Some(Err(())) };
        der.truncate(length);
    }
    let next = line(file, file.len() - rest.len()).1;
    Some(Ok((Seen { line: 0, label: label.to_vec(), headers, encrypted, der }, next)))
}

/// Where the last line begins that is no header.
fn last_plain(file: &[u8]) -> Option<usize> {
    let mut end = file.strip_suffix(b"\n").map_or(file.len(), <[u8]>::len);
    if file.is_empty() {
        return None;
    }
    loop {
        let begin = file[..end].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        if !file[begin..end].contains(&b':') {
            return Some(begin);
        }
        end = begin.checked_sub(1)?;
    }
}

/// The line that begins here, without white space at its end, and where the next one begins.
fn line(text: &[u8], at: usize) -> (&[u8], usize) {
    let rest = &text[at..];
    let (line, next) = match rest.iter().position(|byte| *byte == b'\n') {
        Some(end) => (rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]), at + end + 1),
        None => (rest, text.len()),
    };
    let blank = line.iter().rev().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    (&line[..line.len() - blank], next)
}

fn rfind(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).rposition(|window| window == what)
}

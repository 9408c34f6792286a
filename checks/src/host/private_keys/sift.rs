//! Private keys in a stream of bytes: in PEM, as databases and logs hold it, or in base64 once more, as Secrets are
//! written in JSON.
//!
//! What is not a key to the parser of keys is none here: documentation, samples and keys that are cut off are passed
//! over. Of a key that is found its public half stays, where it begins, and how often it stands there.

use std::collections::HashMap;
use std::io::{self, Read};
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use regex::bytes::Regex;
use zeroize::Zeroizing;

use crate::pki::x509::Fingerprint;
use crate::pki::x509::pem::Document;

/// How much is read at once.
const CHUNK: usize = 1 << 20;
/// The most that is looked at before and behind a mark: a key of RSA with 16384 bits has 12 KiB in PEM, and twice that
/// in a container's log.
const CONTEXT: usize = 32 << 10;
/// The most marks that are looked at in one stream.
const MARKS: usize = 20_000;

/// What ends the first line of every private key in PEM.
const PLAIN: &[u8] = b"PRIVATE KEY-----";
/// The same in base64, as far as it is the same whatever stands before and behind it; and where in a group of four that
/// begins.
const ENCODED: [(&str, usize); 3] = [("UFJJVkFURSBLRVkt", 0), ("BSSVZBVEUgS0VZL", 2), ("QUklWQVRFIEtFWS", 3)];

static MARK: LazyLock<Regex> =
    LazyLock::new(|| compile(&format!("PRIVATE KEY-----|{}", ENCODED.map(|(text, _)| text).join("|"))));
static END: LazyLock<Regex> = LazyLock::new(|| compile("-----END "));

fn compile(pattern: &str) -> Regex {
    match Regex::new(pattern) {
        Ok(pattern) => pattern,
        Err(error) => unreachable!("a constant pattern, compiled by every test: {error}"),
    }
}

/// What was found in a stream.
#[derive(Debug, Default)]
pub(super) struct Sifted {
    /// How many bytes it had, or were read of it.
    pub(super) bytes: u64,
    /// Each key once.
    pub(super) keys: Vec<Sighting>,
    /// Were there more marks than are looked at?
    pub(super) more: bool,
}

/// A private key, of which the public half is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sighting {
    /// The SubjectPublicKeyInfo of its public half.
    pub(super) spki: Vec<u8>,
    /// Where it begins first: bytes from the begin of the stream.
    pub(super) offset: u64,
    /// The line of that, from 1.
    pub(super) line: u64,
    /// How often it stands there.
    pub(super) count: u32,
    /// Is it in base64 once more?
    pub(super) encoded: bool,
}

/// Where a mark leads to: the text around it that holds keys, and where that begins and ends in the window.
struct Place {
    begin: usize,
    end: usize,
    text: Zeroizing<Vec<u8>>,
    encoded: bool,
}

/// Looks for private keys in the first `limit` bytes of a stream. Takes memory for a chunk and time for its length.
///
/// # Errors
///
/// Those of reading.
pub(super) fn sift(input: impl Read, limit: u64) -> io::Result<Sifted> {
    let mut input = input.take(limit);
    let mut found = Sifted::default();
    // Of each text that was parsed, by its hash, which keys it holds.
    let mut known: HashMap<Fingerprint, Vec<usize>> = HashMap::new();
    // Never grows, so that no copy of a key stays behind unwiped.
    let mut window = Zeroizing::new(Vec::with_capacity(CHUNK + 3 * CONTEXT));
    let (mut start, mut line, mut done, mut skip, mut marks) = (0_u64, 1_u64, 0, 0_u64, 0);
    loop {
        let read = input.by_ref().take(CHUNK as u64).read_to_end(&mut window)?;
        found.bytes += read as u64;
        let last = read < CHUNK;
        let end = if last { window.len() } else { window.len() - CONTEXT };
        for mark in MARK.find_iter(&window[done..]) {
            let at = done + mark.start();
            if at >= end {
                break;
            }
            if start + (at as u64) < skip {
                continue;
            }
            marks += 1;
            if marks > MARKS {
                found.more = true;
                return Ok(found);
            }
            let Some(place) = place(&window, at) else { continue };
            skip = start + place.end as u64;
            let hash = Fingerprint::of(&place.text);
            if let Some(keys) = known.get(&hash) {
                keys.iter().for_each(|&index| found.keys[index].count = found.keys[index].count.saturating_add(1));
                continue;
            }
            let mut indices = Vec::new();
            for key in Document::read(&place.text).keys().filter(|key| key.form.is_private()) {
                let spki = key.public.spki.to_vec();
                let index = match found.keys.iter().position(|one| one.spki == spki) {
                    Some(index) => {
                        found.keys[index].count = found.keys[index].count.saturating_add(1);
                        index
                    }
                    None => {
                        found.keys.push(Sighting {
                            spki,
                            offset: start + place.begin as u64,
                            line: line + newlines(&window[..place.begin]),
                            count: 1,
                            encoded: place.encoded,
                        });
                        found.keys.len() - 1
                    }
                };
                indices.push(index);
            }
            known.insert(hash, indices);
        }
        if last {
            return Ok(found);
        }
        let gone = end.saturating_sub(CONTEXT);
        line += newlines(&window[..gone]);
        start += gone as u64;
        window.drain(..gone);
        done = end - gone;
    }
}

fn newlines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

/// What a mark leads to, if it is the begin of a key or in base64.
fn place(window: &[u8], at: usize) -> Option<Place> {
    if window[at..].starts_with(PLAIN) { plain(window, at) } else { encoded(window, at) }
}

/// A block of PEM, whatever each of its lines is wrapped into.
fn plain(window: &[u8], at: usize) -> Option<Place> {
    const BEGIN: &[u8] = b"-----BEGIN ";
    // `ENCRYPTED ` is the longest that may stand between.
    let head = &window[at.saturating_sub(BEGIN.len() + 16)..at];
    let before = head.len() - head.windows(BEGIN.len()).rposition(|text| text == BEGIN)?;
    let (begin, kind) = (at - before, &window[at - before + BEGIN.len()..at]);
    if !kind.iter().all(|byte| byte.is_ascii_uppercase() || *byte == b' ') {
        return None;
    }
    let body = at + PLAIN.len();
    let body = &window[body..window.len().min(body + CONTEXT)];
    let body = &body[..END.find(body)?.start()];
    let mut text = Zeroizing::new(Vec::with_capacity(body.len() + 128));
    text.extend([BEGIN, kind, PLAIN, b"\n"].concat());
    for line in body.split(|byte| *byte == b'\n') {
        let mut escaped = false;
        for &byte in unwrapped(line) {
            match byte {
                b'\\' => escaped = true,
                b'n' | b'r' | b't' if escaped => {
                    text.push(b'\n');
                    escaped = false;
                }
                byte => {
                    text.push(byte);
                    escaped = false;
                }
            }
        }
        text.push(b'\n');
    }
    text.extend([b"-----END ", kind, PLAIN, b"\n"].concat());
    let end = at + PLAIN.len() + body.len();
    Some(Place { begin, end, text, encoded: false })
}

/// A line without what a container's runtime puts around it: `{"log":"…","stream":…}` of Docker, `TIME stdout F …` of
/// the CRI.
fn unwrapped(line: &[u8]) -> &[u8] {
    let cri = || {
        let mut parts = line.splitn(4, |byte| *byte == b' ');
        let (_, stream, tag) = (parts.next()?, parts.next()?, parts.next()?);
        (matches!(stream, b"stdout" | b"stderr") && matches!(tag, b"F" | b"P")).then(|| parts.next())?
    };
    let line = line.strip_prefix(b"{\"log\":\"").or_else(cri).unwrap_or(line);
    // What stands in quotes ends with them.
    line.split(|byte| *byte == b'"').next().unwrap_or_default()
}

/// A run of base64 around a mark, decoded.
fn encoded(window: &[u8], at: usize) -> Option<Place> {
    const BASE64: GeneralPurpose = GeneralPurpose::new(
        &base64::alphabet::STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_allow_trailing_bits(true)
            .with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    let digit = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    let (_, shift) = ENCODED.into_iter().find(|(mark, _)| window[at..].starts_with(mark.as_bytes()))?;
    let before = window[at.saturating_sub(CONTEXT)..at].iter().rev().take_while(digit).count();
    // Groups are counted from the mark: a byte before the run may look like one of it.
    let before = shift + before.checked_sub(shift)? / 4 * 4;
    let behind = window[at..window.len().min(at + CONTEXT)].iter().take_while(digit).count();
    let (begin, end) = (at - before, at + behind);
    // One digit alone is no byte.
    let digits = &window[begin..end - usize::from((end - begin) % 4 == 1)];
    let mut text = Zeroizing::new(Vec::with_capacity(base64::decoded_len_estimate(digits.len())));
    BASE64.decode_vec(digits, &mut text).ok()?;
    Some(Place { begin, end, text, encoded: true })
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    fn key() -> (String, Vec<u8>) {
        use rcgen::PublicKeyData as _;
        let key = rcgen::KeyPair::generate().unwrap();
        (key.serialize_pem(), key.subject_public_key_info())
    }

    fn found(bytes: &[u8]) -> Vec<Sighting> {
        sift(bytes, u64::MAX).unwrap().keys
    }

    fn escaped(pem: &str) -> String {
        pem.replace('\n', "\\n")
    }

    #[test]
    fn a_key_is_found_however_it_is_written() {
        let (pem, spki) = key();
        let each_line = |before: &str, behind: &str| {
            pem.lines().map(|line| format!("{before}{line}{behind}\n")).collect::<String>()
        };
        let certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for (how, text, encoded) in [
            ("alone", pem.clone(), false),
            ("with CR LF", pem.replace('\n', "\r\n"), false),
            ("in JSON", format!("{{\"key\":\"{}\"}}", escaped(&pem)), false),
            (
                "in JSON in JSON",
                format!("{{\"log\":\"{{\\\"key\\\":\\\"{}\\\"}}\"}}", pem.replace('\n', "\\\\n")),
                false,
            ),
            ("in a log of the CRI", each_line("2026-01-01T00:00:00.000000001Z stdout F ", ""), false),
            (
                "in a log of Docker",
                each_line("{\"log\":\"", "\\n\",\"stream\":\"stderr\",\"time\":\"2026-01-01T00:00:00Z\"}"),
                false,
            ),
            ("in one line", pem.replace('\n', " "), false),
            ("in a Secret", format!("\"tls.key\":\"{}\"}}", STANDARD.encode(&pem)), true),
            ("behind a length that looks like base64", format!("\u{1}x{}\u{1}", STANDARD.encode(&pem)), true),
            ("behind its certificate", STANDARD.encode(format!("{certificate}{pem}")), true),
            ("behind one byte", STANDARD.encode(format!("\n{pem}")), true),
            ("behind two bytes", STANDARD.encode(format!("\n\n{pem}")), true),
            ("without padding", STANDARD.encode(&pem).trim_end_matches('=').to_owned(), true),
        ] {
            let text = format!("a line\n{text}\nanother");
            let keys = found(text.as_bytes());
            assert_eq!(keys.len(), 1, "{how}: {text}");
            assert_eq!((&keys[0].spki, keys[0].encoded, keys[0].count), (&spki, encoded, 1), "{how}");
            assert_eq!(keys[0].line, 2, "{how}");
        }
    }

    #[test]
    fn a_key_is_found_wherever_chunks_end() {
        let (pem, spki) = key();
        for text in [pem.clone(), STANDARD.encode(&pem)] {
            for shift in (0..text.len() + 2).step_by(41) {
                for begin in [CHUNK, CHUNK - CONTEXT] {
                    let mut bytes = vec![b'\n'; begin - shift];
                    bytes.extend(text.as_bytes());
                    bytes.resize(2 * CHUNK + 77, b' ');
                    let keys = found(&bytes);
                    assert_eq!(keys.len(), 1, "{begin} {shift}");
                    assert_eq!(keys[0].spki, spki);
                    assert_eq!(keys[0].offset, (begin - shift) as u64);
                    assert_eq!((keys[0].line, keys[0].count), ((begin - shift) as u64 + 1, 1));
                }
            }
        }
    }

    #[test]
    fn keys_are_told_once_and_counted() {
        let ((one, _), (other, spki)) = (key(), key());
        let text = format!("{one}{other}{}\n{one}", STANDARD.encode(format!("{one}{other}")));
        let keys = found(text.as_bytes());
        assert_eq!(keys.iter().map(|key| key.count).collect::<Vec<_>>(), [3, 2]);
        assert_eq!(keys[1].spki, spki);
        let sifted = sift(text.as_bytes(), one.len() as u64).unwrap();
        assert_eq!((sifted.keys.len(), sifted.bytes), (1, one.len() as u64));
    }

    #[test]
    fn what_is_no_key_is_none() {
        let (pem, _) = key();
        let half = &pem[..pem.len() / 2];
        let body = pem.lines().nth(1).unwrap();
        for text in [
            String::new(),
            half.to_owned(),
            format!("{half}{half}"),
            "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----".to_owned(),
            "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\n-----END RSA PRIVATE KEY-----".to_owned(),
            "PRIVATE KEY-----".repeat(9),
            "UFJJVkFURSBLRVkt".repeat(9),
            format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----"),
            STANDARD.encode(half),
        ] {
            assert_eq!(found(text.as_bytes()), [], "{text}");
        }
    }

    #[test]
    fn marks_are_the_base64_of_what_they_stand_for() {
        for (before, (mark, shift)) in ENCODED.into_iter().enumerate() {
            let text = STANDARD.encode([&b"???"[..before], PLAIN, b"?"].concat());
            assert_eq!(text.find(mark), Some(shift), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn anything_is_sifted_and_twice_the_same(text in "(-----BEGIN |EC |PRIVATE KEY-----|-----END \
         |UFJJVkFURSBLRVkt|BSSVZBVEUgS0VZL|QUklWQVRFIEtFWS|[A-Za-z0-9+/=]|\\\\|n|\"|\n\
         | ){0,60}") {
            proptest::prop_assert_eq!(found(text.as_bytes()), found(text.as_bytes()));
        }
    }

    #[test]
    fn more_marks_than_are_looked_at_are_said() {
        assert!(sift("-----BEGIN PRIVATE KEY-----\n".repeat(MARKS + 1).as_bytes(), u64::MAX).unwrap().more);
    }
}

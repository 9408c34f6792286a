//! What may leave a host: of each answer only what a judge reads.
//!
//! An answer is reduced as it is recorded, before anything parses it, so nothing downstream can leak what was never
//! there. It is an allow-list: a file has a keeper by its path ([`paths`]), a keeper knows the members, flags and
//! variables whose values stay ([`rules`], [`words`], [`mod@unit`]), and everything else is replaced by a mark.
//! Structure and lines stay, so what is recorded parses, fails to parse, and is judged as the host is. Of a file
//! without a keeper only names stay.
//!
//! Behind the allow-list stands [`scrub`]: what looks like a secret goes, even where values stay.

mod answers;
mod lines;
mod members;
mod paths;
mod pem;
mod rules;
mod scrub;
mod table;
mod unit;
mod words;
mod yaml;

use std::io::{Read as _, Write as _};

use super::{Answer, Query, Refusal, Reply};
use paths::Keeper;

/// The most that a compressed file may unpack to.
const UNPACKED_LIMIT: u64 = 4 << 20;

/// Reduces an answer to what may be recorded of it.
pub fn redact(query: &Query, answer: Answer) -> Answer {
    match (query, answer) {
        (Query::Read { path }, Ok(Reply::Bytes { bytes, truncated })) => {
            let length = bytes.len();
            let mut bytes = content(path, bytes);
            if truncated {
                // How much was read is said to whoever wants the whole.
                bytes.resize(length, b' ');
            }
            Ok(Reply::Bytes { bytes, truncated })
        }
        (query, Ok(reply)) => Ok(answers::reply(query, reply)),
        (query, Err(refusal)) => Err(Refusal { message: answers::refusal(query, &refusal.message), ..refusal }),
    }
}

/// Is there a keeper for a path, so that what it holds is understood?
#[must_use]
pub fn is_listed(path: &str) -> bool {
    paths::keeper(path).is_some()
}

fn content(path: &str, bytes: Vec<u8>) -> Vec<u8> {
    let keeper = paths::keeper(path).unwrap_or_else(|| paths::guess(path, &bytes));
    let text = |keep: &dyn Fn(&str) -> String| keep(&String::from_utf8_lossy(&bytes)).into_bytes();
    match keeper {
        Keeper::Text(keep) => text(&keep),
        Keeper::Config(members) => encoded(&bytes, &|text| yaml::config(text, members)),
        Keeper::Toml(members) => encoded(&bytes, &|text| table::toml(text, members)),
        Keeper::Pem => pem::pem(&bytes),
        Keeper::Compressed => compressed(&bytes),
        Keeper::Command => text(&answers::command),
        Keeper::Variables => text(&|text| separated(text, &|word| unit::environment(word))),
        Keeper::Nothing => text(&|text| "\n".repeat(text.matches('\n').count())),
    }
}

/// Applies a function to a text in its encoding: UTF-16 with a byte order mark stays that, and what is no UTF-8 is
/// none afterwards, at the same line, since not every reader takes it.
fn encoded(bytes: &[u8], keep: &dyn Fn(&str) -> String) -> Vec<u8> {
    let unit: fn([u8; 2]) -> u16 = match bytes {
        [0xff, 0xfe, ..] => u16::from_le_bytes,
        [0xfe, 0xff, ..] => u16::from_be_bytes,
        _ => {
            let kept = keep(&String::from_utf8_lossy(bytes));
            return match std::str::from_utf8(bytes) {
                Ok(_) => kept.into_bytes(),
                Err(error) => spoiled(kept, bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count()),
            };
        }
    };
    let little = bytes[0] == 0xff;
    let units: Vec<u16> = bytes[2..].chunks(2).map(|pair| unit([pair[0], *pair.get(1).unwrap_or(&0)])).collect();
    let write = |unit: u16| if little { unit.to_le_bytes() } else { unit.to_be_bytes() };
    let whole = String::from_utf16(&units);
    let kept = keep(whole.as_deref().unwrap_or(&String::from_utf16_lossy(&units)));
    // Half of a pair is no text.
    let broken = whole.is_err().then(|| write(0xd800));
    [[bytes[0], bytes[1]]].into_iter().chain(kept.encode_utf16().map(write)).chain(broken).flatten().collect()
}

/// A text with a byte in a line, from 0, that is no UTF-8: where a character stands for one, or else behind a mark or
/// in a comment.
fn spoiled(text: String, line: usize) -> Vec<u8> {
    let start = text.split_inclusive('\n').take(line).map(str::len).sum::<usize>();
    let rest = &text[start..];
    let end = rest.find('\n').unwrap_or(rest.len());
    let found = rest[..end].find('\u{fffd}').map(|at| (at, at + '\u{fffd}'.len_utf8()));
    let behind = || rest[..end].find(['[', '#']).map(|at| (at + 1, at + 1));
    match found.or_else(behind) {
        Some((from, to)) => {
            let (from, to) = (start + from, start + to);
            [&text.as_bytes()[..from], &[0xff], &text.as_bytes()[to..]].concat()
        }
        None => text.into_bytes(),
    }
}

/// Applies a function to what NUL separates.
fn separated(text: &str, keep: &dyn Fn(&str) -> String) -> String {
    text.split('\0').map(keep).collect::<Vec<_>>().join("\0")
}

fn compressed(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    let unpacked = flate2::read::GzDecoder::new(bytes).take(UNPACKED_LIMIT + 1).read_to_end(&mut text);
    // What does not unpack has nothing but its header to tell.
    if unpacked.is_err() {
        return bytes[..bytes.len().min(10)].to_vec();
    }
    let kept = lines::kernel_config(&String::from_utf8_lossy(&text));
    if kept.as_bytes() == text {
        return bytes.to_vec();
    }
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    // Writing to memory does not fail.
    let _ = packed.write_all(kept.as_bytes());
    packed.finish().unwrap_or_default()
}

//! A recording: a transcript in a file, `node.tar.zst`.
//!
//! The archive holds `meta.json`, then `answers.jsonl` with one answer a line. It is bounded when written and when
//! read, and a recording that is cut off, or is none, is an error that says so.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

use super::{Answer, Meta, Query, Transcript};

/// Version of the recording's format, in `meta.json`.
pub const FORMAT: u32 = 1;

/// The most that a recording may unpack to: 256 MiB. A node's own is about 1 MiB.
const UNPACKED_LIMIT: u64 = 256 << 20;

/// Why a file is no recording.
#[derive(Debug, thiserror::Error)]
pub enum BadRecording {
    /// It could not be read or unpacked.
    #[error("it is cut off, damaged, or no zstd-compressed tar archive: {0}")]
    Damaged(#[from] io::Error),
    /// Its meta.json or answers.jsonl is missing.
    #[error("it holds no {0}: it is no recording, or it is cut off")]
    Missing(&'static str),
    /// A line of it does not parse.
    #[error("{file} line {line}: {source}")]
    Syntax {
        /// Which member of the archive.
        file: &'static str,
        /// The line, from 1.
        line: usize,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// It was made by a newer Seaworthy.
    #[error("it is of format {0}, and this version reads up to {FORMAT}: use a newer seaworthy")]
    Newer(u32),
    /// It unpacks to more than the limit.
    #[error("it unpacks to more than {} MiB", UNPACKED_LIMIT >> 20)]
    TooLarge,
}

#[derive(Serialize, Deserialize)]
struct Head {
    format: u32,
    #[serde(flatten)]
    meta: Meta,
}

#[derive(Serialize, Deserialize)]
struct Line {
    query: Query,
    answer: Answer,
}

/// Writes a recording.
///
/// # Errors
/// What the writer says.
pub fn write_recording(meta: &Meta, transcript: &Transcript, out: impl Write) -> io::Result<()> {
    let mut archive = tar::Builder::new(zstd::Encoder::new(out, 9)?.auto_finish());
    let mut member = |name: &str, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(u64::try_from(meta.recorded.as_second()).unwrap_or_default());
        header.set_cksum();
        archive.append_data(&mut header, name, content)
    };
    member("meta.json", &serde_json::to_vec_pretty(&Head { format: FORMAT, meta: meta.clone() })?)?;
    let mut answers = Vec::new();
    for (query, answer) in transcript.iter() {
        serde_json::to_writer(&mut answers, &Line { query: query.clone(), answer: answer.clone() })?;
        answers.push(b'\n');
    }
    member("answers.jsonl", &answers)?;
    archive.finish()?;
    archive.into_inner()?.flush()
}

/// Reads a recording.
///
/// # Errors
/// [`BadRecording`] if it is none, is cut off, is too large, or comes from a newer version.
pub fn read_recording(input: impl Read) -> Result<(Meta, Transcript), BadRecording> {
    let mut archive = tar::Archive::new(zstd::Decoder::new(input)?.take(UNPACKED_LIMIT));
    let (mut head, mut answers) = (None, None);
    for member in archive.entries()? {
        let mut member = member?;
        if member.size() >= UNPACKED_LIMIT {
            return Err(BadRecording::TooLarge);
        }
        let wanted = match member.path()?.to_str() {
            Some("meta.json") => &mut head,
            Some("answers.jsonl") => &mut answers,
            _ => continue,
        };
        let mut content = Vec::new();
        let size = member.size();
        member.read_to_end(&mut content)?;
        if content.len() as u64 != size {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        *wanted = Some(content);
    }
    // To the end of the frame: a recording that is cut off behind its last member is damaged too.
    io::copy(&mut archive.into_inner(), &mut io::sink())?;
    let head = head.ok_or(BadRecording::Missing("meta.json"))?;
    let head: Head = serde_json::from_slice(&head).map_err(|source| BadRecording::Syntax {
        file: "meta.json",
        line: source.line(),
        source,
    })?;
    if head.format > FORMAT {
        return Err(BadRecording::Newer(head.format));
    }
    let mut transcript = Transcript::default();
    let answers = answers.ok_or(BadRecording::Missing("answers.jsonl"))?;
    for (number, line) in answers.split(|&byte| byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty()) {
        let Line { query, answer } = serde_json::from_slice(line).map_err(|source| BadRecording::Syntax {
            file: "answers.jsonl",
            line: number + 1,
            source,
        })?;
        transcript.insert(query, answer);
    }
    Ok((head.meta, transcript))
}

/// Bytes as text where they are UTF-8, else as base64.
pub(super) mod lossless {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Form<'a> {
        Text(std::borrow::Cow<'a, str>),
        Base64(std::borrow::Cow<'a, str>),
    }

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Form::Text(text.into()).serialize(serializer),
            Err(_) => Form::Base64(STANDARD.encode(bytes).into()).serialize(serializer),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        match Form::deserialize(deserializer)? {
            Form::Text(text) => Ok(text.into_owned().into_bytes()),
            Form::Base64(text) => STANDARD.decode(text.as_bytes()).map_err(D::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{Host, Refusal, RefusalKind, Reply};

    fn sample() -> (Meta, Transcript) {
        let meta = Meta {
            hostname: "n1".into(),
            recorded: jiff::Timestamp::UNIX_EPOCH,
            version: "0".into(),
            constructed: None,
        };
        let mut transcript = Transcript::default();
        let read = |path: &str| Query::Read { path: path.into() };
        transcript.insert(read("/text"), Ok(Reply::Bytes { bytes: b"a\nb".to_vec(), truncated: false }));
        transcript.insert(read("/bytes"), Ok(Reply::Bytes { bytes: vec![0xff, 0, 1], truncated: true }));
        transcript.insert(read("/none"), Err(Refusal::new(RefusalKind::Absent, "/none: not there")));
        (meta, transcript)
    }

    #[test]
    fn what_is_written_is_read() {
        let (meta, transcript) = sample();
        let mut file = Vec::new();
        write_recording(&meta, &transcript, &mut file).unwrap();
        assert_eq!(read_recording(&file[..]).unwrap(), (meta, transcript));
    }

    #[test]
    fn a_recording_cut_off_anywhere_is_an_error() {
        let (meta, transcript) = sample();
        let mut file = Vec::new();
        write_recording(&meta, &transcript, &mut file).unwrap();
        for length in 0..file.len() - 1 {
            assert!(read_recording(&file[..length]).is_err(), "cut off at {length} of {}", file.len());
        }
    }

    #[test]
    fn what_nobody_asked_is_not_gathered() {
        let (_, transcript) = sample();
        let host: &dyn Host = &transcript;
        assert!(host.text("/none").is_absent());
        assert!(matches!(host.text("/other"), crate::Fact::NotGathered(_)));
        assert!(matches!(host.text("/bytes"), crate::Fact::Unreadable(_)));
    }
}

//! Private keys in files that are not made for them: logs, snapshots of etcd, the layers of images. Read where they are, a chunk at a time, so
//! that nothing but public halves leaves the host.
//!
//! Bounded in bytes, files and names, so that a node with terabytes of them answers; what lies beyond is said.

mod sift;

use std::collections::BTreeSet;
use std::io::{Seek as _, SeekFrom};

use serde::{Deserialize, Serialize};

use super::live::LiveHost;
use super::recording::lossless;
use super::{Answer, FileKind, Host, Refusal, RefusalKind, Reply, Stat};
use crate::fact::Fact;
use crate::pki::discover::may_hold_credentials;

/// The most bytes that are read in one place: 1 GiB.
const MOST_BYTES: u64 = 1 << 30;
/// The most bytes that are read of one log, its last ones: 256 MiB.
const LOG_BYTES: u64 = 256 << 20;
/// The most files that are read in one place.
const FILES: usize = 20_000;
/// The most names that are looked at in one place.
const NAMES: usize = 1_000_000;
/// The deepest folder that is looked into, counted from the place.
const DEPTH: usize = 16;
/// The most keys that are told of one place.
const KEYS: usize = 1_000;
/// A larger file in an image is no key and no kubeconfig: 1 MiB.
const SMALL: u64 = 1 << 20;
/// Folders of images where packages put what is theirs.
const PACKAGES: [&str; 7] =
    ["usr/lib", "usr/lib64", "usr/share", "usr/include", "node_modules", "site-packages", "dist-packages"];

/// What kind of files a place has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Among {
    /// Logs: of each its end, the newest first; of a file also those that were rotated beside it.
    Logs,
    /// Copies of etcd's data, each whole, the newest first.
    Snapshots,
    /// Unpacked layers of images: small files that by their names may hold a key or a kubeconfig.
    Layers,
}

/// The private keys that were found in a place.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PrivateKeys {
    /// How many files were read.
    pub files: usize,
    /// How many bytes were read.
    pub bytes: u64,
    /// The keys, each once for each file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub found: Vec<FoundKey>,
    /// What lies beyond the bounds and was not read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beyond: Vec<String>,
    /// What could not be read, with the reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unread: Vec<String>,
}

/// A private key that was found, without its private half.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FoundKey {
    /// The file.
    pub file: String,
    /// The SubjectPublicKeyInfo of its public half.
    #[serde(with = "lossless")]
    pub spki: Vec<u8>,
    /// Where it begins first, in bytes from the begin of the file.
    pub offset: u64,
    /// The line of that, from 1; 0 where the file was not read from its begin.
    pub line: u64,
    /// How often it stands in the file.
    pub count: u32,
    /// Is it in base64, as the data of a Secret in JSON is?
    pub encoded: bool,
}

/// The private keys in some bytes. Total: whatever they are, there is an answer.
#[must_use]
pub fn private_keys(bytes: &[u8]) -> Vec<FoundKey> {
    // Reading from memory does not fail.
    let sifted = sift::sift(bytes, u64::MAX).unwrap_or_default();
    sifted.keys.into_iter().map(|key| found(String::new(), key, 0)).collect()
}

fn found(file: String, key: sift::Sighting, skipped: u64) -> FoundKey {
    let line = if skipped == 0 { key.line } else { 0 };
    FoundKey { file, spki: key.spki, offset: key.offset + skipped, line, count: key.count, encoded: key.encoded }
}

/// Looks for private keys in a place of a host.
pub(super) fn find(host: &LiveHost, path: &str, among: Among) -> Answer {
    let mut answer = PrivateKeys::default();
    let files = match host.ask(&super::Query::Stat { path: path.to_owned() })? {
        Reply::Stat(Stat { kind: FileKind::Directory, .. }) => walk(host, path, among, &mut answer),
        Reply::Stat(Stat { kind: FileKind::File, .. }) if among == Among::Logs => with_rotated(host, path),
        Reply::Stat(Stat { kind: FileKind::File, .. }) => vec![path.to_owned()],
        _ => return Err(Refusal::new(RefusalKind::WrongKind, format!("{path} is neither a file nor a folder"))),
    };
    let dynamic: &dyn Host = host;
    let mut seen = BTreeSet::new();
    let mut known: Vec<_> = files
        .into_iter()
        .filter_map(|file| {
            let stat = *dynamic.stat(&file).known().filter(|stat| stat.kind == FileKind::File && stat.size > 0)?;
            // /var/log/containers is links to what is in /var/log/pods.
            seen.insert((stat.dev, stat.ino)).then_some((file, stat))
        })
        .collect();
    known.sort_by(|(file, stat), (other, of_other)| of_other.mtime.cmp(&stat.mtime).then_with(|| file.cmp(other)));
    let packed = |file: &str| [".gz", ".zip", ".xz", ".zst", ".bz2"].iter().any(|end| file.ends_with(end));
    for (file, stat) in known {
        let least = match among {
            Among::Logs => stat.size.min(LOG_BYTES),
            Among::Snapshots => stat.size,
            Among::Layers if stat.size > SMALL => continue,
            Among::Layers => stat.size,
        };
        if packed(&file) {
            answer.beyond.push(format!("{file} is compressed, and was not unpacked"));
        } else if answer.files == FILES || answer.bytes >= MOST_BYTES {
            answer.beyond.push(format!("{file} is older than the {} bytes that were read", answer.bytes));
        } else {
            let left = (MOST_BYTES - answer.bytes).min(least);
            if let Err(why) = read(host, &file, stat.size, left, among, &mut answer) {
                answer.unread.push(why.to_string());
            }
        }
    }
    shorten(&mut answer.beyond);
    shorten(&mut answer.unread);
    let value = serde_json::to_value(answer);
    value.map(Reply::from).map_err(|error| Refusal::new(RefusalKind::Failed, format!("{path}: {error}")))
}

/// The first few, and how many more there are.
fn shorten(reasons: &mut Vec<String>) {
    const SHOWN: usize = 5;
    if reasons.len() > SHOWN {
        let rest = reasons.len() - SHOWN;
        reasons.truncate(SHOWN);
        reasons.push(format!("and {rest} more"));
    }
}

/// Reads one file: `most` bytes of it, of a log the last ones.
fn read(
    host: &LiveHost,
    path: &str,
    size: u64,
    most: u64,
    among: Among,
    answer: &mut PrivateKeys,
) -> Result<(), Refusal> {
    let failed = |error: std::io::Error| Refusal::new(RefusalKind::Failed, format!("{path}: {error}"));
    let mut file = host.open_file(path)?;
    let skipped = if among == Among::Logs { size.saturating_sub(most) } else { 0 };
    file.seek(SeekFrom::Start(skipped)).map_err(failed)?;
    let sifted = sift::sift(file, most).map_err(failed)?;
    answer.files += 1;
    answer.bytes += sifted.bytes;
    if most < size {
        answer.beyond.push(format!("{path} has {size} bytes, of which {most} were read"));
    }
    let room = KEYS.saturating_sub(answer.found.len());
    if sifted.more || sifted.keys.len() > room {
        answer.beyond.push(format!("{path} has more keys than are told"));
    }
    answer.found.extend(sifted.keys.into_iter().take(room).map(|key| found(path.to_owned(), key, skipped)));
    Ok(())
}

/// A log, and those beside it that it was before: `audit-2026-01-01T00-00-00.000.log`, `kubelet.log.1`.
fn with_rotated(host: &LiveHost, path: &str) -> Vec<String> {
    let Some((folder, name)) = path.rsplit_once('/') else { return vec![path.to_owned()] };
    let (stem, end) = name.rsplit_once('.').unwrap_or((name, ""));
    let rotated = |entry: &str| entry.starts_with(stem) && (entry.ends_with(end) || entry.starts_with(name));
    let host: &dyn Host = host;
    let entries = host.list(folder).known().cloned().unwrap_or_default();
    let names = entries.into_iter().map(|entry| entry.name).filter(|entry| rotated(entry));
    std::iter::once(path.to_owned()).chain(names.map(|name| format!("{folder}/{name}"))).collect()
}

/// The files below a folder that are worth reading. Links to folders are not followed.
fn walk(host: &LiveHost, place: &str, among: Among, answer: &mut PrivateKeys) -> Vec<String> {
    let host: &dyn Host = host;
    let (mut files, mut names) = (Vec::new(), 0);
    let mut open = vec![(place.trim_end_matches('/').to_owned(), 0)];
    while let Some((folder, depth)) = open.pop() {
        let entries = match host.list(&folder) {
            Fact::Known(entries) => entries,
            Fact::Absent(_) | Fact::NotGathered(_) => continue,
            Fact::Unreadable(why) | Fact::Malformed(why) => {
                answer.unread.push(why);
                continue;
            }
        };
        names += entries.len();
        if names > NAMES {
            answer.beyond.push(format!("{place} has more than {NAMES} names: what is in {folder} was not looked at"));
            break;
        }
        for entry in entries {
            let path = format!("{folder}/{}", entry.name);
            match entry.kind {
                FileKind::Directory if depth == DEPTH => {
                    answer.beyond.push(format!("{path} lies deeper than {DEPTH} folders"));
                }
                FileKind::Directory if among == Among::Layers && passed_over(&path, depth) => {}
                FileKind::Directory => open.push((path, depth + 1)),
                FileKind::File if among != Among::Layers || may_hold_credentials(&entry.name) => files.push(path),
                FileKind::Link if among == Among::Logs => files.push(path),
                _ => {}
            }
        }
    }
    files
}

/// Is it a folder of an image that is not looked into: what its packages hold, or the same layer under another name, as it is mounted?
fn passed_over(path: &str, depth: usize) -> bool {
    let mounted = depth == 1 && (path.ends_with("/merged") || path.ends_with("/work"));
    mounted || PACKAGES.iter().any(|end| path.strip_suffix(end).is_some_and(|before| before.ends_with('/')))
}

//! Private keys in files that are not made for them: logs, snapshots of etcd, the layers of images. Read where they
//! are, a chunk at a time, so that nothing but public halves leaves the host.
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

/// How much of a place is searched.
struct Bounds {
    /// The most bytes that are read.
    bytes: u64,
    /// The most bytes that are read of one log, its last ones.
    log: u64,
    /// The most files that are read.
    files: usize,
    /// The most names that are looked at.
    names: usize,
    /// The deepest folder that is looked into, counted from the place.
    depth: usize,
    /// The most keys that are told.
    keys: usize,
}

const BOUNDS: Bounds =
    Bounds { bytes: 1 << 30, log: 256 << 20, files: 20_000, names: 1_000_000, depth: 16, keys: 1_000 };
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
    /// The line of that, from 1; 0 in a database, and where the file was not read from its begin.
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
    sifted.keys.into_iter().map(|key| found(String::new(), key, 0, true)).collect()
}

fn found(file: String, key: sift::Sighting, skipped: u64, lines: bool) -> FoundKey {
    let line = if lines { key.line } else { 0 };
    FoundKey { file, spki: key.spki, offset: key.offset + skipped, line, count: key.count, encoded: key.encoded }
}

/// Looks for private keys in a place of a host.
pub(super) fn find(host: &LiveHost, path: &str, among: Among) -> Answer {
    let value = serde_json::to_value(within(host, path, among, &BOUNDS)?);
    value.map(Reply::from).map_err(|error| Refusal::new(RefusalKind::Failed, format!("{path}: {error}")))
}

fn within(host: &LiveHost, path: &str, among: Among, bounds: &Bounds) -> Result<PrivateKeys, Refusal> {
    let mut answer = PrivateKeys::default();
    let files = match host.ask(&super::Query::Stat { path: path.to_owned() })? {
        Reply::Stat(Stat { kind: FileKind::Directory, .. }) => walk(host, path, among, bounds, &mut answer),
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
            Among::Logs => stat.size.min(bounds.log),
            Among::Snapshots => stat.size,
            Among::Layers if stat.size > SMALL => continue,
            Among::Layers => stat.size,
        };
        if packed(&file) {
            answer.beyond.push(format!("{file} is compressed, and was not unpacked"));
        } else if answer.files == bounds.files || answer.bytes >= bounds.bytes {
            answer.beyond.push(format!("{file} is older than the {} bytes that were read", answer.bytes));
        } else {
            let most = (bounds.bytes - answer.bytes).min(least);
            if let Err(why) = read(host, &file, stat.size, most, among, bounds, &mut answer) {
                answer.unread.push(why.to_string());
            }
        }
    }
    shorten(&mut answer.beyond);
    shorten(&mut answer.unread);
    Ok(answer)
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
    bounds: &Bounds,
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
    let room = bounds.keys.saturating_sub(answer.found.len());
    if sifted.more || sifted.keys.len() > room {
        // Not beyond what is claimed to be searched: any of them may be the PKI's.
        answer.unread.push(format!("{path} has more keys than are told"));
    }
    let lines = skipped == 0 && among != Among::Snapshots;
    answer.found.extend(sifted.keys.into_iter().take(room).map(|key| found(path.to_owned(), key, skipped, lines)));
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
fn walk(host: &LiveHost, place: &str, among: Among, bounds: &Bounds, answer: &mut PrivateKeys) -> Vec<String> {
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
        if names > bounds.names {
            answer
                .beyond
                .push(format!("{place} has more than {} names: what is in {folder} was not looked at", bounds.names));
            break;
        }
        for entry in entries {
            let path = format!("{folder}/{}", entry.name);
            match entry.kind {
                FileKind::Directory if depth == bounds.depth => {
                    answer.beyond.push(format!("{path} lies deeper than {} folders", bounds.depth));
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

/// Is it a folder of an image that is not looked into: what its packages hold, or the same layer under another name, as
/// it is mounted?
fn passed_over(path: &str, depth: usize) -> bool {
    let mounted = depth == 1 && (path.ends_with("/merged") || path.ends_with("/work"));
    mounted || PACKAGES.iter().any(|end| path.strip_suffix(end).is_some_and(|before| before.ends_with('/')))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::*;

    fn key() -> String {
        rcgen::KeyPair::generate().unwrap().serialize_pem()
    }

    /// A node's root with these files, the later ones newer.
    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        for (age, (path, text)) in files.iter().enumerate() {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000 + age as u64);
            std::fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        }
        dir
    }

    fn search(root: &Path, path: &str, among: Among, bounds: &Bounds) -> PrivateKeys {
        within(&LiveHost::open(root).unwrap(), path, among, bounds).unwrap()
    }

    fn files(answer: &PrivateKeys) -> Vec<&str> {
        answer.found.iter().map(|key| key.file.as_str()).collect()
    }

    #[test]
    fn logs_are_read_from_the_newest_on_and_from_their_ends() {
        let (old, new) = (key(), key());
        let long = format!("{old}{}\n{new}", "x".repeat(2000));
        let root = tree(&[("var/log/a/0.log", &old), ("var/log/b/0.log", &long), ("var/log/b/1.log.gz", &old)]);
        let all = search(root.path(), "/var/log", Among::Logs, &BOUNDS);
        assert_eq!(files(&all), ["/var/log/b/0.log", "/var/log/b/0.log", "/var/log/a/0.log"]);
        assert_eq!((all.files, all.bytes), (2, (old.len() + long.len()) as u64));
        assert!(all.beyond.len() == 1 && all.beyond[0].contains("1.log.gz is compressed"), "{:?}", all.beyond);
        let end = search(root.path(), "/var/log", Among::Logs, &Bounds { log: new.len() as u64, files: 1, ..BOUNDS });
        assert_eq!(files(&end), ["/var/log/b/0.log"]);
        assert_eq!((end.found[0].offset, end.found[0].line), ((long.len() - new.len()) as u64, 0));
        assert_eq!(end.beyond.len(), 3, "{:?}", end.beyond);
        let bytes = search(root.path(), "/var/log", Among::Logs, &Bounds { bytes: long.len() as u64, ..BOUNDS });
        assert_eq!(files(&bytes), ["/var/log/b/0.log", "/var/log/b/0.log"]);
        let told = search(root.path(), "/var/log", Among::Logs, &Bounds { keys: 1, ..BOUNDS });
        assert_eq!(told.found.len(), 1);
        assert!(told.unread.iter().any(|why| why.contains("more keys than are told")), "{:?}", told.unread);
    }

    #[test]
    fn a_log_is_read_with_those_that_it_was_before_and_links_count_once() {
        let one = key();
        let root = tree(&[
            ("var/log/audit.log", "{}"),
            ("var/log/audit-2026-01-01T00-00-00.000.log", &one),
            ("var/log/audit.log.1", &one),
            ("var/log/other.log", &one),
            ("var/log/pods/p/0.log", &one),
        ]);
        let rotated = search(root.path(), "/var/log/audit.log", Among::Logs, &BOUNDS);
        assert_eq!(files(&rotated), ["/var/log/audit.log.1", "/var/log/audit-2026-01-01T00-00-00.000.log"]);
        std::fs::create_dir(root.path().join("var/log/containers")).unwrap();
        symlink("/var/log/pods/p/0.log", root.path().join("var/log/containers/p.log")).unwrap();
        symlink("/var/log/pods/p/0.log", root.path().join("var/log/containers/q.log")).unwrap();
        symlink("/var/log/pods", root.path().join("var/log/containers/loop")).unwrap();
        symlink("/nowhere", root.path().join("var/log/containers/nothing.log")).unwrap();
        let links = search(root.path(), "/var/log/containers", Among::Logs, &BOUNDS);
        assert_eq!(files(&links), ["/var/log/containers/p.log"]);
    }

    #[test]
    fn of_images_small_files_of_certain_names_are_read_and_packages_are_not() {
        let (one, large) = (key(), format!("{}{}", key(), " ".repeat(SMALL as usize)));
        let root = tree(&[
            ("layers/1/fs/etc/tls.key", &one),
            ("layers/1/fs/root/.kube/config", &one),
            ("layers/1/fs/etc/notes.txt", &one),
            ("layers/1/fs/etc/large.pem", &large),
            ("layers/1/fs/usr/lib/python3/test.pem", &one),
            ("layers/1/fs/app/node_modules/x/test.key", &one),
            ("layers/1/merged/etc/tls.key", &one),
        ]);
        symlink("tls.key", root.path().join("layers/1/fs/etc/link.key")).unwrap();
        let answer = search(root.path(), "/layers", Among::Layers, &BOUNDS);
        assert_eq!(files(&answer), ["/layers/1/fs/root/.kube/config", "/layers/1/fs/etc/tls.key"]);
        assert_eq!((answer.beyond, answer.unread), (Vec::new(), Vec::new()));
        for bounds in [Bounds { names: 5, ..BOUNDS }, Bounds { depth: 2, ..BOUNDS }] {
            assert!(!search(root.path(), "/layers", Among::Layers, &bounds).beyond.is_empty());
        }
    }

    #[test]
    fn what_is_no_file_hangs_nothing_and_what_is_not_there_is_said() {
        let root = tree(&[("var/log/a.log", "x")]);
        nix::unistd::mkfifo(&root.path().join("var/log/fifo"), nix::sys::stat::Mode::S_IRUSR).unwrap();
        let answer = search(root.path(), "/var/log", Among::Logs, &BOUNDS);
        assert_eq!((answer.files, answer.bytes), (1, 1));
        let host = LiveHost::open(root.path()).unwrap();
        let refused = |path| within(&host, path, Among::Logs, &BOUNDS).unwrap_err().kind;
        assert_eq!(refused("/var/log/fifo"), RefusalKind::WrongKind);
        assert_eq!(refused("/var/log/none"), RefusalKind::Absent);
    }
}

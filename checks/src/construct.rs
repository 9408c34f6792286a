//! Nodes made by hand: a base and edits. They stand for nodes that no machine of ours is, and say so.
//!
//! The reference node in `nodes/reference/` is a healthy control-plane node; each check's examples are edits of it.

use std::path::Path;

use serde::Deserialize;

use crate::host::{Answer, Entry, FileKind, Query, Refusal, RefusalKind, Reply, Stat, Transcript};

/// One change of what a host says.
#[derive(Debug, Clone, PartialEq)]
pub enum Edit {
    /// Any answer to any query.
    Answer(Query, Answer),
    /// Replaces the first occurrence of a text in a file that the node has.
    Replace {
        /// The file.
        path: String,
        /// What must be there.
        from: String,
        /// What stands there instead.
        to: String,
    },
    /// Forgets everything that was asked.
    Forget(Query),
}

/// A file with this content.
pub fn file(path: &str, content: impl Into<String>) -> Edit {
    let bytes = content.into().into_bytes();
    Edit::Answer(Query::Read { path: path.into() }, Ok(Reply::Bytes { bytes, truncated: false }))
}

/// A file that is not there.
pub fn gone(path: &str) -> Edit {
    Edit::Answer(Query::Read { path: path.into() }, Err(absent(path)))
}

/// Replaces a text in a file of the node.
pub fn replace(path: &str, from: &str, to: &str) -> Edit {
    Edit::Replace { path: path.into(), from: from.into(), to: to.into() }
}

/// A directory with these entries; a trailing `/` makes one a directory, `@` a link, `=` a socket.
pub fn dir(path: &str, names: &[&str]) -> Edit {
    Edit::Answer(Query::List { path: path.into() }, Ok(Reply::Entries(entries(names))))
}

/// A directory that is not there.
pub fn no_dir(path: &str) -> Edit {
    Edit::Answer(Query::List { path: path.into() }, Err(absent(path)))
}

/// A file's type, mode and owner.
pub fn stat(path: &str, kind: FileKind, mode: u32, uid: u32, gid: u32) -> Edit {
    let stat = Stat { kind, mode, uid, gid, size: 0, mtime: 0, ino: 1, dev: 1 };
    Edit::Answer(Query::Stat { path: path.into() }, Ok(Reply::Stat(stat)))
}

/// A file of which there is no type, mode or owner, since it is not there.
pub fn no_stat(path: &str) -> Edit {
    Edit::Answer(Query::Stat { path: path.into() }, Err(absent(path)))
}

/// A structured answer.
pub fn value(query: Query, value: serde_json::Value) -> Edit {
    Edit::Answer(query, Ok(value.into()))
}

/// An answer in text: a link's target, a program's output.
pub fn said(query: Query, text: &str) -> Edit {
    Edit::Answer(query, Ok(Reply::Text(text.to_owned())))
}

/// A refusal.
pub fn refuses(query: Query, kind: RefusalKind, message: &str) -> Edit {
    Edit::Answer(query, Err(Refusal::new(kind, message)))
}

fn absent(path: &str) -> Refusal {
    Refusal::new(RefusalKind::Absent, format!("{path}: no such file or directory"))
}

fn entries(names: &[impl AsRef<str>]) -> Vec<Entry> {
    let mut entries: Vec<_> = names
        .iter()
        .map(|name| {
            let name = name.as_ref();
            let (name, kind) = match name.strip_suffix(['/', '@', '=']) {
                Some(bare) if name.ends_with('/') => (bare, FileKind::Directory),
                Some(bare) if name.ends_with('@') => (bare, FileKind::Link),
                Some(bare) => (bare, FileKind::Socket),
                None => (name, FileKind::File),
            };
            Entry { name: name.to_owned(), kind }
        })
        .collect();
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    entries
}

/// Why a construction cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum BadConstruction {
    /// A file of it cannot be read.
    #[error("{path}: {source}")]
    Read {
        /// The file or folder.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// A file of it does not parse.
    #[error("{path}: {source}")]
    Syntax {
        /// The file.
        path: String,
        /// Where and why.
        source: toml::de::Error,
    },
    /// An edit wants to replace what is not there.
    #[error("{path} does not hold '{from}', which an edit wants to replace")]
    NothingToReplace {
        /// The node's file.
        path: String,
        /// The text.
        from: String,
    },
}

/// Applies edits to a transcript.
///
/// # Errors
/// If an edit replaces a text that is not there.
pub fn apply(transcript: &mut Transcript, edits: &[Edit]) -> Result<(), BadConstruction> {
    for edit in edits {
        match edit {
            Edit::Answer(query, answer) => transcript.insert(query.clone(), answer.clone()),
            Edit::Forget(query) => transcript.remove(query),
            Edit::Replace { path, from, to } => {
                let host: &dyn crate::host::Host = transcript;
                let text = host.text(path).known().filter(|text| text.contains(from)).cloned();
                let text =
                    text.ok_or_else(|| BadConstruction::NothingToReplace { path: path.clone(), from: from.clone() })?;
                let bytes = text.replacen(from, to, 1).into_bytes();
                let query = Query::Read { path: path.clone() };
                transcript.insert(query, Ok(Reply::Bytes { bytes, truncated: false }));
            }
        }
    }
    Ok(())
}

/// A construction file: TOML tables of what the node answers, by kind of query.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Sheet {
    /// What the node is, in a sentence; for the reader of the file.
    about: String,
    /// Files by path, with their content.
    #[serde(default)]
    files: toml::map::Map<String, toml::Value>,
    /// Directories by path, with their entries.
    #[serde(default)]
    dirs: std::collections::BTreeMap<String, Vec<String>>,
    /// Links by path, with their targets.
    #[serde(default)]
    links: std::collections::BTreeMap<String, String>,
    /// Type, mode and owner by path: `"file 0600 0 0"`.
    #[serde(default)]
    stats: std::collections::BTreeMap<String, String>,
    /// Paths that are not there, for reads, lists, stats and links alike.
    #[serde(default)]
    absent: Vec<String>,
    /// Texts to replace in files of the base.
    #[serde(default)]
    replace: Vec<SheetReplace>,
    /// Any other answer, as a recording has it.
    #[serde(default)]
    answers: Vec<SheetAnswer>,
}

#[derive(Debug, Deserialize)]
struct SheetReplace {
    path: String,
    from: String,
    to: String,
}

#[derive(Debug, Deserialize)]
struct SheetAnswer {
    query: Query,
    answer: Answer,
}

/// Reads the sheets of a node, `*.toml` in a folder in the order of their names, onto a transcript.
///
/// # Errors
/// If a sheet cannot be read or does not parse.
pub fn lay(folder: &Path, transcript: &mut Transcript) -> Result<(), BadConstruction> {
    let read = |path: &Path, source| BadConstruction::Read { path: path.display().to_string(), source };
    let mut sheets = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|source| read(folder, source))? {
        let path = entry.map_err(|source| read(folder, source))?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            sheets.push(path);
        }
    }
    sheets.sort();
    for path in sheets {
        lay_file(&path, transcript)?;
    }
    Ok(())
}

/// Reads one sheet onto a transcript; returns what it says of itself.
///
/// # Errors
/// If it cannot be read or does not parse.
pub fn lay_file(path: &Path, transcript: &mut Transcript) -> Result<String, BadConstruction> {
    let shown = || path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|source| BadConstruction::Read { path: shown(), source })?;
    let sheet: Sheet = toml::from_str(&text).map_err(|source| BadConstruction::Syntax { path: shown(), source })?;
    let about = sheet.about.clone();
    lay_sheet(sheet, transcript)?;
    Ok(about)
}

fn lay_sheet(sheet: Sheet, transcript: &mut Transcript) -> Result<(), BadConstruction> {
    for path in sheet.absent {
        let refusal = || Err(absent(&path));
        transcript.insert(Query::Read { path: path.clone() }, refusal());
        transcript.insert(Query::List { path: path.clone() }, refusal());
        transcript.insert(Query::Stat { path: path.clone() }, refusal());
        transcript.insert(Query::Link { path: path.clone() }, refusal());
    }
    for (path, content) in sheet.files {
        let bytes = content.as_str().map_or_else(|| content.to_string(), str::to_owned).into_bytes();
        transcript.insert(Query::Read { path }, Ok(Reply::Bytes { bytes, truncated: false }));
    }
    for (path, names) in sheet.dirs {
        transcript.insert(Query::List { path }, Ok(Reply::Entries(entries(&names))));
    }
    for (path, target) in sheet.links {
        transcript.insert(Query::Link { path }, Ok(Reply::Text(target)));
    }
    for (path, text) in sheet.stats {
        let mut words = text.split_whitespace();
        let kind = match words.next() {
            Some("dir") => FileKind::Directory,
            Some("link") => FileKind::Link,
            Some("socket") => FileKind::Socket,
            _ => FileKind::File,
        };
        let mode = words.next().and_then(|mode| u32::from_str_radix(mode, 8).ok()).unwrap_or(0o644);
        let mut id = || words.next().and_then(|id| id.parse().ok()).unwrap_or(0);
        let (uid, gid, size) = (id(), id(), u64::from(id()));
        let stat = Stat { kind, mode, uid, gid, size, mtime: 0, ino: 1, dev: 1 };
        transcript.insert(Query::Stat { path }, Ok(Reply::Stat(stat)));
    }
    for SheetAnswer { query, answer } in sheet.answers {
        transcript.insert(query, answer);
    }
    let edits: Vec<_> =
        sheet.replace.into_iter().map(|SheetReplace { path, from, to }| Edit::Replace { path, from, to }).collect();
    apply(transcript, &edits)
}

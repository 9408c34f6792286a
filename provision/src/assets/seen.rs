//! What programs said when they were last run: asking a dozen of them for their versions takes a second of CPU time.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// A file as it was. One that is replaced or written to differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    device: u64,
    inode: u64,
    size: u64,
    /// Seconds and nanoseconds; of the change of status, which nobody can set.
    changed: (i64, i64),
    said: String,
}

/// What is known of programs, and where that is kept.
#[derive(Debug)]
pub(super) struct Seen {
    file: PathBuf,
    known: Mutex<(BTreeMap<PathBuf, Entry>, bool)>,
}

impl Seen {
    /// What the file holds. One that is not there, or cannot be read, is as good as empty.
    pub(super) fn read(file: PathBuf) -> Self {
        let known = std::fs::read(&file).ok().and_then(|text| serde_json::from_slice(&text).ok());
        Self { file, known: Mutex::new((known.unwrap_or_default(), false)) }
    }

    /// What this program said, or says now.
    pub(super) fn said(
        &self,
        path: &Path,
        metadata: &Metadata,
        ask: impl FnOnce() -> Result<String, String>,
    ) -> Result<String, String> {
        let mut entry = Entry {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            said: String::new(),
        };
        let lock = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lock().0.get(path) {
            entry.said.clone_from(&known.said);
            if &entry == known {
                return Ok(entry.said);
            }
        }
        entry.said = ask()?;
        let mut known = lock();
        known.0.insert(path.to_owned(), entry.clone());
        known.1 = true;
        Ok(entry.said)
    }

    /// Keeps what was learned. Where the cache cannot be written, programs are asked again the next time.
    pub(super) fn write(self) {
        let (mut known, learned) = self.known.into_inner().unwrap_or_else(PoisonError::into_inner);
        known.retain(|path, _| path.exists());
        let Some(folder) = self.file.parent().filter(|_| learned) else { return };
        // Whole or not at all: another process may read it at the same time.
        let kept = std::fs::create_dir_all(folder).and_then(|()| tempfile::NamedTempFile::new_in(folder));
        if let Ok(kept) = kept
            && serde_json::to_writer(&kept, &known).is_ok()
        {
            kept.persist(&self.file).ok();
        }
    }
}

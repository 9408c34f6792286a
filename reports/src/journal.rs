//! The journal: one event a line, flushed as it happens, so that nothing is lost when a run is killed.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};

use crate::model::{Event, What};

/// The file's name in a result directory.
pub const FILE: &str = "journal.jsonl";

/// The longest line that is read: 16 MiB.
const LINE_LIMIT: u64 = 16 << 20;

/// Why a journal cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The file system said no.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// A line in the middle is no event.
    #[error("{path} line {line}: {source}: this is no journal of seaworthy, or it is damaged")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// It holds no event at all.
    #[error("{path} holds no event: the run never began")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A line is longer than any event.
    #[error("{path} line {line} is longer than {} MiB: this is no journal of seaworthy", LINE_LIMIT >> 20)]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
}

/// A journal that is being written.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
}

impl Journal {
    /// Begins a new journal in a folder, which is made if it is not there; an older journal is replaced.
    ///
    /// # Errors
    /// If the folder cannot be made or written.
    pub fn create(folder: &Path) -> Result<Self, JournalError> {
        std::fs::create_dir_all(folder).map_err(|source| JournalError::Io { path: folder.to_owned(), source })?;
        let path = folder.join(FILE);
        // For appending: whatever cuts the file off while it is written leaves no gap of zeros before the next event.
        let file = OpenOptions::new().append(true).create(true).open(&path);
        let file = file.and_then(|file| file.set_len(0).map(|()| file));
        let file = file.map_err(|source| JournalError::Io { path: path.clone(), source })?;
        Ok(Self { path, file })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends an event, as of now.
    ///
    /// # Errors
    /// If it cannot be written, such as on a full disk.
    pub fn append(&mut self, what: What) -> Result<Event, JournalError> {
        let event = Event { at: jiff::Timestamp::now(), what };
        let failed = |source| JournalError::Io { path: self.path.clone(), source };
        let mut line = serde_json::to_vec(&event).map_err(|error| failed(error.into()))?;
        line.push(b'\n');
        // One write: a line is there whole or, after a kill in the middle of it, is the last and cut off.
        let length = self.file.metadata().map_err(failed)?.len();
        if let Err(error) = self.file.write_all(&line) {
            // The part that found room goes, so that the journal ends with a whole event.
            let _ = self.file.set_len(length);
            return Err(failed(error));
        }
        Ok(event)
    }
}

/// Reads a journal, or the journal in a folder. A last line that is cut off is what a kill leaves, and is left out.
///
/// # Errors
/// [`JournalError`] with the line at fault.
pub fn read_journal(path: &Path) -> Result<Vec<Event>, JournalError> {
    let path = if path.is_dir() { path.join(FILE) } else { path.to_owned() };
    let failed = |source| JournalError::Io { path: path.clone(), source };
    let mut reader = BufReader::new(File::open(&path).map_err(failed)?);
    let (mut events, mut line, mut number) = (Vec::new(), Vec::new(), 0);
    loop {
        line.clear();
        number += 1;
        reader.by_ref().take(LINE_LIMIT).read_until(b'\n', &mut line).map_err(failed)?;
        if line.is_empty() {
            break;
        }
        if line.last() != Some(&b'\n') && line.len() as u64 == LINE_LIMIT {
            return Err(JournalError::TooLong { path, line: number });
        }
        match serde_json::from_slice(&line) {
            Ok(event) => events.push(event),
            Err(_) if line.last() != Some(&b'\n') => break,
            Err(source) => return Err(JournalError::Syntax { path, line: number, source }),
        }
    }
    if events.is_empty() {
        return Err(JournalError::Empty { path });
    }
    Ok(events)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::create(&dir.path().join("new/folder")).unwrap();
        for text in ["one", "two", "three"] {
            journal.append(What::Note { text: text.into() }).unwrap();
        }
        let path = journal.path().to_owned();
        (dir, path)
    }

    #[test]
    fn what_is_written_is_read_and_a_cut_off_line_is_left_out() {
        let (_dir, path) = journal();
        assert_eq!(read_journal(&path).unwrap().len(), 3);
        assert_eq!(read_journal(path.parent().unwrap()).unwrap().len(), 3);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 4]).unwrap();
        assert_eq!(read_journal(&path).unwrap().len(), 2);
        std::fs::write(&path, b"").unwrap();
        assert!(matches!(read_journal(&path), Err(JournalError::Empty { .. })));
    }

    #[test]
    fn a_journal_that_is_cut_off_while_it_is_written_has_no_gap_of_zeros() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::create(dir.path()).unwrap();
        for text in ["one", "two"] {
            journal.append(What::Note { text: text.into() }).unwrap();
            std::fs::write(journal.path(), "").unwrap();
        }
        journal.append(What::Note { text: "three".into() }).unwrap();
        assert!(!std::fs::read(journal.path()).unwrap().contains(&0));
        assert_eq!(read_journal(journal.path()).unwrap().len(), 1);
        // What a file system may leave of a file that was written as the power went.
        let mut bytes = std::fs::read(journal.path()).unwrap();
        bytes.extend([0; 512]);
        std::fs::write(journal.path(), bytes).unwrap();
        assert_eq!(read_journal(journal.path()).unwrap().len(), 1);
    }

    #[test]
    fn a_damaged_line_is_named() {
        let (_dir, path) = journal();
        let text = std::fs::read_to_string(&path).unwrap().replace("\"two\"", "two");
        std::fs::write(&path, text).unwrap();
        let error = read_journal(&path).unwrap_err().to_string();
        assert!(error.contains("line 2"), "{error}");
    }

    #[test]
    fn a_full_disk_is_an_error_that_names_the_file() {
        let mut journal =
            Journal { path: "/dev/full".into(), file: OpenOptions::new().write(true).open("/dev/full").unwrap() };
        let error = journal.append(What::Note { text: "x".into() }).unwrap_err().to_string();
        assert!(error.contains("/dev/full") && error.contains("No space left"), "{error}");
    }
}

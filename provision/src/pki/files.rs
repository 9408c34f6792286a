//! Files of a PKI: read whole, written at once, with the modes that kubeadm gives.

use std::path::Path;

use super::PkiError;
use crate::whole;

/// The most that a file of a PKI may hold: 1 MiB.
const LIMIT: u64 = 1 << 20;

fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> PkiError + '_ {
    move |source| PkiError::File { path: path.display().to_string(), source }
}

/// A file's text; `None` where it is not there.
pub(super) fn read(path: &Path) -> Result<Option<String>, PkiError> {
    match std::fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() || metadata.len() > LIMIT => {
            Err(PkiError::Unfit { path: path.display().to_string(), why: "it is no file of at most 1 MiB".to_owned() })
        }
        Ok(_) => std::fs::read_to_string(path).map(Some).map_err(failed(path)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(path)(error)),
    }
}

/// Writes a file so that at no time half of it is there, or more than `mode` allows.
pub(super) fn write(path: &Path, content: &str, mode: u32) -> Result<(), PkiError> {
    whole::write(path, content, mode).map_err(failed(path))
}

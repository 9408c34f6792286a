//! Which files of a folder hold manifests.

use std::io::{Error, ErrorKind, Read as _};
use std::path::Path;

use super::{LARGEST, Manifests, Problem, Trouble};

/// No folder of manifests is nested deeper.
const DEEPEST: usize = 64;

/// Reads the manifests of a folder and of those below it, in the order of their names.
pub(super) fn files(folder: &Path, manifests: &mut Manifests) {
    walk(folder, 0, manifests);
}

fn walk(folder: &Path, depth: usize, manifests: &mut Manifests) {
    let entries = match std::fs::read_dir(folder) {
        Ok(_) if depth > DEEPEST => Err(Error::new(ErrorKind::InvalidInput, "folders are nested too deep")),
        entries => entries,
    };
    let entries = match entries {
        Ok(entries) => entries,
        Err(error) => {
            let why = format!("the folder cannot be read: {error}");
            let file = folder.display().to_string().into();
            return manifests.problems.push(Problem { file, line: None, trouble: Trouble::Unreadable, why });
        }
    };
    let mut entries: Vec<_> = entries.flatten().collect();
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let (name, path) = (entry.file_name(), entry.path());
        if name.to_string_lossy().starts_with('.') {
            continue;
        }
        // A link to a folder may lead back, and is not followed; one to a file is how a ConfigMap is mounted.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            walk(&path, depth + 1, manifests);
        } else if path.extension().is_some_and(|end| end == "yaml" || end == "yml" || end == "json") && !path.is_dir() {
            manifests.file(&path, regular(&path));
        }
    }
}

/// The bytes of a file, up to one more than may be; a file that was given by name may be a pipe.
pub(super) fn content(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(LARGEST + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The bytes of a file in a folder; a pipe or a device is not waited for.
fn regular(path: &Path) -> std::io::Result<Vec<u8>> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(Error::new(ErrorKind::InvalidInput, "it is not a regular file"));
    }
    content(path)
}

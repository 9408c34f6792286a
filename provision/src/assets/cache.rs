//! What was fetched or built before: `CACHE/PROJECT/VERSION/PROGRAM`.

use std::fs::File;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use super::{Project, Version};

/// The cache's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache(PathBuf);

impl Cache {
    /// A cache in this folder, which is made when something is put into it.
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    /// The user's: `$XDG_CACHE_HOME/seaworthy`, else `~/.cache/seaworthy`; `None` where neither variable is set.
    #[must_use]
    pub fn of_user() -> Option<Self> {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let base = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")))?;
        Some(Self(base.join("seaworthy")))
    }

    /// Where images are kept that are made of programs.
    #[must_use]
    pub fn images(&self) -> PathBuf {
        self.0.join("images")
    }

    /// Where it is kept what programs said.
    pub(super) fn seen(&self) -> PathBuf {
        self.0.join("versions.json")
    }

    /// Where the programs of a project's version are.
    #[must_use]
    pub fn folder(&self, project: Project, version: &Version) -> PathBuf {
        self.0.join(project.name()).join(version.to_string())
    }

    /// The versions of a project of which it has something, sorted.
    #[must_use]
    pub fn versions(&self, project: Project) -> Vec<String> {
        let entries = std::fs::read_dir(self.0.join(project.name())).into_iter().flatten().flatten();
        let whole = entries.filter(|entry| {
            let files = std::fs::read_dir(entry.path()).into_iter().flatten().flatten();
            files.map(|file| file.file_name()).any(|name| !name.to_string_lossy().starts_with('.'))
        });
        let mut names: Vec<_> = whole.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    /// Makes a folder and locks it: others that would fill it wait, also those of other processes. The lock ends with
    /// the value, or with the process.
    pub(super) fn lock(folder: &Path) -> Result<Flock<File>, String> {
        let shown = |error: std::io::Error| format!("the cache {} cannot be used: {error}", folder.display());
        std::fs::create_dir_all(folder).map_err(shown)?;
        let file = File::create(folder.join(".lock")).map_err(shown)?;
        Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| shown(errno.into()))
    }
}

//! Manifests: files and folders of objects as `kubectl apply -R -f` takes them, and what `helm template` prints.
//!
//! Nothing that is wrong with one document hides another: templates, garbage and files that cannot be read are
//! [`Problem`]s beside the objects that could be read.

mod document;
mod folder;

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::cursor::Cursor;
use crate::node::Node;

/// No file of manifests is larger.
const LARGEST: u64 = 64 << 20;

/// Objects, in the order of their files and lines, and what could not be read.
#[derive(Debug, Clone, Default)]
pub struct Manifests {
    /// The objects; those of lists one by one.
    pub objects: Vec<Object>,
    /// What is wrong, in the order of files and lines.
    pub problems: Vec<Problem>,
    /// How many files were read.
    pub files: usize,
}

/// An object of a manifest.
#[derive(Debug, Clone)]
pub struct Object {
    /// The file, as its path was given or as it was found in a given folder; `stdin` for standard input.
    pub file: Arc<str>,
    /// The line on which it begins, from 1.
    pub line: u32,
    /// Its `apiVersion`.
    pub api_version: String,
    /// Its `kind`.
    pub kind: String,
    /// Its `metadata.namespace`, where it has one.
    pub namespace: Option<String>,
    /// Its `metadata.name`, or its `generateName` and a star; empty where it has neither.
    pub name: String,
    /// The template of the chart that it was rendered from, where Helm's comment says so.
    pub template: Option<String>,
    /// All of it.
    pub node: Node,
}

/// What is wrong with a file, a document or an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub file: Arc<str>,
    /// The line, from 1, where it is known.
    pub line: Option<u32>,
    /// What kind of problem it is.
    pub trouble: Trouble,
    /// What is wrong and what to do, in a sentence. No content is quoted but the names of kinds and fields.
    pub why: String,
}

/// A kind of problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Trouble {
    /// A file cannot be read.
    Unreadable,
    /// A template, not an object: it must be rendered first.
    Template,
    /// Neither YAML nor JSON.
    Syntax,
    /// YAML without `apiVersion` or `kind`: values of a chart, for example.
    NotAnObject,
    /// A field is there twice.
    Repeated,
}

impl Trouble {
    /// May objects be hidden by it, so that nothing can be said of all objects?
    #[must_use]
    pub fn hides_objects(self) -> bool {
        matches!(self, Self::Unreadable | Self::Template | Self::Syntax)
    }
}

/// Why nothing at all can be read.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
pub struct NoManifests {
    /// The file or the folder that was given.
    pub path: PathBuf,
    /// What the system said.
    pub source: std::io::Error,
}

impl Object {
    /// Its API group: `apps`; empty of the core group.
    #[must_use]
    pub fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }

    /// At its root.
    #[must_use]
    pub fn cursor(&self) -> Cursor<'_> {
        Cursor::root(&self.node)
    }
}

/// Kind, namespace and name: `Deployment shop/web`.
impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.name.is_empty() { "(no name)" } else { &self.name };
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{name}", self.kind),
            None => write!(f, "{} {name}", self.kind),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file, self.why),
            None => write!(f, "{}: {}", self.file, self.why),
        }
    }
}

impl Manifests {
    /// Reads files and, with the folders below them, folders; `-` is `stdin`.
    ///
    /// Of folders it reads files that end in .yaml, .yml and .json, and passes over names that begin with a dot.
    ///
    /// # Errors
    /// If a path that was given does not exist or cannot be opened.
    pub fn read(paths: &[PathBuf], stdin: &mut dyn Read) -> Result<Self, NoManifests> {
        let mut manifests = Self::default();
        for path in paths {
            let refused = |source| NoManifests { path: path.clone(), source };
            if path.as_os_str() == "-" {
                let mut bytes = Vec::new();
                stdin.take(LARGEST + 1).read_to_end(&mut bytes).map_err(refused)?;
                manifests.file(Path::new("stdin"), Ok(bytes));
            } else if path.is_dir() {
                std::fs::read_dir(path).map_err(refused)?;
                folder::files(path, &mut manifests);
            } else {
                std::fs::File::open(path).map_err(refused)?;
                manifests.file(path, folder::content(path));
            }
        }
        Ok(manifests)
    }

    /// Reads a text as if it were a file.
    #[must_use]
    pub fn of_text(file: &str, text: &str) -> Self {
        let mut manifests = Self::default();
        manifests.file(Path::new(file), Ok(text.as_bytes().to_vec()));
        manifests
    }

    fn file(&mut self, path: &Path, content: std::io::Result<Vec<u8>>) {
        self.files += 1;
        let file: Arc<str> = path.display().to_string().into();
        let unreadable = |why: String| Problem { file: file.clone(), line: None, trouble: Trouble::Unreadable, why };
        match content {
            Err(error) => self.problems.push(unreadable(format!("the file cannot be read: {error}"))),
            Ok(bytes) if bytes.len() as u64 > LARGEST => {
                self.problems.push(unreadable(format!("the file is larger than {} MiB", LARGEST >> 20)));
            }
            Ok(bytes) => match String::from_utf8(bytes) {
                Ok(text) => document::read(&file, &text, self),
                Err(_) => self.problems.push(unreadable("the file is not UTF-8 text".to_owned())),
            },
        }
    }
}

#[cfg(test)]
mod tests;

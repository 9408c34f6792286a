//! The renderers: pure functions from a run to a text.

mod html;
mod junit;
mod markdown;
mod sarif;

use std::fmt;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::model::Outcome;
use crate::run::{Run, TrialResult};

pub use markdown::LIMIT as MARKDOWN_LIMIT;

/// A form that a run can be rendered in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// JUnit XML.
    Junit,
    /// Our own JSON, with a published schema.
    Json,
    /// SARIF 2.1.0.
    Sarif,
    /// Markdown.
    Markdown,
    /// One self-contained page.
    Html,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 5] = [Self::Junit, Self::Json, Self::Sarif, Self::Markdown, Self::Html];

    /// The name as the command line takes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Junit => "junit",
            Self::Json => "json",
            Self::Sarif => "sarif",
            Self::Markdown => "markdown",
            Self::Html => "html",
        }
    }

    /// The file's name in a result directory. JUnit's is what node-test left in /var/result.
    #[must_use]
    pub fn file(self) -> &'static str {
        match self {
            Self::Junit => "junit_01.xml",
            Self::Json => "report.json",
            Self::Sarif => "report.sarif",
            Self::Markdown => "report.md",
            Self::Html => "report.html",
        }
    }

    /// Renders a run.
    ///
    /// # Errors
    /// Never for a run that came from a journal; the libraries below may say so all the same.
    pub fn render(self, run: &Run) -> Result<String, RenderError> {
        match self {
            Self::Junit => junit::render(run),
            Self::Json => Ok(serde_json::to_string_pretty(run)? + "\n"),
            Self::Sarif => Ok(serde_json::to_string_pretty(&sarif::render(run))? + "\n"),
            Self::Markdown => Ok(markdown::render(run)),
            Self::Html => Ok(html::render(run)),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let names = || Self::ALL.map(Self::name).join(", ");
        let found = Self::ALL.into_iter().find(|format| format.name() == text);
        found.ok_or_else(|| format!("'{text}' is no report format; there are {}", names()))
    }
}

/// Why a run could not be rendered or a report not be written.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// A report could not be written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the file system said.
        source: std::io::Error,
    },
    /// JSON could not be made.
    #[error("the report could not be made: {0}")]
    Json(#[from] serde_json::Error),
    /// XML could not be made.
    #[error("the JUnit report could not be made: {0}")]
    Xml(String),
}

/// What became of the reports of a run.
#[derive(Debug, Default)]
pub struct Written {
    /// Those that were written.
    pub files: Vec<PathBuf>,
    /// Those that are missing, with the reasons.
    pub missing: Vec<RenderError>,
}

/// Renders a run in several formats into a folder; each file appears whole or not at all, and one that cannot be
/// written does not keep the others from being written.
#[must_use]
pub fn write_all(run: &Run, folder: &Path, formats: &[Format]) -> Written {
    let mut all = Written::default();
    if let Err(source) = std::fs::create_dir_all(folder) {
        all.missing.push(RenderError::Io { path: folder.to_owned(), source });
        return all;
    }
    for format in formats {
        match write(run, folder, *format) {
            Ok(path) => all.files.push(path),
            Err(error) => all.missing.push(error),
        }
    }
    all
}

fn write(run: &Run, folder: &Path, format: Format) -> Result<PathBuf, RenderError> {
    let text = format.render(run)?;
    let path = folder.join(format.file());
    let partial = folder.join(format!(".{}.part", format.file()));
    // Synced before it takes its name: a name on a file whose content was never written would be a report of zeros.
    let result = std::fs::File::create(&partial)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&partial, &path));
    match result {
        Ok(()) => Ok(path),
        Err(source) => {
            let _ = std::fs::remove_file(&partial);
            Err(RenderError::Io { path, source })
        }
    }
}

/// A word for what became of a claim; a failed claim that does not gate is a warning.
pub(crate) fn word(result: &TrialResult) -> &'static str {
    match result.verdict.outcome {
        Outcome::Pass => "pass",
        Outcome::Fail if result.gating => "FAIL",
        Outcome::Fail => "warning",
        Outcome::Errored => "ERROR",
        Outcome::Undetermined => "undetermined",
        Outcome::NotApplicable => "not applicable",
        Outcome::Skipped => "skipped",
        Outcome::Waived => "waived",
        Outcome::Flaky => "flaky",
    }
}

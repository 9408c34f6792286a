//! The run model and every renderer: outcomes, events, the journal, and the reports that are folds over it.

mod diff;
mod fix;
mod journal;
mod model;
mod render;
mod run;

pub use diff::{Change, Difference};
pub use journal::{FILE as JOURNAL_FILE, Journal, JournalError, read_journal};
pub use model::{
    Attachment, Basis, Cause, Event, Evidence, Finding, Location, Outcome, Persist, Picture, Planned, Remedy, RunInfo,
    Severity, Subject, TrialInfo, Verdict, What,
};
pub use render::{Format, MARKDOWN_LIMIT, RenderError, Written, write_all};
pub use run::{BadRun, FORMAT as RUN_FORMAT, Run, TrialResult, because_of};

/// The JSON schema of [`Run`], which is report.json, as text.
#[must_use]
pub fn run_schema() -> String {
    format!("{:#}\n", schemars::schema_for!(Run).to_value())
}

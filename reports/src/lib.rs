//! The run model and every renderer: outcomes, events, the journal, and the reports that are folds over it.

mod model;

pub use model::{
    Basis, Event, Evidence, Finding, Location, Outcome, Persist, Remedy, RunInfo, Severity, Subject, TrialInfo,
    Verdict, What,
};

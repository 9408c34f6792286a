//! The log of a run: its events, and the journal while it can be written.

use std::path::Path;
use std::sync::Mutex;

use anstream::eprintln;
use seaworthy_reports::{Event, Journal, JournalError, Run, RunInfo, What};

use crate::container;
use crate::fault::Fault;

/// The events so far, and the journal while it can be written.
pub(super) struct Log(Mutex<Entries>);

struct Entries {
    events: Vec<Event>,
    /// The journal, or why there is none any more.
    journal: Result<Journal, JournalError>,
}

impl Log {
    /// Begins the journal. A run whose journal cannot be begun does not begin, but in a container of ours: there the
    /// folder is a volume that may not be mounted, and the summary is worth having without it.
    pub(super) fn begin(folder: &Path, info: RunInfo) -> Result<Self, Fault> {
        let begun = Journal::create(folder).and_then(|mut journal| {
            let event = journal.append(What::RunStarted(info.clone()))?;
            Ok((journal, event))
        });
        let (journal, event) = match begun {
            Ok((journal, event)) => (Ok(journal), event),
            Err(error) if container::is_ours() => {
                (Err(error), Event { at: jiff::Timestamp::now(), what: What::RunStarted(info) })
            }
            Err(error) => return Err(unwritable(&error)),
        };
        Ok(Self(Mutex::new(Entries { events: vec![event], journal })))
    }

    /// Notes what happened. A disk that fills up ends the journal with its last whole event, and not the run.
    pub(super) fn write(&self, what: What) {
        let mut entries = lock(&self.0);
        let appended = match &mut entries.journal {
            Ok(journal) => journal.append(what.clone()),
            Err(_) => Ok(Event { at: jiff::Timestamp::now(), what: what.clone() }),
        };
        let event = appended.unwrap_or_else(|error| {
            eprintln!("warning: the journal ends here: {error}");
            entries.journal = Err(error);
            Event { at: jiff::Timestamp::now(), what }
        });
        entries.events.push(event);
    }

    /// Why the journal is not there or not whole.
    pub(super) fn broken(&self) -> Option<String> {
        lock(&self.0).journal.as_ref().err().map(ToString::to_string)
    }

    pub(super) fn run(&self) -> Result<Run, Fault> {
        let mut run = Run::fold(&lock(&self.0).events).map_err(|error| Fault::ours(error.to_string()))?;
        // Asked while it still runs: what has its verdicts is complete as far as an exit code goes.
        run.complete |= run.results.iter().all(|result| result.attempts > 0);
        Ok(run)
    }
}

fn unwritable(error: &JournalError) -> Fault {
    Fault::usage(format!("the result folder cannot be written: {error}")).hint("name another with -O, or make room")
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

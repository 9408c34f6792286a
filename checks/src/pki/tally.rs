//! Counting while a judge goes through a PKI: what does not hold, what could not be told, how much was looked at.

use crate::check::Judgment;
use crate::conclusion::{Breach, Conclusion, Inconclusive};

/// What a judge has seen so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    breaches: Vec<Breach>,
    unknown: Vec<String>,
    notes: Vec<(String, String)>,
    looked: usize,
}

impl Tally {
    /// One more thing was looked at.
    pub(super) fn look(&mut self) {
        self.looked += 1;
    }

    /// Something does not hold.
    pub(super) fn breach(&mut self, breach: Breach) {
        if !self.breaches.contains(&breach) {
            self.breaches.push(breach);
        }
    }

    /// Something could not be told.
    pub(super) fn unknown(&mut self, why: impl Into<String>) {
        let why = why.into();
        if !self.unknown.contains(&why) {
            self.unknown.push(why);
        }
    }

    /// Something that is worth knowing whatever the conclusion is.
    pub(super) fn note(&mut self, label: impl Into<String>, value: impl Into<String>) {
        self.notes.push((label.into(), value.into()));
    }

    /// A breach counts before what could not be told, which is evidence then, and that before nothing; where there was
    /// nothing to look at the claim says nothing, and `nothing` says why.
    pub(super) fn conclude(self, what: &str, nothing: &str) -> Judgment {
        let evident = |conclusion: Conclusion| {
            let conclusion = conclusion.because(what, self.looked.to_string());
            self.notes.into_iter().fold(conclusion, |conclusion, (label, value)| conclusion.because(label, value))
        };
        if !self.breaches.is_empty() {
            let found = evident(Conclusion::from_breaches(self.breaches));
            return Ok(self.unknown.into_iter().fold(found, |found, why| found.because("could not be told", why)));
        }
        if !self.unknown.is_empty() {
            return Err(Inconclusive::new(self.unknown.join("; ")));
        }
        if self.looked == 0 {
            return Ok(Conclusion::not_applicable(nothing));
        }
        Ok(evident(Conclusion::holds()))
    }
}

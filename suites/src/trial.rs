//! Trials and suites as values.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use seaworthy_checks::Profile;
use seaworthy_reports::{Outcome, TrialInfo, Verdict};

use crate::node::Node;

type Body = Box<dyn Fn(&Node, &[&Node], &Profile) -> Verdict + Send + Sync>;

/// A claim that can be put on trial.
pub struct Trial {
    /// What is known of it before it runs.
    pub info: TrialInfo,
    /// How long it may take: beyond this a note says so, beyond ten times this it is an error.
    pub budget: Duration,
    body: Body,
}

impl std::fmt::Debug for Trial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trial").field("id", &self.info.id).finish_non_exhaustive()
    }
}

impl Trial {
    /// A trial with its body.
    pub fn new(
        info: TrialInfo,
        budget: Duration,
        body: impl Fn(&Node, &[&Node], &Profile) -> Verdict + Send + Sync + 'static,
    ) -> Self {
        Self { info, budget, body: Box::new(body) }
    }

    /// Runs the trial on a node, with the `others` of its fleet to compare it with. A panic in its body is this trial's error and nobody else's.
    #[must_use]
    pub fn run(&self, node: &Node, others: &[&Node], profile: &Profile) -> Verdict {
        catch_unwind(AssertUnwindSafe(|| (self.body)(node, others, profile))).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
            Verdict::because(Outcome::Errored, format!("a defect of seaworthy: {} panicked: {text}", self.info.id))
        })
    }
}

/// Trials that belong together.
#[derive(Debug)]
pub struct Suite {
    /// The name as `--suite` takes it.
    pub name: &'static str,
    /// What it is about.
    pub title: &'static str,
    /// Its trials, in order.
    pub trials: Vec<Trial>,
}

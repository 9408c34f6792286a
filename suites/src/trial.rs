//! Trials and suites as values.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use seaworthy_checks::Profile;
use seaworthy_reports::{Outcome, TrialInfo, Verdict};

use crate::cluster::{Act, Defect};
use crate::node::Node;
use crate::objects::Objects;

type Judge = Box<dyn Fn(&Node, &[&Node], &Profile) -> Verdict + Send + Sync>;
type ObjectsJudge = Box<dyn Fn(&Objects) -> Verdict + Send + Sync>;

/// What a trial does.
enum Body {
    /// It judges facts of a node.
    Judge(Judge),
    /// It judges objects.
    Objects(ObjectsJudge),
    /// It acts on a cluster.
    Act(Box<Act>),
}

/// A claim that can be put on trial.
pub struct Trial {
    /// What is known of it before it runs.
    pub info: TrialInfo,
    /// How long it may take: beyond this a note says so, beyond ten times this it is an error. For a trial that acts it
    /// is the limit itself.
    pub budget: Duration,
    body: Body,
}

impl std::fmt::Debug for Trial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trial").field("id", &self.info.id).finish_non_exhaustive()
    }
}

impl Trial {
    /// A trial that acts on a cluster, and how long its body may take at most.
    #[must_use]
    pub fn acting(info: TrialInfo, limit: Duration, act: Act) -> Self {
        Self { info, budget: limit, body: Body::Act(Box::new(act)) }
    }

    /// What it does on a cluster, if it acts on one.
    #[must_use]
    pub fn act(&self) -> Option<&Act> {
        match &self.body {
            Body::Act(act) => Some(act),
            Body::Judge(_) | Body::Objects(_) => None,
        }
    }

    /// A trial that judges objects, with its body.
    pub fn of_objects(
        info: TrialInfo,
        budget: Duration,
        body: impl Fn(&Objects) -> Verdict + Send + Sync + 'static,
    ) -> Self {
        Self { info, budget, body: Body::Objects(Box::new(body)) }
    }

    /// Does it judge objects?
    #[must_use]
    pub fn judges_objects(&self) -> bool {
        matches!(self.body, Body::Objects(_))
    }

    /// Judges objects. A panic in its body is this trial's error and nobody else's.
    #[must_use]
    pub fn run_on_objects(&self, objects: &Objects) -> Verdict {
        let Body::Objects(judge) = &self.body else {
            return Verdict::because(Outcome::NotApplicable, "it does not judge objects");
        };
        self.caught(|| judge(objects))
    }

    /// A trial that judges facts of a node, with its body.
    pub fn new(
        info: TrialInfo,
        budget: Duration,
        body: impl Fn(&Node, &[&Node], &Profile) -> Verdict + Send + Sync + 'static,
    ) -> Self {
        Self { info, budget, body: Body::Judge(Box::new(body)) }
    }

    /// Judges a node, with the `others` of its fleet to compare it with. A panic in its body is this trial's error and
    /// nobody else's.
    #[must_use]
    pub fn run(&self, node: &Node, others: &[&Node], profile: &Profile) -> Verdict {
        let Body::Judge(judge) = &self.body else {
            let what = if self.judges_objects() { "judges objects" } else { "acts on clusters" };
            return Verdict::because(Outcome::NotApplicable, format!("it {what}, and this is a node"));
        };
        self.caught(|| judge(node, others, profile))
    }

    /// A panic is the trial's error.
    fn caught(&self, judge: impl FnOnce() -> Verdict) -> Verdict {
        catch_unwind(AssertUnwindSafe(judge)).unwrap_or_else(|panic| {
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
    /// Defects that its acts are caught by.
    pub defects: &'static [Defect],
}

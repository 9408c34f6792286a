//! The Windows suite: does a cluster accept, refuse and place Windows pods as documented?
//!
//! No Windows host is needed: the real API server judges pods by dry run, and the real scheduler places them on
//! simulated nodes. [`audit`] judges objects that exist, without a cluster.

mod audit;
mod defects;
mod examples;
mod fields;
mod live;
mod options;
mod placement;
mod random;
mod runtime_class;
mod services;
mod workloads;

use serde_json::{Value, json};

use crate::cluster::{Attempt, Claim, ClusterNeed, Ctx, Stop};
use crate::trial::Suite;

/// The documents that most claims rest on.
const WINDOWS: (&str, &str) =
    ("Windows containers in Kubernetes", "https://kubernetes.io/docs/concepts/windows/intro/");
const GUIDE: (&str, &str) =
    ("Guide for Running Windows Containers in Kubernetes", "https://kubernetes.io/docs/concepts/windows/user-guide/");

/// A cluster of the newest version: a control plane without workers.
const NEWEST: ClusterNeed = ClusterNeed { any_families: true, ..ClusterNeed::new("windows") };
/// One of the oldest version that the guide is about.
const OLDEST: ClusterNeed =
    ClusterNeed { kubernetes: Some("v1.23.17"), any_families: true, ..ClusterNeed::new("windows-1-23") };
/// Both.
const BOTH: [ClusterNeed; 2] = [NEWEST, OLDEST];

/// The builds of Windows Server: 2019, 2022, 2025.
const BUILDS: [(&str, &str); 3] = [("2019", "10.0.17763"), ("2022", "10.0.20348"), ("2025", "10.0.26100")];

/// The Windows suite.
#[must_use]
pub fn windows_suite() -> Suite {
    let mut trials = fields::trials();
    trials.extend(options::trials());
    trials.extend(workloads::trials());
    trials.extend(placement::trials());
    trials.extend(runtime_class::trials());
    trials.extend(random::trials());
    trials.extend(examples::trials());
    trials.extend(services::trials());
    trials.extend(live::trials());
    Suite {
        name: "windows",
        title: "Does the cluster accept, refuse and place Windows pods as documented?",
        trials,
        defects: &defects::DEFECTS,
    }
}

/// What claims of this suite have in common.
fn common(claim: Claim) -> Claim {
    claim.label("windows").basis(WINDOWS.0, WINDOWS.1)
}

/// The least pod of an operating system; none leaves `spec.os` out.
fn pod(ctx: &Ctx, name: &str, os: Option<&str>) -> Value {
    let mut pod = ctx.bare_pod(name, &[], &json!({}));
    if let Some(os) = os {
        pod["spec"]["os"] = json!({ "name": os });
    }
    pod
}

/// Sets a field of a document by a path of names, with dots between.
fn set(mut at: &mut Value, path: &str, value: Value) {
    for name in path.split('.') {
        at = &mut at[name];
    }
    *at = value;
}

/// An object that has to be refused as invalid, with a message that has all of `wanted` in it.
fn refused(ctx: &Ctx, subject: &str, attempt: &Attempt, wanted: &[&str]) {
    match attempt {
        Ok(_) => ctx.breach(subject, format!("{subject} is accepted; expected the refusal '{}'", wanted.join(" "))),
        Err(why) if why.code == 422 && wanted.iter().all(|part| why.message.contains(part)) => {}
        Err(why) => ctx.breach(
            subject,
            format!("{subject} is refused for another reason: {why}; expected '{}'", wanted.join(" ")),
        ),
    }
}

/// An object that has to be accepted.
fn accepted(ctx: &Ctx, subject: &str, attempt: Attempt) -> Result<Option<Value>, Stop> {
    match attempt {
        Ok(made) => Ok(Some(made)),
        // Admission refuses it, not validation: a policy of the cluster is in the way.
        Err(why) if why.code == 403 && why.message.contains("PodSecurity") => {
            Err(Stop::Undetermined(format!("{subject}: Pod Security admission is in the way: {why}")))
        }
        Err(why) => {
            ctx.breach(subject, format!("{subject} is refused: {why}"));
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_and_every_defect_catches_a_claim() {
        let suite = windows_suite();
        let mut ids: Vec<_> = suite.trials.iter().map(|trial| trial.info.id.as_str()).collect();
        let all = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), all);
        assert!(all >= 90, "{all} claims");
        let caught: Vec<_> = suite.trials.iter().filter_map(|trial| trial.act().map(|act| act.caught_by)).collect();
        assert_eq!(caught.len(), all);
        for name in &caught {
            assert!(suite.defects.iter().any(|defect| defect.name == *name), "{name} is no defect");
        }
        for defect in suite.defects {
            assert!(caught.contains(&defect.name), "{} catches nothing", defect.name);
        }
    }

    #[test]
    fn a_path_sets_a_field() {
        let mut value = json!({ "a": { "b": 1 } });
        set(&mut value, "a.c.d", json!(2));
        assert_eq!(value, json!({ "a": { "b": 1, "c": { "d": 2 } } }));
    }
}

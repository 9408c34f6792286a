//! Pod Security admission without a cluster: what `k8s.io/pod-security-admission` says of a pod, word for word.
//!
//! A [`Policy`] is a level and a version, as the labels of a namespace name them. An [`Evaluator`] stands for the
//! admission of one release of Kubernetes, whose library may know fewer fields and words things differently. It
//! evaluates [`Pod`]s, which [`Workload::of`] reads from objects of every kind that holds a pod's template.

mod admitted;
mod baseline;
pub mod cases;
mod control;
mod drift;
mod engine;
mod namespace;
mod pod;
mod policy;
mod restricted;
mod script;
mod words;
mod workload;

pub use control::Control;
pub use drift::{Drift, drift};
pub use engine::{Engine, engines};
pub use namespace::{
    Defaults, Exemptions, Flaw, LabelError, Mode, Namespace, Resolved, flaws, resolve, system_namespace,
};
pub use pod::{Capabilities, Container, Handler, Pod, SeLinux, SecurityContext, Volume};
pub use policy::{BadPolicy, Level, Policy, Version};
pub use script::{Proposal, proposals, script};
pub use workload::{Kind, Workload};

use crate::cursor::Place;

/// The newest release of Kubernetes whose admission is known here, as a minor version of 1.
pub const NEWEST: u32 = 37;

/// The oldest release with Pod Security admission on by default.
pub const OLDEST: u32 = 23;

/// The admission of one release of Kubernetes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Evaluator {
    /// The release, as a minor version of 1.
    pub server: u32,
}

/// A control that a pod violates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The control.
    pub control: Control,
    /// The reason, as admission gives it: `host namespaces`.
    pub reason: String,
    /// The detail, as admission gives it: `hostPID=true`.
    pub detail: String,
    /// Each field at fault.
    pub offenses: Vec<Offense>,
}

/// A field at fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offense {
    /// The field; of one that is missing, the line is that of the field that should hold it.
    pub at: Place,
    /// Whose field it is: `container "web"`, `pod`, `volume "data"`.
    pub owner: String,
    /// What is there; nothing where the field is missing.
    pub found: Option<String>,
    /// What may be there.
    pub wanted: String,
}

impl Evaluator {
    /// The newest admission that is known.
    pub const NEWEST: Self = Self { server: NEWEST };

    /// The admission of the release 1.`minor`; of one that is newer than [`NEWEST`], the newest that is known.
    #[must_use]
    pub fn of(minor: u32) -> Self {
        Self { server: minor.min(NEWEST) }
    }

    /// The controls that a policy evaluates, in the order in which admission names them.
    #[must_use]
    pub fn controls(self, policy: Policy) -> Vec<Control> {
        let minor = self.minor(policy.version);
        Control::ALL.into_iter().filter(|control| control.applies(policy.level, minor, self.server)).collect()
    }

    /// The controls that a pod violates, in the order in which admission names them; none if it is allowed.
    #[must_use]
    pub fn evaluate(self, policy: Policy, pod: &Pod) -> Vec<Violation> {
        let minor = self.minor(policy.version);
        self.controls(policy).into_iter().filter_map(|control| control.judge(pod, minor, self.server)).collect()
    }

    /// The minor version whose rules hold: a version that is newer than the server means the server's.
    #[must_use]
    pub fn minor(self, version: Version) -> u32 {
        match version {
            Version::Latest => self.server,
            Version::V1(minor) => minor.min(self.server),
        }
    }
}

/// The reasons of all violations, as a namespace's warning gives them.
#[must_use]
pub fn reason(violations: &[Violation]) -> String {
    violations.iter().map(|violation| violation.reason.as_str()).collect::<Vec<_>>().join(", ")
}

/// The reasons and details of all violations, as a refusal of a pod gives them.
#[must_use]
pub fn detail(violations: &[Violation]) -> String {
    let one = |violation: &Violation| match violation.detail.as_str() {
        "" => violation.reason.clone(),
        detail => format!("{} ({detail})", violation.reason),
    };
    violations.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Manifests;

    #[test]
    fn a_violation_has_a_reason_a_detail_a_path_and_a_line() {
        let text = "apiVersion: apps/v1\nkind: Deployment\nspec:\n  template:\n    spec:\n      hostPID: true\n\
                    \x20     containers:\n      - name: web\n        securityContext:\n          privileged: true\n";
        let workload = Workload::of(&Manifests::of_text("web.yaml", text).objects[0]).unwrap();
        let policy: Policy = "baseline:latest".parse().unwrap();
        let violations = Evaluator::NEWEST.evaluate(policy, &workload.pod);
        assert_eq!(reason(&violations), "host namespaces, privileged");
        let privileged = "privileged (container \"web\" must not set securityContext.privileged=true)";
        assert_eq!(detail(&violations), format!("host namespaces (hostPID=true), {privileged}"));
        let at = &violations[1].offenses[0].at;
        let path = "spec.template.spec.containers[0].securityContext.privileged";
        assert_eq!((at.path.as_str(), at.line), (path, Some(10)));
        // What is missing is at what should hold it.
        let policy: Policy = "restricted:v1.20".parse().unwrap();
        let violations = Evaluator::NEWEST.evaluate(policy, &workload.pod);
        let missing = violations.iter().find(|one| one.control == Control::AllowPrivilegeEscalation).unwrap();
        assert_eq!(missing.offenses[0].at.line, Some(9));
        assert_eq!(missing.offenses[0].found, None);
    }

    #[test]
    fn custom_resources_with_a_template_are_workloads_of_no_kind() {
        let text = "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nspec:\n  template:\n    spec:\n\
                    \x20     hostIPC: true\n      containers: [{name: a, image: b}]\n---\n\
                    apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nspec: {template: {}}\n";
        let objects = Manifests::of_text("f", text).objects;
        let workload = Workload::of(&objects[0]).unwrap();
        assert_eq!((workload.kind, workload.pod.host_namespaces.len()), (None, 1));
        assert!(Workload::of(&objects[1]).is_none());
    }
}

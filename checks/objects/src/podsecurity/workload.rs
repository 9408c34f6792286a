//! Where the pod is in an object.

use serde_json::Value;

use super::pod::Pod;
use crate::cursor::{Cursor, Misfit};
use crate::manifest::Object;
use crate::node::Tree;

/// A kind of the API that holds a pod or a pod's template, and that admission therefore looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `v1` Pod.
    Pod,
    /// `v1` PodTemplate.
    PodTemplate,
    /// `v1` ReplicationController.
    ReplicationController,
    /// `apps` ReplicaSet.
    ReplicaSet,
    /// `apps` Deployment.
    Deployment,
    /// `apps` StatefulSet.
    StatefulSet,
    /// `apps` DaemonSet.
    DaemonSet,
    /// `batch` Job.
    Job,
    /// `batch` CronJob.
    CronJob,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Pod,
        Self::PodTemplate,
        Self::ReplicationController,
        Self::ReplicaSet,
        Self::Deployment,
        Self::StatefulSet,
        Self::DaemonSet,
        Self::Job,
        Self::CronJob,
    ];

    /// The kind's name, as objects have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pod => "Pod",
            Self::PodTemplate => "PodTemplate",
            Self::ReplicationController => "ReplicationController",
            Self::ReplicaSet => "ReplicaSet",
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
            Self::Job => "Job",
            Self::CronJob => "CronJob",
        }
    }

    /// The API groups that have or had the kind.
    #[must_use]
    pub fn groups(self) -> &'static [&'static str] {
        match self {
            Self::Pod | Self::PodTemplate | Self::ReplicationController => &[""],
            Self::ReplicaSet | Self::Deployment | Self::DaemonSet => &["apps", "extensions"],
            Self::StatefulSet => &["apps"],
            Self::Job | Self::CronJob => &["batch"],
        }
    }

    /// The newest `apiVersion`.
    #[must_use]
    pub fn api_version(self) -> &'static str {
        match self.groups()[0] {
            "" => "v1",
            "apps" => "apps/v1",
            _ => "batch/v1",
        }
    }

    /// The path to the pod's template; of a pod it is the pod.
    #[must_use]
    pub fn template(self) -> &'static [&'static str] {
        match self {
            Self::Pod => &[],
            Self::PodTemplate => &["template"],
            Self::CronJob => &["spec", "jobTemplate", "spec", "template"],
            _ => &["spec", "template"],
        }
    }

    /// The kind of an API group.
    #[must_use]
    pub fn of(group: &str, kind: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == kind && known.groups().contains(&group))
    }
}

/// An object that holds a pod or a pod's template.
#[derive(Debug, Clone)]
pub struct Workload {
    /// The kind; `None` of a custom resource whose controller makes pods of a template: admission does not look at
    /// such an object, but at its pods.
    pub kind: Option<Kind>,
    /// The pod.
    pub pod: Pod,
    /// Fields of another type than the API's, so that the API server refuses the object.
    pub misfits: Vec<Misfit>,
}

impl Workload {
    /// The pod of an object, if it holds one.
    ///
    /// Of a kind that is not the API's own it is the first `spec.template`, `spec.podTemplate`, `spec.jobTemplate` or
    /// the like that looks like a pod's template.
    #[must_use]
    pub fn of(object: &Object) -> Option<Self> {
        let root = object.cursor();
        let kind = Kind::of(object.group(), &object.kind);
        let template = match kind {
            Some(kind) => root.down(kind.template()),
            None => embedded(&root.get("spec"), 0)?,
        };
        // A ReplicationController's template is a pointer: without one admission has nothing to evaluate.
        if kind == Some(Kind::ReplicationController) && !template.is_set() {
            return None;
        }
        let mut misfits = Vec::new();
        let template = template.as_map(&mut misfits);
        let metadata = template.get("metadata").as_map(&mut misfits);
        let spec = template.get("spec").as_map(&mut misfits);
        let pod = Pod::read(&metadata, &spec, &mut misfits);
        Some(Self { kind, pod, misfits })
    }
}

/// A pod's template in a custom resource: a map with `spec.containers`, whose items have a name or an image.
fn embedded<'n>(at: &Cursor<'n>, depth: usize) -> Option<Cursor<'n>> {
    let Tree::Map(members) = &at.node()?.tree else { return None };
    if depth > 4 {
        return None;
    }
    for member in members {
        if !(member.name.ends_with("emplate") || member.name == "spec") {
            continue;
        }
        let inner = at.get(&member.name);
        let looks = |path: &[&str]| {
            let containers = inner.down(path);
            let items = containers.node().map(|node| &node.tree);
            matches!(items, Some(Tree::List(items)) if !items.is_empty() && items.iter().all(is_container))
        };
        if member.name != "spec" && looks(&["spec", "containers"]) {
            return Some(inner);
        }
        if let Some(found) = embedded(&inner, depth + 1) {
            return Some(found);
        }
    }
    None
}

fn is_container(node: &crate::node::Node) -> bool {
    let text = |name: &str| {
        let value = node.get(name).map(|member| &member.node.tree);
        matches!(value, Some(Tree::Scalar(Value::String(_))))
    };
    text("image") || text("name")
}

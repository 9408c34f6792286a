//! Namespaces: what their labels ask admission for, and what is wrong with that.

use std::fmt;

use super::words::go_quote;
use super::{BadPolicy, Evaluator, Level, Policy, Version};
use crate::cursor::{Field, Place};
use crate::manifest::Object;

const PREFIX: &str = "pod-security.kubernetes.io/";

/// What admission does with a pod that violates a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// It refuses the pod.
    Enforce,
    /// It annotates the audit event.
    Audit,
    /// It warns the user.
    Warn,
}

impl Mode {
    /// All of them, in the order in which admission reads their labels.
    pub const ALL: [Self; 3] = [Self::Enforce, Self::Audit, Self::Warn];

    /// The name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Audit => "audit",
            Self::Warn => "warn",
        }
    }

    /// The label of the level.
    #[must_use]
    pub fn level_label(self) -> String {
        format!("{PREFIX}{}", self.name())
    }

    /// The label of the version.
    #[must_use]
    pub fn version_label(self) -> String {
        format!("{PREFIX}{}-version", self.name())
    }
}

/// A namespace and its labels.
#[derive(Debug, Clone)]
pub struct Namespace {
    /// The name.
    pub name: String,
    /// Where its name is.
    pub at: Place,
    /// The labels.
    pub labels: Vec<(String, Field<String>)>,
}

/// The policies of a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Resolved {
    /// What is enforced.
    pub enforce: Policy,
    /// What is audited.
    pub audit: Policy,
    /// What is warned of.
    pub warn: Policy,
}

/// The policies of namespaces without labels.
pub type Defaults = Resolved;

impl Default for Resolved {
    /// Admission's own defaults: privileged, latest.
    fn default() -> Self {
        let policy = Policy { level: Level::Privileged, version: Version::Latest };
        Self { enforce: policy, audit: policy, warn: policy }
    }
}

impl Resolved {
    /// The policy of a mode.
    #[must_use]
    pub fn of(&self, mode: Mode) -> Policy {
        match mode {
            Mode::Enforce => self.enforce,
            Mode::Audit => self.audit,
            Mode::Warn => self.warn,
        }
    }
}

/// A label whose value admission does not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelError {
    /// The label.
    pub label: String,
    /// Its value, and where it is.
    pub value: Field<String>,
    /// What is wrong with it.
    pub why: BadPolicy,
}

/// In the words of the API server.
impl fmt::Display for LabelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "metadata.labels[{}]: Invalid value: {}: {}", self.label, go_quote(&self.value.value), self.why)
    }
}

impl Namespace {
    /// A namespace of an object.
    #[must_use]
    pub fn of(object: &Object) -> Option<Self> {
        if object.kind != "Namespace" || object.api_version != "v1" {
            return None;
        }
        let root = object.cursor();
        let mut misfits = Vec::new();
        let labels = root.down(&["metadata", "labels"]).entries(&mut misfits);
        let labels = labels
            .into_iter()
            .map(|(name, value)| {
                let empty = || Field { value: String::new(), at: value.place() };
                (name.to_owned(), value.text(&mut misfits).unwrap_or_else(empty))
            })
            .collect();
        let at = root.down(&["metadata", "name"]).place();
        Some(Self { name: object.name.clone(), at, labels })
    }

    /// A label.
    #[must_use]
    pub fn label(&self, name: &str) -> Option<&Field<String>> {
        self.labels.iter().find(|(label, _)| label == name).map(|(_, value)| value)
    }
}

/// Is it a namespace of Kubernetes' own, whose pods need privileges?
#[must_use]
pub fn system_namespace(name: &str) -> bool {
    matches!(name, "kube-system" | "kube-public" | "kube-node-lease")
}

/// The policies of a namespace as admission resolves them (`PolicyToEvaluate`), and the labels that it does not take.
///
/// A bad `enforce` means restricted, a bad `audit` or `warn` privileged, a bad version the latest.
#[must_use]
pub fn resolve(namespace: &Namespace, defaults: Defaults) -> (Resolved, Vec<LabelError>) {
    let (mut policies, mut errors) = (defaults, Vec::new());
    let mut enforces = false;
    for mode in Mode::ALL {
        let policy = match mode {
            Mode::Enforce => &mut policies.enforce,
            Mode::Audit => &mut policies.audit,
            Mode::Warn => &mut policies.warn,
        };
        if let Some(value) = namespace.label(&mode.level_label()) {
            let level = value.value.parse();
            enforces |= mode == Mode::Enforce && level.is_ok();
            policy.level = level.unwrap_or_else(|why| {
                errors.push(LabelError { label: mode.level_label(), value: value.clone(), why });
                if mode == Mode::Enforce { Level::Restricted } else { Level::Privileged }
            });
        }
        if let Some(value) = namespace.label(&mode.version_label()) {
            policy.version = value.value.parse().unwrap_or_else(|why| {
                errors.push(LabelError { label: mode.version_label(), value: value.clone(), why });
                Version::Latest
            });
        }
    }
    // Without a label of its own, a warning is at least as strict as what is enforced.
    let warns = namespace.label(&Mode::Warn.level_label()).is_some();
    if !warns && enforces && policies.enforce.level > policies.warn.level {
        policies.warn.level = policies.enforce.level;
        if namespace.label(&Mode::Warn.version_label()).is_none() {
            policies.warn.version = policies.enforce.version;
        }
    }
    (policies, errors)
}

/// What is wrong with the labels of a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flaw {
    /// Nothing is enforced, and no label says that this is meant.
    Missing {
        /// The namespace's name.
        at: Place,
    },
    /// A value that admission does not take.
    Invalid(LabelError),
    /// A label with the prefix of Pod Security that admission does not know.
    Unknown {
        /// The label.
        label: String,
        /// Where.
        at: Place,
    },
    /// A mode that says less than what is enforced, so that nobody hears of what will be refused.
    Weaker {
        /// Audit or warn.
        mode: Mode,
        /// Its policy.
        policy: Policy,
        /// What is enforced.
        enforced: Policy,
        /// The label, or the namespace's name.
        at: Place,
    },
    /// Less is enforced than is wanted.
    Below {
        /// What is enforced.
        enforced: Policy,
        /// What is wanted.
        wanted: Level,
        /// The label, or the namespace's name.
        at: Place,
    },
    /// What is enforced is pinned to an older version, and neither audit nor warn shows what newer ones refuse.
    Pinned {
        /// What is enforced.
        enforced: Policy,
        /// The label.
        at: Place,
    },
    /// A version that the server does not have yet, so that an upgrade changes what is refused.
    Future {
        /// The mode.
        mode: Mode,
        /// Its policy.
        policy: Policy,
        /// The label.
        at: Place,
    },
}

/// All that is wrong with the labels of a namespace, where pods should be held to `wanted`.
#[must_use]
pub fn flaws(namespace: &Namespace, wanted: Level, defaults: Defaults, evaluator: Evaluator) -> Vec<Flaw> {
    let (policies, errors) = resolve(namespace, defaults);
    let mut flaws: Vec<_> = errors.into_iter().map(Flaw::Invalid).collect();
    let known: Vec<_> = Mode::ALL.iter().flat_map(|mode| [mode.level_label(), mode.version_label()]).collect();
    for (label, value) in &namespace.labels {
        if label.starts_with(PREFIX) && !known.contains(label) {
            flaws.push(Flaw::Unknown { label: label.clone(), at: value.at.clone() });
        }
    }
    let place = |label: &str| namespace.label(label).map_or_else(|| namespace.at.clone(), |value| value.at.clone());
    let labeled = namespace.label(&Mode::Enforce.level_label()).is_some();
    if !labeled && defaults.enforce.level == Level::Privileged {
        flaws.push(Flaw::Missing { at: namespace.at.clone() });
    }
    let enforced = policies.enforce;
    let minor = |policy: Policy| evaluator.minor(policy.version);
    if labeled && enforced.level < wanted && !system_namespace(&namespace.name) {
        flaws.push(Flaw::Below { enforced, wanted, at: place(&Mode::Enforce.level_label()) });
    }
    for mode in [Mode::Audit, Mode::Warn] {
        let policy = policies.of(mode);
        let older =
            policy.level == enforced.level && policy.level > Level::Privileged && minor(policy) < minor(enforced);
        if policy.level < enforced.level || older {
            flaws.push(Flaw::Weaker { mode, policy, enforced, at: place(&mode.level_label()) });
        }
    }
    let newest = |policy: Policy| policy.level >= enforced.level && minor(policy) == evaluator.server;
    if enforced.level > Level::Privileged
        && minor(enforced) < evaluator.server
        && !(newest(policies.audit) && newest(policies.warn))
    {
        flaws.push(Flaw::Pinned { enforced, at: place(&Mode::Enforce.version_label()) });
    }
    for mode in Mode::ALL {
        let policy = policies.of(mode);
        let label = namespace.label(&mode.version_label());
        if matches!(policy.version, Version::V1(minor) if minor > evaluator.server) && label.is_some() {
            flaws.push(Flaw::Future { mode, policy, at: place(&mode.version_label()) });
        }
    }
    flaws
}

/// Who is exempt from Pod Security, and the policies of namespaces without labels.
#[derive(Debug, Clone, Default)]
pub struct Exemptions {
    /// The defaults.
    pub defaults: Defaults,
    /// Users.
    pub usernames: Vec<Field<String>>,
    /// Namespaces.
    pub namespaces: Vec<Field<String>>,
    /// RuntimeClasses.
    pub runtime_classes: Vec<Field<String>>,
}

impl Exemptions {
    /// The configuration of admission, of an `AdmissionConfiguration` or a `PodSecurityConfiguration`.
    #[must_use]
    pub fn of(object: &Object) -> Option<Self> {
        let root = object.cursor();
        let mut misfits = Vec::new();
        let configuration = match object.kind.as_str() {
            "PodSecurityConfiguration" if object.group() == "pod-security.admission.config.k8s.io" => root,
            "AdmissionConfiguration" if object.group() == "apiserver.config.k8s.io" => {
                let plugins = root.get("plugins").items(&mut misfits);
                let name = |plugin: &crate::Cursor<'_>| {
                    plugin.get("name").text(&mut Vec::new()).is_some_and(|name| name.value == "PodSecurity")
                };
                plugins.into_iter().find(name)?.get("configuration")
            }
            _ => return None,
        };
        let mut defaults = Defaults::default();
        for (mode, policy) in [
            (Mode::Enforce, &mut defaults.enforce),
            (Mode::Audit, &mut defaults.audit),
            (Mode::Warn, &mut defaults.warn),
        ] {
            let text =
                |name: String| configuration.down(&["defaults", &name]).text(&mut Vec::new()).map(|field| field.value);
            if let Some(level) = text(mode.name().to_owned()).and_then(|text| text.parse().ok()) {
                policy.level = level;
            }
            if let Some(version) = text(format!("{}-version", mode.name())).and_then(|text| text.parse().ok()) {
                policy.version = version;
            }
        }
        let mut list = |name: &str| {
            let items = configuration.down(&["exemptions", name]).items(&mut misfits);
            items.iter().filter_map(|item| item.text(&mut misfits)).collect()
        };
        Some(Self {
            defaults,
            usernames: list("usernames"),
            namespaces: list("namespaces"),
            runtime_classes: list("runtimeClasses"),
        })
    }

    /// Exemptions through which anybody can bring a pod past admission, each with the reason.
    #[must_use]
    pub fn too_wide(&self) -> Vec<(Field<String>, String)> {
        let mut wide = Vec::new();
        for user in &self.usernames {
            let account = user.value.strip_prefix("system:serviceaccount:kube-system:");
            let controller = account.is_some_and(|name| name.ends_with("-controller"));
            let user_of_all = matches!(&*user.value, "system:anonymous" | "system:kube-controller-manager");
            if controller || user_of_all {
                let why = "it makes the pods of workloads for everybody, who are exempt through it".to_owned();
                wide.push((user.clone(), why));
            }
        }
        for namespace in self.namespaces.iter().filter(|namespace| !system_namespace(&namespace.value)) {
            let why = "every pod of the namespace is exempt, whatever its labels say; a label can be reviewed and \
                       changed where the namespace is";
            wide.push((namespace.clone(), why.to_owned()));
        }
        for class in &self.runtime_classes {
            let why = "every user that may create a pod may name the RuntimeClass, and is exempt";
            wide.push((class.clone(), why.to_owned()));
        }
        wide
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Manifests;

    fn namespace(labels: &str) -> Namespace {
        let text = format!("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: shop\n  labels: {{{labels}}}\n");
        Namespace::of(&Manifests::of_text("f", &text).objects[0]).unwrap()
    }

    /// `E` stands for the prefix and enforce, and so on.
    fn kinds(labels: &str) -> Vec<String> {
        let labels = labels.replace("E", "pod-security.kubernetes.io/enforce");
        let labels =
            labels.replace("A", "pod-security.kubernetes.io/audit").replace("W", "pod-security.kubernetes.io/warn");
        let flaws = flaws(&namespace(&labels), Level::Restricted, Defaults::default(), Evaluator::NEWEST);
        let word = |flaw: &Flaw| format!("{flaw:?}").split(['(', ' ']).next().unwrap_or_default().to_owned();
        flaws.iter().map(word).collect()
    }

    #[test]
    fn each_flaw_is_found_alone() {
        let none: [&str; 0] = [];
        assert_eq!(kinds("E: restricted, A: restricted, W: restricted"), none);
        assert_eq!(kinds("E: restricted, E-version: v1.30, A: restricted, W: restricted"), none);
        assert_eq!(kinds("x: y"), ["Missing"]);
        assert_eq!(kinds("E: strict, A: restricted, W: restricted"), ["Invalid"]);
        assert_eq!(kinds("E: restricted, A: restricted, pod-security.kubernetes.io/enforced: x"), ["Unknown"]);
        assert_eq!(kinds("E: restricted"), ["Weaker"]);
        assert_eq!(kinds("E: restricted, A: restricted, W: baseline"), ["Weaker"]);
        assert_eq!(kinds("E: baseline, A: restricted, W: restricted"), ["Below"]);
        assert_eq!(kinds("E: restricted, E-version: v1.30, A: restricted, A-version: v1.30"), ["Pinned"]);
        assert_eq!(kinds("E: restricted, A: restricted, A-version: v1.20"), ["Weaker"]);
        assert_eq!(kinds("E: restricted, E-version: v1.99, A: restricted"), ["Future"]);
        assert_eq!(kinds("E: privileged"), ["Below"]);
    }

    #[test]
    fn exemptions_and_defaults_of_a_configuration() {
        let text = "apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\n\
                    plugins:\n- name: PodSecurity\n\
                    \x20 configuration:\n    apiVersion: pod-security.admission.config.k8s.io/v1\n\
                    \x20   kind: PodSecurityConfiguration\n    defaults: {enforce: baseline, enforce-version: v1.30}\n\
                    \x20   exemptions:\n      usernames: [ci, \
                    'system:serviceaccount:kube-system:replicaset-controller']\n\
                    \x20     namespaces:\n      - kube-system\n      - shop\n      runtimeClasses: [kata]\n";
        let exemptions = Exemptions::of(&Manifests::of_text("f", text).objects[0]).unwrap();
        assert_eq!(exemptions.defaults.enforce.to_string(), "baseline:v1.30");
        let wide = exemptions.too_wide();
        let names: Vec<_> = wide.iter().map(|(field, _)| (field.value.as_str(), field.at.line.unwrap())).collect();
        let controller = "system:serviceaccount:kube-system:replicaset-controller";
        assert_eq!(names, [(controller, 10), ("shop", 13), ("kata", 14)]);
        assert_eq!(wide[1].0.at.path, "plugins[0].configuration.exemptions.namespaces[1]");
    }
}

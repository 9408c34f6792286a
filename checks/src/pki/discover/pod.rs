//! Why the kubelet takes a document for no static pod: the types of its members, and those of the API's rules for
//! pods that have to do with commands, volumes and mounts. Unknown members are ignored, and the last of two members
//! of one name counts.

use std::collections::BTreeSet;

use serde_json::Value;

use super::manifest::{Refusal, list, text};
use crate::effective::yaml::{Node, Tree};

/// The type of a member. `null` is a value of each.
enum Type {
    Text,
    Truth,
    Whole,
    TextOrWhole,
    Texts,
    List(&'static Type),
    Object(&'static [(&'static str, Type)]),
}

use Type::{List, Object, Text, TextOrWhole, Texts, Truth, Whole};

const TARGET: Type = Object(&[("host", Text), ("path", Text), ("port", TextOrWhole), ("scheme", Text)]);
const PROBE: Type = Object(&[
    ("httpGet", TARGET),
    ("tcpSocket", Object(&[("host", Text), ("port", TextOrWhole)])),
    ("exec", Object(&[("command", List(&Text))])),
    ("initialDelaySeconds", Whole),
    ("timeoutSeconds", Whole),
    ("periodSeconds", Whole),
    ("successThreshold", Whole),
    ("failureThreshold", Whole),
    ("terminationGracePeriodSeconds", Whole),
]);
const CONTAINER: Type = Object(&[
    ("name", Text),
    ("image", Text),
    ("imagePullPolicy", Text),
    ("command", List(&Text)),
    ("args", List(&Text)),
    ("workingDir", Text),
    ("env", List(&Object(&[("name", Text), ("value", Text)]))),
    (
        "ports",
        List(&Object(&[
            ("name", Text),
            ("containerPort", Whole),
            ("hostPort", Whole),
            ("hostIP", Text),
            ("protocol", Text),
        ])),
    ),
    (
        "volumeMounts",
        List(&Object(&[
            ("name", Text),
            ("mountPath", Text),
            ("readOnly", Truth),
            ("subPath", Text),
            ("subPathExpr", Text),
            ("mountPropagation", Text),
        ])),
    ),
    ("livenessProbe", PROBE),
    ("readinessProbe", PROBE),
    ("startupProbe", PROBE),
    ("stdin", Truth),
    ("tty", Truth),
]);
const POD: Type = Object(&[
    ("apiVersion", Text),
    ("kind", Text),
    (
        "metadata",
        Object(&[("name", Text), ("namespace", Text), ("labels", Texts), ("annotations", Texts), ("uid", Text)]),
    ),
    (
        "spec",
        Object(&[
            ("containers", List(&CONTAINER)),
            ("initContainers", List(&CONTAINER)),
            ("volumes", List(&Object(&[("name", Text), ("hostPath", Object(&[("path", Text), ("type", Text)]))]))),
            ("hostNetwork", Truth),
            ("hostPID", Truth),
            ("hostIPC", Truth),
            ("hostname", Text),
            ("nodeName", Text),
            ("nodeSelector", Texts),
            ("dnsPolicy", Text),
            ("priority", Whole),
            ("priorityClassName", Text),
            ("restartPolicy", Text),
            ("serviceAccountName", Text),
            ("terminationGracePeriodSeconds", Whole),
            ("automountServiceAccountToken", Truth),
            ("enableServiceLinks", Truth),
        ]),
    ),
]);

/// Why the kubelet refuses a document as a static pod.
pub(super) fn refusal(pod: &Node) -> Option<Refusal> {
    let Tree::Map(members) = &pod.tree else {
        return Some(Refusal::new(pod.line, "it is not an object"));
    };
    // These two alone are looked up without regard to case (encoding/json, in apimachinery's SimpleMetaFactory).
    let find = |name: &str| {
        pod.get(name).or_else(|| members.iter().rev().find(|member| member.name.eq_ignore_ascii_case(name)))
    };
    let value = |name: &str| match &find(name)?.node.tree {
        Tree::Scalar(Value::String(text)) => Some(text.as_str()),
        _ => None,
    };
    let line = |name: &str| find(name).map_or(pod.line, |member| member.line);
    let (kind, version) = (value("kind").unwrap_or_default(), value("apiVersion").unwrap_or_default());
    for (name, value) in [("kind", kind), ("apiVersion", version)] {
        if value.is_empty() {
            return Some(Refusal::new(line(name), format!("it has no {name}")));
        }
    }
    if (kind, version) != ("Pod", "v1") {
        return Some(Refusal::new(line("kind"), format!("it is a {kind} of {version}, and not a Pod of v1")));
    }
    mistyped(pod, &POD, "").or_else(|| invalid(pod).err()).or_else(|| referring(pod))
}

/// What a static pod must not refer to: objects of the API (pkg/api/pod, HasAPIObjectReference; since 1.34).
fn referring(pod: &Node) -> Option<Refusal> {
    let spec = &pod.get("spec")?.node;
    let refused = |line, what: &str| {
        let why = format!("it refers to {what}, and a static pod must not refer to objects of the API");
        Some(Refusal { since: 34, ..Refusal::new(line, why) })
    };
    for name in ["serviceAccountName", "serviceAccount"] {
        if text(spec, name).is_some_and(|name| !name.is_empty()) {
            return refused(spec.line_of(&[name]), "a ServiceAccount");
        }
    }
    if let Some(one) = list(spec, "imagePullSecrets").first() {
        return refused(one.line, "a Secret");
    }
    for container in list(spec, "initContainers").iter().chain(list(spec, "containers")) {
        let from = list(container, "env").iter().filter_map(|one| Some(&one.get("valueFrom")?.node));
        for (of, refs) in [
            (list(container, "envFrom").iter().collect::<Vec<_>>(), ["secretRef", "configMapRef"]),
            (from.collect(), ["secretKeyRef", "configMapKeyRef"]),
        ] {
            let found = of.into_iter().find_map(|one| refs.iter().find_map(|name| one.get(name)));
            if let Some(found) = found {
                return refused(found.line, if found.name.starts_with('s') { "a Secret" } else { "a ConfigMap" });
            }
        }
    }
    const SOURCES: [(&str, &str); 5] = [
        ("configMap", "a ConfigMap"),
        ("secret", "a Secret"),
        ("csi", "a CSIDriver"),
        ("persistentVolumeClaim", "a PersistentVolumeClaim"),
        ("ephemeral", "a PersistentVolumeClaim"),
    ];
    let found = list(spec, "volumes")
        .iter()
        .find_map(|volume| SOURCES.iter().find_map(|(name, what)| Some((volume.get(name)?.line, *what))));
    found.and_then(|(line, what)| refused(line, what))
}

/// The first member that has another type than it must have.
fn mistyped(node: &Node, wanted: &Type, path: &str) -> Option<Refusal> {
    let what = match &node.tree {
        Tree::Scalar(Value::Null) => return None,
        Tree::Scalar(Value::Bool(_)) => "a boolean",
        Tree::Scalar(Value::Number(_)) => "a number",
        Tree::Scalar(_) => "a string",
        Tree::List(_) => "a list",
        Tree::Map(_) => "an object",
    };
    let whole = |value: &Value| value.as_i64().is_some() || value.as_u64().is_some();
    let expected = match (wanted, &node.tree) {
        (Text | TextOrWhole, Tree::Scalar(Value::String(_))) | (Truth, Tree::Scalar(Value::Bool(_))) => return None,
        (Whole | TextOrWhole, Tree::Scalar(value)) if whole(value) => return None,
        (List(item), Tree::List(items)) => {
            let mut items = items.iter().enumerate();
            return items.find_map(|(index, one)| mistyped(one, item, &format!("{path}[{index}]")));
        }
        (Object(members), Tree::Map(_)) => {
            return members.iter().find_map(|(name, of)| {
                let path = if path.is_empty() { (*name).to_owned() } else { format!("{path}.{name}") };
                mistyped(&node.get(name)?.node, of, &path)
            });
        }
        (Texts, Tree::Map(members)) => {
            return members.iter().find_map(|one| mistyped(&one.node, &Text, &format!("{path}.{}", one.name)));
        }
        (Text, _) => "a string",
        (Truth, _) => "a boolean",
        (Whole, _) => "an integer",
        (TextOrWhole, _) => "a string or an integer",
        (List(_), _) => "a list",
        (Object(_) | Texts, _) => "an object",
    };
    Some(Refusal::new(node.line, format!("{path} is {what}; expected {expected}")))
}

/// The rules of the API (pkg/apis/core/validation, ValidatePodCreate) for names, volumes and mounts.
fn invalid(pod: &Node) -> Result<(), Refusal> {
    let metadata = pod.get("metadata").map(|member| &member.node);
    let name = metadata.and_then(|node| text(node, "name")).unwrap_or_default();
    let at = |node: &Node, name: &str| node.get(name).map_or(node.line, |member| member.line);
    if !is_name(name, true) {
        let line = metadata.map_or(pod.line, |node| at(node, "name"));
        return Err(Refusal::new(line, "metadata.name is missing or not a valid name"));
    }
    let Some(spec) = pod.get("spec").map(|member| &member.node) else {
        return Err(Refusal::new(pod.line, "it has no spec"));
    };
    let mut volumes = BTreeSet::new();
    for volume in list(spec, "volumes") {
        let name = text(volume, "name").unwrap_or_default();
        if !is_name(name, false) || !volumes.insert(name) {
            return Err(Refusal::new(at(volume, "name"), "the name of a volume is missing, not valid or used twice"));
        }
        let Some(path) = volume.get("hostPath").map(|member| &member.node) else { continue };
        let place = text(path, "path").unwrap_or_default();
        if place.is_empty() || steps_back(place) {
            return Err(Refusal::new(at(path, "path"), format!("the hostPath of volume {name} is empty or has '..'")));
        }
    }
    let containers = list(spec, "containers");
    if containers.is_empty() {
        return Err(Refusal::new(at(spec, "containers"), "it has no containers"));
    }
    let mut names = BTreeSet::new();
    for container in containers.iter().chain(list(spec, "initContainers")) {
        let name = text(container, "name").unwrap_or_default();
        if !is_name(name, false) || !names.insert(name) {
            let why = "the name of a container is missing, not valid or used twice";
            return Err(Refusal::new(at(container, "name"), why));
        }
        if text(container, "image").is_none_or(|image| image.trim().is_empty()) {
            return Err(Refusal::new(at(container, "image"), format!("container {name} has no image")));
        }
        let mut places = BTreeSet::new();
        for mount in list(container, "volumeMounts") {
            let (volume, place) =
                (text(mount, "name").unwrap_or_default(), text(mount, "mountPath").unwrap_or_default());
            let (below, expanded) = (text(mount, "subPath").unwrap_or_default(), text(mount, "subPathExpr"));
            let why = if !volumes.contains(volume) {
                format!("container {name} mounts volume '{volume}', which the pod does not have")
            } else if place.is_empty() || !places.insert(place) {
                format!("the mountPath of volume {volume} is empty or used twice")
            } else if below.starts_with('/') || steps_back(below) {
                format!("the subPath of volume {volume} is absolute or has '..'")
            } else if !below.is_empty() && expanded.is_some_and(|path| !path.is_empty()) {
                format!("the mount of volume {volume} has a subPath and a subPathExpr")
            } else {
                continue;
            };
            return Err(Refusal::new(mount.line, why));
        }
    }
    Ok(())
}

fn steps_back(path: &str) -> bool {
    path.split('/').any(|part| part == "..")
}

/// A DNS label, or, with dots, a DNS subdomain (RFC 1123).
fn is_name(name: &str, dots: bool) -> bool {
    let plain = |one: u8| one.is_ascii_lowercase() || one.is_ascii_digit();
    let label = |label: &str| {
        let bytes = label.as_bytes();
        bytes.first().is_some_and(|one| plain(*one))
            && bytes.last().is_some_and(|one| plain(*one))
            && bytes.iter().all(|one| plain(*one) || *one == b'-')
    };
    if dots { name.len() <= 253 && name.split('.').all(label) } else { name.len() <= 63 && label(name) }
}

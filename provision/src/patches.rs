//! kubeadm's patches: files `TARGET[SUFFIX][+TYPE].yaml` (or `.json`) that change a static pod or the kubelet's
//! configuration before it is written.
//!
//! The types are `strategic` (the default), `merge` (RFC 7386) and `json` (RFC 6902). A strategic patch merges the
//! lists of a pod whose elements have a key (containers by name, ports by number …) and takes any other list as a
//! whole, as `k8s.io/apimachinery/pkg/util/strategicpatch` does; a test compares with what the real kubeadm makes of
//! the same files. The directives `$setElementOrder` and `$deleteFromPrimitiveList`, which people do not write, are
//! refused by name.

use std::path::Path;

use serde_json::{Map, Value};

/// What can be patched, by the name that patches have for it.
pub const TARGETS: [&str; 7] = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubeletconfiguration",
    "corednsdeployment",
    "kubeproxydaemonset",
];

/// The lists of a pod whose elements are merged, with the field that tells elements apart: `patchMergeKey` in
/// k8s.io/api.
const KEYS: [(&str, &str); 15] = [
    ("containers", "name"),
    ("initContainers", "name"),
    ("ephemeralContainers", "name"),
    ("volumes", "name"),
    ("env", "name"),
    ("imagePullSecrets", "name"),
    ("schedulingGates", "name"),
    ("resourceClaims", "name"),
    ("ports", "containerPort"),
    ("volumeMounts", "mountPath"),
    ("volumeDevices", "devicePath"),
    ("hostAliases", "ip"),
    ("topologySpreadConstraints", "topologyKey"),
    ("ownerReferences", "uid"),
    ("conditions", "type"),
];

/// How a patch is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Strategic,
    Merge,
    Json,
}

const KINDS: [(&str, Kind); 3] = [("json", Kind::Json), ("merge", Kind::Merge), ("strategic", Kind::Strategic)];

/// Why patches cannot be read or applied.
#[derive(Debug, thiserror::Error)]
pub enum PatchError {
    /// A folder or a file cannot be read.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: String,
        /// What the file system said.
        source: std::io::Error,
    },
    /// A file cannot be a patch.
    #[error("the patch {file} cannot be used: {why}")]
    Unfit {
        /// The file's name.
        file: String,
        /// Why.
        why: String,
    },
}

fn unfit(file: &str, why: impl Into<String>) -> PatchError {
    PatchError::Unfit { file: file.to_owned(), why: why.into() }
}

#[derive(Debug, Clone, PartialEq)]
struct Patch {
    file: String,
    target: &'static str,
    kind: Kind,
    content: Value,
}

/// The patches of a folder.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Patches {
    patches: Vec<Patch>,
    /// Files that are no patches, since their names are not of that form.
    pub ignored: Vec<String>,
}

impl Patches {
    /// Reads a folder's patches. They are applied in the order of their files' names.
    ///
    /// # Errors
    /// [`PatchError`] names the file.
    pub fn read(folder: &Path) -> Result<Self, PatchError> {
        let failed = |path: &Path, source| PatchError::File { path: path.display().to_string(), source };
        let mut files = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(|error| failed(folder, error))? {
            let path = entry.map_err(|error| failed(folder, error))?.path();
            if path.is_file() {
                files.push(path);
            }
        }
        files.sort();
        let mut all = Self::default();
        for path in files {
            let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let Some((target, kind)) = named(&file)? else {
                all.ignored.push(file);
                continue;
            };
            let text = std::fs::read_to_string(&path).map_err(|error| failed(&path, error))?;
            let contents: Vec<Value> =
                serde_saphyr::from_multiple(&text).map_err(|error| unfit(&file, error.to_string()))?;
            for content in contents.into_iter().filter(|content| !content.is_null()) {
                all.patches.push(Patch { file: file.clone(), target, kind, content });
            }
        }
        Ok(all)
    }

    /// A target with its patches applied.
    ///
    /// # Errors
    /// [`PatchError::Unfit`] names the patch that does not fit the target.
    pub fn apply(&self, target: &str, mut value: Value) -> Result<Value, PatchError> {
        let keys = if target == "kubeletconfiguration" { &[][..] } else { &KEYS };
        for patch in self.patches.iter().filter(|patch| patch.target == target) {
            let failed = |why: String| unfit(&patch.file, why);
            match patch.kind {
                Kind::Merge => json_patch::merge(&mut value, &patch.content),
                Kind::Json => {
                    let operations: json_patch::Patch = serde_json::from_value(patch.content.clone())
                        .map_err(|error| failed(format!("it is no JSON patch: {error}")))?;
                    json_patch::patch(&mut value, &operations).map_err(|error| failed(error.to_string()))?;
                }
                Kind::Strategic => value = merge(value, patch.content.clone(), keys).map_err(failed)?,
            }
        }
        Ok(value)
    }
}

/// Target and type of a file, by its name; `None` if it is no patch.
fn named(file: &str) -> Result<Option<(&'static str, Kind)>, PatchError> {
    let Some((stem, "yaml" | "json")) = file.rsplit_once('.') else { return Ok(None) };
    let Some(target) = TARGETS.into_iter().find(|target| stem.starts_with(target)) else { return Ok(None) };
    let kind = match stem.split('.').next().and_then(|stem| stem.split_once('+')) {
        None => Kind::Strategic,
        Some((_, text)) => KINDS
            .iter()
            .find(|(name, _)| text == *name)
            .map(|(_, kind)| *kind)
            .ok_or_else(|| unfit(file, "what follows '+' is none of json, merge and strategic"))?,
    };
    Ok(Some((target, kind)))
}

/// An object with fields merged into it, as by a strategic patch.
pub(crate) fn merged(object: Value, fields: Value) -> Result<Value, String> {
    merge(object, fields, &KEYS)
}

/// The name of a list's key field.
type Keys<'a> = &'a [(&'static str, &'static str)];

/// A strategic merge of a map.
fn merge(original: Value, patch: Value, keys: Keys<'_>) -> Result<Value, String> {
    let (mut original, mut patch) = match (original, patch) {
        (Value::Object(original), Value::Object(patch)) => (original, patch),
        (_, patch) => return Ok(without_nulls(patch)),
    };
    match patch.remove("$patch") {
        None => {}
        Some(directive) if directive == "replace" => return Ok(patch.into()),
        Some(directive) if directive == "delete" => return Ok(Map::new().into()),
        Some(directive) => return Err(format!("$patch: {directive} is neither replace nor delete")),
    }
    if let Some(retained) = patch.remove("$retainKeys") {
        let retained = retained.as_array().cloned().ok_or("$retainKeys is no list of names")?;
        original.retain(|key, _| retained.iter().any(|name| name == key));
    }
    for (field, value) in patch {
        if let Some(directive) =
            ["$setElementOrder/", "$deleteFromPrimitiveList/"].iter().find(|one| field.starts_with(*one))
        {
            return Err(format!(
                "{directive} is not supported: write the list's elements, with $patch: delete where need be"
            ));
        }
        if value.is_null() {
            original.shift_remove(&field);
            continue;
        }
        let merged = match (original.get_mut(&field).map(Value::take), value) {
            (Some(Value::Object(old)), value @ Value::Object(_)) => merge(old.into(), value, keys)?,
            (Some(Value::Array(old)), Value::Array(new)) => match keys.iter().find(|(list, _)| *list == field) {
                Some((_, key)) => merge_list(old, new, key, keys)?.into(),
                None => new.into(),
            },
            (_, value) => without_nulls(value),
        };
        original.insert(field, merged);
    }
    Ok(original.into())
}

/// A strategic merge of a list whose elements have a key.
fn merge_list(mut old: Vec<Value>, new: Vec<Value>, key: &str, keys: Keys<'_>) -> Result<Vec<Value>, String> {
    let mut patches = Vec::new();
    let mut replace = false;
    for mut element in new {
        let directive = element.as_object_mut().ok_or_else(|| format!("an element has no '{key}'"))?.remove("$patch");
        match directive.as_ref().map(|directive| directive.as_str().unwrap_or_default()) {
            Some("replace") => {
                replace = true;
                continue;
            }
            Some("delete") | None => {}
            Some(other) => return Err(format!("$patch: {other} is neither replace nor delete")),
        }
        let Some(of) = element.get(key).cloned() else { return Err(format!("an element has no '{key}'")) };
        if directive.is_some() {
            old.retain(|other| other.get(key) != Some(&of));
        } else {
            patches.push((of, element));
        }
    }
    if replace {
        return Ok(patches.into_iter().map(|(_, element)| without_nulls(element)).collect());
    }
    // An element that is not patched comes before those that are if it stood before the next of them; a new one waits
    // for none.
    let place = |of: &Value| old.iter().position(|other| other.get(key) == Some(of));
    let mut untouched =
        (0..old.len()).filter(|index| !patches.iter().any(|(of, _)| place(of) == Some(*index))).peekable();
    let mut merged = Vec::new();
    for (of, element) in &patches {
        let place = place(of);
        while let (Some(index), Some(place)) = (untouched.peek(), place)
            && *index < place
        {
            merged.push(old[*index].clone());
            untouched.next();
        }
        merged.push(match place {
            Some(place) => merge(old[place].clone(), element.clone(), keys)?,
            None => without_nulls(element.clone()),
        });
    }
    merged.extend(untouched.map(|index| old[index].clone()));
    Ok(merged)
}

/// What a patch adds: a null in it says that there is to be nothing.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.into_iter().filter(|(field, value)| !value.is_null() && !field.starts_with('$'));
            kept.map(|(field, value)| (field, without_nulls(value))).collect()
        }
        Value::Array(list) => list.into_iter().map(without_nulls).collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_say_target_and_type() {
        let of = |file: &str| named(file).unwrap();
        assert_eq!(of("etcd.yaml"), Some(("etcd", Kind::Strategic)));
        assert_eq!(of("kube-apiserver0+json.json"), Some(("kube-apiserver", Kind::Json)));
        assert_eq!(of("kubeletconfiguration-more+merge.yaml"), Some(("kubeletconfiguration", Kind::Merge)));
        assert_eq!(of("kube-scheduler+strategic.yaml"), Some(("kube-scheduler", Kind::Strategic)));
        for other in ["README.md", "apiserver.yaml", "etcd", "etcd.yml"] {
            assert_eq!(of(other), None, "{other}");
        }
        let why = named("etcd+xml.yaml").unwrap_err().to_string();
        assert!(why.contains("etcd+xml.yaml") && why.contains("none of json, merge and strategic"), "{why}");
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let why = |name: &str, content: &str| {
            std::fs::write(folder.path().join(name), content).unwrap();
            let read = Patches::read(folder.path());
            let error = read.and_then(|patches| patches.apply("etcd", json!({ "spec": {} }))).unwrap_err().to_string();
            std::fs::remove_file(folder.path().join(name)).unwrap();
            error
        };
        assert!(why("etcd+json.yaml", "spec: {}").contains("etcd+json.yaml cannot be used: it is no JSON patch"));
        assert!(why("etcd+json.yaml", "[{op: remove, path: /none}]").contains("etcd+json.yaml"));
        assert!(why("etcd.yaml", "spec: [").contains("etcd.yaml"));
        assert!(why("etcd.yaml", "$setElementOrder/containers: []").contains("$setElementOrder/ is not supported"));
        assert!(Patches::read(&folder.path().join("none")).unwrap_err().to_string().contains("/none: "));
    }

    #[test]
    fn lists_without_keys_are_taken_whole() {
        let patched = |keys, patch| merge(json!({ "env": [{ "name": "a" }], "b": 1 }), patch, keys).unwrap();
        let patch = json!({ "env": [{ "name": "c" }], "b": null });
        assert_eq!(patched(&[][..], patch.clone()), json!({ "env": [{ "name": "c" }] }));
        assert_eq!(patched(&KEYS[..], patch), json!({ "env": [{ "name": "c" }, { "name": "a" }] }));
        let patch = json!({ "env": [{ "name": "a", "$patch": "delete" }, { "name": "d", "value": null }] });
        assert_eq!(patched(&KEYS[..], patch), json!({ "env": [{ "name": "d" }], "b": 1 }));
    }
}

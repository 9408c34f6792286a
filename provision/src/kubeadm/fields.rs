//! The fields of the documents, as kubeadm's own types have them, and strict decoding by them.
//!
//! `fields.txt` is printed from the source of Kubernetes 1.23 to 1.37: apiVersion, path, type, and the minor versions
//! that have the field. To renew it: `go run provision/tests/kubeadm/fields/main.go >
//! provision/src/kubeadm/fields.txt`.
//!
//! What fails here is what `kubeadm config validate` calls an error while it decodes: an unknown member, a value of
//! another type.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde_json::{Map, Value};

use super::yaml::{Node, Tree};
use super::{BadConfiguration, parse};

static LIST: &str = include_str!("fields.txt");

/// The group of kubeadm's own kinds.
pub(super) const KUBEADM: &str = "kubeadm.k8s.io";

/// A field of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// The document's apiVersion.
    pub api_version: &'static str,
    /// Kind and path: `ClusterConfiguration.apiServer.extraArgs[].name`; `[]` stands for an item, `{}` for a value of a
    /// map.
    pub path: &'static str,
    /// What it holds.
    pub kind: &'static str,
    /// First minor version of Kubernetes that has it.
    pub first: u32,
    /// Last minor version that has it, of those that are known.
    pub last: u32,
}

/// All fields, in the order of the list.
#[must_use]
pub fn all() -> &'static [Field] {
    static ALL: OnceLock<Vec<Field>> = OnceLock::new();
    ALL.get_or_init(|| {
        let field = |line: &'static str| {
            let mut words = line.split(' ');
            let mut word = || words.next().unwrap_or_default();
            let (api_version, path, kind) = (word(), word(), word());
            let mut number = || word().parse().unwrap_or_default();
            Field { api_version, path, kind, first: number(), last: number() }
        };
        LIST.lines().map(field).collect()
    })
}

type Index = BTreeMap<(&'static str, &'static str), Vec<&'static Field>>;

fn index() -> &'static Index {
    static INDEX: OnceLock<Index> = OnceLock::new();
    INDEX.get_or_init(|| {
        let mut index = Index::new();
        for field in all() {
            index.entry((field.api_version, field.path)).or_default().push(field);
        }
        index
    })
}

/// The last minor version that the list knows.
pub(super) fn newest() -> u32 {
    all().iter().map(|field| field.last).max().unwrap_or_default()
}

/// Does a map from names to values stand at this path?
pub(super) fn is_map(api_version: &str, path: &str) -> bool {
    index().get(&(api_version, path) as &(&str, &str)).is_some_and(|fields| fields[0].kind == "map")
}

/// The minor versions of Kubernetes whose kubeadm reads this kind in this version: none where it is unknown.
pub(super) fn versions(api_version: &str, kind: &str) -> Option<(u32, u32)> {
    let of = all().iter().filter(|field| {
        field.api_version == api_version && field.path.strip_prefix(kind).is_some_and(|rest| rest == ".kind")
    });
    of.fold(None, |all: Option<(u32, u32)>, field| {
        let (first, last) = all.unwrap_or((field.first, field.last));
        Some((first.min(field.first), last.max(field.last)))
    })
}

/// Decodes a document strictly, and gives it as JSON without what means nothing to kubeadm: nulls, and in its own kinds
/// empty texts and zeros.
pub(super) fn decode(document: &Node, api_version: &str, kind: &str, minor: u32) -> Result<Value, BadConfiguration> {
    let Tree::Map(members) = &document.value else {
        let why = format!("a {kind} is a mapping, not {}", document.value.kind());
        return Err(BadConfiguration::Syntax { line: document.line, why });
    };
    // Versions that the list does not know yet are taken for the newest that it knows.
    let decoder = Decoder { api_version, kind, minor: minor.min(newest()), own: api_version.starts_with(KUBEADM) };
    decoder.members(members, kind).map(Value::Object)
}

struct Decoder<'a> {
    api_version: &'a str,
    kind: &'a str,
    minor: u32,
    own: bool,
}

impl Decoder<'_> {
    fn bad(&self, line: u32, path: &str, why: String) -> BadConfiguration {
        // kubeadm's own fields are told by their paths, as kubeadm does; the others' with their kind.
        let short = path.strip_prefix(self.kind).and_then(|rest| rest.strip_prefix('.'));
        let field = short.filter(|_| self.own).unwrap_or(path);
        BadConfiguration::Value { line: Some(line), field: field.to_owned(), why }
    }

    /// The field at a path of the list, in this version.
    fn field(&self, schema: &str) -> Option<&'static Field> {
        let found = index().get(&(self.api_version, schema) as &(&str, &str))?;
        found.iter().copied().find(|field| (field.first..=field.last).contains(&self.minor))
    }

    fn members(
        &self,
        members: &[(super::yaml::Key, Node)],
        schema: &str,
    ) -> Result<Map<String, Value>, BadConfiguration> {
        self.members_at(members, schema, schema)
    }

    fn members_at(
        &self,
        members: &[(super::yaml::Key, Node)],
        schema: &str,
        path: &str,
    ) -> Result<Map<String, Value>, BadConfiguration> {
        let mut all = Map::new();
        for (key, node) in members {
            let (schema, path) = (format!("{schema}.{}", key.name), format!("{path}.{}", key.name));
            let Some(field) = self.field(&schema) else { return Err(self.bad(key.line, &path, self.unknown(&schema))) };
            let value = self.value(node, field, &schema, &path)?;
            let empty = match &value {
                Value::Null => true,
                Value::String(text) => self.own && text.is_empty(),
                Value::Number(number) => self.own && number.as_i64() == Some(0),
                _ => false,
            };
            if !empty {
                all.insert(key.name.clone(), value);
            }
        }
        Ok(all)
    }

    /// Why a member is unknown: which other versions have it.
    fn unknown(&self, schema: &str) -> String {
        let version = self.api_version.rsplit('/').next().unwrap_or_default();
        if let Some(others) = index().get(&(self.api_version, schema) as &(&str, &str)) {
            let (first, last) = (others[0].first, others[others.len() - 1].last);
            let known = if last < newest() {
                format!("1.{first} to 1.{last} have it")
            } else {
                format!("it came with 1.{first}")
            };
            return format!("Kubernetes 1.{} has no such field: {known}", self.minor);
        }
        let other = index().keys().find(|(other, path)| *path == schema && *other != self.api_version);
        let other = other.and_then(|(other, _)| other.rsplit('/').next());
        match other {
            Some(other) => format!("{version} has no such field: it is of {other}"),
            None => format!("{version} has no such field"),
        }
    }

    fn value(&self, node: &Node, field: &Field, schema: &str, path: &str) -> Result<Value, BadConfiguration> {
        let wants = |what: &str| {
            let form = self.form(schema).map(|form| format!(" of {form}")).unwrap_or_default();
            Err(self.bad(node.line, path, format!("it must be {what}{form}, not {}", node.value.kind())))
        };
        let leaf = |read: Result<(), String>| match read {
            Ok(()) => Ok(()),
            Err(why) => Err(self.bad(node.line, path, why)),
        };
        match (field.kind, &node.value) {
            // A value that reads itself is given null, too; a duration takes it for a text.
            ("duration!", Tree::Null) => wants("a duration as 4m0s"),
            (_, Tree::Null) => Ok(Value::Null),
            ("object", Tree::Map(members)) => self.members_at(members, schema, path).map(Value::Object),
            ("object", _) => wants("a mapping"),
            ("list", Tree::List(items)) => {
                let inner = format!("{schema}[]");
                let Some(item) = self.field(&inner) else { return Ok(Value::Null) };
                let read = |(at, node): (usize, &Node)| {
                    let value = self.value(node, item, &inner, &format!("{path}[{at}]"))?;
                    // Null is the empty item.
                    Ok(match (value, item.kind) {
                        (Value::Null, "object" | "map") => Value::Object(Map::new()),
                        (Value::Null, "string") => "".into(),
                        (value, _) => value,
                    })
                };
                items.iter().enumerate().map(read).collect::<Result<Vec<_>, _>>().map(Value::Array)
            }
            ("list", _) => wants("a list"),
            ("map", Tree::Map(members)) => {
                let inner = format!("{schema}{{}}");
                let Some(item) = self.field(&inner) else { return Ok(Value::Null) };
                let read = |(key, node): &(super::yaml::Key, Node)| {
                    let value = self.value(node, item, &inner, &format!("{path}.{}", key.name))?;
                    let value = match (value, item.kind) {
                        (Value::Null, "string") => "".into(),
                        (Value::Null, "bool") => false.into(),
                        (value, _) => value,
                    };
                    Ok((key.name.clone(), value))
                };
                members.iter().map(read).collect::<Result<Map<_, _>, _>>().map(Value::Object)
            }
            ("map", _) => wants("a mapping"),
            ("string", Tree::Text(text)) => Ok(text.as_str().into()),
            ("string", Tree::Bool(_) | Tree::Int(_) | Tree::Float(_)) => {
                let why = format!("it must be a string, not {}: put it in quotes", node.value.kind());
                Err(self.bad(node.line, path, why))
            }
            ("string", _) => wants("a string"),
            ("bool", Tree::Bool(value)) => Ok((*value).into()),
            ("bool", _) => wants("true or false"),
            ("int" | "int32" | "int64" | "uint32", Tree::Int(_) | Tree::Float(_)) => {
                let number = whole(&node.value).filter(|number| in_range(*number, field.kind));
                let why = || self.bad(node.line, path, "it must be a whole number within its range".to_owned());
                let number = number.and_then(|number| i64::try_from(number).ok()).ok_or_else(why)?;
                Ok(number.into())
            }
            ("int" | "int32" | "int64" | "uint32", _) => wants("a whole number"),
            ("float32" | "float64", Tree::Int(number)) => Ok((*number as f64).into()),
            ("float32" | "float64", Tree::Float(number)) => Ok((*number).into()),
            ("float32" | "float64", _) => wants("a number"),
            ("duration" | "duration!" | "nanoseconds!", Tree::Text(text)) => {
                leaf(parse::duration(text).map(drop))?;
                Ok(text.as_str().into())
            }
            ("nanoseconds!", Tree::Int(number)) => match i64::try_from(*number) {
                Ok(number) => Ok(number.into()),
                Err(_) => wants("a duration as 5s"),
            },
            ("duration" | "duration!" | "nanoseconds!", _) => wants("a duration as 4m0s"),
            ("time", Tree::Text(text)) => {
                leaf(parse::time(text).map(drop))?;
                Ok(text.as_str().into())
            }
            ("time", _) => wants("a time as 2026-01-31T00:00:00Z"),
            ("quantity" | "quantity!", Tree::Text(text)) => {
                leaf(parse::quantity(text))?;
                Ok(text.as_str().into())
            }
            ("quantity" | "quantity!", Tree::Int(number)) => Ok(number.to_string().into()),
            ("quantity" | "quantity!", Tree::Float(number)) => Ok(number.to_string().into()),
            ("quantity" | "quantity!", _) => wants("a quantity as 512Mi"),
            ("token", Tree::Text(text)) => {
                leaf(text.parse::<crate::bootstrap::Token>().map(drop).map_err(|error| error.to_string()))?;
                Ok(text.as_str().into())
            }
            ("token", _) => Err(self.bad(node.line, path, crate::bootstrap::BadToken.to_string())),
            (kind, _) => Err(self.bad(node.line, path, format!("a field of the kind {kind} is not read"))),
        }
    }

    /// What a list or map of flags holds, which is where v1beta3 and v1beta4 differ.
    fn form(&self, schema: &str) -> Option<&'static str> {
        let flags = schema.ends_with("xtraArgs");
        match (flags, self.field(&format!("{schema}[]")).is_some()) {
            (true, true) => Some("name and value"),
            (true, false) => Some("flags to values"),
            _ => None,
        }
    }
}

/// The whole number that a value is, as JSON has it: 1e3 is one.
fn whole(value: &Tree) -> Option<i128> {
    match value {
        Tree::Int(number) => Some(*number),
        #[allow(clippy::cast_possible_truncation, reason = "it is whole and below 10^21")]
        Tree::Float(number) if number.fract() == 0.0 && number.abs() < 1e21 => Some(*number as i128),
        _ => None,
    }
}

fn in_range(number: i128, kind: &str) -> bool {
    match kind {
        "int32" => i32::try_from(number).is_ok(),
        "uint32" => u32::try_from(number).is_ok(),
        _ => i64::try_from(number).is_ok(),
    }
}

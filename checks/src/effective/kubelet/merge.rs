//! How the kubelet lays a file over its defaults, drop-ins over that, and what it says itself over all.

use serde_json::Value;

use super::{defaults, duration, tables};
use crate::effective::yaml::{Member, Node, Tree};
use crate::effective::{Origin, Setting, Settings};

/// The members of the base file whose relative paths begin at its folder.
const PATHS: [&[&str]; 7] = [
    &["staticPodPath"],
    &["authentication", "x509", "clientCAFile"],
    &["tlsCertFile"],
    &["tlsPrivateKeyFile"],
    &["resolvConf"],
    &["volumePluginDir"],
    &["podLogsDir"],
];

/// Takes over what a kubelet says; where it says what its files and flags say, these stay the source.
pub(super) fn answered(settings: &mut Settings, node: &str, said: &Value) {
    let mut own = Settings::default();
    own.merge(said.clone(), |_| Origin::Answer(format!("/configz of node {node}")));
    for name in ["kind", "apiVersion"] {
        own.remove(&[name]);
    }
    for (path, setting) in settings.iter() {
        let names: Vec<&str> = path.iter().map(String::as_str).collect();
        match own.get(&names).map(|answer| answer.value == setting.value) {
            Some(true) => own.set(&names, setting.value.clone(), setting.origin.clone()),
            // What is zero it does not say.
            None if defaults::is_zero(setting.value) => {
                own.set(&names, setting.value.clone(), setting.origin.clone());
            }
            _ => {}
        }
    }
    *settings = own;
}

pub(super) fn location(path: &str, line: u32) -> Origin {
    Origin::file(path, Some(line))
}

/// A value as the kubelet holds it: durations in Go's form, headers without what may be a secret.
pub(super) fn canonical(pattern: &str, value: Value) -> Value {
    let kind = tables::releases_of_member(pattern).last().map_or("", |row| row.kind.trim_end_matches('?'));
    match (&value, kind) {
        (Value::String(text), "duration" | "nanoseconds-or-duration") => {
            duration::parse(text).map_or(value.clone(), |nanoseconds| duration::show(nanoseconds).into())
        }
        (Value::Number(number), "nanoseconds-or-duration" | "int64") if pattern == "logging.flushFrequency" => {
            number.as_i64().map_or(value.clone(), |nanoseconds| duration::show(nanoseconds).into())
        }
        _ if pattern == "staticPodURLHeader" => "[redacted]".into(),
        _ => value,
    }
}

/// Sets the members of the base file.
pub(super) fn put(settings: &mut Settings, path: &str, node: &Node, minor: u32) {
    let mut names = Vec::new();
    leaves(node, &mut names, &mut |names, member| {
        let entry = names.len() > 1 && tables::releases_of_member(names[0]).iter().any(|row| row.kind == "map");
        let value = match member.node.value() {
            // Go leaves an entry of a map that is null at its zero value.
            Value::Null if entry => "".into(),
            value => canonical(&names.join("."), value),
        };
        if !value.is_null() && tables::is_known(names, minor) {
            settings.set(names, value, location(path, member.line));
        }
    });
}

/// Calls a function for every member that is no map, and for empty maps; of members that are there twice, for each.
pub(super) fn leaves<'n>(node: &'n Node, names: &mut Vec<&'n str>, each: &mut dyn FnMut(&[&str], &Member)) {
    let Tree::Map(members) = &node.tree else { return };
    for member in members {
        if names.is_empty() && matches!(&*member.name, "kind" | "apiVersion") {
            continue;
        }
        names.push(&member.name);
        match &member.node.tree {
            Tree::Map(inner) if !inner.is_empty() && names.join(".") != "staticPodURLHeader" => {
                leaves(&member.node, names, each);
            }
            _ => each(names, member),
        }
        names.pop();
    }
}

/// Merges a drop-in as RFC 7396 has it: `null` removes.
pub(super) fn patch(settings: &mut Settings, path: &str, node: &Node, minor: u32) {
    leaves(node, &mut Vec::new(), &mut |names, member| {
        let spelled = respell(settings, names);
        let names: Vec<&str> = spelled.iter().map(String::as_str).collect();
        if tables::is_known(&names, minor) {
            merge_leaf(settings, path, &names, member);
        }
    });
}

/// What merges is read by encoding/json, to which names in another case are the same where none is spelled right.
pub(super) fn respell(settings: &Settings, names: &[&str]) -> Vec<String> {
    let own: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    if !tables::releases_of_member(&own.join(".")).is_empty() {
        return own;
    }
    match tables::spelled(&own.join(".")) {
        Some(name) => {
            let spelled: Vec<String> = name.split('.').map(str::to_owned).collect();
            // A zero that is nobody's is not in what is merged.
            let is_set = |setting: &Setting<'_>| {
                let empty = setting.value.as_array().is_some_and(Vec::is_empty);
                !matches!(setting.origin, Origin::Default(_)) || !defaults::is_zero(setting.value) && !empty
            };
            let names: Vec<&str> = spelled.iter().map(String::as_str).collect();
            let taken = settings.below(&names).any(|(_, setting)| is_set(&setting));
            if taken { own } else { spelled }
        }
        None => own,
    }
}

pub(super) fn merge_leaf(settings: &mut Settings, path: &str, names: &[&str], member: &Member) {
    match member.node.value() {
        Value::Null => settings.remove(names),
        Value::Object(empty) if empty.is_empty() && settings.below(names).next().is_some() => {}
        value => settings.set(names, canonical(&names.join("."), value), location(path, member.line)),
    }
}

/// How 1.28 merges a drop-in: with its own defaults filled in, each value that is not zero wins.
pub(super) fn overlay(settings: &mut Settings, path: &str, node: &Node, minor: u32) {
    let mut own = Settings::default();
    put(&mut own, path, node, minor);
    defaults::forget_zeros(&mut own, minor, false);
    absolute(&mut own, path);
    defaults::fill(&mut own, minor);
    defaults::eviction(&mut own, minor, false);
    for (name, setting) in own.iter() {
        let empty = setting.value.as_array().is_some_and(Vec::is_empty);
        if !defaults::is_zero(setting.value) && !empty {
            let name: Vec<&str> = name.iter().map(String::as_str).collect();
            let origin = match setting.origin {
                Origin::Default(of) => Origin::Default(format!("{of}, which {path} brings in")),
                other => other.clone(),
            };
            settings.set(&name, setting.value.clone(), origin);
        }
    }
}

/// Relative paths of a file begin at its folder.
pub(super) fn absolute(settings: &mut Settings, path: &str) {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    for member in PATHS {
        let Some(setting) = settings.get(member) else { continue };
        let Some(text) = setting.value.as_str().filter(|text| !text.is_empty() && !text.starts_with('/')) else {
            continue;
        };
        let text = text.strip_prefix("./").unwrap_or(text);
        let (value, origin) = (Value::from(format!("{folder}/{text}")), setting.origin.clone());
        settings.set(member, value, origin);
    }
}

//! What a component really runs with: its defaults, files, drop-ins, environment and flags merged as the component
//! merges them, each value with its origin.
//!
//! Judges never read a single file of a component. They ask the [`Settings`] of this module, and findings print the
//! [`Origin`] of the value that they are about. `seaworthy explain --effective` prints all of them.

pub mod cni;
pub mod containerd;
pub mod crio;
pub mod docker;
pub mod kubelet;
pub mod systemd;
mod toml;
pub mod yaml;

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use crate::conclusion::{Breach, Location};
use crate::host::Host;

pub use cni::Cni;

/// What a component runs with, for a reader.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Explained {
    /// How this was found out: labels and values.
    pub head: Vec<(String, String)>,
    /// The merged configuration.
    pub settings: Settings,
    /// Why the component does not start with it.
    pub ends: Vec<String>,
    /// What the component ignores.
    pub warns: Vec<String>,
    /// What could not be read: the settings may not be all.
    pub unread: Vec<String>,
}

/// Explains what a component of a host runs with.
pub type Explain = fn(&dyn Host) -> Explained;

/// The components that can be explained, by name.
pub const COMPONENTS: &[(&str, Explain)] =
    &[("kubelet", kubelet::explain), ("containerd", containerd::explain), ("crio", crio::explain)];

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The component's default: its name and version, such as `kubelet 1.37`.
    Default(String),
    /// A configuration file or one of its drop-ins, and the line that sets the value.
    File(Location),
    /// A command-line flag, and the place that passes it: a unit, an environment file or a running process.
    Flag {
        /// The flag, with its dashes.
        flag: String,
        /// The file and line that hold it; `None` for the arguments of a running process.
        at: Option<Location>,
    },
    /// An answer of the running component, such as `/configz` or the CRI's RuntimeConfig.
    Answer(String),
}

impl Origin {
    /// A file, and the line that sets the value.
    pub fn file(path: impl Into<String>, line: Option<u32>) -> Self {
        Self::File(Location { path: path.into(), line })
    }

    /// The place in a file, if the value comes from one.
    #[must_use]
    pub fn location(&self) -> Option<&Location> {
        match self {
            Self::File(at) | Self::Flag { at: Some(at), .. } => Some(at),
            Self::Default(_) | Self::Flag { at: None, .. } | Self::Answer(_) => None,
        }
    }

    /// Adds this origin's place to a breach.
    #[must_use]
    pub fn place(&self, breach: Breach) -> Breach {
        match self.location() {
            Some(at) => breach.at(&at.path, at.line),
            None => breach,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = |f: &mut fmt::Formatter<'_>, at: &Location| match at.line {
            Some(line) => write!(f, "{}:{line}", at.path),
            None => f.write_str(&at.path),
        };
        match self {
            Self::Default(component) => write!(f, "default of {component}"),
            Self::File(at) => place(f, at),
            Self::Flag { flag, at: Some(at) } => {
                write!(f, "{flag} in ")?;
                place(f, at)
            }
            Self::Flag { flag, at: None } => write!(f, "{flag} of the running process"),
            Self::Answer(asked) => f.write_str(asked),
        }
    }
}

/// A value that is in effect, and where it comes from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Setting<'s> {
    /// The value.
    pub value: &'s Value,
    /// Where it comes from.
    pub origin: &'s Origin,
}

/// The merged configuration of a component. Members are named by their path, such as `["authentication", "anonymous",
/// "enabled"]`; members of containerd's plug-ins have dots in their names.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Settings {
    leaves: BTreeMap<Vec<String>, (Value, Origin)>,
}

impl Settings {
    /// Sets a member. A table is taken apart into its members, so that each keeps its own origin; what is not a table,
    /// and an empty table, replaces all that was set at and below the path.
    pub fn set(&mut self, path: &[&str], value: Value, origin: Origin) {
        let path: Vec<String> = path.iter().map(|&segment| segment.to_owned()).collect();
        self.put(path, value, &|_| origin.clone());
    }

    /// Merges a layer over what is set: tables member by member, all else replaced, as RFC 7396 has it, but `null` too
    /// is a value. `origin` says where the member of a path stands in the layer.
    pub fn merge(&mut self, layer: Value, origin: impl Fn(&[String]) -> Origin) {
        self.put(Vec::new(), layer, &origin);
    }

    /// Removes a member and all below it.
    pub fn remove(&mut self, path: &[&str]) {
        self.leaves.retain(|leaf, _| !starts_with(leaf, path));
    }

    /// The value at a path, if one is in effect. For a table use [`Settings::below`].
    #[must_use]
    pub fn get(&self, path: &[&str]) -> Option<Setting<'_>> {
        // A vector of owned segments is only looked up by one; the paths are short.
        let path: Vec<String> = path.iter().map(|&segment| segment.to_owned()).collect();
        self.leaves.get(&path).map(|(value, origin)| Setting { value, origin })
    }

    /// The leaves at and below a path, each with the rest of its path.
    pub fn below<'s>(&'s self, path: &'s [&'s str]) -> impl Iterator<Item = (&'s [String], Setting<'s>)> {
        self.leaves
            .iter()
            .filter(move |(leaf, _)| starts_with(leaf, path))
            .map(move |(leaf, (value, origin))| (&leaf[path.len()..], Setting { value, origin }))
    }

    /// All leaves in the order of their paths.
    pub fn iter(&self) -> impl Iterator<Item = (&[String], Setting<'_>)> {
        self.below(&[])
    }

    fn put(&mut self, path: Vec<String>, value: Value, origin: &dyn Fn(&[String]) -> Origin) {
        match value {
            Value::Object(members) if !members.is_empty() => {
                // A value that was no table is gone.
                self.leaves.remove(&path);
                for (name, value) in members {
                    let mut path = path.clone();
                    path.push(name);
                    self.put(path, value, origin);
                }
            }
            Value::Object(_) if self.leaves.keys().any(|leaf| leaf.starts_with(&path)) => {}
            value => {
                // An ancestor that was no table is gone, and so is what was set below.
                for depth in 0..path.len() {
                    self.leaves.remove(&path[..depth]);
                }
                self.leaves.retain(|leaf, _| !leaf.starts_with(&path));
                let origin = origin(&path);
                self.leaves.insert(path, (value, origin));
            }
        }
    }
}

fn starts_with(leaf: &[String], path: &[&str]) -> bool {
    leaf.len() >= path.len() && leaf.iter().zip(path).all(|(a, b)| a == b)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn file(path: &str) -> impl Fn(&[String]) -> Origin {
        let path = path.to_owned();
        move |_| Origin::file(path.clone(), None)
    }

    #[test]
    fn a_later_layer_wins_member_by_member() {
        let mut settings = Settings::default();
        settings.merge(json!({"a": {"b": 1, "c": [1, 2]}, "d": true}), file("/base"));
        settings.merge(json!({"a": {"c": [3]}, "d": {"e": 5}}), file("/over"));
        settings.set(&["a", "b"], json!(7), Origin::Flag { flag: "--b".into(), at: None });
        let all: Vec<_> = settings.iter().map(|(path, s)| format!("{path:?} {} {}", s.value, s.origin)).collect();
        let wanted = [r#"["a", "b"] 7 --b of the running process"#, r#"["a", "c"] [3] /over"#, r#"["d", "e"] 5 /over"#];
        assert_eq!(all, wanted);
        assert_eq!(settings.get(&["d"]), None);
        assert_eq!(settings.below(&["a"]).count(), 2);
    }

    #[test]
    fn an_empty_table_removes_nothing_and_a_scalar_removes_a_table() {
        let mut settings = Settings::default();
        settings.merge(json!({"a": {"b": 1}}), file("/base"));
        settings.merge(json!({"a": {}}), file("/over"));
        assert_eq!(settings.get(&["a", "b"]).map(|s| s.value.clone()), Some(json!(1)));
        settings.merge(json!({"a": null}), file("/over"));
        assert_eq!(settings.get(&["a"]).map(|s| s.value.clone()), Some(json!(null)));
        settings.remove(&["a"]);
        assert_eq!(settings, Settings::default());
    }

    #[test]
    fn an_origin_says_where() {
        let at = Location { path: "/etc/default/kubelet".into(), line: Some(3) };
        let flag = Origin::Flag { flag: "--v".into(), at: Some(at.clone()) };
        assert_eq!(flag.to_string(), "--v in /etc/default/kubelet:3");
        assert_eq!(flag.place(Breach::new("v", "high")).at, Some(at));
        assert_eq!(Origin::Default("kubelet 1.37".into()).to_string(), "default of kubelet 1.37");
    }
}

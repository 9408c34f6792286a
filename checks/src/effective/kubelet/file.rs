//! A file of the kubelet's configuration as the kubelet decodes it: what ends it, what it ignores with a warning, and
//! the value and line of every member.
//!
//! The base file is decoded strictly first, and where only the strictness fails, leniently, with a warning
//! (k8s.io/kubernetes, pkg/kubelet/kubeletconfig/util/codec). A drop-in is merged as JSON, and unknown members of it
//! are ignored without a word.

use serde_json::Value;

use super::{Problem, duration, quantity, tables};
use crate::conclusion::Location;
use crate::effective::yaml::{self, Node, Tree};

const VERSION: &str = "kubelet.config.k8s.io/v1beta1";
const KIND: &str = "KubeletConfiguration";

/// What a file is to the kubelet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// The file that `--config` names.
    Base,
    /// A file below `--config-dir`.
    DropIn,
}

/// A decoded file.
#[derive(Debug, Clone)]
pub(super) struct Decoded {
    /// The members.
    pub(super) node: Option<Node>,
    /// What the kubelet ends of.
    pub(super) ends: Vec<Problem>,
    /// What it ignores.
    pub(super) warns: Vec<Problem>,
}

struct Decoder<'d> {
    path: &'d str,
    minor: u32,
    part: Part,
    decoded: Decoded,
}

/// Decodes a file for a kubelet of a minor release.
pub(super) fn decode(path: &str, text: &str, minor: u32, part: Part) -> Decoded {
    let decoded = Decoded { node: None, ends: Vec::new(), warns: Vec::new() };
    let mut decoder = Decoder { path, minor, part, decoded };
    decoder.run(text);
    decoder.decoded
}

impl Decoder<'_> {
    fn end(&mut self, subject: &str, line: Option<u32>, why: impl Into<String>) {
        self.decoded.ends.push(Problem::new(subject, why).at(Some(self.place(line))));
    }

    fn warn(&mut self, subject: &str, line: u32, why: impl Into<String>) {
        self.decoded.warns.push(Problem::new(subject, why).at(Some(self.place(Some(line)))));
    }

    fn place(&self, line: Option<u32>) -> Location {
        Location { path: self.path.to_owned(), line }
    }

    fn run(&mut self, text: &str) {
        if text.is_empty() {
            return self.end(self.path, None, "the file is empty");
        }
        let node = match yaml::read(text) {
            Ok(Some(node)) => node,
            Ok(None) => return self.end("kind", None, "the file has no members, not even kind"),
            Err(error) => return self.end(self.path, Some(error.line), error.why),
        };
        let Tree::Map(members) = &node.tree else {
            return self.end(self.path, Some(node.line), "the file is no map of members");
        };
        for (name, wanted) in [("kind", KIND), ("apiVersion", VERSION)] {
            let found = node.get(name).map(|member| (member.node.value(), member.line));
            let (shown, line) = match &found {
                Some((Value::String(text), _)) if text == wanted => continue,
                None | Some((Value::Null, _)) => ("missing".to_owned(), None),
                Some((Value::String(text), _)) if text.is_empty() => ("missing".to_owned(), None),
                Some((Value::String(text), line)) => (text.clone(), Some(*line)),
                Some((_, line)) => ("not a string".to_owned(), Some(*line)),
            };
            let problem = Problem::new(name, format!("{name} is {shown}")).found(shown).wanted(wanted);
            let at = self.place(line);
            self.decoded.ends.push(problem.at(Some(at)));
        }
        self.members(members, "");
        self.decoded.node = Some(node);
    }

    fn members(&mut self, members: &[yaml::Member], prefix: &str) {
        for (index, member) in members.iter().enumerate() {
            let pattern = if prefix.is_empty() { member.name.clone() } else { format!("{prefix}.{}", member.name) };
            if let Some(first) = members[..index].iter().find(|other| other.name == member.name) {
                self.twice(&pattern, first.line, member.line);
            }
            match tables::member(&pattern, self.minor) {
                Some(row) => self.value(&member.node, &pattern, &pattern, row.kind),
                None => self.unknown(&pattern, member.line),
            }
        }
    }

    /// Of a member that is there twice the base file's last counts; a drop-in with one ends the kubelet.
    fn twice(&mut self, name: &str, first: u32, line: u32) {
        let why = format!("{name} is set twice, first in line {first}");
        match self.part {
            Part::DropIn if self.minor > 28 => self.end(name, Some(line), why),
            _ => self.warn(name, line, format!("{why}; the kubelet uses the last")),
        }
    }

    fn unknown(&mut self, name: &str, line: u32) {
        let known = tables::releases_of_member(name);
        let minor = self.minor;
        let why = match (known.first(), known.last()) {
            (Some(first), _) if *first.releases.start() > minor => {
                format!("kubelet 1.{minor} does not know {name}, which is new in 1.{}", first.releases.start())
            }
            (_, Some(last)) => {
                format!("kubelet 1.{minor} does not know {name}, which was removed in 1.{}", last.releases.end() + 1)
            }
            _ => format!("kubelet 1.{minor} does not know {name}"),
        };
        self.warn(name, line, format!("{why}, and ignores it"));
    }

    /// A value below a member; `shown` is its path as a person writes it.
    fn value(&mut self, node: &Node, pattern: &str, shown: &str, kind: &str) {
        let (bare, optional) = kind.strip_suffix('?').map_or((kind, false), |bare| (bare, true));
        let wrong = |found: &str| format!("{shown} is {found}");
        let scalar = match &node.tree {
            Tree::Scalar(value) => value,
            Tree::Map(members) if bare == "struct" => return self.members(members, pattern),
            Tree::Map(members) if bare == "map" => {
                let below = format!("{pattern}{{}}");
                let kind = tables::member(&below, self.minor).map_or("string", |row| row.kind);
                for (index, member) in members.iter().enumerate() {
                    if let Some(first) = members[..index].iter().find(|other| other.name == member.name) {
                        self.twice(&format!("{shown}.{}", member.name), first.line, member.line);
                    }
                    self.value(&member.node, &below, &format!("{shown}.{}", member.name), kind);
                }
                return;
            }
            Tree::List(items) if bare == "list" => {
                let below = format!("{pattern}[]");
                let kind = tables::member(&below, self.minor).map_or("string", |row| row.kind);
                for (index, item) in items.iter().enumerate() {
                    self.value(item, &below, &format!("{shown}[{index}]"), kind);
                }
                return;
            }
            Tree::Map(_) => return self.mistyped(shown, node.line, "a map", bare),
            Tree::List(_) => return self.mistyped(shown, node.line, "a list", bare),
        };
        match (scalar, bare) {
            // Go leaves what is null as it is; only a duration tries to read it.
            (Value::Null, "duration") if !optional && self.part == Part::Base => {
                self.end(shown, Some(node.line), wrong("null, which is no duration"));
            }
            (Value::Null, _) | (Value::Bool(_), "bool") | (Value::String(_), "string" | "any") => {}
            (Value::Number(_), "quantity" | "float" | "any") => {}
            (Value::String(text), "duration" | "nanoseconds-or-duration") => {
                if duration::parse(text).is_none() {
                    let why = wrong("no duration such as 10s, 5m or 2h");
                    let at = self.place(Some(node.line));
                    self.decoded.ends.push(Problem::new(shown, why).found(text.clone()).at(Some(at)));
                }
            }
            (Value::String(text), "quantity") => {
                if quantity::parse(text).is_none() {
                    let at = self.place(Some(node.line));
                    let why = wrong("no quantity such as 100Mi");
                    self.decoded.ends.push(Problem::new(shown, why).found(text.clone()).at(Some(at)));
                }
            }
            (Value::Number(number), "int32" | "int64" | "uint32" | "nanoseconds-or-duration") => {
                let fits = match bare {
                    "int32" => number.as_i64().is_some_and(|number| i32::try_from(number).is_ok()),
                    "uint32" => number.as_u64().is_some_and(|number| u32::try_from(number).is_ok()),
                    _ => number.as_i64().is_some(),
                };
                if !fits {
                    self.end(shown, Some(node.line), wrong(&format!("{number}, which is no {bare}")));
                }
            }
            (Value::Bool(_), _) => self.mistyped(shown, node.line, "a boolean", bare),
            (Value::Number(_), _) => self.mistyped(shown, node.line, "a number", bare),
            (_, _) => self.mistyped(shown, node.line, "a string", bare),
        }
    }

    fn mistyped(&mut self, shown: &str, line: u32, found: &str, kind: &str) {
        let wanted = match kind {
            "bool" => "true or false, without quotes",
            "string" => "a string: write it in quotes",
            "duration" | "nanoseconds-or-duration" => "a duration such as 10s",
            "int32" | "int64" | "uint32" | "float" => "a number, without quotes",
            "list" => "a list",
            "map" | "struct" => "a map",
            other => other,
        };
        let at = self.place(Some(line));
        let part = if self.part == Part::DropIn { " in a drop-in" } else { "" };
        let problem = Problem::new(shown, format!("{shown} is {found}{part}")).found(found).wanted(wanted);
        self.decoded.ends.push(problem.at(Some(at)));
    }
}

//! A value with the lines of its members, from YAML, JSON or a live object.

use serde_json::{Map, Value};

/// A value, and the line that it begins on.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The line, from 1; 0 where the value was never in a text.
    pub line: u32,
    /// The value.
    pub tree: Tree,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq)]
pub enum Tree {
    /// `null`, a truth value, a number or a text.
    Scalar(Value),
    /// A list.
    List(Vec<Node>),
    /// Members in their order, each with the line of its name.
    Map(Vec<Member>),
}

/// A member of a map.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// The line of its name, from 1; 0 where there is none.
    pub line: u32,
    /// Its value.
    pub node: Node,
}

/// Why a text cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct BadText {
    /// The line, from 1.
    pub line: u32,
    /// The reason; nothing of the text is quoted, which may hold a Secret.
    pub why: String,
}

impl Node {
    /// The member of a map that counts: the last of its name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Member> {
        match &self.tree {
            Tree::Map(members) => members.iter().rev().find(|member| member.name == name),
            _ => None,
        }
    }

    /// The text of a member, where it is one.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        match &self.get(name)?.node.tree {
            Tree::Scalar(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    /// Is it `null`?
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.tree == Tree::Scalar(Value::Null)
    }

    /// The value without its lines; of members that are there twice, the last.
    #[must_use]
    pub fn value(&self) -> Value {
        match &self.tree {
            Tree::Scalar(value) => value.clone(),
            Tree::List(items) => items.iter().map(Self::value).collect(),
            Tree::Map(members) => {
                members.iter().map(|member| (member.name.clone(), member.node.value())).collect::<Map<_, _>>().into()
            }
        }
    }

    /// The first name, in the order of the text, that a map holds twice, and the line where it comes again.
    #[must_use]
    pub fn repeated(&self) -> Option<(&str, u32)> {
        match &self.tree {
            Tree::Scalar(_) => None,
            Tree::List(items) => items.iter().find_map(Self::repeated),
            Tree::Map(members) => {
                let mut seen = std::collections::HashSet::new();
                let own = members.iter().find(|member| !seen.insert(member.name.as_str()));
                let own = own.map(|member| (member.name.as_str(), member.line));
                own.or_else(|| members.iter().find_map(|member| member.node.repeated()))
            }
        }
    }
}

/// A live object, which has no lines.
impl From<Value> for Node {
    fn from(value: Value) -> Self {
        let tree = match value {
            Value::Array(items) => Tree::List(items.into_iter().map(Self::from).collect()),
            Value::Object(members) => Tree::Map(
                members.into_iter().map(|(name, value)| Member { name, line: 0, node: Self::from(value) }).collect(),
            ),
            scalar => Tree::Scalar(scalar),
        };
        Self { line: 0, tree }
    }
}

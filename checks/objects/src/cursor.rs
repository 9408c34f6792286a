//! Going down a value by the names of its fields, with the path and the line at hand.

use std::fmt;

use serde_json::Value;

use crate::node::{Node, Tree};

/// Where a field is: its path in the object, and the line of the text.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// The path as the API server writes it: `spec.containers[0].securityContext`.
    pub path: String,
    /// The line, from 1, of the field or, where it is missing, of the field that should hold it; none of a live object.
    pub line: Option<u32>,
}

/// A value, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field<T> {
    /// The value.
    pub value: T,
    /// Where.
    pub at: Place,
}

/// A field of another type than the API has, so that the API server refuses the object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// Where.
    pub at: Place,
    /// What it is: `a string`.
    pub found: &'static str,
    /// What it must be: `a boolean`.
    pub wanted: &'static str,
    /// Is it a template's placeholder (`{{ … }}`)?
    pub template: bool,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}, and must be {}", self.at.path, self.found, self.wanted)?;
        if self.template { f.write_str(": render the template first") } else { Ok(()) }
    }
}

/// A place in a value, which need not exist.
#[derive(Debug, Clone)]
pub struct Cursor<'n> {
    node: Option<&'n Node>,
    line: u32,
    path: String,
}

impl<'n> Cursor<'n> {
    /// At the root of an object.
    #[must_use]
    pub fn root(node: &'n Node) -> Self {
        Self { node: Some(node), line: node.line, path: String::new() }
    }

    /// The field of this name. `null` is as good as missing, as it is to Go.
    #[must_use]
    pub fn get(&self, name: &str) -> Self {
        let path = if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
        self.member(name, path)
    }

    /// The entry of a map whose names are the user's: `metadata.annotations[name]`.
    #[must_use]
    pub fn entry(&self, name: &str) -> Self {
        self.member(name, format!("{}[{name}]", self.path))
    }

    fn member(&self, name: &str, path: String) -> Self {
        let member = self.node.and_then(|node| node.get(name));
        let line = member.map_or(self.line, |member| member.line);
        Self { node: member.map(|member| &member.node).filter(|node| !node.is_null()), line, path }
    }

    /// Down a path of names.
    #[must_use]
    pub fn down(&self, names: &[&str]) -> Self {
        names.iter().fold(self.clone(), |cursor, name| cursor.get(name))
    }

    /// Is there a value?
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.node.is_some()
    }

    /// Where this is.
    #[must_use]
    pub fn place(&self) -> Place {
        Place { path: self.path.clone(), line: (self.line > 0).then_some(self.line) }
    }

    /// The value.
    #[must_use]
    pub fn node(&self) -> Option<&'n Node> {
        self.node
    }

    fn read<T>(
        &self,
        misfits: &mut Vec<Misfit>,
        wanted: &'static str,
        pick: impl Fn(&'n Tree) -> Option<T>,
    ) -> Option<T> {
        let node = self.node?;
        let value = pick(&node.tree);
        if value.is_none() {
            let template = matches!(&node.tree, Tree::Scalar(Value::String(text)) if text.contains("{{"));
            misfits.push(Misfit { at: self.place(), found: name(&node.tree), wanted, template });
        }
        value
    }

    fn field<T>(&self, value: T) -> Field<T> {
        Field { value, at: self.place() }
    }

    /// The map that this must be, or nothing.
    pub fn map(&self, misfits: &mut Vec<Misfit>) -> Option<Self> {
        self.read(misfits, "a map", |tree| matches!(tree, Tree::Map(_)).then_some(()))?;
        Some(self.clone())
    }

    /// As [`Self::map`], but a place in any case; what is not a map has no fields.
    #[must_use]
    pub fn as_map(self, misfits: &mut Vec<Misfit>) -> Self {
        let node = self.map(misfits).and_then(|map| map.node);
        Self { node, ..self }
    }

    /// The items of a list that must be maps.
    pub fn maps(&self, misfits: &mut Vec<Misfit>) -> Vec<Self> {
        self.items(misfits).into_iter().map(|item| item.as_map(misfits)).collect()
    }

    /// The items of a list, `null` among them.
    pub fn items(&self, misfits: &mut Vec<Misfit>) -> Vec<Self> {
        let list = |tree: &'n Tree| if let Tree::List(items) = tree { Some(items) } else { None };
        let items = self.read(misfits, "a list", list).map_or(&[][..], Vec::as_slice);
        let item = |(index, node): (usize, &'n Node)| {
            let path = format!("{}[{index}]", self.path);
            Self { node: Some(node).filter(|node| !node.is_null()), line: node.line, path }
        };
        items.iter().enumerate().map(item).collect()
    }

    /// The names and the values of a map whose names are the user's; of a name that is there twice, the last.
    pub fn entries(&self, misfits: &mut Vec<Misfit>) -> Vec<(&'n str, Self)> {
        let map = |tree: &'n Tree| if let Tree::Map(members) = tree { Some(members) } else { None };
        let members = self.read(misfits, "a map", map).map_or(&[][..], Vec::as_slice);
        let last = |index: usize, name: &str| !members[index + 1..].iter().any(|member| member.name == name);
        let members = members.iter().enumerate().filter(|(index, member)| last(*index, &member.name));
        members.map(|(_, member)| (member.name.as_str(), self.entry(&member.name))).collect()
    }

    /// A text.
    pub fn text(&self, misfits: &mut Vec<Misfit>) -> Option<Field<String>> {
        let text = |tree: &'n Tree| if let Tree::Scalar(Value::String(text)) = tree { Some(text) } else { None };
        self.read(misfits, "a string", text).map(|text| self.field(text.clone()))
    }

    /// A truth value.
    pub fn truth(&self, misfits: &mut Vec<Misfit>) -> Option<Field<bool>> {
        let truth = |tree: &'n Tree| if let Tree::Scalar(Value::Bool(truth)) = tree { Some(*truth) } else { None };
        self.read(misfits, "a boolean", truth).map(|truth| self.field(truth))
    }

    /// An integer.
    pub fn integer(&self, misfits: &mut Vec<Misfit>) -> Option<Field<i64>> {
        let integer = |tree: &'n Tree| if let Tree::Scalar(value) = tree { value.as_i64() } else { None };
        self.read(misfits, "an integer", integer).map(|integer| self.field(integer))
    }
}

fn name(tree: &Tree) -> &'static str {
    match tree {
        Tree::Scalar(Value::Bool(_)) => "a boolean",
        Tree::Scalar(Value::Number(number)) if number.is_f64() => "a fraction",
        Tree::Scalar(Value::Number(_)) => "an integer",
        Tree::Scalar(Value::Null) => "null",
        Tree::Scalar(_) => "a string",
        Tree::List(_) => "a list",
        Tree::Map(_) => "a map",
    }
}

//! YAML as a tree that knows its lines.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

/// A value of YAML.
#[derive(Debug)]
pub(crate) enum Tree {
    /// Members by name.
    Map(BTreeMap<String, Node>),
    /// A list.
    List(Vec<Node>),
    /// A text.
    Text(String),
    /// A number or a truth value, as it is written out.
    Plain(String),
    /// Nothing.
    Nothing,
}

/// A value, and the line where it begins.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) line: u32,
    pub(crate) value: Tree,
}

/// The documents of a stream.
///
/// # Errors
/// The line from which on it is no YAML, and why. What stands there is not said: it may be a secret.
pub(crate) fn documents(text: &str) -> Result<Vec<Tree>, (u32, String)> {
    serde_saphyr::from_multiple(text).map_err(|error| {
        let line = error.location().map_or(0, |location| line(location.line()));
        (line, "it is no YAML, or is cut off".to_owned())
    })
}

fn line(line: u64) -> u32 {
    u32::try_from(line).unwrap_or(u32::MAX)
}

impl Tree {
    /// The member at a path of names that are joined by dots.
    pub(crate) fn at(&self, path: &str) -> Option<&Node> {
        let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
        let Self::Map(members) = self else { return None };
        let member = members.get(first)?;
        match rest {
            Some(rest) => member.value.at(rest),
            None => Some(member),
        }
    }

    /// The text at a path, if there is one and it is not empty.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.at(path)?.value.as_text()
    }

    /// The text that it is, unless it is empty.
    pub(crate) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) if !text.is_empty() => Some(text),
            _ => None,
        }
    }

    /// The text, number or truth value that it is, unless it is empty.
    pub(crate) fn as_scalar(&self) -> Option<&str> {
        match self {
            Self::Plain(text) => Some(text),
            other => other.as_text(),
        }
    }

    /// The members of a list; none for all else.
    pub(crate) fn items(&self) -> &[Node] {
        match self {
            Self::List(items) => items,
            _ => &[],
        }
    }

    /// Is it a document of this kind?
    pub(crate) fn is(&self, kind: &str) -> bool {
        self.text("kind") == Some(kind)
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value, referenced, .. } = Spanned::deserialize(deserializer)?;
        Ok(Self { line: line(referenced.line()), value })
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("YAML")
    }

    fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
        Ok(Tree::Text(text.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        let mut members = BTreeMap::new();
        while let Some((name, node)) = map.next_entry::<String, Node>()? {
            members.insert(name, node);
        }
        Ok(Tree::Map(members))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Tree, A::Error> {
        let mut items = Vec::new();
        while let Some(node) = list.next_element()? {
            items.push(node);
        }
        Ok(Tree::List(items))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Plain(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Plain(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Plain(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Tree, E> {
        Ok(Tree::Plain(value.to_string()))
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Nothing)
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Nothing)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        deserializer.deserialize_any(self)
    }
}

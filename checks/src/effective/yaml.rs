//! YAML and JSON as Kubernetes' components read them: `sigs.k8s.io/yaml`, which is YAML 1.1, behind apimachinery's
//! serializer.
//!
//! A [`Node`] knows its line, and keeps members that are there twice. Only the first document of a stream counts.

use granit_parser::{Event, Parser, ScalarStyle, Span};
use serde_json::{Map, Number, Value};

/// Deeper than this, or longer with its aliases resolved, no configuration is.
const DEPTH: usize = 200;
const NODES: usize = 200_000;

/// A value, and the line that it begins on.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The line, from 1.
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
    /// The line of its name.
    pub line: u32,
    /// Its value.
    pub node: Node,
}

/// Why a text cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct BadYaml {
    /// The line, from 1.
    pub line: u32,
    /// The reason; nothing of the text is quoted.
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

    /// The line of the member at a path: of its name, as far as the path leads.
    #[must_use]
    pub fn line_of(&self, path: &[impl AsRef<str>]) -> u32 {
        let (mut node, mut line) = (self, self.line);
        for name in path {
            match node.get(name.as_ref()) {
                Some(member) => (node, line) = (&member.node, member.line),
                None => break,
            }
        }
        line
    }
}

/// Reads the first document; `None` where there is none.
///
/// # Errors
/// Where it is neither YAML nor JSON.
pub fn read(text: &str) -> Result<Option<Node>, BadYaml> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    // apimachinery takes for JSON what begins with a brace, and then YAML will not do (yaml.IsJSONBuffer).
    if text.trim_start().starts_with('{')
        && let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(text)
    {
        let line = u32::try_from(error.line()).unwrap_or(u32::MAX);
        return Err(BadYaml { line, why: "it begins with a brace, and is no JSON, or more than one value".to_owned() });
    }
    let mut loader = Loader { parser: Parser::new_from_str(text), anchors: Vec::new(), nodes: 0 };
    loop {
        match loader.next()? {
            None | Some((Event::StreamEnd, _)) => return Ok(None),
            Some((Event::StreamStart | Event::DocumentStart(..), _)) => {}
            Some((event, span)) => return loader.node(event, span, 0).map(Some),
        }
    }
}

struct Loader<'t> {
    parser: Parser<'t, granit_parser::StrInput<'t>>,
    anchors: Vec<(usize, Node)>,
    nodes: usize,
}

fn line(span: Span) -> u32 {
    u32::try_from(span.start.line()).unwrap_or(u32::MAX)
}

fn bad(span: Span, why: &str) -> BadYaml {
    BadYaml { line: line(span), why: why.to_owned() }
}

impl<'t> Loader<'t> {
    /// The next event that is no comment.
    fn next(&mut self) -> Result<Option<(Event<'t>, Span)>, BadYaml> {
        while let Some(next) = self.parser.next_event() {
            match next {
                Ok((event, span)) if event.is_node() || !matches!(event, Event::Anchor(..)) && !is_comment(&event) => {
                    return Ok(Some((event, span)));
                }
                Ok(_) => {}
                Err(error) => {
                    let line = u32::try_from(error.marker().line()).unwrap_or(u32::MAX);
                    return Err(BadYaml { line, why: "it is no YAML".to_owned() });
                }
            }
        }
        Ok(None)
    }

    fn node(&mut self, event: Event<'t>, span: Span, depth: usize) -> Result<Node, BadYaml> {
        self.nodes += 1;
        if depth > DEPTH || self.nodes > NODES {
            return Err(bad(span, "it is nested too deep, or too long"));
        }
        let (tree, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let core = tag.as_ref().and_then(|tag| tag.core_suffix().map(str::to_owned));
                let value = match (style, core.as_deref()) {
                    (_, Some("str")) => Value::String(text.into_owned()),
                    (ScalarStyle::Plain, _) => resolve(&text),
                    _ => Value::String(text.into_owned()),
                };
                (Tree::Scalar(value), anchor)
            }
            Event::SequenceStart(_, anchor, _) => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        Some((Event::SequenceEnd, _)) => break,
                        Some((event, span)) => items.push(self.node(event, span, depth + 1)?),
                        None => return Err(bad(span, "it ends within a list")),
                    }
                }
                (Tree::List(items), anchor)
            }
            Event::MappingStart(_, anchor, _) => (self.map(span, depth)?, anchor),
            Event::Alias(id) => {
                let found = self.anchors.iter().rev().find(|(anchor, _)| *anchor == id).map(|(_, node)| node.clone());
                let node =
                    found.ok_or_else(|| bad(span, "it refers to an anchor that it is in, or that is not there"))?;
                self.nodes += count(&node);
                return Ok(Node { line: line(span), tree: node.tree });
            }
            _ => return Err(bad(span, "a value is missing")),
        };
        let node = Node { line: line(span), tree };
        if anchor != 0 {
            self.anchors.push((anchor, node.clone()));
        }
        Ok(node)
    }

    fn map(&mut self, begin: Span, depth: usize) -> Result<Tree, BadYaml> {
        let (mut members, mut merged) = (Vec::new(), Vec::new());
        loop {
            let (name, at) = match self.next()? {
                Some((Event::MappingEnd, _)) => break,
                Some((event, span)) => (self.node(event, span, depth + 1)?, span),
                None => return Err(bad(begin, "it ends within a map")),
            };
            let Some((event, span)) = self.next()? else { return Err(bad(begin, "it ends within a map")) };
            let node = self.node(event, span, depth + 1)?;
            let name = match name.tree {
                Tree::Scalar(Value::String(name)) if name == "<<" => {
                    merged.push(node);
                    continue;
                }
                Tree::Scalar(Value::String(name)) => name,
                Tree::Scalar(Value::Bool(truth)) => truth.to_string(),
                Tree::Scalar(Value::Number(number)) => number.to_string(),
                _ => return Err(bad(at, "the name of a member is no text")),
            };
            members.push(Member { name, line: line(at), node });
        }
        // What a map merges in stands behind its own members.
        for node in merged {
            let maps = match node.tree {
                Tree::List(items) => items,
                tree => vec![Node { line: node.line, tree }],
            };
            for map in maps {
                let Tree::Map(others) = map.tree else { return Err(bad(begin, "`<<` merges what is no map")) };
                let taken: Vec<String> = members.iter().map(|member: &Member| member.name.clone()).collect();
                members.extend(others.into_iter().filter(|other| !taken.contains(&other.name)));
            }
        }
        Ok(Tree::Map(members))
    }
}

fn is_comment(event: &Event<'_>) -> bool {
    matches!(event, Event::Comment(..))
}

fn count(node: &Node) -> usize {
    1 + match &node.tree {
        Tree::Scalar(_) => 0,
        Tree::List(items) => items.iter().map(count).sum(),
        Tree::Map(members) => members.iter().map(|member| count(&member.node)).sum(),
    }
}

/// A plain scalar as go-yaml 2 resolves it. What resolves to no JSON, such as `.inf`, stays a text.
fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => return Value::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Value::Bool(false);
        }
        _ => {}
    }
    if !text.starts_with(|first: char| first.is_ascii_digit() || matches!(first, '+' | '-' | '.')) {
        return Value::String(text.to_owned());
    }
    let plain = text.replace('_', "");
    if let Some(number) = integer(&plain) {
        return number;
    }
    let digits = plain.strip_prefix(['+', '-']).unwrap_or(&plain);
    let float = digits.starts_with(|first: char| first.is_ascii_digit() || first == '.')
        && digits.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-'))
        && digits.chars().any(|c| c.is_ascii_digit());
    match plain.parse::<f64>().ok().filter(|number| float && number.is_finite()).map(json_float) {
        Some(Some(number)) => number,
        _ => Value::String(text.to_owned()),
    }
}

/// Go prints a float without a fraction as an integer.
#[allow(clippy::cast_possible_truncation, reason = "only of floats that are small integers")]
fn json_float(number: f64) -> Option<Value> {
    if number.fract() == 0.0 && number.abs() < 9e15 {
        return Some(Value::from(number as i64));
    }
    Number::from_f64(number).map(Value::Number)
}

/// strconv.ParseInt with base 0, and `0b`.
fn integer(plain: &str) -> Option<Value> {
    let (negative, digits) = match plain.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, plain.strip_prefix('+').unwrap_or(plain)),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match lower.get(..2) {
        Some("0x") => (16, &lower[2..]),
        Some("0b") => (2, &lower[2..]),
        Some("0o") => (8, &lower[2..]),
        _ if lower.len() > 1 && lower.starts_with('0') => (8, &lower[1..]),
        _ => (10, &*lower),
    };
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(radix)) {
        return None;
    }
    let number = u64::from_str_radix(digits, radix).ok()?;
    if negative { 0_i64.checked_sub_unsigned(number).map(Value::from) } else { Some(Value::from(number)) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn scalars_are_those_of_yaml_1_1() {
        let text = "a: yes\nb: 'yes'\nc: 0644\nd: 1_000\ne: 0x1f\nf: 1.5\ng: 2001-01-01\nh: ~\ni: 10%\nj: .5\nk: 1e3\n\
                    l: 0b11\nm: !!str 5\nz: off\no: 09\n7: 1\n";
        let value = read(text).unwrap().unwrap().value();
        let wanted = json!({"a": true, "b": "yes", "c": 420, "d": 1000, "e": 31, "f": 1.5, "g": "2001-01-01", "h": null,
            "i": "10%", "j": 0.5, "k": 1000, "l": 3, "m": "5", "z": false, "o": 9, "7": 1});
        assert_eq!(value, wanted);
    }

    #[test]
    fn lines_duplicates_anchors_and_documents() {
        let text = "# one\na: &x\n  b: 1\n  b: 2\nc: *x\nd:\n  <<: *x\n  e: 3\n---\na: 5\n";
        let node = read(text).unwrap().unwrap();
        assert_eq!(node.value(), json!({"a": {"b": 2}, "c": {"b": 2}, "d": {"b": 2, "e": 3}}));
        assert_eq!((node.line_of(&["a"]), node.line_of(&["a", "b"]), node.line_of(&["d", "e"])), (2, 4, 8));
        assert_eq!(read("# nothing\n").unwrap(), None);
        assert!(read("a: [\n").is_err());
        assert!(read("{\"a\": 1,}").is_err() && read("{\"a\": [1]}").is_ok());
        let bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n\
                    c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\n\
                    e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e]\n";
        assert!(read(bomb).is_err());
    }
}

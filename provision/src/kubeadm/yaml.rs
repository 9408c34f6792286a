//! YAML as Kubernetes reads it (`sigs.k8s.io/yaml` over go-yaml 2): a tree whose members know their lines.
//!
//! What a plain scalar means follows go-yaml's `resolve.go`, which is neither YAML 1.1 nor 1.2: `on` is true, `0o17` is
//! 15.

use std::collections::HashMap;

use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, Tag};

use super::BadConfiguration;

/// The most values of a document, those that aliases repeat among them.
const MOST: usize = 100_000;

/// A value, and the line where it begins.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) line: u32,
    pub(super) value: Tree,
}

/// A value of YAML.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Tree {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// A member's name, and the line where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) line: u32,
    pub(super) name: String,
}

impl Node {
    /// The member of this name.
    pub(super) fn get(&self, name: &str) -> Option<&Self> {
        let Tree::Map(members) = &self.value else { return None };
        members.iter().find(|(key, _)| key.name == name).map(|(_, node)| node)
    }

    /// The text of a member; of a number or a truth value as YAML writes it.
    pub(super) fn text(&self, name: &str) -> String {
        match self.get(name).map(|node| &node.value) {
            Some(Tree::Text(text)) => text.clone(),
            Some(Tree::Bool(value)) => value.to_string(),
            Some(Tree::Int(value)) => value.to_string(),
            _ => String::new(),
        }
    }
}

/// What a value is, for people.
impl Tree {
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Int(_) | Self::Float(_) => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}

fn line(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn bad(at: u32, why: impl Into<String>) -> BadConfiguration {
    BadConfiguration::Syntax { line: at, why: why.into() }
}

/// Reads one document.
pub(super) fn read(text: &str) -> Result<Node, BadConfiguration> {
    let mut reader = Reader { parser: Parser::new_from_str(text), anchors: HashMap::new(), count: 0 };
    let mut root = None;
    while let Some((event, span)) = reader.next()? {
        match event {
            Event::StreamEnd => break,
            Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
            event if root.is_none() => root = Some(reader.node(event, span)?),
            _ => return Err(bad(line(span.start.line()), "a document begins here without a line '---' before it")),
        }
    }
    Ok(root.unwrap_or(Node { line: 1, value: Tree::Null }))
}

struct Reader<'t> {
    parser: Parser<'t, serde_saphyr::granit_parser::StrInput<'t>>,
    anchors: HashMap<usize, Node>,
    count: usize,
}

/// The parser's own words without the place, which stands in front of ours.
fn said(error: &ScanError) -> BadConfiguration {
    let text = error.info();
    let why = text.lines().next().unwrap_or_default();
    let why = why.split(" at line ").next().unwrap_or(why).split(" at byte ").next().unwrap_or(why);
    bad(line(error.marker().line()), format!("this is not YAML: {why}"))
}

impl<'t> Reader<'t> {
    fn next(&mut self) -> Result<Option<(Event<'t>, Span)>, BadConfiguration> {
        self.parser.next_event().transpose().map_err(|error| said(&error))
    }

    fn inner(&mut self) -> Result<(Event<'t>, Span), BadConfiguration> {
        self.next()?.ok_or_else(|| bad(1, "this is not YAML: it ends too early"))
    }

    fn count(&mut self, at: u32, more: usize) -> Result<(), BadConfiguration> {
        self.count += more;
        if self.count > MOST { Err(bad(at, format!("the document has more than {MOST} values"))) } else { Ok(()) }
    }

    fn node(&mut self, event: Event<'t>, span: Span) -> Result<Node, BadConfiguration> {
        let at = line(span.start.line());
        self.count(at, 1)?;
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => (scalar(&text, style, tag.as_deref(), at)?, anchor),
            Event::SequenceStart(_, anchor, _) => {
                let mut items = Vec::new();
                loop {
                    match self.inner()? {
                        (Event::SequenceEnd, _) => break,
                        (event, span) => items.push(self.node(event, span)?),
                    }
                }
                (Tree::List(items), anchor)
            }
            Event::MappingStart(_, anchor, _) => (self.mapping()?, anchor),
            Event::Alias(id) => {
                let found = self.anchors.get(&id).cloned();
                let node = found.ok_or_else(|| bad(at, "the anchor of this alias is not defined"))?;
                self.count(at, size(&node))?;
                return Ok(Node { line: at, ..node });
            }
            _ => return Err(bad(at, "this is not YAML: a value is expected")),
        };
        let node = Node { line: at, value };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn mapping(&mut self) -> Result<Tree, BadConfiguration> {
        let mut members: Vec<(Key, Node)> = Vec::new();
        let mut add = |key: Key, node: Node| {
            if members.iter().any(|(other, _)| other.name == key.name) {
                return Err(bad(key.line, format!("the key '{}' is given twice", key.name)));
            }
            members.push((key, node));
            Ok(())
        };
        loop {
            let (event, span) = self.inner()?;
            let at = line(span.start.line());
            let merges = match &event {
                Event::MappingEnd => break,
                Event::Scalar(text, ScalarStyle::Plain, _, None) => text == "<<",
                _ => false,
            };
            let key = self.node(event, span)?;
            let (event, span) = self.inner()?;
            let value = self.node(event, span)?;
            if merges {
                let from = match value.value {
                    Tree::List(items) => items,
                    _ => vec![value],
                };
                for one in from {
                    let Tree::Map(inherited) = one.value else { return Err(bad(at, "'<<' merges mappings alone")) };
                    inherited.into_iter().try_for_each(|(key, node)| add(Key { line: at, ..key }, node))?;
                }
                continue;
            }
            let name = match key.value {
                Tree::Text(text) => text,
                Tree::Bool(value) => value.to_string(),
                Tree::Int(value) => value.to_string(),
                Tree::Float(value) => value.to_string(),
                other => return Err(bad(at, format!("a key must be a string, not {}", other.kind()))),
            };
            add(Key { line: at, name }, value)?;
        }
        Ok(Tree::Map(members))
    }
}

fn size(node: &Node) -> usize {
    1 + match &node.value {
        Tree::List(items) => items.iter().map(size).sum(),
        Tree::Map(members) => members.iter().map(|(_, node)| size(node)).sum(),
        _ => 0,
    }
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>, at: u32) -> Result<Tree, BadConfiguration> {
    let core = tag.and_then(Tag::core_suffix);
    let value = match (core, tag, style) {
        (Some("str"), ..) => Tree::Text(text.to_owned()),
        // A tag of no meaning to go-yaml leaves the text; so do quotes.
        (None, Some(_), _) => Tree::Text(text.to_owned()),
        (None, None, ScalarStyle::Plain) | (Some(_), ..) => resolve(text),
        (None, None, _) => Tree::Text(text.to_owned()),
    };
    let value = match (core, value) {
        (Some("float"), Tree::Int(value)) => Tree::Float(value as f64),
        (_, value) => value,
    };
    let fits = match core {
        Some("bool") => matches!(value, Tree::Bool(_)),
        Some("int") => matches!(value, Tree::Int(_)),
        Some("float") => matches!(value, Tree::Float(_)),
        Some("null") => matches!(value, Tree::Null),
        _ => true,
    };
    match value {
        Tree::Float(number) if !number.is_finite() => Err(bad(at, format!("{text} cannot be used: it is not finite"))),
        value if fits => Ok(value),
        _ => Err(bad(at, format!("'{text}' is not of the type that its tag names"))),
    }
}

/// What a plain scalar means (go-yaml v2, `resolve.go`).
fn resolve(text: &str) -> Tree {
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => return Tree::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Tree::Bool(false);
        }
        "" | "~" | "null" | "Null" | "NULL" => return Tree::Null,
        ".nan" | ".NaN" | ".NAN" => return Tree::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => return Tree::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => return Tree::Float(f64::NEG_INFINITY),
        _ => {}
    }
    let first = text.as_bytes()[0];
    if first == b'.' {
        return float(text).map_or_else(|| Tree::Text(text.to_owned()), Tree::Float);
    }
    if !first.is_ascii_digit() && first != b'-' && first != b'+' {
        return Tree::Text(text.to_owned());
    }
    let plain = text.replace('_', "");
    integer(&plain)
        .map(Tree::Int)
        .or_else(|| float(&plain).map(Tree::Float))
        .unwrap_or_else(|| Tree::Text(text.to_owned()))
}

/// A number as `strconv.ParseInt` reads it with base 0: signed, or unsigned of 64 bits.
fn integer(text: &str) -> Option<i128> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let lower = digits.to_ascii_lowercase();
    let (base, rest) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, lower.as_str()),
    };
    if rest.is_empty() || !rest.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let value = i128::from_str_radix(rest, base).ok()?;
    let value = if negative { -value } else { value };
    (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(&value).then_some(value)
}

/// go-yaml's `yamlStyleFloat`.
fn float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (number, exponent) = unsigned.split_once(['e', 'E']).map_or((unsigned, None), |(n, e)| (n, Some(e)));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let exponent = exponent.is_none_or(|one| {
        let one = one.strip_prefix(['-', '+']).unwrap_or(one);
        !one.is_empty() && digits(one)
    });
    let any = !whole.is_empty() || !fraction.is_empty();
    if !(any && digits(whole) && digits(fraction) && exponent) {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_mean_what_they_mean_to_kubernetes() {
        for (text, meant) in [
            ("on", Tree::Bool(true)),
            ("No", Tree::Bool(false)),
            ("~", Tree::Null),
            ("0o17", Tree::Int(15)),
            ("017", Tree::Int(15)),
            ("0x1F", Tree::Int(31)),
            ("1_000", Tree::Int(1000)),
            ("1e3", Tree::Float(1000.0)),
            (".5", Tree::Float(0.5)),
            ("1.37", Tree::Float(1.37)),
            ("1.37.2", Tree::Text("1.37.2".to_owned())),
            ("10:30", Tree::Text("10:30".to_owned())),
            ("'on'", Tree::Text("on".to_owned())),
            ("!!str 5", Tree::Text("5".to_owned())),
            ("-", Tree::List(vec![Node { line: 1, value: Tree::Null }])),
        ] {
            assert_eq!(read(text).unwrap().value, meant, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_has_its_line_and_no_advice() {
        for (text, said) in [
            ("a: 1\nb: 2\na: 3\n", "line 3: the key 'a' is given twice"),
            ("a: &x {b: 1}\nc:\n  <<: *x\n  b: 2\n", "line 4: the key 'b' is given twice"),
            ("a: [\n", "line 1: this is not YAML"),
            ("a: 1\nb: c: d\n", "line 2: this is not YAML"),
            ("a: .inf\n", "line 1: .inf cannot be used"),
            ("a: !!int x\n", "line 1: 'x' is not of the type"),
            ("? [a]\n: 1\n", "line 1: a key must be a string"),
            ("a: 1\n...\nb: 2\n", "line 3: a document begins here"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.starts_with(said), "{text}: {error}");
            assert!(!error.contains("Options") && !error.contains("serde"), "{error}");
        }
        let bomb = (1..9).fold("a0: &a0 [x]\n".to_owned(), |text, n| {
            format!("{text}a{n}: &a{n} [{}]\n", format!("*a{}, ", n - 1).repeat(9))
        });
        assert!(read(&bomb).unwrap_err().to_string().contains("more than 100000 values"));
    }
}

//! YAML as kubectl reads it: `sigs.k8s.io/yaml`, which is YAML 1.1.

use granit_parser::{Event, Parser, ScalarStyle, Span};
use serde_json::{Number, Value};

use crate::node::{BadText, Member, Node, Tree};

/// No object is nested deeper, or larger with its aliases resolved: etcd takes no more than 1.5 MiB.
const DEPTH: usize = 200;
const NODES: usize = 1_000_000;

/// Reads one document, whose lines count from 1; `None` where it is empty.
pub(crate) fn read(text: &str) -> Result<Option<Node>, BadText> {
    let mut loader = Loader { parser: Parser::new_from_str(text), anchors: Vec::new(), nodes: 0 };
    let mut found = None;
    loop {
        match loader.next()? {
            None | Some((Event::StreamEnd, _)) => return Ok(found),
            Some((Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd, _)) => {}
            Some((_, span)) if found.is_some() => return Err(bad(span, "a second document begins without `---`")),
            Some((event, span)) => found = Some(loader.node(event, span, 0)?),
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

fn bad(span: Span, why: &str) -> BadText {
    BadText { line: line(span), why: why.to_owned() }
}

impl<'t> Loader<'t> {
    /// The next event that is no comment.
    fn next(&mut self) -> Result<Option<(Event<'t>, Span)>, BadText> {
        while let Some(next) = self.parser.next_event() {
            match next {
                Ok((event, span)) if event.is_node() || !matches!(event, Event::Anchor(..)) && !is_comment(&event) => {
                    return Ok(Some((event, span)));
                }
                Ok(_) => {}
                Err(error) => {
                    let line = u32::try_from(error.marker().line()).unwrap_or(u32::MAX);
                    return Err(BadText { line, why: "this is not YAML".to_owned() });
                }
            }
        }
        Ok(None)
    }

    fn node(&mut self, event: Event<'t>, span: Span, depth: usize) -> Result<Node, BadText> {
        self.nodes += 1;
        if depth > DEPTH || self.nodes > NODES {
            return Err(bad(span, "it is nested too deep, or too large with its aliases resolved"));
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
                        None => return Err(bad(span, "the list does not end")),
                    }
                }
                (Tree::List(items), anchor)
            }
            Event::MappingStart(_, anchor, _) => (self.map(span, depth)?, anchor),
            Event::Alias(id) => {
                let found = self.anchors.iter().rev().find(|(anchor, _)| *anchor == id).map(|(_, node)| node.clone());
                let node = found.ok_or_else(|| {
                    bad(span, "an alias refers to an anchor that does not exist or contains the alias")
                })?;
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

    fn map(&mut self, begin: Span, depth: usize) -> Result<Tree, BadText> {
        let (mut members, mut merged) = (Vec::new(), Vec::new());
        loop {
            let (name, at) = match self.next()? {
                Some((Event::MappingEnd, _)) => break,
                Some((event, span)) => (self.node(event, span, depth + 1)?, span),
                None => return Err(bad(begin, "the map does not end")),
            };
            let Some((event, span)) = self.next()? else { return Err(bad(begin, "the map does not end")) };
            let node = self.node(event, span, depth + 1)?;
            let name = match name.tree {
                Tree::Scalar(Value::String(name)) if name == "<<" => {
                    merged.push(node);
                    continue;
                }
                Tree::Scalar(Value::String(name)) => name,
                Tree::Scalar(Value::Bool(truth)) => truth.to_string(),
                Tree::Scalar(Value::Number(number)) => number.to_string(),
                _ => return Err(bad(at, "the name of a field is not text")),
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
                let Tree::Map(others) = map.tree else {
                    return Err(bad(begin, "`<<` merges something that is not a map"));
                };
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
        let text = "a: yes\nb: 'yes'\nc: 0644\nd: 1_000\ne: 0x1f\nf: 1.5\ng: 2001-01-01\nh: ~\nz: off\n7: 1\n";
        let wanted = json!({"a": true, "b": "yes", "c": 420, "d": 1000, "e": 31, "f": 1.5, "g": "2001-01-01",
            "h": null, "z": false, "7": 1});
        assert_eq!(read(text).unwrap().unwrap().value(), wanted);
    }

    #[test]
    fn lines_repetitions_anchors_and_bombs() {
        let text = "# one\na: &x\n  b: 1\n  b: 2\nc: *x\nd:\n  <<: *x\n  e: 3\n";
        let node = read(text).unwrap().unwrap();
        assert_eq!(node.value(), json!({"a": {"b": 2}, "c": {"b": 2}, "d": {"b": 2, "e": 3}}));
        assert_eq!(node.repeated(), Some(("b", 4)));
        assert_eq!(node.get("d").unwrap().node.get("e").unwrap().line, 8);
        assert_eq!(read("# nothing\n").unwrap(), None);
        assert!(read("a: [\n").is_err() && read("a: 1\n...\nb: 2\n").is_err());
        let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for level in 1..9 {
            let list = vec![format!("*a{}", level - 1); 10].join(",");
            bomb.push_str(&format!("a{level}: &a{level} [{list}]\n"));
        }
        assert!(read(&bomb).is_err());
    }
}

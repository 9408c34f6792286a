//! YAML and JSON, changed in place.

use granit_parser::{Event, Parser, ScalarStyle};

use super::members::{Atom, Kind, Language, Members, Names, edit};
use super::rules;

const YAML: Language = Language { quote, gap, renames: true, fails: fails_yaml, broken: "}: [" };
const JSON: Language = Language { quote, gap: json_gap, renames: true, fails: fails_json, broken: "?" };

/// Of a file in YAML or JSON what is listed: for objects of Kubernetes by their kind, for others these members.
pub(super) fn config(text: &str, members: Members) -> String {
    let json = text.trim_start().starts_with('{');
    if json {
        let (atoms, end) = json_atoms(text, members);
        // What is no JSON may be YAML all the same, and the other way round.
        if end == text.len() {
            return edit(text, &atoms, end, &JSON);
        }
    }
    let (atoms, end) = yaml_atoms(text, members);
    edit(text, &atoms, end, &YAML)
}

fn fails_yaml(text: &str) -> Option<usize> {
    let error = serde_saphyr::from_str::<serde_json::Value>(text).err()?;
    Some(error.location().map_or(0, |place| usize::try_from(place.line()).unwrap_or(0)))
}

fn fails_json(text: &str) -> Option<usize> {
    serde_json::from_str::<serde_json::Value>(text).err().map(|error| error.line())
}

fn quote(text: &str, _: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A collection that is being read: the name of the member that comes, or none in a list.
enum Inside {
    List,
    Table(Option<String>),
}

/// Where in nested collections we are.
#[derive(Default)]
struct Path(Vec<Inside>);

impl Path {
    /// Is the next node a name?
    fn wants_name(&self) -> bool {
        matches!(self.0.last(), Some(Inside::Table(None)))
    }

    fn names(&self) -> Vec<String> {
        let name = |one: &Inside| match one {
            Inside::Table(Some(name)) => Some(name.clone()),
            _ => None,
        };
        self.0.iter().filter_map(name).collect()
    }

    fn name(&mut self, text: &str) -> Vec<String> {
        if let Some(Inside::Table(name)) = self.0.last_mut() {
            *name = Some(text.to_owned());
        }
        self.names()
    }

    /// A node is over: behind a value comes a name.
    fn over(&mut self) {
        if let Some(Inside::Table(name)) = self.0.last_mut() {
            *name = None;
        }
    }
}

fn yaml_atoms(text: &str, members: Members) -> (Vec<Atom>, usize) {
    let (mut atoms, mut path, mut end) = (Vec::new(), Path::default(), 0);
    let (mut document, mut kind) = (0, None);
    for event in Parser::new_from_str(text) {
        let Ok((event, span)) = event else { return (atoms, end) };
        let Some(range) = span.byte_range() else { return (atoms, end) };
        // A collection that is a name has none that could be listed.
        let complex = path.wants_name() && matches!(event, Event::SequenceStart(..) | Event::MappingStart(..));
        if complex {
            path.name("?");
            path.0.push(Inside::Table(Some("?".to_owned())));
        }
        match event {
            Event::DocumentStart(..) => (document, kind, path) = (atoms.len(), None, Path::default()),
            Event::DocumentEnd => {
                let members = kind.take().map_or(members, |kind: String| rules::of_kind(&kind, members));
                atoms[document..].iter_mut().for_each(|atom: &mut Atom| atom.members = members);
            }
            Event::SequenceStart(..) => path.0.push(Inside::List),
            Event::MappingStart(..) => path.0.push(Inside::Table(None)),
            Event::SequenceEnd | Event::MappingEnd => {
                path.0.pop();
                path.over();
            }
            Event::Scalar(value, style, ..) => {
                if range.is_empty() && path.wants_name() {
                    path.name("");
                } else if range.is_empty() {
                    path.over();
                } else if path.wants_name() {
                    let path = path.name(&value);
                    atoms.push(Atom {
                        range: range.clone(),
                        path,
                        kind: Kind::Name,
                        text: value.into_owned(),
                        members,
                    });
                } else {
                    let names = path.names();
                    if names == ["kind"] {
                        kind = Some(value.clone().into_owned());
                    }
                    let (kind, said) = match style {
                        ScalarStyle::Plain => (plain_kind(&value), &*value),
                        // A block has no quotes: its source is what is changed, with its indentation.
                        ScalarStyle::Literal | ScalarStyle::Folded => (Kind::Block, &text[range.clone()]),
                        _ => (text_kind(&value), &*value),
                    };
                    atoms.push(Atom { range: range.clone(), path: names, kind, text: said.to_owned(), members });
                    path.over();
                }
            }
            Event::Alias(..) => {
                if path.wants_name() {
                    path.name("*");
                } else {
                    path.over();
                }
            }
            _ => {}
        }
        end = end.max(range.end);
    }
    // Comments may follow the last event.
    (atoms, text.len())
}

/// What a scalar without quotes is.
fn plain_kind(value: &str) -> Kind {
    match value {
        "" | "~" => Kind::Word,
        // As YAML 1.1 has them, which Kubernetes reads.
        _ if ["null", "true", "false", "yes", "no", "on", "off", "y", "n"]
            .iter()
            .any(|word| value.eq_ignore_ascii_case(word)) =>
        {
            Kind::Word
        }
        _ if is_integer(value) => Kind::Number("0"),
        _ if value.parse::<f64>().is_ok() => Kind::Number("0.5"),
        _ => Kind::Text,
    }
}

fn is_integer(value: &str) -> bool {
    let digits = value.trim_start_matches(['+', '-']);
    let all = |digits: &str, radix| !digits.is_empty() && digits.chars().all(|c| c == '_' || c.is_digit(radix));
    match digits.get(..2) {
        Some("0x") => all(&digits[2..], 16),
        Some("0o") => all(&digits[2..], 8),
        Some("0b") => all(&digits[2..], 2),
        _ => all(digits, 10) && !digits.starts_with('_'),
    }
}

fn text_kind(value: &str) -> Kind {
    if value.is_empty() { Kind::Word } else { Kind::Text }
}

/// Between scalars stand indicators, which stay; comments, which go; and anchors, tags and directives, which get other
/// names.
fn gap(text: &str, names: &mut Names) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let word = |text: &str| text.find(|c: char| c.is_whitespace() || ",[]{}".contains(c)).unwrap_or(text.len());
        let width = match c {
            '#' => {
                kept.push('#');
                rest.find('\n').unwrap_or(rest.len())
            }
            '&' | '*' => {
                let width = word(rest);
                kept.push(c);
                kept += &names.other(&rest[1..width.max(1)]);
                width.max(1)
            }
            '!' => {
                let width = word(rest);
                let tag = &rest[..width];
                let known = ["!", "!!str", "!!int", "!!bool", "!!float", "!!null", "!!map", "!!seq", "!!binary"];
                kept += if known.contains(&tag) { tag } else { "!x" };
                width
            }
            '%' => {
                let width = rest.find('\n').unwrap_or(rest.len());
                kept += if rest.starts_with("%YAML 1.") { "%YAML 1.2" } else { "#" };
                width
            }
            _ if c.is_whitespace()
                || c.is_control()
                || "[]{}:,-?|>.+".contains(c)
                || c.is_ascii_digit()
                || c == '\u{feff}' =>
            {
                kept.push(c);
                c.len_utf8()
            }
            _ => {
                kept.push('x');
                word(rest).max(c.len_utf8())
            }
        };
        rest = &rest[width..];
    }
    kept
}

fn json_gap(text: &str, _: &mut Names) -> String {
    text.chars().filter(|c| c.is_whitespace() || "[]{}:,".contains(*c)).collect()
}

/// The names and values of JSON, and how far it was understood.
fn json_atoms(text: &str, members: Members) -> (Vec<Atom>, usize) {
    let (mut atoms, mut path, mut at) = (Vec::new(), Path::default(), 0);
    let mut kind = None;
    let bytes = text.as_bytes();
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' | b':' | b',' => at += 1,
            b'{' | b'[' => {
                path.0.push(if byte == b'{' { Inside::Table(None) } else { Inside::List });
                at += 1;
            }
            b'}' | b']' => {
                path.0.pop();
                path.over();
                at += 1;
            }
            b'"' => {
                let mut end = at + 1;
                while bytes.get(end).is_some_and(|&byte| byte != b'"' && byte != b'\n') {
                    end += if bytes[end] == b'\\' { 2 } else { 1 };
                }
                let Some(raw) = text.get(at..=end).filter(|raw| raw.len() > 1 && raw.ends_with('"')) else {
                    return (atoms, at);
                };
                let Ok(value) = serde_json::from_str::<String>(raw) else { return (atoms, at) };
                let name = path.wants_name();
                let names = if name { path.name(&value) } else { path.names() };
                if !name {
                    path.over();
                    if names == ["kind"] {
                        kind = Some(value.clone());
                    }
                }
                let what = if name { Kind::Name } else { text_kind(&value) };
                atoms.push(Atom { range: at..end + 1, path: names, kind: what, text: value, members });
                at = end + 1;
            }
            _ => {
                let word = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
                let width = bytes[at..].iter().take_while(|byte| word(byte)).count();
                let value = &text[at..at + width];
                let kind = match value {
                    "true" | "false" | "null" => Kind::Word,
                    _ if serde_json::from_str::<serde_json::Number>(value).is_ok() => Kind::Number("0"),
                    _ => return (atoms, at),
                };
                atoms.push(Atom { range: at..at + width, path: path.names(), kind, text: value.to_owned(), members });
                path.over();
                at += width;
            }
        }
    }
    let members = kind.map_or(members, |kind| rules::of_kind(&kind, members));
    atoms.iter_mut().for_each(|atom| atom.members = members);
    (atoms, text.len())
}

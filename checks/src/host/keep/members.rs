//! Structured files: of their members those stay that are listed, of all others the names and a mark in the place of
//! the value.
//!
//! What is written back differs from the file only in the values, the comments and the names of anchors: lines,
//! structure and types stay, so that it parses, or does not parse, as the file does, and places in it stay right.

use std::collections::BTreeMap;
use std::ops::Range;

use super::scrub::{MARK, scrub, url};
use super::words::{Words, value_of_flag};

/// The members of a kind of file whose values stay, by the path to them: `authentication/x509/clientCAFile`. Items of
/// lists have the path of their list; `*` stands for any member, a last `**` for all that is below.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Members {
    /// Values that stay as they are.
    pub whole: &'static [&'static str],
    /// Lists of words of a command line, of which flags stay as `words` has it.
    pub words: &'static [&'static str],
    /// Tables whose members are flags, or lists of `name` and `value`.
    pub flags: &'static [&'static str],
    /// URLs, which stay without user and query.
    pub urls: &'static [&'static str],
}

impl Members {
    /// Nothing but names.
    pub(super) const NONE: Self = Self { whole: &[], words: &[], flags: &[], urls: &[] };

    fn lists(&self) -> [&'static [&'static str]; 4] {
        [self.whole, self.words, self.flags, self.urls]
    }

    /// Does a listed member lie below this one?
    fn leads(&self, path: &[String]) -> bool {
        path.is_empty() || self.lists().into_iter().flatten().any(|pattern| leads(pattern, path))
    }
}

/// `.` is the outermost table.
fn matches(pattern: &str, path: &[String]) -> bool {
    if pattern == "." {
        return path.is_empty();
    }
    let mut names = path.iter();
    let mut segments = pattern.split('/').peekable();
    while let Some(segment) = segments.next() {
        if segment == "**" && segments.peek().is_none() {
            return true;
        }
        match names.next() {
            Some(name) if segment == "*" || segment == name => {}
            _ => return false,
        }
    }
    names.next().is_none()
}

fn leads(pattern: &str, path: &[String]) -> bool {
    let mut segments = pattern.split('/');
    for name in path {
        match segments.next() {
            Some("**") => return true,
            Some(segment) if segment == "*" || segment == name => {}
            _ => return false,
        }
    }
    segments.next().is_some()
}

/// What a value is, other than text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The name of a member.
    Name,
    /// Text.
    Text,
    /// Lines of text without quotes around them.
    Block,
    /// A number; what stands in its place.
    Number(&'static str),
    /// true, false, null, or nothing: there is no secret in it.
    Word,
}

/// A name or a value, and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Atom {
    /// Where, in bytes.
    pub range: Range<usize>,
    /// The names of the members that lead to it, with its own.
    pub path: Vec<String>,
    /// What it is.
    pub kind: Kind,
    /// What it says.
    pub text: String,
    /// Whose member it is: which of several documents, with a kind of its own.
    pub members: Members,
}

/// What a language does its own way.
pub(super) struct Language {
    /// Writes a text in the place of what stood there.
    pub quote: fn(text: &str, before: &str) -> String,
    /// Takes out of what stands between names and values all that is no structure.
    pub gap: fn(&str, &mut Names) -> String,
    /// Can names below a member that is not listed be replaced?
    pub renames: bool,
    /// The line of the first error, from 1; `None` where the text is well-formed.
    pub fails: fn(&str) -> Option<usize>,
    /// A line that is an error wherever it stands.
    pub broken: &'static str,
}

/// Names that stand for others: the same for the same.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeMap<String, usize>);

impl Names {
    /// The name in the place of another.
    pub(super) fn other(&mut self, name: &str) -> String {
        let next = self.0.len() + 1;
        format!("x{}", self.0.entry(name.to_owned()).or_insert(next))
    }
}

/// The text with the values that stay. `end` is where it was understood to; what stands behind is kept as structure
/// alone.
pub(super) fn edit(text: &str, atoms: &[Atom], end: usize, language: &Language) -> String {
    let mut names = Names::default();
    let mut keeper = Keeper::default();
    let mut edited = String::with_capacity(text.len());
    let mut at = 0;
    for atom in atoms {
        let (Some(gap), Some(before)) = (text.get(at..atom.range.start), text.get(atom.range.clone())) else {
            continue;
        };
        edited += &(language.gap)(gap, &mut names);
        at = atom.range.end;
        let put = match keeper.fate(atom, language.renames, &mut names) {
            // What is listed stands on one line; a text that goes on may be something that slipped in below.
            Fate::Stays if atom.kind != Kind::Block && before.contains('\n') => (language.quote)(MARK, before),
            Fate::Stays => {
                edited += before;
                continue;
            }
            Fate::Raw(text) => text.to_owned(),
            Fate::Becomes(text) if atom.kind == Kind::Block => {
                // A block ends where the next line's text begins.
                let lines = before.matches('\n').count().saturating_sub(text.matches('\n').count());
                let indent = before.rsplit_once('\n').map_or("", |(_, last)| last);
                let indent = if lines > 0 && indent.trim().is_empty() { indent } else { "" };
                format!("{text}{}{indent}", "\n".repeat(lines))
            }
            Fate::Becomes(text) => (language.quote)(&text, before),
        };
        let lines = |text: &str| text.matches('\n').count();
        edited += &put;
        edited += &"\n".repeat(lines(before).saturating_sub(lines(&put)));
    }
    edited += &(language.gap)(text.get(at..end).unwrap_or_default(), &mut names);
    edited += &structure(text.get(at.max(end)..).unwrap_or_default());
    settle(text, edited, language)
}

/// What fails must fail still, at the same line; what does not must not.
fn settle(text: &str, edited: String, language: &Language) -> String {
    let wanted = (language.fails)(text);
    if (language.fails)(&edited) == wanted {
        return edited;
    }
    let Some(line) = wanted else {
        // Rather nothing than a secret: no text is known that leads here.
        return "\n".repeat(text.matches('\n').count());
    };
    let mut lines: Vec<String> = edited.split('\n').map(str::to_owned).collect();
    let from = line.saturating_sub(1).min(lines.len().saturating_sub(1));
    for line in &mut lines[from..] {
        *line = structure(line);
    }
    let masked = lines.join("\n");
    if (language.fails)(&masked) == wanted {
        return masked;
    }
    for (number, line) in lines[from..].iter_mut().enumerate() {
        *line = if number == 0 { language.broken.to_owned() } else { String::new() };
    }
    lines.join("\n")
}

/// The text with `x` in the place of every word.
pub(super) fn structure(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut inside = false;
    for c in text.chars() {
        // Control characters, too: there are parsers that fail at them.
        if c.is_whitespace() || c.is_control() || "[]{}:,\"'|>&*!%#?=-".contains(c) {
            kept.push(c);
            inside = false;
        } else if !inside {
            kept.push('x');
            inside = true;
        }
    }
    kept
}

enum Fate {
    Stays,
    Raw(&'static str),
    Becomes(String),
}

/// What was seen before counts for command lines, and for lists of `name` and `value`.
#[derive(Default)]
struct Keeper {
    words: Words,
    list: Vec<String>,
    flag: String,
}

impl Keeper {
    fn fate(&mut self, atom: &Atom, renames: bool, names: &mut Names) -> Fate {
        let becomes = |text: String| if text == atom.text { Fate::Stays } else { Fate::Becomes(text) };
        let members = &atom.members;
        let any = |patterns: &[&str]| patterns.iter().any(|pattern| matches(pattern, &atom.path));
        match atom.kind {
            Kind::Name => {
                let above = &atom.path[..atom.path.len().saturating_sub(1)];
                let flags = members.flags.iter().any(|pattern| matches(pattern, above));
                let known = flags || any(members.whole) || members.leads(above);
                if is_name(&atom.text) && (known || !renames) {
                    return Fate::Stays;
                }
                return Fate::Becomes(names.other(&atom.text));
            }
            Kind::Word => return Fate::Stays,
            Kind::Text | Kind::Block | Kind::Number(_) => {}
        }
        let parent = &atom.path[..atom.path.len().saturating_sub(1)];
        let own = atom.path.last().map(String::as_str).unwrap_or_default();
        let of_flags = members.flags.iter().any(|pattern| matches(pattern, parent));
        // Of every object that is one of Kubernetes.
        let head = atom.path.len() == 1 && matches!(own, "kind" | "apiVersion") && is_name(&atom.text);
        if head || any(members.whole) {
            becomes(scrub(&atom.text).into_owned())
        } else if any(members.words) {
            if self.list != atom.path {
                self.list.clone_from(&atom.path);
                self.words = Words::default();
            }
            let word = self.words.word(&atom.text);
            match atom.kind {
                // Whoever reads the command refuses a number in it, whichever it is.
                Kind::Number(zero) => Fate::Raw(zero),
                _ => becomes(word),
            }
        } else if any(members.urls) {
            becomes(url(&atom.text))
        } else if of_flags && own == "name" {
            self.flag.clone_from(&atom.text);
            becomes(if is_name(&atom.text) { atom.text.clone() } else { MARK.to_owned() })
        } else if of_flags {
            let flag = if own == "value" { std::mem::take(&mut self.flag) } else { own.to_owned() };
            becomes(value_of_flag(&flag, &atom.text))
        } else {
            match atom.kind {
                Kind::Number(zero) => Fate::Raw(zero),
                _ => becomes(MARK.to_owned()),
            }
        }
    }
}

/// Of an answer in JSON what is listed.
pub(super) fn value(value: serde_json::Value, members: Members) -> serde_json::Value {
    reduce(value, &mut Vec::new(), members, &mut Keeper::default(), &mut Names::default())
}

fn reduce(
    value: serde_json::Value,
    path: &mut Vec<String>,
    members: Members,
    keeper: &mut Keeper,
    names: &mut Names,
) -> serde_json::Value {
    use serde_json::Value;
    let mut fate = |path: &[String], kind, text: &str| {
        keeper.fate(&Atom { range: 0..0, path: path.to_vec(), kind, text: text.to_owned(), members }, true, names)
    };
    match value {
        Value::String(text) if !text.is_empty() => match fate(path, Kind::Text, &text) {
            Fate::Becomes(text) => Value::String(text),
            Fate::Stays | Fate::Raw(_) => Value::String(text),
        },
        Value::Number(number) => match fate(path, Kind::Number("0"), &number.to_string()) {
            Fate::Stays => Value::Number(number),
            Fate::Becomes(_) | Fate::Raw(_) => Value::from(0),
        },
        Value::Array(items) => items.into_iter().map(|item| reduce(item, path, members, keeper, names)).collect(),
        Value::Object(all) => {
            let mut kept = serde_json::Map::new();
            for (name, item) in all {
                path.push(name.clone());
                let atom = Atom { range: 0..0, path: path.clone(), kind: Kind::Name, text: name.clone(), members };
                let other = match keeper.fate(&atom, true, names) {
                    Fate::Becomes(other) => other,
                    Fate::Stays | Fate::Raw(_) => name,
                };
                kept.insert(other, reduce(item, path, members, keeper, names));
                path.pop();
            }
            Value::Object(kept)
        }
        other => other,
    }
}

/// May a text be the name of something that files are made of, rather than a password where a name should be?
pub(super) fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_alphanumeric() || "_.:/@*~$ +-".contains(c);
    let short = !text.is_empty() && text.len() <= 128 && text.chars().all(plain);
    short && text.split(|c: char| !c.is_alphanumeric()).all(is_word) && scrub(text) == text
}

/// Names are words put together. What is drawn at random, or is base64, changes between cases and digits all the time.
fn is_word(text: &str) -> bool {
    let class = |c: char| (c.is_lowercase(), c.is_uppercase(), c.is_numeric());
    let changes = text.chars().zip(text.chars().skip(1)).filter(|(a, b)| class(*a) != class(*b)).count();
    let digits = text.chars().filter(|c| c.is_numeric()).count();
    let mixed = text.chars().any(char::is_lowercase) && text.chars().any(char::is_uppercase);
    text.len() < 8 || !(changes * 2 > text.len() || (mixed && digits > 2) || text.len() > 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_members_and_lead_to_them() {
        let path = |text: &str| text.split('/').map(str::to_owned).collect::<Vec<_>>();
        for (pattern, yes, no) in
            [("a/b", "a/b", "a/b/c"), ("a/*/c", "a/x/c", "a/c"), ("a/**", "a/x/y", "b"), ("*", "a", "a/b")]
        {
            assert!(matches(pattern, &path(yes)), "{pattern} {yes}");
            assert!(!matches(pattern, &path(no)), "{pattern} {no}");
        }
        assert!(leads("a/*/c", &path("a/x")) && !leads("a/*/c", &path("a/x/c")) && leads("a/**", &path("a/x/y")));
    }

    #[test]
    fn names_are_words() {
        for name in
            ["clientCAFile", "io.containerd.grpc.v1.cri", "IPv6DualStack", "CGROUP_BPF", "registry.k8s.io", "max-pods+"]
        {
            assert!(is_name(name), "{name}");
        }
        for no in ["Y2FuYXJ5MDA", "S3CRETcanary00", "a\"b", "", "https://u:p@h"] {
            assert!(!is_name(no), "{no}");
        }
    }

    #[test]
    fn structure_has_no_words() {
        assert_eq!(structure("a: [b, \"c d\"] # e\n"), "x: [x, \"x x\"] # x\n");
    }
}

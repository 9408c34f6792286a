//! TOML, changed in place.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::members::{Atom, Kind, Language, Members, Names, edit};

const TOML: Language = Language { quote, gap, renames: false, fails, broken: "= ?" };

/// Of a file in TOML what is listed.
pub(super) fn toml(text: &str, members: Members) -> String {
    let (table, errors) = DeTable::parse_recoverable(text);
    // Behind an error the parser guesses.
    let error = errors.iter().filter_map(|error| Some(error.span()?.start)).min();
    let end = error.map_or(text.len(), |at| text.get(..at).and_then(|text| text.rfind('\n')).map_or(0, |at| at + 1));
    let mut atoms = Vec::new();
    walk(table.get_ref(), &mut Vec::new(), members, text, &mut atoms);
    atoms.sort_by_key(|atom: &Atom| atom.range.start);
    atoms.retain(|atom| atom.range.end <= end && !atom.range.is_empty());
    // A name that opens a table stands there once more for each table within it.
    let mut last = 0;
    atoms.retain(|atom| {
        let apart = atom.range.start >= last;
        last = last.max(atom.range.end);
        apart
    });
    edit(text, &atoms, end, &TOML)
}

fn walk(table: &DeTable<'_>, path: &mut Vec<String>, members: Members, text: &str, atoms: &mut Vec<Atom>) {
    for (name, value) in table {
        path.push(name.get_ref().to_string());
        let text_of = name.get_ref().to_string();
        atoms.push(Atom { range: name.span(), path: path.clone(), kind: Kind::Name, text: text_of, members });
        value_atoms(value, path, members, text, atoms);
        path.pop();
    }
}

fn value_atoms(
    value: &Spanned<DeValue<'_>>,
    path: &mut Vec<String>,
    members: Members,
    text: &str,
    atoms: &mut Vec<Atom>,
) {
    let mut atom = |kind, said: &str| {
        atoms.push(Atom { range: value.span(), path: path.clone(), kind, text: said.to_owned(), members });
    };
    match value.get_ref() {
        DeValue::String(said) if said.is_empty() => atom(Kind::Word, ""),
        DeValue::String(said) => atom(Kind::Text, said),
        DeValue::Integer(number) => atom(Kind::Number("0"), number.as_str()),
        DeValue::Float(number) => atom(Kind::Number("0.5"), number.as_str()),
        DeValue::Datetime(_) => atom(Kind::Number("1970-01-01"), text.get(value.span()).unwrap_or_default()),
        DeValue::Boolean(_) => atom(Kind::Word, ""),
        DeValue::Array(items) => {
            for item in items.iter() {
                value_atoms(item, path, members, text, atoms);
            }
        }
        DeValue::Table(inner) => walk(inner, path, members, text, atoms),
    }
}

fn fails(text: &str) -> Option<usize> {
    let error = text.parse::<toml::Table>().err()?;
    let at = error.span().map_or(0, |span| span.start);
    Some(text.get(..at).unwrap_or(text).matches('\n').count() + 1)
}

fn quote(text: &str, before: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    // A text of several lines stays one, since an inline table has but one line.
    let lines = before.matches('\n').count();
    if lines == 0 {
        quoted
    } else {
        format!("\"\"{quoted}\"\"").replacen("\"\"\"", &format!("\"\"\"{}", "\n".repeat(lines)), 1)
    }
}

/// Between names and values stand brackets and blanks, which stay; comments, which go; and names that were seen before.
fn gap(text: &str, _: &mut Names) -> String {
    let mut kept = String::with_capacity(text.len());
    let (mut quote, mut comment) = (None, false);
    for c in text.chars() {
        if comment && c != '\n' {
            continue;
        }
        comment = false;
        match (quote, c) {
            (None, '#') => {
                comment = true;
                kept.push('#');
                continue;
            }
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), _) if c == open => quote = None,
            _ => {}
        }
        kept.push(c);
    }
    kept
}

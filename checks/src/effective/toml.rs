//! A TOML file with the line of each member: the form in which containerd and CRI-O are configured.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A TOML file: its members, and the line that sets each.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Document {
    /// The whole file as a value.
    pub(super) value: Value,
    lines: BTreeMap<Vec<String>, u32>,
}

/// Why a file is no TOML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SyntaxError {
    /// The line, if the parser says one.
    pub(super) line: Option<u32>,
    /// What is wrong there.
    pub(super) message: String,
}

impl Document {
    /// Parses a file.
    ///
    /// # Errors
    /// [`SyntaxError`] with the line.
    pub(super) fn parse(text: &str) -> Result<Self, SyntaxError> {
        let table = DeTable::parse(text).map_err(|error| SyntaxError {
            line: error.span().map(|span| line_at(text, span.start)),
            message: error.message().to_owned(),
        })?;
        let mut lines = BTreeMap::new();
        let value = members(table.get_ref(), text, &mut Vec::new(), &mut lines);
        Ok(Self { value, lines })
    }

    /// The line that sets a member; of a table, the line that opens it.
    pub(super) fn line(&self, path: &[impl AsRef<str>]) -> Option<u32> {
        let path: Vec<String> = path.iter().map(|segment| segment.as_ref().to_owned()).collect();
        self.lines.get(&path).copied()
    }
}

/// Counted from 1.
fn line_at(text: &str, offset: usize) -> u32 {
    let before = text.as_bytes().iter().take(offset).filter(|&&byte| byte == b'\n').count();
    u32::try_from(before + 1).unwrap_or(u32::MAX)
}

fn members(table: &DeTable<'_>, text: &str, path: &mut Vec<String>, lines: &mut BTreeMap<Vec<String>, u32>) -> Value {
    let mut found = Map::new();
    for (key, value) in table {
        path.push(key.get_ref().to_string());
        lines.insert(path.clone(), line_at(text, key.span().start));
        found.insert(key.get_ref().to_string(), member(value, text, path, lines));
        path.pop();
    }
    Value::Object(found)
}

fn member(
    value: &Spanned<DeValue<'_>>,
    text: &str,
    path: &mut Vec<String>,
    lines: &mut BTreeMap<Vec<String>, u32>,
) -> Value {
    match value.get_ref() {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(number) => {
            let digits = number.as_str().replace('_', "");
            i64::from_str_radix(&digits, number.radix()).map_or(Value::String(digits), Value::from)
        }
        DeValue::Float(number) => {
            let digits = number.as_str().replace('_', "");
            digits.parse::<f64>().map_or(Value::String(digits), Value::from)
        }
        DeValue::Boolean(truth) => Value::Bool(*truth),
        DeValue::Datetime(time) => Value::String(time.to_string()),
        DeValue::Array(items) => {
            // Tables of an array are not told apart by their lines; nothing that is judged is one.
            let mut ignored = BTreeMap::new();
            Value::Array(items.iter().map(|item| member(item, text, &mut Vec::new(), &mut ignored)).collect())
        }
        DeValue::Table(table) => members(table, text, path, lines),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn members_know_their_lines() {
        let text = "version = 2\n\n[plugins.\"io.containerd.grpc.v1.cri\".cni]\n  # CNI\n  bin_dir = \"/opt\"\n\
                    [a]\nb.c = [1, 0x10, true]\n";
        let document = Document::parse(text).unwrap();
        let wanted = json!({
            "version": 2,
            "plugins": {"io.containerd.grpc.v1.cri": {"cni": {"bin_dir": "/opt"}}},
            "a": {"b": {"c": [1, 16, true]}},
        });
        assert_eq!(document.value, wanted);
        assert_eq!(document.line(&["version"]), Some(1));
        assert_eq!(document.line(&["plugins", "io.containerd.grpc.v1.cri", "cni", "bin_dir"]), Some(5));
        assert_eq!(document.line(&["a", "b", "c"]), Some(7));
        assert_eq!(document.line(&["b"]), None);
    }

    #[test]
    fn an_error_has_its_line() {
        let error = Document::parse("a = 1\n[crio.runtime\n").unwrap_err();
        assert_eq!(error.line, Some(2), "{error:?}");
        assert_eq!(Document::parse("a = 1\na = 2\n").unwrap_err().line, Some(2));
    }
}

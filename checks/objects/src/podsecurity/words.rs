//! How admission's library puts its words together: its helpers of the same names.

use std::collections::BTreeSet;

pub(super) fn join_quote<S: AsRef<str>>(items: impl IntoIterator<Item = S>) -> String {
    let mut text = String::new();
    for item in items {
        text.push_str(if text.is_empty() { "\"" } else { "\", \"" });
        text.push_str(item.as_ref());
    }
    if !text.is_empty() {
        text.push('"');
    }
    text
}

pub(super) fn pluralize(singular: &'static str, plural: &'static str, count: usize) -> &'static str {
    if count == 1 { singular } else { plural }
}

/// `container "a"`, `containers "a", "b"`.
pub(super) fn containers(names: &[&str]) -> String {
    format!("{} {}", pluralize("container", "containers", names.len()), join_quote(names))
}

/// Who sets a field: the pod, its containers, or both.
pub(super) fn setters(pod: bool, names: &[&str]) -> String {
    let pod = pod.then(|| "pod".to_owned());
    let containers = (!names.is_empty()).then(|| containers(names));
    pod.into_iter().chain(containers).collect::<Vec<_>>().join(" and ")
}

/// A sorted set, as `sets.String` lists it.
pub(super) type Set<'a> = BTreeSet<&'a str>;

/// strconv.Quote, which is what `%q` prints.
pub(super) fn go_quote(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{b}' => quoted.push_str("\\v"),
            ' '..='~' => quoted.push(c),
            '\0'..='\u{7f}' => quoted.push_str(&format!("\\x{:02x}", u32::from(c))),
            c if c.is_alphanumeric() || c.escape_debug().count() == 1 => quoted.push(c),
            c if u32::from(c) < 0x10000 => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push_str(&format!("\\U{:08x}", u32::from(c))),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        assert_eq!(join_quote(["a", "b"]), "\"a\", \"b\"");
        assert_eq!(setters(true, &["a", "b"]), "pod and containers \"a\", \"b\"");
        assert_eq!(go_quote("a\"\\\n\u{1}\u{e4}\u{200b}"), "\"a\\\"\\\\\\n\\x01\u{e4}\\u200b\"");
    }
}

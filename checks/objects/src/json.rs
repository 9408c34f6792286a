//! JSON with lines: kubectl takes for JSON what begins with a brace, and then YAML will not do.

use serde_json::Value;

use crate::node::{BadText, Member, Node, Tree};

/// No object is nested deeper.
const DEPTH: usize = 200;

/// Reads every value of a text, one after the other; the lines count from 1.
pub(crate) fn read(text: &str) -> Result<Vec<Node>, BadText> {
    let mut reader = Reader { text, at: 0, line: 1 };
    let mut values = Vec::new();
    loop {
        reader.blank();
        if reader.peek().is_none() {
            return Ok(values);
        }
        values.push(reader.value(0)?);
    }
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    line: u32,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn blank(&mut self) {
        while let Some(byte) = self.peek().filter(u8::is_ascii_whitespace) {
            self.line += u32::from(byte == b'\n');
            self.at += 1;
        }
    }

    fn bad(&self, why: &str) -> BadText {
        BadText { line: self.line, why: why.to_owned() }
    }

    /// Takes a byte that must come next.
    fn take(&mut self, wanted: u8, why: &str) -> Result<(), BadText> {
        self.blank();
        if self.peek() != Some(wanted) {
            return Err(self.bad(why));
        }
        self.at += 1;
        Ok(())
    }

    /// Takes a byte if it comes next.
    fn takes(&mut self, wanted: u8) -> bool {
        self.blank();
        let is = self.peek() == Some(wanted);
        self.at += usize::from(is);
        is
    }

    fn value(&mut self, depth: usize) -> Result<Node, BadText> {
        self.blank();
        let line = self.line;
        if depth > DEPTH {
            return Err(self.bad("it is nested too deep"));
        }
        let tree = match self.peek() {
            Some(b'{') => Tree::Map(self.map(depth)?),
            Some(b'[') => Tree::List(self.list(depth)?),
            Some(b'"') => Tree::Scalar(Value::String(self.string()?)),
            _ => Tree::Scalar(self.plain()?),
        };
        Ok(Node { line, tree })
    }

    fn map(&mut self, depth: usize) -> Result<Vec<Member>, BadText> {
        self.take(b'{', "a map must begin here")?;
        let mut members = Vec::new();
        if self.takes(b'}') {
            return Ok(members);
        }
        loop {
            self.blank();
            let line = self.line;
            let name = self.string()?;
            self.take(b':', "a colon is missing")?;
            members.push(Member { name, line, node: self.value(depth + 1)? });
            if !self.takes(b',') {
                self.take(b'}', "a comma or a closing brace is missing")?;
                return Ok(members);
            }
        }
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Node>, BadText> {
        self.take(b'[', "a list must begin here")?;
        let mut items = Vec::new();
        if self.takes(b']') {
            return Ok(items);
        }
        loop {
            items.push(self.value(depth + 1)?);
            if !self.takes(b',') {
                self.take(b']', "a comma or a closing bracket is missing")?;
                return Ok(items);
            }
        }
    }

    fn string(&mut self) -> Result<String, BadText> {
        if self.peek() != Some(b'"') {
            return Err(self.bad("a text in double quotes is missing"));
        }
        let bytes = self.text.as_bytes();
        let mut end = self.at + 1;
        while bytes.get(end).is_some_and(|byte| *byte != b'"') {
            end += if bytes[end] == b'\\' { 2 } else { 1 };
        }
        let text = self.text.get(self.at..=end).and_then(|quoted| serde_json::from_str(quoted).ok());
        let text = text.ok_or_else(|| self.bad("a text in double quotes does not end, or has a bad escape"))?;
        self.at = end + 1;
        Ok(text)
    }

    fn plain(&mut self) -> Result<Value, BadText> {
        let rest = &self.text[self.at..];
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.')));
        let word = &rest[..end.unwrap_or(rest.len())];
        let value = serde_json::from_str(word).map_err(|_| self.bad("this is not JSON"))?;
        self.at += word.len();
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_have_lines() {
        let text = "{\n\t\"a\": [1, -2.5e3,\n true, null],\n\
                    \x20\"b\": {\"c\\n\\ud83d\\ude00\": \"d\"}, \"e\": {}, \"f\": []\n}\n{\"g\":1}";
        let all = read(text).unwrap();
        assert_eq!(all[0].value(), json!({"a": [1, -2.5e3, true, null], "b": {"c\n\u{1f600}": "d"}, "e": {}, "f": []}));
        assert_eq!(all[0].get("b").unwrap().line, 4);
        assert_eq!((all[1].line, all[1].value()), (6, json!({"g": 1})));
        assert!(matches!(&all[0].get("a").unwrap().node.tree, Tree::List(items) if items[2].line == 3));
    }

    #[test]
    fn what_is_no_json_has_a_line() {
        let deep = format!("{{\"a\":{}", "[".repeat(1000));
        for (text, line) in [
            ("{\n\"a\": }", 2),
            ("{\"a\" 1}", 1),
            ("{\"a\": 1\n", 2),
            ("{\n\n\"a", 3),
            ("{a: 1}", 1),
            ("{\"a\":1,}", 1),
            ("{\"a\": \"\\q\"}", 1),
            ("{\"a\": nil}", 1),
            ("{\"\u{e4}\\", 1),
            (&deep, 1),
        ] {
            assert_eq!(read(text).unwrap_err().line, line, "{text}");
        }
    }
}

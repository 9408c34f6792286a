//! What is said: a line of text, filled up to a size.
//!
//! A question is at least [`QUESTION`] bytes, and an answer is never longer than its question, so that nobody can have
//! a listener send more to a third party than they sent to it.

use std::fmt::Write as _;

use super::{Port, Transport};

/// The size of a question, unless it asks for more.
pub(super) const QUESTION: usize = 512;

/// The largest question.
pub(super) const LARGEST: usize = 128 << 10;

/// What both sides begin with: the name and version of what is spoken.
const ASK: &str = "seaworthy/1 reach";
const TELL: &str = "seaworthy/1 here";

/// A question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Question {
    /// Tells this question from others.
    pub(super) nonce: u64,
    /// How long it is, in bytes.
    pub(super) size: usize,
    /// Is the answer to be as long?
    pub(super) whole: bool,
}

impl Question {
    pub(super) fn bytes(self) -> Vec<u8> {
        let form = if self.whole { "whole" } else { "short" };
        fill(format!("{ASK} nonce={:016x} size={} answer={form}\n", self.nonce, self.size), self.size)
    }

    /// Reads the beginning of a question; `None` if it is none.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let fields = fields(bytes, ASK)?;
        let size = field(&fields, "size")?.parse().ok().filter(|size| (QUESTION..=LARGEST).contains(size))?;
        let nonce = u64::from_str_radix(field(&fields, "nonce")?, 16).ok()?;
        Some(Self { nonce, size, whole: field(&fields, "answer")? == "whole" })
    }
}

/// An answer: what a listener tells of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// That of the question.
    pub(super) nonce: u64,
    /// Its clock, in microseconds since the epoch.
    pub(super) time: i64,
    /// Its host name.
    pub(super) host: String,
    /// The MTU of the interface that the question came to; 0 if it is not known.
    pub(super) mtu: u32,
    /// Could the answer not be as long as the question, since the listener's interface does not take it?
    pub(super) cut: bool,
    /// Ports that it listens on.
    pub(super) open: Vec<Port>,
    /// Ports that others use, and who.
    pub(super) busy: Vec<(Port, String)>,
}

impl Answer {
    /// An answer of a size.
    pub(super) fn bytes(&self, size: usize) -> Vec<u8> {
        let mut text = format!("{TELL} nonce={:016x} time={} mtu={}", self.nonce, self.time, self.mtu);
        let _ = write!(text, " cut={} host={}", u8::from(self.cut), word(&self.host));
        // The lists may be cut off where the question leaves little room: only whole entries are sent.
        let list = |text: &mut String, name: &str, entries: Vec<String>| {
            let mut first = true;
            for entry in entries {
                let lead = if first { format!(" {name}=") } else { ",".to_owned() };
                if text.len() + lead.len() + entry.len() + 1 > QUESTION.min(size) {
                    break;
                }
                *text += &lead;
                *text += &entry;
                first = false;
            }
        };
        list(&mut text, "open", self.open.iter().map(ToString::to_string).collect());
        list(&mut text, "busy", self.busy.iter().map(|(port, who)| format!("{port}:{}", word(who))).collect());
        text.push('\n');
        fill(text, size)
    }

    /// Reads the beginning of an answer; `None` if it is none.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let fields = fields(bytes, TELL)?;
        let list = |name| field(&fields, name).unwrap_or_default().split(',').filter(|entry| !entry.is_empty());
        Some(Self {
            nonce: u64::from_str_radix(field(&fields, "nonce")?, 16).ok()?,
            time: field(&fields, "time")?.parse().ok()?,
            host: field(&fields, "host")?.to_owned(),
            mtu: field(&fields, "mtu")?.parse().ok()?,
            cut: field(&fields, "cut")? == "1",
            open: list("open").filter_map(|entry| entry.parse().ok()).collect(),
            busy: list("busy")
                .filter_map(|entry| {
                    entry.split_once(':').and_then(|(port, who)| Some((port.parse().ok()?, who.to_owned())))
                })
                .collect(),
        })
    }

    /// Does the listener listen on a port?
    pub(super) fn listens(&self, transport: Transport, number: u16) -> bool {
        self.open.contains(&Port { transport, number })
    }

    /// Who uses a port, if someone else does.
    pub(super) fn user(&self, port: Port) -> Option<&str> {
        self.busy.iter().find(|(busy, _)| *busy == port).map(|(_, who)| who.as_str())
    }
}

/// A name that is one word of the line.
fn word(text: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-._()".contains(c) { c } else { '_' };
    text.chars().take(63).map(plain).collect()
}

fn fill(text: String, size: usize) -> Vec<u8> {
    let mut bytes = text.into_bytes();
    bytes.resize(size, b'.');
    bytes
}

/// The fields of the first line, if it begins as it must.
fn fields<'b>(bytes: &'b [u8], begin: &str) -> Option<Vec<(&'b str, &'b str)>> {
    let head = &bytes[..bytes.len().min(QUESTION)];
    let line = std::str::from_utf8(&head[..head.iter().position(|byte| *byte == b'\n')?]).ok()?;
    let rest = line.strip_prefix(begin)?.strip_prefix(' ')?;
    Some(rest.split(' ').filter_map(|field| field.split_once('=')).collect())
}

fn field<'b>(fields: &[(&'b str, &'b str)], name: &str) -> Option<&'b str> {
    fields.iter().find(|(field, _)| *field == name).map(|(_, value)| *value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer() -> Answer {
        let port = |text: &str| text.parse().unwrap();
        Answer {
            nonce: 7,
            time: 1_767_225_600_000_000,
            host: "node-b".to_owned(),
            mtu: 1500,
            cut: true,
            open: vec![port("tcp/6443"), port("udp/8472")],
            busy: vec![(port("tcp/10250"), "kubelet".to_owned())],
        }
    }

    #[test]
    fn what_is_said_is_understood() {
        let question = Question { nonce: 7, size: 1472, whole: true };
        assert_eq!(question.bytes().len(), 1472);
        assert_eq!(Question::read(&question.bytes()), Some(question));
        assert_eq!(Answer::read(&answer().bytes(QUESTION)), Some(answer()));
    }

    #[test]
    fn an_answer_is_never_longer_than_its_question() {
        let mut long = answer();
        long.host = "n".repeat(500);
        long.open = (1..500).map(|number| Port { transport: Transport::Udp, number }).collect();
        long.busy = long.open.iter().map(|port| (*port, "somebody else\n".to_owned())).collect();
        for size in [QUESTION, QUESTION + 1, 1472, LARGEST] {
            let bytes = long.bytes(size);
            assert_eq!(bytes.len(), size);
            assert!(Answer::read(&bytes).is_some_and(|read| read.open.len() > 10), "the list is cut, not lost");
        }
    }

    #[test]
    fn what_is_no_question_is_not_answered() {
        let good = String::from_utf8(Question { nonce: 7, size: QUESTION, whole: false }.bytes()).unwrap();
        for bad in [
            String::new(),
            good.replace("seaworthy/1", "seaworthy/2"),
            good.replace("size=512", "size=511"),
            good.replace("size=512", "size=999999999"),
            good.replace("nonce=", "nonce=x"),
            good.replace('\n', " "),
            "GET / HTTP/1.1\r\n".to_owned(),
        ] {
            assert!(Question::read(bad.as_bytes()).is_none(), "{bad}");
        }
    }
}

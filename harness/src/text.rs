//! Text for a terminal: wrapped at words to its width, with a hanging indent. Commands and file contents are never
//! broken, since they are copied; they are only indented.

use std::io::IsTerminal as _;

use terminal_size::{Width, terminal_size_of};
use textwrap::{Options, WordSeparator, WordSplitter, WrapAlgorithm};

/// The narrowest width that is wrapped to, and the widest that is pleasant to read.
const BOUNDS: (usize, usize) = (40, 120);

/// Below this width the indents shrink.
const NARROW: usize = 64;

/// How wide text may be; `None` does not wrap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Page(Option<usize>);

impl Page {
    /// The page of standard output: a terminal's width, else what COLUMNS says, else no limit.
    pub(crate) fn stdout() -> Self {
        let out = std::io::stdout();
        Self::of(out.is_terminal().then(|| terminal_size_of(out)).flatten().map(|(Width(width), _)| width))
    }

    /// The page of standard error.
    pub(crate) fn stderr() -> Self {
        let err = std::io::stderr();
        Self::of(err.is_terminal().then(|| terminal_size_of(err)).flatten().map(|(Width(width), _)| width))
    }

    fn of(terminal: Option<u16>) -> Self {
        let columns = || std::env::var("COLUMNS").ok()?.parse().ok();
        Self(terminal.map(usize::from).or_else(columns).map(|width: usize| width.clamp(BOUNDS.0, BOUNDS.1)))
    }

    /// A page without limit.
    pub(crate) fn endless() -> Self {
        Self(None)
    }

    /// A page of a fixed width.
    #[cfg(test)]
    pub(crate) fn wide(width: usize) -> Self {
        Self(Some(width))
    }

    /// The indent for a page this wide: `wanted`, or 2 where that would leave little room.
    pub(crate) fn indent(self, wanted: usize) -> usize {
        if self.0.is_some_and(|width| width < NARROW) { wanted.min(2) } else { wanted }
    }

    /// Wraps a text. Its first line begins with `first`, each further one with `hang` blanks. Its line breaks stay.
    pub(crate) fn wrap(self, first: &str, hang: usize, text: &str) -> String {
        let blanks = " ".repeat(hang);
        let mut wrapped = String::new();
        for (number, line) in text.lines().enumerate() {
            let begin = if number == 0 { first } else { blanks.as_str() };
            match self.0 {
                None => wrapped += &format!("{begin}{line}\n"),
                Some(width) => {
                    let options = Options::new(width)
                        .initial_indent(begin)
                        .subsequent_indent(&blanks)
                        // Identifiers and paths are copied, so they are never broken, not even at their hyphens.
                        .break_words(false)
                        .word_splitter(WordSplitter::NoHyphenation)
                        .word_separator(WordSeparator::AsciiSpace)
                        .wrap_algorithm(WrapAlgorithm::FirstFit);
                    for line in textwrap::wrap(line, options) {
                        wrapped += line.trim_end();
                        wrapped.push('\n');
                    }
                }
            }
        }
        wrapped
    }
}

/// Lines that are not wrapped, each indented.
pub(crate) fn verbatim(indent: usize, lines: &str) -> String {
    let blanks = " ".repeat(indent);
    lines.lines().map(|line| format!("{blanks}{line}").trim_end().to_owned() + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_wrap_with_a_hanging_indent_from_40_columns_up() {
        let text =
            "/etc/hosts says that the node is 127.0.1.1: the kubelet and etcd may take it for the node's address";
        for width in 40..=BOUNDS.1 {
            let wrapped = Page::wide(width).wrap("  fix ", 6, text);
            assert!(wrapped.lines().all(|line| line.len() <= width), "{width}: {wrapped}");
            assert!(wrapped.lines().skip(1).all(|line| line.starts_with("      ")), "{width}: {wrapped}");
            assert_eq!(wrapped.split_whitespace().skip(1).collect::<Vec<_>>().join(" "), text, "{width}");
        }
    }

    #[test]
    fn identifiers_stay_whole_and_styles_take_no_room() {
        let id = "node.sysctl.net.bridge.bridge-nf-call-ip6tables";
        let page = Page::wide(40);
        assert!(page.wrap("", 2, &format!("see {id} for more")).lines().any(|line| line.trim() == id));
        let styled = format!("\u{1b}[1m{}\u{1b}[0m {}", "a".repeat(20), "b".repeat(19));
        assert_eq!(page.wrap("", 0, &styled).lines().count(), 1);
    }

    #[test]
    fn what_is_not_a_terminal_is_not_wrapped() {
        assert_eq!(Page(None).wrap("a: ", 3, &"word ".repeat(100)).lines().count(), 1);
        assert_eq!(Page(None).wrap("", 2, "one\ntwo"), "one\n  two\n");
        assert_eq!(verbatim(2, "a\n\nb"), "  a\n\n  b\n");
    }
}

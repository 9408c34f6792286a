//! The names of upstream's tests that are `[NodeConformance]`, which our trials carry as aliases.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::cluster::Claim;

/// One name a line; lines with a hash are comments.
const NAMES: &str = include_str!("../../data/nodeconformance-1.37.txt");

/// All names, as Ginkgo prints them: `[sig-node] Pods should be updated [Conformance] [NodeConformance]`.
pub fn upstream_names() -> impl Iterator<Item = &'static str> {
    NAMES.lines().filter(|line| !line.starts_with('#') && !line.is_empty())
}

/// A name without the special interest group, and without tags, wherever they are.
fn plain(name: &str) -> String {
    let mut text = String::new();
    let mut depth = 0_usize;
    for letter in name.chars() {
        match letter {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            _ if depth == 0 => text.push(letter),
            _ => {}
        }
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The full names of what is given by its words alone.
pub(super) fn full(words: &str) -> Vec<&'static str> {
    static BY_WORDS: LazyLock<HashMap<String, Vec<&'static str>>> = LazyLock::new(|| {
        let mut all: HashMap<_, Vec<_>> = HashMap::new();
        upstream_names().for_each(|name| all.entry(plain(name)).or_default().push(name));
        all
    });
    BY_WORDS.get(&plain(words)).cloned().unwrap_or_default()
}

/// Claims that do what a test of upstream does.
pub(super) trait Covers {
    /// It does what upstream's test of this name does: the words without tags.
    fn covers(self, words: &str) -> Self;
    /// The same for a name made of parts, which upstream may not have.
    fn covers_if_listed(self, words: &str) -> Self;
}

impl Covers for Claim {
    fn covers(self, words: &str) -> Self {
        let names = full(words);
        // The table of what is covered is checked by a test, and so are these words.
        if names.is_empty() { self.alias(words) } else { self.covers_if_listed(words) }
    }

    fn covers_if_listed(self, words: &str) -> Self {
        full(words).into_iter().fold(self, Claim::alias)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_by_their_words() {
        assert_eq!(upstream_names().count(), 385);
        let name = "[sig-node] Pods should be updated [Conformance] [NodeConformance]";
        assert_eq!(full("Pods should be updated"), [name]);
        assert_eq!(plain("[sig-x] A [Tag] b (c) [D]"), "A b (c)");
        assert!(full("Pods should fly").is_empty());
    }

    #[test]
    fn every_alias_of_upstream_is_one() {
        for trial in super::super::node_conformance_suite().trials {
            for alias in &trial.info.aliases {
                let of_upstream = upstream_names().any(|name| name == alias);
                let of_node =
                    alias.starts_with("[sig-node] MirrorPod ") || alias.starts_with("[sig-node] Summary API ");
                let words = alias.contains(" should ") && !of_node;
                assert!(of_upstream || !words, "{}: upstream has no '{alias}'", trial.info.id);
            }
        }
    }
}

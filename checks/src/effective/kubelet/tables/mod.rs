//! Flags of the kubelet, members of KubeletConfiguration and feature gates, by the minor releases that know them.
//!
//! `flags.tsv`, `members.tsv` and `gates.tsv` are made from the sources of Kubernetes by `go run generate.go` in this
//! folder.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::LazyLock;

/// The minor releases that the tables were made from.
pub const RELEASES: RangeInclusive<u32> = 23..=37;

/// What the kubelets of some minor releases take for a flag or for a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// How its value is read; that of a member whose absence differs from its zero value ends in `?`.
    pub kind: &'static str,
    /// The member of the configuration that a flag sets.
    pub member: Option<&'static str>,
    /// The releases that know it.
    pub releases: RangeInclusive<u32>,
}

type Table = BTreeMap<&'static str, Vec<Row>>;

static FLAGS: LazyLock<Table> = LazyLock::new(|| parse(include_str!("flags.tsv"), true));
static GATES: LazyLock<Table> = LazyLock::new(|| parse(include_str!("gates.tsv"), false));
static MEMBERS: LazyLock<Table> = LazyLock::new(|| parse(include_str!("members.tsv"), false));

fn parse(text: &'static str, of_flags: bool) -> Table {
    let mut table = Table::new();
    for line in text.lines() {
        let mut fields = line.split('\t');
        let mut next = || fields.next().unwrap_or_default();
        let (name, kind) = (next(), next());
        let member = if of_flags { Some(next()).filter(|member| *member != "-") } else { None };
        let mut release = || next().parse().unwrap_or_default();
        let releases = release()..=release();
        table.entry(name).or_default().push(Row { kind, member, releases });
    }
    table
}

/// What a kubelet takes for a flag; `None` where it does not know it.
#[must_use]
pub fn flag(name: &str, minor: u32) -> Option<&'static Row> {
    at(FLAGS.get(name)?, minor)
}

/// All releases that know a flag, in their order; none where no kubelet does.
#[must_use]
pub fn releases_of_flag(name: &str) -> &'static [Row] {
    FLAGS.get(name).map_or(&[], Vec::as_slice)
}

/// The names of all flags of a release.
pub fn flags_of(minor: u32) -> impl Iterator<Item = &'static str> {
    FLAGS.iter().filter(move |(_, rows)| at(rows, minor).is_some()).map(|(name, _)| *name)
}

/// The first and the last release that know a feature gate; `None` where no kubelet does.
#[must_use]
pub fn releases_of_gate(name: &str) -> Option<RangeInclusive<u32>> {
    let rows = GATES.get(name)?;
    Some(*rows.first()?.releases.start()..=*rows.last()?.releases.end())
}

/// A member of the configuration by its pattern, in which `[]` stands for any element and `{}` for any key.
#[must_use]
pub fn member(pattern: &str, minor: u32) -> Option<&'static Row> {
    at(MEMBERS.get(pattern)?, minor)
}

/// All releases that know a member.
#[must_use]
pub fn releases_of_member(pattern: &str) -> &'static [Row] {
    MEMBERS.get(pattern).map_or(&[], Vec::as_slice)
}

/// Does a release know the member at a path, or the map that it is an entry of?
#[must_use]
pub fn is_known(names: &[&str], minor: u32) -> bool {
    (1..=names.len()).any(|length| {
        let row = member(&names[..length].join("."), minor);
        row.is_some_and(|row| length == names.len() || row.kind.trim_end_matches('?') == "map")
    })
}

/// The member whose path differs from this one in case alone.
#[must_use]
pub fn spelled(path: &str) -> Option<&'static str> {
    MEMBERS.keys().find(|name| name.eq_ignore_ascii_case(path)).copied()
}

/// A release that is newer than the table is taken for the newest, an older one for the oldest.
fn at(rows: &'static [Row], minor: u32) -> Option<&'static Row> {
    let minor = minor.clamp(*RELEASES.start(), *RELEASES.end());
    rows.iter().find(|row| row.releases.contains(&minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_know_what_came_and_went() {
        assert_eq!(flag("network-plugin", 23).map(|row| row.kind), Some("string"));
        assert_eq!(flag("network-plugin", 24), None);
        assert_eq!(flag("container-runtime-endpoint", 26).unwrap().member, None);
        assert_eq!(flag("container-runtime-endpoint", 40).unwrap().member, Some("containerRuntimeEndpoint"));
        assert_eq!(flag("pod-infra-container-image", 34).is_some(), flag("pod-infra-container-image", 35).is_none());
        assert_eq!(member("failCgroupV1", 30), None);
        assert_eq!(member("failCgroupV1", 31).unwrap().kind, "bool?");
        assert_eq!(member("registerWithTaints[].effect", 37).unwrap().kind, "string");
        for minor in RELEASES {
            assert!(flags_of(minor).count() > 100);
        }
    }
}

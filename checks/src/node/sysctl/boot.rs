//! What sysctl.d(5) sets kernel parameters to at the next boot.
//!
//! systemd-sysctl reads the files of all folders sorted by name; of two files of one name that in the first folder
//! counts. A later assignment of a key replaces an earlier one and moves behind it; all are then applied in order. A
//! pattern sets all keys that it matches and that have no assignment of their own.

use std::collections::BTreeMap;

use crate::fact::Fact;
use crate::host::Host;

/// The most important first.
const FOLDERS: [&str; 5] =
    ["/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d", "/lib/sysctl.d"];
/// Read last by sysctl(8) --system, which other init systems run. systemd reads it only through a link in sysctl.d.
const CLASSIC: &str = "/etc/sysctl.conf";

/// Keys that the kernel writes along with another: the second follows the first.
const FOLLOWS: [(&str, &str); 4] = [
    // One variable with two names, whose writing sets the default of new interfaces too.
    ("net/ipv4/conf/all/forwarding", "net/ipv4/ip_forward"),
    ("net/ipv4/ip_forward", "net/ipv4/conf/all/forwarding"),
    ("net/ipv4/conf/all/forwarding", "net/ipv4/conf/default/forwarding"),
    ("net/ipv6/conf/all/forwarding", "net/ipv6/conf/default/forwarding"),
];

/// A line that sets a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Assignment {
    /// The key with slashes, or a pattern.
    key: String,
    /// The value; `None` keeps a pattern from a key.
    value: Option<String>,
    /// The file.
    path: String,
    /// The line.
    line: u32,
}

/// All assignments, in the order in which they are applied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Boot(Vec<Assignment>);

impl Boot {
    pub(super) fn read(host: &dyn Host) -> Fact<Self> {
        let mut files: BTreeMap<String, String> = BTreeMap::new();
        for folder in FOLDERS {
            match host.list(folder) {
                Fact::Known(entries) => {
                    for entry in entries.into_iter().filter(|entry| entry.name.ends_with(".conf")) {
                        files.entry(entry.name.clone()).or_insert_with(|| format!("{folder}/{}", entry.name));
                    }
                }
                Fact::Absent(_) => {}
                other => return other.map(|_| Self::default()),
            }
        }
        let mut files: Vec<_> = files.into_values().collect();
        if host.stat("/run/systemd/system").is_absent() {
            files.push(CLASSIC.to_owned());
        }
        let mut boot = Self::default();
        for path in files {
            // A link to /dev/null stands for a file without assignments.
            if host.link(&path).known().is_some_and(|target| target == "/dev/null") {
                continue;
            }
            match host.text(&path) {
                Fact::Known(text) => boot.add(&path, &text),
                Fact::Absent(_) => {}
                other => return other.map(|_| Self::default()),
            }
        }
        Fact::Known(boot)
    }

    fn add(&mut self, path: &str, text: &str) {
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with(['#', ';']) {
                continue;
            }
            let (key, value) = match line.split_once('=') {
                Some((key, value)) => (key.trim(), Some(value.trim().to_owned())),
                None => (line, None),
            };
            let bare = key.strip_prefix('-');
            if value.is_none() && bare.is_none() {
                continue;
            }
            let key = normal(bare.unwrap_or(key).trim_start());
            let line = u32::try_from(number + 1).unwrap_or(u32::MAX);
            if let Some(at) = self.0.iter().position(|known| known.key == key) {
                if self.0[at].value == value {
                    continue;
                }
                self.0.remove(at);
            }
            self.0.push(Assignment { key, value, path: path.to_owned(), line });
        }
    }

    /// What a key is set to last, and where; nothing where no line sets it.
    pub(super) fn last(&self, key: &str) -> Option<(&str, &str, u32)> {
        let key = normal(key);
        let mut found = None;
        for assignment in &self.0 {
            let Some(value) = &assignment.value else { continue };
            let sets = |target: &str| {
                let pattern = assignment.key.contains(['*', '?', '[']);
                let own = || self.0.iter().any(|known| known.key == target);
                if pattern { matches(&assignment.key, target) && !own() } else { assignment.key == target }
            };
            let leaders = FOLLOWS.iter().filter(|(_, follower)| *follower == key).map(|(leader, _)| *leader);
            if sets(&key) || leaders.into_iter().any(sets) {
                found = Some((value.as_str(), assignment.path.as_str(), assignment.line));
            }
        }
        found
    }
}

/// sysctl.d(5): a key whose first separator is a dot has dots and slashes exchanged.
fn normal(key: &str) -> String {
    match key.find(['.', '/']) {
        Some(at) if key.as_bytes()[at] == b'.' => key
            .chars()
            .map(|c| {
                if c == '.' {
                    '/'
                } else if c == '/' {
                    '.'
                } else {
                    c
                }
            })
            .collect(),
        _ => key.to_owned(),
    }
}

/// glob(7) over whole segments: `*` and `?` do not match a slash.
fn matches(pattern: &str, key: &str) -> bool {
    let mut regex = String::from("^");
    let mut rest = pattern.chars();
    while let Some(c) = rest.next() {
        match c {
            '*' => regex.push_str("[^/]*"),
            '?' => regex.push_str("[^/]"),
            '[' => {
                regex.push('[');
                for c in rest.by_ref() {
                    regex.push(if c == '!' && regex.ends_with('[') { '^' } else { c });
                    if c == ']' {
                        break;
                    }
                }
            }
            c => regex.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
        }
    }
    regex::Regex::new(&(regex + "$")).is_ok_and(|regex| regex.is_match(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::construct::{Edit, apply, dir, file, no_dir, no_stat, said};
    use crate::host::{Query, Transcript};

    const KEY: &str = "net.ipv4.ip_forward";

    fn last(edits: &[Edit]) -> Option<String> {
        let mut transcript = Transcript::default();
        apply(&mut transcript, &FOLDERS.map(no_dir)).unwrap();
        let systemd = crate::construct::stat("/run/systemd/system", crate::host::FileKind::Directory, 0o755, 0, 0);
        apply(&mut transcript, &[systemd]).unwrap();
        apply(&mut transcript, edits).unwrap();
        let boot = Boot::read(&transcript);
        boot.known().unwrap().last(KEY).map(|(value, path, line)| format!("{value} {path}:{line}"))
    }

    fn one(text: &str) -> Option<String> {
        last(&[dir("/etc/sysctl.d", &["1.conf"]), file("/etc/sysctl.d/1.conf", text)])
    }

    #[test]
    fn files_are_sorted_by_name_whatever_their_folder() {
        let later = |folder: &str, name: &str, value: &str| {
            vec![dir(folder, &[name]), file(&format!("{folder}/{name}"), format!("{KEY}={value}\n"))]
        };
        let edits = |a: Vec<Edit>, b: Vec<Edit>| [a, b].concat();
        let vendor = later("/usr/lib/sysctl.d", "50-a.conf", "0");
        assert_eq!(
            last(&edits(vendor.clone(), later("/etc/sysctl.d", "10-b.conf", "1"))).unwrap(),
            "0 /usr/lib/sysctl.d/50-a.conf:1"
        );
        let over = edits(vendor.clone(), later("/run/sysctl.d", "50-a.conf", "1"));
        assert_eq!(last(&over).unwrap(), "1 /run/sysctl.d/50-a.conf:1");
        let masked = [
            dir("/etc/sysctl.d", &["50-a.conf@"]),
            said(Query::Link { path: "/etc/sysctl.d/50-a.conf".to_owned() }, "/dev/null"),
        ];
        assert_eq!(last(&edits(vendor, masked.to_vec())), None);
        assert_eq!(
            last(&[dir("/etc/sysctl.d", &["README"]), file("/etc/sysctl.d/README", "net.ipv4.ip_forward=1")]),
            None
        );
    }

    #[test]
    fn the_classic_file_counts_where_systemd_does_not_boot() {
        let classic = file(CLASSIC, "net.ipv4.ip_forward = 0\n");
        assert_eq!(last(std::slice::from_ref(&classic)), None);
        assert_eq!(last(&[classic, no_stat("/run/systemd/system")]).unwrap(), "0 /etc/sysctl.conf:1");
    }

    #[test]
    fn keys_are_read_in_every_form() {
        for (text, wanted) in [
            ("net.ipv4.ip_forward = 1", Some("1")),
            ("  net/ipv4/ip_forward=1  ", Some("1")),
            ("-net.ipv4.ip_forward = 1", Some("1")),
            ("# net.ipv4.ip_forward = 1\n; net.ipv4.ip_forward = 1", None),
            ("net.ipv4.ip_forward", None),
            ("net.ipv4.ip_forward=0\nnet.ipv4.ip_forward=1", Some("1")),
            ("net.ipv4.ip_forward=0\nnet.ipv4.conf.all.forwarding=1", Some("1")),
            ("net.ipv4.conf.all.forwarding=1\nnet.ipv4.ip_forward=0", Some("0")),
            ("net.ipv4.conf.*.forwarding=0", Some("0")),
            ("net.ipv4.conf.*.forwarding=0\n-net.ipv4.conf.all.forwarding", None),
            ("net.ipv4.conf.all.forwarding=1\nnet.ipv4.conf.*.forwarding=0", Some("1")),
            ("net.ipv4.ip_*=0", Some("0")),
            ("net.ipv4.*.forwarding=0", None),
            ("net.ipv4.ip_forwar[c-e]=0", Some("0")),
        ] {
            let found = one(text).map(|found| found.split(' ').next().unwrap().to_owned());
            assert_eq!(found.as_deref(), wanted, "{text:?}");
        }
        assert_eq!(normal("net.ipv4.conf.enp3s0/200.forwarding"), "net/ipv4/conf/enp3s0.200/forwarding");
        assert_eq!(normal("net/ipv4/conf/enp3s0.200/forwarding"), "net/ipv4/conf/enp3s0.200/forwarding");
    }

    #[test]
    fn a_value_that_is_set_again_stays_where_it_is() {
        let text = "net.ipv4.ip_forward=1\nnet.ipv4.conf.all.forwarding=0\nnet.ipv4.ip_forward=1\n";
        assert_eq!(one(text).unwrap(), "0 /etc/sysctl.d/1.conf:2");
    }
}

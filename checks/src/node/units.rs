//! Units of systemd: where their files are, what starts them at boot, and what keeps them from it.
//!
//! A unit is started at boot if a folder `*.wants`, `*.requires` or `*.upholds` of any place holds a link of its name
//! or of one of its aliases: by `systemctl enable` in /etc, by its vendor in /usr/lib, or by a generator in /run.

use std::collections::BTreeMap;

use crate::fact::Fact;
use crate::host::{Entry, FileKind, Host};

/// Where systemd looks for units, the first first (systemd.unit(5)).
const PLACES: [&str; 11] = [
    "/etc/systemd/system.control",
    "/run/systemd/transient",
    "/run/systemd/generator.early",
    "/etc/systemd/system",
    "/etc/systemd/system.attached",
    "/run/systemd/system",
    "/run/systemd/generator",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
    "/run/systemd/generator.late",
];
const DEPENDENCIES: [&str; 3] = [".wants", ".requires", ".upholds"];

/// A unit's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unit {
    /// The file that counts: the one of the first place.
    pub path: String,
    /// Is it a link to /dev/null, so that nothing can start it?
    pub masked: bool,
    /// The link that starts it at boot.
    pub started_by: Option<String>,
}

/// The units of a node.
#[derive(Debug, Default)]
pub(super) struct Units {
    /// What each place holds, the first place first.
    places: Vec<(&'static str, Vec<Entry>)>,
    /// The link that starts a unit, by the name of the unit.
    starts: BTreeMap<String, String>,
    /// Why a place, or a folder in one, is not known.
    unread: Option<String>,
}

impl Units {
    pub(super) fn read(host: &dyn Host) -> Self {
        let mut units = Self::default();
        for place in PLACES {
            let Some(entries) = units.list(host, place) else { continue };
            for folder in entries.iter().filter(|entry| DEPENDENCIES.iter().any(|end| entry.name.ends_with(end))) {
                let folder = format!("{place}/{}", folder.name);
                for link in units.list(host, &folder).unwrap_or_default() {
                    units.starts.entry(link.name.clone()).or_insert_with(|| format!("{folder}/{}", link.name));
                }
            }
            units.places.push((place, entries));
        }
        units
    }

    fn list(&mut self, host: &dyn Host, folder: &str) -> Option<Vec<Entry>> {
        match host.list(folder) {
            Fact::Known(entries) => Some(entries),
            Fact::Absent(_) => None,
            Fact::Unreadable(why) | Fact::Malformed(why) | Fact::NotGathered(why) => {
                self.unread.get_or_insert(why);
                None
            }
        }
    }

    /// Why not all units are known.
    pub(super) fn unread(&self) -> Option<&str> {
        self.unread.as_deref()
    }

    /// The names of units of a kind, such as `.swap`.
    pub(super) fn names(&self, kind: &str) -> Vec<&str> {
        let all = self.places.iter().flat_map(|(_, entries)| entries);
        let mut names: Vec<_> = all.map(|entry| entry.name.as_str()).filter(|name| name.ends_with(kind)).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// A unit by its name.
    pub(super) fn find(&self, host: &dyn Host, name: &str) -> Fact<Unit> {
        let entry = |(place, entries): &(&'static str, Vec<Entry>)| {
            let entry = entries.iter().find(|entry| entry.name == name && entry.kind != FileKind::Directory)?;
            Some((format!("{place}/{name}"), entry.kind))
        };
        let Some((path, kind)) = self.places.iter().find_map(entry) else {
            return match &self.unread {
                Some(why) => Fact::Unreadable(why.clone()),
                None => Fact::Absent(format!("no folder of systemd holds {name}")),
            };
        };
        let link = if kind == FileKind::Link { host.link(&path).known().cloned() } else { None };
        // Seen offline /dev/null may be missing or a file: the link itself decides.
        let masked = kind == FileKind::Device
            || link.is_some_and(|target| target == "/dev/null")
            || host.stat(&path).known().is_some_and(|stat| stat.kind == FileKind::Device);
        let started_by = std::iter::once(name.to_owned())
            .chain(self.aliases(host, name))
            .find_map(|name| self.starts.get(&name).cloned());
        Fact::Known(Unit { path, masked, started_by })
    }

    /// Other names of a unit: links that lead to a file of its name.
    fn aliases(&self, host: &dyn Host, name: &str) -> Vec<String> {
        let mut aliases = Vec::new();
        let kind = name.rfind('.').map_or("", |dot| &name[dot..]);
        for (place, entries) in &self.places {
            for entry in entries.iter().filter(|entry| entry.kind == FileKind::Link && entry.name.ends_with(kind)) {
                // Only names that something starts are of interest.
                if entry.name == name || !self.starts.contains_key(&entry.name) {
                    continue;
                }
                let target = host.link(&format!("{place}/{}", entry.name));
                if target.known().and_then(|target| target.rsplit('/').next()) == Some(name) {
                    aliases.push(entry.name.clone());
                }
            }
        }
        aliases
    }
}

/// The name of the unit of a path: systemd-escape(1) --path.
pub(super) fn escape_path(path: &str) -> String {
    let segments: Vec<_> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    if segments.is_empty() {
        return "-".to_owned();
    }
    let mut name = String::new();
    for (number, byte) in segments.join("/").bytes().enumerate() {
        match byte {
            b'/' => name.push('-'),
            b'.' if number == 0 => name.push_str("\\x2e"),
            byte if byte.is_ascii_alphanumeric() || b":_.".contains(&byte) => name.push(char::from(byte)),
            byte => name.push_str(&format!("\\x{byte:02x}")),
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::construct::{apply, dir, no_dir, said};
    use crate::host::{Query, Transcript};

    #[test]
    fn paths_become_names_of_units() {
        for (path, name) in [
            ("/swapfile", "swapfile"),
            ("/dev/sda2", "dev-sda2"),
            ("/dev/disk/by-uuid/8c4d2a4e-6b7e", r"dev-disk-by\x2duuid-8c4d2a4e\x2d6b7e"),
            ("/", "-"),
            ("//a//b/", "a-b"),
            ("/.swap", r"\x2eswap"),
        ] {
            assert_eq!(escape_path(path), name, "{path}");
        }
    }

    fn units(edits: &[crate::construct::Edit]) -> (Transcript, Units) {
        let mut transcript = Transcript::default();
        apply(&mut transcript, &PLACES.map(no_dir)).unwrap();
        apply(&mut transcript, edits).unwrap();
        let units = Units::read(&transcript);
        (transcript, units)
    }

    #[test]
    fn what_a_vendor_a_generator_or_an_alias_starts_is_started() {
        let vendor = "/usr/lib/systemd/system";
        for (edits, started) in [
            (vec![dir(vendor, &["crio.service"])], None),
            (
                vec![
                    dir(vendor, &["crio.service", "multi-user.target.wants/"]),
                    dir("/usr/lib/systemd/system/multi-user.target.wants", &["crio.service@"]),
                ],
                Some("/usr/lib/systemd/system/multi-user.target.wants/crio.service"),
            ),
            (
                vec![
                    dir(vendor, &["crio.service"]),
                    dir("/run/systemd/generator", &["a.target.requires/"]),
                    dir("/run/systemd/generator/a.target.requires", &["crio.service@"]),
                ],
                Some("/run/systemd/generator/a.target.requires/crio.service"),
            ),
            (
                vec![
                    dir(vendor, &["crio.service", "cri-o.service@", "multi-user.target.wants/"]),
                    said(Query::Link { path: format!("{vendor}/cri-o.service") }, "crio.service"),
                    dir("/usr/lib/systemd/system/multi-user.target.wants", &["cri-o.service@"]),
                ],
                Some("/usr/lib/systemd/system/multi-user.target.wants/cri-o.service"),
            ),
        ] {
            let (host, units) = units(&edits);
            let unit = units.find(&host, "crio.service").known().unwrap().clone();
            assert_eq!(
                unit,
                Unit {
                    path: "/usr/lib/systemd/system/crio.service".to_owned(),
                    masked: false,
                    started_by: started.map(str::to_owned),
                }
            );
        }
    }

    #[test]
    fn a_mask_in_etc_hides_the_unit_of_the_vendor() {
        let (host, units) = units(&[
            dir("/usr/lib/systemd/system", &["crio.service"]),
            dir("/etc/systemd/system", &["crio.service@"]),
            said(Query::Link { path: "/etc/systemd/system/crio.service".to_owned() }, "/dev/null"),
        ]);
        assert!(units.find(&host, "crio.service").known().unwrap().masked);
        assert!(units.find(&host, "kubelet.service").is_absent());
        let nothing = Transcript::default();
        assert!(matches!(Units::read(&nothing).find(&nothing, "a.service"), Fact::Unreadable(_)));
    }
}

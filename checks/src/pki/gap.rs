//! What a PKI lacks: files with a role that are not there, cannot be read, or do not hold what they must.
//!
//! Who judges certificates must know which of them are not known: what could not be understood is no reason to pass.

use super::discover::{Discovery, Kind, Role, roles_of_flags};
use super::facts::{Facts, beside};
use super::reader::Reader;
use super::store::Contents;
use crate::fact::Fact;

/// What of a role is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Certificates: what is shown, or trusted.
    Certificates,
    /// The key.
    Key,
    /// A kubeconfig: it, or the CAs that it trusts.
    Kubeconfig,
    /// A revocation list.
    Revocations,
}

/// A file with a role that does not tell all that it must.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The file.
    pub file: String,
    /// What it is for; none for what a kubeconfig trusts, and for a file of many things.
    pub role: Option<Role>,
    /// What of that it was to tell.
    pub part: Part,
    /// Is it there at all?
    pub there: bool,
    /// Why it does not; names the file.
    pub why: String,
}

impl Facts {
    /// Every file that something is needed from, by a flag, a layout or a kubeconfig, and that does not tell it.
    pub(super) fn find_gaps(&self) -> Vec<Gap> {
        let mut all = Vec::new();
        for one in &self.discovery.uses {
            let (part, wrong) = match (one.role.kind(), Reader::of(one.role)) {
                (Kind::Key, Some(reader)) => (Part::Key, Wrong::Read(reader)),
                (_, Some(reader)) => (Part::Certificates, Wrong::Read(reader)),
                (_, None) => (Part::Revocations, Wrong::NoList),
            };
            all.extend(self.gap(&one.file, Some(one.role), part, one.required, wrong));
            // The key of a CA may be elsewhere.
            let needed = one.required && one.role.kind() != Kind::Bundle;
            let key = one.key.iter().filter(|key| **key != one.file);
            all.extend(key.filter_map(|key| {
                self.gap(key, Some(one.role), Part::Key, needed, Wrong::Read(Reader::of_key(one.role)))
            }));
        }
        for one in &self.discovery.kubeconfigs {
            all.extend(self.gap(&one.file, Some(one.role), Part::Kubeconfig, one.required, Wrong::Nothing));
            let config = self.store.get(&one.file).filter(|file| file.contents.known().is_some());
            if config.is_some_and(|file| file.kubeconfig.is_none()) {
                let why = format!("{} holds no kubeconfig", one.file);
                all.push(Gap {
                    file: one.file.clone(),
                    role: Some(one.role),
                    part: Part::Kubeconfig,
                    there: true,
                    why,
                });
            }
        }
        for (file, _) in &self.discovery.talos {
            all.extend(self.gap(file, None, Part::Certificates, true, Wrong::Malformed));
        }
        if self.discovery.is_nameless() {
            let gaps = self
                .discovery
                .others
                .iter()
                .filter(|file| self.store.get(file).is_some_and(|file| file.kubeconfig.is_none()));
            all.extend(
                gaps.filter_map(|file| self.gap(file, Some(Role::Given), Part::Certificates, true, Wrong::Malformed)),
            );
        }
        for client in &self.clients {
            let role = Some(client.of.role);
            let (cluster, user) = (client.cluster.as_ref(), client.user.as_ref());
            let trusted = cluster.map(|one| (None, Part::Kubeconfig, one.ca.as_ref(), one.ca_file.as_ref()));
            let shown =
                user.map(|one| (role, Part::Certificates, one.certificate.as_ref(), one.certificate_file.as_ref()));
            let key = user.map(|one| (role, Part::Key, one.key.as_ref(), one.key_file.as_ref()));
            for (role, part, embedded, named) in [trusted, shown, key].into_iter().flatten() {
                let wrong = Wrong::Read(match part {
                    Part::Key => Reader::PairKey,
                    Part::Kubeconfig => Reader::Pool,
                    _ => Reader::Pair,
                });
                // What counts is what is embedded (client-go); what a copy names by an absolute path is not beside it.
                match (embedded, named) {
                    (Some(contents), _) => {
                        let file = client.of.file.clone();
                        all.extend(wrong.why(&file, contents).map(|why| Gap { file, role, part, there: true, why }));
                    }
                    (None, Some(name)) if !(self.discovery.bare && name.starts_with('/')) => {
                        all.extend(self.gap(&beside(&client.of.file, name), role, part, true, wrong));
                    }
                    (None, _) => {}
                }
            }
        }
        all
    }

    fn gap(&self, file: &str, role: Option<Role>, part: Part, required: bool, wrong: Wrong) -> Option<Gap> {
        let (there, why) = match &self.store.get(file)?.contents {
            Fact::Known(contents) => (true, wrong.why(file, contents)?),
            Fact::Absent(_) if required => (false, format!("{file} is not there")),
            Fact::Absent(_) | Fact::NotGathered(_) => return None,
            Fact::Unreadable(why) | Fact::Malformed(why) => (true, why.clone()),
        };
        Some(Gap { file: file.to_owned(), role, part, there, why })
    }
}

/// What is not known of a component whose flags nobody could read: a layout's file may be there, and another may count.
pub(super) fn untold(discovery: &Discovery) -> Vec<Gap> {
    let mut all = Vec::new();
    for (component, why) in &discovery.untold {
        let gap = |role, part| Gap {
            file: component.name().to_owned(),
            role: Some(role),
            part,
            there: true,
            why: why.clone(),
        };
        let (files, kubeconfigs) = roles_of_flags(*component);
        all.extend(files.map(|role| match role.kind() {
            Kind::Key => gap(role, Part::Key),
            Kind::Revocations => gap(role, Part::Revocations),
            _ => gap(role, Part::Certificates),
        }));
        all.extend(kubeconfigs.map(|role| gap(role, Part::Kubeconfig)));
    }
    all
}

/// Why a file does not tell all that it must.
#[derive(Clone, Copy)]
enum Wrong {
    /// Who reads it refuses it.
    Read(Reader),
    /// It has no revocation list.
    NoList,
    /// Something in it cannot be understood.
    Malformed,
    /// Nothing: that it is there is enough.
    Nothing,
}

impl Wrong {
    fn why(self, file: &str, contents: &Contents) -> Option<String> {
        let (line, why) = match self {
            Self::Nothing => None,
            Self::Read(reader) => reader.read(contents, None).refused,
            Self::Malformed => contents.malformed.first().cloned(),
            Self::NoList => contents
                .malformed
                .first()
                .cloned()
                .or_else(|| contents.revocations.is_empty().then(|| (0, "it holds no revocation list".to_owned()))),
        }?;
        Some(if line > 0 { format!("{file} line {line}: {why}") } else { format!("{file}: {why}") })
    }
}

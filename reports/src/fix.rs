//! The fix to show for a finding: of several remedies the one for the node's distribution, boot loader and runtime.

use crate::model::{Remedy, Subject};
use crate::run::{Run, TrialResult};

/// A name of a situation in remedies, and the names of it in the facts of a node.
type Name = (&'static str, &'static [&'static str]);

/// What remedies name their situation by, and how the facts of a node name it. Each group is one kind of fact.
const NAMES: [(&str, &[Name]); 2] = [
    (
        "system",
        &[
            ("Debian", &["Debian", "Raspbian"]),
            ("Ubuntu", &["Ubuntu", "Mint"]),
            ("Raspberry Pi OS", &["Raspbian", "Raspberry Pi OS"]),
            ("RHEL", &["Red Hat", "CentOS", "Rocky", "AlmaLinux", "Oracle Linux"]),
            ("Fedora", &["Fedora"]),
            ("Amazon Linux", &["Amazon Linux"]),
            ("SUSE", &["SUSE", "SLES", "SLE Micro"]),
            ("Flatcar", &["Flatcar"]),
            ("Alpine", &["Alpine"]),
            ("Arch", &["Arch Linux"]),
            ("NixOS", &["NixOS"]),
            ("Talos", &["Talos"]),
            ("Bottlerocket", &["Bottlerocket"]),
        ],
    ),
    (
        "boot loader",
        &[("GRUB", &["GRUB"]), ("systemd-boot", &["systemd-boot"]), ("Raspberry Pi", &["Raspberry Pi firmware"])],
    ),
];

/// Distributions that take the remedies of others.
const KIN: [(&str, &str); 3] = [("Amazon Linux", "RHEL"), ("Fedora", "RHEL"), ("Ubuntu", "Debian")];

/// How well a remedy's situation fits a node: one point for each kind of fact that it names rightly, `None` if it is
/// for another.
fn fit(when: Option<&str>, subject: Option<&Subject>) -> Option<u32> {
    let Some(when) = when else { return Some(0) };
    let mut points = 0;
    for (label, names) in NAMES {
        let named: Vec<_> = names.iter().filter(|(name, _)| when.contains(name)).collect();
        let fact = subject.and_then(|subject| subject.facts.iter().find(|fact| fact.label == label));
        let Some(fact) = fact.filter(|_| !named.is_empty()) else { continue };
        let is = |(name, signs): &(&str, &[&str])| {
            let kin = KIN
                .iter()
                .filter(|(_, elder)| elder == name)
                .filter_map(|(younger, _)| names.iter().find(|(name, _)| name == younger).map(|(_, signs)| *signs));
            std::iter::once(*signs).chain(kin).any(|signs| signs.iter().any(|sign| fact.value.contains(sign)))
        };
        if !named.into_iter().any(is) {
            return None;
        }
        points += 1;
    }
    Some(points)
}

/// The remedy that fits a node best; of equals the first. If each is for another distribution, the first of all.
fn fitting<'r>(remedies: &'r [Remedy], subject: Option<&Subject>) -> Option<&'r Remedy> {
    let fits = remedies.iter().filter_map(|remedy| Some((fit(remedy.when.as_deref(), subject)?, remedy)));
    let best = fits.reduce(|best, next| if next.0 > best.0 { next } else { best });
    best.map(|(_, remedy)| remedy).or(remedies.first())
}

impl Run {
    /// The fixes to show for a result: for each cause that was found the one that fits the node, and whether its `when`
    /// still is to be shown, since the node does not tell that it applies.
    #[must_use]
    pub fn fixes<'r>(&'r self, result: &'r TrialResult) -> Vec<(&'r Remedy, bool)> {
        let subject = self.info.subjects.iter().find(|subject| subject.name == result.subject);
        let general = self.trial(&result.trial).map(|trial| &trial.remedy[..]).unwrap_or_default();
        let own = |own: &'r [Remedy]| if own.is_empty() { general } else { own };
        let mut causes: Vec<_> = result.verdict.findings.iter().map(|finding| own(&finding.remedy)).collect();
        if causes.is_empty() {
            causes.push(general);
        }
        let mut fixes: Vec<&Remedy> = Vec::new();
        for fix in causes.into_iter().filter_map(|remedies| fitting(remedies, subject)) {
            if !fixes.contains(&fix) {
                fixes.push(fix);
            }
        }
        let told = |fix: &Remedy| fit(fix.when.as_deref(), subject).is_some_and(|points| points > 0);
        fixes.into_iter().map(|fix| (fix, !told(fix))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Evidence;

    fn subject(facts: &[(&str, &str)]) -> Subject {
        let fact = |(label, value): &(&str, &str)| Evidence { label: (*label).to_owned(), value: (*value).to_owned() };
        Subject { name: "n".to_owned(), facts: facts.iter().map(fact).collect(), pictures: Vec::new() }
    }

    fn remedies(whens: &[Option<&str>]) -> Vec<Remedy> {
        let remedy = |when: &Option<&str>| Remedy {
            when: when.map(str::to_owned),
            text: when.unwrap_or("any").to_owned(),
            commands: Vec::new(),
            persist: None,
        };
        whens.iter().map(remedy).collect()
    }

    #[test]
    fn the_remedy_is_for_the_nodes_distribution() {
        let all = remedies(&[Some("Debian/Ubuntu"), Some("RHEL/Fedora"), None]);
        let chosen = |system: &str| fitting(&all, Some(&subject(&[("system", system)]))).unwrap().text.clone();
        assert_eq!(chosen("Ubuntu 24.04.1 LTS"), "Debian/Ubuntu");
        assert_eq!(chosen("Linux Mint 22"), "Debian/Ubuntu");
        assert_eq!(chosen("Rocky Linux 9.4 (Blue Onyx)"), "RHEL/Fedora");
        assert_eq!(chosen("Amazon Linux 2023"), "RHEL/Fedora");
        assert_eq!(chosen("Flatcar Container Linux"), "any");
        assert_eq!(fitting(&all, None).unwrap().text, "Debian/Ubuntu");
        assert_eq!(fitting(&all[..2], Some(&subject(&[("system", "Flatcar")]))).unwrap().text, "Debian/Ubuntu");
        assert!(fitting(&[], None).is_none());
    }

    #[test]
    fn the_remedy_is_for_the_nodes_boot_loader() {
        let all = remedies(&[Some("Debian/Ubuntu with GRUB"), Some("systemd-boot"), Some("Raspberry Pi OS")]);
        let chosen = |facts: &[(&str, &str)]| fitting(&all, Some(&subject(facts))).unwrap().text.clone();
        let debian = ("system", "Debian GNU/Linux 13 (trixie)");
        assert_eq!(chosen(&[debian, ("boot loader", "GRUB")]), "Debian/Ubuntu with GRUB");
        assert_eq!(chosen(&[debian, ("boot loader", "systemd-boot")]), "systemd-boot");
        assert_eq!(chosen(&[("system", "Fedora Linux 42"), ("boot loader", "systemd-boot")]), "systemd-boot");
        assert_eq!(
            chosen(&[("system", "Raspbian GNU/Linux 12"), ("boot loader", "Raspberry Pi firmware")]),
            "Raspberry Pi OS"
        );
    }

    #[test]
    fn a_situation_that_the_node_does_not_tell_has_to_be_shown() {
        let system = subject(&[("system", "Ubuntu 24.04")]);
        assert_eq!(fit(Some("Debian/Ubuntu"), Some(&system)), Some(1));
        assert_eq!(fit(Some("swap stays"), Some(&system)), Some(0));
        assert_eq!(fit(Some("RHEL/Fedora"), Some(&system)), None);
    }
}

//! Labels for namespaces, proposed as a script that a person reads before it changes anything.

use std::fmt::Write as _;

use super::{Evaluator, Level, Mode, Pod, Policy, Version};

/// The labels that fit a namespace as it is, and those that show the way to what is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// The namespace.
    pub namespace: String,
    /// The strictest level, up to the wanted one, that every workload satisfies.
    pub enforce: Level,
    /// What audit and warn are set to: what is wanted.
    pub wanted: Policy,
    /// The workloads that keep the next level from being enforced, and why.
    pub blockers: Vec<String>,
}

/// Proposes labels; the namespaces come with their workloads, each under a name for people.
#[must_use]
pub fn proposals<'p>(
    evaluator: Evaluator,
    wanted: Policy,
    namespaces: impl IntoIterator<Item = (String, Vec<(String, &'p Pod)>)>,
) -> Vec<Proposal> {
    let mut proposals = Vec::new();
    for (namespace, workloads) in namespaces {
        let (mut enforce, mut blockers) = (Level::Privileged, Vec::new());
        for level in Level::ALL.into_iter().filter(|level| *level <= wanted.level) {
            let policy = Policy { level, version: wanted.version };
            for (name, pod) in &workloads {
                let violations = evaluator.evaluate(policy, pod);
                if !violations.is_empty() {
                    blockers.push(format!("{name}: {}", super::detail(&violations)));
                }
            }
            if !blockers.is_empty() {
                break;
            }
            enforce = level;
        }
        proposals.push(Proposal { namespace, enforce, wanted, blockers });
    }
    proposals
}

/// A script for sh that shows what the API server says of every label, and sets them only with `APPLY=1`.
#[must_use]
pub fn script(proposals: &[Proposal]) -> String {
    let mut text = String::from(
        "#!/bin/sh\n\
         # Labels for Pod Security, proposed by seaworthy. Read them, then run this script:\n\
         # it asks the API server for a dry run and shows its warnings about pods that exist.\n\
         # APPLY=1 sets the labels.\n\
         set -eu\n\
         if [ \"${APPLY:-}\" = 1 ]; then dry_run=none; else dry_run=server; fi\n",
    );
    for proposal in proposals {
        let _ = writeln!(text, "\n# {}", printable(&proposal.namespace));
        for blocker in &proposal.blockers {
            let next = proposal.enforce.next().unwrap_or(Level::Restricted);
            let _ = writeln!(text, "# not {next}: {}", printable(blocker));
        }
        let name = quoted(&proposal.namespace);
        let _ = writeln!(text, "kubectl label --overwrite --dry-run=\"$dry_run\" namespace {name} \\");
        let enforce = Policy { level: proposal.enforce, version: proposal.wanted.version };
        // Where an older version is enforced, the newest shows what an upgrade would refuse.
        let shown = Policy { level: proposal.wanted.level, version: Version::Latest };
        for (mode, policy) in [(Mode::Enforce, enforce), (Mode::Audit, shown), (Mode::Warn, shown)] {
            let _ =
                write!(text, "  {}={} {}={}", mode.level_label(), policy.level, mode.version_label(), policy.version);
            text.push_str(if mode == Mode::Warn { "\n" } else { " \\\n" });
        }
    }
    text
}

/// A name is an object's, and need not be one that the API server takes.
fn quoted(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    if !name.is_empty() && name.chars().all(plain) && !name.starts_with('-') {
        return name.to_owned();
    }
    format!("'{}'", printable(name).replace('\'', "'\\''"))
}

fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Workload;
    use super::*;
    use crate::manifest::Manifests;

    #[test]
    fn the_strictest_level_that_fits_is_proposed_and_nothing_is_applied_unasked() {
        let text = "apiVersion: v1\nkind: Pod\nspec:\n  containers: [{name: c}]\n---\n\
                    apiVersion: v1\nkind: Pod\nspec:\n  hostIPC: true\n";
        let objects = Manifests::of_text("f", text).objects;
        let pods: Vec<_> = objects.iter().map(|object| Workload::of(object).unwrap().pod).collect();
        let wanted: Policy = "restricted:v1.30".parse().unwrap();
        let all = proposals(
            Evaluator::NEWEST,
            wanted,
            [
                ("web".to_owned(), vec![("Pod a".to_owned(), &pods[0])]),
                ("b'ad\n; rm".to_owned(), vec![("Pod b\n$(x)".to_owned(), &pods[1])]),
                ("empty".to_owned(), vec![]),
            ],
        );
        let levels: Vec<_> = all.iter().map(|proposal| proposal.enforce.name()).collect();
        assert_eq!(levels, ["baseline", "privileged", "restricted"]);
        assert!(all[0].blockers[0].starts_with("Pod a: allowPrivilegeEscalation != false"), "{all:?}");
        let script = script(&all);
        assert!(script.contains("--dry-run=\"$dry_run\" namespace web"), "{script}");
        assert!(script.contains("namespace 'b'\\''ad ; rm' "), "{script}");
        assert!(script.contains("# not baseline: Pod b $(x): host namespaces (hostIPC=true)\n"), "{script}");
        assert!(script.contains(
            "  pod-security.kubernetes.io/enforce=baseline pod-security.kubernetes.io/enforce-version=v1.30 \\\n"
        ));
        let syntax = std::process::Command::new("sh").args(["-n", "-c", &script]).status().unwrap();
        assert!(syntax.success());
    }
}

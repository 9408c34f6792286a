//! Certificate policies along a path: RFC 5280 as updated by RFC 9618, for who wants no policy of his own, as Go does
//! since 1.24.
//!
//! Then all that can go wrong is that a certificate of the path requires a valid policy and there is none, or maps
//! anyPolicy.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::certificate::Certificate;
use super::super::oid::known;

/// One level of the graph: each policy that is valid there, with what the next certificate may call it, and the ones
/// that it comes from.
type Level = BTreeMap<Vec<u8>, Node>;

#[derive(Debug, Clone, Default)]
struct Node {
    expected: BTreeSet<Vec<u8>>,
    parents: BTreeSet<Vec<u8>>,
}

impl Node {
    fn new(policy: &[u8], parents: BTreeSet<Vec<u8>>) -> Self {
        Self { expected: BTreeSet::from([policy.to_vec()]), parents }
    }
}

/// The levels may not have more nodes than this, all together; a path with more is refused.
const MOST_NODES: usize = 10_000;

/// Whether the policies of a path, its leaf first, are as its certificates require.
pub(super) fn valid(path: &[Arc<Certificate>]) -> bool {
    let count = i64::try_from(path.len() - 1).unwrap_or(i64::MAX);
    let asks = |one: &Arc<Certificate>| {
        one.extensions.policy_constraints.require_explicit_policy.is_some()
            || !one.extensions.policy_mappings.is_empty()
    };
    if count == 0 || !path.iter().any(asks) {
        return true;
    }
    let any = known::ANY_POLICY;
    let (mut inhibit_any, mut explicit, mut mapping) = (count + 1, count + 1, count + 1);
    let mut levels = Some(vec![Level::from([(any.to_vec(), Node::new(any, BTreeSet::new()))])]);
    for (index, certificate) in path[..path.len() - 1].iter().enumerate().rev() {
        let own = certificate.extensions.policies.as_deref().unwrap_or_default();
        let self_issued = certificate.is_self_issued();
        if own.is_empty() {
            levels = None;
        }
        if explicit == 0 && levels.is_none() {
            return false;
        }
        if let Some(graph) = &mut levels {
            let policies: BTreeSet<&[u8]> = own.iter().map(super::super::Oid::content).collect();
            let with_any = policies.contains(any) && (inhibit_any > 0 || index > 0 && self_issued);
            let level = next_level(graph.last().unwrap_or(&Level::new()), &policies, with_any);
            graph.push(level);
            if graph.iter().map(Level::len).sum::<usize>() > MOST_NODES {
                return false;
            }
            prune(graph);
            if index > 0 && !map(graph, certificate, mapping > 0) {
                return false;
            }
        }
        if index > 0 {
            if !self_issued {
                for counter in [&mut explicit, &mut mapping, &mut inhibit_any] {
                    *counter = (*counter - 1).max(0);
                }
            }
            let constraints = certificate.extensions.policy_constraints;
            for (limit, counter) in [
                (constraints.require_explicit_policy, &mut explicit),
                (constraints.inhibit_policy_mapping, &mut mapping),
                (certificate.extensions.inhibit_any_policy, &mut inhibit_any),
            ] {
                if let Some(limit) = limit.filter(|limit| *limit >= 0) {
                    *counter = limit.min(*counter);
                }
            }
        }
    }
    explicit = (explicit - 1).max(0);
    if path[0].extensions.policy_constraints.require_explicit_policy == Some(0) {
        explicit = 0;
    }
    explicit > 0 || levels.is_some_and(|graph| some_valid(&graph))
}

fn next_level(before: &Level, policies: &BTreeSet<&[u8]>, with_any: bool) -> Level {
    let any = known::ANY_POLICY;
    let expecting = |policy: &[u8]| {
        before
            .iter()
            .filter(|(_, node)| node.expected.contains(policy))
            .map(|(name, _)| name.clone())
            .collect::<BTreeSet<_>>()
    };
    let mut level = Level::new();
    for policy in policies.iter().filter(|policy| **policy != any) {
        let mut parents = expecting(policy);
        if parents.is_empty() && before.contains_key(any) {
            parents.insert(any.to_vec());
        }
        if !parents.is_empty() {
            level.insert(policy.to_vec(), Node::new(policy, parents));
        }
    }
    if with_any {
        let mut missing: BTreeMap<Vec<u8>, BTreeSet<Vec<u8>>> = BTreeMap::new();
        for (name, node) in before {
            for expected in node.expected.iter().filter(|expected| !level.contains_key(*expected)) {
                missing.entry(expected.clone()).or_default().insert(name.clone());
            }
        }
        level.extend(missing.into_iter().map(|(policy, parents)| {
            let node = Node::new(&policy, parents);
            (policy, node)
        }));
    }
    level
}

/// Takes out, above the last level, what nothing comes from.
fn prune(graph: &mut [Level]) {
    for at in (1..graph.len().saturating_sub(1)).rev() {
        let (above, below) = graph.split_at_mut(at + 1);
        let wanted: BTreeSet<&Vec<u8>> = below[0].values().flat_map(|node| &node.parents).collect();
        above[at].retain(|name, _| wanted.contains(name));
    }
}

/// Applies a CA's mappings to the last level; false if they are not allowed.
fn map(graph: &mut [Level], certificate: &Certificate, allowed: bool) -> bool {
    let any = known::ANY_POLICY;
    let mappings = &certificate.extensions.policy_mappings;
    if mappings.is_empty() {
        return true;
    }
    let mut to: BTreeMap<&[u8], BTreeSet<Vec<u8>>> = BTreeMap::new();
    for (issuer, subject) in mappings {
        if allowed && (issuer.is(any) || subject.is(any)) {
            return false;
        }
        if allowed {
            to.entry(issuer.content()).or_default().insert(subject.content().to_vec());
        } else if let Some(level) = graph.last_mut() {
            level.remove(issuer.content());
        }
    }
    prune(graph);
    let Some(level) = graph.last_mut() else { return true };
    for (issuer, expected) in to {
        if let Some(node) = level.get_mut(issuer) {
            node.expected = expected;
        } else if level.contains_key(any) {
            level.insert(issuer.to_vec(), Node { expected, parents: BTreeSet::from([any.to_vec()]) });
        }
    }
    true
}

/// Whether a policy is left: one that comes from anyPolicy alone, or anyPolicy itself at the end.
fn some_valid(graph: &[Level]) -> bool {
    let any = known::ANY_POLICY;
    let from_any =
        |(name, node): (&Vec<u8>, &Node)| name != any && node.parents.len() == 1 && node.parents.contains(any);
    graph.iter().any(|level| level.iter().any(from_any)) || graph.last().is_some_and(|level| level.contains_key(any))
}

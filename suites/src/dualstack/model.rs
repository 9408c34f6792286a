//! The documented rules by which the API server gives Services their families, as a pure function.
//!
//! Source: "IPv4/IPv6 dual-stack", KEP-563, and the allocator of kube-apiserver
//! (pkg/registry/core/service/storage/alloc.go).

use crate::cluster::Families;

/// `spec.ipFamilyPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::enum_variant_names, reason = "the API's own names")]
pub(super) enum Policy {
    SingleStack,
    PreferDualStack,
    RequireDualStack,
}

impl Policy {
    pub(super) const ALL: [Self; 3] = [Self::SingleStack, Self::PreferDualStack, Self::RequireDualStack];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::SingleStack => "SingleStack",
            Self::PreferDualStack => "PreferDualStack",
            Self::RequireDualStack => "RequireDualStack",
        }
    }
}

/// What of a Service decides its families.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wish {
    pub(super) policy: Option<Policy>,
    pub(super) families: &'static [&'static str],
    /// `clusterIP: None` and no selector: the one kind that may name families which the cluster has not.
    pub(super) headless_without_selector: bool,
}

/// What the API server makes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    /// Accepted, with this policy and these families.
    Accepted(Policy, Vec<&'static str>),
    /// Refused, with a message that has this in it.
    Refused(&'static str),
}

/// What becomes of a Service on a cluster.
pub(super) fn fate(cluster: Families, wish: Wish) -> Fate {
    let default = if wish.headless_without_selector { Policy::RequireDualStack } else { Policy::SingleStack };
    let policy = wish.policy.unwrap_or(default);
    let own = cluster.names();
    if policy == Policy::SingleStack && wish.families.len() == 2 {
        return Fate::Refused(
            "must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified",
        );
    }
    let mut families = wish.families.to_vec();
    if !wish.headless_without_selector {
        if policy == Policy::RequireDualStack && !cluster.is_dual() {
            return Fate::Refused("this cluster is not configured for dual-stack services");
        }
        if families.iter().any(|family| !own.contains(family)) {
            return Fate::Refused("not configured on this cluster");
        }
    }
    if families.is_empty() {
        families.push(own[0]);
    }
    let other = if families[0] == "IPv4" { "IPv6" } else { "IPv4" };
    let both = wish.headless_without_selector || cluster.is_dual();
    if policy != Policy::SingleStack && families.len() == 1 && both {
        families.push(other);
    }
    Fate::Accepted(policy, families)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documents_examples() {
        let wish = |policy, families| Wish { policy, families, headless_without_selector: false };
        // A new Service without a policy is single-stack, of the first range.
        assert_eq!(fate(Families::V6V4, wish(None, &[])), Fate::Accepted(Policy::SingleStack, vec!["IPv6"]));
        // PreferDualStack has both on a dual-stack cluster, and one elsewhere.
        let prefer = Some(Policy::PreferDualStack);
        assert_eq!(
            fate(Families::V4V6, wish(prefer, &["IPv6"])),
            Fate::Accepted(Policy::PreferDualStack, vec!["IPv6", "IPv4"])
        );
        assert_eq!(fate(Families::V4, wish(prefer, &[])), Fate::Accepted(Policy::PreferDualStack, vec!["IPv4"]));
        assert!(matches!(fate(Families::V4, wish(Some(Policy::RequireDualStack), &[])), Fate::Refused(_)));
        // Without a selector, headless: both, whatever the cluster has.
        let bare = Wish { policy: None, families: &[], headless_without_selector: true };
        assert_eq!(fate(Families::V4, bare), Fate::Accepted(Policy::RequireDualStack, vec!["IPv4", "IPv6"]));
    }
}

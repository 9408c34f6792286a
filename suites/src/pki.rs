//! The PKI suite: every claim of its registry, over the PKI of one node.

use std::time::Duration;

use seaworthy_checks::pki::{Peer, View, checks};

use crate::convert;
use crate::trial::{Suite, Trial};

/// The PKI suite.
#[must_use]
pub fn pki_suite() -> Suite {
    let trials = checks().into_iter().map(|check| {
        let info = convert::info(&check, "pki");
        Trial::new(info, Duration::from_secs(2), move |node, others, profile| {
            let peers: Vec<_> = others.iter().map(|other| Peer { name: &other.name, facts: other.pki() }).collect();
            convert::verdict(check.judge(&View { facts: node.pki(), profile, peers: &peers }))
        })
    });
    Suite { name: "pki", title: "Does this node's PKI fit together?", trials: trials.collect(), defects: &[] }
}

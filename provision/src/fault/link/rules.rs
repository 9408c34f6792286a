//! The rules of nftables for what is dropped, rejected or lost between hosts: a pure rendering of all of them at once.
//!
//! A sender is known by its Ethernet address and a receiver by its port. Both hold on whichever bridge the two meet,
//! also when [delay](super::delay) has put them on different ones, and traffic of pods counts too, since hosts route
//! it.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::{Interface, Port};

/// The table that holds all rules, in the families `bridge` and `netdev`.
const TABLE: &str = "seaworthy";

/// One direction of traffic, and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Who sends.
    pub from: End,
    /// Who would receive.
    pub to: End,
    /// What becomes of it.
    pub effect: Effect,
}

/// Senders or receivers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// These hosts. None means that the rule never applies.
    Hosts(Vec<Port>),
    /// Everything, also what is no host of the cluster.
    Any,
}

impl End {
    /// The hosts' ports, as far as they are named.
    #[must_use]
    pub fn ports(&self) -> &[Port] {
        match self {
            Self::Hosts(ports) => ports,
            Self::Any => &[],
        }
    }

    fn is_nobody(&self) -> bool {
        *self == Self::Hosts(Vec::new())
    }
}

/// What becomes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Silence: the sender learns nothing.
    Drop,
    /// The sender is told at once: a TCP reset, and "administratively prohibited" for everything else of IP. ARP still
    /// passes.
    Reject,
    /// So many of 10,000 frames are dropped at random.
    Lose(u16),
}

/// The text for `nft -f -`: replaces all rules of ours by these. A rejection needs the sender's port, so those of
/// senders that are not `there` are left out; nothing comes from them.
#[must_use]
pub fn render(rules: &[Rule], there: &BTreeSet<Interface>) -> String {
    let mut text = String::new();
    for family in ["bridge", "netdev"] {
        // Naming it first makes it exist, so that deleting it does not fail.
        let _ = writeln!(text, "table {family} {TABLE}\ndelete table {family} {TABLE}");
    }
    let rules: Vec<_> = rules.iter().filter(|rule| !rule.from.is_nobody() && !rule.to.is_nobody()).collect();
    let silent: String = rules.iter().filter_map(|rule| silence(rule)).collect();
    if !silent.is_empty() {
        let _ = writeln!(text, "table bridge {TABLE} {{\n  chain faults {{\n{silent}  }}");
        // To other ports, to the switch itself and from it.
        for hook in ["forward", "input", "output"] {
            let _ = writeln!(text, "  chain {hook} {{ type filter hook {hook} priority 0; jump faults; }}");
        }
        text += "}\n";
    }
    let chains: String = there.iter().filter_map(|port| rejections(port, &rules)).collect();
    if !chains.is_empty() {
        let _ = writeln!(text, "table netdev {TABLE} {{\n{chains}}}");
    }
    text
}

/// The rule of the family `bridge` for what is dropped or lost.
fn silence(rule: &Rule) -> Option<String> {
    let effect = match rule.effect {
        Effect::Drop => "drop".to_owned(),
        Effect::Lose(share) => format!("numgen random mod 10000 < {share} drop"),
        Effect::Reject => return None,
    };
    let interfaces = |ports: &[Port]| set(ports.iter().map(|port| format!("\"{}\"", port.interface)));
    let matches = match (&rule.from, &rule.to) {
        (End::Any, End::Any) => String::new(),
        (End::Hosts(from), End::Any) => format!("iifname {} ", interfaces(from)),
        (End::Any, End::Hosts(to)) => format!("oifname {} ", interfaces(to)),
        (End::Hosts(from), End::Hosts(to)) => format!("ether saddr {} oifname {} ", macs(from), interfaces(to)),
    };
    Some(format!("    {matches}{effect}\n"))
}

/// The chain of the family `netdev` for what is rejected where it enters the switch: the family `bridge` cannot reject
/// on every kernel.
fn rejections(port: &Interface, rules: &[&Rule]) -> Option<String> {
    let mut lines = String::new();
    let here =
        |rule: &&&Rule| rule.effect == Effect::Reject && rule.from.ports().iter().any(|from| from.interface == *port);
    for rule in rules.iter().filter(here) {
        let to = match &rule.to {
            End::Any => String::new(),
            End::Hosts(to) => format!("ether daddr {} ", macs(to)),
        };
        let _ = writeln!(lines, "    {to}meta l4proto tcp reject with tcp reset");
        let _ = writeln!(lines, "    {to}meta protocol {{ ip, ip6 }} reject with icmpx type admin-prohibited");
    }
    let hook = format!("type filter hook ingress device \"{port}\" priority 0;");
    (!lines.is_empty()).then(|| format!("  chain from-{port} {{\n    {hook}\n{lines}  }}\n"))
}

fn macs(ports: &[Port]) -> String {
    set(ports.iter().map(|port| port.mac.to_string()))
}

fn set(elements: impl Iterator<Item = String>) -> String {
    // In order and once each: nft refuses a set that holds something twice.
    let elements: BTreeSet<_> = elements.collect();
    format!("{{ {} }}", elements.into_iter().collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(number: u8) -> Port {
        Port { interface: format!("cp{number}").parse().unwrap(), mac: super::super::Mac([2, 0, 0, 0, 0, number]) }
    }

    fn rule(from: End, to: End, effect: Effect) -> Rule {
        Rule { from, to, effect }
    }

    #[test]
    fn nothing_named_is_nothing_done() {
        let empty = "table bridge seaworthy\ndelete table bridge seaworthy\ntable netdev seaworthy\n\
                     delete table netdev seaworthy\n";
        assert_eq!(render(&[], &BTreeSet::new()), empty);
        let nobody = rule(End::Hosts(Vec::new()), End::Any, Effect::Drop);
        assert_eq!(render(&[nobody], &BTreeSet::new()), empty);
    }

    #[test]
    fn a_sender_is_known_by_address_and_a_receiver_by_port() {
        let hosts = |numbers: &[u8]| End::Hosts(numbers.iter().copied().map(port).collect());
        let rules = [
            rule(hosts(&[2, 1]), hosts(&[3]), Effect::Drop),
            rule(End::Any, hosts(&[1]), Effect::Lose(250)),
            rule(hosts(&[2]), End::Any, Effect::Drop),
            rule(hosts(&[1, 3]), hosts(&[2]), Effect::Reject),
        ];
        let there = [port(1).interface].into();
        assert_eq!(
            render(&rules, &there).split_once("delete table netdev seaworthy\n").unwrap().1,
            r#"table bridge seaworthy {
  chain faults {
    ether saddr { 02:00:00:00:00:01, 02:00:00:00:00:02 } oifname { "cp3" } drop
    oifname { "cp1" } numgen random mod 10000 < 250 drop
    iifname { "cp2" } drop
  }
  chain forward { type filter hook forward priority 0; jump faults; }
  chain input { type filter hook input priority 0; jump faults; }
  chain output { type filter hook output priority 0; jump faults; }
}
table netdev seaworthy {
  chain from-cp1 {
    type filter hook ingress device "cp1" priority 0;
    ether daddr { 02:00:00:00:00:02 } meta l4proto tcp reject with tcp reset
    ether daddr { 02:00:00:00:00:02 } meta protocol { ip, ip6 } reject with icmpx type admin-prohibited
  }
}
"#
        );
    }
}

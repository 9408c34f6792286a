//! `seaworthy explain cidr`: how many nodes and pods fit into networks, and what Kubernetes refuses.

use seaworthy_suites::dualstack::cidr::{NodeMasks, PodNetwork, parse, pods};

use crate::answer;
use crate::cli::ExplainOptions;
use crate::fault::Fault;

/// Explains networks for pods. Exit code 1 where one cannot be used as it is.
pub(crate) fn explain(cidrs: &str, options: &ExplainOptions) -> Result<i32, Fault> {
    if options.id.as_deref() != Some("cidr") {
        let id = options.id.as_deref().unwrap_or_default();
        return Err(Fault::usage(format!("explain {id} takes no further word")).hint("seaworthy explain cidr CIDRS"));
    }
    let networks = parse(cidrs).map_err(Fault::usage)?;
    let default = NodeMasks::default();
    let masks = NodeMasks {
        ipv4: options.node_mask_ipv4.unwrap_or(default.ipv4),
        ipv6: options.node_mask_ipv6.unwrap_or(default.ipv6),
    };
    let all = pods(&networks, masks, options.nodes.map(u128::from));
    answer::print(&all.iter().map(told).collect::<String>());
    if let [first, second] = &all[..]
        && first.nodes != second.nodes
    {
        let fewest = first.nodes.min(second.nodes);
        answer::print(&format!("together: {fewest} nodes; a node needs a network of each family\n"));
    }
    Ok(i32::from(all.iter().any(|one| !one.problems.is_empty())))
}

fn told(one: &PodNetwork) -> String {
    let nodes = format!("{} nodes with a /{} each", one.nodes, one.node_mask);
    let mut text = format!("{}: {nodes}, {} addresses a node\n", one.network, count(one.addresses));
    for problem in &one.problems {
        text += &format!("  problem: {problem}\n");
    }
    text
}

/// A count that people can read: large ones as a power of two.
fn count(number: u128) -> String {
    match number {
        u128::MAX => "2^128".to_owned(),
        _ if number >= 1 << 20 && number.is_power_of_two() => format!("2^{}", number.trailing_zeros()),
        _ => number.to_string(),
    }
}

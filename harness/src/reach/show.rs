//! What `listen` heard and what `reach` found, as a table and as JSON.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde::Serialize;

use super::{Port, Transport};
use crate::cli::Output;
use crate::fault::Fault;
use crate::text::Page;

/// How a port fares, seen from this machine.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "result", rename_all = "kebab-case")]
pub(super) enum Fare {
    /// The listener answered.
    Open {
        /// How long it took.
        milliseconds: f64,
    },
    /// Something else answers, or uses it.
    InUse {
        /// Its name, if the listener tells.
        by: Option<String>,
    },
    /// A reset, or ICMP that says that nobody listens.
    Refused {
        /// Does the peer say that it listens there?
        listened: bool,
    },
    /// ICMP of a router or firewall, or an error of this machine.
    Rejected {
        /// What it says.
        why: String,
    },
    /// No answer at all.
    Dropped {
        /// How long it was waited for.
        seconds: f64,
    },
    /// The peer does not listen there.
    NotListened,
    /// It could not be tried.
    Failed {
        /// Why.
        why: String,
    },
}

impl Fare {
    /// The word of the table, and the rest of its line.
    fn words(&self) -> (&'static str, String) {
        match self {
            Self::Open { milliseconds } => ("open", format!("{milliseconds} ms")),
            Self::InUse { by: Some(who) } => ("in use", format!("by {who}")),
            Self::InUse { by: None } => ("in use", "by something that is not seaworthy listen".to_owned()),
            Self::Refused { listened: true } => {
                ("refused", "a firewall resets connections, since seaworthy listens there".to_owned())
            }
            Self::Refused { listened: false } => ("refused", "nothing listens there, or a firewall resets".to_owned()),
            Self::Rejected { why } => ("rejected", why.clone()),
            Self::Dropped { seconds } => {
                ("dropped", format!("no answer within {seconds} s: a firewall drops it, or the peer is down"))
            }
            Self::NotListened => ("untested", "the peer does not listen there; give both the same ports".to_owned()),
            Self::Failed { why } => ("failed", why.clone()),
        }
    }

    fn is_fine(&self) -> bool {
        matches!(self, Self::Open { .. } | Self::InUse { .. })
    }
}

/// The MTU of a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Mtu {
    /// Of the interface towards the peer.
    pub(super) interface: Option<u32>,
    /// Of the peer's interface.
    pub(super) peer: Option<u32>,
    /// The largest packet that comes through both ways, by UDP.
    pub(super) path: Option<u32>,
    /// Does a connection hang once full packets are sent?
    pub(super) stalls: bool,
}

/// How far the peer's clock is ahead.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Clock {
    /// Milliseconds that the peer is ahead; negative if it is behind.
    pub(super) offset_ms: f64,
    /// By how much that may be wrong: half of the time that the question took.
    pub(super) uncertainty_ms: f64,
    /// Is it more than what is fine, for sure?
    pub(super) differs: bool,
}

impl Clock {
    /// The surest of several measurements: offset in microseconds and the time that the question took.
    pub(super) fn of(all: impl Iterator<Item = (i64, Duration)>, allowed: u32) -> Option<Self> {
        let (offset, took) = all.min_by_key(|(_, took)| *took)?;
        #[allow(clippy::cast_precision_loss, reason = "milliseconds to two places")]
        let offset_ms = (offset as f64 / 10.0).round() / 100.0;
        let uncertainty_ms = (took.as_secs_f64() * 5e4).round() / 100.0;
        let differs = offset_ms.abs() - uncertainty_ms > f64::from(allowed);
        Some(Self { offset_ms, uncertainty_ms, differs })
    }
}

/// What one address of a peer was asked, and how it fared.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) peer: String,
    pub(super) address: IpAddr,
    /// What it calls itself.
    pub(super) host: Option<String>,
    /// The addresses that this name has here.
    pub(super) known: Option<Vec<IpAddr>>,
    pub(super) ports: Vec<(Port, Fare)>,
    pub(super) mtu: Option<Mtu>,
    pub(super) clock: Option<Clock>,
}

#[derive(Debug, Serialize)]
struct PeerReport {
    peer: String,
    address: IpAddr,
    host: Option<String>,
    ports: Vec<PortReport>,
    mtu: Option<Mtu>,
    clock: Option<Clock>,
    problems: Vec<String>,
    undetermined: Vec<String>,
}

#[derive(Debug, Serialize)]
struct PortReport {
    port: String,
    #[serde(flatten)]
    fare: Fare,
}

/// The report of `seaworthy reach`.
#[derive(Debug, Serialize)]
pub(super) struct Reached {
    peers: Vec<PeerReport>,
    pub(super) exit_code: i32,
}

impl Reached {
    pub(super) fn of(asked: Vec<Asked>) -> Self {
        let peers: Vec<_> = asked.into_iter().map(judge).collect();
        let exit_code = if peers.iter().any(|peer| !peer.problems.is_empty()) {
            1
        } else if peers.iter().any(|peer| !peer.undetermined.is_empty()) {
            3
        } else {
            0
        };
        Self { peers, exit_code }
    }
}

fn judge(asked: Asked) -> PeerReport {
    let Asked { peer, address, host, known, ports, mtu, clock } = asked;
    let (mut problems, mut undetermined) = (Vec::new(), Vec::new());
    // Where no listener answered and nothing was dropped, nothing is known of firewalls.
    let deaf = host.is_none() && mtu.is_none();
    let alive = ports.iter().any(|(_, fare)| matches!(fare, Fare::Refused { .. } | Fare::InUse { .. }));
    let silent = |port: &Port| port.transport == Transport::Udp && alive;
    let dropped = ports.iter().any(|(port, fare)| match fare {
        Fare::Dropped { .. } => !silent(port),
        Fare::Rejected { .. } => true,
        _ => false,
    });
    if deaf && !dropped {
        undetermined.push(format!("no listener answers at {address}: run `seaworthy listen` there"));
    }
    for (port, fare) in &ports {
        let (word, rest) = fare.words();
        match fare {
            fare if fare.is_fine() => {}
            Fare::NotListened => undetermined.push(format!("{port} was not tested: {rest}")),
            Fare::Refused { listened: false } if deaf => {}
            // A kernel says only now and then that nobody listens (net.ipv4.icmp_ratelimit).
            Fare::Dropped { .. } if deaf && silent(port) => {}
            _ => problems.push(format!("{port} is {word}: {rest}")),
        }
    }
    if let Some(mtu) = &mtu {
        let of_path = mtu.interface.zip(mtu.path).filter(|(interface, path)| path < interface);
        if let Some((here, there)) = mtu.interface.zip(mtu.peer).filter(|(here, there)| here != there) {
            problems.push(format!("the MTU differs: {here} here, {there} at the peer"));
        } else if let Some((interface, path)) = of_path {
            problems.push(format!(
                "packets of more than {path} bytes are lost on the way, and the interface's MTU is {interface}"
            ));
        }
        if mtu.stalls {
            problems.push(
                "a connection opens and hangs once full packets are sent: the MTU of the path is too small".to_owned(),
            );
        }
    }
    if let Some(clock) = clock.as_ref().filter(|clock| clock.differs) {
        problems.push(format!("the peer's clock is {:+} ms off; synchronize both", clock.offset_ms));
    }
    if let (Some(host), Some(known)) = (&host, &known) {
        if known.is_empty() {
            problems.push(format!("the peer calls itself {host}, a name that does not resolve here"));
        } else if !known.contains(&address) && known.iter().any(|other| other.is_ipv4() == address.is_ipv4()) {
            let known: Vec<_> = known.iter().map(ToString::to_string).collect();
            problems.push(format!("the peer calls itself {host}, which is {} here, not {address}", known.join(", ")));
        }
    }
    let ports = ports.into_iter().map(|(port, fare)| PortReport { port: port.to_string(), fare }).collect();
    PeerReport { peer, address, host, ports, mtu, clock, problems, undetermined }
}

/// What `reach` prints.
pub(super) fn reached(reached: &Reached, output: Output) -> Result<String, Fault> {
    if output == Output::Json {
        return json(reached);
    }
    let page = Page::stdout();
    let mut text = String::new();
    for peer in &reached.peers {
        let mut head = vec![format!("{} at {}", peer.host.as_ref().unwrap_or(&peer.peer), peer.address)];
        head.extend(
            peer.clock
                .as_ref()
                .map(|clock| format!("clock {:+} ms (within {} ms)", clock.offset_ms, clock.uncertainty_ms)),
        );
        head.extend(peer.mtu.as_ref().and_then(|mtu| mtu.path).map(|path| format!("path MTU {path}")));
        text += &page.wrap("", 2, &head.join(" · "));
        for PortReport { port, fare } in &peer.ports {
            let (word, rest) = fare.words();
            text += &page.wrap(&format!("  {port:<10} {word:<9} "), page.indent(23).max(4), &rest);
        }
        for problem in &peer.problems {
            text += &page.wrap("  problem: ", 4, problem);
        }
        for reason in &peer.undetermined {
            text += &page.wrap("  undetermined: ", 4, reason);
        }
        text.push('\n');
    }
    let problems: usize = reached.peers.iter().map(|peer| peer.problems.len()).sum();
    text += &match reached.exit_code {
        0 => format!("All of {} addresses are reached as they should be\n", reached.peers.len()),
        1 => format!("{problems} problems with {} addresses\n", reached.peers.len()),
        _ => "Undetermined: a listener or a port of one is missing\n".to_owned(),
    };
    Ok(text)
}

/// Who asked.
#[derive(Debug, Serialize)]
pub(super) struct Heard {
    pub(super) peer: IpAddr,
    /// How often, by port.
    pub(super) ports: BTreeMap<String, u32>,
}

/// The report of `seaworthy listen`.
#[derive(Debug, Serialize)]
pub(super) struct Listened {
    pub(super) host: String,
    pub(super) open: Vec<String>,
    pub(super) busy: BTreeMap<String, String>,
    pub(super) refused: BTreeMap<String, String>,
    pub(super) heard: Vec<Heard>,
}

/// What `listen` prints as it ends.
pub(super) fn listened(listened: &Listened, output: Output) -> Result<String, Fault> {
    if output == Output::Json {
        return json(listened);
    }
    let page = Page::stdout();
    let mut text = String::new();
    for Heard { peer, ports } in &listened.heard {
        let ports: Vec<_> = ports.iter().map(|(port, count)| format!("{port} ({count})")).collect();
        text += &page.wrap(&format!("{peer} reached "), 2, &ports.join(", "));
        let missed: Vec<_> = listened
            .open
            .iter()
            .filter(|port| !ports.iter().any(|seen| seen.starts_with(&format!("{port} "))))
            .cloned()
            .collect();
        if !missed.is_empty() {
            text += &page.wrap(&format!("{peer} did not reach "), 2, &missed.join(", "));
        }
    }
    if listened.heard.is_empty() {
        text += "Nobody asked\n";
    }
    Ok(text)
}

fn json(value: &impl Serialize) -> Result<String, Fault> {
    Ok(serde_json::to_string_pretty(value).map_err(|error| Fault::ours(error.to_string()))? + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(fares: &[(&str, Fare)]) -> Asked {
        Asked {
            peer: "b".to_owned(),
            address: "192.0.2.2".parse().unwrap(),
            host: Some("node-b".to_owned()),
            known: Some(vec!["192.0.2.2".parse().unwrap()]),
            ports: fares.iter().map(|(port, fare)| (port.parse().unwrap(), fare.clone())).collect(),
            mtu: Some(Mtu { interface: Some(1500), peer: Some(1500), path: Some(1500), stalls: false }),
            clock: Clock::of([(2_000, Duration::from_millis(1))].into_iter(), 1000),
        }
    }

    fn problems(asked: Asked) -> (i32, Vec<String>) {
        let mut reached = Reached::of(vec![asked]);
        (reached.exit_code, reached.peers.remove(0).problems)
    }

    #[test]
    fn what_is_reached_is_fine_and_a_port_in_use_is_no_error() {
        let fares = [("tcp/6443", Fare::Open { milliseconds: 0.3 }), ("tcp/10250", Fare::InUse { by: None })];
        assert_eq!(problems(asked(&fares)), (0, Vec::new()));
        let (code, none) = problems(asked(&[("tcp/1", Fare::NotListened)]));
        assert_eq!((code, none.len()), (3, 0));
    }

    #[test]
    fn each_thing_that_is_wrong_is_a_problem() {
        let one = |edit: fn(&mut Asked)| {
            let mut asked = asked(&[("tcp/6443", Fare::Open { milliseconds: 0.3 })]);
            edit(&mut asked);
            let (code, problems) = problems(asked);
            assert_eq!((code, problems.len()), (1, 1), "{problems:?}");
            problems.concat()
        };
        assert!(one(|asked| asked.ports[0].1 = Fare::Dropped { seconds: 3.0 }).contains("tcp/6443 is dropped"));
        assert!(one(|asked| asked.ports[0].1 = Fare::Refused { listened: true }).contains("firewall"));
        assert!(one(|asked| asked.mtu.as_mut().unwrap().peer = Some(9000)).contains("1500 here, 9000"));
        assert!(one(|asked| asked.mtu.as_mut().unwrap().path = Some(1450)).contains("more than 1450 bytes"));
        assert!(one(|asked| asked.mtu.as_mut().unwrap().stalls = true).contains("hangs"));
        assert!(one(|asked| asked.known = Some(Vec::new())).contains("does not resolve"));
        assert!(one(|asked| asked.known = Some(vec!["192.0.2.9".parse().unwrap()])).contains("192.0.2.9"));
        let clock =
            |asked: &mut Asked| asked.clock = Clock::of([(-5_000_000, Duration::from_millis(1))].into_iter(), 1000);
        assert!(one(clock).contains("-5000 ms"));
    }

    #[test]
    fn a_clock_that_may_be_right_is_not_blamed() {
        // A second and a half, give or take a second.
        let clock = Clock::of([(1_500_000, Duration::from_secs(2))].into_iter(), 1000).unwrap();
        assert!(!clock.differs && clock.uncertainty_ms > 999.0, "{clock:?}");
    }
}

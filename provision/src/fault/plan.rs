//! What is to be in force, out of all faults that are active: a pure function of them and of the cluster's hosts.

use std::collections::{BTreeMap, BTreeSet};

use super::disk::Settings;
use super::link::delay::{DelayedPath, Delays, Shape};
use super::link::{Effect, End, Port, Rule};
use super::{Fault, Hosts, Path, Selector};

/// The hosts of a cluster, by name.
pub type Topology = BTreeMap<String, Host>;

/// What a plan has to know of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Where it is plugged in.
    pub port: Port,
    /// The zone it is in.
    pub zone: Option<String>,
    /// Whether a member of etcd runs on it, so that it counts for majority and minority.
    pub etcd: bool,
}

/// What is to be in force, and nothing else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// For [`link::apply`](super::link::apply).
    pub rules: Vec<Rule>,
    /// For [`link::delay::set`](super::link::delay::set).
    pub delays: Delays,
    /// By host. The disk of a host that is not named has the default settings.
    pub disks: BTreeMap<String, Settings>,
    /// Processes that are not as they should be, by host and component; without a component everything on the host.
    pub processes: BTreeMap<(String, Option<String>), Held>,
}

/// How a process is kept from its work. Where several faults hold one, the last of this list wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Held {
    /// By SIGSTOP.
    Stopped,
    /// By SIGKILL.
    Down,
    /// By SIGKILL of everything on the host, after which its disk drops what was not synced.
    Off,
}

/// A fault that names what the cluster does not have.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// No host has this name.
    #[error("there is no host {name:?}; the cluster has {}", .hosts.join(", "))]
    NoHost {
        /// The name.
        name: String,
        /// The hosts that there are.
        hosts: Vec<String>,
    },
    /// No host is in this zone.
    #[error("no host is in the zone {0:?}")]
    NoZone(String),
    /// A minority of these members of etcd is nobody.
    #[error("etcd has {0} members on these hosts: there is no minority of them")]
    NoMinority(usize),
    /// A host would be parted from itself.
    #[error("{0} stands on both sides of \"{1}\"")]
    BothSides(String, Fault),
    /// A partition has nobody on its other side.
    #[error("\"{0}\" is for all hosts: nobody is left on the other side")]
    NobodyElse(Fault),
}

/// Which hosts a set names.
///
/// # Errors
/// [`PlanError`]: a name that the cluster does not have.
pub fn resolve(hosts: &Hosts, topology: &Topology) -> Result<BTreeSet<String>, PlanError> {
    let mut all = BTreeSet::new();
    let members: Vec<_> = topology.iter().filter(|(_, host)| host.etcd).map(|(name, _)| name.clone()).collect();
    let majority = members.len() / 2 + 1;
    for selector in &hosts.0 {
        match selector {
            Selector::Host(name) if topology.contains_key(name) => {
                all.insert(name.clone());
            }
            Selector::Host(name) => {
                return Err(PlanError::NoHost { name: name.clone(), hosts: topology.keys().cloned().collect() });
            }
            Selector::Zone(zone) => {
                let inside = topology.iter().filter(|(_, host)| host.zone.as_ref() == Some(zone));
                let inside: Vec<_> = inside.map(|(name, _)| name.clone()).collect();
                if inside.is_empty() {
                    return Err(PlanError::NoZone(zone.clone()));
                }
                all.extend(inside);
            }
            Selector::Majority => all.extend(members.iter().take(majority).cloned()),
            Selector::Minority if members.len() <= majority => return Err(PlanError::NoMinority(members.len())),
            Selector::Minority => all.extend(members[majority..].iter().cloned()),
        }
    }
    Ok(all)
}

/// What is to be in force.
///
/// # Errors
/// [`PlanError`]: a fault names what the cluster does not have. Ask before you let one begin.
pub fn plan<'a>(faults: impl IntoIterator<Item = &'a Fault>, topology: &Topology) -> Result<Plan, PlanError> {
    let mut plan = Plan::default();
    let mut shapes = Shapes::default();
    for fault in faults {
        match fault {
            Fault::Kill(processes) => {
                plan.hold(&processes.hosts, processes.component.as_ref(), Held::Down, topology)?
            }
            Fault::Stop(processes) => {
                plan.hold(&processes.hosts, processes.component.as_ref(), Held::Stopped, topology)?;
            }
            // Over at once; but whom it names has to be there.
            Fault::Restart(processes) => drop(resolve(&processes.hosts, topology)?),
            Fault::PowerCut { hosts } => plan.hold(hosts, None, Held::Off, topology)?,
            Fault::Partition { path, reject } => {
                let (from, to) = sides(fault, path, topology)?;
                // Whom no side was named for is parted from the hosts, and not from what is none.
                let others = || topology.keys().filter(|name| !from.contains(*name)).cloned().collect();
                let to: BTreeSet<String> = to.unwrap_or_else(others);
                if to.is_empty() {
                    return Err(PlanError::NobodyElse(fault.clone()));
                }
                let effect = if *reject { Effect::Reject } else { Effect::Drop };
                plan.rule(path, ports(&from, topology), ports(&to, topology), effect);
            }
            Fault::Isolate { hosts, reject } => plan.isolate(&resolve(hosts, topology)?, *reject, topology),
            Fault::Loss { path, share } => {
                let (from, to) = sides(fault, path, topology)?;
                let to = to.map_or(End::Any, |to| ports(&to, topology));
                plan.rule(path, ports(&from, topology), to, Effect::Lose(share.0));
            }
            Fault::Delay { path, delay, jitter } => {
                let shape = Shape { delay: *delay, jitter: *jitter, rate: None };
                shapes.add(path, sides(fault, path, topology)?, shape, topology);
            }
            Fault::Bandwidth { path, rate } => {
                let shape = Shape { rate: Some(*rate), ..Shape::default() };
                shapes.add(path, sides(fault, path, topology)?, shape, topology);
            }
            Fault::DiskFull { hosts, free } => plan.disk(hosts, topology, |disk| {
                disk.free = Some(disk.free.map_or(*free, |other| other.min(*free)));
            })?,
            Fault::SlowDisk { hosts, fsync, read, write } => plan.disk(hosts, topology, |disk| {
                disk.fsync += *fsync;
                disk.read += *read;
                disk.write += *write;
            })?,
            Fault::DiskErrors { hosts } => plan.disk(hosts, topology, |disk| disk.read_errors = true)?,
        }
    }
    plan.delays = shapes.segments(topology);
    Ok(plan)
}

/// The two sides of a path, which share nobody.
type Sides = (BTreeSet<String>, Option<BTreeSet<String>>);

fn sides(fault: &Fault, path: &Path, topology: &Topology) -> Result<Sides, PlanError> {
    let from = resolve(&path.from, topology)?;
    let to = path.to.as_ref().map(|to| resolve(to, topology)).transpose()?;
    match to.as_ref().and_then(|to| from.intersection(to).next()) {
        Some(both) => Err(PlanError::BothSides(both.clone(), fault.clone())),
        None => Ok((from, to)),
    }
}

fn ports(names: &BTreeSet<String>, topology: &Topology) -> End {
    End::Hosts(names.iter().filter_map(|name| topology.get(name)).map(|host| host.port.clone()).collect())
}

impl Plan {
    fn hold(
        &mut self,
        hosts: &Hosts,
        component: Option<&String>,
        held: Held,
        topology: &Topology,
    ) -> Result<(), PlanError> {
        for host in resolve(hosts, topology)? {
            let entry = self.processes.entry((host, component.cloned())).or_insert(held);
            *entry = held.max(*entry);
        }
        Ok(())
    }

    fn disk(&mut self, hosts: &Hosts, topology: &Topology, change: impl Fn(&mut Settings)) -> Result<(), PlanError> {
        for host in resolve(hosts, topology)? {
            change(self.disks.entry(host).or_default());
        }
        Ok(())
    }

    fn rule(&mut self, path: &Path, from: End, to: End, effect: Effect) {
        if !path.one_way {
            self.rules.push(Rule { from: to.clone(), to: from.clone(), effect });
        }
        self.rules.push(Rule { from, to, effect });
    }

    fn isolate(&mut self, hosts: &BTreeSet<String>, reject: bool, topology: &Topology) {
        let isolated = ports(hosts, topology);
        if reject {
            // A rejection needs the sender's port, so what no host sends meets silence below.
            let everyone = End::Hosts(topology.values().map(|host| host.port.clone()).collect());
            self.rules.push(Rule { from: isolated.clone(), to: End::Any, effect: Effect::Reject });
            self.rules.push(Rule { from: everyone, to: isolated.clone(), effect: Effect::Reject });
        }
        self.rules.push(Rule { from: isolated.clone(), to: End::Any, effect: Effect::Drop });
        self.rules.push(Rule { from: End::Any, to: isolated, effect: Effect::Drop });
    }
}

/// What happens on the way from one host to another. `None` is what is no host of the cluster, and on the common
/// bridge.
#[derive(Default)]
struct Shapes<'a>(BTreeMap<(Option<&'a str>, Option<&'a str>), Shape>);

impl<'a> Shapes<'a> {
    fn add(&mut self, path: &Path, (from, to): Sides, shape: Shape, topology: &'a Topology) {
        let all = || topology.keys().map(|name| Some(name.as_str())).chain([None]);
        let inside = |side: &BTreeSet<String>, name: Option<&str>| name.is_some_and(|name| side.contains(name));
        for sender in all() {
            for receiver in all().filter(|&receiver| receiver != sender) {
                let there = |a, b| inside(&from, a) && to.as_ref().is_none_or(|to| inside(to, b));
                // A frame between two hosts whose links are both late is late twice.
                let back = !path.one_way && there(receiver, sender);
                for _ in 0..usize::from(there(sender, receiver)) + usize::from(back) {
                    let sum = self.0.entry((sender, receiver)).or_default();
                    sum.delay += shape.delay;
                    sum.jitter += shape.jitter;
                    sum.rate = [sum.rate, shape.rate].into_iter().flatten().min();
                }
            }
        }
    }

    fn of(&self, from: Option<&'a str>, to: Option<&'a str>) -> Shape {
        self.0.get(&(from, to)).copied().unwrap_or_default()
    }

    /// Puts hosts that are alike on one segment: nothing between them, and the same to all others.
    fn segments(&self, topology: &'a Topology) -> Delays {
        let mut first: Vec<Option<&str>> = vec![None];
        let mut delays = Delays::default();
        let everyone: Vec<_> = topology.keys().map(|name| Some(name.as_str())).chain([None]).collect();
        for (name, host) in topology {
            let name = Some(name.as_str());
            let alike = |other: Option<&'a str>| {
                everyone.iter().filter(|&&third| third != name && third != other).all(|&third| {
                    self.of(name, third) == self.of(other, third) && self.of(third, name) == self.of(third, other)
                }) && self.of(name, other) == Shape::default()
                    && self.of(other, name) == Shape::default()
            };
            let segment = first.iter().position(|&other| alike(other)).unwrap_or_else(|| {
                first.push(name);
                first.len() - 1
            });
            if segment > 0 {
                delays.segments.insert(host.port.interface.clone(), segment);
            }
        }
        for (from, &sender) in first.iter().enumerate() {
            for (to, &receiver) in first.iter().enumerate() {
                let shape = self.of(sender, receiver);
                if from != to && shape != Shape::default() {
                    delays.paths.push(DelayedPath { from, to, shape });
                }
            }
        }
        delays
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::fault::grammar::{Wish, parse};
    use crate::fault::link::Mac;

    /// cp1, cp2, cp3 with etcd and w1, w2 without; cp1 and w1 in the zone a, cp2 and w2 in b, cp3 in c.
    fn topology() -> Topology {
        let zones = [("cp1", "a"), ("cp2", "b"), ("cp3", "c"), ("w1", "a"), ("w2", "b")];
        let host = |((name, zone), number): ((&str, &str), u8)| {
            let port = Port { interface: name.parse().unwrap(), mac: Mac([2, 0, 0, 0, 0, number]) };
            (name.to_owned(), Host { port, zone: Some(zone.to_owned()), etcd: name.starts_with("cp") })
        };
        zones.into_iter().zip(1..).map(host).collect()
    }

    fn planned(texts: &[&str]) -> Result<Plan, PlanError> {
        let fault = |text: &&str| match parse(&text.split(' ').collect::<Vec<_>>()).unwrap() {
            Wish::Begin(fault, _) => fault,
            other => panic!("{other:?}"),
        };
        plan(&texts.iter().map(fault).collect::<Vec<_>>(), &topology())
    }

    fn rules(text: &str) -> Vec<String> {
        let end = |end: &End| match end {
            End::Any => "any".to_owned(),
            End::Hosts(ports) => ports.iter().map(|port| port.interface.name()).collect::<Vec<_>>().join("+"),
        };
        let rule = |rule: &Rule| format!("{} > {}: {:?}", end(&rule.from), end(&rule.to), rule.effect);
        planned(&[text]).unwrap().rules.iter().map(rule).collect()
    }

    #[test]
    fn nothing_active_is_nothing_in_force() {
        assert_eq!(planned(&[]), Ok(Plan::default()));
    }

    #[test]
    fn partitions_and_losses_are_rules() {
        for (text, expected) in [
            ("partition cp1 / cp2,w2", vec!["cp2+w2 > cp1: Drop", "cp1 > cp2+w2: Drop"]),
            ("partition minority --one-way --reject", vec!["cp3 > cp1+cp2+w1+w2: Reject"]),
            ("partition zone:a / majority,w2 --one-way", vec![]),
            ("loss w1 5%", vec!["any > w1: Lose(500)", "w1 > any: Lose(500)"]),
            ("isolate cp1,w1", vec!["cp1+w1 > any: Drop", "any > cp1+w1: Drop"]),
        ] {
            if expected.is_empty() {
                let both = planned(&[text]).unwrap_err().to_string();
                assert_eq!(
                    both,
                    format!("cp1 stands on both sides of \"{}\"", "partition zone:a / w2,majority --one-way")
                );
            } else {
                assert_eq!(rules(text), expected, "{text}");
            }
        }
        assert_eq!(rules("isolate cp1 --reject")[1], "cp1+cp2+cp3+w1+w2 > cp1: Reject");
    }

    #[test]
    fn what_the_cluster_does_not_have_is_named() {
        for (text, reason) in [
            ("kill cp9", "there is no host \"cp9\"; the cluster has cp1, cp2, cp3, w1, w2"),
            ("restart zone:z/etcd", "no host is in the zone \"z\""),
            (
                "partition zone:a,zone:b,zone:c",
                "\"partition zone:a,zone:b,zone:c\" is for all hosts: nobody is left on the other side",
            ),
        ] {
            assert_eq!(planned(&[text]).unwrap_err().to_string(), reason);
        }
        let one: Topology = topology().into_iter().filter(|(name, _)| name == "cp1").collect();
        let alone = resolve(&"minority".parse().unwrap(), &one).unwrap_err().to_string();
        assert_eq!(alone, "etcd has 1 members on these hosts: there is no minority of them");
    }

    /// The delay from one host (or, without a name, from outside) to another, in milliseconds, as the segments make it.
    fn late(delays: &Delays, from: &str, to: &str) -> u128 {
        let segment = |name: &str| match name {
            "" => 0,
            name => delays.segments.get(&name.parse().unwrap()).copied().unwrap_or(0),
        };
        let path = delays.paths.iter().find(|path| (path.from, path.to) == (segment(from), segment(to)));
        path.map_or(0, |path| path.shape.delay.as_millis())
    }

    #[test]
    fn delays_add_up_and_need_as_few_segments_as_can_be() {
        let delays = planned(&["delay cp1 20ms"]).unwrap().delays;
        assert_eq!(delays.segments, [("cp1".parse().unwrap(), 1)].into());
        for (from, to, expected) in [("cp1", "w1", 20), ("w1", "cp1", 20), ("", "cp1", 20), ("w1", "w2", 0)] {
            assert_eq!(late(&delays, from, to), expected, "{from} to {to}");
        }
        let zones = [
            "delay zone:a / zone:b 5ms",
            "delay zone:b / zone:c 7ms --one-way",
            "delay cp1 20ms",
            "delay w1 1ms --one-way",
        ];
        let delays = planned(&zones).unwrap().delays;
        // Outside, cp1, cp2 with w2, cp3, w1.
        assert_eq!(delays.segments.values().max(), Some(&4));
        for (from, to, expected) in [
            ("cp1", "cp2", 25),
            ("w2", "cp1", 25),
            ("cp1", "w1", 20),
            ("w1", "cp1", 21),
            ("w1", "w2", 6),
            ("w2", "w1", 5),
            ("cp2", "w2", 0),
            ("w2", "cp3", 7),
            ("cp3", "w2", 0),
            ("", "cp1", 20),
            ("", "w2", 0),
        ] {
            assert_eq!(late(&delays, from, to), expected, "{from} to {to}");
        }
        // Two late links make twice as late.
        assert_eq!(late(&planned(&["delay cp1,cp2 20ms"]).unwrap().delays, "cp1", "cp2"), 40);
        let narrow = planned(&["bandwidth cp1 10Mbit", "bandwidth cp1 / cp2 1Mbit"]).unwrap().delays;
        let rates: BTreeSet<_> = narrow.paths.iter().filter_map(|path| path.shape.rate).map(u64::from).collect();
        assert_eq!(rates, [1_000_000, 10_000_000].into());
    }

    #[test]
    fn disks_and_processes_take_the_worst_of_what_is_asked() {
        let plan = planned(&[
            "disk-full cp1,cp2 --free 2MiB",
            "disk-full cp1 --free 1MiB",
            "slow-disk cp1 --fsync 10ms",
            "slow-disk cp1 --fsync 5ms --read 1ms",
            "disk-errors cp2",
            "kill cp1/etcd",
            "stop cp1/etcd",
            "stop cp2",
            "power-cut cp2",
            "restart cp3/etcd",
        ])
        .unwrap();
        let ms = Duration::from_millis;
        let first = Settings { fsync: ms(15), read: ms(1), free: Some(1 << 20), ..Settings::default() };
        let second = Settings { free: Some(2 << 20), read_errors: true, ..Settings::default() };
        assert_eq!(plan.disks, [("cp1".to_owned(), first), ("cp2".to_owned(), second)].into());
        let held = [(("cp1".to_owned(), Some("etcd".to_owned())), Held::Down), (("cp2".to_owned(), None), Held::Off)];
        assert_eq!(plan.processes, held.into());
    }
}

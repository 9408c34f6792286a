//! Name constraints along a path, by the rules of RFC 5280 and by those that Go has had.
//!
//! Go before 1.26 compares each name with each constraint, and gives up after 250,000 comparisons. Go 1.26 sorts the
//! constraints and looks names up among them (crypto/x509/constraints.go); the two differ where the address of an IP
//! range has bits beyond its mask, and for wildcards.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashSet};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use super::super::certificate::Certificate;
use super::super::constraint::{IpRange, Mailbox, NameConstraints, domain};
use super::super::go_version::{GoVersion, Refusal};
use super::super::name::Name;
use super::super::uri;
use super::problem::{Constrained, ConstraintBreach, Problem, ProblemKind};

/// Comparisons for one certificate with constraints, as in Go.
const MOST_COMPARISONS: usize = 250_000;
/// Of more names that breach the constraints of one certificate only so many are told.
const MOST_BREACHES: usize = 16;

/// Whose rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rules {
    /// Go before 1.24, in which a name may begin with a dot.
    Go23,
    /// Go 1.24 and 1.25, which look at wildcards.
    Go24,
    /// Go from 1.26.
    Go26,
    Rfc5280,
}

/// Which rules a name breaches.
#[derive(Debug, Default)]
struct By {
    go23: bool,
    go24: bool,
    go26: bool,
    rfc5280: bool,
}

/// What is wrong on a path with the names of its certificates.
pub(super) fn problems(path: &[Arc<Certificate>], problems: &mut Vec<Problem>) {
    for (at, constraining) in path.iter().enumerate().skip(1) {
        let Some(constraints) = &constraining.extensions.name_constraints else { continue };
        let mut found: BTreeMap<(usize, String), (Constrained, ConstraintBreach, By)> = BTreeMap::new();
        for rules in [Rules::Go23, Rules::Go24, Rules::Go26, Rules::Rfc5280] {
            let mut checker = Checker::new(constraints, rules);
            for (of, certificate) in path[..at].iter().enumerate() {
                if rules == Rules::Rfc5280 && of > 0 && certificate.is_self_issued() {
                    continue;
                }
                for (name, why) in checker.breaches(certificate) {
                    let (.., by) = found.entry((of, name.to_string())).or_insert((name, why, By::default()));
                    match rules {
                        Rules::Go23 => by.go23 = true,
                        Rules::Go24 => by.go24 = true,
                        Rules::Go26 => by.go26 = true,
                        Rules::Rfc5280 => by.rfc5280 = true,
                    }
                }
            }
            if checker.exhausted() {
                let go = if rules == Rules::Rfc5280 { Refusal::Never } else { Refusal::Before(GoVersion::new(26)) };
                problems.push(Problem::new(at, ProblemKind::TooManyConstraints, go, rules == Rules::Rfc5280));
            }
        }
        for ((of, _), (name, why, by)) in found {
            let kind = ProblemKind::NameConstraint { of, name, why };
            for go in refusals(&by) {
                problems.push(Problem::new(at, kind.clone(), go, by.rfc5280));
            }
        }
    }
}

/// In which versions a breach of these rules is one; nearly always a single answer.
fn refusals(by: &By) -> Vec<Refusal> {
    let (v24, v26) = (GoVersion::new(24), GoVersion::new(26));
    match (by.go23, by.go24, by.go26) {
        (false, false, false) => vec![Refusal::Never],
        (true, true, true) => vec![Refusal::Always],
        (false, true, true) => vec![Refusal::Since(v24)],
        (false, false, true) => vec![Refusal::Since(v26)],
        (true, true, false) => vec![Refusal::Before(v26)],
        (true, false, false) => vec![Refusal::Before(v24)],
        (false, true, false) => vec![Refusal::Between(v24, v26)],
        (true, false, true) => vec![Refusal::Before(v24), Refusal::Since(v26)],
    }
}

/// The constraints of one certificate, ready to be asked.
struct Checker<'a> {
    rules: Rules,
    constraints: &'a NameConstraints,
    dns: [Option<Domains<'a>>; 2],
    uris: [Option<Domains<'a>>; 2],
    email_domains: [Option<Domains<'a>>; 2],
    mailboxes: [Vec<Mailbox>; 2],
    ips: [Ranges; 2],
    comparisons: usize,
}

/// Permitted, excluded.
const SIDES: [bool; 2] = [false, true];

impl<'a> Checker<'a> {
    fn new(constraints: &'a NameConstraints, rules: Rules) -> Self {
        let sides = [&constraints.permitted, &constraints.excluded];
        let domains = |names: fn(&'a super::super::constraint::Subtrees) -> &'a [String]| {
            SIDES.map(|excluded| {
                let names = names(sides[usize::from(excluded)]);
                (!names.is_empty()).then(|| Domains::new(names.iter().map(String::as_str), excluded, rules))
            })
        };
        let email_domains = SIDES.map(|excluded| {
            let names: Vec<_> = sides[usize::from(excluded)].emails.iter().filter(|name| !name.contains('@')).collect();
            (!names.is_empty()).then(|| Domains::new(names.into_iter().map(String::as_str), excluded, rules))
        });
        let mailboxes = sides.map(|side| {
            side.emails.iter().filter(|name| name.contains('@')).filter_map(|name| Mailbox::parse(name)).collect()
        });
        let (dns, uris) = (domains(|side| &side.dns), domains(|side| &side.uris));
        let ips = sides.map(|side| Ranges::new(&side.ips, rules));
        Self { rules, constraints, dns, uris, email_domains, mailboxes, ips, comparisons: 0 }
    }

    fn exhausted(&self) -> bool {
        self.rules != Rules::Go26 && self.comparisons > MOST_COMPARISONS
    }

    fn breaches(&mut self, certificate: &Certificate) -> Vec<(Constrained, ConstraintBreach)> {
        let mut found = Vec::new();
        let none = super::super::SubjectAltNames::default();
        let names = certificate.extensions.subject_alt_names.as_ref();
        if names.is_none() && self.rules != Rules::Rfc5280 {
            return found;
        }
        let names = names.unwrap_or(&none);
        let sides = [&self.constraints.permitted, &self.constraints.excluded];
        let cost = |kind: fn(&super::super::constraint::Subtrees) -> usize| kind(sides[0]) + kind(sides[1]);
        let costs = [
            cost(|side| side.dns.len()),
            cost(|side| side.ips.len()),
            cost(|side| side.uris.len()),
            cost(|side| side.emails.len()),
        ];
        let full = |found: &Vec<_>| found.len() >= MOST_BREACHES;
        for name in &names.dns {
            self.comparisons += costs[0];
            if self.exhausted() || full(&found) {
                return found;
            }
            let why = if !domain(name, self.rules == Rules::Go23) && (costs[0] > 0 || self.rules != Rules::Rfc5280) {
                Some(ConstraintBreach::Incomparable)
            } else {
                asked(&self.dns, name)
            };
            found.extend(why.map(|why| (Constrained::Dns(name.clone()), why)));
        }
        for ip in &names.ips {
            self.comparisons += costs[1];
            if self.exhausted() || full(&found) {
                return found;
            }
            let permitted = self.ips[0].is_empty() || self.ips[0].find(*ip).is_some();
            let why = match self.ips[1].find(*ip) {
                Some(range) => Some(ConstraintBreach::Excluded(range.to_string())),
                None => (!permitted).then_some(ConstraintBreach::NotPermitted),
            };
            found.extend(why.map(|why| (Constrained::Ip(*ip), why)));
        }
        for uri in &names.uris {
            self.comparisons += costs[2];
            if self.exhausted() || full(&found) {
                return found;
            }
            let why = match host_of(uri) {
                Some(host)
                    if domain(&host, self.rules == Rules::Go23) || self.rules == Rules::Go24 && costs[2] == 0 =>
                {
                    asked(&self.uris, &host)
                }
                _ if costs[2] > 0 || self.rules == Rules::Go26 => Some(ConstraintBreach::Incomparable),
                _ => None,
            };
            found.extend(why.map(|why| (Constrained::Uri(uri.clone()), why)));
        }
        for email in &names.emails {
            self.comparisons += costs[3];
            if self.exhausted() || full(&found) {
                return found;
            }
            let why = match Mailbox::parse(email) {
                Some(mailbox) => self.mailbox(&mailbox),
                None if costs[3] > 0 || self.rules != Rules::Rfc5280 => Some(ConstraintBreach::Incomparable),
                None => None,
            };
            found.extend(why.map(|why| (Constrained::Email(email.clone()), why)));
        }
        if self.rules == Rules::Rfc5280 {
            self.directories(certificate, &names.directories, &mut found);
            // What constraints of an unknown kind mean for a name of that kind, nobody can say.
            let kinds = [&self.constraints.permitted.others, &self.constraints.excluded.others];
            let unknown = names.others.iter().find(|tag| kinds.iter().any(|kinds| kinds.contains(tag)));
            found.extend(unknown.map(|tag| (Constrained::Other(*tag), ConstraintBreach::Incomparable)));
        }
        found
    }

    fn mailbox(&self, mailbox: &Mailbox) -> Option<ConstraintBreach> {
        let within = |side: usize| match self.mailboxes[side].iter().any(|one| one == mailbox) {
            true => Some(format!("{}@{}", String::from_utf8_lossy(&mailbox.local), mailbox.domain)),
            false => self.email_domains[side].as_ref().and_then(|domains| domains.find(&mailbox.domain)),
        };
        if let Some(by) = within(1) {
            return Some(ConstraintBreach::Excluded(by));
        }
        let constrained = self.email_domains[0].is_some() || !self.mailboxes[0].is_empty();
        (constrained && within(0).is_none()).then_some(ConstraintBreach::NotPermitted)
    }

    /// Directory names: the subject, and those of the alternative names. Go does not look at them.
    fn directories(
        &mut self,
        certificate: &Certificate,
        names: &[Name],
        found: &mut Vec<(Constrained, ConstraintBreach)>,
    ) {
        let (permitted, excluded) = (&self.constraints.permitted.directories, &self.constraints.excluded.directories);
        if permitted.is_empty() && excluded.is_empty() {
            return;
        }
        let subject = Some(&certificate.subject).filter(|subject| !subject.is_empty());
        for name in subject.into_iter().chain(names) {
            self.comparisons += permitted.len() + excluded.len();
            if self.exhausted() || found.len() >= MOST_BREACHES {
                return;
            }
            let form = name.canonical();
            let within = |subtree: &Name| form.starts_with(&subtree.canonical());
            let why = match excluded.iter().find(|subtree| within(subtree)) {
                Some(subtree) => Some(ConstraintBreach::Excluded(subtree.to_string())),
                None if !permitted.is_empty() && !permitted.iter().any(within) => Some(ConstraintBreach::NotPermitted),
                None => None,
            };
            found.extend(why.map(|why| (Constrained::Directory(name.to_string()), why)));
        }
    }
}

fn asked(sides: &[Option<Domains<'_>>; 2], name: &str) -> Option<ConstraintBreach> {
    if let Some(by) = sides[1].as_ref().and_then(|excluded| excluded.find(name)) {
        return Some(ConstraintBreach::Excluded(by));
    }
    sides[0].as_ref().is_some_and(|permitted| permitted.find(name).is_none()).then_some(ConstraintBreach::NotPermitted)
}

/// The host of a URI, in small letters, if it can be compared with constraints: it is there, and no IP address.
fn host_of(uri: &str) -> Option<String> {
    let host = uri::host(uri)?.to_ascii_lowercase();
    let name = match host.split_once(':') {
        Some((name, port)) if !host.ends_with(']') => (!port.contains(':')).then(|| name.to_owned())?,
        _ => host,
    };
    let literal = name.starts_with('[') && name.ends_with(']');
    (!name.is_empty() && !literal && name.parse::<IpAddr>().is_err()).then_some(name)
}

/// Domains of one side of the constraints.
struct Domains<'a> {
    rules: Rules,
    excluded: bool,
    all: bool,
    set: Vec<&'a str>,
    parents: HashSet<String>,
}

impl<'a> Domains<'a> {
    fn new(names: impl Iterator<Item = &'a str>, excluded: bool, rules: Rules) -> Self {
        let mut set: Vec<_> = names.collect();
        let all = set.contains(&"");
        let mut parents = HashSet::new();
        if rules == Rules::Go26 && !all {
            set.sort_by(|one, other| reversed(one, other));
            set.dedup_by(|later, kept| suffix(kept, later));
        }
        if excluded && matches!(rules, Rules::Go26 | Rules::Rfc5280) {
            parents.extend(set.iter().filter_map(|name| parent(name)));
        }
        Self { rules, excluded, all, set, parents }
    }

    /// The constraint that a name is within.
    fn find(&self, name: &str) -> Option<String> {
        if self.all {
            return Some(String::new());
        }
        let found = match self.rules {
            Rules::Go26 => match self.set.binary_search_by(|constraint| reversed(constraint, name)) {
                Ok(at) => Some(self.set[at]),
                Err(at) => Some(self.set[at.saturating_sub(1)]).filter(|constraint| suffix(constraint, name)),
            },
            Rules::Go24 if self.excluded && name.starts_with('*') => {
                self.set.iter().copied().find(|constraint| wildcard(constraint, name))
            }
            _ => self.set.iter().copied().find(|constraint| suffix(constraint, name)),
        };
        let by_parent = || {
            self.excluded && name.starts_with('*') && parent(name).is_some_and(|parent| self.parents.contains(&parent))
        };
        found.map(str::to_owned).or_else(|| by_parent().then(|| name.to_owned()))
    }
}

/// A domain from its first dot on, in small letters.
fn parent(name: &str) -> Option<String> {
    name.find('.').map(|dot| name[dot..].to_ascii_lowercase())
}

/// Whether a name is a constraint's domain or below it; only below, if the constraint begins with a dot.
fn suffix(constraint: &str, name: &str) -> bool {
    let (constraint, name) = (constraint.as_bytes(), name.as_bytes());
    let Some(above) = name.len().checked_sub(constraint.len()) else { return false };
    let ends = name[above..].eq_ignore_ascii_case(constraint);
    ends && (above == 0 || constraint.first() == Some(&b'.') || name[above - 1] == b'.')
        && (above > 0 || constraint.first() != Some(&b'.'))
}

/// How Go 1.24 and 1.25 compare a wildcard with an excluded domain: without the first label of each.
fn wildcard(constraint: &str, name: &str) -> bool {
    let below = constraint.strip_prefix('.');
    let labels = |name: &'_ str| name.rsplit('.').map(str::to_ascii_lowercase).collect::<Vec<_>>();
    let (mut ours, mut theirs) = (labels(below.unwrap_or(constraint)), labels(name));
    if theirs.len() < ours.len() || below.is_some() && theirs.len() == ours.len() {
        return false;
    }
    if ours.len() > 1 && theirs.len() > 1 {
        ours.pop();
        theirs.pop();
    }
    theirs.starts_with(&ours)
}

/// The order of Go 1.26: from the end, without regard to case, a dot before all else.
fn reversed(one: &str, other: &str) -> Ordering {
    let key = |byte: u8| if byte == b'.' { 0 } else { byte.to_ascii_lowercase() };
    one.bytes().rev().map(key).cmp(other.bytes().rev().map(key))
}

/// IP ranges of one side of the constraints.
enum Ranges {
    Linear(Vec<IpRange>),
    Sorted([Vec<IpRange>; 2]),
}

impl Ranges {
    fn new(ranges: &[IpRange], rules: Rules) -> Self {
        if rules != Rules::Go26 {
            return Self::Linear(ranges.to_vec());
        }
        let sorted = |v4: bool| {
            let mut set: Vec<_> = ranges.iter().copied().filter(|range| range.address.is_ipv4() == v4).collect();
            set.sort_by_key(|range| (range.address, range.prefix));
            set.dedup_by(|later, kept| contains(kept, later.address) && contains(kept, last(later)));
            set
        };
        Self::Sorted([sorted(true), sorted(false)])
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Linear(all) => all.is_empty(),
            Self::Sorted([v4, v6]) => v4.is_empty() && v6.is_empty(),
        }
    }

    fn find(&self, ip: IpAddr) -> Option<IpRange> {
        match self {
            Self::Linear(all) => all.iter().find(|range| range.contains(ip)).copied(),
            Self::Sorted(sets) => {
                let set = &sets[usize::from(ip.is_ipv6())];
                match set.binary_search_by(|range| range.address.cmp(&ip)) {
                    Ok(at) => Some(set[at]),
                    Err(at) => set.get(at.saturating_sub(1)).filter(|range| contains(range, ip)).copied(),
                }
            }
        }
    }
}

/// As net.IPNet.Contains: IPv6 addresses that stand for IPv4 are IPv4.
fn contains(range: &IpRange, ip: IpAddr) -> bool {
    let mapped = |ip: IpAddr| match ip {
        IpAddr::V6(ip) => ip.to_ipv4_mapped(),
        IpAddr::V4(_) => None,
    };
    match (mapped(range.address), mapped(ip)) {
        (None, None) => range.contains(ip),
        (Some(base), Some(ip)) => {
            IpRange { address: base.into(), prefix: range.prefix.saturating_sub(96) }.contains(ip.into())
        }
        _ => false,
    }
}

/// The last address of a range.
fn last(range: &IpRange) -> IpAddr {
    match range.address {
        IpAddr::V4(ip) => (ip.to_bits() | u32::MAX.checked_shr(range.prefix.into()).unwrap_or(0)).to_be_bytes().into(),
        IpAddr::V6(ip) => {
            Ipv6Addr::from_bits(ip.to_bits() | u128::MAX.checked_shr(range.prefix.into()).unwrap_or(0)).into()
        }
    }
}

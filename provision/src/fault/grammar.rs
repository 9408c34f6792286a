//! The words of faults: `partition cp1,cp2 / cp3 --one-way --for 30s`, read and written.
//!
//! What [`Fault`] displays as is what it is read from.

use std::fmt;
use std::time::Duration;

use jiff::SignedDuration;
use jiff::fmt::friendly::SpanPrinter;

use super::{Fault, Hosts, Path, Processes, Share};

/// The grammar, for people.
pub const USAGE: &str = "\
kill HOSTS[/COMPONENT]          killed, and down until undone
stop HOSTS[/COMPONENT]          standing still until undone
restart HOSTS[/COMPONENT]       killed and started again
power-cut HOSTS                 off until undone; what was not synced to disk is lost
partition HOSTS [/ HOSTS]       from each other or from all other hosts; --one-way, --reject
isolate HOSTS                   from everything; --reject
delay HOSTS [/ HOSTS] TIME      each way; --jitter TIME, --one-way
loss HOSTS [/ HOSTS] PERCENT    --one-way
bandwidth HOSTS [/ HOSTS] RATE  as 10Mbit; --one-way
disk-full HOSTS                 --free SIZE, as 64MiB; otherwise nothing
slow-disk HOSTS                 --fsync TIME, --read TIME, --write TIME
disk-errors HOSTS               reads fail
list
undo ID... | --all

HOSTS is a list as cp1,zone:a,minority. Each fault takes --for TIME, as 30s or 1m30s.";

/// What somebody wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// A fault is to begin, and to end by itself after this time, if one is given.
    Begin(Fault, Option<Duration>),
    /// What is in force?
    List,
    /// These are to end.
    Undo(Vec<u32>),
    /// All are to end.
    UndoAll,
}

/// What is not understood.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct GrammarError(String);

/// Reads a command.
///
/// # Errors
/// [`GrammarError`] names the word and what could stand there.
pub fn parse<S: AsRef<str>>(words: &[S]) -> Result<Wish, GrammarError> {
    let mut words = Words::new(words)?;
    let wish = words.wish().map_err(GrammarError)?;
    words.all_taken().map_err(GrammarError)?;
    Ok(wish)
}

/// The words of a command that were not understood yet.
struct Words {
    kind: String,
    plain: std::collections::VecDeque<String>,
    options: Vec<(String, Option<String>)>,
}

/// Options that stand alone; all others take a value.
const FLAGS: [&str; 3] = ["one-way", "reject", "all"];

impl Words {
    fn new<S: AsRef<str>>(words: &[S]) -> Result<Self, GrammarError> {
        let mut words = words.iter().map(|word| word.as_ref().to_owned());
        let kind = words.next().ok_or_else(|| GrammarError(format!("which fault? One of\n{USAGE}")))?;
        let mut all = Self { kind, plain: std::collections::VecDeque::new(), options: Vec::new() };
        while let Some(word) = words.next() {
            let Some(option) = word.strip_prefix("--") else {
                all.plain.push_back(word);
                continue;
            };
            let (name, value) = match option.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None if FLAGS.contains(&option) => (option.to_owned(), None),
                None => (option.to_owned(), words.next()),
            };
            if all.options.iter().any(|(other, _)| *other == name) {
                return Err(GrammarError(format!("--{name} is there twice")));
            }
            all.options.push((name, value));
        }
        Ok(all)
    }

    fn wish(&mut self) -> Result<Wish, String> {
        let kind = self.kind.clone();
        let fault = match kind.as_str() {
            "list" => return Ok(Wish::List),
            "undo" if self.flag("all") => return Ok(Wish::UndoAll),
            "undo" => {
                let id =
                    |word: String| word.parse().map_err(|_| format!("{word:?} is no id of a fault; `list` has them"));
                let ids = self.plain.drain(..).map(id).collect::<Result<Vec<_>, _>>()?;
                return if ids.is_empty() { Err("undo which? ID or --all".to_owned()) } else { Ok(Wish::Undo(ids)) };
            }
            "kill" => Fault::Kill(self.processes()?),
            "stop" => Fault::Stop(self.processes()?),
            "restart" => Fault::Restart(self.processes()?),
            "power-cut" => Fault::PowerCut { hosts: self.hosts()? },
            "partition" => Fault::Partition { path: self.path()?, reject: self.flag("reject") },
            "isolate" => Fault::Isolate { hosts: self.hosts()?, reject: self.flag("reject") },
            "delay" => Fault::Delay {
                path: self.path()?,
                delay: duration(&self.word("a time, as 20ms")?)?,
                jitter: self.time("jitter")?.unwrap_or_default(),
            },
            "loss" => Fault::Loss { path: self.path()?, share: share(&self.word("a percentage, as 5%")?)? },
            "bandwidth" => {
                let rate = self.path().and_then(|path| Ok((path, self.word("a rate, as 10Mbit")?)));
                let (path, word) = rate?;
                let rate = quantity(&word, &RATES).and_then(std::num::NonZeroU64::new);
                Fault::Bandwidth {
                    path,
                    rate: rate.ok_or_else(|| format!("{word:?} is no rate; one looks like 10Mbit"))?,
                }
            }
            "disk-full" => {
                let hosts = self.hosts()?;
                let size = |word: String| {
                    quantity(&word, &SIZES).ok_or_else(|| format!("{word:?} is no size; one looks like 64MiB"))
                };
                Fault::DiskFull { hosts, free: self.option("free")?.map_or(Ok(0), size)? }
            }
            "slow-disk" => {
                let hosts = self.hosts()?;
                let mut time = |name| self.time(name).map(Option::unwrap_or_default);
                let (fsync, read, write) = (time("fsync")?, time("read")?, time("write")?);
                if (fsync + read + write).is_zero() {
                    return Err("how slow? --fsync, --read or --write TIME".to_owned());
                }
                Fault::SlowDisk { hosts, fsync, read, write }
            }
            "disk-errors" => Fault::DiskErrors { hosts: self.hosts()? },
            other => return Err(format!("{other:?} is no fault. One of\n{USAGE}")),
        };
        let lasts = self.time("for")?;
        if lasts.is_some() && matches!(fault, Fault::Restart(_)) {
            return Err("a restart is over at once: it takes no --for".to_owned());
        }
        Ok(Wish::Begin(fault, lasts))
    }

    fn word(&mut self, what: &str) -> Result<String, String> {
        self.plain.pop_front().ok_or_else(|| format!("{} lacks {what}", self.kind))
    }

    fn hosts(&mut self) -> Result<Hosts, String> {
        self.word("the hosts, as cp1,cp2")?.parse()
    }

    fn processes(&mut self) -> Result<Processes, String> {
        let word = self.word("the hosts, as cp1 or cp1/etcd")?;
        let (hosts, component) = word.split_once('/').map_or((&*word, None), |(hosts, one)| (hosts, Some(one)));
        if component.is_some_and(|name| name.is_empty() || name.contains('/')) {
            return Err(format!("{word:?} names no component; cp1/etcd does"));
        }
        Ok(Processes { hosts: hosts.parse()?, component: component.map(str::to_owned) })
    }

    fn path(&mut self) -> Result<Path, String> {
        let from = self.hosts()?;
        let to = self.plain.pop_front_if(|word| word == "/").map(|_| self.hosts()).transpose()?;
        Ok(Path { from, to, one_way: self.flag("one-way") })
    }

    fn flag(&mut self, name: &str) -> bool {
        let before = self.options.len();
        self.options.retain(|(other, value)| other != name || value.is_some());
        self.options.len() < before
    }

    fn option(&mut self, name: &str) -> Result<Option<String>, String> {
        let Some(at) = self.options.iter().position(|(other, _)| other == name) else { return Ok(None) };
        let (_, value) = self.options.remove(at);
        value.map(Some).ok_or_else(|| format!("--{name} lacks its value"))
    }

    fn time(&mut self, name: &str) -> Result<Option<Duration>, String> {
        self.option(name)?.map(|word| duration(&word)).transpose()
    }

    fn all_taken(&self) -> Result<(), String> {
        if let Some(word) = self.plain.front() {
            return Err(format!("{} takes no {word:?}", self.kind));
        }
        if let Some((name, _)) = self.options.first() {
            return Err(format!("{} takes no --{name}, or not so", self.kind));
        }
        Ok(())
    }
}

fn duration(word: &str) -> Result<Duration, String> {
    let parsed = word.parse::<SignedDuration>().ok().and_then(|signed| Duration::try_from(signed).ok());
    parsed.filter(|one| !one.is_zero()).ok_or_else(|| format!("{word:?} is no time; one looks like 20ms or 1m30s"))
}

fn share(word: &str) -> Result<Share, String> {
    let no_share = || format!("{word:?} is no percentage; one looks like 5% or 0.25%");
    let percent: f64 = word.strip_suffix('%').and_then(|number| number.parse().ok()).ok_or_else(no_share)?;
    if !(0.0..=100.0).contains(&percent) {
        return Err(no_share());
    }
    Share::try_from((percent * 100.0).round() as u16)
}

const SIZES: [(&str, u64); 5] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1), ("", 1)];
const RATES: [(&str, u64); 4] = [("Gbit", 1_000_000_000), ("Mbit", 1_000_000), ("kbit", 1000), ("bit", 1)];

fn quantity(word: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (number, factor) = units.iter().find_map(|(unit, factor)| Some((word.strip_suffix(unit)?, *factor)))?;
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// A quantity in the largest unit that has it whole.
fn in_units(value: u64, units: &[(&str, u64)]) -> String {
    let whole = units.iter().find(|(_, factor)| value.is_multiple_of(*factor) && value >= *factor);
    whole.map_or_else(|| value.to_string(), |(unit, factor)| format!("{}{unit}", value / factor))
}

fn time(duration: Duration) -> String {
    SpanPrinter::new().unsigned_duration_to_string(&duration).replace(' ', "")
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flag = |set: bool, name: &'static str| if set { name } else { "" };
        match self {
            Self::Kill(processes) => write!(f, "kill {processes}"),
            Self::Stop(processes) => write!(f, "stop {processes}"),
            Self::Restart(processes) => write!(f, "restart {processes}"),
            Self::PowerCut { hosts } => write!(f, "power-cut {hosts}"),
            Self::Partition { path, reject } => write!(f, "partition {path}{path:#}{}", flag(*reject, " --reject")),
            Self::Isolate { hosts, reject } => write!(f, "isolate {hosts}{}", flag(*reject, " --reject")),
            Self::Delay { path, delay, jitter } => {
                write!(f, "delay {path} {}{path:#}", time(*delay))?;
                if jitter.is_zero() { Ok(()) } else { write!(f, " --jitter {}", time(*jitter)) }
            }
            Self::Loss { path, share } => write!(f, "loss {path} {}%{path:#}", f64::from(share.0) / 100.0),
            Self::Bandwidth { path, rate } => {
                write!(f, "bandwidth {path} {}{path:#}", in_units(rate.get(), &RATES))
            }
            Self::DiskFull { hosts, free: 0 } => write!(f, "disk-full {hosts}"),
            Self::DiskFull { hosts, free } => write!(f, "disk-full {hosts} --free {}", in_units(*free, &SIZES)),
            Self::SlowDisk { hosts, fsync, read, write } => {
                write!(f, "slow-disk {hosts}")?;
                for (name, value) in [("fsync", fsync), ("read", read), ("write", write)] {
                    if !value.is_zero() {
                        write!(f, " --{name} {}", time(*value))?;
                    }
                }
                Ok(())
            }
            Self::DiskErrors { hosts } => write!(f, "disk-errors {hosts}"),
        }
    }
}

impl fmt::Display for Processes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.hosts)?;
        self.component.as_ref().map_or(Ok(()), |component| write!(f, "/{component}"))
    }
}

/// The two sides; in the alternate form the option.
impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (f.alternate(), &self.to) {
            (true, _) => f.write_str(if self.one_way { " --one-way" } else { "" }),
            (false, None) => write!(f, "{}", self.from),
            (false, Some(to)) => write!(f, "{} / {to}", self.from),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Result<Wish, GrammarError> {
        parse(&text.split_whitespace().collect::<Vec<_>>())
    }

    #[test]
    fn what_a_fault_displays_as_is_what_it_is_read_from() {
        for text in [
            "kill cp1/etcd",
            "stop cp1,cp2",
            "restart zone:a/kubelet",
            "power-cut cp1",
            "partition cp1,cp2 / cp3 --one-way --reject",
            "partition minority",
            "isolate cp3",
            "delay zone:a / zone:b 20ms --one-way --jitter 2ms",
            "delay cp1 1m30s",
            "loss cp1 / majority 0.25%",
            "bandwidth cp1 10Mbit",
            "disk-full cp1",
            "disk-full cp1 --free 64MiB",
            "disk-full cp1 --free 1025B",
            "slow-disk cp1 --fsync 50ms --write 1ms",
            "disk-errors cp1,cp2",
        ] {
            let Wish::Begin(fault, None) = words(text).unwrap() else { panic!("{text}") };
            assert_eq!(fault.to_string(), text);
            let json = serde_json::to_string(&fault).unwrap();
            assert_eq!(serde_json::from_str::<Fault>(&json).unwrap(), fault, "{json}");
        }
        let timed = words("isolate cp3 --for=1m30s").unwrap();
        assert!(matches!(timed, Wish::Begin(Fault::Isolate { .. }, Some(lasts)) if lasts.as_secs() == 90));
        assert_eq!(words("list"), Ok(Wish::List));
        assert_eq!(words("undo 3 4"), Ok(Wish::Undo(vec![3, 4])));
        assert_eq!(words("undo --all"), Ok(Wish::UndoAll));
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (text, reason) in [
            ("explode cp1", "\"explode\" is no fault. One of\nkill"),
            ("kill", "kill lacks the hosts"),
            ("kill cp1/", "\"cp1/\" names no component"),
            ("kill cp1 cp2", "kill takes no \"cp2\""),
            ("kill cp1 --free 3", "kill takes no --free"),
            ("partition cp1,,cp2", "\"\" is no name"),
            ("partition cp1 / ", "partition lacks the hosts"),
            ("delay cp1 20", "\"20\" is no time"),
            ("delay cp1 20ms --jitter", "--jitter lacks its value"),
            ("delay cp1 20ms --jitter 1ms --jitter 2ms", "--jitter is there twice"),
            ("loss cp1 5", "\"5\" is no percentage"),
            ("loss cp1 101%", "\"101%\" is no percentage"),
            ("loss cp1 0%", "0% is not from 0.01% to 100%"),
            ("bandwidth cp1 0bit", "\"0bit\" is no rate"),
            ("disk-full cp1 --free 99999999999GiB", "\"99999999999GiB\" is no size"),
            ("slow-disk cp1", "how slow?"),
            ("restart cp1/etcd --for 3s", "a restart is over at once"),
            ("undo", "undo which?"),
            ("undo x", "\"x\" is no id"),
            ("list --all", "list takes no --all"),
            ("isolate cp1 --reject=no", "isolate takes no --reject, or not so"),
        ] {
            let error = words(text).unwrap_err().to_string();
            assert!(error.starts_with(reason), "{text}: {error}");
        }
        assert!(parse::<&str>(&[]).unwrap_err().to_string().starts_with("which fault?"));
    }
}

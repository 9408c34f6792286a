//! `seaworthy run`: selects, gathers, judges, acts, journals, reports.

mod act;
mod fixture;
mod log;
mod loopback;
mod manifests;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use anstream::eprintln;
use nix::sys::signal::Signal;
use seaworthy_checks::Profile;
use seaworthy_reports::{
    Evidence, Format, Outcome, Planned, RunInfo, Severity, Subject, TrialInfo, Verdict, What, Written, write_all,
};
use seaworthy_suites::{Node, Objects, Source, Trial};

use crate::cli::RunOptions;
use crate::fault::Fault;
use crate::progress::Progress;
use crate::text::Page;
use crate::waivers::{self, Waiver};
use crate::{answer, container, select, signals, sources, summary};
use act::Subjects;
use log::{Log, lock};
pub(crate) use loopback::PROGRAMS as CONTROL_PLANE;
use manifests::Papers;

/// Beyond its budget a trial is noted; beyond this many times its budget it is given up.
const PATIENCE: u32 = 10;

/// Everything that the workers share.
struct Deck<'a> {
    trials: &'a [Arc<Trial>],
    profile: Arc<Profile>,
    waivers: &'a [Waiver],
    log: &'a Log,
    progress: &'a Progress,
    workers: usize,
}

pub(crate) fn run(options: &RunOptions) -> Result<i32, Fault> {
    signals::listen();
    options.load.set()?;
    options.long.set();
    let mut all: Vec<_> = select::select(&options.selection)?.into_iter().map(Arc::new).collect();
    let defect = options.cluster.defect(&mut all)?;
    let papers = Papers::find(&mut all, options)?;
    let (acts, trials): (Vec<_>, Vec<_>) =
        all.iter().filter(|trial| !trial.judges_objects()).cloned().partition(|trial| trial.act().is_some());
    if options.remote.is_given() && acts.is_empty() && trials.iter().all(|trial| trial.info.suite != "pki") {
        let fault =
            Fault::usage("--kubeconfig and --endpoint are for the PKI suite and for suites that act on clusters");
        return Err(fault.hint("add --suite pki"));
    }
    // A run that only acts, or judges manifests, asks no node.
    let sources = if trials.is_empty() && (!acts.is_empty() || papers.len() > 0) {
        Vec::new()
    } else {
        sources::open(&options.hosts, options.kubeadm.add(options.layout.layout())?, &options.remote)?
    };
    let subjects = Subjects::find(&acts, options, defect)?;
    let mut names = subject_names(&sources, &options.hosts);
    let nodes = names.len();
    names.extend(papers.name());
    names.extend(subjects.names());
    let now = jiff::Timestamp::now();
    let profile = options.profile.profile(now);
    let infos: Vec<&TrialInfo> = all.iter().map(|trial| &trial.info).collect();
    let waivers = match &options.waivers {
        Some(path) => waivers::read(path, &infos, &names.iter().map(String::as_str).collect::<Vec<_>>(), now)?,
        None => Vec::new(),
    };
    let info = RunInfo {
        id: run_id(now),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        command: std::env::args().collect(),
        profile: profile_facts(&profile),
        fail_on: Severity::from(options.fail_on),
        subjects: names
            .iter()
            .map(|name| Subject { name: name.clone(), facts: Vec::new(), pictures: Vec::new() })
            .collect(),
        trials: all.iter().map(|trial| trial.info.clone()).collect(),
    };
    let run_id = info.id.clone();
    let log = Log::begin(&options.output, info)?;
    if !acts.is_empty() || papers.len() > 0 {
        let pair = |trial: &Arc<Trial>, name: &String| Planned { trial: trial.info.id.clone(), subject: name.clone() };
        let judged = names[..nodes].iter().flat_map(|name| trials.iter().map(move |trial| pair(trial, name)));
        log.write(What::Planned { plan: judged.chain(papers.plan()).chain(subjects.plan(&acts)).collect() });
    }
    let progress = Progress::new(trials.len() * sources.len() + papers.len() + subjects.plan(&acts).len());
    let workers =
        options.parallelism.map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), usize::from);
    let deck = Deck {
        trials: &trials,
        profile: Arc::new(profile),
        waivers: &waivers,
        log: &log,
        progress: &progress,
        workers,
    };
    let mut timings = Timings::default();
    // All are asked before one is judged: some claims compare nodes.
    let mut fleet = Vec::new();
    for (source, name) in sources.iter().zip(&names) {
        if signals::seen().is_none() {
            fleet.push(gather(&deck, source, name, options, &mut timings));
        }
    }
    for (index, source) in sources.iter().enumerate().take(fleet.len()) {
        sail(&deck, source, &mut fleet, index, options, &mut timings);
    }
    if signals::seen().is_none() {
        papers.judge(&deck, &mut timings);
    }
    if !acts.is_empty() && signals::seen().is_none() {
        act::run(&deck, &acts, subjects, options, &run_id)?;
    }
    progress.finish();
    let interrupted = signals::seen();
    if let Some(signal) = interrupted {
        log.write(What::Interrupted { signal: signal.to_string() });
    }
    let code = match interrupted {
        Some(Signal::SIGTERM) => 143,
        Some(_) => 130,
        None => log.run()?.exit_code(),
    };
    // An interrupted run ended by itself too: what it did not run says why.
    log.write(What::RunFinished { exit_code: code });
    let code = if interrupted.is_none() { log.run()?.exit_code() } else { code };
    let whole = finish(options, &log, &timings)?;
    // Everything held, and yet a report that was asked for is missing: that is our failure.
    Ok(if code == 0 && !whole { 3 } else { code })
}

fn gather(deck: &Deck<'_>, source: &Source, name: &str, options: &RunOptions, timings: &mut Timings) -> Arc<Node> {
    deck.progress.phase(format!("asking {name}"));
    let began = Instant::now();
    let mut suites: Vec<_> = deck.trials.iter().map(|trial| trial.info.suite.as_str()).collect();
    suites.dedup();
    let mut node = source.gather(options.passive, &suites);
    name.clone_into(&mut node.name);
    timings.gather += began.elapsed();
    let micros = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    let mut subject = node.subject();
    let (profile, why) = node.profile(&deck.profile);
    subject
        .facts
        .push(Evidence { label: "rules of Kubernetes".to_owned(), value: format!("{} ({why})", profile.kubernetes) });
    if suites.contains(&"pki") {
        subject.pictures.extend(crate::pki::picture(node.pki(), deck.profile.now));
    }
    deck.log.write(What::SubjectGathered { subject, micros });
    Arc::new(node)
}

/// Judges one node of the fleet, with as many attempts as the user allows; each is of a node asked anew.
fn sail(
    deck: &Deck<'_>,
    source: &Source,
    fleet: &mut [Arc<Node>],
    index: usize,
    options: &RunOptions,
    timings: &mut Timings,
) {
    let mut wanted: BTreeSet<usize> = (0..deck.trials.len()).collect();
    let attempts = if source.is_live() { options.flake_attempts } else { 1 };
    for attempt in 1..=attempts {
        if wanted.is_empty() || signals::seen().is_some() {
            break;
        }
        if attempt > 1 {
            let name = fleet[index].name.clone();
            fleet[index] = gather(deck, source, &name, options, timings);
        }
        let began = Instant::now();
        wanted = judge(deck, &Ship::Node { fleet: fleet.to_vec(), index }, &wanted, u32::from(attempt));
        timings.judge += began.elapsed();
    }
}

/// What is judged.
#[derive(Clone)]
enum Ship {
    /// One node among those that were asked.
    Node { fleet: Vec<Arc<Node>>, index: usize },
    /// The objects of manifests.
    Objects(Arc<Objects>),
}

impl Ship {
    fn name(&self) -> &str {
        match self {
            Self::Node { fleet, index } => &fleet[*index].name,
            Self::Objects(objects) => &objects.name,
        }
    }

    fn run(&self, trial: &Trial, profile: &Profile) -> Verdict {
        match self {
            Self::Node { fleet, index } => {
                let node = &fleet[*index];
                let (profile, _) = node.profile(profile);
                let others = fleet.iter().enumerate().filter(|(other, _)| other != index);
                trial.run(node, &others.map(|(_, node)| &**node).collect::<Vec<_>>(), &profile)
            }
            Self::Objects(objects) => trial.run_on_objects(objects),
        }
    }
}

/// Runs trials in parallel; returns those that did not pass and may do so on a retry.
fn judge(deck: &Deck<'_>, ship: &Ship, wanted: &BTreeSet<usize>, attempt: u32) -> BTreeSet<usize> {
    let order: Vec<_> = wanted.iter().copied().collect();
    let next = AtomicUsize::new(0);
    let again = Mutex::new(BTreeSet::new());
    std::thread::scope(|scope| {
        for _ in 0..deck.workers.min(order.len().max(1)) {
            scope.spawn(|| {
                let mut hand = None;
                while signals::seen().is_none() {
                    let Some(&index) = order.get(next.fetch_add(1, Ordering::SeqCst)) else { break };
                    let outcome = one(deck, ship, &deck.trials[index], attempt, &mut hand);
                    if matches!(outcome, Outcome::Fail | Outcome::Errored | Outcome::Undetermined) {
                        lock(&again).insert(index);
                    }
                }
            });
        }
    });
    std::mem::take(&mut lock(&again))
}

fn one(deck: &Deck<'_>, ship: &Ship, trial: &Arc<Trial>, attempt: u32, hand: &mut Option<Hand>) -> Outcome {
    let (id, subject) = (&trial.info.id, ship.name());
    deck.progress.begin(id);
    deck.log.write(What::TrialStarted { trial: id.clone(), subject: subject.to_owned(), attempt });
    let began = Instant::now();
    let verdict = within_budget(deck, ship, trial, hand);
    let spent = began.elapsed();
    if spent > trial.budget {
        deck.log
            .write(What::Note { text: format!("{id} took {spent:.1?}, more than its budget of {:?}", trial.budget) });
    }
    let (verdict, note) = waivers::apply(deck.waivers, id, subject, verdict);
    if let Some(text) = note {
        deck.log.write(What::Note { text });
    }
    let outcome = verdict.outcome;
    let micros = u64::try_from(spent.as_micros()).unwrap_or(u64::MAX);
    deck.log.write(What::TrialFinished { trial: id.clone(), subject: subject.to_owned(), attempt, micros, verdict });
    deck.progress.end(id);
    outcome
}

/// A thread that runs trials, one after the other; it is given up when one outlasts its patience.
struct Hand {
    orders: mpsc::Sender<Arc<Trial>>,
    verdicts: mpsc::Receiver<Verdict>,
}

impl Hand {
    fn hire(ship: Ship, profile: Arc<Profile>) -> std::io::Result<Self> {
        let ((orders, received), (sender, verdicts)) = (mpsc::channel::<Arc<Trial>>(), mpsc::channel());
        std::thread::Builder::new().spawn(move || {
            while let Ok(trial) = received.recv() {
                if sender.send(ship.run(&trial, &profile)).is_err() {
                    break;
                }
            }
        })?;
        Ok(Self { orders, verdicts })
    }
}

/// Has a trial run by `hand`, which is hired where there is none.
fn within_budget(deck: &Deck<'_>, ship: &Ship, trial: &Arc<Trial>, hand: &mut Option<Hand>) -> Verdict {
    let hired = match hand.take() {
        Some(hired) => hired,
        None => match Hand::hire(ship.clone(), deck.profile.clone()) {
            Ok(hired) => hired,
            Err(error) => {
                return Verdict::because(Outcome::Errored, format!("no thread could be started: {error}"));
            }
        },
    };
    let limit = trial.budget * PATIENCE;
    let end = Instant::now() + limit;
    hired.orders.send(trial.clone()).ok();
    loop {
        match hired.verdicts.recv_timeout(Duration::from_secs(1).min(end.saturating_duration_since(Instant::now()))) {
            Ok(verdict) => {
                *hand = Some(hired);
                return verdict;
            }
            Err(mpsc::RecvTimeoutError::Timeout) if Instant::now() < end => deck.progress.beat(),
            Err(_) => return Verdict::because(Outcome::Errored, format!("no verdict within {limit:?}")),
        }
    }
}

#[derive(Default)]
struct Timings {
    gather: Duration,
    judge: Duration,
}

/// Writes the reports and prints the summary, whatever becomes of the reports. Is everything written that was to be?
fn finish(options: &RunOptions, log: &Log, timings: &Timings) -> Result<bool, Fault> {
    let began = Instant::now();
    let run = &log.run()?;
    let formats = if options.formats.is_empty() { &Format::ALL[..] } else { &options.formats };
    let broken = log.broken();
    // Where not even the journal could be begun there is no folder to write to.
    let nowhere = broken.is_some() && container::is_ours() && !options.output.is_dir();
    let written = if nowhere { Written::default() } else { write_all(run, &options.output, formats) };
    let lost = if nowhere { Some(container::unmounted(&options.output)) } else { container::loses(&options.output) };
    if let Some(path) = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty()) {
        let markdown = Format::Markdown.render(run).map_err(|error| Fault::ours(error.to_string()))?;
        let file = std::fs::OpenOptions::new().append(true).create(true).open(&path);
        if let Err(error) = file.and_then(|mut file| std::io::Write::write_all(&mut file, markdown.as_bytes())) {
            eprintln!("warning: GITHUB_STEP_SUMMARY {}: {error}", path.display());
        }
    }
    if options.timings {
        eprintln!(
            "gathered in {:.1} ms, judged in {:.1} ms, reported in {:.1} ms",
            timings.gather.as_secs_f64() * 1e3,
            timings.judge.as_secs_f64() * 1e3,
            began.elapsed().as_secs_f64() * 1e3
        );
    }
    let files = summary::Files { folder: &options.output, written: &written, broken: broken.as_deref(), lost };
    answer::print(&summary::summary(run, &files, Page::stdout()));
    Ok(nowhere || (written.missing.is_empty() && broken.is_none()))
}

/// A name for each node, unique: its host name, and behind it the recording where two are alike.
fn subject_names(sources: &[Source], paths: &[std::path::PathBuf]) -> Vec<String> {
    let alike = |name: &str| sources.iter().filter(|source| source.name() == name).count() > 1;
    // A cluster or a server that is asked alone is at no path.
    let name = |(number, source): (usize, &Source)| match (source.name(), paths.get(number)) {
        (name, Some(path)) if alike(name) => format!("{name} [{}: {}]", number + 1, path.display()),
        (name, _) => name.to_owned(),
    };
    sources.iter().enumerate().map(name).collect()
}

fn run_id(now: jiff::Timestamp) -> String {
    let random = std::hash::BuildHasher::hash_one(&std::collections::hash_map::RandomState::new(), std::process::id());
    format!("{}-{:08x}", now.strftime("%Y%m%d-%H%M%S"), random & 0xffff_ffff)
}

fn profile_facts(profile: &Profile) -> Vec<Evidence> {
    let families = match (profile.ipv4, profile.ipv6) {
        (true, true) => "IPv4 and IPv6",
        (false, _) => "IPv6",
        _ => "IPv4",
    };
    let runtime = profile.runtime.map_or("any", seaworthy_checks::Runtime::name);
    let kubernetes = profile.cluster.map_or_else(
        || format!("of each node's kubelet or kubeadm, else {}", profile.kubernetes),
        |version| version.to_string(),
    );
    [
        ("Kubernetes", kubernetes),
        ("role", profile.role.name().to_owned()),
        ("runtime", runtime.to_owned()),
        ("IP families", families.to_owned()),
        ("PKI profile", profile.pki.name().to_owned()),
    ]
    .map(|(label, value)| Evidence { label: label.to_owned(), value })
    .to_vec()
}

//! `seaworthy cluster`: clusters on this machine.

mod options;
mod show;
mod sweep;

use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::time::Instant;

use anstream::eprintln;
use nix::sys::signal::Signal;
use seaworthy_provision::assets::{Cache, Project, Release, Source};
use seaworthy_provision::cluster::{
    Cluster, ClusterError, ClusterSpec, Clusters, Engine, EngineError, Event, FaultError, Keeper, PHASES, Sources,
};
use seaworthy_provision::fault::Active;
use seaworthy_provision::fault::grammar::{self, Wish};
use seaworthy_provision::host::HostError;
use seaworthy_provision::host::unit::Exit;

use crate::answer;
use crate::assets::{Shown, request_of};
use crate::cli::Output;
use crate::fault::Fault;
use crate::signals;

pub(crate) use options::ClusterCommand;
pub(crate) use options::EngineOptions;
use options::{DownOptions, ExecOptions, LogsOptions, UpOptions};

/// A cluster that is not there, or cannot be, is the user's to mend; everything else is ours or the machine's.
fn fault(error: ClusterError) -> Fault {
    match error {
        ClusterError::Missing { .. }
        | ClusterError::NoHost { .. }
        | ClusterError::Differs { .. }
        | ClusterError::Busy { .. }
        | ClusterError::Spec(_)
        | ClusterError::Rootless(_)
        | ClusterError::Taken { .. } => Fault::usage(error.to_string()),
        _ => Fault::ours(error.to_string()),
    }
}

pub(crate) fn clusters() -> Result<Clusters, Fault> {
    let there = std::env::var_os("SEAWORTHY_STATE").filter(|path| !path.is_empty());
    let clusters = there.map(|path| Clusters::at(PathBuf::from(path))).or_else(Clusters::of_user);
    clusters
        .ok_or_else(|| Fault::usage("there is no HOME to keep clusters in").hint("name a folder in SEAWORTHY_STATE"))
}

/// The cluster of this name; without one, the only one that there is.
pub(crate) fn open(name: Option<&str>) -> Result<Cluster, Fault> {
    let clusters = clusters()?;
    let name = match name {
        Some(name) => name.to_owned(),
        None => match &clusters.names().map_err(fault)?[..] {
            [one] => one.clone(),
            [] => return Err(Fault::usage("there is no cluster").hint("seaworthy cluster up")),
            many => {
                return Err(Fault::usage(format!("there are several clusters: {}", many.join(", "))).hint("name one"));
            }
        },
    };
    clusters.open(&name).map_err(fault)
}

pub(crate) fn run(command: &ClusterCommand) -> Result<i32, Fault> {
    match command {
        ClusterCommand::Up(options) => up(options),
        ClusterCommand::Down(options) => down(options),
        ClusterCommand::Status { name, output } => {
            let status = open(name.as_deref())?.status();
            answer::print(&match output {
                Output::Text => show::picture(&status),
                Output::Json => format!("{:#}\n", serde_json::to_value(&status).unwrap_or_default()),
            });
            Ok(i32::from(!status.is_ready()))
        }
        ClusterCommand::List { output } => list(*output),
        ClusterCommand::Kubeconfig { name } => {
            let path = open(name.as_deref())?.admin_kubeconfig();
            let text = std::fs::read_to_string(&path);
            answer::print(&text.map_err(|error| Fault::usage(format!("{}: {error}", path.display())))?);
            Ok(0)
        }
        ClusterCommand::Exec(options) => exec(options),
        ClusterCommand::Logs(options) => logs(options),
        ClusterCommand::Fault { name, words } => fault_words(&open(name.as_deref())?, words),
        ClusterCommand::Phases => {
            let rows = PHASES.iter().map(|phase| format!("{:20} {}\n", phase.name, phase.about));
            answer::print(&rows.collect::<String>());
            Ok(0)
        }
        ClusterCommand::Phase { phase, name, engine } => {
            let found = PHASES.iter().find(|one| one.name == phase);
            let found = found.ok_or_else(|| no_phase(phase))?;
            let cluster = open(name.as_deref())?;
            let keeper = enter(&cluster)?;
            with_engine(cluster, engine, Told { json: false }, keeper, |engine| engine.phase(found))
        }
        ClusterCommand::Pause { name } => signal_all(name.as_deref(), Signal::SIGSTOP),
        ClusterCommand::Resume { name } => signal_all(name.as_deref(), Signal::SIGCONT),
        ClusterCommand::Sweep(options) => sweep::sweep(options),
        ClusterCommand::Schema => {
            answer::print(&format!("{:#}\n", ClusterSpec::schema()));
            Ok(0)
        }
    }
}

fn up(options: &UpOptions) -> Result<i32, Fault> {
    let spec = options.spec()?;
    let clusters = clusters()?;
    if let Some(unknown) = options.skip_phases.iter().find(|name| !PHASES.iter().any(|phase| phase.name == **name)) {
        return Err(no_phase(unknown));
    }
    if options.dry_run {
        let draft = clusters.draft(&spec).map_err(fault)?;
        let engine = Engine::draft(draft, sources(&options.engine)?, &|_| {});
        let script = engine.and_then(|engine| engine.script(&options.skip_phases));
        answer::print(&script.map_err(|error| Fault::ours(error.to_string()))?);
        return Ok(0);
    }
    let cluster = clusters.create(&spec).map_err(fault)?;
    let begun = Instant::now();
    let keeper = enter(&cluster)?;
    watch(cluster.name());
    let told = Told { json: options.output == Output::Json };
    let up = |engine: &Engine<'_>| engine.up(&options.skip_phases);
    let code = match with_engine(cluster.clone(), &options.engine, told, keeper, up) {
        // Not even a host was made: there is nothing to go on with.
        Err(why) if cluster.is_bare() => {
            clusters.remove(cluster.name()).map_err(fault)?;
            return Err(why.hint("nothing was begun, and nothing is left"));
        }
        other => other?,
    };
    if code == 0 && told.json {
        let seconds = begun.elapsed().as_secs_f64();
        let kubeconfig = cluster.admin_kubeconfig();
        told.line(
            &serde_json::json!({ "event": "up", "name": cluster.name(), "kubeconfig": kubeconfig, "seconds": seconds }),
        );
    } else if code == 0 {
        eprintln!("{} is up after {:.1} s", cluster.name(), begun.elapsed().as_secs_f64());
        eprintln!("export KUBECONFIG={}", quoted(&cluster.admin_kubeconfig()));
    }
    Ok(code)
}

/// A path as a shell takes it.
fn quoted(path: &std::path::Path) -> String {
    let text = path.display().to_string();
    shlex::try_quote(&text).map(std::borrow::Cow::into_owned).unwrap_or(text)
}

fn no_phase(name: &str) -> Fault {
    let known: Vec<_> = PHASES.iter().map(|phase| phase.name).collect();
    Fault::usage(format!("there is no phase '{name}', only {}", known.join(", ")))
        .hint("seaworthy cluster phases says what each does")
}

/// Says on the first SIGINT or SIGTERM what stays, and ends; the second one ends at once.
fn watch(name: &str) {
    signals::listen();
    let name = name.to_owned();
    std::thread::spawn(move || {
        let signal = loop {
            match signals::seen() {
                Some(signal) => break signal,
                None => std::thread::sleep(std::time::Duration::from_millis(20)),
            }
        };
        eprintln!("interrupted: what is up of {name} stays, and runs on");
        eprintln!("  hint: {}", what_stays(&name));
        std::process::exit(128 + signal as i32);
    });
}

fn what_stays(name: &str) -> String {
    format!("go on with the same command, or remove it: seaworthy cluster down {name}")
}

/// Makes this process, where it is an ordinary user's, root in the cluster's user namespace. Comes before anything
/// starts a thread; the network is entered later, since programs may have to be fetched first.
fn enter(cluster: &Cluster) -> Result<Option<Keeper>, Fault> {
    if nix::unistd::geteuid().is_root() {
        return Ok(None);
    }
    Keeper::enter(cluster).map(Some).map_err(fault)
}

/// Where programs come from.
fn sources(options: &EngineOptions) -> Result<Sources, Fault> {
    let cache = options.cache.clone().map(Cache::at).or_else(Cache::of_user);
    let cache =
        cache.ok_or_else(|| Fault::usage("there is no HOME to keep programs in").hint("name a folder with --cache"))?;
    let seaworthy = std::env::current_exe().map_err(|error| Fault::ours(format!("where am I? {error}")))?;
    Ok(Sources {
        images: cache.images(),
        request: request_of(options.bin_dir.as_ref(), options.mirror.as_ref(), cache),
        seaworthy,
    })
}

/// How the work on a cluster is told: as text on standard error, or as JSON lines on standard output.
#[derive(Debug, Clone, Copy)]
struct Told {
    json: bool,
}

impl Told {
    fn line(self, value: &serde_json::Value) {
        answer::print(&format!("{value}\n"));
    }

    fn event(self, event: &Event<'_>) {
        match event {
            Event::Begins(phase) if self.json => {
                self.line(&serde_json::json!({ "event": "begins", "phase": phase.name }));
            }
            Event::Begins(_) => {}
            Event::Ended(phase, took) if self.json => {
                let seconds = took.as_secs_f64();
                self.line(&serde_json::json!({ "event": "ended", "phase": phase.name, "seconds": seconds }));
            }
            Event::Ended(phase, took) => eprintln!("{:>8.2} s  {}", took.as_secs_f64(), phase.name),
            Event::Note(text) if self.json => self.line(&serde_json::json!({ "event": "note", "text": text })),
            Event::Note(text) => eprintln!("    note: {text}"),
        }
    }
}

/// Works on a cluster. Programs that are missing are fetched first.
fn with_engine(
    cluster: Cluster,
    options: &EngineOptions,
    told: Told,
    keeper: Option<Keeper>,
    work: impl Fn(&Engine<'_>) -> Result<(), EngineError>,
) -> Result<i32, Fault> {
    let sources = sources(options)?;
    let name = cluster.name().to_owned();
    let cached = sources.request.cache.versions(Project::Kubernetes);
    let report = |event: Event<'_>| told.event(&event);
    let engine = match Engine::new(cluster.clone(), sources.clone(), &report) {
        Err(EngineError::Missing(missing)) => {
            let mut request = sources.request.clone();
            request.sources = Source::ALL.to_vec();
            eprintln!("    note: programs are missing, and are fetched or built: {}", missing.names());
            let shown = Shown::default();
            let fetched = Engine::fetch(&cluster, &request, &|progress| shown.show(progress));
            shown.finish();
            fetched.and_then(|()| Engine::new(cluster, sources, &report))
        }
        engine => engine,
    };
    let done = engine.and_then(|engine| {
        keeper.map_or(Ok(()), |keeper| keeper.enter_network())?;
        work(&engine)
    });
    match done {
        Ok(()) => Ok(0),
        // Which versions there are without fetching any.
        Err(error @ EngineError::Missing(_)) => {
            let mut here = cached;
            let pinned = Release::pinned().map(|release| release.kubernetes.to_string());
            here.extend(pinned.filter(|version| !here.contains(version)).collect::<Vec<_>>());
            let versions = format!("Kubernetes is here, or pinned with its sums, in {}", here.join(", "));
            Err(Fault::ours(format!("{error}\n{versions}")))
        }
        Err(error) => Err(Fault::ours(error.to_string()).hint(format!("what is up stays; {}", what_stays(&name)))),
    }
}

fn down(options: &DownOptions) -> Result<i32, Fault> {
    let clusters = clusters()?;
    let names = match (&options.name, options.all) {
        (Some(name), _) => vec![name.clone()],
        (None, true) => clusters.names().map_err(fault)?,
        (None, false) => vec![open(None)?.name().to_owned()],
    };
    for name in names {
        clusters.remove(&name).map_err(fault)?;
        eprintln!("{name} is gone");
    }
    clusters.tidy().map_err(fault)?;
    Ok(0)
}

fn list(output: Output) -> Result<i32, Fault> {
    let clusters = clusters()?;
    let mut rows = Vec::new();
    for name in clusters.names().map_err(fault)? {
        // One that was cut off while it was made can still be taken down.
        let status = clusters.open(&name).ok().map(|cluster| cluster.status());
        let up = status.as_ref().map_or(0, |status| status.hosts.iter().filter(|host| host.pid.is_some()).count());
        let hosts = status.as_ref().map_or(0, |status| status.hosts.len());
        let version = status.map(|status| status.kubernetes).unwrap_or_default();
        rows.push((name, version, up, hosts));
    }
    answer::print(&match output {
        Output::Text => rows
            .iter()
            .map(|(name, version, up, hosts)| format!("{name:24} {version:10} {up} of {hosts} hosts up\n"))
            .collect::<String>(),
        Output::Json => {
            let row = |(name, version, up, hosts): &(String, String, usize, usize)| {
                serde_json::json!({
                    "name": name, "kubernetes": version, "hostsUp": up, "hosts": hosts,
                })
            };
            format!("{:#}\n", serde_json::Value::Array(rows.iter().map(row).collect()))
        }
    });
    Ok(0)
}

fn exec(options: &ExecOptions) -> Result<i32, Fault> {
    let cluster = open(options.name.as_deref())?;
    let host = cluster.host(&options.node).map_err(fault)?;
    let mut env =
        std::collections::BTreeMap::from([("KUBECONFIG".to_owned(), "/etc/kubernetes/admin.conf".to_owned())]);
    env.extend(std::env::var("TERM").ok().map(|term| ("TERM".to_owned(), term)));
    let (input, output, errors) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let exit = host.client().exec(&options.command, &env, [input.as_fd(), output.as_fd(), errors.as_fd()]);
    // As a shell has it.
    match exit {
        Ok(Exit::Code(code)) => Ok(code),
        Ok(Exit::Signal(number)) => Ok(128 + number),
        Err(error @ HostError::NotStarted { missing, .. }) => {
            Fault::usage(error.to_string()).print();
            Ok(if missing { 127 } else { 126 })
        }
        Err(error) => Err(Fault::ours(error.to_string())),
    }
}

fn logs(options: &LogsOptions) -> Result<i32, Fault> {
    let cluster = open(options.name.as_deref())?;
    let host = cluster.host(&options.node).map_err(fault)?;
    let Some(component) = &options.component else {
        answer::print(&format!("{}\n", host.logs().join("\n")));
        return Ok(0);
    };
    let failed = |error: HostError| match error {
        HostError::NoLog { .. } => Fault::usage(error.to_string()),
        other => Fault::ours(other.to_string()),
    };
    let (bytes, mut seen) = host.log_after(component, 0).map_err(failed)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<_> = text.lines().collect();
    let from = lines.len().saturating_sub(options.tail.unwrap_or(usize::MAX));
    // A line that is not whole yet is ended by what follows it.
    let open = options.follow && !text.is_empty() && !text.ends_with('\n');
    let shown = lines[from..].join("\n");
    answer::print(&if open || shown.is_empty() { shown } else { shown + "\n" });
    if !options.follow {
        return Ok(0);
    }
    loop {
        std::thread::sleep(std::time::Duration::from_millis(250));
        let (more, end) = host.log_after(component, seen).map_err(failed)?;
        if !more.is_empty() {
            answer::print(&String::from_utf8_lossy(&more));
        }
        seen = end;
    }
}

fn fault_words(cluster: &Cluster, words: &[String]) -> Result<i32, Fault> {
    let entered = enter(cluster)?.map_or(Ok(()), |keeper| keeper.enter_network());
    entered.map_err(|error| Fault::ours(error.to_string()))?;
    let wish = grammar::parse(words)
        .map_err(|error| Fault::usage(error.to_string()).hint("seaworthy cluster fault --help shows what there is"))?;
    let failed = |error: EngineError| match error {
        EngineError::Fault(
            FaultError::Plan(_) | FaultError::Unknown(_) | FaultError::PlainDisk(_) | FaultError::NothingLost(_),
        ) => Fault::usage(error.to_string()),
        other => Fault::ours(other.to_string()),
    };
    match wish {
        Wish::Begin(fault, lasts) => answer::print(&line(&cluster.begin_fault(fault, lasts).map_err(failed)?)),
        Wish::List => cluster.faults().map_err(failed)?.iter().for_each(|active| answer::print(&line(active))),
        Wish::Undo(ids) => drop(cluster.undo_faults(Some(&ids)).map_err(failed)?),
        Wish::UndoAll => drop(cluster.undo_faults(None).map_err(failed)?),
    }
    Ok(0)
}

fn line(active: &Active) -> String {
    let until = active.until.map(|until| format!("  until {}", until.strftime("%H:%M:%S UTC"))).unwrap_or_default();
    format!("{:<4} {}{until}\n", active.id, active.fault)
}

fn signal_all(name: Option<&str>, signal: Signal) -> Result<i32, Fault> {
    let cluster = open(name)?;
    for planned in &cluster.plan().hosts {
        let host = cluster.host(&planned.name).map_err(fault)?;
        if host.process().is_some() {
            host.client().signal(None, signal).map_err(|error| Fault::ours(error.to_string()))?;
        }
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    #[test]
    fn paths_are_quoted_for_the_shell() {
        for (path, shown) in
            [("/var/lib/a", "/var/lib/a"), ("/a b/c", "'/a b/c'"), ("/it's", "\"/it's\""), ("/$HOME", "'/$HOME'")]
        {
            assert_eq!(super::quoted(Path::new(path)), shown);
        }
    }
}

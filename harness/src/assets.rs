//! `seaworthy assets`: the programs that clusters are made of.

use std::cell::RefCell;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anstream::eprintln;
use clap::{Args, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use seaworthy_provision::assets::{
    Cache, Found, Missing, PROGRAMS, Program, Programs, Progress, Release, Request, Source, Version, fetch, find,
};

use crate::answer;
use crate::fault::Fault;

/// How long CI may hear nothing.
const HEARTBEAT: Duration = Duration::from_secs(15);

#[derive(Debug, Subcommand)]
pub(crate) enum AssetsCommand {
    /// Say where each program is, and why it is not where it could be
    List(AssetOptions),
    /// Download or build the programs that are not there
    Fetch(AssetOptions),
    /// Run each program and see that it is of the version that is wanted; exit code 1 if one is not
    Verify(AssetOptions),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SourceName {
    Directory,
    Path,
    Cache,
    Mirror,
    GoModules,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum AssetOutput {
    Text,
    Json,
    /// Only the paths, a line each
    Path,
}

#[derive(Debug, Args)]
pub(crate) struct AssetOptions {
    /// Programs; by default all that a cluster needs
    #[arg(value_name = "PROGRAM")]
    programs: Vec<String>,
    /// Kubernetes
    #[arg(long, value_name = "VERSION", default_value_t = Release::newest().kubernetes)]
    kubernetes_version: Version,
    /// etcd [default: what goes together with that Kubernetes]
    #[arg(long, value_name = "VERSION")]
    etcd_version: Option<Version>,
    /// CoreDNS [default: what goes together with that Kubernetes]
    #[arg(long, value_name = "VERSION")]
    coredns_version: Option<Version>,
    /// A directory that has programs
    #[arg(long, env = "KUBEBUILDER_ASSETS", value_name = "FOLDER")]
    bin_dir: Option<PathBuf>,
    /// Ask this source; several allowed, all by default. They are asked in the order of this list
    #[arg(long = "source", value_enum, value_name = "SOURCE")]
    sources: Vec<SourceName>,
    /// A mirror that has the paths of dl.k8s.io and github.com below it
    #[arg(long, value_name = "URL")]
    mirror: Option<String>,
    /// Where downloads and builds are kept [default: ~/.cache/seaworthy]
    #[arg(long, value_name = "FOLDER")]
    cache: Option<PathBuf>,
    /// The form of the answer
    #[arg(short, long, value_enum, default_value_t = AssetOutput::Text)]
    output: AssetOutput,
}

impl AssetOptions {
    fn release(&self) -> Result<Release, Fault> {
        let kubernetes = self.kubernetes_version.clone();
        if let (Some(etcd), Some(coredns)) = (self.etcd_version.clone(), self.coredns_version.clone()) {
            return Ok(Release::new(kubernetes, etcd, coredns));
        }
        let known = Release::of(&kubernetes).map_err(|error| {
            Fault::usage(error.to_string()).hint("name what goes together with it: --etcd-version, --coredns-version")
        })?;
        Ok(Release {
            etcd: self.etcd_version.clone().unwrap_or(known.etcd),
            coredns: self.coredns_version.clone().unwrap_or(known.coredns),
            ..known
        })
    }

    fn request(&self) -> Result<Request, Fault> {
        let mut programs = Vec::new();
        for name in &self.programs {
            programs.push(Program::named(name).ok_or_else(|| {
                let known: Vec<_> = PROGRAMS.iter().map(|program| program.name).collect();
                Fault::usage(format!("'{name}' is no program of a cluster"))
                    .hint(format!("one of {}", known.join(", ")))
            })?);
        }
        if programs.is_empty() {
            programs = PROGRAMS.iter().filter(|program| !program.optional).collect();
        }
        let source = |name: &SourceName| match name {
            SourceName::Directory => Source::Directory,
            SourceName::Path => Source::Path,
            SourceName::Cache => Source::Cache,
            SourceName::Mirror => Source::Mirror,
            SourceName::GoModules => Source::GoModules,
        };
        let sources: Vec<_> = self.sources.iter().map(source).collect();
        let cache = self.cache.clone().map(Cache::at).or_else(Cache::of_user);
        Ok(Request {
            release: self.release()?,
            programs,
            sources: if sources.is_empty() { Source::ALL.to_vec() } else { sources },
            directory: self.bin_dir.clone().filter(|folder| !folder.as_os_str().is_empty()),
            path: std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default(),
            cache: cache.ok_or_else(|| {
                Fault::usage("there is no HOME to keep programs in").hint("name a folder with --cache")
            })?,
            mirror: self.mirror.clone(),
        })
    }
}

/// A request for programs that are here, as `cluster` makes it: which ones, its release and the engine say.
pub(crate) fn request_of(bin_dir: Option<&PathBuf>, mirror: Option<&String>, cache: Cache) -> Request {
    Request {
        release: Release::newest(),
        programs: Vec::new(),
        sources: Source::ALL.to_vec(),
        directory: bin_dir.cloned().filter(|folder| !folder.as_os_str().is_empty()),
        path: std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default(),
        cache,
        mirror: mirror.cloned(),
    }
}

pub(crate) fn run(command: &AssetsCommand) -> Result<i32, Fault> {
    match command {
        AssetsCommand::List(options) => list(options),
        AssetsCommand::Fetch(options) => {
            let shown = Shown::default();
            let found = fetch(&options.request()?, &|progress| shown.show(progress));
            shown.finish();
            answer_with(options, found)
        }
        AssetsCommand::Verify(options) => answer_with(options, find(&options.request()?)),
    }
}

fn answer_with(options: &AssetOptions, found: Result<Programs, Missing>) -> Result<i32, Fault> {
    match found {
        Ok(found) => {
            answer::print(&table(options.output, found.iter()));
            Ok(0)
        }
        Err(missing) => {
            eprintln!("{missing}");
            Ok(1)
        }
    }
}

/// One program at a time, so that what is there is listed beside what is not.
fn list(options: &AssetOptions) -> Result<i32, Fault> {
    let request = options.request()?;
    let mut found = Vec::new();
    let mut missing = Vec::new();
    for &program in &request.programs {
        match find(&Request { programs: vec![program], ..request.clone() }) {
            Ok(one) => found.extend(one.iter().cloned()),
            Err(why) => missing.push((program, why)),
        }
    }
    let mut text = table(options.output, found.iter());
    if options.output == AssetOutput::Text {
        for (program, why) in missing {
            text += &format!("{:24} not here\n", program.name);
            for passed in why.programs.values().flatten() {
                text += &format!("{:26} {}: {}\n", "", passed.source.name(), passed.why);
            }
        }
    }
    answer::print(&text);
    Ok(0)
}

fn table<'f>(output: AssetOutput, found: impl Iterator<Item = &'f Found>) -> String {
    let version = |found: &Found| found.version.clone();
    match output {
        AssetOutput::Path => found.map(|found| format!("{}\n", found.path.display())).collect(),
        AssetOutput::Json => {
            let row = |found: &Found| {
                serde_json::json!({
                    "program": found.program.name,
                    "project": found.program.project.name(),
                    "version": version(found),
                    "source": found.source.name(),
                    "path": found.path,
                })
            };
            format!("{:#}\n", serde_json::Value::Array(found.map(row).collect()))
        }
        AssetOutput::Text => {
            let row = |found: &Found| {
                let version = version(found).unwrap_or_else(|| "-".to_owned());
                format!("{:24} {version:10} {:10} {}\n", found.program.name, found.source.name(), found.path.display())
            };
            found.map(row).collect()
        }
    }
}

/// What is shown while something is downloaded or built: a bar on a terminal, a line now and then elsewhere.
pub(crate) struct Shown {
    bar: RefCell<ProgressBar>,
    what: RefCell<String>,
    said: RefCell<Option<Instant>>,
}

impl Default for Shown {
    fn default() -> Self {
        Self { bar: RefCell::new(ProgressBar::hidden()), what: RefCell::default(), said: RefCell::default() }
    }
}

impl Shown {
    /// Nothing more is to come.
    pub(crate) fn finish(&self) {
        self.bar.borrow().finish_and_clear();
    }

    pub(crate) fn show(&self, progress: Progress<'_>) {
        let (what, done, total, bytes) = match progress {
            Progress::Download { name, done, total } => (format!("downloading {name}"), done, total, true),
            Progress::Build { project, done, total } => {
                (format!("building {} from its Go modules", project.name()), done, Some(total), false)
            }
        };
        let terminal = std::io::stderr().is_terminal();
        if *self.what.borrow() != what {
            self.bar.borrow().finish_and_clear();
            if terminal {
                let bar = ProgressBar::new(total.unwrap_or(0));
                let template =
                    if bytes { "{bar:24} {bytes}/{total_bytes} {msg}" } else { "{bar:24} {pos}/{len} {msg}" };
                if let Ok(style) = ProgressStyle::with_template(template) {
                    bar.set_style(style);
                }
                bar.set_message(what.clone());
                self.bar.replace(bar);
            }
            self.what.replace(what.clone());
            self.said.replace(None);
        }
        self.bar.borrow().set_position(done);
        let due = self.said.borrow().is_none_or(|said| said.elapsed() >= HEARTBEAT);
        if !terminal && due {
            let of = total.map(|total| format!(" of {total}")).unwrap_or_default();
            eprintln!("{what}: {done}{of} {}", if bytes { "bytes" } else { "packages" });
            self.said.replace(Some(Instant::now()));
        }
    }
}

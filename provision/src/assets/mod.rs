//! The programs that a cluster is made of, and where they come from.
//!
//! Sources are asked in order: a directory that the user names, PATH, our cache, the release site or a mirror of it,
//! and Go modules. A program counts only if it runs and says the version that is wanted; why a source was passed over
//! is kept.

mod cache;
mod gomod;
mod manifest;
mod mirror;
mod program;
mod seen;
pub(crate) mod span;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

pub use cache::Cache;
pub use manifest::{BadVersion, Release, UnknownRelease, Version};
pub use program::{PROGRAMS, Program, Project};
use seen::Seen;
pub use span::Span;

/// Where a program may come from, in the order in which they are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// A directory that the user names; `KUBEBUILDER_ASSETS` is one.
    Directory,
    /// The directories of PATH, and for CNI plug-ins those that distributions put them in.
    Path,
    /// What was fetched or built before.
    Cache,
    /// The release site, or a mirror of it.
    Mirror,
    /// `go build` of the released modules.
    GoModules,
}

impl Source {
    /// All, in order.
    pub const ALL: [Self; 5] = [Self::Directory, Self::Path, Self::Cache, Self::Mirror, Self::GoModules];

    /// The name as `--source` takes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Directory => "directory",
            Self::Path => "path",
            Self::Cache => "cache",
            Self::Mirror => "mirror",
            Self::GoModules => "go-modules",
        }
    }
}

/// What is wanted, and from where.
#[derive(Debug, Clone)]
pub struct Request {
    /// The versions that go together.
    pub release: Release,
    /// The programs that are wanted; several of one project are built at once.
    pub programs: Vec<&'static Program>,
    /// The sources that may be asked; always in the order of [`Source::ALL`].
    pub sources: Vec<Source>,
    /// The directory of [`Source::Directory`].
    pub directory: Option<PathBuf>,
    /// The directories of [`Source::Path`].
    pub path: Vec<PathBuf>,
    /// The cache.
    pub cache: Cache,
    /// The mirror of the release sites: `dl.k8s.io` and `github.com` have their paths below it. Without one, the sites
    /// themselves.
    pub mirror: Option<String>,
}

impl Request {
    /// Asks for programs by their names, as PATH and the user's cache have them: where nothing is to be fetched. `None`
    /// without a home for a cache, or if a name is no program's.
    #[must_use]
    pub fn here(release: Release, names: &[&str]) -> Option<Self> {
        Some(Self {
            release,
            programs: names.iter().map(|name| Program::named(name)).collect::<Option<_>>()?,
            sources: vec![Source::Path, Source::Cache],
            directory: None,
            path: std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect(),
            cache: Cache::of_user()?,
            mirror: None,
        })
    }
}

/// How a fetch is coming along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress<'a> {
    /// Bytes of a download, of how many if the server says.
    Download {
        /// The file.
        name: &'a str,
        /// Bytes that are here.
        done: u64,
        /// Bytes in all.
        total: Option<u64>,
    },
    /// Packages that the Go compiler has built. What its own cache holds it does not build, so `done` may end below
    /// `total`.
    Build {
        /// The project.
        project: Project,
        /// Packages that are built.
        done: u64,
        /// Packages that the programs consist of.
        total: u64,
    },
}

/// Is told how a fetch is coming along.
pub type Report<'a> = &'a dyn Fn(Progress<'_>);

/// A program that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Which.
    pub program: &'static Program,
    /// Where it is.
    pub path: PathBuf,
    /// Where it comes from.
    pub source: Source,
    /// The version that it says; `None` for programs of the system, of which any will do.
    pub version: Option<String>,
}

/// Why a source did not give a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassedOver {
    /// The source.
    pub source: Source,
    /// Why, in words; names the thing.
    pub why: String,
}

/// Programs that no source has.
#[derive(Debug, thiserror::Error)]
pub struct Missing {
    /// Each with the reasons, in the order of the sources.
    pub programs: BTreeMap<&'static str, Vec<PassedOver>>,
}

impl Missing {
    /// Their names, with commas.
    #[must_use]
    pub fn names(&self) -> String {
        self.programs.keys().copied().collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no source has {}", self.names())?;
        // What keeps one program away mostly keeps all of its project away: each reason is said once.
        let mut said = Vec::new();
        for PassedOver { source, why } in self.programs.values().flatten() {
            if !said.contains(&why) {
                write!(f, "\n  {}: {why}", source.name())?;
                said.push(why);
            }
        }
        Ok(())
    }
}

/// The programs of a release, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs(BTreeMap<&'static str, Found>);

impl Programs {
    /// Where a program is; `None` if it was not asked for.
    #[must_use]
    pub fn path(&self, name: &str) -> Option<&Path> {
        self.0.get(name).map(|found| found.path.as_path())
    }

    /// All, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Found> {
        self.0.values()
    }
}

/// Looks for programs without fetching or building any.
///
/// # Errors
/// [`Missing`] with the reasons of the local sources.
pub fn find(request: &Request) -> Result<Programs, Missing> {
    find_in(request, None)
}

/// Looks for programs as [`find`] does, and believes those that were run before and have not changed since.
///
/// # Errors
/// [`Missing`] with the reasons of the local sources.
pub fn find_known(request: &Request) -> Result<Programs, Missing> {
    let seen = Seen::read(request.cache.seen());
    let found = find_in(request, Some(&seen));
    seen.write();
    found
}

fn find_in(request: &Request, seen: Option<&Seen>) -> Result<Programs, Missing> {
    let local = |source: &Source| matches!(source, Source::Directory | Source::Path | Source::Cache);
    let sources = request.sources.iter().copied().filter(local).collect();
    from_sources(&Request { sources, ..request.clone() }, &|_| {}, seen)
}

/// Finds programs, and fetches or builds those that are not there.
///
/// # Errors
/// [`Missing`] with what each source said.
pub fn fetch(request: &Request, report: Report<'_>) -> Result<Programs, Missing> {
    from_sources(request, report, None)
}

fn from_sources(request: &Request, report: Report<'_>, seen: Option<&Seen>) -> Result<Programs, Missing> {
    let mut found = BTreeMap::new();
    let mut missing: BTreeMap<&'static str, Vec<PassedOver>> =
        request.programs.iter().map(|program| (program.name, Vec::new())).collect();
    for source in Source::ALL.into_iter().filter(|source| request.sources.contains(source)) {
        let wanted: Vec<_> = request.programs.iter().copied().filter(|one| missing.contains_key(one.name)).collect();
        for (program, answer) in ask(source, request, &wanted, report, seen) {
            match answer {
                Ok(one) => {
                    missing.remove(program.name);
                    found.insert(program.name, one);
                }
                Err(why) => missing.entry(program.name).or_default().push(PassedOver { source, why }),
            }
        }
    }
    if missing.is_empty() { Ok(Programs(found)) } else { Err(Missing { programs: missing }) }
}

type Answers = Vec<(&'static Program, Result<Found, String>)>;

fn ask(
    source: Source,
    request: &Request,
    wanted: &[&'static Program],
    report: Report<'_>,
    seen: Option<&Seen>,
) -> Answers {
    // All at once: each runs for a while to say its version.
    let each = |ask: &(dyn Fn(&'static Program) -> Result<Found, String> + Sync)| {
        std::thread::scope(|scope| {
            let asked: Vec<_> = wanted.iter().map(|&program| (program, scope.spawn(move || ask(program)))).collect();
            let panicked = |_| Err("a defect of seaworthy: it panicked".to_owned());
            asked.into_iter().map(|(program, one)| (program, one.join().unwrap_or_else(panicked))).collect()
        })
    };
    let release = &request.release;
    match source {
        Source::Directory => each(&|program| match &request.directory {
            Some(folder) => program::in_folder(program, folder, release, source, seen),
            None => Err("no directory was named: --bin-dir, or KUBEBUILDER_ASSETS".to_owned()),
        }),
        Source::Path => each(&|program| program::in_path(program, &request.path, release, seen)),
        Source::Cache => each(&|program| match release.version(program.project) {
            Some(version) => {
                program::in_folder(program, &request.cache.folder(program.project, version), release, source, seen)
            }
            None => Err(format!("{} is the system's, and is never cached", program.name)),
        }),
        Source::Mirror => by_project(request, wanted, |project, version, programs| {
            mirror::download(request, project, version, programs, report)
        }),
        Source::GoModules => by_project(request, wanted, |project, version, programs| {
            gomod::build(&request.cache, project, version, programs, report)
        }),
    }
}

/// Has a project's programs put into the cache, and looks whether they are what they ought to be.
fn by_project(
    request: &Request,
    wanted: &[&'static Program],
    fill: impl Fn(Project, &Version, &[&'static Program]) -> Result<(), String>,
) -> Answers {
    let mut projects: BTreeMap<Project, Vec<&'static Program>> = BTreeMap::new();
    for program in wanted {
        projects.entry(program.project).or_default().push(program);
    }
    let mut answers = Vec::new();
    for (project, programs) in projects {
        let Some(version) = request.release.version(project) else {
            let hint = |one: &Program| format!("{} is the system's: install the package {}", one.name, one.package);
            answers.extend(programs.into_iter().map(|program| (program, Err(hint(program)))));
            continue;
        };
        let filled = fill(project, version, &programs);
        let folder = request.cache.folder(project, version);
        for program in programs {
            let answer = match &filled {
                Ok(()) => program::in_folder(program, &folder, &request.release, Source::Cache, None),
                Err(why) => Err(why.clone()),
            };
            answers.push((program, answer));
        }
    }
    answers
}

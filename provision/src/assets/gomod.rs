//! `go build` of the released modules: the source that works wherever a Go module proxy is reached.
//!
//! The modules of pinned releases stand in `provision/gomod`, with their sums, and are part of this program. For any
//! other version a module is written as that version's own go.mod demands, and Go's checksum database vouches for what
//! it fetches.

mod openapi;

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Cache, Program, Progress, Project, Report, Version};

/// The least Go that builds what is pinned.
const LEAST_GO: [u32; 2] = [1, 26];

/// What folders of builds begin with.
const BUILD: &str = ".build-";

/// A module of ours that names commands to build.
struct Module {
    project: Project,
    version: &'static str,
    manifest: &'static str,
    sums: &'static str,
    tools: &'static str,
}

macro_rules! pinned {
    ($project:expr, $name:literal, $version:literal) => {
        Module {
            project: $project,
            version: $version,
            manifest: include_str!(concat!("../../gomod/", $name, "-", $version, "/go.mod")),
            sums: include_str!(concat!("../../gomod/", $name, "-", $version, "/go.sum")),
            tools: include_str!(concat!("../../gomod/", $name, "-", $version, "/tools.go")),
        }
    };
}

static PINNED: [Module; 7] = [
    pinned!(Project::Kubernetes, "kubernetes", "v1.37.2"),
    pinned!(Project::Etcd, "etcd", "v3.7.3"),
    pinned!(Project::CoreDns, "coredns", "v1.14.6"),
    pinned!(Project::Containerd, "containerd", "v2.4.2"),
    pinned!(Project::Kubernetes, "kubernetes", "v1.23.17"),
    pinned!(Project::Etcd, "etcd", "v3.5.34"),
    pinned!(Project::CoreDns, "coredns", "v1.8.6"),
];

/// Builds programs of a project into the cache.
pub(super) fn build(
    cache: &Cache,
    project: Project,
    version: &Version,
    programs: &[&'static Program],
    report: Report<'_>,
) -> Result<(), String> {
    check_go()?;
    let folder = cache.folder(project, version);
    let _lock = Cache::lock(&folder)?;
    // Another process may have built them while we waited; it has the same versions, so what is there is right.
    let programs: Vec<_> = programs.iter().filter(|program| !folder.join(program.name).exists()).collect();
    if programs.is_empty() {
        return Ok(());
    }
    remove_cut_off(&folder);
    let work = tempfile::Builder::new().prefix(BUILD).tempdir_in(&folder);
    let work = work.map_err(|error| format!("{}: {error}", folder.display()))?;
    let module = work.path().join("module");
    let bin = work.path().join("bin");
    for path in [&module, &bin] {
        std::fs::create_dir(path).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    write_module(&module, project, version, &programs)?;
    let packages: Vec<_> = programs.iter().map(|program| program.package).collect();
    if programs.iter().any(|program| program.name == "kube-apiserver") {
        openapi::complete(&module, work.path())?;
    }
    let listed = run(go(&module).args(["list", "-deps"]).args(&packages), |_| {})?;
    let total = u64::try_from(listed.lines().count()).unwrap_or(0);
    let mut done = 0;
    report(Progress::Build { project, done, total });
    let mut command = go(&module);
    command.args(["build", "-v", "-trimpath", "-buildvcs=false", "-ldflags", &ldflags(project, version), "-o"]);
    run(command.arg(&bin).args(&packages), |_| {
        done += 1;
        report(Progress::Build { project, done: done.min(total), total });
    })?;
    for program in programs {
        // Go names a program after the last part of its package, a major version aside: server, for etcd.
        let path = Path::new(program.package);
        let parts = path.components().rev().map(|part| part.as_os_str().to_string_lossy().into_owned());
        let built = parts.into_iter().find(|part| part != "v3").unwrap_or_default();
        let (from, to) = (bin.join(built), folder.join(program.name));
        std::fs::rename(&from, &to).map_err(|error| format!("{} to {}: {error}", from.display(), to.display()))?;
    }
    Ok(())
}

/// Removes what builds left that were killed: whoever holds the folder's lock is the only one to build in it.
fn remove_cut_off(folder: &Path) {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(BUILD)) {
        std::fs::remove_dir_all(entry.path()).ok();
    }
}

/// What makes programs say their version (k8s.io/component-base/version).
fn ldflags(project: Project, version: &Version) -> String {
    let mut flags = "-s -w".to_owned();
    if project == Project::Kubernetes {
        let [major, minor, _] = version.numbers();
        // The one is what programs say, the other what clients say; kube-apiserver 1.23 answers at /version as its
        // client says.
        for package in ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"] {
            // Writing to a string does not fail.
            let _ = write!(flags, " -X {package}.gitVersion={version} -X {package}.gitMajor={major}");
            let _ = write!(flags, " -X {package}.gitMinor={minor} -X {package}.gitTreeState=clean");
        }
        if minor < 30 {
            // Go 1.23 and later refuse the linknames of golang.org/x of that time.
            flags.push_str(" -checklinkname=0");
        }
    }
    if project == Project::Containerd {
        let _ = write!(flags, " -X github.com/containerd/containerd/v2/version.Version={version}");
    }
    flags
}

fn go(folder: &Path) -> Command {
    let mut command = Command::new("go");
    command.current_dir(folder).env("CGO_ENABLED", "0").env("GOFLAGS", "-mod=mod").env("GOWORK", "off");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // SAFETY: prctl(2) is async-signal-safe, and the closure does nothing else. A build does not outlive us.
    unsafe {
        command.pre_exec(|| nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL).map_err(Into::into));
    }
    command
}

/// Runs Go; gives what it prints, and tells of each line of its other stream. Its last lines are the error.
fn run(command: &mut Command, mut line: impl FnMut(&str)) -> Result<String, String> {
    let mut child = command.spawn().map_err(|error| format!("go cannot be run: {error}"))?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let reader = std::thread::spawn(move || out.map(std::io::read_to_string).and_then(Result::ok).unwrap_or_default());
    let mut last = std::collections::VecDeque::new();
    for text in err.into_iter().flat_map(|err| BufReader::new(err).lines()).map_while(Result::ok) {
        line(&text);
        if last.len() == 15 {
            last.pop_front();
        }
        last.push_back(text);
    }
    let status = child.wait().map_err(|error| format!("go: {error}"))?;
    let out = reader.join().unwrap_or_default();
    if status.success() {
        return Ok(out);
    }
    let arguments: Vec<_> = command.get_args().take(2).map(|word| word.to_string_lossy()).collect();
    Err(format!("go {} failed ({status}):\n    {}", arguments.join(" "), Vec::from(last).join("\n    ")))
}

fn check_go() -> Result<(), String> {
    let out = Command::new("go").args(["env", "GOVERSION"]).stdin(Stdio::null()).output().map_err(|error| {
        format!("Go is not installed ({error}): install Go {}.{} or later", LEAST_GO[0], LEAST_GO[1])
    })?;
    let text = String::from_utf8_lossy(&out.stdout).trim().to_owned();
    let mut parts =
        text.trim_start_matches("go").split(['.', '-', 'r', 'b']).map(|part| part.parse::<u32>().unwrap_or(0));
    let version = [parts.next().unwrap_or(0), parts.next().unwrap_or(0)];
    if version >= LEAST_GO {
        return Ok(());
    }
    Err(format!("Go {text} is too old: install Go {}.{} or later", LEAST_GO[0], LEAST_GO[1]))
}

/// Lays down the module to build in: the pinned one, or one made for the version.
fn write_module(
    folder: &Path,
    project: Project,
    version: &Version,
    programs: &[&&'static Program],
) -> Result<(), String> {
    let write = |name: &str, content: &str| {
        let path = folder.join(name);
        std::fs::write(&path, content).map_err(|error| format!("{}: {error}", path.display()))
    };
    let pinned = PINNED.iter().find(|module| module.project == project && module.version == version.to_string());
    if let Some(module) = pinned {
        write("go.mod", module.manifest)?;
        write("go.sum", module.sums)?;
        return write("tools.go", module.tools);
    }
    let mut manifest = format!("module seaworthy.dev/provision/{}\n\n", project.name());
    if project == Project::Kubernetes {
        write("go.mod", &manifest)?;
        let described =
            run(go(folder).args(["mod", "download", "-json", &format!("k8s.io/kubernetes@{version}")]), |_| {})?;
        let described: serde_json::Value =
            serde_json::from_str(&described).map_err(|error| format!("go mod download said no JSON: {error}"))?;
        let path = described.get("GoMod").and_then(serde_json::Value::as_str).map(PathBuf::from);
        let path = path.ok_or_else(|| format!("go mod download does not say where go.mod of {version} is"))?;
        let theirs = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        manifest += &kubernetes_manifest(&theirs, version);
    } else {
        // A command of containerd is a package of its module; those of the others are modules.
        let module = |package: &'static str| package.split_once("/cmd/").map_or(package, |(module, _)| module);
        let mut required: Vec<_> = programs.iter().map(|program| module(program.package)).collect();
        required.dedup();
        for package in required {
            let _ = writeln!(manifest, "require {package} {version}");
        }
    }
    // Without `go mod tidy`, which would have the modules of all tests: Go adds what it meets as it goes (-mod=mod).
    write("go.mod", &manifest)
}

/// What a module that builds Kubernetes must say: its staging modules are replaced in its own go.mod by folders that
/// the module proxy does not have, and are released as v0 of the same minor and patch.
fn kubernetes_manifest(theirs: &str, version: &Version) -> String {
    let mut manifest = String::new();
    for line in theirs.lines().filter(|line| line.starts_with("go ") || line.starts_with("godebug default")) {
        let _ = writeln!(manifest, "{line}");
    }
    let _ = writeln!(manifest, "\nrequire k8s.io/kubernetes {version}\n");
    let [_, minor, patch] = version.numbers();
    for line in theirs.lines() {
        let Some((module, _)) = line.trim().split_once(" => ./staging/") else { continue };
        let module = module.trim_start_matches("replace ").trim();
        let _ = writeln!(manifest, "replace {module} => {module} v0.{minor}.{patch}");
    }
    manifest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assets::{PROGRAMS, Release};

    #[test]
    fn every_pinned_release_has_its_modules() {
        for release in Release::pinned() {
            for project in [Project::Kubernetes, Project::Etcd, Project::CoreDns, Project::Containerd] {
                let version = release.version(project).unwrap().to_string();
                let module = PINNED.iter().find(|module| module.project == project && module.version == version);
                let module = module.unwrap_or_else(|| panic!("{} {version} has no module", project.name()));
                for program in PROGRAMS.iter().filter(|program| program.project == project) {
                    assert!(module.tools.contains(&format!("\"{}\"", program.package)), "{}", program.name);
                }
                assert!(module.manifest.contains(&format!(" {version}\n")), "{version}");
                assert!(!module.sums.is_empty());
            }
        }
    }

    #[test]
    fn staging_modules_are_replaced_by_released_ones() {
        let theirs = "module k8s.io/kubernetes\n\ngo 1.24.0\n\ngodebug default=go1.24\n\nreplace (\n\
                      \tk8s.io/api => ./staging/src/k8s.io/api\n\tk8s.io/cri-api => ./staging/src/k8s.io/cri-api\n)\n";
        let ours = kubernetes_manifest(theirs, &"v1.33.13".parse().unwrap());
        assert!(ours.starts_with("go 1.24.0\ngodebug default=go1.24\n"), "{ours}");
        assert!(ours.contains("require k8s.io/kubernetes v1.33.13\n"), "{ours}");
        assert!(ours.contains("replace k8s.io/api => k8s.io/api v0.33.13\n"), "{ours}");
        assert_eq!(ours.matches("replace ").count(), 2);
    }
}

//! The table of what kubeadm asks of a node agrees with the sources of kubeadm.
//!
//! `SEAWORTHY_UPDATE=1 cargo test -p seaworthy-checks --test preflight_table` writes the table anew from the Go modules
//! of all releases, which it downloads. Without it the releases whose modules are in the module cache are compared.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use regex::Regex;
use seaworthy_checks::node::preflight::{self, Level};

/// The newest patch release of each minor that the module proxy serves.
const RELEASES: [(u32, &str); 15] = [
    (23, "1.23.17"),
    (24, "1.24.17"),
    (25, "1.25.16"),
    (26, "1.26.15"),
    (27, "1.27.16"),
    (28, "1.28.15"),
    (29, "1.29.15"),
    (30, "1.30.14"),
    (31, "1.31.14"),
    (32, "1.32.13"),
    (33, "1.33.13"),
    (34, "1.34.4"),
    (35, "1.35.4"),
    (36, "1.36.3"),
    (37, "1.37.2"),
];
/// The releases that `.ci/test` has the modules of, since it builds them.
const BUILT: [u32; 3] = [23, 36, 37];

/// What one release asks for: the rows of the table without their versions.
#[derive(Debug, Default, PartialEq, Eq)]
struct Asked {
    programs: BTreeMap<String, Level>,
    files: BTreeSet<String>,
    kernels: Option<(Level, Vec<String>)>,
    /// Names of which one must be set, and the cgroup version that they are for.
    options: BTreeSet<(Vec<String>, Option<u32>)>,
}

/// A module's folder, if it is there or may be downloaded.
fn module(name: &str, version: &str, download: bool) -> Option<PathBuf> {
    let go = |arguments: &[&str]| {
        let output = Command::new("go").args(arguments).current_dir("/").output().ok()?;
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    };
    if download {
        go(&["mod", "download", &format!("{name}@v{version}")])?;
    }
    let folder = Path::new(go(&["env", "GOMODCACHE"])?.trim()).join(format!("{name}@v{version}"));
    folder.is_dir().then_some(folder)
}

fn captures(pattern: &str, text: &str) -> Vec<Vec<String>> {
    let all = Regex::new(pattern).unwrap();
    let groups = |found: regex::Captures<'_>| {
        found.iter().skip(1).map(|group| group.map(|group| group.as_str().to_owned()).unwrap_or_default()).collect()
    };
    all.captures_iter(text).map(groups).collect()
}

/// The text between a line that holds `begin` and the line that closes it at the same indentation.
fn block<'t>(text: &'t str, begin: &str) -> &'t str {
    let Some(start) = text.find(begin) else { return "" };
    let line = text[..start].rfind('\n').map_or(0, |at| at + 1);
    let indent: String = text[line..].chars().take_while(|c| c.is_whitespace()).collect();
    let rest = &text[start..];
    &rest[..rest.find(&format!("\n{indent}}}")).unwrap_or(rest.len())]
}

fn asked(minor: u32, version: &str, download: bool) -> Option<Asked> {
    let kubernetes = module("k8s.io/kubernetes", version, download)?;
    let read = |path: PathBuf| std::fs::read_to_string(path).unwrap_or_default();
    let folder = kubernetes.join("cmd/kubeadm/app/preflight");
    let text = read(folder.join("checks.go")) + &read(folder.join("checks_linux.go"));
    let mut asked = Asked::default();
    let guard = Regex::new(r#"LessThan\(utilversion\.MustParseSemantic\("1\.(\d+)\.0"\)\)"#).unwrap();
    let program = Regex::new(r#"InPathCheck\{executable: "([^"]+)", mandatory: (true|false)"#).unwrap();
    let lines: Vec<_> = text.lines().collect();
    for (number, line) in lines.iter().enumerate() {
        for found in program.captures_iter(line) {
            // Asked for releases of Kubernetes below one: `kubeadm init` sets up its own.
            let below = number.checked_sub(1).and_then(|before| guard.captures(lines[before]));
            if below.is_some_and(|below| minor >= below[1].parse::<u32>().unwrap()) {
                continue;
            }
            let level = if &found[2] == "true" { Level::Error } else { Level::Warning };
            asked.programs.insert(found[1].to_owned(), level);
        }
    }
    for found in captures(r"FileContentCheck\{Path: (\w+)", &text) {
        let path = captures(&format!(r#"\b{}\s*=\s*"([^"]+)""#, found[0]), &text);
        asked.files.insert(path[0][0].clone());
    }
    let required = captures(r"k8s\.io/system-validators v(\S+)", &read(kubernetes.join("go.mod")));
    let validators = module("k8s.io/system-validators", &required[0][0], download)?.join("validators");
    let spec = read(validators.join("types_unix.go"));
    let validator = read(validators.join("kernel_validator.go"));
    let warns = Regex::new(r"validateKernelVersion\(spec\.KernelSpec\); \w+ != nil \{\s*warns").unwrap();
    let level = if warns.is_match(&validator) { Level::Warning } else { Level::Error };
    let versions = captures(r"Versions:\s*\[\]string\{(.*)\}", &spec);
    asked.kernels = Some((level, captures("`([^`]+)`", &versions[0][0]).concat()));
    for (list, cgroup) in [("Required:", None), ("RequiredCgroupsV1:", Some(1)), ("RequiredCgroupsV2:", Some(2))] {
        for found in captures(r#"\{Name: "(\w+)"(?:, Aliases: \[\]string\{([^}]*)\})?"#, block(&spec, list)) {
            let aliases = captures(r#""(\w+)""#, &found[1]).concat();
            asked.options.insert((std::iter::once(found[0].clone()).chain(aliases).collect(), cgroup));
        }
    }
    Some(asked)
}

/// What the table says of a release.
fn tabled(minor: u32) -> Asked {
    let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    let programs = preflight::PROGRAMS.iter().filter(|row| row.2.contains(&minor));
    let kernels = preflight::KERNELS.iter().find(|row| row.2.contains(&minor));
    let options = preflight::OPTIONS.iter().filter(|row| row.2.contains(&minor));
    Asked {
        programs: programs.map(|row| (row.0.to_owned(), row.1)).collect(),
        files: preflight::FILES.iter().filter(|row| row.1.contains(&minor)).map(|row| row.0.to_owned()).collect(),
        kernels: kernels.map(|row| (row.1, owned(row.0))),
        options: options.map(|row| (owned(row.0), row.1)).collect(),
    }
}

/// Joins the releases that ask for the same.
fn ranges<R: Ord + Clone>(all: &BTreeMap<u32, Asked>, rows: impl Fn(&Asked) -> Vec<R>) -> Vec<(R, u32, u32)> {
    let mut ranges: BTreeMap<R, Vec<(u32, u32)>> = BTreeMap::new();
    for (&minor, asked) in all {
        for row in rows(asked) {
            let of_row = ranges.entry(row).or_default();
            match of_row.last_mut() {
                Some((_, last)) if *last + 1 == minor => *last = minor,
                _ => of_row.push((minor, minor)),
            }
        }
    }
    ranges.into_iter().flat_map(|(row, all)| all.into_iter().map(move |(a, b)| (row.clone(), a, b))).collect()
}

fn render(all: &BTreeMap<u32, Asked>) -> String {
    let mut text =
        "//! What `kubeadm init` and `kubeadm join` ask of a node before they set it up, by minor release.\n//!\n\
         //! Generated from the sources of kubeadm and of system-validators, which the module proxy serves:\n\
         //! `SEAWORTHY_UPDATE=1 cargo test -p seaworthy-checks --test preflight_table`.\n\n\
         use std::ops::RangeInclusive;\n\nuse Level::{Error, Warning};\n\n/// How kubeadm reports what it misses.\n\
         #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]\n\
         pub enum Level {\n    /// It goes on.\n    Warning,\n    /// It refuses the node.\n    Error,\n}\n\
         \n"
        .to_owned();
    let names = |names: &[String]| {
        let quoted: Vec<_> = names.iter().map(|name| format!("{name:?}")).collect();
        format!("&[{}]", quoted.join(", "))
    };
    text += "/// Programs in the PATH.\npub const PROGRAMS: &[(&str, Level, RangeInclusive<u32>)] = &[\n";
    for ((name, level), a, b) in ranges(all, |asked| asked.programs.clone().into_iter().collect()) {
        writeln!(text, "    ({name:?}, {level:?}, {a}..={b}),").unwrap();
    }
    text += "];\n\n/// Files that must begin with `1`, those of IPv6 only where the cluster uses it.\n\
             pub const FILES: &[(&str, RangeInclusive<u32>)] = &[\n";
    for (path, a, b) in ranges(all, |asked| asked.files.iter().cloned().collect()) {
        writeln!(text, "    ({path:?}, {a}..={b}),").unwrap();
    }
    text += "];\n\n/// Releases of the kernel as regular expressions, of which one must match.\n\
             pub const KERNELS: &[(&[&str], Level, RangeInclusive<u32>)] = &[\n";
    for ((level, patterns), a, b) in ranges(all, |asked| asked.kernels.iter().cloned().collect()) {
        writeln!(text, "    ({}, {level:?}, {a}..={b}),", names(&patterns).replace("\\\\", "\\").replace('"', "\u{1}"))
            .unwrap();
    }
    text = text.replace("&[\u{1}", "&[r\u{1}").replace(", \u{1}", ", r\u{1}").replace('\u{1}', "\"");
    text += "];\n\n\
             /// Options of the kernel, of which one of several must be set, with the cgroup version that they are \
             for.\npub const OPTIONS: &[(&[&str], Option<u32>, RangeInclusive<u32>)] = &[\n";
    for ((options, cgroup), a, b) in ranges(all, |asked| asked.options.iter().cloned().collect()) {
        writeln!(text, "    ({}, {cgroup:?}, {a}..={b}),", names(&options)).unwrap();
    }
    text + "];\n"
}

#[test]
fn the_table_agrees_with_the_sources() {
    let update = std::env::var_os("SEAWORTHY_UPDATE").is_some();
    let found: BTreeMap<_, _> =
        RELEASES.iter().filter_map(|(minor, version)| Some((*minor, asked(*minor, version, update)?))).collect();
    let missing: Vec<_> = BUILT.iter().filter(|minor| !found.contains_key(minor)).collect();
    if std::env::var_os("SEAWORTHY_REQUIRE").is_some() {
        assert!(missing.is_empty(), "the modules of these minors are not in the module cache: {missing:?}");
    }
    if update {
        assert_eq!(found.len(), RELEASES.len(), "not all modules can be downloaded");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/node/preflight.rs");
        std::fs::write(&path, render(&found)).unwrap();
        assert!(Command::new("rustfmt").arg("--edition=2024").arg(path).status().unwrap().success());
        return;
    }
    for (minor, sources) in &found {
        assert_eq!(&tabled(*minor), sources, "1.{minor}");
    }
    println!("compared with the sources of 1.{:?}", found.keys().collect::<Vec<_>>());
}

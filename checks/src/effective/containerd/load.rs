//! The chain of files: which are loaded, in which order, what ends containerd, and how they are merged.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;

use serde_json::Value;

use super::{Containerd, Launch, Release, defaults, migrate};
use crate::conclusion::Location;
use crate::effective::toml::{Document, SyntaxError};
use crate::effective::{Origin, Settings};
use crate::fact::Fact;
use crate::host::{Entry, FileKind, Host, Query, RefusalKind, Reply};

/// Why containerd ends at start, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The file and line at fault.
    pub at: Location,
    /// What is wrong there.
    pub why: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at.line {
            Some(line) => write!(f, "{} ({}:{line})", self.why, self.at.path),
            None => write!(f, "{} ({})", self.why, self.at.path),
        }
    }
}

impl Broken {
    fn new(path: &str, line: Option<u32>, why: impl Into<String>) -> Self {
        Self { at: Location { path: path.to_owned(), line }, why: why.into() }
    }
}

/// Why loading stops.
enum Stop {
    /// containerd ends.
    Broken(Broken),
    /// We could not look, which says nothing of containerd.
    Blind(Fact<()>),
}

/// A file of the chain, decoded.
struct Layer {
    path: String,
    version: i64,
    imports: Vec<String>,
    disabled: Vec<(String, Origin)>,
    settings: Settings,
}

/// More files than anyone has; a guard against folders that import each other under ever new names.
const MOST_FILES: usize = 256;

pub(super) fn load(host: &dyn Host, launch: &Launch, release: Release) -> Fact<Containerd> {
    let mut settings = Settings::default();
    defaults(release, &mut settings);
    let mut it = Containerd {
        release,
        main: launch.config.clone(),
        files: Vec::new(),
        settings,
        disabled: Vec::new(),
        broken: None,
    };
    match chain(host, launch, &mut it) {
        Ok(()) => {
            if let Some((root, origin)) = &launch.root {
                it.settings.set(&["root"], root.as_str().into(), origin.clone());
            }
            Fact::Known(it)
        }
        Err(Stop::Broken(broken)) => Fact::Known(Containerd { broken: Some(broken), ..it }),
        Err(Stop::Blind(why)) => why.and_then(|()| Fact::Unreadable(it.main)),
    }
}

fn chain(host: &dyn Host, launch: &Launch, it: &mut Containerd) -> Result<(), Stop> {
    let release = it.release;
    let mut pending = VecDeque::from([(launch.config.clone(), launch.origin.location().cloned())]);
    let mut loaded = BTreeSet::new();
    let mut merged = Settings::default();
    let (mut version, mut first) = (None, None);
    while let Some((path, by)) = pending.pop_front() {
        if loaded.contains(&path) || loaded.len() == MOST_FILES {
            continue;
        }
        let Some(text) = text(host, &path, by.as_ref(), loaded.is_empty() && !launch.is_named)? else { return Ok(()) };
        let mut layer = decode(&path, &text).map_err(Stop::Broken)?;
        if !release.takes_newer_imports() && layer.version > *first.get_or_insert(layer.version) {
            let why = format!("its version {} is newer than that of {}", layer.version, it.main);
            return Err(Stop::Broken(Broken::new(&path, layer.line("version"), why)));
        }
        if release.is_2() && layer.version <= 1 {
            migrate::names(&mut layer.settings, &mut layer.disabled);
            layer.version = if release.migrates_each_file() { 2 } else { 3 };
        }
        if release.migrates_each_file() {
            if layer.version < 4 {
                migrate::cri(&mut layer.settings, release);
                migrate::servers(&mut layer.settings);
            }
            check_version(&layer, release)?;
        }
        // The last file that has a version has its say.
        version = (layer.version > 0).then(|| (layer.version, layer.line("version"), path.clone())).or(version);
        merge(&mut merged, &layer.settings, release);
        for entry in layer.disabled {
            if !release.is_2() || !it.disabled.iter().any(|(name, _)| *name == entry.0) {
                it.disabled.push(entry);
            }
        }
        let imported = Location { path: path.clone(), line: layer.settings.line("imports") };
        for import in &layer.imports {
            let files = resolve(host, &path, import, release, &imported)?;
            pending.extend(files.into_iter().map(|file| (file, Some(imported.clone()))));
        }
        it.files.push(path.clone());
        loaded.insert(path);
    }
    finish(it, merged, version)
}

/// What is done once all files are merged.
fn finish(it: &mut Containerd, mut merged: Settings, version: Option<(i64, Option<u32>, String)>) -> Result<(), Stop> {
    let release = it.release;
    let (version, line, path) = version.unwrap_or_else(|| (if release.is_2() { 3 } else { 1 }, None, it.main.clone()));
    if let Some(newest) = release.newest_config()
        && version > newest
    {
        let why = format!("containerd {release} reads configurations up to version {newest}, and this is {version}");
        return Err(Stop::Broken(Broken::new(&path, line, why)));
    }
    if !release.is_2() && version == 1 {
        // Plug-ins are looked up by their short names, and so are those that are disabled.
        migrate::short_names(&mut merged, &mut it.disabled);
    }
    if release.is_2() && !release.migrates_each_file() && version < 3 {
        migrate::cri(&mut merged, release);
    }
    let wrong = |(name, _): &&(String, Origin)| match release.is_2() {
        true => !name.contains('.'),
        false => version >= 2 && name.split('.').count() < 4,
    };
    if let Some((name, origin)) = it.disabled.iter().find(wrong) {
        let (path, line) = origin.location().map_or((it.main.as_str(), None), |at| (at.path.as_str(), at.line));
        let why = format!("disabled_plugins has {name}; expected a name such as io.containerd.grpc.v1.cri");
        return Err(Stop::Broken(Broken::new(path, line, why)));
    }
    if !release.is_2()
        && version >= 2
        && let Some((path, setting)) =
            merged.below(&["plugins"]).find(|(path, _)| path.first().is_some_and(|name| name.split('.').count() < 4))
    {
        let (file, line) = setting.origin.location().map_or((it.main.as_str(), None), |at| (at.path.as_str(), at.line));
        let why = format!("plugins has {}; expected a name such as io.containerd.grpc.v1.cri", path[0]);
        return Err(Stop::Broken(Broken::new(file, line, why)));
    }
    overlay_defaults(it, &merged);
    Ok(())
}

/// Decodes the merged settings over the defaults of each plug-in, as the plug-ins do it.
fn overlay_defaults(it: &mut Containerd, merged: &Settings) {
    let plugin = it.runtime_plugin();
    let runtimes = [&plugin[..], &["containerd", "runtimes"]].concat();
    if !it.release.is_2() && merged.below(&runtimes).next().is_some() {
        // go-toml 1 makes a new map: the default of runc is gone with it.
        it.settings.remove(&runtimes);
    }
    for (path, setting) in merged.iter() {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        it.settings.set(&path, setting.value.clone(), setting.origin.clone());
    }
}

/// Merges a file over those before it.
fn merge(merged: &mut Settings, layer: &Settings, release: Release) {
    let replaced: &[&str] = if release.is_2() {
        &["proxy_plugins", "stream_processors", "timeouts"]
    } else {
        &["plugins", "proxy_plugins", "stream_processors", "timeouts"]
    };
    for table in replaced {
        let entries: BTreeSet<String> = layer.below(&[table]).filter_map(|(rest, _)| rest.first().cloned()).collect();
        for entry in entries {
            merged.remove(&[table, &entry]);
        }
    }
    for (path, setting) in layer.iter() {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        match (path[0], setting.value) {
            ("plugins" | "proxy_plugins" | "stream_processors" | "timeouts", value) => {
                merged.set(&path, value.clone(), setting.origin.clone());
            }
            (_, Value::Array(items)) => {
                let mut all = match merged.get(&path) {
                    Some(before) => before.value.as_array().cloned().unwrap_or_default(),
                    None => Vec::new(),
                };
                let twice = |item: &Value, all: &[Value]| release.is_2() && all.contains(item);
                for item in items {
                    if !twice(item, &all) {
                        all.push(item.clone());
                    }
                }
                merged.set(&path, Value::Array(all), setting.origin.clone());
            }
            // A zero of Go is not told from what is not set.
            (_, Value::String(text)) if text.is_empty() => {}
            (_, Value::Bool(false) | Value::Null) => {}
            (_, Value::Number(number)) if number.as_i64() == Some(0) => {}
            (_, value) => merged.set(&path, value.clone(), setting.origin.clone()),
        }
    }
}

fn check_version(layer: &Layer, release: Release) -> Result<(), Stop> {
    let newest = release.newest_config().unwrap_or(i64::MAX);
    if layer.version <= newest {
        return Ok(());
    }
    let why =
        format!("containerd {release} reads configurations up to version {newest}, and this is {}", layer.version);
    Err(Stop::Broken(Broken::new(&layer.path, layer.line("version"), why)))
}

/// A file's text; `None` for a main file that is missing and that nothing names.
fn text(host: &dyn Host, path: &str, by: Option<&Location>, optional: bool) -> Result<Option<String>, Stop> {
    let broken = |why: String| {
        let named = by.map_or_else(String::new, |by| match by.line {
            Some(line) => format!(" ({}:{line} names it)", by.path),
            None => format!(" ({} names it)", by.path),
        });
        Err(Stop::Broken(Broken::new(path, None, format!("{why}{named}"))))
    };
    match host.ask(&Query::Read { path: path.to_owned() }) {
        Ok(Reply::Bytes { truncated: true, .. }) => Err(Stop::Blind(Fact::Unreadable(format!("{path} is too large")))),
        Ok(Reply::Bytes { bytes, .. }) => match String::from_utf8(bytes) {
            Ok(text) => Ok(Some(text)),
            Err(_) => broken(format!("{path} is not UTF-8")),
        },
        Ok(_) => Err(Stop::Blind(Fact::NotGathered(format!("{path}: not read")))),
        Err(refusal) => match refusal.kind {
            RefusalKind::Absent if optional => Ok(None),
            RefusalKind::Absent => broken(format!("{path} is missing")),
            RefusalKind::WrongKind => broken(refusal.message),
            RefusalKind::NotAsked => Err(Stop::Blind(Fact::NotGathered(refusal.message))),
            _ => Err(Stop::Blind(Fact::Unreadable(refusal.message))),
        },
    }
}

/// Members of the file whose type containerd insists on.
const TEXTS: [&str; 4] = ["root", "state", "temp", "plugin_dir"];
const LISTS: [&str; 3] = ["imports", "disabled_plugins", "required_plugins"];
const TABLES: [&str; 8] = ["plugins", "grpc", "ttrpc", "debug", "metrics", "cgroup", "timeouts", "proxy_plugins"];

fn decode(path: &str, text: &str) -> Result<Layer, Broken> {
    let document = Document::parse(text).map_err(|SyntaxError { line, message }| {
        let first = message.lines().next().unwrap_or_default();
        Broken::new(path, line, format!("it is not valid TOML: {first}"))
    })?;
    let wrong =
        |name: &str, wanted: &str| Err(Broken::new(path, document.line(&[name]), format!("{name} is not {wanted}")));
    let member = |name: &str| document.value.get(name);
    let is_texts = |value: &Value| value.as_array().is_some_and(|items| items.iter().all(Value::is_string));
    for name in ["version", "oom_score"] {
        if member(name).is_some_and(|value| value.as_i64().is_none()) {
            return wrong(name, "a number");
        }
    }
    if let Some(name) = TEXTS.iter().find(|name| member(name).is_some_and(|value| !value.is_string())) {
        return wrong(name, "a text");
    }
    if let Some(name) = LISTS.iter().find(|name| member(name).is_some_and(|value| !is_texts(value))) {
        return wrong(name, "a list of texts");
    }
    if let Some(name) = TABLES.iter().find(|name| member(name).is_some_and(|value| !value.is_object())) {
        return wrong(name, "a table");
    }
    let origin = |name: &str| Origin::file(path, document.line(&[name]));
    let list = |name: &str| -> Vec<String> {
        let items = member(name).and_then(Value::as_array).into_iter().flatten();
        items.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let mut settings = Settings::default();
    if document.value.as_object().is_some_and(|members| !members.is_empty()) {
        settings.merge(document.value.clone(), |member| Origin::file(path, document.line(member)));
    }
    hide_secrets(&mut settings);
    Ok(Layer {
        path: path.to_owned(),
        version: member("version").and_then(Value::as_i64).unwrap_or(0),
        imports: list("imports"),
        disabled: list("disabled_plugins").into_iter().map(|name| (name, origin("disabled_plugins"))).collect(),
        settings,
    })
}

/// Credentials of registries are of no use to a judge, and nothing that prints settings may have them.
fn hide_secrets(settings: &mut Settings) {
    let is_secret = |path: &[String]| {
        let named = |name: &String| ["auth", "auths", "headers"].contains(&name.as_str());
        let last = path.last().is_some_and(|name| ["password", "identitytoken"].contains(&name.as_str()));
        last || path.iter().any(named)
    };
    let secret: Vec<(Vec<String>, Origin)> = settings
        .iter()
        .filter(|(path, _)| is_secret(path))
        .map(|(path, setting)| (path.to_vec(), setting.origin.clone()))
        .collect();
    for (path, origin) in secret {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        settings.set(&path, "[redacted]".into(), origin);
    }
}

impl Layer {
    fn line(&self, name: &str) -> Option<u32> {
        self.settings.line(name)
    }
}

impl Settings {
    /// The line that sets a member of the top.
    fn line(&self, name: &str) -> Option<u32> {
        self.below(&[name]).find_map(|(_, setting)| setting.origin.location().and_then(|at| at.line))
    }
}

/// The files that an import names, as `resolveImports` has it.
fn resolve(host: &dyn Host, parent: &str, import: &str, release: Release, at: &Location) -> Result<Vec<String>, Stop> {
    let is_pattern = import.contains('*');
    let folder = match parent.rsplit_once('/') {
        // Older releases look for a relative pattern from where they run, which is / under every init system.
        _ if is_pattern && !release.patterns_are_relative_to_the_file() => "/",
        Some(("", _)) | None => "/",
        Some((folder, _)) => folder,
    };
    let path = if import.starts_with('/') { clean(import) } else { clean(&format!("{folder}/{import}")) };
    if !is_pattern {
        return Ok(vec![path]);
    }
    let mut found = vec![String::new()];
    for segment in path.split('/').skip(1) {
        if !segment.contains(['*', '?', '[', '\\']) {
            found = found.into_iter().map(|folder| format!("{folder}/{segment}")).collect();
            continue;
        }
        if fits(segment, "").is_none() {
            let why = format!("imports has the bad pattern {import}");
            return Err(Stop::Broken(Broken::new(&at.path, at.line, why)));
        }
        let mut next = Vec::new();
        for folder in found {
            let entries: Vec<Entry> = match host.list(if folder.is_empty() { "/" } else { &folder }) {
                Fact::Known(entries) => entries,
                Fact::Absent(_) => continue,
                other => return Err(Stop::Blind(other.map(|_| ()))),
            };
            let matching = entries.iter().filter(|entry| fits(segment, &entry.name) == Some(true));
            next.extend(matching.map(|entry| format!("{folder}/{}", entry.name)));
        }
        found = next;
    }
    if path.rsplit('/').next().is_some_and(|last| last.contains('*')) {
        return Ok(found);
    }
    // A pattern for folders: only the files that are there.
    let is_there = |path: &String| matches!(host.stat(path), Fact::Known(stat) if stat.kind != FileKind::Other);
    Ok(found.into_iter().filter(is_there).collect())
}

/// An absolute path without `.`, `..` and doubled slashes, as Go's `filepath.Clean` has it.
fn clean(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    format!("/{}", segments.join("/"))
}

/// Does a name fit a pattern, as Go's `filepath.Match` has it? `None` for a pattern that is malformed.
fn fits(pattern: &str, name: &str) -> Option<bool> {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    well_formed(&pattern).then(|| fits_chars(&pattern, &name))
}

fn well_formed(pattern: &[char]) -> bool {
    let mut rest = pattern;
    while let Some((first, tail)) = rest.split_first() {
        rest = match first {
            '\\' if tail.is_empty() => return false,
            '\\' => &tail[1..],
            '[' => match class(tail, None) {
                Some((_, tail)) => tail,
                None => return false,
            },
            _ => tail,
        };
    }
    true
}

/// A class behind its bracket: whether a character is in it, and what follows it.
fn class(pattern: &[char], of: Option<char>) -> Option<(bool, &[char])> {
    let (negated, mut rest) = match pattern.split_first() {
        Some(('^', tail)) => (true, tail),
        _ => (false, pattern),
    };
    let (mut found, mut some) = (false, false);
    let one = |rest: &mut &[char]| -> Option<char> {
        let (first, tail) = rest.split_first()?;
        match first {
            '\\' => {
                let (escaped, tail) = tail.split_first()?;
                *rest = tail;
                Some(*escaped)
            }
            '-' | ']' => None,
            first => {
                *rest = tail;
                Some(*first)
            }
        }
    };
    loop {
        if let Some((']', tail)) = rest.split_first()
            && some
        {
            return Some((found != negated, tail));
        }
        let low = one(&mut rest)?;
        let mut high = low;
        if let Some(('-', tail)) = rest.split_first() {
            rest = tail;
            high = one(&mut rest)?;
        }
        found |= of.is_some_and(|c| low <= c && c <= high);
        some = true;
    }
}

fn fits_chars(pattern: &[char], name: &[char]) -> bool {
    let Some((first, tail)) = pattern.split_first() else { return name.is_empty() };
    match first {
        '*' => (0..=name.len()).any(|taken| fits_chars(tail, &name[taken..])),
        '?' => !name.is_empty() && fits_chars(tail, &name[1..]),
        '[' => name
            .first()
            .is_some_and(|&c| class(tail, Some(c)).is_some_and(|(found, rest)| found && fits_chars(rest, &name[1..]))),
        '\\' => tail.first() == name.first() && !name.is_empty() && fits_chars(&tail[1..], &name[1..]),
        first => name.first() == Some(first) && fits_chars(tail, &name[1..]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_those_of_go() {
        for (pattern, name, fit) in [
            ("*.toml", "a.toml", Some(true)),
            ("*.toml", ".hidden.toml", Some(true)),
            ("*.toml", "a.toml.bak", Some(false)),
            ("[^a-c]?.*", "dx.toml", Some(true)),
            ("[^a-c]?.*", "bx.toml", Some(false)),
            ("\\**", "*x", Some(true)),
            ("**", "anything", Some(true)),
            ("[", "[", None),
            ("[]a]", "a", None),
            ("a\\", "a", None),
        ] {
            assert_eq!(fits(pattern, name), fit, "{pattern} {name}");
        }
        assert_eq!(clean("/etc/containerd/../a//./b/"), "/etc/a/b");
    }
}

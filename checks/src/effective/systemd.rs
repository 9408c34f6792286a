//! Units of systemd as it merges them: the first file in its search path, all drop-ins, environment files, and the
//! words of a command with their variables expanded, each with the place that it comes from.

use std::collections::BTreeMap;

use crate::conclusion::Location;
use crate::fact::Fact;
use crate::host::{FileKind, Host};

/// Where systemd looks for units, the first first (systemd.unit(5)).
pub const PLACES: [&str; 5] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];
/// Characters before the program that change how it is run (systemd.service(5)).
const PREFIXES: [char; 6] = ['-', ':', '+', '!', '|', '@'];

/// An assignment of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    section: String,
    key: String,
    value: String,
    at: Location,
}

/// A unit with its drop-ins merged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Its name, such as `kubelet.service`.
    pub name: String,
    /// The file that counts.
    pub path: String,
    /// The drop-ins, in the order in which they are read.
    pub drop_ins: Vec<String>,
    /// Parts that could not be read, with the reason.
    pub unread: Vec<String>,
    assignments: Vec<Assignment>,
}

/// A word of a command, after expansion, and where it is written: in the unit, or in the environment file that sets its
/// variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// The word.
    pub text: String,
    /// Where it is written; `None` for the arguments of a process.
    pub at: Option<Location>,
}

/// The variables of a unit, each with the place that sets it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment {
    variables: BTreeMap<String, (String, Location)>,
    /// Environment files that are required and missing: the unit does not start. Each with the line that names it.
    pub missing: Vec<(String, Location)>,
    /// Files that could not be read, with the reason.
    pub unread: Vec<String>,
}

impl Environment {
    /// A variable.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(|(value, _)| value.as_str())
    }
}

/// Reads a unit by its name. A unit that is masked is absent.
pub fn unit(host: &dyn Host, name: &str) -> Fact<Unit> {
    let mut last = Fact::Absent(format!("{name} is in none of {}", PLACES.join(", ")));
    for place in PLACES {
        let path = format!("{place}/{name}");
        match host.text(&path) {
            Fact::Known(text) => return Fact::Known(with_drop_ins(host, name, &path, &text)),
            Fact::Absent(_) => {}
            Fact::Unreadable(why) => {
                // A link to /dev/null masks the unit.
                return match host.stat(&path).known().map(|stat| stat.kind) {
                    Some(FileKind::Device) => Fact::Absent(format!("{path} masks the unit")),
                    _ => Fact::Unreadable(why),
                };
            }
            other if last.is_absent() => last = other.map(|_| unreachable_unit()),
            _ => {}
        }
    }
    last
}

/// The type of a fact that holds no unit.
fn unreachable_unit() -> Unit {
    Unit { name: String::new(), path: String::new(), drop_ins: vec![], unread: vec![], assignments: vec![] }
}

fn with_drop_ins(host: &dyn Host, name: &str, path: &str, text: &str) -> Unit {
    let mut unit = Unit {
        name: name.to_owned(),
        path: path.to_owned(),
        drop_ins: Vec::new(),
        unread: Vec::new(),
        assignments: assignments(path, text),
    };
    // Of drop-ins of the same name the first place counts; all are read in the order of their names (systemd.unit(5)).
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    let kind = name.rsplit('.').next().unwrap_or_default();
    for folder in [format!("{name}.d"), format!("{kind}.d")] {
        for place in PLACES {
            let folder = format!("{place}/{folder}");
            let entries = match host.list(&folder) {
                Fact::Known(entries) => entries,
                Fact::Unreadable(why) | Fact::Malformed(why) => {
                    unit.unread.push(why);
                    continue;
                }
                Fact::Absent(_) | Fact::NotGathered(_) => continue,
            };
            for entry in entries.into_iter().filter(|entry| entry.name.ends_with(".conf")) {
                found.entry(entry.name.clone()).or_insert_with(|| format!("{folder}/{}", entry.name));
            }
        }
    }
    for path in found.into_values() {
        match host.text(&path) {
            Fact::Known(text) => {
                unit.assignments.extend(assignments(&path, &text));
                unit.drop_ins.push(path);
            }
            Fact::Unreadable(why) | Fact::Malformed(why) => {
                if host.stat(&path).known().is_none_or(|stat| stat.kind != FileKind::Device) {
                    unit.unread.push(why);
                }
            }
            Fact::Absent(_) | Fact::NotGathered(_) => {}
        }
    }
    unit
}

/// The assignments of a unit file; lines that end in a backslash go on.
fn assignments(path: &str, text: &str) -> Vec<Assignment> {
    let (mut found, mut section) = (Vec::new(), String::new());
    let mut open: Option<(u32, String)> = None;
    for (number, line) in text.lines().enumerate() {
        let number = u32::try_from(number + 1).unwrap_or(u32::MAX);
        let trimmed = line.trim();
        // A comment between lines that go on is skipped.
        if trimmed.starts_with(['#', ';']) || open.is_none() && trimmed.is_empty() {
            continue;
        }
        let (begin, mut whole) = open.take().unwrap_or((number, String::new()));
        match trimmed.strip_suffix('\\') {
            Some(part) => {
                whole.push_str(part);
                whole.push(' ');
                open = Some((begin, whole));
                continue;
            }
            None => whole.push_str(trimmed),
        }
        if let Some(name) = whole.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            name.clone_into(&mut section);
        } else if let Some((key, value)) = whole.split_once('=') {
            found.push(Assignment {
                section: section.clone(),
                key: key.trim().to_owned(),
                value: value.trim().to_owned(),
                at: Location { path: path.to_owned(), line: Some(begin) },
            });
        }
    }
    found
}

impl Unit {
    /// The values of a key that may be given often; an empty one forgets those before it.
    #[must_use]
    pub fn list(&self, section: &str, key: &str) -> Vec<(&str, &Location)> {
        let mut all = Vec::new();
        for one in self.assignments.iter().filter(|one| one.section == section && one.key == key) {
            if one.value.is_empty() { all.clear() } else { all.push((one.value.as_str(), &one.at)) }
        }
        all
    }

    /// The variables of its service, from `Environment=` and then from its environment files.
    pub fn environment(&self, host: &dyn Host) -> Environment {
        let mut environment = Environment::default();
        for (value, at) in self.list("Service", "Environment") {
            for word in split(value) {
                if let Some((name, value)) = word.split_once('=') {
                    environment.variables.insert(name.to_owned(), (value.replace("%%", "%"), at.clone()));
                }
            }
        }
        for (value, at) in self.list("Service", "EnvironmentFile") {
            let (path, optional) = match value.strip_prefix('-') {
                Some(path) => (path, true),
                None => (value, false),
            };
            for path in glob(host, path.trim_matches('"')) {
                match host.text(&path) {
                    Fact::Known(text) => {
                        for (name, value, line) in environment_file(&text) {
                            let at = Location { path: path.clone(), line: Some(line) };
                            environment.variables.insert(name, (value, at));
                        }
                    }
                    Fact::Absent(_) if !optional => environment.missing.push((path, at.clone())),
                    Fact::Unreadable(why) | Fact::Malformed(why) => environment.unread.push(why),
                    Fact::Absent(_) | Fact::NotGathered(_) => {}
                }
            }
        }
        for (names, _) in self.list("Service", "UnsetEnvironment") {
            for name in split(names) {
                environment.variables.remove(&name);
            }
        }
        environment
    }

    /// The words of its last `ExecStart=`, with variables expanded as systemd does it.
    #[must_use]
    pub fn command(&self, environment: &Environment) -> Vec<Word> {
        let Some((value, at)) = self.list("Service", "ExecStart").pop() else { return Vec::new() };
        let bare = value.trim_start_matches(PREFIXES);
        let prefix = &value[..value.len() - bare.len()];
        let mut words = Vec::new();
        for word in split(bare) {
            let word = word.replace("%%", "%");
            if prefix.contains(':') {
                words.push(Word { text: word, at: Some(at.clone()) });
            } else {
                expand(&word, environment, at, &mut words);
            }
        }
        if prefix.contains('@') && words.len() > 1 {
            // The second word is what the program is called, not an argument.
            words.remove(1);
        }
        in_shell(words, environment)
    }
}

/// `sh -c "exec kubelet …"`: the words of the script, as far as a shell without conditions would see them.
fn in_shell(words: Vec<Word>, environment: &Environment) -> Vec<Word> {
    let shell = words.first().and_then(|word| word.text.rsplit('/').next()).unwrap_or_default();
    let script = words.iter().position(|word| word.text.starts_with('-') && word.text.ends_with('c'));
    match script.and_then(|at| words.get(at + 1)) {
        Some(script) if matches!(shell, "sh" | "bash" | "dash") => {
            let at = script.at.clone();
            let place = at.clone().unwrap_or(Location { path: String::new(), line: None });
            let mut found = Vec::new();
            for word in split(&script.text) {
                expand(&word, environment, &place, &mut found);
            }
            found.retain(|word| word.text != "exec");
            found
        }
        _ => words,
    }
}

/// `${VAR}` anywhere in a word, and `$VAR` as a word of its own, which becomes as many words as its value has.
fn expand(word: &str, environment: &Environment, at: &Location, words: &mut Vec<Word>) {
    if let Some(name) = word.strip_prefix('$')
        && !name.starts_with(['{', '$'])
    {
        if let Some((value, at)) = environment.variables.get(name) {
            words.extend(split(value).into_iter().map(|text| Word { text, at: Some(at.clone()) }));
        }
        return;
    }
    let (mut text, mut rest, mut place) = (String::new(), word, at);
    while let Some(dollar) = rest.find('$') {
        text.push_str(&rest[..dollar]);
        rest = &rest[dollar..];
        if let Some(after) = rest.strip_prefix("$$") {
            text.push('$');
            rest = after;
        } else if let Some((name, after)) = rest.strip_prefix("${").and_then(|inner| inner.split_once('}')) {
            if let Some((value, at)) = environment.variables.get(name) {
                text.push_str(value);
                place = at;
            }
            rest = after;
        } else {
            text.push('$');
            rest = &rest[1..];
        }
    }
    text.push_str(rest);
    words.push(Word { text, at: Some(place.clone()) });
}

/// Words, with quotes and escapes taken off.
#[must_use]
pub fn split(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\\', Some('"') | None) => {
                let escaped = match chars.next() {
                    Some('n') => '\n',
                    Some('t') => '\t',
                    Some('s') => ' ',
                    Some(other) => other,
                    None => '\\',
                };
                word.get_or_insert_default().push(escaped);
            }
            (c, Some(open)) if c == open => quote = None,
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

/// The variables of an environment file with their lines: `NAME=value`, quotes taken off, comments skipped.
#[must_use]
pub fn environment_file(text: &str) -> Vec<(String, String, u32)> {
    let (mut found, mut lines) = (Vec::new(), text.lines().enumerate());
    while let Some((number, line)) = lines.next() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        let Some((name, value)) = line.split_once('=') else { continue };
        let (name, mut value) = (name.trim_end(), value.trim_start().to_owned());
        // A name with blanks, such as `export NAME`, is none.
        let valid = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        while unfinished(&value) {
            let Some((_, next)) = lines.next() else { break };
            if value.ends_with('\\') {
                value.pop();
            } else {
                value.push('\n');
            }
            value.push_str(next);
        }
        if valid {
            let number = u32::try_from(number + 1).unwrap_or(u32::MAX);
            found.push((name.to_owned(), unquote(&value), number));
        }
    }
    found
}

/// Does a value go on in the next line: by a backslash, or by quotes that are open?
fn unfinished(value: &str) -> bool {
    let (mut quote, mut escaped) = (None, false);
    for c in value.chars() {
        match (c, quote) {
            _ if escaped => escaped = false,
            ('\\', Some('"') | None) => escaped = true,
            (c, Some(open)) if c == open => quote = None,
            ('"' | '\'', None) => quote = Some(c),
            _ => {}
        }
    }
    quote.is_some() || escaped
}

/// A value of an environment file (load_env_file in systemd): quotes count anywhere, a backslash keeps the next
/// character, and blanks at the end go unless they are quoted.
fn unquote(value: &str) -> String {
    let (mut out, mut quote, mut kept) = (String::new(), None, 0);
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\\', None) => out.extend(chars.next()),
            ('\\', Some('"')) => match chars.next() {
                Some(next @ ('"' | '\\' | '`' | '$')) => out.push(next),
                Some(next) => out.extend(['\\', next]),
                None => {}
            },
            (c, Some(open)) if c == open => {
                quote = None;
                kept = out.len();
            }
            ('"' | '\'', None) => quote = Some(c),
            (c, _) => out.push(c),
        }
        if quote.is_some() {
            kept = out.len();
        }
    }
    let end = out.trim_end().len().max(kept);
    out.truncate(end);
    out
}

/// The files of a pattern with one star in its last segment; the path itself where it has none.
fn glob(host: &dyn Host, path: &str) -> Vec<String> {
    let Some((folder, pattern)) = path.rsplit_once('/').filter(|(_, name)| name.contains('*')) else {
        return vec![path.to_owned()];
    };
    let (head, tail) = pattern.split_once('*').unwrap_or((pattern, ""));
    let entries = host.list(folder).known().cloned().unwrap_or_default();
    let fits = |name: &str| name.len() >= head.len() + tail.len() && name.starts_with(head) && name.ends_with(tail);
    entries.iter().filter(|one| fits(&one.name)).map(|one| format!("{folder}/{}", one.name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::construct::{apply, dir, file, no_dir};
    use crate::host::Transcript;

    fn host(edits: &[crate::construct::Edit]) -> Transcript {
        let mut transcript = Transcript::default();
        apply(&mut transcript, edits).unwrap();
        transcript
    }

    fn texts(words: &[Word]) -> Vec<&str> {
        words.iter().map(|word| word.text.as_str()).collect()
    }

    #[test]
    fn kubeadm_s_unit_runs_what_its_drop_in_says() {
        let transcript = host(&[
            crate::construct::gone("/etc/systemd/system/kubelet.service"),
            crate::construct::gone("/run/systemd/system/kubelet.service"),
            crate::construct::gone("/usr/local/lib/systemd/system/kubelet.service"),
            file("/usr/lib/systemd/system/kubelet.service", "[Service]\nExecStart=/usr/bin/kubelet\n"),
            dir("/usr/lib/systemd/system/kubelet.service.d", &["10-kubeadm.conf", "notes.txt"]),
            dir("/etc/systemd/system/kubelet.service.d", &["20-more.conf"]),
            no_dir("/run/systemd/system/kubelet.service.d"),
            file(
                "/usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf",
                "# kubeadm\n[Service]\n\
                 Environment=\"KUBELET_KUBECONFIG_ARGS=--bootstrap-kubeconfig=/b --kubeconfig=/k\"\n\
                 Environment=\"KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml\"\n\
                 EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env\nEnvironmentFile=-/etc/default/kubelet\n\
                 ExecStart=\n\
                 ExecStart=/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS \\\n  # a comment\n  \
                 $KUBELET_KUBEADM_ARGS $KUBELET_EXTRA_ARGS\n",
            ),
            file(
                "/etc/systemd/system/kubelet.service.d/20-more.conf",
                "[Service]\nEnvironment=KUBELET_EXTRA_ARGS=--v=1\n",
            ),
            file("/var/lib/kubelet/kubeadm-flags.env", "KUBELET_KUBEADM_ARGS=\"--node-ip=::1 --v=3\"\n"),
            file("/etc/default/kubelet", "\n# x\nKUBELET_EXTRA_ARGS='--node-labels=a=\"b c\"' # no comment\n"),
        ]);
        let unit = unit(&transcript, "kubelet.service");
        let unit = unit.known().unwrap();
        assert_eq!(unit.drop_ins.len(), 2);
        let words = unit.command(&unit.environment(&transcript));
        let wanted = [
            "/usr/bin/kubelet",
            "--bootstrap-kubeconfig=/b",
            "--kubeconfig=/k",
            "--config=/var/lib/kubelet/config.yaml",
            "--node-ip=::1",
            "--v=3",
            "--node-labels=a=b c",
            "#",
            "no",
            "comment",
        ];
        assert_eq!(texts(&words), wanted);
        assert_eq!(words[6].at, Some(Location { path: "/etc/default/kubelet".into(), line: Some(3) }));
        assert_eq!(words[3].at.as_ref().unwrap().line, Some(4));
    }

    #[test]
    fn a_required_file_that_is_missing_is_told() {
        let text = "[Service]\nEnvironmentFile=/etc/none\nEnvironmentFile=-/etc/gone\n\
                    ExecStart=-/bin/sh -c \"exec /opt/bin/kubelet --config=$${X} --v=${V} ${V}\"\n\
                    Environment=V=4 W='a b'\n";
        let transcript = host(&[
            file("/etc/systemd/system/kubelet.service", text),
            crate::construct::gone("/etc/none"),
            crate::construct::gone("/etc/gone"),
        ]);
        let unit = unit(&transcript, "kubelet.service").known().cloned().unwrap();
        let environment = unit.environment(&transcript);
        assert_eq!(environment.missing.len(), 1);
        assert_eq!((environment.get("V"), environment.get("W")), (Some("4"), Some("a b")));
        assert_eq!(texts(&unit.command(&environment)), ["/opt/bin/kubelet", "--config=", "--v=4", "4"]);
    }

    #[test]
    fn environment_files_are_read_as_systemd_reads_them() {
        let text = "A=1\n B = two words  \nexport C=3\n;no\nD=\"x\\\"y\" 'z'\nE=a\\\nb\nF=\"one\ntwo\"\nG=\n";
        let found: Vec<_> = environment_file(text).into_iter().map(|(name, value, _)| (name, value)).collect();
        let own = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        let wanted = [
            own("A", "1"),
            own("B", "two words"),
            own("D", "x\"y z"),
            own("E", "ab"),
            own("F", "one\ntwo"),
            own("G", ""),
        ];
        assert_eq!(found, wanted);
    }
}

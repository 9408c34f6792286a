//! Static pods: the files that the kubelet reads, as it reads them (pkg/kubelet/config/file.go and common.go of
//! Kubernetes).
//!
//! It reads every file of the folder whose name does not begin with a dot, whatever its ending. What it cannot read
//! is no pod; of two files with the same pod the last by name counts.

use super::command::{CommandLine, Mount, Word};
use super::pod;
use super::role::Component;
use crate::effective::yaml::{self, Node, Tree};
use crate::fact::Fact;
use crate::host::{FileKind, Host};

/// The kubelet's `maxConfigLength`.
const LONGEST: u64 = 10 << 20;

/// A file that the kubelet reads for a static pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The file.
    pub file: String,
    /// The component whose pod it is, or, where it cannot be read, whose it is by its name.
    pub component: Option<Component>,
    /// The namespace and the name of its pod.
    pub pod: Option<String>,
    /// The file that the kubelet takes the same pod from.
    pub overruled_by: Option<String>,
    /// Why the kubelet refuses it, and the line.
    pub refused: Option<Refusal>,
}

/// Why the kubelet refuses a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The line, if it has one.
    pub line: Option<u32>,
    /// The reason.
    pub why: String,
    /// The first minor of Kubernetes that refuses it.
    pub since: u32,
}

impl Refusal {
    pub(super) fn new(line: u32, why: impl Into<String>) -> Self {
        Self { line: Some(line).filter(|line| *line > 0), why: why.into(), since: 0 }
    }
}

impl Manifest {
    /// Does every kubelet refuse it?
    fn is_refused(&self) -> bool {
        self.refused.as_ref().is_some_and(|refusal| refusal.since == 0)
    }
}

/// What the manifests of a node say.
#[derive(Debug, Default)]
pub(super) struct Manifests {
    /// Every file that the kubelet reads, in its order.
    pub(super) all: Vec<Manifest>,
    /// The components that they start, each file's after another.
    pub(super) commands: Vec<CommandLine>,
    /// What could not be looked at, with the reason.
    pub(super) unread: Vec<String>,
    /// Components of which nobody says how they are started, with the reason.
    pub(super) untold: Vec<(Component, String)>,
}

/// Reads a folder of static pods, or the one file that is in its place.
pub(super) fn manifests(host: &dyn Host, folder: &str, found: &mut Manifests) {
    let folder = folder.trim_end_matches('/');
    if host.stat(folder).known().is_some_and(|stat| stat.kind == FileKind::File) {
        return of_files(host, &[folder.to_owned()], found);
    }
    match host.list(folder) {
        Fact::Known(mut entries) => {
            entries.retain(|entry| !entry.name.starts_with('.'));
            entries.sort_by(|a, b| a.name.cmp(&b.name));
            let files: Vec<_> = entries.iter().map(|entry| format!("{folder}/{}", entry.name)).collect();
            of_files(host, &files, found);
        }
        Fact::Unreadable(why) | Fact::Malformed(why) => found.unread.push(why),
        Fact::Absent(_) | Fact::NotGathered(_) => {}
    }
}

/// What a manifest says, once it is read.
struct Read {
    manifest: Manifest,
    commands: Vec<CommandLine>,
}

fn of_files(host: &dyn Host, files: &[String], found: &mut Manifests) {
    let mut all: Vec<Read> = files.iter().filter_map(|file| read(host, file, found)).collect();
    for index in 0..all.len() {
        let of_pod = |one: &Read| one.manifest.pod.clone().filter(|_| !one.manifest.is_refused());
        let Some(pod) = of_pod(&all[index]) else { continue };
        let later = all[index + 1..].iter().rev().find(|other| of_pod(other).as_ref() == Some(&pod));
        all[index].manifest.overruled_by = later.map(|other| other.manifest.file.clone());
    }
    // What the kubelet runs counts; what it refuses says what was meant, where nothing else says it.
    let runs = |one: &&Read| !one.manifest.is_refused() && one.manifest.overruled_by.is_none();
    found.commands.extend(all.iter().filter(runs).flat_map(|one| one.commands.clone()));
    for one in all.iter().filter(|one| one.manifest.is_refused()) {
        for line in &one.commands {
            if found.commands.iter().all(|other| other.component != line.component) {
                found.commands.push(line.clone());
            }
        }
    }
    for one in &all {
        let Some((component, refusal)) = one.manifest.component.zip(one.manifest.refused.as_ref()) else { continue };
        if found.commands.iter().all(|line| line.component != component) {
            found.untold.push((component, format!("{}: {}", place(&one.manifest.file, refusal.line), refusal.why)));
        }
    }
    found.all.extend(all.into_iter().map(|one| one.manifest));
}

fn place(file: &str, line: Option<u32>) -> String {
    line.map_or_else(|| file.to_owned(), |line| format!("{file} line {line}"))
}

/// Reads one file; `None` for what is not there, and for what could not be looked at.
fn read(host: &dyn Host, file: &str, found: &mut Manifests) -> Option<Read> {
    // What is in it is told by its name, which is kubeadm's or OpenShift's.
    let name = file.rsplit('/').next().unwrap_or_default().split('.').next().unwrap_or_default();
    let named = Component::of_program(name.strip_suffix("-pod").unwrap_or(name));
    let refused = |refusal| Read {
        manifest: Manifest {
            file: file.to_owned(),
            component: named,
            pod: None,
            overruled_by: None,
            refused: Some(refusal),
        },
        commands: Vec::new(),
    };
    let stat = host.stat(file);
    match stat.known().map(|stat| stat.kind) {
        Some(FileKind::File) | None => {}
        Some(FileKind::Directory) => return Some(refused(Refusal::new(0, "it is a directory"))),
        Some(_) => return Some(refused(Refusal::new(0, "it is not a regular file"))),
    }
    let bytes = match host.read(file) {
        Fact::Known(bytes) => bytes,
        Fact::Absent(_) if stat.known().is_none() => {
            // A link that leads nowhere.
            let dangling = host.link(file).known().is_some();
            return dangling.then(|| refused(Refusal::new(0, "it is a link to a file that does not exist")));
        }
        Fact::Absent(_) | Fact::NotGathered(_) => return None,
        Fact::Unreadable(_) if stat.known().is_some_and(|stat| stat.size > LONGEST) => {
            return Some(refused(Refusal::new(0, "it is longer than 10 MiB")));
        }
        Fact::Unreadable(why) | Fact::Malformed(why) => {
            found.untold.extend(named.map(|component| (component, why.clone())));
            found.unread.push(why);
            return None;
        }
    };
    let node = match document(&bytes) {
        Ok(node) => node,
        Err(refusal) => return Some(refused(refusal)),
    };
    let commands = commands(&node, file);
    let name = |member| node.get("metadata").and_then(|one| text(&one.node, member)).filter(|name| !name.is_empty());
    Some(Read {
        manifest: Manifest {
            file: file.to_owned(),
            component: commands.first().map(|line| line.component).or(named),
            pod: name("name").map(|pod| format!("{}/{pod}", name("namespace").unwrap_or("default"))),
            overruled_by: None,
            refused: pod::refusal(&node),
        },
        commands,
    })
}

/// The first document of a file, as apimachinery's `yaml.ToJSON` takes it out.
fn document(bytes: &[u8]) -> Result<Node, Refusal> {
    let json = bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    let text = if json { String::from_utf8_lossy(bytes).into_owned() } else { decode(bytes)? };
    if json && let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(&text) {
        let line = u32::try_from(error.line()).unwrap_or(0);
        return Err(Refusal::new(line, "it begins with a brace and is not valid JSON"));
    }
    match yaml::read(&text) {
        Ok(Some(node)) => Ok(node),
        Ok(None) => Err(Refusal::new(0, "it is empty")),
        Err(bad) => Err(Refusal::new(bad.line, "it is not valid YAML")),
    }
}

/// The text of a file, as go-yaml's reader has it: UTF-8, or UTF-16 with a byte order mark, without control characters.
fn decode(bytes: &[u8]) -> Result<String, Refusal> {
    let line_of = |before: &str| u32::try_from(before.matches('\n').count() + 1).unwrap_or(u32::MAX);
    let utf16 = |unit: fn([u8; 2]) -> u16| {
        let units = bytes[2..].chunks(2).map(|pair| unit([pair[0], *pair.get(1).unwrap_or(&0)]));
        let mut text = String::new();
        for one in char::decode_utf16(units) {
            match one {
                Ok(one) => text.push(one),
                Err(_) => return Err(Refusal::new(line_of(&text), "it is not valid UTF-16")),
            }
        }
        Ok(text)
    };
    let text = match bytes {
        [0xff, 0xfe, ..] => utf16(u16::from_le_bytes)?,
        [0xfe, 0xff, ..] => utf16(u16::from_be_bytes)?,
        _ => {
            let bytes = bytes.strip_prefix(&[0xef, 0xbb, 0xbf]).unwrap_or(bytes);
            match std::str::from_utf8(bytes) {
                Ok(text) => text.to_owned(),
                Err(error) => {
                    let before = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
                    return Err(Refusal::new(line_of(&before), "it is not valid UTF-8"));
                }
            }
        }
    };
    let printable = |one: char| {
        matches!(one, '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{fffd}' | '\u{10000}'..)
            && one != '\u{feff}'
    };
    match text.find(|one| !printable(one)) {
        Some(at) => Err(Refusal::new(line_of(&text[..at]), "it has a control character")),
        None => Ok(text),
    }
}

/// The text of a member.
pub(super) fn text<'n>(node: &'n Node, name: &str) -> Option<&'n str> {
    match &node.get(name)?.node.tree {
        Tree::Scalar(value) => value.as_str(),
        _ => None,
    }
}

/// The items of a member that is a list.
pub(super) fn list<'n>(node: &'n Node, name: &str) -> &'n [Node] {
    match node.get(name).map(|member| &member.node.tree) {
        Some(Tree::List(items)) => items,
        _ => &[],
    }
}

/// The components that a pod's containers are.
pub(super) fn commands(pod: &Node, file: &str) -> Vec<CommandLine> {
    let Some(spec) = pod.get("spec").map(|member| &member.node) else { return Vec::new() };
    let volume = |name: &str| list(spec, "volumes").iter().find(|volume| text(volume, "name") == Some(name));
    let mut lines = Vec::new();
    for container in list(spec, "containers") {
        let words = list(container, "command").iter().chain(list(container, "args"));
        let words: Vec<Word> = words.flat_map(words_of).collect();
        let Some((component, rest)) = super::command::component(&words) else { continue };
        let mut line = CommandLine::new(component, rest, file);
        let mounts = list(container, "volumeMounts").iter().filter_map(|mount| {
            let host = volume(text(mount, "name")?)?.get("hostPath").and_then(|path| text(&path.node, "path"));
            let below = text(mount, "subPath").filter(|sub| !sub.is_empty());
            let host = match (host, below) {
                (Some(host), Some(sub)) => Some(format!("{}/{sub}", host.trim_end_matches('/'))),
                (host, _) => host.map(str::to_owned),
            };
            Some(Mount { inside: text(mount, "mountPath")?.trim_end_matches('/').to_owned(), host })
        });
        let mut mounts: Vec<_> = mounts.collect();
        mounts.sort_by_key(|mount| std::cmp::Reverse(mount.inside.len()));
        line.mounts = Some(mounts);
        lines.push(line);
    }
    lines
}

/// The words of an item of a command. A shell's script is one item of several words; a flag is one, whatever is in it.
fn words_of(item: &Node) -> Vec<Word> {
    let Tree::Scalar(serde_json::Value::String(item_text)) = &item.tree else { return Vec::new() };
    let script = !item_text.starts_with('-') && item_text.contains(char::is_whitespace) && item_text.contains("--");
    let split = if script { item_text.split_whitespace().collect() } else { vec![item_text.as_str()] };
    split.into_iter().map(|word| Word { text: word.trim_matches('"').to_owned(), line: item.line }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_s_path_is_found_on_the_node() {
        let pod = "spec:\n  containers:\n  - command: [/bin/sh, -c, 'exec /usr/local/bin/kube-apiserver \
                   --tls-cert-file=/pki/a/server.crt --client-ca-file=/etc/x.crt']\n    volumeMounts:\n    \
                   - {name: k, mountPath: /pki/}\n    - {name: a, mountPath: /pki/a}\n  volumes:\n  \
                   - {name: k, hostPath: {path: /srv}}\n  - {name: a, hostPath: {path: /srv/kube-apiserver/}}\n";
        let lines = commands(&document(pod.as_bytes()).unwrap(), "/m.yaml");
        assert_eq!(lines[0].component, Component::Apiserver);
        assert_eq!(lines[0].paths("tls-cert-file"), ["/srv/kube-apiserver/server.crt"]);
        assert_eq!(lines[0].paths("client-ca-file"), ["/etc/x.crt"]);
        assert!(!lines[0].is_mounted("/etc/x.crt") && lines[0].is_mounted("/pki/a/server.crt"));
    }

    #[test]
    fn encodings_are_those_of_go_yaml() {
        let bytes = |text: &str, unit: fn(u16) -> [u8; 2], mark: [u8; 2]| {
            mark.into_iter().chain(text.encode_utf16().flat_map(unit)).collect::<Vec<_>>()
        };
        for good in [
            bytes("a: ü", u16::to_le_bytes, [0xff, 0xfe]),
            bytes("a: ü", u16::to_be_bytes, [0xfe, 0xff]),
            "\u{feff}a: ü".as_bytes().to_vec(),
        ] {
            assert_eq!(document(&good).unwrap().value(), serde_json::json!({ "a": "ü" }));
        }
        for (bad, line) in [(&b"a: 1\nb: \xfc\n"[..], 2), (b"a: 1\nb: 2\nc: \x07\n", 3), (b"{\n\"a\": 1,\n}", 3)] {
            assert_eq!(document(bad).unwrap_err().line, Some(line), "{bad:?}");
        }
    }
}

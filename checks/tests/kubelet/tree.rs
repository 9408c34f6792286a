//! A node's files in memory: what is not among them is not there.

use std::collections::{BTreeMap, BTreeSet};

use seaworthy_checks::host::{
    Answer, Entry, FileKind, Host, Layout, Program, Query, Refusal, RefusalKind, Reply, Stat,
};

/// A tree of files.
#[derive(Default)]
pub(crate) struct Tree {
    files: BTreeMap<String, String>,
    /// Links to folders, with their targets.
    links: BTreeMap<String, String>,
    processes: Vec<serde_json::Value>,
    said: BTreeMap<Program, String>,
    layout: Layout,
}

impl Tree {
    pub(crate) fn file(mut self, path: &str, content: &str) -> Self {
        self.files.insert(path.to_owned(), content.to_owned());
        self
    }

    pub(crate) fn link(mut self, path: &str, target: &str) -> Self {
        self.links.insert(path.to_owned(), target.to_owned());
        self
    }

    pub(crate) fn runs(mut self, words: &[&str], sandboxed: bool) -> Self {
        let pid = 100 + self.processes.len();
        self.processes.push(serde_json::json!({
            "pid": pid, "command": words.join("\0"), "started": 5, "sandboxed": sandboxed,
        }));
        self
    }

    pub(crate) fn says(mut self, program: Program, text: &str) -> Self {
        self.said.insert(program, text.to_owned());
        self
    }

    pub(crate) fn named(mut self, config: &str) -> Self {
        self.layout.kubelet_config = Some(config.to_owned());
        self
    }

    fn below<'s>(&'s self, folder: &'s str) -> impl Iterator<Item = &'s str> {
        let prefix = format!("{}/", folder.trim_end_matches('/'));
        let all = self.files.keys().chain(self.links.keys());
        all.filter_map(move |path| path.strip_prefix(&prefix))
    }
}

fn absent(what: &impl std::fmt::Display) -> Answer {
    Err(Refusal::new(RefusalKind::Absent, format!("{what}: no such file or directory")))
}

impl Host for Tree {
    fn ask(&self, query: &Query) -> Answer {
        match query {
            Query::Read { path } => match self.files.get(path) {
                Some(text) => Ok(Reply::Bytes { bytes: text.clone().into_bytes(), truncated: false }),
                None => absent(query),
            },
            Query::List { path } => {
                let mut names = BTreeSet::new();
                for rest in self.below(path) {
                    let (name, kind) = match rest.split_once('/') {
                        Some((name, _)) => (name, FileKind::Directory),
                        None => (rest, FileKind::File),
                    };
                    names.insert((name.to_owned(), kind == FileKind::Directory));
                }
                if names.is_empty() {
                    return absent(query);
                }
                let entry =
                    |(name, folder)| Entry { name, kind: if folder { FileKind::Directory } else { FileKind::File } };
                Ok(Reply::Entries(names.into_iter().map(entry).collect()))
            }
            Query::Stat { path } => {
                let folder = self.below(path).next().is_some();
                if !folder && !self.files.contains_key(path) {
                    return absent(query);
                }
                let kind = if folder { FileKind::Directory } else { FileKind::File };
                Ok(Reply::Stat(Stat { kind, mode: 0o755, uid: 0, gid: 0, size: 0, mtime: 0, ino: 1, dev: 1 }))
            }
            Query::Link { path } => match self.links.get(path) {
                Some(target) => Ok(Reply::Text(target.clone())),
                None => Err(Refusal::new(RefusalKind::WrongKind, format!("{path} is no link"))),
            },
            Query::Processes => Ok(serde_json::Value::from(self.processes.clone()).into()),
            Query::Run { program } => match self.said.get(program) {
                Some(text) => Ok(Reply::Text(text.clone())),
                None => absent(query),
            },
            Query::Layout => serde_json::to_value(&self.layout)
                .map(Reply::from)
                .map_err(|error| Refusal::new(RefusalKind::Failed, error.to_string())),
            _ => Err(Refusal::new(RefusalKind::NotAsked, "not asked")),
        }
    }
}

//! A bounded walk through a folder of a PKI: links to folders are not followed, so it ends.

use crate::fact::Fact;
use crate::host::{Entry, FileKind, Host};

/// The deepest folder that is looked into, counted from the first.
const DEPTH: usize = 8;
/// The most files that are looked at.
const FILES: usize = 2_000;

/// What a walk found.
#[derive(Debug, Default)]
pub(super) struct Walk {
    /// Files that may hold a certificate, a key, a revocation list or a kubeconfig.
    pub(super) files: Vec<String>,
    /// Files that may be Talos's.
    pub(super) yaml: Vec<String>,
    /// The folders that were looked into.
    pub(super) folders: Vec<String>,
    /// Links that lead nowhere, or in a circle.
    pub(super) astray: Vec<String>,
    /// What could not be looked at, with the reason.
    pub(super) unread: Vec<String>,
}

/// Walks a folder.
pub(super) fn walk(host: &dyn Host, folder: &str) -> Walk {
    let mut walk = Walk::default();
    let mut open = vec![(folder.to_owned(), 0)];
    while let Some((folder, depth)) = open.pop() {
        let entries = match host.list(&folder) {
            Fact::Known(entries) => entries,
            Fact::Absent(_) | Fact::NotGathered(_) => continue,
            Fact::Unreadable(why) | Fact::Malformed(why) => {
                walk.unread.push(why);
                continue;
            }
        };
        walk.folders.push(folder.clone());
        for Entry { name, kind } in entries {
            let path = format!("{}/{name}", folder.trim_end_matches('/'));
            let kind = if kind == FileKind::Link { walk.target(host, &path) } else { Some(kind) };
            match kind {
                Some(FileKind::Directory) if depth == DEPTH => {
                    walk.unread.push(format!("{path} lies deeper than {DEPTH} folders: it was not looked into"));
                }
                Some(FileKind::Directory) => open.push((path, depth + 1)),
                Some(FileKind::File) if walk.files.len() + walk.yaml.len() == FILES => {
                    walk.unread.push(format!("{folder} has more than {FILES} files: the rest was not looked at"));
                    return walk;
                }
                Some(FileKind::File) if may_hold_credentials(&name) => walk.files.push(path),
                Some(FileKind::File) if is_yaml(&name) => walk.yaml.push(path),
                Some(FileKind::File) | None => {}
                Some(FileKind::Fifo) => walk.unread.push(format!("{path} is a FIFO, which is not read")),
                Some(FileKind::Socket) => walk.unread.push(format!("{path} is a socket, which is not read")),
                Some(FileKind::Device) => walk.unread.push(format!("{path} is a device, which is not read")),
                Some(FileKind::Link | FileKind::Other) => {
                    walk.unread.push(format!("{path} is neither a file nor a folder"));
                }
            }
        }
    }
    walk.files.sort();
    walk.yaml.sort();
    walk
}

impl Walk {
    /// What a link leads to; `None` for a folder, which the walk does not enter through a link, and for nothing.
    fn target(&mut self, host: &dyn Host, path: &str) -> Option<FileKind> {
        match host.stat(path) {
            Fact::Known(stat) => return Some(stat.kind).filter(|&kind| kind != FileKind::Directory),
            Fact::Absent(_) => self.astray.push(path.to_owned()),
            Fact::Unreadable(why) | Fact::Malformed(why) if why.contains("levels of symbolic links") => {
                self.astray.push(path.to_owned());
            }
            Fact::Unreadable(why) | Fact::Malformed(why) => self.unread.push(why),
            Fact::NotGathered(_) => {}
        }
        None
    }
}

/// By its name, is it worth reading?
pub(crate) fn may_hold_credentials(name: &str) -> bool {
    const ENDINGS: [&str; 14] = [
        ".crt",
        ".cer",
        ".cert",
        ".pem",
        ".key",
        ".pub",
        ".crl",
        ".der",
        ".conf",
        ".kubeconfig",
        ".config",
        ".p12",
        ".pfx",
        ".bak",
    ];
    let name = name.to_lowercase();
    matches!(&*name, "config" | "kubeconfig") || ENDINGS.iter().any(|ending| name.ends_with(ending)) || is_backup(&name)
}

/// By its name, is it YAML?
fn is_yaml(name: &str) -> bool {
    let name = name.to_lowercase();
    name == "talosconfig" || name.ends_with(".yaml") || name.ends_with(".yml")
}

/// Is it, by its path, a copy that somebody put aside?
///
/// kubeadm's `expired/`, k3s's `tls-1700000000`, `pki.bak`, `apiserver.key.old`, `ca.crt~`.
pub(super) fn is_backup(path: &str) -> bool {
    path.split('/').any(|part| {
        let part = part.to_lowercase();
        let stamped =
            part.strip_prefix("tls-").is_some_and(|rest| rest.len() >= 8 && rest.bytes().all(|b| b.is_ascii_digit()));
        stamped
            || part == "expired"
            || part.ends_with('~')
            || part.contains("backup")
            || part.split(['.', '_', '-']).any(|word| matches!(word, "bak" | "old" | "orig" | "save"))
    })
}

#[cfg(test)]
mod tests {
    use super::is_backup;

    #[test]
    fn backups_are_known_by_their_names() {
        for path in [
            "/p/expired/a.crt",
            "/p/pki.bak_2024/a.key",
            "/p/a.key.old",
            "/p/tls-1700000000/x",
            "/p/ca.crt~",
            "/p/backup-1/a",
        ] {
            assert!(is_backup(path), "{path}");
        }
        for path in ["/p/apiserver.crt", "/p/tls/x", "/p/threshold.key", "/p/etcd/ca.crt"] {
            assert!(!is_backup(path), "{path}");
        }
    }
}

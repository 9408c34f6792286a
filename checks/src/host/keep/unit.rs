//! Units of systemd, files of variables, and other files of `NAME=value`.

use std::net::IpAddr;

use super::lines::per_line;
use super::members::is_name;
use super::scrub::{MARK, scrub, url};
use super::words::{is_path, line, listed, quoted, value_of_flag};

/// Settings of units whose values stay.
const SETTINGS: &[&str] = &[
    "After",
    "Before",
    "Wants",
    "WantedBy",
    "Requires",
    "RequiredBy",
    "BindsTo",
    "PartOf",
    "Conflicts",
    "Alias",
    "Type",
    "Restart",
    "RestartSec",
    "StartLimit*",
    "TimeoutStartSec",
    "TimeoutStopSec",
    "TimeoutSec",
    "KillMode",
    "Delegate",
    "Limit*",
    "TasksMax",
    "TasksAccounting",
    "OOMScoreAdjust",
    "CPUAccounting",
    "MemoryAccounting",
    "Slice",
    "User",
    "Group",
    "WorkingDirectory",
    "RootDirectory",
    "EnvironmentFile",
    "What",
    "Where",
    "Options",
    "Priority",
    "Condition*",
    "Assert*",
    "RequiresMountsFor",
    "DefaultDependencies",
    "NotifyAccess",
    "StandardOutput",
    "StandardError",
    "SyslogIdentifier",
    "RuntimeDirectory",
    "StateDirectory",
    "MountFlags",
    "Protect*",
    "Private*",
    "NoNewPrivileges",
    "SecureBits",
    "CapabilityBoundingSet",
    "AmbientCapabilities",
    "DefaultTasksMax",
    "CPUQuota",
    "MemoryMax",
    "MemoryHigh",
    "MemoryMin",
    "MemoryLow",
    "MemorySwapMax",
    "AllowedCPUs",
    "ManagedOOM*",
    "RefuseManualStart",
    "Names",
    "SourcePath",
    // zram-generator.
    "zram-size",
    "zram-fraction",
    "max-zram-size",
    "compression-algorithm",
    "swap-priority",
    "fs-type",
    "mount-point",
    "host-memory-limit",
    // ufw.conf, and the like.
    "ENABLED",
    "SELINUX",
    "SELINUXTYPE",
];

/// Variables that hold flags by their name: `ETCD_TRUSTED_CA_FILE` is --trusted-ca-file.
const PREFIXES: &[&str] = &["ETCD_", "K3S_", "RKE2_", "KUBELET_", "CONTAINERD_", "KUBE_"];

/// The value of a variable, as it stays.
pub(super) fn variable(name: &str, value: &str) -> String {
    let upper = name.to_ascii_uppercase();
    if upper == "NO_PROXY" {
        // Names, addresses and networks; a list.
        let plain = |c: char| c.is_ascii_alphanumeric() || ".,:/*_- []".contains(c);
        return if value.chars().all(plain) { value.to_owned() } else { MARK.to_owned() };
    }
    if upper.ends_with("_PROXY") {
        return url(value);
    }
    if value.trim_start().starts_with('-') {
        return line(value);
    }
    let plain = matches!(value, "" | "true" | "false" | "yes" | "no" | "0" | "1");
    if plain || is_path(value) || value.parse::<IpAddr>().is_ok() {
        return value.to_owned();
    }
    match PREFIXES.iter().find_map(|prefix| upper.strip_prefix(prefix)) {
        Some(flag) => value_of_flag(flag, value),
        None => MARK.to_owned(),
    }
}

/// `NAME=value`, or several of them in quotes or not, as `Environment=` takes them.
fn assignments(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if first.is_whitespace() {
            kept.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let mut quote = None;
        let end = rest.char_indices().find(|&(_, c)| {
            match quote {
                Some(open) if c == open => quote = None,
                None if matches!(c, '"' | '\'') => quote = Some(c),
                _ => {}
            }
            quote.is_none() && c.is_whitespace()
        });
        let (word, behind) = rest.split_at(end.map_or(rest.len(), |(at, _)| at));
        kept += &match word {
            "\\" | "#" => word.to_owned(),
            _ => quoted(word, assignment),
        };
        rest = behind;
    }
    kept
}

fn assignment(text: &str) -> String {
    match text.split_once('=') {
        Some((name, value)) if is_variable(name) => format!("{name}={}", quoted(value, |value| variable(name, value))),
        _ => MARK.to_owned(),
    }
}

fn is_variable(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte)) && is_name(name)
}

/// A file of variables: /etc/environment, an `EnvironmentFile=`.
pub(super) fn environment(text: &str) -> String {
    continued(text, |line| {
        let body = line.trim_start();
        let indent = &line[..line.len() - body.len()];
        if body.starts_with(['#', ';']) {
            return format!("{indent}#");
        }
        let (export, body) = match body.strip_prefix("export ") {
            Some(rest) => ("export ", rest),
            None => ("", body),
        };
        let trimmed = body.trim_end();
        if trimmed.is_empty() { line.to_owned() } else { format!("{indent}{export}{}", assignment(trimmed)) }
    })
}

/// A unit of systemd, or another file of sections and settings.
pub(super) fn unit(text: &str) -> String {
    continued(text, |text| {
        let body = text.trim();
        if body.starts_with(['#', ';']) {
            return "#".to_owned();
        }
        if body.is_empty() || body.starts_with('[') && body.ends_with(']') {
            return scrub(text).into_owned();
        }
        let Some((name, value)) = text.split_once('=') else { return MARK.to_owned() };
        let (key, value_at) = (name.trim(), value.len() - value.trim_start().len());
        if !is_variable(key) {
            return MARK.to_owned();
        }
        let (blank, value) = value.split_at(value_at);
        let kept = if key.starts_with("Exec") {
            line(value)
        } else if matches!(key, "Environment" | "PassEnvironment" | "DefaultEnvironment") {
            assignments(value)
        } else if key == "Options" {
            super::lines::options(value)
        } else if listed(SETTINGS, key) {
            scrub(value).into_owned()
        } else if value.is_empty() {
            String::new()
        } else {
            MARK.to_owned()
        };
        format!("{name}={blank}{kept}")
    })
}

/// Files whose lines are flags, variables or both: those of kubeadm, of snaps, of defaults.
pub(super) fn arguments(text: &str) -> String {
    per_line(text, |text| match text.trim_start() {
        body if body.starts_with('#') => "#".to_owned(),
        body if body.starts_with('-') => line(text),
        _ => environment(text),
    })
}

/// Lines that end in a backslash go on in the next; comments between them do not end them (systemd.syntax(7)).
fn continued(text: &str, keep: impl Fn(&str) -> String) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut whole = String::new();
    for piece in text.split_inclusive('\n') {
        let body = piece.trim_end_matches(['\n', '\r']);
        let ending = &piece[body.len()..];
        if !whole.is_empty() && body.trim_start().starts_with(['#', ';']) {
            whole += "#";
            whole += ending;
            continue;
        }
        whole += body;
        if body.ends_with('\\') && !ending.is_empty() && !whole.trim_start().starts_with(['#', ';']) {
            whole += ending;
            continue;
        }
        kept += &keep(&whole);
        kept += ending;
        whole.clear();
    }
    if !whole.is_empty() {
        kept += &keep(&whole);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_keep_what_starts_what() {
        let text = "# s3cret\n[Service]\nEnvironment=\"HTTP_PROXY=http://u:p@h:1\" \"PW=s3cret\" A=s3cret\n\
            Environment='K=--token=s3cret --config=/etc/k'\n\
                    ExecStart=/usr/bin/k3s agent \\\n# s3cret\n  --token s3cret \\\n  --v=2\n\
                        LoadCredential=x:s3cret\nEnvironmentFile=-/etc/default/k\n";
        let kept = "#\n[Service]\nEnvironment=\"HTTP_PROXY=http://h:1\" \"PW=[redacted]\" A=[redacted]\n\
            Environment='K=--token=[redacted] --config=/etc/k'\n\
                    ExecStart=/usr/bin/k3s agent \\\n#\n  --token [redacted] \\\n  --v=2\n\
                        LoadCredential=[redacted]\nEnvironmentFile=-/etc/default/k\n";
        assert_eq!(unit(text), kept);
        assert_eq!(unit(kept), kept);
    }

    #[test]
    fn variables_stay_where_they_are_flags_paths_and_proxies() {
        let text = "A=s3cret\n\
            KUBELET_KUBEADM_ARGS=\"--container-runtime-endpoint=unix:///run/c.sock --token=s3cret\"\n# s3cret\n\
            export https_proxy='http://u:s3cret@p:3128'\n\
                    CFG=/etc/k.yaml\nETCD_NAME=a\nETCD_INITIAL_CLUSTER_TOKEN=s3cret\ns3cret\n";
        let kept = "A=[redacted]\n\
            KUBELET_KUBEADM_ARGS=\"--container-runtime-endpoint=unix:///run/c.sock --token=[redacted]\"\n#\n\
            export https_proxy='http://p:3128'\n\
                    CFG=/etc/k.yaml\nETCD_NAME=a\nETCD_INITIAL_CLUSTER_TOKEN=[redacted]\n[redacted]\n";
        assert_eq!(environment(text), kept);
    }
}

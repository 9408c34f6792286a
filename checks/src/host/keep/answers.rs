//! What stays of the answers that are no files.

use std::net::IpAddr;
use std::sync::Arc;

use serde_json::Value;

use super::members::{Members, is_name, value};
use super::scrub::{MARK, scrub, url};
use super::words::Words;
use super::{rules, separated, yaml};
use crate::host::{ApiCall, CriCall, Query, Reply};

/// The reply to a query that reads no file, as it stays.
pub(super) fn reply(query: &Query, reply: Reply) -> Reply {
    match (query, reply) {
        (Query::Run { .. }, Reply::Text(text)) => Reply::Text(version(&text)),
        (Query::Link { path }, Reply::Text(target)) => Reply::Text(link(path, &target)),
        (_, Reply::Text(text)) => Reply::Text(scrub(&text).into_owned()),
        // Of certificates and names, made where Secrets arrive and are forgotten; maybe a hundred thousand of them.
        (_, reply @ (Reply::TlsSecrets(_) | Reply::SecretUses(_))) => reply,
        (query, Reply::Value(said)) => structured(query, Arc::unwrap_or_clone(said)).into(),
        (_, Reply::System(mut system)) => {
            for text in [&mut system.sysname, &mut system.release, &mut system.machine, &mut system.nodename] {
                *text = scrub(text).into_owned();
            }
            Reply::System(system)
        }
        (_, reply @ (Reply::Bytes { .. } | Reply::Entries(_) | Reply::Stat(_) | Reply::FileSystem(_))) => reply,
    }
}

/// Why a host did not answer, as it stays: it may quote what a program or a server said.
pub(super) fn refusal(query: &Query, message: &str) -> String {
    match query {
        Query::Run { .. } => match message.split_once("): ") {
            Some((status, said)) => format!("{status}): {}", complaint(said)),
            None => scrub(message).into_owned(),
        },
        _ => scrub(message).into_owned(),
    }
}

/// What a program that failed says: what the loader says, and which flag it does not know.
fn complaint(said: &str) -> String {
    let known =
        ["error while loading shared libraries: ", "Error: unknown flag: ", "unknown flag: ", "it said nothing"];
    let plain = |c: char| c.is_ascii_alphanumeric() || " ._:/+-,()".contains(c);
    let short = said.len() <= 200 && said.chars().all(plain);
    if short && known.iter().any(|known| said.contains(known)) { scrub(said).into_owned() } else { MARK.to_owned() }
}

/// Words that the programs say of themselves.
const SAYINGS: &[&str] = &[
    "Kubernetes",
    "Docker",
    "version",
    "build",
    "containerd",
    "crictl",
    "runc",
    "iptables",
    "nf_tables",
    "legacy",
    "nftables",
    "k3s",
    "rke2",
    "k0s",
    "go",
];

/// Of a program's output the version.
fn version(text: &str) -> String {
    let part = |word: &str| {
        let word = word.trim_end_matches(',').trim_start_matches('(').trim_end_matches(')');
        let number = word.strip_prefix("go").unwrap_or(word).trim_start_matches('v');
        let plain = |c: char| c.is_ascii_alphanumeric() || ".+-~:_".contains(c);
        let numbered = number.starts_with(|c: char| c.is_ascii_digit()) && number.contains('.');
        let build = word.len() <= 40 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        SAYINGS.contains(&word) || (numbered && word.len() <= 64 && word.chars().all(plain)) || build
    };
    text.split_inclusive(char::is_whitespace)
        .map(|piece| {
            let word = piece.trim_end();
            let kept = if word.is_empty() || part(word) { word } else { MARK };
            format!("{kept}{}", &piece[word.len()..])
        })
        .collect()
}

/// Of the files that processes hold open only sockets count; other links are paths.
fn link(path: &str, target: &str) -> String {
    let of_process = path.starts_with("/proc/");
    let kernel =
        [":[", "anon_inode:"].iter().any(|mark| target.contains(mark)) && !target.contains(char::is_whitespace);
    if of_process && path.contains("/fd/") && !kernel { MARK.to_owned() } else { scrub(target).into_owned() }
}

/// A command line, its words separated by NUL.
pub(super) fn command(text: &str) -> String {
    let words = std::cell::RefCell::new((Words::default(), true));
    separated(text, &|word| {
        let mut state = words.borrow_mut();
        if std::mem::take(&mut state.1) {
            // The program itself: its path, or its name.
            return if is_name(word) { word.to_owned() } else { MARK.to_owned() };
        }
        state.0.word(word)
    })
}

fn structured(query: &Query, said: Value) -> Value {
    match query {
        Query::Processes => processes(said),
        Query::Cri {
            call: CriCall::Version | CriCall::VersionV1alpha2 | CriCall::Status | CriCall::RuntimeConfig,
            ..
        } => value(said, rules::CRI),
        Query::Cri { call: CriCall::Images, .. } => {
            let is = |one: &Value| one.as_str().is_some_and(crate::host::cri::is_component);
            Value::Array(said.as_array().into_iter().flatten().filter(|one| is(one)).cloned().map(public).collect())
        }
        Query::Get { url } => page(url, said),
        Query::Lookup { .. } => {
            let is = |one: &Value| one.as_str().is_some_and(|text| text.parse::<IpAddr>().is_ok());
            Value::Array(said.as_array().into_iter().flatten().filter(|one| is(one)).cloned().collect())
        }
        Query::Api { call } => api(*call, said),
        Query::Configz { .. } => value(said, rules::KUBELET),
        _ => public(said),
    }
}

/// What was made of certificates, kubeconfigs and servers where they are, and holds no secret by its types.
fn public(said: Value) -> Value {
    match said {
        Value::String(text) => Value::String(scrub(&text).into_owned()),
        Value::Array(items) => items.into_iter().map(public).collect(),
        Value::Object(members) => Value::Object(
            members
                .into_iter()
                .map(|(name, said)| match said {
                    Value::String(text) if matches!(&*name, "server" | "url" | "endpoint") => (name, url(&text).into()),
                    // Certificates and public keys, in base64.
                    Value::Object(bytes) if matches!(&*name, "der" | "spki") => (name, Value::Object(bytes)),
                    said => (name, public(said)),
                })
                .collect(),
        ),
        other => other,
    }
}

fn processes(said: Value) -> Value {
    const KNOWN: Members = Members { whole: &["pid", "started", "sandboxed"], ..Members::NONE };
    let process = |process: &Value| {
        let line = process.get("command").and_then(Value::as_str).map(command);
        let mut kept = value(process.clone(), KNOWN);
        if let (Some(line), Some(members)) = (line, kept.as_object_mut()) {
            members.insert("command".to_owned(), line.into());
        }
        kept
    };
    Value::Array(said.as_array().into_iter().flatten().map(process).collect())
}

/// A page of a component: its health, its version, its configuration.
fn page(address: &str, said: Value) -> Value {
    let Value::Object(mut members) = said else { return Value::Null };
    let path = address.splitn(4, '/').nth(3).unwrap_or_default();
    let keep = |text: &str| match path.split('?').next().unwrap_or_default() {
        "configz" => yaml::config(text, rules::CONFIGZ),
        "version" => yaml::config(text, rules::VERSION),
        _ => super::lines::per_line(text, health),
    };
    members.retain(|name, _| matches!(&**name, "status" | "body"));
    if let Some(body) = members.get_mut("body") {
        *body = body.as_str().map_or(Value::Null, |text| keep(text).into());
    }
    Value::Object(members)
}

/// A line of /healthz, /livez or /readyz.
fn health(line: &str) -> String {
    const SAYINGS: [&str; 12] = [
        "ok",
        "failed",
        "failed:",
        "reason",
        "withheld",
        "check",
        "passed",
        "healthz",
        "livez",
        "readyz",
        "not",
        "excluded:",
    ];
    let name = |word: &str| {
        let word = word.trim_start_matches("[+]").trim_start_matches("[-]");
        word.len() <= 80 && word.bytes().all(|byte| byte.is_ascii_lowercase() || b"-/:.".contains(&byte))
    };
    let plain =
        line.split_whitespace().enumerate().all(|(at, word)| (at == 0 && name(word)) || SAYINGS.contains(&word));
    if plain { scrub(line).into_owned() } else { MARK.to_owned() }
}

/// What the API says was reduced as it came; of texts within it that are files of their own the members are.
fn api(call: ApiCall, said: Value) -> Value {
    let mut said = public(said);
    let mut text = |at: &str, members: Members| {
        if let Some(Value::String(text)) = said.pointer_mut(at) {
            *text = yaml::config(text, members);
        }
    };
    match call {
        ApiCall::ClusterInfo => text("/data/kubeconfig", rules::KUBECONFIG),
        ApiCall::KubeadmConfig => text("/configuration", rules::KUBEADM),
        _ => {}
    }
    said
}

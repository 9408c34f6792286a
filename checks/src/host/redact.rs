//! What must never leave a host: private keys, tokens, passwords, Secret contents.
//!
//! Redaction happens as an answer is recorded, before it is parsed, so nothing downstream can leak what was never there.
//! The length and the place of what was removed stay visible, so that a check can still say that a key is where it should
//! not be.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use regex::Regex;

use super::Reply;

/// What stands in place of a secret.
const MARK: &str = "[redacted]";

/// Members of configurations that hold credentials.
const KEYS: &str = "client-key-data|token|password|passwd|secret|bearer-?token|auth|identitytoken|registrytoken|access-?key|secret-?key|api-?key|client-?secret|private-?key|certificate-?key|bootstrap-?token|cluster-?secret|(?:aescbc|secretbox)encryptionsecret";

fn compile(pattern: &str) -> Regex {
    match Regex::new(pattern) {
        Ok(pattern) => pattern,
        Err(error) => unreachable!("a constant pattern, compiled by every test: {error}"),
    }
}

struct Rule {
    pattern: Regex,
    replacement: &'static str,
}

static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    let rule = |pattern: &str, replacement| Rule { pattern: compile(pattern), replacement };
    vec![
        // PEM blocks of any private key, whole or cut off at the read limit.
        rule(
            r"(?s)(-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----).*?(-----END [A-Z0-9 ]*PRIVATE KEY-----|\z)",
            "$1[redacted]$2",
        ),
        // kubeconfig, YAML, TOML, INI and JSON members that hold credentials: to the end of the line, or, quoted, to the end
        // of the quotes, so that what is JSON or TOML stays so.
        rule(&format!(r#"(?im)^(\s*(?:-\s+)?["']?(?:{KEYS})["']?\s*[:=][ \t]*)[^\s"'][^\r\n]*"#), "$1[redacted]"),
        rule(
            &format!(r#"(?im)((?:^|[\s{{,"'])(?:{KEYS})["']?\s*[:=]\s*)"(?:[^"\\\r\n]|\\.)*("|$)"#),
            "$1\"[redacted]$2",
        ),
        rule(&format!(r#"(?im)((?:^|[\s{{,"'])(?:{KEYS})["']?\s*[:=]\s*)'[^'\r\n]*('|$)"#), "$1'[redacted]$2"),
        // HTTP authorization.
        rule(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}", "$1 [redacted]"),
        // kubeadm bootstrap tokens.
        rule(r"\b[a-z0-9]{6}\.[a-z0-9]{16}\b", MARK),
        // JSON Web Tokens: service-account and OIDC tokens.
        rule(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*", MARK),
        // Credentials in URLs: proxies, registries.
        rule(r"(?i)\b([a-z][a-z0-9+.-]*://)[^\s/@:]+:[^\s/@]+@", "$1[redacted]@"),
        // Flags that carry a credential, in command lines (separated by NUL) and unit files.
        rule(
            r"(?i)(--?(?:[a-z0-9-]*(?:token|password|passwd|secret|certificate-key|api-key|access-key))(?:=|\x00|[ \t]+))[^\s\x00-]\S*?(\x00|\s|\z)",
            "$1[redacted]$2",
        ),
    ]
});

/// Removes secrets from a reply.
#[must_use]
pub fn redact(reply: Reply) -> Reply {
    match reply {
        Reply::Bytes { bytes, truncated } => match redact_bytes(&bytes) {
            Some(clean) => Reply::Bytes { bytes: clean, truncated },
            None => Reply::Bytes { bytes, truncated },
        },
        Reply::Text(text) => Reply::Text(redact_text(&text)),
        Reply::Value(value) => redact_value(Arc::unwrap_or_clone(value)).into(),
        // Names and dates alone, made where Secrets arrive and are forgotten; and maybe a hundred thousand of them.
        Reply::TlsSecrets(all) => Reply::TlsSecrets(all),
        Reply::SecretUses(all) => Reply::SecretUses(all),
        other => other,
    }
}

/// `None` where nothing had to go. Bytes that are not UTF-8 are matched as text all the same: a secret is ASCII.
fn redact_bytes(bytes: &[u8]) -> Option<Vec<u8>> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let clean = redact_text(text);
        return (clean != text).then(|| clean.into_bytes());
    }
    // Latin-1 maps every byte to one character and back, so binary content survives.
    let text: String = bytes.iter().map(|&byte| byte as char).collect();
    let clean = redact_text(&text);
    (clean != text).then(|| clean.chars().map(|c| c as u8).collect())
}

/// Removes secrets from a text.
fn redact_text(text: &str) -> String {
    let mut clean = redact_blocks(text);
    for rule in RULES.iter() {
        if let Cow::Owned(next) = rule.pattern.replace_all(&clean, rule.replacement) {
            clean = Cow::Owned(next);
        }
    }
    ENCODED_PEM.replace_all(&clean, encoded_pem).into_owned()
}

/// A PEM block of any kind in base64, as kubeconfigs and Secrets hold it.
static ENCODED_PEM: LazyLock<Regex> = LazyLock::new(|| compile(r"LS0tLS1CRUdJTi[A-Za-z0-9+/]+=*"));

/// Certificates stay, keys go.
fn encoded_pem(found: &regex::Captures<'_>) -> String {
    let text = &found[0];
    let head = &text[..text.len().min(64) / 4 * 4];
    let decoded = STANDARD_NO_PAD.decode(head).unwrap_or_default();
    if String::from_utf8_lossy(&decoded).contains("PRIVATE") { MARK.to_owned() } else { text.to_owned() }
}

/// The key of a YAML line that holds a credential and whose value stands in the lines below it.
static BLOCK: LazyLock<Regex> =
    LazyLock::new(|| compile(&format!(r#"(?i)^(\s*(?:-\s+)?["']?(?:{KEYS})["']?\s*:)[ \t]*[|>]?[+-]?[0-9]?[ \t]*$"#)));

/// Removes what spans lines: block scalars of credentials, and everything under `data` of a Secret. Lines stay lines, so that
/// places in the file stay right.
fn redact_blocks(text: &str) -> Cow<'_, str> {
    let secret = text.lines().any(|line| matches!(line.trim_end(), "kind: Secret" | "kind: \"Secret\""));
    if !secret && !text.lines().any(|line| BLOCK.is_match(line)) {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len());
    // How far the line is indented below which everything goes, and whether names stay.
    let mut inside: Option<(usize, bool)> = None;
    for line in text.split_inclusive('\n') {
        let body = line.trim_end_matches(['\n', '\r']);
        let indent = body.len() - body.trim_start().len();
        if inside.is_some_and(|(outer, _)| indent <= outer && !body.trim().is_empty()) {
            inside = None;
        }
        if let Some((_, names)) = inside.filter(|_| !body.trim().is_empty()) {
            let name = body.split_once(':').filter(|_| names).map_or(&body[..indent], |(name, _)| &body[..=name.len()]);
            clean += name;
            clean += if name.ends_with(':') { " " } else { "" };
            clean += MARK;
        } else {
            clean += body;
            if BLOCK.is_match(body) {
                inside = Some((indent, false));
            } else if secret && matches!(body.trim_end(), "data:" | "stringData:") {
                inside = Some((indent, true));
            }
        }
        clean += &line[body.len()..];
    }
    Cow::Owned(clean)
}

fn redact_value(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::String(text) => Value::String(redact_text(&text)),
        Value::Array(items) => Value::Array(items.into_iter().map(redact_value).collect()),
        Value::Object(members) => Value::Object(
            members
                .into_iter()
                .map(|(key, value)| {
                    let name = key.to_ascii_lowercase();
                    let secret = ["token", "password", "secret", "auth", "clientkeydata", "client-key-data"];
                    let value = match value {
                        Value::String(text) if secret.contains(&name.as_str()) && !text.is_empty() => {
                            Value::String(MARK.to_owned())
                        }
                        other => redact_value(other),
                    };
                    (key, value)
                })
                .collect(),
        ),
        other => other,
    }
}

//! What must never leave a host: private keys, tokens, passwords, Secret contents.
//!
//! Redaction happens as an answer is recorded, before it is parsed, so nothing downstream can leak what was never there.
//! The length and the place of what was removed stay visible, so that a check can still say that a key is where it should
//! not be.

use std::sync::LazyLock;

use regex::Regex;

use super::{Query, Reply};

/// What stands in place of a secret.
const MARK: &str = "[redacted]";

struct Rule {
    pattern: Regex,
    replacement: &'static str,
}

static RULES: LazyLock<Vec<Rule>> = LazyLock::new(|| {
    let rule = |pattern: &str, replacement| match Regex::new(pattern) {
        Ok(pattern) => Rule { pattern, replacement },
        Err(error) => unreachable!("a constant pattern, compiled by every test: {error}"),
    };
    vec![
        // PEM blocks of any private key, whole or cut off at the read limit.
        rule(
            r"(?s)(-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----).*?(-----END [A-Z0-9 ]*PRIVATE KEY-----|\z)",
            "$1[redacted]$2",
        ),
        // kubeconfig, YAML, TOML, INI and JSON members that hold credentials.
        rule(
            r#"(?im)^(\s*(?:-\s+)?["']?(?:client-key-data|token|password|passwd|secret|bearer-?token|auth|identitytoken|registrytoken|access-?key|secret-?key|api-?key|client-?secret|private-?key|aescbc|secretbox|certificatekey|certificate-key)["']?\s*[:=][ \t]*)[^\r\n]*\S[^\r\n]*"#,
            "$1[redacted]",
        ),
        // The same inside one line of JSON or an inline table.
        rule(
            r#"(?i)(["'](?:client-key-data|token|password|secret|bearertoken|auth|identitytoken|registrytoken|client_secret|certificatekey)["']\s*[:=]\s*)(["'])[^"']*["']"#,
            "$1$2[redacted]$2",
        ),
        // Block scalars of credentials in YAML (`token: |`) keep no following lines that are pure base64.
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
pub fn redact(_query: &Query, reply: Reply) -> Reply {
    match reply {
        Reply::Bytes { bytes, truncated } => match redact_bytes(&bytes) {
            Some(clean) => Reply::Bytes { bytes: clean, truncated },
            None => Reply::Bytes { bytes, truncated },
        },
        Reply::Text(text) => Reply::Text(redact_text(&text)),
        Reply::Value(value) => Reply::Value(redact_value(value)),
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
    let mut clean = std::borrow::Cow::Borrowed(text);
    for rule in RULES.iter() {
        if let std::borrow::Cow::Owned(next) = rule.pattern.replace_all(&clean, rule.replacement) {
            clean = std::borrow::Cow::Owned(next);
        }
    }
    clean.into_owned()
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

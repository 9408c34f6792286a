//! The second line of defense: what looks like a secret goes from every text that stays, whatever it stands in.

use std::borrow::Cow;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use regex::Regex;

/// What stands in place of what is not kept.
pub(super) const MARK: &str = "[redacted]";

pub(super) fn compile(pattern: &str) -> Regex {
    match Regex::new(pattern) {
        Ok(pattern) => pattern,
        Err(error) => unreachable!("a constant pattern, compiled by every test: {error}"),
    }
}

static RULES: LazyLock<Vec<(Regex, &'static str)>> = LazyLock::new(|| {
    vec![
        // PEM blocks of any private key, whole or cut off at the read limit.
        (
            compile(
                r"(?s)(-----BEGIN [A-Z0-9 ]*PRIVATE[A-Z0-9 ]*-----).*?(-----END [A-Z0-9 ]*PRIVATE[A-Z0-9 ]*-----|\z)",
            ),
            "$1[redacted]$2",
        ),
        // HTTP authorization.
        (compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}"), "$1 [redacted]"),
        // Tokens of kubeadm and k3s.
        (compile(r"\b[a-z0-9]{6}\.[a-z0-9]{16}\b"), MARK),
        (compile(r"\bK10[0-9a-f]{64}::\S+"), MARK),
        // JSON Web Tokens: service-account and OIDC tokens.
        (compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"), MARK),
        // Credentials in URLs: proxies, registries, databases.
        (compile(r"(?i)\b([a-z][a-z0-9+.-]*://)[^\s/@]+@"), "$1[redacted]@"),
        // Access keys of clouds and registries, by their published forms.
        (compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), MARK),
        (compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|glpat-[A-Za-z0-9_-]{20,}|dckr_pat_[A-Za-z0-9_-]{20,})"), MARK),
        (compile(r"\bhvs\.[A-Za-z0-9_-]{20,}"), MARK),
    ]
});

/// A PEM block of any kind in base64, as kubeconfigs and Secrets hold it.
static ENCODED_PEM: LazyLock<Regex> = LazyLock::new(|| compile(r"LS0tLS1CRUdJTi[A-Za-z0-9+/]+=*"));

/// Takes what looks like a secret out of a text.
pub(super) fn scrub(text: &str) -> Cow<'_, str> {
    let mut clean = Cow::Borrowed(text);
    for (pattern, replacement) in RULES.iter() {
        if let Cow::Owned(next) = pattern.replace_all(&clean, *replacement) {
            clean = Cow::Owned(next);
        }
    }
    match ENCODED_PEM.replace_all(&clean, encoded_pem) {
        Cow::Owned(next) => Cow::Owned(next),
        Cow::Borrowed(_) => clean,
    }
}

/// Certificates stay, keys go.
fn encoded_pem(found: &regex::Captures<'_>) -> String {
    let text = &found[0];
    let head = &text[..text.len().min(64) / 4 * 4];
    let decoded = STANDARD_NO_PAD.decode(head).unwrap_or_default();
    let head = String::from_utf8_lossy(&decoded);
    let public = ["-----BEGIN CERTIFICATE", "-----BEGIN X509 CRL", "-----BEGIN PUBLIC KEY"];
    if public.iter().any(|label| head.starts_with(label)) { text.to_owned() } else { MARK.to_owned() }
}

/// Of URLs, or of lists of them separated by commas: scheme, host, port and path.
pub(super) fn url(text: &str) -> String {
    let one = |url: &str| {
        let Some((scheme, rest)) = url.split_once("://") else {
            // A host, a socket's path, or `user:password@host` without a scheme.
            let host = url.rsplit('@').next().unwrap_or(url);
            return host.split(['?', '#']).next().unwrap_or(host).to_owned();
        };
        let rest = rest.split(['?', '#']).next().unwrap_or(rest);
        // A password may have a slash in it.
        let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
        format!("{scheme}://{host}")
    };
    let all: Vec<_> = text.split(',').map(one).collect();
    scrub(&all.join(",")).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_keep_scheme_host_port_and_path() {
        for (from, to) in [
            ("http://user:p/a@ss@proxy:3128/x?token=1#y", "http://proxy:3128/x"),
            ("user:pw@proxy:3128", "proxy:3128"),
            ("https://a:2379,https://b:2379", "https://a:2379,https://b:2379"),
            ("unix:///run/x.sock", "unix:///run/x.sock"),
        ] {
            assert_eq!(url(from), to);
        }
    }
}

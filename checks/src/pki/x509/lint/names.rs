//! DNS names of certificates that match nothing, or not what they seem to.

use std::fmt;
use std::net::IpAddr;

/// What is wrong with a DNS name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NameFault {
    /// It is empty.
    Empty,
    /// It is an IP address: clients look for those among the IP addresses only.
    IpAddress,
    /// It ends with a dot, and so matches only a host that is asked for with one.
    TrailingDot,
    /// It has an underscore, which Go takes and others do not.
    Underscore,
    /// It has a scheme, a path or a port.
    Url,
    /// It has characters that no host name has.
    Characters,
    /// It has an empty label, one of more than 63 characters, one that begins or ends with a hyphen, or more than 253
    /// characters in all.
    Labels,
    /// It has a `*` that is not the whole first label, or nothing but a `*`.
    Wildcard,
}

impl fmt::Display for NameFault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Empty => "it is empty",
            Self::IpAddress => "it is an IP address, and only looked for among those",
            Self::TrailingDot => "it ends with a dot",
            Self::Underscore => "it has an underscore",
            Self::Url => "it is no host name, but has a scheme, a path or a port",
            Self::Characters => "it has characters that no host name has",
            Self::Labels => "it has a label that no host name has",
            Self::Wildcard => "its wildcard is not the first of several labels",
        })
    }
}

/// What is wrong with a DNS name.
pub(super) fn faults(name: &str) -> Vec<NameFault> {
    if name.is_empty() {
        return vec![NameFault::Empty];
    }
    if name.parse::<IpAddr>().is_ok() {
        return vec![NameFault::IpAddress];
    }
    let mut found = Vec::new();
    let bare = name.strip_suffix('.').unwrap_or(name);
    if bare.len() < name.len() {
        found.push(NameFault::TrailingDot);
    }
    if bare.contains(['/', ':']) {
        found.push(NameFault::Url);
    } else if !bare.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._*".contains(&byte)) {
        found.push(NameFault::Characters);
    }
    if bare.contains('_') {
        found.push(NameFault::Underscore);
    }
    let below = bare.strip_prefix("*.");
    if below.unwrap_or(bare).contains('*') {
        found.push(NameFault::Wildcard);
    }
    let bad = |label: &str| label.is_empty() || label.len() > 63 || label.starts_with('-') || label.ends_with('-');
    if bare.len() > 253 || bare.split('.').any(bad) {
        found.push(NameFault::Labels);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (name, expected) in [
            ("kubernetes", &[][..]),
            ("*.apps.example.com", &[]),
            ("10.96.0.1", &[NameFault::IpAddress]),
            ("a.example.com.", &[NameFault::TrailingDot]),
            ("etcd_0.etcd", &[NameFault::Underscore]),
            ("https://x", &[NameFault::Url]),
            ("x:6443", &[NameFault::Url]),
            ("a b", &[NameFault::Characters]),
            ("*", &[NameFault::Wildcard]),
            ("a.*.b", &[NameFault::Wildcard]),
            ("a..b", &[NameFault::Labels]),
            ("", &[NameFault::Empty]),
        ] {
            assert_eq!(faults(name), expected, "{name}");
        }
    }
}

//! Whether a certificate is for a name: Go's VerifyHostname.

use std::net::IpAddr;

use super::super::certificate::Certificate;
use super::super::go_version::Refusal;
use super::problem::{Problem, ProblemKind, WantedName};

/// What is wrong with a leaf for this name.
pub(super) fn problems(leaf: &Certificate, wanted: &WantedName, problems: &mut Vec<Problem>) {
    let refused = match wanted {
        WantedName::Ip(ip) => !has_ip(leaf, *ip),
        WantedName::Dns(name) => {
            let bare = name
                .strip_prefix('[')
                .and_then(|rest| rest.strip_suffix(']'))
                .filter(|inside| !inside.is_empty())
                .unwrap_or(name);
            match bare.parse::<IpAddr>() {
                Ok(ip) => !has_ip(leaf, ip),
                Err(_) => {
                    let names = leaf.extensions.subject_alt_names.as_ref().map_or(&[][..], |names| &names.dns);
                    let matches = |rules| names.iter().any(|pattern| dns(pattern, name, rules));
                    let (old, new) = (matches(Rules::Before23), matches(Rules::Since23));
                    if old != new {
                        let go =
                            if old { Refusal::since(23) } else { Refusal::Before(super::super::GoVersion::new(23)) };
                        problems.push(Problem::new(0, ProblemKind::NameMismatch(wanted.clone()), go, !new));
                        return;
                    }
                    !new
                }
            }
        }
    };
    if refused && leaf.extensions.subject_alt_names.is_none() {
        // GODEBUG=x509ignoreCN=0 brought the common name back until Go 1.17.
        problems.push(Problem::fatal(0, ProblemKind::NoSan));
    } else if refused {
        problems.push(Problem::fatal(0, ProblemKind::NameMismatch(wanted.clone())));
    }
}

fn has_ip(leaf: &Certificate, ip: IpAddr) -> bool {
    let names = leaf.extensions.subject_alt_names.as_ref();
    names.is_some_and(|names| names.ips.iter().any(|one| one.to_canonical() == ip.to_canonical()))
}

/// Go 1.23 stopped to take a lone `*` for a host name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rules {
    Before23,
    Since23,
}

/// Whether a DNS name of a certificate covers a host. Wildcards and a final dot count only where both are host names;
/// anything else must be equal but for case.
fn dns(pattern: &str, host: &str, rules: Rules) -> bool {
    let trimmed = host.strip_suffix('.').unwrap_or(host);
    if !hostname(trimmed, false, rules) || !hostname(pattern, true, rules) {
        return !matches!(pattern, "" | ".") && !matches!(host, "" | ".") && pattern.eq_ignore_ascii_case(host);
    }
    let (mut patterns, mut parts) = (pattern.split('.'), trimmed.split('.'));
    let (first, host_first) = (patterns.next().unwrap_or_default(), parts.next().unwrap_or_default());
    (first == "*" || first.eq_ignore_ascii_case(host_first)) && {
        let (rest, host_rest): (Vec<_>, Vec<_>) = (patterns.collect(), parts.collect());
        rest.len() == host_rest.len() && rest.iter().zip(host_rest).all(|(one, other)| one.eq_ignore_ascii_case(other))
    }
}

fn hostname(name: &str, pattern: bool, rules: Rules) -> bool {
    if name.is_empty() || name == "*" && rules == Rules::Since23 {
        return false;
    }
    name.split('.').enumerate().all(|(index, label)| {
        let allowed = |(at, byte): (usize, u8)| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-' && at > 0;
        !label.is_empty() && (pattern && index == 0 && label == "*" || label.bytes().enumerate().all(allowed))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_as_in_go() {
        for (pattern, host, expected) in [
            ("kubernetes", "kubernetes", true),
            ("Kubernetes.Default", "kubernetes.DEFAULT.", true),
            ("*.example.com", "a.example.com", true),
            ("*.example.com", "a.b.example.com", false),
            ("*.example.com", "example.com", false),
            ("a.*.com", "a.b.com", false),
            ("a.*.com", "a.*.com", true),
            ("*", "a", false),
            ("*", "*", true),
            ("a.example.com.", "a.example.com.", true),
            ("a.example.com.", "a.example.com", false),
            ("a_b", "A_B", true),
            ("-a", "-a", true),
            ("", "", false),
            ("a..b", "a..b", true),
        ] {
            assert_eq!(dns(pattern, host, Rules::Since23), expected, "{pattern:?} {host:?}");
        }
        assert!(dns("*", "a", Rules::Before23));
    }
}

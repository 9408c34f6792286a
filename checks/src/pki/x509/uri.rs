//! The host of a URI, by the rules of Go's net/url: a certificate with a URI that it cannot parse is refused whole.

use std::borrow::Cow;
use std::net::Ipv6Addr;

/// The host (with port) of a URI, `Some("")` if it has none, `None` if Go's `url.Parse` refuses it.
pub(super) fn host(uri: &str) -> Option<Cow<'_, str>> {
    let (uri, fragment) = uri.split_once('#').unwrap_or((uri, ""));
    if uri.bytes().any(|byte| byte.is_ascii_control()) {
        return None;
    }
    if uri == "*" {
        return escapes(fragment).then_some(Cow::Borrowed(""));
    }
    let (scheme, rest) = scheme(uri)?;
    let rest = rest.split_once('?').map_or(rest, |(path, _)| path);
    let mut path = rest;
    let mut host = Cow::Borrowed("");
    if !rest.starts_with('/') {
        if !scheme.is_empty() {
            return escapes(fragment).then_some(host);
        }
        if rest.split('/').next().is_some_and(|segment| segment.contains(':')) {
            return None;
        }
    }
    if let Some(authority) = rest.strip_prefix("//")
        && (!scheme.is_empty() || !rest.starts_with("///"))
    {
        let end = authority.find('/').unwrap_or(authority.len());
        path = &authority[end..];
        let (user, name) = authority[..end].rsplit_once('@').unwrap_or(("", &authority[..end]));
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&byte);
        if !user.bytes().all(allowed) || !escapes(user) {
            return None;
        }
        host = parse_host(scheme, name)?;
    }
    (escapes(path) && escapes(fragment)).then_some(host)
}

/// The scheme, which may be empty, and what follows it.
fn scheme(uri: &str) -> Option<(&str, &str)> {
    for (at, byte) in uri.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if at > 0 => {}
            b':' if at == 0 => return None,
            b':' => return Some((&uri[..at], &uri[at + 1..])),
            _ => break,
        }
    }
    Some(("", uri))
}

/// Whether every % is followed by two hexadecimal digits.
fn escapes(text: &str) -> bool {
    text.split('%').skip(1).all(|rest| rest.len() >= 2 && rest.bytes().take(2).all(|byte| byte.is_ascii_hexdigit()))
}

fn parse_host<'a>(scheme: &str, host: &'a str) -> Option<Cow<'a, str>> {
    let port = |text: &str| {
        text.is_empty() || text.strip_prefix(':').is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()))
    };
    match host.rfind('[') {
        Some(0) => {
            let end = host.rfind(']')?;
            let (inside, after) = (&host[1..end], &host[end + 1..]);
            // A zone, behind %25, may be anything; its address must be one of IPv6.
            let (address, zone) =
                inside.split_once("%25").map_or((inside, None), |(address, zone)| (address, Some(zone)));
            let fine = port(after)
                && address.parse::<Ipv6Addr>().is_ok()
                && zone.is_none_or(|zone| !zone.is_empty() && escapes(zone));
            fine.then(|| Cow::Owned(format!("[{}]{after}", inside.replacen("%25", "%", 1))))
        }
        Some(_) => None,
        None => {
            // Only http and https insist on a single colon.
            let colon = if matches!(scheme.to_ascii_lowercase().as_str(), "http" | "https") {
                host.find(':')
            } else {
                host.rfind(':')
            };
            (port(&host[colon.unwrap_or(host.len())..])).then(|| unescape(host)).flatten()
        }
    }
}

/// A host without its escapes, which may only stand for bytes beyond ASCII, and for %.
fn unescape(host: &str) -> Option<Cow<'_, str>> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!\"$&'()*+,-.:;<=>[]_~%".contains(&byte);
    if !host.bytes().all(|byte| !byte.is_ascii() || allowed(byte)) || !escapes(host) {
        return None;
    }
    if !host.contains('%') {
        return Some(Cow::Borrowed(host));
    }
    let mut parts = host.split('%');
    let mut bytes: Vec<u8> = parts.next().unwrap_or_default().into();
    for part in parts {
        let byte = u8::from_str_radix(&part[..2], 16).ok().filter(|byte| *byte >= 0x80 || *byte == b'%')?;
        bytes.push(byte);
        bytes.extend(part[2..].bytes());
    }
    Some(Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::host;

    #[test]
    fn hosts_are_those_of_go() {
        for (uri, expected) in [
            ("spiffe://cluster.local/ns/default", Some("cluster.local")),
            ("https://user:pw@example.com:8443/a%20b?c#d", Some("example.com:8443")),
            ("urn:uuid:1", Some("")),
            ("https://[::1]:1/", Some("[::1]:1")),
            ("/path", Some("")),
            ("", Some("")),
            (":x", None),
            ("a b:c", None),
            ("https://a b/", None),
            ("https://a/%zz", None),
            ("https://a:b/", None),
            ("https://[1.2.3.4]/", None),
            ("https://a%41/", None),
            ("x\ny", None),
        ] {
            assert_eq!(host(uri).as_deref(), expected, "{uri:?}");
        }
    }
}

//! Texts that stand in fields, as Go and Kubernetes read them: durations, times, quantities, addresses, names.

use std::net::IpAddr;

use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};

/// A duration, as Go's `time.ParseDuration` reads it.
pub(crate) fn duration(text: &str) -> Result<SignedDuration, String> {
    nanoseconds(text)
        .map(SignedDuration::from_nanos)
        .ok_or_else(|| format!("'{text}' is not a duration: write it as 4m0s, 1h30m or 500ms"))
}

fn nanoseconds(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    // Go counts up to 1<<63, which only a negative one may reach.
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (whole, behind) = rest.split_at(digits);
        let (fraction, behind) = match behind.strip_prefix('.') {
            Some(behind) => behind.split_at(behind.find(|c: char| !c.is_ascii_digit()).unwrap_or(behind.len())),
            None => ("", behind),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let end = behind.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(end);
        let unit: u64 = match unit {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return None,
        };
        let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        let mut part = whole.checked_mul(unit).filter(|part| *part <= 1 << 63)?;
        // Digits beyond 18 are below a nanosecond of every unit.
        let fraction = &fraction[..fraction.len().min(18)];
        if let Ok(digits) = fraction.parse::<u128>() {
            let scale = 10u128.pow(u32::try_from(fraction.len()).ok()?);
            part = part.checked_add(u64::try_from(digits * u128::from(unit) / scale).ok()?)?;
        }
        total = total.checked_add(part).filter(|total| *total <= 1 << 63)?;
        rest = behind;
    }
    if negative { 0i64.checked_sub_unsigned(total) } else { i64::try_from(total).ok() }
}

/// A time, as Go reads RFC 3339.
pub(crate) fn time(text: &str) -> Result<Timestamp, String> {
    let bytes = text.as_bytes();
    let form = bytes.len() >= 20
        && bytes.iter().take(19).enumerate().all(|(at, byte)| match at {
            4 | 7 => *byte == b'-',
            10 => *byte == b'T',
            13 | 16 => *byte == b':',
            _ => byte.is_ascii_digit(),
        });
    let zone = text.get(19..).map(|rest| match rest.strip_prefix('.') {
        Some(rest) => rest.trim_start_matches(|c: char| c.is_ascii_digit()),
        None => rest,
    });
    let zone = zone.is_some_and(|zone| zone == "Z" || (zone.len() == 6 && zone.as_bytes()[3] == b':'));
    let read = text.parse().ok().filter(|_| form && zone);
    read.ok_or_else(|| format!("'{text}' is not a time: write it as 2026-01-31T00:00:00Z"))
}

/// A quantity (`k8s.io/apimachinery/pkg/api/resource`).
pub(crate) fn quantity(text: &str) -> Result<(), String> {
    let plain = text.trim();
    let unsigned = plain.strip_prefix(['-', '+']).unwrap_or(plain);
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let number = number.bytes().any(|byte| byte.is_ascii_digit()) && number.matches('.').count() < 2;
    let exponent = suffix.strip_prefix(['e', 'E']).is_some_and(|one| {
        let digits = one.strip_prefix(['-', '+']).unwrap_or(one);
        !digits.is_empty() && one.parse::<i32>().is_ok()
    });
    let units = ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    if number && (units.contains(&suffix) || exponent) {
        return Ok(());
    }
    Err(format!("'{text}' is not a quantity: write it as 512Mi, 0.5 or 100m"))
}

/// An address as Kubernetes reads it, which lets octets begin with zeros.
pub(crate) fn address(text: &str) -> Option<IpAddr> {
    text.parse().ok().or_else(|| sloppy(text)?.parse().ok())
}

/// A network as Kubernetes reads it.
pub(crate) fn network(text: &str) -> Option<IpNet> {
    let (host, length) = text.split_once('/')?;
    if length.is_empty() || !length.bytes().all(|byte| byte.is_ascii_digit()) || length.len() > 3 {
        return None;
    }
    IpNet::new(address(host)?, length.parse().ok()?).ok()
}

/// IPv4 with the zeros in front of its octets away.
fn sloppy(text: &str) -> Option<String> {
    let octet = |part: &str| {
        let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| Some(part.trim_start_matches('0')).filter(|rest| !rest.is_empty()).unwrap_or("0").to_owned())
    };
    let octets: Option<Vec<_>> = text.split('.').map(octet).collect();
    Some(octets?.join("."))
}

/// A DNS name as objects have it (`IsDNS1123Subdomain`).
pub(crate) fn is_subdomain(text: &str) -> bool {
    let label = |label: &str| {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        !label.is_empty() && label.bytes().all(plain) && !label.starts_with('-') && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

/// Host and port of `host:port`, `[v6]:port` or a host alone (kubeadm's `ParseHostPort`).
pub(crate) fn host_port(text: &str) -> Result<(&str, Option<u16>), String> {
    let (host, port) = split(text).unwrap_or((text, ""));
    let port = match port {
        "" => None,
        port => match port.parse::<u16>() {
            Ok(number) if number > 0 && port.bytes().all(|byte| byte.is_ascii_digit()) => Some(number),
            _ => return Err(format!("'{port}' is not a port")),
        },
    };
    if address(host).is_some() || is_subdomain(host) {
        return Ok((host, port));
    }
    Err(format!("'{host}' is neither an address nor a DNS name in lower case"))
}

/// Go's `net.SplitHostPort`.
pub(crate) fn split(text: &str) -> Option<(&str, &str)> {
    let (host, port) = text.rsplit_once(':')?;
    let plain = |text: &str| !text.contains(['[', ']']);
    match host.strip_prefix('[') {
        Some(inner) => {
            let inner = inner.strip_suffix(']')?;
            (plain(inner) && plain(port)).then_some((inner, port))
        }
        None => (!host.contains(':') && plain(host) && plain(port)).then_some((host, port)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_go() {
        for (text, seconds) in
            [("4m0s", 240.0), ("1.5h", 5400.0), ("-1m", -60.0), (".5s", 0.5), ("0", 0.0), ("1h0.5m", 3630.0)]
        {
            assert!((duration(text).unwrap().as_secs_f64() - seconds).abs() < 1e-9, "{text}");
        }
        for text in ["", "4", "4 m", "1d", "P1D", "1h 30m", "abc", ".", "-", "1.s.", "9223372036855s", "h"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn endpoints_are_those_of_kubeadm() {
        for (text, read) in [
            ("api.test", ("api.test", None)),
            ("api.test:443", ("api.test", Some(443))),
            ("[fd00::1]:443", ("fd00::1", Some(443))),
            ("fd00::1", ("fd00::1", None)),
            ("010.0.0.1", ("010.0.0.1", None)),
        ] {
            assert_eq!(host_port(text), Ok(read), "{text}");
        }
        for text in ["API.test", "api.test:0", "api.test:http", "api.test:65536", "a_b", "", ":443", "[fd00::1]", "a b"]
        {
            assert!(host_port(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_and_quantities() {
        assert!(time("2026-01-31T00:00:00Z").is_ok() && time("2026-01-31T00:00:00.5+02:00").is_ok());
        for text in ["2026-01-31", "2026-01-31 00:00:00Z", "2026-13-31T00:00:00Z", "2026-01-31t00:00:00z", "now"] {
            assert!(time(text).is_err(), "{text}");
        }
        for text in ["1", "0.5", "512Mi", "1e3", "-5m", ".5", "5."] {
            assert!(quantity(text).is_ok(), "{text}");
        }
        for text in ["", "Mi", "1 Mi", "1mi", "1.2.3", "1e", "e3"] {
            assert!(quantity(text).is_err(), "{text}");
        }
    }
}

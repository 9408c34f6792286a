//! `seaworthy pki expiry`: when each certificate ends, in the forms that people's tools read.

use std::fmt::Write as _;

use anstream::eprintln;
use jiff::Timestamp;
use seaworthy_checks::pki::Facts;
use seaworthy_checks::pki::expiry::{Embedded, Expiry, KubeadmLine};
use serde_json::{Value, json};

use super::table::table;
use crate::fault::Fault;

/// The longest time, in seconds, that kubeadm counts: a `time.Duration` of Go holds nanoseconds in 64 bits, and stays there.
const LONGEST: i64 = i64::MAX / 1_000_000_000;

/// `364d`, `9y`, as kubeadm writes it; `expired` where that is over.
fn residual(until: Timestamp, now: Timestamp) -> String {
    match until.as_second() - now.as_second() {
        past if past < 0 => "expired".to_owned(),
        seconds if seconds < 86_400 => format!("{}h", seconds / 3600),
        seconds if seconds < 2 * 365 * 86_400 => format!("{}d", seconds / 86_400),
        seconds => format!("{}y", seconds / (365 * 86_400)),
    }
}

/// Says on standard error which files should be in the list and are not.
pub(super) fn warn(facts: &Facts) {
    let mut all: Vec<_> = facts.lost().map(|lost| &lost.why).chain(&facts.unread).collect();
    all.sort_unstable();
    all.dedup();
    for why in all {
        eprintln!("not listed: {why}");
    }
}

pub(super) fn text(facts: &Facts, now: Timestamp) -> String {
    let mut all = facts.expiries();
    all.sort_by_key(|one| one.certificate.not_after);
    let mut rows = vec![["EXPIRES", "LEFT", "SUBJECT", "FILE", "ROLE"].map(str::to_owned).to_vec()];
    rows.extend(all.iter().map(|one| {
        vec![
            one.certificate.not_after.strftime("%Y-%m-%d %H:%M UTC").to_string(),
            residual(one.certificate.not_after, now),
            one.certificate.subject.to_string(),
            one.file.to_owned(),
            one.roles.join(", "),
        ]
    }));
    table(&rows)
}

pub(super) fn json(facts: &Facts, now: Timestamp) -> String {
    let all: Vec<Value> = facts
        .expiries()
        .iter()
        .map(|one| {
            json!({
                "file": one.file,
                "roles": one.roles,
                "subject": one.certificate.subject.to_string(),
                "issuer": one.certificate.issuer.to_string(),
                "serialNumber": one.certificate.serial.to_string(),
                "sha256": one.certificate.fingerprint.to_string(),
                "notBefore": one.certificate.not_before,
                "notAfter": one.certificate.not_after,
                "secondsLeft": one.certificate.not_after.as_second() - now.as_second(),
                "ca": one.certificate.is_ca(),
            })
        })
        .collect();
    pretty(&Value::Array(all))
}

/// The object that `kubeadm certs check-expiration -o json` prints, member by member.
///
/// # Errors
/// Where a certificate is there and cannot be understood, or a CA is missing: kubeadm fails there, too, and prints no object.
pub(super) fn kubeadm(facts: &Facts, now: Timestamp) -> Result<String, Fault> {
    let all = facts.kubeadm_expiration();
    if !all.broken.is_empty() {
        return Err(Fault::ours(format!("as kubeadm does, nothing is listed: {}", all.broken.join("; ")))
            .hint("-o text and -o json list what can be read"));
    }
    let line = |line: &KubeadmLine| {
        let mut object = serde_json::Map::new();
        // Whole seconds that are left, not the difference of whole seconds.
        let left = line.until.map_or(0, |until| until.duration_since(now).as_secs().clamp(-LONGEST, LONGEST));
        object.insert("name".to_owned(), line.name.into());
        object.insert("expirationDate".to_owned(), json!(line.until));
        object.insert("residualTime".to_owned(), left.into());
        object.insert("externallyManaged".to_owned(), (line.external && line.until.is_some()).into());
        if let (Some(ca), Some(_)) = (line.ca, line.until) {
            object.insert("caName".to_owned(), ca.into());
        }
        object.insert("missing".to_owned(), line.until.is_none().into());
        Value::Object(object)
    };
    let value = json!({
        "kind": "CertificateExpirationInfo",
        "apiVersion": "output.kubeadm.k8s.io/v1alpha3",
        "certificates": all.certificates.iter().map(line).collect::<Vec<_>>(),
        "certificateAuthorities": all.authorities.iter().map(line).collect::<Vec<_>>(),
    });
    // Four blanks, as kubeadm has it.
    let mut out = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
    let written = serde::Serialize::serialize(&value, &mut serializer);
    debug_assert!(written.is_ok(), "a value is always written");
    Ok(String::from_utf8_lossy(&out).into_owned() + "\n")
}

/// Metrics with the names and labels of x509-certificate-exporter, so that its dashboards work.
pub(super) fn prometheus(facts: &Facts, now: Timestamp) -> String {
    let all = facts.expiries();
    let labels = labels(&all);
    let mut out = String::new();
    type Metric = (&'static str, &'static str, fn(&Expiry<'_>, Timestamp) -> i64);
    let metrics: [Metric; 5] = [
        ("x509_cert_not_before", "When the certificate begins, seconds since the epoch", |one, _| {
            one.certificate.not_before.as_second()
        }),
        ("x509_cert_not_after", "When the certificate ends, seconds since the epoch", |one, _| {
            one.certificate.not_after.as_second()
        }),
        ("x509_cert_expired", "1 if the certificate has expired", |one, now| {
            i64::from(one.certificate.not_after < now)
        }),
        ("x509_cert_expires_in_seconds", "How long the certificate still lasts", |one, now| {
            one.certificate.not_after.as_second() - now.as_second()
        }),
        ("x509_cert_valid_since_seconds", "How long the certificate has been valid", |one, now| {
            now.as_second() - one.certificate.not_before.as_second()
        }),
    ];
    for (name, help, value) in metrics {
        // Writing to a string does not fail.
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge");
        for (one, labels) in all.iter().zip(&labels) {
            let _ = writeln!(out, "{name}{{{labels}}} {}", value(one, now));
        }
    }
    let _ = writeln!(
        out,
        "# HELP x509_read_errors Files of the PKI that are missing, cannot be read, or hold something else\n# TYPE x509_read_errors gauge\nx509_read_errors {}",
        facts.read_errors()
    );
    out
}

/// The labels of each certificate. Prometheus takes no two series of the same labels, and CAs that succeed each other may
/// have one name and one serial number; those, and only those, get x509-certificate-exporter's `discriminator`.
fn labels(all: &[Expiry<'_>]) -> Vec<String> {
    let plain: Vec<_> = all.iter().map(plain_labels).collect();
    let several = |labels: &String| plain.iter().filter(|other| *other == labels).count() > 1;
    let discriminated = |(one, labels): (&Expiry<'_>, &String)| match several(labels) {
        true => format!("{labels},discriminator=\"{}\"", &one.certificate.fingerprint.to_string()[..8]),
        false => labels.clone(),
    };
    all.iter().zip(&plain).map(discriminated).collect()
}

fn plain_labels(one: &Expiry<'_>) -> String {
    let certificate = one.certificate;
    let mut all = vec![
        ("filename", one.file.rsplit('/').next().unwrap_or(one.file).to_owned()),
        ("filepath", one.file.to_owned()),
        ("serial_number", decimal(&certificate.serial.0)),
        ("subject_CN", certificate.subject.common_name().unwrap_or_default().to_owned()),
        ("subject_O", certificate.subject.organizations().collect::<Vec<_>>().join(",")),
        ("issuer_CN", certificate.issuer.common_name().unwrap_or_default().to_owned()),
    ];
    let embedded = one.embedded.map(|embedded| match embedded {
        Embedded::Cluster(name) => ("cluster", name),
        Embedded::User(name) => ("user", name),
    });
    if let Some((kind, name)) = embedded {
        all.extend([("embedded_kind", kind.to_owned()), ("embedded_key", name.to_owned())]);
    }
    let quoted = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let pairs = all.iter().filter(|(_, value)| !value.is_empty());
    pairs.map(|(label, value)| format!("{label}=\"{}\"", quoted(value))).collect::<Vec<_>>().join(",")
}

/// A number in big-endian bytes, in decimal digits.
fn decimal(bytes: &[u8]) -> String {
    let mut digits = vec![0_u8];
    for &byte in bytes {
        let mut carry = u32::from(byte);
        for digit in &mut digits {
            let value = u32::from(*digit) * 256 + carry;
            *digit = u8::try_from(value % 10).unwrap_or(0);
            carry = value / 10;
        }
        while carry > 0 {
            digits.push(u8::try_from(carry % 10).unwrap_or(0));
            carry /= 10;
        }
    }
    digits.iter().rev().map(|digit| char::from(b'0' + digit)).collect()
}

pub(super) fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serial_numbers_are_decimal() {
        assert_eq!(decimal(&[]), "0");
        assert_eq!(decimal(&[1, 0]), "256");
        assert_eq!(decimal(&u64::MAX.to_be_bytes()), u64::MAX.to_string());
    }

    #[test]
    fn what_is_left_is_written_as_kubeadm_does() {
        let at = |second| Timestamp::from_second(second).unwrap();
        for (until, left) in [(-1, "expired"), (3_600, "1h"), (364 * 86_400, "364d"), (9 * 365 * 86_400, "9y")] {
            assert_eq!(residual(at(until), at(0)), left);
        }
    }
}

//! `seaworthy pki expiry`: when each certificate ends, in the forms that people's tools read.

use jiff::Timestamp;
use seaworthy_checks::pki::Facts;
use seaworthy_checks::pki::expiry::KubeadmLine;
use serde_json::{Value, json};

use super::table::table;
use crate::fault::Fault;

/// The longest time, in seconds, that kubeadm counts: a `time.Duration` of Go holds nanoseconds in 64 bits, and stays
/// there.
const LONGEST: i64 = i64::MAX / 1_000_000_000;

/// What is left as kubeadm writes it (apimachinery, `duration.HumanDuration`); `expired` where that is over.
fn residual(until: Timestamp, now: Timestamp) -> String {
    let seconds = until.as_second() - now.as_second();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let both = |large: i64, unit: &str, small: i64, of: &str| {
        if small == 0 { format!("{large}{unit}") } else { format!("{large}{unit}{small}{of}") }
    };
    match seconds {
        ..0 => "expired".to_owned(),
        0..120 => format!("{seconds}s"),
        _ if minutes < 10 => both(minutes, "m", seconds % 60, "s"),
        _ if minutes < 180 => format!("{minutes}m"),
        _ if hours < 8 => both(hours, "h", minutes % 60, "m"),
        _ if hours < 48 => format!("{hours}h"),
        _ if hours < 24 * 8 => both(days, "d", hours % 24, "h"),
        _ if days < 2 * 365 => format!("{days}d"),
        _ if days < 8 * 365 => both(days / 365, "y", days % 365, "d"),
        _ => format!("{}y", days / 365),
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
/// Where a certificate is there and cannot be understood, or a CA is missing: kubeadm fails there, too, and prints no
/// object.
pub(super) fn kubeadm(facts: &Facts, now: Timestamp) -> Result<String, Fault> {
    let all = facts.kubeadm_expiration(now);
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

pub(super) fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_written_as_kubeadm_does() {
        let at = |second| Timestamp::from_second(second).unwrap();
        for (until, left) in [
            (-1, "expired"),
            (0, "0s"),
            (119, "119s"),
            (125, "2m5s"),
            (3_600, "60m"),
            (4 * 3_600, "4h"),
            (4 * 3_600 + 60, "4h1m"),
            (36 * 3_600, "36h"),
            (50 * 3_600, "2d2h"),
            (364 * 86_400, "364d"),
            (3 * 365 * 86_400, "3y"),
            (9 * 365 * 86_400, "9y"),
        ] {
            assert_eq!(residual(at(until), at(0)), left);
        }
    }
}

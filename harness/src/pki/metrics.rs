//! `seaworthy pki expiry -o prometheus`: metrics with the names and labels of x509-certificate-exporter 4, so that
//! its dashboards and alerts work.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::Timestamp;
use seaworthy_checks::pki::Facts;
use seaworthy_checks::pki::expiry::{Embedded, Expiry};
use seaworthy_checks::pki::x509::{Name, known};

/// How many errors of each source kind and reason have been met.
pub(super) type Errors = BTreeMap<(&'static str, &'static str), u64>;

/// The kinds of sources, and whether they are kubeconfigs.
const KINDS: [(&str, bool); 2] = [("file", false), ("kubeconfig", true)];
/// The name of the one source of each kind.
const SOURCE: &str = "pki";

/// Adds the errors of a look at the PKI: the exporter's alert is on their increase, so that what stays missing keeps
/// counting.
pub(super) fn count(facts: &Facts, errors: &mut Errors) {
    for error in facts.source_errors() {
        *errors.entry((if error.kubeconfig { KINDS[1].0 } else { KINDS[0].0 }, error.reason)).or_default() += 1;
    }
}

pub(super) fn text(facts: &Facts, now: Timestamp, errors: &Errors) -> String {
    let all = facts.expiries();
    let labels = labels(&all);
    let mut out = String::new();
    type Metric = (&'static str, &'static str, fn(&Expiry<'_>, Timestamp) -> i64);
    let metrics: [Metric; 5] = [
        ("x509_cert_not_before", "Start of validity, in seconds since the epoch", |one, _| {
            one.certificate.not_before.as_second()
        }),
        ("x509_cert_not_after", "End of validity, in seconds since the epoch", |one, _| {
            one.certificate.not_after.as_second()
        }),
        ("x509_cert_expired", "1 if the certificate has expired", |one, now| {
            i64::from(one.certificate.not_after < now)
        }),
        ("x509_cert_expires_in_seconds", "Seconds until the end of validity", |one, now| {
            one.certificate.not_after.as_second() - now.as_second()
        }),
        ("x509_cert_valid_since_seconds", "Seconds since the start of validity", |one, now| {
            now.as_second() - one.certificate.not_before.as_second()
        }),
    ];
    // Writing to a string does not fail.
    for (name, help, value) in metrics {
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge");
        for (one, labels) in all.iter().zip(&labels) {
            let _ = writeln!(out, "{name}{{{labels}}} {}", value(one, now));
        }
    }
    let failed = facts.source_errors();
    let name = "x509_cert_error";
    let _ = writeln!(out, "# HELP {name} 1 if the file holds no certificate that can be read\n# TYPE {name} gauge");
    for labels in &labels {
        let _ = writeln!(out, "{name}{{{labels}}} 0");
    }
    let mut files: Vec<_> = failed.iter().filter_map(|error| error.file.as_deref()).collect();
    files.sort_unstable();
    files.dedup();
    for file in files {
        let labels = pairs(&[("filename", base(file).to_owned()), ("filepath", file.to_owned())]);
        let _ = writeln!(out, "{name}{{{labels}}} 1");
    }
    lists(facts, now, &mut out);
    sources(facts, &all, errors, &mut out);
    out
}

/// The metrics of revocation lists.
fn lists(facts: &Facts, now: Timestamp, out: &mut String) {
    let lists = facts.store.iter().filter_map(|file| Some((file.path.as_str(), file.contents.known()?)));
    let lists = lists.flat_map(|(path, contents)| contents.revocations.iter().map(move |(_, list)| (path, list)));
    let lists: Vec<_> = lists
        .map(|(path, list)| {
            let mut all = vec![("filename", base(path).to_owned()), ("filepath", path.to_owned())];
            all.extend(of_name(&list.issuer, &ISSUER));
            (pairs(&all), list.this_update, list.next_update)
        })
        .collect();
    if lists.is_empty() {
        return;
    }
    let mut gauge = |name: &str, help: &str, value: &dyn Fn(Timestamp, Timestamp) -> i64| {
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} gauge");
        for (labels, this, next) in &lists {
            let _ = writeln!(out, "{name}{{{labels}}} {}", value(*this, next.unwrap_or(Timestamp::MAX)));
        }
    };
    gauge("x509_crl_this_update", "When the list was issued", &|this, _| this.as_second());
    gauge("x509_crl_next_update", "When the next list is due", &|_, next| next.as_second());
    gauge("x509_crl_stale", "1 if the next list is overdue", &|_, next| i64::from(next < now));
}

/// The metrics of the two sources, and of this program.
fn sources(facts: &Facts, all: &[Expiry<'_>], errors: &Errors, out: &mut String) {
    let mut family = |name: &str, kind: &str, help: &str, rows: Vec<(String, u64)>| {
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in rows {
            let _ = writeln!(out, "{name}{{{labels}}} {value}");
        }
    };
    let labels = |kind: &str| format!("source_kind=\"{kind}\",source_name=\"{SOURCE}\"");
    let bundles = |kubeconfig: bool| {
        let mut files: Vec<_> =
            all.iter().filter(|one| one.embedded.is_some() == kubeconfig).map(|one| one.file).collect();
        files.dedup();
        files.len() as u64
    };
    // What nobody could look into may hold any number of certificates.
    let up = |kubeconfig: bool| {
        let blind = !facts.discovery.unread.is_empty() || !facts.discovery.untold.is_empty();
        u64::from(kubeconfig || !blind)
    };
    let each = |value: &dyn Fn(bool) -> u64| KINDS.iter().map(|(kind, is)| (labels(kind), value(*is))).collect();
    family("x509_source_up", "gauge", "1 if the source could be looked at as a whole", each(&up));
    family("x509_source_bundles", "gauge", "Files that certificates were read from", each(&bundles));
    let counted =
        errors.iter().map(|((kind, reason), count)| (format!("{},reason=\"{reason}\"", labels(kind)), *count));
    family(
        "x509_source_errors_total",
        "counter",
        "Files that are missing, cannot be read or hold no certificate",
        counted.collect(),
    );
    let version = format!("version=\"{}\"", env!("CARGO_PKG_VERSION"));
    family("x509_exporter_build_info", "gauge", "The version of seaworthy", vec![(version, 1)]);
}

/// The labels of each certificate. Prometheus takes no two series of the same labels, and CAs that succeed each other
/// may have one name and one serial number; those, and only those, get x509-certificate-exporter's `discriminator`.
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
    let place = match one.file.strip_prefix("csr/") {
        Some(request) => [("csr_name", request.to_owned()), ("filepath", String::new())],
        None => [("filename", base(one.file).to_owned()), ("filepath", one.file.to_owned())],
    };
    let mut all = place.to_vec();
    all.push(("serial_number", decimal(&certificate.serial.0)));
    all.extend(of_name(&certificate.subject, &SUBJECT));
    all.extend(of_name(&certificate.issuer, &ISSUER));
    let embedded = one.embedded.map(|embedded| match embedded {
        Embedded::Cluster(name) => ("cluster", name),
        Embedded::User(name) => ("user", name),
    });
    if let Some((kind, name)) = embedded {
        all.extend([("embedded_kind", kind.to_owned()), ("embedded_key", name.to_owned())]);
    }
    pairs(&all)
}

/// The labels of the members of a name, and the members.
type Members = [(&'static str, &'static [u8]); 6];

const SUBJECT: Members = [
    ("subject_C", known::COUNTRY),
    ("subject_ST", known::STATE),
    ("subject_L", known::LOCALITY),
    ("subject_O", known::ORGANIZATION),
    ("subject_OU", known::ORGANIZATIONAL_UNIT),
    ("subject_CN", known::COMMON_NAME),
];
const ISSUER: Members = [
    ("issuer_C", known::COUNTRY),
    ("issuer_ST", known::STATE),
    ("issuer_L", known::LOCALITY),
    ("issuer_O", known::ORGANIZATION),
    ("issuer_OU", known::ORGANIZATIONAL_UNIT),
    ("issuer_CN", known::COMMON_NAME),
];

fn of_name(name: &Name, members: &Members) -> impl Iterator<Item = (&'static str, String)> {
    members.map(|(label, oid)| (label, name.values(oid).collect::<Vec<_>>().join(","))).into_iter()
}

fn base(file: &str) -> &str {
    file.rsplit('/').next().unwrap_or(file)
}

/// Labels as Prometheus reads them; an empty one is none.
fn pairs(all: &[(&str, String)]) -> String {
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
    fn labels_are_quoted() {
        let all = [("a", "x\"y\\z\n".to_owned()), ("b", String::new())];
        assert_eq!(pairs(&all), r#"a="x\"y\\z\n""#);
    }
}

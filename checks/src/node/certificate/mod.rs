//! Certificates of the node in time: whether they are valid now, and for how long.
//!
//! Who signed what, and whether it fits together, is the PKI suite's.

use x509_parser::certificate::X509Certificate;
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer as _;

use crate::check::{Check, Judgement, Remedy, Severity};
use crate::conclusion::{Breach, Conclusion};
use crate::construct::file;
use crate::fact::Fact;
use crate::host::{FileKind, Host};
use crate::node::View;

const PKI: [&str; 2] = ["/etc/kubernetes/pki", "/etc/kubernetes/pki/etcd"];
const CLIENT: &str = "/var/lib/kubelet/pki/kubelet-client-current.pem";
const DOCS: &str = "https://kubernetes.io/docs/tasks/administer-cluster/kubeadm/kubeadm-certs/";
const DAY: i64 = 86_400;

/// When a certificate is valid: seconds since the epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Validity {
    /// Its file.
    pub path: String,
    /// First second.
    pub from: i64,
    /// Last second.
    pub until: i64,
}

/// What is known of certificates.
#[derive(Debug)]
pub struct Facts {
    /// The validity of each that is there.
    validity: Fact<Vec<Validity>>,
}

impl Facts {
    pub(super) fn read(host: &dyn Host) -> Self {
        Self { validity: read(host) }
    }
}

fn read(host: &dyn Host) -> Fact<Vec<Validity>> {
    let mut paths = Vec::new();
    for folder in PKI {
        match host.list(folder) {
            Fact::Known(entries) => {
                let certificates = entries
                    .into_iter()
                    .filter(|entry| entry.kind != FileKind::Directory && entry.name.ends_with(".crt"));
                paths.extend(certificates.map(|entry| format!("{folder}/{}", entry.name)));
            }
            Fact::Absent(_) => {}
            other => return other.map(|_| Vec::new()),
        }
    }
    let mut found = Vec::new();
    for path in paths.iter().map(String::as_str).chain([CLIENT]) {
        match host.read(path).parse(|bytes| validity(path, &bytes)) {
            Fact::Known(all) => found.extend(all),
            Fact::Absent(_) => {}
            other => return other,
        }
    }
    Fact::Known(found)
}

/// The validity of every certificate of a PEM file; blocks of another kind, such as keys, are passed over.
fn validity(path: &str, bytes: &[u8]) -> Result<Vec<Validity>, String> {
    let mut all = Vec::new();
    for block in Pem::iter_from_buffer(bytes) {
        let block = block.map_err(|error| format!("{path} is no PEM: {error}"))?;
        if block.label == "CERTIFICATE" {
            let (_, certificate) = X509Certificate::from_der(&block.contents)
                .map_err(|error| format!("{path} holds no certificate: {error}"))?;
            let span = certificate.validity();
            let (from, until) = (span.not_before.timestamp(), span.not_after.timestamp());
            all.push(Validity { path: path.to_owned(), from, until });
        }
    }
    if all.is_empty() { Err(format!("{path} holds no certificate")) } else { Ok(all) }
}

fn judge(view: &View<'_>, breach: impl Fn(&Validity, i64) -> Option<Breach>) -> Judgement {
    let all = view.facts.certificate.validity.need("certificates")?;
    if all.is_empty() {
        return Ok(Conclusion::not_applicable("the node has no certificates: it has not joined a cluster"));
    }
    let now = view.profile.now.as_second();
    let breaches = all.iter().filter_map(|one| Some(breach(one, now)?.at(&one.path, None))).collect();
    Ok(Conclusion::from_breaches(breaches).because("certificates", all.len().to_string()))
}

fn date(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |time| time.to_string())
}

/// A certificate of ours for the examples: valid from 2024-01-01 until 2034-01-01, P-256, without any name.
const EXAMPLE: &str = include_str!("valid.pem");

fn at(profile: &mut crate::profile::Profile, year: i64) {
    // Middle of the year, near enough.
    let second = (year - 1970) * 31_556_952 + 15_778_476;
    profile.now = jiff::Timestamp::from_second(second).unwrap_or(profile.now);
}

/// The family's checks.
pub(super) fn checks() -> Vec<Check> {
    let renew = || {
        Remedy::new("Renew it, then restart what holds it.")
            .command("kubeadm certs renew all")
            .command("crictl pods --label tier=control-plane -q | xargs crictl stopp")
    };
    vec![
        Check::new("node.certificate.valid", "every certificate of the node is valid now", |view| {
            judge(view, |one, now| {
                if now > one.until {
                    let breach = Breach::new(&one.path, format!("{} has expired", one.path));
                    Some(breach.found(date(one.until)).wanted("a later end"))
                } else if now < one.from {
                    let breach = Breach::new(&one.path, format!("{} is not valid yet: is the clock right?", one.path));
                    Some(breach.found(date(one.from)).wanted("an earlier begin"))
                } else {
                    None
                }
            })
        })
        .severity(Severity::Critical)
        .label("certificate")
        .alias("x509: certificate has expired or is not yet valid")
        .page("With an expired certificate a component is refused by all others. kubeadm's leaf certificates are valid for a year.", "Reads the certificates under /etc/kubernetes/pki and the kubelet's client certificate.")
        .basis("Certificate management with kubeadm", DOCS)
        .remedy(renew())
        .good([file("/etc/kubernetes/pki/apiserver.crt", EXAMPLE), file(CLIENT, EXAMPLE)])
        .bad([file("/etc/kubernetes/pki/apiserver.crt", EXPIRED), file(CLIENT, EXAMPLE)])
        .example_profile(|profile| at(profile, 2026)),
        Check::new("node.certificate.lasts", "no certificate of the node expires within 30 days", |view| {
            judge(view, |one, now| {
                let left = one.until - now;
                (0..30 * DAY).contains(&left).then(|| {
                    let breach = Breach::new(&one.path, format!("{} expires in {} days", one.path, left / DAY));
                    breach.found(date(one.until)).wanted("more than 30 days")
                })
            })
        })
        .severity(Severity::Medium)
        .label("certificate")
        .alias("check-expiration")
        .page("kubeadm renews certificates when it upgrades the control plane; a cluster that is not upgraded for a year ends.", "Reads the certificates under /etc/kubernetes/pki and the kubelet's client certificate.")
        .basis("Certificate management with kubeadm", DOCS)
        .remedy(renew())
        .good([file("/etc/kubernetes/pki/apiserver.crt", EXAMPLE), file(CLIENT, EXAMPLE)])
        .bad([file("/etc/kubernetes/pki/apiserver.crt", SOON), file(CLIENT, EXAMPLE)])
        .example_profile(|profile| at(profile, 2026)),
        Check::new("node.certificate.parses", "every certificate of the node can be read", |view| {
            Ok(match &view.facts.certificate.validity {
                Fact::Known(all) if all.is_empty() => Conclusion::not_applicable("the node has no certificates"),
                Fact::Known(all) => Conclusion::holds().because("certificates", all.len().to_string()),
                Fact::Malformed(why) => Conclusion::breach(Breach::new("certificate", why)),
                Fact::Absent(why) | Fact::Unreadable(why) | Fact::NotGathered(why) => Conclusion::undetermined(why),
            })
        })
        .label("certificate")
        .alias("failed to load certificate")
        .page("What cannot be read cannot be shown to anyone: the component that should do so does not start.", "Parses the PEM blocks and the certificates in them.")
        .basis("Certificate management with kubeadm", DOCS)
        .remedy(Remedy::new("Have kubeadm write it again.").command("kubeadm init phase certs all"))
        .good([file("/etc/kubernetes/pki/apiserver.crt", EXAMPLE), file(CLIENT, EXAMPLE)])
        .bad([file("/etc/kubernetes/pki/apiserver.crt", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")]),
    ]
}

/// Expired on 2025-01-01.
const EXPIRED: &str = include_str!("expired.pem");
/// Expires 2026-07-15: within 30 days of the middle of 2026.
const SOON: &str = include_str!("soon.pem");

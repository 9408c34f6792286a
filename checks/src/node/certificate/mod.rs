//! Certificates of the node in time: whether they are valid now, and for how long.
//!
//! Who signed what, and whether it fits together, is the PKI suite's.

use crate::check::{Check, Judgment, Remedy, Severity};
use crate::conclusion::{Breach, Conclusion};
use crate::construct::file;
use crate::fact::Fact;
use crate::host::{FileKind, Host};
use crate::node::View;
use crate::pki::renew_kubelet_client;
use crate::pki::x509::pem::{Content, Document};

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
    /// Each file that is there: the validity of what it holds.
    files: Fact<Vec<(String, Fact<Vec<Validity>>)>>,
}

impl Facts {
    pub(super) fn read(host: &dyn Host) -> Self {
        Self { files: read(host) }
    }
}

fn read(host: &dyn Host) -> Fact<Vec<(String, Fact<Vec<Validity>>)>> {
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
    paths.push(CLIENT.to_owned());
    let files = paths.into_iter().map(|path| {
        let held = host.read(&path).parse(|bytes| validity(&path, &bytes));
        (path, held)
    });
    Fact::Known(files.filter(|(_, held)| !matches!(held, Fact::Absent(_))).collect())
}

/// The validity of every certificate of a PEM file, of those that Go sees; blocks of another kind, such as keys, are
/// passed over.
fn validity(path: &str, bytes: &[u8]) -> Result<Vec<Validity>, String> {
    let mut all = Vec::new();
    let document = Document::read(bytes);
    let seen = document.blocks.iter().filter(|block| !block.skipped_by_go);
    for block in seen.filter(|block| block.label.as_deref() == Some("CERTIFICATE")) {
        match &block.content {
            Content::Certificate(one) => {
                let (from, until) = (one.not_before.as_second(), one.not_after.as_second());
                all.push(Validity { path: path.to_owned(), from, until });
            }
            Content::BrokenCertificate(why) => return Err(format!("{path} line {}: {why}", block.line)),
            _ => return Err(format!("{path} line {}: the block is not a certificate", block.line)),
        }
    }
    if all.is_empty() { Err(format!("{path} holds no certificate")) } else { Ok(all) }
}

fn judge(view: &View<'_>, breach: impl Fn(&Validity, i64) -> Option<Breach>) -> Judgment {
    let files = view.facts.certificate.files.need("certificates")?;
    if files.is_empty() {
        return Ok(Conclusion::not_applicable("the node has no certificates: it has not joined a cluster"));
    }
    let now = view.profile.now.as_second();
    let known = || files.iter().filter_map(|(_, held)| held.known()).flatten();
    let breaches: Vec<_> = known().filter_map(|one| Some(breach(one, now)?.at(&one.path, None))).collect();
    // A file that cannot be read leaves the others judged.
    if breaches.is_empty()
        && let Some((path, held)) = files.iter().find(|(_, held)| held.known().is_none())
    {
        held.need(path)?;
    }
    Ok(Conclusion::from_breaches(breaches).because("certificates", known().count().to_string()))
}

/// With the way to renew it, where that is not kubeadm's.
fn with_remedy(breach: Breach, one: &Validity, expired: bool) -> Breach {
    if one.path == CLIENT { breach.remedy(renew_kubelet_client(None, expired)) } else { breach }
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
                    Some(with_remedy(breach.found(date(one.until)).wanted("a later end"), one, true))
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
        .page(
            "With an expired certificate a component is refused by all others. kubeadm's leaf certificates are valid \
             for a year.",
            "Reads the certificates under /etc/kubernetes/pki and the kubelet's client certificate.",
        )
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
                    with_remedy(breach.found(date(one.until)).wanted("more than 30 days"), one, false)
                })
            })
        })
        .severity(Severity::Medium)
        .label("certificate")
        .alias("check-expiration")
        .page(
            "kubeadm renews certificates when it upgrades the control plane; a cluster that is not upgraded for a year \
             ends.",
            "Reads the certificates under /etc/kubernetes/pki and the kubelet's client certificate.",
        )
        .basis("Certificate management with kubeadm", DOCS)
        .remedy(renew())
        .good([file("/etc/kubernetes/pki/apiserver.crt", EXAMPLE), file(CLIENT, EXAMPLE)])
        .bad([file("/etc/kubernetes/pki/apiserver.crt", SOON), file(CLIENT, EXAMPLE)])
        .example_profile(|profile| at(profile, 2026)),
        Check::new("node.certificate.parses", "every certificate of the node can be read", |view| {
            let files = view.facts.certificate.files.need("certificates")?;
            if files.is_empty() {
                return Ok(Conclusion::not_applicable("the node has no certificates"));
            }
            let broken = files.iter().filter_map(|(path, held)| match held {
                Fact::Malformed(why) if path == CLIENT => {
                    Some(Breach::new(path, why).at(path, None).remedy(renew_kubelet_client(None, true)))
                }
                Fact::Malformed(why) => Some(Breach::new(path, why).at(path, None)),
                _ => None,
            });
            let broken: Vec<_> = broken.collect();
            if broken.is_empty()
                && let Some((path, held)) = files.iter().find(|(_, held)| held.known().is_none())
            {
                held.need(path)?;
            }
            Ok(Conclusion::from_breaches(broken).because("files", files.len().to_string()))
        })
        .label("certificate")
        .alias("failed to load certificate")
        .page(
            "What cannot be read cannot be shown to anyone: the component that should do so does not start.",
            "Parses the PEM blocks and the certificates in them.",
        )
        .basis("Certificate management with kubeadm", DOCS)
        .remedy(Remedy::new("Have kubeadm write it again.").command("kubeadm init phase certs all"))
        .good([file("/etc/kubernetes/pki/apiserver.crt", EXAMPLE), file(CLIENT, EXAMPLE)])
        .bad([file(
            "/etc/kubernetes/pki/apiserver.crt",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        )]),
    ]
}

/// Expired on 2025-01-01.
const EXPIRED: &str = include_str!("expired.pem");
/// Expires 2026-07-15: within 30 days of the middle of 2026.
const SOON: &str = include_str!("soon.pem");

//! Time: what has expired, what will, and what lasts too long.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::public::is_public;
use super::*;
use crate::pki::facts::Credential;
use crate::pki::store::Held;
use crate::pki::x509::Certificate;

const DAY: i64 = 86_400;
/// kubeadm backdates by five minutes, so that clocks that lag a little accept a certificate.
const SKEW: i64 = 300;

fn days(seconds: i64) -> i64 {
    seconds.div_euclid(DAY)
}

fn breach(file: &str, held: &Held, message: String) -> Breach {
    Breach::new(file, message).at(file, Some(held.line).filter(|line| *line > 0))
}

fn left(certificate: &Certificate, now: Timestamp) -> i64 {
    certificate.not_after.as_second() - now.as_second()
}

/// A span of time in words, in the largest unit of which there are two, but for a last day that is told in hours.
fn span(seconds: i64) -> String {
    match seconds {
        ..120 => "less than 2 minutes".to_owned(),
        120..7_200 => format!("{} minutes", seconds / 60),
        7_200..172_800 => format!("{} hours", seconds / 3_600),
        _ => format!("{} days", seconds / DAY),
    }
}

fn lasts(certificate: &Certificate) -> i64 {
    certificate.not_after.as_second() - certificate.not_before.as_second()
}

fn renew() -> Remedy {
    Remedy::new("Renew it, then restart the component that uses it; `seaworthy pki plan` has the order.")
        .command("seaworthy pki plan")
}

/// How the kubelet gets a new client certificate, which kubeadm does not renew.
pub(crate) fn renew_kubelet_client(node: Option<&str>, expired: bool) -> Remedy {
    let node = node.unwrap_or("NODE");
    if !expired {
        return Remedy::new(
            "The kubelet renews this certificate itself while rotateCertificates is on and it reaches the API server. \
             Restart the kubelet: containers keep running, and it requests a new certificate after 70 to 90 % of the \
             old one's life. Its log says why it has not.",
        )
        .command("systemctl restart kubelet")
        .command("journalctl -u kubelet | grep -i certificate");
    }
    Remedy::new(
        "The kubelet can no longer renew this certificate, and kubeadm certs renew does not touch it. On a \
         control-plane node write a new kubelet.conf; copy it here and restart the kubelet, which requests a new \
         certificate with it. Then let kubelet.conf name kubelet-client-current.pem again. Joining the node anew does \
         the same.",
    )
    .command(format!("kubeadm kubeconfig user --org system:nodes --client-name system:node:{node} > kubelet.conf"))
    .command("mv /var/lib/kubelet/pki/kubelet-client-* /root/")
    .command("install -m 600 kubelet.conf /etc/kubernetes/kubelet.conf")
    .command("systemctl restart kubelet")
}

fn rotate() -> Remedy {
    Remedy::new("Rotate the CA: add the new one to every bundle first, then issue, then take the old one out.")
        .command("seaworthy pki plan")
}

/// Whom a claim is about. What somebody presents is judged as such, even if it says that it is a CA: `openssl req
/// -x509` says so of whatever it makes.
#[derive(Clone, Copy)]
enum Whom {
    All,
    /// What is presented, and what is no CA.
    Leaves,
    /// CAs that somebody trusts: a kubelet's own, which signs its serving certificate once, is none.
    Authorities,
}

/// A claim about every certificate with a role of this kind.
fn each(
    id: &str,
    title: &str,
    whom: Whom,
    judge: impl Fn(&Certificate, &View<'_>) -> Option<String> + Send + Sync + 'static,
) -> Check {
    claim(id, title, Of::Certificates, "certificates", move |view, tally| {
        let trusted: Vec<_> = view
            .facts
            .bundles
            .iter()
            .flat_map(|one| &one.certificates)
            .map(|held| held.certificate.fingerprint)
            .collect();
        for (file, held) in view.facts.certificates() {
            let leaf = !held.certificate.is_ca() || view.facts.presents(&held.certificate);
            let meant = match whom {
                Whom::All => true,
                Whom::Leaves => leaf,
                Whom::Authorities => !leaf && trusted.contains(&held.certificate.fingerprint),
            };
            if !meant {
                continue;
            }
            tally.look();
            if let Some(message) = judge(&held.certificate, view) {
                let message = format!("{file}: {} {message}", held.certificate.subject);
                let found = held.certificate.not_after.to_string();
                let shown =
                    |one: &&Credential| one.leaf().fingerprint == held.certificate.fingerprint && one.file == file;
                let breach = breach(file, held, message).found(found);
                let expired = left(&held.certificate, view.profile.now) < 0;
                tally.breach(match view.facts.credentials.iter().find(shown) {
                    // The kubelet renews it while it is valid.
                    Some(one) if one.role == Role::KubeletClient && !expired => {
                        breach.remedy(renew_kubelet_client(None, false))
                    }
                    Some(one) => breach.remedy(remedy::renew(one, view)),
                    None => breach,
                });
            }
        }
    })
    .label("validity")
}

/// The family's checks.
pub(super) fn checks() -> Vec<Check> {
    vec![
        each("pki.validity.expired", "no certificate has expired", Whom::Leaves, |one, view| {
            let left = left(one, view.profile.now);
            (left < 0).then(|| format!("expired {} ago", span(-left)))
        })
        .severity(Severity::Critical)
        .alias("PKI-V01")
        .alias("x509: certificate has expired or is not yet valid")
        .page(
            "With an expired certificate a component is refused by all others. kubeadm's are valid for a year.",
            "Compares the end of every certificate with a role, those in kubeconfigs included, with the time of the \
             audit. What somebody presents with a key is judged here even if it says that it is a CA; other CAs are \
             judged by pki.chain.ca-expired.",
        )
        .basis("Certificate management with kubeadm", KUBEADM)
        .remedy(renew()),
        each(
            "pki.validity.soon",
            "no certificate expires within the days that --expiry-warn says",
            Whom::Leaves,
            |one, view| {
                let due = view.profile.lifetimes.is_due(one.not_before, one.not_after, view.profile.now);
                due.then(|| format!("expires in {}", span(left(one, view.profile.now))))
            },
        )
        .alias("PKI-V02")
        .alias("check-expiration")
        .page(
            "What expires within 30 days expires before the next upgrade. Certificates that are meant to live for less \
             than 150 days are judged by what of their life is left: less than a fifth.",
            "Compares the end of every certificate with a role with the time of the audit and --expiry-warn.",
        )
        .basis("Certificate management with kubeadm", KUBEADM)
        .remedy(renew()),
        each(
            "pki.validity.later",
            "no certificate has used up most of its life without being renewed",
            Whom::Leaves,
            |one, view| {
                let (left, warn) = (left(one, view.profile.now), i64::from(view.profile.lifetimes.warn) * DAY);
                let most = left * 10 < lasts(one) * 3;
                (most && lasts(one) > 3 * warn && (warn..3 * warn).contains(&left))
                    .then(|| format!("expires in {} days, and most of its life is over", days(left)))
            },
        )
        .severity(Severity::Medium)
        .alias("PKI-V02")
        .page(
            "The kubelet renews its own after 70 to 90 % of their life. What is not renewed by then has nobody who \
             does so.",
            "Looks for certificates that end within three times the days of --expiry-warn, 90, and have less than \
             three tenths of their life left.",
        )
        .basis("Certificate management with kubeadm", KUBEADM)
        .remedy(renew()),
        each("pki.validity.not-yet", "every certificate is valid already", Whom::All, |one, view| {
            let ahead = one.not_before.as_second() - view.profile.now.as_second();
            (ahead > SKEW).then(|| format!("is valid from {} on: is the clock right?", one.not_before))
        })
        .alias("PKI-V03")
        .alias("current time is before")
        .page(
            "Everybody refuses a certificate of the future. A clock that was wrong when it was issued, or is wrong \
             now, is the usual cause.",
            "Compares the begin of every certificate with the time of the audit, with a margin of five minutes.",
        )
        .basis("RFC 5280 section 4.1.2.5: validity", RFC5280)
        .remedy(Remedy::new("Set the clock, then issue it again.").command("timedatectl status")),
        each("pki.validity.long", "no certificate lasts much longer than it must", Whom::Leaves, |one, view| {
            // k3s, minikube and Kubespray go beyond, and say so.
            (lasts(one) > i64::from(view.profile.lifetimes.longest) * DAY)
                .then(|| format!("lasts {} days", days(lasts(one))))
        })
        .severity(Severity::Low)
        .alias("PKI-V04")
        .page(
            "No component but etcd looks at revocation lists: a certificate that leaks is good until it expires, and \
             that may be a century.",
            "Looks for certificates that are presented, or are no CA, and last longer than --longest says, 13 months.",
        )
        .basis("PKI certificates and requirements", CERTIFICATES)
        .remedy(Remedy::new("Issue it for a year, and have it renewed by a machine.")),
        each("pki.validity.ca-long", "no CA lasts longer than ten years", Whom::Authorities, |one, view| {
            // How long the world's CAs last is not the cluster's to say.
            let long = lasts(one) > i64::from(view.profile.lifetimes.ca_longest) * DAY;
            (long && !is_public(&one.public_key)).then(|| format!("lasts {} days", days(lasts(one))))
        })
        .severity(Severity::Low)
        .alias("PKI-V04")
        .page(
            "A CA of a hundred years is never rotated, so that nobody knows how when they must. Its end has to be \
             written as GeneralizedTime, which old parsers misread.",
            "Looks for CAs that last longer than --ca-longest says, ten years, but public ones.",
        )
        .basis("RFC 5280 section 4.1.2.5: validity", RFC5280)
        .remedy(rotate()),
        each(
            "pki.validity.ca-soon",
            "no CA expires within the days that --ca-expiry-warn says",
            Whom::Authorities,
            |one, view| {
                let left = left(one, view.profile.now);
                (0..i64::from(view.profile.lifetimes.ca_warn) * DAY)
                    .contains(&left)
                    .then(|| format!("expires in {} days", days(left)))
            },
        )
        .alias("PKI-V05")
        .alias("kubeadm#1784")
        .page(
            "In its last year a CA issues certificates that outlive it, and its rotation takes every node and every \
             kubeconfig.",
            "Compares the end of every CA with the time of the audit and --ca-expiry-warn.",
        )
        .basis("Certificate management with kubeadm", KUBEADM)
        .remedy(rotate()),
        claim("pki.validity.cliff", "not all CAs expire on the same day", Of::Certificates, "CAs", |view, tally| {
            // One command makes all leaves of a node, so that those end together by design; that all CAs do is judged
            // where the day is near enough to plan for.
            let mut by_day: BTreeMap<i64, Vec<(&str, &Held)>> = BTreeMap::new();
            let mut all = 0;
            let trusted = view
                .facts
                .bundles
                .iter()
                .flat_map(|bundle| bundle.certificates.iter().map(|held| (bundle.file.as_str(), held)));
            let mut seen = std::collections::BTreeSet::new();
            for (file, held) in trusted.filter(|(_, held)| held.certificate.is_ca()) {
                if !seen.insert(held.certificate.public_key.sha256) {
                    continue;
                }
                tally.look();
                all += 1;
                let left = left(&held.certificate, view.profile.now);
                if (0..2 * i64::from(view.profile.lifetimes.ca_warn) * DAY).contains(&left) {
                    by_day.entry(days(held.certificate.not_after.as_second())).or_default().push((file, held));
                }
            }
            for group in by_day.values().filter(|group| group.len() == all && all > 1) {
                let (file, held) = group[0];
                let message = format!("all {all} CAs expire on {}", held.certificate.not_after.strftime("%Y-%m-%d"));
                tally.breach(breach(file, held, message));
            }
        })
        .severity(Severity::Medium)
        .label("validity")
        .alias("PKI-V06")
        .page(
            "On that day nothing is left to mend anything with. Rotating one after the other needs them to end apart.",
            "Compares the days on which CAs end, where that is within twice the days of --ca-expiry-warn, two years.",
        )
        .basis("Certificate management with kubeadm", KUBEADM)
        .remedy(rotate()),
    ]
}

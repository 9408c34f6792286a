//! Claims about TLS Secrets: certificate and key belong together, the chain is in order, it lasts, and it is for the
//! hosts that Ingresses serve by it. A cluster may have a hundred thousand of them: each claim goes through them once.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::{claim, need, tell};
use crate::check::{Remedy, Severity};
use crate::conclusion::Breach;
use crate::host::{Disorder, Leaf, NoPair, Pairing, TlsSecret, TlsSecrets};
use crate::pki::live::{day, matches};
use crate::pki::tally::Tally;
use crate::pki::{Check, View};
use crate::profile::Profile;

const SECRETS: &str = "https://kubernetes.io/docs/concepts/configuration/secret/";
const INGRESS: &str = "https://kubernetes.io/docs/concepts/services-networking/ingress/";

fn subject(secret: &TlsSecret) -> String {
    format!("Secret {}/{}", secret.namespace, secret.name)
}

/// Goes through all TLS Secrets; `fault` says what does not hold of one.
fn each(view: &View<'_>, tally: &mut Tally, fault: impl Fn(&TlsSecret, Option<&Leaf>) -> Option<Breach>) {
    let Some(TlsSecrets { leaves, secrets }) = need(&view.facts.api.tls_secrets, tally).map(Arc::as_ref) else {
        return;
    };
    let faults = secrets.iter().filter_map(|secret| fault(secret, secret.leaf.and_then(|leaf| leaves.get(leaf))));
    tell("TLS Secrets", secrets.len(), faults, tally);
}

fn pair(view: &View<'_>, tally: &mut Tally) {
    each(view, tally, |secret, _| {
        let fault = match &secret.pairing {
            Pairing::Pair => return None,
            Pairing::Mismatch => None,
            Pairing::Broken(why @ (NoPair::Certificate(_) | NoPair::Key(_))) => Some(why),
        };
        let subject = subject(secret);
        let message = match fault {
            None => format!("the key in {subject} is not that of its certificate"),
            Some(why) => format!("{subject} cannot be served: {why}"),
        };
        Some(Breach::new(&subject, message))
    });
}

fn order(view: &View<'_>, tally: &mut Tally) {
    each(view, tally, |secret, leaf| {
        let Disorder { place, subject: found, issuer } = leaf?.disorder.as_deref()?;
        let subject = subject(secret);
        let message =
            format!("the chain in {subject} is out of order: certificate {place} is not issued by the one behind it");
        Some(Breach::new(&subject, message).found(found).wanted(format!("{issuer} behind it")))
    });
}

fn expired(view: &View<'_>, tally: &mut Tally) {
    let now = view.profile.now;
    each(view, tally, |secret, leaf| {
        let leaf = leaf.filter(|leaf| leaf.not_after < now)?;
        let subject = subject(secret);
        Some(Breach::new(&subject, format!("the certificate in {subject} has expired")).found(day(leaf.not_after)))
    });
}

fn lasts(view: &View<'_>, tally: &mut Tally) {
    let Profile { lifetimes, now, .. } = view.profile;
    each(view, tally, |secret, leaf| {
        let leaf = leaf?;
        lifetimes.is_due(leaf.not_before, leaf.not_after, *now).then(|| {
            let left = leaf.not_after.duration_since(*now);
            let subject = subject(secret);
            let message = format!("the certificate in {subject} expires in {} days", left.as_hours() / 24);
            Breach::new(&subject, message).found(day(leaf.not_after)).wanted(format!(
                "more than {} days",
                lifetimes.spare(leaf.not_after.duration_since(leaf.not_before)).as_hours() / 24
            ))
        })
    });
}

fn hosts(view: &View<'_>, tally: &mut Tally) {
    let Some(ingresses) = need(&view.facts.api.ingresses, tally) else { return };
    let Some(TlsSecrets { leaves, secrets }) = need(&view.facts.api.tls_secrets, tally).map(Arc::as_ref) else {
        return;
    };
    let by_name: HashMap<_, _> = secrets.iter().map(|secret| ((&*secret.namespace, &*secret.name), secret)).collect();
    for ingress in ingresses {
        // Without a name the controller's own certificate is served.
        for tls in ingress.tls.iter().filter(|tls| !tls.secret_name.is_empty()) {
            tally.look();
            let subject = format!("Ingress {}/{}", ingress.namespace, ingress.name);
            let Some(secret) = by_name.get(&(&*ingress.namespace, &*tls.secret_name)) else {
                let message =
                    format!("{subject} serves by Secret {}, which is not there or of another type", tls.secret_name);
                tally.breach(Breach::new(&subject, message));
                continue;
            };
            let Some(leaf) = secret.leaf.and_then(|leaf| leaves.get(leaf)) else { continue };
            let missing: Vec<_> =
                tls.hosts.iter().filter(|host| !matches(&leaf.dns, host)).map(String::as_str).collect();
            if !missing.is_empty() {
                let message = format!("{subject} serves {} by a certificate that is not for it", missing.join(", "));
                tally.breach(Breach::new(&subject, message).found(leaf.dns.join(", ")).wanted(missing.join(", ")));
            }
        }
    }
}

/// TLS Secrets that a distribution's API server itself serves by, and reads through the API (k3s and RKE2:
/// dynamiclistener).
const OF_SERVERS: [&str; 2] = ["k3s-serving", "rke2-serving"];

fn used(view: &View<'_>, tally: &mut Tally) {
    let api = &view.facts.api;
    let (secrets, uses, ingresses) =
        (need(&api.tls_secrets, tally), need(&api.secret_uses, tally), need(&api.ingresses, tally));
    // With one of the lists unread, any Secret may be in it.
    let (Some(secrets), Some(uses), Some(ingresses)) = (secrets, uses, ingresses) else { return };
    let served: HashSet<_> = ingresses
        .iter()
        .flat_map(|ingress| ingress.tls.iter().map(|tls| (&*ingress.namespace, &*tls.secret_name)))
        .collect();
    let unused = secrets.secrets.iter().filter(|secret| {
        let (namespace, name) = (&*secret.namespace, &*secret.name);
        let of_server = namespace == "kube-system" && OF_SERVERS.contains(&name);
        !of_server && !served.contains(&(namespace, name)) && !uses.has(namespace, name)
    });
    let breaches = unused.map(|secret| {
        let subject = subject(secret);
        let message = format!("no Ingress, Gateway, pod or template names {subject}");
        Breach::new(&subject, message)
    });
    tell("TLS Secrets", secrets.secrets.len(), breaches, tally);
}

/// The claims about TLS Secrets.
pub(super) fn checks() -> Vec<Check> {
    let again = || {
        Remedy::new("Make the Secret again from certificate, chain and key.").command(
            "kubectl create secret tls NAME --cert=FILE --key=FILE --dry-run=client -o yaml | kubectl apply -f -",
        )
    };
    vec![
        claim("pki.api.tls-pair", "certificate and key of every TLS Secret belong together", "TLS Secrets", pair)
            .alias("PKI-K10")
            .alias("tls: private key does not match public key")
            .page(
                "Nobody can serve it: an ingress controller falls back to a certificate of its own, or does not start.",
                "Compares the public half of tls.key with the key in tls.crt, and keeps neither.",
            )
            .basis("Secrets: TLS Secrets", SECRETS)
            .remedy(again()),
        claim("pki.api.tls-order", "the certificates of every TLS Secret are in order", "TLS Secrets", order)
            .severity(Severity::Medium)
            .alias("PKI-K10")
            .page(
                "Go and browsers sort them; OpenSSL before 1.1, Java and gRPC of old refuse.",
                "Compares the issuer of each certificate in tls.crt with the subject of the next.",
            )
            .basis(
                "RFC 5246 section 7.4.2: each following certificate must directly certify the one preceding it",
                "https://www.rfc-editor.org/rfc/rfc5246",
            )
            .remedy(again()),
        claim("pki.api.tls-expired", "no TLS Secret holds an expired certificate", "TLS Secrets", expired)
            .alias("PKI-K10")
            .alias("x509_cert_expired")
            .page(
                "Clients refuse it; where nobody uses it, it hides those that matter.",
                "Compares the end of the first certificate in tls.crt with the time.",
            )
            .basis("Secrets: TLS Secrets", SECRETS)
            .remedy(again()),
        claim("pki.api.tls-lasts", "every TLS Secret is renewed in time", "TLS Secrets", lasts)
            .severity(Severity::Medium)
            .alias("PKI-K10")
            .alias("x509_cert_not_after")
            .page(
                "Whatever renews it should have done so by now.",
                "Compares the end of each with the time and --expiry-warn; of what lives for less than 150 days a \
                 fifth must be left.",
            )
            .basis("Secrets: TLS Secrets", SECRETS)
            .remedy(again()),
        claim("pki.api.tls-hosts", "every Ingress has a certificate for its hosts", "Ingresses with TLS", hosts)
            .severity(Severity::Medium)
            .alias("PKI-K10")
            .page(
                "Browsers refuse a certificate for another name.",
                "Compares the hosts of each Ingress's tls with the DNS names of the certificate in the Secret that it \
                 names.",
            )
            .basis("Ingress: TLS", INGRESS)
            .remedy(Remedy::new("Have the host added to the certificate, or name the right Secret.")),
        claim("pki.api.tls-used", "every TLS Secret is named by something that could serve by it", "TLS Secrets", used)
            .severity(Severity::Info)
            .alias("PKI-K10")
            .alias("unused secret")
            .page(
                "A key that nobody needs is one that can be stolen, and its certificate expires with an alarm that \
                 means nothing. What controllers read through the API without being told by one of these looks unused, \
                 too: the CAs of cert-manager's issuers, routes of Traefik, Istio and OpenShift. Waive those.",
                "Looks for the name in Ingresses, in Gateways, and in volumes, variables and --default-ssl-certificate \
                 of pods and of the templates in Deployments, StatefulSets, DaemonSets, ReplicaSets, Jobs and \
                 CronJobs. Where one of these lists cannot be read, nothing is said.",
            )
            .basis("Secrets: TLS Secrets", SECRETS)
            .remedy(
                Remedy::new("Find out who made it, and delete it if nobody reads it.")
                    .command("kubectl -n NAMESPACE get secret NAME -o jsonpath='{.metadata.managedFields[*].manager}'"),
            ),
    ]
}

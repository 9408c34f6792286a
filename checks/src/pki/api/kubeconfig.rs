//! Claims about the kubeconfig that the user named, and the server that it leads to.

use super::{Endpoint, certificates, claim, need};
use crate::check::{Remedy, Severity};
use crate::conclusion::Breach;
use crate::host::kubeconfig::Facts as Config;
use crate::pki::live::{Server, Target, day};
use crate::pki::tally::Tally;
use crate::pki::{Check, View, trust};

const ORGANIZE: &str = "https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/";
const KUBEADM: &str = "https://kubernetes.io/docs/tasks/administer-cluster/kubeadm/kubeadm-certs/";

/// Where a server's URL leads; `None` where it is no URL with https.
pub(crate) fn target(url: &str) -> Option<Target> {
    let rest = url.strip_prefix("https://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let bare = |host: &str| host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
        _ => (authority, 443),
    };
    (!host.is_empty()).then(|| Target { host: bare(host), port, server: Server::Apiserver })
}

/// The endpoint that the kubeconfig leads to, where it presented a certificate: one that hangs up, as a balancer does
/// that finds no server, says nothing of any CA.
pub(super) fn server<'a>(view: &View<'a>) -> Option<&'a Endpoint> {
    let config = view.facts.api.kubeconfig.known()?;
    let target = target(&config.server)?;
    let called = config.server_name.as_ref().unwrap_or(&target.host);
    view.facts.live.of(Server::Apiserver).find(|endpoint| {
        endpoint.host.as_ref() == Some(called)
            && endpoint.address.port() == target.port
            && endpoint.presented.known().is_some_and(|presented| presented.leaf().is_some())
    })
}

fn config<'a>(view: &View<'a>, tally: &mut Tally) -> Option<&'a Config> {
    need(&view.facts.api.kubeconfig, tally)
}

fn ca(view: &View<'_>, tally: &mut Tally) {
    let Some(config) = config(view, tally) else { return };
    let Some(pem) = config.ca.as_ref().filter(|_| !config.insecure) else { return };
    let subject = format!("context {}", config.context);
    let roots = certificates(pem);
    if roots.is_empty() {
        tally.look();
        tally.breach(Breach::new(&subject, format!("the CA of {subject} holds no certificate that can be read")));
        return;
    }
    let Some(endpoint) = server(view) else {
        tally.unknown(format!("{} did not present a certificate", config.server));
        return;
    };
    let Some(presented) = endpoint.presented.known() else { return };
    tally.look();
    if let Err(why) = trust::verify(&presented.chain, &roots, view) {
        let message = format!("the CA of {subject} is not that of the server that it leads to: {why}");
        let found = roots.iter().map(|root| root.subject.to_string()).collect::<Vec<_>>().join("; ");
        let wanted = presented.leaf().map_or_else(String::new, |leaf| format!("the CA {}", leaf.issuer));
        tally.breach(Breach::new(&subject, message).found(found).wanted(wanted));
    }
}

fn client(view: &View<'_>, tally: &mut Tally) {
    let Some(config) = config(view, tally) else { return };
    let subject = format!("context {}", config.context);
    for fault in &config.faults {
        tally.look();
        tally.breach(Breach::new(&subject, fault));
    }
    let Some(pem) = &config.certificate else { return };
    tally.look();
    let Some(leaf) = certificates(pem).into_iter().next() else {
        tally.breach(Breach::new(&subject, format!("the client certificate of {subject} cannot be read")));
        return;
    };
    if leaf.not_after < view.profile.now {
        let message = format!("the client certificate of {subject} has expired");
        tally.breach(Breach::new(&subject, message).found(day(leaf.not_after)).wanted("a day to come"));
    }
    match &config.key {
        Some(key) if *key != leaf.public_key.sha256.to_string() => {
            tally.breach(Breach::new(&subject, format!("the key of {subject} is not that of its client certificate")));
        }
        None => tally.unknown(format!("the key of {subject} could not be read")),
        Some(_) => {}
    }
    let request = server(view).and_then(|endpoint| endpoint.presented.known()?.request.as_ref());
    if let Some(request) = request.filter(|request| !request.authorities.is_empty())
        && !request.authorities.iter().any(|name| **name == *leaf.issuer.der)
    {
        let message = format!("the client certificate of {subject} is by a CA whose clients the server does not take");
        let wanted = request.authorities.iter().map(|name| crate::pki::live::dn(name)).collect::<Vec<_>>().join("; ");
        tally.breach(Breach::new(&subject, message).found(leaf.issuer.to_string()).wanted(wanted));
    }
}

fn insecure(view: &View<'_>, tally: &mut Tally) {
    let Some(config) = config(view, tally) else { return };
    tally.look();
    let subject = format!("context {}", config.context);
    let mut breach = |message: String, found: &str| tally.breach(Breach::new(&subject, message).found(found));
    if config.insecure {
        breach(
            format!("{subject} does not verify the server: anyone on the way can be it"),
            "insecure-skip-tls-verify: true",
        );
    }
    if config.server.starts_with("http://") {
        breach(format!("{subject} speaks to the server without TLS"), &config.server);
    }
    if config.login {
        breach(format!("{subject} logs in by a password, which no API server since 1.19 takes"), "username");
    }
}

/// The claims about the kubeconfig.
pub(super) fn checks() -> Vec<Check> {
    vec![
        claim(
            "pki.api.kubeconfig-ca",
            "the kubeconfig's CA is that of the server that it leads to",
            "CA in the kubeconfig",
            ca,
        )
        .severity(Severity::Critical)
        .alias("PKI-K01")
        .alias("x509: certificate signed by unknown authority")
        .page(
            "When a CA is replaced, kubeconfigs keep the old one: `kubeadm certs renew` renews the client certificate \
             in them and leaves the CA as it is.",
            "Builds a path from what the server presents to the certificates in certificate-authority-data.",
        )
        .basis("Organizing cluster access using kubeconfig files", ORGANIZE)
        .remedy(
            Remedy::new("Write the current CA into it, once it is verified on another way that it is the right one.")
                .command(
                    "kubectl config set-cluster NAME --certificate-authority=/etc/kubernetes/pki/ca.crt --embed-certs",
                ),
        ),
        claim(
            "pki.api.kubeconfig-client",
            "the kubeconfig's client certificate is whole, valid, and by a CA that counts",
            "client certificate in the kubeconfig",
            client,
        )
        .severity(Severity::Critical)
        .alias("PKI-K02")
        .alias("tls: private key does not match public key")
        .page(
            "kubeadm takes client certificates of kubeconfigs as they are; a wrong one shows when it is needed.",
            "Compares certificate and key, the certificate's end and the time, its issuer and the CAs that the server \
             names.",
        )
        .basis("Certificate management with kubeadm", KUBEADM)
        .remedy(Remedy::new("Have it made again.").command("kubeadm kubeconfig user --client-name NAME --org GROUP")),
        claim(
            "pki.api.kubeconfig-insecure",
            "the kubeconfig verifies the server and speaks TLS to it",
            "kubeconfig",
            insecure,
        )
        .alias("PKI-K03")
        .alias("insecure-skip-tls-verify")
        .page(
            "Credentials go to whoever answers.",
            "Reads insecure-skip-tls-verify, the server's URL, and how the user logs in.",
        )
        .basis("Organizing cluster access using kubeconfig files", ORGANIZE)
        .remedy(Remedy::new("Name the CA instead.").command(
            "kubectl config set-cluster NAME --insecure-skip-tls-verify=false --certificate-authority=FILE \
             --embed-certs",
        )),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_lead_to_servers() {
        for (url, host, port) in [
            ("https://10.0.0.1:6443", "10.0.0.1", 6443),
            ("https://[fd00::1]:6443/x", "fd00::1", 6443),
            ("https://[fd00::1]", "fd00::1", 443),
            ("https://api.test/k8s/clusters/c1", "api.test", 443),
        ] {
            assert_eq!(target(url).map(|target| (target.host, target.port)), Some((host.to_owned(), port)), "{url}");
        }
        for url in ["http://10.0.0.1:8080", "10.0.0.1:6443", "https://", "https://a:b"] {
            assert_eq!(target(url), None, "{url}");
        }
    }
}

//! Plain text: etcd that serves anyone without TLS, whatever it is told of certificates.

use super::*;
use crate::pki::discover::{CommandLine, Component};
use crate::pki::settings::Place;

/// Flags by which etcd listens for clients and peers. Those for metrics serve no data.
const LISTENERS: [(&str, &str); 3] =
    [("listen-client-urls", "clients"), ("listen-client-http-urls", "clients"), ("listen-peer-urls", "peers")];

fn urls<'l>(line: &'l CommandLine, flag: &str) -> impl Iterator<Item = &'l str> {
    line.get(flag).unwrap_or_default().split(',').map(str::trim).filter(|url| !url.is_empty())
}

fn is_plain(url: &str) -> bool {
    url.split_once("://").is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case("http"))
}

fn is_local(url: &str) -> bool {
    match Place::of_url(url) {
        Some(Place::Address(address)) => address.is_loopback(),
        Some(Place::Name(name)) => name == "localhost",
        None => false,
    }
}

fn breach(line: &CommandLine, flag: &str, message: &str, url: &str) -> Breach {
    let place = line.place_of(flag);
    let wanted = format!("https://{}", url.split_once("://").map_or(url, |(_, rest)| rest));
    Breach::new(line.component.name(), format!("{place}: {message}")).found(url).wanted(wanted).at(place, None)
}

/// The family's checks.
pub(super) fn checks() -> Vec<Check> {
    vec![
        claim("pki.flag.etcd-plain", "etcd is reached over TLS alone", Of::Other, "command lines", |view, tally| {
            let discovery = &view.facts.discovery;
            let etcd = discovery.command(Component::Etcd);
            for (flag, who) in LISTENERS {
                let Some(line) = etcd else { continue };
                tally.look();
                for url in urls(line, flag).filter(|url| is_plain(url)) {
                    let message = format!(
                        "etcd listens for {who} on {url} (--{flag}) without TLS: it authenticates nobody there, and \
                         serves every Secret"
                    );
                    let found = breach(line, flag, &message, url);
                    // Whoever gets there is on the node already.
                    tally.breach(if is_local(url) { found.severity(Severity::High) } else { found });
                }
            }
            let serves_tls =
                etcd.is_some_and(|line| urls(line, "listen-client-urls").any(|url| url.starts_with("https://")));
            let Some(line) = discovery.command(Component::Apiserver).filter(|_| serves_tls) else { return };
            tally.look();
            for url in urls(line, "etcd-servers").filter(|url| is_plain(url)) {
                let message = format!("kube-apiserver connects to etcd at {url} without TLS, and etcd serves TLS");
                tally.breach(breach(line, "etcd-servers", &message, url));
            }
        })
        .severity(Severity::Critical)
        .label("flag")
        .alias("PKI-L06")
        .alias("Ignored key/cert files")
        .alias("Ignored client cert auth")
        .page(
            "etcd decides by the scheme of each URL: on http it ignores its certificate and --client-cert-auth, and \
             logs only a warning. Whoever reaches the port reads and writes the whole cluster.",
            "Reads --listen-client-urls, --listen-client-http-urls and --listen-peer-urls of etcd or its configuration \
             file, and --etcd-servers of the API server on the same node. A URL on a loopback address is high and not \
             critical; --listen-metrics-urls and Unix sockets, as k3s has one for kine, are not judged.",
        )
        .basis("etcd: transport security model", "https://etcd.io/docs/latest/op-guide/security/")
        .remedy(Remedy::new(
            "Write https in place of http in the flag, and in every client's list of endpoints. A member that is \
             reached by http from others must be changed on all of them.",
        )),
    ]
}

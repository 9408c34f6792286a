//! Claims about identities: nodes and their certificates, the names of the API server, the keys of service-account
//! tokens, and settings of Go that weaken all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ipnet::IpNet;
use serde::Deserialize;

use super::kubeconfig::server;
use super::{claim, need};
use crate::check::{Remedy, Severity};
use crate::conclusion::Breach;
use crate::pki::discover::Role;
use crate::pki::live::{Server, covers, day, names};
use crate::pki::tally::Tally;
use crate::pki::x509::{Certificate, Fingerprint};
use crate::pki::{Check, View};

const NODE: &str = "https://kubernetes.io/docs/reference/access-authn-authz/node/";

const PREFIX: &str = "system:node:";

/// The node that a certificate is of.
fn node_of(certificate: &Certificate) -> Option<&str> {
    certificate.subject.common_name()?.strip_prefix(PREFIX)
}

fn nodes(view: &View<'_>, tally: &mut Tally) {
    let Some(nodes) = need(&view.facts.api.nodes, tally) else { return };
    let known: BTreeSet<_> = nodes.iter().map(|node| node.name.as_str()).collect();
    let mut judge = |subject: String, certificate: &Certificate| {
        let Some(name) = node_of(certificate).filter(|_| certificate.not_after > view.profile.now) else { return };
        tally.look();
        if !known.contains(name) {
            let message = format!(
                "{subject} is valid until {} for node {name}, and there is no such node",
                day(certificate.not_after)
            );
            tally.breach(Breach::new(&subject, message).found(name).wanted("the name of a Node object"));
        }
    };
    for request in view.facts.api.requests.known().into_iter().flatten() {
        if let Some(certificate) = request.issued() {
            judge(format!("the certificate of request {}", request.name), &certificate);
        }
    }
    for endpoint in view.facts.live.of(Server::Kubelet) {
        if let Some(leaf) = endpoint.presented.known().and_then(|presented| presented.leaf()) {
            judge(format!("the certificate of {}", endpoint.title()), leaf);
        }
    }
}

/// What of kubeadm's ClusterConfiguration says which names the API server has.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ClusterConfiguration {
    control_plane_endpoint: String,
    api_server: ApiServer,
    networking: Networking,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ApiServer {
    #[serde(rename = "certSANs")]
    sans: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Networking {
    service_subnet: String,
    dns_domain: String,
}

fn sans(view: &View<'_>, tally: &mut Tally) {
    const SUBJECT: &str = "kube-system/kubeadm-config";
    let Some(config) = need(&view.facts.api.kubeadm, tally) else { return };
    let config: ClusterConfiguration = match serde_saphyr::from_str(config.configuration.as_deref().unwrap_or_default())
    {
        Ok(config) => config,
        Err(error) => return tally.unknown(format!("{SUBJECT}: {error}")),
    };
    let Some(leaf) = server(view).and_then(|endpoint| endpoint.presented.known()?.leaf()) else {
        return tally.unknown("the API server did not present a certificate");
    };
    tally.look();
    let endpoint =
        config.control_plane_endpoint.rsplit_once(':').map_or(&*config.control_plane_endpoint, |(host, _)| host);
    let endpoint = endpoint.trim_start_matches('[').trim_end_matches(']');
    let wanted: Vec<_> = config
        .api_server
        .sans
        .iter()
        .map(String::as_str)
        .chain(Some(endpoint).filter(|host| !host.is_empty()))
        .collect();
    let missing: Vec<_> = wanted.iter().copied().filter(|name| !covers_or_names(leaf, name)).collect();
    if !missing.is_empty() {
        let message = format!(
            "{SUBJECT} wants names in the API server's certificate that are not there: it was not made again since"
        );
        tally.breach(Breach::new(SUBJECT, message).found(names(leaf)).wanted(missing.join(", ")));
    }
    // What kubeadm adds by itself: names of the Service, of the node, and their addresses.
    let domain = if config.networking.dns_domain.is_empty() { "cluster.local" } else { &config.networking.dns_domain };
    let services: Vec<IpNet> =
        config.networking.service_subnet.split(',').filter_map(|net| net.trim().parse().ok()).collect();
    let api = &view.facts.api;
    // Control planes need not be nodes; then only their API servers say who they are.
    let Some(hosts) = need(&api.api_servers, tally) else { return };
    let Some(advertised) = need(&api.api_server_addresses, tally) else { return };
    let nodes = api.nodes.known().into_iter().flatten().flat_map(|node| {
        std::iter::once(node.name.as_str()).chain(node.addresses.iter().map(|address| address.address.as_str()))
    });
    let nodes: BTreeSet<_> = nodes.chain(hosts.iter().chain(advertised).map(String::as_str)).collect();
    let own = |name: &str| {
        let short = name.strip_suffix(domain).and_then(|name| name.strip_suffix('.')).unwrap_or(name);
        ["kubernetes", "kubernetes.default", "kubernetes.default.svc"].contains(&short)
            || nodes.contains(name)
            // Which host an API server is on is not known before 1.26; its name is a plain one.
            || (hosts.is_empty() && !name.contains(['.', ':']))
            || wanted.iter().any(|wanted| wanted.eq_ignore_ascii_case(name))
            || name.parse::<IpAddr>().is_ok_and(|address| services.iter().any(|net| net.contains(&address)))
    };
    let Some(alternative) = &leaf.extensions.subject_alt_names else { return };
    let all = alternative.dns.iter().cloned().chain(alternative.ips.iter().map(ToString::to_string));
    let surplus: Vec<_> = all.filter(|name| !own(name)).collect();
    if !surplus.is_empty() {
        let message = format!(
            "the API server's certificate has names that {SUBJECT} does not know: the next one will not have them"
        );
        tally.breach(Breach::new(SUBJECT, message).found(surplus.join(", ")).wanted("the same in apiServer.certSANs"));
    }
}

/// Is a name, which may have a star, in the certificate?
fn covers_or_names(leaf: &Certificate, name: &str) -> bool {
    let literal = leaf.extensions.subject_alt_names.iter().flat_map(|names| &names.dns);
    covers(leaf, name) || literal.into_iter().any(|own| own.eq_ignore_ascii_case(name))
}

fn jwks(view: &View<'_>, tally: &mut Tally) {
    const SUBJECT: &str = "/openid/v1/jwks";
    let Some(keys) = need(&view.facts.api.jwks, tally) else { return };
    tally.look();
    if keys.is_empty() {
        tally.breach(Breach::new(
            SUBJECT,
            "the API server publishes no key: nobody else can verify service-account tokens",
        ));
    }
    for key in keys.iter().filter(|key| key.kty == "RSA") {
        tally.look();
        let Ok(modulus) = URL_SAFE_NO_PAD.decode(&key.n) else {
            tally.breach(Breach::new(SUBJECT, format!("the modulus of key {} cannot be read", key.kid)));
            continue;
        };
        let bits = modulus.iter().skip_while(|byte| **byte == 0).count() * 8;
        if bits < 2048 {
            let message = format!("service-account tokens are signed by a key that is too short: {}", key.kid);
            tally.breach(
                Breach::new(SUBJECT, message)
                    .found(format!("RSA, {bits} bits"))
                    .wanted("RSA of 2048 bits or more, or ECDSA"),
            );
        }
    }
}

/// Does the API server verify tokens by the keys in this node's files?
fn token_files(view: &View<'_>, tally: &mut Tally) {
    let roles = [Role::ServiceAccountKey, Role::ServiceAccountPublicKeys];
    let mut keys: BTreeMap<Fingerprint, &str> = BTreeMap::new();
    for one in roles.into_iter().flat_map(|role| view.facts.discovery.of_role(role)) {
        let Some(contents) = view.facts.store.contents(&one.file) else { continue };
        for key in contents.keys.iter().map(|key| &key.public).chain(&contents.public_keys) {
            keys.entry(key.sha256).or_insert(&one.file);
        }
    }
    if keys.is_empty() {
        return;
    }
    let Some(published) = need(&view.facts.api.jwks, tally) else { return };
    for (key, file) in keys {
        tally.look();
        // The id of a key is the SHA-256 of its SubjectPublicKeyInfo (Kubernetes: pkg/serviceaccount,
        // keyIDFromPublicKey).
        let id = URL_SAFE_NO_PAD.encode(key.0);
        if !published.iter().any(|one| one.kid == id) {
            let message = format!(
                "the API server verifies no token by the key in {file}: it was not restarted since the file was \
                 replaced, or is of another cluster"
            );
            let known: Vec<_> = published.iter().map(|one| one.kid.as_str()).collect();
            tally.breach(Breach::new(file, message).at(file, None).found(known.join(", ")).wanted(id));
        }
    }
}

fn weakened(view: &View<'_>, tally: &mut Tally) {
    let Some(weakened) = need(&view.facts.api.weakened, tally) else { return };
    tally.look();
    for (setting, count) in
        weakened.iter().filter(|(name, _)| ["x509", "tls", "rsa"].iter().any(|part| name.starts_with(part)))
    {
        let message =
            format!("the API server got along only by the weakened setting {setting}: a later version will refuse");
        tally.breach(Breach::new(format!("GODEBUG {setting}"), message).found(format!("{count} times")).wanted("0"));
    }
}

/// The claims about identities.
pub(super) fn checks() -> Vec<Check> {
    vec![
        claim(
            "pki.api.node-names",
            "every node's certificate is of a node that is there",
            "certificates of nodes",
            nodes,
        )
        .severity(Severity::Medium)
        .alias("PKI-W02")
        .alias("PKI-R13")
        .page(
            "A certificate of a node that was removed still reads what that node might; a node under another name than \
             in its certificate is forbidden everything.",
            "Compares the names in certificates that were issued, and in those that kubelets serve, with the Node \
             objects.",
        )
        .basis("Using Node authorization", NODE)
        .remedy(Remedy::new(
            "Wipe what is left of the node (`kubeadm reset`), or name it as its certificate does \
             (--hostname-override).",
        )),
        claim(
            "pki.api.cert-sans",
            "the API server's certificate has the names that kubeadm's configuration wants",
            "ConfigMap kube-system/kubeadm-config",
            sans,
        )
        .severity(Severity::Medium)
        .alias("PKI-K12")
        .alias("certSANs")
        .page(
            "The next certificate that kubeadm makes has the names of its configuration; what was added by hand is \
             gone then.",
            "Compares certSANs and controlPlaneEndpoint with the names in what the API server presents.",
        )
        .basis(
            "kubeadm configuration v1beta4: APIServer",
            "https://kubernetes.io/docs/reference/config-api/kubeadm-config.v1beta4/",
        )
        .remedy(
            Remedy::new("Write them into the ConfigMap, or have the certificate made again.")
                .command("kubectl -n kube-system edit configmap kubeadm-config")
                .command(
                    "rm /etc/kubernetes/pki/apiserver.{crt,key} && kubeadm init phase certs apiserver --config FILE",
                ),
        ),
        claim(
            "pki.api.token-keys",
            "service-account tokens are signed by keys that are long enough",
            "keys of service-account tokens",
            jwks,
        )
        .alias("PKI-R17")
        .alias("PKI-R16")
        .alias("jwks")
        .page("Who finds the key makes tokens of any service account.", "Reads /openid/v1/jwks.")
        .basis(
            "Service account issuer discovery",
            "https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/",
        )
        .remedy(Remedy::new(
            "Make a new pair, name both public keys in --service-account-key-file until the last old token has ended, \
             and sign by the new one.",
        )),
        claim(
            "pki.api.token-files",
            "the API server verifies tokens by the keys in this node's files",
            "keys of service accounts",
            token_files,
        )
        .severity(Severity::Critical)
        .alias("PKI-R16")
        .alias("invalid bearer token")
        .page(
            "API servers and controller managers read these keys when they start. A token that one signs by a new key \
             is nobody's to another that still has the old ones.",
            "Compares the SHA-256 of each key in --service-account-key-file, --service-account-signing-key-file and \
             --service-account-private-key-file with the ids in /openid/v1/jwks.",
        )
        .basis(
            "Service account issuer discovery",
            "https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/",
        )
        .remedy(Remedy::new(
            "Have all nodes of the control plane name the old and the new public key in --service-account-key-file, \
             restart their API servers, and then sign by the new key.",
        )),
        claim(
            "pki.api.godebug",
            "the API server needs none of Go's weakened settings",
            "metrics of the API server",
            weakened,
        )
        .severity(Severity::Medium)
        .alias("PKI-L11")
        .alias("go_godebug_non_default_behavior")
        .page(
            "The settings go away: a certificate that needs one is refused by a later version of Kubernetes.",
            "Reads the counters go_godebug_non_default_behavior_*_events_total of /metrics.",
        )
        .basis("Go, backwards compatibility, and GODEBUG", "https://go.dev/doc/godebug")
        .remedy(Remedy::new(
            "Replace the certificate that needs it: SHA-1 (x509sha1), short RSA keys (rsa1024min), negative serial \
             numbers (x509negativeserial).",
        )),
    ]
}

//! Claims about CAs that are written into objects: those that pods get, those that extension API servers take clients
//! by, and those by which webhooks and aggregated API servers are verified.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::kubeconfig::{server, target};
use super::{Consumer, Consumers, Service, ask, certificates, claim, need};
use crate::check::{Remedy, Severity};
use crate::conclusion::Breach;
use crate::fact::Fact;
use crate::host::{ApiCall, Host};
use crate::pki::discover::{Component, Role};
use crate::pki::live::{Server, Target, covers, day, dn, names};
use crate::pki::tally::Tally;
use crate::pki::x509::{Certificate, Fingerprint};
use crate::pki::{Bundle, Check, View, trust};

const WEBHOOKS: &str = "https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/";
const AGGREGATION: &str = "https://kubernetes.io/docs/tasks/extend-kubernetes/configure-aggregation-layer/";

/// Reads who verifies servers by a bundle in an object.
pub(super) fn consumers(host: &dyn Host) -> Consumers {
    let mut found = Consumers::default();
    let services: Fact<Vec<Service>> = ask(host, ApiCall::Services);
    let addresses: BTreeMap<_, _> = services
        .known()
        .into_iter()
        .flatten()
        .filter_map(|service| Some(((&*service.namespace, &*service.name), service.addresses.first()?.as_str())))
        .filter(|(_, address)| *address != "None")
        .collect();
    let by_service = |service: &Value, server: Server| {
        let part = |name: &str| service[name].as_str().unwrap_or_default();
        let (namespace, name) = (part("namespace"), part("name"));
        let port = service["port"].as_u64().and_then(|port| u16::try_from(port).ok()).unwrap_or(443);
        let place =
            addresses.get(&(namespace, name)).map(|address| Target { host: (*address).to_owned(), port, server });
        (format!("{name}.{namespace}.svc"), place)
    };
    let by_config = |object: String, config: &Value, server: Server| {
        let (name, place) = match config["url"].as_str() {
            Some(url) => {
                let place = target(url).map(|target| Target { server, ..target });
                (place.as_ref().map_or_else(|| url.to_owned(), |place| place.host.clone()), place)
            }
            None => by_service(&config["service"], server),
        };
        Consumer { object, bundle: bundle(config), name, place, insecure: false, url: config["url"].is_string() }
    };
    for (call, kind) in [
        (ApiCall::ValidatingWebhooks, "ValidatingWebhookConfiguration"),
        (ApiCall::MutatingWebhooks, "MutatingWebhookConfiguration"),
    ] {
        for row in rows(host, call, &mut found.unread) {
            for webhook in row["webhooks"].as_array().into_iter().flatten() {
                let part = |value: &Value| value["name"].as_str().unwrap_or_default().to_owned();
                let object = format!("{kind}/{}, webhook {}", part(&row), part(webhook));
                found.all.push(by_config(object, &webhook["clientConfig"], Server::Webhook));
            }
        }
    }
    for row in rows(host, ApiCall::Conversions, &mut found.unread) {
        let config = &row["conversion"]["webhook"]["clientConfig"];
        if config.is_object() {
            let object = format!("CustomResourceDefinition/{}", row["name"].as_str().unwrap_or_default());
            found.all.push(by_config(object, config, Server::Webhook));
        }
    }
    for row in rows(host, ApiCall::ApiServices, &mut found.unread) {
        let spec = &row["spec"];
        if spec["service"].is_object() {
            let (name, place) = by_service(&spec["service"], Server::AggregatedApi);
            let object = format!("APIService/{}", row["name"].as_str().unwrap_or_default());
            let insecure = spec["insecureSkipTLSVerify"].as_bool().unwrap_or(false);
            found.all.push(Consumer { object, bundle: bundle(spec), name, place, insecure, url: false });
        }
    }
    found
}

fn rows(host: &dyn Host, call: ApiCall, unread: &mut Vec<String>) -> Vec<Value> {
    match ask(host, call) {
        Fact::Known(rows) => rows,
        Fact::Absent(_) => Vec::new(),
        Fact::Unreadable(why) | Fact::Malformed(why) | Fact::NotGathered(why) => {
            unread.push(why);
            Vec::new()
        }
    }
}

/// The bundle in an object, in PEM; what is no base64 is a bundle without certificates.
fn bundle(config: &Value) -> Option<String> {
    let encoded = config["caBundle"].as_str().filter(|text| !text.is_empty())?;
    Some(STANDARD.decode(encoded).map(|pem| String::from_utf8_lossy(&pem).into_owned()).unwrap_or_default())
}

fn each<'a>(view: &View<'a>, tally: &mut Tally) -> &'a [Consumer] {
    let consumers = &view.facts.api.consumers;
    consumers.unread.iter().for_each(|why| tally.unknown(why));
    &consumers.all
}

fn ca_bundle(view: &View<'_>, tally: &mut Tally) {
    for consumer in each(view, tally).iter().filter(|consumer| !consumer.insecure) {
        // A webhook by URL may well be verified by the roots of the API server's system.
        if consumer.bundle.is_none() && consumer.url {
            continue;
        }
        tally.look();
        let mut breach =
            |message: String, found: String| tally.breach(Breach::new(&consumer.object, message).found(found));
        let Some(pem) = &consumer.bundle else {
            breach(
                format!("{} has no caBundle: no public CA signs for {}", consumer.object, consumer.name),
                "empty".to_owned(),
            );
            continue;
        };
        let bundle = certificates(pem);
        if bundle.is_empty() {
            breach(
                format!("the caBundle of {} holds no certificate that can be read", consumer.object),
                format!("{} bytes", pem.len()),
            );
        }
        let alive = |certificate: &Certificate| certificate.not_after > view.profile.now;
        if !bundle.is_empty() && !bundle.iter().any(|certificate| alive(certificate)) {
            let last = bundle.iter().map(|certificate| certificate.not_after).max().map(day).unwrap_or_default();
            breach(format!("everything in the caBundle of {} has expired", consumer.object), last);
        }
    }
}

fn served(view: &View<'_>, tally: &mut Tally) {
    for consumer in each(view, tally).iter().filter(|consumer| !consumer.insecure) {
        let Some(bundle) = consumer.bundle.as_deref().map(certificates).filter(|bundle| !bundle.is_empty()) else {
            continue;
        };
        let object = &consumer.object;
        let Some(place) = &consumer.place else {
            tally.unknown(format!("{object}: its Service is not there, or has no address"));
            continue;
        };
        let endpoint = view.facts.live.endpoints.iter().find(|endpoint| {
            endpoint.server == place.server
                && endpoint.address.port() == place.port
                && endpoint.host.as_ref() == Some(&consumer.name)
        });
        let presented =
            endpoint.and_then(|endpoint| endpoint.named.get(&consumer.name).unwrap_or(&endpoint.presented).known());
        let Some(leaf) = presented.and_then(|presented| presented.leaf()) else {
            tally.unknown(format!(
                "{object}: {} port {} does not answer from here; ask from a node",
                place.host, place.port
            ));
            continue;
        };
        tally.look();
        let chain = presented.map(|presented| presented.chain.as_slice()).unwrap_or_default();
        if let Err(why) = trust::verify(chain, &bundle, view) {
            let message = format!("what {} serves is not signed by the caBundle of {object}: {why}", consumer.name);
            let found = bundle.iter().map(|root| root.subject.to_string()).collect::<Vec<_>>().join("; ");
            tally.breach(Breach::new(object, message).found(found).wanted(format!("the CA {}", leaf.issuer)));
        } else if !covers(leaf, &consumer.name) {
            let message =
                format!("{object} calls its server {}, and the certificate is not for that name", consumer.name);
            tally.breach(Breach::new(object, message).found(names(leaf)).wanted(&consumer.name));
        }
    }
}

fn insecure(view: &View<'_>, tally: &mut Tally) {
    for consumer in each(view, tally).iter().filter(|consumer| consumer.object.starts_with("APIService/")) {
        tally.look();
        if consumer.insecure {
            let message = format!(
                "{} does not verify its server: anyone in the pod network can answer for that API",
                consumer.object
            );
            tally.breach(
                Breach::new(&consumer.object, message).found("insecureSkipTLSVerify: true").wanted("a caBundle"),
            );
        }
    }
}

fn root_cas(view: &View<'_>, tally: &mut Tally) {
    let Some(namespaces) = need(&view.facts.api.namespaces, tally) else { return };
    let Some(root_cas) = need(&view.facts.api.root_cas, tally) else { return };
    let Some(presented) = server(view).and_then(|endpoint| endpoint.presented.known()) else {
        return tally.unknown("the API server did not present a certificate");
    };
    let by_namespace: BTreeMap<_, _> =
        root_cas.iter().map(|one| (one.namespace.as_str(), one.ca.as_deref().unwrap_or_default())).collect();
    // Most are alike: each distinct bundle is verified once.
    let mut verified: BTreeMap<&str, Result<(), String>> = BTreeMap::new();
    for namespace in namespaces {
        tally.look();
        let subject = format!("{namespace}/kube-root-ca.crt");
        let Some(pem) = by_namespace.get(namespace.as_str()) else {
            let message = format!(
                "namespace {namespace} has no ConfigMap kube-root-ca.crt: its pods cannot start with a service-account \
                 token"
            );
            tally.breach(Breach::new(&subject, message).wanted("the CA of the API server"));
            continue;
        };
        let outcome = verified.entry(pem).or_insert_with(|| trust::verify(&presented.chain, &certificates(pem), view));
        if let Err(why) = outcome {
            let message =
                format!("pods in namespace {namespace} get a CA by which the API server cannot be verified: {why}");
            let found = certificates(pem).iter().map(|root| root.subject.to_string()).collect::<Vec<_>>().join("; ");
            let wanted = presented.leaf().map_or_else(String::new, |leaf| format!("the CA {}", leaf.issuer));
            tally.breach(Breach::new(&subject, message).found(found).wanted(wanted));
        }
    }
}

const AUTHENTICATION: &str = "kube-system/extension-apiserver-authentication";
const CLIENT_CA: &str = "client-ca-file";
const PROXY_CA: &str = "requestheader-client-ca-file";
const ALLOWED: &str = "requestheader-allowed-names";

fn authentication(view: &View<'_>, tally: &mut Tally) {
    let Some(map) = need(&view.facts.api.authentication, tally) else { return };
    let request = server(view).and_then(|endpoint| endpoint.presented.known()?.request.as_ref());
    let Some(request) = request else {
        return tally.unknown("the API server names no CAs of clients");
    };
    tally.look();
    let part = |name: &str| map.data.get(name).map(|pem| certificates(pem)).unwrap_or_default();
    let written: BTreeSet<Box<[u8]>> =
        [CLIENT_CA, PROXY_CA].into_iter().flat_map(part).map(|one| one.subject.der.clone()).collect();
    let asked: BTreeSet<Box<[u8]>> = request.authorities.iter().map(|name| name.clone().into_boxed_slice()).collect();
    let say = |names: Vec<&Box<[u8]>>| names.iter().map(|name| dn(name)).collect::<Vec<_>>().join("; ");
    let (missing, surplus): (Vec<_>, Vec<_>) =
        (asked.difference(&written).collect(), written.difference(&asked).collect());
    if missing.is_empty() && surplus.is_empty() {
        return authentication_of_files(view, &map.data, tally);
    }
    if !missing.is_empty() {
        let message = format!(
            "{AUTHENTICATION} lacks a CA whose clients the API server takes: extension API servers do not know them"
        );
        tally.breach(Breach::new(AUTHENTICATION, message).wanted(say(missing)));
    }
    if !surplus.is_empty() {
        let message = format!(
            "{AUTHENTICATION} has a CA whose clients the API server does not take: extension API servers still let \
             them in"
        );
        tally.breach(Breach::new(AUTHENTICATION, message).found(say(surplus)));
    }
}

/// Holds the ConfigMap against the files of this node's API server: a CA that was replaced by one of the same name is
/// told apart only so.
fn authentication_of_files(view: &View<'_>, data: &BTreeMap<String, String>, tally: &mut Tally) {
    for (entry, role) in [(CLIENT_CA, Role::ClientCa), (PROXY_CA, Role::FrontProxyCa)] {
        let of_server = |bundle: &&Bundle| bundle.role == role && bundle.holder == Component::Apiserver;
        let Some(bundle) = view.facts.bundles.iter().find(of_server) else { continue };
        let file = &bundle.file;
        let written = data.get(entry).map(|pem| certificates(pem)).unwrap_or_default();
        let held: Vec<_> = bundle.certificates.iter().map(|held| held.certificate.clone()).collect();
        let lacks =
            |all: &[Arc<Certificate>], one: &Certificate| !all.iter().any(|other| other.fingerprint == one.fingerprint);
        for one in held.iter().filter(|one| lacks(&written, one)) {
            let message = format!(
                "{AUTHENTICATION} lacks a CA that is in {file}, {}: extension API servers do not know its clients",
                one.subject
            );
            let breach = Breach::new(AUTHENTICATION, message).at(file, None);
            tally.breach(breach.wanted(format!("SHA-256 {}", one.fingerprint)));
        }
        for one in written.iter().filter(|one| lacks(&held, one)) {
            let message = format!(
                "{AUTHENTICATION} has a CA that is not in {file}, {}: extension API servers still let its clients in",
                one.subject
            );
            let breach = Breach::new(AUTHENTICATION, message).at(file, None);
            tally.breach(breach.found(format!("SHA-256 {}", one.fingerprint)));
        }
    }
}

fn front_proxy(view: &View<'_>, tally: &mut Tally) {
    let Some(map) = need(&view.facts.api.authentication, tally) else { return };
    let keys = |name: &str| -> BTreeMap<Fingerprint, String> {
        let all = map.data.get(name).map(|pem| certificates(pem)).unwrap_or_default();
        all.iter().map(|one| (one.public_key.sha256, one.subject.to_string())).collect()
    };
    let (clients, proxies) = (keys(CLIENT_CA), keys(PROXY_CA));
    if clients.is_empty() || proxies.is_empty() {
        return;
    }
    tally.look();
    for (_, subject) in proxies.iter().filter(|(key, _)| clients.contains_key(key)) {
        let message = format!(
            "the front-proxy CA {subject} also signs for users: each of them can be anyone, by headers, where names \
             are not restricted; where they are, users are refused"
        );
        tally.breach(Breach::new(AUTHENTICATION, message).found(subject).wanted("a CA of its own for the front proxy"));
    }
}

fn allowed_names(view: &View<'_>, tally: &mut Tally) {
    let Some(map) = need(&view.facts.api.authentication, tally) else { return };
    if !map.data.contains_key(PROXY_CA) {
        return;
    }
    tally.look();
    let text = map.data.get(ALLOWED).map(String::as_str).unwrap_or_default();
    let names: Vec<String> = serde_json::from_str(text).unwrap_or_default();
    if names.is_empty() {
        let message =
            "every certificate by the front-proxy CA may speak for anyone: --requestheader-allowed-names is empty";
        tally.breach(
            Breach::new(AUTHENTICATION, message).found(format!("{ALLOWED}: {text}")).wanted("[\"front-proxy-client\"]"),
        );
    }
}

/// The claims about CAs in objects.
pub(super) fn checks() -> Vec<Check> {
    let inject = || {
        Remedy::new(
            "Write the CA that signs the server's certificate into caBundle; cert-manager's cainjector does so, and \
             keeps it.",
        )
    };
    vec![
        claim("pki.api.root-ca", "pods of every namespace get the CA of the API server", "namespaces", root_cas)
            .severity(Severity::Critical)
            .alias("PKI-R22")
            .alias("kube-root-ca.crt")
            .page(
                "Every pod with a service-account token mounts it, to verify the API server by.",
                "Builds a path from what the API server presents to the certificates in each ConfigMap \
                 kube-root-ca.crt.",
            )
            .basis(
                "kube-controller-manager: --root-ca-file",
                "https://kubernetes.io/docs/reference/command-line-tools-reference/kube-controller-manager/",
            )
            .remedy(Remedy::new(
                "Give --root-ca-file of every kube-controller-manager the current CA, and restart it: it writes the \
                 ConfigMaps.",
            )),
        claim(
            "pki.api.ca-bundle",
            "every caBundle holds a CA that has not expired",
            "webhooks and aggregated APIs",
            ca_bundle,
        )
        .severity(Severity::Critical)
        .alias("PKI-K09")
        .alias("caBundle")
        .page(
            "The API server cannot verify the server, so that admission fails, or the API is not there.",
            "Reads the caBundle of webhook configurations, CustomResourceDefinitions and APIServices.",
        )
        .basis("Dynamic admission control: contacting the webhook", WEBHOOKS)
        .remedy(inject()),
        claim(
            "pki.api.ca-bundle-served",
            "every webhook and aggregated API serves what its caBundle verifies",
            "webhooks and aggregated APIs that can be reached",
            served,
        )
        .severity(Severity::Critical)
        .alias("PKI-K09")
        .alias("failed calling webhook")
        .page(
            "A webhook whose certificate was renewed by another CA blocks what it guards, often all pods.",
            "Asks each server for its certificate by the name that the API server calls it, and builds a path to its \
             caBundle.",
        )
        .basis("Dynamic admission control: contacting the webhook", WEBHOOKS)
        .remedy(inject()),
        claim("pki.api.insecure-apiservice", "every aggregated API is verified", "aggregated APIs", insecure)
            .severity(Severity::Medium)
            .alias("PKI-K09")
            .alias("insecureSkipTLSVerify")
            .page(
                "What the API server sends there, users' names and groups among it, goes to whoever answers.",
                "Reads insecureSkipTLSVerify of APIServices.",
            )
            .basis("Configure the aggregation layer", AGGREGATION)
            .remedy(inject()),
        claim(
            "pki.api.extension-authentication",
            "extension API servers take the clients that the API server takes",
            "ConfigMap kube-system/extension-apiserver-authentication",
            authentication,
        )
        .severity(Severity::Critical)
        .alias("PKI-K08")
        .alias("extension-apiserver-authentication")
        .page(
            "The API server writes its CAs of clients there, and takes none out: a CA that was given up for being \
             stolen stays good for extension API servers, controller manager and scheduler.",
            "Compares the subjects of the CAs in the ConfigMap with those that the API server names in its \
             CertificateRequest, and on a node of the control plane the CAs themselves with --client-ca-file and \
             --requestheader-client-ca-file.",
        )
        .basis("Configure the aggregation layer: extension apiserver authorizes the request", AGGREGATION)
        .remedy(
            Remedy::new("Delete the ConfigMap: the API server writes it again within a minute.")
                .command("kubectl -n kube-system delete configmap extension-apiserver-authentication"),
        ),
        claim("pki.api.front-proxy-ca", "the front proxy has a CA of its own", "front-proxy CA", front_proxy)
            .severity(Severity::Critical)
            .alias("PKI-R05")
            .alias("is not in the allowed list")
            .page(
                "Who has a certificate by the front-proxy CA says in a header who it is, and is believed.",
                "Compares the keys of client-ca-file and requestheader-client-ca-file.",
            )
            .basis("Configure the aggregation layer: CA reusage and conflicts", AGGREGATION)
            .remedy(Remedy::new("Make a front-proxy CA of its own.").command(
                "rm /etc/kubernetes/pki/front-proxy-* && kubeadm init phase certs front-proxy-ca && kubeadm init phase \
                 certs front-proxy-client",
            )),
        claim(
            "pki.api.front-proxy-names",
            "only named certificates of the front-proxy CA speak for others",
            "front-proxy CA",
            allowed_names,
        )
        .alias("PKI-R06")
        .alias("requestheader-allowed-names")
        .page(
            "Who has a certificate by the front-proxy CA says in a header who it is, and is believed.",
            "Reads requestheader-allowed-names.",
        )
        .basis("Configure the aggregation layer: Kubernetes apiserver client authentication", AGGREGATION)
        .remedy(Remedy::new("Set --requestheader-allowed-names=front-proxy-client on every kube-apiserver.")),
    ]
}

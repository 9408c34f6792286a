//! What a cluster holds as objects before anybody uses it.

use std::io;
use std::path::Path;
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::addon::{Dns, KubeProxy};
use crate::bootstrap::{self, BadToken, Token};
use crate::cluster::api::path_of;
use crate::cluster::engine::{Engine, EngineError, PATIENCE, file};
use crate::cluster::manifests;
use crate::cluster::plan::Role;
use crate::cluster::spec::{ProxyMode, bad};
use crate::cluster::wait::Wait;
use crate::image::Part;
use crate::kubeadm::{Taint, parse};
use crate::node::proxy::{Mode, Proxy};
use crate::shared_certs::{self, BadCertificateKey, CertificateKey};
use crate::upload;
use crate::whole;

/// How long a token lets nodes in; kubeadm's default is a day.
const TOKEN_LIFE: SignedDuration = SignedDuration::from_hours(24);
/// How long the certificates of control planes are shared; the same as kubeadm's.
const SHARED_LIFE: SignedDuration = SignedDuration::from_hours(2);
/// First minor version in which kube-proxy's mode nftables is for everybody (KEP-3866).
const NFTABLES: u32 = 33;

/// A secret of the cluster's own, kept in its folder, which is for its owner only.
fn kept<T: FromStr>(path: &Path, make: impl FnOnce() -> Result<String, EngineError>) -> Result<T, EngineError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let text = make()?;
            whole::write(path, &text, 0o600).map_err(file(path))?;
            text
        }
        Err(error) => return Err(file(path)(error)),
    };
    text.trim().parse().map_err(|_| file(path)(io::Error::other("it was damaged: remove it, and a new one is made")))
}

/// The token with which nodes join: that of the `JoinConfiguration`, or one of the cluster's own.
pub(super) fn token(engine: &Engine<'_>) -> Result<Token, EngineError> {
    if let Some(token) = given_token(engine) {
        return Ok(token);
    }
    kept(&engine.cluster().folder.join("token"), || Ok(Token::generate().reveal()))
}

pub(super) fn given_token(engine: &Engine<'_>) -> Option<Token> {
    let found = engine.join.as_ref()?.discovery.bootstrap_token.as_ref()?;
    found.token.as_ref()?.reveal().parse().ok()
}

/// The Secrets of the tokens that kubeadm's documents name. One without a token of its own has none yet: it is made
/// once.
pub(super) fn given_tokens(engine: &Engine<'_>, now: Timestamp) -> Result<Vec<Value>, EngineError> {
    let tokens = engine.init.iter().flat_map(|init| &init.bootstrap_tokens).enumerate();
    tokens
        .map(|(at, one)| {
            let token: Token = match &one.token {
                Some(token) => {
                    token.reveal().parse().map_err(|error: BadToken| EngineError::Preflight(error.to_string()))?
                }
                None => kept(&engine.cluster().folder.join(format!("token-{at}")), || Ok(Token::generate().reveal()))?,
            };
            let life = one.ttl.as_deref().map_or(Ok(TOKEN_LIFE), parse::duration).map_err(EngineError::Preflight)?;
            let expires = life.is_positive().then(|| now.checked_add(life).ok()).flatten();
            let list = |given: &'_ [String], default: &[&'static str]| -> Vec<String> {
                let default = || default.iter().map(|&one| one.to_owned()).collect();
                if given.is_empty() { default() } else { given.to_vec() }
            };
            let (usages, groups) = (list(&one.usages, &bootstrap::USAGES), list(&one.groups, &[bootstrap::JOINING]));
            let [usages, groups] = [&usages, &groups].map(|all| all.iter().map(String::as_str).collect::<Vec<_>>());
            Ok(token.object_for(one.description.as_deref(), expires, &usages, &groups))
        })
        .collect()
}

/// The certificate key of kubeadm's documents.
pub(super) fn given_key<'e>(engine: &'e Engine<'_>) -> Option<&'e str> {
    let init = engine.init.as_ref().and_then(|init| init.certificate_key.as_ref());
    let join = || engine.join.as_ref()?.control_plane.as_ref()?.certificate_key.as_ref();
    Some(init.or_else(join)?.reveal())
}

/// The key to the Secret kubeadm-certs: that of kubeadm's documents, or one of the cluster's own.
pub(super) fn certificate_key(engine: &Engine<'_>) -> Result<CertificateKey, EngineError> {
    if let Some(given) = given_key(engine) {
        return given.parse().map_err(|error: BadCertificateKey| EngineError::Preflight(error.to_string()));
    }
    kept(&engine.cluster().folder.join("certificate-key"), || Ok(CertificateKey::generate()?.reveal()))
}

/// Where nodes find the API servers.
pub(super) fn server(engine: &Engine<'_>) -> Result<String, EngineError> {
    let first = engine.plan().first();
    let (spec, plane) = engine.control_plane(first)?;
    let at = std::net::SocketAddr::new(first.address(), plane.port).to_string();
    let named = spec.endpoint()?.map(|(host, port)| match host.parse() {
        Ok(address) => std::net::SocketAddr::new(address, port).to_string(),
        Err(_) => format!("{host}:{port}"),
    });
    Ok(format!("https://{}", named.unwrap_or(at)))
}

/// The cluster's CA.
pub(super) fn ca(engine: &Engine<'_>) -> Result<String, EngineError> {
    let first = engine.plan().first();
    let (_, plane) = engine.control_plane(first)?;
    let path = engine.outside(&engine.host(first)?, &plane.pki).join("ca.crt");
    std::fs::read_to_string(&path).map_err(file(&path))
}

pub(super) fn bootstrap_token(engine: &Engine<'_>) -> Result<(), EngineError> {
    let api = engine.api()?;
    for object in bootstrap::objects(&ca(engine)?, &server(engine)?) {
        // The controller-manager writes signatures into it.
        if object["kind"] == "ConfigMap" && api.get(&path_of(&object)).is_ok() {
            continue;
        }
        api.apply(&object)?;
    }
    let (now, own) = (Timestamp::now(), token(engine)?);
    let own = own.object(Some("for the nodes of this cluster"), now.checked_add(TOKEN_LIFE).ok());
    let given = given_tokens(engine, now)?;
    for object in &given {
        // What one was given when it was made stays, its end above all.
        if api.get(&path_of(object)).is_err_and(|error| error.is_missing()) {
            api.apply(object)?;
        }
    }
    if !given.iter().any(|object| object["metadata"] == own["metadata"]) {
        api.apply(&own)?;
    }
    Ok(())
}

/// Lets control planes that join have the keys of the CAs, for two hours: the Secret ends with a token of its own.
pub(super) fn upload_certs(engine: &Engine<'_>) -> Result<(), EngineError> {
    let first = engine.plan().first();
    let (spec, plane) = engine.control_plane(first)?;
    let folder = engine.outside(&engine.host(first)?, &plane.pki);
    let (api, key) = (engine.api()?, certificate_key(engine)?);
    for object in shared_certs::objects() {
        api.apply(&object)?;
    }
    let mut secret = shared_certs::seal(&folder, spec.etcd, &key)?;
    match api.get(&path_of(&secret)) {
        Ok(there) if shared_certs::open(&there, spec.etcd, &key).is_ok() => return Ok(()),
        Err(error) if !error.is_missing() => return Err(error.into()),
        _ => {}
    }
    let expires = Timestamp::now() + SHARED_LIFE;
    shared_certs::own(&mut secret, &api.apply(&shared_certs::owner(&Token::generate(), expires))?);
    api.apply(&secret)?;
    Ok(())
}

/// The taints of control planes; `None` for kubeadm's.
pub(super) fn taints<'e>(engine: &'e Engine<'_>) -> Option<&'e [Taint]> {
    let taints = engine.registration(Role::ControlPlane).and_then(|one| one.taints.as_deref());
    // Where nothing else takes pods, a control plane does, or the cluster could run none.
    if engine.plan().spec.workers == 0 { Some(taints.unwrap_or_default()) } else { taints }
}

pub(super) fn mark_control_plane(engine: &Engine<'_>) -> Result<(), EngineError> {
    if !engine.plan().spec.control_planes_are_nodes() {
        return Ok(());
    }
    let (api, taints) = (engine.api()?, taints(engine));
    for host in engine.plan().of(Role::ControlPlane) {
        let path = format!("/api/v1/nodes/{}", host.name);
        let wait = Wait::new(&api, format!("node {}", host.name), path.clone());
        let node = wait.suspect(engine.host(host)?, "kubelet").until(|node| Ok(node.clone()))?;
        api.merge(&path, &upload::mark_control_plane(&node, taints, &host.release))?;
    }
    Ok(())
}

/// kubeadm's configuration and the kubelets', as nodes that join read them.
pub(super) fn upload_config(engine: &Engine<'_>) -> Result<(), EngineError> {
    let api = engine.api()?;
    configurations(engine)?.iter().try_for_each(|object| api.apply(object).map(drop))?;
    Ok(())
}

/// The objects that hold kubeadm's configuration and the kubelets'.
pub(super) fn configurations(engine: &Engine<'_>) -> Result<Vec<Value>, EngineError> {
    let first = engine.plan().first();
    let (_, plane) = engine.control_plane(first)?;
    let kubeadm = upload::kubeadm_config(&engine.configuration.cluster, &first.release);
    let mut objects = kubeadm.map_err(|error| EngineError::Preflight(error.to_string()))?;
    let kubelet = engine.kubelet_cluster(&plane).configuration();
    let users = engine.configuration.kubelet.is_some();
    objects.extend(upload::kubelet_config(&kubelet, users, &first.release));
    Ok(objects)
}

/// kube-proxy's mode.
fn mode(engine: &Engine<'_>) -> Mode {
    match engine.plan().spec.proxy {
        ProxyMode::Iptables => Mode::Iptables,
        ProxyMode::Nftables => Mode::Nftables,
        ProxyMode::Auto if engine.plan().first().release.kubernetes.minor() >= NFTABLES => Mode::Nftables,
        ProxyMode::Auto => Mode::Iptables,
    }
}

/// kube-proxy of the cluster.
pub(super) fn proxy<T>(engine: &Engine<'_>, with: impl FnOnce(&Proxy<'_>) -> T) -> Result<T, EngineError> {
    let (_, plane) = engine.control_plane(engine.plan().first())?;
    let user = engine.configuration.kube_proxy.as_ref();
    Ok(with(&Proxy { advertise: plane.advertise, pods: &plane.pods, mode: mode(engine), user }))
}

pub(super) fn addon(engine: &Engine<'_>) -> Result<(), EngineError> {
    let api = engine.api()?;
    for object in addons(engine)? {
        api.apply_when_free(&object, PATIENCE)?;
    }
    Ok(())
}

/// The objects of kube-proxy and CoreDNS, and those that the specification adds.
pub(super) fn addons(engine: &Engine<'_>) -> Result<Vec<Value>, EngineError> {
    let plan = engine.plan();
    let (_, plane) = engine.control_plane(plan.first())?;
    let server = server(engine)?;
    let mut objects = match engine.has_proxy() {
        true => proxy(engine, |proxy| KubeProxy { proxy, server: &server }.objects())?,
        false => Vec::new(),
    };
    let release = &plan.first().release;
    let image = engine.image(Part::CoreDns, release)?;
    // kubeadm has two, so that one remains when a node goes.
    let replicas = u32::try_from(plan.nodes().count().clamp(1, 2)).unwrap_or(2);
    if plan.nodes().next().is_some() && engine.has_dns() {
        let minor = release.kubernetes.minor();
        let dns = Dns { minor, services: &plane.services[0], domain: &plane.domain, image: &image, replicas };
        objects.extend(dns.objects());
    }
    let refused = |why| EngineError::Spec(bad("manifests", why));
    let more = manifests::read(plan.spec.manifests.as_deref().unwrap_or_default()).map_err(refused)?;
    manifests::add(&mut objects, more).map_err(refused)?;
    Ok(objects)
}

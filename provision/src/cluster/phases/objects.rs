//! What a cluster holds as objects before anybody uses it.

use std::io;
use std::path::Path;
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};

use crate::addon::{Dns, KubeProxy};
use crate::bootstrap::{self, Token};
use crate::cluster::api::path_of;
use crate::cluster::engine::{Engine, EngineError, PATIENCE, file};
use crate::cluster::plan::Role;
use crate::cluster::spec::ProxyMode;
use crate::image::Part;
use crate::node::proxy::{Mode, Proxy};
use crate::shared_certs::{self, CertificateKey};
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

/// The token with which nodes join.
pub(super) fn token(engine: &Engine<'_>) -> Result<Token, EngineError> {
    kept(&engine.cluster().folder.join("token"), || Ok(Token::generate().reveal()))
}

/// The key to the Secret kubeadm-certs.
pub(super) fn certificate_key(engine: &Engine<'_>) -> Result<CertificateKey, EngineError> {
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
    let expires = Timestamp::now().checked_add(TOKEN_LIFE).ok();
    api.apply(&token(engine)?.object(Some("for the nodes of this cluster"), expires))?;
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

pub(super) fn mark_control_plane(engine: &Engine<'_>) -> Result<(), EngineError> {
    if !engine.plan().spec.control_planes_are_nodes() {
        return Ok(());
    }
    let api = engine.api()?;
    // Where nothing else takes pods, a control plane does, or the cluster could run none.
    let alone = engine.plan().spec.workers == 0;
    let taints = engine.registration(Role::ControlPlane).and_then(|one| one.taints.as_deref());
    let taints = if alone { Some(taints.unwrap_or_default()) } else { taints };
    for host in engine.plan().of(Role::ControlPlane) {
        let path = format!("/api/v1/nodes/{}", host.name);
        let node = api.wait("the node", &path, PATIENCE, |node| Ok(node.clone()))?;
        api.merge(&path, &upload::mark_control_plane(&node, taints, &host.release))?;
    }
    Ok(())
}

/// kubeadm's configuration and the kubelets', as nodes that join read them.
pub(super) fn upload_config(engine: &Engine<'_>) -> Result<(), EngineError> {
    let api = engine.api()?;
    let first = engine.plan().first();
    let (_, plane) = engine.control_plane(first)?;
    let kubeadm = upload::kubeadm_config(&engine.configuration.cluster, &first.release);
    let mut objects = kubeadm.map_err(|error| EngineError::Preflight(error.to_string()))?;
    let kubelet = engine.kubelet_cluster(&plane).configuration();
    let users = engine.configuration.kubelet.is_some();
    objects.extend(upload::kubelet_config(&kubelet, users, &first.release));
    objects.iter().try_for_each(|object| api.apply(object).map(drop))?;
    Ok(())
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
    let plan = engine.plan();
    let api = engine.api()?;
    let (_, plane) = engine.control_plane(plan.first())?;
    let server = server(engine)?;
    let mut objects = proxy(engine, |proxy| KubeProxy { proxy, server: &server }.objects())?;
    let release = &plan.first().release;
    let image = engine.image(Part::CoreDns, release)?;
    // kubeadm has two, so that one remains when a node goes.
    let replicas = u32::try_from(plan.nodes().count().clamp(1, 2)).unwrap_or(2);
    if plan.nodes().next().is_some() {
        let minor = release.kubernetes.minor();
        let dns = Dns { minor, services: &plane.services[0], domain: &plane.domain, image: &image, replicas };
        objects.extend(dns.objects());
    }
    for object in objects {
        api.apply_when_free(&object, PATIENCE)?;
    }
    Ok(())
}

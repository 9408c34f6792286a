//! The first control plane, and an external etcd.

use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::cluster::api::Api;
use crate::cluster::engine::{Engine, EngineError, await_unit, await_within, file};
use crate::cluster::plan::{PlannedHost, Role};
use crate::cluster::rootless::SERVER_NAME;
use crate::control_plane::{Component, ControlPlane, EtcdServers};
use crate::host::Host;
use crate::pki::{Etcd, Spec, issue, issue_only, kubeconfigs};
use crate::whole;

use super::static_pods;

/// What a member of an external etcd has; the first one also issues what API servers have as clients.
const ETCD_CERTIFICATES: [&str; 3] = ["etcd-server", "etcd-peer", "etcd-healthcheck-client"];
const ETCD_CLIENT: &str = "apiserver-etcd-client";
/// What runs beside etcd.
const COMPONENTS: [&str; 3] = ["kube-apiserver", "kube-controller-manager", "kube-scheduler"];
/// Where etcd answers clients, and its peers.
pub(super) const ETCD_CLIENTS: u16 = 2379;
const ETCD_PEERS: u16 = 2380;
/// How long a server that may be there may take to say so.
const ANSWER: Duration = Duration::from_secs(5);
/// The namespaces that an API server makes, and kubeadm's objects are in.
const SYSTEM_NAMESPACES: [&str; 2] = ["kube-system", "kube-public"];

pub(super) fn certs(engine: &Engine<'_>) -> Result<(), EngineError> {
    external_etcd_certs(engine)?;
    let first = engine.plan().first();
    let (spec, plane) = engine.control_plane(first)?;
    let host = engine.host(first)?;
    let pki = engine.outside(&host, &plane.pki);
    let given = &engine.plan().spec.credentials;
    if let Some(given) = given {
        let credentials = &["crt", "key", "pub"][..];
        copy_all(&given.join("pki/etcd"), &pki.join("etcd"), credentials)?;
        copy_all(&given.join("pki"), &pki, credentials)?;
        copy_all(given, &host.kubernetes(), &["conf"])?;
    }
    issue(&spec, &pki)?;
    given.as_ref().map_or(Ok(()), |_| super::hosts::external_ca(engine, &pki))
}

/// Copies the files with these endings of a folder, if it is there, that another lacks.
fn copy_all(from: &Path, to: &Path, endings: &[&str]) -> Result<(), EngineError> {
    let entries = match std::fs::read_dir(from) {
        Ok(entries) => entries.collect::<Result<Vec<_>, _>>().map_err(file(from))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(file(from)(error)),
    };
    for path in entries.into_iter().map(|entry| entry.path()) {
        let ending = path.extension().and_then(|ending| ending.to_str()).filter(|ending| endings.contains(ending));
        let (Some(name), Some(ending)) = (path.file_name(), ending) else { continue };
        let target = to.join(name);
        if !target.exists() {
            let content = std::fs::read(&path).map_err(file(&path))?;
            whole::write(&target, content, if ending == "crt" { 0o644 } else { 0o600 }).map_err(file(&target))?;
        }
    }
    Ok(())
}

/// As kubeadm's guide to an external etcd has it: one CA, certificates of each member's own, and a client's for API
/// servers.
fn external_etcd_certs(engine: &Engine<'_>) -> Result<(), EngineError> {
    let members: Vec<_> = engine.plan().of(Role::Etcd).collect();
    let Some((first, others)) = members.split_first() else { return Ok(()) };
    let pki = |host: &PlannedHost| -> Result<_, EngineError> {
        let (spec, plane) = engine.control_plane(host)?;
        Ok((Spec { etcd: Etcd::Local, ..spec }, engine.outside(&engine.host(host)?, &plane.pki)))
    };
    let (spec, source) = pki(first)?;
    issue_only(&spec, &source, &[&ETCD_CERTIFICATES[..], &[ETCD_CLIENT]].concat())?;
    for member in others {
        let (spec, folder) = pki(member)?;
        copy(&source, &folder, &["etcd/ca.crt", "etcd/ca.key"])?;
        issue_only(&spec, &folder, &ETCD_CERTIFICATES)?;
    }
    for plane in engine.plan().of(Role::ControlPlane) {
        let (_, folder) = pki(plane)?;
        copy(&source, &folder, &["etcd/ca.crt", "apiserver-etcd-client.crt", "apiserver-etcd-client.key"])?;
    }
    Ok(())
}

/// Copies files that are not there, with their modes.
fn copy(from: &Path, to: &Path, names: &[&str]) -> Result<(), EngineError> {
    for name in names {
        let (from, to) = (from.join(name), to.join(name));
        if to.exists() {
            continue;
        }
        let content = std::fs::read(&from).map_err(file(&from))?;
        let mode = std::fs::metadata(&from).map_err(file(&from))?.permissions().mode();
        whole::write(&to, content, mode).map_err(file(&to))?;
    }
    Ok(())
}

pub(super) fn kubeconfig(engine: &Engine<'_>) -> Result<(), EngineError> {
    let first = engine.plan().first();
    let (spec, plane) = engine.control_plane(first)?;
    let host = engine.host(first)?;
    kubeconfigs(&spec, &engine.outside(&host, &plane.pki), &host.kubernetes())?;
    let cluster = engine.cluster();
    if let Some(keeper) = cluster.keeper() {
        return Ok(cluster.write_kubeconfig(keeper.address(), SERVER_NAME)?);
    }
    // A name is known to the hosts alone: the machine has an address, and asks for the name.
    match spec.endpoint()?.filter(|(name, _)| name.parse::<IpAddr>().is_err()) {
        Some((name, port)) => {
            let harbor = engine.plan().endpoint(port).and_then(|at| at.parse().ok());
            let at = harbor.unwrap_or(SocketAddr::new(first.address(), port));
            Ok(cluster.write_kubeconfig(at, &name)?)
        }
        None => Ok(()),
    }
}

pub(super) fn etcd(engine: &Engine<'_>) -> Result<(), EngineError> {
    let members: Vec<_> = engine.plan().of(Role::Etcd).collect();
    if members.is_empty() {
        // Members that voted before are wanted for a quorum: where all were down, none is ready alone.
        let mut wanted = vec![engine.plan().first()];
        for planned in engine.plan().of(Role::ControlPlane).skip(1) {
            let folders = etcd_folders(engine, &engine.host(planned)?, &engine.control_plane(planned)?.1);
            if folders.iter().any(|folder| folder.join("member").exists()) {
                wanted.push(planned);
            }
        }
        return one_by_one(engine, &wanted, |host| Ok(engine.control_plane(host)?.1));
    }
    one_by_one(engine, &members, |host| engine.etcd_member(host))?;
    engine.each(&members, |member| await_unit(&engine.host(member)?, "etcd"))
}

/// Starts the members of etcd that do not run, each once the one before answers its peers. Members that start again at
/// the same time ask each other for the hashes of their data, and answer nobody until they were answered or waited for
/// 7 s a peer (etcd's initial corruption check, which kubeadm turns on).
fn one_by_one(
    engine: &Engine<'_>,
    members: &[&PlannedHost],
    plane: impl Fn(&PlannedHost) -> Result<ControlPlane, EngineError>,
) -> Result<(), EngineError> {
    for planned in members {
        let host = engine.host(planned)?;
        let status = || -> Result<_, EngineError> {
            Ok(host.client().status()?.into_iter().find(|status| status.unit.name == "etcd"))
        };
        if status()?.is_some() {
            continue;
        }
        begin(engine, planned, &plane(planned)?, &["etcd"])?;
        // A kubelet takes longer to start a pod than the members would wait.
        if static_pods::has(engine, planned) || members.len() == 1 {
            continue;
        }
        let (etcd, begun) = (etcd_at(engine, planned, ETCD_PEERS)?, Instant::now());
        while !etcd.has("/version", ANSWER) && begun.elapsed() < ANSWER {
            if status()?.is_some_and(|status| status.exit.is_some()) {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(())
}

/// A host's member of etcd at one of its ports, as a client of its administrator's.
pub(super) fn etcd_at(engine: &Engine<'_>, planned: &PlannedHost, port: u16) -> Result<Api, EngineError> {
    let (_, plane) = engine.control_plane(planned)?;
    let pki = engine.outside(&engine.host(planned)?, &plane.pki);
    let server = format!("https://{}", SocketAddr::new(planned.address(), port));
    Ok(Api::of_files(server, &pki.join("etcd/ca.crt"), &pki.join("etcd/healthcheck-client"))?)
}

/// Starts the components beside etcd, and waits until the API server answers. Its rules come a second or two later: the
/// administrator, whom none binds, makes objects meanwhile.
pub(super) fn control_plane(engine: &Engine<'_>) -> Result<(), EngineError> {
    let first = engine.plan().first();
    components(engine, first)?;
    let (host, api) = (engine.host(first)?, engine.api_at(first)?);
    if matches!(engine.control_plane(first)?.1.etcd, EtcdServers::Local { .. }) {
        await_unit(&host, "etcd")?;
    }
    let begun = Instant::now();
    while !SYSTEM_NAMESPACES.iter().all(|name| api.has(&format!("/api/v1/namespaces/{name}"), ANSWER)) {
        let ended = host.client().status()?.iter().any(|one| one.unit.name == "kube-apiserver" && one.exit.is_some());
        if ended || begun.elapsed() > engine.start_within.unsigned_abs() {
            return await_within(&host, "kube-apiserver", engine.start_within.unsigned_abs());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Starts the components beside etcd.
pub(super) fn components(engine: &Engine<'_>, planned: &PlannedHost) -> Result<(), EngineError> {
    let (_, plane) = engine.control_plane(planned)?;
    begin(engine, planned, &plane, &COMPONENTS)
}

pub(super) fn wait_control_plane(engine: &Engine<'_>) -> Result<(), EngineError> {
    for planned in engine.plan().of(Role::ControlPlane) {
        let host = engine.host(planned)?;
        let (_, plane) = engine.control_plane(planned)?;
        let within = engine.start_within.unsigned_abs();
        plane.components_of(&planned.release).iter().try_for_each(|one| await_within(&host, one.name, within))?;
    }
    Ok(())
}

/// Starts components of a control plane.
pub(super) fn begin(
    engine: &Engine<'_>,
    planned: &PlannedHost,
    plane: &ControlPlane,
    names: &[&str],
) -> Result<(), EngineError> {
    if static_pods::has(engine, planned) {
        return static_pods::begin(engine, planned, plane, names);
    }
    let host = engine.host(planned)?;
    let components: Vec<Component> =
        plane.components_of(&planned.release).into_iter().filter(|component| names.contains(&component.name)).collect();
    if names.contains(&"etcd") {
        etcd_folder(engine, &host, plane)?;
    }
    components.iter().try_for_each(|component| engine.start(&host, component))
}

/// Where the data of a stacked etcd are: its folder, or what a disk that can fail keeps of it.
pub(super) fn etcd_folders(engine: &Engine<'_>, host: &Host, plane: &ControlPlane) -> Vec<PathBuf> {
    let EtcdServers::Local { data, .. } = &plane.etcd else { return Vec::new() };
    vec![engine.outside(host, data), host.var().join("lib/etcd-disk")]
}

/// Makes the folder of etcd's data, where there is one, which etcd wants for itself alone, and the disk that it is on.
pub(super) fn etcd_folder(engine: &Engine<'_>, host: &Host, plane: &ControlPlane) -> Result<(), EngineError> {
    let EtcdServers::Local { data, .. } = &plane.etcd else { return Ok(()) };
    let folder = engine.outside(host, data);
    std::fs::create_dir_all(&folder).map_err(file(&folder))?;
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o700)).map_err(file(&folder))?;
    engine.cluster().start_disk(host)
}

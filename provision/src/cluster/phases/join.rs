//! The control planes after the first: kubeadm's `join --control-plane`.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::cluster::api::{Api, Member};
use crate::cluster::engine::{Engine, EngineError, MAX_LEARNERS, PATIENCE, file};
use crate::cluster::plan::{PlannedHost, Role};
use crate::control_plane::EtcdServers;
use crate::pki::{Did, issue, kubeconfigs};
use crate::{shared_certs, whole};

use super::control_plane::{self, ETCD_CLIENTS, etcd_at};
use super::{objects, static_pods};

/// How long a new member of etcd has to serve clients once it has a snapshot; it takes milliseconds where it does not
/// wait.
const ANNOUNCED: Duration = Duration::from_millis(300);

pub(super) fn control_planes(engine: &Engine<'_>) -> Result<(), EngineError> {
    let others: Vec<_> = engine.plan().of(Role::ControlPlane).skip(1).collect();
    engine.each(&others, |host| {
        certificates(engine, host)?;
        if static_pods::has(engine, host) {
            static_pods::node(engine, host, &engine.control_plane(host)?.1)?;
        }
        Ok(())
    })?;
    let (_, first) = engine.control_plane(engine.plan().first())?;
    if !matches!(first.etcd, EtcdServers::Local { .. }) {
        return engine.each(&others, |host| control_plane::components(engine, host));
    }
    let flag = first.extra.etcd.iter().rfind(|(flag, _)| flag == MAX_LEARNERS);
    let learners = flag.and_then(|(_, value)| value.parse().ok()).unwrap_or(NonZeroUsize::MIN);
    let etcd = etcd_at(engine, engine.plan().first(), ETCD_CLIENTS)?;
    for together in others.chunks(learners.get()) {
        // All are added before one of them votes: etcd takes nobody while a voter is connected for less than 5 s.
        together.iter().try_for_each(|host| add(&etcd, host))?;
        // One starts after the other: two that ask each other who is there wait for their answers.
        for host in together {
            learn(engine, &etcd, host)?;
            promote(engine, &etcd, host)?;
            control_plane::components(engine, host)?;
        }
    }
    Ok(())
}

/// Downloads the certificates that control planes share, and issues the node's own (`control-plane-prepare`).
fn certificates(engine: &Engine<'_>, planned: &PlannedHost) -> Result<(), EngineError> {
    let host = engine.host(planned)?;
    let (spec, plane) = engine.control_plane(planned)?;
    let folder = engine.outside(&host, &plane.pki);
    if !folder.join("ca.crt").exists() {
        let secret = engine.api()?.get("/api/v1/namespaces/kube-system/secrets/kubeadm-certs")?;
        let key = objects::certificate_key(engine)?;
        // ca.crt comes last: once it is there, all are.
        for (name, content) in shared_certs::open(&secret, spec.etcd, &key)?.into_iter().rev() {
            let path = folder.join(name);
            let secret = name.ends_with(".key") || name == "sa.pub";
            whole::write(&path, &content, if secret { 0o600 } else { 0o644 }).map_err(file(&path))?;
        }
    }
    issue(&spec, &folder)?;
    for step in kubeconfigs(&spec, &folder, &host.kubernetes())? {
        // Only the first node has the key to everything (kubeadm since 1.29), and this one's kubelet asks for its own.
        if step.did == Did::Made && matches!(step.name, "super-admin.conf" | "kubelet.conf") {
            let path = host.kubernetes().join(step.name);
            std::fs::remove_file(&path).map_err(file(&path))?;
        }
    }
    Ok(())
}

fn peer(planned: &PlannedHost) -> String {
    format!("https://{}", SocketAddr::new(planned.address(), 2380))
}

/// What etcd says of the host's member, if it has one.
fn member(etcd: &Api, planned: &PlannedHost) -> Result<Option<Member>, EngineError> {
    let peer = peer(planned);
    Ok(etcd.etcd_members()?.into_iter().find(|member| member.peer == peer))
}

/// Adds the host's member to etcd, to learn.
fn add(etcd: &Api, planned: &PlannedHost) -> Result<(), EngineError> {
    match member(etcd, planned)? {
        Some(_) => Ok(()),
        None => Ok(etcd.etcd_add_learner(&peer(planned))?),
    }
}

/// Starts the host's member of etcd. While it learns it never says that it is ready.
fn learn(engine: &Engine<'_>, etcd: &Api, planned: &PlannedHost) -> Result<(), EngineError> {
    let host = engine.host(planned)?;
    if host.client().status()?.iter().any(|status| status.unit.name == "etcd") {
        return Ok(());
    }
    let (_, mut plane) = engine.control_plane(planned)?;
    if let EtcdServers::Local { joins, .. } = &mut plane.etcd {
        // One that has not started yet has no name: etcd knows it by its URL.
        let planned = |member: &Member| engine.plan().of(Role::ControlPlane).find(|host| peer(host) == member.peer);
        let name = |member: &Member| planned(member).map_or_else(|| member.name.clone(), |host| host.name.clone());
        *joins = etcd.etcd_members()?.iter().map(|member| (name(member), member.peer.clone())).collect();
        joins.sort();
    }
    control_plane::begin(engine, planned, &plane, &["etcd"])
}

/// Has the host's member vote, once it has caught up.
///
/// A member says its name through the log when it starts, and serves nobody before it reads that there. One that is
/// given a snapshot finds it in the snapshot instead, waits for 7 s, and says it again (etcd's `publishV3`; since 3.6 a
/// leader's log is without its first entry after a hundred). So it is started once more if it has the snapshot and does
/// not serve, while it has no vote that others could miss.
fn promote(engine: &Engine<'_>, etcd: &Api, planned: &PlannedHost) -> Result<(), EngineError> {
    let Some(learner) = member(etcd, planned)?.filter(|member| member.learner) else { return Ok(()) };
    let host = engine.host(planned)?;
    let (_, plane) = engine.control_plane(planned)?;
    let folders = control_plane::etcd_folders(engine, &host, &plane);
    let own = etcd_at(engine, planned, ETCD_CLIENTS)?;
    let (begun, mut seen) = (Instant::now(), false);
    loop {
        if !seen && folders.iter().any(|folder| has_snapshot(folder)) {
            seen = true;
            if !own.has("/version", ANNOUNCED) {
                // One that has just ended is started again anyway.
                host.client().signal(Some("etcd"), Signal::SIGTERM).ok();
            }
        }
        match etcd.etcd_promote(&learner.id) {
            Ok(()) => return Ok(()),
            Err(error) if begun.elapsed() > PATIENCE => return Err(error.into()),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

/// Has a member with this folder been given a snapshot?
fn has_snapshot(folder: &Path) -> bool {
    let files = std::fs::read_dir(folder.join("member/snap")).into_iter().flatten().flatten();
    files.map(|file| file.path()).any(|path| path.extension().is_some_and(|one| one == "snap"))
}

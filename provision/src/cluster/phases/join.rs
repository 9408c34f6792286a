//! The control planes after the first: kubeadm's `join --control-plane`.

use std::net::SocketAddr;

use crate::cluster::api::{Api, Member};
use crate::cluster::engine::{Engine, EngineError, PATIENCE, await_unit, file};
use crate::cluster::plan::{PlannedHost, Role};
use crate::control_plane::EtcdServers;
use crate::pki::{Did, issue, kubeconfigs};
use crate::{shared_certs, whole};

use super::{control_plane, objects, static_pods};

pub(super) fn control_planes(engine: &Engine<'_>) -> Result<(), EngineError> {
    let others: Vec<_> = engine.plan().of(Role::ControlPlane).skip(1).collect();
    engine.each(&others, |host| {
        certificates(engine, host)?;
        if static_pods::has(engine, host) {
            static_pods::node(engine, host, &engine.control_plane(host)?.1)?;
        }
        Ok(())
    })?;
    // One after the other: etcd takes one member that learns at a time.
    let stacked = matches!(engine.control_plane(engine.plan().first())?.1.etcd, EtcdServers::Local { .. });
    if stacked {
        others.iter().try_for_each(|host| etcd(engine, host))?;
    }
    engine.each(&others, |host| {
        let (_, plane) = engine.control_plane(host)?;
        control_plane::start(engine, host, &plane, &["kube-apiserver"])?;
        control_plane::start(engine, host, &plane, &["kube-controller-manager", "kube-scheduler"])
    })
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

/// Joins a member to etcd: it learns, has caught up, votes.
fn etcd(engine: &Engine<'_>, planned: &PlannedHost) -> Result<(), EngineError> {
    let first = engine.plan().first();
    let (_, leader) = engine.control_plane(first)?;
    let pki = engine.outside(&engine.host(first)?, &leader.pki);
    let server = format!("https://{}", SocketAddr::new(first.address(), 2379));
    let api = Api::of_files(server, &pki.join("etcd/ca.crt"), &pki.join("etcd/healthcheck-client"))?;
    let peer = format!("https://{}", SocketAddr::new(planned.address(), 2380));
    let ours = |members: &[Member]| members.iter().find(|member| member.peer == peer).cloned();
    let mut members = api.etcd_members()?;
    if ours(&members).is_none() {
        api.etcd_add_learner(&peer)?;
        members = api.etcd_members()?;
    }
    let (_, mut plane) = engine.control_plane(planned)?;
    if let EtcdServers::Local { joins, .. } = &mut plane.etcd {
        // The one that is new has no name yet: etcd knows it by its URL.
        let name = |member: &Member| if member.peer == peer { planned.name.clone() } else { member.name.clone() };
        *joins = members.iter().map(|member| (name(member), member.peer.clone())).collect();
        joins.sort();
    }
    let host = engine.host(planned)?;
    let running = host.client().status()?.iter().any(|status| status.unit.name == "etcd");
    if !running {
        // A member that learns never says that it is ready.
        control_plane::begin(engine, planned, &plane, &["etcd"])?;
    }
    if let Some(member) = ours(&api.etcd_members()?).filter(|member| member.learner) {
        api.etcd_promote(&member.id, PATIENCE)?;
    }
    await_unit(&host, "etcd")
}

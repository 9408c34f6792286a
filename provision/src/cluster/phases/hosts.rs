//! The hosts, their links, and the load balancer.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::balancer;
use crate::cluster::engine::{Engine, EngineError, await_unit, file, is_external, own_unit, unit};
use crate::cluster::limits::{self, Machine, Shortage};
use crate::cluster::plan::{HARBOR, PlannedHost, Role};
use crate::cluster::spec::{Durability, LoadBalancer};
use crate::host::Host;
use crate::host::unit::Ready;

/// What a cluster cannot be without: the machine's limits, and credentials that fit. Changes nothing.
pub(in crate::cluster) fn refusals(engine: &Engine<'_>) -> Result<(), EngineError> {
    let plan = engine.plan();
    let (clusters, _, shortages) = shortages(engine);
    let refused: Vec<_> = shortages.iter().filter(|one| !limits::is_raisable(one)).collect();
    if !refused.is_empty() {
        let place = clusters.display();
        let lines: Vec<_> = refused.iter().map(|one| format!("{one} (clusters are in {place})")).collect();
        return Err(EngineError::Preflight(lines.join("\n")));
    }
    let Some(given) = &plan.spec.credentials else { return Ok(()) };
    if !given.join("pki").is_dir() {
        let text = format!("credentials: {} has no folder pki: it is to be like /etc/kubernetes", given.display());
        return Err(EngineError::Preflight(text));
    }
    external_ca(engine, &given.join("pki"))
}

/// With a CA whose key is elsewhere, nothing can be issued for nodes and other control planes.
pub(super) fn external_ca(engine: &Engine<'_>, pki: &Path) -> Result<(), EngineError> {
    let others = engine.plan().of(Role::ControlPlane).count() > 1 || engine.plan().nodes().next().is_some();
    if !is_external(pki) || !others {
        return Ok(());
    }
    Err(EngineError::Preflight(format!(
        "{} has no key, so nothing can be issued for nodes and other control planes: with an external CA there is one \
         control plane, which is no node",
        pki.join("ca.crt").display()
    )))
}

/// Looks at what a cluster cannot be without.
pub(super) fn preflight(engine: &Engine<'_>) -> Result<(), EngineError> {
    refusals(engine)?;
    raise_limits(engine)?;
    let plan = engine.plan();
    if plan.spec.durability == Durability::Fast {
        engine.note("durability is fast: etcd does not wait for the disk, and a power cut loses what it acknowledged");
    }
    if engine.has_dns() && !engine.has_proxy() && plan.nodes().next().is_some() {
        engine.note("there is no kube-proxy: CoreDNS is not waited for, since it does not reach the API server");
    }
    for (kind, count) in [("control planes", plan.spec.control_planes), ("members of etcd", plan.spec.etcd_hosts())] {
        if count > 0 && count.is_multiple_of(2) {
            engine.note(&format!("{count} {kind}: an even number outlives no more failures than one less"));
        }
    }
    Ok(())
}

/// What the cluster lacks, beside the folder of all clusters and what the machine has.
fn shortages(engine: &Engine<'_>) -> (PathBuf, Machine, Vec<Shortage>) {
    let cluster = engine.cluster();
    let clusters = cluster.folder.parent().unwrap_or(&cluster.folder).to_owned();
    let machine = Machine::read(&cluster.folder);
    let alive = |host: &PlannedHost| cluster.host(&host.name).is_ok_and(|host| host.process().is_some());
    let all = limits::shortages(engine.plan(), &machine, &alive);
    (clusters, machine, all)
}

/// Raises what the cluster lacks and root may raise.
fn raise_limits(engine: &Engine<'_>) -> Result<(), EngineError> {
    let (clusters, machine, shortages) = shortages(engine);
    for shortage in shortages.iter().filter(|shortage| limits::is_raisable(shortage)) {
        let now = limits::raise(&clusters, &machine, shortage)
            .map_err(|error| EngineError::Preflight(format!("{shortage} (raising it failed: {error})")))?;
        engine.note(&format!("fs.inotify.max_user_instances is {now} until the last cluster is deleted"));
    }
    Ok(())
}

pub(super) fn hosts(engine: &Engine<'_>) -> Result<(), EngineError> {
    let plan = engine.plan();
    let all: Vec<_> = plan.hosts.iter().collect();
    engine.each(&all, |planned| {
        let host = Host::create(&engine.cluster().host_folder(&planned.name), engine.host_spec(planned)?)?;
        if planned.role == Role::ControlPlane {
            for (path, content) in &plan.spec.control_plane.files {
                let path = host.kubernetes().join(path);
                path.parent().map_or(Ok(()), std::fs::create_dir_all).map_err(file(&path))?;
                crate::whole::write(&path, content, 0o600).map_err(file(&path))?;
            }
        }
        host.start()?;
        Ok(())
    })?;
    engine.cluster().connect_all()?;
    engine.cluster().apply_faults()?;
    Ok(())
}

pub(super) fn load_balancer(engine: &Engine<'_>) -> Result<(), EngineError> {
    let plan = engine.plan();
    let kind = plan.spec.balancer();
    let Some(planned) = plan.host(HARBOR).filter(|_| kind != LoadBalancer::None) else { return Ok(()) };
    let host = engine.host(planned)?;
    let (_, plane) = engine.control_plane(plan.first())?;
    let backend = |one: &PlannedHost| (one.name.clone(), SocketAddr::new(one.address(), plane.port));
    let backends: BTreeMap<_, _> = plan.of(Role::ControlPlane).map(backend).collect();
    let port = engine.endpoint_port();
    let addresses: Vec<_> = planned.addresses.iter().map(|one| SocketAddr::new(one.addr(), port)).collect();
    let ca = engine.outside(&engine.host(plan.first())?, &plane.pki).join("ca.crt");
    let ca = std::fs::read_to_string(&ca).map_err(file(&ca))?;
    let write = |name: &str, text: &str| {
        let path = host.var().join("lib").join(name);
        std::fs::write(&path, text).map_err(file(&path))
    };
    match kind {
        LoadBalancer::None => Ok(()),
        LoadBalancer::Seaworthy => {
            let settings = balancer::Settings { backends, ca, unchecked: false };
            write("balancer.json", &serde_json::to_string_pretty(&settings).unwrap_or_default())?;
            let mut unit = own_unit("load-balancer", &[balancer::ARGUMENT, "/var/lib/balancer.json"]);
            unit.listen = addresses;
            unit.ready = Some(Ready::Socket(balancer::CONTROL.into()));
            host.client().start(unit)?;
            await_unit(&host, "load-balancer")
        }
        LoadBalancer::Haproxy => {
            write("haproxy-ca.crt", &ca)?;
            write("haproxy.cfg", &crate::haproxy::configuration(&addresses, &backends, "/var/lib/haproxy-ca.crt"))?;
            let program =
                engine.programs(planned)?.path("haproxy").map_or("haproxy".into(), |path| path.display().to_string());
            let mut unit = unit(
                "load-balancer",
                vec![program, "-W".into(), "-db".into(), "-f".into(), "/var/lib/haproxy.cfg".into()],
            );
            unit.ready = Some(Ready::Http(crate::haproxy::HEALTH.to_owned()));
            host.client().start(unit)?;
            await_unit(&host, "load-balancer")
        }
    }
}

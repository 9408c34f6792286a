//! The hosts, their links, and the load balancer.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::balancer;
use crate::cluster::engine::{Engine, EngineError, await_unit, file, own_unit, unit};
use crate::cluster::plan::{HARBOR, PlannedHost, Role};
use crate::cluster::spec::{Durability, LoadBalancer};
use crate::host::Host;
use crate::host::unit::Ready;
use crate::manifest::Additions;

/// The least room on the disk of the cluster's folder and of the images, in bytes.
const ROOM: u64 = 2 << 30;

/// Looks at what a cluster cannot be without.
pub(super) fn preflight(engine: &Engine<'_>) -> Result<(), EngineError> {
    let plan = engine.plan();
    let folder = &engine.cluster().folder;
    let room = nix::sys::statvfs::statvfs(folder).map_err(|errno| file(folder)(errno.into()))?;
    let free = room.blocks_available().saturating_mul(room.fragment_size());
    if free < ROOM {
        let text = format!("{} has {} MiB free: {} MiB are needed", folder.display(), free >> 20, ROOM >> 20);
        return Err(EngineError::Preflight(text));
    }
    if let Some(given) = plan.spec.credentials.as_ref().filter(|given| !given.join("pki").is_dir()) {
        let text = format!("credentials: {} has no folder pki: it is to be like /etc/kubernetes", given.display());
        return Err(EngineError::Preflight(text));
    }
    if plan.spec.durability == Durability::Fast {
        engine.note("durability is fast: etcd does not wait for the disk, and a power cut loses what it acknowledged");
    }
    if !plan.spec.has_static_pods() {
        let added = Additions::of(&engine.configuration.cluster);
        for (name, _) in added.into_iter().filter(|(_, one)| *one != Additions::default()) {
            engine.note(&format!(
                "{name} goes without its extraEnvs and extraVolumes, which are of static pods: --static-pods"
            ));
        }
    }
    for (kind, count) in [("control planes", plan.spec.control_planes), ("members of etcd", plan.spec.etcd_hosts())] {
        if count > 0 && count.is_multiple_of(2) {
            engine.note(&format!("{count} {kind}: an even number outlives no more failures than one less"));
        }
    }
    Ok(())
}

pub(super) fn hosts(engine: &Engine<'_>) -> Result<(), EngineError> {
    let plan = engine.plan();
    let all: Vec<_> = plan.hosts.iter().collect();
    engine.each(&all, |planned| {
        Host::create(&engine.cluster().host_folder(&planned.name), engine.host_spec(planned)?)?.start()?;
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
    let addresses: Vec<_> = planned.addresses.iter().map(|one| SocketAddr::new(one.addr(), plane.port)).collect();
    let ca = engine.outside(&engine.host(plan.first())?, &plane.pki).join("ca.crt");
    let ca = std::fs::read_to_string(&ca).map_err(file(&ca))?;
    let write = |name: &str, text: &str| {
        let path = host.var().join("lib").join(name);
        std::fs::write(&path, text).map_err(file(&path))
    };
    match kind {
        LoadBalancer::None => Ok(()),
        LoadBalancer::Seaworthy => {
            let settings = balancer::Settings { backends, ca };
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

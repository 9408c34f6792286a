//! What would be applied to the hosts of a cluster, as one value: what the phases use, and nothing of its own.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{nodes, objects, static_pods};
use crate::cluster::engine::{Engine, EngineError};
use crate::cluster::plan::{PlannedHost, Role};
use crate::host::unit::Unit;
use crate::image::Part;
use crate::pki::{self, Spec};
use crate::upload;

/// All of it. It holds the tokens of kubeadm's documents: it is not to be shown.
pub(in crate::cluster) fn applied(engine: &Engine<'_>, skipped: &[String]) -> Result<Value, EngineError> {
    let plan = engine.plan();
    let phases: Vec<_> = engine.chosen(skipped)?.iter().map(|phase| phase.name).collect();
    let mut hosts = Map::new();
    for planned in &plan.hosts {
        hosts.insert(planned.name.clone(), host(engine, planned)?);
    }
    let release = &plan.first().release;
    let images = [Part::CoreDns].iter().chain(&Part::CONTROL_PLANE);
    let images =
        images.map(|part| Ok(engine.image(*part, release)?.to_string())).collect::<Result<Vec<_>, EngineError>>()?;
    let within = engine.start_within.as_secs();
    Ok(json!({
        "phases": phases,
        "hosts": hosts,
        "server": objects::server(engine)?,
        "certificateKey": objects::given_key(engine),
        "joinsBy": objects::given_token(engine).map(|token| token.reveal()),
        "objects": objects::addons(engine)?,
        "tokens": objects::given_tokens(engine, Timestamp::UNIX_EPOCH)?,
        "configurations": objects::configurations(engine)?,
        "images": images,
        "startWithin": within,
    }))
}

fn host(engine: &Engine<'_>, planned: &PlannedHost) -> Result<Value, EngineError> {
    let mut all = json!({ "release": planned.release.kubernetes.to_string() });
    let unit =
        |unit: &Unit| json!({ "argv": unit.argv, "env": unit.env, "pod": unit.pod.as_ref().map(|pod| &pod.manifest) });
    if matches!(planned.role, Role::ControlPlane | Role::Etcd) {
        let (spec, plane) = engine.control_plane(planned)?;
        let components = plane.components_of(&planned.release);
        let names: Vec<_> = components.iter().map(|component| component.name).collect();
        let units = match static_pods::has(engine, planned) {
            true => static_pods::units(engine, planned, &plane, &names)?,
            false => components.iter().map(|component| engine.process(component)).collect(),
        };
        all["units"] = units.iter().map(unit).collect();
        all["pki"] = json!({ "folder": plane.pki, "certificates": certificates(&spec)?, "cluster": spec.cluster });
    }
    if engine.plan().nodes().any(|node| node == planned) {
        let (node, configured, machine) = nodes::kubelet(engine, planned)?;
        all["kubelet"] = json!({ "flags": node.flags_file(&machine), "configuration": configured.document });
        if planned.role == Role::ControlPlane {
            all["mark"] = upload::mark_control_plane(&Value::Null, objects::taints(engine), &planned.release);
        }
    }
    all["hosts"] = engine.hosts_file()?.into();
    Ok(all)
}

fn certificates(spec: &Spec) -> Result<Vec<Value>, EngineError> {
    let one = |certificate: &pki::Certificate| {
        let sans = &certificate.sans;
        let period = if certificate.ca.is_none() { spec.ca_period } else { spec.period };
        json!({
            "name": certificate.name,
            "sans": sans.names,
            "addresses": sans.addresses,
            "seconds": period.as_secs(),
            "algorithm": format!("{:?}", spec.algorithm),
        })
    };
    Ok(pki::plan(spec)?.iter().map(one).collect())
}

//! What the objects of a cluster say of its availability, without touching it: sizes, single points, spread,
//! Leases, budgets.
//!
//! Each judge is over objects as the API returns them, and names every thing that is not as it has to be. What the
//! objects do not tell (control planes that are no nodes, static pods that are not shown) is [`Unknown`], and not
//! taken as well.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// The objects that the judges look at.
#[derive(Debug, Clone, Default)]
pub struct Objects {
    /// All Nodes.
    pub nodes: Vec<Value>,
    /// The Pods of kube-system.
    pub pods: Vec<Value>,
    /// The Leases of kube-system.
    pub leases: Vec<Value>,
    /// The PodDisruptionBudgets of kube-system.
    pub budgets: Vec<Value>,
    /// The address of the API in kubeadm's configuration, `controlPlaneEndpoint`, if there is one.
    pub endpoint: Option<String>,
}

/// Why a judge cannot tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown(pub String);

/// A thing, and what is wrong with it.
pub type Faults = Vec<(String, String)>;

/// What a judge says: everything that is wrong, or why it cannot tell.
pub type Judged = Result<Faults, Unknown>;

const CONTROL_PLANE: &str = "node-role.kubernetes.io/control-plane";
const ZONE: &str = "topology.kubernetes.io/zone";

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn name(object: &Value) -> &str {
    text(object, "/metadata/name")
}

impl Objects {
    fn component(&self, component: &str) -> Vec<&Value> {
        let labels = ["/metadata/labels/component", "/metadata/labels/k8s-app"];
        let is = |pod: &&Value| labels.iter().any(|label| text(pod, label) == component);
        self.pods.iter().filter(is).collect()
    }

    fn planes(&self) -> Result<Vec<&Value>, Unknown> {
        let planes: Vec<_> =
            self.nodes.iter().filter(|node| node["metadata"]["labels"].get(CONTROL_PLANE).is_some()).collect();
        if planes.is_empty() {
            return Err(Unknown("no Node is a control plane: the objects do not show where it runs".to_owned()));
        }
        Ok(planes)
    }

    fn shown(&self, component: &str) -> Result<Vec<&Value>, Unknown> {
        let pods = self.component(component);
        if pods.is_empty() {
            return Err(Unknown(format!("there is no pod of {component}: it runs otherwise, or elsewhere")));
        }
        Ok(pods)
    }
}

/// The value of a flag of a pod's first container.
fn flag<'a>(pod: &'a Value, name: &str) -> Option<&'a str> {
    let words = ["command", "args"].into_iter().filter_map(|part| pod["spec"]["containers"][0][part].as_array());
    let mut words = words.flatten().filter_map(Value::as_str);
    words.find_map(|word| word.strip_prefix("--")?.strip_prefix(name)?.strip_prefix('='))
}

/// etcd has an odd number of members, three or more. With external members the API servers' flags tell how many.
///
/// # Errors
/// [`Unknown`] if neither members nor API servers are shown.
pub fn etcd_size(objects: &Objects) -> Judged {
    let members = objects.component("etcd").len();
    let count = if members > 0 {
        members
    } else {
        let servers = objects.shown("kube-apiserver")?;
        let endpoints: BTreeSet<_> =
            servers.iter().filter_map(|pod| flag(pod, "etcd-servers")).flat_map(|list| list.split(',')).collect();
        if endpoints.is_empty() {
            return Err(Unknown("no API server says where etcd is".to_owned()));
        }
        endpoints.len()
    };
    let fault = match count {
        1 => "it has 1 member, whose loss is the cluster's; 3 outlive one".to_owned(),
        2 => "it has 2 members: both are the majority, so the loss of either stops it; 3 outlive one".to_owned(),
        _ if count.is_multiple_of(2) => {
            format!("it has {count} members, which outlive no more losses than {}", count - 1)
        }
        _ => return Ok(Vec::new()),
    };
    Ok(vec![("etcd".to_owned(), fault)])
}

/// With external members each API server has all of them; with stacked ones each has its own.
///
/// # Errors
/// [`Unknown`] if no API server is shown.
pub fn etcd_endpoints(objects: &Objects) -> Judged {
    let servers = objects.shown("kube-apiserver")?;
    let of = |pod: &Value| -> BTreeSet<String> {
        flag(pod, "etcd-servers").into_iter().flat_map(|list| list.split(',')).map(str::to_owned).collect()
    };
    let local = |endpoint: &String| endpoint.contains("127.0.0.1") || endpoint.contains("[::1]");
    let all: BTreeSet<_> = servers.iter().flat_map(|pod| of(pod)).filter(|endpoint| !local(endpoint)).collect();
    let mut faults = Vec::new();
    for pod in servers {
        let own = of(pod);
        if own.is_empty() {
            faults.push((name(pod).to_owned(), "--etcd-servers is not given".to_owned()));
        } else if !own.iter().any(local) {
            let missing: Vec<_> = all.difference(&own).cloned().collect();
            if own.len() == 1 && all.len() == 1 {
                faults.push((name(pod).to_owned(), "it has one endpoint of etcd, and no other to go to".to_owned()));
            } else if !missing.is_empty() {
                faults.push((name(pod).to_owned(), format!("it lacks the endpoints {}", missing.join(", "))));
            }
        }
    }
    Ok(faults)
}

/// Three or more control planes, in three or more zones where nodes have zones.
///
/// # Errors
/// [`Unknown`] if no Node is a control plane.
pub fn control_planes(objects: &Objects) -> Judged {
    let planes = objects.planes()?;
    let mut faults = Vec::new();
    if planes.len() < 2 {
        faults.push((name(planes[0]).to_owned(), "it is the only control plane; 2 outlive one".to_owned()));
    }
    let mut zones: BTreeMap<&str, usize> = BTreeMap::new();
    for node in &planes {
        if let Some(zone) = node["metadata"]["labels"][ZONE].as_str() {
            *zones.entry(zone).or_default() += 1;
        }
    }
    let zoned: usize = zones.values().sum();
    if zoned > 0 && zoned < planes.len() {
        faults.push((
            "zones".to_owned(),
            format!("{} of {} control planes have no zone", planes.len() - zoned, planes.len()),
        ));
    }
    let largest = zones.iter().max_by_key(|(_, count)| **count);
    if let Some((zone, count)) = largest.filter(|(_, count)| planes.len() > 2 && **count * 2 > planes.len()) {
        let why = format!("{count} of {} control planes are in it: its loss takes the majority of etcd", planes.len());
        faults.push(((*zone).to_owned(), why));
    }
    Ok(faults)
}

/// CoreDNS has two or more replicas, not all on one node, and a budget against drains.
///
/// # Errors
/// [`Unknown`] if there is no pod of it.
pub fn dns(objects: &Objects) -> Judged {
    let pods = objects.shown("kube-dns")?;
    let mut faults = Vec::new();
    let hosts: BTreeSet<_> =
        pods.iter().map(|pod| text(pod, "/spec/nodeName")).filter(|host| !host.is_empty()).collect();
    if pods.len() < 2 {
        faults.push(("coredns".to_owned(), format!("it has {} replica; 2 outlive one", pods.len())));
    } else if hosts.len() == 1 {
        let host = hosts.first().copied().unwrap_or_default();
        faults.push(("coredns".to_owned(), format!("all {} replicas are on {host}", pods.len())));
    }
    let covered = objects.budgets.iter().any(|budget| {
        let wanted = budget["spec"]["selector"]["matchLabels"].as_object();
        wanted.is_some_and(|wanted| wanted.iter().all(|(key, value)| pods[0]["metadata"]["labels"][key] == *value))
    });
    if !covered {
        faults
            .push(("coredns".to_owned(), "no PodDisruptionBudget covers it: drains may take all replicas".to_owned()));
    }
    Ok(faults)
}

/// The Leases of controller-manager and scheduler are held, and hold for 5 to 60 seconds.
///
/// # Errors
/// [`Unknown`] if there is none.
pub fn leases(objects: &Objects) -> Judged {
    let mut faults = Vec::new();
    for lease in ["kube-controller-manager", "kube-scheduler"] {
        let Some(object) = objects.leases.iter().find(|object| name(object) == lease) else {
            return Err(Unknown(format!("there is no Lease {lease}: it does not elect, or elects otherwise")));
        };
        if text(object, "/spec/holderIdentity").is_empty() {
            faults.push((lease.to_owned(), "nobody holds it".to_owned()));
        }
        match object["spec"]["leaseDurationSeconds"].as_u64() {
            Some(5..=60) => {}
            Some(seconds) => {
                let why =
                    format!("it holds {seconds} s: a successor waits as long (5 to 60 s are usual, 15 the default)");
                faults.push((lease.to_owned(), why));
            }
            None => faults.push((lease.to_owned(), "it has no duration".to_owned())),
        }
    }
    Ok(faults)
}

/// Controller-manager and scheduler run twice or more, and elect.
///
/// # Errors
/// [`Unknown`] if no pod of one is shown.
pub fn replicas(objects: &Objects) -> Judged {
    let mut faults = Vec::new();
    for component in ["kube-controller-manager", "kube-scheduler"] {
        let pods = objects.shown(component)?;
        if pods.len() < 2 {
            faults.push((component.to_owned(), "it runs once; 2 outlive one".to_owned()));
        }
        for pod in pods.iter().filter(|pod| flag(pod, "leader-elect") == Some("false")) {
            faults.push((name(pod).to_owned(), "--leader-elect=false: it acts beside the others".to_owned()));
        }
    }
    Ok(faults)
}

/// The API's common address is not that of one control plane.
///
/// # Errors
/// [`Unknown`] if there is no such address, or no Node is a control plane.
pub fn endpoint(objects: &Objects) -> Judged {
    let Some(endpoint) = &objects.endpoint else {
        return Err(Unknown("kubeadm's configuration has no controlPlaneEndpoint".to_owned()));
    };
    let host = endpoint.rsplit_once(':').map_or(endpoint.as_str(), |(host, _)| host).trim_matches(['[', ']']);
    let mut faults = Vec::new();
    for node in objects.planes()? {
        let addresses = node["status"]["addresses"].as_array().into_iter().flatten();
        if addresses.into_iter().any(|one| one["address"] == host) {
            let why = format!("it is the address of {}: with that node the API is gone", name(node));
            faults.push((endpoint.clone(), why));
        }
    }
    Ok(faults)
}

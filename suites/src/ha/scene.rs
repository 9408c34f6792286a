//! The cluster as the suite finds it: its addresses, who leads, and the constants that bounds are computed from.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use seaworthy_history::{Final, Seen};
use serde_json::{Value, json};

use super::api::Api;
use super::faults;
use super::foreign;
use super::hands::Hands;
use super::liar;
use super::load::{MARK, Place};
use super::wire::Gate;
use crate::cluster::{Ctx, Ours, Stop, Target};

/// Where the API servers of our engine listen, and where etcd answers clients.
const API: u16 = 6443;
const ETCD: u16 = 2379;
/// What stands before the API servers is called so in histories.
pub(super) const BALANCER: &str = "load-balancer";
/// What the leader of an etcd that cannot be asked is called in the words of a fault.
const ETCD_LEADER: &str = "etcd-leader";
/// How long one question to etcd may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// The addresses of a cluster.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) hands: Hands,
    /// What stands before the API servers.
    pub(super) balancer: Arc<Gate>,
    /// The API server of each control plane that can be asked by itself, by its host.
    pub(super) servers: BTreeMap<String, Arc<Gate>>,
    /// All control planes.
    pub(super) planes: Vec<String>,
    /// How many members etcd has.
    pub(super) member_count: usize,
    /// Those that can be asked, by their hosts: on a cluster that is not ours none.
    pub(super) members: BTreeMap<String, Arc<Gate>>,
    /// The hosts of workers.
    pub(super) workers: Vec<String>,
    pub(super) constants: Constants,
}

/// What the cluster was told of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Constants {
    /// How long a Lease of the control plane holds, and how often candidates look at it.
    pub(super) lease: Duration,
    pub(super) retry: Duration,
    /// How long a holder goes on without a renewal.
    pub(super) renew: Duration,
    /// etcd's election timeout.
    pub(super) election: Duration,
    /// How long a node may be silent before it is not Ready, and how often that is looked at.
    pub(super) grace: Duration,
    pub(super) monitor: Duration,
    /// Until the load balancer has dropped an API server that refuses connections or says that it is not ready, and
    /// one that is silent.
    pub(super) refused: Duration,
    pub(super) silent: Duration,
}

impl Constants {
    /// Of the command lines of a control plane's processes, one a line, and the cluster's minor.
    pub(super) fn of(lines: &str, minor: u32) -> Self {
        let flag = |program: &str, name: &str| -> Option<&str> {
            let line = lines.lines().find(|line| {
                line.split_whitespace().next().is_some_and(|first| first.rsplit('/').next() == Some(program))
            })?;
            line.split_whitespace().find_map(|word| word.trim_start_matches('-').strip_prefix(name)?.strip_prefix('='))
        };
        let time = |name: &str, or: Duration| {
            let text = flag("kube-controller-manager", name);
            let span = text.and_then(|text| text.parse::<jiff::SignedDuration>().ok());
            span.and_then(|span| span.try_into().ok()).unwrap_or(or)
        };
        let election = flag("etcd", "election-timeout").and_then(|text| text.parse().ok());
        let grace = Duration::from_secs(if minor >= 32 { 50 } else { 40 });
        Self {
            lease: time("leader-elect-lease-duration", Duration::from_secs(15)),
            renew: time("leader-elect-renew-deadline", Duration::from_secs(10)),
            retry: time("leader-elect-retry-period", Duration::from_secs(2)),
            election: election.map_or(Duration::from_secs(1), Duration::from_millis),
            grace: time("node-monitor-grace-period", grace),
            monitor: time("node-monitor-period", Duration::from_secs(5)),
            refused: faults::refused(),
            silent: faults::silent(),
        }
    }

    /// The longest time until a candidate has the Lease of a holder that died: the Lease holds from the last
    /// renewal that the candidate saw, which it looks at after up to 2.2 times the retry period, and once more
    /// after it ran out.
    pub(super) fn takeover(&self) -> Duration {
        self.lease + self.retry.mul_f64(2.2) * 2
    }

    /// The longest time for which a holder that was stopped acts on once it continues. A Lease is no fence
    /// (k8s.io/client-go/tools/leaderelection): the holder looks at it after up to a retry period, and tries to renew
    /// it until its renew deadline.
    pub(super) fn gives_up(&self) -> Duration {
        self.retry + self.renew
    }

    /// The longest time until etcd has another leader: a randomized timeout of up to twice the election timeout.
    pub(super) fn leader(&self) -> Duration {
        2 * self.election
    }
}

pub(super) fn broken(what: &str, why: impl std::fmt::Display) -> Stop {
    Stop::Undetermined(format!("{what}: {why}"))
}

impl Scene {
    /// Learns the addresses.
    pub(super) async fn find(ctx: &Ctx) -> Result<Self, Stop> {
        let target = ctx.target();
        let Some(ours) = target.ours.clone() else { return foreign::find(ctx, target.hook.clone()).await };
        let api = Api::of(target).await.map_err(|why| broken("the kubeconfig", why))?;
        let balancer = Arc::new(api.named(BALANCER));
        let hosts = hosts(&ours).await.map_err(|why| broken("cluster status", why))?;
        let named = |start: &str| {
            let start = start.to_owned();
            hosts.iter().filter(move |(name, _)| name.starts_with(&start))
        };
        let mut servers: BTreeMap<_, _> =
            named("cp").map(|(name, ip)| (name.clone(), api.at(name, SocketAddr::new(*ip, API)))).collect();
        if let Some((host, address)) = liar::proxy_of(&target.facts.uid)
            && let Some(gate) = servers.get_mut(&host)
        {
            gate.proxy = Some(address);
        }
        let servers: BTreeMap<_, _> = servers.into_iter().map(|(name, gate)| (name, Arc::new(gate))).collect();
        let first = servers.keys().next().ok_or_else(|| broken("the cluster", "it has no control plane"))?;
        let tls = etcd_tls(&ours, first).await.map_err(|why| broken("etcd's client certificate", why))?;
        let start = if named("etcd").next().is_some() { "etcd" } else { "cp" };
        let members: BTreeMap<_, _> = named(start)
            .map(|(name, ip)| (name.clone(), member(&format!("{name}/etcd"), SocketAddr::new(*ip, ETCD), &tls)))
            .map(|(name, gate)| (name, Arc::new(gate)))
            .collect();
        let script = "for p in /proc/[0-9]*/cmdline; do tr '\\0' ' ' < $p; echo; done";
        let lines = ours.exec(first, &["sh", "-c", script]).await.map_err(|error| broken("command lines", error))?;
        let lines = String::from_utf8_lossy(&lines.stdout).into_owned();
        let constants = Constants::of(&lines, target.facts.minor);
        let workers = named("worker").map(|(name, _)| name.clone()).collect();
        let planes = servers.keys().cloned().collect();
        let (hands, member_count) = (Hands::Ours(ours), members.len());
        Ok(Self { hands, balancer, servers, planes, member_count, members, workers, constants })
    }

    /// All that is asked: the load balancer first.
    pub(super) fn gates(&self) -> Vec<Arc<Gate>> {
        std::iter::once(&self.balancer).chain(self.servers.values()).cloned().collect()
    }

    /// Where everything is read at the end: each API server, or what stands before them.
    pub(super) fn places(&self) -> Vec<Arc<Gate>> {
        if self.servers.is_empty() { vec![self.balancer.clone()] } else { self.servers.values().cloned().collect() }
    }

    /// The host of etcd's leader, as a majority of its members see it. Where none can be asked, it is the hook's to
    /// know: `etcd-leader`.
    pub(super) async fn etcd_leader(&self) -> Result<String, Stop> {
        if self.members.is_empty() {
            return Ok(ETCD_LEADER.to_owned());
        }
        let mut ids = BTreeMap::new();
        let mut votes: BTreeMap<String, usize> = BTreeMap::new();
        for (host, gate) in &self.members {
            let status = etcd(gate, "/v3/maintenance/status", &json!({})).await.unwrap_or_default();
            if let (Some(id), Some(leader)) = (status["header"]["member_id"].as_str(), status["leader"].as_str()) {
                ids.insert(id.to_owned(), host.clone());
                *votes.entry(leader.to_owned()).or_default() += 1;
            }
        }
        let leader = votes.into_iter().find(|(_, count)| *count > self.members.len() / 2);
        leader
            .and_then(|(id, _)| ids.get(&id).cloned())
            .ok_or_else(|| broken("etcd", "its members do not agree on a leader"))
    }

    /// The hosts of the other members; `etcd-follower-1` and so on where it is the hook's to know.
    pub(super) fn etcd_followers(&self, leader: &str) -> Vec<String> {
        if self.members.is_empty() {
            return (1..self.member_count).map(|number| format!("etcd-follower-{number}")).collect();
        }
        self.members.keys().filter(|host| *host != leader).cloned().collect()
    }

    /// What each member of etcd itself has of the objects, once it has all up to a revision.
    pub(super) async fn etcd_finals(&self, place: &Place, revision: u64) -> Vec<Result<Final, String>> {
        let mut finals = Vec::new();
        for gate in self.members.values() {
            finals.push(member_final(gate, place, revision).await.map_err(|why| format!("{}: {why}", gate.name)));
        }
        finals
    }
}

async fn member_final(gate: &Gate, place: &Place, revision: u64) -> Result<Final, String> {
    let start = format!("/registry/configmaps/{}/", place.namespace);
    let end = format!("/registry/configmaps/{}0", place.namespace);
    let range = json!({ "key": STANDARD.encode(&start), "range_end": STANDARD.encode(end), "serializable": true });
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        let answer = etcd(gate, "/v3/kv/range", &range).await;
        let at = answer.as_ref().ok().and_then(|answer| answer["header"]["revision"].as_str()?.parse::<u64>().ok());
        match answer {
            Ok(answer) if at.is_some_and(|at| at >= revision) => {
                let items = answer["kvs"].as_array().cloned().unwrap_or_default();
                let objects = items.iter().filter_map(|item| stored(item, &start)).collect();
                return Ok(Final { place: gate.name.clone(), objects });
            }
            answer if tokio::time::Instant::now() > deadline => {
                let why = answer.err().unwrap_or_else(|| format!("it is at revision {at:?}"));
                return Err(format!("it did not reach revision {revision}: {why}"));
            }
            _ => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// An object of the load, as etcd has it: the payload stands in its bytes as it is.
fn stored(item: &Value, start: &str) -> Option<(String, Seen)> {
    let text = |name: &str| STANDARD.decode(item[name].as_str()?).ok();
    let key = String::from_utf8(text("key")?).ok()?;
    let name = key.strip_prefix(start)?.to_owned();
    let value = text("value")?;
    let mark = MARK.as_bytes();
    let at = value.windows(mark.len()).position(|window| window == mark)? + mark.len();
    let digits: Vec<u8> = value[at..].iter().copied().take_while(u8::is_ascii_digit).collect();
    let payload = String::from_utf8(digits).ok()?.parse().ok()?;
    Some((name, Seen { payload, version: item["mod_revision"].as_str()?.parse().ok()? }))
}

async fn etcd(gate: &Gate, path: &str, body: &Value) -> Result<Value, String> {
    let ask = async {
        let mut line = gate.open().await?;
        let answer = line.call(Method::POST, path, Some(("application/json", body))).await;
        answer.map_err(|broke| broke.why().to_owned())
    };
    match tokio::time::timeout(PATIENCE, ask).await {
        Ok(Ok((200, answer))) => Ok(answer),
        Ok(Ok((status, _))) => Err(format!("HTTP {status}")),
        Ok(Err(why)) => Err(why),
        Err(_) => Err("no answer".to_owned()),
    }
}

fn member(name: &str, address: SocketAddr, tls: &Arc<rustls::ClientConfig>) -> Gate {
    let host = ServerName::IpAddress(address.ip().into());
    Gate { name: name.to_owned(), address, proxy: None, host, tls: tls.clone(), login: None }
}

/// The hosts of a cluster of ours, and their first addresses.
async fn hosts(ours: &Ours) -> Result<Vec<(String, IpAddr)>, String> {
    let status = ours.status().await.map_err(|error| error.to_string())?;
    let hosts = status["hosts"].as_array().into_iter().flatten();
    let host = |host: &Value| Some((host["name"].as_str()?.to_owned(), host["addresses"][0].as_str()?.parse().ok()?));
    Ok(hosts.filter_map(host).collect())
}

/// The first control plane, and its API server.
pub(super) async fn first_server(target: &Target, ours: &Ours) -> Result<(String, Arc<Gate>), String> {
    let api = Api::of(target).await?;
    let hosts = hosts(ours).await?;
    let (host, ip) = hosts.into_iter().find(|(name, _)| name.starts_with("cp")).ok_or("there is no control plane")?;
    let gate = Arc::new(api.at(&host, SocketAddr::new(ip, API)));
    Ok((host, gate))
}

/// A file of kubeadm's folder of certificates and keys.
pub(super) async fn pki_file(ours: &Ours, host: &str, name: &str) -> Result<Vec<u8>, String> {
    let output = ours.exec(host, &["cat", &format!("/etc/kubernetes/pki/{name}")]).await;
    let output = output.map_err(|error| error.to_string())?;
    if output.status.success() { Ok(output.stdout) } else { Err(format!("{name} cannot be read on {host}")) }
}

/// As the API servers ask etcd.
async fn etcd_tls(ours: &Ours, host: &str) -> Result<Arc<rustls::ClientConfig>, String> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pki_file(ours, host, "etcd/ca.crt").await?) {
        roots.add(certificate.map_err(|error| error.to_string())?).map_err(|error| error.to_string())?;
    }
    let chain = pki_file(ours, host, "apiserver-etcd-client.crt").await?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&chain).collect();
    let chain = chain.map_err(|error| error.to_string())?;
    let key = PrivateKeyDer::from_pem_slice(&pki_file(ours, host, "apiserver-etcd-client.key").await?);
    let key = key.map_err(|_| "apiserver-etcd-client.key is no key".to_owned())?;
    let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_client_auth_cert(chain, key);
    let mut config = config.map_err(|error| error.to_string())?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_are_those_of_the_flags_else_of_the_version() {
        let lines = "/programs/etcd --name=cp1 --election-timeout=2000 \n\
                     /programs/kube-controller-manager --leader-elect=true --leader-elect-lease-duration=1m0s \n";
        let found = Constants::of(lines, 31);
        assert_eq!((found.lease, found.election), (Duration::from_mins(1), Duration::from_secs(2)));
        assert_eq!((found.retry, found.grace), (Duration::from_secs(2), Duration::from_secs(40)));
        let plain = Constants::of("", 37);
        assert_eq!((plain.lease, plain.grace), (Duration::from_secs(15), Duration::from_secs(50)));
        assert_eq!(plain.takeover(), Duration::from_millis(23_800));
        assert_eq!(plain.leader(), Duration::from_secs(2));
    }

    #[test]
    fn a_payload_is_found_in_the_bytes_of_etcd() {
        let value = [b"k8s\x00\x0a\x0c\x12payload\x12\x17".as_slice(), MARK.as_bytes(), b"412-\x1a"].concat();
        let item = json!({
            "key": STANDARD.encode("/registry/configmaps/ns/object-3"),
            "value": STANDARD.encode(value),
            "mod_revision": "77",
        });
        let found = stored(&item, "/registry/configmaps/ns/");
        assert_eq!(found, Some(("object-3".to_owned(), Seen { payload: 412, version: 77 })));
    }
}

//! The cluster's TLS servers as they answer: what each presents, whom it asks for a certificate, and all that it would
//! speak.
//!
//! Files say what a server should serve; only the server says what it does serve. [`Facts::read`] asks the servers that
//! the user names, those that listen on a Kubernetes port of this node, and those that the API leads to.

mod clients;
mod clock;
mod identity;
mod login;
mod protocol;

pub(crate) use clients::dn;
pub use login::LogIn;
pub(super) use login::log_ins;

pub(crate) use identity::{covers, day, made_at, matches, names};

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::discover::Role;
use super::tally::Tally;
use super::x509::Certificate;
use super::{Check, View};
use crate::fact::Fact;
use crate::host::hello::CertificateRequest;
use crate::host::{Clock, Host, Query, Served, Survey, TlsCall, Welcome};
use crate::profile::Profile;

/// The name by which kube-apiserver serves the certificate that it shows to itself, made when it starts and never
/// renewed (k8s.io/apiserver, `server.LoopbackClientServerNameOverride`).
pub const LOOPBACK: &str = "apiserver-loopback-client";

/// The name that pods reach the API server by.
pub const IN_CLUSTER: &str = "kubernetes.default.svc";

/// How many servers are asked at once.
const AT_ONCE: usize = 16;

/// What a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Server {
    /// kube-apiserver.
    Apiserver,
    /// The kubelet.
    Kubelet,
    /// kube-controller-manager.
    ControllerManager,
    /// kube-scheduler.
    Scheduler,
    /// etcd, for clients.
    Etcd,
    /// etcd, for its peers.
    EtcdPeer,
    /// An admission or conversion webhook.
    Webhook,
    /// An API server of the aggregation layer.
    AggregatedApi,
    /// Any other server.
    Other,
}

impl Server {
    /// All of them, in the order of `--endpoint`'s help.
    pub const ALL: [Self; 9] = [
        Self::Apiserver,
        Self::Kubelet,
        Self::ControllerManager,
        Self::Scheduler,
        Self::Etcd,
        Self::EtcdPeer,
        Self::Webhook,
        Self::AggregatedApi,
        Self::Other,
    ];

    /// The name as `--endpoint` takes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Apiserver => "apiserver",
            Self::Kubelet => "kubelet",
            Self::ControllerManager => "controller-manager",
            Self::Scheduler => "scheduler",
            Self::Etcd => "etcd",
            Self::EtcdPeer => "etcd-peer",
            Self::Webhook => "webhook",
            Self::AggregatedApi => "aggregated-api",
            Self::Other => "other",
        }
    }

    /// The server that usually listens on a port: those of kubeadm, MicroK8s (16443) and kops (4001 and 4002).
    #[must_use]
    pub fn of_port(port: u16) -> Option<Self> {
        Some(match port {
            6443 | 16443 => Self::Apiserver,
            10250 => Self::Kubelet,
            10257 => Self::ControllerManager,
            10259 => Self::Scheduler,
            2379 | 4001 | 4002 => Self::Etcd,
            2380 => Self::EtcdPeer,
            _ => return None,
        })
    }

    /// What it serves, as a role of a file.
    fn serving(self) -> Option<Role> {
        Some(match self {
            Self::Apiserver => Role::ApiserverServing,
            Self::Kubelet => Role::KubeletServing,
            Self::ControllerManager => Role::ControllerManagerServing,
            Self::Scheduler => Role::SchedulerServing,
            Self::Etcd => Role::EtcdServer,
            Self::EtcdPeer => Role::EtcdPeer,
            Self::Webhook | Self::AggregatedApi | Self::Other => return None,
        })
    }

    /// A path that only who is somebody may read, where there is one.
    fn private_path(self) -> Option<&'static str> {
        match self {
            Self::Kubelet => Some("/pods"),
            Self::Etcd => Some("/version"),
            Self::ControllerManager | Self::Scheduler => Some("/metrics"),
            _ => None,
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A server that is to be asked, as the user names it: `HOST:PORT[=ROLE]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Target {
    /// A name or an address; IPv6 without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// What it is.
    pub server: Server,
}

/// A server that something leads to: a kubeconfig, a webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lead {
    /// Where it is.
    pub target: Target,
    /// The name that it is verified for, where that is not the target's host.
    pub name: Option<String>,
}

/// Why a text names no server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadTarget {
    /// Not of the form.
    #[error("'{0}' names no server: write HOST:PORT or HOST:PORT=ROLE, an IPv6 address in brackets")]
    Form(String),
    /// There is no such role.
    #[error("'{0}' is no role of a server: it is one of {names}", names = Server::ALL.map(Server::name).join(", "))]
    Role(String),
    /// The port does not say what it is.
    #[error(
        "which server is at port {0}? Say so with =ROLE: one of {names}",
        names = Server::ALL.map(Server::name).join(", ")
    )]
    Port(u16),
}

impl std::str::FromStr for Target {
    type Err = BadTarget;

    fn from_str(text: &str) -> Result<Self, BadTarget> {
        let form = || BadTarget::Form(text.to_owned());
        let (place, role) = text.split_once('=').map_or((text, None), |(place, role)| (place, Some(role)));
        let (host, port) = place.rsplit_once(':').ok_or_else(form)?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = bracketed.unwrap_or(host);
        // A colon is only in IPv6 addresses, which need their brackets.
        let whole = bracketed.is_none_or(|host| host.parse::<Ipv6Addr>().is_ok());
        if host.is_empty() || (bracketed.is_none() && host.contains([':', '/'])) || !whole {
            return Err(form());
        }
        let port: u16 = port.parse().map_err(|_| form())?;
        let server = match role {
            Some(role) => Server::ALL.into_iter().find(|server| server.name() == role),
            None => Some(Server::of_port(port).ok_or(BadTarget::Port(port))?),
        };
        let server = server.ok_or_else(|| BadTarget::Role(role.unwrap_or_default().to_owned()))?;
        Ok(Self { host: host.to_owned(), port, server })
    }
}

/// What a server presents, read.
#[derive(Debug, Clone)]
pub struct Presented {
    /// The certificates that can be read, the server's own first.
    pub chain: Vec<Arc<Certificate>>,
    /// Why its own certificate cannot be read, if it cannot.
    pub malformed: Option<String>,
    /// How it asks for a client certificate; `None`: it does not.
    pub request: Option<CertificateRequest>,
    /// Why the handshake was not finished, if it was not.
    pub failure: Option<String>,
}

impl Presented {
    fn of(served: Served) -> Self {
        let mut malformed = None;
        let chain = served.chain.iter().enumerate().filter_map(|(place, der)| match Certificate::parse(der) {
            Ok(certificate) => Some(Arc::new(certificate)),
            Err(why) => {
                if place == 0 {
                    malformed = Some(why.to_string());
                }
                None
            }
        });
        let chain = chain.collect();
        Self { chain, malformed, request: served.request, failure: served.failure }
    }

    /// The server's own certificate.
    #[must_use]
    pub fn leaf(&self) -> Option<&Arc<Certificate>> {
        self.chain.first().filter(|_| self.malformed.is_none())
    }
}

/// A server that was asked, at one of its addresses.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// What it is.
    pub server: Server,
    /// The host that the user, or the API, calls it by, if any.
    pub host: Option<String>,
    /// Who says that it is there.
    pub origin: Origin,
    /// Where it was asked.
    pub address: SocketAddr,
    /// Does it listen on every address of this node, as far as that is known?
    pub everywhere: bool,
    /// What it presents to someone who indicates no name.
    pub presented: Fact<Presented>,
    /// What it presents to those who indicate these names.
    pub named: BTreeMap<String, Fact<Presented>>,
    /// What it accepts.
    pub survey: Fact<Survey>,
    /// How it treats someone without a certificate.
    pub welcome: Fact<Welcome>,
    /// How far its clock is ahead of that of the machine that asked.
    pub clock: Fact<Clock>,
}

impl Endpoint {
    /// Server and address: `etcd 127.0.0.1:2379`.
    #[must_use]
    pub fn title(&self) -> String {
        format!("{} {}", self.server, self.address)
    }

    /// What is known; what is not, and should be, is counted as unknown. A server that does not answer is no unknown: a
    /// claim of its own is about that.
    fn need<'a, T>(&self, fact: &'a Fact<T>, tally: &mut Tally) -> Option<&'a T> {
        match fact {
            Fact::Known(value) => Some(value),
            Fact::Unreadable(why) | Fact::Malformed(why) | Fact::NotGathered(why)
                if self.presented.known().is_some() =>
            {
                tally.unknown(why);
                None
            }
            _ => None,
        }
    }

    /// The server's certificate, as [`Endpoint::need`] has it. A server that speaks no TLS has none.
    fn leaf(&self, tally: &mut Tally) -> Option<&Arc<Certificate>> {
        if self.survey.known().is_some_and(|survey| survey.plain.is_some()) {
            return None;
        }
        let presented = self.need(&self.presented, tally)?;
        if let Some(why) = &presented.malformed {
            tally.unknown(format!("{}: its certificate cannot be read: {why}", self.title()));
        } else if presented.chain.is_empty() {
            let why = presented.failure.as_deref().unwrap_or("it presents no certificate");
            tally.unknown(format!("{}: {why}", self.title()));
        }
        presented.leaf()
    }

    fn ask(host: &dyn Host, place: Place) -> Self {
        let Place { server, host: name, origin, address, everywhere } = place;
        let mut names: BTreeSet<&str> = BTreeSet::new();
        if server == Server::Apiserver {
            names.extend([LOOPBACK, IN_CLUSTER]);
        }
        names.extend(name.as_deref().filter(|name| name.parse::<IpAddr>().is_err()));
        let present = |name: Option<&str>| {
            said::<Served>(host, address, TlsCall::Served { name: name.map(str::to_owned) }).map(Presented::of)
        };
        let presented = present(None);
        // Who does not answer is not asked again and again.
        let absent = format!("{server} {address} does not answer");
        let answers = presented.known().is_some();
        Self {
            server,
            address,
            origin,
            everywhere,
            presented,
            named: names.iter().filter(|_| answers).map(|name| ((*name).to_owned(), present(Some(name)))).collect(),
            survey: if answers { said(host, address, TlsCall::Survey) } else { Fact::Absent(absent.clone()) },
            welcome: match server.private_path() {
                Some(path) if answers => said(host, address, TlsCall::Welcome { path: path.to_owned() }),
                _ => Fact::Absent(absent.clone()),
            },
            clock: match server {
                Server::Apiserver | Server::Kubelet if answers => said(host, address, TlsCall::Clock),
                _ => Fact::Absent(absent),
            },
            host: name,
        }
    }
}

/// A place to ask at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    address: SocketAddr,
    server: Server,
    host: Option<String>,
    origin: Origin,
    everywhere: bool,
}

/// Who says that a server is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// The user.
    User,
    /// The node: something listens on the port.
    Node,
    /// The kubeconfig, or an object of the API.
    Api,
}

/// What the servers say.
#[derive(Debug, Default)]
pub struct Facts {
    /// The servers that answer, or should.
    pub endpoints: Vec<Endpoint>,
    /// Servers that were named and have no address: host and reason.
    pub unresolved: Vec<(Target, String)>,
    /// Certificates that were shown to them; `None` where nobody asked for that.
    pub log_ins: Option<Vec<LogIn>>,
}

impl Facts {
    /// Asks the servers that the user names, those that listen on a Kubernetes port of this node, and those that
    /// `leads` lead to.
    #[must_use]
    pub fn read(host: &dyn Host, leads: Vec<Lead>) -> Self {
        let mut facts = Self::default();
        let layout = host.layout();
        // A folder that was given alone is no node: what listens on this machine has nothing to do with it.
        let mut places = if layout.bare { BTreeSet::new() } else { listening(host) };
        let named = layout.endpoints.into_iter().map(|target| (Origin::User, Lead { target, name: None }));
        let leads = leads.into_iter().map(|lead| (Origin::Api, lead));
        for (origin, Lead { target, name }) in named.chain(leads) {
            match resolve(host, &target.host) {
                Ok(addresses) => places.extend(addresses.into_iter().map(|address| Place {
                    address: SocketAddr::new(address, target.port),
                    server: target.server,
                    host: Some(name.clone().unwrap_or_else(|| target.host.clone())),
                    origin,
                    everywhere: false,
                })),
                Err(why) => facts.unresolved.push((target, why)),
            }
        }
        facts.endpoints = ask_all(host, places.into_iter().collect());
        facts
    }

    /// The endpoints of a server.
    pub fn of(&self, server: Server) -> impl Iterator<Item = &Endpoint> {
        self.endpoints.iter().filter(move |endpoint| endpoint.server == server)
    }
}

/// The claims about servers, in the order in which they are listed.
pub(super) fn checks() -> Vec<Check> {
    [identity::checks, clients::checks, login::checks, protocol::checks, clock::checks]
        .into_iter()
        .flat_map(|family| family())
        .collect()
}

/// A claim about servers, whose judge goes through them at a time and counts.
fn checks_of(id: &str, title: &str, judge: impl Fn(&Facts, &Profile, &mut Tally) + Send + Sync + 'static) -> Check {
    Check::new(id, title, move |view| {
        let mut tally = Tally::default();
        judge(&view.facts.live, view.profile, &mut tally);
        tally.conclude("servers", "no such server was named, and none listens on this node")
    })
    .label("pki")
    .label("live")
}

/// A claim about servers and files, whose judge goes through them and counts.
fn claim(id: &str, title: &str, judge: impl Fn(&View<'_>, &mut Tally) + Send + Sync + 'static) -> Check {
    Check::new(id, title, move |view| {
        let mut tally = Tally::default();
        judge(view, &mut tally);
        tally.conclude("servers", "no such server answers, or its files are not known")
    })
    .label("pki")
    .label("live")
}

/// Asks all, several at once, and keeps their order.
fn ask_all(host: &dyn Host, places: Vec<Place>) -> Vec<Endpoint> {
    let mut endpoints = Vec::new();
    for batch in places.chunks(AT_ONCE) {
        std::thread::scope(|scope| {
            let asked: Vec<_> =
                batch.iter().map(|place| scope.spawn(move || Endpoint::ask(host, place.clone()))).collect();
            for one in asked {
                endpoints.push(one.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
        });
    }
    endpoints
}

fn said<T: DeserializeOwned>(host: &dyn Host, address: SocketAddr, call: TlsCall) -> Fact<T> {
    host.parsed(&Query::Tls { address: address.to_string(), call })
}

/// The addresses of a host.
fn resolve(host: &dyn Host, name: &str) -> Result<Vec<IpAddr>, String> {
    if let Ok(address) = name.parse() {
        return Ok(vec![address]);
    }
    match host.parsed::<Vec<String>>(&Query::Lookup { name: name.to_owned() }) {
        Fact::Known(all) => Ok(all.iter().filter_map(|address| address.parse().ok()).collect()),
        Fact::Absent(why) | Fact::Unreadable(why) | Fact::Malformed(why) | Fact::NotGathered(why) => Err(why),
    }
}

/// The Kubernetes ports that this node listens on, by the kernel's tables. Where it listens on every address, the
/// loopback address is asked.
fn listening(host: &dyn Host) -> BTreeSet<Place> {
    let mut places = BTreeSet::new();
    for (file, loopback) in [("tcp", IpAddr::V4(Ipv4Addr::LOCALHOST)), ("tcp6", IpAddr::V6(Ipv6Addr::LOCALHOST))] {
        // Of the first process, so that a container that looks sees the node's; ours where that is forbidden.
        let text = match host.text(&format!("/proc/1/net/{file}")) {
            Fact::Known(text) => text,
            _ => host.text(&format!("/proc/net/{file}")).known().cloned().unwrap_or_default(),
        };
        for address in text.lines().filter_map(listener) {
            let Some(server) = Server::of_port(address.port()) else { continue };
            let everywhere = address.ip().is_unspecified();
            let ip = if everywhere { loopback } else { address.ip() };
            places.insert(Place {
                address: SocketAddr::new(ip, address.port()),
                server,
                host: None,
                origin: Origin::Node,
                everywhere,
            });
        }
    }
    places
}

/// The address of a line of /proc/net/tcp or tcp6 that listens: slot, local address, remote address, state (0A
/// listens). Addresses are words of 32 bits as the machine has them in memory.
fn listener(line: &str) -> Option<SocketAddr> {
    let mut fields = line.split_whitespace().skip(1);
    let (ip, port) = fields.next()?.split_once(':')?;
    if fields.nth(1)? != "0A" {
        return None;
    }
    let mut bytes = Vec::new();
    for word in 0..ip.len() / 8 {
        bytes.extend(u32::from_str_radix(ip.get(word * 8..word * 8 + 8)?, 16).ok()?.to_ne_bytes());
    }
    let ip = match <[u8; 4]>::try_from(&bytes[..]) {
        Ok(v4) => IpAddr::from(v4),
        Err(_) => IpAddr::from(<[u8; 16]>::try_from(&bytes[..]).ok()?).to_canonical(),
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

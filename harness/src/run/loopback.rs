//! A throw-away control plane on this machine's loopback, for a kubelet that runs here already: what node-test brought
//! along.
//!
//! etcd, kube-apiserver, kube-controller-manager and kube-scheduler listen on 127.0.0.1 only, with a PKI of their own
//! in a folder that goes with the run. The kubelet finds them at `http://localhost:8080`, a plain front of the API
//! server's secure port, and pulls the image of workloads, which is this program, from a registry on the loopback.

use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anstream::eprintln;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use seaworthy_provision::assets::{Cache, Program, Programs, Source, find};
use seaworthy_provision::control_plane::{Component, ControlPlane, EtcdServers, ExtraFlags};
use seaworthy_provision::image::{Image, Reference, Store, workload};
use seaworthy_provision::pki::{self, Spec};
use seaworthy_provision::registry::Registry;
use seaworthy_simulated::{Call, Client, Lane};
use seaworthy_suites::cluster::Target;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio_rustls::TlsConnector;

use crate::assets::request_of;
use crate::cluster::EngineOptions;
use crate::fault::Fault;
use crate::signals;

const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Where the kubelet looks for the API server, by the documented contract.
const FRONT: u16 = 8080;
const SECURE: u16 = 6443;
/// Where the image is served: a runtime with a mirror for every registry needs a file of its own for this one.
const REGISTRY: u16 = 5080;
/// What else is listened on: etcd's three ports, the controller-manager's and the scheduler's.
const OTHERS: [u16; 5] = [2379, 2380, 2381, 10257, 10259];
/// What it consists of.
pub(crate) const PROGRAMS: [&str; 4] = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"];
/// How long the control plane may take to be ready, and then the node.
const PATIENCE: Duration = Duration::from_mins(3);
/// How long components have to end.
const GRACE: Duration = Duration::from_secs(10);

/// What runs on the loopback. Its parts end with it.
pub(super) struct Loopback {
    /// In the order in which they were started.
    components: Vec<(&'static str, Child)>,
    front: tokio::task::JoinHandle<()>,
    _registry: Registry,
    /// It holds keys: only we may enter it, and it goes with us.
    folder: TempDir,
}

impl Drop for Loopback {
    fn drop(&mut self) {
        self.front.abort();
    }
}

fn broken(what: impl std::fmt::Display) -> impl Fn(&dyn std::fmt::Display) -> Fault {
    let what = what.to_string();
    move |why| Fault::ours(format!("{what}: {why}"))
}

/// Starts everything and waits for the kubelet; the cluster that it makes with it.
pub(super) async fn start(engine: &EngineOptions, node: Option<&str>) -> Result<(Target, Loopback), Fault> {
    let programs = programs(engine)?;
    let front = listen(FRONT)?;
    for port in OTHERS.into_iter().chain([SECURE]) {
        drop(listen(port)?);
    }
    // The image is nothing but programs: there is no /tmp in it.
    let parent = std::env::temp_dir();
    let folder = std::fs::create_dir_all(&parent)
        .and_then(|()| tempfile::Builder::new().prefix("seaworthy-loopback-").tempdir_in(&parent));
    let folder = folder.map_err(|error| broken("a folder for the control plane")(&error))?;
    let (registry, image) = serve_image(folder.path())?;
    let (components, front) = control_plane(folder.path(), &programs, front).await?;
    let mut loopback = Loopback { components, front, _registry: registry, folder };
    let client = loopback.client()?;
    let name = match loopback.node(&client, node).await {
        Ok(name) => name,
        Err(fault) => {
            loopback.stop().await;
            return Err(fault);
        }
    };
    let target = Target::connect(&loopback.kubeconfig(), None).await;
    let mut target = target.map_err(|error| Fault::ours(error.to_string()))?;
    target.name = format!("kubelet-{name}");
    // It is Ready; taints of a moment ago, or for ever, keep no pod of ours away.
    target.facts.workers = target.facts.workers.max(1);
    (target.node, target.image) = (Some(name), image);
    (target.disruption, target.is_local) = (true, true);
    Ok((target, loopback))
}

fn programs(engine: &EngineOptions) -> Result<Programs, Fault> {
    let cache = engine.cache.clone().map(Cache::at).or_else(Cache::of_user);
    let cache = cache.unwrap_or_else(|| Cache::at("/var/cache/seaworthy"));
    let mut request = request_of(engine.bin_dir.as_ref(), None, cache);
    request.programs = PROGRAMS.iter().filter_map(|name| Program::named(name)).collect();
    request.sources = vec![Source::Directory, Source::Path, Source::Cache];
    find(&request).map_err(|missing| {
        Fault::usage(missing.to_string()).hint(
            "`seaworthy assets fetch etcd kube-apiserver kube-controller-manager kube-scheduler` puts them into the \
             cache; an image has them in /bin (docs/container.md)",
        )
    })
}

/// Listens on a port of the loopback, or says that somebody else does.
fn listen(port: u16) -> Result<std::net::TcpListener, Fault> {
    std::net::TcpListener::bind(SocketAddr::new(HOST, port)).map_err(|error| {
        Fault::usage(format!("port {port} of the loopback is taken ({error}), and a control plane of ours needs it"))
            .hint(format!("end what listens there: ss -ltnp 'sport = :{port}'"))
    })
}

/// Serves this program as an image; the registry, and the image's name there.
fn serve_image(folder: &Path) -> Result<(Registry, String), Fault> {
    let failed = broken("the image of workloads");
    let seaworthy = std::env::current_exe().map_err(|error| failed(&error))?;
    let (socket, address) = (listen(REGISTRY)?, SocketAddr::new(HOST, REGISTRY));
    let image = workload(&seaworthy);
    let reference = Reference { registry: address.to_string(), ..image.reference };
    let name = format!("{}/{}:{}", reference.registry, reference.repository, reference.tag);
    let store = Store::open(folder.join("images")).map_err(|error| failed(&error))?;
    store.add(&Image { reference, ..image }).map_err(|error| failed(&error))?;
    let registry = Registry::start(vec![socket], store).map_err(|error| failed(&error))?;
    Ok((registry, name))
}

/// Issues a PKI, starts the components, and waits until the API server is ready.
async fn control_plane(
    folder: &Path,
    programs: &Programs,
    front: std::net::TcpListener,
) -> Result<(Vec<(&'static str, Child)>, tokio::task::JoinHandle<()>), Fault> {
    let failed = broken("a control plane on the loopback");
    let (pki, plane) = (folder.join("pki"), plane(folder));
    let spec = Spec::new("loopback", HOST, jiff::Timestamp::now());
    std::fs::create_dir_all(folder.join("etcd")).map_err(|error| failed(&error))?;
    pki::issue(&spec, &pki).map_err(|error| failed(&error))?;
    pki::kubeconfigs(&spec, &pki, folder).map_err(|error| failed(&error))?;
    let front = TcpListener::from_std(front.set_nonblocking(true).map(|()| front).map_err(|error| failed(&error))?);
    let front = forward(front.map_err(|error| failed(&error))?, Arc::new(credentials(&pki)?));
    let mut components = Vec::new();
    for component in plane.components() {
        let Some(program) = programs.path(component.name) else { continue };
        let child = spawn(folder, program, &component).map_err(|error| failed(&error))?;
        components.push((component.name, child));
    }
    let begun = Instant::now();
    let client = open(&folder.join("super-admin.conf"))?;
    let call = Call::get("/readyz");
    while let Err(why) = client.ask(Lane::Work, &call).await.and_then(|reply| reply.success(&call)) {
        for (name, child) in &mut components {
            if let Ok(Some(status)) = child.try_wait() {
                return Err(Fault::ours(format!("{name} ended ({status}): {}", last_lines(folder, name))));
            }
        }
        if begun.elapsed() > PATIENCE {
            return Err(failed(&format!("it is not ready: {why}; {}", last_lines(folder, "kube-apiserver"))));
        }
        pause().await?;
    }
    Ok((components, front))
}

/// kubeadm's flags, on the loopback, and for one run.
fn plane(folder: &Path) -> ControlPlane {
    let flags = |flags: &[(&str, &str)]| flags.iter().map(|(flag, value)| ((*flag).into(), (*value).into())).collect();
    ControlPlane {
        node: "loopback".to_owned(),
        advertise: HOST,
        port: SECURE,
        services: Spec::new("loopback", HOST, jiff::Timestamp::UNIX_EPOCH).services,
        pods: Vec::new(),
        domain: "cluster.local".to_owned(),
        cluster: "loopback".to_owned(),
        pki: folder.join("pki"),
        kubeconfigs: folder.to_owned(),
        external_ca: false,
        etcd: EtcdServers::Local { joins: Vec::new(), data: folder.join("etcd") },
        extra: ExtraFlags {
            etcd: flags(&[("listen-client-urls", "https://127.0.0.1:2379"), ("unsafe-no-fsync", "true")]),
            // Who reaches the loopback's plain port is an administrator anyhow; a kubelet that asks back is told so.
            apiserver: flags(&[
                ("authorization-mode", "AlwaysAllow"),
                ("bind-address", "127.0.0.1"),
                ("endpoint-reconciler-type", "none"),
            ]),
            controller_manager: flags(&[("leader-elect", "false")]),
            scheduler: flags(&[("leader-elect", "false")]),
        },
    }
}

fn spawn(folder: &Path, program: &Path, component: &Component) -> io::Result<Child> {
    let log = File::create(folder.join(format!("{}.log", component.name)))?;
    let mut command = Command::new(program);
    command.args(component.arguments()).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    // A group of its own: Ctrl-C is for us, and we end it.
    command.process_group(0).kill_on_drop(true).spawn()
}

fn last_lines(folder: &Path, name: &str) -> String {
    let text = std::fs::read(folder.join(format!("{name}.log"))).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(5)..].join("\n")
}

fn open(kubeconfig: &Path) -> Result<Client, Fault> {
    Client::open(kubeconfig, None).map_err(|error| Fault::ours(error.to_string()))
}

/// Between two looks at what is not ready yet.
async fn pause() -> Result<(), Fault> {
    if signals::seen().is_some() {
        return Err(Fault::ours("interrupted while the control plane or the node was not ready yet"));
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    Ok(())
}

/// How the front shows itself to the API server.
fn credentials(pki: &Path) -> Result<ClientConfig, Fault> {
    let failed = broken("the front of the API server");
    let mut roots = RootCertStore::empty();
    let file = |name: &str| pki.join(name);
    let ca = CertificateDer::from_pem_file(file("ca.crt")).map_err(|error| failed(&error))?;
    roots.add(ca).map_err(|error| failed(&error))?;
    let name = "apiserver-kubelet-client";
    let certificate = CertificateDer::from_pem_file(file(&format!("{name}.crt"))).map_err(|error| failed(&error))?;
    let key = PrivateKeyDer::from_pem_file(file(&format!("{name}.key"))).map_err(|error| failed(&error))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| failed(&error))?.with_root_certificates(roots);
    builder.with_client_auth_cert(vec![certificate], key).map_err(|error| failed(&error))
}

/// Passes plain connections on to the secure port.
fn forward(front: TcpListener, config: Arc<ClientConfig>) -> tokio::task::JoinHandle<()> {
    let connector = TlsConnector::from(config);
    tokio::spawn(async move {
        loop {
            let Ok((mut plain, _)) = front.accept().await else { continue };
            let connector = connector.clone();
            tokio::spawn(async move {
                // A client sees a connection that ends, as when the API server itself is away.
                let stream = TcpStream::connect(SocketAddr::new(HOST, SECURE)).await?;
                let mut secure = connector.connect(ServerName::from(HOST), stream).await?;
                tokio::io::copy_bidirectional(&mut plain, &mut secure).await
            });
        }
    })
}

impl Loopback {
    fn kubeconfig(&self) -> PathBuf {
        self.folder.path().join("super-admin.conf")
    }

    fn client(&self) -> Result<Client, Fault> {
        open(&self.kubeconfig())
    }

    /// Waits for the one node that registers, until it is Ready; its name.
    async fn node(&self, client: &Client, wanted: Option<&str>) -> Result<String, Fault> {
        eprintln!("    note: the control plane is ready at http://localhost:{FRONT}; waiting for the kubelet");
        let begun = Instant::now();
        loop {
            let nodes = nodes(client).await?;
            let late = begun.elapsed() > PATIENCE;
            match &nodes[..] {
                [node] => {
                    let name = node["metadata"]["name"].as_str().unwrap_or_default().to_owned();
                    if wanted.is_some_and(|wanted| wanted != name) {
                        return Err(Fault::usage(format!(
                            "--node {}: it is {name} that registered",
                            wanted.unwrap_or("")
                        )));
                    }
                    match unready(node) {
                        None => return Ok(name),
                        Some(why) if late => return Err(Fault::usage(format!("the node {name} is not Ready: {why}"))),
                        Some(_) => {}
                    }
                }
                [] if late => return Err(nobody()),
                [] => {}
                _ => {
                    let names: Vec<_> = nodes.iter().filter_map(|node| node["metadata"]["name"].as_str()).collect();
                    let why = format!("{} nodes registered: {}; expected one", names.len(), names.join(", "));
                    return Err(Fault::usage(why).hint("stop the kubelets that are not under test"));
                }
            }
            pause().await?;
        }
    }

    /// Ends everything, in the opposite order.
    pub(super) async fn stop(&mut self) {
        while let Some((_, mut child)) = self.components.pop() {
            let id = child.id().and_then(|id| i32::try_from(id).ok());
            // One that has ended already is gone.
            let _ = id.map(|id| kill(Pid::from_raw(id), Signal::SIGTERM));
            if tokio::time::timeout(GRACE, child.wait()).await.is_err() {
                child.kill().await.ok();
            }
        }
    }
}

async fn nodes(client: &Client) -> Result<Vec<Value>, Fault> {
    let call = Call::get("/api/v1/nodes");
    let reply = client.ask(Lane::Work, &call).await.and_then(|reply| reply.success(&call));
    let list = reply.and_then(|reply| reply.json(&call)).map_err(|error| Fault::ours(error.to_string()))?;
    Ok(list["items"].as_array().cloned().unwrap_or_default())
}

/// Why a node is not Ready; `None` if it is.
fn unready(node: &Value) -> Option<String> {
    let ready = node["status"]["conditions"].as_array().into_iter().flatten().find(|one| one["type"] == "Ready");
    match ready {
        Some(ready) if ready["status"] == "True" => None,
        Some(ready) => Some(ready["message"].as_str().unwrap_or_default().to_owned()),
        None => Some("the kubelet says nothing of it".to_owned()),
    }
}

fn nobody() -> Fault {
    Fault::usage(format!("no kubelet registered at http://localhost:{FRONT} within {PATIENCE:?}")).hint(
        "start the kubelet with --kubeconfig FILE, where FILE names the server http://localhost:8080; \
         one that has registered with the control plane of an earlier run must be started again",
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_node_that_is_not_ready_says_why() {
        let node = |status: &str| {
            let ready = json!({ "type": "Ready", "status": status, "message": "no CNI" });
            json!({ "status": { "conditions": [ready] } })
        };
        assert_eq!(unready(&node("True")), None);
        assert_eq!(unready(&node("False")).as_deref(), Some("no CNI"));
        assert!(unready(&json!({})).is_some());
    }

    #[test]
    fn nothing_listens_beyond_the_loopback() {
        for component in plane(Path::new("/folder")).components() {
            for (flag, value) in &component.flags {
                if flag.contains("listen") || flag.contains("bind-address") || flag == "advertise-address" {
                    assert!(value.contains("127.0.0.1"), "{} --{flag}={value}", component.name);
                }
            }
        }
    }

    #[test]
    fn a_port_that_is_taken_is_named() {
        let taken = std::net::TcpListener::bind((HOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        assert!(listen(port).unwrap_err().message().contains(&format!("port {port}")));
    }
}

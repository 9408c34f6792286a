//! The real containerd, runc, CNI plug-ins and kubelet on a host of namespaces, with our configuration, our registry
//! and our images: a pod comes up on both families. Needs root.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code")]

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Failed, Trial};
use nix::sched::{CloneFlags, setns};
use seaworthy_provision::assets::{Programs, Release, Request, find};
use seaworthy_provision::host::unit::{Ready, Restart, Unit};
use seaworthy_provision::host::{Host, HostSpec, host_main};
use seaworthy_provision::image::{Part, REPOSITORY, Store, workload};
use seaworthy_provision::node::cni::PodNetwork;
use seaworthy_provision::node::containerd::{Containerd, Generation, hosts};
use seaworthy_provision::node::kubelet::{self, Cluster, Kubelet};
use seaworthy_provision::registry::Registry;
use serde_json::{Value, json};

const SEAWORTHY: &str = env!("CARGO_BIN_EXE_seaworthy");
/// Where the files of the test are on the host, and below its /var on this machine.
const FILES: &str = "/var/lib/test";

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    if let Some(code) = host_main(&arguments) {
        return code;
    }
    let programs = programs();
    let ignored = programs.is_none();
    let test =
        Trial::test("a_pod_comes_up_on_both_families", move || pod(&programs.unwrap())).with_ignored_flag(ignored);
    libtest_mimic::run(&Arguments::from_args(), vec![test]).exit_code()
}

fn programs() -> Option<Programs> {
    let names =
        ["containerd", "containerd-shim-runc-v2", "runc", "bridge", "host-local", "loopback", "portmap", "kubelet"];
    let found = find(&Request::here(Release::newest(), &names)?).map_err(|missing| println!("{missing}"));
    let found = found.ok().filter(|_| nix::unistd::geteuid().is_root());
    if found.is_none() {
        let what = "root, containerd, runc, containernetworking-plugins and `seaworthy assets fetch kubelet`";
        assert!(std::env::var_os("SEAWORTHY_REQUIRE").is_none(), "this test needs {what}");
        println!("skipped: it needs {what}");
    }
    found
}

/// A host; it is removed with this value.
struct Removed(Option<Host>);

impl Drop for Removed {
    fn drop(&mut self) {
        if let Some(host) = self.0.take() {
            host.remove().ok();
        }
    }
}

/// Does something in the network of a host.
fn inside<T: Send>(pid: i32, work: impl FnOnce() -> T + Send) -> T {
    let network = std::fs::File::open(format!("/proc/{pid}/ns/net")).unwrap();
    std::thread::scope(|scope| {
        let work = || {
            setns(network.as_fd(), CloneFlags::CLONE_NEWNET).unwrap();
            work()
        };
        scope.spawn(work).join().unwrap()
    })
}

fn get(to: SocketAddr, path: &str) -> Option<String> {
    use std::io::{Read as _, Write as _};
    let mut stream = TcpStream::connect_timeout(&to, Duration::from_secs(1)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: pod\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.starts_with("HTTP/1.1 200 ").then(|| body.to_owned())
}

fn unit(name: &str, argv: Vec<String>, ready: Ready) -> Unit {
    let (env, listen, cgroup) = (BTreeMap::new(), Vec::new(), Some(name.to_owned()));
    let (after, ready) = (None, Some(ready));
    Unit { name: name.to_owned(), argv, env, restart: Restart::Never, after, ready, listen, cgroup, pod: None }
}

/// A pod of the workload, as a file of the kubelet.
fn manifest(image: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": "workload", "namespace": "default" },
        "spec": {
            "containers": [{
                "name": "workload",
                "image": image,
                "imagePullPolicy": "Always",
                "ports": [{ "containerPort": 8080, "hostPort": 18080 }],
                "readinessProbe": { "httpGet": { "path": "/readyz", "port": 8080 }, "periodSeconds": 1 },
                "securityContext": {
                    "runAsUser": 65534, "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"] },
                },
            }],
        },
    })
}

/// The configuration of everything on the host, below its /var.
fn configure(var: &Path, programs: &Programs, registry: SocketAddr, image: &str) -> (Vec<String>, kubelet::Host) {
    let at = |name: &str| PathBuf::from(FILES).join(name);
    let write = |name: &str, content: &str| {
        let path = var.join("lib/test").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    };
    let said = Command::new(programs.path("containerd").unwrap()).arg("--version").output().unwrap();
    let containerd = Containerd {
        generation: Generation::of(&String::from_utf8_lossy(&said.stdout)).unwrap(),
        root: "/var/lib/containerd".into(),
        state: "/run/containerd".into(),
        socket: "/run/containerd/containerd.sock".into(),
        sandbox: Part::Pause.reference(&Release::newest(), REPOSITORY).unwrap(),
        registries: at("certs.d"),
        cni_configuration: at("net.d"),
        cni_plugins: programs.path("bridge").unwrap().parent().unwrap().to_owned(),
        shim: programs.path("containerd-shim-runc-v2").map(Path::to_owned),
        runc: programs.path("runc").map(Path::to_owned),
        sys_resource: false,
    };
    write("config.toml", &containerd.config());
    write("certs.d/_default/hosts.toml", &hosts(&registry.to_string()));
    let network = PodNetwork {
        ranges: vec!["10.244.1.0/24".parse().unwrap(), "fd00:10:244:1::/64".parse().unwrap()],
        state: "/run/cni".into(),
        masquerade: false,
        mtu: None,
    };
    write("net.d/10-seaworthy.conflist", &network.configuration());
    write("manifests/workload.json", &manifest(image).to_string());
    // A kubelet without an API server asks nobody who may ask it.
    let alone = json!({
        "authentication": {
            "anonymous": { "enabled": true }, "webhook": { "enabled": false }, "x509": { "clientCAFile": "" },
        },
        "authorization": { "mode": "AlwaysAllow" },
        "staticPodPath": at("manifests"),
        "fileCheckFrequency": "1s",
    });
    let host = kubelet::Host {
        minor: Release::newest().kubernetes.minor(),
        runtime: containerd.socket.clone(),
        cgroup_v1: !Path::new("/sys/fs/cgroup/cgroup.controllers").exists(),
        cgroup_root: "/".to_owned(),
        swap: std::fs::read_to_string("/proc/swaps").unwrap().lines().count() > 1,
        resolv_conf: None,
    };
    let dns = "10.96.0.10".parse().unwrap();
    let cluster = Cluster { dns, domain: "cluster.local", pki: Path::new("/etc/kubernetes/pki"), user: Some(&alone) };
    let configured = host.configuration(&cluster);
    let path = var.join("lib/kubelet");
    std::fs::create_dir_all(&path).unwrap();
    std::fs::write(path.join("config.yaml"), configured.yaml()).unwrap();
    let kubelet = Kubelet {
        node: "ship".to_owned(),
        hostname: "ship".to_owned(),
        addresses: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
        taints: Vec::new(),
        kubeconfigs: "/etc/kubernetes".into(),
        extra: Vec::new(),
    };
    let mut component = kubelet.component(&host, &configured);
    component.flags.retain(|(flag, _)| !flag.ends_with("kubeconfig"));
    let program = programs.path("kubelet").unwrap().display().to_string();
    (std::iter::once(program).chain(component.arguments()).collect(), host)
}

fn pod(programs: &Programs) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let store = Store::open(folder.path().join("images"))?;
    let pause = Part::Pause.reference(&Release::newest(), REPOSITORY)?;
    store.add(&Part::Pause.image(pause.clone(), programs, Path::new(SEAWORTHY)).unwrap())?;
    let image = workload(Path::new(SEAWORTHY));
    store.add(&image)?;
    assert_eq!(std::fs::read_dir(folder.path().join("images/layers"))?.count(), 1, "the two share their one layer");

    let spec = HostSpec {
        folders: BTreeMap::new(),
        name: "ship".to_owned(),
        cgroup: format!("seaworthy/test{}", folder.path().file_name().unwrap().to_string_lossy()),
        programs: BTreeMap::new(),
        hosts: "127.0.0.1 localhost\n".to_owned(),
        resolv: "nameserver 192.0.2.53\n".to_owned(),
        rootless: false,
    };
    let host = Removed(Some(Host::create(&folder.path().join("ship"), spec)?));
    let ship = host.0.as_ref().unwrap();
    let pid = ship.start()?.pid;
    let client = ship.client();
    // A link that leads nowhere: a node has an address and a default route, whatever is behind them.
    let address = "ip link set lo up; ip link add wire type veth peer name nowhere; ip link set wire up; ip link set \
                   nowhere up; ip address add 192.0.2.1/24 dev wire; ip address add 2001:db8::1/64 dev wire nodad; ip \
                   route add default via 192.0.2.2; ip route add default via 2001:db8::2";
    client.output(&["sh", "-c", address])?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let _entered = runtime.enter();
    let socket = inside(pid, || TcpListener::bind("127.0.0.1:5000"))?;
    let registry = Registry::start(vec![socket], store)?;
    let reference = image.reference.to_string();
    let (kubelet, _) = configure(&ship.var(), programs, registry.addresses()[0], &reference);

    let socket = "/run/containerd/containerd.sock";
    let containerd = programs.path("containerd").unwrap().display().to_string();
    let argv = vec![containerd, "--config".to_owned(), format!("{FILES}/config.toml")];
    client.start(unit("containerd", argv, Ready::Socket(socket.into())))?;
    client.start(unit("kubelet", kubelet, Ready::Http("http://127.0.0.1:10248/healthz".to_owned())))?;
    for name in ["containerd", "kubelet"] {
        if let Some((status, log)) = client.wait(name, Duration::from_mins(2))? {
            return Err(format!("{name} is not ready: {status:?}\n{}", log.join("\n")).into());
        }
    }

    // host-local remembers an address by a file of its name.
    let addresses = || {
        let listed = client.output(&["ls", "/run/cni/seaworthy"]).unwrap_or_default();
        let found: Vec<std::net::IpAddr> = listed.lines().filter_map(|line| line.parse().ok()).collect();
        (found.len() == 2).then_some(found)
    };
    let begun = Instant::now();
    let answered = loop {
        let all = addresses().unwrap_or_default();
        let ask = |&address: &std::net::IpAddr| get((address, 8080).into(), "/hostname");
        let answers: Vec<_> = inside(pid, || all.iter().filter_map(ask).collect());
        if answers.len() == 2 {
            break answers;
        }
        if begun.elapsed() > Duration::from_mins(2) {
            let tail = |name: &str| {
                let log = ship.log(name).unwrap_or_default();
                log.lines().rev().take(15).collect::<Vec<_>>().join("\n")
            };
            return Err(format!("the pod does not answer: {}\n\n{}", tail("kubelet"), tail("containerd")).into());
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    assert_eq!(answered, ["workload-ship", "workload-ship"], "a pod's host name is its own");
    // The port of the node leads to the pod.
    let port = inside(pid, || get("192.0.2.1:18080".parse().unwrap(), "/hostname"));
    assert_eq!(port.as_deref(), Some("workload-ship"));
    // Only what the sandbox and the container need was pulled, by the names that Kubernetes has for them.
    let images = client.output(&["ctr", "--namespace", "k8s.io", "images", "list", "--quiet"])?;
    let mut named: Vec<_> = images.lines().filter(|line| !line.contains("sha256:")).map(str::to_owned).collect();
    named.sort();
    assert_eq!(named, [pause.to_string(), reference]);
    // The pod ends when it is told to, rather than when patience ends.
    client.output(&["rm", &format!("{FILES}/manifests/workload.json")])?;
    let begun = Instant::now();
    while addresses().is_some() {
        assert!(begun.elapsed() < Duration::from_secs(60), "the pod does not end");
        std::thread::sleep(Duration::from_millis(50));
    }
    runtime.block_on(registry.stop(Duration::from_secs(5)));
    Ok(())
}

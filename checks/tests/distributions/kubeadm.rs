//! Nodes that kubeadm sets up, by hand or by an installer above it.

use seaworthy_checks::Role;
use seaworthy_checks::host::Program;

use crate::tree::Tree;
use crate::{Mutation, Node, mutation};

pub(crate) const CONFIG: &str = "/var/lib/kubelet/config.yaml";
const ENV: &str = "/var/lib/kubelet/kubeadm-flags.env";
const DROP_IN: &str = "/usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf";
const CONTAINERD: &str = "/etc/containerd/config.toml";
const SOCKET: &str = "/run/containerd/containerd.sock";

/// A certificate until 2034, of nobody in particular.
pub(crate) const CERTIFICATE: &str = "\
-----BEGIN CERTIFICATE-----
MIIBCzCBsgIBATAKBggqhkjOPQQDAjASMRAwDgYDVQQDDAdleGFtcGxlMB4XDTI0
MDEwMTAwMDAwMFoXDTM0MDEwMTAwMDAwMFowEjEQMA4GA1UEAwwHZXhhbXBsZTBZ
MBMGByqGSM49AgEGCCqGSM49AwEHA0IABIJfokA2HrfnYgYp6LmP2ZiwbC09/8uu
zmt2zJPj2FH0VOCpIAk2rFF8WyXMMkTqwLaNAfNszSynrlqZAyJ3wFEwCgYIKoZI
zj0EAwIDSAAwRQIgTe/gW+nuvTB524mfi6/F46fgPyDuCPTN1ajA0sCOMzkCIQDx
fgqk9xQvBVN1y3sVjnTiokh/1wsqYOXzSwId38RvaA==
-----END CERTIFICATE-----
";

const KUBEADM_DROP_IN: &str = concat!(
    r#"# Note: This dropin only works with kubeadm and kubelet v1.11+
[Service]
Environment="KUBELET_KUBECONFIG_ARGS=--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf"#,
    r#" --kubeconfig=/etc/kubernetes/kubelet.conf"
Environment="KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml"
# This is a file that "kubeadm init" and "kubeadm join" generates at runtime
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
# This is a file that the user can use for overrides of the kubelet args as a last resort.
EnvironmentFile=-ETC
ExecStart=
ExecStart=/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS $KUBELET_EXTRA_ARGS
"#
);

const KUBELET_UNIT: &str = "\
[Unit]
Description=kubelet: The Kubernetes Node Agent
Wants=network-online.target

[Service]
ExecStart=/usr/bin/kubelet
Restart=always

[Install]
WantedBy=multi-user.target
";

/// The configuration that kubeadm writes; `socket` is the runtime's, from 1.36 on a member of it.
pub(crate) fn kubelet_config(resolv_conf: &str, socket: &str) -> String {
    format!(
        "apiVersion: kubelet.config.k8s.io/v1beta1
authentication:
  anonymous:
    enabled: false
  webhook:
    cacheTTL: 0s
    enabled: true
  x509:
    clientCAFile: /etc/kubernetes/pki/ca.crt
authorization:
  mode: Webhook
  webhook:
    cacheAuthorizedTTL: 0s
    cacheUnauthorizedTTL: 0s
cgroupDriver: systemd
clusterDNS:
- 10.96.0.10
clusterDomain: cluster.local
containerRuntimeEndpoint: \"{socket}\"
cpuManagerReconcilePeriod: 0s
evictionPressureTransitionPeriod: 0s
fileCheckFrequency: 0s
healthzBindAddress: 127.0.0.1
healthzPort: 10248
httpCheckFrequency: 0s
imageMaximumGCAge: 0s
imageMinimumGCAge: 0s
kind: KubeletConfiguration
logging:
  flushFrequency: 0
  options:
    json:
      infoBufferSize: \"0\"
    text:
      infoBufferSize: \"0\"
  verbosity: 0
memorySwap: {{}}
nodeStatusReportFrequency: 0s
nodeStatusUpdateFrequency: 0s
resolvConf: {resolv_conf}
rotateCertificates: true
runtimeRequestTimeout: 0s
shutdownGracePeriod: 0s
shutdownGracePeriodCriticalPods: 0s
staticPodPath: /etc/kubernetes/manifests
streamingConnectionIdleTimeout: 0s
syncFrequency: 0s
volumeStatsAggPeriod: 0s
"
    )
}

/// What kubeadm leaves on any node: the kubelet's unit, its files, its certificate.
pub(crate) fn joined(tree: &mut Tree, version: &str, args: &str, resolv_conf: &str, socket: &str, etc: &str) {
    tree.program("/usr/bin/kubelet").program("/usr/bin/kubeadm").program("/usr/bin/crictl");
    tree.unit("kubelet.service", KUBELET_UNIT).file(DROP_IN, &KUBEADM_DROP_IN.replace("ETC", etc));
    tree.file(CONFIG, &kubelet_config(resolv_conf, socket));
    tree.file(ENV, &format!("KUBELET_KUBEADM_ARGS=\"{args}\"\n"));
    tree.private("/etc/kubernetes/kubelet.conf", "apiVersion: v1\nkind: Config\n");
    tree.file("/etc/kubernetes/pki/ca.crt", CERTIFICATE).folder("/etc/kubernetes/manifests");
    client_certificate(tree, "/var/lib/kubelet/pki");
    tree.file("/etc/crictl.yaml", &format!("runtime-endpoint: {socket}\n"));
    let command = format!(
        "/usr/bin/kubelet --bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf \
         --kubeconfig=/etc/kubernetes/kubelet.conf --config={CONFIG}{}{args}",
        if args.is_empty() { "" } else { " " }
    );
    tree.kubelet(version, &command).says(Program::KubeadmVersion, version);
}

/// The kubelet's rotating client certificate below a folder.
pub(crate) fn client_certificate(tree: &mut Tree, folder: &str) {
    let file = format!("{folder}/kubelet-client-2026-01-01-00-00-00.pem");
    tree.private(&file, CERTIFICATE).link(&format!("{folder}/kubelet-client-current.pem"), &file);
}

/// The control plane's manifests, keys and kubeconfigs.
fn control_plane(tree: &mut Tree) {
    for component in ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd"] {
        let manifest = format!("apiVersion: v1\nkind: Pod\nmetadata:\n  name: {component}\n  namespace: kube-system\n");
        tree.private(&format!("/etc/kubernetes/manifests/{component}.yaml"), &manifest);
    }
    for name in ["admin", "super-admin", "controller-manager", "scheduler"] {
        tree.private(&format!("/etc/kubernetes/{name}.conf"), "apiVersion: v1\nkind: Config\n");
    }
    for name in ["apiserver", "apiserver-kubelet-client", "front-proxy-ca", "etcd/ca", "etcd/server"] {
        tree.file(&format!("/etc/kubernetes/pki/{name}.crt"), CERTIFICATE);
        tree.private(&format!("/etc/kubernetes/pki/{name}.key"), "");
    }
    tree.private("/etc/kubernetes/pki/ca.key", "").private("/etc/kubernetes/pki/sa.key", "");
    tree.private("/etc/kubernetes/pki/sa.pub", "").folder("/var/lib/etcd").folder("/var/lib/etcd/member");
}

fn network(tree: &mut Tree, name: &str, folder: &str) {
    let list = format!(
        r#"{{"cniVersion": "1.0.0", "name": "{name}", "plugins": [{{"type": "bridge"}}, {{"type": "portmap"}}]}}"#
    );
    tree.private(&format!("/etc/cni/net.d/10-{name}.conflist"), &list);
    for plugin in ["bridge", "host-local", "loopback", "portmap"] {
        tree.program(&format!("{folder}/{plugin}"));
    }
}

/// containerd 2 with the configuration that its documentation has for kubeadm.
fn containerd(tree: &mut Tree, version: &str, driver: Option<&str>) {
    tree.program("/usr/bin/containerd").program("/usr/bin/runc");
    tree.unit("containerd.service", "[Service]\nExecStart=/usr/bin/containerd\n").process("/usr/bin/containerd");
    tree.runtime(SOCKET, "containerd", version, driver);
}

fn ubuntu() -> Node {
    let mut tree = Tree::new("ubuntu", "Ubuntu 24.04.3 LTS");
    tree.file("/run/systemd/resolve/resolv.conf", "nameserver 192.0.2.53\n");
    tree.file("/run/systemd/resolve/stub-resolv.conf", "nameserver 127.0.0.53\n");
    tree.remove("/etc/resolv.conf").link("/etc/resolv.conf", "../run/systemd/resolve/stub-resolv.conf");
    tree.process("/usr/lib/systemd/systemd-resolved");
    containerd(&mut tree, "v2.2.1", Some("systemd"));
    tree.file(
        CONTAINERD,
        "version = 3
imports = ['/etc/containerd/conf.d/*.toml']

[plugins.'io.containerd.cri.v1.runtime'.containerd]
default_runtime_name = 'runc'

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = 'io.containerd.runc.v2'

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
SystemdCgroup = true
",
    );
    let socket = "unix:///run/containerd/containerd.sock";
    let resolv = "/run/systemd/resolve/resolv.conf";
    joined(&mut tree, "v1.37.2", "", resolv, socket, "/etc/default/kubelet");
    control_plane(&mut tree);
    network(&mut tree, "net", "/opt/cni/bin");
    Node { name: "kubeadm, Ubuntu", role: Role::ControlPlane, minor: 37, tree, mutations: on_containerd() }
}

fn on_containerd() -> Vec<Mutation> {
    vec![
        mutation("anonymous requests by a flag in /etc/default/kubelet", &["node.kubelet.anonymous-auth"], |tree| {
            tree.file("/etc/default/kubelet", "KUBELET_EXTRA_ARGS=--anonymous-auth=true\n");
            tree.edit_process("config.yaml", "config.yaml --anonymous-auth=true");
        }),
        mutation("the read-only port", &["node.kubelet.read-only-port"], |tree| {
            tree.edit(CONFIG, "rotateCertificates: true", "readOnlyPort: 10255\nrotateCertificates: true");
        }),
        mutation("the stub resolver is handed to pods", &["node.network.resolver-stub"], |tree| {
            tree.edit(CONFIG, "/run/systemd/resolve/resolv.conf", "/etc/resolv.conf");
        }),
        mutation("swap, and nobody allows it", &["node.kubelet.fail-swap-on", "node.machine.swap"], |tree| {
            tree.file("/proc/swaps", "Filename\tType\tSize\tUsed\tPriority\n/swap.img file 2097148 0 -2\n");
        }),
        mutation("the live value of ip_forward", &["node.sysctl.net.ipv4.ip-forward"], |tree| {
            tree.file("/proc/sys/net/ipv4/ip_forward", "0\n");
        }),
        mutation("no rotation, by a flag", &["node.kubelet.rotate-certificates"], |tree| {
            tree.edit(ENV, "=\"\"", "=\"--rotate-certificates=false\"");
            tree.edit_process("config.yaml", "config.yaml --rotate-certificates=false");
        }),
    ]
}

fn debian_before_31() -> Node {
    let mut tree = Tree::new("debian", "Debian GNU/Linux 12 (bookworm)");
    containerd(&mut tree, "1.6.20~ds1", None);
    tree.file(
        CONTAINERD,
        "version = 2

[plugins.\"io.containerd.grpc.v1.cri\"]
  sandbox_image = \"registry.k8s.io/pause:3.9\"
[plugins.\"io.containerd.grpc.v1.cri\".cni]
  bin_dir = \"/usr/lib/cni\"
[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc]
  runtime_type = \"io.containerd.runc.v2\"
[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc.options]
  SystemdCgroup = true
",
    );
    let socket = "unix:///run/containerd/containerd.sock";
    joined(
        &mut tree,
        "v1.30.14",
        "--container-runtime-endpoint=unix:///run/containerd/containerd.sock",
        "/etc/resolv.conf",
        socket,
        "/etc/default/kubelet",
    );
    network(&mut tree, "net", "/usr/lib/cni");
    let mutations = vec![
        mutation("containerd's cgroup driver", &["node.runtime.cgroup-driver"], |tree| {
            tree.edit(CONTAINERD, "SystemdCgroup = true", "SystemdCgroup = false");
        }),
        mutation("a name server on loopback", &["node.network.resolver-stub"], |tree| {
            tree.file("/etc/resolv.conf", "nameserver 127.0.0.1\n");
        }),
        mutation("everybody is authorized", &["node.kubelet.authorization-mode"], |tree| {
            tree.edit(CONFIG, "mode: Webhook", "mode: AlwaysAllow");
        }),
        mutation("no plug-ins in bin_dir", &["node.runtime.cni-plugins"], |tree| {
            tree.edit(CONTAINERD, "/usr/lib/cni", "/opt/cni/bin");
        }),
        mutation("a flag that the kubelet no longer has", &["node.kubelet.removed-flags"], |tree| {
            tree.edit(ENV, "=\"--", "=\"--network-plugin=cni --");
            tree.edit_process("config.yaml", "config.yaml --network-plugin=cni");
        }),
    ];
    Node { name: "kubeadm 1.30, Debian", role: Role::Worker, minor: 30, tree, mutations }
}

fn rhel_crio() -> Node {
    let mut tree = Tree::new("rhel", "Red Hat Enterprise Linux 9.6 (Plow)");
    let socket = "unix:///var/run/crio/crio.sock";
    tree.link("/var/run", "/run").program("/usr/bin/crio").program("/usr/bin/crun").program("/usr/bin/conmon");
    tree.unit("crio.service", "[Service]\nExecStart=/usr/bin/crio\n").process("/usr/bin/crio");
    tree.runtime("/run/crio/crio.sock", "cri-o", "1.36.1", Some("systemd"));
    tree.file(
        "/etc/crio/crio.conf.d/10-crio.conf",
        "[crio.image]
signature_policy = \"/etc/crio/policy.json\"

[crio.runtime]
default_runtime = \"crun\"

[crio.runtime.runtimes.crun]
runtime_path = \"/usr/libexec/crio/crun\"
runtime_root = \"/run/crun\"
monitor_path = \"/usr/libexec/crio/conmon\"
",
    );
    joined(&mut tree, "v1.36.3", "", "/etc/resolv.conf", socket, "/etc/sysconfig/kubelet");
    network(&mut tree, "crio-bridge", "/opt/cni/bin");
    let mutations = vec![
        mutation("anonymous requests by a flag in /etc/sysconfig", &["node.kubelet.anonymous-auth"], |tree| {
            tree.file("/etc/sysconfig/kubelet", "KUBELET_EXTRA_ARGS=--anonymous-auth=true\n");
            tree.edit_process("config.yaml", "config.yaml --anonymous-auth=true");
        }),
        mutation("CRI-O by cgroupfs, with a conmon of systemd's", &["node.crio.conmon-cgroup"], |tree| {
            let text = "[crio.runtime]\ncgroup_manager = \"cgroupfs\"\nconmon_cgroup = \"machine.slice\"\n";
            tree.file("/etc/crio/crio.conf.d/20-cgroup.conf", text);
        }),
        mutation("a drop-in of CRI-O that is no TOML", &["node.crio.config-valid"], |tree| {
            tree.file("/etc/crio/crio.conf.d/99-site.conf", "[crio.runtime\n");
        }),
        mutation("resolvConf names nothing", &["node.kubelet.resolv-conf"], |tree| {
            tree.edit(CONFIG, "resolvConf: /etc/resolv.conf", "resolvConf: /run/systemd/resolve/resolv.conf");
        }),
        mutation("no static pods", &["node.kubelet.static-pod-path"], |tree| {
            tree.edit(CONFIG, "staticPodPath: /etc/kubernetes/manifests\n", "");
        }),
    ];
    Node { name: "kubeadm, RHEL with CRI-O", role: Role::Worker, minor: 36, tree, mutations }
}

fn docker() -> Node {
    let mut tree = Tree::new("ubuntu", "Ubuntu 22.04.5 LTS");
    tree.program("/usr/bin/docker").program("/usr/bin/dockerd").program("/usr/bin/containerd").program("/usr/bin/runc");
    tree.program("/usr/bin/cri-dockerd");
    tree.unit("containerd.service", "[Service]\nExecStart=/usr/bin/containerd\n").process("/usr/bin/containerd");
    tree.unit("docker.service", "[Service]\nExecStart=/usr/bin/dockerd -H fd://\n")
        .process("/usr/bin/dockerd -H fd://");
    let adapter = "/usr/bin/cri-dockerd --container-runtime-endpoint fd://";
    tree.unit("cri-docker.service", &format!("[Service]\nExecStart={adapter}\n")).process(adapter);
    // Docker's package of containerd disables the CRI, which cri-dockerd does not need.
    tree.file(CONTAINERD, "disabled_plugins = [\"cri\"]\n").socket(SOCKET);
    tree.runtime("/run/cri-dockerd.sock", "docker", "28.5.1", None);
    tree.file("/etc/docker/daemon.json", DAEMON);
    tree.says(Program::DockerVersion, "Docker version 28.5.1, build e180ab8\n");
    let socket = "unix:///var/run/cri-dockerd.sock";
    tree.link("/var/run", "/run");
    let args = "--container-runtime-endpoint=unix:///var/run/cri-dockerd.sock";
    joined(&mut tree, "v1.33.5", args, "/etc/resolv.conf", socket, "/etc/default/kubelet");
    network(&mut tree, "net", "/opt/cni/bin");
    let mutations = vec![
        mutation("Docker by cgroupfs", &["node.docker.cgroup-driver"], |tree| {
            tree.edit("/etc/docker/daemon.json", "systemd", "cgroupfs");
        }),
        mutation("a daemon.json that is no JSON", &["node.docker.config-valid"], |tree| {
            tree.edit("/etc/docker/daemon.json", "\"exec-opts\":", "\"exec-opts\"");
        }),
        mutation("anonymous requests", &["node.kubelet.anonymous-auth"], |tree| {
            tree.edit(CONFIG, "anonymous:\n    enabled: false", "anonymous:\n    enabled: true");
        }),
        mutation("the kubelet is not enabled", &["node.service.kubelet"], |tree| {
            tree.remove("/etc/systemd/system/multi-user.target.wants/kubelet.service");
        }),
        mutation(
            "swap, which the kubelet tolerates no longer",
            &["node.kubelet.fail-swap-on", "node.machine.swap"],
            |tree| {
                tree.file("/proc/swaps", "Filename\tType\tSize\tUsed\tPriority\n/dev/zram0 partition 2097148 0 100\n");
            },
        ),
    ];
    Node { name: "kubeadm, Docker Engine", role: Role::Worker, minor: 33, tree, mutations }
}

const DAEMON: &str = r#"{
  "exec-opts": ["native.cgroupdriver=systemd"],
  "log-driver": "json-file",
  "log-opts": {"max-size": "100m"},
  "storage-driver": "overlay2"
}
"#;

fn flatcar() -> Node {
    let mut tree = Tree::new("flatcar", "Flatcar Container Linux by Kinvolk 4459.2.1 (Oklo)");
    let socket = "unix:///run/containerd/containerd.sock";
    tree.program("/usr/bin/containerd").program("/usr/bin/runc");
    // Flatcar's /usr is read-only: programs of Kubernetes go to /opt/bin, units to /etc.
    for program in ["kubelet", "kubeadm"] {
        tree.program(&format!("/opt/bin/{program}"));
    }
    let config = "/usr/share/containerd/config.toml";
    let command = format!("/usr/bin/containerd --config {config}");
    tree.unit("containerd.service", &format!("[Service]\nExecStart={command}\n")).process(&command);
    tree.file(
        config,
        "version = 2
oom_score = -999
[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc]
runtime_type = \"io.containerd.runc.v2\"
[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc.options]
SystemdCgroup = true
",
    );
    tree.runtime(SOCKET, "containerd", "v2.1.5", Some("systemd"));
    joined(&mut tree, "v1.35.4", "", "/run/systemd/resolve/resolv.conf", socket, "/etc/default/kubelet");
    tree.remove("/usr/bin/kubelet").remove("/usr/bin/kubeadm").remove("/usr/bin/crictl");
    for (from, to) in [
        ("/usr/lib/systemd/system/kubelet.service", "/etc/systemd/system/kubelet.service"),
        (DROP_IN, "/etc/systemd/system/kubelet.service.d/10-kubeadm.conf"),
    ] {
        tree.remove(from);
        let text = if to.ends_with(".service") { KUBELET_UNIT.to_owned() } else { KUBEADM_DROP_IN.to_owned() };
        tree.file(to, &text.replace("/usr/bin/kubelet", "/opt/bin/kubelet").replace("ETC", "/etc/default/kubelet"));
    }
    tree.remove("/etc/systemd/system/multi-user.target.wants/kubelet.service");
    tree.link("/etc/systemd/system/multi-user.target.wants/kubelet.service", "/etc/systemd/system/kubelet.service");
    tree.edit_process("/usr/bin/kubelet", "/opt/bin/kubelet");
    tree.file("/run/systemd/resolve/resolv.conf", "nameserver 192.0.2.53\n");
    network(&mut tree, "net", "/opt/cni/bin");
    let mutations = vec![
        mutation("the CRI is disabled in the file of --config", &["node.runtime.cri-plugin"], |tree| {
            tree.edit(
                "/usr/share/containerd/config.toml",
                "oom_score",
                "disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\noom_score",
            );
        }),
        mutation("a file of the chain is no TOML", &["node.runtime.config-valid"], |tree| {
            let path = "/usr/share/containerd/config.toml";
            tree.edit(path, "oom_score", "imports = [\"/etc/containerd/conf.d/*.toml\"]\noom_score");
            tree.file("/etc/containerd/conf.d/site.toml", "[plugins\n");
        }),
        mutation("the read-only port, by a drop-in of systemd", &["node.kubelet.read-only-port"], |tree| {
            let text = "[Service]\nEnvironment=\"KUBELET_EXTRA_ARGS=--read-only-port=10255\"\n";
            tree.file("/etc/systemd/system/kubelet.service.d/20-site.conf", text);
            tree.edit_process("config.yaml", "config.yaml --read-only-port=10255");
        }),
        mutation("a link-local name server", &["node.network.resolver-stub"], |tree| {
            tree.file("/run/systemd/resolve/resolv.conf", "nameserver 127.0.0.54\n");
        }),
        mutation(
            "the live value of bridge-nf-call-iptables",
            &["node.sysctl.net.bridge.bridge-nf-call-iptables"],
            |tree| {
                tree.file("/proc/sys/net/bridge/bridge-nf-call-iptables", "0\n");
            },
        ),
    ];
    Node { name: "kubeadm, Flatcar", role: Role::Worker, minor: 35, tree, mutations }
}

pub(crate) fn nodes() -> Vec<Node> {
    vec![ubuntu(), debian_before_31(), rhel_crio(), docker(), flatcar()]
}

//! Distributions that bring their own everything: MicroK8s, k0s, NixOS, Talos.

use seaworthy_checks::Role;

use crate::kubeadm::{CERTIFICATE, client_certificate};
use crate::tree::Tree;
use crate::{Node, mutation};

const CNI: &str = r#"{"cniVersion": "1.0.0", "name": "net", "plugins": [{"type": "bridge"}, {"type": "portmap"}]}"#;

fn plugins(tree: &mut Tree, folder: &str) {
    for plugin in ["bridge", "host-local", "loopback", "portmap"] {
        tree.program(&format!("{folder}/{plugin}"));
    }
}

fn microk8s() -> Node {
    let mut tree = Tree::new("ubuntu", "Ubuntu 24.04.3 LTS");
    tree.link("/var/snap/microk8s/current", "/var/snap/microk8s/8511").link("/snap/microk8s/current", "8511");
    tree.file("/snap/microk8s/8511/meta/snap.yaml", "name: microk8s\nversion: v1.33.5\n");
    tree.program("/snap/microk8s/8511/kubelite").program("/snap/microk8s/8511/bin/containerd");
    for daemon in ["kubelite", "containerd", "k8s-dqlite"] {
        let name = format!("snap.microk8s.daemon-{daemon}.service");
        let path = format!("/etc/systemd/system/{name}");
        tree.file(&path, &format!("[Service]\nExecStart=/usr/bin/snap run microk8s.daemon-{daemon}\n"));
        tree.link(&format!("/etc/systemd/system/multi-user.target.wants/{name}"), &path);
    }
    let args = "/var/snap/microk8s/8511/args";
    tree.file(
        &format!("{args}/kubelet"),
        "--kubeconfig=${SNAP_DATA}/credentials/kubelet.config
--cert-dir=${SNAP_DATA}/certs
--client-ca-file=${SNAP_DATA}/certs/ca.crt
--anonymous-auth=false
--root-dir=${SNAP_COMMON}/var/lib/kubelet
--fail-swap-on=false
--eviction-hard=\"memory.available<100Mi,nodefs.available<1Gi,imagefs.available<1Gi\"
--container-runtime-endpoint=${SNAP_COMMON}/run/containerd.sock
--node-labels=\"microk8s.io/cluster=true,node.kubernetes.io/microk8s-controlplane=microk8s-controlplane\"
--authentication-token-webhook=true
--read-only-port=0
--serialize-image-pulls=false
--cluster-domain=cluster.local
--cluster-dns=10.152.183.10
# The add-on cis-hardening adds these.
--authorization-mode=Webhook
--tls-cert-file=${SNAP_DATA}/certs/kubelet.crt
--tls-private-key-file=${SNAP_DATA}/certs/kubelet.key
",
    );
    tree.file(
        &format!("{args}/containerd"),
        "--config ${SNAP_DATA}/args/containerd.toml
--root ${SNAP_COMMON}/var/lib/containerd
--state ${SNAP_COMMON}/run/containerd
--address ${SNAP_COMMON}/run/containerd.sock
",
    );
    tree.file(
        &format!("{args}/containerd.toml"),
        "version = 2
oom_score = 0
[grpc]
  uid = 0
  gid = 0
[plugins.\"io.containerd.grpc.v1.cri\"]
  sandbox_image = \"registry.k8s.io/pause:3.10\"
  [plugins.\"io.containerd.grpc.v1.cri\".containerd]
    default_runtime_name = \"runc\"
    [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc]
      runtime_type = \"io.containerd.runc.v2\"
  [plugins.\"io.containerd.grpc.v1.cri\".cni]
    bin_dir = \"/var/snap/microk8s/8511/opt/cni/bin\"
    conf_dir = \"/var/snap/microk8s/8511/args/cni-network\"
",
    );
    tree.file(&format!("{args}/cni-network/10-calico.conflist"), CNI);
    plugins(&mut tree, "/var/snap/microk8s/8511/opt/cni/bin");
    for name in ["ca", "server", "kubelet"] {
        tree.file(&format!("/var/snap/microk8s/8511/certs/{name}.crt"), CERTIFICATE);
        tree.private(&format!("/var/snap/microk8s/8511/certs/{name}.key"), "");
    }
    tree.private("/var/snap/microk8s/8511/credentials/kubelet.config", "apiVersion: v1\nkind: Config\n");
    tree.runtime("/var/snap/microk8s/common/run/containerd.sock", "containerd", "v1.7.28", None);
    tree.process("/snap/microk8s/8511/kubelite --kubelet-args-file=/var/snap/microk8s/8511/args/kubelet");
    tree.process(
        "/snap/microk8s/8511/bin/containerd --config /var/snap/microk8s/8511/args/containerd.toml --root \
         /var/snap/microk8s/common/var/lib/containerd --state /var/snap/microk8s/common/run/containerd --address \
         /var/snap/microk8s/common/run/containerd.sock",
    );
    tree.answer(
        seaworthy_checks::host::Query::Get { url: "http://127.0.0.1:10248/healthz".into() },
        serde_json::json!({"status": 200, "body": "ok"}),
    );
    let mutations = vec![
        mutation(
            "as MicroK8s comes: every client certificate commands the kubelet",
            &["node.kubelet.authorization-mode"],
            |tree| {
                tree.edit("/var/snap/microk8s/8511/args/kubelet", "--authorization-mode=Webhook\n", "");
            },
        ),
        mutation("anonymous requests", &["node.kubelet.anonymous-auth"], |tree| {
            tree.edit("/var/snap/microk8s/8511/args/kubelet", "--anonymous-auth=false", "--anonymous-auth=true");
        }),
        mutation("no client CA", &["node.kubelet.client-ca"], |tree| {
            tree.edit("/var/snap/microk8s/8511/args/kubelet", "--client-ca-file=${SNAP_DATA}/certs/ca.crt\n", "");
        }),
        mutation("the read-only port", &["node.kubelet.read-only-port"], |tree| {
            tree.edit("/var/snap/microk8s/8511/args/kubelet", "--read-only-port=0", "--read-only-port=10255");
        }),
        mutation("no plug-ins where containerd looks", &["node.runtime.cni-plugins"], |tree| {
            tree.edit("/var/snap/microk8s/8511/args/containerd.toml", "8511/opt/cni/bin", "8400/opt/cni/bin");
        }),
        mutation("a name server on loopback", &["node.network.resolver-stub"], |tree| {
            tree.file("/etc/resolv.conf", "nameserver ::1\n");
        }),
    ];
    Node { name: "MicroK8s", role: Role::ControlPlane, minor: 33, tree, mutations }
}

fn k0s() -> Node {
    let mut tree = Tree::new("rocky", "Rocky Linux 9.6 (Blue Onyx)");
    tree.program("/usr/local/bin/k0s").program("/var/lib/k0s/bin/kubelet").program("/var/lib/k0s/bin/containerd");
    let unit = "/etc/systemd/system/k0sworker.service";
    tree.file(unit, "[Service]\nExecStart=/usr/local/bin/k0s worker --token-file=/etc/k0s/token\n");
    tree.link("/etc/systemd/system/multi-user.target.wants/k0sworker.service", unit);
    tree.file(
        "/run/k0s/kubelet/config.yaml",
        "apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous:
    enabled: false
  webhook:
    enabled: true
  x509:
    clientCAFile: /var/lib/k0s/pki/ca.crt
authorization:
  mode: Webhook
cgroupsPerQOS: true
clusterDNS:
- 10.96.0.10
clusterDomain: cluster.local
containerRuntimeEndpoint: unix:///run/k0s/containerd.sock
eventRecordQPS: 0
failSwapOn: false
kubeReservedCgroup: system.slice
kubeletCgroups: /system.slice/containerd.service
rotateCertificates: true
serverTLSBootstrap: true
volumePluginDir: /usr/libexec/k0s/kubelet-plugins/volume/exec
",
    );
    tree.file("/etc/k0s/containerd.toml", "version = 3\nimports = [\n  \"/run/k0s/containerd-cri.toml\",\n]\n");
    tree.file(
        "/run/k0s/containerd-cri.toml",
        "version = 3

[plugins.\"io.containerd.cri.v1.images\".pinned_images]
sandbox = \"registry.k8s.io/pause:3.10.1\"
",
    );
    tree.file("/etc/cni/net.d/10-kuberouter.conflist", CNI);
    plugins(&mut tree, "/opt/cni/bin");
    tree.file("/var/lib/k0s/pki/ca.crt", CERTIFICATE);
    tree.private("/var/lib/k0s/kubelet.conf", "apiVersion: v1\nkind: Config\n");
    client_certificate(&mut tree, "/var/lib/k0s/kubelet/pki");
    tree.runtime("/run/k0s/containerd.sock", "containerd", "v2.1.4", Some("cgroupfs"));
    tree.process("/usr/local/bin/k0s worker --token-file=/etc/k0s/token");
    tree.process(
        "/var/lib/k0s/bin/containerd --root=/var/lib/k0s/containerd --state=/run/k0s/containerd \
         --address=/run/k0s/containerd.sock --log-level=info --config=/etc/k0s/containerd.toml",
    );
    tree.kubelet(
        "v1.34.4+k0s",
        "/var/lib/k0s/bin/kubelet --v=1 --cert-dir=/var/lib/k0s/kubelet/pki --config=/run/k0s/kubelet/config.yaml \
         --containerd=/run/k0s/containerd.sock --kubeconfig=/var/lib/k0s/kubelet.conf --root-dir=/var/lib/k0s/kubelet \
         --runtime-cgroups=/system.slice/containerd.service",
    );
    let mutations = vec![
        mutation("anonymous requests", &["node.kubelet.anonymous-auth"], |tree| {
            tree.edit("/run/k0s/kubelet/config.yaml", "enabled: false", "enabled: true");
        }),
        mutation("the CRI is disabled in an import", &["node.runtime.cri-plugin"], |tree| {
            let from = "version = 3\n";
            tree.edit(
                "/run/k0s/containerd-cri.toml",
                from,
                "version = 3\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n",
            );
        }),
        mutation("an import that is no TOML", &["node.runtime.config-valid"], |tree| {
            tree.edit("/run/k0s/containerd-cri.toml", "[plugins", "[[plugins");
        }),
        mutation("the live value of ip_forward", &["node.sysctl.net.ipv4.ip-forward"], |tree| {
            tree.file("/proc/sys/net/ipv4/ip_forward", "0\n");
        }),
        mutation("a name server on loopback", &["node.network.resolver-stub"], |tree| {
            tree.file("/etc/resolv.conf", "nameserver 127.0.0.1\n");
        }),
    ];
    Node { name: "k0s worker", role: Role::Worker, minor: 34, tree, mutations }
}

fn nixos() -> Node {
    let mut tree = Tree::new("nixos", "NixOS 25.11 (Xantusia)");
    let store = "/nix/store/0r6v3x1cmf3wmn5g1sz8r6lrkzzh2a0q";
    let (kubernetes, containerd) = (format!("{store}-kubernetes-1.34.4"), format!("{store}-containerd-2.1.5"));
    tree.program(&format!("{kubernetes}/bin/kubelet")).program(&format!("{containerd}/bin/containerd"));
    // Nothing is in /usr/bin; the system's profile is the PATH.
    for program in [
        "ip",
        "iptables",
        "mount",
        "nsenter",
        "conntrack",
        "ethtool",
        "socat",
        "tc",
        "touch",
        "modprobe",
        "umount",
        "cp",
        "losetup",
        "ebtables",
        "ip6tables",
        "iptables-restore",
        "nft",
        "mkfs.ext4",
        "mkfs.xfs",
        "fsck",
        "apparmor_parser",
    ] {
        tree.remove(&format!("/usr/bin/{program}")).program(&format!("/run/current-system/sw/bin/{program}"));
    }
    let units = format!("{store}-system-units");
    tree.remove("/etc/systemd/system").link("/etc/systemd/system", &units);
    let config = format!("{store}-kubelet-config.json");
    let toml = format!("{store}-containerd-config-checked.toml");
    let command = format!(
        "{kubernetes}/bin/kubelet --config={config} --hostname-override=n1 --kubeconfig={store}-kubelet-kubeconfig \
         --root-dir=/var/lib/kubernetes --tls-cert-file=/var/lib/kubernetes/secrets/kubelet.pem \
         --tls-private-key-file=/var/lib/kubernetes/secrets/kubelet-key.pem"
    );
    for (name, start) in
        [("kubelet", &command), ("containerd", &format!("{containerd}/bin/containerd --config {toml}"))]
    {
        let file = format!("{store}-unit-{name}.service/{name}.service");
        tree.file(&file, &format!("[Unit]\n[Service]\nExecStart={start}\n"));
        tree.link(&format!("{units}/{name}.service"), &file);
        tree.link(&format!("{units}/multi-user.target.wants/{name}.service"), &format!("../{name}.service"));
    }
    tree.file(
        &config,
        r#"{"address":"0.0.0.0","apiVersion":"kubelet.config.k8s.io/v1beta1",
"authentication":{"webhook":{"cacheTTL":"10s","enabled":true},
"x509":{"clientCAFile":"/var/lib/kubernetes/secrets/ca.pem"},
"anonymous":{"enabled":false}},"authorization":{"mode":"Webhook"},"cgroupDriver":"systemd","clusterDNS":["10.0.0.254"],
"clusterDomain":"cluster.local",
"containerRuntimeEndpoint":"unix:///run/containerd/containerd.sock","hairpinMode":"hairpin-veth",
"healthzBindAddress":"127.0.0.1","healthzPort":10248,"kind":"KubeletConfiguration","port":10250,"registerNode":true,
"tlsCertFile":"/var/lib/kubernetes/secrets/kubelet.pem",
"tlsPrivateKeyFile":"/var/lib/kubernetes/secrets/kubelet-key.pem"}"#,
    );
    tree.file(
        &toml,
        "version = 2
[plugins.\"io.containerd.grpc.v1.cri\"]
sandbox_image = \"pause:latest\"
[plugins.\"io.containerd.grpc.v1.cri\".cni]
bin_dir = \"/opt/cni/bin\"
max_conf_num = 0
[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc]
runtime_type = \"io.containerd.runc.v2\"
[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc.options]
SystemdCgroup = true
",
    );
    tree.file("/etc/cni/net.d/10-mynet.conflist", CNI);
    plugins(&mut tree, "/opt/cni/bin");
    tree.file("/var/lib/kubernetes/secrets/ca.pem", CERTIFICATE)
        .file("/var/lib/kubernetes/secrets/kubelet.pem", CERTIFICATE);
    tree.private("/var/lib/kubernetes/secrets/kubelet-key.pem", "");
    tree.runtime("/run/containerd/containerd.sock", "containerd", "v2.1.5", Some("systemd"));
    tree.process(&format!("{containerd}/bin/containerd --config {toml}"));
    tree.kubelet("v1.34.4", &command);
    let mutations = vec![
        mutation("anonymous requests by a flag of the unit", &["node.kubelet.anonymous-auth"], |tree| {
            tree.edit_process("--hostname-override=n1", "--hostname-override=n1 --anonymous-auth");
        }),
        mutation("the read-only port", &["node.kubelet.read-only-port"], |tree| {
            let config = "/nix/store/0r6v3x1cmf3wmn5g1sz8r6lrkzzh2a0q-kubelet-config.json";
            tree.edit(config, "\"port\":10250", "\"port\":10250,\"readOnlyPort\":10255");
        }),
        mutation("the CRI is disabled", &["node.runtime.cri-plugin"], |tree| {
            let config = "/nix/store/0r6v3x1cmf3wmn5g1sz8r6lrkzzh2a0q-containerd-config-checked.toml";
            tree.edit(config, "version = 2\n", "version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n");
        }),
        mutation("swap, and failSwapOn as it comes", &["node.kubelet.fail-swap-on", "node.machine.swap"], |tree| {
            tree.file("/proc/swaps", "Filename\tType\tSize\tUsed\tPriority\n/dev/sda3 partition 2097148 0 -2\n");
        }),
        mutation("a name server on loopback", &["node.network.resolver-stub"], |tree| {
            tree.file("/etc/resolv.conf", "nameserver 127.0.0.53\n");
        }),
    ];
    Node { name: "NixOS", role: Role::Worker, minor: 34, tree, mutations }
}

fn talos() -> Node {
    let mut tree = Tree::new("talos", "Talos (v1.11.5)");
    // machined is the first process; there is no systemd, and hardly a program.
    tree.remove("/run/systemd").remove("/usr/lib/systemd").remove("/etc/systemd");
    tree.file("/sys/module/apparmor/parameters/enabled", "N\n");
    tree.remove("/usr/bin").file("/proc/1/comm", "init\n").edit_process("/usr/lib/systemd/systemd", "/sbin/init");
    tree.private("/system/state/config.yaml", "version: v1alpha1\n");
    tree.program("/sbin/init").program("/bin/containerd").program("/bin/runc");
    tree.file(
        "/etc/kubernetes/kubelet.yaml",
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
cgroupRoot: /
clusterDNS:
- 10.96.0.10
clusterDomain: cluster.local
kind: KubeletConfiguration
kubeletCgroups: /podruntime/kubelet
oomScoreAdj: -450
port: 10250
protectKernelDefaults: true
resolvConf: /system/resolved/resolv.conf
rotateCertificates: true
seccompDefault: true
serverTLSBootstrap: false
shutdownGracePeriod: 30s
shutdownGracePeriodCriticalPods: 10s
staticPodURL: http://127.0.0.1:41477
streamingConnectionIdleTimeout: 5m0s
systemCgroups: /system
systemReserved:
  cpu: 50m
  ephemeral-storage: 256Mi
  memory: 192Mi
  pid: \"100\"
",
    );
    tree.file("/system/resolved/resolv.conf", "nameserver 192.0.2.53\n");
    tree.file(
        "/etc/cri/containerd.toml",
        "version = 3\n\ndisabled_plugins = []\nimports = [\n  \"/etc/cri/conf.d/cri.toml\",\n]\n",
    );
    tree.file(
        "/etc/cri/conf.d/cri.toml",
        "version = 3

[plugins]
  [plugins.'io.containerd.cri.v1.runtime']
    [plugins.'io.containerd.cri.v1.runtime'.containerd]
      default_runtime_name = 'runc'
      [plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
        base_runtime_spec = '/etc/cri/conf.d/base-spec.json'
        runtime_type = 'io.containerd.runc.v2'
",
    );
    tree.file("/etc/cni/net.d/10-flannel.conflist", CNI);
    plugins(&mut tree, "/opt/cni/bin");
    tree.file("/etc/kubernetes/pki/ca.crt", CERTIFICATE).folder("/etc/kubernetes/manifests");
    tree.private("/etc/kubernetes/kubeconfig-kubelet", "apiVersion: v1\nkind: Config\n");
    client_certificate(&mut tree, "/var/lib/kubelet/pki");
    tree.runtime("/run/containerd/containerd.sock", "containerd", "v2.1.5", Some("cgroupfs"));
    tree.process("/bin/containerd --address /run/containerd/containerd.sock --config /etc/cri/containerd.toml");
    tree.kubelet(
        "v1.34.2",
        "/usr/local/bin/kubelet --bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubeconfig \
         --cert-dir=/var/lib/kubelet/pki --config=/etc/kubernetes/kubelet.yaml \
         --container-runtime-endpoint=/run/containerd/containerd.sock --hostname-override=n1 \
         --kubeconfig=/etc/kubernetes/kubeconfig-kubelet --node-ip=192.0.2.10",
    );
    let mutations = vec![
        mutation("anonymous requests", &["node.kubelet.anonymous-auth"], |tree| {
            tree.edit("/etc/kubernetes/kubelet.yaml", "enabled: false", "enabled: true");
        }),
        mutation("the read-only port by a flag", &["node.kubelet.read-only-port"], |tree| {
            tree.edit_process("--hostname-override=n1", "--hostname-override=n1 --read-only-port=10255");
        }),
        mutation("the file of resolvConf is not there", &["node.kubelet.resolv-conf"], |tree| {
            tree.remove("/system/resolved/resolv.conf");
        }),
        mutation("an import of containerd that is no TOML", &["node.runtime.config-valid"], |tree| {
            tree.edit("/etc/cri/conf.d/cri.toml", "[plugins]", "[plugins");
        }),
        mutation("no rotation", &["node.kubelet.rotate-certificates"], |tree| {
            tree.edit("/etc/kubernetes/kubelet.yaml", "rotateCertificates: true", "rotateCertificates: false");
        }),
    ];
    Node { name: "Talos", role: Role::Worker, minor: 34, tree, mutations }
}

pub(crate) fn nodes() -> Vec<Node> {
    vec![microk8s(), k0s(), nixos(), talos()]
}

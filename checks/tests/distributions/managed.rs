//! Nodes of cloud providers, and of installers that lay things out their own way: EKS, Bottlerocket, OpenShift,
//! Kubespray, kind.

use seaworthy_checks::Role;
use seaworthy_checks::host::Program;

use crate::kubeadm::{CERTIFICATE, CONFIG, client_certificate, joined};
use crate::tree::Tree;
use crate::{Node, mutation};

const SOCKET: &str = "/run/containerd/containerd.sock";
const AWS: &str =
    r#"{"cniVersion": "0.4.0", "name": "aws-cni", "plugins": [{"type": "aws-cni"}, {"type": "portmap"}]}"#;

fn plugins(tree: &mut Tree, names: &[&str]) {
    for plugin in names {
        tree.program(&format!("/opt/cni/bin/{plugin}"));
    }
}

fn eks() -> Node {
    let mut tree = Tree::new("amzn", "Amazon Linux 2023.9.20251105");
    tree.program("/usr/bin/kubelet").program("/usr/bin/containerd").program("/usr/sbin/runc");
    let (config, drop_ins) = ("/etc/kubernetes/kubelet/config.json", "/etc/kubernetes/kubelet/config.json.d");
    tree.file(
        config,
        r#"{
    "kind": "KubeletConfiguration",
    "apiVersion": "kubelet.config.k8s.io/v1beta1",
    "address": "0.0.0.0",
    "authentication": {
        "x509": {"clientCAFile": "/etc/kubernetes/pki/ca.crt"},
        "webhook": {"enabled": true, "cacheTTL": "2m0s"},
        "anonymous": {"enabled": false}
    },
    "authorization": {"mode": "Webhook", "webhook": {"cacheAuthorizedTTL": "5m0s", "cacheUnauthorizedTTL": "30s"}},
    "cgroupDriver": "systemd",
    "cgroupRoot": "/",
    "clusterDNS": ["172.20.0.10"],
    "clusterDomain": "cluster.local",
    "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
    "evictionHard": {"memory.available": "100Mi", "nodefs.available": "10%", "nodefs.inodesFree": "5%"},
    "featureGates": {"RotateKubeletServerCertificate": true},
    "hairpinMode": "hairpin-veth",
    "kubeReserved": {"cpu": "70m", "ephemeral-storage": "1Gi", "memory": "574Mi"},
    "kubeReservedCgroup": "/runtime",
    "logging": {"verbosity": 2},
    "protectKernelDefaults": true,
    "readOnlyPort": 0,
    "serializeImagePulls": false,
    "serverTLSBootstrap": true,
    "shutdownGracePeriod": "2m30s",
    "shutdownGracePeriodCriticalPods": "30s",
    "systemReservedCgroup": "/system",
    "tlsCipherSuites": ["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"]
}
"#,
    );
    tree.file(
        &format!("{drop_ins}/40-nodeadm.conf"),
        r#"{"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration", "maxPods": 29}"#,
    );
    let args = format!(
        "--config={config} --config-dir={drop_ins} --hostname-override=n1 --kubeconfig=/var/lib/kubelet/kubeconfig \
         --cloud-provider=external --node-ip=192.0.2.10"
    );
    tree.file("/etc/eks/kubelet/environment", &format!("NODEADM_KUBELET_ARGS={args}\n"));
    let unit = "/etc/systemd/system/kubelet.service";
    tree.file(
        unit,
        "[Unit]
Description=Kubernetes Kubelet
After=containerd.service
Requires=containerd.service

[Service]
Slice=runtime.slice
EnvironmentFile=/etc/eks/kubelet/environment
ExecStartPre=/sbin/iptables -P FORWARD ACCEPT -w 5
ExecStart=/usr/bin/kubelet $NODEADM_KUBELET_ARGS
Restart=on-failure
",
    );
    tree.link("/etc/systemd/system/multi-user.target.wants/kubelet.service", unit);
    tree.unit("containerd.service", "[Service]\nExecStart=/usr/bin/containerd\n").process("/usr/bin/containerd");
    tree.file(
        "/etc/containerd/config.toml",
        "version = 2
root = \"/var/lib/containerd\"
state = \"/run/containerd\"
imports = [\"/etc/containerd/config.d/*.toml\"]

[grpc]
address = \"/run/containerd/containerd.sock\"

[plugins.'io.containerd.grpc.v1.cri'.containerd]
default_runtime_name = \"runc\"
discard_unpacked_layers = true

[plugins.'io.containerd.grpc.v1.cri']
sandbox_image = \"localhost/kubernetes/pause\"
enable_cdi = true

[plugins.'io.containerd.grpc.v1.cri'.registry]
config_path = \"/etc/containerd/certs.d:/etc/docker/certs.d\"

[plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.runc]
runtime_type = \"io.containerd.runc.v2\"
base_runtime_spec = \"/etc/containerd/base-runtime-spec.json\"

[plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.runc.options]
BinaryName = \"/usr/sbin/runc\"
SystemdCgroup = true

[plugins.'io.containerd.grpc.v1.cri'.cni]
bin_dir = \"/opt/cni/bin\"
conf_dir = \"/etc/cni/net.d\"
",
    );
    tree.private("/etc/cni/net.d/10-aws.conflist", AWS);
    plugins(&mut tree, &["aws-cni", "egress-cni", "host-local", "loopback", "portmap"]);
    tree.file("/etc/kubernetes/pki/ca.crt", CERTIFICATE)
        .file("/var/lib/kubelet/kubeconfig", "apiVersion: v1\nkind: Config\n");
    tree.runtime(SOCKET, "containerd", "1.7.28", None);
    tree.kubelet("v1.33.5-eks-113cf36", &format!("/usr/bin/kubelet {args}"));
    let mutations = vec![
        mutation("anonymous requests by a drop-in", &["node.kubelet.anonymous-auth"], |tree| {
            tree.file(
                "/etc/kubernetes/kubelet/config.json.d/50-site.conf",
                r#"{"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
"authentication": {"anonymous": {"enabled": true}}}"#,
            );
        }),
        mutation("the read-only port", &["node.kubelet.read-only-port"], |tree| {
            tree.edit("/etc/kubernetes/kubelet/config.json", "\"readOnlyPort\": 0", "\"readOnlyPort\": 10255");
        }),
        mutation("an import moves containerd to cgroupfs", &["node.runtime.cgroup-driver"], |tree| {
            // Before 2.0 an import replaces the whole table of a plug-in.
            tree.file(
                "/etc/containerd/config.d/50-site.toml",
                "version = 2
[plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.runc]
runtime_type = \"io.containerd.runc.v2\"
[plugins.'io.containerd.grpc.v1.cri'.containerd.runtimes.runc.options]
SystemdCgroup = false
",
            );
        }),
        mutation("no client CA", &["node.kubelet.client-ca"], |tree| {
            tree.edit("/etc/kubernetes/kubelet/config.json", "\"clientCAFile\": \"/etc/kubernetes/pki/ca.crt\"", "");
        }),
        mutation("the file of --config is cut off", &["node.kubelet.config-valid"], |tree| {
            tree.edit("/etc/kubernetes/kubelet/config.json", "\"kind\": \"KubeletConfiguration\",", "\"kind\": \"Kube");
        }),
    ];
    Node { name: "EKS, Amazon Linux 2023", role: Role::Worker, minor: 33, tree, mutations }
}

fn bottlerocket() -> Node {
    let mut tree = Tree::new("bottlerocket", "Bottlerocket OS 1.49.0 (aws-k8s-1.34)");
    tree.program("/usr/bin/kubelet").program("/usr/bin/containerd").program("/usr/bin/runc");
    let config = "/etc/kubernetes/kubelet/config";
    tree.file(
        config,
        "kind: KubeletConfiguration
apiVersion: kubelet.config.k8s.io/v1beta1
address: 0.0.0.0
authentication:
  anonymous:
    enabled: false
  webhook:
    cacheTTL: 2m0s
    enabled: true
  x509:
    clientCAFile: \"/etc/kubernetes/pki/ca.crt\"
authorization:
  mode: Webhook
  webhook:
    cacheAuthorizedTTL: 5m0s
    cacheUnauthorizedTTL: 30s
clusterDomain: cluster.local
clusterDNS:
- 10.100.0.10
kubeReserved:
  cpu: \"70m\"
  memory: \"574Mi\"
  ephemeral-storage: \"1Gi\"
kubeReservedCgroup: \"/runtime\"
cpuManagerPolicy: none
podPidsLimit: 1048576
providerID: aws:///us-west-2a/i-0123456789abcdef0
resolvConf: \"/etc/resolv.conf\"
hairpinMode: hairpin-veth
readOnlyPort: 0
cgroupDriver: systemd
cgroupRoot: \"/\"
runtimeRequestTimeout: 15m
protectKernelDefaults: true
serializeImagePulls: false
seccompDefault: true
serverTLSBootstrap: true
tlsCipherSuites:
- TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
- TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
volumePluginDir: \"/var/lib/kubelet/plugins/volume/exec\"
maxPods: 29
staticPodPath: \"/etc/kubernetes/static-pods/\"
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
",
    );
    let command = format!(
        "/usr/bin/kubelet --cloud-provider external --kubeconfig /etc/kubernetes/kubelet/kubeconfig --config {config} \
         --root-dir /var/lib/kubelet --cert-dir /var/lib/kubelet/pki --node-ip 192.0.2.10 --hostname-override n1"
    );
    tree.unit("kubelet.service", "[Service]\nExecStart=/usr/bin/kubelet\n");
    tree.file(
        "/etc/systemd/system/kubelet.service.d/exec-start.conf",
        &format!("[Service]\nExecStart=\nExecStart={}\n", command.replace(" --", " \\\n    --")),
    );
    tree.unit("containerd.service", "[Service]\nExecStart=/usr/bin/containerd\n").process("/usr/bin/containerd");
    tree.file(
        "/etc/containerd/config.toml",
        "version = 3
root = \"/var/lib/containerd\"
state = \"/run/containerd\"
disabled_plugins = [
    \"io.containerd.internal.v1.opt\",
    \"io.containerd.snapshotter.v1.aufs\",
    \"io.containerd.snapshotter.v1.devmapper\",
    \"io.containerd.snapshotter.v1.native\",
    \"io.containerd.snapshotter.v1.zfs\",
]

[grpc]
address = \"/run/containerd/containerd.sock\"

[plugins.\"io.containerd.cri.v1.images\".pinned_images]
sandbox = \"localhost/kubernetes/pause:0.1.0\"

[plugins.\"io.containerd.cri.v1.runtime\".containerd]
default_runtime_name = \"runc\"

[plugins.\"io.containerd.cri.v1.runtime\".containerd.runtimes.runc]
runtime_type = \"io.containerd.runc.v2\"
base_runtime_spec = \"/etc/containerd/cri-base.json\"

[plugins.\"io.containerd.cri.v1.runtime\".containerd.runtimes.runc.options]
SystemdCgroup = true
BinaryName = \"runc\"

[plugins.\"io.containerd.cri.v1.runtime\".cni]
bin_dir = \"/opt/cni/bin\"
conf_dir = \"/etc/cni/net.d\"
",
    );
    tree.private("/etc/cni/net.d/10-aws.conflist", AWS);
    plugins(&mut tree, &["aws-cni", "egress-cni", "host-local", "loopback", "portmap"]);
    tree.file("/etc/kubernetes/pki/ca.crt", CERTIFICATE).folder("/etc/kubernetes/static-pods");
    tree.private("/etc/kubernetes/kubelet/kubeconfig", "apiVersion: v1\nkind: Config\n");
    tree.runtime(SOCKET, "containerd", "v2.1.5+bottlerocket", Some("systemd"));
    tree.kubelet("v1.34.2-eks-ecaa3a6", &command);
    let mutations = vec![
        mutation("anonymous requests by a flag with a blank", &["node.kubelet.anonymous-auth"], |tree| {
            tree.edit_process("--node-ip 192.0.2.10", "--anonymous-auth=true --node-ip 192.0.2.10");
        }),
        mutation("everybody is authorized", &["node.kubelet.authorization-mode"], |tree| {
            tree.edit("/etc/kubernetes/kubelet/config", "mode: Webhook", "mode: AlwaysAllow");
        }),
        mutation("the CRI is disabled", &["node.runtime.cri-plugin"], |tree| {
            tree.edit("/etc/containerd/config.toml", "io.containerd.internal.v1.opt", "io.containerd.grpc.v1.cri");
        }),
        mutation("two resolver's stubs", &["node.network.resolver-stub"], |tree| {
            tree.file("/etc/resolv.conf", "nameserver 127.0.0.53\nnameserver 127.0.0.54\n");
        }),
        mutation("swap, and failSwapOn as it comes", &["node.kubelet.fail-swap-on", "node.machine.swap"], |tree| {
            tree.file("/proc/swaps", "Filename\tType\tSize\tUsed\tPriority\n/dev/zram0 partition 2097148 0 100\n");
        }),
    ];
    Node { name: "Bottlerocket", role: Role::Worker, minor: 34, tree, mutations }
}

fn openshift() -> Node {
    let mut tree = Tree::new("rhel", "Red Hat Enterprise Linux CoreOS 9.6.20251020-0 (Plow)");
    tree.link("/var/run", "/run");
    for program in ["kubelet", "crio", "crun", "runc", "conmon", "crictl"] {
        tree.program(&format!("/usr/bin/{program}"));
    }
    // Its configuration has the name that kubeadm gives to the kubelet's kubeconfig.
    let config = "/etc/kubernetes/kubelet.conf";
    tree.private(
        config,
        r#"{"kind":"KubeletConfiguration","apiVersion":"kubelet.config.k8s.io/v1beta1",
"staticPodPath":"/etc/kubernetes/manifests","rotateCertificates":true,"serverTLSBootstrap":true,
"authentication":{"x509":{"clientCAFile":"/etc/kubernetes/kubelet-ca.crt"},"webhook":{"cacheTTL":"0s"},
"anonymous":{"enabled":false}},
"authorization":{"webhook":{"cacheAuthorizedTTL":"0s","cacheUnauthorizedTTL":"0s"}},
"clusterDomain":"cluster.local","clusterDNS":["172.30.0.10"],"cgroupDriver":"systemd","cgroupRoot":"/",
"containerRuntimeEndpoint":"unix:///var/run/crio/crio.sock","maxPods":250,"podPidsLimit":4096,
"protectKernelDefaults":true,"systemCgroups":"/system.slice","serializeImagePulls":false}
"#,
    );
    let command = format!(
        "/usr/bin/kubelet --config={config} --bootstrap-kubeconfig=/etc/kubernetes/kubeconfig \
         --kubeconfig=/var/lib/kubelet/kubeconfig --node-ip=192.0.2.10 \
         --volume-plugin-dir=/etc/kubernetes/kubelet-plugins/volume/exec --cloud-provider= --v=2"
    );
    let unit = "/etc/systemd/system/kubelet.service";
    tree.file(
        unit,
        &format!(
            "[Unit]
Requires=crio.service

[Service]
Type=notify
EnvironmentFile=/etc/os-release
EnvironmentFile=-/etc/kubernetes/kubelet-workaround
EnvironmentFile=-/etc/kubernetes/kubelet-env
EnvironmentFile=/etc/node-sizing.env
ExecStart=/usr/local/bin/kubenswrapper \\
    {}
",
            command.replace(" --", " \\\n      --").replace("192.0.2.10", "${KUBELET_NODE_IP}")
        ),
    );
    tree.file(
        "/etc/systemd/system/kubelet.service.d/20-nodenet.conf",
        "[Service]\nEnvironment=\"KUBELET_NODE_IP=192.0.2.10\"\n",
    );
    tree.file("/etc/node-sizing.env", "SYSTEM_RESERVED_MEMORY=1Gi\n");
    tree.link("/etc/systemd/system/multi-user.target.wants/kubelet.service", unit);
    tree.unit("crio.service", "[Service]\nExecStart=/usr/bin/crio\n").process("/usr/bin/crio");
    tree.runtime("/run/crio/crio.sock", "cri-o", "1.33.5-3.rhaos4.20", Some("systemd"));
    tree.file(
        "/etc/crio/crio.conf.d/00-default",
        "[crio.runtime]
cgroup_manager = \"systemd\"
conmon = \"\"
conmon_cgroup = \"pod\"
default_runtime = \"crun\"

[crio.network]
network_dir = \"/etc/kubernetes/cni/net.d/\"
plugin_dirs = [
    \"/var/lib/cni/bin\",
    \"/usr/libexec/cni\",
]
",
    );
    tree.private(
        "/etc/kubernetes/cni/net.d/00-multus.conf",
        r#"{"cniVersion": "0.3.1", "name": "multus-cni-network", "type": "multus-shim"}"#,
    );
    for plugin in ["multus-shim", "ovn-k8s-cni-overlay", "loopback", "host-local"] {
        tree.program(&format!("/var/lib/cni/bin/{plugin}"));
    }
    tree.file("/etc/kubernetes/kubelet-ca.crt", CERTIFICATE).folder("/etc/kubernetes/manifests");
    tree.private("/var/lib/kubelet/kubeconfig", "apiVersion: v1\nkind: Config\n");
    client_certificate(&mut tree, "/var/lib/kubelet/pki");
    tree.kubelet("v1.33.5", &command);
    let mutations = vec![
        mutation("anonymous requests", &["node.kubelet.anonymous-auth"], |tree| {
            tree.edit("/etc/kubernetes/kubelet.conf", "\"enabled\":false", "\"enabled\":true");
        }),
        mutation("no rotation", &["node.kubelet.rotate-certificates"], |tree| {
            tree.edit("/etc/kubernetes/kubelet.conf", "\"rotateCertificates\":true", "\"rotateCertificates\":false");
        }),
        mutation("a drop-in of CRI-O that is no TOML", &["node.crio.config-valid"], |tree| {
            tree.file("/etc/crio/crio.conf.d/99-site", "[crio\n");
        }),
        mutation("no plug-ins in plugin_dirs", &["node.runtime.cni-plugins"], |tree| {
            tree.remove("/var/lib/cni/bin");
        }),
        mutation("the kubelet's configuration is cut off", &["node.kubelet.config-valid"], |tree| {
            tree.edit("/etc/kubernetes/kubelet.conf", "\"serializeImagePulls\":false}", "\"serialize");
        }),
    ];
    Node { name: "OpenShift, RHCOS", role: Role::Worker, minor: 33, tree, mutations }
}

fn kubespray() -> Node {
    let mut tree = Tree::new("debian", "Debian GNU/Linux 12 (bookworm)");
    for program in ["kubelet", "kubeadm", "crictl", "runc", "containerd"] {
        tree.program(&format!("/usr/local/bin/{program}"));
    }
    let config = "/etc/kubernetes/kubelet-config.yaml";
    tree.private(
        config,
        "apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
nodeStatusUpdateFrequency: \"10s\"
failSwapOn: True
authentication:
  anonymous:
    enabled: false
  webhook:
    enabled: True
  x509:
    clientCAFile: /etc/kubernetes/ssl/ca.crt
authorization:
  mode: Webhook
staticPodPath: \"/etc/kubernetes/manifests\"
cgroupDriver: systemd
containerLogMaxFiles: 5
containerLogMaxSize: 10Mi
containerRuntimeEndpoint : unix:///var/run/containerd/containerd.sock
maxPods: 110
podPidsLimit: -1
address: \"192.0.2.10\"
readOnlyPort: 0
healthzPort: 10248
healthzBindAddress: \"127.0.0.1\"
kubeletCgroups: /system.slice/kubelet.service
clusterDomain: cluster.local
protectKernelDefaults: true
rotateCertificates: true
clusterDNS:
- 169.254.25.10
resolvConf: \"/etc/resolv.conf\"
eventRecordQPS: 50
shutdownGracePeriod: 60s
shutdownGracePeriodCriticalPods: 20s
",
    );
    tree.file(
        "/etc/kubernetes/kubelet.env",
        "KUBE_LOG_LEVEL=\"--v=2\"
KUBELET_ADDRESS=\"--node-ip=192.0.2.10\"
KUBELET_HOSTNAME=\"--hostname-override=n1\"

KUBELET_ARGS=\"--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf \\
--config=/etc/kubernetes/kubelet-config.yaml \\
--kubeconfig=/etc/kubernetes/kubelet.conf \\
 \\
\"
",
    );
    let unit = "/etc/systemd/system/kubelet.service";
    tree.file(
        unit,
        "[Unit]
Description=Kubernetes Kubelet Server
After=containerd.service

[Service]
EnvironmentFile=-/etc/kubernetes/kubelet.env
ExecStart=/usr/local/bin/kubelet \\
\t\t$KUBE_LOGTOSTDERR \\
\t\t$KUBE_LOG_LEVEL \\
\t\t$KUBELET_API_SERVER \\
\t\t$KUBELET_ADDRESS \\
\t\t$KUBELET_HOSTNAME \\
\t\t$KUBELET_ARGS
Restart=always
",
    );
    tree.link("/etc/systemd/system/multi-user.target.wants/kubelet.service", unit);
    let runtime = "/etc/systemd/system/containerd.service";
    tree.file(runtime, "[Service]\nExecStart=/usr/local/bin/containerd\n").process("/usr/local/bin/containerd");
    tree.link("/etc/systemd/system/multi-user.target.wants/containerd.service", runtime).link("/var/run", "/run");
    tree.file(
        "/etc/containerd/config.toml",
        "version = 3
root = \"/var/lib/containerd\"
state = \"/run/containerd\"
oom_score = 0

[plugins.\"io.containerd.cri.v1.runtime\".containerd]
  default_runtime_name = \"runc\"
[plugins.\"io.containerd.cri.v1.runtime\".containerd.runtimes.runc]
  runtime_type = \"io.containerd.runc.v2\"
  base_runtime_spec = \"/etc/containerd/cri-base.json\"
[plugins.\"io.containerd.cri.v1.runtime\".containerd.runtimes.runc.options]
  SystemdCgroup = true
  BinaryName = \"/usr/local/bin/runc\"
",
    );
    tree.file("/etc/crictl.yaml", "runtime-endpoint: unix:///var/run/containerd/containerd.sock\n");
    let calico = r#"{"cniVersion": "0.3.1", "name": "cni0", "plugins": [{"type": "calico"}, {"type": "portmap"}]}"#;
    tree.private("/etc/cni/net.d/10-calico.conflist", calico);
    plugins(&mut tree, &["calico", "host-local", "loopback", "portmap"]);
    tree.file("/etc/kubernetes/ssl/ca.crt", CERTIFICATE).folder("/etc/kubernetes/manifests");
    tree.link("/etc/kubernetes/pki", "/etc/kubernetes/ssl");
    tree.private("/etc/kubernetes/kubelet.conf", "apiVersion: v1\nkind: Config\n");
    client_certificate(&mut tree, "/var/lib/kubelet/pki");
    tree.runtime(SOCKET, "containerd", "v2.1.5", Some("systemd"));
    let command = "/usr/local/bin/kubelet --v=2 --node-ip=192.0.2.10 --hostname-override=n1 \
                   --bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf \
                   --config=/etc/kubernetes/kubelet-config.yaml --kubeconfig=/etc/kubernetes/kubelet.conf";
    tree.kubelet("v1.34.3", command).says(Program::KubeadmVersion, "v1.34.3");
    let mutations = vec![
        mutation("anonymous requests", &["node.kubelet.anonymous-auth"], |tree| {
            tree.edit("/etc/kubernetes/kubelet-config.yaml", "enabled: false", "enabled: true");
        }),
        mutation("swap that comes back, and failSwapOn", &["node.kubelet.fail-swap-on", "node.machine.swap"], |tree| {
            tree.file("/proc/swaps", "Filename\tType\tSize\tUsed\tPriority\n/dev/sda5 partition 2097148 0 -2\n");
        }),
        mutation(
            "the live value of bridge-nf-call-iptables",
            &["node.sysctl.net.bridge.bridge-nf-call-iptables"],
            |tree| {
                tree.file("/proc/sys/net/bridge/bridge-nf-call-iptables", "0\n");
            },
        ),
        mutation("containerd's file is no TOML", &["node.runtime.config-valid"], |tree| {
            tree.edit("/etc/containerd/config.toml", "oom_score = 0", "oom_score 0");
        }),
        mutation("containerd is not started at boot", &["node.service.runtime"], |tree| {
            tree.remove("/etc/systemd/system/multi-user.target.wants/containerd.service");
        }),
    ];
    Node { name: "Kubespray", role: Role::Worker, minor: 34, tree, mutations }
}

fn kind() -> Node {
    let mut tree = Tree::new("debian", "Debian GNU/Linux 12 (bookworm)");
    for program in ["containerd", "runc", "crictl"] {
        tree.program(&format!("/usr/local/bin/{program}"));
    }
    let socket = "unix:///run/containerd/containerd.sock";
    joined(
        &mut tree,
        "v1.34.0",
        "--node-ip=192.0.2.10 --node-labels= --provider-id=kind://docker/kind/n1",
        "/etc/resolv.conf",
        socket,
        "/etc/default/kubelet",
    );
    // What kind appends to kubeadm's configuration; and its own drop-in.
    tree.edit(
        CONFIG,
        "cgroupDriver: systemd",
        "cgroupDriver: systemd\ncgroupRoot: /kubelet\nfailSwapOn: false\nimageGCHighThresholdPercent: 100\n\
         evictionHard:\n  imagefs.available: 0%\n  nodefs.available: 0%\n  nodefs.inodesFree: 0%",
    );
    tree.file(
        "/etc/systemd/system/kubelet.service.d/11-kind.conf",
        "[Service]\nEnvironmentFile=-/run/kind/kubelet.env\nCPUAccounting=true\n",
    );
    let unit = "/etc/systemd/system/containerd.service";
    tree.file(unit, "[Service]\nExecStart=/usr/local/bin/containerd\n").process("/usr/local/bin/containerd");
    tree.link("/etc/systemd/system/multi-user.target.wants/containerd.service", unit);
    tree.file(
        "/etc/containerd/config.toml",
        "# explicitly use v2 config format
version = 2

[plugins.\"io.containerd.grpc.v1.cri\".containerd]
  snapshotter = \"overlayfs\"
  default_runtime_name = \"runc\"
  discard_unpacked_layers = false

[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc]
  runtime_type = \"io.containerd.runc.v2\"
  base_runtime_spec = \"/etc/containerd/cri-base.json\"
  [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc.options]
    SystemdCgroup = true

[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.test-handler]
  runtime_type = \"io.containerd.runc.v2\"
  base_runtime_spec = \"/etc/containerd/cri-base.json\"
  [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.test-handler.options]
    SystemdCgroup = true

[plugins.\"io.containerd.grpc.v1.cri\"]
  sandbox_image = \"registry.k8s.io/pause:3.10\"
  tolerate_missing_hugepages_controller = true
  restrict_oom_score_adj = false
",
    );
    let list = r#"{"cniVersion": "0.3.1", "name": "kindnet", "plugins": [{"type": "ptp"}, {"type": "portmap"}]}"#;
    tree.private("/etc/cni/net.d/10-kindnet.conflist", list);
    plugins(&mut tree, &["host-local", "loopback", "portmap", "ptp"]);
    tree.runtime(SOCKET, "containerd", "v2.1.3", Some("systemd"));
    let mutations = vec![
        mutation("anonymous requests", &["node.kubelet.anonymous-auth"], |tree| {
            tree.edit(CONFIG, "anonymous:\n    enabled: false", "anonymous:\n    enabled: true");
        }),
        mutation("the wrong cgroup driver, where the runtime tells its own", &[], |tree| {
            tree.edit(CONFIG, "cgroupDriver: systemd", "cgroupDriver: cgroupfs");
        }),
        mutation("the read-only port, by the environment", &["node.kubelet.read-only-port"], |tree| {
            tree.file("/etc/default/kubelet", "KUBELET_EXTRA_ARGS=--read-only-port=10255\n");
            tree.edit_process("config.yaml", "config.yaml --read-only-port=10255");
        }),
        mutation("a second document that the kubelet refuses", &["node.kubelet.config-valid"], |tree| {
            tree.edit(CONFIG, "volumeStatsAggPeriod: 0s\n", "volumeStatsAggPeriod: 0s\n  bad: [\n");
        }),
        mutation("no CNI configuration where containerd looks", &["node.runtime.cni-config"], |tree| {
            tree.remove("/etc/cni/net.d");
        }),
    ];
    Node { name: "kind", role: Role::Worker, minor: 34, tree, mutations }
}

pub(crate) fn nodes() -> Vec<Node> {
    vec![eks(), bottlerocket(), openshift(), kubespray(), kind()]
}

//! Runtimes as they are found in the field: what is configured where, which of them counts, and what helps.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::path::Path;

use seaworthy_checks::construct::{
    Edit, apply, dir, file, gone, lay, no_dir, no_stat, refuses, replace, said, stat, value,
};
use seaworthy_checks::host::{CriCall, FileKind, Program, Query, Recorder, RefusalKind, Transcript};
use seaworthy_checks::node::runtime::CgroupDriver;
use seaworthy_checks::node::{Facts, View, checks};
use seaworthy_checks::{Breach, Fact, KubernetesVersion, Profile, Severity, Verdict};
use serde_json::json;

const CONFIG: &str = "/etc/containerd/config.toml";
const CONTAINERD: &str = "/run/containerd/containerd.sock";
const CRIO: &str = "/run/crio/crio.sock";
const DOCKER: &str = "/run/cri-dockerd.sock";
const K3S: &str = "/run/k3s/containerd/containerd.sock";

/// The reference node with edits.
struct Node {
    facts: Facts,
    profile: Profile,
}

impl Node {
    fn new(edits: impl IntoIterator<Item = Edit>) -> Self {
        let mut transcript = Transcript::default();
        lay(&Path::new(env!("CARGO_MANIFEST_DIR")).join("nodes/reference"), &mut transcript).unwrap();
        // The kubelet's configuration of the reference node names containerd's socket.
        let endpoint = "containerRuntimeEndpoint: unix:///run/containerd/containerd.sock\n";
        apply(&mut transcript, &[replace("/var/lib/kubelet/config.yaml", endpoint, "")]).unwrap();
        apply(&mut transcript, &edits.into_iter().collect::<Vec<_>>()).unwrap();
        // Judged as it is after a recording: what judges read must be kept.
        let recorder = Recorder::new(&transcript, false);
        let live = format!("{:?}", Facts::read(&recorder).runtime);
        let facts = Facts::read(&recorder.finish());
        assert_eq!(format!("{:?}", facts.runtime), live);
        Self { facts, profile: Profile::new(jiff::Timestamp::UNIX_EPOCH) }
    }

    fn verdict(&self, id: &str) -> Verdict {
        let check = checks().into_iter().find(|check| check.id == id).unwrap();
        check.judge(&View::alone(&self.facts, &self.profile)).verdict
    }

    fn breach(&self, id: &str) -> Breach {
        match self.verdict(id) {
            Verdict::Breached(breaches) => breaches[0].clone(),
            other => panic!("{id}: {other:?}"),
        }
    }

    fn holds(&self, id: &str) {
        assert_eq!(self.verdict(id), Verdict::Holds, "{id}");
    }

    fn is_not_applicable(&self, id: &str) {
        assert!(matches!(self.verdict(id), Verdict::NotApplicable(_)), "{id}: {:?}", self.verdict(id));
    }

    fn driver(&self) -> (CgroupDriver, String) {
        match self.facts.runtime.cgroup_driver(&self.profile) {
            Fact::Known((driver, origin)) => (driver, origin.to_string()),
            other => panic!("{other:?}"),
        }
    }

    /// Findings of high or above about runtimes.
    fn grave(&self) -> Vec<String> {
        let view = View::alone(&self.facts, &self.profile);
        let of = |check: &seaworthy_checks::Check| {
            ["node.runtime.", "node.crio.", "node.docker."].iter().any(|family| check.id.starts_with(family))
        };
        let all = checks().into_iter().filter(|check| check.severity >= Severity::High && of(check));
        all.filter_map(|check| match check.judge(&view).verdict {
            Verdict::Breached(breaches) => Some(format!("{}: {}", check.id, breaches[0].message)),
            _ => None,
        })
        .collect()
    }
}

fn cri(socket: &str, call: CriCall) -> Query {
    Query::Cri { socket: socket.to_owned(), call }
}

fn socket(path: &str) -> Edit {
    stat(path, FileKind::Socket, 0o660, 0, 0)
}

/// A runtime that answers at a socket, of a version.
fn answers(path: &str, name: &str, version: &str) -> Vec<Edit> {
    let ready = json!({"conditions": [
        {"type": "RuntimeReady", "status": true, "reason": "", "message": ""},
        {"type": "NetworkReady", "status": true, "reason": "", "message": ""},
    ]});
    let said = json!({"runtimeName": name, "runtimeVersion": version, "runtimeApiVersion": "v1"});
    vec![
        socket(path),
        value(cri(path, CriCall::Version), said),
        value(cri(path, CriCall::Status), ready),
        refuses(cri(path, CriCall::RuntimeConfig), RefusalKind::Unsupported, "RuntimeConfig is not implemented"),
    ]
}

/// containerd of a release with this configuration, which does not tell its cgroup driver.
fn containerd(version: &str, config: &str) -> Vec<Edit> {
    let mut edits = answers(CONTAINERD, "containerd", version);
    edits.push(file(CONFIG, config));
    edits
}

fn disabled(path: &str) -> Vec<Edit> {
    let unknown = "Version is not implemented: unknown service runtime.v1.RuntimeService";
    vec![
        socket(path),
        refuses(cri(path, CriCall::Version), RefusalKind::Unsupported, unknown),
        refuses(cri(path, CriCall::VersionV1alpha2), RefusalKind::Unsupported, "not implemented"),
        said(
            Query::Run { program: Program::ContainerdVersion },
            "containerd github.com/containerd/containerd 1.7.27 05044ec0a9a75232cad458027ca83437aae3f4da\n",
        ),
    ]
}

#[test]
fn only_the_default_runtime_decides_the_cgroup_driver() {
    let of = |default: &str, runc: bool, nvidia: bool| {
        format!(
            "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".containerd]\ndefault_runtime_name = \"{default}\"\n\
             [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc]\n\
             runtime_type = \"io.containerd.runc.v2\"\n\
             [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc.options]\nSystemdCgroup = {runc}\n\
             [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.nvidia]\n\
             runtime_type = \"io.containerd.runc.v2\"\n\
             [plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.nvidia.options]\nSystemdCgroup = {nvidia}\n"
        )
    };
    for (default, runc, nvidia, driver, line) in [
        ("runc", false, true, CgroupDriver::Cgroupfs, 7),
        ("runc", true, false, CgroupDriver::Systemd, 7),
        ("nvidia", false, true, CgroupDriver::Systemd, 11),
        ("nvidia", true, false, CgroupDriver::Cgroupfs, 11),
    ] {
        let node = Node::new(containerd("1.7.27", &of(default, runc, nvidia)));
        assert_eq!(node.driver(), (driver, format!("{CONFIG}:{line}")), "{default} {runc} {nvidia}");
    }
    // The reference node's kubelet uses systemd: one mismatch is one finding, at the line of the default runtime.
    let node = Node::new(containerd("1.7.27", &of("runc", false, true)));
    let at = node.breach("node.runtime.cgroup-driver").at.unwrap();
    assert_eq!((at.path.as_str(), at.line), (CONFIG, Some(7)));
    assert_eq!(
        node.grave(),
        [format!("node.runtime.cgroup-driver: {}", node.breach("node.runtime.cgroup-driver").message)]
    );
}

#[test]
fn a_default_is_named_as_the_default_of_its_release() {
    let node = Node::new(containerd("1.6.20~ds1", "version = 2\n"));
    assert_eq!(node.driver(), (CgroupDriver::Cgroupfs, "default of containerd 1.6".to_owned()));
    // What the runtime answers is above all files.
    let node = Node::new([]);
    assert_eq!(node.driver().1, format!("RuntimeConfig of {CONTAINERD}"));
}

#[test]
fn an_import_disables_the_cri_and_is_named() {
    let main = "version = 2\nimports = [\"conf.d/*.toml\"]\n";
    let edits = [
        file(CONFIG, main),
        dir("/etc/containerd/conf.d", &["50-no-cri.toml", "README"]),
        file(
            "/etc/containerd/conf.d/50-no-cri.toml",
            "version = 2\n\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n",
        ),
    ];
    let node = Node::new(disabled(CONTAINERD).into_iter().chain(edits));
    let breach = node.breach("node.runtime.cri-plugin");
    assert_eq!(breach.at.unwrap().path, "/etc/containerd/conf.d/50-no-cri.toml");
    assert!(breach.message.contains("50-no-cri.toml:3"), "{}", breach.message);
    assert!(breach.remedy[0].commands[0].ends_with("/etc/containerd/conf.d/50-no-cri.toml"), "{:?}", breach.remedy);
    assert_eq!(node.grave().len(), 1, "one cause is one finding: {:?}", node.grave());
    let Verdict::Undetermined(why) = node.verdict("node.runtime.answers") else { panic!() };
    assert!(why.starts_with("because of node.runtime.cri-plugin: "), "{why}");
}

#[test]
fn a_broken_file_in_the_chain_is_named_with_its_line() {
    for (broken, line, said) in [
        ("version = 2\n\n[plugins\n", Some(3), "not valid TOML"),
        ("version = 2\ndisabled_plugins = \"cri\"\n", Some(2), "disabled_plugins is not a list of texts"),
        ("\nversion = 7\n", Some(2), "reads configurations up to version 2"),
    ] {
        let edits = [file(CONFIG, "imports = [\"more.toml\"]\n"), file("/etc/containerd/more.toml", broken)];
        let node = Node::new(disabled(CONTAINERD).into_iter().chain(edits));
        let breach = node.breach("node.runtime.config-valid");
        let at = breach.at.unwrap();
        assert_eq!((at.path.as_str(), at.line), ("/etc/containerd/more.toml", line));
        assert!(breach.message.contains(said), "{}", breach.message);
        assert_eq!(node.grave().len(), 1, "{:?}", node.grave());
    }
    let edits = [file(CONFIG, "version = 2\nimports = [\"none.toml\"]\n"), gone("/etc/containerd/none.toml")];
    let breach = Node::new(disabled(CONTAINERD).into_iter().chain(edits)).breach("node.runtime.config-valid");
    assert!(breach.message.contains(&format!("none.toml is missing ({CONFIG}:2 names it)")), "{}", breach.message);
    // What we may not read says nothing of containerd.
    let edits = [
        file(CONFIG, "version = 2\nimports = [\"secret.toml\"]\n"),
        refuses(Query::Read { path: "/etc/containerd/secret.toml".into() }, RefusalKind::Denied, "permission denied"),
    ];
    let verdict = Node::new(edits).verdict("node.runtime.config-valid");
    assert!(matches!(verdict, Verdict::Undetermined(_)), "{verdict:?}");
}

#[test]
fn a_cri_plug_in_that_refuses_its_settings_is_a_finding() {
    let old = "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\"]\nsystemd_cgroup = true\n";
    let breach = Node::new(containerd("1.7.27", old)).breach("node.runtime.config-valid");
    assert!(breach.message.contains("systemd_cgroup is only for the runtime io.containerd.runtime.v1.linux"));
    assert_eq!(breach.at.unwrap().line, Some(3));
    let missing = "version = 3\n[plugins.\"io.containerd.cri.v1.runtime\".containerd]\n\
                   default_runtime_name = \"kata\"\n";
    let breach = Node::new(containerd("v2.1.4", missing)).breach("node.runtime.config-valid");
    assert!(breach.message.contains("containerd.runtimes.kata is missing"), "{}", breach.message);
    // containerd 1 forgets the type of runc where only its options are set.
    let bare = "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc.options]\n\
                SystemdCgroup = true\n";
    let breach = Node::new(containerd("1.6.20~ds1", bare)).breach("node.runtime.config-valid");
    assert!(breach.message.contains("has no runtime_type"), "{}", breach.message);
    Node::new(containerd("v2.1.4", bare)).holds("node.runtime.config-valid");
}

#[test]
fn the_flag_of_the_process_or_of_the_unit_names_the_file() {
    let elsewhere = "/nix/store/abc-containerd-config.toml";
    let config = "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".containerd.runtimes.runc]\n\
                  runtime_type = \"io.containerd.runc.v2\"\noptions.SystemdCgroup = true\n";
    let process = json!([{"pid": 7, "command": format!("/nix/store/abc/bin/containerd\0--config\0{elsewhere}"),
                          "started": 1, "sandboxed": false}]);
    let mut edits = containerd("1.7.27", "version = [");
    edits.extend([value(Query::Processes, process), file(elsewhere, config)]);
    let node = Node::new(edits);
    node.holds("node.runtime.config-valid");
    assert_eq!(node.driver(), (CgroupDriver::Systemd, format!("{elsewhere}:4")));
    // Flatcar: the unit names it by a variable.
    let unit = "[Service]\nEnvironment=CONTAINERD_CONFIG=/usr/share/containerd/config.toml\n\
                ExecStart=/usr/bin/env PATH=/usr/bin containerd --config ${CONTAINERD_CONFIG}\n";
    let mut edits = containerd("1.7.27", "version = [");
    edits.extend([
        file("/etc/systemd/system/containerd.service", unit),
        file("/usr/share/containerd/config.toml", config),
    ]);
    let node = Node::new(edits);
    assert_eq!(node.driver(), (CgroupDriver::Systemd, "/usr/share/containerd/config.toml:4".to_owned()));
}

#[test]
fn distributions_bring_their_own_containerd() {
    let config = |two: bool| {
        let plugin = if two { "io.containerd.cri.v1.runtime" } else { "io.containerd.grpc.v1.cri" };
        format!(
            "version = {}\n[plugins.\"{plugin}\".containerd.runtimes.runc]\nruntime_type = \"io.containerd.runc.v2\"\n\
             [plugins.\"{plugin}\".containerd.runtimes.runc.options]\nSystemdCgroup = true\n",
            if two { 3 } else { 2 }
        )
    };
    for (name, path, version, at) in [
        ("k3s", K3S, "v2.0.5-k3s1", "/var/lib/rancher/k3s/agent/etc/containerd/config.toml"),
        ("RKE2", K3S, "v1.7.27-k3s1", "/var/lib/rancher/rke2/agent/etc/containerd/config.toml"),
        (
            "MicroK8s",
            "/var/snap/microk8s/common/run/containerd.sock",
            "v1.6.36",
            "/var/snap/microk8s/current/args/containerd.toml",
        ),
        ("k0s", "/run/k0s/containerd.sock", "v1.7.27", "/etc/k0s/containerd.toml"),
        ("Talos", CONTAINERD, "v2.1.4", "/etc/cri/containerd.toml"),
    ] {
        let mut edits = vec![no_stat(CONTAINERD), gone(CONFIG), gone("/etc/crictl.yaml")];
        edits.extend(answers(path, "containerd", version));
        edits.push(file(at, config(version.starts_with("v2"))));
        let node = Node::new(edits);
        assert_eq!(node.driver(), (CgroupDriver::Systemd, format!("{at}:5")), "{name}");
        assert_eq!(node.grave(), Vec::<String>::new(), "{name}");
        node.holds("node.runtime.answers");
        node.holds("node.runtime.config-valid");
    }
}

#[test]
fn docker_engine_is_not_judged_by_containerd_s_plug_in() {
    let mut edits = disabled(CONTAINERD);
    edits.push(file(CONFIG, "disabled_plugins = [\"cri\"]\n"));
    edits.extend(answers(DOCKER, "docker", "27.3.1"));
    let mut node = Node::new(edits);
    node.is_not_applicable("node.runtime.cri-plugin");
    node.holds("node.runtime.answers");
    // kubeadm refuses to choose between the two, whatever they answer.
    let breach = node.breach("node.runtime.one");
    assert!(breach.message.contains(CONTAINERD) && breach.message.contains(DOCKER), "{}", breach.message);
    assert!(breach.remedy[0].commands[0].contains("--cri-socket unix:///run/cri-dockerd.sock"));
    assert_eq!(node.grave().len(), 1, "{:?}", node.grave());
    // kubeadm of 1.23 does not count the containerd of Docker Engine.
    node.profile.kubernetes = KubernetesVersion::OLDEST;
    node.holds("node.runtime.one");
}

#[test]
fn two_runtimes_are_no_fault_where_one_is_configured() {
    let two = || answers(CRIO, "cri-o", "1.37.0");
    let node = Node::new(two());
    node.breach("node.runtime.one");
    assert_eq!(checks().iter().find(|check| check.id == "node.runtime.one").unwrap().severity, Severity::High);
    let flags = "KUBELET_KUBEADM_ARGS=\"--container-runtime-endpoint=unix:///var/run/crio/crio.sock\"\n";
    let unit = "[Service]\nEnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env\n\
                ExecStart=/usr/bin/kubelet $KUBELET_KUBEADM_ARGS\n";
    let mut edits = two();
    edits.extend([
        file("/etc/systemd/system/kubelet.service", unit),
        file("/var/lib/kubelet/kubeadm-flags.env", flags),
        file("/etc/crio/crio.conf", ""),
        dir("/etc/crio/crio.conf.d", &[]),
    ]);
    let node = Node::new(edits);
    node.holds("node.runtime.one");
    node.holds("node.crio.config-valid");
    node.is_not_applicable("node.runtime.config-valid");
    // A socket that nothing accepts connections on is no runtime to kubeadm.
    let stale = "/run/crio/crio.sock: the socket is stale: nothing accepts connections on it, so the runtime is not \
                 running";
    let node = Node::new([socket(CRIO), refuses(cri(CRIO, CriCall::Version), RefusalKind::Failed, stale)]);
    node.holds("node.runtime.one");
    node.holds("node.runtime.answers");
}

#[test]
fn a_link_to_a_socket_is_the_same_runtime() {
    for target in [CONTAINERD, "containerd/containerd.sock"] {
        let node = Node::new([
            socket("/run/dockershim.sock"),
            said(Query::Link { path: "/run/dockershim.sock".into() }, target),
            file("/etc/crictl.yaml", "runtime-endpoint: unix:///var/run/dockershim.sock\n"),
        ]);
        assert_eq!(node.facts.runtime.sockets.known().unwrap().len(), 1);
        for id in ["node.runtime.one", "node.runtime.dockershim", "node.runtime.crictl-endpoint"] {
            node.holds(id);
        }
    }
}

#[test]
fn cri_o_takes_every_file_of_its_folder_in_order() {
    let base = || {
        let mut edits = answers(CRIO, "cri-o", "1.37.0");
        edits.extend([
            no_stat(CONTAINERD),
            file("/etc/crio/crio.conf", "[crio.runtime]\ncgroup_manager = \"cgroupfs\"\n"),
        ]);
        edits
    };
    let mut edits = base();
    edits.extend([
        dir("/etc/crio/crio.conf.d", &["10-a.conf", "20-b.conf", "sub/"]),
        file(
            "/etc/crio/crio.conf.d/10-a.conf",
            "[crio.network]\nplugin_dirs = [\"/usr/libexec/cni\", \"/opt/cni/bin/\"]\n",
        ),
        file("/etc/crio/crio.conf.d/20-b.conf", "[crio.runtime]\n\ncgroup_manager = \"systemd\"\n"),
        dir("/etc/crio/crio.conf.d/sub", &["z"]),
        file("/etc/crio/crio.conf.d/sub/z", "[crio.runtime]\nconmon_cgroup = \"pod\"\n"),
        dir("/usr/libexec/cni", &["bridge", "portmap"]),
        dir("/opt/cni/bin", &[]),
    ]);
    let node = Node::new(edits);
    assert_eq!(node.driver(), (CgroupDriver::Systemd, "/etc/crio/crio.conf.d/20-b.conf:3".to_owned()));
    node.holds("node.runtime.cni-plugins");
    assert_eq!(node.grave(), Vec::<String>::new());
    // Not only *.conf: CRI-O ends at a README, too.
    let mut edits = base();
    edits.extend([
        dir("/etc/crio/crio.conf.d", &["README"]),
        file("/etc/crio/crio.conf.d/README", "Put your files here.\n"),
    ]);
    let breach = Node::new(edits).breach("node.crio.config-valid");
    let at = breach.at.unwrap();
    assert_eq!((at.path.as_str(), at.line), ("/etc/crio/crio.conf.d/README", Some(1)));
}

#[test]
fn the_cgroup_of_monitors_fits_the_manager_by_the_rules_of_the_release() {
    for (version, config, holds) in [
        ("1.37.0", "cgroup_manager = \"cgroupfs\"", true),
        ("1.33.0", "cgroup_manager = \"cgroupfs\"", true),
        ("1.32.9", "cgroup_manager = \"cgroupfs\"", false),
        ("1.24.6", "cgroup_manager = \"cgroupfs\"\nconmon_cgroup = \"pod\"", true),
        ("1.32.9", "cgroup_manager = \"cgroupfs\"\n[crio.runtime.runtimes.runc]\nmonitor_cgroup = \"pod\"", true),
        (
            "1.37.0",
            "cgroup_manager = \"cgroupfs\"\n[crio.runtime.runtimes.runc]\nmonitor_cgroup = \"kube.slice\"",
            false,
        ),
        ("1.37.0", "cgroup_manager = \"systemd\"\nconmon_cgroup = \"kube.slice\"", true),
        ("1.37.0", "cgroup_manager = \"systemd\"\nconmon_cgroup = \"/kube\"", false),
        ("1.37.0", "", true),
    ] {
        let mut edits = answers(CRIO, "cri-o", version);
        edits.extend([
            no_stat(CONTAINERD),
            file("/etc/crio/crio.conf", format!("[crio.runtime]\n{config}\n")),
            dir("/etc/crio/crio.conf.d", &[]),
        ]);
        let verdict = Node::new(edits).verdict("node.crio.conmon-cgroup");
        assert_eq!(verdict == Verdict::Holds, holds, "{version} {config}: {verdict:?}");
    }
}

#[test]
fn plug_ins_are_looked_for_where_the_runtime_looks_for_them() {
    let with = |version: &str, config: &str| {
        let mut edits = containerd(version, config);
        edits.push(dir("/usr/lib/cni", &["bridge", "portmap", "loopback"]));
        edits.extend([dir("/opt/cni/bin", &[]), no_dir("/a")]);
        Node::new(edits)
    };
    // A plug-in in another usual folder is of no use.
    let node = with("1.7.27", "version = 2\n");
    assert!(node.breach("node.runtime.cni-plugins").message.contains("missing from /opt/cni/bin"));
    let one = "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".cni]\nbin_dir = \"/usr/lib/cni\"\n";
    for version in ["1.6.20", "1.7.27", "v2.0.5", "v2.1.4", "v2.4.2"] {
        with(version, one).holds("node.runtime.cni-plugins");
    }
    let list = "version = 3\n[plugins.\"io.containerd.cri.v1.runtime\".cni]\nbin_dirs = [\"/a\", \"/usr/lib/cni\"]\n";
    with("v2.1.4", list).holds("node.runtime.cni-plugins");
    // Configurations, too: another folder, and more than one of them.
    let many = "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".cni]\nconf_dir = \"/n\"\nmax_conf_num = 0\n";
    let mut edits = containerd("1.7.27", many);
    let net =
        |name: &str, kind: &str| format!("{{\"cniVersion\": \"1.0.0\", \"name\": \"{name}\", \"type\": \"{kind}\"}}");
    edits.extend([
        dir("/n", &["1.conf", "2.conf"]),
        file("/n/1.conf", net("a", "bridge")),
        file("/n/2.conf", net("b", "sriov")),
    ]);
    let node = Node::new(edits);
    node.holds("node.runtime.one-network");
    assert_eq!(node.breach("node.runtime.cni-plugins").subject, "sriov");
}

#[test]
fn each_cause_has_its_own_remedy() {
    let commands = |node: &Node| {
        let breach = node.breach("node.runtime.answers");
        breach.remedy.iter().flat_map(|remedy| remedy.commands.clone()).collect::<Vec<_>>().join("\n")
    };
    let refuses = |kind, why: &str| Node::new([refuses(cri(CONTAINERD, CriCall::Version), kind, why)]);
    let hung = refuses(RefusalKind::TimedOut, "no answer to Version within 3s: the runtime hangs");
    let stale = refuses(RefusalKind::Failed, "the socket is stale: nothing accepts connections on it");
    let stopped = Node::new([no_stat(CONTAINERD)]);
    let bare = Node::new([no_stat(CONTAINERD), no_stat("/usr/bin/containerd"), gone(CONFIG)]);
    let all = [&hung, &stale, &stopped, &bare].map(commands);
    assert!(all[0].starts_with("journalctl") && all[0].contains("systemctl restart containerd"), "{}", all[0]);
    assert!(all[1].starts_with("systemctl restart containerd"), "{}", all[1]);
    assert!(all[2].starts_with("systemctl enable --now containerd"), "{}", all[2]);
    assert!(all[3].contains("apt-get install -y containerd") && all[3].contains("dnf install"), "{}", all[3]);
    // Defaults are never written without the driver of the init system.
    assert!(all[3].contains("SystemdCgroup = true"), "{}", all[3]);
    for (index, one) in all.iter().enumerate() {
        assert!(all[..index].iter().all(|other| other != one), "{one}");
    }
    // k3s and MicroK8s have no containerd.service.
    let mut edits = vec![no_stat(CONTAINERD), socket(K3S)];
    edits.push(seaworthy_checks::construct::refuses(
        cri(K3S, CriCall::Version),
        RefusalKind::TimedOut,
        "the runtime hangs",
    ));
    assert!(commands(&Node::new(edits)).contains("systemctl restart 'k3s*' 'rke2*'"));
}

//! A tree for every way in which a kubelet is set up, and what it runs with there.

use seaworthy_checks::Fact;
use seaworthy_checks::effective::kubelet::{Kubelet, Runner, Sources};
use seaworthy_checks::host::{Host, Program};
use serde_json::{Value, json};

use crate::cases::HEAD;
use crate::tree::Tree;

const UNIT: &str = "/usr/lib/systemd/system/kubelet.service";

fn settle(tree: &Tree) -> Kubelet {
    match Sources::read(tree as &dyn Host) {
        Fact::Known(sources) => sources.settle(37),
        other => panic!("{other:?}"),
    }
}

fn value(kubelet: &Kubelet, path: &str) -> Value {
    kubelet.get(&path.split('.').collect::<Vec<_>>()).map_or(Value::Null, |setting| setting.value.clone())
}

fn source(kubelet: &Kubelet, path: &str) -> String {
    kubelet.get(&path.split('.').collect::<Vec<_>>()).unwrap().origin.to_string()
}

fn unit(content: &str) -> Tree {
    Tree::default().file(UNIT, content).says(Program::KubeletVersion, "Kubernetes v1.31.4\n")
}

fn kubeadm() -> Tree {
    unit("[Unit]\nDescription=kubelet\n[Service]\nExecStart=/usr/bin/kubelet\nRestart=always\n")
        .file(
            "/usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf",
            "[Service]\n\
             Environment=\"KUBELET_KUBECONFIG_ARGS=--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf \
             --kubeconfig=/etc/kubernetes/kubelet.conf\"\n\
             Environment=\"KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml\"\n\
             EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env\nEnvironmentFile=-/etc/default/kubelet\n\
             EnvironmentFile=-/etc/sysconfig/kubelet\nExecStart=\n\
             ExecStart=/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS \
             $KUBELET_EXTRA_ARGS\n",
        )
        .file(
            "/var/lib/kubelet/config.yaml",
            &format!("{HEAD}cgroupDriver: systemd\nreadOnlyPort: 0\nstaticPodPath: /m\n"),
        )
        .file("/var/lib/kubelet/kubeadm-flags.env", "KUBELET_KUBEADM_ARGS=\"--node-ip=192.0.2.7\"\n")
}

#[test]
fn kubeadm_s_unit_and_a_flag_of_etc_default() {
    let kubelet = settle(&kubeadm());
    assert_eq!((kubelet.ends.len(), kubelet.minor), (0, 31));
    assert_eq!(value(&kubelet, "authentication.anonymous.enabled"), json!(false));
    assert_eq!(source(&kubelet, "staticPodPath"), "/var/lib/kubelet/config.yaml:5");
    assert_eq!(
        kubelet.flag("node-ip").unwrap().origin().to_string(),
        "--node-ip in /var/lib/kubelet/kubeadm-flags.env:1"
    );
    assert!(matches!(&kubelet.start.runner, Runner::Unit { name, .. } if name == "kubelet.service"));

    // The file is right, and a flag beside it opens the kubelet.
    let extra = "# more\nKUBELET_EXTRA_ARGS=--anonymous-auth=true --read-only-port=10255\n";
    for place in ["/etc/default/kubelet", "/etc/sysconfig/kubelet"] {
        let kubelet = settle(&kubeadm().file(place, extra));
        assert_eq!(value(&kubelet, "authentication.anonymous.enabled"), json!(true));
        assert_eq!(value(&kubelet, "readOnlyPort"), json!(10255));
        assert_eq!(source(&kubelet, "readOnlyPort"), format!("--read-only-port in {place}:2"));
    }
    // An override in /etc that forgets kubeadm's words.
    let own = "[Service]\nExecStart=\nExecStart=/usr/bin/kubelet --config=/etc/kubelet.json\n";
    let json = r#"{"apiVersion":"kubelet.config.k8s.io/v1beta1","kind":"KubeletConfiguration","maxPods":7}"#;
    let tree = kubeadm().file("/etc/systemd/system/kubelet.service.d/99-own.conf", own).file("/etc/kubelet.json", json);
    let kubelet = settle(&tree);
    assert_eq!((value(&kubelet, "maxPods"), kubelet.flag("node-ip")), (json!(7), None));
}

#[test]
fn a_process_counts_before_its_unit_and_is_located_by_it() {
    let words =
        ["/usr/bin/kubelet", "--config=/var/lib/kubelet/config.yaml", "--node-ip=192.0.2.7", "--anonymous-auth"];
    let kubelet = settle(&kubeadm().runs(&words, false));
    assert_eq!(value(&kubelet, "authentication.anonymous.enabled"), json!(true));
    assert_eq!(source(&kubelet, "authentication.anonymous.enabled"), "--anonymous-auth of the running process");
    assert_eq!(kubelet.flag("node-ip").unwrap().at.as_ref().unwrap().path, "/var/lib/kubelet/kubeadm-flags.env");
    // Another node's kubelet, in a container.
    let kubelet = settle(&kubeadm().runs(&["kubelet", "--anonymous-auth"], true));
    assert_eq!(value(&kubelet, "authentication.anonymous.enabled"), json!(false));
}

#[test]
fn a_unit_without_a_configuration_leaves_the_kubelet_open() {
    let kubelet = settle(&unit("[Service]\nExecStart=/usr/bin/kubelet --kubeconfig=/k\n"));
    assert_eq!(value(&kubelet, "authentication.anonymous.enabled"), json!(true));
    assert_eq!(value(&kubelet, "authorization.mode"), json!("AlwaysAllow"));
    assert_eq!(source(&kubelet, "readOnlyPort"), "default of kubelet 1.31 without --config");
}

#[test]
fn what_the_unit_requires_and_lacks_ends_it() {
    let kubelet = settle(&unit("[Service]\nEnvironmentFile=/etc/kubelet.env\nExecStart=/usr/bin/kubelet $ARGS\n"));
    assert!(kubelet.ends[0].why.contains("/etc/kubelet.env is missing"), "{:?}", kubelet.ends);
    assert_eq!(kubelet.ends[0].at.as_ref().unwrap().line, Some(2));
    assert!(kubelet.in_effect().is_err());
}

#[test]
fn flags_are_judged_by_this_kubelet_s_release() {
    let tree = |version: &str| {
        unit("[Service]\nExecStart=/usr/bin/kubelet --network-plugin=cni --pod-infra-container-image=pause:3.9\n")
            .says(Program::KubeletVersion, version)
    };
    let ends = |version: &str| settle(&tree(version)).ends.iter().map(|one| one.subject.clone()).collect::<Vec<_>>();
    assert_eq!(ends("Kubernetes v1.23.17"), Vec::<String>::new());
    assert_eq!(ends("Kubernetes v1.34.1"), ["--network-plugin"]);
    assert_eq!(ends("Kubernetes v1.35.0"), ["--network-plugin", "--pod-infra-container-image"]);
}

#[test]
fn a_gate_outlives_its_release_and_ends_the_kubelet() {
    let tree = |version: &str| {
        unit("[Service]\nExecStart=/usr/bin/kubelet --config=/c.yaml\n").says(Program::KubeletVersion, version).file(
            "/c.yaml",
            &format!("{HEAD}featureGates:\n  RotateKubeletServerCertificate: true\n  CPUManager: true\n"),
        )
    };
    assert_eq!(settle(&tree("v1.30.0")).ends, []);
    let ends = settle(&tree("v1.37.2")).ends;
    assert!(ends[0].why.contains("CPUManager is set, which was removed in 1."), "{ends:?}");
    assert_eq!((ends.len(), ends[0].at.as_ref().unwrap().line), (1, Some(5)));
}

#[test]
fn drop_ins_wait_for_their_release_and_their_variable() {
    let tree = |version: &str, more: &str| {
        unit(&format!("[Service]\n{more}ExecStart=/usr/bin/kubelet --config=/c.yaml --config-dir=/d\n"))
            .says(Program::KubeletVersion, version)
            .file("/c.yaml", &format!("{HEAD}maxPods: 50\nfailSwapOn: true\n"))
            .file("/d/10.conf", &format!("{HEAD}failSwapOn: false\npodsPerCore: 3\n"))
    };
    let alpha = "Environment=KUBELET_CONFIG_DROPIN_DIR_ALPHA=yes\n";
    assert!(settle(&tree("v1.27.1", "")).ends[0].why.contains("new in 1.28"));
    assert!(settle(&tree("v1.29.1", "")).ends[0].why.contains("KUBELET_CONFIG_DROPIN_DIR_ALPHA"));
    let kubelet = settle(&tree("v1.29.1", alpha));
    assert_eq!((kubelet.ends.len(), value(&kubelet, "failSwapOn")), (0, json!(false)));
    // 1.28 fills a drop-in with defaults first, and `false` does not win.
    let kubelet = settle(&tree("v1.28.1", alpha));
    assert_eq!((value(&kubelet, "failSwapOn"), value(&kubelet, "maxPods")), (json!(true), json!(110)));
    assert_eq!(value(&kubelet, "podsPerCore"), json!(3));
    // A folder that is a link is not walked.
    let kubelet = settle(&tree("v1.31.1", "").link("/d", "/elsewhere"));
    assert_eq!(value(&kubelet, "failSwapOn"), json!(true));
}

#[test]
fn eks_has_json_and_drop_ins() {
    let json = r#"{"kind":"KubeletConfiguration","apiVersion":"kubelet.config.k8s.io/v1beta1",
"authentication":{"anonymous":{"enabled":false}},
"evictionHard":{"memory.available":"100Mi","nodefs.available":"10%","nodefs.inodesFree":"5%"},
"cgroupDriver":"systemd"}"#;
    let drop_in = "{\"kind\":\"KubeletConfiguration\",\"apiVersion\":\"kubelet.config.k8s.io/v1beta1\",\n\
                   \"maxPods\":29}"
        .to_owned();
    let files = Tree::default()
        .file("/etc/kubernetes/kubelet/config.json", json)
        .file("/etc/kubernetes/kubelet/config.json.d/00-nodeadm.conf", &drop_in);
    let kubelet = settle(&files);
    assert_eq!(source(&kubelet, "maxPods"), "/etc/kubernetes/kubelet/config.json.d/00-nodeadm.conf:2");
    assert_eq!(kubelet.get(&["evictionHard", "imagefs.available"]), None);
    let service = "[Service]\nEnvironmentFile=/etc/eks/kubelet/environment\n\
                   ExecStart=/usr/bin/kubelet $NODEADM_KUBELET_ARGS\n";
    let kubelet = settle(
        &files
            .file("/etc/systemd/system/kubelet.service", service)
            .file(
                "/etc/eks/kubelet/environment",
                "NODEADM_KUBELET_ARGS=\"--cloud-provider=external --config=/etc/kubernetes/kubelet/config.json \
                 --config-dir=/etc/kubernetes/kubelet/config.json.d --max-pods=17\"\n",
            )
            .says(Program::KubeletVersion, "Kubernetes v1.33.5-eks-113cf36"),
    );
    assert_eq!((value(&kubelet, "maxPods"), kubelet.minor), (json!(17), 33));
}

#[test]
fn bottlerocket_and_flatcar_have_units_of_their_own() {
    let service = "[Service]\nEnvironmentFile=/etc/kubernetes/kubelet/env\n\
                   ExecStart=/usr/bin/kubelet \\\n    --cloud-provider external \\\n    --config \
                   /etc/kubernetes/kubelet/config \\\n    --node-ip ${NODE_IP}\n";
    let kubelet = settle(
        &unit(service)
            .file("/etc/kubernetes/kubelet/env", "NODE_IP=192.0.2.8\n")
            .file("/etc/kubernetes/kubelet/config", &format!("---\n{HEAD}maxPods: 58\n")),
    );
    assert_eq!((value(&kubelet, "maxPods"), kubelet.flag("node-ip").unwrap().value.as_str()), (json!(58), "192.0.2.8"));
    let service = "[Service]\nExecStart=/opt/bin/kubelet --config=/var/lib/kubelet/config.yaml\n";
    let flatcar =
        Tree::default().file("/etc/systemd/system/kubelet.service", service).file("/var/lib/kubelet/config.yaml", HEAD);
    assert!(matches!(settle(&flatcar).start.runner, Runner::Unit { program, .. } if program == "/opt/bin/kubelet"));
}

#[test]
fn nixos_starts_what_lies_in_its_store() {
    let service = "[Service]\n\
                   ExecStart=/nix/store/abc-kubernetes-1.32.3/bin/kubelet --config=/nix/store/def-kubelet-config \\\n  \
                   --kubeconfig=/nix/store/ghi-kubelet-kubeconfig\n";
    let kubelet = settle(&Tree::default().file("/etc/systemd/system/kubelet.service", service).file(
        "/nix/store/def-kubelet-config",
        "{\"apiVersion\":\"kubelet.config.k8s.io/v1beta1\",\"kind\":\"KubeletConfiguration\",\
                 \"clusterDomain\":\"nix\"}",
    ));
    assert_eq!((kubelet.minor, value(&kubelet, "clusterDomain")), (32, json!("nix")));
}

#[test]
fn k3s_and_rke2_start_it_themselves() {
    let server = "[Service]\nExecStart=/usr/local/bin/k3s \\\n    server \\\n\t'--kubelet-arg=max-pods=60' \\\n\
                  \t--cluster-domain x.local\n";
    let old = Tree::default()
        .file("/etc/systemd/system/k3s.service", server)
        .file("/etc/rancher/k3s/config.yaml", "kubelet-arg:\n- \"max-pods=50\"\n- \"anonymous-auth=true\"\n")
        .says(Program::K3sVersion, "k3s version v1.30.4+k3s1 (98262b5d)\ngo version go1.22.5\n");
    let kubelet = settle(&old);
    assert_eq!((kubelet.start.by(), kubelet.minor, kubelet.ends.len()), ("k3s", 30, 0));
    assert_eq!(
        (value(&kubelet, "maxPods"), value(&kubelet, "clusterDomain")),
        (json!("60").as_str().unwrap().parse::<i64>().map(Value::from).unwrap(), json!("x.local"))
    );
    assert_eq!(
        source(&kubelet, "authentication.anonymous.enabled"),
        "--anonymous-auth in /etc/rancher/k3s/config.yaml:3"
    );
    assert_eq!(value(&kubelet, "readOnlyPort"), json!(0));

    let new = Tree::default()
        .file("/etc/systemd/system/rke2-agent.service", "[Service]\nExecStart=/usr/local/bin/rke2 agent\n")
        .file("/etc/rancher/rke2/config.yaml.d/50-kubelet.yaml", "kubelet-arg+: [\"max-pods=70\"]\n")
        .file("/etc/rancher/rke2/config.yaml", "kubelet-arg: \"v=2\"\n")
        .file(
            "/var/lib/rancher/rke2/agent/etc/kubelet.conf.d/00-rke2-defaults.conf",
            &format!(
                "{HEAD}authentication:\n  anonymous:\n    enabled: false\n  webhook:\n    enabled: true\n\
                 authorization:\n  mode: Webhook\n"
            ),
        )
        .says(Program::Rke2Version, "rke2 version v1.34.1+rke2r1 (abc)\n");
    let kubelet = settle(&new);
    assert_eq!((kubelet.start.by(), kubelet.minor, kubelet.ends.len()), ("RKE2", 34, 0));
    assert_eq!((value(&kubelet, "maxPods"), value(&kubelet, "authorization.mode")), (json!(70), json!("Webhook")));
    assert_eq!(value(&kubelet, "authentication.anonymous.enabled"), json!(false));
}

#[test]
fn microk8s_k0s_and_talos_have_files_of_their_own() {
    let snap = Tree::default()
        .file(
            "/var/snap/microk8s/current/args/kubelet",
            "--kubeconfig=${SNAP_DATA}/credentials/kubelet.config\n--anonymous-auth=false\n# x\n\
             --client-ca-file=$SNAP_DATA/certs/ca.crt\n",
        )
        .file("/snap/microk8s/current/meta/snap.yaml", "name: microk8s\nversion: v1.29.2\n");
    let kubelet = settle(&snap);
    assert_eq!((kubelet.start.by(), kubelet.minor, kubelet.ends.len()), ("MicroK8s", 29, 0));
    assert_eq!(value(&kubelet, "authentication.x509.clientCAFile"), json!("/var/snap/microk8s/current/certs/ca.crt"));
    assert_eq!(
        source(&kubelet, "authentication.anonymous.enabled"),
        "--anonymous-auth in /var/snap/microk8s/current/args/kubelet:2"
    );

    let k0s = Tree::default()
        .file(
            "/etc/systemd/system/k0sworker.service",
            "[Service]\nExecStart=/usr/local/bin/k0s worker --kubelet-extra-args=\"--max-pods=44 --v=1\"\n",
        )
        .file("/var/lib/k0s/kubelet-config.yaml", &format!("{HEAD}clusterDomain: k0s\n"))
        .says(Program::K0sVersion, "v1.31.2+k0s.0\n");
    let kubelet = settle(&k0s);
    assert_eq!((value(&kubelet, "maxPods"), value(&kubelet, "clusterDomain")), (json!(44), json!("k0s")));
    assert_eq!((kubelet.start.by(), kubelet.minor), ("k0s", 31));

    let talos = Tree::default()
        .file("/system/state/config.yaml", "version: v1alpha1\n")
        .file("/etc/kubernetes/kubelet.yaml", &format!("{HEAD}protectKernelDefaults: true\n"));
    let kubelet = settle(&talos);
    assert_eq!((kubelet.start.by(), value(&kubelet, "protectKernelDefaults")), ("Talos", json!(true)));
    // Before it starts nobody knows, and nothing is claimed.
    let kubelet = settle(&Tree::default().file("/system/state/config.yaml", "version: v1alpha1\n"));
    assert!(kubelet.in_effect().unwrap_err().to_string().contains("when it starts"));
}

#[test]
fn the_user_s_word_counts_before_the_unit_s() {
    let kubelet = settle(&kubeadm().file("/elsewhere", &format!("{HEAD}maxPods: 5\n")).named("/elsewhere"));
    assert_eq!(source(&kubelet, "maxPods"), "/elsewhere:3");
    assert!(matches!(Sources::read(&Tree::default() as &dyn Host), Fact::Absent(_)));
}

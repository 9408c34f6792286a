//! Our command lines and static pods beside those of the real kubeadm, of every version whose kubeadm is in the cache.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use jiff::SignedDuration;
use seaworthy_provision::assets::{Cache, Project, Release};
use seaworthy_provision::control_plane::{ControlPlane, DIFFERENCES, EtcdServers, ExtraFlags, VERSIONED};
use seaworthy_provision::kubeadm::EnvVar;
use seaworthy_provision::manifest::{self, Additions, StaticPods, Volume, ca_folders};
use seaworthy_provision::patches::Patches;
use serde_json::Value;

/// The versions of kubeadm that CI has; any other that is there is asked, too.
const REQUIRED: [&str; 2] = ["v1.23.17", "v1.37.2"];

/// The kubeadms that are there, by version.
fn kubeadms() -> Vec<(Release, PathBuf)> {
    let named = std::env::var_os("SEAWORTHY_KUBEADM").map(PathBuf::from);
    let cached = Cache::of_user().into_iter().flat_map(|cache| {
        let folder = cache.folder(Project::Kubernetes, &Release::newest().kubernetes);
        let versions = folder.parent().and_then(|folder| std::fs::read_dir(folder).ok());
        versions.into_iter().flatten().flatten().map(|entry| entry.path().join("kubeadm"))
    });
    let mut all = BTreeMap::new();
    for path in cached.chain(named).filter(|path| path.is_file()) {
        let output = Command::new(&path).args(["version", "-o", "short"]).output().unwrap();
        let version = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
        all.insert(path, Release::of(&version).unwrap());
    }
    let missing: Vec<_> = REQUIRED
        .into_iter()
        .filter(|version| !all.values().any(|one| one.kubernetes.to_string() == *version))
        .collect();
    if !missing.is_empty() {
        let what =
            format!("kubeadm {}: `seaworthy assets fetch --kubernetes-version VERSION kubeadm`", missing.join(", "));
        assert!(std::env::var_os("SEAWORTHY_REQUIRE").is_none(), "this test needs {what}");
        println!("partly skipped: it needs {what}");
    }
    all.into_iter().map(|(path, release)| (release, path)).collect()
}

/// Flags of a user.
type Flags = &'static [(&'static str, &'static str)];

/// A configuration as kubeadm reads it, and the same as we have it.
struct Case {
    cluster: &'static str,
    /// Flags of etcd, the API server, the controller-manager and the scheduler.
    flags: [Flags; 4],
    /// Is it only for kubeadm with v1beta4?
    env: bool,
    plane: ControlPlane,
    volume: Option<Volume>,
}

fn plane() -> ControlPlane {
    ControlPlane {
        node: "cp1".to_owned(),
        advertise: "10.0.0.11".parse().unwrap(),
        port: 6443,
        services: vec!["10.96.0.0/12".parse().unwrap()],
        pods: Vec::new(),
        domain: "cluster.local".to_owned(),
        cluster: "kubernetes".to_owned(),
        pki: "/etc/kubernetes/pki".into(),
        kubeconfigs: "/etc/kubernetes".into(),
        external_ca: false,
        etcd: EtcdServers::Local { joins: Vec::new(), data: "/var/lib/etcd".into() },
        extra: ExtraFlags::default(),
    }
}

fn case(cluster: &'static str, plane: ControlPlane) -> Case {
    Case { cluster, flags: [&[]; 4], env: false, plane, volume: None }
}

fn cases() -> Vec<Case> {
    let v6 = || vec!["fd00:10:96::/112".parse().unwrap()];
    let with_flags = |flags: [Flags; 4]| {
        let list = |flags: Flags| flags.iter().map(|(flag, value)| ((*flag).to_owned(), (*value).to_owned())).collect();
        let [etcd, apiserver, controller_manager, scheduler] = flags.map(list);
        let extra = ExtraFlags { etcd, apiserver, controller_manager, scheduler };
        Case { flags, ..case("", ControlPlane { extra, ..plane() }) }
    };
    let external = |folder: &str| EtcdServers::External {
        endpoints: ["https://192.0.2.1:2379", "https://192.0.2.2:2379"].map(str::to_owned).into(),
        ca: format!("{folder}/ca.crt").into(),
        client: ("/x/c.crt".into(), "/x/y/c.key".into()),
    };
    vec![
        case("", plane()),
        case(
            "networking: {serviceSubnet: '10.96.0.0/12,fd00:10:96::/112', podSubnet: '10.244.0.0/16,fd00:10:244::/56', \
             dnsDomain: example.test}\nclusterName: sea\n",
            ControlPlane {
                services: vec!["10.96.0.0/12".parse().unwrap(), "fd00:10:96::/112".parse().unwrap()],
                pods: vec!["10.244.0.0/16".parse().unwrap(), "fd00:10:244::/56".parse().unwrap()],
                domain: "example.test".to_owned(),
                cluster: "sea".to_owned(),
                ..plane()
            },
        ),
        case(
            "networking: {serviceSubnet: 'fd00:10:96::/112'}\netcd: {local: {dataDir: /var/lib/data/etcd}}\n\
             certificatesDir: /pki\n",
            ControlPlane {
                advertise: "fd00::11".parse().unwrap(),
                port: 7443,
                services: v6(),
                pki: "/pki".into(),
                etcd: EtcdServers::Local { joins: Vec::new(), data: "/var/lib/data/etcd".into() },
                ..plane()
            },
        ),
        case(
            "etcd: {external: {endpoints: ['https://192.0.2.1:2379', 'https://192.0.2.2:2379'], caFile: \
             /etc/ssl/certs/ca.crt, certFile: /x/c.crt, keyFile: /x/y/c.key}}\n",
            ControlPlane { etcd: external("/etc/ssl/certs"), ..plane() },
        ),
        case(
            "etcd: {external: {endpoints: ['https://192.0.2.1:2379', 'https://192.0.2.2:2379'], caFile: /w/ca.crt, \
             certFile: /x/c.crt, keyFile: /x/y/c.key}}\n",
            ControlPlane { etcd: external("/w"), ..plane() },
        ),
        Case {
            volume: Some(Volume {
                name: "audit".to_owned(),
                host: "/var/log/audit".into(),
                mount: "/audit".into(),
                read_only: true,
                kind: "Directory".to_owned(),
            }),
            env: true,
            ..with_flags([
                &[("snapshot-count", "5"), ("listen-metrics-urls", "https://[::1]:2399,http://10.0.0.11:2398")],
                &[("audit-log-path", "/a"), ("allow-privileged", "false")],
                &[("node-cidr-mask-size", "20"), ("bind-address", "0.0.0.0"), ("flex-volume-plugin-dir", "/flex")],
                &[("v", "4"), ("bind-address", "::1")],
            ])
        },
        with_flags([
            &[("advertise-client-urls", "https://192.0.2.9:2379")],
            &[("authorization-config", "/authz.yaml")],
            &[],
            &[],
        ]),
        with_flags([&[], &[("authorization-mode", "RBAC,Other")], &[], &[]]),
    ]
}

/// The configuration file of a case, in the version of the API that this kubeadm knows.
fn config(case: &Case, release: &Release) -> String {
    let beta4 = has_v1beta4(release);
    let list = |flags: Flags| {
        let form = |(flag, value): &(&str, &str)| match beta4 {
            true => format!("{{name: {flag}, value: '{value}'}}"),
            false => format!("{flag}: '{value}'"),
        };
        let all = flags.iter().map(form).collect::<Vec<_>>().join(", ");
        if beta4 { format!("extraArgs: [{all}]") } else { format!("extraArgs: {{{all}}}") }
    };
    let [etcd, apiserver, controller_manager, scheduler] = case.flags.map(list);
    let mut more = String::new();
    if let Some(volume) = &case.volume {
        let (host, mount) = (volume.host.display(), volume.mount.display());
        more += &format!(
            ", extraVolumes: [{{name: {}, hostPath: {host}, mountPath: {mount}, readOnly: {}, pathType: {}}}]",
            volume.name, volume.read_only, volume.kind
        );
    }
    if case.env && beta4 {
        more += ", extraEnvs: [{name: GOMAXPROCS, value: '2'}]";
    }
    let mut cluster = case.cluster.to_owned();
    cluster += &format!(
        "apiServer: {{{apiserver}{more}}}\ncontrollerManager: {{{controller_manager}}}\nscheduler: {{{scheduler}}}\n"
    );
    if !cluster.contains("etcd:") {
        cluster += &format!("etcd: {{local: {{{etcd}}}}}\n");
    }
    let api = format!("apiVersion: kubeadm.k8s.io/{}", if beta4 { "v1beta4" } else { "v1beta3" });
    format!(
        "{api}\nkind: InitConfiguration\nlocalAPIEndpoint: {{advertiseAddress: '{}', bindPort: {}}}\n\
         nodeRegistration: {{name: cp1, criSocket: 'unix:///run/containerd/containerd.sock'}}\n---\n{api}\n\
         kind: ClusterConfiguration\nkubernetesVersion: {}\n{cluster}",
        case.plane.advertise, case.plane.port, release.kubernetes
    )
}

fn has_v1beta4(release: &Release) -> bool {
    let minor: u32 = release.kubernetes.bare().split('.').nth(1).unwrap().parse().unwrap();
    minor >= 31
}

/// The pods that kubeadm writes for a case, by component. It writes them where it always does, in a mount namespace of
/// its own: not every version has a dry run of each phase.
fn kubeadms_pods(kubeadm: &Path, case: &Case, release: &Release, patches: Option<&Path>) -> BTreeMap<String, Value> {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(case, release);
    if let Some(folder) = patches {
        config = config.replacen("---\n", &format!("patches: {{directory: {}}}\n---\n", folder.display()), 1);
    }
    std::fs::write(dir.path().join("config.yaml"), &config).unwrap();
    let etcd = if matches!(case.plane.etcd, EtcdServers::Local { .. }) { "etcd" } else { "" };
    let script = r#"
        for folder in /etc /var/lib; do mount -t tmpfs none "$folder"; done
        mkdir -p /etc/pki/ca-trust /etc/kubernetes
        test -z "$ETCD" || "$KUBEADM" init phase etcd local --config "$DIR/config.yaml"
        "$KUBEADM" init phase control-plane all --config "$DIR/config.yaml"
        cp /etc/kubernetes/manifests/*.yaml "$DIR"
        rm "$DIR/config.yaml""#;
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-ec", script]);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).env("ETCD", etcd);
    let output = command.env("DIR", dir.path()).env("KUBEADM", kubeadm).output().unwrap();
    assert!(output.status.success(), "{config}\n{}", String::from_utf8_lossy(&output.stderr));
    let mut pods = BTreeMap::new();
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        pods.insert(name, serde_saphyr::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap());
    }
    pods
}

fn command(pod: &Value) -> Vec<String> {
    let words = pod["spec"]["containers"][0]["command"].as_array().unwrap();
    words[1..].iter().map(|word| word.as_str().unwrap().to_owned()).collect()
}

fn flag(argument: &str) -> &str {
    argument.trim_start_matches("--").split('=').next().unwrap()
}

#[test]
fn our_flags_and_pods_are_kubeadms() {
    let kubeadms = kubeadms();
    let (mut versioned, mut differences) = (BTreeSet::new(), BTreeSet::new());
    let mut of_pods = BTreeSet::new();
    for (release, kubeadm) in &kubeadms {
        for case in cases() {
            let theirs = kubeadms_pods(kubeadm, &case, release, None);
            let what = format!("{} with {}", release.kubernetes, config(&case, release));
            // The patch of etcd is ours to choose, so the image is theirs; any other has the version of Kubernetes.
            let image = |name: &str| match name {
                "etcd" => theirs["etcd"]["spec"]["containers"][0]["image"].as_str().unwrap().to_owned(),
                _ => format!("registry.k8s.io/{name}:{}", release.kubernetes),
            };
            let gomaxprocs = EnvVar { name: "GOMAXPROCS".to_owned(), value: Some("2".to_owned()), value_from: None };
            let env = if case.env && has_v1beta4(release) { vec![gomaxprocs] } else { vec![] };
            let volumes = case.volume.clone().into_iter().collect();
            let seen =
                ["/usr/share/ca-certificates", "/usr/local/share/ca-certificates", "/etc/pki", "/etc/pki/ca-trust"];
            let known = ca_folders(release).iter().filter(|path| {
                path.starts_with("/etc/pki") && seen.contains(path)
                    || Path::new(path).exists() && path.starts_with("/usr")
            });
            let ours = StaticPods {
                plane: &case.plane,
                release,
                image: &image,
                additions: [("kube-apiserver", Additions { volumes, env })].into(),
                ca_folders: known.map(PathBuf::from).collect(),
                start_within: SignedDuration::from_mins(4),
            };
            let ours = ours.pods();
            assert_eq!(ours.len(), theirs.len(), "{what}");
            for (name, pod) in ours {
                let mut their_pod = theirs[name].clone();
                let (mine, their) = (command(&pod), command(&their_pod));
                for argument in
                    mine.iter().filter(|one| !their.contains(one)).chain(their.iter().filter(|one| !mine.contains(one)))
                {
                    let row = DIFFERENCES.iter().position(|row| {
                        row.component == name && row.flag == flag(argument) && row.kubernetes.has(&release.kubernetes)
                    });
                    differences
                        .insert(row.unwrap_or_else(|| panic!("{name}: {argument} of {what}: {mine:?} and {their:?}")));
                }
                versioned.extend(
                    VERSIONED
                        .iter()
                        .enumerate()
                        .filter(|(_, row)| {
                            row.component == name && mine.contains(&format!("--{}={}", row.flag, row.value))
                        })
                        .map(|(index, _)| index),
                );
                let mut sorted = their.clone();
                sorted.sort_by(|a, b| flag(a).cmp(flag(b)));
                if sorted != their {
                    of_pods.insert("spec.containers[0].command");
                }
                their_pod["spec"]["containers"][0]["command"] = pod["spec"]["containers"][0]["command"].clone();
                if their_pod["metadata"].as_object_mut().unwrap().remove("creationTimestamp").is_some() {
                    of_pods.insert("metadata.creationTimestamp");
                }
                assert_eq!(pod, their_pod, "{name} of {what}");
            }
        }
    }
    // Rows that no version needs are stale.
    let has = |version: &str| kubeadms.iter().any(|(release, _)| release.kubernetes.to_string() == version);
    if REQUIRED.into_iter().all(has) {
        assert_eq!(differences.len(), DIFFERENCES.len());
        let stale = |index: &usize| {
            !versioned.contains(index) && VERSIONED[*index].flag != "experimental-watch-progress-notify-interval"
        };
        assert_eq!((0..VERSIONED.len()).filter(stale).count(), 0);
        assert_eq!(of_pods, manifest::DIFFERENCES.iter().map(|(field, _)| *field).collect());
    }
}

const PATCHES: [(&str, &str); 5] = [
    (
        "kube-apiserver0.yaml",
        "metadata: {labels: {a: b}}
spec:
  containers:
  - name: kube-apiserver
    env: [{name: X, value: one}]
    resources: {requests: {cpu: 300m}}
    livenessProbe: null
    volumeMounts:
    - {mountPath: /etc/kubernetes/pki, name: k8s-certs, subPath: x}
    - {mountPath: /new, name: new}
    - {mountPath: /etc/ssl/certs, $patch: delete}
  - {name: sidecar, image: example.test/sidecar}
  tolerations: [{operator: Exists}]
  volumes:
  - {name: ca-certs, $patch: delete}
  - {name: usr-share-ca-certificates, hostPath: {path: /other}}
  - {name: new, hostPath: {path: /new}}
---
spec: {containers: [{name: kube-apiserver, volumeMounts: [{mountPath: /newer, name: new}]}]}
",
    ),
    ("kube-apiserver1+json.yaml", "- {op: add, path: /metadata/labels/json, value: patched}\n"),
    ("etcd+merge.json", r#"{"spec":{"hostNetwork":null,"dnsPolicy":"Default"}}"#),
    ("kube-scheduler+json.json", r#"[{"op":"replace","path":"/spec/priorityClassName","value":"x"}]"#),
    ("kube-controller-manager+strategic.yaml", "spec: {containers: [{$patch: replace}, {name: other, image: x}]}\n"),
];

#[test]
fn patches_do_what_they_do_with_kubeadm() {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in PATCHES {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    let patches = Patches::read(folder.path()).unwrap();
    assert_eq!(patches.ignored, Vec::<String>::new());
    let case = case("", plane());
    for (release, kubeadm) in kubeadms() {
        let theirs = kubeadms_pods(&kubeadm, &case, &release, Some(folder.path()));
        for (name, pod) in kubeadms_pods(&kubeadm, &case, &release, None) {
            let mut patched = patches.apply(&name, pod.clone()).unwrap();
            assert_ne!(patched, pod, "{name}");
            // kubeadm reads the patched pod once more, and writes what a new container has none of.
            for container in patched["spec"]["containers"].as_array_mut().unwrap() {
                let fields = container.as_object_mut().unwrap();
                fields.entry("resources").or_insert_with(|| Value::Object(serde_json::Map::new()));
            }
            assert_eq!(patched, theirs[&name], "{name} of {}", release.kubernetes);
        }
    }
}

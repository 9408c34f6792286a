//! No field of kubeadm's documents is passed over: each has a row, and each is set here to something that is not its
//! default and looked for in what would be applied, or in the refusal that names it.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "test code")]

#[allow(dead_code, reason = "of the corpus only the way to a field is wanted here")]
#[path = "kubeadm/corpus.rs"]
mod corpus;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use seaworthy_provision::assets::{Release, Request};
use seaworthy_provision::cluster::fields::{Becomes, ROWS, row_of, table};
use seaworthy_provision::cluster::spec::{ControlPlaneSpec, RunAs};
use seaworthy_provision::cluster::{ClusterSpec, Clusters, Engine, Sources};
use seaworthy_provision::kubeadm::fields::{self, Field};
use serde_json::{Value, json};

const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

/// What is looked for once a field is set.
enum Look {
    /// This is there, and was not before.
    Sees(String),
    /// This was there, and is not any more.
    Lacks(&'static str),
    /// It is refused by name.
    Refused,
    /// There is nothing to see, for this reason.
    Nothing(&'static str),
}

fn sees(text: &str) -> Look {
    Look::Sees(text.to_owned())
}

fn in_base64(text: &str) -> Look {
    Look::Sees(STANDARD.encode(text))
}

/// The value that a field is set to, and what is to be seen of it.
fn probe(field: &Field, patches: &str) -> (Value, Look) {
    let path = field.path.split_once('.').unwrap().1;
    let row = row_of(field.path).unwrap().becomes;
    if matches!(row, Becomes::Refused(_)) {
        return (plain(field), Look::Refused);
    }
    let text = |value: &str, look: Look| (Value::from(value), look);
    match (field.path.split('.').next().unwrap(), path) {
        (_, "kubernetesVersion") => text("v1.35.4", sees(r#""release":"v1.35.4""#)),
        (_, "controlPlaneEndpoint") => text("probe.test:6443", sees("https://probe.test:6443")),
        (_, "certificatesDir") => text("/etc/kubernetes/probe", sees("/etc/kubernetes/probe/ca.crt")),
        (_, "clusterName") => text("probe", sees("--cluster-name=probe")),
        (_, "encryptionAlgorithm") => text("ECDSA-P384", sees("EcdsaP384")),
        (_, "certificateValidityPeriod") => text("100h", sees(r#""seconds":360000,"#)),
        (_, "caCertificateValidityPeriod") => text("2000h", sees(r#""seconds":7200000,"#)),
        (_, "etcd.local.dataDir") => text("/var/lib/probe", sees("--data-dir=/var/lib/probe")),
        (_, "networking.podSubnet") => text("10.77.0.0/16", sees("--cluster-cidr=10.77.0.0/16")),
        (_, "networking.serviceSubnet") => text("10.78.0.0/16", sees("--service-cluster-ip-range=10.78.0.0/16")),
        (_, "dns.disabled") => (true.into(), Look::Lacks(r#""kind":"Deployment""#)),
        (_, "proxy.disabled") => (true.into(), Look::Lacks("kubeadm:node-proxier")),
        (_, "apiServer.timeoutForControlPlane" | "timeouts.controlPlaneComponentHealthCheck") => {
            text("7m0s", sees(r#""startWithin":420"#))
        }
        (_, "bootstrapTokens[].token") => text("probe1.0123456789abcdef", in_base64("probe1")),
        (_, "bootstrapTokens[].description") => text("probe", in_base64("probe")),
        (_, "bootstrapTokens[].ttl") => text("7h", in_base64("1970-01-01T07:00:00Z")),
        (_, "bootstrapTokens[].usages[]") => text("authentication", Look::Lacks("usage-bootstrap-signing")),
        (_, "bootstrapTokens[].groups[]") => {
            text("system:bootstrappers:probe", in_base64("system:bootstrappers:probe"))
        }
        (_, "certificateKey" | "controlPlane.certificateKey") => text(KEY, sees(KEY)),
        ("InitConfiguration", "localAPIEndpoint.bindPort") => (7443.into(), sees("--secure-port=7443")),
        (_, "controlPlane.localAPIEndpoint.bindPort") => (7443.into(), sees("--secure-port=7443")),
        (_, "patches.directory") => text(patches, sees("probe/patched")),
        (_, "skipPhases[]") => text("mark-control-plane", Look::Lacks(r#""mark-control-plane","#)),
        (_, "nodeRegistration.ignorePreflightErrors[]") => text("NumCPU", Look::Nothing("no such check is run")),
        (_, "discovery.bootstrapToken.unsafeSkipCAVerification") => {
            (true.into(), Look::Nothing("the CA is pinned anyway"))
        }
        (_, "discovery.bootstrapToken.token") => {
            text("probe1.0123456789abcdef", sees(r#""joinsBy":"probe1.0123456789abcdef""#))
        }
        (_, "featureGates{}") => (true.into(), Look::Refused),
        (_, path) if path.ends_with("taints[].effect") => text("NoExecute", sees("NoExecute")),
        (_, path) if path.ends_with("taints[].timeAdded") => text("2026-01-31T00:00:00Z", sees("2026-01-31T00:00:00Z")),
        (_, path) if path.ends_with("divisor") => text("750m", sees("divisor: 750m")),
        (_, path) if path.ends_with("optional") => (true.into(), sees("optional: true")),
        (_, path) if path.ends_with("readOnly") => (true.into(), sees("name: beside\nreadOnly: true")),
        (_, path) if path.ends_with("pathType") => text("Directory", sees("type: Directory\n")),
        (_, path) if path.ends_with("hostPath") => text("/probe", sees("path: /probe")),
        (_, path) if path.ends_with("mountPath") => text("/probe", sees("mountPath: /probe")),
        (_, path) if path.ends_with("imageRepository") => text("probe.test/x", sees("probe.test/x/")),
        (_, path) if path.contains("CertSANs[]") || path.contains("certSANs[]") => {
            text("probe.test", sees("probe.test"))
        }
        (_, "networking.dnsDomain") => text("probe.test", sees("probe.test")),
        _ if matches!(row, Becomes::Only(..)) => (plain(field), Look::Refused),
        (_, "nodeRegistration.name" | "nodeRegistration.criSocket") => text("probe", Look::Refused),
        (_, path) if path.ends_with("advertiseAddress") => text("192.0.2.9", Look::Refused),
        (_, "discovery.bootstrapToken.apiServerEndpoint") => text("192.0.2.9:6443", Look::Refused),
        (_, "discovery.tlsBootstrapToken") => text("probe2.0123456789abcdef", Look::Refused),
        _ => text("zonde", sees("zonde")),
    }
}

/// A value of a field's type that is not its default.
fn plain(field: &Field) -> Value {
    match field.kind {
        "bool" if field.path.ends_with("imagePullSerial") => false.into(),
        "bool" => true.into(),
        "int" | "int32" => 7.into(),
        kind if kind.starts_with("duration") => "7m0s".into(),
        "time" => "2026-01-31T00:00:00Z".into(),
        "string" => match field.path {
            path if path.ends_with("caCertPath") => "/probe.crt".into(),
            path if path.ends_with("imagePullPolicy") => "Always".into(),
            path if path.contains("external.") => "https://probe.test:2379".into(),
            path if path.ends_with("kubeConfigPath") => "https://probe.test".into(),
            path if path.ends_with("advertiseAddress") => "192.0.2.9".into(),
            path if path.ends_with("ertificatesDir") || path.ends_with("irectory") => "/probe".into(),
            _ => "zonde".into(),
        },
        _ => Value::Null,
    }
}

/// The file of a field: what stands beside it so that the rest is whole, with or without the field itself.
fn document(field: &Field, value: Option<&Value>) -> String {
    let (kind, path) = field.path.split_once('.').unwrap();
    let mut document = json!({ "apiVersion": field.api_version, "kind": kind });
    let beta3 = field.api_version.ends_with("v1beta3");
    for (prefix, beside) in [
        ("extraVolumes[]", json!({ "name": "beside", "hostPath": "/etc/kubernetes/beside", "mountPath": "/beside" })),
        ("extraEnvs[]", json!({ "name": "BESIDE" })),
        ("xtraArgs[]", json!({ "name": "v", "value": "1" })),
        ("taints[]", json!({ "key": "beside", "effect": "NoSchedule" })),
        ("bootstrapTokens[]", json!({ "token": "abcdef.0123456789abcdef" })),
    ] {
        if let Some(end) = path.find(prefix) {
            corpus::set(&mut document, &path[..end + prefix.len()], beside);
        }
    }
    let mut cluster = json!({ "apiVersion": field.api_version, "kind": "ClusterConfiguration" });
    if kind == "JoinConfiguration" {
        document["discovery"] = json!({ "bootstrapToken": {
            "token": "abcdef.0123456789abcdef", "apiServerEndpoint": "beside.test:6443",
            "unsafeSkipCAVerification": true,
        } });
        cluster["controlPlaneEndpoint"] = "beside.test".into();
        if path.ends_with("bindPort") && value.is_some() {
            document["discovery"]["bootstrapToken"]["apiServerEndpoint"] = "beside.test:7443".into();
        }
    }
    if let Some(value) = value {
        if path.contains("discovery.file") {
            document["discovery"] = json!({});
        }
        if path.contains("etcd.external") {
            document["etcd"] = json!({
                "external": { "endpoints": ["https://beside.test"], "caFile": "/a", "certFile": "/b", "keyFile": "/c" },
            });
        }
        let value = if path.contains("external.") && path.ends_with("File") { json!("/probe") } else { value.clone() };
        if path == "featureGates{}" {
            document["featureGates"] = json!({ "RootlessControlPlane": true });
        } else {
            corpus::set(&mut document, path, value);
        }
    }
    let version = if beta3 { "v1.36.3" } else { "v1.37.2" };
    let of = if kind == "ClusterConfiguration" { &mut document } else { &mut cluster };
    if of.get("kubernetesVersion").is_none() {
        of["kubernetesVersion"] = version.into();
    }
    let others = if kind == "ClusterConfiguration" { String::new() } else { format!("{cluster}\n---\n") };
    format!("{others}{document}\n")
}

/// What would be applied for kubeadm's documents, without the objects that repeat them; or why not.
fn applied(kubeadm: String, run_as: RunAs) -> Result<String, String> {
    let spec = ClusterSpec {
        name: "fields".to_owned(),
        workers: 1,
        control_plane: ControlPlaneSpec { run_as, ..ControlPlaneSpec::default() },
        kubeadm: Some(kubeadm),
        ..ClusterSpec::default()
    };
    let folder = tempfile::tempdir().unwrap();
    let cluster = Clusters::at(folder.path()).create(&spec).map_err(|error| error.to_string())?;
    let request = Request::here(Release::newest(), &[]).ok_or("there is no HOME")?;
    let sources = Sources { request, seaworthy: "/seaworthy".into(), images: "/images".into() };
    let engine = Engine::draft(cluster, sources, &|_| {}).map_err(|error| error.to_string())?;
    let mut applied = engine.applied(&[]).map_err(|error| error.to_string())?;
    applied.as_object_mut().unwrap().remove("configurations");
    // Manifests are texts within.
    let text = applied.to_string().replace("\\n", "\n").replace("\\\"", "\"");
    Ok(text.lines().map(str::trim).collect::<Vec<_>>().join("\n"))
}

fn own() -> impl Iterator<Item = &'static Field> {
    fields::all().iter().filter(|field| field.api_version.starts_with("kubeadm"))
}

fn is_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    assert!(root || std::env::var_os("SEAWORTHY_REQUIRE").is_none(), "this test needs root");
    if !root {
        println!("skipped: it needs root, as kubelets do");
    }
    root
}

#[test]
fn every_field_has_a_row_and_every_row_a_field() {
    let lacks: Vec<_> = own().filter(|field| row_of(field.path).is_none()).map(|field| field.path).collect();
    assert!(lacks.is_empty(), "without a row: {lacks:?}");
    // What is caught by the row of a whole document is a field that nobody has thought of.
    let whole = ["ClusterConfiguration", "InitConfiguration", "JoinConfiguration"];
    let leaf = |field: &&Field| !matches!(field.kind, "object" | "list" | "map") && field.path.contains('.');
    let unknown: Vec<_> =
        own().filter(leaf).map(|one| one.path).filter(|path| whole.contains(&row_of(path).unwrap().field)).collect();
    assert!(unknown.is_empty(), "not thought of: {unknown:?}");
    for row in ROWS {
        assert!(own().any(|field| field.path.starts_with(row.field)), "{} is no field of kubeadm's", row.field);
    }
}

#[test]
fn each_field_is_seen_or_refused_by_name() {
    if !is_root() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("kube-apiserver.yaml"), "metadata: {annotations: {probe/patched: 'yes'}}\n")
        .unwrap();
    let patches = folder.path().to_str().unwrap();
    let leaf = |field: &&Field| !matches!(field.kind, "object" | "list" | "map");
    let settable = |field: &&Field| {
        let name = field.path.rsplit('.').next().unwrap();
        field.path.contains('.') && !(field.path.matches('.').count() == 1 && matches!(name, "apiVersion" | "kind"))
    };
    let (mut wrong, mut seen, mut refused, mut nothing) = (Vec::new(), 0, 0, Vec::new());
    for field in own().filter(leaf).filter(settable) {
        // Those that only 1.36 has are probed there, all others at their newest.
        let (value, look) = probe(field, patches);
        let got = applied(document(field, Some(&value)), RunAs::StaticPods);
        let before = || applied(document(field, None), RunAs::StaticPods).unwrap();
        let (kind, path) = field.path.split_once('.').unwrap();
        let verdict = match (&look, &got) {
            (Look::Nothing(why), Ok(_)) => {
                nothing.push((field.path, *why));
                Ok(())
            }
            (Look::Refused, Err(why)) => {
                refused += 1;
                let name = path.trim_end_matches("{}").replace("[]", "");
                let plain = why.replace("[0]", "").replace("[]", "");
                let whole = ["ResetConfiguration", "UpgradeConfiguration"].contains(&kind) && plain.contains(kind);
                // Of what is refused with all that is in it, the first one is named.
                let above =
                    row_of(field.path).unwrap().field.split_once('.').is_some_and(|(_, above)| plain.contains(above));
                if whole || ((above || plain.contains(&name)) && why.contains("line ")) {
                    Ok(())
                } else {
                    Err(why.clone())
                }
            }
            (Look::Sees(text), Ok(got)) => {
                seen += 1;
                if got.contains(text) && !before().contains(text) { Ok(()) } else { Err(format!("no '{text}'")) }
            }
            (Look::Lacks(text), Ok(got)) => {
                seen += 1;
                if !got.contains(text) && before().contains(text) {
                    Ok(())
                } else {
                    Err(format!("'{text}' is there, or never was"))
                }
            }
            (_, Ok(_)) => Err("it is taken".to_owned()),
            (_, Err(why)) => Err(format!("refused: {why}")),
        };
        if let Err(why) = verdict {
            wrong.push(format!("{} {}: {why}", field.api_version, field.path));
        }
    }
    println!("{seen} seen, {refused} refused, nothing to see: {nothing:?}");
    assert!(wrong.is_empty(), "{} fields:\n{}", wrong.len(), wrong.join("\n"));
    assert!(seen > 150 && refused > 80, "{seen} seen, {refused} refused");
}

#[test]
fn what_only_pods_have_is_refused_of_processes_and_environments_reach_them() {
    if !is_root() {
        return;
    }
    let head = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n";
    for (more, named) in [
        ("apiServer: {extraVolumes: [{name: a, hostPath: /a, mountPath: /a}]}\n", "line 3: apiServer.extraVolumes"),
        (
            "scheduler: {extraEnvs: [{name: A, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]}\n",
            "line 3: scheduler.extraEnvs[].valueFrom",
        ),
        ("etcd: {local: {dataDir: /var/lib/etcd, imageTag: a}}\n", "line 3: etcd.local.imageTag"),
    ] {
        let why = applied(format!("{head}{more}"), RunAs::Processes).unwrap_err();
        assert!(why.contains(named) && why.contains("static"), "{why}");
    }
    let got =
        applied(format!("{head}apiServer: {{extraEnvs: [{{name: PROBE, value: seen}}]}}\n"), RunAs::Processes).unwrap();
    assert!(got.contains(r#""PROBE":"seen""#), "{got}");
}

#[test]
fn gates_are_the_default_of_the_version_or_refused() {
    let of = |version: &str, gate: &str| {
        let beta = if version < "v1.31" { "v1beta3" } else { "v1beta4" };
        let text = format!(
            "apiVersion: kubeadm.k8s.io/{beta}\nkind: ClusterConfiguration\nkubernetesVersion: {version}\n\
             featureGates: {{{gate}}}\n"
        );
        ClusterSpec { kubeadm: Some(text), ..ClusterSpec::default() }
    };
    let folder = tempfile::tempdir().unwrap();
    let draft = |spec: &ClusterSpec| Clusters::at(folder.path()).draft(spec).map_err(|error| error.to_string());
    assert!(draft(&of("v1.33.13", "NodeLocalCRISocket: false")).is_ok());
    for (version, gate, why) in [
        ("v1.33.13", "NodeLocalCRISocket: true", "line 4: featureGates: NodeLocalCRISocket can only be false"),
        ("v1.37.2", "RootlessControlPlane: true", "line 4: featureGates: RootlessControlPlane can only be false"),
        (
            "v1.37.2",
            "PublicKeysECDSA: true",
            "line 4: featureGates.PublicKeysECDSA: kubeadm 1.37 has no such feature gate",
        ),
        ("v1.37.2", "NoSuchGate: true", "only RootlessControlPlane"),
    ] {
        let error = draft(&of(version, gate)).unwrap_err();
        assert!(error.contains(why), "{error}");
    }
    let ecdsa = of("v1.30.14", "PublicKeysECDSA: true").configuration().unwrap();
    let (spec, _) = ecdsa.control_plane("cp1", "10.0.0.1".parse().unwrap(), jiff::Timestamp::UNIX_EPOCH).unwrap();
    assert_eq!(spec.algorithm, seaworthy_provision::pki::Algorithm::EcdsaP256);
}

#[test]
fn the_table_of_the_manual_is_that_of_the_program() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/kubeadm-fields.md");
    let head = "# kubeadm's fields in a cluster of ours\n\n\
                A row is for a field with all that is below it, unless a longer path has a row of its own. What is \
                refused is refused by `up` and by `up --dry-run`, with its line.\n\
                The fields are those of v1beta3 and v1beta4, from kubeadm's own types \
                ([`fields.txt`](../provision/src/kubeadm/fields.txt)); a test sets each. `INSTA_UPDATE=always cargo \
                test -p seaworthy-provision --test kubeadm_fields` renews this page.\n\n";
    let page = format!("{head}{}", table());
    if std::env::var("INSTA_UPDATE").is_ok_and(|value| value == "always") {
        std::fs::write(path, &page).unwrap();
    }
    assert!(
        std::fs::read_to_string(path).unwrap_or_default() == page,
        "docs/kubeadm-fields.md is not the program's: renew it"
    );
}

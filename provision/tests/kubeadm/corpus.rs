//! Files that kubeadm is asked about: every field with values of every type, texts of every kind in every field that
//! holds one, members that there are not, and files that are broken as a whole.

use seaworthy_provision::kubeadm::fields::{self, Field};
use serde_json::{Map, Value, json};

/// Stands where a value is to be written.
const HERE: &str = "@@";
/// Values of every type, as YAML writes them.
const VALUES: [&str; 22] = [
    "null",
    "true",
    "on",
    "5",
    "0",
    "-1",
    "1.5",
    "1e3",
    "0x1F",
    "99999999999",
    "'text'",
    "''",
    "'5'",
    "'10s'",
    "[]",
    "['a']",
    "[null]",
    "[{}]",
    "{}",
    "{a: b}",
    "{a: null}",
    "2026-01-31",
];
/// Texts that mean something in some field.
const TEXTS: [&str; 78] = [
    "a",
    "A",
    "a.test",
    "A.test",
    "*.a.test",
    "*",
    "*.",
    "a_b",
    "-a",
    "a-",
    "a..b",
    "a.test.",
    ".",
    " a",
    "a ",
    "a b",
    "ä",
    "a.test:443",
    "a.test:0",
    "a.test:65536",
    "a.test:http",
    ":443",
    "a.test:",
    "10.0.0.1",
    "010.0.0.1",
    "10.0.0.1:6443",
    "10.0.0.256",
    "fd00::1",
    "[fd00::1]:6443",
    "[fd00::1]",
    "fd00::1:6443",
    "FD00::1",
    "10.0.0.0/16",
    "10.0.0.0/29",
    "10.0.0.0/28",
    "10.0.0.0/8",
    "10.0.0.0/33",
    "10.0.0.0",
    "fd00::/112",
    "fd00::/64",
    "fd00::/48",
    "fd00::/40",
    "fd00::/108",
    "10.0.0.0/16,fd00::/112",
    "10.0.0.0/16, fd00::/112",
    "10.0.0.0/16,",
    "10.0.0.0/16,10.1.0.0/16",
    "10.0.0.5/16",
    "10.0.0.0/16,fd00::/112,10.1.0.0/16",
    "/a",
    "a/b",
    "/a/../b",
    "unix:///a",
    "unix:/a",
    "unixa",
    "tcp://a",
    "https://a:1",
    "http://a:1",
    "HTTPS://a",
    "RSA-2048",
    "ECDSA-P256",
    "RSA-1024",
    "Always",
    "always",
    "Never",
    "4m0s",
    "1.5h",
    "-1h",
    "1d",
    "abcdef.0123456789abcdef",
    "ABCDEF.0123456789abcdef",
    "signing",
    "authentication",
    "system:bootstrappers:a",
    "system:bootstrappers:A",
    "system:masters",
    "registry.test/a",
    "sha256:00",
];

/// A file, and what is particular about it.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) text: String,
    /// The field that is set; empty for what is of no field.
    pub(crate) field: String,
    pub(crate) value: String,
}

/// The documents of a version into which others are set: valid ones.
pub(crate) fn base(kind: &str, api_version: &str) -> Value {
    let mut document = match kind {
        "JoinConfiguration" => json!({
            "discovery": { "bootstrapToken": {
                "token": "abcdef.0123456789abcdef", "apiServerEndpoint": "10.0.0.1:6443",
                "unsafeSkipCAVerification": true,
            } },
        }),
        _ => json!({}),
    };
    document["apiVersion"] = api_version.into();
    document["kind"] = kind.into();
    document
}

/// A document with a path of the list set to a value. What of it stands there already is kept.
pub(crate) fn set(document: &mut Value, path: &str, value: Value) {
    let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
    let name = first.trim_end_matches("[]").trim_end_matches("{}");
    let object = document.as_object_mut().expect("an object is where a member is");
    let slot = object.entry(name).or_insert(Value::Null);
    let inner = if first.ends_with("[]") {
        if !slot.is_array() {
            *slot = json!([null]);
        }
        &mut slot[0]
    } else if first.ends_with("{}") {
        if !slot.is_object() {
            *slot = json!({ "name": null });
        }
        slot.get_mut("name").unwrap()
    } else {
        slot
    };
    match rest {
        None => *inner = value,
        Some(rest) => {
            if !inner.is_object() {
                *inner = Value::Object(Map::new());
            }
            set(inner, rest, value);
        }
    }
}

/// A file with one field set to YAML as it is written here.
pub(crate) fn file(field: &Field, version: &str, yaml: &str) -> String {
    let (kind, path) = field.path.split_once('.').unwrap();
    let mut document = base(kind, field.api_version);
    set(&mut document, path, HERE.into());
    let own = field.api_version.starts_with("kubeadm");
    let cluster = if own { field.api_version } else { "kubeadm.k8s.io/v1beta4" };
    let mut others = Vec::new();
    if kind == "ClusterConfiguration" {
        if path != "kubernetesVersion" {
            document["kubernetesVersion"] = version.into();
        }
    } else if kind != "JoinConfiguration" {
        let mut other = base("ClusterConfiguration", cluster);
        other["kubernetesVersion"] = version.into();
        others.push(block(&other));
    }
    others.push(block(&document).replace(&format!("\"{HERE}\""), yaml));
    others.join("---\n")
}

/// A document with a line for each member: one that begins with a brace must be JSON.
fn block(document: &Value) -> String {
    document.as_object().unwrap().iter().map(|(name, value)| format!("{name}: {value}\n")).collect()
}

/// The fields of a minor version of Kubernetes, up to 1.36 those of v1beta3 alone: the rest is the same.
pub(crate) fn looked_at(minor: u32) -> impl Iterator<Item = &'static Field> {
    fields::all().iter().filter(move |field| {
        (field.first..=field.last).contains(&minor)
            && (minor > 36 || field.api_version.ends_with("v1beta3"))
            && field.path.contains('.')
            // The engine refuses these as a whole.
            && !field.path.starts_with("ResetConfiguration")
            && !field.path.starts_with("UpgradeConfiguration")
            && !field.path.ends_with(".apiVersion")
            && !field.path.ends_with("Configuration.kind")
    })
}

/// Is it one of several that are alike?
fn alike(path: &str) -> bool {
    path.contains("valueFrom") || path.contains("ontrollerManager.extra") || path.contains("scheduler.extra")
}

/// All files for a version.
pub(crate) fn cases(minor: u32, version: &str) -> Vec<Case> {
    let mut all = Vec::new();
    for field in looked_at(minor) {
        let mut add = |value: &str| {
            all.push(Case { text: file(field, version, value), field: field.path.to_owned(), value: value.to_owned() });
        };
        VALUES.iter().for_each(|value| add(value));
        // Texts are of meaning to kubeadm in its own fields, and once in the others.
        if alike(field.path) {
        } else if field.api_version.starts_with("kubeadm")
            && matches!(field.kind, "string" | "duration" | "time" | "token")
        {
            TEXTS.iter().for_each(|text| add(&format!("'{text}'")));
        } else if !matches!(field.kind, "object" | "list" | "map" | "string") {
            TEXTS.iter().skip(49).for_each(|text| add(&format!("'{text}'")));
        }
        if field.kind == "object" {
            let yaml = "{noSuchMember: 1}";
            all.push(Case { text: file(field, version, yaml), field: field.path.to_owned(), value: yaml.to_owned() });
        }
    }
    let head =
        format!("apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nkubernetesVersion: {version}\n");
    let init = "apiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\n";
    let kubelet = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n";
    let mut add = |text: String| all.push(Case { text, field: String::new(), value: String::new() });
    for text in [
        "{}\n",
        "{a: b}\n",
        "{\"apiVersion\": \"kubeadm.k8s.io/v1beta4\", \"kind\": \"InitConfiguration\"}\n",
        "",
        "\n",
        "# nothing\n",
        "{apiVersion: kubeadm.k8s.io/v1beta4, kind: InitConfiguration}\n",
        "---\n",
        "a: 1\n",
        "[]\n",
        "text\n",
        "kind: ClusterConfiguration\n",
        "apiVersion: v1\nkind: Pod\n",
    ] {
        add(text.to_owned());
        add(format!("{head}---\n{text}"));
        add(format!("{text}---\n{head}"));
    }
    for more in [
        "clusterName: a\nclusterName: b\n",
        "networking: {podSubnet: 10.0.0.0/16, podSubnet: 10.1.0.0/16}\n",
        "foo: 1\n",
        "Etcd: {}\n",
        "etcd: {local: {dataDir: /d}, external: {endpoints: ['https://a:1'], caFile: /a, certFile: /b, keyFile: /c}}\n",
        "etcd: {external: {endpoints: ['https://a:1'], caFile: /a, certFile: /b, keyFile: /c}}\n",
        "etcd: {external: {endpoints: ['https://a:1'], certFile: /b, keyFile: /c}}\n",
        "etcd: {external: {endpoints: ['https://a:1'], caFile: /a, certFile: /b}}\n",
        "etcd: {external: {endpoints: ['http://a:1'], caFile: /a}}\n",
        "etcd: {external: {endpoints: ['http://a:1']}}\n",
        "etcd: {external: {endpoints: [], caFile: /a}}\n",
        "etcd: {external: {endpoints: ['a:1']}}\n",
        "networking: {podSubnet: 10.0.0.0/16}\n\
         controllerManager: {extraArgs: [{name: node-cidr-mask-size-ipv4, value: '12'}]}\n",
        "networking: {podSubnet: 10.0.0.0/16}\n\
         controllerManager: {extraArgs: [{name: node-cidr-mask-size-ipv4, value: x}]}\n",
        "networking: {podSubnet: 10.0.0.0/26}\n\
         controllerManager: {extraArgs: [{name: node-cidr-mask-size-ipv4, value: '28'}]}\n",
        "networking: {podSubnet: 10.0.0.0/26}\n\
         controllerManager: {extraArgs: [{name: allocate-node-cidrs, value: 'false'}]}\n",
        "featureGates: {RootlessControlPlane: true}\n",
        "featureGates: {NoSuchGate: true}\n",
        "featureGates: {PublicKeysECDSA: true}\n",
        "apiServer: {extraArgs: [{name: v, value: '1'}, {name: v, value: '2'}]}\n",
        "apiServer: {extraArgs: [{value: '1'}]}\n",
        "apiServer: {extraArgs: [{name: v, value: 1}]}\n",
        "apiServer: {extraArgs: [{name: v, value: on}]}\n",
        "apiServer: {extraArgs: {v: '1'}}\n",
        "apiServer: &a {certSANs: [a]}\nscheduler: {}\n",
        "scheduler: *nothing\n",
        "controllerManager: &a {extraArgs: [{name: v, value: '1'}]}\nscheduler: *a\n",
        "controllerManager: &a {extraArgs: [{name: v, value: '1'}]}\nscheduler: {<<: *a}\n",
        "controllerManager: &a {extraArgs: []}\nscheduler: {<<: *a, extraArgs: []}\n",
        "\tclusterName: a\n",
        "clusterName: [\n",
    ] {
        add(format!("{head}{more}"));
    }
    for more in [
        "bootstrapTokens: [{token: abcdef.0123456789abcdef, usages: [signing]}]\n",
        "bootstrapTokens: [{token: abcdef.0123456789abcdef, usages: [authentication], groups: \
         ['system:bootstrappers:x:y-1']}]\n",
        "bootstrapTokens: [{token: abcdef.0123456789abcdef, expires: '2026-01-31T00:00:00Z'}]\n",
        "bootstrapTokens: [{token: abcdef.0123456789abcdef, expires: '2026-01-31T00:00:00Z', ttl: 1h}]\n",
        "bootstrapTokens: [{}]\n",
        "bootstrapTokens: [{ttl: 0s}]\n",
        "localAPIEndpoint: {bindPort: 65536}\n",
        "localAPIEndpoint: {bindPort: -1}\n",
        "localAPIEndpoint: {advertiseAddress: 127.0.0.1}\n",
        "localAPIEndpoint: {advertiseAddress: 0.0.0.0}\n",
        "localAPIEndpoint: {advertiseAddress: '::'}\n",
        "certificateKey: 00\n",
        "certificateKey: '00'\n",
        "certificateKey: 000102030405060708090a0b0c0d0e0f000102030405060708090a0b0c0d0e0f\n",
        "certificateKey: 000102030405060708090A0B0C0D0E0F000102030405060708090A0B0C0D0E0F\n",
        "nodeRegistration: {name: CP1}\n",
        "nodeRegistration: {taints: []}\n",
        "nodeRegistration: {taints: null}\n",
        "nodeRegistration: {tains: []}\n",
        "skipPhases: [nosuch]\n",
    ] {
        add(format!("{head}---\n{init}{more}"));
    }
    for (first, second) in [
        ("---\n", "---\n"),
        ("", "--- # a comment\n"),
        ("", "--- text\n"),
        ("", "---\n---\n"),
        ("# a comment\n---\n", "---\n"),
        ("", "...\n---\n"),
    ] {
        add(format!("{first}{head}{second}{init}"));
        add(format!("{first}{init}{second}{head}"));
        add(format!("{first}{head}{second}{head}"));
        add(format!("{first}{head}{second}{kubelet}"));
    }
    for version in ["v1alpha1", "v1beta1", "v1beta2", "v1beta5", "v1", "v2"] {
        add(format!("{head}---\napiVersion: kubeadm.k8s.io/{version}\nkind: InitConfiguration\n"));
    }
    for document in [
        "apiVersion: kubeadm.k8s.io/v1beta4\nkind: NoSuchConfiguration\n",
        "apiVersion: kubelet.config.k8s.io/v1\nkind: KubeletConfiguration\n",
        "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeProxyConfiguration\n",
        "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n",
        "apiVersion: apps/v1\nkind: Deployment\n",
        "apiVersion: a/b/c\nkind: ClusterConfiguration\n",
        "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: CredentialProviderConfig\n",
    ] {
        add(format!("{head}---\n{document}"));
    }
    for more in [
        "cgroupDriver: cgroupfs\n",
        "cgroupDriver: 1\n",
        "maxPods: '5'\n",
        "failSwapOn: 'false'\n",
        "failSwapOn: no\n",
        "nosuch: 1\n",
        "maxpods: 5\n",
        "evictionHard: {memory.available: 100Mi}\n",
        "evictionHard: {memory.available: 100}\n",
        "syncFrequency: 1m\n",
        "syncFrequency: 60\n",
        "syncFrequency: null\n",
        "clusterDNS: 10.96.0.10\n",
        "logging: {flushFrequency: 5}\n",
        "logging: {flushFrequency: 5s}\n",
        "logging: {flushFrequency: x}\n",
        "featureGates: {A: 'true'}\n",
        "featureGates: {A: true}\n",
        "systemReserved: {cpu: 100m}\n",
        "systemReserved: {cpu: 1}\n",
        "authentication: {anonymous: {enable: false}}\n",
    ] {
        add(format!("{head}---\n{kubelet}{more}"));
    }
    all
}

//! What `talosctl gen secrets`, `gen config` and `config new` write: made as siderolabs/crypto makes keys and
//! certificates, and with the names of siderolabs/talos (pkg/machinery/config).

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ED25519,
};
use serde_json::{Value, json};

use crate::forge;

/// A certificate and its key, as siderolabs/crypto makes them.
#[derive(Clone)]
pub(super) struct Pair {
    pub(super) crt: String,
    pub(super) key: String,
}

/// PEM of a key as Talos writes it: what is of Ed25519 under a label of its own, what is of P-256 as SEC 1.
pub(super) fn pem(key: &KeyPair) -> String {
    if key.algorithm() == &PKCS_ED25519 {
        return forge::pem("ED25519 PRIVATE KEY", key.serialized_der());
    }
    // PKCS#8 has the curve outside of the key, SEC 1 within.
    let outer = forge::children(key.serialized_der());
    let curve = forge::children(&outer[1])[1].clone();
    let inner = forge::children(&forge::children(&outer[2])[0]);
    let whole = [inner[0].clone(), inner[1].clone(), forge::wrap(0xa0, &curve), inner[2].clone()].concat();
    forge::pem("EC PRIVATE KEY", &forge::wrap(0x30, &whole))
}

pub(super) fn ed25519() -> KeyPair {
    KeyPair::generate_for(&PKCS_ED25519).unwrap()
}

/// A CA of ten years that has an organization or no name at all, and may be used for both sides.
pub(super) fn authority(organization: &str, key: &KeyPair, change: impl FnOnce(&mut CertificateParams)) -> Pair {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    if !organization.is_empty() {
        params.distinguished_name.push(DnType::OrganizationName, organization);
    }
    (params.not_before, params.not_after) = (forge::days(0), forge::days(3650));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    change(&mut params);
    Pair { crt: params.self_signed(key).unwrap().pem(), key: pem(key) }
}

pub(super) fn ca(organization: &str) -> Pair {
    authority(organization, &forge::key(), |_| {})
}

/// What `talosctl config new` has signed: a year, the role as the organization, no common name.
pub(super) fn administrator(by: &Pair, change: impl FnOnce(&mut CertificateParams)) -> Pair {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "os:admin");
    (params.not_before, params.not_after) = (forge::days(0), forge::days(365));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    change(&mut params);
    let signer = KeyPair::from_pem(&by.key.replace("ED25519 PRIVATE", "PRIVATE")).unwrap();
    let (issuer, key) = (Issuer::from_ca_cert_pem(&by.crt, signer).unwrap(), ed25519());
    Pair { crt: params.signed_by(&key, &issuer).unwrap().pem(), key: pem(&key) }
}

pub(super) fn base64(text: &str) -> Value {
    STANDARD.encode(text).into()
}

/// The secrets of a cluster.
#[derive(Clone)]
pub(super) struct Secrets {
    pub(super) os: Pair,
    pub(super) cluster: Pair,
    pub(super) front_proxy: Pair,
    pub(super) etcd: Pair,
    pub(super) service_accounts: String,
}

impl Secrets {
    pub(super) fn new() -> Self {
        Self {
            os: authority("talos", &ed25519(), |_| {}),
            cluster: ca("kubernetes"),
            front_proxy: ca(""),
            etcd: ca("etcd"),
            service_accounts: forge::sec1(&forge::key()),
        }
    }
}

/// Which Talos writes the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    /// Everything in the first document, in base64.
    V1_13,
    /// The PKI of Kubernetes in documents of its own, in PEM.
    V1_14,
}

/// What must not be seen anywhere: each but the keys.
pub(super) const TOKENS: [&str; 8] = [
    "d8cwfa.eyvpi0xwxyarbfid",
    "inn7ol.u4ehnti8qyls9ymo",
    "pofHbABZq7VXuObsdLdy/bHmz6hlMHZ3p8+6WKrv1ic=",
    "45yd2Ke+sytiICojDf8aibTfgt99nzJmO53cjDqrCto=",
    "z01mye6j16bspJYtTB/5SFX8j7Ph4JXxM2Xuu4vsBPM=",
    "eyvpi0xwxyarbfid",
    "u4ehnti8qyls9ymo",
    "DqrCto",
];

/// A folder that talosctl has written to: controlplane.yaml, worker.yaml, talosconfig and secrets.yaml, as documents.
pub(super) struct Folder {
    dir: tempfile::TempDir,
    pub(super) secrets: Secrets,
    pub(super) control_plane: Vec<Value>,
    pub(super) worker: Vec<Value>,
    pub(super) bundle: Value,
    pub(super) client: Value,
    /// What is done to the text of controlplane.yaml.
    pub(super) edit: fn(String) -> String,
    /// Their modes, where they are not 0600.
    pub(super) modes: Vec<(&'static str, u32)>,
}

impl Folder {
    pub(super) fn new(version: Version) -> Self {
        let secrets = Secrets::new();
        let admin = administrator(&secrets.os, |_| {});
        Self {
            dir: tempfile::tempdir().unwrap(),
            control_plane: configuration(&secrets, version, "controlplane"),
            worker: configuration(&secrets, version, "worker"),
            bundle: bundle(&secrets),
            client: json!({"context": "base", "contexts": {"base": {
                "endpoints": ["192.0.2.10"], "ca": base64(&secrets.os.crt),
                "crt": base64(&admin.crt), "key": base64(&admin.key)}}}),
            secrets,
            edit: |text| text,
            modes: Vec::new(),
        }
    }

    pub(super) fn root(&self) -> &Path {
        self.dir.path()
    }

    /// Writes it all.
    pub(super) fn write(&self) {
        let stream = |documents: &[Value]| documents.iter().map(yaml).collect::<Vec<_>>().join("---\n");
        // talosctl lets anyone read what it makes; whoever keeps it, does not.
        std::fs::set_permissions(self.root(), std::fs::Permissions::from_mode(0o755)).unwrap();
        for (name, text) in [
            ("controlplane.yaml", (self.edit)(stream(&self.control_plane))),
            ("worker.yaml", stream(&self.worker)),
            ("secrets.yaml", stream(std::slice::from_ref(&self.bundle))),
            ("talosconfig", stream(std::slice::from_ref(&self.client))),
        ] {
            let mode = self.modes.iter().find(|(of, _)| *of == name).map_or(0o600, |(_, mode)| *mode);
            std::fs::write(self.root().join(name), text).unwrap();
            std::fs::set_permissions(self.root().join(name), std::fs::Permissions::from_mode(mode)).unwrap();
        }
    }

    /// A member of controlplane.yaml's first document: `/cluster/ca/crt`.
    pub(super) fn set(&mut self, pointer: &str, value: Value) {
        set(&mut self.control_plane[0], pointer, value);
    }

    /// Gives the cluster another CA in every file.
    pub(super) fn everywhere(&mut self, pointer: &str, bundled: &str, pair: &Pair) {
        for document in [&mut self.control_plane[0], &mut self.worker[0]] {
            if document.pointer(pointer).is_some() {
                set(document, &format!("{pointer}/crt"), base64(&pair.crt));
            }
        }
        self.set(&format!("{pointer}/key"), base64(&pair.key));
        set(&mut self.bundle, bundled, json!({"crt": base64(&pair.crt), "key": base64(&pair.key)}));
    }
}

/// A document, with the members of a configuration's first in the order that Talos has.
pub(super) fn yaml(document: &Value) -> String {
    let first = ["version", "debug", "persist", "machine", "cluster"];
    let members = document.as_object().unwrap();
    let rest = members.keys().map(String::as_str).filter(|name| !first.contains(name));
    let names = first.into_iter().filter(|name| members.contains_key(*name)).chain(rest);
    names.map(|name| serde_saphyr::to_string(&json!({name: members[name]})).unwrap()).collect()
}

pub(super) fn set(document: &mut Value, pointer: &str, value: Value) {
    let (parent, member) = pointer.rsplit_once('/').unwrap();
    let parent = document.pointer_mut(parent).unwrap_or_else(|| panic!("there is no {parent}"));
    parent[member] = value;
}

/// What `talosctl gen config` writes for a machine of this type.
pub(super) fn configuration(secrets: &Secrets, version: Version, kind: &str) -> Vec<Value> {
    let signs = kind == "controlplane";
    let pair =
        |pair: &Pair| json!({"crt": base64(&pair.crt), "key": if signs { base64(&pair.key) } else { "".into() }});
    let mut first = json!({
        "version": "v1alpha1", "debug": false, "persist": true,
        "machine": {
            "type": kind, "token": TOKENS[0], "ca": pair(&secrets.os), "certSANs": [],
            "features": {"diskQuotaSupport": true},
        },
        "cluster": {"token": TOKENS[1]},
    });
    if signs {
        first["cluster"]["etcd"] = json!({"ca": pair(&secrets.etcd)});
    }
    let own = |kind: &str, members: Value| {
        let mut document = json!({"apiVersion": "v1alpha1", "kind": kind});
        document.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        document
    };
    if version == Version::V1_13 {
        let cluster = first["cluster"].as_object_mut().unwrap();
        cluster.insert("id".into(), "0raF93qnkMvF-FZNuvyGozXNdLiT2FOWSlyBaW4PR-w=".into());
        cluster.insert("secret".into(), TOKENS[2].into());
        cluster.insert("controlPlane".into(), json!({"endpoint": "https://api.example.test:6443"}));
        cluster.insert("network".into(), json!({"dnsDomain": "cluster.local", "serviceSubnets": ["10.96.0.0/12"]}));
        cluster.insert("ca".into(), pair(&secrets.cluster));
        if signs {
            cluster.insert("secretboxEncryptionSecret".into(), TOKENS[3].into());
            cluster.insert("aescbcEncryptionSecret".into(), TOKENS[4].into());
            cluster.insert("aggregatorCA".into(), pair(&secrets.front_proxy));
            cluster.insert("serviceAccount".into(), json!({"key": base64(&secrets.service_accounts)}));
            cluster.insert(
                "apiServer".into(),
                json!({"image": "registry.k8s.io/kube-apiserver:v1.34.0", "certSANs": ["api.example.test"]}),
            );
        }
        return vec![first, own("HostnameConfig", json!({"auto": "stable"}))];
    }
    let mut all = vec![
        first,
        own(
            "DiscoveryIdentityConfig",
            json!({"clusterID": "0raF93qnkMvF-FZNuvyGozXNdLiT2FOWSlyBaW4PR-w=", "clusterSecret": TOKENS[2]}),
        ),
        own("KubeClusterConfig", json!({"clusterName": "base", "endpoint": "https://api.example.test:6443"})),
        own("KubeNetworkConfig", json!({"dnsDomain": "cluster.local", "serviceSubnets": ["10.96.0.0/12"]})),
    ];
    if !signs {
        all.push(own("KubeAPIServerCAConfig", json!({"acceptedCAs": [secrets.cluster.crt]})));
        return all;
    }
    let issuing = |pair: &Pair| json!({"issuingCA": {"cert": pair.crt, "key": pair.key}});
    all.extend([
        own("KubeAPIServerCAConfig", issuing(&secrets.cluster)),
        own("KubeAggregatorCAConfig", issuing(&secrets.front_proxy)),
        own(
            "KubeServiceAccountConfig",
            json!({"issuer": {"privateKey": secrets.service_accounts, "issuerURL": "https://api.example.test:6443"}}),
        ),
        own(
            "KubeAPIServerConfig",
            json!({"image": "registry.k8s.io/kube-apiserver:v1.36.0", "certExtraSANs": ["api.example.test"]}),
        ),
        own(
            "KubeEtcdEncryptionConfig",
            json!({"config": {"resources": [{"resources": ["secrets"],
            "providers": [{"secretbox": {"keys": [{"name": "key2", "secret": TOKENS[3]}]}}]}]}}),
        ),
    ]);
    all
}

/// What `talosctl gen secrets` writes.
pub(super) fn bundle(secrets: &Secrets) -> Value {
    let pair = |pair: &Pair| json!({"crt": base64(&pair.crt), "key": base64(&pair.key)});
    json!({
        "cluster": {"id": "0raF93qnkMvF-FZNuvyGozXNdLiT2FOWSlyBaW4PR-w=", "secret": TOKENS[2]},
        "secrets": {"bootstraptoken": TOKENS[1], "secretboxencryptionsecret": TOKENS[3]},
        "trustdinfo": {"token": TOKENS[0]},
        "certs": {"etcd": pair(&secrets.etcd), "k8s": pair(&secrets.cluster),
            "k8saggregator": pair(&secrets.front_proxy),
            "k8sserviceaccount": {"key": base64(&secrets.service_accounts)}, "os": pair(&secrets.os)},
    })
}

//! No secret survives a recording: a tree full of secrets is recorded, and the recording is searched for them.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::path::Path;

use proptest::prelude::*;
use seaworthy_checks::host::{Host, LiveHost, Meta, Query, Recorder, Reply, read_recording, redact, write_recording};

/// Files with secrets. What must not survive is marked by the word `SECRET` in it.
const FILES: &[(&str, &str)] = &[
    (
        "/etc/kubernetes/pki/ca.key",
        "-----BEGIN RSA PRIVATE KEY-----\nMIISECRETa\nSECRETb\n-----END RSA PRIVATE KEY-----\n",
    ),
    ("/etc/kubernetes/pki/cut.key", "-----BEGIN PRIVATE KEY-----\nMIISECRETcut\n"),
    (
        "/etc/kubernetes/pki/ec.pem",
        "-----BEGIN EC PRIVATE KEY-----\nSECRETec\n-----END EC PRIVATE KEY-----\n-----BEGIN CERTIFICATE-----\nkeep-me\n-----END CERTIFICATE-----\n",
    ),
    (
        "/etc/kubernetes/admin.conf",
        "users:\n- name: a\n  user:\n    client-certificate-data: keep-me\n    client-key-data: SECRETkeydata\n    token: SECRETtoken\n    password: SECRETpassword\n",
    ),
    (
        "/etc/kubernetes/block.conf",
        "users:\n- user:\n    token: |\n      SECRETline1\n      SECRETline2\n    name: keep-me\n    client-key-data: >-\n      SECRETfolded\n",
    ),
    (
        "/etc/kubernetes/one-line.json",
        "{\"users\":[{\"user\":{\"client-key-data\":\"SECRETjson\",\"token\":\"SECRETjson2\"}}],\"keep\":\"keep-me\"}",
    ),
    (
        "/etc/kubernetes/enc.yaml",
        "kind: EncryptionConfiguration\nresources:\n- providers:\n  - aescbc:\n      keys:\n      - name: keep-me\n        secret: SECRETaes\n",
    ),
    (
        "/etc/kubernetes/secret.yaml",
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: keep-me\ndata:\n  anything: U0VDUkVUSECRET\nstringData:\n  other: SECRETplain\n",
    ),
    (
        "/root/.docker/config.json",
        "{\n  \"auths\": {\n    \"keep-me.example\": {\n      \"auth\": \"SECRETauth\"\n    }\n  }\n}\n",
    ),
    (
        "/etc/containerd/config.toml",
        "[plugins.x.registry.configs.\"r\".auth]\n  username = \"keep-me\"\n  password = \"SECRETtoml\"\n  identitytoken = \"SECRETid\"\n",
    ),
    (
        "/etc/odd",
        "keep-me\npassword: \"it's SECRETinner \\\" SECRETquote\"\ntoken = 'SECRETsingle\nsecret: [SECRETbracket\n",
    ),
    (
        "/system/state/config.yaml",
        "version: v1alpha1 # keep-me\nmachine:\n  token: SECRET.token\n  ca:\n    key: LS0tLS1CRUdJTiBFRDI1NTE5IFBSSVZBVEUgS0VZLS0tLS0KSECRET\ncluster:\n  secret: SECRETcluster=\n  token: SECRET.bootstrap\n  \
         secretboxEncryptionSecret: SECRETbox=\n  aescbcEncryptionSecret: SECRETaescbc=\n---\nkind: DiscoveryIdentityConfig\nclusterSecret: SECRETdiscovery\n---\nkind: KubeServiceAccountConfig\nissuer:\n  privateKey: |\n    \
         -----BEGIN EC PRIVATE KEY-----\n    SECRETaccounts\n    -----END EC PRIVATE KEY-----\n",
    ),
    (
        "/root/secrets.yaml",
        "cluster:\n    secret: SECRETcluster\nsecrets:\n    bootstraptoken: SECRET.boot\n    secretboxencryptionsecret: SECRETbox\ntrustdinfo:\n    token: SECRET.trustd\ncerts:\n    etcd:\n        crt: keep-me\n        \
         key: LS0tLS1CRUdJTiBFQyBQUklWQVRFIEtFWS0tLS0tClSECRET\n",
    ),
    ("/etc/environment", "HTTPS_PROXY=http://user:SECRETproxy@proxy:3128\nKEEP=keep-me\n"),
    (
        "/etc/systemd/system/k3s.service",
        "ExecStart=/usr/bin/k3s agent --token SECRETflag --server https://keep-me:6443\n",
    ),
    ("/proc/7/cmdline", "kubeadm\0join\0--token\0SECRETcmd\0--certificate-key=SECRETcert\0keep-me\0"),
    (
        "/var/log/jwt",
        "keep-me Authorization: Bearer SECRETbearerSECRET eyJhbGciOiJSECRET.eyJpc3MiOiJSECRET.SECRETsig\n",
    ),
    ("/var/log/pem64", "keep-me LS0tLS1CRUdJTiBSU0EgUFJJVkFURSBLRVktLS0tLQpTRUNSRVQSECRET==\n"),
];

/// Settings that look like secrets and are none.
const HARMLESS: &str = "resolvConf: /run/systemd/resolve/resolv.conf\nauthentication:\n  webhook:\n    enabled: true\n\
    authorization:\n  mode: Webhook\ntokenTTL: 24h\n--authentication-token-webhook=true\nexpandedSecretNames: 3\n";

fn record(files: &[(&str, &str)]) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("etc")).unwrap();
    for (path, content) in files {
        let path = dir.path().join(path.trim_start_matches('/'));
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let host = LiveHost::open(Path::new(dir.path())).unwrap();
    let recorder = Recorder::new(&host, true);
    for (path, _) in files {
        recorder.ask(&Query::Read { path: (*path).to_owned() }).unwrap();
    }
    let meta =
        Meta { hostname: "n".into(), recorded: jiff::Timestamp::UNIX_EPOCH, version: "0".into(), constructed: None };
    let mut bytes = Vec::new();
    write_recording(&meta, &recorder.finish(), &mut bytes).unwrap();
    bytes
}

#[test]
fn no_secret_survives_and_the_rest_does() {
    let recording = record(FILES);
    let (_, transcript) = read_recording(&recording[..]).unwrap();
    let host: &dyn Host = &transcript;
    for (path, _) in FILES {
        let text = host.text(path).known().unwrap().clone();
        assert!(!text.contains("SECRET"), "{path} keeps a secret:\n{text}");
        let key = Path::new(path).extension().is_some_and(|extension| extension == "key");
        assert!(key || text.contains("keep-me"), "{path} lost what is no secret:\n{text}");
    }
    let plain = zstd::decode_all(&recording[..]).unwrap();
    assert!(!String::from_utf8_lossy(&plain).contains("SECRET"));
}

#[test]
fn settings_that_only_sound_like_secrets_stay() {
    let (_, transcript) = read_recording(&record(&[("/etc/harmless", HARMLESS)])[..]).unwrap();
    assert_eq!((&transcript as &dyn Host).text("/etc/harmless").known().unwrap(), HARMLESS);
}

proptest! {
    #[test]
    fn redaction_takes_anything_and_is_idempotent(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let once = redact(Reply::Bytes { bytes, truncated: false });
        prop_assert_eq!(redact(once.clone()), once);
    }

    #[test]
    fn redaction_of_text_is_idempotent(text in "(token|password|secret|a|[:= ]|\"|\n|--|\\{|eyJ){0,40}") {
        let once = redact(Reply::Text(text));
        prop_assert_eq!(redact(once.clone()), once);
    }
}

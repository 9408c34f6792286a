//! No secret survives a recording: canaries are planted in every file and every answer that is gathered, and what is
//! recorded is searched for them.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use seaworthy_checks::construct::lay;
use seaworthy_checks::host::{
    ApiCall, CriCall, Meta, Program, Query, Recorder, Refusal, RefusalKind, Reply, Transcript, redact, write_recording,
};
use seaworthy_checks::node::Facts;
use seaworthy_checks::pki;
use serde_json::{Value, json};

/// What every canary has in it.
const BIRD: &str = "S3CRETcanary";

/// Canaries of many kinds; `{}` stands for the secret. They are planted behind what a file holds already, and alone.
#[rustfmt::skip]
const KINDS: &[(&str, &str)] = &[
    ("a comment", "# {}"),
    ("a comment of ini", "; {}"),
    ("a comment behind a value", "a: 1 # {}"),
    ("a password in YAML", "password: {}"),
    ("a password in TOML", "password = \"{}\""),
    ("a password in single quotes", "password = '{}'"),
    ("a password in JSON", "{\"password\": \"{}\"}"),
    ("a variable", "DB_PASS={}"),
    ("an exported variable", "export DB_PASS=\"{}\""),
    ("Environment= of a unit", "[Service]\nEnvironment=\"A=b\" DB_PASS={}"),
    ("Environment= with flags", "[Service]\nEnvironment=\"X=--config=/etc/x --token={}\""),
    ("LoadCredential= of a unit", "[Service]\nSetCredential=x:{}"),
    ("ExecStart= with a flag", "[Service]\nExecStart=/usr/bin/k3s agent --token {} --server https://h"),
    ("ExecStart= over lines", "[Service]\nExecStart=/usr/bin/k3s agent \\\n  --agent-token={} \\\n  --v=2"),
    ("a positional argument", "[Service]\nExecStart=/usr/bin/app {}"),
    ("an option of fstab", "//s/x /mnt cifs user=a,password={} 0 0"),
    ("a file of credentials in fstab", "//s/x /mnt cifs credentials=/root/{} 0 0"),
    ("a device of fstab with a user", "a:{}@h:/ /mnt fuse.sshfs ro 0 0"),
    ("a proxy with a password", "HTTPS_PROXY=http://user:{}@proxy:3128"),
    ("a proxy with a token alone", "https_proxy=http://{}@proxy:3128/"),
    ("a URL with a user in YAML", "server: https://user:{}@h:6443"),
    ("a query of a URL", "server: https://h:6443/?access_token={}"),
    ("etcd's password of a CNI", "{\"cniVersion\": \"1.0.0\", \"name\": \"n\", \"plugins\": [{\"type\": \"calico\", \
                                  \"etcd_password\": \"{}\"}]}"),
    ("a token of a CNI", "{\"name\": \"n\", \"type\": \"x\", \"policy\": {\"k8s_auth_token\": \"{}\"}}"),
    ("auth of Docker", "{\"auths\": {\"r.example\": {\"auth\": \"{}\", \"identitytoken\": \"{}\"}}}"),
    ("auth of a registry of containerd", "[plugins.\"io.containerd.grpc.v1.cri\".registry.configs.\"r\".auth]\n\
                                          password = \"{}\"\nidentitytoken = '{}'"),
    ("a header of hosts.toml", "[host.\"https://r\".header]\nAuthorization = [\"Basic {}\"]\nx-custom = \"{}\""),
    ("exec of a kubeconfig", "apiVersion: v1\nkind: Config\nusers:\n\
                              - name: u\n  user:\n    exec:\n      command: aws\n      args: [\"--x\", \"{}\"]\n      \
                              env:\n      - {name: KEY, value: {}}"),
    ("auth-provider of a kubeconfig", "kind: Config\nusers:\n\
                                       - user:\n    auth-provider:\n      config: {refresh-token: {}, client-secret: \
                                       {}}"),
    ("a token of a kubeconfig", "kind: Config\nusers:\n- user: {token: {}, password: {}, username: u}"),
    ("cloud.conf", "[Global]\nuser-domain = x\napplication-credential-secret = {}\n[LoadBalancer]\npassword=\"{}\""),
    ("crio.conf", "[crio.image]\nglobal_auth_file = \"/x\"\n[crio.runtime]\ndefault_env = [\"TOKEN={}\"]"),
    ("netplan's wifi", "network:\n  wifis:\n    wlan0:\n      access-points:\n        home: {password: {}}\n      \
                        auth: {identity: a, password: {}}"),
    ("a line of a journal", "Nov 30 08:00:00 n kubelet[1]: Authorization: Bearer {} rejected"),
    ("a key in PEM", "-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----"),
    ("a key under an odd label", "-----BEGIN MY OWN THING-----\n{}\n-----END MY OWN THING-----"),
    ("a key labeled as a certificate", "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----"),
    ("a key with headers", "-----BEGIN CERTIFICATE-----\nComment: {}\n\nAAAA\n-----END CERTIFICATE-----"),
    ("a key that is cut off", "-----BEGIN OPENSSH PRIVATE KEY-----\n{}"),
    ("a key in a block scalar", "x-key: |\n  -----BEGIN EC PRIVATE KEY-----\n  {}\n  -----END EC PRIVATE KEY-----\n\
                                 b: 1"),
    ("a block scalar", "token: |-\n  {}\n  more\nnext: >\n    folded {}\n"),
    ("a block scalar with a comment", "token: |2 # {}\n   {}\n"),
    ("an anchor and an alias", "base: &{} {password: &p {}}\nuse: *p\nother: [*p, {}]"),
    ("a merge", "base: &b\n  secret: {}\nuse:\n  <<: *b\n"),
    ("a tag", "a: !{} b"),
    ("a directive", "%TAG ! tag:{},2000:\n---\na: b"),
    ("a quoted scalar over lines", "a: \"one\n  {}\n  three\"\nb: 'x\n  {}'"),
    ("a text over lines in TOML", "a = \"\"\"one\n{}\"\"\"\nb = '''\n{}'''"),
    ("an inline table", "a = { user = \"u\", pass = \"{}\" }"),
    ("a name", "{}: 1"),
    ("a name below another", "unknown:\n  {}: {a: {}}"),
    ("a flow mapping", "{a: {b: [{}, \"{}\"]}}"),
    ("an escape of JSON", "{\"pass\": \"a\\u0020{}\\n\"}"),
    ("broken JSON", "{\"pass\": \"{}\", \"x\": [1, {}"),
    ("broken YAML", "a: [b\n{}: \"{}\nc: }"),
    ("broken TOML", "a = [\nb = {}\nc = \"{}"),
    ("a quote that is left open", "a: \"{}\nb: 1\n"),
    ("a Secret", "apiVersion: v1\nkind: Secret\nmetadata: {name: n}\ndata:\n  any: {}\nstringData:\n  other: {}"),
    ("encryption at rest", "kind: EncryptionConfiguration\nresources:\n\
                            - providers:\n  - aescbc:\n      keys: [{name: k, secret: {}}]"),
    ("a variable of a pod", "kind: Pod\n\
                             spec:\n  containers:\n  - name: c\n    env: [{name: A, value: {}}]\n    command: \
                             [kube-apiserver, --token={}, --basic, {}]"),
    ("a header of static pods", "kind: KubeletConfiguration\nstaticPodURLHeader:\n  Authorization: [{}]\n\
                                 staticPodURL: https://u:{}@h/?t={}"),
    ("a bootstrap token", "kind: InitConfiguration\nbootstrapTokens: [{token: {}, description: {}}]\n\
                           certificateKey: {}"),
    ("a second document", "---\na: 1\n---\nb: {}\n...\n--- {}\n"),
    ("a table of many", "[[a]]\nb = [\"{}\", {c = \"{}\"}]"),
    ("a number", "pin: 7{}7"),
    ("CR LF", "token: {}\r\npass = {}\r\n"),
    ("NUL", "a\0--token\0{}\0b={}"),
    ("a line of nothing but it", "{}"),
    ("blanks before it", "   \t {}"),
    ("what is not UTF-8", "\u{fffd}{}\u{fffd}"),
];

/// The secret as it stands, and as base64 has it.
fn planted(template: &str, secret: &str) -> [String; 3] {
    let encoded = STANDARD.encode(secret);
    let wrapped = format!("{}\n  {}", &encoded[..8], &encoded[8..]);
    [secret, &encoded, &wrapped].map(|text| template.replace("{}", text))
}

/// Where it is found, if it is.
fn found(text: &str, secret: &str) -> bool {
    let encoded = STANDARD.encode(secret);
    // Without what blanks and escapes may have put in between.
    let plain: String = text.replace("\\n", "").chars().filter(|c| !c.is_whitespace()).collect();
    [secret, &encoded].iter().any(|one| text.contains(*one) || plain.contains(*one)) || text.contains(&encoded[8..])
}

fn reference() -> Transcript {
    let mut transcript = Transcript::default();
    lay(&Path::new(env!("CARGO_MANIFEST_DIR")).join("nodes/reference"), &mut transcript).unwrap();
    transcript
}

/// What the kernel writes, where no user can put a text.
fn is_kernels(path: &str) -> bool {
    let of_users = [
        "/proc/cmdline",
        "/proc/1/mounts",
        "/proc/1/mountinfo",
        "/proc/mounts",
        "/proc/self/mountinfo",
        "/proc/config.gz",
    ];
    (path.starts_with("/proc/") || path.starts_with("/sys/")) && !of_users.contains(&path)
}

/// Files that are gathered from nodes of other kinds than the reference node is, and files of users that no suite
/// reads.
const OTHERS: &[&str] = &[
    "/etc/environment",
    "/etc/default/kubelet",
    "/etc/sysconfig/kubelet",
    "/etc/fstab",
    "/etc/crio/crio.conf.d/10.conf",
    "/etc/systemd/system/kubelet.service.d/20-proxy.conf",
    "/etc/systemd/system/k3s.service",
    "/etc/rancher/k3s/config.yaml",
    "/etc/rancher/k3s/registries.yaml",
    "/etc/docker/daemon.json",
    "/root/.docker/config.json",
    "/var/lib/kubelet/config.json",
    "/etc/containerd/certs.d/r/hosts.toml",
    "/etc/containerd/conf.d/a.toml",
    "/etc/cni/net.d/10-calico.conflist",
    "/etc/kubernetes/manifests/kube-apiserver.yaml",
    "/etc/kubernetes/cloud.conf",
    "/etc/kubernetes/admin.conf",
    "/etc/kubernetes/pki/ca.crt",
    "/etc/kubernetes/pki/ca.key",
    "/etc/netplan/50.yaml",
    "/etc/kubernetes/kubeadm-config.yaml",
    "/var/lib/kubelet/pki/kubelet-client-current.pem",
    "/var/snap/microk8s/current/args/kubelet",
    "/opt/x/unknown",
    "/opt/x/unknown.yaml",
    "/opt/x/unknown.toml",
    "/opt/x/unknown.json",
    "/opt/x/unknown.conf",
    "/opt/x/unknown.env",
    "/etc/kubernetes/kubelet/config.json",
    "/etc/kubernetes/encryption.yaml",
    "/proc/7/cmdline",
    "/proc/7/environ",
    "/proc/cmdline",
    "/boot/config-6.1",
    "/etc/systemd/zram-generator.conf",
    "/etc/systemd/system/dev-sda2.swap",
    "/etc/sysctl.d/k8s.conf",
];

#[test]
fn no_canary_survives_in_any_file_that_is_gathered() {
    assert!(KINDS.len() >= 40, "{} kinds", KINDS.len());
    let recorder_of = |transcript: &Transcript| {
        let recorder = Recorder::new(transcript, false);
        drop(Facts::read(&recorder));
        drop(pki::Facts::read(&recorder));
        recorder.finish()
    };
    let mut paths: Vec<String> = OTHERS.iter().map(|path| (*path).to_owned()).collect();
    for (query, _) in recorder_of(&reference()).iter() {
        // A host's name is what its file says, whatever that is.
        if let Query::Read { path } = query
            && !is_kernels(path)
            && path != "/etc/hostname"
            && !paths.contains(path)
        {
            paths.push(path.clone());
        }
    }
    let host = reference();
    let mut leaks = Vec::new();
    for path in &paths {
        let query = Query::Read { path: path.clone() };
        let own = match host.iter().find(|(one, _)| **one == query) {
            Some((_, Ok(Reply::Bytes { bytes, .. }))) => bytes.clone(),
            _ => Vec::new(),
        };
        for (number, (kind, template)) in KINDS.iter().enumerate() {
            let secret = format!("{BIRD}{number:02}");
            for planted in planted(template, &secret) {
                for content in [planted.clone().into_bytes(), [&own, b"\n".as_slice(), planted.as_bytes()].concat()] {
                    let answer = redact(&query, Ok(Reply::Bytes { bytes: content, truncated: false }));
                    let Ok(Reply::Bytes { bytes, .. }) = answer else { panic!("{path}") };
                    let kept = String::from_utf8_lossy(&bytes);
                    if found(&kept, &secret) {
                        leaks.push(format!("{path}: {kind}: {planted:?} is recorded as {kept:?}"));
                    }
                }
            }
        }
    }
    let count = leaks.len();
    // One of each file and kind.
    leaks.dedup_by_key(|leak| leak.split(": ").take(2).collect::<Vec<_>>().join(": "));
    leaks.truncate(50);
    assert!(leaks.is_empty(), "{count} leaks, among them:\n{}", leaks.join("\n"));
}

/// Answers that are no files, with a canary wherever a text of somebody else can be.
fn answers() -> Vec<(Query, Value)> {
    let s = format!("{BIRD}00");
    let cri = |call| Query::Cri { socket: "/run/containerd/containerd.sock".into(), call };
    let get = |url: &str| Query::Get { url: url.into() };
    let api = |call| Query::Api { call };
    let config = json!({ "registry": {
        "configs": { "r": { "auth": { "password": s, "auth": s } } }, "headers": { "X": [s] },
    },
        "containerd": { "runtimes": { "runc": { "options": { "SystemdCgroup": true, "Env": s } } } } });
    vec![
        (cri(CriCall::Version), json!({ "runtimeName": "containerd", "runtimeVersion": "v2.2.1", "extra": s })),
        (
            cri(CriCall::Status),
            json!({ "conditions": [
                { "type": "RuntimeReady", "status": true, "reason": "", "message": format!("https://u:{s}@h failed") },
            ],
                "info": { "config": config, "text": s } }),
        ),
        (cri(CriCall::RuntimeConfig), json!({ "cgroupDriver": "systemd", s.clone(): 1 })),
        (
            get("http://127.0.0.1:10248/healthz"),
            json!({ "status": 500, "body": format!("[-]x failed: {s}\n{s}\n"), "headers": s }),
        ),
        (
            get("http://127.0.0.1:10255/configz"),
            json!({ "status": 200, "body": format!("{{\"kubeletconfig\": {{\"staticPodURL\": \"http://u:{s}@h\"}}, \
                                                    \"x\": \"{s}\"}}") }),
        ),
        (
            get("http://127.0.0.1:2381/version"),
            json!({ "status": 200, "body": format!("{{\"etcdserver\": \"3.6\", \"x\": \"{s}\"}}") }),
        ),
        (Query::Lookup { name: "n".into() }, json!(["10.0.0.1", s])),
        (
            Query::Processes,
            json!([{ "pid": 7, "command": format!("k3s\0agent\0--token\0{s}\0--server\0https://u:{s}@h\0\
                {s}\0--etcd-s3-secret-key={s}\0-c\0exec \
                                                   x --token={s}"), "started": 1, "sandboxed": false,
                "environment": { "A": s } }]),
        ),
        (
            api(ApiCall::ClusterInfo),
            json!({ "data": { "kubeconfig": format!("kind: Config\n\
                                                     clusters: [{{name: a, cluster: {{server: 'https://u:{s}@h'}}}}]\n\
                                                     users: [{{user: {{token: {s}}}}}]\n") } }),
        ),
        (
            api(ApiCall::KubeadmConfig),
            json!({ "configuration": format!("kind: ClusterConfiguration\ncertificateKey: {s}\n\
                                              apiServer: {{extraArgs: {{token: {s}, oidc-client-secret: {s}}}}}\n") }),
        ),
        (
            api(ApiCall::ValidatingWebhooks),
            json!([
                {
                    "name": "w",
                    "webhooks": [{ "name": "w", "clientConfig": { "url": format!("https://u:{s}@h/?t={s}") } }],
                },
            ]),
        ),
        (Query::Kubeconfig, json!({ "context": "c", "server": format!("https://u:{s}@h:6443") })),
    ]
}

#[test]
fn no_canary_survives_in_an_answer_that_is_no_file() {
    let secret = format!("{BIRD}00");
    for (query, said) in answers() {
        let kept = redact(&query, Ok(said.into()));
        assert!(!found(&format!("{kept:?}"), &secret), "{query}: {kept:?}");
    }
    for program in [Program::KubeletVersion, Program::KubeadmVersion, Program::DockerVersion] {
        let text = format!("Kubernetes v1.37.2\nwarning: token {secret} is odd\n");
        let kept = redact(&Query::Run { program }, Ok(Reply::Text(text)));
        assert!(
            matches!(&kept, Ok(Reply::Text(text)) if text.contains("v1.37.2") && !found(text, &secret)),
            "{kept:?}"
        );
        let refusal = Refusal::new(RefusalKind::Failed, format!("x failed (exit status: 1): cannot use {secret}"));
        let kept = redact(&Query::Run { program }, Err(refusal));
        assert!(!found(&format!("{kept:?}"), &secret), "{kept:?}");
    }
    for (path, target, stays) in [
        ("/proc/20/fd/3", "socket:[4711]", true),
        ("/proc/20/fd/4", secret.as_str(), false),
        ("/proc/20/ns/mnt", "mnt:[1]", true),
        ("/var/lib/kubelet/pki/kubelet-client-current.pem", "/var/lib/kubelet/pki/kubelet-client-2026.pem", true),
    ] {
        let kept = redact(&Query::Link { path: path.into() }, Ok(Reply::Text(target.into())));
        assert_eq!(matches!(&kept, Ok(Reply::Text(text)) if text == target), stays, "{kept:?}");
    }
    let refusal = Refusal::new(RefusalKind::Failed, format!("GET https://u:{secret}@h: refused"));
    let kept = redact(&Query::Kubeconfig, Err(refusal));
    assert!(!found(&format!("{kept:?}"), &secret), "{kept:?}");
}

#[test]
fn no_canary_is_in_the_file_of_a_recording() {
    let mut host = reference();
    let secret = format!("{BIRD}00");
    for (query, said) in answers() {
        host.insert(query, Ok(said.into()));
    }
    for path in ["/etc/environment", "/etc/containerd/config.toml", "/var/lib/kubelet/config.yaml", "/etc/fstab"] {
        let text: String = KINDS.iter().map(|(_, template)| template.replace("{}", &secret) + "\n").collect();
        host.insert(Query::Read { path: path.into() }, Ok(Reply::Bytes { bytes: text.into_bytes(), truncated: false }));
    }
    let recorder = Recorder::new(&host, false);
    drop(Facts::read(&recorder));
    drop(pki::Facts::read(&recorder));
    let meta =
        Meta { hostname: "n".into(), recorded: jiff::Timestamp::UNIX_EPOCH, version: "0".into(), constructed: None };
    let mut file = Vec::new();
    write_recording(&meta, &recorder.finish(), &mut file).unwrap();
    let plain = zstd::decode_all(&file[..]).unwrap();
    assert!(!found(&String::from_utf8_lossy(&plain), &secret));
}

#[test]
fn what_judges_read_stays_and_lines_stay_where_they_are() {
    let cases = [
        (
            "/etc/kubernetes/manifests/etcd.yaml",
            "kind: Pod # x\n\
             spec:\n  containers:\n  - command:\n    - etcd\n    - --cert-file=/etc/e.crt\n    - --token=x\n    env: \
             &e\n    - name: A\n      value: |\n        secret\n        lines\n    image: registry.k8s.io/etcd:3.6\n",
            "kind: Pod #\n\
             spec:\n  containers:\n  - command:\n    - etcd\n    - --cert-file=/etc/e.crt\n    - \
             \"--token=[redacted]\"\n    env: &x1\n    - name: A\n      value: |\n        [redacted]\n\
             \n    image: registry.k8s.io/etcd:3.6\n",
        ),
        (
            "/var/lib/kubelet/config.yaml",
            "kind: KubeletConfiguration\nfailSwapOn: \"false\"\nunknownThing: 7\nmaxPods: 110\n\
             evictionHard: {memory.available: 5%}\n",
            "kind: KubeletConfiguration\nfailSwapOn: \"false\"\nunknownThing: 0\nmaxPods: 110\n\
             evictionHard: {memory.available: 5%}\n",
        ),
        (
            "/etc/containerd/config.toml",
            "version = 2 # x\ndisabled_plugins = []\n\
             [plugins.\"io.containerd.grpc.v1.cri\"]\n  sandbox_image = \"r/pause:3\"\n\
             [plugins.\"io.containerd.grpc.v1.cri\".registry.configs.r.auth]\n  password = \"p\" # x\n  n = 5\n",
            "version = 2 #\ndisabled_plugins = []\n\
             [plugins.\"io.containerd.grpc.v1.cri\"]\n  sandbox_image = \"r/pause:3\"\n\
             [plugins.\"io.containerd.grpc.v1.cri\".registry.configs.r.auth]\n  password = \"[redacted]\" #\n  n = 0\n",
        ),
        (
            "/etc/rancher/k3s/config.yaml",
            "token: abc\nserver: https://u:p@h:6443\nkubelet-arg:\n- max-pods=5\n- odd=x\ndisable: [traefik]\n",
            "token: \"[redacted]\"\nserver: \"https://h:6443\"\nkubelet-arg:\n- max-pods=5\n- \"odd=[redacted]\"\n\
             disable: [traefik]\n",
        ),
        (
            "/etc/kubernetes/kubeadm.yaml",
            "kind: ClusterConfiguration\n\
             apiServer:\n  extraArgs:\n  - name: token\n    value: x\n  - name: audit-log-path\n    value: /var/log/a\n\
             ---\nkind: InitConfiguration\nbootstrapTokens:\n- token: abcdef.0123456789abcdef\n",
            "kind: ClusterConfiguration\n\
             apiServer:\n  extraArgs:\n  - name: token\n    value: \"[redacted]\"\n  - name: audit-log-path\n    \
             value: /var/log/a\n---\nkind: InitConfiguration\nbootstrapTokens:\n- token: \"[redacted]\"\n",
        ),
    ];
    for (path, from, to) in cases {
        let answer =
            redact(&Query::Read { path: path.into() }, Ok(Reply::Bytes { bytes: from.into(), truncated: false }));
        let Ok(Reply::Bytes { bytes, .. }) = answer else { panic!("{path}") };
        assert_eq!(String::from_utf8(bytes).unwrap(), to, "{path}");
    }
}

#[test]
fn encodings_stay_what_they_are() {
    let query = Query::Read { path: "/etc/kubernetes/manifests/a.yaml".into() };
    let kept = |bytes: Vec<u8>| match redact(&query, Ok(Reply::Bytes { bytes, truncated: false })) {
        Ok(Reply::Bytes { bytes, .. }) => bytes,
        other => panic!("{other:?}"),
    };
    let text = "kind: Pod\nx: secret\n";
    let little: Vec<u8> = [0xff, 0xfe].into_iter().chain(text.encode_utf16().flat_map(u16::to_le_bytes)).collect();
    let clean = kept(little);
    let units: Vec<u16> = clean[2..].chunks(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
    assert_eq!(String::from_utf16(&units).unwrap(), "kind: Pod\nx: \"[redacted]\"\n");
    let broken = kept(b"kind: Pod\nx: secret\xff\ny: 1\n".to_vec());
    let error = std::str::from_utf8(&broken).unwrap_err();
    assert_eq!(broken[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count(), 1);
}

proptest! {
    /// Whatever a file holds: it is taken, its lines stay, and what is reduced once stays as it is.
    #[test]
    fn any_content_is_taken(text in "([a-z]{1,6}|[:=\\[\\]{}\"'|>&*!#,-]| |\n|  |kind: Pod\n|token: |--|\t|é){0,40}") {
        for path in ["/etc/containerd/config.toml", "/var/lib/kubelet/config.yaml", "/etc/fstab", "/etc/environment",
            "/x/a.service",
            "/etc/cni/net.d/a.conf", "/a.crt", "/etc/hosts"] {
            let query = Query::Read { path: path.into() };
            let reply = |text: &str| redact(&query, Ok(Reply::Bytes { bytes: text.into(), truncated: false }));
            let Ok(Reply::Bytes { bytes, .. }) = reply(&text) else { panic!() };
            let once = String::from_utf8(bytes).unwrap();
            prop_assert_eq!(once.matches('\n').count(), text.matches('\n').count(), "{} {:?} {:?}", path, text, once);
            // What is broken is changed until it is broken in the same place; lines alone are read one by one.
            if path == "/etc/fstab" || path == "/etc/hosts" {
                let Ok(Reply::Bytes { bytes, .. }) = reply(&once) else { panic!() };
                prop_assert_eq!(String::from_utf8(bytes).unwrap(), once, "{} {:?}", path, text);
            }
        }
    }

    #[test]
    fn any_bytes_are_taken(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        for path in ["/proc/config.gz", "/a.crt", "/etc/containerd/config.toml", "/opt/unknown"] {
            let answer = Ok(Reply::Bytes { bytes: bytes.clone(), truncated: false });
            let taken = redact(&Query::Read { path: path.into() }, answer);
            prop_assert!(taken.is_ok(), "{path}");
        }
    }
}

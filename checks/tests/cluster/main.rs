//! A good cluster, and every defect that the live and the API claims are about, one at a time: each is found, and nothing else.

#![allow(clippy::unwrap_used, reason = "test code")]

mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{KeyPair, PublicKeyData as _};
use seaworthy_checks::host::hello::Version;
use seaworthy_checks::host::{
    ApiCall, Clock, Disorder, Layout, LiveHost, NoPair, Pairing, Query, Refusal, RefusalKind, Reply, TlsCall,
    TlsSecret, TlsSecrets, Transcript, Welcome,
};
use seaworthy_checks::pki::discover::{Component, From, Role};
use seaworthy_checks::pki::store::Held;
use seaworthy_checks::pki::x509::{Certificate, Fingerprint};
use seaworthy_checks::pki::{Bundle, Check, Credential, Facts, View, checks};
use seaworthy_checks::{Breach, Profile, Verdict};
use serde_json::json;
use world::{NOW, World, at, base64, cluster_info, modulus, request, self_made, served, stamp};

/// Claims that hold files against servers or the API, each with a test of its own.
const OF_FILES: [&str; 6] = [
    "pki.live.served-is-file",
    "pki.live.trusted",
    "pki.live.ruled-out",
    "pki.live.log-in",
    "pki.api.token-files",
    "pki.api.kubelet-client",
];

fn ours() -> Vec<Check> {
    checks().into_iter().filter(|check| check.labels.contains(&"live") || check.labels.contains(&"api")).collect()
}

fn verdicts(transcript: &Transcript) -> BTreeMap<String, Verdict> {
    let facts = Facts::read(transcript);
    let profile = Profile::new(jiff::Timestamp::from_second(NOW).unwrap());
    let view = View::alone(&facts, &profile);
    ours().into_iter().map(|check| (check.id.clone(), check.judge(&view).verdict)).collect()
}

fn breached(transcript: &Transcript) -> BTreeMap<String, Vec<Breach>> {
    let breaches = verdicts(transcript).into_iter().filter_map(|(id, verdict)| match verdict {
        Verdict::Breached(breaches) => Some((id, breaches)),
        _ => None,
    });
    breaches.collect()
}

#[test]
fn everything_holds_of_a_good_cluster() {
    for (id, verdict) in verdicts(&World::new().transcript()) {
        // The other node's files are not here.
        if !OF_FILES.contains(&id.as_str()) {
            assert_eq!(verdict, Verdict::Holds, "{id}");
        }
    }
}

#[test]
fn nothing_is_concluded_where_nobody_looked() {
    for (id, verdict) in verdicts(&Transcript::default()) {
        assert!(matches!(verdict, Verdict::Undetermined(_) | Verdict::NotApplicable(_)), "{id}: {verdict:?}");
    }
}

/// A node on which the API server listens on every address, etcd on the loopback address.
fn listening(world: &World) -> Transcript {
    let mut transcript = Transcript::default();
    let head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
    let line = |slot: u8, address: &str| {
        format!(
            "   {slot}: {address} 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0\n"
        )
    };
    let table = format!("{head}{}{}", line(0, "00000000:192B"), line(1, "0100007F:0050"));
    let query = Query::Read { path: "/proc/1/net/tcp".to_owned() };
    transcript.insert(query, Ok(Reply::Bytes { bytes: table.into_bytes(), truncated: false }));
    let server = &world.servers["apiserver"];
    let mut answer = |call, answer: serde_json::Value| {
        transcript.insert(Query::Tls { address: "127.0.0.1:6443".to_owned(), call }, Ok(answer.into()));
    };
    answer(TlsCall::Survey, serde_json::to_value(&server.survey).unwrap());
    for name in [None, Some("apiserver-loopback-client"), Some("kubernetes.default.svc")] {
        let call = TlsCall::Served { name: name.map(str::to_owned) };
        answer(call, serde_json::to_value(server.presented.as_ref().unwrap()).unwrap());
    }
    transcript
}

/// A node that serves what is in its files, or something else.
fn node(world: &World, file: &[u8], ca: &[u8]) -> Facts {
    let mut facts = Facts::read(&listening(world));
    let held = |der: &[u8]| vec![Held { line: 1, certificate: Arc::new(Certificate::parse(der).unwrap()) }];
    facts.credentials.push(Credential {
        role: Role::ApiserverServing,
        holder: Component::Apiserver,
        file: "/etc/kubernetes/pki/apiserver.crt".to_owned(),
        kubeconfig: None,
        chain: held(file),
        key_file: None,
        key: None,
        from: From::Layout("kubeadm"),
    });
    facts.bundles.push(Bundle {
        role: Role::RootCa,
        holder: Component::ControllerManager,
        file: "/etc/kubernetes/pki/ca.crt".to_owned(),
        certificates: held(ca),
        key: None,
        key_file: None,
    });
    facts
}

#[test]
fn what_a_node_serves_is_what_is_in_its_files() {
    let world = World::new();
    let served = world.servers["apiserver"].presented.as_ref().unwrap().chain[0].clone();
    let renewed = world.ca.sign("kube-apiserver", None, &["kubernetes"], (0, 365)).der;
    let judged = |file: &[u8], ca: &[u8]| {
        let facts = node(&world, file, ca);
        let profile = Profile::new(jiff::Timestamp::from_second(NOW).unwrap());
        let of = |id: &str| {
            let check = ours().into_iter().find(|check| check.id == id).unwrap();
            check.judge(&View::alone(&facts, &profile)).verdict
        };
        (of("pki.live.served-is-file"), of("pki.live.trusted"))
    };
    assert_eq!(judged(&served, &world.ca.der), (Verdict::Holds, Verdict::Holds));
    let (stale, trusted) = judged(&renewed, &world.ca.der);
    assert!(matches!(&stale, Verdict::Breached(all) if all[0].message.contains("was not restarted")), "{stale:?}");
    assert_eq!(trusted, Verdict::Holds);
    let (file, untrusted) = judged(&served, &world.other.der);
    assert!(
        matches!(&untrusted, Verdict::Breached(all) if all[0].message.contains("/etc/kubernetes/pki/ca.crt")),
        "{untrusted:?}"
    );
    assert_eq!(file, Verdict::Holds);
}

#[test]
fn a_server_speaks_what_its_flags_allow() {
    // It speaks TLS 1.2 with these, and TLS 1.3.
    let mut world = World::new();
    let suites = ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256"];
    let survey = &mut world.servers.get_mut("apiserver").unwrap().survey;
    survey.suites.insert(Version::Tls12, suites.map(str::to_owned).to_vec());
    let judged = |flags: &[&str]| {
        let mut transcript = listening(&world);
        let command = format!("kube-apiserver\0{}", flags.join("\0"));
        let process = json!({ "pid": 77, "command": command, "started": NOW, "sandboxed": false });
        transcript.insert(Query::Processes, Ok(json!([process]).into()));
        let facts = Facts::read(&transcript);
        let profile = Profile::new(jiff::Timestamp::from_second(NOW).unwrap());
        let check = ours().into_iter().find(|check| check.id == "pki.live.ruled-out").unwrap();
        check.judge(&View::alone(&facts, &profile)).verdict
    };
    let both = "--tls-cipher-suites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305";
    assert_eq!(judged(&[both, "--tls-min-version=VersionTLS12"]), Verdict::Holds);
    for (flag, found) in [
        ("--tls-cipher-suites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", suites[1]),
        ("--tls-min-version=VersionTLS13", "TLS 1.2"),
    ] {
        let verdict = judged(&[flag]);
        let Verdict::Breached(all) = &verdict else { panic!("{flag}: {verdict:?}") };
        assert_eq!(all[0].found.as_deref(), Some(found), "{flag}");
        assert!(all[0].message.contains("process 77 rules out"), "{}", all[0].message);
    }
    // Go's defaults rule nothing out, and with what it refuses it does not run.
    for flags in [&[][..], &["--v=2"], &["--tls-cipher-suites=TLS_NOT_AT_ALL"]] {
        assert!(matches!(judged(flags), Verdict::NotApplicable(_)), "{flags:?}");
    }
}

#[test]
fn control_planes_need_not_be_nodes() {
    let mut world = World::new();
    world.api.insert(ApiCall::Nodes, json!([]));
    assert_eq!(verdicts(&world.transcript())["pki.api.cert-sans"], Verdict::Holds);
    // Those of Kubernetes before 1.26 do not say on which host they are.
    world.api.insert(ApiCall::ApiServers, json!([]));
    assert_eq!(verdicts(&world.transcript())["pki.api.cert-sans"], Verdict::Holds);
    world.api.insert(ApiCall::ApiServers, json!([{ "host": "cp2" }]));
    let verdict = &verdicts(&world.transcript())["pki.api.cert-sans"];
    assert!(matches!(verdict, Verdict::Breached(all) if all[0].found.as_deref() == Some("cp1")), "{verdict:?}");
}

#[test]
fn a_worker_alone_has_no_api_server_to_compare_with() {
    let mut world = World::new();
    world.kubeconfig = json!(null);
    world.servers.retain(|name, _| *name == "kubelet");
    let mut transcript = world.transcript();
    let layout = Layout { endpoints: vec!["10.0.0.11:10250".parse().unwrap()], ..Layout::default() };
    transcript.insert(Query::Layout, Ok(serde_json::to_value(layout).unwrap().into()));
    let verdict = &verdicts(&transcript)["pki.live.kubelet-ca"];
    assert!(matches!(verdict, Verdict::NotApplicable(_)), "{verdict:?}");
}

#[test]
fn a_certificate_that_ends_was_renewed_if_another_was_issued() {
    let mut world = World::new();
    let mut issue = |signer: &str, days: (i64, i64)| {
        let pem = world.ca.sign("system:node:cp1", Some("system:nodes"), &[], days).pem;
        let requests = world.api.get_mut(&ApiCall::SigningRequests).unwrap().as_array_mut().unwrap();
        let mut next = requests[0].clone();
        next["certificate"] = base64(&pem).into();
        next["signer"] = signer.into();
        requests.push(next);
        verdicts(&world.transcript())["pki.api.requests-renewed"].clone()
    };
    // The good cluster's own lasts for longer.
    assert_eq!(issue("kubernetes.io/kube-apiserver-client-kubelet", (-345, 20)), Verdict::Holds);
    // That one is for something else.
    says(&issue("kubernetes.io/kubelet-serving", (-345, 20)), "expires in 20 days");
    assert_eq!(issue("kubernetes.io/kubelet-serving", (0, 365)), Verdict::Holds);
}

/// What is said of a certificate that the API server shows to kubelets, with this subject and, if one is given, a rule for its user.
fn kubelet_client(name: &str, organization: Option<&str>, rule: Option<serde_json::Value>) -> Verdict {
    let mut world = World::new();
    if let Some(rule) = rule {
        let of = |world: &mut World, call, one| world.api.get_mut(&call).unwrap().as_array_mut().unwrap().push(one);
        let subjects = json!([{ "kind": "ServiceAccount", "name": "other" }, { "kind": "User", "name": name }]);
        of(&mut world, ApiCall::ClusterRoleBindings, json!({ "role": "asks", "subjects": subjects }));
        of(&mut world, ApiCall::ClusterRoles, json!({ "name": "asks", "rules": [rule] }));
    }
    let client = world.ca.sign(name, organization, &[], (-30, 335)).pem;
    let pki = [("ca.crt", &*world.ca.pem), ("apiserver.crt", &world.ca.pem), ("apiserver-kubelet-client.crt", &client)];
    of_files("pki.api.kubelet-client", &world, &pki)
}

#[test]
fn the_api_server_may_ask_kubelets() {
    const USER: &str = "kube-apiserver-kubelet-client";
    let rule = |resource: &str, verbs: &[&str]| json!({ "apiGroups": [""], "resources": [resource], "verbs": verbs });
    for organization in ["system:masters", "kubeadm:cluster-admins"] {
        assert_eq!(kubelet_client("anyone", Some(organization), None), Verdict::Holds, "{organization}");
    }
    assert_eq!(kubelet_client(USER, None, None), Verdict::Holds);
    for (resource, verbs) in
        [("nodes/proxy", &["get", "create"][..]), ("nodes/proxy", &["*"]), ("*/proxy", &["*"]), ("*", &["*"])]
    {
        let verdict = kubelet_client("kubelet-api", None, Some(rule(resource, verbs)));
        assert_eq!(verdict, Verdict::Holds, "{resource} {verbs:?}");
    }
    says(&kubelet_client("kubelet-api", Some("system:nodes"), None), "the right to get and create nodes/proxy");
    // Not every rule is enough.
    let get = kubelet_client("kubelet-api", None, Some(rule("nodes/proxy", &["get"])));
    says(&get, "the right to create nodes/proxy, and kubectl exec, attach and port-forward are forbidden");
    for resource in ["nodes", "nodes/log", "nodes/pods", "nodes/*", "pods/proxy"] {
        says(&kubelet_client("kubelet-api", None, Some(rule(resource, &["*"]))), "get and create");
    }
    let mut named = rule("nodes/proxy", &["*"]);
    named["resourceNames"] = json!(["cp1"]);
    says(&kubelet_client("kubelet-api", None, Some(named)), "get and create");
    let other = json!({ "apiGroups": ["apps"], "resources": ["*"], "verbs": ["*"] });
    says(&kubelet_client("kubelet-api", None, Some(other)), "get and create");
    // A service account of that name is somebody else.
    says(&kubelet_client("other", None, None), "get and create");
}

#[test]
fn what_other_authorizers_allow_is_not_known() {
    let judge_with = |mode: &str, kubelet: &str| {
        let mut world = World::new();
        world.api.insert(ApiCall::ClusterRoleBindings, json!([]));
        let client = world.ca.sign("kubelet-api", None, &[], (-30, 335)).pem;
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("etc/kubernetes");
        std::fs::create_dir_all(folder.join("pki")).unwrap();
        std::fs::create_dir_all(folder.join("manifests")).unwrap();
        std::fs::write(folder.join("pki/apiserver-kubelet-client.crt"), &client).unwrap();
        let pod = json!({ "kind": "Pod", "apiVersion": "v1", "metadata": { "name": "kube-apiserver" }, "spec": { "containers": [{
            "name": "kube-apiserver",
            "command": ["kube-apiserver", format!("--authorization-mode={mode}"), "--kubelet-client-certificate=/etc/kubernetes/pki/apiserver-kubelet-client.crt"],
        }] } });
        std::fs::write(folder.join("manifests/kube-apiserver.yaml"), pod.to_string()).unwrap();
        std::fs::create_dir_all(root.path().join("var/lib/kubelet")).unwrap();
        let config = format!("kind: KubeletConfiguration\nauthorization: {{mode: {kubelet}}}\n");
        std::fs::write(root.path().join("var/lib/kubelet/config.yaml"), config).unwrap();
        let mut facts = Facts::read(&LiveHost::open(root.path()).unwrap());
        facts.api = Facts::read(&world.transcript()).api;
        let profile = Profile::new(jiff::Timestamp::from_second(NOW).unwrap());
        let check = ours().into_iter().find(|check| check.id == "pki.api.kubelet-client").unwrap();
        check.judge(&View::alone(&facts, &profile)).verdict
    };
    let judge = |mode| judge_with(mode, "Webhook");
    says(&judge("Node,RBAC"), "get and create");
    assert!(matches!(judge_with("Node,RBAC", "AlwaysAllow"), Verdict::NotApplicable(_)));
    let webhook = judge("Node,RBAC,Webhook");
    assert!(matches!(&webhook, Verdict::Undetermined(why) if why.contains("webhook may allow")), "{webhook:?}");
    assert!(matches!(judge("AlwaysAllow"), Verdict::NotApplicable(_)));
}

#[test]
fn a_clock_may_be_off_by_what_the_way_takes() {
    let judge = |at_least, at_most| {
        let mut world = World::new();
        world.servers.get_mut("apiserver").unwrap().clock = Clock { at_least, at_most };
        let mut verdicts = verdicts(&world.transcript());
        ["pki.live.clock", "pki.live.clock-drift"].map(|id| verdicts.remove(id).unwrap() == Verdict::Holds)
    };
    assert_eq!(judge(-200_000, 900_000), [true, true]);
    assert_eq!(judge(60_900, 62_000), [true, true]);
    assert_eq!(judge(-300_900, -300_100), [true, false]);
    assert_eq!(judge(301_000, 302_000), [false, true]);
}

#[test]
fn a_tls_secret_is_used_by_whatever_names_it() {
    let mut world = World::new();
    world.api.insert(ApiCall::Ingresses, json!([]));
    let used = |world: &World| verdicts(&world.transcript())["pki.api.tls-used"].clone();
    assert_eq!(used(&world), Verdict::Holds);
    world.api.insert(ApiCall::SecretUses, json!({ "other": ["www"] }));
    says(&used(&world), "names Secret default/www");
    secrets(&mut world, |all| {
        let name = |name: &str| TlsSecret {
            namespace: "kube-system".into(),
            name: name.into(),
            leaf: None,
            pairing: Pairing::Pair,
        };
        all.secrets = vec![name("k3s-serving"), name("rke2-serving")];
    });
    assert_eq!(used(&world), Verdict::Holds);
    // Without any, nobody need look at all pods.
    secrets(&mut world, |all| all.secrets.clear());
    world.api.remove(&ApiCall::SecretUses);
    assert!(matches!(used(&world), Verdict::NotApplicable(_)));
    // One list that cannot be read may have named it.
    let mut transcript = World::new().transcript();
    let forbidden = Refusal::new(RefusalKind::Denied, "/apis/batch/v1/jobs: forbidden");
    transcript.insert(Query::Api { call: ApiCall::SecretUses }, Err(forbidden));
    let verdict = &verdicts(&transcript)["pki.api.tls-used"];
    assert!(matches!(verdict, Verdict::Undetermined(why) if why.contains("forbidden")), "{verdict:?}");
}

#[test]
fn signers_of_others_are_known() {
    for signer in
        ["clusterissuers.cert-manager.io/ca", "issuers.cert-manager.io/shop.ca", "beta.eks.amazonaws.com/app-serving"]
    {
        let mut world = World::new();
        csr(&mut world, |csr| csr["signer"] = signer.into());
        assert_eq!(verdicts(&world.transcript())["pki.api.requests-signer"], Verdict::Holds, "{signer}");
    }
}

/// What a claim says of a node of the control plane with these CAs and this key of service accounts in its files.
fn of_files(id: &str, world: &World, pki: &[(&str, &str)]) -> Verdict {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("etc/kubernetes/pki");
    std::fs::create_dir_all(&folder).unwrap();
    for (name, pem) in pki {
        std::fs::write(folder.join(name), pem).unwrap();
    }
    let mut facts = Facts::read(&LiveHost::open(root.path()).unwrap());
    let told = Facts::read(&world.transcript());
    (facts.api, facts.live) = (told.api, told.live);
    let profile = Profile::new(jiff::Timestamp::from_second(NOW).unwrap());
    let check = ours().into_iter().find(|check| check.id == id).unwrap();
    check.judge(&View::alone(&facts, &profile)).verdict
}

fn says(verdict: &Verdict, part: &str) {
    assert!(matches!(verdict, Verdict::Breached(all) if all[0].message.contains(part)), "{part}: {verdict:?}");
}

#[test]
fn extension_api_servers_know_the_cas_that_are_in_the_files() {
    const CLAIM: &str = "pki.api.extension-authentication";
    let world = World::new();
    let files = |ca: &str, front_proxy: &str| {
        of_files(CLAIM, &world, &[("ca.crt", ca), ("front-proxy-ca.crt", front_proxy), ("apiserver.crt", ca)])
    };
    assert_eq!(files(&world.ca.pem, &world.front_proxy.pem), Verdict::Holds);
    // Its subject is the same.
    let renewed = world::Ca::new("front-proxy-ca").pem;
    says(&files(&world.ca.pem, &renewed), "lacks a CA that is in /etc/kubernetes/pki/front-proxy-ca.crt");
    let both = format!("{}{renewed}", world.front_proxy.pem);
    says(&files(&world.ca.pem, &both), "lacks a CA");
    let mut kept = World::new();
    kept.api.get_mut(&ApiCall::Authentication).unwrap()["data"]["requestheader-client-ca-file"] =
        format!("{}{renewed}", kept.front_proxy.pem).into();
    let pki = [("ca.crt", kept.ca.pem.as_str()), ("front-proxy-ca.crt", &kept.front_proxy.pem)];
    says(&of_files(CLAIM, &kept, &pki), "has a CA that is not in /etc/kubernetes/pki/front-proxy-ca.crt");
}

#[test]
fn tokens_are_verified_by_the_keys_that_are_in_the_files() {
    const CLAIM: &str = "pki.api.token-files";
    let key = KeyPair::generate().unwrap();
    let mut world = World::new();
    let (ca, public) = (world.ca.pem.clone(), key.public_key_pem());
    let pki = [("apiserver.crt", ca.as_str()), ("sa.pub", public.as_str())];
    says(&of_files(CLAIM, &world, &pki), "by the key in /etc/kubernetes/pki/sa.pub");
    let id = URL_SAFE_NO_PAD.encode(Fingerprint::of(&key.subject_public_key_info()).0);
    world.api.insert(ApiCall::Jwks, json!({ "keys": [{ "kid": id, "kty": "EC" }] }));
    assert_eq!(of_files(CLAIM, &world, &pki), Verdict::Holds);
    assert!(matches!(of_files(CLAIM, &world, &pki[..1]), Verdict::NotApplicable(_)));
}

#[test]
fn a_server_that_hangs_up_is_no_defect_of_a_ca() {
    let mut world = World::new();
    let server = world.servers.get_mut("apiserver").unwrap();
    server.presented = Ok(served(&[], None));
    server.named.clear();
    server.survey.groups.clear();
    let transcript = world.transcript();
    assert!(breached(&transcript).is_empty(), "{:#?}", breached(&transcript));
    let verdicts = verdicts(&transcript);
    for id in ["pki.api.cluster-info", "pki.api.root-ca", "pki.api.kubeconfig-ca", "pki.live.post-quantum"] {
        assert!(matches!(verdicts[id], Verdict::Undetermined(_)), "{id}: {:?}", verdicts[id]);
    }
}

type Defect = (&'static [&'static str], &'static str, fn(&mut World));

/// The ids that a defect breaches, the first of which is what it is about; a part of what is said; and the defect.
const DEFECTS: &[Defect] = &[
    (&["pki.live.answers"], "nothing listens", |world| {
        world.servers.get_mut("etcd").unwrap().presented = Err(RefusalKind::Absent)
    }),
    (&["pki.live.version"], "TLS 1.1", |world| {
        let suite = vec!["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256".to_owned()];
        world.servers.get_mut("kubelet").unwrap().survey.suites.insert(Version::Tls11, suite);
    }),
    (&["pki.live.tls13", "pki.live.post-quantum"], "does not speak TLS 1.3", |world| {
        let survey = &mut world.servers.get_mut("etcd").unwrap().survey;
        survey.suites.remove(&Version::Tls13);
        survey.groups.clear();
    }),
    (&["pki.live.post-quantum"], "quantum", |world| {
        world.servers.get_mut("apiserver").unwrap().survey.groups = vec!["x25519".to_owned()]
    }),
    (&["pki.live.broken-suite"], "RC4", |world| suite(world, "TLS_RSA_WITH_RC4_128_SHA")),
    (&["pki.live.weak-suite"], "3DES", |world| suite(world, "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA")),
    (&["pki.live.weak-suite"], "RSA key exchange", |world| suite(world, "TLS_RSA_WITH_AES_128_GCM_SHA256")),
    (&["pki.live.cbc-suite"], "CBC", |world| suite(world, "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA")),
    (&["pki.live.sha1"], "nothing but SHA-1", |world| world.servers.get_mut("etcd").unwrap().survey.only_sha1 = true),
    (&["pki.live.sha1"], "no client signature but by SHA-1", |world| {
        world.servers.get_mut("etcd").unwrap().served().request.as_mut().unwrap().schemes = vec![0x0201];
    }),
    (&["pki.live.plain-http"], "HTTP without TLS", |world| {
        let etcd = world.servers.get_mut("etcd-peer").unwrap();
        etcd.presented = Ok(served(&[], None));
        etcd.survey = Default::default();
        etcd.survey.plain = Some("HTTP/1.0 400 Bad Request".to_owned());
    }),
    (&["pki.live.anonymous"], "answers anyone", |world| {
        world.servers.get_mut("kubelet").unwrap().welcome = Some(Welcome::Status(200))
    }),
    (&["pki.live.exposed"], "made itself", |world| {
        world.servers.get_mut("kubelet").unwrap().served().chain = vec![self_made("cp1", (-30, 335))];
    }),
    (&["pki.live.valid"], "has expired", |world| {
        let leaf = world.ca.sign("system:node:cp1", Some("system:nodes"), &["10.0.0.11"], (-400, -1)).der;
        world.servers.get_mut("kubelet").unwrap().served().chain = vec![leaf];
    }),
    (&["pki.live.valid"], "not valid yet", |world| {
        let leaf = world.ca.sign("system:node:cp1", Some("system:nodes"), &["10.0.0.11"], (1, 300)).der;
        world.servers.get_mut("kubelet").unwrap().served().chain = vec![leaf];
    }),
    (&["pki.live.lasts"], "expires in 20 days", |world| {
        let leaf = world.ca.sign("system:node:cp1", Some("system:nodes"), &["10.0.0.11"], (-300, 20)).der;
        world.servers.get_mut("kubelet").unwrap().served().chain = vec![leaf];
    }),
    (&["pki.live.loopback"], "expires in 50 days", |world| {
        let clients = [&world.ca, &world.front_proxy];
        let loopback = served(&[&self_made("apiserver-loopback-client", (-315, 50))], Some(&clients));
        world.servers.get_mut("apiserver").unwrap().named.insert("apiserver-loopback-client".to_owned(), loopback);
    }),
    (&["pki.live.in-memory"], "only a restart", |world| {
        world.servers.get_mut("controller-manager").unwrap().served().chain = vec![self_made("cp1", (-350, 15))];
    }),
    (&["pki.live.name"], "not for that name", |world| {
        let leaf = world.ca.sign("system:node:cp1", Some("system:nodes"), &["cp1", "10.0.0.99"], (-1, 300)).der;
        world.servers.get_mut("kubelet").unwrap().served().chain = vec![leaf];
    }),
    (&["pki.live.sni"], "another CA", |world| {
        let leaf = world.other.sign("kube-apiserver", None, &["kubernetes.default.svc"], (-1, 300)).der;
        let clients = [&world.ca, &world.front_proxy];
        let other = served(&[&leaf], Some(&clients));
        world.servers.get_mut("apiserver").unwrap().named.insert("kubernetes.default.svc".to_owned(), other);
    }),
    (&["pki.live.root"], "behind CN=kubelet", |world| {
        let leaf = world.ca.sign("kubelet", None, &["10.0.0.11"], (-1, 300)).der;
        world.servers.get_mut("kubelet").unwrap().served().chain = vec![leaf, world.ca.der.clone()];
    }),
    (&["pki.live.one-issuer"], "another CA", |world| {
        let leaf = world.other.sign("kube-apiserver", None, &["10.0.0.12"], (-1, 300)).der;
        world.servers.get_mut("apiserver2").unwrap().served().chain = vec![leaf.clone()];
        world.servers.get_mut("apiserver2").unwrap().named.get_mut("kubernetes.default.svc").unwrap().chain =
            vec![leaf];
    }),
    (&["pki.live.etcd-asks"], "no client certificate", |world| {
        world.servers.get_mut("etcd").unwrap().served().request = None
    }),
    (&["pki.live.etcd-asks"], "names no CA", |world| {
        world.servers.get_mut("etcd").unwrap().served().request.as_mut().unwrap().authorities.clear();
    }),
    (&["pki.live.etcd-ca"], "CN=kubernetes", |world| {
        let name = world.ca.name();
        world.servers.get_mut("etcd").unwrap().served().request.as_mut().unwrap().authorities.push(name);
    }),
    (&["pki.live.kubelet-ca"], "another cluster", |world| {
        let name = world.other.name();
        world.servers.get_mut("kubelet").unwrap().served().request.as_mut().unwrap().authorities = vec![name];
    }),
    (&["pki.live.same-clients"], "other CAs", |world| {
        let name = world.other.name();
        world.servers.get_mut("apiserver2").unwrap().served().request.as_mut().unwrap().authorities.push(name);
    }),
    (&["pki.live.clock"], "the clock of kubelet 10.0.0.11:10250 is 400 seconds behind", |world| {
        world.servers.get_mut("kubelet").unwrap().clock = Clock { at_least: -401_300, at_most: -400_200 };
    }),
    (&["pki.live.clock"], "ahead of that of the machine that asked, and so are all the others", |world| {
        for server in world.servers.values_mut() {
            server.clock = Clock { at_least: 3_600_000, at_most: 3_601_100 };
        }
    }),
    (&["pki.live.clock-drift"], "the clock of apiserver 10.0.0.12:6443 is 61 seconds ahead", |world| {
        world.servers.get_mut("apiserver2").unwrap().clock = Clock { at_least: 61_000, at_most: 62_100 };
    }),
    (&["pki.api.kubeconfig-ca"], "is not that of the server", |world| {
        world.kubeconfig["ca"] = world.other.pem.clone().into()
    }),
    (&["pki.api.kubeconfig-client"], "has expired", |world| {
        let old = world.ca.sign("kubernetes-admin", None, &[], (-400, -1));
        world.kubeconfig["certificate"] = old.pem.clone().into();
        world.kubeconfig["key"] = old.key_sha256().into();
    }),
    (&["pki.api.kubeconfig-client"], "not that of its client certificate", |world| {
        world.kubeconfig["key"] = "00".into()
    }),
    (&["pki.api.kubeconfig-client"], "does not take", |world| {
        let odd = world.other.sign("kubernetes-admin", None, &[], (-1, 300));
        world.kubeconfig["certificate"] = odd.pem.clone().into();
        world.kubeconfig["key"] = odd.key_sha256().into();
    }),
    (&["pki.api.kubeconfig-client"], "is not there", |world| {
        world.kubeconfig["faults"] = json!(["client-key: admin.key is not there"])
    }),
    (&["pki.api.kubeconfig-insecure"], "does not verify", |world| world.kubeconfig["insecure"] = true.into()),
    (&["pki.api.root-ca"], "cannot be verified", |world| {
        world.api.insert(ApiCall::RootCas, json!([{ "namespace": "default", "ca": world.other.pem }]));
    }),
    (&["pki.api.root-ca"], "has no ConfigMap", |world| {
        world.api.insert(ApiCall::RootCas, json!([]));
    }),
    (&["pki.api.ca-bundle"], "has no caBundle", |world| webhook(world, |config| config["caBundle"] = "".into())),
    (&["pki.api.ca-bundle"], "no certificate", |world| {
        webhook(world, |config| config["caBundle"] = base64("nothing").into())
    }),
    (&["pki.api.ca-bundle", "pki.api.ca-bundle-served"], "has expired", |world| {
        let old = world.other.sign("old", None, &["old"], (-400, -1)).pem;
        webhook(world, |config| config["caBundle"] = base64(&old).into());
    }),
    (&["pki.api.ca-bundle-served"], "is not signed", |world| {
        let bundle = base64(&world.ca.pem);
        webhook(world, |config| config["caBundle"] = bundle.into());
    }),
    (&["pki.api.ca-bundle-served", "pki.live.name"], "not for that name", |world| {
        let leaf = world.other.sign("policy", None, &["policy.old.svc"], (-1, 300)).der;
        world.servers.get_mut("webhook").unwrap().named.get_mut("policy.default.svc").unwrap().chain = vec![leaf];
    }),
    (&["pki.api.insecure-apiservice"], "does not verify", |world| {
        let services = world.api.get_mut(&ApiCall::ApiServices).unwrap();
        services[1]["spec"]["insecureSkipTLSVerify"] = true.into();
    }),
    (&["pki.api.extension-authentication"], "does not take", |world| {
        let both = format!("{}{}", world.ca.pem, world.other.pem);
        world.api.get_mut(&ApiCall::Authentication).unwrap()["data"]["client-ca-file"] = both.into();
    }),
    (&["pki.api.extension-authentication"], "lacks a CA", |world| {
        let both = format!("{}{}", world.front_proxy.pem, world.front_proxy.pem);
        world.api.get_mut(&ApiCall::Authentication).unwrap()["data"] =
            json!({ "requestheader-client-ca-file": both, "requestheader-allowed-names": "[\"front-proxy-client\"]" });
    }),
    (&["pki.api.front-proxy-ca"], "also signs for users", |world| {
        let both = format!("{}{}", world.front_proxy.pem, world.ca.pem);
        world.api.get_mut(&ApiCall::Authentication).unwrap()["data"]["requestheader-client-ca-file"] = both.into();
    }),
    (&["pki.api.front-proxy-names"], "may speak for anyone", |world| {
        world.api.get_mut(&ApiCall::Authentication).unwrap()["data"]["requestheader-allowed-names"] = "[]".into();
    }),
    (&["pki.api.cluster-info"], "cannot be verified", |world| {
        let stale = cluster_info(&world.other.pem);
        world.api.get_mut(&ApiCall::ClusterInfo).unwrap()["data"]["kubeconfig"] = stale.into();
    }),
    (&["pki.api.cluster-info-signed"], "is not good", |world| {
        token(world, "signature", json!({ "bad": "it was made for another kubeconfig" }))
    }),
    (&["pki.api.cluster-info-signed"], "has not signed", |world| {
        token(world, "signature", json!("missing"));
        world.api.get_mut(&ApiCall::ClusterInfo).unwrap()["data"]
            .as_object_mut()
            .unwrap()
            .remove("jws-kubeconfig-abcdef");
    }),
    (&["pki.api.cluster-info-signed"], "not there any more", |world| {
        world.api.get_mut(&ApiCall::ClusterInfo).unwrap()["data"]["jws-kubeconfig-fedcba"] = true.into();
    }),
    (&["pki.api.token-expiry"], "never expires", |world| token(world, "expiration", json!(null))),
    (&["pki.api.token-expiry", "pki.api.shared-certs"], "still there", |world| {
        token(world, "expiration", json!(stamp(-1)))
    }),
    (&["pki.api.token-groups"], "may not have", |world| token(world, "groups", json!("system:masters"))),
    (&["pki.api.shared-certs"], "for 24 hours", |world| {
        world.api.get_mut(&ApiCall::SharedCerts).unwrap()["created"] = stamp(-1).into()
    }),
    (&["pki.api.shared-certs"], "belongs to no token", |world| {
        world.api.get_mut(&ApiCall::SharedCerts).unwrap()["owners"] = json!([])
    }),
    (&["pki.api.config-map-keys"], "holds a private key in tls.key, line 3", |world| {
        let key = json!({ "namespace": "shop", "name": "web", "entry": "tls.key", "line": 3, "what": "private-key" });
        world.api.get_mut(&ApiCall::ConfigMaps).unwrap()["exposed"] = json!([key]);
    }),
    (&["pki.api.tls-pair"], "not that of its certificate", |world| {
        secrets(world, |all| all.secrets[0].pairing = Pairing::Mismatch)
    }),
    (&["pki.api.tls-pair"], "tls.key", |world| {
        secrets(world, |all| all.secrets[0].pairing = Pairing::Broken(NoPair::Key("there is no key in it".to_owned())))
    }),
    (&["pki.api.tls-order"], "out of order", |world| {
        secrets(world, |all| {
            all.leaves[0].disorder = Some(Disorder { place: 2, subject: "CN=a".into(), issuer: "CN=b".into() }.into())
        })
    }),
    (&["pki.api.tls-expired"], "has expired", |world| secrets(world, |all| all.leaves[0].not_after = at(-1))),
    (&["pki.api.tls-lasts"], "expires in 20 days", |world| {
        secrets(world, |all| {
            all.leaves[0].not_before = at(-300);
            all.leaves[0].not_after = at(20);
        })
    }),
    (&["pki.api.tls-hosts"], "not for it", |world| secrets(world, |all| all.leaves[0].dns.truncate(1))),
    (&["pki.api.tls-hosts"], "not there", |world| {
        world.api.get_mut(&ApiCall::Ingresses).unwrap()[0]["tls"][0]["secretName"] = "gone".into()
    }),
    (&["pki.api.tls-used"], "names Secret default/www", |world| {
        world.api.insert(ApiCall::SecretUses, json!({}));
        world.api.get_mut(&ApiCall::Ingresses).unwrap()[0]["tls"] = json!([]);
    }),
    (&["pki.api.requests-decided"], "nobody approves", |world| {
        csr(world, |csr| {
            csr["created"] = stamp(-1).into();
            csr["conditions"] = json!([]);
            csr["certificate"] = json!(null);
        })
    }),
    (&["pki.api.requests-decided"], "not signed", |world| {
        csr(world, |csr| csr["conditions"] = json!([{ "type": "Approved" }, { "type": "Failed" }]))
    }),
    (&["pki.api.requests-masters"], "system:masters", |world| {
        csr(world, |csr| csr["request"] = request("system:masters").into())
    }),
    (&["pki.api.requests-masters"], "system:masters", |world| {
        let group: Vec<_> = "system:masters".encode_utf16().flat_map(u16::to_be_bytes).collect();
        let group = rcgen::string::BmpString::from_utf16be(group).unwrap();
        csr(world, |csr| csr["request"] = request(rcgen::DnValue::BmpString(group)).into())
    }),
    (&["pki.api.requests-denied"], "was denied", |world| {
        csr(world, |csr| {
            csr["conditions"] = json!([{ "type": "Denied" }]);
            csr["certificate"] = json!(null);
        })
    }),
    (&["pki.api.requests-renewed"], "expires in 20 days, and no newer one", |world| {
        let old = world.ca.sign("system:node:cp1", Some("system:nodes"), &[], (-345, 20)).pem;
        csr(world, |csr| csr["certificate"] = base64(&old).into());
    }),
    // Of one that lives for ten days the last fifth counts.
    (&["pki.api.requests-renewed"], "expires in 1 days", |world| {
        let old = world.ca.sign("system:node:cp1", Some("system:nodes"), &[], (-9, 1)).pem;
        csr(world, |csr| csr["certificate"] = base64(&old).into());
    }),
    (&["pki.api.requests-signer"], "is to example.com/serving", |world| {
        csr(world, |csr| csr["signer"] = "example.com/serving".into())
    }),
    (&["pki.api.cluster-admins"], "no ClusterRoleBinding makes that an administrator", |world| {
        world.api.get_mut(&ApiCall::ClusterRoleBindings).unwrap()[0]["subjects"] = json!([]);
    }),
    (&["pki.api.cluster-admins"], "context admin is of the group kubeadm:cluster-admins", |world| {
        world.api.get_mut(&ApiCall::ClusterRoles).unwrap()[0]["rules"][0]["verbs"] = json!(["get", "list"]);
    }),
    (&["pki.api.node-names"], "no such node", |world| {
        let gone = world.ca.sign("system:node:gone", Some("system:nodes"), &[], (-1, 300)).pem;
        csr(world, |csr| csr["certificate"] = base64(&gone).into());
    }),
    (&["pki.api.cert-sans"], "not there", |world| {
        kubeadm(world, "certSANs: [api.test]", "certSANs: [api.test, new.test]")
    }),
    (&["pki.api.cert-sans"], "does not know", |world| kubeadm(world, "api.test", "10.0.0.11")),
    (&["pki.api.token-keys"], "too short", |world| {
        world.api.insert(ApiCall::Jwks, json!({ "keys": [{ "kid": "k1", "kty": "RSA", "n": modulus(128) }] }));
    }),
    (&["pki.api.godebug"], "x509sha1", |world| {
        world.api.insert(ApiCall::Metrics, json!({ "x509sha1": 3.0, "http2client": 1.0 }));
    }),
];

fn suite(world: &mut World, name: &str) {
    let survey = &mut world.servers.get_mut("apiserver").unwrap().survey;
    survey.suites.get_mut(&Version::Tls12).unwrap().push(name.to_owned());
}

fn webhook(world: &mut World, edit: impl FnOnce(&mut serde_json::Value)) {
    edit(&mut world.api.get_mut(&ApiCall::ValidatingWebhooks).unwrap()[0]["webhooks"][0]["clientConfig"]);
}

fn token(world: &mut World, field: &str, value: serde_json::Value) {
    world.api.get_mut(&ApiCall::Tokens).unwrap()[0][field] = value;
}

fn secrets(world: &mut World, edit: impl FnOnce(&mut TlsSecrets)) {
    let recorded = world.api.get_mut(&ApiCall::TlsSecrets).unwrap();
    let mut all = serde_json::from_value(recorded.take()).unwrap();
    edit(&mut all);
    *recorded = json!(all);
}

fn csr(world: &mut World, edit: impl FnOnce(&mut serde_json::Value)) {
    edit(&mut world.api.get_mut(&ApiCall::SigningRequests).unwrap()[0]);
}

fn kubeadm(world: &mut World, from: &str, to: &str) {
    let config = &mut world.api.get_mut(&ApiCall::KubeadmConfig).unwrap()["configuration"];
    *config = config.as_str().unwrap().replace(from, to).into();
}

#[test]
fn each_defect_is_found_and_nothing_else() {
    let mut faults = Vec::new();
    for (ids, part, spoil) in DEFECTS {
        let mut world = World::new();
        spoil(&mut world);
        let found = breached(&world.transcript());
        let wanted: BTreeSet<_> = ids.iter().map(|id| (*id).to_owned()).collect();
        if found.keys().cloned().collect::<BTreeSet<_>>() != wanted {
            faults.push(format!("{} ({part}): breached are {found:#?}", ids[0]));
        } else if !found[ids[0]].iter().any(|breach| breach.message.contains(part)) {
            faults.push(format!("{} does not say '{part}': {:#?}", ids[0], found[ids[0]]));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_claim_is_seen_to_fail() {
    let seen = DEFECTS.iter().map(|(ids, ..)| ids[0].to_owned());
    let seen: BTreeSet<_> = seen.chain(OF_FILES.map(str::to_owned)).collect();
    let all: BTreeSet<_> = ours().into_iter().map(|check| check.id).collect();
    assert_eq!(all.difference(&seen).collect::<Vec<_>>(), Vec::<&String>::new());
}

#[test]
fn every_claim_has_a_page_a_basis_a_remedy_and_an_alias() {
    for check in ours() {
        let complete = !check.why.is_empty() && !check.how.is_empty() && !check.basis.is_empty();
        assert!(complete && !check.remedy.is_empty() && !check.aliases.is_empty(), "{}", check.id);
        assert!(!check.title.ends_with('.') && check.title.len() <= 90, "{}: {}", check.id, check.title);
    }
}

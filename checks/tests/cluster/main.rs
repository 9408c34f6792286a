//! A good cluster, and every defect that the live and the API claims are about, one at a time: each is found, and
//! nothing else.

#![allow(clippy::unwrap_used, reason = "test code")]

mod defects;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use defects::{DEFECTS, csr, secrets};
use rcgen::{KeyPair, PublicKeyData as _};
use seaworthy_checks::host::hello::Version;
use seaworthy_checks::host::{
    ApiCall, Clock, Layout, LiveHost, Pairing, Query, Refusal, RefusalKind, Reply, TlsCall, TlsSecret, Transcript,
};
use seaworthy_checks::pki::discover::{Component, From, Role};
use seaworthy_checks::pki::store::Held;
use seaworthy_checks::pki::x509::{Certificate, Fingerprint};
use seaworthy_checks::pki::{Bundle, Check, Credential, Facts, View, checks};
use seaworthy_checks::{Breach, Profile, Verdict};
use serde_json::json;
use world::{NOW, World, base64, served};

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
            "   {slot}: {address} 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 \
             10 0\n"
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
        misplaced: false,
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

#[test]
fn what_was_issued_by_request_is_among_what_expires() {
    let mut world = World::new();
    let mut issue = |name: &str, user: &str, days: (i64, i64)| {
        let pem = world.ca.sign(user, None, &[], days).pem;
        let requests = world.api.get_mut(&ApiCall::SigningRequests).unwrap().as_array_mut().unwrap();
        let mut next = requests[0].clone();
        next["certificate"] = base64(&pem).into();
        next["signer"] = "kubernetes.io/kube-apiserver-client".into();
        next["name"] = name.into();
        requests.push(next);
    };
    issue("jane-2", "jane", (0, 30));
    issue("jane-1", "jane", (-20, 10));
    issue("john", "john", (0, 20));
    let facts = Facts::read(&world.transcript());
    let rows: Vec<_> =
        facts.expiries().iter().map(|one| one.file.to_owned()).filter(|file| file.starts_with("csr/")).collect();
    // Of each signer and subject the one that lasts longest.
    assert_eq!(rows, ["csr/csr-1", "csr/jane-2", "csr/john"]);
}

/// What is said of a certificate that the API server shows to kubelets, with this subject and, if one is given, a rule
/// for its user.
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
        let pod = json!({ "kind": "Pod", "apiVersion": "v1", "metadata": {
            "name": "kube-apiserver",
        }, "spec": { "containers": [{
            "name": "kube-apiserver",
            "command": [
                "kube-apiserver", format!("--authorization-mode={mode}"),
                "--kubelet-client-certificate=/etc/kubernetes/pki/apiserver-kubelet-client.crt",
            ],
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

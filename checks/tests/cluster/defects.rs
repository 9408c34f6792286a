//! Defects of servers and of what the API says, one a row, and the claims that must find each.

use seaworthy_checks::host::hello::Version;
use seaworthy_checks::host::{ApiCall, Clock, Disorder, NoPair, Pairing, RefusalKind, TlsSecrets, Welcome};
use serde_json::json;

use crate::world::{World, at, base64, cluster_info, modulus, request, self_made, served, stamp};

type Defect = (&'static [&'static str], &'static str, fn(&mut World));

/// The ids that a defect breaches, the first of which is what it is about; a part of what is said; and the defect.
pub(crate) const DEFECTS: &[Defect] = &[
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

pub(crate) fn suite(world: &mut World, name: &str) {
    let survey = &mut world.servers.get_mut("apiserver").unwrap().survey;
    survey.suites.get_mut(&Version::Tls12).unwrap().push(name.to_owned());
}

pub(crate) fn webhook(world: &mut World, edit: impl FnOnce(&mut serde_json::Value)) {
    edit(&mut world.api.get_mut(&ApiCall::ValidatingWebhooks).unwrap()[0]["webhooks"][0]["clientConfig"]);
}

pub(crate) fn token(world: &mut World, field: &str, value: serde_json::Value) {
    world.api.get_mut(&ApiCall::Tokens).unwrap()[0][field] = value;
}

pub(crate) fn secrets(world: &mut World, edit: impl FnOnce(&mut TlsSecrets)) {
    let recorded = world.api.get_mut(&ApiCall::TlsSecrets).unwrap();
    let mut all = serde_json::from_value(recorded.take()).unwrap();
    edit(&mut all);
    *recorded = json!(all);
}

pub(crate) fn csr(world: &mut World, edit: impl FnOnce(&mut serde_json::Value)) {
    edit(&mut world.api.get_mut(&ApiCall::SigningRequests).unwrap()[0]);
}

pub(crate) fn kubeadm(world: &mut World, from: &str, to: &str) {
    let config = &mut world.api.get_mut(&ApiCall::KubeadmConfig).unwrap()["configuration"];
    *config = config.as_str().unwrap().replace(from, to).into();
}

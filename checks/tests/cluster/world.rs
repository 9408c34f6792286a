//! A cluster that answers from memory: its servers, its API, its kubeconfig, all of one good PKI, and ready to be
//! spoiled.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, DnType, DnValue, IsCa, Issuer, KeyPair, PublicKeyData as _, SanType};
use seaworthy_checks::host::hello::{CertificateRequest, Version};
use seaworthy_checks::host::{
    ApiCall, Clock, Layout, Leaf as TlsLeaf, Pairing, Query, Refusal, RefusalKind, Reply, Served, Survey, TlsCall,
    TlsSecret, TlsSecrets, Transcript, Welcome,
};
use seaworthy_checks::pki::live::Target;
use serde_json::{Value, json};

/// The time of the test: 2026-07-01.
pub(crate) const NOW: i64 = 1_782_864_000;
const DAY: i64 = 86_400;

/// A CA and its key.
pub(crate) struct Ca {
    params: CertificateParams,
    key: KeyPair,
    pub(crate) der: Vec<u8>,
    pub(crate) pem: String,
}

fn time(days: i64) -> time::OffsetDateTime {
    time::OffsetDateTime::from_unix_timestamp(NOW + days * DAY).unwrap()
}

impl Ca {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        (params.not_before, params.not_after) = (time(-400), time(3000));
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { der: certificate.der().to_vec(), pem: certificate.pem(), params, key }
    }

    /// The DER of its name.
    pub(crate) fn name(&self) -> Vec<u8> {
        let (_, certificate) = x509_parser::parse_x509_certificate(&self.der).unwrap();
        certificate.subject().as_raw().to_vec()
    }

    /// Signs for a common name and organization, for names and addresses, from one day to another.
    pub(crate) fn sign(&self, name: &str, organization: Option<&str>, sans: &[&str], days: (i64, i64)) -> Leaf {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        if let Some(organization) = organization {
            params.distinguished_name.push(DnType::OrganizationName, organization);
        }
        params.subject_alt_names = sans
            .iter()
            .map(|san| match san.parse() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName((*san).try_into().unwrap()),
            })
            .collect();
        params.use_authority_key_identifier_extension = true;
        (params.not_before, params.not_after) = (time(days.0), time(days.1));
        let issuer = Issuer::from_params(&self.params, &self.key);
        let certificate = params.signed_by(&key, &issuer).unwrap();
        Leaf { der: certificate.der().to_vec(), pem: certificate.pem(), spki: key.subject_public_key_info() }
    }
}

/// A certificate and its key.
#[derive(Clone)]
pub(crate) struct Leaf {
    pub(crate) der: Vec<u8>,
    pub(crate) pem: String,
    spki: Vec<u8>,
}

impl Leaf {
    pub(crate) fn key_sha256(&self) -> String {
        let sum = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &self.spki);
        sum.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// A TLS server.
pub(crate) struct Server {
    pub(crate) target: Target,
    pub(crate) presented: Result<Served, RefusalKind>,
    pub(crate) named: BTreeMap<String, Served>,
    pub(crate) survey: Survey,
    pub(crate) welcome: Option<Welcome>,
    pub(crate) clock: Clock,
}

impl Server {
    pub(crate) fn served(&mut self) -> &mut Served {
        self.presented.as_mut().unwrap()
    }
}

/// All of it.
pub(crate) struct World {
    pub(crate) ca: Ca,
    pub(crate) front_proxy: Ca,
    pub(crate) other: Ca,
    pub(crate) servers: BTreeMap<&'static str, Server>,
    pub(crate) kubeconfig: Value,
    pub(crate) api: BTreeMap<ApiCall, Value>,
}

pub(crate) fn served(chain: &[&[u8]], clients: Option<&[&Ca]>) -> Served {
    Served {
        version: Some("TLS 1.3".to_owned()),
        chain: chain.iter().map(|der| der.to_vec()).collect(),
        request: clients.map(|clients| CertificateRequest {
            authorities: clients.iter().map(|ca| ca.name()).collect(),
            schemes: vec![0x0804, 0x0403, 0x0201],
        }),
        failure: None,
    }
}

pub(crate) fn base64(text: &str) -> String {
    STANDARD.encode(text)
}

/// What kube-controller-manager makes for itself when it starts; between its CA and this the clock has gone on.
pub(crate) fn self_made(host: &str, days: (i64, i64)) -> Vec<u8> {
    let made = NOW + days.0 * DAY;
    let ca = Ca::new(&format!("{host}-ca@{}", made - 1));
    ca.sign(&format!("{host}@{made}"), None, &[host, "127.0.0.1"], days).der
}

const YEAR: (i64, i64) = (-30, 335);

impl World {
    /// A good one.
    pub(crate) fn new() -> Self {
        let (ca, front_proxy, etcd, other) =
            (Ca::new("kubernetes"), Ca::new("front-proxy-ca"), Ca::new("etcd-ca"), Ca::new("other"));
        let good = Survey {
            suites: [
                (Version::Tls12, vec!["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256".to_owned()]),
                (Version::Tls13, vec!["TLS_AES_128_GCM_SHA256".to_owned()]),
            ]
            .into(),
            groups: vec!["X25519MLKEM768".to_owned(), "x25519".to_owned()],
            ..Survey::default()
        };
        let server = |target: &str, presented: Served, welcome: Option<Welcome>| Server {
            target: target.parse().unwrap(),
            presented: Ok(presented),
            named: BTreeMap::new(),
            survey: good.clone(),
            welcome,
            clock: Clock { at_least: -400, at_most: 610 },
        };
        let names = [
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
            "cp1",
            "10.96.0.1",
            "10.0.0.11",
            "api.test",
        ];
        let apiserver = ca.sign("kube-apiserver", None, &names, YEAR).der;
        let clients: &[&Ca] = &[&ca, &front_proxy];
        let mut servers = BTreeMap::new();
        for (name, address) in [("apiserver", "10.0.0.11:6443"), ("apiserver2", "10.0.0.12:6443")] {
            let names = [&names[..], &["10.0.0.12"]].concat();
            let leaf =
                if name == "apiserver" { apiserver.clone() } else { ca.sign("kube-apiserver", None, &names, YEAR).der };
            let mut one = server(address, served(&[&leaf], Some(clients)), None);
            let loopback = self_made("apiserver-loopback-client", (-30, 335));
            one.named.insert("apiserver-loopback-client".to_owned(), served(&[&loopback], Some(clients)));
            one.named.insert("kubernetes.default.svc".to_owned(), served(&[&leaf], Some(clients)));
            servers.insert(name, one);
        }
        let kubelet = ca.sign("system:node:cp1", Some("system:nodes"), &["cp1", "10.0.0.11"], YEAR).der;
        servers.insert(
            "kubelet",
            server("10.0.0.11:10250", served(&[&kubelet], Some(&[&ca])), Some(Welcome::Status(401))),
        );
        let member = etcd.sign("cp1", None, &["cp1", "localhost", "10.0.0.11", "127.0.0.1"], YEAR).der;
        let refused = || Some(Welcome::Alert("certificate_required".to_owned()));
        servers.insert("etcd", server("127.0.0.1:2379", served(&[&member], Some(&[&etcd])), refused()));
        servers.insert("etcd-peer", server("10.0.0.11:2380", served(&[&member], Some(&[&etcd])), None));
        let manager = self_made("cp1", (-30, 335));
        servers.insert(
            "controller-manager",
            server("127.0.0.1:10257", served(&[&manager], Some(&[&ca])), Some(Welcome::Status(403))),
        );
        let policy = other.sign("policy", None, &["policy.default.svc"], YEAR).der;
        let mut webhook = server("10.96.7.7:443=webhook", served(&[&policy], None), None);
        webhook.named.insert("policy.default.svc".to_owned(), served(&[&policy], None));
        servers.insert("webhook", webhook);
        let metrics = other.sign("metrics", None, &["metrics.kube-system.svc"], YEAR).der;
        let mut aggregated = server("10.96.8.8:443=aggregated-api", served(&[&metrics], Some(&[&ca])), None);
        aggregated.named.insert("metrics.kube-system.svc".to_owned(), served(&[&metrics], Some(&[&ca])));
        servers.insert("aggregated", aggregated);

        let admin = ca.sign("kubernetes-admin", Some("kubeadm:cluster-admins"), &[], YEAR);
        let kubeconfig = json!({
            "context": "admin", "server": "https://10.0.0.11:6443", "ca": ca.pem, "certificate": admin.pem,
            "key": admin.key_sha256(),
        });
        let api = Self::api(&ca, &front_proxy, &other);
        Self { ca, front_proxy, other, servers, kubeconfig, api }
    }

    fn api(ca: &Ca, front_proxy: &Ca, other: &Ca) -> BTreeMap<ApiCall, Value> {
        let bundle = base64(&other.pem);
        let service = |name: &str, namespace: &str| json!({ "name": name, "namespace": namespace, "port": 443 });
        let node = ca.sign("system:node:cp1", Some("system:nodes"), &[], YEAR);
        let leaf = TlsLeaf {
            not_before: at(-30),
            not_after: at(300),
            dns: ["www.test", "*.apps.test"].map(str::to_owned).into(),
            disorder: None,
        };
        let secret =
            TlsSecret { namespace: "default".into(), name: "www".into(), leaf: Some(0), pairing: Pairing::Pair };
        let tls_secrets = TlsSecrets { leaves: vec![leaf], secrets: vec![secret] };
        [
            (ApiCall::Namespaces, json!([
                { "name": "default", "phase": "Active" }, { "name": "gone", "phase": "Terminating" },
            ])),
            (ApiCall::RootCas, json!([{ "namespace": "default", "ca": ca.pem }])),
            (ApiCall::ConfigMaps, json!({ "count": 7, "exposed": [] })),
            (ApiCall::ClusterInfo, json!({ "data": {
                "kubeconfig": cluster_info(&ca.pem),
                "jws-kubeconfig-abcdef": true,
            } })),
            (ApiCall::Tokens, json!([{
                "name": "bootstrap-token-abcdef", "created": stamp(0), "id": "abcdef", "expiration": stamp(1),
                "groups": "system:bootstrappers:kubeadm:default-node-token", "authenticates": true, "signs": true,
                "signature": "good",
            }])),
            (ApiCall::SharedCerts, json!({
                "created": stamp(0), "owners": ["bootstrap-token-abcdef"], "files": ["ca.crt", "ca.key"],
            })),
            (ApiCall::Authentication, json!({ "data": {
                "client-ca-file": ca.pem, "requestheader-client-ca-file": front_proxy.pem,
                "requestheader-allowed-names": "[\"front-proxy-client\"]",
            } })),
            (ApiCall::KubeadmConfig, json!({ "configuration":
                "kind: ClusterConfiguration\ncontrolPlaneEndpoint: api.test:6443\n\
                 networking: {serviceSubnet: 10.96.0.0/12, dnsDomain: cluster.local}\n\
                 apiServer: {certSANs: [api.test]}\n" })),
            (ApiCall::ValidatingWebhooks, json!([{ "name": "policy", "webhooks": [
                {
                    "name": "check.test",
                    "clientConfig": { "service": service("policy", "default"), "caBundle": bundle },
                },
            ] }])),
            (ApiCall::MutatingWebhooks, json!([])),
            (ApiCall::ApiServices, json!([
                { "name": "v1.", "spec": {} },
                {
                    "name": "v1beta1.metrics.k8s.io",
                    "spec": { "service": service("metrics", "kube-system"), "caBundle": bundle },
                },
            ])),
            (ApiCall::Conversions, json!([{ "name": "plain.test", "conversion": { "strategy": "None" } }])),
            (ApiCall::Services, json!([
                { "namespace": "default", "name": "policy", "addresses": ["10.96.7.7"] },
                { "namespace": "kube-system", "name": "metrics", "addresses": ["10.96.8.8"] },
            ])),
            (ApiCall::TlsSecrets, json!(tls_secrets)),
            (ApiCall::SecretUses, json!({ "default": ["www"] })),
            (ApiCall::Ingresses, json!([
                {
                    "namespace": "default", "name": "www",
                    "tls": [{ "hosts": ["www.test", "a.apps.test"], "secretName": "www" }],
                },
            ])),
            (ApiCall::SigningRequests, json!([{
                "name": "csr-1", "created": stamp(0), "signer": "kubernetes.io/kube-apiserver-client-kubelet",
                "user": "system:bootstrap:abcdef",
                "request": request("system:nodes"), "conditions": [{ "type": "Approved" }],
                "certificate": base64(&node.pem),
            }])),
            (ApiCall::ClusterRoleBindings, json!([
                { "role": "cluster-admin", "subjects": [{ "kind": "Group", "name": "kubeadm:cluster-admins" }] },
                {
                    "role": "system:kubelet-api-admin",
                    "subjects": [{ "kind": "User", "name": "kube-apiserver-kubelet-client" }],
                },
                { "role": "system:discovery", "subjects": [{ "kind": "Group", "name": "system:authenticated" }] },
                { "role": "nobody-is-given-it" },
            ])),
            (ApiCall::ClusterRoles, json!([
                { "name": "cluster-admin", "rules": [
                    { "apiGroups": ["*"], "resources": ["*"], "verbs": ["*"] },
                    { "nonResourceURLs": ["*"], "verbs": ["*"] },
                ] },
                { "name": "system:kubelet-api-admin", "rules": [
                    { "apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch", "proxy"] },
                    {
                        "apiGroups": [""], "resources": ["nodes/log", "nodes/metrics", "nodes/proxy", "nodes/stats"],
                        "verbs": ["*"],
                    },
                ] },
                { "name": "system:discovery", "rules": [{ "nonResourceURLs": ["/api"], "verbs": ["get"] }] },
                { "name": "nobody-is-given-it", "rules": null },
            ])),
            (ApiCall::Jwks, json!({ "keys": [{ "kid": "k1", "kty": "RSA", "n": modulus(256) }] })),
            (ApiCall::Nodes, json!([
                {
                    "name": "cp1",
                    "addresses": [
                        { "type": "InternalIP", "address": "10.0.0.11" }, { "type": "Hostname", "address": "cp1" },
                    ],
                },
            ])),
            (ApiCall::ApiServers, json!([{ "host": "cp1" }, { "host": "cp2" }])),
            (ApiCall::ApiServerAddresses, json!([
                { "endpoints": [{ "addresses": ["10.0.0.11"] }, { "addresses": ["10.0.0.12"] }] },
            ])),
            (ApiCall::Metrics, json!({})),
            (ApiCall::Version, json!({ "gitVersion": "v1.37.2" })),
        ]
        .into()
    }

    /// The transcript of it.
    pub(crate) fn transcript(&self) -> Transcript {
        let mut transcript = Transcript::default();
        let user = ["apiserver", "apiserver2", "etcd", "etcd-peer", "controller-manager"];
        let endpoints = user.iter().filter_map(|name| Some(self.servers.get(name)?.target.clone())).collect();
        let layout = Layout { endpoints, ..Layout::default() };
        transcript.insert(Query::Layout, Ok(serde_json::to_value(layout).unwrap().into()));
        transcript.insert(Query::Kubeconfig, Ok(self.kubeconfig.clone().into()));
        for call in ApiCall::ALL {
            let answer = self.api.get(&call).cloned().map(|answer| match call {
                ApiCall::TlsSecrets => Reply::TlsSecrets(serde_json::from_value(answer).unwrap()),
                ApiCall::SecretUses => Reply::SecretUses(serde_json::from_value(answer).unwrap()),
                _ => answer.into(),
            });
            let absent = || Refusal::new(RefusalKind::Absent, format!("{call} is not there"));
            transcript.insert(Query::Api { call }, answer.ok_or_else(absent));
        }
        for server in self.servers.values() {
            let address = format!("{}:{}", server.target.host, server.target.port);
            let mut say = |call: TlsCall, answer: Value| {
                transcript.insert(Query::Tls { address: address.clone(), call }, Ok(answer.into()));
            };
            let value = |served: &Served| serde_json::to_value(served).unwrap();
            for (name, served) in &server.named {
                say(TlsCall::Served { name: Some(name.clone()) }, value(served));
            }
            say(TlsCall::Clock, serde_json::to_value(server.clock).unwrap());
            say(TlsCall::Survey, serde_json::to_value(&server.survey).unwrap());
            for path in ["/pods", "/version", "/metrics"] {
                say(TlsCall::Welcome { path: path.to_owned() }, serde_json::to_value(&server.welcome).unwrap());
            }
            let presented = match &server.presented {
                Ok(served) => Ok(value(served).into()),
                Err(kind) => Err(Refusal::new(*kind, format!("{address}: nothing listens there"))),
            };
            transcript.insert(Query::Tls { address, call: TlsCall::Served { name: None } }, presented);
        }
        transcript
    }
}

/// A day from now, as the API writes times.
pub(crate) fn at(days: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_second(NOW + days * DAY).unwrap()
}

pub(crate) fn stamp(days: i64) -> String {
    at(days).to_string()
}

pub(crate) fn cluster_info(ca: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\nclusters:\n\
         - cluster:\n    certificate-authority-data: {}\n    server: https://10.0.0.11:6443\n  name: \"\"\n\
         contexts: null\ncurrent-context: \"\"\nusers: null\n",
        base64(ca)
    )
}

/// A certificate request for this group, as the API holds it.
pub(crate) fn request(group: impl Into<DnValue>) -> String {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::OrganizationName, group);
    base64(&params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap())
}

/// An RSA modulus of so many bytes, as a JWK has it.
pub(crate) fn modulus(bytes: usize) -> String {
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(vec![0xc5; bytes])
}

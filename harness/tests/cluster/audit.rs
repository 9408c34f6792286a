//! The PKI suite on a cluster of ours: clean as it comes up, wherever it is looked at from, and then one defect at a
//! time, each of which is found by its own claims and by no other, and is not found any more once it is mended.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use seaworthy_provision::cluster::Role;
use seaworthy_provision::host::unit::Unit;
use serde_json::Value;

use super::lab::{Lab, Ran, ran, until};

const NAME: &str = "pki";
const SPEC: &str = "controlPlanes: 3\nworkers: 1\ndurability: fast\n\
                    kubeadm: |\n  apiVersion: kubeadm.k8s.io/v1beta4\n  kind: ClusterConfiguration\n  \
                    encryptionAlgorithm: ECDSA-P256\n";

/// Found of every cluster that kubeadm makes, and no reason to fail a run: Go's defaults have suites with CBC.
const CBC: &str = "pki.live.cbc-suite";
/// The same: a kubelet signs its serving certificate itself.
const SELF_SIGNED: &str = "pki.live.exposed";

/// From where the cluster is looked at.
#[derive(Debug, Clone, Copy)]
enum From {
    /// A host: its files, its servers, and what its administrator's kubeconfig leads to.
    Host(&'static str),
    /// A host without a kubeconfig.
    Alone(&'static str),
    /// The machine: a kubeconfig, and the servers of the control plane by their addresses.
    Machine,
    /// Recordings of the control planes, compared.
    Recordings,
}

/// Claims, each with a part of what is said.
type Finds = &'static [(&'static str, &'static str)];

/// Something that is wrong.
struct Defect {
    what: &'static str,
    spoil: fn(&Lab),
    /// From where it is looked for, and what is found there.
    seen: &'static [(From, Finds)],
    mend: fn(&Lab),
}

/// What a run found: its exit code, and of each claim that failed or could not be told what was said.
#[derive(Debug, PartialEq, Eq)]
struct Audit {
    code: Option<i32>,
    found: BTreeMap<String, Vec<String>>,
}

impl Audit {
    fn read(ran: &Ran, report: &Path) -> Self {
        let text = fs::read(report).unwrap_or_else(|why| panic!("{}: {why}: {}{}", report.display(), ran.out, ran.err));
        let report: Value = serde_json::from_slice(&text).unwrap();
        let mut found: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for result in report["results"].as_array().unwrap() {
            let verdict = &result["verdict"];
            let said: Vec<_> = match verdict["outcome"].as_str().unwrap() {
                "pass" | "not-applicable" => continue,
                "fail" => verdict["findings"].as_array().unwrap().iter().map(|one| one["message"].clone()).collect(),
                _ => vec![verdict.clone()],
            };
            let id = result["trial"].as_str().unwrap().to_owned();
            found
                .entry(id)
                .or_default()
                .extend(said.iter().map(|one| one.as_str().map_or(one.to_string(), str::to_owned)));
        }
        Self { code: ran.code, found }
    }

    /// Is this found, beside what is let pass, and nothing else?
    fn is(&self, wanted: Finds, passed: &[&str]) -> bool {
        let ids: BTreeSet<_> = self.found.keys().map(String::as_str).filter(|id| !passed.contains(id)).collect();
        ids == wanted.iter().map(|(id, _)| *id).collect()
            && wanted.iter().all(|(id, part)| self.found[*id].iter().any(|message| message.contains(part)))
    }
}

/// `seaworthy run --suite pki`.
fn audit(lab: &Lab, from: From) -> Audit {
    let run = ["run", "--suite", "pki"];
    let report = match from {
        From::Host(host) | From::Alone(host) => lab.host(NAME, host).var().join("audit/report.json"),
        From::Machine | From::Recordings => "/mnt/audit/report.json".into(),
    };
    fs::remove_file(&report).ok();
    let mut command = lab.program();
    command.args(run).args(["-O", "/mnt/audit"]);
    let ran = match from {
        From::Host(host) | From::Alone(host) => {
            let more = ["--kubeconfig", "/var/admin.conf", "--log-in"];
            let with: &[&str] = if matches!(from, From::Host(_)) { &more } else { &[] };
            let words = [&["seaworthy"], &run[..], &["--host", "/", "-O", "/var/audit"], with].concat();
            lab.exec(NAME, host, &words)
        }
        From::Machine => {
            command.arg("--kubeconfig").arg(lab.host(NAME, "cp1").kubernetes().join("admin.conf"));
            for host in lab.cluster(NAME).plan().of(Role::ControlPlane) {
                for port in [6443, 2379, 2380] {
                    command.arg("--endpoint").arg(format!("{}:{port}", host.address()));
                }
            }
            ran(&mut command)
        }
        From::Recordings => {
            for host in ["cp1", "cp2", "cp3"] {
                lab.said(NAME, host, &["seaworthy", "record", "--force", "-O", "/var/recording.tar.zst"]);
                command.arg("--host").arg(lab.host(NAME, host).var().join("recording.tar.zst"));
            }
            ran(&mut command)
        }
    };
    Audit::read(&ran, &report)
}

/// Looks until this is found and nothing else: controllers and servers take their time.
fn finds(lab: &Lab, from: From, wanted: Finds, passed: &[&str]) -> Audit {
    until(&format!("{from:?} finds {wanted:?}"), || {
        let audit = audit(lab, from);
        if audit.is(wanted, passed) { Ok(audit) } else { Err(format!("{audit:#?}")) }
    })
}

/// A file of the PKI of a host.
fn pki(lab: &Lab, host: &str, file: &str) -> PathBuf {
    lab.host(NAME, host).kubernetes().join("pki").join(file)
}

fn read(lab: &Lab, host: &str, file: &str) -> String {
    fs::read_to_string(pki(lab, host, file)).unwrap()
}

/// Copies files of the PKI, with their modes, from one host to another.
fn copy(lab: &Lab, from: &str, to: &str, files: &[&str]) {
    for file in files {
        fs::copy(pki(lab, from, file), pki(lab, to, file)).unwrap();
    }
}

/// The real kubeadm on a host.
fn kubeadm(lab: &Lab, host: &str, words: &[&str]) {
    lab.said(NAME, host, &[&["kubeadm"], words].concat());
}

fn restart(lab: &Lab, host: &str, unit: &str) {
    lab.host(NAME, host).client().restart(unit).unwrap();
    lab.until_ready(NAME);
}

fn unit(lab: &Lab, host: &str, name: &str) -> Unit {
    let all = lab.host(NAME, host).client().status().unwrap();
    all.into_iter().find(|status| status.unit.name == name).unwrap().unit
}

/// Starts a component anew with a flag that names another file of the PKI.
fn set(lab: &Lab, host: &str, name: &str, flag: &str, file: &str) {
    let mut unit = unit(lab, host, name);
    let prefix = format!("--{flag}=");
    let word = unit.argv.iter_mut().find(|word| word.starts_with(&prefix)).unwrap();
    *word = format!("{prefix}/etc/kubernetes/pki/{file}");
    lab.host(NAME, host).client().start(unit).unwrap();
}

const MANAGER: &str = "kube-controller-manager";

fn stop_managers(lab: &Lab, hosts: &[&str]) {
    for host in hosts {
        lab.host(NAME, host).client().stop(MANAGER, Duration::from_secs(5)).unwrap();
    }
}

fn start_managers(lab: &Lab, hosts: &[&str]) {
    for host in hosts {
        lab.host(NAME, host).client().restart(MANAGER).unwrap();
    }
    lab.until_ready(NAME);
}

/// Has a ConfigMap or another object merged with this.
fn patch(lab: &Lab, object: &[&str], patch: &Value) {
    lab.kubectl(NAME, "cp1", &[&["patch"], object, &["--type=merge", "-p", &patch.to_string()]].concat());
}

const CLUSTER_INFO: &[&str] = &["-n", "kube-public", "configmap/cluster-info"];

/// The kubeconfig of `cluster-info` with this CA.
fn cluster_info(lab: &Lab, ca: &str) {
    let text = lab.kubectl(NAME, "cp1", &["get", "-n", "kube-public", "configmap/cluster-info", "-o", "json"]);
    let object: Value = serde_json::from_str(&text).unwrap();
    let config = object["data"]["kubeconfig"].as_str().unwrap();
    let field = "certificate-authority-data: ";
    let old = config.split(field).nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap();
    let config = config.replace(old, &base64(ca));
    patch(lab, CLUSTER_INFO, &serde_json::json!({ "data": { "kubeconfig": config } }));
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

/// A webhook whose server is cp1's API server, which presents a certificate by the cluster's CA.
fn webhook(lab: &Lab, ca: &str) {
    let address = lab.cluster(NAME).plan().first().address();
    let ca = base64(&read(lab, "cp1", ca));
    lab.apply(
        NAME,
        "cp1",
        &format!(
            "apiVersion: admissionregistration.k8s.io/v1\nkind: ValidatingWebhookConfiguration\n\
             metadata: {{name: policy}}\nwebhooks:\n\
             - name: check.policy.test\n  admissionReviewVersions: [v1]\n  sideEffects: None\n  failurePolicy: Ignore\n\
             \x20 clientConfig: {{url: 'https://{address}:6443/check', caBundle: {ca}}}\n\
             \x20 rules: [{{apiGroups: [nothing.test], apiVersions: [v1], operations: [CREATE], resources: [none]}}]\n"
        ),
    );
}

/// An API that is said to be answered by the Service of the API servers, which only nodes reach.
fn api_service(lab: &Lab, ca: &str) {
    let ca = base64(&read(lab, "cp1", ca));
    lab.apply(
        NAME,
        "cp1",
        &format!(
            "apiVersion: apiregistration.k8s.io/v1\nkind: APIService\nmetadata: {{name: v1.sea.test}}\n\
             spec: {{group: sea.test, version: v1, groupPriorityMinimum: 100, versionPriority: 100, caBundle: {ca}, \
             service: {{namespace: default, name: kubernetes}}}}\n"
        ),
    );
}

/// TLS Secrets that share a certificate, the last of them without its key, and an Ingress that serves by one.
fn tls_secrets(lab: &Lab) {
    let [certificate, key, other] =
        ["apiserver.crt", "apiserver.key", "front-proxy-client.key"].map(|file| base64(&read(lab, "cp1", file)));
    let secret = |name: String, key: &str| {
        serde_json::json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": { "name": name },
            "data": { "tls.crt": certificate, "tls.key": key },
        })
    };
    let good = (0..500).map(|number| secret(format!("www-{number}"), &key));
    let items: Vec<_> = good.chain([secret("www-swapped".to_owned(), &other)]).collect();
    let list = serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": items });
    fs::write(lab.host(NAME, "cp1").kubernetes().join("secrets.json"), list.to_string()).unwrap();
    lab.kubectl(NAME, "cp1", &["create", "-f", "/etc/kubernetes/secrets.json"]);
    lab.apply(
        NAME,
        "cp1",
        "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: www}\n\
         spec:\n  defaultBackend: {service: {name: kubernetes, port: {number: 443}}}\n\
         \x20 tls: [{hosts: [kubernetes.default.svc, elsewhere.test], secretName: www-0}]\n",
    );
}

const DEFECTS: &[Defect] = &[
    Defect {
        what: "the API server's certificate is renewed: it loads the new one by itself",
        spoil: |lab| kubeadm(lab, "cp1", &["certs", "renew", "apiserver"]),
        seen: &[(From::Host("cp1"), &[])],
        mend: |_| {},
    },
    Defect {
        what: "the folder of the PKI was put aside and copied back, and then the certificate was renewed: the API \
               server is not restarted",
        spoil: |lab| {
            let folder = pki(lab, "cp1", "");
            let aside = lab.host(NAME, "cp1").folder().join("aside");
            fs::rename(&folder, &aside).unwrap();
            let copied = ran(std::process::Command::new("cp").arg("-a").args([&aside, &folder]));
            assert_eq!(copied.code, Some(0), "{}", copied.err);
            kubeadm(lab, "cp1", &["certs", "renew", "apiserver"]);
        },
        seen: &[
            (From::Host("cp1"), &[("pki.live.served-is-file", "was not restarted")]),
            (From::Host("cp2"), &[]),
            (From::Machine, &[]),
        ],
        mend: |lab| restart(lab, "cp1", "kube-apiserver"),
    },
    Defect {
        what: "scheduler.conf was renewed, and the scheduler is not restarted",
        spoil: |lab| kubeadm(lab, "cp2", &["certs", "renew", "scheduler.conf"]),
        seen: &[(From::Host("cp2"), &[("pki.file.process-older", "scheduler.conf was changed after kube-scheduler")])],
        mend: |lab| restart(lab, "cp2", "kube-scheduler"),
    },
    Defect {
        what: "one control plane has another key for the tokens of service accounts",
        spoil: |lab| {
            for file in ["sa.key", "sa.pub"] {
                fs::remove_file(pki(lab, "cp3", file)).unwrap();
            }
            kubeadm(lab, "cp3", &["init", "phase", "certs", "sa"]);
        },
        seen: &[
            (
                From::Host("cp3"),
                &[
                    ("pki.file.process-older", "sa.pub was changed after kube-apiserver"),
                    ("pki.api.token-files", "by the key in /etc/kubernetes/pki/sa"),
                ],
            ),
            (
                From::Recordings,
                &[
                    ("pki.file.process-older", "sa.key"),
                    ("pki.cluster.service-account-key", "does not have the same key of service accounts"),
                    ("pki.cluster.service-account-public-key", "does not have the same set of public keys"),
                ],
            ),
        ],
        mend: |lab| {
            copy(lab, "cp2", "cp3", &["sa.key", "sa.pub"]);
            restart(lab, "cp3", "kube-apiserver");
            restart(lab, "cp3", MANAGER);
        },
    },
    Defect {
        what: "etcd takes clients of the cluster's CA, too",
        spoil: |lab| {
            let both = read(lab, "cp2", "etcd/ca.crt") + &read(lab, "cp2", "ca.crt");
            fs::write(pki(lab, "cp2", "etcd/both.crt"), both).unwrap();
            set(lab, "cp2", "etcd", "trusted-ca-file", "etcd/both.crt");
        },
        seen: &[
            (
                From::Host("cp2"),
                &[
                    ("pki.live.etcd-ca", "takes clients of CN=kubernetes"),
                    ("pki.ca.etcd-own", "any of them can read and write etcd"),
                ],
            ),
            (From::Machine, &[("pki.live.etcd-ca", "takes clients of CN=kubernetes")]),
        ],
        mend: |lab| {
            set(lab, "cp2", "etcd", "trusted-ca-file", "etcd/ca.crt");
            fs::remove_file(pki(lab, "cp2", "etcd/both.crt")).unwrap();
        },
    },
    Defect {
        what: "a webhook is verified by the CA that signs its server",
        spoil: |lab| webhook(lab, "ca.crt"),
        seen: &[(From::Machine, &[])],
        mend: |_| {},
    },
    Defect {
        what: "a webhook's caBundle is another CA",
        spoil: |lab| webhook(lab, "front-proxy-ca.crt"),
        seen: &[
            (
                From::Machine,
                &[("pki.api.ca-bundle-served", "of ValidatingWebhookConfiguration/policy, webhook check.policy.test")],
            ),
            (From::Host("cp3"), &[("pki.api.ca-bundle-served", "is not signed by the caBundle")]),
        ],
        mend: |lab| drop(lab.kubectl(NAME, "cp1", &["delete", "validatingwebhookconfiguration", "policy"])),
    },
    Defect {
        what: "an aggregated API is verified by the CA that signs its server",
        spoil: |lab| api_service(lab, "ca.crt"),
        seen: &[(From::Host("worker1"), &[])],
        mend: |_| {},
    },
    Defect {
        what: "an aggregated API's caBundle is another CA",
        spoil: |lab| api_service(lab, "front-proxy-ca.crt"),
        seen: &[
            (From::Host("worker1"), &[("pki.api.ca-bundle-served", "kubernetes.default.svc serves is not signed")]),
            // A control plane that is no node does not reach a Service, and says so.
            (
                From::Host("cp1"),
                &[
                    ("pki.api.ca-bundle-served", "does not answer from here; ask from a node"),
                    ("pki.live.answers", "unreachable"),
                ],
            ),
        ],
        mend: |lab| drop(lab.kubectl(NAME, "cp1", &["delete", "apiservice", "v1.sea.test"])),
    },
    Defect {
        what: "of so many TLS Secrets that they take two pages the last has another's key, and an Ingress serves a \
               host by one that is not for it",
        spoil: tls_secrets,
        seen: &[(
            From::Machine,
            &[
                ("pki.api.tls-pair", "the key in Secret default/www-swapped is not that of its certificate"),
                ("pki.api.tls-hosts", "elsewhere.test"),
                ("pki.api.tls-used", "no Ingress, Gateway, pod or template names Secret default/www-1"),
            ],
        )],
        mend: |lab| {
            lab.kubectl(NAME, "cp1", &["delete", "ingress", "www"]);
            lab.kubectl(NAME, "cp1", &["delete", "--raw", "/api/v1/namespaces/default/secrets"]);
        },
    },
    Defect {
        what: "a kubeconfig with its client key lies in a ConfigMap",
        spoil: |lab| {
            lab.kubectl(NAME, "cp1", &["create", "configmap", "admin", "--from-file=/etc/kubernetes/admin.conf"]);
        },
        seen: &[(
            From::Machine,
            &[(
                "pki.api.config-map-keys",
                "ConfigMap default/admin holds the client key of a kubeconfig in admin.conf",
            )],
        )],
        mend: |lab| drop(lab.kubectl(NAME, "cp1", &["delete", "configmap", "admin"])),
    },
    Defect {
        what: "the API server's user is not bound to the role that may ask kubelets",
        spoil: |lab| {
            lab.kubectl(NAME, "cp1", &["delete", "clusterrolebinding", "kubeadm:apiserver-kubelet-client"]);
        },
        seen: &[
            (From::Host("cp1"), &[("pki.api.kubelet-client", "the right to get and create nodes/proxy")]),
            // What the API server shows to kubelets is in its files alone.
            (From::Machine, &[]),
        ],
        mend: |lab| {
            let (role, user) = ("--clusterrole=system:kubelet-api-admin", "--user=kube-apiserver-kubelet-client");
            lab.kubectl(NAME, "cp1", &["create", "clusterrolebinding", "kubeadm:apiserver-kubelet-client", role, user]);
        },
    },
    Defect {
        what: "cluster-info has a CA that is not the cluster's",
        spoil: |lab| cluster_info(lab, &read(lab, "cp1", "front-proxy-ca.crt")),
        seen: &[
            (From::Machine, &[("pki.api.cluster-info", "cannot be verified")]),
            (From::Host("cp2"), &[("pki.api.cluster-info", "cannot be verified")]),
        ],
        mend: |lab| cluster_info(lab, &read(lab, "cp1", "ca.crt")),
    },
    Defect {
        what: "cluster-info was changed, and nobody signs it: no controller manager runs",
        spoil: |lab| {
            stop_managers(lab, &["cp1", "cp2", "cp3"]);
            let both = read(lab, "cp1", "ca.crt") + &read(lab, "cp1", "front-proxy-ca.crt");
            cluster_info(lab, &both);
        },
        seen: &[(From::Machine, &[("pki.api.cluster-info-signed", "is not good")])],
        mend: |lab| {
            cluster_info(lab, &read(lab, "cp1", "ca.crt"));
            start_managers(lab, &["cp1", "cp2", "cp3"]);
        },
    },
    Defect {
        what: "a bootstrap token never expires",
        spoil: |lab| kubeadm(lab, "cp1", &["token", "create", "abcdef.0123456789abcdef", "--ttl", "0"]),
        seen: &[(From::Machine, &[("pki.api.token-expiry", "token abcdef never expires")])],
        mend: |lab| kubeadm(lab, "cp1", &["token", "delete", "abcdef"]),
    },
    Defect {
        what: "a node's kubelet.conf has a CA that is not the cluster's",
        spoil: |lab| kubelet_conf(lab, "ca.crt", "front-proxy-ca.crt"),
        seen: &[(
            From::Host("worker1"),
            &[("pki.kubeconfig.ca", "kubelet.conf: by the CA in it the API server cannot be verified")],
        )],
        mend: |lab| kubelet_conf(lab, "front-proxy-ca.crt", "ca.crt"),
    },
    Defect {
        what: "the controller manager hands out a CA that is not the API servers'",
        spoil: |lab| {
            stop_managers(lab, &["cp1", "cp2"]);
            set(lab, "cp3", MANAGER, "root-ca-file", "front-proxy-ca.crt");
        },
        seen: &[
            (From::Machine, &[("pki.api.root-ca", "pods in namespace default")]),
            (
                From::Host("cp3"),
                &[
                    ("pki.api.root-ca", "pods in namespace default"),
                    ("pki.chain.wrong-ca", "verified by /etc/kubernetes/pki/front-proxy-ca.crt"),
                    ("pki.live.trusted", "is not verified by /etc/kubernetes/pki/front-proxy-ca.crt"),
                ],
            ),
        ],
        mend: |lab| {
            set(lab, "cp3", MANAGER, "root-ca-file", "ca.crt");
            start_managers(lab, &["cp1", "cp2"]);
        },
    },
    Defect {
        what: "the front-proxy CA was replaced by one of the same name on one control plane",
        spoil: |lab| {
            for file in ["front-proxy-ca.crt", "front-proxy-ca.key", "front-proxy-client.crt", "front-proxy-client.key"]
            {
                fs::remove_file(pki(lab, "cp1", file)).unwrap();
            }
            kubeadm(lab, "cp1", &["init", "phase", "certs", "front-proxy-ca"]);
            kubeadm(lab, "cp1", &["init", "phase", "certs", "front-proxy-client"]);
        },
        seen: &[
            (
                From::Host("cp1"),
                &[(
                    "pki.api.extension-authentication",
                    "has a CA that is not in /etc/kubernetes/pki/front-proxy-ca.crt",
                )],
            ),
            (
                From::Host("cp2"),
                &[(
                    "pki.api.extension-authentication",
                    "has a CA that is not in /etc/kubernetes/pki/front-proxy-ca.crt",
                )],
            ),
            (From::Recordings, &[("pki.cluster.front-proxy-ca", "does not have the same CA of the front proxy")]),
        ],
        mend: |lab| {
            copy(lab, "cp2", "cp1", &["front-proxy-ca.crt", "front-proxy-ca.key"]);
            for file in ["front-proxy-client.crt", "front-proxy-client.key"] {
                fs::remove_file(pki(lab, "cp1", file)).unwrap();
            }
            kubeadm(lab, "cp1", &["init", "phase", "certs", "front-proxy-client"]);
            restart(lab, "cp1", "kube-apiserver");
            lab.kubectl(NAME, "cp1", &["delete", "-n", "kube-system", "configmap/extension-apiserver-authentication"]);
        },
    },
];

/// Replaces the CA in worker1's kubelet.conf.
fn kubelet_conf(lab: &Lab, from: &str, to: &str) {
    let file = lab.host(NAME, "worker1").kubernetes().join("kubelet.conf");
    let text = fs::read_to_string(&file).unwrap();
    let [from, to] = [from, to].map(|name| base64(&read(lab, "cp1", name)));
    assert!(text.contains(&from));
    fs::write(&file, text.replace(&from, &to)).unwrap();
}

/// Every input audits as clean as kubeadm's defaults let it.
fn clean(lab: &Lab, passed: &[&str]) {
    let hosts = ["cp1", "cp2", "cp3", "worker1"];
    let seats =
        hosts.map(From::Host).into_iter().chain(hosts.map(From::Alone)).chain([From::Machine, From::Recordings]);
    for from in seats {
        assert_eq!(finds(lab, from, &[], passed).code, Some(0), "{from:?}");
    }
}

/// Has the kubelet ask for its serving certificate, and approves it.
fn kubelet_asks(lab: &Lab) {
    let config = lab.host(NAME, "worker1").var().join("lib/kubelet/config.yaml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text + "serverTLSBootstrap: true\n").unwrap();
    lab.host(NAME, "worker1").client().restart("kubelet").unwrap();
    let request = until("the kubelet asks", || {
        let requests = lab.get(NAME, "cp1", "/apis/certificates.k8s.io/v1/certificatesigningrequests");
        let asks = |one: &&Value| one["spec"]["signerName"] == "kubernetes.io/kubelet-serving";
        let found = requests["items"].as_array().unwrap().iter().find(asks);
        found.map(|one| one["metadata"]["name"].as_str().unwrap().to_owned()).ok_or_else(|| requests.to_string())
    });
    lab.kubectl(NAME, "cp1", &["certificate", "approve", &request]);
}

pub(super) fn defects(lab: &Lab) {
    lab.up(NAME, SPEC);
    let admin = lab.host(NAME, "cp1").kubernetes().join("admin.conf");
    for host in ["cp1", "cp2", "cp3", "worker1"] {
        fs::copy(&admin, lab.host(NAME, host).var().join("admin.conf")).unwrap();
    }
    clean(lab, &[CBC, SELF_SIGNED]);

    // What kubeadm leaves to the user: a kubelet whose certificate can be verified.
    let passed = [CBC];
    for from in [From::Alone("worker1"), From::Host("cp1"), From::Machine] {
        let audit = finds(lab, from, &[(SELF_SIGNED, "nobody can verify it")], &passed);
        assert_eq!(audit.code, Some(0), "it fails no run: {audit:?}");
    }
    kubelet_asks(lab);
    clean(lab, &passed);

    for Defect { what, spoil, seen, mend } in DEFECTS {
        println!("    {what}");
        spoil(lab);
        for (from, wanted) in *seen {
            let audit = finds(lab, *from, wanted, &passed);
            for (id, part) in *wanted {
                println!("        {from:?}: {id}: {part}");
            }
            assert_eq!(audit.code == Some(0), wanted.is_empty(), "{from:?}: {audit:#?}");
        }
        mend(lab);
        for (from, _) in *seen {
            finds(lab, *from, &[], &passed);
        }
    }
}

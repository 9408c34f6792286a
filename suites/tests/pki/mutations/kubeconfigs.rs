//! kubeconfigs and the users that they are.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use seaworthy_checks::KubernetesVersion;
use serde_json::json;

use super::{Row, row};
use crate::forge::{self, Authority};
use crate::tree::Tree;

pub(super) fn rows() -> Vec<Row> {
    vec![
        row("a kubeconfig is no YAML", &["pki.kubeconfig.parses"], |tree| {
            tree.write("etc/kubernetes/admin.conf", "a: [b\n")
        }),
        row("the current context leads nowhere", &["pki.kubeconfig.parses"], |tree| {
            tree.kubeconfig("scheduler", |config| config["current-context"] = "other".into());
        }),
        row("a kubeconfig trusts another CA", &["pki.kubeconfig.ca"], |tree| {
            let (other, _) = Authority::new(&{
                let mut params = forge::leaf("kubernetes", None, None);
                params.not_after = forge::days(3000);
                params
            });
            tree.kubeconfig("controller-manager", |config| {
                config["clusters"][0]["cluster"]["certificate-authority-data"] = STANDARD.encode(other.pem).into();
            });
        }),
        row("a kubeconfig dials a name with a dot behind it", &[], |tree| {
            tree.replace(
                "etc/kubernetes/admin.conf",
                "https://api.example.test:6443",
                "https://api.example.test.:6443",
            );
        }),
        row("a kubeconfig dials a name that is not served", &["pki.kubeconfig.server"], |tree| {
            tree.kubeconfig("admin", |config| {
                config["clusters"][0]["cluster"]["server"] = "https://elsewhere.test:6443".into()
            });
        }),
        row("a kubeconfig believes anyone", &["pki.kubeconfig.verifies"], |tree| {
            tree.kubeconfig("scheduler", crate::tree::unverified);
        }),
        row("a kubeconfig has a CA and believes anyone", &["pki.kubeconfig.parses"], |tree| {
            tree.kubeconfig("scheduler", |config| {
                config["clusters"][0]["cluster"]["insecure-skip-tls-verify"] = true.into()
            });
        }),
        row("a kubeconfig speaks in the clear", &["pki.kubeconfig.verifies"], |tree| {
            tree.kubeconfig("scheduler", |config| {
                config["clusters"][0]["cluster"]["server"] = "http://10.0.0.11:8080".into()
            });
        }),
        row("a component has a token", &["pki.kubeconfig.token"], |tree| {
            tree.kubeconfig("scheduler", |config| config["users"][0]["user"] = json!({ "token": "0123456789" }));
        }),
        row("a context leads nowhere", &["pki.kubeconfig.stale"], |tree| {
            tree.kubeconfig("admin", |config| {
                let contexts = config["contexts"].as_array_mut().unwrap();
                contexts.push(json!({ "name": "old", "context": { "cluster": "gone", "user": "gone" } }));
            });
        }),
        row("kubelet.conf has a certificate of its own", &["pki.kubeconfig.rotates"], |tree| {
            let (certificate, key) = {
                let mut params =
                    forge::leaf("system:node:cp1", Some("system:nodes"), Some(seaworthy_provision::pki::Usage::Client));
                params.not_after = forge::days(200);
                let key = forge::key();
                (tree.authority("ca").sign(&params, &key), key.serialize_pem())
            };
            tree.kubeconfig("kubelet", |config| {
                config["users"][0]["user"] = json!({
                    "client-certificate-data": STANDARD.encode(certificate), "client-key-data": STANDARD.encode(key),
                });
            });
        }),
        row("no context is the current one", &["pki.kubeconfig.parses"], |tree| {
            tree.kubeconfig("scheduler", |config| drop(config.as_object_mut().unwrap().remove("current-context")));
        }),
        row("the current context has an unknown cluster", &["pki.kubeconfig.parses"], |tree| {
            tree.kubeconfig("scheduler", |config| config["contexts"][0]["context"]["cluster"] = "gone".into());
        }),
        row("the current context has an unknown user", &["pki.kubeconfig.credential"], |tree| {
            tree.kubeconfig("scheduler", |config| config["contexts"][0]["context"]["user"] = "gone".into());
        }),
        row("a kubeconfig's CA is no PEM", &["pki.kubeconfig.parses"], |tree| {
            data(tree, |ca| STANDARD.encode(forge::der(&ca)));
        }),
        row("a kubeconfig's CA is in base64 twice", &["pki.kubeconfig.parses"], |tree| {
            data(tree, |ca| STANDARD.encode(STANDARD.encode(ca)));
        }),
        row("a kubeconfig's CA is not in base64", &["pki.kubeconfig.parses"], |tree| data(tree, |ca| ca)),
        row("a kubeconfig's CA has another label", &["pki.kubeconfig.parses"], |tree| {
            data(tree, |ca| STANDARD.encode(ca.replace("CERTIFICATE", "TRUSTED CERTIFICATE")));
        }),
        row("a kubeconfig's CA stands behind garbage", &["pki.file.passed-over"], |tree| {
            data(tree, |ca| STANDARD.encode(forge::pem("CERTIFICATE", b"garbage") + &ca));
        }),
        row("a kubeconfig has its CA twice, as data and as a file", &["pki.kubeconfig.parses"], |tree| {
            tree.kubeconfig("scheduler", |config| {
                config["clusters"][0]["cluster"]["certificate-authority"] = "/etc/kubernetes/pki/ca.crt".into();
            });
        }),
        row("two clusters of a kubeconfig have one name", &["pki.kubeconfig.parses"], |tree| {
            tree.kubeconfig("scheduler", |config| {
                let first = config["clusters"][0].clone();
                config["clusters"].as_array_mut().unwrap().push(first);
            });
        }),
        row("a kubeconfig has no server", &["pki.kubeconfig.parses"], |tree| {
            tree.kubeconfig("scheduler", |config| config["clusters"][0]["cluster"]["server"] = "".into());
        }),
        row("a kubeconfig dials an IPv6 address without brackets", &["pki.kubeconfig.parses"], |tree| {
            tree.kubeconfig("scheduler", |config| {
                config["clusters"][0]["cluster"]["server"] = "https://fd00::1:6443".into()
            });
        }),
        row("a kubeconfig has a string in place of a flag", &["pki.kubeconfig.parses"], |tree| {
            tree.kubeconfig("scheduler", |config| {
                config["clusters"][0]["cluster"]["insecure-skip-tls-verify"] = "true".into()
            });
        }),
        row("a kubeconfig does not say its kind", &[], |tree| {
            tree.kubeconfig("scheduler", |config| {
                config.as_object_mut().unwrap().retain(|member, _| !matches!(member.as_str(), "kind" | "apiVersion"));
            });
        }),
        row("a kubeconfig has a key twice and a second document", &[], |tree| {
            let text = tree.read("etc/kubernetes/scheduler.conf");
            tree.write("etc/kubernetes/scheduler.conf", format!("current-context: other\n{text}---\nkind: Pod\n"));
        }),
        row("a user has no key", &["pki.kubeconfig.parses"], |tree| {
            tree.kubeconfig("scheduler", |config| {
                config["users"][0]["user"].as_object_mut().unwrap().remove("client-key-data");
            });
        }),
        row("a kubeconfig has the key of another", &["pki.key.pair"], |tree| {
            let other = forge::key().serialize_pem();
            tree.kubeconfig("scheduler", |config| {
                config["users"][0]["user"]["client-key-data"] = STANDARD.encode(other).into()
            });
        }),
        row("the scheduler is of etcd's CA", &["pki.chain.wrong-ca"], |tree| {
            let params = forge::leaf("system:kube-scheduler", None, Some(seaworthy_provision::pki::Usage::Client));
            let key = forge::key();
            let certificate = tree.authority("etcd/ca").sign(&params, &key);
            tree.kubeconfig("scheduler", |config| {
                config["users"][0]["user"] = json!({
                    "client-certificate-data": STANDARD.encode(certificate),
                    "client-key-data": STANDARD.encode(key.serialize_pem()),
                });
            });
        }),
        row("a file that a kubeconfig names is missing", &["pki.file.present"], |tree| {
            tree.kubeconfig("admin", |config| {
                let cluster = config["clusters"][0]["cluster"].as_object_mut().unwrap();
                cluster.remove("certificate-authority-data");
                cluster.insert("certificate-authority".to_owned(), "gone.crt".into());
            });
        }),
        row("the controller manager is another user", &["pki.user.controller-manager"], |tree| {
            tree.identity("controller-manager", "controller-manager", None, |_| {});
        }),
        row("the scheduler is another user", &["pki.user.scheduler"], |tree| {
            tree.identity("scheduler", "kube-scheduler", None, |_| {})
        }),
        row("the kubelet is another node", &["pki.user.kubelet"], |tree| {
            tree.kubelet("system:node:cp9", &["system:nodes"])
        }),
        row("the kubelet is no node", &["pki.user.kubelet"], |tree| tree.kubelet("cp1", &["system:nodes"])),
        row("the kubelet is of no group", &["pki.user.kubelet-group"], |tree| tree.kubelet("system:node:cp1", &[])),
        row("the kubelet is of one group more", &["pki.user.kubelet-group"], |tree| {
            tree.kubelet("system:node:cp1", &["system:nodes", "ops"])
        }),
        row("the administrator's kubeconfig names no CA", &["pki.kubeconfig.ca"], |tree| {
            tree.kubeconfig("admin", |config| {
                config["clusters"][0]["cluster"].as_object_mut().unwrap().remove("certificate-authority-data");
            })
        }),
        row("the kubelet is beyond RBAC", &["pki.user.kubelet-group"], |tree| {
            tree.kubelet("system:node:cp1", &["system:nodes", "system:masters"])
        }),
        row("the administrator is of no group", &["pki.user.admin"], |tree| {
            tree.identity("admin", "kubernetes-admin", None, |_| {})
        }),
        row("the administrator is beyond RBAC", &["pki.user.masters"], |tree| {
            tree.identity("admin", "kubernetes-admin", Some("system:masters"), |_| {})
        }),
        row("the administrators are as before 1.29", &[], |tree| {
            tree.identity("admin", "kubernetes-admin", Some("system:masters"), |_| {});
            kubelet_client(tree, "kube-apiserver-kubelet-client", Some("system:masters"));
        })
        .by(|profile| profile.kubernetes = KubernetesVersion(28)),
        row("the API server is beyond RBAC for kubelets", &["pki.user.masters"], |tree| {
            kubelet_client(tree, "kube-apiserver-kubelet-client", Some("system:masters"));
        }),
        row("the API server is nobody to kubelets", &["pki.user.apiserver-kubelet"], |tree| {
            kubelet_client(tree, "nobody", None)
        }),
        row("the front proxy's client is not listed", &["pki.user.front-proxy"], |tree| {
            tree.reissue("front-proxy-client", |params| {
                params.distinguished_name = rcgen::DistinguishedName::new();
                params.distinguished_name.push(rcgen::DnType::CommonName, "aggregator");
            });
        }),
    ]
}

/// Writes the CA of the scheduler's kubeconfig otherwise.
fn data(tree: &Tree, write: impl FnOnce(String) -> String) {
    let ca = tree.read("etc/kubernetes/pki/ca.crt");
    tree.kubeconfig("scheduler", |config| {
        config["clusters"][0]["cluster"]["certificate-authority-data"] = write(ca).into();
    });
}

/// Gives the API server another certificate for kubelets.
fn kubelet_client(tree: &Tree, user: &str, group: Option<&str>) {
    tree.reissue("apiserver-kubelet-client", |params| {
        params.distinguished_name = forge::leaf(user, group, None).distinguished_name;
    });
}

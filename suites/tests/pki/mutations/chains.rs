//! Chains: the wrong CA, the old CA, CAs that may not, bundles that hold too much.

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, KeyIdMethod, NameConstraints,
};
use seaworthy_checks::KubernetesVersion;

use super::files::APISERVER;
use super::{Row, row};
use crate::forge::{self, Authority};
use crate::tree::{Base, PKI, Tree};

fn by(base: &'static str, ca: &'static str) -> impl Fn(&Tree) {
    move |tree| tree.reissue_by(base, &tree.authority(ca), |_| {})
}

/// The front proxy's CA as a root with an intermediate below it, which signs the client.
fn below(tree: &Tree, root: impl FnOnce(&mut CertificateParams), intermediate: impl FnOnce(&mut CertificateParams)) {
    let authority = tree.new_ca("front-proxy-ca", root);
    let mut params = forge::leaf("front-proxy-intermediate", None, None);
    params.use_authority_key_identifier_extension = true;
    params.not_after = forge::days(3000);
    intermediate(&mut params);
    let (issuer, _) = authority.intermediate(&params);
    tree.reissue_by("front-proxy-client", &issuer, |_| {});
    let leaf = tree.read(&format!("{PKI}/front-proxy-client.crt"));
    tree.write(&format!("{PKI}/front-proxy-client.crt"), format!("{leaf}{}", issuer.pem));
}

/// Policy constraints of the front proxy's client: one must be known from the very first certificate on.
fn policy(tree: &Tree) {
    tree.reissue("front-proxy-client", |params| {
        params.custom_extensions.push(CustomExtension::from_oid_content(&[2, 5, 29, 36], vec![0x30, 3, 0x80, 1, 0]));
    });
}

/// It has expired.
fn of_old(params: &mut CertificateParams) {
    (params.not_before, params.not_after) = (forge::days(-3650), forge::days(-1));
}

fn add(tree: &Tree, base: &str, more: &str) {
    let path = format!("{PKI}/{base}.crt");
    let text = tree.read(&path);
    tree.write(&path, format!("{text}{more}"));
}

pub(super) fn rows() -> Vec<Row> {
    vec![
        row("pods get the front-proxy CA", &["pki.chain.wrong-ca"], |tree| {
            let manifest = "etc/kubernetes/manifests/kube-controller-manager.yaml";
            let flag = "--root-ca-file=/etc/kubernetes/pki/";
            tree.replace(manifest, &format!("{flag}ca.crt"), &format!("{flag}front-proxy-ca.crt"));
        }),
        row("the API server's certificate is of the front proxy's CA", &["pki.chain.wrong-ca"], |tree| {
            by("apiserver", "front-proxy-ca")(tree)
        }),
        row("the front proxy's client is of the cluster's CA", &["pki.chain.wrong-ca"], |tree| {
            by("front-proxy-client", "ca")(tree)
        }),
        row("the client for etcd is of the cluster's CA", &["pki.chain.wrong-ca"], |tree| {
            by("apiserver-etcd-client", "ca")(tree)
        }),
        row("the client for kubelets is of etcd's CA", &["pki.chain.wrong-ca"], |tree| {
            by("apiserver-kubelet-client", "etcd/ca")(tree)
        }),
        row("etcd's certificate is of the cluster's CA", &["pki.chain.wrong-ca"], |tree| by("etcd/server", "ca")(tree)),
        row("etcd's peer certificate is of the cluster's CA", &["pki.chain.wrong-ca"], |tree| {
            by("etcd/peer", "ca")(tree)
        }),
        row("the API server's certificate is of nobody's CA", &["pki.chain.wrong-ca"], |tree| {
            let (unknown, _) = Authority::new(&forge::leaf("unknown-ca", None, None));
            tree.reissue_by("apiserver", &unknown, |params| params.not_after = forge::days(300));
        }),
        row("the API server verifies etcd by the cluster's CA", &["pki.chain.wrong-ca"], |tree| {
            tree.replace(
                APISERVER,
                "--etcd-cafile=/etc/kubernetes/pki/etcd/ca.crt",
                "--etcd-cafile=/etc/kubernetes/pki/ca.crt",
            );
        }),
        row("the API server knows clients by etcd's CA", &["pki.ca.signing-trusted"], |tree| {
            tree.replace(
                APISERVER,
                "--client-ca-file=/etc/kubernetes/pki/ca.crt",
                "--client-ca-file=/etc/kubernetes/pki/etcd/ca.crt",
            );
        }),
        row("the API server knows clients by the front proxy's CA", &["pki.ca.signing-trusted"], |tree| {
            let flag = "--client-ca-file=/etc/kubernetes/pki/";
            tree.replace(APISERVER, &format!("{flag}ca.crt"), &format!("{flag}front-proxy-ca.crt"));
        }),
        row("etcd knows clients by the cluster's CA, too", &["pki.ca.etcd-own"], |tree| {
            add(tree, "etcd/ca", &tree.read(&format!("{PKI}/ca.crt")));
        }),
        row("a chain is reversed", &["pki.chain.order"], |tree| {
            below(tree, |_| {}, |_| {});
            let path = format!("{PKI}/front-proxy-client.crt");
            let chain = tree.read(&path);
            let at = chain.rfind("-----BEGIN").unwrap();
            tree.write(&path, format!("{}{}", &chain[at..], &chain[..at]));
        }),
        row("a chain is reversed, and the root leads", &["pki.chain.order"], |tree| {
            let path = format!("{PKI}/front-proxy-client.crt");
            let (root, leaf) = (tree.read(&format!("{PKI}/front-proxy-ca.crt")), tree.read(&path));
            tree.write(&path, format!("{root}{leaf}"));
        }),
        row("the front proxy's CA was rotated", &["pki.chain.ca-rotated"], |tree| {
            tree.new_ca("front-proxy-ca", |_| {});
        }),
        row("etcd's CA was rotated", &["pki.chain.ca-rotated"], |tree| {
            tree.new_ca("etcd/ca", |_| {});
        }),
        row("the cluster's CA was rotated, and nothing else", &["pki.chain.ca-rotated", "pki.kubeconfig.ca"], |tree| {
            tree.new_ca("ca", |_| {});
        }),
        row("the root above an intermediate CA was rotated", &["pki.chain.ca-rotated"], |tree| {
            below(tree, |_| {}, |_| {});
            tree.new_ca("front-proxy-ca", |_| {});
        }),
        row("the intermediate CA behind the certificate was rotated", &["pki.chain.ca-rotated"], |tree| {
            let authority = tree.new_ca("front-proxy-ca", |_| {});
            let mut params = forge::leaf("front-proxy-intermediate", None, None);
            params.use_authority_key_identifier_extension = true;
            let ((signer, _), (next, _)) = (authority.intermediate(&params), authority.intermediate(&params));
            tree.reissue_by("front-proxy-client", &signer, |_| {});
            add(tree, "front-proxy-client", &next.pem);
        }),
        row(
            "the CA was made again by openssl, which writes its name in another encoding",
            &["pki.chain.ca-rotated"],
            |tree| {
                tree.new_ca("front-proxy-ca", |params| {
                    params.distinguished_name = rcgen::DistinguishedName::new();
                    let name = rcgen::DnValue::Utf8String("front-proxy-ca".to_owned());
                    params.distinguished_name.push(rcgen::DnType::CommonName, name);
                });
            },
        ),
        row(
            "nobody knows the CA, and others of its name stand behind it",
            &["pki.chain.wrong-ca", "pki.chain.root"],
            |tree| {
                let namesake = || Authority::new(&forge::leaf("unknown-ca", None, None)).0;
                let (signer, other) = (namesake(), namesake());
                tree.reissue_by("front-proxy-client", &signer, |_| {});
                add(tree, "front-proxy-client", &format!("{}{}", other.pem, signer.pem));
            },
        ),
        row("the front proxy's CA was rotated to a key of another kind", &["pki.chain.ca-rotated"], |tree| {
            tree.new_ca("front-proxy-ca", |_| {});
        })
        .of(Base::Rsa),
        row("a certificate was changed", &["pki.chain.signature"], |tree| {
            let path = "etc/kubernetes/pki/front-proxy-client.crt";
            tree.write(path, forge::edit(&tree.read(path), |members| members[1] = forge::wrap(0x02, &[0x11, 0x22])));
        }),
        row("the intermediate CA is missing behind the certificate", &["pki.chain.intermediate"], |tree| {
            let chain = tree.read("etc/kubernetes/pki/ca.crt");
            let root = &chain[chain.rfind("-----BEGIN").unwrap()..];
            tree.write("etc/kubernetes/pki/root.crt", root);
            tree.replace(
                "etc/kubernetes/manifests/kube-controller-manager.yaml",
                "--root-ca-file=/etc/kubernetes/pki/ca.crt",
                "--root-ca-file=/etc/kubernetes/pki/root.crt",
            );
            let text = tree.read("etc/kubernetes/pki/apiserver.crt");
            tree.write("etc/kubernetes/pki/apiserver.crt", &text[..text.rfind("-----BEGIN").unwrap()]);
        })
        .of(Base::Intermediate),
        row("a chain in the wrong order, root and all", &["pki.chain.order", "pki.chain.root"], |tree| {
            let chain = tree.read("etc/kubernetes/pki/ca.crt");
            let at = chain.rfind("-----BEGIN").unwrap();
            let leaf = tree.read("etc/kubernetes/pki/apiserver.crt");
            let leaf = &leaf[..leaf.rfind("-----BEGIN").unwrap()];
            tree.write("etc/kubernetes/pki/apiserver.crt", format!("{leaf}{}{}", &chain[at..], &chain[..at]));
        })
        .of(Base::Intermediate),
        row("the root behind the certificate", &["pki.chain.root"], |tree| {
            add(tree, "front-proxy-client", &tree.read(&format!("{PKI}/front-proxy-ca.crt")));
        }),
        row("an issuer that is no CA", &["pki.chain.issuer-not-ca"], |tree| {
            below(
                tree,
                |_| {},
                |params| {
                    params.is_ca = IsCa::ExplicitNoCa;
                    params.not_after = forge::days(390);
                    params.key_usages.retain(|usage| *usage != rcgen::KeyUsagePurpose::KeyCertSign);
                },
            )
        }),
        row("a CA below one that allows none", &["pki.chain.path-length"], |tree| {
            below(tree, |params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)), |_| {});
        }),
        row("names outside of the CA's constraints", &["pki.chain.name-constraints"], |tree| {
            tree.recertify("etcd/ca", |params| {
                params.name_constraints = Some(NameConstraints {
                    permitted_subtrees: vec![GeneralSubtree::DnsName("example.test".to_owned())],
                    excluded_subtrees: Vec::new(),
                });
            });
        }),
        row("a CA for servers that signs a client", &["pki.chain.usage"], |tree| {
            tree.recertify("front-proxy-ca", |params| {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]
            });
        }),
        row("a CA with another key identifier", &["pki.chain.key-id"], |tree| {
            tree.recertify("front-proxy-ca", |params| {
                params.key_identifier_method = KeyIdMethod::PreSpecified(vec![7; 20])
            });
        }),
        row("a certificate that outlives its CA", &["pki.chain.outlives-ca"], |tree| {
            tree.recertify("front-proxy-ca", |params| params.not_after = forge::days(370));
            tree.reissue("front-proxy-client", |params| params.not_after = forge::days(390));
        }),
        row("a purpose that only Go takes for any", &["pki.chain.engines"], |tree| {
            // A list of purposes without a member.
            tree.reissue("front-proxy-client", |params| {
                params.extended_key_usages.clear();
                params.custom_extensions.push(CustomExtension::from_oid_content(&[2, 5, 29, 37], vec![0x30, 0]));
            });
        }),
        row("a CA that was issued anew with its name in other bytes", &["pki.chain.refused"], |tree| {
            tree.recertify("front-proxy-ca", |params| {
                params.distinguished_name = DistinguishedName::new();
                params.distinguished_name.push(DnType::CommonName, DnValue::Utf8String("front-proxy-ca".to_owned()));
            });
        }),
        row("a policy that is required and missing", &["pki.chain.refused"], policy),
        row(
            "a policy that is required and missing, before 1.33",
            &["pki.certificate.next-version", "pki.chain.engines"],
            policy,
        )
        .by(|profile| profile.kubernetes = KubernetesVersion(32)),
        row(
            "a CA with a key of 512 bits, before 1.33",
            &["pki.certificate.next-version", "pki.key.rsa-short"],
            |tree| {
                let mut params = forge::leaf("front-proxy-ca", None, None);
                params.not_after = forge::days(3000);
                let key = forge::der(include_str!("../keys/rsa-512.pub"));
                add(tree, "front-proxy-ca", &forge::edit(&Authority::new(&params).0.pem, |members| members[6] = key));
            },
        )
        .by(|profile| profile.kubernetes = KubernetesVersion(32)),
        row("a signature by an algorithm that nobody knows", &["pki.chain.refused"], |tree| {
            let path = format!("{PKI}/front-proxy-client.crt");
            tree.write(&path, forge::with_algorithm(&tree.read(&path), &[6, 3, 0x2a, 3, 4]));
        }),
        row("the front proxy's CA has expired", &["pki.chain.ca-expired"], |tree| {
            tree.recertify("front-proxy-ca", of_old);
        }),
        row(
            "the front proxy's CA has expired beside one that it has nothing to do with",
            &["pki.chain.ca-expired"],
            |tree| {
                tree.recertify("front-proxy-ca", of_old);
                let mut params = forge::leaf("another-ca", None, None);
                params.not_after = forge::days(3000);
                add(tree, "front-proxy-ca", &Authority::new(&params).0.pem);
            },
        ),
        row("the front proxy's CA has expired behind a new one of its name", &["pki.chain.ca-expired"], |tree| {
            tree.recertify("front-proxy-ca", of_old);
            let old = tree.read(&format!("{PKI}/front-proxy-ca.crt"));
            tree.new_ca("front-proxy-ca", |_| {});
            add(tree, "front-proxy-ca", &old);
        }),
        row("an intermediate CA has expired", &["pki.chain.ca-expired"], |tree| {
            below(tree, |_| {}, |params| (params.not_before, params.not_after) = (forge::days(-300), forge::days(-1)));
        }),
        row("a server's certificate among the CAs", &["pki.chain.bundle-not-ca"], |tree| {
            add(tree, "front-proxy-ca", &tree.read("etc/kubernetes/pki/apiserver.crt"));
        }),
        row("an old CA is still trusted", &["pki.chain.bundle-expired"], |tree| {
            let mut params = forge::leaf("front-proxy-ca-of-old", None, None);
            of_old(&mut params);
            add(tree, "front-proxy-ca", &Authority::new(&params).0.pem);
        }),
        row("a root that nobody knows beside the CA of API clients", &["pki.chain.bundle-stranger"], |tree| {
            stranger(tree, "a-company");
        }),
        row("a root that nobody knows beside the front proxy's CA", &["pki.chain.bundle-stranger"], |tree| {
            let (authority, _) = Authority::new(&root("a-company"));
            add(tree, "front-proxy-ca", &authority.pem);
        }),
        row("a public CA beside the CA of API clients", &["pki.chain.bundle-public"], |tree| {
            clients(tree, include_str!("../keys/isrg-root-x2.crt"));
        }),
        row("a public CA for etcd's peers", &["pki.chain.bundle-public"], |tree| {
            let etcd = tree.read(&format!("{PKI}/etcd/ca.crt"));
            tree.write(&format!("{PKI}/etcd/peers.crt"), etcd + include_str!("../keys/isrg-root-x2.crt"));
            let flag = "--peer-trusted-ca-file=/etc/kubernetes/pki/etcd/";
            tree.replace("etc/kubernetes/manifests/etcd.yaml", &format!("{flag}ca.crt"), &format!("{flag}peers.crt"));
        }),
        row("the world is trusted", &["pki.chain.bundle-crowded"], |tree| {
            for name in ["a", "b", "c", "d", "e", "f"] {
                let mut params = forge::leaf(name, None, None);
                params.not_after = forge::days(3000);
                add(tree, "front-proxy-ca", &Authority::new(&params).0.pem);
            }
        }),
        row("one CA for the front proxy and for clients", &["pki.ca.front-proxy-own"], |tree| {
            for end in ["crt", "key"] {
                tree.write(&format!("{PKI}/front-proxy-ca.{end}"), tree.read(&format!("{PKI}/ca.{end}")));
            }
            tree.reissue("front-proxy-client", |_| {});
        }),
        row("the front proxy's CA has the name of the cluster's", &["pki.ca.names"], |tree| {
            tree.new_ca("front-proxy-ca", |params| {
                params.distinguished_name = rcgen::DistinguishedName::new();
                params.distinguished_name.push(rcgen::DnType::CommonName, "kubernetes");
            });
            tree.reissue("front-proxy-client", |_| {});
        }),
        row("one CA for etcd and for clients", &["pki.ca.etcd-own"], |tree| {
            for end in ["crt", "key"] {
                tree.write(&format!("{PKI}/etcd/ca.{end}"), tree.read(&format!("{PKI}/ca.{end}")));
            }
            for base in ["etcd/server", "etcd/peer", "etcd/healthcheck-client", "apiserver-etcd-client"] {
                tree.reissue(base, |_| {});
            }
        }),
        row("a signer that nobody trusts", &["pki.ca.signing-trusted"], |tree| signer(tree, "other-signer")),
        row("a signer that has the name of the CA and not its key", &["pki.ca.signing-trusted"], |tree| {
            signer(tree, "kubernetes")
        }),
    ]
}

fn root(name: &str) -> CertificateParams {
    let mut params = forge::leaf(name, None, None);
    params.not_after = forge::days(3000);
    params
}

/// The API server knows its clients by the cluster's CA and by what is in this text.
pub(crate) fn clients(tree: &Tree, more: &str) {
    let ca = tree.read(&format!("{PKI}/ca.crt"));
    tree.write(&format!("{PKI}/clients.crt"), ca + more);
    let flag = "--client-ca-file=/etc/kubernetes/pki/";
    tree.replace(
        "etc/kubernetes/manifests/kube-apiserver.yaml",
        &format!("{flag}ca.crt"),
        &format!("{flag}clients.crt"),
    );
}

/// A root of this name beside the CA of API clients; nothing is signed by it.
pub(crate) fn stranger(tree: &Tree, name: &str) {
    clients(tree, &Authority::new(&root(name)).0.pem);
}

/// The controller manager signs with a CA of its own.
fn signer(tree: &Tree, name: &str) {
    let mut params = forge::leaf(name, None, None);
    params.not_after = forge::days(3000);
    let (authority, key) = Authority::new(&params);
    tree.write("etc/kubernetes/pki/signer.crt", authority.pem);
    tree.write("etc/kubernetes/pki/signer.key", key);
    for (flag, end) in [("cert", "crt"), ("key", "key")] {
        tree.replace(
            "etc/kubernetes/manifests/kube-controller-manager.yaml",
            &format!("cluster-signing-{flag}-file=/etc/kubernetes/pki/ca.{end}"),
            &format!("cluster-signing-{flag}-file=/etc/kubernetes/pki/signer.{end}"),
        );
    }
}

//! Certificates: their structure, their times, their usages, their names.

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose,
    IsCa, KeyUsagePurpose, SanType, SerialNumber,
};
use seaworthy_checks::KubernetesVersion;

use super::{Row, row};
use crate::forge::{self, wrap};
use crate::tree::{Base, PKI, Tree};

/// Makes the API server's certificate for kubelets again, with a change of what is signed.
fn der(tree: &Tree, change: impl FnOnce(&mut Vec<Vec<u8>>)) {
    let params = forge::parameters(&tree.spec, &forge::planned(&tree.spec, "apiserver-kubelet-client"));
    signed(tree, &params, change);
}

fn signed(tree: &Tree, params: &CertificateParams, change: impl FnOnce(&mut Vec<Vec<u8>>)) {
    let key = forge::key();
    tree.write("etc/kubernetes/pki/apiserver-kubelet-client.crt", tree.authority("ca").sign_der(params, &key, change));
    tree.write("etc/kubernetes/pki/apiserver-kubelet-client.key", key.serialize_pem());
}

fn extension(tree: &Tree, oid: &[u64], content: &[u8], critical: bool) {
    tree.reissue("apiserver-kubelet-client", |params| {
        let mut extension = CustomExtension::from_oid_content(oid, content.to_vec());
        extension.set_criticality(critical);
        params.custom_extensions.push(extension);
    });
}

fn usages(base: &'static str, usages: Vec<ExtendedKeyUsagePurpose>) -> impl Fn(&Tree) {
    move |tree| tree.reissue(base, |params| params.extended_key_usages.clone_from(&usages))
}

pub(super) fn without_san(tree: &Tree, base: &str, san: &str) {
    tree.reissue(base, |params| {
        let before = params.subject_alt_names.len();
        params.subject_alt_names.retain(|one| match one {
            SanType::DnsName(name) => name.as_str() != san,
            SanType::IpAddress(address) => address.to_string() != san,
            _ => true,
        });
        assert_eq!(params.subject_alt_names.len(), before - 1, "{base} has no {san}");
    });
}

/// As `openssl req -x509` makes any certificate.
fn calls_itself_ca(params: &mut CertificateParams) {
    params.custom_extensions.clear();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
}

/// Changes a root in place, whose signature nobody verifies.
fn root(tree: &Tree, base: &str, change: impl FnOnce(&mut Vec<Vec<u8>>)) {
    let path = format!("{PKI}/{base}.crt");
    let text = tree.read(&path);
    tree.write(&path, forge::edit(&text, change));
}

pub(super) fn rows() -> Vec<Row> {
    let mut all = vec![
        row("a usage that cannot be parsed", &["pki.certificate.accepted"], |tree| {
            tree.reissue("apiserver-kubelet-client", |params| {
                params.key_usages.clear();
                params.custom_extensions.push(CustomExtension::from_oid_content(&[2, 5, 29, 15], vec![4, 0]));
            });
        }),
        row("version 1", &["pki.certificate.version"], |tree| {
            der(tree, |members| {
                members.remove(0);
                members.pop();
            });
        }),
        row("a negative serial number", &["pki.certificate.serial-negative"], |tree| {
            der(tree, |members| members[1] = wrap(0x02, &[0x80, 1, 2, 3]));
        }),
        row("a negative serial number before 1.32", &["pki.certificate.next-version"], |tree| {
            der(tree, |members| members[1] = wrap(0x02, &[0x80, 1, 2, 3]));
        })
        .by(|profile| profile.kubernetes = KubernetesVersion(31)),
        row("a negative serial number before 1.31", &["pki.certificate.serial-zero"], |tree| {
            der(tree, |members| members[1] = wrap(0x02, &[0x80, 1, 2, 3]));
        })
        .by(|profile| profile.kubernetes = KubernetesVersion(30)),
        row("a time with a fraction of a second", &["pki.certificate.accepted"], |tree| {
            der(tree, |members| {
                let times = forge::children(&members[4]);
                let long = wrap(0x18, &[b"20", &times[1][2..times[1].len() - 1], b".5Z"].concat());
                members[4] = wrap(0x30, &[times[0].clone(), long].concat());
            });
        }),
        row("a name in a SAN that is not ASCII", &["pki.certificate.accepted"], |tree| {
            tree.reissue("apiserver-kubelet-client", |params| {
                let names = wrap(0x30, &wrap(0x82, b"caf\xe9.test"));
                params.custom_extensions.push(CustomExtension::from_oid_content(&[2, 5, 29, 17], names));
            });
        }),
        row("a path length that no number holds", &["pki.certificate.accepted"], |tree| {
            tree.reissue("apiserver-kubelet-client", |params| {
                params.custom_extensions.clear();
                let value = wrap(0x30, &wrap(0x02, &[0x7f; 12]));
                params.custom_extensions.push(CustomExtension::from_oid_content(&[2, 5, 29, 19], value));
            });
        }),
        row("a subject with a reserved character", &["pki.certificate.name", "pki.certificate.subject"], |tree| {
            der(tree, |members| {
                let unit = [wrap(0x06, &[0x55, 4, 11]), wrap(0x1e, &[0xff, 0xfe])].concat();
                let names = forge::children(&members[5]).concat();
                members[5] = wrap(0x30, &[wrap(0x31, &wrap(0x30, &unit)), names].concat());
            });
        })
        .by(|profile| profile.kubernetes = KubernetesVersion(33)),
        row("an extension twice", &["pki.certificate.duplicate-extension"], |tree| {
            tree.reissue("apiserver-kubelet-client", |params| {
                for _ in 0..2 {
                    params.custom_extensions.push(CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]));
                }
            });
        }),
        row("two signature algorithms", &["pki.certificate.algorithms-differ"], |tree| {
            // ecdsa-with-SHA384 inside, SHA-256 outside.
            der(tree, |members| members[2] = wrap(0x30, &wrap(0x06, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3])));
        }),
        row("a NULL beside ECDSA", &["pki.certificate.algorithm-parameters"], |tree| {
            let text = tree.read("etc/kubernetes/pki/front-proxy-ca.crt");
            tree.write("etc/kubernetes/pki/front-proxy-ca.crt", forge::with_algorithm(&text, SHA256_NULL));
        }),
        row("bytes behind a key usage", &["pki.certificate.trailing-data"], |tree| {
            tree.reissue("apiserver-kubelet-client", |params| {
                params.key_usages.clear();
                let usage = CustomExtension::from_oid_content(&[2, 5, 29, 15], vec![3, 2, 5, 0xa0, 5, 0]);
                params.custom_extensions.push(usage);
            });
        }),
        row("GeneralizedTime before 2050", &["pki.certificate.time"], |tree| {
            der(tree, |members| {
                let times = forge::children(&members[4]);
                let long = wrap(0x18, &[b"20", &times[1][2..]].concat());
                members[4] = wrap(0x30, &[times[0].clone(), long].concat());
            });
        }),
        row("a path length without a CA", &["pki.certificate.path-length"], |tree| {
            tree.reissue("apiserver-kubelet-client", |params| {
                params.custom_extensions.clear();
                let mut constraints = CustomExtension::from_oid_content(&[2, 5, 29, 19], vec![0x30, 3, 2, 1, 0]);
                constraints.set_criticality(true);
                params.custom_extensions.push(constraints);
            });
        }),
        row("a subject that is no text", &["pki.certificate.accepted"], |tree| {
            der(tree, |members| {
                let organization = wrap(0x31, &wrap(0x30, &[wrap(0x06, &[0x55, 4, 11]), wrap(0x02, &[7])].concat()));
                let names = forge::children(&members[5]).concat();
                members[5] = wrap(0x30, &[organization, names].concat());
            });
        }),
        row("a subject in an encoding of old", &["pki.certificate.subject"], |tree| {
            tree.reissue("apiserver-kubelet-client", |params| {
                let name = DnValue::BmpString("kube".try_into().unwrap());
                params.distinguished_name.push(DnType::OrganizationalUnitName, name);
            });
        }),
        row("the serial number 0", &["pki.certificate.serial-zero"], |tree| {
            der(tree, |members| members[1] = wrap(0x02, &[0]));
        }),
        row("a serial number of 21 bytes", &["pki.certificate.serial-long"], |tree| {
            der(tree, |members| members[1] = wrap(0x02, &[7; 21]));
        }),
        row("a serial number twice", &["pki.certificate.serial-repeated"], |tree| {
            for base in ["apiserver", "apiserver-kubelet-client"] {
                tree.reissue(base, |params| params.serial_number = Some(SerialNumber::from(77_u64)));
            }
        }),
        row("a root that signs itself with SHA-1", &["pki.certificate.weak-root"], |tree| {
            let text = tree.read("etc/kubernetes/pki/front-proxy-ca.crt");
            tree.write("etc/kubernetes/pki/front-proxy-ca.crt", forge::with_algorithm(&text, SHA1));
        }),
        row("a CA that says so in passing", &["pki.certificate.basic-constraints"], |tree| {
            root(tree, "front-proxy-ca", |members| {
                let list = forge::children(&forge::children(members.last().unwrap())[0]);
                let list = list.into_iter().map(|one| {
                    let parts = forge::children(&one);
                    if parts[0] == wrap(0x06, &[0x55, 0x1d, 19]) {
                        wrap(0x30, &[parts[0].clone(), parts[2].clone()].concat())
                    } else {
                        one
                    }
                });
                let list = list.collect::<Vec<_>>().concat();
                *members.last_mut().unwrap() = wrap(0xa3, &wrap(0x30, &list));
            });
        }),
        row("no identifier of the CA's key", &["pki.certificate.key-ids"], |tree| {
            tree.reissue("front-proxy-client", |params| params.use_authority_key_identifier_extension = false);
        }),
        row("an unknown critical extension", &["pki.certificate.critical-extension"], |tree| {
            extension(tree, &[1, 2, 3, 4], &[5, 0], true);
        }),
        row("an address that is written as a name", &["pki.certificate.san"], |tree| {
            tree.reissue("apiserver", |params| {
                params.subject_alt_names.push(SanType::DnsName("10.96.0.10".try_into().unwrap()))
            });
        }),
        row("a name with a star in the middle", &["pki.certificate.san"], |tree| {
            tree.reissue("apiserver", |params| {
                params.subject_alt_names.push(SanType::DnsName("a.*.test".try_into().unwrap()))
            });
        }),
        row("a name with an underscore", &["pki.certificate.underscore"], |tree| {
            tree.reissue("apiserver", |params| {
                params.subject_alt_names.push(SanType::DnsName("api_1.test".try_into().unwrap()))
            });
        }),
        row("an empty subject", &["pki.certificate.subject"], |tree| {
            tree.reissue("etcd/healthcheck-client", |params| params.distinguished_name = DistinguishedName::new());
        }),
        row("expired", &["pki.validity.expired"], |tree| {
            tree.reissue("apiserver", |params| {
                (params.not_before, params.not_after) = (forge::days(-365), forge::days(-1))
            });
        }),
        row("a server that calls itself a CA has expired", &["pki.validity.expired"], |tree| {
            tree.reissue("apiserver", |params| {
                calls_itself_ca(params);
                (params.not_before, params.not_after) = (forge::days(-365), forge::days(-1));
            });
        }),
        row("a client that calls itself a CA has expired", &["pki.validity.expired"], |tree| {
            tree.reissue("apiserver-kubelet-client", |params| {
                calls_itself_ca(params);
                (params.not_before, params.not_after) = (forge::days(-365), forge::days(-1));
            });
        }),
        row(
            "the kubelet's certificate, signed by itself and called a CA, has expired",
            &["pki.validity.expired"],
            |tree| {
                let mut params = forge::leaf("cp1", None, None);
                params.subject_alt_names = vec![SanType::DnsName("cp1".try_into().unwrap())];
                (params.not_before, params.not_after) = (forge::days(-365), forge::days(-1));
                let (itself, key) = forge::Authority::new(&params);
                tree.write("var/lib/kubelet/pki/kubelet.crt", itself.pem);
                tree.write("var/lib/kubelet/pki/kubelet.key", key);
            },
        ),
        row(
            "a server that calls itself a CA expires in ten days",
            &["pki.chain.engines", "pki.validity.soon"],
            |tree| {
                tree.reissue("etcd/server", |params| {
                    calls_itself_ca(params);
                    (params.not_before, params.not_after) = (forge::days(-355), forge::days(10));
                });
            },
        ),
        row("expires in ten days", &["pki.validity.soon"], |tree| {
            tree.reissue("etcd/server", |params| {
                (params.not_before, params.not_after) = (forge::days(-355), forge::days(10))
            });
        }),
        row("expires in ten days, and one is told five", &["pki.validity.later"], |tree| {
            tree.reissue("etcd/server", |params| {
                (params.not_before, params.not_after) = (forge::days(-355), forge::days(10))
            });
        })
        .by(|profile| profile.lifetimes.warn = 5),
        row("expires in a hundred days, and one is told of it", &["pki.validity.soon"], |tree| {
            tree.reissue("etcd/server", |params| {
                (params.not_before, params.not_after) = (forge::days(-265), forge::days(100))
            });
        })
        .by(|profile| profile.lifetimes.warn = 120),
        row("expires in eighty days", &["pki.validity.later"], |tree| {
            tree.reissue("etcd/peer", |params| {
                (params.not_before, params.not_after) = (forge::days(-285), forge::days(80))
            });
        }),
        row("valid from tomorrow on", &["pki.validity.not-yet"], |tree| {
            tree.reissue("apiserver", |params| params.not_before = forge::days(1));
        }),
        row("valid for two years", &["pki.validity.long"], |tree| {
            tree.reissue("apiserver-etcd-client", |params| params.not_after = forge::days(730));
        }),
        row("a CA of forty years", &["pki.validity.ca-long"], |tree| {
            tree.recertify("front-proxy-ca", |params| params.not_after = forge::days(40 * 365));
        }),
        row("a CA in its last year", &["pki.validity.ca-soon"], |tree| {
            tree.recertify("front-proxy-ca", |params| params.not_after = forge::days(300));
            tree.reissue("front-proxy-client", |params| params.not_after = forge::days(200));
        }),
        row("a CA ends in three years, and one is told of four", &["pki.validity.ca-soon"], |tree| {
            tree.recertify("front-proxy-ca", |params| params.not_after = forge::days(1_100));
        })
        .by(|profile| profile.lifetimes.ca_warn = 1_460),
        row("certificates of a year, where half a year is the most", &["pki.validity.long"], |_| {})
            .by(|profile| profile.lifetimes.longest = 180),
        row("CAs of ten years, where five are the most", &["pki.validity.ca-long"], |_| {})
            .by(|profile| profile.lifetimes.ca_longest = 1_830),
        row("all CAs end together", &["pki.validity.cliff"], |tree| {
            for base in ["ca", "front-proxy-ca", "etcd/ca"] {
                tree.recertify(base, |params| params.not_after = forge::days(600));
            }
        }),
        row("a kubeconfig's certificate has expired", &["pki.validity.expired"], |tree| {
            tree.identity("scheduler", "system:kube-scheduler", None, |params| {
                (params.not_before, params.not_after) = (forge::days(-365), forge::days(-1));
            });
        }),
        row("the API server's certificate is a client's", &["pki.usage.server"], |tree| {
            usages("apiserver", vec![ExtendedKeyUsagePurpose::ClientAuth])(tree)
        }),
        row("the API server's client certificate is a server's", &["pki.usage.client"], |tree| {
            usages("apiserver-kubelet-client", vec![ExtendedKeyUsagePurpose::ServerAuth])(tree)
        }),
        row("the client certificate for etcd is a server's", &["pki.usage.client"], |tree| {
            usages("apiserver-etcd-client", vec![ExtendedKeyUsagePurpose::ServerAuth])(tree)
        }),
        row("etcd's certificate is a client's", &["pki.usage.etcd-server"], |tree| {
            usages("etcd/server", vec![ExtendedKeyUsagePurpose::ClientAuth])(tree)
        }),
        row("etcd's certificate is no client's", &["pki.usage.etcd-gateway"], |tree| {
            usages("etcd/server", vec![ExtendedKeyUsagePurpose::ServerAuth])(tree)
        }),
        row("etcd's peer certificate is no client's", &["pki.usage.etcd-peer"], |tree| {
            usages("etcd/peer", vec![ExtendedKeyUsagePurpose::ServerAuth])(tree)
        }),
        row("no digital signatures", &["pki.usage.signature"], |tree| {
            tree.reissue("etcd/server", |params| params.key_usages = vec![KeyUsagePurpose::KeyEncipherment]);
        }),
        row("no key encipherment with RSA", &["pki.usage.encipherment"], |tree| {
            let mut params = forge::parameters(&tree.spec, &forge::planned(&tree.spec, "etcd/server"));
            let key = rcgen::KeyPair::from_pem(&tree.read("etc/kubernetes/pki/etcd/server.key")).unwrap();
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            tree.write("etc/kubernetes/pki/etcd/server.crt", tree.authority("etcd/ca").sign(&params, &key));
        })
        .of(Base::Rsa),
        row("a serving certificate without SANs", &["pki.san.present"], |tree| {
            tree.reissue("apiserver", |params| params.subject_alt_names.clear())
        }),
        row("etcd's certificate without SANs", &["pki.san.present"], |tree| {
            tree.reissue("etcd/server", |params| params.subject_alt_names.clear())
        }),
        row("the Service's address is missing", &["pki.san.service-address"], |tree| {
            without_san(tree, "apiserver", "10.96.0.1")
        }),
        row("a Service's name is missing", &["pki.san.service-name"], |tree| {
            without_san(tree, "apiserver", "kubernetes.default.svc")
        }),
        row("the Service's full name is missing", &["pki.san.service-domain"], |tree| {
            without_san(tree, "apiserver", "kubernetes.default.svc.cluster.local")
        }),
        row("the advertised address is missing", &["pki.kubeconfig.server", "pki.san.advertise"], |tree| {
            without_san(tree, "apiserver", "10.0.0.11")
        }),
        row("a name of kubeadm's configuration is missing", &["pki.san.endpoint"], |tree| {
            tree.write(
                "etc/kubernetes/kubeadm-config.yaml",
                "apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n\
                 apiServer: {certSANs: [new.example.test]}\n",
            );
        }),
        row("etcd's own address is missing", &["pki.san.etcd-server"], |tree| {
            without_san(tree, "etcd/server", "127.0.0.1")
        }),
        row("the peer's address is missing", &["pki.san.etcd-peer"], |tree| {
            without_san(tree, "etcd/peer", "10.0.0.11")
        }),
        row("the API server's certificate lacks the node's name", &["pki.san.node"], |tree| {
            without_san(tree, "apiserver", "cp1")
        }),
        row("etcd's certificate lacks localhost", &["pki.san.node"], |tree| {
            without_san(tree, "etcd/server", "localhost")
        }),
        row("etcd's certificate lacks the node's name", &["pki.san.node"], |tree| {
            without_san(tree, "etcd/server", "cp1")
        }),
        row("etcd's peer certificate has the host's address alone", &["pki.san.node"], |tree| {
            tree.reissue("etcd/peer", |params| {
                params.subject_alt_names = vec![SanType::IpAddress([10, 0, 0, 11].into())]
            });
        }),
        row("the kubelet serves another node's certificate", &["pki.san.kubelet"], |tree| {
            let mut params = forge::leaf("cp9@1790000000", None, Some(seaworthy_provision::pki::Usage::Server));
            params.subject_alt_names = vec![SanType::DnsName("cp9".try_into().unwrap())];
            let (ca, _) = forge::Authority::new(&forge::leaf("cp9-ca@1790000000", None, None));
            let key = forge::key();
            tree.write("var/lib/kubelet/pki/kubelet.crt", format!("{}{}", ca.sign(&params, &key), ca.pem));
            tree.write("var/lib/kubelet/pki/kubelet.key", key.serialize_pem());
        }),
    ];
    all.push(row("a certificate that is signed with MD5", &["pki.certificate.weak-signature"], |tree| {
        let text = tree.read("etc/kubernetes/pki/front-proxy-client.crt");
        tree.write("etc/kubernetes/pki/front-proxy-client.crt", forge::with_algorithm(&text, MD5));
    }));
    all.push(row("a certificate that is signed with SHA-1", &["pki.certificate.weak-signature"], |tree| {
        let text = tree.read("etc/kubernetes/pki/front-proxy-client.crt");
        tree.write("etc/kubernetes/pki/front-proxy-client.crt", forge::with_algorithm(&text, SHA1));
    }));
    all
}

/// md5WithRSAEncryption.
const MD5: &[u8] = &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 4, 5, 0];
/// ecdsa-with-SHA1.
const SHA1: &[u8] = &[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1];
/// ecdsa-with-SHA256, with a NULL that belongs to RSA.
const SHA256_NULL: &[u8] = &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2, 5, 0];

//! Talos, whose PKI is in machine configurations: what talosctl writes, with its names and its quirks, audits clean;
//! each defect is found by its name and by no other; nothing that is secret leaves the file.

mod folder;

use std::collections::BTreeSet;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{ExtendedKeyUsagePurpose, IsCa};
use seaworthy_checks::host::Layout;
use seaworthy_checks::pki::Facts;
use seaworthy_checks::pki::discover::Role;
use seaworthy_suites::Source;
use serde_json::json;

use crate::{Audit, audit, forge, profile, record, through_a_file};
use folder::{
    Folder, Secrets, TOKENS, Version, administrator, authority, base64, ca, configuration, ed25519, pem, set,
};

impl Folder {
    /// Writes it, and audits what is there.
    fn audit(&self) -> Audit {
        self.write();
        open(self.root())
    }
}

fn open(path: &Path) -> Audit {
    let node = Source::open(path, &Layout::default()).unwrap().gather(true, &["pki"]);
    audit(&node.transcript, None, &profile())
}

fn facts(path: &Path) -> Facts {
    Source::open(path, &Layout::default()).unwrap().pki()
}

/// A configuration as `talosctl get machineconfig v1alpha1 -o yaml` prints that of a node that runs.
fn resource(text: String) -> String {
    const HEAD: &str = "node: 192.0.2.10\n\
                        metadata:\n    namespace: config\n    type: MachineConfigs.config.talos.dev\n    id: \
                        v1alpha1\n    version: 1\n    owner: config.AcquireController\n    phase: running\nspec: |\n";
    text.lines().fold(HEAD.to_owned(), |all, line| all + "    " + line + "\n")
}

/// Folders in which each way of writing a configuration is used.
fn folders() -> impl Iterator<Item = (Version, Folder)> {
    let edits: [fn(String) -> String; 2] = [|text| text, resource];
    edits.into_iter().flat_map(|edit| {
        [Version::V1_13, Version::V1_14].map(|version| {
            let mut folder = Folder::new(version);
            folder.edit = edit;
            (version, folder)
        })
    })
}

#[test]
fn what_talosctl_writes_audits_clean() {
    for (version, folder) in folders() {
        let found = folder.audit();
        assert!(found.breached.is_empty() && found.undetermined.is_empty(), "{version:?}: {found:#?}");
        for claim in [
            "pki.key.pair",
            "pki.cluster.machine-configs",
            "pki.chain.wrong-ca",
            "pki.ca.front-proxy-own",
            "pki.ca.etcd-own",
        ] {
            assert!(found.held.contains(claim), "{version:?}: {claim}: {:?}", found.held);
        }
        for (name, least) in [("controlplane.yaml", 40), ("worker.yaml", 40), ("secrets.yaml", 40), ("talosconfig", 40)]
        {
            let alone = open(&folder.root().join(name));
            assert!(alone.breached.is_empty() && alone.undetermined.is_empty(), "{version:?} {name}: {alone:#?}");
            assert!(alone.held.len() > least, "{version:?} {name}: {}", alone.held.len());
        }
    }
}

#[test]
fn each_role_is_found_in_its_place() {
    const PLACES: [(Role, &str, &str); 9] = [
        (Role::TalosCa, "machine.ca", "machine.ca"),
        (Role::ClientCa, "cluster.ca", "KubeAPIServerCAConfig"),
        (Role::SigningCa, "cluster.ca", "KubeAPIServerCAConfig"),
        (Role::RootCa, "cluster.ca", "KubeAPIServerCAConfig"),
        (Role::FrontProxyCa, "cluster.aggregatorCA", "KubeAggregatorCAConfig"),
        (Role::EtcdClientCa, "cluster.etcd.ca", "cluster.etcd.ca"),
        (Role::EtcdPeerCa, "cluster.etcd.ca", "cluster.etcd.ca"),
        (Role::ServiceAccountKey, "cluster.serviceAccount.key", "KubeServiceAccountConfig.issuer.privateKey"),
        (Role::ServiceAccountPublicKeys, "cluster.serviceAccount.key", "KubeServiceAccountConfig.issuer.privateKey"),
    ];
    for (version, folder) in folders() {
        folder.write();
        let facts = facts(&folder.root().join("controlplane.yaml"));
        for (role, old, new) in PLACES {
            let uses: Vec<_> = facts.discovery.of_role(role).map(|one| one.file.as_str()).collect();
            let place = format!("controlplane.yaml#{}", if version == Version::V1_13 { old } else { new });
            assert!(matches!(&uses[..], [only] if only.ends_with(&place)), "{version:?} {role:?}: {uses:?}");
        }
        assert_eq!(facts.settings.endpoint.as_ref().unwrap().to_string(), "api.example.test");
        assert_eq!(facts.settings.services[0].to_string(), "10.96.0.0/12");
        assert_eq!(facts.settings.domain.as_deref(), Some("cluster.local"));
        assert_eq!(facts.settings.wanted.len(), 1);
        // And everything downstream has it: when what ends, and who trusts whom.
        assert_eq!(facts.expiries().len(), 4, "{:?}", facts.expiries());
        let graph = facts.graph();
        assert!(graph.nodes.iter().filter(|node| node.has_key).count() == 4, "{graph:#?}");
        assert!(graph.edges.iter().any(|edge| edge.from == "apid"), "{graph:#?}");
        let plan = facts.rotation_plan(jiff::Timestamp::now(), 4000);
        assert_eq!(plan.len(), 4, "{plan:#?}");
        let commands: Vec<_> = plan.iter().flat_map(|one| &one.steps).flat_map(|step| &step.commands).collect();
        assert!(commands.iter().all(|command| command.starts_with("talosctl ")), "{commands:?}");
    }
}

#[test]
fn a_place_has_the_line_in_the_file() {
    for (_, folder) in folders().filter(|(version, _)| *version == Version::V1_14) {
        folder.write();
        let path = folder.root().join("controlplane.yaml");
        let text = std::fs::read_to_string(&path).unwrap();
        let facts = facts(&path);
        let mut spread = 0;
        for bundle in &facts.bundles {
            let line = text.lines().nth(bundle.certificates[0].line as usize - 1).unwrap();
            let found = line.contains("-----BEGIN CERTIFICATE-----") || line.contains("LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS");
            assert!(found, "{}: {}: {line}", bundle.file, bundle.certificates[0].line);
            spread += usize::from(line.contains("-----BEGIN CERTIFICATE-----"));
        }
        assert!(spread >= 2 && spread < facts.bundles.len(), "{spread}");
    }
}

type Row = (&'static str, Version, &'static [&'static str], fn(&mut Folder));

/// Every defect.
const ROWS: &[Row] = &[
    ("another CA's key", Version::V1_13, &["pki.key.pair"], |f| {
        f.set("/cluster/ca/key", base64(&ca("kubernetes").key))
    }),
    ("another key for Talos's CA", Version::V1_13, &["pki.key.pair"], |f| {
        f.set("/machine/ca/key", base64(&pem(&ed25519())))
    }),
    ("another CA's key in its own document", Version::V1_14, &["pki.key.pair"], |f| {
        f.control_plane[4]["issuingCA"]["key"] = ca("kubernetes").key.into();
    }),
    ("the CA of the cluster for the front proxy", Version::V1_13, &["pki.ca.front-proxy-own"], |f| {
        let pair = f.secrets.cluster.clone();
        f.everywhere("/cluster/aggregatorCA", "/certs/k8saggregator", &pair);
    }),
    ("the CA of the cluster for etcd", Version::V1_13, &["pki.ca.etcd-own"], |f| {
        let pair = f.secrets.cluster.clone();
        f.everywhere("/cluster/etcd/ca", "/certs/etcd", &pair);
    }),
    ("a CA that has expired", Version::V1_13, &["pki.chain.ca-expired"], |f| {
        let pair = authority("etcd", &forge::key(), |params| {
            (params.not_before, params.not_after) = (forge::days(-3650), forge::days(-1));
        });
        f.everywhere("/cluster/etcd/ca", "/certs/etcd", &pair);
    }),
    ("a CA in its last year", Version::V1_13, &["pki.validity.ca-soon"], |f| {
        let pair = authority("kubernetes", &forge::key(), |params| params.not_after = forge::days(200));
        f.everywhere("/cluster/ca", "/certs/k8s", &pair);
    }),
    ("a CA of twenty years", Version::V1_13, &["pki.validity.ca-long"], |f| {
        let pair = authority("kubernetes", &forge::key(), |params| params.not_after = forge::days(7300));
        f.everywhere("/cluster/ca", "/certs/k8s", &pair);
    }),
    ("a CA of Kubernetes of Ed25519, which no kubeadm has to load", Version::V1_13, &[], |f| {
        let pair = authority("kubernetes", &ed25519(), |_| {});
        f.everywhere("/cluster/ca", "/certs/k8s", &pair);
    }),
    ("a CA that is none", Version::V1_13, &["pki.chain.bundle-not-ca"], |f| {
        let pair = authority("etcd", &forge::key(), |params| {
            (params.is_ca, params.not_after) = (IsCa::ExplicitNoCa, forge::days(300));
        });
        f.everywhere("/cluster/etcd/ca", "/certs/etcd", &pair);
    }),
    ("an accepted CA that has expired", Version::V1_13, &["pki.chain.bundle-expired"], |f| {
        let old = authority("kubernetes", &forge::key(), |params| {
            (params.not_before, params.not_after) = (forge::days(-3650), forge::days(-1));
        });
        f.set("/cluster/acceptedCAs", json!([{"crt": base64(&old.crt)}]));
    }),
    ("an accepted CA that is the CA", Version::V1_13, &["pki.file.repeated"], |f| {
        let own = base64(&f.secrets.os.crt);
        f.set("/machine/acceptedCAs", json!([{"crt": own}]));
    }),
    ("an accepted CA that is no CA", Version::V1_14, &["pki.chain.bundle-not-ca"], |f| {
        let leaf = authority("kubernetes", &forge::key(), |params| {
            (params.is_ca, params.not_after) = (IsCa::ExplicitNoCa, forge::days(300));
        });
        f.control_plane[4]["acceptedCAs"] = json!([leaf.crt]);
    }),
    ("the key of a CA for service accounts, too", Version::V1_13, &["pki.key.service-account-own"], |f| {
        let key = base64(&f.secrets.etcd.key);
        f.set("/cluster/serviceAccount/key", key.clone());
        set(&mut f.bundle, "/certs/k8sserviceaccount/key", key);
    }),
    ("a short key of service accounts", Version::V1_14, &["pki.key.rsa-short"], |f| {
        f.control_plane[6]["accepted"] = json!({"publicKeys": [include_str!("keys/rsa-1024.pub")]});
    }),
    ("a file that anyone can read", Version::V1_13, &["pki.file.key-mode"], |f| {
        f.modes.push(("controlplane.yaml", 0o644))
    }),
    ("tokens that anyone can read", Version::V1_14, &["pki.file.key-mode"], |f| f.modes.push(("worker.yaml", 0o640))),
    ("secrets that anyone can read", Version::V1_13, &["pki.file.key-mode"], |f| f.modes.push(("secrets.yaml", 0o604))),
    ("a CA's key on a worker", Version::V1_13, &["pki.file.ca-key-on-worker"], |f| {
        let key = base64(&f.secrets.cluster.key);
        set(&mut f.worker[0], "/cluster/ca/key", key);
    }),
    ("a worker of another cluster", Version::V1_13, &["pki.cluster.machine-configs"], |f| {
        f.worker = configuration(&Secrets::new(), Version::V1_13, "worker");
    }),
    ("a worker of before a rotation", Version::V1_14, &["pki.cluster.machine-configs"], |f| {
        f.worker[4]["acceptedCAs"] = json!([ca("kubernetes").crt]);
    }),
    ("secrets of before a rotation", Version::V1_13, &["pki.cluster.machine-configs"], |f| {
        set(&mut f.bundle, "/certs/k8sserviceaccount/key", base64(&pem(&forge::key())));
    }),
    ("no CA of the front proxy", Version::V1_13, &["pki.file.present"], |f| {
        f.control_plane[0]["cluster"].as_object_mut().unwrap().remove("aggregatorCA");
    }),
    ("no document of service accounts", Version::V1_14, &["pki.file.present"], |f| drop(f.control_plane.remove(6))),
    ("no key of a CA that signs", Version::V1_13, &["pki.file.present"], |f| f.set("/cluster/ca/key", "".into())),
    ("an EC key under another label", Version::V1_13, &["pki.file.label"], |f| {
        let key = f.secrets.cluster.key.replace("EC PRIVATE KEY", "RSA PRIVATE KEY");
        f.set("/cluster/ca/key", base64(&key));
    }),
    ("PEM that is not encoded", Version::V1_13, &["pki.file.parses"], |f| {
        let plain = f.secrets.etcd.crt.clone();
        f.set("/cluster/etcd/ca/crt", plain.into());
    }),
    ("base64 of base64", Version::V1_13, &["pki.file.parses"], |f| {
        let once = STANDARD.encode(&f.secrets.etcd.crt);
        f.set("/cluster/etcd/ca/crt", base64(&once));
    }),
    ("base64 that is cut off", Version::V1_13, &["pki.file.parses"], |f| {
        let whole = STANDARD.encode(&f.secrets.os.crt);
        f.set("/machine/ca/crt", whole[..whole.len() - 5].into());
    }),
    ("PEM that is cut off", Version::V1_13, &["pki.file.parses"], |f| {
        let cut = base64(&f.secrets.cluster.key[..100]);
        f.set("/cluster/ca/key", cut);
    }),
    ("PEM that is cut off in its own document", Version::V1_14, &["pki.file.parses"], |f| {
        let cut = f.secrets.front_proxy.crt[..200].to_owned();
        f.control_plane[5]["issuingCA"]["cert"] = cut.into();
    }),
    ("base64 of something else", Version::V1_13, &["pki.file.parses"], |f| {
        f.set("/cluster/etcd/ca/crt", base64("hello"))
    }),
    ("a list in the place of a key", Version::V1_13, &["pki.file.parses"], |f| f.set("/cluster/ca/key", json!(["a"]))),
    ("YAML that is none", Version::V1_13, &["pki.file.parses"], |f| {
        f.edit = |text| text.replace("cluster:", "cluster: [\n");
    }),
    ("a talosconfig of another cluster's", Version::V1_13, &["pki.chain.wrong-ca"], |f| {
        let other = administrator(&authority("others", &ed25519(), |_| {}), |_| {});
        set(&mut f.client, "/contexts/base/crt", base64(&other.crt));
        set(&mut f.client, "/contexts/base/key", base64(&other.key));
    }),
    (
        "a talosconfig of before a rotation",
        Version::V1_13,
        &["pki.chain.wrong-ca", "pki.cluster.machine-configs"],
        |f| {
            let old = authority("talos", &ed25519(), |_| {});
            let admin = administrator(&old, |_| {});
            f.client["contexts"]["base"] =
                json!({"ca": base64(&old.crt), "crt": base64(&admin.crt), "key": base64(&admin.key)});
        },
    ),
    ("a talosconfig that has expired", Version::V1_14, &["pki.validity.expired"], |f| {
        let admin = administrator(&f.secrets.os, |params| {
            (params.not_before, params.not_after) = (forge::days(-366), forge::days(-1));
        });
        set(&mut f.client, "/contexts/base/crt", base64(&admin.crt));
        set(&mut f.client, "/contexts/base/key", base64(&admin.key));
    }),
    ("a talosconfig for servers", Version::V1_13, &["pki.usage.client"], |f| {
        let admin = administrator(&f.secrets.os, |params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]
        });
        set(&mut f.client, "/contexts/base/crt", base64(&admin.crt));
        set(&mut f.client, "/contexts/base/key", base64(&admin.key));
    }),
    ("a talosconfig with another's key", Version::V1_13, &["pki.key.pair"], |f| {
        set(&mut f.client, "/contexts/base/key", base64(&pem(&ed25519())));
    }),
];

/// The claims that a row here makes fail.
pub(crate) fn finds() -> impl Iterator<Item = &'static str> {
    ROWS.iter().flat_map(|(_, _, finds, _)| *finds).copied()
}

#[test]
fn each_defect_of_a_configuration_is_found_by_its_name() {
    let mut faults = Vec::new();
    for (name, version, finds, make) in ROWS {
        let mut folder = Folder::new(*version);
        make(&mut folder);
        let found = folder.audit();
        let ids: BTreeSet<_> = found.breached.keys().map(String::as_str).collect();
        // What hangs on something that cannot be understood cannot be told.
        let broken = finds.contains(&"pki.file.parses");
        if ids != finds.iter().copied().collect() || found.undetermined.is_empty() == broken {
            let Audit { breached, undetermined, .. } = found;
            faults.push(format!("{name}: wanted {finds:?}, found {breached:#?} {undetermined:#?}"));
        }
    }
    assert!(faults.is_empty(), "{} of {}:\n{}", faults.len(), ROWS.len(), faults.join("\n"));
}

#[test]
fn what_is_broken_has_its_place_and_the_rest_is_judged() {
    let mut folder = Folder::new(Version::V1_13);
    folder.set("/cluster/etcd/ca/crt", base64("hello"));
    let found = folder.audit();
    assert!(
        found.breached["pki.file.parses"][0].contains("/controlplane.yaml#cluster.etcd.ca cannot be used"),
        "{found:#?}"
    );
    assert!(found.undetermined["pki.chain.wrong-ca"].contains("/controlplane.yaml#cluster.etcd.ca"), "{found:#?}");
    assert!(found.held.contains("pki.ca.front-proxy-own") && found.held.contains("pki.usage.client"), "{found:#?}");
    // What is behind the place is no part of the message.
    folder.edit = |text| text.replace("token: d8cwfa", "token: \"d8cwfa");
    let found = folder.audit();
    let messages = &found.breached["pki.file.parses"];
    assert!(messages[0].starts_with("/controlplane.yaml cannot be used: it is no YAML"), "{messages:?}");
    assert!(!format!("{found:?}").contains("eyvpi0xwxyarbfid"), "{found:#?}");
    // A resource whose spec is quoted.
    folder.edit = |_| "metadata:\n    type: MachineConfigs.config.talos.dev\nspec: \"machine: {}\"\n".to_owned();
    let found = folder.audit();
    let messages = &found.breached["pki.file.parses"];
    assert!(messages[0].contains("its spec is not in lines of its own: `talosctl get"), "{messages:?}");
    // A machine that runs no Kubernetes has a CA of its own and that is all.
    let mut folder = Folder::new(Version::V1_14);
    folder.control_plane.truncate(2);
    folder.control_plane[0]["cluster"].as_object_mut().unwrap().remove("etcd");
    let found = folder.audit();
    assert!(found.breached.is_empty() && found.undetermined.is_empty(), "{found:#?}");
    // What is cut off at its head is not taken for another kind of file.
    let huge = folder.root().join("huge.yaml");
    std::fs::File::create(&huge).unwrap().set_len(1 << 30).unwrap();
    let found = open(folder.root());
    assert!(found.breached.is_empty(), "{found:#?}");
    assert!(found.undetermined["pki.file.readable"].contains("huge.yaml is too large"), "{found:#?}");
}

#[test]
fn a_copy_that_was_put_aside_is_one() {
    let folder = Folder::new(Version::V1_13);
    folder.write();
    for name in ["controlplane.yaml.bak", "old/controlplane.yaml", "old/values.yaml"] {
        let path = folder.root().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        if name.contains("values") {
            std::fs::write(path, "replicas: 3\n").unwrap();
        } else {
            std::fs::copy(folder.root().join("controlplane.yaml"), path).unwrap();
        }
    }
    let found = open(folder.root());
    assert_eq!(found.breached.keys().collect::<Vec<_>>(), ["pki.file.backup"], "{:#?}", found.breached);
    assert_eq!(found.breached["pki.file.backup"].len(), 2, "{:#?}", found.breached);
}

#[test]
fn configurations_of_several_nodes_are_compared() {
    let (one, other) = (Folder::new(Version::V1_13), Folder::new(Version::V1_14));
    one.write();
    other.write();
    let gather = |folder: &Folder| {
        let path = folder.root().join("controlplane.yaml");
        Source::open(&path, &Layout::default()).unwrap().gather(true, &["pki"]).transcript
    };
    let found = audit(&gather(&one), Some(&gather(&other)), &profile()).breached;
    let ids: Vec<_> = found.keys().map(String::as_str).collect();
    let all = ["ca", "etcd-ca", "front-proxy-ca", "service-account-key", "service-account-public-key"];
    assert_eq!(ids, all.map(|name| format!("pki.cluster.{name}")));
    assert!(audit(&gather(&one), Some(&gather(&one)), &profile()).breached.is_empty());
}

#[test]
fn a_configuration_that_is_cut_off_anywhere_is_survived() {
    let folder = Folder::new(Version::V1_13);
    folder.write();
    let path = folder.root().join("controlplane.yaml");
    let whole = std::fs::read_to_string(&path).unwrap();
    let (front_proxy, end) = (whole.find("aggregatorCA").unwrap(), whole.find("---").unwrap());
    for length in (0..whole.len()).step_by(173) {
        std::fs::write(&path, &whole[..length]).unwrap();
        let found = open(folder.root());
        // Either it is a whole document, or what hangs on it is not passed over.
        let told =
            |id| found.held.contains(id) || found.undetermined.get(id).is_some_and(|why| why.contains("controlplane"));
        assert!(told("pki.key.pair") && told("pki.validity.expired"), "{length}: {found:#?}");
        assert!(found.held.contains("pki.file.key-mode"), "{length}: {found:#?}");
        // From here on there is something that signs for Kubernetes, and needs the rest.
        if (front_proxy + 100..end - 100).contains(&length) {
            assert!(!found.breached.is_empty(), "{length} of {}", whole.len());
        }
    }
}

#[test]
fn no_key_and_no_token_of_a_configuration_is_recorded() {
    for (version, folder) in folders() {
        folder.write();
        let Source::Live { host, .. } = Source::open(folder.root(), &Layout::default()).unwrap() else {
            unreachable!()
        };
        let (transcript, answers) = through_a_file(&record(&host));
        let said = format!("{answers}{:?}", Facts::read(&transcript));
        assert!(said.contains("cluster.etcd.ca"), "it was looked at");
        for token in TOKENS {
            assert!(!said.contains(token), "{version:?}: {token}");
        }
        let secrets = &folder.secrets;
        for key in [
            &secrets.os.key,
            &secrets.cluster.key,
            &secrets.front_proxy.key,
            &secrets.etcd.key,
            &secrets.service_accounts,
        ] {
            // The private half of P-256 and Ed25519 stands at the begin.
            let line = key.lines().nth(1).unwrap();
            let encoded = STANDARD.encode(key);
            for text in [&line[20..44], &encoded[60..100], &encoded[1..40]] {
                assert!(!said.contains(text), "{version:?}: {text}");
            }
        }
        assert!(!said.contains("PRIVATE"), "{version:?}");
        let again = audit(&transcript, None, &profile());
        assert!(again.breached.is_empty() && again.held.len() > 50, "{again:#?}");
    }
}

//! Bad input: what cannot be read is undetermined, the rest is judged, and no secret leaves the host.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use nix::sys::stat::Mode;
use seaworthy_checks::Verdict;
use seaworthy_checks::host::{Layout, LiveHost};
use seaworthy_checks::pki::x509::pem::Document;
use seaworthy_checks::pki::{Facts, View, checks};
use seaworthy_provision::pki::Usage;
use seaworthy_suites::Source;

use crate::forge;
use crate::tree::{Base, PKI, Tree};
use crate::{audit, audit_tree, profile, record, through_a_file};

fn node(change: impl FnOnce(&Tree)) -> crate::Audit {
    let tree = Tree::new(Base::Ecdsa).unwrap();
    change(&tree);
    audit_tree(&tree)
}

/// Nothing is found, the rest is judged, and what could not be read is named.
fn only_undetermined(what: &str, change: impl FnOnce(&Tree)) {
    let audit = node(change);
    assert!(audit.breached.is_empty(), "{what}: {:#?}", audit.breached);
    let why = audit.undetermined.get("pki.file.readable").unwrap_or_else(|| panic!("{what}: {audit:#?}"));
    assert!(why.contains(what), "{what}: {why}");
    assert!(
        audit.held.contains("pki.chain.wrong-ca") && audit.held.contains("pki.key.pair"),
        "{what}: {:?}",
        audit.held
    );
}

#[test]
fn a_fifo_a_socket_and_a_loop_of_folders_hang_nothing() {
    only_undetermined("/etc/kubernetes/pki/fifo.crt is a FIFO", |tree| {
        nix::unistd::mkfifo(&tree.pki("fifo.crt"), Mode::S_IRUSR).unwrap();
    });
    only_undetermined("/etc/kubernetes/pki/a.sock is a socket", |tree| {
        drop(std::os::unix::net::UnixListener::bind(tree.pki("a.sock")).unwrap());
    });
    let audit = node(|tree| symlink("/etc/kubernetes/pki", tree.pki("loop")).unwrap());
    assert!(audit.breached.is_empty() && audit.undetermined.is_empty(), "{audit:#?}");
}

#[test]
fn a_socket_is_there_and_cannot_be_read() {
    let found = node(|tree| {
        std::fs::remove_file(tree.pki("sa.pub")).unwrap();
        drop(std::os::unix::net::UnixListener::bind(tree.pki("sa.pub")).unwrap());
    });
    assert_eq!(found.breached.keys().collect::<Vec<_>>(), ["pki.file.readable"], "{found:#?}");
}

#[test]
fn a_node_whose_key_cannot_be_read_is_not_passed_over() {
    let (one, other) = (Tree::new(Base::Ecdsa).unwrap(), Tree::new(Base::Ecdsa).unwrap());
    std::fs::remove_file(other.pki("sa.key")).unwrap();
    nix::unistd::mkfifo(&other.pki("sa.key"), Mode::S_IRUSR).unwrap();
    let (one, other) = (LiveHost::open(one.root()).unwrap(), LiveHost::open(other.root()).unwrap());
    for (here, there) in [(&one, &other), (&other, &one)] {
        let why = &audit(here, Some(there), &profile()).undetermined["pki.cluster.service-account-key"];
        assert!(why.contains("sa.key is no regular file"), "{why}");
    }
}

#[test]
fn what_could_not_be_told_stands_beside_what_was_found() {
    let tree = Tree::new(Base::Ecdsa).unwrap();
    for name in ["sa.pub", "x.crt"] {
        std::fs::remove_file(tree.pki(name)).ok();
        nix::unistd::mkfifo(&tree.pki(name), Mode::S_IRUSR).unwrap();
    }
    let host = LiveHost::open(tree.root()).unwrap();
    let (facts, profile) = (Facts::read(&host), profile());
    let check = checks().into_iter().find(|check| check.id == "pki.file.readable").unwrap();
    let judged = check.judge(&View::alone(&facts, &profile));
    assert!(matches!(judged.verdict, Verdict::Breached(_)), "{judged:#?}");
    assert!(format!("{:?}", judged.evidence).contains("x.crt is a FIFO"), "{judged:#?}");
}

#[test]
fn a_kubelet_s_configuration_that_is_no_yaml_is_named() {
    let audit = node(|tree| tree.write("var/lib/kubelet/config.yaml", "{{"));
    assert!(audit.breached.is_empty(), "{:#?}", audit.breached);
    for id in ["pki.file.readable", "pki.flag.kubelet-rotation"] {
        let why = audit.undetermined.get(id).map_or("", String::as_str);
        assert!(why.contains("/var/lib/kubelet/config.yaml is no YAML"), "{id}: {audit:#?}");
    }
}

#[test]
fn what_a_manifest_that_is_no_yaml_would_name_is_not_passed() {
    let audit = node(|tree| {
        tree.replace("etc/kubernetes/manifests/kube-apiserver.yaml", "    - --client-ca-file", "   - --client-ca-file")
    });
    // One finding, with its line.
    assert_eq!(audit.breached.keys().collect::<Vec<_>>(), ["pki.flag.manifest"], "{:#?}", audit.breached);
    let [why] = &audit.breached["pki.flag.manifest"][..] else { panic!("{audit:#?}") };
    assert!(why.contains("kube-apiserver.yaml line 11: ") && why.contains("not valid YAML"), "{why}");
    // The layout's files may not be those that count.
    for id in ["pki.flag.apiserver", "pki.chain.wrong-ca", "pki.san.service-name", "pki.key.service-account-pair"] {
        assert!(audit.undetermined.get(id).is_some_and(|why| why.contains("kube-apiserver.yaml")), "{id}: {audit:#?}");
    }
    for id in ["pki.flag.etcd", "pki.san.etcd-server", "pki.user.scheduler", "pki.file.key-mode"] {
        assert!(audit.held.contains(id), "{id}: {audit:#?}");
    }
    // What runs says the same by itself.
    let audit = node(|tree| {
        let manifest = tree.read("etc/kubernetes/manifests/kube-apiserver.yaml");
        let flags = manifest.lines().filter_map(|line| line.trim().strip_prefix("- --"));
        let command = flags.map(|flag| format!("--{flag}\0")).collect::<String>();
        tree.write("etc/kubernetes/manifests/kube-apiserver.yaml", "apiVersion: [");
        tree.write("proc/stat", "cpu 0\nbtime 2000000000\n");
        tree.write("proc/77/cmdline", format!("kube-apiserver\0{command}"));
        tree.write("proc/77/stat", format!("77 (kube-apiserver) {}", vec!["0"; 50].join(" ")));
    });
    assert_eq!(audit.breached.keys().collect::<Vec<_>>(), ["pki.flag.manifest"], "{:#?}", audit.breached);
    assert!(audit.held.contains("pki.flag.apiserver") && audit.undetermined.is_empty(), "{audit:#?}");
}

#[test]
fn a_file_of_a_gigabyte_is_not_read() {
    only_undetermined("/etc/kubernetes/pki/huge.pem is too large", |tree| {
        std::fs::File::create(tree.pki("huge.pem")).unwrap().set_len(1 << 30).unwrap();
    });
    // With a role it leaves what hangs on it undetermined.
    let audit = node(|tree| {
        std::fs::File::options().write(true).open(tree.pki("etcd/ca.crt")).unwrap().set_len(1 << 30).unwrap()
    });
    assert!(audit.breached.is_empty(), "{:#?}", audit.breached);
    assert!(audit.undetermined["pki.chain.wrong-ca"].contains("etcd/ca.crt is too large"), "{audit:#?}");
}

#[test]
fn pkcs12_is_named_as_what_it_is() {
    // openssl pkcs12 -export, of a P-256 key and its certificate.
    let store = include_bytes!("keys/store.p12");
    only_undetermined("/etc/kubernetes/pki/store.p12 is PKCS#12", |tree| {
        tree.write("etc/kubernetes/pki/store.p12", store);
    });
    // With a role it leaves what hangs on it undetermined.
    let audit = node(|tree| tree.write("etc/kubernetes/pki/apiserver.key", store));
    assert!(audit.breached.is_empty(), "{:#?}", audit.breached);
    assert!(audit.undetermined["pki.key.pair"].contains("apiserver.key is PKCS#12"), "{audit:#?}");
}

#[test]
fn any_bytes_in_any_file_are_survived() {
    for bytes in [
        &b""[..],
        b"\0",
        b"\x30\x82\xff\xff",
        b"-----BEGIN CERTIFICATE-----",
        b"\xff\xfe\x2d",
        b"clusters: [",
        &[0x30; 4096],
    ] {
        for file in ["apiserver.crt", "apiserver.key", "ca.crt", "sa.pub"] {
            let audit = node(|tree| tree.write(&format!("{PKI}/{file}"), bytes));
            assert!(audit.breached.contains_key("pki.file.parses"), "{file} {bytes:?}: {:#?}", audit.breached);
            assert!(audit.held.len() > 30, "{file} {bytes:?}");
        }
    }
}

#[test]
fn what_a_broken_file_was_to_tell_is_undetermined_and_the_rest_is_judged() {
    // The file, claims that it takes part in, and claims that it does not.
    let rows: [(&str, &[&str], &[&str]); 6] = [
        (
            "apiserver.crt",
            &[
                "pki.chain.wrong-ca",
                "pki.kubeconfig.ca",
                "pki.key.pair",
                "pki.san.present",
                "pki.san.service-name",
                "pki.validity.expired",
            ],
            &["pki.kubeconfig.verifies", "pki.san.etcd-server", "pki.usage.etcd-server", "pki.user.scheduler"],
        ),
        (
            "apiserver.key",
            &["pki.key.pair"],
            &["pki.chain.wrong-ca", "pki.key.service-account-pair", "pki.san.present"],
        ),
        ("sa.pub", &["pki.key.pair", "pki.key.service-account-pair"], &["pki.chain.wrong-ca", "pki.validity.expired"]),
        ("etcd/ca.crt", &["pki.ca.etcd-own", "pki.chain.wrong-ca"], &["pki.san.etcd-server", "pki.usage.etcd-server"]),
        ("front-proxy-ca.crt", &["pki.ca.front-proxy-own"], &["pki.ca.etcd-own", "pki.usage.client"]),
        (
            "../scheduler.conf",
            &["pki.user.scheduler", "pki.validity.soon"],
            &["pki.san.present", "pki.user.controller-manager"],
        ),
    ];
    for (file, takes, leaves) in rows {
        for garbage in [true, false] {
            let audit = node(|tree| {
                if garbage {
                    return tree.write(&format!("{PKI}/{file}"), b"no PEM");
                }
                tree.remove(&format!("{PKI}/{file}"));
                nix::unistd::mkfifo(&tree.pki(file), Mode::S_IRUSR).unwrap();
            });
            for id in takes {
                let why = audit.undetermined.get(*id).unwrap_or_else(|| panic!("{file}, {id}: {audit:#?}"));
                assert!(why.contains(file.trim_start_matches("../")), "{file}, {id}: {why}");
            }
            for id in leaves {
                assert!(audit.held.contains(*id), "{file}, {id}: {audit:#?}");
            }
        }
    }
}

#[test]
fn no_private_key_leaves_the_host() {
    let tree = Tree::new(Base::Rsa).unwrap();
    tree.kubeconfig("scheduler", |config| config["users"][0]["user"]["token"] = "SECRETtoken".into());
    let (transcript, text) = through_a_file(&record(&LiveHost::open(tree.root()).unwrap()));
    assert!(!text.contains("PRIVATE KEY") && !text.contains("SECRETtoken"));
    // Every line of every key, and the same in base64 once more, as kubeconfigs have it.
    let mut lines = 0;
    for path in ["ca.key", "apiserver.key", "etcd/peer.key", "sa.key"] {
        // PKCS#1 begins with the modulus, which is public: the first six lines.
        for line in tree.read(&format!("{PKI}/{path}")).lines().filter(|line| line.len() == 64).skip(6) {
            assert!(!text.contains(line), "{path}: {line}");
            lines += 1;
        }
    }
    assert!(lines > 20, "{lines}");
    let config: serde_json::Value = serde_saphyr::from_str(&tree.read("etc/kubernetes/admin.conf")).unwrap();
    let key = config["users"][0]["user"]["client-key-data"].as_str().unwrap();
    assert!(key.len() > 2000 && !text.contains(&key[..200]) && !text.contains(&key[1000..1200]));
    // And what is recorded is judged as the host is.
    let again = audit(&transcript, None, &profile());
    assert_eq!(again.breached.keys().collect::<Vec<_>>(), ["pki.kubeconfig.token"]);
    assert!(again.held.len() > 50, "{:?}", again.held);
}

fn open(path: &Path) -> crate::Audit {
    let node = Source::open(path, &Layout::default()).unwrap().gather(true, &["pki"]);
    audit(&node.transcript, None, &profile())
}

#[test]
fn a_folder_of_a_pki_and_what_is_around_it_are_audited() {
    let tree = Tree::new(Base::Ecdsa).unwrap();
    for path in [PKI, "etc/kubernetes"] {
        let clean = open(&tree.path(path));
        assert!(clean.breached.is_empty() && clean.held.len() > 40, "{path}: {clean:#?}");
    }
    tree.reissue_by("apiserver", &tree.authority("front-proxy-ca"), |_| {});
    for path in [PKI, "etc/kubernetes"] {
        let found = open(&tree.path(path)).breached;
        assert_eq!(found.keys().collect::<Vec<_>>(), ["pki.chain.wrong-ca"], "{path}");
    }
}

#[test]
fn a_kubeconfig_alone_is_audited() {
    let tree = Tree::new(Base::Ecdsa).unwrap();
    let clean = open(&tree.path("etc/kubernetes/admin.conf"));
    assert!(clean.breached.is_empty() && clean.held.contains("pki.key.pair"), "{clean:#?}");
    tree.mode("etc/kubernetes/admin.conf", 0o644);
    tree.kubeconfig("scheduler", crate::tree::unverified);
    let found = open(&tree.path("etc/kubernetes/scheduler.conf")).breached;
    assert_eq!(found.keys().collect::<Vec<_>>(), ["pki.kubeconfig.verifies"]);
    // By what is in it, whatever it is called; beside YAML that is none.
    let folder = tempfile::tempdir().unwrap();
    let named = folder.path().join("k3s.yaml");
    std::fs::copy(tree.path("etc/kubernetes/scheduler.conf"), &named).unwrap();
    std::fs::write(folder.path().join("values.yaml"), "clusters: []\n").unwrap();
    assert!(Source::open(&folder.path().join("values.yaml"), &Layout::default()).is_err());
    for place in [&*named, folder.path()] {
        let found = open(place).breached;
        assert_eq!(found.keys().collect::<Vec<_>>(), ["pki.kubeconfig.verifies"], "{}: {found:#?}", place.display());
    }
    let empty = tempfile::tempdir().unwrap();
    assert!(Source::open(empty.path(), &Layout::default()).is_err(), "a folder without anything is nothing to audit");
}

#[test]
fn what_has_no_known_name_is_judged_for_itself() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    };
    let mut params = forge::leaf("an authority", None, None);
    params.not_after = forge::days(3000);
    let (authority, _) = forge::Authority::new(&params);
    let certificate = |from, until| {
        let (key, mut params) = (forge::key(), forge::leaf("www.test", None, Some(Usage::Server)));
        params.subject_alt_names = vec![rcgen::SanType::DnsName("www.test".try_into().unwrap())];
        (params.not_before, params.not_after) = (forge::days(from), forge::days(until));
        (authority.sign(&params, &key), key.serialize_pem())
    };
    let (good, good_key) = certificate(-1, 300);
    let (old, old_key) = certificate(-400, -100);
    let found = open(&write("www.pem", good.as_bytes()));
    assert!(found.breached.is_empty() && found.held.contains("pki.validity.expired"), "{found:#?}");
    let der = Document::read(good.as_bytes()).certificates().next().unwrap().der.to_vec();
    for (name, content, id) in [
        ("old.pem", old.as_bytes(), "pki.validity.expired"),
        ("random.crt", &[0xa5, 0x30, 0x82, 0x00, 0xff].repeat(1000), "pki.file.parses"),
        ("config", b"a: [", "pki.file.parses"),
        ("empty.pem", b"\n", "pki.file.parses"),
        ("www.der", &der, "pki.file.parses"),
    ] {
        let found = open(&write(name, content)).breached;
        assert_eq!(found.keys().collect::<Vec<_>>(), [id], "{name}: {found:#?}");
        std::fs::remove_file(folder.path().join(name)).unwrap();
    }
    // In a folder certificates and keys pair by what is in them.
    write("www-key.pem", good_key.as_bytes());
    write("shop.pem", old.as_bytes());
    write("shop-key.pem", old_key.as_bytes());
    write("signer.pem", authority.pem.as_bytes());
    let found = open(folder.path());
    assert_eq!(found.breached.keys().collect::<Vec<_>>(), ["pki.validity.expired"], "{found:#?}");
    assert!(found.held.contains("pki.key.pair"), "{found:#?}");
    let facts = Source::open(folder.path(), &Layout::default()).unwrap().pki();
    let files: Vec<_> = facts.expiries().iter().map(|one| one.file.rsplit('/').next().unwrap().to_owned()).collect();
    assert_eq!(files, ["shop.pem", "signer.pem", "www.pem"]);
    let titles: Vec<_> = facts.rotation_plan(jiff::Timestamp::now(), 400).into_iter().map(|one| one.title).collect();
    assert!(matches!(&titles[..], [only] if only.starts_with("Renew what was given before ")), "{titles:?}");
}

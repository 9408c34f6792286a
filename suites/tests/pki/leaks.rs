//! Keys that are found where they should not be are told by their public halves: nothing of them is recorded, and
//! nothing is reported.

use std::os::unix::fs::symlink;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use seaworthy_checks::Verdict;
use seaworthy_checks::host::{Among, Host, LiveHost, Query, Recorder};
use seaworthy_checks::pki::{Facts, View, checks};

use crate::mutations::leaks::{BACKUP, LAYER, POD, audit, database, key, log};
use crate::tree::{Base, Tree};
use crate::{profile, record, through_a_file};

/// A node whose keys are everywhere.
fn leaking() -> Tree {
    let tree = Tree::new(Base::Rsa).unwrap();
    audit(&tree, &key(&tree, "ca"));
    log(&tree, &key(&tree, "apiserver"));
    std::fs::create_dir(tree.path("var/log/containers")).unwrap();
    symlink(format!("/{POD}"), tree.path("var/log/containers/web-1.log")).unwrap();
    database(&tree, BACKUP, &key(&tree, "front-proxy-client"));
    tree.write(&format!("{LAYER}/root/.kube/config"), tree.read("etc/kubernetes/admin.conf"));
    tree.write(&format!("{LAYER}/srv/sa.pem"), key(&tree, "sa"));
    tree
}

#[test]
fn what_is_found_is_told_without_a_byte_of_it() {
    let tree = leaking();
    let (transcript, mut said) = through_a_file(&record(&LiveHost::open(tree.root()).unwrap()));
    let (facts, profile) = (Facts::read(&transcript), profile());
    let mut found = Vec::new();
    for check in checks() {
        let conclusion = check.judge(&View::alone(&facts, &profile));
        said += &format!("{conclusion:?}");
        if let Verdict::Breached(breaches) = conclusion.verdict {
            found.extend(breaches.into_iter().map(|breach| (check.id.clone(), breach.message)));
        }
    }
    for (id, file, what) in [
        ("pki.leak.log", "/var/log/kubernetes/audit.log", "line 2, in base64"),
        ("pki.leak.log", "/var/log/pods/default_web_1/web/0.log", "line 1"),
        ("pki.leak.snapshot", "/front-proxy-client.crt", "byte 41"),
        ("pki.leak.image", "/root/.kube/config", "kubernetes-admin"),
        ("pki.leak.image", "/srv/sa.pem", "as in /etc/kubernetes/pki/sa.key"),
    ] {
        let told = |(of, message): &(String, String)| of == id && message.contains(file) && message.contains(what);
        assert!(found.iter().any(told), "{id} {file} {what}: {found:#?}");
    }
    assert_eq!(found.len(), 5, "{found:#?}");
    assert!(!said.contains("PRIVATE KEY"), "a label is no secret, but nobody has to say it");
    let mut lines = 0;
    for name in ["ca", "apiserver", "front-proxy-client", "sa"] {
        let pem = key(&tree, name);
        // PKCS#1 begins with the modulus, which is public: the first six lines. And all of it once more in base64.
        let encoded = STANDARD.encode(&pem);
        let encoded = encoded.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap());
        for line in pem.lines().filter(|line| line.len() == 64).skip(6).chain(encoded.skip(8)) {
            assert!(!said.contains(line), "{name}: {line}");
            lines += 1;
        }
    }
    assert!(lines > 150, "{lines}");
}

#[test]
fn what_was_recorded_before_anybody_searched_is_not_passed() {
    let tree = leaking();
    let host = LiveHost::open(tree.root()).unwrap();
    let mut transcript = record(&host);
    let searches: Vec<_> = transcript.iter().map(|(query, _)| query.clone()).collect();
    let searches: Vec<_> = searches.into_iter().filter(|query| matches!(query, Query::PrivateKeys { .. })).collect();
    assert!(searches.len() >= 4, "{searches:?}");
    searches.iter().for_each(|query| transcript.remove(query));
    let (facts, profile) = (Facts::read(&transcript), profile());
    for id in ["pki.leak.log", "pki.leak.log-open", "pki.leak.snapshot", "pki.leak.image"] {
        let check = checks().into_iter().find(|check| check.id == id).unwrap();
        let verdict = check.judge(&View::alone(&facts, &profile)).verdict;
        assert!(matches!(&verdict, Verdict::Undetermined(why) if why.contains("nobody looked")), "{id}: {verdict:?}");
    }
}

#[test]
fn nothing_is_searched_for_what_the_commands_beside_the_suite_show_nor_in_a_folder_of_a_pki() {
    let tree = leaking();
    let asked = |host: &dyn Host, read: fn(&dyn Host) -> Facts| {
        let recorder = Recorder::new(host, true);
        drop(read(&recorder));
        recorder.finish().iter().filter(|(query, _)| matches!(query, Query::PrivateKeys { .. })).count()
    };
    let host = LiveHost::open(tree.root()).unwrap();
    assert!(asked(&host, Facts::read) > 0);
    assert_eq!(asked(&host, Facts::of_roles), 0);
    assert_eq!(asked(&LiveHost::open_pki(&tree.path("etc/kubernetes/pki")).unwrap(), Facts::read), 0);
    assert!(host.ask(&Query::PrivateKeys { path: "/none".into(), among: Among::Logs }).is_err());
}

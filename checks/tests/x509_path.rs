//! Every defect of a path is told, with who refuses for it; and hostile pools of certificates cost a bounded amount of
//! work.

#![allow(clippy::unwrap_used, dead_code, reason = "test code")]

#[path = "oracle/build.rs"]
mod build;

use std::sync::Arc;

use build::{Key, Parts, extension, name, sequence, wrap};
use seaworthy_checks::pki::x509::path::{
    Constrained, ConstraintBreach, MOST_PATHS, Mode, Outcome, Path, Pool, ProblemKind, Refused, Request, Signatures,
    Usage, WantedName, webpki,
};
use seaworthy_checks::pki::x509::{Certificate, GoVersion};

const GO: Mode = Mode::Go(GoVersion::NEWEST);
/// 2026-06-01T00:00:00Z.
const NOW: i64 = 1_780_272_000;

fn base(subject: &str, issuer: &str, key: &Key, extensions: Vec<Vec<u8>>) -> Parts {
    Parts {
        version: vec![0xa0, 3, 2, 1, 2],
        serial: vec![1],
        inner_algorithm: build::SHA256_ECDSA.to_vec(),
        outer_algorithm: build::SHA256_ECDSA.to_vec(),
        issuer: name(&[(3, 0x0c, issuer)]),
        not_before: wrap(0x17, &[b"250101000000Z"]),
        not_after: wrap(0x17, &[b"300101000000Z"]),
        subject: name(&[(3, 0x0c, subject)]),
        spki: key.spki(),
        extensions,
    }
}

/// Basic constraints of a CA, with what may follow in them.
fn ca(more: &[u8]) -> Vec<u8> {
    extension(19, true, &sequence(&[&[1, 1, 0xff], more]))
}

fn key_id(id: u8) -> Vec<u8> {
    extension(14, false, &wrap(4, &[&[id; 20]]))
}

fn issuer_key_id(id: u8) -> Vec<u8> {
    extension(35, false, &sequence(&[&wrap(0x80, &[&[id; 20]])]))
}

fn dns(name: &str) -> Vec<u8> {
    extension(17, false, &sequence(&[&wrap(0x82, &[name.as_bytes()])]))
}

fn purpose(last: u8) -> Vec<u8> {
    extension(37, false, &sequence(&[&[6, 8, 0x2b, 6, 1, 5, 5, 7, 3, last]]))
}

fn made(parts: &Parts, key: &Key) -> Arc<Certificate> {
    Arc::new(Certificate::parse(&parts.sign(&parts.tbs(), key)).unwrap())
}

/// A root, an intermediate CA and a leaf, each of which can be changed before it is signed.
struct Chain {
    keys: [Key; 3],
    parts: [Parts; 3],
    /// By which key each is signed.
    signers: [usize; 3],
    roots: Vec<Arc<Certificate>>,
}

impl Chain {
    fn new() -> Self {
        let keys = [Key::p256(), Key::p256(), Key::p256()];
        let usage = extension(15, true, &[3, 2, 2, 0x84]);
        let parts = [
            base("root", "root", &keys[0], vec![ca(&[]), usage.clone(), key_id(0)]),
            base("middle", "root", &keys[1], vec![ca(&[]), usage, key_id(1), issuer_key_id(0)]),
            base("leaf", "middle", &keys[2], vec![dns("kubernetes"), purpose(1), issuer_key_id(1)]),
        ];
        Self { keys, parts, signers: [0, 0, 1], roots: Vec::new() }
    }

    fn replace(&mut self, at: usize, with: Vec<u8>) {
        let same = |one: &Vec<u8>| one[2..7] == with[2..7];
        let place = self.parts[at].extensions.iter().position(same);
        match place {
            Some(place) => self.parts[at].extensions[place] = with,
            None => self.parts[at].extensions.push(with),
        }
    }

    fn remove(&mut self, at: usize, id: u8) {
        self.parts[at].extensions.retain(|one| one[6] != id);
    }

    fn certificates(&self) -> [Arc<Certificate>; 3] {
        [0, 1, 2].map(|at| made(&self.parts[at], &self.keys[self.signers[at]]))
    }

    fn ask(&self, mode: Mode) -> Outcome {
        let [root, middle, leaf] = self.certificates();
        let roots = Pool::new(self.roots.iter().cloned().chain([root]));
        verify(&leaf, &Pool::new([middle]), &roots, mode)
    }
}

fn verify(leaf: &Arc<Certificate>, intermediates: &Pool, roots: &Pool, mode: Mode) -> Outcome {
    let names = [WantedName::Dns("kubernetes".to_owned())];
    let time = jiff::Timestamp::from_second(NOW).unwrap();
    let request = Request { leaf, intermediates, roots, usage: Usage::Server, names: &names, time };
    request.verify(mode, &Signatures::default())
}

fn refused(outcome: Outcome) -> Refused {
    match outcome {
        Outcome::Refused(refused) => refused,
        Outcome::Accepted(path) => panic!("accepted: {:?}", path.problems),
    }
}

/// Where, which, and who refuses for it: Go, the RFC.
type Told = (usize, fn(&ProblemKind) -> bool, bool, bool);

#[test]
fn every_defect_of_a_path_is_told() {
    type Case = (&'static str, fn(&mut Chain), &'static [Told]);
    let cases: &[Case] = &[
        (
            "expired leaf",
            |chain| chain.parts[2].not_after = wrap(0x17, &[b"260101000000Z"]),
            &[(0, |kind| *kind == ProblemKind::Expired, true, true)],
        ),
        (
            "expired middle",
            |chain| chain.parts[1].not_after = wrap(0x17, &[b"260101000000Z"]),
            &[(1, |kind| *kind == ProblemKind::Expired, true, true)],
        ),
        (
            "future root",
            |chain| chain.parts[0].not_before = wrap(0x17, &[b"270101000000Z"]),
            &[(2, |kind| *kind == ProblemKind::NotYetValid, true, true)],
        ),
        (
            "no CA",
            |chain| chain.replace(1, extension(19, true, &sequence(&[]))),
            &[(1, |kind| *kind == ProblemKind::NotACa, true, true)],
        ),
        (
            "root without basic constraints",
            |chain| chain.remove(0, 19),
            &[(2, |kind| *kind == ProblemKind::NotACa, true, false)],
        ),
        (
            "no keyCertSign",
            |chain| chain.replace(1, extension(15, true, &[3, 2, 7, 0x80])),
            &[(1, |kind| *kind == ProblemKind::NoCertSign, true, true)],
        ),
        (
            "path length",
            |chain| chain.replace(0, ca(&[2, 1, 0])),
            &[(2, |kind| *kind == ProblemKind::PathLen { allowed: 0, found: 1 }, true, true)],
        ),
        (
            "purpose of the leaf",
            |chain| chain.replace(2, purpose(2)),
            &[(0, |kind| *kind == ProblemKind::Eku(Usage::Server), true, true)],
        ),
        (
            "purpose of a CA",
            |chain| chain.replace(1, purpose(2)),
            &[(1, |kind| *kind == ProblemKind::Eku(Usage::Server), true, false)],
        ),
        (
            "another name",
            |chain| chain.replace(2, dns("other")),
            &[(0, |kind| *kind == ProblemKind::NameMismatch(WantedName::Dns("kubernetes".to_owned())), true, true)],
        ),
        ("no alternative name", |chain| chain.remove(2, 17), &[(0, |kind| *kind == ProblemKind::NoSan, true, true)]),
        (
            "unknown critical",
            |chain| chain.replace(1, extension(99, true, &[5, 0])),
            &[(1, |kind| matches!(kind, ProblemKind::UnknownCritical(_)), true, true)],
        ),
        (
            "negative serial",
            |chain| chain.parts[2].serial = vec![0x80],
            &[(0, |kind| matches!(kind, ProblemKind::Malformed(_)), true, true)],
        ),
        (
            "another key of the same CA",
            |chain| {
                chain.signers[2] = 2;
                chain.replace(2, issuer_key_id(7));
            },
            &[
                (0, |kind| *kind == ProblemKind::SameSubjectOtherKey, true, true),
                (0, |kind| *kind == ProblemKind::AkiMismatch, false, false),
            ],
        ),
        (
            "a wrong signature",
            |chain| chain.signers[2] = 2,
            &[(0, |kind| *kind == ProblemKind::WrongSignature, true, true)],
        ),
        (
            "SHA-1, not signed by it",
            |chain| {
                let sha1 = [6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1].to_vec();
                (chain.parts[2].inner_algorithm, chain.parts[2].outer_algorithm) = (sha1.clone(), sha1);
            },
            &[
                (0, |kind| *kind == ProblemKind::Sha1, true, false),
                (0, |kind| *kind == ProblemKind::WrongSignature, true, true),
            ],
        ),
        (
            "an algorithm that the key does not have",
            |chain| {
                (chain.parts[2].inner_algorithm, chain.parts[2].outer_algorithm) =
                    (build::ED25519.to_vec(), build::ED25519.to_vec());
            },
            &[(0, |kind| *kind == ProblemKind::UnsupportedSignature, true, true)],
        ),
        (
            "issuer in another case",
            |chain| chain.parts[2].issuer = name(&[(3, 0x0c, "MIDDLE")]),
            &[(0, |kind| *kind == ProblemKind::IssuerEncoding, true, false)],
        ),
        (
            "issuer by key identifier",
            |chain| chain.parts[2].issuer = name(&[(3, 0x0c, "renamed")]),
            &[(0, |kind| *kind == ProblemKind::IssuerName, true, true)],
        ),
        (
            "not permitted",
            |chain| {
                chain.replace(
                    1,
                    extension(30, true, &sequence(&[&wrap(0xa0, &[&sequence(&[&wrap(0x82, &[b"cluster.local"])])])])),
                )
            },
            &[(
                1,
                |kind| {
                    matches!(
                        kind,
                        ProblemKind::NameConstraint {
                            of: 0,
                            name: Constrained::Dns(_),
                            why: ConstraintBreach::NotPermitted
                        }
                    )
                },
                true,
                true,
            )],
        ),
        (
            "excluded",
            |chain| {
                chain.replace(
                    0,
                    extension(30, true, &sequence(&[&wrap(0xa1, &[&sequence(&[&wrap(0x82, &[b"kubernetes"])])])])),
                )
            },
            &[(
                2,
                |kind| matches!(kind, ProblemKind::NameConstraint { of: 0, why: ConstraintBreach::Excluded(_), .. }),
                true,
                true,
            )],
        ),
        (
            "a policy is required",
            |chain| chain.replace(1, extension(36, false, &sequence(&[&[0x80, 1, 0]]))),
            &[(0, |kind| *kind == ProblemKind::NoPolicy, true, true)],
        ),
        (
            "two at once",
            |chain| {
                chain.parts[1].not_after = wrap(0x17, &[b"260101000000Z"]);
                chain.replace(0, ca(&[2, 1, 0]));
            },
            &[
                (1, |kind| *kind == ProblemKind::Expired, true, true),
                (2, |kind| matches!(kind, ProblemKind::PathLen { .. }), true, true),
            ],
        ),
    ];
    for (what, change, told) in cases {
        let mut chain = Chain::new();
        change(&mut chain);
        let by_go = told.iter().any(|one| one.2);
        assert_eq!(chain.ask(GO).is_accepted(), !by_go, "{what}");
        assert_eq!(chain.ask(Mode::Rfc5280).is_accepted(), !told.iter().any(|one| one.3), "{what}");
        let path = refused(chain.ask(GO)).paths.remove(0);
        assert_eq!(path.problems.len(), told.len(), "{what}: {:?}", path.problems);
        for (at, is, go, rfc5280) in *told {
            let found = path.problems.iter().find(|problem| problem.at == *at && is(&problem.kind));
            let found = found.unwrap_or_else(|| panic!("{what}: {:?}", path.problems));
            assert_eq!((found.refused_in(GO), found.rfc5280), (*go, *rfc5280), "{what}: {found:?}");
            assert!(!found.kind.to_string().is_empty());
        }
    }
}

#[test]
fn a_good_chain_is_accepted_by_all() {
    let chain = Chain::new();
    for mode in [GO, Mode::Go(GoVersion::new(17)), Mode::Rfc5280] {
        let Outcome::Accepted(path) = chain.ask(mode) else { panic!("refused") };
        assert_eq!((path.certificates.len(), path.problems), (3, vec![]));
    }
}

#[test]
fn without_its_issuer_a_certificate_says_who_that_would_be() {
    let [root, _, leaf] = Chain::new().certificates();
    let only = |path: &Path| path.problems.iter().map(|problem| (problem.at, problem.kind.clone())).collect::<Vec<_>>();
    let missing = refused(verify(&leaf, &Pool::default(), &Pool::new([root.clone()]), GO));
    assert_eq!(only(&missing.paths[0]), [(0, ProblemKind::NoIssuer(Box::new(leaf.issuer.clone())))]);
    let middle = Chain::new().certificates()[1].clone();
    // A self-signed certificate that is no root.
    let untrusted = refused(verify(&root, &Pool::default(), &Pool::new([middle]), GO));
    assert!(only(&untrusted.paths[0]).contains(&(0, ProblemKind::UntrustedRoot)));
}

#[test]
fn the_old_and_the_new_ca_of_a_rotation_are_told_apart() {
    let mut chain = Chain::new();
    // The new root stands beside the old one, by which everything is signed, in the bundle.
    let new = Key::p256();
    chain.roots.push(made(&base("root", "root", &new, vec![ca(&[]), key_id(9)]), &new));
    assert!(chain.ask(GO).is_accepted());
    // And alone.
    let [_, middle, leaf] = chain.certificates();
    let alone = refused(verify(&leaf, &Pool::new([middle]), &Pool::new(chain.roots.clone()), GO));
    let found: Vec<_> = alone.paths[0].refusals(GO).map(|problem| (problem.at, problem.kind.clone())).collect();
    assert_eq!(found, [(1, ProblemKind::SameSubjectOtherKey)]);
}

#[test]
fn what_the_next_version_refuses_is_known_before() {
    let mut chain = Chain::new();
    chain.parts[2].serial = vec![0x80];
    let Outcome::Accepted(path) = chain.ask(Mode::Go(GoVersion::new(22))) else { panic!("refused") };
    let newly = |old, new| {
        path.problems.iter().filter(|problem| problem.newly_refused(GoVersion::new(old), GoVersion::new(new))).count()
    };
    assert_eq!((newly(22, 23), newly(21, 22), newly(23, 24)), (1, 0, 0));
}

#[test]
fn thousands_of_cas_of_one_name_are_a_bounded_amount_of_work() {
    let (key, other) = (Key::p256(), Key::p256());
    let many = |count: u16| -> Vec<_> {
        let one = |number: u16| {
            made(
                &Parts {
                    serial: vec![1, (number >> 8) as u8, number as u8],
                    ..base("ca", "ca", &other, vec![ca(&[])])
                },
                &other,
            )
        };
        // Their keys are the same, so they differ in their names alone.
        (0..count)
            .map(|number| {
                let certificate = one(number);
                assert!(!certificate.der.is_empty());
                certificate
            })
            .collect()
    };
    let leaf = made(&base("leaf", "ca", &key, vec![dns("kubernetes")]), &key);
    let pool = Pool::new(many(3000));
    let signatures = Signatures::default();
    let names = [];
    let time = jiff::Timestamp::from_second(NOW).unwrap();
    let none = Pool::default();
    let request = Request { leaf: &leaf, intermediates: &pool, roots: &none, usage: Usage::Any, names: &names, time };
    let refused = refused(request.verify(GO, &signatures));
    assert!(refused.too_much_work, "Go gives up, too");
    assert!(refused.incomplete && refused.paths.len() <= MOST_PATHS);
    // All have one key: one signature each of the leaf and of the CA by it, however many certificates there are.
    assert!(signatures.len() <= 1100, "{}", signatures.len());
}

#[test]
fn cas_that_sign_each_other_are_no_endless_path() {
    let keys = [Key::p256(), Key::p256(), Key::p256()];
    let names = ["a", "b", "c"];
    let crossed = |serials: u8| {
        let mut all = Vec::new();
        for (issuer, key) in keys.iter().enumerate() {
            for (subject, own) in keys.iter().enumerate() {
                for serial in 1..=serials {
                    all.push(made(
                        &Parts { serial: vec![serial], ..base(names[subject], names[issuer], own, vec![ca(&[])]) },
                        key,
                    ));
                }
            }
        }
        all
    };
    let leaf = made(&base("leaf", "a", &keys[1], vec![dns("kubernetes")]), &keys[0]);
    for mode in [GO, Mode::Rfc5280] {
        let refused = refused(verify(&leaf, &Pool::new(crossed(5)), &Pool::default(), mode));
        assert!(refused.paths.iter().all(|path| path.certificates.len() <= 4));
    }
    let root = made(&base("root", "root", &keys[0], vec![ca(&[])]), &keys[0]);
    let cross = made(&base("c", "root", &keys[2], vec![ca(&[])]), &keys[0]);
    assert!(verify(&leaf, &Pool::new(crossed(1).into_iter().chain([cross])), &Pool::new([root]), GO).is_accepted());
}

#[test]
fn webpki_has_an_opinion_of_its_own() {
    let time = jiff::Timestamp::from_second(NOW).unwrap();
    let names = [WantedName::Dns("kubernetes".to_owned())];
    let disagreement = |chain: &Chain| {
        let [root, middle, leaf] = chain.certificates();
        let (roots, intermediates) = (Pool::new([root]), Pool::new([middle]));
        let request = Request {
            leaf: &leaf,
            intermediates: &intermediates,
            roots: &roots,
            usage: Usage::Server,
            names: &names,
            time,
        };
        webpki::disagreement(&request, GO, &Signatures::default())
    };
    let mut chain = Chain::new();
    assert_eq!(disagreement(&chain), None);
    // Only Go looks at the end of a root's validity.
    chain.parts[0].not_after = wrap(0x17, &[b"260101000000Z"]);
    assert_eq!(disagreement(&chain), Some(webpki::Disagreement::OnlyWebpkiAccepts));
    // Only Go takes a leaf that is a CA.
    let mut chain = Chain::new();
    chain.replace(2, ca(&[]));
    let said = disagreement(&chain).map(|one| one.to_string());
    let wanted = "accepted, but not by rustls-webpki: it says that it is a CA, and is presented";
    assert_eq!(said.as_deref(), Some(wanted));
}

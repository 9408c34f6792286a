//! Every lint finds what it is for, and nothing in a certificate of kubeadm's shape.

#![allow(clippy::unwrap_used, dead_code, reason = "test code")]

#[path = "oracle/build.rs"]
mod build;

use build::{Key, Parts, extension, name, sequence, wrap};
use seaworthy_checks::Severity;
use seaworthy_checks::pki::x509::lint::{LintKind, NameFault, Rules, Weakness, lint, lint_all};
use seaworthy_checks::pki::x509::{Certificate, Curve, GoVersion, Parameters};

/// The parts of a serving certificate as kubeadm makes them.
fn leaf() -> Parts {
    Parts {
        version: vec![0xa0, 3, 2, 1, 2],
        serial: vec![0x12, 0x34],
        inner_algorithm: build::SHA256_ECDSA.to_vec(),
        outer_algorithm: build::SHA256_ECDSA.to_vec(),
        issuer: name(&[(3, 0x13, "kubernetes")]),
        not_before: wrap(0x17, &[b"260101000000Z"]),
        not_after: wrap(0x17, &[b"270101000000Z"]),
        subject: name(&[(3, 0x13, "kube-apiserver")]),
        spki: Key::p256().spki(),
        extensions: vec![
            extension(15, true, &[3, 2, 5, 0xa0]),
            extension(37, false, &sequence(&[&[6, 8, 0x2b, 6, 1, 5, 5, 7, 3, 1]])),
            extension(19, true, &sequence(&[])),
            extension(35, false, &sequence(&[&wrap(0x80, &[&[1; 20]])])),
            names(&["kubernetes", "kubernetes.default.svc"]),
        ],
    }
}

fn names(dns: &[&str]) -> Vec<u8> {
    let all: Vec<_> = dns.iter().map(|name| wrap(0x82, &[name.as_bytes()])).collect();
    extension(17, false, &sequence(&all.iter().map(Vec::as_slice).collect::<Vec<_>>()))
}

fn ca() -> Parts {
    let extensions = vec![
        extension(15, true, &[3, 2, 2, 0xa4]),
        extension(19, true, &sequence(&[&[1, 1, 0xff]])),
        extension(14, false, &wrap(4, &[&[1; 20]])),
    ];
    Parts { subject: name(&[(3, 0x13, "kubernetes")]), extensions, ..leaf() }
}

fn made(parts: &Parts) -> Certificate {
    Certificate::parse(&parts.sign(&parts.tbs(), &Key::p256())).unwrap()
}

fn rsa(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let sign: &[u8] = if modulus[0] & 0x80 == 0 { &[] } else { &[0] };
    let key = sequence(&[&wrap(2, &[sign, modulus]), &wrap(2, &[exponent])]);
    sequence(&[&sequence(&[&[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0]]), &wrap(3, &[&[0], &key])])
}

/// A modulus of so many bytes that no small prime divides.
fn modulus(bytes: usize) -> Vec<u8> {
    let mut modulus = vec![0xff; bytes];
    for last in (1..=255_u8).step_by(2) {
        modulus[bytes - 1] = last;
        let divided = (3..752_u32)
            .any(|divisor| modulus.iter().fold(0, |rest, byte| (rest << 8 | u32::from(*byte)) % divisor) == 0);
        if !divided {
            return modulus;
        }
    }
    unreachable!("some number is divisible by no small prime");
}

const GO: Rules = Rules::of(GoVersion::NEWEST);

#[test]
fn certificates_of_kubeadms_shape_are_fine() {
    for parts in [leaf(), ca()] {
        for rules in [GO, Rules { strict: true, bsi: true, ..GO }] {
            assert_eq!(lint(&made(&parts), &rules), []);
        }
    }
}

#[test]
fn each_lint_finds_what_it_is_for() {
    let without = |parts: Parts, id: u8| Parts {
        extensions: parts
            .extensions
            .into_iter()
            .filter(|one| one[..5] != [0x30, one[1], 6, 3, 0x55] || one[6] != id)
            .collect(),
        ..parts
    };
    let with = |parts: Parts, more: Vec<u8>| Parts { extensions: [parts.extensions, vec![more]].concat(), ..parts };
    let time = |tag, text: &str| Parts { not_after: wrap(tag, &[text.as_bytes()]), ..leaf() };
    let dns = |one: &str| with(without(leaf(), 17), names(&[one]));
    let curve = |oid: &[u8], size: usize| {
        let algorithm = sequence(&[&[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1], oid]);
        Parts { spki: sequence(&[&algorithm, &wrap(3, &[&[0, 4], &vec![1; 2 * size]])]), ..leaf() }
    };
    let sha1 = [6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1].to_vec();
    let broken_point = {
        let mut spki = leaf().spki;
        *spki.last_mut().unwrap() ^= 1;
        spki
    };
    let bits = |bytes: usize| Parts { spki: rsa(&modulus(bytes), &[1, 0, 1]), ..leaf() };
    let rsa_key = |modulus: Vec<u8>, exponent: &[u8]| Parts { spki: rsa(&modulus, exponent), ..leaf() };
    let even = {
        let mut modulus = modulus(256);
        modulus[255] ^= 1;
        modulus
    };
    type Expected = (u8, Severity, fn(&LintKind) -> bool);
    let cases: Vec<(&str, Parts, Expected)> = vec![
        (
            "broken purposes",
            with(without(leaf(), 37), extension(37, false, &[0x30, 1, 6])),
            (1, Severity::Critical, |kind| matches!(kind, LintKind::Malformed(_))),
        ),
        (
            "version 1",
            Parts { version: vec![], extensions: vec![], ..ca() },
            (2, Severity::High, |kind| *kind == LintKind::OldVersion(1)),
        ),
        (
            "negative serial",
            Parts { serial: vec![0x80], ..leaf() },
            (3, Severity::Critical, |kind| *kind == LintKind::NegativeSerial),
        ),
        (
            "zero serial of a leaf",
            Parts { serial: vec![0], ..leaf() },
            (4, Severity::Low, |kind| *kind == LintKind::ZeroSerial),
        ),
        (
            "zero serial of a CA",
            Parts { serial: vec![0], ..ca() },
            (4, Severity::Info, |kind| *kind == LintKind::ZeroSerial),
        ),
        (
            "long serial",
            Parts { serial: vec![1; 21], ..leaf() },
            (4, Severity::Low, |kind| *kind == LintKind::LongSerial(21)),
        ),
        (
            "twice",
            with(leaf(), names(&["kubernetes"])),
            (6, Severity::Critical, |kind| matches!(kind, LintKind::DuplicateExtension(_))),
        ),
        (
            "algorithms differ",
            Parts { inner_algorithm: build::ED25519.to_vec(), ..leaf() },
            (7, Severity::Critical, |kind| *kind == LintKind::AlgorithmsDiffer),
        ),
        (
            "NULL with ECDSA",
            {
                let odd = [build::SHA256_ECDSA, &[5, 0]].concat();
                Parts { inner_algorithm: odd.clone(), outer_algorithm: odd, ..leaf() }
            },
            (7, Severity::Low, |kind| *kind == LintKind::AlgorithmParameters(Parameters::Null)),
        ),
        (
            "SHA-1",
            Parts { inner_algorithm: sha1.clone(), outer_algorithm: sha1.clone(), ..leaf() },
            (8, Severity::Critical, |kind| matches!(kind, LintKind::WeakHash(_))),
        ),
        (
            "SHA-1 of a root",
            Parts { inner_algorithm: sha1.clone(), outer_algorithm: sha1, ..ca() },
            (9, Severity::Info, |kind| matches!(kind, LintKind::WeakHashOfRoot(_))),
        ),
        ("RSA 512", bits(64), (10, Severity::Critical, |kind| *kind == LintKind::RsaSize(512))),
        ("RSA 1024", bits(128), (10, Severity::High, |kind| *kind == LintKind::RsaSize(1024))),
        ("RSA 8200", bits(1025), (10, Severity::High, |kind| *kind == LintKind::RsaSize(8200))),
        (
            "exponent 1",
            rsa_key(modulus(256), &[1]),
            (11, Severity::Critical, |kind| *kind == LintKind::WeakRsa(Weakness::Exponent(1))),
        ),
        (
            "exponent 3",
            rsa_key(modulus(256), &[3]),
            (11, Severity::Critical, |kind| *kind == LintKind::WeakRsa(Weakness::Exponent(3))),
        ),
        (
            "even modulus",
            rsa_key(even, &[1, 0, 1]),
            (11, Severity::Critical, |kind| *kind == LintKind::WeakRsa(Weakness::SmallFactor(2))),
        ),
        (
            "P-224",
            curve(&[6, 5, 0x2b, 0x81, 4, 0, 33], 28),
            (12, Severity::High, |kind| *kind == LintKind::Curve(Curve::P224)),
        ),
        (
            "secp256k1",
            curve(&[6, 5, 0x2b, 0x81, 4, 0, 10], 32),
            (12, Severity::Critical, |kind| matches!(kind, LintKind::BadCurveKey(_))),
        ),
        (
            "no point",
            Parts { spki: broken_point, ..leaf() },
            (12, Severity::Critical, |kind| matches!(kind, LintKind::BadCurveKey(_))),
        ),
        (
            "Ed25519",
            Parts { spki: Key::ed25519().spki(), ..leaf() },
            (13, Severity::Medium, |kind| matches!(kind, LintKind::KeyKind(_))),
        ),
        (
            "fraction",
            time(0x18, "20500101000000.5Z"),
            (14, Severity::Critical, |kind| matches!(kind, LintKind::Time(_))),
        ),
        ("offset", time(0x17, "270101000000+0100"), (14, Severity::Medium, |kind| matches!(kind, LintKind::Time(_)))),
        (
            "type by year",
            time(0x18, "20270101000000Z"),
            (14, Severity::Medium, |kind| matches!(kind, LintKind::Time(_))),
        ),
        (
            "negative path length",
            with(without(ca(), 19), extension(19, true, &sequence(&[&[1, 1, 0xff, 2, 1, 0xff]]))),
            (15, Severity::Critical, |kind| matches!(kind, LintKind::BadPathLen(_))),
        ),
        (
            "path length without CA",
            with(without(leaf(), 19), extension(19, true, &sequence(&[&[2, 1, 0]]))),
            (15, Severity::Medium, |kind| *kind == LintKind::PathLenWithoutCa),
        ),
        (
            "not critical",
            with(without(ca(), 19), extension(19, false, &sequence(&[&[1, 1, 0xff]]))),
            (16, Severity::Low, |kind| *kind == LintKind::BasicConstraintsNotCritical),
        ),
        ("no subject key id", without(ca(), 14), (17, Severity::Medium, |kind| *kind == LintKind::NoSubjectKeyId)),
        (
            "no authority key id",
            without(leaf(), 35),
            (17, Severity::Medium, |kind| *kind == LintKind::NoAuthorityKeyId),
        ),
        (
            "unknown critical",
            with(leaf(), extension(99, true, &[5, 0])),
            (18, Severity::High, |kind| matches!(kind, LintKind::UnknownCritical(_))),
        ),
        (
            "empty subject",
            Parts { subject: name(&[]), ..leaf() },
            (19, Severity::Low, |kind| *kind == LintKind::EmptySubject),
        ),
        (
            "control characters",
            Parts { subject: name(&[(3, 0x0c, "a\nb")]), ..leaf() },
            (19, Severity::Low, |kind| matches!(kind, LintKind::ControlCharacters(_))),
        ),
        (
            "T61",
            Parts { subject: name(&[(3, 0x14, "a")]), ..leaf() },
            (19, Severity::Low, |kind| matches!(kind, LintKind::OldEncoding { .. })),
        ),
        (
            "IP as a name",
            dns("10.96.0.1"),
            (20, Severity::High, |kind| matches!(kind, LintKind::DnsName { fault: NameFault::IpAddress, .. })),
        ),
        (
            "underscore",
            dns("a_b"),
            (20, Severity::Low, |kind| matches!(kind, LintKind::DnsName { fault: NameFault::Underscore, .. })),
        ),
        (
            "final dot",
            dns("a.b."),
            (20, Severity::High, |kind| matches!(kind, LintKind::DnsName { fault: NameFault::TrailingDot, .. })),
        ),
    ];
    for (what, parts, (number, severity, is)) in &cases {
        let found = lint(&made(parts), &GO);
        let [one] = &found[..] else { panic!("{what}: {found:?}") };
        assert_eq!((one.kind.number(), one.severity, is(&one.kind)), (*number, *severity, true), "{what}: {one:?}");
        assert!(!one.kind.to_string().is_empty());
    }
    let mut numbers: Vec<_> = cases.iter().map(|(.., (number, ..))| *number).collect();
    numbers.dedup();
    assert_eq!(
        numbers,
        [1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20],
        "5 is between certificates"
    );
}

#[test]
fn how_bad_it_is_hangs_on_the_rules() {
    let negative = made(&Parts { serial: vec![0x80], ..leaf() });
    assert_eq!(lint(&negative, &Rules::of(GoVersion::new(22)))[0].severity, Severity::High);
    assert_eq!(lint(&negative, &Rules::of(GoVersion::new(23)))[0].severity, Severity::Critical);
    let rsa = made(&Parts { spki: rsa(&modulus(256), &[1, 0, 1]), ..leaf() });
    assert_eq!(lint(&rsa, &GO), []);
    assert_eq!(lint(&rsa, &Rules { bsi: true, ..GO })[0].severity, Severity::Medium);
    let plain =
        made(&Parts { extensions: leaf().extensions.into_iter().filter(|one| one[6] != 19).collect(), ..leaf() });
    assert_eq!(lint(&plain, &GO), []);
    assert_eq!(lint(&plain, &Rules { strict: true, ..GO })[0].kind, LintKind::NoBasicConstraints);
}

#[test]
fn moduli_of_the_flawed_generator_are_told() {
    // 65537 to the power of 99, of 1584 bits or so: every such modulus is a power of 65537 by each of the primes.
    let mut power = vec![1_u32];
    for _ in 0..99 {
        let mut carry = 0_u64;
        for digit in &mut power {
            let product = u64::from(*digit) * 65537 + carry;
            *digit = u32::try_from(product & 0xffff_ffff).unwrap();
            carry = product >> 32;
        }
        if carry > 0 {
            power.push(u32::try_from(carry).unwrap());
        }
    }
    let bytes: Vec<u8> =
        power.iter().rev().flat_map(|digit| digit.to_be_bytes()).skip_while(|byte| *byte == 0).collect();
    let found = lint(&made(&Parts { spki: rsa(&bytes, &[1, 0, 1]), ..leaf() }), &GO);
    assert!(found.iter().any(|one| one.kind == LintKind::WeakRsa(Weakness::Roca)), "{found:?}");
}

#[test]
fn between_certificates() {
    let (one, other) = (made(&leaf()), made(&leaf()));
    assert_eq!(lint_all(&[&one, &one.clone()]), [], "the same one twice is no second one");
    let found = lint_all(&[&one, &other]);
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].0, &found[0].1.kind), (1, &LintKind::SerialReused(one.fingerprint)));

    // Three moduli of two primes each, of which two have one in common: 3 bytes are enough for that.
    let moduli =
        [65_521_u64 * 65_519, 65_521 * 65_497, 65_479 * 65_449].map(|product| product.to_be_bytes()[4..].to_vec());
    let all: Vec<_> = moduli
        .iter()
        .enumerate()
        .map(|(index, modulus)| {
            made(&Parts { serial: vec![u8::try_from(index + 1).unwrap()], spki: rsa(modulus, &[1, 0, 1]), ..leaf() })
        })
        .collect();
    let found = lint_all(&all.iter().collect::<Vec<_>>());
    assert_eq!(
        found.iter().map(|(index, lint)| (*index, lint.kind.clone())).collect::<Vec<_>>(),
        [(0, LintKind::SharedFactor(all[1].fingerprint)), (1, LintKind::SharedFactor(all[0].fingerprint)),]
    );
}

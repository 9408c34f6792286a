//! Every lint finds what it is for, and nothing in a certificate of kubeadm's shape.

#![allow(clippy::unwrap_used, dead_code, reason = "test code")]

#[path = "oracle/build.rs"]
mod build;

use build::{Key, Parts, extension, name, sequence, wrap};
use seaworthy_checks::pki::x509::lint::{KeyLint, Lint, NameFault, Weakness, lint, lint_key, shared_factors};
use seaworthy_checks::pki::x509::{Certificate, GoVersion, Parameters};

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

#[test]
fn certificates_of_kubeadms_shape_are_fine() {
    for parts in [leaf(), ca()] {
        let certificate = made(&parts);
        assert_eq!(lint(&certificate, GoVersion::NEWEST), []);
        assert_eq!(lint_key(&certificate.public_key), []);
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
    let sha1 = [6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 1].to_vec();
    type Is = fn(&Lint) -> bool;
    let cases: Vec<(&str, Parts, Is)> = vec![
        ("broken purposes", with(without(leaf(), 37), extension(37, false, &[0x30, 1, 6])), |lint| {
            matches!(lint, Lint::Malformed(_))
        }),
        ("version 1", Parts { version: vec![], extensions: vec![], ..ca() }, |lint| *lint == Lint::OldVersion(1)),
        ("negative serial", Parts { serial: vec![0x80], ..leaf() }, |lint| *lint == Lint::NegativeSerial),
        ("zero serial of a leaf", Parts { serial: vec![0], ..leaf() }, |lint| *lint == Lint::ZeroSerial),
        ("zero serial of a CA", Parts { serial: vec![0], ..ca() }, |lint| *lint == Lint::ZeroSerial),
        ("long serial", Parts { serial: vec![1; 21], ..leaf() }, |lint| *lint == Lint::LongSerial(21)),
        ("twice", with(leaf(), names(&["kubernetes"])), |lint| matches!(lint, Lint::DuplicateExtension(_))),
        ("algorithms differ", Parts { inner_algorithm: build::ED25519.to_vec(), ..leaf() }, |lint| {
            *lint == Lint::AlgorithmsDiffer
        }),
        (
            "NULL with ECDSA",
            {
                let odd = [build::SHA256_ECDSA, &[5, 0]].concat();
                Parts { inner_algorithm: odd.clone(), outer_algorithm: odd, ..leaf() }
            },
            |lint| *lint == Lint::AlgorithmParameters(Parameters::Null),
        ),
        ("SHA-1", Parts { inner_algorithm: sha1.clone(), outer_algorithm: sha1.clone(), ..leaf() }, |lint| {
            matches!(lint, Lint::WeakHash(_))
        }),
        ("SHA-1 of a root", Parts { inner_algorithm: sha1.clone(), outer_algorithm: sha1, ..ca() }, |lint| {
            matches!(lint, Lint::WeakHashOfRoot(_))
        }),
        ("fraction", time(0x18, "20500101000000.5Z"), |lint| matches!(lint, Lint::Time(_))),
        ("offset", time(0x17, "270101000000+0100"), |lint| matches!(lint, Lint::Time(_))),
        ("type by year", time(0x18, "20270101000000Z"), |lint| matches!(lint, Lint::Time(_))),
        (
            "negative path length",
            with(without(ca(), 19), extension(19, true, &sequence(&[&[1, 1, 0xff, 2, 1, 0xff]]))),
            |lint| matches!(lint, Lint::PathLength(_)),
        ),
        ("path length without CA", with(without(leaf(), 19), extension(19, true, &sequence(&[&[2, 1, 0]]))), |lint| {
            *lint == Lint::PathLengthWithoutCa
        }),
        ("not critical", with(without(ca(), 19), extension(19, false, &sequence(&[&[1, 1, 0xff]]))), |lint| {
            *lint == Lint::BasicConstraintsNotCritical
        }),
        ("no subject key id", without(ca(), 14), |lint| *lint == Lint::NoSubjectKeyId),
        ("no authority key id", without(leaf(), 35), |lint| *lint == Lint::NoAuthorityKeyId),
        ("unknown critical", with(leaf(), extension(99, true, &[5, 0])), |lint| {
            matches!(lint, Lint::UnknownCritical(_))
        }),
        ("empty subject", Parts { subject: name(&[]), ..leaf() }, |lint| *lint == Lint::EmptySubject),
        ("control characters", Parts { subject: name(&[(3, 0x0c, "a\nb")]), ..leaf() }, |lint| {
            matches!(lint, Lint::ControlCharacters(_))
        }),
        ("T61", Parts { subject: name(&[(3, 0x14, "a")]), ..leaf() }, |lint| matches!(lint, Lint::OldEncoding { .. })),
        ("IP as a name", dns("10.96.0.1"), |lint| matches!(lint, Lint::DnsName { fault: NameFault::IpAddress, .. })),
        ("underscore", dns("a_b"), |lint| matches!(lint, Lint::DnsName { fault: NameFault::Underscore, .. })),
        ("final dot", dns("a.b."), |lint| matches!(lint, Lint::DnsName { fault: NameFault::TrailingDot, .. })),
    ];
    for (what, parts, is) in &cases {
        let found = lint(&made(parts), GoVersion::NEWEST);
        let [one] = &found[..] else { panic!("{what}: {found:?}") };
        assert!(is(one), "{what}: {one:?}");
        assert!(!one.to_string().is_empty());
    }
}

#[test]
fn what_is_malformed_is_told_as_what_it_is() {
    let unread = |id: u8, content: &[u8]| {
        let others = leaf().extensions.into_iter().filter(|one| one[6] != id);
        made(&Parts { extensions: others.chain([extension(id, false, content)]).collect(), ..leaf() })
    };
    let found = lint(&unread(17, &sequence(&[&wrap(0x87, &[&[1, 2, 3]])])), GoVersion::NEWEST);
    assert!(matches!(&found[..], [Lint::AlternativeName(_)]), "{found:?}");
    let found = lint(&unread(15, &[3, 2, 5, 0xa0, 5, 0]), GoVersion::NEWEST);
    assert!(matches!(&found[..], [Lint::Malformed(defect)] if !defect.refused_by(GoVersion::NEWEST)), "{found:?}");
    let number = wrap(0x31, &[&sequence(&[&[6, 3, 0x55, 4, 11], &[2, 1, 7]])]);
    let found = lint(&made(&Parts { subject: sequence(&[&number]), ..leaf() }), GoVersion::NEWEST);
    assert!(matches!(&found[..], [Lint::Name(_)]), "{found:?}");
}

#[test]
fn each_lint_of_keys_finds_what_it_is_for() {
    let curve = |oid: &[u8], size: usize| {
        let algorithm = sequence(&[&[6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1], oid]);
        Parts { spki: sequence(&[&algorithm, &wrap(3, &[&[0, 4], &vec![1; 2 * size]])]), ..leaf() }
    };
    let broken_point = {
        let mut spki = leaf().spki;
        *spki.last_mut().unwrap() ^= 1;
        spki
    };
    let bits = |bytes: usize| Parts { spki: rsa(&modulus(bytes), &[1, 0, 1]), ..leaf() };
    let rsa_key = |modulus: Vec<u8>, exponent: &[u8]| Parts { spki: rsa(&modulus, exponent), ..leaf() };
    let even = {
        let mut modulus = modulus(384);
        modulus[383] ^= 1;
        modulus
    };
    let broken_point = Parts { spki: broken_point, ..leaf() };
    let cases: Vec<(&str, Parts, KeyLint)> = vec![
        ("RSA 512", bits(64), KeyLint::RsaSize(512)),
        ("RSA 1024", bits(128), KeyLint::RsaSize(1024)),
        ("RSA 2048", bits(256), KeyLint::RsaSize(2048)),
        ("RSA 8200", bits(1025), KeyLint::RsaSize(8200)),
        ("exponent 1", rsa_key(modulus(384), &[1]), KeyLint::Weak(Weakness::Exponent(1))),
        ("exponent 3", rsa_key(modulus(384), &[3]), KeyLint::Weak(Weakness::Exponent(3))),
        ("even modulus", rsa_key(even, &[1, 0, 1]), KeyLint::Weak(Weakness::SmallFactor(2))),
        ("P-224", curve(&[6, 5, 0x2b, 0x81, 4, 0, 33], 28), KeyLint::Curve),
        ("secp256k1", curve(&[6, 5, 0x2b, 0x81, 4, 0, 10], 32), KeyLint::Curve),
        ("no point", broken_point, KeyLint::Curve),
        ("Ed25519", Parts { spki: Key::ed25519().spki(), ..leaf() }, KeyLint::Kind),
    ];
    for (what, parts, wanted) in cases {
        let certificate = made(&parts);
        assert_eq!(lint_key(&certificate.public_key), [wanted], "{what}");
        assert_eq!(lint(&certificate, GoVersion::NEWEST), [], "{what}: it is told of the key alone");
    }
    assert_eq!(lint_key(&made(&bits(384)).public_key), []);
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
    let found = lint_key(&made(&Parts { spki: rsa(&bytes, &[1, 0, 1]), ..leaf() }).public_key);
    assert!(found.contains(&KeyLint::Weak(Weakness::Roca)), "{found:?}");
}

#[test]
fn common_factors_are_found_both_ways() {
    // Three moduli of two primes each, of which two have one in common: 3 bytes are enough for that.
    let moduli =
        [65_521_u64 * 65_519, 65_521 * 65_497, 65_479 * 65_449].map(|product| product.to_be_bytes()[4..].to_vec());
    let moduli: Vec<_> = moduli.iter().enumerate().map(|(index, modulus)| (index, &modulus[..])).collect();
    assert_eq!(shared_factors(&moduli), [(0, 1), (1, 0)]);
    assert_eq!(shared_factors(&moduli[1..]), []);
    assert_eq!(shared_factors(&[]), []);
}

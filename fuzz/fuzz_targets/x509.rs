//! Any DER is read as a certificate, linted and led to a root without a panic, and no rule contradicts another.

#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use seaworthy_checks::pki::x509::lint::{lint, lint_key, shared_factors};
use seaworthy_checks::pki::x509::path::{Mode, Outcome, Pool, Request, Signatures, Usage, WantedName, webpki};
use seaworthy_checks::pki::x509::{Certificate, GoVersion, KeyKind};

fuzz_target!(|bytes: &[u8]| {
    // Several certificates, one after the other: the first is the leaf.
    let mut all = Vec::new();
    let mut rest = bytes;
    while let Ok(certificate) = Certificate::parse(rest) {
        rest = &rest[certificate.der.len()..];
        all.push(Arc::new(certificate));
        if all.len() == 8 {
            break;
        }
    }
    let Some(leaf) = all.first() else { return };
    let mut moduli = Vec::new();
    for (index, certificate) in all.iter().enumerate() {
        for found in lint(certificate, GoVersion::NEWEST) {
            std::hint::black_box(found.to_string());
        }
        for found in lint_key(&certificate.public_key) {
            std::hint::black_box(found.to_string());
        }
        if let KeyKind::Rsa(key) = &certificate.public_key.kind {
            moduli.push((index, &*key.modulus));
        }
        std::hint::black_box(format!("{certificate:?}"));
    }
    for (one, other) in shared_factors(&moduli) {
        assert_ne!(one, other);
    }
    let (intermediates, roots) = (Pool::new(all.iter().skip(1).cloned()), Pool::new(all.last().cloned()));
    let names = [WantedName::Dns("kubernetes".to_owned()), WantedName::Ip([10, 96, 0, 1].into())];
    let signatures = Signatures::default();
    for usage in [Usage::Server, Usage::Any] {
        for names in [&names[..], &[]] {
            let request = Request {
                leaf,
                intermediates: &intermediates,
                roots: &roots,
                usage,
                names,
                time: jiff::Timestamp::UNIX_EPOCH,
            };
            for mode in [Mode::Go(GoVersion::new(17)), Mode::Go(GoVersion::NEWEST), Mode::Rfc5280] {
                match request.verify(mode, &signatures) {
                    Outcome::Accepted(path) => assert!(path.is_accepted(mode)),
                    Outcome::Refused(refused) => {
                        assert!(!refused.paths.is_empty());
                        assert!(refused.too_much_work || refused.paths.iter().all(|path| !path.is_accepted(mode)));
                    }
                }
            }
            std::hint::black_box(webpki::verify(&request).is_ok());
        }
    }
});

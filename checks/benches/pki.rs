//! How many certificates a second are parsed, linted and chain-checked: distinct leaves under one CA, as the TLS
//! Secrets of a large cluster are.
//!
//! `cargo bench -p seaworthy-checks --bench pki`; the figures of a run are in docs/benchmarks.md. The first look
//! verifies each signature; a second one finds them cached.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints its figures")]

use std::sync::Arc;
use std::time::Instant;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};
use seaworthy_checks::pki::x509::lint::{lint, lint_key};
use seaworthy_checks::pki::x509::path::{Mode, Pool, Request, Signatures, Usage, WantedName};
use seaworthy_checks::pki::x509::{Certificate, GoVersion};

const THREADS: usize = 2;

/// Does `work` with each of `all` on so many threads, and gives back what came out.
fn parallel<T: Sync, R: Send>(all: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let chunk = all.len().div_ceil(THREADS);
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            all.chunks(chunk).map(|part| scope.spawn(|| part.iter().map(&work).collect::<Vec<_>>())).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

fn leaves(ca: &CertifiedIssuer<'_, KeyPair>, count: usize) -> Vec<Vec<u8>> {
    let numbers: Vec<_> = (0..count).collect();
    parallel(&numbers, |number| {
        let mut params = CertificateParams::new([format!("service-{number}.namespace.svc")]).unwrap();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        params.signed_by(&key, ca).unwrap().der().to_vec()
    })
}

/// How many lints a certificate has, and its key.
fn linted(certificate: &Certificate) -> usize {
    lint(certificate, GoVersion::NEWEST).len() + lint_key(&certificate.public_key).len()
}

/// Seconds of CPU that this process has used.
fn cpu() -> f64 {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF).unwrap();
    [usage.user_time(), usage.system_time()].iter().map(|time| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6).sum()
}

/// Prints how many a second that is, by the clock and by what the CPUs did: the two differ on a machine that is busy
/// with other things.
fn rate<R>(what: &str, count: usize, work: impl FnOnce() -> R) -> R {
    let (began, before) = (Instant::now(), cpu());
    let out = work();
    let (wall, used) =
        (count as f64 / began.elapsed().as_secs_f64(), count as f64 / ((cpu() - before) / THREADS as f64));
    println!("  {what:34} {wall:9.0} certificates/s by the clock, {used:9.0} by CPU time");
    out
}

fn main() {
    for (name, algorithm, count) in
        [("ECDSA P-256", &rcgen::PKCS_ECDSA_P256_SHA256, 100_000), ("RSA 2048", &rcgen::PKCS_RSA_SHA256, 20_000)]
    {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate_for(algorithm).unwrap()).unwrap();
        let leaves = leaves(&ca, count);
        let bytes: usize = leaves.iter().map(Vec::len).sum();
        println!("{count} leaves of {} bytes under one CA with {name}, {THREADS} threads", bytes / count);

        let roots = Pool::new([Arc::new(Certificate::parse(ca.der()).unwrap())]);
        let none = Pool::default();
        let time = jiff::Timestamp::from_second(1_780_272_000).unwrap();
        let signatures = Signatures::default();
        let check = |leaf: &Arc<Certificate>| {
            let names = [WantedName::Dns(leaf.extensions.subject_alt_names.as_ref().unwrap().dns[0].clone())];
            let request =
                Request { leaf, intermediates: &none, roots: &roots, usage: Usage::Server, names: &names, time };
            assert!(request.verify(Mode::Go(GoVersion::NEWEST), &signatures).is_accepted());
        };
        let whole = |der: &Vec<u8>| {
            let leaf = Arc::new(Certificate::parse(der).unwrap());
            assert_eq!(linted(&leaf), 0);
            check(&leaf);
        };
        let parsed = rate("parsed", count, || parallel(&leaves, |der| Arc::new(Certificate::parse(der).unwrap())));
        rate("linted", count, || parallel(&parsed, |leaf| linted(leaf)));
        rate("all three, signatures verified", count, || parallel(&leaves, whole));
        assert_eq!(signatures.len(), count);
        rate("all three, signatures cached", count, || parallel(&leaves, whole));
    }
}

//! Keys: that each belongs to its certificate, to no other, and is strong enough.

use std::collections::{BTreeMap, BTreeSet};

use super::certificate::{RSA_1024, go};
use super::*;
use crate::pki::discover::Role;
use crate::pki::facts::Bundle;
use crate::pki::x509::lint::{KeyLint, Weakness, lint_key, shared_factors};
use crate::pki::x509::{KeyKind, PublicKey};
use crate::profile::PkiProfile;

/// Among more RSA keys than these no common factors are looked for.
const MOST_RSA_KEYS: usize = 2048;

/// A key, whose it is, and where it was seen.
struct Seen<'f> {
    key: &'f PublicKey,
    file: &'f str,
    line: Option<u32>,
    what: String,
}

/// Every public key with a role, each once.
fn keys(facts: &Facts) -> Vec<Seen<'_>> {
    let mut all = Vec::new();
    for (file, held) in facts.certificates() {
        let what = format!("the key of {}", held.certificate.subject);
        let line = Some(held.line).filter(|line| *line > 0);
        all.push(Seen { key: &held.certificate.public_key, file, line, what });
    }
    for one in &facts.discovery.uses {
        let Some(contents) = facts.store.contents(&one.file) else { continue };
        if matches!(one.role, Role::ServiceAccountKey | Role::ServiceAccountPublicKeys) {
            let keys = contents.keys.iter().map(|key| &key.public).chain(&contents.public_keys);
            all.extend(keys.map(|key| Seen {
                key,
                file: &one.file,
                line: None,
                what: "a key of service accounts".to_owned(),
            }));
        }
    }
    let mut seen = BTreeSet::new();
    all.retain(|one| seen.insert(one.key.sha256));
    all
}

fn breach(one: &Seen<'_>, message: &str) -> Breach {
    let breach = Breach::new(one.file, format!("{}: {} {message}", one.file, one.what));
    breach.found(one.key.kind.to_string()).at(one.file, one.line)
}

/// A claim that no key has one of these lints.
fn no(id: &str, title: &str, is: fn(&KeyLint) -> bool) -> Check {
    by_version(id, title, move |lint, _| is(lint).then(|| lint.to_string()))
}

/// A claim that no key has a lint of which this says something, for the Go of the profile's version.
fn by_version(
    id: &str,
    title: &str,
    judge: impl Fn(&KeyLint, &View<'_>) -> Option<String> + Send + Sync + 'static,
) -> Check {
    claim(id, title, Of::Keys, "keys", move |view, tally| {
        for one in keys(view.facts) {
            tally.look();
            // A certificate whose key cannot be read is refused as a whole.
            if matches!(one.key.kind, KeyKind::Unreadable(_)) {
                continue;
            }
            for message in lint_key(one.key).iter().filter_map(|lint| judge(lint, view)) {
                tally.breach(breach(&one, &message));
            }
        }
    })
    .label("key")
}

fn again() -> Remedy {
    Remedy::new("Make a new key and have it certified; kubeadm takes the algorithm from encryptionAlgorithm.")
        .command("kubeadm certs renew all")
}

/// Which half of a pair was replaced without the other: that of the file that was written later, where they were not
/// written at once.
fn replaced(facts: &Facts, certificate: &str, key: &str) -> Option<String> {
    let written = |path| Some(facts.store.get(path)?.stat.known()?.mtime);
    let (of_certificate, of_key) = (written(certificate)?, written(key)?);
    let time =
        |second| jiff::Timestamp::from_second(second).map_or_else(|_| second.to_string(), |time| time.to_string());
    let told = |new: &str, at, old: &str, of| {
        format!("the {new} was replaced at {}, and the {old} is of {}", time(at), time(of))
    };
    // Who makes a pair writes one after the other.
    match of_key - of_certificate {
        2.. => Some(told("key", of_key, "certificate", of_certificate)),
        ..-1 => Some(told("certificate", of_certificate, "key", of_key)),
        -1..2 => None,
    }
}

fn pairs() -> Vec<Check> {
    vec![
        claim("pki.key.pair", "every private key belongs to its certificate", Of::Pairs, "pairs", |view, tally| {
            let shown = view
                .facts
                .credentials
                .iter()
                .map(|one| (&one.chain[0], one.file.as_str(), one.key.as_ref(), one.key_file.as_deref()));
            let trusted = view.facts.bundles.iter().filter_map(|one| {
                Some((one.certificates.first()?, one.file.as_str(), one.key.as_ref(), one.key_file.as_deref()))
            });
            for (held, file, key, key_file) in shown.chain(trusted) {
                let Some(key) = key else { continue };
                tally.look();
                if key.sha256 == held.certificate.public_key.sha256 {
                    continue;
                }
                let key_file = key_file.unwrap_or(file);
                let half = replaced(view.facts, file, key_file).map(|half| format!(": {half}")).unwrap_or_default();
                let message = format!("{key_file} is not the key of {file} ({}){half}", held.certificate.subject);
                tally.breach(
                    Breach::new(key_file, message)
                        .found(format!("sha256:{}", key.sha256))
                        .wanted(format!("sha256:{}", held.certificate.public_key.sha256))
                        .at(key_file, None),
                );
            }
        })
        .severity(Severity::Critical)
        .label("key")
        .alias("PKI-F06")
        .alias("PKI-F13")
        .alias("tls: private key does not match public key")
        .page(
            "A component whose key is not that of its certificate does not start.",
            "Derives the public half of every private key and compares its SHA-256 with that of the certificate's key. \
             Which belong together is said by flags, kubeconfigs and layouts, never by names; which of the two was \
             replaced without the other, by when their files were written.",
        )
        .basis("PKI certificates and requirements: certificate paths", CERTIFICATES)
        .remedy(
            Remedy::new("Put the right key there, or have both made anew.")
                .command("rm FILE.crt FILE.key && kubeadm init phase certs NAME"),
        ),
        claim("pki.key.shared", "no private key serves two purposes", Of::Keys, "keys", |view, tally| {
            /// What a key is for, the file of its certificate, and its own file.
            type Owner<'f> = (String, &'f str, Option<&'f str>);
            let mut all: Vec<(&PublicKey, Owner<'_>)> = Vec::new();
            for one in &view.facts.credentials {
                let what = format!("{} ({})", one.role, one.file);
                all.push((&one.leaf().public_key, (what, one.file.as_str(), one.key_file.as_deref())));
            }
            for bundle in &view.facts.bundles {
                for held in bundle.certificates.iter().filter(|held| held.certificate.is_ca()) {
                    // One CA may be trusted for several things; that it is one CA is for others to judge.
                    let what = format!("the CA {}", held.certificate.subject);
                    all.push((&held.certificate.public_key, (what, bundle.file.as_str(), None)));
                }
            }
            let mut owners: BTreeMap<_, Vec<Owner<'_>>> = BTreeMap::new();
            for (key, owner) in all {
                let owners = owners.entry(key.sha256).or_default();
                if !owners.iter().any(|(known, ..)| *known == owner.0) {
                    owners.push(owner);
                }
            }
            for owners in owners.values() {
                tally.look();
                // One certificate that is used for two things (minikube, RKE1, k3s) is one key with one certificate.
                let files: BTreeSet<_> = owners.iter().map(|(_, file, _)| *file).collect();
                if let ([(first, _, key), (second, file, other), ..], 2..) = (&owners[..], files.len()) {
                    let message = format!("{second} has the same private key as {first}");
                    let found = Breach::new(*file, message).at(*file, None);
                    // Two flags that name one file of a key were meant to.
                    let meant = key.is_some() && key == other;
                    tally.breach(if meant { found.severity(Severity::Low) } else { found });
                }
            }
        })
        .label("key")
        .alias("PKI-F07")
        .page(
            "Whoever gets hold of the weaker place has the stronger one, too; of a CA's key anybody with it is anyone.",
            "Compares the public keys of all certificates with a role. One certificate in one file that serves several \
             roles is no breach; one key file that two flags name is low.",
        )
        .basis("PKI certificates and requirements", CERTIFICATES)
        .remedy(again()),
        claim(
            "pki.key.service-account-pair",
            "tokens of service accounts are verified by the key that signs them",
            Of::ServiceAccounts,
            "keys",
            |view, tally| {
                let contents = |role| {
                    view.facts
                        .discovery
                        .of_role(role)
                        .filter_map(|one| Some((one.file.as_str(), view.facts.store.contents(&one.file)?)))
                };
                let mut public = Vec::new();
                for (_, contents) in contents(Role::ServiceAccountPublicKeys) {
                    public.extend(contents.public_keys.iter().map(|key| key.sha256));
                    public.extend(contents.keys.iter().map(|key| key.public.sha256));
                    public.extend(contents.certificates.iter().map(|held| held.certificate.public_key.sha256));
                }
                let file =
                    view.facts.discovery.of_role(Role::ServiceAccountPublicKeys).next().map(|one| one.file.clone());
                let Some(file) = file.filter(|_| !public.is_empty()) else { return };
                for (path, contents) in contents(Role::ServiceAccountKey) {
                    let Some(key) = contents.key() else { continue };
                    tally.look();
                    if !public.contains(&key.sha256) {
                        let message = format!(
                            "{file} does not hold the public half of {path}: every token that is signed now is refused"
                        );
                        tally.breach(
                            Breach::new(&file, message).wanted(format!("sha256:{}", key.sha256)).at(&file, None),
                        );
                    }
                }
            },
        )
        .severity(Severity::Critical)
        .label("key")
        .alias("PKI-R16")
        .alias("invalid bearer token")
        .page(
            "The controller manager and the API server sign tokens with one key, the API server verifies them with \
             others. If none fits, every pod is a stranger.",
            "Compares the public half of the signing key with all keys of --service-account-key-file, in whatever form \
             they are.",
        )
        .basis("PKI certificates and requirements: service account key pair", CERTIFICATES)
        .remedy(
            Remedy::new("Write the public half again; keep the old ones while tokens of them are in use.")
                .command("openssl pkey -in /etc/kubernetes/pki/sa.key -pubout -out /etc/kubernetes/pki/sa.pub"),
        ),
        claim(
            "pki.key.service-account-own",
            "the key of service accounts is used for nothing else",
            Of::Keys,
            "keys",
            |view, tally| {
                for one in view.facts.discovery.of_role(Role::ServiceAccountKey) {
                    let Some(key) = view.facts.store.contents(&one.file).and_then(|contents| contents.key()) else {
                        continue;
                    };
                    tally.look();
                    let twin = view
                        .facts
                        .certificates()
                        .into_iter()
                        .find(|(_, held)| held.certificate.public_key.sha256 == key.sha256);
                    if let Some((file, held)) = twin {
                        let message = format!(
                            "{} is also the key of the certificate {} in {file}",
                            one.file, held.certificate.subject
                        );
                        tally.breach(Breach::new(&one.file, message).at(&one.file, None));
                    }
                }
            },
        )
        .label("key")
        .alias("PKI-R17")
        .page(
            "Whoever has the key of a certificate that serves or signs could otherwise make tokens of any service \
             account.",
            "Compares the key with those of all certificates with a role.",
        )
        .basis("PKI certificates and requirements: service account key pair", CERTIFICATES)
        .remedy(
            Remedy::new(
                "Make a pair of its own, add its public half to --service-account-key-file first, then sign with it.",
            )
            .command("openssl genrsa -out sa.key 2048"),
        ),
        claim(
            "pki.key.mixed",
            "all keys are made by the algorithm that the cluster is configured for",
            Of::Certificates,
            "keys",
            |view, tally| {
                let declared = view.facts.settings.algorithm.as_deref();
                let Some(wanted) = declared.map(|name| if name.starts_with("ECDSA") { "ECDSA" } else { "RSA" }) else {
                    return;
                };
                for one in &view.facts.credentials {
                    // The kubelet makes its own, of P-256, whatever kubeadm is told.
                    if matches!(one.role, Role::KubeletClient | Role::KubeletServing) {
                        continue;
                    }
                    tally.look();
                    let found = one.leaf().public_key.kind.to_string();
                    if !found.starts_with(wanted) {
                        let message = format!(
                            "{} has a key of {found}, and encryptionAlgorithm is {}",
                            one.file,
                            declared.unwrap_or_default()
                        );
                        tally.breach(
                            Breach::new(&one.file, message)
                                .found(found)
                                .wanted(declared.unwrap_or_default())
                                .at(&one.file, one.line()),
                        );
                    }
                }
            },
        )
        .severity(Severity::Low)
        .label("key")
        .alias("PKI-R20")
        .alias("kubeadm#3072")
        .page(
            "kubeadm before 1.31 made the keys of kubeconfigs of RSA whatever it was told.",
            "Compares encryptionAlgorithm of kubeadm's ClusterConfiguration, where it lies on the node, with the keys \
             of certificates and kubeconfigs.",
        )
        .basis(
            "kubeadm configuration v1beta4: encryptionAlgorithm",
            "https://kubernetes.io/docs/reference/config-api/kubeadm-config.v1beta4/",
        )
        .remedy(again()),
    ]
}

fn strength() -> Vec<Check> {
    vec![
        by_version("pki.key.rsa-refused", "no RSA key is too short for Go", |lint, view| {
            let (now, _) = go(view);
            let refused = matches!(lint, KeyLint::RsaSize(..1024)) && RSA_1024.by(now);
            refused
                .then(|| format!("{lint}, and {now} of Kubernetes {} refuses fewer than 1024", view.profile.kubernetes))
        })
        .severity(Severity::Critical)
        .alias("PKI-X10")
        .alias("crypto/rsa: 512-bit keys are insecure")
        .page(
            "Go 1.24 and later neither sign nor verify with such keys, and others break them.",
            "Looks at the modulus of every RSA key with a role.",
        )
        .basis("Go 1.24 release notes: crypto/rsa", "https://go.dev/doc/go1.24")
        .remedy(again()),
        by_version("pki.key.rsa-short", "no RSA key is shorter than 2048 bits", |lint, view| {
            let KeyLint::RsaSize(bits @ ..2048) = lint else { return None };
            (*bits >= 1024 || !RSA_1024.by(go(view).0)).then(|| lint.to_string())
        })
        .alias("PKI-X10")
        .alias("EE_KEY_TOO_SMALL")
        .page(
            "OpenSSL and the crypto policies of distributions refuse shorter ones.",
            "Looks at the modulus of every RSA key with a role, those of service accounts included.",
        )
        .basis("NIST SP 800-131A", "https://csrc.nist.gov/pubs/sp/800/131/a/r2/final")
        .remedy(again()),
        no("pki.key.rsa-bsi", "RSA keys have at least 3000 bits", |lint| matches!(lint, KeyLint::RsaSize(2048..3000)))
            .severity(Severity::Medium)
            .only(&[PkiProfile::Bsi, PkiProfile::Strict])
            .alias("PKI-X10")
            .alias("BSI TR-02102")
            .page(
                "The BSI wants 3000 bits since 2024; kubeadm's default is 2048, and RSA-3072 and ECDSA-P256 are there \
                 to be chosen. It is judged with --pki-profile bsi or strict alone.",
                "Looks at the modulus of every RSA key with a role.",
            )
            .basis("BSI TR-02102-2", "https://www.bsi.bund.de/dok/TR-02102")
            .remedy(again()),
        no("pki.key.rsa-long", "no RSA key is longer than Go's TLS takes", |lint| {
            matches!(lint, KeyLint::RsaSize(8193..))
        })
        .alias("PKI-X10")
        .alias("tls: server sent certificate containing RSA key larger than")
        .page(
            "Since 1.19.13 Go refuses handshakes with longer keys, which only cost the other side time.",
            "Looks at the modulus of every RSA key with a role.",
        )
        .basis("GODEBUG tlsmaxrsasize", "https://go.dev/doc/godebug")
        .remedy(again()),
        no("pki.key.rsa-exponent", "RSA keys have a sound public exponent", |lint| {
            matches!(lint, KeyLint::Weak(Weakness::Exponent(_)))
        })
        .severity(Severity::Medium)
        .alias("PKI-X11")
        .page(
            "Small exponents are sound in theory and have been broken in practice; an even one is none at all.",
            "Looks at the public exponent of every RSA key with a role.",
        )
        .basis("NIST FIPS 186-5, appendix A.1.1", "https://csrc.nist.gov/pubs/fips/186-5/final")
        .remedy(again()),
        no("pki.key.curve", "elliptic keys lie on a curve that Kubernetes knows", |lint| *lint == KeyLint::Curve)
            .alias("PKI-X12")
            .alias("x509: unsupported elliptic curve")
            .page(
                "Go knows P-224 to P-521, and TLS of these P-256 to P-521 alone.",
                "Looks at the curve of every elliptic key with a role.",
            )
            .basis(
                "RFC 8446 section 4.2.3: signature algorithms",
                "https://www.rfc-editor.org/rfc/rfc8446#section-4.2.3",
            )
            .remedy(again()),
        claim(
            "pki.key.algorithm",
            "kubeadm can sign with the key of every CA",
            Of::Pairs,
            "CAs with a key",
            |view, tally| {
                let talos = view.facts.discovery.layouts.iter().any(|layout| layout.name == "Talos");
                let mut seen = BTreeSet::new();
                let bundles = || view.facts.bundles.iter().filter(|bundle| !talos && bundle.role != Role::TalosCa);
                // The key may be named by no flag, and kubeadm needs it all the same.
                for file in view.facts.store.iter().filter(|file| !view.facts.discovery.backups.contains(&file.path)) {
                    for held in file.contents.known().iter().flat_map(|contents| &contents.keys) {
                        let (path, kind) = (&file.path, &held.public.kind);
                        let of = |bundle: &&Bundle| {
                            let mut all = bundle.certificates.iter().map(|held| &held.certificate);
                            all.any(|one| one.is_ca() && one.public_key.sha256 == held.public.sha256)
                        };
                        let Some(bundle) = bundles().find(of).filter(|_| seen.insert(held.public.sha256)) else {
                            continue;
                        };
                        tally.look();
                        if !matches!(kind, KeyKind::Rsa(_) | KeyKind::Ec(_)) {
                            let message = format!(
                                "{path}, the key of {}, is of {kind}: kubeadm takes RSA and ECDSA for CAs",
                                bundle.role
                            );
                            tally.breach(
                                Breach::new(path, message)
                                    .found(kind.to_string())
                                    .wanted("RSA or ECDSA")
                                    .at(path, None),
                            );
                        }
                    }
                }
            },
        )
        .label("key")
        .alias("PKI-X13")
        .alias("neither in RSA nor ECDSA format")
        .page(
            "kubeadm loads the keys of CAs in RSA and ECDSA alone: with another, such as Ed25519, it can neither renew \
             a certificate nor upgrade the cluster. Leaf certificates may have such keys. The keys of service accounts \
             are judged by pki.file.parses, since the components themselves refuse others.",
            "Looks at the algorithm of every CA's key that is on the node, but those of Talos.",
        )
        .basis("client-go: util/keyutil", "https://pkg.go.dev/k8s.io/client-go/util/keyutil")
        .remedy(again()),
        no("pki.key.small-factor", "no RSA key can be divided by a small prime", |lint| {
            matches!(lint, KeyLint::Weak(Weakness::SmallFactor(_)))
        })
        .severity(Severity::Critical)
        .alias("PKI-X11")
        .page(
            "A modulus is the product of two large primes; one with a small factor was made by a broken generator, or \
             damaged afterwards, and is factored at once.",
            "Divides every modulus by the primes below 752.",
        )
        .basis("NIST FIPS 186-5, appendix A.1", "https://csrc.nist.gov/pubs/fips/186-5/final")
        .remedy(again()),
        no("pki.key.roca", "no RSA key is of the generator with the ROCA flaw", |lint| {
            matches!(lint, KeyLint::Weak(Weakness::Roca))
        })
        .severity(Severity::Critical)
        .alias("PKI-X11")
        .alias("ROCA")
        .alias("CVE-2017-15361")
        .page(
            "Smart cards, tokens and TPMs of Infineon made primes that are powers of 65537 by many small primes. The \
             private key is computed from the public one: for 80 dollars with 1024 bits, for 40,000 at worst with \
             2048, at the prices of 2017.",
            "Looks whether every modulus is, by each of the primes from 3 to 167, a power of 65537, as one in 240 \
             million sound keys is.",
        )
        .basis(
            "The Return of Coppersmith's Attack (Nemec et al., 2017); CVE-2017-15361",
            "https://nvd.nist.gov/vuln/detail/CVE-2017-15361",
        )
        .remedy(
            Remedy::new(
                "Make the key elsewhere than on that token, or on one with mended firmware, and have it certified \
                 anew.",
            )
            .command("kubeadm certs renew all"),
        ),
        claim("pki.key.common-factor", "no two RSA keys share a factor", Of::Keys, "keys", |view, tally| {
            let all = keys(view.facts);
            let mut seen = BTreeSet::new();
            let moduli = all.iter().enumerate().filter_map(|(index, one)| match &one.key.kind {
                KeyKind::Rsa(key) => Some((index, &*key.modulus)),
                _ => None,
            });
            let mut moduli: Vec<_> = moduli.filter(|(_, modulus)| seen.insert(*modulus)).collect();
            moduli.iter().for_each(|_| tally.look());
            if moduli.len() > MOST_RSA_KEYS {
                tally.unknown(format!(
                    "there are {} RSA keys: common factors were looked for among the first {MOST_RSA_KEYS}",
                    moduli.len()
                ));
                moduli.truncate(MOST_RSA_KEYS);
            }
            for (one, other) in shared_factors(&moduli) {
                let (one, other) = (&all[one], &all[other]);
                tally.breach(breach(
                    one,
                    &format!("shares a factor with {} in {}: both can be computed", other.what, other.file),
                ));
            }
        })
        .severity(Severity::Critical)
        .label("key")
        .alias("PKI-X11")
        .alias("batch GCD")
        .page(
            "Machines without randomness at their first boot have made keys that share a prime; anyone with both \
             certificates computes both private keys.",
            "Takes the greatest common divisor of every modulus and the product of all others (Bernstein's batch GCD).",
        )
        .basis("Mining your Ps and Qs (Heninger et al., 2012)", "https://factorable.net/")
        .remedy(again()),
    ]
}

/// The family's checks.
pub(super) fn checks() -> Vec<Check> {
    [pairs(), strength()].into_iter().flatten().collect()
}

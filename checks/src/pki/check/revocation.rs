//! Revocation lists: etcd alone among the components reads any, and of these the serial numbers alone.

use std::sync::Arc;

use super::*;
use crate::host::Form;
use crate::pki::discover::{Kind, Role};
use crate::pki::store::Contents;
use crate::pki::x509::RevocationList;
use crate::pki::x509::path::{Signature, verify_list};

const ETCD: &str = "https://etcd.io/docs/latest/op-guide/security/";
const CHECK: &str = "https://github.com/etcd-io/etcd/blob/main/client/pkg/transport/listener_tls.go";

/// A list that etcd is told: whom it is about, its file, and the line where it begins, if it has lines.
struct Told<'f> {
    role: Role,
    file: &'f str,
    contents: &'f Contents,
    line: Option<u32>,
    /// The first one of the file, which is the one that etcd reads.
    list: &'f Arc<RevocationList>,
}

impl Told<'_> {
    fn breach(&self, message: String) -> Breach {
        Breach::new(self.file, message).at(self.file, self.line)
    }
}

/// The lists that etcd is told.
fn told(facts: &Facts) -> impl Iterator<Item = Told<'_>> {
    let uses = facts.discovery.uses.iter().filter(|one| one.role.kind() == Kind::Revocations);
    uses.filter_map(|one| {
        let contents = facts.store.contents(&one.file)?;
        let (line, list) = contents.revocations.first()?;
        Some(Told { role: one.role, file: &one.file, contents, line: Some(*line).filter(|line| *line > 0), list })
    })
}

/// A claim about every list that etcd is told.
fn each(id: &str, title: &str, judge: impl Fn(&Told<'_>, &View<'_>, &mut Tally) + Send + Sync + 'static) -> Check {
    claim(id, title, Of::Revocations, "revocation lists that etcd is told", move |view, tally| {
        for one in told(view.facts) {
            tally.look();
            judge(&one, view, tally);
        }
    })
    .label("revocation")
    .alias("PKI-V09")
}

fn again() -> Remedy {
    Remedy::new("Have the CA sign a new list, and write it as DER; etcd reads the file anew for each connection.")
        .command("openssl ca -config CA.cnf -gencrl -out etcd.pem")
        .command("openssl crl -in etcd.pem -outform der -out /etc/kubernetes/pki/etcd/clients.crl")
}

/// The family's checks.
pub(super) fn checks() -> Vec<Check> {
    vec![
        each("pki.revocation.in-use", "no certificate that is shown to etcd is revoked", |one, view, tally| {
            // The gateway of etcd is a client with the server's certificate.
            let shown: &[Role] = match one.role {
                Role::EtcdClientRevocations => &[Role::ApiserverEtcdClient, Role::EtcdClient, Role::EtcdServer],
                _ => &[Role::EtcdPeer],
            };
            let unknown = view.facts.gaps.iter().filter(|gap| {
                gap.there && gap.part == Part::Certificates && gap.role.is_some_and(|role| shown.contains(&role))
            });
            unknown.for_each(|gap| tally.unknown(&gap.why));
            for credential in view.facts.credentials.iter().filter(|credential| shown.contains(&credential.role)) {
                for held in &credential.chain {
                    let certificate = &held.certificate;
                    if one.list.revokes(&certificate.serial) {
                        let other = if certificate.issuer.der == one.list.issuer.der {
                            ""
                        } else {
                            ", though it is of another CA: etcd compares numbers alone"
                        };
                        let message = format!(
                            "{}: {} with the serial number {} is revoked in {}{other}",
                            credential.file, certificate.subject, certificate.serial, one.file
                        );
                        tally.breach(
                            Breach::new(&credential.file, message)
                                .found(certificate.serial.to_string())
                                .at(&credential.file, Some(held.line).filter(|line| *line > 0)),
                        );
                    }
                }
            }
        })
        .severity(Severity::Critical)
        .alias("transport: certificate serial")
        .page(
            "etcd refuses whoever shows it: without the API server's certificate for etcd there is no API, without a \
             peer's no member.",
            "Compares the serial numbers in the lists of --client-crl-file and --peer-crl-file with those of the \
             certificates that etcd's clients and peers show, and of the CAs behind them in their files. etcd compares \
             nothing else, so that one of another CA with the same number is refused, too.",
        )
        .basis("etcd: client/pkg/transport, checkCRL", CHECK)
        .remedy(
            Remedy::new("Issue the certificate again, if it was revoked with reason; otherwise take it from the list.")
                .command("kubeadm certs renew apiserver-etcd-client"),
        )
        .remedy(again()),
        each(
            "pki.revocation.form",
            "every revocation list is of a form that all versions of etcd read",
            |one, view, tally| {
                let file = view.facts.store.get(one.file);
                if file.is_some_and(|file| file.form != Form::Der) {
                    // x509.ParseCRL decodes PEM only of what begins with the list.
                    let who = if one.line == Some(1) {
                        "etcd 3.5 reads it, etcd 3.6 and later refuse"
                    } else {
                        "and does not begin with the list: etcd of any version refuses"
                    };
                    tally.breach(
                        one.breach(format!("{} is PEM: {who} every connection", one.file)).found("PEM").wanted("DER"),
                    );
                } else if one.list.version != 2 {
                    tally.breach(
                        one.breach(format!(
                            "{} is of version {}, which etcd 3.6 and later do not read",
                            one.file, one.list.version
                        ))
                        .found(one.list.version.to_string())
                        .wanted("2"),
                    );
                }
                if let [_, second, ..] = &one.contents.revocations[..] {
                    tally.breach(
                        one.breach(format!(
                            "{} holds {} lists, of which etcd reads the first",
                            one.file,
                            one.contents.revocations.len()
                        ))
                        .at(one.file, Some(second.0)),
                    );
                }
            },
        )
        .alias("x509: malformed crl")
        .alias("x509: unsupported crl version")
        .page(
            "etcd reads the file for every connection, and what it cannot read it does not pass over: it refuses \
             whoever connects. Up to 3.5 it read PEM and DER by a function of Go that is deprecated; since 3.6 it \
             reads DER alone, so that a list in PEM stops the cluster on the day of the upgrade.",
            "Looks whether the list is DER of version 2, and the only one in its file. What is no list at all is told \
             by pki.file.parses.",
        )
        .basis("etcd: client/pkg/transport, checkCRL; Go: x509.ParseRevocationList", CHECK)
        .remedy(Remedy::new("Write it as DER.").command("openssl crl -in FILE -outform der -out FILE.der")),
        each(
            "pki.revocation.signer",
            "every revocation list is signed by a CA that etcd trusts",
            |one, view, tally| {
                let Some(bundle) = view.facts.verifier(one.role) else { return };
                let issuer =
                    || bundle.certificates.iter().filter(|held| held.certificate.subject.der == one.list.issuer.der);
                if issuer().next().is_none() {
                    let message =
                        format!("{} is signed by {}, which {} does not hold", one.file, one.list.issuer, bundle.file);
                    tally.breach(one.breach(message).found(one.list.issuer.to_string()).wanted(&bundle.file));
                    return;
                }
                let signatures: Vec<_> =
                    issuer().map(|held| verify_list(one.list, &held.certificate.public_key)).collect();
                if signatures.contains(&Signature::Good) {
                    return;
                }
                if signatures.contains(&Signature::Unsupported) {
                    return tally
                        .unknown(format!("{}: its signature is of an algorithm that is not verified here", one.file));
                }
                let message = format!(
                    "{} has the name of {} and another signature: the CA was replaced, or the list was changed",
                    one.file, one.list.issuer
                );
                tally.breach(one.breach(message).wanted(&bundle.file));
            },
        )
        .severity(Severity::Medium)
        .page(
            "etcd does not verify who signed the list: it refuses the serial numbers of any. A list of another CA \
             revokes numbers that mean something else here, and not those that were meant.",
            "Looks for the list's issuer among the CAs of --trusted-ca-file or --peer-trusted-ca-file, and verifies \
             its signature by that CA's key.",
        )
        .basis("RFC 5280 section 5.1: CRL fields", RFC5280)
        .remedy(again()),
        each("pki.revocation.stale", "no revocation list is older than it says that it may be", |one, view, tally| {
            if let Some(next) = one.list.next_update.filter(|next| *next < view.profile.now) {
                let message = format!("{} should have been replaced by {next}", one.file);
                tally.breach(one.breach(message).found(next.to_string()).wanted(format!("after {}", view.profile.now)));
            }
        })
        .severity(Severity::Low)
        .page(
            "What was revoked since is not in it. etcd does not look at the time, and goes on with the old list \
             without a word.",
            "Compares the time of the next update with the time of the audit.",
        )
        .basis("RFC 5280 section 5.1.2.5: next update", RFC5280)
        .remedy(again()),
        claim(
            "pki.revocation.unused",
            "every revocation list in the PKI's folders is read by somebody",
            Of::Other,
            "revocation lists",
            |view, tally| {
                let uses = &view.facts.discovery.uses;
                for path in &view.facts.discovery.others {
                    for (line, list) in
                        view.facts.store.contents(path).iter().flat_map(|contents| &contents.revocations)
                    {
                        tally.look();
                        // A copy of one that is read, in the other form.
                        let same = told(view.facts).any(|one| one.list.der == list.der);
                        if !same && !uses.is_empty() {
                            let message =
                                format!("{path} is a revocation list of {}, which no component is told", list.issuer);
                            tally.breach(Breach::new(path, message).at(path, Some(*line).filter(|line| *line > 0)));
                        }
                    }
                }
                told(view.facts).for_each(|_| tally.look());
            },
        )
        .severity(Severity::Low)
        .label("revocation")
        .alias("PKI-V09")
        .alias("PKI-F12")
        .page(
            "Whoever put it there may believe that what is in it is refused. kube-apiserver and the kubelet look at no \
             list, and etcd at those alone that it is told.",
            "Looks for revocation lists in the PKI's folders that --client-crl-file and --peer-crl-file of etcd do not \
             name. With --config-file etcd reads neither flag, and the file has no member for them.",
        )
        .basis("etcd: transport security model", ETCD)
        .remedy(Remedy::new(
            "Tell etcd the list by --client-crl-file or --peer-crl-file, or remove it. To lock out a client of the API \
             server rotate its CA, or take its rights.",
        )),
    ]
}

//! What is in files: PEM blocks, their labels and headers, and who reads them how.

use super::file::{Need, is_encrypted, needed, reading};
use super::*;
use crate::host::{Form, Oddity};
use crate::pki::discover::Kind;
use crate::pki::reader::Reader;
use crate::pki::store::Contents;
use crate::pki::x509::GoVersion;

/// The family's checks.
pub(super) fn checks() -> Vec<Check> {
    vec![
        claim("pki.file.text", "files of PEM hold nothing but PEM", Of::Other, "files", |view, tally| {
            for (path, ..) in needed(view.facts) {
                let Some(file) = view.facts.store.get(path).filter(|file| file.form == Form::Pem) else { continue };
                tally.look();
                for oddity in &file.oddities {
                    let (line, what) = match oddity {
                        Oddity::CarriageReturns => (1, "has lines that end in CR LF"),
                        Oddity::Text(line) => (*line, "holds text outside of its blocks"),
                    };
                    tally.breach(Breach::new(path, format!("{path} {what}")).at(path, Some(line)));
                }
            }
        })
        .severity(Severity::Low)
        .label("file")
        .alias("PKI-F08")
        .alias("trailing data after first PEM block")
        .page(
            "Go reads over it. Others do not: kubeadm once refused a CA file with something behind its first block, \
             and scripts compare bytes.",
            "Looks at what stands before, between and behind the blocks. Comments as openssl writes them before a \
             certificate count, too.",
        )
        .basis("RFC 7468: textual encodings of PKIX structures", "https://www.rfc-editor.org/rfc/rfc7468")
        .remedy(Remedy::new("Write the blocks alone.").command("openssl x509 -in FILE -out FILE.clean")),
        claim(
            "pki.file.passed-over",
            "no certificate or key is passed over by the program that reads the file",
            Of::Other,
            "files",
            |view, tally| {
                let go = Some(GoVersion::of_kubernetes(view.profile.kubernetes));
                let all = needed(view.facts);
                let contents = |path: &str| view.facts.store.contents(path);
                // What one of its readers refuses is another finding.
                let refused = all.iter().filter(|(path, _, need)| {
                    let reading = contents(path).and_then(|contents| reading(contents, *need, go));
                    reading.is_some_and(|reading| reading.refused.is_some())
                });
                let refused: std::collections::BTreeSet<_> = refused.map(|(path, ..)| (*path).to_owned()).collect();
                let mut tell = |path: &str, what: &str, contents: &Contents, need| {
                    tally.look();
                    let Some(reading) = reading(contents, need, go).filter(|reading| reading.refused.is_none()) else {
                        return;
                    };
                    for (line, why) in reading.passed_over {
                        let message = format!("{path} has a block that nobody reads: {why}; the file is {what}");
                        tally.breach(Breach::new(path, message).found(why).at(path, (line > 0).then_some(line)));
                    }
                };
                for (path, what, need) in all.iter().filter(|(path, ..)| !refused.contains(*path)) {
                    if let Some(contents) = contents(path) {
                        tell(path, what, contents, *need);
                    }
                }
                for client in &view.facts.clients {
                    let embedded = [
                        (
                            client.cluster.as_ref().and_then(|one| one.ca.as_ref()),
                            "certificate-authority-data",
                            Reader::Pool,
                        ),
                        (
                            client.user.as_ref().and_then(|one| one.certificate.as_ref()),
                            "client-certificate-data",
                            Reader::Pair,
                        ),
                        (client.user.as_ref().and_then(|one| one.key.as_ref()), "client-key-data", Reader::PairKey),
                    ];
                    for (contents, member, reader) in embedded {
                        if let Some(contents) = contents {
                            tell(&client.of.file, &format!("read for {member}"), contents, Need::Read(reader));
                        }
                    }
                }
            },
        )
        .label("file")
        .alias("PKI-F08")
        .alias("TRUSTED CERTIFICATE")
        .page(
            "Go passes over a PEM block whose BEGIN or END is damaged, and most readers over one with another label or \
             with header lines. A CA that is passed over is not trusted, and nothing says so.",
            "Reads each file block by block as the program does that needs it, and lists the certificates and keys \
             that it does not take although the file is for such.",
        )
        .basis("Go: encoding/pem, crypto/x509", "https://pkg.go.dev/crypto/x509#CertPool.AppendCertsFromPEM")
        .remedy(
            Remedy::new("Write each block again, with the label CERTIFICATE and without header lines.")
                .command("openssl x509 -in FILE -out FILE.clean"),
        ),
        claim("pki.file.label", "every PEM block is what its label says", Of::Other, "files", |view, tally| {
            for (path, _, need) in needed(view.facts) {
                let Some(contents) = view.facts.store.contents(path) else { continue };
                tally.look();
                // What is refused or passed over for it is another finding.
                let over: Vec<_> = match reading(contents, need, None) {
                    Some(reading) if reading.refused.is_some() => continue,
                    Some(reading) => reading.passed_over.iter().map(|(line, _)| *line).collect(),
                    None => Vec::new(),
                };
                for (line, wrong) in contents.mislabeled.iter().filter(|(line, _)| !over.contains(line)) {
                    let message = format!("{path} has a block labeled {}, which is a {}", wrong.label, wrong.belongs);
                    tally.breach(
                        Breach::new(path, message).found(&wrong.label).wanted(&wrong.belongs).at(path, Some(*line)),
                    );
                }
            }
        })
        .severity(Severity::Medium)
        .label("file")
        .alias("PKI-F08")
        .page(
            "Some programs go by the label and some by what is in the block. kops wrote public keys under the wrong \
             one for years.",
            "Parses what is in each block and compares it with the label.",
        )
        .basis("RFC 7468: textual encodings of PKIX structures", "https://www.rfc-editor.org/rfc/rfc7468")
        .remedy(
            Remedy::new("Write it again with the label that belongs to it.")
                .command("openssl pkey -pubin -in FILE -out FILE.pub"),
        ),
        claim(
            "pki.file.key-in-certificate",
            "no file of certificates holds a private key",
            Of::Other,
            "files",
            |view, tally| {
                for one in &view.facts.discovery.uses {
                    if one.role.kind() == Kind::Key || one.key.as_ref() == Some(&one.file) {
                        continue;
                    }
                    let Some(contents) = view.facts.store.contents(&one.file) else { continue };
                    tally.look();
                    if let Some(key) = contents.keys.first() {
                        let message = format!("{} holds a private key beside its certificates", one.file);
                        tally.breach(Breach::new(&one.file, message).at(&one.file, Some(key.line)));
                    }
                }
            },
        )
        .severity(Severity::Medium)
        .label("file")
        .alias("PKI-F08")
        .page(
            "A certificate is given to anyone who asks; one day the file is, too. The kubelet alone keeps both in one \
             file, by design.",
            "Looks for private keys in files that are named as certificates or CAs.",
        )
        .basis("PKI certificates and requirements", CERTIFICATES)
        .remedy(
            Remedy::new("Take the key out of it, and issue a new pair if the file was handed on.")
                .command("openssl x509 -in FILE -out FILE.crt"),
        ),
        claim("pki.file.repeated", "no certificate stands twice in one file", Of::Other, "files", |view, tally| {
            for (path, ..) in needed(view.facts) {
                let Some(contents) = view.facts.store.contents(path) else { continue };
                tally.look();
                let mut seen = std::collections::BTreeSet::new();
                for held in &contents.certificates {
                    if !seen.insert(held.certificate.fingerprint) {
                        let message = format!("{path} holds the certificate {} twice", held.certificate.subject);
                        tally.breach(Breach::new(path, message).at(path, Some(held.line)));
                    }
                }
            }
        })
        .severity(Severity::Medium)
        .label("file")
        .alias("PKI-F08")
        .page(
            "A chain with a certificate twice is sent so in every handshake, and strict clients refuse it.",
            "Compares the certificates of each file.",
        )
        .basis("PKI certificates and requirements", CERTIFICATES)
        .remedy(Remedy::new("Remove the second one.")),
        claim("pki.file.encrypted", "no private key is encrypted", Of::Other, "files", |view, tally| {
            for (path, what, need) in needed(view.facts) {
                let Some(contents) = view.facts.store.contents(path) else { continue };
                tally.look();
                if let Some(line) = contents.encrypted.first().filter(|_| is_encrypted(contents, need)) {
                    let message = format!("{path} is an encrypted key, which no component can read: {what}");
                    tally.breach(Breach::new(path, message).at(path, Some(*line)));
                }
            }
        })
        .severity(Severity::Critical)
        .label("file")
        .alias("PKI-F08")
        .alias("tls: failed to find PEM block with type ending in \"PRIVATE KEY\" in key input")
        .page(
            "There is nobody to type a password in: components read keys in the clear alone.",
            "Looks for encrypted PKCS#8 and for the headers of encrypted PEM.",
        )
        .basis("PKI certificates and requirements", CERTIFICATES)
        .remedy(
            Remedy::new("Decrypt it, with a mode of 0600 from the begin.")
                .command("(umask 077; openssl pkey -in FILE -out FILE.plain)"),
        ),
    ]
}

//! Keys that got to where nobody meant them to be: logs, copies of etcd's data, images; and who can read etcd's data.

use std::collections::BTreeMap;

use super::*;
use crate::host::Among;
use crate::pki::leak::{Leak, Search};
use crate::pki::x509::Fingerprint;

const ENCRYPTION: &str = "https://kubernetes.io/docs/tasks/administer-cluster/encrypt-data/";
const AUDIT: &str = "https://kubernetes.io/docs/tasks/debug/debug-cluster/audit/";
const IMAGES: &str = "https://kubernetes.io/docs/concepts/security/security-checklist/#images";
const ETCD: &str = "https://etcd.io/docs/latest/op-guide/configuration/";

/// The keys of the node's PKI, and what each is the key of.
fn own_keys(facts: &Facts) -> BTreeMap<Fingerprint, String> {
    let mut all = BTreeMap::new();
    for (file, held) in facts.certificates() {
        let what = format!("the private key of {} in {file}", held.certificate.subject);
        all.entry(held.certificate.public_key.sha256).or_insert(what);
    }
    for one in &facts.discovery.uses {
        let keys = facts.store.contents(&one.file).filter(|_| one.role == Role::ServiceAccountKey);
        for key in keys.iter().flat_map(|contents| &contents.keys) {
            all.entry(key.public.sha256).or_insert(format!("{}, as in {}", one.role, one.file));
        }
    }
    all
}

fn breach(leak: &Leak, what: &str) -> Breach {
    let found = &leak.found;
    let place = if found.line > 0 { format!("line {}", found.line) } else { format!("byte {}", found.offset) };
    let form = if found.encoded { ", in base64" } else { "" };
    let often = if found.count > 1 { format!(", {} times from there on", found.count) } else { String::new() };
    let message = format!("{} holds {what}: {place}{form}{often}", found.file);
    Breach::new(&found.file, message).at(&found.file, u32::try_from(found.line).ok().filter(|line| *line > 0))
}

/// A claim about the places of one kind that were searched.
fn each(
    id: &str,
    title: &str,
    among: Among,
    what: &'static str,
    judge: impl Fn(&Leak, &BTreeMap<Fingerprint, String>) -> Option<Breach> + Send + Sync + 'static,
) -> Check {
    claim(id, title, Of::Other, what, move |view, tally| {
        let own = own_keys(view.facts);
        for search in view.facts.leaks.searches.iter().filter(|search| search.among == among) {
            searched(search, tally);
            search.keys.iter().filter_map(|leak| judge(leak, &own)).for_each(|breach| tally.breach(breach));
        }
    })
    .label("leak")
    .alias("PKI-W05")
}

/// Says how much was searched, and what was not.
fn searched(search: &Search, tally: &mut Tally) {
    let said = match search.said.need(&search.path) {
        Ok(said) => said,
        Err(why) => return tally.unknown(why.to_string()),
    };
    (0..said.files).for_each(|_| tally.look());
    tally.note(format!("searched in {}", search.path), format!("{} files, {} bytes", said.files, said.bytes));
    for beyond in &said.beyond {
        // Of logs it is the newest that is claimed, and all else that may be in the way is rotated away.
        match search.among {
            Among::Logs => tally.note("not searched", beyond),
            Among::Snapshots | Among::Layers => tally.unknown(beyond),
        }
    }
    said.unread.iter().for_each(|why| tally.unknown(why));
}

fn mode(mode: u32) -> String {
    format!("{mode:04o}")
}

fn chmod(mode: &str, path: &str) -> Remedy {
    Remedy::new("Restrict the mode.").command(format!("chmod {mode} {}", remedy::quoted(path)))
}

fn rotate() -> Remedy {
    Remedy::new("The key is compromised: issue a new one, or rotate the CA if it is a CA's, then remove the file.")
        .command("seaworthy pki plan")
}

fn keys() -> Vec<Check> {
    vec![
        each("pki.leak.log", "No log holds a private key of the PKI", Among::Logs, "logs", |leak, own| {
            own.get(&leak.public.sha256).map(|what| breach(leak, what))
        })
        .severity(Severity::Critical)
        .alias("RequestResponse")
        .page(
            "Logs are shipped, kept for years and read by many. A key gets there by an audit policy of level \
                RequestResponse for Secrets, or by a program that prints what it copies.",
            "Searches what --audit-log-path, --log-file and --log-dir name, /var/log/pods, /var/log/containers \
                where that is not there, /var/log/kubernetes and the logs of k3s and RKE2 for private keys in \
                PEM, and in base64 as the data of Secrets is. Of each file the last 256 MiB, of each place the \
                newest GiB; what was compressed is not unpacked. A key counts if it parses, and if it pairs \
                with a certificate of this node or signs the tokens of service accounts. Nothing of it but its \
                public half is kept.",
        )
        .basis("Auditing: audit policy", AUDIT)
        .remedy(rotate())
        .remedy(Remedy::new("Have Secrets audited at level Metadata.").when("if it is the audit log")),
        each(
            "pki.leak.log-open",
            "No log that is readable by others holds a private key",
            Among::Logs,
            "logs",
            |leak, own| {
                let reach = leak
                    .reach
                    .as_ref()
                    .filter(|reach| reach.open_to & 0o044 != 0 && !own.contains_key(&leak.public.sha256))?;
                Some(
                    breach(leak, "a private key, and is open to others than root")
                        .found(mode(reach.stat.mode))
                        .wanted("0600"),
                )
            },
        )
        .page(
            "It is the key of somebody: of an Ingress, of a webhook, of a user. Whoever may read the log has it.",
            "Takes the keys that pki.leak.log finds and that are not of this PKI, and looks at the modes of \
                their files and of the folders above them. Container runtimes write logs with mode 0640 for \
                root's group, which is open to nobody else.",
        )
        .basis("Auditing: audit policy", AUDIT)
        .remedy(
            Remedy::new("Take the right to read it away, and have the key replaced.")
                .command("chmod 600 /var/log/kubernetes/audit.log"),
        ),
        each(
            "pki.leak.snapshot",
            "No copy of etcd's data holds a private key of the PKI",
            Among::Snapshots,
            "files of copies",
            |leak, own| own.get(&leak.public.sha256).map(|what| breach(leak, what)),
        )
        .alias("kubeadm-backup-etcd")
        .page(
            "Copies are made to be taken elsewhere, and Secrets are in them in the clear unless they are \
                encrypted at rest. That a key of the PKI itself is in a Secret is mostly nobody's intent.",
            "Searches the newest copy in /etc/kubernetes/tmp (kubeadm upgrade leaves them), in the folders of \
                snapshots of k3s, RKE2 and RKE1, in /var/backups (Kubespray) and /var/lib/etcd-backup*, up to 1 \
                GiB, for private keys that pair with a certificate of this node or sign the tokens of service \
                accounts. etcd's own data is not searched: Secrets belong there.",
        )
        .basis("Encrypting confidential data at rest", ENCRYPTION)
        .remedy(Remedy::new("Remove the copy, or keep it encrypted, and find the Secret that holds the key."))
        .remedy(rotate()),
        each(
            "pki.leak.image",
            "No image on the node holds a private key of its PKI",
            Among::Layers,
            "files of images",
            |leak, own| own.get(&leak.public.sha256).map(|what| breach(leak, what)),
        )
        .severity(Severity::Critical)
        .page(
            "Whoever can pull the image has the key: it was built on a node, or with a kubeconfig in the folder \
                that was copied.",
            "Looks into the unpacked layers of containerd, k3s, RKE2, k0s, MicroK8s, CRI-O, podman and Docker \
                at files of up to 1 MiB whose names may be a key's or a kubeconfig's (*.key, *.pem, *.conf, \
                config), for private keys that pair with a certificate of this node or sign the tokens of \
                service accounts; others, as packages have them for their tests, are passed over. Folders of \
                packages (usr/lib, usr/share, node_modules, site-packages) are not entered.",
        )
        .basis("Security checklist: images", IMAGES)
        .remedy(rotate())
        .remedy(Remedy::new(
            "Build the image again without it, and delete every version that has it from the \
            registry: a later layer that removes the file only hides it.",
        )),
    ]
}

fn data() -> Vec<Check> {
    vec![
        claim(
            "pki.leak.etcd-open",
            "etcd's data and its copies are readable only by their owner",
            Of::Other,
            "databases",
            |view, tally| {
                for file in &view.facts.leaks.databases {
                    tally.look();
                    if file.open_to & 0o066 != 0 {
                        let message =
                            format!("{} holds every Secret of the cluster and is accessible by other users", file.path);
                        tally.breach(
                            Breach::new(&file.path, message)
                                .found(mode(file.stat.mode))
                                .wanted("0600")
                                .at(&file.path, None)
                                .remedy(chmod("600", &file.path)),
                        );
                    }
                }
            },
        )
        .severity(Severity::Critical)
        .label("leak")
        .alias("PKI-W05")
        .alias("etcd snapshot permissions")
        .page(
            "Whoever reads it has every Secret: tokens, passwords, keys. Encryption at rest changes that for \
                what is encrypted alone.",
            "Looks at the modes of the database in the folder of --data-dir and in all copies that \
                pki.leak.snapshot knows, and of the folders above them: what nobody can get to is not open. \
                Root's group aside.",
        )
        .basis("Encrypting confidential data at rest", ENCRYPTION)
        .remedy(Remedy::new("Set the mode of the file to 0600.")),
        claim(
            "pki.leak.etcd-folder",
            "etcd's data directory is accessible only by its owner",
            Of::Other,
            "folders",
            |view, tally| {
                for folder in &view.facts.leaks.data {
                    tally.look();
                    if folder.stat.mode & 0o077 != 0 {
                        let message = format!("{} can be entered by others than its owner", folder.path);
                        tally.breach(
                            Breach::new(&folder.path, message)
                                .found(mode(folder.stat.mode))
                                .wanted("0700")
                                .at(&folder.path, None)
                                .remedy(chmod("700", &folder.path)),
                        );
                    }
                }
            },
        )
        .severity(Severity::Medium)
        .label("leak")
        .label("CIS")
        .alias("PKI-W05")
        .alias("CIS 1.1.11")
        .page(
            "etcd and kubeadm make it so, and etcd warns if it is not. The files in it are closed by their own \
                modes as well; who is let in reads whichever is not.",
            "Looks at the mode of the folder of --data-dir, or of the one that the distribution has.",
        )
        .basis("CIS Kubernetes Benchmark 1.1.11", CIS)
        .basis("etcd: configuration, --data-dir", ETCD)
        .remedy(Remedy::new("Set the mode of the directory to 0700.")),
    ]
}

/// The family's checks.
pub(super) fn checks() -> Vec<Check> {
    [keys(), data()].into_iter().flatten().collect()
}

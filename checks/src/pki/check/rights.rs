//! Who may read and change the files of a PKI, and whose they are.

use super::*;
use crate::host::FileKind;
use crate::pki::store::File;
use crate::profile::PkiProfile;

fn mode(mode: u32) -> String {
    format!("{mode:04o}")
}

/// Does the distribution let its components read keys by group, or own them?
fn component_users(facts: &Facts) -> bool {
    facts.discovery.layouts.iter().any(|layout| layout.component_users)
}

/// May this user own keys and folders?
fn may_own(facts: &Facts, uid: u32) -> bool {
    uid == 0 || component_users(facts) || facts.discovery.layouts.iter().any(|layout| layout.owners.contains(&uid))
}

/// Files of a role, and all others in the PKI's folders.
fn files(facts: &Facts) -> impl Iterator<Item = &File> {
    facts.store.iter().filter(|file| file.stat.known().is_some_and(|stat| stat.kind == FileKind::File))
}

/// The folders of the PKI, and those that its files lie in, with their mode.
fn folders(facts: &Facts) -> Vec<(String, crate::host::Stat)> {
    let parents = facts.discovery.uses.iter().filter_map(|one| Some(one.file.rsplit_once('/')?.0.to_owned()));
    let all: std::collections::BTreeSet<_> = facts.discovery.folders.iter().cloned().chain(parents).collect();
    let all = all.into_iter().filter(|folder| !folder.is_empty());
    all.filter_map(|folder| facts.store.folder(&folder).map(|stat| (folder, *stat))).collect()
}

fn restrict(path: &str, mode: &str) -> Remedy {
    Remedy::new("Restrict the mode.").command(format!("chmod {mode} {}", remedy::quoted(path)))
}

fn own(path: &str) -> Remedy {
    Remedy::new("Change the owner to root.").command(format!("chown root:root {}", remedy::quoted(path)))
}

/// The family's checks.
pub(super) fn checks() -> Vec<Check> {
    vec![
        claim(
            "pki.file.key-mode",
            "Private keys are readable and writable only by their owner",
            Of::Other,
            "keys",
            |view, tally| {
                let group = if component_users(view.facts) { 0o040 } else { 0 };
                let secret = |file: &&File| file.has_key() || file.talos.as_ref().is_some_and(|talos| talos.has_secret);
                for file in files(view.facts).filter(secret).filter(|file| file.kubeconfig.is_none()) {
                    tally.look();
                    let open = file.open_to() & 0o066 & !group;
                    if open != 0 {
                        let found = mode(file.stat.known().map_or(0, |stat| stat.mode));
                        let whom = if open & 0o006 != 0 { "anyone" } else { "its group" };
                        let what = if file.has_key() { "a private key" } else { "tokens" };
                        let message = format!("{} holds {what} and is accessible by {whom}", file.path);
                        tally.breach(
                            Breach::new(&file.path, message)
                                .found(found)
                                .wanted("0600")
                                .at(&file.path, None)
                                .remedy(restrict(&file.path, "600")),
                        );
                    }
                }
            },
        )
        .severity(Severity::Critical)
        .label("file")
        .label("CIS")
        .alias("PKI-F01")
        .alias("CIS 1.1.21")
        .page(
            "Whoever reads the key of a CA is the cluster's administrator, and whoever reads another key is who \
                the certificate says.",
            "Looks at the mode of every file with a private key, of Talos's files with a token, too, and at the \
                modes of the folders above it: what nobody can get to is not open. An access list shows in the \
                group's bits. `talosctl gen config` writes machine configurations, with the keys of all CAs, \
                for everybody to read.",
        )
        .basis("CIS Kubernetes Benchmark 1.1.21", CIS)
        .remedy(Remedy::new("Set the mode of the key to 0600.")),
        claim(
            "pki.file.key-owner",
            "Private keys are owned by root or the component's user",
            Of::Other,
            "keys",
            |view, tally| {
                // A folder that was given alone is a copy, and belongs to whoever copied it.
                for file in files(view.facts).filter(|file| file.has_key() && !view.facts.discovery.bare) {
                    let Some(stat) = file.stat.known() else { continue };
                    tally.look();
                    if !may_own(view.facts, stat.uid) {
                        let message = format!("{} is owned by user {}", file.path, stat.uid);
                        tally.breach(
                            Breach::new(&file.path, message)
                                .found(stat.uid.to_string())
                                .wanted("0")
                                .at(&file.path, None)
                                .remedy(own(&file.path)),
                        );
                    }
                }
            },
        )
        .label("file")
        .label("CIS")
        .alias("PKI-F01")
        .alias("CIS 1.1.19")
        .page(
            "The owner of a file can give it any mode, and read it.",
            "Looks at the owner of every file with a private key. k0s, MicroK8s and Talos have users for their \
                components, who may own keys there.",
        )
        .basis("CIS Kubernetes Benchmark 1.1.19", CIS)
        .remedy(Remedy::new("Change the owner to root.")),
        claim(
            "pki.file.certificate-mode",
            "Certificates are writable only by their owner",
            Of::Other,
            "certificates",
            |view, tally| {
                for file in files(view.facts).filter(|file| !file.has_key() && file.kubeconfig.is_none()) {
                    tally.look();
                    if file.open_to() & 0o022 != 0 {
                        let found = mode(file.stat.known().map_or(0, |stat| stat.mode));
                        let message = format!("{} is writable by other users than its owner", file.path);
                        tally.breach(
                            Breach::new(&file.path, message)
                                .found(found)
                                .wanted("0644")
                                .at(&file.path, None)
                                .remedy(restrict(&file.path, "644")),
                        );
                    }
                }
            },
        )
        .label("file")
        .label("CIS")
        .alias("PKI-F02")
        .alias("CIS 4.1.7")
        .page(
            "Whoever adds a CA to a bundle lets in whom they like.",
            "Looks at the modes of files with certificates and public keys, and of the folders above them.",
        )
        .basis("CIS Kubernetes Benchmark 4.1.7", CIS)
        .remedy(Remedy::new("Set the mode of the certificate to 0644.")),
        claim(
            "pki.file.certificate-mode-cis",
            "Certificates are readable only by their owner",
            Of::Other,
            "certificates",
            |view, tally| {
                for file in files(view.facts)
                    .filter(|file| file.contents.known().is_some_and(|held| !held.certificates.is_empty()))
                {
                    tally.look();
                    let open = file.stat.known().map_or(0, |stat| stat.mode & 0o177);
                    if !file.has_key() && open != 0 {
                        let found = mode(file.stat.known().map_or(0, |stat| stat.mode));
                        let message = format!("{} is accessible by other users than its owner", file.path);
                        tally.breach(
                            Breach::new(&file.path, message)
                                .found(found)
                                .wanted("0600")
                                .at(&file.path, None)
                                .remedy(restrict(&file.path, "600")),
                        );
                    }
                }
            },
        )
        .severity(Severity::Low)
        .label("file")
        .label("CIS")
        .alias("PKI-F02")
        .alias("CIS 1.1.20")
        .only(&[PkiProfile::Cis, PkiProfile::Strict])
        .page(
            "A certificate is public, so that nothing is lost if others read it; the benchmark wants it all the \
                same, and kubeadm writes 0644. It is judged with --pki-profile cis or strict alone.",
            "Looks at the modes of files with certificates.",
        )
        .basis("CIS Kubernetes Benchmark 1.1.20", CIS)
        .remedy(Remedy::new("Set the mode of the certificate to 0600.")),
        claim(
            "pki.file.kubeconfig-mode",
            "Kubeconfigs with credentials are accessible only by their owner",
            Of::Other,
            "kubeconfigs",
            |view, tally| {
                for file in files(view.facts).filter(|file| file.kubeconfig.is_some()) {
                    let credentials = file.has_key()
                        || file
                            .kubeconfig
                            .iter()
                            .flat_map(|config| &config.users)
                            .any(|user| user.has_token || user.has_login);
                    tally.look();
                    if credentials && file.open_to() & 0o077 != 0 {
                        let found = mode(file.stat.known().map_or(0, |stat| stat.mode));
                        let message = format!("{} holds credentials and is open to others than its owner", file.path);
                        tally.breach(
                            Breach::new(&file.path, message)
                                .found(found)
                                .wanted("0600")
                                .at(&file.path, None)
                                .remedy(restrict(&file.path, "600")),
                        );
                    }
                }
            },
        )
        .label("file")
        .label("CIS")
        .alias("PKI-F03")
        .alias("CIS 1.1.13")
        .alias("CIS 1.1.15")
        .alias("CIS 1.1.17")
        .alias("CIS 4.1.5")
        .page(
            "A kubeconfig with a key in it is a key: admin.conf is the cluster.",
            "Looks at the modes of kubeconfigs that hold a key, a token or a password, and of the folders above them.",
        )
        .basis("CIS Kubernetes Benchmark 1.1.13 to 1.1.18", CIS)
        .remedy(Remedy::new("Set the mode of the kubeconfig to 0600.")),
        claim(
            "pki.file.folder-mode",
            "PKI directories are writable only by their owner",
            Of::Other,
            "folders",
            |view, tally| {
                for (folder, stat) in folders(view.facts) {
                    tally.look();
                    if stat.mode & 0o022 != 0 {
                        let message = format!("{folder} is writable by other users than its owner");
                        tally.breach(
                            Breach::new(&folder, message)
                                .found(mode(stat.mode))
                                .wanted("0755")
                                .at(&folder, None)
                                .remedy(restrict(&folder, "755")),
                        );
                    }
                }
            },
        )
        .label("file")
        .label("CIS")
        .alias("PKI-F04")
        .page(
            "Who may write a folder may replace every file in it, whatever their modes are.",
            "Looks at the modes of the PKI's folders.",
        )
        .basis("CIS Kubernetes Benchmark 1.1.19", CIS)
        .remedy(Remedy::new("Set the mode of the directory to 0755.")),
        claim(
            "pki.file.folder-owner",
            "PKI directories are owned by root or the component's user",
            Of::Other,
            "folders",
            |view, tally| {
                for (folder, stat) in folders(view.facts).into_iter().filter(|_| !view.facts.discovery.bare) {
                    tally.look();
                    if !may_own(view.facts, stat.uid) {
                        let message = format!("{folder} is owned by user {}", stat.uid);
                        tally.breach(
                            Breach::new(&folder, message)
                                .found(stat.uid.to_string())
                                .wanted("0")
                                .at(&folder, None)
                                .remedy(own(&folder)),
                        );
                    }
                }
            },
        )
        .severity(Severity::Medium)
        .label("file")
        .label("CIS")
        .alias("PKI-F04")
        .alias("CIS 1.1.19")
        .page(
            "The owner of a folder may replace what is in it.",
            "Looks at the owners of the PKI's folders; those of distributions with users for their components \
                are known.",
        )
        .basis("CIS Kubernetes Benchmark 1.1.19", CIS)
        .remedy(Remedy::new("Change the owner to root.")),
    ]
}

//! Files: what is there, and what is in it.

use super::flag::signs_nothing;
use super::*;
use crate::fact::Fact;
use crate::host::{FileKind, Form};
use crate::pki::discover::{Component, Role, member};
use crate::pki::facts::beside;
use crate::pki::reader::{Reader, Reading};
use crate::pki::store::{Contents, File};
use crate::pki::talos;
use crate::pki::x509::GoVersion;

const CURRENT: &str = "/var/lib/kubelet/pki/kubelet-client-current.pem";

/// Files that somebody needs: path, what for, and whether it must hold a certificate or a key.
pub(super) fn needed(facts: &Facts) -> Vec<(&str, String, Need)> {
    let mut all = Vec::new();
    for one in &facts.discovery.uses {
        let need = Reader::of(one.role).map_or(Need::Revocations, Need::Read);
        all.push((one.file.as_str(), format!("{} ({})", one.role, one.from), need));
        if let Some(key) = &one.key {
            let need = Need::Read(Reader::of_key(one.role));
            all.push((key.as_str(), format!("the key of {} ({})", one.role, one.from), need));
        }
    }
    all.extend(facts.discovery.given().map(|file| (file, "it was given to be judged".to_owned(), Need::Anything)));
    for client in &facts.clients {
        // What a copy names by an absolute path is not beside it.
        let beside = |name: &str| {
            let path = beside(&client.of.file, name);
            if facts.discovery.bare && name.starts_with('/') { None } else { facts.store.get(&path) }
        };
        let place = format!("named in {}", client.of.file);
        if let Some(file) = client.cluster.as_ref().and_then(|cluster| cluster.ca_file.as_ref()) {
            all.extend(beside(file).map(|one| (one.path.as_str(), place.clone(), Need::Read(Reader::Pool))));
        }
        let user = client.user.as_ref();
        for (file, need) in [
            (user.and_then(|user| user.certificate_file.as_ref()), Need::Read(Reader::Pair)),
            (user.and_then(|user| user.key_file.as_ref()), Need::Read(Reader::PairKey)),
        ] {
            let file = file.and_then(|file| beside(file));
            all.extend(file.map(|one| (one.path.as_str(), place.clone(), need)));
        }
    }
    for one in facts.discovery.kubeconfigs.iter().filter(|one| one.required) {
        all.push((one.file.as_str(), format!("the kubeconfig of {} ({})", one.holder, one.from), Need::Kubeconfig));
    }
    for (path, _) in &facts.discovery.talos {
        all.push((path.as_str(), "a file of Talos".to_owned(), Need::Talos));
    }
    let mut seen = std::collections::BTreeSet::new();
    all.retain(|(path, _, need)| seen.insert((path.to_owned(), *need)));
    all
}

/// What a file must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Need {
    /// What this reader takes.
    Read(Reader),
    Revocations,
    Kubeconfig,
    Talos,
    Anything,
}

/// What the program that needs a file makes of it, where that is known.
pub(super) fn reading(contents: &Contents, need: Need, go: Option<GoVersion>) -> Option<Reading> {
    match need {
        Need::Read(reader) => Some(reader.read(contents, go)),
        _ => None,
    }
}

/// Is a file refused because its key is encrypted? That is another claim.
pub(super) fn is_encrypted(contents: &Contents, need: Need) -> bool {
    let key = matches!(need, Need::Read(reader) if reader.is_of_keys());
    let refused = || reading(contents, need, None).is_some_and(|reading| reading.refused.is_some());
    !contents.encrypted.is_empty() && (need == Need::Anything || key && refused())
}

fn presence() -> Vec<Check> {
    vec![
        claim(
            "pki.file.present",
            "every file that a flag or the layout names is there",
            Of::Other,
            "files",
            |view, tally| {
                for (path, what, _) in needed(view.facts) {
                    let Some(file) = view.facts.store.get(path) else { continue };
                    tally.look();
                    if let Fact::Absent(_) = file.contents
                        && file.stat.known().is_none()
                        && !dangling(file)
                    {
                        tally.breach(Breach::new(path, format!("{path} is not there: {what}")).at(path, None));
                    }
                }
            },
        )
        .label("file")
        .alias("PKI-F11")
        .alias("!MISSING!")
        .alias("kubernetes-ca")
        .alias("kubernetes-front-proxy-ca")
        .alias("etcd-ca")
        .page(
            "A component whose certificate or key is not there does not start, or starts and is refused. kubeadm lists \
             a missing file and says no more of it.",
            "Takes the files that flags of static pods, processes and units, kubeconfigs and the distribution's layout \
             name, and looks whether they are there. The key of a CA may be elsewhere.",
        )
        .basis("PKI certificates and requirements: required CAs, certificate paths", CERTIFICATES)
        .remedy(Remedy::new("Have kubeadm make what is missing.").command("kubeadm init phase certs all")),
        claim(
            "pki.file.readable",
            "every file of the PKI is a file, and can be read",
            Of::Other,
            "files",
            |view, tally| {
                for (path, what, _) in needed(view.facts) {
                    let Some(stat) = view.facts.store.get(path).and_then(|file| file.stat.known()) else { continue };
                    tally.look();
                    let kind = match stat.kind {
                        FileKind::Directory => "a folder",
                        FileKind::Fifo => "a FIFO",
                        FileKind::Socket => "a socket",
                        FileKind::Device => "a device",
                        _ => continue,
                    };
                    tally.breach(
                        Breach::new(path, format!("{path} is {kind}: {what}"))
                            .found(kind)
                            .wanted("a file")
                            .at(path, None),
                    );
                }
                view.facts.unread.iter().for_each(|why| tally.unknown(why));
            },
        )
        .label("file")
        .alias("PKI-F11")
        .alias("permission denied")
        .alias("PKCS#12")
        .page(
            "What cannot be read is not judged; the rest is. A claim that needed it is undetermined, too.",
            "Reads every file with a role, and every file in the PKI's folders, up to 1 MiB each. Links to folders are \
             not followed, and PKCS#12 is not opened.",
        )
        .basis("PKI certificates and requirements", CERTIFICATES)
        .remedy(Remedy::new("Run as root, or remove what does not belong there.")),
        claim("pki.file.parses", "every file of the PKI holds what it must", Of::Other, "files", |view, tally| {
            let go = Some(GoVersion::of_kubernetes(view.profile.kubernetes));
            // A file that is refused by two is one finding.
            let mut refused = std::collections::BTreeSet::new();
            for (path, what, need) in needed(view.facts) {
                let Some(file) = view.facts.store.get(path) else { continue };
                let Some(contents) = file.contents.known() else { continue };
                tally.look();
                if is_encrypted(contents, need) || !refused.insert(path.to_owned()) {
                    continue;
                }
                let breach = |message: String| Breach::new(path, message);
                let der = file.form == Form::Der && need != Need::Revocations;
                let why = match need {
                    _ if der => Some((0, "it is DER, and Kubernetes reads PEM".to_owned())),
                    // Certificates among these keys are judged by nothing else.
                    Need::Read(reader @ Reader::TokenKeys) => reader.read(contents, go).refused,
                    Need::Read(reader) => reader.read(contents, None).refused,
                    _ => contents.malformed.first().cloned(),
                };
                let there = match need {
                    Need::Read(_) => true,
                    Need::Revocations => !contents.revocations.is_empty(),
                    Need::Kubeconfig => file.kubeconfig.is_some(),
                    Need::Talos => file.talos.is_some(),
                    Need::Anything => file.kubeconfig.is_some() || !contents.is_empty(),
                };
                let wanted = match need {
                    Need::Read(reader) => reader.wanted(),
                    Need::Revocations => "a revocation list",
                    Need::Kubeconfig => "a kubeconfig",
                    Need::Talos => "a machine configuration",
                    Need::Anything => "a certificate, a key, a revocation list or a kubeconfig",
                };
                if let Some((line, why)) = why {
                    let found = if der { "DER" } else { why.as_str() };
                    let message = format!("{path} cannot be used: {why}; it is {what}");
                    tally.breach(breach(message).found(found).wanted(wanted).at(path, (line > 0).then_some(line)));
                } else if !there {
                    tally
                        .breach(breach(format!("{path} does not hold {wanted}: {what}")).wanted(wanted).at(path, None));
                } else {
                    refused.remove(path);
                }
            }
        })
        .severity(Severity::Critical)
        .label("file")
        .alias("PKI-X01")
        .alias("PKI-F08")
        .alias("data does not contain any valid RSA or ECDSA certificates")
        .page(
            "A component that cannot parse its certificate or key does not start, and etcd refuses everybody while it \
             cannot parse its revocation list.",
            "Reads each file as the program does that needs it: blocks with another label or with header lines are \
             passed over where that program passes over them, and keys are taken in the forms that it takes. Of what \
             is malformed in a certificate every other part is judged all the same.",
        )
        .basis("PKI certificates and requirements", CERTIFICATES)
        .remedy(
            Remedy::new("If it is DER, write it as PEM; otherwise have it issued again.")
                .command("openssl x509 -inform der -in FILE -out FILE.pem"),
        ),
        claim("pki.file.link", "no link in the PKI leads nowhere or in a circle", Of::Other, "links", |view, tally| {
            for file in view.facts.store.iter().filter(|file| file.link.is_some()) {
                // What a copy names by an absolute path is not beside it.
                if view.facts.discovery.bare && file.link.as_ref().is_some_and(|target| target.starts_with('/')) {
                    continue;
                }
                tally.look();
                if dangling(file) {
                    let target = file.link.clone().unwrap_or_default();
                    let message = format!("{} leads to {target}, which is not there or leads back", file.path);
                    tally.breach(Breach::new(&file.path, message).found(target).at(&file.path, None));
                }
            }
        })
        .label("file")
        .alias("PKI-F09")
        .alias("kubelet-client-current.pem")
        .page(
            "The kubelet writes each new certificate into a file of its own and moves the link \
             kubelet-client-current.pem. If it leads nowhere the kubelet has no identity when it starts again. Any \
             other link was made for somebody, who will not find what it led to.",
            "Follows the links in the PKI's folders, whatever their names, and those among the files with a role, \
             inside the node's root. Of a folder that was given alone absolute links are passed over.",
        )
        .basis("Certificate rotation of the kubelet", "https://kubernetes.io/docs/tasks/tls/certificate-rotation/")
        .remedy(
            Remedy::new("Point it at the newest certificate; remove another that nobody needs.").command(format!(
                "ln -sf \"$(ls -1 /var/lib/kubelet/pki/kubelet-client-2*.pem | tail -n 1)\" {CURRENT}"
            )),
        ),
    ]
}

/// Is it a link that leads nowhere, or in a circle?
fn dangling(file: &File) -> bool {
    file.link.is_some() && file.stat.known().is_none()
}

/// Files that are read once, when a component starts, and by whom. The others are read again: certificates, CAs of
/// clients.
fn read_once(facts: &Facts) -> impl Iterator<Item = (&str, Component)> {
    const ROLES: [Role; 7] = [
        Role::ServiceAccountKey,
        Role::ServiceAccountPublicKeys,
        Role::EtcdServerCa,
        Role::EtcdClientCa,
        Role::EtcdPeerCa,
        Role::KubeletServingCa,
        Role::RootCa,
    ];
    let uses = facts.discovery.uses.iter().filter(|one| ROLES.contains(&one.role));
    // The kubelet writes its kubeconfig itself. What a kubeconfig only names is read again (client-go, transport).
    let kubeconfigs = facts.clients.iter().filter(|client| {
        matches!(client.of.holder, Component::ControllerManager | Component::Scheduler)
            && client.user.as_ref().is_some_and(|user| user.certificate.is_some())
    });
    let kubeconfigs = kubeconfigs.map(|client| (client.of.file.as_str(), client.of.holder));
    uses.map(|one| (one.file.as_str(), one.holder)).chain(kubeconfigs)
}

fn strays() -> Vec<Check> {
    vec![
        claim(
            "pki.file.ca-key-on-worker",
            "no CA's private key lies on a node that signs nothing",
            Of::Other,
            "keys",
            |view, tally| {
                let discovery = &view.facts.discovery;
                let signs = view.facts.is_control_plane()
                    || discovery.of_role(Role::EtcdServer).next().is_some()
                    || discovery.bare;
                // What is a worker's is said by its machine configuration, wherever that lies.
                let workers: Vec<_> = discovery
                    .talos
                    .iter()
                    .filter(|(_, talos)| talos.kind == talos::Kind::Worker)
                    .map(|(file, _)| member(file, ""))
                    .collect();
                let on_worker = |file: &&File| !signs || workers.iter().any(|start| file.path.starts_with(start));
                let authorities: Vec<_> = view
                    .facts
                    .bundles
                    .iter()
                    .flat_map(|bundle| &bundle.certificates)
                    .filter(|held| held.certificate.is_ca())
                    .collect();
                for file in view.facts.store.iter().filter(on_worker) {
                    tally.look();
                    for key in file.contents.known().iter().flat_map(|contents| &contents.keys) {
                        if authorities.iter().any(|held| held.certificate.public_key.sha256 == key.public.sha256) {
                            let message =
                                format!("{} is the private key of a CA, on a node without an API server", file.path);
                            tally.breach(
                                Breach::new(&file.path, message)
                                    .at(&file.path, Some(key.line).filter(|line| *line > 0)),
                            );
                        }
                    }
                }
            },
        )
        .label("file")
        .alias("PKI-F05")
        .page(
            "Workers run other people's programs. Whoever leaves a container there must not find the key that makes an \
             administrator.",
            "Compares the private keys on a node without an API server or etcd with the CAs that it trusts.",
        )
        .basis("PKI certificates and requirements", CERTIFICATES)
        .remedy(
            Remedy::new("Remove it, and rotate the CA: the key has been where it must not be.")
                .command("shred -u /etc/kubernetes/pki/ca.key"),
        ),
        claim(
            "pki.file.ca-key-external",
            "the key of a CA that is to be elsewhere is not here",
            Of::Roles(&[Role::ClientCa]),
            "controller managers that are told to sign nothing",
            |view, tally| {
                let discovery = &view.facts.discovery;
                let Some(line) = discovery.command(Component::ControllerManager).filter(|line| signs_nothing(line))
                else {
                    return;
                };
                let Some(bundle) = view.facts.bundle(Role::ClientCa) else { return };
                tally.look();
                let authorities: Vec<_> = bundle.certificates.iter().filter(|held| held.certificate.is_ca()).collect();
                // Of copies another claim tells.
                for file in view.facts.store.iter().filter(|file| !discovery.backups.contains(&file.path)) {
                    for key in file.contents.known().iter().flat_map(|contents| &contents.keys) {
                        if let Some(held) =
                            authorities.iter().find(|held| held.certificate.public_key.sha256 == key.public.sha256)
                        {
                            let message = format!(
                                "{} is the private key of {}, and {} says that it is elsewhere: the controller manager \
                                 is to sign nothing",
                                file.path, held.certificate.subject, line.place
                            );
                            tally.breach(
                                Breach::new(&file.path, message)
                                    .wanted("no key of this CA")
                                    .at(&file.path, Some(key.line).filter(|line| *line > 0)),
                            );
                        }
                    }
                }
            },
        )
        .label("file")
        .alias("PKI-F05")
        .alias("external CA")
        .page(
            "Who keeps the cluster's CA elsewhere does so lest a node of the control plane can make administrators. A \
             key that was left behind, or copied there to sign just once, undoes that, and kubeadm no longer takes the \
             CA for external: it signs with it.",
            "Where --cluster-signing-cert-file and --cluster-signing-key-file are both given and empty, as kubeadm \
             writes them for an external CA, compares every private key of the node with the CAs of --client-ca-file. \
             That the front proxy's CA is external, or etcd's, no flag says.",
        )
        .basis(
            "Certificate management with kubeadm: external CA mode",
            "https://kubernetes.io/docs/tasks/administer-cluster/kubeadm/kubeadm-certs/#external-ca-mode",
        )
        .remedy(
            Remedy::new("Take it off the node, and rotate the CA if others than its keepers could read it.")
                .command("shred -u /etc/kubernetes/pki/ca.key"),
        ),
        claim(
            "pki.file.backup",
            "no copy that somebody put aside holds a private key",
            Of::Other,
            "copies",
            |view, tally| {
                for path in &view.facts.discovery.backups {
                    let Some(file) = view.facts.store.get(path) else { continue };
                    tally.look();
                    if file.has_key() {
                        let message = format!("{path} is a copy that was put aside, and holds a private key");
                        tally.breach(Breach::new(path, message).at(path, None));
                    }
                }
            },
        )
        .severity(Severity::Medium)
        .label("file")
        .alias("PKI-F10")
        .alias("/etc/kubernetes/pki/expired")
        .page(
            "A copy of the PKI is as good as the PKI to whoever finds it, and nobody looks after its modes.",
            "Looks for keys in files and folders that by their names are copies, expired, *.bak, *.old, \
             tls-1700000000, in the PKI's folders and beside them and kubeconfigs: /etc/kubernetes/pki.bak, \
             admin.conf.old.",
        )
        .basis("Certificate management with kubeadm", KUBEADM)
        .remedy(Remedy::new("Move it off the node, into a safe, or remove it.")),
        claim(
            "pki.file.extra",
            "every certificate and key in the PKI's folders is used",
            Of::Other,
            "files",
            |view, tally| {
                let mut named: Vec<String> = Vec::new();
                for client in &view.facts.clients {
                    named.push(client.of.file.clone());
                    named.extend(client.ca.iter().map(|(file, _)| file.clone()));
                    let user =
                        client.user.iter().flat_map(|user| [user.certificate_file.as_ref(), user.key_file.as_ref()]);
                    named.extend(user.flatten().map(|file| beside(&client.of.file, file)));
                }
                let certificates = view.facts.certificates();
                let mut keys: Vec<_> =
                    certificates.iter().map(|(_, held)| held.certificate.public_key.sha256).collect();
                let tokens = view
                    .facts
                    .discovery
                    .of_role(Role::ServiceAccountKey)
                    .filter_map(|one| view.facts.store.contents(&one.file));
                keys.extend(tokens.flat_map(|contents| &contents.keys).map(|key| key.public.sha256));
                for path in view.facts.discovery.others.iter().filter(|path| !named.contains(path)) {
                    let Some(contents) = view.facts.store.contents(path) else { continue };
                    tally.look();
                    let holds = !contents.certificates.is_empty() || !contents.keys.is_empty();
                    // What is used under another name: by a link, or without its chain.
                    let same = |fingerprint| {
                        certificates.iter().any(|(_, known)| known.certificate.fingerprint == fingerprint)
                    };
                    let used = contents.certificates.iter().all(|held| same(held.certificate.fingerprint))
                        && contents.keys.iter().all(|key| keys.contains(&key.public.sha256));
                    // The key of a certificate that is missing: that is the finding.
                    let beside = path.strip_suffix(".key").map(|stem| format!("{stem}.crt"));
                    let missing =
                        beside.is_some_and(|file| view.facts.discovery.uses.iter().any(|one| one.file == file));
                    if holds && !used && !missing && !view.facts.discovery.uses.is_empty() {
                        let message = format!("{path} is named by no flag, kubeconfig or layout that is known");
                        tally.breach(Breach::new(path, message).at(path, None));
                    }
                }
            },
        )
        .severity(Severity::Info)
        .label("file")
        .alias("PKI-F12")
        .page(
            "What nobody uses nobody renews, and it is a key all the same.",
            "Compares the files in the PKI's folders with those that have a role.",
        )
        .basis("PKI certificates and requirements: certificate paths", CERTIFICATES)
        .remedy(Remedy::new("Remove it, if nothing outside of Kubernetes needs it.")),
        claim(
            "pki.file.process-older",
            "no component runs with keys, CAs or a kubeconfig that were replaced after it started",
            Of::Other,
            "files",
            |view, tally| {
                for (file, holder) in read_once(view.facts) {
                    let started = view.facts.discovery.command(holder).and_then(|line| line.started);
                    let stat = view.facts.store.get(file).and_then(|file| file.stat.known());
                    let (Some(started), Some(stat)) = (started, stat) else { continue };
                    tally.look();
                    // The kernel tells both to the second.
                    if stat.mtime > started + 1 {
                        let message =
                            format!("{file} was changed after {holder} started, which reads it at its start alone");
                        let time = |second| {
                            jiff::Timestamp::from_second(second).map_or_else(|_| String::new(), |time| time.to_string())
                        };
                        tally.breach(
                            Breach::new(file, message)
                                .found(time(stat.mtime))
                                .wanted(format!("before {}", time(started)))
                                .at(file, None),
                        );
                    }
                }
            },
        )
        .label("file")
        .alias("PKI-F13")
        .page(
            "The file on disk is right and the process knows the old one, until it is started again: then everything \
             changes at once.",
            "Compares the times of files that a component reads once (keys of service accounts, CAs of etcd and of \
             kubelets, the CA that pods get, kubeconfigs of the controller manager and the scheduler) with the start \
             of its process.",
        )
        .basis("Certificate management with kubeadm: renewal", KUBEADM)
        .remedy(
            Remedy::new("Start the component again.")
                .command("crictl pods --name kube-apiserver -q | xargs crictl stopp"),
        ),
    ]
}

/// The family's checks.
pub(super) fn checks() -> Vec<Check> {
    [presence(), strays()].into_iter().flatten().collect()
}

//! Files of Kubernetes: what must not be there before a node joins, and who may read and write what is there after it.

use std::collections::BTreeMap;

use crate::check::{Check, Judgment, Remedy, Severity};
use crate::conclusion::{Breach, Conclusion};
use crate::construct::{dir, gone, no_stat, stat};
use crate::fact::Fact;
use crate::host::{FileKind, Host, Stat};
use crate::node::View;
use crate::profile::Role;

const CIS: &str = "https://www.cisecurity.org/benchmark/kubernetes";
const KUBEADM: &str = "https://kubernetes.io/docs/reference/setup-tools/kubeadm/kubeadm-init/";
const KUBELET_CONF: &str = "/etc/kubernetes/kubelet.conf";
const ETCD: &str = "/var/lib/etcd";
const PKI: &str = "/etc/kubernetes/pki";

/// What is known of the files.
#[derive(Debug)]
pub struct Facts {
    /// Type, mode and owner of each file of the tables.
    stats: BTreeMap<String, Fact<Stat>>,
    /// What is in etcd's data directory.
    etcd: Fact<Vec<String>>,
    /// Certificates and keys under the PKI folder, etcd's among them.
    pki: Fact<Vec<(String, Stat)>>,
    /// What is in the folder of static pods.
    manifests: Fact<Vec<String>>,
    /// The kubelet's current client certificate: where the link points, and whether that is there.
    client: Fact<(String, Fact<()>)>,
}

impl Facts {
    pub(super) fn read(host: &dyn Host) -> Self {
        let paths = MODES.iter().map(|row| row.path).chain(LEFTOVERS.iter().map(|row| row.path)).chain([PKI]);
        let names = |entries: Vec<crate::host::Entry>| entries.into_iter().map(|entry| entry.name).collect();
        Self {
            stats: paths.map(|path| (path.to_owned(), host.stat(path))).collect(),
            etcd: host.list(ETCD).map(names),
            pki: pki(host),
            manifests: host.list(host.layout().manifests.as_deref().unwrap_or("/etc/kubernetes/manifests")).map(names),
            client: host.link("/var/lib/kubelet/pki/kubelet-client-current.pem").map(|target| {
                let path =
                    if target.starts_with('/') { target.clone() } else { format!("/var/lib/kubelet/pki/{target}") };
                (target, host.stat(&path).map(|_| ()))
            }),
        }
    }

    fn stat(&self, path: &str) -> Fact<Stat> {
        self.stats.get(path).cloned().unwrap_or_else(|| Fact::NotGathered(format!("{path} was not looked at")))
    }

    /// Has the node joined a cluster: does the kubelet have its kubeconfig?
    pub(super) fn joined(&self) -> Result<bool, crate::Inconclusive> {
        Ok(self.stat(KUBELET_CONF).present(KUBELET_CONF)?.is_some())
    }
}

fn pki(host: &dyn Host) -> Fact<Vec<(String, Stat)>> {
    let mut files = Vec::new();
    for folder in [PKI, "/etc/kubernetes/pki/etcd"] {
        let entries = match host.list(folder) {
            Fact::Known(entries) => entries,
            Fact::Absent(_) if folder != PKI => Vec::new(),
            other => return other.map(|_| Vec::new()),
        };
        for entry in entries.into_iter().filter(|entry| entry.kind != FileKind::Directory) {
            let path = format!("{folder}/{}", entry.name);
            if let Fact::Known(stat) = host.stat(&path) {
                files.push((path, stat));
            }
        }
    }
    Fact::Known(files)
}

struct Leftover {
    name: &'static str,
    path: &'static str,
    roles: &'static [Role],
    why: &'static str,
}

const CONTROL: &[Role] = &[Role::ControlPlane];
const WORKER: &[Role] = &[Role::Worker];
const MEMBERS: &[Role] = &[Role::ControlPlane, Role::Worker];

const LEFTOVERS: &[Leftover] = &[
    Leftover {
        name: "kube-apiserver-manifest",
        path: "/etc/kubernetes/manifests/kube-apiserver.yaml",
        roles: CONTROL,
        why: "kubeadm init would overwrite an API server that somebody may still need.",
    },
    Leftover {
        name: "kube-controller-manager-manifest",
        path: "/etc/kubernetes/manifests/kube-controller-manager.yaml",
        roles: CONTROL,
        why: "kubeadm init would overwrite a controller manager that somebody may still need.",
    },
    Leftover {
        name: "kube-scheduler-manifest",
        path: "/etc/kubernetes/manifests/kube-scheduler.yaml",
        roles: CONTROL,
        why: "kubeadm init would overwrite a scheduler that somebody may still need.",
    },
    Leftover {
        name: "etcd-manifest",
        path: "/etc/kubernetes/manifests/etcd.yaml",
        roles: CONTROL,
        why: "kubeadm init would overwrite an etcd that somebody may still need.",
    },
    Leftover {
        name: "bootstrap-kubelet-conf",
        path: "/etc/kubernetes/bootstrap-kubelet.conf",
        roles: MEMBERS,
        why: "It holds a bootstrap token, and kubeadm join refuses to overwrite it.",
    },
    Leftover {
        name: "worker-ca",
        path: "/etc/kubernetes/pki/ca.crt",
        roles: WORKER,
        why: "kubeadm join of a worker refuses a CA that is there already: it may be another cluster's.",
    },
];

fn alias_of(path: &str) -> String {
    // kubeadm names a file's check after its path.
    format!("FileAvailable-{}", path.replace('/', "-"))
}

fn worker(profile: &mut crate::Profile) {
    profile.role = Role::Worker;
}

/// The kubelet's kubeconfig, where an installer other than kubeadm put it.
fn other_kubeconfig(view: &View<'_>) -> Option<String> {
    let kubelet = view.facts.kubelet.effective(view.profile).ok().flatten()?;
    kubelet.flag("kubeconfig").map(|flag| flag.value.clone()).filter(|path| !path.is_empty() && path != KUBELET_CONF)
}

fn leftover(row: &'static Leftover) -> Check {
    Check::new(
        format!("node.files.{}", row.name),
        format!("{} is not left from an earlier cluster", row.path),
        move |view| {
            let files = &view.facts.files;
            if files.joined()? {
                return Ok(Conclusion::not_applicable(format!(
                    "the node has joined a cluster: {KUBELET_CONF} is there"
                )));
            }
            if let Some(own) = other_kubeconfig(view) {
                return Ok(Conclusion::not_applicable(format!(
                    "the kubelet's kubeconfig is {own}: kubeadm did not set it up"
                )));
            }
            Ok(match files.stat(row.path).present(row.path)? {
                None => Conclusion::holds(),
                Some(_) => Conclusion::breach(
                    Breach::new(
                        row.path,
                        format!(
                            "it is there, and {KUBELET_CONF} is not: an earlier cluster, or a set-up that failed \
                             half-way, left it"
                        ),
                    )
                    .at(row.path, None),
                ),
            })
        },
    )
    .roles(row.roles.iter().copied())
    .label("files")
    .label("kubeadm")
    .alias(alias_of(row.path))
    .page(row.why, format!("Looks for {} on a node without {KUBELET_CONF}.", row.path))
    .basis(format!("kubeadm preflight: {}", alias_of(row.path)), KUBEADM)
    .remedy(Remedy::new("If nothing of it is needed, reset the node.").command("kubeadm reset"))
    .good([no_stat(KUBELET_CONF), no_stat(row.path)])
    .bad([no_stat(KUBELET_CONF), stat(row.path, FileKind::File, 0o600, 0, 0)])
    .example_profile(if row.roles == WORKER { worker } else { |_| {} })
}

struct Mode {
    name: &'static str,
    path: &'static str,
    /// The most that the mode may allow.
    most: u32,
    cis: &'static str,
    severity: Severity,
    what: &'static str,
}

const fn mode(
    name: &'static str,
    path: &'static str,
    most: u32,
    cis: &'static str,
    severity: Severity,
    what: &'static str,
) -> Mode {
    Mode { name, path, most, cis, severity, what }
}

use Severity::{High, Low, Medium};

const MODES: &[Mode] = &[
    mode(
        "kube-apiserver-manifest-mode",
        "/etc/kubernetes/manifests/kube-apiserver.yaml",
        0o600,
        "1.1.1, 1.1.2",
        Medium,
        "the API server's static pod",
    ),
    mode(
        "kube-controller-manager-manifest-mode",
        "/etc/kubernetes/manifests/kube-controller-manager.yaml",
        0o600,
        "1.1.3, 1.1.4",
        Medium,
        "the controller manager's static pod",
    ),
    mode(
        "kube-scheduler-manifest-mode",
        "/etc/kubernetes/manifests/kube-scheduler.yaml",
        0o600,
        "1.1.5, 1.1.6",
        Medium,
        "the scheduler's static pod",
    ),
    mode(
        "etcd-manifest-mode",
        "/etc/kubernetes/manifests/etcd.yaml",
        0o600,
        "1.1.7, 1.1.8",
        Medium,
        "etcd's static pod",
    ),
    mode("etcd-data-mode", ETCD, 0o700, "1.1.11, 1.1.12", High, "every object of the cluster, Secrets among them"),
    mode("admin-conf-mode", "/etc/kubernetes/admin.conf", 0o600, "1.1.13, 1.1.14", High, "an administrator's key"),
    mode(
        "super-admin-conf-mode",
        "/etc/kubernetes/super-admin.conf",
        0o600,
        "1.1.13 (super-admin)",
        High,
        "a key that no RBAC rule holds back",
    ),
    mode("scheduler-conf-mode", "/etc/kubernetes/scheduler.conf", 0o600, "1.1.15, 1.1.16", High, "the scheduler's key"),
    mode(
        "controller-manager-conf-mode",
        "/etc/kubernetes/controller-manager.conf",
        0o600,
        "1.1.17, 1.1.18",
        High,
        "the controller manager's key",
    ),
    mode("pki-folder-mode", PKI, 0o755, "1.1.19", Medium, "the cluster's keys"),
    mode(
        "kubelet-service-mode",
        "/usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf",
        0o644,
        "4.1.1, 4.1.2",
        Medium,
        "how root starts the kubelet",
    ),
    mode("kubelet-conf-mode", KUBELET_CONF, 0o600, "4.1.5, 4.1.6", High, "the node's identity"),
    mode("client-ca-mode", "/etc/kubernetes/pki/ca.crt", 0o644, "4.1.7, 4.1.8", Medium, "whom the kubelet trusts"),
    mode(
        "kubelet-config-mode",
        "/var/lib/kubelet/config.yaml",
        0o644,
        "4.1.9, 4.1.10",
        Medium,
        "whom the kubelet obeys",
    ),
    mode("kubelet-data-mode", "/var/lib/kubelet", 0o755, "kubelet root directory", Low, "every pod's volumes"),
    mode("cni-config-mode", "/etc/cni/net.d", 0o755, "1.1.9, 1.1.10", Low, "which programs root runs for each pod"),
];

/// In which ways a file is open to more than root. A mode that allows less than the most is better, not worse.
fn faults(path: &str, stat: &Stat, most: u32, owners: &[u32]) -> Vec<Breach> {
    let mut breaches = Vec::new();
    if stat.mode & 0o777 & !most != 0 {
        let found = format!("{:04o}", stat.mode & 0o777);
        let fix = Remedy::new("Take the rights back. What holds the file open keeps it.");
        breaches.push(
            Breach::new(path, format!("its mode is {found}: others may do more than {most:04o} lets them"))
                .found(found)
                .wanted(format!("{most:04o} or less"))
                .at(path, None)
                .remedy(fix.command(format!("chmod {most:o} {path}"))),
        );
    }
    if !owners.contains(&stat.uid) {
        breaches.push(
            Breach::new(path, format!("it belongs to user {}", stat.uid))
                .found(stat.uid.to_string())
                .wanted("root")
                .at(path, None)
                .remedy(Remedy::new("Give it back to root.").command(format!("chown root:root {path}"))),
        );
    }
    breaches
}

/// etcd's data may belong to a user of its own, as CIS asks: system users are below 1000.
fn owners(path: &str) -> Vec<u32> {
    if path == ETCD { (0..1000).collect() } else { vec![0] }
}

fn mode_check(row: &'static Mode) -> Check {
    let kind = if row.most & 0o100 != 0 { FileKind::Directory } else { FileKind::File };
    let aliases = row.cis.split(", ").map(|number| {
        if number.starts_with(|c: char| c.is_ascii_digit()) { format!("CIS {number}") } else { number.to_owned() }
    });
    let check = Check::new(format!("node.files.{}", row.name), format!("{} is root's alone", row.path), move |view| {
        Ok(match view.facts.files.stat(row.path).present(row.path)? {
            None => Conclusion::not_applicable(format!("there is no {}", row.path)),
            Some(stat) => Conclusion::from_breaches(faults(row.path, stat, row.most, &owners(row.path)))
                .because(row.path, format!("mode {:04o}, user {}, group {}", stat.mode, stat.uid, stat.gid)),
        })
    })
    .severity(row.severity)
    .label("files")
    .label("cis")
    .page(
        format!("It holds {}.", row.what),
        format!("Reads type, mode and owner of {}; {:04o} or less is well.", row.path, row.most),
    )
    .basis(format!("CIS Kubernetes Benchmark {}", row.cis), CIS)
    .remedy(
        Remedy::new("Take it back.")
            .command(format!("chown root:root {}", row.path))
            .command(format!("chmod {:o} {}", row.most, row.path)),
    )
    .good([stat(row.path, kind, row.most, 0, 0)])
    .bad([stat(row.path, kind, 0o777, 1000, 1000)]);
    aliases.fold(check, Check::alias)
}

fn pki_modes(view: &View<'_>, wanted: fn(&str) -> bool, most: u32) -> Judgment {
    let Some(files) = view.facts.files.pki.present(PKI)? else {
        return Ok(Conclusion::not_applicable(format!("there is no {PKI}")));
    };
    let of_kind: Vec<_> = files.iter().filter(|(path, _)| wanted(path)).collect();
    if of_kind.is_empty() {
        return Ok(Conclusion::not_applicable(format!("there is none in {PKI}")));
    }
    let breaches = of_kind.iter().flat_map(|(path, stat)| faults(path, stat, most, &[0])).collect();
    Ok(Conclusion::from_breaches(breaches).because(PKI, format!("{} files", of_kind.len())))
}

/// The family's checks.
pub(super) fn checks() -> Vec<Check> {
    let mut checks: Vec<_> = LEFTOVERS.iter().map(leftover).chain(MODES.iter().map(mode_check)).collect();
    checks.extend([
        Check::new("node.files.etcd-data-empty", "/var/lib/etcd is empty before a node joins", |view| {
            if view.facts.files.joined()? {
                return Ok(Conclusion::not_applicable("the node has joined a cluster"));
            }
            Ok(match view.facts.files.etcd.present(ETCD)? {
                None => Conclusion::holds().because(ETCD, "absent"),
                Some(names) if names.is_empty() => Conclusion::holds().because(ETCD, "empty"),
                Some(names) => Conclusion::breach(
                    Breach::new(
                        ETCD,
                        "data of an earlier etcd is there: a new member would not start, or would join as the old one",
                    )
                    .found(names.join(", "))
                    .wanted("empty or absent")
                    .at(ETCD, None),
                ),
            })
        })
        .roles([Role::ControlPlane, Role::Etcd])
        .label("files")
        .label("kubeadm")
        .alias("DirAvailable--var-lib-etcd")
        .page("kubeadm refuses a control-plane node whose etcd data is not new.", "Lists /var/lib/etcd.")
        .basis("kubeadm preflight: DirAvailable--var-lib-etcd", KUBEADM)
        .remedy(Remedy::new("If nothing of it is needed, reset the node.").command("kubeadm reset"))
        .good([no_stat(KUBELET_CONF), dir(ETCD, &[])])
        .bad([no_stat(KUBELET_CONF), dir(ETCD, &["member/"])]),
        Check::new("node.files.pki-key-mode", "private keys are root's alone", |view| {
            pki_modes(view, |path| path.ends_with(".key"), 0o600)
        })
        .severity(Severity::Critical)
        .label("files")
        .label("cis")
        .label("pki")
        .alias("CIS 1.1.21")
        .page(
            "Who reads the CA's key is the cluster's administrator.",
            "Reads mode and owner of each key under /etc/kubernetes/pki.",
        )
        .basis("CIS Kubernetes Benchmark 1.1.21", CIS)
        .remedy(
            Remedy::new("Take them back, and think of who may have read them.")
                .command("chmod 600 /etc/kubernetes/pki/*.key /etc/kubernetes/pki/etcd/*.key"),
        )
        .bad([stat("/etc/kubernetes/pki/ca.key", FileKind::File, 0o644, 0, 0)]),
        Check::new("node.files.pki-certificate-mode", "only root may change certificates", |view| {
            pki_modes(view, |path| path.ends_with(".crt"), 0o644)
        })
        .severity(Severity::Medium)
        .label("files")
        .label("cis")
        .label("pki")
        .alias("CIS 1.1.20")
        .page(
            "Who writes a CA certificate decides whom the cluster trusts. (CIS asks for 0600; kubeadm writes 0644, and \
             reading a certificate harms nobody.)",
            "Reads mode and owner of each certificate under /etc/kubernetes/pki.",
        )
        .basis("CIS Kubernetes Benchmark 1.1.20", CIS)
        .remedy(
            Remedy::new("Take them back.")
                .command("chown root:root /etc/kubernetes/pki/*.crt && chmod 644 /etc/kubernetes/pki/*.crt"),
        )
        .bad([stat("/etc/kubernetes/pki/ca.crt", FileKind::File, 0o666, 0, 0)]),
        Check::new("node.files.ca-key-on-worker", "no CA key is on a worker", |view| {
            let Some(files) = view.facts.files.pki.present(PKI)? else { return Ok(Conclusion::holds()) };
            let ca = |path: &str| path.ends_with("ca.key");
            Ok(Conclusion::from_breaches(
                files
                    .iter()
                    .filter(|(path, _)| ca(path))
                    .map(|(path, _)| {
                        Breach::new(
                            path,
                            "a CA's private key is on a worker: whoever breaks out of a pod there owns the cluster",
                        )
                        .at(path, None)
                    })
                    .collect(),
            ))
        })
        .severity(Severity::High)
        .roles([Role::Worker])
        .label("files")
        .label("pki")
        .alias("ca.key")
        .page("Workers need no key but their own.", "Looks for keys of CAs under /etc/kubernetes/pki.")
        .basis("PKI certificates and requirements", "https://kubernetes.io/docs/setup/best-practices/certificates/")
        .remedy(Remedy::new("Remove it, and rotate that CA.").command("shred -u /etc/kubernetes/pki/ca.key"))
        .good([dir(PKI, &["ca.crt"]), dir("/etc/kubernetes/pki/etcd", &[])])
        .bad([dir(PKI, &["ca.crt", "ca.key"])])
        .example_profile(worker),
        Check::new("node.files.kubelet-conf", "the kubelet's kubeconfig is of a node that has joined", |view| {
            if view.facts.files.stat(KUBELET_CONF).present(KUBELET_CONF)?.is_none() {
                return Ok(Conclusion::holds().because(KUBELET_CONF, "not there: the node can join"));
            }
            let kubelet = view.facts.kubelet.effective(view.profile)?;
            Ok(match kubelet.and_then(|kubelet| kubelet.config) {
                Some(config) => Conclusion::holds().because("joined", format!("{KUBELET_CONF} and {config} are there")),
                None => Conclusion::breach(
                    Breach::new(
                        KUBELET_CONF,
                        "it is there, and the kubelet has no configuration: an earlier cluster left it, and kubeadm \
                         join refuses to overwrite it",
                    )
                    .wanted("not there, or a node that has joined")
                    .at(KUBELET_CONF, None),
                ),
            })
        })
        .label("files")
        .label("kubeadm")
        .alias("FileAvailable--etc-kubernetes-kubelet.conf")
        .page(
            "It names a cluster and holds the way into it: a new cluster must not find it.",
            "Looks for it, and for the kubelet's configuration, which a node that has joined has too.",
        )
        .basis("kubeadm preflight: FileAvailable--etc-kubernetes-kubelet.conf", KUBEADM)
        .remedy(Remedy::new("Undo the earlier cluster.").command("kubeadm reset"))
        .bad([gone(crate::node::kubelet::CONFIG)]),
        Check::new("node.files.manifests-only", "the folder of static pods holds nothing but manifests", |view| {
            let Some(names) = view.facts.files.manifests.present("/etc/kubernetes/manifests")? else {
                return Ok(Conclusion::not_applicable("there is no /etc/kubernetes/manifests"));
            };
            // The kubelet ignores names that begin with a dot, and runs every other file, whatever its ending.
            let manifest = |name: &str| {
                name.starts_with('.') || [".yaml", ".yml", ".json"].iter().any(|ending| name.ends_with(ending))
            };
            let path = |name: &String| format!("/etc/kubernetes/manifests/{name}");
            Ok(Conclusion::from_breaches(
                names
                    .iter()
                    .filter(|name| !manifest(name))
                    .map(|name| {
                        Breach::new(path(name), "the kubelet runs this file as a static pod, whatever its ending")
                            .at(path(name), None)
                    })
                    .collect(),
            ))
        })
        .severity(Severity::Medium)
        .label("files")
        .alias("static pod backup")
        .page(
            "A copy such as kube-apiserver.yaml.bak is a second static pod of the same name: the kubelet runs one of \
             the two, and not always the same.",
            "Lists /etc/kubernetes/manifests.",
        )
        .basis("Create static pods", "https://kubernetes.io/docs/tasks/configure-pod-container/static-pod/")
        .remedy(Remedy::new("Keep copies elsewhere.").command("mv /etc/kubernetes/manifests/*.bak /root/"))
        .bad([dir("/etc/kubernetes/manifests", &["etcd.yaml", "kube-apiserver.yaml.bak"])]),
        Check::new("node.files.kubelet-client-current", "the kubelet's current client certificate is there", |view| {
            if !view.facts.files.joined()? {
                return Ok(Conclusion::not_applicable("the node has not joined a cluster"));
            }
            let link = "/var/lib/kubelet/pki/kubelet-client-current.pem";
            Ok(match view.facts.files.client.present(link)? {
                None => Conclusion::breach(
                    Breach::new(link, "it is not there: the kubelet has no rotated certificate, and cannot log in")
                        .at(link, None),
                ),
                Some((target, there)) => match there.present(target)? {
                    Some(()) => Conclusion::holds().because(link, target),
                    None => Conclusion::breach(
                        Breach::new(link, format!("it points to {target}, which is not there")).at(link, None),
                    ),
                },
            })
        })
        .label("files")
        .label("pki")
        .alias("kubelet-client-current.pem")
        .page(
            "kubelet.conf names this link, which rotation moves; a node restored from a copy may have the link and not \
             its target.",
            "Follows the link.",
        )
        .basis(
            "Troubleshooting kubeadm: kubelet client certificate rotation fails",
            "https://kubernetes.io/docs/setup/production-environment/tools/kubeadm/troubleshooting-kubeadm/",
        )
        .remedy(
            Remedy::new("Make a new kubelet.conf on a control-plane node, and restart the kubelet here.")
                .command("kubeadm kubeconfig user --org system:nodes --client-name system:node:NODE > kubelet.conf"),
        )
        .bad([no_stat("/var/lib/kubelet/pki/kubelet-client-2026-01-01-00-00-00.pem")]),
    ]);
    checks
}

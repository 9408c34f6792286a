//! Flags: the documentation's tables of which component must be told which file.

use super::*;
use crate::pki::discover::{CommandLine, Component, Role, SIGNERS, SIGNING};
use crate::profile::PkiProfile;

/// Flags that a component must have.
struct Table {
    id: &'static str,
    title: &'static str,
    component: Component,
    flags: &'static [&'static str],
    aliases: &'static [&'static str],
    why: &'static str,
}

const TABLES: [Table; 3] = [
    Table {
        id: "pki.flag.apiserver",
        title: "kube-apiserver has all certificate flags",
        component: Component::Apiserver,
        flags: &[
            "client-ca-file",
            "tls-cert-file",
            "tls-private-key-file",
            "kubelet-client-certificate",
            "kubelet-client-key",
            "requestheader-client-ca-file",
            "proxy-client-cert-file",
            "proxy-client-key-file",
            "service-account-key-file",
            "service-account-signing-key-file",
        ],
        aliases: &["CIS 1.2.4", "CIS 1.2.22", "CIS 1.2.24", "CIS 1.2.25"],
        why: "Without a serving certificate it creates one that no client trusts; without one for kubelets they \
            reject its requests as anonymous; without a client CA no client certificate is accepted.",
    },
    Table {
        id: "pki.flag.controller-manager",
        title: "kube-controller-manager has all certificate and key flags",
        component: Component::ControllerManager,
        flags: &["root-ca-file", "service-account-private-key-file", SIGNING[0], SIGNING[1]],
        aliases: &["CIS 1.3.4", "CIS 1.3.5"],
        why: "Without --root-ca-file pods get no CA for the API server, without the signing pair no node gets a \
            certificate, without the key no service account gets a token.",
    },
    Table {
        id: "pki.flag.etcd",
        title: "etcd has all certificate flags",
        component: Component::Etcd,
        flags: &["cert-file", "key-file", "trusted-ca-file", "peer-cert-file", "peer-key-file", "peer-trusted-ca-file"],
        aliases: &["CIS 2.1", "CIS 2.4"],
        why: "Without them etcd uses plain HTTP and authenticates no client.",
    },
];

/// What only a cluster with extension API servers needs.
const AGGREGATION: [&str; 3] = ["requestheader-client-ca-file", "proxy-client-cert-file", "proxy-client-key-file"];

const CONTROLLER_MANAGER: &str =
    "https://kubernetes.io/docs/reference/command-line-tools-reference/kube-controller-manager/";
const PATHS: &str = "PKI certificates and requirements: certificate paths";
const MANIFEST: &str = "Add the flag to the component's manifest; the kubelet restarts the component.";

fn on(line: &CommandLine, message: String) -> Breach {
    Breach::new(line.component.name(), format!("{}: {message}", line.place)).at(&line.place, None)
}

/// A claim about how one component is started.
fn started(
    id: &str,
    title: &str,
    component: Component,
    judge: impl Fn(&CommandLine, &View<'_>, &mut Tally) + Send + Sync + 'static,
) -> Check {
    claim(id, title, Of::Other, "command lines of it", move |view, tally| {
        if let Some(line) = view.facts.discovery.command(component) {
            tally.look();
            judge(line, view, tally);
        }
        let untold = view.facts.discovery.untold.iter().filter(|(of, _)| *of == component);
        untold.for_each(|(_, why)| tally.unknown(why));
    })
    .label("flag")
}

/// Does this controller manager do without the pair by which it signs for everybody?
///
/// It does where single signers have pairs, where it is told that there is none, and where the key of the cluster's
/// CA is elsewhere and it is told no half of one.
fn signs_otherwise(line: &CommandLine, facts: &Facts) -> bool {
    let external = || {
        let ca = facts.bundle(Role::ClientCa);
        ca.is_some_and(|ca| !ca.certificates.iter().any(|held| facts.has_key_of(&held.certificate)))
    };
    single_signer(line).is_some()
        || signs_nothing(line)
        || (SIGNING.into_iter().all(|flag| !told(line, flag)) && external())
}

/// Is this controller manager told to sign nothing? kubeadm gives it an empty certificate and an empty key where the
/// key of the cluster's CA is elsewhere (kubeadm, `getControllerManagerCommand`).
pub(super) fn signs_nothing(line: &CommandLine) -> bool {
    SIGNING.into_iter().all(|flag| line.get(flag) == Some("")) && single_signer(line).is_none()
}

/// The first flag that gives a single signer a certificate or a key of its own.
fn single_signer(line: &CommandLine) -> Option<&'static str> {
    SIGNERS.into_iter().flatten().find(|flag| told(line, flag))
}

fn told(line: &CommandLine, flag: &str) -> bool {
    line.get(flag).is_some_and(|value| !value.is_empty())
}

/// The family's checks.
pub(super) fn checks() -> Vec<Check> {
    let mut all: Vec<_> = TABLES
        .iter()
        .map(|table| {
            let check = started(table.id, table.title, table.component, |line, view, tally| {
                let otherwise = signs_otherwise(line, view.facts);
                let needed = |flag: &&&str| !(otherwise && SIGNING.contains(*flag));
                for flag in table.flags.iter().filter(needed).filter(|flag| !told(line, flag)) {
                    let message = format!("{} does not set --{flag}", line.component);
                    let found = on(line, message).wanted(format!("--{flag}=FILE"));
                    tally.breach(if AGGREGATION.contains(flag) { found.severity(Severity::Low) } else { found });
                }
            });
            let check = table.aliases.iter().fold(check, |check, alias| check.alias(*alias));
            check
                .page(
                    table.why,
                    format!(
                        "Looks for {} in its manifest, its process or its unit.",
                        table.flags.iter().map(|flag| format!("--{flag}")).collect::<Vec<_>>().join(", ")
                    ),
                )
                .basis(PATHS, CERTIFICATES)
                .remedy(Remedy::new(MANIFEST))
        })
        .collect();
    all.extend([
        started(
            "pki.flag.signers",
            "kube-controller-manager has one signing pair, or one for each signer",
            Component::ControllerManager,
            |line, _, tally| {
                for pair in SIGNERS {
                    let (has, lacks): (Vec<_>, Vec<_>) = pair.into_iter().partition(|flag| told(line, flag));
                    if let ([has], [lacks]) = (&has[..], &lacks[..]) {
                        tally.breach(
                            on(line, format!("kube-controller-manager sets --{has} without --{lacks}"))
                                .wanted(format!("--{lacks}=FILE")),
                        );
                    }
                }
                if let (true, Some(single)) = (SIGNING.into_iter().all(|flag| told(line, flag)), single_signer(line)) {
                    tally.breach(on(
                        line,
                        format!(
                            "kube-controller-manager sets both --{} and --{single}, and does \
                    not start",
                            SIGNING[0]
                        ),
                    ));
                }
            },
        )
        .severity(Severity::Critical)
        .alias("PKI-R23")
        .alias("cannot specify default and per controller certs at the same time")
        .page(
            "It does not start.",
            "Looks for the certificate and the key of each signer \
            (--cluster-signing-kubelet-client-cert-file and its like), and for the pair of all, \
            --cluster-signing-cert-file and its key.",
        )
        .basis("kube-controller-manager: --cluster-signing-kubelet-client-cert-file", CONTROLLER_MANAGER)
        .remedy(Remedy::new(MANIFEST)),
        started(
            "pki.flag.controller-manager-clients",
            "kube-controller-manager has the CAs of its clients",
            Component::ControllerManager,
            |line, view, tally| {
                // It asks the API server for them, if it may; kubeadm, and the documentation, tell it all the same.
                if view.facts.discovery.is_kubeadm() || !told(line, "authentication-kubeconfig") {
                    for flag in ["client-ca-file", "requestheader-client-ca-file"] {
                        if !told(line, flag) {
                            tally.breach(
                                on(line, format!("kube-controller-manager does not set --{flag}"))
                                    .wanted(format!("--{flag}=FILE")),
                            );
                        }
                    }
                }
            },
        )
        .severity(Severity::Medium)
        .alias("PKI-R23")
        .alias("extension-apiserver-authentication")
        .page(
            "Whoever shows it a certificate on port 10257 is known only if the API server has told it, in \
            time, by which CA: a probe or a scrape that comes first is refused.",
            "Looks for --client-ca-file \
            and --requestheader-client-ca-file; where the PKI is not kubeadm's only if it has no \
            --authentication-kubeconfig to ask with.",
        )
        .basis(PATHS, CERTIFICATES)
        .remedy(Remedy::new(MANIFEST)),
        started(
            "pki.flag.apiserver-etcd",
            "kube-apiserver and etcd authenticate each other",
            Component::Apiserver,
            |line, view, tally| {
                let servers: Vec<_> = line.get("etcd-servers").unwrap_or_default().split(',').collect();
                for flag in ["etcd-cafile", "etcd-certfile", "etcd-keyfile"] {
                    if !told(line, flag) && servers.iter().any(|server| server.starts_with("https://")) {
                        tally.breach(
                            on(line, format!("kube-apiserver does not set --{flag}")).wanted(format!("--{flag}=FILE")),
                        );
                    }
                }
                let local = |server: &str| ["127.0.0.1", "localhost", "[::1]"].iter().any(|host| server.contains(host));
                // Where etcd is known to serve TLS, pki.flag.etcd-plain tells.
                let etcd =
                    view.facts.discovery.command(Component::Etcd).and_then(|line| line.get("listen-client-urls"));
                let known = etcd.is_some_and(|urls| urls.contains("https://"));
                let plain = |server: &&str| !known && server.starts_with("http://") && !local(server);
                for server in servers.into_iter().filter(plain) {
                    tally.breach(on(line, format!("kube-apiserver uses plain HTTP to etcd: {server}")).found(server));
                }
            },
        )
        .alias("CIS 1.2.23")
        .alias("CIS 1.2.26")
        .page(
            "etcd holds every Secret: it must authenticate the API server, and the API server must \
            authenticate etcd.",
            "Looks for --etcd-cafile, --etcd-certfile and --etcd-keyfile where \
            --etcd-servers has an https URL, and for http URLs that leave the node.",
        )
        .basis(PATHS, CERTIFICATES)
        .remedy(Remedy::new(MANIFEST)),
        started(
            "pki.flag.apiserver-kubelet-ca",
            "kube-apiserver verifies the certificates of kubelets",
            Component::Apiserver,
            |line, _, tally| {
                if !told(line, "kubelet-certificate-authority") {
                    tally.breach(on(
                        line,
                        "kube-apiserver does not set --kubelet-certificate-authority: it accepts \
                    any server on port 10250"
                            .to_owned(),
                    ));
                }
            },
        )
        .severity(Severity::Medium)
        .only(&[PkiProfile::Cis, PkiProfile::Strict])
        .alias("CIS 1.2.5")
        .page(
            "kubeadm leaves it out, since kubelets serve certificates of their own making. With \
            serverTLSBootstrap they do not need to.",
            "Looks for --kubelet-certificate-authority.",
        )
        .basis("CIS Kubernetes Benchmark 1.2.5", CIS)
        .remedy(Remedy::new("Have kubelets' certificates signed (serverTLSBootstrap), then add the flag.")),
        started(
            "pki.flag.etcd-clients",
            "etcd authenticates its clients and peers by certificate",
            Component::Etcd,
            |line, _, tally| {
                for (flag, ca) in
                    [("client-cert-auth", "trusted-ca-file"), ("peer-client-cert-auth", "peer-trusted-ca-file")]
                {
                    // A CA alone makes etcd ask, too; without either anyone is served.
                    if line.get(flag) != Some("true") && !told(line, ca) {
                        tally.breach(
                            on(line, format!("etcd sets neither --{flag} nor --{ca}")).wanted(format!("--{flag}=true")),
                        );
                    } else if line.get(flag) == Some("false") {
                        tally.breach(on(line, format!("etcd sets --{flag}=false")).wanted(format!("--{flag}=true")));
                    }
                }
            },
        )
        .severity(Severity::Critical)
        .label("CIS")
        .alias("CIS 2.2")
        .alias("CIS 2.5")
        .alias("PKI-L06")
        .page(
            "Any client that reaches port 2379 of an etcd without client authentication controls the cluster.",
            "Looks for --client-cert-auth and --peer-client-cert-auth.",
        )
        .basis("CIS Kubernetes Benchmark 2.2 and 2.5", CIS)
        .remedy(Remedy::new(MANIFEST)),
        started(
            "pki.flag.etcd-auto-tls",
            "etcd does not use self-signed certificates",
            Component::Etcd,
            |line, _, tally| {
                for flag in ["auto-tls", "peer-auto-tls"] {
                    if line.get(flag) == Some("true") {
                        tally.breach(on(line, format!("etcd sets --{flag}")).wanted(format!("--{flag}=false")));
                    }
                }
            },
        )
        .label("CIS")
        .alias("CIS 2.3")
        .alias("CIS 2.6")
        .page(
            "No client can verify a certificate that etcd has created for itself.",
            "Looks for --auto-tls and --peer-auto-tls.",
        )
        .basis("CIS Kubernetes Benchmark 2.3 and 2.6", CIS)
        .remedy(Remedy::new("Remove the flag, and configure certificates.")),
        started(
            "pki.flag.token-file",
            "kube-apiserver does not use a static token file",
            Component::Apiserver,
            |line, _, tally| {
                if let Some(file) = line.get("token-auth-file") {
                    tally.breach(on(line, format!("kube-apiserver reads tokens from {file}")).found(file));
                }
            },
        )
        .label("CIS")
        .alias("CIS 1.2.2")
        .page(
            "Such tokens are stored in plain text, do not expire and are revoked only by a restart.",
            "Looks for --token-auth-file.",
        )
        .basis("CIS Kubernetes Benchmark 1.2.2", CIS)
        .remedy(Remedy::new("Replace the tokens by certificates or service account tokens, and remove the flag.")),
        started(
            "pki.flag.requestheader-names",
            "Only the front-proxy client may set request headers",
            Component::Apiserver,
            |line, view, tally| {
                if line.get("requestheader-client-ca-file").is_none() {
                    return;
                }
                let open = line.get("requestheader-allowed-names").is_none_or(str::is_empty);
                let Some(ca) = view.facts.bundle(Role::FrontProxyCa) else { return };
                if open {
                    tally.breach(
                        on(
                            line,
                            format!(
                                "--requestheader-allowed-names is empty: every certificate that \
                    is signed by {} can impersonate any user",
                                ca.file
                            ),
                        )
                        .wanted("front-proxy-client"),
                    );
                }
            },
        )
        .alias("PKI-R06")
        .page(
            "A certificate of the front proxy's CA lets its holder name any user in a header. The flag says \
            which certificates may.",
            "Looks for --requestheader-allowed-names where \
            --requestheader-client-ca-file is set.",
        )
        .basis(
            "Configure the aggregation layer",
            "https://kubernetes.io/docs/tasks/extend-kubernetes/configure-aggregation-layer/",
        )
        .remedy(
            Remedy::new("Name the front proxy's client.").command("--requestheader-allowed-names=front-proxy-client"),
        ),
        started(
            "pki.flag.kubelet-rotation",
            "The kubelet rotates its client certificate",
            Component::Kubelet,
            |line, _, tally| {
                if line.get("rotate-certificates") != Some("true") {
                    tally.breach(
                        on(line, "the kubelet does not rotate its client certificate".to_owned())
                            .wanted("rotateCertificates: true"),
                    );
                }
            },
        )
        .severity(Severity::Medium)
        .label("CIS")
        .alias("PKI-R15")
        .alias("CIS 4.2.10")
        .page(
            "Without rotation the node becomes NotReady when its certificate expires, after a year.",
            "Looks \
            at rotateCertificates of the kubelet's configuration, and its flag.",
        )
        .basis("Certificate rotation of the kubelet", "https://kubernetes.io/docs/tasks/tls/certificate-rotation/")
        .remedy(
            Remedy::new("Set rotateCertificates and restart the kubelet.")
                .persist("/var/lib/kubelet/config.yaml", "rotateCertificates: true\n"),
        ),
        started(
            "pki.flag.kubelet-serving",
            "A kubelet with serverTLSBootstrap has a serving certificate",
            Component::Kubelet,
            |line, view, tally| {
                // Before it has joined it asks for nothing, and what it keeps elsewhere is not known.
                let joined = view.facts.of_role(Role::KubeletClient).next().is_some();
                let asks = line.get("rotate-server-certificates") == Some("true") && !told(line, "tls-cert-file");
                if !joined || !asks || told(line, "cert-dir") {
                    return;
                }
                for gap in view.facts.gaps.iter().filter(|gap| gap.there && gap.role == Some(Role::KubeletServing)) {
                    tally.unknown(&gap.why);
                }
                let known = view.facts.discovery.of_role(Role::KubeletServing).next().is_some();
                if !known {
                    let message = "the kubelet has requested its serving certificate and has none: it rejects every \
                    connection"
                        .to_owned();
                    tally.breach(on(line, message).wanted("/var/lib/kubelet/pki/kubelet-server-current.pem"));
                }
            },
        )
        .severity(Severity::Medium)
        .alias("PKI-R15")
        .alias("no serving certificate available for the kubelet")
        .page(
            "With serverTLSBootstrap the kubelet makes no certificate for itself, and its requests are \
            approved by nobody unless somebody sees to it. Until then `kubectl logs` and `exec` fail, and so \
            does metrics-server.",
            "Where the kubelet is told serverTLSBootstrap and has joined, looks for \
            kubelet-server-current.pem.",
        )
        .basis("Certificate management with kubeadm: enabling signed kubelet serving certificates", KUBEADM)
        .remedy(
            Remedy::new("Approve the certificate request of the node.")
                .command("kubectl get csr")
                .command("kubectl certificate approve NAME"),
        ),
    ]);
    all
}

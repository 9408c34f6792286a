//! Usages and identities: that each certificate may be used for what it is used for, and says who its holder is.

use super::*;
use crate::pki::discover::Role;
use crate::pki::facts::Credential;
use crate::pki::x509::{Certificate, KeyKind, KeyUsage, known};
use crate::profile::PkiProfile;

fn breach(one: &Credential, message: String) -> Breach {
    Breach::new(&one.file, format!("{}: {message}", one.file)).at(&one.file, one.line())
}

/// May it be used for this purpose? Without the extension for any.
fn may(certificate: &Certificate, purpose: &[u8]) -> bool {
    let purposes = certificate.extensions.extended_key_usage.as_ref();
    // Go takes an empty list for none.
    purposes.is_none_or(|all| {
        all.is_empty() || all.iter().any(|one| one.is(purpose) || one.is(known::ANY_EXTENDED_KEY_USAGE))
    })
}

fn organizations(certificate: &Certificate) -> Vec<&str> {
    certificate.subject.organizations().collect()
}

/// A claim about the certificates of some roles.
fn of(
    id: &str,
    title: &str,
    roles: &'static [Role],
    judge: impl Fn(&Credential, &View<'_>) -> Option<Breach> + Send + Sync + 'static,
) -> Check {
    let of = if roles.is_empty() { Of::Certificates } else { Of::Roles(roles) };
    claim(id, title, of, "such certificates", move |view, tally| {
        for one in view.facts.credentials.iter().filter(|one| roles.is_empty() || roles.contains(&one.role)) {
            tally.look();
            if let Some(breach) = judge(one, view) {
                let remedy = remedy::remake(one, view, "with the names and usages of its role");
                tally.breach(if breach.remedy.is_empty() { breach.remedy(remedy) } else { breach });
            }
        }
    })
}

fn again() -> Remedy {
    Remedy::new(
        "Create the certificate again with the names and usages of its role: renewing it copies what is \
        wrong.",
    )
}

/// Client certificates of kubeconfigs whose user RBAC knows by name.
struct Identity {
    id: &'static str,
    title: &'static str,
    role: Role,
    user: &'static str,
}

const IDENTITIES: [Identity; 2] = [
    Identity {
        id: "pki.user.controller-manager",
        title: "the controller manager is the user that RBAC knows",
        role: Role::ControllerManagerClient,
        user: "system:kube-controller-manager",
    },
    Identity {
        id: "pki.user.scheduler",
        title: "the scheduler is the user that RBAC knows",
        role: Role::SchedulerClient,
        user: "system:kube-scheduler",
    },
];

const GUIDE: &str = "PKI certificates and requirements: all certificates";
const ACCOUNTS: &str = "PKI certificates and requirements: certificates for user accounts";

fn purposes() -> Vec<Check> {
    vec![
        of(
            "pki.usage.server",
            "what is served may be used for serving",
            &[
                Role::ApiserverServing,
                Role::NamedServing,
                Role::KubeletServing,
                Role::ControllerManagerServing,
                Role::SchedulerServing,
            ],
            |one, _| {
                (!may(one.leaf(), known::SERVER_AUTH))
                    .then(|| breach(one, format!("{} lacks serverAuth", one.role)).wanted("serverAuth"))
            },
        )
        .severity(Severity::Critical)
        .label("usage")
        .alias("PKI-R03")
        .alias("x509: certificate specifies an incompatible key usage")
        .page(
            "Every client of the API server refuses it.",
            "Looks at the extended key usage of what the API \
            server, the kubelet, the controller manager and the scheduler serve. One without any is good for \
            all.",
        )
        .basis(GUIDE, CERTIFICATES)
        .remedy(again()),
        of(
            "pki.usage.client",
            "what is shown to servers may be used by clients",
            &[
                Role::ApiserverKubeletClient,
                Role::ApiserverEtcdClient,
                Role::FrontProxyClient,
                Role::EtcdClient,
                Role::KubeletClient,
                Role::ControllerManagerClient,
                Role::SchedulerClient,
                Role::ProxyClient,
                Role::AdminClient,
                Role::SuperAdminClient,
                Role::OtherClient,
                Role::TalosClient,
            ],
            |one, _| {
                (!may(one.leaf(), known::CLIENT_AUTH))
                    .then(|| breach(one, format!("{} lacks clientAuth", one.role)).wanted("clientAuth"))
            },
        )
        .severity(Severity::Critical)
        .label("usage")
        .alias("PKI-R04")
        .alias("PKI-R12")
        .alias("PKI-K02")
        .page(
            "The server refuses it: the API server cannot speak to etcd or to kubelets, or a component not to it.",
            "Looks \
            at the extended key usage of every client certificate, those in kubeconfigs included. One without \
            any is good for all.",
        )
        .basis(GUIDE, CERTIFICATES)
        .remedy(again()),
        of(
            "pki.usage.etcd-server",
            "etcd's serving certificate may be used for serving",
            &[Role::EtcdServer],
            |one, _| {
                (!may(one.leaf(), known::SERVER_AUTH))
                    .then(|| breach(one, "etcd's serving certificate lacks serverAuth".to_owned()).wanted("serverAuth"))
            },
        )
        .severity(Severity::Critical)
        .label("usage")
        .alias("PKI-R08")
        .page("The API server refuses etcd.", "Looks at the extended key usage of etcd's serving certificate.")
        .basis(GUIDE, CERTIFICATES)
        .remedy(again()),
        of(
            "pki.usage.etcd-gateway",
            "etcd's serving certificate may be used by a client, too",
            &[Role::EtcdServer],
            |one, _| {
                (!may(one.leaf(), known::CLIENT_AUTH)).then(|| {
                    breach(
                        one,
                        "etcd's serving certificate lacks \
                clientAuth, and etcd's gateway dials etcd with it"
                            .to_owned(),
                    )
                    .wanted("clientAuth")
                })
            },
        )
        .label("usage")
        .alias("PKI-R08")
        .alias("etcd#9785")
        .alias("tls: failed to verify client's certificate: x509: certificate specifies an incompatible key usage")
        .page(
            "etcd's HTTP gateway dials its own gRPC port with the serving certificate; without clientAuth its \
            log fills with refusals.",
            "Looks at the extended key usage of etcd's serving certificate.",
        )
        .basis(GUIDE, CERTIFICATES)
        .remedy(again()),
        of("pki.usage.etcd-peer", "etcd's peer certificate may be used on both sides", &[Role::EtcdPeer], |one, _| {
            let lacks = [(known::SERVER_AUTH, "serverAuth"), (known::CLIENT_AUTH, "clientAuth")]
                .into_iter()
                .find(|(purpose, _)| !may(one.leaf(), purpose));
            lacks.map(|(_, name)| breach(one, format!("etcd's peer certificate lacks {name}")).wanted(name))
        })
        .severity(Severity::Critical)
        .label("usage")
        .alias("PKI-R09")
        .page(
            "Each member both dials and is dialed; without either the cluster never forms.",
            "Looks at the extended key usage of etcd's peer certificate.",
        )
        .basis(GUIDE, CERTIFICATES)
        .remedy(again()),
        of("pki.usage.signature", "every certificate that is shown may be used for signatures", &[], |one, _| {
            let usage = one.leaf().extensions.key_usage?;
            (!usage.has(KeyUsage::DIGITAL_SIGNATURE)).then(|| {
                breach(one, format!("{} lacks the key usage digitalSignature", one.role)).wanted("digitalSignature")
            })
        })
        .severity(Severity::Low)
        .label("usage")
        .alias("PKI-R21")
        .page(
            "Go does not look at it; every other TLS 1.3 stack signs the handshake with the key and asks \
            whether it may.",
            "Looks at the key usage of every certificate that is shown.",
        )
        .basis("PKI certificates and requirements: kinds", CERTIFICATES)
        .remedy(again()),
        of(
            "pki.usage.encipherment",
            "RSA certificates that are served may be used for key encipherment",
            &[Role::ApiserverServing, Role::NamedServing, Role::EtcdServer, Role::EtcdPeer, Role::KubeletServing],
            |one, _| {
                let usage = one.leaf().extensions.key_usage?;
                let rsa = matches!(one.leaf().public_key.kind, KeyKind::Rsa(_));
                (rsa && !usage.has(KeyUsage::KEY_ENCIPHERMENT)).then(|| {
                    breach(one, format!("{} lacks the key usage keyEncipherment", one.role)).wanted("keyEncipherment")
                })
            },
        )
        .severity(Severity::Low)
        .label("usage")
        .alias("PKI-R21")
        .page(
            "Clients that know no other key exchange than RSA's are refused. The documentation asks for it.",
            "Looks at the key usage of what is served with an RSA key.",
        )
        .basis("PKI certificates and requirements: kinds", CERTIFICATES)
        .remedy(again()),
        of(
            "pki.usage.self-signed-kubelet",
            "the kubelet's serving certificate is signed by a CA",
            &[Role::KubeletServing],
            |one, _| {
                let own = one.leaf().is_self_issued()
                    || one.leaf().issuer.common_name().is_some_and(|name| name.contains("-ca@"));
                own.then(|| breach(one, "the kubelet serves a certificate that it signed itself".to_owned()))
            },
        )
        .severity(Severity::Medium)
        .only(&[PkiProfile::Cis, PkiProfile::Strict])
        .label("usage")
        .alias("PKI-R14")
        .alias("--kubelet-insecure-tls")
        .page(
            "The API server and metrics-server cannot verify it, so that they do not: whoever answers on port \
            10250 is believed. It is kubeadm's default.",
            "Looks at who issued the kubelet's serving certificate.",
        )
        .basis("Certificate management with kubeadm: kubelet serving certificates", KUBEADM)
        .remedy(
            Remedy::new("Have the kubelet ask the cluster for one, and approve the requests.")
                .persist("/var/lib/kubelet/config.yaml", "serverTLSBootstrap: true\n"),
        ),
    ]
}

const ADMINISTRATORS: &str = "kubeadm:cluster-admins or system:masters";

/// May one of these groups do everything, by the bindings that every kubeadm makes?
fn administers(groups: &[&str]) -> bool {
    groups.iter().any(|group| matches!(*group, "kubeadm:cluster-admins" | "system:masters"))
}

fn identities() -> Vec<Check> {
    let mut all: Vec<_> = IDENTITIES
        .iter()
        .map(|row| {
            of(row.id, row.title, std::slice::from_ref(&row.role), move |one, view| {
                // k0s and others bind its own name; what is known is what the documentation says.
                let name = one.leaf().subject.common_name().unwrap_or_default();
                let other = view.facts.discovery.layouts.iter().any(|layout| layout.name == "Talos");
                (name != row.user && !other)
                    .then(|| breach(one, format!("{} is of the user {name}", one.role)).found(name).wanted(row.user))
            })
            .severity(Severity::Critical)
            .label("user")
            .alias("PKI-K02")
            .alias(format!("User \"{}\" cannot", row.user))
            .page(
                "The RBAC roles that every API server makes at its start are bound to this user. Any other \
                may do nothing.",
                "Compares the common name of the client certificate in the component's kubeconfig.",
            )
            .basis(ACCOUNTS, CERTIFICATES)
            .remedy(again())
        })
        .collect();
    all.extend([
        of("pki.user.kubelet", "the kubelet is the user of its node", &[Role::KubeletClient], |one, view| {
            let name = one.leaf().subject.common_name().unwrap_or_default();
            let Some(node) = name.strip_prefix("system:node:") else {
                return Some(
                    breach(one, format!("the kubelet's certificate is of the user {name}"))
                        .found(name)
                        .wanted("system:node:<name>"),
                );
            };
            let own = view.facts.settings.node.as_deref()?;
            (node != own).then(|| {
                breach(
                    one,
                    format!(
                        "the kubelet's certificate is of the node {node}, and \
                this one is {own}"
                    ),
                )
                .found(node)
                .wanted(own)
            })
        })
        .severity(Severity::Critical)
        .label("user")
        .alias("PKI-R13")
        .alias("PKI-W02")
        .page(
            "The Node authorizer lets system:node:<name> do what node <name> needs, and the name must be that \
            of the Node precisely.",
            "Compares the common name with --hostname-override, or with the host name.",
        )
        .basis(ACCOUNTS, CERTIFICATES)
        .remedy(again()),
        of(
            "pki.user.kubelet-group",
            "the kubelet is of the group system:nodes alone",
            &[Role::KubeletClient],
            |one, _| {
                let groups = organizations(one.leaf());
                (groups != ["system:nodes"]).then(|| {
                    breach(one, format!("the kubelet's certificate is of the groups {groups:?}"))
                        .found(groups.join(", "))
                        .wanted("system:nodes")
                })
            },
        )
        .severity(Severity::Critical)
        .label("user")
        .alias("PKI-R13")
        .page(
            "Without the group the Node authorizer does not know it; with another it may do more than its \
            node needs.",
            "Compares the organizations of the kubelet's client certificate.",
        )
        .basis(ACCOUNTS, CERTIFICATES)
        .remedy(again()),
        of(
            "pki.user.admin",
            "administrators are of a group that may do everything",
            &[Role::AdminClient, Role::SuperAdminClient],
            |one, _| {
                let groups = organizations(one.leaf());
                (!administers(&groups)).then(|| {
                    breach(one, format!("{} is of the groups {groups:?}", one.role))
                        .found(groups.join(", "))
                        .wanted(ADMINISTRATORS)
                })
            },
        )
        .label("user")
        .alias("PKI-R18")
        .page(
            "Administration goes by group: system:masters, or kubeadm:cluster-admins since 1.29.",
            "Looks at \
            the organizations of the administrators' client certificates.",
        )
        .basis(ACCOUNTS, CERTIFICATES)
        .remedy(again()),
        of("pki.user.masters", "only the super-administrator is of the group system:masters", &[], |one, view| {
            // On etcd's CA the group means nothing: kubeadm before 1.29 put it there.
            let etcd =
                matches!(one.role, Role::ApiserverEtcdClient | Role::EtcdClient | Role::EtcdServer | Role::EtcdPeer);
            // That a kubelet is of any other group than its own is a claim of its own.
            let told = matches!(one.role, Role::SuperAdminClient | Role::KubeletClient);
            let kubeadm = view
                .facts
                .discovery
                .layouts
                .iter()
                .all(|layout| matches!(layout.name, "kubeadm" | "Kubespray" | "managed"));
            let masters = organizations(one.leaf()).contains(&"system:masters");
            let old = view.profile.kubernetes.0 < 29;
            (masters && !etcd && kubeadm && !old && !told).then(|| {
                breach(one, format!("{} is of the group system:masters, whom nobody can take rights from", one.role))
                    .found("system:masters")
                    .wanted("kubeadm:cluster-admins")
            })
        })
        .severity(Severity::Medium)
        .label("user")
        .alias("PKI-R18")
        .alias("kubeadm:cluster-admins")
        .page(
            "system:masters goes past RBAC, and no certificate can be revoked: whoever has one keeps it until \
            it expires. kubeadm renews the old group with the certificate for ever.",
            "Looks for the group in \
            every client certificate of the cluster's CA. On etcd's it means nothing, and of kubelets see \
            pki.user.kubelet-group.",
        )
        .basis("Certificate management with kubeadm", KUBEADM)
        .remedy(again())
        .remedy(again()),
        of(
            "pki.user.apiserver-kubelet",
            "the API server is a user that may ask kubelets",
            &[Role::ApiserverKubeletClient],
            |one, view| {
                const USER: &str = "kube-apiserver-kubelet-client";
                let (name, groups) = (one.leaf().subject.common_name().unwrap_or_default(), organizations(one.leaf()));
                // kubeadm gave a group until 1.33; since then it leaves that out and binds the user itself.
                // Where the API says who is bound, pki.api.kubelet-client judges by that.
                let told = view.facts.api.cluster_role_bindings.known().is_some();
                let may = name == USER || administers(&groups) || !view.facts.discovery.is_kubeadm() || told;
                (!may).then(|| {
                    breach(one, format!("{} is of the user {name} and the groups {groups:?}", one.role))
                        .found(name)
                        .wanted(format!("{USER}, or a group of {ADMINISTRATORS}"))
                })
            },
        )
        .severity(Severity::Medium)
        .label("user")
        .alias("PKI-R04")
        .alias("Forbidden (user=kube-apiserver-kubelet-client, verb=get, resource=nodes, subresource=proxy)")
        .page(
            "kubelets ask the API server itself whether whoever dials them may. Without rights kubectl logs, \
            exec and port-forward are forbidden.",
            "Looks, where the PKI is kubeadm's, at the user and the \
            groups of the certificate that the API server shows to kubelets: a group that kubeadm gave until \
            1.33, or the user that it binds to system:kubelet-api-admin since. With a kubeconfig \
            pki.api.kubelet-client looks at what RBAC says instead; if you have bound another user to that \
            role, name one, or waive this.",
        )
        .basis(GUIDE, CERTIFICATES)
        .basis(
            "kubelet authentication/authorization",
            "https://kubernetes.io/docs/reference/access-authn-authz/kubelet-authn-authz/",
        )
        .remedy(again()),
        of(
            "pki.user.front-proxy",
            "the front-proxy client is one that --requestheader-allowed-names lists",
            &[Role::FrontProxyClient],
            |one, view| {
                let line = view.facts.discovery.command(crate::pki::discover::Component::Apiserver)?;
                let names: Vec<_> = line.get("requestheader-allowed-names")?.split(',').collect();
                let name = one.leaf().subject.common_name().unwrap_or_default();
                (!names.contains(&name) && names != [""]).then(|| {
                    breach(
                        one,
                        format!(
                            "the front-proxy client is {name}, which --requestheader-allowed-names does \
                    not list"
                        ),
                    )
                    .found(name)
                    .wanted(names.join(", "))
                })
            },
        )
        .label("user")
        .alias("PKI-R06")
        .alias("is not in the allowed list")
        .page(
            "Extension API servers read the names from a ConfigMap that the API server makes of the flag, and \
            refuse the proxy if its is not among them.",
            "Compares the common name of the front-proxy client \
            certificate with the flag.",
        )
        .basis("Configure the aggregation layer", AGGREGATION)
        .remedy(Remedy::new(
            "Add the name to --requestheader-allowed-names, or issue the certificate with one \
            of them.",
        )),
    ]);
    all
}

const AGGREGATION: &str = "https://kubernetes.io/docs/tasks/extend-kubernetes/configure-aggregation-layer/";

/// The family's checks.
pub(super) fn checks() -> Vec<Check> {
    [purposes(), identities()].into_iter().flatten().collect()
}

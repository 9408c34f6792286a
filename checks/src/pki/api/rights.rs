//! Claims about what RBAC lets identities do that certificates stand for: the API server towards kubelets, and
//! kubeadm's administrators.
//!
//! Bindings and roles are read and evaluated here, as the API server does (Kubernetes: pkg/registry/rbac/validation);
//! it is asked nothing about anybody, since a SubjectAccessReview would have to be written.

use serde::Deserialize;

use super::{certificates, claim, need};
use crate::check::{Remedy, Severity};
use crate::conclusion::Breach;
use crate::pki::discover::{Component, Role};
use crate::pki::tally::Tally;
use crate::pki::x509::Certificate;
use crate::pki::{Check, View};

const KUBELET: &str = "https://kubernetes.io/docs/reference/access-authn-authz/kubelet-authn-authz/";
const CERTIFICATES: &str = "https://kubernetes.io/docs/setup/best-practices/certificates/";

/// The group that no rule restrains.
const MASTERS: &str = "system:masters";
/// The group of kubeadm's administrators since 1.29.
const ADMINISTRATORS: &str = "kubeadm:cluster-admins";
/// What everyone with a certificate is of.
const AUTHENTICATED: &str = "system:authenticated";

/// A ClusterRoleBinding.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ClusterRoleBinding {
    /// The name of the ClusterRole.
    pub role: String,
    /// Who is given it.
    pub subjects: Vec<Subject>,
}

/// Who is given a role.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Subject {
    /// `User`, `Group`, `ServiceAccount`.
    pub kind: String,
    /// The name.
    pub name: String,
}

/// A ClusterRole; those that are aggregated of others have their rules, too.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ClusterRole {
    /// Its name.
    pub name: String,
    /// What it allows; the API writes null where there is nothing.
    pub rules: Option<Vec<Rule>>,
}

/// What a role allows.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Rule {
    /// Groups of the API; the core has an empty name.
    pub api_groups: Vec<String>,
    /// Resources, with their subresources after a slash.
    pub resources: Vec<String>,
    /// The names of objects, where it is not for all.
    pub resource_names: Vec<String>,
    /// What may be done.
    pub verbs: Vec<String>,
}

impl Rule {
    /// Does it allow this with every object of that resource in the core of the API?
    fn allows(&self, verb: &str, resource: &str) -> bool {
        let any = |list: &[String], one: &str| list.iter().any(|own| own == "*" || own == one);
        // A star may stand before the slash, but not behind it.
        let of_any = resource.split_once('/').map(|(_, subresource)| format!("*/{subresource}"));
        let resources = any(&self.resources, resource) || of_any.is_some_and(|of_any| self.resources.contains(&of_any));
        resources && any(&self.api_groups, "") && any(&self.verbs, verb) && self.resource_names.is_empty()
    }

    /// Does it allow everything?
    fn allows_everything(&self) -> bool {
        let star = |list: &[String]| list.iter().any(|one| one == "*");
        star(&self.api_groups) && star(&self.resources) && star(&self.verbs) && self.resource_names.is_empty()
    }
}

/// Who shows a certificate.
struct Identity<'a> {
    user: &'a str,
    groups: Vec<&'a str>,
}

impl<'a> Identity<'a> {
    fn of(certificate: &'a Certificate) -> Self {
        let groups = certificate.subject.organizations().chain([AUTHENTICATED]).collect();
        Self { user: certificate.subject.common_name().unwrap_or_default(), groups }
    }

    fn is(&self, subject: &Subject) -> bool {
        match subject.kind.as_str() {
            "User" => subject.name == self.user,
            "Group" => self.groups.contains(&subject.name.as_str()),
            _ => false,
        }
    }
}

impl std::fmt::Display for Identity<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "user {}", self.user)?;
        self.groups.iter().filter(|group| **group != AUTHENTICATED).try_for_each(|group| write!(f, ", group {group}"))
    }
}

/// What RBAC gives, if it counts and can be told.
struct Rights<'a> {
    bindings: &'a [ClusterRoleBinding],
    roles: &'a [ClusterRole],
    /// May something else give more, so that what RBAC does not give is not known to be refused?
    others: Option<&'static str>,
}

impl<'a> Rights<'a> {
    fn read(view: &View<'a>, tally: &mut Tally) -> Option<Self> {
        let server = view.facts.discovery.command(Component::Apiserver);
        let modes = server.and_then(|line| line.get("authorization-mode"));
        let has = |mode: &str| modes.is_some_and(|modes| modes.split(',').any(|one| one == mode));
        if modes.is_some() && !has("RBAC") {
            return None;
        }
        if has("AlwaysAllow") {
            return None;
        }
        let others = if server.is_some_and(|line| line.get("authorization-config").is_some()) {
            Some("--authorization-config may name a webhook that allows it")
        } else if has("Webhook") {
            Some("an authorization webhook may allow it")
        } else if has("ABAC") {
            Some("the API server's ABAC policy may allow it")
        } else {
            None
        };
        let (bindings, roles) =
            (need(&view.facts.api.cluster_role_bindings, tally), need(&view.facts.api.cluster_roles, tally));
        Some(Self { bindings: bindings?, roles: roles?, others })
    }

    fn rules(&self, identity: &Identity<'_>) -> impl Iterator<Item = &'a Rule> {
        let given = self.bindings.iter().filter(|binding| binding.subjects.iter().any(|one| identity.is(one)));
        let roles = given.filter_map(|binding| self.roles.iter().find(|role| role.name == binding.role));
        roles.flat_map(|role| role.rules.iter().flatten())
    }

    fn breach(&self, breach: Breach, tally: &mut Tally) {
        match self.others {
            Some(why) => tally.unknown(format!("{}; {why}", breach.message)),
            None => tally.breach(breach),
        }
    }
}

/// What the API server asks of kubelets: logs by GET, exec, attach and port-forward by POST, each of them `nodes/proxy`
/// to the kubelet (Kubernetes: pkg/kubelet/server/auth.go; of the finer subresources since 1.33 none is for these).
const ASKED: [(&str, &str); 2] = [("get", "kubectl logs"), ("create", "kubectl exec, attach and port-forward")];

fn kubelets(view: &View<'_>, tally: &mut Tally) {
    let mut clients = view.facts.of_role(Role::ApiserverKubeletClient).peekable();
    // A kubelet that asks nobody lets in whoever it knows.
    let kubelet = view.facts.discovery.command(Component::Kubelet);
    let asks = kubelet.is_none_or(|line| line.get("authorization-mode") != Some("AlwaysAllow"));
    if clients.peek().is_none() || !asks {
        return;
    }
    let Some(rights) = Rights::read(view, tally) else { return };
    for client in clients {
        tally.look();
        let identity = Identity::of(client.leaf());
        if identity.groups.contains(&MASTERS) {
            continue;
        }
        let rules: Vec<_> = rights.rules(&identity).collect();
        let missing: Vec<_> =
            ASKED.into_iter().filter(|(verb, _)| !rules.iter().any(|rule| rule.allows(verb, "nodes/proxy"))).collect();
        if !missing.is_empty() {
            let (verbs, commands): (Vec<_>, Vec<_>) = missing.into_iter().unzip();
            let message = format!(
                "the API server is nobody to kubelets: no ClusterRoleBinding gives what {} says the right to {} \
                 nodes/proxy, and {} are forbidden",
                client.file,
                verbs.join(" and "),
                commands.join(", ")
            );
            let breach = Breach::new(&client.file, message).at(&client.file, client.line());
            rights.breach(breach.found(identity.to_string()).wanted("system:kubelet-api-admin"), tally);
        }
    }
}

fn administrators(view: &View<'_>, tally: &mut Tally) {
    let files = view.facts.of_role(Role::AdminClient).map(|client| (client.file.clone(), client.leaf().clone()));
    let in_use = view.facts.api.kubeconfig.known();
    let in_use = in_use.and_then(|config| {
        let leaf = certificates(config.certificate.as_ref()?).into_iter().next()?;
        Some((format!("context {}", config.context), leaf))
    });
    let all: Vec<_> = files
        .chain(in_use)
        .filter(|(_, leaf)| leaf.subject.organizations().any(|group| group == ADMINISTRATORS))
        .filter(|(_, leaf)| leaf.subject.organizations().all(|group| group != MASTERS))
        .collect();
    if all.is_empty() {
        return;
    }
    let Some(rights) = Rights::read(view, tally) else { return };
    for (subject, leaf) in all {
        tally.look();
        let identity = Identity::of(&leaf);
        if !rights.rules(&identity).any(Rule::allows_everything) {
            let message = format!(
                "{subject} is of the group {ADMINISTRATORS}, and no ClusterRoleBinding makes that an administrator: \
                 what it asks for is forbidden"
            );
            let breach = Breach::new(&subject, message).found(identity.to_string()).wanted("cluster-admin");
            rights.breach(breach, tally);
        }
    }
}

/// The claims about rights.
pub(super) fn checks() -> Vec<Check> {
    vec![
        claim(
            "pki.api.kubelet-client",
            "RBAC lets the API server ask kubelets for logs and for exec",
            "certificates that the API server shows to kubelets on this node",
            kubelets,
        )
        .severity(Severity::High)
        .alias("PKI-R04")
        .alias("Forbidden (user=kube-apiserver-kubelet-client, verb=get, resource=nodes, subresource=proxy)")
        .page(
            "Kubelets ask the API server whether whoever dials them may, and the API server is one of those. kubeadm \
             gave it system:masters until 1.28, kubeadm:cluster-admins until 1.32, and since then binds the user \
             kube-apiserver-kubelet-client; a certificate that was made by one version for the bindings of another has \
             no rights.",
            "Reads common name and organizations of the certificate in --kubelet-client-certificate, and goes through \
             ClusterRoleBindings and ClusterRoles for the verbs get and create on nodes/proxy. system:masters may all. \
             Where the API server is told of other authorizers, they may allow what RBAC does not, and nothing is \
             concluded; nor where the kubelet of this node has authorization.mode AlwaysAllow.",
        )
        .basis("Kubelet authentication/authorization", KUBELET)
        .remedy(Remedy::new("Bind the user, or the group, to system:kubelet-api-admin.").command(
            "kubectl create clusterrolebinding kubeadm:apiserver-kubelet-client --clusterrole=system:kubelet-api-admin \
             --user=kube-apiserver-kubelet-client",
        )),
        claim(
            "pki.api.cluster-admins",
            "whom kubeadm makes an administrator may do everything",
            "client certificates of kubeadm:cluster-admins",
            administrators,
        )
        .severity(Severity::High)
        .alias("PKI-R04")
        .alias("PKI-R18")
        .alias("kubeadm:cluster-admins")
        .page(
            "Since 1.29 admin.conf is of the group kubeadm:cluster-admins, which has its rights by a \
             ClusterRoleBinding of that name. Once that is deleted, only super-admin.conf is left.",
            "Looks at admin.conf of this node and at the kubeconfig in use, and goes through ClusterRoleBindings and \
             ClusterRoles for one that allows everything.",
        )
        .basis("PKI certificates and requirements: certificates for user accounts", CERTIFICATES)
        .remedy(Remedy::new("Make the binding again, as someone of system:masters.").command(
            "kubectl --kubeconfig /etc/kubernetes/super-admin.conf create clusterrolebinding kubeadm:cluster-admins \
             --clusterrole=cluster-admin --group=kubeadm:cluster-admins",
        )),
    ]
}

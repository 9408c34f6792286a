//! kubeconfigs: that they lead to this cluster's API server, trust its CA, and hold nothing that they should not.

use std::sync::Arc;

use super::public::is_public;
use super::*;
use crate::fact::Fact;
use crate::host::Form;
use crate::pki::discover::{Component, Role};
use crate::pki::facts::{Bundle, Client, Credential};
use crate::pki::kubeconfig::{Kubeconfig, is_tls, server_fault};
use crate::pki::live::Server;
use crate::pki::reader::Reader;
use crate::pki::settings::Place;
use crate::pki::store::{Contents, Held};
use crate::pki::trust;
use crate::pki::x509::Certificate;

const ACCOUNTS: &str = "PKI certificates and requirements: certificates for user accounts";

fn on(client: &Client, message: String) -> Breach {
    Breach::new(&client.of.file, format!("{}: {message}", client.of.file)).at(&client.of.file, None)
}

/// A claim about every kubeconfig.
fn each(
    id: &str,
    title: &str,
    of: Of,
    judge: impl Fn(&Client, &View<'_>, &mut Tally) + Send + Sync + 'static,
) -> Check {
    claim(id, title, of, "kubeconfigs", move |view, tally| {
        for client in &view.facts.clients {
            tally.look();
            // Of one that client-go refuses nothing else is asked.
            let judged = view.facts.discovery.kubeconfigs.iter().any(|one| one.file == client.of.file);
            let config = view.facts.store.get(&client.of.file).and_then(|file| file.kubeconfig.as_ref());
            if !judged || config.and_then(refusal).is_none() {
                judge(client, view, tally);
            }
        }
    })
    .label("kubeconfig")
}

/// What the API server of this node serves; of several nobody knows which a name gets.
fn serving<'f>(view: &View<'f>) -> Option<&'f Credential> {
    let mut all = view.facts.of_role(Role::ApiserverServing);
    all.next().filter(|_| all.next().is_none())
}

/// The host that a kubeconfig dials, or the name that it verifies instead.
fn dialed(client: &Client) -> Option<Place> {
    let cluster = client.cluster.as_ref()?;
    cluster.server_name.as_deref().map(Place::read).or_else(|| Place::of_url(&cluster.server))
}

/// What the API server serves to those that dial this name, where --tls-sni-cert-key has one for it.
fn named<'f>(name: &Place, view: &View<'f>) -> Option<&'f Credential> {
    let Place::Name(host) = name else { return None };
    let all = view.facts.discovery.command(Component::Apiserver)?.sni();
    let credential = |file: &str| view.facts.of_role(Role::NamedServing).find(|one| one.file == file);
    let told = all.iter().find(|one| one.names.iter().any(|pattern| super::role::fits(pattern, host)));
    let own = || {
        let without = all.iter().filter(|one| one.names.is_empty()).filter_map(|one| credential(&one.certificate));
        without.into_iter().find(|one| super::role::names(one, name))
    };
    told.map_or_else(own, |one| credential(&one.certificate))
}

/// Why a kubeconfig without a CA, which leaves it to those of the machine, cannot verify what this API server serves,
/// if so.
fn names_no_ca(client: &Client, view: &View<'_>) -> Option<String> {
    let (cluster, place, serving) = (client.cluster.as_ref()?, dialed(client)?, serving(view)?);
    let none = cluster.ca.is_none() && cluster.ca_file.is_none() && client.of.role != Role::OtherClient;
    let verifies = !cluster.insecure && cluster.server.starts_with("https://");
    let served = named(&place, view).is_none() && super::role::names(serving, &place);
    let authority = view.facts.verifier(Role::ApiserverServing)?;
    let public = || authority.certificates.iter().any(|held| is_public(&held.certificate.public_key));
    let signs = || refused(&chain(serving), &authority.certificates, view).is_none();
    (none && verifies && served && !public() && signs()).then(|| {
        format!("it names no CA, and no machine knows that of {}, which signs for the API server", authority.file)
    })
}

/// Why client-go refuses a kubeconfig, if so: its decoder, `ConfirmUsable`, `rest.DefaultServerURL` and
/// `rest.TLSConfigFor`, in that order. What is wrong with a file that it names is said of that file.
fn refusal(config: &Kubeconfig<Contents>) -> Option<String> {
    let current = config.current.as_deref();
    let context = config.context();
    let Some(cluster) = config.cluster() else {
        let why = match (current, context) {
            (None, _) => "has no current-context".to_owned(),
            (Some(name), None) => format!("has the current-context {name:?}, and no context of that name"),
            (Some(_), Some(context)) => {
                format!("has a current context with the cluster {:?}, and no cluster of that name", context.cluster)
            }
        };
        return Some(config.refused.clone().map_or(why, |why| format!("is refused: {why}")));
    };
    if let Some(why) = &config.refused {
        return Some(format!("is refused: {why}"));
    }
    let user = config.user();
    if let Some(why) = cluster.faults.iter().chain(user.into_iter().flat_map(|user| &user.faults)).next() {
        return Some(format!("is refused: {why}"));
    }
    if cluster.server.is_empty() {
        return Some(format!("has no server in the cluster {:?}", cluster.name));
    }
    if let Some(why) = server_fault(&cluster.server) {
        return Some(format!("has the server {:?}, which {why}", cluster.server));
    }
    if !is_tls(&cluster.server) {
        return None;
    }
    // client-go shows a certificate only with its key.
    let certificate = user.filter(|user| user.key.is_some() || user.key_file.is_some());
    let embedded = [
        ("certificate-authority-data", cluster.ca.as_ref(), Reader::Pool),
        ("client-certificate-data", certificate.and_then(|user| user.certificate.as_ref()), Reader::Pair),
        (
            "client-key-data",
            certificate
                .filter(|user| user.certificate.is_some() || user.certificate_file.is_some())
                .and_then(|user| user.key.as_ref()),
            Reader::PairKey,
        ),
    ];
    embedded.into_iter().find_map(|(member, contents, reader)| {
        let (_, why) = reader.read(contents?, None).refused?;
        Some(format!("has {member} that cannot be used: {why}"))
    })
}

fn chain(one: &Credential) -> Vec<Arc<Certificate>> {
    one.chain.iter().map(|held| held.certificate.clone()).collect()
}

/// What the API server presents that was asked, where this node has no files of one.
fn presented<'f>(view: &View<'f>) -> Option<&'f [Arc<Certificate>]> {
    let mut servers = view.facts.live.of(Server::Apiserver).filter_map(|endpoint| endpoint.presented.known());
    servers.find(|presented| presented.leaf().is_some()).map(|presented| presented.chain.as_slice())
}

/// Why whoever trusts these CAs refuses a server with this chain, if so.
fn refused(chain: &[Arc<Certificate>], trusted: &[Held], view: &View<'_>) -> Option<String> {
    let roots: Vec<_> = trusted.iter().map(|held| held.certificate.clone()).collect();
    trust::verify(chain, &roots, view).err()
}

fn again() -> Remedy {
    Remedy::new("Have it made again, then start again what uses it.")
        .command("rm /etc/kubernetes/controller-manager.conf")
        .command("kubeadm init phase kubeconfig controller-manager")
}

/// The family's checks.
pub(super) fn checks() -> Vec<Check> {
    vec![
        claim(
            "pki.kubeconfig.parses",
            "client-go takes every kubeconfig, and its current context leads to a server",
            Of::Kubeconfigs,
            "kubeconfigs",
            |view, tally| {
                for one in &view.facts.discovery.kubeconfigs {
                    let Some(file) = view.facts.store.get(&one.file) else { continue };
                    if !matches!(file.contents, Fact::Known(_)) {
                        continue;
                    }
                    tally.look();
                    let breach =
                        |message: &str| Breach::new(&one.file, format!("{} {message}", one.file)).at(&one.file, None);
                    match &file.kubeconfig {
                        None if file.form != Form::Kubeconfig => tally.breach(breach("is no kubeconfig")),
                        None => {}
                        Some(config) => {
                            if let Some(why) = refusal(config) {
                                tally.breach(breach(&why));
                            }
                        }
                    }
                }
            },
        )
        .severity(Severity::Critical)
        .label("kubeconfig")
        .alias("error loading config file")
        .alias("invalid configuration: no configuration has been provided")
        .alias("unable to load root certificates: unable to parse bytes as PEM block")
        .alias("certificate-authority-data will override")
        .alias("too many colons in address")
        .page(
            "The component that uses the kubeconfig does not start.",
            "Reads the file as client-go does: types of members, names that occur twice, current-context, data beside \
             a file, the server's URL, and what is embedded as base64. A current context whose user does not exist is \
             used without credentials, which pki.kubeconfig.credential reports.",
        )
        .basis(ACCOUNTS, CERTIFICATES)
        .remedy(again()),
        each(
            "pki.kubeconfig.ca",
            "every kubeconfig trusts the CA of the API server that it leads to",
            Of::Certificates,
            |client, view, tally| {
                let Some((file, trusted)) = &client.ca else {
                    if let Some(why) = names_no_ca(client, view) {
                        tally.breach(on(client, why));
                    }
                    return;
                };
                if let Some(named) = dialed(client).and_then(|name| named(&name, view)) {
                    // Of one that is over, or is not yet, nobody can say more than that.
                    let in_force = (named.leaf().not_before..=named.leaf().not_after).contains(&view.profile.now);
                    if let Some(why) = refused(&chain(named), trusted, view).filter(|_| in_force) {
                        let message = format!(
                            "by the CA in it {} cannot be verified, which is served for the name that it dials: {why}",
                            named.file
                        );
                        tally.breach(on(client, message).at(file, None));
                    }
                    return;
                }
                let Some(serving) = serving(view) else {
                    let own = client.of.role != Role::OtherClient;
                    if let Some(why) = presented(view).filter(|_| own).and_then(|chain| refused(chain, trusted, view)) {
                        let message = format!("by the CA in it the API server cannot be verified: {why}");
                        tally.breach(on(client, message).at(file, None));
                    }
                    return;
                };
                // A kubeconfig that was given beside the PKI may be of another cluster.
                let own = client.of.role != Role::OtherClient || view.facts.settings.endpoint.is_some();
                // The CA that is on disk under the same role: the same key is the same CA.
                let authority = view.facts.verifier(Role::ApiserverServing);
                let shares = |bundle: Option<&Bundle>| {
                    let mut keys = bundle
                        .iter()
                        .flat_map(|bundle| &bundle.certificates)
                        .map(|held| held.certificate.public_key.sha256);
                    keys.any(|key| trusted.iter().any(|held| held.certificate.public_key.sha256 == key))
                };
                // Where only --root-ca-file is of another CA, it is that which is wrong, and not every kubeconfig.
                let right =
                    || shares(view.facts.bundle(Role::ClientCa)) && refused(&chain(serving), trusted, view).is_none();
                let known = authority.is_some_and(|bundle| !bundle.certificates.is_empty());
                if own && known && !shares(authority) && !right() {
                    let found = trusted.first().map_or_else(
                        || "nothing".to_owned(),
                        |held| format!("{} sha256:{}", held.certificate.subject, held.certificate.public_key.sha256),
                    );
                    let wanted = authority.map_or("", |bundle| bundle.file.as_str());
                    let message = format!("it trusts another CA than {wanted}: whoever uses it refuses the API server");
                    tally.breach(on(client, message).found(found).wanted(format!("the CA of {wanted}")).at(file, None));
                }
            },
        )
        .severity(Severity::Critical)
        .alias("PKI-K01")
        .alias("kubeadm#2027")
        .alias("x509: certificate signed by unknown authority")
        .page(
            "kubeadm renews the certificate in a kubeconfig and leaves the CA beside it as it was: after a rotation it \
             is the old one.",
            "Compares the keys of the CAs in every kubeconfig with those of the CA that the API server's certificate \
             is verified by; where it dials a name of --tls-sni-cert-key, builds a path from the certificate behind \
             that, and on a worker from what the API server presents, where it was asked. One without a CA leaves it \
             to those of the machine, which does for a public certificate alone.",
        )
        .basis(ACCOUNTS, CERTIFICATES)
        .remedy(again()),
        each(
            "pki.kubeconfig.server",
            "every kubeconfig dials a name that the API server's certificate has",
            Of::Certificates,
            |client, view, tally| {
                let (Some(cluster), Some(place)) = (&client.cluster, dialed(client)) else { return };
                if cluster.insecure || client.of.role == Role::OtherClient {
                    return;
                }
                // What is served for a name is judged by pki.san.sni.
                let Some(serving) = serving(view).filter(|_| named(&place, view).is_none()) else { return };
                let sans = serving.leaf().extensions.subject_alt_names.as_ref();
                if sans.is_some() && !super::role::names(serving, &place) {
                    tally.breach(
                        on(client, format!("it dials {place}, which {} does not name", serving.file))
                            .found(place.to_string()),
                    );
                }
            },
        )
        .severity(Severity::Critical)
        .alias("PKI-K04")
        .page(
            "Whoever uses the kubeconfig refuses the API server.",
            "Compares the host of the server's URL, or tls-server-name, with the SANs of the API server's certificate \
             on this node.",
        )
        .basis(ACCOUNTS, CERTIFICATES)
        .remedy(
            Remedy::new("Correct the server's URL, or add the name to the certificate (certSANs).")
                .command("kubectl config set-cluster kubernetes --server https://NAME:6443 --kubeconfig FILE"),
        ),
        each(
            "pki.kubeconfig.verifies",
            "every kubeconfig verifies the API server",
            Of::Kubeconfigs,
            |client, _, tally| {
                let Some(cluster) = &client.cluster else { return };
                if cluster.insecure {
                    tally.breach(on(client, "insecure-skip-tls-verify is on: it believes whoever answers".to_owned()));
                } else if !cluster.server.is_empty() && !is_tls(&cluster.server) {
                    tally.breach(
                        on(client, format!("it speaks to {} in the clear", cluster.server)).found(&cluster.server),
                    );
                }
            },
        )
        .alias("PKI-K03")
        .alias("insecure-skip-tls-verify")
        .page(
            "Whoever stands in between gets the token or answers as the cluster.",
            "Looks at insecure-skip-tls-verify and the scheme of the server's URL.",
        )
        .basis(
            "Organizing cluster access using kubeconfig files",
            "https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/",
        )
        .remedy(Remedy::new("Put the CA in, and take the switch out.").command(
            "kubectl config set-cluster NAME --certificate-authority /etc/kubernetes/pki/ca.crt --embed-certs \
             --kubeconfig FILE",
        )),
        each(
            "pki.kubeconfig.token",
            "no component's kubeconfig holds a token or a password",
            Of::Kubeconfigs,
            |client, _, tally| {
                let component = client.of.holder != Component::People;
                if let (true, Some(user)) = (component, &client.user)
                    && (user.has_token || user.has_login)
                {
                    let what = if user.has_token { "a token" } else { "a password" };
                    tally.breach(on(client, format!("it holds {what}, which never expires and is not bound to a key")));
                }
            },
        )
        .severity(Severity::Medium)
        .alias("PKI-K03")
        .page(
            "Who copies a token is its user; a client certificate can be used by whoever has the key alone. MicroK8s \
             had tokens for its components for years.",
            "Looks for a token or a password in the user that counts; that it is there is all that is read.",
        )
        .basis(ACCOUNTS, CERTIFICATES)
        .remedy(again()),
        each(
            "pki.kubeconfig.stale",
            "no kubeconfig has contexts that lead nowhere",
            Of::Kubeconfigs,
            |client, view, tally| {
                let Some(config) = view.facts.store.get(&client.of.file).and_then(|file| file.kubeconfig.as_ref())
                else {
                    return;
                };
                for context in &config.contexts {
                    let whole = config.clusters.iter().any(|cluster| cluster.name == context.cluster)
                        && config.users.iter().any(|user| user.name == context.user);
                    // The current one is judged by pki.kubeconfig.parses.
                    if !whole && config.current.as_ref() != Some(&context.name) {
                        tally.breach(on(
                            client,
                            format!("the context {} leads to no cluster or to no user", context.name),
                        ));
                    }
                }
            },
        )
        .severity(Severity::Low)
        .alias("PKI-K03")
        .page("It fails when somebody switches to it.", "Looks up the cluster and the user of every context.")
        .basis(
            "Organizing cluster access using kubeconfig files",
            "https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/",
        )
        .remedy(Remedy::new("Remove it.").command("kubectl config delete-context NAME --kubeconfig FILE")),
        each(
            "pki.kubeconfig.rotates",
            "kubelet.conf leads to the certificate that the kubelet renews",
            Of::Kubeconfigs,
            |client, view, tally| {
                if client.of.role != Role::KubeletClient {
                    return;
                }
                // What kubeadm's init writes first is replaced as soon as the kubelet has renewed once.
                let current = view
                    .facts
                    .store
                    .get("/var/lib/kubelet/pki/kubelet-client-current.pem")
                    .is_some_and(|file| file.stat.known().is_some());
                if client.user.as_ref().is_some_and(|user| user.certificate.is_some()) && current {
                    tally.breach(on(
                        client,
                        "it holds a certificate of its own, although the kubelet renews \
                         /var/lib/kubelet/pki/kubelet-client-current.pem"
                            .to_owned(),
                    ));
                }
            },
        )
        .alias("PKI-K05")
        .alias("kubeadm#1361")
        .page(
            "The kubelet renews one certificate and shows another, until the other expires and the node is gone.",
            "Looks whether kubelet.conf embeds a certificate while kubelet-client-current.pem is there.",
        )
        .basis(
            "Troubleshooting kubeadm: kubelet client certificate rotation fails",
            "https://kubernetes.io/docs/setup/production-environment/tools/kubeadm/troubleshooting-kubeadm/",
        )
        .remedy(Remedy::new("Let kubelet.conf name the file for client-certificate and client-key.").command(
            "kubectl config set-credentials default-auth --client-certificate \
             /var/lib/kubelet/pki/kubelet-client-current.pem --client-key \
             /var/lib/kubelet/pki/kubelet-client-current.pem --kubeconfig /etc/kubernetes/kubelet.conf",
        )),
        each(
            "pki.kubeconfig.credential",
            "every kubeconfig's user has a way to say who it is",
            Of::Kubeconfigs,
            |client, view, tally| {
                let Some(user) = &client.user else {
                    let config = view.facts.store.get(&client.of.file).and_then(|file| file.kubeconfig.as_ref());
                    if let Some(context) = config.and_then(Kubeconfig::context).filter(|_| client.cluster.is_some()) {
                        let message = format!(
                            "its current context has the user {:?}, and there is no such user: the API server takes it \
                             for system:anonymous",
                            context.user
                        );
                        tally.breach(on(client, message).found(&context.user).wanted("a user of the file"));
                    }
                    return;
                };
                let certificate = user.certificate.is_some() || user.certificate_file.is_some();
                let key = user.key.is_some() || user.key_file.is_some();
                // A certificate without a key is refused as a whole.
                if key && !certificate {
                    tally.breach(on(client, "its user has no certificate".to_owned()).wanted("certificate"));
                } else if !certificate && !user.has_token && !user.has_login && !user.elsewhere {
                    tally.breach(on(
                        client,
                        "its user has no credentials: the API server takes it for system:anonymous".to_owned(),
                    ));
                }
            },
        )
        .alias("PKI-K02")
        .alias("system:anonymous")
        .page(
            "Whoever uses it may do what anybody may.",
            "Looks for a client certificate with its key, a token, a password, or a program that gets one.",
        )
        .basis(ACCOUNTS, CERTIFICATES)
        .remedy(again()),
    ]
}

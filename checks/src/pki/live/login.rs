//! Whether the node's own client certificates are let in by the servers that they are for, where the user asks to have
//! them shown.
//!
//! Files can only say that a certificate should be taken; what etcd's users and the cluster's RBAC make of its names
//! only the server says.

use super::{Endpoint, Facts, Origin, Server, checks_of, said};
use crate::check::{Remedy, Severity};
use crate::conclusion::Breach;
use crate::fact::Fact;
use crate::host::{Host, Question, Reception, TlsCall};
use crate::pki::Check;
use crate::pki::discover::Role;
use crate::pki::facts::Credential;
use crate::pki::tally::Tally;

/// A certificate that was shown to a server.
#[derive(Debug, Clone)]
pub struct LogIn {
    /// What the server is.
    pub server: Server,
    /// Server and address.
    pub title: String,
    /// What the certificate is for.
    pub role: Role,
    /// The file that it is in, and the line.
    pub place: (String, Option<u32>),
    /// How it was received.
    pub reception: Fact<Reception>,
}

/// Who shows what to this server, and what it is asked for then.
fn purpose(server: Server) -> Option<(&'static [Role], Question)> {
    const API_CLIENTS: &[Role] = &[
        Role::AdminClient,
        Role::SuperAdminClient,
        Role::ControllerManagerClient,
        Role::SchedulerClient,
        Role::ProxyClient,
        Role::KubeletClient,
    ];
    let get = |path: &str| Question::Get { path: path.to_owned() };
    Some(match server {
        Server::Etcd => (&[Role::ApiserverEtcdClient, Role::EtcdClient], Question::EtcdKeys),
        // Discovery, which whoever is known may read.
        Server::Apiserver => (API_CLIENTS, get("/api")),
        Server::Kubelet => (&[Role::ApiserverKubeletClient], get("/pods")),
        _ => return None,
    })
}

/// Shows each certificate to the servers of this node, and to those that the user named, that it is for. `None` where
/// nobody asked for it.
pub(in crate::pki) fn log_ins(host: &dyn Host, credentials: &[Credential], facts: &Facts) -> Option<Vec<LogIn>> {
    if !host.layout().log_in {
        return None;
    }
    let answers = |endpoint: &&Endpoint| endpoint.origin != Origin::Api && endpoint.presented.known().is_some();
    let mut all = Vec::new();
    for endpoint in facts.endpoints.iter().filter(answers) {
        let Some((roles, question)) = purpose(endpoint.server) else { continue };
        for one in credentials.iter().filter(|one| roles.contains(&one.role)) {
            let certificate = one.file.clone();
            let key = one.key_file.clone().unwrap_or_else(|| certificate.clone());
            let call = TlsCall::LogIn { certificate, key, question: question.clone() };
            all.push(LogIn {
                server: endpoint.server,
                title: endpoint.title(),
                role: one.role,
                place: (one.file.clone(), one.line()),
                reception: said(host, endpoint.address, call),
            });
        }
    }
    Some(all)
}

fn let_in(facts: &Facts, tally: &mut Tally) {
    for LogIn { server, title, role, place, reception } in facts.log_ins.iter().flatten() {
        let (file, line) = place;
        let why = match reception {
            Fact::Known(Reception::In) => None,
            // Who may not read the API's discovery is known all the same.
            Fact::Known(Reception::Forbidden(_)) if *server == Server::Apiserver => None,
            Fact::Known(Reception::Forbidden(why)) => Some((why, "takes it and lets its holder do nothing")),
            Fact::Known(Reception::Refused(why)) => Some((why, "does not take it")),
            Fact::Absent(why) | Fact::Unreadable(why) | Fact::Malformed(why) | Fact::NotGathered(why) => {
                tally.unknown(why);
                continue;
            }
        };
        tally.look();
        if let Some((why, what)) = why {
            let message = format!("{file}, {role}, was shown to {title}, which {what}: {why}");
            tally.breach(Breach::new(file, message).found(why).at(file, *line));
        }
    }
}

/// The claim.
pub(super) fn checks() -> Vec<Check> {
    vec![
        checks_of(
            "pki.live.log-in",
            "the node's client certificates are let in by the servers that they are for",
            |facts, _, tally| let_in(facts, tally),
        )
        .severity(Severity::Critical)
        .alias("PKI-R12")
        .alias("PKI-R04")
        .alias("PKI-K02")
        .alias("--log-in")
        .page(
            "That a certificate is by the right CA is not enough: etcd, where its authorization is on, must have a \
             user of that common name, and RBAC must let the API server ask kubelets. Then the API server cannot read \
             a key, or `kubectl logs` and `exec` fail.",
            "Only with --log-in: shows etcd the API server's client certificate and asks for one key by name, kubelets \
             the API server's and asks for their pods, the API server those of the node's kubeconfigs and asks for its \
             discovery. No answer's content is kept. Servers of this node and those of --endpoint are asked.",
        )
        .basis(
            "PKI certificates and requirements: how certificates are used by your cluster",
            "https://kubernetes.io/docs/setup/best-practices/certificates/",
        )
        .remedy(
            Remedy::new(
                "Where the alert says bad or unknown certificate, have the CA sign it that the server takes; where it \
                 is known and forbidden, give that user or group its rights.",
            )
            .command("etcdctl user list")
            .command("kubectl get clusterrolebindings -o wide"),
        ),
    ]
}

//! The rotation plan: what to renew, in which order, and whether bundles already hold both the old CA and the new one.

mod authority;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::discover::{Component, Role};
use super::expiry::CERTIFICATES;
use super::facts::{Credential, Facts};
use super::x509::Fingerprint;

const DAY: i64 = 86_400;

/// One step, and whether it is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What to do, in a sentence.
    pub what: String,
    /// Commands that do it, on kubeadm's clusters.
    pub commands: Vec<String>,
    /// Is it done, as far as this node shows?
    pub done: bool,
}

/// Steps that belong together, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotation {
    /// What is rotated, and until when there is time.
    pub title: String,
    /// The last moment.
    pub until: Timestamp,
    /// The steps.
    pub steps: Vec<Step>,
}

fn todo(what: impl Into<String>, commands: Vec<String>) -> Step {
    Step { what: what.into(), commands, done: false }
}

/// The name by which `kubeadm certs renew` knows a certificate or kubeconfig, if it is where kubeadm has it.
fn kubeadm_name(one: &Credential) -> Option<&'static str> {
    let file = one.kubeconfig.as_ref().unwrap_or(&one.file);
    let (name, ..) = CERTIFICATES.iter().find(|(_, role, _)| *role == one.role)?;
    let path = match name.strip_prefix("etcd-") {
        Some(rest) => format!("/etcd/{rest}.crt"),
        None if name.ends_with(".conf") => format!("/{name}"),
        None => format!("/{name}.crt"),
    };
    (file.contains("/etc/kubernetes/") && file.ends_with(&path)).then_some(*name)
}

/// The step that has a certificate issued anew.
fn issue(one: &Credential, what: String) -> Step {
    let of_kubeadm = one.kubeconfig.as_ref().is_some_and(|file| file.ends_with("/etc/kubernetes/kubelet.conf"));
    if one.role == Role::KubeletClient && of_kubeadm {
        // kubeadm renews no kubelet.conf: the kubelet does. What is printed is to be pasted: a name that is none is not
        // said.
        let name = one.leaf().subject.common_name().and_then(|name| name.strip_prefix("system:node:"));
        let plain = |name: &&str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'));
        let name = name.filter(plain).unwrap_or("NAME");
        let what = format!(
            "{what} Make a kubelet.conf where the CA's key is, give it the server of the old one, put it in its place, \
             and remove /var/lib/kubelet/pki/kubelet-client*: the kubelet then has a certificate signed for itself."
        );
        let command =
            format!("kubeadm kubeconfig user --org system:nodes --client-name system:node:{name} > kubelet.conf");
        return todo(what, vec![command]);
    }
    if one.role == Role::KubeletServing && one.file.starts_with("/var/lib/kubelet/pki/") {
        let (what, remove) = match one.file.strip_suffix(".crt") {
            Some(stem) => {
                (format!("{what} The kubelet makes another when it starts."), format!("rm {stem}.crt {stem}.key"))
            }
            None => (
                format!("{what} The kubelet asks for another when it starts: approve its request."),
                "rm /var/lib/kubelet/pki/kubelet-server-*".to_owned(),
            ),
        };
        return todo(what, vec![remove]);
    }
    let command = match one.role {
        Role::TalosClient => Some("talosctl config new talosconfig".to_owned()),
        _ => kubeadm_name(one).map(|name| format!("kubeadm certs renew {name}")),
    };
    todo(what, command.into_iter().collect())
}

/// The steps that start components again, each once.
fn restarts(holders: impl Iterator<Item = Component>) -> impl Iterator<Item = Step> {
    holders.collect::<BTreeSet<_>>().into_iter().filter_map(restart)
}

fn restart(holder: Component) -> Option<Step> {
    let (what, command) = match holder {
        Component::People | Component::Kubeadm => return None,
        Component::Kubelet => ("Start the kubelet again.".to_owned(), "systemctl restart kubelet".to_owned()),
        other => (
            format!("Start {other} again; on several nodes one after the other, each until it is ready."),
            format!("crictl pods --name {other} -q | xargs crictl stopp"),
        ),
    };
    Some(todo(what, vec![command]))
}

impl Facts {
    /// What expires within so many days, and what to do about it: CAs first, since what they sign ends with them.
    #[must_use]
    pub fn rotation_plan(&self, now: Timestamp, days: u16) -> Vec<Rotation> {
        let limit = now.as_second().saturating_add(i64::from(days) * DAY);
        let mut plan = Vec::new();
        let mut rotated: Vec<Fingerprint> = Vec::new();
        for bundle in &self.bundles {
            for held in bundle.certificates.iter().filter(|held| held.certificate.is_ca()) {
                let authority = &held.certificate;
                if authority.not_after.as_second() <= limit && !rotated.contains(&authority.public_key.sha256) {
                    rotated.push(authority.public_key.sha256);
                    plan.push(authority::rotate(self, authority));
                }
            }
        }
        // Leaves that end by themselves, those of one holder together, the first that ends first.
        let mut by_holder: BTreeMap<Component, Vec<&Credential>> = BTreeMap::new();
        for one in &self.credentials {
            let own = one.leaf().not_after.as_second() <= limit;
            let with_ca = self.verifier_of(one).is_some_and(|bundle| {
                bundle.certificates.iter().any(|held| rotated.contains(&held.certificate.public_key.sha256))
            });
            if own && !with_ca {
                by_holder.entry(one.holder).or_default().push(one);
            }
        }
        let mut leaves: Vec<_> = by_holder.into_iter().map(|(holder, all)| renew(holder, &all)).collect();
        leaves.sort_by_key(|rotation| rotation.until);
        plan.extend(leaves);
        plan
    }
}

fn renew(holder: Component, all: &[&Credential]) -> Rotation {
    let until = all.iter().map(|one| one.leaf().not_after).min().unwrap_or(Timestamp::MAX);
    let step = |one: &&Credential| {
        let ends = one.leaf().not_after.strftime("%Y-%m-%d");
        issue(one, format!("Renew {}: {}, which ends {ends}.", one.role, one.file))
    };
    let mut steps: Vec<_> = all.iter().map(step).collect();
    steps.extend(restart(holder));
    // Who shows what was given alone is not known.
    let given = all.iter().all(|one| one.role == Role::Given);
    let what = if given { "what was given".to_owned() } else { format!("what {holder} shows") };
    Rotation { title: format!("Renew {what} before {}", until.strftime("%Y-%m-%d")), until, steps }
}

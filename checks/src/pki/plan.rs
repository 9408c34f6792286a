//! The rotation plan: what to renew, in which order, and whether bundles already hold both the old CA and the new one.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::discover::{Component, Role, member};
use super::facts::{Bundle, Credential, Facts};
use super::x509::path::Signature;
use super::x509::{Certificate, Fingerprint};

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

/// The names that kubeadm has for its certificates and kubeconfigs, by file.
fn kubeadm_name(one: &Credential) -> Option<String> {
    let file = one.kubeconfig.as_ref().unwrap_or(&one.file);
    let (_, name) = file.split_once("/etc/kubernetes/")?;
    let name = name.strip_prefix("pki/").unwrap_or(name);
    Some(name.trim_end_matches(".crt").replace('/', "-"))
}

fn restart(holder: Component) -> Option<Step> {
    let (what, command) = match holder {
        Component::People => return None,
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
                    plan.push(self.rotate_ca(authority));
                }
            }
        }
        // Leaves that end by themselves, those of one holder together, the first that ends first.
        let mut by_holder: BTreeMap<Component, Vec<&Credential>> = BTreeMap::new();
        for one in &self.credentials {
            let own = one.leaf().not_after.as_second() <= limit;
            let with_ca = self.verifier(one.role).is_some_and(|bundle| {
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

    /// The rotation of a CA: the new one is trusted everywhere before anything is signed by it.
    fn rotate_ca(&self, authority: &Certificate) -> Rotation {
        let trusts = |bundle: &&Bundle| {
            bundle.certificates.iter().any(|held| held.certificate.public_key.sha256 == authority.public_key.sha256)
        };
        let bundles: Vec<_> = self.bundles.iter().filter(trusts).collect();
        let title =
            format!("Rotate the CA {} before {}", authority.subject.called(), authority.not_after.strftime("%Y-%m-%d"));
        let of_talos =
            |bundle: &&Bundle| self.discovery.talos.iter().any(|(file, _)| bundle.file.starts_with(&member(file, "")));
        if bundles.iter().any(of_talos) {
            return Rotation { title, until: authority.not_after, steps: rotate_by_talosctl(&bundles) };
        }
        // A second CA beside it that lasts longer is the new one.
        let next = bundles.iter().flat_map(|bundle| &bundle.certificates).find(|held| {
            held.certificate.is_ca()
                && held.certificate.public_key.sha256 != authority.public_key.sha256
                && held.certificate.not_after > authority.not_after
        });
        let next = next.map(|held| &held.certificate);
        let mut steps = vec![Step {
            what: match next {
                Some(next) => format!("Make a new CA: {} is there, sha256:{}.", next.subject, next.public_key.sha256),
                None => "Make a new CA, with a key of its own, on one node; keep the old one.".to_owned(),
            },
            commands: Vec::new(),
            done: next.is_some(),
        }];
        let mut files: Vec<&str> = bundles.iter().map(|bundle| bundle.file.as_str()).collect();
        let trusting = self.clients.iter().filter_map(|client| client.ca.as_ref());
        let trusting = trusting.filter(|(_, held)| {
            held.iter().any(|held| held.certificate.public_key.sha256 == authority.public_key.sha256)
        });
        files.extend(trusting.map(|(file, _)| file.as_str()));
        files.sort_unstable();
        files.dedup();
        for file in files {
            let holds = |held: &[super::store::Held]| {
                next.is_some_and(|next| {
                    held.iter().any(|held| held.certificate.public_key.sha256 == next.public_key.sha256)
                })
            };
            let done = self.bundles.iter().any(|bundle| bundle.file == file && holds(&bundle.certificates))
                || self
                    .clients
                    .iter()
                    .any(|client| client.ca.as_ref().is_some_and(|(ca, held)| ca == file && holds(held)));
            let what = format!("Add the new CA behind the old one in {file}, on every node.");
            let commands = if file.ends_with(".conf") { Vec::new() } else { vec![format!("cat new-ca.crt >> {file}")] };
            steps.push(Step { what, commands, done });
        }
        steps.push(todo(
            "Do the same in the cluster: cluster-info, kube-root-ca.crt, extension-apiserver-authentication, and every caBundle.",
            vec!["kubectl get configmap -A -o name | grep -E 'kube-root-ca.crt|cluster-info|extension-apiserver-authentication'".to_owned()],
        ));
        let mut holders: Vec<_> = bundles.iter().map(|bundle| bundle.holder).collect();
        holders.sort_unstable();
        holders.dedup();
        steps.extend(holders.iter().filter_map(|&holder| restart(holder)));
        let signed = |one: &&Credential| {
            let leaf = one.leaf();
            leaf.issuer.der == authority.subject.der
                && matches!(self.signatures.check(leaf, &authority.public_key), Signature::Good)
        };
        let leaves: Vec<_> = self.credentials.iter().filter(signed).collect();
        for one in &leaves {
            let what = format!("Issue {} by the new CA: {}.", one.role, one.file);
            let commands = kubeadm_name(one).map(|name| format!("kubeadm certs renew {name}"));
            steps.push(todo(what, commands.into_iter().collect()));
        }
        let mut holders: Vec<_> = leaves.iter().map(|one| one.holder).collect();
        holders.sort_unstable();
        holders.dedup();
        steps.extend(holders.iter().filter_map(|&holder| restart(holder)));
        steps.push(todo(
            "Only when nothing of the old CA is left in use: take it out of every bundle, and start everything again.",
            Vec::new(),
        ));
        Rotation { title, until: authority.not_after, steps }
    }
}

/// The rotation of a CA that is in machine configurations: Talos does by itself what it knows how to, certificates included.
fn rotate_by_talosctl(bundles: &[&Bundle]) -> Vec<Step> {
    let has = |role: Role| bundles.iter().any(|bundle| bundle.role == role);
    let command = |which: &str| vec![format!("talosctl rotate-ca --dry-run=false {which}")];
    let rotate = match () {
        () if has(Role::TalosCa) => Some(command("--talos=true --kubernetes=false")),
        () if has(Role::ClientCa) || has(Role::KubeletClientCa) => Some(command("--talos=false --kubernetes=true")),
        () => None,
    };
    let mut files: Vec<_> = bundles.iter().map(|bundle| bundle.file.as_str()).collect();
    files.sort_unstable();
    files.dedup();
    let files = files.join(", ");
    match rotate {
        Some(commands) => vec![
            todo(
                "Have every node accept a new CA, sign by it, and forget the old one: talosctl does all three.",
                commands,
            ),
            todo(format!("Put the new CA and its key into what is kept of the configuration: {files}."), Vec::new()),
        ],
        None => vec![
            todo(format!("Put a new CA and its key into {files}: talosctl does not rotate this one."), Vec::new()),
            todo(
                "Apply the configuration to all nodes of the control plane.",
                vec!["talosctl apply-config --nodes NODE --file controlplane.yaml".to_owned()],
            ),
        ],
    }
}

fn renew(holder: Component, all: &[&Credential]) -> Rotation {
    let until = all.iter().map(|one| one.leaf().not_after).min().unwrap_or(Timestamp::MAX);
    let mut steps: Vec<_> = all
        .iter()
        .map(|one| {
            let what =
                format!("Renew {}: {}, which ends {}.", one.role, one.file, one.leaf().not_after.strftime("%Y-%m-%d"));
            let command = match one.role {
                Role::TalosClient => Some("talosctl config new talosconfig".to_owned()),
                _ => kubeadm_name(one).map(|name| format!("kubeadm certs renew {name}")),
            };
            todo(what, command.into_iter().collect())
        })
        .collect();
    steps.extend(restart(holder));
    Rotation { title: format!("Renew what {holder} shows before {}", until.strftime("%Y-%m-%d")), until, steps }
}

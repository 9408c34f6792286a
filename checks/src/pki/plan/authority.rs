//! The rotation of a CA: everyone trusts the new one before it signs, and it has signed everything before the old one
//! is forgotten. The steps are those of "Manual Rotation of CA Certificates", for the files that this node has.
//!
//! <https://kubernetes.io/docs/tasks/tls/manual-rotation-of-ca-certificates/>

use super::{Rotation, Step, issue, restarts, todo};
use crate::pki::discover::{Component, Role, member};
use crate::pki::facts::{Bundle, Client, Facts};
use crate::pki::store::Held;
use crate::pki::x509::Certificate;
use crate::pki::x509::path::Signature;

/// A CA that is to be replaced, and what of the node has to do with it.
struct Turn<'f> {
    facts: &'f Facts,
    old: &'f Certificate,
    /// A second CA beside it that lasts longer: the new one.
    next: Option<&'f Certificate>,
    /// The bundles that hold it.
    bundles: Vec<&'f Bundle>,
    /// The kubeconfigs that trust it.
    clients: Vec<&'f Client>,
}

fn holds(held: &[Held], one: &Certificate) -> bool {
    held.iter().any(|held| held.certificate.public_key.sha256 == one.public_key.sha256)
}

fn sorted<'s>(all: impl Iterator<Item = &'s str>) -> Vec<&'s str> {
    let mut all: Vec<_> = all.collect();
    all.sort_unstable();
    all.dedup();
    all
}

pub(super) fn rotate(facts: &Facts, old: &Certificate) -> Rotation {
    let title = format!("Rotate the CA {} before {}", old.subject.called(), old.not_after.strftime("%Y-%m-%d"));
    let bundles: Vec<_> = facts.bundles.iter().filter(|bundle| holds(&bundle.certificates, old)).collect();
    let of_talos =
        |bundle: &&Bundle| facts.discovery.talos.iter().any(|(file, _)| bundle.file.starts_with(&member(file, "")));
    if bundles.iter().any(of_talos) {
        return Rotation { title, until: old.not_after, steps: by_talosctl(&bundles) };
    }
    let trusts = |client: &&Client| client.ca.as_ref().is_some_and(|(_, held)| holds(held, old));
    let clients = facts.clients.iter().filter(trusts).collect();
    let next = bundles.iter().flat_map(|bundle| &bundle.certificates).map(|held| &*held.certificate).find(|other| {
        other.is_ca() && other.public_key.sha256 != old.public_key.sha256 && other.not_after > old.not_after
    });
    Rotation { title, until: old.not_after, steps: Turn { facts, old, next, bundles, clients }.steps() }
}

impl Turn<'_> {
    fn steps(&self) -> Vec<Step> {
        let mut steps = vec![Step {
            what: match self.next {
                Some(next) => format!("Make a new CA: {} is there, sha256:{}.", next.subject, next.public_key.sha256),
                None => "Make a new CA, with a key of its own, on one node; keep the old one.".to_owned(),
            },
            commands: Vec::new(),
            done: self.next.is_some(),
        }];
        steps.extend(self.signing_alone());
        steps.extend(self.trusting().into_iter().map(|file| self.trust(file)));
        let holders = self.bundles.iter().map(|bundle| bundle.holder);
        steps.extend(restarts(holders.chain(self.clients.iter().map(|client| client.of.holder))));
        steps.extend(self.in_the_api());
        steps.push(self.sign());
        let signed = self.facts.credentials.iter().filter(|one| {
            let leaf = one.leaf();
            leaf.issuer.der == self.old.subject.der
                && matches!(self.facts.signatures.check(leaf, &self.old.public_key), Signature::Good)
        });
        let signed: Vec<_> = signed.collect();
        steps.extend(signed.iter().map(|one| issue(one, format!("Issue {} by the new CA: {}.", one.role, one.file))));
        steps.extend(restarts(signed.iter().map(|one| one.holder)));
        steps.push(todo(
            format!(
                "Only when nothing of the old CA is left in use: take it out of {}{}, and start everything again.",
                self.trusting().join(", "),
                if self.is_of_the_api() { " and of cluster-info" } else { "" }
            ),
            Vec::new(),
        ));
        steps
    }

    /// The files by which somebody trusts it, rather than signs by it.
    fn trusting(&self) -> Vec<&str> {
        let bundles = self.bundles.iter().filter(|bundle| bundle.role != Role::SigningCa);
        let clients = self.clients.iter().filter_map(|client| client.ca.as_ref());
        sorted(bundles.map(|bundle| bundle.file.as_str()).chain(clients.map(|(file, _)| file.as_str())))
    }

    /// What the controller manager signs by, if it is by this CA: the file; and, where that file will hold two, the one
    /// to be made in its place.
    fn signing(&self) -> Option<(&Bundle, Option<String>)> {
        let signing = self.bundles.iter().find(|bundle| bundle.role == Role::SigningCa)?;
        let shared = self.trusting().contains(&signing.file.as_str());
        let folder = signing.file.rsplit_once('/').map_or("", |(folder, _)| folder);
        Some((signing, shared.then(|| format!("{folder}/signing-ca.crt"))))
    }

    /// The controller manager's signer refuses a file of two certificates ("expected 1 certificate",
    /// `signer/ca_provider.go`).
    fn signing_alone(&self) -> Option<Step> {
        let (signing, alone) = self.signing()?;
        let (file, alone) = (&signing.file, alone?);
        let command = self.facts.discovery.command(Component::ControllerManager);
        let place = command.map_or("its flags", |line| line.place.as_str());
        let what = format!(
            "Have the controller manager sign by a file of its own, since it takes no file of two certificates: \
             --cluster-signing-cert-file={alone} in {place}, on every node of the control plane."
        );
        Some(todo(what, vec![format!("openssl x509 -in {file} -out {alone}")]))
    }

    fn trust(&self, file: &str) -> Step {
        let there = |held: &[Held]| self.next.is_some_and(|next| holds(held, next));
        let bundles = self.bundles.iter().map(|bundle| (bundle.file.as_str(), &bundle.certificates));
        let clients = self.clients.iter().filter_map(|client| client.ca.as_ref());
        let mut all = bundles.chain(clients.map(|(file, held)| (file.as_str(), held)));
        Step {
            what: format!("Add the new CA behind the old one in {file}, on every node."),
            commands: if file.ends_with(".conf") { Vec::new() } else { vec![format!("cat new-ca.crt >> {file}")] },
            done: all.any(|(other, held)| other == file && there(held)),
        }
    }

    /// Is it the CA that the API server is verified by, so that the API itself hands it out?
    fn is_of_the_api(&self) -> bool {
        !self.clients.is_empty() || self.has(&[Role::RootCa])
    }

    fn has(&self, roles: &[Role]) -> bool {
        self.bundles.iter().any(|bundle| roles.contains(&bundle.role))
    }

    fn in_the_api(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        if self.is_of_the_api() {
            steps.push(todo(
                "Do the same in cluster-info, by which nodes join, and in every caBundle that holds the old CA.",
                vec!["kubectl -n kube-public edit configmap cluster-info".to_owned()],
            ));
            steps.push(todo(
                "Wait until kube-root-ca.crt holds both in every namespace: the controller manager copies its \
                 --root-ca-file there. Then start the pods again that ask the API server.",
                vec!["kubectl get configmap -A --field-selector metadata.name=kube-root-ca.crt -o yaml".to_owned()],
            ));
        }
        if self.has(&[Role::ClientCa, Role::FrontProxyCa]) {
            steps.push(todo(
                "See that extension-apiserver-authentication holds both: the API server writes it when it starts.",
                vec!["kubectl -n kube-system get configmap extension-apiserver-authentication -o yaml".to_owned()],
            ));
        }
        steps
    }

    /// The step that makes the new CA the one that signs. kubeadm signs by the first certificate of the file.
    fn sign(&self) -> Step {
        let mut files: Vec<(&str, &str)> = self.bundles.iter().filter_map(|bundle| self.key_of(bundle)).collect();
        files.sort_unstable();
        files.dedup();
        let alone = self.signing().map(|(bundle, alone)| alone.unwrap_or_else(|| bundle.file.clone()));
        let leading: Vec<_> = sorted(files.iter().map(|(file, _)| *file))
            .into_iter()
            .filter(|file| alone.as_deref() != Some(*file))
            .collect();
        let keys = sorted(files.iter().map(|(_, key)| *key));
        if keys.is_empty() {
            let what =
                "Sign by the new CA from here on, where its key is: nothing may be signed by it before all trust it.";
            return todo(what, Vec::new());
        }
        let mut commands: Vec<_> = leading.iter().map(|file| format!("cat new-ca.crt old-ca.crt > {file}")).collect();
        commands.extend(alone.iter().map(|file| format!("cp new-ca.crt {file}")));
        commands.extend(keys.iter().map(|key| format!("cp new-ca.key {key}")));
        let first = |file: &str| self.facts.store.contents(file).and_then(|contents| contents.certificates.first());
        let key = |file: &str| self.facts.store.contents(file).and_then(|contents| contents.key());
        let done = self.next.is_some_and(|next| {
            let new = next.public_key.sha256;
            // A file of its own that is yet to be made holds nothing.
            let files = leading.iter().copied().chain(alone.as_deref());
            files.into_iter().all(|file| first(file).is_some_and(|held| held.certificate.public_key.sha256 == new))
                && keys.iter().all(|file| key(file).is_some_and(|key| key.sha256 == new))
        });
        let mut places: Vec<_> = Vec::new();
        if !leading.is_empty() {
            places.push(format!("in front of the old one into {}", leading.join(", ")));
        }
        places.extend(alone.iter().map(|file| format!("alone into {file}")));
        let what = format!(
            "Sign by the new CA from here on: put it {}, and its key into {}, on every node of the control plane.",
            places.join(", "),
            keys.join(", ")
        );
        Step { what, commands, done }
    }

    /// A bundle's file and the file of the key that signs by it: the one that a flag or the layout names, else the one
    /// beside it.
    fn key_of<'s>(&'s self, bundle: &'s Bundle) -> Option<(&'s str, &'s str)> {
        let beside = || self.facts.store.get(&format!("{}.key", bundle.file.strip_suffix(".crt")?));
        let named = bundle.key_file.as_ref().and_then(|file| self.facts.store.get(file));
        let key = named.or_else(beside)?;
        key.contents.known()?.key()?;
        Some((&bundle.file, &key.path))
    }
}

/// The rotation of a CA that is in machine configurations: Talos does by itself what it knows how to, certificates
/// included.
fn by_talosctl(bundles: &[&Bundle]) -> Vec<Step> {
    let has = |role: Role| bundles.iter().any(|bundle| bundle.role == role);
    let command = |which: &str| vec![format!("talosctl rotate-ca --dry-run=false {which}")];
    let rotate = match () {
        () if has(Role::TalosCa) => Some(command("--talos=true --kubernetes=false")),
        () if has(Role::ClientCa) || has(Role::KubeletClientCa) => Some(command("--talos=false --kubernetes=true")),
        () => None,
    };
    let files = sorted(bundles.iter().map(|bundle| bundle.file.as_str())).join(", ");
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

//! Remedies that name the files of their own finding, by the tool that made the PKI.

use super::*;
use crate::pki::discover::Component;
use crate::pki::expiry::CERTIFICATES;
use crate::pki::facts::Credential;

/// The tool that made a PKI, and has commands to make a part of it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Maker {
    Kubeadm,
    /// k3s or RKE2: the program.
    Rancher(&'static str),
    MicroK8s,
    /// cfssl, openssl, an installer: known by no command.
    Other,
}

fn maker(facts: &Facts) -> Maker {
    let has = |name: &str| facts.discovery.layouts.iter().any(|layout| layout.name == name);
    for (layout, maker) in
        [("k3s", Maker::Rancher("k3s")), ("RKE2", Maker::Rancher("rke2")), ("MicroK8s", Maker::MicroK8s)]
    {
        if has(layout) {
            return maker;
        }
    }
    if facts.discovery.is_kubeadm() && has_names_of_kubeadm(facts) { Maker::Kubeadm } else { Maker::Other }
}

/// Is a certificate named as kubeadm names it? Files of others may lie where kubeadm's do.
fn has_names_of_kubeadm(facts: &Facts) -> bool {
    facts.credentials.iter().any(|one| {
        let (subject, name) = (&one.leaf().subject, one.leaf().subject.common_name().unwrap_or_default());
        match one.role {
            Role::ApiserverServing => name == "kube-apiserver",
            Role::ApiserverKubeletClient => name == "kube-apiserver-kubelet-client",
            Role::ApiserverEtcdClient => name == "kube-apiserver-etcd-client",
            Role::AdminClient => subject.organizations().any(|group| group == "kubeadm:cluster-admins"),
            _ => false,
        }
    })
}

/// A path as a shell takes it.
pub(super) fn quoted(path: &str) -> String {
    let plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'-' | b'_' | b'+' | b':' | b'@');
    if path.bytes().all(plain) { path.to_owned() } else { format!("'{}'", path.replace('\'', r"'\''")) }
}

/// kubeadm's name of what a credential is, where its file is the one that kubeadm writes.
fn kubeadm_name(one: &Credential) -> Option<&'static str> {
    let file = one.kubeconfig.as_ref().unwrap_or(&one.file);
    let (name, ..) = CERTIFICATES.iter().find(|(_, role, _)| *role == one.role)?;
    let path = match name.strip_prefix("etcd-") {
        Some(rest) => format!("/etcd/{rest}.crt"),
        None if name.ends_with(".conf") => format!("/{name}"),
        None => format!("/{name}.crt"),
    };
    file.ends_with(&path).then_some(*name)
}

/// The command that restarts who holds a certificate.
fn restart(holder: Component) -> Option<String> {
    match holder {
        Component::Kubelet => Some("systemctl restart kubelet".to_owned()),
        Component::Apiserver | Component::ControllerManager | Component::Scheduler | Component::Etcd => {
            Some(format!("crictl pods --name {holder} -q | xargs -r crictl stopp"))
        }
        Component::Proxy | Component::Apid | Component::Kubeadm | Component::People => None,
    }
}

/// The certificate of a credential is to be signed again, with the same names: it has ended, or another CA signed it.
pub(super) fn renew(one: &Credential, view: &View<'_>) -> Remedy {
    let holder = one.holder;
    if one.role == Role::KubeletServing || one.role == Role::KubeletClient {
        return of_kubelet(one, view);
    }
    match (maker(view.facts), kubeadm_name(one)) {
        (Maker::Kubeadm, Some(name)) => {
            let text = format!("Renew {}; {holder} uses it after a restart.", one.role);
            let remedy = Remedy::new(text).command(format!("kubeadm certs renew {name}"));
            restart(holder).into_iter().fold(remedy, Remedy::command)
        }
        (Maker::Rancher(program), _) => {
            let service = if program == "k3s" { "k3s" } else { "rke2-server" };
            Remedy::new(format!("Rotate the certificates; {service} restarts all components of the control plane."))
                .command(format!("systemctl stop {service}"))
                .command(format!("{program} certificate rotate"))
                .command(format!("systemctl start {service}"))
        }
        (Maker::MicroK8s, _) => Remedy::new("Refresh the certificates; MicroK8s restarts its services.")
            .command("microk8s refresh-certs --cert server.crt"),
        _ => by_hand(one, view, "with the names and usages of the old one"),
    }
}

/// The certificate of a credential is to be made again with other contents: renewing copies what is wrong.
pub(super) fn remake(one: &Credential, view: &View<'_>, how: &str) -> Remedy {
    if one.role == Role::KubeletServing || one.role == Role::KubeletClient {
        return of_kubelet(one, view);
    }
    let Some(name) = kubeadm_name(one).filter(|_| maker(view.facts) == Maker::Kubeadm) else {
        return by_hand(one, view, how);
    };
    let restarts = restart(one.holder);
    let (files, phase) = match name.strip_suffix(".conf") {
        Some(user) => (vec![one.kubeconfig.as_deref().unwrap_or(&one.file)], format!("kubeconfig {user}")),
        None => {
            let files = [Some(one.file.as_str()), one.key_file.as_deref()];
            (files.into_iter().flatten().collect(), format!("certs {name}"))
        }
    };
    let files: Vec<_> = files.into_iter().map(quoted).collect();
    let text = format!("Create {} again {how}; `kubeadm certs renew` would copy what is wrong.", one.role);
    let remedy = Remedy::new(text)
        .command(format!("rm {}", files.join(" ")))
        .command(format!("kubeadm init phase {phase} --config kubeadm.yaml"));
    restarts.into_iter().fold(remedy, Remedy::command)
}

/// What the kubelet holds it makes, or asks for, itself.
fn of_kubelet(one: &Credential, view: &View<'_>) -> Remedy {
    let file = quoted(&one.file);
    if one.role == Role::KubeletServing {
        let key = one.key_file.as_deref().filter(|key| *key != one.file).map(|key| format!(" {}", quoted(key)));
        return Remedy::new("Remove it: the kubelet creates or requests another one when it starts.")
            .command(format!("rm {file}{}", key.unwrap_or_default()))
            .command("systemctl restart kubelet");
    }
    let name = one.leaf().subject.common_name().filter(|name| name.starts_with("system:node:"));
    let name = name.unwrap_or("system:node:NODE");
    if maker(view.facts) != Maker::Kubeadm {
        return by_hand(one, view, &format!("for the user {name} in the group system:nodes"));
    }
    let config = one.kubeconfig.as_deref().unwrap_or("/etc/kubernetes/kubelet.conf");
    Remedy::new(
        "Create a kubelet.conf on a control plane node that has the CA's key, copy it here and restart the kubelet.",
    )
    .command(format!("kubeadm kubeconfig user --org system:nodes --client-name {} > kubelet.conf", quoted(name)))
    .command(format!("cp kubelet.conf {}", quoted(config)))
    .command("rm -f /var/lib/kubelet/pki/kubelet-client-*.pem")
    .command("systemctl restart kubelet")
}

/// No tool is known that makes it: the files, and how to see that it is right.
fn by_hand(one: &Credential, view: &View<'_>, how: &str) -> Remedy {
    let bundle = view.facts.verifier_of(one);
    let ca = bundle.map_or("its CA".to_owned(), |bundle| format!("the CA in {}", bundle.file));
    let key = one.key_file.as_deref().filter(|key| *key != one.file).map(|key| format!(" and {key}"));
    let text = format!(
        "Have {ca} sign a new certificate {how}, write it to {}{} and restart {}.",
        one.file,
        key.unwrap_or_default(),
        one.holder
    );
    let remedy = Remedy::new(text);
    match bundle {
        Some(bundle) if one.kubeconfig.is_none() => {
            let chain = if one.chain.len() > 1 { format!("-untrusted {} ", quoted(&one.file)) } else { String::new() };
            remedy.command(format!("openssl verify -CAfile {} {chain}{}", quoted(&bundle.file), quoted(&one.file)))
        }
        _ => remedy,
    }
}

//! The kubeconfigs of a control-plane node, with credentials of their own.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::issue::{client, cluster_ca, generate};
use super::{Certificate, Did, PkiError, Sans, Spec, Step, Usage, files};

/// A kubeconfig that a control-plane node has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kubeconfig {
    /// Its file's name.
    pub file: &'static str,
    /// The user; `{node}` stands for the node's name.
    user: &'static str,
    organization: Option<&'static str>,
    /// Does it lead to the endpoint of all API servers, rather than to the node's own?
    endpoint: bool,
}

/// All of them. kubeadm's `phases/kubeconfig`: those of people lead to the endpoint, those of the node's components to
/// its own API server, so that they do not outlive an upgrade of it.
pub const KUBECONFIGS: [Kubeconfig; 5] = [
    Kubeconfig {
        file: "admin.conf",
        user: "kubernetes-admin",
        organization: Some("kubeadm:cluster-admins"),
        endpoint: true,
    },
    Kubeconfig {
        file: "super-admin.conf",
        user: "kubernetes-super-admin",
        organization: Some("system:masters"),
        endpoint: true,
    },
    Kubeconfig {
        file: "kubelet.conf",
        user: "system:node:{node}",
        organization: Some("system:nodes"),
        endpoint: false,
    },
    Kubeconfig {
        file: "controller-manager.conf",
        user: "system:kube-controller-manager",
        organization: None,
        endpoint: false,
    },
    Kubeconfig { file: "scheduler.conf", user: "system:kube-scheduler", organization: None, endpoint: false },
];

/// Writes the kubeconfigs that `folder` (kubeadm's `/etc/kubernetes`) lacks, signed by the CA in `pki`.
///
/// # Errors
/// [`PkiError`] if one is missing and the CA or its key is not there, or a file cannot be written.
pub fn kubeconfigs(spec: &Spec, pki: &Path, folder: &Path) -> Result<Vec<Step>, PkiError> {
    let (host, port) = (spec.advertise.to_string(), spec.port);
    let endpoint = spec.endpoint()?.unwrap_or_else(|| (host.clone(), port));
    let mut missing = Vec::new();
    for one in &KUBECONFIGS {
        if files::read(&folder.join(one.file))?.is_none() {
            missing.push(one.file);
        }
    }
    if missing.is_empty() {
        return Ok(KUBECONFIGS.iter().map(|one| Step { name: one.file, did: Did::Kept }).collect());
    }
    let (ca, signer) = cluster_ca(spec, pki)?;
    let mut keys = generate(missing.len(), spec.algorithm)?;
    let mut steps = Vec::new();
    for one in &KUBECONFIGS {
        let Some(key) = missing.contains(&one.file).then(|| keys.pop()).flatten() else {
            steps.push(Step { name: one.file, did: Did::Kept });
            continue;
        };
        let path = folder.join(one.file);
        let user = one.user.replace("{node}", &spec.node);
        let certificate = Certificate {
            name: one.file,
            base: one.file,
            ca: Some("ca"),
            common_name: user.clone(),
            organization: one.organization,
            usage: Some(Usage::Client),
            sans: Sans::default(),
        };
        let (certificate, key) = client(&certificate, spec, &key, &signer)?;
        let (host, port) = if one.endpoint { (endpoint.0.as_str(), endpoint.1) } else { (host.as_str(), port) };
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let server = format!("https://{host}:{port}");
        let content = kubeconfig(&spec.cluster, &user, &server, &ca, &certificate, &key);
        let text = serde_saphyr::to_string(&content).map_err(|error| PkiError::Certificate {
            name: one.file.to_owned(),
            why: format!("it cannot be written as YAML: {error}"),
        })?;
        files::write(&path, &text, 0o600)?;
        steps.push(Step { name: one.file, did: Did::Made });
    }
    Ok(steps)
}

/// A kubeconfig of a user who is none of a control plane's own, with a client certificate of the CA in `pki`. It holds
/// the key: for its owner only.
///
/// # Errors
/// [`PkiError`] if the CA or its key is not there.
pub fn user_kubeconfig(spec: &Spec, pki: &Path, user: &str, server: &str) -> Result<String, PkiError> {
    let (ca, signer) = cluster_ca(spec, pki)?;
    let certificate = Certificate {
        name: "user",
        base: "user",
        ca: Some("ca"),
        common_name: user.to_owned(),
        organization: None,
        usage: Some(Usage::Client),
        sans: Sans::default(),
    };
    let key = generate(1, spec.algorithm)?.pop().ok_or_else(|| PkiError::Spec("no key was made".to_owned()))?;
    let (certificate, key) = client(&certificate, spec, &key, &signer)?;
    Ok(crate::node::yaml(&kubeconfig(&spec.cluster, user, server, &ca, &certificate, &key)))
}

fn kubeconfig(cluster: &str, user: &str, server: &str, ca: &str, certificate: &str, key: &str) -> serde_json::Value {
    let context = format!("{user}@{cluster}");
    json!({
        "apiVersion": "v1",
        "clusters": [{
            "cluster": { "certificate-authority-data": STANDARD.encode(ca), "server": server },
            "name": cluster,
        }],
        "contexts": [{ "context": { "cluster": cluster, "user": user }, "name": context }],
        "current-context": context,
        "kind": "Config",
        "users": [{
            "name": user,
            "user": {
                "client-certificate-data": STANDARD.encode(certificate), "client-key-data": STANDARD.encode(key),
            },
        }],
    })
}

//! A kubeadm configuration file, as far as judges read it. Tokens and keys are never kept.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::pki::talos::tree::{Node, Tree, documents};

/// Groups of documents that kubeadm reads, and their versions that it ever read.
const GROUPS: [&str; 3] = ["kubeadm.k8s.io/", "kubelet.config.k8s.io/", "kubeproxy.config.k8s.io/"];

/// What is kept of a document: paths, of which all below is kept, too. All else is left out, tokens and keys among it.
const KEPT: &[&str] = &[
    "apiServer.certSANs",
    "certificatesDir",
    "cgroupDriver",
    "clusterCIDR",
    "clusterDNS",
    "clusterDomain",
    "controlPlane.localAPIEndpoint",
    "controlPlaneEndpoint",
    "controllerManager.extraArgs.allocate-node-cidrs",
    "controllerManager.extraArgs.node-cidr-mask-size",
    "controllerManager.extraArgs.node-cidr-mask-size-ipv4",
    "controllerManager.extraArgs.node-cidr-mask-size-ipv6",
    "discovery.bootstrapToken.apiServerEndpoint",
    "dns.imageRepository",
    "dns.imageTag",
    "etcd.external.endpoints",
    "etcd.local.dataDir",
    "etcd.local.imageRepository",
    "etcd.local.imageTag",
    "imageRepository",
    "kubernetesVersion",
    "localAPIEndpoint",
    "mode",
    "networking",
    "nodeRegistration.criSocket",
    "nodeRegistration.kubeletExtraArgs.hostname-override",
    "nodeRegistration.kubeletExtraArgs.node-ip",
    "nodeRegistration.name",
    "nodeRegistration.taints",
    "resolvConf",
];

/// A value, and the line that it begins on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaf {
    /// The value, as text.
    pub value: String,
    /// The line in the file, from 1.
    pub line: u32,
}

/// A document of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// Its API version.
    pub version: String,
    /// Its kind.
    pub kind: String,
    /// Its first line.
    pub line: u32,
    /// Values by path, such as `networking.podSubnet` and `apiServer.certSANs.0`.
    pub leaves: BTreeMap<String, Leaf>,
}

/// A kubeadm configuration file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KubeadmConfig {
    /// Where it is, as the user names it.
    pub path: String,
    /// Its documents.
    pub documents: Vec<Document>,
}

impl KubeadmConfig {
    /// Reads a file's text.
    ///
    /// # Errors
    /// Why it is no kubeadm configuration; nothing of the text is quoted.
    pub fn read(path: &str, text: &str) -> Result<Self, String> {
        let trees = documents(text).map_err(|(line, why)| format!("{path} line {line}: {why}"))?;
        let documents: Vec<_> = trees.iter().filter_map(document).collect();
        if documents.is_empty() {
            return Err(format!("{path} holds no document of kubeadm.k8s.io: it is no kubeadm configuration"));
        }
        Ok(Self { path: path.to_owned(), documents })
    }

    /// The document of a kind.
    #[must_use]
    pub fn kind(&self, kind: &str) -> Option<&Document> {
        self.documents.iter().find(|document| document.kind == kind)
    }

    /// The value at a path of a kind of document.
    #[must_use]
    pub fn get(&self, kind: &str, path: &str) -> Option<&Leaf> {
        self.kind(kind)?.leaves.get(path)
    }

    /// The value at a path of the node's own document: InitConfiguration, or JoinConfiguration.
    #[must_use]
    pub fn node(&self, path: &str) -> Option<&Leaf> {
        self.get("InitConfiguration", path).or_else(|| self.get("JoinConfiguration", path))
    }

    /// The values below a path of a kind of document, in the order of their numbers.
    #[must_use]
    pub fn list(&self, kind: &str, path: &str) -> Vec<&Leaf> {
        let Some(document) = self.kind(kind) else { return Vec::new() };
        (0..).map_while(|number| document.leaves.get(&format!("{path}.{number}"))).collect()
    }
}

fn document(tree: &Tree) -> Option<Document> {
    let (version, kind) = (tree.text("apiVersion")?, tree.text("kind")?);
    if !GROUPS.iter().any(|group| version.starts_with(group)) {
        return None;
    }
    let mut leaves = BTreeMap::new();
    collect(tree, "", &mut leaves);
    let line = tree.at("kind").map_or(1, |node| node.line);
    Some(Document { version: version.to_owned(), kind: kind.to_owned(), line, leaves })
}

fn collect(tree: &Tree, path: &str, leaves: &mut BTreeMap<String, Leaf>) {
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    let mut add = |name: &str, node: &Node| {
        let path = below(name);
        match node.value.as_scalar() {
            Some(value) if kept(&path) => {
                leaves.insert(path, Leaf { value: value.to_owned(), line: node.line });
            }
            _ => collect(&node.value, &path, leaves),
        }
    };
    match tree {
        Tree::Map(members) => members.iter().for_each(|(name, node)| add(name, node)),
        Tree::List(items) => {
            for (number, node) in items.iter().enumerate() {
                // Flags are a map in v1beta3 and a list of name and value in v1beta4.
                match node.value.text("name").zip(node.value.at("value")).filter(|_| path.ends_with("xtraArgs")) {
                    Some((name, value)) => add(name, value),
                    None => add(&number.to_string(), node),
                }
            }
        }
        _ => {}
    }
}

fn kept(path: &str) -> bool {
    KEPT.iter().any(|kept| path.strip_prefix(kept).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
bootstrapTokens:
- token: abcdef.0123456789abcdef
certificateKey: 00112233
nodeRegistration:
  name: node-1
  kubeletExtraArgs:
  - name: node-ip
    value: 192.0.2.1
  taints: []
localAPIEndpoint: {advertiseAddress: 192.0.2.1, bindPort: 6443}
---
apiVersion: kubeadm.k8s.io/v1beta3
kind: ClusterConfiguration
networking:
  podSubnet: 10.244.0.0/16
controllerManager:
  extraArgs:
    node-cidr-mask-size: \"25\"
apiServer:
  certSANs: [a.example, 192.0.2.7]
";

    #[test]
    fn what_judges_read_is_kept_with_its_line_and_no_secret_is() {
        let config = KubeadmConfig::read("f", FILE).unwrap();
        let leaf = |value: &str, line| Some(Leaf { value: value.to_owned(), line });
        assert_eq!(config.node("nodeRegistration.name").cloned(), leaf("node-1", 7));
        assert_eq!(config.node("nodeRegistration.kubeletExtraArgs.node-ip").cloned(), leaf("192.0.2.1", 10));
        assert_eq!(config.node("localAPIEndpoint.bindPort").cloned(), leaf("6443", 12));
        let cluster = "ClusterConfiguration";
        assert_eq!(config.get(cluster, "networking.podSubnet").cloned(), leaf("10.244.0.0/16", 17));
        let mask = "controllerManager.extraArgs.node-cidr-mask-size";
        assert_eq!(config.get(cluster, mask).cloned(), leaf("25", 20));
        let sans: Vec<_> = config.list(cluster, "apiServer.certSANs").iter().map(|leaf| leaf.value.clone()).collect();
        assert_eq!(sans, ["a.example", "192.0.2.7"]);
        let kept = serde_json::to_string(&config).unwrap();
        assert!(!kept.contains("abcdef") && !kept.contains("00112233"), "{kept}");
    }

    #[test]
    fn what_is_no_kubeadm_configuration_is_refused() {
        for text in ["", "a: [", "kind: Pod\napiVersion: v1\n", "just text"] {
            let why = KubeadmConfig::read("f.yaml", text).unwrap_err();
            assert!(why.starts_with("f.yaml"), "{why}");
        }
    }
}

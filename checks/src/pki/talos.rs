//! The files in which Talos keeps a PKI: machine configurations, secrets bundles and talosconfigs.
//!
//! A node of Talos has no shell and no PKI that anybody writes: its CAs and their keys are members of its machine
//! configuration, and what they sign is made when it runs. Up to Talos 1.13 they are base64 of PEM in the document
//! `version: v1alpha1`; later those of Kubernetes are PEM in documents of their own (`kind: KubeAPIServerCAConfig`). Of
//! a node that runs, `talosctl get` prints it as the spec of a resource. Of what is no certificate and no key only what
//! certificates must agree with is taken, and of tokens that they are there.

mod resource;
pub(crate) mod tree;

use serde::{Deserialize, Serialize};

use tree::{Node, Tree};

/// What a file of Talos holds.
///
/// `Bytes` is what stands in the place of PEM: where and how it is written while the file is being read on its host,
/// and what it holds afterwards.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Talos<Bytes> {
    /// What kind of file it is.
    pub kind: Kind,
    /// CAs, certificates and bare keys.
    pub pairs: Vec<Pair<Bytes>>,
    /// Is there a token in it, or a key that data is encrypted with?
    pub has_secret: bool,
    /// Why it cannot be understood, and the line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken: Option<(u32, String)>,
    /// What it says of the cluster.
    #[serde(default)]
    pub cluster: Cluster,
}

/// The kinds of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The machine configuration of a control-plane node.
    ControlPlane,
    /// The machine configuration of a worker.
    Worker,
    /// A secrets bundle, from which configurations are made: `talosctl gen secrets`.
    Secrets,
    /// What talosctl is told of a cluster: talosconfig.
    Client,
}

/// What a pair is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// The CA of Talos's own API.
    Talos,
    /// The CA of the cluster.
    Cluster,
    /// The CA of the front proxy.
    FrontProxy,
    /// The CA of etcd.
    Etcd,
    /// The key of service accounts.
    ServiceAccounts,
    /// What talosctl shows to Talos's API.
    Client,
}

/// Certificates, or public keys, and the private key of the first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Pair<Bytes> {
    /// What it is for.
    pub part: Part,
    /// The member that holds them: `cluster.ca`.
    pub name: String,
    /// The certificates, the issuing one before others that are accepted; of service accounts the public keys.
    pub public: Vec<Bytes>,
    /// The member that holds the private key: `cluster.ca.key`.
    pub key_name: String,
    /// The private key, if it is there.
    pub key: Option<Bytes>,
}

/// What a machine configuration says of the cluster, as far as certificates must agree with it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Cluster {
    /// The URL of all API servers together.
    pub endpoint: Option<String>,
    /// The networks of Services.
    pub services: Vec<String>,
    /// The DNS domain.
    pub domain: Option<String>,
    /// Names and addresses that the API server's certificate is to have beside its own.
    pub names: Vec<String>,
}

impl<Bytes> Talos<Bytes> {
    /// The same, with other bytes.
    pub fn map<Other>(self, mut f: impl FnMut(Bytes) -> Other) -> Talos<Other> {
        let pairs = self.pairs.into_iter().map(|pair| Pair {
            part: pair.part,
            name: pair.name,
            public: pair.public.into_iter().map(&mut f).collect(),
            key_name: pair.key_name,
            key: pair.key.map(&mut f),
        });
        let pairs = pairs.collect();
        let Self { kind, has_secret, broken, cluster, .. } = self;
        Talos { kind, pairs, has_secret, broken, cluster }
    }

    /// One that cannot be understood: whatever it may hold must be taken for there.
    fn broken(kind: Kind, broken: (u32, String)) -> Self {
        Self { kind, pairs: Vec::new(), has_secret: true, broken: Some(broken), cluster: Cluster::default() }
    }

    /// Has it a private key in it?
    pub fn has_key(&self) -> bool {
        self.pairs.iter().any(|pair| pair.key.is_some())
    }

    /// The members that must be there and are not: what for, and how each and its key are called.
    ///
    /// What signs for Kubernetes is needed together: a machine may do without Kubernetes at all.
    pub fn missing(&self) -> Vec<(Part, String, String)> {
        let has = |part: Part| self.pairs.iter().any(|pair| pair.part == part);
        let signs = matches!(self.kind, Kind::ControlPlane | Kind::Secrets);
        let kubernetes = signs && [Part::Cluster, Part::FrontProxy, Part::ServiceAccounts].into_iter().any(has);
        let needed = |part: Part| match part {
            _ if self.broken.is_some() || self.kind == Kind::Client => false,
            Part::Talos => true,
            _ => kubernetes,
        };
        let slots = SLOTS.iter().filter(|slot| needed(slot.part) && !has(slot.part));
        slots.map(|slot| (slot.part, slot.names(self.kind))).map(|(part, (name, key))| (part, name, key)).collect()
    }

    /// Does whoever has the file sign, or show what is in it, so that keys belong there?
    pub fn needs_key(&self, part: Part) -> bool {
        part == Part::Client || matches!(self.kind, Kind::ControlPlane | Kind::Secrets)
    }
}

/// Where the members of a part are.
struct Slot {
    part: Part,
    /// In the machine configuration's first document.
    config: &'static str,
    /// Others that are accepted beside it, in the same document.
    accepted: Option<&'static str>,
    /// In a secrets bundle.
    bundle: &'static str,
    /// The kind of the document that has it since Talos 1.14.
    document: Option<&'static str>,
}

/// siderolabs/talos: pkg/machinery/config/types/{v1alpha1,k8s} and pkg/machinery/config/generate/secrets.
const SLOTS: [Slot; 5] = [
    Slot {
        part: Part::Talos,
        config: "machine.ca",
        accepted: Some("machine.acceptedCAs"),
        bundle: "certs.os",
        document: None,
    },
    Slot {
        part: Part::Cluster,
        config: "cluster.ca",
        accepted: Some("cluster.acceptedCAs"),
        bundle: "certs.k8s",
        document: Some("KubeAPIServerCAConfig"),
    },
    Slot {
        part: Part::FrontProxy,
        config: "cluster.aggregatorCA",
        accepted: None,
        bundle: "certs.k8saggregator",
        document: Some("KubeAggregatorCAConfig"),
    },
    Slot { part: Part::Etcd, config: "cluster.etcd.ca", accepted: None, bundle: "certs.etcd", document: None },
    Slot {
        part: Part::ServiceAccounts,
        config: "cluster.serviceAccount",
        accepted: None,
        bundle: "certs.k8sserviceaccount",
        document: Some("KubeServiceAccountConfig"),
    },
];

/// Tokens, and keys that data is encrypted with.
const SECRETS: [&str; 9] = [
    "machine.token",
    "cluster.token",
    "cluster.secret",
    "cluster.aescbcEncryptionSecret",
    "cluster.secretboxEncryptionSecret",
    "clusterSecret",
    "secrets.bootstraptoken",
    "secrets.secretboxencryptionsecret",
    "trustdinfo.token",
];

impl Slot {
    fn names(&self, kind: Kind) -> (String, String) {
        let name = if kind == Kind::Secrets { self.bundle } else { self.config };
        (name.to_owned(), format!("{name}.key"))
    }

    /// The pair in the first document, or in a secrets bundle.
    fn in_first(&self, first: &Tree, kind: Kind) -> Option<Pair<Pem>> {
        let (name, key_name) = self.names(kind);
        let ca = first.at(&name)?;
        let accepted = self.accepted.and_then(|path| first.at(path));
        let accepted = accepted.iter().flat_map(|list| list.value.items()).filter_map(|one| one.value.at("crt"));
        let public = ca.value.at("crt").into_iter().chain(accepted).filter_map(Pem::encoded).collect();
        let key = ca.value.at("key").and_then(Pem::encoded);
        Some(Pair { part: self.part, name, public, key_name, key })
    }

    /// The pair in a document of its own.
    fn in_own(&self, documents: &[Tree]) -> Option<Pair<Pem>> {
        let kind = self.document?;
        let document = documents.iter().find(|document| document.is(kind))?;
        let (accepted, key) = match self.part {
            Part::ServiceAccounts => ("accepted.publicKeys", "issuer.privateKey"),
            _ => ("acceptedCAs", "issuingCA.key"),
        };
        let accepted = document.at(accepted);
        let accepted = accepted.iter().flat_map(|list| list.value.items());
        let public = document.at("issuingCA.cert").into_iter().chain(accepted).filter_map(Pem::plain).collect();
        let (name, key_name) = (kind.to_owned(), format!("{kind}.{key}"));
        Some(Pair { part: self.part, name, public, key_name, key: document.at(key).and_then(Pem::plain) })
    }
}

/// PEM in a file of Talos, as it is written there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pem {
    /// The line where it begins.
    pub(crate) line: u32,
    /// Are its lines lines of the file?
    pub(crate) spread: bool,
    /// The PEM itself, or why it is none.
    pub(crate) text: Result<Vec<u8>, &'static str>,
}

impl Pem {
    /// Base64 of PEM; `None` for an empty text, which stands where a worker has no key.
    fn encoded(node: &Node) -> Option<Self> {
        use base64::Engine as _;
        const TWICE: &[u8] = b"LS0tLS1CRUdJTi";
        let text = match &node.value {
            Tree::Text(text) if text.trim().is_empty() => return None,
            Tree::Text(text) if text.trim_start().starts_with("-----BEGIN ") => {
                Err("it is PEM, and base64 of PEM belongs there")
            }
            Tree::Text(text) => {
                let text: String = text.split_whitespace().collect();
                match base64::engine::general_purpose::STANDARD.decode(&text) {
                    Ok(bytes) if bytes.starts_with(TWICE) => Err("it is base64 of base64: once too often"),
                    Ok(bytes) => Ok(bytes),
                    Err(_) => Err("it is no base64"),
                }
            }
            Tree::Nothing | Tree::Plain(_) => return None,
            Tree::Map(_) | Tree::List(_) => Err("it is no text"),
        };
        Some(Self { line: node.line, spread: false, text })
    }

    /// PEM as it is.
    fn plain(node: &Node) -> Option<Self> {
        let text = match &node.value {
            Tree::Text(text) if text.trim().is_empty() => return None,
            Tree::Text(text) => Ok(text.clone().into_bytes()),
            Tree::Nothing | Tree::Plain(_) => return None,
            Tree::Map(_) | Tree::List(_) => Err("it is no text"),
        };
        Some(Self { line: node.line, spread: true, text })
    }
}

/// By its first members, is it a file of Talos? What is so and cannot be read is worth a word.
#[must_use]
pub fn is_one(text: &str) -> bool {
    resource::unwrapped(text).map_or(true, |text| kind(&text).is_some())
}

/// The kinds of file that have members of these names at their outermost level; machine configurations are one here.
fn kind(text: &str) -> Option<Kind> {
    let has = |start: &str| text.lines().any(|line| line.starts_with(start));
    let own = || SLOTS.iter().filter_map(|slot| slot.document).any(|kind| has(&format!("kind: {kind}")));
    match () {
        () if has("version: v1alpha1") && has("machine:") => Some(Kind::ControlPlane),
        () if has("apiVersion: v1alpha1") && own() => Some(Kind::ControlPlane),
        () if has("certs:") && has("trustdinfo:") => Some(Kind::Secrets),
        () if has("contexts:") && has("context:") => Some(Kind::Client),
        () => None,
    }
}

/// Reads a file of Talos; `None` if it is none.
pub(crate) fn parse(text: &str) -> Option<Talos<Pem>> {
    let text = match resource::unwrapped(text) {
        Ok(text) => text,
        Err(broken) => return Some(Talos::broken(Kind::ControlPlane, broken)),
    };
    let kind = kind(&text)?;
    let documents = match tree::documents(&text) {
        Ok(documents) => documents,
        Err(broken) => return Some(Talos::broken(kind, broken)),
    };
    let mut talos = Talos { kind, pairs: Vec::new(), has_secret: false, broken: None, cluster: Cluster::default() };
    let secret = |document: &Tree| SECRETS.iter().any(|path| document.text(path).is_some());
    talos.has_secret = documents.iter().any(|document| secret(document) || document.is("KubeEtcdEncryptionConfig"));
    if kind == Kind::Client {
        talos.pairs = documents.iter().flat_map(client).collect();
        return Some(talos);
    }
    let first = documents.iter().find(|one| one.at("machine").or_else(|| one.at("certs")).is_some());
    for slot in &SLOTS {
        let pair = first.and_then(|first| slot.in_first(first, kind)).or_else(|| slot.in_own(&documents));
        talos.pairs.extend(pair.filter(|pair| !pair.public.is_empty() || pair.key.is_some()));
    }
    if kind == Kind::ControlPlane {
        talos.cluster = cluster(&documents);
        let named = first.and_then(|first| first.text("machine.type"));
        let worker = match named {
            Some(name) => !matches!(name, "controlplane" | "init"),
            None => !talos.has_key(),
        };
        talos.kind = if worker { Kind::Worker } else { Kind::ControlPlane };
    }
    Some(talos)
}

/// What the current context of a talosconfig holds; the only one, if none is current.
fn client(document: &Tree) -> Vec<Pair<Pem>> {
    let Some(Tree::Map(contexts)) = document.at("contexts").map(|node| &node.value) else { return Vec::new() };
    let current = document.text("context");
    let only = contexts.iter().next().filter(|_| contexts.len() == 1);
    let context = current.and_then(|name| contexts.get_key_value(name)).or(only);
    let Some((context, node)) = context else { return Vec::new() };
    let pem = |name: &str| node.value.at(name).and_then(Pem::encoded);
    let name = |member: &str| format!("contexts.{context}.{member}");
    let pair = |part, member: &str, key: &str| Pair {
        part,
        name: name(member),
        public: pem(member).into_iter().collect(),
        key_name: name(key),
        key: if part == Part::Client { pem(key) } else { None },
    };
    let pairs = [pair(Part::Talos, "ca", "ca.key"), pair(Part::Client, "crt", "key")];
    pairs.into_iter().filter(|pair| !pair.public.is_empty() || pair.key.is_some()).collect()
}

/// What a machine configuration says of the cluster, in its first document or in those of their own.
fn cluster(documents: &[Tree]) -> Cluster {
    let at = |old: &str, kind: &str, new: &str| {
        let own = || documents.iter().filter(|document| document.is(kind)).find_map(|document| document.at(new));
        documents.iter().find_map(|document| document.at(old)).or_else(own)
    };
    let one = |node: Option<&Node>| node.and_then(|node| node.value.as_text()).map(str::to_owned);
    let list = |node: Option<&Node>| {
        let items = node.map(|node| node.value.items()).unwrap_or_default();
        items.iter().filter_map(|item| item.value.as_text()).map(str::to_owned).collect()
    };
    Cluster {
        endpoint: one(at("cluster.controlPlane.endpoint", "KubeClusterConfig", "endpoint")),
        services: list(at("cluster.network.serviceSubnets", "KubeNetworkConfig", "serviceSubnets")),
        domain: one(at("cluster.network.dnsDomain", "KubeNetworkConfig", "dnsDomain")),
        names: list(at("cluster.apiServer.certSANs", "KubeAPIServerConfig", "certExtraSANs")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEADS: [&str; 4] = [
        "version: v1alpha1\nmachine:\n  ca: ",
        "apiVersion: v1alpha1\nkind: KubeAPIServerCAConfig\nissuingCA: ",
        "trustdinfo: {}\ncerts:\n  os: ",
        "context: a\ncontexts:\n  a: ",
    ];

    proptest! {
        #[test]
        fn whatever_follows_is_survived(
            head in prop::sample::select(&HEADS[..]),
            rest in "[-a-z{}\\[\\]:&*!|> \"'\\n]{0,200}|.{0,80}",
        ) {
            let talos = parse(&format!("{head}{rest}"));
            prop_assert!(talos.is_some(), "it is called what its head says");
        }
    }

    #[test]
    fn what_is_nested_without_end_is_broken() {
        let text = format!("{}{}", HEADS[0], "[".repeat(200_000));
        assert!(parse(&text).unwrap().broken.is_some());
    }

    #[test]
    fn the_kind_is_what_the_file_says() {
        for (text, kind) in [
            ("version: v1alpha1 # of the schema\nmachine:\n    type: controlplane\n", Kind::ControlPlane),
            ("version: v1alpha1\nmachine:\n    type: init\n", Kind::ControlPlane),
            ("version: v1alpha1\nmachine:\n    type: worker\n", Kind::Worker),
            ("version: v1alpha1\nmachine:\n    ca: {key: eA==}\n", Kind::ControlPlane),
            ("version: v1alpha1\nmachine: {}\n", Kind::Worker),
            ("trustdinfo:\n    token: a\ncerts: {}\n", Kind::Secrets),
            ("context: a\ncontexts: {}\n", Kind::Client),
        ] {
            assert_eq!(parse(text).map(|talos| talos.kind), Some(kind), "{text}");
        }
        for text in [
            "",
            "apiVersion: v1\nkind: Config\ncontexts: []\n",
            "machine: x\n",
            "apiVersion: v1alpha1\nkind: HostnameConfig\n",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}

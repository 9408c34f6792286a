//! kubeconfigs: clusters, users and contexts, of credentials only that they are there.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A kubeconfig, with the bytes of what it embeds taken out.
///
/// `Bytes` is what stands in the place of embedded PEM: the bytes themselves while the file is being read on its host, and
/// what they hold afterwards.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kubeconfig<Bytes> {
    /// The clusters.
    pub clusters: Vec<Cluster<Bytes>>,
    /// The users.
    pub users: Vec<User<Bytes>>,
    /// The contexts.
    pub contexts: Vec<Context>,
    /// The context that counts unless another is asked for.
    pub current: Option<String>,
}

/// By its outermost members, is a text a kubeconfig in YAML?
#[must_use]
pub fn is_one(text: &str) -> bool {
    ["clusters:", "contexts:", "users:"].iter().all(|member| text.lines().any(|line| line.starts_with(member)))
}

/// A cluster of a kubeconfig.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster<Bytes> {
    /// Its name.
    pub name: String,
    /// The API server's URL.
    pub server: String,
    /// The CA, embedded.
    pub ca: Option<Bytes>,
    /// The CA's file.
    pub ca_file: Option<String>,
    /// `insecure-skip-tls-verify`
    pub insecure: bool,
    /// The name that the certificate is verified for, where it is not the URL's.
    pub server_name: Option<String>,
}

/// A user of a kubeconfig.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct User<Bytes> {
    /// Its name.
    pub name: String,
    /// The client certificate, embedded.
    pub certificate: Option<Bytes>,
    /// The client certificate's file.
    pub certificate_file: Option<String>,
    /// The key, embedded.
    pub key: Option<Bytes>,
    /// The key's file.
    pub key_file: Option<String>,
    /// Is there a token in the file itself?
    pub has_token: bool,
    /// Is there a password in the file itself?
    pub has_login: bool,
    /// Does it get credentials elsewhere: from a program, a file of a token, a provider?
    pub elsewhere: bool,
}

/// A context of a kubeconfig.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    /// Its name.
    pub name: String,
    /// The name of its cluster.
    pub cluster: String,
    /// The name of its user.
    pub user: String,
}

impl<Bytes> Kubeconfig<Bytes> {
    /// The cluster that counts: that of the current context, else the only one.
    pub fn cluster(&self) -> Option<&Cluster<Bytes>> {
        match &self.current {
            Some(_) => {
                self.clusters.iter().find(|cluster| Some(&cluster.name) == self.context().map(|one| &one.cluster))
            }
            None if self.clusters.len() == 1 => self.clusters.first(),
            None => None,
        }
    }

    /// The user that counts.
    pub fn user(&self) -> Option<&User<Bytes>> {
        match &self.current {
            Some(_) => self.users.iter().find(|user| Some(&user.name) == self.context().map(|one| &one.user)),
            None if self.users.len() == 1 => self.users.first(),
            None => None,
        }
    }

    /// The current context.
    pub fn context(&self) -> Option<&Context> {
        let current = self.current.as_ref()?;
        self.contexts.iter().find(|context| context.name == *current)
    }

    /// The same, with other bytes.
    pub fn map<Other>(self, mut f: impl FnMut(Bytes) -> Other) -> Kubeconfig<Other> {
        let clusters = self.clusters.into_iter().map(|one| Cluster {
            name: one.name,
            server: one.server,
            ca: one.ca.map(&mut f),
            ca_file: one.ca_file,
            insecure: one.insecure,
            server_name: one.server_name,
        });
        let clusters = clusters.collect();
        let users = self.users.into_iter().map(|one| User {
            name: one.name,
            certificate: one.certificate.map(&mut f),
            certificate_file: one.certificate_file,
            key: one.key.map(&mut f),
            key_file: one.key_file,
            has_token: one.has_token,
            has_login: one.has_login,
            elsewhere: one.elsewhere,
        });
        let users = users.collect();
        Kubeconfig { clusters, users, contexts: self.contexts, current: self.current }
    }
}

/// Reads a kubeconfig from its YAML; `None` if it is of another kind.
pub(crate) fn parse(value: &Value) -> Option<Kubeconfig<Vec<u8>>> {
    if value.get("kind")?.as_str()? != "Config" || value.get("clusters").is_none() {
        return None;
    }
    let text = |value: &Value, key: &str| {
        value.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
    };
    // What is no base64 is kept as it is: it holds nothing that can be read, and is found to be so.
    let bytes = |value: &Value, key: &str| {
        use base64::Engine as _;
        let text: String = text(value, key)?.split_whitespace().collect();
        Some(base64::engine::general_purpose::STANDARD.decode(&text).unwrap_or_default())
    };
    let list = |key: &str| value.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let named = |one: &Value, member: &str| {
        (text(one, "name").unwrap_or_default(), one.get(member).cloned().unwrap_or_default())
    };
    let clusters = list("clusters").iter().map(|one| {
        let (name, cluster) = named(one, "cluster");
        Cluster {
            name,
            server: text(&cluster, "server").unwrap_or_default(),
            ca: bytes(&cluster, "certificate-authority-data"),
            ca_file: text(&cluster, "certificate-authority"),
            insecure: cluster.get("insecure-skip-tls-verify").and_then(Value::as_bool).unwrap_or(false),
            server_name: text(&cluster, "tls-server-name"),
        }
    });
    let users = list("users").iter().map(|one| {
        let (name, user) = named(one, "user");
        User {
            name,
            certificate: bytes(&user, "client-certificate-data"),
            certificate_file: text(&user, "client-certificate"),
            key: bytes(&user, "client-key-data"),
            key_file: text(&user, "client-key"),
            has_token: text(&user, "token").is_some(),
            has_login: text(&user, "password").is_some(),
            elsewhere: ["exec", "auth-provider", "tokenFile"].iter().any(|key| user.get(*key).is_some()),
        }
    });
    let contexts = list("contexts").iter().map(|one| {
        let (name, context) = named(one, "context");
        Context {
            name,
            cluster: text(&context, "cluster").unwrap_or_default(),
            user: text(&context, "user").unwrap_or_default(),
        }
    });
    Some(Kubeconfig {
        clusters: clusters.collect(),
        users: users.collect(),
        contexts: contexts.collect(),
        current: text(value, "current-context"),
    })
}

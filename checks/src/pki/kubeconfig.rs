//! kubeconfigs: clusters, users and contexts, of credentials only that they are there.
//!
//! Read as client-go reads them (`clientcmd.LoadFromFile`, `ConfirmUsable`): what its decoder refuses is
//! [`Kubeconfig::refused`], what its validation refuses in one cluster or user stands there as `faults`.

mod fault;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A kubeconfig, with the bytes of what it embeds taken out.
///
/// `Bytes` is what stands in the place of embedded PEM: the bytes themselves while the file is being read on its host,
/// and what they hold afterwards.
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
    /// Why client-go refuses the whole file, if it does: a member of the wrong type, a name that stands there twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
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
    /// For what client-go does not use it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<String>,
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
    /// The file of a token that counts, since there is none in the kubeconfig.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_file: Option<String>,
    /// For what client-go does not use it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<String>,
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
    /// The cluster that counts: that of the current context. Without one client-go looks for the name `""`.
    pub fn cluster(&self) -> Option<&Cluster<Bytes>> {
        let name = self.wanted(|context| &context.cluster)?;
        self.clusters.iter().find(|cluster| cluster.name == name)
    }

    /// The user that counts.
    pub fn user(&self) -> Option<&User<Bytes>> {
        let name = self.wanted(|context| &context.user)?;
        self.users.iter().find(|user| user.name == name)
    }

    fn wanted(&self, of: impl Fn(&Context) -> &String) -> Option<&str> {
        match (&self.current, self.context()) {
            (None, _) => Some(""),
            (Some(_), context) => context.map(|context| of(context).as_str()),
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
            faults: one.faults,
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
            token_file: one.token_file,
            faults: one.faults,
        });
        let users = users.collect();
        Kubeconfig { clusters, users, contexts: self.contexts, current: self.current, refused: self.refused }
    }
}

/// Does client-go speak TLS to this server?
pub(crate) fn is_tls(server: &str) -> bool {
    let scheme = server.split_once("://").map(|(scheme, _)| scheme);
    scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"))
}

/// Why client-go cannot dial this server, if so (`rest.DefaultServerURL`, Go's net/url).
pub(crate) fn server_fault(server: &str) -> Option<&'static str> {
    let is_scheme = |text: &str| {
        let mut bytes = text.bytes();
        bytes.next().is_some_and(|first| first.is_ascii_alphabetic())
            && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    };
    let (scheme, rest) = match server.split_once("://") {
        Some((scheme, rest)) if is_scheme(scheme) => (true, rest),
        _ => (false, server),
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let port = |text: &str| {
        text.is_empty() || text.strip_prefix(':').is_some_and(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
    };
    if host.is_empty() || !scheme && path.starts_with('/') && path.len() > 1 {
        return Some("is neither a URL nor host:port");
    }
    if server.bytes().any(|byte| byte < b' ' || byte == 0x7f)
        || host.contains([' ', '"', '<', '>', '\\', '^', '`', '{', '|', '}'])
    {
        return Some("has a character that no host name has");
    }
    if host.starts_with('[') {
        return match host.rsplit_once(']') {
            None => Some("has no ] behind its IPv6 address"),
            Some((_, rest)) => (!port(rest)).then_some("has an invalid port"),
        };
    }
    match host.split_once(':') {
        Some((_, rest)) if rest.contains(':') => {
            let address = |text: &str| text.parse::<std::net::Ipv6Addr>().is_ok();
            let bare = address(host) || host.rsplit_once(':').is_some_and(|(host, _)| address(host));
            Some(if bare {
                "has an IPv6 address without brackets: write https://[ADDRESS]:PORT"
            } else {
                "has an invalid port"
            })
        }
        Some((host, rest)) => {
            (!port(&format!(":{rest}")) || host.is_empty() && rest.is_empty()).then_some("has an invalid port")
        }
        None => None,
    }
}

/// The value of a text in YAML as client-go reads it: the first document, of which a key that stands there twice counts
/// the last time.
pub(crate) fn yaml(text: &str) -> Option<Value> {
    let text = text.strip_prefix("---\n").unwrap_or(text);
    let first = text.find("\n---\n").map_or(text, |end| &text[..end]);
    let options = serde_saphyr::options! { duplicate_keys: serde_saphyr::DuplicateKeyPolicy::LastWins };
    serde_saphyr::from_str_with_options(first, options).ok()
}

/// Reads a kubeconfig from its YAML; `None` if it is of another kind.
pub(crate) fn parse(value: &Value) -> Option<Kubeconfig<Vec<u8>>> {
    // client-go takes what says no kind for a kubeconfig.
    let kind = value.get("kind").filter(|kind| !kind.is_null());
    let kind = kind.is_none_or(|kind| kind.as_str().is_some_and(|kind| matches!(kind, "" | "Config")));
    if !kind || value.get("clusters").is_none() {
        return None;
    }
    let text = |value: &Value, key: &str| {
        value.get(key).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let bytes = |value: &Value, key: &str| fault::bytes(value.get(key)?.as_str()?).filter(|bytes| !bytes.is_empty());
    let list = |key: &str| value.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let named = |one: &Value, member: &str| {
        (text(one, "name").unwrap_or_default(), one.get(member).cloned().unwrap_or_default())
    };
    let clusters = list("clusters").iter().map(|one| {
        let (name, cluster) = named(one, "cluster");
        Cluster {
            server: text(&cluster, "server").unwrap_or_default(),
            ca: bytes(&cluster, "certificate-authority-data"),
            ca_file: text(&cluster, "certificate-authority"),
            insecure: cluster.get("insecure-skip-tls-verify").and_then(Value::as_bool).unwrap_or(false),
            server_name: text(&cluster, "tls-server-name"),
            faults: fault::of_cluster(&name, &cluster),
            name,
        }
    });
    let users = list("users").iter().map(|one| {
        let (name, user) = named(one, "user");
        let token = text(&user, "token");
        User {
            certificate: bytes(&user, "client-certificate-data"),
            certificate_file: text(&user, "client-certificate"),
            key: bytes(&user, "client-key-data"),
            key_file: text(&user, "client-key"),
            has_token: token.is_some(),
            has_login: text(&user, "password").is_some(),
            elsewhere: ["exec", "auth-provider", "tokenFile"].iter().any(|key| user.get(*key).is_some()),
            token_file: if token.is_none() { text(&user, "tokenFile") } else { None },
            faults: fault::of_user(&name, &user),
            name,
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
        refused: fault::of_file(value),
    })
}

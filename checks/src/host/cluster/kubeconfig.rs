//! The kubeconfig that leads to a cluster: whom it trusts, and as whom it goes there, without the credentials
//! themselves.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::pki::kubeconfig::{Kubeconfig, parse, yaml};
use crate::pki::x509::pem::{Content, Document};

/// What is known of one context of a kubeconfig. Certificates are as they stand there, in PEM; of a key there is only
/// the SHA-256 of its public half.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Facts {
    /// The context that counts; empty where there is none.
    pub context: String,
    /// URL of the server.
    pub server: String,
    /// The name that the server's certificate is verified for, where it is not that of the URL.
    pub server_name: Option<String>,
    /// The CAs that the server is verified by; `None` are those of the system.
    pub ca: Option<String>,
    /// Is the server not verified at all?
    pub insecure: bool,
    /// The client certificate, if there is one.
    pub certificate: Option<String>,
    /// The SHA-256 of the public half of its key, in hexadecimal, if that can be told.
    pub key: Option<String>,
    /// Does the client log in by a password?
    pub login: bool,
    /// What it names and lacks, or cannot be read.
    pub faults: Vec<String>,
}

/// Why a text leads to no cluster.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoCluster {
    /// It is no YAML; the text itself is not shown, it may hold a credential.
    #[error("it is no YAML")]
    Yaml,
    /// It is another object.
    #[error("it is no kubeconfig: kind: Config and clusters are what one has")]
    Kind,
    /// It has no such context.
    #[error("it has no context '{0}'")]
    Context(String),
    /// Neither it nor the user says which context counts.
    #[error("it has no current-context: name one")]
    NoContext,
}

impl Facts {
    /// Reads a kubeconfig. Files that it names by relative paths are looked for in `folder`, as client-go does.
    ///
    /// # Errors
    /// [`NoCluster`].
    pub fn read(text: &str, context: Option<&str>, folder: &Path) -> Result<Self, NoCluster> {
        Self::parse(text, context, &mut |path| {
            let path = folder.join(path);
            std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))
        })
    }

    /// The same with `file` for the files that it names; pure, if that is. A kubeconfig without any context, as
    /// cluster-info has one, leads to its only cluster.
    ///
    /// # Errors
    /// [`NoCluster`].
    pub fn parse(
        text: &str,
        context: Option<&str>,
        file: &mut dyn FnMut(&str) -> Result<Vec<u8>, String>,
    ) -> Result<Self, NoCluster> {
        let value = yaml(text).ok_or(NoCluster::Yaml)?;
        let mut config: Kubeconfig<Vec<u8>> = parse(&value).ok_or(NoCluster::Kind)?;
        config.current = context.map(str::to_owned).or(config.current);
        let name = config.current.clone().unwrap_or_default();
        match config.context() {
            None if !name.is_empty() => return Err(NoCluster::Context(name)),
            None if !config.contexts.is_empty() => return Err(NoCluster::NoContext),
            _ => {}
        }
        let mut facts = Self { context: name, ..Self::default() };
        let only = || config.clusters.first().filter(|_| config.clusters.len() == 1 && config.contexts.is_empty());
        let (cluster, user) = (config.cluster().or_else(only), config.user());
        let faults = &mut facts.faults;
        let mut pem = |what: &str, data: Option<&Vec<u8>>, path: Option<&String>| {
            // Data counts before a file, as in client-go.
            let bytes = data.cloned().map(Ok).or_else(|| path.map(|path| file(path)))?;
            bytes.map_err(|why| faults.push(format!("{what}: {why}"))).ok()
        };
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        if let Some(cluster) = cluster {
            facts.server.clone_from(&cluster.server);
            facts.server_name.clone_from(&cluster.server_name);
            facts.insecure = cluster.insecure;
            facts.ca = pem("certificate-authority", cluster.ca.as_ref(), cluster.ca_file.as_ref()).map(text);
        }
        if let Some(user) = user {
            facts.login = user.has_login;
            let (certificate, key) = (user.certificate.as_ref(), user.key.as_ref());
            facts.certificate = pem("client-certificate", certificate, user.certificate_file.as_ref()).map(text);
            let key = pem("client-key", key, user.key_file.as_ref()).map(|key| public_half(&key));
            match key {
                Some(Ok(key)) => facts.key = Some(key),
                Some(Err(why)) => faults.push(format!("client-key: {why}")),
                None => {}
            }
        }
        if let Some(context) = config.context() {
            if cluster.is_none() {
                facts.faults.push(format!("the context's cluster '{}' is not there", context.cluster));
            }
            if user.is_none() {
                facts.faults.push(format!("the context's user '{}' is not there", context.user));
            }
        }
        Ok(facts)
    }
}

/// The SHA-256 of the public half of the first key.
fn public_half(pem: &[u8]) -> Result<String, String> {
    let document = Document::read(pem);
    let broken = document.blocks.iter().find_map(|block| match &block.content {
        Content::BrokenKey(why) => Some(why.to_string()),
        _ => None,
    });
    let key = document.keys().next().map(|key| key.public.sha256.to_string());
    key.ok_or_else(|| broken.unwrap_or_else(|| "there is no key in it".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "kind: Config\n\
                       clusters: [{name: a, cluster: {server: 'https://a:6443'}}, {name: b, cluster: {server: \
                       'https://b:6443', tls-server-name: c}}]\n\
                       contexts: [{name: one, context: {cluster: a, user: u}}, {name: two, context: {cluster: b, user: \
                       gone}}]\ncurrent-context: one\n\
                       users: [{name: u, user: {client-certificate: u.crt, client-key: u.key, token: secret}}]\n";

    fn read(text: &str, context: Option<&str>) -> Result<Facts, NoCluster> {
        Facts::parse(text, context, &mut |path| Err(format!("{path} is not there")))
    }

    #[test]
    fn the_context_that_counts_is_read() {
        let one = read(TWO, None).unwrap();
        assert_eq!((one.context.as_str(), one.server.as_str()), ("one", "https://a:6443"));
        assert_eq!(one.faults, ["client-certificate: u.crt is not there", "client-key: u.key is not there"]);
        assert!(!format!("{one:?}").contains("secret"));
        let two = read(TWO, Some("two")).unwrap();
        assert_eq!((two.server.as_str(), two.server_name.as_deref()), ("https://b:6443", Some("c")));
        assert_eq!(two.faults, ["the context's user 'gone' is not there"]);
    }

    #[test]
    fn what_leads_nowhere_is_told_apart() {
        assert_eq!(read(TWO, Some("three")), Err(NoCluster::Context("three".to_owned())));
        assert_eq!(read(&TWO.replace("current-context: one", ""), None), Err(NoCluster::NoContext));
        assert_eq!(read("kind: Pod\n", None), Err(NoCluster::Kind));
        assert_eq!(read("{", None), Err(NoCluster::Yaml));
        let info = "kind: Config\nclusters: [{name: '', cluster: {server: 'https://a:6443'}}]\ncontexts: null\n\
                    current-context: ''\nusers: null\n";
        assert_eq!(read(info, None).unwrap().server, "https://a:6443");
    }
}

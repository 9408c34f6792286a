//! What can be asked without a node: the API of a cluster, and servers by their addresses.

use std::path::Path;

use super::{Answer, Cluster, Host, Layout, LiveHost, Query, Refusal, RefusalKind, Reply, TlsCall, lookup, tls};
use crate::pki::live::Target;

/// A cluster, servers, or both; no node, so that nothing of this machine is judged by mistake.
pub struct Remote {
    /// This machine, for its resolver only.
    own: LiveHost,
    cluster: Option<Cluster>,
    layout: Layout,
}

impl Remote {
    /// A cluster, if one is given, and these servers.
    ///
    /// # Errors
    /// If this machine has no root file system to read the resolver's configuration from.
    pub fn new(cluster: Option<Cluster>, endpoints: Vec<Target>) -> Result<Self, Refusal> {
        let layout = Layout { remote: true, endpoints, ..Layout::default() };
        Ok(Self { own: LiveHost::open(Path::new("/"))?, cluster, layout })
    }
}

impl Host for Remote {
    fn ask(&self, query: &Query) -> Answer {
        match (query, &self.cluster) {
            (Query::Kubeconfig | Query::Api { .. } | Query::Configz { .. }, Some(cluster)) => cluster.ask(query),
            // There is no node whose certificates could be shown.
            (Query::Tls { address, call }, _) if !matches!(call, TlsCall::LogIn { .. }) => {
                tls::call(&self.own, address, call)
            }
            (Query::Lookup { name }, _) => lookup::lookup(&self.own, name),
            (Query::Layout, _) => serde_json::to_value(&self.layout)
                .map(Reply::from)
                .map_err(|error| Refusal::new(RefusalKind::Failed, error.to_string())),
            _ => Err(Refusal::new(RefusalKind::NotAsked, format!("{query}: no node was named"))),
        }
    }
}

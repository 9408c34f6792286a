//! What is put on trial: the nodes, recordings, folders, clusters and servers that the command line names.

use std::path::PathBuf;

use seaworthy_checks::host::Layout;
use seaworthy_suites::{Kubeconfig, Source};

use crate::cli::RemoteOptions;
use crate::fault::Fault;

/// Opens everything that is named. A cluster and servers are asked beside each node, if nodes are named, else alone.
pub(crate) fn open(hosts: &[PathBuf], mut layout: Layout, remote: &RemoteOptions) -> Result<Vec<Source>, Fault> {
    let usage = |error: seaworthy_suites::NodeError| Fault::usage(error.to_string());
    let kubeconfig =
        remote.kubeconfig.as_ref().map(|path| Kubeconfig { path: path.clone(), context: remote.context.clone() });
    if hosts.is_empty() {
        return Ok(vec![Source::remote(kubeconfig.as_ref(), remote.endpoints.clone()).map_err(usage)?]);
    }
    layout.endpoints.clone_from(&remote.endpoints);
    let open = |path: &PathBuf| {
        let source = Source::open(path, &layout)?;
        match &kubeconfig {
            Some(kubeconfig) => source.with_cluster(kubeconfig),
            None => Ok(source),
        }
    };
    hosts.iter().map(|path| open(path).map_err(usage)).collect()
}

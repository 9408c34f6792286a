//! What is put on trial: the nodes, recordings, folders, clusters and servers that the command line names.

use std::path::PathBuf;

use seaworthy_checks::host::Layout;
use seaworthy_suites::{Kubeconfig, Source};

use crate::cli::RemoteOptions;
use crate::container;
use crate::fault::Fault;

/// Opens everything that is named. A cluster and servers are asked beside each node, if nodes are named, else alone.
pub(crate) fn open(hosts: &[PathBuf], mut layout: Layout, remote: &RemoteOptions) -> Result<Vec<Source>, Fault> {
    let usage = |error: seaworthy_suites::NodeError| Fault::usage(error.to_string());
    let kubeconfig =
        remote.kubeconfig.as_ref().map(|path| Kubeconfig { path: path.clone(), context: remote.context.clone() });
    if hosts.is_empty() && remote.log_in {
        let fault = Fault::usage("--log-in shows the certificates of a node, and none is named".to_owned());
        return Err(fault.hint("name it by --host: / for this machine, or a folder that holds a PKI"));
    }
    if hosts.is_empty() {
        return Ok(vec![Source::remote(kubeconfig.as_ref(), remote.endpoints.clone()).map_err(usage)?]);
    }
    layout.endpoints.clone_from(&remote.endpoints);
    layout.log_in = remote.log_in;
    let open = |path: &PathBuf| {
        let source = Source::open(path, &layout)?;
        match &kubeconfig {
            Some(kubeconfig) => source.with_cluster(kubeconfig),
            None => Ok(source),
        }
    };
    let sources = hosts.iter().map(|path| open(path).map_err(usage)).collect::<Result<Vec<_>, _>>()?;
    find(&sources, hosts, &layout)?;
    Ok(sources)
}

/// What the user says lies elsewhere must lie there, on one of the nodes: otherwise the defaults would be judged
/// unnoticed.
fn find(sources: &[Source], hosts: &[PathBuf], layout: &Layout) -> Result<(), Fault> {
    let named =
        [("--kubelet-config", &layout.kubelet_config), ("--config-dir", &layout.manifests), ("--pki-dir", &layout.pki)];
    for (option, path) in named.iter().filter_map(|(option, path)| Some((option, path.as_ref()?))) {
        let absent = sources.iter().all(|source| source.host().stat(path).is_absent());
        if absent && !container::has(path) {
            let places: Vec<_> = hosts.iter().map(|host| host.display().to_string()).collect();
            let fault = Fault::usage(format!("{option} {path}: there is no such path in {}", places.join(", ")));
            return Err(fault.hint("it is the path on the node, which begins where --host says"));
        }
    }
    Ok(())
}

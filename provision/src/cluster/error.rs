//! Why a cluster does not come up.

use std::path::Path;

use super::api::ApiError;
use super::folder::ClusterError;
use super::rootless::RootlessError;
use super::spec::BadSpec;
use super::wait::Waited;
use crate::assets::Missing;
use crate::host::{ExecError, HostError};
use crate::image::ImageError;
use crate::kubeadm::BadConfiguration;
use crate::network::NetworkError;
use crate::patches::PatchError;
use crate::pki::PkiError;
use crate::shared_certs::SharedCertsError;

/// A component that does not become ready.
#[derive(Debug, thiserror::Error)]
#[error("{component} on {host} is not ready: {how}\n  {began}: {argv}\n{log}")]
pub struct NotReady {
    /// The component.
    pub component: String,
    /// Its host.
    pub host: String,
    /// How it is.
    pub how: String,
    /// How it was started: as a process, or by which manifest.
    pub began: String,
    /// Its command line.
    pub argv: String,
    /// The last lines of its log.
    pub log: String,
}

/// Why a cluster does not come up.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A phase did not get through.
    #[error("phase {phase}: {source}")]
    Phase {
        /// The phase.
        phase: &'static str,
        /// Why.
        source: Box<EngineError>,
    },
    /// A component does not become ready.
    #[error(transparent)]
    Component(Box<NotReady>),
    /// Something that was waited for did not come.
    #[error(transparent)]
    Waited(Box<Waited>),
    /// Something that must be so is not.
    #[error("{0}")]
    Preflight(String),
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: String,
        /// What the file system said.
        source: std::io::Error,
    },
    /// Programs are missing.
    #[error("{0}\nfetch or build them: seaworthy assets fetch")]
    Missing(#[from] Missing),
    /// The specification.
    #[error(transparent)]
    Spec(#[from] BadSpec),
    /// kubeadm's configuration.
    #[error(transparent)]
    Configuration(#[from] BadConfiguration),
    /// The cluster's folder.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The namespaces of an ordinary user's cluster.
    #[error(transparent)]
    Rootless(#[from] RootlessError),
    /// A host.
    #[error(transparent)]
    Host(#[from] HostError),
    /// A command on a host.
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// A link.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The PKI.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// Shared certificates.
    #[error(transparent)]
    SharedCerts(#[from] SharedCertsError),
    /// A fault.
    #[error(transparent)]
    Fault(#[from] super::faults::FaultError),
    /// A patch of the user's.
    #[error("patches: {0}")]
    Patch(#[from] PatchError),
    /// The API.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// Images.
    #[error(transparent)]
    Image(#[from] ImageError),
}

pub(super) fn file(path: &Path) -> impl FnOnce(std::io::Error) -> EngineError {
    let path = path.display().to_string();
    move |source| EngineError::File { path, source }
}

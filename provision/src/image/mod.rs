//! Images without any tool: programs that are there become OCI images in a folder of ours.
//!
//! An image is a few files of this machine in an otherwise empty root. Its layer is a tar without compression, so
//! making one costs a copy, and the same files make the same bytes: an image has the same digest wherever it is made.
//! The folder is an OCI image layout (image-spec 1.1), which other tools read, too; [`crate::registry`] serves it.

mod layer;
mod list;
mod reference;
mod store;

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use list::{Part, REPOSITORY, workload};
pub use reference::{BadDigest, BadReference, Digest, Reference};
pub(crate) use reference::{is_repository, is_tag};
pub use store::{Blob, Store};

/// Media type of a manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// A file of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFile {
    /// Where it is in the image, from the root on: `/usr/local/bin/etcd`.
    pub at: PathBuf,
    /// Where it is on this machine. Links are followed.
    pub source: PathBuf,
    /// Its permission bits.
    pub mode: u32,
}

/// What an image is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its name.
    pub reference: Reference,
    /// Its files; they belong to root.
    pub files: Vec<ImageFile>,
    /// The program that a container runs, with its first arguments.
    pub entrypoint: Vec<String>,
    /// The arguments behind it, where the container names none.
    pub command: Vec<String>,
    /// The environment.
    pub env: Vec<(String, String)>,
    /// The user, by number; root where there is none.
    pub user: Option<u32>,
    /// The ports that it listens on: `8080/tcp`.
    pub ports: Vec<String>,
}

/// Content by its digest, as manifests and indexes name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What it is.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its bytes.
    pub size: u64,
}

/// Why an image cannot be made or read.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A file cannot be used.
    #[error("{path}: {why}")]
    Unfit {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

fn failed(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> ImageError {
    let path = path.into();
    move |source| ImageError::File { path, source }
}

fn unfit(path: impl Into<PathBuf>, why: impl Into<String>) -> ImageError {
    ImageError::Unfit { path: path.into(), why: why.into() }
}

//! The folder of images: an OCI image layout, and beside it what is known of layers that were made before.
//!
//! Every file is written whole under another name and then renamed, so readers never see half of one, and several
//! processes may add images at once. What no image has any more goes with the next one that is made, if nobody else
//! makes one: who pulls an image just then asks for its name once more.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};
use tempfile::NamedTempFile;

use super::layer::{self, Hashing};
use super::{CONFIG, Descriptor, Digest, Image, ImageError, LAYER, MANIFEST, Reference, failed, unfit};

/// The annotation with the name that containerd and others give to an image of a layout.
const NAME: &str = "io.containerd.image.name";
/// The annotation with an image's tag (image-spec 1.1, annotations).
const TAG: &str = "org.opencontainers.image.ref.name";

/// A folder of images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store(PathBuf);

/// Content of a store.
#[derive(Debug)]
pub struct Blob {
    /// Its bytes.
    pub file: File,
    /// How many there are.
    pub size: u64,
}

/// `index.json`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Index {
    schema_version: u32,
    media_type: String,
    manifests: Vec<Named>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Named {
    #[serde(flatten)]
    descriptor: Descriptor,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// What an image is made of, as its manifest has it.
#[derive(Debug, Deserialize)]
struct Manifest {
    config: Descriptor,
    layers: Vec<Descriptor>,
}

impl Store {
    /// The store in this folder, which is made if it is not there.
    ///
    /// # Errors
    /// [`ImageError::File`] if the folder cannot be made.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, ImageError> {
        let store = Self(folder.into());
        for folder in [store.blobs(), store.known()] {
            std::fs::create_dir_all(&folder).map_err(failed(&folder))?;
        }
        // Who only serves it may see it read-only.
        let layout = store.0.join("oci-layout");
        if !layout.exists() {
            store.write(&layout, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        }
        Ok(store)
    }

    fn blobs(&self) -> PathBuf {
        self.0.join("blobs/sha256")
    }

    /// Descriptors of layers that were made before, by their keys.
    fn known(&self) -> PathBuf {
        self.0.join("layers")
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.blobs().join(digest.hex())
    }

    /// Makes an image and names it. What is there already is not made again; a program that has not changed is not
    /// read.
    ///
    /// # Errors
    /// [`ImageError`] names the file that cannot be read or written.
    pub fn add(&self, image: &Image) -> Result<Descriptor, ImageError> {
        let adding = self.lock("adding.lock", FlockArg::LockShared)?;
        let layer = self.layer(image)?;
        let config = self.put(CONFIG, &config(image, &layer.digest))?;
        let manifest = self.put(
            MANIFEST,
            &json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer] }),
        )?;
        let replaced = self.name(&image.reference, &manifest)?;
        drop(adding);
        if replaced {
            self.sweep()?;
        }
        Ok(manifest)
    }

    /// Removes what no image has, unless images are being made, whose content has no name yet.
    fn sweep(&self) -> Result<(), ImageError> {
        let Some(_alone) = self.lock("adding.lock", FlockArg::LockExclusiveNonblock)? else { return Ok(()) };
        let mut used = BTreeSet::new();
        for Named { descriptor, .. } in self.index()?.manifests {
            if let Some(Manifest { config, layers }) = read(&self.path(&descriptor.digest))? {
                used.extend(layers.into_iter().chain([config, descriptor]).map(|one| one.digest.hex().to_owned()));
            }
        }
        let blobs = self.blobs();
        for blob in std::fs::read_dir(&blobs).map_err(failed(&blobs))? {
            let blob = blob.map_err(failed(&blobs))?;
            if !blob.file_name().to_str().is_some_and(|name| used.contains(name)) {
                std::fs::remove_file(blob.path()).map_err(failed(blob.path()))?;
            }
        }
        Ok(())
    }

    /// A lock of the store, also against other processes; `None` where it is not waited for, and another has it.
    fn lock(&self, name: &str, how: FlockArg) -> Result<Option<Flock<File>>, ImageError> {
        let path = self.0.join(name);
        let file = File::create(&path).map_err(failed(&path))?;
        match Flock::lock(file, how) {
            Ok(lock) => Ok(Some(lock)),
            Err((_, Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, errno)) => Err(failed(&path)(errno.into())),
        }
    }

    /// The names of the store, each with its manifest.
    ///
    /// # Errors
    /// [`ImageError`] if the index cannot be read.
    pub fn references(&self) -> Result<BTreeMap<Reference, Descriptor>, ImageError> {
        let named = |one: Named| Some((one.annotations.get(NAME)?.parse().ok()?, one.descriptor));
        Ok(self.index()?.manifests.into_iter().filter_map(named).collect())
    }

    /// Content by its digest; `None` where the store does not have it.
    ///
    /// # Errors
    /// [`ImageError::File`] if it cannot be opened.
    pub fn blob(&self, digest: &Digest) -> Result<Option<Blob>, ImageError> {
        let path = self.path(digest);
        match File::open(&path) {
            Ok(file) => {
                let size = file.metadata().map_err(failed(path))?.len();
                Ok(Some(Blob { file, size }))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failed(path)(error)),
        }
    }

    fn layer(&self, image: &Image) -> Result<Descriptor, ImageError> {
        let known = self.known().join(layer::key(&image.files)?.hex());
        if let Some(layer) = read::<Descriptor>(&known)?
            // A machine that lost its power may have half of it.
            && std::fs::metadata(self.path(&layer.digest)).is_ok_and(|found| found.len() == layer.size)
        {
            return Ok(layer);
        }
        let blobs = self.blobs();
        let file = NamedTempFile::new_in(&blobs).map_err(failed(&blobs))?;
        let mut hashing = Hashing::new(io::BufWriter::with_capacity(1 << 20, file));
        layer::write(&image.files, &mut hashing, &blobs)?;
        let (buffer, digest, size) = hashing.finish();
        let file = buffer.into_inner().map_err(|error| failed(&blobs)(error.into_error()))?;
        keep(file, &self.path(&digest))?;
        let layer = Descriptor { media_type: LAYER.to_owned(), digest, size };
        self.write(&known, &bytes(&layer))?;
        Ok(layer)
    }

    fn put(&self, media_type: &str, content: &Value) -> Result<Descriptor, ImageError> {
        let content = bytes(content);
        let digest = Digest::of(&content);
        self.write(&self.path(&digest), &content)?;
        Ok(Descriptor { media_type: media_type.to_owned(), digest, size: content.len() as u64 })
    }

    fn index(&self) -> Result<Index, ImageError> {
        let empty = || Index {
            schema_version: 2,
            media_type: "application/vnd.oci.image.index.v1+json".to_owned(),
            manifests: Vec::new(),
        };
        Ok(read(&self.0.join("index.json"))?.unwrap_or_else(empty))
    }

    /// Gives a manifest a name. Did another one have it?
    fn name(&self, reference: &Reference, manifest: &Descriptor) -> Result<bool, ImageError> {
        let _lock = self.lock("index.lock", FlockArg::LockExclusive)?;
        let mut index = self.index()?;
        let name = reference.to_string();
        let annotations = BTreeMap::from([(NAME.to_owned(), name.clone()), (TAG.to_owned(), reference.tag.clone())]);
        let had = |one: &Named| one.annotations.get(NAME) == Some(&name);
        let replaced = index.manifests.iter().any(|one| had(one) && one.descriptor.digest != manifest.digest);
        index.manifests.retain(|one| !had(one));
        index.manifests.push(Named { descriptor: manifest.clone(), annotations });
        index.manifests.sort_by(|a, b| a.annotations.get(NAME).cmp(&b.annotations.get(NAME)));
        self.write(&self.0.join("index.json"), &bytes(&index))?;
        Ok(replaced)
    }

    fn write(&self, path: &Path, content: &[u8]) -> Result<(), ImageError> {
        let mut file = NamedTempFile::new_in(&self.0).map_err(failed(&self.0))?;
        file.write_all(content).map_err(failed(path))?;
        keep(file, path)
    }
}

/// Gives a file that is whole its name.
fn keep(file: NamedTempFile, path: &Path) -> Result<(), ImageError> {
    file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644)).map_err(failed(path))?;
    file.persist(path).map_err(|error| failed(path)(error.error))?;
    Ok(())
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, ImageError> {
    match std::fs::read(path) {
        Ok(content) => serde_json::from_slice(&content)
            .map(Some)
            .map_err(|error| unfit(path, format!("it is damaged ({error}): remove it"))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(path)(error)),
    }
}

fn bytes(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("keys are strings, and nothing else can fail")
}

/// An image's configuration (image-spec 1.1, config.md).
fn config(image: &Image, layer: &Digest) -> Value {
    let ports: Map<String, Value> = image.ports.iter().map(|port| (port.clone(), json!({}))).collect();
    let env: Vec<_> = image.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "config": {
            "User": image.user.map_or_else(String::new, |user| user.to_string()),
            "ExposedPorts": ports,
            "Env": env,
            "Entrypoint": image.entrypoint,
            "Cmd": image.command,
            "WorkingDir": "/",
        },
        // Without compression a layer's digest is that of its tar.
        "rootfs": { "type": "layers", "diff_ids": [layer] },
        "history": [{ "created_by": "seaworthy" }],
    })
}

//! Layers: a tar of files and the folders above them, the same bytes for the same files.

use std::collections::BTreeSet;
use std::fs::{File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;

use super::{Digest, ImageError, ImageFile, failed, unfit};

/// A writer that knows the digest and the number of what went through it.
pub(super) struct Hashing<W> {
    inner: W,
    hash: digest::Context,
    size: u64,
}

impl<W: Write> Hashing<W> {
    pub(super) fn new(inner: W) -> Self {
        Self { inner, hash: digest::Context::new(&digest::SHA256), size: 0 }
    }

    pub(super) fn finish(self) -> (W, Digest, u64) {
        (self.inner, self.hash.finish().into(), self.size)
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// What tells whether a file is the one that was read before. A change of its content changes its ctime.
fn state(metadata: &Metadata) -> [u64; 5] {
    let nanoseconds = metadata.ctime_nsec().cast_unsigned();
    [metadata.dev(), metadata.ino(), metadata.size(), metadata.ctime().cast_unsigned(), nanoseconds]
}

fn looked_at(file: &ImageFile) -> Result<Metadata, ImageError> {
    let metadata = std::fs::metadata(&file.source).map_err(failed(&file.source))?;
    if metadata.is_file() { Ok(metadata) } else { Err(unfit(&file.source, "it is no file: an image is made of files")) }
}

/// Names the layer before it is made: equal keys, equal layers.
pub(super) fn key(files: &[ImageFile]) -> Result<Digest, ImageError> {
    let mut text = "layer 1\n".to_owned();
    for file in files {
        let metadata = looked_at(file)?;
        text += &format!("{:?} {:?} {:o} {:?}\n", file.at, file.source, file.mode, state(&metadata));
    }
    Ok(Digest::of(text.as_bytes()))
}

/// Writes the layer of these files.
pub(super) fn write(files: &[ImageFile], to: impl Write, shown: &Path) -> Result<(), ImageError> {
    let mut tar = tar::Builder::new(to);
    let inside = |path: &Path| path.strip_prefix("/").unwrap_or(path).to_owned();
    let above = |file: &ImageFile| file.at.ancestors().skip(1).map(inside).collect::<Vec<_>>();
    let folders: BTreeSet<PathBuf> = files.iter().flat_map(above).filter(|path| path != Path::new("")).collect();
    for folder in folders {
        let mut header = header(tar::EntryType::Directory, 0, 0o755);
        tar.append_data(&mut header, folder, io::empty()).map_err(failed(shown))?;
    }
    for file in files {
        let before = looked_at(file)?;
        let content = File::open(&file.source).map_err(failed(&file.source))?;
        let mut header = header(tar::EntryType::Regular, before.size(), file.mode);
        tar.append_data(&mut header, inside(&file.at), content.take(before.size())).map_err(failed(shown))?;
        if state(&before) != state(&looked_at(file)?) {
            return Err(unfit(&file.source, "it changed while it was read; try again when it is whole"));
        }
    }
    tar.finish().map_err(failed(shown))
}

/// A header without anything of the machine or the moment.
fn header(kind: tar::EntryType, size: u64, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

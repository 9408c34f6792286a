//! How long the disk takes to keep what etcd writes.

use std::fs::OpenOptions;
use std::io::{Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Instant;

use serde_json::json;

use super::{At as _, Tried};

/// As many bytes as etcd's write-ahead log takes for a usual request; what fio runs for etcd use too.
const WRITE: usize = 2300;
const WRITES: usize = 100;

/// Writes to a file without a name in etcd's folder, or where that would be, and syncs after each write.
pub(super) fn fsync(root: &Path) -> Tried {
    let places = ["var/lib/etcd", "var/lib", "var"];
    let folder =
        places.iter().map(|place| root.join(place)).find(|path| path.is_dir()).unwrap_or_else(|| root.to_owned());
    // O_TMPFILE: the file never has a name, so nothing is left behind however this ends.
    let file = OpenOptions::new()
        .write(true)
        .custom_flags(nix::libc::O_TMPFILE | nix::libc::O_CLOEXEC)
        .mode(0o600)
        .open(&folder);
    let mut file = file.at("opening a file without a name")?;
    file.write_all(&vec![0; WRITE * WRITES]).at("writing")?;
    file.sync_all().at("syncing")?;
    file.rewind().at("going back")?;
    let mut micros = Vec::with_capacity(WRITES);
    for number in 0..WRITES {
        let content = [u8::try_from(number % 251).unwrap_or(0); WRITE];
        let begun = Instant::now();
        file.write_all(&content).at("writing")?;
        file.sync_data().at("syncing")?;
        micros.push(u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX));
    }
    micros.sort_unstable();
    let place = Path::new("/").join(folder.strip_prefix(root).unwrap_or(&folder));
    Ok(json!({ "path": place, "writes": WRITES, "p50": micros[WRITES / 2], "p99": micros[WRITES * 99 / 100] }))
}

//! Faults of disks.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What is wrong with a disk. By default nothing is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How much longer each fsync takes.
    pub fsync: Duration,
    /// How much longer each read takes that the kernel cannot answer from memory.
    pub read: Duration,
    /// How much longer each write takes.
    pub write: Duration,
    /// So many bytes can still be allocated, counted from when this is set; then writes fail with ENOSPC.
    pub free: Option<u64>,
    /// Reads that the kernel cannot answer from memory fail with EIO.
    pub read_errors: bool,
}

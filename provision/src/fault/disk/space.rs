//! How much of the disk is free, when that is limited.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};

/// What is allocated at once, in bytes.
const BLOCK: u64 = 4096;

/// The bytes that can still be allocated, if that is limited.
#[derive(Debug, Default)]
pub(super) struct Space(Mutex<Option<u64>>);

impl Space {
    fn left(&self) -> MutexGuard<'_, Option<u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn limit(&self, free: Option<u64>) {
        *self.left() = free;
    }

    pub(super) fn free(&self) -> Option<u64> {
        *self.left()
    }

    pub(super) fn give_back(&self, bytes: u64) {
        if let Some(left) = &mut *self.left() {
            *left = left.saturating_add(bytes);
        }
    }

    /// Writes what there is room for, and says how much that was.
    pub(super) fn write(&self, file: &File, data: &[u8], offset: u64) -> io::Result<usize> {
        let mut left = self.left();
        let Some(left) = &mut *left else {
            drop(left);
            return file.write_at(data, offset);
        };
        let mut written = 0;
        while written < data.len() {
            // Block by block, since some may be allocated already and need no room.
            let at = offset + written as u64;
            let length = usize::try_from(BLOCK - at % BLOCK).unwrap_or(data.len()).min(data.len() - written);
            let before = file.metadata()?;
            let chunk = file.write_at(&data[written..written + length], at)?;
            let grown = file.metadata()?.blocks().saturating_sub(before.blocks()) * 512;
            let Some(rest) = left.checked_sub(grown) else {
                // The block was not there before, so taking it away again loses nothing.
                if at + chunk as u64 > before.len() {
                    file.set_len(before.len())?;
                } else {
                    let hole = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
                    fallocate(file, hole, signed(at - at % BLOCK)?, signed(BLOCK)?)?;
                }
                break;
            };
            *left = rest;
            written += chunk;
        }
        if written == 0 && !data.is_empty() { Err(Errno::ENOSPC.into()) } else { Ok(written) }
    }

    /// Allocates a range. It fails if the whole of it would not fit, even where parts are allocated already.
    pub(super) fn allocate(&self, file: &File, flags: FallocateFlags, offset: u64, length: u64) -> io::Result<()> {
        let mut left = self.left();
        let frees = flags.contains(FallocateFlags::FALLOC_FL_PUNCH_HOLE);
        if !frees && left.is_some_and(|left| length.next_multiple_of(BLOCK) > left) {
            return Err(Errno::ENOSPC.into());
        }
        let before = file.metadata()?.blocks();
        fallocate(file, flags, signed(offset)?, signed(length)?)?;
        let grown = file.metadata()?.blocks().saturating_sub(before) * 512;
        if let Some(left) = &mut *left {
            *left = left.saturating_sub(grown);
        }
        Ok(())
    }
}

fn signed(number: u64) -> io::Result<i64> {
    Ok(i64::try_from(number).map_err(|_| Errno::EFBIG)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_much_is_written_as_there_is_room_for() {
        // The file system of the working directory: the one for temporary files may allocate in large pieces.
        let file = tempfile::tempfile_in(".").unwrap();
        let space = Space::default();
        let block = usize::try_from(BLOCK).unwrap();
        assert_eq!(space.write(&file, &vec![1; 2 * block], 0).unwrap(), 2 * block);
        space.limit(Some(3 * BLOCK));
        // What is allocated can be written, and three blocks more.
        assert_eq!(space.write(&file, &vec![2; 10 * block], 100).unwrap(), 5 * block - 100);
        assert_eq!((space.free(), file.metadata().unwrap().len()), (Some(0), 5 * BLOCK));
        let full = |result: io::Result<usize>| result.unwrap_err().raw_os_error() == Some(Errno::ENOSPC as i32);
        assert!(full(space.write(&file, b"x", 5 * BLOCK)));
        assert_eq!(space.write(&file, b"x", 4 * BLOCK).unwrap(), 1);
        // A hole in the middle stays one.
        file.set_len(20 * BLOCK).unwrap();
        assert!(full(space.write(&file, b"x", 10 * BLOCK + 7)));
        let mut byte = [1];
        file.read_exact_at(&mut byte, 10 * BLOCK + 7).unwrap();
        assert_eq!((byte, file.metadata().unwrap().len()), ([0], 20 * BLOCK));
        assert!(space.allocate(&file, FallocateFlags::empty(), 20 * BLOCK, 1).is_err());
        space.give_back(BLOCK);
        space.allocate(&file, FallocateFlags::empty(), 20 * BLOCK, 1).unwrap();
        assert_eq!(space.free(), Some(0));
    }
}

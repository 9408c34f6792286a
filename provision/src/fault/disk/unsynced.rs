//! What a file held when it was last synced, as far as it was changed since.
//!
//! Changes go to the file at once; kept here are its size and the pages that were overwritten or cut off. So a read
//! costs nothing extra, syncing is forgetting, and losing power is putting back.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

/// What is kept at once, in bytes.
const PAGE: u64 = 4096;

/// The file before what was not synced.
#[derive(Debug)]
pub(super) struct Unsynced {
    size: u64,
    /// Pages by their number. The last one of a file may be short.
    pages: BTreeMap<u64, Vec<u8>>,
}

impl Unsynced {
    /// The file is about to be changed for the first time since it was synced.
    pub(super) fn begin(file: &File) -> io::Result<Self> {
        Ok(Self { size: file.metadata()?.len(), pages: BTreeMap::new() })
    }

    /// This range of the file, in bytes, is about to be overwritten or cut off. The file has to be open for reading.
    pub(super) fn keep(&mut self, file: &File, range: Range<u64>) -> io::Result<()> {
        let end = range.end.min(self.size);
        if range.start >= end {
            return Ok(());
        }
        for number in range.start / PAGE..end.div_ceil(PAGE) {
            if self.pages.contains_key(&number) {
                continue;
            }
            let begins = number * PAGE;
            let mut page = vec![0; usize::try_from(PAGE.min(self.size - begins)).unwrap_or_default()];
            // Not yet kept, so not yet cut off: it is there whole.
            file.read_exact_at(&mut page, begins)?;
            self.pages.insert(number, page);
        }
        Ok(())
    }

    /// Makes the file what it was. It has to be open for writing.
    pub(super) fn put_back(&self, file: &File) -> io::Result<()> {
        file.set_len(self.size)?;
        self.pages.iter().try_for_each(|(number, page)| file.write_all_at(page, number * PAGE))
    }

    /// How much is kept, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.pages.values().map(|page| page.len() as u64).sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Write(u64, usize),
        Resize(u64),
        Sync,
    }

    fn step() -> impl Strategy<Value = Step> {
        let size = 0..5 * PAGE;
        prop_oneof![
            4 => (size.clone(), 1..9000_usize).prop_map(|(at, length)| Step::Write(at, length)),
            2 => size.prop_map(Step::Resize),
            1 => Just(Step::Sync),
        ]
    }

    proptest! {
        #[test]
        fn what_was_synced_comes_back(steps in proptest::collection::vec(step(), 1..40)) {
            let file = tempfile::tempfile().unwrap();
            let read = || {
                let mut content = vec![0; file.metadata().unwrap().len() as usize];
                file.read_exact_at(&mut content, 0).unwrap();
                content
            };
            let (mut unsynced, mut synced): (Option<Unsynced>, _) = (None, Vec::new());
            for (number, step) in steps.into_iter().enumerate() {
                let begun = |unsynced: Option<Unsynced>| unsynced.unwrap_or_else(|| Unsynced::begin(&file).unwrap());
                match step {
                    Step::Write(at, length) => {
                        let mut kept = begun(unsynced);
                        kept.keep(&file, at..at + length as u64).unwrap();
                        file.write_all_at(&vec![number as u8 + 1; length], at).unwrap();
                        unsynced = Some(kept);
                    }
                    Step::Resize(size) => {
                        let mut kept = begun(unsynced);
                        kept.keep(&file, size..u64::MAX).unwrap();
                        file.set_len(size).unwrap();
                        unsynced = Some(kept);
                    }
                    Step::Sync => {
                        unsynced = None;
                        synced = read();
                    }
                }
            }
            if let Some(unsynced) = unsynced {
                unsynced.put_back(&file).unwrap();
            }
            prop_assert!(read() == synced);
        }
    }
}

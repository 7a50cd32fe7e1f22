//! What a crash left at the end of the write-ahead log: a record of which not all was written.
//!
//! RocksDB drops it without a word (a record that is whole and wrong is an error instead). It was never acknowledged, since
//! a commit returns only once its record is on the disk; but whoever looks after a log wants to know. Format: RocksDB's
//! log: blocks of 32 KiB, each fragment behind a header of checksum (4), length (2, little-endian) and type (1).

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

const BLOCK_BYTES: usize = 32 * 1024;
const HEADER_BYTES: usize = 7;

/// A whole record in one fragment.
const FULL: u8 = 1;
const FIRST: u8 = 2;
const MIDDLE: u8 = 3;
const LAST: u8 = 4;

/// The end of a write-ahead log that was cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The file.
    pub file: PathBuf,
    /// Bytes of whole records before it.
    pub whole_bytes: u64,
    /// Bytes after them, which are dropped.
    pub torn_bytes: u64,
}

/// Looks at the newest write-ahead log of a database that is not open. `None` where it ends with a whole record, or cannot
/// be understood: opening the database says more then.
pub(super) fn look(dir: &Path) -> Option<TornTail> {
    let files = std::fs::read_dir(dir).ok()?;
    let logs = files.filter_map(|file| {
        let path = file.ok()?.path();
        let number: u64 = path
            .file_name()?
            .to_str()?
            .strip_suffix(".log")?
            .parse()
            .ok()?;
        Some((number, path))
    });
    let (_, file) = logs.max()?;
    let (whole_bytes, all_bytes) = measure(&mut File::open(&file).ok()?)?;
    let torn_bytes = all_bytes.checked_sub(whole_bytes)?;
    (torn_bytes > 0).then_some(TornTail {
        file,
        whole_bytes,
        torn_bytes,
    })
}

/// Where the last whole record ends, and where the file does.
fn measure(file: &mut File) -> Option<(u64, u64)> {
    let (mut whole, mut start) = (0, 0_u64);
    let mut is_inside = false;
    loop {
        let mut block = Vec::with_capacity(BLOCK_BYTES);
        let limit = u64::try_from(BLOCK_BYTES).ok()?;
        file.take(limit).read_to_end(&mut block).ok()?;
        let length = u64::try_from(block.len()).ok()?;
        let mut rest = block.as_slice();
        while let Some((header, after)) = rest.split_first_chunk::<HEADER_BYTES>() {
            let [_, _, _, _, low, high, kind] = *header;
            let Some(after) = after.get(usize::from(u16::from_le_bytes([low, high]))..) else {
                // Cut off, or wrong in the middle of the file, which opening tells.
                return (block.len() < BLOCK_BYTES).then_some((whole, start.checked_add(length)?));
            };
            let end =
                start.checked_add(u64::try_from(block.len().checked_sub(after.len())?).ok()?)?;
            match (kind, is_inside) {
                (FULL, false) => whole = end,
                (FIRST, false) => is_inside = true,
                (MIDDLE, true) => {}
                (LAST, true) => (whole, is_inside) = (end, false),
                _ => return None,
            }
            rest = after;
        }
        start = start.checked_add(length)?;
        if block.len() < BLOCK_BYTES {
            return Some((whole, start));
        }
        // What is left of a block is too short for a header, and filled with zeros.
        if !is_inside {
            whole = start;
        }
    }
}

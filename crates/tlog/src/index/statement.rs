//! One leaf of the output log: the map after so many entries of the log.
//!
//! The leaf at index `n` is of the first `(n + 1) * 16` entries, so the output log follows from the log alone: whoever
//! builds the index again, in whatever batches, gets the same leaves. That is what makes the index safe to delete: a new
//! one cannot contradict what was signed.

use super::STEP;
use super::cursor::Cursor;
use crate::hash::Hash;

/// What every leaf begins with, so that it is nothing else that the key signs for.
const MAGIC: &[u8] = b"quorix/v1/index\0";

/// The state of the map at one size of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Root of the trie.
    pub map_root: Hash,
    /// Keys in it.
    pub keys: u64,
    /// Entries of the log that the map covers.
    pub input_size: u64,
    /// Root of the log at that size.
    pub input_root: Hash,
}

impl Statement {
    /// The leaf's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        [
            MAGIC,
            self.map_root.as_bytes(),
            &self.keys.to_be_bytes(),
            &self.input_size.to_be_bytes(),
            self.input_root.as_bytes(),
        ]
        .concat()
    }

    /// Reads what [`Statement::to_bytes`] gives; `None` for any other bytes.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut cursor = Cursor(bytes.strip_prefix(MAGIC)?);
        let statement = Self {
            map_root: cursor.hash()?,
            keys: cursor.u64()?,
            input_size: cursor.u64()?,
            input_root: cursor.hash()?,
        };
        cursor.is_at_end().then_some(statement)
    }

    /// Size of the log that the leaf at this index is of.
    #[must_use]
    pub const fn input_size_at(index: u64) -> Option<u64> {
        match index.checked_add(1) {
            Some(count) => count.checked_mul(STEP),
            None => None,
        }
    }
}

//! The entries of one key: an ordered list of indices, as a small RFC 6962 log of its own.
//!
//! The value of a key in the trie is the length of its list and the root over it, so that a list of the right length
//! with the right root is the whole list: nothing can be left out of it, nothing added, nothing moved.

use crate::compact_range::{CompactRange, CompactRangeError};
use crate::hash::{HASH_LENGTH, Hash, leaf_hash};

/// Bytes of a value: the length of the list, big-endian, and its root.
pub const VALUE_LENGTH: usize = 8 + HASH_LENGTH;

/// What the trie holds of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value {
    /// How many entries concern the key; never 0.
    pub length: u64,
    /// RFC 6962 root over their indices, each as 8 bytes, big-endian.
    pub root: Hash,
}

impl Value {
    /// The bytes that are hashed into the trie.
    #[must_use]
    pub fn to_bytes(self) -> [u8; VALUE_LENGTH] {
        let mut bytes = [0; VALUE_LENGTH];
        let (length, root) = bytes.split_at_mut(8);
        length.copy_from_slice(&self.length.to_be_bytes());
        root.copy_from_slice(self.root.as_bytes());
        bytes
    }

    /// Reads what [`Value::to_bytes`] gives.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; VALUE_LENGTH]) -> Self {
        let (mut length, mut root) = ([0; 8], [0; HASH_LENGTH]);
        let (head, tail) = bytes.split_at(8);
        length.copy_from_slice(head);
        root.copy_from_slice(tail);
        Self {
            length: u64::from_be_bytes(length),
            root: Hash::from_bytes(root),
        }
    }
}

/// A list that can grow, without its indices: only what their root takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyList {
    range: CompactRange,
}

impl KeyList {
    /// The list without entries.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            range: CompactRange::new(),
        }
    }

    /// Restores what [`KeyList::length`] and [`KeyList::nodes`] gave.
    ///
    /// # Errors
    /// The number of hashes does not fit the length.
    pub fn from_parts(length: u64, nodes: Vec<Hash>) -> Result<Self, CompactRangeError> {
        Ok(Self {
            range: CompactRange::from_parts(length, nodes)?,
        })
    }

    /// Adds the index of an entry. It is greater than all before it; that is not checked here.
    pub fn push(&mut self, index: u64) {
        self.range.push(leaf_hash(&index.to_be_bytes()));
    }

    /// How many indices it has.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.range.size()
    }

    /// Roots of its perfect subtrees, largest first.
    #[must_use]
    pub fn nodes(&self) -> &[Hash] {
        self.range.nodes()
    }

    /// What the trie holds of it.
    #[must_use]
    pub fn value(&self) -> Value {
        Value {
            length: self.range.size(),
            root: self.range.root(),
        }
    }
}

impl FromIterator<u64> for KeyList {
    fn from_iter<I: IntoIterator<Item = u64>>(indices: I) -> Self {
        let mut list = Self::new();
        for index in indices {
            list.push(index);
        }
        list
    }
}

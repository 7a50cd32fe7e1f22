//! The map of a log made from its entries, step by step: what the follower signs and what an auditor compares.
//!
//! Reads only what earlier steps left in the store, and writes nothing: changes are handed out to be written at once.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use quorix_tlog::compact_range::CompactRange;
use quorix_tlog::hash::{Hash, leaf_hash};
use quorix_tlog::index::Key;
use quorix_tlog::index::key_list::{KeyList, Value};
use quorix_tlog::index::statement::Statement;
use quorix_tlog::index::trie::{Trie, TrieError};
use quorix_trust::ports::{Head, ListGrowth, LogIndexBatch, LogIndexStore, StoredList, TreeBatch};
use quorix_wire::index::{Concern, concern};

use super::IndexError;
use super::reader::Pages;
use crate::tree::Tree;

/// The map in memory, ahead of the store by what was not taken yet. Of no use any more after an error.
pub(super) struct Maker {
    trie: Trie,
    output: Tree,
    /// The covered entries of the log.
    input: CompactRange,
    keys: u64,
    lists: HashMap<Key, (KeyList, Vec<u64>)>,
    leaves: HashMap<Hash, Key>,
}

impl Maker {
    /// Goes on from what is stored: the output log, the covered entries, and how many keys the map has.
    pub(super) fn new(output: Tree, input: CompactRange, keys: u64) -> Self {
        Self {
            trie: Trie::new(),
            output,
            input,
            keys,
            lists: HashMap::new(),
            leaves: HashMap::new(),
        }
    }

    /// Entries that the map covers.
    pub(super) const fn covered(&self) -> u64 {
        self.input.size()
    }

    /// Root of the covered entries.
    pub(super) fn input_root(&self) -> Hash {
        self.input.root()
    }

    /// Keys in the map.
    pub(super) const fn keys(&self) -> u64 {
        self.keys
    }

    /// The output log.
    pub(super) const fn output(&self) -> &Tree {
        &self.output
    }

    /// One step: 16 entries, one leaf of the output log.
    pub(super) fn step<'a>(
        &mut self,
        store: &dyn LogIndexStore,
        entries: impl Iterator<Item = &'a [u8]>,
    ) -> Result<(), IndexError> {
        let mut changes = BTreeMap::new();
        for entry in entries {
            let index = self.covered();
            let leaf = leaf_hash(entry);
            for key in self.keys_of(store, &leaf, entry)? {
                let value = self.grow(store, key, index)?;
                changes.insert(key, value);
            }
            self.input.push(leaf);
        }
        let changes: Vec<_> = changes.into_iter().collect();
        let map_root = self.trie.set(&Pages(store), &changes);
        let statement = Statement {
            map_root: map_root.map_err(unusable)?,
            keys: self.keys,
            input_size: self.covered(),
            input_root: self.input.root(),
        };
        let bytes = statement.to_bytes();
        self.output
            .append(&bytes, leaf_hash(&bytes))
            .map_err(|error| damaged(error.to_string()))
    }

    /// Everything since the last take, to be written at once with the head that it leads to.
    pub(super) fn take(&mut self, head: Head) -> LogIndexBatch {
        let lists = std::mem::take(&mut self.lists).into_iter();
        let lists = lists.map(|(key, (list, added))| ListGrowth {
            key,
            added,
            list: StoredList {
                length: list.length(),
                nodes: list.nodes().to_vec(),
            },
        });
        LogIndexBatch {
            pages: self.trie.take_changed(),
            lists: lists.collect(),
            leaves: std::mem::take(&mut self.leaves).into_iter().collect(),
            output: TreeBatch {
                tiles: self.output.take_changed(),
                leaves: Vec::new(),
                blobs: Vec::new(),
                head,
            },
        }
    }

    /// The keys that an entry concerns.
    fn keys_of(
        &mut self,
        store: &dyn LogIndexStore,
        leaf: &Hash,
        entry: &[u8],
    ) -> Result<BTreeSet<Key>, IndexError> {
        let mut keys = BTreeSet::new();
        match concern(entry) {
            Concern::Nothing => {}
            Concern::Output(key) => {
                self.leaves.insert(*leaf, key);
                keys.insert(key);
            }
            Concern::Withdrawn(withdrawn) => {
                for leaf in withdrawn {
                    let key = match self.leaves.get(&leaf) {
                        Some(key) => Some(*key),
                        None => store.key_of(&leaf)?,
                    };
                    keys.extend(key);
                }
            }
        }
        Ok(keys)
    }

    /// Adds an entry to a key's list.
    fn grow(
        &mut self,
        store: &dyn LogIndexStore,
        key: Key,
        index: u64,
    ) -> Result<Value, IndexError> {
        if !self.lists.contains_key(&key) {
            let known = self.trie.get(&Pages(store), &key).map_err(unusable)?;
            let list = match known {
                None => {
                    self.keys = self.keys.saturating_add(1);
                    KeyList::new()
                }
                Some(value) => {
                    let stored = store.list(&key)?;
                    let list = stored
                        .and_then(|stored| KeyList::from_parts(stored.length, stored.nodes).ok());
                    list.filter(|list| list.value() == value)
                        .ok_or_else(|| damaged(format!("the list of {key} is not the map's")))?
                }
            };
            self.lists.insert(key, (list, Vec::new()));
        }
        let (list, added) = self
            .lists
            .get_mut(&key)
            .ok_or_else(|| damaged("a list was lost".to_owned()))?;
        list.push(index);
        added.push(index);
        Ok(list.value())
    }
}

/// A page that could not be read may be there the next time; one that is wrong stays wrong.
pub(super) fn unusable(error: TrieError<quorix_trust::ports::StoreError>) -> IndexError {
    match error {
        TrieError::Read(error) => IndexError::Store(error),
        error @ TrieError::Damaged { .. } => damaged(error.to_string()),
    }
}

pub(super) fn damaged(reason: String) -> IndexError {
    IndexError::Damaged { reason }
}

//! The index of a log in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use quorix_tlog::hash::Hash;
use quorix_tlog::index::Key;
use quorix_tlog::index::page::PageId;
use quorix_tlog::tile::TileId;
use quorix_trust::attestation::BlobId;
use quorix_trust::ports::{
    CommitError, Head, LogIndexBatch, LogIndexStore, StoreError, StoredList, TileStore,
};

use super::Tree;
use crate::faults::Fault;

/// The index of a log in memory. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct MemoryLogIndex {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    output: Tree,
    pages: BTreeMap<PageId, Vec<u8>>,
    lists: BTreeMap<Key, StoredList>,
    indices: BTreeSet<(Key, u64)>,
    leaves: BTreeMap<Hash, Key>,
    fault: Option<Fault>,
}

impl MemoryLogIndex {
    /// The next step fails in this way.
    pub fn fail_next_step(&self, fault: Fault) {
        self.state().fault = Some(fault);
    }

    /// Changes the list of a key behind the index's back, as a lying log would.
    pub fn forget(&self, key: &Key, index: u64) {
        self.state().indices.remove(&(*key, index));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("no test panics while it holds the store")
    }
}

impl TileStore for MemoryLogIndex {
    fn head(&self) -> Result<Option<Head>, StoreError> {
        Ok(self.state().output.head.clone())
    }

    fn tile(&self, id: TileId) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.state().output.tiles.get(&id).cloned())
    }

    fn blob(&self, _: &BlobId) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(None)
    }

    fn index_of(&self, _: &Hash) -> Result<Option<u64>, StoreError> {
        Ok(None)
    }
}

impl LogIndexStore for MemoryLogIndex {
    fn page(&self, id: &PageId) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.state().pages.get(id).cloned())
    }

    fn list(&self, key: &Key) -> Result<Option<StoredList>, StoreError> {
        Ok(self.state().lists.get(key).cloned())
    }

    fn indices(&self, key: &Key, from: u64, limit: usize) -> Result<Vec<u64>, StoreError> {
        let state = self.state();
        let of_key = state.indices.range((*key, from)..=(*key, u64::MAX));
        Ok(of_key.take(limit).map(|(_, index)| *index).collect())
    }

    fn key_of(&self, leaf: &Hash) -> Result<Option<Key>, StoreError> {
        Ok(self.state().leaves.get(leaf).copied())
    }

    fn advance(&self, expected: u64, batch: &LogIndexBatch) -> Result<(), CommitError> {
        let mut state = self.state();
        let fault = state.fault.take();
        if fault != Some(Fault::NotWritten) {
            state.output.commit(expected, &batch.output)?;
            state.pages.extend(batch.pages.iter().cloned());
            state.leaves.extend(batch.leaves.iter().copied());
            for growth in &batch.lists {
                let added = growth.added.iter().map(|index| (growth.key, *index));
                state.indices.extend(added);
                state.lists.insert(growth.key, growth.list.clone());
            }
        }
        match fault {
            None => Ok(()),
            Some(_) => Err(CommitError::Store(StoreError {
                operation: "writing a step of the index".to_owned(),
                reason: "the disk said no".to_owned(),
            })),
        }
    }
}

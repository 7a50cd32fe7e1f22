//! The ports of `quorix-trust` in memory: the simplest thing that is right.
//!
//! Nothing here is fast and nothing survives the process; a clone is the same store, so that a test can "reopen" it.

mod index;
mod log_index;
mod witness;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use quorix_tlog::hash::Hash;
use quorix_tlog::tile::TileId;
use quorix_trust::attestation::BlobId;
use quorix_trust::ports::{
    CommitError, Head, LogBatch, LogStore, StoreError, TileStore, TreeBatch,
};

pub use index::MemoryIndex;
pub use log_index::MemoryLogIndex;
pub use witness::MemoryWitness;

/// One's own log in memory. Clones are the same log.
#[derive(Clone, Debug, Default)]
pub struct MemoryLog {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    tree: Tree,
    retractions: BTreeMap<Hash, u64>,
}

impl MemoryLog {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("no test panics while it holds the store")
    }
}

impl TileStore for MemoryLog {
    fn head(&self) -> Result<Option<Head>, StoreError> {
        Ok(self.state().tree.head.clone())
    }

    fn tile(&self, id: TileId) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.state().tree.tiles.get(&id).cloned())
    }

    fn blob(&self, id: &BlobId) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.state().tree.blobs.get(id).cloned())
    }

    fn index_of(&self, leaf: &Hash) -> Result<Option<u64>, StoreError> {
        Ok(self.state().tree.leaves.get(leaf).copied())
    }
}

impl LogStore for MemoryLog {
    fn retraction_of(&self, leaf: &Hash) -> Result<Option<u64>, StoreError> {
        Ok(self.state().retractions.get(leaf).copied())
    }

    fn commit(&self, expected: u64, batch: &LogBatch) -> Result<(), CommitError> {
        let mut state = self.state();
        state.tree.commit(expected, &batch.tree)?;
        state.retractions.extend(batch.retractions.iter().copied());
        Ok(())
    }
}

/// One tree: of one's own log, or of a mirror.
#[derive(Debug, Default)]
struct Tree {
    head: Option<Head>,
    tiles: BTreeMap<TileId, Vec<u8>>,
    blobs: BTreeMap<BlobId, Vec<u8>>,
    leaves: BTreeMap<Hash, u64>,
}

impl Tree {
    fn commit(&mut self, expected: u64, batch: &TreeBatch) -> Result<(), CommitError> {
        let found = self.head.as_ref().map_or(0, |head| head.size);
        if found != expected {
            return Err(CommitError::Conflict { expected, found });
        }
        self.tiles.extend(batch.tiles.iter().cloned());
        self.blobs.extend(batch.blobs.iter().cloned());
        self.leaves.extend(batch.leaves.iter().copied());
        self.head = Some(batch.head.clone());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::conformance;

    /// Opening the same directory again gives the same store.
    fn by_directory<S: Clone + Default>() -> impl Fn(&Path) -> S {
        let stores: RefCell<BTreeMap<PathBuf, S>> = RefCell::default();
        move |directory| {
            stores
                .borrow_mut()
                .entry(directory.to_path_buf())
                .or_default()
                .clone()
        }
    }

    #[test]
    fn the_log_in_memory_conforms() {
        conformance::log_store(by_directory::<MemoryLog>());
    }

    #[test]
    fn the_witness_in_memory_conforms() {
        conformance::witness_store(by_directory::<MemoryWitness>());
    }

    #[test]
    fn the_index_of_a_log_in_memory_conforms() {
        conformance::log_index_store(by_directory::<MemoryLogIndex>());
    }

    #[test]
    fn the_index_in_memory_conforms() {
        conformance::index_store(by_directory::<MemoryIndex>());
    }
}

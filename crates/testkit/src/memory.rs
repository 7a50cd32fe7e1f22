//! The ports of `quorix-trust` in memory: the simplest thing that is right.
//!
//! Nothing here is fast and nothing survives the process; a clone is the same store, so that a test can "reopen" it.
//! A power cut can be had: what was written and not synced is gone then.

mod anchor;
mod index;
mod log_index;
mod witness;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use quorix_tlog::hash::Hash;
use quorix_tlog::tile::{TILE_WIDTH, TileId};
use quorix_trust::attestation::BlobId;
use quorix_trust::ports::{
    CommitError, Head, LogBatch, LogStore, StoreError, TileStore, TreeBatch,
};

pub use anchor::MemoryAnchor;
pub use index::MemoryIndex;
pub use log_index::MemoryLogIndex;
pub use witness::MemoryWitness;

/// One's own log in memory. Clones are the same log.
#[derive(Clone, Debug, Default)]
pub struct MemoryLog {
    state: Arc<Mutex<Disk>>,
    anchor: MemoryAnchor,
}

/// What reads see, and what a power cut leaves.
#[derive(Debug, Default)]
struct Disk {
    now: State,
    /// The state at the last sync, where something was written since.
    synced: Option<State>,
}

#[derive(Clone, Debug, Default)]
struct State {
    tree: Tree,
    retractions: BTreeMap<Hash, u64>,
    published: Option<Head>,
    is_copy: bool,
}

impl Disk {
    /// Something is about to be written without a sync.
    fn unsynced(&mut self) -> &mut State {
        if self.synced.is_none() {
            self.synced = Some(self.now.clone());
        }
        &mut self.now
    }
}

impl MemoryLog {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The anchor beside it.
    #[must_use]
    pub fn anchor(&self) -> MemoryAnchor {
        self.anchor.clone()
    }

    /// The same log, opened anew: what it shows is durable.
    #[must_use]
    pub fn reopened(&self) -> Self {
        self.disk().synced = None;
        self.clone()
    }

    /// Writes a batch as [`LogStore::commit`] does, without its sync.
    ///
    /// # Errors
    /// As [`LogStore::commit`].
    pub fn commit_unsynced(&self, expected: u64, batch: &LogBatch) -> Result<(), CommitError> {
        let mut disk = self.disk();
        disk.unsynced();
        disk.now.commit(expected, batch)
    }

    /// The power goes: what was not synced is lost, of the anchor too.
    pub fn cut_power(&self) {
        let mut disk = self.disk();
        if let Some(synced) = disk.synced.take() {
            disk.now = synced;
        }
        self.anchor.cut_power();
    }

    /// Whether it is a copy that a backup made.
    pub fn mark_as_copy(&self, is_copy: bool) {
        self.disk().now.is_copy = is_copy;
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.state
            .lock()
            .expect("no test panics while it holds the store")
    }
}

impl State {
    fn commit(&mut self, expected: u64, batch: &LogBatch) -> Result<(), CommitError> {
        self.tree.commit(expected, &batch.tree)?;
        self.retractions.extend(batch.retractions.iter().copied());
        Ok(())
    }
}

impl TileStore for MemoryLog {
    fn head(&self) -> Result<Option<Head>, StoreError> {
        Ok(self.disk().now.tree.head.clone())
    }

    fn tile(&self, id: TileId) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.disk().now.tree.tiles.get(&id).cloned())
    }

    fn blob(&self, id: &BlobId) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.disk().now.tree.blobs.get(id).cloned())
    }

    fn index_of(&self, leaf: &Hash) -> Result<Option<u64>, StoreError> {
        Ok(self.disk().now.tree.leaves.get(leaf).copied())
    }

    fn tile_at_hand(&self, id: TileId) -> Result<Option<Vec<u8>>, StoreError> {
        self.tile(id)
    }
}

impl LogStore for MemoryLog {
    fn retraction_of(&self, leaf: &Hash) -> Result<Option<u64>, StoreError> {
        Ok(self.disk().now.retractions.get(leaf).copied())
    }

    fn commit(&self, expected: u64, batch: &LogBatch) -> Result<(), CommitError> {
        let mut disk = self.disk();
        disk.now.commit(expected, batch)?;
        disk.synced = None;
        Ok(())
    }

    fn published(&self) -> Result<Option<Head>, StoreError> {
        Ok(self.disk().now.published.clone())
    }

    fn note_published(&self, head: Option<&Head>) -> Result<(), StoreError> {
        self.disk().unsynced().published = head.cloned();
        Ok(())
    }

    fn backup(&self, _dir: &Path) -> Result<u64, StoreError> {
        Err(StoreError {
            operation: "making a copy of the log".to_owned(),
            reason: "a log in memory has no files".to_owned(),
        })
    }

    fn is_copy(&self) -> Result<bool, StoreError> {
        Ok(self.disk().now.is_copy)
    }

    fn confirm_copy(&self) -> Result<(), StoreError> {
        let mut disk = self.disk();
        disk.now.is_copy = false;
        disk.synced = None;
        Ok(())
    }
}

/// One tree: of one's own log, or of a mirror.
#[derive(Clone, Debug, Default)]
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
        for (id, tile) in &batch.tiles {
            let is_full = id.width_at(expected) == TILE_WIDTH;
            if is_full && self.tiles.get(id).is_some_and(|stored| stored != tile) {
                return Err(CommitError::Immutable { tile: *id });
            }
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

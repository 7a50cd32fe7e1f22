//! One's own log on RocksDB.
//!
//! One writer: the guard on the stored size and the write happen under one lock, and RocksDB's own lock keeps other
//! processes out.

use std::path::Path;

use quorix_tlog::hash::Hash;
use quorix_tlog::tile::TileId;
use quorix_trust::attestation::BlobId;
use quorix_trust::ports::{CommitError, Head, LogBatch, LogStore, StoreError, TileStore};

use crate::database::{Database, Layout, OpenError, Shape, corrupt};
use crate::tree::{self, Tree, split_u64};

/// `<leaf hash>` → index of the newest retraction that names it.
const RETRACTIONS: (&str, Shape) = ("retractions", Shape::Lookup);

const LAYOUT: Layout = Layout {
    schema: "quorix log 1",
    columns: &[
        tree::HASHES,
        tree::BUNDLES,
        tree::LEAVES,
        tree::BLOBS,
        RETRACTIONS,
    ],
};

/// The store of one's own log.
pub struct RocksLog {
    database: Database,
}

impl RocksLog {
    /// Opens the log in this directory, or makes an empty one there.
    ///
    /// # Errors
    /// It is open elsewhere, of another role or version, damaged, or the file system refuses.
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        Ok(Self {
            database: Database::open(dir, &LAYOUT)?,
        })
    }

    fn tree(&self) -> Tree<'_> {
        Tree {
            database: &self.database,
            prefix: b"",
        }
    }
}

impl TileStore for RocksLog {
    fn head(&self) -> Result<Option<Head>, StoreError> {
        self.tree().head()
    }

    fn tile(&self, id: TileId) -> Result<Option<Vec<u8>>, StoreError> {
        self.tree().tile(id)
    }

    fn blob(&self, id: &BlobId) -> Result<Option<Vec<u8>>, StoreError> {
        self.tree().blob(id)
    }

    fn index_of(&self, leaf: &Hash) -> Result<Option<u64>, StoreError> {
        Ok(self.tree().leaf(leaf)?.map(|(index, _)| index))
    }
}

impl LogStore for RocksLog {
    fn retraction_of(&self, leaf: &Hash) -> Result<Option<u64>, StoreError> {
        const OPERATION: &str = "looking up a retraction";
        let Some(bytes) = self
            .database
            .get(RETRACTIONS.0, leaf.as_bytes(), OPERATION)?
        else {
            return Ok(None);
        };
        let (index, _) =
            split_u64(&bytes).ok_or_else(|| corrupt(OPERATION, "the stored index is cut off"))?;
        Ok(Some(index))
    }

    fn commit(&self, expected: u64, batch: &LogBatch) -> Result<(), CommitError> {
        let _writer = self.database.lock();
        self.tree().check_size(expected)?;
        let mut writes = self.database.batch();
        self.tree()
            .write(&mut writes, &batch.tree, |_| Vec::new())?;
        for (leaf, index) in &batch.retractions {
            writes.put(RETRACTIONS.0, leaf.as_bytes(), &index.to_be_bytes())?;
        }
        Ok(writes.commit("committing to the log")?)
    }
}

#[cfg(test)]
mod tests;

//! One's own log on RocksDB.
//!
//! One writer: the guard on the stored size and the write happen under one lock, and RocksDB's own lock keeps other
//! processes out.

use std::path::Path;

use quorix_tlog::hash::Hash;
use quorix_tlog::tile::TileId;
use quorix_trust::attestation::BlobId;
use quorix_trust::ports::{CommitError, Head, LogBatch, LogStore, StoreError, TileStore};

use crate::database::{Database, Layout, META, OpenError, Shape, TornTail, corrupt, sync_parent};
use crate::tree::{self, Cut, Tree, split_u64};

/// `<leaf hash>` → index of the newest retraction that names it.
const RETRACTIONS: (&str, Shape) = ("retractions", Shape::Lookup);

/// The published head, cosignatures included. Not there where the newest head is published as it is.
const PUBLISHED: &[u8] = b"published";

/// There in a copy that a backup made, until it is confirmed.
const COPY: &[u8] = b"copy";

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

    /// Opens the log in this directory only to read what is in its files now. Needs no lock and no room on the disk; for the
    /// time in which [`open`](Self::open) fails. Commits to it fail.
    ///
    /// # Errors
    /// It is of another role or version, damaged, or the file system refuses.
    pub fn open_to_read(dir: &Path) -> Result<Self, OpenError> {
        Ok(Self {
            database: Database::open_to_read(dir, &LAYOUT)?,
        })
    }

    /// The unfinished write that was dropped when the log was opened: of a crash or a power cut, and never acknowledged.
    /// Of a log that was opened to read, the one that will be dropped; while its process writes it, perhaps one under way.
    #[must_use]
    pub const fn torn(&self) -> Option<&TornTail> {
        self.database.torn()
    }

    /// Bytes on disk of each part of the database, by its name: `hashes`, `bundles`, `leaves`, `blobs`, `retractions`.
    /// What was written since the database was opened may still be in the write-ahead log, which is not counted.
    ///
    /// # Errors
    /// The database failed.
    pub fn sizes(&self) -> Result<Vec<(&'static str, u64)>, StoreError> {
        let parts = LAYOUT.columns.iter();
        parts
            .map(|(name, _)| Ok((*name, self.database.bytes_on_disk(name)?)))
            .collect()
    }

    fn tree(&self) -> Tree<'_> {
        Tree {
            database: &self.database,
            prefix: b"",
            cut: Cut::Whole,
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

    fn indices_of(&self, leaves: &[Hash]) -> Result<Vec<Option<u64>>, StoreError> {
        self.tree().leaves(leaves)
    }

    fn tile_at_hand(&self, id: TileId) -> Result<Option<Vec<u8>>, StoreError> {
        self.tree().tile_at_hand(id)
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
        self.tree().check_full_tiles(expected, &batch.tree)?;
        let bytes = self.tree().bytes_of(&batch.tree, 0);
        let mut writes = self.database.batch_of(bytes);
        self.tree()
            .write(&mut writes, &batch.tree, |_| Vec::new())?;
        for (leaf, index) in &batch.retractions {
            writes.put(RETRACTIONS.0, leaf.as_bytes(), &index.to_be_bytes())?;
        }
        Ok(writes.commit("committing to the log")?)
    }

    fn published(&self) -> Result<Option<Head>, StoreError> {
        const OPERATION: &str = "reading what was published";
        let Some(bytes) = self.database.get(META, PUBLISHED, OPERATION)? else {
            return Ok(None);
        };
        let head = tree::decode_head(&bytes)
            .ok_or_else(|| corrupt(OPERATION, "the stored head is cut off"))?;
        Ok(Some(head))
    }

    fn note_published(&self, head: Option<&Head>) -> Result<(), StoreError> {
        let _writer = self.database.lock();
        let mut writes = self.database.batch();
        match head {
            Some(head) => writes.put(META, PUBLISHED, &tree::encode_head(head))?,
            None => writes.delete(META, PUBLISHED)?,
        }
        // Not synced by itself: it can be had again, and the next commit's sync covers it.
        writes.write("noting what is published")
    }

    fn backup(&self, dir: &Path) -> Result<u64, StoreError> {
        const OPERATION: &str = "making a copy of the log";
        let failed = |reason: String| StoreError {
            operation: OPERATION.to_owned(),
            reason,
        };
        if dir.exists() {
            return Err(failed(format!("{} exists already", dir.display())));
        }
        // Marked under another name, so that what bears the name of a copy is marked.
        let mut unmarked = dir.as_os_str().to_owned();
        unmarked.push(".unfinished");
        let unmarked = Path::new(&unmarked);
        if unmarked.exists() {
            return Err(failed(format!(
                "{} is left over from a copy that was not finished, or is being made; remove it if no copy is being made",
                unmarked.display()
            )));
        }
        // RocksDB copies one state of all column families; commits go on meanwhile.
        let copied = self
            .database
            .copy(unmarked, OPERATION)
            .and_then(|()| mark_as_copy(unmarked, OPERATION))
            .and_then(|size| {
                let renamed = std::fs::rename(unmarked, dir).and_then(|()| sync_parent(dir));
                renamed.map_err(|error| failed(error.to_string()))?;
                Ok(size)
            });
        if copied.is_err() {
            // Made by this call, and of no use. What matters is why it failed.
            let _ = std::fs::remove_dir_all(unmarked);
        }
        copied
    }

    fn is_copy(&self) -> Result<bool, StoreError> {
        let mark = self
            .database
            .get(META, COPY, "looking for the mark of a copy")?;
        Ok(mark.is_some())
    }

    fn confirm_copy(&self) -> Result<(), StoreError> {
        let _writer = self.database.lock();
        let mut writes = self.database.batch();
        writes.delete(META, COPY)?;
        writes.commit("taking the mark of a copy away")
    }
}

/// Marks a database as a copy, and gives the number of its entries.
fn mark_as_copy(dir: &Path, operation: &str) -> Result<u64, StoreError> {
    let copy = RocksLog::open(dir).map_err(|error| StoreError {
        operation: operation.to_owned(),
        reason: error.to_string(),
    })?;
    let mut writes = copy.database.batch();
    writes.put(META, COPY, b"")?;
    writes.commit(operation)?;
    Ok(copy.head()?.map_or(0, |head| head.size))
}

#[cfg(test)]
mod tests;

//! The verifiable index of a log on RocksDB: pages of the trie, lists, and the output log.
//!
//! All of it follows from the log: the folder can be deleted, and the index is made again. A step is one synced batch.

use std::path::Path;

use quorix_tlog::hash::Hash;
use quorix_tlog::index::Key;
use quorix_tlog::index::page::PageId;
use quorix_tlog::tile::TileId;
use quorix_trust::attestation::BlobId;
use quorix_trust::ports::{
    CommitError, Head, LogIndexBatch, LogIndexStore, StoreError, StoredList, TileStore,
};

use crate::database::{Database, Layout, OpenError, Shape, corrupt};
use crate::reopening::Reopening;
use crate::tree::{self, Cut, Tree, split_u64};

/// `<bits of the prefix> <prefix>` → page.
const PAGES: (&str, Shape) = ("pages", Shape::Lookup);
/// `<key>` → length of its list, and the hashes that its root takes.
const LISTS: (&str, Shape) = ("lists", Shape::Lookup);
/// `<key> <index>` → nothing.
const INDICES: (&str, Shape) = ("indices", Shape::Sorted);
/// `<leaf hash>` → key of the entries with it.
const KEYS: (&str, Shape) = ("keys", Shape::Lookup);

const LAYOUT: Layout = Layout {
    schema: "quorix log index 1",
    columns: &[
        tree::HASHES,
        tree::BUNDLES,
        tree::LEAVES,
        tree::BLOBS,
        PAGES,
        LISTS,
        INDICES,
        KEYS,
    ],
};

/// The store of a log's index. After a failed write it is opened anew.
pub struct RocksLogIndex {
    database: Reopening,
}

impl RocksLogIndex {
    /// Opens the index in this directory, or makes an empty one there.
    ///
    /// # Errors
    /// It is open elsewhere, of another role or version, damaged, or the file system refuses.
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        Ok(Self {
            database: Reopening::open(dir, &LAYOUT)?,
        })
    }

    /// Bytes on disk of each part of the database, by its name. What was written since the database was opened may still
    /// be in the write-ahead log, which is not counted.
    ///
    /// # Errors
    /// The database failed.
    pub fn sizes(&self) -> Result<Vec<(&'static str, u64)>, StoreError> {
        self.database.read(|database| {
            let parts = LAYOUT.columns.iter();
            parts
                .map(|(name, _)| Ok((*name, database.bytes_on_disk(name)?)))
                .collect()
        })
    }
}

const fn tree(database: &Database) -> Tree<'_> {
    Tree {
        database,
        prefix: b"",
        cut: Cut::Whole,
    }
}

impl TileStore for RocksLogIndex {
    fn head(&self) -> Result<Option<Head>, StoreError> {
        self.database.read(|database| tree(database).head())
    }

    fn tile(&self, id: TileId) -> Result<Option<Vec<u8>>, StoreError> {
        self.database.read(|database| tree(database).tile(id))
    }

    fn blob(&self, _: &BlobId) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(None)
    }

    fn index_of(&self, _: &Hash) -> Result<Option<u64>, StoreError> {
        Ok(None)
    }
}

impl LogIndexStore for RocksLogIndex {
    fn page(&self, id: &PageId) -> Result<Option<Vec<u8>>, StoreError> {
        self.database
            .read(|database| database.get(PAGES.0, &id.to_bytes(), "reading a page of the index"))
    }

    fn list(&self, key: &Key) -> Result<Option<StoredList>, StoreError> {
        const OPERATION: &str = "reading the list of a key";
        let bytes = self
            .database
            .read(|database| database.get(LISTS.0, key.as_bytes(), OPERATION))?;
        let Some(bytes) = bytes else {
            return Ok(None);
        };
        let (length, rest) =
            split_u64(&bytes).ok_or_else(|| corrupt(OPERATION, "the stored list is cut off"))?;
        let (nodes, rest) = rest.as_chunks::<32>();
        if !rest.is_empty() {
            return Err(corrupt(OPERATION, "the stored list is cut off"));
        }
        let nodes = nodes.iter().copied().map(Hash::from_bytes).collect();
        Ok(Some(StoredList { length, nodes }))
    }

    fn indices(&self, key: &Key, from: u64, limit: usize) -> Result<Vec<u64>, StoreError> {
        const OPERATION: &str = "reading the entries of a key";
        self.database.read(|database| {
            let mut indices = Vec::new();
            let first = [key.as_bytes().as_slice(), &from.to_be_bytes()].concat();
            for row in database.scan(INDICES.0, &first, OPERATION)? {
                let (row, _) = row?;
                let Some(rest) = row.strip_prefix(key.as_bytes()) else {
                    break;
                };
                if indices.len() >= limit {
                    break;
                }
                let (index, _) = split_u64(rest)
                    .ok_or_else(|| corrupt(OPERATION, "the stored index is cut off"))?;
                indices.push(index);
            }
            Ok(indices)
        })
    }

    fn key_of(&self, leaf: &Hash) -> Result<Option<Key>, StoreError> {
        const OPERATION: &str = "looking up the key of an entry";
        let bytes = self
            .database
            .read(|database| database.get(KEYS.0, leaf.as_bytes(), OPERATION))?;
        let Some(bytes) = bytes else {
            return Ok(None);
        };
        let key = <[u8; 32]>::try_from(bytes.as_slice())
            .map_err(|_| corrupt(OPERATION, "the stored key is cut off"))?;
        Ok(Some(Key::from_bytes(key)))
    }

    fn advance(&self, expected: u64, batch: &LogIndexBatch) -> Result<(), CommitError> {
        self.database
            .write(|database| advance(database, expected, batch))
    }
}

fn advance(database: &Database, expected: u64, batch: &LogIndexBatch) -> Result<(), CommitError> {
    let _writer = database.lock();
    tree(database).check_size(expected)?;
    tree(database).check_full_tiles(expected, &batch.output)?;
    let mut rows = database.batch();
    let mut pages = rows.column(PAGES.0)?;
    for (id, page) in &batch.pages {
        pages.put(&id.to_bytes(), page);
    }
    let mut lists = rows.column(LISTS.0)?;
    for growth in &batch.lists {
        let mut list = growth.list.length.to_be_bytes().to_vec();
        for node in &growth.list.nodes {
            list.extend_from_slice(node.as_bytes());
        }
        lists.put(growth.key.as_bytes(), &list);
    }
    let mut indices = rows.column(INDICES.0)?;
    for growth in &batch.lists {
        for index in &growth.added {
            let row = [growth.key.as_bytes().as_slice(), &index.to_be_bytes()].concat();
            indices.put(&row, b"");
        }
    }
    let mut keys = rows.column(KEYS.0)?;
    for (leaf, key) in &batch.leaves {
        keys.put(leaf.as_bytes(), key.as_bytes());
    }
    tree(database).write(&mut rows, &batch.output, |_| Vec::new())?;
    Ok(rows.commit("writing a step of the index")?)
}

#[cfg(test)]
mod tests {
    use super::RocksLogIndex;

    #[test]
    fn the_index_of_a_log_on_rocksdb_conforms() {
        quorix_testkit::conformance::log_index_store(|dir| RocksLogIndex::open(dir).unwrap());
    }
}

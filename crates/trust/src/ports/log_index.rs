//! The store of the verifiable index of one's own log. All of it follows from the log and can be made again.

use quorix_tlog::hash::Hash;
use quorix_tlog::index::Key;
use quorix_tlog::index::page::PageId;

use super::{CommitError, StoreError, TileStore, TreeBatch};

/// The list of one key as it is stored: what its root takes. The indices lie apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredList {
    /// How many entries it has.
    pub length: u64,
    /// Roots of its perfect subtrees, largest first.
    pub nodes: Vec<Hash>,
}

/// What is new of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListGrowth {
    /// The key.
    pub key: Key,
    /// Indices that its list gains, ascending.
    pub added: Vec<u64>,
    /// The list after that.
    pub list: StoredList,
}

/// One step of the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogIndexBatch {
    /// Pages of the trie that changed, whole.
    pub pages: Vec<(PageId, Vec<u8>)>,
    /// Lists that grew.
    pub lists: Vec<ListGrowth>,
    /// Key of each entry that has one by itself, under its leaf hash: what a later retraction of it belongs to.
    pub leaves: Vec<(Hash, Key)>,
    /// The grown output log.
    pub output: TreeBatch,
}

/// The store of a log's index. As a [`TileStore`] it is the output log's; that has no blobs and no leaves to look up.
pub trait LogIndexStore: TileStore {
    /// A page of the trie.
    ///
    /// # Errors
    /// The store failed.
    fn page(&self, id: &PageId) -> Result<Option<Vec<u8>>, StoreError>;

    /// The list of a key, without its indices.
    ///
    /// # Errors
    /// The store failed.
    fn list(&self, key: &Key) -> Result<Option<StoredList>, StoreError>;

    /// The indices of a key that are not below `from`, ascending, at most `limit`.
    ///
    /// # Errors
    /// The store failed.
    fn indices(&self, key: &Key, from: u64, limit: usize) -> Result<Vec<u64>, StoreError>;

    /// The key of the entries with this leaf hash, if they have one.
    ///
    /// # Errors
    /// The store failed.
    fn key_of(&self, leaf: &Hash) -> Result<Option<Key>, StoreError>;

    /// Writes one step in one atomic, durable step, if the output log still has `expected` leaves.
    ///
    /// # Errors
    /// As [`LogStore::commit`](super::LogStore::commit).
    fn advance(&self, expected: u64, batch: &LogIndexBatch) -> Result<(), CommitError>;
}

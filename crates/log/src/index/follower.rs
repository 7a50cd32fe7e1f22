//! Growing the index: entries in, one step of the map for every 16 of them, several steps a write.
//!
//! What it reads is checked: the hashes of the entries that it saw have to give the root that the log's tiles have at
//! that size, before a state of the map is signed.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use quorix_tlog::checkpoint::{Checkpoint, SignedCheckpoint};
use quorix_tlog::compact_range::CompactRange;
use quorix_tlog::hash::{EMPTY_ROOT, Hash, leaf_hash};
use quorix_tlog::index::Key;
use quorix_tlog::index::STEP;
use quorix_tlog::index::key_list::KeyList;
use quorix_tlog::index::statement::Statement;
use quorix_tlog::index::trie::Trie;
use quorix_tlog::note::SigningKey;
use quorix_tlog::proof::root_of;
use quorix_tlog::tile::{Edge, TILE_WIDTH};
use quorix_trust::ports::{Head, ListGrowth, LogIndexBatch, LogIndexStore, StoredList, TreeBatch};
use quorix_wire::index::{Concern, concern};

use super::IndexError;
use super::reader::{Main, Output, Pages};
use crate::published::Published;
use crate::tree::Tree;

/// Most entries of one write.
const WRITE_ENTRIES: u64 = 8_192;

/// The index in memory, ahead of the store by at most one write.
pub(super) struct Follower {
    trie: Trie,
    output: Tree,
    /// The covered entries of the log.
    input: CompactRange,
    keys: u64,
    stored: u64,
    lists: HashMap<Key, (KeyList, Vec<u64>)>,
    leaves: HashMap<Hash, Key>,
}

impl Follower {
    /// Loads what is stored and checks that it is of this log.
    pub(super) fn load(
        published: &Published,
        store: &dyn LogIndexStore,
        key: &SigningKey,
    ) -> Result<Self, IndexError> {
        let head = match store.head()? {
            Some(head) => head,
            None => begin(store, key)?,
        };
        let damaged = |reason: String| IndexError::Damaged { reason };
        let origin = key.verifier().name().as_str();
        let signed = SignedCheckpoint::open(&head.checkpoint, key.verifier(), origin)
            .map_err(|error| damaged(error.to_string()))?;
        let checkpoint = signed.checkpoint();
        if (checkpoint.size, checkpoint.root) != (head.size, head.root) {
            return Err(damaged("its checkpoint is of another tree".to_owned()));
        }
        let output = Tree::load(store, &head).map_err(|error| damaged(error.to_string()))?;
        let (covered, root, keys) = match head.size.checked_sub(1) {
            None => (0, EMPTY_ROOT, 0),
            Some(last) => {
                let statement = Statement::parse(&Output(store).leaf(last)?)
                    .filter(|found| Statement::input_size_at(last) == Some(found.input_size));
                let statement =
                    statement.ok_or_else(|| damaged("its last leaf is no state".to_owned()))?;
                (statement.input_size, statement.input_root, statement.keys)
            }
        };
        Ok(Self {
            trie: Trie::new(),
            output,
            input: covered_range(published, covered, &root)?,
            keys,
            stored: covered,
            lists: HashMap::new(),
            leaves: HashMap::new(),
        })
    }

    /// Entries that the index covers in memory.
    pub(super) const fn covered(&self) -> u64 {
        self.input.size()
    }

    /// Entries that were covered by the last write.
    pub(super) const fn stored(&self) -> u64 {
        self.stored
    }

    pub(super) const fn keys(&self) -> u64 {
        self.keys
    }

    /// The next write, with the size of the output log before it; `None` where less than a step is new. The follower is
    /// of no use any more where that, or the write, fails.
    pub(super) fn prepare(
        &mut self,
        published: &Published,
        store: &dyn LogIndexStore,
        key: &SigningKey,
    ) -> Result<Option<(u64, LogIndexBatch)>, IndexError> {
        self.stored = self.covered();
        let size = published.head().size;
        let last = self.covered().saturating_add(WRITE_ENTRIES);
        let expected = self.output.size();
        while self.covered() < last && size.saturating_sub(self.covered()) >= STEP {
            self.bundle(published, store, size.min(last))?;
        }
        if self.output.size() == expected {
            return Ok(None);
        }
        self.check_input(published)?;
        let lists = std::mem::take(&mut self.lists).into_iter();
        let lists = lists.map(|(key, (list, added))| ListGrowth {
            key,
            added,
            list: StoredList {
                length: list.length(),
                nodes: list.nodes().to_vec(),
            },
        });
        let head = signed_head(key, self.output.size(), self.output.root())?;
        let batch = LogIndexBatch {
            pages: self.trie.take_changed(),
            lists: lists.collect(),
            leaves: std::mem::take(&mut self.leaves).into_iter().collect(),
            output: TreeBatch {
                tiles: self.output.take_changed(),
                leaves: Vec::new(),
                blobs: Vec::new(),
                head,
            },
        };
        Ok(Some((expected, batch)))
    }

    /// All whole steps of one bundle of entries, up to `end`.
    fn bundle(
        &mut self,
        published: &Published,
        store: &dyn LogIndexStore,
        end: u64,
    ) -> Result<(), IndexError> {
        let width = u64::from(TILE_WIDTH);
        let first = self.covered();
        let bundle_end = (first / width).saturating_add(1).saturating_mul(width);
        let end = end.min(bundle_end);
        let end = end.saturating_sub(end % STEP);
        let entries = Main(published).entries(first, end)?;
        for step in entries.chunks(usize::try_from(STEP).unwrap_or(usize::MAX)) {
            self.step(store, step)?;
        }
        Ok(())
    }

    /// One step: 16 entries, one leaf of the output log.
    fn step(&mut self, store: &dyn LogIndexStore, entries: &[Vec<u8>]) -> Result<(), IndexError> {
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
        let damaged = |error: &dyn std::error::Error| IndexError::Damaged {
            reason: error.to_string(),
        };
        let map_root = self
            .trie
            .set(&Pages(store), &changes)
            .map_err(|error| damaged(&error))?;
        let statement = Statement {
            map_root,
            keys: self.keys,
            input_size: self.covered(),
            input_root: self.input.root(),
        };
        let bytes = statement.to_bytes();
        self.output
            .append(&bytes, leaf_hash(&bytes))
            .map_err(|error| damaged(&error))
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
    ) -> Result<quorix_tlog::index::key_list::Value, IndexError> {
        let damaged = |reason: String| IndexError::Damaged { reason };
        if !self.lists.contains_key(&key) {
            let known = self
                .trie
                .get(&Pages(store), &key)
                .map_err(|error| damaged(error.to_string()))?;
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

    /// The entries that were read have to be those of the log's tiles.
    fn check_input(&self, published: &Published) -> Result<(), IndexError> {
        let covered = self.covered();
        let expected = root_at(published, covered)?;
        if expected != self.input.root() {
            return Err(other_log(published, covered, "they have another root"));
        }
        Ok(())
    }
}

/// The compact range over the covered entries, from the log's tiles, with the root that was signed for them.
fn covered_range(
    published: &Published,
    covered: u64,
    root: &Hash,
) -> Result<CompactRange, IndexError> {
    if covered > published.head().size {
        return Err(other_log(published, covered, "the log is shorter"));
    }
    let main = Main(published);
    let edge = Edge::load(covered, |id, width| {
        quorix_tlog::proof::TileReader::hashes(&main, id, width).map(Some)
    });
    let edge = edge.map_err(|error| other_log(published, covered, &error.to_string()))?;
    if edge.root() != *root {
        return Err(other_log(published, covered, "they have another root"));
    }
    Ok(edge.compact_range().clone())
}

fn root_at(published: &Published, size: u64) -> Result<Hash, IndexError> {
    root_of(&Main(published), size).map_err(|error| other_log(published, size, &error.to_string()))
}

fn other_log(published: &Published, covered: u64, reason: &str) -> IndexError {
    IndexError::OtherLog {
        covered,
        size: published.head().size,
        reason: reason.to_owned(),
    }
}

/// Signs the checkpoint of the empty output log.
fn begin(store: &dyn LogIndexStore, key: &SigningKey) -> Result<Head, IndexError> {
    let head = signed_head(key, 0, EMPTY_ROOT)?;
    let batch = LogIndexBatch {
        pages: Vec::new(),
        lists: Vec::new(),
        leaves: Vec::new(),
        output: TreeBatch {
            tiles: Vec::new(),
            leaves: Vec::new(),
            blobs: Vec::new(),
            head: head.clone(),
        },
    };
    store.advance(0, &batch)?;
    Ok(head)
}

fn signed_head(key: &SigningKey, size: u64, root: Hash) -> Result<Head, IndexError> {
    let checkpoint = Checkpoint {
        origin: key.verifier().name().as_str().to_owned(),
        size,
        root,
        extensions: Vec::new(),
    };
    let checkpoint = checkpoint.sign(key).map_err(|error| IndexError::Damaged {
        reason: error.to_string(),
    })?;
    Ok(Head {
        size,
        root,
        checkpoint,
    })
}

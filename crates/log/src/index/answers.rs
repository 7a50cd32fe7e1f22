//! Answers to look-ups, and entries with proofs. Nothing here is believed by whoever asked.

use std::cell::RefCell;
use std::collections::BTreeMap;

use quorix_tlog::bundle;
use quorix_tlog::hash::Hash;
use quorix_tlog::index::Key;
use quorix_tlog::index::answer::{Answer, Latest, MAX_INDICES, page};
use quorix_tlog::index::proven::{self, ProvenEntry};
use quorix_tlog::index::statement::Statement;
use quorix_tlog::index::trie::{Trie, TrieError};
use quorix_tlog::proof::{ProveError, TileReader, prove_consistency, prove_inclusion};
use quorix_tlog::tile::{TILE_WIDTH, TileId, TilePath};
use quorix_trust::ports::{Head, LogIndexStore, StoreError};

use super::reader::{Main, Output, Pages, failed};
use super::{LogIndex, NoAnswer};
use crate::published::cut;

/// Bytes of bundles after which no further one is read for one request.
const READ_BYTES_MAX: usize = 32 * 1024 * 1024;

impl LogIndex {
    /// Reads one state of the index, if it may be shown. Blocks.
    fn shown<T>(
        &self,
        read: impl FnOnce(&dyn LogIndexStore, Head) -> Result<T, NoAnswer>,
    ) -> Result<T, NoAnswer> {
        let not_ready = || {
            let state = self.lock();
            let reason = state.stopped.as_ref().or(state.problem.as_ref());
            let reason = reason.cloned();
            NoAnswer::NotReady {
                reason: reason.unwrap_or_else(|| "it is being made".to_owned()),
            }
        };
        if !self.inner.shelf.is_open() || self.lock().stopped.is_some() {
            return Err(not_ready());
        }
        self.inner.shelf.read(|store| {
            // No step is written meanwhile: head, pages and lists are of one state.
            let head = store.head()?.ok_or_else(not_ready)?;
            if self.lock().shown != Some(head.size) {
                return Err(not_ready());
            }
            read(store, head)
        })
    }

    /// The newest checkpoint of the output log. Blocks.
    pub(super) fn checkpoint(&self) -> Result<Vec<u8>, NoAnswer> {
        self.shown(|_, head| Ok(head.checkpoint))
    }

    /// Exactly this width of a tile of the output log. Blocks.
    pub(super) fn tile(&self, path: TilePath) -> Result<Vec<u8>, NoAnswer> {
        self.shown(|store, head| {
            if path.width == 0 || path.width > path.id.width_at(head.size) {
                return Err(NoAnswer::Beyond);
            }
            let tile = store.tile(path.id)?;
            let tile = tile.ok_or_else(|| failed("it is missing"))?;
            Ok(cut(path, tile)?)
        })
    }

    /// What the map says of a key; with the proofs that the log extends its first `since` entries and the output log its
    /// first `index_since` leaves, 0 for none. Blocks.
    ///
    /// # Errors
    /// See [`NoAnswer`].
    pub fn answer(&self, key: &Key, since: u64, index_since: u64) -> Result<Answer, NoAnswer> {
        self.shown(|store, index| {
            let log = self.inner.published.head();
            if since > log.size || index_since > index.size {
                return Err(NoAnswer::Beyond);
            }
            let indices = store.indices(key, 0, MAX_INDICES)?;
            let proof = Trie::new()
                .prove(&Pages(store), key)
                .map_err(|error| match error {
                    TrieError::Read(error) => error,
                    error @ TrieError::Damaged { .. } => failed(&error.to_string()),
                })?;
            let main = Main(&self.inner.published);
            let output = Output(store);
            Ok(Answer {
                key: *key,
                checkpoint: log.checkpoint.clone(),
                growth: prove_consistency(&main, since, log.size).map_err(unproved)?,
                index_growth: prove_consistency(&output, index_since, index.size)
                    .map_err(unproved)?,
                latest: self.latest(store, index.size, log.size)?,
                index_checkpoint: index.checkpoint,
                indices,
                proof: proof.to_bytes(),
            })
        })
    }

    /// The page of a key's list that begins with `from`, as it was when the index covered `covered` entries. Blocks.
    pub(super) fn list_page(
        &self,
        key: &Key,
        covered: u64,
        from: u64,
    ) -> Result<Vec<u8>, NoAnswer> {
        self.shown(|store, head| {
            let last = head.size.checked_sub(1);
            if covered > last.and_then(Statement::input_size_at).unwrap_or(0) {
                return Err(NoAnswer::Beyond);
            }
            let mut indices = store.indices(key, from, MAX_INDICES)?;
            indices.truncate(indices.partition_point(|index| *index < covered));
            Ok(page(&indices))
        })
    }

    fn latest(
        &self,
        store: &dyn LogIndexStore,
        leaves: u64,
        size: u64,
    ) -> Result<Option<Latest>, NoAnswer> {
        let Some(last) = leaves.checked_sub(1) else {
            return Ok(None);
        };
        let output = Output(store);
        let statement = Statement::parse(&output.leaf(last)?)
            .ok_or_else(|| failed("the last leaf is no state of the map"))?;
        let covered = statement.input_size;
        if covered > size {
            let reason = super::IndexError::Ahead { covered, size }.to_string();
            return Err(NoAnswer::NotReady { reason });
        }
        let main = Main(&self.inner.published);
        Ok(Some(Latest {
            statement,
            inclusion: prove_inclusion(&output, last, leaves).map_err(unproved)?,
            extension: prove_consistency(&main, covered, size).map_err(unproved)?,
        }))
    }

    /// Entries with their proofs in the tree of the first `size` entries: all that are asked for, ascending, or the first
    /// of them where they lie in bundles of more than [`READ_BYTES_MAX`]. Each bundle and each tile is read once. Blocks.
    pub(super) fn entries(&self, size: u64, asked: &[u64]) -> Result<Vec<u8>, NoAnswer> {
        self.entries_within(size, asked, READ_BYTES_MAX)
    }

    /// The same with no further bundle after so many bytes.
    pub(super) fn entries_within(
        &self,
        size: u64,
        asked: &[u64],
        bytes_max: usize,
    ) -> Result<Vec<u8>, NoAnswer> {
        if size > self.inner.published.head().size || asked.iter().any(|index| *index >= size) {
            return Err(NoAnswer::Beyond);
        }
        let main = Main(&self.inner.published);
        let tiles = Remembering {
            main: &main,
            tiles: RefCell::default(),
        };
        let mut entries = Vec::with_capacity(asked.len());
        let (mut read, mut rest) = (0_usize, asked);
        while let Some(first) = rest.first().filter(|_| read < bytes_max) {
            let number = first / u64::from(TILE_WIDTH);
            let is_there = |index: &u64| index / u64::from(TILE_WIDTH) == number;
            let count = rest.iter().take_while(|index| is_there(index)).count();
            let (here, later) = rest.split_at(count);
            let (width, bytes) = main.bundle(number, size)?;
            read = read.saturating_add(bytes.len());
            let all = bundle::parse(&bytes, width).map_err(|error| failed(&error.to_string()))?;
            for index in here {
                let position = usize::try_from(index % u64::from(TILE_WIDTH));
                let entry = position.ok().and_then(|position| all.get(position));
                entries.push(ProvenEntry {
                    index: *index,
                    entry: entry.ok_or_else(|| failed("it is too short"))?.to_vec(),
                    inclusion: prove_inclusion(&tiles, *index, size).map_err(unproved)?,
                });
            }
            rest = later;
        }
        Ok(proven::encode(&entries))
    }
}

/// The log's tiles, each of them read once.
struct Remembering<'a> {
    main: &'a Main<'a>,
    tiles: RefCell<BTreeMap<(TileId, u16), Vec<Hash>>>,
}

impl TileReader for Remembering<'_> {
    type Error = StoreError;

    fn hashes(&self, id: TileId, width: u16) -> Result<Vec<Hash>, StoreError> {
        if let Some(known) = self.tiles.borrow().get(&(id, width)) {
            return Ok(known.clone());
        }
        let hashes = self.main.hashes(id, width)?;
        self.tiles.borrow_mut().insert((id, width), hashes.clone());
        Ok(hashes)
    }
}

fn unproved(error: ProveError<StoreError>) -> StoreError {
    match error {
        ProveError::Read(error) => error,
        error => failed(&error.to_string()),
    }
}

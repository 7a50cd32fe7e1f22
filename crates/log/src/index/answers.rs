//! Answers to look-ups, and entries with proofs. Nothing here is believed by whoever asked.

use std::sync::PoisonError;

use quorix_tlog::bundle;
use quorix_tlog::index::Key;
use quorix_tlog::index::answer::{Answer, Latest, MAX_INDICES};
use quorix_tlog::index::proven::{self, MAX_ENTRIES, ProvenEntry};
use quorix_tlog::index::statement::Statement;
use quorix_tlog::index::trie::Trie;
use quorix_tlog::proof::{ProveError, prove_consistency, prove_inclusion};
use quorix_tlog::tile::{TileLevel, TilePath, hashes_prefix};
use quorix_trust::ports::{Head, StoreError};

use super::LogIndex;
use super::reader::{Main, Output, Pages, failed};

impl LogIndex {
    /// The newest checkpoint of the output log. Blocks.
    pub(super) fn checkpoint(&self) -> Result<Vec<u8>, StoreError> {
        Ok(self.head()?.checkpoint)
    }

    /// Exactly this width of a tile of the output log; `None` beyond its checkpoint. Blocks.
    pub(super) fn tile(&self, path: TilePath) -> Result<Option<Vec<u8>>, StoreError> {
        if path.width == 0 || path.width > path.id.width_at(self.head()?.size) {
            return Ok(None);
        }
        let tile = self.inner.store.tile(path.id)?;
        let tile = tile.ok_or_else(|| failed("it is missing"))?;
        let cut = match path.id.level {
            TileLevel::Hashes(_) => {
                hashes_prefix(&tile, path.width).map_err(|error| error.to_string())
            }
            TileLevel::Entries => {
                bundle::prefix(&tile, path.width).map_err(|error| error.to_string())
            }
        };
        cut.map(|cut| Some(cut.to_vec()))
            .map_err(|reason| failed(&reason))
    }

    /// What the map says of a key; with the proof that the log extends its first `since` entries, 0 for none. `None` if
    /// the log has fewer, or more entries concern the key than an answer holds. Blocks.
    ///
    /// # Errors
    /// The store failed.
    pub fn answer(&self, key: &Key, since: u64) -> Result<Option<Answer>, StoreError> {
        let inner = &*self.inner;
        // No step is written meanwhile: head, pages and lists are of one state.
        let _reading = inner.step.read().unwrap_or_else(PoisonError::into_inner);
        let index = self.head()?;
        let log = inner.published.head();
        if since > log.size {
            return Ok(None);
        }
        let indices = inner.store.indices(key, MAX_INDICES.saturating_add(1))?;
        if indices.len() > MAX_INDICES {
            return Ok(None);
        }
        let proof = Trie::new()
            .prove(&Pages(&*inner.store), key)
            .map_err(|error| failed(&error.to_string()))?;
        let main = Main(&inner.published);
        Ok(Some(Answer {
            key: *key,
            checkpoint: log.checkpoint.clone(),
            growth: prove_consistency(&main, since, log.size).map_err(unproved)?,
            index_checkpoint: index.checkpoint.clone(),
            latest: self.latest(&index, log.size)?,
            indices,
            proof: proof.to_bytes(),
        }))
    }

    fn latest(&self, index: &Head, size: u64) -> Result<Option<Latest>, StoreError> {
        let Some(last) = index.size.checked_sub(1) else {
            return Ok(None);
        };
        let output = Output(&*self.inner.store);
        let statement = Statement::parse(&output.leaf(last)?)
            .ok_or_else(|| failed("the last leaf is no state of the map"))?;
        let main = Main(&self.inner.published);
        Ok(Some(Latest {
            statement,
            inclusion: prove_inclusion(&output, last, index.size).map_err(unproved)?,
            extension: prove_consistency(&main, statement.input_size, size).map_err(unproved)?,
        }))
    }

    /// Entries with their proofs in the tree of the first `size` entries; `None` if that is not published, an index is
    /// not in it, or more than [`MAX_ENTRIES`] are asked for. Blocks.
    pub(super) fn entries(&self, size: u64, asked: &[u64]) -> Result<Option<Vec<u8>>, StoreError> {
        let main = Main(&self.inner.published);
        let is_there = |index: &u64| *index < size;
        if size > self.inner.published.head().size
            || asked.len() > MAX_ENTRIES
            || !asked.iter().all(is_there)
        {
            return Ok(None);
        }
        let mut entries = Vec::with_capacity(asked.len());
        for index in asked {
            let entry = main.entries(*index, index.saturating_add(1))?;
            let entry = entry.into_iter().next();
            entries.push(ProvenEntry {
                index: *index,
                entry: entry.ok_or_else(|| failed("it is empty"))?,
                inclusion: prove_inclusion(&main, *index, size).map_err(unproved)?,
            });
        }
        Ok(Some(proven::encode(&entries)))
    }

    fn head(&self) -> Result<Head, StoreError> {
        let head = self.inner.store.head()?;
        head.ok_or_else(|| failed("the index has no checkpoint"))
    }
}

fn unproved(error: ProveError<StoreError>) -> StoreError {
    match error {
        ProveError::Read(error) => error,
        error => failed(&error.to_string()),
    }
}

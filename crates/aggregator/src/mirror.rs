//! Reads hash tiles and entries out of the mirror of a log.
//!
//! What is mirrored was verified when it was stored; a mirror that lacks something is an error of the store.

use std::collections::BTreeMap;
use std::sync::Arc;

use quorix_tlog::bundle;
use quorix_tlog::hash::Hash;
use quorix_tlog::proof::{ProveError, TileReader};
use quorix_tlog::tile::{TILE_WIDTH, TileId};
use quorix_trust::ports::{StoreError, TileStore};

/// Bytes of neighbouring entries that the readers of one question keep, all logs together (of each log at least what was
/// read last), so that each is read once: what a closure consists of was mostly attested together.
pub(crate) const RUNS_KEPT_BYTES: usize = 16 << 20;

/// Reads hash tiles for provers.
pub(crate) struct Hashes<'a>(pub(crate) &'a dyn TileStore);

impl TileReader for Hashes<'_> {
    type Error = StoreError;

    fn hashes(&self, id: TileId, width: u16) -> Result<Vec<Hash>, StoreError> {
        self.load(id, width)?.ok_or_else(|| missing(id))
    }
}

impl Hashes<'_> {
    /// The first `width` hashes of a tile, or fewer where it is narrower; `None` where there is no such tile.
    pub(crate) fn load(&self, id: TileId, width: u16) -> Result<Option<Vec<Hash>>, StoreError> {
        let Some(bytes) = self.0.tile(id)? else {
            return Ok(None);
        };
        let (hashes, _) = bytes.as_chunks::<32>();
        Ok(Some(
            hashes
                .iter()
                .take(usize::from(width))
                .map(|hash| Hash::from_bytes(*hash))
                .collect(),
        ))
    }
}

/// A tile that the mirror should have and has not.
pub(crate) fn missing(id: TileId) -> StoreError {
    StoreError {
        operation: format!("reading the mirrored tile {id:?}"),
        reason: "it is missing".to_owned(),
    }
}

/// Says that a proof could not be made from a mirror.
pub(crate) fn unproved(error: ProveError<StoreError>) -> StoreError {
    match error {
        ProveError::Read(error) => error,
        other => StoreError {
            operation: "proving from a mirror".to_owned(),
            reason: other.to_string(),
        },
    }
}

/// Reads entries by their index.
pub(crate) struct Entries {
    mirror: Arc<dyn TileStore>,
    /// Entries in a row as a bundle, by the index of the first.
    runs: BTreeMap<u64, Vec<u8>>,
    kept_bytes: usize,
    kept_bytes_max: usize,
}

impl Entries {
    /// Keeps at most `kept_bytes_max`, or what was read last.
    pub(crate) fn new(mirror: Arc<dyn TileStore>, kept_bytes_max: usize) -> Self {
        Self {
            mirror,
            runs: BTreeMap::new(),
            kept_bytes: 0,
            kept_bytes_max,
        }
    }

    /// The mirror that is read.
    pub(crate) fn mirror(&self) -> &dyn TileStore {
        self.mirror.as_ref()
    }

    /// The bytes of the entry at `index`.
    pub(crate) fn entry(&mut self, index: u64) -> Result<Vec<u8>, StoreError> {
        if let Some((first, run)) = self.runs.range(..=index).next_back()
            && let Some(entry) = entry_of(run, *first, index)
        {
            return Ok(entry);
        }
        let id = TileId::entries(index / u64::from(TILE_WIDTH));
        let run = self.mirror.entries_around(index)?;
        let (first, run) = run.ok_or_else(|| missing(id))?;
        let entry = entry_of(&run, first, index).ok_or_else(|| missing(id))?;
        if self.kept_bytes.saturating_add(run.len()) > self.kept_bytes_max {
            self.runs.clear();
            self.kept_bytes = 0;
        }
        self.kept_bytes = self.kept_bytes.saturating_add(run.len());
        self.runs.insert(first, run);
        Ok(entry)
    }
}

fn entry_of(run: &[u8], first: u64, index: u64) -> Option<Vec<u8>> {
    let position = u16::try_from(index.checked_sub(first)?).ok()?;
    Some(bundle::entry(run, position).ok()?.to_vec())
}

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

/// Bundles that a reader keeps parsed, so that neighbouring entries are read once.
const BUNDLES_KEPT: usize = 16;

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
    bundles: BTreeMap<u64, Vec<u8>>,
}

impl Entries {
    pub(crate) fn new(mirror: Arc<dyn TileStore>) -> Self {
        Self {
            mirror,
            bundles: BTreeMap::new(),
        }
    }

    /// The mirror that is read.
    pub(crate) fn mirror(&self) -> &dyn TileStore {
        self.mirror.as_ref()
    }

    /// The bytes of the entry at `index`.
    pub(crate) fn entry(&mut self, index: u64) -> Result<Vec<u8>, StoreError> {
        let width = u64::from(TILE_WIDTH);
        let (number, position) = (index / width, index % width);
        let id = TileId::entries(number);
        if !self.bundles.contains_key(&number) {
            if self.bundles.len() >= BUNDLES_KEPT {
                self.bundles.clear();
            }
            let bytes = self.mirror.tile(id)?.ok_or_else(|| missing(id))?;
            self.bundles.insert(number, bytes);
        }
        let bytes = self
            .bundles
            .get(&number)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let count = u16::try_from(position.saturating_add(1)).unwrap_or(TILE_WIDTH);
        let entries = bundle::prefix(bytes, count).and_then(|bytes| bundle::parse(bytes, count));
        let entry = entries
            .ok()
            .and_then(|entries| entries.last().map(|entry| entry.to_vec()));
        entry.ok_or_else(|| missing(id))
    }
}

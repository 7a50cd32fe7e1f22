//! Reading trees for proofs: the published log, and the output log of its index.

use quorix_tlog::bundle;
use quorix_tlog::hash::Hash;
use quorix_tlog::index::page::PageId;
use quorix_tlog::index::trie::PageStore;
use quorix_tlog::proof::TileReader;
use quorix_tlog::tile::{TILE_WIDTH, TileId, TilePath, hashes_prefix, parse_hashes};
use quorix_trust::ports::{LogIndexStore, StoreError};

use crate::published::Published;

/// The pages of the index.
pub(super) struct Pages<'a>(pub(super) &'a dyn LogIndexStore);

impl PageStore for Pages<'_> {
    type Error = StoreError;

    fn page(&self, id: &PageId) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.page(id)
    }
}

/// The output log as it is stored.
pub(super) struct Output<'a>(pub(super) &'a dyn LogIndexStore);

impl TileReader for Output<'_> {
    type Error = StoreError;

    fn hashes(&self, id: TileId, width: u16) -> Result<Vec<Hash>, StoreError> {
        let tile = self.0.tile(id)?.ok_or_else(|| failed("it is missing"))?;
        hashes_prefix(&tile, width)
            .and_then(|tile| parse_hashes(tile, width))
            .map_err(|error| failed(&error.to_string()))
    }
}

impl Output<'_> {
    /// The bytes of one leaf.
    pub(super) fn leaf(&self, index: u64) -> Result<Vec<u8>, StoreError> {
        let id = TileId::entries(index / u64::from(TILE_WIDTH));
        let bytes = self.0.tile(id)?.ok_or_else(|| failed("it is missing"))?;
        entry_of(&bytes, index)
    }
}

/// The published log.
pub(super) struct Main<'a>(pub(super) &'a Published);

impl TileReader for Main<'_> {
    type Error = StoreError;

    fn hashes(&self, id: TileId, width: u16) -> Result<Vec<Hash>, StoreError> {
        let tile = self.0.tile(TilePath { id, width })?;
        let tile = tile.ok_or_else(|| failed("it is not published"))?;
        parse_hashes(&tile, width).map_err(|error| failed(&error.to_string()))
    }
}

impl Main<'_> {
    /// The bundle of this number as it is in the tree of the first `size` entries, which are published, and how many
    /// entries it has there.
    pub(super) fn bundle(&self, number: u64, size: u64) -> Result<(u16, Vec<u8>), StoreError> {
        let id = TileId::entries(number);
        let width = id.width_at(size);
        let bytes = self.0.tile(TilePath { id, width })?;
        Ok((width, bytes.ok_or_else(|| failed("it is not published"))?))
    }

    /// Entries from `first` to before `end`, which are published and in one bundle.
    pub(super) fn entries(&self, first: u64, end: u64) -> Result<Vec<Vec<u8>>, StoreError> {
        let width = u64::from(TILE_WIDTH);
        let id = TileId::entries(first / width);
        let start = first % width;
        let count = start.saturating_add(end.saturating_sub(first));
        let count = u16::try_from(count).unwrap_or(u16::MAX);
        let tile = self.0.tile(TilePath { id, width: count })?;
        let tile = tile.ok_or_else(|| failed("it is not published"))?;
        let entries = bundle::parse(&tile, count).map_err(|error| failed(&error.to_string()))?;
        let start = usize::try_from(start).unwrap_or(usize::MAX);
        Ok(entries
            .into_iter()
            .skip(start)
            .map(<[u8]>::to_vec)
            .collect())
    }
}

fn entry_of(bundle_bytes: &[u8], index: u64) -> Result<Vec<u8>, StoreError> {
    let position = index % u64::from(TILE_WIDTH);
    let count = u16::try_from(position.saturating_add(1)).unwrap_or(u16::MAX);
    let prefix = bundle::prefix(bundle_bytes, count).map_err(|error| failed(&error.to_string()))?;
    let entries = bundle::parse(prefix, count).map_err(|error| failed(&error.to_string()))?;
    let last = entries.last().ok_or_else(|| failed("it is empty"))?;
    Ok(last.to_vec())
}

pub(super) fn failed(reason: &str) -> StoreError {
    StoreError {
        operation: "reading a tile for the index".to_owned(),
        reason: reason.to_owned(),
    }
}

//! What the world may see of a log: everything up to the newest published checkpoint, and nothing beyond.
//!
//! Read-only. The store may already hold more than is published; that is cut off here.

use std::sync::Arc;

use quorix_tlog::bundle;
use quorix_tlog::tile::{TileLevel, TilePath, hashes_prefix};
use quorix_trust::attestation::BlobId;
use quorix_trust::ports::{Head, StoreError, TileStore as _};
use tokio::sync::watch;

use crate::storage::Reopenable;

/// A view of the published part of a log. Clones see the same.
#[derive(Clone)]
pub(crate) struct Published {
    store: Arc<Reopenable>,
    head: watch::Receiver<Arc<Head>>,
}

impl Published {
    pub(crate) fn new(store: Arc<Reopenable>, head: watch::Receiver<Arc<Head>>) -> Self {
        Self { store, head }
    }

    /// Whether reads fail because the database is being opened anew.
    pub(crate) fn is_closed(&self) -> bool {
        self.store.is_closed()
    }

    /// The newest published head.
    pub(crate) fn head(&self) -> Arc<Head> {
        Arc::clone(&self.head.borrow())
    }

    /// Exactly this width of a tile; `None` if the published checkpoint does not cover it. Reads the store: blocks.
    pub(crate) fn tile(&self, path: TilePath) -> Result<Option<Vec<u8>>, StoreError> {
        if !self.covers(path) {
            return Ok(None);
        }
        let missing = || {
            failed(
                path,
                "the checkpoint covers it, but it is not stored".to_owned(),
            )
        };
        let tile = self.store.tile(path.id)?.ok_or_else(missing)?;
        cut(path, tile).map(Some)
    }

    /// What [`tile`](Self::tile) gives if it is known without waiting for the disk, otherwise nothing. Does not block.
    pub(crate) fn tile_at_hand(&self, path: TilePath) -> Option<Option<Vec<u8>>> {
        if !self.covers(path) {
            return Some(None);
        }
        // Whatever is wrong is found, and told, by reading it properly.
        let tile = self.store.tile_at_hand(path.id).ok()??;
        cut(path, tile).ok().map(Some)
    }

    fn covers(&self, path: TilePath) -> bool {
        path.width != 0 && path.width <= path.id.width_at(self.head().size)
    }

    /// A blob. Reads the store: blocks.
    pub(crate) fn blob(&self, id: &BlobId) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.blob(id)
    }
}

/// The first hashes or entries of a stored tile, as many as the path has.
pub(crate) fn cut(path: TilePath, mut tile: Vec<u8>) -> Result<Vec<u8>, StoreError> {
    let length = match path.id.level {
        TileLevel::Hashes(_) => hashes_prefix(&tile, path.width)
            .map_err(|error| failed(path, error.to_string()))?
            .len(),
        TileLevel::Entries => bundle::prefix(&tile, path.width)
            .map_err(|error| failed(path, error.to_string()))?
            .len(),
    };
    tile.truncate(length);
    Ok(tile)
}

fn failed(path: TilePath, reason: String) -> StoreError {
    StoreError {
        operation: format!("reading {path}"),
        reason,
    }
}

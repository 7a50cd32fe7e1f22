//! The tree as it grows bundle by bundle: the tiles that each bundle completes, and the partial ones at the right edge.
//!
//! Does no I/O. Each bundle is hashed into the tree once; memory is at most 8 tiles.

use std::collections::BTreeMap;

use quorix_tlog::compact_range::CompactRange;
use quorix_tlog::hash::Hash;
use quorix_tlog::tile::{Edge, TILE_WIDTH, TileId, TileLevel, width_at};

use super::{GrowError, LogSource};

/// Levels that a tree of 63-bit size can have.
const LEVELS: u8 = 8;

/// A growing tree with its partial tiles.
#[derive(Clone, Debug, Default)]
pub(super) struct Levels {
    edge: Edge,
    /// The partial tile of each level that has one.
    partial: BTreeMap<u8, (TileId, Vec<Hash>)>,
}

impl Levels {
    /// The beginning, of `size` entries, of a log that has `of` entries, from its own hash tiles. Unverified: compare
    /// [`root`](Self::root).
    ///
    /// # Errors
    /// A tile cannot be read.
    pub(super) async fn load(source: &LogSource, size: u64, of: u64) -> Result<Self, GrowError> {
        let mut tiles = BTreeMap::new();
        for level in 0..LEVELS {
            let hashes = size >> (u32::from(level) * 8);
            let index = hashes / u64::from(TILE_WIDTH);
            let (id, width) = (TileId::hashes(level, index), width_at(size, level, index));
            if width > 0 {
                // A log need not serve the narrow tiles of a size that it has left behind.
                let mut read = source.hashes(id, width_at(of, level, index)).await?;
                read.truncate(usize::from(width));
                tiles.insert(id, read);
            }
        }
        let edge = Edge::load(size, |id, _| Ok::<_, GrowError>(tiles.get(&id).cloned()));
        let edge = edge.map_err(|error| GrowError::Unverified {
            reason: error.to_string(),
        })?;
        let partial = tiles.into_iter().filter_map(|(id, hashes)| match id.level {
            TileLevel::Hashes(level) => Some((level, (id, hashes))),
            TileLevel::Entries => None,
        });
        Ok(Self {
            edge,
            partial: partial.collect(),
        })
    }

    pub(super) fn size(&self) -> u64 {
        self.edge.size()
    }

    pub(super) fn root(&self) -> Hash {
        self.edge.root()
    }

    pub(super) fn range(&self) -> &CompactRange {
        self.edge.compact_range()
    }

    pub(super) fn push(&mut self, leaf: Hash) {
        self.edge.push(leaf);
    }

    /// The full tiles that were completed since the last call, by level.
    pub(super) fn completed(&mut self) -> Vec<(TileId, Vec<Hash>)> {
        let mut full = Vec::new();
        for (id, hashes) in self.edge.take_changed() {
            let TileLevel::Hashes(level) = id.level else {
                continue;
            };
            if hashes.len() == usize::from(TILE_WIDTH) {
                if self
                    .partial
                    .get(&level)
                    .is_some_and(|(partial, _)| *partial == id)
                {
                    self.partial.remove(&level);
                }
                full.push((id, hashes));
            } else {
                self.partial.insert(level, (id, hashes));
            }
        }
        full
    }

    /// The partial tiles at the right edge, by level. Call [`completed`](Self::completed) before.
    pub(super) fn partial(&self) -> impl Iterator<Item = &(TileId, Vec<Hash>)> {
        self.partial.values()
    }
}

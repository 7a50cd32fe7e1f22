//! Tiles: how a log is cut into immutable files of 256 hashes or 256 entries, and their paths.
//!
//! A hash tile at level L holds the roots of 256 neighbouring perfect subtrees of 256^L entries.
//! Only the rightmost tile of a level can be partial, and a partial tile is never hashed upward.
//! One value is stored per tile, its widest version: each narrower one is a prefix of it.
//! Specification: C2SP tlog-tiles, "Merkle Tree" and "Log Entries".

mod bytes;
mod edge;
mod path;

pub use bytes::{HashTileError, encode_hashes, hashes_prefix, parse_hashes};
pub(crate) use edge::perfect_root;
pub use edge::{Edge, EdgeError};
pub use path::{TilePath, TilePathError};

/// Hashes in a full hash tile, entries in a full bundle.
pub const TILE_WIDTH: u16 = 256;

/// Highest level that a path may name. Trees of 64-bit sizes have tiles only at levels 0 to 7.
pub const MAX_TILE_LEVEL: u8 = 63;

/// Highest tile index that a path may name: beyond it the index of an entry would not fit 63 bits.
pub const MAX_TILE_INDEX: u64 = (1 << 55) - 1;

/// What a tile holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TileLevel {
    /// Hashes of subtrees of 256^L entries; L is 0 (leaf hashes) to 63.
    Hashes(u8),
    /// The entries themselves, as an [entry bundle](crate::bundle).
    Entries,
}

/// Names one tile, at whatever width it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TileId {
    /// What it holds.
    pub level: TileLevel,
    /// Its place from the left in its level, from 0.
    pub index: u64,
}

impl TileId {
    /// A hash tile.
    #[must_use]
    pub const fn hashes(level: u8, index: u64) -> Self {
        Self {
            level: TileLevel::Hashes(level),
            index,
        }
    }

    /// An entry bundle.
    #[must_use]
    pub const fn entries(index: u64) -> Self {
        Self {
            level: TileLevel::Entries,
            index,
        }
    }

    /// Width of this tile in a tree of the given size: 0 if the tree has no such tile.
    #[must_use]
    pub fn width_at(&self, size: u64) -> u16 {
        match self.level {
            TileLevel::Hashes(level) => width_at(size, level, self.index),
            // A bundle holds the entries whose leaf hashes the tile at level 0 holds.
            TileLevel::Entries => width_at(size, 0, self.index),
        }
    }
}

/// Width of a hash tile in a tree of the given size: 1 to 256, or 0 if the tree has no such tile.
#[must_use]
pub fn width_at(size: u64, level: u8, index: u64) -> u16 {
    let hashes = hashes_at_level(size, level);
    let before = index.saturating_mul(u64::from(TILE_WIDTH));
    let width = hashes.saturating_sub(before).min(u64::from(TILE_WIDTH));
    u16::try_from(width).unwrap_or(TILE_WIDTH)
}

/// All hash tiles of a tree of the given size with their widths: by level from 0, left to right.
pub fn tiles_of(size: u64) -> impl Iterator<Item = (TileId, u16)> {
    (0..=MAX_TILE_LEVEL).flat_map(move |level| {
        let tiles = hashes_at_level(size, level).div_ceil(u64::from(TILE_WIDTH));
        (0..tiles).map(move |index| (TileId::hashes(level, index), width_at(size, level, index)))
    })
}

/// How many hashes a level has in all: floor(size / 256^level).
fn hashes_at_level(size: u64, level: u8) -> u64 {
    size.checked_shr(u32::from(level) * 8).unwrap_or(0)
}

#[cfg(test)]
mod tests;

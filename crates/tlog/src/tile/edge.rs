//! The right edge of a growing tree as hash tiles: what a log must hold in memory to append.
//!
//! At most one partial tile per level, plus the tiles completed since they were last taken. Each
//! entry is hashed into the tree once; a level gains a hash when 256 of the level below are complete.
//! It never verifies what it loads beyond the shape: compare the root with the signed checkpoint.

use super::{TILE_WIDTH, TileId, width_at};
use crate::{
    MAX_TREE_SIZE,
    compact_range::{CompactRange, fold_right},
    hash::{Hash, node_hash},
};

/// Levels that a tree of [`MAX_TREE_SIZE`] can have: 256^8 is beyond it.
const LEVELS: u8 = 8;

/// Height in the binary tree of one level of tiles.
const LEVEL_HEIGHT: u32 = 8;

/// The growing end of a log's tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Edge {
    range: CompactRange,
    /// The partial tile of each level, from level 0; empty right after a tile was completed.
    partial: Vec<Partial>,
    /// Full tiles completed since the last take.
    completed: Vec<(TileId, Vec<Hash>)>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Partial {
    index: u64,
    hashes: Vec<Hash>,
    changed: bool,
}

/// The right edge of a tree could not be loaded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EdgeError<E> {
    /// The reader failed.
    #[error("a tile at the right edge of the log could not be read")]
    Read(#[source] E),
    /// The reader has no such tile.
    #[error("the tile {id:?} of width {width}, which the log's size implies, is missing")]
    Missing {
        /// The tile.
        id: TileId,
        /// Its width at the size to be loaded.
        width: u16,
    },
    /// The reader gave a tile of another width than asked for.
    #[error("the tile {id:?} has {given} hashes where the log's size implies {width}")]
    WrongWidth {
        /// The tile.
        id: TileId,
        /// Its width at the size to be loaded.
        width: u16,
        /// How many hashes the reader gave.
        given: usize,
    },
    /// The size is beyond [`MAX_TREE_SIZE`].
    #[error("log size {size} is beyond the largest supported size of 2^63 - 1")]
    TooLarge {
        /// The size asked for.
        size: u64,
    },
}

impl Edge {
    /// The edge of a tree without entries.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// Loads the edge of a tree of the given size from the partial tiles at its right end, at most
    /// 8 of them. `read` gets a tile and its width (1 to 255) and answers with exactly that many
    /// hashes, from index 0 of the tile on, or `None` if it has no such tile.
    ///
    /// # Errors
    /// The reader's own error, a missing tile, one of another width, or a size too large. The
    /// hashes are taken as they are: [`root`](Self::root) tells whether they are the right ones.
    pub fn load<E>(
        size: u64,
        mut read: impl FnMut(TileId, u16) -> Result<Option<Vec<Hash>>, E>,
    ) -> Result<Self, EdgeError<E>> {
        if size > MAX_TREE_SIZE {
            return Err(EdgeError::TooLarge { size });
        }
        let mut partial = Vec::new();
        for level in 0..LEVELS {
            let hashes_in_level = size >> (u32::from(level) * LEVEL_HEIGHT);
            if hashes_in_level == 0 {
                break;
            }
            let index = hashes_in_level / u64::from(TILE_WIDTH);
            let (id, width) = (TileId::hashes(level, index), width_at(size, level, index));
            let hashes = match width {
                0 => Vec::new(),
                _ => read(id, width)
                    .map_err(EdgeError::Read)?
                    .ok_or(EdgeError::Missing { id, width })?,
            };
            let given = hashes.len();
            if given != usize::from(width) {
                return Err(EdgeError::WrongWidth { id, width, given });
            }
            partial.push(Partial {
                index,
                hashes,
                changed: false,
            });
        }
        let nodes = partial
            .iter()
            .rev()
            .flat_map(|tile| perfect_subtrees(&tile.hashes))
            .collect();
        // The widths above are the digits of the size, so the count of nodes fits it.
        let range =
            CompactRange::from_parts(size, nodes).map_err(|_| EdgeError::TooLarge { size })?;
        Ok(Self {
            range,
            partial,
            completed: Vec::new(),
        })
    }

    /// Number of entries.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.range.size()
    }

    /// Root of the tree (RFC 6962 §2.1), from at most 63 hashes.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.range.root()
    }

    /// The compact range of the same tree.
    #[must_use]
    pub const fn compact_range(&self) -> &CompactRange {
        &self.range
    }

    /// Appends one entry by its leaf hash: two hashings on average, and never more than 64.
    pub fn push(&mut self, leaf: Hash) {
        let Self {
            range,
            partial,
            completed,
        } = self;
        range.push_and_visit(leaf, |height, hash| {
            if height.is_multiple_of(LEVEL_HEIGHT) {
                append(partial, completed, height / LEVEL_HEIGHT, hash);
            }
        });
    }

    /// Every hash tile that changed since the last take, or since the edge was made: each with all
    /// its hashes from index 0, ordered by level and index. Store each over its narrower version.
    ///
    /// Tiles completed in between are held in memory (8 KiB for 256 entries) until taken.
    pub fn take_changed(&mut self) -> Vec<(TileId, Vec<Hash>)> {
        let mut changed = std::mem::take(&mut self.completed);
        for (level, tile) in (0..LEVELS).zip(&mut self.partial) {
            if std::mem::take(&mut tile.changed) {
                changed.push((TileId::hashes(level, tile.index), tile.hashes.clone()));
            }
        }
        changed.sort_unstable_by_key(|(id, _)| *id);
        changed
    }
}

/// Appends a hash to a level's tile and moves the tile out once it is full.
fn append(
    partial: &mut Vec<Partial>,
    completed: &mut Vec<(TileId, Vec<Hash>)>,
    level: u32,
    hash: Hash,
) {
    let (Ok(position), Ok(level)) = (usize::try_from(level), u8::try_from(level)) else {
        return;
    };
    if partial.len() <= position {
        partial.resize_with(position.saturating_add(1), Partial::default);
    }
    let Some(tile) = partial.get_mut(position) else {
        return;
    };
    if tile.hashes.is_empty() {
        tile.hashes.reserve_exact(usize::from(TILE_WIDTH));
    }
    tile.hashes.push(hash);
    tile.changed = true;
    if tile.hashes.len() == usize::from(TILE_WIDTH) {
        completed.push((
            TileId::hashes(level, tile.index),
            std::mem::take(&mut tile.hashes),
        ));
        // An index of 2^55 tiles is beyond what can ever be pushed.
        tile.index = tile.index.saturating_add(1);
        tile.changed = false;
    }
}

/// Roots of the perfect subtrees over a partial tile's hashes, largest first.
fn perfect_subtrees(mut hashes: &[Hash]) -> Vec<Hash> {
    let mut roots = Vec::new();
    while let Some(height) = hashes.len().checked_ilog2() {
        let (subtree, rest) = hashes.split_at(1 << height);
        roots.push(perfect_root(subtree));
        hashes = rest;
    }
    roots
}

/// Root over neighbouring subtrees of equal size, of which there is a power of two.
pub(crate) fn perfect_root(hashes: &[Hash]) -> Hash {
    let mut row = hashes.to_vec();
    while row.len() > 1 {
        row = row
            .chunks(2)
            .map(|pair| match pair {
                [left, right] => node_hash(left, right),
                odd => fold_right(odd),
            })
            .collect();
    }
    fold_right(&row)
}

#[cfg(test)]
mod tests;

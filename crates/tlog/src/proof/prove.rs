//! Makes proofs and roots from hash tiles, reading only the tiles on the way and each of them once.
//!
//! Never checks what it reads against a root: a proof from wrong tiles simply does not verify.
//! Specification: RFC 6962 §2.1.1 and §2.1.2.

use std::collections::{BTreeMap, btree_map};

use super::ProofError;
use crate::{
    compact_range::fold_right,
    hash::Hash,
    tile::{TileId, perfect_root, width_at},
};

/// Height in the binary tree of one level of tiles.
const LEVEL_HEIGHT: u32 = 8;

/// Where provers read hash tiles from.
pub trait TileReader {
    /// Why a tile could not be read.
    type Error;

    /// The first `width` (1 to 256) hashes of a hash tile. The provers ask for the width that the
    /// tile has at the size of the tree in question, and take the first `width` of more hashes.
    ///
    /// # Errors
    /// The tile is missing, narrower, or cannot be read.
    fn hashes(&self, id: TileId, width: u16) -> Result<Vec<Hash>, Self::Error>;
}

/// A proof could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProveError<E> {
    /// There is nothing to prove: an index or sizes out of range.
    #[error("no such proof exists")]
    OutOfRange(#[source] ProofError),
    /// The reader failed.
    #[error("a tile that the proof needs could not be read")]
    Read(#[source] E),
    /// The reader gave fewer hashes than asked for.
    #[error("the tile {id:?} has only {given} of the {width} hashes that the tree's size implies")]
    Narrow {
        /// The tile.
        id: TileId,
        /// The width asked for.
        width: u16,
        /// How many hashes the reader gave.
        given: usize,
    },
}

/// The inclusion proof of the leaf at `index` in the tree of that `size`: at most 64 hashes, from
/// the leaf's sibling upward.
///
/// # Errors
/// The index is not in the tree, or a tile cannot be read.
pub fn prove_inclusion<R: TileReader>(
    reader: &R,
    index: u64,
    size: u64,
) -> Result<Vec<Hash>, ProveError<R::Error>> {
    if index >= size {
        return Err(ProveError::OutOfRange(ProofError::IndexOutOfRange {
            index,
            size,
        }));
    }
    let mut tiles = Tiles::new(reader, size);
    let mut range = Range {
        start: 0,
        end: size,
    };
    let mut proof = Vec::new();
    while let Some((left, right)) = range.split() {
        let sibling = if index < left.end { right } else { left };
        range = if index < left.end { left } else { right };
        proof.push(tiles.root(sibling)?);
    }
    proof.reverse();
    Ok(proof)
}

/// The proof that the tree of size `new` extends its own first `old` entries; empty if `old` is 0
/// or equal to `new`.
///
/// # Errors
/// `old` is larger than `new`, or a tile cannot be read.
pub fn prove_consistency<R: TileReader>(
    reader: &R,
    old: u64,
    new: u64,
) -> Result<Vec<Hash>, ProveError<R::Error>> {
    // An older tree of a power of two is itself the subtree at which the two part, and known.
    part(reader, old, new, !old.is_power_of_two())
}

/// The proof of what root the first `old` entries of the tree of size `new` have, for
/// [`verify_older_root`](super::verify_older_root). It differs from [`prove_consistency`] only where
/// `old` is a power of two: there it begins with that root itself.
///
/// # Errors
/// `old` is larger than `new`, or a tile cannot be read.
pub fn prove_older_root<R: TileReader>(
    reader: &R,
    old: u64,
    new: u64,
) -> Result<Vec<Hash>, ProveError<R::Error>> {
    part(reader, old, new, true)
}

/// The hashes beside the way from the subtree at which two trees part up to the root, beginning with
/// that subtree itself where asked for. Empty if the trees are the same or one is empty.
fn part<R: TileReader>(
    reader: &R,
    old: u64,
    new: u64,
    with_subtree: bool,
) -> Result<Vec<Hash>, ProveError<R::Error>> {
    if old > new {
        return Err(ProveError::OutOfRange(ProofError::Shrunk { old, new }));
    }
    if old == 0 || old == new {
        return Ok(Vec::new());
    }
    let mut tiles = Tiles::new(reader, new);
    let mut range = Range { start: 0, end: new };
    let mut proof = Vec::new();
    // Down to the subtree that ends where the older tree ends.
    while range.end != old {
        let Some((left, right)) = range.split() else {
            break;
        };
        let sibling = if old <= left.end { right } else { left };
        range = if old <= left.end { left } else { right };
        proof.push(tiles.root(sibling)?);
    }
    if with_subtree {
        proof.push(tiles.root(range)?);
    }
    proof.reverse();
    Ok(proof)
}

/// Root of the tree of that size (RFC 6962 §2.1).
///
/// # Errors
/// A tile cannot be read.
pub fn root_of<R: TileReader>(reader: &R, size: u64) -> Result<Hash, ProveError<R::Error>> {
    Tiles::new(reader, size).root(Range {
        start: 0,
        end: size,
    })
}

/// Leaves from `start` to before `end` that form one subtree of an RFC 6962 tree.
#[derive(Clone, Copy)]
struct Range {
    start: u64,
    end: u64,
}

impl Range {
    /// The two subtrees below; `None` for a single leaf or for nothing.
    fn split(self) -> Option<(Self, Self)> {
        // The largest power of two below the length.
        let length = self.end.checked_sub(self.start)?;
        let height = length.checked_sub(1)?.checked_ilog2()?;
        let middle = self.start.checked_add(1 << height)?;
        Some((
            Self {
                end: middle,
                ..self
            },
            Self {
                start: middle,
                ..self
            },
        ))
    }
}

/// The tiles of a tree of one size, each read once.
struct Tiles<'a, R> {
    reader: &'a R,
    size: u64,
    read: BTreeMap<TileId, Vec<Hash>>,
}

impl<'a, R: TileReader> Tiles<'a, R> {
    const fn new(reader: &'a R, size: u64) -> Self {
        Self {
            reader,
            size,
            read: BTreeMap::new(),
        }
    }

    /// Root of a subtree, from the perfect subtrees that it consists of.
    fn root(&mut self, range: Range) -> Result<Hash, ProveError<R::Error>> {
        let mut perfect = Vec::new();
        let mut start = range.start;
        while let Some(height) = range.end.saturating_sub(start).checked_ilog2() {
            perfect.push(self.perfect(height, start >> height)?);
            start = start.saturating_add(1 << height);
        }
        Ok(fold_right(&perfect))
    }

    /// Root of the perfect subtree of 2^`height` leaves at place `index` of its row: all of its
    /// hashes in the level of tiles below it are neighbours in one tile.
    fn perfect(&mut self, height: u32, index: u64) -> Result<Hash, ProveError<R::Error>> {
        let (level, above) = (height / LEVEL_HEIGHT, height % LEVEL_HEIGHT);
        let level = u8::try_from(level).unwrap_or(u8::MAX);
        let tile = index >> (LEVEL_HEIGHT - above);
        let place = (index << above) & 0xff;
        let (id, width) = (
            TileId::hashes(level, tile),
            width_at(self.size, level, tile),
        );
        let hashes = match self.read.entry(id) {
            btree_map::Entry::Occupied(entry) => entry.into_mut(),
            btree_map::Entry::Vacant(entry) => {
                entry.insert(self.reader.hashes(id, width).map_err(ProveError::Read)?)
            }
        };
        let narrow = ProveError::Narrow {
            id,
            width,
            given: hashes.len(),
        };
        if hashes.len() < usize::from(width) {
            return Err(narrow);
        }
        let place = usize::try_from(place).unwrap_or(usize::MAX);
        let end = place.saturating_add(1 << above);
        Ok(perfect_root(hashes.get(place..end).ok_or(narrow)?))
    }
}

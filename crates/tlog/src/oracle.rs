//! The RFC 6962 definitions as they stand in the RFC, recursive and slow: what tests compare with.
//!
//! Only for tests. Shares nothing with the code under test but the two hash functions.

use std::{cell::RefCell, collections::BTreeMap};

use crate::{
    hash::{EMPTY_ROOT, Hash, leaf_hash, node_hash},
    proof::TileReader,
    tile::{TileId, TileLevel},
};

/// Leaf hashes of the entries "0", "1", "2", …
pub(crate) fn leaves(count: usize) -> Vec<Hash> {
    (0..count)
        .map(|n| leaf_hash(n.to_string().as_bytes()))
        .collect()
}

/// MTH(D) (RFC 6962 §2.1).
pub(crate) fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => EMPTY_ROOT,
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            node_hash(&root(left), &root(right))
        }
    }
}

/// PATH(m, D) (RFC 6962 §2.1.1).
pub(crate) fn inclusion(index: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let k = split(leaves.len());
    let (left, right) = leaves.split_at(k);
    let (mut path, sibling) = if index < k {
        (inclusion(index, left), root(right))
    } else {
        (inclusion(index - k, right), root(left))
    };
    path.push(sibling);
    path
}

/// PROOF(m, D) (RFC 6962 §2.1.2), and the empty proof for m = 0.
pub(crate) fn consistency(old: usize, leaves: &[Hash]) -> Vec<Hash> {
    if old == 0 {
        Vec::new()
    } else {
        subproof(old, leaves, true)
    }
}

fn subproof(old: usize, leaves: &[Hash], known: bool) -> Vec<Hash> {
    if old == leaves.len() {
        return if known {
            Vec::new()
        } else {
            vec![root(leaves)]
        };
    }
    let k = split(leaves.len());
    let (left, right) = leaves.split_at(k);
    let (mut proof, sibling) = if old <= k {
        (subproof(old, left, known), root(right))
    } else {
        (subproof(old - k, right, false), root(left))
    };
    proof.push(sibling);
    proof
}

/// The largest power of two smaller than n.
fn split(n: usize) -> usize {
    n.next_power_of_two() / 2
}

/// All hash tiles of a tree by the definition of tlog-tiles: hash i of tile n at level L is
/// MTH(D[(n*256+i)*256^L : (n*256+i+1)*256^L]).
pub(crate) fn tiles(leaves: &[Hash]) -> BTreeMap<TileId, Vec<Hash>> {
    let mut tiles = BTreeMap::new();
    let mut row = leaves.to_vec();
    for level in 0.. {
        for (index, tile) in row.chunks(256).enumerate() {
            tiles.insert(TileId::hashes(level, index as u64), tile.to_vec());
        }
        row = row.chunks_exact(256).map(root).collect();
        if row.is_empty() {
            break;
        }
    }
    tiles
}

/// Tiles in memory, which remembers what was read from it.
pub(crate) struct MemoryTiles {
    pub(crate) tiles: BTreeMap<TileId, Vec<Hash>>,
    pub(crate) reads: RefCell<Vec<(TileId, u16)>>,
}

impl MemoryTiles {
    pub(crate) fn new(leaves: &[Hash]) -> Self {
        Self {
            tiles: tiles(leaves),
            reads: RefCell::default(),
        }
    }

    /// What was read since the last call.
    pub(crate) fn take_reads(&self) -> Vec<(TileId, u16)> {
        std::mem::take(&mut self.reads.borrow_mut())
    }
}

impl TileReader for MemoryTiles {
    type Error = String;

    fn hashes(&self, id: TileId, width: u16) -> Result<Vec<Hash>, String> {
        assert!(
            matches!(id.level, TileLevel::Hashes(_)),
            "provers read only hash tiles"
        );
        self.reads.borrow_mut().push((id, width));
        let tile = self
            .tiles
            .get(&id)
            .ok_or_else(|| format!("no tile {id:?}"))?;
        let hashes = tile
            .get(..usize::from(width))
            .ok_or_else(|| format!("{id:?} is narrow"))?;
        Ok(hashes.to_vec())
    }
}

//! Hash tiles in memory, to prove from. A file that several test programs and a benchmark take in: this crate has none of
//! ours below it, so nowhere else can it be had by all of them.

use std::collections::BTreeMap;

use quorix_tlog::hash::Hash;
use quorix_tlog::proof::TileReader;
use quorix_tlog::tile::{Edge, TileId};

pub(crate) struct Tiles(BTreeMap<TileId, Vec<Hash>>);

impl Tiles {
    /// Those of the tree over these leaf hashes.
    pub(crate) fn of(leaves: impl IntoIterator<Item = Hash>) -> Self {
        let mut edge = Edge::empty();
        leaves.into_iter().for_each(|leaf| edge.push(leaf));
        Self(edge.take_changed().into_iter().collect())
    }
}

impl From<BTreeMap<TileId, Vec<Hash>>> for Tiles {
    fn from(tiles: BTreeMap<TileId, Vec<Hash>>) -> Self {
        Self(tiles)
    }
}

impl TileReader for Tiles {
    type Error = String;

    fn hashes(&self, id: TileId, width: u16) -> Result<Vec<Hash>, String> {
        let tile = self
            .0
            .get(&id)
            .and_then(|tile| tile.get(..usize::from(width)));
        tile.map(<[Hash]>::to_vec)
            .ok_or_else(|| format!("no {id:?} of width {width}"))
    }
}

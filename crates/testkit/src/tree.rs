//! Trees for tests: grown batch by batch as a log grows them, and computed the slow way as an oracle.
//!
//! The oracle follows the recursive definition of RFC 6962 §2.1 and shares no code with the incremental tree.

use quorix_tlog::bundle;
use quorix_tlog::checkpoint::Checkpoint;
use quorix_tlog::hash::{EMPTY_ROOT, Hash, leaf_hash, node_hash};
use quorix_tlog::note::SigningKey;
use quorix_tlog::tile::{Edge, TILE_WIDTH, TileId};
use quorix_trust::attestation::BlobId;
use quorix_trust::ports::{Head, TreeBatch};
use sha2::{Digest, Sha256};

use crate::entries::log_key;

/// A log that grows in memory and gives what a store has to write.
#[derive(Clone, Debug)]
pub struct Grower {
    key: SigningKey,
    edge: Edge,
    entries: Vec<Vec<u8>>,
}

impl Grower {
    /// An empty log of this name, with the key that [`log_key`] gives.
    #[must_use]
    pub fn new(origin: &str) -> Self {
        Self {
            key: log_key(origin),
            edge: Edge::empty(),
            entries: Vec::new(),
        }
    }

    /// All entries so far.
    #[must_use]
    pub fn entries(&self) -> &[Vec<u8>] {
        &self.entries
    }

    /// Number of entries so far.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.edge.size()
    }

    /// Appends entries and gives the batch that writes them.
    pub fn grow<E: AsRef<[u8]>>(&mut self, entries: &[E]) -> TreeBatch {
        let before = self.size();
        let mut leaves = Vec::new();
        for entry in entries {
            let leaf = leaf_hash(entry.as_ref());
            leaves.push((leaf, self.size()));
            self.edge.push(leaf);
            self.entries.push(entry.as_ref().to_vec());
        }
        let mut tiles: Vec<(TileId, Vec<u8>)> = self
            .edge
            .take_changed()
            .into_iter()
            .map(|(id, hashes)| (id, hash_bytes(&hashes)))
            .collect();
        if !entries.is_empty() {
            let width = u64::from(TILE_WIDTH);
            for index in before / width..=(self.size() - 1) / width {
                tiles.push((TileId::entries(index), naive_bundle(&self.entries, index)));
            }
        }
        TreeBatch {
            tiles,
            leaves,
            blobs: Vec::new(),
            head: self.head(),
        }
    }

    /// The signed head at the present size.
    #[must_use]
    pub fn head(&self) -> Head {
        let (size, root) = (self.edge.size(), self.edge.root());
        let origin = self.key.verifier().name().as_str().to_owned();
        let checkpoint = Checkpoint {
            origin,
            size,
            root,
            extensions: Vec::new(),
        };
        Head {
            size,
            root,
            checkpoint: checkpoint
                .sign(&self.key)
                .expect("the grower's checkpoint signs"),
        }
    }
}

/// The bytes of a hash tile.
#[must_use]
pub fn hash_bytes(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()
}

/// The name of a blob: SHA-256 of its bytes.
#[must_use]
pub fn blob_id(blob: &[u8]) -> BlobId {
    Sha256::digest(blob).into()
}

/// Root over leaf hashes, by the definition of RFC 6962 §2.1.
#[must_use]
pub fn naive_root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => EMPTY_ROOT,
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            node_hash(&naive_root(left), &naive_root(right))
        }
    }
}

/// All hashes of a hash tile, by the definition of C2SP tlog-tiles.
#[must_use]
pub fn naive_tile(leaves: &[Hash], level: u8, index: u64) -> Vec<Hash> {
    let span = 256_usize.pow(u32::from(level));
    let first = usize::try_from(index).expect("a test's tree is small") * 256;
    leaves
        .chunks_exact(span)
        .skip(first)
        .take(256)
        .map(naive_root)
        .collect()
}

/// An entry bundle, from all entries of a log.
#[must_use]
pub fn naive_bundle(entries: &[Vec<u8>], index: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let first = usize::try_from(index).expect("a test's tree is small") * 256;
    for entry in entries.iter().skip(first).take(256) {
        bundle::append(&mut bytes, entry).expect("a test's entry is small");
    }
    bytes
}

#[cfg(test)]
mod tests {
    use quorix_tlog::tile::{TileLevel, tiles_of};

    use super::*;

    #[test]
    fn grown_trees_are_what_the_oracle_computes() {
        let mut grower = Grower::new("logs.example.org/alice");
        let mut stored = std::collections::BTreeMap::new();
        for step in [0_usize, 1, 255, 1, 300, 256] {
            let start = grower.entries().len();
            let new: Vec<_> = (start..start + step)
                .map(|n| format!("entry {n}"))
                .collect();
            let batch = grower.grow(&new);
            stored.extend(batch.tiles);
            let leaves: Vec<_> = grower
                .entries()
                .iter()
                .map(|entry| leaf_hash(entry))
                .collect();
            assert_eq!(batch.head.root, naive_root(&leaves));
            for (id, width) in tiles_of(grower.size()) {
                let TileLevel::Hashes(level) = id.level else {
                    unreachable!("only hash tiles")
                };
                let tile = naive_tile(&leaves, level, id.index);
                assert_eq!(
                    (tile.len(), &stored[&id]),
                    (usize::from(width), &hash_bytes(&tile))
                );
            }
        }
    }
}

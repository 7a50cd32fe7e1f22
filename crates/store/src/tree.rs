//! How a tree lies in a database: its head, tiles, bundles, leaves and blobs.
//!
//! The same for one's own log and for every mirror; mirrors have a prefix before each key that tells them apart. Numbers
//! in keys are big-endian, so that neighbours lie together. Never looks into an entry.

use quorix_tlog::bundle;
use quorix_tlog::hash::{HASH_LENGTH, Hash};
use quorix_tlog::tile::{TILE_WIDTH, TileId, TileLevel};
use quorix_trust::attestation::BlobId;
use quorix_trust::ports::{CommitError, Head, StoreError, TreeBatch};

use crate::database::{Batch, Database, META, Shape, corrupt};

/// `<prefix> <level> <index>` → 32-byte hashes.
pub(crate) const HASHES: (&str, Shape) = ("hashes", Shape::Hashes);
/// `<prefix> <index>` → entry bundle.
pub(crate) const BUNDLES: (&str, Shape) = ("bundles", Shape::Bundles);
/// The same of mirrors: `<prefix> <index> <piece>` → some entries of a bundle in a row ([`Cut`]).
pub(crate) const PIECES: (&str, Shape) = (BUNDLES.0, Shape::Pieces);
/// `<prefix> <leaf hash>` → index of the newest entry with it, and in the index what else is known of it.
pub(crate) const LEAVES: (&str, Shape) = ("leaves", Shape::Once);
/// `<SHA-256>` → blob. Without prefix: the same bytes are kept once, whoever names them.
pub(crate) const BLOBS: (&str, Shape) = ("blobs", Shape::Blobs);

const HEAD: &[u8] = b"head/";

/// How the entry bundles of a tree are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Whole, as they are served.
    Whole,
    /// In pieces of [`PIECE`] entries, so that one entry is read without the 255 others.
    Pieces,
}

/// Bytes of a row in a batch besides its key's prefix and what is kept in it, at most.
const AROUND_A_ROW: usize = 24;
/// Entries of one piece of a bundle.
const PIECE: u64 = 16;

/// The tree whose keys begin with `prefix`.
#[derive(Clone, Copy)]
pub(crate) struct Tree<'a> {
    pub(crate) database: &'a Database,
    pub(crate) prefix: &'a [u8],
    pub(crate) cut: Cut,
}

impl Tree<'_> {
    /// The newest head.
    pub(crate) fn head(&self) -> Result<Option<Head>, StoreError> {
        const OPERATION: &str = "reading the head of the log";
        let Some(bytes) = self.database.get(META, &self.head_key(), OPERATION)? else {
            return Ok(None);
        };
        let head =
            decode_head(&bytes).ok_or_else(|| corrupt(OPERATION, "the stored head is cut off"))?;
        Ok(Some(head))
    }

    /// The widest version of a tile.
    pub(crate) fn tile(&self, id: TileId) -> Result<Option<Vec<u8>>, StoreError> {
        if self.is_cut(id) {
            return self.bundle(id);
        }
        let (column, key) = self.tile_key(id);
        self.database.get(column, &key, "reading a tile")
    }

    /// A bundle put together from its pieces.
    fn bundle(&self, id: TileId) -> Result<Option<Vec<u8>>, StoreError> {
        let (column, key) = self.tile_key(id);
        let pieces = u64::from(TILE_WIDTH).div_ceil(PIECE);
        let keys: Vec<_> = (0..pieces).map(|piece| piece_key(&key, piece)).collect();
        let pieces = self.database.get_many(column, &keys, "reading a bundle")?;
        let whole = pieces.into_iter().map_while(|piece| piece);
        let whole = whole.reduce(|mut whole, piece| {
            whole.extend_from_slice(&piece);
            whole
        });
        Ok(whole)
    }

    /// Neighbouring entries with the one at `index` among them: the index of the first, and their bundle.
    pub(crate) fn entries_around(&self, index: u64) -> Result<Option<(u64, Vec<u8>)>, StoreError> {
        let width = u64::from(TILE_WIDTH);
        let (number, position) = (index / width, index % width);
        let first = number.saturating_mul(width);
        let id = TileId::entries(number);
        if !self.is_cut(id) {
            return Ok(self.tile(id)?.map(|bundle| (first, bundle)));
        }
        let piece = position / PIECE;
        let (column, key) = self.tile_key(id);
        let key = piece_key(&key, piece);
        let entries = self.database.get(column, &key, "reading an entry")?;
        let first = first.saturating_add(piece.saturating_mul(PIECE));
        Ok(entries.map(|entries| (first, entries)))
    }

    /// The same if it is in memory.
    pub(crate) fn tile_at_hand(&self, id: TileId) -> Result<Option<Vec<u8>>, StoreError> {
        let (column, key) = self.tile_key(id);
        self.database
            .get_at_hand(column, &key, "reading a tile from memory")
    }

    /// A blob.
    pub(crate) fn blob(&self, id: &BlobId) -> Result<Option<Vec<u8>>, StoreError> {
        self.database.get(BLOBS.0, id, "reading a blob")
    }

    /// Index of the newest entry with this leaf hash, and the bytes stored behind it.
    pub(crate) fn leaf(&self, leaf: &Hash) -> Result<Option<(u64, Vec<u8>)>, StoreError> {
        const OPERATION: &str = "looking up a leaf hash";
        let key = self.key(leaf.as_bytes());
        let Some(bytes) = self.database.get(LEAVES.0, &key, OPERATION)? else {
            return Ok(None);
        };
        let (index, rest) =
            split_u64(&bytes).ok_or_else(|| corrupt(OPERATION, "the stored index is cut off"))?;
        Ok(Some((index, rest.to_vec())))
    }

    /// Indices of the newest entries with these leaf hashes, in their order.
    pub(crate) fn leaves(&self, leaves: &[Hash]) -> Result<Vec<Option<u64>>, StoreError> {
        const OPERATION: &str = "looking up leaf hashes";
        let keys: Vec<_> = leaves
            .iter()
            .map(|leaf| self.key(leaf.as_bytes()))
            .collect();
        let index = |bytes: Option<Vec<u8>>| match bytes {
            None => Ok(None),
            Some(bytes) => match split_u64(&bytes) {
                Some((index, _)) => Ok(Some(index)),
                None => Err(corrupt(OPERATION, "the stored index is cut off")),
            },
        };
        let found = self.database.get_many(LEAVES.0, &keys, OPERATION)?;
        found.into_iter().map(index).collect()
    }

    /// Refuses unless the stored tree has `expected` entries. The caller holds the database's lock.
    pub(crate) fn check_size(&self, expected: u64) -> Result<(), CommitError> {
        let found = self.head()?.map_or(0, |head| head.size);
        if found != expected {
            return Err(CommitError::Conflict { expected, found });
        }
        Ok(())
    }

    /// Refuses a batch that changes a tile which is full in a tree of `expected` entries. The same bytes again are none. Costs
    /// nothing where no such tile is in the batch, as always in a log that works.
    pub(crate) fn check_full_tiles(
        &self,
        expected: u64,
        batch: &TreeBatch,
    ) -> Result<(), CommitError> {
        for (id, tile) in &batch.tiles {
            let is_full = id.width_at(expected) == TILE_WIDTH;
            if is_full && self.tile(*id)?.is_some_and(|stored| stored != *tile) {
                return Err(CommitError::Immutable { tile: *id });
            }
        }
        Ok(())
    }

    /// About how many bytes a commit of this takes in a batch, with `beside` bytes behind the index of each leaf.
    pub(crate) fn bytes_of(&self, tree: &TreeBatch, beside: usize) -> usize {
        let around = self.prefix.len().saturating_add(AROUND_A_ROW);
        let tiles = tree.tiles.iter().map(|(id, tile)| {
            let pieces = if self.is_cut(*id) {
                tile.len() / 2_048
            } else {
                0
            };
            tile.len()
                .saturating_add(around.saturating_mul(pieces.saturating_add(1)))
        });
        let leaf = around.saturating_add(HASH_LENGTH).saturating_add(beside);
        let leaves = tree.leaves.len().saturating_mul(leaf);
        let blobs = tree.blobs.iter().map(|(_, blob)| blob.len());
        tiles.chain(blobs).fold(leaves, usize::saturating_add)
    }

    /// Adds what a commit writes. `beside` gives the bytes to keep behind the index of a leaf.
    pub(crate) fn write(
        &self,
        batch: &mut Batch<'_>,
        tree: &TreeBatch,
        beside: impl Fn(u64) -> Vec<u8>,
    ) -> Result<(), StoreError> {
        for (id, tile) in &tree.tiles {
            let (column, key) = self.tile_key(*id);
            if !self.is_cut(*id) {
                batch.put(column, &key, tile)?;
                continue;
            }
            let entries = usize::try_from(PIECE).unwrap_or(1);
            for (number, piece) in (0..).zip(bundle::pieces(tile, entries)) {
                batch.put(column, &piece_key(&key, number), piece)?;
            }
        }
        // In the order of their keys each finds its place near the one before. Of the same leaf twice the newest comes
        // last, and stays.
        let mut leaves: Vec<_> = tree.leaves.iter().collect();
        leaves.sort_unstable();
        let mut column = batch.column(LEAVES.0)?;
        let (mut key, mut value) = (self.prefix.to_vec(), Vec::new());
        for (leaf, index) in leaves {
            key.truncate(self.prefix.len());
            key.extend_from_slice(leaf.as_bytes());
            value.clear();
            value.extend_from_slice(&index.to_be_bytes());
            value.extend_from_slice(&beside(*index));
            column.put(&key, &value);
        }
        for (id, blob) in &tree.blobs {
            batch.put(BLOBS.0, id, blob)?;
        }
        batch.put(META, &self.head_key(), &encode_head(&tree.head))
    }

    fn is_cut(&self, id: TileId) -> bool {
        self.cut == Cut::Pieces && id.level == TileLevel::Entries
    }

    fn head_key(&self) -> Vec<u8> {
        [HEAD, self.prefix].concat()
    }

    fn key(&self, rest: &[u8]) -> Vec<u8> {
        [self.prefix, rest].concat()
    }

    fn tile_key(&self, id: TileId) -> (&'static str, Vec<u8>) {
        let index = id.index.to_be_bytes();
        match id.level {
            TileLevel::Hashes(level) => (HASHES.0, [self.prefix, &[level], &index].concat()),
            TileLevel::Entries => (BUNDLES.0, self.key(&index)),
        }
    }
}

/// The key of a piece of the bundle with this key.
fn piece_key(bundle: &[u8], piece: u64) -> Vec<u8> {
    // At most 256 of them.
    let number = u8::try_from(piece).unwrap_or(u8::MAX);
    [bundle, &[number]].concat()
}

/// How a head is stored.
pub(crate) fn encode_head(head: &Head) -> Vec<u8> {
    [
        head.size.to_be_bytes().as_slice(),
        head.root.as_bytes(),
        &head.checkpoint,
    ]
    .concat()
}

/// The head in stored bytes.
pub(crate) fn decode_head(bytes: &[u8]) -> Option<Head> {
    let (size, rest) = split_u64(bytes)?;
    let (root, checkpoint) = rest.split_first_chunk::<32>()?;
    Some(Head {
        size,
        root: Hash::from_bytes(*root),
        checkpoint: checkpoint.to_vec(),
    })
}

/// The number at the beginning, and what follows it.
pub(crate) fn split_u64(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*number), rest))
}

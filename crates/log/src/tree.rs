//! The right edge of the log's tree in memory: what appending needs, and what has to be written.
//!
//! Loading checks what is stored against the head that was signed, down to the entries at the right edge. It reads some
//! thirty tiles for that, however large the log is.

use quorix_tlog::bundle::{self, EntryTooLarge};
use quorix_tlog::compact_range::CompactRange;
use quorix_tlog::hash::{Hash, leaf_hash};
use quorix_tlog::note::VerifierKey;
use quorix_tlog::tile::{
    Edge, EdgeError, TILE_WIDTH, TileId, encode_hashes, hashes_prefix, parse_hashes, width_at,
};
use quorix_trust::attestation::Entry;
use quorix_trust::ports::{Head, StoreError, TileStore};
use quorix_wire::entry::decode;

use crate::error::TreeError;

/// Levels of tiles that a tree can have.
const TILE_LEVELS: u8 = 8;

/// The growing end of a log.
pub(crate) struct Tree {
    edge: Edge,
    /// The partial entry bundle at the right edge; empty where the size is a multiple of 256.
    bundle: Vec<u8>,
    /// Bundles filled since the last take.
    full_bundles: Vec<(TileId, Vec<u8>)>,
    bundle_changed: bool,
}

impl Tree {
    /// Loads the tree of this head and checks that it has its root.
    pub(crate) fn load(store: &dyn TileStore, head: &Head) -> Result<Self, TreeError> {
        let edge = Edge::load(head.size, |id, width| {
            stored_hashes(store, id, width).map(Some)
        });
        let edge = edge.map_err(|error| match error {
            EdgeError::Read(error) => error,
            error => TreeError::Tile(error.to_string()),
        })?;
        let (size, found, expected) = (head.size, edge.root(), head.root);
        if found != expected {
            return Err(TreeError::Root {
                size,
                found,
                expected,
            });
        }
        let bundle = last_bundles(store, size)?;
        check_full_tiles(store, size)?;
        Ok(Self {
            edge,
            bundle,
            full_bundles: Vec::new(),
            bundle_changed: false,
        })
    }

    pub(crate) fn size(&self) -> u64 {
        self.edge.size()
    }

    pub(crate) fn root(&self) -> Hash {
        self.edge.root()
    }

    /// Appends an entry with its leaf hash.
    pub(crate) fn append(&mut self, entry: &[u8], leaf: Hash) -> Result<(), EntryTooLarge> {
        bundle::append(&mut self.bundle, entry)?;
        self.bundle_changed = true;
        self.edge.push(leaf);
        let width = u64::from(TILE_WIDTH);
        if self.size().is_multiple_of(width) {
            let index = (self.size() / width).saturating_sub(1);
            self.full_bundles
                .push((TileId::entries(index), std::mem::take(&mut self.bundle)));
            self.bundle_changed = false;
        }
        Ok(())
    }

    /// Every hash tile and entry bundle that changed since the last take, whole.
    pub(crate) fn take_changed(&mut self) -> Vec<(TileId, Vec<u8>)> {
        let hashes = self.edge.take_changed().into_iter();
        let mut changed: Vec<_> = hashes
            .map(|(id, hashes)| (id, encode_hashes(&hashes)))
            .collect();
        changed.append(&mut self.full_bundles);
        if std::mem::take(&mut self.bundle_changed) {
            let index = self.size() / u64::from(TILE_WIDTH);
            changed.push((TileId::entries(index), self.bundle.clone()));
        }
        changed
    }
}

/// Leaf hash at an index of the stored tree; `None` beyond `size`.
pub(crate) fn stored_leaf(
    store: &dyn TileStore,
    size: u64,
    index: u64,
) -> Result<Option<Hash>, TreeError> {
    if index >= size {
        return Ok(None);
    }
    let tile = index / u64::from(TILE_WIDTH);
    let hashes = stored_hashes(store, TileId::hashes(0, tile), width_at(size, 0, tile))?;
    let position = usize::try_from(index % u64::from(TILE_WIDTH)).unwrap_or(usize::MAX);
    Ok(hashes.get(position).copied())
}

/// The entry at an index of the stored tree, compared with its leaf hash there; `None` beyond `size`.
pub(crate) fn stored_entry(
    store: &dyn TileStore,
    size: u64,
    index: u64,
) -> Result<Option<Vec<u8>>, TreeError> {
    let Some(leaf) = stored_leaf(store, size, index)? else {
        return Ok(None);
    };
    let bytes = stored_tile(store, TileId::entries(index / u64::from(TILE_WIDTH)))?;
    let position = u16::try_from(index % u64::from(TILE_WIDTH)).unwrap_or(TILE_WIDTH);
    let entry = bundle::entry(&bytes, position)
        .map_err(|error| TreeError::Tile(format!("the bundle of entry {index}: {error}")))?;
    if leaf_hash(entry) != leaf {
        return Err(TreeError::Entry { index });
    }
    Ok(Some(entry.to_vec()))
}

/// How a log ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// Index of the rotation, the last entry.
    pub(crate) index: u64,
    /// vkey of the key that follows.
    pub(crate) successor: String,
}

/// Whether the log of this key has ended: its last entry hands over to another key.
pub(crate) fn end_of(
    store: &dyn TileStore,
    size: u64,
    key: &VerifierKey,
) -> Result<Option<End>, TreeError> {
    let Some(index) = size.checked_sub(1) else {
        return Ok(None);
    };
    let Some(bytes) = stored_entry(store, size, index)? else {
        return Ok(None);
    };
    let Ok(Entry::KeyRotation(rotation)) = decode(&bytes) else {
        return Ok(None);
    };
    let successor = rotation.successor_of(key).ok();
    Ok(successor.map(|successor| End {
        index,
        successor: successor.to_string(),
    }))
}

/// Most bundles that are looked through for a torn tail.
const TAIL_BUNDLES_MAX: u64 = 1_024;

/// Entries that lie in the store behind a tree of this size: written, and never covered by a checkpoint. They are no part
/// of the log, and the next commit writes over them. Stops counting after 262,144.
pub(crate) fn torn_tail(store: &dyn TileStore, size: u64) -> Result<u64, StoreError> {
    let width = u64::from(TILE_WIDTH);
    let (first, mut known) = (size / width, size % width);
    let mut torn = 0_u64;
    for index in first..first.saturating_add(TAIL_BUNDLES_MAX) {
        let Some(bytes) = store.tile(TileId::entries(index))? else {
            break;
        };
        let whole = u64::from(bundle::count(&bytes));
        torn = torn.saturating_add(whole.saturating_sub(known));
        if whole < width {
            break;
        }
        known = 0;
    }
    Ok(torn)
}

/// The first `width` hashes of a tile. What the store has beyond them is not of this tree.
pub(crate) fn stored_hashes(
    store: &dyn TileStore,
    id: TileId,
    width: u16,
) -> Result<Vec<Hash>, TreeError> {
    first_hashes(&stored_tile(store, id)?, id, width)
}

/// The first `width` hashes of the bytes of a tile.
pub(crate) fn first_hashes(tile: &[u8], id: TileId, width: u16) -> Result<Vec<Hash>, TreeError> {
    let hashes = hashes_prefix(tile, width).and_then(|prefix| parse_hashes(prefix, width));
    hashes.map_err(|error| TreeError::Tile(format!("{id:?}: {error}")))
}

fn stored_tile(store: &dyn TileStore, id: TileId) -> Result<Vec<u8>, TreeError> {
    let tile = store.tile(id)?;
    tile.ok_or_else(|| TreeError::Tile(format!("{id:?} is missing")))
}

/// The bundle at the right edge if it is partial. The last two bundles are hashed, entry by entry, and compared with the
/// tree, so that what is signed next rests on entries and not on hashes alone.
fn last_bundles(store: &dyn TileStore, size: u64) -> Result<Vec<u8>, TreeError> {
    let Some(last) = size.checked_sub(1) else {
        return Ok(Vec::new());
    };
    let index = last / u64::from(TILE_WIDTH);
    if let Some(before) = index.checked_sub(1) {
        checked_bundle(store, size, before)?;
    }
    let bytes = checked_bundle(store, size, index)?;
    Ok(if width_at(size, 0, index) == TILE_WIDTH {
        Vec::new()
    } else {
        bytes
    })
}

/// A bundle of the tree of this size, every entry hashed and compared with the tree.
fn checked_bundle(store: &dyn TileStore, size: u64, index: u64) -> Result<Vec<u8>, TreeError> {
    let width = width_at(size, 0, index);
    let mut bytes = stored_tile(store, TileId::entries(index))?;
    let bad = |error: bundle::BundleError| TreeError::Tile(format!("bundle {index}: {error}"));
    let length = bundle::prefix(&bytes, width).map_err(bad)?.len();
    bytes.truncate(length);
    let hashes = stored_hashes(store, TileId::hashes(0, index), width)?;
    let entries = bundle::parse(&bytes, width).map_err(bad)?;
    let first = index.saturating_mul(u64::from(TILE_WIDTH));
    for (index, (entry, hash)) in (first..).zip(entries.iter().zip(&hashes)) {
        if leaf_hash(entry) != *hash {
            return Err(TreeError::Entry { index });
        }
    }
    Ok(bytes)
}

/// Compares the last full tile of each level with its hash in the level above. The root says nothing of what is below
/// a full tile.
fn check_full_tiles(store: &dyn TileStore, size: u64) -> Result<(), TreeError> {
    let width = u64::from(TILE_WIDTH);
    let mut hashes_in_level = size;
    for level in 0..TILE_LEVELS {
        let full_tiles = hashes_in_level / width;
        let Some(index) = full_tiles.checked_sub(1) else {
            break;
        };
        let id = TileId::hashes(level, index);
        let mut range = CompactRange::new();
        for hash in stored_hashes(store, id, TILE_WIDTH)? {
            range.push(hash);
        }
        let above = level.saturating_add(1);
        let parent = TileId::hashes(above, index / width);
        let parents = stored_hashes(store, parent, width_at(size, above, index / width))?;
        let position = usize::try_from(index % width).unwrap_or(usize::MAX);
        if parents.get(position) != Some(&range.root()) {
            return Err(TreeError::FullTile { level, index });
        }
        hashes_in_level = full_tiles;
    }
    Ok(())
}

//! The oracle: what a log promised, and whether it kept it.
//!
//! It remembers every acknowledgement and every signed checkpoint that anybody got, follows the log as a stranger does,
//! over HTTP, and knows nothing of how the log works. A promise that was broken is an answer, not a panic: some tests
//! want to see one.

use std::collections::{BTreeMap, BTreeSet};

use quorix_tlog::bundle;
use quorix_tlog::checkpoint::SignedCheckpoint;
use quorix_tlog::compact_range::CompactRange;
use quorix_tlog::hash::{EMPTY_ROOT, Hash, leaf_hash};
use quorix_tlog::proof::{
    TileReader, prove_consistency, prove_inclusion, root_of, verify_consistency, verify_inclusion,
};
use quorix_tlog::tile::{TileId, TilePath, parse_hashes, tiles_of};

use crate::host::{LogHost, ORIGIN};

/// A broken promise, in words.
pub(crate) type Broken = String;

/// An acknowledgement: an entry, and the index that the log gave it.
pub(crate) type Acknowledged = (Vec<u8>, u64);

/// What is remembered of one log.
#[derive(Default)]
pub(crate) struct Oracle {
    indices: BTreeMap<Vec<u8>, u64>,
    entries: BTreeMap<u64, Vec<u8>>,
    /// Acknowledged since the last check.
    fresh: BTreeSet<u64>,
    /// Every signed checkpoint that was seen, by size: another root at the same size is a fork.
    roots: BTreeMap<u64, Hash>,
    /// Sizes of those that were not yet held against a newer one.
    open: BTreeSet<u64>,
    mirror: Mirror,
}

/// What was read of a log.
#[derive(Default)]
struct Mirror {
    tiles: BTreeMap<TileId, Vec<Hash>>,
    bundles: BTreeMap<u64, Vec<Vec<u8>>>,
}

impl TileReader for Mirror {
    type Error = String;

    fn hashes(&self, id: TileId, width: u16) -> Result<Vec<Hash>, String> {
        let tile = self
            .tiles
            .get(&id)
            .and_then(|tile| tile.get(..usize::from(width)));
        tile.map(<[Hash]>::to_vec)
            .ok_or_else(|| format!("{id:?} was not read"))
    }
}

impl Oracle {
    /// How many entries were acknowledged.
    pub(crate) fn acknowledged(&self) -> usize {
        self.indices.len()
    }

    /// Entries of the largest checkpoint that was seen.
    pub(crate) fn published(&self) -> u64 {
        self.roots.keys().next_back().copied().unwrap_or(0)
    }

    /// How many different checkpoints were seen.
    pub(crate) fn checkpoints(&self) -> usize {
        self.roots.len()
    }

    /// Some entries that were acknowledged, spread over the whole log.
    pub(crate) fn some(&self, count: usize, offset: usize) -> Vec<Acknowledged> {
        let step = (self.entries.len() / count.max(1)).max(1);
        let spread = self.entries.iter().skip(offset % step).step_by(step);
        spread
            .map(|(index, entry)| (entry.clone(), *index))
            .collect()
    }

    /// A signed checkpoint was seen.
    pub(crate) fn saw(&mut self, signed: &[u8]) -> Result<(u64, Hash), Broken> {
        let opened = SignedCheckpoint::open(signed, LogHost::key().verifier(), ORIGIN)
            .map_err(|error| format!("a checkpoint that does not verify: {error}"))?;
        let (size, root) = (opened.checkpoint().size, opened.checkpoint().root);
        match self.roots.insert(size, root) {
            Some(before) if before != root => {
                return Err(format!("two trees of {size} entries: {before} and {root}"));
            }
            Some(_) => (),
            None => _ = self.open.insert(size),
        }
        Ok((size, root))
    }

    /// An entry was acknowledged at this index.
    pub(crate) fn was_acknowledged(&mut self, entry: &[u8], index: u64) -> Result<(), Broken> {
        if let Some(first) = self.indices.insert(entry.to_vec(), index)
            && first != index
        {
            return Err(format!(
                "an entry was acknowledged at {first} and again at {index}"
            ));
        }
        match self.entries.insert(index, entry.to_vec()) {
            Some(other) if other != entry => {
                return Err(format!("two entries were acknowledged at {index}"));
            }
            Some(_) => (),
            None => _ = self.fresh.insert(index),
        }
        Ok(())
    }

    /// Holds the log against all that is new since the last check: what was acknowledged proves, and every checkpoint
    /// that was seen is of an earlier state of this very tree.
    pub(crate) async fn check(&mut self, log: &LogHost) -> Result<u64, Broken> {
        let signed = log
            .get("checkpoint")
            .await
            .ok_or("the log does not answer")?;
        let (size, root) = self.saw(&signed)?;
        self.mirror.read(log, size).await?;
        let found = root_of(&self.mirror, size).map_err(|error| format!("{error:?}"))?;
        if found != root {
            return Err(format!(
                "the tiles of {size} entries do not have the signed root"
            ));
        }
        for old in std::mem::take(&mut self.open) {
            self.extends(size, &root, old)?;
        }
        for index in std::mem::take(&mut self.fresh) {
            self.proves(size, &root, index)?;
        }
        Ok(size)
    }

    /// The same, with nothing remembered of the log: everything is read and hashed again, and all that was ever
    /// acknowledged or seen is held against it.
    pub(crate) async fn check_everything(&mut self, log: &LogHost) -> Result<u64, Broken> {
        self.mirror = Mirror::default();
        self.open = self.roots.keys().copied().collect();
        self.fresh = self.entries.keys().copied().collect();
        let size = self.check(log).await?;
        let mut range = CompactRange::new();
        let mut seen = BTreeSet::new();
        for entry in self.mirror.bundles.values().flatten() {
            range.push(leaf_hash(entry));
            let grown = range.size();
            if !seen.insert(entry) {
                return Err(format!("entry {} is in the log twice", grown - 1));
            }
            if self
                .roots
                .get(&grown)
                .is_some_and(|root| *root != range.root())
            {
                return Err(format!(
                    "the checkpoint of {grown} entries is of another tree"
                ));
            }
        }
        if range.size() != size {
            return Err(format!("{} entries for a tree of {size}", range.size()));
        }
        Ok(size)
    }

    fn extends(&self, size: u64, root: &Hash, old: u64) -> Result<(), Broken> {
        let old_root = self.roots.get(&old).copied().unwrap_or(EMPTY_ROOT);
        if old > size {
            return Err(format!("rolled back from {old} to {size} entries"));
        }
        let proof =
            prove_consistency(&self.mirror, old, size).map_err(|error| format!("{error:?}"))?;
        verify_consistency(old, size, &old_root, root, &proof)
            .map_err(|error| format!("the tree of {size} does not extend that of {old}: {error}"))
    }

    fn proves(&self, size: u64, root: &Hash, index: u64) -> Result<(), Broken> {
        let entry = self.entries.get(&index).ok_or("no such entry")?;
        if index >= size {
            return Err(format!(
                "entry {index} was acknowledged and is lost: the log has {size}"
            ));
        }
        let place = usize::try_from(index % 256).map_err(|error| error.to_string())?;
        let stored = self
            .mirror
            .bundles
            .get(&(index / 256))
            .and_then(|bundle| bundle.get(place));
        if stored != Some(entry) {
            return Err(format!("another entry is at {index} than was acknowledged"));
        }
        let proof =
            prove_inclusion(&self.mirror, index, size).map_err(|error| format!("{error:?}"))?;
        verify_inclusion(index, size, &leaf_hash(entry), &proof, root)
            .map_err(|error| format!("entry {index} does not prove: {error}"))
    }
}

impl Mirror {
    /// Reads what a tree of this size has more than what was read. What was read before must not have changed.
    async fn read(&mut self, log: &LogHost, size: u64) -> Result<(), Broken> {
        for (id, width) in tiles_of(size) {
            let before = self.tiles.get(&id).map_or(0, Vec::len);
            if before >= usize::from(width) {
                continue;
            }
            let path = TilePath { id, width };
            let bytes = log
                .get(&path.to_string())
                .await
                .ok_or(format!("{path} is not served"))?;
            let hashes = parse_hashes(&bytes, width).map_err(|error| format!("{path}: {error}"))?;
            if self
                .tiles
                .get(&id)
                .is_some_and(|known| !hashes.starts_with(known))
            {
                return Err(format!("{path} is no longer what it was"));
            }
            if path.to_string().starts_with("tile/0/") {
                self.read_bundle(log, id.index, width, &hashes).await?;
            }
            self.tiles.insert(id, hashes);
        }
        Ok(())
    }

    async fn read_bundle(
        &mut self,
        log: &LogHost,
        index: u64,
        width: u16,
        leaves: &[Hash],
    ) -> Result<(), Broken> {
        let path = TilePath {
            id: TileId::entries(index),
            width,
        };
        let bytes = log
            .get(&path.to_string())
            .await
            .ok_or(format!("{path} is not served"))?;
        let entries = bundle::parse(&bytes, width).map_err(|error| format!("{path}: {error}"))?;
        if !entries
            .iter()
            .zip(leaves)
            .all(|(entry, leaf)| leaf_hash(entry) == *leaf)
        {
            return Err(format!(
                "{path} has entries of other leaf hashes than the tree"
            ));
        }
        let entries = entries.into_iter().map(<[u8]>::to_vec).collect();
        self.bundles.insert(index, entries);
        Ok(())
    }
}

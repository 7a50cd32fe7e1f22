//! Checks a whole log against a verified checkpoint: every entry, every tile on every level, every blob, the root.
//!
//! The first thing that is wrong is named, and the rest still counted. Several bundles are read and hashed at once, but
//! taken in order; memory is bounded by them. Never changes anything.

mod bundle;

use futures::{StreamExt as _, stream};
use quorix_tlog::checkpoint::Checkpoint;
use quorix_tlog::hash::Hash;
use quorix_tlog::note::VerifierKey;
use quorix_tlog::tile::{TILE_WIDTH, TileId, TilePath};

use super::counting::{Counts, State};
use super::levels::Levels;
use super::{GrowError, LogSource, ReadError};
use bundle::Looked;

const WIDTH: u64 = TILE_WIDTH as u64;

/// What to check, and from where on.
#[derive(Clone, Debug)]
pub struct Check {
    /// The log's key: only a rotation that it signed ends the log.
    pub key: VerifierKey,
    /// Blobs too: other logs of C2SP tlog-tiles have none.
    pub blobs: bool,
    /// Bundles under way at once, at least 1.
    pub at_once: usize,
    /// Where an earlier check of the same log stopped.
    pub from: State,
}

/// How far a check has come.
#[derive(Clone, Debug)]
pub struct Progress<'a> {
    /// Entries checked, those of an earlier check included.
    pub size: u64,
    /// What to go on from if this is cut off.
    pub state: &'a State,
}

/// Checks the log up to `goal`, a checkpoint whose signature was verified. `tell` is called after each full bundle.
///
/// # Errors
/// The log cannot be read further, so that it is not known whether it is right; or it is another one than that of
/// `check.from`. What is wrong with the log itself is in the counts.
pub async fn check(
    source: &LogSource,
    goal: &Checkpoint,
    check: Check,
    mut tell: impl FnMut(Progress<'_>),
) -> Result<Counts, GrowError> {
    let size = goal.size;
    let Check {
        key,
        blobs,
        at_once,
        from,
    } = check;
    let mut levels = resumed(source, &from, size).await?;
    let mut counts = from.counts.clone();
    let mut state = from;
    let first = levels.size() / WIDTH;
    let looking = stream::iter(first..size.div_ceil(WIDTH)).map(|index| {
        let (source, key) = (source.clone(), key.clone());
        // A task each, so that hashing uses every core.
        tokio::spawn(async move { bundle::look(&source, &key, (index, size), blobs).await })
    });
    let mut looking = looking.buffered(at_once.max(1));
    while let Some(looked) = looking.next().await {
        let looked = looked.map_err(|error| GrowError::Unverified {
            reason: format!("the check was interrupted: {error}"),
        })??;
        take(source, goal, &mut levels, &mut counts, looked).await?;
        if levels.size().is_multiple_of(WIDTH) {
            state.size = levels.size();
            state.nodes = levels.range().nodes().to_vec();
            state.counts.clone_from(&counts);
        }
        tell(Progress {
            size: levels.size(),
            state: &state,
        });
    }
    let partial: Vec<_> = levels.partial().cloned().collect();
    for (id, hashes) in partial {
        // That of the leaves was compared with the bundle.
        if id.level != TileId::hashes(0, 0).level {
            compare(source, size, id, &hashes, &mut counts).await?;
        }
    }
    if levels.root() != goal.root {
        let reason = format!(
            "its root is {}, but the {size} entries have the root {}",
            goal.root,
            levels.root()
        );
        counts.note("checkpoint", reason);
    }
    Ok(counts)
}

/// The tree at which an earlier check stopped, as the log has it now.
async fn resumed(source: &LogSource, from: &State, size: u64) -> Result<Levels, GrowError> {
    if from.size > size {
        return Err(GrowError::Behind {
            found: size,
            known: from.size,
        });
    }
    let levels = Levels::load(source, from.size / WIDTH * WIDTH, size).await?;
    if levels.range().nodes() != from.nodes {
        return Err(GrowError::Forked { size: from.size });
    }
    Ok(levels)
}

/// Takes a bundle that was looked at into the tree, and compares the tiles that it completes.
async fn take(
    source: &LogSource,
    goal: &Checkpoint,
    levels: &mut Levels,
    counts: &mut Counts,
    looked: Looked,
) -> Result<(), GrowError> {
    let index = looked.index;
    if let Some(rotation) = counts.rotation
        && looked.counts.entries > 0
    {
        let reason = format!("entry {rotation} is a key rotation, and nothing may follow it");
        counts.note(
            TilePath {
                id: TileId::entries(index),
                width: looked.width,
            }
            .to_string(),
            reason,
        );
    }
    let leaves = choose(source, goal, levels, counts, &looked).await?;
    counts.add(looked.counts);
    for leaf in leaves {
        levels.push(leaf);
    }
    for (id, hashes) in levels.completed() {
        if id.level != TileId::hashes(0, 0).level {
            compare(source, goal.size, id, &hashes, counts).await?;
        }
    }
    Ok(())
}

/// The leaf hashes with which to go on: those of the entries, or of the tile where the two differ and the tree above
/// says that the tile is right. Notes which of them is wrong.
async fn choose(
    source: &LogSource,
    goal: &Checkpoint,
    levels: &Levels,
    counts: &mut Counts,
    looked: &Looked,
) -> Result<Vec<Hash>, GrowError> {
    let (entries, tile) = match (&looked.leaves, &looked.tile) {
        (Some(entries), Some(tile)) if entries == tile => return Ok(entries.clone()),
        (Some(entries), Some(tile)) => (entries, tile),
        // Whichever is unreadable was noted; the other is all there is to go on with.
        (Some(leaves), None) | (None, Some(leaves)) => return Ok(leaves.clone()),
        (None, None) => {
            return Err(GrowError::Unverified {
                reason: format!(
                    "neither the entries nor the hashes of bundle {} can be read, so that nothing after them can be \
                     checked: {}",
                    looked.index,
                    looked.first_problem()
                ),
            });
        }
    };
    let position = entries.iter().zip(tile).take_while(|(a, b)| a == b).count();
    let entry = looked
        .index
        .saturating_mul(WIDTH)
        .saturating_add(u64::try_from(position).unwrap_or(u64::MAX));
    let tile_path = TilePath {
        id: TileId::hashes(0, looked.index),
        width: looked.width,
    };
    let fits = |leaves: &[Hash], above: Option<Hash>| match above {
        Some(parent) => {
            let mut subtree = quorix_tlog::compact_range::CompactRange::new();
            leaves.iter().for_each(|leaf| subtree.push(*leaf));
            subtree.root() == parent
        }
        None => {
            let mut whole = levels.clone();
            leaves.iter().for_each(|leaf| whole.push(*leaf));
            whole.root() == goal.root
        }
    };
    let above = parent(source, goal.size, looked).await?;
    if fits(entries, above) {
        let reason =
            format!("it has another hash than entry {entry}, which is the one in the tree");
        counts.note(tile_path.to_string(), reason);
        return Ok(entries.clone());
    }
    let reason = format!("its bytes do not have the hash that is in the tree ({tile_path})");
    counts.note(format!("entry {entry}"), reason);
    Ok(tile.clone())
}

/// The hash of a full bundle in the tile above, if it can be read.
async fn parent(source: &LogSource, size: u64, looked: &Looked) -> Result<Option<Hash>, GrowError> {
    if looked.width < TILE_WIDTH {
        return Ok(None);
    }
    let id = TileId::hashes(1, looked.index / WIDTH);
    let position = usize::try_from(looked.index % WIDTH).unwrap_or(usize::MAX);
    match source.hashes(id, id.width_at(size)).await {
        Ok(hashes) => Ok(hashes.get(position).copied()),
        Err(error) if error.is_of_the_log() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Compares a tile with what the log has there.
async fn compare(
    source: &LogSource,
    size: u64,
    id: TileId,
    hashes: &[Hash],
    counts: &mut Counts,
) -> Result<(), ReadError> {
    let path = TilePath {
        id,
        width: id.width_at(size),
    };
    counts.tiles = counts.tiles.saturating_add(1);
    match source.hashes(id, path.width).await {
        Ok(found) => {
            // A tile that was completed on the way may be partial at no size of this check.
            if let Some(position) = found.iter().zip(hashes).position(|(a, b)| a != b) {
                counts.note(
                    path.to_string(),
                    format!("hash {position} is not that of the tiles below it"),
                );
            }
            Ok(())
        }
        Err(error) if error.is_of_the_log() => {
            counts.note(path.to_string(), error);
            Ok(())
        }
        Err(error) => Err(error),
    }
}

//! Builds the index anew from the mirrors of another one: every entry is hashed and read again.
//!
//! What the mirrors do not have is taken over as it is: checkpoints with their times, cosignatures, proofs, lifted
//! quarantines. The tree of each log must have the root that was stored, so nothing damaged is taken over.

use quorix_tlog::tile::{Edge, TILE_WIDTH, TileId};
use quorix_trust::policy::{Builder, Policy};
use quorix_trust::ports::{CommitError, Head, IndexStore, StoreError, TileStore};

use crate::follow::{Chunk, StepError, grow};
use crate::mirror::missing;

/// Bundles in one step.
const BUNDLES: u64 = 64;
/// Checkpoints read at a time.
const CHECKPOINTS: usize = 256;

/// Why an index could not be built anew.
#[derive(Debug, thiserror::Error)]
pub enum ReindexError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The new index did not take a step.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// A mirror is not what was verified once.
    #[error(
        "the mirror of {origin} is damaged: {reason}; remove the database and follow the logs anew"
    )]
    Damaged {
        /// The log.
        origin: String,
        /// What does not fit.
        reason: String,
    },
}

/// Builds in `new`, which is empty, what `old` has of the logs of a policy. Returns the number of entries. Observations
/// that no log carries are not taken over: the store hands them out itself.
///
/// # Errors
/// A store failed, or a mirror is damaged.
pub fn rebuild(
    old: &dyn IndexStore,
    new: &dyn IndexStore,
    policy: &Policy,
    now_s: u64,
) -> Result<u64, ReindexError> {
    let mut entries = 0_u64;
    for builder in &policy.builders {
        keep(old, new, builder.origin())?;
        entries = entries.saturating_add(replay(old, new, builder, policy, now_s)?);
    }
    Ok(entries)
}

fn keep(old: &dyn IndexStore, new: &dyn IndexStore, origin: &str) -> Result<(), StoreError> {
    // Before checkpoints are kept: a lift forgets those that nothing is mirrored of.
    for lift in old.lifts(origin)? {
        new.quarantine(origin, &lift.proof)?;
        new.lift(origin, lift.at_s, &lift.reason)?;
    }
    let mut from = 0;
    loop {
        let some = old.checkpoints(origin, from, CHECKPOINTS)?;
        for kept in &some {
            new.keep_checkpoint(origin, kept)?;
        }
        match some.last() {
            Some(last) if some.len() == CHECKPOINTS => from = last.size.saturating_add(1),
            _ => break,
        }
    }
    if let Some(proof) = old.equivocation(origin)? {
        new.quarantine(origin, &proof)?;
    }
    if let Some(cosigned) = old.cosigned(origin)? {
        new.keep_cosigned(origin, &cosigned)?;
    }
    Ok(())
}

fn replay(
    old: &dyn IndexStore,
    new: &dyn IndexStore,
    builder: &Builder,
    policy: &Policy,
    now_s: u64,
) -> Result<u64, ReindexError> {
    let origin = builder.origin();
    let mirror = old.mirror(origin);
    let Some(head) = mirror.head()? else {
        return Ok(0);
    };
    let damaged = |reason: String| ReindexError::Damaged {
        origin: origin.to_owned(),
        reason,
    };
    let mut edge = Edge::empty();
    loop {
        let expected = edge.size();
        let chunk = chunk_of(mirror.as_ref(), expected, head.size)?;
        let grown = grow(edge, chunk, &builder.key, new, &policy.caches, now_s)?;
        let mut grown = grown.map_err(|error: StepError| damaged(error.to_string()))?;
        if grown.edge.size() == head.size {
            if grown.edge.root() != head.root {
                let (found, stored) = (grown.edge.root(), head.root);
                return Err(damaged(format!("its root is {found}, {stored} was stored")));
            }
            grown.batch.tree.head = Head::clone(&head);
        }
        for id in &grown.wanted {
            if let Some(blob) = mirror.blob(id)? {
                grown.batch.tree.blobs.push((*id, blob));
            }
        }
        new.advance(origin, expected, &grown.batch)?;
        edge = grown.edge;
        if edge.size() >= head.size {
            return Ok(head.size);
        }
    }
}

fn chunk_of(mirror: &dyn TileStore, from: u64, size: u64) -> Result<Chunk, StoreError> {
    let width = u64::from(TILE_WIDTH);
    let first = from / width;
    let last = size.div_ceil(width).min(first.saturating_add(BUNDLES));
    let mut bundles = Vec::new();
    for number in first..last {
        let id = TileId::entries(number);
        bundles.push((number, mirror.tile(id)?.ok_or_else(|| missing(id))?));
    }
    let end = last.saturating_mul(width).min(size);
    Ok(Chunk { bundles, end })
}

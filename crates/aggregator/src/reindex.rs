//! Builds the index anew from the mirrors of another one: every entry is hashed and read again.
//!
//! What the mirrors do not have is taken over as it is, also of logs that the policy does not name (any more): checkpoints
//! with their times, cosignatures, proofs, lifted quarantines. The tree of each log must have the root that was stored, so
//! nothing damaged is taken over.

use quorix_tlog::tile::{Edge, TILE_WIDTH, TileId};
use quorix_trust::policy::{Builder, Policy};
use quorix_trust::ports::{CommitError, Head, IndexStore, KeptOf, StoreError, TileStore};

use crate::follow::{Chunk, Compared, StepError, grow};
use crate::mirror::missing;

/// Bundles in one step.
const BUNDLES: u64 = 64;
/// Bytes of bundles after which a step ends early; the bundle that reaches it is the last one.
const BYTES: usize = 16 * 1024 * 1024;
/// What is kept of logs, at a time.
const KEPT_AT_ONCE: usize = 256;

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

/// Builds in `new`, which is empty and a store of the same kind, what `old` has of the logs of a policy, and takes over what
/// is kept of any log besides its mirror. Returns the number of entries. Observations that no log carries are not taken
/// over: the store hands them out itself.
///
/// # Errors
/// A store failed, or a mirror is damaged.
pub fn rebuild(
    old: &dyn IndexStore,
    new: &dyn IndexStore,
    policy: &Policy,
    now_s: u64,
) -> Result<u64, ReindexError> {
    // First: the days of statements are those of kept checkpoints.
    take_over(old, new)?;
    let mut entries = 0_u64;
    for builder in &policy.builders {
        entries = entries.saturating_add(replay(old, new, builder, policy, now_s)?);
    }
    Ok(entries)
}

fn take_over(old: &dyn IndexStore, new: &dyn IndexStore) -> Result<(), StoreError> {
    let mut some: Vec<KeptOf> = Vec::new();
    old.all_kept(&mut |kept| {
        some.push(kept);
        if some.len() >= KEPT_AT_ONCE {
            new.take_over(&some)?;
            some.clear();
        }
        Ok(())
    })?;
    new.take_over(&some)
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
        let grown = grow(
            edge,
            chunk,
            &builder.key,
            new,
            &policy.caches,
            now_s,
            Compared::Later,
        )?;
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
    let (mut bundles, mut bytes, mut end) = (Vec::new(), 0_usize, from);
    for number in first..last {
        if bytes >= BYTES {
            break;
        }
        let id = TileId::entries(number);
        let bundle = mirror.tile(id)?.ok_or_else(|| missing(id))?;
        bytes = bytes.saturating_add(bundle.len());
        bundles.push((number, bundle));
        end = number.saturating_add(1).saturating_mul(width).min(size);
    }
    Ok(Chunk { bundles, end })
}

#[cfg(test)]
mod tests {
    use quorix_testkit::memory::MemoryIndex;
    use quorix_testkit::tree::Grower;
    use quorix_trust::ports::FollowBatch;

    use super::*;

    #[test]
    fn of_large_entries_only_so_many_are_in_memory_at_once() {
        let (index, origin) = (MemoryIndex::new(), "logs.example.org/alice");
        let entries = vec![vec![7; 65_535]; 300];
        let batch = FollowBatch {
            tree: Grower::new(origin).grow(&entries),
            statements: Vec::new(),
            retractions: Vec::new(),
            opaque: 0,
            facts: Vec::new(),
        };
        index.advance(origin, 0, &batch).unwrap();
        let mirror = index.mirror(origin);
        let chunk = chunk_of(mirror.as_ref(), 0, 300).unwrap();
        assert_eq!((chunk.bundles.len(), chunk.end), (1, 256));
        let chunk = chunk_of(mirror.as_ref(), 256, 300).unwrap();
        assert_eq!((chunk.bundles.len(), chunk.end), (1, 300));
    }
}

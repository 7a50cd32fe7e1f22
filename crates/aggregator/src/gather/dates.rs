//! Finds, for what was gathered, the earliest kept checkpoints that cover it and whose cosignatures met the witness quorum:
//! they say since when it is witnessed (SEMANTICS §2).
//!
//! Nothing is looked up where the policy asks for no dates. Of each log at most [`EARLIER_MAX`] checkpoints of at most
//! [`BYTES_MAX`] bytes; where more would be needed, neighbouring entries share the one of the last of them. A checkpoint
//! that is not found only makes an entry younger: it waits longer.

use std::collections::BTreeSet;

use quorix_tlog::checkpoint::SignedCheckpoint;
use quorix_tlog::proof::root_of;
use quorix_trust::evidence::{Cosigned, Covering};
use quorix_trust::policy::Builder;
use quorix_trust::ports::{Place, StoreError};
use quorix_wire::evidence::EARLIER_MAX;

use super::{Gathered, Snapshot};
use crate::mirror::{Hashes, unproved};
use crate::service::Shared;

/// Bytes of all earlier checkpoints of one log in one answer.
const BYTES_MAX: usize = 256 * 1024;
/// Checkpoints looked at for one entry, one after the other; after these, each step is twice as far as the one before.
const NEXT_TO_EACH_OTHER: u32 = 16;
/// Checkpoints looked at for one entry in all: enough to step over 2^48 entries.
const LOOKS_MAX: u32 = NEXT_TO_EACH_OTHER + 48;

/// Adds to what was gathered what dates it.
pub(super) fn date(shared: &Shared, gathered: &mut Gathered) -> Result<(), StoreError> {
    for builder in &shared.policy.builders {
        if !shared.policy.asks_since_when(builder) {
            continue;
        }
        let indices = gathered.indices_of(builder.origin());
        let Some(seen) = gathered
            .logs
            .iter_mut()
            .find(|seen| seen.log.origin == builder.origin())
        else {
            continue;
        };
        let found = earlier(shared, builder, seen, &indices)?;
        if let Some(evidence) = gathered.evidence.logs.get_mut(builder.origin()) {
            let covering = |(signed, cosigned): &(SignedCheckpoint, Cosigned)| Covering {
                size: signed.checkpoint().size,
                cosigned: cosigned.clone(),
            };
            evidence.history = found.iter().map(covering).collect();
        }
        seen.earlier = found.into_iter().map(|(signed, _)| signed).collect();
    }
    Ok(())
}

impl Gathered {
    /// Indices of what was gathered of one log, ascending.
    fn indices_of(&self, origin: &str) -> Vec<u64> {
        let places = self.found.values().flatten().map(|found| &found.place);
        let indices: BTreeSet<u64> = places
            .filter_map(|place| match place {
                Place::Leaf { origin: log, index } if log == origin => Some(*index),
                _ => None,
            })
            .collect();
        indices.into_iter().collect()
    }
}

fn earlier(
    shared: &Shared,
    builder: &Builder,
    seen: &Snapshot,
    indices: &[u64],
) -> Result<Vec<(SignedCheckpoint, Cosigned)>, StoreError> {
    let (mut found, mut covered, mut bytes) = (Vec::new(), 0, 0_usize);
    let at_once = indices.len().div_ceil(EARLIER_MAX).max(1);
    for neighbours in indices.chunks(at_once) {
        let Some(index) = neighbours.last().filter(|index| **index >= covered) else {
            continue;
        };
        let Some((signed, cosigned)) = first_witnessed(shared, builder, seen, *index)? else {
            continue;
        };
        bytes = bytes.saturating_add(signed.bytes().len());
        if bytes > BYTES_MAX {
            break;
        }
        covered = signed.checkpoint().size;
        found.push((signed, cosigned));
    }
    Ok(found)
}

/// The smallest kept checkpoint that covers an entry and met the quorum; in a log that was cosigned by too few for long,
/// one that is not much larger.
fn first_witnessed(
    shared: &Shared,
    builder: &Builder,
    seen: &Snapshot,
    index: u64,
) -> Result<Option<(SignedCheckpoint, Cosigned)>, StoreError> {
    let mut from = index.saturating_add(1);
    for look in 0..LOOKS_MAX {
        let kept = shared.index.checkpoints(builder.origin(), from, 1)?.pop();
        let Some(kept) = kept.filter(|kept| kept.size <= seen.size()) else {
            return Ok(None);
        };
        let cosigned = shared.policy.cosigned(&kept.note);
        let is_met = shared
            .policy
            .met_since(&cosigned, &builder.operator)
            .is_some();
        if is_met && let Some(signed) = of_the_mirror(builder, seen, &kept.note)? {
            return Ok(Some((signed, cosigned)));
        }
        let step = 1_u64.checked_shl(look.saturating_sub(NEXT_TO_EACH_OTHER));
        from = kept.size.saturating_add(step.unwrap_or(u64::MAX));
    }
    Ok(None)
}

/// A kept checkpoint, if the log's key signed it and the mirror extends it. The one that evidence is from is none.
fn of_the_mirror(
    builder: &Builder,
    seen: &Snapshot,
    note: &[u8],
) -> Result<Option<SignedCheckpoint>, StoreError> {
    let Ok(signed) = SignedCheckpoint::open(note, &builder.key, builder.origin()) else {
        return Ok(None);
    };
    if seen.signed.as_ref().map(SignedCheckpoint::bytes) == Some(note) {
        return Ok(None);
    }
    let hashes = Hashes(seen.mirror.as_ref());
    let root = root_of(&hashes, signed.checkpoint().size).map_err(unproved)?;
    Ok((root == signed.checkpoint().root).then_some(signed))
}

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
/// Checkpoints looked at of one log in all: each costs as many signatures as the policy has witnesses.
const LOOKS_OF_LOG_MAX: u32 = 1_024;

/// A checkpoint that met the quorum, and who cosigned it when.
type Dated = (SignedCheckpoint, Cosigned);

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
            let covering = |(signed, cosigned): &Dated| Covering {
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
) -> Result<Vec<Dated>, StoreError> {
    let (mut found, mut covered, mut bytes) = (Vec::new(), 0, 0_usize);
    let mut search = Search::default();
    let at_once = indices.len().div_ceil(EARLIER_MAX).max(1);
    for neighbours in indices.chunks(at_once) {
        let Some(index) = neighbours.last().filter(|index| **index >= covered) else {
            continue;
        };
        let look = |from| look_at(shared, builder, seen, from);
        let Some((signed, cosigned)) = search.find(*index, look)? else {
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

/// Finds for one entry after the other, ascending, the smallest kept checkpoint that covers it and met the quorum; in a log
/// that was cosigned by too few for long, one that is not much larger. Where nothing was found for one entry, the search for
/// the next goes on from there.
struct Search {
    /// What is kept of less than this was looked at, as far as it covers the last entry.
    from: u64,
    /// Looks that are left of [`LOOKS_OF_LOG_MAX`].
    left: u32,
}

impl Default for Search {
    fn default() -> Self {
        Self {
            from: 0,
            left: LOOKS_OF_LOG_MAX,
        }
    }
}

impl Search {
    /// `look` gives the size of the first kept checkpoint of at least so many entries, and what it is worth, if anything.
    fn find<T, E>(
        &mut self,
        index: u64,
        mut look: impl FnMut(u64) -> Result<Option<(u64, Option<T>)>, E>,
    ) -> Result<Option<T>, E> {
        let mut from = index.saturating_add(1).max(self.from);
        for number in 0..LOOKS_MAX {
            let Some(left) = self.left.checked_sub(1) else {
                return Ok(None);
            };
            self.left = left;
            let Some((size, found)) = look(from)? else {
                return Ok(None);
            };
            if found.is_some() {
                return Ok(found);
            }
            let step = 1_u64.checked_shl(number.saturating_sub(NEXT_TO_EACH_OTHER));
            let step = step.unwrap_or(u64::MAX);
            from = size.saturating_add(step);
            if step == 1 {
                self.from = from;
            }
        }
        Ok(None)
    }
}

/// Size of the first kept checkpoint of at least `from` entries, if the mirror covers it; with it, if it met the quorum and
/// is of the mirror.
fn look_at(
    shared: &Shared,
    builder: &Builder,
    seen: &Snapshot,
    from: u64,
) -> Result<Option<(u64, Option<Dated>)>, StoreError> {
    let kept = shared.index.checkpoints(builder.origin(), from, 1)?.pop();
    let Some(kept) = kept.filter(|kept| kept.size <= seen.size()) else {
        return Ok(None);
    };
    let cosigned = shared.policy.cosigned(&kept.note);
    let met = shared.policy.met_since(&cosigned, &builder.operator);
    let signed = match met {
        Some(_) => of_the_mirror(builder, seen, &kept.note)?,
        None => None,
    };
    Ok(Some((kept.size, signed.map(|signed| (signed, cosigned)))))
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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// Looks at a log of which every size is kept and none met the quorum, and notes where.
    fn none_of(
        looked: &mut Vec<u64>,
    ) -> impl FnMut(u64) -> Result<Option<(u64, Option<()>)>, Infallible> {
        move |from| {
            looked.push(from);
            Ok(Some((from, None)))
        }
    }

    #[test]
    fn what_was_looked_at_for_one_entry_is_not_looked_at_again_for_the_next() {
        let (mut search, mut first, mut second) = (Search::default(), Vec::new(), Vec::new());
        assert_eq!(search.find(0, none_of(&mut first)), Ok(None));
        assert_eq!(
            first[..19],
            [
                1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 20
            ]
        );
        assert_eq!(search.find(5, none_of(&mut second)), Ok(None));
        assert_eq!(second[..2], [18, 19]);
        let met = |from| Ok::<_, Infallible>(Some((from, Some(from))));
        assert_eq!(search.find(7, met), Ok(Some(35)));
        assert_eq!(search.find(99, met), Ok(Some(100)));
    }

    #[test]
    fn a_log_that_was_never_cosigned_costs_so_many_looks_and_no_more() {
        let (mut search, mut looked) = (Search::default(), Vec::new());
        for index in (0..64).map(|number| number << 40) {
            assert_eq!(search.find(index, none_of(&mut looked)), Ok(None));
        }
        assert_eq!(looked.len(), 1_024);
    }
}

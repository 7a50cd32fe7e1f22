//! How all logs stand, put together once for all questions of the same moment.
//!
//! A moment ends with the second, and with whatever changes how a log stands: what is kept here was true when it was read,
//! and nothing was noted since.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use quorix_trust::evidence::LogEvidence;

use crate::gather::Snapshot;
use crate::memo::locked;
use crate::remembered::Moment;

/// Counts the changes of how logs stand, of all logs of an aggregator together, whatever its policy. Clones count together.
#[derive(Clone, Default)]
pub(crate) struct Changes(Arc<AtomicU64>);

impl Changes {
    /// Notes a change that was made, or that is made under a lock which whoever reads it has to wait for.
    pub(crate) fn note(&self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }

    fn count(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// The logs of a policy, in its order, as they stand at one moment.
pub(crate) struct Stand {
    pub(crate) logs: Vec<Snapshot>,
    /// The same as evidence, by origin.
    pub(crate) evidence: BTreeMap<String, LogEvidence>,
    /// The same for comparing.
    pub(crate) moment: Arc<Moment>,
}

/// How the logs stood when it was asked last.
#[derive(Default)]
pub(crate) struct Stands {
    last: Mutex<Option<Seen>>,
}

struct Seen {
    changes: u64,
    at_s: u64,
    stand: Arc<Stand>,
}

impl Stands {
    /// How they stand at `now_s`, POSIX seconds: as they were read last if nothing was noted since, else as `read` says.
    ///
    /// # Errors
    /// Those of `read`.
    pub(crate) fn at<E>(
        &self,
        now_s: u64,
        changes: &Changes,
        read: impl FnOnce() -> Result<Stand, E>,
    ) -> Result<Arc<Stand>, E> {
        // Counted before it is read: what changes meanwhile makes this one old at once.
        let count = changes.count();
        let is_now = |seen: &&Seen| seen.changes == count && seen.at_s == now_s;
        if let Some(seen) = locked(&self.last).as_ref().filter(is_now) {
            return Ok(seen.stand.clone());
        }
        let stand = Arc::new(read()?);
        *locked(&self.last) = Some(Seen {
            changes: count,
            at_s: now_s,
            stand: stand.clone(),
        });
        Ok(stand)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::convert::Infallible;

    use super::*;

    fn nobody() -> Stand {
        Stand {
            logs: Vec::new(),
            evidence: BTreeMap::new(),
            moment: Arc::new(Moment::of(&[])),
        }
    }

    #[test]
    fn how_logs_stand_is_read_once_until_a_change_is_noted_or_a_second_has_passed() {
        let (stands, changes, reads) = (Stands::default(), Changes::default(), Cell::new(0));
        let at = |now_s| {
            let read = || {
                reads.set(reads.get() + 1);
                Ok::<_, Infallible>(nobody())
            };
            let Ok(_) = stands.at(now_s, &changes, read);
            reads.get()
        };
        assert_eq!([at(100), at(100)], [1, 1]);
        changes.clone().note();
        assert_eq!([at(100), at(100)], [2, 2]);
        assert_eq!([at(101), at(101)], [3, 3]);
        assert_eq!(at(100), 4, "the clock was put back");
    }

    #[test]
    fn what_changes_while_it_is_read_is_read_again() {
        let (stands, changes, reads) = (Stands::default(), Changes::default(), Cell::new(0));
        let at = |changes_meanwhile: bool| {
            let read = || {
                reads.set(reads.get() + 1);
                if changes_meanwhile {
                    changes.note();
                }
                Ok::<_, Infallible>(nobody())
            };
            let Ok(_) = stands.at(100, &changes, read);
            reads.get()
        };
        assert_eq!([at(true), at(false), at(false)], [1, 2, 2]);
    }
}

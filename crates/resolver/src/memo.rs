//! Decisions of the last few seconds, so that the many questions about one closure are answered from one piece of
//! evidence.
//!
//! Nothing is ever given out after its time, or after the clock was set back behind it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use quorix_nix::store_path::HashPart;

use crate::decide::Settled;

/// Most decisions that are remembered.
const DECISIONS_MAX: usize = 50_000;

/// Recent decisions by hash part.
pub(crate) struct Memo {
    ttl_s: u64,
    settled: Mutex<HashMap<HashPart, Arc<Settled>>>,
}

impl Memo {
    /// Remembers for this long, in whole seconds.
    pub(crate) fn new(ttl: Duration) -> Self {
        Self {
            ttl_s: ttl.as_secs(),
            settled: Mutex::default(),
        }
    }

    pub(crate) fn get(&self, part: &HashPart, now_s: u64) -> Option<Arc<Settled>> {
        let settled = locked(&self.settled);
        settled
            .get(part)
            .filter(|settled| self.holds(settled, now_s))
            .cloned()
    }

    pub(crate) fn remember(&self, new: impl IntoIterator<Item = Arc<Settled>>, now_s: u64) {
        if self.ttl_s == 0 {
            return;
        }
        let mut settled = locked(&self.settled);
        settled.retain(|_, settled| self.holds(settled, now_s));
        for one in new {
            if settled.len() < DECISIONS_MAX {
                settled.insert(one.decision.asked.clone(), one);
            }
        }
    }

    pub(crate) fn forget_all(&self) {
        locked(&self.settled).clear();
    }

    fn holds(&self, settled: &Settled, now_s: u64) -> bool {
        let age_s = now_s.checked_sub(settled.whole_at_s);
        age_s.is_some_and(|age_s| age_s < self.ttl_s)
            && settled
                .decision
                .valid_until_s
                .is_none_or(|until_s| now_s < until_s)
    }
}

/// Locks; what a panicking thread left behind is used as it is, which every lock in this crate allows.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! How many checkpoints of one log a witness cosigns in one minute. Time is an argument.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Counts by origin and minute. Only origins that are configured come here, so it stays small.
pub(super) struct Rate {
    per_minute: u32,
    minutes: Mutex<BTreeMap<String, (u64, u32)>>,
}

impl Rate {
    pub(super) const fn new(per_minute: u32) -> Self {
        Self {
            per_minute,
            minutes: Mutex::new(BTreeMap::new()),
        }
    }

    pub(super) const fn per_minute(&self) -> u32 {
        self.per_minute
    }

    /// Takes one of the log's share of this minute; `false` if it is used up.
    pub(super) fn take(&self, origin: &str, now: u64) -> bool {
        let minute = now / 60;
        // A count is whole at any moment, so a panic elsewhere leaves nothing half-changed.
        let mut minutes = self.minutes.lock().unwrap_or_else(PoisonError::into_inner);
        let (of, used) = minutes.entry(origin.to_owned()).or_default();
        if *of != minute {
            (*of, *used) = (minute, 0);
        }
        if *used >= self.per_minute {
            return false;
        }
        *used = used.saturating_add(1);
        true
    }
}

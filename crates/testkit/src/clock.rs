//! A clock that stands still until a test moves it.
//!
//! It never reads the time of the machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// POSIX seconds under a test's control. Clones show the same time.
#[derive(Clone, Debug)]
pub struct ManualClock {
    now_s: Arc<AtomicU64>,
}

impl ManualClock {
    /// A clock that shows this POSIX second.
    #[must_use]
    pub fn at(now_s: u64) -> Self {
        Self {
            now_s: Arc::new(AtomicU64::new(now_s)),
        }
    }

    /// The POSIX second that it shows.
    #[must_use]
    pub fn now_s(&self) -> u64 {
        self.now_s.load(Ordering::SeqCst)
    }

    /// Moves it, forward or back.
    pub fn set(&self, now_s: u64) {
        self.now_s.store(now_s, Ordering::SeqCst);
    }

    /// Moves it forward.
    pub fn advance(&self, seconds: u64) {
        self.now_s.fetch_add(seconds, Ordering::SeqCst);
    }

    /// The clock as services take it.
    #[must_use]
    pub fn as_fn(&self) -> Arc<dyn Fn() -> u64 + Send + Sync> {
        let clock = self.clone();
        Arc::new(move || clock.now_s())
    }
}

impl Default for ManualClock {
    /// 2026-01-01, midnight UTC.
    fn default() -> Self {
        Self::at(1_767_225_600)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_moves_only_when_told_to() {
        let clock = ManualClock::at(10);
        let as_fn = clock.as_fn();
        assert_eq!(as_fn(), 10);
        clock.advance(5);
        assert_eq!(as_fn(), 15);
        clock.set(3);
        assert_eq!(as_fn(), 3);
    }
}

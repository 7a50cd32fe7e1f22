//! Pauses that double up to a limit, with jitter, so that many builders do not come back to a log all at once.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::Duration;

use quorix_wire::client::jittered;

/// Counts failures in a row.
#[derive(Debug)]
pub(super) struct BackOff {
    min: Duration,
    max: Duration,
    failures: u32,
}

impl BackOff {
    pub(super) fn new(min: Duration, max: Duration) -> Self {
        Self {
            min,
            max,
            failures: 0,
        }
    }

    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// The pause after a failure: what the log asks for, where it says; it knows better when it has room.
    pub(super) fn after(&mut self, asked: Option<Duration>) -> Duration {
        match asked {
            Some(wait) => jittered(wait.min(self.max)),
            None => self.next_pause(),
        }
    }

    pub(super) fn next_pause(&mut self) -> Duration {
        self.failures = self.failures.saturating_add(1);
        Self::pause(self.min, self.max, self.failures)
    }

    /// The pause after so many failures in a row: between half of the doubled minimum and all of it.
    pub(super) fn pause(min: Duration, max: Duration, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(20);
        let whole = min.saturating_mul(1_u32 << doublings).min(max);
        let half = whole / 2;
        // The standard library seeds each of these anew: random enough to spread load.
        let random = RandomState::new().hash_one(failures) % 1024;
        half + (half / 1024).saturating_mul(u32::try_from(random).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_limit_and_never_vanish() {
        let (min, max) = (Duration::from_secs(1), Duration::from_secs(60));
        let mut back_off = BackOff::new(min, max);
        for whole in [1, 2, 4, 8, 16, 32, 60, 60] {
            let pause = back_off.next_pause();
            assert!(
                pause >= Duration::from_secs(whole) / 2 && pause <= Duration::from_secs(whole),
                "{pause:?}"
            );
        }
        for _ in 0..100 {
            assert!(back_off.next_pause() <= max);
        }
        back_off.reset();
        assert!(back_off.next_pause() <= min);
    }

    #[test]
    fn a_log_that_says_when_to_come_back_is_left_alone_that_long_and_no_longer_than_the_limit() {
        let (min, max) = (Duration::from_secs(1), Duration::from_secs(10));
        let mut back_off = BackOff::new(min, max);
        for (asked, least) in [(200, 200), (5_000, 5_000), (60_000, 10_000)] {
            let least = Duration::from_millis(least);
            let pause = back_off.after(Some(Duration::from_millis(asked)));
            assert!(pause >= least && pause <= least * 3 / 2, "{pause:?}");
        }
        // A busy log is no failing log: the doubling has not begun.
        let pause = back_off.after(None);
        assert!(pause >= min / 2 && pause <= min, "{pause:?}");
    }
}

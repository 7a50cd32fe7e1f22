//! How much one submitter may send: a bucket that fills with time, for requests, entries and bytes.
//!
//! A request is let in while the bucket is not empty and pays when its size is known, so the last one may leave a debt.
//! The time is an argument; one that goes back counts as standing still.

use std::time::Duration;

use crate::config::REQUEST_BYTES_MAX;

/// For how many seconds' worth an idle submitter may send at once.
const BURST_S: u64 = 10;
/// What one thing is counted in, so that a nanosecond's share of a rate is a whole number.
const PART: i128 = 1_000_000_000;

/// What one submitter may send. A burst of ten seconds' worth is let through after a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Submissions a second.
    pub requests_per_second: u64,
    /// Entries a second.
    pub entries_per_second: u64,
    /// Bytes of entries and blobs a second.
    pub bytes_per_second: u64,
    /// Bytes of entries and blobs of one submission.
    pub request_bytes: u64,
}

impl Default for Limits {
    /// More than any machine builds, less than what keeps others waiting.
    fn default() -> Self {
        Self {
            requests_per_second: 1_000,
            entries_per_second: 20_000,
            bytes_per_second: 32 * 1024 * 1024,
            request_bytes: u64::try_from(REQUEST_BYTES_MAX).unwrap_or(u64::MAX),
        }
    }
}

/// What one submitter may still send.
#[derive(Clone, Debug)]
pub(super) struct Allowance {
    limits: Limits,
    requests: Bucket,
    entries: Bucket,
    bytes: Bucket,
}

#[derive(Clone, Debug)]
struct Bucket {
    rate: u64,
    /// In parts; below zero is a debt.
    balance: i128,
    at: Duration,
}

impl Allowance {
    pub(super) fn full(limits: Limits, now: Duration) -> Self {
        Self {
            limits,
            requests: Bucket::full(limits.requests_per_second, now),
            entries: Bucket::full(limits.entries_per_second, now),
            bytes: Bucket::full(limits.bytes_per_second, now),
        }
    }

    /// Lets one request in, or says how long to wait.
    pub(super) fn begin(&mut self, now: Duration) -> Result<(), Duration> {
        let waits =
            [&mut self.requests, &mut self.entries, &mut self.bytes].map(|bucket| bucket.wait(now));
        match waits.into_iter().max() {
            Some(wait) if !wait.is_zero() => Err(wait),
            _ => {
                self.requests.spend(1, now);
                Ok(())
            }
        }
    }

    pub(super) fn spend(&mut self, entries: u64, bytes: u64, now: Duration) {
        self.entries.spend(entries, now);
        self.bytes.spend(bytes, now);
    }

    pub(super) fn request_bytes(&self) -> u64 {
        self.limits.request_bytes
    }
}

impl Bucket {
    fn full(rate: u64, now: Duration) -> Self {
        Self {
            rate,
            balance: Self::most(rate),
            at: now,
        }
    }

    fn most(rate: u64) -> i128 {
        i128::from(rate)
            .saturating_mul(BURST_S.into())
            .saturating_mul(PART)
    }

    fn fill(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.at).as_nanos();
        let gained = i128::try_from(passed)
            .unwrap_or(i128::MAX)
            .saturating_mul(self.rate.into());
        self.balance = self
            .balance
            .saturating_add(gained)
            .min(Self::most(self.rate));
        self.at = self.at.max(now);
    }

    /// How long until there is a whole one; zero if there is now.
    fn wait(&mut self, now: Duration) -> Duration {
        self.fill(now);
        let missing = PART.saturating_sub(self.balance);
        if missing <= 0 {
            return Duration::ZERO;
        }
        let nanos = missing
            .checked_div(self.rate.into())
            .unwrap_or(i128::MAX)
            .saturating_add(1);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    fn spend(&mut self, count: u64, now: Duration) {
        self.fill(now);
        self.balance = self
            .balance
            .saturating_sub(i128::from(count).saturating_mul(PART));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        requests_per_second: 2,
        entries_per_second: 100,
        bytes_per_second: 1_000,
        request_bytes: 500,
    };

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_burst_of_ten_seconds_worth_is_let_through_and_then_the_rate() {
        let mut allowance = Allowance::full(LIMITS, seconds(100));
        for _ in 0..20 {
            assert_eq!(allowance.begin(seconds(100)), Ok(()));
        }
        let wait = allowance.begin(seconds(100)).unwrap_err();
        assert_eq!(wait, Duration::from_millis(500) + Duration::from_nanos(1));
        assert_eq!(allowance.begin(seconds(100) + wait), Ok(()));
        assert!(allowance.begin(seconds(100) + wait).is_err());
        // A long pause earns no more than the burst.
        let later = seconds(1_000_000);
        let let_in = (0..100).filter(|_| allowance.begin(later).is_ok()).count();
        assert_eq!(let_in, 20);
    }

    #[test]
    fn a_debt_of_entries_or_bytes_has_to_be_waited_out() {
        let mut allowance = Allowance::full(LIMITS, seconds(0));
        allowance.spend(1_200, 0, seconds(0));
        let wait = allowance.begin(seconds(0)).unwrap_err();
        assert_eq!(wait, Duration::from_millis(2_010) + Duration::from_nanos(1));
        assert_eq!(allowance.begin(wait), Ok(()));
        allowance.spend(0, 100_000, wait);
        assert!(allowance.begin(wait).unwrap_err() > seconds(80));
    }

    #[test]
    fn a_clock_that_goes_back_stands_still() {
        let mut allowance = Allowance::full(LIMITS, seconds(100));
        for _ in 0..20 {
            assert_eq!(allowance.begin(seconds(50)), Ok(()));
        }
        assert!(allowance.begin(seconds(50)).is_err());
        assert!(allowance.begin(seconds(100)).is_err());
        assert_eq!(allowance.begin(seconds(101)), Ok(()));
    }

    #[test]
    fn a_rate_of_nothing_lets_nothing_in_after_its_burst_of_nothing() {
        let none = Limits {
            requests_per_second: 0,
            ..LIMITS
        };
        let mut allowance = Allowance::full(none, seconds(0));
        assert_eq!(
            allowance.begin(seconds(5)),
            Err(Duration::from_nanos(u64::MAX))
        );
    }
}

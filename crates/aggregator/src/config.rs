//! Intervals, limits and budgets of an aggregator, with defaults that suit a laptop and a server alike.
//!
//! Nothing here is read from files or the environment: `quorix` does that.

use std::time::Duration;

use quorix_nix::store_path::StoreDir;

use crate::error::StartError;

/// How an aggregator follows and answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AggregatorConfig {
    /// The store directory that is asked about.
    pub store_dir: StoreDir,
    /// Time between two looks at a log that answers; up to a tenth is added at random. At least 10 ms.
    pub poll_interval: Duration,
    /// A log whose last verified answer is older than this is stale. At least `poll_interval`.
    pub stale_after: Duration,
    /// The longest that one request to a log may take. A look at a log is several requests.
    pub request_timeout: Duration,
    /// Entries fetched, verified and committed at a time; 256 to 262,144. A log that grew by more is caught up in
    /// several commits, each of them proved to be part of the tree that the log signed.
    pub batch_entries: u64,
    /// Bytes of entries after which a batch ends early; at most 256 MiB. It may be overstepped by a few bundles of
    /// at most 16 MiB each, which are under way at once.
    pub batch_bytes: usize,
    /// The longest that one question may wait for binary caches and for missing blobs in all.
    pub cache_budget: Duration,
    /// Requests to one binary cache at a time, over all questions.
    pub cache_concurrency: usize,
    /// How many content-addressed paths one question may have fetched and recomputed.
    pub content_checks: usize,
    /// The longest that one question may wait for content-addressed paths in all.
    pub content_budget: Duration,
    /// Outputs that one question may reach, those of its closure included.
    pub outputs_max: usize,
    /// Bytes of entries, proofs and blobs that one answer may have. One log that takes far more of it than the others
    /// is left out of the answer, and stale in it.
    pub evidence_bytes_max: usize,
}

impl Default for AggregatorConfig {
    fn default() -> Self {
        Self {
            store_dir: StoreDir::default(),
            poll_interval: Duration::from_secs(10),
            stale_after: Duration::from_secs(60),
            request_timeout: Duration::from_secs(20),
            batch_entries: 8_192,
            batch_bytes: 16 * 1024 * 1024,
            cache_budget: Duration::from_secs(5),
            cache_concurrency: 16,
            content_checks: 64,
            content_budget: Duration::from_secs(30),
            outputs_max: 10_000,
            evidence_bytes_max: 48 * 1024 * 1024,
        }
    }
}

impl AggregatorConfig {
    /// Refuses values with which following or answering cannot work.
    ///
    /// # Errors
    /// [`StartError::Config`] naming the field and what is allowed.
    pub fn check(&self) -> Result<(), StartError> {
        let rules = [
            (
                self.poll_interval >= Duration::from_millis(10),
                "poll_interval",
                "at least 10 ms",
            ),
            (
                self.stale_after >= self.poll_interval,
                "stale_after",
                "at least poll_interval",
            ),
            (
                !self.request_timeout.is_zero(),
                "request_timeout",
                "more than 0",
            ),
            (
                (256..=262_144).contains(&self.batch_entries),
                "batch_entries",
                "256 to 262,144",
            ),
            (
                (1..=256 << 20).contains(&self.batch_bytes),
                "batch_bytes",
                "1 byte to 256 MiB",
            ),
            (
                (1..=1_024).contains(&self.cache_concurrency),
                "cache_concurrency",
                "1 to 1,024",
            ),
            (
                (1..=10_000).contains(&self.outputs_max),
                "outputs_max",
                "1 to 10,000",
            ),
            (
                (1..=48 << 20).contains(&self.evidence_bytes_max),
                "evidence_bytes_max",
                "1 byte to 48 MiB",
            ),
        ];
        match rules.into_iter().find(|(holds, _, _)| !holds) {
            Some((_, field, allowed)) => Err(StartError::Config { field, allowed }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_allowed() {
        assert_eq!(AggregatorConfig::default().check(), Ok(()));
    }

    #[test]
    fn a_value_that_cannot_work_is_named_with_what_is_allowed() {
        let config = AggregatorConfig {
            batch_entries: 1,
            ..AggregatorConfig::default()
        };
        assert_eq!(
            config.check(),
            Err(StartError::Config {
                field: "batch_entries",
                allowed: "256 to 262,144"
            })
        );
        let config = AggregatorConfig {
            stale_after: Duration::from_secs(1),
            ..AggregatorConfig::default()
        };
        assert_eq!(
            config.check(),
            Err(StartError::Config {
                field: "stale_after",
                allowed: "at least poll_interval"
            })
        );
    }
}

//! What a log counts: `quorix_log_…`.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

type Labels = [(&'static str, &'static str); 1];

/// Clones count together.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    /// Entries in the published tree.
    pub(crate) size: Gauge,
    /// Commits that became durable.
    pub(crate) commits: Counter,
    /// Time of a commit, until it was durable.
    pub(crate) commit_time: Histogram,
    /// 1 once the log has stopped for good.
    pub(crate) stopped: Gauge,
    /// 1 while it is not known what the database holds.
    pub(crate) in_doubt: Gauge,
    /// Durable entries that are not published yet.
    pub(crate) unpublished: Gauge,
    entries: Family<Labels, Counter>,
    requests: Family<Labels, Counter>,
}

impl Metrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            size: Gauge::default(),
            commits: Counter::default(),
            commit_time: Histogram::new(exponential_buckets(0.000_5, 2.0, 16)),
            stopped: Gauge::default(),
            in_doubt: Gauge::default(),
            unpublished: Gauge::default(),
            entries: Family::default(),
            requests: Family::default(),
        };
        let log = registry.sub_registry_with_prefix("quorix_log");
        log.register(
            "size",
            "Entries in the published tree",
            metrics.size.clone(),
        );
        log.register(
            "commits",
            "Commits that became durable",
            metrics.commits.clone(),
        );
        log.register_with_unit(
            "commit",
            "Time of a commit until it was durable",
            Unit::Seconds,
            metrics.commit_time.clone(),
        );
        log.register(
            "stopped",
            "1 once the log has stopped for good",
            metrics.stopped.clone(),
        );
        log.register(
            "in_doubt",
            "1 while a write has failed and the log finds out what its database holds",
            metrics.in_doubt.clone(),
        );
        log.register(
            "unpublished",
            "Durable entries that wait for witnesses",
            metrics.unpublished.clone(),
        );
        log.register(
            "entries",
            "Acknowledged entries by what became of them",
            metrics.entries.clone(),
        );
        log.register(
            "requests",
            "Submissions by how they were answered",
            metrics.requests.clone(),
        );
        metrics
    }

    /// The published tree has this many entries.
    pub(crate) fn published(&self, size: u64) {
        self.size.set(i64::try_from(size).unwrap_or(i64::MAX));
    }

    /// Acknowledged entries: `appended` or `duplicate`.
    pub(crate) fn entries(&self, outcome: &'static str, count: usize) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.entries
            .get_or_create(&[("outcome", outcome)])
            .inc_by(count);
    }

    /// One answered submission: `ok`, `refused`, `busy`, `unavailable` or `stopped`.
    pub(crate) fn request(&self, answer: &'static str) {
        self.requests.get_or_create(&[("answer", answer)]).inc();
    }
}

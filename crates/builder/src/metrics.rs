//! What the builder's side counts. One registry for the whole program is handed in.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// The counters of one flusher.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    pub(crate) jobs_waiting: Gauge,
    pub(crate) jobs_rejected: Counter,
    pub(crate) attestations_acknowledged: Counter,
    pub(crate) submissions_failed: Counter,
}

impl Metrics {
    /// Counters that are shown by `registry`.
    #[must_use]
    pub fn new(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "quorix_builder_jobs_waiting",
            "Builds in the outbox that the log has not acknowledged yet",
            metrics.jobs_waiting.clone(),
        );
        registry.register(
            "quorix_builder_jobs_rejected",
            "Builds set aside because they can never be attested as they are",
            metrics.jobs_rejected.clone(),
        );
        registry.register(
            "quorix_builder_attestations_acknowledged",
            "Log entries that the log has acknowledged",
            metrics.attestations_acknowledged.clone(),
        );
        registry.register(
            "quorix_builder_submissions_failed",
            "Attempts to reach the log that failed",
            metrics.submissions_failed.clone(),
        );
        metrics
    }
}

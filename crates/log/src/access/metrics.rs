//! Who submitted how much, and what was refused: `quorix_log_submitter_…`. Labels are names of the configuration.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::{Registry, Unit};

use super::Refusal;

type Submitter = [(&'static str, String); 1];
type Reason = [(&'static str, &'static str); 1];

/// Clones count together.
#[derive(Clone, Debug, Default)]
pub(super) struct Metrics {
    requests: Family<Submitter, Counter>,
    entries: Family<Submitter, Counter>,
    bytes: Family<Submitter, Counter>,
    limited: Family<Submitter, Counter>,
    refused: Family<Reason, Counter>,
}

impl Metrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let log = registry.sub_registry_with_prefix("quorix_log");
        log.register(
            "submitter_requests",
            "Submissions that were let in, by submitter",
            metrics.requests.clone(),
        );
        log.register(
            "submitter_entries",
            "Entries of these, by submitter",
            metrics.entries.clone(),
        );
        log.register_with_unit(
            "submitter",
            "Entries and blobs of these, by submitter",
            Unit::Bytes,
            metrics.bytes.clone(),
        );
        log.register(
            "submitter_limited",
            "Submissions above the submitter's limits",
            metrics.limited.clone(),
        );
        log.register(
            "access_refused",
            "Submissions that were not let in, by reason",
            metrics.refused.clone(),
        );
        metrics
    }

    pub(super) fn submitted(&self, submitter: &str, entries: u64, bytes: u64) {
        let label = [("submitter", submitter.to_owned())];
        self.requests.get_or_create(&label).inc();
        self.entries.get_or_create(&label).inc_by(entries);
        self.bytes.get_or_create(&label).inc_by(bytes);
    }

    pub(super) fn refused(&self, refusal: &Refusal) {
        let reason = match refusal {
            Refusal::NotKnown => "not_known",
            Refusal::Stale => "stale",
            Refusal::User { .. } => "user",
            Refusal::TooLarge { .. } => "too_large",
            Refusal::Limited { submitter, .. } => {
                let label = [("submitter", submitter.to_string())];
                self.limited.get_or_create(&label).inc();
                "limited"
            }
        };
        self.refused.get_or_create(&[("reason", reason)]).inc();
    }
}

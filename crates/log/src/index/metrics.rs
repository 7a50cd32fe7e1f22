//! What an index tells of itself: `quorix_log_index_…`.

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::IndexStatus;

pub(super) struct IndexMetrics {
    covered: Gauge,
    behind: Gauge,
    behind_s: Gauge,
    keys: Gauge,
    answering: Gauge,
}

impl IndexMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            covered: Gauge::default(),
            behind: Gauge::default(),
            behind_s: Gauge::default(),
            keys: Gauge::default(),
            answering: Gauge::default(),
        };
        let index = registry.sub_registry_with_prefix("quorix_log_index");
        index.register(
            "covered",
            "Entries that the index covers",
            metrics.covered.clone(),
        );
        index.register(
            "behind",
            "Published entries that the index does not cover yet",
            metrics.behind.clone(),
        );
        index.register(
            "behind_seconds",
            "Seconds since fewer than 16 entries were behind",
            metrics.behind_s.clone(),
        );
        index.register("keys", "Keys in the index", metrics.keys.clone());
        index.register(
            "answering",
            "1 if look-ups are answered: the index is open, of this log, and cosigned where the log has witnesses",
            metrics.answering.clone(),
        );
        metrics
    }

    pub(super) fn set(&self, status: &IndexStatus) {
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        self.covered.set(number(status.covered));
        self.behind.set(number(status.behind));
        self.behind_s.set(number(status.behind_s));
        self.keys.set(number(status.keys));
        self.answering.set(i64::from(status.answering));
    }
}

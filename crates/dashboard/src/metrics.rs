//! Counters of the dashboard: pages by kind and status, failures of the aggregator by kind. Never counts anything by
//! what visitors look at.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// The counters.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    responses: Family<Response, Counter>,
    failures: Family<Failure, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Response {
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Failure {
    kind: &'static str,
}

impl Metrics {
    /// Registers the counters.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "quorix_dashboard_responses",
            "Responses of the dashboard by HTTP status",
            metrics.responses.clone(),
        );
        registry.register(
            "quorix_dashboard_aggregator_failures",
            "Questions that the aggregator did not answer, by kind",
            metrics.failures.clone(),
        );
        metrics
    }

    /// Counts a response.
    pub(crate) fn response(&self, status: u16) {
        self.responses.get_or_create(&Response { status }).inc();
    }

    /// Counts a failure of the aggregator.
    pub(crate) fn failure(&self, kind: &'static str) {
        self.failures.get_or_create(&Failure { kind }).inc();
    }
}

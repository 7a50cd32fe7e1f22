//! Counters, named `quorix_resolver_…`.
//!
//! Labels are fixed words, never hashes or paths, so their number is bounded.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use quorix_trust::decision::Outcome;

use crate::sources::FailureKind;

const PREFIX: &str = "quorix_resolver";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByOutcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByReason {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByStatus {
    status: u16,
}

/// What is counted while deciding and serving.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServiceMetrics {
    decisions: Family<ByOutcome, Counter>,
    undecided: Counter,
    left_out: Counter,
    answers: Family<ByStatus, Counter>,
    nar_bytes: Counter,
}

impl ServiceMetrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let registry = registry.sub_registry_with_prefix(PREFIX);
        registry.register(
            "decisions",
            "Outputs decided, by outcome",
            metrics.decisions.clone(),
        );
        registry.register(
            "undecided",
            "Outputs of which it could not be found out",
            metrics.undecided.clone(),
        );
        registry.register(
            "left_out",
            "Entries that the aggregator left out of an answer and their logs gave",
            metrics.left_out.clone(),
        );
        registry.register("answers", "HTTP answers by status", metrics.answers.clone());
        registry.register(
            "nar_bytes",
            "Bytes of NARs in answers",
            metrics.nar_bytes.clone(),
        );
        metrics
    }

    pub(crate) fn decided(&self, outcome: Outcome) {
        self.decisions
            .get_or_create(&ByOutcome {
                outcome: word(outcome),
            })
            .inc();
    }

    pub(crate) fn undecided(&self) {
        self.undecided.inc();
    }

    pub(crate) fn left_out(&self, entries: usize) {
        self.left_out
            .inc_by(u64::try_from(entries).unwrap_or(u64::MAX));
    }

    pub(crate) fn answered(&self, status: u16, nar_bytes: u64) {
        self.answers.get_or_create(&ByStatus { status }).inc();
        self.nar_bytes.inc_by(nar_bytes);
    }
}

/// What is counted while reading sources.
#[derive(Clone, Debug, Default)]
pub(crate) struct SourceMetrics {
    failures: Family<ByReason, Counter>,
    fetched: Counter,
    fetched_bytes: Counter,
}

impl SourceMetrics {
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let registry = registry.sub_registry_with_prefix(PREFIX);
        registry.register(
            "source_failures",
            "Sources passed over, by reason",
            metrics.failures.clone(),
        );
        registry.register(
            "nars_fetched",
            "NARs fetched and verified",
            metrics.fetched.clone(),
        );
        registry.register(
            "nar_bytes_fetched",
            "Bytes of NARs fetched and verified",
            metrics.fetched_bytes.clone(),
        );
        metrics
    }

    pub(crate) fn failed(&self, kind: FailureKind) {
        self.failures
            .get_or_create(&ByReason {
                reason: kind.label(),
            })
            .inc();
    }

    pub(crate) fn fetched(&self, bytes: u64) {
        self.fetched.inc();
        self.fetched_bytes.inc_by(bytes);
    }
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Accepted => "accepted",
        Outcome::Insufficient => "insufficient",
        Outcome::Unknown => "unknown",
        Outcome::Conflict => "conflict",
        Outcome::Vetoed => "vetoed",
        Outcome::VetoUnavailable => "veto_unavailable",
        Outcome::BlockedBy => "blocked_by",
        Outcome::Denied => "denied",
        Outcome::Waiting => "waiting",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_has_the_prefix_of_the_resolver() {
        let mut registry = Registry::default();
        let (service, sources) = (
            ServiceMetrics::register(&mut registry),
            SourceMetrics::register(&mut registry),
        );
        service.decided(Outcome::Accepted);
        service.answered(200, 120);
        sources.failed(FailureKind::Corrupt);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "quorix_resolver_decisions_total{outcome=\"accepted\"} 1",
            "quorix_resolver_nar_bytes_total 120",
            "quorix_resolver_source_failures_total{reason=\"corrupt\"} 1",
        ] {
            assert!(text.contains(line), "{text}");
        }
        let values = text.lines().filter(|line| !line.starts_with('#'));
        assert!(
            values.clone().count() > 0
                && values
                    .clone()
                    .all(|line| line.starts_with("quorix_resolver_")),
            "{text}"
        );
    }
}

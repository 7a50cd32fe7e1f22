//! Counters and gauges, named `quorix_aggregator_…`.
//!
//! Labels are names from the policy and fixed words only, never hashes or paths, so their number is bounded.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// How a look at a log ends.
const POLL_RESULTS: [&str; 5] = ["advanced", "alive", "failed", "quarantined", "unverifiable"];

/// A log or cache of the policy, by its name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ByName {
    name: String,
}

/// A log or cache by its name, and how something ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ByResult {
    name: String,
    result: &'static str,
}

/// What an aggregator counts. Clones count together.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    log_size: Family<ByName, Gauge>,
    log_state: Family<ByName, Gauge>,
    polls: Family<ByResult, Counter>,
    entries: Family<ByName, Counter>,
    opaque: Family<ByName, Counter>,
    cache_answers: Family<ByResult, Counter>,
    decisions: Counter,
    evidence: Counter,
    gossip: Family<ByResult, Counter>,
    webhook: Family<ByEnd, Counter>,
}

/// How something ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ByEnd {
    result: &'static str,
}

impl Metrics {
    /// Registers everything under the prefix `quorix_aggregator`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let registry = registry.sub_registry_with_prefix("quorix_aggregator");
        registry.register(
            "log_size_entries",
            "Size of the last verified checkpoint",
            metrics.log_size.clone(),
        );
        registry.register(
            "log_state",
            "0 stale, 1 live, 2 quarantined",
            metrics.log_state.clone(),
        );
        registry.register(
            "polls",
            "Looks at a log by how they ended",
            metrics.polls.clone(),
        );
        registry.register(
            "entries",
            "Entries verified and indexed",
            metrics.entries.clone(),
        );
        registry.register(
            "opaque_entries",
            "Entries kept though they do not parse",
            metrics.opaque.clone(),
        );
        registry.register(
            "cache_answers",
            "Answers of binary caches by what they were",
            metrics.cache_answers.clone(),
        );
        registry.register("decisions", "Outputs decided", metrics.decisions.clone());
        registry.register(
            "evidence_outputs",
            "Outputs for which evidence was given",
            metrics.evidence.clone(),
        );
        registry.register(
            "gossip",
            "Exchanges with a peer by how they ended",
            metrics.gossip.clone(),
        );
        registry.register(
            "webhook_events",
            "Events that were posted, given up or missed",
            metrics.webhook.clone(),
        );
        metrics
    }

    pub(crate) fn gossiped(&self, peer: &str, result: &'static str) {
        let name = peer.to_owned();
        self.gossip.get_or_create(&ByResult { name, result }).inc();
    }

    /// Events that were not posted because too many waited.
    pub(crate) fn missed(&self, events: u64) {
        let result = "missed";
        self.webhook.get_or_create(&ByEnd { result }).inc_by(events);
    }

    pub(crate) fn posted(&self, result: &'static str) {
        self.webhook.get_or_create(&ByEnd { result }).inc();
    }

    pub(crate) fn polled(&self, name: &str, result: &'static str) {
        self.polls
            .get_or_create(&ByResult {
                name: name.to_owned(),
                result,
            })
            .inc();
    }

    pub(crate) fn advanced(&self, name: &str, size: u64, entries: u64, opaque: u64) {
        let name = ByName {
            name: name.to_owned(),
        };
        self.log_size
            .get_or_create(&name)
            .set(i64::try_from(size).unwrap_or(i64::MAX));
        self.entries.get_or_create(&name).inc_by(entries);
        self.opaque.get_or_create(&name).inc_by(opaque);
    }

    /// Forgets what is told of a log that the policy names no more.
    pub(crate) fn forget_log(&self, name: &str) {
        let of_log = ByName {
            name: name.to_owned(),
        };
        self.log_size.remove(&of_log);
        self.log_state.remove(&of_log);
        self.entries.remove(&of_log);
        self.opaque.remove(&of_log);
        for result in POLL_RESULTS {
            let name = name.to_owned();
            self.polls.remove(&ByResult { name, result });
        }
    }

    pub(crate) fn log_state(&self, name: &str, state: i64) {
        self.log_state
            .get_or_create(&ByName {
                name: name.to_owned(),
            })
            .set(state);
    }

    pub(crate) fn cache_answered(&self, name: &str, result: &'static str) {
        self.cache_answers
            .get_or_create(&ByResult {
                name: name.to_owned(),
                result,
            })
            .inc();
    }

    pub(crate) fn decided(&self, outputs: usize) {
        self.decisions
            .inc_by(u64::try_from(outputs).unwrap_or(u64::MAX));
    }

    pub(crate) fn evidence_given(&self, outputs: usize) {
        self.evidence
            .inc_by(u64::try_from(outputs).unwrap_or(u64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_has_the_prefix_of_the_aggregator() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        metrics.polled("alice", "advanced");
        metrics.advanced("alice", 7, 7, 1);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        assert!(
            text.contains("quorix_aggregator_polls_total{name=\"alice\",result=\"advanced\"} 1"),
            "{text}"
        );
        assert!(
            text.contains("quorix_aggregator_log_size_entries{name=\"alice\"} 7"),
            "{text}"
        );
        assert!(
            text.lines()
                .filter(|line| !line.starts_with('#'))
                .all(|line| line.starts_with("quorix_aggregator_"))
        );
    }
}

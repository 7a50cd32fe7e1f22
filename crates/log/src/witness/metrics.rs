//! What a witness counts: `quorix_witness_…`. The only labels are fixed words and origins from the configuration.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use quorix_tlog::witness::Refusal;

use super::NoCosignature;

type Answers = [(&'static str, &'static str); 1];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Origin {
    origin: String,
}

pub(super) struct Metrics {
    requests: Family<Answers, Counter>,
    time: Histogram,
    sizes: Family<Origin, Gauge>,
}

impl Metrics {
    pub(super) fn register(registry: &mut Registry, logs: usize) -> Self {
        let metrics = Self {
            requests: Family::default(),
            time: Histogram::new(exponential_buckets(0.000_5, 2.0, 16)),
            sizes: Family::default(),
        };
        let configured: Gauge = Gauge::default();
        configured.set(i64::try_from(logs).unwrap_or(i64::MAX));
        let witness = registry.sub_registry_with_prefix("quorix_witness");
        witness.register("logs", "Logs that are cosigned", configured);
        witness.register(
            "requests",
            "Requests by how they were answered",
            metrics.requests.clone(),
        );
        witness.register_with_unit(
            "request",
            "Time of a request until its cosignature was durable",
            Unit::Seconds,
            metrics.time.clone(),
        );
        witness.register(
            "size",
            "Entries in the newest cosigned checkpoint since the start, by log",
            metrics.sizes.clone(),
        );
        metrics
    }

    pub(super) fn answered(&self, answer: &Result<String, NoCosignature>, took: Duration) {
        let word = match answer {
            Ok(_) => {
                self.time.observe(took.as_secs_f64());
                "cosigned"
            }
            Err(NoCosignature::Refused(refusal)) => match refusal {
                Refusal::Malformed(_) | Refusal::OldAboveNew { .. } => "malformed",
                Refusal::UnknownOrigin { .. } => "unknown_log",
                Refusal::NotSigned { .. } | Refusal::BadSignature { .. } => "not_signed",
                Refusal::Stale { .. } => "stale",
                Refusal::NotConsistent(_) => "not_consistent",
                Refusal::ClockBehind { .. } => "clock_behind",
            },
            Err(NoCosignature::TooMany { .. }) => "too_many",
            Err(NoCosignature::Busy) => "busy",
            Err(NoCosignature::Failed { .. }) => "failed",
        };
        self.requests.get_or_create(&[("answer", word)]).inc();
    }

    pub(super) fn cosigned(&self, origin: &str, size: u64) {
        let origin = origin.to_owned();
        let size = i64::try_from(size).unwrap_or(i64::MAX);
        self.sizes.get_or_create(&Origin { origin }).set(size);
    }
}

//! What a log counts about its witnesses: `quorix_log_witness_…`, and of those of its index `quorix_log_index_witness_…`.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

type Labels = [(&'static str, &'static str); 1];

pub(super) struct Metrics {
    answers: Family<Labels, Counter>,
    time: Histogram,
    quorum: Gauge,
}

impl Metrics {
    /// Into a registry that has the prefix.
    pub(super) fn register(witness: &mut Registry) -> Self {
        let metrics = Self {
            answers: Family::default(),
            time: Histogram::new(exponential_buckets(0.001, 2.0, 16)),
            quorum: Gauge::default(),
        };
        witness.register(
            "answers",
            "Answers of witnesses by whether they cosigned",
            metrics.answers.clone(),
        );
        witness.register_with_unit(
            "cosignature",
            "Time until a witness had cosigned",
            Unit::Seconds,
            metrics.time.clone(),
        );
        witness.register(
            "quorum_time",
            "POSIX time of the newest witness quorum; its age is the time now less this",
            metrics.quorum.clone(),
        );
        metrics
    }

    pub(super) fn asked(&self, cosigned: bool, took: Duration) {
        if cosigned {
            self.time.observe(took.as_secs_f64());
        }
        let word = if cosigned { "cosigned" } else { "failed" };
        self.answers.get_or_create(&[("answer", word)]).inc();
    }

    pub(super) fn quorum(&self, time: u64) {
        self.quorum.set(i64::try_from(time).unwrap_or(i64::MAX));
    }
}

//! An aggregator that follows nothing: it answers from what is stored, as if every log had just said so.
//!
//! For looking back without a network. Nothing is fetched, neither from logs nor from caches, and nothing is written.
//! What a log said after its mirrored checkpoint is not known here, a withdrawal neither; whoever asks has to say so.
//! A log without a mirrored checkpoint stays stale, a quarantined one quarantined.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use quorix_trust::policy::Policy;
use quorix_trust::ports::IndexStore;
use quorix_wire::fetch::Fetcher;

use crate::config::AggregatorConfig;
use crate::error::StartError;
use crate::logs::{Condition, Failure, held};
use crate::metrics::Metrics;
use crate::service::{Aggregator, Clock, Shared};

/// Longer than anybody looks back at one moment.
const NEVER_STALE: Duration = Duration::from_secs(365 * 24 * 60 * 60);

impl Aggregator {
    /// An aggregator at rest over a store. `fetcher` is never used.
    ///
    /// # Errors
    /// A configured value cannot work, or the store failed.
    pub fn at_rest(
        index: Arc<dyn IndexStore>,
        policy: &Policy,
        config: AggregatorConfig,
        fetcher: Fetcher,
        clock: Clock,
    ) -> Result<Self, StartError> {
        let config = AggregatorConfig {
            stale_after: NEVER_STALE,
            cache_budget: Duration::ZERO,
            content_budget: Duration::ZERO,
            ..config
        };
        let mut policy = policy.clone();
        // A log that is read nowhere is asked nothing.
        for builder in &mut policy.builders {
            builder.urls.clear();
        }
        let metrics = Metrics::register(&mut Registry::default());
        let mut shared = Shared::new(
            index,
            Arc::new(policy),
            config,
            fetcher,
            None,
            clock,
            metrics,
        )?;
        shared.caches.clear();
        take_as_said_now(&shared)?;
        Ok(Self::of(shared))
    }
}

fn take_as_said_now(shared: &Shared) -> Result<(), StartError> {
    for log in &shared.logs {
        let held = held(log, shared.index.mirror(&log.origin).as_ref())?;
        match held.map(|held| held.signed) {
            Some(Ok(Some(_))) => log.verified((shared.clock)()),
            Some(Err(error)) => log.failed(Failure {
                reason: format!("what is mirrored of it does not verify: {error}"),
                unverifiable: true,
                condition: Condition::Malformed,
            }),
            Some(Ok(None)) | None => log.failed(Failure {
                reason: "nothing of it is mirrored here yet".to_owned(),
                unverifiable: false,
                condition: Condition::Untried,
            }),
        }
    }
    Ok(())
}

//! A resolver for one command: decides here under a policy, and fetches content-addressed paths from sources to recompute
//! them, as a resolver does before it serves one.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use quorix_nix::content_address::ContentAddress;
use quorix_nix::fingerprint::Fingerprint;
use quorix_nix::signature::SecretKey;
use quorix_nix::store_path::HashPart;
use quorix_resolver::config::ResolverConfig;
use quorix_resolver::content::ContentChecker;
use quorix_resolver::service::{Clock, Resolver};
use quorix_resolver::sources::Source;
use quorix_trust::decision::Decision;
use quorix_wire::client::AggregatorClient;
use quorix_wire::fetch::Fetcher;
use tokio::time::{Instant, timeout_at};

use crate::commands::now_s;
use crate::output::Failure;

/// Decides, and serves nobody.
pub(in crate::commands) struct LocalResolver {
    resolver: Resolver,
    _content: LocalContent,
}

/// Recomputes content-addressed paths from sources, for one command.
pub(in crate::commands) struct LocalContent {
    checker: Arc<ContentChecker>,
    config: ResolverConfig,
    /// Where NARs are put that are being recomputed; removed with this.
    _spool: tempfile::TempDir,
}

impl LocalContent {
    /// Fetches from `sources`, as it is asked to.
    pub(in crate::commands) fn new(sources: &[String], fetcher: &Fetcher) -> Result<Self, Failure> {
        let spool = tempfile::tempdir().map_err(Failure::unknown)?;
        let key = SecretKey::from_seed("unused-1".parse().map_err(Failure::unknown)?, [0; 32]);
        let mut config = ResolverConfig::new(key, spool.path().into());
        let sources = sources.iter().map(|source| source.parse::<Source>());
        config.sources = sources.collect::<Result<_, _>>().map_err(Failure::wrong)?;
        let mut registry = Registry::default();
        let checker = ContentChecker::new(&config, fetcher, Arc::new(now_s), &mut registry)
            .map_err(Failure::unknown)?;
        Ok(Self {
            checker,
            config,
            _spool: spool,
        })
    }

    /// The most outputs that a resolver recomputes for one decision, and the longest that it takes for all of them.
    pub(in crate::commands) fn bounds(&self) -> (usize, Duration) {
        (self.config.content_checks, self.config.content_budget)
    }

    /// What these outputs are, and the content addresses from which that follows, as far as some source has them so
    /// before `until`.
    pub(in crate::commands) async fn recompute(
        &self,
        outputs: Vec<HashPart>,
        until: Instant,
    ) -> Vec<(Fingerprint, ContentAddress)> {
        let mut found = Vec::new();
        for output in outputs {
            match timeout_at(until, self.checker.recompute(&output)).await {
                Ok(Ok(recomputed)) => found.extend(recomputed),
                Ok(Err(reason)) => {
                    tracing::warn!(%output, reason, "an output could not be recomputed from its content");
                }
                Err(_) => break,
            }
        }
        found
    }
}

impl LocalResolver {
    /// Decides under the policy of `client`, with bytes of content-addressed paths from `sources`. `timeout` is the longest
    /// for one decision, where it is not a resolver's.
    pub(in crate::commands) fn new(
        client: AggregatorClient,
        sources: &[String],
        fetcher: Fetcher,
        timeout: Option<Duration>,
    ) -> Result<Self, Failure> {
        let content = LocalContent::new(sources, &fetcher)?;
        let mut config = content.config.clone();
        config.decision_timeout = timeout.unwrap_or(config.decision_timeout);
        // Whoever typed this waits; what a resolver does for its clients goes on without them.
        config.hold = config.decision_timeout;
        let (clock, mut registry): (Clock, _) = (Arc::new(now_s), Registry::default());
        let (policy, checker) = (client.policy().clone(), content.checker.clone());
        let resolver = Resolver::new(client, policy, config, checker, clock, &mut registry)
            .map_err(Failure::unknown)?;
        Ok(Self {
            resolver,
            _content: content,
        })
    }

    /// What is decided of an output.
    ///
    /// # Errors
    /// The aggregator could not be asked.
    pub(in crate::commands) async fn decide(&self, asked: &HashPart) -> Result<Decision, Failure> {
        let decision = self.resolver.decide(asked).await;
        let decision = decision.map_err(|error| Failure::unknown(error.explained()))?;
        Ok((*decision).clone())
    }
}

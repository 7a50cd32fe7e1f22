//! A resolver for one command: decides here under a policy, and fetches content-addressed paths from sources to recompute
//! them, as a resolver does before it serves one.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use quorix_nix::signature::SecretKey;
use quorix_nix::store_path::HashPart;
use quorix_resolver::config::ResolverConfig;
use quorix_resolver::content::ContentChecker;
use quorix_resolver::service::{Clock, Resolver};
use quorix_resolver::sources::Source;
use quorix_trust::decision::Decision;
use quorix_wire::client::AggregatorClient;
use quorix_wire::fetch::Fetcher;

use crate::commands::now_s;
use crate::output::Failure;

/// Decides, and serves nobody.
pub(in crate::commands) struct LocalResolver {
    resolver: Resolver,
    /// Where NARs are put that are being recomputed; removed with this.
    _spool: tempfile::TempDir,
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
        let spool = tempfile::tempdir().map_err(Failure::unknown)?;
        let key = SecretKey::from_seed("unused-1".parse().map_err(Failure::unknown)?, [0; 32]);
        let mut config = ResolverConfig::new(key, spool.path().into());
        let sources = sources.iter().map(|source| source.parse::<Source>());
        config.sources = sources.collect::<Result<_, _>>().map_err(Failure::wrong)?;
        config.decision_timeout = timeout.unwrap_or(config.decision_timeout);
        // Whoever typed this waits; what a resolver does for its clients goes on without them.
        config.hold = config.decision_timeout;
        let (clock, mut registry): (Clock, _) = (Arc::new(now_s), Registry::default());
        let content = ContentChecker::new(&config, &fetcher, clock.clone(), &mut registry)
            .map_err(Failure::unknown)?;
        let policy = client.policy().clone();
        let resolver = Resolver::new(client, policy, config, content, clock, &mut registry)
            .map_err(Failure::unknown)?;
        Ok(Self {
            resolver,
            _spool: spool,
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

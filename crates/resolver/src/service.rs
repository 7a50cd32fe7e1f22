//! A resolver: what is accepted is described and signed, and its bytes fetched and verified.
//!
//! Everything that it answers follows from a decision of the last few seconds. It keeps no state that matters, but for
//! the grace of rules: its directory may be removed between two runs.

use std::sync::{Arc, PoisonError, RwLock};

use prometheus_client::registry::Registry;
use quorix_nix::cache_info::CacheInfo;
use quorix_nix::fingerprint::Fingerprint;
use quorix_nix::hash::NarHash;
use quorix_nix::store_path::HashPart;
use quorix_trust::decision::Decision;
use quorix_trust::policy::Policy;
use quorix_wire::client::AggregatorClient;

pub use crate::nars::Verified;

use crate::config::ResolverConfig;
use crate::content::ContentChecker;
use crate::decide::{Decider, Settled};
use crate::error::{NoAnswer, StartError};
use crate::metrics::ServiceMetrics;
use crate::narinfo::narinfo;
use crate::promises::Promises;
use crate::sources::SourceFailure;

/// The clock: POSIX seconds.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Decides, signs and fetches.
pub struct Resolver {
    /// Decides by the policy in force; another one after each [`reload`](Self::reload).
    current: RwLock<Arc<Decider>>,
    pub(crate) metrics: ServiceMetrics,
}

impl Resolver {
    /// A resolver that decides by the policy of `client` and takes bytes from the sources of `content`, which was made
    /// from the same configuration. `clock` gives POSIX seconds.
    ///
    /// # Errors
    /// The configuration cannot work, or the spool directory cannot be used.
    pub fn new(
        client: AggregatorClient,
        policy: Arc<Policy>,
        config: ResolverConfig,
        content: Arc<ContentChecker>,
        clock: Clock,
        registry: &mut Registry,
    ) -> Result<Self, StartError> {
        config.check()?;
        let promises = Promises::open(&config.spool_dir)
            .map_err(|error| StartError::spool(&config.spool_dir, &error))?;
        let client = client.for_store(config.store_dir.clone());
        let metrics = ServiceMetrics::register(registry);
        let decider = Decider::new(
            client,
            policy,
            content,
            promises,
            config,
            clock,
            metrics.clone(),
        );
        Ok(Self {
            current: RwLock::new(Arc::new(decider)),
            metrics,
        })
    }

    /// Goes over to another policy. What was decided before is decided anew; what was seen of logs stays seen, rollbacks
    /// and contradictions among it.
    pub fn reload(&self, policy: Arc<Policy>) {
        let old = self.decider();
        let next = Decider::new(
            old.client.under(policy.clone()),
            policy,
            old.content.clone(),
            old.promises.clone(),
            old.config.clone(),
            old.clock.clone(),
            self.metrics.clone(),
        );
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(next);
    }

    /// What decides now. Whoever answers takes it once, so that an answer is under one policy as a whole.
    fn decider(&self) -> Arc<Decider> {
        let current = self.current.read();
        Arc::clone(&current.unwrap_or_else(PoisonError::into_inner))
    }

    /// `nix-cache-info`.
    #[must_use]
    pub fn cache_info(&self) -> CacheInfo {
        let decider = self.decider();
        let config = &decider.config;
        CacheInfo {
            store_dir: config.store_dir.clone(),
            want_mass_query: true,
            priority: config.priority,
        }
    }

    /// For how many seconds a decision may be used again.
    #[must_use]
    pub fn decision_ttl_s(&self) -> u64 {
        self.decider().config.decision_ttl.as_secs()
    }

    /// The last failures of sources, the newest last.
    #[must_use]
    pub fn source_failures(&self) -> Vec<SourceFailure> {
        self.decider().content.source_failures()
    }

    /// The decision about an output, accepted or not.
    ///
    /// # Errors
    /// It could not be found out.
    pub async fn decide(&self, output: &HashPart) -> Result<Arc<Decision>, NoAnswer> {
        Ok(self.decider().settle(output).await?.decision.clone())
    }

    /// The narinfo of an accepted output, as text.
    ///
    /// # Errors
    /// The output is refused, cannot be served, or it could not be found out.
    pub async fn narinfo(&self, output: &HashPart) -> Result<String, NoAnswer> {
        let decider = self.decider();
        let settled = decider.settle(output).await?;
        let facts = servable(&decider, &settled)?;
        // A content address is told only of a path that was seen to have it.
        let is_recomputed = settled.evidence.self_verified.contains_key(&facts.path);
        let ca = if is_recomputed {
            decider.content.address_of(&facts.path)
        } else {
            None
        };
        let (key, policy) = (&decider.config.key, &decider.policy);
        let narinfo = narinfo(policy, &settled.evidence, &settled.decision, facts, ca, key);
        Ok(narinfo.print(&decider.config.store_dir))
    }

    /// The facts of an output that is accepted now and has this NAR.
    ///
    /// # Errors
    /// There is none that is known, or it could not be found out.
    pub async fn accepted_with(&self, nar: &NarHash) -> Result<Fingerprint, NoAnswer> {
        let mut answer = NoAnswer::NotPromised(*nar);
        let decider = self.decider();
        for output in decider.promises.outputs(nar) {
            let found = match decider.settle(&output).await {
                Ok(settled) => servable(&decider, &settled).cloned(),
                Err(error) => Err(error),
            };
            match found {
                Ok(facts) if facts.nar_hash == *nar => return Ok(facts),
                Ok(facts) => {
                    answer = NoAnswer::Superseded {
                        path: facts.path,
                        asked: *nar,
                    }
                }
                // Of several outputs with this NAR, one that is not known to be refused is worth asking again.
                Err(error) if error.is_passing() => return Err(error),
                Err(error) => answer = error,
            }
        }
        Err(answer)
    }

    /// The whole verified NAR of an accepted output.
    ///
    /// # Errors
    /// No source has the right bytes, or the spool failed.
    pub async fn nar(&self, facts: &Fingerprint) -> Result<Verified, NoAnswer> {
        self.decider().content.nars.open(facts).await
    }
}

/// The facts of what was accepted, if a NAR of this size may be served.
fn servable<'a>(decider: &Decider, settled: &'a Settled) -> Result<&'a Fingerprint, NoAnswer> {
    let decision = &settled.decision;
    if !decision.is_accepted() {
        return Err(NoAnswer::Refused(decision.clone()));
    }
    let Some(facts) = decision.accepted_facts() else {
        return Err(match &decision.path {
            Some(path) => NoAnswer::NoFacts(path.clone()),
            None => NoAnswer::Refused(decision.clone()),
        });
    };
    let limit = decider.config.nar_limit();
    if facts.nar_size > limit {
        return Err(NoAnswer::TooLarge {
            path: facts.path.clone(),
            size: facts.nar_size,
            limit,
        });
    }
    Ok(facts)
}

//! An aggregator over a store in memory with a clock set by hand, whose looks at logs are made one by one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use quorix_nix::store_path::StorePath;
use quorix_testkit::clock::ManualClock;
use quorix_testkit::entries::a_path;
use quorix_testkit::memory::MemoryIndex;
use quorix_trust::decision::{Decision, Outcome};
use quorix_trust::evidence::LogState;
use quorix_trust::policy::Policy;
use quorix_trust::ports::{Equivocation, Head, IndexStore};
use quorix_wire::content::ContentVerifier;
use quorix_wire::fetch::{FetchLimits, Fetcher};
use tokio::sync::broadcast::Receiver;

use super::fakes::FakeLog;
use crate::config::AggregatorConfig;
use crate::events::{Event, EventKind};
use crate::follow::Follower;
use crate::logs::Log;
use crate::service::Aggregator;

pub(crate) struct World {
    pub(crate) aggregator: Aggregator,
    pub(crate) index: MemoryIndex,
    pub(crate) clock: ManualClock,
    pub(crate) policy: Arc<Policy>,
    pub(crate) registry: Registry,
    config: AggregatorConfig,
    followers: BTreeMap<String, Follower>,
}

/// A policy with these lines of builders and caches, where any `threshold` of `operators` accept.
pub(crate) fn policy(lines: &str, threshold: usize, operators: &str, level: &str) -> Policy {
    let text = format!(
        "{lines}quorum none\nvoters enough {threshold} {operators}\nrule main quorum=enough level={level}\ndefault main\n"
    );
    Policy::parse(&text).unwrap()
}

/// Short waits, so that what is silent is silent soon.
pub(crate) fn config() -> AggregatorConfig {
    AggregatorConfig {
        request_timeout: Duration::from_millis(500),
        cache_budget: Duration::from_millis(700),
        ..AggregatorConfig::default()
    }
}

pub(crate) fn fetcher() -> Fetcher {
    // Another test may have installed it already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Fetcher::new(FetchLimits::default()).unwrap()
}

impl World {
    pub(crate) fn new(policy: Policy) -> Self {
        Self::with(policy, config(), None)
    }

    /// Of these logs, whose operators are to agree on one value with a majority.
    pub(crate) fn of(logs: &[&FakeLog]) -> Self {
        let lines: String = logs.iter().map(|log| log.line(&[])).collect();
        let names: Vec<&str> = logs.iter().map(|log| log.name.as_str()).collect();
        Self::new(policy(&lines, logs.len() / 2 + 1, &names.join(" "), "path"))
    }

    pub(crate) fn with(
        policy: Policy,
        config: AggregatorConfig,
        content: Option<Arc<dyn ContentVerifier>>,
    ) -> Self {
        let (index, clock) = (MemoryIndex::new(), ManualClock::default());
        Self::over(index, clock, Arc::new(policy), config, content)
    }

    fn over(
        index: MemoryIndex,
        clock: ManualClock,
        policy: Arc<Policy>,
        config: AggregatorConfig,
        content: Option<Arc<dyn ContentVerifier>>,
    ) -> Self {
        let mut registry = Registry::default();
        let aggregator = Aggregator::assemble(
            Arc::new(index.clone()),
            policy.clone(),
            config.clone(),
            fetcher(),
            content,
            clock.as_fn(),
            &mut registry,
        )
        .unwrap();
        let follower = |log: &Arc<Log>| {
            (
                log.name.clone(),
                Follower::new(log.clone(), aggregator.shared()),
            )
        };
        let followers = aggregator.shared().logs.iter().map(follower).collect();
        Self {
            followers,
            aggregator,
            index,
            clock,
            policy,
            registry,
            config,
        }
    }

    /// The same store in a new process.
    pub(crate) fn restarted(self) -> Self {
        Self::over(self.index, self.clock, self.policy, self.config, None)
    }

    /// The same store in a new process, under another policy.
    pub(crate) fn restarted_under(self, policy: Policy) -> Self {
        Self::over(self.index, self.clock, Arc::new(policy), self.config, None)
    }

    /// Looks at one log. True if it answered and verified.
    pub(crate) async fn look(&mut self, name: &str) -> bool {
        self.followers.get_mut(name).unwrap().look().await
    }

    /// Looks at every log.
    pub(crate) async fn look_at_all(&mut self) {
        for follower in self.followers.values_mut() {
            follower.look().await;
        }
    }

    /// A log as it stands in the policy in force.
    pub(crate) fn log(&self, name: &str) -> Arc<Log> {
        let shared = self.aggregator.shared();
        let mut logs = shared.logs.iter();
        logs.find(|log| log.name == name).unwrap().clone()
    }

    pub(crate) fn state(&self, name: &str) -> LogState {
        let log = self.log(name);
        log.standing(self.clock.now_s(), self.config.stale_after)
            .state
    }

    /// What is told of a log beside its state.
    pub(crate) fn reason(&self, name: &str) -> String {
        let log = self.log(name);
        let standing = log.standing(self.clock.now_s(), self.config.stale_after);
        standing.reason().to_owned()
    }

    /// Why a log is stale.
    pub(crate) fn stale_reason(&self, name: &str) -> String {
        let LogState::Stale { reason } = self.state(name) else {
            panic!("{name} is {:?}", self.state(name))
        };
        reason
    }

    pub(crate) fn head(&self, log: &FakeLog) -> Option<Head> {
        self.index.mirror(&log.origin()).head().unwrap()
    }

    pub(crate) fn size(&self, log: &FakeLog) -> u64 {
        self.head(log).map_or(0, |head| head.size)
    }

    pub(crate) fn equivocation(&self, log: &FakeLog) -> Option<Equivocation> {
        self.index.equivocation(&log.origin()).unwrap()
    }

    /// The decision about the output of this name.
    pub(crate) async fn decide(&self, name: &str) -> Decision {
        let decided = self.aggregator.decide(a_path(name).as_str()).await;
        Arc::unwrap_or_clone(decided.unwrap().unwrap())
    }

    pub(crate) async fn outcome(&self, name: &str) -> Outcome {
        self.decide(name).await.outcome
    }
}

/// The absolute path of the output of this name.
pub(crate) fn absolute(path: &StorePath) -> String {
    format!("/nix/store/{path}")
}

/// Kinds and subjects of all events that are waiting.
pub(crate) fn told(watcher: &mut Receiver<Event>) -> Vec<(EventKind, String)> {
    let mut events = Vec::new();
    while let Ok(event) = watcher.try_recv() {
        events.push((event.kind, event.subject));
    }
    events
}

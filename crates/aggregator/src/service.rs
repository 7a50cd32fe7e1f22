//! An aggregator: starting, asking, stopping.
//!
//! Everything that it knows is in its store; a restart goes on from there after reading the right edge of each mirror.
//! After a start no log is live until it answered and verified. Reads no files, binds no listener.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use prometheus_client::registry::Registry;
use quorix_tlog::cosignature::CosignerSigningKey;
use quorix_trust::attestation::BlobId;
use quorix_trust::decision::Decision;
use quorix_trust::policy::Policy;
use quorix_trust::ports::{Equivocation, IndexStore};
use quorix_wire::content::ContentVerifier;
use quorix_wire::fetch::Fetcher;
use quorix_wire::pb;
use tokio::sync::broadcast;
use tokio::task::JoinSet;

use crate::caches::{self, Cache};
use crate::config::AggregatorConfig;
use crate::cosign::Cosigner;
use crate::error::{AskError, StartError};
use crate::events::{Event, Events};
use crate::follow::Follower;
use crate::gossip::Peer;
use crate::logs::{self, Log};
use crate::machine::Cores;
use crate::memo::{BlobMemo, CosignedMemo, Memo, locked};
use crate::metrics::Metrics;
use crate::query;
use crate::remembered::Remembered;
use crate::stand::{Changes, Stands};
use crate::webhook::{self, Webhook};

/// The clock: POSIX seconds.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// How often the states of logs are looked at for a change that time alone makes.
const STATE_INTERVAL: Duration = Duration::from_secs(1);
/// Answers "not here" of caches that are remembered, at about 100 bytes each.
const MISSES_MAX: usize = 200_000;
/// Blobs that are remembered as missing.
const MISSING_BLOBS_MAX: usize = 100_000;
/// Bytes of reference lists of caches' signatures that are kept in memory.
const UNLOGGED_BLOBS_BYTES: usize = 64 * 1024 * 1024;

/// A running aggregator. Clones are the same one.
#[derive(Clone)]
pub struct Aggregator {
    /// What is in force; another one after each [`reload`](Self::reload).
    current: Arc<RwLock<Arc<Shared>>>,
    /// What ends with a policy: following its logs, and comparing them with peers.
    following: Arc<Mutex<JoinSet<()>>>,
    /// What goes on under any policy.
    lasting: Arc<Mutex<JoinSet<()>>>,
    /// Held while the policy is changed.
    reloading: Arc<tokio::sync::Mutex<()>>,
    peers: Arc<Mutex<Vec<(Peer, Duration)>>>,
}

/// What all parts of an aggregator use.
pub(crate) struct Shared {
    pub(crate) index: Arc<dyn IndexStore>,
    pub(crate) policy: Arc<Policy>,
    pub(crate) config: AggregatorConfig,
    pub(crate) clock: Clock,
    pub(crate) events: Events,
    pub(crate) metrics: Metrics,
    pub(crate) logs: Vec<Arc<Log>>,
    pub(crate) caches: Vec<Cache>,
    pub(crate) fetcher: Fetcher,
    /// The key with which followed logs are cosigned, where this aggregator is a witness.
    pub(crate) cosigner: Arc<OnceLock<Cosigner>>,
    pub(crate) content: Option<Arc<dyn ContentVerifier>>,
    /// Outputs that a cache, by its position in the policy, did not have.
    pub(crate) cache_misses: Memo<(usize, quorix_nix::store_path::HashPart)>,
    /// Outputs of which a cache, by its position in the policy, said that it does not have them.
    pub(crate) cache_absent: Memo<(usize, quorix_nix::store_path::HashPart)>,
    /// Blobs that a log, by its origin, did not have.
    pub(crate) missing_blobs: Memo<(String, BlobId)>,
    pub(crate) unlogged_blobs: BlobMemo,
    pub(crate) cosigned: CosignedMemo,
    pub(crate) remembered: Remembered,
    pub(crate) stands: Stands,
    pub(crate) changes: Changes,
    /// For all questions.
    pub(crate) cores: Arc<Cores>,
    /// For taking in what logs grew by, of all logs: none of it keeps a question waiting.
    pub(crate) catching_up: Arc<Cores>,
}

impl Aggregator {
    /// Starts to follow every log of the policy. `content` recomputes content-addressed paths for
    /// [`decide_many`](Self::decide_many). Needs a Tokio runtime.
    ///
    /// # Errors
    /// A configured value cannot work, or the store failed. A log that cannot be reached is no error.
    pub fn start(
        index: Arc<dyn IndexStore>,
        policy: Arc<Policy>,
        config: AggregatorConfig,
        fetcher: Fetcher,
        content: Option<Arc<dyn ContentVerifier>>,
        clock: Clock,
        registry: &mut Registry,
    ) -> Result<Self, StartError> {
        let aggregator = Self::assemble(index, policy, config, fetcher, content, clock, registry)?;
        aggregator.follow(&aggregator.shared());
        Ok(aggregator)
    }

    /// Goes over to another policy: follows its logs instead, waits until those that are new were looked at once, at most
    /// for `patience`, and then decides by it. Until then everything is answered under the policy in force; an answer is
    /// under one policy as a whole. A log that both name alike stays as it stands. One after the other, where called at once.
    ///
    /// # Errors
    /// The store failed. The policy in force stays.
    pub async fn reload(&self, policy: Arc<Policy>, patience: Duration) -> Result<(), StartError> {
        let _one_at_a_time = self.reloading.lock().await;
        let old = self.shared();
        let next = Arc::new(old.under(policy)?);
        // Never two followers of one log.
        let mut before = std::mem::take(&mut *locked(&self.following));
        before.shutdown().await;
        self.follow(&next);
        looked_at(&next.logs, patience).await;
        for log in &old.logs {
            if !next.logs.iter().any(|next| next.name == log.name) {
                // What is being written of it is counted first.
                let _ended = log.commit.lock().await;
                old.metrics.forget_log(&log.name);
            }
        }
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(())
    }

    /// What is in force. Whoever answers takes it once.
    pub(crate) fn shared(&self) -> Arc<Shared> {
        let current = self.current.read();
        Arc::clone(&current.unwrap_or_else(PoisonError::into_inner))
    }

    fn follow(&self, shared: &Arc<Shared>) {
        let mut tasks = locked(&self.following);
        for log in &shared.logs {
            tasks.spawn(Follower::new(log.clone(), shared.clone()).run());
        }
        for (peer, interval) in locked(&self.peers).iter() {
            tasks.spawn(shared.clone().gossip(peer.clone(), *interval));
        }
        tasks.spawn(tell_states(shared.clone()));
    }

    /// An aggregator that follows nothing yet.
    pub(crate) fn assemble(
        index: Arc<dyn IndexStore>,
        policy: Arc<Policy>,
        config: AggregatorConfig,
        fetcher: Fetcher,
        content: Option<Arc<dyn ContentVerifier>>,
        clock: Clock,
        registry: &mut Registry,
    ) -> Result<Self, StartError> {
        let metrics = Metrics::register(registry);
        let shared = Shared::new(index, policy, config, fetcher, content, clock, metrics)?;
        Ok(Self::of(shared))
    }

    /// An aggregator of this, that follows nothing yet.
    pub(crate) fn of(shared: Shared) -> Self {
        Self {
            current: Arc::new(RwLock::new(Arc::new(shared))),
            following: Arc::default(),
            lasting: Arc::default(),
            reloading: Arc::default(),
            peers: Arc::default(),
        }
    }

    /// Decides outputs in their order, each given as absolute store path, base name or hash part.
    ///
    /// # Errors
    /// An argument that is not understood, too much to answer, or a failed store.
    pub async fn decide_many(&self, paths: &[String]) -> Result<Vec<Arc<Decision>>, AskError> {
        let shared = self.shared();
        let config = &shared.config;
        let queries = query::parse_all(paths, &config.store_dir, config.outputs_max)?;
        shared.decide(queries).await
    }

    /// Decides one output.
    ///
    /// # Errors
    /// As [`decide_many`](Self::decide_many).
    pub async fn decide(&self, path: &str) -> Result<Option<Arc<Decision>>, AskError> {
        let shared = self.shared();
        let query = query::parse(path, &shared.config.store_dir, || "path".to_owned())?;
        Ok(shared.decide(vec![query]).await?.pop())
    }

    /// Everything needed to decide outputs by oneself, with `closure` also of what the claimed references reach.
    ///
    /// # Errors
    /// As [`decide_many`](Self::decide_many).
    pub async fn evidence(
        &self,
        paths: &[String],
        closure: bool,
    ) -> Result<pb::GetEvidenceResponse, AskError> {
        let shared = self.shared();
        let config = &shared.config;
        let queries = query::parse_all(paths, &config.store_dir, config.outputs_max)?;
        shared.evidence(queries, closure).await
    }

    /// Cosigns every log that is followed, from its next look on, but those with these origins. The first key stays.
    pub fn cosign_with(&self, key: CosignerSigningKey, own: BTreeSet<String>) {
        let _ = self.shared().cosigner.set(Cosigner { key, own });
    }

    /// Exchanges checkpoints with each of these peers once in every `interval`.
    pub fn gossip_with(&self, peers: Vec<Peer>, interval: Duration) {
        let shared = self.shared();
        for peer in peers {
            locked(&self.following).spawn(shared.clone().gossip(peer.clone(), interval));
            locked(&self.peers).push((peer, interval));
        }
    }

    /// Posts every event from now on.
    pub fn post_events(&self, hook: Webhook) {
        let shared = self.shared();
        let posting = webhook::run(
            hook,
            shared.fetcher.clone(),
            self.watch(),
            shared.metrics.clone(),
            shared.clock.clone(),
        );
        locked(&self.lasting).spawn(posting);
    }

    /// Proof held against each quarantined log, by its name in the policy.
    #[must_use]
    pub fn equivocations(&self) -> Vec<(String, Equivocation)> {
        let shared = self.shared();
        let now_s = (shared.clock)();
        let held = |log: &Arc<Log>| {
            let standing = log.standing(now_s, shared.config.stale_after);
            let proof = standing.equivocation.as_deref().cloned();
            proof.map(|proof| (log.name.clone(), proof))
        };
        shared.logs.iter().filter_map(held).collect()
    }

    /// Events from now on.
    #[must_use]
    pub fn watch(&self) -> broadcast::Receiver<Event> {
        self.shared().events.watch()
    }

    /// Has every log looked at now instead of at its next turn.
    pub fn poll_now(&self) {
        for log in &self.shared().logs {
            log.wake.notify_one();
        }
    }

    /// Waits until every log was looked at once since the start, however that ended, but not longer than `patience`.
    /// Before that every log counts as stale, and whoever asks is refused what may be accepted a moment later.
    pub async fn looked_at_all(&self, patience: Duration) {
        looked_at(&self.shared().logs, patience).await;
    }

    /// Stops following. What was committed stays; a batch that is being written is written or not, as a whole.
    pub async fn shutdown(&self) {
        for tasks in [&self.following, &self.lasting] {
            let mut tasks = std::mem::take(&mut *locked(tasks));
            tasks.shutdown().await;
        }
    }
}

impl Shared {
    pub(crate) fn new(
        index: Arc<dyn IndexStore>,
        policy: Arc<Policy>,
        config: AggregatorConfig,
        fetcher: Fetcher,
        content: Option<Arc<dyn ContentVerifier>>,
        clock: Clock,
        metrics: Metrics,
    ) -> Result<Self, StartError> {
        config.check()?;
        let changes = Changes::default();
        Ok(Self {
            logs: logs::of_policy(&policy, &[], index.as_ref(), &fetcher, &changes)?,
            caches: caches::of_policy(&policy, &fetcher, &config),
            index,
            policy,
            config,
            clock,
            events: Events::new(),
            metrics,
            fetcher,
            cosigner: Arc::default(),
            content,
            cache_misses: Memo::new(MISSES_MAX),
            cache_absent: Memo::new(MISSES_MAX),
            missing_blobs: Memo::new(MISSING_BLOBS_MAX),
            unlogged_blobs: BlobMemo::new(UNLOGGED_BLOBS_BYTES),
            cosigned: CosignedMemo::default(),
            remembered: Remembered::default(),
            stands: Stands::default(),
            changes,
            cores: Arc::new(Cores::new()),
            catching_up: Arc::new(Cores::new()),
        })
    }

    /// The same under another policy. A log that both name alike is the same one, as it stands.
    fn under(&self, policy: Arc<Policy>) -> Result<Self, StartError> {
        let mut next = Self::new(
            self.index.clone(),
            policy,
            self.config.clone(),
            self.fetcher.clone(),
            self.content.clone(),
            self.clock.clone(),
            self.metrics.clone(),
        )?;
        next.changes = self.changes.clone();
        next.logs = logs::of_policy(
            &next.policy,
            &self.logs,
            self.index.as_ref(),
            &self.fetcher,
            &next.changes,
        )?;
        next.events = self.events.clone();
        next.cores = self.cores.clone();
        next.catching_up = self.catching_up.clone();
        next.cosigner = self.cosigner.clone();
        Ok(next)
    }
}

/// Waits until every one of these logs was looked at once, however that ended, but not longer than `patience`.
async fn looked_at(logs: &[Arc<Log>], patience: Duration) {
    let looks = logs.iter().map(|log| log.looked_at());
    // What has not answered by then is stale, and says so.
    let _ = tokio::time::timeout(patience, futures::future::join_all(looks)).await;
}

/// Tells of logs that became stale by time alone.
async fn tell_states(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(STATE_INTERVAL).await;
        for log in &shared.logs {
            log.tell(
                (shared.clock)(),
                shared.config.stale_after,
                &shared.events,
                &shared.metrics,
            );
        }
    }
}

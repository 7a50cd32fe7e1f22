//! The verifiable index of this log: follows what is published, keeps the map, signs its states in the output log, and
//! answers look-ups.
//!
//! No part of acknowledgement: it only reads what is published, in its own time, and a log without it loses nothing.
//! Each step is one synced write of its own database; after a crash the next step begins where the last one ended. All
//! of it follows from the log, so its folder can be deleted, and what is made again is the same.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use quorix_tlog::index as verifiable;
use quorix_tlog::note::SigningKey;
use quorix_trust::ports::{CommitError, LogIndexStore, StoreError};

use crate::error::TreeError;
use crate::published::Published;
use crate::service::Log;

mod answers;
mod follower;
mod reader;
pub mod routes;

use follower::Follower;

/// How often the follower looks for something new.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How long it waits after a failure.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The index does not go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// The log's name is too long.
    #[error("the log's name is too long to be extended to that of its index")]
    Name,
    /// What is stored of the output log is not a tree, or not one that this key signed.
    #[error(
        "the stored index is damaged: {reason}. Stop the log and delete its folder log-index: the index is made again \
         from the log"
    )]
    Damaged {
        /// What is wrong.
        reason: String,
    },
    /// The index is of another log, or the log was rolled back behind it.
    #[error(
        "the index covers {covered} entries that are not those of the log, which has {size}: {reason}. If the log was \
         restored from a backup, restore one that is not older than what it published. If the folder log-index is of \
         another log, stop the log and delete the folder: the index is made again"
    )]
    OtherLog {
        /// Entries that the index covers.
        covered: u64,
        /// Entries of the log.
        size: u64,
        /// What does not fit.
        reason: String,
    },
    /// A database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A step could not be written.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// Tiles or entries of the log cannot be read.
    #[error(transparent)]
    Tree(#[from] TreeError),
}

impl IndexError {
    /// True if trying again cannot help.
    const fn is_final(&self) -> bool {
        matches!(
            self,
            Self::Name
                | Self::Damaged { .. }
                | Self::OtherLog { .. }
                | Self::Commit(CommitError::Conflict { .. })
        )
    }
}

/// How far the index has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexStatus {
    /// Entries that it covers.
    pub covered: u64,
    /// Published entries behind them. Up to 15 always are: the index grows by 16 at a time.
    pub behind: u64,
    /// For how many seconds 16 or more have been behind.
    pub behind_s: u64,
    /// Keys in the map.
    pub keys: u64,
    /// Why it does not go on, if it does not.
    pub stopped: Option<String>,
}

/// A handle to the index of a running log.
#[derive(Clone)]
pub struct LogIndex {
    inner: Arc<Inner>,
}

struct Inner {
    published: Published,
    store: Arc<dyn LogIndexStore>,
    key: SigningKey,
    /// Readers see whole steps only: a step is written while this is held for writing.
    step: RwLock<()>,
    state: std::sync::Mutex<State>,
    metrics: IndexMetrics,
}

struct State {
    covered: u64,
    keys: u64,
    /// When 16 or more entries were last not behind.
    caught_up: Instant,
    stopped: Option<String>,
}

struct IndexMetrics {
    covered: Gauge,
    behind: Gauge,
    behind_s: Gauge,
    keys: Gauge,
}

impl LogIndex {
    /// Opens the index of a running log, and signs the checkpoint of an empty output log where there is none. Reads the
    /// store: blocks for a moment.
    ///
    /// # Errors
    /// What is stored is damaged or of another log, or the store fails.
    pub fn open(
        log: &Log,
        store: Arc<dyn LogIndexStore>,
        key: &SigningKey,
        registry: &mut Registry,
    ) -> Result<Self, IndexError> {
        let key = verifiable::signer_of(key).map_err(|_| IndexError::Name)?;
        let metrics = IndexMetrics::register(registry);
        let published = log.published();
        let follower = Follower::load(&published, &*store, &key)?;
        let state = State {
            covered: follower.covered(),
            keys: follower.keys(),
            caught_up: Instant::now(),
            stopped: None,
        };
        let index = Self {
            inner: Arc::new(Inner {
                published,
                store,
                key,
                step: RwLock::new(()),
                state: std::sync::Mutex::new(state),
                metrics,
            }),
        };
        index.measure();
        Ok(index)
    }

    /// Follows the log until it is dropped. Never fails: what goes wrong is told by the log, the metrics and
    /// [`LogIndex::status`], and is tried again where that can help.
    pub async fn run(self) {
        loop {
            let index = self.clone();
            let caught_up = tokio::task::spawn_blocking(move || index.catch_up()).await;
            let wait = match caught_up {
                Ok(Ok(())) => LOOK_EVERY,
                Ok(Err(error)) if error.is_final() => {
                    tracing::error!(%error, "the log's index has stopped; the log itself goes on");
                    self.lock().stopped = Some(error.to_string());
                    return;
                }
                Ok(Err(error)) => {
                    tracing::warn!(%error, "the log's index could not go on; it tries again");
                    RETRY_AFTER
                }
                Err(error) => {
                    tracing::error!(%error, "the log's index has stopped; the log itself goes on");
                    return;
                }
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// Covers everything that is published, but for the last entries that are fewer than a step. Blocks.
    ///
    /// # Errors
    /// See [`IndexError`]. What was written before stays.
    pub fn catch_up(&self) -> Result<(), IndexError> {
        let inner = &*self.inner;
        let mut follower = Follower::load(&inner.published, &*inner.store, &inner.key)?;
        loop {
            let step = follower.prepare(&inner.published, &*inner.store, &inner.key)?;
            self.progress(&follower);
            let Some((expected, batch)) = step else {
                return Ok(());
            };
            let writing = inner.step.write().unwrap_or_else(PoisonError::into_inner);
            inner.store.advance(expected, &batch)?;
            drop(writing);
            self.progress(&follower);
        }
    }

    /// How far it has come.
    #[must_use]
    pub fn status(&self) -> IndexStatus {
        let size = self.inner.published.head().size;
        let state = self.lock();
        let behind = size.saturating_sub(state.covered);
        IndexStatus {
            covered: state.covered,
            behind,
            behind_s: if behind < verifiable::STEP {
                0
            } else {
                state.caught_up.elapsed().as_secs()
            },
            keys: state.keys,
            stopped: state.stopped.clone(),
        }
    }

    fn progress(&self, follower: &Follower) {
        let size = self.inner.published.head().size;
        let mut state = self.lock();
        state.covered = follower.stored();
        state.keys = follower.keys();
        if size.saturating_sub(state.covered) < verifiable::STEP {
            state.caught_up = Instant::now();
        }
        drop(state);
        self.measure();
    }

    fn measure(&self) {
        let status = self.status();
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let metrics = &self.inner.metrics;
        metrics.covered.set(number(status.covered));
        metrics.behind.set(number(status.behind));
        metrics.behind_s.set(number(status.behind_s));
        metrics.keys.set(number(status.keys));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.inner
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl IndexMetrics {
    fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            covered: Gauge::default(),
            behind: Gauge::default(),
            behind_s: Gauge::default(),
            keys: Gauge::default(),
        };
        let index = registry.sub_registry_with_prefix("quorix_log_index");
        index.register(
            "covered",
            "Entries that the index covers",
            metrics.covered.clone(),
        );
        index.register(
            "behind",
            "Published entries that the index does not cover yet",
            metrics.behind.clone(),
        );
        index.register(
            "behind_seconds",
            "Seconds since fewer than 16 entries were behind",
            metrics.behind_s.clone(),
        );
        index.register("keys", "Keys in the index", metrics.keys.clone());
        metrics
    }
}

#[cfg(test)]
mod tests;

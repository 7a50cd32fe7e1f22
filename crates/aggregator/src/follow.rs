//! Follows one log: looks at its checkpoint again and again, and takes in what it grew by.
//!
//! Nothing is stored that does not hash to a checkpoint signed by the log's key. An answer that does not verify makes
//! the log stale; only proof makes it quarantined (SEMANTICS §5), so garbage frames nobody. Without witness
//! quorums a log that always answers with the same checkpoint cannot be told from one to which nothing was added.
//! Addresses are tried in order, and one that holds no more than what is known already is as good as the next.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use quorix_tlog::checkpoint::SignedCheckpoint;
use quorix_tlog::tile::Edge;
use quorix_trust::ports::{Equivocation, StoreError, TileStore};
use quorix_wire::fetch::TileClient;

use crate::logs::{Failure, Held, Log, held};
use crate::service::Shared;

mod error;
mod extend;
mod fork;

pub(crate) use error::StepError;
use extend::successor_in;

/// The longest wait after failures, so that a log that comes back is noticed soon.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// How a look at a log ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It answered with what is known already.
    Alive,
    /// It grew, and all of it verified.
    Advanced {
        /// Entries before.
        from: u64,
        /// Entries now.
        to: u64,
    },
    /// It contradicted itself, and the proof is kept.
    Quarantined,
}

/// Follows one log.
pub(crate) struct Follower {
    pub(super) log: Arc<Log>,
    pub(super) shared: Arc<Shared>,
    /// The right edge of the mirror, between two looks that ended well.
    pub(super) edge: Option<Edge>,
    /// Whether the end of the mirror was looked at since it last grew.
    knows_end: bool,
}

impl Follower {
    pub(crate) fn new(log: Arc<Log>, shared: Arc<Shared>) -> Self {
        Self {
            log,
            shared,
            edge: None,
            knows_end: false,
        }
    }

    /// Follows until the log is quarantined.
    pub(crate) async fn run(mut self) {
        let interval = self.shared.config.poll_interval;
        let mut failures = 0_u32;
        while !self.log.is_quarantined() {
            failures = if self.look().await {
                0
            } else {
                failures.saturating_add(1)
            };
            let wait = interval.saturating_mul(1_u32.checked_shl(failures).unwrap_or(u32::MAX));
            let wait = wait.min(WAIT_MAX.max(interval));
            tokio::select! {
                () = tokio::time::sleep(wait.saturating_add(jitter(interval))) => {}
                () = self.log.wake.notified() => {}
            }
        }
    }

    /// Looks once, records how it ended and tells of it. True if the log answered and verified.
    pub(crate) async fn look(&mut self) -> bool {
        let ended = if self.log.is_quarantined() {
            Ok(Step::Quarantined)
        } else {
            self.step().await
        };
        if let Ok(Step::Alive | Step::Advanced { .. }) = &ended {
            self.knows_end &= ended == Ok(Step::Alive);
            self.notice_end().await;
        }
        let Shared {
            config,
            clock,
            metrics,
            events,
            ..
        } = self.shared.as_ref();
        let log = self.log.as_ref();
        let (result, well) = match &ended {
            Ok(Step::Quarantined) => ("quarantined", false),
            Ok(step) => {
                log.verified(clock());
                (
                    if *step == Step::Alive {
                        "alive"
                    } else {
                        "advanced"
                    },
                    true,
                )
            }
            Err(failure) => {
                tracing::warn!(
                    log = log.name,
                    unverifiable = failure.unverifiable,
                    "{}",
                    failure.reason
                );
                log.failed(failure.clone());
                (
                    if failure.unverifiable {
                        "unverifiable"
                    } else {
                        "failed"
                    },
                    false,
                )
            }
        };
        metrics.polled(&log.name, result);
        log.tell(clock(), config.stale_after, events, metrics);
        well
    }

    /// Tries the log's addresses in order until one answers with what verifies.
    async fn step(&mut self) -> Result<Step, Failure> {
        let mut reasons = Vec::new();
        let mut unverifiable = false;
        let log = self.log.clone();
        for (client, url) in log.clients.iter().zip(&log.urls) {
            match self.attempt(client).await {
                Ok(step) => return Ok(step),
                Err(error) => {
                    // What was built on top of the mirror in vain must not be committed later.
                    self.edge = None;
                    unverifiable |= error.is_unverifiable();
                    reasons.push(format!("{url}: {error}"));
                }
            }
        }
        Err(Failure {
            reason: reasons.join("; "),
            unverifiable,
        })
    }

    /// One look at one address.
    async fn attempt(&mut self, client: &TileClient) -> Result<Step, StepError> {
        let bytes = self.within("the checkpoint", client.checkpoint()).await?;
        let shown = SignedCheckpoint::open(&bytes, &self.log.key, &self.log.origin)
            .map_err(StepError::Checkpoint)?;
        let Some(Held {
            size: mirrored,
            signed,
        }) = self.held().await?
        else {
            return self.extend(client, &shown, None).await;
        };
        let signed = signed.map_err(|error| StepError::Unverifiable {
            reason: format!("what was mirrored before is not of the policy's key: {error}"),
        })?;
        let size = shown.checkpoint().size;
        if let Some(signed) = signed
            .as_ref()
            .filter(|signed| signed.checkpoint().size == size)
        {
            if signed.checkpoint().root == shown.checkpoint().root {
                return Ok(Step::Alive);
            }
            let proof = Equivocation {
                first: signed.bytes().to_vec(),
                second: shown.bytes().to_vec(),
                consistency_proof: Vec::new(),
            };
            return self.quarantine(proof).await;
        }
        if size < mirrored {
            return self
                .look_back(client, &shown, mirrored, signed.as_ref())
                .await;
        }
        let grown = self.extend(client, &shown, signed.as_ref()).await;
        match (grown, &signed) {
            (Err(error), Some(signed)) if error.may_be_a_fork() => {
                self.accuse(client, signed, &shown).await?.ok_or(error)
            }
            (grown, _) => grown,
        }
    }

    /// The log shows a smaller tree than is mirrored: one that it had before, or another one.
    async fn look_back(
        &mut self,
        client: &TileClient,
        shown: &SignedCheckpoint,
        mirrored: u64,
        signed: Option<&SignedCheckpoint>,
    ) -> Result<Step, StepError> {
        let (size, root) = (shown.checkpoint().size, shown.checkpoint().root);
        if self.mirrored_root(size).await? == root {
            return Err(StepError::Behind {
                found: size,
                held: mirrored,
            });
        }
        let unlike = StepError::Unverifiable {
            reason: format!(
                "its checkpoint of {size} entries is not of the tree that it showed before"
            ),
        };
        let accused = match signed {
            Some(signed) if size < signed.checkpoint().size => {
                self.accuse_of_another_past(shown, signed).await?
            }
            Some(signed) => self.accuse(client, signed, shown).await?,
            None => None,
        };
        accused.ok_or(unlike)
    }

    /// Notes and tells once that the log has ended. The key that follows is nobody's that the policy has not named, so it
    /// is not followed.
    async fn notice_end(&mut self) {
        if self.knows_end {
            return;
        }
        let (log, index) = (self.log.clone(), self.shared.index.clone());
        let found = blocking("reading the end of a mirror", move || {
            let mirror: Arc<dyn TileStore> = index.mirror(&log.origin).into();
            let size = mirror.head()?.map_or(0, |head| head.size);
            successor_in(&mirror, size, &log.key)
        });
        match found.await {
            Ok(found) => {
                self.knows_end = true;
                if let Some((index, successor)) = found {
                    self.log.ended(index, &successor);
                }
            }
            Err(error) => tracing::warn!(log = self.log.name, "{error}"),
        }
    }

    async fn held(&self) -> Result<Option<Held>, StoreError> {
        let (log, index) = (self.log.clone(), self.shared.index.clone());
        blocking("reading a mirror", move || {
            held(&log, index.mirror(&log.origin).as_ref())
        })
        .await
    }

    /// Keeps the proof; from here on the log is quarantined.
    pub(super) async fn quarantine(&self, proof: Equivocation) -> Result<Step, StepError> {
        tracing::error!(
            log = self.log.name,
            "the log signed two checkpoints that contradict each other"
        );
        let (origin, index, kept) = (
            self.log.origin.clone(),
            self.shared.index.clone(),
            proof.clone(),
        );
        // Even if the store fails, the log counts no more in this process.
        self.log.quarantined(proof);
        blocking("keeping proof of equivocation", move || {
            index.quarantine(&origin, &kept)
        })
        .await?;
        Ok(Step::Quarantined)
    }

    /// Waits for an answer of the log, but not for ever.
    pub(super) async fn within<T>(
        &self,
        what: &str,
        request: impl Future<Output = Result<T, quorix_wire::fetch::FetchError>>,
    ) -> Result<T, StepError> {
        within(self.shared.config.request_timeout, what, request).await
    }
}

/// Waits for an answer, but not longer than `limit`.
pub(super) async fn within<T>(
    limit: Duration,
    what: &str,
    request: impl Future<Output = Result<T, quorix_wire::fetch::FetchError>>,
) -> Result<T, StepError> {
    match tokio::time::timeout(limit, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(source)) => Err(StepError::Fetch {
            what: what.to_owned(),
            source,
        }),
        Err(_) => Err(StepError::Slow {
            what: what.to_owned(),
            limit_ms: limit.as_millis(),
        }),
    }
}

/// Runs store work on a thread that may block.
pub(crate) async fn blocking<T: Send + 'static>(
    operation: &str,
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| {
            Err(StoreError {
                operation: operation.to_owned(),
                reason: format!("it was interrupted: {error}"),
            })
        })
}

/// Up to a tenth of the interval, at random, so that many followers do not ask at one moment.
fn jitter(interval: Duration) -> Duration {
    let random = u32::try_from(RandomState::new().build_hasher().finish() % 1_000).unwrap_or(0);
    (interval / 10_000).saturating_mul(random)
}

//! Follows one log: looks at its checkpoint again and again, and takes in what it grew by.
//!
//! Nothing is stored that does not hash to a checkpoint signed by the log's key. An answer that does not verify makes
//! the log stale; only proof makes it quarantined (SEMANTICS §5), so garbage frames nobody. Without witness
//! quorums a log that always answers with the same checkpoint cannot be told from one to which nothing was added.

use std::sync::Arc;
use std::time::Duration;

use quorix_tlog::checkpoint::SignedCheckpoint;
use quorix_tlog::hash::Hash;
use quorix_tlog::tile::Edge;
use quorix_trust::ports::{Equivocation, StoreError, TileStore};

use crate::logs::Log;
use crate::machine::{blocking, jitter};
use crate::service::Shared;

mod disowned;
mod error;
mod extend;
mod fork;
mod lean;
mod look;

pub(crate) use disowned::Disowned;
pub(crate) use error::StepError;
use extend::successor_in;
pub(crate) use extend::{Chunk, Compared, grow};
pub(crate) use lean::lean;

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

impl Step {
    /// Entries that are covered after it, where `before` were covered before.
    fn size(self, before: u64) -> u64 {
        match self {
            Self::Advanced { to, .. } => to,
            Self::Alive | Self::Quarantined => before,
        }
    }
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
                biased;
                () = tokio::time::sleep(wait.saturating_add(jitter(wait))) => {}
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
            if let Err(error) = self.shared.cosign(&self.log).await {
                tracing::error!(log = self.log.name, %error, "a cosignature could not be kept");
            }
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

    /// Keeps the proof that these two contradict each other; from here on the log is quarantined.
    pub(super) async fn quarantine(
        &self,
        first: &SignedCheckpoint,
        second: &SignedCheckpoint,
        consistency_proof: Vec<Hash>,
    ) -> Result<Step, StepError> {
        let proof = self
            .shared
            .proof(&self.log, first, second, consistency_proof);
        if quarantine(&self.shared, &self.log, proof).await? {
            return Ok(Step::Quarantined);
        }
        Err(StepError::shows_disowned())
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

impl Shared {
    /// Proof of two checkpoints that contradict each other, with no more lines of signatures than are worth keeping.
    pub(crate) fn proof(
        &self,
        log: &Log,
        first: &SignedCheckpoint,
        second: &SignedCheckpoint,
        consistency_proof: Vec<Hash>,
    ) -> Equivocation {
        let note = |signed| lean(&self.policy, &log.key, signed).bytes().to_vec();
        Equivocation {
            first: note(first),
            second: note(second),
            consistency_proof,
        }
    }
}

/// Keeps a proof that was verified; from here on the log is quarantined. False if a quarantine for the same proof was
/// lifted.
pub(crate) async fn quarantine(
    shared: &Arc<Shared>,
    log: &Arc<Log>,
    proof: Equivocation,
) -> Result<bool, StoreError> {
    let (origin, index, asked) = (log.origin.clone(), shared.index.clone(), proof.clone());
    let is_lifted = blocking("reading lifted quarantines", move || {
        let lifts = index.lifts(&origin)?;
        Ok(lifts
            .iter()
            .any(|lift| lift.proof.is_of_the_same_checkpoints(&asked)))
    });
    if is_lifted.await? {
        return Ok(false);
    }
    tracing::error!(
        log = log.name,
        "the log signed two checkpoints that contradict each other"
    );
    let (origin, index, kept) = (log.origin.clone(), shared.index.clone(), proof.clone());
    // Even if the store fails, the log counts no more in this process.
    log.quarantined(proof);
    blocking("keeping proof of equivocation", move || {
        index.quarantine(&origin, &kept)
    })
    .await?;
    Ok(true)
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

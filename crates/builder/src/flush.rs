//! From the outbox to the log, by itself: a task of `quorix serve`.
//!
//! A job leaves the outbox only after the log has acknowledged all of its entries as durable, or when it is certain
//! that it can never be attested; then it is kept aside with the reason. A job that cannot be attested now does not
//! hold up the others, and a log that is away is asked again at growing intervals. Submitting twice is harmless: the
//! log knows an entry by its bytes.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use quorix_wire::client::LogClient;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::attest::Attester;
use crate::metrics::Metrics;
use crate::outbox::{Counts, JobId, Outbox, OutboxError};

mod back_off;
mod prepare;
mod submit;

use back_off::BackOff;
use prepare::{Prepared, prepare};
use submit::{Away, SubmitError, submit};

/// Jobs that are looked at before the outbox is listed again.
const JOBS_PER_ROUND: usize = 64;
/// Entries and blobs of one submission, in bytes, unless one job alone has more.
const BATCH_BYTES_MAX: usize = 3 * 1024 * 1024;
/// Entries of one submission, unless one job alone has more.
const BATCH_ENTRIES_MAX: usize = 512;

/// The task. Owns the outbox's reading side: one a directory.
#[derive(Debug)]
pub struct Flusher {
    outbox: Outbox,
    attester: Arc<Attester>,
    client: LogClient,
    metrics: Metrics,
    status: watch::Sender<Status>,
    wake: Arc<Notify>,
    deferred: BTreeMap<JobId, Deferred>,
    /// Hashed and not acknowledged: kept while the log is away, so that nothing is hashed at every attempt.
    pending: Batch,
}

/// What a flusher tells of itself, and how it is woken.
#[derive(Clone, Debug)]
pub struct FlusherHandle {
    status: watch::Receiver<Status>,
    wake: Arc<Notify>,
}

/// How flushing goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// What is in the outbox.
    pub counts: Counts,
    /// Entries that the log has acknowledged since the start.
    pub acknowledged: u64,
    /// Whether the log answers.
    pub log: LogState,
    /// What the operator should see to: the last thing that went wrong.
    pub trouble: Option<String>,
}

/// Whether the log answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LogState {
    /// Nothing was submitted yet.
    #[default]
    Unknown,
    /// The last submission was answered.
    Reached,
    /// The last submission was not.
    Away {
        /// Why, as far as it is known.
        reason: String,
    },
}

impl FlusherHandle {
    /// How flushing goes at this moment.
    #[must_use]
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// Has the outbox looked into now.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Waits until the status is as wanted. `false` where the flusher has ended before that.
    pub async fn wait_for(&mut self, wanted: impl FnMut(&Status) -> bool) -> bool {
        self.status.wait_for(wanted).await.is_ok()
    }
}

impl Flusher {
    /// A flusher that has not begun, and its handle.
    #[must_use]
    pub fn new(
        outbox: Outbox,
        attester: Attester,
        client: LogClient,
        registry: &mut Registry,
    ) -> (Self, FlusherHandle) {
        let (status, receiver) = watch::channel(Status::default());
        let wake = Arc::new(Notify::new());
        let handle = FlusherHandle {
            status: receiver,
            wake: Arc::clone(&wake),
        };
        let flusher = Self {
            outbox,
            attester: Arc::new(attester),
            client,
            metrics: Metrics::new(registry),
            status,
            wake,
            deferred: BTreeMap::new(),
            pending: Batch::default(),
        };
        (flusher, handle)
    }

    /// Flushes until `shutdown` is there. What is not acknowledged by then waits for the next start.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) {
        let config = &self.attester.config;
        let poll_interval = config.poll_interval;
        let mut back_off = BackOff::new(config.back_off_min, config.back_off_max);
        let wake = Arc::clone(&self.wake);
        self.outbox.remove_unfinished();
        tokio::pin!(shutdown);
        loop {
            let round = tokio::select! {
                biased;
                () = &mut shutdown => return,
                round = self.round() => round,
            };
            self.report();
            // A log that said when to come back is not hurried by a new build.
            let may_wake = !matches!(&round, Err(Away { wait: Some(_), .. }));
            let pause = match round {
                Ok(Round::More) => Duration::ZERO,
                Ok(Round::Done) => {
                    back_off.reset();
                    poll_interval
                }
                Err(Away { reason, wait }) => {
                    tracing::warn!(
                        reason,
                        "the log did not take what was built; it will be tried again"
                    );
                    self.metrics.submissions_failed.inc();
                    let away = LogState::Away { reason };
                    self.status.send_modify(|status| status.log = away);
                    back_off.after(wait)
                }
            };
            tokio::select! {
                () = &mut shutdown => return,
                () = wake.notified(), if may_wake => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Attests and submits the oldest jobs. `Err` says why the log could not be reached.
    async fn round(&mut self) -> Result<Round, Away> {
        self.deliver().await?;
        let now = Instant::now();
        let skipped: Vec<JobId> = self
            .deferred
            .iter()
            .filter(|(_, deferred)| deferred.until > now)
            .map(|(id, _)| id.clone())
            .collect();
        let listed = self
            .blocking(move |outbox| outbox.list(JOBS_PER_ROUND, |id| skipped.contains(id)))
            .await;
        let jobs = match listed {
            Ok(jobs) => jobs,
            Err(error) => {
                self.trouble(&error);
                return Ok(Round::Done);
            }
        };
        let round = if jobs.len() == JOBS_PER_ROUND {
            Round::More
        } else {
            Round::Done
        };
        for (id, job) in jobs {
            let attester = Arc::clone(&self.attester);
            let name = id.clone();
            let task = tokio::task::spawn_blocking(move || prepare(&attester, id, &job));
            let prepared = task
                .await
                .unwrap_or_else(|error| Prepared::failed(name, error.to_string()));
            if !self.pending.has_room_for(&prepared) {
                self.deliver().await?;
            }
            self.pending.push(prepared);
        }
        self.deliver().await?;
        Ok(round)
    }

    /// Submits what is pending. It stays pending if the log is away.
    async fn deliver(&mut self) -> Result<(), Away> {
        let batch = std::mem::take(&mut self.pending);
        match self.submit(&batch.jobs).await {
            Ok(()) => {
                for job in batch.jobs {
                    self.settle(job).await;
                }
                Ok(())
            }
            Err(SubmitError::Away(away)) => {
                self.pending = batch;
                Err(away)
            }
            // One bad entry makes the log refuse all of a batch: find out whose it is.
            Err(SubmitError::Refused(_)) => self.deliver_one_by_one(batch.jobs).await,
        }
    }

    async fn deliver_one_by_one(&mut self, jobs: Vec<Prepared>) -> Result<(), Away> {
        let mut jobs = jobs.into_iter();
        while let Some(mut job) = jobs.next() {
            match self.submit(std::slice::from_ref(&job)).await {
                Ok(()) => {}
                Err(SubmitError::Refused(reason)) => {
                    job.refusals.push(format!("the log refused it: {reason}"))
                }
                Err(SubmitError::Away(away)) => {
                    std::iter::once(job)
                        .chain(jobs)
                        .for_each(|job| self.pending.push(job));
                    return Err(away);
                }
            }
            self.settle(job).await;
        }
        Ok(())
    }

    async fn submit(&mut self, jobs: &[Prepared]) -> Result<(), SubmitError> {
        let attestations = || jobs.iter().flat_map(|job| &job.attestations);
        let count = attestations().count();
        if count == 0 {
            return Ok(());
        }
        let entries = attestations()
            .map(|attestation| attestation.entry.clone())
            .collect();
        let blobs = attestations()
            .flat_map(|attestation| attestation.blobs.clone())
            .collect();
        let result = submit(&self.client, entries, blobs).await;
        if result.is_ok() {
            let count = u64::try_from(count).unwrap_or(u64::MAX);
            self.metrics.attestations_acknowledged.inc_by(count);
            self.status.send_modify(|status| {
                status.acknowledged = status.acknowledged.saturating_add(count);
                status.log = LogState::Reached;
            });
        }
        result
    }

    /// What happens to a job after the log has answered.
    async fn settle(&mut self, job: Prepared) {
        let id = job.id.clone();
        let mut refusals = job.refusals;
        if let Some(reason) = job.not_now {
            let attempts = self
                .deferred
                .get(&id)
                .map_or(0, |deferred| deferred.attempts)
                .saturating_add(1);
            if attempts < self.attester.config.attempts_max {
                self.trouble(&reason);
                self.defer(id, attempts);
                return;
            }
            refusals.push(format!("{reason} (tried {attempts} times)"));
        }
        let rejected = !refusals.is_empty();
        let name = id.clone();
        let settled = if rejected {
            let reason = refusals.join("\n");
            tracing::warn!(job = %id, reason, "a build is not attested");
            self.blocking(move |outbox| outbox.reject(&name, &reason))
                .await
        } else {
            self.blocking(move |outbox| outbox.remove(&name)).await
        };
        match settled {
            Ok(()) => {
                self.deferred.remove(&id);
                if rejected {
                    self.metrics.jobs_rejected.inc();
                }
            }
            Err(error) => {
                self.trouble(&error);
                let attempts = self
                    .deferred
                    .get(&id)
                    .map_or(0, |deferred| deferred.attempts)
                    .saturating_add(1);
                self.defer(id, attempts);
            }
        }
    }

    fn defer(&mut self, id: JobId, attempts: u32) {
        let config = &self.attester.config;
        let pause = BackOff::pause(config.back_off_min, config.back_off_max, attempts);
        let until = Instant::now() + pause;
        self.deferred.insert(id, Deferred { attempts, until });
    }

    fn trouble(&self, what: &impl ToString) {
        let what = what.to_string();
        tracing::warn!(what, "flushing the outbox");
        self.status
            .send_modify(|status| status.trouble = Some(what));
    }

    fn report(&self) {
        match self.outbox.counts() {
            Ok(counts) => {
                self.metrics
                    .jobs_waiting
                    .set(i64::try_from(counts.waiting).unwrap_or(i64::MAX));
                self.status.send_modify(|status| status.counts = counts);
            }
            Err(error) => self.trouble(&error),
        }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        run: impl FnOnce(&Outbox) -> Result<T, OutboxError> + Send + 'static,
    ) -> Result<T, OutboxError> {
        let outbox = self.outbox.clone();
        let task = tokio::task::spawn_blocking(move || run(&outbox));
        task.await.unwrap_or_else(|error| {
            Err(OutboxError::Job {
                reason: error.to_string(),
            })
        })
    }
}

/// A job that waits for its next attempt.
#[derive(Debug)]
struct Deferred {
    attempts: u32,
    until: Instant,
}

enum Round {
    /// There may be more jobs that could be done now.
    More,
    /// Nothing more to do for now.
    Done,
}

#[derive(Debug, Default)]
struct Batch {
    jobs: Vec<Prepared>,
    entries: usize,
    bytes: usize,
}

impl Batch {
    fn has_room_for(&self, job: &Prepared) -> bool {
        self.jobs.is_empty()
            || (self.entries.saturating_add(job.attestations.len()) <= BATCH_ENTRIES_MAX
                && self.bytes.saturating_add(job.bytes()) <= BATCH_BYTES_MAX)
    }

    fn push(&mut self, job: Prepared) {
        self.entries = self.entries.saturating_add(job.attestations.len());
        self.bytes = self.bytes.saturating_add(job.bytes());
        self.jobs.push(job);
    }
}

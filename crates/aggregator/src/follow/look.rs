//! One look at a log: asks all of its addresses for their checkpoints, compares them with one another and with every
//! checkpoint that was kept, and takes in what is new from whichever address has it.
//!
//! A checkpoint that the log's key signed is kept before anything is fetched for it. So what a log showed is remembered
//! when the catch-up with it was interrupted, and another history in that window is still found.

use std::cmp::Reverse;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use quorix_tlog::checkpoint::SignedCheckpoint;
use quorix_trust::ports::{StoreError, StoredCheckpoint};
use quorix_wire::fetch::TileClient;

use super::error::CHECKPOINT;
use super::{Disowned, Follower, Step, StepError, lean};
use crate::logs::{Failure, Held, held};
use crate::machine::blocking;

/// How long the other addresses of a log are waited for once one has answered.
const PATIENCE: Duration = Duration::from_secs(1);

/// What one address of the log shows.
#[derive(Clone)]
pub(super) struct Shown {
    /// Position of the address.
    at: usize,
    pub(super) signed: SignedCheckpoint,
}

/// What is known of the log before a look.
pub(super) struct Known {
    /// Entries in the mirror.
    pub(super) mirrored: u64,
    /// The checkpoint that the mirror is under.
    pub(super) signed: Option<SignedCheckpoint>,
    /// The largest checkpoint that was ever kept: what a catch-up that was interrupted went for, or what a peer was shown.
    newest: Option<SignedCheckpoint>,
}

/// What went wrong at each address.
#[derive(Default)]
struct Failures {
    reasons: Vec<String>,
    worst: Option<StepError>,
}

impl Failures {
    fn add(&mut self, url: &str, error: StepError) {
        self.reasons.push(format!("{url}: {error}"));
        let is_worse = self
            .worst
            .as_ref()
            .is_none_or(|worst| error.condition() > worst.condition());
        if is_worse {
            self.worst = Some(error);
        }
    }

    fn into_failure(self) -> Failure {
        let condition = self
            .worst
            .as_ref()
            .map_or(crate::logs::Condition::Unreachable, StepError::condition);
        Failure {
            reason: self.reasons.join("; "),
            unverifiable: self.worst.is_some_and(|error| error.is_unverifiable()),
            condition,
        }
    }
}

impl Follower {
    /// Looks at all addresses once.
    pub(super) async fn step(&mut self) -> Result<Step, Failure> {
        let mut failures = Failures::default();
        let shown = self.ask_all(&mut failures).await;
        let urls = self.log.urls.clone();
        let url = |at: usize| urls.get(at).map_or("", String::as_str);
        if shown.is_empty() {
            return Err(failures.into_failure());
        }
        let ended = match self.judge(&shown, &mut failures).await {
            Ok(Some(step)) => return Ok(step),
            Ok(None) => return Err(failures.into_failure()),
            Err(error) => error,
        };
        self.edge = None;
        failures.add(url(shown.first().map_or(0, |first| first.at)), ended);
        Err(failures.into_failure())
    }

    /// The checkpoints of all addresses that answer, the largest first, those of one size in the addresses' order.
    async fn ask_all(&self, failures: &mut Failures) -> Vec<Shown> {
        let mut answers = FuturesUnordered::new();
        for (at, client) in self.log.clients.iter().enumerate() {
            answers.push(self.ask(at, client));
        }
        let mut shown = Vec::new();
        loop {
            let next = if shown.is_empty() {
                answers.next().await
            } else {
                // Who is silent now keeps nobody from being followed.
                tokio::time::timeout(PATIENCE, answers.next())
                    .await
                    .unwrap_or(None)
            };
            match next {
                Some((at, Ok(signed))) => shown.push(Shown { at, signed }),
                Some((at, Err(error))) => {
                    let url = self.log.urls.get(at).map_or("", String::as_str);
                    tracing::debug!(log = self.log.name, url, %error, "an address gave no checkpoint");
                    failures.add(url, error);
                }
                None => break,
            }
        }
        shown.sort_by_key(|one| (Reverse(one.signed.checkpoint().size), one.at));
        shown
    }

    async fn ask(
        &self,
        at: usize,
        client: &TileClient,
    ) -> (usize, Result<SignedCheckpoint, StepError>) {
        let bytes = self.within(CHECKPOINT, client.checkpoint()).await;
        let opened = bytes.and_then(|bytes| {
            SignedCheckpoint::open(&bytes, &self.log.key, &self.log.origin)
                .map_err(StepError::Checkpoint)
        });
        (at, opened)
    }

    /// What the answers come to; `None` if they are no verified answer, with what was wrong in `failures`.
    async fn judge(
        &mut self,
        shown: &[Shown],
        failures: &mut Failures,
    ) -> Result<Option<Step>, StepError> {
        let disowned = self.disowned().await?;
        let shown = &self.without(&disowned, shown, failures);
        let mut known = self.known().await?;
        let newest = known.newest.as_ref().map(SignedCheckpoint::checkpoint);
        if newest.is_some_and(|newest| disowned.refutes(newest)) {
            known.newest = None;
        }
        if let Some(step) = self.contradiction(shown, &known, &disowned).await? {
            return Ok(Some(step));
        }
        let newest_size = size_of(known.newest.as_ref());
        if let Some(first) = shown.first()
            && first.signed.checkpoint().size > newest_size
        {
            self.keep(&first.signed).await?;
        }
        self.take_cosignatures(shown, &known).await?;
        let mut step = None;
        for one in shown {
            let size = one.signed.checkpoint().size;
            let covered = step
                .as_ref()
                .map_or(known.mirrored, |step: &Step| step.size(known.mirrored));
            let looked = if size < covered {
                self.look_back(one, covered, known.signed.as_ref()).await
            } else if step.is_some()
                || size == size_of(known.signed.as_ref()) && known.signed.is_some()
            {
                Ok(Step::Alive)
            } else {
                self.take_in(one, shown, &known).await
            };
            match looked {
                Ok(Step::Quarantined) => return Ok(Some(Step::Quarantined)),
                Ok(Step::Alive) if step.is_some() => {}
                Ok(done) => step = Some(done),
                Err(error) => {
                    self.edge = None;
                    let url = self.log.urls.get(one.at).map_or("", String::as_str);
                    failures.add(url, error);
                }
            }
        }
        // More than this was shown once, here or to a peer: until that is there, this is no answer.
        let largest = size_of(shown.first().map(|first| &first.signed)).max(newest_size);
        let reached = step.as_ref().map(|step| step.size(known.mirrored));
        match (step, reached) {
            (Some(step), Some(reached)) if reached >= largest => Ok(Some(step)),
            (Some(_), Some(reached)) if newest_size > reached => {
                let (found, held) = (reached, newest_size);
                Err(StepError::Behind { found, held })
            }
            _ => Ok(None),
        }
    }

    async fn disowned(&self) -> Result<Disowned, StoreError> {
        let (log, index) = (self.log.clone(), self.shared.index.clone());
        blocking("reading lifted quarantines", move || {
            Disowned::read(index.as_ref(), &log)
        })
        .await
    }

    /// What is shown without the checkpoints that an operator disowned when a quarantine was lifted: whichever address goes
    /// on showing one fails, and the log is followed at the others. While both of a contradiction are beyond the mirror, it
    /// is the first address whose word is taken.
    fn without(&self, disowned: &Disowned, shown: &[Shown], failures: &mut Failures) -> Vec<Shown> {
        let mut others: Vec<Shown> = Vec::new();
        for one in shown {
            let checkpoint = one.signed.checkpoint();
            let is_second = disowned.has(checkpoint)
                && others.iter().any(|other| {
                    let other = other.signed.checkpoint();
                    disowned.has(other)
                        && other.size == checkpoint.size
                        && other.root != checkpoint.root
                });
            if is_second || disowned.refutes(checkpoint) {
                let url = self.log.urls.get(one.at).map_or("", String::as_str);
                failures.add(url, StepError::shows_disowned());
            } else {
                others.push(one.clone());
            }
        }
        others
    }

    /// Quarantines a log of which two checkpoints of one size are known with different roots.
    async fn contradiction(
        &self,
        shown: &[Shown],
        known: &Known,
        disowned: &Disowned,
    ) -> Result<Option<Step>, StepError> {
        for (position, one) in shown.iter().enumerate() {
            let kept = self.kept_of(one.signed.checkpoint().size).await?;
            let others = shown.iter().skip(position.saturating_add(1));
            let others = others
                .map(|other| &other.signed)
                .chain(kept.as_ref())
                .chain(&known.signed)
                .chain(&known.newest);
            for other in others {
                let (a, b) = (one.signed.checkpoint(), other.checkpoint());
                if a.size == b.size && a.root != b.root && !disowned.refutes(b) {
                    return self
                        .quarantine(other, &one.signed, Vec::new())
                        .await
                        .map(Some);
                }
            }
        }
        Ok(None)
    }

    /// Takes in everything up to a checkpoint that goes beyond the mirror: from the address that shows it, else from any
    /// other.
    async fn take_in(
        &mut self,
        goal: &Shown,
        shown: &[Shown],
        known: &Known,
    ) -> Result<Step, StepError> {
        let log = self.log.clone();
        let mut positions: Vec<usize> = vec![goal.at];
        positions.extend(shown.iter().map(|one| one.at));
        positions.extend(0..log.clients.len());
        let (mut tried, mut first_error) = (Vec::new(), None);
        for at in positions {
            let Some(client) = log.clients.get(at).filter(|_| !tried.contains(&at)) else {
                continue;
            };
            tried.push(at);
            let error = match self
                .extend(client, &goal.signed, known.signed.as_ref())
                .await
            {
                Ok(step) => return Ok(step),
                Err(error) => error,
            };
            // What was built on top of the mirror in vain must not be committed later.
            self.edge = None;
            if error.may_be_a_fork() {
                for before in [&known.signed, &known.newest].into_iter().flatten() {
                    if let Some(step) = self.accuse_either(client, before, &goal.signed).await? {
                        return Ok(step);
                    }
                }
            }
            first_error.get_or_insert(error);
        }
        Err(first_error.unwrap_or(StepError::Unverifiable {
            reason: "it has no address".to_owned(),
        }))
    }

    /// The log shows a smaller tree than is mirrored: one that it had before, or another one.
    async fn look_back(
        &self,
        one: &Shown,
        mirrored: u64,
        signed: Option<&SignedCheckpoint>,
    ) -> Result<Step, StepError> {
        let shown = &one.signed;
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
        let held = self.known().await?.signed;
        let accused = match held.as_ref().or(signed) {
            Some(signed) if size < signed.checkpoint().size => {
                self.accuse_of_another_past(shown, signed).await?
            }
            Some(signed) => match self.log.clients.get(one.at) {
                Some(client) => self.accuse(client, signed, shown).await?,
                None => None,
            },
            None => None,
        };
        accused.ok_or(unlike)
    }

    pub(super) async fn known(&self) -> Result<Known, StepError> {
        let (log, index) = (self.log.clone(), self.shared.index.clone());
        let (held, newest) = blocking("reading what is known of a log", move || {
            let newest = index.newest_checkpoint(&log.origin)?;
            let newest = newest
                .and_then(|kept| SignedCheckpoint::open(&kept.note, &log.key, &log.origin).ok());
            Ok((held(&log, index.mirror(&log.origin).as_ref())?, newest))
        })
        .await?;
        let (mirrored, signed) = match held {
            None => (0, None),
            Some(Held { size, signed }) => {
                let signed = signed.map_err(|error| StepError::Unverifiable {
                    reason: format!("what was mirrored before is not of the policy's key: {error}"),
                })?;
                (size, signed)
            }
        };
        Ok(Known {
            mirrored,
            signed,
            newest,
        })
    }

    /// The kept checkpoint of exactly this size.
    async fn kept_of(&self, size: u64) -> Result<Option<SignedCheckpoint>, StoreError> {
        let (log, index) = (self.log.clone(), self.shared.index.clone());
        blocking("reading a kept checkpoint", move || {
            let kept = index.checkpoints(&log.origin, size, 1)?.pop();
            let kept = kept.filter(|kept| kept.size == size);
            Ok(
                kept.and_then(|kept| {
                    SignedCheckpoint::open(&kept.note, &log.key, &log.origin).ok()
                }),
            )
        })
        .await
    }

    /// Keeps what witnesses said later of checkpoints that were shown before: of each kept one the earliest
    /// cosignatures, which date its entries; of the one that the mirror is under the latest, which say how fresh it is.
    async fn take_cosignatures(&self, shown: &[Shown], known: &Known) -> Result<(), StoreError> {
        if !self.shared.policy.has_witness_quorum() {
            return Ok(());
        }
        for one in shown {
            let mirrored = known.signed.as_ref().map(SignedCheckpoint::checkpoint);
            if mirrored == Some(one.signed.checkpoint()) {
                self.log.cosigned_again(&self.shared.policy, &one.signed);
            }
        }
        let notes: Vec<SignedCheckpoint> = shown.iter().map(|one| one.signed.clone()).collect();
        let (origin, shared) = (self.log.origin.clone(), self.shared.clone());
        blocking("keeping cosignatures", move || {
            for shown in notes {
                let size = shown.checkpoint().size;
                let kept = shared.index.checkpoints(&origin, size, 1)?.pop();
                let Some(kept) = kept.filter(|kept| kept.size == size) else {
                    continue;
                };
                let policy = &shared.policy;
                if let Some(note) = policy.with_earliest_cosignatures(&kept.note, shown.bytes()) {
                    shared.index.amend_checkpoint(&origin, size, &note)?;
                }
            }
            Ok(())
        })
        .await
    }

    /// Keeps a checkpoint before anything is fetched for it.
    async fn keep(&self, signed: &SignedCheckpoint) -> Result<(), StoreError> {
        let (origin, index) = (self.log.origin.clone(), self.shared.index.clone());
        let kept = StoredCheckpoint {
            at_s: (self.shared.clock)(),
            size: signed.checkpoint().size,
            note: lean(&self.shared.policy, &self.log.key, signed)
                .bytes()
                .to_vec(),
        };
        blocking("keeping a checkpoint", move || {
            index.keep_checkpoint(&origin, &kept)
        })
        .await
    }
}

fn size_of(signed: Option<&SignedCheckpoint>) -> u64 {
    signed.map_or(0, |signed| signed.checkpoint().size)
}

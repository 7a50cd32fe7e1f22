//! Gathers everything that is known of some outputs, at one moment of each log.
//!
//! The heads and states of all logs are taken first; nothing newer than those heads is looked at after that. What is
//! missing (a path, a log, a cache, a blob) is left out, which can only ever lead to a refusal. Bounds: outputs and
//! bytes of [`AggregatorConfig`](crate::config::AggregatorConfig), and its budget for caches and late blobs; `share`
//! says what becomes of a log that says too much.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use quorix_nix::store_path::{HashPart, StorePath};
use quorix_tlog::checkpoint::SignedCheckpoint;
use quorix_trust::attestation::BlobId;
use quorix_trust::decision::reached;
use quorix_trust::evidence::{Cosigned, Evidence, LogEvidence, Source, Statement};
use quorix_trust::policy::Policy;
use quorix_trust::ports::{Place, StoreError, TileStore};
use tokio::time::Instant;

use crate::error::AskError;
use crate::logs::{Log, Standing, held};
use crate::remembered::Moment;
use crate::service::Shared;
use crate::stand::Stand;

mod dates;
mod read;
mod share;

#[cfg(test)]
pub(crate) use share::SAID_TOO_MUCH;
use share::Shares;

/// Everything known of some outputs, with what proves it.
pub(crate) struct Gathered {
    /// For deciding.
    pub(crate) evidence: Evidence,
    /// The logs of the policy, in its order.
    pub(crate) logs: Vec<Snapshot>,
    /// Where the statements of each output stand.
    pub(crate) found: BTreeMap<HashPart, Vec<Found>>,
    /// Blobs with references that the statements name.
    pub(crate) blobs: BTreeMap<BlobId, Vec<u8>>,
    /// Blobs that are named and missing, by log.
    missing: BTreeMap<String, BTreeSet<BlobId>>,
    /// Outputs for which a cache has not been heard, by its position in the policy.
    unheard: BTreeSet<(usize, HashPart)>,
    /// Bytes so far, by log.
    shares: Shares,
    deadline: Instant,
}

/// One log at the moment of the question.
#[derive(Clone)]
pub(crate) struct Snapshot {
    pub(crate) log: Arc<Log>,
    pub(crate) standing: Standing,
    /// The checkpoint that evidence is from.
    pub(crate) signed: Option<SignedCheckpoint>,
    /// Earlier checkpoints of the same tree that date what was gathered, ascending; none where nothing asks for dates.
    pub(crate) earlier: Vec<SignedCheckpoint>,
    pub(crate) mirror: Arc<dyn TileStore>,
}

impl Snapshot {
    /// Entries that evidence may be from.
    pub(crate) fn size(&self) -> u64 {
        self.signed
            .as_ref()
            .map_or(0, |signed| signed.checkpoint().size)
    }
}

/// One statement: its bytes, and where they stand.
#[derive(Clone)]
pub(crate) struct Found {
    pub(crate) place: Place,
    /// Who says it, as in the index.
    voice: String,
    /// Canonical bytes of the entry.
    pub(crate) bytes: Vec<u8>,
    /// Index of the retraction that withdraws it.
    pub(crate) withdrawn_by: Option<u64>,
    /// The most bytes that it takes of an answer, proofs and list of references included.
    cost: usize,
    /// The list of references that it brings, and its bytes.
    list: Option<(BlobId, usize)>,
    /// The list of inputs that it brings.
    inputs: Option<BlobId>,
}

impl Shared {
    /// Gathers what is known of `wanted`, and with `closure` of everything that is reached by references in values
    /// that could be accepted.
    pub(crate) async fn gather(
        self: &Arc<Self>,
        wanted: BTreeSet<HashPart>,
        closure: bool,
    ) -> Result<Gathered, AskError> {
        let shared = self.clone();
        let at_hand = move || {
            let mut gathered = shared.nothing_yet()?;
            let waiting = shared.read_on(&mut gathered, wanted, closure);
            Ok(waiting.map(|waiting| (gathered, waiting)))
        };
        let read = self.cores.run("reading evidence", at_hand).await?;
        let (gathered, waiting) = read?;
        self.gather_rest(gathered, waiting, closure).await
    }

    /// What a question begins with, before any output is read: the heads and states of all logs.
    pub(crate) fn nothing_yet(&self) -> Result<Gathered, StoreError> {
        Ok(self.nothing_read_at(self.stand()?.as_ref()))
    }

    /// The same where these are how the logs stand.
    pub(crate) fn nothing_read_at(&self, stand: &Stand) -> Gathered {
        let evidence = Evidence {
            store_dir: self.config.store_dir.clone(),
            logs: stand.evidence.clone(),
            ..Evidence::default()
        };
        let shares = Shares::new(self.config.evidence_bytes_max, stand.logs.len());
        Gathered {
            evidence,
            logs: stand.logs.clone(),
            found: BTreeMap::new(),
            blobs: BTreeMap::new(),
            missing: BTreeMap::new(),
            unheard: BTreeSet::new(),
            shares,
            deadline: Instant::now() + self.config.cache_budget,
        }
    }

    /// Gathers also what these outputs reach, which turned out to need no votes.
    pub(crate) async fn gather_reached(
        self: &Arc<Self>,
        mut gathered: Gathered,
        outputs: BTreeSet<HashPart>,
    ) -> Result<Gathered, AskError> {
        let shared = self.clone();
        let more = move || {
            let wanted = shared.reached(&gathered, &outputs);
            let waiting = shared.read_on(&mut gathered, wanted, true);
            Ok(waiting.map(|waiting| (gathered, waiting)))
        };
        let read = self.cores.run("reading evidence", more).await?;
        let (gathered, waiting) = read?;
        self.gather_rest(gathered, waiting, true).await
    }

    /// Waits for caches and blobs of outputs that were read, and reads on.
    pub(crate) async fn gather_rest(
        self: &Arc<Self>,
        mut gathered: Gathered,
        mut waiting: BTreeSet<HashPart>,
        closure: bool,
    ) -> Result<Gathered, AskError> {
        while !waiting.is_empty() {
            let asked = std::mem::take(&mut gathered.unheard);
            let mut again = self.hear_caches(asked, gathered.deadline).await;
            again.extend(self.fetch_missing(&mut gathered, &waiting).await?);
            let shared = self.clone();
            let came = move || {
                let waiting = shared.read_again(&mut gathered, &again, &waiting, closure);
                Ok(waiting.map(|waiting| (gathered, waiting)))
            };
            let read = self.cores.run("reading evidence", came).await?;
            (gathered, waiting) = read?;
        }
        Ok(gathered)
    }

    /// Reads on this thread outputs and what they reach, until something has to be waited for: gives the outputs that were
    /// read last then. [`gather_rest`](Self::gather_rest) goes on from there.
    pub(crate) fn read_on(
        &self,
        gathered: &mut Gathered,
        mut wanted: BTreeSet<HashPart>,
        closure: bool,
    ) -> Result<BTreeSet<HashPart>, AskError> {
        self.read_up_to(usize::MAX, gathered, &mut wanted, closure)
    }

    /// The same as long as that are at most so many outputs. Those that would be more are left in `wanted`.
    pub(crate) fn read_up_to(
        &self,
        most: usize,
        gathered: &mut Gathered,
        wanted: &mut BTreeSet<HashPart>,
        closure: bool,
    ) -> Result<BTreeSet<HashPart>, AskError> {
        while !wanted.is_empty() {
            let together = gathered.found.len().saturating_add(wanted.len());
            if together > most {
                return Ok(BTreeSet::new());
            }
            if together > self.config.outputs_max {
                return Err(AskError::TooMuch {
                    limit: self.config.outputs_max,
                    unit: "outputs",
                });
            }
            read::read(self, gathered, wanted)?;
            gathered.shares.check()?;
            if !gathered.unheard.is_empty() || !gathered.missing.is_empty() {
                return Ok(std::mem::take(wanted));
            }
            *wanted = self.conclude(gathered, wanted, closure)?;
        }
        Ok(BTreeSet::new())
    }

    /// Reads anew what came while it was waited for, then on from the outputs that were read before.
    fn read_again(
        &self,
        gathered: &mut Gathered,
        again: &BTreeSet<HashPart>,
        before: &BTreeSet<HashPart>,
        closure: bool,
    ) -> Result<BTreeSet<HashPart>, AskError> {
        if !again.is_empty() {
            read::read(self, gathered, again)?;
            gathered.shares.check()?;
        }
        // It was waited for once.
        gathered.unheard.clear();
        gathered.missing.clear();
        let wanted = self.conclude(gathered, before, closure)?;
        self.read_on(gathered, wanted, closure)
    }

    /// Ends the reading of outputs; gives what they reach and is not read yet.
    fn conclude(
        &self,
        gathered: &mut Gathered,
        outputs: &BTreeSet<HashPart>,
        closure: bool,
    ) -> Result<BTreeSet<HashPart>, StoreError> {
        self.note_heard(gathered, outputs);
        // Before references are followed: what counts depends on when it was there.
        let mut builders = self.policy.builders.iter();
        if builders.any(|builder| self.policy.asks_since_when(builder)) {
            dates::date(self, gathered)?;
        }
        Ok(if closure {
            self.reached(gathered, outputs)
        } else {
            BTreeSet::new()
        })
    }

    /// Notes which caches answered: with a signature that was kept, or that they do not have it.
    fn note_heard(&self, gathered: &mut Gathered, outputs: &BTreeSet<HashPart>) {
        for output in outputs {
            let statements = gathered.evidence.outputs.get(output);
            let statements = statements.map(Vec::as_slice).unwrap_or_default();
            let heard = self
                .policy
                .caches
                .iter()
                .enumerate()
                .filter(|(position, cache)| {
                    let signed = |one: &Statement| {
                        one.source == Source::Unlogged && one.is_signed_by(&cache.key)
                    };
                    statements.iter().any(signed) || self.is_absent(*position, output)
                });
            let heard = heard.map(|(_, cache)| *cache.key.as_bytes()).collect();
            gathered.evidence.caches_heard.insert(output.clone(), heard);
        }
    }

    /// What these outputs refer to as far as a decision can depend on it, and is not gathered yet.
    fn reached(&self, gathered: &Gathered, outputs: &BTreeSet<HashPart>) -> BTreeSet<HashPart> {
        // Signatures of caches are checked again, so it may take a while.
        let paths = reached(&self.policy, &gathered.evidence, outputs);
        let outputs = paths.iter().map(StorePath::hash_part);
        let new = outputs.filter(|output| !gathered.found.contains_key(output));
        new.collect()
    }

    /// How all logs of the policy stand now.
    pub(crate) fn stand(&self) -> Result<Arc<Stand>, StoreError> {
        let now_s = (self.clock)();
        let read = || {
            let logs = self.snapshot(now_s)?;
            let evidence = logs.iter().map(|seen| {
                let evidence = LogEvidence {
                    state: seen.standing.state.clone(),
                    size: seen.size(),
                    cosigned: seen
                        .signed
                        .as_ref()
                        .map(|signed| self.cosigned(&seen.log, signed))
                        .unwrap_or_default(),
                    history: Vec::new(),
                };
                (seen.log.origin.clone(), evidence)
            });
            Ok(Stand {
                evidence: evidence.collect(),
                moment: Arc::new(Moment::of(&logs)),
                logs,
            })
        };
        self.stands.at(now_s, &self.changes, read)
    }

    /// All logs of the policy as they are at this moment.
    fn snapshot(&self, now_s: u64) -> Result<Vec<Snapshot>, StoreError> {
        let one = |log: &Arc<Log>| {
            let mirror: Arc<dyn TileStore> = Arc::from(self.index.mirror(&log.origin));
            let held = held(log, mirror.as_ref())?.and_then(|held| held.signed.ok().flatten());
            let cosigned = |signed: &SignedCheckpoint| self.cosigned(log, signed);
            Ok(Snapshot {
                log: log.clone(),
                standing: log.standing(now_s, self.config.stale_after),
                signed: held.map(|held| log.freshest(&self.policy, held, cosigned)),
                earlier: Vec::new(),
                mirror,
            })
        };
        self.logs.iter().map(one).collect()
    }

    /// The cosignatures of a checkpoint that count under the policy. Each is verified once: every question asks for them.
    fn cosigned(&self, log: &Log, signed: &SignedCheckpoint) -> Cosigned {
        let verify = || self.policy.cosigned(signed.bytes());
        self.cosigned.of(&log.origin, signed.bytes(), verify)
    }

    /// Fetches blobs that were missing; gives the outputs to be read again, if any came.
    async fn fetch_missing(
        self: &Arc<Self>,
        gathered: &mut Gathered,
        wanted: &BTreeSet<HashPart>,
    ) -> Result<BTreeSet<HashPart>, AskError> {
        let missing = std::mem::take(&mut gathered.missing);
        let fetches = missing.iter().filter_map(|(origin, ids)| {
            let log = self.logs.iter().find(|log| log.origin == *origin)?;
            let ids: Vec<BlobId> = ids.iter().copied().collect();
            Some(async move { self.fetch_late_blobs(log, &ids).await })
        });
        // Logs are asked side by side, so that a slow one costs the others nothing.
        let fetched = futures::future::join_all(fetches);
        let Ok(fetched) = tokio::time::timeout_at(gathered.deadline, fetched).await else {
            return Ok(BTreeSet::new());
        };
        let came = fetched.into_iter().collect::<Result<Vec<bool>, _>>()?;
        Ok(if came.contains(&true) {
            wanted.clone()
        } else {
            BTreeSet::new()
        })
    }
}

impl Gathered {
    /// Whether what is decided from it follows from the logs alone: from no cache, from no content, and not from what else
    /// was asked.
    pub(crate) fn is_of_logs_alone(&self, policy: &Policy) -> bool {
        let mut builders = policy.builders.iter();
        policy.caches.is_empty()
            && !builders.any(|builder| policy.asks_since_when(builder))
            && self.shares.left_out().is_empty()
            && self.evidence.self_verified.is_empty()
    }

    /// The log of this name.
    pub(crate) fn log(&self, origin: &str) -> Option<&Snapshot> {
        self.logs.iter().find(|seen| seen.log.origin == origin)
    }
}

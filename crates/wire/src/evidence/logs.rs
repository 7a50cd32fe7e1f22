//! How each log of the policy stands in an answer, and what is remembered of it between answers.
//!
//! The log's key decides, never the aggregator: that a log is live takes a checkpoint that its key signed and that
//! is neither smaller than one that was seen before nor of the same size with another root. Whether a larger tree
//! extends the smaller one is not asked for here: an aggregator and a log that work together could show another.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use quorix_tlog::checkpoint::{Checkpoint, SignedCheckpoint};
use quorix_tlog::hash::Hash;
use quorix_tlog::note::VerifierKey;
use quorix_tlog::proof::{MAX_PROOF_LENGTH, verify_consistency};
use quorix_trust::evidence::{Covering, LogEvidence, LogState};
use quorix_trust::policy::{Builder, Policy};
use quorix_trust::ports::Equivocation;

use super::{EARLIER_MAX, verify_equivocation};
use crate::convert;
use crate::pb;

/// Longest reason that is taken over from an aggregator, in characters.
const REASON_MAX: usize = 200;

/// The newest verified checkpoint of each log, and proof of equivocation where it was ever seen. Forgets nothing as long as
/// it lives; clients of an aggregator share one, also [under another policy](crate::client::AggregatorClient::under).
#[derive(Debug, Default)]
pub struct SeenCheckpoints {
    logs: Mutex<BTreeMap<String, SeenLog>>,
}

#[derive(Debug, Default)]
struct SeenLog {
    newest: Option<SignedCheckpoint>,
    equivocation: Option<Equivocation>,
}

impl SeenCheckpoints {
    /// Size of the newest verified checkpoint of each log. Taken before a question is sent, it tells an older
    /// answer from one that was merely overtaken.
    #[must_use]
    pub fn sizes(&self) -> BTreeMap<String, u64> {
        let size = |log: &SeenLog| log.newest.as_ref().map(|newest| newest.checkpoint().size);
        self.lock()
            .iter()
            .filter_map(|(origin, log)| Some((origin.clone(), size(log)?)))
            .collect()
    }

    /// Verified proof of equivocation, by origin.
    #[must_use]
    pub fn equivocations(&self) -> BTreeMap<String, Equivocation> {
        let logs = self.lock();
        let held = logs
            .iter()
            .filter_map(|(origin, log)| Some((origin.clone(), log.equivocation.clone()?)));
        held.collect()
    }

    /// Remembers a verified checkpoint; two of one size and different roots are equivocation.
    fn observe(&self, signed: &SignedCheckpoint) {
        let mut logs = self.lock();
        let log = logs.entry(signed.checkpoint().origin.clone()).or_default();
        let (new, newest) = (signed.checkpoint(), log.newest.as_ref());
        match newest.map(SignedCheckpoint::checkpoint) {
            Some(known) if known.size > new.size => {}
            Some(known) if known.size == new.size => {
                if known.root != new.root {
                    log.equivocation.get_or_insert_with(|| Equivocation {
                        first: newest
                            .map(|newest| newest.bytes().to_vec())
                            .unwrap_or_default(),
                        second: signed.bytes().to_vec(),
                        consistency_proof: Vec::new(),
                    });
                }
            }
            _ => log.newest = Some(signed.clone()),
        }
    }

    /// Keeps verified proof; the first one stays.
    fn hold(&self, origin: &str, proof: Equivocation) {
        let mut logs = self.lock();
        logs.entry(origin.to_owned())
            .or_default()
            .equivocation
            .get_or_insert(proof);
    }

    fn is_quarantined(&self, origin: &str) -> bool {
        self.lock()
            .get(origin)
            .is_some_and(|log| log.equivocation.is_some())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, SeenLog>> {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One log of the policy, as it stands in one answer.
pub(super) struct Judged {
    checkpoint: Option<SignedCheckpoint>,
    state: LogState,
    /// Earlier checkpoints that verify.
    history: Vec<Covering>,
}

impl Judged {
    /// Size and root against which inclusion is proved.
    pub(super) fn tree(&self) -> Option<(u64, Hash)> {
        let checkpoint = self.checkpoint.as_ref()?.checkpoint();
        Some((checkpoint.size, checkpoint.root))
    }

    /// How the log stood, with the cosignatures of the policy's witnesses.
    pub(super) fn evidence(self, policy: &Policy) -> LogEvidence {
        let note = self.checkpoint.as_ref().map(SignedCheckpoint::bytes);
        LogEvidence {
            size: self.tree().map(|(size, _)| size).unwrap_or_default(),
            cosigned: note.map(|note| policy.cosigned(note)).unwrap_or_default(),
            history: self.history,
            state: self.state,
        }
    }

    /// Something about this log does not verify: it adds no vote. Quarantine is never lifted by that.
    pub(super) fn does_not_verify(&mut self, reason: &str) {
        if self.state == LogState::Live {
            tracing::warn!(reason, "a log's evidence does not verify");
            self.state = unverifiable(reason);
        }
    }
}

/// How each log of the policy stands, by origin. What is answered about other logs is ignored.
pub(super) fn judge(
    policy: &Policy,
    answered: &[pb::LogEvidence],
    seen: &SeenCheckpoints,
    known_sizes: &BTreeMap<String, u64>,
) -> BTreeMap<String, Judged> {
    let mut by_origin: BTreeMap<&str, Vec<&pb::LogEvidence>> = BTreeMap::new();
    for log in answered {
        by_origin.entry(&log.origin).or_default().push(log);
    }
    let mut logs = BTreeMap::new();
    for builder in &policy.builders {
        let origin = builder.origin();
        let answers = by_origin.get(origin).map(Vec::as_slice).unwrap_or_default();
        let known = known_sizes.get(origin).copied().unwrap_or_default();
        logs.insert(
            origin.to_owned(),
            judge_one(policy, builder, answers, seen, known),
        );
    }
    logs
}

fn judge_one(
    policy: &Policy,
    builder: &Builder,
    answers: &[&pb::LogEvidence],
    seen: &SeenCheckpoints,
    known: u64,
) -> Judged {
    let (key, origin) = (&builder.key, builder.origin());
    let Some((answer, others)) = answers.split_first() else {
        return Judged {
            checkpoint: None,
            history: Vec::new(),
            state: stale("the aggregator says nothing of this log"),
        };
    };
    let opened = open(key, answer, seen);
    // Contradicting checkpoints in one answer count as well.
    for other in others {
        let _ = open(key, other, seen);
    }
    let (checkpoint, fault) = match opened {
        Ok(checkpoint) => (checkpoint, None),
        Err(reason) => (None, Some(reason)),
    };
    let size = checkpoint.as_ref().map(|signed| signed.checkpoint().size);
    let history = match &checkpoint {
        Some(signed) if policy.asks_since_when(builder) => {
            earlier(policy, key, signed, &answer.earlier, seen)
        }
        _ => Vec::new(),
    };
    let state = if seen.is_quarantined(origin) {
        LogState::Quarantined
    } else if let Some(reason) = fault {
        unverifiable(&reason)
    } else if !others.is_empty() {
        unverifiable("the answer names the log more than once")
    } else if size.is_some_and(|size| size < known) {
        let size = size.unwrap_or_default();
        stale(&format!(
            "rollback: the answer has a checkpoint of {size} entries after one of {known}"
        ))
    } else {
        claimed(answer, size)
    };
    Judged {
        checkpoint,
        state,
        history,
    }
}

/// The earlier checkpoints that verify: signed by the log and extended by the one of the answer. One that does not is
/// dropped, which only makes entries younger.
fn earlier(
    policy: &Policy,
    key: &VerifierKey,
    current: &SignedCheckpoint,
    answered: &[pb::EarlierCheckpoint],
    seen: &SeenCheckpoints,
) -> Vec<Covering> {
    let verified = answered.iter().take(EARLIER_MAX).filter_map(|one| {
        match extended(key, current.checkpoint(), one, seen) {
            Ok(signed) => Some(Covering {
                size: signed.checkpoint().size,
                cosigned: policy.cosigned(signed.bytes()),
            }),
            Err(reason) => {
                let origin = key.name().as_str();
                tracing::warn!(origin, reason, "an earlier checkpoint does not verify");
                None
            }
        }
    });
    verified.collect()
}

fn extended(
    key: &VerifierKey,
    current: &Checkpoint,
    one: &pb::EarlierCheckpoint,
    seen: &SeenCheckpoints,
) -> Result<SignedCheckpoint, String> {
    let signed = SignedCheckpoint::open(&one.checkpoint, key, key.name().as_str())
        .map_err(|error| error.to_string())?;
    if signed.checkpoint().size <= current.size {
        seen.observe(&signed);
    }
    if one.consistency_proof.len() > MAX_PROOF_LENGTH {
        return Err("its proof has more hashes than any tree needs".to_owned());
    }
    let hash = |bytes: &Vec<u8>| bytes.as_slice().try_into().map(Hash::from_bytes);
    let proof: Result<Vec<Hash>, _> = one.consistency_proof.iter().map(hash).collect();
    let proof = proof.map_err(|_| "its proof has a hash that is not of 32 bytes")?;
    let old = signed.checkpoint();
    verify_consistency(old.size, current.size, &old.root, &current.root, &proof)
        .map_err(|error| error.to_string())?;
    Ok(signed)
}

/// The state that an aggregator claims, of a log about which nothing speaks against it.
fn claimed(answer: &pb::LogEvidence, size: Option<u64>) -> LogState {
    match (pb::LogState::try_from(answer.state), size) {
        (Ok(pb::LogState::Live), Some(_)) => LogState::Live,
        (Ok(pb::LogState::Live), None) => {
            unverifiable("the log is said to be live without a checkpoint")
        }
        (Ok(pb::LogState::Stale), _) => {
            let reason: String = answer
                .reason
                .chars()
                .filter(|c| !c.is_control())
                .take(REASON_MAX)
                .collect();
            stale(if reason.is_empty() {
                "the aggregator does not say why"
            } else {
                &reason
            })
        }
        (Ok(pb::LogState::Quarantined), _) => {
            stale("the aggregator says that the log contradicts itself, without proof that holds")
        }
        (Ok(pb::LogState::Unspecified) | Err(_), _) => unverifiable("the log is in no known state"),
    }
}

/// Opens what is answered about a log and remembers it. `None` if there is no checkpoint.
fn open(
    key: &VerifierKey,
    answer: &pb::LogEvidence,
    seen: &SeenCheckpoints,
) -> Result<Option<SignedCheckpoint>, String> {
    let origin = key.name().as_str();
    if let Some(proof) = &answer.equivocation {
        let proof = convert::equivocation(proof.clone()).map_err(|error| error.to_string());
        match proof.and_then(|proof| match verify_equivocation(key, &proof) {
            Ok(()) => Ok(proof),
            Err(error) => Err(error.to_string()),
        }) {
            Ok(proof) => seen.hold(origin, proof),
            Err(reason) => tracing::warn!(origin, reason, "a claimed equivocation is not proved"),
        }
    }
    if answer.checkpoint.is_empty() {
        return Ok(None);
    }
    let signed = SignedCheckpoint::open(&answer.checkpoint, key, origin)
        .map_err(|error| error.to_string())?;
    seen.observe(&signed);
    Ok(Some(signed))
}

fn stale(reason: &str) -> LogState {
    LogState::Stale {
        reason: reason.to_owned(),
    }
}

fn unverifiable(reason: &str) -> LogState {
    stale(&format!("unverifiable: {reason}"))
}

//! What an aggregator answers, verified with the policy's keys: nothing in an [`Evidence`] from here has to be
//! believed.
//!
//! A pure function apart from what it remembers of each log ([`SeenCheckpoints`]). What does not verify is dropped
//! and makes its log stale, so a lying aggregator can withhold and delay, but add no vote that nobody cast. It can also
//! withhold dissent, and checkpoints that show how old an entry is (`since`, `until`): that its answer is complete is not
//! shown here. SEMANTICS §2 and §5.

use std::collections::{BTreeMap, BTreeSet};

use quorix_nix::store_path::{HashPart, StoreDir};
use quorix_trust::evidence::Evidence;
use quorix_trust::policy::Policy;

use crate::pb;

mod blobs;
mod equivocation;
mod file;
mod logs;
mod statements;

pub use equivocation::{EquivocationError, verify_equivocation};
pub use file::{
    EVIDENCE_FILE_BYTES_MAX, EvidenceFileError, read_evidence_file, write_evidence_file,
};
pub use logs::SeenCheckpoints;
pub(crate) use statements::keep_what_verifies;

/// Most outputs in one question or answer.
pub const OUTPUTS_MAX: usize = 10_000;
/// Most statements about one output in an answer.
pub const STATEMENTS_MAX: usize = 10_000;

/// Most earlier checkpoints of one log in an answer.
pub const EARLIER_MAX: usize = 64;

/// What was asked, and what was known when it was asked.
#[derive(Clone, Debug, Default)]
pub struct Question {
    /// The store directory that is asked about.
    pub store_dir: StoreDir,
    /// The outputs.
    pub outputs: BTreeSet<HashPart>,
    /// Whether everything that they refer to was asked for too.
    pub closure: bool,
    /// Size of the newest checkpoint known of each log before the question was sent: an answer must not be older.
    pub known_sizes: BTreeMap<String, u64>,
}

/// A verified answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// What verified.
    pub evidence: Evidence,
    /// How many statements of the answer were dropped.
    pub dropped: usize,
}

/// An answer that is not looked at any further.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// Too many outputs.
    #[error("the answer has {found} outputs, more than {OUTPUTS_MAX}")]
    TooManyOutputs {
        /// How many it has.
        found: usize,
    },
    /// Too many statements about one output.
    #[error("the answer has {found} statements about {output}, more than {STATEMENTS_MAX}")]
    TooManyStatements {
        /// The output.
        output: HashPart,
        /// How many it has.
        found: usize,
    },
    /// An output has no hash part.
    #[error("the answer names an output `{}`, which is no hash part of a store path", text.escape_debug())]
    NotAnOutput {
        /// The text, cut to 64 characters.
        text: String,
    },
}

/// Verifies an answer under a policy: checkpoints by the keys of its builders, entries by their proofs of inclusion,
/// blobs by their hashes, observations by the keys of its caches.
///
/// A log that the policy names and about which the answer does not verify is stale; every output that was asked for
/// is in the evidence, with nothing said where nothing verified.
///
/// # Errors
/// The answer is larger than any honest one, or not about outputs.
pub fn verify_evidence(
    policy: &Policy,
    question: &Question,
    answer: pb::GetEvidenceResponse,
    seen: &SeenCheckpoints,
) -> Result<Verified, AnswerError> {
    let outputs = by_output(question, answer.outputs)?;
    let mut logs = logs::judge(policy, &answer.logs, seen, &question.known_sizes);
    let mut verifier = statements::Verifier::new(policy, &mut logs, answer.blobs);
    let (mut verified, mut caches_heard) = (BTreeMap::new(), BTreeMap::new());
    for (output, said) in outputs {
        caches_heard.insert(output.clone(), heard(policy, &said.caches_heard));
        let statements = verifier.statements(&output, said);
        verified.insert(output, statements);
    }
    let dropped = verifier.dropped();
    if dropped > 0 {
        tracing::warn!(
            dropped,
            "an aggregator answered statements that do not verify"
        );
    }
    let logs = logs
        .into_iter()
        .map(|(origin, log)| (origin, log.evidence(policy)))
        .collect();
    let evidence = Evidence {
        store_dir: question.store_dir.clone(),
        logs,
        outputs: verified,
        caches_heard,
        self_verified: BTreeMap::new(),
        earlier: BTreeMap::new(),
    };
    Ok(Verified { evidence, dropped })
}

/// Of the caches that are said to have answered, those of the policy. It is the aggregator's word: a lie can only
/// reach what the policy has as a fallback.
fn heard(policy: &Policy, keys: &[Vec<u8>]) -> BTreeSet<[u8; 32]> {
    let caches = policy.caches.iter().map(|cache| *cache.key.as_bytes());
    caches
        .filter(|key| keys.iter().any(|heard| heard.as_slice() == key))
        .collect()
}

/// The answer's outputs by hash part, each once, those that were asked for always.
fn by_output(
    question: &Question,
    answered: Vec<pb::OutputEvidence>,
) -> Result<BTreeMap<HashPart, pb::OutputEvidence>, AnswerError> {
    if answered.len() > OUTPUTS_MAX {
        return Err(AnswerError::TooManyOutputs {
            found: answered.len(),
        });
    }
    let asked = question.outputs.iter().cloned();
    let mut outputs: BTreeMap<HashPart, pb::OutputEvidence> = asked
        .map(|output| (output, pb::OutputEvidence::default()))
        .collect();
    for one in answered {
        let output: HashPart = one
            .hash_part
            .parse()
            .map_err(|_| AnswerError::NotAnOutput {
                text: one.hash_part.chars().take(64).collect(),
            })?;
        if !question.closure && !question.outputs.contains(&output) {
            continue;
        }
        let all = outputs.entry(output.clone()).or_default();
        all.entries.extend(one.entries);
        all.observations.extend(one.observations);
        all.caches_heard.extend(one.caches_heard);
        let found = all.entries.len().saturating_add(all.observations.len());
        if found > STATEMENTS_MAX {
            return Err(AnswerError::TooManyStatements { output, found });
        }
    }
    Ok(outputs)
}

#[cfg(test)]
mod tests;

//! The decision of SEMANTICS §3: a pure function of policy, evidence and time, with its reasons.
//!
//! In steps, a file each: `context` says how each log stands, `part` what counts under one hash part, `tally` who votes
//! what on one path, `rule` what one rule makes of it, `choose` which rules are in force on it, `closure` and `graph` ask the same of everything that it depends on.
//! `view` writes down what a person needs to follow it.

mod choose;
mod closure;
mod context;
mod graph;
mod part;
mod reach;
mod rule;
mod tally;
#[cfg(test)]
mod tests;
mod view;

pub use reach::reached;

use quorix_nix::fingerprint::{Fingerprint, FingerprintDigest};
use quorix_nix::signature::Signature;
use quorix_nix::store_path::{HashPart, StoreDir, StorePath};

use context::World;

use crate::evidence::{Evidence, Said};
use crate::policy::Policy;

/// The most paths that one decision looks at; beyond it the decision is [`Outcome::BlockedBy`].
pub const CLOSURE_PATHS_MAX: usize = 100_000;

/// What was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// Enough operators voted for one value, and nothing stands against it.
    Accepted,
    /// One value is known, and it has too few votes.
    Insufficient,
    /// Nobody that the policy names said anything.
    Unknown,
    /// Different values are known and none has won, or two could.
    Conflict,
    /// An operator with a veto says something else, or took it back.
    Vetoed,
    /// A log with a veto cannot be heard.
    VetoUnavailable,
    /// The path itself has its votes; something that it refers to is not accepted.
    BlockedBy,
    /// The policy says no to this path.
    Denied,
    /// Accepted once it has been observed for long enough.
    Waiting,
}

/// A decision and its reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The store directory that was asked about.
    pub store_dir: StoreDir,
    /// The hash part that was asked about.
    pub asked: HashPart,
    /// The store path that it stands for, where that is known.
    pub path: Option<StorePath>,
    /// What was decided.
    pub outcome: Outcome,
    /// What was decided, for people: one plain sentence or two.
    pub sentence: String,
    /// The rule in force.
    pub rule: RuleView,
    /// The different values, most votes first.
    pub values: Vec<ValueView>,
    /// Every operator that the policy names, in its order.
    pub operators: Vec<OperatorView>,
    /// The rule's checks in their order, a sentence each.
    pub steps: Vec<String>,
    /// The value that was accepted.
    pub accepted: Option<FingerprintDigest>,
    /// The first path in its closure that is not accepted.
    pub blocked_by: Option<StorePath>,
    /// Operators whose agreeing vote would help.
    pub missing: Vec<String>,
    /// Other store paths under the same hash part of which something is known, at most 16; the one that stands in the
    /// way of this one first.
    pub other_names: Vec<OtherName>,
    /// The decision of a `mode=warn` rule, which is not in force.
    pub warned: Option<Box<Self>>,
    /// The decision of the rule from which the policy fell back.
    pub fallen_from: Option<Box<Self>>,
    /// POSIX seconds before which time alone does not change this decision; `None` if it never does.
    pub valid_until_s: Option<u64>,
}

impl Decision {
    /// True if the output may be used.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        self.outcome == Outcome::Accepted
    }

    /// What was accepted, whole; `None` if nothing was, or if nobody has supplied its references.
    #[must_use]
    pub fn accepted_facts(&self) -> Option<&Fingerprint> {
        let accepted = self.accepted?;
        self.values
            .iter()
            .find(|value| value.fingerprint == accepted)?
            .facts
            .as_ref()
    }
}

/// Another store path under the hash part that was asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherName {
    /// The store path.
    pub path: StorePath,
    /// Operators that are known to have said something of it, in the order of the policy.
    pub operators: Vec<String>,
    /// Its content was fetched and checked.
    pub is_self_verified: bool,
}

/// A rule, quoted from the policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleView {
    /// Its name.
    pub name: String,
    /// Its line in the policy file, from 1.
    pub line: usize,
    /// The line's text.
    pub text: String,
}

/// One of the different values of an output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueView {
    /// `A`, `B`, …, `Z`, `AA`…
    pub letter: String,
    /// The value.
    pub fingerprint: FingerprintDigest,
    /// What it stands for, where the references are known.
    pub facts: Option<Fingerprint>,
    /// Operators that vote for it.
    pub voters: Vec<String>,
}

/// How one operator stands to an output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorView {
    /// Its name.
    pub operator: String,
    /// Whether it votes.
    pub state: OperatorState,
    /// Letters of the values that it is known to have said.
    pub letters: Vec<String>,
    /// Where it said so.
    pub sources: Vec<SourceView>,
    /// Why it does not vote, for people; empty if it votes.
    pub reason: String,
}

/// Whether an operator votes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperatorState {
    /// It votes.
    Votes,
    /// It said nothing about this output.
    Silent,
    /// It said two different things, so it votes for neither.
    Contradicted,
    /// It said something, but its log cannot be heard now.
    Stale,
    /// It said something, but its log signed two contradicting checkpoints.
    Quarantined,
}

/// Where something was said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceView {
    /// The value's letter.
    pub letter: String,
    /// Name of the builder or cache in the policy.
    pub name: String,
    /// Origin of the log, index of the leaf and size of the checkpoint that covers it.
    pub leaf: Option<(String, u64, u64)>,
    /// Name of the Nix key, for a cache's signature.
    pub nix_key: String,
    /// Nix system, where told.
    pub system: String,
    /// Base name of the derivation, where told.
    pub drv_path: String,
    /// Version of Nix, where told.
    pub nix_version: String,
    /// POSIX seconds, 0 where not told.
    pub finished_at_s: u64,
}

/// Decides one output. `now_s` is POSIX seconds.
#[must_use]
pub fn decide(policy: &Policy, evidence: &Evidence, asked: &HashPart, now_s: u64) -> Decision {
    closure::Evaluator::new(policy, evidence, now_s, World::InForce).decide(asked)
}

/// Decides many outputs, in their order. The same decisions as [`decide`], with shared work.
#[must_use]
pub fn decide_many(
    policy: &Policy,
    evidence: &Evidence,
    asked: &[HashPart],
    now_s: u64,
) -> Vec<Decision> {
    let mut evaluator = closure::Evaluator::new(policy, evidence, now_s, World::InForce);
    asked.iter().map(|asked| evaluator.decide(asked)).collect()
}

/// Of the operators that agree with an accepted decision, one verified Nix signature each: a builder's under the
/// `nix-key` of its policy line, a cache's under its own key. In the order of the policy.
#[must_use]
pub fn agreeing_signatures(
    policy: &Policy,
    evidence: &Evidence,
    decision: &Decision,
) -> Vec<Signature> {
    let Some(facts) = decision.accepted_facts() else {
        return Vec::new();
    };
    let digest = facts.digest();
    let statements = evidence
        .outputs
        .get(&decision.asked)
        .map(Vec::as_slice)
        .unwrap_or_default();
    let voters = decision
        .operators
        .iter()
        .filter(|operator| operator.state == OperatorState::Votes);
    let mut signatures: Vec<Signature> = Vec::new();
    for voter in voters {
        let found = statements
            .iter()
            .filter(|statement| !statement.withdrawn && statement.value() == digest)
            .find_map(|statement| {
                let signature = statement.nix_signature()?;
                let keys = keys_of(policy, &voter.operator, &statement.said);
                keys.into_iter()
                    .any(|key| key.verify(facts, signature).is_ok())
                    .then(|| signature.clone())
            });
        // A client counts signatures, so the same one is not given twice.
        if let Some(signature) = found
            && !signatures.contains(&signature)
        {
            signatures.push(signature);
        }
    }
    signatures
}

fn keys_of<'p>(
    policy: &'p Policy,
    operator: &str,
    said: &Said,
) -> Vec<&'p quorix_nix::signature::PublicKey> {
    match said {
        Said::Build(_) => {
            let builders = policy
                .builders
                .iter()
                .filter(|builder| builder.operator == operator);
            builders
                .filter_map(|builder| builder.nix_key.as_ref())
                .collect()
        }
        Said::Observation(_) => {
            let caches = policy
                .caches
                .iter()
                .filter(|cache| cache.operator == operator);
            caches.map(|cache| &cache.key).collect()
        }
    }
}

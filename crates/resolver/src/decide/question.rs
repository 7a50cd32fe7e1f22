//! What is being asked about one output, and what a decision about it still depends on.
//!
//! Bounds: `content_checks`, `content_budget`, the outputs of one question, and how often an answer that left
//! something out is completed. SEMANTICS §3.

use std::collections::{BTreeMap, BTreeSet};

use quorix_nix::fingerprint::Fingerprint;
use quorix_nix::store_path::{HashPart, StorePath};
use quorix_trust::decision::{Decision, Outcome};
use quorix_trust::evidence::Evidence;
use quorix_wire::evidence::OUTPUTS_MAX;
use tokio::time::Instant;

use crate::config::ResolverConfig;
use crate::content::checkable;

/// How often what an answer about a closure left out is asked for by name.
const ROUNDS_MAX: usize = 8;

/// Whether a closure was asked for that changes only what is shown of a `mode=warn` rule.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Showing {
    NotAsked,
    Asked,
    /// In vain; it is not asked for again.
    GivenUp,
}

/// What is being asked about one output.
pub(super) struct Question {
    pub(super) asked: HashPart,
    pub(super) wanted: BTreeSet<HashPart>,
    pub(super) closure: bool,
    pub(super) verified: BTreeMap<StorePath, Fingerprint>,
    tried: BTreeSet<HashPart>,
    rounds_left: usize,
    showing: Showing,
    checks_max: usize,
    pub(super) deadline: Instant,
}

impl Question {
    pub(super) fn about(part: &HashPart, config: &ResolverConfig) -> Self {
        Self {
            asked: part.clone(),
            wanted: BTreeSet::from([part.clone()]),
            closure: false,
            verified: BTreeMap::new(),
            tried: BTreeSet::new(),
            rounds_left: ROUNDS_MAX,
            showing: Showing::NotAsked,
            checks_max: config.content_checks,
            deadline: Instant::now() + config.content_budget,
        }
    }

    /// Something wanted is not in the evidence, and more may be asked for.
    pub(super) fn has_more_to_ask(&self, evidence: &Evidence) -> bool {
        let is_known = |output: &HashPart| evidence.outputs.contains_key(output);
        self.wanted.len() <= OUTPUTS_MAX && !self.wanted.iter().all(is_known)
    }

    /// What is shown of a `mode=warn` rule comes from nothing more than that its closure was not asked for.
    pub(super) fn shows_too_little(&self, decision: &Decision, evidence: &Evidence) -> bool {
        let is_partial =
            |warned: &Decision| is_blocked(warned) && is_blocked_by_unknown(warned, evidence);
        self.showing == Showing::NotAsked && decision.warned.as_deref().is_some_and(is_partial)
    }

    /// Asks for the closure from now on.
    pub(super) fn ask_for_closure(&mut self, decision: &Decision) {
        self.closure = true;
        if !is_blocked(decision) {
            self.showing = Showing::Asked;
        }
    }

    /// Without what is asked for, the decision in force would be the same.
    pub(super) fn is_to_show_only(&self) -> bool {
        self.showing == Showing::Asked && self.closure
    }

    /// Asks again, for what the decision in force needs.
    pub(super) fn give_up_showing(&mut self) {
        self.closure = false;
        self.showing = Showing::GivenUp;
    }

    /// What blocks the decision in force is not in the answer about its closure, and may be asked for by name: an
    /// aggregator with another policy does not follow everything that this one depends on.
    pub(super) fn may_be_incomplete(&self, decision: &Decision, evidence: &Evidence) -> bool {
        self.closure
            && self.rounds_left > 0
            && is_blocked(decision)
            && is_blocked_by_unknown(decision, evidence)
    }

    /// Wants what an answer left out, as much of it as may be asked for.
    pub(super) fn want_left_out(&mut self, left_out: BTreeSet<HashPart>) {
        self.rounds_left = self.rounds_left.saturating_sub(1);
        let room = OUTPUTS_MAX.saturating_sub(self.wanted.len());
        self.wanted.extend(left_out.into_iter().take(room));
    }

    /// What stands in the way of an acceptance, and might prove itself.
    pub(super) fn next_checks(
        &mut self,
        decision: &Decision,
        evidence: &Evidence,
    ) -> Vec<HashPart> {
        let room = self.checks_max.saturating_sub(self.tried.len());
        let blocking = checkable(decision, evidence).into_iter();
        let new: Vec<HashPart> = blocking
            .filter(|output| !self.tried.contains(output))
            .take(room)
            .collect();
        self.tried.extend(new.iter().cloned());
        new
    }

    /// Whether a decision about an output that was not asked about may be used: an acceptance always, a refusal
    /// because of the closure only if all of the closure is here and nothing is left in it that might prove itself.
    pub(super) fn settles(
        &self,
        decision: &Decision,
        evidence: &Evidence,
        is_complete: bool,
    ) -> bool {
        let untried = || {
            let mut outputs = checkable(decision, evidence).into_iter();
            outputs.any(|output| !self.tried.contains(&output))
        };
        decision.is_accepted() || (is_blocked(decision) && is_complete && !untried())
    }
}

pub(super) fn is_blocked(decision: &Decision) -> bool {
    decision.outcome == Outcome::BlockedBy
}

/// The path that blocks it was never collected.
pub(super) fn is_blocked_by_unknown(decision: &Decision, evidence: &Evidence) -> bool {
    decision.blocked_by.as_ref().is_some_and(|path| {
        !evidence.outputs.contains_key(&path.hash_part())
            && !evidence.self_verified.contains_key(path)
    })
}

/// Everything that evidence tells of.
pub(super) fn outputs_of(evidence: &Evidence) -> BTreeSet<HashPart> {
    let known = evidence.outputs.keys().cloned();
    let verified = evidence.self_verified.keys().map(StorePath::hash_part);
    known.chain(verified).collect()
}

//! The oracle: what the aggregator answered, against what is really in the logs.
//!
//! The evidence of the oracle is made from the builders' own entries, never from what the aggregator has stored. Of the
//! aggregator it takes only how much of each log it has: that has to be a beginning of a history that the log signed,
//! and its votes count only if that checkpoint was shown lately and the log was never found out.

use std::sync::Arc;

use quorix_tlog::checkpoint::SignedCheckpoint;
use quorix_tlog::tile::TileId;
use quorix_trust::decision::{Decision, decide};
use quorix_trust::evidence::{Evidence, LogState};
use quorix_trust::policy::Policy;
use quorix_trust::ports::IndexStore as _;

use super::history::{Character, OUTPUTS, View, asked};
use super::world::World;
use super::{SLACK, STALE_AFTER, Twist};
use crate::service::Aggregator;

/// How much of each log the aggregator has, in the order of the logs.
pub(super) type Held = Vec<Option<View>>;

impl World {
    /// What the aggregator has of each log right now.
    pub(super) fn held(&mut self) -> Held {
        (0..self.logs.len()).map(|log| self.held_of(log)).collect()
    }

    fn held_of(&mut self, log: usize) -> Option<View> {
        let log = &self.logs[log];
        let mirror = self.index.mirror(&log.origin());
        let head = mirror.head().unwrap()?;
        let view = log.view_of(head.size, head.root);
        let is_true = |view: View| {
            let mut bundles = (0..head.size.div_ceil(256)).map(TileId::entries);
            bundles.all(|id| mirror.tile(id).unwrap() == Some(log.bundle(view, id.index)))
        };
        if !view.is_some_and(is_true) {
            let (name, size) = (&log.name, head.size);
            self.is_wrong(format!(
                "the mirror of {name} has {size} entries that the log never had"
            ));
        }
        view
    }

    /// Checks the answers about all outputs, and everything that must hold at any moment. `held` is what the aggregator
    /// had when it was asked.
    pub(super) fn judge(
        &mut self,
        aggregator: &Aggregator,
        held: &Held,
        answers: &[Arc<Decision>],
    ) {
        self.judge_quarantines(aggregator);
        let (evidence, everything) = (self.evidence(held), self.everything());
        for (output, answer) in OUTPUTS.iter().zip(answers) {
            self.note(output);
            self.note(&format!("{:?} {:?}", answer.outcome, answer.accepted));
            match answer.accepted {
                None => self.count("a refusal"),
                Some(_) => self.judge_acceptance(held, output, answer, [&evidence, &everything]),
            }
        }
    }

    fn judge_acceptance(
        &mut self,
        held: &Held,
        output: &str,
        decision: &Decision,
        [evidence, everything]: [&Evidence; 2],
    ) {
        self.count("an acceptance");
        let truth = self.truth(&self.true_policy, output, evidence);
        if truth.accepted != decision.accepted {
            let (said, rule) = (&decision.sentence, &decision.rule.text);
            self.is_wrong(format!(
                "{output} was accepted as {:?} ({said}) by `{rule}`, and on what the logs really said, {held:?}, it is \
                 {:?} as {:?}: {}",
                decision.accepted, truth.outcome, truth.accepted, truth.sentence
            ));
            return;
        }
        let newest = self.truth(&self.true_policy, output, everything);
        if newest.accepted != decision.accepted {
            self.count("an acceptance that newer entries or other histories would undo");
        }
    }

    /// A quarantine is forever, and comes over nobody who kept one history.
    fn judge_quarantines(&mut self, aggregator: &Aggregator) {
        let names: Vec<String> = aggregator
            .equivocations()
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        for log in 0..self.logs.len() {
            let name = self.logs[log].name.clone();
            let is_held = names.contains(&name);
            if is_held && !self.may_be_quarantined(log) {
                self.is_wrong(format!("{name} is quarantined, and has one history"));
            }
            if !is_held && self.quarantined.contains(&log) {
                self.is_wrong(format!("the quarantine of {name} was forgotten"));
            }
            if is_held && self.quarantined.insert(log) {
                self.count("a quarantine");
            }
        }
    }

    fn may_be_quarantined(&self, log: usize) -> bool {
        let log = &self.logs[log];
        log.branches.len() > 1
            && log.character == Character::Forking
            && self.twist != Twist::ForksAreHonest
    }

    /// Notes what the store of an aggregator that is about to die holds to be quarantined.
    pub(super) fn look_for_quarantines(&mut self) {
        for log in 0..self.logs.len() {
            let proof = self.index.equivocation(&self.logs[log].origin()).unwrap();
            if proof.is_some() && self.quarantined.insert(log) {
                self.count("a quarantine");
            }
        }
    }

    fn truth(&self, policy: &Policy, output: &str, evidence: &Evidence) -> Decision {
        decide(policy, evidence, &asked(output), self.clock.now_s())
    }

    /// What the logs say in these views of them.
    fn evidence(&self, held: &Held) -> Evidence {
        let mut evidence = Evidence::default();
        for (position, log) in self.logs.iter().enumerate() {
            if let Some(view) = held[position] {
                log.tell(view, self.state(position, view), &mut evidence);
            }
        }
        evidence
    }

    /// Everything that every log now says in its first history.
    fn everything(&self) -> Evidence {
        let held = self.logs.iter().map(|log| Some(log.newest(0))).collect();
        let mut evidence = self.evidence(&held);
        for log in evidence.logs.values_mut() {
            log.state = LogState::Live;
        }
        evidence
    }

    fn state(&self, log: usize, view: View) -> LogState {
        if self.quarantined.contains(&log) {
            return LogState::Quarantined;
        }
        let oldest_s = self.clock.now_s() - (STALE_AFTER + SLACK).as_secs();
        let is_same = |other: &View| {
            other.size == view.size && self.logs[log].root(*other) == self.logs[log].root(view)
        };
        let mut shown = self.shown.iter();
        if shown.any(|((of, other), at_s)| *of == log && is_same(other) && *at_s >= oldest_s) {
            LogState::Live
        } else {
            LogState::Stale {
                reason: "it was not shown lately".to_owned(),
            }
        }
    }

    /// After all faults: whether the aggregator says exactly what is true, and every log that showed it two histories
    /// is quarantined. Says what is missing.
    pub(super) fn at_rest(&mut self, answers: &[Arc<Decision>]) -> Result<(), String> {
        let held = self.held();
        let mut states = Vec::new();
        for (log, held) in held.iter().enumerate() {
            states.push(self.state_at_rest(log, *held)?);
        }
        let mut evidence = self.evidence(&held);
        for (log, state) in self.logs.iter().zip(states) {
            if let Some(told) = evidence.logs.get_mut(&log.origin()) {
                told.state = state;
            }
        }
        for (output, answer) in OUTPUTS.iter().zip(answers) {
            let truth = self.truth(&self.true_policy, output, &evidence);
            if (answer.outcome, answer.accepted) != (truth.outcome, truth.accepted) {
                return Err(format!(
                    "{output} is {:?} ({}), and in truth {:?} ({})",
                    answer.outcome, answer.sentence, truth.outcome, truth.sentence
                ));
            }
        }
        Ok(())
    }

    /// How a log stands in the end. The error is that it does not yet, or that it was not found out.
    fn state_at_rest(&self, log: usize, held: Option<View>) -> Result<LogState, String> {
        if self.quarantined.contains(&log) {
            return Ok(LogState::Quarantined);
        }
        let site = self.sites.iter().position(|site| site.log == log);
        let last = self.view(site.unwrap_or_default());
        let (true_log, kept) = (&self.logs[log], self.kept(log));
        // Of a larger tree that is no longer to be had nobody has the hashes that would prove anything, but of the mirror.
        let provable = kept.iter().filter(|kept| kept.size <= last.size);
        if provable
            .chain(&held)
            .any(|other| true_log.contradict(*other, last))
        {
            let name = &true_log.name;
            return Err(format!(
                "{name} showed two histories and is not quarantined"
            ));
        }
        if kept.iter().any(|kept| kept.size > last.size) {
            return Ok(LogState::Stale {
                reason: "it shows less than it showed before".to_owned(),
            });
        }
        match held {
            Some(held) if held.size == last.size => Ok(LogState::Live),
            _ => Err(format!("of {} only {held:?} was taken in", true_log.name)),
        }
    }

    /// Every checkpoint of a log that the aggregator kept.
    fn kept(&self, log: usize) -> Vec<View> {
        let log = &self.logs[log];
        let kept = self.index.checkpoints(&log.origin(), 0, 10_000).unwrap();
        let views = kept.into_iter().map(|kept| {
            let signed = SignedCheckpoint::open(&kept.note, log.key.verifier(), &log.origin());
            let checkpoint = signed.unwrap().checkpoint().clone();
            log.view_of(checkpoint.size, checkpoint.root).unwrap()
        });
        views.collect()
    }
}

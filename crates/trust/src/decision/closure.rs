//! Step 5 of SEMANTICS §3 at level `closure`: everything that an accepted path refers to must be accepted too.
//!
//! A depth-first walk with a stack of its own, every path decided once: the least fixed point, so a cycle other
//! than a reference to oneself is never accepted.

use std::collections::{BTreeMap, BTreeSet};

use quorix_nix::fingerprint::Fingerprint;
use quorix_nix::store_path::{HashPart, StorePath};

use super::rule::{Chosen, choose};
use super::tally::Tally;
use super::{CLOSURE_PATHS_MAX, Decision, Outcome, view};
use crate::evidence::Evidence;
use crate::policy::{Level, Mode, Policy};

/// Which rules count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum World {
    /// Those in force.
    InForce,
    /// As if every `mode=warn` rule were in force.
    Enforced,
}

/// Decides paths of one body of evidence, sharing what they have in common.
pub(super) struct Evaluator<'a> {
    pub(super) policy: &'a Policy,
    pub(super) evidence: &'a Evidence,
    pub(super) world: World,
    settled: BTreeMap<StorePath, Settled>,
    /// The same evidence as if every `mode=warn` rule were in force; made when the first one is met.
    enforced: Option<Box<Self>>,
}

/// What holds for one path, its closure included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// It may be used.
    Accepted,
    /// It may not, by itself.
    Refused(Outcome),
    /// It may not, because of something that it refers to.
    Blocked {
        /// The path at the root of it.
        by: StorePath,
        /// Why, for people.
        why: String,
    },
}

/// What a path by itself comes to.
enum Own {
    Settled(Settled),
    /// Accepted if these are.
    If(Vec<StorePath>),
}

struct Frame {
    path: StorePath,
    references: Vec<StorePath>,
    next: usize,
}

impl<'a> Evaluator<'a> {
    pub(super) fn new(policy: &'a Policy, evidence: &'a Evidence, world: World) -> Self {
        Self {
            policy,
            evidence,
            world,
            settled: BTreeMap::new(),
            enforced: None,
        }
    }

    /// Decides what stands under a hash part: every store path attested under it is decided, and exactly one may
    /// be accepted.
    pub(super) fn decide(&mut self, asked: &HashPart) -> Decision {
        let mut decisions: Vec<Decision> = Vec::new();
        for path in self.paths_under(asked) {
            decisions.push(self.decide_path(&path));
        }
        let accepted = decisions
            .iter()
            .filter(|decision| decision.is_accepted())
            .count();
        if accepted >= 2 {
            return view::two_names(self, asked, &decisions);
        }
        let best = decisions
            .iter()
            .position(Decision::is_accepted)
            .or_else(|| {
                // Nothing accepted: show the one that most was said about.
                (0..decisions.len()).max_by_key(|index| {
                    let said = decisions
                        .get(*index)
                        .map(|decision| decision.operators.iter());
                    said.map_or(0, |operators| {
                        operators
                            .filter(|operator| !operator.letters.is_empty())
                            .count()
                    })
                })
            });
        match best {
            Some(index) => decisions.swap_remove(index),
            None => view::nothing_known(self, asked),
        }
    }

    fn paths_under(&self, asked: &HashPart) -> BTreeSet<StorePath> {
        let statements = self
            .evidence
            .outputs
            .get(asked)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let ours = statements
            .iter()
            .filter(|statement| statement.claim().store_dir == self.evidence.store_dir);
        let verified = self
            .evidence
            .self_verified
            .keys()
            .filter(|path| path.hash_part() == *asked);
        ours.map(|statement| statement.path())
            .chain(verified)
            .cloned()
            .collect()
    }

    fn decide_path(&mut self, path: &StorePath) -> Decision {
        let settled = self.settle(path);
        let decision = view::decision(self, path, &settled);
        let is_warned = self.world == World::InForce
            && self
                .choose(path)
                .is_some_and(|chosen| chosen.warned.is_some());
        if !is_warned {
            return decision;
        }
        let (policy, evidence) = (self.policy, self.evidence);
        let enforced = self
            .enforced
            .get_or_insert_with(|| Box::new(Self::new(policy, evidence, World::Enforced)));
        let warned = enforced.decide_path(path);
        view::with_warned(decision, warned)
    }

    /// The verdict on a path by itself.
    pub(super) fn choose(&self, path: &StorePath) -> Option<Chosen<'a>> {
        let tally = Tally::of(self.policy, self.evidence, path);
        choose(
            self.policy,
            self.evidence,
            path,
            &tally,
            self.world == World::Enforced,
        )
    }

    /// What a content-addressed path was verified to be, unless the policy denies the path.
    pub(super) fn self_verified(&self, path: &StorePath) -> Option<&'a Fingerprint> {
        let facts = self.evidence.self_verified.get(path)?;
        let mut rule = self.policy.rule_for(path)?;
        // A fallback is defined before the rule that names it, so this ends.
        while rule.mode == Mode::Warn && self.world == World::InForce {
            rule = self.policy.rules.get(rule.fallback?)?;
        }
        (rule.mode != Mode::Deny
            && facts.path == *path
            && facts.store_dir == self.evidence.store_dir)
            .then_some(facts)
    }

    /// Settles a path and everything below it.
    fn settle(&mut self, path: &StorePath) -> Settled {
        if let Some(known) = self.settled.get(path) {
            return known.clone();
        }
        let mut walked = BTreeSet::new();
        let mut stack = Vec::new();
        self.visit(path, &mut stack, &mut walked);
        while let Some(frame) = stack.last_mut() {
            let Some(reference) = frame.references.get(frame.next).cloned() else {
                let path = frame.path.clone();
                self.finish(path, Settled::Accepted, &mut stack);
                continue;
            };
            let path = frame.path.clone();
            match self.settled.get(&reference) {
                Some(Settled::Accepted) => frame.next = frame.next.saturating_add(1),
                Some(Settled::Refused(outcome)) => {
                    let why = view::words(*outcome).to_owned();
                    self.finish(path, Settled::Blocked { by: reference, why }, &mut stack);
                }
                Some(Settled::Blocked { by, why }) => {
                    let blocked = Settled::Blocked {
                        by: by.clone(),
                        why: why.clone(),
                    };
                    self.finish(path, blocked, &mut stack);
                }
                None if walked.contains(&reference) => {
                    let why = format!("{} refers back to {}", reference.name(), path.name());
                    self.finish(path, Settled::Blocked { by: reference, why }, &mut stack);
                }
                None if walked.len() >= CLOSURE_PATHS_MAX => {
                    let why = format!("its closure has more than {CLOSURE_PATHS_MAX} paths");
                    self.finish(path, Settled::Blocked { by: reference, why }, &mut stack);
                }
                // Looked at again once it is settled.
                None => self.visit(&reference, &mut stack, &mut walked),
            }
        }
        self.settled
            .get(path)
            .cloned()
            .unwrap_or(Settled::Refused(Outcome::Unknown))
    }

    fn visit(
        &mut self,
        path: &StorePath,
        stack: &mut Vec<Frame>,
        walked: &mut BTreeSet<StorePath>,
    ) {
        walked.insert(path.clone());
        match self.own(path) {
            Own::Settled(settled) => {
                self.settled.insert(path.clone(), settled);
            }
            Own::If(references) => stack.push(Frame {
                path: path.clone(),
                references,
                next: 0,
            }),
        }
    }

    fn finish(&mut self, path: StorePath, settled: Settled, stack: &mut Vec<Frame>) {
        self.settled.insert(path, settled);
        stack.pop();
    }

    fn own(&self, path: &StorePath) -> Own {
        let others = |facts: &Fingerprint| {
            facts
                .references
                .iter()
                .filter(|other| *other != path)
                .cloned()
                .collect()
        };
        if self.paths_under(&path.hash_part()).len() > 1 && self.two_accepted(path) {
            return Own::Settled(Settled::Refused(Outcome::Conflict));
        }
        if let Some(facts) = self.self_verified(path) {
            return Own::If(others(facts));
        }
        let Some(chosen) = self.choose(path) else {
            return Own::Settled(Settled::Refused(Outcome::Unknown));
        };
        let verdict = chosen.verdict;
        let (Outcome::Accepted, Some(value)) = (verdict.outcome, verdict.candidate) else {
            return Own::Settled(Settled::Refused(verdict.outcome));
        };
        if verdict.rule.level == Level::Path {
            return Own::Settled(Settled::Accepted);
        }
        let tally = Tally::of(self.policy, self.evidence, path);
        match tally.values.get(&value).copied().flatten() {
            Some(facts) => Own::If(others(facts)),
            None => Own::Settled(Settled::Blocked {
                by: path.clone(),
                why: "nobody has supplied the list of what it refers to".into(),
            }),
        }
    }

    /// True if another store path with the same hash part wins its vote as well: exactly one may.
    fn two_accepted(&self, path: &StorePath) -> bool {
        let accepted = self
            .paths_under(&path.hash_part())
            .into_iter()
            .filter(|path| {
                self.self_verified(path).is_some()
                    || self
                        .choose(path)
                        .is_some_and(|chosen| chosen.verdict.outcome == Outcome::Accepted)
            });
        accepted.count() >= 2
    }
}

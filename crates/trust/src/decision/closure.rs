//! Which store paths are accepted, everything that they depend on included: step 5 of SEMANTICS §3.
//!
//! `graph` computes the least fixed point: a path is accepted only by finitely many steps from paths that need nothing
//! else, so a cycle other than a reference to oneself never is.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use quorix_nix::fingerprint::{Fingerprint, FingerprintDigest};
use quorix_nix::store_path::{HashPart, StorePath};

use super::choose::{Chosen, choose};
use super::context::Context;
use super::graph::{Graph, Needs, Own};
use super::tally::{Tally, Terms};
use super::{Decision, Outcome, view};
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
    pub(super) context: Context<'a>,
    pub(super) world: World,
    settled: BTreeMap<StorePath, Settled>,
    /// Whether two names under a hash part win their vote.
    two_names: RefCell<BTreeMap<HashPart, bool>>,
    /// The same evidence as if every `mode=warn` rule were in force; made when the first one is met.
    enforced: Option<Box<Self>>,
}

/// What holds for one path, its closure included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Settled {
    /// It may be used, with this value.
    Accepted(FingerprintDigest),
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

impl<'a> Evaluator<'a> {
    pub(super) fn new(
        policy: &'a Policy,
        evidence: &'a Evidence,
        now_s: u64,
        world: World,
    ) -> Self {
        Self {
            context: Context::new(policy, evidence, now_s),
            world,
            settled: BTreeMap::new(),
            two_names: RefCell::default(),
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
        let evidence = self.context.evidence;
        let statements = evidence
            .outputs
            .get(asked)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let ours = statements
            .iter()
            .filter(|statement| statement.claim().store_dir == evidence.store_dir);
        let verified = evidence
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
        let Context {
            policy,
            evidence,
            now_s,
            ..
        } = self.context;
        let enforced = self
            .enforced
            .get_or_insert_with(|| Box::new(Self::new(policy, evidence, now_s, World::Enforced)));
        let warned = enforced.decide_path(path);
        view::with_warned(decision, warned)
    }

    /// The verdict on a path by itself.
    pub(super) fn choose(&self, path: &StorePath) -> Option<Chosen<'a>> {
        choose(&self.context, path, self.world == World::Enforced)
    }

    /// What a content-addressed path was verified to be, unless the policy denies the path.
    pub(super) fn self_verified(&self, path: &StorePath) -> Option<&'a Fingerprint> {
        let Context {
            policy, evidence, ..
        } = self.context;
        let facts = evidence.self_verified.get(path)?;
        let mut rule = policy.rule_for(path, self.context.now_s)?;
        // A fallback is defined before the rule that names it, so this ends.
        while rule.mode == Mode::Warn && self.world == World::InForce {
            rule = policy.rules.get(rule.fallback?)?;
        }
        (rule.mode != Mode::Deny && facts.path == *path && facts.store_dir == evidence.store_dir)
            .then_some(facts)
    }

    /// Settles a path and everything that it depends on.
    fn settle(&mut self, path: &StorePath) -> Settled {
        if let Some(known) = self.settled.get(path) {
            return known.clone();
        }
        let graph = Graph::walk(self.context.policy, path, &self.settled, |path| {
            self.own(path)
        });
        let settled = graph.settle();
        self.settled.extend(settled);
        let unknown = Settled::Refused(Outcome::Unknown);
        self.settled.get(path).cloned().unwrap_or(unknown)
    }

    /// What a path by itself comes to, and what else it needs.
    fn own(&self, path: &StorePath) -> Own {
        if self.paths_under(&path.hash_part()).len() > 1 && self.two_accepted(path) {
            return Own::Settled(Settled::Refused(Outcome::Conflict));
        }
        if let Some(facts) = self.self_verified(path) {
            return Own::If(Needs {
                value: facts.digest(),
                references: others(path, facts),
                gates: Vec::new(),
                is_waiting: false,
            });
        }
        let Some(chosen) = self.choose(path) else {
            return Own::Settled(Settled::Refused(Outcome::Unknown));
        };
        let (Outcome::Accepted, Some(value)) = (chosen.verdict.outcome, chosen.verdict.candidate)
        else {
            return Own::Settled(Settled::Refused(chosen.verdict.outcome));
        };
        let mut needs = Needs {
            value,
            references: Vec::new(),
            gates: chosen.all().filter_map(|one| one.gate.clone()).collect(),
            is_waiting: chosen.all().any(|one| one.is_waiting),
        };
        if chosen.all().any(|one| one.rule.level > Level::Path) {
            let tally = Tally::of(&self.context, path, Terms::default());
            let Some(facts) = tally.values.get(&value).copied().flatten() else {
                return Own::Settled(Settled::Blocked {
                    by: path.clone(),
                    why: "nobody has supplied the list of what it refers to".into(),
                });
            };
            needs.references = others(path, facts);
        }
        Own::If(needs)
    }

    /// True if another store path with the same hash part wins its vote as well: exactly one may.
    fn two_accepted(&self, path: &StorePath) -> bool {
        let part = path.hash_part();
        if let Some(known) = self.two_names.borrow().get(&part) {
            return *known;
        }
        let accepted = self.paths_under(&part).into_iter().filter(|path| {
            self.self_verified(path).is_some()
                || self
                    .choose(path)
                    .is_some_and(|chosen| chosen.verdict.outcome == Outcome::Accepted)
        });
        let are_two = accepted.take(2).count() == 2;
        self.two_names.borrow_mut().insert(part, are_two);
        are_two
    }
}

/// What a path refers to, itself aside.
fn others(path: &StorePath, facts: &Fingerprint) -> Vec<StorePath> {
    let others = facts.references.iter().filter(|other| *other != path);
    others.cloned().collect()
}

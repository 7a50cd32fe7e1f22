//! Which store paths are accepted, everything that they depend on included: step 5 of SEMANTICS §3.
//!
//! `graph` computes the least fixed point: a path is accepted only by finitely many steps from paths that need nothing
//! else, so a cycle other than a reference to oneself never is.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use quorix_nix::fingerprint::{Fingerprint, FingerprintDigest};
use quorix_nix::store_path::{HashPart, StorePath};

use super::choose::{Chosen, choose};
use super::context::{Context, World};
use super::graph::{Graph, Needs, Own};
use super::tally::Terms;
use super::{Decision, Outcome, view};
use crate::evidence::Evidence;
use crate::policy::{Level, Policy};

/// Decides paths of one body of evidence, sharing what they have in common.
pub(super) struct Evaluator<'a> {
    pub(super) context: Context<'a>,
    settled: BTreeMap<StorePath, Settled>,
    /// What was chosen last: a path is settled, and then written down.
    last_chosen: RefCell<Option<(StorePath, Option<Rc<Chosen<'a>>>)>>,
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
            context: Context::new(policy, evidence, now_s, world),
            settled: BTreeMap::new(),
            last_chosen: RefCell::default(),
            enforced: None,
        }
    }

    /// Decides what stands under a hash part: every store path attested under it is decided, and at most one is
    /// accepted, since none is beside which another one could be.
    pub(super) fn decide(&mut self, asked: &HashPart) -> Decision {
        let mut decisions: Vec<Decision> = Vec::new();
        for path in self.paths_under(asked) {
            decisions.push(self.decide_path(&path));
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
        let verified = self.context.recomputed_under(asked);
        ours.map(|statement| statement.path())
            .chain(verified)
            .cloned()
            .collect()
    }

    fn decide_path(&mut self, path: &StorePath) -> Decision {
        let settled = self.settle(path);
        let decision = view::decision(self, path, &settled);
        let is_warned = self.context.world == World::InForce
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

    /// Which rules are in force on a path, and what they say.
    pub(super) fn choose(&self, path: &StorePath) -> Option<Rc<Chosen<'a>>> {
        if let Some((of, chosen)) = self.last_chosen.borrow().as_ref()
            && of == path
        {
            return chosen.clone();
        }
        let chosen = choose(&self.context, path).map(Rc::new);
        *self.last_chosen.borrow_mut() = Some((path.clone(), chosen.clone()));
        chosen
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
        if let Some(facts) = self.context.self_verified(path) {
            if self.context.part(&path.hash_part()).rival(path).is_some() {
                return Own::Settled(Settled::Refused(Outcome::Conflict));
            }
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
            let tally = self.context.tally(path, Terms::default());
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
}

/// What a path refers to, itself aside.
fn others(path: &StorePath, facts: &Fingerprint) -> Vec<StorePath> {
    let others = facts.references.iter().filter(|other| *other != path);
    others.cloned().collect()
}

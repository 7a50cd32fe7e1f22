//! Everything that counts under one hash part, under whichever name: Nix asks by the hash part, so two store paths with
//! one are two values of one output (SEMANTICS §6).

use std::collections::{BTreeMap, BTreeSet};

use quorix_nix::fingerprint::FingerprintDigest;
use quorix_nix::store_path::{HashPart, StorePath};

use super::context::Context;
use super::rule::satisfied;
use super::tally::{Counted, Window, voices, window};
use crate::policy::{Mode, Rule};

/// What counts under one hash part. Linear in the statements, and made once for a body of evidence: a log that speaks of
/// very many names makes none of them expensive.
#[derive(Default)]
pub(super) struct Part<'a> {
    /// By store path, what counts of it, in the order of the evidence.
    said: BTreeMap<&'a StorePath, Vec<Counted<'a>>>,
    /// By store path, who is known to have said something of it and did not withdraw it; nobody where its content was
    /// recomputed and nobody spoke of it.
    names: BTreeMap<&'a StorePath, BTreeSet<&'a str>>,
    /// The same store paths, those of which most operators speak first.
    ranked: Vec<&'a StorePath>,
    /// By operator, the store paths of which it is known to have said something.
    spoken: BTreeMap<&'a str, BTreeSet<&'a StorePath>>,
    /// Where there are several: those that could be accepted if everyone who is known to have said something voted.
    can_win: BTreeSet<&'a StorePath>,
}

impl<'a> Part<'a> {
    /// Collects what counts, signatures of caches checked.
    pub(super) fn of(context: &Context<'a>, part: &HashPart) -> Self {
        let mut found = Self::default();
        let evidence = context.evidence;
        let statements = evidence.outputs.get(part).into_iter().flatten();
        for statement in statements.filter(|one| one.claim().store_dir == evidence.store_dir) {
            for voice in voices(context.policy, statement) {
                let (operator, path) = (voice.operator(), statement.path());
                let value = statement.value();
                let window = window(context, statement, voice);
                let is_disregarded = context.policy.is_disregarded(operator, path, &value);
                if is_disregarded || window == Window::Outside {
                    continue;
                }
                found.add(Counted {
                    statement,
                    voice,
                    is_dated: window == Window::Inside,
                });
            }
        }
        for path in context.recomputed_under(part) {
            found.names.entry(path).or_default();
        }
        let mut ranked: Vec<_> = found.names.iter().collect();
        ranked.sort_by_key(|(name, operators)| (usize::MAX - operators.len(), **name));
        found.ranked = ranked.into_iter().map(|(name, _)| *name).collect();
        if found.names.len() > 1 {
            let names = found.names.keys().copied();
            found.can_win = names.filter(|path| found.wins(context, path)).collect();
        }
        found
    }

    fn add(&mut self, counted: Counted<'a>) {
        let (operator, path) = (counted.voice.operator(), counted.statement.path());
        if !counted.is_withdrawn() {
            self.names.entry(path).or_default().insert(operator);
            self.spoken.entry(operator).or_default().insert(path);
        }
        self.said.entry(path).or_default().push(counted);
    }

    /// Whether a store path could be accepted in a better state of the logs: it is self-verified, or some value of it
    /// has `A⁺` under the rule in force for it. No `also` rule is asked, nor a fallback, which dissent keeps out of
    /// reach: neither a wire that is cut nor a rule that is added may make room for the other name.
    fn wins(&self, context: &Context<'a>, path: &StorePath) -> bool {
        context.self_verified(path).is_some()
            || context
                .rule_in_force(path)
                .is_some_and(|rule| rule.mode != Mode::Deny && self.is_enough(context, rule, path))
    }

    fn is_enough(&self, context: &Context<'a>, rule: &Rule, path: &StorePath) -> bool {
        let mut known: BTreeMap<FingerprintDigest, BTreeSet<&str>> = BTreeMap::new();
        for counted in self.said(path).iter().filter(|one| !one.is_withdrawn()) {
            let said = known.entry(counted.statement.value()).or_default();
            said.insert(counted.voice.operator());
        }
        known
            .values()
            .any(|said| satisfied(context.policy, rule, &|operator| said.contains(operator)))
    }

    /// What counts of exactly this store path.
    pub(super) fn said(&self, path: &StorePath) -> &[Counted<'a>] {
        self.said.get(path).map(Vec::as_slice).unwrap_or_default()
    }

    /// Each operator that is known to have said something of another store path than this one, and the first such path.
    pub(super) fn elsewhere(
        &self,
        path: &StorePath,
    ) -> impl Iterator<Item = (&'a str, &'a StorePath)> {
        self.spoken.iter().filter_map(move |(operator, names)| {
            Some((*operator, *names.iter().find(|name| **name != path)?))
        })
    }

    /// The other store paths of which something is known, each with who said it: the one that stands in the way first,
    /// then those of which most operators speak.
    pub(super) fn others(
        &self,
        path: &StorePath,
    ) -> impl Iterator<Item = (&'a StorePath, &BTreeSet<&'a str>)> {
        let rival = self.rival(path);
        let others = self.ranked.iter().copied();
        let others = others.filter(move |name| *name != path && Some(*name) != rival);
        let all = rival.into_iter().chain(others);
        all.filter_map(|name| Some((name, self.names.get(name)?)))
    }

    /// Another store path that could be accepted as well: where there is one, neither is.
    pub(super) fn rival(&self, path: &StorePath) -> Option<&'a StorePath> {
        self.can_win.iter().copied().find(|name| *name != path)
    }
}

//! The decision of one rule on one path by itself: steps 1 to 4 of SEMANTICS §3, and the choice of the rule.

use std::collections::BTreeSet;

use quorix_nix::fingerprint::FingerprintDigest;
use quorix_nix::store_path::StorePath;

use super::Outcome;
use super::tally::Tally;
use crate::evidence::{Evidence, LogState};
use crate::policy::{Mode, Policy, Rule};

/// What one rule says of one path, its closure aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict<'a> {
    /// The rule.
    pub(super) rule: &'a Rule,
    /// Its outcome, as far as the path by itself goes.
    pub(super) outcome: Outcome,
    /// The value that wins, where one does.
    pub(super) candidate: Option<FingerprintDigest>,
    /// Operators whose agreeing vote would help.
    pub(super) missing: Vec<String>,
    /// The checks in their order.
    pub(super) steps: Vec<String>,
}

/// The verdict in force on a path, and those that led to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chosen<'a> {
    /// The verdict in force.
    pub(super) verdict: Verdict<'a>,
    /// Verdicts of stricter rules from which the policy fell back, strictest first.
    pub(super) fallen_from: Vec<Verdict<'a>>,
    /// The `mode=warn` rule that was passed over, if one was selected.
    pub(super) warned: Option<&'a Rule>,
}

/// Applies the rule selected for the path, then its fallbacks. With `enforce_warned`, as if every `mode=warn` rule
/// were in force.
pub(super) fn choose<'a>(
    policy: &'a Policy,
    evidence: &Evidence,
    path: &StorePath,
    tally: &Tally<'_>,
    enforce_warned: bool,
) -> Option<Chosen<'a>> {
    let mut rule = policy.rule_for(path)?;
    let mut warned = None;
    let mut fallen_from = Vec::new();
    // A fallback is defined before the rule that names it, so this ends.
    loop {
        let fallback = rule.fallback.and_then(|index| policy.rules.get(index));
        if rule.mode == Mode::Warn && !enforce_warned {
            warned.get_or_insert(rule);
            rule = fallback?;
            continue;
        }
        let verdict = apply(policy, evidence, rule, path, tally);
        let may_fall_back = matches!(verdict.outcome, Outcome::Insufficient | Outcome::Unknown)
            && all_answer(policy, evidence, rule, path);
        match fallback {
            // A rule that is only shown is shown as it stands.
            Some(next) if may_fall_back && rule.mode != Mode::Warn => {
                fallen_from.push(verdict);
                rule = next;
            }
            _ => {
                return Some(Chosen {
                    verdict,
                    fallen_from,
                    warned,
                });
            }
        }
    }
}

/// Every log and every cache of every operator that the rule names was heard: nobody reaches a fallback by cutting a
/// wire.
fn all_answer(policy: &Policy, evidence: &Evidence, rule: &Rule, path: &StorePath) -> bool {
    unheard(policy, evidence, &named_operators(policy, rule), path).is_none()
}

fn named_operators<'p>(policy: &'p Policy, rule: &Rule) -> BTreeSet<&'p str> {
    [rule.quorum, rule.require, rule.veto]
        .into_iter()
        .flatten()
        .flat_map(|group| policy.operators_of(group))
        .collect()
}

fn apply<'a>(
    policy: &Policy,
    evidence: &Evidence,
    rule: &'a Rule,
    path: &StorePath,
    tally: &Tally<'_>,
) -> Verdict<'a> {
    let mut verdict = Verdict {
        rule,
        outcome: Outcome::Denied,
        candidate: None,
        missing: Vec::new(),
        steps: Vec::new(),
    };
    let (Some(quorum), false) = (rule.quorum, rule.mode == Mode::Deny) else {
        verdict
            .steps
            .push("The rule accepts nothing (`mode=deny`).".into());
        return verdict;
    };
    let groups = [Some(quorum), rule.require];
    let satisfied = |votes: &dyn Fn(&str) -> bool| {
        groups
            .iter()
            .flatten()
            .all(|group| policy.is_satisfied(*group, &|operator: &str| votes(operator)))
    };
    let possible = tally
        .values
        .keys()
        .filter(|value| satisfied(&|operator| tally.knows(operator, value)));
    let possible: Vec<_> = possible.copied().collect();
    let candidate = tally
        .values
        .keys()
        .find(|value| satisfied(&|operator| tally.vote(operator) == Some(**value)));

    verdict.steps.push(quorum_step(policy, quorum, tally));
    if possible.len() >= 2 {
        verdict.outcome = Outcome::Conflict;
        verdict.steps.push(format!(
            "{} different values could each have enough votes: none wins.",
            possible.len()
        ));
        return verdict;
    }
    let Some(candidate) = candidate.copied() else {
        verdict.outcome = match tally.values.len() {
            0 => Outcome::Unknown,
            1 => Outcome::Insufficient,
            _ => Outcome::Conflict,
        };
        verdict.missing = missing(policy, rule, tally);
        verdict.steps.push(match verdict.outcome {
            Outcome::Unknown => "No value is known.".into(),
            Outcome::Insufficient => "One value is known; it has too few votes.".into(),
            _ => format!(
                "{} different values are known; none has enough votes, and no tie is broken.",
                tally.values.len()
            ),
        });
        return verdict;
    };
    verdict.candidate = Some(candidate);
    verdict.outcome = Outcome::Accepted;
    verdict.steps.push("One value has enough votes.".into());
    if let Some(veto) = rule.veto {
        apply_veto(policy, evidence, veto, tally, path, &mut verdict);
    }
    verdict
}

/// Step 4: an operator with a veto refuses by knowing another value or by having taken this one back; one that
/// cannot be heard refuses too.
fn apply_veto(
    policy: &Policy,
    evidence: &Evidence,
    veto: usize,
    tally: &Tally<'_>,
    path: &StorePath,
    verdict: &mut Verdict<'_>,
) {
    let Some(candidate) = verdict.candidate else {
        return;
    };
    for operator in policy.operators_of(veto) {
        let said = tally.operators.get(operator);
        let dissents = said.is_some_and(|said| {
            let revokes = said.withdrawn.contains(&candidate) && !said.known.contains(&candidate);
            revokes || said.known.iter().any(|value| *value != candidate)
        });
        if dissents {
            verdict.outcome = Outcome::Vetoed;
            verdict
                .steps
                .push(format!("{operator} has a veto and says otherwise."));
            return;
        }
    }
    let has_veto: BTreeSet<_> = policy.operators_of(veto).into_iter().collect();
    if let Some((operator, name)) = unheard(policy, evidence, &has_veto, path) {
        verdict.outcome = Outcome::VetoUnavailable;
        verdict
            .steps
            .push(format!("{operator} has a veto and {name} cannot be heard."));
    } else {
        verdict.steps.push("No veto.".into());
    }
}

/// The first log or cache of these operators that cannot be heard about a path, with its operator.
fn unheard<'p>(
    policy: &'p Policy,
    evidence: &Evidence,
    operators: &BTreeSet<&str>,
    path: &StorePath,
) -> Option<(&'p str, &'p str)> {
    let is_live = |origin: &str| {
        let log = evidence.logs.get(origin);
        log.is_some_and(|log| log.state == LogState::Live)
    };
    let answered = evidence.caches_heard.get(&path.hash_part());
    let builders = policy
        .builders
        .iter()
        .filter(|builder| !is_live(builder.origin()))
        .map(|builder| (builder.operator.as_str(), builder.name.as_str()));
    let caches = policy
        .caches
        .iter()
        .filter(|cache| !answered.is_some_and(|heard| heard.contains(cache.key.as_bytes())))
        .map(|cache| (cache.operator.as_str(), cache.name.as_str()));
    builders
        .chain(caches)
        .find(|(operator, _)| operators.contains(operator))
}

fn quorum_step(policy: &Policy, quorum: usize, tally: &Tally<'_>) -> String {
    let Some(voters) = policy.voters.get(quorum) else {
        return String::new();
    };
    let votes = policy
        .operators_of(quorum)
        .into_iter()
        .filter(|operator| tally.vote(operator).is_some())
        .count();
    format!(
        "Quorum {}: {} of {} must agree; {votes} {} on this output.",
        voters.name,
        voters.threshold,
        voters.members.len(),
        if votes == 1 { "votes" } else { "vote" },
    )
}

/// Operators of unsatisfied groups that do not vote for the leading value and are not known to say otherwise.
fn missing(policy: &Policy, rule: &Rule, tally: &Tally<'_>) -> Vec<String> {
    let mut known = tally.values.keys();
    let (only, None) = (known.next(), known.next()) else {
        return Vec::new();
    };
    let mut missing: Vec<String> = Vec::new();
    for group in [rule.quorum, rule.require].into_iter().flatten() {
        let votes = |operator: &str| only.is_some_and(|value| tally.vote(operator) == Some(*value));
        if policy.is_satisfied(group, &votes) {
            continue;
        }
        for operator in policy.operators_of(group) {
            if !votes(operator) && !missing.iter().any(|known| known == operator) {
                missing.push(operator.into());
            }
        }
    }
    missing
}

//! The decision of one rule on one path by itself: steps 1 to 4 and 6 of SEMANTICS §3.

use std::collections::BTreeSet;

use quorix_nix::fingerprint::FingerprintDigest;
use quorix_nix::store_path::StorePath;

use super::Outcome;
use super::context::Context;
use super::tally::{Inputs, Tally, Terms};
use crate::policy::{Level, Mode, Policy, Rule, moment};

/// What one rule says of one path, its closure aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict<'a> {
    /// The rule.
    pub(super) rule: &'a Rule,
    /// Its outcome, as far as the path by itself goes.
    pub(super) outcome: Outcome,
    /// The value that wins, where one does.
    pub(super) candidate: Option<FingerprintDigest>,
    /// The votes that it won by, where the rule asks for their inputs.
    pub(super) gate: Option<Gate>,
    /// It is not observed for long enough yet.
    pub(super) is_waiting: bool,
    /// Operators whose agreeing vote would help.
    pub(super) missing: Vec<String>,
    /// The checks in their order.
    pub(super) steps: Vec<String>,
}

/// Votes of which each counts only once its inputs are accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Gate {
    /// Groups that must be satisfied by such votes.
    pub(super) groups: Vec<usize>,
    /// Operator, and one of its published lists of inputs.
    pub(super) votes: Vec<(String, Inputs)>,
    /// The values in the list must be the accepted ones.
    pub(super) is_exact: bool,
}

/// Applies one rule to one path. `is_revived` is as if no log were merely stale.
pub(super) fn apply<'a>(
    context: &Context<'_>,
    rule: &'a Rule,
    path: &StorePath,
    is_revived: bool,
) -> Verdict<'a> {
    let mut verdict = Verdict {
        rule,
        outcome: Outcome::Denied,
        candidate: None,
        gate: None,
        is_waiting: false,
        missing: Vec::new(),
        steps: Vec::new(),
    };
    let (Some(quorum), false) = (rule.quorum, rule.mode == Mode::Deny) else {
        verdict
            .steps
            .push("The rule accepts nothing (`mode=deny`).".into());
        return verdict;
    };
    let policy = context.policy;
    let terms = Terms::of(rule, is_revived);
    let tally = context.tally(path, terms);
    verdict.steps.push(quorum_step(policy, quorum, &tally));
    let Some(candidate) = candidate(policy, rule, &tally, &mut verdict) else {
        return verdict;
    };
    verdict.candidate = Some(candidate);
    verdict.outcome = Outcome::Accepted;
    verdict.steps.push("One value has enough votes.".into());
    if let Some(veto) = rule.veto {
        apply_veto(context, veto, terms, path, &mut verdict);
    }
    if verdict.outcome == Outcome::Accepted {
        apply_observed(context, rule, &tally, candidate, &mut verdict);
        verdict.gate = gate(context, rule, candidate, &tally, verdict.is_waiting);
    }
    verdict
}

/// Steps 1 to 3: the one value that can win, and does.
fn candidate(
    policy: &Policy,
    rule: &Rule,
    tally: &Tally<'_>,
    verdict: &mut Verdict<'_>,
) -> Option<FingerprintDigest> {
    let possible = tally
        .values
        .keys()
        .filter(|value| satisfied(policy, rule, &|operator| tally.knows(operator, value)));
    let possible = possible.count();
    if let (1.., Some(rival)) = (possible, tally.rival) {
        verdict.outcome = Outcome::Conflict;
        verdict.steps.push(format!(
            "{rival} is under the same hash and could be accepted as well: neither is."
        ));
        return None;
    }
    if possible >= 2 {
        verdict.outcome = Outcome::Conflict;
        verdict.steps.push(format!(
            "{possible} different values could each have enough votes: none wins."
        ));
        return None;
    }
    let mut values = tally.values.keys();
    let candidate = values.find(|value| {
        satisfied(policy, rule, &|operator| {
            tally.vote(operator) == Some(**value)
        })
    });
    if candidate.is_some() {
        return candidate.copied();
    }
    verdict.outcome = match (tally.values.len(), tally.has_other_names) {
        (0, _) => Outcome::Unknown,
        (1, false) => Outcome::Insufficient,
        _ => Outcome::Conflict,
    };
    if !tally.has_other_names {
        verdict.missing = missing(policy, rule, tally);
    }
    verdict.steps.push(match verdict.outcome {
        Outcome::Unknown => "No value is known.".into(),
        Outcome::Insufficient => "One value is known; it has too few votes.".into(),
        _ if tally.has_other_names => {
            "Another store path under the same hash is known; none has enough votes, and no tie is broken.".into()
        }
        _ => format!(
            "{} different values are known; none has enough votes, and no tie is broken.",
            tally.values.len()
        ),
    });
    None
}

/// Whether a rule has its `quorum`, and its `require`, where these operators vote for one value.
pub(super) fn satisfied(policy: &Policy, rule: &Rule, votes: &dyn Fn(&str) -> bool) -> bool {
    let groups = [rule.quorum, rule.require];
    rule.quorum.is_some()
        && groups
            .iter()
            .flatten()
            .all(|group| policy.is_satisfied(*group, &|operator: &str| votes(operator)))
}

/// Step 4: an operator with a veto refuses by knowing another value or by having taken this one back; one that
/// cannot be heard refuses too.
fn apply_veto(
    context: &Context<'_>,
    veto: usize,
    terms: Terms,
    path: &StorePath,
    verdict: &mut Verdict<'_>,
) {
    let Some(candidate) = verdict.candidate else {
        return;
    };
    let policy = context.policy;
    let tally = context.tally(path, terms);
    for operator in policy.operators_of(veto) {
        let said = tally.operators.get(operator);
        let dissents = said.is_some_and(|said| {
            let revokes = said.withdrawn.contains(&candidate) && !said.known.contains(&candidate);
            let differs = said.known.iter().any(|value| *value != candidate);
            revokes || differs || said.elsewhere.is_some()
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
    if let Some((operator, name)) = unheard(context, &has_veto, terms, path) {
        verdict.outcome = Outcome::VetoUnavailable;
        verdict
            .steps
            .push(format!("{operator} has a veto and {name} cannot be heard."));
    } else {
        verdict.steps.push("No veto.".into());
    }
}

/// Step 6: enough of the agreeing votes must have been witnessed for long enough.
fn apply_observed(
    context: &Context<'_>,
    rule: &Rule,
    tally: &Tally<'_>,
    candidate: FingerprintDigest,
    verdict: &mut Verdict<'_>,
) {
    let Some(observed_s) = rule.min_observed_s else {
        return;
    };
    let since = |operator: &str| {
        let tally = tally.operators.get(operator)?;
        let agrees = tally.vote() == Some(candidate);
        agrees.then(|| tally.behind()?.since_s)?
    };
    let mut times: Vec<u64> = tally
        .operators
        .keys()
        .filter_map(|one| since(one))
        .collect();
    times.sort_unstable();
    let enough = times.into_iter().find(|time| {
        satisfied(context.policy, rule, &|operator| {
            since(operator).is_some_and(|since| since <= *time)
        })
    });
    let until = enough.map(|time| time.saturating_add(observed_s));
    verdict.is_waiting = until.is_none_or(|until| context.now_s < until);
    verdict.steps.push(match until {
        None => "No witness quorum says since when enough of these votes are there.".into(),
        Some(until) if verdict.is_waiting => {
            let until = moment(until);
            format!("It must have been witnessed for {observed_s} s, which is over at {until}.")
        }
        Some(_) => format!("It has been witnessed for {observed_s} s."),
    });
}

/// The votes that an acceptance at level `build` or `resolved` hangs on. Where nothing waits any more, those alone that
/// were witnessed for long enough: the same votes must have both.
fn gate(
    context: &Context<'_>,
    rule: &Rule,
    candidate: FingerprintDigest,
    tally: &Tally<'_>,
    is_waiting: bool,
) -> Option<Gate> {
    if rule.level < Level::Build {
        return None;
    }
    let is_ripe = |since: Option<u64>| {
        rule.min_observed_s.is_none_or(|observed_s| {
            is_waiting
                || since.is_some_and(|since| since.saturating_add(observed_s) <= context.now_s)
        })
    };
    let mut gate = Gate {
        groups: [rule.quorum, rule.require].into_iter().flatten().collect(),
        votes: Vec::new(),
        is_exact: rule.level == Level::Resolved,
    };
    for (operator, said) in &tally.operators {
        if let (true, Some(heard)) = (said.vote() == Some(candidate), said.behind()) {
            let ripe = heard.inputs.iter().filter(|(_, since)| is_ripe(*since));
            // Who built the same from the same inputs again says nothing new by it.
            let lists: BTreeSet<&Inputs> = ripe.map(|(list, _)| *list).collect();
            let votes = lists.into_iter();
            gate.votes
                .extend(votes.map(|list| ((*operator).to_owned(), list.clone())));
        }
    }
    Some(gate)
}

/// Every log and every cache of every operator that the rule names was heard, and all of what they said could be had:
/// nobody reaches a fallback by cutting a wire.
pub(super) fn all_answer(context: &Context<'_>, rule: &Rule, path: &StorePath) -> bool {
    let groups = [rule.quorum, rule.require, rule.veto];
    let named = groups
        .into_iter()
        .flatten()
        .flat_map(|group| context.policy.operators_of(group));
    let (named, terms) = (named.collect(), Terms::of(rule, false));
    let tally = context.tally(path, terms);
    unheard(context, &named, terms, path).is_none()
        && !tally.is_partly_heard(&named, terms.needs_inputs)
}

/// The first log or cache of these operators that cannot be heard about a path, with its operator.
fn unheard<'p>(
    context: &Context<'p>,
    operators: &BTreeSet<&str>,
    terms: Terms,
    path: &StorePath,
) -> Option<(&'p str, &'p str)> {
    let (policy, evidence) = (context.policy, context.evidence);
    let answered = evidence.caches_heard.get(&path.hash_part());
    let builders = policy
        .builders
        .iter()
        .filter(|builder| {
            context
                .live(builder, terms.max_age_s, terms.is_revived)
                .is_err()
        })
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
    let vote = if votes == 1 { "votes" } else { "vote" };
    let (name, threshold) = (&voters.name, voters.threshold);
    let total: usize = voters.weights.iter().sum();
    if total == voters.members.len() {
        format!("Quorum {name}: {threshold} of {total} must agree; {votes} {vote} on this output.")
    } else {
        format!(
            "Quorum {name}: a weight of {threshold} of {total} must agree; {votes} {vote} on this output."
        )
    }
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

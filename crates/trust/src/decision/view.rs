//! What a person needs to follow a decision: letters for values, the standing of every operator, the rule quoted.

use std::collections::BTreeMap;

use quorix_nix::fingerprint::FingerprintDigest;
use quorix_nix::store_path::{HashPart, StorePath};

use super::closure::{Evaluator, Settled};
use super::context::Context;
use super::rule::Verdict;
use super::tally::{Counted, OperatorTally, Tally};
use super::{
    Decision, OperatorState, OperatorView, OtherName, Outcome, RuleView, SourceView, ValueView,
};
use crate::evidence::{Said, Source};
use crate::explain;
use crate::policy::Rule;

/// The most other store paths under the same hash part that a decision names.
const OTHER_NAMES_MAX: usize = 16;

/// An outcome in a few words, to stand after a colon.
pub(super) fn words(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Accepted => "accepted",
        Outcome::Insufficient => "too few votes",
        Outcome::Unknown => "no data",
        Outcome::Conflict => "builders disagree",
        Outcome::Vetoed => "vetoed",
        Outcome::VetoUnavailable => "a veto cannot be asked for",
        Outcome::BlockedBy => "blocked by what it refers to",
        Outcome::Denied => "denied by the policy",
        Outcome::Waiting => "waiting",
    }
}

/// Writes down the decision on one path.
pub(super) fn decision(evaluator: &Evaluator<'_>, path: &StorePath, settled: &Settled) -> Decision {
    let chosen = evaluator.choose(path);
    let chosen = chosen.as_ref();
    let terms = chosen
        .as_ref()
        .map(|chosen| chosen.terms())
        .unwrap_or_default();
    let tally = evaluator.context.tally(path, terms);
    let mut decision = blank(evaluator, &path.hash_part());
    decision.path = Some(path.clone());
    decision.other_names = other_names(evaluator, path);
    let letters = lettered(evaluator, &tally, &mut decision);
    decision.operators = operators(evaluator, &decision.asked, &tally, &letters);

    if let Some(facts) = evaluator.context.self_verified(path) {
        let digest = facts.digest();
        decision.rule = evaluator
            .context
            .policy
            .rule_for(path, evaluator.context.now_s)
            .map(quoted)
            .unwrap_or_default();
        decision.steps.push(
            "The path is named after its content, which was fetched and checked: no votes needed."
                .into(),
        );
        if let Some(rival) = tally.rival {
            decision.steps.push(format!(
                "{rival} is under the same hash and could be accepted as well: neither is."
            ));
        }
        let mut said = decision.values.iter_mut();
        match said.find(|value| value.fingerprint == digest) {
            // Whoever said it may have withheld the references.
            Some(value) => value.facts = Some(facts.clone()),
            None => decision.values.push(ValueView {
                letter: letter(decision.values.len()),
                fingerprint: digest,
                facts: Some(facts.clone()),
                voters: Vec::new(),
            }),
        }
        return settle(decision, settled, Some(digest));
    }
    let Some(chosen) = chosen else {
        return explained(decision);
    };
    for stricter in &chosen.fallen_from {
        // Each stricter rule's decision stands inside the next one's, the strictest innermost.
        let mut fallen = decision.clone();
        judge(&mut fallen, stricter);
        fallen.outcome = stricter.outcome;
        decision.fallen_from = Some(Box::new(explained(fallen)));
    }
    judge(&mut decision, &chosen.verdict);
    settle(decision, settled, chosen.verdict.candidate)
}

/// No statement and no verified content under this hash part.
pub(super) fn nothing_known(evaluator: &Evaluator<'_>, asked: &HashPart) -> Decision {
    let mut decision = blank(evaluator, asked);
    decision.rule = in_force(evaluator, asked).map(quoted).unwrap_or_default();
    decision.operators = operators(evaluator, asked, &Tally::default(), &BTreeMap::new());
    decision.steps.push("No value is known.".into());
    explained(decision)
}

/// The rule in force on whatever has this hash part: the one selected, or where that is only shown its fallback.
fn in_force<'a>(evaluator: &Evaluator<'a>, asked: &HashPart) -> Option<&'a Rule> {
    let Context { policy, now_s, .. } = evaluator.context;
    let rules = &policy.rules;
    let is_for = |rule: &&Rule| {
        let by_set = rule.set.as_ref().is_some_and(|set| {
            let mut paths = set.entries.keys();
            paths.any(|path| path.hash_part() == *asked && set.has(path, now_s))
        });
        let by_path = rule.path.as_ref();
        by_set || by_path.is_some_and(|path| path.hash_part() == *asked)
    };
    let selected = rules.iter().find(is_for);
    let rule = selected.or_else(|| rules.get(policy.default))?;
    evaluator.context.in_force(rule)
}

/// The other store paths under the same hash part of which something is known, as far as they are named.
fn other_names(evaluator: &Evaluator<'_>, path: &StorePath) -> Vec<OtherName> {
    let part = evaluator.context.part(&path.hash_part());
    let order = evaluator.context.policy.operators();
    let others = part.others(path).take(OTHER_NAMES_MAX);
    let named = others.map(|(name, operators)| OtherName {
        path: name.clone(),
        operators: order
            .iter()
            .filter(|one| operators.contains(**one))
            .map(|one| (*one).to_owned())
            .collect(),
        is_self_verified: evaluator.context.self_verified(name).is_some(),
    });
    named.collect()
}

/// Attaches what a `mode=warn` rule would have decided.
pub(super) fn with_warned(mut decision: Decision, warned: Decision) -> Decision {
    decision.warned = Some(Box::new(warned));
    explained(decision)
}

fn blank(evaluator: &Evaluator<'_>, asked: &HashPart) -> Decision {
    Decision {
        store_dir: evaluator.context.evidence.store_dir.clone(),
        asked: asked.clone(),
        path: None,
        outcome: Outcome::Unknown,
        sentence: String::new(),
        rule: RuleView::default(),
        values: Vec::new(),
        operators: Vec::new(),
        steps: Vec::new(),
        accepted: None,
        blocked_by: None,
        missing: Vec::new(),
        other_names: Vec::new(),
        warned: None,
        fallen_from: None,
        valid_until_s: evaluator.context.valid_until_s,
    }
}

fn judge(decision: &mut Decision, verdict: &Verdict<'_>) {
    decision.rule = quoted(verdict.rule);
    decision.steps = verdict.steps.clone();
    decision.missing = verdict.missing.clone();
}

fn settle(
    mut decision: Decision,
    settled: &Settled,
    candidate: Option<FingerprintDigest>,
) -> Decision {
    match settled {
        Settled::Accepted(_) => {
            decision.outcome = Outcome::Accepted;
            decision.accepted = candidate;
        }
        Settled::Refused(outcome) => decision.outcome = *outcome,
        Settled::Blocked { by, why } => {
            decision.outcome = Outcome::BlockedBy;
            decision.blocked_by = Some(by.clone());
            decision
                .steps
                .push(format!("It is blocked by {}: {why}.", by.name()));
        }
    }
    explained(decision)
}

fn explained(mut decision: Decision) -> Decision {
    decision.sentence = explain::sentence(&decision);
    decision
}

fn quoted(rule: &Rule) -> RuleView {
    RuleView {
        name: rule.name.clone(),
        line: rule.line,
        text: rule.text.clone(),
    }
}

/// Gives the values letters: most votes first, then most operators that say it, then in the policy's order of those.
fn lettered(
    evaluator: &Evaluator<'_>,
    tally: &Tally<'_>,
    decision: &mut Decision,
) -> BTreeMap<FingerprintDigest, String> {
    let voters = |value: &FingerprintDigest| -> Vec<String> {
        let all = tally
            .operators
            .iter()
            .filter(|(_, operator)| operator.vote() == Some(*value));
        all.map(|(name, _)| (*name).to_owned()).collect()
    };
    let known = |value: &FingerprintDigest| {
        tally
            .operators
            .keys()
            .filter(|name| tally.knows(name, value))
            .count()
    };
    let order = evaluator.context.policy.operators();
    let first = |value: &FingerprintDigest| order.iter().position(|name| tally.knows(name, value));
    let mut values: Vec<_> = tally
        .values
        .iter()
        .map(|(value, facts)| (*value, *facts, voters(value)))
        .collect();
    values.sort_by_key(|(value, _, voters)| {
        (
            usize::MAX - voters.len(),
            usize::MAX - known(value),
            first(value),
            *value,
        )
    });
    let mut letters = BTreeMap::new();
    for (index, (fingerprint, facts, voters)) in values.into_iter().enumerate() {
        let letter = letter(index);
        letters.insert(fingerprint, letter.clone());
        decision.values.push(ValueView {
            letter,
            fingerprint,
            facts: facts.cloned(),
            voters,
        });
    }
    letters
}

/// A, B, …, Z, AA, AB…
fn letter(index: usize) -> String {
    let mut letters = Vec::new();
    let mut rest = index;
    loop {
        let offset = u8::try_from(rest % 26).unwrap_or_default();
        letters.push(char::from(b'A'.saturating_add(offset)));
        rest /= 26;
        if rest == 0 {
            break;
        }
        rest -= 1;
    }
    letters.iter().rev().collect()
}

fn operators(
    evaluator: &Evaluator<'_>,
    asked: &HashPart,
    tally: &Tally<'_>,
    letters: &BTreeMap<FingerprintDigest, String>,
) -> Vec<OperatorView> {
    let silent = OperatorTally::default();
    let views = evaluator
        .context
        .policy
        .operators()
        .into_iter()
        .map(|name| {
            let operator = tally.operators.get(name).unwrap_or(&silent);
            let state = operator.state();
            let mut own_letters: Vec<_> = operator
                .known
                .iter()
                .filter_map(|value| letters.get(value).cloned())
                .collect();
            own_letters.sort_by_key(|letter| (letter.len(), letter.clone()));
            let reason = match (state, operator.elsewhere) {
                (_, Some(other)) => format!("it speaks of {other}, under the same hash"),
                (OperatorState::Votes, _) => String::new(),
                (OperatorState::Silent, _) => silence(evaluator, asked, name),
                (OperatorState::Contradicted, _) => "it said two different things".into(),
                (OperatorState::Stale | OperatorState::Quarantined, _) => {
                    operator.reason.clone().unwrap_or_default()
                }
            };
            let sources = operator
                .sources
                .iter()
                .map(|counted| source(evaluator, counted, letters))
                .collect();
            OperatorView {
                operator: name.into(),
                state,
                letters: own_letters,
                sources,
                reason,
            }
        });
    views.collect()
}

/// Why a silent operator may be silent: its log cannot be heard.
fn silence(evaluator: &Evaluator<'_>, asked: &HashPart, operator: &str) -> String {
    let mut builders = evaluator
        .context
        .policy
        .builders
        .iter()
        .filter(|builder| builder.operator == operator);
    let unheard = builders.find_map(|builder| {
        let live = evaluator.context.live(builder, None, false);
        live.err().map(|not| not.reason)
    });
    let heard = evaluator.context.evidence.caches_heard.get(asked);
    let mut caches = evaluator
        .context
        .policy
        .caches
        .iter()
        .filter(|cache| cache.operator == operator);
    let silent = || {
        caches
            .find(|cache| !heard.is_some_and(|heard| heard.contains(cache.key.as_bytes())))
            .map(|cache| format!("the cache {} gave no answer that counts", cache.name))
    };
    unheard.or_else(silent).unwrap_or_default()
}

fn source(
    evaluator: &Evaluator<'_>,
    counted: &Counted<'_>,
    letters: &BTreeMap<FingerprintDigest, String>,
) -> SourceView {
    let statement = counted.statement;
    let mut view = SourceView {
        letter: letters.get(&statement.value()).cloned().unwrap_or_default(),
        name: counted.voice.name().into(),
        ..SourceView::default()
    };
    if let Source::Log { origin, index } = &statement.source {
        let size = evaluator
            .context
            .evidence
            .logs
            .get(origin)
            .map(|log| log.size)
            .unwrap_or_default();
        view.leaf = Some((origin.clone(), *index, size));
    }
    match &statement.said {
        Said::Build(build) => {
            view.system.clone_from(&build.system);
            view.drv_path = build
                .derivation
                .as_ref()
                .map(|(drv, _)| drv.to_string())
                .unwrap_or_default();
            view.nix_version.clone_from(&build.environment.nix_version);
            view.finished_at_s = build.finished_at_s;
        }
        Said::Observation(seen) => view.nix_key = seen.public_key.name().to_string(),
    }
    view
}

//! Which rule is in force on a path: the one selected, its fallbacks, its grace, and the `also` rules beside it.

use quorix_nix::store_path::StorePath;

use super::Outcome;
use super::context::{Context, World};
use super::rule::{Verdict, all_answer, apply};
use super::tally::Terms;
use crate::policy::{Applies, Mode, Rule, moment};

/// The verdict in force on a path, and those that led to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chosen<'a> {
    /// The verdict in force: of the rule selected, or of the first `also` rule that refuses.
    pub(super) verdict: Verdict<'a>,
    /// The verdicts of the `also` rules that hold, where all of them accept.
    pub(super) also: Vec<Verdict<'a>>,
    /// Verdicts of stricter rules from which the policy fell back, strictest first.
    pub(super) fallen_from: Vec<Verdict<'a>>,
    /// The `mode=warn` rule that was passed over, if one was selected.
    pub(super) warned: Option<&'a Rule>,
    /// It is in force because an earlier acceptance is, although a log is stale.
    is_revived: bool,
}

impl<'a> Chosen<'a> {
    /// A verdict by itself.
    const fn of(verdict: Verdict<'a>) -> Self {
        Self {
            verdict,
            also: Vec::new(),
            fallen_from: Vec::new(),
            warned: None,
            is_revived: false,
        }
    }

    /// What the verdict in force asks of votes.
    pub(super) fn terms(&self) -> Terms {
        Terms::of(self.verdict.rule, self.is_revived)
    }

    /// The verdicts that must all hold.
    pub(super) fn all(&self) -> impl Iterator<Item = &Verdict<'a>> {
        std::iter::once(&self.verdict).chain(&self.also)
    }
}

/// Applies the rule selected for the path, then its fallbacks, then all `also` rules that hold.
pub(super) fn choose<'a>(context: &Context<'a>, path: &StorePath) -> Option<Chosen<'a>> {
    let mut chosen = select(context, path)?;
    narrow(context, path, &mut chosen);
    Some(chosen)
}

fn select<'a>(context: &Context<'a>, path: &StorePath) -> Option<Chosen<'a>> {
    let policy = context.policy;
    let mut rule = policy.rule_for(path, context.now_s)?;
    let (mut warned, mut fallen_from) = (None, Vec::new());
    // A fallback is defined before the rule that names it, so this ends.
    loop {
        let fallback = rule.fallback.and_then(|index| policy.rules.get(index));
        if rule.mode == Mode::Warn && context.world == World::InForce {
            warned.get_or_insert(rule);
            rule = fallback?;
            continue;
        }
        let mut chosen = Chosen::of(apply(context, rule, path, false));
        if let Some(revived) = graced(context, rule, path)
            && !stands_alone(context, path, &chosen)
        {
            chosen = Chosen {
                is_revived: true,
                ..Chosen::of(revived)
            };
        }
        let verdict = &chosen.verdict;
        let may_fall_back = matches!(verdict.outcome, Outcome::Insufficient | Outcome::Unknown)
            && all_answer(context, rule, path);
        match fallback {
            // A rule that is only shown is shown as it stands.
            Some(next) if may_fall_back && rule.mode != Mode::Warn => {
                fallen_from.push(chosen.verdict);
                rule = next;
            }
            _ => {
                return Some(Chosen {
                    fallen_from,
                    warned,
                    ..chosen
                });
            }
        }
    }
}

/// The acceptance that stays in force for a while: an earlier one of the same value, where the rule would say the same
/// again if no log were merely stale.
fn graced<'a>(context: &Context<'a>, rule: &'a Rule, path: &StorePath) -> Option<Verdict<'a>> {
    let earlier = context.evidence.earlier.get(path)?;
    let until = earlier.at_s.saturating_add(rule.grace_s?);
    // An acceptance of the future is none.
    if earlier.at_s > context.now_s || context.now_s >= until {
        return None;
    }
    let mut revived = apply(context, rule, path, true);
    if revived.outcome != Outcome::Accepted || revived.candidate != Some(earlier.value) {
        return None;
    }
    revived.steps.push(format!(
        "Logs that are merely stale count as well: what was accepted at {} stays in force until {}.",
        moment(earlier.at_s),
        moment(until)
    ));
    Some(revived)
}

/// Whether a rule accepts with all that holds beside it, and nothing more is asked of these votes. Otherwise grace is
/// looked at also where there is a candidate: one more vote, or one fewer, must not make it wait for what others had
/// already waited for.
fn stands_alone<'a>(context: &Context<'a>, path: &StorePath, chosen: &Chosen<'a>) -> bool {
    let mut narrowed = chosen.clone();
    narrow(context, path, &mut narrowed);
    let asks_no_more = |one: &Verdict<'_>| !one.is_waiting && one.gate.is_none();
    narrowed.verdict.outcome == Outcome::Accepted && narrowed.all().all(asks_no_more)
}

/// Every `also` rule that holds must accept the same value, where one is accepted.
fn narrow<'a>(context: &Context<'a>, path: &StorePath, chosen: &mut Chosen<'a>) {
    if context.policy.also.is_empty() || chosen.verdict.outcome != Outcome::Accepted {
        return;
    }
    let everything = context.tally(path, Terms::default());
    let told = everything.told();
    for also in &context.policy.also {
        let rule = &also.rule;
        let refused = match also.when.applies(path, &told) {
            Applies::No => continue,
            Applies::Refuses(reason) => {
                let mut verdict = chosen.verdict.clone();
                verdict.outcome = Outcome::Denied;
                verdict
                    .steps
                    .push(format!("Rule {} refuses: {reason}.", rule.name));
                Verdict { rule, ..verdict }
            }
            Applies::Yes => {
                let mut verdict = apply(context, rule, path, chosen.is_revived);
                if verdict.outcome == Outcome::Accepted
                    && verdict.candidate == chosen.verdict.candidate
                {
                    let name = &rule.name;
                    chosen
                        .verdict
                        .steps
                        .push(format!("Rule {name} holds as well and accepts the same."));
                    chosen.also.push(verdict);
                    continue;
                }
                if verdict.outcome == Outcome::Accepted {
                    verdict.outcome = Outcome::Conflict;
                    verdict
                        .steps
                        .push("It accepts another value than the rule selected.".into());
                }
                let name = &rule.name;
                verdict.steps.push(format!(
                    "Rule {name} holds as well and does not accept this."
                ));
                verdict
            }
        };
        chosen.verdict = Verdict {
            candidate: None,
            gate: None,
            ..refused
        };
        chosen.also.clear();
        return;
    }
}

//! The properties of SEMANTICS §4 once more, over policies in the whole language: nested, weighted and percent voters,
//! `require`, `veto`, all levels, times and cosignatures, grace, `also`, `disregard`, several logs of one operator.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, TestRunner};

use super::world::{
    BUILDERS, NOW, OPERATORS, TWIN, Word, World, also, operator, told_world, value, world, x, y,
};
use crate::decision::{Decision, OperatorState, Outcome, decide};
use crate::policy::{Policy, Rule};

/// What stays the same where only the moment differs: not the sentences, which tell ages.
fn gist(decision: &Decision) -> impl PartialEq + std::fmt::Debug + use<> {
    let states: Vec<_> = decision.operators.iter().map(|one| one.state).collect();
    (
        (decision.outcome, decision.accepted, states),
        decision.rule.name.clone(),
        decision.blocked_by.clone(),
        (decision.missing.clone(), decision.valid_until_s),
    )
}

fn rule<'p>(policy: &'p Policy, name: &str) -> &'p Rule {
    policy.rules.iter().find(|rule| rule.name == name).unwrap()
}

/// Whether these operators are enough for a rule, its veto aside.
fn are_enough(policy: &Policy, rule: &Rule, operators: &BTreeSet<&str>) -> bool {
    let mut groups = rule.quorum.iter().chain(&rule.require);
    groups.all(|group| policy.is_satisfied(*group, &|one: &str| operators.contains(one)))
}

fn who_said(world: &World, number: u8) -> BTreeSet<&'static str> {
    let voices =
        (0..=BUILDERS.len()).filter(|voice| world.stands(*voice).any(|word| word.value == number));
    voices.map(operator).collect()
}

fn number_of(decision: &Decision) -> Option<u8> {
    (0..=TWIN).find(|number| Some(value(*number).digest()) == decision.accepted)
}

/// Whether somebody spoke of two store paths under the hash part, or the content of one was looked at.
fn has_two_names(world: &World) -> bool {
    let voices = 0..=BUILDERS.len();
    let said = voices.flat_map(|voice| world.stands(voice).map(|word| word.value));
    let mut twins = said.chain(world.checked).map(|number| number == TWIN);
    let first = twins.next();
    twins.any(|other| Some(other) != first)
}

/// Something gets worse: a log cannot be heard, or is proved to be two, or a cache is not heard.
fn worse(world: &World, log: usize, state: u8, is_heard: bool) -> Option<World> {
    let mut worse = world.clone();
    let is_witnessed = world.rules.is_witnessed;
    let old = std::mem::replace(&mut worse.logs[log].state, state);
    // A lifted quarantine is no staleness, and without witnesses nobody misses a cosignature. What dates entries that
    // were undated is no loss.
    let dates_more = is_witnessed && [6, 7].contains(&old) && ![6, old].contains(&state);
    let is_worse = old != 5 && (state != 7 || is_witnessed) && !dates_more;
    worse.is_heard &= is_heard;
    is_worse.then_some(worse)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// An agreeing vote of somebody who had said nothing refuses nothing. Only where a weaker rule was in force it can
    /// be that the stricter one now has its votes, and time, a veto or what it depends on stands against it there.
    #[test]
    fn monotone(world in world(), voter in 0_usize..4, inputs in 0_u8..4) {
        let before = world.decide();
        let Some(agreed) = number_of(&before) else { return Ok(()) };
        if !world.said[voter].is_empty() || (voter == 0 && !world.said[4].is_empty()) {
            return Ok(());
        }
        let votes = before.operators.iter().filter(|one| one.state == OperatorState::Votes);
        // It was the same build: what it tells beside the value is what the others told.
        let told = votes.flat_map(|one| &one.sources).find_map(|source| source.system.strip_prefix('s')?.parse().ok());
        let mut after = world.clone();
        after.said[voter] = vec![Word { value: agreed, withdrawn: false, told: told.unwrap_or(0), inputs, is_old: true }];
        let after = after.decide();
        let stricter = before.rule.name == "weak"
            && after.rule.name == "main"
            && matches!(after.outcome, Outcome::Vetoed | Outcome::VetoUnavailable | Outcome::Waiting | Outcome::BlockedBy);
        prop_assert!(stricter || after.accepted == before.accepted, "{:?}\n{:?}", before, after);
    }

    #[test]
    fn no_tie_is_ever_broken(world in world()) {
        let (policy, decision) = (world.policy(), world.decide());
        let could_win = |number: u8| {
            let rule = rule(&policy, world.selected(number));
            are_enough(&policy, rule, &who_said(&world, number))
        };
        // Of a path whose content was looked at nothing is asked that was said of it.
        let of_x = match world.checked {
            Some(number) if number != TWIN => 1,
            _ => (0..TWIN).filter(|number| could_win(*number)).count(),
        };
        let of_y = usize::from(world.checked == Some(TWIN) || could_win(TWIN));
        let has_windows = world.rules.since_h.is_some() || world.rules.until_h.is_some();
        if of_x + of_y >= 2 && !has_windows {
            prop_assert_eq!(decision.outcome, Outcome::Conflict);
        }
        let mut known = world.known();
        known.0.outputs.values_mut().for_each(|statements| statements.reverse());
        prop_assert_eq!(gist(&decide(&policy, &known.0, &x().hash_part(), NOW)), gist(&decision));
    }

    #[test]
    fn staleness_silence_or_quarantine_never_turns_a_refusal_into_accepted(world in world(), log in 0_usize..5, state in 4_u8..8, is_heard in any::<bool>()) {
        let before = world.decide();
        let Some(worse) = worse(&world, log, state, is_heard) else { return Ok(()) };
        let after = worse.decide();
        prop_assert!(before.is_accepted() || !after.is_accepted(), "{:?}\n{:?}", before, after);
    }

    /// What a missing log, or one without cosignatures, leaves undated may tell of its build: nobody gets around a rule
    /// by it.
    #[test]
    fn undated_entries_lead_around_no_rule_by_what_was_told(world in told_world(), log in 1_usize..3, state in 6_u8..8) {
        let before = world.decide();
        let Some(worse) = worse(&world, log, state, true) else { return Ok(()) };
        let after = worse.decide();
        prop_assert!(before.is_accepted() || !after.is_accepted(), "{:?}\n{:?}", before, after);
    }

    #[test]
    fn one_operator_never_counts_twice(world in world()) {
        let (policy, decision) = (world.policy(), world.decide());
        for operator in OPERATORS {
            let votes = decision.values.iter().filter(|value| value.voters.iter().any(|voter| voter == operator));
            prop_assert!(votes.count() <= 1);
        }
        let Some(accepted) = number_of(&decision) else { return Ok(()) };
        if world.checked == Some(accepted) {
            return Ok(());
        }
        let chosen = decision.values.iter().find(|one| Some(one.fingerprint) == decision.accepted).unwrap();
        let voters: BTreeSet<&str> = chosen.voters.iter().map(String::as_str).collect();
        prop_assert!(are_enough(&policy, rule(&policy, &decision.rule.name), &voters));
        for voice in (0..=BUILDERS.len()).filter(|voice| ["alice", "dave", "erin"].contains(&operator(*voice))) {
            if voters.contains(operator(voice)) {
                prop_assert!(world.stands(voice).all(|word| word.value == accepted), "contradicted");
            }
        }
    }

    #[test]
    fn also_only_narrows(world in world(), also in also()) {
        let mut plain = world;
        plain.rules.also = None;
        let before = plain.decide();
        let mut narrowed = plain;
        // What has a time asks for witnesses.
        let has_time = also.contains("max-age") || also.contains("min-observed");
        if has_time && !narrowed.rules.is_witnessed {
            return Ok(());
        }
        narrowed.rules.also = Some(also);
        let after = narrowed.decide();
        prop_assert!(!after.is_accepted() || after.accepted == before.accepted, "{:?}\n{:?}", before, after);
    }

    #[test]
    fn fallback_never_overrides_dissent(world in world()) {
        let (policy, decision) = (world.policy(), world.decide());
        let (Some(accepted), "weak") = (number_of(&decision), decision.rule.name.as_str()) else {
            return Ok(());
        };
        for voice in (0..=BUILDERS.len()).filter(|voice| ["alice", "dave", "erin"].contains(&operator(*voice))) {
            prop_assert!(world.stands(voice).all(|word| word.value == accepted));
        }
        prop_assert!(!has_two_names(&world));
        let main = rule(&policy, world.selected(accepted));
        let groups = [main.quorum, main.require, main.veto].into_iter().flatten();
        let named: BTreeSet<&str> = groups.flat_map(|group| policy.operators_of(group)).collect();
        for (voice, log) in world.logs.iter().enumerate() {
            let is_live = log.state == 0 || (log.state == 7 && !world.rules.is_witnessed);
            prop_assert!(is_live || !named.contains(operator(voice)));
        }
        prop_assert!(world.is_heard || !named.contains("erin"));
    }

    #[test]
    fn a_value_nobody_voted_for_is_never_accepted(world in world()) {
        let decision = world.decide();
        let Some(accepted) = number_of(&decision) else {
            prop_assert_eq!(decision.accepted, None);
            return Ok(());
        };
        if world.checked == Some(accepted) {
            return Ok(());
        }
        let chosen = decision.values.iter().find(|one| Some(one.fingerprint) == decision.accepted).unwrap();
        prop_assert!(!chosen.voters.is_empty());
        let said = who_said(&world, accepted);
        prop_assert!(chosen.voters.iter().all(|voter| said.contains(voter.as_str())));
    }

    #[test]
    fn before_valid_until_time_alone_changes_nothing(world in world(), share in 0_u64..1_000) {
        let decision = world.decide();
        let until = decision.valid_until_s.unwrap_or(NOW + 1_000_000_000);
        prop_assert!(until > NOW);
        let between = NOW + (until - 1 - NOW) * share / 1_000;
        for at in [between, until - 1] {
            prop_assert_eq!(gist(&world.decide_at(at)), gist(&decision));
        }
    }
}

/// The properties above ask of nothing if these worlds accept nothing, or never by the rules that matter.
#[test]
fn worlds_of_every_kind_come_up() {
    let mut runner = TestRunner::new_with_rng(
        Config::default(),
        proptest::test_runner::TestRng::deterministic_rng(
            proptest::test_runner::RngAlgorithm::ChaCha,
        ),
    );
    let mut counts = [0_usize; 12];
    for _ in 0..2_000 {
        let world = world().new_tree(&mut runner).unwrap().current();
        let decision = world.decide();
        let is_by_grace = decision
            .steps
            .iter()
            .any(|step| step.contains("stays in force"));
        let kinds = [
            decision.is_accepted(),
            decision.is_accepted() && decision.rule.name == "weak",
            decision.is_accepted() && is_by_grace,
            decision.is_accepted() && world.rules.also.is_some(),
            decision.outcome == Outcome::Waiting,
            decision.outcome == Outcome::BlockedBy,
            decision.outcome == Outcome::Conflict,
            matches!(decision.outcome, Outcome::Vetoed | Outcome::VetoUnavailable),
            decision.is_accepted() && has_two_names(&world),
            decision.outcome == Outcome::Conflict && has_two_names(&world),
            decision.is_accepted() && decision.path == Some(y()),
            decision.is_accepted() && world.checked == number_of(&decision),
        ];
        for (count, is_so) in counts.iter_mut().zip(kinds) {
            *count += usize::from(is_so);
        }
    }
    assert!(counts.iter().all(|count| *count >= 10), "{counts:?}");
}

//! The properties of SEMANTICS §4, over random policies and evidence.

use proptest::prelude::*;
use quorix_nix::fingerprint::Fingerprint;

use crate::decision::{Decision, OperatorState, Outcome, decide};
use crate::evidence::LogState;
use crate::policy::Policy;
use crate::testing::{Known, digests, facts, path, policy_of};

const NAMES: [&str; 4] = ["alice", "bob", "carol", "dave"];

/// A little world: a threshold, whether there is a veto or a fallback, and for each builder what it said of one
/// path and how its log stands.
#[derive(Clone, Debug)]
struct Little {
    threshold: usize,
    has_veto: bool,
    has_fallback: bool,
    said: [Vec<u8>; 4],
    states: [u8; 4],
}

fn little() -> impl Strategy<Value = Little> {
    let said = || proptest::collection::vec(0_u8..3, 0..3);
    (
        1_usize..=4,
        any::<bool>(),
        any::<bool>(),
        [said(), said(), said(), said()],
        proptest::array::uniform4(0_u8..4),
    )
        .prop_map(|(threshold, has_veto, has_fallback, said, states)| Little {
            threshold,
            has_veto,
            has_fallback,
            said,
            states,
        })
}

fn value(number: u8) -> Fingerprint {
    facts(&path("x"), &format!("value {number}"), &[])
}

impl Little {
    fn policy(&self) -> Policy {
        let veto = if self.has_veto { " veto=guard" } else { "" };
        let fallback = if self.has_fallback {
            " fallback=weak"
        } else {
            ""
        };
        policy_of(
            &NAMES,
            &format!(
                "voters group {} alice bob carol dave\nvoters guard 1 dave\nvoters one 1 alice bob carol dave\n\
                 rule weak quorum=one level=path\nrule main quorum=group level=path{veto}{fallback}\ndefault main\n",
                self.threshold
            ),
        )
    }

    fn known(&self) -> Known {
        let mut known = Known::default();
        for ((name, said), state) in NAMES.iter().zip(&self.said).zip(self.states) {
            known = match state {
                0 | 1 => known.log(name, LogState::Live),
                2 => known.stale(name),
                _ => known.log(name, LogState::Quarantined),
            };
            for number in said {
                known = known.says(name, &value(*number));
            }
        }
        known
    }

    fn decide(&self) -> Decision {
        self.known().decide(&self.policy(), &path("x"))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Another operator's honest agreeing vote never turns ACCEPTED into refusal, except by contradiction or veto
    /// of its own.
    #[test]
    fn monotone(little in little(), voter in 0_usize..4) {
        let before = little.decide();
        let Some(accepted) = before.accepted else { return Ok(()) };
        let agreed = (0..3).find(|number| value(*number).digest() == accepted).unwrap();
        prop_assume!(little.said[voter].is_empty());
        let mut after = little.clone();
        after.said[voter] = vec![agreed];
        prop_assert_eq!(after.decide().accepted, Some(accepted));
    }

    /// With more than one value that could win, none does, in whatever order things were said.
    #[test]
    fn no_tie_is_ever_broken(little in little()) {
        let decision = little.decide();
        let could_win = (0..3).filter(|number| {
            little.said.iter().filter(|said| said.contains(number)).count() >= little.threshold
        });
        if could_win.count() >= 2 {
            prop_assert_eq!(decision.outcome, Outcome::Conflict);
        }
        let mut known = little.known();
        known.0.outputs.values_mut().for_each(|statements| statements.reverse());
        prop_assert_eq!(known.decide(&little.policy(), &path("x")), reordered(decision, &known, &little.policy()));
    }

    #[test]
    fn staleness_silence_or_quarantine_never_turns_a_refusal_into_accepted(little in little(), log in 0_usize..4, state in 2_u8..4) {
        prop_assume!(!little.decide().is_accepted());
        let mut worse = little.clone();
        worse.states[log] = state;
        prop_assert!(!worse.decide().is_accepted());
    }

    #[test]
    fn one_operator_never_counts_twice(little in little()) {
        let decision = little.decide();
        for operator in NAMES {
            let votes = decision.values.iter().filter(|value| value.voters.iter().any(|voter| voter == operator)).count();
            prop_assert!(votes <= 1);
        }
        if let Some(accepted) = decision.accepted && decision.rule.name == "main" {
            let voters = &decision.values.iter().find(|value| value.fingerprint == accepted).unwrap().voters;
            prop_assert!(voters.len() >= little.threshold);
        }
    }

    #[test]
    fn fallback_never_overrides_dissent(little in little()) {
        let said: Vec<_> = little.said.iter().flatten().collect();
        let decision = little.decide();
        if decision.is_accepted() && decision.rule.name == "weak" {
            prop_assert!(said.iter().all(|number| *number == said[0]));
            prop_assert!(little.states.iter().all(|state| *state <= 1));
        }
    }

    #[test]
    fn a_value_nobody_voted_for_is_never_accepted(little in little()) {
        let decision = little.decide();
        if let Some(accepted) = decision.accepted {
            let values: Vec<_> = (0..3).map(value).collect();
            prop_assert!(digests(&values.iter().collect::<Vec<_>>()).contains(&accepted));
            let votes = decision.operators.iter().any(|operator| operator.state == OperatorState::Votes);
            prop_assert!(votes);
        }
    }

    /// What an `also` rule is added to is never accepted where it was not before, and never with another value.
    #[test]
    fn also_only_narrows(little in little(), extra in 1_usize..=4, applies in any::<bool>()) {
        let before = little.decide();
        let glob = if applies { "name=*" } else { "name=other" };
        let text = little.policy().text + &format!("voters extra {extra} alice bob carol dave\nalso more {glob} quorum=extra level=path\n");
        let after = little.known().decide(&Policy::parse(&text).unwrap(), &path("x"));
        prop_assert!(!after.is_accepted() || after.accepted == before.accepted);
        prop_assert!(applies || after.accepted == before.accepted);
    }

    #[test]
    fn the_same_policy_evidence_and_time_give_the_same_decision(little in little()) {
        let (policy, known) = (little.policy(), little.known());
        let asked = path("x").hash_part();
        prop_assert_eq!(decide(&policy, &known.0, &asked, 1), decide(&policy, &known.0, &asked, 1));
    }
}

/// The decision with its sources in the order of the evidence: nothing else may depend on that order.
fn reordered(mut decision: Decision, known: &Known, policy: &Policy) -> Decision {
    let other = known.decide(policy, &path("x"));
    fn sources(decision: &mut Decision, other: &Decision) {
        for (own, other) in decision.operators.iter_mut().zip(&other.operators) {
            own.sources.clone_from(&other.sources);
        }
        if let (Some(own), Some(other)) = (&mut decision.fallen_from, &other.fallen_from) {
            sources(own, other);
        }
    }
    sources(&mut decision, &other);
    decision
}

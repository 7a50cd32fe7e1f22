//! Fallbacks, and rules that are only shown: who reaches them, and who does not.

use crate::decision::Outcome;
use crate::testing::{Known, cache_line, facts, path, policy_of};

const THREE: [&str; 3] = ["alice", "bob", "carol"];
const FALLBACK: &str = "voters most 2 alice bob carol\nvoters one 1 alice\n\
    rule weak quorum=one level=path\nrule main quorum=most level=path fallback=weak\ndefault main\n";

#[test]
fn the_fallback_is_taken_when_votes_are_few_and_every_named_log_answers() {
    let policy = policy_of(&THREE, FALLBACK);
    let hello = path("hello");

    let decision = Known::live(&THREE)
        .says("alice", &facts(&hello, "good", &[]))
        .decide(&policy, &hello);

    assert_eq!(
        (decision.outcome, decision.rule.name.as_str()),
        (Outcome::Accepted, "weak")
    );
    let fallen = decision.fallen_from.unwrap();
    assert_eq!(
        (fallen.outcome, fallen.rule.name.as_str()),
        (Outcome::Insufficient, "main")
    );
}

#[test]
fn a_wire_cut_to_reach_a_fallback_does_not_reach_it() {
    let policy = policy_of(&THREE, FALLBACK);
    let hello = path("hello");
    let good = facts(&hello, "good", &[]);

    for known in [
        Known::live(&THREE).stale("bob"),
        Known::live(&["alice", "carol"]),
    ] {
        let decision = known.says("alice", &good).decide(&policy, &hello);
        assert_eq!(
            (decision.outcome, decision.rule.name.as_str()),
            (Outcome::Insufficient, "main")
        );
    }
}

#[test]
fn a_cache_that_is_not_heard_keeps_the_fallback_out_of_reach() {
    let lines = format!(
        "{}voters both 2 alice example\nvoters one 1 alice\nrule weak quorum=one level=path\n\
         rule main quorum=both level=path fallback=weak\ndefault main\n",
        cache_line("example")
    );
    let policy = policy_of(&["alice"], &lines);
    let hello = path("hello");
    let known = Known::live(&["alice"]).says("alice", &facts(&hello, "good", &[]));

    assert_eq!(known.decide(&policy, &hello).outcome, Outcome::Insufficient);
    let heard = known.heard("example", &hello).decide(&policy, &hello);
    assert_eq!(
        (heard.outcome, heard.rule.name.as_str()),
        (Outcome::Accepted, "weak")
    );
}

#[test]
fn the_fallback_never_overrides_dissent() {
    let policy = policy_of(&THREE, FALLBACK);
    let hello = path("hello");
    let known = Known::live(&THREE)
        .says("alice", &facts(&hello, "a", &[]))
        .says("bob", &facts(&hello, "b", &[]));

    assert_eq!(known.decide(&policy, &hello).outcome, Outcome::Conflict);
}

#[test]
fn a_rule_in_warn_mode_is_computed_and_shown_while_its_fallback_is_in_force() {
    let lines = format!(
        "{}voters today 1 example\nvoters both 2 alice example\n\
         rule today quorum=today level=path\nrule main quorum=both level=path mode=warn fallback=today\ndefault main\n",
        cache_line("example")
    );
    let policy = policy_of(&["alice"], &lines);
    let hello = path("hello");

    let decision = Known::live(&["alice"])
        .signed("example", &facts(&hello, "good", &[]))
        .decide(&policy, &hello);

    assert_eq!(
        (decision.outcome, decision.rule.name.as_str()),
        (Outcome::Accepted, "today")
    );
    let warned = decision.warned.unwrap();
    assert_eq!(
        (warned.outcome, warned.rule.name.as_str()),
        (Outcome::Insufficient, "main")
    );
    assert!(
        decision
            .sentence
            .contains("Rule main is in warn mode and would say: Refused: too few votes.")
    );
}

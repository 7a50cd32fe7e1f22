//! One path by itself: votes, ties, dissent, vetoes, fallbacks, modes.

use crate::decision::{OperatorState, Outcome, agreeing_signatures};
use crate::evidence::{Evidence, LogState, Statement};
use crate::testing::{Known, built, cache_line, facts, nix_key, observed, path, policy_of};

const THREE: [&str; 3] = ["alice", "bob", "carol"];
const TWO_OF_THREE: &str =
    "voters most 2 alice bob carol\nrule main quorum=most level=path\ndefault main\n";

#[test]
fn two_of_three_win_over_a_third_who_got_something_else() {
    let policy = policy_of(&THREE, TWO_OF_THREE);
    let hello = path("hello");
    let (good, bad) = (facts(&hello, "good", &[]), facts(&hello, "bad", &[]));
    let known = Known::live(&THREE)
        .says("alice", &good)
        .says("bob", &good)
        .says("carol", &bad);

    let decision = known.decide(&policy, &hello);

    assert_eq!(decision.outcome, Outcome::Accepted);
    assert_eq!(decision.accepted, Some(good.digest()));
    assert_eq!(decision.accepted_facts(), Some(&good));
    assert_eq!(
        decision.sentence,
        "Accepted. alice and bob built the same bytes. carol got something else."
    );
    let letters: Vec<_> = decision
        .values
        .iter()
        .map(|value| (value.letter.as_str(), value.voters.len()))
        .collect();
    assert_eq!(letters, [("A", 2), ("B", 1)]);
}

#[test]
fn trustix_a_tie_is_a_conflict_and_never_a_coin_toss() {
    let policy = policy_of(
        &["alice", "bob"],
        "voters one 50% alice bob\nrule main quorum=one level=path\ndefault main\n",
    );
    let hello = path("hello");
    let known = Known::live(&["alice", "bob"])
        .says("alice", &facts(&hello, "a", &[]))
        .says("bob", &facts(&hello, "b", &[]));

    let decision = known.decide(&policy, &hello);

    assert_eq!(
        (decision.outcome, decision.accepted),
        (Outcome::Conflict, None)
    );
}

#[test]
fn three_different_values_are_a_conflict() {
    let policy = policy_of(&THREE, TWO_OF_THREE);
    let hello = path("hello");
    let known = THREE.iter().fold(Known::live(&THREE), |known, name| {
        known.says(name, &facts(&hello, name, &[]))
    });

    let decision = known.decide(&policy, &hello);

    assert_eq!(decision.outcome, Outcome::Conflict);
    assert_eq!(
        decision.sentence,
        "Refused: builders disagree. alice, bob and carol each got something different. \
         Nobody's bytes are served; Nix will build it here."
    );
}

#[test]
fn one_vote_of_two_needed_is_insufficient_and_says_who_could_help() {
    let policy = policy_of(&THREE, TWO_OF_THREE);
    let hello = path("hello");

    let decision = Known::live(&THREE)
        .says("alice", &facts(&hello, "good", &[]))
        .decide(&policy, &hello);

    assert_eq!(decision.outcome, Outcome::Insufficient);
    assert_eq!(decision.missing, ["bob", "carol"]);
    assert_eq!(
        decision.sentence,
        "Refused: too few votes. Only alice has built this. An agreeing vote by bob or carol would help."
    );
}

#[test]
fn nothing_said_is_unknown() {
    let policy = policy_of(&THREE, TWO_OF_THREE);

    let decision = Known::live(&THREE).decide(&policy, &path("hello"));

    assert_eq!((decision.outcome, decision.path), (Outcome::Unknown, None));
}

#[test]
fn of_a_path_without_data_the_rule_in_force_is_named_and_the_cache_that_could_not_be_heard() {
    let lines = format!(
        "{}voters today 1 example\nvoters both 2 alice example\n\
         rule today quorum=today level=path\n\
         rule main quorum=both mode=warn fallback=today\ndefault main\n",
        cache_line("example")
    );
    let policy = policy_of(&["alice"], &lines);
    let hello = path("hello");

    let decision = Known::live(&["alice"]).decide(&policy, &hello);
    assert_eq!(decision.rule.name, "today");
    assert_eq!(
        decision.sentence,
        "Refused: no data. None of the policy's builders and caches has said anything about this path. \
         example does not count: the cache example gave no answer that counts."
    );

    let heard = Known::live(&["alice"]).heard("example", &hello);
    assert_eq!(heard.decide(&policy, &hello).operators[1].reason, "");
}

#[test]
fn trustix_the_denominator_is_the_listed_operators_not_those_who_answered() {
    let policy = policy_of(
        &THREE,
        "voters most 66% alice bob carol\nrule main quorum=most level=path\ndefault main\n",
    );
    let hello = path("hello");
    // Only one of three logs answers: no quorum of one.
    let known = Known::live(&["alice"]).says("alice", &facts(&hello, "good", &[]));

    assert_eq!(known.decide(&policy, &hello).outcome, Outcome::Insufficient);
}

#[test]
fn trustix_all_of_three_can_be_met_by_three_because_percentages_are_exact() {
    for threshold in ["100%", "all", "3"] {
        let lines = format!(
            "voters every {threshold} alice bob carol\nrule main quorum=every level=path\ndefault main\n"
        );
        let policy = policy_of(&THREE, &lines);
        let hello = path("hello");
        let good = facts(&hello, "good", &[]);
        let known = THREE
            .iter()
            .fold(Known::live(&THREE), |known, name| known.says(name, &good));

        assert_eq!(
            known.decide(&policy, &hello).outcome,
            Outcome::Accepted,
            "{threshold}"
        );
    }
}

#[test]
fn trustix_an_operator_that_said_two_things_votes_for_neither_and_both_are_shown() {
    let policy = policy_of(&THREE, TWO_OF_THREE);
    let hello = path("hello");
    let (good, other) = (facts(&hello, "good", &[]), facts(&hello, "other", &[]));
    let known = Known::live(&THREE)
        .says("alice", &good)
        .says("bob", &good)
        .says("bob", &other);

    let decision = known.decide(&policy, &hello);

    assert_eq!(decision.outcome, Outcome::Conflict);
    let bob = decision
        .operators
        .iter()
        .find(|one| one.operator == "bob")
        .unwrap();
    assert_eq!(
        (bob.state, bob.letters.len()),
        (OperatorState::Contradicted, 2)
    );
}

#[test]
fn what_a_stale_log_said_adds_no_vote_and_still_counts_as_dissent() {
    let policy = policy_of(&THREE, TWO_OF_THREE);
    let hello = path("hello");
    let (good, bad) = (facts(&hello, "good", &[]), facts(&hello, "bad", &[]));

    let no_vote = Known::live(&THREE)
        .stale("bob")
        .says("alice", &good)
        .says("bob", &good);
    assert_eq!(
        no_vote.decide(&policy, &hello).outcome,
        Outcome::Insufficient
    );

    let dissent = Known::live(&THREE)
        .stale("bob")
        .says("alice", &good)
        .says("bob", &bad);
    assert_eq!(dissent.decide(&policy, &hello).outcome, Outcome::Conflict);
}

#[test]
fn a_log_blocked_to_turn_a_tie_into_a_majority_changes_nothing() {
    let lines = "voters one 1 alice bob\nrule main quorum=one level=path\ndefault main\n";
    let policy = policy_of(&["alice", "bob"], lines);
    let hello = path("hello");
    let known = Known::live(&["alice"])
        .stale("bob")
        .says("alice", &facts(&hello, "a", &[]))
        .says("bob", &facts(&hello, "b", &[]));

    assert_eq!(known.decide(&policy, &hello).outcome, Outcome::Conflict);
}

#[test]
fn a_quarantined_log_adds_no_vote() {
    let policy = policy_of(&THREE, TWO_OF_THREE);
    let hello = path("hello");
    let good = facts(&hello, "good", &[]);
    let known = Known::live(&THREE)
        .log("bob", LogState::Quarantined)
        .says("alice", &good)
        .says("bob", &good);

    let decision = known.decide(&policy, &hello);

    assert_eq!(decision.outcome, Outcome::Insufficient);
    assert!(
        decision
            .sentence
            .contains("bob does not count: the log of bob signed two contradicting checkpoints.")
    );
}

#[test]
fn a_withdrawn_entry_counts_neither_for_nor_against() {
    let policy = policy_of(&THREE, TWO_OF_THREE);
    let hello = path("hello");
    let (good, bad) = (facts(&hello, "good", &[]), facts(&hello, "bad", &[]));
    let known = Known::live(&THREE)
        .says("alice", &good)
        .says("bob", &good)
        .withdrew("bob", &bad)
        .withdrew("carol", &bad);

    assert_eq!(known.decide(&policy, &hello).accepted, Some(good.digest()));
}

#[test]
fn a_builder_of_no_operator_in_the_policy_counts_for_nobody() {
    let policy = policy_of(&THREE, TWO_OF_THREE);
    let hello = path("hello");
    let good = facts(&hello, "good", &[]);
    let known = Known::live(&["alice", "mallory"])
        .says("alice", &good)
        .says("mallory", &good);

    assert_eq!(known.decide(&policy, &hello).outcome, Outcome::Insufficient);
}

#[test]
fn a_caches_signature_is_its_operators_vote() {
    let lines = format!(
        "{}voters both 2 alice example\nrule main quorum=both level=path\ndefault main\n",
        cache_line("example")
    );
    let policy = policy_of(&["alice"], &lines);
    let hello = path("hello");
    let good = facts(&hello, "good", &[]);

    let decision = Known::live(&["alice"])
        .says("alice", &good)
        .signed("example", &good)
        .decide(&policy, &hello);

    assert_eq!(decision.outcome, Outcome::Accepted);
}

#[test]
fn a_signature_by_another_key_of_the_same_name_or_over_other_facts_counts_for_nobody() {
    let lines = format!(
        "{}voters both 2 alice example\nrule main quorum=both level=path\ndefault main\n",
        cache_line("example")
    );
    let policy = policy_of(&["alice"], &lines);
    let hello = path("hello");
    let (good, other) = (facts(&hello, "good", &[]), facts(&hello, "other", &[]));
    let mut forged = observed("mallory", &good);
    let mut replayed = observed("example", &other);
    if let crate::evidence::Said::Observation(seen) = &mut forged.said {
        seen.public_key = nix_key("example").public_key();
    }
    replayed.facts = Some(good.clone());

    for statement in [observed("mallory", &good), forged, replayed] {
        let known = Known::live(&["alice"])
            .says("alice", &good)
            .statement(statement);
        assert_eq!(known.decide(&policy, &hello).outcome, Outcome::Insufficient);
    }
}

#[test]
fn two_logs_of_one_operator_are_one_vote() {
    let line =
        |name: &str| crate::testing::builder_line(name).replace("operator=bob", "operator=alice");
    let text = format!(
        "{}{}{}quorum none\nvoters both 2 alice carol\nrule main quorum=both level=path\ndefault main\n",
        line("alice"),
        line("bob"),
        line("carol")
    );
    let policy = crate::policy::Policy::parse(&text).unwrap();
    let hello = path("hello");
    let good = facts(&hello, "good", &[]);

    let decision = Known::live(&THREE)
        .says("alice", &good)
        .says("bob", &good)
        .decide(&policy, &hello);

    assert_eq!(decision.outcome, Outcome::Insufficient);
    assert_eq!(decision.values[0].voters, ["alice"]);
}

#[test]
fn a_veto_refuses_what_the_quorum_would_accept_and_so_does_its_silence() {
    let lines = "voters most 2 alice bob carol\nvoters guard any carol\nrule main quorum=most veto=guard level=path\ndefault main\n";
    let policy = policy_of(&THREE, lines);
    let hello = path("hello");
    let (good, bad) = (facts(&hello, "good", &[]), facts(&hello, "bad", &[]));
    let agreed = Known::live(&THREE).says("alice", &good).says("bob", &good);

    assert_eq!(agreed.decide(&policy, &hello).outcome, Outcome::Accepted);
    assert_eq!(
        agreed
            .clone()
            .says("carol", &bad)
            .decide(&policy, &hello)
            .outcome,
        Outcome::Vetoed
    );
    assert_eq!(
        agreed
            .clone()
            .withdrew("carol", &good)
            .decide(&policy, &hello)
            .outcome,
        Outcome::Vetoed
    );
    assert_eq!(
        agreed.stale("carol").decide(&policy, &hello).outcome,
        Outcome::VetoUnavailable
    );
}

#[test]
fn a_cache_with_a_veto_that_cannot_be_heard_refuses() {
    let lines = format!(
        "{}voters both 2 alice bob\nvoters guard any example\n\
         rule main quorum=both veto=guard level=path\ndefault main\n",
        cache_line("example")
    );
    let policy = policy_of(&["alice", "bob"], &lines);
    let hello = path("hello");
    let good = facts(&hello, "good", &[]);
    let agreed = Known::live(&["alice", "bob"])
        .says("alice", &good)
        .says("bob", &good);

    assert_eq!(
        agreed.decide(&policy, &hello).outcome,
        Outcome::VetoUnavailable
    );
    let heard = agreed.heard("example", &hello);
    assert_eq!(heard.decide(&policy, &hello).outcome, Outcome::Accepted);
}

#[test]
fn a_required_voter_must_agree_as_well() {
    let lines = "voters most 2 alice bob carol\nvoters me all carol\nrule main quorum=most require=me level=path\ndefault main\n";
    let policy = policy_of(&THREE, lines);
    let hello = path("hello");
    let good = facts(&hello, "good", &[]);
    let without = Known::live(&THREE).says("alice", &good).says("bob", &good);

    assert_eq!(
        without.decide(&policy, &hello).outcome,
        Outcome::Insufficient
    );
    assert_eq!(without.decide(&policy, &hello).missing, ["carol"]);
    assert_eq!(
        without.says("carol", &good).decide(&policy, &hello).outcome,
        Outcome::Accepted
    );
}

#[test]
fn a_denied_path_is_refused_whatever_anybody_says() {
    let hello = path("hello");
    let lines = format!(
        "voters any 1 alice\nrule never path=/nix/store/{hello} mode=deny\nrule main quorum=any level=path\ndefault main\n"
    );
    let policy = policy_of(&["alice"], &lines);
    let good = facts(&hello, "good", &[]);
    let known = Known::live(&["alice"])
        .says("alice", &good)
        .content_checked(&good);

    assert_eq!(known.decide(&policy, &hello).outcome, Outcome::Denied);
}

#[test]
fn no_log_takes_back_what_a_cache_signed() {
    // Alice carries the cache's signature in her own log and withdraws it there.
    let withdrawn = |facts| Statement {
        source: built("alice", facts).source,
        withdrawn: true,
        ..observed("example", facts)
    };
    let hello = path("hello");
    let (good, bad) = (facts(&hello, "good", &[]), facts(&hello, "bad", &[]));
    let lines = format!("{}voters one 1 alice example\n", cache_line("example"));
    let one = policy_of(
        &["alice"],
        &format!("{lines}rule main quorum=one level=path\ndefault main\n"),
    );
    let known = Known::live(&["alice"]).says("alice", &bad);
    let dissent = known.clone().statement(withdrawn(&good));
    assert_eq!(dissent.decide(&one, &hello).outcome, Outcome::Conflict);

    let veto = policy_of(
        &["alice"],
        &format!(
            "{lines}voters cache 1 example\nrule main quorum=one veto=cache level=path\ndefault main\n"
        ),
    );
    let agrees = known.statement(withdrawn(&bad)).heard("example", &hello);
    assert_eq!(agrees.decide(&veto, &hello).outcome, Outcome::Accepted);
}

#[test]
fn a_content_addressed_path_is_refused_where_the_rule_in_force_denies() {
    let hello = path("hello");
    let policy = policy_of(
        &["alice"],
        "voters any 1 alice\nrule no mode=deny\nrule main quorum=any mode=warn fallback=no\ndefault main\n",
    );
    let known = Known::live(&["alice"]).content_checked(&facts(&hello, "good", &[]));

    assert_eq!(known.decide(&policy, &hello).outcome, Outcome::Denied);
}

#[test]
fn nobody_withholds_the_references_of_what_proves_itself() {
    let policy = policy_of(&THREE, TWO_OF_THREE);
    let hello = path("hello");
    let good = facts(&hello, "good", &[]);
    let silent = Statement {
        facts: None,
        ..built("carol", &good)
    };
    let known = Known::live(&THREE).content_checked(&good).statement(silent);

    let decision = known.decide(&policy, &hello);

    assert_eq!(decision.accepted_facts(), Some(&good));
}

#[test]
fn agreeing_signatures_are_one_verified_signature_of_each_agreeing_operator() {
    let policy = policy_of(&THREE, TWO_OF_THREE);
    let hello = path("hello");
    let (good, bad) = (facts(&hello, "good", &[]), facts(&hello, "bad", &[]));
    let mut unsigned = built("bob", &good);
    if let crate::evidence::Said::Build(build) = &mut unsigned.said {
        build.nix_signature = Some(nix_key("mallory").sign(&good));
    }
    let known = Known::live(&THREE)
        .says("alice", &good)
        .says("alice", &good)
        .statement(unsigned)
        .says("carol", &bad);

    let signatures = agreeing_signatures(&policy, &known.0, &known.decide(&policy, &hello));

    assert_eq!(signatures, [nix_key("alice").sign(&good)]);
}

#[test]
fn two_names_under_one_hash_are_a_conflict_if_both_would_win() {
    let policy = policy_of(&THREE, TWO_OF_THREE);
    let hello = path("hello");
    let other = quorix_nix::store_path::StorePath::new(&hello.hash_part(), "goodbye").unwrap();
    let (one, two) = (facts(&hello, "x", &[]), facts(&other, "x", &[]));
    let known = ["alice", "bob"]
        .iter()
        .fold(Known::live(&THREE), |known, name| {
            known.says(name, &one).says(name, &two)
        });

    assert_eq!(known.decide(&policy, &hello).outcome, Outcome::Conflict);
}

#[test]
fn claims_for_another_store_directory_are_not_counted() {
    let policy = policy_of(
        &["alice"],
        "voters any 1 alice\nrule main quorum=any level=path\ndefault main\n",
    );
    let hello = path("hello");
    let mut known = Known::live(&["alice"]).says("alice", &facts(&hello, "good", &[]));
    known.0 = Evidence {
        store_dir: "/gnu/store".parse().unwrap(),
        ..known.0
    };

    assert_eq!(known.decide(&policy, &hello).outcome, Outcome::Unknown);
}

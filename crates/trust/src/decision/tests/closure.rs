//! A path and all that it refers to.

use quorix_nix::store_path::StorePath;

use crate::attestation::References;
use crate::decision::Outcome;
use crate::evidence::Said;
use crate::policy::Policy;
use crate::testing::{Known, built, facts, path, policy_of};

const BOTH: [&str; 2] = ["alice", "bob"];

fn policy() -> Policy {
    policy_of(
        &BOTH,
        "voters both 2 alice bob\nrule main quorum=both level=closure\ndefault main\n",
    )
}

/// Both builders agree on a path with these references.
fn agreed(known: Known, path: &StorePath, references: &[&StorePath]) -> Known {
    let good = facts(path, "good", references);
    known.says("alice", &good).says("bob", &good)
}

#[test]
fn a_path_is_accepted_when_everything_that_it_refers_to_is() {
    let (top, middle, leaf) = (path("top"), path("middle"), path("leaf"));
    let known = agreed(Known::live(&BOTH), &leaf, &[]);
    let known = agreed(known, &middle, &[&leaf]);
    let known = agreed(known, &top, &[&middle, &leaf, &top]);

    assert_eq!(known.decide(&policy(), &top).outcome, Outcome::Accepted);
}

#[test]
fn a_reference_deep_down_on_which_builders_disagree_blocks_and_is_named() {
    let (top, middle, leaf) = (path("top"), path("middle"), path("leaf"));
    let known = agreed(
        agreed(Known::live(&BOTH), &top, &[&middle]),
        &middle,
        &[&leaf],
    );
    let known = known
        .says("alice", &facts(&leaf, "a", &[]))
        .says("bob", &facts(&leaf, "b", &[]));

    let decision = known.decide(&policy(), &top);

    assert_eq!(
        (
            decision.outcome,
            decision.blocked_by.as_ref(),
            decision.accepted
        ),
        (Outcome::BlockedBy, Some(&leaf), None)
    );
    assert_eq!(
        decision.sentence,
        format!(
            "Refused: blocked. alice and bob built the same bytes, but it refers, directly or not, to {leaf}, which is not accepted (builders disagree)."
        )
    );
}

#[test]
fn a_reference_that_nobody_knows_blocks() {
    let (top, leaf) = (path("top"), path("leaf"));

    let decision = agreed(Known::live(&BOTH), &top, &[&leaf]).decide(&policy(), &top);

    assert_eq!(
        (decision.outcome, decision.blocked_by),
        (Outcome::BlockedBy, Some(leaf))
    );
}

#[test]
fn a_reference_that_is_named_after_its_content_needs_no_votes_but_its_own_references_do() {
    let (top, notes, leaf) = (path("top"), path("notes"), path("leaf"));
    let known = agreed(Known::live(&BOTH), &top, &[&notes]);

    let checked = known.clone().content_checked(&facts(&notes, "text", &[]));
    assert_eq!(checked.decide(&policy(), &top).outcome, Outcome::Accepted);
    let sentence = checked.decide(&policy(), &notes).sentence;
    assert_eq!(
        sentence,
        "Accepted. The path is named after its content, which was fetched and checked; no votes are needed."
    );

    let refers = known.content_checked(&facts(&notes, "text", &[&leaf]));
    assert_eq!(refers.decide(&policy(), &top).blocked_by, Some(leaf));
}

#[test]
fn a_cycle_is_never_accepted() {
    let (one, two) = (path("one"), path("two"));
    let known = agreed(agreed(Known::live(&BOTH), &one, &[&two]), &two, &[&one]);

    assert_eq!(known.decide(&policy(), &one).outcome, Outcome::BlockedBy);
    assert_eq!(known.decide(&policy(), &two).outcome, Outcome::BlockedBy);
}

#[test]
fn level_path_asks_nothing_of_references() {
    let policy = policy_of(
        &BOTH,
        "voters both 2 alice bob\nrule main quorum=both level=path\ndefault main\n",
    );
    let (top, leaf) = (path("top"), path("leaf"));

    assert_eq!(
        agreed(Known::live(&BOTH), &top, &[&leaf])
            .decide(&policy, &top)
            .outcome,
        Outcome::Accepted
    );
}

#[test]
fn a_reference_is_decided_by_the_rule_selected_for_it() {
    let (top, leaf) = (path("top"), path("leaf"));
    let lines = format!(
        "voters both 2 alice bob\nvoters one 1 alice\nrule exempt path=/nix/store/{leaf} quorum=one level=path\n\
         rule main quorum=both level=closure\ndefault main\n"
    );
    let known = agreed(Known::live(&BOTH), &top, &[&leaf]).says("alice", &facts(&leaf, "a", &[]));

    assert_eq!(
        known.decide(&policy_of(&BOTH, &lines), &top).outcome,
        Outcome::Accepted
    );
}

#[test]
fn a_withheld_list_of_references_blocks_and_never_changes_what_was_voted() {
    let top = path("top");
    let good = facts(&top, "good", &[]);
    let known = BOTH.iter().fold(Known::live(&BOTH), |known, name| {
        let mut statement = built(name, &good);
        if let Said::Build(build) = &mut statement.said {
            build.claim.references = References::Blob([9; 32]);
        }
        statement.facts = None;
        known.statement(statement)
    });

    let decision = known.decide(&policy(), &top);

    assert_eq!(
        (decision.outcome, decision.values[0].fingerprint),
        (Outcome::BlockedBy, good.digest())
    );
    assert_eq!(decision.values[0].voters, BOTH);
}

#[test]
fn a_chain_of_ten_thousand_paths_is_decided_without_deep_recursion() {
    let paths: Vec<_> = (0..10_000)
        .map(|number| path(&format!("p{number}")))
        .collect();
    let policy = policy_of(
        &["alice"],
        "voters any 1 alice\nrule main quorum=any level=closure\ndefault main\n",
    );
    let mut known = Known::live(&["alice"]);
    for pair in paths.windows(2) {
        known = known.says("alice", &facts(&pair[0], "x", &[&pair[1]]));
    }
    let known = known.says("alice", &facts(paths.last().unwrap(), "x", &[]));

    assert_eq!(known.decide(&policy, &paths[0]).outcome, Outcome::Accepted);
}

#[test]
fn only_references_of_values_that_could_win_are_reached() {
    let (top, leaf, junk, source) = (path("top"), path("leaf"), path("junk"), path("source"));
    let known = agreed(Known::live(&BOTH), &top, &[&leaf]);
    let known = known
        .says("alice", &facts(&leaf, "alone", &[&junk]))
        .content_checked(&facts(&source, "text", &[&junk]));
    let reached = |from: &StorePath| {
        let outputs = [from.hash_part()].into();
        crate::decision::reached(&policy(), &known.0, &outputs)
    };

    assert_eq!(reached(&top), [].into(), "what is known already");
    assert_eq!(reached(&leaf), [].into(), "one builder alone");
    assert_eq!(reached(&source), [junk.clone()].into());
    let known = agreed(Known::live(&BOTH), &top, &[&leaf]);
    let outputs = [top.hash_part()].into();
    let reached = crate::decision::reached(&policy(), &known.0, &outputs);
    assert_eq!(reached, [leaf].into());
}

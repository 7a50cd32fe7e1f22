//! Two store paths under one hash part: at most one of them is ever accepted, and neither beside the other.

use quorix_nix::store_path::StorePath;

use crate::decision::{Decision, OperatorState, Outcome};
use crate::evidence::LogState;
use crate::policy::Policy;
use crate::testing::{Known, cache_line, facts, path, policy_of};

const THREE: [&str; 3] = ["alice", "bob", "carol"];
const TWO_OF_THREE: &str =
    "voters two 2 alice bob carol\nrule main quorum=two level=path\ndefault main\n";

fn other() -> StorePath {
    StorePath::new(&path("hello").hash_part(), "goodbye").unwrap()
}

/// These say `hello`, those `goodbye`, all of them heard.
fn said(hello: &[&str], goodbye: &[&str]) -> Known {
    let known = Known::live(&THREE);
    let known = hello.iter().fold(known, |known, name| {
        known.says(name, &facts(&path("hello"), "x", &[]))
    });
    goodbye.iter().fold(known, |known, name| {
        known.says(name, &facts(&other(), "x", &[]))
    })
}

fn decide(known: &Known, lines: &str) -> Decision {
    known.decide(&policy_of(&THREE, lines), &path("hello"))
}

#[test]
fn a_stale_log_makes_no_room_for_the_other_name() {
    let known = said(&["alice", "bob"], &["bob", "carol"]);
    for known in [
        known.clone(),
        known.clone().stale("bob"),
        known.clone().stale("carol"),
        known.clone().log("alice", LogState::Quarantined),
    ] {
        assert_eq!(decide(&known, TWO_OF_THREE).outcome, Outcome::Conflict);
    }
    // Each of them says one thing, and one log is away.
    let lines = "voters one any alice bob carol\nrule main quorum=one level=path\ndefault main\n";
    let known = said(&["alice"], &["bob"]);
    assert_eq!(decide(&known, lines).outcome, Outcome::Conflict);
    assert_eq!(
        decide(&known.stale("alice"), lines).outcome,
        Outcome::Conflict
    );
}

#[test]
fn a_rule_beside_makes_no_room_for_the_other_name() {
    let rules = "voters one any alice bob carol\nvoters all all alice bob carol\n\
        rule main quorum=one level=path\ndefault main\n";
    for also in [
        "",
        "also more name=hello quorum=all level=path\n",
        "also no name=goodbye quorum=all level=path\n",
        "also odd when=(name == \"hello\" && 1/0 == 1) quorum=one level=path\n",
    ] {
        let decision = decide(&said(&["alice"], &["bob"]), &format!("{rules}{also}"));
        assert_eq!(decision.outcome, Outcome::Conflict, "{also}");
    }
}

#[test]
fn one_operator_that_speaks_of_another_name_blocks_nothing_that_has_its_votes() {
    let decision = decide(&said(&["alice", "bob"], &["carol"]), TWO_OF_THREE);

    assert_eq!(decision.outcome, Outcome::Accepted);
    let other = other();
    assert_eq!(
        decision.sentence,
        format!(
            "Accepted. alice and bob built the same bytes. carol says that this hash is that of {other}."
        )
    );
}

#[test]
fn the_sentence_names_the_other_path_and_who_spoke_of_it() {
    let lines = "voters one any alice bob carol\nrule main quorum=one level=path\ndefault main\n";
    let decision = decide(&said(&["alice"], &["bob", "carol"]), lines);

    let hello = path("hello");
    assert_eq!(decision.path.as_ref(), Some(&other()), "most speak of it");
    assert_eq!(
        decision.sentence,
        format!(
            "Refused: builders disagree. Two store paths are said to have this hash. alice says that this hash is \
             that of {hello}. Nobody's bytes are served; Nix will build it here."
        )
    );
    assert_eq!(
        decision.steps[1],
        format!("{hello} is under the same hash and could be accepted as well: neither is.")
    );
    assert_eq!(decision.other_names[0].operators, ["alice"]);
}

#[test]
fn an_operator_that_speaks_of_both_names_votes_for_neither() {
    let decision = decide(&said(&["alice", "bob"], &["bob"]), TWO_OF_THREE);

    assert_eq!(decision.outcome, Outcome::Conflict);
    let bob = &decision.operators[1];
    let reason = format!("it speaks of {}, under the same hash", other());
    assert_eq!(
        (bob.state, bob.reason.as_str()),
        (OperatorState::Contradicted, reason.as_str())
    );
}

#[test]
fn another_name_is_dissent_that_vetoes_and_opens_no_fallback() {
    let veto = "voters two 2 alice bob carol\nvoters guard any carol\n\
        rule main quorum=two veto=guard level=path\ndefault main\n";
    let known = said(&["alice", "bob"], &["carol"]);
    assert_eq!(decide(&known, veto).outcome, Outcome::Vetoed);

    let fallback = "voters two 2 alice bob carol\nvoters one any alice\nrule weak quorum=one level=path\n\
        rule main quorum=two fallback=weak level=path\ndefault main\n";
    assert!(decide(&said(&["alice"], &[]), fallback).is_accepted());
    let known = said(&["alice"], &["bob"]);
    assert_eq!(decide(&known, fallback).outcome, Outcome::Conflict);
}

#[test]
fn each_name_is_asked_for_by_the_rule_that_is_in_force_for_it() {
    let goodbye = other();
    let lines = |rule: &str| {
        format!(
            "voters two 2 alice bob carol\nvoters one any carol\nrule easy quorum=one level=path\n\
             rule other path=/nix/store/{goodbye} {rule}\nrule main quorum=two level=path\ndefault main\n"
        )
    };
    let known = said(&["alice", "bob"], &["carol"]);
    for (rule, expected) in [
        ("quorum=one level=path", Outcome::Conflict),
        ("quorum=two level=path", Outcome::Accepted),
        ("mode=deny", Outcome::Accepted),
        ("quorum=one level=path mode=deny", Outcome::Accepted),
        ("quorum=two mode=warn fallback=easy", Outcome::Conflict),
    ] {
        let decision = decide(&known, &lines(rule));
        assert_eq!(decision.outcome, expected, "{rule}");
    }
}

#[test]
fn content_that_was_checked_stands_beside_nothing_that_could_be_accepted() {
    let (hello, goodbye) = (path("hello"), other());
    let content = facts(&goodbye, "text", &[]);
    let checked = |known: Known| known.content_checked(&content);

    let alone = decide(&checked(said(&["alice"], &[])), TWO_OF_THREE);
    assert_eq!(
        (alone.outcome, alone.path),
        (Outcome::Accepted, Some(goodbye.clone()))
    );
    let known = checked(said(&["alice", "bob"], &[]));
    let decision = decide(&known, TWO_OF_THREE);
    assert_eq!(
        (decision.outcome, decision.path),
        (Outcome::Conflict, Some(hello))
    );
    assert_eq!(
        decision.sentence,
        format!(
            "Refused: builders disagree. Two store paths are said to have this hash. {goodbye} has the same hash, and \
             its content was fetched and checked. Nobody's bytes are served; Nix will build it here."
        )
    );
    let denied = format!("rule no path=/nix/store/{goodbye} mode=deny\n{TWO_OF_THREE}");
    assert!(decide(&known, &denied).is_accepted());
}

#[test]
fn what_is_superseded_withdrawn_or_of_nobody_is_no_other_name() {
    let goodbye = facts(&other(), "x", &[]);
    let one = "voters one any alice bob\nrule main quorum=one level=path\ndefault main\n";
    let digest = goodbye.digest();
    let disregard = format!("{one}disregard bob {} {digest}\n", other());
    assert!(decide(&said(&["alice"], &["bob"]), &disregard).is_accepted());
    assert!(decide(&said(&["alice"], &[]).withdrew("bob", &goodbye), one).is_accepted());
    assert!(decide(&said(&["alice"], &[]).says("mallory", &goodbye), one).is_accepted());
    // A signature of a cache is nobody's to withdraw, and a log that is away still said it.
    let cache = format!(
        "{}voters one any alice example\nrule main quorum=one level=path\ndefault main\n",
        cache_line("example")
    );
    let policy: Policy = policy_of(&THREE, &cache);
    let known = said(&["alice"], &[]).signed("example", &goodbye);
    let decision = known.decide(&policy, &path("hello"));
    assert_eq!(decision.outcome, Outcome::Conflict);
}

#[test]
fn a_reference_with_another_name_beside_it_blocks() {
    let top = facts(&path("top"), "x", &[&path("hello")]);
    let lines =
        "voters one any alice bob carol\nrule main quorum=one level=closure\ndefault main\n";
    let known = said(&["alice"], &["bob"]).says("alice", &top);

    let decision = known.decide(&policy_of(&THREE, lines), &path("top"));

    assert_eq!(
        (decision.outcome, decision.blocked_by),
        (Outcome::BlockedBy, Some(path("hello")))
    );
}

#[test]
fn of_a_thousand_other_names_sixteen_are_named_and_nothing_is_blocked() {
    let lines = TWO_OF_THREE;
    let mut known = said(&["alice", "bob"], &[]);
    for number in 0..1_000 {
        let name = format!("name{number}");
        let path = StorePath::new(&path("hello").hash_part(), &name).unwrap();
        known = known.says("carol", &facts(&path, "x", &[]));
    }

    let decision = decide(&known, lines);

    assert_eq!(
        (decision.outcome, decision.other_names.len()),
        (Outcome::Accepted, 16)
    );
    assert!(
        decision
            .sentence
            .ends_with("15 other names are known as well.")
    );
}

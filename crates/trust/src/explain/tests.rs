//! How decisions read in a terminal.

use super::{listed, terminal};
use crate::testing::{Known, facts, path, policy_of};

const THREE: [&str; 3] = ["alice", "bob", "carol"];

#[test]
fn names_are_listed_as_people_do() {
    let none: [&str; 0] = [];
    assert_eq!(listed(&none, "and"), "");
    assert_eq!(listed(&["alice"], "and"), "alice");
    assert_eq!(
        listed(&["alice", "bob", "carol"], "or"),
        "alice, bob or carol"
    );
}

#[test]
fn a_decision_is_told_as_sentence_matrix_steps_and_sources() {
    let policy = policy_of(
        &THREE,
        "voters most 2 alice bob carol\nrule main quorum=most level=path\ndefault main\n",
    );
    let hello = path("hello");
    let (good, bad) = (facts(&hello, "good", &[]), facts(&hello, "bad", &[]));
    let known = Known::live(&THREE)
        .stale("carol")
        .says("alice", &good)
        .says("bob", &good)
        .says("carol", &bad);

    let text = terminal(&known.decide(&policy, &hello));

    let expected = format!(
        "Accepted. alice and bob built the same bytes. carol got something else.
carol does not count: the log of carol is stale: it has not answered for 3
hours.

  /nix/store/{hello}

                  alice  bob  carol
 A  {}    ●     ●     ·
 B  {}    ·     ·     ○

  ● votes   ○ said so, does not vote   · says nothing of it

How it was decided:
  1. Quorum most: 2 of 3 must agree; 2 vote on this output.
  2. One value has enough votes.

Who said so, and where:
  A  alice — alice.example/log, entry 7 of 1000
  A  bob — bob.example/log, entry 7 of 1000
  B  carol — carol.example/log, entry 7 of 1000

Rule in force, policy line 6:
  rule main quorum=most level=path
",
        good.digest().short(),
        bad.digest().short()
    );
    assert_eq!(trimmed(&text), trimmed(&expected));
}

/// Lines without the spaces that nobody sees.
fn trimmed(text: &str) -> String {
    text.lines()
        .map(str::trim_end)
        .collect::<Vec<_>>()
        .join("\n")
}

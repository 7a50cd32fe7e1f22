//! Builders that want more than their one vote, or another's: ties, contradictions, second logs, cut wires and fallbacks.

use std::fs;

use quorix_testkit::entries::{a_retraction_of, an_attestation, bytes_of};
use quorix_tlog::note::SigningKey;
use quorix_trust::decision::{OperatorState, Outcome};

use super::scene::{Scene, operator, rule, says, states};
use crate::world::{run, text, unwrapped};

#[tokio::test]
async fn nobody_gets_a_second_vote_and_no_tie_is_broken_by_the_running_program() {
    let twice = |name: &str| {
        let other = an_attestation().of(name).finished_at(1_767_000_000);
        vec![
            says(name, "A"),
            other.bytes(),
            other.bytes(),
            an_attestation().of(name).rebuilt().bytes(),
        ]
    };
    let mut alice = vec![says("tie", "A"), says("contradiction", "A")];
    alice.push(says("contradiction", "B"));
    alice.extend(twice("again"));
    alice.push(says("second-log", "A"));
    let logs = [
        ("alice", alice),
        ("alices-other", vec![says("second-log", "A")]),
        ("bob", vec![says("tie", "A"), says("contradiction", "A")]),
        ("carol", vec![says("tie", "B")]),
        ("dave", vec![says("tie", "B")]),
    ];
    let rules = [
        "quorum none\nvoters two-of-four 2 alice bob carol dave\nvoters two-of-three 2 alice bob carol\n",
        &rule("tie", "quorum=two-of-four level=path"),
        "rule main quorum=two-of-three level=path\ndefault main\n",
    ];
    let scene = Scene::not_followed_yet(&logs, &rules.concat());
    let policy = fs::read_to_string(&scene.host.policy).unwrap();
    let same = policy.replace("operator=alices-other", "operator=alice");
    fs::write(&scene.host.policy, same).unwrap();
    let scene = scene.started(&logs).await;

    let tie = scene.assert("tie", Outcome::Conflict, "tie").await;
    assert_eq!(tie.values.len(), 2);
    assert_eq!(states(&tie), [OperatorState::Votes; 4]);
    let contradiction = scene
        .assert("contradiction", Outcome::Conflict, "main")
        .await;
    let alice = operator(&contradiction, "alice");
    assert_eq!(alice.state, OperatorState::Contradicted);
    assert_eq!(alice.letters.len(), 2);
    for name in ["again", "second-log"] {
        let decision = scene.assert(name, Outcome::Insufficient, "main").await;
        assert_eq!(decision.values.len(), 1, "{name}");
        assert_eq!(decision.values[0].voters, ["alice"], "{name}");
    }
}

#[tokio::test]
async fn no_cut_wire_turns_a_refusal_of_the_running_program_into_an_acceptance() {
    let logs = [
        (
            "alice",
            vec![
                says("tie", "A"),
                says("weak", "A"),
                says("dissent", "A"),
                says("veto", "A"),
            ],
        ),
        ("bob", vec![says("tie", "A"), says("dissent", "B")]),
        ("carol", vec![says("tie", "B"), says("veto", "A")]),
        ("dave", vec![says("tie", "B")]),
    ];
    let rules = [
        "voters three 3 alice bob carol dave\nvoters both all alice bob\nvoters one any alice\n\
         voters eve-too any carol\nrule alone quorum=one level=path\n",
        &rule("weak", "quorum=both level=path fallback=alone"),
        &rule("dissent", "quorum=both level=path fallback=alone"),
        &rule("veto", "quorum=one veto=eve-too level=path"),
        "rule main quorum=three level=path\ndefault main\n",
    ];
    let scene = Scene::of(&logs, &rules.concat()).await;
    // While everybody answers: the fallback stands where nobody says anything else, and nowhere else.
    let weak = scene.assert("weak", Outcome::Accepted, "alone").await;
    assert_eq!(weak.fallen_from.unwrap().outcome, Outcome::Insufficient);
    scene.assert("dissent", Outcome::Conflict, "dissent").await;
    scene.assert("veto", Outcome::Accepted, "veto").await;
    scene.assert("tie", Outcome::Conflict, "main").await;

    // Of the two who say B one after the other is cut off.
    scene.cut("carol").await;
    let tie = scene.assert("tie", Outcome::Conflict, "main").await;
    assert_eq!(operator(&tie, "carol").state, OperatorState::Stale);
    scene.assert("veto", Outcome::VetoUnavailable, "veto").await;
    scene.cut("dave").await;
    scene.assert("tie", Outcome::Conflict, "main").await;
    scene.assert("dissent", Outcome::Conflict, "dissent").await;
    scene.assert("weak", Outcome::Accepted, "alone").await;
    scene.cut("bob").await;
    let weak = scene.assert("weak", Outcome::Insufficient, "weak").await;
    assert!(weak.fallen_from.is_none());
    let dissent = scene.assert("dissent", Outcome::Conflict, "dissent").await;
    assert_eq!(
        operator(&dissent, "bob").letters.len(),
        1,
        "it is dissent still"
    );
    scene.assert("tie", Outcome::Conflict, "main").await;
}

#[tokio::test]
async fn what_was_withdrawn_or_flooded_with_words_gets_nobody_a_vote() {
    let old = says("old", "A");
    let flood = (0..1_100_u64).map(|number| {
        an_attestation()
            .of("flooded")
            .finished_at(1_767_000_000 + number)
            .bytes()
    });
    let mut mallory: Vec<Vec<u8>> = flood.collect();
    mallory.push(says("flooded", "B"));
    let withdrawn = bytes_of(&a_retraction_of(&[&old]));
    let logs = [
        (
            "alice",
            vec![
                old.clone(),
                withdrawn,
                b"a kind of the future".to_vec(),
                says("after", "A"),
            ],
        ),
        ("bob", vec![says("old", "A"), says("flooded", "A")]),
        ("mallory", mallory),
    ];
    let rules = [
        "voters two 2 alice bob mallory\nvoters one any alice\n",
        &rule("after", "quorum=one level=path"),
        "rule main quorum=two level=path\ndefault main\n",
    ];
    let scene = Scene::of(&logs, &rules.concat()).await;

    let old = scene.assert("old", Outcome::Insufficient, "main").await;
    assert_eq!(old.values[0].voters, ["bob"]);
    // An entry that does not parse stops nothing that comes after it.
    scene.assert("after", Outcome::Accepted, "after").await;
    let alice = crate::following::log_of(&scene.host, "alice")
        .await
        .unwrap();
    assert_eq!((alice.indexed, alice.opaque), (4, 1));

    let flooded = scene.assert("flooded", Outcome::Conflict, "main").await;
    let mallory = operator(&flooded, "mallory");
    assert_eq!(
        mallory.state,
        OperatorState::Contradicted,
        "{}",
        mallory.reason
    );
    assert_eq!(operator(&flooded, "bob").state, OperatorState::Votes);
}

#[tokio::test]
async fn one_person_under_two_names_is_refused_or_named_by_the_program() {
    let dir = tempfile::tempdir().unwrap();
    let line = |name: &str, seed: u8, more: &str| {
        let log = format!("{name}.example/log").parse().unwrap();
        let key = SigningKey::from_seed(log, [seed; 32]);
        let vkey = key.verifier();
        format!("builder {name} {vkey} https://{name}.example operator={name} {more}\n")
    };
    let rules =
        "quorum none\nvoters both all alice bob\nrule main quorum=both level=path\ndefault main\n";
    let check = async |alice: String, bob: String| {
        let file = dir.path().join("policy");
        fs::write(&file, alice + &bob + rules).unwrap();
        run(&["policy", "check", text(&file)]).await
    };
    let refused = check(line("alice", 1, ""), line("bob", 1, "")).await;
    assert_eq!(refused.code, 2, "{}", refused.out);
    let said = unwrapped(&refused.err);
    let sentence = "this key is operator `alice`'s on line 1";
    assert!(said.contains(sentence), "{said}");

    let house = "tag=provider:acme";
    let warned = check(line("alice", 1, house), line("bob", 2, house)).await;
    let said = unwrapped(&format!("{}{}", warned.out, warned.err));
    let named = "those with tag provider:acme are enough by themselves (alice, bob)";
    assert!(said.contains(named), "{said}");
    let plain = check(line("alice", 1, ""), line("bob", 2, "")).await;
    assert!(!plain.out.contains("enough by themselves"), "{}", plain.out);
}

//! How logs stand: forged, missing, foreign, repeated and rolled back.

use super::*;

#[test]
fn a_forged_checkpoint_adds_nothing() {
    let mut answer = an_answer();
    let forged = log_key("mallory.example.org");
    let checkpoint = Checkpoint {
        origin: BOB.to_owned(),
        size: 1,
        root: naive_root(&bob().leaves()),
        extensions: vec![],
    };
    answer.logs[1].checkpoint = checkpoint.sign(&forged).unwrap();
    let verified = verify(answer);
    assert!(
        stale_because(&verified, BOB).starts_with("unverifiable: "),
        "{verified:?}"
    );
    assert_eq!(places(&verified), [at(ALICE, 1)]);
    assert_eq!(outcome(&verified), Outcome::Insufficient);
}

#[test]
fn trustix_who_claims_to_be_a_log_cannot_speak_for_it() {
    // Mallory has a log of the same name, signed by another key: inclusion in it proves nothing.
    let mallory = TestLog::of(ALICE, &[said("B"), said("B")]);
    let key = quorix_tlog::note::SigningKey::from_seed(ALICE.parse().unwrap(), [9; 32]);
    let root = naive_root(&mallory.leaves());
    let checkpoint = Checkpoint {
        origin: ALICE.to_owned(),
        size: 2,
        root,
        extensions: vec![],
    };
    let mut answer = an_answer();
    answer.logs[0].checkpoint = checkpoint.sign(&key).unwrap();
    answer.outputs[0].entries[0] = mallory.logged(0);
    let verified = verify(answer);
    assert!(stale_because(&verified, ALICE).starts_with("unverifiable: "));
    assert_eq!(places(&verified), [at(BOB, 0)]);
}

#[test]
fn trustix_a_log_that_answers_nothing_does_not_crash_the_client() {
    let verified = verify(pb::GetEvidenceResponse::default());
    assert_eq!(
        stale_because(&verified, ALICE),
        "the aggregator says nothing of this log"
    );
    assert_eq!(verified.evidence.logs[ALICE].size, 0);
    assert_eq!(
        (places(&verified), outcome(&verified)),
        (vec![], Outcome::Unknown)
    );
    // It is named, and has neither state nor checkpoint; its entries have no proof.
    let mut answer = an_answer();
    answer.logs[0] = pb::LogEvidence {
        origin: ALICE.to_owned(),
        ..pb::LogEvidence::default()
    };
    answer.outputs[0].entries[0].inclusion_proof.clear();
    let verified = verify(answer);
    assert_eq!(
        stale_because(&verified, ALICE),
        "unverifiable: the log is in no known state"
    );
    assert_eq!(places(&verified), [at(BOB, 0)]);
}

#[test]
fn a_log_is_not_live_without_a_checkpoint() {
    let mut answer = an_answer();
    answer.logs[0].checkpoint.clear();
    let verified = verify(answer);
    assert_eq!(
        stale_because(&verified, ALICE),
        "unverifiable: the log is said to be live without a checkpoint"
    );
    assert_eq!(places(&verified), [at(BOB, 0)]);
}

#[test]
fn a_checkpoint_of_another_log_does_not_do() {
    let mut answer = an_answer();
    answer.logs[0].checkpoint = bob().checkpoint();
    let verified = verify(answer);
    assert!(stale_because(&verified, ALICE).starts_with("unverifiable: "));
    assert_eq!(state(&verified, BOB), LogState::Live);
}

#[test]
fn a_log_that_is_named_twice_is_not_live() {
    let mut answer = an_answer();
    answer.logs.push(alice().evidence());
    let verified = verify(answer);
    assert_eq!(
        stale_because(&verified, ALICE),
        "unverifiable: the answer names the log more than once"
    );
    assert_eq!(places(&verified), [at(ALICE, 1), at(BOB, 0)]);
    assert_eq!(outcome(&verified), Outcome::Insufficient);
}

#[test]
fn a_log_that_the_policy_does_not_name_is_ignored() {
    let stranger = TestLog::of("logs.example.org/stranger", &[said("B")]);
    let mut answer = an_answer();
    answer.logs.push(stranger.evidence());
    answer.outputs[0].entries.push(stranger.logged(0));
    let verified = verify(answer);
    assert_eq!(verified.evidence.logs.len(), 2);
    assert_eq!(
        (places(&verified), verified.dropped),
        (vec![at(ALICE, 1), at(BOB, 0)], 1)
    );
    assert_eq!(outcome(&verified), Outcome::Accepted);
}

#[test]
fn a_smaller_checkpoint_than_before_is_a_rollback_and_its_entries_still_dissent() {
    let seen = SeenCheckpoints::default();
    let mut longer = alice();
    longer.entries.push(an_attestation().of("more").bytes());
    let mut answer = an_answer();
    answer.logs[0] = longer.evidence();
    answer.outputs[0].entries[0] = longer.logged(1);
    let first = verify_evidence(&policy(), &about_hello(), answer, &seen).unwrap();
    assert_eq!(state(&first, ALICE), LogState::Live);

    let question = Question {
        known_sizes: seen.sizes(),
        ..about_hello()
    };
    let second = verify_evidence(&policy(), &question, an_answer(), &seen).unwrap();
    assert_eq!(
        stale_because(&second, ALICE),
        "rollback: the answer has a checkpoint of 3 entries after one of 4"
    );
    assert_eq!(places(&second), [at(ALICE, 1), at(BOB, 0)]);
    assert_eq!(outcome(&second), Outcome::Insufficient);
    // An answer that was only overtaken by a newer one is no rollback.
    let overtaken = verify_evidence(&policy(), &about_hello(), an_answer(), &seen).unwrap();
    assert_eq!(state(&overtaken, ALICE), LogState::Live);
    assert_eq!(seen.sizes()[ALICE], 4);
}

#[test]
fn a_stale_log_says_why_without_control_characters() {
    let mut answer = an_answer();
    answer.logs[0].state = pb::LogState::Stale.into();
    answer.logs[0].reason = format!("no answer\x1b[2J for 3 h{}", "!".repeat(1000));
    let reason = stale_because(&verify(answer), ALICE);
    assert!(
        reason.starts_with("no answer[2J for 3 h") && reason.len() == 200,
        "{reason}"
    );
}

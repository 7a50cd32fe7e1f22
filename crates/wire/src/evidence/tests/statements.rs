//! Entries, retractions, observations and blobs: what verifies, and what does not.

use super::*;

#[test]
fn trustix_inclusion_in_the_log_is_really_verified() {
    let alterations: [fn(&mut pb::LoggedEntry); 7] = [
        |entry| entry.inclusion_proof[0][0] ^= 1,
        |entry| entry.inclusion_proof.push(vec![0; 32]),
        |entry| entry.inclusion_proof.truncate(1),
        |entry| entry.inclusion_proof[0].truncate(31),
        |entry| entry.inclusion_proof = vec![vec![0; 32]; 10_000],
        |entry| entry.index = 2,
        |entry| entry.index = u64::MAX,
    ];
    for (number, alter) in alterations.into_iter().enumerate() {
        let mut answer = an_answer();
        alter(&mut answer.outputs[0].entries[0]);
        let verified = verify(answer);
        assert!(
            stale_because(&verified, ALICE).starts_with("unverifiable: entry "),
            "{number}"
        );
        assert_eq!(
            (places(&verified), verified.dropped),
            (vec![at(BOB, 0)], 1),
            "{number}"
        );
        assert_eq!(outcome(&verified), Outcome::Insufficient, "{number}");
    }
}

#[test]
fn trustix_the_value_and_its_path_are_verified_by_the_client() {
    // Another value under a proof that was made for A.
    let mut answer = an_answer();
    answer.outputs[0].entries[0].entry = said("B");
    let verified = verify(answer);
    assert!(stale_because(&verified, ALICE).starts_with("unverifiable: entry 1: "));
    assert_eq!(places(&verified), [at(BOB, 0)]);
    // An entry that really is in the log, and is about another path.
    let mut answer = an_answer();
    answer.outputs[0].entries[0] = alice().logged(0);
    let verified = verify(answer);
    let reason = stale_because(&verified, ALICE);
    assert!(
        reason.contains("it is about ") && reason.contains("-other"),
        "{reason}"
    );
    assert_eq!(places(&verified), [at(BOB, 0)]);
}

#[test]
fn a_retraction_withdraws_only_what_it_names_and_only_later() {
    let mut log = alice();
    log.entries.push(bytes_of(&a_retraction_of(&[said("A")])));
    log.entries.push(bytes_of(&a_retraction_of(&[said("C")])));
    log.entries.push(said("A"));
    let with = |entry: pb::LoggedEntry| {
        let mut answer = an_answer();
        answer.logs[0] = log.evidence();
        answer.outputs[0].entries = vec![entry];
        let verified = verify(answer);
        let withdrawn: Vec<bool> = verified.evidence.outputs[&hello().hash_part()]
            .iter()
            .map(|said| said.withdrawn)
            .collect();
        (withdrawn, state(&verified, ALICE) == LogState::Live)
    };
    assert_eq!(with(log.logged(1)), (vec![false], true));
    assert_eq!(with(log.retracted(1, 3)), (vec![true], true));
    assert_eq!(
        with(log.retracted(1, 4)),
        (vec![false], false),
        "it names another entry"
    );
    assert_eq!(
        with(log.retracted(5, 3)),
        (vec![false], false),
        "it comes before the entry"
    );
    assert_eq!(
        with(log.retracted(1, 2)),
        (vec![false], false),
        "it is no retraction"
    );
    let mut forged = log.retracted(1, 3);
    forged.retraction.as_mut().unwrap().inclusion_proof.pop();
    assert_eq!(with(forged), (vec![false], false), "it is not proved");
}

#[test]
fn an_entry_that_does_not_parse_is_unverifiable_and_other_kinds_say_nothing() {
    let opaque = TestLog::of(
        ALICE,
        &[b"opaque".to_vec(), bytes_of(&a_retraction_of(&[said("A")]))],
    );
    for index in [0, 1] {
        let mut answer = an_answer();
        answer.logs[0] = opaque.evidence();
        answer.outputs[0].entries[0] = opaque.logged(index);
        let verified = verify(answer);
        assert!(stale_because(&verified, ALICE).starts_with("unverifiable: "));
        assert_eq!(places(&verified), [at(BOB, 0)]);
    }
}

#[test]
fn the_same_leaf_twice_is_one_statement() {
    let mut log = alice();
    log.entries.push(bytes_of(&a_retraction_of(&[said("A")])));
    let mut answer = an_answer();
    answer.logs[0] = log.evidence();
    answer.outputs[0].entries = vec![log.logged(1), log.retracted(1, 3), log.logged(1)];
    let verified = verify(answer);
    assert_eq!(places(&verified), [at(ALICE, 1)]);
    assert!(verified.evidence.outputs[&hello().hash_part()][0].withdrawn);
}

fn observed_by(key: &SecretKey) -> Vec<u8> {
    bytes_of(&an_attestation().of("hello").saying("A").observed_by(key))
}

#[test]
fn a_caches_signature_counts_without_a_log() {
    let mut answer = an_answer();
    answer.outputs[0].entries.pop();
    answer.outputs[0].observations = vec![observed_by(&cache_key()), observed_by(&cache_key())];
    let verified = verify(answer);
    assert_eq!(
        (places(&verified), verified.dropped),
        (vec![at(ALICE, 1), Source::Unlogged], 0)
    );
    assert_eq!(outcome(&verified), Outcome::Accepted);
}

#[test]
fn an_observation_that_does_not_verify_is_dropped() {
    let honest = an_attestation()
        .of("hello")
        .saying("A")
        .observed_by(&cache_key());
    let quorix_trust::attestation::Entry::Observation(seen) = &honest else {
        panic!("it is an observation")
    };
    let mut forged = seen.clone();
    forged.claim = an_attestation().of("hello").saying("B").claim();
    let forged = bytes_of(&quorix_trust::attestation::Entry::Observation(forged));
    let without_references = an_attestation()
        .of("hello")
        .saying("A")
        .with_references_in_a_blob();
    for (what, observation) in [
        ("a signature over something else", forged),
        (
            "by a key of the same name",
            observed_by(&SecretKey::from_seed(
                "cache.example.org-1".parse().unwrap(),
                [1; 32],
            )),
        ),
        (
            "by a key that the policy does not name",
            observed_by(&nix_key("other-1")),
        ),
        (
            "about another output",
            bytes_of(&an_attestation().of("other").observed_by(&cache_key())),
        ),
        (
            "references missing",
            bytes_of(&without_references.observed_by(&cache_key())),
        ),
        ("a build", said("A")),
        ("garbage", b"garbage".to_vec()),
    ] {
        let mut answer = an_answer();
        answer.outputs[0].observations = vec![observation];
        let verified = verify(answer);
        assert_eq!(
            (places(&verified), verified.dropped),
            (vec![at(ALICE, 1), at(BOB, 0)], 1),
            "{what}"
        );
        assert_eq!(state(&verified, ALICE), LogState::Live, "{what}");
    }
}

#[test]
fn references_come_from_a_blob_only_if_it_has_the_hash_that_the_entry_names() {
    let attestation = an_attestation()
        .of("hello")
        .referring_to(&["glibc"])
        .with_references_in_a_blob();
    let log = TestLog::of(ALICE, &[attestation.bytes()]);
    let facts_with = |blobs: Vec<Vec<u8>>| {
        let mut answer = an_answer();
        answer.logs[0] = log.evidence();
        answer.outputs[0].entries[0] = log.logged(0);
        answer.blobs = blobs;
        let verified = verify(answer);
        assert_eq!(state(&verified, ALICE), LogState::Live);
        verified.evidence.outputs[&hello().hash_part()][0]
            .facts
            .clone()
    };
    assert_eq!(
        facts_with(vec![b"other".to_vec(), attestation.blob()]),
        Some(attestation.facts())
    );
    assert_eq!(facts_with(vec![]), None);
    let mut altered = attestation.blob();
    altered[0] ^= 1;
    assert_eq!(facts_with(vec![altered]), None);
}

#[test]
fn a_blob_that_does_not_give_the_voted_fingerprint_leaves_the_facts_unknown() {
    let attestation = an_attestation()
        .of("hello")
        .referring_to(&["glibc"])
        .with_references_in_a_blob();
    let mut build = attestation.build();
    build.claim.nar_size += 1;
    let entry = bytes_of(&quorix_trust::attestation::Entry::Build(Box::new(build)));
    let log = TestLog::of(ALICE, &[entry]);
    let mut answer = an_answer();
    answer.logs[0] = log.evidence();
    answer.outputs[0].entries = vec![log.logged(0)];
    answer.blobs = vec![attestation.blob()];
    let verified = verify(answer);
    let statement = &verified.evidence.outputs[&hello().hash_part()][0];
    assert_eq!(statement.facts, None);
    assert!(matches!(statement.said, Said::Build(_)));
}

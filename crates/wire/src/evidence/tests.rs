use quorix_nix::signature::SecretKey;
use quorix_nix::store_path::StorePath;
use quorix_testkit::entries::{
    a_path, a_retraction_of, an_attestation, bytes_of, log_key, nix_key,
};
use quorix_testkit::tree::{naive_root, naive_tile};
use quorix_tlog::checkpoint::Checkpoint;
use quorix_tlog::hash::{Hash, leaf_hash};
use quorix_tlog::proof::{TileReader, prove_inclusion, prove_older_root};
use quorix_tlog::tile::{TileId, TileLevel};
use quorix_trust::decision::{Outcome, decide};
use quorix_trust::evidence::{LogState, Said, Source};
use quorix_trust::ports::Equivocation;

use super::*;

const ALICE: &str = "logs.example.org/alice";
const BOB: &str = "logs.example.org/bob";

fn policy() -> Policy {
    let (alice, bob) = (
        log_key(ALICE).verifier().clone(),
        log_key(BOB).verifier().clone(),
    );
    let cache = cache_key().public_key();
    let text = format!(
        "builder alice {alice} https://{ALICE} operator=alice\n\
         builder bob {bob} https://{BOB} operator=bob\n\
         cache main {cache} https://cache.example.org operator=example\n\
         quorum none\n\
         voters two 2 alice bob example\n\
         rule main quorum=two level=path\n\
         default main\n"
    );
    Policy::parse(&text).unwrap()
}

fn cache_key() -> SecretKey {
    nix_key("cache.example.org-1")
}

/// A log of these entries, honest until a test alters what it answers.
#[derive(Clone)]
struct TestLog {
    origin: &'static str,
    entries: Vec<Vec<u8>>,
}

struct Tiles(Vec<Hash>);

impl TileReader for Tiles {
    type Error = ();

    fn hashes(&self, id: TileId, width: u16) -> Result<Vec<Hash>, ()> {
        let TileLevel::Hashes(level) = id.level else {
            return Err(());
        };
        let tile = naive_tile(&self.0, level, id.index);
        tile.get(..usize::from(width))
            .map(<[Hash]>::to_vec)
            .ok_or(())
    }
}

impl TestLog {
    fn of(origin: &'static str, entries: &[Vec<u8>]) -> Self {
        Self {
            origin,
            entries: entries.to_vec(),
        }
    }

    fn leaves(&self) -> Vec<Hash> {
        self.entries.iter().map(|entry| leaf_hash(entry)).collect()
    }

    fn size(&self) -> u64 {
        u64::try_from(self.entries.len()).unwrap()
    }

    fn checkpoint(&self) -> Vec<u8> {
        self.checkpoint_of(naive_root(&self.leaves()))
    }

    fn checkpoint_of(&self, root: Hash) -> Vec<u8> {
        let origin = self.origin.to_owned();
        let checkpoint = Checkpoint {
            origin,
            size: self.size(),
            root,
            extensions: vec![],
        };
        checkpoint.sign(&log_key(self.origin)).unwrap()
    }

    fn evidence(&self) -> pb::LogEvidence {
        pb::LogEvidence {
            origin: self.origin.to_owned(),
            state: pb::LogState::Live.into(),
            checkpoint: self.checkpoint(),
            ..pb::LogEvidence::default()
        }
    }

    fn proof(&self, index: u64) -> Vec<Vec<u8>> {
        let proof = prove_inclusion(&Tiles(self.leaves()), index, self.size()).unwrap();
        proof.iter().map(|hash| hash.as_bytes().to_vec()).collect()
    }

    fn logged(&self, index: u64) -> pb::LoggedEntry {
        pb::LoggedEntry {
            origin: self.origin.to_owned(),
            index,
            entry: self.entries[usize::try_from(index).unwrap()].clone(),
            inclusion_proof: self.proof(index),
            retraction: None,
        }
    }

    fn retracted(&self, index: u64, by: u64) -> pb::LoggedEntry {
        let retraction = self.logged(by);
        pb::LoggedEntry {
            retraction: Some(pb::LoggedRetraction {
                index: retraction.index,
                entry: retraction.entry,
                inclusion_proof: retraction.inclusion_proof,
            }),
            ..self.logged(index)
        }
    }
}

fn hello() -> StorePath {
    a_path("hello")
}

fn said(value: &str) -> Vec<u8> {
    an_attestation().of("hello").saying(value).bytes()
}

fn alice() -> TestLog {
    TestLog::of(
        ALICE,
        &[an_attestation().of("other").bytes(), said("A"), said("A2")],
    )
}

fn bob() -> TestLog {
    TestLog::of(BOB, &[said("A")])
}

/// An honest answer about `hello`: alice's and bob's logs both say A.
fn an_answer() -> pb::GetEvidenceResponse {
    pb::GetEvidenceResponse {
        logs: vec![alice().evidence(), bob().evidence()],
        outputs: vec![pb::OutputEvidence {
            hash_part: hello().hash_part().to_string(),
            entries: vec![alice().logged(1), bob().logged(0)],
            observations: vec![],
        }],
        blobs: vec![],
    }
}

fn about_hello() -> Question {
    Question {
        outputs: BTreeSet::from([hello().hash_part()]),
        ..Question::default()
    }
}

fn verify(answer: pb::GetEvidenceResponse) -> Verified {
    verify_evidence(
        &policy(),
        &about_hello(),
        answer,
        &SeenCheckpoints::default(),
    )
    .unwrap()
}

fn state(verified: &Verified, origin: &str) -> LogState {
    verified.evidence.logs[origin].state.clone()
}

fn stale_because(verified: &Verified, origin: &str) -> String {
    match state(verified, origin) {
        LogState::Stale { reason } => reason,
        other => panic!("{origin} is {other:?}"),
    }
}

fn places(verified: &Verified) -> Vec<Source> {
    verified.evidence.outputs[&hello().hash_part()]
        .iter()
        .map(|statement| statement.source.clone())
        .collect()
}

fn at(origin: &str, index: u64) -> Source {
    Source::Log {
        origin: origin.to_owned(),
        index,
    }
}

fn outcome(verified: &Verified) -> Outcome {
    decide(&policy(), &verified.evidence, &hello().hash_part(), 0).outcome
}

#[test]
fn an_honest_answer_is_evidence() {
    let verified = verify(an_answer());
    assert_eq!(
        (state(&verified, ALICE), state(&verified, BOB)),
        (LogState::Live, LogState::Live)
    );
    assert_eq!(places(&verified), [at(ALICE, 1), at(BOB, 0)]);
    assert_eq!(verified.dropped, 0);
    assert_eq!(outcome(&verified), Outcome::Accepted);
    let statement = &verified.evidence.outputs[&hello().hash_part()][0];
    assert_eq!(
        statement.facts,
        Some(an_attestation().of("hello").saying("A").facts())
    );
}

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
fn two_roots_of_one_size_are_held_as_equivocation_for_good() {
    let seen = SeenCheckpoints::default();
    verify_evidence(&policy(), &about_hello(), an_answer(), &seen).unwrap();
    let mut forked = alice();
    forked.entries[1] = said("B");
    let mut answer = an_answer();
    answer.logs[0] = forked.evidence();
    answer.outputs[0].entries[0] = forked.logged(1);
    let verified = verify_evidence(&policy(), &about_hello(), answer, &seen).unwrap();
    assert_eq!(state(&verified, ALICE), LogState::Quarantined);
    // What it says now is still dissent.
    assert_eq!(places(&verified), [at(ALICE, 1), at(BOB, 0)]);
    let proof = seen.equivocations().remove(ALICE).unwrap();
    assert_eq!(
        (&proof.first, &proof.second),
        (&alice().checkpoint(), &forked.checkpoint())
    );
    assert_eq!(
        verify_equivocation(&log_key(ALICE).verifier(), &proof),
        Ok(())
    );

    let again = verify_evidence(&policy(), &about_hello(), an_answer(), &seen).unwrap();
    assert_eq!(state(&again, ALICE), LogState::Quarantined);
    assert_eq!(outcome(&again), Outcome::Insufficient);
}

#[test]
fn two_contradicting_checkpoints_in_one_answer_are_equivocation() {
    let mut forked = alice();
    forked.entries[1] = said("B");
    let mut answer = an_answer();
    answer.logs.push(forked.evidence());
    assert_eq!(state(&verify(answer), ALICE), LogState::Quarantined);
}

/// Proof that a log of `old` entries was rewritten before it grew.
fn a_fork(old: usize, new: usize) -> (TestLog, TestLog, Equivocation) {
    let entries: Vec<Vec<u8>> = (0..new)
        .map(|n| format!("entry {n}").into_bytes())
        .collect();
    let mut signed = TestLog::of(ALICE, &entries[..old]);
    signed.entries[0] = b"another past".to_vec();
    let grown = TestLog::of(ALICE, &entries);
    let proof = Equivocation {
        first: signed.checkpoint(),
        second: grown.checkpoint(),
        consistency_proof: prove_older_root(&Tiles(grown.leaves()), signed.size(), grown.size())
            .unwrap(),
    };
    (signed, grown, proof)
}

#[test]
fn a_rewritten_past_is_proved_whatever_the_sizes() {
    let key = log_key(ALICE).verifier().clone();
    for (old, new) in [
        (1, 2),
        (2, 3),
        (3, 4),
        (3, 7),
        (4, 5),
        (4, 8),
        (6, 300),
        (256, 300),
        (255, 256),
    ] {
        let (_, _, proof) = a_fork(old, new);
        assert_eq!(verify_equivocation(&key, &proof), Ok(()), "{old} {new}");
        let swapped = Equivocation {
            first: proof.second.clone(),
            second: proof.first.clone(),
            ..proof
        };
        assert_eq!(verify_equivocation(&key, &swapped), Ok(()), "{old} {new}");
    }
}

#[test]
fn garbage_never_frames_an_honest_log() {
    let key = log_key(ALICE).verifier().clone();
    let (_, grown, fork) = a_fork(3, 7);
    // An honest past under a right proof, and under a wrong one.
    let honest = TestLog {
        entries: grown.entries[..3].to_vec(),
        ..grown
    };
    let framed = Equivocation {
        first: honest.checkpoint(),
        ..fork.clone()
    };
    assert_eq!(
        verify_equivocation(&key, &framed),
        Err(EquivocationError::NoContradiction)
    );
    let mut garbage = framed;
    garbage.consistency_proof[0] = Hash::from_bytes([0; 32]);
    let refused = verify_equivocation(&key, &garbage);
    assert!(
        matches!(refused, Err(EquivocationError::Proof(_))),
        "{refused:?}"
    );
    // One checkpoint twice, one of another log, and endless proofs.
    let once = Equivocation {
        second: fork.first.clone(),
        consistency_proof: vec![],
        ..fork.clone()
    };
    assert_eq!(
        verify_equivocation(&key, &once),
        Err(EquivocationError::NoContradiction)
    );
    let other = Equivocation {
        second: bob().checkpoint(),
        ..fork.clone()
    };
    assert!(matches!(
        verify_equivocation(&key, &other),
        Err(EquivocationError::Checkpoint(_))
    ));
    let endless = Equivocation {
        consistency_proof: vec![Hash::from_bytes([0; 32]); 66],
        ..fork
    };
    assert_eq!(
        verify_equivocation(&key, &endless),
        Err(EquivocationError::TooLong { found: 66 })
    );
}

#[test]
fn a_quarantine_counts_only_with_proof() {
    let mut answer = an_answer();
    answer.logs[0].state = pb::LogState::Quarantined.into();
    assert!(stale_because(&verify(answer.clone()), ALICE).contains("without proof"));
    let (_, _, mut fork) = a_fork(3, 7);
    answer.logs[0].equivocation = Some(pb::Equivocation::from(&fork));
    assert_eq!(state(&verify(answer.clone()), ALICE), LogState::Quarantined);
    fork.consistency_proof.clear();
    answer.logs[0].equivocation = Some(pb::Equivocation::from(&fork));
    assert!(stale_because(&verify(answer), ALICE).contains("without proof"));
}

#[test]
fn valid_proof_of_equivocation_counts_whatever_state_is_claimed() {
    let mut answer = an_answer();
    let (_, _, fork) = a_fork(3, 7);
    answer.logs[0].equivocation = Some(pb::Equivocation::from(&fork));
    assert_eq!(state(&verify(answer), ALICE), LogState::Quarantined);
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

#[test]
fn only_what_was_asked_is_answered_unless_the_closure_was() {
    let other = a_path("other").hash_part();
    let mut answer = an_answer();
    answer.outputs.push(pb::OutputEvidence {
        hash_part: other.to_string(),
        entries: vec![alice().logged(0)],
        observations: vec![],
    });
    let asked = |closure| {
        let question = Question {
            closure,
            ..about_hello()
        };
        verify_evidence(
            &policy(),
            &question,
            answer.clone(),
            &SeenCheckpoints::default(),
        )
        .unwrap()
        .evidence
        .outputs
    };
    assert!(!asked(false).contains_key(&other));
    assert_eq!(asked(true)[&other].len(), 1);
}

#[test]
fn an_answer_larger_than_any_honest_one_is_refused() {
    let refused = |answer| {
        verify_evidence(
            &policy(),
            &about_hello(),
            answer,
            &SeenCheckpoints::default(),
        )
    };
    let output = an_answer().outputs[0].clone();
    let many = pb::GetEvidenceResponse {
        outputs: vec![output.clone(); 10_001],
        ..an_answer()
    };
    assert_eq!(
        refused(many),
        Err(AnswerError::TooManyOutputs { found: 10_001 })
    );
    let mut loud = an_answer();
    loud.outputs[0].observations = vec![vec![]; 9_999];
    assert_eq!(
        refused(loud),
        Err(AnswerError::TooManyStatements {
            output: hello().hash_part(),
            found: 10_001
        })
    );
    let mut nameless = an_answer();
    nameless.outputs[0].hash_part = "../etc".to_owned();
    assert_eq!(
        refused(nameless),
        Err(AnswerError::NotAnOutput {
            text: "../etc".to_owned()
        })
    );
}

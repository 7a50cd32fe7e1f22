//! Attacks on an answer: each is tried once, and none adds a vote.

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
            ..Default::default()
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
fn only_what_was_asked_is_answered_unless_the_closure_was() {
    let other = a_path("other").hash_part();
    let mut answer = an_answer();
    answer.outputs.push(pb::OutputEvidence {
        hash_part: other.to_string(),
        entries: vec![alice().logged(0)],
        ..Default::default()
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

mod dates;
mod forks;
mod logs;
mod receipts;
mod statements;

#[test]
fn caches_that_answered_are_those_of_the_policy_and_no_others() {
    let key = *cache_key().public_key().as_bytes();
    let mut answer = an_answer();
    answer.outputs[0].caches_heard = vec![key.to_vec(), vec![7; 32], vec![], vec![1; 33]];

    let seen = SeenCheckpoints::default();
    let verified = verify_evidence(&policy(), &about_hello(), answer, &seen).unwrap();

    let heard = &verified.evidence.caches_heard[&hello().hash_part()];
    assert_eq!(heard, &BTreeSet::from([key]));
}

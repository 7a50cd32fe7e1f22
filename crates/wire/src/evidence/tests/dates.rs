//! Earlier checkpoints: what verifies dates entries, what does not is as if it were not there.

use quorix_tlog::cosignature::{Algorithm, CosignerSigningKey};
use quorix_tlog::note::SignedNote;
use quorix_tlog::proof::prove_consistency;
use quorix_trust::evidence::Covering;

use super::*;
use crate::receipt::Receipt;

const THEN: u64 = 1_700_000_000;
const NOW: u64 = THEN + 7_200;

fn witness() -> CosignerSigningKey {
    let name = "w.example".parse().unwrap();
    CosignerSigningKey::from_seed(name, Algorithm::Ed25519, [7; 32])
}

/// Alice alone decides, and her log is witnessed.
fn witnessed_policy(rule: &str) -> Policy {
    let (alice, witness) = (log_key(ALICE).verifier().clone(), witness());
    let text = format!(
        "builder alice {alice} https://{ALICE} operator=alice\nwitness w {} https://w.example\nquorum w\n\
         voters one any alice\nrule main quorum=one level=path {rule}\ndefault main\n",
        witness.verifier()
    );
    Policy::parse(&text).unwrap()
}

fn cosigned(note: &[u8], at_s: u64) -> Vec<u8> {
    let note = SignedNote::parse(note).unwrap();
    let checkpoint = Checkpoint::parse(note.text()).unwrap();
    let mut lines = note.signatures().to_vec();
    lines.push(witness().cosign(&checkpoint, at_s).unwrap());
    SignedNote::assemble(note.text(), lines).unwrap().to_bytes()
}

/// The log as it was when it had so many entries.
fn alice_of(size: usize) -> TestLog {
    TestLog::of(ALICE, &alice().entries[..size])
}

fn earlier(size: usize) -> pb::EarlierCheckpoint {
    let old = alice_of(size);
    let proof = prove_consistency(&Tiles(alice().leaves()), old.size(), alice().size()).unwrap();
    pb::EarlierCheckpoint {
        checkpoint: cosigned(&old.checkpoint(), THEN),
        consistency_proof: proof.iter().map(|hash| hash.as_bytes().to_vec()).collect(),
    }
}

/// What alice says now of `hello`, at index 1, with these earlier checkpoints.
fn answer(earlier: Vec<pb::EarlierCheckpoint>) -> pb::GetEvidenceResponse {
    let mut answer = an_answer();
    answer.outputs[0].entries.truncate(1);
    answer.logs.truncate(1);
    answer.logs[0].checkpoint = cosigned(&alice().checkpoint(), NOW);
    answer.logs[0].earlier = earlier;
    answer
}

fn verified_under(policy: &Policy, answer: pb::GetEvidenceResponse) -> Verified {
    verify_evidence(policy, &about_hello(), answer, &SeenCheckpoints::default()).unwrap()
}

/// Sizes of what dates entries, and what is decided when an hour of observing is asked for.
fn dated(earlier: Vec<pb::EarlierCheckpoint>) -> (Vec<u64>, Outcome) {
    let policy = witnessed_policy("min-observed=1h");
    let verified = verified_under(&policy, answer(earlier));
    assert_eq!(state(&verified, ALICE), LogState::Live);
    let history = &verified.evidence.logs[ALICE].history;
    let sizes = history.iter().map(|covering| covering.size).collect();
    let outcome = decide(&policy, &verified.evidence, &hello().hash_part(), NOW).outcome;
    (sizes, outcome)
}

#[test]
fn an_earlier_checkpoint_that_covers_the_entry_dates_it() {
    assert_eq!(dated(vec![]), (vec![], Outcome::Waiting));
    assert_eq!(dated(vec![earlier(2)]), (vec![2], Outcome::Accepted));
    assert_eq!(dated(vec![earlier(3)]), (vec![3], Outcome::Accepted));
    assert_eq!(dated(vec![earlier(1)]), (vec![1], Outcome::Waiting));
}

#[test]
fn a_forged_earlier_checkpoint_is_dropped() {
    let forgeries: [fn(&mut pb::EarlierCheckpoint); 6] = [
        |one| one.consistency_proof.clear(),
        |one| one.consistency_proof[0][0] ^= 1,
        |one| one.consistency_proof[0].truncate(31),
        |one| one.consistency_proof.resize(65, vec![0; 32]),
        |one| one.checkpoint = Vec::new(),
        |one| {
            // Of another tree, signed by the log.
            let other = TestLog::of(ALICE, &[said("Z"), said("A")]);
            one.checkpoint = cosigned(&other.checkpoint(), THEN);
        },
    ];
    for (number, forge) in forgeries.into_iter().enumerate() {
        let mut forged = earlier(2);
        forge(&mut forged);
        assert_eq!(
            dated(vec![forged.clone(), earlier(1)]),
            (vec![1], Outcome::Waiting),
            "{number}"
        );
        // It takes nothing away from an honest one.
        assert_eq!(
            dated(vec![forged, earlier(2)]),
            (vec![2], Outcome::Accepted),
            "{number}"
        );
    }
}

#[test]
fn neither_another_key_nor_a_forged_cosignature_dates_an_entry() {
    let mut foreign = earlier(2);
    let key = quorix_tlog::note::SigningKey::from_seed(ALICE.parse().unwrap(), [9; 32]);
    let checkpoint = Checkpoint {
        origin: ALICE.to_owned(),
        size: 2,
        root: naive_root(&alice_of(2).leaves()),
        extensions: vec![],
    };
    foreign.checkpoint = cosigned(&checkpoint.sign(&key).unwrap(), THEN);
    assert_eq!(dated(vec![foreign]), (vec![], Outcome::Waiting));

    // The witness cosigned one entry, not these two.
    let mut moved = earlier(2);
    let one = SignedNote::parse(&cosigned(&alice_of(1).checkpoint(), THEN)).unwrap();
    let two = SignedNote::parse(&alice_of(2).checkpoint()).unwrap();
    let mut lines = two.signatures().to_vec();
    lines.extend(one.signatures().last().cloned());
    moved.checkpoint = SignedNote::assemble(two.text(), lines).unwrap().to_bytes();
    assert_eq!(dated(vec![moved]), (vec![2], Outcome::Waiting));
}

#[test]
fn more_than_the_bound_and_what_nothing_asks_for_is_not_looked_at() {
    let mut many = vec![earlier(1); EARLIER_MAX];
    many.push(earlier(2));
    let (sizes, outcome) = dated(many);
    assert_eq!((sizes, outcome), (vec![1; EARLIER_MAX], Outcome::Waiting));

    let policy = witnessed_policy("max-age=1h");
    let verified = verified_under(&policy, answer(vec![earlier(2)]));
    assert_eq!(
        verified.evidence.logs[ALICE].history,
        Vec::<Covering>::new()
    );
}

#[test]
fn an_earlier_checkpoint_of_the_same_size_and_another_root_is_proof_against_the_log() {
    let mut fork = earlier(3);
    let other = TestLog::of(ALICE, &[said("Z"), said("A"), said("A")]);
    fork.checkpoint = cosigned(&other.checkpoint(), THEN);
    let verified = verified_under(&witnessed_policy("min-observed=1h"), answer(vec![fork]));
    assert_eq!(state(&verified, ALICE), LogState::Quarantined);
}

#[test]
fn a_receipt_carries_what_dates_its_entries() {
    let receipt = Receipt {
        policy: witnessed_policy("min-observed=1h").text,
        sets: BTreeMap::new(),
        store_dir: StoreDir::default(),
        asked: hello().hash_part(),
        time_s: NOW,
        answer: answer(vec![earlier(2)]),
        contents: BTreeMap::new(),
        earlier: None,
        decision: Vec::new(),
    };
    let (receipt, decision) = receipt.issue().unwrap();
    assert_eq!(decision.outcome, Outcome::Accepted);
    let mut read = Receipt::parse(&receipt.to_bytes()).unwrap();
    assert_eq!(read.replay(), Ok(decision));
    read.answer.logs[0].earlier.clear();
    assert!(read.replay().is_err());
}

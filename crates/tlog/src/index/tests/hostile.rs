//! Answers as they come from outside: whole ones verify, and nothing else does.

use super::super::answer::{Answer, AnswerError, Known, Latest};
use super::super::proven::{self, EntriesError, ProvenEntry};
use super::super::statement::Statement;
use super::*;
use crate::checkpoint::Checkpoint;
use crate::compact_range::CompactRange;
use crate::note::SigningKey;

const ORIGIN: &str = "logs.example.org/alice";

fn log_key() -> SigningKey {
    SigningKey::from_seed(ORIGIN.parse().unwrap(), [7; 32])
}

fn signed(origin: &str, size: u64, root: Hash, key: &SigningKey) -> Vec<u8> {
    let checkpoint = Checkpoint {
        origin: origin.to_owned(),
        size,
        root,
        extensions: Vec::new(),
    };
    checkpoint.sign(key).unwrap()
}

/// A log of exactly one step, whose index has two keys: one with the entries 3 and 9, another with 5.
fn answer(asked: &Key) -> Answer {
    let mut log = CompactRange::new();
    for index in 0..STEP {
        log.push(crate::hash::leaf_hash(&index.to_be_bytes()));
    }
    let mut changes = vec![(key(1), list(&[3, 9])), (key(2), list(&[5]))];
    changes.sort_unstable_by_key(|(key, _)| *key);
    let mut trie = Trie::new();
    let map_root = trie.set(&Pages::default(), &changes).unwrap();
    let statement = Statement {
        map_root,
        keys: 2,
        input_size: STEP,
        input_root: log.root(),
    };
    let index_root = crate::hash::leaf_hash(&statement.to_bytes());
    let index_key = signer_of(&log_key()).unwrap();
    Answer {
        key: *asked,
        checkpoint: signed(ORIGIN, STEP, log.root(), &log_key()),
        growth: Vec::new(),
        index_checkpoint: signed("logs.example.org/alice/index", 1, index_root, &index_key),
        index_growth: Vec::new(),
        latest: Some(Latest {
            statement,
            inclusion: Vec::new(),
            extension: Vec::new(),
        }),
        indices: if *asked == key(1) {
            vec![3, 9]
        } else {
            Vec::new()
        },
        proof: trie.prove(&Pages::default(), asked).unwrap().to_bytes(),
    }
}

fn verified(answer: &Answer, asked: &Key) -> Result<Vec<u64>, AnswerError> {
    let key = log_key();
    let proven = answer.verify(asked, key.verifier(), None)?;
    Ok(proven.indices)
}

#[test]
fn presence_and_absence_are_shown_by_the_logs_key_alone() {
    assert_eq!(verified(&answer(&key(1)), &key(1)), Ok(vec![3, 9]));
    assert_eq!(verified(&answer(&key(7)), &key(7)), Ok(vec![]));
}

#[test]
fn a_list_that_is_not_complete_is_refused() {
    for indices in [vec![3], vec![9], vec![], vec![3, 8], vec![3, 4, 9]] {
        let lying = Answer {
            indices,
            ..answer(&key(1))
        };
        assert!(
            matches!(verified(&lying, &key(1)), Err(AnswerError::Proof(_))),
            "{lying:?}"
        );
    }
    let unordered = Answer {
        indices: vec![9, 3],
        ..answer(&key(1))
    };
    let refused = AnswerError::List {
        position: 1,
        covered: STEP,
    };
    assert_eq!(verified(&unordered, &key(1)), Err(refused));
}

#[test]
fn an_answer_about_another_key_is_refused() {
    let refused = AnswerError::OtherKey {
        found: key(1),
        asked: key(2),
    };
    assert_eq!(verified(&answer(&key(1)), &key(2)), Err(refused));
}

fn checkpoint(origin: &str, size: u64, root: Hash) -> Checkpoint {
    Checkpoint {
        origin: origin.to_owned(),
        size,
        root,
        extensions: Vec::new(),
    }
}

/// The checkpoints of the one answer of these tests.
fn known() -> Known {
    let log = log_key();
    let proven = answer(&key(1)).verify(&key(1), log.verifier(), None);
    let proven = proven.unwrap();
    Known {
        log: proven.checkpoint.checkpoint().clone(),
        index: proven.index_checkpoint.checkpoint().clone(),
    }
}

fn against(known: &Known) -> Result<(), AnswerError> {
    let log = log_key();
    let verified = answer(&key(1)).verify(&key(1), log.verifier(), Some(known));
    verified.map(|_| ())
}

#[test]
fn an_answer_older_than_what_is_known_is_refused() {
    let log = checkpoint(ORIGIN, STEP + 1, Hash::from_bytes([1; 32]));
    let problem = crate::proof::ProofError::Shrunk {
        old: STEP + 1,
        new: STEP,
    };
    let refused = AnswerError::Known {
        known: STEP + 1,
        problem,
    };
    assert_eq!(against(&Known { log, ..known() }), Err(refused));
}

#[test]
fn an_answer_from_another_index_than_the_one_that_is_known_is_refused() {
    let index = |size, root| checkpoint("logs.example.org/alice/index", size, root);
    assert_eq!(against(&known()), Ok(()));
    let other = Known {
        index: index(1, Hash::from_bytes([1; 32])),
        ..known()
    };
    let refused = against(&other);
    assert!(
        matches!(refused, Err(AnswerError::KnownIndex { known: 1, .. })),
        "{refused:?}"
    );
    let longer = Known {
        index: index(2, Hash::from_bytes([1; 32])),
        ..known()
    };
    let problem = crate::proof::ProofError::Shrunk { old: 2, new: 1 };
    let refused = AnswerError::KnownIndex { known: 2, problem };
    assert_eq!(against(&longer), Err(refused));
}

#[test]
fn entries_are_verified_one_by_one_and_in_order() {
    let entry = ProvenEntry {
        index: 0,
        entry: b"only".to_vec(),
        inclusion: Vec::new(),
    };
    let root = crate::hash::leaf_hash(b"only");
    let bytes = proven::encode(std::slice::from_ref(&entry));
    let read = proven::parse(&bytes).unwrap();
    assert_eq!(read, [entry]);
    assert_eq!(proven::verify(&read, &[0], 1, &root), Ok(()));
    // The first of those that were asked for, but not none of them, no other and no more.
    assert_eq!(proven::verify(&read, &[0, 1], 1, &root), Ok(()));
    let others = |entries: &[ProvenEntry], asked: &[u64]| {
        let refused = Err(EntriesError::OtherEntries { asked: asked.len() });
        assert_eq!(proven::verify(entries, asked, 1, &root), refused);
    };
    others(&read, &[1, 0]);
    others(&read, &[]);
    others(&[], &[0]);
    others(&[read[0].clone(), read[0].clone()], &[0]);
    assert!(proven::verify(&read, &[0], 2, &root).is_err());
}

#[test]
fn one_flipped_bit_anywhere_is_refused() {
    for asked in [key(1), key(7)] {
        let good = answer(&asked).to_bytes();
        for place in 0..good.len() * 8 {
            let mut bytes = good.clone();
            bytes[place / 8] ^= 1 << (place % 8);
            let outcome = Answer::parse(&bytes).and_then(|read| verified(&read, &asked));
            assert!(outcome.is_err(), "bit {place}");
        }
    }
}

#[test]
fn surplus_and_missing_bytes_are_refused() {
    let good = answer(&key(1)).to_bytes();
    let surplus = [good.as_slice(), &[0]].concat();
    assert_eq!(Answer::parse(&surplus), Err(AnswerError::Malformed));
    for length in 0..good.len() {
        assert_eq!(Answer::parse(&good[..length]), Err(AnswerError::Malformed));
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic_and_reprint_as_they_were(
        bytes in prop::collection::vec(any::<u8>(), 0..200), is_present: bool,
    ) {
        let framed = [b"quorix/v1/index-answer\0".as_slice(), &bytes].concat();
        if let Ok(answer) = Answer::parse(&framed) {
            prop_assert_eq!(answer.to_bytes(), framed);
        }
        if let Ok(proof) = Proof::parse(&bytes, is_present) {
            prop_assert_eq!(proof.to_bytes(), bytes.clone());
        }
        if let Some(page) = Page::from_bytes(&bytes) {
            prop_assert_eq!(page.to_bytes(), bytes.clone());
        }
        let framed = [b"quorix/v1/entries\0".as_slice(), &bytes].concat();
        if let Ok(entries) = proven::parse(&framed) {
            prop_assert_eq!(proven::encode(&entries), framed);
        }
    }
}

//! Answers as they come from outside: whole ones verify, and nothing else does.

use super::super::answer::{self, Answer, AnswerError, Known, Latest};
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

/// The answer about a key with this list, of a log that has just as many entries.
fn long(indices: &[u64]) -> Answer {
    let last = indices.last().copied().unwrap_or_default();
    let size = (last / STEP + 1) * STEP;
    let mut log = CompactRange::new();
    for index in 0..size {
        log.push(crate::hash::leaf_hash(&index.to_be_bytes()));
    }
    let mut trie = Trie::new();
    let changes = [(key(1), list(indices))];
    let statement = Statement {
        map_root: trie.set(&Pages::default(), &changes).unwrap(),
        keys: 1,
        input_size: size,
        input_root: log.root(),
    };
    // The output log of a log of this size has a leaf for each step; all but the last one are made up.
    let leaves = size / STEP;
    let mut output = CompactRange::new();
    let leaf = |place: u64| crate::hash::leaf_hash(&place.to_be_bytes());
    let mut hashes: Vec<Hash> = (1..leaves).map(leaf).collect();
    hashes.push(crate::hash::leaf_hash(&statement.to_bytes()));
    hashes.iter().for_each(|hash| output.push(*hash));
    let index_key = signer_of(&log_key()).unwrap();
    Answer {
        checkpoint: signed(ORIGIN, size, log.root(), &log_key()),
        index_checkpoint: signed(
            "logs.example.org/alice/index",
            leaves,
            output.root(),
            &index_key,
        ),
        latest: Some(Latest {
            statement,
            inclusion: last_inclusion(&hashes),
            extension: Vec::new(),
        }),
        indices: indices.to_vec(),
        proof: trie.prove(&Pages::default(), &key(1)).unwrap().to_bytes(),
        ..answer(&key(1))
    }
}

/// The proof of inclusion of the last leaf (RFC 6962 §2.1.1).
fn last_inclusion(leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() < 2 {
        return Vec::new();
    }
    let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
    let mut range = CompactRange::new();
    left.iter().for_each(|hash| range.push(*hash));
    let mut proof = last_inclusion(right);
    proof.push(range.root());
    proof
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
fn a_list_of_many_pages_is_whole_or_refused() {
    let most = answer::MAX_INDICES as u64;
    for count in [1, most - 1, most, most + 1, 2 * most, 2 * most + 7] {
        let all: Vec<u64> = (0..count).map(|place| 2 * place).collect();
        let whole = long(&all);
        let mut asked = whole.clone();
        asked.indices.truncate(answer::MAX_INDICES);
        let mut answer = Answer::parse(&asked.to_bytes()).unwrap();
        let mut next = answer.next_page();
        let mut pages = 0;
        while let Some((from, below)) = next {
            let rest = all
                .iter()
                .copied()
                .filter(|index| (from..below).contains(index));
            let rest: Vec<u64> = rest.take(answer::MAX_INDICES).collect();
            let before = answer.clone();
            // Too early, a page that is left out or cut is noticed.
            if before.indices.len() < all.len() {
                assert!(matches!(
                    verified(&before, &key(1)),
                    Err(AnswerError::Proof(_))
                ));
            }
            let is_more = answer.add_page(&answer::page(&rest)).unwrap();
            next = answer.next_page().filter(|_| is_more);
            pages += 1;
        }
        assert_eq!(pages, count / most, "{count}");
        assert_eq!(verified(&answer, &key(1)).as_deref(), Ok(all.as_slice()));
    }
}

#[test]
fn a_page_that_does_not_follow_is_refused() {
    let all: Vec<u64> = (1..=answer::MAX_INDICES as u64).collect();
    let mut answer = long(&all);
    let past = all.last().copied().unwrap();
    let long: Vec<u64> = (past + 1..).take(answer::MAX_INDICES + 1).collect();
    for wrong in [
        answer::page(&[past]),
        answer::page(&[0]),
        vec![0; 7],
        answer::page(&long),
    ] {
        assert_eq!(answer.add_page(&wrong), Err(AnswerError::Malformed));
    }
    assert_eq!(answer.indices, all);
    // What is in the right order and not of the list is found out by its root.
    assert_eq!(answer.add_page(&answer::page(&[past + 1])), Ok(false));
    assert!(matches!(
        verified(&answer, &key(1)),
        Err(AnswerError::Proof(_))
    ));
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

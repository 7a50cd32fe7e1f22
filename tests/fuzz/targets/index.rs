//! Answers to look-ups: what is read prints as the same bytes, and what verifies is what the one log of the corpora says.
//! Nobody but its key can sign, so no other answer may ever pass.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::OnceLock;

use quorix_tlog::checkpoint::Checkpoint;
use quorix_tlog::compact_range::CompactRange;
use quorix_tlog::hash::{Hash, leaf_hash};
use quorix_tlog::index::answer::{Answer, Latest};
use quorix_tlog::index::key_list::KeyList;
use quorix_tlog::index::page::PageId;
use quorix_tlog::index::proven;
use quorix_tlog::index::statement::Statement;
use quorix_tlog::index::trie::{PageStore, Trie};
use quorix_tlog::index::{Key, STEP, signer_of};
use quorix_tlog::note::SigningKey;

const ORIGIN: &str = "logs.example.org/alice";

/// Keys with the entries that concern them; the last one has none.
const SAID: [(&str, &[u64]); 4] = [
    ("a", &[3, 9]),
    ("b", &[5]),
    ("c", &[0, 1, 2]),
    ("absent", &[]),
];

struct Nowhere;

impl PageStore for Nowhere {
    type Error = Infallible;

    fn page(&self, _: &PageId) -> Result<Option<Vec<u8>>, Infallible> {
        Ok(None)
    }
}

fn key(name: &str) -> Key {
    Key::of("fuzz", name)
}

fn log_key() -> SigningKey {
    SigningKey::from_seed(ORIGIN.parse().expect("a valid name"), [7; 32])
}

fn signed(key: &SigningKey, size: u64, root: Hash) -> Vec<u8> {
    let checkpoint = Checkpoint {
        origin: key.verifier().name().to_string(),
        size,
        root,
        extensions: Vec::new(),
    };
    checkpoint.sign(key).expect("a valid checkpoint")
}

/// The honest answers about the four keys, in their encoding.
pub(super) fn honest() -> &'static [Vec<u8>] {
    static HONEST: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    HONEST.get_or_init(|| {
        let mut log = CompactRange::new();
        for index in 0..STEP {
            log.push(leaf_hash(&index.to_be_bytes()));
        }
        let said = SAID.iter().filter(|(_, list)| !list.is_empty());
        let changes: BTreeMap<Key, _> = said
            .map(|(name, list)| (key(name), list.iter().copied().collect::<KeyList>().value()))
            .collect();
        let changes: Vec<_> = changes.into_iter().collect();
        let mut trie = Trie::new();
        let Ok(map_root) = trie.set(&Nowhere, &changes) else {
            unreachable!("pages in memory are there");
        };
        let statement = Statement {
            map_root,
            keys: 3,
            input_size: STEP,
            input_root: log.root(),
        };
        let index_key = signer_of(&log_key()).expect("a short name");
        let answer = |(name, list): &(&str, &[u64])| {
            let Ok(proof) = trie.prove(&Nowhere, &key(name)) else {
                unreachable!("pages in memory are there");
            };
            Answer {
                key: key(name),
                checkpoint: signed(&log_key(), STEP, log.root()),
                growth: Vec::new(),
                index_checkpoint: signed(&index_key, 1, leaf_hash(&statement.to_bytes())),
                index_growth: Vec::new(),
                latest: Some(Latest {
                    statement,
                    inclusion: Vec::new(),
                    extension: Vec::new(),
                }),
                indices: list.to_vec(),
                proof: proof.to_bytes(),
            }
            .to_bytes()
        };
        SAID.iter().map(answer).collect()
    })
}

/// Bytes of an answer or of entries; or which honest answer, and at which places what is changed in it.
pub(super) fn index_answer(data: &[u8]) {
    if let Ok(entries) = proven::parse(data) {
        assert_eq!(proven::encode(&entries), data, "entries have one encoding");
    }
    if Answer::parse(data).is_ok() {
        return check(data);
    }
    let [which, edits @ ..] = data else {
        return;
    };
    let honest = honest();
    let mut bytes = honest[usize::from(*which) % honest.len()].clone();
    for edit in edits.chunks_exact(3) {
        let place = usize::from(u16::from_be_bytes([edit[0], edit[1]])) % bytes.len();
        bytes[place] ^= edit[2];
    }
    check(&bytes);
}

fn check(bytes: &[u8]) {
    let Ok(answer) = Answer::parse(bytes) else {
        return;
    };
    assert_eq!(answer.to_bytes(), bytes, "an answer has one encoding");
    let log = log_key();
    if let Ok(proven) = answer.verify(&answer.key, log.verifier(), None) {
        let said = SAID.iter().find(|(name, _)| key(name) == answer.key);
        let said = said.map_or(&[][..], |(_, list)| list);
        assert_eq!((proven.covered, proven.indices.as_slice()), (STEP, said));
    }
}

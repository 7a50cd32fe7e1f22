//! The trie against its definition, against the vectors of the other implementation, and against hostile bytes.

mod hostile;

use std::collections::BTreeMap;
use std::convert::Infallible;

use proptest::prelude::*;

use super::key_list::{KeyList, Value};
use super::page::{Page, PageId};
use super::proof::{Proof, ProofError};
use super::trie::{PageStore, Trie, root_of};
use super::*;
use crate::hash::EMPTY_ROOT;

#[derive(Default)]
struct Pages(BTreeMap<PageId, Vec<u8>>);

impl PageStore for Pages {
    type Error = Infallible;

    fn page(&self, id: &PageId) -> Result<Option<Vec<u8>>, Infallible> {
        Ok(self.0.get(id).cloned())
    }
}

fn sha(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

fn key(number: u64) -> Key {
    Key(sha(&format!("key:{number}")))
}

fn list(indices: &[u64]) -> Value {
    indices.iter().copied().collect::<KeyList>().value()
}

fn hex(text: &str) -> Vec<u8> {
    HEXLOWER.decode(text.as_bytes()).unwrap()
}

fn hash(text: &str) -> Hash {
    Hash::from_bytes(hex(text).try_into().unwrap())
}

/// The deterministic trees of `mpt/testdata/treehash.txt`: keys `SHA-256("key:<n>")`, values `SHA-256("val:<n>")`.
#[test]
fn roots_are_those_of_the_other_implementation() {
    let tree = |count: u64| -> Vec<(Key, Vec<u8>)> {
        (0..count)
            .map(|n| (key(n), sha(&format!("val:{n}")).to_vec()))
            .collect()
    };
    assert_eq!(oracle::root(&[]), EMPTY_ROOT);
    let one = "2a698354db3d6d1e4205dc2ca99f9b5925612fd3641ce5bc3400ab521052c1e9";
    assert_eq!(oracle::root(&tree(1)).to_hex(), one);
    let ten = "bc9a8f5c4b48ffd5fb48ba5996168a4ba45712b5f73bd4642df8971cd342d91e";
    assert_eq!(oracle::root(&tree(10)).to_hex(), ten);
    // Keys that part at bit 128, whose place takes two bytes.
    let mut keys = [[0xff; 32], [0xff; 32]];
    keys[0][16..].fill(0);
    keys[1][16..].fill(0);
    keys[1][16] = 0x80;
    let far = keys
        .iter()
        .zip([
            "a3b93625e143e33744bc532953260c66bcdb124ff930e6a55257558871df9e72",
            "4f02252ceaba90d9997b0f84bface6cd661dcb1779c5beb55d1eec2510680464",
        ])
        .map(|(key, value)| (Key(*key), hex(value)))
        .collect::<Vec<_>>();
    let apart = "55664663e0148e90b47b18ec9660b0a9c5d83b03fc0235fcb8938763d7d3ed7f";
    assert_eq!(oracle::root(&far).to_hex(), apart);
}

/// The three-leaf tree of `mpt/testdata/verify.txt`.
#[test]
fn proofs_are_those_of_the_other_implementation() {
    let root = hash("4a79f8c72c1e6aef51da667b958a4a60d9d54eeb4e71e169c97f6f0ef2462223");
    let b = Key(
        hex("e3ee6cc705f06140f832d62316f3cb1c7a324f04d4cba9dc8d0f8125e5f5393c")
            .try_into()
            .unwrap(),
    );
    let value = hex("016a4fde9eff72a846636f8e5981cabc9e7d34041a6e9080691259fc9d2bffa8");
    let presence = hex(concat!(
        "0265ccf55d89d2f4864ea1e8fbc0b1d74a29a67431d7210b0e82037ef2788f32c6",
        "005586c5702eb4abc508d685b0833e8f83050c864796d18ae25dc3d22073038fb8"
    ));
    let proof = Proof::parse(&presence, true).unwrap();
    assert_eq!(proof.verify(&root, &b, Some(&value)), Ok(()));
    let absent = Key(
        hex("c51cbe39ee7ed29027d1c54fffb0b31d0475a502b811bd866b98b66bb0afd1f4")
            .try_into()
            .unwrap(),
    );
    let absence = hex(concat!(
        "20d1318ac2288d45fd05e788897f6672de3761c8e1565bef41c350e578283a9d6f",
        "20c35b501388708557ba0bab3b2b62c2e14cc405b1415d565a62b3ff1bc59399e2",
        "0216a5fadb9ec081b9111a6e731c4a5cea7315ebc862fe48f75b0e658966e59df2",
        "005586c5702eb4abc508d685b0833e8f83050c864796d18ae25dc3d22073038fb8"
    ));
    let proof = Proof::parse(&absence, false).unwrap();
    assert_eq!(proof.verify(&root, &absent, None), Ok(()));
    assert_eq!(proof.to_bytes(), absence);
    // The same proof shows nothing of a key that its bits lead elsewhere, nor of the key that it names.
    let elsewhere = Key([0; 32]);
    assert_eq!(
        proof.verify(&root, &elsewhere, None),
        Err(ProofError::OtherPlace { bit: 0 })
    );
}

#[test]
fn a_proof_in_a_large_map_is_short() {
    let count = 1 << 14;
    let changes: Vec<_> = (0..count)
        .map(|n| (key(n), list(&[n])))
        .collect::<BTreeMap<_, _>>()
        .into_iter()
        .collect();
    let mut trie = Trie::new();
    let root = trie.set(&Pages::default(), &changes).unwrap();
    let mut steps = 0;
    for n in 0..256 {
        let proof = trie.prove(&Pages::default(), &key(n)).unwrap();
        assert_eq!(
            proof.verify(&root, &key(n), Some(&list(&[n]).to_bytes())),
            Ok(())
        );
        steps = steps.max(proof.steps());
    }
    // At ten million keys, 2^10 times as many, ten more: below 2 kB with the leaf of a proof of absence.
    assert!((steps + 10) * 34 + 74 < 2_048, "{steps} steps");
}

#[test]
fn keys_that_share_a_long_prefix_have_one_node_in_common() {
    let (mut near, far) = (sha("key"), Key([0; 32]));
    near[31] &= 0xfe;
    let mut nearer = near;
    nearer[31] |= 1;
    let map: BTreeMap<_, _> = [(Key(near), 1), (Key(nearer), 2), (far, 3)]
        .into_iter()
        .collect();
    let changes: Vec<_> = map.iter().map(|(key, n)| (*key, list(&[*n]))).collect();
    let plain: Vec<_> = changes
        .iter()
        .map(|(key, value)| (*key, value.to_bytes().to_vec()))
        .collect();
    assert_eq!(root_of(&changes), oracle::root(&plain));
    let mut trie = Trie::new();
    let root = trie.set(&Pages::default(), &changes).unwrap();
    let proof = trie.prove(&Pages::default(), &Key(near)).unwrap();
    assert_eq!(proof.steps(), 2);
    let value = list(&[map[&Key(near)]]).to_bytes();
    assert_eq!(proof.verify(&root, &Key(near), Some(&value)), Ok(()));
}

/// A proof of absence shows, besides its steps, one key and value with their lengths.
const ABSENCE_BYTES: usize = 1 + 32 + 1 + 40;

/// 2 kB, the most that a proof of presence or absence is to have at 10⁷ keys.
const PROOF_BYTES_MAX: usize = 2_048;

/// With as many keys as fit into a test, the longest proof has fewer than twice as many steps as there are bits in their
/// number. At 10⁷ keys that would be 48 steps of at most 34 bytes, so 1,706 bytes with what absence shows.
#[test]
fn proofs_of_presence_and_absence_are_short_with_many_keys() {
    const KEYS: u64 = 1 << 16;
    let mut changes: Vec<_> = (0..KEYS).map(|n| (key(n), list(&[n]))).collect();
    changes.sort_unstable_by_key(|(key, _)| *key);
    let (pages, mut trie) = (Pages::default(), Trie::new());
    trie.set(&pages, &changes).unwrap();
    let (mut most, mut steps) = (0, 0);
    // The first half is there, the other is not.
    for n in (0..2 * KEYS).step_by(16) {
        let proof = trie.prove(&pages, &key(n)).unwrap();
        most = most.max(proof.to_bytes().len());
        steps = steps.max(proof.steps());
    }
    assert!(steps > 16 && steps < 2 * 16, "{steps} steps");
    assert!(most <= 34 * steps + ABSENCE_BYTES, "{most} bytes");
    const { assert!(34 * 48 + ABSENCE_BYTES <= PROOF_BYTES_MAX) };
}

/// Whoever wants another's proof to be longer has to find keys that begin as that key does: 2⁵⁷ hashes for the last one
/// of these, and the proof still fits.
#[test]
fn a_proof_that_somebody_made_deep_on_purpose_still_fits() {
    const DEPTH: u16 = 58;
    let victim = Key([0; 32]);
    let mut changes = vec![(victim, list(&[0]))];
    for bit in 0..DEPTH {
        let mut bytes = [0; 32];
        bytes[usize::from(bit / 8)] = 0x80 >> (bit % 8);
        changes.push((Key(bytes), list(&[1])));
    }
    changes.sort_unstable_by_key(|(key, _)| *key);
    let (pages, mut trie) = (Pages::default(), Trie::new());
    let root = trie.set(&pages, &changes).unwrap();
    let proof = trie.prove(&pages, &victim).unwrap();
    assert_eq!(proof.steps(), usize::from(DEPTH));
    assert_eq!(
        proof.verify(&root, &victim, Some(&list(&[0]).to_bytes())),
        Ok(())
    );
    assert!(proof.to_bytes().len() <= PROOF_BYTES_MAX);
    let mut beside = [0; 32];
    beside[31] = 1;
    let absent = trie.prove(&pages, &Key(beside)).unwrap();
    assert_eq!(absent.verify(&root, &Key(beside), None), Ok(()));
    assert!(
        absent.to_bytes().len() <= PROOF_BYTES_MAX,
        "{}",
        absent.to_bytes().len()
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Keys from few bits, so that they share prefixes; changes in several batches, with the pages read back.
    #[test]
    fn the_trie_is_its_definition_whatever_the_batches(
        batches in prop::collection::vec(
            prop::collection::btree_map(0_u16..600, 0_u64..9, 0..40), 1..6),
        asked in 0_u16..600,
    ) {
        let key = |n: u16| {
            let mut bytes = [0; 32];
            bytes[..2].copy_from_slice(&(n.wrapping_mul(97)).to_be_bytes());
            Key(bytes)
        };
        let (mut store, mut trie, mut map) = (Pages::default(), Trie::new(), BTreeMap::new());
        let mut root = EMPTY_ROOT;
        for batch in batches {
            let changes: BTreeMap<Key, Value> =
                batch.iter().map(|(n, seed)| (key(*n), list(&[*seed, seed + 1]))).collect();
            map.extend(changes.clone());
            root = trie.set(&store, &changes.into_iter().collect::<Vec<_>>()).unwrap();
            for (id, bytes) in trie.take_changed() {
                prop_assert_eq!(Page::from_bytes(&bytes).unwrap().to_bytes(), bytes.clone());
                store.0.insert(id, bytes);
            }
            let plain: Vec<_> =
                map.iter().map(|(key, value)| (*key, value.to_bytes().to_vec())).collect();
            prop_assert_eq!(root, oracle::root(&plain));
        }
        // Read afresh, as after a restart.
        let mut trie = Trie::new();
        let asked = key(asked);
        let value = trie.get(&store, &asked).unwrap();
        prop_assert_eq!(value.as_ref(), map.get(&asked));
        let proof = trie.prove(&store, &asked).unwrap();
        let bytes = value.map(Value::to_bytes);
        let bytes = bytes.as_ref().map(<[u8; 40]>::as_slice);
        prop_assert_eq!(proof.verify(&root, &asked, bytes), Ok(()));
        let read = Proof::parse(&proof.to_bytes(), value.is_some()).unwrap();
        prop_assert_eq!(&read, &proof);
        // What is there cannot be shown to be absent, nor the other way round.
        let other = if value.is_some() { None } else { Some([7; 40].as_slice().to_vec()) };
        prop_assert!(proof.verify(&root, &asked, other.as_deref()).is_err());
    }
}

//! Proofs against the RFC's own recursive definitions, and everything that must not verify.

use proptest::prelude::*;

use super::*;
use crate::{
    oracle::{self, MemoryTiles},
    tile::{TileId, TileLevel, width_at},
};

mod predecessor;

/// Sizes around which tiles and subtrees begin and end.
const BOUNDARIES: [usize; 8] = [1, 2, 255, 256, 257, 65_535, 65_536, 65_537];

fn flip(hash: Hash, bit: usize) -> Hash {
    let mut bytes = *hash.as_bytes();
    bytes[bit / 8] ^= 1 << (bit % 8);
    Hash::from_bytes(bytes)
}

/// All proofs that differ from this one in one bit, one hash too few or one too many.
fn damaged(proof: &[Hash]) -> Vec<Vec<Hash>> {
    let mut all = Vec::new();
    for (position, hash) in proof.iter().enumerate() {
        let mut missing = proof.to_vec();
        missing.remove(position);
        all.push(missing);
        for bit in 0..256 {
            let mut changed = proof.to_vec();
            changed[position] = flip(*hash, bit);
            all.push(changed);
        }
    }
    for position in 0..=proof.len() {
        let mut surplus = proof.to_vec();
        surplus.insert(position, proof.first().copied().unwrap_or(EMPTY_ROOT));
        all.push(surplus);
    }
    all
}

#[test]
fn every_inclusion_proof_verifies_and_no_damaged_one_does() {
    let leaves = oracle::leaves(13);
    for size in 1..=leaves.len() {
        let root = oracle::root(&leaves[..size]);
        for index in 0..size {
            let proof = oracle::inclusion(index, &leaves[..size]);
            let leaf = &leaves[index];
            let verify = |index: u64, leaf: &Hash, proof: &[Hash], root: &Hash| {
                verify_inclusion(index, size as u64, leaf, proof, root)
            };
            let at = index as u64;
            assert_eq!(verify(at, leaf, &proof, &root), Ok(()));
            for wrong in damaged(&proof) {
                assert!(
                    verify(at, leaf, &wrong, &root).is_err(),
                    "{index} of {size}"
                );
            }
            for bit in 0..256 {
                assert!(verify(at, &flip(*leaf, bit), &proof, &root).is_err());
                assert!(verify(at, leaf, &proof, &flip(root, bit)).is_err());
            }
            for other in (0..=2 * size as u64).filter(|other| *other != at) {
                assert!(
                    verify(other, leaf, &proof, &root).is_err(),
                    "{index} as {other}"
                );
            }
        }
    }
}

#[test]
fn every_consistency_proof_verifies_and_no_damaged_one_does() {
    let leaves = oracle::leaves(13);
    for new in 0..=leaves.len() {
        let new_root = oracle::root(&leaves[..new]);
        for old in 0..=new {
            let old_root = oracle::root(&leaves[..old]);
            let proof = oracle::consistency(old, &leaves[..new]);
            let verify = |old_root: &Hash, new_root: &Hash, proof: &[Hash]| {
                verify_consistency(old as u64, new as u64, old_root, new_root, proof)
            };
            assert_eq!(verify(&old_root, &new_root, &proof), Ok(()));
            for wrong in damaged(&proof) {
                assert!(
                    verify(&old_root, &new_root, &wrong).is_err(),
                    "{old} to {new}"
                );
            }
            for bit in 0..256 {
                assert!(verify(&flip(old_root, bit), &new_root, &proof).is_err());
                // From nothing to anything needs no proof, and so shows nothing of the newer root.
                let accepted = verify(&old_root, &flip(new_root, bit), &proof).is_ok();
                assert_eq!(accepted, old == 0 && new > 0, "{old} to {new}");
            }
        }
    }
}

#[test]
fn proofs_from_tiles_are_those_of_the_definition_at_every_boundary() {
    let all = oracle::leaves(65_537);
    for size in BOUNDARIES {
        let leaves = &all[..size];
        let (tiles, root) = (MemoryTiles::new(leaves), oracle::root(leaves));
        assert_eq!(root_of(&tiles, size as u64), Ok(root));
        for index in [0, 1, 254, 255, 256, 300, size / 2, size - 1] {
            if index >= size {
                continue;
            }
            let proof = prove_inclusion(&tiles, index as u64, size as u64).unwrap();
            assert_eq!(proof, oracle::inclusion(index, leaves), "{index} of {size}");
            let verified =
                verify_inclusion(index as u64, size as u64, &leaves[index], &proof, &root);
            assert_eq!(verified, Ok(()));
        }
        for old in BOUNDARIES
            .into_iter()
            .chain([0, 3, 300, size / 2, size - 1])
        {
            if old > size {
                continue;
            }
            let proof = prove_consistency(&tiles, old as u64, size as u64).unwrap();
            assert_eq!(proof, oracle::consistency(old, leaves), "{old} to {size}");
            let old_root = oracle::root(&leaves[..old]);
            let verified = verify_consistency(old as u64, size as u64, &old_root, &root, &proof);
            assert_eq!(verified, Ok(()));
        }
    }
}

#[test]
fn provers_read_only_the_tiles_on_the_way_and_each_once() {
    let tiles = MemoryTiles::new(&oracle::leaves(65_537));
    prove_inclusion(&tiles, 300, 65_537).unwrap();
    let on_the_way = [
        (TileId::hashes(0, 256), 1),
        (TileId::hashes(1, 0), 256),
        (TileId::hashes(0, 1), 256),
    ];
    assert_eq!(tiles.take_reads(), on_the_way);

    // The older log ends at the end of its first tile: nothing below level 1 but the last leaf.
    prove_consistency(&tiles, 256, 65_537).unwrap();
    assert_eq!(tiles.take_reads(), on_the_way[..2]);

    // A root that the verifier has is not computed: no tile above the right edge is read.
    prove_consistency(&tiles, 65_536, 65_537).unwrap();
    assert_eq!(tiles.take_reads(), on_the_way[..1]);

    // An older size is proved from the same stored tiles, cut to the widths of that size.
    root_of(&tiles, 300).unwrap();
    assert_eq!(
        tiles.take_reads(),
        [(TileId::hashes(1, 0), 1), (TileId::hashes(0, 1), 44)]
    );

    assert_eq!(prove_consistency(&tiles, 0, 65_537), Ok(Vec::new()));
    assert_eq!(prove_consistency(&tiles, 65_537, 65_537), Ok(Vec::new()));
    assert_eq!(tiles.take_reads(), [], "an empty proof needs no tiles");
}

#[test]
fn what_cannot_be_proved_is_an_error_that_says_why() {
    let tiles = MemoryTiles::new(&oracle::leaves(300));
    let out_of_range = ProofError::IndexOutOfRange {
        index: 300,
        size: 300,
    };
    assert_eq!(
        prove_inclusion(&tiles, 300, 300),
        Err(ProveError::OutOfRange(out_of_range))
    );
    let shrunk = ProofError::Shrunk { old: 300, new: 299 };
    assert_eq!(
        prove_consistency(&tiles, 300, 299),
        Err(ProveError::OutOfRange(shrunk))
    );

    let narrow = ProveError::Read(format!("{:?} is narrow", TileId::hashes(0, 1)));
    assert_eq!(prove_inclusion(&tiles, 0, 301), Err(narrow));
    let missing = ProveError::Read(format!("no tile {:?}", TileId::hashes(0, 2)));
    assert_eq!(prove_inclusion(&tiles, 0, 600), Err(missing));

    struct TooNarrow;
    impl TileReader for TooNarrow {
        type Error = String;
        fn hashes(&self, _: TileId, width: u16) -> Result<Vec<Hash>, String> {
            Ok(vec![EMPTY_ROOT; usize::from(width) - 1])
        }
    }
    let narrow = ProveError::Narrow {
        id: TileId::hashes(0, 0),
        width: 5,
        given: 4,
    };
    assert_eq!(root_of(&TooNarrow, 5), Err(narrow));
}

/// A tree of any size whose leaves are all the same, so that every perfect subtree of one height
/// has one root, and no tile needs to be stored.
struct Uniform;

impl TileReader for Uniform {
    type Error = String;

    fn hashes(&self, id: TileId, width: u16) -> Result<Vec<Hash>, String> {
        let TileLevel::Hashes(level) = id.level else {
            panic!("provers read only hash tiles")
        };
        let height = usize::from(level) * 8;
        let root = (0..height).fold(EMPTY_ROOT, |below, _| node_hash(&below, &below));
        Ok(vec![root; usize::from(width)])
    }
}

#[test]
fn the_largest_trees_are_proved_and_verified_without_overflow() {
    let leaf = EMPTY_ROOT;
    for size in [
        1 << 62,
        (1 << 63) - 1,
        1 << 63,
        (1 << 63) + 1,
        u64::MAX - 1,
        u64::MAX,
    ] {
        let root = root_of(&Uniform, size).unwrap();
        for index in [0, 1, 255, 256, size / 2, size - 2, size - 1] {
            let proof = prove_inclusion(&Uniform, index, size).unwrap();
            assert!(proof.len() <= MAX_PROOF_LENGTH);
            assert_eq!(verify_inclusion(index, size, &leaf, &proof, &root), Ok(()));
            let surplus = [proof.as_slice(), &[leaf]].concat();
            let refused = verify_inclusion(index, size, &leaf, &surplus, &root);
            assert_eq!(
                refused,
                Err(ProofError::Surplus {
                    given: surplus.len()
                })
            );
        }
        for old in [1, 2, 3, 256, size / 2 - 1, size / 2, size / 2 + 1, size - 1] {
            let proof = prove_consistency(&Uniform, old, size).unwrap();
            let old_root = root_of(&Uniform, old).unwrap();
            assert_eq!(
                verify_consistency(old, size, &old_root, &root, &proof),
                Ok(())
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn proofs_from_tiles_are_those_of_the_definition(
        size in 1..1200_usize, index in any::<prop::sample::Index>(),
        position in any::<prop::sample::Index>(), bit in 0..256_usize,
    ) {
        let leaves = oracle::leaves(size);
        let (tiles, root) = (MemoryTiles::new(&leaves), oracle::root(&leaves));
        let index = index.index(size);
        let (at, whole) = (index as u64, size as u64);

        let mut proof = prove_inclusion(&tiles, at, whole).unwrap();
        prop_assert_eq!(&proof, &oracle::inclusion(index, &leaves));
        prop_assert_eq!(verify_inclusion(at, whole, &leaves[index], &proof, &root), Ok(()));
        if !proof.is_empty() {
            let position = position.index(proof.len());
            proof[position] = flip(proof[position], bit);
            prop_assert!(verify_inclusion(at, whole, &leaves[index], &proof, &root).is_err());
        }

        let (old, old_root) = (at + 1, oracle::root(&leaves[..=index]));
        let mut proof = prove_consistency(&tiles, old, whole).unwrap();
        prop_assert_eq!(&proof, &oracle::consistency(index + 1, &leaves));
        prop_assert_eq!(verify_consistency(old, whole, &old_root, &root, &proof), Ok(()));
        if !proof.is_empty() {
            let position = position.index(proof.len());
            proof[position] = flip(proof[position], bit);
            prop_assert!(verify_consistency(old, whole, &old_root, &root, &proof).is_err());
        }
        for (id, width) in tiles.take_reads() {
            let TileLevel::Hashes(level) = id.level else { panic!("no hash tile") };
            prop_assert_eq!(width, width_at(whole, level, id.index));
        }
    }

    #[test]
    fn arbitrary_numbers_and_hashes_never_panic_and_never_verify(
        a in any::<u64>(), b in any::<u64>(), shift in 0..64_u32,
        proof in proptest::collection::vec(any::<[u8; 32]>(), 0..70),
    ) {
        let (a, b) = (a >> shift, b >> shift);
        let proof: Vec<Hash> = proof.into_iter().map(Hash::from_bytes).collect();
        let [leaf, root] = [b"leaf", b"root"].map(|entry| crate::hash::leaf_hash(entry));
        prop_assert!(verify_inclusion(a, b, &leaf, &proof, &root).is_err());
        let consistent = verify_consistency(a, b, &leaf, &root, &proof);
        prop_assert!(consistent.is_err());
    }
}

//! Defects of the predecessor Trustix that concern proofs, and what happens here instead.

use super::*;

#[test]
fn trustix_an_empty_consistency_proof_is_an_error_and_never_a_panic() {
    let leaves = oracle::leaves(8);
    for new in 2..=8 {
        let new_root = oracle::root(&leaves[..new]);
        for old in 1..new {
            let old_root = oracle::root(&leaves[..old]);
            let verified = verify_consistency(old as u64, new as u64, &old_root, &new_root, &[]);
            assert_eq!(
                verified,
                Err(ProofError::Missing { given: 0 }),
                "{old} to {new}"
            );
        }
    }
}

#[test]
fn trustix_one_size_with_two_roots_is_an_error_that_keeps_both_and_not_a_log_line() {
    let [old_root, new_root] = [b"one", b"two"].map(|entry| crate::hash::leaf_hash(entry));
    let forked = ProofError::Forked {
        size: 7,
        old_root,
        new_root,
    };
    for proof in [vec![], vec![old_root]] {
        assert_eq!(
            verify_consistency(7, 7, &old_root, &new_root, &proof),
            Err(forked)
        );
    }
}

#[test]
fn trustix_a_rolled_back_log_is_an_error_whatever_its_proof() {
    let leaves = oracle::leaves(5);
    let (older, newer) = (oracle::root(&leaves), oracle::root(&leaves[..4]));
    let proof = oracle::consistency(4, &leaves);
    let shrunk = ProofError::Shrunk { old: 5, new: 4 };
    assert_eq!(
        verify_consistency(5, 4, &older, &newer, &proof),
        Err(shrunk)
    );
    assert_eq!(verify_consistency(5, 4, &older, &newer, &[]), Err(shrunk));
}

#[test]
fn trustix_a_rewritten_history_is_told_from_a_proof_that_is_merely_broken() {
    let honest = oracle::leaves(13);
    let mut rewritten = honest.clone();
    rewritten[2] = crate::hash::leaf_hash(b"rewritten");
    let (old_root, new_root) = (oracle::root(&honest[..6]), oracle::root(&rewritten));
    let proof = oracle::consistency(6, &rewritten);
    let computed = oracle::root(&rewritten[..6]);
    assert_eq!(
        verify_consistency(6, 13, &old_root, &new_root, &proof),
        Err(ProofError::WrongOldRoot {
            computed,
            expected: old_root
        }),
    );
    // Garbage never looks like a rewritten history.
    let garbage = vec![EMPTY_ROOT; proof.len()];
    let refused = verify_consistency(6, 13, &old_root, &new_root, &garbage);
    assert!(matches!(refused, Err(ProofError::WrongRoot { expected, .. }) if expected == new_root));
}

#[test]
fn trustix_a_rewritten_history_is_proved_at_every_pair_of_sizes() {
    let honest = oracle::leaves(9);
    let mut rewritten = honest.clone();
    rewritten[0] = crate::hash::leaf_hash(b"rewritten");
    for new in 1..=9 {
        let tiles = MemoryTiles::new(&rewritten[..new]);
        let new_root = oracle::root(&rewritten[..new]);
        for old in 1..=new {
            let (m, n) = (old as u64, new as u64);
            let proof = prove_older_root(&tiles, m, n).unwrap();
            let proved = verify_older_root(m, n, &new_root, &proof);
            assert_eq!(
                proved,
                Ok(oracle::root(&rewritten[..old])),
                "{old} to {new}"
            );
            assert_ne!(proved, Ok(oracle::root(&honest[..old])));
            for wrong in damaged(&proof) {
                assert!(
                    verify_older_root(m, n, &new_root, &wrong).is_err(),
                    "{old} to {new}"
                );
            }
        }
    }
    let shrunk = ProofError::Shrunk { old: 2, new: 1 };
    assert_eq!(verify_older_root(2, 1, &EMPTY_ROOT, &[]), Err(shrunk));
    assert_eq!(verify_older_root(0, 1, &honest[0], &[]), Ok(EMPTY_ROOT));
}

#[test]
fn trustix_an_audit_proof_is_verified_and_not_merely_fetched() {
    let leaves = oracle::leaves(9);
    let (root, proof) = (oracle::root(&leaves), oracle::inclusion(4, &leaves));
    assert_eq!(verify_inclusion(4, 9, &leaves[4], &proof, &root), Ok(()));
    let other = verify_inclusion(4, 9, &leaves[5], &proof, &root);
    assert!(matches!(other, Err(ProofError::WrongRoot { .. })));
    let out_of_range = ProofError::IndexOutOfRange { index: 9, size: 9 };
    assert_eq!(
        verify_inclusion(9, 9, &leaves[4], &proof, &root),
        Err(out_of_range)
    );
    let nothing = ProofError::IndexOutOfRange { index: 0, size: 0 };
    assert_eq!(
        verify_inclusion(0, 0, &leaves[4], &[], &EMPTY_ROOT),
        Err(nothing)
    );
}

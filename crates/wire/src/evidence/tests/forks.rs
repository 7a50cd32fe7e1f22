//! Proof of equivocation: when it counts, and when it does not.

use super::*;

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
        verify_equivocation(log_key(ALICE).verifier(), &proof),
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

//! Proofs in files: their form, and that nothing but the whole of them proves anything.

use proptest::prelude::*;

use super::*;
use crate::{hash::leaf_hash, note::SigningKey, oracle};

const ORIGIN: &str = "logs.example.org/alice";

fn log_key() -> SigningKey {
    SigningKey::from_seed(ORIGIN.parse().unwrap(), [1; 32])
}

fn policy() -> TlogPolicy {
    let text = format!("log {}\nquorum none\n", log_key().verifier());
    TlogPolicy::parse(text.as_bytes()).unwrap()
}

fn leaves(size: u64) -> Vec<Hash> {
    oracle::leaves(usize::try_from(size).unwrap())
}

fn proof(index: u64, size: u64, extra: Option<Vec<u8>>) -> TlogProof {
    let leaves = leaves(size);
    let checkpoint = Checkpoint {
        origin: ORIGIN.into(),
        size,
        root: oracle::root(&leaves),
        extensions: Vec::new(),
    };
    TlogProof {
        extra,
        index,
        proof: oracle::inclusion(usize::try_from(index).unwrap(), &leaves),
        note: SignedNote::sign(&checkpoint.to_text(), &[&log_key()]).unwrap(),
    }
}

#[test]
fn a_proof_has_the_form_of_the_specification() {
    let proof = proof(2, 5, Some(b"extra".to_vec()));
    let text = String::from_utf8(proof.to_bytes()).unwrap();
    let lines: Vec<&str> = text.split('\n').collect();
    let extra = "extra ZXh0cmE=";
    assert_eq!(lines[..3], ["c2sp.org/tlog-proof@v1", extra, "index 2"]);
    assert_eq!(lines[3], leaves(5)[3].to_string());
    assert_eq!(lines[6..9], ["", ORIGIN, "5"]);
    assert_eq!(TlogProof::parse(text.as_bytes()), Ok(proof));
}

#[test]
fn every_entry_of_every_small_tree_proves_and_nothing_else_does() {
    for size in 1..10 {
        let leaves = leaves(size);
        for index in 0..size {
            let proof = proof(index, size, None);
            let position = usize::try_from(index).unwrap();
            let verified = proof.verify(&leaves[position], &policy()).unwrap();
            assert_eq!(verified.checkpoint.size, size);
            assert!(matches!(
                proof.verify(&leaf_hash(b"other"), &policy()),
                Err(NotProven::Inclusion(ProofError::WrongRoot { .. }))
            ));
            let mut beyond = proof.clone();
            beyond.index = size;
            assert_eq!(
                beyond.verify(&leaves[position], &policy()),
                Err(NotProven::Inclusion(ProofError::IndexOutOfRange {
                    index: size,
                    size
                }))
            );
        }
    }
}

#[test]
fn a_proof_from_a_log_that_is_not_in_the_policy_proves_nothing() {
    let stranger = SigningKey::from_seed("other".parse().unwrap(), [1; 32]);
    let text = format!("log {}\nquorum none\n", stranger.verifier());
    let policy = TlogPolicy::parse(text.as_bytes()).unwrap();
    assert_eq!(
        proof(2, 5, None).verify(&leaves(5)[2], &policy),
        Err(NotProven::Checkpoint(Violation::UnknownLog {
            origin: ORIGIN.into()
        }))
    );
}

#[test]
fn what_is_not_a_proof_is_refused_with_the_line() {
    use TlogProofError::{BadExtra, BadHash, BadIndex, NoCheckpoint, NotAProof, TooManyHashes};
    let note = String::from_utf8(proof(0, 1, None).note.to_bytes()).unwrap();
    let hash = leaf_hash(b"").to_string();
    let head = "c2sp.org/tlog-proof@v1\n";
    let long_extra = BASE64.encode(&vec![0; MAX_EXTRA_LENGTH + 1]);
    for (text, error) in [
        (String::new(), NotAProof),
        ("c2sp.org/tlog-proof@v1".into(), NotAProof),
        ("c2sp.org/tlog-proof@v2\n".into(), NotAProof),
        (head.into(), BadIndex { line: 2 }),
        (format!("{head}extra \n"), BadIndex { line: 3 }),
        (format!("{head}extra A\n"), BadExtra),
        (format!("{head}extra AAAB"), BadExtra),
        (format!("{head}extra {long_extra}\n"), BadExtra),
        (format!("{head}index 01\n\n{note}"), BadIndex { line: 2 }),
        (format!("{head}index 1"), BadIndex { line: 2 }),
        (format!("{head}Index 1\n\n{note}"), BadIndex { line: 2 }),
        (format!("{head}index 1\n{hash}"), NoCheckpoint),
        (format!("{head}index 1\n{hash}\n"), NoCheckpoint),
        (
            format!("{head}index 1\n{hash}\nAAAA\n\n{note}"),
            BadHash { line: 4 },
        ),
        (
            format!("{head}extra AAAB\nindex 1\nAAAA\n\n{note}"),
            BadHash { line: 4 },
        ),
        (
            format!("{head}index 1\n{}\n{note}", format!("{hash}\n").repeat(65)),
            TooManyHashes,
        ),
        (format!("{head}index 1\n\n"), NoteError::NoSignatures.into()),
        (
            format!("{head}index 1\n\n{}", note.replacen("\n1\n", "\n01\n", 1)),
            CheckpointError::BadSize.into(),
        ),
        (
            "x".repeat(MAX_TLOG_PROOF_LENGTH + 1),
            TlogProofError::TooLong {
                length: MAX_TLOG_PROOF_LENGTH + 1,
            },
        ),
    ] {
        let shown: String = text.chars().take(200).collect();
        assert_eq!(TlogProof::parse(text.as_bytes()), Err(error), "{shown}");
    }
    // An empty `extra` is data of no bytes.
    let empty = format!("{head}extra \nindex 0\n\n{note}");
    let read = TlogProof::parse(empty.as_bytes()).unwrap();
    assert_eq!(read.extra, Some(Vec::new()));
    assert_eq!(read.to_bytes(), empty.as_bytes());
}

#[test]
fn no_one_bit_change_of_a_proof_without_extra_data_verifies() {
    let whole = proof(2, 5, None).to_bytes();
    for bit in 0..whole.len() * 8 {
        let mut changed = whole.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let proven = TlogProof::parse(&changed)
            .is_ok_and(|proof| proof.verify(&leaves(5)[2], &policy()).is_ok());
        assert!(!proven, "bit {bit}: {}", String::from_utf8_lossy(&changed));
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic_and_proofs_print_as_they_were(
        noise in proptest::collection::vec(any::<u8>(), 0..200),
        extra in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..100)),
        size in 1..40_u64, index in 0..40_u64, flip in any::<u16>(), cut in 0..700_usize,
    ) {
        prop_assert!(TlogProof::parse(&noise).is_err());
        let proof = proof(index % size, size, extra);
        let mut bytes = proof.to_bytes();
        prop_assert_eq!(TlogProof::parse(&bytes), Ok(proof));
        let position = usize::from(flip) % bytes.len();
        bytes[position] ^= 1;
        if let Ok(read) = TlogProof::parse(&bytes) {
            prop_assert_eq!(read.to_bytes(), bytes.clone());
        }
        bytes.truncate(cut);
        if let Ok(read) = TlogProof::parse(&bytes) {
            prop_assert_eq!(read.to_bytes(), bytes);
        }
    }
}

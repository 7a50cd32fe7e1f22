//! What the published vectors are made of: keys from fixed seeds, a log of known entries, and its
//! signed checkpoints.

use quorix_tlog::{
    checkpoint::Checkpoint,
    cosignature::{Algorithm, CosignerSigningKey},
    hash::{EMPTY_ROOT, Hash, leaf_hash, node_hash},
    note::{NoteSignature, SignedNote, SigningKey},
};

pub(crate) const ORIGIN: &str = "logs.example.org/alice";
pub(crate) const TIME: u64 = 1_790_000_000;

pub(crate) fn log() -> SigningKey {
    SigningKey::from_seed(ORIGIN.parse().unwrap(), [1; 32])
}

pub(crate) fn log_quantum() -> CosignerSigningKey {
    CosignerSigningKey::from_seed(ORIGIN.parse().unwrap(), Algorithm::MlDsa44, [2; 32])
}

/// Witnesses 1 and 2 sign with Ed25519, 3 with ML-DSA-44.
pub(crate) fn witness(number: u8) -> CosignerSigningKey {
    let algorithm = if number == 3 {
        Algorithm::MlDsa44
    } else {
        Algorithm::Ed25519
    };
    let name = format!("witness{number}.example").parse().unwrap();
    CosignerSigningKey::from_seed(name, algorithm, [10 + number; 32])
}

/// The entries are the texts `entry 0`, `entry 1`, …
pub(crate) fn leaves(size: u64) -> Vec<Hash> {
    (0..size)
        .map(|index| leaf_hash(format!("entry {index}").as_bytes()))
        .collect()
}

pub(crate) fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => EMPTY_ROOT,
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            node_hash(&root(left), &root(right))
        }
    }
}

pub(crate) fn inclusion(index: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let k = leaves.len().next_power_of_two() / 2;
    let (left, right) = leaves.split_at(k);
    let (mut path, sibling) = if index < k {
        (inclusion(index, left), root(right))
    } else {
        (inclusion(index - k, right), root(left))
    };
    path.push(sibling);
    path
}

pub(crate) fn checkpoint(size: u64) -> Checkpoint {
    Checkpoint {
        origin: ORIGIN.into(),
        size,
        root: root(&leaves(size)),
        extensions: Vec::new(),
    }
}

pub(crate) fn note(size: u64, lines: Vec<NoteSignature>) -> SignedNote {
    SignedNote::assemble(&checkpoint(size).to_text(), lines).unwrap()
}

pub(crate) fn own(size: u64) -> NoteSignature {
    log().sign(&checkpoint(size).to_text())
}

pub(crate) fn by(number: u8, size: u64, time: u64) -> NoteSignature {
    witness(number).cosign(&checkpoint(size), time).unwrap()
}

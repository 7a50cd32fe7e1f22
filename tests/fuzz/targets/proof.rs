//! Proofs of inclusion and consistency in small trees: the honest proof, altered as the input says, is accepted exactly
//! if nothing was altered. The oracle is the recursive definition of RFC 6962 §2.1 and shares no code with the verifiers.

use quorix_tlog::hash::{Hash, leaf_hash, node_hash};
use quorix_tlog::proof::{verify_consistency, verify_inclusion, verify_older_root};

/// Largest tree that is tried.
const LEAVES_MAX: usize = 80;

/// Two sizes or an index and a size, and what is done to the proof: pairs of a command and its argument.
pub(super) fn proof(data: &[u8]) {
    let [kind, first, size, commands @ ..] = data else {
        return;
    };
    let size = usize::from(*size) % LEAVES_MAX + 1;
    let leaves: Vec<Hash> = (0..size).map(|n| leaf_hash(&n.to_be_bytes())).collect();
    if kind % 2 == 0 {
        inclusion(usize::from(*first) % size, &leaves, commands);
    } else {
        consistency(usize::from(*first) % size + 1, &leaves, commands);
    }
}

fn inclusion(index: usize, leaves: &[Hash], commands: &[u8]) {
    let honest = path(index, leaves);
    let mut given = (leaves[index], honest.clone(), root(leaves), index as u64);
    for pair in commands.chunks_exact(2) {
        let [command, argument] = [pair[0], pair[1]];
        match command % 8 {
            0 => given.0 = flipped(&given.0, argument),
            1 => given.2 = flipped(&given.2, argument),
            2 => given.3 = u64::from(argument),
            3 => given.3 = given.3.wrapping_sub(u64::from(argument)),
            _ => alter(&mut given.1, command, argument),
        }
    }
    let (leaf, proof, claimed, at) = given;
    let verified = verify_inclusion(at, leaves.len() as u64, &leaf, &proof, &claimed);
    let there = usize::try_from(at).ok().filter(|at| *at < leaves.len());
    let expected = there.is_some_and(|at| match leaves {
        // The tree of one leaf is that leaf, whatever it is.
        [_] => leaf == claimed && proof.is_empty(),
        _ => leaf == leaves[at] && claimed == root(leaves) && proof == path(at, leaves),
    });
    assert_eq!(verified.is_ok(), expected, "{verified:?}");
}

fn consistency(old: usize, leaves: &[Hash], commands: &[u8]) {
    let honest = subproof(old, leaves, true);
    let (old_root, new_root) = (root(&leaves[..old]), root(leaves));
    let mut given = (old_root, honest.clone(), new_root);
    for pair in commands.chunks_exact(2) {
        let [command, argument] = [pair[0], pair[1]];
        match command % 8 {
            0 => given.0 = flipped(&given.0, argument),
            1 => given.2 = flipped(&given.2, argument),
            _ => alter(&mut given.1, command, argument),
        }
    }
    let (old_size, size) = (old as u64, leaves.len() as u64);
    let verified = verify_consistency(old_size, size, &given.0, &given.2, &given.1);
    let expected = if old == leaves.len() {
        // Every tree extends itself, whatever it is.
        given.0 == given.2 && given.1.is_empty()
    } else {
        given == (old_root, honest, new_root)
    };
    assert_eq!(verified.is_ok(), expected, "{verified:?}");
    // Never panics, and never says that the tree began as another one than it did.
    if let Ok(found) = verify_older_root(old_size, size, &new_root, &given.1) {
        assert_eq!(found, old_root);
    }
}

fn alter(proof: &mut Vec<Hash>, command: u8, argument: u8) {
    let place = usize::from(argument) % (proof.len() + 1);
    match command % 8 {
        4 if place < proof.len() => {
            proof.remove(place);
        }
        5 => proof.insert(place, leaf_hash(&[argument])),
        6 if place < proof.len() => proof[place] = flipped(&proof[place], argument),
        7 if place < proof.len() => {
            let twice = proof[place];
            proof.push(twice);
        }
        _ => (),
    }
}

/// With one bit flipped.
fn flipped(hash: &Hash, bit: u8) -> Hash {
    let mut bytes = *hash.as_bytes();
    bytes[usize::from(bit) / 8] ^= 1 << (bit % 8);
    Hash::from_bytes(bytes)
}

fn split(leaves: &[Hash]) -> (&[Hash], &[Hash]) {
    leaves.split_at(leaves.len().next_power_of_two() / 2)
}

fn root(leaves: &[Hash]) -> Hash {
    if let [leaf] = leaves {
        return *leaf;
    }
    let (left, right) = split(leaves);
    node_hash(&root(left), &root(right))
}

fn path(index: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let (left, right) = split(leaves);
    let (mut path, sibling) = match index.checked_sub(left.len()) {
        None => (path(index, left), root(right)),
        Some(index) => (path(index, right), root(left)),
    };
    path.push(sibling);
    path
}

fn subproof(old: usize, leaves: &[Hash], is_known: bool) -> Vec<Hash> {
    if old == leaves.len() {
        return if is_known {
            Vec::new()
        } else {
            vec![root(leaves)]
        };
    }
    let (left, right) = split(leaves);
    let (mut proof, sibling) = match old.checked_sub(left.len()) {
        None | Some(0) => (subproof(old, left, is_known), root(right)),
        Some(old) => (subproof(old, right, false), root(left)),
    };
    proof.push(sibling);
    proof
}

//! The Merkle root over what a build used: RFC 6962 over one line `<base name> <fingerprint hex>` for each path in the
//! closure of the build's direct inputs, ascending.
//!
//! A small set that is complete before it is hashed, which is what `rs_merkle` is good for, given a hasher that tells
//! leaves from nodes. The log's own tree is not of this kind and uses `quorix-tlog`.

use std::collections::BTreeMap;

use quorix_nix::fingerprint::FingerprintDigest;
use quorix_nix::store_path::StorePath;
use quorix_tlog::hash::Hash;
use quorix_wire::entry::input_line;
use rs_merkle::{Hasher, MerkleTree};
use sha2::{Digest, Sha256};

/// The root over these inputs; SHA-256 of nothing where there are none.
#[must_use]
pub fn inputs_root(inputs: &BTreeMap<StorePath, FingerprintDigest>) -> Hash {
    let leaves: Vec<[u8; 32]> = inputs
        .iter()
        .map(|(path, digest)| Rfc6962::hash(input_line(path, digest).as_bytes()))
        .collect();
    let root = MerkleTree::<Rfc6962>::from_leaves(&leaves).root();
    Hash::from_bytes(root.unwrap_or_else(|| Sha256::digest([]).into()))
}

/// RFC 6962 §2.1: leaves and nodes are hashed with different first bytes, so that neither passes for the other.
#[derive(Clone)]
struct Rfc6962;

impl Hasher for Rfc6962 {
    type Hash = [u8; 32];

    fn hash(leaf: &[u8]) -> [u8; 32] {
        Sha256::new()
            .chain_update([0])
            .chain_update(leaf)
            .finalize()
            .into()
    }

    fn concat_and_hash(left: &[u8; 32], right: Option<&[u8; 32]>) -> [u8; 32] {
        let Some(right) = right else {
            return *left;
        };
        let node = Sha256::new()
            .chain_update([1])
            .chain_update(left)
            .chain_update(right);
        node.finalize().into()
    }
}

#[cfg(test)]
mod tests {
    use quorix_nix::store_path::HashPart;
    use quorix_tlog::compact_range::CompactRange;
    use quorix_tlog::hash::leaf_hash;
    use quorix_wire::entry::encode_inputs;

    use super::*;

    fn inputs(count: u8) -> BTreeMap<StorePath, FingerprintDigest> {
        (0..count)
            .map(|number| {
                let path = StorePath::new(&HashPart::from_bytes(&[number; 20]), "input").unwrap();
                (path, FingerprintDigest::from_bytes([number; 32]))
            })
            .collect()
    }

    #[test]
    fn the_root_is_that_of_a_log_with_the_lines_of_the_blob_as_its_leaves() {
        for count in 0..=70 {
            let inputs = inputs(count);
            let blob = String::from_utf8(encode_inputs(&inputs)).unwrap();
            let mut log = CompactRange::new();
            for line in blob.lines() {
                log.push(leaf_hash(line.as_bytes()));
            }
            assert_eq!(log.size(), u64::from(count));
            assert_eq!(inputs_root(&inputs), log.root(), "{count} inputs");
        }
    }

    #[test]
    fn no_inputs_have_the_root_of_an_empty_log() {
        assert_eq!(
            inputs_root(&BTreeMap::new()).to_hex(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }

    #[test]
    fn a_node_never_passes_for_a_leaf() {
        let (left, right) = (Rfc6962::hash(b"a"), Rfc6962::hash(b"b"));
        let node = Rfc6962::concat_and_hash(&left, Some(&right));
        assert_ne!(node, Rfc6962::hash(&[left, right].concat()));
    }
}

//! The tree against three independent implementations: rs_merkle (with RFC 6962's two prefixes),
//! ct-merkle and tlog_tiles. Roots and inclusion proofs agree four ways, consistency proofs three
//! ways (rs_merkle has none): byte for byte, and each verifier accepts what the others made.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

#[path = "memory/tiles.rs"]
mod tiles;

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use quorix_tlog::{
    hash::{Hash, leaf_hash, node_hash},
    proof::{prove_consistency, prove_inclusion, root_of, verify_consistency, verify_inclusion},
};
use sha2::Sha256;
use tiles::Tiles;

const SIZES: [usize; 16] = [1, 2, 3, 4, 5, 7, 8, 9, 31, 33, 255, 256, 257, 300, 511, 513];

fn entries(count: usize) -> Vec<Vec<u8>> {
    (0..count)
        .map(|n| format!("entry {n}").into_bytes())
        .collect()
}

fn tiles(entries: &[Vec<u8>]) -> Tiles {
    Tiles::of(entries.iter().map(|entry| leaf_hash(entry)))
}

/// RFC 6962 hashing for rs_merkle.
#[derive(Clone)]
struct Rfc6962;

impl rs_merkle::Hasher for Rfc6962 {
    type Hash = [u8; 32];

    fn hash(entry: &[u8]) -> [u8; 32] {
        *leaf_hash(entry).as_bytes()
    }

    fn concat_and_hash(left: &[u8; 32], right: Option<&[u8; 32]>) -> [u8; 32] {
        let Some(right) = right else { return *left };
        *node_hash(&Hash::from_bytes(*left), &Hash::from_bytes(*right)).as_bytes()
    }
}

/// All hashes of a tree in tlog_tiles' own storage order.
struct StoredHashes(Vec<tlog_tiles::Hash>);

impl tlog_tiles::HashReader for StoredHashes {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog_tiles::Hash>, tlog_tiles::Error> {
        Ok(indexes
            .iter()
            .map(|index| self.0[usize::try_from(*index).unwrap()])
            .collect())
    }
}

fn stored_hashes(entries: &[Vec<u8>]) -> StoredHashes {
    let mut stored = StoredHashes(Vec::new());
    for (n, entry) in (0..).zip(entries) {
        let new = tlog_tiles::stored_hashes(n, entry, &stored).unwrap();
        stored.0.extend(new);
    }
    stored
}

fn ct_tree(entries: &[Vec<u8>]) -> MemoryBackedTree<Sha256, Vec<u8>> {
    let mut tree = MemoryBackedTree::new();
    entries.iter().for_each(|entry| tree.push(entry.clone()));
    tree
}

fn bytes(hashes: &[Hash]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()
}

fn theirs(hashes: &[Hash]) -> Vec<tlog_tiles::Hash> {
    hashes
        .iter()
        .map(|hash| tlog_tiles::Hash(*hash.as_bytes()))
        .collect()
}

fn ours(hashes: &[tlog_tiles::Hash]) -> Vec<Hash> {
    hashes.iter().map(|hash| Hash::from_bytes(hash.0)).collect()
}

#[test]
fn roots_and_inclusion_proofs_agree_four_ways() {
    for size in SIZES {
        let entries = entries(size);
        let tiles = tiles(&entries);
        let n = size as u64;
        let root = root_of(&tiles, n).unwrap();

        let leaves: Vec<[u8; 32]> = entries.iter().map(|e| *leaf_hash(e).as_bytes()).collect();
        let rs = rs_merkle::MerkleTree::<Rfc6962>::from_leaves(&leaves);
        let ct = ct_tree(&entries);
        let go = stored_hashes(&entries);
        assert_eq!(rs.root(), Some(*root.as_bytes()));
        assert_eq!(ct.root().as_bytes()[..], root.as_bytes()[..]);
        assert_eq!(tlog_tiles::tree_hash(n, &go).unwrap().0, *root.as_bytes());

        for (index, entry) in entries.iter().enumerate() {
            let at = index as u64;
            let proof = prove_inclusion(&tiles, at, n).unwrap();
            assert_eq!(
                rs.proof(&[index]).to_bytes(),
                bytes(&proof),
                "{index} of {size}"
            );
            let from_ct = ct.prove_inclusion(index);
            assert_eq!(from_ct.as_bytes(), bytes(&proof));
            let from_go = tlog_tiles::prove_record(n, at, &go).unwrap();
            assert_eq!(ours(&from_go), proof);

            let leaf = leaf_hash(entry);
            assert_eq!(verify_inclusion(at, n, &leaf, &proof, &root), Ok(()));
            ct.root().verify_inclusion(entry, at, &from_ct).unwrap();
            let (leaf, root) = (theirs(&[leaf])[0], theirs(&[root])[0]);
            tlog_tiles::check_record(&theirs(&proof), n, root, at, leaf).unwrap();
        }
    }
}

#[test]
fn consistency_proofs_agree_three_ways() {
    let all = entries(513);
    for new in SIZES {
        let (entries, n) = (&all[..new], new as u64);
        let (tiles, ct, go) = (tiles(entries), ct_tree(entries), stored_hashes(entries));
        let root = root_of(&tiles, n).unwrap();
        for old in SIZES.into_iter().filter(|old| *old <= new) {
            let m = old as u64;
            let old_root = root_of(&tiles, m).unwrap();
            let proof = prove_consistency(&tiles, m, n).unwrap();
            let from_ct = ct.prove_consistency(new - old);
            assert_eq!(from_ct.as_bytes(), bytes(&proof), "{old} to {new}");
            let from_go = tlog_tiles::prove_tree(n, m, &go).unwrap();
            assert_eq!(ours(&from_go), proof);

            assert_eq!(verify_consistency(m, n, &old_root, &root, &proof), Ok(()));
            let ct_old = ct_tree(&entries[..old]).root();
            ct.root().verify_consistency(&ct_old, &from_ct).unwrap();
            let (new_hash, old_hash) = (theirs(&[root])[0], theirs(&[old_root])[0]);
            tlog_tiles::check_tree(&theirs(&proof), n, new_hash, m, old_hash).unwrap();
        }
    }
}

#[test]
fn surplus_hashes_that_rs_merkle_accepts_are_refused() {
    let entries = entries(6);
    let leaves: Vec<[u8; 32]> = entries.iter().map(|e| *leaf_hash(e).as_bytes()).collect();
    let tree = rs_merkle::MerkleTree::<Rfc6962>::from_leaves(&leaves);
    let root = Hash::from_bytes(tree.root().unwrap());
    let mut hashes = tree.proof(&[3]).proof_hashes().to_vec();
    hashes.push([7; 32]);

    let lenient = rs_merkle::MerkleProof::<Rfc6962>::new(hashes.clone());
    assert!(lenient.verify(*root.as_bytes(), &[3], &[leaves[3]], 6));
    let surplus: Vec<Hash> = hashes.into_iter().map(Hash::from_bytes).collect();
    let refused = verify_inclusion(3, 6, &leaf_hash(&entries[3]), &surplus, &root);
    let given = surplus.len();
    assert_eq!(
        refused,
        Err(quorix_tlog::proof::ProofError::Surplus { given })
    );
}

#[test]
fn checkpoints_read_the_same_as_in_tlog_tiles() {
    use quorix_tlog::checkpoint::Checkpoint;
    let checkpoint = Checkpoint {
        origin: "logs.example.org/alice".to_owned(),
        size: 70_000,
        root: leaf_hash(b"root"),
        extensions: Vec::new(),
    };
    let text = checkpoint.to_text();
    let read = tlog_tiles::Checkpoint::from_bytes(text.as_bytes()).unwrap();
    assert_eq!(read.origin(), checkpoint.origin);
    assert_eq!(
        (read.size(), read.hash().0),
        (checkpoint.size, *checkpoint.root.as_bytes())
    );
    assert_eq!(read.to_bytes(), text.as_bytes());
}

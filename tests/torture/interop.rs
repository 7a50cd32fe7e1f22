//! Go's reference implementation reads what we write, and we read what it writes: notes, checkpoints, tiles, bundles and
//! proofs of both kinds, at several sizes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use quorix_testkit::entries::log_key;
use quorix_tlog::bundle;
use quorix_tlog::checkpoint::SignedCheckpoint;
use quorix_tlog::hash::{Hash, leaf_hash};
use quorix_tlog::note::{SignedNote, SigningKey, VerifierKey};
use quorix_tlog::proof::{
    prove_consistency, prove_inclusion, root_of, verify_consistency, verify_inclusion,
};
use quorix_tlog::tile::{TileId, TilePath, parse_hashes, tiles_of};

use crate::go::reference;
use crate::tiles::Tiles;

const SIZES: [u64; 14] = [1, 2, 3, 4, 7, 8, 255, 256, 257, 511, 512, 513, 600, 70_000];

fn leaf(number: u64) -> Hash {
    leaf_hash(&number.to_be_bytes())
}

fn line(kind: &str, size: u64, root: &Hash, at: u64, hash: &Hash, proof: &[Hash]) -> String {
    let mut line = format!("{kind} {size} {root} {at} {hash}");
    for hash in proof {
        write!(line, " {hash}").unwrap();
    }
    line
}

/// With one bit of its first hash flipped.
fn altered(proof: &[Hash]) -> Option<Vec<Hash>> {
    let (first, rest) = proof.split_first()?;
    let mut bytes = *first.as_bytes();
    bytes[0] ^= 1;
    Some([&[Hash::from_bytes(bytes)], rest].concat())
}

#[test]
fn interop_go_accepts_every_proof_that_we_make_and_refuses_the_altered_ones() {
    let (mut lines, mut expected) = (Vec::new(), Vec::new());
    let mut ask = |line: String, answer: &'static str| {
        lines.push(line);
        expected.push(answer);
    };
    for size in SIZES {
        let tiles = Tiles::of((0..size).map(leaf));
        let root = root_of(&tiles, size).unwrap();
        for at in [0, size / 3, size / 2, size - 1] {
            let proof = prove_inclusion(&tiles, at, size).unwrap();
            ask(line("inclusion", size, &root, at, &leaf(at), &proof), "ok");
            if let Some(altered) = altered(&proof) {
                ask(
                    line("inclusion", size, &root, at, &leaf(at), &altered),
                    "refused",
                );
            }
            let surplus = [proof, vec![root]].concat();
            ask(
                line("inclusion", size, &root, at, &leaf(at), &surplus),
                "refused",
            );
        }
        for old in SIZES.into_iter().filter(|old| *old <= size) {
            let old_root = root_of(&tiles, old).unwrap();
            let proof = prove_consistency(&tiles, old, size).unwrap();
            ask(
                line("consistency", size, &root, old, &old_root, &proof),
                "ok",
            );
            if let Some(altered) = altered(&proof) {
                ask(
                    line("consistency", size, &root, old, &old_root, &altered),
                    "refused",
                );
            }
        }
    }
    let answers = reference(&["proofs"], (lines.join("\n") + "\n").as_bytes()).unwrap();
    let answers: Vec<&str> = answers.lines().collect();
    assert_eq!(answers.len(), expected.len());
    for ((line, answer), expected) in lines.iter().zip(answers).zip(expected) {
        assert_eq!(answer, expected, "{line}");
    }
}

#[test]
fn interop_go_opens_the_notes_that_we_sign_and_names_the_same_signers() {
    let keys = [
        "logs.example.org/alice",
        "witness.example/w1",
        "example.com/ö",
    ]
    .map(log_key);
    let text = "logs.example.org/alice\n7\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\nwith a blank line\n";
    let note = SignedNote::sign(text, &[&keys[0], &keys[1], &keys[2]])
        .unwrap()
        .to_bytes();
    let vkeys: Vec<String> = keys.iter().map(|key| key.verifier().to_string()).collect();
    let said = reference(&["open", &vkeys[0], &vkeys[2]], &note).unwrap();
    let line = |how: &str, key: &SigningKey| {
        let id = u32::from_be_bytes(key.verifier().id());
        format!("{how} {} {id:08x}\n", key.verifier().name())
    };
    let expected = line("verified", &keys[0])
        + &line("verified", &keys[2])
        + &line("unknown", &keys[1])
        + &format!("{text:?}\n");
    assert_eq!(said, expected);

    let forged = String::from_utf8(note).unwrap().replace("\n7\n", "\n8\n");
    let refused = reference(&["open", &vkeys[0]], forged.as_bytes()).unwrap_err();
    let expected = line("invalid signature for key", &keys[0]).replace("/alice ", "/alice+");
    assert_eq!(refused, expected);
}

#[test]
fn interop_go_wrote_a_log_of_which_we_accept_every_checkpoint_tile_entry_and_proof() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let sizes: Vec<String> = SIZES.iter().map(u64::to_string).collect();
    let mut arguments = vec!["write", dir.to_str().unwrap(), "example.com/go"];
    arguments.extend(sizes.iter().map(String::as_str));
    reference(&arguments, b"").unwrap();
    let read = |name: &str| fs::read_to_string(dir.join(name)).unwrap();
    let key: VerifierKey = read("vkey").parse().unwrap();
    assert_eq!(key.to_string(), read("vkey"));

    for size in SIZES {
        let signed = fs::read(dir.join(format!("checkpoint.{size}"))).unwrap();
        let opened = SignedCheckpoint::open(&signed, &key, "example.com/go").unwrap();
        let (checkpoint, tiles) = (opened.checkpoint(), tiles_on_disk(dir, size));
        assert_eq!(checkpoint.size, size);
        assert_eq!(root_of(&tiles, size).unwrap(), checkpoint.root);
    }

    for line in read("proofs").lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let hash = |word: &&str| word.parse::<Hash>().unwrap();
        let (size, at): (u64, u64) = (words[1].parse().unwrap(), words[3].parse().unwrap());
        let (root, start) = (hash(&words[2]), hash(&words[4]));
        // Go prints a proof without hashes as an empty word.
        let proof: Vec<Hash> = words[5..]
            .iter()
            .filter(|word| !word.is_empty())
            .map(hash)
            .collect();
        let tiles = tiles_on_disk(dir, size);
        if words[0] == "inclusion" {
            assert_eq!(
                verify_inclusion(at, size, &start, &proof, &root),
                Ok(()),
                "{line}"
            );
            assert_eq!(prove_inclusion(&tiles, at, size).unwrap(), proof);
        } else {
            assert_eq!(
                verify_consistency(at, size, &start, &root, &proof),
                Ok(()),
                "{line}"
            );
            assert_eq!(prove_consistency(&tiles, at, size).unwrap(), proof);
        }
    }

    // What Go signs with its key we sign with the same key, to the byte.
    let ours: SigningKey = read("skey").parse().unwrap();
    let signed = fs::read(dir.join("checkpoint")).unwrap();
    let note = SignedNote::parse(&signed).unwrap();
    let same = SignedNote::sign(note.text(), &[&ours]).unwrap();
    assert_eq!(same.to_bytes(), signed);
}

/// All hash tiles of a log in a folder at this size; its bundles are held against them.
fn tiles_on_disk(dir: &Path, size: u64) -> Tiles {
    let mut tiles = BTreeMap::new();
    for (id, width) in tiles_of(size) {
        let bytes = fs::read(dir.join(TilePath { id, width }.to_string())).unwrap();
        let hashes = parse_hashes(&bytes, width).unwrap();
        if id == TileId::hashes(0, id.index) {
            let id = TileId::entries(id.index);
            let bytes = fs::read(dir.join(TilePath { id, width }.to_string())).unwrap();
            let entries = bundle::parse(&bytes, width).unwrap();
            assert!(
                entries
                    .iter()
                    .zip(&hashes)
                    .all(|(entry, hash)| leaf_hash(entry) == *hash)
            );
        }
        tiles.insert(id, hashes);
    }
    Tiles::from(tiles)
}

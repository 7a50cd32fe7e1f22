//! Texts and encodings: what is accepted has one spelling, so printing it gives the bytes that were read.

use std::str::{FromStr, from_utf8};

use quorix_tlog::bundle as entry_bundle;
use quorix_tlog::checkpoint::{Checkpoint, SignedCheckpoint};
use quorix_tlog::hash::leaf_hash;
use quorix_tlog::note::{KeyName, SignedNote, SigningKey, VerifierKey};
use quorix_tlog::tile::{TileLevel, TilePath, hashes_prefix, parse_hashes};
use quorix_tlog::tlog_policy::TlogPolicy;
use quorix_tlog::tlog_proof::TlogProof;
use quorix_tlog::witness::{AddCheckpoint, read_size};
use quorix_trust::policy::Policy;
use quorix_wire::entry as log_entry;

const ORIGIN: &str = "logs.example.org/alice";

/// The key by which the signed notes of the corpora are signed.
fn key_of_the_corpora() -> SigningKey {
    SigningKey::from_seed(ORIGIN.parse().expect("a valid name"), [7; 32])
}

/// A signed note.
pub(super) fn note(data: &[u8]) {
    let Ok(note) = SignedNote::parse(data) else {
        return;
    };
    assert_eq!(note.to_bytes(), data, "a note has one spelling");
    let key = key_of_the_corpora();
    if note.verify(&[key.verifier()]).is_ok() {
        // Ed25519 is deterministic: the one good signature is the one that the key makes.
        let good = key.sign(note.text());
        let named = |name: &KeyName| name == key.verifier().name();
        let ours = note.signatures().iter().filter(|line| named(line.name()));
        let mut ours = ours.filter(|line| line.id() == good.id()).peekable();
        assert!(ours.peek().is_some(), "accepted without a signature");
        assert!(
            ours.all(|line| *line == good),
            "a forged signature was accepted"
        );
    }
}

/// A checkpoint, alone and signed.
pub(super) fn checkpoint(data: &[u8]) {
    let key = key_of_the_corpora();
    if let Ok(opened) = SignedCheckpoint::open(data, key.verifier(), ORIGIN) {
        assert_eq!(opened.bytes(), data);
        assert_eq!(opened.checkpoint().origin, ORIGIN);
    }
    let Ok(text) = from_utf8(data) else { return };
    if let Ok(read) = Checkpoint::parse(text) {
        assert_eq!(read.to_text(), text, "a checkpoint has one spelling");
        assert!(read.size <= quorix_tlog::MAX_TREE_SIZE);
    }
}

/// Names and keys in their texts.
pub(super) fn key(data: &[u8]) {
    let Ok(text) = from_utf8(data) else { return };
    if let Ok(name) = KeyName::from_str(text) {
        assert_eq!(name.as_str(), text);
    }
    if let Ok(key) = VerifierKey::from_str(text) {
        assert_eq!(key.to_string(), text, "a vkey has one spelling");
    }
    if let Ok(key) = SigningKey::from_str(text) {
        assert_eq!(key.to_text(), text, "a secret key has one spelling");
    }
}

/// A C2SP tlog-policy file.
pub(super) fn tlog_policy(data: &[u8]) {
    match TlogPolicy::parse(data) {
        Ok(policy) => {
            let counted = policy.counted();
            assert!(counted.iter().all(|at| *at < policy.witnesses.len()));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// A C2SP tlog-proof file.
pub(super) fn tlog_proof(data: &[u8]) {
    if let Ok(proof) = TlogProof::parse(data) {
        assert_eq!(proof.to_bytes(), data, "a proof has one spelling");
        let nobody = proof.verify(&leaf_hash(b"no entry"), &TlogPolicy::nobody());
        assert!(nobody.is_err(), "proven under a policy that knows no log");
    }
}

/// What a log sends to a witness.
pub(super) fn witness_request(data: &[u8]) {
    if let Ok(request) = AddCheckpoint::parse(data) {
        assert_eq!(request.to_bytes(), data, "a request has one spelling");
    }
}

/// What a witness answers that has cosigned a larger tree.
pub(super) fn witness_reply(data: &[u8]) {
    if let Ok(size) = read_size(data) {
        let digits = size.to_string();
        assert!(data.starts_with(digits.as_bytes()), "{size}");
    }
}

/// A policy file of Quorix.
pub(super) fn policy(data: &[u8]) {
    let Ok(text) = from_utf8(data) else { return };
    match Policy::parse(text) {
        Ok(policy) => {
            assert_eq!(policy.text, text);
            assert!(policy.default < policy.rules.len());
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// The canonical bytes of a log entry.
pub(super) fn entry(data: &[u8]) {
    match log_entry::decode(data) {
        Ok(entry) => {
            let again = log_entry::encode(&entry);
            assert_eq!(again.as_deref(), Ok(data), "an entry has one encoding");
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// The lists of references and inputs that entries name.
pub(super) fn lists(data: &[u8]) {
    if let Ok(references) = log_entry::decode_references(data) {
        assert_eq!(log_entry::encode_references(&references), data);
    }
    if let Ok(inputs) = log_entry::decode_inputs(data) {
        assert_eq!(log_entry::encode_inputs(&inputs), data);
    }
}

/// The path of a tile.
pub(super) fn tile_path(data: &[u8]) {
    let Ok(text) = from_utf8(data) else { return };
    if let Ok(path) = TilePath::from_str(text) {
        assert_eq!(path.to_string(), text, "a tile has one path");
        assert!((1..=256).contains(&path.width));
        if let TileLevel::Hashes(level) = path.id.level {
            assert!(level <= 63);
        }
    }
}

/// An entry bundle and a hash tile of so many entries: the first byte, and one.
pub(super) fn bundle(data: &[u8]) {
    let Some((count, bytes)) = data.split_first() else {
        return;
    };
    let count = u16::from(*count) + 1;
    if let Ok(entries) = entry_bundle::parse(bytes, count) {
        assert_eq!(entries.len(), usize::from(count));
        let mut again = Vec::new();
        for entry in entries {
            entry_bundle::append(&mut again, entry).expect("it was in a bundle");
        }
        assert_eq!(again, bytes, "a bundle has one spelling");
    }
    if let Ok(narrow) = entry_bundle::prefix(bytes, count) {
        assert!(bytes.starts_with(narrow));
        assert!(entry_bundle::parse(narrow, count).is_ok());
    }
    if let Ok(hashes) = parse_hashes(bytes, count) {
        assert_eq!(quorix_tlog::tile::encode_hashes(&hashes), bytes);
    }
    if let Ok(narrow) = hashes_prefix(bytes, count) {
        assert_eq!(narrow.len(), usize::from(count) * 32);
    }
}

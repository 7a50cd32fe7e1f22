//! Keys that begin as another's does, to make the proof of what a log says of it long: as deep as can be afforded here
//! at a running log, and as deep as 2⁵⁷ hashes go at a log that the test plays.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use quorix::demo::world::BuilderHost;
use quorix_nix::store_path::StoreDir;
use quorix_testkit::entries::{a_path, a_small_entry, an_attestation, log_key};
use quorix_testkit::tree::{Grower, naive_root};
use quorix_tlog::checkpoint::Checkpoint;
use quorix_tlog::hash::{Hash, leaf_hash};
use quorix_tlog::index::answer::{Answer, Latest};
use quorix_tlog::index::key_list::{KeyList, Value};
use quorix_tlog::index::page::PageId;
use quorix_tlog::index::proven::{self, ProvenEntry};
use quorix_tlog::index::statement::Statement;
use quorix_tlog::index::trie::{PageStore, Trie};
use quorix_tlog::index::{Key, signer_of};
use quorix_wire::index::output_key;
use serde_json::Value as Json;

use super::site::SiteLog;
use crate::lookups::lookup;
use crate::stage::quorix;
use crate::world::{Answer as Ran, covered, submit};

/// The longest that a proof is to be, in bytes.
const PROOF_BYTES_MAX: u64 = 2_048;

fn key_of(name: &str) -> Key {
    output_key(&StoreDir::default(), &a_path(name))
}

/// How many bits two keys begin alike with.
fn shared(one: &Key, other: &Key) -> u32 {
    let mut bits = 0;
    for (one, other) in one.as_bytes().iter().zip(other.as_bytes()) {
        bits += (one ^ other).leading_zeros();
        if one != other {
            break;
        }
    }
    bits
}

/// Steps and bytes of the proof that came with an answer about `hello`, which says this many entries.
fn proof(ran: &Ran, entries: usize) -> (u64, u64) {
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    let said: Json = ran.json();
    assert_eq!(said["entries"].as_array().unwrap().len(), entries);
    let of = |field: &str| said[field].as_u64().unwrap();
    (of("proof_steps"), of("proof_bytes"))
}

#[tokio::test]
async fn keys_that_begin_alike_leave_the_proofs_of_a_running_log_short_and_its_answers_verify() {
    let dir = tempfile::tempdir().unwrap();
    let mut alice = BuilderHost::create(dir.path(), "alice", &quorix(), None).unwrap();
    alice.start().await.unwrap();
    let victim = key_of("hello");
    // For each number of bits the first name that begins alike with so many.
    let mut names = BTreeMap::new();
    for number in 0..40_000 {
        let name = format!("n{number}");
        names.entry(shared(&victim, &key_of(&name))).or_insert(name);
    }
    let depth = u64::try_from(names.len()).unwrap();
    assert!(depth >= 14, "{depth}");
    let of = |name: &String| an_attestation().of(name).bytes();
    let mut entries: Vec<_> = names.values().map(of).collect();
    entries.push(an_attestation().bytes());
    let more = entries.len().next_multiple_of(16) - entries.len();
    entries.extend((1..).take(more).map(a_small_entry));
    let size = u64::try_from(entries.len()).unwrap();
    submit(&alice, entries).await;
    covered(&alice, size).await;

    let vkey = alice.vkey().to_string();
    let at = ["--log", &vkey, "--url", &alice.url(), "--json"];
    let (steps, bytes) = proof(&lookup("hello", &at).await, 1);
    assert_eq!(steps, depth, "each of them is a step");
    assert!(bytes <= 34 * steps + 1, "{bytes} bytes");
    alice.stop().await.unwrap();
}

/// A map in memory.
struct Pages;

impl PageStore for Pages {
    type Error = Infallible;

    fn page(&self, _: &PageId) -> Result<Option<Vec<u8>>, Infallible> {
        Ok(None)
    }
}

/// A map with this key and others that begin alike with it, for every number of bits below `depth`: its root, its keys, and
/// the proof of this one.
fn deep(victim: &Key, depth: u16) -> (Hash, u64, Vec<u8>) {
    let list = |index: u64| -> Value { [index].into_iter().collect::<KeyList>().value() };
    let beside = |bit: u16| {
        let mut bytes = *victim.as_bytes();
        bytes[usize::from(bit / 8)] ^= 0x80 >> (bit % 8);
        (Key::from_bytes(bytes), list(1))
    };
    let mut changes: Vec<(Key, Value)> = (0..depth).map(beside).collect();
    changes.push((*victim, list(0)));
    changes.sort_unstable_by_key(|(key, _)| *key);
    let (pages, mut trie) = (Pages, Trie::new());
    let root = trie.set(&pages, &changes).unwrap();
    let proof = trie.prove(&pages, victim).unwrap();
    (root, u64::from(depth) + 1, proof.to_bytes())
}

/// What alice's log of 16 entries answers about the first one, with a map that is so deep.
fn play(log: &SiteLog, depth: u16) {
    let victim = key_of("hello");
    let (map_root, keys, proof) = deep(&victim, depth);
    let leaves: Vec<Hash> = log.entries().iter().map(|entry| leaf_hash(entry)).collect();
    let statement = Statement {
        map_root,
        keys,
        input_size: 16,
        input_root: naive_root(&leaves),
    };
    let origin = format!("{}/index", log.origin());
    let head = Grower::new(&origin).grow(&[statement.to_bytes()]).head;
    let checkpoint = Checkpoint {
        origin,
        size: head.size,
        root: head.root,
        extensions: Vec::new(),
    };
    let signer = signer_of(&log_key(&log.origin())).unwrap();
    let answer = Answer {
        key: victim,
        checkpoint: log.checkpoint(),
        growth: Vec::new(),
        index_checkpoint: checkpoint.sign(&signer).unwrap(),
        index_growth: Vec::new(),
        latest: Some(Latest {
            statement,
            inclusion: Vec::new(),
            extension: Vec::new(),
        }),
        indices: vec![0],
        proof,
    };
    let path = format!("index/lookup/{}/0/0", victim.to_hex());
    log.at.put(&path, &answer.to_bytes());
    let inclusion = [1..2, 2..4, 4..8, 8..16].map(|range| naive_root(&leaves[range]));
    let entry = ProvenEntry {
        index: 0,
        entry: log.entries()[0].clone(),
        inclusion: inclusion.into(),
    };
    log.at.put("index/entries/16/0", &proven::encode(&[entry]));
}

#[tokio::test]
async fn a_proof_that_somebody_spent_two_to_the_57_hashes_on_is_verified_and_short() {
    let mut entries = vec![an_attestation().bytes()];
    entries.extend((1..16).map(a_small_entry));
    let log = SiteLog::publish("alice", &entries).await;
    let vkey = log.vkey();
    let at = ["--log", &vkey, "--url", &log.at.url, "--json"];
    let mut seen = BTreeSet::new();
    for depth in [0, 16, 58] {
        play(&log, depth);
        let (steps, bytes) = proof(&lookup("hello", &at).await, 1);
        assert_eq!(steps, u64::from(depth));
        assert!(bytes <= PROOF_BYTES_MAX, "{bytes} bytes");
        seen.insert(bytes);
    }
    assert_eq!(seen.len(), 3);
}

//! A log that signs an index which is not that of its entries: named by the program that makes the index again.

use std::collections::BTreeMap;

use quorix_testkit::entries::{a_retraction_of, a_small_entry, an_attestation, bytes_of, log_key};
use quorix_testkit::tree::{Grower, naive_root};
use quorix_tlog::checkpoint::Checkpoint;
use quorix_tlog::hash::{Hash, leaf_hash};
use quorix_tlog::index::key_list::{KeyList, Value};
use quorix_tlog::index::statement::Statement;
use quorix_tlog::index::trie::root_of;
use quorix_tlog::index::{Key, STEP, signer_of};
use quorix_tlog::tile::TilePath;
use quorix_wire::index::{Concern, concern};

use super::site::{Site, SiteLog};
use crate::world::{Answer as Ran, run};

type Lists = BTreeMap<Key, Vec<u64>>;

/// Changes what a map says after so many entries.
type Lie = fn(u64, &mut Lists, &Key);

fn key_of(entry: &[u8]) -> Key {
    match concern(entry) {
        Concern::Output(key) => key,
        _ => panic!("an entry about an output"),
    }
}

/// A log that says two things about one output and withdraws the first.
fn entries() -> Vec<Vec<u8>> {
    let mut entries: Vec<Vec<u8>> = (0..3 * STEP + 7).map(a_small_entry).collect();
    entries[17] = an_attestation().bytes();
    entries[18] = an_attestation().of("other").bytes();
    entries[20] = an_attestation().saying("B").bytes();
    entries[40] = bytes_of(&a_retraction_of(&[&entries[17]]));
    entries
}

/// The signed states of the map, of which each was lied about.
fn states(entries: &[Vec<u8>], lie: Lie) -> Vec<Vec<u8>> {
    let hello = key_of(&entries[17]);
    let mut lists = Lists::new();
    let mut states = Vec::new();
    for (index, entry) in (0_u64..).zip(entries) {
        match concern(entry) {
            Concern::Nothing => {}
            Concern::Output(key) => lists.entry(key).or_default().push(index),
            Concern::Withdrawn(_) => lists.entry(hello).or_default().push(index),
        }
        let size = index + 1;
        if size.is_multiple_of(STEP) {
            let mut told = lists.clone();
            lie(size, &mut told, &hello);
            let of = |list: &Vec<u64>| list.iter().copied().collect::<KeyList>().value();
            let all: Vec<(Key, Value)> = told.iter().map(|(key, list)| (*key, of(list))).collect();
            let covered = entries.iter().take(usize::try_from(size).unwrap());
            let hashes: Vec<Hash> = covered.map(|entry| leaf_hash(entry)).collect();
            let statement = Statement {
                map_root: root_of(&all),
                keys: u64::try_from(all.len()).unwrap(),
                input_size: size,
                input_root: naive_root(&hashes),
            };
            states.push(statement.to_bytes().to_vec());
        }
    }
    states
}

/// Publishes states as the index of a log, under the log's own key.
fn publish(at: &Site, log: &str, states: &[Vec<u8>]) {
    let origin = format!("{log}/index");
    let batch = Grower::new(&origin).grow(states);
    for (id, bytes) in &batch.tiles {
        let width = id.width_at(batch.head.size);
        at.put(&format!("index/{}", TilePath { id: *id, width }), bytes);
    }
    let checkpoint = Checkpoint {
        origin,
        size: batch.head.size,
        root: batch.head.root,
        extensions: Vec::new(),
    };
    let key = signer_of(&log_key(log)).unwrap();
    at.put("index/checkpoint", &checkpoint.sign(&key).unwrap());
}

async fn audit(lie: Lie) -> Ran {
    let log = SiteLog::publish("alice", &entries()).await;
    publish(&log.at, &log.origin(), &states(log.entries(), lie));
    let (vkey, url) = (log.vkey(), log.at.url.clone());
    run(&["log", "audit-index", "--log", &vkey, "--url", &url]).await
}

#[tokio::test]
async fn an_index_that_leaves_out_adds_or_reorders_is_named_by_the_program_that_makes_it_again() {
    let honest = audit(|_, _, _| {}).await;
    assert_eq!(honest.code, 0, "{}{}", honest.out, honest.err);
    let lies: [(&str, u64, Lie); 6] = [
        ("an entry is left out", 32, |_, map, hello| {
            if let Some(list) = map.get_mut(hello) {
                list.retain(|index| *index != 20);
            }
        }),
        ("an output is left out", 32, |_, map, hello| {
            drop(map.remove(hello))
        }),
        ("the retraction is left out", 48, |_, map, hello| {
            if let Some(list) = map.get_mut(hello) {
                list.retain(|index| *index != 40);
            }
        }),
        ("an entry is added", 48, |size, map, hello| {
            if size >= 48 {
                map.entry(*hello).or_default().push(21);
            }
        }),
        ("the order is another", 32, |_, map, hello| {
            if let Some(list) = map.get_mut(hello) {
                list.reverse();
            }
        }),
        // Told once, and taken back in the next state.
        ("a lie of a moment", 32, |size, map, hello| {
            if size == 32 {
                map.remove(hello);
            }
        }),
    ];
    for (what, size, lie) in lies {
        let wrong = audit(lie).await;
        assert_eq!(wrong.code, 1, "{what}: {}{}", wrong.out, wrong.err);
        let sentence = format!("The index of alice.example/log is wrong from {size} entries on");
        assert!(wrong.out.starts_with(&sentence), "{what}: {}", wrong.out);
    }
}

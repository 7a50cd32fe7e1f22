//! How fast the tree grows and proofs verify on one core, beside tlog_tiles and ct-merkle in the same run.
//!
//! Prints one line a figure, `name value unit target met|not-met`. Peers are given as ratios, since machines are noisy.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark tells time, prints, and fails by panicking"
)]

#[path = "../tests/memory/tiles.rs"]
mod tiles;

use std::hint::black_box;
use std::time::{Duration, Instant};

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use quorix_tlog::compact_range::CompactRange;
use quorix_tlog::hash::{Hash, leaf_hash};
use quorix_tlog::proof::{prove_inclusion, root_of, verify_inclusion};
use sha2::Sha256;
use tiles::Tiles;

/// Entries of the tree in which proofs are verified.
const SIZE: u64 = 60_000;
const ROUNDS: usize = 5;

fn main() {
    append();
    verify();
}

fn append() {
    let leaves: Vec<Hash> = (0..1_000_000_u64)
        .map(|number| leaf_hash(&number.to_be_bytes()))
        .collect();
    let time = median(|| {
        let mut range = CompactRange::new();
        leaves.iter().for_each(|leaf| range.push(*leaf));
        black_box(range.root());
    });
    let rate = leaves.len() as f64 / time.as_secs_f64();
    let met = if rate >= 4e6 { "met" } else { "not-met" };
    println!("tlog.compact_range_append {rate:.0} leaves/s >=4000000 {met}");
}

fn verify() {
    let entries: Vec<Vec<u8>> = (0..SIZE).map(|n| n.to_be_bytes().to_vec()).collect();
    let tiles = Tiles::of(entries.iter().map(|entry| leaf_hash(entry)));
    let root = root_of(&tiles, SIZE).unwrap();
    let mut peer: MemoryBackedTree<Sha256, Vec<u8>> = MemoryBackedTree::new();
    entries.iter().for_each(|entry| peer.push(entry.clone()));
    let peer_root = peer.root();
    let asked: Vec<u64> = (0..2_000).map(|n| n * 7_919 % SIZE).collect();
    let cases: Vec<_> = asked
        .iter()
        .map(|index| {
            let entry = entries.get(usize::try_from(*index).unwrap()).unwrap();
            let proof = prove_inclusion(&tiles, *index, SIZE).unwrap();
            let theirs: Vec<_> = proof
                .iter()
                .map(|h| tlog_tiles::Hash(*h.as_bytes()))
                .collect();
            let ct = peer.prove_inclusion(usize::try_from(*index).unwrap());
            (*index, entry, proof, theirs, ct)
        })
        .collect();

    let ours = median(|| {
        for (index, entry, proof, ..) in &cases {
            verify_inclusion(*index, SIZE, &leaf_hash(entry), proof, &root).unwrap();
        }
    });
    let go = median(|| {
        let root = tlog_tiles::Hash(*root.as_bytes());
        for (index, entry, _, proof, _) in &cases {
            let leaf = tlog_tiles::Hash(*leaf_hash(entry).as_bytes());
            tlog_tiles::check_record(proof, SIZE, root, *index, leaf).unwrap();
        }
    });
    let ct = median(|| {
        for (index, entry, .., proof) in &cases {
            peer_root.verify_inclusion(entry, *index, proof).unwrap();
        }
    });
    let rate = cases.len() as f64 / ours.as_secs_f64();
    println!("tlog.verify_inclusion {rate:.0} proofs/s - -");
    let ratio = |peer: Duration| peer.as_secs_f64() / ours.as_secs_f64();
    println!(
        "tlog.verify_inclusion_to_tlog_tiles {:.2} ratio - -",
        ratio(go)
    );
    println!(
        "tlog.verify_inclusion_to_ct_merkle {:.2} ratio - -",
        ratio(ct)
    );
}

/// The median of some rounds, after one that is not counted.
fn median(mut work: impl FnMut()) -> Duration {
    work();
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let started = Instant::now();
            work();
            started.elapsed()
        })
        .collect();
    times.sort();
    times.get(ROUNDS / 2).copied().unwrap()
}

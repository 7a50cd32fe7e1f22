//! What durability costs: writes and syncs of the real log on its real files, counted by the library between them.
//!
//! The same counts at the port of the storage: `a_batch_costs_one_synced_write_and_one_anchor_however_many_share_it` in
//! `crates/log`.

use std::fs;

use quorix_testkit::entries::a_small_entry;
use tokio::task::JoinSet;

use crate::host::LogHost;
use crate::interposed;
use crate::power_cut::{Work, work};

/// Submissions one after the other.
const BATCHES: usize = 20;
/// Submissions at once.
const AT_ONCE: u64 = 64;

/// Writes and syncs so far: of the log's write-ahead log, of its anchor, and syncs of anything else in its database. The
/// verifiable index has a database of its own and is no part of this.
fn so_far(log: &LogHost) -> [Work; 3] {
    let database = log.data().join("log");
    let mut found = [Work::default(); 3];
    for (path, done) in work(&fs::read(interposed::journal(log)).unwrap()) {
        let place = if path == log.data().join("log.anchor") {
            1
        } else if path.parent() != Some(&database) {
            continue;
        } else if path.extension().is_some_and(|kind| kind == "log") {
            0
        } else {
            2
        };
        found[place].writes += done.writes;
        found[place].syncs += done.syncs;
    }
    found
}

/// By how much each grew since.
fn since(before: [Work; 3], log: &LogHost) -> [Work; 3] {
    let mut grown = so_far(log);
    for (now, before) in grown.iter_mut().zip(before) {
        now.writes -= before.writes;
        now.syncs -= before.syncs;
    }
    grown
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_costs_one_write_and_sync_of_the_write_ahead_log_and_one_of_the_anchor() {
    let mut log = LogHost::new();
    fs::create_dir(log.data()).unwrap();
    log.environment = interposed::environment(&log, None);
    log.start().await.unwrap();
    let client = log.client();
    let batch = |number: usize| {
        let first = number as u64 * 100;
        (first..first + 100).map(a_small_entry).collect::<Vec<_>>()
    };
    client.submit(batch(0), Vec::new()).await.unwrap();

    let before = so_far(&log);
    for number in 1..=BATCHES {
        client.submit(batch(number), Vec::new()).await.unwrap();
    }
    let once_each = Work {
        writes: BATCHES,
        syncs: BATCHES,
    };
    let nothing = Work::default();
    assert_eq!(since(before, &log), [once_each, once_each, nothing]);

    // Duplicates cost nothing.
    let before = so_far(&log);
    client.submit(batch(7), Vec::new()).await.unwrap();
    assert_eq!(since(before, &log), [nothing; 3]);

    // Who comes at the same time shares.
    let mut submitting = JoinSet::new();
    for number in 0..AT_ONCE {
        let client = client.clone();
        let entry = a_small_entry(1_000_000 + number);
        submitting.spawn(async move { client.submit(vec![entry], Vec::new()).await.unwrap() });
    }
    assert_eq!(submitting.join_all().await.len() as u64, AT_ONCE);
    let [database, anchor, others] = since(before, &log);
    assert_eq!((database, others), (anchor, nothing));
    assert_eq!(database.writes, database.syncs);
    assert!((database.syncs as u64) < AT_ONCE, "{database:?}");
    log.stop().await;
}

//! A log on RocksDB at the sizes at which tiles become full, read by our oracle and by Go's reference implementation;
//! and what was once served under a tile's path is served there unchanged for ever.

use std::collections::BTreeMap;
use std::fs;

use quorix_testkit::entries::a_small_entry;
use quorix_testkit::tree::{hash_bytes, naive_bundle, naive_tile};
use quorix_tlog::hash::leaf_hash;
use quorix_tlog::tile::{TileId, TileLevel, TilePath, tiles_of};

use crate::go::reference;
use crate::host::LogHost;
use crate::oracle::Oracle;

const SIZES: [u64; 9] = [1, 255, 256, 257, 513, 65_535, 65_536, 65_537, 65_800];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn interop_go_verifies_a_log_at_every_boundary_of_tiles_and_no_tile_ever_changes() {
    let (mut log, mut oracle) = (LogHost::new(), Oracle::default());
    log.start().await.unwrap();
    let client = log.client();
    let (mut entries, mut served, mut older) = (Vec::new(), BTreeMap::new(), Vec::new());
    for size in SIZES {
        let new: Vec<Vec<u8>> = (entries.len() as u64..size).map(a_small_entry).collect();
        for part in new.chunks(1024) {
            let answer = client.submit(part.to_vec(), Vec::new()).await.unwrap();
            oracle.saw(&answer.checkpoint).unwrap();
        }
        entries.extend(new);
        assert_eq!(oracle.check(&log).await.unwrap(), size);

        // Every tile and bundle is the one of the definition.
        let leaves: Vec<_> = entries.iter().map(|entry| leaf_hash(entry)).collect();
        for (id, width) in tiles_of(size) {
            let TileLevel::Hashes(level) = id.level else {
                unreachable!("only hash tiles")
            };
            // Full tiles were looked at when they became full.
            if width == 256 && served.contains_key(&(TilePath { id, width }.to_string())) {
                continue;
            }
            let tile = hash_bytes(&naive_tile(&leaves, level, id.index));
            let path = TilePath { id, width }.to_string();
            assert_eq!(log.get(&path).await, Some(tile.clone()), "{path} at {size}");
            served.insert(path, tile);
            if level == 0 {
                let id = TileId::entries(id.index);
                let (path, bundle) = (
                    TilePath { id, width }.to_string(),
                    naive_bundle(&entries, id.index),
                );
                assert_eq!(
                    log.get(&path).await,
                    Some(bundle.clone()),
                    "{path} at {size}"
                );
                served.insert(path, bundle);
            }
        }

        // Go reads all of it, and that it extends what it was before.
        let vkey = LogHost::key().verifier().to_string();
        let url = log.url();
        let mut arguments = vec!["read", &url, &vkey];
        arguments.extend(older.iter().map(String::as_str));
        let said = reference(&arguments, b"").unwrap();
        let newest = log.get("checkpoint").await.unwrap();
        let root = String::from_utf8_lossy(&newest)
            .lines()
            .nth(2)
            .unwrap()
            .to_owned();
        assert_eq!(said, format!("{size} {root} {} older\n", older.len()));
        let file = log.path(&format!("checkpoint.{size}"));
        fs::write(&file, newest).unwrap();
        older.push(file.to_str().unwrap().to_owned());
    }

    log.kill().await;
    log.start().await.unwrap();
    for (path, bytes) in served {
        assert_eq!(
            log.get(&path).await,
            Some(bytes),
            "{path} is no longer what it was"
        );
    }
}

//! Sizes at which tiles become full and levels begin: 256 and 65,536, and one before and after each.

use quorix_tlog::tile::TileLevel;

use super::*;

/// Submits entries in the largest requests that are taken, up to this size.
async fn grow(log: &Log, to: u64) {
    let mut size = log.status().size;
    while size < to {
        let next = to.min(size + 1_024);
        submit(log, &small_entries(size..next)).await;
        size = next;
    }
}

#[tokio::test]
async fn around_full_tiles_and_new_levels_every_tile_and_proof_is_right_and_the_log_starts_again() {
    let store = MemoryLog::new();
    let leaves: Vec<_> = (0..65_537).map(|n| leaf_hash(&a_small_entry(n))).collect();
    let mut before: Option<Checkpoint> = None;
    for size in [255, 256, 257, 65_535, 65_536, 65_537] {
        let log = start(store.clone());
        grow(&log, size).await;
        let checkpoint = verified(&log.status().checkpoint);
        assert_eq!(checkpoint.size, size);
        let known = &leaves[..usize::try_from(size).unwrap()];
        assert_eq!(checkpoint.root, naive_root(known), "{size}");
        // The tiles at the right edge of every level, and no wider one.
        for level in 0..=2 {
            let Some((id, width)) = tiles_of(size)
                .filter(|(id, _)| id.level == TileLevel::Hashes(level))
                .last()
            else {
                continue;
            };
            let tile = log.published().tile(TilePath { id, width });
            let expected = encode_hashes(&naive_tile(known, level, id.index));
            assert_eq!(tile, Ok(Some(expected)), "{size} {id:?}");
            if width < 256 {
                let width = width + 1;
                let wider = log.published().tile(TilePath { id, width });
                assert_eq!(wider, Ok(None), "{size} {id:?}");
            }
        }
        for index in [0, 255, size / 2, size - 1] {
            if index < size {
                assert_is_in(&log, &checkpoint, index, &a_small_entry(index));
            }
        }
        if let Some(old) = &before {
            let proof = prove_consistency(&Served(&log), old.size, size).unwrap();
            assert_eq!(
                verify_consistency(old.size, size, &old.root, &checkpoint.root, &proof),
                Ok(())
            );
        }
        before = Some(checkpoint);
        log.shutdown().await;
    }
}

//! What a log checks before it signs anything.

use quorix_testkit::tree::Grower;
use quorix_tlog::checkpoint::CheckpointError;
use quorix_tlog::hash::EMPTY_ROOT;
use quorix_trust::ports::TileStore;

use super::*;

fn plain(tree: TreeBatch) -> LogBatch {
    LogBatch {
        tree,
        retractions: Vec::new(),
    }
}

/// A store with a log of 300 entries, altered by `alter`.
fn stored(alter: impl FnOnce(&mut TreeBatch)) -> MemoryLog {
    let store = MemoryLog::new();
    let mut tree = Grower::new(ORIGIN).grow(&small_entries(0..300));
    alter(&mut tree);
    store.commit(0, &plain(tree)).unwrap();
    store
}

fn alter_tile(tree: &mut TreeBatch, id: TileId, alter: impl FnOnce(&mut Vec<u8>)) {
    let (_, tile) = tree
        .tiles
        .iter_mut()
        .find(|(found, _)| *found == id)
        .unwrap();
    alter(tile);
}

fn refusal(store: MemoryLog) -> StartError {
    let before = store.head();
    let error = try_start(store.clone()).err().unwrap();
    assert_eq!(store.head(), before);
    error
}

#[tokio::test]
async fn a_new_log_begins_with_the_checkpoint_of_the_empty_tree() {
    let store = MemoryLog::new();
    let status = start(store.clone()).status();
    let checkpoint = verified(&status.checkpoint);
    assert_eq!((checkpoint.size, checkpoint.root), (0, EMPTY_ROOT));
    assert_eq!(status.vkey, log_key(ORIGIN).verifier().to_string());
    // Started again, it is the same one: nothing is signed without need.
    assert_eq!(start(store).status(), status);
}

#[tokio::test]
async fn a_restarted_log_continues_where_it_was() {
    let store = MemoryLog::new();
    let mut history = Vec::new();
    for (first, last) in [(0, 255), (255, 256), (256, 257), (257, 700)] {
        let log = start(store.clone());
        submit(&log, &small_entries(first..last)).await;
        history.push(verified(&log.status().checkpoint));
        log.shutdown().await;
    }
    let log = start(store);
    let newest = verified(&log.status().checkpoint);
    assert_eq!(newest, *history.last().unwrap());
    for old in history {
        let proof = prove_consistency(&Served(&log), old.size, newest.size).unwrap();
        assert_eq!(
            verify_consistency(old.size, newest.size, &old.root, &newest.root, &proof),
            Ok(())
        );
    }
}

#[test]
fn a_key_of_another_name_is_refused() {
    let key = log_key("logs.example.org/bob");
    let store = MemoryLog::new();
    let config = LogConfig::new(ORIGIN);
    let error = Log::start(
        Arc::new(store.clone()),
        key,
        config,
        &mut Registry::default(),
    )
    .err();
    let expected = StartError::KeyName {
        key: "logs.example.org/bob".to_owned(),
        origin: ORIGIN.to_owned(),
    };
    assert_eq!(error, Some(expected));
    assert_eq!(store.head(), Ok(None));
}

#[test]
fn trustix_a_head_belongs_to_the_log_that_it_names() {
    let store = MemoryLog::new();
    let tree = Grower::new("logs.example.org/bob").grow(&small_entries(0..3));
    store.commit(0, &plain(tree)).unwrap();
    let error = refusal(store);
    assert!(matches!(error, StartError::Checkpoint { .. }), "{error}");
}

#[test]
fn a_checkpoint_by_another_key_of_the_same_name_is_refused() {
    let other = SigningKey::from_seed(ORIGIN.parse().unwrap(), [9; 32]);
    let store = stored(|tree| {
        let Head { size, root, .. } = tree.head;
        let checkpoint = Checkpoint {
            origin: ORIGIN.to_owned(),
            size,
            root,
            extensions: Vec::new(),
        };
        tree.head.checkpoint = checkpoint.sign(&other).unwrap();
    });
    let error = refusal(store);
    assert!(
        matches!(
            error,
            StartError::Checkpoint {
                problem: CheckpointError::Note(_),
                ..
            }
        ),
        "{error}"
    );
    assert!(
        error
            .to_string()
            .contains("Start the log with the key and origin that made this database")
    );
}

#[test]
fn a_head_that_its_checkpoint_does_not_say_is_refused() {
    let error = refusal(stored(|tree| tree.head.size = 299));
    assert_eq!(
        error,
        StartError::Damaged(TreeError::Head {
            checkpoint: 300,
            head: 299
        })
    );
}

#[test]
fn tiles_that_do_not_hash_to_the_signed_root_are_refused() {
    let store = stored(|tree| alter_tile(tree, TileId::hashes(0, 1), |tile| tile[70] ^= 1));
    let error = refusal(store);
    assert!(
        matches!(
            error,
            StartError::Damaged(TreeError::Root { size: 300, .. })
        ),
        "{error}"
    );
    let store =
        stored(|tree| alter_tile(tree, TileId::hashes(0, 1), |tile| tile.truncate(43 * 32)));
    let error = refusal(store);
    assert!(
        matches!(error, StartError::Damaged(TreeError::Tile(_))),
        "{error}"
    );
    let store = stored(|tree| tree.tiles.retain(|(id, _)| *id != TileId::hashes(1, 0)));
    let error = refusal(store);
    assert!(
        matches!(error, StartError::Damaged(TreeError::Tile(_))),
        "{error}"
    );
}

#[test]
fn entries_that_do_not_hash_to_the_signed_leaves_are_refused() {
    let store = stored(|tree| {
        alter_tile(tree, TileId::entries(1), |bundle| {
            *bundle.last_mut().unwrap() ^= 1
        });
    });
    assert_eq!(
        refusal(store),
        StartError::Damaged(TreeError::Entry { index: 299 })
    );
    let store = stored(|tree| alter_tile(tree, TileId::entries(1), |bundle| bundle.truncate(100)));
    let error = refusal(store);
    assert!(
        matches!(error, StartError::Damaged(TreeError::Tile(_))),
        "{error}"
    );
}

#[tokio::test]
async fn what_the_store_has_beyond_the_signed_tree_is_ignored() {
    // As after a crash between two writes of a store without atomic batches.
    let mut grower = Grower::new(ORIGIN);
    let old = grower.grow(&small_entries(0..250));
    let mut ahead = grower.grow(&small_entries(1_000..1_020));
    let store = MemoryLog::new();
    store.commit(0, &plain(old.clone())).unwrap();
    ahead.head = old.head;
    ahead.leaves.clear();
    store.commit(250, &plain(ahead)).unwrap();
    let log = start(store);
    assert_eq!(
        submit(&log, &small_entries(250..260)).await[0],
        (250, false)
    );
    let checkpoint = verified(&log.status().checkpoint);
    for index in [0, 249, 250, 259] {
        assert_is_in(&log, &checkpoint, index, &a_small_entry(index));
    }
}

//! What a log checks before it signs anything.

use quorix_testkit::tree::Grower;
use quorix_tlog::checkpoint::CheckpointError;
use quorix_tlog::hash::EMPTY_ROOT;
use quorix_trust::ports::Anchor as _;

use super::*;
use crate::error::{Proof, TreeError};
use crate::publication::cosigner::Witnessing;
use crate::witnesses::Seen;

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
    store.anchor().set(Some(&tree.head.checkpoint));
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
    let error = Log::start(
        store.storage(),
        None,
        key,
        config(),
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
    store.anchor().set(Some(&old.head.checkpoint));
    store.commit(0, &plain(old.clone())).unwrap();
    ahead.head = old.head;
    ahead.leaves.clear();
    store.commit(250, &plain(ahead)).unwrap();
    let log = start(store.clone());
    // It is dropped, and that is told.
    let recovery = Recovery {
        anchored: 250,
        kept: 250,
        dropped: 20,
    };
    assert_eq!(log.status().recovery, Some(recovery));
    assert_eq!(
        submit(&log, &small_entries(250..260)).await[0],
        (250, false)
    );
    let checkpoint = verified(&log.status().checkpoint);
    for index in [0, 249, 250, 259] {
        assert_is_in(&log, &checkpoint, index, &a_small_entry(index));
    }
    // Once something was written over it, nothing is left over.
    log.shutdown().await;
    assert_eq!(start(store).status().recovery, None);
}

/// A log of 300 entries that ran, with its store, and the heads that its anchor had.
pub(super) async fn ran() -> (MemoryLog, Vec<Vec<u8>>) {
    let store = MemoryLog::new();
    let log = start(store.clone());
    for (first, last) in [(0, 100), (100, 299), (299, 300)] {
        submit(&log, &small_entries(first..last)).await;
    }
    log.shutdown().await;
    let anchored = store.anchor().writes();
    (store, anchored)
}

#[tokio::test]
async fn a_database_behind_its_anchor_is_refused_and_nothing_is_signed() {
    let (_, anchored) = ran().await;
    // An old copy of the database, put back.
    let old = MemoryLog::new();
    let log = start(old.clone());
    submit(&log, &small_entries(0..100)).await;
    log.shutdown().await;
    old.anchor().set(anchored.last().map(Vec::as_slice));
    let error = refusal(old);
    let expected = StartError::Behind {
        stored: 100,
        signed: 300,
        by: Proof::Anchor,
    };
    assert_eq!(error, expected);
    assert!(
        error
            .to_string()
            .contains("restore a copy with at least 300 entries"),
        "{error}"
    );
    // And so is one that was lost altogether.
    let empty = MemoryLog::new();
    empty.anchor().set(anchored.last().map(Vec::as_slice));
    let expected = StartError::Behind {
        stored: 0,
        signed: 300,
        by: Proof::Anchor,
    };
    assert_eq!(refusal(empty), expected);
}

#[tokio::test]
async fn a_database_of_another_history_than_its_anchor_is_refused() {
    let (_, anchored) = ran().await;
    let other = MemoryLog::new();
    let log = start(other.clone());
    submit(&log, &small_entries(1_000..1_500)).await;
    log.shutdown().await;
    for (checkpoint, size) in [(1, 100), (3, 300)] {
        other.anchor().set(Some(&anchored[checkpoint]));
        let by = Proof::Anchor;
        assert_eq!(refusal(other.clone()), StartError::Forked { size, by });
    }
}

#[tokio::test]
async fn a_database_ahead_of_its_anchor_goes_on_and_the_anchor_follows() {
    let (store, anchored) = ran().await;
    // The process died between the commit of the last batch and its anchor.
    store.anchor().set(Some(&anchored[2]));
    let log = start(store.clone());
    assert_eq!(log.status().size, 300);
    let recovery = Recovery {
        anchored: 299,
        kept: 300,
        dropped: 0,
    };
    assert_eq!(log.status().recovery, Some(recovery));
    assert_eq!(store.anchor().read(), Ok(anchored.last().cloned()));
    log.shutdown().await;
    assert_eq!(start(store).status().recovery, None);
}

#[tokio::test]
async fn an_anchor_of_another_log_or_of_another_key_is_refused() {
    let (store, _) = ran().await;
    let bob = Grower::new("logs.example.org/bob").grow(&small_entries(0..3));
    for wrong in [bob.head.checkpoint, b"garbage".to_vec()] {
        store.anchor().set(Some(&wrong));
        let error = refusal(store.clone());
        assert!(matches!(error, StartError::AnchorForeign { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_log_whose_anchor_is_missing_starts_only_once_its_operator_adopts_it() {
    let (store, anchored) = ran().await;
    store.anchor().set(None);
    let error = refusal(store.clone());
    assert_eq!(error, StartError::NoAnchor { size: 300 });
    assert!(
        error
            .to_string()
            .ends_with("say so: quorix log adopt --confirm-size 300"),
        "{error}"
    );
    let key = log_key(ORIGIN);
    let wrong = adopt(store.storage(), &key, ORIGIN, None, 299);
    let expected = StartError::NotConfirmed {
        size: 300,
        confirmed: 299,
    };
    assert_eq!(wrong, Err(expected));
    assert_eq!(store.anchor().read(), Ok(None));
    assert_eq!(adopt(store.storage(), &key, ORIGIN, None, 300), Ok(300));
    assert_eq!(store.anchor().read(), Ok(anchored.last().cloned()));
    assert_eq!(start(store).status().size, 300);
}

#[tokio::test]
async fn a_copy_signs_nothing_before_it_is_confirmed() {
    let (store, _) = ran().await;
    store.mark_as_copy(true);
    assert_eq!(refusal(store.clone()), StartError::Copy { size: 300 });
    assert_eq!(
        adopt(store.storage(), &log_key(ORIGIN), ORIGIN, None, 300),
        Ok(300)
    );
    assert_eq!(store.is_copy(), Ok(false));
    assert_eq!(start(store).status().size, 300);
}

#[tokio::test]
async fn an_old_backup_behind_its_anchor_cannot_even_be_adopted() {
    let (_, anchored) = ran().await;
    let old = MemoryLog::new();
    let log = start(old.clone());
    submit(&log, &small_entries(0..100)).await;
    log.shutdown().await;
    old.mark_as_copy(true);
    old.anchor().set(anchored.last().map(Vec::as_slice));
    let expected = StartError::Behind {
        stored: 100,
        signed: 300,
        by: Proof::Anchor,
    };
    assert_eq!(refusal(old.clone()), expected);
    let adopted = adopt(old.storage(), &log_key(ORIGIN), ORIGIN, None, 100);
    assert_eq!(adopted, Err(expected));
    assert_eq!(old.is_copy(), Ok(true));
}

/// What witnesses show, each of which counts and shows one of these checkpoints.
pub(super) fn showing(checkpoints: &[&[u8]]) -> Seen {
    let mut shown: Vec<_> = checkpoints.iter().map(|bytes| verified(bytes)).collect();
    shown.sort_by_key(|checkpoint| checkpoint.size);
    Seen {
        least: shown.first().map(|least| least.size),
        shown,
    }
}

/// Witnesses that show this, and that cosign whatever they are asked to.
pub(super) fn witnesses(seen: Seen) -> Option<Witnessing> {
    Some(Witnessing {
        seen,
        ..witness::Witness::default().witnessing()
    })
}

#[tokio::test]
async fn an_old_backup_behind_what_a_witness_has_cosigned_is_refused() {
    let (_, anchored) = ran().await;
    // The whole machine was put back, anchor and all: only somebody else can know.
    let old = MemoryLog::new();
    let log = start(old.clone());
    submit(&log, &small_entries(0..100)).await;
    log.shutdown().await;
    let error = start_with(&old, witnesses(showing(&[&anchored[3]])), config());
    let expected = StartError::Behind {
        stored: 100,
        signed: 300,
        by: Proof::Witness,
    };
    assert_eq!(error.err(), Some(expected.clone()));
    // Nor does its operator's word help.
    let adopted = adopt(
        old.storage(),
        &log_key(ORIGIN),
        ORIGIN,
        Some(&showing(&[&anchored[3]])),
        100,
    );
    assert_eq!(adopted, Err(expected));
}

#[tokio::test]
async fn every_checkpoint_that_a_witness_shows_is_held_against_the_tree_and_not_the_newest_alone() {
    let (store, anchored) = ran().await;
    let other = Grower::new(ORIGIN).grow(&[a_small_entry(77)]);
    let by = Proof::Witness;
    for beside in [&anchored[1], &anchored[3]] {
        let seen = showing(&[&other.head.checkpoint, beside]);
        let error = start_with(&store, witnesses(seen), config()).err();
        assert_eq!(error, Some(StartError::Forked { size: 1, by }));
    }
}

#[test]
fn damage_below_the_right_edge_is_found_down_to_the_entries() {
    // 512 entries: the last bundle is full, and the root says nothing of what is below it.
    let whole = || {
        let store = MemoryLog::new();
        let tree = Grower::new(ORIGIN).grow(&small_entries(0..512));
        store.anchor().set(Some(&tree.head.checkpoint));
        (store, tree)
    };
    for index in [0, 1] {
        let (store, mut tree) = whole();
        alter_tile(&mut tree, TileId::entries(index), |bundle| {
            *bundle.last_mut().unwrap() ^= 1;
        });
        store.commit(0, &plain(tree)).unwrap();
        let index = index * 256 + 255;
        assert_eq!(
            refusal(store),
            StartError::Damaged(TreeError::Entry { index })
        );
    }
    // Tile and bundle agree with each other, but not with the level above.
    let (store, mut tree) = whole();
    let other = Grower::new(ORIGIN).grow(&small_entries(1_000..1_512));
    for id in [TileId::entries(1), TileId::hashes(0, 1)] {
        let (_, tile) = other.tiles.iter().find(|(found, _)| *found == id).unwrap();
        alter_tile(&mut tree, id, |altered| altered.clone_from(tile));
    }
    store.commit(0, &plain(tree)).unwrap();
    let (level, index) = (0, 1);
    assert_eq!(
        refusal(store),
        StartError::Damaged(TreeError::FullTile { level, index })
    );
}

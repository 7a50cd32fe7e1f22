//! The suite for [`LogStore`].

use quorix_tlog::hash::leaf_hash;
use quorix_tlog::tile::TileId;
use quorix_trust::ports::{CommitError, LogBatch, LogStore, TreeBatch};

use crate::tree::{Grower, blob_id};

type Open<'a> = &'a dyn Fn() -> Box<dyn LogStore>;

pub(super) const CASES: [fn(Open<'_>); 11] = [
    a_new_store_is_empty,
    a_commit_is_read_back_whole,
    a_commit_outlives_the_process,
    a_batch_for_another_size_conflicts_and_changes_nothing,
    a_wider_tile_replaces_its_narrower_self,
    a_full_tile_is_never_changed,
    the_head_of_the_empty_tree_can_be_stored_and_replaced,
    a_leaf_that_comes_again_has_its_newest_index,
    retractions_are_found_by_leaf_hash,
    what_is_published_is_noted_apart_from_the_head,
    a_store_is_no_copy_unless_it_is_marked,
];

const ORIGIN: &str = "logs.example.org/alice";

fn plain(tree: TreeBatch) -> LogBatch {
    LogBatch {
        tree,
        retractions: Vec::new(),
    }
}

fn a_new_store_is_empty(open: Open<'_>) {
    let store = open();
    assert_eq!(store.head(), Ok(None));
    assert_eq!(store.tile(TileId::hashes(0, 0)), Ok(None));
    assert_eq!(store.tile(TileId::entries(0)), Ok(None));
    assert_eq!(store.blob(&[0; 32]), Ok(None));
    assert_eq!(store.index_of(&leaf_hash(b"nothing")), Ok(None));
    assert_eq!(store.retraction_of(&leaf_hash(b"nothing")), Ok(None));
}

fn assert_holds(store: &dyn LogStore, batch: &TreeBatch) {
    assert_eq!(store.head().as_ref(), Ok(&Some(batch.head.clone())));
    for (id, tile) in &batch.tiles {
        assert_eq!(store.tile(*id).as_ref(), Ok(&Some(tile.clone())), "{id:?}");
    }
    for (leaf, index) in &batch.leaves {
        assert_eq!(store.index_of(leaf), Ok(Some(*index)));
    }
    for (id, blob) in &batch.blobs {
        assert_eq!(store.blob(id).as_ref(), Ok(&Some(blob.clone())));
    }
}

fn a_batch_with_everything() -> TreeBatch {
    let entries: Vec<_> = (0..600).map(|number| format!("entry {number}")).collect();
    let mut batch = Grower::new(ORIGIN).grow(&entries);
    for blob in [b"".to_vec(), b"small".to_vec(), vec![0x5a; 4 << 20]] {
        batch.blobs.push((blob_id(&blob), blob));
    }
    batch
}

fn a_commit_is_read_back_whole(open: Open<'_>) {
    let (store, batch) = (open(), a_batch_with_everything());
    assert_eq!(store.commit(0, &plain(batch.clone())), Ok(()));
    assert_holds(&*store, &batch);
    assert_eq!(store.tile(TileId::hashes(0, 3)), Ok(None));
    assert_eq!(store.tile(TileId::hashes(2, 0)), Ok(None));
}

fn a_commit_outlives_the_process(open: Open<'_>) {
    let batch = a_batch_with_everything();
    assert_eq!(open().commit(0, &plain(batch.clone())), Ok(()));
    assert_holds(&*open(), &batch);
    // Opened and closed without a write in between, it is still the same.
    assert_holds(&*open(), &batch);
}

fn a_batch_for_another_size_conflicts_and_changes_nothing(open: Open<'_>) {
    let mut grower = Grower::new(ORIGIN);
    let first = grower.grow(&["a", "b", "c"]);
    let second = grower.grow(&["d"]);
    let store = open();
    assert_eq!(
        store.commit(3, &plain(second.clone())),
        Err(CommitError::Conflict {
            expected: 3,
            found: 0
        })
    );
    assert_eq!(store.head(), Ok(None));
    assert_eq!(store.commit(0, &plain(first.clone())), Ok(()));
    for expected in [0, 2, 4] {
        let late = LogBatch {
            tree: second.clone(),
            retractions: vec![(leaf_hash(b"a"), 3)],
        };
        assert_eq!(
            store.commit(expected, &late),
            Err(CommitError::Conflict { expected, found: 3 })
        );
    }
    assert_holds(&*store, &first);
    assert_eq!(store.index_of(&leaf_hash(b"d")), Ok(None));
    assert_eq!(store.retraction_of(&leaf_hash(b"a")), Ok(None));
    drop(store);
    // The guard is on what is stored, not on what this process remembers.
    let store = open();
    assert_eq!(
        store.commit(0, &plain(first.clone())),
        Err(CommitError::Conflict {
            expected: 0,
            found: 3
        })
    );
    assert_eq!(store.commit(3, &plain(second)), Ok(()));
}

fn a_wider_tile_replaces_its_narrower_self(open: Open<'_>) {
    let store = open();
    let mut grower = Grower::new(ORIGIN);
    for step in [1_u64, 200, 55, 1, 300] {
        let size = grower.size();
        let entries: Vec<_> = (size..size + step)
            .map(|number| format!("entry {number}"))
            .collect();
        let before = store
            .tile(TileId::entries(size / 256))
            .unwrap()
            .unwrap_or_default();
        let batch = grower.grow(&entries);
        assert_eq!(store.commit(size, &plain(batch.clone())), Ok(()));
        assert_holds(&*store, &batch);
        let after = store.tile(TileId::entries(size / 256)).unwrap().unwrap();
        assert!(after.starts_with(&before));
    }
}

fn a_full_tile_is_never_changed(open: Open<'_>) {
    let store = open();
    let mut grower = Grower::new(ORIGIN);
    let entries = |range: std::ops::Range<u64>| range.map(|number| format!("entry {number}"));
    let first = grower.grow(&entries(0..256).collect::<Vec<_>>());
    assert_eq!(store.commit(0, &plain(first.clone())), Ok(()));
    let next = grower.grow(&["one more"]);
    for id in [TileId::hashes(0, 0), TileId::entries(0)] {
        let (_, full) = first.tiles.iter().find(|(found, _)| *found == id).unwrap();
        let last = full.len() - 1;
        let (mut altered, shorter) = (full.clone(), full[..last].to_vec());
        altered[last] ^= 1;
        for tile in [altered, shorter, Vec::new()] {
            let mut batch = next.clone();
            batch.tiles.push((id, tile));
            let refused = Err(CommitError::Immutable { tile: id });
            assert_eq!(store.commit(256, &plain(batch)), refused);
            assert_holds(&*store, &first);
        }
    }
    // The same bytes again are no change.
    let mut batch = next;
    batch.tiles.extend(
        first
            .tiles
            .iter()
            .filter(|(id, _)| id.width_at(256) == 256)
            .cloned(),
    );
    assert_eq!(store.commit(256, &plain(batch.clone())), Ok(()));
    assert_holds(&*store, &batch);
    assert_eq!(grower.size(), 257);
}

fn the_head_of_the_empty_tree_can_be_stored_and_replaced(open: Open<'_>) {
    let store = open();
    let mut grower = Grower::new(ORIGIN);
    let empty = grower.grow::<&str>(&[]);
    assert_eq!(store.commit(0, &plain(empty.clone())), Ok(()));
    assert_holds(&*store, &empty);
    assert_eq!(store.commit(0, &plain(grower.grow(&["a"]))), Ok(()));
    assert_eq!(store.head().unwrap().unwrap().size, 1);
}

fn a_leaf_that_comes_again_has_its_newest_index(open: Open<'_>) {
    let store = open();
    let mut grower = Grower::new(ORIGIN);
    assert_eq!(store.commit(0, &plain(grower.grow(&["a", "b"]))), Ok(()));
    assert_eq!(store.commit(2, &plain(grower.grow(&["a"]))), Ok(()));
    assert_eq!(store.index_of(&leaf_hash(b"a")), Ok(Some(2)));
    assert_eq!(store.index_of(&leaf_hash(b"b")), Ok(Some(1)));
}

fn retractions_are_found_by_leaf_hash(open: Open<'_>) {
    let store = open();
    let mut grower = Grower::new(ORIGIN);
    let (a, b) = (leaf_hash(b"a"), leaf_hash(b"b"));
    assert_eq!(store.commit(0, &plain(grower.grow(&["a", "b"]))), Ok(()));
    let withdrawal = LogBatch {
        tree: grower.grow(&["withdraw a"]),
        retractions: vec![(a, 2)],
    };
    assert_eq!(store.commit(2, &withdrawal), Ok(()));
    let again = LogBatch {
        tree: grower.grow(&["a", "withdraw a again"]),
        retractions: vec![(a, 4)],
    };
    assert_eq!(store.retraction_of(&a), Ok(Some(2)));
    assert_eq!(store.commit(3, &again), Ok(()));
    drop(store);
    let store = open();
    assert_eq!(store.retraction_of(&a), Ok(Some(4)));
    assert_eq!(store.retraction_of(&b), Ok(None));
}

fn what_is_published_is_noted_apart_from_the_head(open: Open<'_>) {
    let store = open();
    assert_eq!(store.published(), Ok(None));
    let mut grower = Grower::new(ORIGIN);
    let first = grower.grow(&["a", "b"]);
    assert_eq!(store.commit(0, &plain(first.clone())), Ok(()));
    assert_eq!(store.published(), Ok(None));
    let mut published = first.head;
    published
        .checkpoint
        .extend_from_slice(b"a line of a witness\n");
    assert_eq!(store.note_published(Some(&published)), Ok(()));
    let second = grower.grow(&["c"]);
    assert_eq!(store.commit(2, &plain(second.clone())), Ok(()));
    assert_eq!(store.published(), Ok(Some(published.clone())));
    assert_holds(&*store, &second);
    drop(store);
    let store = open();
    assert_eq!(store.published(), Ok(Some(published)));
    assert_holds(&*store, &second);
    assert_eq!(store.note_published(Some(&second.head)), Ok(()));
    assert_eq!(store.published(), Ok(Some(second.head)));
    assert_eq!(store.note_published(None), Ok(()));
    drop(store);
    assert_eq!(open().published(), Ok(None));
}

fn a_store_is_no_copy_unless_it_is_marked(open: Open<'_>) {
    let store = open();
    assert_eq!(store.is_copy(), Ok(false));
    assert_eq!(store.confirm_copy(), Ok(()));
    assert_eq!(store.is_copy(), Ok(false));
}

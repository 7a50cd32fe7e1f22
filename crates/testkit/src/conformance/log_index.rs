//! What is expected of the store of a log's index.

use quorix_tlog::hash::{Hash, leaf_hash};
use quorix_tlog::index::Key;
use quorix_tlog::index::key_list::KeyList;
use quorix_tlog::index::page::PageId;
use quorix_trust::ports::{CommitError, ListGrowth, LogIndexBatch, LogIndexStore, StoredList};

use crate::tree::Grower;

type Open<'a> = &'a dyn Fn() -> Box<dyn LogIndexStore>;

/// Each gets a directory of its own.
pub(super) const CASES: &[fn(Open<'_>)] = &[
    an_empty_index_has_nothing,
    what_was_written_is_there_after_opening_again,
    a_step_of_another_size_changes_nothing,
];

fn key(name: &str) -> Key {
    Key::of("test", name)
}

fn growth(name: &str, before: &[u64], added: &[u64]) -> ListGrowth {
    let list: KeyList = before.iter().chain(added).copied().collect();
    ListGrowth {
        key: key(name),
        added: added.to_vec(),
        list: StoredList {
            length: list.length(),
            nodes: list.nodes().to_vec(),
        },
    }
}

fn batch(grower: &mut Grower, lists: Vec<ListGrowth>, page: &[u8]) -> LogIndexBatch {
    let mut output = grower.grow(&[b"leaf"]);
    output.leaves.clear();
    LogIndexBatch {
        pages: vec![(PageId::ROOT, page.to_vec())],
        lists,
        leaves: vec![(leaf(), key("a"))],
        output,
    }
}

fn leaf() -> Hash {
    leaf_hash(b"an entry")
}

fn an_empty_index_has_nothing(open: Open<'_>) {
    let store = open();
    assert_eq!(store.head(), Ok(None));
    assert_eq!(store.page(&PageId::ROOT), Ok(None));
    assert_eq!(store.list(&key("a")), Ok(None));
    assert_eq!(store.indices(&key("a"), 0, 9), Ok(vec![]));
    assert_eq!(store.key_of(&leaf()), Ok(None));
}

fn what_was_written_is_there_after_opening_again(open: Open<'_>) {
    let mut grower = Grower::new("logs.example.org/alice/index");
    let first = batch(
        &mut grower,
        vec![growth("a", &[], &[3, 300]), growth("b", &[], &[5])],
        b"first",
    );
    let second = batch(&mut grower, vec![growth("a", &[3, 300], &[301])], b"second");
    {
        let store = open();
        assert_eq!(store.advance(0, &first), Ok(()));
        assert_eq!(store.advance(1, &second), Ok(()));
    }
    let store = open();
    assert_eq!(store.head(), Ok(Some(second.output.head)));
    for (id, tile) in second.output.tiles {
        assert_eq!(store.tile(id), Ok(Some(tile)));
    }
    assert_eq!(store.page(&PageId::ROOT), Ok(Some(b"second".to_vec())));
    assert_eq!(store.indices(&key("a"), 0, 9), Ok(vec![3, 300, 301]));
    assert_eq!(store.indices(&key("a"), 0, 2), Ok(vec![3, 300]));
    assert_eq!(store.indices(&key("a"), 4, 9), Ok(vec![300, 301]));
    assert_eq!(store.indices(&key("a"), 302, 9), Ok(vec![]));
    assert_eq!(store.indices(&key("b"), 0, 9), Ok(vec![5]));
    let list = growth("a", &[3, 300], &[301]).list;
    assert_eq!(store.list(&key("a")), Ok(Some(list)));
    assert_eq!(store.key_of(&leaf()), Ok(Some(key("a"))));
}

fn a_step_of_another_size_changes_nothing(open: Open<'_>) {
    let mut grower = Grower::new("logs.example.org/alice/index");
    let first = batch(&mut grower, vec![growth("a", &[], &[3])], b"first");
    let store = open();
    let refused = Err(CommitError::Conflict {
        expected: 1,
        found: 0,
    });
    assert_eq!(store.advance(1, &first), refused);
    assert_eq!(store.head(), Ok(None));
    assert_eq!(store.page(&PageId::ROOT), Ok(None));
    assert_eq!(store.indices(&key("a"), 0, 9), Ok(vec![]));
}

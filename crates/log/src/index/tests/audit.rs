//! An auditor against indexes that lie, made by the plainest program that can make one.

use quorix_testkit::tree::{Grower, naive_root};
use quorix_tlog::index::key_list::{KeyList, Value};
use quorix_tlog::index::page::PageId;
use quorix_tlog::index::statement::Statement;
use quorix_tlog::index::trie::{PageStore, Trie};
use quorix_trust::ports::{LogBatch, LogStore as _};
use quorix_wire::index::{Concern, concern};
use quorix_wire::scan::LogSource;

use super::*;
use crate::index::audit::{Audit, AuditError, Audited};

/// No page is stored: each map is made from nothing.
struct Nowhere;

impl PageStore for Nowhere {
    type Error = StoreError;

    fn page(&self, _: &PageId) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(None)
    }
}

type Lists = BTreeMap<Key, Vec<u64>>;

/// The leaves of the output log, by definition. `lie` changes each map after so many entries as it likes.
fn leaves(entries: &[Vec<u8>], lie: &dyn Fn(u64, &mut Lists)) -> Vec<Vec<u8>> {
    let (mut lists, mut keys_of) = (Lists::new(), BTreeMap::new());
    let mut leaves = Vec::new();
    for (index, entry) in (0_u64..).zip(entries) {
        match concern(entry) {
            Concern::Nothing => {}
            Concern::Output(key) => {
                keys_of.insert(leaf_hash(entry), key);
                lists.entry(key).or_default().push(index);
            }
            Concern::Withdrawn(withdrawn) => {
                let keys: std::collections::BTreeSet<Key> = withdrawn
                    .iter()
                    .filter_map(|leaf| keys_of.get(leaf).copied())
                    .collect();
                for key in keys {
                    lists.entry(key).or_default().push(index);
                }
            }
        }
        let size = index + 1;
        if size.is_multiple_of(STEP) {
            let mut told = lists.clone();
            lie(size, &mut told);
            let of = |list: &Vec<u64>| list.iter().copied().collect::<KeyList>().value();
            let all: Vec<(Key, Value)> = told.iter().map(|(key, list)| (*key, of(list))).collect();
            let hashes: Vec<Hash> = entries
                .iter()
                .take(usize::try_from(size).unwrap())
                .map(|e| leaf_hash(e))
                .collect();
            let statement = Statement {
                map_root: Trie::new().set(&Nowhere, &all).unwrap(),
                keys: all.len() as u64,
                input_size: size,
                input_root: naive_root(&hashes),
            };
            leaves.push(statement.to_bytes().to_vec());
        }
    }
    leaves
}

/// A log that says three things about one output in the second step, and withdraws the first in the last.
fn entries() -> Vec<Vec<u8>> {
    let mut entries: Vec<Vec<u8>> = (0..5 * STEP + 7).map(a_small_entry).collect();
    entries[17] = said("hello", "A");
    entries[18] = said("other", "A");
    entries[20] = said("hello", "B");
    entries[70] = bytes_of(&a_retraction_of(&[&entries[17]]));
    entries
}

fn grown(origin: &str, entries: &[Vec<u8>]) -> (MemoryLog, Checkpoint) {
    let (log, mut grower) = (MemoryLog::new(), Grower::new(origin));
    let batch = LogBatch {
        tree: grower.grow(entries),
        retractions: Vec::new(),
    };
    log.commit(0, &batch).unwrap();
    let head = grower.head();
    let checkpoint = Checkpoint {
        origin: origin.to_owned(),
        size: head.size,
        root: head.root,
        extensions: Vec::new(),
    };
    (log, checkpoint)
}

async fn audited(signed: &[Vec<u8>]) -> Result<Audited, AuditError> {
    let (log, checkpoint) = grown(ORIGIN, &entries());
    let (output, output_checkpoint) = grown("logs.example.org/alice/index", signed);
    let audit = Audit {
        log: LogSource::Own(Arc::new(log)),
        checkpoint,
        output: LogSource::Stored(Arc::new(output)),
        output_checkpoint,
        scratch: Arc::new(MemoryLogIndex::default()),
    };
    audit.run(|_| {}).await
}

#[tokio::test]
async fn an_honest_index_is_found_right_and_is_the_one_that_the_follower_makes() {
    let signed = leaves(&entries(), &|_, _| {});
    let right = Audited {
        covered: 5 * STEP,
        leaves: 5,
        keys: 2,
        differs: None,
    };
    assert_eq!(audited(&signed).await, Ok(right));
    let (log, store) = (a_log(MemoryLog::new()), MemoryLogIndex::default());
    submit(&log, entries()).await;
    an_index(&log, &store).await;
    let (_, checkpoint) = grown("logs.example.org/alice/index", &signed);
    assert_eq!(store.head().unwrap().unwrap().root, checkpoint.root);
}

/// Changes what a map says after so many entries.
type Lie = Box<dyn Fn(u64, &mut Lists)>;

#[tokio::test]
async fn a_lying_index_is_caught_at_the_first_size_at_which_it_lies() {
    let (hello, absent) = (key_of("hello"), key_of("absent"));
    let lies: [(&str, u64, Lie); 6] = [
        (
            "an entry is left out",
            2 * STEP,
            Box::new(move |_, map| {
                if let Some(list) = map.get_mut(&hello) {
                    list.retain(|index| *index != 20);
                }
            }),
        ),
        (
            "all of an output is left out",
            2 * STEP,
            Box::new(move |_, map| {
                map.remove(&hello);
            }),
        ),
        (
            "the retraction is left out",
            5 * STEP,
            Box::new(move |_, map| {
                if let Some(list) = map.get_mut(&hello) {
                    list.retain(|index| *index != 70);
                }
            }),
        ),
        (
            "an entry is added",
            3 * STEP,
            Box::new(move |size, map| {
                if size >= 3 * STEP {
                    map.entry(hello).or_default().push(21);
                }
            }),
        ),
        (
            "an output is added",
            STEP,
            Box::new(move |_, map| {
                map.insert(absent, vec![3]);
            }),
        ),
        (
            "the order is another",
            2 * STEP,
            Box::new(move |_, map| {
                if let Some(list) = map.get_mut(&hello) {
                    list.reverse();
                }
            }),
        ),
    ];
    for (what, size, lie) in lies {
        let found = audited(&leaves(&entries(), &lie)).await.unwrap();
        let differs = found.differs.unwrap_or_else(|| panic!("{what}"));
        assert_eq!(differs.size, size, "{what}: {differs}");
        let signed = differs.signed.unwrap();
        assert_eq!(signed.input_root, differs.made.input_root, "{what}");
        assert_ne!(signed.map_root, differs.made.map_root, "{what}");
    }
}

#[tokio::test]
async fn a_lie_that_was_told_once_and_taken_back_is_caught() {
    let hello = key_of("hello");
    let lie = |size: u64, map: &mut Lists| {
        if size == 3 * STEP {
            map.remove(&hello);
        }
    };
    let differs = audited(&leaves(&entries(), &lie))
        .await
        .unwrap()
        .differs
        .unwrap();
    assert_eq!(differs.size, 3 * STEP);
    assert_eq!(
        differs.to_string(),
        "the signed map has 1 keys, and the entries give 2"
    );
}

#[tokio::test]
async fn an_index_for_more_entries_than_the_log_has_is_refused() {
    let mut more = entries();
    more.extend((1_000..1_020).map(a_small_entry));
    let longer = AuditError::Longer {
        covered: 6 * STEP,
        size: 5 * STEP + 7,
    };
    assert!(longer.is_of_the_log());
    assert_eq!(audited(&leaves(&more, &|_, _| {})).await, Err(longer));
}

use std::collections::BTreeMap;
use std::sync::Arc;

use quorix_testkit::entries::{a_retraction_of, an_attestation, bytes_of, log_key};
use quorix_testkit::memory::MemoryLog;
use quorix_testkit::tree::{Grower, blob_id, naive_tile};
use quorix_tlog::checkpoint::Checkpoint;
use quorix_tlog::hash::{Hash, leaf_hash};
use quorix_tlog::tile::{TileId, TileLevel, tiles_of};
use quorix_trust::attestation::{BlobId, Entry, KeyRotation};
use quorix_trust::ports::{CommitError, Head, LogBatch, LogStore, StoreError, TileStore};

use super::*;

const ALICE: &str = "logs.example.org/alice";

/// A log in memory of which some tiles, blobs or rows are not as they should be.
#[derive(Clone, Default)]
struct Damaged {
    log: MemoryLog,
    tiles: BTreeMap<TileId, Option<Vec<u8>>>,
    without_blobs: bool,
    indices: BTreeMap<Hash, Option<u64>>,
    retractions: BTreeMap<Hash, u64>,
}

impl TileStore for Damaged {
    fn head(&self) -> Result<Option<Head>, StoreError> {
        self.log.head()
    }

    fn tile(&self, id: TileId) -> Result<Option<Vec<u8>>, StoreError> {
        self.tiles
            .get(&id)
            .map_or_else(|| self.log.tile(id), |tile| Ok(tile.clone()))
    }

    fn blob(&self, id: &BlobId) -> Result<Option<Vec<u8>>, StoreError> {
        if self.without_blobs {
            Ok(None)
        } else {
            self.log.blob(id)
        }
    }

    fn index_of(&self, leaf: &Hash) -> Result<Option<u64>, StoreError> {
        self.indices
            .get(leaf)
            .map_or_else(|| self.log.index_of(leaf), |index| Ok(*index))
    }
}

impl LogStore for Damaged {
    fn retraction_of(&self, leaf: &Hash) -> Result<Option<u64>, StoreError> {
        match self.retractions.get(leaf) {
            Some(index) => Ok(Some(*index)),
            None => self.log.retraction_of(leaf),
        }
    }

    fn commit(&self, expected: u64, batch: &LogBatch) -> Result<(), CommitError> {
        self.log.commit(expected, batch)
    }

    fn published(&self) -> Result<Option<Head>, StoreError> {
        self.log.published()
    }

    fn note_published(&self, head: Option<&Head>) -> Result<(), StoreError> {
        self.log.note_published(head)
    }

    fn backup(&self, dir: &std::path::Path) -> Result<u64, StoreError> {
        self.log.backup(dir)
    }

    fn is_copy(&self) -> Result<bool, StoreError> {
        self.log.is_copy()
    }

    fn confirm_copy(&self) -> Result<(), StoreError> {
        self.log.confirm_copy()
    }
}

impl Damaged {
    /// A sound log with these entries.
    fn sound(entries: &[Vec<u8>]) -> Self {
        let log = Self::default();
        log.append(&mut Grower::new(ALICE), entries);
        log
    }

    fn append(&self, grower: &mut Grower, entries: &[Vec<u8>]) {
        let (expected, retractions) = (grower.size(), Vec::new());
        let tree = grower.grow(entries);
        self.log
            .commit(expected, &LogBatch { tree, retractions })
            .unwrap();
    }

    fn checkpoint(&self) -> Checkpoint {
        let head = self.log.head().unwrap().unwrap();
        Checkpoint {
            origin: ALICE.to_owned(),
            size: head.size,
            root: head.root,
            extensions: Vec::new(),
        }
    }

    /// Flips the lowest bit of one byte of a tile.
    fn flip(mut self, id: TileId, byte: usize) -> Self {
        let mut tile = self.log.tile(id).unwrap().unwrap();
        tile[byte] ^= 1;
        self.tiles.insert(id, Some(tile));
        self
    }

    fn source(&self) -> LogSource {
        LogSource::Own(Arc::new(self.clone()))
    }

    async fn checked(&self) -> Counts {
        self.checked_from(State::default()).await.unwrap()
    }

    async fn checked_from(&self, from: State) -> Result<Counts, GrowError> {
        check(&self.source(), &self.checkpoint(), asked(from), |_| ()).await
    }

    /// The problems that a check names, as it prints them.
    async fn problems(&self) -> Vec<String> {
        let counts = self.checked().await;
        assert_eq!(counts.problems, counts.named.len() as u64);
        counts.named.iter().map(ToString::to_string).collect()
    }
}

/// All of it, from there on.
fn asked(from: State) -> Check {
    Check {
        key: log_key(ALICE).verifier().clone(),
        blobs: true,
        at_once: 2,
        from,
    }
}

fn numbered(count: usize) -> Vec<Vec<u8>> {
    (0..count)
        .map(|number| format!("entry {number}").into_bytes())
        .collect()
}

#[tokio::test]
async fn growing_in_steps_gives_every_entry_and_every_tile_of_each_size() {
    let entries = numbered(70_000);
    let leaves: Vec<Hash> = entries.iter().map(|entry| leaf_hash(entry)).collect();
    let (log, mut grower) = (Damaged::default(), Grower::new(ALICE));
    let mut growth = Growth::from_the_beginning();
    let mut tiles = BTreeMap::new();
    let mut seen: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
    for until in [1, 200, 256, 257, 600, 65_536, 65_537, 70_000] {
        let from = grower.entries().len();
        log.append(&mut grower, &entries[from..until]);
        loop {
            let grown = growth.step(&log.source(), &log.checkpoint()).await.unwrap();
            tiles.extend(grown.tiles);
            for bundle in &grown.bundles {
                seen.extend(
                    bundle
                        .entries()
                        .map(|(index, entry)| (index, entry.to_vec())),
                );
            }
            if grown.is_done {
                break;
            }
        }
        assert_eq!(growth.head(), Some((until as u64, grower.head().root)));
        assert!(seen.values().eq(&entries[..until]));
        for (id, _) in tiles_of(until as u64) {
            let TileLevel::Hashes(level) = id.level else {
                unreachable!("only hash tiles")
            };
            // The oracle is slow: the right edge changes, the rest was looked at before.
            if id.width_at(until as u64) < 256 || level > 0 {
                assert_eq!(
                    tiles[&id],
                    naive_tile(&leaves[..until], level, id.index),
                    "{id:?} at {until}"
                );
            }
        }
    }
}

#[tokio::test]
async fn growing_may_begin_in_the_middle_and_what_is_before_is_proved() {
    let log = Damaged::sound(&numbered(1_000));
    let checkpoint = log.checkpoint();
    let mut growth = Growth::skipping(&log.source(), 700, &checkpoint)
        .await
        .unwrap();
    let grown = growth.step(&log.source(), &checkpoint).await.unwrap();
    assert_eq!(
        (grown.bundles[0].index, grown.size, grown.is_done),
        (2, 1_000, true)
    );

    let altered = log.flip(TileId::hashes(1, 0), 0);
    let refused = Growth::skipping(&altered.source(), 700, &checkpoint).await;
    assert!(
        matches!(refused, Err(GrowError::Unverified { .. })),
        "{refused:?}"
    );
}

#[tokio::test]
async fn nothing_is_handed_out_that_is_not_of_the_signed_tree() {
    // These entries have 11 bytes and 2 of length: byte 44 is in the text of one.
    let log = Damaged::sound(&numbered(20_000)).flip(TileId::entries(70), 44);
    let mut growth = Growth::from_the_beginning();
    let first = growth.step(&log.source(), &log.checkpoint()).await.unwrap();
    assert_eq!((first.size, first.is_done), (64 * 256, false));
    let refused = growth
        .step(&log.source(), &log.checkpoint())
        .await
        .unwrap_err();
    assert!(matches!(refused, GrowError::Unverified { .. }), "{refused}");
    assert_eq!(growth.head().unwrap().0, 64 * 256);
}

#[tokio::test]
async fn a_log_that_says_something_else_than_before_is_told_apart_from_a_failure() {
    let (one, mut other) = (Damaged::sound(&numbered(300)), numbered(400));
    let mut growth = Growth::from_the_beginning();
    while !growth
        .step(&one.source(), &one.checkpoint())
        .await
        .unwrap()
        .is_done
    {}
    other[299] = b"another".to_vec();
    let other = Damaged::sound(&other);
    let forked = growth.step(&other.source(), &other.checkpoint()).await;
    assert_eq!(forked, Err(GrowError::Forked { size: 300 }));
    let shorter = Damaged::sound(&numbered(299));
    let behind = growth.step(&shorter.source(), &shorter.checkpoint()).await;
    assert_eq!(
        behind,
        Err(GrowError::Behind {
            found: 299,
            known: 300
        })
    );
    // It goes on with the log as it was.
    let longer = Damaged::sound(&numbered(301));
    assert!(
        growth
            .step(&longer.source(), &longer.checkpoint())
            .await
            .unwrap()
            .is_done
    );
}

#[tokio::test]
async fn a_sound_log_has_no_problems_at_any_size() {
    for size in [0, 1, 255, 256, 257, 511, 512, 65_535, 65_536, 65_537] {
        let log = Damaged::sound(&numbered(size));
        let counts = log.checked().await;
        assert_eq!(counts.problems, 0, "{size}: {:?}", counts.named);
        assert_eq!((counts.entries, counts.opaque), (size as u64, size as u64));
        assert_eq!(counts.tiles, tiles_of(size as u64).count() as u64, "{size}");
    }
}

#[tokio::test]
async fn one_flipped_byte_is_found_named_and_blamed_on_the_right_file() {
    let log = Damaged::sound(&numbered(66_000));
    // `entry 0` to `entry 9` have 7 bytes and 2 of length: byte 21 is in entry 2.
    let full = log.clone().flip(TileId::entries(0), 21);
    assert_eq!(
        full.problems().await,
        ["entry 2: its bytes do not have the hash that is in the tree (tile/0/000)"]
    );
    let last = log.clone().flip(TileId::entries(257), 4);
    assert_eq!(
        last.problems().await,
        ["entry 65792: its bytes do not have the hash that is in the tree (tile/0/257.p/208)"]
    );
    let hashes = log.clone().flip(TileId::hashes(0, 0), 32 * 5);
    assert_eq!(
        hashes.problems().await,
        ["tile/0/000: it has another hash than entry 5, which is the one in the tree"]
    );
    let partial = log.clone().flip(TileId::hashes(0, 257), 32);
    assert_eq!(
        partial.problems().await,
        ["tile/0/257.p/208: it has another hash than entry 65793, which is the one in the tree"]
    );
    let above = log.clone().flip(TileId::hashes(1, 0), 32 * 7);
    assert_eq!(
        above.problems().await,
        ["tile/1/000: hash 7 is not that of the tiles below it"]
    );
    let top = log.flip(TileId::hashes(2, 0), 3);
    assert_eq!(
        top.problems().await,
        ["tile/2/000.p/1: hash 0 is not that of the tiles below it"]
    );
}

#[tokio::test]
async fn what_is_missing_is_named_and_the_rest_still_checked() {
    let mut log = Damaged::sound(&numbered(1_000));
    log.tiles.insert(TileId::hashes(0, 1), None);
    log.tiles.insert(TileId::hashes(1, 0), None);
    log.tiles.insert(TileId::entries(2), None);
    let counts = log.checked().await;
    let named: Vec<String> = counts.named.iter().map(ToString::to_string).collect();
    assert_eq!(
        named,
        [
            "tile/0/001: tile/0/001 is missing",
            "tile/entries/002: tile/entries/002 is missing",
            "tile/1/000.p/3: tile/1/000.p/3 is missing",
        ]
    );
    assert_eq!(counts.entries, 1_000 - 256);
}

#[tokio::test]
async fn a_checkpoint_over_another_root_is_a_problem() {
    let log = Damaged::sound(&numbered(600));
    let mut goal = log.checkpoint();
    goal.root = leaf_hash(b"another");
    let asked = asked(State::default());
    let counts = check(&log.source(), &goal, asked, |_| ()).await.unwrap();
    assert_eq!(counts.problems, 1);
    assert!(
        counts.named[0]
            .to_string()
            .starts_with("checkpoint: its root is "),
        "{:?}",
        counts.named
    );
}

#[tokio::test]
async fn blobs_must_be_there_and_be_what_the_entries_say() {
    let listed = an_attestation()
        .referring_to(&["glibc"])
        .with_references_in_a_blob();
    let mut log = Damaged::default();
    let mut tree = Grower::new(ALICE).grow(&[listed.bytes()]);
    let id = blob_id(&listed.blob());
    tree.blobs.push((id, listed.blob()));
    let retractions = Vec::new();
    log.log.commit(0, &LogBatch { tree, retractions }).unwrap();
    let counts = log.checked().await;
    assert_eq!((counts.problems, counts.blobs, counts.opaque), (0, 1, 0));

    log.without_blobs = true;
    let name = format!("blob/{}", Hash::from_bytes(id).to_hex());
    assert_eq!(
        log.problems().await,
        [format!("entry 0: names a blob: {name} is missing")]
    );
}

#[tokio::test]
async fn look_up_tables_of_ones_own_log_must_agree_with_its_entries() {
    let hello = an_attestation().bytes();
    let other = an_attestation().of("other").bytes();
    let retraction = bytes_of(&a_retraction_of(std::slice::from_ref(&hello)));
    let entries = [hello.clone(), other.clone(), retraction, hello.clone()];
    let mut log = Damaged::default();
    let tree = Grower::new(ALICE).grow(&entries);
    let retractions = vec![(leaf_hash(&hello), 2)];
    log.log.commit(0, &LogBatch { tree, retractions }).unwrap();
    let counts = log.checked().await;
    assert_eq!(
        (counts.problems, counts.retractions),
        (0, 1),
        "{:?}",
        counts.named
    );

    let mut forgetful = log.clone();
    forgetful.indices.insert(leaf_hash(&other), None);
    assert_eq!(
        forgetful.problems().await,
        ["entry 1: it is not in the table of leaf hashes, so it could be appended twice"]
    );
    let mut mistaken = log.clone();
    mistaken.indices.insert(leaf_hash(&other), Some(0));
    assert_eq!(
        mistaken.problems().await,
        ["entry 1: the table of leaf hashes leads to entry 0 instead"]
    );
    log.retractions.insert(leaf_hash(&other), 2);
    assert_eq!(
        log.problems().await,
        ["entry 1: the table of retractions says that entry 2 withdraws it, which does not"]
    );
    let unsaid = Damaged::default();
    unsaid.append(&mut Grower::new(ALICE), &entries);
    let leaf = leaf_hash(&hello);
    assert_eq!(
        unsaid.problems().await,
        [format!(
            "entry 2: it withdraws {leaf}, but the table of retractions does not say so"
        )]
    );
}

#[tokio::test]
async fn only_a_rotation_that_the_logs_key_signed_ends_it() {
    let next = log_key("logs.example.org/alice-2");
    let by = |old: &str| {
        let rotation = KeyRotation::sign(&log_key(old), &next).unwrap();
        bytes_of(&Entry::KeyRotation(rotation))
    };
    let mut entries = numbered(3);
    entries.insert(1, by("logs.example.org/bob"));
    let log = Damaged::sound(&entries);
    assert_eq!(log.problems().await, Vec::<String>::new());
    assert_eq!(log.checked().await.rotation, None);

    entries.insert(2, by(ALICE));
    let log = Damaged::sound(&entries);
    let follows = "it follows the key rotation of entry 2, which must be the last";
    assert_eq!(
        log.problems().await,
        [format!("entry 3: {follows}"), format!("entry 4: {follows}")]
    );
    assert_eq!(log.checked().await.rotation, Some(2));
}

#[tokio::test]
async fn a_check_that_was_cut_off_goes_on_where_it_stopped_and_remembers_what_it_found() {
    let log = Damaged::sound(&numbered(1_000)).flip(TileId::entries(0), 21);
    let mut states = Vec::new();
    let asked = asked(State::default());
    let whole = check(&log.source(), &log.checkpoint(), asked, |progress| {
        states.push(progress.state.clone());
    })
    .await
    .unwrap();
    assert_eq!(
        states.iter().map(|state| state.size).collect::<Vec<_>>(),
        [256, 512, 768, 768]
    );
    for state in states {
        assert_eq!(log.checked_from(state).await, Ok(whole.clone()));
    }
}

#[tokio::test]
async fn a_check_does_not_go_on_in_a_log_that_changed_meanwhile() {
    let log = Damaged::sound(&numbered(1_000));
    let mut state = State::default();
    let asked = asked(State::default());
    let _ = check(&log.source(), &log.checkpoint(), asked, |progress| {
        state = progress.state.clone();
    })
    .await;
    let mut other = numbered(1_000);
    other[3] = b"another".to_vec();
    let other = Damaged::sound(&other);
    assert_eq!(
        other.checked_from(state).await,
        Err(GrowError::Forked { size: 768 })
    );
}

#[tokio::test]
async fn proofs_of_inclusion_come_from_the_tiles_of_the_log() {
    let entries = numbered(1_000);
    let log = Damaged::sound(&entries);
    let Checkpoint { size, root, .. } = log.checkpoint();
    for index in [0, 255, 256, 999] {
        let proof = inclusion(&log.source(), index, size).await.unwrap();
        let leaf = leaf_hash(&entries[usize::try_from(index).unwrap()]);
        quorix_tlog::proof::verify_inclusion(index, size, &leaf, &proof, &root).unwrap();
    }
    assert!(inclusion(&log.source(), 1_000, size).await.is_err());
}

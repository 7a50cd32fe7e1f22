//! The suite for log stores, and what only a database on a disk can do.

use quorix_testkit::conformance;
use quorix_testkit::tree::Grower;
use quorix_tlog::hash::leaf_hash;
use quorix_tlog::tile::TileId;

use super::*;
use crate::RocksIndex;

const ORIGIN: &str = "logs.example.org/alice";

fn plain(tree: quorix_trust::ports::TreeBatch) -> LogBatch {
    LogBatch {
        tree,
        retractions: Vec::new(),
    }
}

#[test]
fn the_log_on_rocksdb_conforms() {
    conformance::log_store(|dir| RocksLog::open(dir).unwrap());
}

#[test]
fn many_leaves_are_looked_up_as_each_of_them_is() {
    let dir = tempfile::tempdir().unwrap();
    let mut grower = Grower::new(ORIGIN);
    let log = RocksLog::open(dir.path()).unwrap();
    // "b" comes twice in one batch: the newest counts. Then the database is opened anew, so that some of it is in files.
    log.commit(0, &plain(grower.grow(&["a", "b", "c", "b"])))
        .unwrap();
    drop(log);
    let log = RocksLog::open(dir.path()).unwrap();
    log.commit(4, &plain(grower.grow(&["d", "a"]))).unwrap();
    let leaves = ["b", "nothing", "a", "d", "c", "b"].map(|text| leaf_hash(text.as_bytes()));
    let expected = vec![Some(3), None, Some(5), Some(4), Some(2), Some(3)];
    assert_eq!(log.indices_of(&leaves), Ok(expected.clone()));
    let each: Result<Vec<_>, _> = leaves.iter().map(|leaf| log.index_of(leaf)).collect();
    assert_eq!(each, Ok(expected));
    assert_eq!(log.indices_of(&[]), Ok(Vec::new()));
}

#[test]
fn a_tile_is_at_hand_once_it_was_written_or_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut grower = Grower::new(ORIGIN);
    let id = TileId::hashes(0, 0);
    let log = RocksLog::open(dir.path()).unwrap();
    assert_eq!(log.tile_at_hand(id), Ok(None));
    log.commit(0, &plain(grower.grow(&["a", "b"]))).unwrap();
    let written = log.tile(id).unwrap();
    assert_eq!(written.as_ref().map(Vec::len), Some(64));
    assert_eq!(log.tile_at_hand(id), Ok(written.clone()));
    drop(log);
    // What was in the write-ahead log is in a file now.
    let log = RocksLog::open(dir.path()).unwrap();
    let at_hand = log.tile_at_hand(id).unwrap();
    assert!(at_hand.is_none() || at_hand == written, "{at_hand:?}");
    assert_eq!(log.tile(id), Ok(written.clone()));
    assert_eq!(log.tile_at_hand(id), Ok(written));
}

#[test]
fn a_database_is_open_once() {
    let dir = tempfile::tempdir().unwrap();
    let first = RocksLog::open(dir.path()).unwrap();
    let second = RocksLog::open(dir.path()).err().unwrap();
    assert_eq!(
        second,
        OpenError::Locked {
            dir: dir.path().to_path_buf()
        }
    );
    let expected = format!(
        "another quorix process has this database open: {}",
        dir.path().display()
    );
    assert_eq!(second.to_string(), expected);
    drop(first);
    RocksLog::open(dir.path()).unwrap();
}

#[test]
fn a_database_of_another_role_is_not_opened() {
    let dir = tempfile::tempdir().unwrap();
    drop(RocksLog::open(dir.path()).unwrap());
    let error = RocksIndex::open(dir.path()).err().unwrap();
    let OpenError::Schema {
        found, expected, ..
    } = &error
    else {
        unreachable!("{error}")
    };
    assert_eq!(
        (found.as_str(), expected.as_str()),
        (
            "another kind of database, with retractions",
            "quorix index 3"
        )
    );
}

#[test]
fn a_database_of_an_unknown_version_is_not_opened() {
    let dir = tempfile::tempdir().unwrap();
    let log = RocksLog::open(dir.path()).unwrap();
    let mut batch = log.database.batch();
    batch.put(META, b"schema", b"quorix log 2").unwrap();
    batch.commit("writing the schema").unwrap();
    drop(log);
    let error = RocksLog::open(dir.path()).err().unwrap();
    let OpenError::Schema {
        found, expected, ..
    } = &error
    else {
        unreachable!("{error}")
    };
    assert_eq!(
        (found.as_str(), expected.as_str()),
        ("quorix log 2", "quorix log 1")
    );
}

#[test]
fn a_directory_that_cannot_be_made_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "in the way").unwrap();
    let error = RocksLog::open(&dir.path().join("file/log")).err().unwrap();
    assert!(matches!(error, OpenError::Failed { .. }), "{error}");
}

#[test]
fn a_cut_head_is_an_error_and_no_panic() {
    let dir = tempfile::tempdir().unwrap();
    let log = RocksLog::open(dir.path()).unwrap();
    for length in [0, 7, 39] {
        let mut batch = log.database.batch();
        batch.put(META, b"head/", &vec![0; length]).unwrap();
        batch.commit("cutting the head").unwrap();
        let error = log.head().unwrap_err();
        assert_eq!(error.reason, "the stored head is cut off");
        let commit = log.commit(0, &plain(Grower::new(ORIGIN).grow(&["a"])));
        assert_eq!(commit, Err(CommitError::Store(error)));
    }
}

/// The files of a database as they are at this moment, as a crash would leave them.
fn crash(dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(dir).unwrap() {
        let file = file.unwrap();
        if file.file_name() != "LOCK" {
            std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
        }
    }
    copy
}

fn write_ahead_log(dir: &Path) -> std::path::PathBuf {
    let files = std::fs::read_dir(dir)
        .unwrap()
        .map(|file| file.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .max()
        .unwrap()
}

#[test]
fn every_acknowledged_commit_is_in_the_files_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let log = RocksLog::open(dir.path()).unwrap();
    let mut grower = Grower::new(ORIGIN);
    for size in 0..5 {
        log.commit(size, &plain(grower.grow(&[format!("entry {size}")])))
            .unwrap();
        let crashed = crash(dir.path());
        let reopened = RocksLog::open(crashed.path()).unwrap();
        assert_eq!(reopened.head(), Ok(Some(grower.head())));
        assert_eq!(reopened.torn(), None);
    }
}

#[test]
fn a_commit_that_was_cut_off_is_dropped_whole() {
    let dir = tempfile::tempdir().unwrap();
    let log = RocksLog::open(dir.path()).unwrap();
    let mut grower = Grower::new(ORIGIN);
    log.commit(0, &plain(grower.grow(&["first"]))).unwrap();
    let (head, length) = (
        grower.head(),
        std::fs::metadata(write_ahead_log(dir.path()))
            .unwrap()
            .len(),
    );
    log.commit(1, &plain(grower.grow(&["second"]))).unwrap();
    let whole = std::fs::metadata(write_ahead_log(dir.path()))
        .unwrap()
        .len();
    for cut in [length + 1, length + 8, whole - 1] {
        let crashed = crash(dir.path());
        let wal = write_ahead_log(crashed.path());
        std::fs::OpenOptions::new()
            .write(true)
            .open(wal)
            .unwrap()
            .set_len(cut)
            .unwrap();
        let reopened = RocksLog::open(crashed.path()).unwrap();
        // And told of.
        let torn = reopened.torn().unwrap();
        assert_eq!((torn.whole_bytes, torn.torn_bytes), (length, cut - length));
        assert_eq!(torn.file.extension().unwrap(), "log");
        assert_eq!(
            reopened.head(),
            Ok(Some(head.clone())),
            "cut at {cut} of {whole}"
        );
        assert_eq!(reopened.index_of(&leaf_hash(b"second")), Ok(None));
    }
}

#[test]
fn an_acknowledged_commit_that_was_damaged_is_never_silently_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    let log = RocksLog::open(dir.path()).unwrap();
    let mut grower = Grower::new(ORIGIN);
    let mut ends = Vec::new();
    for size in 0..3 {
        log.commit(size, &plain(grower.grow(&[format!("entry {size}")])))
            .unwrap();
        ends.push(
            usize::try_from(
                std::fs::metadata(write_ahead_log(dir.path()))
                    .unwrap()
                    .len(),
            )
            .unwrap(),
        );
    }
    // In the middle, and in the very last one.
    for damaged in [ends[0].midpoint(ends[1]), ends[1].midpoint(ends[2])] {
        let crashed = crash(dir.path());
        let wal = write_ahead_log(crashed.path());
        let mut bytes = std::fs::read(&wal).unwrap();
        bytes[damaged] ^= 1;
        std::fs::write(&wal, bytes).unwrap();
        let error = RocksLog::open(crashed.path()).err().unwrap();
        assert!(matches!(error, OpenError::Failed { .. }), "{error}");
    }
}

#[test]
fn a_backup_is_the_whole_log_and_is_marked_until_it_is_confirmed() {
    let dir = tempfile::tempdir().unwrap();
    let (original, copy) = (dir.path().join("log"), dir.path().join("copy"));
    let store = RocksLog::open(&original).unwrap();
    let mut grower = Grower::new(ORIGIN);
    let entries: Vec<_> = (0..300).map(|number| format!("entry {number}")).collect();
    let first = grower.grow(&entries);
    store.commit(0, &plain(first.clone())).unwrap();
    assert_eq!(store.backup(&copy), Ok(300));
    // What comes later is not in it.
    store.commit(300, &plain(grower.grow(&["later"]))).unwrap();
    assert_eq!(store.is_copy(), Ok(false));

    let restored = RocksLog::open(&copy).unwrap();
    assert_eq!(restored.head(), Ok(Some(first.head)));
    for (id, tile) in &first.tiles {
        assert_eq!(restored.tile(*id).as_ref(), Ok(&Some(tile.clone())));
    }
    assert_eq!(restored.is_copy(), Ok(true));
    drop(restored);
    let restored = RocksLog::open(&copy).unwrap();
    assert_eq!(restored.is_copy(), Ok(true));
    assert_eq!(restored.confirm_copy(), Ok(()));
    drop(restored);
    assert_eq!(RocksLog::open(&copy).unwrap().is_copy(), Ok(false));
}

#[test]
fn a_backup_overwrites_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = RocksLog::open(&dir.path().join("log")).unwrap();
    let error = store.backup(dir.path()).unwrap_err();
    assert_eq!(
        error.reason,
        format!("{} exists already", dir.path().display())
    );
}

#[test]
fn a_log_is_read_without_its_lock_and_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let log = RocksLog::open(dir.path()).unwrap();
    let mut grower = Grower::new("logs.example.org/alice");
    let first = plain(grower.grow(&["a", "b"]));
    log.commit(0, &first).unwrap();
    let reading = RocksLog::open_to_read(dir.path()).unwrap();
    assert_eq!(reading.head(), Ok(Some(first.tree.head.clone())));
    for (id, tile) in &first.tree.tiles {
        assert_eq!(reading.tile(*id).as_ref(), Ok(&Some(tile.clone())));
    }
    let second = plain(grower.grow(&["c"]));
    assert!(matches!(
        reading.commit(2, &second),
        Err(CommitError::Store(_))
    ));
    assert_eq!(log.commit(2, &second), Ok(()));
    assert_eq!(reading.head(), Ok(Some(first.tree.head)));
}

#[test]
fn a_torn_tail_is_measured_over_many_blocks() {
    let dir = tempfile::tempdir().unwrap();
    let log = RocksLog::open(dir.path()).unwrap();
    let mut grower = Grower::new(ORIGIN);
    let large = |n: u8| [vec![n; 60_000], vec![n; 50_000]];
    log.commit(0, &plain(grower.grow(&large(1)))).unwrap();
    let whole = |dir: &Path| std::fs::metadata(write_ahead_log(dir)).unwrap().len();
    let first = whole(dir.path());
    log.commit(2, &plain(grower.grow(&large(2)))).unwrap();
    assert_eq!(
        RocksLog::open(crash(dir.path()).path()).unwrap().torn(),
        None
    );
    // In its first, second and last block.
    for cut in [first + 100, first + 40_000, whole(dir.path()) - 1] {
        let crashed = crash(dir.path());
        let wal = std::fs::File::options()
            .write(true)
            .open(write_ahead_log(crashed.path()))
            .unwrap();
        wal.set_len(cut).unwrap();
        let reopened = RocksLog::open(crashed.path()).unwrap();
        let torn = reopened.torn().unwrap();
        assert_eq!((torn.whole_bytes, torn.torn_bytes), (first, cut - first));
        assert_eq!(reopened.head().unwrap().unwrap().size, 2);
    }
}

#[test]
fn a_backup_of_a_log_that_is_written_meanwhile_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    let store = RocksLog::open(&dir.path().join("log")).unwrap();
    let mut grower = Grower::new(ORIGIN);
    let mut batches = Vec::new();
    for step in 0..60_u64 {
        let entries: Vec<_> = (0..50).map(|n| format!("entry {step} {n}")).collect();
        batches.push((grower.size(), plain(grower.grow(&entries))));
    }
    store.commit(0, &batches[0].1).unwrap();
    let copies = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for (size, batch) in &batches[1..] {
                store.commit(*size, batch).unwrap();
            }
        });
        let mut copies = Vec::new();
        while copies.is_empty() || (!writer.is_finished() && copies.len() < 20) {
            let copy = dir.path().join(format!("copy-{}", copies.len()));
            let size = store.backup(&copy).unwrap();
            copies.push((copy, size));
        }
        copies
    });
    for (copy, size) in copies {
        let restored = RocksLog::open(&copy).unwrap();
        assert_eq!(restored.is_copy(), Ok(true));
        let (_, batch) = &batches[usize::try_from(size / 50).unwrap() - 1];
        assert_eq!(restored.head(), Ok(Some(batch.tree.head.clone())));
        for (id, tile) in &batch.tree.tiles {
            assert_eq!(restored.tile(*id).as_ref(), Ok(&Some(tile.clone())));
        }
        let beyond = TileId::entries(size / 256 + 1);
        assert_eq!(restored.tile(beyond), Ok(None));
    }
}

#[test]
fn a_backup_that_was_not_finished_is_named_and_one_that_fails_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = RocksLog::open(&dir.path().join("log")).unwrap();
    let (copy, left) = (dir.path().join("copy"), dir.path().join("copy.unfinished"));
    std::fs::create_dir(&left).unwrap();
    let error = store.backup(&copy).unwrap_err();
    let reason = format!(
        "{} is left over from a copy that was not finished, or is being made; remove it if no copy is being made",
        left.display()
    );
    assert_eq!(error.reason, reason);
    std::fs::remove_dir(&left).unwrap();
    assert_eq!(store.backup(&copy), Ok(0));
    assert!(!left.exists());
    let nowhere = dir.path().join("log").join("CURRENT").join("copy");
    assert!(store.backup(&nowhere).is_err());
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
}

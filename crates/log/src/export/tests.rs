use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _};
use quorix_testkit::entries::{an_attestation, log_key};
use quorix_testkit::memory::MemoryLog;
use quorix_testkit::tree::{Grower, blob_id};
use quorix_tlog::hash::Hash;
use quorix_tlog::tile::tiles_of;
use quorix_trust::ports::{LogBatch, LogStore as _, TileStore as _};
use quorix_wire::fetch::{Answer, FetchError, FetchLimits, Request, Transport};
use quorix_wire::scan::{Check, State, check};

use super::*;

pub(crate) const ALICE: &str = "logs.example.org/alice";

/// A log in memory that grows, and the folder into which it is exported.
pub(crate) struct World {
    pub(crate) grower: Grower,
    pub(crate) log: MemoryLog,
    pub(crate) dir: tempfile::TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            grower: Grower::new(ALICE),
            log: MemoryLog::new(),
            dir: tempfile::tempdir().unwrap(),
        }
    }

    /// Appends entries until there are `size`; `salt` tells one log from another.
    pub(crate) fn grow_to(&mut self, size: usize, salt: &str) {
        let start = self.grower.entries().len();
        let entries: Vec<Vec<u8>> = (start..size)
            .map(|n| format!("{salt} {n}").into_bytes())
            .collect();
        self.append(&entries, Vec::new());
    }

    pub(crate) fn append(&mut self, entries: &[Vec<u8>], blobs: Vec<(BlobId, Vec<u8>)>) {
        let expected = self.grower.size();
        let mut tree = self.grower.grow(entries);
        tree.blobs = blobs;
        let retractions = Vec::new();
        self.log
            .commit(expected, &LogBatch { tree, retractions })
            .unwrap();
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    /// Writes the folder without asking anything.
    pub(crate) fn write_everything(&self) {
        let size = self.grower.size();
        let bundles = (0..size.div_ceil(256)).map(TileId::entries);
        let bundles = bundles.map(|id| (id, id.width_at(size)));
        for (id, width) in tiles_of(size).chain(bundles) {
            let path = self.folder().join(TilePath { id, width }.to_string());
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, self.log.tile(id).unwrap().unwrap()).unwrap();
        }
        let checkpoint = self.grower.head().checkpoint;
        std::fs::write(self.folder().join("checkpoint"), checkpoint).unwrap();
    }

    pub(crate) fn exporter(&self) -> Exporter {
        let source = LogSource::Stored(Arc::new(self.log.clone()));
        let key = log_key(ALICE).verifier().clone();
        Exporter::new(
            source,
            key,
            Folder::open(&self.folder()).unwrap(),
            fetcher(),
        )
    }

    pub(crate) async fn export(&self) -> Result<Exported, ExportError> {
        let mut exporter = self.exporter();
        let shown = exporter.newest().await?;
        exporter
            .run(shown.checkpoint(), |_| shown.bytes().to_vec(), |_| ())
            .await
    }

    /// Checks the folder whole, as a log.
    async fn assert_sound(&self) {
        let exporter = self.exporter();
        let copied = exporter.copied().await.unwrap().unwrap();
        assert_eq!(copied.bytes(), self.grower.head().checkpoint);
        let asked = Check {
            key: log_key(ALICE).verifier().clone(),
            blobs: true,
            at_once: 4,
            from: State::default(),
        };
        let counts = check(exporter.copy(), copied.checkpoint(), asked, |_| ())
            .await
            .unwrap();
        assert_eq!(
            (counts.problems, counts.entries),
            (0, self.grower.size()),
            "{:?}",
            counts.named
        );
    }
}

pub(crate) fn fetcher() -> Fetcher {
    // A second installation fails, and is the same one.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Fetcher::new(FetchLimits::default()).unwrap()
}

/// Every file below a folder that the static API knows, with its bytes.
pub(crate) fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![dir.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for file in std::fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            let name = path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
            if name.starts_with('.') {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(name, std::fs::read(path).unwrap());
            }
        }
    }
    found
}

#[tokio::test]
async fn an_exported_folder_has_exactly_the_files_of_the_static_api() {
    let mut world = World::new();
    for size in [0, 1, 256, 700, 66_000] {
        world.grow_to(size, "entry");
        let exported = world.export().await.unwrap();
        assert_eq!(exported.size, size as u64);
        world.assert_sound().await;
        let size = size as u64;
        let tiles = tiles_of(size).map(|(id, width)| TilePath { id, width }.to_string());
        let bundles = (0..size.div_ceil(256)).map(|index| {
            let id = TileId::entries(index);
            let width = id.width_at(size);
            TilePath { id, width }.to_string()
        });
        let mut expected: Vec<String> = tiles
            .chain(bundles)
            .chain(["checkpoint".to_owned()])
            .collect();
        expected.sort();
        let found = files(&world.folder());
        // Partial tiles of earlier sizes stay until the full ones are there: other files of the same folder.
        let found: Vec<&String> = found
            .keys()
            .filter(|name| expected.contains(name))
            .collect();
        assert_eq!(found, expected.iter().collect::<Vec<_>>(), "{size}");
    }
}

#[tokio::test]
async fn a_second_run_adds_what_is_new_and_changes_nothing_but_the_checkpoint() {
    let mut world = World::new();
    world.grow_to(300, "entry");
    world.export().await.unwrap();
    let before = files(&world.folder());
    assert!(before.contains_key("tile/entries/001.p/44"));
    world.grow_to(600, "entry");
    let exported = world.export().await.unwrap();
    assert_eq!((exported.from, exported.size), (300, 600));
    let after = files(&world.folder());
    for (name, bytes) in &before {
        match name.as_str() {
            "checkpoint" => assert_ne!(after[name], *bytes),
            // Full now, and below the checkpoint.
            "tile/entries/001.p/44" | "tile/0/001.p/44" => {
                assert!(!after.contains_key(name), "{name}")
            }
            _ => assert_eq!(after[name], *bytes, "{name}"),
        }
    }
    world.assert_sound().await;
    let idle = world.export().await.unwrap();
    assert_eq!((idle.from, idle.size, idle.files), (600, 600, 0));
    assert_eq!(files(&world.folder()), after);
}

#[tokio::test]
async fn a_run_that_was_cut_off_leaves_the_log_from_before_and_is_made_up_for() {
    let mut world = World::new();
    world.grow_to(300, "entry");
    world.export().await.unwrap();
    world.grow_to(40_000, "entry");
    let mut exporter = world.exporter();
    let shown = exporter.newest().await.unwrap();
    let checkpoint = shown.checkpoint().clone();
    {
        let run = exporter.run(&checkpoint, |_| shown.bytes().to_vec(), |_| ());
        tokio::pin!(run);
        // Polled only until the first step is told.
        std::future::poll_fn(|context| {
            let polled = run.as_mut().poll(context).is_ready();
            assert!(!polled);
            std::task::Poll::Ready(())
        })
        .await;
    }
    assert_eq!(
        exporter.copied().await.unwrap().unwrap().checkpoint().size,
        300
    );
    drop(exporter);
    world.export().await.unwrap();
    world.assert_sound().await;
}

#[tokio::test]
async fn files_that_are_there_with_other_bytes_are_never_overwritten() {
    let mut world = World::new();
    world.grow_to(300, "entry");
    let path = world.folder().join("tile/entries/000");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, "something else").unwrap();
    let refused = world.export().await.unwrap_err();
    assert!(
        matches!(&refused, ExportError::Folder(FolderError::Immutable { path: named }) if *named == path),
        "{refused}"
    );
    assert_eq!(std::fs::read(&path).unwrap(), b"something else");
    assert!(!world.folder().join("checkpoint").exists());
}

#[tokio::test]
async fn the_folder_of_another_log_is_refused_and_so_is_a_log_that_changed_its_past() {
    let mut world = World::new();
    world.grow_to(300, "entry");
    world.export().await.unwrap();
    let mut other = World::new();
    other.grow_to(400, "another past");
    other.dir = world.dir;
    let forked = other.export().await.unwrap_err();
    assert!(
        matches!(forked, ExportError::Grow(GrowError::Forked { size: 300 })),
        "{forked}"
    );
    let mut exporter = other.exporter();
    exporter.key = log_key("logs.example.org/bob").verifier().clone();
    let refused = exporter.copied().await.unwrap_err();
    assert!(matches!(refused, ExportError::OtherLog { .. }), "{refused}");
}

#[tokio::test]
async fn two_writers_do_not_meet_in_one_folder() {
    let world = World::new();
    let first = Folder::open(&world.folder()).unwrap();
    let second = Folder::open(&world.folder()).unwrap_err();
    assert!(matches!(second, FolderError::Locked { .. }), "{second}");
    drop(first);
    Folder::open(&world.folder()).unwrap();
}

#[tokio::test]
async fn blobs_come_along_and_one_that_the_log_lacks_is_named_and_stops_nothing() {
    let mut world = World::new();
    let held = an_attestation()
        .referring_to(&["glibc"])
        .with_references_in_a_blob();
    let withheld = an_attestation()
        .referring_to(&["bash"])
        .with_references_in_a_blob();
    let blobs = vec![(blob_id(&held.blob()), held.blob())];
    world.append(&[held.bytes(), withheld.bytes()], blobs);
    let exported = world.export().await.unwrap();
    let name = |blob: &[u8]| format!("blob/{}", Hash::from_bytes(blob_id(blob)).to_hex());
    assert_eq!(exported.blobs, 1);
    assert_eq!(exported.missing_blobs, [name(&withheld.blob())]);
    assert_eq!(files(&world.folder())[&name(&held.blob())], held.blob());
    assert_eq!(world.log.head().unwrap().unwrap().size, 2);
}

/// An entry that names a blob of its own, and that blob.
pub(crate) fn naming_a_blob(number: usize) -> (Vec<u8>, Vec<u8>) {
    let reference = format!("dependency-{number}");
    let named = an_attestation()
        .referring_to(&[&reference])
        .with_references_in_a_blob();
    (named.bytes(), named.blob())
}

/// A log that answers, slowly, that it has nothing.
#[derive(Debug)]
struct Slow;

impl Transport for Slow {
    fn send(&self, _: Request) -> BoxFuture<'static, Result<Answer, FetchError>> {
        let answer = Answer {
            status: 404,
            length: None,
            encoding: Vec::new(),
            parts: futures::stream::empty().boxed(),
        };
        tokio::time::sleep(Duration::from_secs(1))
            .map(|()| Ok(answer))
            .boxed()
    }
}

#[tokio::test]
async fn a_log_that_is_slow_to_say_that_it_lacks_blobs_is_asked_for_a_minute_and_then_for_the_next_ones()
 {
    let mut world = World::new();
    let entries: Vec<Vec<u8>> = (0..100).map(|number| naming_a_blob(number).0).collect();
    world.append(&entries, Vec::new());
    let mut exporter = world.exporter();
    let shown = exporter.newest().await.unwrap();
    let note = |_| shown.bytes().to_vec();
    let run = exporter.run(shown.checkpoint(), note, |_| ());
    assert_eq!(run.await.unwrap().missing, 100);
    let slow = Fetcher::over(Arc::new(Slow), FetchLimits::default());
    let slow = TileClient::new(slow, vec!["http://slow.example.org".to_owned()]);
    let slow = LogSource::Served(slow);

    tokio::time::pause();
    let begun = Instant::now();
    assert!(!exporter.ask_again(&slow).await.unwrap());
    // The runtime rounds to its next millisecond.
    assert_eq!(begun.elapsed().as_secs(), ASKING_MAX.as_secs());
    let first = exporter.missing().await.unwrap().next()[0];
    let all: BTreeSet<BlobId> = (0..100).map(|n| blob_id(&naming_a_blob(n).1)).collect();
    let place = all.iter().position(|id| *id == first);
    assert!((58..=61).contains(&place.unwrap()), "{place:?}");
}

#[tokio::test]
async fn more_missing_blobs_than_are_noted_are_found_again_in_the_copy() {
    let mut world = World::new();
    world.grow_to(300, "entry");
    let named: Vec<_> = (0..600).map(naming_a_blob).collect();
    let entries: Vec<Vec<u8>> = named.iter().map(|(entry, _)| entry.clone()).collect();
    world.append(&entries, Vec::new());
    let mut exporter = world.exporter();
    exporter.missing = Some(Missing::of_at_most(200));
    let shown = exporter.newest().await.unwrap();
    let mut had_all = None;
    let note = |has_all: bool| {
        had_all = Some(has_all);
        shown.bytes().to_vec()
    };
    let run = exporter.run(shown.checkpoint(), note, |_| ());
    assert_eq!(run.await.unwrap().missing, 600);
    assert_eq!(had_all, Some(false));

    let elsewhere = tempfile::tempdir().unwrap();
    std::fs::create_dir(elsewhere.path().join("blob")).unwrap();
    for (_, blob) in &named {
        let path = elsewhere.path().join(name_of(&blob_id(blob)));
        std::fs::write(path, blob).unwrap();
    }
    let elsewhere = TileClient::new(fetcher(), vec![elsewhere.path().display().to_string()]);
    let elsewhere = LogSource::Served(elsewhere);
    let mut has_all = Vec::new();
    for _ in 0..3 {
        has_all.push(exporter.ask_again(&elsewhere).await.unwrap());
    }
    assert_eq!(has_all, [false, false, true]);
    for (_, blob) in &named {
        assert!(exporter.folder.has(&name_of(&blob_id(blob))));
    }
}

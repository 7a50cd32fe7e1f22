use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use quorix_testkit::entries::{an_attestation, log_key};
use quorix_testkit::memory::MemoryLog;
use quorix_testkit::tree::{Grower, blob_id};
use quorix_tlog::tile::tiles_of;
use quorix_trust::ports::{LogBatch, LogStore as _, TileStore as _};
use quorix_wire::fetch::FetchLimits;
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

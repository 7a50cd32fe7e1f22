use std::path::PathBuf;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use quorix_testkit::entries::{an_attestation, bytes_of, log_key};
use quorix_testkit::tree::blob_id;
use quorix_tlog::hash::Hash;
use quorix_trust::attestation::{Entry, KeyRotation};
use tower::ServiceExt as _;

use super::*;
use crate::export::tests::{ALICE, World, fetcher, files, naming_a_blob};

/// A log in a folder that stands for its origin, and its mirror.
struct Mirroring {
    origin: World,
    dir: tempfile::TempDir,
    mirrors: Mirrors,
}

impl Mirroring {
    async fn of(size: usize) -> Self {
        let mut origin = World::new();
        origin.grow_to(size, "entry");
        origin.export().await.unwrap();
        Self {
            origin,
            dir: tempfile::tempdir().unwrap(),
            mirrors: Mirrors::default(),
        }
    }

    fn copy(&self) -> PathBuf {
        self.dir.path().join(folder_of(ALICE))
    }

    async fn open(&self, seal: Option<Seal>) -> Mirror {
        let log = Mirrored {
            key: log_key(ALICE).verifier().clone(),
            urls: vec![self.origin.folder().display().to_string()],
        };
        Mirror::open(log, &self.copy(), fetcher(), seal, self.mirrors.clone())
            .await
            .unwrap()
    }

    async fn grow_to(&mut self, size: usize) {
        self.origin.grow_to(size, "entry");
        self.origin.export().await.unwrap();
    }

    /// The origin shows a log with another past.
    async fn changes_its_past(&mut self, size: usize) {
        let mut other = World::new();
        other.grow_to(size, "another past");
        std::fs::remove_dir_all(self.origin.folder()).unwrap();
        std::mem::swap(&mut other.dir, &mut self.origin.dir);
        other.export().await.unwrap();
        self.origin.dir = other.dir;
    }

    fn status(&self) -> Status {
        self.mirrors.statuses()[&folder_of(ALICE)].clone()
    }

    async fn get(&self, path: &str) -> (StatusCode, Vec<u8>) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router(&self.mirrors, self.dir.path())
            .oneshot(request)
            .await
            .unwrap();
        let status = response.status();
        (
            status,
            response
                .into_body()
                .collect()
                .await
                .unwrap()
                .to_bytes()
                .to_vec(),
        )
    }
}

#[tokio::test]
async fn a_mirror_is_the_same_files_and_serves_them_when_the_log_is_gone() {
    let mut world = Mirroring::of(300).await;
    let mut mirror = world.open(None).await;
    let grown = |from, to| Look::Grown {
        from,
        to,
        missing_blobs: 0,
    };
    assert_eq!(mirror.look(|_| ()).await.unwrap(), grown(0, 300));
    world.grow_to(600).await;
    assert_eq!(mirror.look(|_| ()).await.unwrap(), grown(300, 600));
    assert_eq!(mirror.look(|_| ()).await.unwrap(), Look::Same);
    assert_eq!(world.status().standing, Standing::Live);
    let served = files(&world.origin.folder());
    assert_eq!(files(&world.copy()), served);

    std::fs::remove_dir_all(world.origin.folder()).unwrap();
    mirror.look(|_| ()).await.unwrap_err();
    assert!(matches!(world.status().standing, Standing::Stale { .. }));
    for (name, bytes) in served {
        let answer = world.get(&format!("/{}/{name}", folder_of(ALICE))).await;
        assert_eq!(answer, (StatusCode::OK, bytes), "{name}");
    }
}

#[tokio::test]
async fn a_mirror_goes_on_after_a_restart_and_never_goes_back() {
    let mut world = Mirroring::of(600).await;
    let mut mirror = world.open(None).await;
    mirror.look(|_| ()).await.unwrap();
    drop(mirror);
    let before = files(&world.copy());
    let mut earlier = Mirroring::of(500).await;
    std::mem::swap(&mut world.origin, &mut earlier.origin);
    let mut mirror = world.open(None).await;
    let behind = mirror.look(|_| ()).await.unwrap_err();
    assert!(
        matches!(
            behind,
            ExportError::Grow(GrowError::Behind {
                found: 500,
                known: 600
            })
        ),
        "{behind}"
    );
    assert_eq!(files(&world.copy()), before);
    assert_eq!(world.status().size, 600);
}

#[tokio::test]
async fn a_log_that_contradicts_itself_stops_its_mirror_for_good_and_the_proof_is_kept() {
    for size in [500, 600, 900] {
        let mut world = Mirroring::of(600).await;
        let mut mirror = world.open(None).await;
        mirror.look(|_| ()).await.unwrap();
        let before = files(&world.copy());
        world.changes_its_past(size).await;
        assert_eq!(mirror.look(|_| ()).await.unwrap(), Look::Forked, "{size}");
        assert_eq!(world.status().standing, Standing::Forked);
        drop(mirror);

        let mut after = files(&world.copy());
        let note = |name: &str| {
            let key = log_key(ALICE).verifier().clone();
            let bytes = files(&world.copy())[name].clone();
            SignedCheckpoint::open(&bytes, &key, ALICE)
                .unwrap()
                .checkpoint()
                .size
        };
        let sizes = (note("fork/first"), note("fork/second"));
        let size = size as u64;
        assert_eq!(sizes, (size.min(600), size.max(600)));
        after.retain(|name, _| !name.starts_with("fork/"));
        assert_eq!(after, before, "{size}: the copy stays as it was");

        let mut mirror = world.open(None).await;
        assert_eq!(mirror.look(|_| ()).await.unwrap(), Look::Forked);
        let (status, page) = world.get("/").await;
        let page = String::from_utf8(page).unwrap();
        assert!(
            status == StatusCode::OK && page.contains("stopped: the log signed two"),
            "{page}"
        );
    }
}

#[tokio::test]
async fn a_mirror_seals_a_checkpoint_only_when_all_of_it_is_on_the_disk() {
    let world = Mirroring::of(300).await;
    let (copy, mirrors) = (world.copy(), world.mirrors.clone());
    let seal: Seal = Arc::new(move |shown: &SignedCheckpoint| {
        // Whoever reads the checkpoint the moment that it is there finds everything that it covers.
        assert_eq!(mirrors.statuses()[&folder_of(ALICE)].size, 300);
        let found = files(&copy);
        assert!(
            found.contains_key("tile/0/001.p/44") && found.contains_key("tile/entries/001.p/44")
        );
        assert!(!found.contains_key("checkpoint"));
        [
            shown.bytes(),
            "\u{2014} mirror.example/m AAAAAAA=\n".as_bytes(),
        ]
        .concat()
    });
    let mut mirror = world.open(Some(seal)).await;
    mirror.look(|_| ()).await.unwrap();
    // Sealed once for each checkpoint of the log, not at each look.
    assert_eq!(mirror.look(|_| ()).await.unwrap(), Look::Same);
    let (_, note) = world
        .get(&format!("/{}/checkpoint", folder_of(ALICE)))
        .await;
    assert!(
        String::from_utf8(note)
            .unwrap()
            .ends_with("\u{2014} mirror.example/m AAAAAAA=\n")
    );
}

#[tokio::test]
async fn a_missing_blob_is_asked_for_again_at_every_address_and_nothing_is_sealed_without_it() {
    let mut world = Mirroring::of(300).await;
    let withheld = an_attestation().with_references_in_a_blob();
    world.origin.append(&[withheld.bytes()], Vec::new());
    world.origin.export().await.unwrap();
    let name = format!(
        "blob/{}",
        Hash::from_bytes(blob_id(&withheld.blob())).to_hex()
    );
    let seal: Seal = Arc::new(|shown: &SignedCheckpoint| {
        let line = "\u{2014} mirror.example/m AAAAAAA=\n";
        [shown.bytes(), line.as_bytes()].concat()
    });
    let elsewhere = tempfile::tempdir().unwrap();
    let log = Mirrored {
        key: log_key(ALICE).verifier().clone(),
        urls: vec![
            world.origin.folder().display().to_string(),
            elsewhere.path().display().to_string(),
        ],
    };
    let open = async || {
        let (copy, mirrors) = (world.copy(), world.mirrors.clone());
        let opened = Mirror::open(log.clone(), &copy, fetcher(), Some(seal.clone()), mirrors);
        opened.await.unwrap()
    };
    let shown = world.origin.grower.head().checkpoint;

    let mut mirror = open().await;
    let grown = Look::Grown {
        from: 0,
        to: 301,
        missing_blobs: 1,
    };
    assert_eq!(mirror.look(|_| ()).await.unwrap(), grown);
    assert_eq!(mirror.look(|_| ()).await.unwrap(), Look::Same);
    assert_eq!(files(&world.copy())["checkpoint"], shown);
    drop(mirror);

    // Also by another process, and from an address that has nothing else.
    std::fs::create_dir(elsewhere.path().join("blob")).unwrap();
    std::fs::write(elsewhere.path().join(&name), withheld.blob()).unwrap();
    let mut mirror = open().await;
    assert_eq!(mirror.look(|_| ()).await.unwrap(), Look::Same);
    let copy = files(&world.copy());
    assert_eq!(copy[&name], withheld.blob());
    assert!(copy["checkpoint"].starts_with(&shown) && copy["checkpoint"].len() > shown.len());
}

#[tokio::test]
async fn what_is_new_is_copied_before_missing_blobs_are_asked_for_again() {
    let mut world = Mirroring::of(255).await;
    // The last of its bundle, which is not copied again.
    let (entry, blob) = naming_a_blob(0);
    world.origin.append(&[entry], Vec::new());
    world.origin.export().await.unwrap();
    let seal: Seal = Arc::new(|shown: &SignedCheckpoint| {
        let line = "\u{2014} mirror.example/m AAAAAAA=\n";
        [shown.bytes(), line.as_bytes()].concat()
    });
    let mut mirror = world.open(Some(seal)).await;
    mirror.look(|_| ()).await.unwrap();
    let name = format!("blob/{}", Hash::from_bytes(blob_id(&blob)).to_hex());
    std::fs::create_dir_all(world.origin.folder().join("blob")).unwrap();
    std::fs::write(world.origin.folder().join(&name), &blob).unwrap();
    world.grow_to(600).await;
    let found = world.copy().join(&name);
    let mut copied = 0;
    let look = mirror.look(|step| {
        assert!(!found.exists());
        copied = step.size;
    });
    let grown = Look::Grown {
        from: 256,
        to: 600,
        missing_blobs: 0,
    };
    assert_eq!((look.await.unwrap(), copied), (grown, 600));
    let copy = files(&world.copy());
    assert_eq!(copy[&name], blob);
    let shown = world.origin.grower.head().checkpoint;
    assert!(copy["checkpoint"].starts_with(&shown) && copy["checkpoint"].len() > shown.len());
}

#[tokio::test]
async fn blobs_that_are_nowhere_are_not_in_the_way_of_others() {
    let mut world = Mirroring::of(1).await;
    let named: BTreeMap<_, _> = (0..300)
        .map(naming_a_blob)
        .map(|(entry, blob)| (blob_id(&blob), (entry, blob)))
        .collect();
    let entries: Vec<Vec<u8>> = named.values().map(|(entry, _)| entry.clone()).collect();
    world.origin.append(&entries, Vec::new());
    world.origin.export().await.unwrap();
    let mut mirror = world.open(None).await;
    mirror.look(|_| ()).await.unwrap();
    let (id, (_, blob)) = named.last_key_value().unwrap();
    let name = format!("blob/{}", Hash::from_bytes(*id).to_hex());
    std::fs::create_dir_all(world.origin.folder().join("blob")).unwrap();
    std::fs::write(world.origin.folder().join(&name), blob).unwrap();
    assert_eq!(mirror.look(|_| ()).await.unwrap(), Look::Same);
    assert_eq!(files(&world.copy())[&name], *blob);
}

#[tokio::test]
async fn nothing_but_files_of_mirrored_logs_is_served() {
    let world = Mirroring::of(300).await;
    let mut mirror = world.open(None).await;
    mirror.look(|_| ()).await.unwrap();
    std::fs::write(world.dir.path().join("secret"), "x").unwrap();
    std::fs::write(world.copy().join("tile/entries/001.p/200"), "x").unwrap();
    let alice = folder_of(ALICE);
    for (path, status) in [
        ("/secret".to_owned(), 404),
        (format!("/{alice}"), 404),
        (format!("/{alice}/.lock"), 400),
        (format!("/{alice}/../secret"), 400),
        (format!("/{alice}/blob/../checkpoint"), 400),
        (format!("/{alice}/tile/entries/001.p/200"), 404),
        (format!("/{alice}/tile/0/002"), 404),
        (format!("/{}/checkpoint", folder_of("bob")), 404),
    ] {
        assert_eq!(world.get(&path).await.0.as_u16(), status, "{path}");
    }
}

#[tokio::test]
async fn a_log_that_ended_is_said_to_have_and_nothing_behind_its_rotation_is_copied() {
    let next = log_key("logs.example.org/alice-2");
    let rotation = KeyRotation::sign(&log_key(ALICE), &next).unwrap();
    let rotation = bytes_of(&Entry::KeyRotation(rotation));
    let mut world = Mirroring::of(300).await;
    let mut mirror = world.open(None).await;
    mirror.look(|_| ()).await.unwrap();
    assert_eq!(mirror.ended().await.unwrap(), None);
    world.origin.append(&[rotation], Vec::new());
    // The origin is a folder, written as it would be by a program that does not know what a rotation is.
    world.origin.export().await.unwrap();
    mirror.look(|_| ()).await.unwrap();
    let ended = Ended {
        index: 300,
        successor: next.verifier().clone(),
    };
    assert_eq!(mirror.ended().await.unwrap(), Some(&ended));
    let standing = Standing::Ended {
        successor: next.verifier().to_string(),
    };
    assert_eq!(world.status().standing, standing);
    let (_, page) = world.get("/").await;
    let page = String::from_utf8(page).unwrap();
    let line = format!(
        "ended: its last entry hands over to the key {}",
        next.verifier()
    );
    assert!(page.contains(&line), "{page}");

    // Also after a restart; and what the key signs behind it is not taken in.
    drop(mirror);
    let before = files(&world.copy());
    let mut mirror = world.open(None).await;
    assert_eq!(mirror.ended().await.unwrap(), Some(&ended));
    assert_eq!(mirror.look(|_| ()).await.unwrap(), Look::Same);
    assert_eq!(world.status().standing, standing);
    world.origin.append(&[b"more".to_vec()], Vec::new());
    world.origin.write_everything();
    for _ in 0..2 {
        let refused = mirror.look(|_| ()).await.unwrap_err();
        let expected = ExportError::AfterEnd {
            rotation: 300,
            index: 301,
        };
        assert_eq!(refused.to_string(), expected.to_string());
        assert_eq!(files(&world.copy()), before);
        assert!(matches!(world.status().standing, Standing::Stale { .. }));
        drop(mirror);
        mirror = world.open(None).await;
    }
    // Neither is it where the rotation was never seen as the last entry.
    let late = tempfile::tempdir().unwrap();
    world.dir = late;
    drop(mirror);
    let mut mirror = world.open(None).await;
    let refused = mirror.look(|_| ()).await.unwrap_err().to_string();
    assert!(
        refused.contains("its entry 301 comes after the key rotation of entry 300"),
        "{refused}"
    );
    assert!(!files(&world.copy()).contains_key("checkpoint"));
}

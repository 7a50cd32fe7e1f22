//! Paths named after their content need no votes: the resolver recomputes them from the bytes, or refuses.

use std::fs;

use quorix::demo::caches;
use quorix_nix::narinfo::NarInfo;
use quorix_nix::store_path::{StoreDir, StorePath};

use crate::world::{World, get, run, text, unwrapped};

#[tokio::test]
async fn a_content_addressed_reference_is_served_without_votes() {
    let world = World::with_user().await;
    let notes = notes(&world);
    assert_eq!(notes.name(), "notes.txt");

    let decided = run(&[
        "decide",
        "--config",
        text(&world.user().config),
        &format!("/nix/store/{notes}"),
    ])
    .await;
    assert_eq!(decided.code, 0, "{}{}", decided.out, decided.err);
    assert!(
        unwrapped(&decided.out).starts_with(
            "Accepted. The path is named after its content, which was fetched and checked; no votes are needed."
        ),
        "{}",
        decided.out
    );
    let manual = world.decide("manual").await;
    assert!(manual.is_accepted(), "{}", manual.sentence);

    let client = world.nix_client();
    let ran = world.install(&client, &["manual"]).await;
    assert!(ran.is_success, "{}", ran.err);
    let file = client.store.join("nix/store").join(notes.as_str());
    assert_eq!(
        fs::read_to_string(file).unwrap(),
        "A file that is named after its content needs no votes.\n"
    );
}

#[tokio::test]
async fn another_file_for_a_content_addressed_path_is_refused_and_blocks_what_refers_to_it() {
    let mut world = World::with_builders().await;
    let copy = world.copy_of_cache("plain");
    let notes = notes(&world);
    let nar = nar_of(&copy, &notes);
    let mut bytes = fs::read(&nar).unwrap();
    let at = bytes
        .windows(8)
        .position(|window| window == b"no votes")
        .unwrap();
    bytes[at..at + 8].copy_from_slice(b"ONE vote");
    fs::write(&nar, bytes).unwrap();
    let source = caches::serve(&copy).await.unwrap();
    world.add_user_of_two(&[source]).await;

    let (status, body) = get(&format!(
        "{}/{}.narinfo",
        world.user().substituter(),
        notes.hash_part()
    ))
    .await;
    assert_eq!(status, 404, "{body}");
    let (status, body) = world.narinfo("manual").await;
    assert_eq!(status, 404);
    assert!(
        body.contains(notes.as_str()),
        "it names what it is blocked by: {body}"
    );

    let client = world.nix_client();
    assert!(!world.install(&client, &["manual"]).await.is_success);
    assert!(!client.has(&notes).await && !client.has(&world.path("manual")).await);
}

/// What the manual refers to, from the narinfo that Nix wrote.
fn notes(world: &World) -> StorePath {
    let narinfo = narinfo(&world.stage.cache("plain"), &world.path("manual"));
    let mut notes = narinfo
        .references
        .into_iter()
        .filter(|path| path.name() == "notes.txt");
    notes.next().unwrap()
}

fn narinfo(cache: &std::path::Path, path: &StorePath) -> NarInfo {
    let text = fs::read_to_string(cache.join(format!("{}.narinfo", path.hash_part()))).unwrap();
    NarInfo::parse(&text, &StoreDir::default()).unwrap()
}

fn nar_of(cache: &std::path::Path, path: &StorePath) -> std::path::PathBuf {
    cache.join(narinfo(cache, path).url)
}

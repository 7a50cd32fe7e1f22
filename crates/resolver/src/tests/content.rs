//! Content-addressed paths need no votes; their bytes have to prove them.

use axum::http::StatusCode;
use quorix_nix::content_address::{ContentAddress, Method};
use quorix_nix::hash::{Algorithm, Hash};
use quorix_nix::narinfo::Compression;
use quorix_nix::store_path::StoreDir;
use quorix_wire::content::ContentVerifier as _;

use super::fakes::{FakeCache, Reply};
use super::outputs::{Output, content_addressed, nar_of, output};
use super::world::World;

#[tokio::test]
async fn a_content_addressed_path_is_served_without_votes() {
    let source = content_addressed("source.txt", "source\n", &[]);
    let cache = FakeCache::of(&[&source]).await;
    let world = World::new(&[&cache]);
    let narinfo = world.narinfo(&source).await.narinfo();
    assert_eq!(
        (&narinfo.ca, narinfo.nar_hash, narinfo.deriver),
        (&source.ca, source.hash(), None)
    );
    assert_eq!(narinfo.signatures.len(), 1);
    assert_eq!(world.nar(&source).await.body, source.nar);
    // Fetched once, for the check.
    assert_eq!(cache.requests().len(), 2);
}

#[tokio::test]
async fn a_file_that_is_addressed_flat_is_served_without_votes() {
    for method in [Method::Text, Method::Flat] {
        let ca = ContentAddress::new(method, Hash::of(Algorithm::Sha256, b"text\n")).unwrap();
        let path = ca
            .store_path(&StoreDir::default(), "a.txt", &[].into())
            .unwrap();
        let file = Output {
            path,
            nar: nar_of("text\n"),
            references: [].into(),
            ca: Some(ca),
        };
        let world = World::new(&[&FakeCache::of(&[&file]).await]);
        assert_eq!(world.substitute(&file).await.body, file.nar);
    }
}

#[tokio::test]
async fn bytes_that_do_not_give_the_path_are_refused_and_the_next_source_asked() {
    let source = content_addressed("source.txt", "source\n", &[]);
    let forged = Output {
        nar: nar_of("SOURCE\n"),
        ..source.clone()
    };
    let lying = FakeCache::start().await;
    lying.put_instead(&source, Reply::Bytes(forged.nar.clone()));
    let world = World::new(&[&lying]);
    let answer = world.narinfo(&source).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND, "{}", answer.text());
    assert!(
        world.resolver.source_failures()[0]
            .reason
            .contains("the content address says")
    );
    let world = World::new(&[&lying, &FakeCache::of(&[&source]).await]);
    assert_eq!(world.substitute(&source).await.body, source.nar);
}

#[tokio::test]
async fn an_address_that_does_not_lead_to_the_path_is_refused() {
    // The address is that of the bytes, but the path is another.
    let mut other_path = content_addressed("source.txt", "source\n", &[]);
    other_path.path = quorix_testkit::entries::a_path("source.txt");
    // A reference was left out, so that it would not have to be accepted.
    let glibc = output("glibc-2.40", "glibc\n");
    let mut escaped = content_addressed("source.txt", "source\n", &[&glibc]);
    escaped.references.clear();
    // Two NARs with one such address can be made.
    let ca = ContentAddress::new(Method::Flat, Hash::of(Algorithm::Sha1, b"text\n")).unwrap();
    let path = ca
        .store_path(&StoreDir::default(), "a.txt", &[].into())
        .unwrap();
    let weak = Output {
        path,
        nar: nar_of("text\n"),
        references: [].into(),
        ca: Some(ca),
    };
    for source in [&other_path, &escaped, &weak] {
        let world = World::new(&[&FakeCache::of(&[source]).await]);
        let answer = world.narinfo(source).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{}", answer.text());
    }
}

#[tokio::test]
async fn an_accepted_output_may_refer_to_content_addressed_paths_at_any_depth() {
    let glibc = output("glibc-2.40", "glibc\n");
    let inner = content_addressed("inner.txt", "inner\n", &[&glibc]);
    let script = content_addressed("script.sh", "script\n", &[&inner]);
    let hello = output("hello-2.12", "hello\n").referring_to(&[&script]);
    let cache = FakeCache::of(&[&glibc, &inner, &script, &hello]).await;
    let world = World::new(&[&cache]);
    world.attest(&hello, &["alice", "bob"]);
    let answer = world.narinfo(&hello).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert!(answer.text().contains("glibc-2.40"), "{}", answer.text());
    world.attest(&glibc, &["bob", "carol"]);
    world.clock.advance(5);
    for output in [&hello, &script, &inner, &glibc] {
        assert_eq!(world.substitute(output).await.body, output.nar);
    }
}

#[tokio::test]
async fn a_content_addressed_path_that_one_builder_attests_needs_no_second() {
    let source = content_addressed("source.txt", "source\n", &[]);
    let world = World::new(&[&FakeCache::of(&[&source]).await]);
    world.attest(&source, &["alice"]);
    assert_eq!(world.substitute(&source).await.body, source.nar);
}

#[tokio::test]
async fn garbage_that_one_builder_says_keeps_no_content_addressed_path_from_proving_itself() {
    let source = content_addressed("source.txt", "source\n", &[]);
    let hello = output("hello-2.12", "hello\n").referring_to(&[&source]);
    let world = World::new(&[&FakeCache::of(&[&hello, &source]).await]);
    world.attest(&hello, &["alice", "bob"]);
    let garbage = Output {
        ca: None,
        ..source.altered()
    };
    world.attest(&garbage, &["carol"]);
    for output in [&source, &hello] {
        assert_eq!(world.substitute(output).await.body, output.nar);
    }
}

#[tokio::test]
async fn the_checker_tells_an_aggregator_the_fingerprint_of_the_path_and_of_no_other() {
    let source = content_addressed("source.txt", "source\n", &[]);
    let unaddressed = output("hello-2.12", "hello\n");
    let cache = FakeCache::of(&[&source, &unaddressed]).await;
    let world = World::new(&[&cache]);
    assert_eq!(
        world.content.verify(&source.path).await,
        Ok(Some(source.facts()))
    );
    assert_eq!(world.content.verify(&unaddressed.path).await, Ok(None));
    let other_name = format!("{}-other.txt", source.path.hash_part())
        .parse()
        .unwrap();
    assert_eq!(world.content.verify(&other_name).await, Ok(None));
    // What was seen once stays true; what was not there is looked for again.
    cache.requests();
    assert_eq!(
        world.content.verify(&source.path).await,
        Ok(Some(source.facts()))
    );
    assert_eq!(world.content.verify(&unaddressed.path).await, Ok(None));
    assert_eq!(cache.requests(), Vec::<String>::new());
    world.clock.advance(30);
    let now_there = content_addressed("later.txt", "later\n", &[]);
    cache.put(&now_there, &Compression::Gzip).await;
    assert_eq!(
        world.content.verify(&now_there.path).await,
        Ok(Some(now_there.facts()))
    );
}

#[tokio::test]
async fn that_no_source_could_be_reached_is_another_thing_than_absent() {
    let source = content_addressed("source.txt", "source\n", &[]);
    let cache = FakeCache::start().await;
    cache.set(&super::world::narinfo_path(&source), Reply::Status(500));
    let world = World::new(&[&cache]);
    let error = world.content.verify(&source.path).await.unwrap_err();
    assert!(error.contains("status 500"), "{error}");
    cache.put(&source, &Compression::None).await;
    world.clock.advance(10);
    assert_eq!(
        world.content.verify(&source.path).await,
        Ok(Some(source.facts()))
    );
}

#[tokio::test]
async fn a_source_that_never_answers_does_not_keep_refusals_waiting() {
    let (first, second) = (output("first-1", "first\n"), output("second-1", "second\n"));
    let (silent, empty) = (FakeCache::start().await, FakeCache::start().await);
    silent.set(&super::world::narinfo_path(&first), Reply::Silence);
    let world = World::new(&[&silent, &empty]);
    for output in [&first, &second] {
        assert_eq!(world.narinfo(output).await.status, StatusCode::NOT_FOUND);
    }
    assert_eq!((silent.requests().len(), empty.requests().len()), (1, 2));
}

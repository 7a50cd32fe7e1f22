//! Defects of Trustix's binary-cache proxy, each as what is done instead.

use axum::http::StatusCode;
use quorix_nix::narinfo::Compression;
use quorix_nix::store_path::StoreDir;

use super::fakes::{FakeCache, Reply};
use super::outputs::output;
use super::world::{TWO_OF_THREE, World, nar_path, narinfo_path, policy, resolver_key};

#[tokio::test]
async fn trustix_the_narinfo_is_found_under_the_key_that_was_published() {
    let (world, hello) = (World::new(&[]), output("hello-2.12", "hello\n"));
    world.attest(&hello, &["alice", "bob"]);
    let narinfo = world
        .get(&format!("/{}.narinfo", hello.path.hash_part()))
        .await
        .narinfo();
    assert_eq!(narinfo.store_path, hello.path);
}

#[tokio::test]
async fn trustix_the_signature_is_over_the_nix32_form_of_the_hash() {
    let (world, hello) = (World::new(&[]), output("hello-2.12", "hello\n"));
    world.attest(&hello, &["alice", "bob"]);
    let narinfo = world.narinfo(&hello).await.narinfo();
    let signed = format!(
        "1;/nix/store/{};sha256:{};120;",
        hello.path,
        hello.hash().nix32()
    );
    let signature = &narinfo.signatures[0];
    assert_eq!(
        resolver_key()
            .public_key()
            .verify_bytes(signed.as_bytes(), signature),
        Ok(())
    );
}

#[tokio::test]
async fn trustix_references_are_printed_as_base_names() {
    let (world, glibc) = (World::new(&[]), output("glibc-2.40", "glibc\n"));
    let hello = output("hello-2.12", "hello\n").referring_to(&[&glibc]);
    world.attest(&hello, &["alice", "bob"]);
    world.attest(&glibc, &["alice", "bob"]);
    let answer = world.narinfo(&hello).await;
    assert!(
        answer
            .text()
            .contains(&format!("\nReferences: {}\n", glibc.path)),
        "{}",
        answer.text()
    );
    // Without references the space stays: Nix reads the value from there.
    assert!(
        world
            .narinfo(&glibc)
            .await
            .text()
            .contains("\nReferences: \n")
    );
}

#[tokio::test]
async fn trustix_sources_compressed_by_zstd_bzip2_and_gzip_are_read() {
    for compression in [Compression::Zstd, Compression::Bzip2, Compression::Gzip] {
        let (cache, hello) = (FakeCache::start().await, output("hello-2.12", "hello\n"));
        cache.put(&hello, &compression).await;
        let world = World::new(&[&cache]);
        world.attest(&hello, &["alice", "bob"]);
        assert_eq!(world.substitute(&hello).await.body, hello.nar);
    }
}

#[tokio::test]
async fn trustix_the_base_path_of_a_source_is_kept() {
    let (cache, hello) = (FakeCache::start().await, output("hello-2.12", "hello\n"));
    let narinfo = hello.narinfo(&Compression::None);
    cache.set(
        &format!("/base/path{}", narinfo_path(&hello)),
        Reply::Bytes(narinfo.print(&StoreDir::default()).into()),
    );
    cache.set(
        &format!("/base/path/{}", narinfo.url),
        Reply::Bytes(hello.nar.clone()),
    );
    let world = World::with(
        policy(TWO_OF_THREE),
        &[&format!("{}/base/path/", cache.url)],
        |_| {},
    );
    world.attest(&hello, &["alice", "bob"]);
    assert_eq!(world.substitute(&hello).await.body, hello.nar);
}

#[tokio::test]
async fn trustix_unknown_fields_and_several_signatures_of_a_source_break_nothing() {
    let (cache, hello) = (FakeCache::start().await, output("hello-2.12", "hello\n"));
    cache.put(&hello, &Compression::None).await;
    let text = hello
        .narinfo(&Compression::None)
        .print(&StoreDir::default());
    let text = format!("{text}Sig: a:AAAA\nSig: junk\nColour: blue\n");
    cache.set(&narinfo_path(&hello), Reply::Bytes(text.into_bytes()));
    let world = World::new(&[&cache]);
    world.attest(&hello, &["alice", "bob"]);
    assert_eq!(world.substitute(&hello).await.body, hello.nar);
    // And none of them is handed on.
    assert!(!world.narinfo(&hello).await.text().contains("junk"));
}

#[tokio::test]
async fn trustix_a_source_that_is_down_does_not_stop_the_next_one() {
    let hello = output("hello-2.12", "hello\n");
    let cache = FakeCache::of(&[&hello]).await;
    // Nobody listens on the port of a listener that is gone.
    let gone = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let world = World::with(
        policy(TWO_OF_THREE),
        &[&format!("http://{gone}"), &cache.url],
        |_| {},
    );
    world.attest(&hello, &["alice", "bob"]);
    assert_eq!(world.substitute(&hello).await.body, hello.nar);
}

#[tokio::test]
async fn trustix_every_answer_has_a_content_type_and_a_length() {
    let hello = output("hello-2.12", "hello\n");
    let world = World::new(&[&FakeCache::of(&[&hello]).await]);
    world.attest(&hello, &["alice", "bob"]);
    for (path, content_type) in [
        ("/nix-cache-info".to_owned(), "text/x-nix-cache-info"),
        (narinfo_path(&hello), "text/x-nix-narinfo"),
        (nar_path(&hello), "application/x-nix-nar"),
        ("/nowhere".to_owned(), "text/plain; charset=utf-8"),
    ] {
        let answer = world.get(&path).await;
        assert_eq!(answer.header("content-type"), content_type);
        assert_eq!(
            answer.header("content-length"),
            answer.body.len().to_string()
        );
    }
}

#[tokio::test]
async fn trustix_a_head_request_for_a_nar_sends_no_body() {
    let hello = output("hello-2.12", "hello\n");
    let cache = FakeCache::of(&[&hello]).await;
    let world = World::new(&[&cache]);
    world.attest(&hello, &["alice", "bob"]);
    world.narinfo(&hello).await;
    let answer = world.request("HEAD", &nar_path(&hello), &[]).await;
    assert_eq!(
        (
            answer.status,
            answer.body.len(),
            answer.header("content-length")
        ),
        (StatusCode::OK, 0, "120")
    );
    assert_eq!(cache.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn trustix_the_bytes_of_a_nar_are_verified_before_the_first_leaves() {
    let hello = output("hello-2.12", "hello\n");
    let cache = FakeCache::start().await;
    let mut bytes = hello.nar.clone();
    bytes[97] ^= 1;
    cache.put_instead(&hello, Reply::Bytes(bytes));
    let world = World::new(&[&cache]);
    world.attest(&hello, &["alice", "bob"]);
    let answer = world.substitute(&hello).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert!(
        answer.text().contains("its bytes hash to"),
        "{}",
        answer.text()
    );
}

#[tokio::test]
async fn trustix_a_404_explains_itself() {
    let (world, hello) = (World::new(&[]), output("hello-2.12", "hello\n"));
    world.attest(&hello, &["alice"]);
    let answer = world.narinfo(&hello).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert!(
        answer.text().contains("Only alice has built this."),
        "{}",
        answer.text()
    );
    assert!(
        answer.text().contains("rule main quorum=enough"),
        "{}",
        answer.text()
    );
}

#[tokio::test]
async fn trustix_a_malformed_hash_part_is_a_404_and_no_panic() {
    let world = World::new(&[]);
    for part in [
        "",
        "x",
        "EEEEEEEEEEEEEEEEEEEEEEEEEEEEEEEE",
        "%00",
        "e3b0c44298fc1c149afbf4c8996fb924",
        "\u{7f}",
    ] {
        let Ok(uri) = format!("/{part}.narinfo").parse::<axum::http::Uri>() else {
            continue;
        };
        assert_eq!(
            world.get(&uri.to_string()).await.status,
            StatusCode::NOT_FOUND,
            "{part:?}"
        );
    }
}

#[tokio::test]
async fn trustix_the_value_comes_from_evidence_and_not_from_what_an_aggregator_claims() {
    // The fake aggregator's `Decide` accepts everything.
    let (world, hello) = (World::new(&[]), output("hello-2.12", "hello\n"));
    assert_eq!(world.narinfo(&hello).await.status, StatusCode::NOT_FOUND);
    // And nothing of a source's narinfo gets in.
    let cache = FakeCache::start().await;
    let mut narinfo = hello.narinfo(&Compression::None);
    narinfo
        .references
        .insert(quorix_testkit::entries::a_path("malware-1"));
    narinfo.deriver = Some(quorix_testkit::entries::a_path("malware-1.drv"));
    cache.put_narinfo(&narinfo);
    let world = World::new(&[&cache]);
    world.attest(&hello, &["alice", "bob"]);
    assert!(!world.narinfo(&hello).await.text().contains("malware"));
}

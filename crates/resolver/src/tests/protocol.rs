//! HTTP as Nix clients and proxies speak it.

use axum::http::StatusCode;

use super::fakes::FakeCache;
use super::outputs::{Output, output};
use super::world::{World, nar_path, narinfo_path};

async fn serving(text: &str) -> (World, Output) {
    let hello = output("hello-2.12", text);
    let cache = FakeCache::of(&[&hello]).await;
    let world = World::new(&[&cache]);
    world.attest(&hello, &["alice", "bob"]);
    world.narinfo(&hello).await;
    (world, hello)
}

#[tokio::test]
async fn the_cache_tells_its_store_directory_and_priority() {
    let answer = World::new(&[]).get("/nix-cache-info").await;
    assert_eq!(
        answer.text(),
        "StoreDir: /nix/store\nWantMassQuery: 1\nPriority: 30\n"
    );
    assert_eq!(answer.header("content-type"), "text/x-nix-cache-info");
    assert_eq!(answer.header("content-length"), "51");
}

#[tokio::test]
async fn a_head_request_gets_the_same_headers_and_no_body() {
    let (world, hello) = serving("hello\n").await;
    for path in [
        "/nix-cache-info".to_owned(),
        narinfo_path(&hello),
        nar_path(&hello),
        "/nowhere".to_owned(),
    ] {
        let (get, head) = (
            world.get(&path).await,
            world.request("HEAD", &path, &[]).await,
        );
        assert_eq!(
            (get.status, &get.headers),
            (head.status, &head.headers),
            "{path}"
        );
        assert_eq!(
            get.header("content-length"),
            get.body.len().to_string(),
            "{path}"
        );
        assert_eq!(head.body, b"", "{path}");
    }
}

#[tokio::test]
async fn a_transfer_that_broke_is_resumed_where_it_stopped() {
    let (world, hello) = serving(&"hello\n".repeat(50_000)).await;
    let whole = world.nar(&hello).await;
    let size = hello.nar.len();
    assert_eq!(
        (whole.header("accept-ranges"), whole.header("content-type")),
        ("bytes", "application/x-nix-nar")
    );
    let etag = whole.header("etag").to_owned();
    assert_eq!(etag, format!("\"{}\"", hello.hash().nix32()));
    for (range, first, last) in [
        ("bytes=100000-", 100_000, size - 1),
        ("bytes=0-0", 0, 0),
        ("bytes=-10", size - 10, size - 1),
    ] {
        let part = world
            .request("GET", &nar_path(&hello), &[("range", range)])
            .await;
        assert_eq!(part.status, StatusCode::PARTIAL_CONTENT);
        assert_eq!(
            part.header("content-range"),
            format!("bytes {first}-{last}/{size}")
        );
        assert_eq!(part.header("content-length"), part.body.len().to_string());
        assert_eq!(part.body, hello.nar[first..=last]);
    }
    for (headers, status) in [
        (
            [("range", "bytes=5-9"), ("if-range", etag.as_str())],
            StatusCode::PARTIAL_CONTENT,
        ),
        (
            [("range", "bytes=5-9"), ("if-range", "\"other\"")],
            StatusCode::OK,
        ),
        ([("range", "bytes=0-1,5-6"), ("x", "")], StatusCode::OK),
    ] {
        assert_eq!(
            world
                .request("GET", &nar_path(&hello), &headers)
                .await
                .status,
            status
        );
    }
    let beyond = world
        .request("GET", &nar_path(&hello), &[("range", "bytes=9999999-")])
        .await;
    assert_eq!(beyond.status, StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(beyond.header("content-range"), format!("bytes */{size}"));
}

#[tokio::test]
async fn a_proxy_may_keep_a_nar_and_has_to_ask_whether_it_is_still_accepted() {
    let (world, hello) = serving("hello\n").await;
    let nar = world.nar(&hello).await;
    assert_eq!(nar.header("cache-control"), "no-cache");
    let again = world
        .request(
            "GET",
            &nar_path(&hello),
            &[("if-none-match", nar.header("etag"))],
        )
        .await;
    assert_eq!(
        (again.status, again.body.len()),
        (StatusCode::NOT_MODIFIED, 0)
    );
    assert_eq!(
        world.narinfo(&hello).await.header("cache-control"),
        "max-age=5"
    );
}

#[tokio::test]
async fn whatever_else_is_asked_for_is_a_404_with_a_sentence() {
    let world = World::new(&[]);
    for path in [
        "/",
        "/index.html",
        "/nar/",
        "/nar/x.nar",
        "/log/x.drv",
        "/93a4fjryvg1hz7bxki7wzd9cznsm20yx.ls",
        "/nar/../../../etc/passwd",
        "/nar/%2e%2e%2f%2e%2e%2fetc%2fpasswd.nar",
        "//etc/passwd",
        "/realisations/x.doi",
    ] {
        let answer = world.get(path).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        assert!(
            answer.text().starts_with("Not found. This cache has"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn nothing_can_be_uploaded() {
    let (world, hello) = serving("hello\n").await;
    for method in ["PUT", "POST", "DELETE"] {
        let answer = world.request(method, &narinfo_path(&hello), &[]).await;
        assert_eq!(
            (answer.status, answer.header("allow")),
            (StatusCode::METHOD_NOT_ALLOWED, "GET, HEAD")
        );
    }
}

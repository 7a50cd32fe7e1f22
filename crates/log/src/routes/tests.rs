//! The read API over HTTP.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::{Method, Request};
use http_body_util::BodyExt;
use prometheus_client::registry::Registry;
use quorix_nix::narinfo::Compression;
use quorix_testkit::entries::{a_small_entry, an_attestation, log_key};
use quorix_testkit::memory::{MemoryAnchor, MemoryLog};
use quorix_tlog::bundle;
use quorix_tlog::checkpoint::SignedCheckpoint;
use quorix_tlog::hash::{Hash, leaf_hash};
use quorix_tlog::proof::{TileReader, prove_inclusion, verify_inclusion};
use quorix_tlog::tile::{TileId, parse_hashes, tiles_of};
use quorix_wire::decompress::decompress;
use tokio::io::AsyncReadExt as _;
use tower::ServiceExt;

use super::*;
use crate::config::LogConfig;
use crate::storage::Storage;

const ORIGIN: &str = "logs.example.org/alice";

struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    fn assert_is(&self, status: u16, content_type: &str, cache_control: &str) {
        let found = (
            self.status,
            self.header("content-type"),
            self.header("cache-control"),
        );
        assert_eq!(
            found,
            (status, content_type, cache_control),
            "{}",
            String::from_utf8_lossy(&self.body)
        );
        assert_eq!(self.header("access-control-allow-origin"), "*");
    }
}

async fn ask(router: &Router, method: Method, path: &str) -> Answer {
    ask_accepting(router, method, path, &[]).await
}

async fn ask_accepting(router: &Router, method: Method, path: &str, accept: &[&str]) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for encoding in accept {
        request = request.header("accept-encoding", *encoding);
    }
    let request = request.body(Body::empty()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let headers = response.headers().iter();
    let headers = headers
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    let status = response.status().as_u16();
    let body = response
        .into_body()
        .collect()
        .await
        .unwrap()
        .to_bytes()
        .to_vec();
    Answer {
        status,
        headers,
        body,
    }
}

async fn get_path(router: &Router, path: &str) -> Answer {
    ask(router, Method::GET, path).await
}

async fn log_of(entries: u64) -> Log {
    let mut registry = Registry::default();
    let log = Log::start(
        Storage::new(|| Ok(MemoryLog::new()), MemoryAnchor::new()),
        None,
        log_key(ORIGIN),
        LogConfig::new(ORIGIN),
        &mut registry,
    )
    .unwrap();
    let all: Vec<_> = (0..entries).map(a_small_entry).collect();
    for request in all.chunks(1_000) {
        log.submit(request.to_vec(), Vec::new()).await.unwrap();
    }
    log
}

#[tokio::test]
async fn the_checkpoint_is_text_that_is_never_kept_without_asking() {
    let log = log_of(3).await;
    let answer = get_path(&router(&log), "/checkpoint").await;
    answer.assert_is(200, "text/plain; charset=utf-8", "no-cache");
    assert_eq!(answer.body, log.status().checkpoint);
    SignedCheckpoint::open(&answer.body, log_key(ORIGIN).verifier(), ORIGIN).unwrap();
}

#[tokio::test]
async fn a_new_checkpoint_is_served_as_soon_as_it_is_published() {
    let log = log_of(0).await;
    let router = router(&log);
    assert!(
        get_path(&router, "/checkpoint")
            .await
            .body
            .starts_with(b"logs.example.org/alice\n0\n")
    );
    log.submit(vec![a_small_entry(0)], Vec::new())
        .await
        .unwrap();
    assert!(
        get_path(&router, "/checkpoint")
            .await
            .body
            .starts_with(b"logs.example.org/alice\n1\n")
    );
}

struct Fetched(BTreeMap<TileId, Vec<Hash>>);

impl TileReader for Fetched {
    type Error = ();

    fn hashes(&self, id: TileId, width: u16) -> Result<Vec<Hash>, ()> {
        self.0
            .get(&id)
            .and_then(|hashes| hashes.get(..usize::from(width)))
            .map(<[Hash]>::to_vec)
            .ok_or(())
    }
}

#[tokio::test]
async fn everything_needed_to_prove_every_entry_is_served() {
    let log = log_of(700).await;
    let router = router(&log);
    let checkpoint = get_path(&router, "/checkpoint").await.body;
    let checkpoint =
        SignedCheckpoint::open(&checkpoint, log_key(ORIGIN).verifier(), ORIGIN).unwrap();
    let (size, root) = (checkpoint.checkpoint().size, checkpoint.checkpoint().root);
    let (mut tiles, mut entries) = (BTreeMap::new(), Vec::new());
    for (id, width) in tiles_of(size) {
        let path = TilePath { id, width };
        let answer = get_path(&router, &format!("/{path}")).await;
        answer.assert_is(200, "application/octet-stream", "max-age=604800, immutable");
        tiles.insert(id, parse_hashes(&answer.body, width).unwrap());
        if id == TileId::hashes(0, id.index) {
            let path = TilePath {
                id: TileId::entries(id.index),
                width,
            };
            let answer = get_path(&router, &format!("/{path}")).await;
            answer.assert_is(200, "application/octet-stream", "max-age=604800, immutable");
            entries.extend(
                bundle::parse(&answer.body, width)
                    .unwrap()
                    .into_iter()
                    .map(<[u8]>::to_vec),
            );
        }
    }
    let tiles = Fetched(tiles);
    for (index, entry) in (0..size).zip(&entries) {
        assert_eq!(*entry, a_small_entry(index));
        let proof = prove_inclusion(&tiles, index, size).unwrap();
        assert_eq!(
            verify_inclusion(index, size, &leaf_hash(entry), &proof, &root),
            Ok(())
        );
    }
}

#[tokio::test]
async fn every_narrower_version_of_a_tile_is_its_beginning() {
    let log = log_of(300).await;
    let router = router(&log);
    let widest = get_path(&router, "/tile/0/001.p/44").await.body;
    let widest_entries = get_path(&router, "/tile/entries/001.p/44").await.body;
    for width in 1..=44 {
        let hashes = get_path(&router, &format!("/tile/0/001.p/{width}")).await;
        assert_eq!(
            (hashes.status, hashes.body.as_slice()),
            (200, &widest[..width * 32])
        );
        let entries = get_path(&router, &format!("/tile/entries/001.p/{width}")).await;
        assert!(widest_entries.starts_with(&entries.body));
        assert_eq!(
            bundle::parse(&entries.body, u16::try_from(width).unwrap())
                .unwrap()
                .len(),
            width
        );
    }
    // A partial version of what is full by now is still there for who has an older checkpoint.
    assert_eq!(
        get_path(&router, "/tile/0/000.p/200").await.body.len(),
        200 * 32
    );
}

#[tokio::test]
async fn what_the_published_checkpoint_does_not_cover_is_not_found() {
    let log = log_of(300).await;
    let router = router(&log);
    for path in [
        "/tile/0/001",
        "/tile/0/001.p/45",
        "/tile/0/002.p/1",
        "/tile/1/000",
        "/tile/1/000.p/2",
        "/tile/2/000.p/1",
        "/tile/63/000.p/1",
        "/tile/entries/001",
        "/tile/entries/002.p/1",
        "/tile/0/x999/999",
        "/elsewhere",
        "/tile",
    ] {
        let answer = get_path(&router, path).await;
        answer.assert_is(404, "text/plain; charset=utf-8", "no-store");
        assert!(
            answer.body.ends_with(b"\n") && answer.body.len() > 20,
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_malformed_path_is_a_bad_request_that_says_why() {
    let log = log_of(300).await;
    let router = router(&log);
    for path in [
        "/tile/0/001.p/0",
        "/tile/0/000.p/256",
        "/tile/0/1",
        "/tile/00/001",
        "/tile/64/000",
        "/tile/-1/000",
        "/tile/0/x000/001",
        "/tile/0/001.p/044",
        "/tile/data/000",
        "/tile/0/..%2F..%2Fetc",
        "/tile/0/000%00",
        "/tile/0/",
        "/blob/00",
        "/blob/E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855",
    ] {
        let answer = get_path(&router, path).await;
        answer.assert_is(400, "text/plain; charset=utf-8", "no-store");
        assert!(answer.body.len() > 20, "{path}");
    }
}

#[tokio::test]
async fn blobs_are_served_by_their_hash() {
    let log = log_of(0).await;
    let attestation = an_attestation()
        .referring_to(&["glibc"])
        .with_references_in_a_blob();
    log.submit(vec![attestation.bytes()], vec![attestation.blob()])
        .await
        .unwrap();
    let router = router(&log);
    let id = HEXLOWER.encode(&quorix_testkit::tree::blob_id(&attestation.blob()));
    let answer = get_path(&router, &format!("/blob/{id}")).await;
    answer.assert_is(200, "application/octet-stream", "max-age=604800, immutable");
    assert_eq!(answer.body, attestation.blob());
    let absent = get_path(&router, &format!("/blob/{}", "0".repeat(64))).await;
    absent.assert_is(404, "text/plain; charset=utf-8", "no-store");
}

#[tokio::test]
async fn head_answers_like_get_without_the_body() {
    let router = router(&log_of(300).await);
    for path in [
        "/checkpoint",
        "/tile/0/000",
        "/tile/entries/000",
        "/tile/0/009",
        "/",
    ] {
        let (get, head) = (
            get_path(&router, path).await,
            ask(&router, Method::HEAD, path).await,
        );
        assert_eq!((head.status, head.body.len()), (get.status, 0));
        assert_eq!(head.header("content-length"), get.body.len().to_string());
        assert_eq!(head.header("content-type"), get.header("content-type"));
    }
}

#[tokio::test]
async fn the_root_says_what_this_is() {
    let answer = get_path(&router(&log_of(0).await), "/").await;
    answer.assert_is(200, "text/plain; charset=utf-8", "no-cache");
    assert!(
        answer
            .body
            .starts_with(b"This is the transparency log logs.example.org/alice")
    );
}

#[tokio::test]
async fn trustix_nothing_can_be_written_where_the_world_reads() {
    let log = log_of(3).await;
    let router = router(&log);
    for path in ["/", "/checkpoint", "/tile/0/000", "/tile/entries/000"] {
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
            ask(&router, method, path).await.assert_is(
                405,
                "text/plain; charset=utf-8",
                "no-store",
            );
        }
    }
    let submit = ask(&router, Method::POST, "/quorix.v1.LogService/Submit").await;
    submit.assert_is(404, "text/plain; charset=utf-8", "no-store");
    assert_eq!(log.status().size, 3);
}

#[tokio::test]
async fn trustix_no_answer_grows_with_the_log() {
    let router = router(&log_of(2_000).await);
    for path in [
        "/checkpoint",
        "/tile/0/000",
        "/tile/1/000.p/7",
        "/tile/entries/000",
        "/",
    ] {
        let answer = get_path(&router, path).await;
        assert_eq!(answer.status, 200);
        // At most 256 entries, which are small here.
        assert!(
            answer.body.len() <= 256 * 64,
            "{path}: {}",
            answer.body.len()
        );
    }
    // Not for asking either: there is no query that means more.
    let asked = get_path(&router, "/tile/entries/000?start=0&finish=2000").await;
    assert_eq!(
        asked.body,
        get_path(&router, "/tile/entries/000").await.body
    );
}

#[tokio::test]
async fn bundles_are_compressed_as_their_reader_accepts_and_nothing_else_is() {
    let router = router(&log_of(300).await);
    let plain = get_path(&router, "/tile/entries/000").await;
    let found = (plain.header("vary"), plain.header("content-encoding"));
    assert_eq!(found, ("accept-encoding", ""));
    for (accept, encoding) in [
        (&["gzip"][..], "gzip"),
        (&["zstd, gzip"], "zstd"),
        (&["br"], ""),
        (&["gzip", "zstd"], ""),
    ] {
        let answer = ask_accepting(&router, Method::GET, "/tile/entries/000", accept).await;
        answer.assert_is(200, "application/octet-stream", "max-age=604800, immutable");
        assert_eq!(answer.header("vary"), "accept-encoding");
        assert_eq!(answer.header("content-encoding"), encoding);
        let compression = match encoding {
            "" => Compression::None,
            "zstd" => Compression::Zstd,
            _ => Compression::Gzip,
        };
        let smaller = answer.body.len() < plain.body.len();
        assert_eq!(smaller, !encoding.is_empty());
        let body = std::io::Cursor::new(answer.body);
        let mut back = Vec::new();
        let mut reader = decompress(body, &compression).unwrap();
        reader.read_to_end(&mut back).await.unwrap();
        assert_eq!(back, plain.body);
    }
    for path in ["/tile/0/000", "/checkpoint"] {
        let answer = ask_accepting(&router, Method::GET, path, &["zstd, gzip"]).await;
        let found = (answer.header("vary"), answer.header("content-encoding"));
        assert_eq!(found, ("", ""), "{path}");
    }
}

#[tokio::test]
async fn beyond_what_is_compressed_at_once_bundles_are_sent_as_they_are() {
    let log = log_of(300).await;
    let none_free = Arc::new(Semaphore::new(0));
    let shown = Shown {
        origin: ORIGIN.into(),
        published: log.published(),
        compressing: none_free,
    };
    let router = Router::new()
        .route("/tile/{*path}", get(tile))
        .with_state(shown);
    let answer = ask_accepting(&router, Method::GET, "/tile/entries/000", &["gzip"]).await;
    assert_eq!(
        (answer.status, answer.header("content-encoding")),
        (200, "")
    );
    assert_eq!(answer.header("vary"), "accept-encoding");
    bundle::parse(&answer.body, 256).unwrap();
}

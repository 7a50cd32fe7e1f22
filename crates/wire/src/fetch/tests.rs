//! Fetching from a server that does anything, and from directories.

use std::net::SocketAddr;

use quorix_testkit::tree::{hash_bytes, naive_bundle};
use quorix_tlog::hash::{Hash, leaf_hash};
use quorix_tlog::tile::TileId;
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};

use super::http::is_sideways;
use super::*;

/// What a test server does with a connection after it has read the request's path.
enum Reply {
    /// Sends these bytes and closes.
    Bytes(Vec<u8>),
    /// Sends these bytes and then nothing, without closing.
    Stall(Vec<u8>),
}

/// A server that answers each request, by its path, with raw bytes. Gone with the test's runtime.
async fn serve(answer: impl Fn(&str) -> Reply + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move { reply(stream, &*answer).await });
        }
    });
    format!("http://{address}")
}

async fn reply(mut stream: TcpStream, answer: &(impl Fn(&str) -> Reply + Sync)) -> Option<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await.ok()?);
    }
    let request = String::from_utf8(request).ok()?;
    let wanted = if request.starts_with("GET /tile/entries/") {
        "accept-encoding: zstd, gzip\r\n"
    } else {
        "accept-encoding: identity\r\n"
    };
    assert!(request.contains(wanted), "{request}");
    assert!(request.contains("user-agent: quorix/"), "{request}");
    match answer(request.split(' ').nth(1)?) {
        Reply::Bytes(bytes) => stream.write_all(&bytes).await.ok(),
        Reply::Stall(bytes) => {
            stream.write_all(&bytes).await.ok()?;
            std::future::pending().await
        }
    }
}

fn ok(body: &[u8]) -> Reply {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    Reply::Bytes([head.as_bytes(), body].concat())
}

fn status(line: &str) -> Reply {
    Reply::Bytes(
        format!("HTTP/1.1 {line}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").into_bytes(),
    )
}

fn redirect(to: &str) -> Reply {
    status(&format!("302 Found\r\nLocation: {to}"))
}

fn fetcher() -> Fetcher {
    fetcher_with(FetchLimits::default())
}

fn fetcher_with(limits: FetchLimits) -> Fetcher {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Fetcher::new(limits).unwrap()
}

const SHORT: Duration = Duration::from_millis(150);

#[tokio::test]
async fn a_file_is_fetched_over_http_and_from_a_directory_alike() {
    let server = serve(|path| ok(path.as_bytes())).await;
    let body = fetcher()
        .get(&format!("{server}/sub/checkpoint"), 100)
        .await
        .unwrap();
    assert_eq!(&body[..], b"/sub/checkpoint");

    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("checkpoint"), b"note").unwrap();
    let directory = directory.path().to_str().unwrap();
    for prefix in [directory.to_owned(), format!("file://{directory}")] {
        let url = join(&prefix, "checkpoint").unwrap();
        assert_eq!(&fetcher().get(&url, 4).await.unwrap()[..], b"note");
        let too_large = FetchError::TooLarge {
            url: url.clone(),
            limit: 3,
        };
        assert_eq!(fetcher().get(&url, 3).await, Err(too_large));
        let absent = join(&prefix, "absent").unwrap();
        assert_eq!(
            fetcher().get(&absent, 3).await,
            Err(FetchError::NotFound { url: absent })
        );
    }
    let not_a_file = fetcher().get(directory, 3).await.unwrap_err();
    assert_eq!(
        not_a_file.to_string(),
        format!("{directory}: it is not a file")
    );
}

#[tokio::test]
async fn a_body_is_never_larger_than_permitted_whatever_its_server_says() {
    let server = serve(|path| match path {
        "/honest" => ok(&[0; 11]),
        "/unsaid" => {
            Reply::Bytes(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n12345678901".to_vec())
        }
        _ => Reply::Bytes(
            b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\n1234567890"
                .to_vec(),
        ),
    })
    .await;
    for path in ["honest", "unsaid"] {
        let url = format!("{server}/{path}");
        assert_eq!(
            fetcher().get(&url, 10).await,
            Err(FetchError::TooLarge { url, limit: 10 })
        );
    }
    assert_eq!(
        fetcher()
            .get(&format!("{server}/fits"), 10)
            .await
            .unwrap()
            .len(),
        10
    );
}

#[tokio::test]
async fn a_body_that_ends_too_early_is_an_error() {
    let server = serve(|_| {
        Reply::Bytes(
            b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\n12345".to_vec(),
        )
    })
    .await;
    let cut = fetcher().get(&server, 10).await.unwrap_err();
    assert!(
        matches!(&cut, FetchError::Transport { reason, .. } if reason.contains("broke off")),
        "{cut}"
    );
}

#[tokio::test]
async fn every_wait_is_bounded() {
    let server = serve(|path| match path {
        "/silent" => Reply::Stall(vec![]),
        _ => Reply::Stall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345".to_vec()),
    })
    .await;
    let (silent, slow) = (format!("{server}/silent"), format!("{server}/slow"));
    let timeout = |url: &str, waiting| FetchError::Timeout {
        url: url.to_owned(),
        waiting,
        after: SHORT,
    };
    let first = fetcher_with(FetchLimits {
        first_byte_timeout: SHORT,
        ..FetchLimits::default()
    });
    assert_eq!(
        first.get(&silent, 10).await,
        Err(timeout(&silent, Waiting::FirstByte))
    );
    let idle = fetcher_with(FetchLimits {
        idle_timeout: SHORT,
        ..FetchLimits::default()
    });
    assert_eq!(
        idle.get(&slow, 10).await,
        Err(timeout(&slow, Waiting::NextByte))
    );
    let whole = fetcher_with(FetchLimits {
        total_timeout: SHORT,
        ..FetchLimits::default()
    });
    assert_eq!(
        whole.get(&slow, 10).await,
        Err(timeout(&slow, Waiting::Whole))
    );
    let stream = fetcher_with(FetchLimits {
        stream_timeout: SHORT,
        ..FetchLimits::default()
    });
    let mut bytes = Vec::new();
    let error = stream
        .get_stream(&slow)
        .await
        .unwrap()
        .body
        .read_to_end(&mut bytes)
        .await
        .unwrap_err();
    assert_eq!(
        FetchError::from_io(&slow, error),
        timeout(&slow, Waiting::Whole)
    );
    assert_eq!(bytes, b"12345");
    assert!(
        timeout(&slow, Waiting::Whole)
            .to_string()
            .ends_with("the whole took longer than 0.15 s")
    );
}

#[tokio::test]
async fn redirects_are_followed_three_times_and_only_to_http() {
    let server = serve(|path| match path {
        "/3" => redirect("/2"),
        "/2" => redirect("/1"),
        "/1" => redirect("/0"),
        "/0" => ok(b"there"),
        "/4" => redirect("/3"),
        "/file" => redirect("file:///etc/hostname"),
        _ => redirect("/loop"),
    })
    .await;
    assert_eq!(
        &fetcher().get(&format!("{server}/3"), 10).await.unwrap()[..],
        b"there"
    );
    for path in ["4", "loop"] {
        let error = fetcher()
            .get(&format!("{server}/{path}"), 10)
            .await
            .unwrap_err();
        assert!(
            error.to_string().ends_with("more than 3 redirects"),
            "{error}"
        );
    }
    assert!(fetcher().get(&format!("{server}/file"), 10).await.is_err());
}

#[test]
fn a_redirect_never_leads_to_a_bare_address_elsewhere_or_away_from_https() {
    let sideways = |from: &str, to: &str| is_sideways(&from.parse().unwrap(), &to.parse().unwrap());
    let cache = "https://cache.example.org/nar/1";
    assert!(!sideways(cache, "https://bucket.example.net/1"));
    assert!(!sideways(cache, "https://cache.example.org/2"));
    assert!(!sideways("http://127.0.0.1:1/a", "http://127.0.0.1:1/b"));
    for to in [
        "http://cache.example.org/nar/1",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://169.254.169.254/latest",
        "https://localhost/",
    ] {
        assert!(sideways(cache, to), "{to}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_told_from_what_fails() {
    let server = serve(|path| {
        status(match path {
            "/absent" => "404 Not Found",
            "/gone" => "410 Gone",
            "/forbidden" => "403 Forbidden",
            _ => "503 Service Unavailable",
        })
    })
    .await;
    let get = async |path: &str| {
        fetcher()
            .get(&format!("{server}{path}"), 10)
            .await
            .unwrap_err()
    };
    assert_eq!(
        get("/absent").await,
        FetchError::NotFound {
            url: format!("{server}/absent")
        }
    );
    assert!(get("/gone").await.is_absent() && get("/forbidden").await.is_absent());
    let failed = get("/failing").await;
    assert!(!failed.is_absent());
    assert_eq!(
        failed.to_string(),
        format!("{server}/failing: the server answered with status 503")
    );

    let unused = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let url = format!("http://{unused}/");
    let refused = fetcher().get(&url, 10).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        format!("{url}: no connection: Connection refused")
    );
}

#[tokio::test]
async fn gzip_that_was_not_asked_for_is_undone_within_bounds_and_nothing_else_is() {
    use async_compression::tokio::bufread::GzipEncoder;
    let mut bomb = Vec::new();
    GzipEncoder::new(&[0_u8; 1_000_000][..])
        .read_to_end(&mut bomb)
        .await
        .unwrap();
    let server = serve(move |path| {
        let encoding = path.trim_start_matches('/');
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            bomb.len()
        );
        Reply::Bytes([head.as_bytes(), &bomb].concat())
    })
    .await;
    let url = format!("{server}/gzip");
    assert_eq!(
        fetcher().get(&url, 1_000_000).await.unwrap().len(),
        1_000_000
    );
    assert_eq!(
        fetcher().get(&url, 999_999).await,
        Err(FetchError::TooLarge {
            url,
            limit: 999_999
        })
    );
    let url = format!("{server}/br");
    let refused = FetchError::Encoding {
        url: url.clone(),
        encoding: "br".to_owned(),
    };
    assert_eq!(fetcher().get(&url, 1_000_000).await, Err(refused));
}

/// An answer in an encoding.
fn encoded(encoding: &str, body: &[u8]) -> Reply {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    Reply::Bytes([head.as_bytes(), body].concat())
}

#[tokio::test]
async fn bundles_come_with_zstd_or_gzip_and_a_bomb_in_either_is_cut_off() {
    use crate::compress::{Encoding, compress};
    // 256 entries of 65,535 bytes are the most that a bundle can have; this is one byte more.
    let bomb = vec![0; 256 * (2 + 65_535) + 1];
    for encoding in [Encoding::Zstd, Encoding::Gzip] {
        let bundle = compress(&naive_bundle(&entries(), 0), encoding).unwrap();
        let bomb = compress(&bomb, encoding).unwrap();
        assert!(bomb.len() < 100_000, "{}", bomb.len());
        let cut = bundle[..bundle.len() - 5].to_vec();
        let server = serve(move |path| match path {
            "/tile/entries/000" => encoded(encoding.name(), &bundle),
            "/tile/entries/001" => encoded(encoding.name(), &bomb),
            "/tile/entries/002" => encoded(encoding.name(), &cut),
            _ => encoded(encoding.name(), b"neither"),
        })
        .await;
        let client = TileClient::new(fetcher(), vec![server.clone()]);
        let read = client.entry_bundle(0, 256).await;
        assert_eq!(read, Ok(naive_bundle(&entries(), 0)));
        let too_large = FetchError::TooLarge {
            url: format!("{server}/tile/entries/001"),
            limit: 256 * (2 + 65_535),
        };
        assert_eq!(client.entry_bundle(1, 256).await, Err(too_large));
        for garbage in [2, 3] {
            let refused = client.entry_bundle(garbage, 256).await;
            assert!(
                matches!(refused, Err(FetchError::Transport { .. })),
                "{refused:?}"
            );
        }
    }
}

#[tokio::test]
async fn zstd_that_was_not_asked_for_is_refused() {
    let server = serve(|_| encoded("zstd", b"whatever")).await;
    let url = format!("{server}/checkpoint");
    let refused = FetchError::Encoding {
        url: url.clone(),
        encoding: "zstd".to_owned(),
    };
    assert_eq!(fetcher().get(&url, 100).await, Err(refused));
}

/// The entries of a log with a full bundle and 5 more.
fn entries() -> Vec<Vec<u8>> {
    (0..261)
        .map(|n| format!("entry {n}").into_bytes())
        .collect()
}

#[tokio::test]
async fn a_deleted_partial_tile_is_read_from_the_full_one() {
    let hashes: Vec<Hash> = entries().iter().map(|entry| leaf_hash(entry)).collect();
    let (tile, bundle) = (hash_bytes(&hashes[..256]), naive_bundle(&entries(), 0));
    let server = serve(move |path| match path {
        "/tile/0/000" => ok(&tile),
        "/tile/entries/000" => ok(&bundle),
        _ => status("404 Not Found"),
    })
    .await;
    let log = TileClient::new(fetcher(), vec![server.clone()]);
    assert_eq!(
        log.hash_tile(TileId::hashes(0, 0), 256).await.unwrap(),
        hashes[..256]
    );
    assert_eq!(
        log.hash_tile(TileId::hashes(0, 0), 9).await.unwrap(),
        hashes[..9]
    );
    let nine = log.entry_bundle(0, 9).await.unwrap();
    assert_eq!(nine, naive_bundle(&entries()[..9], 0));
    let absent = log.hash_tile(TileId::hashes(0, 1), 5).await.unwrap_err();
    assert_eq!(
        absent,
        FetchError::NotFound {
            url: format!("{server}/tile/0/001.p/5")
        }
    );
    assert!(log.hash_tile(TileId::hashes(0, 0), 0).await.is_err());
    assert!(log.hash_tile(TileId::hashes(0, 0), 257).await.is_err());
}

#[tokio::test]
async fn a_tile_of_the_wrong_shape_is_refused() {
    let server = serve(|path| match path {
        "/tile/0/000.p/2" => ok(&[0; 63]),
        "/tile/entries/000.p/2" => ok(&[0, 1, b'a', 0, 2, b'b']),
        _ => ok(&[0; 8193]),
    })
    .await;
    let log = TileClient::new(fetcher(), vec![server]);
    for error in [
        log.hash_tile(TileId::hashes(0, 0), 2).await.unwrap_err(),
        log.entry_bundle(0, 2).await.unwrap_err(),
    ] {
        assert!(matches!(error, FetchError::Malformed { .. }), "{error}");
    }
    let large = log.hash_tile(TileId::hashes(0, 0), 256).await.unwrap_err();
    assert!(
        matches!(large, FetchError::TooLarge { limit: 8192, .. }),
        "{large}"
    );
}

#[tokio::test]
async fn every_address_of_a_log_is_asked_once_in_order() {
    let first = serve(|_| status("503 Service Unavailable")).await;
    let second = serve(|path| match path {
        "/checkpoint" => ok(b"note"),
        _ => status("404 Not Found"),
    })
    .await;
    let log = TileClient::new(fetcher(), vec![first.clone(), second.clone()]);
    assert_eq!(&log.checkpoint().await.unwrap()[..], b"note");
    let error = log.hash_tile(TileId::hashes(0, 0), 256).await.unwrap_err();
    assert!(!error.is_absent(), "an address that failed may have it");
    assert_eq!(
        error.to_string(),
        format!(
            "{first}/tile/0/000: the server answered with status 503; {second}/tile/0/000: not found"
        )
    );
    let nowhere = TileClient::new(fetcher(), vec![])
        .checkpoint()
        .await
        .unwrap_err();
    assert_eq!(
        nowhere.to_string(),
        "cannot fetch anything: the log has no address"
    );
}

#[tokio::test]
async fn a_blob_is_taken_only_with_its_own_hash() {
    let (wrong, right) = (serve(|_| ok(b"other")).await, serve(|_| ok(b"blob")).await);
    let id = Sha256::digest(b"blob").into();
    let log = TileClient::new(fetcher(), vec![wrong.clone(), right]);
    assert_eq!(log.blob(&id).await.unwrap(), b"blob");
    let lying = TileClient::new(fetcher(), vec![wrong])
        .blob(&id)
        .await
        .unwrap_err();
    assert!(matches!(lying, FetchError::Malformed { .. }), "{lying}");
}

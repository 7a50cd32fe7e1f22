//! Requests that no client makes, byte by byte: each gets a refusal, and the process goes on.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::world::{World, get};

/// Sends bytes as they are and gives the status, or `None` if the connection was closed without one.
async fn send(address: SocketAddr, request: &[u8]) -> Option<u16> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // A server that has heard enough closes while we write.
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let reading = stream.read_to_end(&mut answer);
    let _ = tokio::time::timeout(Duration::from_secs(30), reading)
        .await
        .expect("it answers or hangs up");
    let head = String::from_utf8_lossy(&answer);
    head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
}

/// A request for a path that is sent as it is.
async fn ask(address: SocketAddr, method: &str, path: &str) -> Option<u16> {
    let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    send(address, request.as_bytes()).await
}

/// Paths that lead out of a folder, are not what they look like, or are out of bounds.
const PATHS: [&str; 29] = [
    "/../../../../etc/passwd",
    "/..%2f..%2f..%2fetc%2fpasswd",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/nar/../../quorix.toml",
    "//etc/passwd",
    "/%00",
    "/%ff%fe",
    "/%zz",
    "/.narinfo",
    "/eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee.narinfo",
    "/00000000000000000000000000000000.narinfo",
    "/nar/x.nar",
    "/nar/0000000000000000000000000000000000000000000000000000.nar",
    "/tile/64/000",
    "/tile/0/x999/x999/x999/999",
    "/tile/0/000.p/0",
    "/tile/0/000.p/257",
    "/tile/entries/x001/../000",
    "/tile/entries/18446744073709551616",
    "/blob/../checkpoint",
    "/blob/00",
    "/logs/..%2f..%2fpolicy",
    "/logs/%00/key",
    "/logs/nobody",
    "/output/..%2f..%2fetc",
    "/output/%3Cscript%3E",
    "/assets/..%2f..%2fCargo.toml",
    "/assets/../quorix.toml",
    "/disagreements?page=-1&%ff=%ff",
];

async fn assert_refuses_paths(address: SocketAddr, is_dashboard: bool) {
    let long = [
        format!("/{}", "a".repeat(40_000)),
        format!("/tile/0/{}", "x001/".repeat(2_000)),
        format!("/output/{}", "../".repeat(3_000)),
    ];
    for path in PATHS.into_iter().chain(long.iter().map(String::as_str)) {
        let status = ask(address, "GET", path).await;
        let is_refused = status.is_none_or(|status| (400..500).contains(&status));
        // Odd filters show an empty list, and what looks like a store path leads to the page of its last part.
        let is_page = is_dashboard
            && ((path.starts_with("/disagreements") && status == Some(200))
                || (path.starts_with("/output/") && status == Some(303)));
        assert!(
            is_refused || is_page,
            "{address} answers {path:.80} with {status:?}"
        );
    }
}

async fn assert_refuses_methods_and_garbage(address: SocketAddr) {
    for method in ["POST", "PUT", "DELETE", "TRACE", "BREW"] {
        let status = ask(address, method, "/checkpoint").await;
        assert!(
            status.is_none_or(|status| (400..500).contains(&status)),
            "{address} answers {method} with {status:?}"
        );
    }
    for request in [
        b"\0\0\0\0\r\n\r\n".as_slice(),
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
    ] {
        let status = send(address, request).await;
        assert!(status.is_none_or(|status| status < 500), "{address} answers {request:?} with {status:?}");
    }
    let headers = "X: y\r\n".repeat(20_000);
    let request = format!("GET / HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
    let status = send(address, request.as_bytes()).await;
    assert!(
        status.is_none_or(|status| (400..500).contains(&status)),
        "{address}: {status:?}"
    );
}

/// Panics on bad input and on every surprise of a source ended the proxy there.
#[tokio::test]
async fn trustix_hostile_requests_are_refused_and_every_process_lives() {
    let mut world = World::with_user().await;
    let log = world.builder("alice").public;
    let (resolver, dashboard, metrics) = (
        world.user().resolver,
        world.user().dashboard,
        world.user().metrics,
    );
    for address in [log, resolver, dashboard, metrics] {
        assert_refuses_paths(address, address == dashboard).await;
        assert_refuses_methods_and_garbage(address).await;
    }

    let good = format!("/{}.narinfo", world.path("hello").hash_part());
    let ranges = format!(
        "GET {good} HTTP/1.1\r\nHost: x\r\nRange: bytes=9999999999999999999-1,-,x\r\nConnection: close\r\n\r\n"
    );
    assert!(
        send(resolver, ranges.as_bytes())
            .await
            .is_some_and(|status| status < 500)
    );

    assert_eq!(ask(resolver, "GET", &good).await, Some(200));
    for url in [
        format!("http://{log}/checkpoint"),
        format!("http://{dashboard}/"),
        format!("http://{metrics}/health"),
    ] {
        assert_eq!(get(&url).await.0, 200, "{url}");
    }
    let (_, text) = get(&format!("http://{metrics}/metrics")).await;
    assert!(text.ends_with("# EOF\n"), "{text}");
    world.user_mut().stop().await.unwrap();
    world.builder("alice").stop().await.unwrap();
}

/// A client that begins and never ends keeps nobody else from being answered.
#[tokio::test]
async fn silent_connections_keep_nobody_from_being_served() {
    let world = World::with_user().await;
    let mut silent = Vec::new();
    for number in 0..150_usize {
        let address = [
            world.user().resolver,
            world.user().dashboard,
            world.builders[0].public,
        ][number % 3];
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET /").await.unwrap();
        silent.push(stream);
    }
    assert_eq!(world.narinfo("hello").await.0, 200);
    assert!(world.decide("hello").await.is_accepted());
    assert_eq!(
        get(&format!("http://{}/", world.user().dashboard)).await.0,
        200
    );
    drop(silent);
}

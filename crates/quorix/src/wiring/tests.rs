//! Whole nodes in this process: they start, answer on every listener, and stop.

use std::path::Path;

use quorix_wire::address::Address;
use quorix_wire::channel;
use quorix_wire::fetch::{FetchLimits, Fetcher};
use tokio_util::sync::CancellationToken;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use super::{Node, start};
use crate::commands::configuration;
use crate::demo::world::{BuilderHost, UserHost, free_port};
use crate::output::Failure;

/// A builder's and a user's configuration; the processes of neither are started.
struct Hosts {
    _dir: tempfile::TempDir,
    builder: BuilderHost,
    user: UserHost,
}

fn hosts() -> Hosts {
    // Another test may have installed it already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let builder = BuilderHost::create(dir.path(), "alice", Path::new("quorix"), None).unwrap();
    let policy = format!(
        "{}quorum none\nvoters one 1 alice\nrule main quorum=one\ndefault main\n",
        builder.policy_line()
    );
    let user = UserHost::create(dir.path(), "user", Path::new("quorix"), &policy, &[]).unwrap();
    Hosts {
        _dir: dir,
        builder,
        user,
    }
}

async fn running(file: &Path) -> Result<(Node, CancellationToken), Failure> {
    let config = configuration(file)?;
    let stop = CancellationToken::new();
    Ok((start(&config, stop.clone()).await?, stop))
}

async fn text(url: String) -> String {
    let fetcher = Fetcher::new(FetchLimits::default()).unwrap();
    String::from_utf8(fetcher.get(&url, 1 << 20).await.unwrap().to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_role_answers_on_its_own_listener_and_all_of_them_stop() {
    let Hosts {
        builder,
        user,
        _dir,
    } = hosts();
    let (log, log_stop) = running(&builder.config).await.unwrap();
    let (node, stop) = running(&user.config).await.unwrap();

    assert!(
        text(format!("{}/checkpoint", builder.url()))
            .await
            .starts_with("alice.example/log\n0\n")
    );
    assert!(
        text(format!("{}/nix-cache-info", user.substituter()))
            .await
            .starts_with("StoreDir: /nix/store\n")
    );
    assert!(
        text(format!("http://{}/", user.dashboard))
            .await
            .contains("<html lang=\"en\"")
    );
    assert_eq!(
        text(format!("http://{}/health", user.metrics)).await,
        "ok\n"
    );
    let metrics = text(format!("http://{}/metrics", user.metrics)).await;
    for role in ["aggregator", "resolver", "dashboard"] {
        assert!(
            metrics.contains(&format!("quorix_{role}_")),
            "{role} in:\n{metrics}"
        );
    }

    stop.cancel();
    log_stop.cancel();
    node.ended().await.unwrap();
    log.ended().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_aggregator_tells_its_health_and_describes_its_service() {
    let Hosts { user, _dir, .. } = hosts();
    let (node, stop) = running(&user.config).await.unwrap();
    let channel = channel::connect(&Address::Tcp(user.aggregator.to_string())).unwrap();

    let service = "quorix.v1.AggregatorService".to_owned();
    let health = HealthClient::new(channel.clone())
        .check(HealthCheckRequest {
            service: service.clone(),
        })
        .await;
    assert_eq!(
        health.unwrap().into_inner().status().as_str_name(),
        "SERVING"
    );

    let ask = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let answers = ServerReflectionClient::new(channel)
        .server_reflection_info(tokio_stream::once(ask))
        .await;
    let answer = answers
        .unwrap()
        .into_inner()
        .message()
        .await
        .unwrap()
        .unwrap();
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        panic!("no list of services: {answer:?}");
    };
    assert!(list.service.iter().any(|one| one.name == service));

    stop.cancel();
    node.ended().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_on_one_database_is_refused_with_its_folder() {
    let Hosts { builder, _dir, .. } = hosts();
    let (node, stop) = running(&builder.config).await.unwrap();
    let elsewhere = std::fs::read_to_string(&builder.config).unwrap();
    let elsewhere = elsewhere
        .replace(
            &builder.public.to_string(),
            &free_port().unwrap().to_string(),
        )
        .replace("submit.sock", "other.sock");
    let second = builder.config.with_file_name("second.toml");
    std::fs::write(&second, elsewhere).unwrap();

    let error = running(&second).await.err().unwrap().to_string();

    let folder = builder.data_dir.join("log");
    assert!(
        error.contains(&folder.display().to_string()) && error.contains("another"),
        "{error}"
    );
    stop.cancel();
    node.ended().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_is_taken_is_named_with_its_key() {
    let Hosts { user, _dir, .. } = hosts();
    let taken = std::net::TcpListener::bind(user.resolver).unwrap();

    let error = running(&user.config).await.err().unwrap().to_string();

    let expected = format!(
        "resolver.listen: cannot listen on {}: ",
        taken.local_addr().unwrap()
    );
    assert!(error.starts_with(&expected), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_of_another_log_is_refused() {
    let Hosts { builder, _dir, .. } = hosts();
    let text = std::fs::read_to_string(&builder.config).unwrap();
    std::fs::write(
        &builder.config,
        text.replace("origin = \"alice", "origin = \"bob"),
    )
    .unwrap();

    let error = running(&builder.config).await.err().unwrap().to_string();

    assert!(
        error.starts_with("log.origin is `bob.example/log`, but the key in "),
        "{error}"
    );
}

#[tokio::test]
async fn who_connects_and_does_not_finish_asking_is_let_go_and_others_are_served_meanwhile() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let router = axum::Router::new().route("/", axum::routing::get(|| async { "here\n" }));
    let serving = tokio::spawn(crate::listen::serve_http(listener, router, stop.clone()));
    let mut slow = tokio::net::TcpStream::connect(address).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nX-")
        .await
        .unwrap();
    let _ = rustls::crypto::ring::default_provider().install_default();
    assert_eq!(text(format!("http://{address}/")).await, "here\n");

    // Time passes by itself from here on, whenever nothing else is to be done.
    tokio::time::pause();
    let mut rest = Vec::new();
    let _ = slow.read_to_end(&mut rest).await;

    assert!(!String::from_utf8_lossy(&rest).contains("here"));
    stop.cancel();
    serving.await.unwrap().unwrap();
}

/// Passes everything on, with one bit of every look-up turned.
async fn a_liar_before(log: String) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = axum::Router::new().fallback(async move |uri: axum::http::Uri| {
        let fetcher = Fetcher::new(FetchLimits::default()).unwrap();
        let mut bytes = fetcher
            .get(&format!("{log}{}", uri.path()), 1 << 20)
            .await
            .unwrap()
            .to_vec();
        if uri.path().starts_with("/index/lookup/") {
            *bytes.last_mut().unwrap() ^= 1;
        }
        bytes
    });
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    format!("http://{address}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_up_verifies_and_an_altered_answer_is_refused() {
    use quorix_testkit::entries::{a_path, a_small_entry, an_attestation};
    use quorix_wire::client::LogClient;
    use quorix_wire::index::{LogLookup, LookupError, lookup};
    let Hosts { builder, _dir, .. } = hosts();
    let (node, stop) = running(&builder.config).await.unwrap();
    let hello = an_attestation().bytes();
    let mut entries = vec![hello.clone()];
    entries.extend((0..40).map(a_small_entry));
    entries.push(an_attestation().saying("B").bytes());
    let channel = channel::connect(&Address::Unix(builder.submit.clone())).unwrap();
    let client = LogClient::new(channel);
    client.submit(entries, Vec::new()).await.unwrap();
    let log = |url: String| LogLookup {
        fetcher: Fetcher::new(FetchLimits::default()).unwrap(),
        url,
        key: builder.vkey().clone(),
        witnessed: None,
        entries_max: quorix_wire::index::ENTRIES_MAX,
        bytes_max: usize::MAX,
    };
    let dir = "/nix/store".parse().unwrap();
    let asked = a_path("hello");

    // However far the index has come by now: all 42 entries are covered or read.
    let said = lookup(&log(builder.url()), &dir, &asked, None)
        .await
        .unwrap();
    let indices: Vec<u64> = said.entries.iter().map(|(index, _)| *index).collect();
    assert_eq!(indices, [0, 41]);
    assert_eq!(said.entries.first().map(|(_, bytes)| bytes), Some(&hello));
    assert_eq!(said.proven.covered + said.read_behind, 42);
    let nothing = lookup(&log(builder.url()), &dir, &a_path("absent"), None)
        .await
        .unwrap();
    assert_eq!(nothing.entries, []);

    let lying = lookup(&log(a_liar_before(builder.url()).await), &dir, &asked, None).await;
    let error = lying.unwrap_err();
    assert!(
        error.is_refusal() && matches!(error, LookupError::Answer(_)),
        "{error}"
    );

    stop.cancel();
    node.ended().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_with_more_entries_than_a_page_of_its_list_is_looked_up_whole() {
    use quorix_testkit::entries::{a_path, an_attestation};
    use quorix_tlog::index::answer::MAX_INDICES;
    use quorix_wire::client::LogClient;
    use quorix_wire::index::{ENTRIES_MAX, LogLookup, LookupError, lookup};
    let Hosts { builder, _dir, .. } = hosts();
    let (node, stop) = running(&builder.config).await.unwrap();
    let channel = channel::connect(&Address::Unix(builder.submit.clone())).unwrap();
    let client = LogClient::new(channel);
    let count = MAX_INDICES + 100;
    let entry = |number: usize| an_attestation().saying(&number.to_string()).bytes();
    let entries: Vec<Vec<u8>> = (0..count).map(entry).collect();
    for batch in entries.chunks(1_024) {
        client.submit(batch.to_vec(), Vec::new()).await.unwrap();
    }
    crate::demo::client::until("the index has read more than a page", async || {
        let status = client.status().await.ok()?.index?;
        (status.covered > MAX_INDICES as u64 && status.answering).then_some(())
    })
    .await
    .unwrap();
    let mut log = LogLookup {
        fetcher: Fetcher::new(FetchLimits::default()).unwrap(),
        url: builder.url(),
        key: builder.vkey().clone(),
        witnessed: None,
        entries_max: ENTRIES_MAX,
        bytes_max: usize::MAX,
    };
    let (dir, path) = ("/nix/store".parse().unwrap(), a_path("hello"));
    let refused = lookup(&log, &dir, &path, None).await.unwrap_err();
    let most = ENTRIES_MAX;
    assert!(
        matches!(refused, LookupError::TooMany { most: found } if found == most),
        "{refused}"
    );
    log.entries_max = count;
    let said = lookup(&log, &dir, &path, None).await.unwrap();
    assert!(said.proven.indices.len() > MAX_INDICES);
    let found: Vec<Vec<u8>> = said.entries.into_iter().map(|(_, bytes)| bytes).collect();
    assert!(found == entries, "{} of {count}", found.len());
    stop.cancel();
    node.ended().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_starts_whatever_is_wrong_with_its_index_and_says_so() {
    use quorix_testkit::entries::{a_path, an_attestation};
    use quorix_wire::client::LogClient;
    use quorix_wire::index::{LogLookup, LookupError, lookup};
    let Hosts { builder, _dir, .. } = hosts();
    let config = configuration(&builder.config).unwrap();
    let index = config.role_dir("log-index");
    std::fs::create_dir_all(&index).unwrap();
    std::fs::write(index.join("CURRENT"), "MANIFEST-of-nothing\n").unwrap();
    let (node, stop) = running(&builder.config).await.unwrap();
    let channel = channel::connect(&Address::Unix(builder.submit.clone())).unwrap();
    let client = LogClient::new(channel);
    let entry = an_attestation().bytes();
    client.submit(vec![entry], Vec::new()).await.unwrap();
    let log = LogLookup {
        fetcher: Fetcher::new(FetchLimits::default()).unwrap(),
        url: builder.url(),
        key: builder.vkey().clone(),
        witnessed: None,
        entries_max: quorix_wire::index::ENTRIES_MAX,
        bytes_max: usize::MAX,
    };
    let ask = async || lookup(&log, &"/nix/store".parse().unwrap(), &a_path("hello"), None).await;
    let no_answer = ask().await.unwrap_err();
    assert!(!no_answer.is_refusal(), "{no_answer}");
    assert!(no_answer.to_string().contains("503"), "{no_answer}");
    let status = crate::demo::client::until("the index says what is wrong", async || {
        let status = client.status().await.ok()?.index?;
        (!status.problem.is_empty()).then_some(status)
    })
    .await
    .unwrap();
    assert!(
        status.problem.contains("opening the log's index"),
        "{}",
        status.problem
    );
    assert!(!status.answering && !status.stopped);
    stop.cancel();
    node.ended().await.unwrap();

    // A log that keeps none is told apart from one that does not answer.
    let text = std::fs::read_to_string(&builder.config).unwrap();
    let text = text.replacen("[log]\n", "[log]\nindex = false\n", 1);
    std::fs::write(&builder.config, text).unwrap();
    let (node, stop) = running(&builder.config).await.unwrap();
    let none = ask().await;
    assert!(matches!(none, Err(LookupError::NoIndex { .. })), "{none:?}");
    stop.cancel();
    node.ended().await.unwrap();
}

/// A gRPC message without a field, framed.
const EMPTY: [u8; 5] = [0; 5];

#[tokio::test(flavor = "multi_thread")]
async fn one_listener_answers_grpc_web_and_json_and_named_origins_may_read_them() {
    let Hosts { user, _dir, .. } = hosts();
    let text = std::fs::read_to_string(&user.config).unwrap();
    let named = "[aggregator]\nallow_origins = [\"https://example.org\"]\n";
    std::fs::write(&user.config, text.replace("[aggregator]\n", named)).unwrap();
    let (node, stop) = running(&user.config).await.unwrap();
    let url = format!("http://{}", user.aggregator);
    let client = reqwest::Client::new();

    let logs = client
        .get(format!("{url}/api/v1/logs"))
        .send()
        .await
        .unwrap();
    assert_eq!(logs.status(), 200);
    let logs: serde_json::Value = serde_json::from_slice(&logs.bytes().await.unwrap()).unwrap();
    assert_eq!(logs.pointer("/logs/0/name"), Some(&"alice".into()));

    let overview = format!("{url}/quorix.v1.AggregatorService/GetOverview");
    let web = client
        .post(&overview)
        .header("content-type", "application/grpc-web+proto")
        .header("origin", "https://example.org")
        .body(EMPTY.to_vec())
        .send()
        .await
        .unwrap();
    assert_eq!(web.headers()["content-type"], "application/grpc-web+proto");
    assert_eq!(
        web.headers()["access-control-allow-origin"],
        "https://example.org"
    );
    let web = web.bytes().await.unwrap();
    let trailers = String::from_utf8_lossy(&web);
    assert!(trailers.contains("grpc-status:0"), "{trailers}");

    let preflight = async |origin: &str| {
        let asked = client
            .request(reqwest::Method::OPTIONS, &overview)
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "content-type,x-grpc-web");
        let answer = asked.send().await.unwrap();
        answer.headers().get("access-control-allow-origin").cloned()
    };
    assert_eq!(
        preflight("https://example.org").await.unwrap(),
        "https://example.org"
    );
    assert_eq!(preflight("https://evil.example").await, None);

    stop.cancel();
    node.ended().await.unwrap();
    let text = std::fs::read_to_string(&user.config).unwrap();
    std::fs::write(&user.config, text.replace("https://example.org", "*")).unwrap();
    let refused = running(&user.config).await.err().unwrap().to_string();
    assert_eq!(
        refused,
        "aggregator.allow_origins: `*` is no origin; write `https://example.org`"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_that_a_caller_gives_is_honoured() {
    let Hosts { user, _dir, .. } = hosts();
    // A cache that takes connections and never answers: a decision waits 5 seconds for it.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let key = quorix_nix::signature::SecretKey::from_seed("cache-1".parse().unwrap(), [1; 32]);
    let policy = format!(
        "cache main {} http://{} operator=main\nquorum none\nvoters one 1 main\n\
         rule main quorum=one\ndefault main\n",
        key.public_key(),
        silent.local_addr().unwrap()
    );
    std::fs::write(&user.policy, policy).unwrap();
    let (node, stop) = running(&user.config).await.unwrap();
    let url = format!("http://{}", user.aggregator);
    let client = reqwest::Client::new();
    let hash = "93a4fjryvg1hz7bxki7wzd9cznsm20yx";

    let started = std::time::Instant::now();
    let json = client
        .get(format!("{url}/api/v1/decide?path={hash}"))
        .header("grpc-timeout", "300m");
    let json = json.send().await.unwrap();
    assert_eq!(json.status(), 504);
    let json: serde_json::Value = serde_json::from_slice(&json.bytes().await.unwrap()).unwrap();
    assert_eq!(json.pointer("/code"), Some(&"deadline_exceeded".into()));

    let message = [&[0, 0, 0, 0, 34, 10, 32], hash.as_bytes()].concat();
    let web = client
        .post(format!("{url}/quorix.v1.AggregatorService/Decide"))
        .header("content-type", "application/grpc-web+proto")
        .header("grpc-timeout", "300m")
        .body(message);
    let web = web.send().await.unwrap();
    // DEADLINE_EXCEEDED.
    let in_headers = web
        .headers()
        .get("grpc-status")
        .is_some_and(|code| code == "4");
    let body = web.bytes().await.unwrap();
    let in_body = String::from_utf8_lossy(&body).contains("grpc-status:4");
    assert!(in_headers || in_body, "{body:?}");
    assert!(
        started.elapsed() < std::time::Duration::from_secs(4),
        "{:?}",
        started.elapsed()
    );

    stop.cancel();
    node.ended().await.unwrap();
}

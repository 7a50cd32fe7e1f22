//! A guarded log over an in-memory channel, and clients with good, bad and captured requests.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::registry::Registry;
use quorix_testkit::entries::{a_small_entry, log_key};
use quorix_testkit::memory::{MemoryAnchor, MemoryLog};
use quorix_wire::channel::in_memory;
use quorix_wire::client::{ClientError, LogClient};
use quorix_wire::pb;
use quorix_wire::pb::log_service_client::LogServiceClient;
use quorix_wire::token::{Challenge, Token, body_digest};
use tonic::Request;
use tonic::transport::{Channel, Server};

use super::*;
use crate::access::{Doors, Grants, Limits};
use crate::config::LogConfig;
use crate::service::Log;
use crate::storage::Storage;

const ORIGIN: &str = "logs.example.org/alice";

fn token() -> Token {
    Token::from_seed(ORIGIN, "alice-ci", [7; 32]).unwrap()
}

/// A log that knows one token, with a clock that stands still.
fn guarded_log(boot_id: u8, limits: Limits) -> (Channel, Arc<Access>) {
    let mut registry = Registry::default();
    let log = Log::start(
        Storage::new(|| Ok(MemoryLog::new()), MemoryAnchor::new()),
        None,
        log_key(ORIGIN),
        LogConfig::new(ORIGIN),
        &mut registry,
    );
    let grants = Grants::parse(&token().grant().to_string(), ORIGIN, limits).unwrap();
    let doors = Doors {
        limits,
        ..Doors::default()
    };
    let access = Arc::new(Access::new([boot_id; 16], doors, grants, &mut registry));
    let service = crate::grpc::guarded(
        log.unwrap(),
        Arc::clone(&access),
        Arc::new(|| Duration::ZERO),
    );
    let (channel, incoming) = in_memory();
    tokio::spawn(
        Server::builder()
            .add_service(service)
            .serve_with_incoming(incoming),
    );
    (channel, access)
}

fn entries(n: u64) -> Vec<Vec<u8>> {
    vec![a_small_entry(n)]
}

async fn challenge(channel: &Channel) -> Challenge {
    let status = LogClient::new(channel.clone()).status().await.unwrap();
    Challenge::read(status.challenge).unwrap()
}

/// Sends entries with these bytes as authorization.
async fn send(
    channel: &Channel,
    entries: Vec<Vec<u8>>,
    authorization: Option<&[u8]>,
) -> Result<pb::SubmitResponse, Status> {
    let blobs = Vec::new();
    let mut request = Request::new(pb::SubmitRequest { entries, blobs });
    if let Some(bytes) = authorization {
        let value = MetadataValue::from_bytes(bytes);
        request.metadata_mut().insert_bin(AUTHORIZATION, value);
    }
    let answer = LogServiceClient::new(channel.clone()).submit(request).await;
    answer.map(tonic::Response::into_inner)
}

async fn size(channel: &Channel) -> u64 {
    LogClient::new(channel.clone()).status().await.unwrap().size
}

#[tokio::test]
async fn a_client_with_a_token_submits_as_often_as_it_likes() {
    let (channel, _) = guarded_log(1, Limits::default());
    let client = LogClient::new(channel).with_token(token());
    for n in 0..3 {
        let submitted = client.submit(entries(n), vec![]).await.unwrap();
        assert_eq!(submitted.indices, [(n, false)]);
    }
}

#[tokio::test]
async fn many_submissions_at_once_share_one_challenge() {
    let (channel, _) = guarded_log(1, Limits::default());
    let client = LogClient::new(channel).with_token(token());
    client.submit(entries(0), vec![]).await.unwrap();
    let all = (1..30).map(|n| {
        let client = client.clone();
        tokio::spawn(async move { client.submit(entries(n), vec![]).await })
    });
    for one in all.collect::<Vec<_>>() {
        one.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_captured_request_is_good_for_nothing_here_and_after_a_restart() {
    let (channel, _) = guarded_log(1, Limits::default());
    let body = body_digest(&entries(0), &[]);
    let captured = token()
        .authorize(challenge(&channel).await, 0, body)
        .encode();
    send(&channel, entries(0), Some(&captured)).await.unwrap();

    let again = send(&channel, entries(0), Some(&captured))
        .await
        .unwrap_err();
    assert_eq!(again.code(), Code::Unauthenticated);
    assert_eq!(again.message(), Refusal::Stale.to_string());
    let (restarted, _) = guarded_log(2, Limits::default());
    let _ = challenge(&restarted).await;
    let again = send(&restarted, entries(0), Some(&captured))
        .await
        .unwrap_err();
    assert_eq!(again.message(), Refusal::Stale.to_string());
    assert_eq!(size(&restarted).await, 0);
}

#[tokio::test]
async fn other_entries_than_those_that_were_signed_are_refused() {
    let (channel, _) = guarded_log(1, Limits::default());
    let body = body_digest(&entries(0), &[]);
    let signed = token()
        .authorize(challenge(&channel).await, 0, body)
        .encode();
    let refused = send(&channel, entries(1), Some(&signed)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert_eq!(size(&channel).await, 0);
}

#[tokio::test]
async fn who_is_not_known_is_told_the_same_whatever_is_wrong() {
    let (channel, _) = guarded_log(1, Limits::default());
    let challenge = challenge(&channel).await;
    let body = body_digest(&entries(0), &[]);
    let by = |token: Token| token.authorize(challenge, 0, body).encode();
    let other = |origin, name, seed| by(Token::from_seed(origin, name, [seed; 32]).unwrap());
    for authorization in [
        None,
        Some(b"nonsense".to_vec()),
        Some(other(ORIGIN, "mallory", 7)),
        Some(other(ORIGIN, "alice-ci", 8)),
        Some(other("logs.example.org/bob", "alice-ci", 7)),
    ] {
        let refused = send(&channel, entries(0), authorization.as_deref()).await;
        let refused = refused.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated);
        assert_eq!(refused.message(), Refusal::NotKnown.to_string());
    }
    assert_eq!(size(&channel).await, 0);
}

#[tokio::test]
async fn who_is_not_known_is_refused_before_a_byte_of_the_body_is_read() {
    let (_, access) = guarded_log(1, Limits::default());
    let reached = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&reached);
    let inner = tower::service_fn(move |_: http::Request<Body>| {
        counted.fetch_add(1, Ordering::SeqCst);
        async { Ok::<_, Infallible>(http::Response::new(Body::empty())) }
    });
    let mut gate = Gate {
        access,
        clock: Arc::new(|| Duration::ZERO),
        room: Room::of(Arc::new(tokio::sync::Semaphore::new(1 << 30))),
        submit: inner.clone(),
        other: inner,
    };
    let to = |path: &str| {
        http::Request::builder()
            .uri(path)
            .body(Body::empty())
            .unwrap()
    };
    let refused = gate.call(to(SUBMIT)).await.unwrap();
    let status = Status::from_header_map(refused.headers()).unwrap();
    assert_eq!(status.code(), Code::Unauthenticated);
    assert_eq!(reached.load(Ordering::SeqCst), 0);
    gate.call(to("/quorix.v1.LogService/GetStatus"))
        .await
        .unwrap();
    assert_eq!(reached.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_client_whose_challenge_is_no_longer_good_asks_for_a_new_one_by_itself() {
    let (channel, access) = guarded_log(1, Limits::default());
    let client = LogClient::new(channel).with_token(token());
    client.submit(entries(0), vec![]).await.unwrap();
    // Its token is taken out and put back: old sessions are refused.
    access.replace_grants(Grants::default());
    let refused = client.submit(entries(1), vec![]).await.unwrap_err();
    let expected = "the log takes no tokens: its configuration has none".to_owned();
    assert_eq!(refused, ClientError::Other(expected));
    let grants = Grants::parse(&token().grant().to_string(), ORIGIN, Limits::default());
    access.replace_grants(grants.unwrap());
    client.submit(entries(1), vec![]).await.unwrap();
}

#[tokio::test]
async fn a_token_of_another_log_is_not_used_at_all() {
    let (channel, _) = guarded_log(1, Limits::default());
    let bobs = Token::from_seed("logs.example.org/bob", "alice-ci", [7; 32]).unwrap();
    let refused = LogClient::new(channel)
        .with_token(bobs)
        .submit(entries(0), vec![])
        .await;
    let expected = "the token is for the log logs.example.org/bob, but the log there is logs.example.org/alice";
    assert_eq!(refused, Err(ClientError::Other(expected.to_owned())));
}

#[tokio::test]
async fn above_its_limits_a_client_is_told_when_to_come_back() {
    let limits = Limits {
        requests_per_second: 1,
        ..Limits::default()
    };
    let (channel, _) = guarded_log(1, limits);
    let challenge = challenge(&channel).await;
    let body = body_digest(&entries(0), &[]);
    let signed = |sequence| token().authorize(challenge, sequence, body).encode();
    for sequence in 0..10 {
        send(&channel, entries(0), Some(&signed(sequence)))
            .await
            .unwrap();
    }
    let refused = send(&channel, entries(0), Some(&signed(10)))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(
        refused.message(),
        "token alice-ci is above its limits: try again in 1000 ms"
    );
    assert_eq!(refused.metadata().get(PUSHBACK).unwrap(), "1000");
}

#[tokio::test]
async fn a_refusal_arrives_although_most_of_the_body_was_not_read() {
    let (channel, _) = guarded_log(1, Limits::default());
    let large = vec![vec![1; 1024]; 1024];
    let refused = send(&channel, large, None).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused:?}");
    assert_eq!(refused.message(), Refusal::NotKnown.to_string());
}

#[tokio::test]
async fn a_request_above_its_submitters_limit_is_refused_before_all_of_it_has_come() {
    let limits = Limits {
        request_bytes: 1_000,
        ..Limits::default()
    };
    let (channel, _) = guarded_log(1, limits);
    let large = vec![vec![1; 8 << 20]];
    let body = body_digest(&large, &[]);
    let signed = token()
        .authorize(challenge(&channel).await, 0, body)
        .encode();
    let refused = send(&channel, large, Some(&signed)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
    let words: Vec<_> = refused.message().split(' ').collect();
    let came: usize = words[5].parse().unwrap();
    assert!((1_001..1 << 20).contains(&came), "{came}");
    assert_eq!(
        refused.message(),
        format!(
            "the request has at least {came} bytes, token alice-ci may send 1000 at once: send it in parts"
        )
    );
    assert_eq!(size(&channel).await, 0);
}

//! Who would have a running log take what it should not: strangers, thieves of its token file, men in the middle, and
//! submitters that send too much.

use std::convert::Infallible;
use std::fs;

use futures::StreamExt as _;
use quorix::demo::client::until;
use quorix::demo::world::BuilderHost;
use quorix_testkit::certificates::Authority;
use quorix_testkit::entries::a_small_entry;
use quorix_wire::client::LogClient;
use quorix_wire::pb;
use quorix_wire::pb::log_service_client::LogServiceClient;
use quorix_wire::pb::{LogCondition, LogState};
use quorix_wire::token::{AUTHORIZATION, Challenge, Token, body_digest};
use tonic::codegen::{Service as _, http};
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::access::{behind_tls, over_tls};
use crate::following::{becomes, machine};
use crate::stage::quorix;

type Entries = Vec<Vec<u8>>;

/// Sends entries as they are, with this authorization.
async fn send(channel: &Channel, entries: Entries, with: Option<Vec<u8>>) -> Result<(), Status> {
    let blobs = Vec::new();
    let mut request = Request::new(pb::SubmitRequest { entries, blobs });
    if let Some(authorization) = with {
        let value = MetadataValue::from_bytes(&authorization);
        request.metadata_mut().insert_bin(AUTHORIZATION, value);
    }
    let mut client = LogServiceClient::new(channel.clone());
    client.submit(request).await.map(|_| ())
}

/// What a token says of entries, for the log's present challenge.
async fn authorized(channel: &Channel, token: &Token, entries: &Entries) -> Option<Vec<u8>> {
    let status = LogClient::new(channel.clone()).status().await.unwrap();
    let challenge = Challenge::read(status.challenge).unwrap();
    let authorization = token.authorize(challenge, 0, body_digest(entries, &[]));
    Some(authorization.encode())
}

fn token(origin: &str, name: &str, seed: u8) -> Token {
    Token::from_seed(origin, name, [seed; 32]).unwrap()
}

/// Alice's log behind TLS, for whom these lines of its token file name.
async fn behind(
    dir: &std::path::Path,
    authority: &Authority,
    grants: &str,
) -> (BuilderHost, Channel, String) {
    let mut alice = BuilderHost::create(dir, "alice", &quorix(), None).unwrap();
    let home = dir.join("alice");
    fs::write(home.join("tokens"), grants).unwrap();
    fs::write(
        home.join("token"),
        token("alice.example/log", "ci", 1).to_text(),
    )
    .unwrap();
    let submit = behind_tls(&alice, authority, &home.join("token"));
    alice.start().await.unwrap();
    let channel = over_tls(authority, &submit);
    (alice, channel, submit)
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_thieves_and_men_in_the_middle_get_nothing_into_a_running_log() {
    const LOG: &str = "alice.example/log";
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new("a house of builders");
    let known = token(LOG, "ci", 1);
    let small = token(LOG, "small", 2);
    let slow = token(LOG, "slow", 3);
    let grants = format!(
        "{}\n{} request_bytes=1000\n{} requests_per_second=1\n",
        known.grant(),
        small.grant(),
        slow.grant()
    );
    let (mut alice, channel, _) = behind(dir.path(), &authority, &grants).await;
    let size = async || LogClient::new(channel.clone()).status().await.unwrap().size;
    let entries = vec![a_small_entry(1)];

    let nobody = send(&channel, entries.clone(), None).await.unwrap_err();
    assert_eq!(nobody.code(), Code::Unauthenticated, "{nobody}");
    // The best that can be made of what stands in the token file: to take a public key for a seed.
    let stolen = Token::from_seed(LOG, "ci", *known.grant().key_bytes()).unwrap();
    for (what, forger) in [
        ("an unknown name", token(LOG, "stranger", 1)),
        ("another key", token(LOG, "ci", 9)),
        ("the token file", stolen),
        ("another log's token", token("bob.example/log", "ci", 1)),
    ] {
        let with = authorized(&channel, &forger, &entries).await;
        let refused = send(&channel, entries.clone(), with).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated, "{what}: {refused}");
        assert!(
            refused.message().contains("quorix token generate"),
            "{what}: {refused}"
        );
    }

    // Changed on its way: other entries than those that were signed, and one more.
    for changed in [
        vec![a_small_entry(2)],
        vec![a_small_entry(1), a_small_entry(2)],
        Vec::new(),
    ] {
        let with = authorized(&channel, &known, &entries).await;
        let refused = send(&channel, changed, with).await.unwrap_err();
        assert!(
            [Code::Unauthenticated, Code::InvalidArgument].contains(&refused.code()),
            "{refused}"
        );
    }

    let large = vec![a_small_entry(1); 40];
    let with = authorized(&channel, &small, &large).await;
    let refused = send(&channel, large.clone(), with).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused}");
    assert!(refused.message().contains("1000"), "{refused}");
    assert_eq!(size().await, 0, "nothing of all this is in the log");

    let mut limited = None;
    for number in 10..40 {
        let entries = vec![a_small_entry(number)];
        let with = authorized(&channel, &slow, &entries).await;
        if let Err(refused) = send(&channel, entries, with).await {
            limited = Some(refused);
            break;
        }
    }
    let limited = limited.unwrap();
    assert_eq!(limited.code(), Code::ResourceExhausted, "{limited}");
    assert!(limited.message().contains("token slow"), "{limited}");
    // Others are not kept waiting.
    let with = authorized(&channel, &known, &large).await;
    send(&channel, large, with).await.unwrap();
    alice.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_aggregator_follows_no_log_whose_certificate_is_expired_or_of_another_authority()
{
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let (authority, other) = (Authority::new("believed"), Authority::new("nobody's"));
    let mut hosts = Vec::new();
    let mut lines = String::new();
    for (name, certified) in [
        ("honest", authority.server()),
        ("expired", authority.expired_server()),
        ("stranger", other.server()),
    ] {
        let mut host = BuilderHost::create(dir.path(), name, &quorix(), None).unwrap();
        let home = dir.path().join(name);
        fs::write(home.join("cert.pem"), certified.cert).unwrap();
        fs::write(home.join("tls.key"), certified.key).unwrap();
        let config = fs::read_to_string(&host.config).unwrap();
        let public = format!("public = \"{}\"", host.public);
        let config = config.replace(&public, &format!("public = \"tls://{}\"", host.public));
        let home = home.display();
        let tls = format!("[tls]\ncert = \"{home}/cert.pem\"\nkey = \"{home}/tls.key\"\n");
        fs::write(&host.config, config + &tls).unwrap();
        host.start().await.unwrap();
        lines += &host.policy_line().replace("http://", "https://");
        hosts.push(host);
    }
    fs::write(dir.path().join("ca.pem"), authority.pem()).unwrap();
    let policy = format!(
        "{lines}quorum none\nvoters one any honest\nrule main quorum=one level=path\ndefault main\n"
    );
    let tls = format!("[tls]\nca = \"{}/ca.pem\"\n", dir.path().display());
    let mut user = machine(dir.path(), "user", &policy, "", &tls);
    user.start().await.unwrap();
    becomes(&user, "honest", |log| log.state() == LogState::Live).await;
    for name in ["expired", "stranger"] {
        let log = becomes(&user, name, |log| {
            log.condition() == LogCondition::Unreachable
        })
        .await;
        assert_ne!(log.state(), LogState::Live, "{name}");
        assert_eq!(
            (log.last_verified_s, log.size),
            (0, 0),
            "{name}: {}",
            log.reason
        );
        assert!(
            log.reason.to_lowercase().contains("certificate"),
            "{name}: {}",
            log.reason
        );
    }
}

/// Begins a submission, sends a few bytes of it, and leaves it there.
async fn begin(mut channel: Channel, with: Vec<u8>) {
    let value = MetadataValue::from_bytes(&with);
    let bytes = axum::body::Bytes::from_static(&[0, 0, 0, 16, 0, 10]);
    let first = futures::stream::iter([Ok::<_, Infallible>(bytes)]);
    let body = axum::body::Body::from_stream(first.chain(futures::stream::pending()));
    let request = http::Request::post("http://log/quorix.v1.LogService/Submit")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header(AUTHORIZATION, value.as_encoded_bytes())
        .body(tonic::body::Body::new(body))
        .unwrap();
    std::future::poll_fn(|context| channel.poll_ready(context))
        .await
        .unwrap();
    let _ = channel.call(request).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_submitter_has_so_many_requests_open_and_others_submit_meanwhile() {
    const LOG: &str = "alice.example/log";
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let authority = Authority::new("a house of builders");
    let (mallory, ci) = (token(LOG, "mallory", 7), token(LOG, "ci", 1));
    let grants = format!("{}\n{}\n", mallory.grant(), ci.grant());
    let (mut alice, channel, submit) = behind(dir.path(), &authority, &grants).await;
    let entries = vec![a_small_entry(1)];
    let mut open = Vec::new();
    let mut another = over_tls(&authority, &submit);
    for number in 0..64 {
        if number % 8 == 0 {
            another = over_tls(&authority, &submit);
        }
        let with = authorized(&channel, &mallory, &entries).await.unwrap();
        open.push(tokio::spawn(begin(another.clone(), with)));
    }
    let refused = until("all of them are open", async || {
        let with = authorized(&channel, &mallory, &entries).await;
        send(&channel, entries.clone(), with).await.err()
    })
    .await
    .unwrap();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    assert!(open.iter().all(|one| !one.is_finished()));
    let with = authorized(&channel, &ci, &entries).await;
    send(&channel, entries.clone(), with).await.unwrap();
    // Let go of, they leave room.
    for one in &open {
        one.abort();
    }
    until("there is room again", async || {
        let with = authorized(&channel, &mallory, &entries).await;
        send(&channel, entries.clone(), with).await.ok()
    })
    .await
    .unwrap();
    alice.stop().await.unwrap();
}

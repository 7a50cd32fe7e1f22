//! Submission as a gRPC client sees it.

use prometheus_client::registry::Registry;
use quorix_testkit::entries::{a_small_entry, an_attestation, log_key};
use quorix_testkit::memory::{MemoryAnchor, MemoryLog};

use super::*;
use crate::config::LogConfig;
use crate::storage::Storage;

const ORIGIN: &str = "logs.example.org/alice";

fn service() -> Service {
    let mut registry = Registry::default();
    let log = Log::start(
        Storage::new(|| Ok(MemoryLog::new()), MemoryAnchor::new()),
        None,
        log_key(ORIGIN),
        LogConfig::new(ORIGIN),
        &mut registry,
    );
    Service {
        log: log.unwrap(),
        access: None,
    }
}

async fn submit(service: &Service, entries: Vec<Vec<u8>>) -> Result<pb::SubmitResponse, Status> {
    let request = Request::new(pb::SubmitRequest {
        entries,
        blobs: Vec::new(),
    });
    service.submit(request).await.map(Response::into_inner)
}

#[tokio::test]
async fn a_submission_is_answered_with_receipts_and_the_checkpoint() {
    let service = service();
    let answer = submit(
        &service,
        vec![a_small_entry(0), a_small_entry(1), a_small_entry(0)],
    )
    .await
    .unwrap();
    let receipt = |index, duplicate| pb::Receipt { index, duplicate };
    assert_eq!(
        answer.receipts,
        [receipt(0, false), receipt(1, false), receipt(0, true)]
    );
    let status = service
        .get_status(Request::new(pb::GetStatusRequest {}))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((status.origin.as_str(), status.size), (ORIGIN, 2));
    assert_eq!(status.vkey, log_key(ORIGIN).verifier().to_string());
    assert_eq!(status.checkpoint, answer.checkpoint);
}

#[tokio::test]
async fn trustix_errors_have_codes_and_say_which_entry_is_wrong() {
    let service = service();
    let refused = submit(
        &service,
        vec![an_attestation().bytes(), b"nonsense".to_vec()],
    )
    .await
    .unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(
        refused.message().starts_with("entry 1: "),
        "{}",
        refused.message()
    );
    let too_many = submit(&service, vec![Vec::new(); 1_025]).await.unwrap_err();
    assert_eq!(too_many.code(), Code::InvalidArgument);
    service.log.shutdown().await;
    let late = submit(&service, vec![a_small_entry(0)]).await.unwrap_err();
    assert_eq!(late.code(), Code::FailedPrecondition);
}

#[test]
fn who_should_come_again_is_told_when() {
    let pause = |error: &SubmitError| {
        let status = status_of(error);
        let value = status.metadata().get("grpc-retry-pushback-ms")?;
        Some(value.to_str().unwrap().to_owned())
    };
    let reason = "the disk is full".to_owned();
    assert_eq!(pause(&SubmitError::Busy).as_deref(), Some("200"));
    assert_eq!(
        pause(&SubmitError::Unavailable { reason }).as_deref(),
        Some("2000")
    );
    assert_eq!(pause(&SubmitError::TooLarge { bytes: 1 }), None);
}

#[test]
fn what_passes_is_told_apart_from_what_stays() {
    assert_eq!(
        status_of(&SubmitError::Busy).code(),
        Code::ResourceExhausted
    );
    let reason = "the disk is full".to_owned();
    assert_eq!(
        status_of(&SubmitError::Unavailable { reason }).code(),
        Code::Unavailable
    );
}

/// The answer to a request for a copy by this peer.
async fn backup(service: &Service, peer: Option<Peer>, dir: &str) -> Status {
    let mut request = Request::new(pb::BackupRequest {
        dir: dir.to_owned(),
    });
    if let Some(peer) = peer {
        request.extensions_mut().insert(peer);
    }
    service.backup(request).await.map(drop).unwrap_err()
}

#[tokio::test]
async fn only_the_owner_of_a_log_has_it_copied() {
    let doors = crate::access::Doors {
        // 1000 owns the log; 1001 may submit.
        users: [(1000, "owner".to_owned()), (1001, "ci".to_owned())].into(),
        unlimited: vec![1000],
        ..Default::default()
    };
    let mut registry = Registry::default();
    let access = Access::new(
        [1; 16],
        doors,
        crate::access::Grants::default(),
        &mut registry,
    );
    let clock: Monotonic = Arc::new(|| std::time::Duration::ZERO);
    let guarded = Service {
        access: Some((Arc::new(access), clock)),
        ..service()
    };
    let process = |uid| Some(Peer::Process { uid, gid: uid });
    let network = Some(Peer::Network { certificate: None });
    for stranger in [process(1001), process(1002), network, None] {
        let refused = backup(&guarded, stranger, "/backup/log").await;
        assert_eq!(refused.code(), Code::PermissionDenied);
        assert_eq!(
            refused.message(),
            "only the owner of a log copies it, through the Unix socket of its machine: run the command there, as the user \
             that runs the log or as root"
        );
    }
    for owner in [0, 1000] {
        let relative = backup(&guarded, process(owner), "backup/log").await;
        assert_eq!(relative.code(), Code::InvalidArgument);
        // They get as far as the store, which in this test has no files.
        let asked = backup(&guarded, process(owner), "/backup/log").await;
        let words = "making a copy of the log: a log in memory has no files";
        assert_eq!((asked.code(), asked.message()), (Code::Aborted, words));
    }
    // Inside one process nobody says who asks.
    let open = service();
    let refused = backup(&open, process(0), "/backup/log").await;
    assert_eq!(refused.code(), Code::PermissionDenied);
}

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

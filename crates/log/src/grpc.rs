//! Submission over gRPC: `quorix.v1.LogService`.
//!
//! Private: whoever is let in can append to the log. Reading the tree is not here but in [`crate::routes`].

mod gate;
mod room;

use std::path::PathBuf;
use std::sync::Arc;

use quorix_wire::pb;
use quorix_wire::pb::log_service_server::{LogService, LogServiceServer};
use quorix_wire::token::body_digest;
use tonic::body::Body;
use tonic::codegen::{Service as HttpService, http};
use tonic::server::NamedService;
use tonic::{Code, Request, Response, Status};

pub use gate::Monotonic;
use gate::PUSHBACK;

use self::gate::{Gate, status_of as refused};
use self::room::{Reservation, Room};
use crate::access::{Access, Admitted, Peer, Refusal};
use crate::config::REQUEST_BYTES_MAX;
use crate::error::SubmitError;
use crate::index::IndexStatus;
use crate::service::{Log, Submitted};

/// What protobuf adds around up to 1,024 entries and their blobs.
const AROUND_ENTRIES_MAX: usize = 64 * 1024;
/// The largest request with what is around its entries. A submitter's own limit may be less.
const MESSAGE_BYTES_MAX: usize = REQUEST_BYTES_MAX + AROUND_ENTRIES_MAX;

/// After a full queue: it empties with the next commit.
const BUSY_PAUSE_MS: u64 = 200;
/// While the log cannot write or publish.
const UNAVAILABLE_PAUSE_MS: u64 = 2_000;

/// What asks for nothing but the status.
const QUESTION_BYTES_MAX: usize = 4 * 1024;

const NOT_THE_OWNER: &str = "only the owner of a log copies it, through the Unix socket of its machine: run the command \
                             there, as the user that runs the log or as root";

/// The gRPC service of a log that takes entries from everybody who reaches it: for a channel inside one process.
#[must_use]
pub fn server(log: Log) -> LogServiceServer<impl LogService> {
    let service = Service { log, access: None };
    LogServiceServer::new(service).max_decoding_message_size(MESSAGE_BYTES_MAX)
}

/// The gRPC service of a log that takes entries from whom `access` lets in. The listener says who asks, as a
/// [`Peer`](crate::access::Peer) among the extensions of each request.
pub fn guarded(
    log: Log,
    access: Arc<Access>,
    clock: Monotonic,
) -> impl HttpService<
    http::Request<Body>,
    Response = http::Response<Body>,
    Error = std::convert::Infallible,
    Future: Send + 'static,
> + NamedService
+ Clone
+ Send
+ Sync
+ 'static {
    let room = Room::of(log.room());
    let inner = Arc::new(Service {
        log,
        access: Some((Arc::clone(&access), Arc::clone(&clock))),
    });
    let taking =
        |bytes| LogServiceServer::from_arc(Arc::clone(&inner)).max_decoding_message_size(bytes);
    Gate {
        access,
        clock,
        room,
        submit: taking(MESSAGE_BYTES_MAX),
        other: taking(QUESTION_BYTES_MAX),
    }
}

struct Service {
    log: Log,
    access: Option<(Arc<Access>, Monotonic)>,
}

impl Service {
    /// The request, if its entries are what was let in: the ones that were signed, and not too many.
    async fn checked(
        &self,
        request: Request<pb::SubmitRequest>,
    ) -> Result<pb::SubmitRequest, Refusal> {
        let Some((access, clock)) = &self.access else {
            return Ok(request.into_inner());
        };
        let admitted = request.extensions().get::<Admitted>().cloned();
        // The gate lets nothing through without one.
        let admitted = admitted.ok_or(Refusal::NotKnown)?;
        let mut request = request.into_inner();
        if let Some(signed) = admitted.body {
            // Megabytes take a while.
            let hashed = tokio::task::spawn_blocking(move || {
                (body_digest(&request.entries, &request.blobs), request)
            });
            let found;
            (found, request) = hashed.await.map_err(|_| Refusal::NotKnown)?;
            if found != signed {
                return Err(Refusal::NotKnown);
            }
        }
        let parts = request.entries.iter().chain(&request.blobs);
        let bytes = parts.fold(0_usize, |sum, part| sum.saturating_add(part.len()));
        access.charge(&admitted, request.entries.len(), bytes, clock())?;
        Ok(request)
    }
}

#[tonic::async_trait]
impl LogService for Service {
    async fn submit(
        &self,
        request: Request<pb::SubmitRequest>,
    ) -> Result<Response<pb::SubmitResponse>, Status> {
        let reserved = request.extensions().get::<Reservation>().cloned();
        let request = self.checked(request).await;
        let pb::SubmitRequest { entries, blobs } = request.map_err(|refusal| refused(&refusal))?;
        let submitted = self
            .log
            .submit_within(
                reserved.and_then(|reserved| reserved.room()),
                entries,
                blobs,
            )
            .await;
        answer(submitted)
    }

    async fn rotate(
        &self,
        request: Request<pb::RotateRequest>,
    ) -> Result<Response<pb::SubmitResponse>, Status> {
        let pb::RotateRequest { entry } = request.into_inner();
        answer(self.log.rotate(entry).await)
    }

    async fn backup(
        &self,
        request: Request<pb::BackupRequest>,
    ) -> Result<Response<pb::BackupResponse>, Status> {
        let peer = request.extensions().get::<Peer>();
        let access = self.access.as_ref();
        if !access.is_some_and(|(access, _)| access.is_owner(peer)) {
            return Err(Status::permission_denied(NOT_THE_OWNER));
        }
        let dir = PathBuf::from(request.into_inner().dir);
        if !dir.is_absolute() {
            return Err(Status::invalid_argument(
                "the folder of a copy is an absolute path",
            ));
        }
        let copied = self.log.backup(dir).await;
        let size = copied.map_err(|error| Status::aborted(error.to_string()))?;
        Ok(Response::new(pb::BackupResponse { size }))
    }

    async fn get_status(
        &self,
        _request: Request<pb::GetStatusRequest>,
    ) -> Result<Response<pb::GetStatusResponse>, Status> {
        let status = self.log.status();
        Ok(Response::new(pb::GetStatusResponse {
            origin: status.origin,
            vkey: status.vkey,
            size: status.size,
            checkpoint: status.checkpoint,
            index: status.index.map(index_status),
            recovery: status.recovery.map(|recovery| pb::Recovery {
                anchored: recovery.anchored,
                kept: recovery.kept,
                dropped: recovery.dropped,
            }),
            successor: status.successor.unwrap_or_default(),
            challenge: self
                .access
                .as_ref()
                .and_then(|(access, _)| access.challenge())
                .map(Into::into),
        }))
    }
}

fn index_status(status: IndexStatus) -> pb::IndexStatus {
    let stopped = status.stopped.is_some();
    pb::IndexStatus {
        covered: status.covered,
        behind: status.behind,
        behind_s: status.behind_s,
        keys: status.keys,
        answering: status.answering,
        problem: status.stopped.or(status.problem).unwrap_or_default(),
        stopped,
    }
}

fn answer(
    submitted: Result<Submitted, SubmitError>,
) -> Result<Response<pb::SubmitResponse>, Status> {
    let submitted = submitted.map_err(|error| status_of(&error))?;
    let receipts = submitted.receipts.iter();
    let receipts = receipts.map(|receipt| pb::Receipt {
        index: receipt.index,
        duplicate: receipt.duplicate,
    });
    Ok(Response::new(pb::SubmitResponse {
        receipts: receipts.collect(),
        checkpoint: submitted.checkpoint,
    }))
}

fn status_of(error: &SubmitError) -> Status {
    let code = match error {
        SubmitError::TooManyEntries { .. }
        | SubmitError::TooLarge { .. }
        | SubmitError::BlobTooLarge { .. }
        | SubmitError::BlobUnnamed { .. }
        | SubmitError::NotARotation(_)
        | SubmitError::Entry { .. } => Code::InvalidArgument,
        SubmitError::Busy => Code::ResourceExhausted,
        SubmitError::Unavailable { .. } => Code::Unavailable,
        SubmitError::Stopped { .. } | SubmitError::Ended { .. } => Code::FailedPrecondition,
    };
    let mut status = Status::new(code, error.to_string());
    let pause = match error {
        SubmitError::Busy => BUSY_PAUSE_MS,
        SubmitError::Unavailable { .. } => UNAVAILABLE_PAUSE_MS,
        _ => return status,
    };
    status.metadata_mut().insert(PUSHBACK, pause.into());
    status
}

#[cfg(test)]
mod tests;

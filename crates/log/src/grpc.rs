//! Submission over gRPC: `quorix.v1.LogService`.
//!
//! Private: whoever reaches it can append to the log. Reading the tree is not here but in [`crate::routes`].

use quorix_wire::pb;
use quorix_wire::pb::log_service_server::{LogService, LogServiceServer};
use tonic::{Code, Request, Response, Status};

use crate::config::REQUEST_BYTES_MAX;
use crate::error::SubmitError;
use crate::service::Log;

/// A request's bytes and what protobuf adds around up to 1,024 entries and their blobs.
const MESSAGE_BYTES_MAX: usize = REQUEST_BYTES_MAX + 64 * 1024;

/// The gRPC service of a log.
#[must_use]
pub fn server(log: Log) -> LogServiceServer<impl LogService> {
    LogServiceServer::new(Service { log }).max_decoding_message_size(MESSAGE_BYTES_MAX)
}

struct Service {
    log: Log,
}

#[tonic::async_trait]
impl LogService for Service {
    async fn submit(
        &self,
        request: Request<pb::SubmitRequest>,
    ) -> Result<Response<pb::SubmitResponse>, Status> {
        let pb::SubmitRequest { entries, blobs } = request.into_inner();
        let submitted = self
            .log
            .submit(entries, blobs)
            .await
            .map_err(|error| status_of(&error))?;
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
        }))
    }
}

fn status_of(error: &SubmitError) -> Status {
    let code = match error {
        SubmitError::TooManyEntries { .. }
        | SubmitError::TooLarge { .. }
        | SubmitError::BlobTooLarge { .. }
        | SubmitError::BlobUnnamed { .. }
        | SubmitError::Entry { .. } => Code::InvalidArgument,
        SubmitError::Busy => Code::ResourceExhausted,
        SubmitError::Unavailable { .. } => Code::Unavailable,
        SubmitError::Stopped { .. } => Code::FailedPrecondition,
    };
    Status::new(code, error.to_string())
}

#[cfg(test)]
mod tests;

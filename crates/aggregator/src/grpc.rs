//! The aggregator as gRPC service `quorix.v1.AggregatorService`.
//!
//! Only translation: arguments in, answers and errors out. Every limit is the service's.

mod follow;

pub use follow::follow_server;

use std::pin::Pin;

use futures::{Stream, StreamExt};
use quorix_wire::pb;
use quorix_wire::pb::aggregator_service_server::{AggregatorService, AggregatorServiceServer};
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::wrappers::errors::BroadcastStreamRecvError;
use tonic::{Code, Request, Response, Status};

use crate::closure::{in_parts, messages};
use crate::error::AskError;
use crate::events::{Event, EventKind};
use crate::service::Aggregator;

/// The largest request, in bytes: 10,000 store paths and room.
pub(crate) const REQUEST_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The largest answer, in bytes: more than evidence may have.
pub(crate) const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The largest answer of `FollowService`, in bytes.
pub(crate) const EXCHANGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The gRPC service, to be added to a server.
#[must_use]
pub fn server(aggregator: Aggregator) -> AggregatorServiceServer<Service> {
    AggregatorServiceServer::new(Service(aggregator))
        .max_decoding_message_size(REQUEST_BYTES_MAX)
        .max_encoding_message_size(ANSWER_BYTES_MAX)
}

/// Answers gRPC calls with an aggregator.
#[derive(Clone)]
pub struct Service(Aggregator);

#[tonic::async_trait]
impl AggregatorService for Service {
    async fn decide(
        &self,
        request: Request<pb::DecideRequest>,
    ) -> Result<Response<pb::DecideResponse>, Status> {
        let decision = self
            .0
            .decide(&request.into_inner().path)
            .await
            .map_err(status)?;
        Ok(Response::new(pb::DecideResponse {
            decision: decision.as_deref().map(pb::Decision::from),
        }))
    }

    async fn decide_many(
        &self,
        request: Request<pb::DecideManyRequest>,
    ) -> Result<Response<pb::DecideManyResponse>, Status> {
        let decisions = self
            .0
            .decide_asked(&request.into_inner())
            .await
            .map_err(status)?;
        Ok(Response::new(pb::DecideManyResponse {
            decisions: messages(&decisions),
        }))
    }

    type DecideStreamStream =
        Pin<Box<dyn Stream<Item = Result<pb::DecideManyResponse, Status>> + Send>>;

    async fn decide_stream(
        &self,
        request: Request<pb::DecideManyRequest>,
    ) -> Result<Response<Self::DecideStreamStream>, Status> {
        let decisions = self
            .0
            .decide_asked(&request.into_inner())
            .await
            .map_err(status)?;
        Ok(Response::new(Box::pin(in_parts(decisions))))
    }

    async fn get_evidence(
        &self,
        request: Request<pb::GetEvidenceRequest>,
    ) -> Result<Response<pb::GetEvidenceResponse>, Status> {
        let pb::GetEvidenceRequest { paths, closure } = request.into_inner();
        self.0
            .evidence(&paths, closure)
            .await
            .map(Response::new)
            .map_err(status)
    }

    async fn list_logs(
        &self,
        _: Request<pb::ListLogsRequest>,
    ) -> Result<Response<pb::ListLogsResponse>, Status> {
        self.0
            .shared()
            .list_logs()
            .await
            .map(Response::new)
            .map_err(status)
    }

    async fn get_overview(
        &self,
        _: Request<pb::GetOverviewRequest>,
    ) -> Result<Response<pb::GetOverviewResponse>, Status> {
        self.0
            .shared()
            .overview()
            .await
            .map(Response::new)
            .map_err(status)
    }

    async fn list_disagreements(
        &self,
        request: Request<pb::ListDisagreementsRequest>,
    ) -> Result<Response<pb::ListDisagreementsResponse>, Status> {
        self.0
            .shared()
            .disagreements(request.into_inner())
            .await
            .map(Response::new)
            .map_err(status)
    }

    async fn search(
        &self,
        request: Request<pb::SearchRequest>,
    ) -> Result<Response<pb::SearchResponse>, Status> {
        self.0
            .shared()
            .search(request.into_inner())
            .await
            .map(Response::new)
            .map_err(status)
    }

    type WatchEventsStream = Pin<Box<dyn Stream<Item = Result<pb::Event, Status>> + Send>>;

    async fn watch_events(
        &self,
        _: Request<pb::WatchEventsRequest>,
    ) -> Result<Response<Self::WatchEventsStream>, Status> {
        let mut dropped = false;
        let events = BroadcastStream::new(self.0.watch()).map(|event| match event {
            Ok(event) => Ok(message(event)),
            Err(BroadcastStreamRecvError::Lagged(missed)) => Err(Status::data_loss(format!(
                "this watcher fell behind and missed {missed} events; watch again, and read the present state first"
            ))),
        });
        // The error is the last thing that a watcher gets.
        let events = events.take_while(move |event| {
            let goes_on = !dropped;
            dropped = event.is_err();
            std::future::ready(goes_on)
        });
        Ok(Response::new(Box::pin(events)))
    }
}

pub(crate) fn message(event: Event) -> pb::Event {
    let kind = match event.kind {
        EventKind::Disagreement => pb::EventKind::Disagreement,
        EventKind::Resolved => pb::EventKind::Resolved,
        EventKind::LogStale => pb::EventKind::LogStale,
        EventKind::LogLive => pb::EventKind::LogLive,
        EventKind::LogQuarantined => pb::EventKind::LogQuarantined,
        EventKind::Revoked => pb::EventKind::Revoked,
    };
    pb::Event {
        at_s: event.at_s,
        kind: kind.into(),
        subject: event.subject,
        message: event.message,
    }
}

/// The one mapping of errors to gRPC codes.
pub(crate) fn status(error: AskError) -> Status {
    let code = match &error {
        AskError::Argument { .. } => Code::InvalidArgument,
        AskError::TooMuch { .. } => Code::ResourceExhausted,
        AskError::Store(error) => {
            tracing::error!(%error, "a question could not be answered");
            Code::Internal
        }
    };
    Status::new(code, error.to_string())
}

#[cfg(test)]
mod tests {
    use quorix_trust::ports::StoreError;

    use super::*;

    #[test]
    fn every_error_has_its_code_and_says_what_was_wrong() {
        let argument = AskError::Argument {
            argument: "paths[3]".to_owned(),
            reason: "it is empty".to_owned(),
        };
        assert_eq!(status(argument).code(), Code::InvalidArgument);
        let much = status(AskError::TooMuch {
            limit: 10_000,
            unit: "outputs",
        });
        assert_eq!(much.code(), Code::ResourceExhausted);
        assert_eq!(
            much.message(),
            "the answer would have more than 10000 outputs; ask for fewer paths at once"
        );
        let store = StoreError {
            operation: "reading".to_owned(),
            reason: "the disk said no".to_owned(),
        };
        assert_eq!(status(store.into()).code(), Code::Internal);
    }
}

//! `quorix.v1.FollowService`: what following comes to, and the exchange of checkpoints with peers.

use quorix_wire::pb;
use quorix_wire::pb::follow_service_server::{FollowService, FollowServiceServer};
use tonic::{Request, Response, Status};

use super::{EXCHANGE_BYTES_MAX, REQUEST_BYTES_MAX, Service, message, status};
use crate::service::Aggregator;

/// The gRPC service, to be added to a server beside [`server`](super::server).
#[must_use]
pub fn follow_server(aggregator: Aggregator) -> FollowServiceServer<Service> {
    FollowServiceServer::new(Service(aggregator))
        .max_decoding_message_size(REQUEST_BYTES_MAX)
        .max_encoding_message_size(EXCHANGE_BYTES_MAX)
}

#[tonic::async_trait]
impl FollowService for Service {
    async fn find_outputs(
        &self,
        request: Request<pb::FindOutputsRequest>,
    ) -> Result<Response<pb::FindOutputsResponse>, Status> {
        let found = self.0.shared().find_outputs(request.into_inner()).await;
        found.map(Response::new).map_err(status)
    }

    async fn get_tallies(
        &self,
        _: Request<pb::GetTalliesRequest>,
    ) -> Result<Response<pb::GetTalliesResponse>, Status> {
        let tallies = self.0.shared().tallies().await;
        tallies.map(Response::new).map_err(status)
    }

    async fn list_events(
        &self,
        _: Request<pb::ListEventsRequest>,
    ) -> Result<Response<pb::ListEventsResponse>, Status> {
        let events = self.0.shared().events.newest();
        let events = events.into_iter().map(message).collect();
        Ok(Response::new(pb::ListEventsResponse { events }))
    }

    async fn exchange_checkpoints(
        &self,
        request: Request<pb::ExchangeCheckpointsRequest>,
    ) -> Result<Response<pb::ExchangeCheckpointsResponse>, Status> {
        let answer = self.0.shared().compare(request.into_inner()).await;
        answer.map(Response::new).map_err(status)
    }
}

//! What the dashboard asks an aggregator, as a port: the real one is the gRPC client of `quorix_wire`, tests have
//! their own. Only questions: nothing here can change anything.

use std::future::Future;
use std::pin::Pin;

use quorix_wire::pb;

use crate::error::SourceError;

mod grpc;

/// An answer to come.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, SourceError>> + Send + 'a>>;

/// Who answers the dashboard's questions.
pub trait Source: Send + Sync {
    /// Counts over all outputs.
    fn overview(&self) -> Answer<'_, pb::GetOverviewResponse>;
    /// The followed logs and their health.
    fn logs(&self) -> Answer<'_, Vec<pb::LogStatus>>;
    /// The newest events, the newest first.
    fn events(&self) -> Answer<'_, Vec<pb::Event>>;
    /// One page of the outputs about which builders disagree.
    fn disagreements(
        &self,
        request: pb::ListDisagreementsRequest,
    ) -> Answer<'_, pb::ListDisagreementsResponse>;
    /// The decision about an output: an absolute store path, a base name or a hash part.
    fn decide(&self, path: String) -> Answer<'_, pb::Decision>;
    /// Outputs whose name starts with `query`; at most `limit`.
    fn search(&self, query: String, limit: u32) -> Answer<'_, Vec<pb::OutputSummary>>;
}

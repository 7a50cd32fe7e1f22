//! The real source: the aggregator over gRPC. Only translates; what the client's errors mean is decided here.

use quorix_wire::client::{AggregatorClient, ClientError};
use quorix_wire::pb;

use super::{Answer, Source};
use crate::error::SourceError;

impl Source for AggregatorClient {
    fn overview(&self) -> Answer<'_, pb::GetOverviewResponse> {
        Box::pin(async { Ok(Self::overview(self).await?) })
    }

    fn logs(&self) -> Answer<'_, Vec<pb::LogStatus>> {
        Box::pin(async { Ok(self.list_logs().await?) })
    }

    fn events(&self) -> Answer<'_, Vec<pb::Event>> {
        Box::pin(async { Ok(Self::events(self).await?) })
    }

    fn disagreements(
        &self,
        request: pb::ListDisagreementsRequest,
    ) -> Answer<'_, pb::ListDisagreementsResponse> {
        Box::pin(async { Ok(Self::disagreements(self, request).await?) })
    }

    fn decide(&self, path: String) -> Answer<'_, pb::Decision> {
        Box::pin(async move { Ok(Self::decide(self, &path).await?) })
    }

    fn search(&self, query: String, limit: u32) -> Answer<'_, Vec<pb::OutputSummary>> {
        Box::pin(async move { Ok(Self::search(self, &query, limit).await?) })
    }
}

impl From<ClientError> for SourceError {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Unavailable(reason) => Self::Away(reason),
            ClientError::InvalidRequest(reason)
            | ClientError::ResourceExhausted(reason)
            | ClientError::Pushback {
                message: reason, ..
            } => Self::Refused(reason),
            ClientError::InvalidAnswer(reason) | ClientError::Other(reason) => Self::Broken(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_client_says_is_told_apart_by_what_a_reader_can_do() {
        let said = || "said".to_owned();
        for (error, expected) in [
            (ClientError::Unavailable(said()), SourceError::Away(said())),
            (
                ClientError::InvalidRequest(said()),
                SourceError::Refused(said()),
            ),
            (
                ClientError::ResourceExhausted(said()),
                SourceError::Refused(said()),
            ),
            (
                ClientError::InvalidAnswer(said()),
                SourceError::Broken(said()),
            ),
            (ClientError::Other(said()), SourceError::Broken(said())),
        ] {
            assert_eq!(SourceError::from(error), expected);
        }
    }
}

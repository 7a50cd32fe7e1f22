//! Whole closures decided in one call: the outputs that were asked about, and everything that they reach through the
//! references of values that could be accepted.
//!
//! Bounded by `outputs_max`, as every question is. All of it is decided from one moment of each log, and then told in
//! parts of [`DECISIONS_PER_ANSWER`], so that no answer grows with the closure.

use std::sync::Arc;

use futures::{Stream, stream};
use quorix_trust::decision::Decision;
use quorix_wire::pb;
use tonic::Status;

use crate::error::AskError;
use crate::query;
use crate::service::Aggregator;

/// Decisions in one answer of a stream.
pub(crate) const DECISIONS_PER_ANSWER: usize = 256;

impl Aggregator {
    /// Decides outputs in their order, then everything else that they reach, ascending by hash part.
    ///
    /// # Errors
    /// As [`decide_many`](Self::decide_many).
    pub async fn decide_closure(&self, paths: &[String]) -> Result<Vec<Arc<Decision>>, AskError> {
        let shared = self.shared();
        let config = &shared.config;
        let queries = query::parse_all(paths, &config.store_dir, config.outputs_max)?;
        shared.decide_with_closure(queries).await
    }

    /// What a request asks to be decided, its closure too where it says so.
    pub(crate) async fn decide_asked(
        &self,
        request: &pb::DecideManyRequest,
    ) -> Result<Vec<Arc<Decision>>, AskError> {
        if request.closure {
            self.decide_closure(&request.paths).await
        } else {
            self.decide_many(&request.paths).await
        }
    }
}

/// Decisions as they are told.
pub(crate) fn messages(decisions: &[Arc<Decision>]) -> Vec<pb::Decision> {
    let decisions = decisions.iter().map(Arc::as_ref);
    decisions.map(pb::Decision::from).collect()
}

/// Decisions, some in each answer.
pub(crate) fn in_parts(
    decisions: Vec<Arc<Decision>>,
) -> impl Stream<Item = Result<pb::DecideManyResponse, Status>> + Send {
    let mut left = decisions.into_iter();
    // Turned into messages as they are taken, so that a slow reader keeps few of them in memory.
    let parts = std::iter::from_fn(move || {
        let part: Vec<Arc<Decision>> = left.by_ref().take(DECISIONS_PER_ANSWER).collect();
        (!part.is_empty()).then(|| pb::DecideManyResponse {
            decisions: messages(&part),
        })
    });
    stream::iter(parts.map(Ok))
}

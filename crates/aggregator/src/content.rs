//! Has content-addressed paths recomputed that nobody voted on and that a decision is blocked by.
//!
//! They need no votes, but nothing is promised of them before their NAR was fetched and the path computed from it
//! (SEMANTICS §3). Bounds: `content_checks` paths and `content_budget` for one question.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::{StreamExt, stream};
use quorix_nix::fingerprint::Fingerprint;
use quorix_nix::store_path::{HashPart, StorePath};
use quorix_trust::decision::{Decision, Outcome, decide_many};
use quorix_trust::evidence::Evidence;
use tokio::time::Instant;

use crate::error::AskError;
use crate::gather::Gathered;
use crate::machine::blocking;
use crate::query::Query;
use crate::service::Shared;

/// Paths that are fetched and recomputed at once.
const AT_ONCE: usize = 8;

impl Shared {
    /// Decides, in the order of the queries.
    pub(crate) async fn decide(
        self: &Arc<Self>,
        queries: Vec<Query>,
    ) -> Result<Vec<Decision>, AskError> {
        self.decide_all(queries, false).await
    }

    /// Decides, in the order of the queries, then everything that they reach, ascending by hash part.
    pub(crate) async fn decide_with_closure(
        self: &Arc<Self>,
        queries: Vec<Query>,
    ) -> Result<Vec<Decision>, AskError> {
        self.decide_all(queries, true).await
    }

    async fn decide_all(
        self: &Arc<Self>,
        asked: Vec<Query>,
        all_reached: bool,
    ) -> Result<Vec<Decision>, AskError> {
        let closure = all_reached || self.policy.asks_for_references();
        let wanted = asked.iter().map(|query| query.hash_part.clone()).collect();
        let mut gathered = self.gather(wanted, closure).await?;
        let deadline = Instant::now() + self.config.content_budget;
        let mut tried = BTreeSet::new();
        loop {
            let mut queries = asked.clone();
            if all_reached {
                queries.extend(reached_beyond(&asked, &gathered));
            }
            let (decisions, with) = self.decide_from(gathered, &queries).await?;
            gathered = with;
            let room = self.config.content_checks.saturating_sub(tried.len());
            let to_try: Vec<StorePath> = blocking_paths(&queries, &decisions, &gathered.evidence)
                .into_iter()
                .filter(|path| !tried.contains(path))
                .take(room)
                .collect();
            if to_try.is_empty() || Instant::now() >= deadline {
                self.metrics.decided(decisions.len());
                return Ok(decisions);
            }
            tried.extend(to_try.iter().cloned());
            let verified = self.verify_content(to_try, deadline).await;
            let outputs = verified.iter().map(|(path, _)| path.hash_part());
            let outputs = outputs.collect();
            gathered.evidence.self_verified.extend(verified);
            if closure {
                let (with, reached) = self.reached(gathered, outputs).await?;
                gathered = self.gather_more(with, reached, true).await?;
            }
        }
    }

    /// Decides from what was gathered, on a thread that may take its time.
    async fn decide_from(
        self: &Arc<Self>,
        gathered: Gathered,
        queries: &[Query],
    ) -> Result<(Vec<Decision>, Gathered), AskError> {
        let (shared, asked) = (
            self.clone(),
            queries.iter().map(|query| query.hash_part.clone()),
        );
        let asked: Vec<HashPart> = asked.collect();
        let decided = blocking("deciding", move || {
            let decisions =
                decide_many(&shared.policy, &gathered.evidence, &asked, (shared.clock)());
            Ok((decisions, gathered))
        });
        Ok(decided.await?)
    }

    async fn verify_content(
        &self,
        paths: Vec<StorePath>,
        deadline: Instant,
    ) -> Vec<(StorePath, Fingerprint)> {
        let Some(verifier) = &self.content else {
            return Vec::new();
        };
        let checks = stream::iter(paths).map(|path| async move {
            let checked = tokio::time::timeout_at(deadline, verifier.verify(&path)).await;
            match checked {
                Ok(Ok(Some(facts))) if facts.path == path => Some((path, facts)),
                Ok(Ok(_)) => None,
                Ok(Err(reason)) => {
                    tracing::debug!(%path, reason, "a path could not be recomputed from its content");
                    None
                }
                Err(_) => None,
            }
        });
        checks
            .buffer_unordered(AT_ONCE)
            .filter_map(futures::future::ready)
            .collect()
            .await
    }
}

/// What was gathered beside what was asked for.
fn reached_beyond(asked: &[Query], gathered: &Gathered) -> Vec<Query> {
    let asked: BTreeSet<&HashPart> = asked.iter().map(|query| &query.hash_part).collect();
    let beyond = gathered.found.keys().filter(|one| !asked.contains(one));
    let query = |hash_part: &HashPart| Query {
        hash_part: hash_part.clone(),
        path: None,
    };
    beyond.map(query).collect()
}

/// Paths without which some decision is a refusal, and that may turn out to need no votes.
fn blocking_paths(
    queries: &[Query],
    decisions: &[Decision],
    evidence: &Evidence,
) -> BTreeSet<StorePath> {
    let mut paths = BTreeSet::new();
    for (query, decision) in queries.iter().zip(decisions) {
        let mut within = vec![decision];
        while let Some(decision) = within.pop() {
            match decision.outcome {
                Outcome::Accepted | Outcome::Denied => {}
                Outcome::BlockedBy => paths.extend(decision.blocked_by.clone()),
                _ => paths.extend(decision.path.as_ref().or(query.path.as_ref()).cloned()),
            }
            within.extend(decision.warned.as_deref());
            within.extend(decision.fallen_from.as_deref());
        }
    }
    paths.retain(|path| evidence.may_verify_by_itself(&path.hash_part()));
    paths
}

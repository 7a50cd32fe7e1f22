//! The client of an aggregator.
//!
//! Only [`AggregatorClient::evidence`] may lead to an acceptance; the rest is the aggregator's word.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use futures::{FutureExt as _, Stream, TryStreamExt as _};
use quorix_nix::store_path::{HashPart, StoreDir, StorePath};
use quorix_trust::evidence::Evidence;
use quorix_trust::policy::Policy;
use quorix_trust::ports::Equivocation;
use tonic::transport::Channel;
use tonic::{Response, Status};

use super::complete::Completer;
use super::{ClientError, Completeness, MESSAGE_BYTES_MAX};
use crate::evidence::{OUTPUTS_MAX, Question, SeenCheckpoints, verify_evidence};
use crate::fetch::Fetcher;
use crate::pb;
use crate::pb::aggregator_service_client::AggregatorServiceClient;
use crate::pb::follow_service_client::FollowServiceClient;

/// An aggregator, and what this client has verified of the logs so far. Clones share both.
#[derive(Clone, Debug)]
pub struct AggregatorClient {
    service: AggregatorServiceClient<Channel>,
    follow: FollowServiceClient<Channel>,
    policy: Arc<Policy>,
    store_dir: StoreDir,
    seen: Arc<SeenCheckpoints>,
    /// Where answers are completed: by whom, and what it came to for one path.
    completer: Option<Arc<(Completer, Mutex<Completeness>)>>,
}

impl AggregatorClient {
    /// A client of the aggregator to which the channel leads, which verifies under this policy, for `/nix/store`.
    #[must_use]
    pub fn new(channel: Channel, policy: Arc<Policy>) -> Self {
        Self {
            follow: FollowServiceClient::new(channel.clone())
                .max_decoding_message_size(MESSAGE_BYTES_MAX),
            service: AggregatorServiceClient::new(channel)
                .max_decoding_message_size(MESSAGE_BYTES_MAX),
            policy,
            store_dir: StoreDir::default(),
            seen: Arc::default(),
            completer: None,
        }
    }

    /// The same aggregator under another policy. What was seen of logs stays seen: neither a rollback nor a quarantine is
    /// forgotten by it.
    #[must_use]
    pub fn under(&self, policy: Arc<Policy>) -> Self {
        let completer = self.completer.as_deref();
        Self {
            policy,
            completer: completer.map(|(old, _)| Arc::new((old.anew(), Mutex::default()))),
            ..self.clone()
        }
    }

    /// The same, but all evidence is completed by asking the logs themselves what they say, by their verifiable indexes:
    /// what the aggregator left out is added, and a log that does not show that it is complete adds no votes. Logs are
    /// asked by whole paths: `asked` is the one that questions are about.
    #[must_use]
    pub fn completing(mut self, fetcher: Fetcher, asked: StorePath) -> Self {
        let completer = Completer::of_one(fetcher, asked);
        self.completer = Some(Arc::new((completer, Mutex::default())));
        self
    }

    /// The same for questions about whatever it may be, of whom only hash parts are known: logs are asked for the whole
    /// paths that answers name. They are asked within seconds, and what they showed is remembered for half a minute.
    #[must_use]
    pub fn completing_all(mut self, fetcher: Fetcher) -> Self {
        let completer = Completer::of_many(fetcher);
        self.completer = Some(Arc::new((completer, Mutex::default())));
        self
    }

    /// Whether evidence is completed by asking the logs.
    #[must_use]
    pub fn is_completing(&self) -> bool {
        self.completer.is_some()
    }

    /// Whether the newest evidence was complete, and everything that was ever left out; `None` for a client that does not
    /// complete, or not for one path.
    #[must_use]
    pub fn completeness(&self) -> Option<Completeness> {
        let (completer, found) = self.completer.as_deref()?;
        let found = found.lock().unwrap_or_else(PoisonError::into_inner);
        completer.is_of_one().then(|| found.clone())
    }

    /// The same for another store directory.
    #[must_use]
    pub fn for_store(mut self, store_dir: StoreDir) -> Self {
        self.store_dir = store_dir;
        self
    }

    /// The newest events that the aggregator remembers, the newest first.
    ///
    /// # Errors
    /// The aggregator does not answer.
    pub async fn events(&self) -> Result<Vec<pb::Event>, ClientError> {
        let request = pb::ListEventsRequest {};
        let answer = inner(self.follow.clone().list_events(request).await)?;
        Ok(answer.events)
    }

    /// How many outputs stand how, by day and system and by pairs of builders.
    ///
    /// # Errors
    /// The aggregator does not answer.
    pub async fn tallies(&self) -> Result<pb::GetTalliesResponse, ClientError> {
        let request = pb::GetTalliesRequest {};
        inner(self.follow.clone().get_tallies(request).await)
    }

    /// Outputs by derivation, NAR hash or system, by page.
    ///
    /// # Errors
    /// The aggregator does not answer, or not this question.
    pub async fn find_outputs(
        &self,
        request: pb::FindOutputsRequest,
    ) -> Result<pb::FindOutputsResponse, ClientError> {
        inner(self.follow.clone().find_outputs(request).await)
    }

    /// The policy under which this client verifies.
    #[must_use]
    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// Verified proof of equivocation that this client has met, by origin of the log.
    #[must_use]
    pub fn equivocations(&self) -> BTreeMap<String, Equivocation> {
        self.seen.equivocations()
    }

    /// Everything said about these outputs (at most 10,000), and with `closure` about what they refer to, as far as
    /// the aggregator knows it. All of it verified: see [`verify_evidence`].
    ///
    /// # Errors
    /// The aggregator does not answer, or not with evidence.
    pub async fn evidence(
        &self,
        outputs: &[HashPart],
        closure: bool,
    ) -> Result<Evidence, ClientError> {
        let (evidence, _) = self.completed_evidence(outputs, closure).await?;
        Ok(evidence)
    }

    /// The same with what was left out of the answer, where this client completes answers.
    ///
    /// # Errors
    /// The aggregator does not answer, or not with evidence.
    pub async fn completed_evidence(
        &self,
        outputs: &[HashPart],
        closure: bool,
    ) -> Result<(Evidence, Option<Completeness>), ClientError> {
        check_count(outputs.len())?;
        let question = self.question(outputs.iter().cloned().collect(), closure);
        let paths = question.outputs.iter().map(ToString::to_string).collect();
        let request = pb::GetEvidenceRequest { paths, closure };
        let answer = inner(self.service.clone().get_evidence(request).await)?;
        let (answer, completeness) = self.completed(&question, answer).await?;
        let (policy, seen) = (self.policy.clone(), self.seen.clone());
        // Thousands of signatures and proofs take a while.
        let verified =
            tokio::task::spawn_blocking(move || verify_evidence(&policy, &question, answer, &seen));
        let verified = verified
            .await
            .map_err(|_| ClientError::Other("verifying the evidence failed".to_owned()))?;
        let verified = verified.map_err(|error| ClientError::InvalidAnswer(error.to_string()))?;
        Ok((verified.evidence, completeness))
    }

    /// What is asked, beside what is known before the question is sent. Where the logs are asked too, they may have shown
    /// more of themselves than the aggregator has seen yet: then only what it gave itself may not shrink.
    fn question(&self, outputs: BTreeSet<HashPart>, closure: bool) -> Question {
        let known_sizes = match self.completer.as_deref() {
            Some((completer, _)) => completer.given_sizes(),
            None => self.seen.sizes(),
        };
        Question {
            store_dir: self.store_dir.clone(),
            outputs,
            closure,
            known_sizes,
        }
    }

    async fn completed(
        &self,
        question: &Question,
        answer: pb::GetEvidenceResponse,
    ) -> Result<(pb::GetEvidenceResponse, Option<Completeness>), ClientError> {
        let Some((completer, found)) = self.completer.as_deref() else {
            return Ok((answer, None));
        };
        let completed = completer.complete(&self.policy, question, answer, &self.seen);
        // Rare and long, so that whoever never asks for it does not carry its state.
        let (answer, new) = completed.boxed().await?;
        if completer.is_of_one() {
            let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
            found.logs = new.logs.clone();
            found.left_out.extend(new.left_out.iter().cloned());
        }
        Ok((answer, Some(new)))
    }

    /// What the aggregator knows of these outputs (at most 10,000), as it answers, for a receipt, completed where this
    /// client completes. Nothing else of it is verified.
    ///
    /// # Errors
    /// The aggregator does not answer.
    pub async fn answer(
        &self,
        outputs: &BTreeSet<HashPart>,
        closure: bool,
    ) -> Result<pb::GetEvidenceResponse, ClientError> {
        check_count(outputs.len())?;
        let question = self.question(outputs.clone(), closure);
        let paths = outputs.iter().map(ToString::to_string).collect();
        let request = pb::GetEvidenceRequest { paths, closure };
        let answer = inner(self.service.clone().get_evidence(request).await)?;
        let (answer, _) = self.completed(&question, answer).await?;
        Ok(answer)
    }

    /// What the aggregator decides about a store path, base name or hash part, by its own policy.
    ///
    /// # Errors
    /// The aggregator does not answer, or not with a decision.
    pub async fn decide(&self, path: &str) -> Result<pb::Decision, ClientError> {
        let request = pb::DecideRequest {
            path: path.to_owned(),
        };
        let answer = inner(self.service.clone().decide(request).await)?;
        answer.decision.ok_or_else(|| {
            ClientError::InvalidAnswer("the aggregator answered without a decision".to_owned())
        })
    }

    /// The same for many (at most 10,000), in their order.
    ///
    /// # Errors
    /// The aggregator does not answer, or not with a decision for each.
    pub async fn decide_many(&self, paths: Vec<String>) -> Result<Vec<pb::Decision>, ClientError> {
        let expected = paths.len();
        check_count(expected)?;
        let answer = inner(
            self.service
                .clone()
                .decide_many(pb::DecideManyRequest {
                    paths,
                    closure: false,
                })
                .await,
        )?;
        let found = answer.decisions.len();
        if found != expected {
            let message = format!("the aggregator answered {found} decisions for {expected} paths");
            return Err(ClientError::InvalidAnswer(message));
        }
        Ok(answer.decisions)
    }

    /// The same for these and everything that they reach (at most 10,000 in all), in one call whose answers come one
    /// after the other.
    ///
    /// # Errors
    /// The aggregator does not answer, or with more decisions than it may.
    pub async fn decide_closure(
        &self,
        paths: Vec<String>,
    ) -> Result<Vec<pb::Decision>, ClientError> {
        check_count(paths.len())?;
        let request = pb::DecideManyRequest {
            paths,
            closure: true,
        };
        let mut answers = inner(self.service.clone().decide_stream(request).await)?;
        let mut decisions = Vec::new();
        while let Some(answer) = answers
            .message()
            .await
            .map_err(|status| aggregator_error(&status))?
        {
            decisions.extend(answer.decisions);
            if decisions.len() > OUTPUTS_MAX {
                let message = format!("the aggregator answered more than {OUTPUTS_MAX} decisions");
                return Err(ClientError::InvalidAnswer(message));
            }
        }
        Ok(decisions)
    }

    /// The logs that the aggregator follows.
    ///
    /// # Errors
    /// The aggregator does not answer.
    pub async fn list_logs(&self) -> Result<Vec<pb::LogStatus>, ClientError> {
        Ok(inner(self.service.clone().list_logs(pb::ListLogsRequest {}).await)?.logs)
    }

    /// Counts over all outputs.
    ///
    /// # Errors
    /// The aggregator does not answer.
    pub async fn overview(&self) -> Result<pb::GetOverviewResponse, ClientError> {
        inner(
            self.service
                .clone()
                .get_overview(pb::GetOverviewRequest {})
                .await,
        )
    }

    /// Outputs about which builders disagree, by page.
    ///
    /// # Errors
    /// The aggregator does not answer.
    pub async fn disagreements(
        &self,
        request: pb::ListDisagreementsRequest,
    ) -> Result<pb::ListDisagreementsResponse, ClientError> {
        inner(self.service.clone().list_disagreements(request).await)
    }

    /// Outputs by name, hash part or store path; `limit` 0 means 50.
    ///
    /// # Errors
    /// The aggregator does not answer.
    pub async fn search(
        &self,
        query: &str,
        limit: u32,
    ) -> Result<Vec<pb::OutputSummary>, ClientError> {
        let request = pb::SearchRequest {
            query: query.to_owned(),
            limit,
        };
        Ok(inner(self.service.clone().search(request).await)?.outputs)
    }

    /// Events from now on, until the aggregator ends.
    ///
    /// # Errors
    /// The aggregator does not answer.
    pub async fn watch(
        &self,
    ) -> Result<impl Stream<Item = Result<pb::Event, ClientError>> + Send + use<>, ClientError>
    {
        let events = inner(
            self.service
                .clone()
                .watch_events(pb::WatchEventsRequest {})
                .await,
        )?;
        Ok(events.map_err(|status| aggregator_error(&status)))
    }
}

fn check_count(asked: usize) -> Result<(), ClientError> {
    if asked > OUTPUTS_MAX {
        let message = format!("{asked} outputs were asked for at once, more than {OUTPUTS_MAX}");
        return Err(ClientError::InvalidRequest(message));
    }
    Ok(())
}

fn inner<T>(answer: Result<Response<T>, Status>) -> Result<T, ClientError> {
    answer
        .map(Response::into_inner)
        .map_err(|status| aggregator_error(&status))
}

fn aggregator_error(status: &Status) -> ClientError {
    ClientError::from_status("the aggregator", status)
}

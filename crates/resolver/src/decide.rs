//! Decides by its own policy, from evidence that was verified here.
//!
//! First asks for the evidence of the one output: most refusals need no more. Only where the answer depends on what
//! the output refers to is the whole closure asked for, once, and every decision in it remembered for a few seconds.
//! An aggregator that fails leads to no decision, and to none being remembered. SEMANTICS §3.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::{StreamExt as _, stream};
use quorix_nix::fingerprint::Fingerprint;
use quorix_nix::hash::NarHash;
use quorix_nix::store_path::{HashPart, StorePath};
use quorix_trust::decision::{Decision, Outcome, decide, decide_many};
use quorix_trust::evidence::Evidence;
use quorix_trust::policy::{Level, Policy};
use quorix_wire::client::AggregatorClient;
use quorix_wire::evidence::OUTPUTS_MAX;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};

use crate::config::ResolverConfig;
use crate::content::ContentChecker;
use crate::error::NoAnswer;
use crate::flight::Flights;
use crate::memo::Memo;
use crate::metrics::ServiceMetrics;
use crate::promises::Promises;
use crate::service::Clock;

/// Questions to the aggregator at once. Those who wait often find their answer in the memo.
const QUESTIONS_AT_ONCE: usize = 4;
/// Content-addressed paths that are fetched at once for one decision.
const CHECKS_AT_ONCE: usize = 4;

/// A decision with what it follows from.
pub(crate) struct Settled {
    pub(crate) decision: Arc<Decision>,
    pub(crate) evidence: Arc<Evidence>,
    /// When the evidence was asked for, POSIX seconds.
    pub(crate) asked_at_s: u64,
}

impl Settled {
    fn promise(&self) -> Option<(NarHash, HashPart)> {
        let facts = self
            .decision
            .is_accepted()
            .then(|| self.decision.accepted_facts())
            .flatten()?;
        Some((facts.nar_hash, self.decision.asked.clone()))
    }
}

/// Decides, each output once at a time.
pub(crate) struct Decider {
    pub(crate) client: AggregatorClient,
    pub(crate) policy: Arc<Policy>,
    pub(crate) content: Arc<ContentChecker>,
    pub(crate) promises: Promises,
    pub(crate) config: ResolverConfig,
    pub(crate) clock: Clock,
    pub(crate) metrics: ServiceMetrics,
    memo: Memo,
    flights: Flights<HashPart, Result<Arc<Settled>, NoAnswer>>,
    questions: Semaphore,
    has_closure_rules: bool,
}

impl Decider {
    pub(crate) fn new(
        client: AggregatorClient,
        policy: Arc<Policy>,
        content: Arc<ContentChecker>,
        promises: Promises,
        config: ResolverConfig,
        clock: Clock,
        metrics: ServiceMetrics,
    ) -> Self {
        Self {
            has_closure_rules: policy.rules.iter().any(|rule| rule.level == Level::Closure),
            memo: Memo::new(config.decision_ttl),
            flights: Flights::new(),
            questions: Semaphore::new(QUESTIONS_AT_ONCE),
            client,
            policy,
            content,
            promises,
            config,
            clock,
            metrics,
        }
    }

    /// The decision about an output, at most `decision_ttl` old. Waits for at most `hold`; the work goes on.
    pub(crate) async fn settle(
        self: &Arc<Self>,
        part: &HashPart,
    ) -> Result<Arc<Settled>, NoAnswer> {
        if let Some(settled) = self.memo.get(part, (self.clock)()) {
            return Ok(settled);
        }
        let work = || {
            let (decider, part) = (self.clone(), part.clone());
            async move { decider.settle_now(&part).await }
        };
        match timeout(self.config.hold, self.flights.join(part, work)).await {
            Ok(Some(settled)) => settled,
            Ok(None) => Err(NoAnswer::Unavailable("the decision broke off".to_owned())),
            Err(_) => Err(NoAnswer::Unavailable(
                "the evidence is still being fetched".to_owned(),
            )),
        }
    }

    async fn settle_now(&self, part: &HashPart) -> Result<Arc<Settled>, NoAnswer> {
        let settled = timeout(self.config.decision_timeout, self.ask_and_decide(part))
            .await
            .unwrap_or_else(|_| {
                let limit_s = self.config.decision_timeout.as_secs_f32();
                Err(NoAnswer::Unavailable(format!(
                    "the decision took longer than {limit_s} s"
                )))
            });
        if let Err(error) = &settled {
            tracing::warn!(output = %part, reason = error.explained(), "nothing was decided");
            self.metrics.undecided();
            // What was accepted before may have been lost since, and nobody is there to tell.
            self.memo.forget_all();
        }
        settled
    }

    async fn ask_and_decide(&self, part: &HashPart) -> Result<Arc<Settled>, NoAnswer> {
        let closed = |_| NoAnswer::Unavailable("the resolver is stopping".to_owned());
        let _permit = self.questions.acquire().await.map_err(closed)?;
        // The question before may have been about a closure that this output is in.
        if let Some(settled) = self.memo.get(part, (self.clock)()) {
            return Ok(settled);
        }
        let mut question = Question::about(part, &self.config);
        loop {
            let asked_at_s = (self.clock)();
            let wanted: Vec<HashPart> = question.wanted.iter().cloned().collect();
            let evidence = self.client.evidence(&wanted, question.closure).await;
            let mut evidence =
                evidence.map_err(|error| NoAnswer::Unavailable(error.to_string()))?;
            evidence.self_verified.extend(question.verified.clone());
            let (decision, evidence) = self.decide_with_content(&mut question, evidence).await?;
            if self.needs_closure(&question, &decision) {
                question.closure = true;
            } else if !question.has_more_to_ask(&evidence) {
                return self
                    .remember(&question, decision, evidence, asked_at_s)
                    .await;
            }
        }
    }

    /// Decides, has what blocks the decision recomputed from its bytes, and decides again, until nothing changes or
    /// something has to be asked for.
    async fn decide_with_content(
        &self,
        question: &mut Question,
        mut evidence: Evidence,
    ) -> Result<(Decision, Evidence), NoAnswer> {
        loop {
            let (policy, now_s, asked) =
                (self.policy.clone(), (self.clock)(), question.asked.clone());
            let decided = blocking(move || {
                let decision = decide(&policy, &evidence, &asked, now_s);
                (decision, evidence)
            });
            let (decision, decided_from) = decided.await?;
            evidence = decided_from;
            if self.needs_closure(question, &decision) {
                return Ok((decision, evidence));
            }
            let checks = question.next_checks(&decision, &evidence);
            let verified = self.recompute(checks, question.deadline).await;
            if verified.is_empty() {
                return Ok((decision, evidence));
            }
            for facts in verified {
                let references = facts.references.iter().map(StorePath::hash_part);
                question.wanted.extend(references);
                question.verified.insert(facts.path.clone(), facts.clone());
                evidence.self_verified.insert(facts.path.clone(), facts);
            }
            if question.has_more_to_ask(&evidence) {
                return Ok((decision, evidence));
            }
        }
    }

    /// The decision depends on outputs that were not asked about.
    fn needs_closure(&self, question: &Question, decision: &Decision) -> bool {
        self.has_closure_rules && !question.closure && is_blocked(decision)
    }

    async fn recompute(&self, outputs: Vec<HashPart>, deadline: Instant) -> Vec<Fingerprint> {
        let checks = stream::iter(outputs).map(|output| async move {
            match timeout_at(deadline, self.content.check(&output)).await {
                Ok(Ok(facts)) => facts,
                Ok(Err(reason)) => {
                    tracing::warn!(%output, reason, "an output could not be recomputed from its content");
                    None
                }
                Err(_) => None,
            }
        });
        checks
            .buffer_unordered(CHECKS_AT_ONCE)
            .filter_map(futures::future::ready)
            .collect()
            .await
    }

    /// Remembers the decision, and those about its closure that the same evidence settles for good.
    async fn remember(
        &self,
        question: &Question,
        decision: Decision,
        evidence: Evidence,
        asked_at_s: u64,
    ) -> Result<Arc<Settled>, NoAnswer> {
        self.metrics.decided(decision.outcome);
        let (evidence, mut others) = (Arc::new(evidence), Vec::new());
        if question.closure {
            let known = evidence.outputs.keys().cloned();
            let verified = evidence.self_verified.keys().map(StorePath::hash_part);
            let outputs: BTreeSet<HashPart> = known
                .chain(verified)
                .filter(|output| *output != question.asked)
                .collect();
            let (policy, now_s, evidence) = (self.policy.clone(), (self.clock)(), evidence.clone());
            let outputs: Vec<HashPart> = outputs.into_iter().collect();
            others = blocking(move || {
                let is_complete = evidence.frontier().is_empty();
                let mut decisions = decide_many(&policy, &evidence, &outputs, now_s);
                decisions.retain(|decision| is_settled(decision, &evidence, is_complete));
                decisions
            })
            .await?;
        }
        let settled = |decision| {
            Arc::new(Settled {
                decision: Arc::new(decision),
                evidence: evidence.clone(),
                asked_at_s,
            })
        };
        let asked = settled(decision);
        let all: Vec<Arc<Settled>> = others
            .into_iter()
            .map(settled)
            .chain([asked.clone()])
            .collect();
        self.promises
            .keep(all.iter().filter_map(|settled| settled.promise()).collect())
            .await;
        self.memo.remember(all, (self.clock)());
        Ok(asked)
    }
}

/// What is being asked about one output.
struct Question {
    asked: HashPart,
    wanted: BTreeSet<HashPart>,
    closure: bool,
    verified: BTreeMap<StorePath, Fingerprint>,
    tried: BTreeSet<HashPart>,
    checks_max: usize,
    deadline: Instant,
}

impl Question {
    fn about(part: &HashPart, config: &ResolverConfig) -> Self {
        Self {
            asked: part.clone(),
            wanted: BTreeSet::from([part.clone()]),
            closure: false,
            verified: BTreeMap::new(),
            tried: BTreeSet::new(),
            checks_max: config.content_checks,
            deadline: Instant::now() + config.content_budget,
        }
    }

    /// Something wanted is not in the evidence, and more may be asked for.
    fn has_more_to_ask(&self, evidence: &Evidence) -> bool {
        let is_known = |output: &HashPart| evidence.outputs.contains_key(output);
        self.wanted.len() <= OUTPUTS_MAX && !self.wanted.iter().all(is_known)
    }

    /// What stands in the way of an acceptance, and might prove itself.
    fn next_checks(&mut self, decision: &Decision, evidence: &Evidence) -> Vec<HashPart> {
        let room = self.checks_max.saturating_sub(self.tried.len());
        let blocking = checkable(decision, evidence).into_iter();
        let new: Vec<HashPart> = blocking
            .filter(|output| !self.tried.contains(output))
            .take(room)
            .collect();
        self.tried.extend(new.iter().cloned());
        new
    }
}

fn is_blocked(decision: &Decision) -> bool {
    decision.outcome == Outcome::BlockedBy
}

/// Whether a decision about an output that was not asked about may be used: an acceptance always, a refusal because
/// of the closure only if all of the closure is here and nothing in it might prove itself.
fn is_settled(decision: &Decision, evidence: &Evidence, is_complete: bool) -> bool {
    decision.is_accepted()
        || (is_blocked(decision) && is_complete && checkable(decision, evidence).is_empty())
}

/// Outputs without which a decision is a refusal, and that may turn out to need no votes.
fn checkable(decision: &Decision, evidence: &Evidence) -> BTreeSet<HashPart> {
    let mut outputs = BTreeSet::new();
    let mut within = vec![decision];
    while let Some(decision) = within.pop() {
        match decision.outcome {
            Outcome::Accepted | Outcome::Denied => {}
            Outcome::BlockedBy => {
                outputs.extend(decision.blocked_by.as_ref().map(StorePath::hash_part))
            }
            _ => {
                outputs.insert(decision.asked.clone());
            }
        }
        within.extend(decision.warned.as_deref());
        within.extend(decision.fallen_from.as_deref());
    }
    outputs.retain(|output| evidence.may_verify_by_itself(output));
    outputs
}

/// Runs work that takes its time on a thread of its own.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, NoAnswer> {
    let broken = |_| NoAnswer::Unavailable("the decision broke off".to_owned());
    tokio::task::spawn_blocking(work).await.map_err(broken)
}

//! Decides by its own policy, from evidence that was verified here.
//!
//! First asks for the evidence of the one output: most refusals need no more. Only where the answer depends on what
//! the output refers to is the whole closure asked for, once, and every decision in it remembered for a few seconds.
//! An aggregator that fails leads to no decision, and to none being remembered. SEMANTICS §3.

mod question;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use quorix_nix::fingerprint::Fingerprint;
use quorix_nix::hash::NarHash;
use quorix_nix::store_path::{HashPart, StorePath};
use quorix_trust::decision::{Decision, Outcome, decide, decide_many, reached};
use quorix_trust::evidence::Evidence;
use quorix_trust::policy::Policy;
use quorix_wire::client::{AggregatorClient, Completeness};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout, timeout_at};

use crate::acceptances::Acceptances;
use crate::config::ResolverConfig;
use crate::content::ContentChecker;
use crate::error::NoAnswer;
use crate::flight::{Flights, NotLanded};
use crate::memo::Memo;
use crate::metrics::ServiceMetrics;
use crate::promises::Promises;
use crate::service::Clock;
use question::{Question, is_blocked, outputs_of};

/// Questions to the aggregator at once. Those who wait often find their answer in the memo.
const QUESTIONS_AT_ONCE: usize = 4;
/// The longest that a closure is waited for which changes only what is shown of a `mode=warn` rule.
const SHOWING_TIMEOUT: Duration = Duration::from_secs(2);
/// Content-addressed paths that are fetched at once for one decision.
const CHECKS_AT_ONCE: usize = 4;

/// A decision with what it follows from.
pub(crate) struct Settled {
    pub(crate) decision: Arc<Decision>,
    pub(crate) evidence: Arc<Evidence>,
    /// As of when the evidence was whole, POSIX seconds: when it was asked for, or had been completed.
    pub(crate) whole_at_s: u64,
}

/// When evidence was asked for, POSIX seconds.
#[derive(Clone, Copy)]
struct Asked {
    at_s: u64,
    /// As of when it was whole.
    whole_at_s: u64,
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
    acceptances: Acceptances,
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
            acceptances: Acceptances::open(&config.spool_dir, &policy),
            has_closure_rules: policy.asks_for_references(),
            memo: Memo::new(config.decision_ttl),
            flights: Flights::new(config.decisions_at_once),
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
            Ok(Ok(settled)) => settled,
            Ok(Err(NotLanded::BrokeOff)) => {
                Err(NoAnswer::Unavailable("the decision broke off".to_owned()))
            }
            Ok(Err(NotLanded::Full)) => Err(NoAnswer::Unavailable(format!(
                "{} other outputs are being decided already",
                self.config.decisions_at_once
            ))),
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
        let mut permit = Some(self.questions.acquire().await.map_err(closed)?);
        // The question before may have been about a closure that this output is in.
        if let Some(settled) = self.memo.get(part, (self.clock)()) {
            return Ok(settled);
        }
        let mut question = Question::about(part, &self.config);
        loop {
            let asked_at_s = (self.clock)();
            if permit.is_none() {
                permit = Some(self.questions.acquire().await.map_err(closed)?);
            }
            let Some(mut evidence) = self.ask(&question).await? else {
                question.give_up_showing();
                continue;
            };
            let asked = Asked {
                at_s: asked_at_s,
                whole_at_s: self.whole_at_s(asked_at_s),
            };
            evidence.self_verified.extend(question.verified.clone());
            let (decision, evidence) = self
                .decide_with_content(&mut question, evidence, &mut permit)
                .await?;
            if self.needs_closure(&question, &decision, &evidence) {
                question.ask_for_closure(&decision);
                continue;
            }
            let evidence = self.complete(&mut question, &decision, evidence).await?;
            if !question.has_more_to_ask(&evidence) {
                return self.remember(&question, decision, evidence, asked).await;
            }
        }
    }

    /// Completing an answer takes longer than an answer may be used: then its time begins when it is complete, which is
    /// when the logs themselves were heard.
    fn whole_at_s(&self, asked_at_s: u64) -> u64 {
        if self.client.is_completing() {
            (self.clock)()
        } else {
            asked_at_s
        }
    }

    /// Asks the aggregator; `None` if it did not answer what is only for showing.
    async fn ask(&self, question: &Question) -> Result<Option<Evidence>, NoAnswer> {
        let wanted: Vec<HashPart> = question.wanted.iter().cloned().collect();
        let answer = self.client.completed_evidence(&wanted, question.closure);
        let answer = if question.is_to_show_only() {
            let answer = timeout(SHOWING_TIMEOUT, answer).await;
            answer.ok().and_then(Result::ok)
        } else {
            let answer = answer.await;
            let answer = answer.map_err(|error| NoAnswer::Unavailable(error.to_string()))?;
            Some(answer)
        };
        Ok(answer.map(|(evidence, completeness)| {
            self.tell(completeness.as_ref());
            evidence
        }))
    }

    /// Tells whoever runs this what the aggregator left out. Clients get it counted.
    fn tell(&self, completeness: Option<&Completeness>) {
        let left_out = completeness.map(|found| &found.left_out);
        let Some(first) = left_out.and_then(BTreeSet::first) else {
            return;
        };
        let entries = left_out.map(BTreeSet::len).unwrap_or_default();
        self.metrics.left_out(entries);
        let (log, index, path) = (&first.origin, first.index, &first.path);
        tracing::warn!(entries, %log, index, %path, "the aggregator left out what a log says; it is counted");
    }

    /// Decides, has what blocks the decision recomputed from its bytes, and decides again, until nothing changes or
    /// something has to be asked for.
    async fn decide_with_content(
        &self,
        question: &mut Question,
        mut evidence: Evidence,
        permit: &mut Option<SemaphorePermit<'_>>,
    ) -> Result<(Decision, Evidence), NoAnswer> {
        loop {
            let (policy, acceptances) = (self.policy.clone(), self.acceptances.clone());
            let (now_s, asked) = ((self.clock)(), question.asked.clone());
            let decided = blocking(move || {
                let decide = |evidence: &Evidence| decide(&policy, evidence, &asked, now_s);
                let all = with_grace(evidence, &acceptances, decide, Decision::is_accepted);
                (all.graced.unwrap_or(all.plain), all.evidence)
            });
            let (decision, decided_from) = decided.await?;
            evidence = decided_from;
            if self.needs_closure(question, &decision, &evidence) {
                return Ok((decision, evidence));
            }
            let checks = question.next_checks(&decision, &evidence);
            // Anyone can ask for what nobody knows. It takes no memory, so it need not keep others from asking.
            if !checks.is_empty() && !question.closure && decision.outcome == Outcome::Unknown {
                *permit = None;
            }
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

    /// The decision, or what is shown of a `mode=warn` rule, depends on outputs that were not asked about.
    fn needs_closure(&self, question: &Question, decision: &Decision, evidence: &Evidence) -> bool {
        self.has_closure_rules
            && !question.closure
            && (is_blocked(decision) || question.shows_too_little(decision, evidence))
    }

    /// Wants what the answer about a closure left out and the decision may depend on.
    async fn complete(
        &self,
        question: &mut Question,
        decision: &Decision,
        evidence: Evidence,
    ) -> Result<Evidence, NoAnswer> {
        if !question.may_be_incomplete(decision, &evidence) {
            return Ok(evidence);
        }
        let policy = self.policy.clone();
        let (left_out, evidence) = blocking(move || {
            let left_out = reached(&policy, &evidence, &outputs_of(&evidence));
            (left_out, evidence)
        })
        .await?;
        let blocked_by = decision.blocked_by.iter();
        let left_out = blocked_by.chain(&left_out).map(StorePath::hash_part);
        question.want_left_out(left_out.collect());
        Ok(evidence)
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

    /// Decides the rest of a closure; gives what the evidence settles for good. Where one of these is refused, all are
    /// decided with the acceptances of before.
    async fn decide_others(
        &self,
        question: &Question,
        evidence: Evidence,
        asked: Asked,
    ) -> Result<(Vec<Decision>, Evidence), NoAnswer> {
        let mut outputs = outputs_of(&evidence);
        outputs.remove(&question.asked);
        let outputs: Vec<HashPart> = outputs.into_iter().collect();
        let (policy, now_s) = (self.policy.clone(), (self.clock)());
        let acceptances = self.acceptances.clone();
        let others = blocking(move || {
            let is_complete = reached(&policy, &evidence, &outputs_of(&evidence)).is_empty();
            let decide = |evidence: &Evidence| decide_many(&policy, evidence, &outputs, now_s);
            let all_accepted = |decided: &Vec<Decision>| decided.iter().all(Decision::is_accepted);
            let all = with_grace(evidence, &acceptances, decide, all_accepted);
            (all, is_complete)
        });
        let (all, is_complete) = others.await?;
        self.acceptances.keep(&all.plain, asked.at_s).await;
        let (mut decided, evidence) = (all.graced.unwrap_or(all.plain), all.evidence);
        decided.retain(|decision| question.settles(decision, &evidence, is_complete));
        Ok((decided, evidence))
    }

    /// Remembers the decision, and those about its closure that the same evidence settles for good.
    async fn remember(
        &self,
        question: &Question,
        decision: Decision,
        evidence: Evidence,
        asked: Asked,
    ) -> Result<Arc<Settled>, NoAnswer> {
        self.metrics.decided(decision.outcome);
        // What grace keeps in force is not renewed by that.
        if evidence.earlier.is_empty() {
            self.acceptances.keep([&decision], asked.at_s).await;
        }
        let (mut evidence, mut others) = (evidence, Vec::new());
        if question.closure {
            (others, evidence) = self.decide_others(question, evidence, asked).await?;
        }
        let evidence = Arc::new(evidence);
        let settled = |decision| {
            Arc::new(Settled {
                decision: Arc::new(decision),
                evidence: evidence.clone(),
                whole_at_s: asked.whole_at_s,
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

/// What is decided without grace and, where that does not do, with it.
struct Graced<T> {
    plain: T,
    graced: Option<T>,
    /// With the acceptances of before where they were looked at.
    evidence: Evidence,
}

/// Decides without grace, and where that does not do, with the acceptances of before.
fn with_grace<T>(
    mut evidence: Evidence,
    acceptances: &Acceptances,
    decide: impl Fn(&Evidence) -> T,
    does: impl Fn(&T) -> bool,
) -> Graced<T> {
    evidence.earlier.clear();
    let plain = decide(&evidence);
    if !does(&plain) {
        evidence.earlier = acceptances.of(&evidence);
    }
    let is_graced = !evidence.earlier.is_empty();
    Graced {
        graced: is_graced.then(|| decide(&evidence)),
        plain,
        evidence,
    }
}

/// Runs work that takes its time on a thread of its own.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, NoAnswer> {
    let broken = |_| NoAnswer::Unavailable("the decision broke off".to_owned());
    tokio::task::spawn_blocking(work).await.map_err(broken)
}

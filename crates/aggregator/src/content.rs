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
use quorix_wire::content::ContentVerifier;
use tokio::time::Instant;

use crate::error::AskError;
use crate::gather::Gathered;
use crate::query::Query;
use crate::remembered::Moment;
use crate::service::Shared;

/// Paths that are fetched and recomputed at once.
const AT_ONCE: usize = 8;
/// Outputs that are read and decided on a thread of the runtime, at most.
const LITTLE: usize = 16;

impl Shared {
    /// Decides, in the order of the queries.
    pub(crate) async fn decide(
        self: &Arc<Self>,
        queries: Vec<Query>,
    ) -> Result<Vec<Arc<Decision>>, AskError> {
        self.decide_all(queries, false).await
    }

    /// Decides, in the order of the queries, then everything that they reach, ascending by hash part.
    pub(crate) async fn decide_with_closure(
        self: &Arc<Self>,
        queries: Vec<Query>,
    ) -> Result<Vec<Arc<Decision>>, AskError> {
        self.decide_all(queries, true).await
    }

    async fn decide_all(
        self: &Arc<Self>,
        asked: Vec<Query>,
        all_reached: bool,
    ) -> Result<Vec<Arc<Decision>>, AskError> {
        let closure = all_reached || self.policy.asks_for_references();
        let question = Arc::new(Question {
            asked,
            closure,
            all_reached,
        });
        // Most questions need no network: they are answered in one go.
        let mut state = match self.decide_at_once(&question).await? {
            AtHand::Known(decisions) => {
                self.metrics.decided(decisions.len());
                return Ok(decisions);
            }
            AtHand::Decided(decided) => decided,
            AtHand::Waiting(gathered, waiting) => {
                let gathered = self.gather_rest(gathered, waiting, closure).await?;
                self.decide_from(gathered, &question).await?
            }
        };
        let deadline = Instant::now() + self.config.content_budget;
        let mut tried = BTreeSet::new();
        loop {
            let Decided {
                decisions,
                open,
                mut gathered,
            } = state;
            let room = self.config.content_checks.saturating_sub(tried.len());
            let untried = open.into_iter().filter(|path| !tried.contains(path));
            let to_try: Vec<StorePath> = untried.take(room).collect();
            let verifier = self.content.as_ref().filter(|_| !to_try.is_empty());
            let Some(verifier) = verifier.filter(|_| Instant::now() < deadline) else {
                self.metrics.decided(decisions.len());
                return Ok(decisions);
            };
            tried.extend(to_try.iter().cloned());
            let verified = verify_content(verifier.as_ref(), to_try, deadline).await;
            let outputs = verified.iter().map(|(path, _)| path.hash_part());
            let outputs: BTreeSet<HashPart> = outputs.collect();
            gathered.evidence.self_verified.extend(verified);
            if closure {
                gathered = self.gather_reached(gathered, outputs).await?;
            }
            state = self.decide_from(gathered, &question).await?;
        }
    }

    /// Decides as far as nothing has to be waited for: what is little on this thread, more on one that may take its time.
    async fn decide_at_once(
        self: &Arc<Self>,
        question: &Arc<Question>,
    ) -> Result<AtHand, AskError> {
        let (shared, about) = (self.clone(), question.clone());
        if question.asked.len() > LITTLE || question.all_reached {
            let at_hand = move || Ok(shared.decide_at_hand(&about));
            return self.cores.run("deciding", at_hand).await?;
        }
        let little = move || Ok(shared.decide_little(&about));
        match self.cores.run_short("deciding", little).await?? {
            Little::Done(at_hand) => Ok(*at_hand),
            Little::Begun(begun) => {
                let (shared, about) = (self.clone(), question.clone());
                let rest = move || Ok(shared.decide_begun(begun, &about));
                self.cores.run("deciding", rest).await?
            }
        }
    }

    fn decide_at_hand(&self, question: &Question) -> Result<AtHand, AskError> {
        match self.begin(question)? {
            Start::Known(known) => Ok(AtHand::Known(known)),
            Start::Begun(begun) => self.decide_begun(begun, question),
        }
    }

    /// Decides on this thread, unless it turns out to be much.
    fn decide_little(&self, question: &Question) -> Result<Little, AskError> {
        let mut begun = match self.begin(question)? {
            Start::Known(known) => return Ok(Little::Done(Box::new(AtHand::Known(known)))),
            Start::Begun(begun) => begun,
        };
        let Begun {
            gathered, wanted, ..
        } = begun.as_mut();
        let waiting = self.read_up_to(LITTLE, gathered, wanted, question.closure)?;
        if !waiting.is_empty() {
            let waiting = AtHand::Waiting(begun.gathered, waiting);
            return Ok(Little::Done(Box::new(waiting)));
        }
        if !begun.wanted.is_empty() {
            return Ok(Little::Begun(begun));
        }
        let at_hand = self.conclude_at_hand(begun, question);
        Ok(Little::Done(Box::new(at_hand)))
    }

    /// Goes on with what was begun, unless something has to be waited for.
    fn decide_begun(&self, mut begun: Box<Begun>, question: &Question) -> Result<AtHand, AskError> {
        let wanted = std::mem::take(&mut begun.wanted);
        let waiting = self.read_on(&mut begun.gathered, wanted, question.closure)?;
        if !waiting.is_empty() {
            return Ok(AtHand::Waiting(begun.gathered, waiting));
        }
        Ok(self.conclude_at_hand(begun, question))
    }

    /// What a question begins with, or the decisions if they are remembered.
    fn begin(&self, question: &Question) -> Result<Start, AskError> {
        let stand = self.stand()?;
        let outputs = question.asked.iter().map(|query| &query.hash_part);
        let moment = &stand.moment;
        let now_s = (self.clock)();
        if !question.all_reached
            && let Some(known) = self.remembered.all(moment, outputs.clone(), now_s)
        {
            return Ok(Start::Known(known));
        }
        Ok(Start::Begun(Box::new(Begun {
            gathered: self.nothing_read_at(&stand),
            wanted: outputs.cloned().collect(),
            moment: moment.clone(),
            at_s: now_s,
        })))
    }

    /// Decides once all is read.
    fn conclude_at_hand(&self, begun: Box<Begun>, question: &Question) -> AtHand {
        let decided = self.decided(begun.gathered, question);
        let is_final = decided.open.is_empty() || self.content.is_none();
        // The time may have come for something since the question was put.
        if is_final && decided.gathered.is_of_logs_alone(&self.policy) {
            let decisions = &decided.decisions;
            self.remembered.keep(&begun.moment, decisions, begun.at_s);
        }
        // Decided in full: what it was decided from is let go of here, which takes its time too.
        if is_final {
            AtHand::Known(decided.decisions)
        } else {
            AtHand::Decided(decided)
        }
    }

    /// Decides from what was gathered, on a thread that may take its time.
    async fn decide_from(
        self: &Arc<Self>,
        gathered: Gathered,
        question: &Arc<Question>,
    ) -> Result<Decided, AskError> {
        let (shared, question) = (self.clone(), question.clone());
        let decided = move || Ok(shared.decided(gathered, &question));
        Ok(self.cores.run("deciding", decided).await?)
    }

    fn decided(&self, gathered: Gathered, question: &Question) -> Decided {
        let mut queries = question.asked.clone();
        if question.all_reached {
            queries.extend(reached_beyond(&question.asked, &gathered));
        }
        let parts = queries.iter().map(|query| query.hash_part.clone());
        let parts: Vec<HashPart> = parts.collect();
        let decisions = decide_many(&self.policy, &gathered.evidence, &parts, (self.clock)());
        Decided {
            open: blocking_paths(&queries, &decisions, &gathered.evidence),
            decisions: decisions.into_iter().map(Arc::new).collect(),
            gathered,
        }
    }
}

/// What is asked in one call.
struct Question {
    asked: Vec<Query>,
    /// Whether references are followed.
    closure: bool,
    /// Whether everything that is reached is decided too.
    all_reached: bool,
}

/// A question whose outputs are read.
struct Begun {
    gathered: Gathered,
    /// What is to be read next.
    wanted: BTreeSet<HashPart>,
    /// How the logs stood.
    moment: Arc<Moment>,
    /// POSIX seconds.
    at_s: u64,
}

/// What there is when a question is put.
enum Start {
    /// The decisions: they were remembered.
    Known(Vec<Arc<Decision>>),
    Begun(Box<Begun>),
}

/// What came of a question that may be little.
enum Little {
    Done(Box<AtHand>),
    /// It is more than a thread of the runtime should do.
    Begun(Box<Begun>),
}

/// How far a question was answered without the network.
enum AtHand {
    /// Nothing could change it.
    Known(Vec<Arc<Decision>>),
    Decided(Decided),
    /// What was gathered, and the outputs that something is waited for of.
    Waiting(Gathered, BTreeSet<HashPart>),
}

/// Decisions, and what could still change them.
struct Decided {
    decisions: Vec<Arc<Decision>>,
    /// Paths without which some decision is a refusal, and that may turn out to need no votes.
    open: BTreeSet<StorePath>,
    gathered: Gathered,
}

async fn verify_content(
    verifier: &dyn ContentVerifier,
    paths: Vec<StorePath>,
    deadline: Instant,
) -> Vec<(StorePath, Fingerprint)> {
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

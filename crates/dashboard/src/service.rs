//! Asks the aggregator and puts pages together. Keeps nothing between two requests: every page is made from fresh
//! answers. Knows no HTTP.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use prometheus_client::registry::Registry;
use quorix_wire::client::AggregatorClient;
use quorix_wire::pb;

use crate::error::SourceError;
use crate::metrics::Metrics;
use crate::source::{Answer, Source};
use crate::view::disagreements::{Disagreements, Filter, PAGE_SIZE};
use crate::view::feed;
use crate::view::log::LogPage;
use crate::view::output::OutputPage;
use crate::view::overview::{DISAGREEMENTS, Overview};
use crate::view::policy::{PolicyPage, Voices};
use crate::view::problem::Problem;
use crate::view::search::{HITS_MAX, QUERY_BYTES_MAX, SearchPage, Target};

/// How long a page waits for the aggregator.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// POSIX seconds, now.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The dashboard. Cheap to clone.
#[derive(Clone)]
pub struct Dashboard {
    inner: Arc<Inner>,
}

struct Inner {
    source: Arc<dyn Source>,
    policy: RwLock<Arc<PolicyText>>,
    clock: Clock,
    metrics: Metrics,
}

/// The policy in force, as text, and who votes in it.
struct PolicyText {
    text: String,
    voices: Voices,
}

impl PolicyText {
    fn new(text: String) -> Arc<Self> {
        let voices = Voices::new(&text);
        Arc::new(Self { text, voices })
    }
}

impl fmt::Debug for Dashboard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dashboard").finish_non_exhaustive()
    }
}

/// What a search leads to.
#[derive(Debug)]
pub enum Found {
    /// The page of this one output: the hash part or the base name.
    Output(String),
    /// A list.
    List(Box<SearchPage>),
}

impl Dashboard {
    /// A dashboard over an aggregator. `policy_text` is the policy file as the aggregator has it.
    pub fn new(
        client: AggregatorClient,
        policy_text: String,
        clock: Clock,
        registry: &mut Registry,
    ) -> Self {
        Self::with_source(Arc::new(client), policy_text, clock, registry)
    }

    /// A dashboard over anything that answers its questions.
    pub fn with_source(
        source: Arc<dyn Source>,
        policy_text: String,
        clock: Clock,
        registry: &mut Registry,
    ) -> Self {
        let metrics = Metrics::register(registry);
        Self {
            inner: Arc::new(Inner {
                source,
                policy: RwLock::new(PolicyText::new(policy_text)),
                clock,
                metrics,
            }),
        }
    }

    /// Shows another policy from now on.
    pub fn show_policy(&self, text: String) {
        let policy = self.inner.policy.write();
        *policy.unwrap_or_else(PoisonError::into_inner) = PolicyText::new(text);
    }

    fn policy_text(&self) -> Arc<PolicyText> {
        let policy = self.inner.policy.read();
        Arc::clone(&policy.unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }

    fn now_s(&self) -> u64 {
        (self.inner.clock)()
    }

    /// Is all well?
    ///
    /// # Errors
    /// When the aggregator does not answer.
    pub async fn overview(&self) -> Result<Overview, Box<Problem>> {
        let source = &self.inner.source;
        let request = pb::ListDisagreementsRequest {
            page_size: DISAGREEMENTS,
            ..Default::default()
        };
        let (counts, logs, disagreements) = tokio::join!(
            self.answered(source.overview()),
            self.answered(source.logs()),
            self.answered(source.disagreements(request)),
        );
        Ok(Overview::new(
            &counts?,
            &logs?,
            &disagreements?.outputs,
            &self.policy_text().voices.names,
            self.now_s(),
        ))
    }

    /// The newest events as an Atom feed.
    ///
    /// # Errors
    /// When the aggregator does not answer.
    pub async fn feed(&self) -> Result<String, Box<Problem>> {
        let events = self.answered(self.inner.source.events()).await?;
        Ok(feed::atom(&events, self.now_s()))
    }

    /// The outputs about which builders disagree.
    ///
    /// # Errors
    /// When the filter is too long, or the aggregator does not answer.
    pub async fn disagreements(&self, filter: &Filter) -> Result<Disagreements, Box<Problem>> {
        if let Some(part) = filter.too_long() {
            return Err(Box::new(Problem::bad_address(part)));
        }
        let request = pb::ListDisagreementsRequest {
            page_size: PAGE_SIZE,
            page_token: filter.after.clone(),
            name: filter.name.clone(),
            builder: filter.builder.clone(),
        };
        let source = &self.inner.source;
        let (counts, answer) = tokio::join!(
            self.answered(source.overview()),
            self.answered(source.disagreements(request))
        );
        Ok(Disagreements::new(
            filter,
            counts?.disagree,
            &answer?,
            &self.policy_text().voices.names,
            self.now_s(),
        ))
    }

    /// One output: a hash part, a base name or an absolute store path.
    ///
    /// # Errors
    /// When `text` is none of them, or the aggregator does not answer.
    pub async fn output(&self, text: &str) -> Result<OutputPage, Box<Problem>> {
        let output = text.rsplit('/').next().unwrap_or_default();
        let is_output = output.parse::<quorix_nix::store_path::HashPart>().is_ok()
            || output.parse::<quorix_nix::store_path::StorePath>().is_ok();
        if !is_output {
            return Err(Box::new(Problem::no_output(text)));
        }
        let decision = self
            .answered(self.inner.source.decide(output.to_owned()))
            .await?;
        Ok(OutputPage::new(&decision, self.now_s()))
    }

    /// One log.
    ///
    /// # Errors
    /// When there is no such log, or the aggregator does not answer.
    pub async fn log(&self, name: &str) -> Result<LogPage, Box<Problem>> {
        let log = self.log_status(name).await?;
        Ok(LogPage::new(
            &log,
            self.policy_text().voices.line(name),
            self.now_s(),
        ))
    }

    /// The state of one log, by its builder's name or its origin.
    ///
    /// # Errors
    /// When there is no such log, or the aggregator does not answer.
    pub async fn log_status(&self, name: &str) -> Result<pb::LogStatus, Box<Problem>> {
        let logs = self.answered(self.inner.source.logs()).await?;
        let found = logs
            .into_iter()
            .find(|log| log.name == name || log.name.is_empty() && log.origin == name);
        found.ok_or_else(|| Box::new(Problem::no_log(name)))
    }

    /// What a query leads to.
    ///
    /// # Errors
    /// When the query is too long, or the aggregator does not answer.
    pub async fn search(&self, query: &str) -> Result<Found, Box<Problem>> {
        if query.len() > QUERY_BYTES_MAX {
            return Err(Box::new(Problem::bad_address("q")));
        }
        let target = Target::new(query);
        let outputs = match &target {
            Target::Output(output) => return Ok(Found::Output(output.clone())),
            Target::Nothing => Vec::new(),
            Target::Name(name) | Target::Derivation(name) => {
                self.answered(self.inner.source.search(name.clone(), HITS_MAX))
                    .await?
            }
        };
        let page = SearchPage::new(
            query,
            &target,
            &outputs,
            &self.policy_text().voices.names,
            self.now_s(),
        );
        Ok(Found::List(Box::new(page)))
    }

    /// The policy file.
    #[must_use]
    pub fn policy(&self) -> PolicyPage {
        PolicyPage::new(&self.policy_text().text, self.now_s())
    }

    async fn answered<T>(&self, answer: Answer<'_, T>) -> Result<T, Box<Problem>> {
        let answer = tokio::time::timeout(PATIENCE, answer)
            .await
            .unwrap_or(Err(SourceError::Slow));
        answer.map_err(|error| {
            self.inner.metrics.failure(error.kind());
            tracing::warn!(%error, "the aggregator gave no answer");
            Box::new(Problem::source(&error))
        })
    }
}

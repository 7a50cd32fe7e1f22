//! From configuration to running roles: what each needs is opened, bound and started in order.

pub mod access;
pub mod aggregator;
pub mod builder;
pub mod dashboard;
pub mod keys;
pub mod log;
pub mod metrics;
pub mod mirror;
pub mod one_role;
pub mod policy;
pub mod resolver;
#[cfg(test)]
mod tests;
pub mod tls;
pub mod witness;

use std::sync::Arc;

use axum::Router;
use prometheus_client::registry::Registry;
use quorix_trust::policy::Policy;
use quorix_wire::content::ContentVerifier;
use quorix_wire::fetch::{FetchLimits, Fetcher};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::commands::{now_s, read_policy};
use crate::config::Config;
use crate::listen::{self, Bound, tls::ServerTls};
use crate::output::Failure;
use crate::reload::Reload;

/// Seconds since 1970.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Roles that run.
pub struct Node {
    tasks: JoinSet<Result<(), Failure>>,
    ended: Option<Result<(), Failure>>,
}

/// What the roles share while they are started.
pub struct Start<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// The policy, where one is configured.
    pub policy: Option<Arc<Policy>>,
    /// Bounded HTTP.
    pub fetcher: Fetcher,
    /// The certificate of the `tls://` listeners, where there is one.
    pub tls: Option<Arc<ServerTls>>,
    /// Files that are read again when they change.
    pub reload: Reload,
    /// The roles that go by the policy.
    pub deciders: policy::Deciders,
    /// The time.
    pub clock: Clock,
    /// All metrics.
    pub registry: Registry,
    /// Cancelled when everything is to stop.
    pub stop: CancellationToken,
    /// Everything that runs until then.
    pub tasks: JoinSet<Result<(), Failure>>,
}

impl Start<'_> {
    /// Serves these routes on every bound address until everything is to stop.
    fn serve_http(&mut self, bound: Vec<Bound>, router: &Router) {
        for bound in bound {
            let serving = listen::serve_http(bound, router.clone(), self.stop.clone());
            self.tasks.spawn(serving);
        }
    }
}

/// Starts every role that is switched on. All addresses are bound when this returns.
///
/// # Errors
/// A key, the policy or a database cannot be used, or an address is taken. Nothing keeps running then.
pub async fn start(config: &Config, stop: CancellationToken) -> Result<Node, Failure> {
    let policy = config
        .policy
        .as_deref()
        .map(read_policy)
        .transpose()?
        .map(Arc::new);
    for warning in policy.iter().flat_map(|policy| &policy.warnings) {
        tracing::warn!("policy: {warning}");
    }
    let fetcher = Fetcher::with_tls(FetchLimits::default(), &tls::client(&config.tls)?)
        .map_err(Failure::unknown)?;
    let clock: Clock = Arc::new(now_s);
    let mut start = Start {
        config,
        policy,
        fetcher,
        tls: None,
        reload: Reload::default(),
        deciders: policy::Deciders::default(),
        clock,
        registry: Registry::default(),
        stop,
        tasks: JoinSet::new(),
    };
    tls::start(&mut start)?;
    log::start(&mut start).await?;
    witness::start(&mut start).await?;
    builder::start(&mut start).await?;
    let checker = resolver::checker(&mut start)?;
    let content = checker
        .as_ref()
        .map(|checker| checker.content.clone() as Arc<dyn ContentVerifier>);
    let local = aggregator::start(&mut start, content).await?;
    resolver::start(&mut start, local.as_ref(), checker).await?;
    dashboard::start(&mut start, local.as_ref()).await?;
    policy::start(&mut start);
    mirror::start(&mut start).await?;
    metrics::start(&mut start).await?;
    start.tasks.spawn(start.reload.run(start.stop.clone()));
    Ok(Node {
        tasks: start.tasks,
        ended: None,
    })
}

impl Node {
    /// Waits until a role ends by itself, which it should not.
    pub async fn failed(&mut self) {
        if let Some(ended) = self.tasks.join_next().await {
            self.ended = Some(flatten(ended));
        }
    }

    /// Waits until everything has ended.
    ///
    /// # Errors
    /// The first failure of a role.
    pub async fn ended(mut self) -> Result<(), Failure> {
        let mut result = self.ended.unwrap_or(Ok(()));
        while let Some(ended) = self.tasks.join_next().await {
            result = result.and(flatten(ended));
        }
        result
    }
}

fn flatten(ended: Result<Result<(), Failure>, tokio::task::JoinError>) -> Result<(), Failure> {
    ended.unwrap_or_else(|error| {
        Err(Failure::unknown(format!(
            "a role ended unexpectedly: {error}"
        )))
    })
}

/// What every public router gets: a panic in one request is a 500, never the end of the role.
fn observe(router: Router) -> Router {
    router.layer(tower_http::catch_panic::CatchPanicLayer::new())
}

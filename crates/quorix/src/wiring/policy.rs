//! The policy while the program runs: read again when one of its files changes, taken up as a whole or not at all.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use quorix_aggregator::service::Aggregator;
use quorix_dashboard::service::Dashboard;
use quorix_resolver::service::Resolver;
use quorix_trust::policy::Policy;
use quorix_wire::client::AggregatorClient;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use super::{Start, aggregator};
use crate::commands::read_policy_and_files;
use crate::output::Failure;

/// The roles of this process that go by the policy.
#[derive(Default)]
pub struct Deciders {
    /// The aggregator.
    pub aggregator: Option<Aggregator>,
    /// The resolver, and its way to an aggregator.
    pub resolver: Option<(Arc<Resolver>, Channel)>,
    /// The dashboard.
    pub dashboard: Option<Dashboard>,
}

/// Has the policy read again when one of its files changes, if there is one. A new one that cannot be used changes
/// nothing, and the log says why.
pub fn start(start: &mut Start<'_>) {
    let (Some(file), Some(policy)) = (start.config.policy.clone(), start.policy.clone()) else {
        return;
    };
    let (config, deciders) = (start.config.clone(), std::mem::take(&mut start.deciders));
    let files = Arc::new(Mutex::new(read_policy_and_files(&file).1));
    let (sender, receiver) = watch::channel(policy);
    let named = Arc::clone(&files);
    start.reload.watch_those(
        "the policy",
        move || locked(&named),
        move || {
            let (policy, named) = read_policy_and_files(&file);
            let policy = policy.and_then(|policy| {
                if let Some(section) = &config.aggregator {
                    aggregator::check(&config, section, &policy)?;
                }
                Ok(policy)
            });
            // Also of one that is refused: it may be mended in any of its files.
            *files.lock().unwrap_or_else(PoisonError::into_inner) = named;
            let policy = policy.map_err(|error| error.to_string())?;
            for warning in &policy.warnings {
                tracing::warn!("policy: {warning}");
            }
            sender.send_replace(Arc::new(policy));
            Ok(())
        },
    );
    let running = keep_up(deciders, receiver, start.stop.clone());
    start.tasks.spawn(running);
}

/// Hands each new policy to every role. The aggregator first: the others ask it.
async fn keep_up(
    deciders: Deciders,
    mut policies: watch::Receiver<Arc<Policy>>,
    stop: CancellationToken,
) -> Result<(), Failure> {
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            changed = policies.changed() => if changed.is_err() {
                stop.cancelled().await;
                return Ok(());
            },
        }
        let policy = policies.borrow_and_update().clone();
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = deciders.take_up(policy) => {}
        }
    }
}

impl Deciders {
    async fn take_up(&self, policy: Arc<Policy>) {
        if let Some(aggregator) = &self.aggregator {
            let taken_up = aggregator.reload(policy.clone(), aggregator::FIRST_LOOK);
            if let Err(error) = taken_up.await {
                tracing::error!("the policy: not taken up, the one in force stays: {error}");
                return;
            }
        }
        if let Some((resolver, channel)) = &self.resolver {
            let client = AggregatorClient::new(channel.clone(), policy.clone());
            resolver.reload(client, policy.clone());
        }
        if let Some(dashboard) = &self.dashboard {
            dashboard.show_policy(policy.text.clone());
        }
        tracing::info!(
            "the policy is in force, with {} logs",
            policy.builders.len()
        );
    }
}

fn locked(files: &Mutex<Vec<PathBuf>>) -> Vec<PathBuf> {
    let files = files.lock().unwrap_or_else(PoisonError::into_inner);
    files.clone()
}

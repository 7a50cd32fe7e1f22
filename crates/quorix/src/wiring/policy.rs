//! The policy while the program runs: read again when one of its files changes, taken up as a whole or not at all.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quorix_aggregator::service::Aggregator;
use quorix_dashboard::service::Dashboard;
use quorix_resolver::service::Resolver;
use quorix_trust::policy::Policy;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Start, aggregator};
use crate::commands::read_policy_and_files;
use crate::config::Config;
use crate::output::Failure;
use crate::reload::Reload;

/// The roles of this process that go by the policy.
#[derive(Default)]
pub struct Deciders {
    /// The aggregator.
    pub aggregator: Option<Aggregator>,
    /// The resolver.
    pub resolver: Option<Arc<Resolver>>,
    /// The dashboard.
    pub dashboard: Option<Dashboard>,
}

/// How long after a policy could not be taken up that is tried again.
const RETRY: Duration = Duration::from_secs(30);

/// Has the policy read again when one of its files changes, if there is one. A new one that cannot be used changes
/// nothing, and the log says why.
pub fn start(start: &mut Start<'_>) {
    let (Some(file), Some(policy)) = (start.config.policy.clone(), start.policy.clone()) else {
        return;
    };
    let deciders = Arc::new(std::mem::take(&mut start.deciders));
    let policies = watch(&mut start.reload, file, start.config.clone(), policy);
    let take_up = move |policy| {
        let deciders = deciders.clone();
        async move { deciders.take_up(policy).await }
    };
    let running = keep_up(take_up, policies, start.stop.clone());
    start.tasks.spawn(running);
}

/// The policy in force, and each other one that is in its files from now on.
fn watch(
    reload: &mut Reload,
    file: PathBuf,
    config: Config,
    in_force: Arc<Policy>,
) -> watch::Receiver<Arc<Policy>> {
    let files = Arc::new(Mutex::new(read_policy_and_files(&file).1));
    let (sender, receiver) = watch::channel(in_force);
    let named = Arc::clone(&files);
    let read = Arc::new(move || {
        let (policy, named) = read_policy_and_files(&file);
        // Also of one that is refused: it may be mended in any of its files.
        *files.lock().unwrap_or_else(PoisonError::into_inner) = named;
        let policy = policy.map_err(|error| error.to_string())?;
        if is_same(&policy, &sender.borrow()) {
            return Ok(());
        }
        if let Some(section) = &config.aggregator {
            let checked = aggregator::check(&config, section, &policy);
            checked.map_err(|error| error.to_string())?;
        }
        for warning in &policy.warnings {
            tracing::warn!("policy: {warning}");
        }
        sender.send_replace(Arc::new(policy));
        Ok(())
    });
    let again = Arc::clone(&read);
    reload.watch_those("the policy", move || locked(&named), move || again());
    // The files are watched as of now, and the policy in force was read before: somebody may have edited it meanwhile.
    if let Err(reason) = read() {
        tracing::warn!("the policy: not taken up, what was in use stays: {reason}");
    }
    receiver
}

/// Whether two policies say the same.
fn is_same(one: &Policy, other: &Policy) -> bool {
    (&one.text, &one.sets) == (&other.text, &other.sets)
}

/// Hands each new policy to every role, again after a while if that failed.
async fn keep_up<F: Future<Output = bool>>(
    take_up: impl Fn(Arc<Policy>) -> F,
    mut policies: watch::Receiver<Arc<Policy>>,
    stop: CancellationToken,
) -> Result<(), Failure> {
    let mut has_failed = false;
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            changed = policies.changed() => if changed.is_err() {
                stop.cancelled().await;
                return Ok(());
            },
            () = tokio::time::sleep(RETRY), if has_failed => {}
        }
        let policy = policies.borrow_and_update().clone();
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            is_taken_up = take_up(policy) => has_failed = !is_taken_up,
        }
    }
}

impl Deciders {
    /// Whether it is in force now. The aggregator first: the others ask it.
    async fn take_up(&self, policy: Arc<Policy>) -> bool {
        if let Some(aggregator) = &self.aggregator {
            let taken_up = aggregator.reload(policy.clone(), aggregator::FIRST_LOOK);
            if let Err(error) = taken_up.await {
                tracing::error!(
                    "the policy: not taken up, the one in force stays, and it is tried again in {} s: {error}",
                    RETRY.as_secs()
                );
                return false;
            }
        }
        if let Some(resolver) = &self.resolver {
            resolver.reload(policy.clone());
        }
        if let Some(dashboard) = &self.dashboard {
            dashboard.show_policy(policy.text.clone());
        }
        tracing::info!(
            "the policy is in force, with {} logs",
            policy.builders.len()
        );
        true
    }
}

fn locked(files: &Mutex<Vec<PathBuf>>) -> Vec<PathBuf> {
    let files = files.lock().unwrap_or_else(PoisonError::into_inner);
    files.clone()
}

#[cfg(test)]
mod tests;

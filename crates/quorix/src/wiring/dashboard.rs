//! The dashboard role: an unprivileged client of an aggregator.

use quorix_dashboard::service::Dashboard;
use quorix_wire::channel;
use quorix_wire::client::AggregatorClient;
use tonic::transport::Channel;

use super::{Start, observe};
use crate::listen;
use crate::output::Failure;

/// Starts the dashboard, if there is one in the configuration.
///
/// # Errors
/// The address cannot be used.
pub async fn start(start: &mut Start<'_>, local: Option<&Channel>) -> Result<(), Failure> {
    let (Some(section), Some(policy)) = (&start.config.dashboard, &start.policy) else {
        return Ok(());
    };
    let listener = listen::tcp("dashboard.listen", section.listen).await?;
    let channel = match (&section.aggregator, local) {
        (Some(address), _) => channel::connect(address).map_err(Failure::wrong)?,
        (None, Some(local)) => local.clone(),
        (None, None) => {
            return Err(Failure::wrong(
                "dashboard.aggregator: say where an aggregator answers",
            ));
        }
    };
    let client = AggregatorClient::new(channel, policy.clone());
    let dashboard = Dashboard::new(
        client,
        policy.text.clone(),
        start.clock.clone(),
        &mut start.registry,
    );
    tracing::info!("dashboard: http://{}", section.listen);
    let router = observe(quorix_dashboard::routes::router(dashboard));
    start
        .tasks
        .spawn(listen::serve_http(listener, router, start.stop.clone()));
    Ok(())
}

//! The dashboard role: an unprivileged client of an aggregator.

use quorix_dashboard::service::Dashboard;
use quorix_wire::client::AggregatorClient;
use tonic::transport::Channel;

use super::{Start, observe, tls};
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
    let bound = listen::http("dashboard.listen", &section.listen, start.tls.as_ref()).await?;
    let channel = match (&section.aggregator, local) {
        (Some(address), _) => tls::channel(address, &start.config.tls)?,
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
    tracing::info!("dashboard: {}", section.listen);
    start.deciders.dashboard = Some(dashboard.clone());
    let router = observe(quorix_dashboard::routes::router(dashboard));
    start.serve_http(bound, &router);
    Ok(())
}

//! The log role: its database, its sequencer, and two listeners that never mix.

use std::sync::Arc;

use quorix_log::config::LogConfig;
use quorix_log::service::Log;
use quorix_store::RocksLog;
use tonic::service::Routes;

use super::{Start, keys, observe};
use crate::listen;
use crate::output::Failure;

/// Starts the log, if there is one in the configuration.
///
/// # Errors
/// Key, database or address cannot be used.
pub async fn start(start: &mut Start<'_>) -> Result<(), Failure> {
    let Some(section) = &start.config.log else {
        return Ok(());
    };
    let key = keys::log_key(&section.key, &section.origin)?;
    let public = listen::tcp("log.listen.public", section.listen.public).await?;
    let submit = listen::grpc("log.listen.submit", &section.listen.submit).await?;
    let dir = start.config.role_dir("log");
    let store = RocksLog::open(&dir).map_err(Failure::unknown)?;
    let config = LogConfig::new(&section.origin);
    let log =
        Log::start(Arc::new(store), key, config, &mut start.registry).map_err(Failure::unknown)?;
    tracing::info!(
        "log {}: public http://{}, submissions {}",
        section.origin,
        section.listen.public,
        section.listen.submit
    );

    let router = observe(quorix_log::routes::router(&log));
    start
        .tasks
        .spawn(listen::serve_http(public, router, start.stop.clone()));
    let routes = Routes::new(quorix_log::grpc::server(log.clone()));
    let (stop, serving) = (
        start.stop.clone(),
        listen::serve_grpc(submit, routes, start.stop.clone()),
    );
    start.tasks.spawn(async move {
        let served = serving.await;
        stop.cancelled().await;
        log.shutdown().await;
        served
    });
    Ok(())
}

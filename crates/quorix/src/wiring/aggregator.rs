//! The aggregator role, and the channel to it for roles in the same process. Its listeners speak gRPC, grpc-web and JSON.

mod add_ons;
mod evidence;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderValue;
use axum::middleware::from_fn;
use quorix_aggregator::config::AggregatorConfig;
use quorix_aggregator::service::Aggregator;
use quorix_store::RocksIndex;
use quorix_trust::policy::Policy;
use quorix_wire::channel;
use quorix_wire::content::ContentVerifier;
use tonic::service::Routes;
use tonic::transport::{Channel, Server};
use tonic_web::GrpcWebLayer;
use tower_http::cors::CorsLayer;

use super::Start;
use crate::config::{AggregatorSection, Config};
use crate::listen::{self, tls::Clients};
use crate::output::Failure;

/// How long the other roles wait for the first look at every log.
pub(super) const FIRST_LOOK: Duration = Duration::from_secs(10);

/// Starts the aggregator, if there is one in the configuration. Returns the channel to it.
///
/// # Errors
/// Policy, database or address cannot be used.
pub async fn start(
    start: &mut Start<'_>,
    content: Option<Arc<dyn ContentVerifier>>,
) -> Result<Option<Channel>, Failure> {
    let (Some(section), Some(policy)) = (&start.config.aggregator, &start.policy) else {
        return Ok(None);
    };
    let keys = add_ons::read(start.config, section, policy)?;
    let clients = if section.public || start.config.tls.client_ca.is_none() {
        Clients::Everyone
    } else {
        Clients::Known
    };
    let tls = start.tls.as_ref();
    let bound = listen::web("aggregator.listen", &section.listen, tls, clients).await?;
    let dir = start.config.role_dir("aggregator");
    not_cut_off(&dir)?;
    let index = RocksIndex::open(&dir).map_err(Failure::unknown)?;
    let aggregator = Aggregator::start(
        Arc::new(index),
        policy.clone(),
        settings(section),
        start.fetcher.clone(),
        content,
        start.clock.clone(),
        &mut start.registry,
    )
    .map_err(Failure::unknown)?;
    tracing::info!(
        "aggregator: {}, following {} logs",
        section.listen,
        policy.builders.len()
    );

    add_ons::start(start, section, keys, &aggregator)?;
    start.deciders.aggregator = Some(aggregator.clone());
    let running = aggregator.clone();
    let routes = routes(&aggregator).await?;
    let outside = with_web(&aggregator, routes.clone(), &section.allow_origins)?;
    let serving = listen::serve_web_at(bound, outside, start.stop.clone());
    let (local, incoming) = channel::in_memory();
    let inside = Server::builder()
        .add_routes(routes)
        .serve_with_incoming_shutdown(incoming, start.stop.clone().cancelled_owned());
    let stop = start.stop.clone();
    start.tasks.spawn(async move {
        let inside = tokio::spawn(inside);
        let served = serving.await;
        stop.cancelled().await;
        inside.abort();
        aggregator.shutdown().await;
        served
    });
    // Nix remembers a refusal for an hour: nobody is answered before the logs were asked.
    running.looked_at_all(FIRST_LOOK).await;
    Ok(Some(local))
}

/// Where the old database is kept when the index is built anew beside it.
#[must_use]
pub fn kept_beside(dir: &Path) -> PathBuf {
    dir.with_extension("old")
}

/// Refuses to begin an empty database where only the old one is: building the index anew was cut off between two renames.
///
/// # Errors
/// That it was, and what to do.
pub fn not_cut_off(dir: &Path) -> Result<(), Failure> {
    let kept = kept_beside(dir);
    if dir.exists() || !kept.exists() {
        return Ok(());
    }
    Err(Failure::wrong(format!(
        "building the index anew was cut off, and {} is this aggregator's database; rename it to {}",
        kept.display(),
        dir.display()
    )))
}

fn settings(section: &AggregatorSection) -> AggregatorConfig {
    AggregatorConfig {
        poll_interval: section.poll_interval.0,
        stale_after: section.stale_after.0,
        ..AggregatorConfig::default()
    }
}

/// Reads what [`start`] reads, and starts nothing.
///
/// # Errors
/// A value cannot work, or a key cannot be used.
pub fn check(config: &Config, section: &AggregatorSection, policy: &Policy) -> Result<(), Failure> {
    let settings = settings(section).check();
    settings.map_err(|error| Failure::wrong(format!("[aggregator] {error}")))?;
    cors(&section.allow_origins).map(drop)?;
    add_ons::read(config, section, policy).map(|_| ())
}

/// The same services in grpc-web too, and as JSON below `/api`, for pages of these origins.
fn with_web(
    aggregator: &Aggregator,
    routes: Routes,
    allow_origins: &[String],
) -> Result<Routes, Failure> {
    let api = quorix_aggregator::routes::router(aggregator.clone()).map_err(Failure::unknown)?;
    let grpc = routes
        .into_axum_router()
        .layer(from_fn(listen::deadline::honoured))
        .layer(GrpcWebLayer::new());
    let api = api.layer(from_fn(listen::deadline::honoured));
    Ok(grpc.merge(api).layer(cors(allow_origins)?).into())
}

/// Which pages of other origins may read what is answered: none, unless they are named.
fn cors(allow_origins: &[String]) -> Result<CorsLayer, Failure> {
    let origin = |text: &String| {
        let is_origin = text.split_once("://").is_some_and(|(scheme, host)| {
            ["http", "https"].contains(&scheme) && !host.is_empty() && !host.contains(['/', '*'])
        });
        let value = is_origin.then(|| HeaderValue::from_str(text).ok());
        value.flatten().ok_or_else(|| {
            Failure::wrong(format!(
                "aggregator.allow_origins: `{text}` is no origin; write `https://example.org`"
            ))
        })
    };
    let origins: Vec<HeaderValue> = allow_origins.iter().map(origin).collect::<Result<_, _>>()?;
    let header = axum::http::HeaderName::from_static;
    Ok(CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([axum::http::Method::GET, axum::http::Method::POST])
        .allow_headers(["content-type", "grpc-timeout", "x-grpc-web", "x-user-agent"].map(header))
        .expose_headers(["grpc-status", "grpc-message"].map(header)))
}

/// The service with health and reflection.
async fn routes(aggregator: &Aggregator) -> Result<Routes, Failure> {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter
        .set_service_status(
            "quorix.v1.AggregatorService",
            tonic_health::ServingStatus::Serving,
        )
        .await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(quorix_wire::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .map_err(Failure::unknown)?;
    let mut routes = Routes::builder();
    routes
        .add_service(quorix_aggregator::grpc::server(aggregator.clone()))
        .add_service(quorix_aggregator::grpc::follow_server(aggregator.clone()))
        .add_service(health)
        .add_service(reflection);
    Ok(routes.routes())
}

//! The resolver role: the substituter, and the check of content-addressed paths that the aggregator borrows.

use std::sync::Arc;

use quorix_resolver::config::ResolverConfig;
use quorix_resolver::content::ContentChecker;
use quorix_resolver::service::Resolver;
use quorix_resolver::sources::Source;
use quorix_wire::client::AggregatorClient;
use tonic::transport::Channel;

use super::{Start, keys, observe, tls};
use crate::listen;
use crate::output::Failure;

/// What fetches and checks bytes, made before the roles that use it.
pub struct Checker {
    config: ResolverConfig,
    /// Recomputes content-addressed paths.
    pub content: Arc<ContentChecker>,
}

/// Opens the sources and the spool, if there is a resolver in the configuration.
///
/// # Errors
/// Key, sources or spool cannot be used.
pub fn checker(start: &mut Start<'_>) -> Result<Option<Checker>, Failure> {
    let Some(section) = &start.config.resolver else {
        return Ok(None);
    };
    let key = keys::nix_key(&section.key)?;
    let sources = section
        .sources
        .iter()
        .map(|source| source.parse::<Source>());
    let config = ResolverConfig {
        sources: sources.collect::<Result<_, _>>().map_err(Failure::wrong)?,
        priority: section.priority,
        ..ResolverConfig::new(key, start.config.role_dir("resolver"))
    };
    let content = ContentChecker::new(
        &config,
        &start.fetcher,
        start.clock.clone(),
        &mut start.registry,
    );
    Ok(Some(Checker {
        config,
        content: content.map_err(Failure::unknown)?,
    }))
}

/// Starts the substituter, if there is a resolver in the configuration.
///
/// # Errors
/// The spool or the address cannot be used.
pub async fn start(
    start: &mut Start<'_>,
    local: Option<&Channel>,
    checker: Option<Checker>,
) -> Result<(), Failure> {
    let (Some(section), Some(policy), Some(checker)) =
        (&start.config.resolver, &start.policy, checker)
    else {
        return Ok(());
    };
    let bound = listen::http("resolver.listen", &section.listen, start.tls.as_ref()).await?;
    let channel = match (&section.aggregator, local) {
        (Some(address), _) => tls::channel(address, &start.config.tls)?,
        (None, Some(local)) => local.clone(),
        (None, None) => {
            return Err(Failure::wrong(
                "resolver.aggregator: say where an aggregator answers",
            ));
        }
    };
    let mut client = AggregatorClient::new(channel, policy.clone());
    if section.complete {
        client = client.completing_all(start.fetcher.clone());
    }
    let key = checker.config.key.public_key();
    let Checker { config, content } = checker;
    let resolver = Resolver::new(
        client,
        policy.clone(),
        config,
        content,
        start.clock.clone(),
        &mut start.registry,
    );
    let resolver = Arc::new(resolver.map_err(Failure::unknown)?);
    tracing::info!("resolver: {}, key {key}", section.listen);
    start.deciders.resolver = Some(resolver.clone());
    let router = observe(quorix_resolver::routes::router(resolver));
    start.serve_http(bound, &router);
    Ok(())
}

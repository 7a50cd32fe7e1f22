//! `quorix decide`: may this be used, and why.

mod complete;
pub(super) mod json;
pub(super) mod local;

use std::path::Path;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use quorix_nix::store_path::{HashPart, StoreDir, StorePath};
use quorix_trust::decision::Decision;
use quorix_trust::explain;
use quorix_trust::policy::Policy;
use quorix_wire::client::{AggregatorClient, Completeness};
use quorix_wire::pb;
use quorix_wire::pb::aggregator_service_client::AggregatorServiceClient;
use tonic::transport::Channel;

use super::{aggregator_address, channel_to, fetcher, read_policy, receipt};
use crate::cli::Decide;
use crate::config::Config;
use crate::output::{self, Exit, Failure};
use local::LocalResolver;

/// The longest that a decision may take for which every log is asked itself.
const COMPLETING_TIMEOUT: Duration = Duration::from_secs(20 * 60);

pub(super) async fn decide(arguments: Decide) -> Result<Exit, Failure> {
    let asked = asked(&arguments.path)?;
    let address = aggregator_address(arguments.aggregator.clone(), &arguments.config.config)?;
    let channel = channel_to(&address, &arguments.config.config)?;
    let (decision, completeness) = match &arguments.policy {
        Some(file) if arguments.receipt.is_some() => {
            receipt::issue(channel, &arguments, file, &asked).await?
        }
        Some(file) => here(channel, &arguments, file, &asked).await?,
        None => {
            let decision = there(channel, &arguments.path)
                .await
                .map_err(|error| Failure::unknown(format!("{error} (asked at {address})")))?;
            (decision, None)
        }
    };
    if arguments.json {
        let mut value = json::decision(&decision);
        if let (Some(completeness), Some(fields)) = (&completeness, value.as_object_mut()) {
            fields.insert("complete".to_owned(), complete::as_json(completeness));
        }
        output::answer(format_args!("{value:#}"));
    } else {
        output::answer(explain::terminal(&decision).trim_end());
        if let Some(completeness) = &completeness {
            output::answer(format_args!("\n{}", complete::told(completeness)));
        }
    }
    Ok(if decision.is_accepted() {
        Exit::Yes
    } else {
        Exit::No
    })
}

/// The hash part of a store path, base name or hash part.
pub(super) fn asked(text: &str) -> Result<HashPart, Failure> {
    let wrong = || {
        Failure::wrong(format!(
            "`{text}` is not a store path\n  write it whole (/nix/store/HASH-NAME), its base name, or its 32-character hash"
        ))
    };
    let base = text.rsplit('/').next().unwrap_or(text);
    if text.contains('/') && StoreDir::default().parse(text).is_err() {
        return Err(wrong());
    }
    match StorePath::from_str(base) {
        Ok(path) => Ok(path.hash_part()),
        Err(_) => HashPart::from_str(base).map_err(|_| wrong()),
    }
}

/// What the aggregator decides under its own policy: its word.
async fn there(channel: Channel, path: &str) -> Result<Decision, String> {
    let request = pb::DecideRequest { path: path.into() };
    let answer = AggregatorServiceClient::new(channel).decide(request).await;
    let answer =
        answer.map_err(|status| quorix_wire::client::ClientError::from(status).to_string())?;
    let decision = answer
        .into_inner()
        .decision
        .ok_or("it answered without a decision")?;
    Decision::try_from(decision)
        .map_err(|error| format!("it answered with something that is no decision: {error}"))
}

/// What follows from the evidence under this policy, every proof verified here. Content-addressed paths are fetched
/// from the sources and recomputed, as the resolver does before it serves one.
async fn here(
    channel: Channel,
    arguments: &Decide,
    file: &Path,
    asked: &HashPart,
) -> Result<(Decision, Option<Completeness>), Failure> {
    let policy = Arc::new(read_policy(file)?);
    let client = client(channel, policy, arguments)?;
    let resolver = LocalResolver::new(
        client.clone(),
        &sources(&arguments.sources, &arguments.config.config),
        fetcher(&arguments.config.config)?,
        arguments.complete.then_some(COMPLETING_TIMEOUT),
    )?;
    let decision = resolver.decide(asked).await?;
    Ok((decision, client.completeness()))
}

/// A client of the aggregator that completes its answers, if that is asked for.
pub(super) fn client(
    channel: Channel,
    policy: Arc<Policy>,
    arguments: &Decide,
) -> Result<AggregatorClient, Failure> {
    let client = AggregatorClient::new(channel, policy);
    if !arguments.complete {
        return Ok(client);
    }
    let base = arguments.path.rsplit('/').next().unwrap_or_default();
    let asked = StorePath::from_str(base).map_err(|_| {
        Failure::wrong(format!(
            "`{}` is only the hash of a path, and logs are asked by whole paths\n  with --complete write the path whole: /nix/store/HASH-NAME",
            arguments.path
        ))
    })?;
    Ok(client.completing(fetcher(&arguments.config.config)?, asked))
}

/// Where bytes may come from: what was typed, else what the configuration says, else nowhere.
pub(super) fn sources(typed: &[String], config: &Path) -> Vec<String> {
    if !typed.is_empty() {
        return typed.to_vec();
    }
    let config = Config::read(config).ok();
    config
        .and_then(|config| config.resolver)
        .map(|resolver| resolver.sources)
        .unwrap_or_default()
}

//! `quorix decide`: may this be used, and why.

mod json;

use std::str::FromStr as _;
use std::sync::Arc;

use quorix_nix::store_path::{HashPart, StoreDir, StorePath};
use quorix_trust::decision::{self, Decision};
use quorix_trust::explain;
use quorix_wire::channel;
use quorix_wire::client::AggregatorClient;
use quorix_wire::pb;
use quorix_wire::pb::aggregator_service_client::AggregatorServiceClient;
use tonic::transport::Channel;

use super::{aggregator_address, now_s, read_policy};
use crate::cli::Decide;
use crate::output::{self, Exit, Failure};

pub(super) async fn decide(arguments: Decide) -> Result<Exit, Failure> {
    let asked = asked(&arguments.path)?;
    let address = aggregator_address(arguments.aggregator, &arguments.config.config)?;
    let channel = channel::connect(&address).map_err(Failure::wrong)?;
    let decision = match &arguments.policy {
        Some(file) => here(channel, Arc::new(read_policy(file)?), &asked).await,
        None => there(channel, &arguments.path).await,
    };
    let decision = decision.map_err(|error| Failure::unknown(format!("{error} (asked at {address})")))?;
    if arguments.json {
        output::answer(format_args!("{:#}", json::decision(&decision)));
    } else {
        output::answer(explain::terminal(&decision).trim_end());
    }
    Ok(if decision.is_accepted() { Exit::Yes } else { Exit::No })
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
    let answer = answer.map_err(|status| quorix_wire::client::ClientError::from(status).to_string())?;
    let decision = answer.into_inner().decision.ok_or("it answered without a decision")?;
    Decision::try_from(decision).map_err(|error| format!("it answered with something that is no decision: {error}"))
}

/// What follows from the evidence under this policy, every proof verified here.
async fn here(channel: Channel, policy: Arc<quorix_trust::policy::Policy>, asked: &HashPart) -> Result<Decision, String> {
    let client = AggregatorClient::new(channel, policy.clone());
    let evidence = client.evidence(std::slice::from_ref(asked), true).await.map_err(|error| error.to_string())?;
    Ok(decision::decide(&policy, &evidence, asked, now_s()))
}

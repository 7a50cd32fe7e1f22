//! Where evidence comes from: an aggregator that runs, or what the one of this machine has mirrored. Either way it is
//! verified by the same client, which believes neither.

use std::sync::Arc;

use quorix_aggregator::config::AggregatorConfig;
use quorix_aggregator::service::{Aggregator, Clock};
use quorix_nix::store_path::HashPart;
use quorix_store::RocksIndex;
use quorix_trust::evidence::Evidence;
use quorix_trust::policy::Policy;
use quorix_wire::channel;
use quorix_wire::client::{AggregatorClient, ClientError};
use quorix_wire::fetch::{FetchLimits, Fetcher};
use tonic::transport::Server;

use crate::cli::audit::How;
use crate::commands::{aggregator_address, channel_to, configuration, now_s};
use crate::output::Failure;

/// A client of whom the arguments say.
pub(super) async fn client(how: &How, policy: &Arc<Policy>) -> Result<AggregatorClient, Failure> {
    let file = &how.config.config;
    let channel = if how.offline {
        offline(how, policy).await?
    } else {
        let address = aggregator_address(how.aggregator.clone(), file)?;
        channel_to(&address, file)?
    };
    Ok(AggregatorClient::new(channel, policy.clone()))
}

/// A channel to an aggregator at rest over the database of this machine's one, in this process.
async fn offline(how: &How, policy: &Arc<Policy>) -> Result<tonic::transport::Channel, Failure> {
    let dir = configuration(&how.config.config)?.role_dir("aggregator");
    let (clock, policy): (Clock, _) = (Arc::new(now_s), policy.clone());
    let at_rest = tokio::task::spawn_blocking(move || {
        let index = RocksIndex::open_to_read(&dir).map_err(|error| {
            Failure::wrong(format!(
                "{error}\n  --offline reads what an aggregator on this machine has mirrored: `quorix serve` with [aggregator] does"
            ))
        })?;
        let fetcher = Fetcher::new(FetchLimits::default()).map_err(Failure::unknown)?;
        let config = AggregatorConfig::default();
        Aggregator::at_rest(Arc::new(index), &policy, config, fetcher, clock)
            .map_err(Failure::unknown)
    });
    let at_rest = at_rest.await.map_err(Failure::unknown)??;
    let (channel, incoming) = channel::in_memory();
    let serving = Server::builder()
        .add_service(quorix_aggregator::grpc::server(at_rest))
        .serve_with_incoming(incoming);
    // Ends with the channel.
    tokio::spawn(serving);
    Ok(channel)
}

/// What is still to be asked about.
pub(super) struct Left(Vec<Vec<HashPart>>);

/// What came of asking about some outputs.
pub(super) enum Answer {
    Evidence(Box<Evidence>),
    /// One output with more evidence than one answer may have; why, for people.
    TooMuch(String),
}

impl Left {
    /// All of these, so many at a time.
    pub(super) fn of(outputs: Vec<HashPart>, at_once: usize) -> Self {
        Self(outputs.chunks(at_once.max(1)).map(<[_]>::to_vec).collect())
    }

    /// Has these asked about again, in two halves.
    fn halved(&mut self, outputs: &[HashPart]) {
        let (first, second) = outputs.split_at(outputs.len() / 2);
        self.0.extend([first.to_vec(), second.to_vec()]);
    }
}

/// Asks about the next outputs; about fewer of them at once where the answer would be too large.
pub(super) async fn next(
    client: &AggregatorClient,
    left: &mut Left,
    closure: bool,
) -> Result<Option<(Vec<HashPart>, Answer)>, Failure> {
    while let Some(outputs) = left.0.pop() {
        match client.evidence(&outputs, closure).await {
            Ok(evidence) => return Ok(Some((outputs, Answer::Evidence(Box::new(evidence))))),
            Err(ClientError::ResourceExhausted(_)) if outputs.len() > 1 => left.halved(&outputs),
            Err(ClientError::ResourceExhausted(reason)) => {
                return Ok(Some((outputs, Answer::TooMuch(reason))));
            }
            Err(error) => return Err(Failure::unknown(error)),
        }
    }
    Ok(None)
}

//! What the demo asks of its own services, as any client would: decisions, log sizes, narinfos, metrics.

use std::net::SocketAddr;
use std::time::Duration;

use quorix_nix::store_path::{StoreDir, StorePath};
use quorix_trust::decision::Decision;
use quorix_wire::address::Address;
use quorix_wire::channel;
use quorix_wire::fetch::{FetchError, FetchLimits, Fetcher};
use quorix_wire::pb;
use quorix_wire::pb::aggregator_service_client::AggregatorServiceClient;
use tokio::time::Instant;
use tonic::transport::Channel;

use crate::output::Failure;

/// How long something that must happen may take.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A client of one user's machine.
#[derive(Clone, Debug)]
pub struct Client {
    service: AggregatorServiceClient<Channel>,
    fetcher: Fetcher,
    resolver: String,
}

impl Client {
    /// A client of an aggregator and a resolver.
    ///
    /// # Errors
    /// The addresses are no addresses.
    pub fn new(aggregator: SocketAddr, resolver: &str) -> Result<Self, Failure> {
        let channel =
            channel::connect(&Address::Tcp(aggregator.to_string())).map_err(Failure::unknown)?;
        let fetcher = Fetcher::new(FetchLimits::default()).map_err(Failure::unknown)?;
        Ok(Self {
            service: AggregatorServiceClient::new(channel),
            fetcher,
            resolver: resolver.into(),
        })
    }

    /// The aggregator's decision on a path.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn decide(&self, path: &StorePath) -> Result<Decision, Failure> {
        let request = pb::DecideRequest {
            path: StoreDir::default().join(path),
        };
        let answer = self
            .service
            .clone()
            .decide(request)
            .await
            .map_err(Failure::unknown)?
            .into_inner();
        let decision = answer
            .decision
            .ok_or_else(|| Failure::unknown("no decision"))?;
        Decision::try_from(decision).map_err(Failure::unknown)
    }

    /// The followed logs.
    ///
    /// # Errors
    /// The aggregator does not answer.
    pub async fn logs(&self) -> Result<Vec<pb::LogStatus>, Failure> {
        let answer = self.service.clone().list_logs(pb::ListLogsRequest {}).await;
        Ok(answer.map_err(Failure::unknown)?.into_inner().logs)
    }

    /// What the resolver answers for a path: the narinfo, or the reason why there is none.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn narinfo(&self, path: &StorePath) -> Result<Result<String, FetchError>, Failure> {
        let url = format!("{}/{}.narinfo", self.resolver, path.hash_part().as_str());
        match self.fetcher.get(&url, 1 << 20).await {
            Ok(bytes) => Ok(Ok(String::from_utf8_lossy(&bytes).into_owned())),
            Err(error @ FetchError::NotFound { .. }) => Ok(Err(error)),
            Err(error) => Err(Failure::unknown(error)),
        }
    }

    /// Text at a URL.
    ///
    /// # Errors
    /// Nobody answers there, or not with success.
    pub async fn text(&self, url: &str) -> Result<String, Failure> {
        let bytes = self
            .fetcher
            .get(url, 8 << 20)
            .await
            .map_err(Failure::unknown)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// Asks again and again until the answer is `Some`, for as long as [`PATIENCE`].
///
/// # Errors
/// It did not happen; `what` names it.
pub async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> Result<T, Failure> {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return Ok(answer);
        }
        if Instant::now() > end {
            return Err(Failure::unknown(format!(
                "it did not happen within {} s: {what}",
                PATIENCE.as_secs()
            )));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

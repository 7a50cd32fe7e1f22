//! A log as `serve` runs it, on ports of its own: what is measured.

use std::net::SocketAddr;
use std::path::Path;

use prometheus_client::registry::Registry;
use quorix_log::anchor::AnchorFile;
use quorix_log::config::LogConfig;
use quorix_log::service::Log;
use quorix_log::storage::Storage;
use quorix_store::RocksLog;
use quorix_tlog::note::{KeyName, SigningKey};
use quorix_trust::ports::StoreError;
use quorix_wire::address::Address;
use quorix_wire::channel;
use quorix_wire::client::LogClient;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::listen;
use crate::output::Failure;

const ORIGIN: &str = "bench.example.org/log";

/// A running log.
pub(super) struct Stand {
    pub(super) log: Log,
    submit: Address,
    pub(super) public: SocketAddr,
    stop: CancellationToken,
    tasks: JoinSet<Result<(), Failure>>,
}

impl Stand {
    /// Starts a log in this folder, or goes on with the one that is there.
    pub(super) async fn start(dir: &Path) -> Result<Self, Failure> {
        let log = start_log(dir)?;
        let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let public = bind(any).await?;
        let submit = bind(any).await?;
        let address = |listener: &TcpListener| {
            listener
                .local_addr()
                .map_err(|error| Failure::unknown(format!("a listener has no address: {error}")))
        };
        let (public_address, submit_address) = (address(&public)?, address(&submit)?);
        let routes = Routes::new(quorix_log::grpc::server(log.clone()));
        let router = quorix_log::routes::router(&log);
        tasks.spawn(listen::serve_http(public, router, stop.clone()));
        tasks.spawn(listen::serve_grpc(submit.into(), routes, stop.clone()));
        Ok(Self {
            log,
            submit: Address::Tcp(submit_address.to_string()),
            public: public_address,
            stop,
            tasks,
        })
    }

    /// A client with a connection of its own.
    pub(super) fn client(&self) -> Result<LogClient, Failure> {
        let channel = channel::connect(&self.submit).map_err(Failure::unknown)?;
        Ok(LogClient::new(channel))
    }

    /// Entries in the log.
    pub(super) fn size(&self) -> u64 {
        self.log.status().size
    }

    /// Stops everything and closes the database.
    pub(super) async fn stop(mut self) {
        self.log.shutdown().await;
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

async fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|error| Failure::unknown(format!("no port is free on loopback: {error}")))
}

/// The log without listeners.
pub(super) fn start_log(dir: &Path) -> Result<Log, Failure> {
    let key = signing_key()?;
    let anchor = AnchorFile::open(&dir.join("log.anchor")).map_err(Failure::unknown)?;
    let database = dir.join("log");
    let open = move || {
        RocksLog::open(&database).map_err(|error| StoreError {
            operation: "opening the log's database".to_owned(),
            reason: error.to_string(),
        })
    };
    Log::start(
        Storage::new(open, anchor),
        None,
        key,
        LogConfig::new(ORIGIN),
        &mut Registry::default(),
    )
    .map_err(Failure::unknown)
}

/// A key that protects nothing: whoever measures may know it.
pub(super) fn signing_key() -> Result<SigningKey, Failure> {
    let name: KeyName = ORIGIN.parse().map_err(Failure::unknown)?;
    Ok(SigningKey::from_seed(name, [7; 32]))
}

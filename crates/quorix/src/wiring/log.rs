//! The log role: its database, its sequencer, and two listeners that never mix.

use std::sync::Arc;

use prometheus_client::registry::Registry;
use quorix_log::anchor::AnchorFile;
use quorix_log::beginning::NewKey;
use quorix_log::config::LogConfig;
use quorix_log::index::{self, IndexCosigner, LogIndex};
use quorix_log::publication::cosigner::Witnessing;
use quorix_log::service::Log;
use quorix_log::storage::Storage;
use quorix_log::witnesses::{Seen, Witnesses};
use quorix_store::{OpenError, RocksLog, RocksLogIndex};
use quorix_tlog::note::SigningKey;
use quorix_trust::ports::StoreError;
use quorix_wire::fetch::{FetchLimits, Fetcher};
use tonic::service::Routes;

use super::{Start, access, keys, observe, witness};
use crate::config::{Config, LogSection};
use crate::listen::{self, tls::Clients};
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
    let tls = start.tls.as_ref();
    let public = listen::http("log.listen.public", &section.listen.public, tls).await?;
    let clients = if section.clients.is_empty() {
        Clients::Everyone
    } else {
        Clients::MayBeKnown
    };
    let others = !section.users.is_empty() || !section.groups.is_empty();
    let others = others.then(|| access::door(section)).transpose()?;
    let submit = &section.listen.submit;
    let submit = listen::grpc("log.listen.submit", submit, tls, clients, others).await?;
    let access = access::start(start, section)?;
    let storage = storage(start.config, section, &key)?;
    let witnessing = witnessing(start, section, &key).await?;
    let config = LogConfig {
        republish: section.republish.0,
        ..LogConfig::new(&section.origin)
    };
    let registry = &mut start.registry;
    let log =
        Log::start(storage, witnessing, key.clone(), config, registry).map_err(Failure::unknown)?;
    tracing::info!(
        "log {}: public {}, submissions {}",
        section.origin,
        section.listen.public,
        section.listen.submit
    );

    let mut router = quorix_log::routes::router(&log);
    if section.index
        && let Some(index) = start_index(start, section, &log, &key).await?
    {
        router = router.merge(index);
    }
    let router = observe(router);
    start.serve_http(public, &router);
    let routes = Routes::new(quorix_log::grpc::guarded(
        log.clone(),
        access,
        access::monotonic(),
    ));
    let (stop, serving) = (
        start.stop.clone(),
        listen::serve_grpc_at(submit, routes, start.stop.clone()),
    );
    start.tasks.spawn(async move {
        let served = serving.await;
        stop.cancelled().await;
        log.shutdown().await;
        served
    });
    Ok(())
}

/// The log's database and anchor, and the mark of its key where that is new.
///
/// # Errors
/// The anchor is damaged or another process has it.
pub fn storage(
    config: &Config,
    section: &LogSection,
    key: &SigningKey,
) -> Result<Storage, Failure> {
    let dir = config.role_dir("log");
    let anchor = AnchorFile::open(&config.log_anchor(section)).map_err(Failure::unknown)?;
    let failed = |error: OpenError| StoreError {
        operation: "opening the log's database".to_owned(),
        reason: error.to_string(),
    };
    let (open, read) = (dir.clone(), dir);
    let open = move || {
        let log = RocksLog::open(&open).map_err(failed)?;
        if let Some(torn) = log.torn() {
            tracing::warn!(
                file = %torn.file.display(),
                whole_bytes = torn.whole_bytes,
                torn_bytes = torn.torn_bytes,
                "the process or the machine stopped in the middle of a write: what was written of it is dropped. None of it \
                 had been acknowledged"
            );
        }
        Ok(log)
    };
    let read = move || RocksLog::open_to_read(&read).map_err(failed);
    let mark = NewKey::beside(&section.key, key.verifier());
    Ok(Storage::new(open, anchor)
        .read_meanwhile(read)
        .begun_only_by(mark))
}

/// The log's witnesses, if it has any, and what they have seen of it: they are asked before anything is signed.
async fn witnessing(
    start: &mut Start<'_>,
    section: &LogSection,
    key: &SigningKey,
) -> Result<Option<Witnessing>, Failure> {
    let Some(witnesses) = witness::of_log(start, section, key)? else {
        return Ok(None);
    };
    let seen = witnesses.seen().await.map_err(Failure::unknown)?;
    Ok(Some(Witnessing {
        cosigner: Arc::new(witnesses),
        seen,
    }))
}

/// What the witnesses of a stopped log show of it; `None` where it has none.
///
/// # Errors
/// Policy or key cannot be used, or the log has contradicted itself.
pub async fn seen(
    config: &Config,
    section: &LogSection,
    key: &SigningKey,
) -> Result<Option<Seen>, Failure> {
    let Some(asked) = witness::of_log_config(config, section, key)? else {
        return Ok(None);
    };
    let fetcher = Fetcher::with_tls(FetchLimits::default(), &super::tls::client(&config.tls)?)
        .map_err(Failure::unknown)?;
    let witnesses = Witnesses::new(
        asked,
        fetcher,
        Arc::new(crate::commands::now_s),
        &mut Registry::default(),
    )
    .map_err(|error| Failure::wrong(format!("log.witness_policy: {error}")))?;
    witnesses.seen().await.map(Some).map_err(Failure::unknown)
}

/// Has the log's index follow it. Whatever is wrong with the index keeps no log from starting; only files that the
/// configuration names have to be there, as for the log itself.
///
/// # Errors
/// The witness policy or a key cannot be used.
async fn start_index(
    start: &mut Start<'_>,
    section: &LogSection,
    log: &Log,
    key: &SigningKey,
) -> Result<Option<axum::Router>, Failure> {
    let dir = start.config.role_dir("log-index");
    let open = move || {
        RocksLogIndex::open(&dir).map_err(|error| StoreError {
            operation: "opening the log's index".to_owned(),
            reason: error.to_string(),
        })
    };
    let cosigner = witness::of_index(start, section, key)?;
    let cosigner = cosigner.map(|witnesses| Arc::new(witnesses) as Arc<dyn IndexCosigner>);
    let index = match LogIndex::new(log, open, key, cosigner, &mut start.registry) {
        Ok(index) => index,
        Err(error) => {
            tracing::error!(%error, "the log has no index; the log itself goes on");
            return Ok(None);
        }
    };
    index.open().await;
    let (stop, following) = (start.stop.clone(), index.clone());
    start.tasks.spawn(async move {
        // What is being written when it is told to stop is either written whole or not at all.
        stop.run_until_cancelled(following.run()).await;
        stop.cancelled().await;
        Ok(())
    });
    Ok(Some(index::routes::router(&index)))
}

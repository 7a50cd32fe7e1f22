//! The log role: its database, its sequencer, and two listeners that never mix.

use std::sync::Arc;

use quorix_log::anchor::AnchorFile;
use quorix_log::config::LogConfig;
use quorix_log::index::{self, IndexCosigner, LogIndex};
use quorix_log::publication::cosigner::Witnessing;
use quorix_log::service::Log;
use quorix_log::storage::Storage;
use quorix_store::{RocksLog, RocksLogIndex};
use quorix_tlog::note::SigningKey;
use quorix_trust::ports::StoreError;
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
    let submit = &section.listen.submit;
    let submit = listen::grpc("log.listen.submit", submit, tls, clients, others).await?;
    let access = access::start(start, section)?;
    let storage = storage(start.config, section)?;
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
    for bound in public {
        let router = router.clone();
        start
            .tasks
            .spawn(listen::serve_http(bound, router, start.stop.clone()));
    }
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

/// The log's database and anchor.
///
/// # Errors
/// The anchor is damaged or another process has it.
pub fn storage(config: &Config, section: &LogSection) -> Result<Storage, Failure> {
    let dir = config.role_dir("log");
    let anchor = AnchorFile::open(&config.log_anchor(section)).map_err(Failure::unknown)?;
    let open = move || {
        RocksLog::open(&dir).map_err(|error| StoreError {
            operation: "opening the log's database".to_owned(),
            reason: error.to_string(),
        })
    };
    Ok(Storage::new(open, anchor))
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
    if !seen.complete {
        tracing::warn!("not all witnesses say what they have seen of this log");
    }
    Ok(Some(Witnessing {
        cosigner: Arc::new(witnesses),
        seen,
    }))
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

//! `quorix log audit-index`: is the index of a log what its entries give.

use std::sync::Arc;

use quorix_log::index::audit::{Audit, Audited};
use quorix_store::{OpenError, RocksLogIndex};
use quorix_tlog::checkpoint::SignedCheckpoint;
use quorix_tlog::index::verifier_of;
use quorix_tlog::log_key::LogKey;
use quorix_tlog::note::SignedNote;
use quorix_wire::fetch::{TileClient, join};
use quorix_wire::scan::LogSource;
use serde_json::json;

use super::which::{self, Opened, Own, Problem};
use crate::cli::operate::AuditIndex;
use crate::commands::configuration;
use crate::commands::progress::{self, counted};
use crate::output::{self, Exit, Failure};
use crate::wiring::witness::read_policy;

pub(in crate::commands) async fn audit(arguments: AuditIndex) -> Result<Exit, Failure> {
    let (opened, output) = open(&arguments)?;
    // The index first: it covers nothing that was not published before.
    let shown = checkpoint(&opened, &output, &arguments).await?;
    let log = opened.checkpoint().await?;
    let scratch = match &arguments.scratch {
        Some(dir) => tempfile::tempdir_in(dir),
        None => tempfile::tempdir(),
    };
    let scratch = scratch.map_err(|error| Failure::wrong(format!("--scratch: {error}")))?;
    let made = RocksLogIndex::open(&scratch.path().join("index")).map_err(Failure::unknown)?;
    let audit = Audit {
        log: opened.source.clone(),
        checkpoint: log.checkpoint().clone(),
        output,
        output_checkpoint: shown.checkpoint().clone(),
        scratch: Arc::new(made),
    };
    let bar = progress::bar("indexing");
    let covered = shown.checkpoint().size.saturating_mul(16);
    let audited = audit
        .run(|size| progress::stands(&bar, size, covered))
        .await;
    bar.finish_and_clear();
    match audited {
        Ok(audited) => {
            report(opened.origin(), &shown, &audited, arguments.json);
            Ok(if audited.differs.is_none() {
                Exit::Yes
            } else {
                Exit::No
            })
        }
        Err(error) if error.is_of_the_log() => Err(Failure::Refused(format!(
            "the log {}: {error}",
            opened.origin()
        ))),
        Err(error) => Err(Failure::unknown(format!(
            "the log {}: {error}",
            opened.origin()
        ))),
    }
}

/// The log and its output log.
fn open(arguments: &AuditIndex) -> Result<(Opened, LogSource), Failure> {
    let opened = which::open(&arguments.which, Own::Either)?;
    let output = match &opened.source {
        LogSource::Served(_) => {
            let urls = match &arguments.which.key {
                Some(_) => arguments.which.urls.clone(),
                None => {
                    let file = &arguments.which.config.config;
                    let section = which::own_section(&configuration(file)?, file)?;
                    vec![which::public_url(&section)?]
                }
            };
            let below = urls.iter().map(|url| join(url, "index"));
            let below = below.collect::<Result<_, _>>().map_err(Failure::wrong)?;
            LogSource::Served(TileClient::new(opened.fetcher.clone(), below))
        }
        LogSource::Stored(_) | LogSource::Own(_) => {
            let dir = configuration(&arguments.which.config.config)?.role_dir("log-index");
            if !dir.join("CURRENT").exists() {
                let dir = dir.display();
                return Err(Failure::wrong(format!("there is no index in {dir}")));
            }
            let store = RocksLogIndex::open(&dir).map_err(|error| match error {
                OpenError::Locked { .. } => Failure::wrong(error),
                error => Failure::unknown(error),
            })?;
            LogSource::Stored(Arc::new(store))
        }
    };
    Ok((opened, output))
}

/// The newest checkpoint of the output log, verified.
async fn checkpoint(
    opened: &Opened,
    output: &LogSource,
    arguments: &AuditIndex,
) -> Result<SignedCheckpoint, Failure> {
    let refused = |reason: String| {
        let origin = opened.origin();
        Failure::from(Problem::Log(format!("the index of {origin}: {reason}")))
    };
    let note = output.checkpoint().await;
    let note = note.map_err(|error| Failure::unknown(format!("the log's index: {error}")))?;
    let key = verifier_of(&opened.key).map_err(|error| refused(error.to_string()))?;
    let signed = SignedCheckpoint::open(&note, &key, key.name().as_str());
    let signed = signed.map_err(|error| refused(error.to_string()))?;
    if let Some(file) = &arguments.policy {
        let note = SignedNote::parse(&note).map_err(|error| refused(error.to_string()))?;
        read_policy(file)?
            .verify_log(&note, &[&LogKey::from(key)])
            .map_err(|error| refused(error.to_string()))?;
    }
    Ok(signed)
}

fn report(origin: &str, shown: &SignedCheckpoint, audited: &Audited, json: bool) {
    if json {
        let differs = audited.differs.as_ref();
        let value = json!({
            "log": origin, "right": differs.is_none(), "covered": audited.covered, "leaves": audited.leaves,
            "keys": audited.keys, "index_checkpoint": String::from_utf8_lossy(shown.bytes()),
            "differs": differs.map(|differs| json!({"size": differs.size, "reason": differs.to_string()})),
        });
        return output::answer(format_args!("{value:#}"));
    }
    let looked = format!(
        "{} and {}",
        counted(audited.covered, "entry", "entries"),
        counted(
            audited.leaves,
            "signed state of the map",
            "signed states of the map"
        )
    );
    match &audited.differs {
        None => output::answer(format_args!(
            "The index of {origin} is right: {looked}, {}.",
            counted(audited.keys, "key", "keys")
        )),
        Some(differs) => output::answer(format_args!(
            "The index of {origin} is wrong from {} on, of {looked}: {differs}.",
            counted(differs.size, "entry", "entries")
        )),
    }
}

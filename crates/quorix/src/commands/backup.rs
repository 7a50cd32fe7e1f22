//! `quorix log backup` and `quorix log adopt`: copies of a stopped log, and going on from one.

use std::path::{Path, PathBuf};

use quorix_log::service::adopt as adopt_log;
use quorix_store::RocksLog;
use quorix_trust::ports::TileStore as _;

use super::configuration;
use crate::config::{Config, LogSection};
use crate::output::{self, Exit, Failure};
use crate::wiring::{keys, log};

/// Copies the database of a stopped log, and marks the copy.
pub(super) fn backup(dir: &Path, file: &Path) -> Result<Exit, Failure> {
    let (config, section) = section(file)?;
    let dir = std::path::absolute(dir).map_err(Failure::wrong)?;
    if dir.exists() {
        return Err(Failure::wrong(format!(
            "{} exists already; name a folder that does not",
            dir.display()
        )));
    }
    let database = database(&config)?;
    let store = RocksLog::open(&database)
        .map_err(|error| Failure::unknown(format!("{error}. Stop the log before you copy it")))?;
    let head = store.head().map_err(Failure::unknown)?;
    let size = head.map_or(0, |head| head.size);
    store.backup(&dir).map_err(Failure::unknown)?;
    output::answer(format_args!(
        "The log {} was copied to {}, with {size} entries.\n\n\
         The copy is marked: a log goes on from it only once it is confirmed that nothing was signed since.\n\
         To restore it, put it in the place of {}, leave the anchor {} as it is, and start the log.\n\
         The key {} is not in it.",
        section.origin,
        dir.display(),
        database.display(),
        config.log_anchor(&section).display(),
        section.key.display(),
    ));
    Ok(Exit::Yes)
}

/// Takes what a stopped log's database holds for its newest state; with size 0, begins a log whose key is not marked as new.
pub(super) async fn adopt(confirmed: u64, file: &Path) -> Result<Exit, Failure> {
    let (config, section) = section(file)?;
    if confirmed > 0 {
        database(&config)?;
    }
    let key = keys::log_key(&section.key, &section.origin)?;
    let seen = log::seen(&config, &section, &key).await?;
    let storage = log::storage(&config, &section, &key)?;
    let size = adopt_log(storage, &key, &section.origin, seen.as_ref(), confirmed)
        .map_err(Failure::unknown)?;
    if seen.is_some_and(|seen| seen.least.is_none()) {
        output::remark(
            "Not every witness shows what it has seen of this log; they were asked in vain.",
        );
    }
    output::answer(format_args!(
        "The log {} goes on from {size} entries.\n\n\
         If it has ever shown anybody a checkpoint of more entries, its next one will contradict that: whoever has both \
         can prove it, and the log will count for nobody any more.",
        section.origin
    ));
    Ok(Exit::Yes)
}

fn section(file: &Path) -> Result<(Config, LogSection), Failure> {
    let config = configuration(file)?;
    let section = config.log.clone().ok_or_else(|| {
        Failure::wrong(format!(
            "{} has no section [log]; run this where the log is",
            file.display()
        ))
    })?;
    Ok((config, section))
}

/// The folder of the log's database, which must be there: neither command makes one.
fn database(config: &Config) -> Result<PathBuf, Failure> {
    let dir = config.role_dir("log");
    if !dir.join("CURRENT").exists() {
        return Err(Failure::wrong(format!(
            "{} holds no log yet",
            dir.display()
        )));
    }
    Ok(dir)
}

//! `quorix log backup` and `quorix log adopt`: copies of a log, and going on from one.

use std::path::{Path, PathBuf};

use quorix_log::error::StartError;
use quorix_log::service::adopt as adopt_log;
use quorix_store::{OpenError, RocksLog};
use quorix_trust::ports::LogStore as _;
use quorix_wire::client::LogClient;

use super::log::own_socket;
use super::{channel_to, configuration};
use crate::config::{Config, LogSection};
use crate::output::{self, Exit, Failure};
use crate::wiring::{keys, log};

/// Copies the database of a stopped log, or has a running one copy it, and marks the copy.
pub(super) async fn backup(dir: &Path, file: &Path) -> Result<Exit, Failure> {
    let (config, section) = section(file)?;
    let dir = std::path::absolute(dir).map_err(Failure::wrong)?;
    if dir.exists() {
        return Err(Failure::wrong(format!(
            "{} exists already; name a folder that does not",
            dir.display()
        )));
    }
    let database = database(&config)?;
    let size = match RocksLog::open(&database) {
        Ok(store) => store.backup(&dir).map_err(Failure::unknown)?,
        Err(OpenError::Locked { .. }) => by_the_running_log(&section, &dir, file).await?,
        Err(error) => return Err(Failure::unknown(error)),
    };
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

/// Asks the process that has the database open; it asks the system who asks.
async fn by_the_running_log(section: &LogSection, dir: &Path, file: &Path) -> Result<u64, Failure> {
    let text = dir.to_str().ok_or_else(|| {
        Failure::wrong("the name of the folder must be UTF-8 where a running log makes the copy")
    })?;
    let address = own_socket(section)?;
    let client = LogClient::new(channel_to(&address, file)?);
    let copied = client.backup(text.to_owned()).await;
    copied.map_err(|error| Failure::unknown(format!("{error} (the log at {address})")))
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
    let size =
        adopt_log(storage, &key, &section.origin, seen.as_ref(), confirmed).map_err(not_adopted)?;
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

/// A size that is not the database's is a wrong argument; with all else it is not the operator's word that is wrong.
fn not_adopted(error: StartError) -> Failure {
    match error {
        StartError::NotConfirmed { .. } => Failure::wrong(error),
        error => Failure::unknown(error),
    }
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

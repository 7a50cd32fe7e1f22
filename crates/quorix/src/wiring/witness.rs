//! The witness role, and the witnesses of this machine's own log.
//!
//! Nobody vouches for themselves: a witness of this configuration never cosigns the log of this configuration, and the
//! log's witness policy must not name it. (A witness policy says nothing about operators; that is as far as one file can
//! see. Whoever runs two machines keeps their keys apart by hand.)

use std::path::Path;
use std::sync::Arc;

use quorix_log::witness::{Witness, WitnessConfig, routes};
use quorix_log::witnesses::{PATIENCE, Witnesses, WitnessesConfig};
use quorix_store::RocksWitness;
use quorix_tlog::index;
use quorix_tlog::log_key::LogKey;
use quorix_tlog::note::SigningKey;
use quorix_tlog::tlog_policy::{MAX_POLICY_LENGTH, TlogPolicy};

use super::{Start, keys, observe};
use crate::config::{Config, LogSection, WitnessSection};
use crate::listen;
use crate::output::Failure;

/// Starts the witness, if there is one in the configuration.
///
/// # Errors
/// A key, the database or the address cannot be used, or it would witness its own operator's log.
pub async fn start(start: &mut Start<'_>) -> Result<(), Failure> {
    let Some(section) = &start.config.witness else {
        return Ok(());
    };
    let config = config(start.config, section)?;
    let bound = listen::http("witness.listen", &section.listen, start.tls.as_ref()).await?;
    let dir = start.config.role_dir("witness");
    let store = Arc::new(RocksWitness::open(&dir).map_err(Failure::unknown)?);
    let clock = start.clock.clone();
    let witness =
        Witness::start(config, store, clock, &mut start.registry).map_err(Failure::wrong)?;
    tracing::info!(
        "witness of {} logs: {}",
        witness.origins().len(),
        section.listen
    );
    let router = observe(routes::router(&witness));
    start.serve_http(bound, &router);
    Ok(())
}

/// What the section says, its keys read.
///
/// # Errors
/// A key cannot be used, or a log is this operator's own.
pub fn config(config: &Config, section: &WitnessSection) -> Result<WitnessConfig, Failure> {
    let mut own = vec![keys::cosigner_key(&section.key)?];
    if let Some(file) = &section.pq_key {
        own.push(keys::pq_key(file)?);
    }
    let log = config
        .log
        .as_ref()
        .map(|log| keys::log_key(&log.key, &log.origin))
        .transpose()?;
    let mut logs = Vec::new();
    for text in &section.logs {
        let key: LogKey = text.parse().map_err(|error| {
            Failure::wrong(format!(
                "witness.logs: `{text}`: {error}; `quorix key show FILE` prints a log's key"
            ))
        })?;
        let is_own = |log: &SigningKey| {
            let own = log.verifier();
            // The index of this log has the same key under another name.
            own.name() == key.name() || own.as_bytes()[..] == key.public_bytes()[..]
        };
        if log.as_ref().is_some_and(is_own) {
            return Err(Failure::wrong(format!(
                "witness.logs: {} is the log of this same configuration, and nobody vouches for themselves; list the logs of others",
                key.name()
            )));
        }
        logs.push(key);
    }
    Ok(WitnessConfig {
        keys: own,
        logs,
        per_minute: section.per_minute,
    })
}

/// The witnesses of the log, if its section names any or it has a second key.
///
/// # Errors
/// The policy or a key cannot be used, or the log's own operator would witness it.
pub fn of_log(
    start: &mut Start<'_>,
    section: &LogSection,
    key: &SigningKey,
) -> Result<Option<Witnesses>, Failure> {
    let Some(config) = of_log_config(start.config, section, key)? else {
        return Ok(None);
    };
    let (fetcher, clock) = (start.fetcher.clone(), start.clock.clone());
    Witnesses::new(config, fetcher, clock, &mut start.registry)
        .map(Some)
        .map_err(|error| Failure::wrong(format!("log.witness_policy: {error}")))
}

/// The log's witnesses as those of its index: the same ones, asked under the index's own origin.
///
/// # Errors
/// As [`of_log`].
pub fn of_index(
    start: &mut Start<'_>,
    section: &LogSection,
    key: &SigningKey,
) -> Result<Option<Witnesses>, Failure> {
    let Some(config) = of_log_config(start.config, section, key)? else {
        return Ok(None);
    };
    // A name that is too long has no index either, and is told there.
    let Ok(key) = index::verifier_of(key.verifier()) else {
        return Ok(None);
    };
    let own = config.own.map(|own| own.renamed(key.name().clone()));
    let mut log_keys: Vec<LogKey> = vec![key.into()];
    log_keys.extend(
        own.as_ref()
            .map(|own| LogKey::MlDsa44(own.verifier().clone())),
    );
    let config = WitnessesConfig {
        log_keys,
        own,
        ..config
    };
    let (fetcher, clock) = (start.fetcher.clone(), start.clock.clone());
    Witnesses::of_index(config, fetcher, clock, &mut start.registry)
        .map(Some)
        .map_err(|error| Failure::wrong(format!("log.witness_policy: {error}")))
}

/// What the section says of witnesses, all files read.
///
/// # Errors
/// As [`of_log`].
pub fn of_log_config(
    config: &Config,
    section: &LogSection,
    key: &SigningKey,
) -> Result<Option<WitnessesConfig>, Failure> {
    let own = section.pq_key.as_deref().map(keys::pq_key).transpose()?;
    let policy = section
        .witness_policy
        .as_deref()
        .map(read_policy)
        .transpose()?;
    let (own, policy) = match (own, policy) {
        (None, None) => return Ok(None),
        (own, Some(policy)) => (own, policy),
        (own, None) => (own, TlogPolicy::nobody()),
    };
    if let Some(witness) = &config.witness {
        let mut ours = vec![keys::cosigner_key(&witness.key)?];
        if let Some(file) = &witness.pq_key {
            ours.push(keys::pq_key(file)?);
        }
        let is_ours = |key: &[u8]| ours.iter().any(|own| own.verifier().public_bytes() == key);
        if let Some(found) = policy
            .witnesses
            .iter()
            .find(|witness| is_ours(&witness.key.public_bytes()))
        {
            return Err(Failure::wrong(format!(
                "log.witness_policy: `{}` on line {} is the witness of this same configuration, and nobody vouches for \
                 themselves; name the witnesses of others",
                found.name, found.line
            )));
        }
    }
    let mut log_keys: Vec<LogKey> = vec![key.verifier().clone().into()];
    log_keys.extend(
        own.as_ref()
            .map(|own| LogKey::MlDsa44(own.verifier().clone())),
    );
    Ok(Some(WitnessesConfig {
        policy,
        log_keys,
        own,
        patience: PATIENCE,
    }))
}

/// Reads a witness policy (C2SP tlog-policy).
///
/// # Errors
/// The file cannot be read, or what is wrong in it and where.
pub fn read_policy(file: &Path) -> Result<TlogPolicy, Failure> {
    let unreadable = |error: std::io::Error| {
        Failure::wrong(format!(
            "the witness policy {} cannot be read: {error}",
            file.display()
        ))
    };
    let limit = u64::try_from(MAX_POLICY_LENGTH).unwrap_or(u64::MAX);
    if std::fs::metadata(file).map_err(unreadable)?.len() > limit {
        return Err(Failure::wrong(format!(
            "the witness policy {} is larger than 1 MiB",
            file.display()
        )));
    }
    let bytes = std::fs::read(file).map_err(unreadable)?;
    TlogPolicy::parse(&bytes)
        .map_err(|error| Failure::wrong(format!("{}: {error}", file.display())))
}

#[cfg(test)]
mod tests;

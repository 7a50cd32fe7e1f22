//! The mirror role: full verified copies of logs, each in a folder, served on one address.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quorix_log::mirror::{Mirror, Mirrored, Mirrors, Seal, folder_of, router};
use quorix_tlog::cosignature::CosignerSigningKey;

use super::one_role::Taken;
use super::{Clock, Start, keys, observe};
use crate::commands::log::export::failure;
use crate::config::{Config, MirrorSection};
use crate::listen;
use crate::output::Failure;

/// Starts the mirrors, if there are any in the configuration.
///
/// # Errors
/// A key or address cannot be used, or a folder holds another log.
pub async fn start(start: &mut Start<'_>) -> Result<(), Failure> {
    let Some(section) = &start.config.mirror else {
        return Ok(());
    };
    let logs = logs(section)?;
    let seal = seal(start.config, section, &start.clock)?;
    let bound = listen::http("mirror.listen", &section.listen, start.tls.as_ref()).await?;
    let (dir, mirrors) = (start.config.role_dir("mirror"), Mirrors::default());
    for log in logs {
        let folder = dir.join(folder_of(log.key.name().as_str()));
        let mirror = Mirror::open(
            log,
            &folder,
            start.fetcher.clone(),
            seal.clone(),
            mirrors.clone(),
        )
        .await;
        let running = mirror
            .map_err(failure)?
            .run(section.poll_interval.0, start.stop.clone());
        start.tasks.spawn(async move {
            running.await;
            Ok(())
        });
    }
    tracing::info!("mirror: {}, {} logs", section.listen, section.logs.len());
    let router = observe(router(&mirrors, &dir));
    start.serve_http(bound, &router);
    Ok(())
}

/// The configured logs with their keys.
///
/// # Errors
/// A key is none, or two logs have one name.
pub fn logs(section: &MirrorSection) -> Result<Vec<Mirrored>, Failure> {
    let mut names = BTreeSet::new();
    let mut logs = Vec::new();
    for log in &section.logs {
        let key: quorix_tlog::note::VerifierKey = log.vkey.parse().map_err(|error| {
            Failure::wrong(format!(
                "mirror.logs: `{}`: {error}",
                log.vkey.escape_debug()
            ))
        })?;
        if !names.insert(key.name().clone()) {
            return Err(Failure::wrong(format!(
                "mirror.logs: {} is there twice",
                key.name()
            )));
        }
        let urls = log.urls.clone();
        logs.push(Mirrored { key, urls });
    }
    Ok(logs)
}

/// How checkpoints are cosigned, if there is a key for it.
///
/// # Errors
/// The key cannot be read, or is of another kind.
pub fn seal(
    config: &Config,
    section: &MirrorSection,
    clock: &Clock,
) -> Result<Option<Seal>, Failure> {
    let Some(key) = key(config, section)? else {
        return Ok(None);
    };
    let (clock, last) = (clock.clone(), AtomicU64::new(0));
    Ok(Some(Arc::new(move |shown| {
        // A clock that goes back gives the last time again.
        let now = clock();
        let now = now.max(last.fetch_max(now, Ordering::SeqCst));
        match key.cosign_onto(shown, now) {
            Ok(note) => note.to_bytes(),
            Err(error) => {
                let origin = &shown.checkpoint().origin;
                tracing::error!("the mirror cannot cosign a checkpoint of {origin}: {error}");
                shown.bytes().to_vec()
            }
        }
    })))
}

/// The key that cosigns copies, if there is one.
///
/// # Errors
/// It cannot be read, is of another kind, or another role of this configuration signs with it.
pub fn key(
    config: &Config,
    section: &MirrorSection,
) -> Result<Option<CosignerSigningKey>, Failure> {
    let Some(file) = &section.key else {
        return Ok(None);
    };
    let key = keys::cosigner_key(file)?;
    let public = key.verifier().public_bytes();
    Taken::by_others(config, "[mirror]")?.check("mirror.key", "witness", &public)?;
    Ok(Some(key))
}

//! The builder role: what the hook noted is attested and sent to the log.

use std::path::Path;
use std::time::Duration;

use quorix_builder::attest::Attester;
use quorix_builder::config::BuilderConfig;
use quorix_builder::flush::Flusher;
use quorix_builder::outbox::Outbox;
use quorix_host::machine::{NixVersion, kernel_release};
use quorix_trust::attestation::Environment;
use quorix_wire::client::LogClient;

use super::{Start, keys, tls};
use crate::config::{BuilderSection, TlsSection};
use crate::output::Failure;

/// Starts to empty the outbox, if there is a builder in the configuration.
///
/// # Errors
/// Key or outbox cannot be used.
pub async fn start(start: &mut Start<'_>) -> Result<(), Failure> {
    let Some(section) = &start.config.builder else {
        return Ok(());
    };
    let dir = start.config.role_dir("builder").join("outbox");
    let outbox = Outbox::open(&dir).map_err(Failure::unknown)?;
    let section = section.clone();
    let attester = tokio::task::spawn_blocking({
        let section = section.clone();
        move || attester(&section)
    });
    let attester = attester.await.map_err(Failure::unknown)??;
    let client = client(&section, &start.config.tls)?;
    let (flusher, _) = Flusher::new(outbox, attester, client, &mut start.registry);
    tracing::info!("builder: outbox {}, log at {}", dir.display(), section.log);
    let stop = start.stop.clone();
    start.tasks.spawn(async move {
        flusher.run(stop.cancelled_owned()).await;
        Ok(())
    });
    Ok(())
}

/// The client of this builder's log.
///
/// # Errors
/// The address, the token, or a file of `[tls]`, cannot be used.
pub fn client(section: &BuilderSection, tls: &TlsSection) -> Result<LogClient, Failure> {
    let client = LogClient::new(tls::channel(&section.log, tls)?);
    let token = section.token.as_deref().map(keys::token).transpose()?;
    Ok(match token {
        Some(token) => client.with_token(token),
        None => client,
    })
}

/// Who attests here: key, settings and what this machine is.
///
/// # Errors
/// The Nix key cannot be used.
pub fn attester(section: &BuilderSection) -> Result<Attester, Failure> {
    let nix_key = section.nix_key.as_deref().map(keys::nix_key).transpose()?;
    let (implementation, version) =
        match NixVersion::ask(Path::new("nix-store"), Duration::from_secs(5)) {
            Ok(nix) => (nix.implementation, nix.version),
            Err(error) => {
                tracing::warn!("attestations will not tell the version of Nix: {error}");
                (String::new(), String::new())
            }
        };
    let environment = Environment {
        nix_implementation: implementation,
        nix_version: version,
        kernel: kernel_release(),
        cores: 0,
    };
    let config = BuilderConfig {
        include_remote_built: section.include_remote_built,
        publish_inputs: section.publish_inputs,
        ..BuilderConfig::default()
    };
    Ok(Attester {
        nix_key,
        environment,
        config,
    })
}

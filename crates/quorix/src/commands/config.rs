//! `quorix config check`: everything that `serve` would read, read.

use std::path::Path;

use super::progress::counted;
use super::{configuration, read_policy};
use crate::config::Config;
use crate::listen::tls::ServerTls;
use crate::output::{self, Exit, Failure};
use crate::wiring::{self, keys, witness};

pub(super) fn check(file: &Path) -> Result<Exit, Failure> {
    let config = configuration(file)?;
    let mut roles = Vec::new();
    ServerTls::open(&config.tls)?;
    wiring::tls::client(&config.tls)?;
    if let Some(log) = &config.log {
        let key = keys::log_key(&log.key, &log.origin)?;
        witness::of_log_config(&config, log, &key)?;
        let doors = wiring::access::doors(log)?;
        wiring::access::grants(log, doors.limits).map_err(Failure::wrong)?;
        roles.push("log");
    }
    if let Some(builder) = &config.builder {
        if let Some(key) = &builder.nix_key {
            keys::nix_key(key)?;
        }
        builder.token.as_deref().map(keys::token).transpose()?;
        roles.push("builder");
    }
    if let Some(resolver) = &config.resolver {
        keys::nix_key(&resolver.key)?;
        roles.push("resolver");
    }
    if let Some(section) = &config.witness {
        witness::config(&config, section)?;
        roles.push("witness");
    }
    if let (Some(section), Some(policy)) = (&config.aggregator, &config.policy) {
        wiring::aggregator::check(&config, section, &read_policy(policy)?)?;
        roles.push("aggregator");
    }
    roles.extend(config.dashboard.as_ref().map(|_| "dashboard"));
    if let Some(mirror) = &config.mirror {
        wiring::mirror::logs(mirror)?;
        wiring::mirror::key(&config, mirror)?;
        roles.push("mirror");
    }
    output::answer(format_args!(
        "{} is good: {}.",
        file.display(),
        roles.join(", ")
    ));
    warn_of_policy(&config)?;
    Ok(Exit::Yes)
}

fn warn_of_policy(config: &Config) -> Result<(), Failure> {
    let Some(file) = &config.policy else {
        return Ok(());
    };
    let policy = read_policy(file)?;
    output::answer(format_args!(
        "{} is good: {}, {}, {}.",
        file.display(),
        counted(policy.builders.len() as u64, "builder", "builders"),
        counted(policy.caches.len() as u64, "cache", "caches"),
        counted(policy.rules.len() as u64, "rule", "rules")
    ));
    for warning in &policy.warnings {
        output::answer(format_args!("  worth knowing: {warning}"));
    }
    Ok(())
}

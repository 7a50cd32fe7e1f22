//! Whether the roles of one file fit together, and whether any would listen where it must not.

use std::net::IpAddr;

use quorix_wire::address::Address;

use super::Config;

/// # Errors
/// A sentence that names section and key, and says what to do.
pub(super) fn check(config: &Config) -> Result<(), String> {
    let Config {
        log,
        builder,
        aggregator,
        resolver,
        dashboard,
        witness,
        mirror,
        ..
    } = config;
    if log.is_none()
        && builder.is_none()
        && aggregator.is_none()
        && resolver.is_none()
        && dashboard.is_none()
        && witness.is_none()
        && mirror.is_none()
    {
        return Err("no role is switched on: add a section [log], [builder], [aggregator], [resolver], [dashboard], [witness] or [mirror]".into());
    }
    if !config.data_dir.is_absolute() {
        return Err(format!(
            "data_dir: `{}` is not an absolute path",
            config.data_dir.display()
        ));
    }
    let needs_policy = aggregator.is_some() || resolver.is_some() || dashboard.is_some();
    if needs_policy && config.policy.is_none() {
        return Err("policy: [aggregator], [resolver] and [dashboard] need a policy file; add `policy = \"/etc/quorix/policy\"`".into());
    }
    if let Some(resolver) = resolver
        && resolver.aggregator.is_none()
        && aggregator.is_none()
    {
        return Err(
            "resolver.aggregator: there is no [aggregator] in this file; say where one answers"
                .into(),
        );
    }
    if let Some(dashboard) = dashboard
        && dashboard.aggregator.is_none()
        && aggregator.is_none()
    {
        return Err(
            "dashboard.aggregator: there is no [aggregator] in this file; say where one answers"
                .into(),
        );
    }
    if let Some(log) = log
        && let Address::Tcp(host) = &log.listen.submit
    {
        return Err(format!(
            "log.listen.submit: everybody on this machine can reach `{host}`, builds with network access too, and whoever reaches it votes here; use unix:PATH"
        ));
    }
    if let Some(mirror) = mirror
        && (mirror.logs.is_empty() || mirror.logs.iter().any(|log| log.urls.is_empty()))
    {
        return Err("mirror.logs: each copied log needs its key and at least one address: [[mirror.logs]] vkey = \"…\" urls = [\"https://…\"]".into());
    }
    if let Some(aggregator) = aggregator {
        private("aggregator.listen", &aggregator.listen)?;
    }
    Ok(())
}

/// This version has neither TLS nor tokens, so what changes a log, or asks at length, stays on this machine.
fn private(key: &str, address: &Address) -> Result<(), String> {
    let host = match address {
        Address::Unix(_) => return Ok(()),
        Address::Tcp(host) => host,
    };
    let name = host
        .rsplit_once(':')
        .map_or(host.as_str(), |(name, _)| name);
    let name = name.trim_start_matches('[').trim_end_matches(']');
    let is_loopback =
        name == "localhost" || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if is_loopback {
        return Ok(());
    }
    Err(format!(
        "{key}: `{host}` can be reached from other machines, and this version has no TLS or tokens; use unix:PATH or 127.0.0.1:PORT"
    ))
}

//! Whether the roles of one file fit together, and whether any would listen where it must not.

use std::net::IpAddr;

use super::{AggregatorSection, Config, Listen, Listens, LogSection, TlsSection, following};

/// # Errors
/// A sentence that names section and key, and says what to do.
pub(super) fn check(config: &Config) -> Result<(), String> {
    roles(config)?;
    tls(config)?;
    for (key, listens) in http_listeners(config) {
        if let Some(socket) = listens
            .iter()
            .find(|listen| matches!(listen, Listen::Unix(_)))
        {
            return Err(format!(
                "{key}: `{socket}` is for gRPC; HTTP is served at HOST:PORT or tls://HOST:PORT"
            ));
        }
    }
    if let Some(log) = &config.log {
        submission(log, &config.tls)?;
    }
    if let Some(aggregator) = &config.aggregator {
        private(aggregator, &config.tls)?;
        following::check(aggregator)?;
    }
    apart(config)
}

fn roles(config: &Config) -> Result<(), String> {
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
    if let Some(resolver) = resolver
        && resolver.complete
        && resolver.aggregator.is_none()
    {
        return Err(
            "resolver.complete: the aggregator in this file has read the logs itself, so nothing can be left out; remove the line, or say with resolver.aggregator where another one answers"
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
    if let Some(mirror) = mirror
        && (mirror.logs.is_empty() || mirror.logs.iter().any(|log| log.urls.is_empty()))
    {
        return Err("mirror.logs: each copied log needs its key and at least one address: [[mirror.logs]] vkey = \"…\" urls = [\"https://…\"]".into());
    }
    Ok(())
}

/// Keys of `[tls]` that need one another, and listeners that need them.
fn tls(config: &Config) -> Result<(), String> {
    let section = &config.tls;
    if section.cert.is_some() != section.key.is_some() {
        return Err("tls: `cert` and `key` belong together; give both".into());
    }
    if section.client_cert.is_some() != section.client_key.is_some() {
        return Err("tls: `client_cert` and `client_key` belong together; give both".into());
    }
    let uses_tls = listeners(config)
        .into_iter()
        .find(|(_, listen)| matches!(listen, Listen::Tls(_)));
    match uses_tls {
        Some((key, listen)) if section.cert.is_none() => Err(listen.without_certificate(key)),
        None if section.cert.is_some() => {
            Err("tls.cert: no listener uses it; write `tls://HOST:PORT` where one should".into())
        }
        _ => Ok(()),
    }
}

/// Every listener with the key that it stands under.
fn listeners(config: &Config) -> Vec<(&'static str, &Listen)> {
    let submit = config
        .log
        .iter()
        .map(|log| ("log.listen.submit", &log.listen.submit));
    let aggregator = config
        .aggregator
        .iter()
        .map(|section| ("aggregator.listen", &section.listen));
    submit
        .chain(aggregator)
        .chain(http_listeners(config))
        .flat_map(|(key, listens)| listens.iter().map(move |listen| (key, listen)))
        .collect()
}

fn http_listeners(config: &Config) -> Vec<(&'static str, &Listens)> {
    let log = config
        .log
        .as_ref()
        .map(|log| ("log.listen.public", &log.listen.public));
    let resolver = config
        .resolver
        .as_ref()
        .map(|section| ("resolver.listen", &section.listen));
    let dashboard = config
        .dashboard
        .as_ref()
        .map(|section| ("dashboard.listen", &section.listen));
    let metrics = config
        .metrics
        .as_ref()
        .map(|section| ("metrics.listen", &section.listen));
    let witness = config
        .witness
        .as_ref()
        .map(|section| ("witness.listen", &section.listen));
    let mirror = config
        .mirror
        .as_ref()
        .map(|section| ("mirror.listen", &section.listen));
    [log, resolver, dashboard, metrics, witness, mirror]
        .into_iter()
        .flatten()
        .collect()
}

/// Public and private services never share a listener.
fn apart(config: &Config) -> Result<(), String> {
    let all = listeners(config);
    for (index, (key, listen)) in all.iter().enumerate() {
        let same = all
            .iter()
            .skip(index.saturating_add(1))
            .find(|(_, other)| place(listen) == place(other) && !place(listen).ends_with(":0"));
        if let Some((other_key, _)) = same {
            return Err(format!(
                "{key} and {other_key} are both at {}; each needs an address of its own",
                place(listen)
            ));
        }
    }
    Ok(())
}

fn place(listen: &Listen) -> String {
    match listen {
        Listen::Plain(host) | Listen::Tls(host) => host.clone(),
        Listen::Unix(path) => path.display().to_string(),
    }
}

/// Who reaches the submission of a log votes.
fn submission(log: &LogSection, tls: &TlsSection) -> Result<(), String> {
    for listen in log.listen.submit.iter() {
        match listen {
            Listen::Unix(_) => {}
            Listen::Plain(host) => {
                return Err(format!(
                    "log.listen.submit: everybody on this machine can reach `{host}`, builds with network access too, and whoever reaches it votes here; use unix:PATH, or tls://HOST:PORT with tokens"
                ));
            }
            Listen::Tls(host) if log.tokens.is_none() && log.clients.is_empty() => {
                return Err(format!(
                    "log.listen.submit: nobody may submit at `{host}`; say who in [log]: `tokens = FILE`, or `clients` with their certificates"
                ));
            }
            Listen::Tls(_) => {}
        }
    }
    if !log.clients.is_empty() && tls.client_ca.is_none() {
        return Err(
            "log.clients: whose certificates are they? Add `client_ca` with their authority to [tls]"
                .into(),
        );
    }
    if log.token_on_socket && log.tokens.is_none() {
        return Err("log.token_on_socket: there are no tokens; add `tokens = FILE`".into());
    }
    Ok(())
}

/// What asks at length stays on this machine, unless it is known who asks or everybody may.
fn private(section: &AggregatorSection, tls: &TlsSection) -> Result<(), String> {
    for listen in section.listen.iter() {
        match listen {
            Listen::Plain(host) if !is_loopback(host) => {
                return Err(format!(
                    "aggregator.listen: `{host}` can be reached from other machines, and without TLS; use tls://{host}, unix:PATH or 127.0.0.1:PORT"
                ));
            }
            Listen::Tls(host)
                if !is_loopback(host) && !section.public && tls.client_ca.is_none() =>
            {
                return Err(format!(
                    "aggregator.listen: everybody can reach `{host}`; add `client_ca` to [tls] so that it answers clients with a certificate only, or `public = true` to [aggregator]"
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

fn is_loopback(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

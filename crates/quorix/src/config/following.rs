//! Whom an aggregator compares checkpoints with, and whom it tells of events.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use quorix_wire::address::Address;
use serde::Deserialize;

use super::{AggregatorSection, Listen, from_text};

/// Most peers.
const PEERS_MAX: usize = 64;
/// Most webhooks.
const WEBHOOKS_MAX: usize = 16;
/// Longest name of a peer, in bytes.
const NAME_BYTES_MAX: usize = 60;
/// Longest URL of a webhook, in bytes.
const URL_BYTES_MAX: usize = 2_048;
/// Shortest time between two exchanges with a peer.
const INTERVAL_MIN: Duration = Duration::from_millis(100);

/// `[[aggregator.peers]]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerSection {
    /// What it is called in messages and metrics.
    pub name: String,
    /// Where it answers: `https://HOST:PORT`, `unix:PATH` or `127.0.0.1:PORT`.
    #[serde(deserialize_with = "from_text")]
    pub address: Address,
}

/// `[[aggregator.webhooks]]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookSection {
    /// `https://…` or `http://…`.
    pub url: String,
    /// The secret key (of kind log) that signs what is posted; of its own, never a log's.
    pub key: PathBuf,
}

/// # Errors
/// A sentence that names section and key, and says what to do.
pub(super) fn check(section: &AggregatorSection) -> Result<(), String> {
    if section.gossip_interval.0 < INTERVAL_MIN {
        return Err(
            "aggregator.gossip_interval: less than 100ms asks peers all the time; 60s does well"
                .into(),
        );
    }
    peers(section)?;
    webhooks(&section.webhooks)
}

fn peers(section: &AggregatorSection) -> Result<(), String> {
    let peers = &section.peers;
    if peers.len() > PEERS_MAX {
        let count = peers.len();
        return Err(format!(
            "aggregator.peers: there are {count}, at most {PEERS_MAX} are compared with"
        ));
    }
    let (mut names, mut addresses) = (BTreeSet::new(), BTreeSet::new());
    for PeerSection { name, address } in peers {
        let is_plain =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(is_plain) {
            return Err(format!(
                "aggregator.peers: `{}` is no name; use 1 to {NAME_BYTES_MAX} letters, digits, dots, hyphens and underscores",
                name.escape_debug()
            ));
        }
        if !names.insert(name) {
            return Err(format!(
                "aggregator.peers: two are called `{name}`; each needs a name of its own"
            ));
        }
        if !addresses.insert(address.to_string()) {
            return Err(format!(
                "aggregator.peers: `{name}` is at {address}, and so is another one; list each once"
            ));
        }
        if section.listen.iter().any(|own| is_at(own, address)) {
            return Err(format!(
                "aggregator.peers: `{name}` at {address} is this aggregator itself; list those of others"
            ));
        }
    }
    Ok(())
}

fn is_at(own: &Listen, address: &Address) -> bool {
    match (own, address) {
        (Listen::Plain(own), Address::Tcp(other)) | (Listen::Tls(own), Address::Tls(other)) => {
            own == other
        }
        (Listen::Unix(own), Address::Unix(other)) => own == other,
        _ => false,
    }
}

fn webhooks(webhooks: &[WebhookSection]) -> Result<(), String> {
    if webhooks.len() > WEBHOOKS_MAX {
        let count = webhooks.len();
        return Err(format!(
            "aggregator.webhooks: there are {count}, at most {WEBHOOKS_MAX} are told"
        ));
    }
    let mut urls = BTreeSet::new();
    for WebhookSection { url, .. } in webhooks {
        if !is_web(url) {
            return Err(format!(
                "aggregator.webhooks: `{}` is nothing to post to; write `https://HOST/PATH`, without a name or password in it",
                url.chars().take(100).collect::<String>().escape_debug()
            ));
        }
        if !urls.insert(url) {
            return Err(format!(
                "aggregator.webhooks: {url} is there twice; it would be told everything twice"
            ));
        }
    }
    Ok(())
}

fn is_web(url: &str) -> bool {
    let rest = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"));
    let host = rest.and_then(|rest| rest.split(['/', '?', '#']).next());
    url.len() <= URL_BYTES_MAX
        && url.bytes().all(|byte| byte.is_ascii_graphic())
        && host.is_some_and(|host| !host.is_empty() && !host.contains('@'))
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    fn refused(lines: &str) -> String {
        Config::parse(&text(lines)).unwrap_err()
    }

    fn text(lines: &str) -> String {
        format!(
            "data_dir = \"/d\"\npolicy = \"/p\"\n[aggregator]\nlisten = [\"127.0.0.1:8481\", \"unix:/run/a\"]\n{lines}"
        )
    }

    fn peer(name: &str, address: &str) -> String {
        format!("[[aggregator.peers]]\nname = \"{name}\"\naddress = \"{address}\"\n")
    }

    fn webhook(url: &str) -> String {
        format!("[[aggregator.webhooks]]\nurl = \"{url}\"\nkey = \"/k\"\n")
    }

    #[test]
    fn peers_and_webhooks_are_read() {
        let lines = [
            "witness_key = \"/w\"\ngossip_interval = \"100ms\"\n".to_owned(),
            peer("bob", "https://bob.example:8481"),
            peer("carol.local_2", "unix:/run/carol"),
            webhook("https://hooks.example.org/quorix?a=b"),
            webhook("http://127.0.0.1:9/"),
        ];
        let config = Config::parse(&text(&lines.concat())).unwrap();
        let aggregator = config.aggregator.unwrap();
        assert_eq!(aggregator.peers.len(), 2);
        assert_eq!(aggregator.webhooks.len(), 2);
        let config = Config::parse(&text("")).unwrap();
        assert_eq!(config.aggregator.unwrap().gossip_interval.0.as_secs(), 60);
    }

    #[test]
    fn peers_that_cannot_be_meant_are_refused_by_name() {
        let bob = peer("bob", "127.0.0.1:1");
        for (lines, expected) in [
            (
                peer("", "127.0.0.1:1"),
                "aggregator.peers: `` is no name; use 1 to 60 letters, digits, dots, hyphens and underscores",
            ),
            (
                peer("a b", "127.0.0.1:1"),
                "aggregator.peers: `a b` is no name; use 1 to 60 letters, digits, dots, hyphens and underscores",
            ),
            (
                bob.clone() + &peer("bob", "127.0.0.1:2"),
                "aggregator.peers: two are called `bob`; each needs a name of its own",
            ),
            (
                bob + &peer("carol", "127.0.0.1:1"),
                "aggregator.peers: `carol` is at 127.0.0.1:1, and so is another one; list each once",
            ),
            (
                peer("me", "127.0.0.1:8481"),
                "aggregator.peers: `me` at 127.0.0.1:8481 is this aggregator itself; list those of others",
            ),
            (
                peer("me", "unix:/run/a"),
                "aggregator.peers: `me` at unix:/run/a is this aggregator itself; list those of others",
            ),
            (
                (0..65)
                    .map(|number| peer(&format!("p{number}"), &format!("127.0.0.1:{number}")))
                    .collect(),
                "aggregator.peers: there are 65, at most 64 are compared with",
            ),
            (
                "gossip_interval = \"99ms\"\n".to_owned(),
                "aggregator.gossip_interval: less than 100ms asks peers all the time; 60s does well",
            ),
        ] {
            assert_eq!(refused(&lines), expected);
        }
    }

    #[test]
    fn a_webhook_is_an_address_of_the_web() {
        for url in [
            "hooks.example.org",
            "ftp://hooks.example.org/",
            "https://",
            "https:///path",
            "https://me:secret@hooks.example.org/",
            "https://hooks.example.org/a b",
        ] {
            assert_eq!(
                refused(&webhook(url)),
                format!(
                    "aggregator.webhooks: `{url}` is nothing to post to; write `https://HOST/PATH`, without a name or password in it"
                )
            );
        }
        assert_eq!(
            refused(&webhook("http://h/").repeat(2)),
            "aggregator.webhooks: http://h/ is there twice; it would be told everything twice"
        );
        let many: String = (0..17)
            .map(|number| webhook(&format!("http://h/{number}")))
            .collect();
        assert_eq!(
            refused(&many),
            "aggregator.webhooks: there are 17, at most 16 are told"
        );
    }
}

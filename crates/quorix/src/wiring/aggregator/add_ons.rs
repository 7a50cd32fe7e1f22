//! What an aggregator does besides following and answering: it cosigns, compares with peers and tells of events.
//!
//! Its keys are [its own](crate::wiring::one_role); and nobody vouches for themselves: an aggregator never cosigns the log
//! of its own configuration.

use quorix_aggregator::gossip::Peer;
use quorix_aggregator::service::Aggregator;
use quorix_aggregator::webhook::Webhook;
use quorix_tlog::cosignature::CosignerSigningKey;
use quorix_trust::policy::Policy;

use super::evidence;
use crate::config::{AggregatorSection, Config};
use crate::output::Failure;
use crate::wiring::one_role::Taken;
use crate::wiring::{Start, keys, tls};

/// Keys that were read, and found to be of their own.
pub(super) struct Keys {
    cosigner: Option<CosignerSigningKey>,
    hooks: Vec<Webhook>,
}

/// Reads the keys of the section.
///
/// # Errors
/// A key cannot be read, is of another kind, or signs something else already.
pub(super) fn read(
    config: &Config,
    section: &AggregatorSection,
    policy: &Policy,
) -> Result<Keys, Failure> {
    let mut taken = Taken::by_others(config, "[aggregator]")?;
    taken.follow(policy);
    let cosigner = section.witness_key.as_deref();
    let cosigner = cosigner.map(keys::cosigner_key).transpose()?;
    if let Some(key) = &cosigner {
        let public = key.verifier().public_bytes();
        taken.check("aggregator.witness_key", "witness", &public)?;
        taken.take("aggregator.witness_key", public);
    }
    let mut hooks = Vec::new();
    for hook in &section.webhooks {
        let key = keys::webhook_key(&hook.key)?;
        taken.check("aggregator.webhooks", "log", key.verifier().as_bytes())?;
        let url = hook.url.clone();
        hooks.push(Webhook { url, key });
    }
    Ok(Keys { cosigner, hooks })
}

/// Cosigns, compares, tells, and keeps the files of proofs.
///
/// # Errors
/// A peer's address cannot be used.
pub(super) fn start(
    start: &mut Start<'_>,
    section: &AggregatorSection,
    keys: Keys,
    aggregator: &Aggregator,
) -> Result<(), Failure> {
    if let Some(key) = keys.cosigner {
        let own = start.config.log.iter().map(|log| log.origin.clone());
        aggregator.cosign_with(key, own.collect());
    }
    let mut peers = Vec::new();
    for peer in &section.peers {
        let channel = tls::channel(&peer.address, &start.config.tls)?;
        let name = peer.name.clone();
        peers.push(Peer { name, channel });
    }
    aggregator.gossip_with(peers, section.gossip_interval.0);
    for hook in keys.hooks {
        aggregator.post_events(hook);
    }
    let dir = start.config.role_dir("evidence");
    start
        .tasks
        .spawn(evidence::keep(aggregator.clone(), dir, start.stop.clone()));
    Ok(())
}

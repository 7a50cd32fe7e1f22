//! What an aggregator does besides following and answering: it cosigns, compares with peers and tells of events.
//!
//! Its keys are its own. Two roles with one key would each remember only what they signed themselves; and nobody vouches
//! for themselves: an aggregator never cosigns the log of its own configuration.

use quorix_aggregator::gossip::Peer;
use quorix_aggregator::service::Aggregator;
use quorix_aggregator::webhook::Webhook;
use quorix_tlog::cosignature::CosignerSigningKey;
use quorix_trust::policy::Policy;

use super::evidence;
use crate::config::{AggregatorSection, Config};
use crate::output::Failure;
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
    let taken = taken(config, policy)?;
    let alone = |what: &str, kind: &str, public: &[u8]| match taken
        .iter()
        .find(|(_, other)| other.as_slice() == public)
    {
        None => Ok(()),
        Some((whose, _)) => Err(Failure::wrong(format!(
            "{what}: that is the key of {whose} too, and a key signs for one thing only; make another one: quorix key \
             generate --kind {kind} --name NAME FILE"
        ))),
    };
    let cosigner = section.witness_key.as_deref();
    let cosigner = cosigner.map(keys::cosigner_key).transpose()?;
    if let Some(key) = &cosigner {
        let public = key.verifier().public_bytes();
        alone("aggregator.witness_key", "witness", &public)?;
    }
    let mut hooks = Vec::new();
    for hook in &section.webhooks {
        let key = keys::webhook_key(&hook.key)?;
        let public = key.verifier().as_bytes();
        alone("aggregator.webhooks", "log", public.as_slice())?;
        let is_cosigner = |cosigner: &CosignerSigningKey| {
            cosigner.verifier().public_bytes().as_slice() == public.as_slice()
        };
        if cosigner.as_ref().is_some_and(is_cosigner) {
            return Err(Failure::wrong(
                "aggregator.webhooks: that is aggregator.witness_key too, and a key signs for one thing only; make another \
                 one: quorix key generate --kind log --name NAME FILE",
            ));
        }
        let url = hook.url.clone();
        hooks.push(Webhook { url, key });
    }
    Ok(Keys { cosigner, hooks })
}

/// Public keys that sign something else, and for whom.
fn taken(config: &Config, policy: &Policy) -> Result<Vec<(String, Vec<u8>)>, Failure> {
    let mut taken = Vec::new();
    if let Some(log) = &config.log {
        let key = keys::log_key(&log.key, &log.origin)?;
        taken.push(("[log]".to_owned(), key.verifier().as_bytes().to_vec()));
    }
    let witness = config.witness.as_ref().map(|witness| &witness.key);
    let mirror = config
        .mirror
        .as_ref()
        .and_then(|mirror| mirror.key.as_ref());
    for (role, file) in [("[witness]", witness), ("[mirror]", mirror)] {
        if let Some(file) = file {
            let key = keys::cosigner_key(file)?;
            taken.push((role.to_owned(), key.verifier().public_bytes()));
        }
    }
    let followed = policy.builders.iter().map(|builder| {
        let whose = format!("the log {}, which is followed,", builder.origin());
        (whose, builder.key.as_bytes().to_vec())
    });
    taken.extend(followed);
    Ok(taken)
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

//! A log's client of its witnesses: collects cosignatures until the policy is met, and asks what they have seen.
//!
//! All witnesses are asked at the same time, and nobody waits for more than the quorum. Nothing that a witness says is
//! believed but a signature that verifies: a size that it names only decides from where the next proof begins. What is
//! published is the log's own note and verified lines, and nothing else. Specification: C2SP tlog-witness, tlog-policy.

mod look_up;
mod metrics;
mod peer;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use prometheus_client::registry::Registry;
use quorix_tlog::checkpoint::Checkpoint;
use quorix_tlog::cosignature::CosignerSigningKey;
use quorix_tlog::log_key::LogKey;
use quorix_tlog::note::{NoteSignature, SignedNote};
use quorix_tlog::proof::TileReader;
use quorix_tlog::tlog_policy::{Standing, TlogPolicy};
use quorix_trust::ports::Head;
use quorix_wire::fetch::Fetcher;

use crate::witness::Clock;
use metrics::Metrics;
use peer::Peer;

pub use look_up::{Contradiction, Seen};

/// How long one witness may take for one checkpoint, its retries included, where not told otherwise.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// What a log is told about its witnesses.
pub struct WitnessesConfig {
    /// Who must cosign, and where the witnesses are: the URL of each is its submission prefix.
    pub policy: TlogPolicy,
    /// The log's own public keys.
    pub log_keys: Vec<LogKey>,
    /// A second key of the log, with which it signs its own checkpoints (ML-DSA-44).
    pub own: Option<CosignerSigningKey>,
    /// How long one witness may take for one checkpoint.
    pub patience: Duration,
}

/// The witnesses of a policy cannot serve this log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WitnessesError {
    /// Those with a URL are too few for the quorum.
    #[error(
        "the witness policy can never be met: {missing}. A witness is reached at the URL at the end of its line in the \
         policy, and there is none"
    )]
    Unreachable {
        /// What is missing.
        missing: String,
    },
    /// A witness has the log's own key.
    #[error(
        "the witness `{name}` of the policy has this log's own key: nobody can vouch for themselves"
    )]
    OwnKey {
        /// The witness's name in the policy.
        name: String,
    },
    /// The log's second key has another name than the log.
    #[error("the log's second key is called `{name}`, not {origin} as the log is")]
    KeyName {
        /// The key's name.
        name: String,
        /// The log's origin.
        origin: String,
    },
}

/// Not enough witnesses have cosigned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuorumNotMet {
    /// What the log wants to have cosigned is not its own checkpoint. Not expected to happen.
    #[error("the checkpoint cannot be cosigned: {0}")]
    Checkpoint(String),
    /// What is missing, and what each witness that did not cosign said.
    #[error("{missing}{}", said(problems))]
    Missing {
        /// Which groups lack whom.
        missing: String,
        /// Name of each witness that failed, and why.
        problems: Vec<(String, String)>,
    },
}

/// Collects cosignatures for one log. Clones share what is known of the witnesses.
#[derive(Clone)]
pub struct Witnesses {
    inner: Arc<Inner>,
}

struct Inner {
    config: WitnessesConfig,
    peers: Vec<Peer>,
    fetcher: Fetcher,
    clock: Clock,
    /// The newest time that the log's second key has signed: a clock that goes back gives that one again.
    signed_at: AtomicU64,
    metrics: Metrics,
}

impl Witnesses {
    /// The witnesses of a policy, for one log. Nobody is asked yet.
    ///
    /// # Errors
    /// They can never meet the policy, or one of them is the log itself.
    pub fn new(
        config: WitnessesConfig,
        fetcher: Fetcher,
        clock: Clock,
        registry: &mut Registry,
    ) -> Result<Self, WitnessesError> {
        let registry = registry.sub_registry_with_prefix("quorix_log_witness");
        Self::counting(config, fetcher, clock, registry)
    }

    /// The same for the output log of the log's index, counted apart.
    ///
    /// # Errors
    /// As [`Witnesses::new`].
    pub fn of_index(
        config: WitnessesConfig,
        fetcher: Fetcher,
        clock: Clock,
        registry: &mut Registry,
    ) -> Result<Self, WitnessesError> {
        let registry = registry.sub_registry_with_prefix("quorix_log_index_witness");
        Self::counting(config, fetcher, clock, registry)
    }

    fn counting(
        config: WitnessesConfig,
        fetcher: Fetcher,
        clock: Clock,
        registry: &mut Registry,
    ) -> Result<Self, WitnessesError> {
        check(&config)?;
        let witnesses = config.policy.witnesses.iter().enumerate();
        let peers = witnesses
            .filter_map(|(index, witness)| Peer::new(index, witness))
            .collect();
        Ok(Self {
            inner: Arc::new(Inner {
                metrics: Metrics::register(registry),
                config,
                peers,
                fetcher,
                clock,
                signed_at: AtomicU64::new(0),
            }),
        })
    }

    /// Whether a note is a checkpoint of this log that meets the policy as it stands.
    #[must_use]
    pub fn accepts(&self, note: &[u8]) -> bool {
        let config = &self.inner.config;
        let keys: Vec<&LogKey> = config.log_keys.iter().collect();
        SignedNote::parse(note).is_ok_and(|note| config.policy.verify_log(&note, &keys).is_ok())
    }

    /// Collects cosignatures on a head until the policy is met: the bytes of its checkpoint, followed by the log's second
    /// signature if it has one and by the verified lines. `tree` is that of the head, or a later one.
    ///
    /// # Errors
    /// The policy is not met: who did not cosign, and why.
    pub async fn collect<R>(&self, head: &Head, tree: &R) -> Result<Vec<u8>, QuorumNotMet>
    where
        R: TileReader + Clone + Send + Sync + 'static,
        R::Error: std::fmt::Display + Send,
    {
        let inner = &self.inner;
        let unusable = |reason: String| QuorumNotMet::Checkpoint(reason);
        let note = SignedNote::parse(&head.checkpoint).map_err(|e| unusable(e.to_string()))?;
        let checkpoint = Checkpoint::parse(note.text()).map_err(|e| unusable(e.to_string()))?;
        let policy = &inner.config.policy;
        let mut times = vec![None; policy.witnesses.len()];
        let mut found: Vec<(usize, NoteSignature)> = Vec::new();
        let mut problems = Vec::new();
        let mut asked: FuturesUnordered<_> = inner
            .peers
            .iter()
            .map(|peer| inner.ask(peer, &checkpoint, &note, tree))
            .collect();
        let time = loop {
            let missing = match policy.standing(&times) {
                Standing::Met { time } => break time,
                Standing::NotMet { missing } => missing,
            };
            match asked.next().await {
                Some((peer, Ok(cosignatures))) => {
                    for (line, time) in cosignatures {
                        if let Some(latest) = times.get_mut(peer.index) {
                            *latest = (*latest).max(Some(time));
                        }
                        found.push((peer.index, line));
                    }
                }
                Some((peer, Err(reason))) => problems.push((peer.name.clone(), reason)),
                None => {
                    let missing = Standing::NotMet { missing }.to_string();
                    return Err(QuorumNotMet::Missing { missing, problems });
                }
            }
        };
        drop(asked);
        found.sort_by_key(|(index, _)| *index);
        let lines = found.into_iter().map(|(_, line)| line);
        let note = inner.assemble(&note, &checkpoint, lines)?;
        inner
            .metrics
            .quorum(time.unwrap_or_else(|| (inner.clock)()));
        Ok(note)
    }
}

impl Inner {
    /// One witness's verified cosignatures with their times, or what is wrong with it.
    async fn ask<'a, R>(
        &'a self,
        peer: &'a Peer,
        checkpoint: &Checkpoint,
        note: &SignedNote,
        tree: &R,
    ) -> (&'a Peer, Result<Vec<(NoteSignature, u64)>, String>)
    where
        R: TileReader + Clone + Send + Sync + 'static,
        R::Error: std::fmt::Display + Send,
    {
        let started = tokio::time::Instant::now();
        let patience = self.config.patience;
        let now = (self.clock)();
        let asked = peer.ask(&self.fetcher, checkpoint, note, tree, now);
        let answer = match tokio::time::timeout(patience, asked).await {
            Ok(answer) => answer.map_err(|error| error.to_string()),
            Err(_) => Err(format!("no answer in {} s", patience.as_secs_f32())),
        };
        self.metrics.asked(answer.is_ok(), started.elapsed());
        if let Err(reason) = &answer {
            tracing::warn!(witness = %peer.name, %reason, "a witness did not cosign");
        }
        (peer, answer)
    }

    /// The note to publish, held against the policy once more as a reader will.
    fn assemble(
        &self,
        note: &SignedNote,
        checkpoint: &Checkpoint,
        lines: impl Iterator<Item = NoteSignature>,
    ) -> Result<Vec<u8>, QuorumNotMet> {
        let unusable = |reason: String| QuorumNotMet::Checkpoint(reason);
        let own = self.config.own.as_ref();
        let now = (self.clock)();
        let now = now.max(self.signed_at.fetch_max(now, Ordering::SeqCst));
        let own = own.map(|key| key.cosign(checkpoint, now));
        let own = own.transpose().map_err(|e| unusable(e.to_string()))?;
        let mut signatures = note.signatures().to_vec();
        signatures.extend(own);
        signatures.extend(lines);
        let note = SignedNote::assemble(note.text(), signatures);
        let note = note.map_err(|e| unusable(e.to_string()))?;
        let keys: Vec<&LogKey> = self.config.log_keys.iter().collect();
        let verified = self.config.policy.verify_log(&note, &keys);
        verified.map_err(|e| unusable(e.to_string()))?;
        Ok(note.to_bytes())
    }
}

fn check(config: &WitnessesConfig) -> Result<(), WitnessesError> {
    let WitnessesConfig {
        policy,
        log_keys,
        own,
        ..
    } = config;
    let of_log = |public: &[u8]| log_keys.iter().any(|key| key.public_bytes() == public);
    for witness in &policy.witnesses {
        if of_log(&witness.key.public_bytes()) {
            let name = witness.name.to_string();
            return Err(WitnessesError::OwnKey { name });
        }
    }
    let origin = log_keys.first().map(LogKey::name);
    if let (Some(own), Some(origin)) = (own, origin)
        && own.verifier().name() != origin
    {
        return Err(WitnessesError::KeyName {
            name: own.verifier().name().to_string(),
            origin: origin.to_string(),
        });
    }
    let reachable = policy.witnesses.iter();
    let reachable: Vec<Option<u64>> = reachable
        .map(|witness| witness.url.as_ref().map(|_| 1))
        .collect();
    match policy.standing(&reachable) {
        Standing::Met { .. } => Ok(()),
        not_met => Err(WitnessesError::Unreachable {
            missing: not_met.to_string(),
        }),
    }
}

/// `; name: why; …`, or nothing.
fn said(problems: &[(String, String)]) -> String {
    problems
        .iter()
        .map(|(name, reason)| format!("; {name}: {reason}"))
        .collect()
}

#[cfg(test)]
mod tests;

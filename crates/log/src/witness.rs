//! The witness role: cosigns checkpoints of the logs that it is told, each one an extension of what it cosigned before.
//!
//! What it decides is [`quorix_tlog::witness::judge`]; here is what makes it last. The state is read, judged and
//! replaced only if it is still the same, synced before a byte of the cosignature is shown: of two requests that race,
//! or two processes, one is judged anew. It keeps nothing of a log but its newest checkpoint, follows nothing and
//! believes no entry. Specification: C2SP tlog-witness, tlog-cosignature.

mod metrics;
mod rate;
pub mod routes;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use data_encoding::HEXLOWER;
use prometheus_client::registry::Registry;
use quorix_tlog::cosignature::CosignerSigningKey;
use quorix_tlog::log_key::LogKey;
use quorix_tlog::note::{NoteSignature, SignedNote};
use quorix_tlog::witness::{Accepted, AddCheckpoint, Refusal, WitnessedLog, judge};
use quorix_trust::ports::{StoreError, WitnessRecord, WitnessStore};
use sha2::{Digest as _, Sha256};

use metrics::Metrics;
use rate::Rate;

/// Seconds since 1970.
pub type Clock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The same checkpoint asked for again within this many seconds gets the cosignatures that it has, without a write.
/// Anybody can repeat a log's request; this way it costs neither the disk nor the log's share.
pub const REPEAT_WITHIN: u64 = 10;

/// How often a request is judged anew after another one was faster.
const ATTEMPTS: usize = 8;

/// What a witness is told at its start.
pub struct WitnessConfig {
    /// Its keys; each cosigns. At least one.
    pub keys: Vec<CosignerSigningKey>,
    /// Keys of the logs that it cosigns; several may be of one origin.
    pub logs: Vec<LogKey>,
    /// How many checkpoints of one log it cosigns in one minute.
    pub per_minute: u32,
}

/// A witness cannot start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WitnessStartError {
    /// No key.
    #[error("a witness needs a key; make one: quorix key generate --kind witness --name NAME FILE")]
    NoKey,
    /// No log.
    #[error("a witness needs logs to watch: list their keys, as `quorix key show` prints them")]
    NoLog,
    /// A key of the witness is a log's key: what one signs the other would have signed too.
    #[error("the witness and the log {origin} have the same key; each needs its own")]
    SharedKey {
        /// The log's origin.
        origin: String,
    },
}

/// Why a request got no cosignature.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoCosignature {
    /// The witness refuses.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Too many checkpoints of this log in this minute.
    #[error(
        "more checkpoints of this log than the permitted {per_minute} a minute; try again later"
    )]
    TooMany {
        /// How many are permitted.
        per_minute: u32,
    },
    /// Others were faster each time.
    #[error("others ask about this log all the time; try again")]
    Busy,
    /// The store failed, or a signature could not be made.
    #[error("the witness cannot keep what it cosigns; try again later")]
    Failed {
        /// Why, not for the world.
        reason: String,
    },
}

/// A handle to a running witness.
#[derive(Clone)]
pub struct Witness {
    inner: Arc<Inner>,
}

struct Inner {
    store: Arc<dyn WitnessStore>,
    keys: Vec<CosignerSigningKey>,
    /// By origin.
    logs: BTreeMap<String, Vec<LogKey>>,
    /// Origin by the hexadecimal SHA-256 of it.
    origins: BTreeMap<String, String>,
    clock: Clock,
    rate: Rate,
    metrics: Metrics,
}

impl Witness {
    /// Starts a witness over what it has cosigned before.
    ///
    /// # Errors
    /// It has no key or no log, or shares a key with one.
    pub fn start(
        config: WitnessConfig,
        store: Arc<dyn WitnessStore>,
        clock: Clock,
        registry: &mut Registry,
    ) -> Result<Self, WitnessStartError> {
        if config.keys.is_empty() {
            return Err(WitnessStartError::NoKey);
        }
        let mut logs: BTreeMap<String, Vec<LogKey>> = BTreeMap::new();
        for key in config.logs {
            let public = key.public_bytes();
            let origin = key.name().to_string();
            let is_own = |own: &CosignerSigningKey| own.verifier().public_bytes() == public;
            if config.keys.iter().any(is_own) {
                return Err(WitnessStartError::SharedKey { origin });
            }
            logs.entry(origin).or_default().push(key);
        }
        if logs.is_empty() {
            return Err(WitnessStartError::NoLog);
        }
        let hash = |origin: &String| HEXLOWER.encode(&Sha256::digest(origin));
        let origins = logs.keys().map(|origin| (hash(origin), origin.clone()));
        Ok(Self {
            inner: Arc::new(Inner {
                origins: origins.collect(),
                metrics: Metrics::register(registry, logs.len()),
                store,
                keys: config.keys,
                logs,
                clock,
                rate: Rate::new(config.per_minute),
            }),
        })
    }

    /// Answers an `add-checkpoint` request with the lines of its cosignatures, which are durable by then. Blocks.
    ///
    /// # Errors
    /// Why there is none.
    pub fn add_checkpoint(&self, body: &[u8]) -> Result<String, NoCosignature> {
        let started = Instant::now();
        let answer = self.inner.add_checkpoint(body);
        self.inner.metrics.answered(&answer, started.elapsed());
        match &answer {
            Err(NoCosignature::Failed { reason }) => {
                tracing::error!(%reason, "the witness could not cosign");
            }
            // Signed by the log itself: either its operator made a mistake, or it shows two histories.
            Err(NoCosignature::Refused(refusal @ Refusal::NotConsistent(_))) => {
                tracing::warn!(%refusal, "a log asked to have something cosigned that is not consistent");
            }
            _ => {}
        }
        answer
    }

    /// The newest cosigned checkpoint of the log with this hexadecimal SHA-256 of its origin, `None` if it is not known
    /// or nothing of it was cosigned. Blocks.
    ///
    /// # Errors
    /// The store failed.
    pub fn latest(&self, origin_hash: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(origin) = self.inner.origins.get(origin_hash) else {
            return Ok(None);
        };
        Ok(self.inner.store.record(origin)?.map(|record| record.note))
    }

    /// The texts of its public keys.
    #[must_use]
    pub fn vkeys(&self) -> Vec<String> {
        let keys = self.inner.keys.iter();
        keys.map(|key| key.verifier().to_string()).collect()
    }

    /// The origins of the logs that it cosigns.
    #[must_use]
    pub fn origins(&self) -> Vec<String> {
        self.inner.logs.keys().cloned().collect()
    }
}

impl Inner {
    fn add_checkpoint(&self, body: &[u8]) -> Result<String, NoCosignature> {
        let request = AddCheckpoint::parse(body).map_err(Refusal::from)?;
        let origin = &request.checkpoint.origin;
        let failed = |reason: String| NoCosignature::Failed { reason };
        for _ in 0..ATTEMPTS {
            let record = self.store.record(origin);
            let record = record.map_err(|error| failed(error.to_string()))?;
            let latest = record.as_ref().map(|record| record.cosigned);
            let log = self.logs.get(origin);
            let log = log.map(|keys| WitnessedLog { keys, latest });
            let now = (self.clock)();
            let accepted = judge(&request, log.as_ref(), now)?;
            if let Some(lines) = record.and_then(|record| self.repeated(&record, &accepted, now)) {
                return Ok(lines);
            }
            if !self.rate.take(origin, now) {
                let per_minute = self.rate.per_minute();
                return Err(NoCosignature::TooMany { per_minute });
            }
            let keys: Vec<&CosignerSigningKey> = self.keys.iter().collect();
            let cosignatures = accepted.cosign(&keys);
            let cosignatures = cosignatures.map_err(|error| failed(error.to_string()))?;
            let note = accepted.note(&cosignatures);
            let new = WitnessRecord {
                cosigned: accepted.state(),
                note: note.map_err(|error| failed(error.to_string()))?.to_bytes(),
            };
            let replaced = self.store.replace(origin, latest.as_ref(), &new);
            if replaced.map_err(|error| failed(error.to_string()))? {
                self.metrics.cosigned(origin, new.cosigned.size);
                return Ok(lines(cosignatures.iter()));
            }
        }
        Err(NoCosignature::Busy)
    }

    /// The cosignatures that this very checkpoint got a moment ago.
    fn repeated(&self, record: &WitnessRecord, accepted: &Accepted, now: u64) -> Option<String> {
        if now >= record.cosigned.time.saturating_add(REPEAT_WITHIN) {
            return None;
        }
        let note = SignedNote::parse(&record.note).ok()?;
        if note.text() != accepted.checkpoint().to_text() {
            return None;
        }
        let is_ours = |signature: &&NoteSignature| {
            let mut keys = self.keys.iter();
            keys.any(|key| key.verifier().is_named_by(signature))
        };
        let ours = lines(note.signatures().iter().filter(is_ours));
        // The keys may have been changed since.
        (ours.lines().count() == self.keys.len()).then_some(ours)
    }
}

fn lines<'a>(signatures: impl Iterator<Item = &'a NoteSignature>) -> String {
    signatures
        .map(|signature| format!("{signature}\n"))
        .collect()
}

#[cfg(test)]
mod tests;

//! A witness's decision about one request, with the HTTP answer of each refusal.

use crate::{
    checkpoint::Checkpoint,
    cosignature::{CosignatureError, CosignerSigningKey},
    hash::{EMPTY_ROOT, Hash},
    log_key::LogKey,
    note::{KeyName, NoteError, NoteSignature, SignedNote},
    proof::{ProofError, verify_consistency},
};

use super::{AddCheckpoint, RequestError};

/// How many seconds the clock may be behind the time of the last cosignature. That time is then
/// given again, so that times never decrease; further behind, nothing is cosigned.
pub const CLOCK_TOLERANCE: u64 = 60;

/// A log that a witness cosigns: its keys, of which one must have signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessedLog<'a> {
    /// Keys of one origin.
    pub keys: &'a [LogKey],
    /// What was cosigned last, `None` if nothing was.
    pub latest: Option<Cosigned>,
}

/// What a witness cosigned last of one log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cosigned {
    /// The tree's size.
    pub size: u64,
    /// The tree's root.
    pub root: Hash,
    /// When, in POSIX seconds.
    pub time: u64,
}

/// A checkpoint that extends what was cosigned last, with the log's own verified signatures. Not
/// yet cosigned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    checkpoint: Checkpoint,
    log_signatures: Vec<NoteSignature>,
    time: u64,
}

/// Why a witness does not cosign.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not a request.
    #[error(transparent)]
    Malformed(#[from] RequestError),
    /// The old size is above the checkpoint's.
    #[error("the old size {old} is above the checkpoint's size {size}")]
    OldAboveNew {
        /// The old size.
        old: u64,
        /// The checkpoint's size.
        size: u64,
    },
    /// This witness does not know the log.
    #[error("the log {origin} is not known here")]
    UnknownOrigin {
        /// The origin in the checkpoint.
        origin: String,
    },
    /// No known key of the log signed.
    #[error("none of the keys known here of the log {origin} signed the checkpoint")]
    NotSigned {
        /// The log's origin.
        origin: String,
    },
    /// A known key is named, and its signature is wrong.
    #[error("the signature by {name} is not valid for the checkpoint")]
    BadSignature {
        /// The key's name.
        name: KeyName,
    },
    /// The old size is not the one that was cosigned last.
    #[error("the size cosigned last is {latest}, not {old}")]
    Stale {
        /// The size that was cosigned last, 0 if none.
        latest: u64,
        /// The old size of the request.
        old: u64,
    },
    /// The checkpoint does not extend the one cosigned last, or the proof does not show it.
    #[error("the checkpoint is not shown to extend the one cosigned last: {0}")]
    NotConsistent(#[from] ProofError),
    /// The witness's clock is too far behind its own last cosignature.
    #[error(
        "the clock of this witness says {now}, but it has cosigned at {latest} already: \
         nothing is cosigned until the clock is right"
    )]
    ClockBehind {
        /// The time now in POSIX seconds.
        now: u64,
        /// The time of the last cosignature in POSIX seconds.
        latest: u64,
    },
}

impl Refusal {
    /// The HTTP status that says it.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::Malformed(_) | Self::OldAboveNew { .. } => 400,
            Self::NotSigned { .. } | Self::BadSignature { .. } => 403,
            Self::UnknownOrigin { .. } => 404,
            Self::Stale { .. } => 409,
            Self::NotConsistent(_) => 422,
            Self::ClockBehind { .. } => 503,
        }
    }

    /// The body's media type.
    #[must_use]
    pub const fn content_type(&self) -> &'static str {
        match self {
            Self::Stale { .. } => "text/x.tlog.size",
            _ => "text/plain; charset=utf-8",
        }
    }

    /// The body: the size cosigned last where that is what is wrong, else a sentence.
    #[must_use]
    pub fn body(&self) -> String {
        match self {
            Self::Stale { latest, .. } => format!("{latest}\n"),
            other => format!("{other}\n"),
        }
    }
}

/// Decides whether a witness may cosign, at the time `now` in POSIX seconds. `log` is what the
/// witness knows of the log that the checkpoint names, `None` if it does not know it.
///
/// # Errors
/// The first thing that is wrong, in the order of the specification.
pub fn judge(
    request: &AddCheckpoint,
    log: Option<&WitnessedLog<'_>>,
    now: u64,
) -> Result<Accepted, Refusal> {
    let checkpoint = &request.checkpoint;
    let (old, size) = (request.old, checkpoint.size);
    if old > size {
        return Err(Refusal::OldAboveNew { old, size });
    }
    let origin = || checkpoint.origin.clone();
    let log = log.ok_or_else(|| Refusal::UnknownOrigin { origin: origin() })?;
    let log_signatures = verified(request, log.keys)?;
    let (latest, root, last) = match log.latest {
        Some(cosigned) => (cosigned.size, cosigned.root, cosigned.time),
        None => (0, EMPTY_ROOT, 0),
    };
    if old != latest {
        return Err(Refusal::Stale { latest, old });
    }
    verify_consistency(old, size, &root, &checkpoint.root, &request.proof)?;
    if last > now.saturating_add(CLOCK_TOLERANCE) {
        return Err(Refusal::ClockBehind { now, latest: last });
    }
    Ok(Accepted {
        checkpoint: checkpoint.clone(),
        log_signatures,
        // A time of 0 would say nothing; see `CosignerKey::verify`.
        time: now.max(last).max(1),
    })
}

/// The signatures by known keys, all of them good.
fn verified(request: &AddCheckpoint, keys: &[LogKey]) -> Result<Vec<NoteSignature>, Refusal> {
    let mut found = Vec::new();
    for signature in request.note.signatures() {
        let mut named = keys
            .iter()
            .filter(|key| key.is_named_by(signature))
            .peekable();
        if named.peek().is_none() {
            continue;
        }
        if !named.any(|key| key.verifies(&request.checkpoint, signature)) {
            let name = signature.name().clone();
            return Err(Refusal::BadSignature { name });
        }
        if !found.contains(signature) {
            found.push(signature.clone());
        }
    }
    if found.is_empty() {
        let origin = request.checkpoint.origin.clone();
        return Err(Refusal::NotSigned { origin });
    }
    Ok(found)
}

impl Accepted {
    /// The checkpoint, as understood.
    #[must_use]
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The state to keep, before the cosignatures are shown to anybody.
    #[must_use]
    pub const fn state(&self) -> Cosigned {
        Cosigned {
            size: self.checkpoint.size,
            root: self.checkpoint.root,
            time: self.time,
        }
    }

    /// Cosigns with each of the witness's keys, all as of one time that never decreases.
    ///
    /// # Errors
    /// An ML-DSA-44 key cannot name the log's origin.
    pub fn cosign(
        &self,
        keys: &[&CosignerSigningKey],
    ) -> Result<Vec<NoteSignature>, CosignatureError> {
        keys.iter()
            .map(|key| key.cosign(&self.checkpoint, self.time))
            .collect()
    }

    /// The checkpoint with the log's verified signatures and these cosignatures, in this order:
    /// what a witness shows as the latest that it cosigned.
    ///
    /// # Errors
    /// More signatures than a note may have.
    pub fn note(&self, cosignatures: &[NoteSignature]) -> Result<SignedNote, NoteError> {
        let signatures = [self.log_signatures.as_slice(), cosignatures].concat();
        SignedNote::assemble(&self.checkpoint.to_text(), signatures)
    }
}

//! One witness, as a log asks it.

use std::sync::atomic::{AtomicU64, Ordering};

use quorix_tlog::checkpoint::Checkpoint;
use quorix_tlog::cosignature::CosignerKey;
use quorix_tlog::hash::Hash;
use quorix_tlog::note::{NoteSignature, SignedNote};
use quorix_tlog::proof::{TileReader, prove_consistency};
use quorix_tlog::tlog_policy::PolicyWitness;
use quorix_tlog::witness::{
    AddCheckpoint, MAX_REPLY_LENGTH, ReplyError, RequestError, read_cosignatures, read_size,
};
use quorix_wire::fetch::{FetchError, Fetcher, join};

/// How often a witness may say that the proof has to begin elsewhere.
const ATTEMPTS: usize = 4;

/// How many seconds the time of a cosignature may differ from this machine's.
const SKEW_MAX: u64 = 600;

/// A witness with an address.
pub(super) struct Peer {
    /// Index in the policy.
    pub(super) index: usize,
    /// Name in the policy.
    pub(super) name: String,
    pub(super) url: String,
    key: CosignerKey,
    /// The size that it cosigned last, as far as was verified.
    known: AtomicU64,
}

/// A witness did not cosign.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PeerError {
    #[error(transparent)]
    Fetch(#[from] FetchError),
    #[error(transparent)]
    Reply(#[from] ReplyError),
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("it answered with status {status}: {sentence}")]
    Status { status: u16, sentence: String },
    #[error(
        "it says that it has cosigned {latest} entries of this log, more than the {size} there are: either it does not \
         tell the truth, or this log has lost entries"
    )]
    Ahead { latest: u64, size: u64 },
    #[error("it keeps saying that another size was cosigned last")]
    Undecided,
    #[error("its time is {time}, which differs by more than {SKEW_MAX} s from ours")]
    Skew { time: u64 },
    #[error("no proof for it: {0}")]
    Proof(String),
}

impl Peer {
    /// `None` where the policy does not say where it is.
    pub(super) fn new(index: usize, witness: &PolicyWitness) -> Option<Self> {
        Some(Self {
            index,
            name: witness.name.to_string(),
            url: witness.url.clone()?,
            key: witness.key.clone(),
            known: AtomicU64::new(0),
        })
    }

    /// Has a checkpoint cosigned: verified lines with their times.
    pub(super) async fn ask<R>(
        &self,
        fetcher: &Fetcher,
        checkpoint: &Checkpoint,
        note: &SignedNote,
        tree: &R,
        now: u64,
    ) -> Result<Vec<(NoteSignature, u64)>, PeerError>
    where
        R: TileReader + Clone + Send + Sync + 'static,
        R::Error: std::fmt::Display + Send,
    {
        let url = join(&self.url, "add-checkpoint")?;
        let size = checkpoint.size;
        let mut old = self.known.load(Ordering::Relaxed).min(size);
        for _ in 0..ATTEMPTS {
            let proof = prove(tree, old, size).await?;
            let request = AddCheckpoint::new(old, proof, note.clone())?.to_bytes();
            let limit = u64::try_from(MAX_REPLY_LENGTH).unwrap_or(u64::MAX);
            let (status, body) = fetcher.post(&url, request, limit).await?;
            match status {
                200 => {
                    let found = read_cosignatures(&body, checkpoint, &[&self.key])?;
                    if let Some((_, time)) = found.iter().find(|(_, t)| t.abs_diff(now) > SKEW_MAX)
                    {
                        return Err(PeerError::Skew { time: *time });
                    }
                    self.known.store(size, Ordering::Relaxed);
                    return Ok(found);
                }
                409 => {
                    let latest = read_size(&body)?;
                    if latest > size {
                        return Err(PeerError::Ahead { latest, size });
                    }
                    old = latest;
                }
                status => {
                    let sentence = sentence(&body);
                    return Err(PeerError::Status { status, sentence });
                }
            }
        }
        Err(PeerError::Undecided)
    }
}

/// Reading tiles blocks.
async fn prove<R>(tree: &R, old: u64, new: u64) -> Result<Vec<Hash>, PeerError>
where
    R: TileReader + Clone + Send + Sync + 'static,
    R::Error: std::fmt::Display + Send,
{
    let tree = tree.clone();
    let proving = move || match prove_consistency(&tree, old, new) {
        Ok(proof) => Ok(proof),
        Err(quorix_tlog::proof::ProveError::Read(error)) => Err(error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    let proof = tokio::task::spawn_blocking(proving).await;
    proof
        .map_err(|error| PeerError::Proof(error.to_string()))?
        .map_err(PeerError::Proof)
}

/// The beginning of a text from outside, fit to be shown.
fn sentence(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let shown = text.trim().chars().take(120);
    shown
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

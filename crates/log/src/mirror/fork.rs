//! Proof that a mirrored log signed two checkpoints that contradict each other, and where it is kept.
//!
//! A proof that merely fails proves nothing: only one that recomputes the larger signed root exactly, and from it another
//! smaller root than the signed one, is kept. It lies beside the copy, so that anyone can check it.

use std::sync::Arc;

use quorix_tlog::checkpoint::SignedCheckpoint;
use quorix_tlog::proof::verify_older_root;
use quorix_trust::ports::Equivocation;
use quorix_wire::scan::{LogSource, older_root};

use crate::export::ExportError;
use crate::folder::Folder;

const FIRST: &str = "fork/first";

/// True if the folder holds proof against its log.
pub(super) fn is_kept(folder: &Folder) -> bool {
    folder.has(FIRST)
}

/// The proof that `larger` does not extend `smaller`, from the hash tiles of `source`, which has the tree of `larger`.
/// `None` if it extends it, or if nothing can be proved.
pub(super) async fn prove(
    source: &LogSource,
    smaller: &SignedCheckpoint,
    larger: &SignedCheckpoint,
) -> Option<Equivocation> {
    let (old, new) = (smaller.checkpoint(), larger.checkpoint());
    if old.size > new.size {
        return None;
    }
    let proof = if old.size == new.size {
        Vec::new()
    } else {
        older_root(source, old.size, new.size).await.ok()?
    };
    let proved = verify_older_root(old.size, new.size, &new.root, &proof).ok()?;
    (proved != old.root).then(|| Equivocation {
        first: smaller.bytes().to_vec(),
        second: larger.bytes().to_vec(),
        consistency_proof: proof,
    })
}

/// Keeps the proof: both notes, and the hashes one a line.
pub(super) async fn keep(folder: &Arc<Folder>, proof: &Equivocation) -> Result<(), ExportError> {
    let hashes: String = proof
        .consistency_proof
        .iter()
        .map(|hash| format!("{hash}\n"))
        .collect();
    // The first file is looked for, so it comes last.
    let files = [
        ("fork/proof".to_owned(), hashes.into_bytes()),
        ("fork/second".to_owned(), proof.second.clone()),
        (FIRST.to_owned(), proof.first.clone()),
    ];
    let folder = folder.clone();
    let kept = tokio::task::spawn_blocking(move || folder.put(&files)).await;
    Ok(kept.map_err(|error| ExportError::Interrupted(error.to_string()))??)
}

//! Keeps proof against each quarantined log as a file that `quorix verify evidence` checks.

use std::path::{Path, PathBuf};
use std::time::Duration;

use quorix_aggregator::service::Aggregator;
use quorix_trust::ports::Equivocation;
use quorix_wire::evidence::write_evidence_file;
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;

use crate::output::Failure;

/// How often it is looked whether a file is missing, besides after each event.
const INTERVAL: Duration = Duration::from_secs(60);

/// Writes files until everything stops. A file that cannot be written is tried again.
pub(super) async fn keep(
    aggregator: Aggregator,
    dir: PathBuf,
    stop: CancellationToken,
) -> Result<(), Failure> {
    let mut events = aggregator.watch();
    loop {
        let (proofs, into) = (aggregator.equivocations(), dir.clone());
        let written = tokio::task::spawn_blocking(move || {
            proofs
                .iter()
                .try_for_each(|(name, proof)| write(&into, name, proof))
        });
        if let Ok(Err(error)) = written.await {
            tracing::error!(%error, "proof against a log could not be written to {}", dir.display());
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = events.recv() => {}
            () = tokio::time::sleep(INTERVAL) => {}
        }
    }
}

/// The file is named by the log and by what it holds, so that no proof replaces another.
fn write(dir: &Path, name: &str, proof: &Equivocation) -> std::io::Result<()> {
    let bytes = write_evidence_file(proof);
    let hash: String = Sha256::digest(&bytes)
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let safe = |character: char| {
        if character.is_ascii_alphanumeric() || character == '-' {
            character
        } else {
            '_'
        }
    };
    let name: String = name.chars().take(60).map(safe).collect();
    let file = dir.join(format!("{name}-{hash}.evidence"));
    if file.exists() {
        return Ok(());
    }
    std::fs::create_dir_all(dir)?;
    let mut beside = tempfile::NamedTempFile::new_in(dir)?;
    std::io::Write::write_all(&mut beside, &bytes)?;
    beside.as_file().sync_all()?;
    beside.persist(&file).map_err(|error| error.error)?;
    std::fs::File::open(dir)?.sync_all()?;
    tracing::error!(
        "a log signed two checkpoints that contradict each other; the proof is {}",
        file.display()
    );
    Ok(())
}

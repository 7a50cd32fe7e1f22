//! `quorix log proof`: a file that shows that a log has an entry.
//!
//! The entry itself goes into the proof's extra data, which nobody vouches for; it need not be believed, since whoever
//! checks the proof hashes it and looks for that hash in the tree.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use quorix_tlog::hash::leaf_hash;
use quorix_tlog::note::SignedNote;
use quorix_tlog::proof::verify_inclusion;
use quorix_tlog::tlog_proof::TlogProof;
use quorix_wire::scan::inclusion;

use super::find::{Found, Target, find};
use super::told::told;
use super::which::{self, Own, Problem};
use crate::cli::operate::Proof;
use crate::output::{self, Exit, Failure};

pub(in crate::commands) async fn proof(arguments: Proof) -> Result<Exit, Failure> {
    let target = Target::parse(&arguments.entry)?;
    let opened = which::open(&arguments.which, Own::Either)?;
    let shown = opened.checkpoint().await?;
    let checkpoint = shown.checkpoint();
    let found = find(&opened, checkpoint, &[target]).await?;
    let Some(chosen) = choose(&found) else {
        return Err(Failure::refused(format!(
            "the log {} has no such entry among its {}",
            opened.origin(),
            checkpoint.size
        )));
    };
    let leaf = leaf_hash(&chosen.bytes);
    let hashes = inclusion(&opened.source, chosen.index, checkpoint.size).await;
    let hashes = hashes.map_err(Problem::from)?;
    verify_inclusion(
        chosen.index,
        checkpoint.size,
        &leaf,
        &hashes,
        &checkpoint.root,
    )
    .map_err(|error| Failure::refused(format!("the hash tiles of {}: {error}", opened.origin())))?;
    let note = SignedNote::parse(shown.bytes()).map_err(Failure::refused)?;
    let proof = TlogProof {
        extra: Some(chosen.bytes.clone()),
        index: chosen.index,
        proof: hashes,
        note,
    };
    match &arguments.output {
        None => output::raw(&proof.to_bytes()),
        Some(file) => {
            write(file, &proof.to_bytes())?;
            output::answer(format_args!(
                "Wrote to {} the proof that the log {} has this entry:\n{}",
                file.display(),
                opened.origin(),
                told(&chosen.bytes).line(chosen.index)
            ));
        }
    }
    for other in found.iter().filter(|other| other.index != chosen.index) {
        let word = if other.withdrawn_by.is_some() {
            "withdrawn"
        } else {
            "also there"
        };
        output::remark(format_args!(
            "{word}: {}",
            told(&other.bytes).line(other.index).trim_start()
        ));
    }
    Ok(Exit::Yes)
}

/// The newest that was not withdrawn, else the newest.
fn choose(found: &[Found]) -> Option<&Found> {
    let standing = found.iter().rfind(|found| found.withdrawn_by.is_none());
    standing.or_else(|| found.last())
}

fn write(file: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::wrong(format!("{}: {error}", file.display()));
    let mut made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(file)
        .map_err(failed)?;
    made.write_all(bytes).map_err(failed)
}

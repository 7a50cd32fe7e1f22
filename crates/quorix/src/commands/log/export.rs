//! `quorix log export`: a log as files.

use quorix_log::export::{ExportError, Exporter};
use quorix_log::folder::{Folder, FolderError};
use serde_json::json;

use super::which::{self, Own, Problem};
use crate::cli::operate::Export;
use crate::commands::progress::{self, counted};
use crate::output::{self, Exit, Failure};

pub(in crate::commands) async fn export(arguments: Export) -> Result<Exit, Failure> {
    let opened = which::open(&arguments.which, Own::Either)?;
    let dir = absolute(&arguments.dir)?;
    let folder = Folder::open(&dir).map_err(|error| failure(error.into()))?;
    let mut exporter = Exporter::new(opened.source, opened.key, folder, opened.fetcher);
    let shown = exporter.newest().await.map_err(failure)?;
    let source = exporter.source().clone();
    exporter.ask_again(&source).await.map_err(failure)?;
    let bar = progress::bar("exporting");
    let copied = exporter
        .run(
            shown.checkpoint(),
            |_| shown.bytes().to_vec(),
            |copied| progress::stands(&bar, copied.size, copied.of),
        )
        .await;
    bar.finish_and_clear();
    let exported = copied.map_err(failure)?;
    let (origin, dir) = (exporter.origin(), dir.display());
    if arguments.json {
        let value = json!({
            "origin": origin, "folder": dir.to_string(), "from": exported.from, "size": exported.size,
            "files": exported.files, "blobs": exported.blobs, "missing": exported.missing,
            "missing_blobs": exported.missing_blobs,
        });
        output::answer(format_args!("{value:#}"));
        return Ok(Exit::Yes);
    }
    let entries = counted(exported.size, "entry", "entries");
    let added = exported.size.saturating_sub(exported.from);
    output::answer(format_args!(
        "{dir} holds the log {origin}: {entries}, {added} of them new, all verified."
    ));
    if exported.missing > 0 {
        let count = counted(exported.missing, "blob", "blobs");
        output::answer(format_args!(
            "  {count} that entries name cannot be had from the log:"
        ));
        for name in &exported.missing_blobs {
            output::answer(format_args!("    {name}"));
        }
        let named = exported.missing_blobs.len() as u64;
        if exported.missing > named {
            let further = progress::number(exported.missing.saturating_sub(named));
            output::answer(format_args!("    and {further} more"));
        }
    }
    Ok(Exit::Yes)
}

/// The folder as it can be read back, whatever the working folder is then.
pub(in crate::commands) fn absolute(dir: &std::path::Path) -> Result<std::path::PathBuf, Failure> {
    std::path::absolute(dir).map_err(|error| Failure::wrong(format!("{}: {error}", dir.display())))
}

/// What went wrong with a copy, with the exit code that it means.
pub(crate) fn failure(error: ExportError) -> Failure {
    match error {
        ExportError::Grow(error) => Problem::from(error).into(),
        ExportError::Checkpoint(_) | ExportError::Copy { .. } | ExportError::AfterEnd { .. } => {
            Failure::Refused(error.to_string())
        }
        ExportError::Folder(FolderError::Immutable { .. }) => Failure::Refused(error.to_string()),
        ExportError::OtherLog { .. } | ExportError::Folder(_) => Failure::wrong(error),
        ExportError::Interrupted(_) => Failure::unknown(error),
    }
}

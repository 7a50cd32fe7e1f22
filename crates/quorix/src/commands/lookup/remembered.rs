//! The file in which `log lookup --remember` keeps the checkpoints of the last answer: JSON, replaced as a whole.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use quorix_tlog::checkpoint::{Checkpoint, SignedCheckpoint};
use quorix_tlog::index::answer::Known;
use quorix_tlog::index::verifier_of;
use quorix_tlog::note::VerifierKey;
use quorix_wire::index::Said;
use serde::{Deserialize, Serialize};

use crate::output::Failure;

/// The most bytes that such a file has: two notes, escaped.
const BYTES_MAX: u64 = 1024 * 1024;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    checkpoint: String,
    index_checkpoint: String,
}

/// What is known of this log; `None`, if there is no such file yet. Both notes have to be by the log's key.
pub(super) fn read(file: &Path, key: &VerifierKey) -> Result<Option<Known>, Failure> {
    let wrong = |reason: String| {
        Failure::wrong(format!(
            "--remember {}: {reason}; without the file nothing is known of the log, and the next answer is believed as \
             the first one is",
            file.display()
        ))
    };
    match std::fs::metadata(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(wrong(error.to_string())),
        Ok(data) if data.len() > BYTES_MAX => return Err(wrong("it is too large".to_owned())),
        Ok(_) => {}
    }
    let text = std::fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
    let kept: Kept = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    let index_key = verifier_of(key).map_err(|error| wrong(error.to_string()))?;
    let open = |note: &str, key: &VerifierKey| -> Result<Checkpoint, Failure> {
        let signed = SignedCheckpoint::open(note.as_bytes(), key, key.name().as_str());
        let signed = signed.map_err(|error| wrong(error.to_string()))?;
        Ok(signed.checkpoint().clone())
    };
    Ok(Some(Known {
        log: open(&kept.checkpoint, key)?,
        index: open(&kept.index_checkpoint, &index_key)?,
    }))
}

/// Keeps what an answer showed.
pub(super) fn write(file: &Path, said: &Said) -> Result<(), Failure> {
    let failed =
        |error: std::io::Error| Failure::unknown(format!("--remember {}: {error}", file.display()));
    let note = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let kept = Kept {
        checkpoint: note(said.proven.checkpoint.bytes()),
        index_checkpoint: note(said.proven.index_checkpoint.bytes()),
    };
    let text = serde_json::to_string_pretty(&kept).map_err(Failure::unknown)?;
    let mut unfinished = file.as_os_str().to_owned();
    unfinished.push(".unfinished");
    let mut made = File::create(&unfinished).map_err(failed)?;
    made.write_all(text.as_bytes()).map_err(failed)?;
    made.sync_all().map_err(failed)?;
    std::fs::rename(&unfinished, file).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorix_testkit::entries::log_key;

    #[test]
    fn a_file_with_a_note_by_another_key_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("known");
        let (alice, bob) = (log_key("alice.example"), log_key("bob.example"));
        assert_eq!(read(&file, alice.verifier()).unwrap(), None);
        let note = |key: &quorix_tlog::note::SigningKey| {
            let checkpoint = Checkpoint {
                origin: key.verifier().name().to_string(),
                size: 0,
                root: quorix_tlog::hash::EMPTY_ROOT,
                extensions: Vec::new(),
            };
            String::from_utf8(checkpoint.sign(key).unwrap()).unwrap()
        };
        let index = quorix_tlog::index::signer_of(&alice).unwrap();
        let kept = Kept {
            checkpoint: note(&alice),
            index_checkpoint: note(&index),
        };
        std::fs::write(&file, serde_json::to_string(&kept).unwrap()).unwrap();
        let known = read(&file, alice.verifier()).unwrap().unwrap();
        assert_eq!((known.log.size, known.index.size), (0, 0));
        assert!(matches!(
            read(&file, bob.verifier()),
            Err(Failure::WrongUse(_))
        ));
    }
}

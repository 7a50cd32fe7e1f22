//! The file in which `--resume` notes how far an import has come: JSON, replaced as a whole.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::Path;

use quorix_aggregator::import::{Counts, Progress};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::output::Failure;

/// The most bytes that such a file has.
const BYTES_MAX: u64 = 1024 * 1024;
/// How much of the input is hashed to know it again.
const KNOWN_BY_BYTES: u64 = 64 * 1024;

/// How far each pass has come, by its name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct State(BTreeMap<String, Progress>);

impl State {
    /// Where a pass stands.
    pub(super) fn pass(&self, name: &str) -> Progress {
        self.0.get(name).copied().unwrap_or_default()
    }

    /// Notes where a pass stands.
    pub(super) fn set(&mut self, name: &str, progress: Progress) {
        self.0.insert(name.to_owned(), progress);
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Noted {
    /// SHA-256 of the length and the beginning of the input.
    input: String,
    passes: BTreeMap<String, NotedPass>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NotedPass {
    offset: u64,
    records: u64,
    kept: u64,
    foreign: u64,
    forged: u64,
    malformed: u64,
    too_long: u64,
    absent: u64,
    failed: u64,
}

impl From<&Progress> for NotedPass {
    fn from(progress: &Progress) -> Self {
        let Counts {
            records,
            kept,
            foreign,
            forged,
            malformed,
            too_long,
            absent,
            failed,
        } = progress.counts;
        Self {
            offset: progress.offset,
            records,
            kept,
            foreign,
            forged,
            malformed,
            too_long,
            absent,
            failed,
        }
    }
}

impl From<NotedPass> for Progress {
    fn from(noted: NotedPass) -> Self {
        Self {
            offset: noted.offset,
            counts: Counts {
                records: noted.records,
                kept: noted.kept,
                foreign: noted.foreign,
                forged: noted.forged,
                malformed: noted.malformed,
                too_long: noted.too_long,
                absent: noted.absent,
                failed: noted.failed,
            },
        }
    }
}

/// Where the import of this input stands; at the beginning, if there is no such file.
pub(super) fn read(file: &Path, input: &Path) -> Result<State, Failure> {
    let wrong = |reason: String| {
        Failure::wrong(format!(
            "--resume {}: {reason}; remove it to import from the beginning",
            file.display()
        ))
    };
    match std::fs::metadata(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(State::default()),
        Err(error) => return Err(wrong(error.to_string())),
        Ok(data) if data.len() > BYTES_MAX => return Err(wrong("it is too large".to_owned())),
        Ok(_) => {}
    }
    let text = std::fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
    let noted: Noted = serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    if noted.input != known_by(input)? {
        return Err(wrong(format!("it is not about {}", input.display())));
    }
    let passes = noted.passes.into_iter();
    Ok(State(
        passes.map(|(name, pass)| (name, pass.into())).collect(),
    ))
}

/// Replaces the file, durably.
pub(super) fn write(file: &Path, input: &Path, state: &State) -> Result<(), Failure> {
    let passes = state.0.iter();
    let noted = Noted {
        input: known_by(input)?,
        passes: passes
            .map(|(name, progress)| (name.clone(), progress.into()))
            .collect(),
    };
    let failed =
        |error: std::io::Error| Failure::wrong(format!("--resume {}: {error}", file.display()));
    let text = serde_json::to_vec(&noted).map_err(|error| failed(error.into()))?;
    let mut unfinished = file.as_os_str().to_owned();
    unfinished.push(".unfinished");
    let mut written = File::create(&unfinished).map_err(failed)?;
    written.write_all(&text).map_err(failed)?;
    written.sync_all().map_err(failed)?;
    std::fs::rename(&unfinished, file).map_err(failed)
}

fn known_by(input: &Path) -> Result<String, Failure> {
    let failed = |error: std::io::Error| Failure::wrong(format!("{}: {error}", input.display()));
    let opened = File::open(input).map_err(failed)?;
    let length = opened.metadata().map_err(failed)?.len();
    let mut beginning = Vec::new();
    opened
        .take(KNOWN_BY_BYTES)
        .read_to_end(&mut beginning)
        .map_err(failed)?;
    let mut hasher = Sha256::new();
    hasher.update(length.to_be_bytes());
    hasher.update(&beginning);
    let digest: [u8; 32] = hasher.finalize().into();
    Ok(data_encoding::HEXLOWER.encode(&digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_is_read_again_and_only_for_the_same_input() {
        let dir = tempfile::tempdir().unwrap();
        let (file, input) = (dir.path().join("state"), dir.path().join("dump"));
        std::fs::write(&input, "StorePath: a\n").unwrap();
        assert_eq!(read(&file, &input).unwrap(), State::default());
        let mut state = State::default();
        let counts = Counts {
            records: 7,
            kept: 3,
            forged: 1,
            ..Counts::default()
        };
        state.set("main", Progress { offset: 13, counts });
        write(&file, &input, &state).unwrap();
        assert_eq!(read(&file, &input).unwrap(), state);
        assert_eq!(state.pass("other"), Progress::default());
        std::fs::write(&input, "StorePath: b\n").unwrap();
        let other = read(&file, &input).unwrap_err().to_string();
        assert!(other.contains("it is not about "), "{other}");
        std::fs::write(&file, "{}").unwrap();
        assert!(read(&file, &input).is_err());
    }
}

//! The file in which `log fsck --resume` notes how far it has come: JSON, replaced as a whole.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use quorix_tlog::hash::Hash;
use quorix_wire::scan::{Counts, Problem, State};
use serde::{Deserialize, Serialize};

use crate::output::Failure;

/// The most bytes that such a file has.
const BYTES_MAX: u64 = 1024 * 1024;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Noted {
    origin: String,
    size: u64,
    nodes: Vec<String>,
    entries: u64,
    tiles: u64,
    blobs: u64,
    opaque: u64,
    retractions: u64,
    rotation: Option<u64>,
    problems: u64,
    named: Vec<(String, String)>,
}

/// Where the check of this log stands; at the beginning, if there is no such file.
pub(super) fn read(file: &Path, origin: &str) -> Result<State, Failure> {
    let wrong = |reason: String| {
        Failure::wrong(format!(
            "--resume {}: {reason}; remove it to check from the beginning",
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
    if noted.origin != origin {
        return Err(wrong(format!("it is about the log {}", noted.origin)));
    }
    let nodes: Result<Vec<Hash>, _> = noted.nodes.iter().map(|node| node.parse()).collect();
    let nodes = nodes.map_err(|error| wrong(error.to_string()))?;
    let named = noted
        .named
        .into_iter()
        .map(|(what, reason)| Problem { what, reason });
    Ok(State {
        size: noted.size,
        nodes,
        counts: Counts {
            entries: noted.entries,
            tiles: noted.tiles,
            blobs: noted.blobs,
            opaque: noted.opaque,
            retractions: noted.retractions,
            rotation: noted.rotation,
            problems: noted.problems,
            named: named.collect(),
        },
    })
}

/// Replaces the file.
pub(super) fn write(file: &Path, origin: &str, state: &State) -> Result<(), Failure> {
    let State {
        size,
        nodes,
        counts,
    } = state;
    let named = counts.named.iter();
    let noted = Noted {
        origin: origin.to_owned(),
        size: *size,
        nodes: nodes.iter().map(ToString::to_string).collect(),
        entries: counts.entries,
        tiles: counts.tiles,
        blobs: counts.blobs,
        opaque: counts.opaque,
        retractions: counts.retractions,
        rotation: counts.rotation,
        problems: counts.problems,
        named: named
            .map(|problem| (problem.what.clone(), problem.reason.clone()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_is_read_again_and_only_for_the_same_log() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("alice.fsck");
        assert_eq!(read(&file, "alice").unwrap(), State::default());
        let mut state = State {
            size: 512,
            nodes: vec![quorix_tlog::hash::leaf_hash(b"node")],
            counts: Counts::default(),
        };
        state.counts.entries = 512;
        state.counts.rotation = Some(3);
        state.counts.note(
            "entry 5",
            "its bytes do not have the hash that is in the tree",
        );
        write(&file, "alice", &state).unwrap();
        assert_eq!(read(&file, "alice").unwrap(), state);
        let other = read(&file, "bob").unwrap_err().to_string();
        assert!(other.contains("it is about the log alice"), "{other}");
        std::fs::write(&file, "{}").unwrap();
        assert!(read(&file, "alice").is_err());
    }
}

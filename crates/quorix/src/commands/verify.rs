//! `quorix verify proof`: does a log have an entry, found out offline from a file and a policy.

use std::path::Path;

use quorix_tlog::hash::leaf_hash;
use quorix_tlog::tlog_policy::{TlogPolicy, Verified};
use quorix_tlog::tlog_proof::{MAX_TLOG_PROOF_LENGTH, TlogProof};
use quorix_trust::attestation::ENTRY_BYTES_MAX;
use serde_json::json;

use super::log::told::{as_json, told};
use super::progress::counted;
use crate::cli::operate::VerifyProof;
use crate::output::{self, Exit, Failure};

/// Longest policy file.
const POLICY_BYTES_MAX: usize = 1024 * 1024;

pub(super) fn proof(arguments: &VerifyProof) -> Result<Exit, Failure> {
    let policy = read(&arguments.policy, POLICY_BYTES_MAX)?;
    let policy = TlogPolicy::parse(&policy)
        .map_err(|error| Failure::wrong(format!("{}: {error}", arguments.policy.display())))?;
    let bytes = read(&arguments.file, MAX_TLOG_PROOF_LENGTH)?;
    let proof = TlogProof::parse(&bytes)
        .map_err(|error| Failure::wrong(format!("{}: {error}", arguments.file.display())))?;
    let entry = match (&arguments.entry, &proof.extra) {
        (Some(file), _) => read(file, ENTRY_BYTES_MAX)?,
        (None, Some(extra)) => extra.clone(),
        (None, None) => {
            return Err(Failure::wrong(format!(
                "{} does not carry its entry\n  give the entry's bytes: --entry FILE",
                arguments.file.display()
            )));
        }
    };
    let verified = proof.verify(&leaf_hash(&entry), &policy);
    if arguments.json {
        let value = match &verified {
            Ok(verified) => json!({
                "proved": true, "origin": verified.checkpoint.origin, "size": verified.checkpoint.size,
                "entry": as_json(proof.index, &entry), "time": verified.time,
                "witnesses": verified.witnesses.iter().map(|by| json!({"name": by.name, "time": by.time})).collect::<Vec<_>>(),
            }),
            Err(error) => json!({"proved": false, "reason": error.to_string()}),
        };
        output::answer(format_args!("{value:#}"));
    } else {
        match &verified {
            Ok(verified) => yes(verified, proof.index, &entry),
            Err(error) => output::answer(format_args!("Not proved: {error}.")),
        }
    }
    Ok(if verified.is_ok() {
        Exit::Yes
    } else {
        Exit::No
    })
}

fn yes(verified: &Verified, index: u64, entry: &[u8]) {
    let (origin, size) = (&verified.checkpoint.origin, verified.checkpoint.size);
    let witnesses = match verified.witnesses.len() {
        0 => "by no witness: this policy asks for none".to_owned(),
        count => {
            let names: Vec<&str> = verified
                .witnesses
                .iter()
                .map(|by| by.name.as_str())
                .collect();
            format!(
                "by {} ({})",
                counted(count as u64, "witness", "witnesses"),
                names.join(", ")
            )
        }
    };
    output::answer(format_args!(
        "This entry is in the log {origin} at index {index} of {size}, covered {witnesses}.\n{}",
        told(entry).line(index)
    ));
}

fn read(file: &Path, most: usize) -> Result<Vec<u8>, Failure> {
    let failed = |reason: String| Failure::wrong(format!("{}: {reason}", file.display()));
    let length = std::fs::metadata(file)
        .map_err(|error| failed(error.to_string()))?
        .len();
    if usize::try_from(length).is_ok_and(|length| length > most) {
        return Err(failed(format!("larger than the permitted {most} bytes")));
    }
    std::fs::read(file).map_err(|error| failed(error.to_string()))
}

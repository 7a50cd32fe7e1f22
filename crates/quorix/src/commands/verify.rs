//! `quorix verify proof` and `quorix verify evidence`: does a log have an entry, and did it contradict itself; found out
//! offline from a file, with nothing but keys.

use std::path::Path;

use quorix_tlog::hash::leaf_hash;
use quorix_tlog::tlog_policy::{TlogPolicy, Verified};
use quorix_tlog::tlog_proof::{MAX_TLOG_PROOF_LENGTH, TlogProof};
use quorix_trust::attestation::ENTRY_BYTES_MAX;
use quorix_wire::evidence::{EVIDENCE_FILE_BYTES_MAX, read_evidence_file, verify_equivocation};
use serde_json::json;

use super::files::read_at_most;
use super::log::told::{as_json, told};
use super::log::which::parse_key;
use super::progress::counted;
use crate::cli::aggregator::VerifyEvidence;
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

pub(super) fn evidence(arguments: &VerifyEvidence) -> Result<Exit, Failure> {
    let key = parse_key("--vkey", &arguments.vkey)?;
    let bytes = read(&arguments.file, EVIDENCE_FILE_BYTES_MAX)?;
    let proof = read_evidence_file(&bytes)
        .map_err(|error| Failure::refused(format!("{}: {error}", arguments.file.display())))?;
    let verified = verify_equivocation(&key, &proof);
    let origin = key.name();
    if arguments.json {
        let reason = verified.as_ref().err().map(ToString::to_string);
        let value =
            json!({"proved": verified.is_ok(), "origin": origin.as_str(), "reason": reason});
        output::answer(format_args!("{value:#}"));
    } else {
        match &verified {
            Ok(()) => output::answer(format_args!(
                "Proved: the log {origin} signed two checkpoints that contradict each other.\n\n{}\n{}",
                String::from_utf8_lossy(&proof.first),
                String::from_utf8_lossy(&proof.second),
            )),
            Err(error) => output::answer(format_args!(
                "Not proved against the log {origin}: {error}."
            )),
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
    read_at_most(file, most).map_err(failed)
}

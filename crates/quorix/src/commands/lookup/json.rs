//! What `log lookup` found, for programs. Absence, presence and no answer are told apart by fields, not by exit codes alone.

use quorix_tlog::tlog_policy::Verified;
use quorix_wire::index::{LookupError, Said};
use serde_json::{Value, json};

use super::states::{State, states};
use crate::commands::log::told::as_json;
use crate::commands::witnesses;

/// A verified answer: whether the log says anything, and that this is all.
pub(super) fn of_answer(origin: &str, path: &str, said: &Said) -> Value {
    let proven = &said.proven;
    let states = states(&said.entries);
    let entries = said.entries.iter().zip(states);
    let entries: Vec<_> = entries
        .map(|((index, bytes), state)| of_entry(*index, bytes, state, proven.covered))
        .collect();
    let witnesses = |verified: &Verified| witnesses::json(&Ok(verified.clone()));
    let cosigned = said.cosigned.as_ref();
    json!({
        "log": origin,
        "output": path,
        "found": !entries.is_empty(),
        "complete": true,
        "index_proof": index_proof(said),
        "size": proven.checkpoint.checkpoint().size,
        "entries": entries,
        "covered": proven.covered,
        "read_behind": said.read_behind,
        "keys": proven.keys,
        "proof_bytes": proven.proof_bytes,
        "proof_steps": proven.proof_steps,
        "checkpoint": String::from_utf8_lossy(proven.checkpoint.bytes()),
        "index_checkpoint": String::from_utf8_lossy(proven.index_checkpoint.bytes()),
        "witness_quorum": cosigned.map(|cosigned| witnesses(&cosigned.log)),
        "index_witness_quorum": cosigned.map(|cosigned| witnesses(&cosigned.index)),
    })
}

/// No verified answer: whether the log says anything is not known.
pub(super) fn of_no_answer(origin: &str, path: &str, error: &LookupError) -> Value {
    let key = if error.is_refusal() {
        "refused"
    } else {
        "unanswered"
    };
    json!({"log": origin, "output": path, "found": null, "complete": false, key: error.to_string()})
}

/// What the index proved of the entries that it covers; nothing while it covers none.
fn index_proof(said: &Said) -> Option<&'static str> {
    let proven = &said.proven;
    (proven.covered > 0).then_some(if proven.indices.is_empty() {
        "absence"
    } else {
        "presence"
    })
}

fn of_entry(index: u64, bytes: &[u8], state: State, covered: u64) -> Value {
    let mut value = as_json(index, bytes);
    if let Some(fields) = value.as_object_mut() {
        let shown_by = if index < covered { "index" } else { "reading" };
        fields.insert("state".to_owned(), state.id().into());
        fields.insert("withdrawn_by".to_owned(), state.withdrawn_by().into());
        fields.insert("shown_by".to_owned(), shown_by.into());
    }
    value
}

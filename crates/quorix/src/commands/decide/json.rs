//! A decision as JSON: everything that the text says, and the whole hashes.

use quorix_trust::decision::{Decision, OperatorState, OperatorView, Outcome, ValueView};
use serde_json::{Value, json};

/// The whole decision.
pub(crate) fn decision(decision: &Decision) -> Value {
    let nested = |inner: &Option<Box<Decision>>| inner.as_ref().map(|inner| self::decision(inner));
    json!({
        "path": decision.path.as_ref().map(|path| decision.store_dir.join(path)),
        "hash_part": decision.asked.as_str(),
        "outcome": outcome(decision.outcome),
        "sentence": decision.sentence,
        "rule": {"name": decision.rule.name, "line": decision.rule.line, "text": decision.rule.text},
        "accepted": decision.accepted.map(|value| value.to_string()),
        "values": decision.values.iter().map(|value| self::value(decision, value)).collect::<Vec<_>>(),
        "operators": decision.operators.iter().map(operator).collect::<Vec<_>>(),
        "steps": decision.steps,
        "missing": decision.missing,
        "other_names": decision.other_names.iter().map(|other| json!({
            "path": decision.store_dir.join(&other.path),
            "operators": other.operators,
            "self_verified": other.is_self_verified,
        })).collect::<Vec<_>>(),
        "blocked_by": decision.blocked_by.as_ref().map(|path| decision.store_dir.join(path)),
        "valid_until": decision.valid_until_s,
        "warned": nested(&decision.warned),
        "fallen_from": nested(&decision.fallen_from),
    })
}

fn value(decision: &Decision, value: &ValueView) -> Value {
    json!({
        "letter": value.letter,
        "fingerprint": value.fingerprint.to_string(),
        "voters": value.voters,
        "nar_hash": value.facts.as_ref().map(|facts| facts.nar_hash.to_string()),
        "nar_size": value.facts.as_ref().map(|facts| facts.nar_size),
        "references": value.facts.as_ref().map(|facts| {
            facts.references.iter().map(|path| decision.store_dir.join(path)).collect::<Vec<_>>()
        }),
    })
}

fn operator(operator: &OperatorView) -> Value {
    json!({
        "operator": operator.operator,
        "state": match operator.state {
            OperatorState::Votes => "votes",
            OperatorState::Silent => "silent",
            OperatorState::Contradicted => "contradicted",
            OperatorState::Stale => "stale",
            OperatorState::Quarantined => "quarantined",
        },
        "letters": operator.letters,
        "reason": operator.reason,
        "sources": operator.sources.iter().map(|source| json!({
            "letter": source.letter,
            "name": source.name,
            "log": source.leaf.as_ref().map(|(origin, _, _)| origin),
            "index": source.leaf.as_ref().map(|(_, index, _)| index),
            "checkpoint_size": source.leaf.as_ref().map(|(_, _, size)| size),
            "nix_key": source.nix_key,
            "system": source.system,
            "drv": source.drv_path,
            "nix_version": source.nix_version,
            "finished_at": source.finished_at_s,
        })).collect::<Vec<_>>(),
    })
}

fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Accepted => "accepted",
        Outcome::Insufficient => "insufficient",
        Outcome::Unknown => "unknown",
        Outcome::Conflict => "conflict",
        Outcome::Vetoed => "vetoed",
        Outcome::VetoUnavailable => "veto-unavailable",
        Outcome::BlockedBy => "blocked-by",
        Outcome::Denied => "denied",
        Outcome::Waiting => "waiting",
        _ => "other",
    }
}

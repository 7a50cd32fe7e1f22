//! An audit as text for people and as JSON for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use quorix_trust::evidence::LogState;
use serde_json::{Value, json};

use super::Audit;
use super::judge::Finding;
use crate::cli::audit::{How, State};
use crate::commands::decide::json::decision;
use crate::commands::progress::{counted, number};

/// How many paths of one state are printed for people.
const SHOWN: usize = 20;

/// The audit as text.
pub(super) fn text(audit: &Audit, how: &How) -> String {
    let mut text = format!("{}\n", sentence(audit));
    let counts = counts(audit);
    text.push('\n');
    for (state, count) in counts.iter().rev() {
        let _ = writeln!(
            text,
            "  {} {:<22} {:>9}",
            mark(*state),
            words(*state),
            number(*count)
        );
    }
    for state in State::ALL.into_iter().filter(|state| !state.is_good()) {
        list(audit, state, how, &mut text);
    }
    notes(audit, how, &mut text);
    text
}

/// First what, in one sentence.
fn sentence(audit: &Audit) -> String {
    let counts = counts(audit);
    let all = audit.findings.len() as u64;
    let of = |state: State| counts.get(&state).copied().unwrap_or_default();
    let good = of(State::Accepted).saturating_add(of(State::SelfVerifying));
    let paths = counted(all, "path", "paths");
    if all == good {
        return format!("All is well: {paths}, all accepted or self-verifying.");
    }
    let mut parts = Vec::new();
    for state in State::ALL {
        if of(state) > 0 && !state.is_good() {
            parts.push(format!("{} {}", number(of(state)), words(state)));
        }
    }
    format!(
        "Of {paths} {} {} accepted or self-verifying; {}.",
        number(good),
        if good == 1 { "is" } else { "are" },
        parts.join(", ")
    )
}

fn list(audit: &Audit, state: State, how: &How, text: &mut String) {
    let all: Vec<&Finding> = audit
        .findings
        .iter()
        .filter(|one| one.state == state)
        .collect();
    if all.is_empty() {
        return;
    }
    let tolerated = if how.tolerate.contains(&state) {
        ", tolerated"
    } else {
        ""
    };
    let _ = writeln!(text, "\n{} {}{tolerated}:", mark(state), words(state));
    for one in all.iter().take(SHOWN) {
        let path = one.local.facts.store_dir.join(&one.local.path);
        let _ = writeln!(text, "  {path}\n      {}", one.sentence);
    }
    if let Some(more) = all.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        let _ = writeln!(
            text,
            "  … and {} more: --json lists all",
            number(more as u64)
        );
    }
}

/// What has to be known to read the rest rightly.
fn notes(audit: &Audit, how: &How, text: &mut String) {
    for (origin, state) in &audit.logs {
        let note = match state {
            LogState::Live => continue,
            LogState::Stale { reason } => format!("{origin} adds no votes for now: {reason}."),
            LogState::Quarantined => {
                format!(
                    "{origin} is quarantined: it signed two checkpoints that contradict each other."
                )
            }
        };
        let _ = write!(text, "\n{note}");
    }
    if how.offline {
        text.push_str(
            "\nOffline: what logs and caches said after they were mirrored is not known here, a withdrawal neither.",
        );
    }
}

/// The audit as JSON.
pub(super) fn json(audit: &Audit, how: &How) -> Value {
    let counts = counts(audit);
    let summary: serde_json::Map<String, Value> = State::ALL
        .into_iter()
        .map(|state| {
            let count = counts.get(&state).copied().unwrap_or_default();
            (state.id().to_owned(), count.into())
        })
        .collect();
    let is_fine = |one: &Finding| one.state.is_good() || how.tolerate.contains(&one.state);
    json!({
        "ok": audit.findings.iter().all(is_fine),
        "sentence": sentence(audit),
        "offline": how.offline,
        "paths_total": audit.findings.len(),
        "summary": summary,
        "tolerated": how.tolerate.iter().map(|state| state.id()).collect::<Vec<_>>(),
        "logs": audit.logs.iter().map(|(origin, state)| log(origin, state)).collect::<Vec<_>>(),
        "paths": audit.findings.iter().map(finding).collect::<Vec<_>>(),
    })
}

fn log(origin: &str, state: &LogState) -> Value {
    let (state, reason) = match state {
        LogState::Live => ("live", ""),
        LogState::Stale { reason } => ("stale", reason.as_str()),
        LogState::Quarantined => ("quarantined", ""),
    };
    json!({"origin": origin, "state": state, "reason": reason})
}

fn finding(finding: &Finding) -> Value {
    let facts = &finding.local.facts;
    json!({
        "path": facts.store_dir.join(&finding.local.path),
        "state": finding.state.id(),
        "sentence": finding.sentence,
        "here": {
            "fingerprint": facts.digest().to_string(),
            "nar_hash": facts.nar_hash.to_string(),
            "nar_size": facts.nar_size,
            "built_here": finding.local.built_here,
        },
        "decision": finding.decision.as_ref().map(decision),
    })
}

fn counts(audit: &Audit) -> BTreeMap<State, u64> {
    let mut counts = BTreeMap::new();
    for one in &audit.findings {
        let count: &mut u64 = counts.entry(one.state).or_default();
        *count = count.saturating_add(1);
    }
    counts
}

fn words(state: State) -> &'static str {
    match state {
        State::OtherBytes => "with other bytes here",
        State::Revoked => "revoked since",
        State::Disagree => "disagree",
        State::Refused => "refused",
        State::Blocked => "blocked",
        State::OneBuilder => "with one builder",
        State::TooFew => "with too few votes",
        State::NoData => "without data",
        State::Accepted => "accepted",
        State::SelfVerifying => "self-verifying",
    }
}

/// The marks of the states of an output, as everywhere.
fn mark(state: State) -> char {
    match state {
        State::Accepted | State::SelfVerifying => '●',
        State::OneBuilder | State::TooFew | State::Blocked => '◐',
        State::NoData => '○',
        State::OtherBytes | State::Revoked | State::Disagree | State::Refused => '▲',
    }
}

//! How one installed path stands: what is here, beside what was decided and said. Pure.

use quorix_trust::decision::{Decision, Outcome};
use quorix_trust::evidence::{Said, Statement};

use super::local::Local;
use crate::cli::audit::State;

/// How one installed path stands.
pub(super) struct Finding {
    /// What is here.
    pub(super) local: Local,
    /// How it stands.
    pub(super) state: State,
    /// One plain sentence or two.
    pub(super) sentence: String,
    /// What was decided; `None` where there was too much to decide from.
    pub(super) decision: Option<Decision>,
}

/// Compares what is here with a decision and with what was said of it, withdrawn statements included.
pub(super) fn judge(local: Local, decision: Decision, said: &[Statement]) -> Finding {
    let (state, sentence) = standing(&local, &decision, said);
    Finding {
        local,
        state,
        sentence,
        decision: Some(decision),
    }
}

/// A path of which there is more evidence than one answer may have.
pub(super) fn undecided(local: Local, reason: &str) -> Finding {
    Finding {
        local,
        state: State::Refused,
        sentence: format!("Could not be decided: {reason}."),
        decision: None,
    }
}

fn standing(local: &Local, decision: &Decision, said: &[Statement]) -> (State, String) {
    match &local.recomputed {
        Ok(Some(_)) => {
            let sentence =
                "Self-verifying. The path is named after its content, which was hashed again here.";
            return (State::SelfVerifying, sentence.to_owned());
        }
        Err(error) => {
            let sentence =
                format!("Other bytes here. The path is named after its content, but {error}.");
            return (State::OtherBytes, sentence);
        }
        Ok(None) => {}
    }
    let here = local.facts.digest();
    match decision.accepted {
        Some(accepted) if accepted == here => return (State::Accepted, decision.sentence.clone()),
        Some(accepted) => {
            let voters = voters_of(decision, accepted);
            return (
                State::OtherBytes,
                format!(
                    "Other bytes here. {voters} built the same bytes, and this store has others."
                ),
            );
        }
        None => {}
    }
    // No log takes back what a cache signed: its withdrawn statements mean nothing.
    let is_revoked = |one: &&Statement| {
        one.withdrawn && one.value() == here && matches!(one.said, Said::Build(_))
    };
    let revoked = said.iter().filter(is_revoked).count();
    if revoked > 0 {
        let sentence = format!(
            "Revoked since. What is here was said by a builder who has taken it back. {}",
            decision.sentence
        );
        return (State::Revoked, sentence);
    }
    (refused(local, decision), refusal(local, decision))
}

/// The state of a path that is not accepted and that nobody took back.
fn refused(local: &Local, decision: &Decision) -> State {
    let here = local.facts.digest();
    let elsewhere = decision
        .values
        .iter()
        .any(|value| value.fingerprint != here);
    let voices = decision
        .operators
        .iter()
        .filter(|operator| !operator.letters.is_empty())
        .count();
    match decision.outcome {
        Outcome::Denied | Outcome::Waiting => State::Refused,
        _ if elsewhere => State::Disagree,
        Outcome::BlockedBy => State::Blocked,
        _ if decision.values.is_empty() => State::NoData,
        _ if voices == 1 => State::OneBuilder,
        Outcome::Insufficient => State::TooFew,
        _ => State::Refused,
    }
}

fn refusal(local: &Local, decision: &Decision) -> String {
    let here = local.facts.digest();
    let nobody_has_it = !decision.values.is_empty()
        && decision
            .values
            .iter()
            .all(|value| value.fingerprint != here);
    if nobody_has_it {
        return format!(
            "Nobody has said what is here: all that is known are other bytes. {}",
            decision.sentence
        );
    }
    decision.sentence.clone()
}

fn voters_of(decision: &Decision, value: quorix_nix::fingerprint::FingerprintDigest) -> String {
    let voters = decision
        .values
        .iter()
        .find(|one| one.fingerprint == value)
        .map(|one| one.voters.clone())
        .unwrap_or_default();
    match voters.as_slice() {
        [] => "Others".to_owned(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests;

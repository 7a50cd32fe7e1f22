//! Decisions in plain sentences, the same on pages and in the terminal (docs: how Quorix speaks).
//!
//! First what, then why, then what would change it; no blame, and never "trusted" without by whom.

mod terminal;
#[cfg(test)]
mod tests;

pub use terminal::{matrix, terminal, wrapped};

use crate::decision::{Decision, OperatorState, OperatorView, OtherName, Outcome};

/// What was decided and why, in one plain sentence or two.
#[must_use]
pub fn sentence(decision: &Decision) -> String {
    let first = match decision.outcome {
        Outcome::Accepted => accepted(decision),
        Outcome::Insufficient => insufficient(decision),
        Outcome::Unknown => unknown(decision),
        Outcome::Conflict => conflict(decision),
        Outcome::Vetoed => "Refused: vetoed. An operator with a veto says otherwise.".into(),
        Outcome::VetoUnavailable => {
            "Refused: a log with a veto cannot be heard, so nothing is accepted without it.".into()
        }
        Outcome::BlockedBy => blocked(decision),
        Outcome::Denied => format!(
            "Refused: the policy's rule {} denies this path.",
            decision.rule.name
        ),
        Outcome::Waiting => {
            "Waiting: it has its votes and has not been observed for long enough.".into()
        }
    };
    let warned = decision
        .warned
        .as_ref()
        .filter(|warned| !warned.is_accepted())
        .map(|warned| {
            format!(
                " Rule {} is in warn mode and would say: {}",
                warned.rule.name, warned.sentence
            )
        });
    first + &warned.unwrap_or_default()
}

/// `a`, `a and b`, `a, b and c`.
#[must_use]
pub fn listed<T: AsRef<str>>(names: &[T], conjunction: &str) -> String {
    match names {
        [] => String::new(),
        [only] => only.as_ref().into(),
        [first @ .., last] => {
            let first: Vec<&str> = first.iter().map(AsRef::as_ref).collect();
            format!("{} {conjunction} {}", first.join(", "), last.as_ref())
        }
    }
}

fn accepted(decision: &Decision) -> String {
    let accepted = decision
        .values
        .iter()
        .find(|value| Some(value.fingerprint) == decision.accepted);
    let voters = accepted
        .map(|value| value.voters.as_slice())
        .unwrap_or_default();
    let others = dissent(decision);
    match voters {
        [] => "Accepted. The path is named after its content, which was fetched and checked; no votes are needed.".into(),
        [only] => format!("Accepted. {only} built these bytes and rule {} needs no more.{others}", decision.rule.name),
        _ => format!("Accepted. {} built the same bytes.{others}", listed(voters, "and")),
    }
}

/// Who said something else, or said the same and cannot be heard.
fn dissent(decision: &Decision) -> String {
    let accepted = decision
        .values
        .iter()
        .find(|value| Some(value.fingerprint) == decision.accepted);
    let letter = accepted
        .map(|value| value.letter.as_str())
        .unwrap_or_default();
    let else_where: Vec<_> = decision
        .operators
        .iter()
        .filter(|one| one.letters.iter().any(|other| other != letter))
        .collect();
    let mut text = String::new();
    if !else_where.is_empty() {
        text += &format!(
            " {} got something else.",
            listed(&names(&else_where), "and")
        );
    }
    text + &elsewhere(decision) + &unheard(decision)
}

/// Who speaks of another store path under the same hash.
fn elsewhere(decision: &Decision) -> String {
    let told: Vec<String> = decision.other_names.iter().map(other_name).collect();
    let (first, more) = match told.as_slice() {
        [first, rest @ ..] => (first.as_str(), rest.len()),
        [] => ("", 0),
    };
    let more = match more {
        0 => String::new(),
        1 => " One other name is known as well.".into(),
        _ => format!(" {more} other names are known as well."),
    };
    format!("{first}{more}")
}

fn other_name(other: &OtherName) -> String {
    let path = &other.path;
    match other.operators.as_slice() {
        _ if other.is_self_verified => {
            format!(" {path} has the same hash, and its content was fetched and checked.")
        }
        [] => format!(" {path} has the same hash."),
        [only] => format!(" {only} says that this hash is that of {path}."),
        several => {
            let names = listed(several, "and");
            format!(" {names} say that this hash is that of {path}.")
        }
    }
}

fn unheard(decision: &Decision) -> String {
    let unheard = decision
        .operators
        .iter()
        .filter(|one| one.state != OperatorState::Votes && !one.reason.is_empty());
    let unheard = unheard.filter(|one| one.state != OperatorState::Contradicted);
    // Who speaks of another name has been named for that.
    let others = |one: &OperatorView| {
        let mut others = decision.other_names.iter();
        others.any(|other| other.operators.contains(&one.operator))
    };
    let unheard = unheard.filter(|one| !others(one));
    let sentences: Vec<String> = unheard
        .map(|one| format!(" {} does not count: {}.", one.operator, one.reason))
        .collect();
    sentences.concat()
}

fn insufficient(decision: &Decision) -> String {
    let voters = decision
        .values
        .first()
        .map(|value| value.voters.as_slice())
        .unwrap_or_default();
    let have = match voters {
        [] => "Nobody whose log can be heard has built this".to_owned(),
        [only] => format!("Only {only} has built this"),
        _ => format!(
            "{} built the same bytes, which is not enough",
            listed(voters, "and")
        ),
    };
    let would = match decision.missing.as_slice() {
        [] => String::new(),
        missing => format!(" An agreeing vote by {} would help.", listed(missing, "or")),
    };
    format!(
        "Refused: too few votes. {have}.{would}{}",
        unheard(decision)
    )
}

fn unknown(decision: &Decision) -> String {
    format!(
        "Refused: no data. None of the policy's builders and caches has said anything about this path.{}",
        unheard(decision)
    )
}

fn conflict(decision: &Decision) -> String {
    let with_letters: Vec<_> = decision
        .operators
        .iter()
        .filter(|one| !one.letters.is_empty())
        .collect();
    let names = names(&with_letters);
    let got = match (decision.values.len(), names.len()) {
        (0, _) => "Two store paths are said to have this hash".to_owned(),
        (1, _) if !decision.other_names.is_empty() => {
            "Two store paths are said to have this hash".to_owned()
        }
        (values, operators) if values >= operators && operators > 1 => {
            format!("{} each got something different", listed(&names, "and"))
        }
        (_, 1) => format!("{} got different things", listed(&names, "and")),
        (values, _) => format!("{} got {values} different things", listed(&names, "and")),
    };
    format!(
        "Refused: builders disagree. {got}.{} Nobody's bytes are served; Nix will build it here.{}",
        elsewhere(decision),
        unheard(decision)
    )
}

fn blocked(decision: &Decision) -> String {
    let own = match decision.values.first() {
        Some(value) if value.voters.len() > 1 => format!(
            "{} built the same bytes, but ",
            listed(&value.voters, "and")
        ),
        _ => String::new(),
    };
    let by = decision
        .blocked_by
        .as_ref()
        .map(ToString::to_string)
        .unwrap_or_default();
    let why = decision
        .steps
        .last()
        .and_then(|step| step.split_once(": "))
        .map_or("", |(_, why)| why);
    let why = why.trim_end_matches('.');
    if own.is_empty() {
        format!(
            "Refused: blocked. It refers, directly or not, to {by}, which is not accepted ({why})."
        )
    } else {
        format!(
            "Refused: blocked. {own}it refers, directly or not, to {by}, which is not accepted ({why})."
        )
    }
}

fn names(operators: &[&OperatorView]) -> Vec<String> {
    operators.iter().map(|one| one.operator.clone()).collect()
}

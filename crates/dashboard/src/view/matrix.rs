//! The matrix operator × value: the heart of an output's page. A row is one fingerprint, a column one operator; a
//! cell says whether that operator votes for it, said it without voting, or did not say it.

use quorix_wire::pb;

use super::{Letter, Mark, State};
use crate::format::hash::Hash;
use crate::format::shown::Shown;

/// Operators shown.
pub const OPERATORS_MAX: usize = 40;

/// Values shown.
pub const VALUES_MAX: usize = 30;

/// The matrix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matrix {
    /// The operators, in the policy's order.
    pub columns: Vec<Column>,
    /// The values, most votes first.
    pub rows: Vec<Row>,
    /// Why operators do not vote.
    pub remarks: Vec<Remark>,
    /// Operators and values that are not shown.
    pub omitted: usize,
}

/// An operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub operator: Shown,
    /// Why it has no vote anywhere in its column, in a word; none if it votes.
    pub state: Option<State>,
}

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its letter.
    pub letter: Letter,
    /// Its fingerprint.
    pub fingerprint: Hash,
    /// One per column.
    pub cells: Vec<Cell>,
    /// Operators that vote for it.
    pub votes: usize,
    /// True if this is the accepted value.
    pub accepted: bool,
}

/// What one operator said of one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// Class of the value's tint, where the operator votes for it; else empty.
    pub class: &'static str,
    /// Mark and word; none if the operator did not say this value.
    pub state: Option<State>,
}

/// Why an operator does not vote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// Its name.
    pub operator: Shown,
    /// What goes after the name.
    pub text: Shown,
}

impl Matrix {
    /// The matrix of a decision.
    #[must_use]
    pub fn new(decision: &pb::Decision) -> Self {
        let operators = decision
            .operators
            .get(..OPERATORS_MAX)
            .unwrap_or(&decision.operators);
        let values = decision
            .values
            .get(..VALUES_MAX)
            .unwrap_or(&decision.values);
        Self {
            columns: operators
                .iter()
                .map(|one| Column {
                    operator: Shown::line(&one.operator),
                    state: Some(state(one.state()))
                        .filter(|_| one.state() != pb::OperatorState::Votes),
                })
                .collect(),
            rows: values
                .iter()
                .map(|value| Row::new(value, operators, &decision.accepted))
                .collect(),
            remarks: operators.iter().filter_map(Remark::new).collect(),
            omitted: decision.operators.len() - operators.len() + decision.values.len()
                - values.len(),
        }
    }
}

impl Row {
    fn new(value: &pb::DecisionValue, operators: &[pb::OperatorStanding], accepted: &[u8]) -> Self {
        let letter = Letter::new(&value.letter);
        Self {
            fingerprint: Hash::of_bytes(&value.fingerprint),
            cells: operators
                .iter()
                .map(|operator| Cell::new(value, operator, &letter))
                .collect(),
            votes: value.voters.len(),
            accepted: !accepted.is_empty() && accepted == value.fingerprint,
            letter,
        }
    }
}

impl Cell {
    fn new(value: &pb::DecisionValue, operator: &pb::OperatorStanding, letter: &Letter) -> Self {
        let said = operator.letters.contains(&value.letter);
        match operator.state() {
            _ if !said => Self {
                class: "",
                state: None,
            },
            pb::OperatorState::Votes => Self {
                class: letter.class(),
                state: Some(State::new(Mark::Agree, "votes")),
            },
            other => Self {
                class: "",
                state: Some(state(other)),
            },
        }
    }
}

impl Remark {
    fn new(operator: &pb::OperatorStanding) -> Option<Self> {
        let reason = operator.reason.trim_end_matches('.');
        let why = match operator.state() {
            pb::OperatorState::Votes | pb::OperatorState::Unspecified => return None,
            pb::OperatorState::Silent if reason.is_empty() => return None,
            pb::OperatorState::Silent => "has said nothing",
            pb::OperatorState::Contradicted => "does not vote: it said different things",
            pb::OperatorState::Stale | pb::OperatorState::Quarantined if !reason.is_empty() => {
                "does not vote"
            }
            pb::OperatorState::Stale => "does not vote: its log is stale",
            pb::OperatorState::Quarantined => "does not vote: its log is quarantined",
        };
        let reason = if operator.state() == pb::OperatorState::Contradicted {
            ""
        } else {
            reason
        };
        let text = if reason.is_empty() {
            format!("{why}.")
        } else {
            format!("{why}: {reason}.")
        };
        Some(Self {
            operator: Shown::line(&operator.operator),
            text: Shown::line(&text),
        })
    }
}

/// How an operator stands, in words.
#[must_use]
pub fn state(state: pb::OperatorState) -> State {
    match state {
        pb::OperatorState::Votes => State::new(Mark::Agree, "votes"),
        pb::OperatorState::Silent | pb::OperatorState::Unspecified => {
            State::new(Mark::NoData, "silent")
        }
        pb::OperatorState::Contradicted => State::new(Mark::Disagree, "contradicted"),
        pb::OperatorState::Stale => State::new(Mark::NoData, "stale"),
        pb::OperatorState::Quarantined => State::new(Mark::Disagree, "quarantined"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(letter: &str, voters: &[&str]) -> pb::DecisionValue {
        let voters = voters.iter().map(ToString::to_string).collect();
        pb::DecisionValue {
            letter: letter.into(),
            fingerprint: letter.repeat(32).into_bytes(),
            voters,
            ..Default::default()
        }
    }

    fn operator(
        name: &str,
        state: pb::OperatorState,
        letters: &[&str],
        reason: &str,
    ) -> pb::OperatorStanding {
        let letters = letters.iter().map(ToString::to_string).collect();
        pb::OperatorStanding {
            operator: name.into(),
            state: state.into(),
            letters,
            reason: reason.into(),
            ..Default::default()
        }
    }

    #[test]
    fn cells_say_who_votes_who_only_said_and_who_did_not() {
        let decision = pb::Decision {
            values: vec![value("A", &["alice", "bob"]), value("B", &[])],
            operators: vec![
                operator("alice", pb::OperatorState::Votes, &["A"], ""),
                operator("bob", pb::OperatorState::Votes, &["A"], ""),
                operator(
                    "carol",
                    pb::OperatorState::Stale,
                    &["B"],
                    "the log of carol-ci is stale: no answer",
                ),
                operator("dave", pb::OperatorState::Silent, &[], ""),
            ],
            accepted: value("A", &[]).fingerprint,
            ..Default::default()
        };
        let matrix = Matrix::new(&decision);
        let words: Vec<Vec<Option<&str>>> = matrix
            .rows
            .iter()
            .map(|row| {
                row.cells
                    .iter()
                    .map(|cell| cell.state.map(|state| state.word))
                    .collect()
            })
            .collect();
        assert_eq!(
            words,
            [
                [Some("votes"), Some("votes"), None, None],
                [None, None, Some("stale"), None]
            ]
        );
        assert_eq!(matrix.rows[0].cells[0].class, "letter-a");
        assert_eq!(
            (matrix.rows[0].accepted, matrix.rows[1].accepted),
            (true, false)
        );
        let remarks: Vec<String> = matrix
            .remarks
            .iter()
            .map(|one| format!("{} {}", one.operator, one.text))
            .collect();
        assert_eq!(
            remarks,
            ["carol does not vote: the log of carol-ci is stale: no answer."]
        );
    }

    #[test]
    fn an_operator_with_two_values_votes_for_neither() {
        let decision = pb::Decision {
            values: vec![value("A", &[]), value("B", &[])],
            operators: vec![operator(
                "alice",
                pb::OperatorState::Contradicted,
                &["A", "B"],
                "",
            )],
            ..Default::default()
        };
        let matrix = Matrix::new(&decision);
        for row in &matrix.rows {
            assert_eq!(
                row.cells[0].state,
                Some(State::new(Mark::Disagree, "contradicted"))
            );
            assert_eq!(row.votes, 0);
        }
        assert_eq!(
            matrix.remarks[0].text.as_str(),
            "does not vote: it said different things."
        );
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        let decision = pb::Decision {
            values: vec![value("A", &[]); VALUES_MAX + 2],
            operators: vec![operator("x", pb::OperatorState::Silent, &[], ""); OPERATORS_MAX + 3],
            ..Default::default()
        };
        let matrix = Matrix::new(&decision);
        assert_eq!(
            (matrix.rows.len(), matrix.columns.len(), matrix.omitted),
            (VALUES_MAX, OPERATORS_MAX, 5)
        );
    }
}
